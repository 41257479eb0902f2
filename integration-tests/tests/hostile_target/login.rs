//! A target that wants more than the certificate, or talks without end before it lets anybody in.
//! Whatever it asks for, nothing of the operator's ever comes.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bartizan_integration_tests::{BareGuest, Fields, Message, soon};

use crate::scene::{Manner, Scene, told};

const USERAUTH_REQUEST: u8 = 50;
const FAILURE: u8 = 51;
const BANNER: u8 = 53;
/// Keyboard-interactive: a prompt. Public keys: this one would do. Passwords: yours is too old.
const ASKED: u8 = 60;

fn prompt(text: &str) -> Message {
    Message::new(ASKED).string("").string("your code, please").string("").number(1).string(text).flag(false)
}

fn banner(text: &str) -> Message {
    Message::new(BANNER).string(text).string("")
}

fn failure(methods: &str) -> Message {
    Message::new(FAILURE).string(methods).flag(false)
}

#[test]
fn a_target_that_asks_for_a_password_or_a_code_hears_nothing_of_the_operators() {
    type Asks = fn() -> Vec<Message>;
    let manners: [(&str, Asks); 6] = [
        ("methods", || vec![failure("password,keyboard-interactive,hostbased")]),
        ("no methods", || vec![failure("")]),
        ("partial", || {
            vec![
                Message::new(FAILURE).string("password,keyboard-interactive").flag(true),
                prompt("Password: "),
            ]
        }),
        ("a prompt", || vec![prompt("One-time code: "), failure("keyboard-interactive")]),
        ("this key would do", || {
            vec![
                Message::new(ASKED).string("ssh-ed25519").string("a key of the operator"),
                failure("password"),
            ]
        }),
        ("a new password", || vec![Message::new(ASKED).string("too old").string(""), failure("password")]),
    ];
    let heard: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let manner = |asks: Asks| -> Manner {
        let notes = heard.clone();
        Box::new(move |guest| {
            let first = guest.asked_to_let_in()?;
            notes.lock().unwrap().push(first);
            for asked in asks() {
                guest.say(&asked)?;
            }
            notes.lock().unwrap().extend(guest.hear_to_the_end());
            Ok(())
        })
    };
    let scene = Scene::of_each(manners.iter().map(|(_, asks)| manner(*asks)).collect());
    for (what, _) in manners {
        let output = scene.ssh();
        assert_eq!(output.status.code(), Some(254), "{what}: {}", told(&output));
        assert!(told(&output).contains("[TARGET-00"), "{what}: {}", told(&output));
        let heard = std::mem::take(&mut *heard.lock().unwrap());
        assert!(!heard.is_empty(), "{what}");
        let secrets = [scene.rig.phone("ana").used(), scene.rig.phone("ana").base32()];
        for message in &heard {
            // A request, or that the bastion leaves: no answer to a prompt, no other method.
            assert!(matches!(message[0], USERAUTH_REQUEST | 1), "{what}: message {}", message[0]);
            let text = String::from_utf8_lossy(message);
            assert!(!secrets.iter().any(|secret| text.contains(secret)), "{what}: {text}");
            if message[0] == USERAUTH_REQUEST {
                let mut fields = Fields::of(message);
                let (account, _, method) = (fields.text(), fields.text(), fields.text());
                assert_eq!((account.as_str(), method.as_str()), ("root", "publickey"), "{what}");
            }
        }
    }
    scene.others_work();
}

#[test]
#[ignore = "long: waits for the time a login may take"]
fn prompts_and_banners_without_end_end_with_the_time_a_login_may_take() {
    type Talk = fn() -> Message;
    let talks: [(&str, Talk); 3] = [
        ("prompts", || prompt("Password: ")),
        ("banners", || banner(&"\x1b[2J welcome ".repeat(2000))),
        ("debug messages", || Message::new(4).flag(true).string("\x1b]0;owned\x07").string("")),
    ];
    std::thread::scope(|scope| {
        for (what, talk) in talks {
            scope.spawn(move || {
                let scene = Scene::of(move |guest: &mut BareGuest| {
                    guest.asked_to_let_in()?;
                    loop {
                        guest.say(&talk())?;
                    }
                });
                let began = Instant::now();
                let output = scene.ssh();
                assert_eq!(output.status.code(), Some(254), "{what}: {}", told(&output));
                assert!(told(&output).contains("[TARGET-00"), "{what}: {}", told(&output));
                assert!(began.elapsed() < Duration::from_secs(60), "{what}: {:?}", began.elapsed());
                let log = scene.log();
                assert!(log.len() < 1 << 20, "{what}: {} bytes of log", log.len());
                scene.others_work();
            });
        }
    });
}

#[test]
fn a_session_whose_target_never_finishes_the_login_can_be_killed() {
    let scene = Scene::of(|guest: &mut BareGuest| {
        guest.asked_to_let_in()?;
        loop {
            guest.say(&banner("wait "))?;
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    let mut child = scene.started();
    scene.others_work();
    let took = scene.killed(&mut child);
    assert!(took < soon(), "{took:?}");
}
