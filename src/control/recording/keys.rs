//! What a key asks of a replay.
//! It never guesses: what is no key of the list is passed over.

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Quit,
    Pause,
    Back,
    Forward,
    FarBack,
    FarForward,
    Start,
    End,
    Faster,
    Slower,
    Step,
    StepBack,
    Search,
    Next,
    Previous,
    Help,
    /// So many tenths of the whole.
    Tenth(u8),
    /// Columns and rows that the view moves by.
    Look(i8, i8),
    Follow,
    Escape,
}

/// What `?` shows.
pub(super) const HELP: &str = "\
 space        pause, go on             + up      twice as fast
 right left   5 seconds on, back       - down    half as fast
 PgDn PgUp    a minute on, back        .  ,      one frame on, back
 g Home       the beginning            G End     the end
 1 to 9       so many tenths           / n N     search, next, previous
 h j k l      look elsewhere on a screen larger than this one
 c            follow the cursor again
 ?            this help                q         quit
";

const KNOWN: [(&str, Key); 41] = [
    ("\x1b[C", Key::Forward),
    ("\x1b[D", Key::Back),
    ("\x1b[A", Key::Faster),
    ("\x1b[B", Key::Slower),
    ("\x1bOC", Key::Forward),
    ("\x1bOD", Key::Back),
    ("\x1bOA", Key::Faster),
    ("\x1bOB", Key::Slower),
    ("\x1b[5~", Key::FarBack),
    ("\x1b[6~", Key::FarForward),
    ("\x1b[H", Key::Start),
    ("\x1bOH", Key::Start),
    ("\x1b[1~", Key::Start),
    ("\x1b[F", Key::End),
    ("\x1bOF", Key::End),
    ("\x1b[4~", Key::End),
    ("g", Key::Start),
    ("G", Key::End),
    (" ", Key::Pause),
    ("q", Key::Quit),
    ("\x03", Key::Quit),
    ("+", Key::Faster),
    ("=", Key::Faster),
    ("-", Key::Slower),
    (".", Key::Step),
    (",", Key::StepBack),
    ("/", Key::Search),
    ("n", Key::Next),
    ("N", Key::Previous),
    ("?", Key::Help),
    ("1", Key::Tenth(1)),
    ("2", Key::Tenth(2)),
    ("3", Key::Tenth(3)),
    ("4", Key::Tenth(4)),
    ("5", Key::Tenth(5)),
    ("h", Key::Look(-8, 0)),
    ("l", Key::Look(8, 0)),
    ("k", Key::Look(0, -4)),
    ("j", Key::Look(0, 4)),
    ("c", Key::Follow),
    ("\r", Key::Escape),
];

/// The next key that was typed, and what follows it; what is none is passed over.
pub(super) fn next(mut typed: &str) -> Option<(Key, &str)> {
    while let Some(first) = typed.chars().next() {
        if let Some((rest, key)) =
            KNOWN.iter().find_map(|(text, key)| Some((typed.strip_prefix(text)?, *key)))
        {
            return Some((key, rest));
        }
        let rest = typed.get(first.len_utf8()..).unwrap_or_default();
        match first {
            '6'..='9' => return Some((Key::Tenth(u8::try_from(first).unwrap_or_default() - b'0'), rest)),
            '\x1b' => match sequence(rest) {
                Some(after) => typed = after,
                None => return Some((Key::Escape, rest)),
            },
            _ => typed = rest,
        }
    }
    None
}

/// What follows a whole sequence of a key that is not known; `None` where the escape stands alone.
fn sequence(after: &str) -> Option<&str> {
    let body = after.strip_prefix(['[', 'O'])?;
    let end = body.find(|c: char| ('@'..='~').contains(&c))?;
    body.get(end + 1..)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut typed: &str) -> Vec<Key> {
        let mut keys = Vec::new();
        while let Some((key, rest)) = next(typed) {
            keys.push(key);
            typed = rest;
        }
        keys
    }

    #[test]
    fn keys_are_known_and_others_are_passed_over() {
        assert_eq!(all("\x1b[C\x1b[Dx q"), [Key::Forward, Key::Back, Key::Pause, Key::Quit]);
        assert_eq!(all("\x1b[?1;2c日\x03"), [Key::Quit], "an answer of a terminal is no key");
        assert_eq!(all("\x1b[1;5C7\x1b"), [Key::Tenth(7), Key::Escape]);
        assert!(all("").is_empty());
    }

    #[test]
    fn the_help_fits_a_small_terminal() {
        assert!(HELP.lines().count() < 20 && HELP.lines().all(|line| line.len() < 80));
    }
}
