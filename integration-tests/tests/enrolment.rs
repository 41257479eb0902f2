//! A person's first enrolment and what stands in for a code: invitations, `mfa enroll totp`, recovery codes.
//! It never makes a seed known to the client in another way than by what stands on the screen.

use std::process::Output;

use bartizan_integration_tests::{Client, DEADLINE, Phone, Rig, Terminal, until};

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn invitation(rig: &Rig, name: &str) -> String {
    let token = rig.said(&["operator", "invite", name]).trim().to_owned();
    assert_eq!(token.len(), 32, "26 characters in groups: {token}");
    token
}

/// Goes through `mfa enroll totp` from the picture to the recovery codes.
fn enrolled(screen: &mut Terminal) -> (Phone, Vec<String>) {
    let shown = screen.expect("Its code now: ");
    assert!(shown.contains('█') && shown.contains("Key: "), "{shown}");
    let phone = Phone::scanning(&shown);
    screen.line(&phone.wrong());
    screen.expect("That is not its code");
    screen.expect("Its code now: ");
    let first = phone.fresh();
    screen.line(&first);
    screen.expect("Its next code: ");
    screen.line(&first);
    screen.expect("the same code");
    screen.expect("Its next code: ");
    screen.line(&phone.fresh());
    screen.expect("Recovery codes.");
    let codes = screen.expect("Keep them where");
    let codes: Vec<String> = codes
        .split_whitespace()
        .filter(|word| word.len() == 15 && word.contains('-'))
        .map(str::to_owned)
        .collect();
    assert_eq!(codes.len(), 10, "{codes:?}");
    (phone, codes)
}

/// Logs in by a recovery code and says a word.
fn by_recovery(client: &Client<'_>, code: &str, word: &str) -> Terminal {
    let mut screen = client.word_on_terminal(word);
    screen.expect("One-time code: ");
    screen.line("?");
    screen.expect("Recovery code: ");
    screen.line(code);
    screen
}

#[test]
fn an_invited_person_enrols_and_then_logs_in_with_code_or_recovery_code() {
    let rig = Rig::new().operator("carol").without_phone().target("db1").fresh("0s").start();
    let carol = rig.client("carol");
    let token = invitation(&rig, "carol");
    let mut screen = carol.word_on_terminal("mfa enroll totp");
    screen.expect("Invitation: ");
    screen.line(&token);
    let (phone, codes) = enrolled(&mut screen);
    assert_eq!(screen.exit(), 0);

    // The same token opens nothing any more, and the codes that confirmed the seed are used up.
    let used = carol.clone().answering(&token).word("whoami");
    assert_eq!(used.status.code(), Some(255), "{}", err(&used));
    let used = carol.clone().answering(&phone.used()).word("whoami");
    assert_eq!(used.status.code(), Some(255), "{}", err(&used));
    let fresh = carol.clone().answering(&phone.fresh()).ssh("db1", "echo in");
    assert_eq!(fresh.stdout, b"in\n", "{}", err(&fresh));

    let mut screen = by_recovery(&carol, &codes[3], "whoami");
    screen.expect("a recovery code");
    assert_eq!(screen.exit(), 0);
    assert_ne!(by_recovery(&carol, &codes[3], "whoami").exit(), 0, "used up");
    let login =
        rig.events().into_iter().rfind(|e| e["type"] == "auth.login" && e["outcome"] == "ok").unwrap();
    assert_eq!(
        (&login["detail"]["factors"][1]["factor"], &login["detail"]["codes"]),
        (&"recovery".into(), &false.into())
    );

    // By a recovery code a new phone is enrolled at once, and the old one and its recovery codes are over.
    let mut screen = by_recovery(&carol, &codes[5].to_lowercase(), "mfa enroll totp");
    let (second, _) = enrolled(&mut screen);
    assert_eq!(screen.exit(), 0);
    let old = carol.clone().answering(&phone.fresh()).word("whoami");
    assert_eq!(old.status.code(), Some(255), "{}", err(&old));
    let new = carol.clone().answering(&second.fresh()).word("mfa show --json");
    assert_eq!(new.status.code(), Some(0), "{}", err(&new));
    assert!(String::from_utf8_lossy(&new.stdout).contains("\"recovery_left\": 10"), "{new:?}");
    for kind in ["admin.operator.invite", "admin.mfa.enroll"] {
        assert!(rig.events().iter().any(|e| e["type"] == kind && e["outcome"] == "ok"), "{kind}");
    }
    // No token, seed or recovery code stands in the log.
    let log = format!("{:?}", rig.events());
    for secret in codes.iter().chain([&token, &second.base32()]) {
        assert!(!log.contains(secret.as_str()), "{secret}");
    }
}

#[test]
fn an_invitation_leads_to_enrolment_and_nowhere_else() {
    let rig = Rig::new().operator("carol").without_phone().role("administrator").target("db1").start();
    let carol = |token: &str| rig.client("carol").answering(token);
    let tries: [(&str, i32, &str); 4] = [
        ("whoami", 0, ""),
        ("targets", 1, "an invitation opens"),
        ("operator list", 1, "an invitation opens"),
        ("mfa recovery", 1, "an invitation opens"),
    ];
    for (word, code, told) in tries {
        let said = carol(&invitation(&rig, "carol")).word(word);
        assert_eq!(said.status.code(), Some(code), "{word}: {}", err(&said));
        assert!(err(&said).contains(told), "{word}: {}", err(&said));
    }
    // A target in the login name, a jump and a subsystem open nothing.
    let named = carol(&invitation(&rig, "carol")).ssh("db1", "echo in");
    assert_eq!((named.status.code(), named.stdout.as_slice()), (Some(2), &b""[..]), "{}", err(&named));
    let jump = carol(&invitation(&rig, "carol"))
        .command("ssh")
        .args(["-W", "db1:22", "carol@bastion"])
        .output()
        .unwrap();
    assert_ne!(jump.status.code(), Some(0));
    assert_eq!(jump.stdout, b"", "no inner server");
    let sftp = carol(&invitation(&rig, "carol"))
        .command("ssh")
        .args(["-s", "carol@bastion", "sftp"])
        .output()
        .unwrap();
    assert_eq!(sftp.status.code(), Some(254), "{}", err(&sftp));
    assert!(rig.recordings().is_empty() && rig.live().is_empty());
    // Without a terminal nothing can be typed.
    let blind = carol(&invitation(&rig, "carol")).word("mfa enroll totp");
    assert_eq!(blind.status.code(), Some(1));
    assert!(err(&blind).contains("ssh -t"), "{}", err(&blind));
}

#[test]
fn a_disabled_guest_is_cut_while_the_seed_is_on_the_screen() {
    let rig = Rig::new().operator("carol").without_phone().target("db1").start();
    let token = invitation(&rig, "carol");
    let mut screen = rig.client("carol").word_on_terminal("");
    screen.expect("Invitation: ");
    screen.line(&token);
    let shown = screen.expect("Its code now: ");
    rig.said(&["operator", "disable", "carol"]);
    assert_ne!(screen.exit(), 0);
    rig.said(&["operator", "enable", "carol"]);
    let phone = Phone::scanning(&shown);
    let said = rig.client("carol").answering(&phone.fresh()).word("whoami");
    assert_eq!(said.status.code(), Some(255), "the seed was not kept: {}", err(&said));
}

#[test]
fn who_has_an_authenticator_is_not_invited_and_changes_it_by_a_code_only() {
    let rig = Rig::new().operator("ana").target("db1").start();
    let refused = rig.bartizan(&["operator", "invite", "ana"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(err(&refused).contains("mfa enroll totp"), "{}", err(&refused));
    // Logged in by memory: the code that counts is not one that proves anything now.
    assert_eq!(rig.client("ana").word("whoami").status.code(), Some(0));
    let mut screen = rig.client("ana").word_on_terminal("mfa recovery");
    screen.expect("Present one-time code");
    screen.line(&rig.phone("ana").wrong());
    screen.expect("not accepted");
    screen.line(&rig.phone("ana").fresh());
    screen.expect("Recovery codes.");
    assert_eq!(screen.exit(), 0);
    let failed = rig.client("ana").word("mfa enroll totp");
    assert_eq!(failed.status.code(), Some(1), "without a terminal");
    // Given up half-way, the present authenticator stays.
    let mut screen = rig.client("ana").word_on_terminal("mfa enroll totp");
    screen.expect("Present one-time code");
    screen.line(&rig.phone("ana").fresh());
    screen.expect("Its code now: ");
    screen.send("\u{3}");
    screen.expect("nothing was changed");
    assert_eq!(screen.exit(), 1);
    let forgot = rig.client("ana").word("mfa forget");
    assert_eq!(forgot.status.code(), Some(0), "{}", err(&forgot));
    let asked = rig.client("ana").prompts().len();
    let fresh = rig.phone("ana").fresh();
    assert_eq!(rig.client("ana").answering(&fresh).word("whoami").status.code(), Some(0));
    until("the prompt", DEADLINE, || (rig.client("ana").prompts().len() > asked).then_some(()));
}
