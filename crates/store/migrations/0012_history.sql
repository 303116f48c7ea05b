-- What was so once: of devices, of their probes, and of what Roles allow. Written on change only.

-- A device that is wanted, or was in the last 400 days: for reports, and for whoever finds its name elsewhere. The digest is that of its manifest: a start writes nothing.
CREATE TABLE device (
    name TEXT NOT NULL PRIMARY KEY,
    type TEXT NOT NULL,
    address TEXT NOT NULL,
    digest TEXT NOT NULL,
    removed_at TEXT
);

-- A label of a device, its site among them.
CREATE TABLE device_label (
    device TEXT NOT NULL REFERENCES device (name),
    label TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (device, label)
);
CREATE INDEX device_label_value ON device_label (label, value);

-- A commit that added, changed or removed a device. Kept for 400 days.
CREATE TABLE device_change (
    device TEXT NOT NULL REFERENCES device (name),
    at TEXT NOT NULL,
    what TEXT NOT NULL CHECK (what IN ('added', 'changed', 'removed')),
    commit_id TEXT NOT NULL,
    author TEXT NOT NULL,
    PRIMARY KEY (device, at)
);
CREATE INDEX device_change_at ON device_change (at);

-- A probe of a device came into another state. Kept for 30 days, and of each probe the newest 500. A probe may be seen before its device is written here, so no key refers to that.
CREATE TABLE probe_change (
    device TEXT NOT NULL,
    probe TEXT NOT NULL,
    at TEXT NOT NULL,
    state TEXT NOT NULL,
    code TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (device, probe, at)
);
CREATE INDEX probe_change_at ON probe_change (at);

-- What a Role allowed whom, from one commit to another: a subject may use the verb on objects of the kind (empty: every kind) about the selected devices (a selector as JSON text; empty: every one). Roles that are suspended allow nothing. Without an end it is so now; what ended is kept for 400 days.
CREATE TABLE permission (
    role TEXT NOT NULL,
    subject TEXT NOT NULL,
    verb TEXT NOT NULL,
    kind TEXT NOT NULL,
    devices TEXT NOT NULL,
    valid_from TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    valid_to TEXT,
    PRIMARY KEY (role, subject, verb, kind, devices, valid_from)
);
CREATE INDEX permission_valid_to ON permission (valid_to);
