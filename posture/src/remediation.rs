//! What whoever sits at a refused device is told: what failed, what to do, and where to ask.
//! It never explains anything to a device that is not proven, and never passes on a control character of a device's own words.

use std::fmt;

use crate::code::Code;
use crate::device::Kind;

/// The one text for every device that did not prove itself (POSTURE-001 to 005), whatever the reason.
pub const NO_PROOF: &str = "bartizan: this machine did not prove that it is a registered device; ask your administrator to register it";

/// Where the code stands in the first line.
const CODE_COLUMN: usize = 63;
/// No line says more than this many characters of a cause.
const LONGEST: usize = 200;
/// The most checks that are told at once.
const MOST: usize = 8;

/// The lines for a proven device that may not connect; `Display` gives them, with a newline after each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remediation {
    kind: Kind,
    code: Code,
    /// What failed, and what to do about it.
    failed: Vec<(String, String)>,
    reference: String,
}

/// A check that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failing<'a> {
    /// Its name.
    pub check: &'a str,
    /// What was found.
    pub found: &'a str,
    /// What whoever sits at the device can do.
    pub remedy: &'a str,
}

impl Remediation {
    pub(crate) fn new(kind: Kind, code: Code, failing: Failing<'_>, reference: &str) -> Self {
        Self { kind, code, failed: vec![failing.lines()], reference: clean(reference) }
    }

    /// POSTURE-009: facts of a proven device are not as the policy asks. Of many failed checks the first few are told.
    #[must_use]
    pub fn of_facts(kind: Kind, failing: &[Failing<'_>], reference: &str) -> Self {
        let failed = failing.iter().take(MOST).copied().map(Failing::lines).collect();
        Self { kind, code: Code::Facts, failed, reference: clean(reference) }
    }

    /// The code in the text.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }
}

impl Failing<'_> {
    fn lines(self) -> (String, String) {
        (clean(&format!("{}: {}", self.check, self.found)), clean(self.remedy))
    }
}

impl fmt::Display for Remediation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = format!("bartizan: this {} may not connect yet", self.kind);
        writeln!(f, "{first:<CODE_COLUMN$}[{}]", self.code)?;
        for (failed, remedy) in &self.failed {
            writeln!(f, "  failed  {failed}")?;
            writeln!(f, "  do      {remedy}")?;
        }
        writeln!(f, "  ref     {}, for the service desk", self.reference)
    }
}

/// Letters, digits, ASCII signs and blanks; everything else, and so every control and direction character, becomes `?`.
fn clean(text: &str) -> String {
    let plain = |c: char| if c == ' ' || c.is_ascii_graphic() || c.is_alphanumeric() { c } else { '?' };
    text.chars().map(plain).take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ABC: Failing<'_> = Failing { check: "a", found: "b", remedy: "c" };

    #[test]
    fn every_check_has_its_two_lines_up_to_a_bound() {
        for (checks, lines) in [(1, 4), (3, 8), (100, 2 + 2 * MOST)] {
            let text = Remediation::of_facts(Kind::Host, &vec![ABC; checks], "d").to_string();
            assert_eq!(text.lines().count(), lines);
        }
    }

    #[test]
    fn the_text_has_its_fixed_layout() {
        let failing = Failing {
            check: "disk encryption",
            found: "/dev/sda2 is not encrypted",
            remedy: "turn on LUKS, run `bartizan-agent refresh`, connect again",
        };
        let remediation = Remediation::of_facts(Kind::Laptop, &[failing], "01JD37F2K");
        assert_eq!(remediation, Remediation::new(Kind::Laptop, Code::Facts, failing, "01JD37F2K"));
        assert_eq!(
            remediation.to_string(),
            "bartizan: this laptop may not connect yet                      [POSTURE-009]\n  \
             failed  disk encryption: /dev/sda2 is not encrypted\n  \
             do      turn on LUKS, run `bartizan-agent refresh`, connect again\n  \
             ref     01JD37F2K, for the service desk\n"
        );
    }

    #[test]
    fn the_code_stands_in_one_column_for_every_kind() {
        for kind in [Kind::Laptop, Kind::Host] {
            let text = Remediation::new(kind, Code::Standing, ABC, "d").to_string();
            assert_eq!(text.find('['), Some(CODE_COLUMN), "{text}");
        }
    }

    #[test]
    fn the_constant_text_is_one_line_and_names_no_check() {
        assert!(NO_PROOF.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        assert!(!NO_PROOF.contains("POSTURE"));
    }

    proptest! {
        #[test]
        fn a_device_cannot_draw_on_the_screen(found in any::<String>(), reference in any::<String>()) {
            let failing = Failing { check: "check", found: &found, remedy: "do" };
            let text = Remediation::of_facts(Kind::Laptop, &[failing], &reference).to_string();
            prop_assert_eq!(text.lines().count(), 4);
            prop_assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
            prop_assert!(text.chars().count() < 600);
        }
    }
}
