//! `recording search`: text in what was shown, over many recordings, with the moment it was shown at.
//! It never keeps what it has read, and stops at the first place that nobody wants.

use std::sync::Arc;

use serde_json::json;

use super::Material;
use super::deck::{Bite, Deck};
use super::find::Finder;
use super::index::Index;
use super::play::clock;
use super::progress::Progress;
use super::which::{self, Wanted};
use crate::bastion::Bastion;
use crate::control::Done;
use crate::control::reply::{Heard, Reply, Trouble};
use crate::control::report::{Form, List, counted};
use crate::store::{Recording, Rows};

/// Says every place where the text was shown; no, where there is none.
pub(super) async fn search<R: Reply>(
    bastion: &Bastion,
    text: &str,
    wanted: &Wanted,
    only: Option<Recording>,
    limit: u32,
    json: bool,
    out: &mut R,
) -> Result<Done, Trouble> {
    let mut recordings = match only {
        Some(row) => Rows::just(row),
        None => bastion.store.recordings(wanted.filter(None)),
    };
    let form = if json { Form::Lines } else { Form::Table };
    let mut rows = List::new(form, &["recording", "at", "operator", "target", "line"]);
    let (mut found, mut unread) = (0, 0_u64);
    let (mut through, mut progress) = (0_u64, Progress::of(out));
    while let Some(row) = recordings.next().await? {
        if which::has_a_screen(&row.kind).is_err() {
            continue;
        }
        let how_far = || format!("{} looked through, {found} found", counted(through, "recording"));
        progress.tell(how_far, out).await?;
        through += 1;
        let material = match Material::find(bastion, &row.id).await {
            Ok(material) => material,
            // One that cannot be read must not hide what is in the others.
            Err(_) => {
                unread += 1;
                continue;
            }
        };
        let mut places = Places::open(&material, text)?;
        loop {
            let more = places.next(out).await;
            let Some((at, line)) = (match more {
                Err(Trouble::Gone) => return Err(Trouble::Gone),
                Err(Trouble::Said(_)) => {
                    unread += 1;
                    None
                }
                Ok(more) => more,
            }) else {
                break;
            };
            found += 1;
            let value = json!({
                "recording": row.id, "session": row.session, "operator": row.operator, "target": row.target,
                "at": at.as_secs_f64(), "line": line,
            });
            let cells = || {
                let [id, operator, target] = [&row.id, &row.operator, &row.target].map(Clone::clone);
                vec![id, clock(at), operator, target, line.clone()]
            };
            rows.row(out, &value, cells).await?;
            if found >= limit {
                rows.end(out, "").await?;
                out.err(&format!("bartizan: there may be more; this is the limit of {limit}\n")).await?;
                return Ok(Done::Well);
            }
        }
    }
    rows.end(out, "it was shown nowhere").await?;
    if unread > 0 {
        let unread = counted(unread, "recording");
        out.err(&format!("bartizan: {unread} could not be read; see `bartizan recording verify`\n")).await?;
    }
    Ok(if found > 0 { Done::Well } else { Done::No })
}

/// The places in one recording, one after the other.
struct Places {
    work: Option<(Deck, Finder)>,
}

impl Places {
    fn open(material: &Material, text: &str) -> Result<Self, Trouble> {
        // Read from the beginning to the end: no kept screen is of use.
        let Some(deck) = Deck::open(material, Arc::new(Index::default()))? else {
            return Ok(Self { work: None });
        };
        let mut finder = Finder::new(text);
        finder.begin(deck.screen());
        Ok(Self { work: Some((deck, finder)) })
    }

    /// The next place; meanwhile it is noticed when nobody waits any more.
    async fn next<R: Reply>(
        &mut self,
        out: &mut R,
    ) -> Result<Option<(std::time::Duration, String)>, Trouble> {
        while let Some((mut deck, mut finder)) = self.work.take() {
            let finding = tokio::task::spawn_blocking(move || {
                let bite = deck.find(&mut finder, None);
                (bite, deck, finder)
            });
            let (bite, deck, finder) = finding.await?;
            let bite = bite?;
            let place = (bite == Bite::There).then(|| (deck.at(), finder.line().to_owned()));
            if bite == Bite::Over {
                return Ok(None);
            }
            self.work = Some((deck, finder));
            if place.is_some() {
                return Ok(place);
            }
            if let Ok(Heard::Gone) = tokio::time::timeout(std::time::Duration::ZERO, out.heard()).await {
                return Err(Trouble::Gone);
            }
        }
        Ok(None)
    }
}
