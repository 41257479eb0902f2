//! What a client asks: the three messages that concern the device, and everything else, which is passed on unread.
//! It never decides anything.

use super::fields::{Fields, Malformed, put_string};

const REQUEST_IDENTITIES: u8 = 11;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
const EXTENSION: u8 = 27;
/// OpenSSH `PROTOCOL.agent` section 1.
const SESSION_BIND: &[u8] = b"session-bind@openssh.com";

/// A client's message.
#[derive(Debug, PartialEq, Eq)]
pub enum Request<'m> {
    /// Which keys there are.
    Identities,
    /// A signature.
    Sign(SignRequest<'m>),
    /// To which SSH connection this agent connection belongs; an error when it does not say.
    Bind(Result<SessionBind<'m>, Malformed>),
    /// Not for us.
    Other,
}

/// SSH_AGENTC_SIGN_REQUEST, without its flags: they choose among the hashes of RSA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignRequest<'m> {
    /// With which key.
    pub key: &'m [u8],
    /// What.
    pub data: &'m [u8],
}

/// `session-bind@openssh.com`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionBind<'m> {
    /// The key that the server showed.
    pub host_key: &'m [u8],
    /// The connection's session identifier.
    pub session_id: &'m [u8],
    /// What that key signed it with.
    pub signature: &'m [u8],
    /// Whether the agent is being forwarded.
    pub is_forwarding: bool,
}

impl<'m> Request<'m> {
    /// Tells which message it is. One that is malformed and not a bind is passed on: it is not for us to judge.
    pub fn read(message: &'m [u8]) -> Self {
        let mut fields = Fields::of(message);
        match fields.byte() {
            Ok(REQUEST_IDENTITIES) if fields.is_empty() => Self::Identities,
            Ok(SIGN_REQUEST) => SignRequest::parse(fields).map_or(Self::Other, Self::Sign),
            Ok(EXTENSION) if fields.string() == Ok(SESSION_BIND) => Self::Bind(SessionBind::parse(fields)),
            _ => Self::Other,
        }
    }
}

impl<'m> SignRequest<'m> {
    fn parse(mut fields: Fields<'m>) -> Result<Self, Malformed> {
        let request = Self { key: fields.string()?, data: fields.string()? };
        fields.number()?;
        fields.end()?;
        Ok(request)
    }
}

impl<'m> SessionBind<'m> {
    fn parse(mut fields: Fields<'m>) -> Result<Self, Malformed> {
        let bind = Self {
            host_key: fields.string()?,
            session_id: fields.string()?,
            signature: fields.string()?,
            is_forwarding: fields.boolean()?,
        };
        fields.end()?;
        Ok(bind)
    }
}

/// SSH_AGENT_SIGN_RESPONSE with a signature in its RFC 4253 form.
pub fn signature_answer(signature: &[u8]) -> Vec<u8> {
    let mut answer = vec![SIGN_RESPONSE];
    put_string(&mut answer, signature);
    answer
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bind(parts: [&[u8]; 3], tail: &[u8]) -> Vec<u8> {
        let mut message = vec![EXTENSION];
        put_string(&mut message, SESSION_BIND);
        parts.iter().for_each(|part| put_string(&mut message, part));
        message.extend_from_slice(tail);
        message
    }

    #[test]
    fn a_bind_is_read_or_known_to_be_a_broken_one() {
        let whole = bind([b"key", b"id", b"sig"], &[1]);
        let Request::Bind(Ok(read)) = Request::read(&whole) else { panic!("not read") };
        assert_eq!((read.host_key, read.session_id, read.signature), (&b"key"[..], &b"id"[..], &b"sig"[..]));
        assert!(read.is_forwarding);
        for tail in [&[][..], &[0, 0][..]] {
            assert_eq!(Request::read(&bind([b"k", b"i", b"s"], tail)), Request::Bind(Err(Malformed)));
        }
    }

    #[test]
    fn what_is_not_ours_is_passed_on() {
        let mut other = vec![EXTENSION];
        put_string(&mut other, b"query");
        for message in [&[][..], &[17, 1, 2][..], &other, &[SIGN_REQUEST][..], &[REQUEST_IDENTITIES, 0][..]] {
            assert_eq!(Request::read(message), Request::Other);
        }
        assert_eq!(Request::read(&[REQUEST_IDENTITIES]), Request::Identities);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fall_over(bytes in any::<Vec<u8>>(), kind in prop::sample::select(vec![11_u8, 13, 27])) {
            let _ = Request::read(&bytes);
            let _ = Request::read(&[&[kind][..], &bytes].concat());
            let _ = Request::read(&bind([&bytes, b"", b""], &bytes));
        }
    }
}
