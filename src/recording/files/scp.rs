//! `scp` as of old, followed: the lines that announce files, their content, and what the other side says to it.
//! It never takes for content what was not announced, and gives up aloud at the first byte out of turn.

use ring::digest::{Context, SHA256};
use serde_json::{Map, Value};

use super::{Direction, Facts, name, octal, opaque};

/// The longest line, and the deepest folder.
const LINE: usize = 8 << 10;
const DEEP: usize = 256;
/// The longest command that is looked at.
const COMMAND: usize = 16 << 10;

/// One `scp -t` or `scp -f`.
pub struct Scp {
    /// Which way files go: the other side only says yes or no.
    direction: Direction,
    /// As the command names it.
    argument: Vec<u8>,
    /// Whether the argument is the folder that files go to.
    into: bool,
    folders: Vec<Vec<u8>>,
    stage: Stage,
    line: Vec<u8>,
    /// What the other side is saying, once it has begun with something else than yes.
    no: Option<u8>,
    count: u64,
}

/// Whose turn it is, and with what.
enum Stage {
    /// The receiver says that it is ready.
    Ready,
    /// The sender: a line.
    Line,
    /// The receiver: what it thinks of that.
    Answer(Told),
    /// The sender: so many bytes of a file.
    Content(Box<File>),
    /// The sender: whether all of it could be read.
    Trailer(Box<File>),
    /// The receiver: whether all of it could be written.
    Taken(Box<File>),
    /// Nothing is understood any more.
    Opaque,
}

/// What a line told.
enum Told {
    File(Box<File>),
    Folder(Vec<u8>),
    Up,
    Times,
    Nothing,
}

struct File {
    name: Vec<u8>,
    mode: u32,
    size: u64,
    left: u64,
    digest: Context,
    /// Why it is not whole.
    failed: Option<&'static str>,
}

impl Scp {
    /// For a command that runs `scp` and nothing else.
    pub(super) fn of(command: &[u8]) -> Option<Self> {
        // What a shell would make more of than one command is no transfer.
        let plain = |byte: &u8| !b";&|<>()`$\n\r\0#".contains(byte);
        if command.len() > COMMAND || !command.iter().all(plain) {
            return None;
        }
        let mut words = command.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        if words.next()? != b"scp" {
            return None;
        }
        let (mut direction, mut into) = (None, false);
        let mut rest = Vec::new();
        let mut options = true;
        for word in words {
            match word {
                b"--" if options => options = false,
                [b'-', letters @ ..] if options && !letters.is_empty() => {
                    for letter in letters {
                        match letter {
                            b't' => direction = Some(Direction::Upload),
                            b'f' => direction = Some(Direction::Download),
                            b'd' | b'r' => into = true,
                            b'p' | b'v' | b'q' => {}
                            _ => return None,
                        }
                    }
                }
                word => {
                    options = false;
                    rest.push(word);
                }
            }
        }
        let argument = rest.join(&b' ');
        into |= argument.ends_with(b"/");
        let stage = Stage::Ready;
        Some(Self {
            direction: direction?,
            argument,
            into,
            folders: Vec::new(),
            stage,
            line: Vec::new(),
            no: None,
            count: 0,
        })
    }

    pub(super) fn sent(&mut self, bytes: &[u8], facts: &mut Facts) {
        match self.direction {
            Direction::Upload => self.sender_says(bytes, facts),
            Direction::Download => self.receiver_says(bytes, facts),
        }
    }

    pub(super) fn shown(&mut self, bytes: &[u8], facts: &mut Facts) {
        match self.direction {
            Direction::Upload => self.receiver_says(bytes, facts),
            Direction::Download => self.sender_says(bytes, facts),
        }
    }

    pub(super) fn over(&mut self, facts: &mut Facts) {
        match std::mem::replace(&mut self.stage, Stage::Opaque) {
            Stage::Content(file) | Stage::Trailer(file) | Stage::Taken(file) => {
                facts.told.push(self.moved(*file, "cut", Some("the channel ended while it was moved")));
            }
            _ => {}
        }
    }

    fn sender_says(&mut self, bytes: &[u8], facts: &mut Facts) {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let first = rest.first().copied().unwrap_or_default();
            match std::mem::replace(&mut self.stage, Stage::Opaque) {
                Stage::Content(mut file) => {
                    let here = usize::try_from(file.left).map_or(rest.len(), |left| left.min(rest.len()));
                    file.digest.update(rest.get(..here).unwrap_or_default());
                    file.left -= here as u64;
                    facts.content.push(at..at + here);
                    at += here;
                    self.stage = if file.left == 0 { Stage::Trailer(file) } else { Stage::Content(file) };
                }
                Stage::Trailer(mut file) => {
                    if self.no.is_none() && first > 2 {
                        self.stage = Stage::Trailer(file);
                        return self.give_up("something else than the end of a file came", facts);
                    }
                    let Some(more) = self.words(rest) else {
                        self.stage = Stage::Trailer(file);
                        return;
                    };
                    at += more;
                    if self.no.take().is_some() {
                        file.failed = Some("the sender could not read all of it");
                    }
                    self.stage = Stage::Taken(file);
                }
                Stage::Line => {
                    let end = rest.iter().position(|byte| *byte == b'\n');
                    let here = end.map_or(rest.len(), |end| end + 1);
                    if self.line.len() + here > LINE {
                        return self.give_up("a line is too long", facts);
                    }
                    self.line.extend_from_slice(rest.get(..here).unwrap_or_default());
                    at += here;
                    if end.is_none() {
                        self.stage = Stage::Line;
                        return;
                    }
                    let line = std::mem::take(&mut self.line);
                    match self.read(&line) {
                        Some(Told::Nothing) => self.stage = Stage::Line,
                        Some(told) => self.stage = Stage::Answer(told),
                        None => return self.give_up("a line is none of scp's", facts),
                    }
                }
                Stage::Opaque => return,
                stage => {
                    self.stage = stage;
                    return self.give_up("the sender spoke out of turn", facts);
                }
            }
        }
    }

    fn receiver_says(&mut self, bytes: &[u8], facts: &mut Facts) {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            if matches!(self.stage, Stage::Opaque) {
                return;
            }
            let Some(more) = self.words(rest) else { return };
            at += more;
            let no = self.no.take();
            match std::mem::replace(&mut self.stage, Stage::Opaque) {
                // Whatever else it says, it will not be ready.
                Stage::Ready if no.is_none() => self.stage = Stage::Line,
                Stage::Ready => return self.give_up("the receiver was not ready", facts),
                Stage::Answer(told) => self.stage = self.answered(told, no.is_none(), facts),
                Stage::Taken(file) => {
                    let why = file.failed.or(no.map(|_| "the receiver could not write all of it"));
                    let outcome = if why.is_some() { "failed" } else { "complete" };
                    facts.told.push(self.moved(*file, outcome, why));
                    self.stage = Stage::Line;
                }
                // It may say no in the middle of a file, and goes on taking it.
                Stage::Content(mut file) if no.is_some() => {
                    file.failed = Some("the receiver could not write all of it");
                    self.stage = Stage::Content(file);
                }
                stage => {
                    self.stage = stage;
                    return self.give_up("the receiver spoke out of turn", facts);
                }
            }
        }
    }

    /// Takes a yes, or a no with its words; how many bytes that were, or `None` while the words go on.
    fn words(&mut self, bytes: &[u8]) -> Option<usize> {
        let first = *bytes.first()?;
        if self.no.is_none() {
            if first == 0 {
                return Some(1);
            }
            self.no = Some(first);
        }
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        Some(end + 1)
    }

    fn read(&mut self, line: &[u8]) -> Option<Told> {
        let (kind, rest) = line.strip_suffix(b"\n")?.split_first()?;
        match kind {
            b'C' | b'D' => {
                let mut parts = rest.splitn(3, |byte| *byte == b' ');
                let number =
                    |part: &[u8], radix| u64::from_str_radix(std::str::from_utf8(part).ok()?, radix).ok();
                let mode = u32::try_from(number(parts.next()?, 8)?).ok()?;
                let (size, name) = (number(parts.next()?, 10)?, parts.next()?);
                let fits = !name.is_empty() && !name.contains(&b'/') && name != b"." && name != b"..";
                if !fits {
                    return None;
                }
                let name = name.to_vec();
                if *kind == b'D' {
                    return (self.folders.len() < DEEP).then_some(Told::Folder(name));
                }
                let digest = Context::new(&SHA256);
                Some(Told::File(Box::new(File { name, mode, size, left: size, digest, failed: None })))
            }
            b'E' if rest.is_empty() => Some(Told::Up),
            b'T' => Some(Told::Times),
            // A complaint: nobody answers it.
            1 | 2 => Some(Told::Nothing),
            _ => None,
        }
    }

    fn answered(&mut self, told: Told, yes: bool, facts: &mut Facts) -> Stage {
        match told {
            Told::File(mut file) if !yes => {
                file.failed = Some("the receiver did not take it");
                facts.told.push(self.moved(*file, "failed", Some("the receiver did not take it")));
            }
            Told::File(file) if file.left == 0 => return Stage::Trailer(file),
            Told::File(file) => return Stage::Content(file),
            Told::Folder(name) if yes => {
                let mut fact = Map::new();
                fact.insert("what".into(), "made".into());
                self.folders.push(name);
                self.place(&mut fact, None);
                fact.insert("outcome".into(), "ok".into());
                if self.direction == Direction::Upload {
                    facts.told.push(fact.into());
                }
            }
            Told::Up if yes => {
                self.folders.pop();
            }
            Told::Folder(_) | Told::Up | Told::Times | Told::Nothing => {}
        }
        Stage::Line
    }

    /// Says where a file is, as far as the command and the lines tell.
    fn place(&self, fact: &mut Map<String, Value>, file: Option<&[u8]>) {
        let root: &[u8] = match (self.direction, self.argument.iter().rposition(|byte| *byte == b'/')) {
            (Direction::Upload, _) => &self.argument,
            (Direction::Download, Some(0)) => b"/",
            (Direction::Download, Some(at)) => self.argument.get(..at).unwrap_or_default(),
            (Direction::Download, None) => b"",
        };
        let mut parts: Vec<&[u8]> = vec![root];
        parts.extend(self.folders.iter().map(Vec::as_slice));
        // A file that goes to no folder is what the command calls it, unless that is a folder after all.
        let named = self.direction == Direction::Upload && !self.into && self.folders.is_empty();
        parts.extend(file.filter(|_| !named));
        let mut path = Vec::new();
        for part in parts.iter().filter(|part| !part.is_empty()) {
            if !path.is_empty() && !path.ends_with(b"/") {
                path.push(b'/');
            }
            path.extend_from_slice(part);
        }
        name(fact, "path", &path);
        if let Some(file) = file {
            name(fact, "name", file);
        }
    }

    fn moved(&mut self, file: File, outcome: &str, why: Option<&str>) -> Value {
        self.count += 1;
        let mut fact = Map::new();
        fact.insert("what".into(), "moved".into());
        self.place(&mut fact, Some(&file.name));
        let bytes = file.size - file.left;
        fact.insert("file".into(), self.count.into());
        fact.insert("direction".into(), self.direction.word().into());
        fact.insert("from".into(), 0.into());
        fact.insert("bytes".into(), bytes.into());
        let digest = data_encoding::HEXLOWER.encode(file.digest.finish().as_ref());
        fact.insert("sha256".into(), digest.into());
        fact.insert("mode".into(), octal(file.mode));
        if bytes != file.size {
            fact.insert("size".into(), file.size.into());
        }
        fact.insert("outcome".into(), outcome.into());
        if let Some(why) = why {
            fact.insert("why".into(), why.into());
        }
        fact.into()
    }

    fn give_up(&mut self, why: &str, facts: &mut Facts) {
        self.over(facts);
        facts.told.push(opaque(why));
    }
}
