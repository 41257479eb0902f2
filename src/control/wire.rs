//! The form of a conversation over `control.sock`: one JSON object a line, every line bounded.
//! It never holds more of a conversation than one line, and it never interprets what the words mean.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncWrite, AsyncWriteExt as _};
use zeroize::Zeroizing;

use super::Word;

/// The form spoken here; another one is refused by number.
pub const VERSION: u32 = 1;
/// The longest request: a whole access bundle.
pub const REQUEST_MAX: usize = 80 << 20;
/// The longest of all other lines.
pub const LINE_MAX: usize = 1 << 20;
/// Text is cut into pieces of at most this many bytes, so that no line comes near its bound.
const PIECE: usize = 32 * 1024;

/// What the asking side can show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Whether standard output is a terminal.
    pub terminal: bool,
    /// Its columns; 0 when not known.
    pub columns: u16,
    /// Its rows; 0 when not known.
    pub rows: u16,
    /// Whether keys are passed on while the work goes on.
    pub keys: bool,
}

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// [`VERSION`].
    pub v: u32,
    /// What the asking side can show.
    pub shape: Shape,
    /// The command.
    pub word: Word,
}

/// What the working side says, in order; `Exit` comes last and once.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Said {
    /// For standard output.
    Out(String),
    /// For standard error.
    Err(String),
    /// Bytes for standard output that are no text, as base64.
    Raw(String),
    /// The exit code.
    Exit(u8),
}

/// What the asking side may add after its request.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Added {
    /// Keys typed, as the terminal sent them.
    Keys(String),
    /// The terminal's new columns and rows.
    Size(u16, u16),
}

/// Why a conversation ended early.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The other side is gone.
    #[error("the other side ended the conversation")]
    Gone,
    /// The line goes on past its bound.
    #[error("a line is longer than {0} bytes")]
    TooLong(usize),
    /// The line is not what this side understands.
    #[error("a line is not understood ({0}); use the `bartizan` of the same version on both sides")]
    NotUnderstood(#[from] serde_json::Error),
    /// The system refused.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// Reads one line of at most `max` bytes without its end. Dropping the future loses nothing: what was read stays in `line`.
pub async fn line<R: AsyncBufRead + Unpin>(
    from: &mut R,
    line: &mut Zeroizing<Vec<u8>>,
    max: usize,
) -> Result<(), WireError> {
    loop {
        let here = from.fill_buf().await?;
        if here.is_empty() {
            return Err(WireError::Gone);
        }
        let end = here.iter().position(|b| *b == b'\n');
        let take = end.unwrap_or(here.len());
        if line.len() + take > max {
            return Err(WireError::TooLong(max));
        }
        grow(line, take);
        line.extend(here.iter().take(take));
        from.consume(end.map_or(take, |e| e + 1));
        if end.is_some() {
            return Ok(());
        }
    }
}

/// Makes room without leaving a copy of what may be a secret behind.
fn grow(line: &mut Zeroizing<Vec<u8>>, by: usize) {
    if line.capacity() - line.len() < by {
        let mut wider = Zeroizing::new(Vec::with_capacity((line.len() + by).next_power_of_two()));
        wider.extend_from_slice(line);
        *line = wider;
    }
}

/// Reads and understands one line.
pub async fn hear<T: DeserializeOwned, R: AsyncBufRead + Unpin>(
    from: &mut R,
    max: usize,
) -> Result<T, WireError> {
    let mut bytes = Zeroizing::new(Vec::new());
    line(from, &mut bytes, max).await?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// One line, as it goes over the wire.
pub fn written<T: Serialize>(what: &T) -> Result<Zeroizing<Vec<u8>>, WireError> {
    let mut measure = Measure(1);
    serde_json::to_writer(&mut measure, what)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(measure.0));
    serde_json::to_writer(&mut *bytes, what)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Writes one line and pushes it out.
pub async fn say<T: Serialize, W: AsyncWrite + Unpin>(to: &mut W, what: &T) -> Result<(), WireError> {
    push(to, &written(what)?, &mut 0).await
}

/// Writes `line` from `sent` on and pushes it out. Dropping the future loses nothing: `sent` says how far it has come.
pub async fn push<W: AsyncWrite + Unpin>(to: &mut W, line: &[u8], sent: &mut usize) -> Result<(), WireError> {
    while let Some(rest) = line.get(*sent..).filter(|rest| !rest.is_empty()) {
        match to.write(rest).await.map_err(gone)? {
            0 => return Err(WireError::Gone),
            written => *sent += written,
        }
    }
    to.flush().await.map_err(gone)
}

/// Counts before writing, so that the buffer of a secret never has to move.
struct Measure(usize);

impl std::io::Write for Measure {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn gone(e: std::io::Error) -> WireError {
    match e.kind() {
        std::io::ErrorKind::BrokenPipe | std::io::ErrorKind::ConnectionReset => WireError::Gone,
        _ => WireError::Io(e),
    }
}

/// Cuts text into pieces that fit a line whatever they escape to.
pub fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (piece, after) = rest.split_at_checked(rest.floor_char_boundary(PIECE))?;
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::BufReader;

    fn run<F: Future>(f: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("runtime").block_on(f)
    }

    fn heard(bytes: &[u8], max: usize) -> Result<Said, WireError> {
        run(hear(&mut BufReader::with_capacity(16, bytes), max))
    }

    #[test]
    fn a_line_without_an_end_is_given_up_at_the_bound() {
        assert!(matches!(heard(&[b'['; 4096], 1000), Err(WireError::TooLong(1000))));
        assert!(matches!(
            run(async {
                let endless = tokio::io::repeat(b'x');
                hear::<Said, _>(&mut BufReader::new(endless), LINE_MAX).await
            }),
            Err(WireError::TooLong(LINE_MAX))
        ));
    }

    #[test]
    fn a_line_of_exactly_the_bound_is_taken_and_one_more_byte_is_not() {
        let good = br#"{"exit":0}"#;
        let with_end = [good.as_slice(), b"\n"].concat();
        assert_eq!(heard(&with_end, good.len()).expect("fits"), Said::Exit(0));
        assert!(matches!(heard(&with_end, good.len() - 1), Err(WireError::TooLong(_))));
    }

    #[test]
    fn what_is_cut_off_or_not_understood_is_an_error() {
        assert!(matches!(heard(b"", 10), Err(WireError::Gone)));
        assert!(matches!(heard(br#"{"exit":0}"#, 100), Err(WireError::Gone)));
        for wrong in ["\n", "{}\n", "{\"exit\":256}\n", "{\"exit\":-1}\n", "{\"no\":1}\n", "\0\n", "\u{ff}\n"]
        {
            assert!(matches!(heard(wrong.as_bytes(), 100), Err(WireError::NotUnderstood(_))), "{wrong:?}");
        }
        let deep = [vec![b'['; 100_000], vec![b'\n']].concat();
        assert!(matches!(heard(&deep, LINE_MAX), Err(WireError::NotUnderstood(_))));
    }

    #[test]
    fn a_line_that_comes_in_crumbs_survives_a_dropped_wait() {
        run(async {
            let (mut far, near) = tokio::io::duplex(4);
            let mut near = BufReader::new(near);
            let mut bytes = Zeroizing::new(Vec::new());
            far.write_all(b"{\"e").await.expect("write");
            let short =
                tokio::time::timeout(std::time::Duration::ZERO, line(&mut near, &mut bytes, 100)).await;
            assert!(short.is_err());
            let rest = async { far.write_all(b"xit\":7}\n").await.expect("write") };
            let (read, ()) = tokio::join!(line(&mut near, &mut bytes, 100), rest);
            read.expect("whole");
            assert_eq!(serde_json::from_slice::<Said>(&bytes).expect("said"), Said::Exit(7));
        });
    }

    #[test]
    fn every_piece_fits_a_line_and_none_is_lost() {
        let text = "\u{1}é".repeat(100_000);
        assert_eq!(pieces(&text).collect::<String>(), text);
        for piece in pieces(&text) {
            assert!(serde_json::to_vec(&Said::Out(piece.to_owned())).expect("json").len() < LINE_MAX);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..256)) {
            let _ = heard(&bytes, 128);
            let _ = run(hear::<Request, _>(&mut BufReader::new(bytes.as_slice()), 128));
        }
    }
}
