//! The power fails at any moment: what was promised to last is there, and the log and its recordings are opened and verified.
//!
//! Never trusts a list of writes made by hand: `strace` sees what the program really does, and a model of a disk that keeps no
//! more than it must leaves what each cut may leave.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a scene that cannot be set fails its test, and a test tells its figures"
)]

mod chance;
mod disk;
mod trace;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bartizan_ledger::evidence::{self, End, Evidence, hold};
use bartizan_ledger::log::{Event, Filter, Log, Reader, Sign, VerifierKey, verify};
use bartizan_ledger::recording::{State, file_name, recover_with_key};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use disk::{Cuts, Disk};
use trace::{Call, Step};

const KEY: [u8; 32] = [7; 32];

#[test]
fn after_a_power_cut_at_any_moment_nothing_promised_is_lost() {
    cut(150);
}

#[test]
#[ignore = "long: every state that a power cut may leave"]
fn after_every_power_cut_nothing_promised_is_lost() {
    cut(usize::MAX);
}

/// Tries so many of the states that a cut may leave, chosen by chance.
fn cut(most: usize) {
    let folder = disk::folder();
    let scene = folder.path().join("scene");
    fs::create_dir_all(scene.join("recordings")).unwrap();
    let before = Disk::of(&scene);
    let steps = life(&scene, &folder.path().join("trace"));
    let whole = Whole::of(&scene);

    let Cuts { chosen: cuts, all, seed } = Cuts::of(&before, &steps, most);
    let (mut at, mut promised, mut found) = (before, Promised::default(), Found::default());
    let mut coming = steps.iter();
    for (number, cut) in cuts.iter().enumerate() {
        while coming.len() > steps.len() - cut.after {
            let step = coming.next().unwrap();
            at.step(step);
            promised.take(step);
        }
        let state = folder.path().join(format!("state-{number}"));
        fs::create_dir(&state).unwrap();
        at.leave(cut, &state);
        let told = format!("seed {seed}, {cut:?}, promised {promised:?}");
        found.add(&recovered(&state, &promised, &whole, &told));
        fs::remove_dir_all(&state).unwrap();
    }
    println!("power cuts: {} steps, {} of {all} states, seed {seed}: {found:?}", steps.len(), cuts.len());
    assert!(found.torn > 0 && found.ignored > 0 && found.recovered > 0, "the cuts cut nothing: {found:?}");
}

/// Runs the example `life` under `strace` and reads what it did.
fn life(scene: &Path, trace: &Path) -> Vec<Step> {
    let own = std::env::current_exe().unwrap();
    let program = own.ancestors().nth(2).unwrap().join("examples/life");
    assert!(program.exists(), "{} is missing: run cargo build --workspace --examples", program.display());
    let mut strace = Command::new("strace");
    strace.arg("-f").args(trace::OPTIONS).arg("-o").arg(trace).arg(program).arg(scene);
    let output = strace.output().unwrap_or_else(|why| panic!("{why}: integration-tests/run installs strace"));
    assert!(output.status.success(), "{output:?}");
    let steps = trace::read(&fs::read_to_string(trace).unwrap(), scene);
    let said: Vec<&Step> = steps.iter().filter(|step| matches!(step.call, Call::Said(_))).collect();
    assert_eq!(
        said.len(),
        output.stdout.split(|b| *b == b'\n').count() - 1,
        "the trace has all that was said"
    );
    steps
}

/// What the program was promised to last.
#[derive(Clone, Debug, Default)]
struct Promised {
    logged: u64,
    signed: Option<u64>,
    /// Frames by recording, and whether it is sealed.
    kept: BTreeMap<String, (u64, bool)>,
}

impl Promised {
    fn take(&mut self, step: &Step) {
        let Call::Said(text) = &step.call else { return };
        let words: Vec<&str> = text.split_whitespace().collect();
        let number: u64 = words.last().unwrap().parse().unwrap();
        match words[0] {
            "logged" => self.logged = number,
            "signed" => (self.signed, self.logged) = (Some(number), self.logged.max(number)),
            "begun" | "kept" => drop(self.kept.insert(words[1].to_owned(), (number, false))),
            "sealed" => drop(self.kept.insert(words[1].to_owned(), (number, true))),
            other => panic!("{other}"),
        }
    }
}

/// What was written in the end, to hold what is left against.
struct Whole {
    entries: Vec<u8>,
    recordings: BTreeMap<String, Vec<u8>>,
}

impl Whole {
    fn of(scene: &Path) -> Self {
        let recordings = names(&scene.join("recordings"))
            .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap()))
            .collect();
        Self { entries: fs::read(scene.join("log/entries.jsonl")).unwrap(), recordings }
    }
}

fn names(folder: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path())
}

/// What the states were.
#[derive(Debug, Default)]
struct Found {
    sealed: u64,
    recovered: u64,
    unreadable: u64,
    torn: u64,
    ignored: u64,
}

impl Found {
    fn add(&mut self, other: &Self) {
        self.sealed += other.sealed;
        self.recovered += other.recovered;
        self.unreadable += other.unreadable;
        self.torn += other.torn;
        self.ignored += other.ignored;
    }
}

/// Recovers as the server does at its start, and holds everything against the promises.
fn recovered(state: &Path, promised: &Promised, whole: &Whole, told: &str) -> Found {
    let mut found = Found::default();
    let dir = state.join("log");
    let mut log = Log::open(&dir, signer()).unwrap_or_else(|why| panic!("{why}\n{told}"));
    assert!(log.size() >= promised.logged, "the log has {}: {told}", log.size());
    let signed = promised.signed.map(|_| log.signed().unwrap().size);
    assert!(signed >= promised.signed, "signed is {signed:?}: {told}");
    assert!(whole.entries.starts_with(&fs::read(dir.join("entries.jsonl")).unwrap()), "entries: {told}");
    found.torn = log.torn().iter().map(|torn| torn.bytes).sum();

    let mut said = Evidence::new();
    for entry in Reader::open(&dir, Filter::default()).unwrap().map(Result::unwrap) {
        said.take(entry.seq, &entry.event);
    }
    let recordings = state.join("recordings");
    for (id, (frames, sealed)) in &promised.kept {
        let good = recover_with_key(&recordings.join(file_name(id)), &KEY);
        let good = good.unwrap_or_else(|why| panic!("{id}: {why}: {told}"));
        assert!(good.head.frames >= *frames, "{id} has {}: {told}", good.head.frames);
        let end = said.of(id).and_then(|said| said.end);
        assert!(!sealed || matches!(end, Some(End::Sealed(_))), "{id} is not sealed: {told}");
    }
    for path in names(&recordings) {
        let id = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if said.of(&id).and_then(|said| said.end).is_some() {
            continue;
        }
        let Ok(good) = recover_with_key(&path, &KEY) else {
            assert!(!promised.kept.contains_key(&id));
            fs::remove_file(path).unwrap();
            found.unreadable += 1;
            continue;
        };
        let bytes = usize::try_from(good.head.bytes).unwrap();
        assert_eq!(fs::read(&path).unwrap()[..bytes], whole.recordings[&id][..bytes], "{id}: {told}");
        note(&mut log, evidence::RECOVERED, evidence::recovered(&id, &good.head, good.ignored));
        found.ignored += good.ignored;
    }
    log.checkpoint().unwrap();
    drop(log);
    verified(state, &mut found, told);
    found
}

/// Everything verifies, and no recording is without an end.
fn verified(state: &Path, found: &mut Found, told: &str) {
    let mut said = Evidence::new();
    let counts = verify(&state.join("log"), &VerifierKey::of(signer().as_ref()).unwrap(), &[], |entry| {
        said.take(entry.seq, &entry.event);
    });
    let counts = counts.unwrap_or_else(|why| panic!("{why}: {told}"));
    assert_eq!((counts.signed, counts.torn), (counts.entries, 0), "{told}");
    for path in names(&state.join("recordings")) {
        let held =
            hold(&path, Some(&KEY), &said).unwrap_or_else(|why| panic!("{}: {why}: {told}", path.display()));
        match held.state {
            State::Sealed => found.sealed += 1,
            State::Recovered => found.recovered += 1,
            other => panic!("{}: {other:?}: {told}", path.display()),
        }
    }
    for (id, _) in said.all() {
        assert!(state.join("recordings").join(file_name(id)).exists(), "{id} is gone: {told}");
    }
}

struct Signer(Ed25519KeyPair);

impl Sign for Signer {
    fn name(&self) -> &str {
        "life/audit"
    }
    fn public(&self) -> [u8; 32] {
        self.0.public_key().as_ref().try_into().unwrap()
    }
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).as_ref().try_into().unwrap()
    }
}

fn signer() -> Box<Signer> {
    Box::new(Signer(Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap()))
}

fn note(log: &mut Log, kind: &str, detail: serde_json::Map<String, serde_json::Value>) {
    let mut event = Event::new("2026-01-02T03:04:06Z".parse().unwrap(), kind, "node-1");
    event.detail = detail;
    log.append(&event).unwrap();
}
