export { CodeArea } from './code-area';
export { CommitFollow, isWebAddress } from './commit-follow';
export { DiffView } from './diff-view';
export { Findings } from './findings';
export { ObjectEditor } from './object-editor';
export { EditDrawer, type Editing } from './edit-drawer';
export { DeleteDialog, type Doomed } from './delete';
export { diffLines, readUnified, withContext } from './diff';
