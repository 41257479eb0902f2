//! The power fails while the bastion serves: log, recordings and database are opened again on whatever is left, and agree.
//! It never trusts a list of writes made by hand: `strace` sees those of the running bastion, the database's among them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::process::{Command, Output};

use bartizan_integration_tests::{Builder, DEADLINE, Rig, Strace, binary, until};
use serde_json::Value;

#[path = "../../ledger/tests/power/chance.rs"]
mod chance;
#[path = "../../ledger/tests/power/disk.rs"]
mod disk;
#[path = "../../ledger/tests/power/trace.rs"]
mod trace;

use disk::{Cut, Cuts, Disk};
use trace::{Call, Step};

#[test]
fn a_bastion_whose_power_was_cut_opens_and_verifies() {
    cut(12);
}

#[test]
#[ignore = "long: every state that a power cut may leave"]
fn a_bastion_whose_power_was_cut_at_any_moment_opens_and_verifies() {
    cut(usize::MAX);
}

/// What was seen before a step: then this recording was sealed, and showed this.
struct Seen {
    before: usize,
    recording: String,
    text: String,
}

fn cut(most: usize) {
    let (_rig, before, steps, seen) = traced(Rig::new().operator("ana").target("db1"));
    let Cuts { chosen: cuts, all, seed } = Cuts::of(&before, &steps, most);
    let states = tried(&before, &steps, &cuts, |state, cut| {
        let next = steps.get(cut.after).map(|step| brief(&step.call));
        opened(state, cut, &seen, &format!("seed {seed}, {cut:?}, next {next:?}"))
    });
    println!(
        "power cuts of a bastion: {} steps, {} of {all} states, seed {seed}: {states:?}",
        steps.len(),
        cuts.len()
    );
}

/// Makes what each cut leaves, and has it opened, on all processors; the states of the recordings.
fn tried(
    before: &Disk,
    steps: &[Step],
    cuts: &[Cut],
    opened: impl Fn(&Path, &Cut) -> Vec<String> + Sync,
) -> BTreeMap<String, usize> {
    let folder = disk::folder();
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let works = |own: usize| {
        let (mut at, mut coming, mut states) = (before.clone(), steps.iter(), BTreeMap::new());
        for (number, cut) in cuts.iter().enumerate().skip(own).step_by(workers) {
            while coming.len() > steps.len() - cut.after {
                at.step(coming.next().unwrap());
            }
            let state = folder.path().join(format!("state-{number}"));
            fs::DirBuilder::new().mode(0o700).create(&state).unwrap();
            at.leave(cut, &state);
            for word in opened(&state, cut) {
                *states.entry(word).or_insert(0) += 1;
            }
            fs::remove_dir_all(&state).unwrap();
        }
        states
    };
    std::thread::scope(|scope| {
        let works = &works;
        let all: Vec<_> = (0..workers).map(|own| scope.spawn(move || works(own))).collect();
        let mut states = BTreeMap::new();
        for (word, count) in all.into_iter().flat_map(|worker| worker.join().unwrap()) {
            *states.entry(word).or_default() += count;
        }
        states
    })
}

/// Two sessions under the eyes of `strace`; the disk before them, what was done to it, and what was seen when.
fn traced(scene: Builder) -> (Rig, Disk, Vec<Step>, Vec<Seen>) {
    let rig = scene.start();
    let strace = Strace::attach(&rig, &trace::OPTIONS);
    let lines = || fs::read_to_string(strace.output()).unwrap();
    let (before, skipped) = until("a moment in which nothing is written", DEADLINE, || {
        let (text, disk) = (lines(), Disk::of(&rig.state()));
        (lines() == text).then_some((disk, text.len()))
    });
    let mut seen = Vec::new();
    for round in 1..=2 {
        let said = rig.client("ana").ssh("db1", &format!("seq 1 {}; echo round {round}", round * 500));
        assert!(said.status.success(), "{said:?}");
        let known: Vec<String> = seen.iter().map(|seen: &Seen| seen.recording.clone()).collect();
        let all = rig.sealed_recordings(round);
        let new = all
            .iter()
            .map(|one| one["id"].as_str().unwrap())
            .find(|id| !known.iter().any(|known| known == id));
        let before = trace::read(&lines()[skipped..], &rig.state()).len();
        let text = String::from_utf8(said.stdout).unwrap();
        seen.push(Seen { before, recording: new.unwrap().to_owned(), text });
    }
    let steps = trace::read(&strace.detach()[skipped..], &rig.state());
    (rig, before, steps, seen)
}

/// Opens what a cut left, as a start does, and asks both verifiers; the states of the recordings.
fn opened(state: &Path, cut: &Cut, seen: &[Seen], told: &str) -> Vec<String> {
    let say =
        |words: &[&str]| said(Command::new(binary("bartizan")).arg("--dir").arg(state).args(words), told);
    let text = say(&["recording", "list", "--json"]);
    let rows: Vec<Value> = match serde_json::from_str(&text) {
        Ok(Value::Array(rows)) => rows,
        _ => text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
    };
    for row in &rows {
        assert!(!row["ended"].is_null(), "a row is open: {row}: {told}");
        assert!(say(&["recording", "verify", row["id"].as_str().unwrap()]).contains("ok"), "{told}");
    }
    for seen in seen.iter().filter(|seen| seen.before <= cut.after) {
        let row = rows.iter().find(|row| row["id"] == seen.recording.as_str());
        assert_eq!(
            row.unwrap_or_else(|| panic!("{} is gone: {told}", seen.recording))["state"],
            "sealed",
            "{told}"
        );
        let shown = say(&["recording", "export", &seen.recording, "--format", "text"]);
        assert!(shown.replace('\r', "").contains(&seen.text), "{told}");
    }
    assert!(say(&["audit", "verify"]).contains("ok"), "{told}");
    let found = said(Command::new(binary("bartizan-verify")).arg(state).arg("--json"), told);
    let found: Value = serde_json::from_str(&found).unwrap();
    let states =
        found["recordings"].as_array().unwrap().iter().map(|one| one["state"].as_str().unwrap().to_owned());
    let states: Vec<String> = states.collect();
    assert!(states.iter().all(|state| state == "sealed" || state == "recovered"), "{found}: {told}");
    states
}

fn said(command: &mut Command, told: &str) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {out}{err}: {told}");
    out.into_owned()
}

fn brief(call: &Call) -> String {
    match call {
        Call::Said(text) => text.clone(),
        call => format!("{call:?}").chars().take(160).collect(),
    }
}
