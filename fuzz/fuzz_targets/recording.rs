//! A recording's file: any bytes, a sealed one spoiled, or frames that somebody with the key made up.
//! Holds: little memory; no frame that the key did not seal; the verifier calls a file sealed only when it is that file, byte
//! for byte; after a crash, what is called good and what is ignored are together the file.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use bartizan_fuzz::{CODE, Input, KEY, Sealed, folder, forge, recording, sow, spoil, within};
use bartizan_ledger::recording::{MAX_PAYLOAD, Reader, State, recover, recover_with_key, verify};
use libfuzzer_sys::fuzz_target;

/// A frame, its payload unpacked, and the buffer before the file; a header is text and JSON at the same time.
const MEMORY: usize = 1 << 20;

static SOUND: LazyLock<(Sealed, PathBuf)> = LazyLock::new(|| {
    let folder = folder();
    (recording(&folder), folder.join("file"))
});

/// What the frames show with the key, until one is not good.
fn shown(path: &PathBuf, length: u64) -> Vec<(u8, Vec<u8>)> {
    let mut shown = Vec::new();
    let Ok(mut reader) = within(MEMORY, || Reader::open(path, Some(&KEY))) else { return shown };
    while let Some(Ok(frame)) = within(MEMORY, || reader.next()) {
        assert!(frame.payload.len() <= MAX_PAYLOAD);
        shown.push((frame.stream as u8, frame.payload));
    }
    let rest = reader.rest().expect("a rest");
    assert_eq!(rest.head.bytes + rest.bytes, length);
    shown
}

/// What holds of every file.
fn read(bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let (sealed, path) = &*SOUND;
    fs::write(path, bytes).expect("a file in memory");
    let length = bytes.len() as u64;
    let shown = shown(path, length);
    let keyless = within(MEMORY, || recover(path));
    let keyed = within(MEMORY, || recover_with_key(path, &KEY));
    assert_eq!(keyless.is_ok(), keyed.is_ok());
    for found in [&keyless, &keyed].into_iter().flatten() {
        assert_eq!(found.head.bytes + found.ignored, length);
    }
    if let (Ok(keyless), Ok(keyed)) = (&keyless, &keyed) {
        assert!(keyed.head.frames <= keyless.head.frames);
    }
    for key in [None, Some(&KEY)] {
        let found = within(MEMORY, || verify(path, key, Some(&sealed.head), &[]));
        if found.is_ok_and(|found| found.state == State::Sealed) {
            assert!(bytes == sealed.bytes, "sealed, and not the file that was");
        }
        if let Ok(found) = within(MEMORY, || verify(path, key, None, &[])) {
            assert!(matches!(found.state, State::Ended | State::Unfinished), "{found:?}");
            assert!(found.state == State::Unfinished || found.ignored == 0, "{found:?}");
            let good = if key.is_some() { &keyed } else { &keyless };
            assert_eq!(found.head, good.as_ref().expect("verified").head);
        }
    }
    shown
}

/// What the frames of a forger with the key must show.
fn expected(frames: &[(u8, u8, &[u8])]) -> Vec<(u8, Vec<u8>)> {
    let mut expected = Vec::new();
    for (stream, flags, payload) in frames {
        if !CODE.contains(stream) || *flags > 3 || payload.len() > MAX_PAYLOAD {
            break;
        }
        let unpacked = match flags & 1 {
            0 => Ok(payload.to_vec()),
            _ => zstd::bulk::decompress(payload, MAX_PAYLOAD),
        };
        let Ok(unpacked) = unpacked else { break };
        if flags & 2 != 0 {
            break;
        }
        expected.push((*stream, unpacked));
    }
    expected
}

fn seeds() -> Vec<Vec<u8>> {
    let (sealed, _) = &*SOUND;
    let packed = zstd::bulk::compress(&[b'x'; 2000], 1).expect("packed");
    let frame = |stream, flags, payload: &[u8]| {
        let length = u16::try_from(payload.len()).expect("a length").to_be_bytes();
        [&[stream, flags], &length[..], payload].concat()
    };
    let made =
        [vec![2], frame(5, 0, b"{}"), frame(1, 0, b"shown"), frame(1, 1, &packed), frame(7, 2, b"")].concat();
    vec![
        [&[0], &sealed.bytes[..]].concat(),
        vec![1, 0, 2, 0, 1],
        vec![1, 1, 3, 0],
        vec![1, 2, 2, 0, 0, 60],
        made,
    ]
}

fuzz_target!(init: sow("recording", seeds()), |bytes: &[u8]| {
    let (sealed, _) = &*SOUND;
    let mut input = Input(bytes);
    match input.byte() % 3 {
        0 => drop(read(input.0)),
        1 => {
            let mut spoiled = sealed.bytes.clone();
            spoil(&mut spoiled, &mut input);
            for (shown, (stream, payload)) in read(&spoiled).iter().zip(&sealed.frames) {
                assert_eq!(shown, &(*stream as u8, payload.clone()));
            }
        }
        _ => {
            let mut frames = Vec::new();
            while !input.is_empty() && frames.len() < 32 {
                frames.push((input.byte(), input.byte(), input.piece()));
            }
            let file = forge(&sealed.bytes[..sealed.front], &KEY, frames.iter().copied());
            assert_eq!(read(&file), expected(&frames));
        }
    }
});
