//! The wall clock jumps an hour, a year, and back, under the bastion and while it sleeps.
//! It never touches this machine's clock.

use std::io::{BufRead, BufReader, Write as _};

use bartizan_integration_tests::{Client, DEADLINE, Rig, until};
use serde_json::Value;

const HOUR: i64 = 3600;
const YEAR: i64 = 365 * 24 * HOUR;

#[test]
fn a_clock_that_jumps_is_told_and_nothing_is_believed_twice() {
    let mut rig = Rig::new().operator("ana").target("db1").own_clock().start();
    let first = rig.phone("ana").fresh();
    let mut ssh =
        rig.client("ana").answering(&first).start("db1", "echo before; read line; echo \"after $line\"");
    let mut out = BufReader::new(ssh.stdout.take().unwrap());
    assert_eq!(line_of(&mut out), "before\n");

    rig.set_clock(HOUR);
    jumped(&rig, 1, HOUR);
    ssh.stdin.take().unwrap().write_all(b"the jump\n").unwrap();
    assert_eq!((line_of(&mut out), ssh.wait().unwrap().success()), ("after the jump\n".to_owned(), true));
    let ana = rig.client("ana");
    let asked = ana.prompts().len();
    enters(&ana.clone().answering("no code is asked for"));
    assert_eq!(ana.prompts().len(), asked, "an hour is within what a code counts");

    rig.set_clock(YEAR);
    jumped(&rig, 2, YEAR - HOUR);
    let later = rig.phone("ana").code_at(YEAR);
    enters(&rig.client("ana").answering(&later));
    assert_eq!(ana.prompts().len(), asked + 1, "what was remembered is a year old");

    rig.set_clock(0);
    jumped(&rig, 3, -YEAR);
    // What was remembered is from the future, and every code of today is older than the last that was taken.
    for code in [first, rig.phone("ana").code_at(0), rig.phone("ana").code_at(30), later] {
        let refused = rig.client("ana").answering(&code).word("whoami");
        assert_eq!((refused.status.success(), &refused.stdout[..]), (false, &b""[..]), "{refused:?}");
    }

    // While the bastion is down the clock goes back once more: the log itself says so at the next start.
    rig.stop_server();
    rig.set_clock(-HOUR);
    rig.start_server();
    jumped(&rig, 4, -HOUR);
    rig.set_clock(YEAR + HOUR);
    jumped(&rig, 5, YEAR + 2 * HOUR);
    enters(&rig.client("ana").answering(&rig.phone("ana").code_at(YEAR + HOUR)));

    rig.sealed_recordings(1);
    rig.verify_everything();
    in_order(&rig.events());
}

#[test]
fn a_certificate_for_a_target_is_good_for_minutes_by_the_targets_own_clock() {
    let rig = Rig::new().operator("ana").target("db1").own_clock().start();
    assert_eq!(rig.client("ana").ssh("db1", "echo in").stdout, b"in\n", "with one clock");
    let mut before = 0;
    for (number, minutes) in [-10, 10].into_iter().enumerate() {
        rig.set_clock(minutes * 60);
        jumped(&rig, number + 1, (minutes - before) * 60);
        before = minutes;
        let code = rig.phone("ana").code_at(minutes * 60);
        let refused = rig.client("ana").answering(&code).ssh("db1", "echo in");
        assert_eq!((refused.status.success(), &refused.stdout[..]), (false, &b""[..]), "{refused:?}");
    }
    rig.refusal("TARGET-005");
    rig.sealed_recordings(2);
    rig.verify_everything();
}

/// Logs in; nothing is dialled for a word, so no target's clock counts.
fn enters(client: &Client<'_>) {
    let said = client.word("whoami");
    assert!(said.status.success() && String::from_utf8_lossy(&said.stdout).contains("ana"), "{said:?}");
}

fn line_of(out: &mut impl BufRead) -> String {
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    line
}

/// Waits until the log has this many jumps, and holds the last one against what was done.
fn jumped(rig: &Rig, count: usize, seconds: i64) {
    let jumps: Vec<Value> = until(&format!("jump {count} in the log"), DEADLINE, || {
        let jumps: Vec<Value> =
            rig.events().into_iter().filter(|event| event["type"] == "system.clock").collect();
        (jumps.len() >= count).then_some(jumps)
    });
    let by = jumps.last().unwrap()["detail"]["by_ms"].as_i64().unwrap();
    let off = (by - seconds * 1000).abs();
    // Down for a while, the clock went on; what it stood at last is the log's last entry.
    assert!(jumps.len() == count && off < 30_000, "{by} ms, not {seconds} s: {jumps:?}");
}

/// By sequence, although the times go back and forth.
fn in_order(events: &[Value]) {
    let mut all: Vec<&Value> = events.iter().collect();
    all.sort_by_key(|event| event["seq"].as_u64().unwrap());
    let numbers: Vec<u64> = all.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>());
    let back = all.windows(2).filter(|two| two[1]["time"].as_str() < two[0]["time"].as_str()).count();
    println!("clock jumps: {} events in order, {back} of them before the one before by the wall", all.len());
    assert!(back >= 2, "the clock went back twice");
}
