//! What a client signs to log in by public key (RFC 4252 section 7), and OpenSSH's host-bound form of it (`PROTOCOL` section 3.1).
//! It never signs: it tells whether these bytes are a login and nothing else.

use super::fields::{Fields, Malformed};

const USERAUTH_REQUEST: u8 = 50;
const PLAIN: &[u8] = b"publickey";
const HOST_BOUND: &[u8] = b"publickey-hostbound-v00@openssh.com";
const SERVICE: &[u8] = b"ssh-connection";

/// The bytes under a login's signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Login<'m> {
    /// Of which connection.
    pub session_id: &'m [u8],
    /// How it is to be signed.
    pub algorithm: &'m [u8],
    /// With which key.
    pub key: &'m [u8],
    /// Where the client said which server it means.
    pub host_key: Option<&'m [u8]>,
}

impl<'m> Login<'m> {
    /// Reads the bytes of a login; anything else is refused.
    pub fn parse(data: &'m [u8]) -> Result<Self, Malformed> {
        let mut fields = Fields::of(data);
        let need = |holds: bool| if holds { Ok(()) } else { Err(Malformed) };
        let session_id = fields.string()?;
        need(fields.byte()? == USERAUTH_REQUEST)?;
        let _user = fields.string()?;
        need(fields.string()? == SERVICE)?;
        let method = fields.string()?;
        need(fields.boolean()?)?;
        let (algorithm, key) = (fields.string()?, fields.string()?);
        let host_key = match method {
            PLAIN => None,
            HOST_BOUND => Some(fields.string()?),
            _ => return Err(Malformed),
        };
        fields.end()?;
        Ok(Self { session_id, algorithm, key, host_key })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::put_string;

    /// The bytes of a login as OpenSSH makes them.
    pub(crate) fn login(
        session_id: &[u8],
        method: &[u8],
        algorithm: &[u8],
        key: &[u8],
        tail: &[u8],
    ) -> Vec<u8> {
        let mut data = Vec::new();
        put_string(&mut data, session_id);
        data.push(50);
        for string in [&b"alice"[..], SERVICE, method] {
            put_string(&mut data, string);
        }
        data.push(1);
        put_string(&mut data, algorithm);
        put_string(&mut data, key);
        data.extend_from_slice(tail);
        data
    }

    #[test]
    fn both_forms_of_a_login_are_read() {
        let plain = login(b"id", PLAIN, b"alg", b"key", b"");
        let read = Login::parse(&plain).unwrap();
        assert_eq!(
            (read.session_id, read.algorithm, read.key, read.host_key),
            (&b"id"[..], &b"alg"[..], &b"key"[..], None)
        );
        let bound = login(b"id", HOST_BOUND, b"alg", b"key", &[0, 0, 0, 1, 7]);
        assert_eq!(Login::parse(&bound).unwrap().host_key, Some(&[7][..]));
    }

    #[test]
    fn what_is_no_login_is_refused() {
        assert!(Login::parse(&login(b"id", PLAIN, b"alg", b"key", &[0])).is_err());
        assert!(Login::parse(&login(b"id", HOST_BOUND, b"alg", b"key", b"")).is_err());
        assert!(Login::parse(&login(b"id", b"hostbased", b"alg", b"key", b"")).is_err());
        assert!(Login::parse(b"SSHSIG\0\0\0\x04file").is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fall_over(bytes in any::<Vec<u8>>(), at in any::<prop::sample::Index>()) {
            let _ = Login::parse(&bytes);
            let mut whole = login(b"id", HOST_BOUND, b"alg", b"key", &[0, 0, 0, 1, 7]);
            let at = at.index(whole.len());
            whole.splice(at.., bytes);
            let _ = Login::parse(&whole);
        }
    }
}
