//! Wanted -> Permitted: what an operator asks for, held against the bundle in force. The only caller of `policy::decide`.
//! Never permits by itself and never remembers a decision: it is asked again for every channel and after every change.

mod askable;
mod asked;
mod below;
mod permitted;
mod reach;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use ledger::log::Event;
use policy::{
    AccountName, Assessment, Bundle, BundleError, ChannelKind, Denial, DeviceFacts, OperatorName, Permit,
    Request, RoleName, SourceFile, TargetName, TenantName,
};

use crate::bastion::Bastion;
use crate::channel::Asked;
use crate::device::{Known, Proven};
use crate::login::{Authenticated, Invited, Reason};
use crate::store::{BundleFile, Store, StoreError};

pub use askable::{askable, askable_anywhere};
use asked::{describe_stream, kind_of, leaves_ssh};
pub use below::Below;
use below::{lacking_level, warnings};
pub use permitted::Permitted;
pub use reach::{Reach, Reached, reach};

/// Older than any demand for freshness.
const STALE: Duration = Duration::from_secs(10 * 365 * 86_400);

/// A bundle that cannot be read, checked or stored. The one in force stays.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// It is wrong.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A target's host key cannot be read.
    #[error(
        "target {target}: {what} is not an OpenSSH public key ({why}); paste what `bartizan target scan` prints"
    )]
    HostKey {
        /// The target.
        target: TargetName,
        /// Which list it stands in.
        what: &'static str,
        /// What is wrong.
        why: ssh_key::Error,
    },
    /// A range where single addresses are needed.
    #[error(
        "target {target}: source {from} is a range; name the single addresses the target sees the bastion come from"
    )]
    Source {
        /// The target.
        target: TargetName,
        /// What was written.
        from: String,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The bundle in force.
#[derive(Debug)]
pub struct Access {
    bundle: RwLock<Arc<Bundle>>,
}

impl Access {
    /// The bundle applied last; an empty one, which permits nothing, where none was.
    ///
    /// # Errors
    /// The stored bundle no longer parses: then nothing is served.
    pub async fn load(store: &Store) -> Result<Self, AccessError> {
        let bundle = match store.current_bundle().await? {
            Some(stored) => checked(&stored.files.into_iter().map(source).collect::<Vec<_>>())?,
            None => Bundle::parse(&[])?,
        };
        Ok(Self { bundle: RwLock::new(Arc::new(bundle)) })
    }

    /// The bundle in force.
    pub fn bundle(&self) -> Arc<Bundle> {
        self.bundle.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads a bundle without applying it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(files: &[SourceFile]) -> Result<Bundle, AccessError> {
        checked(files)
    }

    /// Makes `files` the bundle in force, stored and then used; answers its version. The caller audits, and asks
    /// [`crate::live::Live::redecide`] afterwards.
    ///
    /// # Errors
    /// What is wrong with it; nothing has changed then.
    pub async fn apply(
        &self,
        bastion: &Bastion,
        files: Vec<SourceFile>,
        by: &str,
    ) -> Result<u64, AccessError> {
        let bundle = checked(&files)?;
        let stored: Vec<BundleFile> =
            files.into_iter().map(|file| BundleFile { name: file.name, content: file.text }).collect();
        let version = bastion.store.apply_bundle(&stored, by, bastion.clock.unix_ms()).await?;
        *self.bundle.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(bundle);
        Ok(version)
    }
}

fn source(file: BundleFile) -> SourceFile {
    SourceFile { name: file.name, text: file.content }
}

/// Parses, and reads the host keys, which are not the policy's affair.
fn checked(files: &[SourceFile]) -> Result<Bundle, AccessError> {
    let bundle = Bundle::parse(files)?;
    for target in bundle.targets() {
        for (what, keys) in [("host_keys", target.host_keys()), ("host_ca", target.host_ca())] {
            for key in keys {
                ssh_key::PublicKey::from_openssh(key).map_err(|why| AccessError::HostKey {
                    target: target.name().clone(),
                    what,
                    why,
                })?;
            }
        }
        for source in target.source() {
            if source.to_string().parse::<IpAddr>().is_err() {
                return Err(AccessError::Source { target: target.name().clone(), from: source.to_string() });
            }
        }
    }
    Ok(bundle)
}

/// A channel request in an open connection.
#[derive(Debug)]
pub struct Wanted {
    authenticated: Arc<Authenticated>,
    target: Option<TargetName>,
    account: Option<AccountName>,
    reason: Option<Reason>,
    asked: Asked,
}

/// Why a channel is not permitted.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The login name names no target.
    #[error("the login name names no target")]
    NoTarget,
    /// What is asked for is no subsystem's name or no place to forward to.
    #[error("{0}")]
    Malformed(String),
    /// What the command starts would go on without the bastion.
    #[error("the command starts a server that is reached past the bastion: Mosh")]
    LeavesSsh,
    /// The policy says no.
    #[error("{0}")]
    Denied(Box<Denial>),
    /// The device is not at a level that is asked for.
    #[error("{}", .0.cause())]
    Below(Box<Below>),
    /// What the decision rests on cannot be read: that is a no.
    #[error("what the decision rests on cannot be read: {0}")]
    Store(#[from] StoreError),
}

impl Wanted {
    /// What this operator asks for, on this account of this target, for this reason.
    pub fn new(
        authenticated: Arc<Authenticated>,
        target: Option<TargetName>,
        account: Option<AccountName>,
        reason: Option<Reason>,
        asked: Asked,
    ) -> Self {
        Self { authenticated, target, account, reason, asked }
    }

    /// An event of `kind` that names who asked for what.
    pub fn event(&self, bastion: &Bastion, kind: &str) -> Event {
        let mut event = about(bastion, kind, &self.authenticated);
        event.target = self.target.as_ref().map(ToString::to_string);
        event.account = self.account.as_ref().map(ToString::to_string);
        let start = &self.asked.start;
        let kind = kind_of(start).map_or_else(|_| start.word().to_owned(), |kind| kind.word());
        event.detail.insert("kind".into(), kind.into());
        describe_stream(&mut event, start);
        event
    }
}

/// When something was asked for, and why: a running channel is decided again with the ages its proofs had then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment<'a> {
    /// When the channel was asked for.
    pub asked: Timestamp,
    /// When its session began; none when it begins with this channel.
    pub since: Option<Timestamp>,
    /// The reason that its operator gave.
    pub reason: Option<&'a Reason>,
}

/// Asks the policy.
///
/// # Errors
/// A refusal, which says what the log keeps and what the operator is told.
pub async fn permit(
    bastion: &Bastion,
    wanted: Wanted,
    since: Option<Timestamp>,
) -> Result<Permitted, (Wanted, Refused)> {
    let Some(target) = wanted.target.clone() else { return Err((wanted, Refused::NoTarget)) };
    let kind = match kind_of(&wanted.asked.start) {
        Ok(kind) => kind,
        Err(why) => return Err((wanted, Refused::Malformed(why))),
    };
    if leaves_ssh(&wanted.asked.start) {
        return Err((wanted, Refused::LeavesSsh));
    }
    let reason = wanted.reason.clone();
    let moment = Moment { asked: bastion.clock.now(), since, reason: reason.as_ref() };
    let account = wanted.account.as_ref();
    match judge(bastion, &wanted.authenticated, target.as_str(), account, &kind, moment).await {
        Ok((permit, warnings)) => Ok(Permitted {
            authenticated: wanted.authenticated,
            asked: wanted.asked,
            permit,
            at: moment.asked,
            warnings,
            reason,
        }),
        Err(refused) => Err((wanted, refused)),
    }
}

/// Asks the policy whether this operator may do this now; the one place that does.
///
/// # Errors
/// The policy's no, or a store that cannot be read.
pub async fn decide(
    bastion: &Bastion,
    authenticated: &Authenticated,
    target: &str,
    account: Option<&AccountName>,
    kind: &ChannelKind,
    moment: Moment<'_>,
) -> Result<Permit, Refused> {
    judge(bastion, authenticated, target, account, kind, moment).await.map(|(permit, _)| permit)
}

/// As [`decide`], with what will bar the device on a day to come.
async fn judge(
    bastion: &Bastion,
    authenticated: &Authenticated,
    target: &str,
    account: Option<&AccountName>,
    kind: &ChannelKind,
    moment: Moment<'_>,
) -> Result<(Permit, Vec<String>), Refused> {
    let bundle = bastion.access.bundle();
    let held = Held::read(bastion, &bundle, authenticated, moment).await?;
    match held.decide(&bundle, target, account, kind) {
        Ok(permit) => {
            let warnings = held.judged.map(|(of, _)| warnings(&bundle, &permit, &of)).unwrap_or_default();
            Ok((permit, warnings))
        }
        Err(denial) => Err(match (lacking_level(&denial), held.judged) {
            (Some(level), Some((assessment, _))) => Refused::Below(Box::new(Below { level, assessment })),
            _ => Refused::Denied(Box::new(denial)),
        }),
    }
}

/// All that a decision about this operator rests on but for what is asked.
struct Held<'a> {
    authenticated: &'a Authenticated,
    standing: Standing,
    /// The device as it is judged for this moment.
    judged: Option<(Assessment, DeviceFacts)>,
    factors: Vec<policy::Held>,
    now: Timestamp,
    since: Option<Timestamp>,
    reason: Option<&'a Reason>,
}

impl<'a> Held<'a> {
    async fn read(
        bastion: &Bastion,
        bundle: &Bundle,
        authenticated: &'a Authenticated,
        moment: Moment<'a>,
    ) -> Result<Self, StoreError> {
        let standing =
            Standing::read(bastion, bundle, authenticated.operator(), authenticated.proven()).await?;
        let now = bastion.clock.now();
        let judged = standing.device.as_ref().map(|device| {
            let assessment = device.assess(bundle, moment.asked, now);
            let facts = device.facts(&assessment);
            (assessment, facts)
        });
        // A proof from the future means that the clock was set back: such a proof counts as stale.
        let age = |at| Duration::try_from(moment.asked.duration_since(at)).unwrap_or(STALE);
        let factors = authenticated
            .factors()
            .iter()
            .map(|&(factor, at)| policy::Held { factor, age: age(at) })
            .collect();
        let Moment { since, reason, .. } = moment;
        Ok(Self { authenticated, standing, judged, factors, now, since, reason })
    }

    fn decide(
        &self,
        bundle: &Bundle,
        target: &str,
        account: Option<&AccountName>,
        kind: &ChannelKind,
    ) -> policy::Decision {
        policy::decide(bundle, &self.request(target, account, kind))
    }

    fn request<'b>(
        &'b self,
        target: &'b str,
        account: Option<&'b AccountName>,
        kind: &'b ChannelKind,
    ) -> Request<'b> {
        Request {
            operator: self.authenticated.operator(),
            roles: &self.standing.roles,
            tenant: &self.standing.tenant,
            enabled: self.standing.enabled,
            device: self.judged.as_ref().map(|(_, facts)| facts),
            target,
            account,
            kind,
            factors: &self.factors,
            assurance: self.authenticated.assurance(),
            source: self.authenticated.source(),
            reason: self.reason.map(Reason::as_str),
            approvals: 0,
            now: self.now,
            since: self.since,
        }
    }
}

/// Whether a logged-in connection may stay: its operator and its device are still in order.
pub async fn may_stay(bastion: &Bastion, authenticated: &Authenticated) -> bool {
    in_order(bastion, authenticated.operator(), authenticated.proven()).await
}

/// Whether a connection that came by an invitation may stay.
pub async fn may_enrol(bastion: &Bastion, invited: &Invited) -> bool {
    in_order(bastion, invited.operator(), invited.proven()).await
}

async fn in_order(bastion: &Bastion, operator: &OperatorName, device: Option<&Proven>) -> bool {
    let (bundle, proven) = (bastion.access.bundle(), device.is_some());
    match Standing::read(bastion, &bundle, operator, device).await {
        Ok(standing) => standing.enabled && (standing.device.is_some() || !proven),
        Err(_) => false,
    }
}

/// What is true now of an operator and a device that logged in some time ago.
struct Standing {
    enabled: bool,
    roles: BTreeSet<RoleName>,
    tenant: TenantName,
    /// `None` also for a device that is no longer in order.
    device: Option<Known>,
}

impl Standing {
    async fn read(
        bastion: &Bastion,
        bundle: &Bundle,
        operator: &OperatorName,
        proven: Option<&Proven>,
    ) -> Result<Self, StoreError> {
        let device = async {
            let Some(device) = proven else { return Ok(None) };
            Ok(device.still_holds(&bastion.store, operator).await?.then(|| device.known().clone()))
        };
        let (person, device) =
            tokio::try_join!(crate::login::person(&bastion.store, bundle, operator), device)?;
        Ok(match person {
            Some(person) => {
                Self { enabled: person.enabled(), roles: person.roles, tenant: person.tenant, device }
            }
            None => {
                Self { enabled: false, roles: BTreeSet::new(), tenant: TenantName::default(), device: None }
            }
        })
    }
}

/// An event of `kind` about who is logged in.
pub fn about(bastion: &Bastion, kind: &str, authenticated: &Authenticated) -> Event {
    let mut event = bastion.audit.event(kind);
    event.operator = Some(authenticated.operator().to_string());
    event.device = authenticated.device().map(ToString::to_string);
    event
}
