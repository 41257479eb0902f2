//! The bundle as people write it: one TOML file into typed text, every piece with its place.
//! Never decides whether a value makes sense: that is for `operator`, `target`, `grant` and `login`.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

/// A text with its place in the file.
pub(super) type Word = Spanned<String>;

/// One `*.toml` of the bundle.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    #[serde(default)]
    pub(super) host_patterns: Vec<Word>,
    pub(super) login: Option<Spanned<WrittenLogin>>,
    #[serde(default)]
    pub(super) level: Vec<WrittenLevel>,
    #[serde(default)]
    pub(super) operator: Vec<Spanned<WrittenOperator>>,
    #[serde(default)]
    pub(super) target: Vec<Spanned<WrittenTarget>>,
    #[serde(default)]
    pub(super) grant: Vec<Spanned<WrittenGrant>>,
}

/// `[login]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenLogin {
    pub(super) require: Option<Spanned<WrittenLoginRequire>>,
    pub(super) fresh: Option<Word>,
}

/// `[login] require`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenLoginRequire {
    pub(super) factors: Option<Spanned<Vec<Word>>>,
    pub(super) posture: Option<Word>,
}

/// `[[level]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenLevel {
    pub(super) name: Word,
    pub(super) includes: Option<Spanned<Vec<Word>>>,
    #[serde(default)]
    pub(super) check: Vec<WrittenCheck>,
}

/// `[[level.check]]`. What a check must have is known only when it is clear whether it changes a built-in one.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenCheck {
    pub(super) name: Word,
    pub(super) on: Option<Spanned<Vec<Word>>>,
    pub(super) table: Option<Word>,
    pub(super) rows: Option<Word>,
    pub(super) when: Option<Word>,
    pub(super) mode: Option<Word>,
    pub(super) failed: Option<Word>,
    #[serde(rename = "do")]
    pub(super) remedy: Option<Word>,
}

/// `[[operator]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenOperator {
    pub(super) name: Word,
    #[serde(default)]
    pub(super) roles: Vec<Word>,
    pub(super) tenant: Option<Word>,
}

/// `[[target]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenTarget {
    pub(super) name: Word,
    pub(super) address: Word,
    #[serde(default)]
    pub(super) host_keys: Vec<Word>,
    #[serde(default)]
    pub(super) host_ca: Vec<Word>,
    #[serde(default)]
    pub(super) accounts: Vec<Word>,
    pub(super) default_account: Option<Word>,
    #[serde(default)]
    pub(super) labels: BTreeMap<Word, Word>,
    pub(super) tenant: Option<Word>,
    pub(super) owner: Option<Word>,
    #[serde(default)]
    pub(super) source: Vec<Word>,
    pub(super) login: Option<Word>,
    pub(super) via: Option<Word>,
    pub(super) recording: Option<Word>,
}

/// `[[grant]]`. A list that is left out and one that is empty are told apart: the one is no condition, the other names
/// nobody or nothing, and is refused.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenGrant {
    pub(super) name: Word,
    pub(super) roles: Option<Spanned<Vec<Word>>>,
    pub(super) operators: Option<Spanned<Vec<Word>>>,
    pub(super) targets: Option<Spanned<Vec<Word>>>,
    pub(super) labels: Option<Spanned<BTreeMap<Word, Word>>>,
    pub(super) accounts: Spanned<Vec<Word>>,
    pub(super) allow: Spanned<Vec<Word>>,
    pub(super) forward_to: Option<Spanned<Vec<Word>>>,
    pub(super) require: Option<Spanned<WrittenRequire>>,
    pub(super) hours: Option<Word>,
    pub(super) until: Option<Spanned<toml::Value>>,
    pub(super) max_session: Option<Word>,
}

/// A grant's `require`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenRequire {
    pub(super) posture: Option<Word>,
    pub(super) fresh: Option<Word>,
    pub(super) factors: Option<Spanned<Vec<Word>>>,
    pub(super) assurance: Option<Spanned<i64>>,
    pub(super) reason: Option<bool>,
    pub(super) approvals: Option<Spanned<i64>>,
    pub(super) source: Option<Spanned<Vec<Word>>>,
}

/// Why a file is not TOML, or not this TOML, and where.
pub(super) struct Unreadable {
    pub(super) at: Option<Range<usize>>,
    pub(super) message: String,
}

/// Reads one file.
pub(super) fn read(text: &str) -> Result<Written, Unreadable> {
    toml::from_str(text).map_err(|error: toml::de::Error| Unreadable {
        at: error.span(),
        message: error.message().lines().collect::<Vec<_>>().join(", "),
    })
}
