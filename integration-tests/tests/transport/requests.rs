//! A client that is logged in and asks for what is none of its business: kinds of channels that nobody knows, a second program
//! on one channel, one number for two channels, ten thousand variables. It never lies about what it was given.

use bartizan_integration_tests::{BareClient, DEADLINE, Fields, Message, Rig, until};

const DONE: u8 = 82;
const CONFIRMATION: u8 = 91;
const REFUSED: u8 = 92;
const DATA: u8 = 94;
const EOF: u8 = 96;
const CLOSE: u8 = 97;
const REQUEST: u8 = 98;
const SUCCESS: u8 = 99;
const FAILURE: u8 = 100;

fn scene() -> Rig {
    Rig::new().operator("ana").target("db1").start()
}

/// Asks for a channel under this number of ours; the answer to it.
fn open(client: &mut BareClient, own: u32, kind: &str, more: &[u8]) -> Vec<u8> {
    client.say(&Message::new(90).string(kind).number(own).number(1 << 20).number(32 << 10).raw(more));
    loop {
        // A kind that the library does not know it refuses twice.
        let answer = client.hear_until(&[CONFIRMATION, REFUSED]).pop().expect("an answer");
        if Fields::of(&answer).number() == own {
            return answer;
        }
    }
}

/// A session channel under number 0; its number on the other side.
fn session(client: &mut BareClient) -> u32 {
    let answer = open(client, 0, "session", &[]);
    assert_eq!(answer[0], CONFIRMATION);
    let mut fields = Fields::of(&answer);
    fields.number();
    fields.number()
}

fn ask(client: &mut BareClient, channel: u32, what: &str, more: &Message) -> u8 {
    let request = Message::new(REQUEST).number(channel).string(what).flag(true);
    client.say(&request.raw(&more.bytes()[1..]));
    client.hear_until(&[SUCCESS, FAILURE]).pop().expect("an answer")[0]
}

fn words(texts: &[&str]) -> Message {
    texts.iter().fold(Message::new(0), |message, text| message.string(text))
}

#[test]
fn kinds_of_channels_that_nobody_knows_are_refused() {
    let rig = scene();
    let mut client = BareClient::log_in(&rig, "ana", "db1");
    let listen = words(&["db1"]).number(22).string("127.0.0.1").number(1);
    let tunnel = Message::new(0).number(1).number(0);
    let long = "x".repeat(30_000);
    let kinds = [
        ("tun@openssh.com", &tunnel),
        ("forwarded-tcpip", &listen),
        ("forwarded-streamlocal@openssh.com", &words(&["/run/x", ""])),
        ("auth-agent@openssh.com", &words(&[])),
        ("auth-agent", &words(&[])),
        ("x11", &words(&["127.0.0.1"]).number(6000)),
        ("direct-streamlocal@openssh.com", &words(&["/run/x", ""]).number(0)),
        ("mux-control@openssh.com", &words(&[])),
        ("session@example.org", &words(&[])),
        (&long, &words(&[])),
        ("", &words(&[])),
    ];
    for (own, (kind, more)) in (1..).zip(kinds) {
        assert_eq!(open(&mut client, own, kind, &more.bytes()[1..])[0], REFUSED, "{kind}");
    }
    for (request, more) in [
        ("tcpip-forward", &words(&[""]).number(0)),
        ("streamlocal-forward@openssh.com", &words(&["/run/x"])),
        ("hostkeys-prove-00@openssh.com", &words(&["key"])),
        ("request@example.org", &words(&[])),
    ] {
        client.say(&Message::new(80).string(request).flag(true).raw(&more.bytes()[1..]));
        let heard = client.hear_until(&[81, DONE]);
        assert_eq!(heard.last().map(|answer| answer[0]), Some(DONE), "{request}");
    }
    assert_eq!(rig.target("db1").connections(), 0);
    assert!(rig.recordings().is_empty());
    // The connection itself is none the worse.
    let channel = session(&mut client);
    assert_eq!(ask(&mut client, channel, "exec", &words(&["true"])), SUCCESS);
}

#[test]
fn a_channel_runs_one_program_and_everything_after_it_is_refused() {
    let rig = scene();
    let mut client = BareClient::log_in(&rig, "ana", "db1");
    let channel = session(&mut client);
    assert_eq!(ask(&mut client, channel, "exec", &words(&["cat"])), SUCCESS);
    let terminal = words(&["xterm"]).number(80).number(24).number(0).number(0).string("\0");
    for (what, more) in [
        ("exec", &words(&["bash -i"])),
        ("shell", &words(&[])),
        ("subsystem", &words(&["sftp"])),
        ("pty-req", &terminal),
        ("env", &words(&["LANG", "C"])),
        ("auth-agent-req@openssh.com", &words(&[])),
        ("x11-req", &Message::new(0).flag(false).string("a").string("b").number(0)),
        ("break", &Message::new(0).number(500)),
        ("eow@openssh.com", &words(&[])),
    ] {
        assert_eq!(ask(&mut client, channel, what, more), FAILURE, "{what}");
    }
    client.say(&Message::new(DATA).number(channel).string("as before\n"));
    client.say(&Message::new(EOF).number(channel));
    let heard = client.hear_until(&[CLOSE]);
    let data = heard.iter().find(|message| message[0] == DATA).expect("data");
    assert_eq!(Fields::of(&data[4..]).text(), "as before\n");
    let recording = rig.sealed_recordings(1).remove(0);
    assert_eq!((&recording["kind"], &recording["command"]), (&"exec".into(), &"cat".into()));
    assert_eq!(rig.target("db1").connections(), 1, "one program");
}

#[test]
fn a_number_that_is_used_again_is_a_channel_of_its_own_and_recorded() {
    let rig = scene();
    let mut client = BareClient::log_in(&rig, "ana", "db1");
    // Always number 0 of the client: one after the other, and two at once.
    for command in ["echo one", "echo two"] {
        let channel = session(&mut client);
        assert_eq!(ask(&mut client, channel, "exec", &words(&[command])), SUCCESS);
        client.hear_until(&[CLOSE]);
        client.say(&Message::new(CLOSE).number(channel));
    }
    let (one, two) = (session(&mut client), session(&mut client));
    assert_ne!(one, two);
    assert_eq!(ask(&mut client, one, "exec", &words(&["cat"])), SUCCESS);
    assert_eq!(ask(&mut client, two, "exec", &words(&["cat"])), SUCCESS);
    for channel in [one, two] {
        client.say(&Message::new(EOF).number(channel));
        client.hear_until(&[CLOSE]);
    }
    let recordings = rig.sealed_recordings(4);
    let of = |command: &str| recordings.iter().filter(|one| one["command"] == command).count();
    assert_eq!((of("echo one"), of("echo two"), of("cat")), (1, 1, 2), "{recordings:?}");
    rig.verify_everything();
}

#[test]
fn of_ten_thousand_variables_a_bounded_number_is_kept_and_none_that_changes_what_runs() {
    let rig = scene();
    let mut client = BareClient::log_in(&rig, "ana", "db1");
    let channel = session(&mut client);
    for (name, value) in [
        ("LD_PRELOAD", "/tmp/evil.so"),
        ("PATH", "/tmp"),
        ("BASH_ENV", "/tmp/evil"),
        ("LANG", "C\nLD_PRELOAD=/tmp/evil.so"),
        ("LANG\nPATH", "/tmp"),
        ("LC_A=B", "x"),
    ] {
        assert_eq!(ask(&mut client, channel, "env", &words(&[name, value])), FAILURE, "{name}");
    }
    assert_eq!(ask(&mut client, channel, "env", &words(&["LC_TEST", "kept"])), SUCCESS);
    let kept = (0..500)
        .filter(|n| ask(&mut client, channel, "env", &words(&[&format!("LC_N{n}"), "x"])) == SUCCESS)
        .count();
    assert!(kept < 64, "{kept}");
    assert_eq!(ask(&mut client, channel, "exec", &words(&["env"])), SUCCESS);
    let heard = client.hear_until(&[CLOSE]);
    let said: String = heard
        .iter()
        .filter(|message| message[0] == DATA)
        .map(|message| Fields::of(&message[4..]).text())
        .collect();
    assert!(
        said.contains("LC_TEST=kept") && !said.contains("evil") && !said.contains("PATH=/tmp\n"),
        "{said}"
    );
    client.say(&Message::new(CLOSE).number(channel));
    // Ten thousand are more than a connection may ask for.
    let mut client = BareClient::log_in(&rig, "ana", "db1");
    let channel = session(&mut client);
    for n in 0..10_000 {
        let request = Message::new(REQUEST).number(channel).string("env").flag(false);
        client.say(&request.string(format!("LC_N{n}")).string("x"));
    }
    client.say(&Message::new(80).string("mark").flag(true));
    let ended = client.hear_until(&[DONE]).last().is_none_or(|last| last[0] != DONE);
    assert!(ended, "ten thousand were taken");
    until("the bastion to have let go", DEADLINE, || (rig.server().connections() <= 1).then_some(()));
    assert!(rig.server().peak_memory() < 64 << 20);
}
