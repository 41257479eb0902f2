//! The sftp subsystem followed: requests and their answers, open files and what of them moved.
//! It never believes an answer that nobody asked for, and gives up aloud where there is more than it can hold.

mod open;
mod request;

use std::collections::{HashMap, VecDeque};

use serde_json::{Map, Value, json};

use super::framer::{DATA, Framer, HANDLE, Piece, WRITE};
use super::packet::{Attributes, Fields};
use super::{Facts, ROOM, name, opaque};

use open::Open;
use request::{Asked, Wanted};

/// Requests without an answer at once.
const OUTSTANDING: usize = 4096;
/// Open files at once.
const OPEN: usize = 4096;
/// What each of them is counted as, besides its names.
const EACH: usize = 256;

const STATUS: u8 = 101;
const HANDLE_IS: u8 = 102;
const ATTRS: u8 = 105;
const VERSION_IS: u8 = 2;

/// Status codes (section 7).
const OK: u32 = 0;
const EOF: u32 = 1;

/// One sftp channel.
#[derive(Default)]
pub struct Sftp {
    operator: Framer,
    target: Framer,
    follow: Follow,
}

/// What is known of the conversation.
struct Follow {
    version: u32,
    outstanding: VecDeque<(u32, Asked)>,
    open: HashMap<Vec<u8>, Open>,
    /// The files so far, by number.
    count: u64,
    room: usize,
    /// Whose data comes now, in each direction.
    writing: Option<Vec<u8>>,
    reading: Option<Vec<u8>>,
    /// The last file that was asked about, by path.
    looked_at: Option<(Vec<u8>, Attributes)>,
    opaque: bool,
}

impl Default for Follow {
    fn default() -> Self {
        Self {
            version: 3,
            outstanding: VecDeque::new(),
            open: HashMap::new(),
            count: 0,
            room: ROOM,
            writing: None,
            reading: None,
            looked_at: None,
            opaque: false,
        }
    }
}

impl Sftp {
    pub(super) fn sent(&mut self, bytes: &[u8], facts: &mut Facts) {
        let follow = &mut self.follow;
        if !follow.opaque {
            self.operator.feed(bytes, |piece| follow.operator_says(piece, &mut facts.told));
        }
    }

    pub(super) fn shown(&mut self, bytes: &[u8], facts: &mut Facts) {
        let follow = &mut self.follow;
        if !follow.opaque {
            self.target.feed(bytes, |piece| follow.target_says(piece, &mut facts.told));
        }
    }

    pub(super) fn over(&mut self, facts: &mut Facts) {
        self.follow.cut("the channel ended while it was open", &mut facts.told);
    }
}

impl Follow {
    fn operator_says(&mut self, piece: Piece<'_>, told: &mut Vec<Value>) {
        if self.opaque {
            return;
        }
        match piece {
            Piece::Packet(kind, body, whole) => match request::read(kind, body, whole, self.version) {
                Some(wanted) => self.asks(wanted, told),
                None => told.push(json!({"what": "unread", "type": kind})),
            },
            Piece::Begin(WRITE, front, length) => self.writes(front, length, told),
            Piece::Begin(..) => {}
            Piece::Bytes(bytes) => {
                let file = self.writing.as_ref().and_then(|handle| self.open.get_mut(handle));
                if let Some(file) = file {
                    file.up.add(bytes, &mut self.room);
                }
            }
            Piece::End => {
                let file = self.writing.take().and_then(|handle| self.open.get_mut(&handle));
                if let Some(file) = file {
                    file.up.end(&mut self.room);
                }
            }
            Piece::Empty => self.give_up("the operator's side sent what is no packet", told),
        }
    }

    fn target_says(&mut self, piece: Piece<'_>, told: &mut Vec<Value>) {
        if self.opaque {
            return;
        }
        match piece {
            Piece::Packet(kind, body, _) => self.answers(kind, &mut Fields(body), told),
            Piece::Begin(DATA, front, length) => {
                if let Some(Asked::Read { handle, offset, length: asked }) =
                    Fields(front).u32().and_then(|id| self.answered(id))
                    && let Some(file) = self.open.get_mut(&handle)
                {
                    // More than was asked for is no piece of the file.
                    file.odd |= length > u64::from(asked);
                    file.down.begin(offset, &mut self.room);
                    self.reading = Some(handle);
                }
            }
            Piece::Begin(..) => {}
            Piece::Bytes(bytes) => {
                let file = self.reading.as_ref().and_then(|handle| self.open.get_mut(handle));
                if let Some(file) = file {
                    file.down.add(bytes, &mut self.room);
                }
            }
            Piece::End => {
                let file = self.reading.take().and_then(|handle| self.open.get_mut(&handle));
                if let Some(file) = file {
                    file.down.end(&mut self.room);
                }
            }
            Piece::Empty => self.give_up("the target's side sent what is no packet", told),
        }
    }

    fn asks(&mut self, wanted: Wanted, told: &mut Vec<Value>) {
        let Wanted { id, mut asked } = wanted;
        match &mut asked {
            Asked::Version(version) => {
                self.version = *version;
                return;
            }
            Asked::Read { handle, offset, .. } => {
                if let Some(file) = self.open.get_mut(handle) {
                    file.down.expect(*offset);
                }
            }
            Asked::Change { handle, path, attributes } => {
                if let Some(file) = handle.as_ref().and_then(|handle| self.open.get_mut(handle)) {
                    file.mode = attributes.mode.or(file.mode);
                    *path = Some(file.path.clone());
                }
            }
            Asked::Look { handle: Some(handle), path } => {
                *path = self.open.get(handle).map(|file| file.path.clone());
            }
            Asked::Copy { from, to, paths } => {
                let path = |handle: &Vec<u8>| self.open.get(handle).map(|file| file.path.clone());
                *paths = path(from).zip(path(to));
            }
            _ => {}
        }
        self.remember(id, asked, told);
    }

    fn writes(&mut self, front: &[u8], length: u64, told: &mut Vec<Value>) {
        let mut fields = Fields(front);
        let (Some(id), Some(handle), Some(offset)) = (fields.u32(), fields.text(), fields.u64()) else {
            return;
        };
        let handle = handle.to_vec();
        if let Some(file) = self.open.get_mut(&handle) {
            // What a packet says of its data and what it brings may differ: then nobody knows what is written.
            file.odd |= fields.u32().map(u64::from) != Some(length);
            file.writes_open += 1;
            file.up.begin(offset, &mut self.room);
            self.writing = Some(handle.clone());
        }
        self.remember(id, Asked::Write { handle }, told);
    }

    fn remember(&mut self, id: u32, asked: Asked, told: &mut Vec<Value>) {
        let Some(room) = self.room.checked_sub(asked.size()) else {
            return self.give_up("there is more under way than can be followed", told);
        };
        if self.outstanding.len() >= OUTSTANDING {
            return self.give_up("too many requests wait for an answer", told);
        }
        self.room = room;
        self.outstanding.push_back((id, asked));
    }

    /// The request that this answers: of several with one number the first.
    fn answered(&mut self, id: u32) -> Option<Asked> {
        let at = self.outstanding.iter().position(|(known, _)| *known == id)?;
        let (_, asked) = self.outstanding.remove(at)?;
        self.room += asked.size();
        Some(asked)
    }

    fn answers(&mut self, kind: u8, fields: &mut Fields<'_>, told: &mut Vec<Value>) {
        let Some(id) = fields.u32() else { return };
        if kind == VERSION_IS {
            // Not an id: the version both speak from here on.
            self.version = self.version.min(id);
            return;
        }
        let Some(asked) = self.answered(id) else { return };
        match (asked, kind) {
            (Asked::Open { path, access, mode }, HANDLE_IS) => {
                if let Some(handle) = fields.text().filter(|handle| handle.len() <= HANDLE) {
                    self.opens(handle.to_vec(), Open::new(path, access, mode), told);
                }
            }
            (Asked::Open { path, access, .. }, STATUS) => {
                let mut fact = fact("refused", &path);
                fact.insert("for".into(), access.words());
                fact.insert("status".into(), fields.u32().into());
                told.push(fact.into());
            }
            (Asked::Close { handle }, STATUS) => {
                if let Some(file) = self.open.remove(&handle) {
                    let closed = fields.u32() == Some(OK);
                    let known = self.looked_at.as_ref().filter(|(path, _)| *path == file.path);
                    let known = known.map(|(_, attributes)| *attributes);
                    self.ends(file, known, (!closed).then_some("it was not closed well"), told);
                }
            }
            (Asked::Read { handle, offset, .. }, STATUS) => {
                let code = fields.u32();
                if let Some(file) = self.open.get_mut(&handle) {
                    file.read_ended(offset, code == Some(EOF));
                }
            }
            (Asked::Write { handle }, STATUS) => {
                let code = fields.u32();
                if let Some(file) = self.open.get_mut(&handle) {
                    file.writes_open = file.writes_open.saturating_sub(1);
                    file.failed |= code != Some(OK);
                }
            }
            (Asked::Look { handle, path }, ATTRS) => {
                let Some(attributes) = Attributes::read(fields, self.version) else { return };
                match handle.and_then(|handle| self.open.get_mut(&handle)) {
                    Some(file) => file.known = Some(attributes),
                    None => self.looked_at = path.map(|path| (path, attributes)),
                }
            }
            (asked, _) => told.extend(asked.done(kind, fields)),
        }
    }

    fn opens(&mut self, handle: Vec<u8>, mut file: Open, told: &mut Vec<Value>) {
        if let Some(before) = self.open.remove(&handle) {
            self.ends(before, None, Some("its handle was given to another file"), told);
        }
        let taken = handle.len() + file.path.len() + EACH;
        let Some(room) = self.room.checked_sub(taken).filter(|_| self.open.len() < OPEN) else {
            return self.give_up("too many files are open", told);
        };
        (self.room, file.taken) = (room, taken);
        self.count += 1;
        file.number = self.count;
        told.push(file.opened());
        self.open.insert(handle, file);
    }

    fn ends(
        &mut self,
        mut file: Open,
        known: Option<Attributes>,
        why: Option<&'static str>,
        told: &mut Vec<Value>,
    ) {
        for sum in [&mut file.up, &mut file.down] {
            sum.release(&mut self.room);
        }
        self.room += file.taken;
        file.known = file.known.or(known);
        told.extend(file.moved(why));
    }

    /// What is open is told as cut.
    fn cut(&mut self, why: &'static str, told: &mut Vec<Value>) {
        let mut files: Vec<Open> = self.open.drain().map(|(_, file)| file).collect();
        files.sort_by_key(|file| file.number);
        for mut file in files {
            file.cut = true;
            self.ends(file, None, Some(why), told);
        }
    }

    fn give_up(&mut self, why: &'static str, told: &mut Vec<Value>) {
        self.cut("it was not followed to its end", told);
        self.outstanding.clear();
        self.opaque = true;
        told.push(opaque(why));
    }
}

/// A fact about the file at `path`.
fn fact(what: &str, path: &[u8]) -> Map<String, Value> {
    let mut fact = Map::new();
    fact.insert("what".into(), what.into());
    name(&mut fact, "path", path);
    fact
}
