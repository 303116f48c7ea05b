-- What devices say of themselves. Instants of lines are microseconds since 1970 here, those of counts seconds, as BIGINT: there are many of them.
-- When the store is opened (logs/shape.rs), PostgreSQL gets partitions by day and an index over the words of messages, and SQLite a table of them (log_text, FTS5).

-- A line. Numbers grow in the order in which lines were written. Without a device it is one of a sender that is not known.
CREATE TABLE log_line (
    number BIGINT NOT NULL,
    received BIGINT NOT NULL,
    sent BIGINT,
    device TEXT NOT NULL,
    address TEXT NOT NULL,
    host TEXT NOT NULL,
    facility BIGINT NOT NULL CHECK (facility BETWEEN 0 AND 23),
    severity BIGINT NOT NULL CHECK (severity BETWEEN 0 AND 7),
    program TEXT NOT NULL,
    process TEXT NOT NULL,
    kind TEXT NOT NULL,
    template TEXT,
    flags BIGINT NOT NULL,
    fields TEXT NOT NULL,
    message TEXT NOT NULL,
    PRIMARY KEY (received, number)
);
CREATE INDEX log_line_device ON log_line (device, received, number);

-- One row: the number of the newest line. Whoever writes lines takes it first.
CREATE TABLE log_tail (
    one BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
    number BIGINT NOT NULL CHECK (number >= 0)
);
INSERT INTO log_tail (one, number) VALUES (1, 0);

-- What lines have in common, as the miner left it: its document is JSON text, read as a whole when a miner begins.
CREATE TABLE log_template (
    id TEXT NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    program TEXT NOT NULL,
    text TEXT NOT NULL,
    document TEXT NOT NULL,
    seen BIGINT NOT NULL
);
CREATE INDEX log_template_seen ON log_template (seen);

-- Lines of a template of a device in five minutes; the template is empty for those beyond what is counted apart.
CREATE TABLE log_count (
    slot BIGINT NOT NULL,
    device TEXT NOT NULL,
    template TEXT NOT NULL,
    lines BIGINT NOT NULL CHECK (lines > 0),
    PRIMARY KEY (slot, device, template)
);
CREATE INDEX log_count_device ON log_count (device, template, slot);
