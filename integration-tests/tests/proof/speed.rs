//! What the proof of a device costs at a login.
//! It never compares what was not measured side by side.

use std::time::{Duration, Instant};

use bartizan_integration_tests::{Client, Laptop, Rig};

/// Logins of each kind.
const LOGINS: usize = 20;
/// A busy machine may spoil a round.
const ROUNDS: usize = 5;
/// What a login may take with the proof, against one with a plain device key.
const MOST: f64 = 1.15;

#[test]
#[ignore = "long: medians of many logins"]
fn a_proof_bound_to_the_connection_adds_little_to_a_login() {
    let rig = Rig::new().operator("ana").target("db1").start();
    let laptop = Laptop::enrolled(&rig, "ana", "lt-ana", &["--imported"]).running();
    let (plain, bound) = (rig.client("ana"), laptop.client());
    // Each device is asked for a code once.
    let _ = (login(&plain), login(&bound));
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let (mut without, mut with): (Vec<_>, Vec<_>) =
            (0..LOGINS).map(|_| (login(&plain), login(&bound))).unzip();
        let (without, with) = (median(&mut without), median(&mut with));
        let ratio = with.as_secs_f64() / without.as_secs_f64();
        let (ms, proof_ms) = (without.as_millis(), with.as_millis());
        println!(
            "a login by a plain device key {ms} ms, by the agent's proof {proof_ms} ms: {ratio:.3} times"
        );
        if ratio < MOST {
            return;
        }
        ratios.push(ratio);
    }
    panic!("{ratios:.3?} times as long, never under {MOST}");
}

fn login(client: &Client<'_>) -> Duration {
    let mut ssh = client.command("ssh");
    ssh.arg(client.at("db1")).arg("true");
    let began = Instant::now();
    let output = ssh.output().unwrap();
    let took = began.elapsed();
    assert!(output.status.success(), "{output:?}");
    took
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
