//! The way to a target: a socket of our own, or a stream through a gateway, which is a target itself.
//! Never says who is at its end: the host key is checked on whatever came out of here.

use std::net::IpAddr;
use std::pin::Pin;

use keys::Allow;
use policy::{AccountName, Target};
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;

use super::ConnectError;
use super::arrivals::Expects;
use super::dial::{dial, usable};
use super::line::Line;
use super::passage::Passage;
use super::visit::{self, Errand, Visit};
use crate::bastion::Bastion;
use crate::recording::Through;

/// A way on which nothing was said yet.
pub(super) struct Road {
    pub(super) stream: Either<Line, Passage>,
    /// Where it leads.
    pub(super) address: String,
    /// How the target sees us; not known behind a gateway.
    pub(super) local: Option<IpAddr>,
    /// The gateways on it.
    pub(super) via: Vec<Through>,
    /// The connection that it goes through.
    pub(super) gateway: Option<Box<Visit>>,
}

type Opening<'a> = Pin<Box<dyn Future<Output = Result<Visit, ConnectError>> + Send + 'a>>;

/// Goes to where the target of an errand is registered.
pub(super) async fn to(
    bastion: &Bastion,
    errand: &Errand<'_>,
    kill: &CancellationToken,
) -> Result<Road, ConnectError> {
    let target = errand.target;
    let Some(name) = target.via() else { return direct(target).await };
    let missing = |why: &str| ConnectError::Registered { why: format!("its gateway {name} {why}") };
    let gateway = errand.bundle.target(name).ok_or_else(|| missing("is not registered"))?;
    let account = gateway.default_account().ok_or_else(|| missing("has no default_account"))?;
    let address = target.address();
    // A name is resolved by the gateway. What is written out can be looked at.
    if address.host().parse().is_ok_and(|ip| !usable(ip)) {
        return Err(ConnectError::Address { why: format!("{address} is no address of a server") });
    }
    let visit = open(bastion, errand, gateway, account, kill.clone())
        .await
        .map_err(|why| ConnectError::Gateway { gateway: name.clone(), why: Box::new(why) })?;
    let passage = visit.passage(address).await.map_err(|why| match why {
        ConnectError::NotThere => ConnectError::Unreachable {
            address: address.to_string(),
            why: format!("the gateway {name} could not connect to it"),
        },
        ConnectError::Request { .. } => {
            ConnectError::Barred { gateway: name.clone(), address: address.to_string() }
        }
        other => ConnectError::Gateway { gateway: name.clone(), why: Box::new(other) },
    })?;
    let mut via = visit.reached.via.clone();
    let reached = visit.reached.address.clone();
    via.push(Through { target: name.clone(), account: account.clone(), address: reached });
    let (stream, gateway) = (Either::Right(passage), Some(Box::new(visit)));
    Ok(Road { stream, address: address.to_string(), local: None, via, gateway })
}

async fn direct(target: &Target) -> Result<Road, ConnectError> {
    let (stream, address) = dial(&target.address().to_string()).await?;
    let local = stream.local_addr().map_err(ConnectError::protocol)?.ip();
    let (stream, address) = (Either::Left(Line::new(stream)), address.to_string());
    Ok(Road { stream, address, local: Some(local), via: Vec::new(), gateway: None })
}

/// A connection to the gateway that may forward and nothing else. Boxed: the way to it may lead through another one.
fn open<'a>(
    bastion: &'a Bastion,
    errand: &'a Errand<'_>,
    gateway: &'a Target,
    account: &'a AccountName,
    kill: CancellationToken,
) -> Opening<'a> {
    let errand = Errand {
        bundle: errand.bundle,
        target: gateway,
        account,
        key_id: errand.key_id.clone(),
        allow: Allow { forward: true, ..Allow::default() },
        expects: Expects::default(),
        is_gateway: true,
    };
    Box::pin(visit::open(bastion, errand, kill, None))
}
