//! The codes of a device's refusal, in the order of the checks: the first that fails is the one.
//! It never decides what a caller is told: codes before [`Code::proves_device`] are for the log alone.

use std::fmt;

/// Why a device was refused. Every check has one code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// POSTURE-001
    Form,
    /// POSTURE-002
    Enrolment,
    /// POSTURE-003
    Signature,
    /// POSTURE-004
    Binding,
    /// POSTURE-005
    Freshness,
    /// POSTURE-006
    Standing,
    /// POSTURE-007
    Owner,
    /// POSTURE-008
    SecondSource,
    /// POSTURE-009
    Facts,
}

impl Code {
    /// All codes, in the order of the checks.
    pub const ALL: [Self; 9] = [
        Self::Form,
        Self::Enrolment,
        Self::Signature,
        Self::Binding,
        Self::Freshness,
        Self::Standing,
        Self::Owner,
        Self::SecondSource,
        Self::Facts,
    ];

    /// As the log writes it, `POSTURE-001`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Form => "POSTURE-001",
            Self::Enrolment => "POSTURE-002",
            Self::Signature => "POSTURE-003",
            Self::Binding => "POSTURE-004",
            Self::Freshness => "POSTURE-005",
            Self::Standing => "POSTURE-006",
            Self::Owner => "POSTURE-007",
            Self::SecondSource => "POSTURE-008",
            Self::Facts => "POSTURE-009",
        }
    }

    /// What it means, in one line.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Form => "the proof is malformed or of a kind that is not accepted",
            Self::Enrolment => "the key is not that of an enrolled, active device of this tenant",
            Self::Signature => "a signature of the proof is wrong",
            Self::Binding => "the proof is not bound to this connection",
            Self::Freshness => "the proof is expired, not yet valid or was used before",
            Self::Standing => "the device is locked, personal or not managed",
            Self::Owner => "this operator may not use this device",
            Self::SecondSource => "the second source on the device disagrees or is stale",
            Self::Facts => "the device's facts do not meet the policy",
        }
    }

    /// Whether the device had proven itself before this check failed. Only then may the refusal be explained to whoever sits
    /// at it.
    #[must_use]
    pub fn proves_device(self) -> bool {
        self >= Self::Standing
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_numbered_in_the_order_of_the_checks() {
        for (number, code) in (1..).zip(Code::ALL) {
            assert_eq!(code.to_string(), format!("POSTURE-{number:03}"));
            assert!(!code.meaning().is_empty());
        }
        assert!(Code::ALL.is_sorted());
    }

    #[test]
    fn only_what_fails_after_the_proof_may_be_explained() {
        let explained: Vec<_> = Code::ALL.into_iter().filter(|code| code.proves_device()).collect();
        assert_eq!(explained, [Code::Standing, Code::Owner, Code::SecondSource, Code::Facts]);
    }
}
