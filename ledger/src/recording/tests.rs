//! What a recording promises, tried on real files.
//!
//! Never mocks the file system: errors come from real pipes and real damage.

use std::fs;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use proptest::prelude::*;

use super::*;
use crate::WriteError;

const KEY: [u8; 32] = [7; 32];

pub(super) fn header(id: char) -> Header {
    Header {
        recording: format!("r-{}", id.to_string().repeat(26)),
        session: format!("s-{}", "1".repeat(26)),
        channel: 0,
        node: "node-1".into(),
        operator: "alice".into(),
        device: Some("laptop".into()),
        target: "web-1".into(),
        account: "deploy".into(),
        kind: "shell".into(),
        started: "2026-01-02T03:04:05Z".parse().unwrap(),
        envelope: vec![1, 2, 3],
    }
}

fn stamp(n: u64) -> Stamp {
    Stamp { monotonic_ns: n, wall_ns: n.cast_signed() - 100 }
}

/// A sealed recording of `frames` payloads; the heads after the header and each frame, the end's last.
fn recorded(dir: &Path, id: char, frames: &[Vec<u8>]) -> (PathBuf, Vec<Head>) {
    let mut writer = Writer::create(dir, &header(id), &KEY).unwrap();
    let mut heads = vec![writer.head()];
    for (i, payload) in frames.iter().enumerate() {
        writer.append(Stream::Output, stamp(i as u64), payload).unwrap();
        heads.push(writer.head());
    }
    let path = writer.path().to_owned();
    heads.push(writer.seal().unwrap());
    (path, heads)
}

fn small(dir: &Path, id: char) -> (PathBuf, Vec<Head>) {
    let frames: Vec<Vec<u8>> =
        vec![b"one".to_vec(), vec![], vec![b'a'; 300], b"four, of the same kind".to_vec(), vec![0x1b; 40]];
    recorded(dir, id, &frames)
}

fn broken(result: Result<Verified, ReadError>) -> Broken {
    match result {
        Err(ReadError::Broken(broken)) => broken,
        other => panic!("not named: {other:?}"),
    }
}

#[test]
fn what_was_appended_is_read_back_in_order_with_its_stamps() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), &header('A'), &KEY).unwrap();
    let noise: Vec<u8> = (0..200_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let long: Vec<u8> = (0..20_000).flat_map(|i| format!("line {i}\r\n").into_bytes()).collect();
    writer.append(Stream::Request, stamp(1), b"shell").unwrap();
    writer.append(Stream::Output, stamp(2), &long).unwrap();
    writer.append(Stream::Stderr, stamp(3), &noise).unwrap();
    writer.append(Stream::Note, stamp(4), b"").unwrap();
    let path = writer.path().to_owned();
    let end = writer.seal().unwrap();
    assert!(fs::metadata(&path).unwrap().len() < (noise.len() + long.len() / 2) as u64, "text is packed");

    let mut reader = Reader::open(&path, Some(&KEY)).unwrap();
    assert_eq!(reader.header(), &header('A'));
    let frames: Vec<Frame> = reader.by_ref().map(Result::unwrap).collect();
    let joined = |stream| -> Vec<u8> {
        frames.iter().filter(|f| f.stream == stream).flat_map(|f| f.payload.clone()).collect()
    };
    assert_eq!(joined(Stream::Output), long);
    assert_eq!(joined(Stream::Stderr), noise);
    assert_eq!(
        frames.iter().map(|f| f.seq).collect::<Vec<_>>(),
        (1..=frames.len() as u64).collect::<Vec<_>>()
    );
    assert!(frames.iter().filter(|f| f.stream == Stream::Stderr).all(|f| f.stamp == stamp(3)));
    assert_eq!(reader.rest().unwrap(), Rest { head: end, bytes: 0, ended: true });
}

#[test]
fn every_cut_of_a_sealed_recording_is_named_and_of_a_crashed_one_is_recovered() {
    let dir = tempfile::tempdir().unwrap();
    let (path, heads) = small(dir.path(), 'A');
    let whole = fs::read(&path).unwrap();
    let end = *heads.last().unwrap();
    let cut = dir.path().join("cut");
    for length in 0..whole.len() {
        fs::write(&cut, &whole[..length]).unwrap();
        let good = heads.iter().rfind(|head| head.bytes <= length as u64);
        let Some(good) = good else {
            assert!(
                matches!(verify(&cut, None, None, &[]), Err(ReadError::Empty | ReadError::HalfHeader { .. })),
                "{length}"
            );
            assert!(recover(&cut).is_err());
            continue;
        };
        for key in [None, Some(&KEY)] {
            let named = broken(verify(&cut, key, Some(&end), &[]));
            assert_eq!((named.frame, named.offset), (good.frames + 1, good.bytes));
            assert_eq!(named.why, Why::Cut { frames: end.frames });
            let open = verify(&cut, key, None, &heads[..2]);
            if length as u64 >= heads[1].bytes {
                let open = open.unwrap();
                assert_eq!((open.state, open.head, open.proven), (State::Unfinished, *good, 1));
            } else {
                assert_eq!(broken(open).why, Why::Cut { frames: 1 });
            }
        }
        let recovered = recover(&cut).unwrap();
        assert_eq!((recovered.head, recovered.ignored), (*good, length as u64 - good.bytes));
        let again = verify(&cut, Some(&KEY), Some(&recovered.head), &heads[..good.frames as usize]).unwrap();
        assert_eq!((again.state, again.ignored), (State::Recovered, recovered.ignored));
    }
}

#[test]
fn every_flipped_bit_is_named_with_its_frame_with_and_without_the_key_and_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (path, heads) = small(dir.path(), 'A');
    let whole = fs::read(&path).unwrap();
    let end = *heads.last().unwrap();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        fs::write(&path, &damaged).unwrap();
        let frame = heads.iter().filter(|head| head.bytes <= at as u64).count() as u64;
        let offset = if frame == 0 { 0 } else { heads[frame as usize - 1].bytes };
        for (key, expected) in
            [(None, None), (None, Some(&end)), (Some(&KEY), None), (Some(&KEY), Some(&end))]
        {
            match verify(&path, key, expected, &[]) {
                Err(ReadError::Broken(named)) => {
                    assert_eq!((named.frame, named.offset), (frame, offset), "{at}")
                }
                Err(ReadError::Foreign) => assert!(at < 8),
                Err(ReadError::Version { .. }) => assert!((8..10).contains(&at)),
                Err(ReadError::HalfHeader { .. }) => assert!((12..16).contains(&at)),
                other => panic!("byte {at}: {other:?}"),
            }
        }
    }
}

#[test]
fn who_rewrites_the_chain_without_the_key_is_named_by_the_key_and_by_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (path, heads) = small(dir.path(), 'A');
    let mut whole = fs::read(&path).unwrap();
    // Change a byte of frame 4's sealed payload and recompute every link from there on.
    whole[heads[3].bytes as usize + 40] ^= 1;
    let mut digest = heads[3].digest;
    for pair in heads[3..].windows(2) {
        let (from, to) = (pair[0].bytes as usize, pair[1].bytes as usize);
        digest = crate::Digest::of(&[digest.bytes(), &whole[from..to - 16]]);
        whole[to - 16..to].copy_from_slice(&digest.bytes()[..16]);
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(verify(&path, None, None, &[]).unwrap().state, State::Ended, "the chain alone proves nothing");
    let named = broken(verify(&path, Some(&KEY), None, &[]));
    assert_eq!((named.frame, named.offset, named.why), (4, heads[3].bytes, Why::Key));
    let named = broken(verify(&path, None, heads.last(), &heads[..3]));
    assert_eq!((named.frame, named.offset), (3, heads[2].bytes));
    assert_eq!(named.why, Why::Rewritten { to: 6 });
}

#[test]
fn frames_dropped_repeated_reordered_or_spliced_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let (path, heads) = small(dir.path(), 'A');
    let (other, others) = small(dir.path(), 'B');
    let (whole, foreign) = (fs::read(&path).unwrap(), fs::read(&other).unwrap());
    let frame = |bytes: &[u8], heads: &[Head], n: usize| {
        bytes[heads[n - 1].bytes as usize..heads[n].bytes as usize].to_vec()
    };
    let rebuilt = |order: &[(char, usize)]| {
        let mut bytes = whole[..heads[0].bytes as usize].to_vec();
        for (of, n) in order {
            bytes.extend(if *of == 'A' { frame(&whole, &heads, *n) } else { frame(&foreign, &others, *n) });
        }
        fs::write(&path, bytes).unwrap();
        broken(verify(&path, None, heads.last(), &[]))
    };
    let a = |n| ('A', n);
    assert_eq!(rebuilt(&[a(1), a(3), a(4), a(5), a(6)]).why, Why::Sequence { found: 3 });
    assert_eq!(rebuilt(&[a(1), a(2), a(2), a(3), a(4), a(5), a(6)]).why, Why::Sequence { found: 2 });
    assert_eq!(rebuilt(&[a(2), a(1), a(3), a(4), a(5), a(6)]).frame, 1);
    let spliced = rebuilt(&[a(1), a(2), ('B', 3), a(4), a(5), a(6)]);
    assert_eq!((spliced.frame, spliced.why), (3, Why::Chain));
    assert_eq!(rebuilt(&[a(1), a(2), a(3), a(4), a(5)]).why, Why::Cut { frames: 6 });
    let added = rebuilt(&[a(1), a(2), a(3), a(4), a(5), a(6), a(6)]);
    assert!(matches!(added.why, Why::Trailing(64)), "{added}");
}

#[test]
fn a_frame_added_after_recovery_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (path, heads) = small(dir.path(), 'A');
    let named = broken(verify(&path, Some(&KEY), Some(&heads[3]), &[]));
    assert_eq!((named.frame, named.why), (4, Why::Added));
}

#[test]
fn frames_added_to_a_crashed_recording_without_its_key_are_not_recovered_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let (path, heads) = small(dir.path(), 'A');
    let mut bytes = fs::read(&path).unwrap()[..heads[3].bytes as usize].to_vec();
    let stamp = stamp(9);
    let forged = layout::FrameHead { sealed: 21, stream: Stream::Output as u8, flags: 0, seq: 4, stamp };
    let body = [forged.encode().as_slice(), b"forged, with its tag."].concat();
    let digest = crate::Digest::of(&[heads[3].digest.bytes(), &body]);
    bytes.extend_from_slice(&body);
    bytes.extend_from_slice(&digest.bytes()[..16]);
    fs::write(&path, &bytes).unwrap();
    assert_eq!(recover(&path).unwrap().head.frames, 4, "the chain has no secret");
    let recovered = recover_with_key(&path, &KEY).unwrap();
    assert_eq!((recovered.head, recovered.ignored), (heads[3], body.len() as u64 + 16));
}

#[test]
fn a_log_that_committed_more_than_it_recovered_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let (path, heads) = small(dir.path(), 'A');
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(heads[2].bytes).unwrap();
    assert_eq!(broken(verify(&path, None, Some(&heads[2]), &heads[..5])).why, Why::Cut { frames: 4 });
}

#[test]
fn the_wrong_key_opens_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (path, heads) = small(dir.path(), 'A');
    assert_eq!(broken(verify(&path, Some(&[8; 32]), heads.last(), &[])).why, Why::Key);
    assert!(Reader::open(&path, Some(&[8; 32])).unwrap().next().unwrap().is_err());
}

#[test]
fn one_key_under_two_headers_makes_two_ciphers() {
    let dir = tempfile::tempdir().unwrap();
    let (a, heads) = recorded(dir.path(), 'A', &[b"the same words".to_vec()]);
    let (b, _) = recorded(dir.path(), 'B', &[b"the same words".to_vec()]);
    let from = heads[0].bytes as usize + 32;
    assert_ne!(fs::read(a).unwrap()[from..from + 14], fs::read(b).unwrap()[from..from + 14]);
}

#[test]
fn empty_foreign_and_future_files_get_a_clear_word() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = small(dir.path(), 'A');
    let whole = fs::read(&path).unwrap();
    let word = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        verify(&path, None, None, &[]).unwrap_err().to_string()
    };
    assert!(word(b"").contains("empty"));
    assert!(word(b"{\"version\": 2}").contains("not a recording"));
    assert!(word(&whole[..30]).contains("half written"));
    let mut future = whole.clone();
    future[9] = 2;
    assert!(word(&future).contains("format version 2"));
    assert!(verify(dir.path(), None, None, &[]).is_err(), "a folder is no recording");
}

#[test]
fn a_recording_is_never_begun_twice_and_its_file_is_its_owners_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let first = Writer::create(dir.path(), &header('A'), &KEY).unwrap();
    assert_eq!(fs::metadata(first.path()).unwrap().permissions().mode() & 0o777, 0o600);
    let length = fs::metadata(first.path()).unwrap().len();
    assert!(Writer::create(dir.path(), &header('A'), &KEY).is_err());
    assert_eq!(fs::metadata(first.path()).unwrap().len(), length, "the first one is untouched");
    let mut odd = header('A');
    odd.recording = "r-../../../../etc/passwd-xxxxx".into();
    assert!(matches!(Writer::create(dir.path(), &odd, &KEY), Err(CreateError::Header(HeaderError::Id))));
}

/// A writer whose file is one end of a socket: it takes what the peer leaves room for.
fn over_a_socket() -> (Writer, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let file = fs::File::from(OwnedFd::from(ours));
    let writer = Writer::begin(file, "socket".into(), &header('A').encode().unwrap(), &KEY).unwrap();
    (writer, theirs)
}

#[test]
fn a_write_that_fails_half_way_poisons_the_writer_and_leaves_good_frames_before_it() {
    let (mut writer, mut theirs) = over_a_socket();
    let noise: Vec<u8> = (0..150_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut appended = 0;
    let error = loop {
        let before = writer.head();
        match writer.append(Stream::Output, stamp(1), &noise) {
            Ok(()) => appended += 1,
            Err(error) => {
                assert_eq!(writer.head(), before, "the head moves only over what was written");
                break error;
            }
        }
        assert!(appended < 10_000);
    };
    assert!(matches!(error, WriteError::Write { .. }), "{error}");
    assert!(matches!(writer.append(Stream::Note, stamp(2), b"x"), Err(WriteError::Poisoned { .. })));
    assert!(matches!(writer.syncer().sync(), Err(WriteError::Poisoned { .. })));
    let head = writer.head();
    assert!(matches!(writer.seal(), Err(WriteError::Poisoned { .. })));

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("crashed");
    std::io::copy(&mut theirs, &mut fs::File::create(&path).unwrap()).unwrap();
    let recovered = recover(&path).unwrap();
    assert!(recovered.head.frames >= head.frames);
    assert_eq!(verify(&path, Some(&KEY), Some(&recovered.head), &[head]).unwrap().state, State::Recovered);
}

#[test]
fn a_sync_that_fails_poisons_the_writer_for_good() {
    let (mut writer, _theirs) = over_a_socket();
    writer.append(Stream::Output, stamp(1), b"seen").unwrap();
    let syncer = writer.syncer();
    assert!(matches!(syncer.sync(), Err(WriteError::Sync { .. })), "a socket cannot be synced");
    assert!(matches!(syncer.sync(), Err(WriteError::Poisoned { .. })));
    assert!(matches!(writer.append(Stream::Output, stamp(2), b"x"), Err(WriteError::Poisoned { .. })));
}

#[test]
fn a_full_disk_is_an_error_and_not_a_recording() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let begun = Writer::begin(full, "/dev/full".into(), &header('A').encode().unwrap(), &KEY);
    assert!(matches!(begun, Err(CreateError::Write(WriteError::Write { .. }))));
}

#[test]
fn a_reader_of_a_growing_recording_goes_on_where_it_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let (path, heads) = small(dir.path(), 'A');
    let whole = fs::read(&path).unwrap();
    let live = dir.path().join("live");
    let mut file = fs::File::create(&live).unwrap();
    file.write_all(&whole[..heads[1].bytes as usize + 10]).unwrap();
    let mut reader = Reader::open(&live, Some(&KEY)).unwrap();
    assert_eq!(reader.by_ref().map(Result::unwrap).count(), 1);
    assert_eq!(reader.rest().unwrap().bytes, 10);
    file.write_all(&whole[heads[1].bytes as usize + 10..]).unwrap();
    assert_eq!(reader.by_ref().map(Result::unwrap).count(), 4);
    assert!(reader.rest().unwrap().ended);
}

#[test]
fn a_writer_can_live_behind_a_mutex_and_a_syncer_on_another_thread() {
    fn send<T: Send>() {}
    fn shared<T: Send + Sync + Clone>() {}
    send::<std::sync::Mutex<Writer>>();
    shared::<crate::Syncer>();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_payloads_come_back(
        frames in proptest::collection::vec((any::<u8>(), 1..5u8, 0..9000usize), 0..12),
    ) {
        // Of noise when the step is odd and large, of runs when it is small: packed and plain frames mix.
        let frames: Vec<Vec<u8>> = frames
            .into_iter()
            .map(|(seed, step, length)| {
                let mut byte = seed;
                let mut next = |i: usize| {
                    byte = if step > 2 { byte.wrapping_mul(167).wrapping_add(i as u8 ^ seed) } else { byte.wrapping_add(step * u8::from(i.is_multiple_of(32))) };
                    byte
                };
                (0..length).map(&mut next).collect()
            })
            .collect();
        let dir = tempfile::tempdir().unwrap();
        let (path, heads) = recorded(dir.path(), 'A', &frames);
        let read: Vec<Vec<u8>> = Reader::open(&path, Some(&KEY)).unwrap().map(|f| f.unwrap().payload).collect();
        prop_assert_eq!(read, frames);
        prop_assert_eq!(verify(&path, Some(&KEY), heads.last(), &heads).unwrap().state, State::Sealed);
    }

    #[test]
    fn any_damage_to_a_sealed_recording_is_an_error_at_or_before_it(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(), moved in any::<Option<(prop::sample::Index, prop::sample::Index, u8)>>(),
    ) {
        static WHOLE: OnceLock<(Vec<u8>, Vec<Head>)> = OnceLock::new();
        let (whole, heads) = WHOLE.get_or_init(|| {
            let dir = tempfile::tempdir().unwrap();
            let (path, heads) = small(dir.path(), 'A');
            (fs::read(path).unwrap(), heads)
        });
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("damaged");
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
        bytes.truncate(cut.index(bytes.len()) + 1);
        fs::write(&path, &bytes).unwrap();
        let first = whole.iter().zip(&bytes).position(|(a, b)| a != b).unwrap_or(whole.len().min(bytes.len()));
        for key in [None, Some(&KEY)] {
            match verify(&path, key, heads.last(), &[]) {
                Ok(_) => prop_assert_eq!(&bytes, whole),
                Err(ReadError::Broken(named)) => prop_assert!(named.offset <= first as u64),
                Err(_) => prop_assert!(first < heads[0].bytes as usize),
            }
        }
        let _ = recover(&path);
    }

    #[test]
    fn any_bytes_get_an_answer(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), front in any::<bool>()) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("any");
        if front {
            let mut own = header('A').encode().unwrap();
            own.extend_from_slice(crate::Digest::of(&[&own]).bytes());
            own.append(&mut bytes);
            bytes = own;
        }
        fs::write(&path, &bytes).unwrap();
        let _ = verify(&path, Some(&KEY), None, &[]);
        if let Ok(reader) = Reader::open(&path, Some(&KEY)) {
            prop_assert_eq!(reader.filter_map(Result::ok).count(), 0);
        }
    }
}

#[test]
fn a_reader_goes_anywhere_it_has_been_and_to_any_mark() {
    let dir = tempfile::tempdir().unwrap();
    let (path, heads) = small(dir.path(), 'A');
    let mut reader = Reader::open(&path, Some(&KEY)).unwrap();
    let all: Vec<Frame> = reader.by_ref().map(Result::unwrap).collect();
    assert_eq!(reader.end().unwrap().unwrap(), stamp(4), "the end is told without reading what is before it");
    for back in [4, 0, 2, 5] {
        reader.go_to(&heads[back]).unwrap();
        assert!(reader.chained());
        assert_eq!(reader.by_ref().map(Result::unwrap).collect::<Vec<_>>(), all[back..]);
        assert_eq!(reader.rest().unwrap().head, heads[6]);
    }
    let mut marks = Vec::new();
    let last = outline(&path, 0, |spot, mark| {
        marks.push(mark);
        spot == Spot::Any
    });
    assert_eq!(last.unwrap(), Some(4));
    assert_eq!(marks.len(), 6, "the last frame of a sealed recording is one too");
    for (n, mark) in marks.iter().enumerate().take(5) {
        assert_eq!((mark.offset, mark.seq, mark.at), (heads[n].bytes, n as u64 + 1, n as u64));
        reader.glimpse(mark).unwrap();
        assert!(!reader.chained());
        assert_eq!(reader.by_ref().map(Result::unwrap).collect::<Vec<_>>(), all[n..]);
    }
    // A mark that points elsewhere, and a head that is none of this file's, are noticed.
    reader.glimpse(&Mark { seq: 9, ..marks[1] }).unwrap();
    assert!(reader.next().unwrap().is_err());
    reader.go_to(&Head { digest: heads[3].digest, ..heads[2] }).unwrap();
    assert!(reader.next().unwrap().is_err());
    // Without the end, and with one that was forged, nothing is said of it.
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(Reader::open(&path, Some(&KEY)).unwrap().end().unwrap(), None);
    let mut forged = whole.clone();
    let at = whole.len() - 64 + 23;
    forged[at] ^= 1;
    forged[at - 16] ^= 1;
    fs::write(&path, &forged).unwrap();
    assert_eq!(Reader::open(&path, Some(&KEY)).unwrap().end().unwrap(), None);
}
