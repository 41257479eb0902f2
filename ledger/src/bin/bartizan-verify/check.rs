//! Finds out what a path is, and verifies what is there: the log first, then every recording against it.
//!
//! Never stops at the first broken thing: each recording gets its own answer.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use bartizan_ledger::evidence::{Evidence, HoldError, hold};
use bartizan_ledger::log::{Checkpoint, KeyError, VerifierKey, VerifyError, verify};
use bartizan_ledger::recording::{self, ReadError, State, Verified};

use crate::report::{LogFound, RecordingFound, Report, clean};

/// Wrong usage.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Usage {
    /// A path on the command line cannot be read.
    #[error("{}: cannot read: {source}; check the path", clean(&path.to_string_lossy()))]
    Path { path: PathBuf, source: io::Error },
    /// The folder holds nothing to verify.
    #[error("{}: holds neither a log nor recordings; give a bartizan folder, a log folder or one recording", clean(&.0.to_string_lossy()))]
    Nothing(PathBuf),
    /// The key is not one.
    #[error("--key {}: {why}; give the text of the log's `public` file, or a file with it", clean(given))]
    Key { given: String, why: KeyError },
}

/// What is to be verified.
pub(crate) struct Scope {
    path: PathBuf,
    log: Option<PathBuf>,
    recordings: Recordings,
}

enum Recordings {
    None,
    One(PathBuf),
    /// All of a folder, which may not be there.
    All(PathBuf),
}

/// What the caller brought along.
pub(crate) struct Trust {
    pub(crate) key: Option<VerifierKey>,
    pub(crate) checkpoints: Vec<(PathBuf, String)>,
}

impl Scope {
    pub(crate) fn of(path: &Path, log: Option<&Path>) -> Result<Self, Usage> {
        let at = |source| Usage::Path { path: path.to_owned(), source };
        let scope = |log: Option<PathBuf>, recordings| Self { path: path.to_owned(), log, recordings };
        let given = log.map(Path::to_owned);
        if !fs::metadata(path).map_err(at)?.is_dir() {
            // The folder is found through the real path, so that `bartizan-verify r-....rec` works inside `recordings`.
            let real = path.canonicalize().map_err(at)?;
            let beside =
                real.parent().and_then(Path::parent).map(|dir| dir.join("log")).filter(|log| is_log(log));
            return Ok(scope(given.or(beside), Recordings::One(path.to_owned())));
        }
        if is_log(path) {
            return Ok(scope(Some(path.to_owned()), Recordings::None));
        }
        let (log, recordings) = (path.join("log"), path.join("recordings"));
        if !log.is_dir() && !recordings.is_dir() {
            return Err(Usage::Nothing(path.to_owned()));
        }
        Ok(scope(given.or(Some(log)), Recordings::All(recordings)))
    }
}

fn is_log(dir: &Path) -> bool {
    ["entries.jsonl", "checkpoint", "checkpoints"].iter().any(|name| dir.join(name).is_file())
}

/// The text of a small file named on the command line.
pub(crate) fn small_file(path: &Path) -> Result<String, Usage> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(64 * 1024).read_to_end(&mut bytes));
    read.map_err(|source| Usage::Path { path: path.to_owned(), source })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Verifies everything in `scope`.
pub(crate) fn check(scope: &Scope, trust: &Trust) -> Report {
    let mut report = Report { path: clean(&scope.path.to_string_lossy()), ..Report::default() };
    // The folder is listed before the log is read, so that whatever is listed has had time to be logged.
    let files = files(&scope.recordings, &mut report);
    let evidence = scope.log.as_ref().and_then(|log| check_log(log, trust, &mut report));
    for file in &files {
        report.recordings.push(check_recording(file, evidence.as_ref()));
    }
    match (&evidence, &scope.recordings) {
        (Some(evidence), Recordings::All(dir)) => missing(evidence, dir, &files, &mut report),
        (None, Recordings::One(_) | Recordings::All(_)) => report.notes.push(
            "without a sound log the recordings were only held against themselves: that shows damage, but not whether the end \
             was cut off or the whole was rewritten"
                .to_owned(),
        ),
        _ => {}
    }
    report
}

/// The recordings of the scope, in order of their names.
fn files(recordings: &Recordings, report: &mut Report) -> Vec<PathBuf> {
    let dir = match recordings {
        Recordings::None => return Vec::new(),
        Recordings::One(path) => return vec![path.clone()],
        Recordings::All(dir) => dir,
    };
    let listed = match fs::read_dir(dir).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            let recording = clean(&dir.to_string_lossy());
            let error = Some(format!("cannot list the recordings: {error}"));
            report.recordings.push(RecordingFound { recording, error, ..Default::default() });
            Vec::new()
        }
    };
    let (mut found, others): (Vec<PathBuf>, Vec<PathBuf>) = listed
        .into_iter()
        .map(|entry| entry.path())
        .partition(|path| path.extension().is_some_and(|extension| extension == "rec"));
    if !others.is_empty() {
        report
            .notes
            .push(format!("{} other files in the recordings folder were not looked at", others.len()));
    }
    found.sort();
    found
}

/// Verifies the log and collects what it says of recordings; nothing when it is broken, since then it proves nothing.
fn check_log(dir: &Path, trust: &Trust, report: &mut Report) -> Option<Evidence> {
    let mut found = LogFound::default();
    let mut evidence = Evidence::new();
    let verified = key_of(dir, trust, &mut found).and_then(|key| {
        let checkpoints = outside(trust, &key)?;
        verify(dir, &key, &checkpoints, |entry| evidence.take(entry.seq, &entry.event)).map_err(|error| {
            if let VerifyError::Broken(broken) = &error {
                found.file = Some(broken.place.name().to_owned());
                (found.entry, found.byte) = (broken.seq, Some(broken.offset));
            }
            error.to_string()
        })
    });
    match verified {
        Ok(counts) => {
            found.ok = true;
            (found.entries, found.signed) = (counts.entries, counts.signed);
            (found.checkpoints, found.torn) = (counts.checkpoints, counts.torn);
        }
        Err(error) => found.error = Some(clean(&error)),
    }
    let sound = found.ok;
    if let (Some(key), Some("folder")) = (&found.key, found.key_from) {
        report.notes.push(format!(
            "the log's public key was read from the folder itself; who could replace the folder could replace it: compare it with \
             one you know, or give --key ({key})"
        ));
    }
    if trust.checkpoints.is_empty() {
        report.notes.push(
            "that an old copy of the whole folder was put back can only be seen with a checkpoint kept elsewhere (--checkpoint FILE)"
                .to_owned(),
        );
    }
    if sound && found.entries > found.signed {
        let unsigned = found.entries - found.signed;
        report.notes.push(format!("the last {unsigned} entries of the log are not signed yet"));
    }
    report.log = Some(found);
    sound.then_some(evidence)
}

fn key_of(dir: &Path, trust: &Trust, found: &mut LogFound) -> Result<VerifierKey, String> {
    let (key, from) = match &trust.key {
        Some(key) => (key.clone(), "given"),
        None => {
            let path = dir.join("public");
            if fs::metadata(&path).is_ok_and(|meta| !meta.is_file()) {
                return Err("the log's `public` is not a regular file; give the key with --key".to_owned());
            }
            let text = small_file(&path).map_err(|error| error.to_string())?;
            (
                text.parse()
                    .map_err(|why| format!("the log's file `public`: {why}; give the key with --key"))?,
                "folder",
            )
        }
    };
    found.key = Some(clean(&key.to_string()));
    found.key_from = Some(from);
    Ok(key)
}

fn outside(trust: &Trust, key: &VerifierKey) -> Result<Vec<Checkpoint>, String> {
    let open = |(path, note): &(PathBuf, String)| {
        Checkpoint::open(note, key).map_err(|why| format!("the checkpoint in {}: {why}", path.display()))
    };
    trust.checkpoints.iter().map(open).collect()
}

fn check_recording(path: &Path, evidence: Option<&Evidence>) -> RecordingFound {
    let recording = clean(&path.file_stem().unwrap_or_default().to_string_lossy());
    let mut found = RecordingFound { recording, ..Default::default() };
    let verified = match evidence {
        Some(evidence) => hold(path, None, evidence),
        None => recording::verify(path, None, None, &[]).map_err(HoldError::from),
    };
    match verified {
        Ok(verified) => fill(&mut found, &verified),
        Err(error) => {
            if let HoldError::Read(ReadError::Broken(broken)) = &error {
                (found.frame, found.byte) = (Some(broken.frame), Some(broken.offset));
            }
            found.error = Some(clean(&error.to_string()));
        }
    }
    found
}

fn fill(found: &mut RecordingFound, verified: &Verified) {
    found.ok = true;
    found.state = Some(match verified.state {
        State::Sealed => "sealed",
        State::Recovered => "recovered",
        State::Ended => "ended",
        State::Unfinished => "unfinished",
    });
    (found.frames, found.bytes) = (verified.head.frames, verified.head.bytes);
    (found.ignored, found.proven) = (verified.ignored, verified.proven);
    found.digest = Some(verified.head.digest.to_string());
}

/// Names the recordings that the log knows and the folder lacks.
fn missing(evidence: &Evidence, dir: &Path, files: &[PathBuf], report: &mut Report) {
    let there: BTreeSet<&str> = files.iter().filter_map(|path| path.file_stem()?.to_str()).collect();
    for (id, said) in evidence.all() {
        // One that was begun after the folder was listed is there now.
        if there.contains(id) || dir.join(recording::file_name(id)).is_file() {
            continue;
        }
        let error = Some(format!("the file is missing, the log speaks of it last at entry {}", said.seq));
        report.recordings.push(RecordingFound { recording: clean(id), error, ..Default::default() });
    }
}
