//! Who and what a quickstart knows: the person, this machine, the demo target and one grant, by the same words as anywhere.
//! It never changes what is there already, so it can be run again, also after it was interrupted.

use std::net::{Ipv4Addr, SocketAddr};

use policy::{AccountName, DeviceName, OperatorName, TargetName};
use tokio::net::TcpListener;

use super::super::keyfile::KeyFile;
use super::super::terminal;
use super::QuickstartError;
use super::words::Voice;
use crate::bastion::Bastion;
use crate::control::fingerprint;

/// The folder of the bundle inside the directory, to be edited and applied again.
const BUNDLE: &str = "bundle";
/// The bundle's one file.
const BUNDLE_FILE: &str = "quickstart.toml";

/// All that is to be known.
pub(super) struct Enrolment<'a> {
    pub(super) voice: &'a Voice,
    pub(super) operator: &'a OperatorName,
    pub(super) account: &'a AccountName,
    pub(super) person: &'a KeyFile,
    /// The public line of the device's key.
    pub(super) device: &'a str,
    pub(super) host: &'a KeyFile,
    pub(super) demo: SocketAddr,
}

impl Enrolment<'_> {
    /// Adds what is missing; gives the name of this machine.
    pub(super) async fn settle(&self) -> Result<String, QuickstartError> {
        let (voice, bastion) = (self.voice, &self.voice.bastion);
        let store = &bastion.store;
        let operator = self.operator.as_str();
        self.bundle().await?;
        if store.operator(operator).await?.is_none() && !bastion.access.bundle().names_operators() {
            voice.say(&["operator", "add", operator, "--role", "demo"], "").await?;
        }
        if store.operator_key(&mark(&self.person.public)?).await?.is_none() {
            voice.say(&["operator", "key", "add", operator, "-"], &self.person.public).await?;
        }
        let device = match store.device_by_key(&mark(self.device)?).await? {
            Some(known) => known.name,
            None => self.register().await?,
        };
        if store.totp(operator).await?.is_none() {
            terminal::out("One-time codes: scan this, or give the address to an authenticator app. It is not shown again.\n\n")
                .map_err(|why| QuickstartError::File { path: "standard output".into(), why })?;
            voice.show(&["operator", "totp", operator]).await?;
        }
        Ok(device)
    }

    /// No token is needed: who vouches for the machine made its key, here and now.
    async fn register(&self) -> Result<String, QuickstartError> {
        let name = self.free_device_name().await?.to_string();
        let line = ["device", "register", &name, "--operator", self.operator.as_str(), "--key", "-"];
        self.voice.say(&line, self.device).await?;
        Ok(name)
    }

    /// Writes and applies the bundle, and again when the demo target had to move. One that was edited is left alone.
    async fn bundle(&self) -> Result<(), QuickstartError> {
        let stored = self.voice.bastion.store.current_bundle().await?;
        let text = self.bundle_text(self.demo);
        let now = match stored.as_ref().map(|s| s.files.as_slice()) {
            None => None,
            Some([only]) if only.name == BUNDLE_FILE => Some(only.content.clone()),
            Some(_) => return Ok(()),
        };
        let written_before = demo_address(&self.voice.bastion).map(|address| self.bundle_text(address));
        if now.as_deref() == Some(text.as_str()) || (now.is_some() && now != written_before) {
            return Ok(());
        }
        let folder = self.voice.bastion.config.dir.join(BUNDLE);
        let file = folder.join(BUNDLE_FILE);
        let failed = |why| QuickstartError::File { path: file.clone(), why };
        std::fs::create_dir_all(&folder).map_err(failed)?;
        std::fs::write(&file, &text).map_err(failed)?;
        self.voice.say(&["access", "apply", &folder.display().to_string()], "").await.map(drop)
    }

    fn bundle_text(&self, demo: SocketAddr) -> String {
        let (account, key) = (self.account, &self.host.public);
        format!(
            "# One target and one grant. Edit, then `bartizan access apply` this folder.\n\n\
             [login]\nrequire = {{ factors = [\"key\", \"code\"] }}\nfresh = \"8h\"\n\n\
             [[target]]\nname = \"demo\"\naddress = \"{demo}\"\nhost_keys = [\"{key}\"]\n\
             accounts = [\"{account}\"]\ndefault_account = \"{account}\"\n\n\
             [[grant]]\nname = \"demo\"\nroles = [\"demo\"]\ntargets = [\"demo\"]\naccounts = [\"{account}\"]\n\
             allow = [\"shell\", \"exec\", \"upload\", \"download\"]\n"
        )
    }

    /// This machine's name, or one like it that no other device has.
    async fn free_device_name(&self) -> Result<DeviceName, QuickstartError> {
        let node = self.voice.bastion.audit.node().to_lowercase();
        let fits = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-';
        let plain: String = node.chars().filter(fits).take(50).collect();
        let plain = plain.trim_start_matches('-');
        let base = if plain.is_empty() { "this-machine" } else { plain };
        for n in 1..1000 {
            let name = if n == 1 { base.to_owned() } else { format!("{base}-{n}") };
            let name = DeviceName::parse(&name).map_err(|why| QuickstartError::Word(why.to_string()))?;
            if self.voice.bastion.store.device(name.as_str()).await?.is_none() {
                return Ok(name);
            }
        }
        Err(QuickstartError::Word(format!("there is no free device name like {base}; retire some devices")))
    }
}

fn mark(line: &str) -> Result<String, QuickstartError> {
    fingerprint(line).map_err(|why| QuickstartError::Word(format!("{line}: {why}")))
}

/// Where the demo target listened last.
fn demo_address(bastion: &Bastion) -> Option<SocketAddr> {
    let name = TargetName::parse("demo").ok()?;
    bastion.access.bundle().target(&name)?.address().to_string().parse().ok()
}

/// A loopback port for the demo target: the one it had, if it is free.
pub(super) async fn demo_listener(bastion: &Bastion) -> std::io::Result<TcpListener> {
    if let Some(address) = demo_address(bastion).filter(|a| a.ip().is_loopback())
        && let Ok(listener) = TcpListener::bind(address).await
    {
        return Ok(listener);
    }
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await
}
