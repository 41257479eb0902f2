//! A command line read as a word, or what is wrong with it and what could be said instead.
//! It never carries anything out, and never repeats a character that a terminal would obey.

use clap::error::ErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _};

use super::{Word, clean};

/// The longest line, in bytes.
const LINE_MAX: usize = 8 * 1024;
/// The most parts a line may have.
const PARTS_MAX: usize = 256;

#[derive(clap::Parser)]
#[command(name = "bartizan", no_binary_name = true)]
struct Line {
    #[command(subcommand)]
    word: Word,
}

/// A line that is no word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// For the asking side: several lines.
    pub text: String,
    /// Whether the text is what was asked for (`--help`), not a complaint.
    pub asked_for: bool,
}

/// A command line without the program's name, read as a word.
///
/// # Errors
/// What is wrong with it, as help text of several lines.
pub fn parse<I: IntoIterator<Item = T>, T: Into<std::ffi::OsString> + Clone>(
    line: I,
) -> Result<Word, String> {
    <Line as clap::Parser>::try_parse_from(line).map(|line| line.word).map_err(|e| e.to_string())
}

/// The command line of an exec request: parts are separated by blanks; `'...'`, `"..."` and `\` keep them together.
///
/// # Errors
/// What is wrong with it and what exists instead; `program` is what stands before the word where it was typed.
pub fn read(program: &str, line: &[u8]) -> Result<Word, Unread> {
    let wrong = |text: &str| Unread { text: format!("{text}\n\n{}", help(program, &[])), asked_for: false };
    let parts = parts(line).map_err(wrong)?;
    let mut command = Line::command().bin_name(program);
    let matches =
        command.try_get_matches_from_mut(&parts).map_err(|error| unread(program, &error, &parts))?;
    Line::from_arg_matches(&matches).map(|line| line.word).map_err(|error| unread(program, &error, &parts))
}

fn unread(program: &str, error: &clap::Error, parts: &[String]) -> Unread {
    let asked_for = error.kind() == ErrorKind::DisplayHelp;
    let text = error.to_string();
    let text = match error.kind() {
        // What there is instead says more than how to ask for it.
        ErrorKind::InvalidSubcommand => {
            let first = text.lines().next().unwrap_or_default();
            format!("{first}\n\n{}", help(program, parts))
        }
        _ => text,
    };
    Unread { text: clean::lines(&text).into_owned(), asked_for }
}

/// The help of the deepest word that these parts name.
fn help(program: &str, parts: &[String]) -> String {
    let mut line = Line::command().bin_name(program);
    line.build();
    let mut command = &line;
    for part in parts {
        match command.find_subcommand(part) {
            Some(next) => command = next,
            None => break,
        }
    }
    command.clone().render_help().to_string()
}

fn parts(line: &[u8]) -> Result<Vec<String>, &'static str> {
    if line.len() > LINE_MAX {
        return Err("the command is too long");
    }
    let text = std::str::from_utf8(line).map_err(|_| "the command is not UTF-8 text")?;
    let (mut parts, mut part, mut quote) = (Vec::new(), None::<String>, None);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), close) if open == close => quote = None,
            (None, '\'' | '"') => {
                quote = Some(letter);
                part.get_or_insert_default();
            }
            (None | Some('"'), '\\') => {
                let next = letters.next().ok_or("the command ends with a backslash")?;
                part.get_or_insert_default().push(next);
            }
            (None, blank) if blank.is_whitespace() => parts.extend(part.take()),
            (_, letter) => part.get_or_insert_default().push(letter),
        }
        if parts.len() > PARTS_MAX {
            return Err("the command has too many parts");
        }
    }
    if quote.is_some() {
        return Err("the command has an open quote");
    }
    parts.extend(part);
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> Result<Vec<String>, &'static str> {
        parts(line.as_bytes())
    }

    #[test]
    fn parts_are_kept_together_as_a_shell_would() {
        assert_eq!(split(" a  b\tc ").expect("plain"), ["a", "b", "c"]);
        assert_eq!(split(r#"a 'b c' "d \" e" f\ g ''"#).expect("quoted"), ["a", "b c", "d \" e", "f g", ""]);
        assert!(split("'a").is_err() && split("a\\").is_err() && parts(b"\xff").is_err());
        assert!(split(&"a ".repeat(10_000)).is_err() && split(&"a ".repeat(PARTS_MAX + 2)).is_err());
        assert_eq!(split("").expect("nothing"), Vec::<String>::new());
    }

    #[test]
    fn an_unknown_word_is_answered_with_what_exists() {
        let unread = read("ssh bastion", b"reboot now").expect_err("no word");
        assert!(!unread.asked_for && unread.text.contains("'reboot'"), "{}", unread.text);
        for word in ["whoami", "targets", "mfa", "session", "ssh-config"] {
            assert!(unread.text.contains(word), "{word} in {}", unread.text);
        }
        let unread = read("ssh bastion", b"operator frob").expect_err("no word");
        assert!(
            unread.text.contains("disable") && unread.text.contains("ssh bastion operator"),
            "{}",
            unread.text
        );
        let help = read("ssh bastion", b"--help").expect_err("help");
        assert!(help.asked_for && help.text.contains("whoami"));
    }

    #[test]
    fn what_is_repeated_commands_no_terminal() {
        let unread = read("ssh bastion", "\u{1b}]0;x\u{7}\u{202e}".as_bytes()).expect_err("no word");
        assert!(
            !unread.text.chars().any(|c| clean::commands(c) && c != '\n' && c != '\t'),
            "{:?}",
            unread.text
        );
    }

    #[test]
    fn a_word_is_read_as_on_the_command_line() {
        assert!(matches!(read("x", b"targets --json"), Ok(Word::Targets { json: true })));
        assert!(matches!(read("x", b"operator disable bob"), Ok(Word::Operator(_))));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(line in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = read("ssh bastion", &line);
        }
    }
}
