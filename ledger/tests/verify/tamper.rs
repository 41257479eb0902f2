//! Sealed records tampered with by chance: every tampering is named, in the right file, at or before its place.
//!
//! Never tampers with what nothing vouches for: a checkpoint in the middle of the history is only a witness.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::chance::Chance;
use super::{begin, evidence, json, note, open, recording, run};

const KINDS: [&str; 9] =
    ["flip", "cut", "drop last", "splice", "reorder", "duplicate", "swap files", "remove", "roll back"];
const IDS: [char; 4] = ['A', 'B', 'C', 'D'];

#[test]
fn forty_tamperings_by_chance_are_all_named() {
    tampered(40);
}

#[test]
#[ignore = "long: five hundred tamperings"]
fn five_hundred_tamperings_by_chance_are_all_named() {
    tampered(500);
}

fn tampered(times: usize) {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("bartizan");
    let earlier = sealed(&dir);
    let kept = folder.path().join("kept");
    fs::copy(dir.join("log/checkpoint"), &kept).unwrap();
    let whole = files(&dir);
    let mut chance = Chance::new();
    let mut kinds = KINDS.to_vec();
    chance.sample(&mut kinds, KINDS.len());
    let (mut counts, mut placed) = (BTreeMap::<&str, u32>::new(), 0);
    for number in 0..times {
        let kind = kinds[number % kinds.len()];
        put(&dir, if kind == "roll back" { &earlier } else { &whole });
        let touched = tamper(kind, &dir, &mut chance);
        let told = format!("seed {}, number {number}, {kind}, {touched:?}", chance.seed);
        let (code, found) = if kind == "roll back" {
            assert_eq!(json(&dir).0, 0, "an old copy verifies by itself: {told}");
            let (code, out, _) =
                run(&[dir.to_str().unwrap(), "--json", "--checkpoint", kept.to_str().unwrap()]);
            (code, serde_json::from_str(&out).unwrap())
        } else {
            json(&dir)
        };
        assert_eq!(code, 1, "not named: {told}: {found}");
        placed += u32::from(named(&found, &touched, &told));
        *counts.entry(kind).or_default() += 1;
    }
    put(&dir, &whole);
    assert_eq!(json(&dir).0, 0, "untouched it verifies");
    println!("tampering, seed {}: {counts:?}, all named, {placed} with a byte", chance.seed);
}

/// A folder of four sealed recordings with their log, and its files as they were after two.
fn sealed(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fs::create_dir_all(dir.join("recordings")).unwrap();
    let mut log = open(dir, 1);
    let mut earlier = BTreeMap::new();
    for id in IDS {
        let (writer, name) = begin(dir, &mut log, id);
        log.checkpoint().unwrap();
        let head = writer.seal().unwrap();
        note(&mut log, evidence::SEALED, evidence::sealed(&name, &head));
        note(&mut log, "admin.changed", Map::new());
        log.checkpoint().unwrap();
        if id == 'B' {
            earlier = files(dir);
        }
    }
    earlier
}

/// What was done, and where: the file, and the first byte that differs from before, or of two the end.
#[derive(Debug)]
struct Touched {
    files: Vec<PathBuf>,
    first: u64,
}

fn tamper(kind: &str, dir: &Path, chance: &mut Chance) -> Touched {
    let recordings = IDS.map(|id| recording(dir, id));
    let (entries, history) = (dir.join("log/entries.jsonl"), dir.join("log/checkpoints"));
    if kind == "roll back" {
        return Touched { files: vec![entries], first: u64::MAX };
    }
    let in_parts = [&recordings[0], &recordings[1], &recordings[2], &recordings[3], &entries, &history];
    let any = in_parts[chance.below(in_parts.len())].clone();
    let before = fs::read(&any).unwrap();
    let parts = parts(&any, &before);
    let join = |parts: &[Range<usize>]| -> Vec<u8> {
        let front = before[..self::parts(&any, &before)[0].start].to_vec();
        parts.iter().fold(front, |all, part| [all, before[part.clone()].to_vec()].concat())
    };
    let after = match kind {
        "flip" => {
            let at = chance.below(before.len());
            let mut after = before.clone();
            after[at] ^= 1 << chance.below(8);
            after
        }
        "cut" => before[..chance.below(before.len())].to_vec(),
        "drop last" => join(&parts[..parts.len() - 1]),
        "splice" => return splice(&recordings, chance),
        "reorder" => {
            let at = chance.below(parts.len() - 1);
            let (mut parts, end) = (parts.clone(), parts[at + 1].end);
            parts.swap(at, at + 1);
            // That two stand in the wrong order shows at the second of them.
            fs::write(&any, join(&parts)).unwrap();
            return Touched { files: vec![any.clone()], first: end as u64 };
        }
        "duplicate" => {
            let at = chance.below(parts.len());
            let mut parts = parts;
            parts.insert(at, parts[at].clone());
            join(&parts)
        }
        "swap files" => {
            let at = chance.below(3);
            let (one, other) = (&recordings[at], &recordings[at + 1]);
            let aside = dir.join("aside");
            fs::rename(one, &aside).unwrap();
            fs::rename(other, one).unwrap();
            fs::rename(&aside, other).unwrap();
            return Touched { files: vec![one.clone(), other.clone()], first: 0 };
        }
        "remove" => {
            fs::remove_file(&any).unwrap();
            return Touched { files: vec![any], first: 0 };
        }
        other => panic!("{other}"),
    };
    let first = before.iter().zip(&after).position(|(a, b)| a != b).unwrap_or(before.len().min(after.len()));
    fs::write(&any, after).unwrap();
    Touched { files: vec![any], first: first as u64 }
}

/// The first frames of one recording with the last ones of another.
fn splice(recordings: &[PathBuf; 4], chance: &mut Chance) -> Touched {
    let at = chance.below(3);
    let (one, other) = (&recordings[at], &recordings[at + 1]);
    let (front, back) = (fs::read(one).unwrap(), fs::read(other).unwrap());
    let (here, there) = (parts(one, &front), parts(other, &back));
    let frame = 1 + chance.below(here.len().min(there.len()) - 1);
    fs::write(one, [&front[..here[frame].start], &back[there[frame].start..]].concat()).unwrap();
    Touched { files: vec![one.clone()], first: here[frame].end as u64 }
}

/// Whether the answer names the file that was touched and no other; true when it also says at which byte.
fn named(found: &Value, touched: &Touched, told: &str) -> bool {
    let mut byte = None;
    let names: Vec<&str> = touched.files.iter().filter_map(|path| path.file_stem()?.to_str()).collect();
    let log = &found["log"];
    let in_log = touched.files[0].parent().unwrap().ends_with("log");
    assert_eq!(log["ok"] == false, in_log, "{told}: {found}");
    if in_log {
        assert!(log["error"].is_string(), "{told}: {found}");
        byte = log["byte"].as_u64();
    }
    for one in found["recordings"].as_array().unwrap() {
        let ours = names.contains(&one["recording"].as_str().unwrap());
        assert_eq!(one["ok"] == false, ours, "{told}: {found}");
        if ours {
            assert!(one["error"].is_string(), "{told}: {found}");
            byte = byte.or(one["byte"].as_u64());
        }
    }
    assert!(byte.is_none_or(|byte| byte <= touched.first), "{byte:?}: {told}: {found}");
    byte.is_some()
}

/// The frames, lines or notes of a file.
fn parts(path: &Path, bytes: &[u8]) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let is_log = path.extension().is_none_or(|extension| extension != "rec");
    let mut start = if is_log { 0 } else { 16 + number(12) + 32 };
    while start < bytes.len() {
        let rest = &bytes[start..];
        let length = match path.file_name().unwrap().to_str().unwrap() {
            "entries.jsonl" => rest.iter().position(|b| *b == b'\n').unwrap() + 1,
            "checkpoints" => {
                let text = std::str::from_utf8(rest).unwrap();
                let sign = text.find("\n\u{2014}").unwrap() + 1;
                sign + text[sign..].find('\n').unwrap() + 1
            }
            _ => 32 + number(start) + 16,
        };
        parts.push(start..start + length);
        start += length;
    }
    parts
}

fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let all = ["log", "recordings"].map(|name| fs::read_dir(dir.join(name)).unwrap());
    let paths = all.into_iter().flatten().map(|entry| entry.unwrap().path());
    paths
        .filter(|path| !path.ends_with("reserve"))
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

fn put(dir: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) {
    for name in ["log", "recordings"] {
        fs::remove_dir_all(dir.join(name)).unwrap();
        fs::create_dir(dir.join(name)).unwrap();
    }
    files.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
}
