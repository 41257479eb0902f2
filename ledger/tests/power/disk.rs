//! A disk that loses its power: what had been synced is there, of the rest anything may be.
//!
//! Never keeps more than a real disk must: a file's bytes last by a sync of the file, its name by a sync of its folder.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::chance::Chance;
use crate::trace::{Call, Step};

/// How one file's changes since its last sync come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// None of them.
    Nothing,
    /// All of them.
    All,
    /// The first so many, and so many bytes of the next one.
    First(usize, usize),
    /// All, but zeros where this one wrote.
    Hole(usize),
}

/// What one power cut leaves.
#[derive(Clone, Debug)]
pub(crate) struct Cut {
    /// After how many steps.
    pub(crate) after: usize,
    /// How one file comes out.
    pub(crate) file: Option<(usize, Keep)>,
    /// How all others do.
    pub(crate) others: Keep,
    /// How many of the new names in each folder are there.
    pub(crate) names: usize,
}

/// The cuts that are tried of those that may happen in a run.
pub(crate) struct Cuts {
    /// Chosen by chance, in the order in which they come.
    pub(crate) chosen: Vec<Cut>,
    /// How many there are in all.
    pub(crate) all: usize,
    /// What the choice began with.
    pub(crate) seed: u64,
}

impl Cuts {
    /// At most so many of those that these steps may meet.
    pub(crate) fn of(before: &Disk, steps: &[Step], most: usize) -> Self {
        let (mut at, mut chosen) = (before.clone(), Vec::new());
        for step in steps {
            at.step(step);
            if !matches!(step.call, Call::Sync(_) | Call::Said(_)) {
                chosen.extend(at.cuts());
            }
        }
        chosen.extend(at.cuts());
        let (all, mut chance) = (chosen.len(), Chance::new());
        let seed = chance.seed;
        chance.sample(&mut chosen, most);
        chosen.sort_by_key(|cut| cut.after);
        Self { chosen, all, seed }
    }
}

/// A folder in memory, where there is one: thousands of states are made last in it, and nobody cuts this machine's power.
pub(crate) fn folder() -> tempfile::TempDir {
    let (memory, temp) = (Path::new("/dev/shm"), std::env::temp_dir());
    tempfile::tempdir_in(if memory.is_dir() { memory } else { &temp }).unwrap()
}

#[derive(Clone, Debug)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Clone, Debug)]
enum Naming {
    Put(PathBuf, Node),
    Move { from: PathBuf, to: PathBuf },
    Remove(PathBuf),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    File(usize),
    Folder,
}

#[derive(Clone, Debug, Default)]
struct File {
    lasting: Vec<u8>,
    pending: Vec<(usize, Change)>,
    length: usize,
}

/// The disk at some moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    root: PathBuf,
    files: Vec<File>,
    now: BTreeMap<PathBuf, Node>,
    lasting: BTreeMap<PathBuf, Node>,
    pending: BTreeMap<PathBuf, Vec<(usize, Naming)>>,
    steps: usize,
}

impl Disk {
    /// The disk with everything that lies in `root` now, all of it lasting.
    pub(crate) fn of(root: &Path) -> Self {
        let mut disk = Self { root: root.to_owned(), ..Self::default() };
        disk.take(root);
        disk.lasting = disk.now.clone();
        disk
    }

    fn take(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if kind.is_dir() {
                self.now.insert(path.clone(), Node::Folder);
                self.take(&path);
            } else if kind.is_file() {
                let lasting = fs::read(&path).unwrap();
                let length = lasting.len();
                self.files.push(File { lasting, pending: Vec::new(), length });
                self.now.insert(path, Node::File(self.files.len() - 1));
            }
        }
    }

    /// Lets the next step happen.
    pub(crate) fn step(&mut self, step: &Step) {
        let number = self.steps;
        self.steps += 1;
        match &step.call {
            Call::Open { path, create, truncate } => match self.now.get(path) {
                Some(Node::File(file)) if *truncate => self.change(*file, Change::Length(0)),
                None if *create => {
                    self.files.push(File::default());
                    let node = Node::File(self.files.len() - 1);
                    self.now.insert(path.clone(), node);
                    self.name(path, Naming::Put(path.clone(), node));
                }
                _ => {}
            },
            Call::Write { path, at, bytes } => {
                if let Some(file) = self.file(path) {
                    let at = at.unwrap_or(self.files[file].length);
                    self.change(file, Change::Write { at, bytes: bytes.clone() });
                }
            }
            Call::Length { path, length } => {
                if let Some(file) = self.file(path) {
                    self.change(file, Change::Length(*length));
                }
            }
            Call::Reserve { path, length } => {
                if let Some(file) = self.file(path).filter(|file| self.files[*file].length < *length) {
                    self.change(file, Change::Length(*length));
                }
            }
            Call::Sync(path) => self.sync(path, step.begun.min(number)),
            Call::Rename { from, to } => {
                if let Some(node) = self.now.remove(from) {
                    self.now.insert(to.clone(), node);
                    self.name(to, Naming::Move { from: from.clone(), to: to.clone() });
                }
            }
            Call::Unlink(path) => {
                self.now.remove(path);
                self.name(path, Naming::Remove(path.clone()));
            }
            Call::Folder(path) => {
                self.now.insert(path.clone(), Node::Folder);
                self.name(path, Naming::Put(path.clone(), Node::Folder));
            }
            Call::Said(_) => {}
        }
    }

    fn file(&self, path: &Path) -> Option<usize> {
        match self.now.get(path) {
            Some(Node::File(file)) => Some(*file),
            _ => None,
        }
    }

    fn change(&mut self, file: usize, change: Change) {
        let number = self.steps;
        let file = &mut self.files[file];
        match &change {
            Change::Write { at, bytes } => file.length = file.length.max(at + bytes.len()),
            Change::Length(length) => file.length = *length,
        }
        file.pending.push((number, change));
    }

    fn name(&mut self, path: &Path, naming: Naming) {
        let folder = path.parent().unwrap().to_owned();
        self.pending.entry(folder).or_default().push((self.steps, naming));
    }

    /// Makes what was done before step `begun` last.
    fn sync(&mut self, path: &Path, begun: usize) {
        if let Some(Node::File(file)) = self.now.get(path) {
            let file = &mut self.files[*file];
            let done = file.pending.partition_point(|(number, _)| *number <= begun);
            for (_, change) in file.pending.drain(..done).collect::<Vec<_>>() {
                apply(&mut file.lasting, &change, usize::MAX);
            }
        } else {
            let pending = self.pending.entry(path.to_owned()).or_default();
            let done = pending.partition_point(|(number, _)| *number <= begun);
            for (_, naming) in pending.drain(..done).collect::<Vec<_>>() {
                rename(&mut self.lasting, &naming);
            }
        }
    }

    /// What a cut of the power at this moment may leave.
    pub(crate) fn cuts(&self) -> Vec<Cut> {
        let after = self.steps;
        let cut = |file, others, names| Cut { after, file, others, names };
        let mut cuts = Vec::new();
        let most = self.pending.values().map(Vec::len).max().unwrap_or(0);
        for names in (0..most).chain([usize::MAX]) {
            cuts.push(cut(None, Keep::Nothing, names));
            cuts.push(cut(None, Keep::All, names));
        }
        for (number, file) in self.files.iter().enumerate() {
            for (index, (_, change)) in file.pending.iter().enumerate() {
                let Change::Write { at, bytes } = change else { continue };
                // At the next sector, at the next page, in the middle, and a byte from either end.
                let sector = 512 - at % 512;
                let page = 4096 - at % 4096;
                let mut torn = vec![0, 1, sector, page, bytes.len() / 2, bytes.len().saturating_sub(1)];
                torn.retain(|torn| *torn < bytes.len());
                torn.sort_unstable();
                torn.dedup();
                let kept = torn.into_iter().map(|torn| Keep::First(index, torn)).chain([Keep::Hole(index)]);
                for keep in kept {
                    cuts.push(cut(Some((number, keep)), Keep::All, usize::MAX));
                    cuts.push(cut(Some((number, keep)), Keep::Nothing, usize::MAX));
                }
            }
        }
        cuts
    }

    /// Writes what `cut` leaves into `to`, a new folder. Memory that is shared between processes and no file is left out.
    pub(crate) fn leave(&self, cut: &Cut, to: &Path) {
        let mut names = self.lasting.clone();
        for pending in self.pending.values() {
            pending.iter().take(cut.names).for_each(|(_, naming)| rename(&mut names, naming));
        }
        for (path, node) in &names {
            let above = path.ancestors().skip(1).take_while(|above| *above != self.root);
            if !above.into_iter().all(|above| names.get(above) == Some(&Node::Folder)) {
                continue;
            }
            let place = to.join(path.strip_prefix(&self.root).unwrap());
            match node {
                Node::Folder => fs::DirBuilder::new().mode(0o700).create(place).unwrap(),
                Node::File(_) if path.to_string_lossy().ends_with("-shm") => {}
                Node::File(file) => {
                    let own = cut.file.filter(|(number, _)| number == file).map(|(_, keep)| keep);
                    write(&place, &self.files[*file].left(own.unwrap_or(cut.others)));
                }
            }
        }
    }
}

impl File {
    fn left(&self, keep: Keep) -> Vec<u8> {
        let mut bytes = self.lasting.clone();
        for (index, (_, change)) in self.pending.iter().enumerate() {
            match keep {
                Keep::Nothing => break,
                Keep::First(first, torn) if index == first => {
                    apply(&mut bytes, change, torn);
                    break;
                }
                Keep::Hole(hole) if index == hole => {
                    if let Change::Write { at, bytes: written } = change {
                        let zeros = Change::Write { at: *at, bytes: vec![0; written.len()] };
                        apply(&mut bytes, &zeros, usize::MAX);
                    }
                }
                _ => apply(&mut bytes, change, usize::MAX),
            }
        }
        bytes
    }
}

/// A file that is its owner's only; zeros at its end take no room.
fn write(path: &Path, bytes: &[u8]) {
    let full = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(&bytes[..full]).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
}

fn apply(to: &mut Vec<u8>, change: &Change, most: usize) {
    match change {
        Change::Write { at, bytes } => {
            let bytes = &bytes[..bytes.len().min(most)];
            if to.len() < at + bytes.len() {
                to.resize(at + bytes.len(), 0);
            }
            to[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        Change::Length(length) => to.resize(*length, 0),
    }
}

fn rename(names: &mut BTreeMap<PathBuf, Node>, naming: &Naming) {
    match naming {
        Naming::Put(path, node) => {
            names.insert(path.clone(), *node);
        }
        Naming::Move { from, to } => {
            if let Some(node) = names.remove(from) {
                names.insert(to.clone(), node);
            }
        }
        Naming::Remove(path) => {
            names.remove(path);
        }
    }
}
