/**
 * Making, changing and deleting objects of any kind, as YAML.
 *
 *   const [editing, setEditing] = useState<Editing>();       // what is open in the drawer, if anything
 *   const [doomed, setDoomed] = useState<Doomed>();
 *   setEditing({ plural: 'roles', name: { namespace, name } });              // an object that is there: read anew, with its ETag
 *   setEditing({ plural: 'roles', kind: 'Role', template: 'kind: Role\n…' }); // a new one
 *   <EditDrawer editing={editing} onClose={() => setEditing(undefined)} />
 *   <DeleteDialog doomed={doomed} onClose={() => setDoomed(undefined)} />
 *
 * Both show what would happen (`?dryRun=true`) before anything is written, then the commit until it is in force.
 */
export { CodeArea } from './code-area';
export { CommitFollow, isWebAddress } from './commit-follow';
export { DeleteDialog, type Doomed } from './delete';
export { diffLines, readUnified, withContext } from './diff';
export { DiffView } from './diff-view';
export { EditDrawer, type Editing } from './edit-drawer';
export { Findings } from './findings';
export { ObjectEditor } from './object-editor';
