//! `secureboot` from the firmware's variable `SecureBoot` (UEFI 2.10 section 3.3), as efivarfs shows it.
//! It never says yes where the firmware does not.

use std::path::Path;

use posture::report::{Flag, SecureBoot};

const FIRMWARE: &str = "sys/firmware";
const VARIABLE: &str = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";

pub(super) fn collect(root: &Path) -> Option<Vec<SecureBoot>> {
    let on = match std::fs::read(root.join(VARIABLE)) {
        // Four bytes of attributes, then the value.
        Ok(bytes) => bytes.get(4..) == Some(&[1]),
        // Firmware without the variable, or older than UEFI, checks nothing; without sysfs nobody knows.
        Err(_) => return root.join(FIRMWARE).is_dir().then(|| row(false)),
    };
    Some(row(on))
}

fn row(on: bool) -> Vec<SecureBoot> {
    vec![SecureBoot { secure_boot: Flag(on) }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_one_in_the_variable_is_on() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(collect(folder.path()), None);
        std::fs::create_dir_all(folder.path().join("sys/firmware/efi/efivars")).unwrap();
        assert_eq!(collect(folder.path()), Some(row(false)));
        for (bytes, on) in [
            (&[6, 0, 0, 0, 1][..], true),
            (&[6, 0, 0, 0, 0], false),
            (&[1], false),
            (&[6, 0, 0, 0, 1, 1], false),
        ] {
            std::fs::write(folder.path().join(VARIABLE), bytes).unwrap();
            assert_eq!(collect(folder.path()), Some(row(on)), "{bytes:?}");
        }
    }
}
