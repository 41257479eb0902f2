//! Large counts of what is harmless once: bundles applied, sessions that a stop has to end.
//! It never asks for more than a large site would.

use std::process::Child;
use std::time::Duration;

use bartizan_integration_tests::{Rig, Shared, until};

#[test]
#[ignore = "long: a thousand bundles"]
fn a_bundle_applied_a_thousand_times_leaks_nothing_and_a_wrong_one_changes_nothing() {
    let rig = Rig::new().operator("ana").target("db1").start();
    let good = rig.path("bundle");
    let wrong = rig.new_folder("wrong");
    std::fs::write(wrong.join("scene.toml"), "[[target]]\nname = \"half\n").unwrap();
    let apply = |folder: &std::path::Path| rig.bartizan(&["access", "apply", folder.to_str().unwrap()]);
    for _ in 0..50 {
        assert!(apply(&good).status.success());
    }
    let (memory, descriptors) = (rig.server().memory(), rig.server().descriptors());
    for round in 0..950 {
        if round % 10 == 0 {
            let refused = apply(&wrong);
            assert_eq!(refused.status.code(), Some(1), "{refused:?}");
            assert!(String::from_utf8_lossy(&refused.stderr).contains("scene.toml"), "{refused:?}");
        }
        assert!(apply(&good).status.success());
    }
    let grown = rig.server().memory().saturating_sub(memory);
    println!(
        "{} KiB more, {descriptors} descriptors before, {} after",
        grown >> 10,
        rig.server().descriptors()
    );
    assert!(grown < 24 << 20, "{grown} bytes more");
    assert!(rig.server().descriptors() <= descriptors + 2);
    assert_eq!(rig.client("ana").ssh("db1", "echo in").stdout, b"in\n");
}

#[test]
#[ignore = "long: five hundred sessions"]
fn a_stop_under_five_hundred_sessions_ends_and_seals_all_of_them() {
    const CONNECTIONS: usize = 10;
    const SESSIONS: usize = 50;
    let mut rig = Rig::new().operator("ana").target("db1").setting("ssh", "drain = \"5s\"").start();
    let shared: Vec<Shared> = (0..CONNECTIONS).map(|_| rig.client("ana").share("db1")).collect();
    let clients: Vec<Child> =
        shared.iter().flat_map(|one| (0..SESSIONS).map(|_| one.start("sleep 1000"))).collect();
    until("five hundred recordings", Duration::from_secs(300), || {
        let begun = rig.recordings();
        (begun.len() == CONNECTIONS * SESSIONS && begun.iter().all(|one| one["ended"].is_null()))
            .then_some(())
    });
    rig.drain_server();
    assert!(rig.server_ended().success());
    let mut told = 0;
    for client in clients {
        let output = client.wait_with_output().unwrap();
        assert!(!output.status.success());
        told += usize::from(
            String::from_utf8_lossy(&output.stderr).contains("bartizan: the bastion is stopping"),
        );
    }
    // A machine that is too busy loses words at the deadline, and nothing else.
    println!("{told} of {} were told", CONNECTIONS * SESSIONS);
    assert!(told > 0);
    drop(shared);
    rig.start_server();
    let all = rig.sealed_recordings(CONNECTIONS * SESSIONS);
    assert!(all.iter().all(|one| one["outcome"] == "refused"), "{all:?}");
    assert!(!rig.events().iter().any(|event| event["type"] == "recording.recovered"));
    rig.verify_everything();
}
