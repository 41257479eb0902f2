//! What the bastion offers in a key exchange, judged by an auditor that is not ours.
//! It never holds a warning about clients that know no post-quantum exchange against a profile that is there for them.

use std::process::{Command, Output};

use bartizan_integration_tests::{Rig, python_tool};

/// No failure and no warning; a warning and no failure (its own exit codes).
const FAULTLESS: i32 = 0;
const WARNS: i32 = 2;

fn audited(profile: &str) -> Output {
    let rig = Rig::new().setting("ssh", &format!("profile = \"{profile}\"")).start();
    let address = rig.server().address();
    let mut audit = Command::new(python_tool("ssh-audit"));
    audit.args(["--skip-rate-test", "--no-colors", "-p", &address.port().to_string()]);
    audit.arg(address.ip().to_string()).output().unwrap()
}

#[test]
fn an_auditor_finds_no_failure_in_any_profile_and_no_warning_in_the_strict_one() {
    let strict = audited("strict");
    let text = String::from_utf8_lossy(&strict.stdout).into_owned();
    assert_eq!(strict.status.code(), Some(FAULTLESS), "{text}");
    assert!(text.contains("kex-strict-s-v00@openssh.com") && text.contains("ssh-ed25519"), "{text}");
    let compatible = audited("compatible");
    let text = String::from_utf8_lossy(&compatible.stdout).into_owned();
    assert_eq!(compatible.status.code(), Some(WARNS), "{text}");
    assert!(!text.contains("[fail]") && !text.contains("nistp"), "{text}");
    for warning in text.lines().filter(|line| line.contains("[warn]")) {
        assert!(warning.starts_with("(kex) curve25519-sha256"), "{text}");
    }
    let broad = audited("broad");
    let text = String::from_utf8_lossy(&broad.stdout).into_owned();
    assert_eq!(broad.status.code(), Some(WARNS), "{text}");
}
