-- Who writes alerts, and how far samples are summed up.

-- Who read the alerts last is the one who writes them and has notifications delivered; whoever did so before, and was only paused, is refused by this number.
CREATE TABLE alert_writer (
    one BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
    generation BIGINT NOT NULL CHECK (generation >= 0)
);
INSERT INTO alert_writer (one, generation) VALUES (1, 0);

-- The hours before this one (seconds since 1970) are summed up.
CREATE TABLE sample_summed (
    one BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
    through BIGINT NOT NULL
);

-- What a device used when it was last read, as JSON text, where another replica than the one that plans reads it: for whoever asks that one. Written once in a minute.
CREATE TABLE last_reading (
    device TEXT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    document TEXT NOT NULL
);
CREATE INDEX last_reading_at ON last_reading (at);
