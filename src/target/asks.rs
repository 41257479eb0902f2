//! What a target asks while the bastion logs in there, passed to the operator where the bundle says so (`login = "ask"`).
//! Never passes on what a terminal would obey, more than a few lines, or an answer to anything but the question it was given to.

use std::pin::Pin;

use policy::AccountName;
use russh::MethodKind;
use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse as Asked};
use zeroize::Zeroizing;

use super::ConnectError;
use super::login::Visitor;

/// Rounds of one try, and questions of one round.
const ROUNDS: usize = 8;
const QUESTIONS: usize = 4;
/// Tries of one login.
const TRIES: usize = 3;
/// The longest text of a target that is shown, in characters.
const WORDS: usize = 256;

/// An answer to come; `None` when nobody gives one.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Option<Zeroizing<String>>> + Send + 'a>>;

/// Who answers a target.
pub trait Asks: Send {
    /// Shows a question and waits for a line, shown as it is typed or not.
    fn ask<'a>(&'a mut self, question: &'a str, echo: bool) -> Answer<'a>;
}

/// Logs in by what the target asks for: prompts of its own, or a password.
pub(super) async fn login(
    handle: &mut Handle<Visitor>,
    account: &AccountName,
    asks: &mut dyn Asks,
) -> Result<AuthResult, ConnectError> {
    // Says which methods there are; a server that asks nothing of anybody is as the bundle says.
    let mut result = handle.authenticate_none(account.as_str()).await.map_err(ConnectError::protocol)?;
    for _ in 0..TRIES {
        let AuthResult::Failure { remaining_methods, .. } = &result else { break };
        result = if remaining_methods.contains(&MethodKind::KeyboardInteractive) {
            by_prompts(handle, account, asks).await?
        } else if remaining_methods.contains(&MethodKind::Password) {
            let question = format!("the target asks for the password of {account}: ");
            let password = asks.ask(&question, false).await.ok_or(ConnectError::Unanswered)?;
            handle
                .authenticate_password(account.as_str(), password.as_str())
                .await
                .map_err(ConnectError::protocol)?
        } else {
            break;
        };
    }
    Ok(result)
}

async fn by_prompts(
    handle: &mut Handle<Visitor>,
    account: &AccountName,
    asks: &mut dyn Asks,
) -> Result<AuthResult, ConnectError> {
    let starting = handle.authenticate_keyboard_interactive_start(account.as_str(), None);
    let mut asked = starting.await.map_err(ConnectError::protocol)?;
    for _ in 0..ROUNDS {
        let (instructions, prompts) = match asked {
            Asked::Success => return Ok(AuthResult::Success),
            Asked::Failure { remaining_methods, partial_success } => {
                return Ok(AuthResult::Failure { remaining_methods, partial_success });
            }
            Asked::InfoRequest { instructions, prompts, .. } => (instructions, prompts),
        };
        if prompts.len() > QUESTIONS {
            break;
        }
        let mut said = plain(&instructions);
        let mut answers = Vec::with_capacity(prompts.len());
        for prompt in &prompts {
            let question = format!("the target asks: {}{} ", between(&said), plain(&prompt.prompt));
            said.clear();
            let answer = asks.ask(&question, prompt.echo).await.ok_or(ConnectError::Unanswered)?;
            answers.push(answer.as_str().to_owned());
        }
        asked = handle
            .authenticate_keyboard_interactive_respond(answers)
            .await
            .map_err(ConnectError::protocol)?;
    }
    Err(ConnectError::Login {
        account: account.to_string(),
        with: "the operator's answers".to_owned(),
        why: "it asks without end".to_owned(),
    })
}

fn between(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!("{said}: ") }
}

/// A target's text as it may be shown: one line, bounded, nothing that commands a terminal or turns its direction.
fn plain(text: &str) -> String {
    let turns =
        |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let blank = |c: char| if c == '\n' || c == '\t' { ' ' } else { c };
    let shown = text.chars().map(blank).filter(|c| !c.is_control() && !turns(*c)).take(WORDS);
    shown.collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_target_asks_is_one_line_that_commands_nothing() {
        assert_eq!(plain("\u{1b}[2JPass\u{202e}word\r\nfor you:\u{9b}1m "), "[2JPassword for you:1m");
        assert_eq!(plain(&"é".repeat(10_000)).chars().count(), WORDS);
    }
}
