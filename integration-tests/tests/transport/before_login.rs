//! Messages of a session that come before the login is over (CVE-2018-10933, CVE-2025-32433), in every state of a login.
//! The client here never proves more than it says.

use bartizan_integration_tests::{BareClient, Fields, Message, Rig};

const DISCONNECT: u8 = 1;
const UNIMPLEMENTED: u8 = 3;
const SERVICE_ACCEPT: u8 = 6;
const FAILURE: u8 = 51;
const BANNER: u8 = 53;
const INFO_REQUEST: u8 = 60;
/// Everything that an honest client hears before it is let in.
const HARMLESS: [u8; 6] = [DISCONNECT, UNIMPLEMENTED, SERVICE_ACCEPT, FAILURE, BANNER, INFO_REQUEST];

/// How far the login has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Keys are exchanged.
    Keyed,
    /// The login may begin.
    Serviced,
    /// The device has proven itself.
    Device,
    /// The person's key too, and the code is asked for.
    Asked,
}

const STATES: [State; 4] = [State::Keyed, State::Serviced, State::Device, State::Asked];
const USER: &str = "ana+root+db1";

fn reach(state: State, rig: &Rig) -> BareClient {
    let mut client = BareClient::connect(rig.server().address()).unwrap();
    if state == State::Keyed {
        return client;
    }
    assert!(client.begin_login());
    if state == State::Serviced {
        return client;
    }
    assert_eq!(client.prove(USER, &rig.path("ana-device")), FAILURE);
    if state == State::Asked {
        assert_eq!(client.prove(USER, &rig.path("ana-key")), FAILURE);
        assert_eq!(client.ask_for_prompt(USER), INFO_REQUEST);
    }
    client
}

fn request(what: &str) -> Message {
    Message::new(98).number(0).string(what).flag(true)
}

/// What only somebody who is logged in may say, and what only a server may.
fn out_of_place() -> Vec<(&'static str, Vec<Message>)> {
    let open = |kind: &str| Message::new(90).string(kind).number(0).number(1 << 20).number(32 << 10);
    let session = || open("session");
    let exec = || request("exec").string("touch /tmp/bartizan-must-not-be");
    vec![
        ("a session and a command at once", vec![session(), exec()]),
        ("a session and a shell at once", vec![session(), request("shell")]),
        ("sftp", vec![session(), request("subsystem").string("sftp")]),
        ("a command on a channel that nobody opened", vec![exec()]),
        ("a stream", vec![open("direct-tcpip").string("db1").number(22).string("127.0.0.1").number(1)]),
        ("listening", vec![Message::new(80).string("tcpip-forward").flag(true).string("").number(0)]),
        ("a global request", vec![Message::new(80).string("keepalive@openssh.com").flag(true)]),
        ("data", vec![Message::new(94).number(0).string("id\n")]),
        ("data on stderr", vec![Message::new(95).number(0).number(1).string("id\n")]),
        ("window", vec![Message::new(93).number(0).number(u32::MAX)]),
        ("a channel's end and close", vec![Message::new(96).number(0), Message::new(97).number(0)]),
        ("a channel confirmed", vec![Message::new(91).number(0).number(0).number(1 << 20).number(1 << 15)]),
        ("success of a request", vec![Message::new(99).number(0), Message::new(81)]),
        ("a login's success, said by the client", vec![Message::new(52), session(), exec()]),
        ("a login's failure", vec![Message::new(51).string("none").flag(true)]),
        ("a service accepted", vec![Message::new(6).string("ssh-connection"), session(), exec()]),
        ("the service behind the login", vec![Message::new(5).string("ssh-connection"), session(), exec()]),
        ("a prompt", vec![Message::new(60).string("").string("").string("").number(0)]),
        ("answers to no prompt", vec![Message::new(61).number(1).string("000000")]),
        ("2^28 answers", vec![Message::new(61).number(1 << 28).string("000000")]),
        ("an answer of 2^28 bytes", vec![Message::new(61).number(1).number(1 << 28).raw(b"0")]),
        ("a name of 2^28 bytes", vec![Message::new(50).number(1 << 28).raw(b"ana")]),
        ("another service", vec![Message::new(50).string(USER).string("none").string("none")]),
        ("a method that is none", vec![Message::new(50).string(USER).string("ssh-connection").string("x")]),
        ("messages that nobody defined", vec![Message::new(19), Message::new(127), Message::new(255)]),
        ("nothing at all", vec![Message::new(2).string("")]),
    ]
}

/// An honest question, so that everything before it has been dealt with when it is answered.
fn mark() -> Message {
    Message::new(50).string(USER).string("ssh-connection").string("none")
}

#[test]
fn what_is_said_before_the_login_is_over_opens_nothing() {
    let rig = Rig::new().operator("ana").target("db1").allow("reverse-forward").start();
    let before = rig.server().memory();
    let (mut ended, mut ignored) = (0, 0);
    for state in STATES {
        for (what, messages) in out_of_place() {
            let mut client = reach(state, &rig);
            for message in &messages {
                client.say(message);
            }
            if state == State::Keyed {
                client.say(&Message::new(5).string("ssh-userauth"));
            }
            client.say(&mark());
            let heard = client.hear_until(&[FAILURE]);
            let bad: Vec<&Vec<u8>> = heard.iter().filter(|message| !HARMLESS.contains(&message[0])).collect();
            assert!(bad.is_empty(), "{state:?}, {what}: {bad:?}");
            // Once the device has proven itself a failure says so again, whatever it answers.
            let partial = matches!(state, State::Keyed | State::Serviced)
                && heard.iter().filter(|message| message[0] == FAILURE).any(|message| {
                    let mut fields = Fields::of(message);
                    fields.string();
                    fields.flag()
                });
            assert!(!partial, "{state:?}, {what}: taken for a proof");
            if heard.last().is_some_and(|last| last[0] == FAILURE) { ignored += 1 } else { ended += 1 }
        }
    }
    println!("{ended} ended, {ignored} ignored");
    assert_eq!(rig.target("db1").connections(), 0, "nobody was dialled");
    assert!(rig.live().is_empty() && rig.recordings().is_empty());
    let kinds: Vec<String> =
        rig.events().iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect();
    let acted = |kind: &&String| {
        kind.starts_with("session.") || kind.starts_with("channel.") || kind.starts_with("recording.")
    };
    assert!(!kinds.iter().any(|kind| acted(&kind)), "{kinds:?}");
    assert!(!std::path::Path::new("/tmp/bartizan-must-not-be").exists());
    let grown = rig.server().memory().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more than before");
    // And an honest login on the very connection on which a channel was tried is let in, and finds no channel there.
    let mut client = reach(State::Serviced, &rig);
    for message in &out_of_place()[0].1 {
        client.say(message);
    }
    assert_eq!(client.prove(USER, &rig.path("ana-device")), FAILURE);
    assert_eq!(client.prove(USER, &rig.path("ana-key")), FAILURE);
    assert_eq!(client.ask_for_prompt(USER), INFO_REQUEST);
    assert_eq!(client.respond(&[&rig.phone("ana").fresh()]), 52);
    client.say(&request("exec").string("touch /tmp/bartizan-must-not-be"));
    client.say(&Message::new(80).string("keepalive@openssh.com").flag(true));
    let heard = client.hear_until(&[81, 82]);
    assert!(heard.iter().all(|message| !matches!(message[0], 91 | 99)), "{heard:?}");
    assert_eq!(rig.target("db1").connections(), 0);
}
