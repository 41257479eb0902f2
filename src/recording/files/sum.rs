//! The digest of a file that is moved in pieces, which may come a little out of order.
//! It never holds more than it is given room for, and never gives a digest of anything but one whole stretch, moved once.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use ring::digest::{Context, SHA256};

/// What of a file has moved in one direction.
pub(super) struct Sum {
    /// Where it begins.
    from: Option<u64>,
    /// Up to where it was digested.
    next: u64,
    /// All that moved, in whatever order.
    bytes: u64,
    digest: Context,
    /// Pieces that came before their turn.
    ahead: BTreeMap<u64, Vec<u8>>,
    /// Whether it did not move as one stretch, once.
    mixed: bool,
    now: Now,
}

/// The piece that comes now.
enum Now {
    Next,
    Ahead(u64, Vec<u8>),
    Nothing,
}

impl Default for Sum {
    fn default() -> Self {
        let digest = Context::new(&SHA256);
        let ahead = BTreeMap::new();
        Self { from: None, next: 0, bytes: 0, digest, ahead, mixed: false, now: Now::Nothing }
    }
}

impl Sum {
    /// It begins at `offset`, unless it has begun.
    pub(super) fn expect(&mut self, offset: u64) {
        if self.from.is_none() {
            (self.from, self.next) = (Some(offset), offset);
        }
    }

    /// A piece begins at `offset`.
    pub(super) fn begin(&mut self, offset: u64, room: &mut usize) {
        self.expect(offset);
        self.now = match () {
            () if self.mixed => Now::Nothing,
            () if offset == self.next => Now::Next,
            () if offset > self.next => Now::Ahead(offset, Vec::new()),
            () => {
                self.mix(room);
                Now::Nothing
            }
        };
    }

    /// Bytes of the piece.
    pub(super) fn add(&mut self, bytes: &[u8], room: &mut usize) {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        match &mut self.now {
            Now::Next => {
                self.digest.update(bytes);
                self.next = self.next.saturating_add(bytes.len() as u64);
            }
            Now::Ahead(_, piece) => match room.checked_sub(bytes.len()) {
                Some(left) => {
                    *room = left;
                    piece.extend_from_slice(bytes);
                }
                None => {
                    *room += piece.len();
                    self.now = Now::Nothing;
                    self.mix(room);
                }
            },
            Now::Nothing => {}
        }
    }

    /// The piece is whole.
    pub(super) fn end(&mut self, room: &mut usize) {
        if let Now::Ahead(offset, piece) = std::mem::replace(&mut self.now, Now::Nothing) {
            let twice = self.ahead.contains_key(&offset);
            if twice || piece.is_empty() {
                *room += piece.len();
                if twice {
                    self.mix(room);
                }
            } else {
                self.ahead.insert(offset, piece);
            }
        }
        while let Some(first) = self.ahead.first_entry() {
            if *first.key() > self.next {
                return;
            }
            let fits = *first.key() == self.next;
            let piece = first.remove();
            *room += piece.len();
            if !fits {
                self.mix(room);
                return;
            }
            self.digest.update(&piece);
            self.next = self.next.saturating_add(piece.len() as u64);
        }
    }

    /// Gives back what room it holds.
    pub(super) fn release(&mut self, room: &mut usize) {
        if let Now::Ahead(_, piece) = std::mem::replace(&mut self.now, Now::Nothing) {
            *room += piece.len();
        }
        self.mixed |= !self.ahead.is_empty();
        *room += self.ahead.values().map(Vec::len).sum::<usize>();
        self.ahead.clear();
    }

    fn mix(&mut self, room: &mut usize) {
        self.mixed = true;
        *room += self.ahead.values().map(Vec::len).sum::<usize>();
        self.ahead.clear();
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where it begins, and up to where it goes without a gap.
    pub(super) fn stretch(&self) -> (u64, u64) {
        (self.from.unwrap_or(0), self.next)
    }

    /// The digest of the stretch; `None` when it was not one, or not moved once.
    pub(super) fn sha256(&self) -> Option<String> {
        let whole = !self.mixed && self.ahead.is_empty();
        whole.then(|| HEXLOWER.encode(self.digest.clone().finish().as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(sum: &mut Sum, offset: u64, bytes: &[u8], room: &mut usize) {
        sum.begin(offset, room);
        for half in bytes.chunks(2) {
            sum.add(half, room);
        }
        sum.end(room);
    }

    fn of(bytes: &[u8]) -> Option<String> {
        Some(HEXLOWER.encode(ring::digest::digest(&SHA256, bytes).as_ref()))
    }

    #[test]
    fn pieces_out_of_order_make_the_digest_of_the_whole() {
        let (mut sum, mut room) = (Sum::default(), 100);
        sum.expect(4);
        piece(&mut sum, 10, b"ghij", &mut room);
        piece(&mut sum, 7, b"def", &mut room);
        assert_eq!((sum.stretch(), sum.sha256(), room), ((4, 4), None, 93));
        piece(&mut sum, 4, b"abc", &mut room);
        assert_eq!((sum.stretch(), sum.bytes(), room), ((4, 14), 10, 100));
        assert_eq!(sum.sha256(), of(b"abcdefghij"));
    }

    #[test]
    fn what_moved_twice_or_with_a_gap_or_too_far_ahead_has_no_digest_and_gives_its_room_back() {
        for (pieces, room) in [
            (&[(0, 4), (0, 4)][..], 100),
            (&[(0, 4), (2, 4)], 100),
            (&[(0, 4), (8, 4), (8, 4)], 100),
            (&[(0, 4), (8, 4), (4, 6)], 100),
            (&[(0, 4), (9, 4)], 100),
            (&[(0, 4), (9, 40), (4, 5)], 30),
        ] {
            let (mut sum, mut left) = (Sum::default(), room);
            for (offset, length) in pieces {
                piece(&mut sum, *offset, &vec![7; *length], &mut left);
            }
            sum.release(&mut left);
            assert_eq!((sum.sha256(), left), (None, room), "{pieces:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_order_of_pieces_is_the_same_or_none(
            order in proptest::sample::subsequence((0..24usize).collect::<Vec<_>>(), 24).prop_shuffle(),
            room in 0..300usize,
        ) {
            let whole: Vec<u8> = (0..240).map(|i| i as u8).collect();
            let (mut sum, mut left) = (Sum::default(), room);
            sum.expect(0);
            for at in order {
                piece(&mut sum, at as u64 * 10, &whole[at * 10..at * 10 + 10], &mut left);
                proptest::prop_assert!(left <= room);
            }
            sum.release(&mut left);
            proptest::prop_assert_eq!(left, room);
            proptest::prop_assert!(sum.sha256().is_none() || sum.sha256() == of(&whole));
            proptest::prop_assert!(room < 240 || sum.sha256().is_some());
        }
    }
    use proptest::strategy::Strategy as _;
}
