-- Which templates ever came from which device: what is not in it is new there. Instants are seconds since 1970. The document is JSON text: how regularly it comes, as whoever takes lines in left it.
CREATE TABLE log_known (
    device TEXT NOT NULL,
    template TEXT NOT NULL CHECK (length(template) = 16),
    first_seen BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (device, template)
);
CREATE INDEX log_known_last_seen ON log_known (last_seen);
CREATE INDEX log_known_template ON log_known (template, first_seen);
