//! Reads what `strace` saw of a program's writes, syncs and names, in the order in which the calls came back.
//!
//! Never guesses: a line that looks like one of these calls and cannot be read is an error.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// What to ask `strace -f` for: every call that changes a file or makes it last, whole, with paths.
pub(crate) const OPTIONS: [&str; 5] = [
    "-y",
    "-xx",
    "-s4000000",
    "-e",
    "trace=write,pwrite64,fsync,fdatasync,openat,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,ftruncate,fallocate",
];

/// One call that came back without an error.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// How many calls had come back when this one began.
    pub(crate) begun: usize,
    /// What it did.
    pub(crate) call: Call,
}

/// What a call did.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    /// Opened for writing; made if it was not there.
    Open { path: PathBuf, create: bool, truncate: bool },
    /// Wrote at the end, or at a place.
    Write { path: PathBuf, at: Option<usize>, bytes: Vec<u8> },
    /// Gave a length.
    Length { path: PathBuf, length: usize },
    /// Gave at least this length.
    Reserve { path: PathBuf, length: usize },
    /// Made everything of a file, or the names in a folder, last.
    Sync(PathBuf),
    /// Gave another name.
    Rename { from: PathBuf, to: PathBuf },
    /// Took a name away.
    Unlink(PathBuf),
    /// Made a folder.
    Folder(PathBuf),
    /// Said something on standard output: from here on it is promised.
    Said(String),
}

/// The steps in the text of a trace that are about `root`, or were said.
pub(crate) fn read(text: &str, root: &Path) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut open: HashMap<&str, (String, usize)> = HashMap::new();
    for line in text.lines() {
        let Some((pid, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(begin) = rest.strip_suffix("<unfinished ...>") {
            open.insert(pid, (begin.to_owned(), steps.len()));
            continue;
        }
        let (whole, begun) = match rest.strip_prefix("<... ") {
            Some(resumed) => {
                let Some((begin, begun)) = open.remove(pid) else { continue };
                let end = resumed.split_once(" resumed>").map_or("", |(_, end)| end);
                (format!("{begin}{end}"), begun)
            }
            None => (rest.to_owned(), steps.len()),
        };
        if let Some(call) = call(&whole, root) {
            steps.push(Step { begun, call });
        }
    }
    steps
}

fn call(line: &str, root: &Path) -> Option<Call> {
    let (name, rest) = line.split_once('(')?;
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return None;
    }
    let (arguments, result) = rest.rsplit_once(" = ")?;
    if result.starts_with('-') || result.starts_with('?') {
        return None;
    }
    let arguments = arguments.trim_end().strip_suffix(')')?;
    // A call that was seen in two parts has a blank where they meet.
    let fields: Vec<&str> = arguments.split(", ").map(str::trim_end).collect();
    let number = |text: &str| -> usize { text.split('<').next().unwrap_or_default().trim().parse().unwrap() };
    let ours = |path: PathBuf| path.starts_with(root).then_some(path);
    let of_fd = |field: &str| ours(described(field)?);
    let named = |field: &str| ours(PathBuf::from(text(&bytes(field))));
    match name {
        "write" if fields[0].starts_with("1<") => Some(Call::Said(text(&bytes(fields[1])))),
        "write" | "pwrite64" => {
            let path = of_fd(fields[0])?;
            let mut bytes = bytes(fields[1]);
            bytes.truncate(number(result));
            let at = (name == "pwrite64").then(|| number(fields[3]));
            Some(Call::Write { path, at, bytes })
        }
        "fsync" | "fdatasync" => of_fd(fields[0]).map(Call::Sync),
        "openat" => {
            let path = of_fd(result)?;
            let flag = |flag: &str| fields[2].split('|').any(|one| one == flag);
            let (create, truncate) = (flag("O_CREAT"), flag("O_TRUNC"));
            (create || truncate).then_some(Call::Open { path, create, truncate })
        }
        "ftruncate" => Some(Call::Length { path: of_fd(fields[0])?, length: number(fields[1]) }),
        // Takes blocks, and changes neither the length nor a byte.
        "fallocate" if fields[1].contains("KEEP_SIZE") => None,
        "fallocate" => {
            Some(Call::Reserve { path: of_fd(fields[0])?, length: number(fields[2]) + number(fields[3]) })
        }
        "rename" => Some(Call::Rename { from: named(fields[0])?, to: named(fields[1])? }),
        "renameat" | "renameat2" => Some(Call::Rename { from: named(fields[1])?, to: named(fields[3])? }),
        "unlink" => named(fields[0]).map(Call::Unlink),
        "unlinkat" => named(fields[1]).map(Call::Unlink),
        "mkdir" => named(fields[0]).map(Call::Folder),
        "mkdirat" => named(fields[1]).map(Call::Folder),
        other => panic!("{other} was not asked for"),
    }
}

/// The path in `5<\x2f...>`.
fn described(field: &str) -> Option<PathBuf> {
    let inner = field.split_once('<')?.1.split_once('>')?.0;
    let path = text(&escaped(inner));
    path.starts_with('/').then(|| PathBuf::from(path.trim_end_matches(" (deleted)")))
}

/// The bytes in `"\x2f..."`.
fn bytes(field: &str) -> Vec<u8> {
    let inner = field.strip_prefix('"').and_then(|field| field.strip_suffix('"'));
    escaped(inner.unwrap_or_else(|| panic!("not a whole string: {}", &field[..field.len().min(80)])))
}

fn escaped(text: &str) -> Vec<u8> {
    text.split("\\x").skip(1).map(|two| u8::from_str_radix(&two[..2], 16).unwrap()).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
