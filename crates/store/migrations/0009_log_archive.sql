-- How lines are kept: what they take, how far they are archived, and how far journals are read.

-- Who archives lines, and who follows them, goes by their number.
CREATE INDEX log_line_number ON log_line (number);

-- About how many bytes the lines take in SQLite; PostgreSQL is asked for the size of its partitions.
ALTER TABLE log_tail ADD COLUMN bytes BIGINT NOT NULL DEFAULT 0;
-- Lines up to this number are archived.
ALTER TABLE log_tail ADD COLUMN archived BIGINT NOT NULL DEFAULT 0;
UPDATE log_tail SET bytes = (SELECT COALESCE(SUM(300 + length(fields) + length(message) + length(message) / 2), 0) FROM log_line);

-- How far the journal of a device is read: written with the lines that came of it. Its clock is the device's, in microseconds since 1970.
CREATE TABLE log_journal (
    device TEXT NOT NULL PRIMARY KEY,
    cursor TEXT NOT NULL,
    at BIGINT NOT NULL
);
