//! A target that never finishes, never reads, or says small things without end.
//! Its session waits or ends; it can be killed within a second; nobody else and no memory is part of it.

use std::io::Write as _;
use std::process::Child;
use std::time::Duration;

use bartizan_integration_tests::{BareGuest, Message, freeze, soon, thaw};

use crate::scene::{Manner, Scene};

const SECOND: Duration = Duration::from_secs(1);
/// How long a target that talks without end is let.
const WHILE: Duration = Duration::from_secs(1);

fn first_message_of_an_exchange() -> Message {
    let lists = ["curve25519-sha256", "ssh-ed25519", "aes256-gcm@openssh.com", "aes256-gcm@openssh.com"];
    let rest = ["hmac-sha2-256-etm@openssh.com", "hmac-sha2-256-etm@openssh.com", "none", "none", "", ""];
    let begun = Message::new(20).raw(&[7; 16]);
    lists.into_iter().chain(rest).fold(begun, |message, list| message.string(list)).flag(false).number(0)
}

/// Puts input into a client until it takes no more; how much that was.
fn fed(child: &mut Child) -> usize {
    let mut stdin = child.stdin.take().unwrap();
    let (told, progress) = std::sync::mpsc::channel();
    // Whoever writes is left behind when the client ends.
    std::thread::spawn(move || {
        let block = vec![b'x'; 64 << 10];
        while stdin.write_all(&block).is_ok() {
            let _ = told.send(block.len());
        }
    });
    let mut fed = 0;
    while let Ok(more) = progress.recv_timeout(SECOND) {
        fed += more;
        assert!(fed < 256 << 20, "{fed} bytes went to who takes none");
    }
    fed
}

/// Of a command that is fed: it stalls, others go on, and it ends when it is killed.
fn stalls_itself_and_is_killed(scene: &Scene) {
    let mut child = scene.started();
    let fed = fed(&mut child);
    println!("{} KiB went in", fed >> 10);
    scene.others_work();
    let took = scene.killed(&mut child);
    assert!(took < soon(), "{took:?}");
}

#[test]
fn a_target_that_never_finishes_a_key_exchange_stalls_itself_and_can_be_killed() {
    let scene = Scene::of(|guest: &mut BareGuest| {
        let channel = guest.run()?;
        guest.say(&Message::new(94).number(channel).string("begun\n"))?;
        guest.say(&first_message_of_an_exchange())?;
        guest.hear_to_the_end();
        Ok(())
    });
    stalls_itself_and_is_killed(&scene);
    scene.rig.verify_everything();
}

#[test]
fn a_target_that_gives_no_window_stalls_itself_and_can_be_killed() {
    let scene = Scene::of(|guest: &mut BareGuest| {
        guest.run_with_window(0)?;
        guest.hear_to_the_end();
        Ok(())
    });
    stalls_itself_and_is_killed(&scene);
}

/// Says the same small thing without end, as fast as it is taken; in a key exchange that it never finishes.
fn repeating(small: fn(u32) -> Message, exchanging: bool) -> Manner {
    Box::new(move |guest| {
        let channel = guest.run()?;
        guest.say(&Message::new(94).number(channel).string("begun\n"))?;
        let message = small(channel);
        if exchanging {
            guest.say(&first_message_of_an_exchange())?;
        }
        loop {
            guest.wire().send_all(std::iter::repeat_n(message.bytes(), 1000))?;
        }
    })
}

#[test]
fn small_messages_without_end_take_no_memory_while_the_operator_does_not_read() {
    type Small = fn(u32) -> Message;
    let small: [(&str, Small); 6] = [
        ("statuses", |channel| Message::new(98).number(channel).string("exit-status").flag(false).number(1)),
        ("windows", |channel| Message::new(93).number(channel).number(0)),
        ("successes", |channel| Message::new(99).number(channel)),
        ("ends", |channel| Message::new(96).number(channel)),
        ("empty data", |channel| Message::new(94).number(channel).string("")),
        ("data of a kind that is none", |channel| Message::new(95).number(channel).number(9).string("x")),
    ];
    let scene = Scene::of_each(small.iter().map(|(_, message)| repeating(*message, false)).collect());
    for (what, _) in small {
        let mut child = scene.started();
        freeze(&child);
        let before = scene.rig.server().memory();
        // Long enough for a hundred thousand of them.
        std::thread::sleep(WHILE);
        let grown = scene.rig.server().memory().saturating_sub(before);
        println!("{what}: {} KiB more", grown >> 10);
        assert!(grown < 8 << 20, "{what}: {grown} bytes more than before");
        thaw(&child);
        scene.killed(&mut child);
    }
    scene.others_work();
}

#[test]
fn requests_without_end_fill_neither_memory_nor_the_log() {
    type Small = fn(u32) -> Message;
    let small: [(&str, Small); 4] = [
        ("requests", |_| Message::new(80).string("hello@example.org").flag(true)),
        ("questions", |_| Message::new(80).string("keepalive@openssh.com").flag(true)),
        ("questions that want no answer", |_| Message::new(80).string("keepalive@openssh.com").flag(false)),
        ("answers to nothing", |_| Message::new(82)),
    ];
    let exchanging = [("requests in an exchange that is never finished", true, small[1].1)];
    let all: Vec<(&str, bool, Small)> =
        small.into_iter().map(|(what, message)| (what, false, message)).chain(exchanging).collect();
    let manners = all.iter().map(|(_, exchanging, message)| repeating(*message, *exchanging)).collect();
    let scene = Scene::of_each(manners);
    for (what, ..) in all {
        let child = scene.started();
        std::thread::sleep(WHILE);
        let log = scene.log();
        println!(
            "{what}: {} KiB of log, {} MiB at most",
            log.len() >> 10,
            scene.rig.server().peak_memory() >> 20
        );
        assert!(log.len() < 256 << 10, "{what}: {} bytes of log", log.len());
        scene.left(child);
    }
    scene.others_work();
}

#[test]
#[ignore = "long: a million packets of one byte"]
fn a_million_packets_of_one_byte_take_flat_memory_and_can_be_proven() {
    const PACKETS: usize = 1_000_000;
    let scene = Scene::of(|guest: &mut BareGuest| {
        let channel = guest.run_with_window(1 << 20)?;
        let tiny = Message::new(94).number(channel).string("x");
        for _ in 0..PACKETS / 1000 {
            guest.wire().send_all(std::iter::repeat_n(tiny.bytes(), 1000))?;
        }
        guest.say(&Message::new(98).number(channel).string("exit-status").flag(false).number(0))?;
        guest.say(&Message::new(97).number(channel))?;
        guest.hear_to_the_end();
        Ok(())
    });
    let output = scene.ssh();
    assert!(output.status.success());
    assert_eq!(output.stdout.len(), PACKETS);
    let recording = scene.rig.sealed_recordings(1).remove(0);
    println!("{recording}");
    scene.rig.verify_everything();
    let id = recording["id"].as_str().unwrap();
    assert_eq!(scene.rig.text_of(id).trim_end().len(), PACKETS);
    scene.others_work();
}
