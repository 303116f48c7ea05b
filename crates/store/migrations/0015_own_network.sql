-- What was said of our own network: a start asks for it, however much was said of everything else. A statement that is to use it says the same, to the letter.
CREATE INDEX notice_own_network ON notice (recorded_at) WHERE substr(thread, 1, 12) = 'own-network-';
-- And what was said of receivers that are not told.
CREATE INDEX notice_undelivered ON notice (recorded_at) WHERE substr(thread, 1, 12) = 'undelivered-';
