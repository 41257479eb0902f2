//! `recording`: what was done on a channel, to be listed, replayed, exported and proven.
//! It never changes a recording, and what a target wrote never commands the reader's terminal.

mod deck;
mod export;
mod files;
mod find;
mod index;
mod keys;
mod painter;
mod play;
mod progress;
mod reel;
mod screen;
mod script;
mod search;
mod verify;
mod watch;
mod which;

use std::path::{Path, PathBuf};
use std::time::Duration;

use ::keys::RecordingKey;
use ledger::recording::{Header, Reader, file_name};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Done;
use super::reply::{Reply, Trouble};
use super::report::{Form, List, counted, or_dash, thing};
use crate::bastion::Bastion;
use crate::ids::RecordingId;
use crate::store::{Filter, Recording};

use export::{Format, Which};
pub use painter::{ENTER, LEAVE};
pub(super) use watch::watch;
use which::Wanted;

/// What can be asked of recordings.
#[derive(Debug, Clone, clap::Subcommand, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordingWord {
    /// Lists recordings, oldest first.
    List {
        /// Which.
        #[command(flatten)]
        wanted: Wanted,
        /// At most so many, the newest.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
        #[serde(skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows all that is known of one.
    Show {
        /// Which.
        id: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Replays one: on a terminal at its pace, elsewhere as plain text. `?` shows the keys.
    Play {
        /// Which: its id, or its file in a bastion's directory.
        id: String,
        /// Times the recorded speed.
        #[arg(long, default_value_t = 1.0, value_parser = speed)]
        speed: f64,
        /// Cuts longer pauses to this, such as 2s.
        #[arg(long, value_parser = span)]
        idle_limit: Option<Duration>,
        /// Begins there: 90s, 12:30 or 1:12:30 after the beginning.
        #[arg(long, value_parser = which::moment)]
        from: Option<Duration>,
    },
    /// Writes one in a form that other programs read.
    Export {
        /// Which.
        id: String,
        /// The form.
        #[arg(long, value_enum, default_value = "asciicast-v2")]
        format: Format,
        /// Of text and raw: which streams.
        #[arg(long, value_enum)]
        stream: Option<Which>,
        /// Into this file instead of standard output: whole or not at all.
        #[arg(short, long)]
        output: Option<PathBuf>,
        /// Takes the place of a file that is there.
        #[arg(long, requires = "output")]
        force: bool,
    },
    /// Lists what sftp and scp moved or changed: each file with its direction, length, SHA-256 and outcome.
    Files {
        /// Which.
        id: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Looks for text in what was shown. Without capitals it stands for both.
    Search {
        /// What to look for.
        #[arg(value_parser = which::text)]
        text: String,
        /// In which.
        #[command(flatten)]
        wanted: Wanted,
        /// In this one only.
        #[arg(long, value_name = "ID")]
        recording: Option<String>,
        /// At most so many places.
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
        /// As JSON, an object a line.
        #[arg(long)]
        json: bool,
    },
    /// Holds one, or all, against its chain and the audit log.
    Verify {
        /// Which; all when none is named.
        id: Option<String>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

fn speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text.parse().map_err(|_| "write a number such as 2 or 0.5".to_owned())?;
    if (0.01..=1000.0).contains(&speed) { Ok(speed) } else { Err("write 0.01 to 1000".to_owned()) }
}

fn span(text: &str) -> Result<Duration, String> {
    crate::config::duration(text)
        .ok_or_else(|| "write a whole number and ms, s, m or h, such as 2s".to_owned())
}

impl RecordingWord {
    pub(super) fn event(&self) -> Option<&'static str> {
        match self {
            Self::Play { .. } => Some("admin.recording.play"),
            Self::Export { .. } => Some("admin.recording.export"),
            Self::Files { .. } => Some("admin.recording.files"),
            Self::Search { .. } => Some("admin.recording.search"),
            Self::List { .. } | Self::Show { .. } | Self::Verify { .. } => None,
        }
    }

    pub(super) fn facts(&self) -> Value {
        match self {
            Self::Play { id, .. } | Self::Files { id, .. } => json!({ "recording": named(id) }),
            Self::Export { id, format, .. } => json!({ "recording": named(id), "format": format }),
            // What is looked for may be a secret itself.
            Self::Search { wanted, recording, .. } => {
                json!({ "recording": recording.as_deref().map(named), "in": wanted })
            }
            Self::List { .. } | Self::Show { .. } | Self::Verify { .. } => json!({}),
        }
    }

    pub(super) fn output(&self) -> Option<&Path> {
        match self {
            Self::Export { output, .. } => output.as_deref(),
            _ => None,
        }
    }

    pub(super) fn replaces(&self) -> bool {
        matches!(self, Self::Export { force: true, .. })
    }

    pub(super) fn listens(&self) -> bool {
        matches!(self, Self::Play { .. })
    }

    /// Where the recording is named by its file in a bastion's directory: names it by its id instead, and gives the directory.
    pub(super) fn place(&mut self) -> Option<PathBuf> {
        let id = match self {
            Self::Show { id, .. } | Self::Play { id, .. } | Self::Export { id, .. } => id,
            Self::Files { id, .. } | Self::Verify { id: Some(id), .. } => id,
            Self::List { .. } | Self::Search { .. } | Self::Verify { id: None, .. } => return None,
        };
        let stem = id.strip_suffix(".rec")?;
        let named = Path::new(stem).file_name()?.to_str()?.to_owned();
        let folder = std::fs::canonicalize(&*id).ok()?.parent()?.to_owned();
        let dir = folder.parent().filter(|_| folder.ends_with("recordings"))?.to_owned();
        *id = named;
        Some(dir)
    }
}

/// An id as it was given, which may be anything: cut to what an entry of the log has room for.
fn named(id: &str) -> String {
    id.chars().take(64).collect()
}

/// A recording that may be read: its file and its key.
struct Material {
    id: RecordingId,
    header: Header,
    path: PathBuf,
    key: RecordingKey,
}

impl Material {
    /// Reads the header and opens the key's envelope.
    async fn find(bastion: &Bastion, id: &str) -> Result<Self, Trouble> {
        let row = row(bastion, id).await?;
        let id = RecordingId::parse(&row.id).ok_or_else(|| no_such(id))?;
        let path = bastion.recordings.dir().join(file_name(id.as_str()));
        let header = Reader::open(&path, None)?.header().clone();
        if header.recording != id.as_str() {
            let found = &header.recording;
            return Err(Trouble::said(format!(
                "the file of {id} holds {found}: files were swapped; run `bartizan recording verify`"
            )));
        }
        let key = bastion.keys.open_recording_key(id.as_str(), &header.envelope)?;
        Ok(Self { id, header, path, key })
    }

    fn reel(&self) -> reel::Reel {
        reel::Reel::open(self.path.clone(), self.key.clone())
    }
}

fn no_such(id: &str) -> Trouble {
    Trouble::said(format!("there is no recording {id}; see `bartizan recording list`"))
}

async fn row(bastion: &Bastion, id: &str) -> Result<Recording, Trouble> {
    let id = RecordingId::parse(id).ok_or_else(|| no_such(id))?;
    bastion.store.recording(id.as_str()).await?.ok_or_else(|| no_such(id.as_str()))
}

pub(super) async fn run<R: Reply>(
    bastion: &Bastion,
    word: RecordingWord,
    out: &mut R,
) -> Result<Done, Trouble> {
    match word {
        RecordingWord::List { wanted, limit, json } => {
            list(bastion, wanted.filter(limit), json, out).await?;
        }
        RecordingWord::Show { id, json } => show(&row(bastion, &id).await?, json, out).await?,
        RecordingWord::Play { id, speed, idle_limit, from } => {
            let material = Material::find(bastion, &id).await?;
            which::has_a_screen(&material.header.kind)?;
            let (speed, from) = (speed.clamp(0.01, 1000.0), from.unwrap_or_default());
            play::play(&material, &indexes(bastion), play::Pace { speed, idle_limit, from }, out).await?;
        }
        RecordingWord::Export { id, format, stream, .. } => {
            let material = Material::find(bastion, &id).await?;
            export::export(&material, format, stream, out).await?;
        }
        RecordingWord::Files { id, json } => {
            let (row, material) = (row(bastion, &id).await?, Material::find(bastion, &id).await?);
            files::files(&row, &material, json, out).await?;
        }
        RecordingWord::Search { text, wanted, recording, limit, json } => {
            let only = match recording {
                Some(id) => Some(row(bastion, &id).await?),
                None => None,
            };
            return search::search(bastion, &text, &wanted, only, limit, json, out).await;
        }
        RecordingWord::Verify { id, json } => return verify::verify(bastion, id.as_deref(), json, out).await,
    }
    Ok(Done::Well)
}

/// The folder of what is derived from recordings; it may be emptied at any time.
fn indexes(bastion: &Bastion) -> PathBuf {
    bastion.config.dir.join("index")
}

/// The recordings that match.
pub(super) async fn list<R: Reply>(
    bastion: &Bastion,
    filter: Filter<'_>,
    json: bool,
    out: &mut R,
) -> Result<(), Trouble> {
    let columns =
        &["id", "started", "operator", "account", "target", "kind", "state", "outcome", "bytes", "command"];
    let mut rows = List::new(Form::of(json), columns);
    let mut recordings = bastion.store.recordings(filter);
    while let Some(recording) = recordings.next().await? {
        rows.row(out, &value(&recording), || cells(&recording)).await?;
    }
    rows.end(out, "no recordings").await
}

fn cells(recording: &Recording) -> Vec<String> {
    vec![
        recording.id.clone(),
        super::at(recording.started),
        recording.operator.clone(),
        recording.account.clone(),
        recording.target.clone(),
        recording.kind.clone(),
        state(recording).to_owned(),
        or_dash(recording.outcome.as_deref()),
        recording.bytes.to_string(),
        recording.command.clone().unwrap_or_default().chars().take(80).collect(),
    ]
}

async fn show<R: Reply>(recording: &Recording, json: bool, out: &mut R) -> Result<(), Trouble> {
    let lines = vec![
        ("id", recording.id.clone()),
        ("session", recording.session.clone()),
        ("operator", recording.operator.clone()),
        ("device", or_dash(recording.device.as_deref())),
        ("target", recording.target.clone()),
        ("account", recording.account.clone()),
        ("kind", recording.kind.clone()),
        ("command", or_dash(recording.command.as_deref())),
        ("started", super::at(recording.started)),
        ("ended", or_dash(recording.ended.map(super::at))),
        ("state", state(recording).to_owned()),
        ("outcome", or_dash(recording.outcome.as_deref())),
        ("frames", counted(recording.frames.unsigned_abs(), "frame")),
        ("bytes", recording.bytes.to_string()),
        ("ignored", recording.ignored.to_string()),
        ("digest", or_dash(value(recording).get("digest").and_then(Value::as_str))),
    ];
    thing(out, json, &value(recording), lines).await
}

fn state(recording: &Recording) -> &'static str {
    use crate::store::RecordingState;
    match recording.state {
        RecordingState::Open => "open",
        RecordingState::Sealed => "sealed",
        RecordingState::Recovered => "recovered",
    }
}

/// A row for scripts: as stored, with times as people and programs write them.
fn value(recording: &Recording) -> Value {
    super::with_times(recording, &["started", "ended"])
}

/// Reads a recordings folder's ids; other files are not recordings.
fn in_folder(dir: &Path) -> std::io::Result<Vec<RecordingId>> {
    let mut ids = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let id = name.to_str().and_then(|n| n.strip_suffix(".rec")).and_then(RecordingId::parse);
        ids.extend(id);
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_that_never_ends_is_refused() {
        for wrong in ["0", "-1", "nan", "inf", "1e9", "", "fast"] {
            assert!(speed(wrong).is_err(), "{wrong}");
        }
        assert_eq!(speed("2.5"), Ok(2.5));
        assert_eq!(span("2s"), Ok(Duration::from_secs(2)));
        assert!(span("2").is_err());
    }

    #[test]
    fn only_recordings_are_found_in_the_folder() {
        let dir = tempfile::tempdir().expect("dir");
        for name in
            ["r-01JD37F2K00000000000000000.rec", "r-01JD37F2K00000000000000000.tmp", "x.rec", "r-.rec"]
        {
            std::fs::write(dir.path().join(name), "").expect("write");
        }
        assert_eq!(in_folder(dir.path()).expect("read").len(), 1);
    }
}
