-- Lines that were taken in by a replica that does not plan, as they came, until the one who plans has read them: a batch by when it was put here (microseconds since 1970) and by whom. The document is JSON text.
CREATE TABLE log_handed (
    at BIGINT NOT NULL,
    sender TEXT NOT NULL,
    bytes BIGINT NOT NULL CHECK (bytes >= 0),
    document TEXT NOT NULL,
    PRIMARY KEY (at, sender)
);
