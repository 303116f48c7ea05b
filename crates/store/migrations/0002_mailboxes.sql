-- How the replica that plans and those that hold a shard of the fleet hear of each other: of each matter only the newest word is kept.

-- A mailbox: the planner's, and one of each shard. Whoever opens it owns it from then on, under the next number; what an earlier owner still sends is refused. What is put in is numbered on.
CREATE TABLE mailbox (
    name TEXT NOT NULL PRIMARY KEY,
    owner BIGINT NOT NULL CHECK (owner >= 0),
    numbered BIGINT NOT NULL CHECK (numbered >= 0)
);

-- The newest word on a matter in a mailbox, as JSON text. Without one the matter is closed; that is removed once it was read.
CREATE TABLE letter (
    mailbox TEXT NOT NULL REFERENCES mailbox (name),
    matter TEXT NOT NULL,
    number BIGINT NOT NULL CHECK (number > 0),
    document TEXT,
    PRIMARY KEY (mailbox, matter)
);
CREATE INDEX letter_number ON letter (mailbox, number);
