//! The agent protocol as far as we speak it: frames, and the few messages that concern the device.
//! It never allocates more than has arrived, and never looks into a message that is not its own.
//!
//! OpenSSH `PROTOCOL.agent` and draft-ietf-sshm-ssh-agent; primitives as in RFC 4251 section 5.

mod fields;
mod frame;
mod identities;
mod login;
mod request;

pub use fields::{Fields, Malformed, put_string};
pub use frame::{read_frame, write_frame};
pub use identities::Identities;
pub use login::Login;
#[cfg(test)]
pub(crate) use login::tests::login as tests_login;
pub use request::{Request, SessionBind, SignRequest, signature_answer};

/// The largest message, in bytes, either way; OpenSSH has the same.
pub const LARGEST: usize = 256 * 1024;
/// SSH_AGENT_FAILURE: the whole of a refusal.
pub const FAILURE: &[u8] = &[5];
/// SSH_AGENT_SUCCESS: the whole of a plain yes.
pub const SUCCESS: &[u8] = &[6];
