//! What a client says before there are keys: its identification line, and the packets of the first key exchange.
//! Never changes a byte and keeps none; it ends a connection at the first that no client of SSH 2.0 sends.
//!
//! RFC 4253 section 4.2 for the line, section 6 for packets. russh is more lenient (it takes `SSH-1.99`, a NUL in the line,
//! a packet without payload), and whoever sends those is no client. What is no part of a key exchange ends it too: strict key
//! exchange asks for that, and here it holds for clients that do not know it, so that nobody on the path can shift the
//! numbers of their packets (CVE-2023-48795).

/// Bytes of the identification line, with its end.
const LINE: usize = 255;
/// What it begins with.
const VERSION: &[u8] = b"SSH-2.0-";
/// Bytes of a packet in the clear after its length. The shortest holds one byte and its padding; a key exchange has some thousands.
const LENGTH: std::ops::RangeInclusive<u32> = 6..=64 << 10;
/// The least padding.
const PADDING: u8 = 4;
/// SSH_MSG_DISCONNECT: whoever agrees on nothing says so.
const DISCONNECT: u8 = 1;
const KEXINIT: u8 = 20;
/// SSH_MSG_NEWKEYS: what comes after it is encrypted.
const NEWKEYS: u8 = 21;
/// The messages of the methods of key exchange (RFC 4250 section 4.1.1).
const METHODS: std::ops::RangeInclusive<u8> = 30..=49;

/// No client says this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotSsh;

/// Reads along what comes in until there are keys.
#[derive(Debug)]
pub struct Clear(State);

#[derive(Debug)]
enum State {
    /// So many bytes of the line have come.
    Line(usize, Ended),
    /// So many bytes of a packet's length, and what they say so far.
    Length(u8, u32),
    /// The padding length of a packet of so many bytes.
    Padding(u32),
    /// The first byte of a payload, before so many others.
    Kind(u32),
    /// So many bytes that say nothing here; whether they are the last in the clear.
    Rest(u32, bool),
    Over,
}

/// Whether a carriage return has come, which only the end of the line may follow.
type Ended = bool;

impl Default for Clear {
    fn default() -> Self {
        Self(State::Line(0, false))
    }
}

impl Clear {
    /// Whether there is nothing more to see.
    pub fn over(&self) -> bool {
        matches!(self.0, State::Over)
    }

    /// Whether the identification line has come.
    pub fn spoken(&self) -> bool {
        !matches!(self.0, State::Line(..))
    }

    /// More has come.
    pub fn heard(&mut self, bytes: &[u8]) -> Result<(), NotSsh> {
        let mut bytes = bytes;
        while let Some((&first, others)) = bytes.split_first() {
            match &mut self.0 {
                State::Over => return Ok(()),
                State::Rest(left, last) => {
                    let skipped = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    bytes = bytes.get(skipped..).unwrap_or_default();
                    *left -= u32::try_from(skipped).unwrap_or(*left);
                    if *left == 0 {
                        self.0 = if *last { State::Over } else { State::Length(0, 0) };
                    }
                }
                _ => {
                    self.step(first)?;
                    bytes = others;
                }
            }
        }
        Ok(())
    }

    fn step(&mut self, byte: u8) -> Result<(), NotSsh> {
        self.0 = match self.0 {
            State::Line(at, ended) => line(at, ended, byte)?,
            State::Length(3, so_far) => {
                let length = so_far << 8 | u32::from(byte);
                if !LENGTH.contains(&length) {
                    return Err(NotSsh);
                }
                State::Padding(length)
            }
            State::Length(count, so_far) => State::Length(count + 1, so_far << 8 | u32::from(byte)),
            // A packet has its padding length, at least one byte of payload, and its padding.
            State::Padding(length) if byte < PADDING || u32::from(byte) + 2 > length => return Err(NotSsh),
            State::Padding(length) => State::Kind(length - 2),
            State::Kind(_) if !exchanges(byte) => return Err(NotSsh),
            State::Kind(rest) => State::Rest(rest, byte == NEWKEYS),
            State::Rest(..) | State::Over => return Ok(()),
        };
        Ok(())
    }
}

/// Whether a message of this number may come before there are keys.
fn exchanges(kind: u8) -> bool {
    matches!(kind, DISCONNECT | KEXINIT | NEWKEYS) || METHODS.contains(&kind)
}

fn line(at: usize, ended: Ended, byte: u8) -> Result<State, NotSsh> {
    let expected = VERSION.get(at).is_none_or(|expected| *expected == byte);
    let printable = byte == b' ' || byte.is_ascii_graphic();
    match byte {
        b'\n' if at >= VERSION.len() => Ok(State::Length(0, 0)),
        _ if !expected || ended || at + 1 >= LINE => Err(NotSsh),
        b'\r' if at >= VERSION.len() => Ok(State::Line(at + 1, true)),
        _ if printable => Ok(State::Line(at + 1, false)),
        _ => Err(NotSsh),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn heard(bytes: &[u8]) -> Result<Clear, NotSsh> {
        let mut clear = Clear::default();
        clear.heard(bytes).map(|()| clear)
    }

    fn packet(kind: u8, payload: usize, padding: u8) -> Vec<u8> {
        let length = u32::try_from(2 + payload + usize::from(padding)).unwrap();
        let mut packet = length.to_be_bytes().to_vec();
        packet.extend([padding, kind]);
        packet.resize(packet.len() + payload + usize::from(padding), 0);
        packet
    }

    #[test]
    fn lines_of_real_clients_are_taken() {
        for line in ["SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n", "SSH-2.0-PuTTY\n", "SSH-2.0-\r\n"] {
            assert!(heard(line.as_bytes()).is_ok(), "{line:?}");
        }
        let longest = format!("SSH-2.0-{}\r\n", "x".repeat(245));
        assert_eq!(longest.len(), LINE);
        assert!(heard(longest.as_bytes()).is_ok());
    }

    #[test]
    fn lines_of_others_are_not() {
        let long = "SSH-2.0-".to_owned() + &"x".repeat(10 << 20);
        let nearly = format!("SSH-2.0-{}\r\n", "x".repeat(246));
        for line in [
            "SSH-1.99-x\r\n",
            "SSH-1.5-x\r\n",
            "GET / HTTP/1.1\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
            "SSH-2.0-a\0b\r\n",
            "SSH-2.0-\u{fc}\r\n",
            "SSH-2.0-a\rb\n",
            "\n",
            &long,
            &nearly,
        ] {
            assert!(heard(line.as_bytes()).is_err(), "{:?}", &line[..line.len().min(40)]);
        }
    }

    #[test]
    fn packets_that_are_none_end_it() {
        let line = b"SSH-2.0-x\r\n".to_vec();
        for length in [0_u32, 1, 4, 5, 70_000, u32::MAX] {
            assert!(heard(&[line.clone(), length.to_be_bytes().to_vec()].concat()).is_err(), "{length}");
        }
        for padding in [0_u8, 3, 11, 255] {
            let bad = [&[0, 0, 0, 12], &[padding][..]].concat();
            assert!(heard(&[line.clone(), bad].concat()).is_err(), "{padding}");
        }
        for kind in 0..=u8::MAX {
            let taken = matches!(kind, 1 | 20 | 21 | 30..=49);
            assert_eq!(heard(&[line.clone(), packet(kind, 1400, 9)].concat()).is_ok(), taken, "{kind}");
        }
    }

    proptest! {
        #[test]
        fn an_exchange_is_followed_to_its_end_in_whatever_pieces(
            payloads in prop::collection::vec((0..3000_usize, 4..32_u8), 0..4),
            cut in 1..50_usize,
        ) {
            let mut bytes = b"SSH-2.0-x\r\n".to_vec();
            for (payload, padding) in payloads {
                bytes.extend(packet(20, payload, padding));
            }
            bytes.extend(packet(NEWKEYS, 0, 10));
            // What follows is encrypted: anything may stand there.
            let whole = [bytes.clone(), vec![0; 40]].concat();
            let mut clear = Clear::default();
            for piece in whole.chunks(cut) {
                prop_assert!(clear.heard(piece).is_ok());
            }
            prop_assert!(clear.over());
            let mut early = Clear::default();
            prop_assert!(early.heard(&bytes[..bytes.len() - 1]).is_ok());
            prop_assert!(!early.over());
        }

        #[test]
        fn whatever_comes_nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = heard(&bytes);
            let _ = heard(&[b"SSH-2.0-x\r\n".to_vec(), bytes].concat());
        }
    }
}
