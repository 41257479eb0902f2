-- Secrets by which the bastion logs in at targets that trust no certificate, sealed by `keys` for tenant, name and kind.
CREATE TABLE vault (
    tenant     TEXT NOT NULL,
    name       TEXT NOT NULL,
    kind       TEXT NOT NULL CHECK (kind IN ('key', 'password')),
    public_key TEXT,                      -- of a key, as `algorithm base64`
    sealed     BLOB NOT NULL,
    added      INTEGER NOT NULL,          -- when this secret was, not the first of its name
    added_by   TEXT NOT NULL,
    PRIMARY KEY (tenant, name)
) STRICT, WITHOUT ROWID;
