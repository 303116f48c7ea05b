-- One folder for SQLite and PostgreSQL: BIGINT and TEXT columns only, and no word that only one of them knows.
-- Instants are RFC 3339 text in UTC with nine digits, so that their order is the order in time. Yes and no are 1 and 0.
-- JSON text is used for documents that are written once and only ever read as a whole: a content, a step, what a deleted Deployment said of its end.
-- The comment right above a table is what docs/database.md says about it.

-- What a revision or a step puts on devices, as JSON text under its SHA-256: written once, whoever refers to it, and removed with the last one who does.
CREATE TABLE content (
    digest TEXT NOT NULL PRIMARY KEY CHECK (length(digest) = 64),
    document TEXT NOT NULL
);

-- A Deployment that was ever rolled out; its version counts changes of everything that hangs on it. One that was deleted stays with the highest number of its revisions: devices remember its steps, and neither is used again.
CREATE TABLE deployment (
    name TEXT NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL CHECK (version > 0),
    paused_by TEXT,
    paused_at TEXT,
    deletion TEXT,
    numbered BIGINT NOT NULL CHECK (numbered >= 0),
    CHECK ((paused_by IS NULL) = (paused_at IS NULL))
);

-- One revision of a Deployment's content and what became of it; its history limit says how many are kept.
CREATE TABLE revision (
    deployment TEXT NOT NULL REFERENCES deployment (name),
    number BIGINT NOT NULL CHECK (number >= 0),
    content TEXT NOT NULL REFERENCES content (digest),
    commit_id TEXT NOT NULL,
    author TEXT NOT NULL,
    signer TEXT,
    is_revert BIGINT NOT NULL CHECK (is_revert IN (0, 1)),
    started_at TEXT NOT NULL,
    finished_at TEXT,
    result TEXT NOT NULL CHECK (result IN ('progressing', 'complete', 'rollingBack', 'rolledBack', 'stopped', 'superseded')),
    last_batch_only BIGINT CHECK (last_batch_only IN (0, 1)),
    back_to BIGINT,
    reason TEXT NOT NULL,
    undone_by TEXT,
    PRIMARY KEY (deployment, number),
    CHECK ((last_batch_only IS NOT NULL) = (result = 'rollingBack')),
    CHECK (back_to IS NULL OR result IN ('rollingBack', 'rolledBack'))
);
CREATE INDEX revision_content ON revision (content);

-- An opened batch of a revision; the last one takes whatever is left and has no members of its own.
CREATE TABLE batch (
    deployment TEXT NOT NULL,
    revision BIGINT NOT NULL,
    number BIGINT NOT NULL CHECK (number > 0),
    opened_at TEXT NOT NULL,
    takes_rest BIGINT NOT NULL CHECK (takes_rest IN (0, 1)),
    PRIMARY KEY (deployment, revision, number),
    FOREIGN KEY (deployment, revision) REFERENCES revision (deployment, number) ON DELETE CASCADE
);

-- A member of a batch, at its place in the order in which they were chosen.
CREATE TABLE batch_device (
    deployment TEXT NOT NULL,
    revision BIGINT NOT NULL,
    batch BIGINT NOT NULL,
    position BIGINT NOT NULL,
    device TEXT NOT NULL,
    PRIMARY KEY (deployment, revision, batch, position),
    FOREIGN KEY (deployment, revision, batch) REFERENCES batch (deployment, revision, number) ON DELETE CASCADE
);

-- An approval that was given for a Deployment and is not used up.
CREATE TABLE approval (
    deployment TEXT NOT NULL REFERENCES deployment (name),
    id TEXT NOT NULL,
    PRIMARY KEY (deployment, id)
);

-- Where a device stands within a Deployment. Its revision may have left the history and its steps may be pruned: no keys refer to them.
CREATE TABLE placement (
    deployment TEXT NOT NULL REFERENCES deployment (name),
    device TEXT NOT NULL,
    revision BIGINT NOT NULL,
    digest TEXT NOT NULL,
    batch BIGINT NOT NULL,
    phase TEXT NOT NULL CHECK (phase IN ('preparing', 'prepared', 'applying', 'applied', 'rebooting', 'failed', 'restoring', 'restored', 'removing')),
    since TEXT NOT NULL,
    step TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    applied_at TEXT,
    healthy_before BIGINT NOT NULL CHECK (healthy_before IN (0, 1)),
    way_back TEXT NOT NULL CHECK (way_back IN ('unknown', 'proven', 'missing')),
    no_way_back TEXT,
    undo TEXT,
    from_revision BIGINT,
    failure TEXT NOT NULL,
    restore_failures BIGINT NOT NULL,
    reboot_from TEXT,
    PRIMARY KEY (deployment, device),
    CHECK ((no_way_back IS NOT NULL) = (way_back = 'missing'))
);

-- A recorded plan: which commit it served and who is behind it. The newest are kept, and those with steps under way.
CREATE TABLE plan (
    id TEXT NOT NULL PRIMARY KEY,
    commit_id TEXT NOT NULL,
    reference TEXT NOT NULL,
    actor_kind TEXT NOT NULL,
    actor_name TEXT NOT NULL,
    actor_signer TEXT,
    recorded_at TEXT NOT NULL
);
CREATE INDEX plan_recorded ON plan (recorded_at, id);

-- An entry of the audit log: its text is what was hashed. Target and unit stand in the text too; they are columns so that a listing by them need not read the whole log.
CREATE TABLE audit_entry (
    number BIGINT NOT NULL PRIMARY KEY CHECK (number >= 0),
    text TEXT NOT NULL,
    leaf TEXT NOT NULL CHECK (length(leaf) = 64),
    target TEXT NOT NULL,
    unit TEXT NOT NULL
);
CREATE INDEX audit_entry_target ON audit_entry (target, number);
CREATE INDEX audit_entry_unit ON audit_entry (unit, number);

-- A recorded step, as JSON text without its content, and how it ended; without a verdict it is under way. Its audit entry was written with it.
CREATE TABLE step (
    id TEXT NOT NULL PRIMARY KEY,
    plan TEXT NOT NULL REFERENCES plan (id),
    audit_entry BIGINT NOT NULL UNIQUE REFERENCES audit_entry (number),
    document TEXT NOT NULL,
    content TEXT REFERENCES content (digest),
    verdict TEXT CHECK (verdict IN ('done', 'failed', 'refused')),
    message TEXT,
    finished_at TEXT,
    CHECK ((verdict IS NULL) = (finished_at IS NULL)),
    CHECK (message IS NULL OR verdict IS NOT NULL)
);
CREATE INDEX step_under_way ON step (audit_entry) WHERE verdict IS NULL;
CREATE INDEX step_plan ON step (plan, audit_entry);
CREATE INDEX step_content ON step (content);

-- A signed checkpoint of the audit log: the newest one, and one in each 256 entries.
CREATE TABLE audit_checkpoint (
    size BIGINT NOT NULL PRIMARY KEY CHECK (size > 0),
    note TEXT NOT NULL
);

-- One row: the right edge of the audit log's tree, from which it grows without being read, and the key that signs it, from the first one who opens it. Whoever writes takes this row first, so that writers stand in line.
CREATE TABLE audit_tree (
    one BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
    size BIGINT NOT NULL CHECK (size >= 0),
    peaks TEXT NOT NULL,
    signer TEXT
);
INSERT INTO audit_tree (one, size, peaks) VALUES (1, 0, '');

-- The commit of a source that is in force.
CREATE TABLE source (
    url TEXT NOT NULL PRIMARY KEY,
    reference TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    author TEXT NOT NULL,
    signer TEXT,
    since TEXT NOT NULL
);

-- The commit of a source that a person let through beyond the limits; it may come before the first one in force, so no key refers to that.
CREATE TABLE source_approval (
    url TEXT NOT NULL PRIMARY KEY,
    id TEXT NOT NULL
);
