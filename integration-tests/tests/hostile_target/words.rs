//! Text of a target that would command a terminal: in banners, farewells, signals and requests.
//! What a program shows on its operator's own terminal is not meant here: that is what the session is for.

use bartizan_integration_tests::{BareGuest, Message};

use crate::scene::{Manner, Scene, is_clean, told};

/// A title, the clipboard, a colour, C1, and a line of the log that is none.
const PAINT: &str =
    "\x1b]0;owned\x07\x1b]52;c;b3duZWQ=\x07\x1b[31m\u{9b}2J\u{90}\r\n2026-01-01 INFO forged\x7f";

fn disconnect() -> Message {
    Message::new(1).number(11).string(PAINT).string(PAINT)
}

type Says = fn(&mut BareGuest) -> std::io::Result<()>;

#[test]
fn what_a_target_says_is_cleaned_before_an_operator_or_a_log_sees_it() {
    let manners: [(&str, Says); 5] = [
        ("a farewell before anything", |guest| guest.say(&disconnect())),
        ("a farewell in place of the answer", |guest| {
            guest.asked_to_let_in()?;
            guest.say(&Message::new(53).string(PAINT).string(PAINT))?;
            guest.say(&disconnect())
        }),
        ("a refused channel", |guest| {
            guest.let_in()?;
            guest.hear_a(90)?;
            guest.say(&Message::new(92).number(0).number(2).string(PAINT).string(PAINT))?;
            guest.hear_to_the_end();
            Ok(())
        }),
        ("a farewell in the session", |guest| {
            guest.run()?;
            guest.say(&Message::new(4).flag(true).string(PAINT).string(""))?;
            guest.global_request(PAINT, true)?;
            guest.say(&disconnect())
        }),
        ("a signal", |guest| {
            let channel = guest.run()?;
            let request = Message::new(98).number(channel);
            guest.say(&request.clone().string(PAINT).flag(true))?;
            let signal = request.string("exit-signal").flag(false).string(PAINT);
            guest.say(&signal.flag(false).string(PAINT).string(PAINT))?;
            guest.say(&Message::new(97).number(channel))?;
            guest.hear_to_the_end();
            Ok(())
        }),
    ];
    let scene = Scene::of_each(manners.iter().map(|(_, says)| Box::new(*says) as Manner).collect());
    for (what, _) in manners {
        let output = scene.ssh();
        assert!(!output.status.success(), "{what}");
        assert!(is_clean(&told(&output)), "{what}: {:?}", told(&output));
        assert_eq!(output.stdout, b"", "{what}");
        let log = scene.log();
        assert!(is_clean(&log), "{what}: {log:?}");
        assert!(!log.lines().any(|line| line.starts_with("2026-01-01 INFO forged")), "{what}: {log}");
        for words in [
            &["audit", "list"][..],
            &["recording", "list"],
            &["session", "list"],
            &["audit", "list", "--json"],
        ] {
            let said = scene.rig.said(words);
            assert!(is_clean(&said), "{what}: {words:?}: {said:?}");
        }
    }
}
