-- What gets a person in who has no one-time code (yet, or any more). Only digests under a key of the bastion are kept.

-- One open invitation an operator; a new one takes the place of the last.
CREATE TABLE invitations (
    operator TEXT PRIMARY KEY NOT NULL REFERENCES operators (name) ON DELETE CASCADE,
    digest   BLOB NOT NULL,
    expires  INTEGER NOT NULL,
    made     INTEGER NOT NULL,
    made_by  TEXT NOT NULL
) STRICT;

-- Recovery codes stand in for the codes of one authenticator and go with it.
CREATE TABLE recovery_codes (
    authenticator INTEGER NOT NULL REFERENCES authenticators (id) ON DELETE CASCADE,
    digest        BLOB NOT NULL,
    made          INTEGER NOT NULL,
    PRIMARY KEY (authenticator, digest)
) STRICT, WITHOUT ROWID;
