-- Every noun that lasts. Times are milliseconds since 1970-01-01 UTC; names are as the policy crate parsed them.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
) STRICT;

-- Operators added here (local = 1), and what is known here about operators that the access bundle names (local = 0).
-- The state wins over any bundle.
CREATE TABLE operators (
    name    TEXT PRIMARY KEY NOT NULL,
    tenant  TEXT NOT NULL,
    roles   TEXT NOT NULL,                -- JSON array of role names
    state   TEXT NOT NULL CHECK (state IN ('active', 'disabled', 'revoked')),
    local   INTEGER NOT NULL CHECK (local IN (0, 1)),
    added   INTEGER NOT NULL,
    changed INTEGER NOT NULL
) STRICT;

-- One key names one operator: a key that two share would prove neither.
CREATE TABLE operator_keys (
    fingerprint TEXT PRIMARY KEY NOT NULL,
    operator    TEXT NOT NULL REFERENCES operators (name) ON DELETE CASCADE,
    public_key  TEXT NOT NULL,            -- "algorithm base64", as in authorized_keys, without the comment
    comment     TEXT NOT NULL,
    added       INTEGER NOT NULL
) STRICT;
CREATE INDEX operator_keys_by_operator ON operator_keys (operator);

-- The id is never used again, so that what was remembered of an old authenticator never speaks for a new one.
CREATE TABLE authenticators (
    id           INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    operator     TEXT NOT NULL REFERENCES operators (name) ON DELETE CASCADE,
    kind         TEXT NOT NULL CHECK (kind IN ('totp')),
    sealed       BLOB NOT NULL,
    last_step    INTEGER NOT NULL,        -- the last time step accepted; only a greater one is taken
    failures     INTEGER NOT NULL,        -- consecutive
    locked_until INTEGER NOT NULL,
    added        INTEGER NOT NULL,
    UNIQUE (operator, kind)
) STRICT;

-- Wrong codes per source, kept apart per operator so that one operator's success never clears another's failures.
CREATE TABLE source_failures (
    source   TEXT NOT NULL,
    operator TEXT NOT NULL,
    failures INTEGER NOT NULL,
    last     INTEGER NOT NULL,
    PRIMARY KEY (source, operator)
) STRICT;
CREATE INDEX source_failures_by_time ON source_failures (last);

CREATE TABLE devices (
    name          TEXT PRIMARY KEY NOT NULL,
    operator      TEXT NOT NULL,          -- the owner; a bundle may come to name it later, so not a reference
    tenant        TEXT NOT NULL,
    state         TEXT NOT NULL CHECK (state IN ('registered', 'pending', 'active', 'locked', 'lost', 'retired')),
    personal      INTEGER NOT NULL CHECK (personal IN (0, 1)),
    fingerprint   TEXT UNIQUE,
    public_key    TEXT,
    registered    INTEGER NOT NULL,
    registered_by TEXT NOT NULL,
    approved      INTEGER,
    approved_by   TEXT,
    changed       INTEGER NOT NULL,
    CHECK ((fingerprint IS NULL) = (public_key IS NULL))
) STRICT;
CREATE INDEX devices_by_operator ON devices (operator);

-- A code given on a device, remembered for later logins from the same device key.
CREATE TABLE mfa_memory (
    operator      TEXT NOT NULL REFERENCES operators (name) ON DELETE CASCADE,
    device        TEXT NOT NULL REFERENCES devices (name) ON DELETE CASCADE,
    authenticator INTEGER NOT NULL REFERENCES authenticators (id) ON DELETE CASCADE,
    device_key    TEXT NOT NULL,          -- fingerprint: a device with a new key starts afresh
    level         INTEGER NOT NULL,
    given         INTEGER NOT NULL,
    uses          INTEGER NOT NULL,
    minute        INTEGER NOT NULL,       -- start of the minute that is being counted
    minute_uses   INTEGER NOT NULL,
    PRIMARY KEY (operator, device, authenticator)
) STRICT;
CREATE INDEX mfa_memory_by_time ON mfa_memory (given);

CREATE TABLE sessions (
    id       TEXT PRIMARY KEY NOT NULL,
    operator TEXT NOT NULL,
    device   TEXT,
    target   TEXT NOT NULL,
    account  TEXT NOT NULL,
    peer     TEXT NOT NULL,
    started  INTEGER NOT NULL,
    ended    INTEGER,
    outcome  TEXT,
    code     TEXT,
    CHECK ((ended IS NULL) = (outcome IS NULL))
) STRICT;
CREATE INDEX sessions_by_time ON sessions (started, id);
CREATE INDEX sessions_open ON sessions (id) WHERE ended IS NULL;

CREATE TABLE recordings (
    id       TEXT PRIMARY KEY NOT NULL,
    session  TEXT NOT NULL REFERENCES sessions (id),
    operator TEXT NOT NULL,
    device   TEXT,
    target   TEXT NOT NULL,
    account  TEXT NOT NULL,
    kind     TEXT NOT NULL,
    command  TEXT,
    started  INTEGER NOT NULL,
    ended    INTEGER,
    outcome  TEXT,
    state    TEXT NOT NULL CHECK (state IN ('open', 'sealed', 'recovered')),
    bytes    INTEGER NOT NULL,
    frames   INTEGER NOT NULL,
    ignored  INTEGER NOT NULL,            -- bytes after the last good frame, in a recovered one
    digest   BLOB,
    CHECK ((state = 'open') = (ended IS NULL))
) STRICT;
CREATE INDEX recordings_by_time ON recordings (started, id);
CREATE INDEX recordings_by_session ON recordings (session);
CREATE INDEX recordings_open ON recordings (id) WHERE state = 'open';

-- Access bundles as applied; the current one has the highest version.
CREATE TABLE bundles (
    version    INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    applied    INTEGER NOT NULL,
    applied_by TEXT NOT NULL
) STRICT;

CREATE TABLE bundle_files (
    version INTEGER NOT NULL REFERENCES bundles (version) ON DELETE CASCADE,
    name    TEXT NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (version, name)
) STRICT;
