//! What the targets share: a bound on memory, bytes taken apart, a folder in memory, and sound files to spoil.
//! Never decides what holds: that is for each target.

mod evidence;
mod form;

use std::fs;
use std::path::{Path, PathBuf};

use cap::Cap;

pub use evidence::{KEY, Sealed, log, recording, signer};
pub use form::{CODE, forge};

#[global_allocator]
static MEMORY: Cap<std::alloc::System> = Cap::new(std::alloc::System, usize::MAX);

/// Runs `what`; whoever allocates more than so many bytes on the way, at one moment, ends the run as a finding.
pub fn within<T>(bytes: usize, what: impl FnOnce() -> T) -> T {
    let _ = MEMORY.set_limit(MEMORY.allocated() + bytes);
    let done = what();
    let _ = MEMORY.set_limit(usize::MAX);
    done
}

/// What is left of the bytes that the fuzzer chose. Past their end everything is 0 or empty.
pub struct Input<'i>(pub &'i [u8]);

impl<'i> Input<'i> {
    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let (byte, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *byte
    }

    /// A number of two bytes.
    pub fn short(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// A number of eight bytes.
    pub fn long(&mut self) -> u64 {
        (0..4).fold(0, |number, _| number << 16 | u64::from(self.short()))
    }

    /// A length of two bytes, and at most so many.
    pub fn piece(&mut self) -> &'i [u8] {
        let length = usize::from(self.short()).min(self.0.len());
        let (piece, rest) = self.0.split_at(length);
        self.0 = rest;
        piece
    }

    /// The same, as far as it is text.
    pub fn text(&mut self) -> &'i str {
        let piece = self.piece();
        str::from_utf8(piece)
            .unwrap_or_else(|error| str::from_utf8(&piece[..error.valid_up_to()]).unwrap_or(""))
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Spoils `bytes` as the rest of the input says: overwritten, cut, doubled, moved, added. At most sixteen times.
pub fn spoil(bytes: &mut Vec<u8>, input: &mut Input<'_>) {
    for _ in 0..16 {
        if input.is_empty() {
            return;
        }
        let what = input.byte();
        let at = usize::from(input.short()).min(bytes.len());
        match what % 6 {
            0 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= input.byte();
                }
            }
            1 => bytes.truncate(at),
            2 => {
                let end = at + usize::from(input.short()).min(bytes.len() - at);
                bytes.drain(at..end);
            }
            3 => {
                let end = at + usize::from(input.short()).min(bytes.len() - at);
                let piece = bytes[at..end].to_vec();
                let to = usize::from(input.short()).min(bytes.len());
                bytes.splice(to..to, piece);
            }
            4 => {
                let piece = input.piece();
                let end = (at + piece.len()).min(bytes.len());
                bytes.splice(at..end, piece.iter().copied());
            }
            _ => {
                let piece = input.piece();
                bytes.splice(at..at, piece.iter().copied());
            }
        }
    }
}

/// A folder in memory, where there is one, for as long as this process runs; those of processes that are gone are removed.
pub fn folder() -> PathBuf {
    let (memory, temp) = (Path::new("/dev/shm"), std::env::temp_dir());
    let base = if memory.is_dir() { memory } else { &temp };
    for entry in base.read_dir().expect("a folder").flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix("bartizan-fuzz-"));
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let folder = base.join(format!("bartizan-fuzz-{}", std::process::id()));
    fs::create_dir(&folder).expect("a new folder");
    folder
}

/// Runs a future that never waits.
pub fn at_once<F: Future>(future: F) -> F::Output {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    }
    RUNTIME.with(|runtime| runtime.block_on(future))
}

/// Puts the inputs that a run of `target` begins with into its corpus, where `cargo fuzz run` has made the folder.
pub fn sow(target: &str, seeds: impl IntoIterator<Item = Vec<u8>>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    for (number, seed) in seeds.into_iter().enumerate() {
        // Without the folder nothing is sown: a finding is being looked at.
        let _ = fs::write(folder.join(format!("seed-{number}")), seed);
    }
}

/// The blocks of this language in a document.
pub fn blocks<'d>(document: &'d str, language: &str) -> Vec<&'d str> {
    let begin = format!("```{language}\n");
    document.split(&begin).skip(1).filter_map(|rest| rest.split("\n```").next()).collect()
}
