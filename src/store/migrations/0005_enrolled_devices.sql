-- What a machine is, and whether an administrator vouches for it so that no second person need approve.
ALTER TABLE devices ADD COLUMN kind TEXT NOT NULL DEFAULT 'laptop' CHECK (kind IN ('laptop', 'host'));
ALTER TABLE devices ADD COLUMN imported INTEGER NOT NULL DEFAULT 0 CHECK (imported IN (0, 1));

-- An enrolment that is open: at most one a device, gone once used. The token's secret is not here, only its SHA-256.
CREATE TABLE enrolments (
    id      TEXT PRIMARY KEY NOT NULL,
    device  TEXT NOT NULL UNIQUE REFERENCES devices (name) ON DELETE CASCADE,
    secret  BLOB NOT NULL,
    expires INTEGER NOT NULL
) STRICT;

-- Serials of certificates that were taken, by the key that signed them: the highest ever, and those that are still valid.
CREATE TABLE device_serials (
    device_key TEXT NOT NULL,             -- fingerprint: a device with a new key counts from one again
    serial     INTEGER NOT NULL,
    seen       INTEGER NOT NULL,
    PRIMARY KEY (device_key, serial)
) STRICT, WITHOUT ROWID;

-- What a device said of itself at its last proof.
CREATE TABLE device_reports (
    device TEXT PRIMARY KEY NOT NULL REFERENCES devices (name) ON DELETE CASCADE,
    proven INTEGER NOT NULL,
    report TEXT NOT NULL                  -- JSON, as the device signed it
) STRICT;
