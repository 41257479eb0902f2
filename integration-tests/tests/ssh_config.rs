//! What `ssh-config` prints, held against stock `ssh`: as it reads it (`ssh -G`), and by real jumps with strict host keys.
//! It never edits what was printed: it is appended to a configuration as a person would.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bartizan_integration_tests::{ACCOUNT, Rig};

/// A laptop: a configuration and known hosts of its own.
struct Laptop<'a> {
    rig: &'a Rig,
    folder: PathBuf,
}

impl<'a> Laptop<'a> {
    /// One that knows where the bastion is, and nothing of its keys.
    fn new(rig: &'a Rig) -> Self {
        let folder = rig.new_folder("laptop");
        let keys = rig.path("");
        let text = format!(
            "Host bastion.test\n    HostName 127.0.0.1\n    HostKeyAlias bastion.test\n    IdentityFile {keys}ana-device\n\
             \x20   IdentityFile {keys}ana-key\n    IdentitiesOnly yes\n    NumberOfPasswordPrompts 1\n\
             Host *\n    IdentityAgent none\n    GlobalKnownHostsFile /dev/null\n    HashKnownHosts yes",
            keys = keys.display()
        );
        // As if a person had not ended the last line.
        std::fs::write(folder.join("config"), text).unwrap();
        std::fs::write(folder.join("known_hosts"), "").unwrap();
        Self { rig, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn append(&self, name: &str, text: &str) {
        let mut file = std::fs::OpenOptions::new().append(true).open(self.path(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// Does what the block says: appended to the configuration, its lines put where they belong.
    fn pasted(self, block: &str) -> Self {
        self.append("config", block);
        let line = block.lines().find(|line| line.contains("sed -n")).expect("the line to run");
        let (config, known) = (self.path("config"), self.path("known_hosts"));
        let line = line.trim_start_matches(['#', ' ']).replace("~/.ssh/config", config.to_str().unwrap());
        let line = line.replace("~/.ssh/known_hosts", known.to_str().unwrap());
        assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success(), "{line}");
        self.at_home()
    }

    /// `~/.ssh/known_hosts` is the laptop's own, for the jump's `ssh` too.
    fn at_home(self) -> Self {
        let known = self.path("known_hosts");
        self.append("config", &format!("\nHost *\n    UserKnownHostsFile {}\n", known.display()));
        self
    }

    fn ssh(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("ssh");
        command.arg("-F").arg(self.path("config"));
        self.rig.client("ana").prepare(&mut command);
        command.args(arguments).output().unwrap()
    }

    /// What `ssh` makes of the configuration for a host.
    fn read(&self, host: &str) -> String {
        let output =
            Command::new("ssh").arg("-F").arg(self.path("config")).args(["-G", host]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

fn ran(output: &Output) {
    assert_eq!(output.stdout, b"in\n", "{}", String::from_utf8_lossy(&output.stderr));
}

fn keygen(path: &Path) -> String {
    let made =
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status().unwrap();
    assert!(made.success());
    let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
    public.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[test]
fn one_paste_makes_a_strict_jump_work() {
    let rig = Rig::new().operator("ana").target("db1").target("web1").forbidden_target("vault1").start();
    let laptop = Laptop::new(&rig).pasted(&rig.said(&["ssh-config", "--operator", "ana"]));
    let read = laptop.read("db1");
    for line in [
        &format!("user {ACCOUNT}"),
        "hostname db1",
        "port 22",
        "proxyjump bastion.test",
        "stricthostkeychecking true",
    ] {
        assert!(read.lines().any(|l| l == line), "{line} in\n{read}");
    }
    let bastion = laptop.read("bastion.test");
    let port = format!("port {}", rig.server().address().port());
    assert!(bastion.lines().any(|l| l == port) && bastion.lines().any(|l| l == "user ana"), "{bastion}");
    let unnamed = laptop.read("elsewhere.example");
    assert!(!unnamed.contains("proxyjump") && unnamed.contains("stricthostkeychecking ask"), "{unnamed}");

    ran(&laptop.ssh(&["db1", "echo in"]));
    ran(&laptop.ssh(&["web1", "echo in"]));
    // Another port, as old scripts have it.
    ran(&laptop.ssh(&["-p", "2022", "db1", "echo in"]));
    // A name that was not given is not trusted, though the same bastion would certify it.
    let other = laptop.ssh(&["-o", "StrictHostKeyChecking=yes", "-J", "bastion.test", "vault1", "echo in"]);
    assert_eq!(other.status.code(), Some(255));
    let told = String::from_utf8_lossy(&other.stderr).into_owned();
    assert!(told.contains("Host key verification failed"), "{told}");
    assert_eq!(rig.sealed_recordings(3).len(), 3, "each jump was recorded");
}

#[test]
fn hashed_names_and_an_old_plain_key_do_not_disturb_a_strict_jump() {
    let rig = Rig::new().operator("ana").target("db1").start();
    let laptop = Laptop::new(&rig);
    // What is left of the days before: the server's own key, another's, and a revoked name nearby.
    let (old, own) = (keygen(&laptop.path("old")), rig.target("db1").host_key().to_owned());
    laptop.append("known_hosts", &format!("db1 {old}\n[db1]:2022 {own}\ngithub.example {old}\n"));
    let hash = |laptop: &Laptop<'_>| {
        let hashed =
            Command::new("ssh-keygen").arg("-H").arg("-f").arg(laptop.path("known_hosts")).output().unwrap();
        assert!(hashed.status.success(), "{hashed:?}");
    };
    hash(&laptop);
    let laptop = laptop.pasted(&rig.said(&["ssh-config", "--operator", "ana"]));
    hash(&laptop);
    let known = std::fs::read_to_string(laptop.path("known_hosts")).unwrap();
    assert!(
        known.contains("|1|") && known.contains("@cert-authority bastion.test,[bastion.test]:*,db1,[db1]:*"),
        "{known}"
    );
    ran(&laptop.ssh(&["db1", "echo in"]));
    ran(&laptop.ssh(&["-p", "2022", "db1", "echo in"]));
}

#[test]
fn without_the_lines_a_strict_jump_fails_and_never_asks() {
    let rig = Rig::new().operator("ana").target("db1").start();
    let laptop = Laptop::new(&rig);
    laptop.append("config", &rig.said(&["ssh-config", "--operator", "ana"]));
    let laptop = laptop.at_home();
    let refused = laptop.ssh(&["db1", "echo in"]);
    assert_eq!(refused.status.code(), Some(255));
    assert!(rig.client("ana").prompts().is_empty(), "nothing was asked");
}

#[test]
fn a_file_of_known_hosts_makes_the_block_whole() {
    let rig = Rig::new().operator("ana").target("db1").start();
    let laptop = Laptop::new(&rig);
    let file = laptop.path("a file of 100%");
    let words = ["ssh-config", "--operator", "ana", "--known-hosts", file.to_str().unwrap()];
    laptop.append("config", &rig.said(&words));
    ran(&laptop.ssh(&["db1", "echo in"]));
    let again = rig.bartizan(&words);
    assert_eq!(again.status.code(), Some(1), "a file is never overwritten");
}

#[test]
fn an_operator_gets_their_own_over_ssh_and_nobody_elses() {
    let rig = Rig::new().operator("ana").operator("bob").target("db1").forbidden_target("vault1").start();
    let own = rig.client("ana").word("ssh-config");
    assert_eq!(String::from_utf8(own.stdout).unwrap(), rig.said(&["ssh-config", "--operator", "ana"]));
    let known = rig.client("ana").word("ssh-config --known-hosts -");
    let known = String::from_utf8(known.stdout).unwrap();
    assert!(known.starts_with("@cert-authority bastion.test,[bastion.test]:*,db1,[db1]:* ssh-"), "{known}");
    assert!(!known.contains("vault1") && known.lines().count() == 1);
    let other = rig.client("ana").word("ssh-config --operator bob");
    assert_eq!((other.status.code(), other.stdout.as_slice()), (Some(1), &b""[..]));
    let all = rig.said(&["ssh-config"]);
    assert!(
        all.contains("Host vault1\n") && !all.contains("User ana"),
        "the machine's owner sees every target"
    );
}
