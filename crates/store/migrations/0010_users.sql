-- Who may sign in, and how they are known meanwhile. Secrets are here as hashes only: of 256 random bits by SHA-256, of passwords by argon2id.

-- A user: a local one with a password, or one that a provider (OpenID Connect) has vouched for, by issuer and subject. Without a password a local user was invited, and has not come yet.
CREATE TABLE user_account (
    name TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('local', 'oidc')),
    display_name TEXT NOT NULL,
    email TEXT NOT NULL,
    password TEXT,
    issuer TEXT,
    subject TEXT,
    disabled BIGINT NOT NULL CHECK (disabled IN (0, 1)),
    created_at TEXT NOT NULL,
    last_sign_in TEXT,
    UNIQUE (issuer, subject),
    CHECK ((kind = 'oidc') = (subject IS NOT NULL) AND (issuer IS NULL) = (subject IS NULL)),
    CHECK (password IS NULL OR kind = 'local')
);

-- A group that a user is in, because an administrator has said so (`stored`), or because the provider did when they last signed in (`claim`).
CREATE TABLE user_group (
    user_name TEXT NOT NULL REFERENCES user_account (name) ON DELETE CASCADE ON UPDATE CASCADE,
    group_name TEXT NOT NULL,
    said_by TEXT NOT NULL CHECK (said_by IN ('stored', 'claim')),
    PRIMARY KEY (user_name, group_name, said_by)
);
CREATE INDEX user_group_name ON user_group (group_name, user_name);

-- A session in a browser, by the hash of what its cookie holds.
CREATE TABLE session (
    hash TEXT NOT NULL PRIMARY KEY CHECK (length(hash) = 64),
    user_name TEXT NOT NULL REFERENCES user_account (name) ON DELETE CASCADE ON UPDATE CASCADE,
    created_at TEXT NOT NULL,
    seen_at TEXT NOT NULL,
    address TEXT NOT NULL
);
CREATE INDEX session_of_user ON session (user_name, created_at);
CREATE INDEX session_seen ON session (seen_at);

-- A token that programs show, by the hash of it; its first characters tell it from others.
CREATE TABLE api_token (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    user_name TEXT NOT NULL REFERENCES user_account (name) ON DELETE CASCADE ON UPDATE CASCADE,
    hash TEXT NOT NULL UNIQUE CHECK (length(hash) = 64),
    prefix TEXT NOT NULL,
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    last_used_at TEXT,
    last_used_from TEXT,
    CHECK ((last_used_at IS NULL) = (last_used_from IS NULL))
);
CREATE INDEX api_token_user ON api_token (user_name, created_at);
CREATE INDEX api_token_expires ON api_token (expires_at);

-- What a token is narrowed to: each row of a scope is a verb on a kind, where `*` is any. A token without rows may what its user may.
CREATE TABLE token_scope (
    token TEXT NOT NULL REFERENCES api_token (id) ON DELETE CASCADE,
    number BIGINT NOT NULL CHECK (number >= 0),
    verb TEXT NOT NULL,
    kind TEXT NOT NULL,
    PRIMARY KEY (token, number, verb, kind)
);

-- The one-time token of a user who was invited to choose a password, by its hash.
CREATE TABLE invitation (
    user_name TEXT NOT NULL PRIMARY KEY REFERENCES user_account (name) ON DELETE CASCADE ON UPDATE CASCADE,
    hash TEXT NOT NULL UNIQUE CHECK (length(hash) = 64),
    expires_at TEXT NOT NULL
);

-- Failed sign-ins in a row, of a name or from an address, by the hash of which: what was typed as a name may be a password.
CREATE TABLE sign_in_failure (
    hash TEXT NOT NULL PRIMARY KEY CHECK (length(hash) = 64),
    failures BIGINT NOT NULL CHECK (failures > 0),
    failed_at TEXT NOT NULL,
    locked_until TEXT NOT NULL
);
CREATE INDEX sign_in_failure_at ON sign_in_failure (failed_at);
