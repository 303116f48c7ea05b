-- Alerts, what was said of them, and what is to be delivered: a transaction that lets an alert fire has what is said of it too.

-- An alert: a rule on a device, from its condition's beginning to a while after its end. Its memory is JSON text, read as a whole at the start.
CREATE TABLE alert (
    rule TEXT NOT NULL,
    device TEXT NOT NULL,
    id TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'firing', 'resolved')),
    document TEXT NOT NULL,
    PRIMARY KEY (rule, device)
);

-- Alerts that are said together, and what was said to whom, as JSON text.
CREATE TABLE alert_group (
    digest TEXT NOT NULL PRIMARY KEY,
    rule TEXT NOT NULL,
    document TEXT NOT NULL
);

-- When the engine was last known to be there while something waited to fire: how long it was away does not count as waiting.
CREATE TABLE alert_clock (
    one BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
    alive_at TEXT NOT NULL
);

-- A notification: written with what it follows from, delivered afterwards, at least once, those of a thread in their order. What was delivered or given up is the log of notifications, and goes after 30 days.
CREATE TABLE notice (
    id TEXT NOT NULL PRIMARY KEY,
    receiver TEXT NOT NULL,
    thread TEXT NOT NULL,
    document TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    attempts BIGINT NOT NULL CHECK (attempts >= 0),
    due_at TEXT,
    finished_at TEXT,
    is_dead BIGINT NOT NULL CHECK (is_dead IN (0, 1)),
    problem TEXT NOT NULL,
    CHECK ((due_at IS NULL) = (finished_at IS NOT NULL))
);
CREATE INDEX notice_due ON notice (due_at);
CREATE INDEX notice_thread ON notice (thread, recorded_at);
CREATE INDEX notice_finished ON notice (finished_at);
CREATE INDEX notice_recorded ON notice (recorded_at);
