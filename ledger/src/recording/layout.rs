//! Where the bytes of a recording stand: lengths, the fixed head of a frame, the codes of streams and flags.
//!
//! Never reads or writes a file. `docs/recording-format.md` tells the same in words.

use super::Stamp;

/// The first bytes of a recording: not text, and damaged visibly by anything that changes line ends.
pub(super) const MAGIC: [u8; 8] = *b"\x89BTZR\r\n\x1a";
/// The format version this code writes, and the only one it reads.
pub(super) const VERSION: u16 = 1;
/// Magic, version (u16), reserved (u16), header length (u32).
pub(super) const PREAMBLE: usize = 16;
/// The longest header text.
pub(super) const MAX_HEADER: usize = 64 * 1024;
/// The longest payload of one frame; longer ones are split.
pub const MAX_PAYLOAD: usize = 64 * 1024;
/// The fixed head of a frame.
pub(super) const HEAD: usize = 32;
/// The tag of AES-256-GCM.
pub(super) const TAG: usize = 16;
/// How much of the running digest each frame carries.
pub(super) const LINK: usize = 16;
/// The payload is one zstd frame.
pub(super) const PACKED: u8 = 1;
/// The last frame of a sealed recording.
pub(super) const LAST: u8 = 2;

/// Keeps a head of zeros, as a lost page leaves it, from passing the parity.
const PARITY: u16 = 0xb7a5;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Stream {
    /// What the target's program wrote to its terminal or standard output.
    Output = 1,
    /// What it wrote to standard error.
    Stderr = 2,
    /// What the operator sent; recorded only where configured.
    Input = 3,
    /// A new size of the terminal.
    Resize = 4,
    /// A request on the channel: pty, environment, command, signal, exit status.
    Request = 5,
    /// A fact about a file moved by sftp or scp.
    File = 6,
    /// A remark of the bastion itself.
    Note = 7,
}

impl Stream {
    /// The stream of this code.
    pub(super) fn from_code(code: u8) -> Option<Self> {
        [Self::Output, Self::Stderr, Self::Input, Self::Resize, Self::Request, Self::File, Self::Note]
            .into_iter()
            .find(|stream| *stream as u8 == code)
    }

    /// The stream's name in exports and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Output => "output",
            Self::Stderr => "stderr",
            Self::Input => "input",
            Self::Resize => "resize",
            Self::Request => "request",
            Self::File => "file",
            Self::Note => "note",
        }
    }
}

/// The fixed head of a frame, all integers big-endian: sealed length (u32), stream (u8), flags (u8), parity (u16), sequence (u64),
/// monotonic time (u64), wall time (i64).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHead {
    /// Length of the encrypted payload with its tag.
    pub(super) sealed: u32,
    pub(super) stream: u8,
    pub(super) flags: u8,
    pub(super) seq: u64,
    pub(super) stamp: Stamp,
}

impl FrameHead {
    pub(super) fn encode(&self) -> [u8; HEAD] {
        let [l0, l1, l2, l3] = self.sealed.to_be_bytes();
        let [p0, p1] = self.parity().to_be_bytes();
        let [s0, s1, s2, s3, s4, s5, s6, s7] = self.seq.to_be_bytes();
        let [m0, m1, m2, m3, m4, m5, m6, m7] = self.stamp.monotonic_ns.to_be_bytes();
        let [w0, w1, w2, w3, w4, w5, w6, w7] = self.stamp.wall_ns.to_be_bytes();
        [
            l0,
            l1,
            l2,
            l3,
            self.stream,
            self.flags,
            p0,
            p1,
            s0,
            s1,
            s2,
            s3,
            s4,
            s5,
            s6,
            s7,
            m0,
            m1,
            m2,
            m3,
            m4,
            m5,
            m6,
            m7,
            w0,
            w1,
            w2,
            w3,
            w4,
            w5,
            w6,
            w7,
        ]
    }

    /// The head these bytes encode; `None` when the parity disagrees.
    pub(super) fn decode(bytes: &[u8; HEAD]) -> Option<Self> {
        let (sealed, rest) = bytes.split_first_chunk()?;
        let ([stream, flags], rest) = rest.split_first_chunk()?;
        let (parity, rest) = rest.split_first_chunk()?;
        let (seq, rest) = rest.split_first_chunk()?;
        let (monotonic, rest) = rest.split_first_chunk()?;
        let stamp = Stamp {
            monotonic_ns: u64::from_be_bytes(*monotonic),
            wall_ns: i64::from_be_bytes(*rest.first_chunk()?),
        };
        let (sealed, seq) = (u32::from_be_bytes(*sealed), u64::from_be_bytes(*seq));
        let head = Self { sealed, stream: *stream, flags: *flags, seq, stamp };
        (head.parity() == u16::from_be_bytes(*parity)).then_some(head)
    }

    /// The exclusive or of the head's other 16-bit words. It tells a damaged length from a frame that a crash cut short: any
    /// one changed byte changes it. It proves nothing against a forger; the chain and the tag do.
    fn parity(&self) -> u16 {
        let words =
            self.seq ^ self.stamp.monotonic_ns ^ self.stamp.wall_ns.cast_unsigned() ^ u64::from(self.sealed);
        let [a, b, c, d, e, f, g, h] = words.to_be_bytes();
        let fold = |hi: u8, lo: u8| u16::from_be_bytes([hi, lo]);
        fold(a, b) ^ fold(c, d) ^ fold(e, f) ^ fold(g, h) ^ fold(self.stream, self.flags) ^ PARITY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_comes_back_and_no_single_changed_bit_does() {
        let stamp = Stamp { monotonic_ns: 0x0123_4567_89ab_cdef, wall_ns: -5 };
        let head = FrameHead { sealed: 77, stream: 3, flags: PACKED, seq: 9, stamp };
        let bytes = head.encode();
        assert_eq!(FrameHead::decode(&bytes), Some(head));
        for bit in 0..HEAD * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FrameHead::decode(&damaged), None);
        }
        assert_eq!(FrameHead::decode(&[0; HEAD]), None);
    }

    #[test]
    fn every_stream_has_its_code() {
        for code in 0..=255 {
            assert_eq!(
                Stream::from_code(code).map(|stream| stream as u8),
                (1..=7).contains(&code).then_some(code)
            );
        }
    }
}
