//! The reader of sftp and scp, between an operator and a target that say what they like; or over one file whose content is known.
//! Holds: bounded memory; the pieces do not matter; content that is left out is inside what was given, and all of it is counted;
//! a digest is that of the bytes it speaks of, and an upload is complete only when every piece of it was confirmed.
#![no_main]

use bartizan::channel::{Asked, Start};
use bartizan::recording::files::{Facts, Files};
use bartizan_fuzz::{Input, sow, within};
use data_encoding::HEXLOWER;
use libfuzzer_sys::fuzz_target;
use policy::ChannelKind;
use ring::digest::{SHA256, digest};
use serde_json::Value;

/// All that a channel's reader may hold, what stands around it, and the facts of one call.
const MEMORY: usize = 16 << 20;
const COMMANDS: [&str; 4] = ["scp -t x", "scp -r -t /srv/", "scp -f x", "scp -p -r -f srv/tree"];

/// Bytes, and whether the operator's side says them.
type Step = (bool, Vec<u8>);

fn packet(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&u32::try_from(body.len() + 1).expect("a length").to_be_bytes()[..], &[kind], &body].concat()
}

fn number(number: usize) -> [u8; 4] {
    u32::try_from(number).expect("a number").to_be_bytes()
}

fn text(bytes: &[u8]) -> Vec<u8> {
    [&number(bytes.len()), bytes].concat()
}

/// What is told of a conversation that comes in pieces of this size, and which bytes of it were content.
fn follow(mut files: Files, steps: &[Step], size: usize) -> (Vec<Value>, Vec<u8>) {
    let (mut told, mut content) = (Vec::new(), Vec::new());
    let mut take = |facts: Facts, bytes: &[u8]| {
        let mut at = 0;
        for range in facts.content {
            assert!(range.start >= at && range.end <= bytes.len() && range.start < range.end, "{range:?}");
            at = range.end;
            content.extend_from_slice(&bytes[range]);
        }
        told.extend(facts.told);
    };
    for (operator, bytes) in steps {
        for piece in bytes.chunks(size) {
            let facts = within(MEMORY, || if *operator { files.sent(piece) } else { files.shown(piece) });
            take(facts, piece);
        }
    }
    take(within(MEMORY, || files.over()), &[]);
    (told, content)
}

/// Follows it whole and in pieces.
fn followed(files: impl Fn() -> Files, steps: &[Step], size: usize) -> (Vec<Value>, Vec<u8>) {
    let whole = follow(files(), steps, usize::MAX);
    assert_eq!(follow(files(), steps, size), whole);
    whole
}

fn moved(told: &[Value]) -> impl Iterator<Item = &Value> {
    told.iter().filter(|fact| fact["what"] == "moved")
}

fn sftp() -> Files {
    let asked = Asked::from(Start::Subsystem("sftp".into()));
    Files::of(&ChannelKind::Sftp, &asked).expect("followed")
}

fn scp(command: &str) -> Files {
    let asked = Asked::from(Start::Exec(command.to_owned().into()));
    Files::of(&ChannelKind::Exec, &asked).expect("followed")
}

fn steps(input: &mut Input<'_>, framed: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    while !input.is_empty() && steps.len() < 256 {
        let marks = input.byte();
        let bytes = match framed && marks & 2 == 0 {
            true => packet(input.byte(), &[&number(usize::from(input.byte() % 4)), input.piece()]),
            false => input.piece().to_vec(),
        };
        steps.push((marks & 1 == 0, bytes));
    }
    steps
}

/// One file over sftp, its content known: requests and answers as the fuzzer orders them.
fn known(input: &mut Input<'_>, size: usize) {
    let content: Vec<u8> = (0..1 << 16).map(|at: u32| (at * 31 >> 3) as u8).collect();
    let upload = input.byte() & 1 == 0;
    let flags = if upload { 2 | 8 | 16 } else { 1 };
    let open = packet(3, &[&number(1), &text(b"/x"), &number(flags), &number(0)]);
    let mut steps = vec![(true, packet(1, &[&number(3)])), (false, packet(2, &[&number(3)])), (true, open)];
    steps.push((false, packet(102, &[&number(1), &text(b"h")])));
    let status =
        |id: usize, code: usize| (false, packet(101, &[&number(id), &number(code), &text(b""), &text(b"")]));
    let (mut asked, mut sound) = (Vec::new(), true);
    while !input.is_empty() && steps.len() < 256 {
        let what = input.byte();
        let id = asked.len() + 2;
        let (at, length) = (usize::from(input.short()), usize::from(input.byte()));
        let end = (at + length).min(content.len());
        let place = (at as u64).to_be_bytes();
        match what % 4 {
            0 | 1 if upload => {
                let parts: [&[u8]; 4] = [&number(id), &text(b"h"), &place, &text(&content[at..end])];
                steps.push((true, packet(6, &parts)));
                asked.push((at, true));
            }
            0 | 1 => {
                let parts: [&[u8]; 4] = [&number(id), &text(b"h"), &place, &number(length)];
                steps.push((true, packet(5, &parts)));
                asked.push((at, true));
            }
            _ => {
                let which = usize::from(what >> 2) % asked.len().max(1);
                let Some((at, open)) = asked.get_mut(which).filter(|(_, open)| *open) else { continue };
                *open = false;
                let code = usize::from(length > 250);
                sound &= code == 0;
                steps.push(match upload {
                    true => status(which + 2, code),
                    false if code != 0 => status(which + 2, code),
                    false => {
                        let end = (*at + length).min(content.len());
                        (false, packet(103, &[&number(which + 2), &text(&content[*at..end])]))
                    }
                });
            }
        }
    }
    sound &= asked.iter().all(|(_, open)| !open);
    steps.push((true, packet(4, &[&number(900), &text(b"h")])));
    steps.push(status(900, 0));
    let (told, _) = followed(sftp, &steps, size);
    for fact in moved(&told) {
        let number = |key: &str| usize::try_from(fact[key].as_u64().expect("a number")).expect("a length");
        if let Some(sha256) = fact["sha256"].as_str() {
            let (from, bytes) = (number("from"), number("bytes"));
            let ours = content.get(from..from + bytes).expect("bytes of the file");
            assert_eq!(sha256, HEXLOWER.encode(digest(&SHA256, ours).as_ref()), "{fact}");
        }
        if upload && fact["outcome"] == "complete" {
            assert!(sound && number("from") == 0, "{fact}");
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let piece = |bytes: &[u8]| [&u16::try_from(bytes.len()).expect("a length").to_be_bytes(), bytes].concat();
    let said = |operator: bool, bytes: &[u8]| [vec![u8::from(!operator)], piece(bytes)].concat();
    let upload: [&[u8]; 6] =
        [&[2, 9, 0], &[0, 0, 0, 9], &[0, 0, 9, 9], &[2, 0, 0, 0], &[6, 0, 0, 0], &[0, 0, 18, 9]];
    let download: [&[u8]; 5] = [&[2, 9, 1], &[0, 0, 9, 9], &[0, 0, 0, 9], &[6, 0, 0, 9], &[2, 0, 0, 9]];
    let scp = [
        vec![1, 3, 3],
        said(true, b"\0"),
        said(false, b"D0755 0 tree\n"),
        said(true, b"\0"),
        said(false, b"C0644 5 a\n"),
        said(true, b"\0"),
        said(false, b"hello\0"),
        said(true, b"\0"),
        said(false, b"E\n"),
    ];
    let framed =
        |operator: u8, kind: u8, id: u8, body: &[u8]| [vec![operator, kind, id], piece(body)].concat();
    let sftp = [
        vec![0, 9, 0],
        framed(0, 3, 1, &[text(b"/x"), vec![0, 0, 0, 1, 0, 0, 0, 0]].concat()),
        framed(1, 102, 1, &text(b"h")),
        framed(0, 5, 2, &[text(b"h"), vec![0; 8], vec![0, 0, 0, 9]].concat()),
        framed(1, 103, 2, &text(b"content")),
        framed(0, 18, 3, &[text(b"a"), text(b"b")].concat()),
        framed(1, 101, 3, &[0; 4]),
        framed(0, 4, 0, &text(b"h")),
    ];
    vec![upload.concat(), download.concat(), scp.concat(), sftp.concat()]
}

fuzz_target!(init: sow("file_transfer", seeds()), |bytes: &[u8]| {
    let mut input = Input(bytes);
    let mode = input.byte();
    let size = usize::from(input.byte()) + 1;
    match mode % 3 {
        0 => {
            let steps = steps(&mut input, true);
            followed(sftp, &steps, size);
        }
        1 => {
            let command = COMMANDS[usize::from(input.byte()) % COMMANDS.len()];
            let steps = steps(&mut input, false);
            let (told, content) = followed(|| scp(command), &steps, size);
            let counted: u64 = moved(&told).filter_map(|fact| fact["bytes"].as_u64()).sum();
            assert_eq!(counted, content.len() as u64);
        }
        _ => known(&mut input, size),
    }
});
