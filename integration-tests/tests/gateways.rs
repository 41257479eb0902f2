//! Targets that are reached via others: the session is the final target's, and what lies between is logged in to, gone through and
//! cut with it.
//! It never lets an operator in at a gateway: nobody here has a grant for one.

use std::io::{BufRead as _, BufReader};
use std::process::Output;
use std::time::Duration;

use bartizan_integration_tests::{
    ACCOUNT, Builder, DEADLINE, PASSWORD, Rig, Route, by_both_routes, ended, free_port, noise, sha256, until,
};

/// Exit status of a refused channel.
const REFUSED: i32 = 254;

by_both_routes! {
    a_target_behind_two_gateways_is_reached_and_the_log_says_by_which_way,
    a_cut_ends_both_legs,
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// `inner` behind `gw1`, with more lines for the gateway's sshd_config.
fn scene(terms: &[&str]) -> Builder {
    let gateway = Rig::new().operator("ana").forbidden_target("gw1");
    terms
        .iter()
        .fold(gateway, |gateway, term| gateway.sshd(term))
        .target("inner")
        .line("via = \"gw1\"")
        .line("source = [\"127.0.0.1\"]")
}

fn refused(rig: &Rig, code: &str) -> String {
    let output = rig.client("ana").by(Route::Direct).ssh("inner", "echo in");
    assert_eq!(
        (output.stdout.as_slice(), output.status.code()),
        (&b""[..], Some(REFUSED)),
        "{}",
        told(&output)
    );
    assert!(told(&output).contains(code), "{}", told(&output));
    let reasons = rig.events().into_iter().rev();
    let reason = reasons
        .filter(|event| event["code"] == code)
        .find_map(|event| event["reason"].as_str().map(str::to_owned));
    reason.unwrap_or_default()
}

/// The bundle says that this target is where nobody listens.
fn gone(rig: &Rig, name: &str) {
    let (address, free) = (rig.target(name).address().to_string(), format!("127.0.0.1:{}", free_port()));
    assert!(rig.apply_changed(|text| text.replace(&address, &free)).status.success());
}

fn a_target_behind_two_gateways_is_reached_and_the_log_says_by_which_way(route: Route) {
    let rig = Rig::new()
        .operator("ana")
        .forbidden_target("gw1")
        .password()
        .line("login = \"password:gw\"")
        .forbidden_target("gw2")
        .line("via = \"gw1\"")
        .line("source = [\"127.0.0.1\"]")
        .target("inner")
        .line("via = \"gw2\"")
        .line("source = [\"127.0.0.1\"]")
        .start();
    let file = rig.path("password");
    std::fs::write(&file, PASSWORD).unwrap();
    rig.said(&["vault", "add", "gw", "--password-file", file.to_str().unwrap()]);
    let ana = rig.client("ana").by(route);
    let output = ana.ssh("inner", "echo in; exit 7");
    assert_eq!(
        (output.stdout.as_slice(), output.status.code()),
        (&b"in\n"[..], Some(7)),
        "{}",
        told(&output)
    );
    let recordings = rig.sealed_recordings(1);
    assert_eq!(recordings.len(), 1, "one session, at its final target: {recordings:?}");
    assert_eq!(recordings[0]["target"], "inner");
    let events = rig.events();
    let end =
        events.iter().find(|event| event["type"] == "channel.session" && event["outcome"] == "ok").unwrap();
    let via = &end["detail"]["via"];
    assert_eq!((&via[0]["target"], &via[1]["target"]), (&"gw1".into(), &"gw2".into()), "{end}");
    assert_eq!(via[0]["address"], rig.target("gw1").address().to_string());
    assert_eq!(
        (&via[1]["account"], &end["detail"]["target_login"]),
        (&ACCOUNT.into(), &"certificate".into())
    );
    assert_eq!(end["detail"]["address"], rig.target("inner").address().to_string());
    // Nobody gets in at a gateway by having a target behind it.
    let output = ana.ssh("gw1", "echo in");
    assert_eq!(
        (output.stdout.as_slice(), output.status.code()),
        (&b""[..], Some(REFUSED)),
        "{}",
        told(&output)
    );
    let checked = rig.said(&["target", "check"]);
    assert!(checked.contains("via gw2 via gw1: host key and login are right"), "{checked}");
    rig.verify_everything();
}

#[test]
fn what_is_carried_through_a_gateway_arrives_whole_both_ways_at_once() {
    let rig = scene(&[]).start();
    let sent = noise(24 << 20, 7);
    let mut cat = rig.client("ana").start("inner", "cat");
    let (mut to, from) = (cat.stdin.take().unwrap(), cat.stdout.take().unwrap());
    let there = std::thread::spawn({
        let sent = sent.clone();
        move || std::io::Write::write_all(&mut to, &sent)
    });
    let mut back = Vec::new();
    std::io::Read::read_to_end(&mut { from }, &mut back).unwrap();
    there.join().unwrap().unwrap();
    assert!(ended("cat", &mut cat, DEADLINE).success());
    assert_eq!((back.len(), sha256(&back)), (sent.len(), sha256(&sent)));
    let many =
        rig.client("ana").ssh("inner", "head -c 30000000 /dev/zero | wc -c; head -c 30000000 /dev/zero");
    assert_eq!(many.stdout.len(), 30_000_000 + "30000000\n".len(), "{}", told(&many));
}

#[test]
fn each_thing_that_fails_on_the_way_has_its_own_code() {
    let rig = scene(&[]).start();
    gone(&rig, "inner");
    let why = refused(&rig, "TARGET-002");
    assert!(why.contains("the gateway gw1 could not connect to it"), "{why}");
    gone(&rig, "gw1");
    let why = refused(&rig, "TARGET-009");
    assert!(why.contains("gateway gw1") && why.contains("[TARGET-002]"), "{why}");
    let (gateway, inner) =
        (rig.target("gw1").host_key().to_owned(), rig.target("inner").host_key().to_owned());
    assert!(rig.apply_changed(|text| text.replace(&gateway, &inner)).status.success());
    let why = refused(&rig, "TARGET-009");
    assert!(why.contains("[TARGET-004]"), "{why}");
    let before = rig.target("inner").log();
    assert!(rig.apply_changed(|text| text.replace(&inner, &gateway)).status.success());
    let why = refused(&rig, "TARGET-004");
    assert!(why.contains("via gw1 is not the registered target"), "{why}");
    let log = rig.target("inner").log();
    assert!(!log[before.len()..].contains("Accepted"), "{log}");
    assert!(
        rig.apply_changed(|text| text.replace("source = [\"127.0.0.1\"]", "source = [\"127.0.0.9\"]"))
            .status
            .success()
    );
    let why = refused(&rig, "TARGET-005");
    assert!(why.contains("with a certificate"), "{why}");
    let nowhere =
        |text: String| text.replace(&rig.target("gw1").address().to_string(), "no-such-host.invalid:22");
    assert!(rig.apply_changed(nowhere).status.success());
    let why = refused(&rig, "TARGET-009");
    assert!(why.contains("no-such-host.invalid") && why.contains("[TARGET-001]"), "{why}");
    assert!(rig.apply_again().status.success());
    assert_eq!(rig.client("ana").ssh("inner", "echo in").stdout, b"in\n");
}

#[test]
fn a_gateway_that_forbids_forwarding_is_told_from_one_that_is_not_there() {
    for term in ["AllowTcpForwarding no", "PermitOpen 127.0.0.1:1"] {
        let rig = scene(&[term]).start();
        let why = refused(&rig, "TARGET-010");
        assert!(why.contains("gw1 does not forward to"), "{why}");
        assert_eq!(rig.target("inner").connections(), 0);
    }
}

#[test]
fn metadata_behind_a_gateway_is_no_target_either() {
    let rig = scene(&[]).start();
    let address = rig.target("inner").address().to_string();
    assert!(rig.apply_changed(|text| text.replace(&address, "169.254.169.254:22")).status.success());
    refused(&rig, "TARGET-001");
    assert_eq!(rig.target("gw1").connections(), 0, "not even asked");
}

fn a_cut_ends_both_legs(route: Route) {
    let rig = scene(&[]).start();
    let ana = rig.client("ana").by(route);
    let mut session = ana.start("inner", "echo ready; exec sleep 600");
    let mut line = String::new();
    BufReader::new(session.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    assert!(rig.target("gw1").held() == 1 && rig.target("inner").held() == 1);
    let id = rig.live()[0]["id"].as_str().unwrap().to_owned();
    rig.said(&["session", "kill", &id]);
    // A second is what is promised; the machine may be busy.
    until("both legs to be gone", Duration::from_secs(10), || {
        (rig.target("gw1").held() == 0 && rig.target("inner").held() == 0).then_some(())
    });
    assert_eq!(ended("the client", &mut session, DEADLINE).code(), Some(REFUSED));
    // The gateway itself goes: the session ends with a word, and nothing is left of it.
    let mut session = ana.start("inner", "echo ready; exec sleep 600");
    let mut line = String::new();
    BufReader::new(session.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    end_connections_of(&rig, "gw1");
    assert_eq!(ended("the client", &mut session, DEADLINE).code(), Some(REFUSED));
    rig.refusal("TARGET-002");
    until("the inner leg to be gone", DEADLINE, || (rig.target("inner").held() == 0).then_some(()));
    rig.sealed_recordings(2);
    rig.verify_everything();
}

/// Ends the servers that hold connections to a target: those that write its log.
fn end_connections_of(rig: &Rig, name: &str) {
    let log = rig.path(format!("target-{name}/log"));
    for process in std::fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        let Some(pid) = process.file_name().to_str().and_then(|pid| pid.parse().ok()) else { continue };
        let Ok(files) = std::fs::read_dir(process.path().join("fd")) else { continue };
        let mut files = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        if files.any(|file| file == log) {
            bartizan_integration_tests::end(pid);
        }
    }
}
