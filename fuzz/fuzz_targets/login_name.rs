//! Login names and the names in them, against their grammar written out once more.
//! Holds: read exactly when the grammar holds; what is read is printed as it was written; nothing is folded into another name.
#![no_main]

use bartizan_fuzz::sow;
use libfuzzer_sys::fuzz_target;
use policy::{AccountName, LoginName, OperatorName, SubsystemName};

/// `[a-z0-9][a-z0-9._-]{0,63}`, or with upper case and a leading `_`.
fn is_name(text: &str, mixed: bool, more: &str) -> bool {
    let lower = |c: char| c.is_ascii_digit() || c.is_ascii_lowercase();
    let first = |c: char| lower(c) || mixed && (c.is_ascii_uppercase() || c == '_');
    (1..=64).contains(&text.len())
        && text.chars().next().is_some_and(first)
        && text.chars().all(|c| first(c) || "._-".contains(c) || more.contains(c))
}

fn is_login(text: &str) -> bool {
    let parts: Vec<&str> = text.split(['+', ',']).collect();
    match parts[..] {
        [operator] => is_name(operator, false, ""),
        [operator, target] => is_name(operator, false, "") && is_name(target, false, ""),
        [operator, account, target] => {
            is_name(operator, false, "") && is_name(account, true, "") && is_name(target, false, "")
        }
        _ => false,
    }
}

fn seeds() -> Vec<Vec<u8>> {
    ["alice", "alice+web-1", "alice,Deploy,web-1", "enroll+0123", "netconf@x", "SFTP"]
        .map(|text| text.into())
        .to_vec()
}

fuzz_target!(init: sow("login_name", seeds()), |text: &str| {
    let read = LoginName::parse(text);
    assert_eq!(read.is_ok(), is_login(text), "{read:?}");
    if let Ok(login) = read {
        let printed = login.to_string();
        assert_eq!(printed, text.replace(',', "+"));
        assert_eq!(LoginName::parse(&printed), Ok(login));
    }
    assert_eq!(OperatorName::parse(text).is_ok(), is_name(text, false, ""));
    assert_eq!(AccountName::parse(text).is_ok(), is_name(text, true, ""));
    let subsystem = is_name(text, true, "@") && !text.eq_ignore_ascii_case("sftp");
    assert_eq!(SubsystemName::parse(text).is_ok(), subsystem);
});
