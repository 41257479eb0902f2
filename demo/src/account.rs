//! The account this process runs as: its name, home and shell, read from `/etc/passwd`.
//! It never looks up anybody else and never changes who the process is.

use std::path::PathBuf;

const PASSWD: &str = "/etc/passwd";

/// The owner of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) home: PathBuf,
    pub(crate) shell: PathBuf,
    pub(crate) root: bool,
}

/// Why the account is not known.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The file cannot be read.
    #[error("{PASSWD} cannot be read: {0}; the demo target needs it to find your shell")]
    Unreadable(#[source] std::io::Error),
    /// No line bears the user id.
    #[error("user id {0} has no line in {PASSWD}; run as an account that has one")]
    Unknown(u32),
}

impl Account {
    /// The account of the real user id.
    pub(crate) fn own() -> Result<Self, AccountError> {
        let text = std::fs::read_to_string(PASSWD).map_err(AccountError::Unreadable)?;
        let uid = rustix::process::getuid().as_raw();
        Self::find(&text, uid).ok_or(AccountError::Unknown(uid))
    }

    /// The first line with this id, in passwd(5) form: `name:x:uid:gid:gecos:home:shell`.
    fn find(text: &str, uid: u32) -> Option<Self> {
        text.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?.to_owned();
            if fields.nth(1)?.parse() != Ok(uid) {
                return None;
            }
            let home = PathBuf::from(fields.nth(2)?);
            let shell = match fields.next() {
                None | Some("") => PathBuf::from("/bin/sh"),
                Some(shell) => PathBuf::from(shell),
            };
            Some(Self { name, home, shell, root: uid == 0 })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_with_the_user_id_is_taken() {
        let text = "root:x:0:0:root:/root:/bin/bash\nana:x:1000:1000:Ana,,,:/home/ana:\n";
        let ana = Account::find(text, 1000).unwrap();
        assert_eq!((ana.name.as_str(), ana.shell.to_str()), ("ana", Some("/bin/sh")));
        assert!(!ana.root);
        assert_eq!(Account::find(text, 0).unwrap().shell.to_str(), Some("/bin/bash"));
    }

    #[test]
    fn a_missing_or_torn_line_is_no_account() {
        assert_eq!(Account::find("ana:x:1000\n", 1000), None);
        assert_eq!(Account::find("", 0), None);
    }
}
