//! How `root.key` looks: one line of label, key and check value, so that damage is told from a wrong key and a copy on paper
//! is possible.
//! It never accepts anything but what it writes; only the last newline may be missing.

use data_encoding::HEXLOWER;
use ring::digest::{SHA256, digest};
use zeroize::Zeroizing;

const LABEL: &str = "bartizan-root-key-v1";

/// The line, with its newline.
pub(crate) fn write(secret: &[u8; 32]) -> Zeroizing<String> {
    // One allocation of the full length: a growing string would leave copies of the key behind.
    let mut text = Zeroizing::new(String::with_capacity(128));
    text.push_str(LABEL);
    text.push(':');
    HEXLOWER.encode_append(secret, &mut text);
    text.push(':');
    HEXLOWER.encode_append(&check_value(secret), &mut text);
    text.push('\n');
    text
}

/// The key in a line; `None` for anything else.
pub(crate) fn read(bytes: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let mut parts = line.split(|byte| *byte == b':');
    let (label, key, check) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || label != LABEL.as_bytes() || key.len() != 64 {
        return None;
    }
    let mut secret = Zeroizing::new([0; 32]);
    HEXLOWER.decode_mut(key, secret.as_mut_slice()).ok()?;
    (HEXLOWER.decode(check).ok()? == check_value(&secret)).then_some(secret)
}

fn check_value(secret: &[u8; 32]) -> [u8; 8] {
    let mut message = Zeroizing::new([0; 64]);
    for (byte, from) in message.iter_mut().zip(LABEL.bytes().chain(secret.iter().copied())) {
        *byte = from;
    }
    let mut check = [0; 8];
    for (byte, from) in check.iter_mut().zip(digest(&SHA256, message.as_slice()).as_ref()) {
        *byte = *from;
    }
    check
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_reads_as_the_key_it_was_written_from() {
        let line = write(&[0xa5; 32]);
        assert!(line.starts_with("bartizan-root-key-v1:a5a5") && line.ends_with('\n'));
        assert_eq!(*read(line.as_bytes()).unwrap(), [0xa5; 32]);
        assert_eq!(*read(line.trim_end().as_bytes()).unwrap(), [0xa5; 32]);
    }

    #[test]
    fn a_line_with_more_or_less_in_it_is_no_key() {
        let line = write(&[0xa5; 32]);
        let line = line.trim_end();
        for wrong in [
            format!("{line}:"),
            format!("{line} "),
            format!(" {line}"),
            line.to_uppercase(),
            format!("{line}\n\n"),
        ] {
            assert!(read(wrong.as_bytes()).is_none(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_no_key(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(read(&bytes).is_none());
        }
    }
}
