//! A long recording taken up anywhere: the same screen as after replaying all of it, for a bounded part of the work.
//! It never measures time; how long it takes is in `integration-tests/bench/replay`.

use ::keys::Keys;
use ledger::recording::{Header, Stamp, Writer};

use super::super::deck::{Bite, Deck};
use super::*;
use crate::ids::RecordingId;

/// Frames a second of the recording.
const A_SECOND: u64 = 10;
const SECOND: u64 = 1_000_000_000;

/// A recording of so many frames of some 700 bytes that do not pack well: lines, whole screens, other pages and sizes.
fn recorded(dir: &Path, frames: u64) -> Material {
    let keys = Keys::create(&dir.join("keys")).unwrap();
    let id = RecordingId::parse("r-01JD37F2K00000000000000000").unwrap();
    let (key, envelope) = keys.recording_key(id.as_str()).unwrap();
    let header = Header {
        recording: id.to_string(),
        session: "s-01JD37F2K00000000000000000".into(),
        channel: 0,
        node: "n".into(),
        operator: "ana".into(),
        device: None,
        target: "t".into(),
        account: "a".into(),
        kind: "shell".into(),
        started: "2026-01-02T03:04:05Z".parse().unwrap(),
        envelope,
    };
    let mut writer = Writer::create(dir, &header, &key).unwrap();
    let path = writer.path().to_owned();
    let stamp = |n: u64| Stamp { monotonic_ns: 5 * SECOND + n * SECOND / A_SECOND, wall_ns: 0 };
    let request = br#"{"request":"shell","terminal":{"columns":90,"rows":25}}"#;
    writer.append(Stream::Request, stamp(0), request).unwrap();
    let mut noise = 88_172_645_463_325_252_u64;
    let mut word = || {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        format!("{noise:x}")
    };
    for n in 1..=frames {
        let line = (0..36).map(|_| word()).collect::<Vec<_>>().join(" ");
        let text = match n % 97 {
            0 => format!("\x1b[?1049h\x1b[2J\x1b[5;5H\x1b[3{}m{line}", n % 8),
            50 => "\x1b[?1049l".to_owned(),
            x if x % 7 == 0 => format!("\x1b[{};1H\x1b[1m{line}\x1b[0m\x1b[K", x % 20 + 1),
            _ => format!("{line}\r\n"),
        };
        writer.append(Stream::Output, stamp(n), text.as_bytes()).unwrap();
        if n % 1999 == 0 {
            let size = format!(r#"{{"columns":{},"rows":{}}}"#, 60 + n % 50, 20 + n % 9);
            writer.append(Stream::Resize, stamp(n), size.as_bytes()).unwrap();
        }
    }
    writer.seal().unwrap();
    Material { id, header, path, key }
}

fn work(material: &Material, dir: &Path, index: &Arc<Index>) -> Work {
    let (path, key) = (material.path.clone(), material.key.clone());
    Work { path, key, dir: dir.to_owned(), index: index.clone() }
}

/// Runs to this moment; the screen.
fn there(deck: &mut Deck, at: Duration) -> Vec<String> {
    while deck.run(at).unwrap() == Bite::More {}
    deck.screen().text()
}

#[test]
fn a_seek_shows_what_a_replay_would_and_replays_no_more_than_a_stride() {
    let (dir, indexes) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let material = recorded(dir.path(), 10_000);
    let moments: Vec<Duration> =
        [0, 999, 100, 503, 1000, 7, 640, 641, 998].into_iter().map(Duration::from_secs).collect();
    let mut replayed = Vec::new();
    let mut linear = Deck::open(&material, Arc::default()).unwrap().unwrap();
    let mut sorted = moments.clone();
    sorted.sort();
    for at in &sorted {
        linear.seek(*at).unwrap();
        replayed.push((*at, there(&mut linear, *at)));
    }
    assert!(linear.read > 9_900, "it went through all of it: {}", linear.read);
    let screen = |at: &Duration| &replayed.iter().find(|(moment, _)| moment == at).unwrap().1;

    let index = Arc::new(Index::default());
    work(&material, indexes.path(), &index).run();
    assert!(index.lock().whole && index.lock().keys.len() >= 6, "{}", index.lock().keys.len());
    // As it was made, and as it was kept for the next one.
    let kept = Arc::new(Index::default());
    kept.take_up(&work(&material, indexes.path(), &kept));
    assert_eq!(kept.lock().keys, index.lock().keys);
    for index in [index, kept] {
        let mut deck = Deck::open(&material, index).unwrap().unwrap();
        assert_eq!(deck.length(), Some(Duration::from_secs(1000)));
        for at in &moments {
            let before = deck.read;
            deck.seek(*at).unwrap();
            assert_eq!(&there(&mut deck, *at), screen(at), "{at:?}");
            // A frame costs 64 and some 600 characters of a stride.
            let most = STRIDE / 600 + 2;
            assert!(deck.read - before <= most, "{at:?}: {} frames", deck.read - before);
            assert!(deck.is_exact());
        }
    }
}

#[test]
fn before_there_is_an_index_a_far_screen_is_a_guess_that_says_so_and_is_put_right() {
    let (dir, indexes) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let material = recorded(dir.path(), 10_000);
    let index = Arc::new(Index::default());
    let work = work(&material, indexes.path(), &index);
    work.outlined().unwrap();
    let mut deck = Deck::open(&material, index).unwrap().unwrap();
    let end = Duration::from_secs(990);
    deck.seek(end).unwrap();
    let guess = there(&mut deck, end);
    assert!(!deck.is_exact() && !deck.can_be_exact());
    assert!(deck.read < 1_000, "{} of 10,000 frames", deck.read);
    assert!(!guess.is_empty());
    // Near the beginning nothing has to be guessed.
    deck.seek(Duration::from_secs(9)).unwrap();
    there(&mut deck, Duration::from_secs(9));
    assert!(deck.is_exact());
    deck.seek(end).unwrap();
    there(&mut deck, end);
    work.replayed().unwrap();
    assert!(deck.can_be_exact());
    deck.seek(end).unwrap();
    let exact = there(&mut deck, end);
    assert!(deck.is_exact());
    let mut linear = Deck::open(&material, Arc::default()).unwrap().unwrap();
    assert_eq!(exact, there(&mut linear, end));
}

#[test]
fn text_is_found_where_it_is_shown_and_from_a_kept_screen_as_well() {
    let (dir, indexes) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let material = recorded(dir.path(), 3_000);
    let index = Arc::new(Index::default());
    work(&material, indexes.path(), &index).run();
    let mut deck = Deck::open(&material, index).unwrap().unwrap();
    // A word of the last line of a screen, which comes once.
    let at = Duration::from_secs(250);
    deck.seek(at).unwrap();
    let shown = there(&mut deck, at);
    let word = shown.iter().rev().find_map(|line| line.split(' ').find(|word| word.len() > 14)).unwrap();
    let mut found = |from: u64| {
        let from = Duration::from_secs(from);
        deck.seek(from).unwrap();
        there(&mut deck, from);
        let mut finder = super::super::find::Finder::new(word);
        finder.begin(deck.screen());
        loop {
            match deck.find(&mut finder, None).unwrap() {
                Bite::More => {}
                Bite::There => return Some(deck.at()),
                Bite::Over => return None,
            }
        }
    };
    let first = found(0).expect("it was shown");
    assert!(first <= at && first + Duration::from_secs(20) > at, "{first:?}");
    assert_eq!(found(first.as_secs() - 1), Some(first));
    assert_eq!(found(260), None);
}

#[test]
fn kept_screens_are_let_go_before_they_take_too_much_room() {
    let mut inner = Inner { stride: STRIDE, ..Inner::default() };
    let mut screen = Screen::new().unwrap();
    screen.resize((1000, 500));
    // Every cell is dressed otherwise than the one before.
    let dressed: String = (0..500_000).map(|n| format!("\x1b[38;5;{}mx", n % 250)).collect();
    screen.take(Stream::Output, dressed.as_bytes());
    assert!(screen.work(&mut u64::MAX.clone(), &mut ()));
    let still = screen.still().unwrap();
    assert!(still.size() > 4 << 20, "{}", still.size());
    let head = Reader::open(&recorded(tempfile::tempdir().unwrap().path(), 1).path, None).map(|r| r.head());
    let head = head.unwrap();
    for at in 0..100 {
        inner.keep(Key { head, at, still: still.clone() });
        assert!(inner.held <= HELD, "{}", inner.held);
    }
    assert!(inner.keys.is_sorted_by_key(|key| key.at) && inner.stride > STRIDE * 8);
}

#[test]
fn no_moment_is_guessed_from_marks_that_have_not_come_that_far() {
    let index = Index::default();
    let mark = |nth: u64| Mark { offset: nth * 2 * FAR, seq: nth, at: nth * SECOND };
    index.lock().marks = (1..=8).map(mark).collect();
    index.lock().marking = true;
    assert_eq!(index.glimpse(7 * SECOND, 0).map(|glimpse| glimpse.from.seq), Some(5));
    assert_eq!(index.glimpse(9 * SECOND, 0), None);
    index.lock().marks.extend([9, 10].map(mark));
    assert_eq!(index.glimpse(9 * SECOND, 0).map(|glimpse| glimpse.from.seq), Some(7));
    // No more marks come: the last ones are the nearest.
    index.lock().marking = false;
    assert_eq!(index.glimpse(100 * SECOND, 0).map(|glimpse| glimpse.from.seq), Some(8));
}
