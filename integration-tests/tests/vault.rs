//! Targets that trust no certificate: the bastion logs in by a key or a password of its vault, at real servers.
//! It never shows a secret to anybody but the target whose it is, and never reads one in clear from the bastion's folder.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use bartizan_integration_tests::{
    DEADLINE, PASSWORD, Rig, Route, Terminal, binary, by_both_routes, free_port, until,
    where_root_has_a_password,
};

/// Exit status of a refused channel.
const REFUSED: i32 = 254;

by_both_routes! {
    a_vaulted_key_logs_in_where_authorized_keys_alone_count,
    a_vaulted_password_logs_in_and_a_wrong_one_does_not,
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A key pair in a folder of its own; the private file.
fn key(folder: &Path, name: &str, options: &[&str]) -> PathBuf {
    let path = folder.join(name);
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-C", name]).args(options).arg("-f").arg(&path);
    assert!(keygen.status().unwrap().success());
    path
}

fn fingerprint(key: &Path) -> String {
    let said = Command::new("ssh-keygen").arg("-lf").arg(key.with_extension("pub")).output().unwrap();
    String::from_utf8(said.stdout).unwrap().split(' ').nth(1).unwrap().to_owned()
}

/// Puts what a file holds into the vault.
fn vault(rig: &Rig, name: &str, option: &str, file: &Path, more: &[&str]) -> Output {
    let words = ["vault", "add", name, option, file.to_str().unwrap()];
    rig.bartizan(&[&words[..], more].concat())
}

fn stored(output: Output) -> String {
    assert!(output.status.success(), "{}", told(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn password(rig: &Rig, name: &str, password: &str, more: &[&str]) {
    let file = rig.path(format!("{name}-password"));
    std::fs::write(&file, format!("{password}\n")).unwrap();
    stored(vault(rig, name, "--password-file", &file, more));
}

/// The end of the one channel there was.
fn ended(rig: &Rig) -> serde_json::Value {
    until("the channel's end in the log", DEADLINE, || {
        rig.events()
            .into_iter()
            .find(|event| event["type"] == "channel.session" && event["outcome"] != "opened")
    })
}

fn nothing_in_clear(folder: &Path, secret: &str) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            nothing_in_clear(&path, secret);
        } else if let Ok(bytes) = std::fs::read(&path) {
            let there = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!there, "{} holds the secret", path.display());
        }
    }
}

fn a_vaulted_key_logs_in_where_authorized_keys_alone_count(route: Route) {
    let folder = tempfile::tempdir().unwrap();
    let kinds: [(&str, &[&str]); 3] = [
        ("ed", &["-t", "ed25519", "-N", ""]),
        ("rsa", &["-t", "rsa", "-b", "2048", "-N", ""]),
        ("ec", &["-t", "ecdsa", "-b", "384", "-N", ""]),
    ];
    let mut scene = Rig::new().operator("ana");
    for (name, options) in kinds {
        let public = key(folder.path(), name, options).with_extension("pub");
        scene = scene
            .target(name)
            .sshd(&format!("AuthorizedKeysFile {}", public.display()))
            .sshd("TrustedUserCAKeys none")
            .line(&format!("login = \"key:{name}\""));
    }
    let rig = scene.start();
    let ana = rig.client("ana").by(route);
    for (name, _) in kinds {
        let path = folder.path().join(name);
        let said = stored(vault(&rig, name, "--key-file", &path, &[]));
        let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
        assert_eq!(said.split(' ').nth(1), public.split(' ').nth(1), "the public half is printed");
        let output = ana.ssh(name, "echo in; printenv SSH_USER_AUTH || true");
        assert_eq!(output.stdout, b"in\n", "{name}: {}", told(&output));
        let log = rig.target(name).log();
        assert!(log.contains("Accepted publickey for root") && log.contains(&fingerprint(&path)), "{log}");
        let secret = std::fs::read_to_string(&path).unwrap();
        nothing_in_clear(&rig.state(), secret.lines().nth(2).unwrap());
    }
    rig.sealed_recordings(3);
    let logins: Vec<_> = rig
        .events()
        .into_iter()
        .filter_map(|event| event["detail"]["target_login"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(logins, ["key:ed", "key:rsa", "key:ec"]);
    // A key that the target does not know, then none at all.
    stored(vault(&rig, "ed", "--key-file", &folder.path().join("ec"), &["--replace"]));
    let output = ana.ssh("ed", "echo in");
    assert_eq!(
        (output.stdout.as_slice(), output.status.code()),
        (&b""[..], Some(REFUSED)),
        "{}",
        told(&output)
    );
    let refused = rig.refusal("TARGET-005")["reason"].to_string();
    assert!(refused.contains("the vaulted key ed") && refused.contains("authorized_keys"), "{refused}");
    let before = rig.target("ed").connections();
    let removed = rig.bartizan(&["vault", "remove", "ed"]);
    assert!(told(&removed).contains("ed: the bundle still logs in there with it"), "{}", told(&removed));
    let output = ana.ssh("ed", "echo in");
    assert_eq!(
        (output.stdout.as_slice(), output.status.code()),
        (&b""[..], Some(REFUSED)),
        "{}",
        told(&output)
    );
    assert!(rig.refusal("TARGET-008")["reason"].as_str().unwrap().contains("has no key ed"));
    assert_eq!(rig.target("ed").connections(), before, "nothing was dialled");
    rig.verify_everything();
}

fn a_vaulted_password_logs_in_and_a_wrong_one_does_not(route: Route) {
    let rig = Rig::new().operator("ana").target("db1").password().line("login = \"password:db\"").start();
    let ana = rig.client("ana").by(route);
    password(&rig, "db", "wrong horse", &[]);
    let output = ana.ssh("db1", "echo in");
    assert_eq!(
        (output.stdout.as_slice(), output.status.code()),
        (&b""[..], Some(REFUSED)),
        "{}",
        told(&output)
    );
    assert!(!told(&output).contains("horse"), "{}", told(&output));
    let refused = rig.refusal("TARGET-005")["reason"].to_string();
    assert!(
        refused.contains("the vaulted password db") && refused.contains("would take password"),
        "{refused}"
    );
    password(&rig, "db", PASSWORD, &["--replace"]);
    let output = ana.ssh("db1", "echo in");
    assert_eq!(output.stdout, b"in\n", "{}", told(&output));
    assert!(rig.target("db1").log().contains("Accepted password for root"), "{}", rig.target("db1").log());
    nothing_in_clear(&rig.state(), PASSWORD);
    assert!(!std::fs::read_to_string(rig.path("server.log")).unwrap_or_default().contains("horse"));
    // Another server in its place hears nothing of it.
    let other = Rig::new().target("db2").password().start();
    let (own, others) = (rig.target("db1").address().to_string(), other.target("db2").address().to_string());
    assert!(rig.apply_changed(|text| text.replace(&own, &others)).status.success());
    let output = ana.ssh("db1", "echo in");
    assert_eq!(
        (output.stdout.as_slice(), output.status.code()),
        (&b""[..], Some(REFUSED)),
        "{}",
        told(&output)
    );
    rig.refusal("TARGET-004");
    until("the other server to have heard somebody", DEADLINE, || {
        (other.target("db2").connections() > 0).then_some(())
    });
    let log = other.target("db2").log();
    assert!(!log.contains("password for root"), "it was tried there: {log}");
}

/// A running `dropbear` in which root has a password.
struct Dropbear(Child);

impl Drop for Dropbear {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_appliance_with_a_password_is_logged_in_to_and_what_has_prompts_alone_too() {
    let rig = Rig::new()
        .operator("ana")
        .target("pam1")
        .sshd("UsePAM yes")
        .sshd("KbdInteractiveAuthentication yes")
        .sshd("PasswordAuthentication no")
        .password()
        .line("login = \"password:root\"")
        .target("box1")
        .line("login = \"password:root\"")
        .start();
    password(&rig, "root", PASSWORD, &[]);
    let ana = rig.client("ana");
    let output = ana.ssh("pam1", "echo in");
    assert_eq!(output.stdout, b"in\n", "{}\n{}", told(&output), rig.target("pam1").log());
    assert!(
        rig.target("pam1").log().contains("Accepted keyboard-interactive"),
        "{}",
        rig.target("pam1").log()
    );
    let (host, port) = (rig.path("dropbear-key"), free_port());
    let made = Command::new("dropbearkey").args(["-t", "ed25519", "-f"]).arg(&host).output().unwrap();
    let public = String::from_utf8(made.stdout).unwrap();
    let public = public.lines().find(|line| line.starts_with("ssh-ed25519 ")).unwrap();
    let public = public.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let mut dropbear = where_root_has_a_password(&rig.path("box"));
    dropbear
        .args(["dropbear", "-F", "-E", "-p", &format!("127.0.0.1:{port}"), "-P"])
        .arg(rig.path("dropbear-pid"));
    let dropbear = dropbear.arg("-r").arg(&host).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let _dropbear = Dropbear(dropbear);
    let target = rig.target("box1");
    let (address, key) = (target.address().to_string(), target.host_key().to_owned());
    let moved = |text: String| text.replace(&address, &format!("127.0.0.1:{port}")).replace(&key, &public);
    assert!(rig.apply_changed(moved).status.success());
    until("dropbear to listen", DEADLINE, || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    let output = ana.ssh("box1", "echo in; echo $SSH_CONNECTION | wc -w");
    assert_eq!(output.stdout, b"in\n4\n", "{}", told(&output));
}

#[test]
fn what_the_bundle_names_and_the_vault_has_not_is_said_when_it_is_checked() {
    let rig = Rig::new()
        .operator("ana")
        .role("administrator")
        .target("db1")
        .line("login = \"password:db\"")
        .start();
    let applied = rig.apply_again();
    assert!(applied.status.success(), "the rest of the bundle holds");
    let said = told(&applied);
    assert!(
        said.contains("the vault of tenant default has no password db, and nobody gets in at db1"),
        "{said}"
    );
    // Over SSH it comes by standard input, from an administrator; a key of the same name is no password.
    let ana = rig.client("ana").by(Route::Direct);
    let mut add = ana.command("ssh");
    let add = add.arg("ana@bastion").arg("vault add db --password-file -").stdin(Stdio::piped());
    let mut add = add.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut add.stdin.take().unwrap(), b"s3cret-of-db\n").unwrap();
    let added = add.wait_with_output().unwrap();
    assert!(added.status.success(), "{}", told(&added));
    assert!(!told(&rig.apply_again()).contains("vault"), "now it is there");
    let folder = rig.new_folder("keys");
    let other =
        vault(&rig, "db", "--key-file", &key(&folder, "k", &["-t", "ed25519", "-N", ""]), &["--replace"]);
    assert!(told(&other).contains("db is a password, and a key does not take its place"), "{}", told(&other));
    std::fs::write(folder.join("other"), "another\n").unwrap();
    let again = vault(&rig, "db", "--password-file", &folder.join("other"), &[]);
    assert!(told(&again).contains("exists already; replace it with --replace"), "{}", told(&again));
    let listed: serde_json::Value = serde_json::from_str(&rig.said(&["vault", "list", "--json"])).unwrap();
    let listed = &listed[0];
    assert_eq!(
        (listed["name"].as_str(), listed["kind"].as_str()),
        (Some("db"), Some("password")),
        "{listed}"
    );
    assert_eq!(
        (listed["added_by"].as_str(), &listed["targets"][0]),
        (Some("ana"), &"db1".into()),
        "{listed}"
    );
    assert!(listed.get("sealed").is_none(), "{listed}");
    let events = rig.events();
    let add =
        events.iter().find(|event| event["type"] == "admin.vault.add" && event["outcome"] == "ok").unwrap();
    assert_eq!(add["detail"]["word"]["name"], "db", "{add}");
    assert!(!rig.said(&["audit", "list", "--json"]).contains("s3cret"), "the log has the name alone");
    nothing_in_clear(&rig.state(), "s3cret-of-db");
    let gone = rig.bartizan(&["vault", "remove", "db", "--tenant", "acme"]);
    assert!(told(&gone).contains("the vault of tenant acme has no db"), "{}", told(&gone));
}

#[test]
fn a_key_with_a_passphrase_is_asked_for_it_on_a_terminal_and_refused_without() {
    let folder = tempfile::tempdir().unwrap();
    let file = key(folder.path(), "locked", &["-t", "ed25519", "-N", "open sesame", "-a", "4"]);
    let public = file.with_extension("pub");
    let rig = Rig::new()
        .operator("ana")
        .target("db1")
        .sshd(&format!("AuthorizedKeysFile {}", public.display()))
        .line("login = \"key:ops\"")
        .start();
    let refused = vault(&rig, "ops", "--key-file", &file, &[]);
    assert!(
        !refused.status.success() && told(&refused).contains("run the command on a terminal"),
        "{}",
        told(&refused)
    );
    let add = || {
        let mut add = Command::new(binary("bartizan"));
        add.arg("--dir").arg(rig.state()).args(["vault", "add", "ops", "--key-file"]).arg(&file);
        Terminal::open(add)
    };
    let mut wrong = add();
    wrong.expect("Passphrase of the key: ");
    wrong.line("open barley");
    wrong.expect("this is not the private key's passphrase");
    assert_eq!(wrong.exit(), 1);
    let mut right = add();
    right.expect("Passphrase of the key: ");
    right.line("open sesame");
    let shown = right.expect("key ops is in the vault");
    assert!(!shown.contains("sesame"), "{shown}");
    assert_eq!(right.exit(), 0);
    let output = rig.client("ana").ssh("db1", "echo in");
    assert_eq!(output.stdout, b"in\n", "{}", told(&output));
    assert_eq!(ended(&rig)["detail"]["target_login"], "key:ops");
}
