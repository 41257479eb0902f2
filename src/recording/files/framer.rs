//! One direction of the SFTP protocol cut into packets, from pieces of any size.
//! It never holds the content of a file, and never more of a packet than its bound.

/// The longest packet that is looked at whole; of a longer one only the front is.
const FRONT: usize = 64 << 10;
/// The front of a write that holds all but the data: id, handle, offset and length.
const WRITE_FRONT: usize = 4 + 4 + HANDLE + 8 + 4;
/// The longest handle (draft-ietf-secsh-filexfer-02 section 6.2).
pub(super) const HANDLE: usize = 256;

pub(super) const WRITE: u8 = 6;
pub(super) const DATA: u8 = 103;

/// What the bytes say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// A packet: its type and what follows; `false` when only the front of it is here.
    Packet(u8, &'a [u8], bool),
    /// A packet with data begins: its type, what stands before the data, and how long the data is to be.
    Begin(u8, &'a [u8], u64),
    /// Data, and where it stands in what was given.
    Bytes(&'a [u8]),
    /// The data is over.
    End,
    /// No packet is this short.
    Empty,
}

/// Where in a packet the next byte stands.
#[derive(Debug)]
enum Stage {
    /// In length and type.
    Head,
    /// In what is looked at before anything else: so many bytes are wanted, and so many follow.
    Front { kind: u8, want: usize, after: u64 },
    /// In data, with so much else behind it.
    Data { left: u64, after: u64 },
    /// In what is not looked at.
    Skip { left: u64 },
}

/// Cuts.
#[derive(Debug)]
pub(super) struct Framer {
    stage: Stage,
    buffer: Vec<u8>,
}

impl Default for Framer {
    fn default() -> Self {
        Self { stage: Stage::Head, buffer: Vec::new() }
    }
}

impl Framer {
    /// Gives what the bytes say, piece by piece.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut give: impl FnMut(Piece<'_>)) {
        while !bytes.is_empty() {
            bytes = match self.stage {
                Stage::Head => self.head(bytes, &mut give),
                Stage::Front { kind, want, after } => self.front(bytes, kind, want, after, &mut give),
                Stage::Data { left, after } => self.data(bytes, left, after, &mut give),
                Stage::Skip { left } => {
                    let (_, rest) = split(bytes, left);
                    self.skip(left - (bytes.len() - rest.len()) as u64);
                    rest
                }
            };
        }
    }

    fn head<'a>(&mut self, bytes: &'a [u8], give: &mut impl FnMut(Piece<'_>)) -> &'a [u8] {
        let rest = self.gather(bytes, 4);
        let Some(length) = self.buffer.first_chunk::<4>().map(|length| u32::from_be_bytes(*length)) else {
            return rest;
        };
        if length == 0 {
            self.buffer.clear();
            give(Piece::Empty);
            return rest;
        }
        let rest = self.gather(rest, 5);
        let Some(kind) = self.buffer.get(4).copied() else { return rest };
        self.buffer.clear();
        let body = u64::from(length) - 1;
        let want = if kind == WRITE {
            WRITE_FRONT
        } else if kind == DATA {
            8
        } else {
            FRONT
        };
        let want = usize::try_from(body).map_or(want, |body| want.min(body));
        self.stage = Stage::Front { kind, want, after: body - want as u64 };
        if want == 0 {
            self.front(&[], kind, 0, 0, give);
        }
        rest
    }

    fn front<'a>(
        &mut self,
        bytes: &'a [u8],
        kind: u8,
        want: usize,
        after: u64,
        give: &mut impl FnMut(Piece<'_>),
    ) -> &'a [u8] {
        let rest = self.gather(bytes, want);
        if self.buffer.len() < want {
            return rest;
        }
        let front = std::mem::take(&mut self.buffer);
        match data_at(kind, &front) {
            Some((at, length)) => {
                let (before, first) = front.split_at_checked(at).unwrap_or((&front, &[]));
                // What the packet says of its data, within what it says of itself.
                let here = first.len() as u64;
                let length = length.min(here + after);
                give(Piece::Begin(kind, before, length));
                let (first, _) = split(first, length);
                if !first.is_empty() {
                    give(Piece::Bytes(first));
                }
                let left = length - first.len() as u64;
                self.stage = Stage::Data { left, after: after - left.min(after) };
                if left == 0 {
                    give(Piece::End);
                    self.skip(after);
                }
            }
            None => {
                give(Piece::Packet(kind, &front, after == 0));
                self.skip(after);
            }
        }
        // The room is used again.
        self.buffer = front;
        self.buffer.clear();
        self.buffer.shrink_to(WRITE_FRONT);
        rest
    }

    fn data<'a>(
        &mut self,
        bytes: &'a [u8],
        left: u64,
        after: u64,
        give: &mut impl FnMut(Piece<'_>),
    ) -> &'a [u8] {
        let (data, rest) = split(bytes, left);
        give(Piece::Bytes(data));
        let left = left - data.len() as u64;
        self.stage = Stage::Data { left, after };
        if left == 0 {
            give(Piece::End);
            self.skip(after);
        }
        rest
    }

    fn skip(&mut self, left: u64) {
        self.stage = if left == 0 { Stage::Head } else { Stage::Skip { left } };
    }

    /// Fills the buffer up to `want` bytes; what is left over.
    fn gather<'a>(&mut self, bytes: &'a [u8], want: usize) -> &'a [u8] {
        let missing = want.saturating_sub(self.buffer.len()).min(bytes.len());
        let (taken, rest) = bytes.split_at_checked(missing).unwrap_or((bytes, &[]));
        self.buffer.extend_from_slice(taken);
        rest
    }
}

fn split(bytes: &[u8], at: u64) -> (&[u8], &[u8]) {
    usize::try_from(at).ok().and_then(|at| bytes.split_at_checked(at)).unwrap_or((bytes, &[]))
}

/// Where the data of such a packet begins and how long it says it is; `None` for one without data, or whose front is not one.
fn data_at(kind: u8, front: &[u8]) -> Option<(usize, u64)> {
    let number = |at: usize| Some(u32::from_be_bytes(*front.get(at..)?.first_chunk::<4>()?));
    let at = match kind {
        WRITE => {
            let handle = usize::try_from(number(4)?).ok().filter(|length| *length <= HANDLE)?;
            4 + 4 + handle + 8
        }
        DATA => 4,
        _ => return None,
    };
    Some((at + 4, number(at)?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 1).unwrap().to_be_bytes();
        [&length[..], &[kind], body].concat()
    }

    fn write(data: &[u8], said: u32) -> Vec<u8> {
        let body = [&[0, 0, 0, 9, 0, 0, 0, 2, b'h', b'h'][..], &[0; 8], &said.to_be_bytes(), data].concat();
        packet(WRITE, &body)
    }

    /// What the bytes say, with data joined.
    fn said(bytes: &[u8], cut: usize) -> Vec<String> {
        let (mut framer, mut said, mut data) = (Framer::default(), Vec::new(), Vec::new());
        for piece in bytes.chunks(cut) {
            framer.feed(piece, |piece| match piece {
                Piece::Packet(kind, body, whole) => said.push(format!("{kind} {} {whole}", body.len())),
                Piece::Begin(kind, front, length) => {
                    said.push(format!("{kind} front {} of {length}", front.len()))
                }
                Piece::Bytes(bytes) => data.extend_from_slice(bytes),
                Piece::End => {
                    said.push(format!("data {:?}", String::from_utf8_lossy(&std::mem::take(&mut data))))
                }
                Piece::Empty => said.push("empty".into()),
            });
        }
        said
    }

    #[test]
    fn packets_are_the_same_however_they_are_cut() {
        let long = packet(3, &vec![b'p'; FRONT + 10]);
        let all = [
            packet(1, &[0, 0, 0, 3]),
            packet(4, b""),
            write(b"hello", 5),
            write(b"", 0),
            packet(DATA, &[&[0, 0, 0, 1, 0, 0, 0, 3][..], b"abc"].concat()),
            vec![0; 4],
            write(b"more than it says", 4),
            write(b"less", 400),
            packet(WRITE, &[0, 0, 0, 9, 0, 0, 2, 0, 1]),
            long,
            packet(17, b"x"),
        ]
        .concat();
        let whole = said(&all, all.len());
        assert_eq!(
            whole,
            [
                "1 4 true",
                "4 0 true",
                "6 front 22 of 5",
                "data \"hello\"",
                "6 front 22 of 0",
                "data \"\"",
                "103 front 8 of 3",
                "data \"abc\"",
                "empty",
                "6 front 22 of 4",
                "data \"more\"",
                "6 front 22 of 4",
                "data \"less\"",
                "6 9 true",
                "3 65536 false",
                "17 1 true",
            ]
        );
        for cut in [1, 2, 3, 7, 64, 1000] {
            assert_eq!(said(&all, cut), whole, "{cut}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_cut_the_same_way_and_held_within_bounds(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400), cut in 1..50usize,
        ) {
            // Short lengths, so that packets end.
            let bytes: Vec<u8> = bytes.chunks(9).flat_map(|part| [&[0, 0, 0][..], part].concat()).collect();
            proptest::prop_assert_eq!(said(&bytes, cut), said(&bytes, bytes.len().max(1)));
        }
    }
}
