-- An alert that fired and came to be well again, as it was then, as JSON text: for whoever asks what there was. One that fires anew without having ended in between (it flaps) replaces itself. Kept for 30 days.
CREATE TABLE alert_history (
    id TEXT NOT NULL,
    rule TEXT NOT NULL,
    device TEXT NOT NULL,
    resolved_at TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (id, rule, device)
);
CREATE INDEX alert_history_resolved ON alert_history (resolved_at, id);
