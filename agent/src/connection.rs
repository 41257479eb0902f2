//! One client's connection to the agent, from its first message to its end.
//! It never offers the device identity when anything about the binding is not right, and then still serves the person's own keys.

use std::path::Path;

use tokio::net::UnixStream;
use tracing::{debug, info, warn};

use crate::behind::Behind;
use crate::bind::{Bound, Pins};
use crate::identity::{Maker, Offer};
use crate::wire::{
    FAILURE, Identities, Malformed, Request, SUCCESS, SessionBind, SignRequest, read_frame, signature_answer,
    write_frame,
};

/// What this agent connection is bound to.
enum Standing {
    /// Nothing yet.
    Open,
    /// Our bastion: the device identity may be offered.
    Bound(Bound),
    /// Something else, or twice: never the device identity, for as long as the connection lasts.
    Barred,
}

/// A client's connection.
pub(crate) struct Connection<'a> {
    maker: &'a Maker,
    pins: &'a Pins,
    behind: Behind,
    standing: Standing,
    offer: Option<Offer>,
}

impl<'a> Connection<'a> {
    pub(crate) fn new(maker: &'a Maker, pins: &'a Pins, own_agent: Option<&Path>) -> Self {
        Self { maker, pins, behind: Behind::at(own_agent), standing: Standing::Open, offer: None }
    }

    /// Answers until the client goes.
    pub(crate) async fn serve(mut self, mut stream: UnixStream) -> std::io::Result<()> {
        while let Some(message) = read_frame(&mut stream).await? {
            let answer = self.answer(&message).await;
            write_frame(&mut stream, &answer).await?;
        }
        Ok(())
    }

    async fn answer(&mut self, message: &[u8]) -> Vec<u8> {
        match Request::read(message) {
            Request::Bind(bind) => {
                let ours = self.bind(bind);
                // The person's agent judges by itself: its keys may be bound to servers too.
                let theirs = self.behind.ask(message).await;
                if ours { SUCCESS.to_vec() } else { theirs.unwrap_or_else(|| FAILURE.to_vec()) }
            }
            Request::Identities => self.identities(message).await,
            Request::Sign(request) if self.is_device(request) => self.sign(request),
            _ => self.behind.ask_person(message).await.unwrap_or_else(|| FAILURE.to_vec()),
        }
    }

    /// Takes a bind; true when the connection is now bound to our bastion.
    fn bind(&mut self, bind: Result<SessionBind<'_>, Malformed>) -> bool {
        let now = self.maker.clock.unix();
        let checked = bind.map_err(|why| why.to_string());
        let checked = checked.and_then(|bind| self.pins.check(bind, now).map_err(|why| why.to_string()));
        let next = match (&self.standing, checked) {
            (Standing::Open, Ok(bound)) => Standing::Bound(bound),
            // OpenSSH takes the same bind twice as well.
            (Standing::Bound(before), Ok(bound)) if *before == bound => return true,
            (_, Ok(_)) => {
                warn!("bound twice; no device identity is offered");
                Standing::Barred
            }
            (_, Err(why)) => {
                debug!("no device identity is offered: {why}");
                Standing::Barred
            }
        };
        self.offer = None;
        self.standing = next;
        matches!(self.standing, Standing::Bound(_))
    }

    async fn identities(&mut self, message: &[u8]) -> Vec<u8> {
        let theirs = self.behind.ask(message).await;
        let mut list = theirs.and_then(|answer| Identities::parse(&answer).ok()).unwrap_or_default();
        if let Some(offer) = self.offer().await {
            list.lead(offer.certificate(), Offer::comment());
        }
        list.answer()
    }

    /// The identity of this connection, made when it is first asked for and again when it is spent.
    async fn offer(&mut self) -> Option<&Offer> {
        let Standing::Bound(bound) = &self.standing else { return None };
        let now = self.maker.clock.unix();
        if !self.offer.as_ref().is_some_and(|offer| offer.holds(now)) {
            self.offer = match self.maker.offer(bound).await {
                Ok(offer) => {
                    info!("a device identity is offered to the bastion");
                    Some(offer)
                }
                Err(why) => {
                    warn!("no device identity could be made: {why}");
                    None
                }
            };
        }
        self.offer.as_ref()
    }

    fn is_device(&self, request: SignRequest<'_>) -> bool {
        self.offer.as_ref().is_some_and(|offer| offer.certificate() == request.key)
    }

    fn sign(&mut self, request: SignRequest<'_>) -> Vec<u8> {
        let now = self.maker.clock.unix();
        match self.offer.as_mut().map(|offer| offer.sign(request.data, now)) {
            Some(Ok(signature)) => signature_answer(&signature),
            Some(Err(why)) => {
                warn!("a signature by the device identity was refused: {why}");
                FAILURE.to_vec()
            }
            None => FAILURE.to_vec(),
        }
    }
}
