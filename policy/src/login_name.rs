//! What stands before the `@` of a login: `operator`, `operator+target` or `operator+account+target`.
//! Never looks anything up and never guesses: what is not exactly this grammar is refused before any look-up.

use std::fmt;

use thiserror::Error;

use crate::names::{AccountName, LONGEST_NAME, NameError, OperatorName, TargetName};

/// The longest login name that can hold three names and two separators, in bytes.
const LONGEST: usize = LONGEST_NAME * 3 + 2;

/// A login name that holds its grammar. `,` may stand for `+`, since URLs turn `+` into a space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginName {
    /// Who logs in.
    pub operator: OperatorName,
    /// Where to; none for the picker, the words and `-J`.
    pub target: Option<TargetName>,
    /// As whom there; none for the target's `default_account`. Never without a target.
    pub account: Option<AccountName>,
}

/// Why a login name is not one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LoginNameError {
    /// Longer than three names and two separators.
    #[error("a login name has {0} bytes; at most {LONGEST} are allowed")]
    TooLong(usize),
    /// More than three parts.
    #[error("a login name has {0} parts; write operator, operator+target or operator+account+target")]
    Parts(usize),
    /// A part is not a name.
    #[error("a login name is malformed: {0}")]
    Name(#[from] NameError),
}

impl LoginName {
    /// Reads a login name.
    ///
    /// # Errors
    /// When it is too long, has an empty part, more than three, or a part that is not a name.
    pub fn parse(text: &str) -> Result<Self, LoginNameError> {
        if text.len() > LONGEST {
            return Err(LoginNameError::TooLong(text.len()));
        }
        let parts: Vec<&str> = text.split(['+', ',']).collect();
        let (operator, account, target) = match *parts.as_slice() {
            [operator] => (operator, None, None),
            [operator, target] => (operator, None, Some(target)),
            [operator, account, target] => (operator, Some(account), Some(target)),
            ref other => return Err(LoginNameError::Parts(other.len())),
        };
        Ok(Self {
            operator: OperatorName::parse(operator)?,
            account: account.map(AccountName::parse).transpose()?,
            target: target.map(TargetName::parse).transpose()?,
        })
    }
}

impl fmt::Display for LoginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.operator)?;
        if let Some(account) = &self.account {
            write!(f, "+{account}")?;
        }
        if let Some(target) = &self.target {
            write!(f, "+{target}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn three_forms_are_read() {
        let alone = LoginName::parse("alice").unwrap();
        assert_eq!((alone.operator.as_str(), alone.target, alone.account), ("alice", None, None));
        let two = LoginName::parse("alice+web-1").unwrap();
        assert_eq!((two.target.unwrap().as_str(), two.account), ("web-1", None));
        let three = LoginName::parse("alice+Deploy+web-1").unwrap();
        assert_eq!((three.target.unwrap().as_str(), three.account.unwrap().as_str()), ("web-1", "Deploy"));
    }

    #[test]
    fn a_comma_stands_for_a_plus() {
        assert_eq!(LoginName::parse("alice,root,web-1"), LoginName::parse("alice+root+web-1"));
        assert_eq!(LoginName::parse("alice,root+web-1"), LoginName::parse("alice+root+web-1"));
    }

    #[test]
    fn everything_else_is_refused() {
        let long = "a".repeat(10 * 1024);
        let bad = [
            "", "+", "++", "a++b", "a+", "+a", "a+b+c+d", "a b", "a+b c", "a%2Bb", "A", "a+B", "a\n", "a\0",
            "а+b", "a@b", "a+b+C", "a+.b", &long,
        ];
        for text in bad {
            assert!(LoginName::parse(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn hostile_text_is_read_or_refused_and_what_is_read_is_what_was_written(text in any::<String>()) {
            if let Ok(login) = LoginName::parse(&text) {
                prop_assert_eq!(login.to_string(), text.replace(',', "+"));
            }
        }

        #[test]
        fn every_well_formed_login_is_read(
            operator in "[a-z0-9][a-z0-9._-]{0,63}",
            account in proptest::option::of("[A-Za-z0-9_][A-Za-z0-9._-]{0,63}"),
            target in "[a-z0-9][a-z0-9._-]{0,63}",
            separator in "[+,]",
        ) {
            let middle = account.iter().map(|a| format!("{a}{separator}")).collect::<String>();
            let login = LoginName::parse(&format!("{operator}{separator}{middle}{target}")).unwrap();
            prop_assert_eq!(login.operator.as_str(), operator);
            prop_assert_eq!(login.account.map(|a| a.to_string()), account);
            prop_assert_eq!(login.target.map(|t| t.to_string()), Some(target));
        }
    }
}
