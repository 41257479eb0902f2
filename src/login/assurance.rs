//! How much assurance a set of proven factors really reaches, by `POSTURE.md` section 5 (after NIST SP 800-63B-4).
//! It never counts two possessions as two kinds, and never more than was verified here.

use std::collections::BTreeSet;

use policy::Factor;

/// 0 to 3. A password (something known) beside a possession is 2; possessions alone, however many, are 1.
///
/// A key on a security device counts as a software key here: that it was touched, or is attested, is not verified by the
/// transport.
pub(super) fn of(factors: &BTreeSet<Factor>) -> u8 {
    let has = |factor| factors.contains(&factor);
    let possession = has(Factor::Key) || has(Factor::Code) || has(Factor::Presence);
    match (has(Factor::Password), has(Factor::Code) || has(Factor::Presence), possession) {
        (true, true, _) => 2,
        (true, false, _) | (false, _, true) => 1,
        (false, _, false) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_possessions_are_one_kind() {
        let level = |factors: &[Factor]| of(&factors.iter().copied().collect());
        assert_eq!(level(&[]), 0);
        assert_eq!(level(&[Factor::Key]), 1);
        assert_eq!(level(&[Factor::Key, Factor::Code]), 1);
        assert_eq!(level(&[Factor::Password]), 1);
        assert_eq!(level(&[Factor::Password, Factor::Code]), 2);
        assert_eq!(level(&[Factor::Password, Factor::Key, Factor::Presence]), 2);
        assert_eq!(level(&[Factor::Recovery]), 0);
    }
}
