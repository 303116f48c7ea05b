-- One set of statements for SQLite and PostgreSQL: integers, text and bytes only. Instants are RFC 3339 text in UTC.
-- Documents that are written once and only ever read as a whole (a revision's content, a step's action) are JSON text.
CREATE TABLE deployment (
    name TEXT NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL,
    paused_by TEXT,
    paused_at TEXT
);
CREATE TABLE revision (
    deployment TEXT NOT NULL REFERENCES deployment (name),
    number BIGINT NOT NULL,
    digest TEXT NOT NULL,
    content TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    author TEXT NOT NULL,
    started_at TEXT NOT NULL,
    finished_at TEXT,
    result TEXT NOT NULL,
    reason TEXT NOT NULL,
    is_revert BIGINT NOT NULL,
    PRIMARY KEY (deployment, number)
);
CREATE TABLE batch (
    deployment TEXT NOT NULL,
    revision BIGINT NOT NULL,
    number BIGINT NOT NULL,
    opened_at TEXT NOT NULL,
    takes_rest BIGINT NOT NULL,
    PRIMARY KEY (deployment, revision, number),
    FOREIGN KEY (deployment, revision) REFERENCES revision (deployment, number) ON DELETE CASCADE
);
CREATE TABLE batch_device (
    deployment TEXT NOT NULL,
    revision BIGINT NOT NULL,
    batch BIGINT NOT NULL,
    device TEXT NOT NULL,
    PRIMARY KEY (deployment, revision, batch, device),
    FOREIGN KEY (deployment, revision, batch) REFERENCES batch (deployment, revision, number) ON DELETE CASCADE
);
CREATE TABLE approval (
    deployment TEXT NOT NULL REFERENCES deployment (name),
    id TEXT NOT NULL,
    PRIMARY KEY (deployment, id)
);
-- A placement's revision may have left the history: no foreign key on it.
CREATE TABLE placement (
    deployment TEXT NOT NULL REFERENCES deployment (name),
    device TEXT NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (deployment, device)
);
CREATE TABLE plan (
    id TEXT NOT NULL PRIMARY KEY,
    commit_id TEXT NOT NULL,
    reference TEXT NOT NULL,
    actor TEXT NOT NULL,
    recorded_at TEXT NOT NULL
);
CREATE TABLE step (
    id TEXT NOT NULL PRIMARY KEY,
    plan TEXT NOT NULL REFERENCES plan (id),
    unit TEXT NOT NULL,
    target TEXT NOT NULL,
    verb TEXT NOT NULL,
    document TEXT NOT NULL,
    audit_index BIGINT NOT NULL,
    verdict TEXT,
    message TEXT,
    finished_at TEXT
);
CREATE INDEX step_unfinished ON step (id) WHERE verdict IS NULL;
CREATE INDEX step_plan ON step (plan);
CREATE TABLE audit_entry (
    number BIGINT NOT NULL PRIMARY KEY,
    text TEXT NOT NULL,
    leaf TEXT NOT NULL
);
CREATE TABLE audit_checkpoint (
    size BIGINT NOT NULL PRIMARY KEY,
    note TEXT NOT NULL
);
-- One row: the right edge of the tree, so that appending need not read it all.
CREATE TABLE audit_frontier (
    one BIGINT NOT NULL PRIMARY KEY,
    size BIGINT NOT NULL,
    peaks TEXT NOT NULL
);
CREATE TABLE source (
    url TEXT NOT NULL PRIMARY KEY,
    reference TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    author TEXT NOT NULL,
    signer TEXT,
    since TEXT NOT NULL
);
CREATE TABLE source_approval (
    url TEXT NOT NULL,
    id TEXT NOT NULL,
    PRIMARY KEY (url, id)
);
