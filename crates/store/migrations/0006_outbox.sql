-- Whom a notification has reached already, as a JSON list: neither a try that was cut nor a restart tells them again.
ALTER TABLE notice ADD COLUMN reached TEXT NOT NULL DEFAULT '[]';
-- What is not finished, by thread and by receiver: the oldest of a thread goes first, and no receiver's many keep another's first one waiting.
DROP INDEX notice_thread;
CREATE INDEX notice_unfinished ON notice (thread, recorded_at) WHERE finished_at IS NULL;
CREATE INDEX notice_waiting ON notice (receiver, due_at) WHERE finished_at IS NULL;
-- What became of each receiver's: whether one arrived since the last that was given up.
CREATE INDEX notice_lost ON notice (receiver, finished_at) WHERE is_dead = 1;
CREATE INDEX notice_arrived ON notice (receiver, finished_at) WHERE is_dead = 0;
