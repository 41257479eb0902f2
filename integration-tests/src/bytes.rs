//! Bytes in quantity: made, sent, taken, and told apart by their checksums.
//! It never keeps them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout};
use std::thread::JoinHandle;

use sha2::{Digest as _, Sha256};

/// The size of one block.
pub const BLOCK: usize = 1 << 20;

/// What blocks are full of.
#[derive(Clone, Copy)]
pub enum Content {
    /// Zeros.
    Zeros,
    /// Bytes that do not shrink, others in each block.
    Noise,
}

impl Content {
    fn block(self, n: usize) -> Vec<u8> {
        match self {
            Self::Zeros => vec![0; BLOCK],
            Self::Noise => noise(BLOCK, n as u64 + 1),
        }
    }

    /// Writes blocks to a file. Gives their count and checksum.
    pub fn write(self, path: &Path, blocks: usize) -> (usize, String) {
        let mut file = std::fs::File::create(path).unwrap();
        let mut sum = Sum::default();
        for n in 0..blocks {
            let block = self.block(n);
            file.write_all(&block).unwrap();
            sum.add(&block);
        }
        sum.end()
    }
}

/// Bytes that do not shrink, the same for the same seed.
pub fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..size.div_ceil(8)).flat_map(|_| next()).collect();
    bytes.truncate(size);
    bytes
}

/// Sends blocks and ends the input. Gives the count and the checksum of what was sent.
pub fn send(mut input: ChildStdin, blocks: usize, content: Content) -> JoinHandle<(usize, String)> {
    std::thread::spawn(move || {
        let mut sum = Sum::default();
        for n in 0..blocks {
            let block = content.block(n);
            input.write_all(&block).unwrap();
            sum.add(&block);
        }
        sum.end()
    })
}

/// The first line of a program's output, without its end. The rest is kept open and unread.
pub fn first_line(program: &mut Child) -> String {
    let mut line = String::new();
    let mut out = BufReader::with_capacity(16, program.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    program.stdout = Some(out.into_inner());
    line.trim().to_owned()
}

/// Reads to the end. Gives the count and the checksum.
pub fn take(out: ChildStdout) -> JoinHandle<(usize, String)> {
    take_after(out, Vec::new())
}

/// The same, with what was read before.
pub fn take_after(mut out: ChildStdout, first: Vec<u8>) -> JoinHandle<(usize, String)> {
    std::thread::spawn(move || {
        let mut sum = Sum::default();
        sum.add(&first);
        let mut chunk = vec![0; 1 << 16];
        loop {
            match out.read(&mut chunk).unwrap() {
                0 => return sum.end(),
                n => sum.add(&chunk[..n]),
            }
        }
    })
}

/// SHA-256 in hex.
pub fn sha256(bytes: &[u8]) -> String {
    let mut sum = Sum::default();
    sum.add(bytes);
    sum.end().1
}

/// The count and the SHA-256 of bytes that come in pieces.
#[derive(Default)]
pub struct Sum {
    count: usize,
    hash: Sha256,
}

impl Sum {
    /// More of them.
    pub fn add(&mut self, bytes: &[u8]) {
        self.count += bytes.len();
        self.hash.update(bytes);
    }

    /// How many there were, and their checksum in hex.
    pub fn end(self) -> (usize, String) {
        (self.count, data_encoding::HEXLOWER.encode(&self.hash.finalize()))
    }
}
