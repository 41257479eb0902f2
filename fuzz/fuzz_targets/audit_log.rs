//! The audit log's files: any bytes, or a signed log spoiled.
//! Holds: little memory; every reader agrees; the verifier says that entries are under a signature only where they are those
//! that were signed, byte for byte; and a log that is opened again and signed on says everything that it said.
#![no_main]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use bartizan_fuzz::{Input, folder, log, signer, sow, spoil, within};
use bartizan_ledger::log::{Checkpoint, Event, Filter, Log, Reader, VerifierKey, tail, verify};
use libfuzzer_sys::fuzz_target;

/// A line, its event as values and as text; and what `tail` holds of a file.
const MEMORY: usize = 2 << 20;
const FILES: [&str; 3] = ["entries.jsonl", "checkpoint", "checkpoints"];

struct Sound {
    dir: PathBuf,
    files: [Vec<u8>; 3],
    entries: u64,
    newest: Checkpoint,
    key: VerifierKey,
}

static SOUND: LazyLock<Sound> = LazyLock::new(|| {
    let dir = folder().join("log");
    log(&dir);
    let key = VerifierKey::of(signer().as_ref()).expect("a key");
    let files = FILES.map(|file| fs::read(dir.join(file)).expect("a file"));
    let counts = verify(&dir, &key, &[], |_| {}).expect("as it is, it verifies");
    assert_eq!(counts.signed, counts.entries);
    let newest = Checkpoint::open(str::from_utf8(&files[1]).expect("text"), &key).expect("a checkpoint");
    Sound { dir, files, entries: counts.entries, newest, key }
});

/// So many whole lines.
fn lines(bytes: &[u8], count: u64) -> &[u8] {
    let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    let end = ends.take(usize::try_from(count).expect("a count")).last().unwrap_or(0);
    &bytes[..end]
}

/// Reads the whole log in two ways; how many entries are good.
fn read(dir: &Path) -> u64 {
    let mut reader = within(MEMORY, || Reader::open(dir, Filter::default())).expect("it opens");
    let mut good = Vec::new();
    let mut broken = false;
    while let Some(entry) = within(MEMORY, || reader.next()) {
        match entry {
            Ok(entry) => good.push(entry),
            Err(_) => broken = true,
        }
    }
    assert!(good.iter().zip(0..).all(|(entry, seq)| entry.seq == seq));
    if let Ok((last, _)) = within(MEMORY, || tail(dir, Filter::default(), 3)) {
        let from = good.len().saturating_sub(3);
        assert!(broken || good[from..] == last[..], "the same from either end");
    }
    good.len() as u64
}

/// What holds of a log whose entries are `entries`; whether it verifies, by itself and with a checkpoint kept elsewhere.
fn holds(sound: &Sound, entries: &[u8]) -> [bool; 2] {
    let good = read(&sound.dir);
    let mut seen = 0;
    let found = within(MEMORY, || verify(&sound.dir, &sound.key, &[], |_| seen += 1));
    if let Ok(counts) = &found {
        assert!(counts.entries == seen && counts.signed <= sound.entries && counts.entries <= good);
        let (now, then) = (lines(entries, counts.signed), lines(&sound.files[0], counts.signed));
        assert!(now == then, "under a signature, and not what was signed");
    }
    let kept = within(MEMORY, || verify(&sound.dir, &sound.key, &[sound.newest.clone()], |_| {}));
    if let Ok(counts) = &kept {
        assert!(counts.signed == sound.entries && found.is_ok());
    }
    [found.is_ok(), kept.is_ok()]
}

/// Opens it as a start does, and goes on.
fn goes_on(sound: &Sound, [alone, kept]: [bool; 2]) {
    let Ok(mut log) = within(MEMORY, || Log::open(&sound.dir, signer())) else { return };
    let before = fs::read(sound.dir.join(FILES[0])).expect("entries");
    log.append(&Event::new(jiff::Timestamp::UNIX_EPOCH, "system.started", "node-1")).expect("an entry");
    log.checkpoint().expect("a checkpoint");
    drop(log);
    assert!(fs::read(sound.dir.join(FILES[0])).expect("entries").starts_with(&before));
    match verify(&sound.dir, &sound.key, &[], |_| {}) {
        Ok(counts) => assert_eq!(counts.signed, counts.entries),
        Err(why) => assert!(!alone, "it verified before it was opened: {why}"),
    }
    let outside = [sound.newest.clone()];
    assert!(!kept || verify(&sound.dir, &sound.key, &outside, |_| {}).is_ok());
}

fn seeds() -> Vec<Vec<u8>> {
    let piece = |bytes: &[u8]| [&u16::try_from(bytes.len()).expect("a length").to_be_bytes(), bytes].concat();
    let whole: Vec<u8> = SOUND.files.iter().flat_map(|file| piece(file)).collect();
    let spoiled = |which: u8, how: &[u8]| [vec![1, which], piece(how)].concat();
    vec![
        [vec![0], whole].concat(),
        vec![1],
        spoiled(0, &[1, 2, 0]),
        spoiled(2, &[0, 0, 9, 1]),
        spoiled(1, &[1, 0, 0]),
    ]
}

fuzz_target!(init: sow("audit_log", seeds()), |bytes: &[u8]| {
    let sound = &*SOUND;
    let mut input = Input(bytes);
    let mut files = sound.files.clone();
    let opened = input.byte();
    if opened % 4 == 0 {
        files = [input.piece().to_vec(), input.piece().to_vec(), input.piece().to_vec()];
    } else {
        while !input.is_empty() {
            let which = usize::from(input.byte()) % 3;
            let piece = input.piece();
            spoil(&mut files[which], &mut Input(piece));
        }
    }
    let _ = fs::remove_dir_all(&sound.dir);
    fs::create_dir(&sound.dir).expect("a folder");
    for (file, bytes) in FILES.iter().zip(&files) {
        fs::write(sound.dir.join(file), bytes).expect("a file");
    }
    let verified = holds(sound, &files[0]);
    if opened & 12 == 0 {
        goes_on(sound, verified);
    }
});
