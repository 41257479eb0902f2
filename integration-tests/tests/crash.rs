//! The bastion killed in the middle of output, again and again: what was seen is kept, and the record says what happened.
//! It never mends anything by hand between two lives.

use std::io::Read as _;
use std::process::Stdio;

use bartizan_integration_tests::{DEADLINE, Rig, Route, by_both_routes, until};
use serde_json::Value;

by_both_routes! {
    what_a_client_saw_before_a_kill_is_in_the_recording,
    #[ignore = "long: fifty kills"]
    what_a_client_saw_before_each_of_fifty_kills_is_in_the_recording,
}

fn what_a_client_saw_before_a_kill_is_in_the_recording(route: Route) {
    killed_under_output(route, 5);
}

fn what_a_client_saw_before_each_of_fifty_kills_is_in_the_recording(route: Route) {
    killed_under_output(route, 50);
}

fn killed_under_output(route: Route, times: usize) {
    let mut rig = Rig::new().operator("ana").target("db1").start();
    let mut known: Vec<String> = Vec::new();
    for round in 0..times {
        let seen = seen_until_killed(&mut rig, route, 20_000 + round * 7_919);
        rig.start_server();
        let recording = until("the recording of the last life", DEADLINE, || {
            let new = rig.recordings().into_iter().find(|one| !known.contains(&id(one)))?;
            (!new["ended"].is_null()).then_some(new)
        });
        known.push(id(&recording));
        let text = rig.text_of(&id(&recording));
        let whole = text.as_bytes().starts_with(&seen);
        assert!(whole, "round {round}: {} bytes seen, {} recorded", seen.len(), text.len());
        let said = rig.said(&["recording", "verify", &id(&recording)]);
        assert!(said.contains("ok"), "{said}");
    }
    assert_eq!(rig.recordings().len(), times);
    let recovered = rig.events().iter().filter(|event| is_recovery(event)).count();
    assert_eq!(recovered, times, "each crash is in the log, with its counts");
    rig.verify_everything();
}

fn id(recording: &Value) -> String {
    recording["id"].as_str().unwrap().to_owned()
}

fn is_recovery(event: &Value) -> bool {
    event["type"].as_str().is_some_and(|kind| kind.starts_with("recording."))
        && event.to_string().contains("recovered")
}

/// Runs an endless command and kills the bastion when the client has printed this much. Returns all that it printed.
fn seen_until_killed(rig: &mut Rig, route: Route, enough: usize) -> Vec<u8> {
    let mut ssh = {
        let ana = rig.client("ana").by(route);
        let mut command = ana.command("ssh");
        command.arg(ana.at("db1")).arg("i=0; while :; do echo \"line $i\"; i=$((i+1)); done");
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut out = ssh.stdout.take().unwrap();
    let mut seen = Vec::new();
    let mut chunk = [0; 4096];
    while seen.len() < enough {
        let n = out.read(&mut chunk).unwrap();
        assert!(n > 0, "the client ended early");
        seen.extend_from_slice(&chunk[..n]);
    }
    rig.kill_server();
    out.read_to_end(&mut seen).unwrap();
    ssh.wait().unwrap();
    seen
}
