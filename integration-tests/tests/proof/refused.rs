//! Everything that is no proof, offered to the running bastion by a stock `ssh`: one text for all, and each its code in the log.
//! It never changes more than one thing of a certificate that would be taken.

use std::collections::BTreeSet;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bartizan_integration_tests::{Builder, Client, Laptop, Rig, until};
use serde_json::Value;

use crate::agent::Agent;
use crate::forge::{Machine, key_of};
use crate::spoiled::{Change, Spoiled, USED, spoiled};

/// What `ssh` itself exits with when it was not let in.
const NOT_LOGGED_IN: i32 = 255;
/// Logins at a time.
const HANDS: usize = 4;

/// One cheat: what it is, the code it has in the log, and who tries it.
struct Case<'r> {
    what: &'static str,
    code: &'static str,
    client: Client<'r>,
    /// Kept as long as the client may ask it.
    _agent: Option<Agent>,
}

fn bound() -> Builder {
    Rig::new().operator("ana").operator("bob").target("db1").setting("device", "evidence = \"bound\"")
}

pub(crate) fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).replace('\r', "")
}

/// A case of one machine, whose certificates are changed.
fn offering<'r>(
    rig: &'r Rig,
    (what, code, change): Spoiled,
    machine: &Arc<Machine>,
    operator: &str,
) -> Case<'r> {
    let machine = machine.clone();
    let agent = Agent::offering(rig, move |bind| {
        let mut making = machine.making(bind);
        change(&mut making);
        making.identity()
    });
    Case { what, code, client: agent.client(rig, operator), _agent: Some(agent) }
}

/// Machines that are not what they were, and clients without a certificate.
fn strangers<'r>(rig: &'r Rig) -> Vec<Case<'r>> {
    let nothing = || -> Change { Box::new(|_| {}) };
    let mut cases = Vec::new();
    for state in ["lost", "retire"] {
        let machine = Machine::registered(rig, &format!("lt-{state}"), "ana", &[]);
        rig.said(&["device", state, &format!("lt-{state}")]);
        cases.push(offering(rig, (state, "POSTURE-002", nothing()), &machine.into(), "ana"));
    }
    let unknown = Machine::new("lt-unknown", "ana", key_of("lt-unknown"));
    cases.push(offering(rig, ("unknown", "POSTURE-002", nothing()), &unknown.into(), "ana"));
    let of_bob = Machine::of(rig, "bob").into();
    cases.push(offering(rig, ("another tenant's", "POSTURE-002", nothing()), &of_bob, "bob"));
    let plain = |what, code, client| Case { what, code, client, _agent: None };
    cases.push(plain("no device at all", "POSTURE-002", rig.client("ana").without_device()));
    cases.push(plain("a plain device key", "POSTURE-004", rig.client("ana")));
    cases.extend(replayed(rig));
    cases
}

/// What a real agent said in a login that succeeded, said again.
fn replayed(rig: &Rig) -> Option<Case<'_>> {
    let laptop = Laptop::enrolled(rig, "ana", "lt-ana", &["--imported"]).running();
    let (agent, heard) = Agent::overhearing(rig, laptop.socket());
    goes_in(&agent.client(rig, "ana"));
    assert_eq!(heard.lock().unwrap().len(), 3, "a bind, the identities, a signature");
    let agent = Agent::repeating(rig, heard);
    let client = agent.client(rig, "ana");
    Some(Case { what: "replayed word for word", code: "POSTURE-003", client, _agent: Some(agent) })
}

fn goes_in(client: &Client<'_>) {
    let output = client.ssh("db1", "echo in");
    assert_eq!(
        (output.stdout.as_slice(), output.status.code()),
        (&b"in\n"[..], Some(0)),
        "{}",
        told(&output)
    );
}

/// Bob and his target are of another tenant than his laptop is from now on.
fn move_bob(rig: &Rig) {
    let text = std::fs::read_to_string(rig.path("bundle").join("scene.toml")).unwrap();
    let folder = rig.new_folder("bundle");
    let moved = text.replace("name = \"bob\"\n", "name = \"bob\"\ntenant = \"acme\"\n");
    assert_ne!(moved, text);
    std::fs::write(folder.join("scene.toml"), moved).unwrap();
    rig.said(&["access", "apply", folder.to_str().unwrap()]);
}

/// Has every case tried, a few at a time, and gives what each was told, without the reference, and the reference.
fn all_told(cases: &[Case<'_>]) -> Vec<(String, String)> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut told = Vec::new();
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            told.push((case.what, try_in(case)));
        }
        told
    };
    let mut all: Vec<(&str, (String, String))> = thread::scope(|scope| {
        let hands: Vec<_> = (0..HANDS).map(|_| scope.spawn(work)).collect();
        hands.into_iter().flat_map(|hand| hand.join().unwrap()).collect()
    });
    cases
        .iter()
        .map(|case| all.swap_remove(all.iter().position(|(what, _)| *what == case.what).unwrap()).1)
        .collect()
}

fn try_in(case: &Case<'_>) -> (String, String) {
    let output = case.client.ssh("db1", "echo in");
    let said = told(&output);
    assert_eq!(
        (output.stdout.as_slice(), output.status.code()),
        (&b""[..], Some(NOT_LOGGED_IN)),
        "{}: {said}",
        case.what
    );
    let reference = said.split(" ref ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let reference = reference.unwrap_or_else(|| panic!("{}: no reference in {said:?}", case.what)).to_owned();
    (said.replace(&reference, "REF"), reference)
}

#[test]
fn whatever_is_no_proof_is_told_the_same_and_has_its_own_code_in_the_log() {
    let rig = bound().start();
    let ana: Arc<Machine> = Machine::of(&rig, "ana").into();
    let right: Change = Box::new(|making| making.report.bind.seq = USED);
    // Nothing changed, it gets in: what is refused below is refused for its one change.
    let control = offering(&rig, ("right", "", right), &ana, "ana");
    goes_in(&control.client);
    let mut cases: Vec<Case<'_>> =
        spoiled(&rig).into_iter().map(|case| offering(&rig, case, &ana, "ana")).collect();
    cases.extend(strangers(&rig));
    move_bob(&rig);
    let (asked, dialled) = (control.client.prompts().len(), rig.target("db1").connections());
    let told = all_told(&cases);

    let texts: BTreeSet<&str> = told.iter().map(|(text, _)| text.as_str()).collect();
    assert_eq!(texts.len(), 1, "one text for all: {texts:#?}");
    let text = told[0].0.lines().find(|line| line.contains("bartizan: ")).unwrap();
    assert!(text.ends_with(&format!("{} [POSTURE-000] ref REF", posture::NO_PROOF)), "{text}");
    assert_eq!(
        control.client.prompts().len(),
        asked,
        "nobody was asked for anything: {:?}",
        control.client.prompts()
    );
    assert_eq!(rig.target("db1").connections(), dialled);
    let events = rig.events();
    for (case, (_, reference)) in cases.iter().zip(&told) {
        let of_it: Vec<&Value> =
            events.iter().filter(|event| event["detail"]["ref"] == **reference).collect();
        assert!(!of_it.is_empty(), "{}: nothing in the log", case.what);
        for event in of_it {
            assert_eq!(
                (event["type"].as_str(), event["outcome"].as_str()),
                (Some("auth.login"), Some("refused"))
            );
            assert_eq!(event["code"], case.code, "{}: {event:#}", case.what);
            assert!(event["device"].is_null(), "{}: no device is proven: {event:#}", case.what);
        }
    }
    goes_in(
        &offering(
            &rig,
            ("right again", "", Box::new(|making| making.report.bind.seq = USED + 1)),
            &ana,
            "ana",
        )
        .client,
    );
}

#[test]
fn without_a_prompt_to_end_at_it_is_permission_denied_and_no_more() {
    let rig = bound().start();
    let ana: Arc<Machine> = Machine::of(&rig, "ana").into();
    let (mut texts, mut codes) = (BTreeSet::new(), BTreeSet::new());
    for case in spoiled(&rig) {
        // The first of each code is enough.
        if !codes.insert(case.1) || case.0 == "a number used before" {
            continue;
        }
        let case = offering(&rig, case, &ana, "ana");
        let output = case.client.clone().option("BatchMode yes").ssh("db1", "echo in");
        assert_eq!(
            (output.stdout.as_slice(), output.status.code()),
            (&b""[..], Some(NOT_LOGGED_IN)),
            "{}",
            case.what
        );
        texts.insert(told(&output));
        until(case.what, bartizan_integration_tests::DEADLINE, || {
            rig.events().iter().any(|event| event["code"] == case.code).then_some(())
        });
    }
    assert_eq!(codes.len(), 5, "{codes:?}");
    assert_eq!(texts.len(), 1, "{texts:?}");
    let text = texts.first().unwrap();
    assert!(
        text.contains("Permission denied (publickey,keyboard-interactive)") && !text.contains("bartizan"),
        "{text}"
    );
}

#[test]
fn a_proven_device_that_is_locked_personal_or_anothers_is_told_so_and_nothing_is_reached() {
    let rig = bound().start();
    let own: Arc<Machine> = Machine::registered(&rig, "own", "ana", &["--personal"]).into();
    let locked: Arc<Machine> = Machine::registered(&rig, "lt-locked", "ana", &[]).into();
    rig.said(&["device", "lock", "lt-locked"]);
    let ana: Arc<Machine> = Machine::of(&rig, "ana").into();
    let cases = [
        (&own, "ana", "POSTURE-006", "it is a personal one"),
        (&locked, "ana", "POSTURE-006", "it is locked"),
        (&ana, "bob", "POSTURE-007", "it is not registered for this operator"),
        // Whoever is named: that nobody has this name is not learnt here.
        (&ana, "nobody", "POSTURE-007", "it is not registered for this operator"),
    ];
    for (machine, operator, code, why) in cases {
        let case = offering(&rig, ("barred", code, Box::new(|_| {})), machine, "ana");
        let login = case.client.at("db1").replacen("ana", operator, 1);
        let output = case.client.command("ssh").arg(login).arg("echo in").output().unwrap();
        let said = told(&output);
        assert_eq!((output.stdout.as_slice(), output.status.code()), (&b""[..], Some(254)), "{said}");
        assert!(said.contains(&format!("[{code}]\n")) && said.contains(why), "{said}");
        let reference = said.split("  ref     ").nth(1).unwrap().split(',').next().unwrap();
        let events = rig.events();
        let event = events.iter().find(|event| event["detail"]["ref"] == reference).unwrap();
        assert_eq!(
            (event["type"].as_str(), event["code"].as_str()),
            (Some("device.remediation"), Some(code))
        );
    }
    assert_eq!(rig.target("db1").connections(), 0);
    assert!(rig.client("ana").prompts().is_empty());
}
