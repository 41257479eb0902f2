//! Identified -> Authenticated: all that the bundle asks of every login is proven.
//! It never says what may be done; and it is never changed: stepping up makes a new one.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use jiff::Timestamp;
use policy::{DeviceName, Factor, LoginName, OperatorName};
use serde_json::{Map, Value, json};

use super::assurance;
use super::code::CodeProof;
use super::identified::Identified;
use super::recovery::RecoveryProof;
use crate::device::{Assessed, Proven};

/// What was given beside the person's key.
#[derive(Debug)]
pub(super) enum Second {
    /// A one-time code, now or remembered.
    Code(CodeProof),
    /// A recovery code, now.
    Recovery(RecoveryProof),
}

impl Second {
    fn factor(&self) -> (Factor, Timestamp) {
        match self {
            Self::Code(code) => (Factor::Code, code.at()),
            Self::Recovery(recovery) => (Factor::Recovery, recovery.at()),
        }
    }

    /// The authenticator that made it, or that it stood in for.
    pub(super) fn authenticator(&self) -> i64 {
        match self {
            Self::Code(code) => code.authenticator(),
            Self::Recovery(recovery) => recovery.authenticator(),
        }
    }

    /// The code, which alone may be remembered.
    pub(super) fn code(&self) -> Option<&CodeProof> {
        match self {
            Self::Code(code) => Some(code),
            Self::Recovery(_) => None,
        }
    }
}

/// Who logged in, from which device, how and when.
#[derive(Debug)]
pub struct Authenticated {
    assessed: Arc<Assessed>,
    login: LoginName,
    key: String,
    factors: Vec<(Factor, Timestamp)>,
    assurance: u8,
    remembered: bool,
}

impl Authenticated {
    /// What is proven, if it is all that is required; else what is missing.
    pub(super) fn new(
        identified: Identified,
        second: Option<&Second>,
        login: &LoginName,
        required: &BTreeSet<Factor>,
    ) -> Result<Self, Incomplete> {
        let mut factors = vec![(Factor::Key, identified.at())];
        factors.extend(second.map(Second::factor));
        let held: BTreeSet<Factor> = factors.iter().map(|&(factor, _)| factor).collect();
        let stood_in_for = |factor| factor == Factor::Code && held.contains(&Factor::Recovery);
        let missing: Vec<Factor> =
            required.difference(&held).copied().filter(|&factor| !stood_in_for(factor)).collect();
        if !missing.is_empty() {
            return Err(Incomplete { missing });
        }
        Ok(Self {
            login: login.clone(),
            key: identified.key().to_owned(),
            assurance: assurance::of(&held),
            remembered: second.and_then(Second::code).is_some_and(CodeProof::remembered),
            factors,
            assessed: Arc::new(identified.into_assessed()),
        })
    }

    /// The same login with another proof on top, which takes the place of an older one of its kind. This one stays as it is
    /// for whatever rests on it.
    pub(super) fn stepped_up(&self, second: &Second) -> Self {
        let (factor, at) = second.factor();
        let mut factors: Vec<_> = self.factors.iter().copied().filter(|&(kind, _)| kind != factor).collect();
        factors.push((factor, at));
        let held = factors.iter().map(|&(factor, _)| factor).collect();
        Self {
            assessed: self.assessed.clone(),
            login: self.login.clone(),
            key: self.key.clone(),
            assurance: assurance::of(&held),
            remembered: second.code().is_some_and(CodeProof::remembered),
            factors,
        }
    }

    /// Who.
    pub fn operator(&self) -> &OperatorName {
        &self.login.operator
    }

    /// What they wrote before the `@`.
    pub fn login_name(&self) -> &LoginName {
        &self.login
    }

    /// From which device, where one was proven.
    pub fn device(&self) -> Option<&DeviceName> {
        self.assessed.device().map(Proven::name)
    }

    /// The device as it proved itself, for the policy to judge.
    pub fn proven(&self) -> Option<&Proven> {
        self.assessed.device()
    }

    /// The fingerprint of the person's key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What was proven, and when; for a remembered code, when it was given.
    pub fn factors(&self) -> &[(Factor, Timestamp)] {
        &self.factors
    }

    /// When a code or a recovery code was given last in this very connection; none when a remembered one counted.
    pub fn given(&self) -> Option<Timestamp> {
        self.second().filter(|_| !self.remembered)
    }

    /// When the newest code or recovery code that counts was given, wherever that was.
    pub fn second(&self) -> Option<Timestamp> {
        let second = |&&(factor, _): &&(Factor, _)| matches!(factor, Factor::Code | Factor::Recovery);
        self.factors.iter().filter(second).map(|&(_, at)| at).max()
    }

    /// Whether a code counts that was given in an earlier login.
    pub fn remembered(&self) -> bool {
        self.remembered
    }

    pub(super) fn assessed(&self) -> &Assessed {
        &self.assessed
    }

    /// The assurance these reach, 0 to 3.
    pub fn assurance(&self) -> u8 {
        self.assurance
    }

    /// The operator's end of the connection.
    pub fn peer(&self) -> SocketAddr {
        self.assessed.accepted().peer()
    }

    /// Its address.
    pub fn source(&self) -> IpAddr {
        self.peer().ip()
    }

    /// What the log says of this login beside who and from where: the factors and what they amount to.
    pub fn detail(&self) -> Map<String, Value> {
        let factors: Vec<Value> = self
            .factors
            .iter()
            .map(|(factor, at)| json!({ "factor": factor.as_str(), "at": at.to_string() }))
            .collect();
        let evidence = self.assessed.device().map(|device| device.evidence().as_str());
        let device_key = self.assessed.device().map(Proven::fingerprint);
        let mut detail = Map::new();
        detail.insert("login".to_owned(), self.login.to_string().into());
        detail.insert("key".to_owned(), self.key.as_str().into());
        detail.insert("factors".to_owned(), factors.into());
        detail.insert("assurance".to_owned(), self.assurance.into());
        let codes = self.factors.iter().any(|&(factor, _)| factor == Factor::Code);
        detail.insert("codes".to_owned(), codes.into());
        detail.insert("remembered".to_owned(), self.remembered.into());
        detail.insert("evidence".to_owned(), evidence.into());
        detail.insert("device_key".to_owned(), device_key.into());
        detail
    }
}

/// Not everything required is proven.
#[derive(Debug)]
pub(super) struct Incomplete {
    pub(super) missing: Vec<Factor>,
}
