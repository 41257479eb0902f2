//! A target that lies about channels and about how a program ended.
//! Its own exit status is its own to choose; it has no say over anybody else's.

use std::process::Stdio;

use bartizan_integration_tests::{BareGuest, BareServer, Message};
use data_encoding::BASE64;

use crate::scene::{Scene, told};

const EOF: u8 = 96;
const CLOSE: u8 = 97;

fn status(channel: u32, code: u32) -> Message {
    Message::new(98).number(channel).string("exit-status").flag(false).number(code)
}

fn data(channel: u32, text: &str) -> Message {
    Message::new(94).number(channel).string(text)
}

/// Everything that may be said of a channel, said of one that is not there.
fn about_nothing(guest: &mut BareGuest, channel: u32) -> std::io::Result<()> {
    guest.say(&data(channel, "forged\n"))?;
    guest.say(&Message::new(95).number(channel).number(1).string("forged\n"))?;
    guest.say(&status(channel, 0))?;
    guest.say(&Message::new(99).number(channel))?;
    guest.say(&Message::new(100).number(channel))?;
    guest.say(&Message::new(93).number(channel).number(u32::MAX))?;
    guest.say(&Message::new(EOF).number(channel))?;
    guest.say(&Message::new(CLOSE).number(channel))?;
    guest.say(&Message::new(92).number(channel).number(1).string("").string(""))
}

#[test]
fn a_forged_status_is_worth_nothing_on_any_channel_but_the_targets_own_and_only_once() {
    let scene = Scene::of(|guest: &mut BareGuest| {
        let channel = guest.run()?;
        for nothing in [channel + 1, 77, u32::MAX] {
            about_nothing(guest, nothing)?;
        }
        guest.say(&data(channel, "real\n"))?;
        // Window that no number holds, and answers to nothing.
        guest.say(&Message::new(93).number(channel).number(u32::MAX))?;
        guest.say(&Message::new(93).number(channel).number(u32::MAX))?;
        guest.say(&Message::new(99).number(channel))?;
        guest.say(&status(channel, 3))?;
        guest.say(&Message::new(EOF).number(channel))?;
        guest.say(&Message::new(CLOSE).number(channel))?;
        // After the close: nothing of it may count.
        guest.say(&status(channel, 0))?;
        guest.say(&data(channel, "late\n"))?;
        guest.say(&Message::new(CLOSE).number(channel))?;
        guest.hear_to_the_end();
        Ok(())
    });
    let output = scene.ssh();
    assert_eq!(output.status.code(), Some(3), "{}", told(&output));
    assert_eq!((output.stdout.as_slice(), told(&output).as_str()), (&b"real\n"[..], ""));
    scene.rig.sealed_recordings(1);
    let events = scene.rig.events();
    assert!(events.iter().any(|event| event["detail"]["exit"] == 3), "{events:#?}");
    scene.rig.verify_everything();
    scene.others_work();
}

#[test]
fn a_status_without_a_program_or_before_its_answer_ends_in_a_refusal_or_counts_as_the_targets_own() {
    // The request is never answered, only a status comes.
    let scene = Scene::of(|guest: &mut BareGuest| {
        guest.let_in()?;
        guest.hear_a(90)?;
        guest.say(&Message::new(91).number(0).number(0).number(1 << 20).number(1 << 15))?;
        guest.hear_a(98)?;
        for _ in 0..100 {
            guest.say(&status(0, 0))?;
        }
        guest.hear_to_the_end();
        Ok(())
    });
    let output = scene.ssh();
    assert_eq!(output.status.code(), Some(254), "{}", told(&output));
    scene.others_work();
    // A channel that was never asked for is confirmed: the connection ends.
    let scene = Scene::of(|guest: &mut BareGuest| {
        guest.run()?;
        guest.say(&Message::new(91).number(77).number(1).number(1 << 20).number(1 << 15))?;
        guest.hear_to_the_end();
        Ok(())
    });
    let mut command = scene.rig.client("ana").command("ssh");
    let output = command.arg(scene.rig.client("ana").at("db1")).arg("true").stdin(Stdio::null()).output();
    let output = output.unwrap();
    assert!(!output.status.success(), "{}", told(&output));
    scene.others_work();
}

#[test]
fn a_target_that_announces_another_key_is_held_to_the_registered_one() {
    let another = BareServer::start(|guest| guest.run().map(drop));
    let key = BASE64.decode(another.host_key().split(' ').nth(1).unwrap().as_bytes()).unwrap();
    let scene = Scene::of(move |guest: &mut BareGuest| {
        let channel = guest.run()?;
        // As OpenSSH's UpdateHostKeys would take it up.
        guest.say(&Message::new(80).string("hostkeys-00@openssh.com").flag(false).string(&key))?;
        guest.say(&status(channel, 0))?;
        guest.say(&Message::new(CLOSE).number(channel))?;
        guest.hear_to_the_end();
        Ok(())
    });
    assert!(scene.ssh().status.success());
    let bundle = std::fs::read_to_string(scene.rig.path("bundle/scene.toml")).unwrap();
    assert!(!bundle.contains(another.host_key()));
    scene.moves_to(&another);
    let output = scene.ssh();
    assert_eq!(output.status.code(), Some(254), "{}", told(&output));
    assert!(told(&output).contains("[TARGET-004]"), "{}", told(&output));
}
