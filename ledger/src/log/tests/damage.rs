//! What happens to a log that was cut, changed, moved or rolled back: it is named, and never continued.
//!
//! Never repairs: a refusal leaves every file as it was.

use std::sync::OnceLock;

use proptest::prelude::*;

use super::*;

/// A folder with the files of a log of six entries and four checkpoints, made once.
fn copied() -> tempfile::TempDir {
    static FILES: OnceLock<Vec<(std::ffi::OsString, Vec<u8>)>> = OnceLock::new();
    let files = FILES.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path(), 6, 2);
        let listed = fs::read_dir(dir.path()).unwrap().map(Result::unwrap);
        listed.map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap())).collect()
    });
    let dir = tempfile::tempdir().unwrap();
    files.iter().for_each(|(name, bytes)| fs::write(dir.path().join(name), bytes).unwrap());
    dir
}

#[test]
fn two_checkpoints_of_one_size_and_two_roots_are_never_continued() {
    let dir = tempfile::tempdir().unwrap();
    let made = filled(dir.path(), 3, 3);
    let other = Checkpoint { root: merkle::leaf(b"another"), ..made[0].clone() };
    let note = other.sign(signer(1).as_ref()).unwrap();
    let mut text = fs::read_to_string(history(dir.path())).unwrap();
    text.push_str(&note);
    fs::write(history(dir.path()), text).unwrap();
    assert!(matches!(open(dir.path()), Err(OpenError::Different { signed: 3 })));
    assert!(matches!(broken(check(dir.path())).why, Why::Root { .. }));
}

#[test]
fn a_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 1, 1);
    fs::remove_file(newest(dir.path())).unwrap();
    let made = std::process::Command::new("mkfifo").arg(newest(dir.path())).status().unwrap();
    assert!(made.success());
    assert!(matches!(check(dir.path()), Err(VerifyError::Io { .. })));
    assert!(matches!(open(dir.path()), Err(OpenError::Io { .. })));
}

#[test]
fn a_torn_last_line_is_set_aside_whole_and_told() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 3, 10);
    let mut log = open(dir.path()).unwrap();
    log.append(&event(3)).unwrap();
    log.append(&event(4)).unwrap();
    log.sync().unwrap();
    drop(log);
    let whole = fs::read(entries(dir.path())).unwrap();
    let starts = starts(dir.path());
    for cut in (starts[3]..starts[4]).step_by(3).chain(starts[4]..whole.len()) {
        fs::write(entries(dir.path()), &whole[..cut]).unwrap();
        let good = starts.iter().filter(|start| **start <= cut).count() as u64 - 1;
        let begin = starts[good as usize];
        assert_eq!(check(dir.path()).unwrap().torn, (cut - begin) as u64);
        let log = open(dir.path()).unwrap();
        assert_eq!(log.size(), good);
        if cut == begin {
            assert!(log.torn().is_empty());
            continue;
        }
        let [torn] = log.torn() else { panic!("{:?}", log.torn()) };
        assert_eq!((torn.offset, torn.bytes), (begin as u64, (cut - begin) as u64));
        assert_eq!(fs::read(&torn.file).unwrap(), &whole[begin..cut]);
        drop(log);
        assert!(open(dir.path()).unwrap().torn().is_empty(), "told once");
    }
}

#[test]
fn a_log_cut_below_its_checkpoint_is_never_opened_and_the_cut_is_named() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 5, 2);
    let whole = fs::read(entries(dir.path())).unwrap();
    let starts = starts(dir.path());
    for cut in 0..whole.len() {
        fs::write(entries(dir.path()), &whole[..cut]).unwrap();
        let good = starts.iter().filter(|start| **start <= cut).count() - 1;
        let named = broken(check(dir.path()));
        assert_eq!(
            (named.place, named.seq, named.offset),
            (Place::Entries, Some(good as u64), starts[good] as u64)
        );
        assert!(matches!(named.why, Why::Cut(_)));
        assert!(matches!(open(dir.path()), Err(OpenError::Shorter { signed: 5, .. })));
        assert_eq!(fs::read(entries(dir.path())).unwrap().len(), cut, "a refusal changes nothing");
    }
}

#[test]
fn every_flipped_byte_of_the_entries_is_named_by_its_entry_and_refused_at_open() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 4, 2);
    let whole = fs::read(entries(dir.path())).unwrap();
    let starts = starts(dir.path());
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        fs::write(entries(dir.path()), &damaged).unwrap();
        let seq = starts.iter().filter(|start| **start <= at).count() - 1;
        let named = broken(check(dir.path()));
        assert_eq!(
            (named.place, named.seq, named.offset),
            (Place::Entries, Some(seq as u64), starts[seq] as u64)
        );
        match open(dir.path()) {
            Err(OpenError::Damaged { seq: told, .. }) => assert_eq!(told, seq as u64),
            Err(OpenError::Shorter { found: 3, signed: 4 }) => {
                assert_eq!(at + 1, whole.len(), "the last line end")
            }
            other => panic!("byte {at}: {:?}", other.err()),
        }
        assert_eq!(fs::read(entries(dir.path())).unwrap(), damaged, "a refusal changes nothing");
    }
}

#[test]
fn every_flipped_byte_of_the_checkpoints_is_named() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 4, 2);
    for (path, place) in [(newest(dir.path()), Place::Newest), (history(dir.path()), Place::History)] {
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << (at % 8);
            fs::write(&path, &damaged).unwrap();
            match check(dir.path()) {
                Err(VerifyError::Broken(named)) => assert_eq!(named.place, place, "byte {at}"),
                other => panic!("byte {at}: {other:?}"),
            }
        }
        fs::write(&path, &whole).unwrap();
    }
}

#[test]
fn an_entry_rewritten_with_its_hash_is_named_between_two_checkpoints() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 9, 3);
    let mut lines: Vec<String> =
        fs::read_to_string(entries(dir.path())).unwrap().lines().map(|l| format!("{l}\n")).collect();
    let mut forged = event(4);
    forged.operator = Some("mallory".into());
    lines[4] = entry::line(&forged.canonical(4).unwrap()).0;
    fs::write(entries(dir.path()), lines.concat()).unwrap();
    let named = broken(check(dir.path()));
    assert_eq!((named.seq, named.why), (Some(3), Why::Root { from: 3, to: 5 }));
    assert_eq!(named.offset, starts(dir.path())[3] as u64);
    assert!(matches!(open(dir.path()), Err(OpenError::Different { signed: 9 })));
}

#[test]
fn entries_reordered_repeated_or_inserted_are_named() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 5, 5);
    let text = fs::read_to_string(entries(dir.path())).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    for (order, seq, found) in [
        (vec![0, 2, 1, 3, 4], 1, 2),
        (vec![0, 1, 1, 2, 3, 4], 2, 1),
        (vec![0, 1, 3, 4], 2, 3),
        (vec![0, 1, 2, 3, 4, 0], 5, 0),
    ] {
        fs::write(entries(dir.path()), order.iter().map(|i| lines[*i]).collect::<String>()).unwrap();
        let named = broken(check(dir.path()));
        assert_eq!((named.seq, named.why), (Some(seq), Why::Entry(EntryError::Sequence(found))));
    }
}

#[test]
fn an_old_copy_of_everything_is_seen_only_with_a_checkpoint_kept_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 3, 3);
    let old: Vec<_> = [entries(dir.path()), newest(dir.path()), history(dir.path())]
        .into_iter()
        .map(|path| (fs::read(&path).unwrap(), path))
        .collect();
    let mut log = open(dir.path()).unwrap();
    log.append(&event(3)).unwrap();
    let kept = log.checkpoint().unwrap();
    drop(log);
    assert_eq!(verify(dir.path(), &key(), std::slice::from_ref(&kept), |_| {}).unwrap().signed, 4);
    for (bytes, path) in &old {
        fs::write(path, bytes).unwrap();
    }
    assert_eq!(check(dir.path()).unwrap().entries, 3);
    let named = broken(verify(dir.path(), &key(), &[kept], |_| {}));
    assert_eq!((named.seq, named.why), (Some(3), Why::Cut(4)));
}

#[test]
fn a_log_without_its_checkpoints_or_under_another_key_is_not_continued() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 3, 3);
    assert!(matches!(Log::open(dir.path(), signer(2)), Err(OpenError::OtherKey(_))));
    fs::remove_file(public(dir.path())).unwrap();
    assert!(matches!(Log::open(dir.path(), signer(2)), Err(OpenError::Note { .. })));
    fs::remove_file(newest(dir.path())).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3, "a refusal leaves nothing behind");
    drop(Log::open(dir.path(), signer(1)).unwrap());
    assert_eq!(check(dir.path()).unwrap().signed, 3, "the newest is put back from the history");
    fs::remove_file(history(dir.path())).unwrap();
    fs::remove_file(newest(dir.path())).unwrap();
    assert!(matches!(open(dir.path()), Err(OpenError::NoCheckpoint(_))));
    assert!(matches!(broken(check(dir.path())).why, Why::NoCheckpoint));
}

#[test]
fn a_half_written_checkpoint_is_set_aside_and_the_one_before_it_counts() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 4, 2);
    let whole = fs::read(history(dir.path())).unwrap();
    let notes: Vec<usize> = String::from_utf8(whole.clone())
        .unwrap()
        .match_indices("bastion.example/audit\n")
        .map(|m| m.0)
        .collect();
    let first = notes[2];
    // A crash leaves the newest one behind the history, never before it.
    fs::write(newest(dir.path()), &whole[notes[1]..first]).unwrap();
    for cut in first + 1..whole.len() {
        fs::write(history(dir.path()), &whole[..cut]).unwrap();
        assert_eq!(check(dir.path()).unwrap().signed, 2);
        let log = open(dir.path()).unwrap();
        assert_eq!((log.torn().len(), log.size(), log.signed().unwrap().size), (1, 4, 2));
        assert_eq!(fs::read(history(dir.path())).unwrap(), whole[..first]);
    }
    fs::write(newest(dir.path()), &whole[first..]).unwrap();
    let named = broken(check(dir.path()));
    assert_eq!((named.place, named.offset, named.why), (Place::History, first as u64, Why::HistoryCut));
    drop(open(dir.path()).unwrap());
    assert_eq!(check(dir.path()).unwrap().signed, 4);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_damage_to_a_signed_log_is_an_error_at_or_before_it_and_never_opened(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        moved in any::<Option<(prop::sample::Index, prop::sample::Index, u16)>>(), cut in any::<Option<prop::sample::Index>>(),
    ) {
        let dir = copied();
        let whole = fs::read(entries(dir.path())).unwrap();
        let mut bytes = whole.clone();
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some((from, to, length)) = moved {
            let from = from.index(bytes.len());
            let taken: Vec<u8> = bytes[from..].iter().take(usize::from(length)).copied().collect();
            let to = to.index(bytes.len());
            bytes.splice(to..to, taken);
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        fs::write(entries(dir.path()), &bytes).unwrap();
        let first = whole.iter().zip(&bytes).position(|(a, b)| a != b).unwrap_or(whole.len().min(bytes.len()));
        match check(dir.path()) {
            Ok(_) => prop_assert!(bytes.starts_with(&whole)),
            Err(VerifyError::Broken(named)) => prop_assert!(named.offset <= first as u64),
            Err(other) => panic!("{other}"),
        }
        prop_assert_eq!(open(dir.path()).is_ok(), bytes.starts_with(&whole));
    }

    #[test]
    fn any_bytes_as_any_file_get_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..300), which in 0..4usize) {
        let dir = copied();
        let path = [entries(dir.path()), newest(dir.path()), history(dir.path()), public(dir.path())][which].clone();
        fs::write(path, bytes).unwrap();
        let _ = check(dir.path());
        let _ = tail(dir.path(), Filter::default(), 2);
        let _ = open(dir.path());
    }
}
