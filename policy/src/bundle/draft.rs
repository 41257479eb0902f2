//! A bundle while its files are read: what stands twice, what is too much, what dangles.
//! Never kept: either everything in it holds and becomes a bundle, or the first complaint is all that is left.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use toml::Spanned;

use crate::bundle::error::{BundleError, Place, SourceFile, line_of, whole};
use crate::bundle::patterns::{self, Patterns};
use crate::bundle::{Grant, Login, Operator, Target, gateways, level, written};
use crate::names::{Level, OperatorName, TargetName};
use crate::pattern::TargetPattern;
use crate::posture::{Check, Circle, Conditions, Levels};
use crate::rules::Known;

/// The most files.
const MOST_FILES: usize = 10_000;
/// The most text in all, in bytes.
const MOST_TEXT: usize = 64 << 20;
/// The most operators, and the most targets.
const MOST_THINGS: usize = 100_000;
/// The most grants.
const MOST_GRANTS: usize = 200_000;
/// The most host patterns.
const MOST_HOST_PATTERNS: usize = 256;

pub(super) fn bounds(files: &[SourceFile]) -> Result<(), BundleError> {
    if files.len() > MOST_FILES {
        return Err(whole(format_args!("has {} files, more than {MOST_FILES}", files.len()), "join some"));
    }
    let strange = |name: &str| name.is_empty() || name.len() > 255 || name.chars().any(char::is_control);
    if let Some(file) = files.iter().find(|file| strange(&file.name)) {
        return Err(whole(format_args!("has a file named {:?}", file.name), "give it a plain, shorter name"));
    }
    let mut names = HashSet::new();
    if let Some(twin) = files.iter().find(|file| !names.insert(&file.name)) {
        return Err(whole(format_args!("has the file {:?} twice", twin.name), "give each file one name"));
    }
    let size: usize = files.iter().map(|file| file.text.len()).sum();
    if size > MOST_TEXT {
        return Err(whole(
            format_args!("has {size} bytes, more than {MOST_TEXT}"),
            "use roles, globs and labels",
        ));
    }
    Ok(())
}

/// A bundle while its files are read.
pub(super) struct Draft<'a> {
    pub(super) login: Option<Login>,
    pub(super) host_patterns: Vec<String>,
    pub(super) operators: BTreeMap<OperatorName, Operator>,
    pub(super) targets: BTreeMap<TargetName, Target>,
    pub(super) grants: Vec<Grant>,
    levels: BTreeMap<Level, (BTreeSet<Level>, Vec<Check>)>,
    conditions: Conditions,
    patterns: Patterns,
    /// Where each thing was named first: file and offset.
    seen: HashMap<String, (&'a SourceFile, usize)>,
    /// What is named without a glob, and where, to be looked up when everything is read.
    dangling: Vec<Link<'a>>,
}

/// A name that something must bear.
struct Link<'a> {
    file: &'a SourceFile,
    offset: usize,
    thing: String,
    name: String,
    kind: Kind,
}

impl<'a> Link<'a> {
    fn to(kind: Kind, file: &'a SourceFile, thing: &str, word: &Spanned<String>) -> Self {
        Self { file, offset: word.span().start, thing: thing.to_owned(), name: word.get_ref().clone(), kind }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Operator,
    Target,
    Level,
}

impl Known for Draft<'_> {
    fn operator(&self, name: &str) -> bool {
        self.operators.is_empty() || self.operators.contains_key(name)
    }

    fn target(&self, name: &str) -> bool {
        self.targets.contains_key(name)
    }

    fn level(&self, name: &str) -> bool {
        [Level::managed(), Level::healthy()].iter().any(|level| level.as_str() == name)
            || self.levels.contains_key(name)
    }
}

impl<'a> Draft<'a> {
    pub(super) fn new() -> Result<Self, BundleError> {
        let broken = |why| {
            whole(
                format_args!("cannot be checked: the shipped schema is broken: {why}"),
                "install an intact build",
            )
        };
        Ok(Self {
            login: None,
            host_patterns: Vec::new(),
            operators: BTreeMap::new(),
            targets: BTreeMap::new(),
            grants: Vec::new(),
            levels: BTreeMap::new(),
            conditions: Conditions::new().map_err(broken)?,
            patterns: Patterns::default(),
            seen: HashMap::new(),
            dangling: Vec::new(),
        })
    }

    pub(super) fn add(&mut self, file: &'a SourceFile) -> Result<(), BundleError> {
        let written = written::read(&file.text).map_err(|unreadable| {
            let place = Place { file, thing: &"the text" };
            let problem = format_args!("cannot be read: {}", unreadable.message);
            place.wrong(unreadable.at, problem, "correct it (docs/access-bundle.md lists every key)")
        })?;
        for word in &written.host_patterns {
            self.host_pattern(file, word)?;
        }
        if let Some(login) = &written.login {
            let place = Place { file, thing: &"[login]" };
            self.once("[login]", file, login.span().start, &place)?;
            self.login = Some(Login::check(login.get_ref(), place)?);
            let require = login.get_ref().require.as_ref().map(Spanned::get_ref);
            let posture = require.and_then(|require| require.posture.as_ref());
            self.dangling.extend(posture.map(|word| Link::to(Kind::Level, file, "[login]", word)));
        }
        for level in &written.level {
            self.level(file, level)?;
        }
        for operator in &written.operator {
            self.operator(file, operator.get_ref())?;
        }
        for target in &written.target {
            self.target(file, target.get_ref())?;
        }
        for grant in &written.grant {
            self.grant(file, grant.get_ref())?;
        }
        Ok(())
    }

    fn once(
        &mut self,
        what: &str,
        file: &'a SourceFile,
        offset: usize,
        place: &Place<'_>,
    ) -> Result<(), BundleError> {
        match self.seen.insert(what.to_owned(), (file, offset)) {
            None => Ok(()),
            Some((first, at)) => {
                let line = line_of(&first.text, at);
                let problem = format_args!("stands also in {} line {line}", first.name);
                Err(place.wrong(Some(offset..offset), problem, "keep one of them"))
            }
        }
    }

    fn host_pattern(&mut self, file: &SourceFile, word: &Spanned<String>) -> Result<(), BundleError> {
        let pattern = word.get_ref();
        let place = Place { file, thing: &format!("host pattern {pattern:?}") };
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".-_*?".contains(&byte);
        let telling = pattern.bytes().any(|byte| byte.is_ascii_alphanumeric());
        if pattern.len() > 253 || !telling || !pattern.bytes().all(legal) {
            let remedy =
                "write a host name with * or ? in it, like \"*.prod.example\", and never \"*\" alone";
            return Err(place.wrong(Some(word.span()), "is not one", remedy));
        }
        if self.host_patterns.len() >= MOST_HOST_PATTERNS {
            let problem = format_args!("is one more than {MOST_HOST_PATTERNS}");
            return Err(place.wrong(Some(word.span()), problem, "join some"));
        }
        if !self.host_patterns.contains(pattern) {
            self.host_patterns.push(pattern.clone());
        }
        Ok(())
    }

    fn operator(
        &mut self,
        file: &'a SourceFile,
        written: &written::WrittenOperator,
    ) -> Result<(), BundleError> {
        let thing = format!("operator {:?}", written.name.get_ref());
        let place = Place { file, thing: &thing };
        let operator = Operator::check(written, place)?;
        self.once(&thing, file, written.name.span().start, &place)?;
        full(self.operators.len(), MOST_THINGS, "operators")?;
        self.operators.insert(operator.name().clone(), operator);
        Ok(())
    }

    fn target(&mut self, file: &'a SourceFile, written: &written::WrittenTarget) -> Result<(), BundleError> {
        let thing = format!("target {:?}", written.name.get_ref());
        let place = Place { file, thing: &thing };
        let target = Target::check(written, place)?;
        self.once(&thing, file, written.name.span().start, &place)?;
        full(self.targets.len(), MOST_THINGS, "targets")?;
        self.dangling.extend(written.via.iter().map(|word| Link::to(Kind::Target, file, &thing, word)));
        self.targets.insert(target.name().clone(), target);
        Ok(())
    }

    fn grant(&mut self, file: &'a SourceFile, written: &written::WrittenGrant) -> Result<(), BundleError> {
        let thing = format!("grant {:?}", written.name.get_ref());
        let place = Place { file, thing: &thing };
        let grant = Grant::check(written, &mut self.patterns, place)?;
        self.once(&thing, file, written.name.span().start, &place)?;
        full(self.grants.len(), MOST_GRANTS, "grants")?;
        if self.patterns.too_many() {
            let problem = format_args!("has more than {} different globs", patterns::MOST_GLOBS);
            return Err(whole(problem, "name targets by labels"));
        }
        let link = |word: &Spanned<String>, kind| Link::to(kind, file, &thing, word);
        let operators = written.operators.iter().flat_map(Spanned::get_ref);
        self.dangling.extend(operators.map(|word| link(word, Kind::Operator)));
        let targets = written.targets.iter().flat_map(Spanned::get_ref).zip(grant.targets());
        let exact = targets.filter(|(_, pattern)| matches!(pattern, TargetPattern::Exact(_)));
        self.dangling.extend(exact.map(|(word, _)| link(word, Kind::Target)));
        let posture = written.require.as_ref().and_then(|require| require.get_ref().posture.as_ref());
        self.dangling.extend(posture.map(|word| link(word, Kind::Level)));
        self.grants.push(grant);
        Ok(())
    }

    fn level(&mut self, file: &'a SourceFile, written: &written::WrittenLevel) -> Result<(), BundleError> {
        let thing = format!("level {:?}", written.name.get_ref());
        let place = Place { file, thing: &thing };
        let level = level::Written::check(written, &self.conditions, place)?;
        self.once(&thing, file, written.name.span().start, &place)?;
        full(self.levels.len(), level::MOST_LEVELS, "levels")?;
        let included = written.includes.iter().flat_map(Spanned::get_ref);
        self.dangling.extend(included.map(|word| Link::to(Kind::Level, file, &thing, word)));
        self.levels.insert(level.name, (level.includes, level.checks));
        Ok(())
    }

    /// The levels with the built-in ones, each with all it includes.
    pub(super) fn settled(&mut self) -> Result<Levels, BundleError> {
        if !self.levels.contains_key(&Level::healthy()) {
            let healthy = level::Written::built_in(&self.conditions)?;
            self.levels.insert(healthy.name, (healthy.includes, healthy.checks));
        }
        if self.levels.values().map(|(_, checks)| checks.len()).sum::<usize>() > level::MOST_CHECKS {
            let problem = format_args!("has more than {} checks of levels", level::MOST_CHECKS);
            return Err(whole(problem, "join some"));
        }
        let levels = std::mem::take(&mut self.levels);
        Levels::of(levels).map_err(|Circle(level)| {
            let thing = format!("level {:?}", level.as_str());
            match self.seen.get(&thing) {
                Some((file, at)) => {
                    Place { file, thing: &thing }.wrong(Some(*at..*at), "includes itself", "break the circle")
                }
                None => whole(format_args!("has a {thing} that includes itself"), "break the circle"),
            }
        })
    }

    /// Every name that is written out is borne by something.
    pub(super) fn links(&self) -> Result<(), BundleError> {
        for link in &self.dangling {
            let (there, what) = match link.kind {
                Kind::Operator => (Known::operator(self, &link.name), "operator"),
                Kind::Target => (Known::target(self, &link.name), "target"),
                Kind::Level => (Known::level(self, &link.name), "level"),
            };
            if !there {
                let place = Place { file: link.file, thing: &link.thing };
                let problem =
                    format_args!("names the {what} {:?}, which the bundle does not have", link.name);
                let remedy = format_args!("add [[{what}]] or correct the name");
                return Err(place.wrong(Some(link.offset..link.offset), problem, remedy));
            }
        }
        self.gateways()
    }

    /// Every gateway can be gone through, and none leads back.
    fn gateways(&self) -> Result<(), BundleError> {
        for target in self.targets.values() {
            if let Err(wrong) = gateways::check(&self.targets, target) {
                let thing = format!("target {:?}", target.name().as_str());
                let (problem, remedy) = (wrong.to_string(), wrong.remedy());
                return Err(match self.seen.get(&thing) {
                    Some((file, at)) => Place { file, thing: &thing }.wrong(Some(*at..*at), problem, remedy),
                    None => whole(format_args!("has a {thing} that {problem}"), remedy),
                });
            }
        }
        Ok(())
    }
}

fn full(count: usize, most: usize, what: &str) -> Result<(), BundleError> {
    if count < most {
        return Ok(());
    }
    Err(whole(format_args!("has more than {most} {what}"), "split the site or remove some"))
}
