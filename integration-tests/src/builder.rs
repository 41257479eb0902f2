//! What a scene consists of, told before it starts, and the files that say so to the bastion.
//! It never starts a process but `ssh-keygen` and the bastion's own commands.

use std::fmt::Write as _;
use std::path::Path;

use crate::clock;
use crate::codes::Phone;
use crate::small_disk::SmallDisk;
use crate::target::{Target, keygen};
use crate::{Rig, bartizan, printed};

/// The account on every target: `sshd` can make anybody else only when it runs as root, and root it can always make.
pub const ACCOUNT: &str = "root";

/// Describes a scene.
#[derive(Default)]
pub struct Builder {
    plan: Plan,
    idle_targets: bool,
    own_clock: bool,
    megabytes: Option<u64>,
}

/// What the bundle and the configuration say.
#[derive(Clone)]
pub(crate) struct Plan {
    operators: Vec<Person>,
    targets: Vec<Wanted>,
    fresh: String,
    /// Section and line, for `bartizan.toml`.
    settings: Vec<(String, String)>,
    grants: bool,
    /// What the grant allows besides programs and files.
    allow: Vec<String>,
    forward_to: Vec<String>,
}

#[derive(Clone)]
struct Person {
    name: String,
    roles: Vec<String>,
    phone: bool,
}

#[derive(Clone, Default)]
struct Wanted {
    name: String,
    granted: bool,
    terms: Vec<String>,
    /// More lines in the bundle.
    lines: Vec<String>,
    password: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            operators: Vec::new(),
            targets: Vec::new(),
            fresh: "8h".into(),
            settings: Vec::new(),
            grants: true,
            allow: Vec::new(),
            forward_to: Vec::new(),
        }
    }
}

impl Builder {
    /// An operator with a key, a device and a phone, who may do everything on every granted target.
    pub fn operator(mut self, name: &str) -> Self {
        let roles = vec!["ops".to_owned()];
        self.plan.operators.push(Person { name: name.to_owned(), roles, phone: true });
        self
    }

    /// One more role of the last operator.
    pub fn role(mut self, role: &str) -> Self {
        self.plan.operators.last_mut().expect("an operator comes first").roles.push(role.to_owned());
        self
    }

    /// The last operator has no phone yet.
    pub fn without_phone(mut self) -> Self {
        self.plan.operators.last_mut().expect("an operator comes first").phone = false;
        self
    }

    /// A target that every operator may reach.
    pub fn target(mut self, name: &str) -> Self {
        self.plan.targets.push(Wanted { name: name.to_owned(), granted: true, ..Wanted::default() });
        self
    }

    /// A target that exists and that nobody may reach.
    pub fn forbidden_target(mut self, name: &str) -> Self {
        self.plan.targets.push(Wanted { name: name.to_owned(), ..Wanted::default() });
        self
    }

    /// One more line of sshd_config for the last target; it wins over the usual one.
    pub fn sshd(mut self, term: &str) -> Self {
        self.last_target().terms.push(term.to_owned());
        self
    }

    /// One more line of the bundle about the last target.
    pub fn line(mut self, line: &str) -> Self {
        self.last_target().lines.push(line.to_owned());
        self
    }

    /// The last target lets root in by [`crate::PASSWORD`] alone.
    pub fn password(mut self) -> Self {
        self.last_target().password = true;
        self.sshd("PasswordAuthentication yes").sshd("PermitRootLogin yes").sshd("PubkeyAuthentication no")
    }

    fn last_target(&mut self) -> &mut Wanted {
        self.plan.targets.last_mut().expect("a target comes first")
    }

    /// One more thing that every operator may do on a granted target: `agent`, `x11`, `reverse-forward`, `subsystem:NAME`.
    pub fn allow(mut self, word: &str) -> Self {
        self.plan.allow.push(word.to_owned());
        self
    }

    /// Every operator may forward to there, as seen from a granted target.
    pub fn forward_to(mut self, place: &str) -> Self {
        if self.plan.forward_to.is_empty() {
            self.plan.allow.push("forward".to_owned());
        }
        self.plan.forward_to.push(place.to_owned());
        self
    }

    /// `[login] fresh`: how long a code counts on a device.
    pub fn fresh(mut self, duration: &str) -> Self {
        self.plan.fresh = duration.to_owned();
        self
    }

    /// A line of a section of `bartizan.toml`.
    pub fn setting(mut self, section: &str, line: &str) -> Self {
        self.plan.settings.push((section.to_owned(), line.to_owned()));
        self
    }

    /// Keeps the bastion from starting: the test starts it.
    pub fn without_server(mut self) -> Self {
        self.idle_targets = true;
        self
    }

    /// The scene has a clock of its own: [`Rig::set_clock`].
    pub fn own_clock(mut self) -> Self {
        self.own_clock = true;
        self
    }

    /// The bastion's folder is a disk of this size.
    pub fn small_disk(mut self, megabytes: u64) -> Self {
        self.megabytes = Some(megabytes);
        self
    }

    /// Makes everything and starts it.
    pub fn start(self) -> Rig {
        let folder = tempfile::Builder::new().prefix("bartizan-test-").tempdir().unwrap();
        let state = folder.path().join("bartizan");
        let disk = self.megabytes.map(|megabytes| SmallDisk::mount(&state, megabytes));
        if self.own_clock {
            clock::begin(folder.path());
        }
        let say = |words: &[&str]| printed(bartizan(&state, words), words);
        say(&["init"]);
        std::fs::write(state.join("bartizan.toml"), self.plan.configuration()).unwrap();
        let user_ca = say(&["ca", "show", "user"]);
        let host_ca = say(&["ca", "show", "host"]);
        known_hosts(folder.path(), &host_ca, &self.plan);
        let targets: Vec<Target> = self
            .plan
            .targets
            .iter()
            .map(|Wanted { name, terms, password, .. }| {
                Target::start(folder.path(), name, &user_ca, terms, *password)
            })
            .collect();
        let bundle = folder.path().join("bundle");
        std::fs::create_dir(&bundle).unwrap();
        self.plan.write(&bundle, &targets);
        say(&["access", "apply", bundle.to_str().unwrap()]);
        let phones =
            self.plan.operators.iter().filter_map(|person| enrol(folder.path(), person, &say)).collect();
        let mut rig =
            Rig { plan: self.plan, server: None, targets, phones, count: 0.into(), _disk: disk, folder };
        if !self.idle_targets {
            rig.start_server();
        }
        rig
    }
}

impl Plan {
    pub(crate) fn without_grants(&self) -> Self {
        Self { grants: false, ..self.clone() }
    }

    /// The grants for programs and files alone.
    pub(crate) fn without_forwards(&self) -> Self {
        Self { allow: Vec::new(), forward_to: Vec::new(), ..self.clone() }
    }

    /// `bartizan.toml`: a free port, a plain device key as proof, and what the scene asked for.
    fn configuration(&self) -> String {
        let mut sections: Vec<(&str, Vec<&str>)> = vec![
            ("ssh", vec!["listen = [\"127.0.0.1:0\"]", "names = [\"bastion.test\"]"]),
            ("device", vec!["require = \"managed\"", "evidence = \"key\""]),
        ];
        for (section, line) in &self.settings {
            match sections.iter_mut().find(|(name, _)| name == section) {
                Some((_, lines)) => {
                    let key = line.split('=').next().unwrap();
                    lines.retain(|known| !known.starts_with(key));
                    lines.push(line);
                }
                None => sections.push((section, vec![line])),
            }
        }
        sections.iter().map(|(name, lines)| format!("[{name}]\n{}\n", lines.join("\n"))).collect()
    }

    /// Writes the bundle.
    pub(crate) fn write(&self, folder: &Path, targets: &[Target]) {
        let mut text =
            format!("[login]\nrequire = {{ factors = [\"key\", \"code\"] }}\nfresh = \"{}\"\n", self.fresh);
        for Person { name, roles, .. } in &self.operators {
            let _ = write!(text, "\n[[operator]]\nname = \"{name}\"\nroles = {roles:?}\n");
        }
        for (target, wanted) in targets.iter().zip(&self.targets) {
            let lines: String = wanted.lines.iter().map(|line| format!("{line}\n")).collect();
            let (name, address, key) = (target.name(), target.address(), target.host_key());
            let _ = write!(
                text,
                "\n[[target]]\nname = \"{name}\"\naddress = \"{address}\"\nhost_keys = [\"{key}\"]\naccounts = [\"{ACCOUNT}\"]\n\
                 default_account = \"{ACCOUNT}\"\n{lines}"
            );
        }
        let granted: Vec<String> =
            self.targets.iter().filter(|t| t.granted).map(|t| format!("\"{}\"", t.name)).collect();
        if self.grants && !granted.is_empty() {
            let more: String = self.allow.iter().map(|word| format!(", \"{word}\"")).collect();
            let places = match self.forward_to.as_slice() {
                [] => String::new(),
                some => format!("forward_to = {some:?}\n"),
            };
            let _ = write!(
                text,
                "\n[[grant]]\nname = \"ops\"\nroles = [\"ops\"]\ntargets = [{}]\naccounts = [\"{ACCOUNT}\"]\n\
                 allow = [\"shell\", \"exec\", \"upload\", \"download\"{more}]\n{places}",
                granted.join(", ")
            );
        }
        std::fs::write(folder.join("scene.toml"), text).unwrap();
    }
}

/// Trusts the bastion's host CA for its name and for the targets behind it, and nothing else.
fn known_hosts(folder: &Path, host_ca: &str, plan: &Plan) {
    let targets: String = plan.targets.iter().map(|target| format!(",{}", target.name)).collect();
    let lines: String =
        host_ca.lines().map(|key| format!("@cert-authority bastion.test{targets} {key}\n")).collect();
    std::fs::write(folder.join("known_hosts"), lines).unwrap();
}

/// Gives an operator a key, a device and, if they are to have one, a phone.
fn enrol(folder: &Path, person: &Person, say: &impl Fn(&[&str]) -> String) -> Option<Phone> {
    let (name, with_phone) = (person.name.as_str(), person.phone);
    let (person, device, seed) = (
        folder.join(format!("{name}-key")),
        folder.join(format!("{name}-device")),
        folder.join(format!("{name}-seed")),
    );
    keygen(&person, name);
    keygen(&device, &format!("{name}-laptop"));
    let public = |path: &Path| path.with_extension("pub").to_str().unwrap().to_owned();
    say(&["operator", "key", "add", name, &public(&person)]);
    say(&["device", "register", &format!("{name}-laptop"), "--operator", name, "--key", &public(&device)]);
    if !with_phone {
        return None;
    }
    let phone = Phone::new(name);
    std::fs::write(&seed, format!("{}\n", phone.base32())).unwrap();
    say(&["operator", "totp", name, "--secret-file", seed.to_str().unwrap()]);
    Some(phone)
}
