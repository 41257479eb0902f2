//! What the server gives up before it serves: privileges, core dumps, and every file but its own and those that names are
//! resolved by.
//! Never fails a start: what this kernel does not know is left out, and said in the log and by `check`.
//!
//! All of it belongs to the thread that asks and to those it starts, so it is done before there is a second one.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

use crate::config::Config;

/// What the newest rules that are known here can hold; an older kernel holds fewer.
const RULES: ABI = ABI::V5;

/// Read while names are resolved: where the C library keeps its configuration and its modules, and where a local resolver may
/// come to write the file that `/etc/resolv.conf` points at. Folders, because such files are replaced, not rewritten.
const READ: &[&str] = &[
    "/etc",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/nix/store",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
];

static HELD: OnceLock<Confined> = OnceLock::new();

/// What holds this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confined {
    files: Files,
    /// What could not be given up, and why.
    missing: Vec<String>,
}

/// Which files the process can reach.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Files {
    /// Its own, and those names are resolved by.
    Own,
    /// The same, as far as this kernel knows the rules.
    Partly,
    /// Whatever their permissions allow.
    Any(String),
}

/// Keeps secrets out of core dumps and other processes of the same account out of this one. For a server that starts
/// programs of its caller, too: they are not held by it.
pub fn conceal() {
    if let Err(why) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%why, "other processes of this account may look into this one");
    }
}

/// Gives up everything that serving `config` does not need. To be called before the first thread is started, and after the
/// sockets are bound, for a port under 1024 needs a privilege.
pub fn confine(config: &Config) -> &'static Confined {
    conceal();
    let mut missing = Vec::new();
    let mut tried = |what: &str, done: rustix::io::Result<()>| {
        if let Err(why) = done {
            missing.push(format!("{what}: {why}"));
        }
    };
    tried("core dumps", setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }));
    tried("capabilities", drop_capabilities());
    tried("no_new_privs", set_no_new_privs(true));
    let files = match restrict(&own_folders(config)) {
        Ok(RulesetStatus::FullyEnforced) => Files::Own,
        Ok(RulesetStatus::PartiallyEnforced) => Files::Partly,
        Ok(RulesetStatus::NotEnforced) => Files::Any("this kernel has no Landlock".into()),
        Err(why) => Files::Any(why.to_string()),
    };
    let held = HELD.get_or_init(|| Confined { files, missing });
    match held.says() {
        Ok(says) if held.files == Files::Own => tracing::info!("{says}"),
        Ok(says) | Err(says) => tracing::warn!("{says}"),
    }
    held
}

/// What holds this process, when it was confined.
pub fn held() -> Option<&'static Confined> {
    HELD.get()
}

/// Whether this kernel could hold a server to its own files.
pub fn possible() -> bool {
    let asked = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1));
    asked.and_then(Ruleset::create).is_ok()
}

impl Confined {
    /// A line for people; an error when something that every kernel can do was not done.
    pub fn says(&self) -> Result<String, String> {
        let files = match &self.files {
            Files::Own => "no privileges, no core dumps, no files but its own".to_owned(),
            Files::Partly => {
                "no privileges, no core dumps, no files but its own as far as this kernel can hold it"
                    .to_owned()
            }
            Files::Any(why) => {
                format!("no privileges, no core dumps; files are kept by their permissions alone: {why}")
            }
        };
        if self.missing.is_empty() {
            Ok(files)
        } else {
            Err(format!("not held: {}", self.missing.join("; ")))
        }
    }
}

/// Takes every capability from every set. The bounding set may only be cut by who has the right to; with `no_new_privs` and
/// nothing permitted it gives nothing to anybody.
fn drop_capabilities() -> rustix::io::Result<()> {
    let held = capabilities(None)?;
    let _ = clear_ambient_capability_set();
    if held.effective.contains(CapabilitySet::SETPCAP) {
        for capability in CapabilitySet::all().iter() {
            let _ = remove_capability_from_bounding_set(capability);
        }
    }
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
}

/// The directory, and what of it lies elsewhere: behind a link, or where `[store] url` says.
fn own_folders(config: &Config) -> Vec<PathBuf> {
    let mut own = vec![
        config.dir.clone(),
        config.recordings_dir(),
        config.log_dir(),
        config.keys_dir(),
        config.access_dir(),
    ];
    let database = config.database();
    let behind = std::fs::canonicalize(&database).ok();
    own.extend([Some(&database), behind.as_ref()].into_iter().flatten().filter_map(|file| folder_of(file)));
    own
}

/// The folder of a file; none for a file at the root, whose folder is everything.
fn folder_of(file: &Path) -> Option<PathBuf> {
    file.parent().filter(|folder| folder.parent().is_some()).map(Path::to_owned)
}

/// The folder of the file that `/etc/resolv.conf` points at, where that is a folder of its own.
fn resolver_folder() -> Option<PathBuf> {
    folder_of(&std::fs::canonicalize("/etc/resolv.conf").ok()?)
}

fn restrict(own: &[PathBuf]) -> Result<RulesetStatus, RulesetError> {
    let whole = AccessFs::from_all(RULES);
    let written = whole
        & !(AccessFs::Execute
            | AccessFs::MakeChar
            | AccessFs::MakeBlock
            | AccessFs::MakeFifo
            | AccessFs::IoctlDev);
    let read: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
    // No further port is ever bound: nothing may be made to listen.
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(whole)?
        .handle_access(AccessNet::BindTcp)?
        .scope(Scope::Signal)?
        .create()?
        .add_rules(path_beneath_rules(own, written))?
        .add_rules(path_beneath_rules(READ, read))?
        .add_rules(path_beneath_rules(resolver_folder(), read))?
        .restrict_self()?;
    Ok(status.ruleset)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a thread of its own: it never gets its files back.
    fn held_to(own: &Path, act: impl FnOnce() + Send + 'static) {
        let own = vec![own.to_owned()];
        std::thread::spawn(move || {
            let status = restrict(&own).expect("rules");
            if status == RulesetStatus::NotEnforced {
                // Nothing to see on a kernel without Landlock; `check` says so.
                return;
            }
            act();
        })
        .join()
        .expect("held");
    }

    #[test]
    fn what_is_outside_can_neither_be_read_nor_written_and_what_is_own_can() {
        let (own, other) = (tempfile::tempdir().expect("own"), tempfile::tempdir().expect("other"));
        let secret = other.path().join("secret");
        std::fs::write(&secret, "theirs").expect("write");
        let (inside, outside) = (own.path().join("a"), other.path().join("b"));
        held_to(own.path(), move || {
            std::fs::write(&inside, "ours").expect("own folder");
            std::fs::rename(&inside, inside.with_extension("new")).expect("own folder");
            std::fs::read("/etc/passwd").expect("who is who");
            for refused in [
                std::fs::read(&secret).map(drop),
                std::fs::write(&outside, "x"),
                std::fs::read("/proc/1/status").map(drop),
            ] {
                assert_eq!(refused.expect_err("outside").kind(), std::io::ErrorKind::PermissionDenied);
            }
            assert!(std::process::Command::new("/bin/true").status().is_err(), "no program is started");
        });
    }

    #[test]
    fn recordings_behind_a_link_are_own_too() {
        let (own, other) = (tempfile::tempdir().expect("own"), tempfile::tempdir().expect("other"));
        std::os::unix::fs::symlink(other.path(), own.path().join("recordings")).expect("link");
        let config = Config::parse(own.path(), "[store]\nurl = \"sqlite:/x.db\"").expect("config");
        let folders = own_folders(&config);
        assert!(!folders.contains(&PathBuf::from("/")), "a database at the root opens nothing else");
        let file = own.path().join("recordings/r");
        std::thread::spawn(move || {
            restrict(&folders).expect("rules");
            std::fs::write(&file, "kept").expect("behind the link");
        })
        .join()
        .expect("held");
    }

    #[test]
    fn nothing_more_can_listen_but_names_resolve_and_connections_are_made() {
        let own = tempfile::tempdir().expect("own");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("before");
        let address = listener.local_addr().expect("address");
        held_to(own.path(), move || {
            use std::net::ToSocketAddrs as _;
            let resolved = ("localhost", address.port()).to_socket_addrs().expect("localhost resolves");
            assert!(resolved.count() > 0);
            std::net::TcpStream::connect(address).expect("connect");
            listener.accept().expect("accept");
            // Kernels before 6.7 cannot hold this back; what they cannot is not asked of them.
            if let Err(why) = std::net::TcpListener::bind("127.0.0.1:0") {
                assert_eq!(why.kind(), std::io::ErrorKind::PermissionDenied);
            }
        });
    }
}
