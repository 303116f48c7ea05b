-- What was asked under a key of the asker's choice (`Idempotency-Key`), so that asking again does nothing again. Kept for a day.

-- A request, by who asked and their key: `asked` tells it from another one under the same key, and `status` is missing as long as it is worked on. `at` is in seconds since 1970.
CREATE TABLE asked_once (
    caller TEXT NOT NULL,
    word TEXT NOT NULL,
    asked TEXT NOT NULL,
    at BIGINT NOT NULL,
    status BIGINT,
    location TEXT,
    answer TEXT,
    PRIMARY KEY (caller, word)
);
CREATE INDEX asked_once_at ON asked_once (at);
