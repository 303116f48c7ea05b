-- What devices used over time. Instants are seconds since 1970 here, as BIGINT: they are counted with, and there are many of them. Values are DOUBLE PRECISION.
-- In PostgreSQL the tables of samples are partitioned by time when the store is opened (samples/partitions.rs), and the indices on time are not needed there.

-- One value over time: a metric of a device, and of which disk, interface or probe. Its number is the beginning of a hash of the three, so whoever writes samples need not ask for it first; no key refers to it for the same reason.
CREATE TABLE series (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id >= 0),
    device TEXT NOT NULL,
    metric TEXT NOT NULL,
    item TEXT NOT NULL,
    since BIGINT NOT NULL,
    UNIQUE (device, metric, item)
);

-- The values of a series in five minutes, as `second=value` in the order in which they came: written once, or once more by another process, and only ever read as a whole. Kept for 48 hours.
CREATE TABLE sample_raw (
    series BIGINT NOT NULL,
    at BIGINT NOT NULL,
    points TEXT NOT NULL,
    PRIMARY KEY (series, at)
);
CREATE INDEX sample_raw_at ON sample_raw (at);

-- The same five minutes in four numbers. Kept for 30 days.
CREATE TABLE sample_5m (
    series BIGINT NOT NULL,
    at BIGINT NOT NULL,
    lowest DOUBLE PRECISION NOT NULL,
    highest DOUBLE PRECISION NOT NULL,
    mean DOUBLE PRECISION NOT NULL,
    readings BIGINT NOT NULL CHECK (readings > 0),
    PRIMARY KEY (series, at)
);
CREATE INDEX sample_5m_at ON sample_5m (at);

-- Twelve of those, an hour. Kept for 400 days.
CREATE TABLE sample_1h (
    series BIGINT NOT NULL,
    at BIGINT NOT NULL,
    lowest DOUBLE PRECISION NOT NULL,
    highest DOUBLE PRECISION NOT NULL,
    mean DOUBLE PRECISION NOT NULL,
    readings BIGINT NOT NULL CHECK (readings > 0),
    PRIMARY KEY (series, at)
);
CREATE INDEX sample_1h_at ON sample_1h (at);
