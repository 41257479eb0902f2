//! A client that is logged in and lies about its channels: ones that are not there, that are closed, that are somebody else's.
//! It never asks for anything that it may not have.

use std::io::Write as _;
use std::process::Child;
use std::time::Duration;

use bartizan_integration_tests::{BareClient, DEADLINE, Fields, Message, Rig, until};

const GLOBAL_FAILURE: u8 = 82;
const CONFIRMATION: u8 = 91;
const REFUSED: u8 = 92;
const DATA: u8 = 94;
const EOF: u8 = 96;
const CLOSE: u8 = 97;
const REQUEST: u8 = 98;
const SUCCESS: u8 = 99;
/// The most memory the bastion may hold.
const BOUND: u64 = 64 << 20;

fn scene() -> Rig {
    Rig::new().operator("ana").operator("bob").target("db1").start()
}

/// Opens a channel under this number of ours and runs a command; its number on the other side.
fn run(client: &mut BareClient, own: u32, command: &str) -> u32 {
    client.say(&Message::new(90).string("session").number(own).number(1 << 20).number(32 << 10));
    let heard = client.hear_until(&[CONFIRMATION, REFUSED]);
    let last = heard.last().expect("an answer");
    assert_eq!(last[0], CONFIRMATION, "{heard:?}");
    let mut fields = Fields::of(last);
    assert_eq!(fields.number(), own);
    let channel = fields.number();
    client.say(&Message::new(REQUEST).number(channel).string("exec").flag(true).string(command));
    let heard = client.hear_until(&[SUCCESS, 100]);
    assert_eq!(heard.last().expect("an answer")[0], SUCCESS, "{heard:?}");
    channel
}

/// The data that came for a channel of ours.
fn data(heard: &[Vec<u8>], own: u32) -> Vec<u8> {
    let mut all = Vec::new();
    for message in heard.iter().filter(|message| message[0] == DATA) {
        let mut fields = Fields::of(message);
        if fields.number() == own {
            all.extend_from_slice(fields.string());
        }
    }
    all
}

/// Everything that comes until this channel of ours is closed.
fn to_the_close(client: &mut BareClient, own: u32) -> Vec<Vec<u8>> {
    let mut heard = Vec::new();
    let is_the_close = |message: &Vec<u8>| message[0] == CLOSE && Fields::of(message).number() == own;
    while !heard.last().is_some_and(is_the_close) {
        heard.extend(client.hear_until(&[CLOSE]));
        assert!(heard.last().is_some_and(|last| last[0] == CLOSE), "{heard:?}");
    }
    heard
}

/// Everything that may be said of a channel, said of this one.
fn lies(channel: u32) -> Vec<Message> {
    vec![
        Message::new(DATA).number(channel).string("lies\n"),
        Message::new(95).number(channel).number(1).string("lies\n"),
        Message::new(93).number(channel).number(u32::MAX),
        Message::new(93).number(channel).number(u32::MAX),
        Message::new(REQUEST).number(channel).string("exec").flag(true).string("echo lies"),
        Message::new(REQUEST).number(channel).string("shell").flag(true),
        Message::new(REQUEST).number(channel).string("signal").flag(false).string("KILL"),
        Message::new(SUCCESS).number(channel),
        Message::new(100).number(channel),
        Message::new(EOF).number(channel),
        Message::new(EOF).number(channel),
        Message::new(CLOSE).number(channel),
        Message::new(CLOSE).number(channel),
    ]
}

/// A session of somebody else, which must not notice anything.
struct Bystander(Child);

impl Bystander {
    fn of(rig: &Rig) -> Self {
        let child = rig.client("bob").start("db1", "cat");
        until("the other session", DEADLINE, || (!rig.live().is_empty()).then_some(()));
        Self(child)
    }

    fn still_works(mut self) {
        self.0.stdin.take().unwrap().write_all(b"still here\n").unwrap();
        let output = self.0.wait_with_output().unwrap();
        assert_eq!(output.stdout, b"still here\n", "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn lies_about_channels_move_nothing_and_take_no_memory() {
    let rig = scene();
    let bystander = Bystander::of(&rig);
    let mut client = BareClient::log_in(&rig, "ana", "db1");
    for channel in [0, 1, 2, 77, 1 << 28, u32::MAX] {
        for lie in lies(channel) {
            client.say(&lie);
        }
    }
    client.say(&Message::new(80).string("mark").flag(true));
    let heard = client.hear_until(&[GLOBAL_FAILURE]);
    let acted: Vec<&Vec<u8>> =
        heard.iter().filter(|m| matches!(m[0], CONFIRMATION | DATA | SUCCESS | 98)).collect();
    assert!(acted.is_empty(), "{acted:?}");
    assert_eq!(heard.last().expect("it goes on")[0], GLOBAL_FAILURE, "{heard:?}");
    // A channel that ends: nothing more comes of it, whatever is said, while its neighbour goes on.
    let neighbour = run(&mut client, 40, "cat");
    let channel = run(&mut client, 41, "echo once");
    let heard = to_the_close(&mut client, 41);
    assert_eq!(data(&heard, 41), b"once\n", "{heard:?}");
    client.say(&Message::new(CLOSE).number(channel));
    for lie in lies(channel) {
        client.say(&lie);
    }
    client.say(&Message::new(DATA).number(neighbour).string("heard\n"));
    client.say(&Message::new(EOF).number(neighbour));
    let heard = to_the_close(&mut client, 40);
    assert_eq!(data(&heard, 40), b"heard\n", "{heard:?}");
    assert_eq!(data(&heard, 41), b"", "{heard:?}");
    let recordings = until("two recordings of ana's", DEADLINE, || {
        let all = rig.recordings();
        let of_ana: Vec<_> = all.into_iter().filter(|one| one["operator"] == "ana").collect();
        (of_ana.len() == 2 && of_ana.iter().all(|one| !one["ended"].is_null())).then_some(of_ana)
    });
    assert!(
        recordings.iter().all(|one| one["outcome"] == "complete" || one["outcome"] == "ok"),
        "{recordings:?}"
    );
    // An answer to what the bastion never asked for is the end, and so is more than a mistake can be.
    let mut other = BareClient::log_in(&rig, "ana", "db1");
    let channel = run(&mut other, 0, "sleep 600");
    other.say(&Message::new(CONFIRMATION).number(channel + 1).number(7).number(1 << 20).number(1 << 15));
    other.say(&Message::new(REFUSED).number(channel).number(1).string("").string(""));
    other.hear_to_the_end();
    bystander.still_works();
    let flood = Message::new(DATA).number(77).string("lies");
    for _ in 0..10_000 {
        client.say(&flood);
    }
    client.hear_to_the_end();
    rig.refusal("LIMIT-002");
    assert!(rig.server().peak_memory() < BOUND, "{}", rig.server().peak_memory());
}

#[test]
fn a_client_that_overruns_its_window_is_ended_and_named() {
    let rig = scene();
    let bystander = Bystander::of(&rig);
    let mut client = BareClient::log_in(&rig, "ana", "db1");
    // Nobody takes what is sent, so no window is given beyond the first.
    let channel = run(&mut client, 0, "sleep 600");
    let block = Message::new(DATA).number(channel).string(vec![b'x'; 32 << 10]);
    let mut said = 0;
    while said < 64 << 20 && client.wire().send(block.bytes()).is_ok() {
        said += 32 << 10;
    }
    assert!(said < 64 << 20, "64 MiB were taken beyond the window");
    client.hear_to_the_end();
    let event = rig.refusal("LIMIT-002");
    assert_eq!(event["operator"], "ana", "{event}");
    assert!(rig.server().peak_memory() < BOUND, "{}", rig.server().peak_memory());
    until("its session to be over", Duration::from_secs(20), || (rig.live().len() == 1).then_some(()));
    bystander.still_works();
    rig.verify_everything();
}

#[test]
fn counts_and_lengths_of_2_to_the_28_are_refused_before_anything_is_made_for_them() {
    let rig = scene();
    let terminal = |lengths: &[u8]| {
        let request = Message::new(REQUEST).number(0).string("pty-req").flag(true).string("xterm");
        request.number(80).number(24).number(0).number(0).raw(lengths)
    };
    let long = (1_u32 << 28).to_be_bytes();
    let modes: Vec<u8> = (0..60_000_u32).flat_map(|_| [&[1_u8][..], &long].concat()).collect();
    let huge = [
        terminal(&long),
        terminal(&[&long[..], &[1, 0, 0, 0, 1]].concat()),
        Message::new(REQUEST).number(0).string("env").flag(true).string("LANG").raw(&long),
        Message::new(REQUEST).number(0).string("exec").flag(true).raw(&long),
        Message::new(REQUEST).number(0).raw(&long),
        Message::new(DATA).number(0).raw(&long),
        Message::new(90).raw(&long),
        Message::new(80).raw(&long),
        Message::new(80).string("tcpip-forward").flag(true).raw(&long),
        // Two hundred and forty kilobytes of modes, which is 2^28 in none of its bytes but very many.
        terminal(Message::new(0).string(&modes[..240_000]).bytes().split_at(1).1),
    ];
    let before = rig.server().memory();
    for message in huge {
        let mut client = BareClient::log_in(&rig, "ana", "db1");
        client.say(&Message::new(90).string("session").number(0).number(1 << 20).number(32 << 10));
        client.hear_until(&[CONFIRMATION]);
        client.say(&message);
        client.say(&Message::new(80).string("mark").flag(true));
        let heard = client.hear_until(&[GLOBAL_FAILURE]);
        let acted = heard.iter().any(|m| matches!(m[0], SUCCESS | DATA | 81));
        assert!(!acted, "{:?}: {heard:?}", &message.bytes()[..message.bytes().len().min(40)]);
    }
    assert_eq!(rig.target("db1").connections(), 0);
    let grown = rig.server().memory().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more than before");
}

#[test]
fn of_a_million_resizes_only_so_many_are_taken_as_a_person_can_make() {
    let rig = scene();
    let mut client = BareClient::log_in(&rig, "ana", "db1");
    let channel = run(&mut client, 0, "cat");
    let resize = |columns: u32| {
        let request = Message::new(REQUEST).number(channel).string("window-change").flag(false);
        request.number(columns).number(24).number(0).number(0)
    };
    let batch: Vec<Message> = (1..=1000).map(resize).collect();
    let sent =
        (0..1000).take_while(|_| client.wire().send_all(batch.iter().map(Message::bytes)).is_ok()).count();
    assert!(sent < 1000, "a million were taken");
    client.hear_to_the_end();
    rig.refusal("LIMIT-002");
    let recording = rig.sealed_recordings(1).remove(0);
    assert!(recording["bytes"].as_u64().unwrap() < 1 << 20, "{recording}");
    assert!(rig.server().peak_memory() < BOUND, "{}", rig.server().peak_memory());
    rig.verify_everything();
}
