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

/// Four lines for a proven device that may not connect; `Display` gives them, with a newline after each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remediation {
    kind: Kind,
    code: Code,
    failed: String,
    remedy: String,
    reference: String,
}

impl Remediation {
    pub(crate) fn new(
        kind: Kind,
        code: Code,
        check: &str,
        found: &str,
        remedy: &str,
        reference: &str,
    ) -> Self {
        let failed = clean(&format!("{check}: {found}"));
        Self { kind, code, failed, remedy: clean(remedy), reference: clean(reference) }
    }

    /// The code in the text.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }
}

impl fmt::Display for Remediation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = format!("bartizan: this {} may not connect yet", self.kind);
        writeln!(f, "{first:<CODE_COLUMN$}[{}]", self.code)?;
        writeln!(f, "  failed  {}", self.failed)?;
        writeln!(f, "  do      {}", self.remedy)?;
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

    #[test]
    fn the_text_has_its_fixed_layout() {
        let remediation = Remediation::new(
            Kind::Laptop,
            Code::Facts,
            "disk encryption",
            "/dev/sda2 is not encrypted",
            "turn on LUKS, run `bartizan-agent refresh`, connect again",
            "01JD37F2K",
        );
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
            let text = Remediation::new(kind, Code::Standing, "a", "b", "c", "d").to_string();
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
            let text = Remediation::new(Kind::Laptop, Code::Facts, "check", &found, "do", &reference).to_string();
            prop_assert_eq!(text.lines().count(), 4);
            prop_assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
            prop_assert!(text.chars().count() < 600);
        }
    }
}
