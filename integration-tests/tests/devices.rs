//! A laptop that proves itself to the bastion inside stock `ssh`: enrolled by a token, in order or told what to do, and never
//! replaced by a copy of what it said elsewhere.

use std::process::Output;

use bartizan_integration_tests::{ACCOUNT, Builder, Client, Laptop, Rig, forged};

/// Exit status of a channel that the bastion refused.
const REFUSED: i32 = 254;

const ENCRYPTED: &str = r#"{"disk_encryption":[{"name":"/dev/sda2","encrypted":"1"}]}"#;
const PLAIN: &str = r#"{"disk_encryption":[{"name":"/dev/sda2","encrypted":"0"}]}"#;

const LEVEL: &str = r#"
[[level]]
name = "sealed"

[[level.check]]
name = "disk encryption"
table = "disk_encryption"
when = "resource.encrypted"
mode = "block"
failed = "{name} is not encrypted"
do = "turn on LUKS, run `bartizan-agent refresh`, connect again"
"#;

fn bound() -> Builder {
    Rig::new().operator("ana").target("db1").setting("device", "evidence = \"bound\"")
}

/// Applies the scene's bundle with the level `sealed`, and these words of it replaced.
fn apply(rig: &Rig, from: &str, to: &str) {
    let text = std::fs::read_to_string(rig.path("bundle").join("scene.toml")).unwrap();
    assert!(text.contains(from), "{text}");
    let folder = rig.new_folder("bundle");
    std::fs::write(folder.join("scene.toml"), text.replace(from, to) + LEVEL).unwrap();
    rig.said(&["access", "apply", folder.to_str().unwrap()]);
}

fn sealed_logins(rig: &Rig) {
    apply(rig, "factors = [\"key\", \"code\"]", "factors = [\"key\", \"code\"], posture = \"sealed\"");
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).replace('\r', "")
}

fn goes_in(client: &Client<'_>) {
    let output = client.ssh("db1", "echo in");
    assert_eq!(
        (output.stdout.as_slice(), output.status.code()),
        (&b"in\n"[..], Some(0)),
        "{}",
        told(&output)
    );
}

#[test]
fn an_enrolled_laptop_proves_itself_with_every_login_and_the_log_says_by_what() {
    let rig = bound().start();
    let laptop = Laptop::enrolled(&rig, "ana", "lt-ana", &["--imported"]).running();
    goes_in(&laptop.client());
    goes_in(&laptop.client());
    let events = rig.events();
    let logins: Vec<_> = events.iter().filter(|event| event["type"] == "auth.login").collect();
    assert_eq!(logins.len(), 2, "{logins:#?}");
    for login in logins {
        assert_eq!((login["outcome"].as_str(), login["device"].as_str()), (Some("ok"), Some("lt-ana")));
        assert_eq!(login["detail"]["evidence"], "bound");
    }
    assert!(
        events.iter().any(|event| event["type"] == "device.enrolment" && event["outcome"] == "ok"),
        "{events:#?}"
    );
    let shown = rig.said(&["device", "show", "lt-ana", "--json"]);
    assert!(shown.contains("collected_at"), "{shown}");
}

#[test]
fn a_plain_device_key_is_not_enough_where_a_bound_proof_is_asked_for() {
    let rig = bound().start();
    let output = rig.client("ana").ssh("db1", "echo in");
    assert_eq!((output.stdout.as_slice(), output.status.code()), (&b""[..], Some(255)), "{}", told(&output));
    rig.refusal("POSTURE-004");
}

#[test]
fn a_token_serves_once_and_whom_it_brings_waits_for_a_second_person() {
    let rig = bound().start();
    let laptop = Laptop::unenrolled(&rig, "ana", "lt-ana");
    let token = laptop.register(&[]);
    let output = laptop.enrol(&token);
    assert!(
        output.status.success() && String::from_utf8_lossy(&output.stdout).contains("pending"),
        "{output:?}"
    );
    let other = Laptop::unenrolled(&rig, "ana", "lt-other");
    assert!(!other.enrol(&token).status.success(), "the token is used up");
    let laptop = laptop.running();
    let output = laptop.client().ssh("db1", "echo in");
    assert_eq!(output.status.code(), Some(255), "{}", told(&output));
    rig.refusal("POSTURE-002");
    let own = rig.bartizan(&["device", "approve", "lt-ana"]);
    assert!(!own.status.success() && told(&own).contains("second person"), "{own:?}");
    let around = rig.bartizan(&["device", "unlock", "lt-ana"]);
    assert!(!around.status.success(), "{around:?}");
}

#[test]
fn a_laptop_that_is_locked_or_lost_is_cut_and_told_or_not() {
    let rig = bound().start();
    let laptop = Laptop::enrolled(&rig, "ana", "lt-ana", &["--imported"]).running();
    let mut running = laptop.client().start("db1", "sleep 60");
    bartizan_integration_tests::until("the session", bartizan_integration_tests::DEADLINE, || {
        (!rig.live().is_empty()).then_some(())
    });
    rig.said(&["device", "lock", "lt-ana"]);
    let status = bartizan_integration_tests::until("the cut", std::time::Duration::from_secs(5), || {
        running.try_wait().unwrap()
    });
    assert!(!status.success());
    let output = laptop.client().ssh("db1", "echo in");
    assert_eq!(output.status.code(), Some(REFUSED), "{}", told(&output));
    assert!(told(&output).contains("[POSTURE-006]") && told(&output).contains("unlock"), "{}", told(&output));
    rig.said(&["device", "unlock", "lt-ana"]);
    goes_in(&laptop.client());
    rig.said(&["device", "lost", "lt-ana"]);
    let output = laptop.client().ssh("db1", "echo in");
    assert_eq!(output.status.code(), Some(255), "{}", told(&output));
    assert!(!told(&output).contains("POSTURE-006"), "whoever has it learns nothing: {}", told(&output));
}

#[test]
fn a_laptop_whose_disk_is_not_encrypted_is_told_so_by_every_client_and_gets_in_once_it_is() {
    let rig = bound().start();
    let laptop = Laptop::enrolled(&rig, "ana", "lt-ana", &["--imported"]);
    laptop.finds(PLAIN);
    let laptop = laptop.running();
    sealed_logins(&rig);
    let (at, file) = (laptop.client().at("db1"), rig.path("answered").display().to_string());
    let commands: [(&str, Vec<&str>); 4] = [
        ("ssh", vec![&at, "true"]),
        ("ssh", vec!["-o", "BatchMode=yes", &at, "true"]),
        ("scp", vec!["/etc/hostname", "ana@bastion:x"]),
        ("sftp", vec!["-b", "/dev/null", "ana@bastion"]),
    ];
    for (program, words) in commands {
        let output = laptop.client().command(program).args(&words).output().unwrap();
        let said = told(&output);
        assert!(!output.status.success(), "{program}: {said}");
        assert!(output.stdout.is_empty() || program == "sftp", "{program}: {output:?}");
        for line in [
            "bartizan: this laptop may not connect yet                      [POSTURE-009]\n",
            "  failed  disk encryption: /dev/sda2 is not encrypted\n",
            "  do      turn on LUKS, run `bartizan-agent refresh`, connect again\n",
        ] {
            assert!(said.contains(line), "{program}: {said}");
        }
    }
    assert!(!std::path::Path::new(&file).exists(), "nobody was asked for a code");
    let by_jump = by_jump(&laptop);
    assert!(told(&by_jump).contains("[POSTURE-009]"), "{}", told(&by_jump));
    laptop.finds(ENCRYPTED);
    goes_in(&laptop.client());
}

/// `ssh -J bastion root@db1 echo in`.
fn by_jump(laptop: &Laptop<'_>) -> Output {
    let client = laptop.client().option("User ana");
    let shell = client.remote_shell();
    let config = shell.strip_prefix("ssh -F ").unwrap();
    let mut text = std::fs::read_to_string(config).unwrap();
    let known_hosts = text.lines().find(|line| line.contains("UserKnownHostsFile")).unwrap().to_owned();
    text.push_str(&format!(
        "\nHost db1\n  ProxyJump bastion\n  User {ACCOUNT}\n  HostKeyAlias bastion.test\n{known_hosts}\n  IdentityFile none\n  StrictHostKeyChecking no\n"
    ));
    std::fs::write(config, text).unwrap();
    let mut command = std::process::Command::new("ssh");
    command.args(["-F", config, "db1", "echo in"]);
    client.prepare(&mut command);
    command.output().unwrap()
}

#[test]
fn a_target_that_asks_for_more_refuses_with_the_same_words() {
    let rig = bound().start();
    let laptop = Laptop::enrolled(&rig, "ana", "lt-ana", &["--imported"]);
    laptop.finds(PLAIN);
    let laptop = laptop.running();
    apply(&rig, "allow = [\"shell\"", "require = { posture = \"sealed\" }\nallow = [\"shell\"");
    let output = laptop.client().ssh("db1", "echo in");
    assert_eq!(output.status.code(), Some(REFUSED), "{}", told(&output));
    let said = told(&output);
    assert!(
        said.contains("[POSTURE-009]\n  failed  disk encryption: /dev/sda2 is not encrypted\n"),
        "{said}"
    );
    let event = rig.refusal("POSTURE-009");
    assert_eq!((event["type"].as_str(), event["target"].as_str()), (Some("access.denied"), Some("db1")));
    laptop.finds(ENCRYPTED);
    goes_in(&laptop.client());
}

#[test]
fn a_check_that_only_warns_is_told_on_standard_error_and_lets_in() {
    let rig = bound().start();
    let laptop = Laptop::enrolled(&rig, "ana", "lt-ana", &["--imported"]);
    laptop.finds(PLAIN);
    let laptop = laptop.running();
    let text = std::fs::read_to_string(rig.path("bundle").join("scene.toml")).unwrap();
    let asks = text.replace("allow = [\"shell\"", "require = { posture = \"sealed\" }\nallow = [\"shell\"");
    let folder = rig.new_folder("bundle");
    let warns = LEVEL.replace("\"block\"", "\"warn until 2099-01-01\"");
    std::fs::write(folder.join("scene.toml"), asks + &warns).unwrap();
    rig.said(&["access", "apply", folder.to_str().unwrap()]);
    let output = laptop.client().ssh("db1", "echo in");
    assert_eq!(
        (output.stdout.as_slice(), output.status.code()),
        (&b"in\n"[..], Some(0)),
        "{}",
        told(&output)
    );
    let line = "bartizan: disk encryption: /dev/sda2 is not encrypted (warn until 2099-01-01); turn on LUKS";
    assert!(told(&output).contains(line), "{}", told(&output));
}

/// Offers a certificate that `ssh-keygen` signed with the laptop's own key, and returns what came of it.
fn offer(rig: &Rig, laptop: &Laptop<'_>, report: &str, more: &[&str]) -> Output {
    let id = format!("device:{}", laptop.name());
    let serial = serde_json::from_str::<serde_json::Value>(report).unwrap()["bind"]["seq"].to_string();
    let extension = format!("extension:posture-v1@bartizan={report}");
    let usual = [
        "-I",
        &id,
        "-n",
        &id,
        "-z",
        &serial,
        "-O",
        "clear",
        "-O",
        "critical:posture-only@bartizan",
        "-O",
        &extension,
    ];
    let validity = if more.contains(&"-V") { Vec::new() } else { vec!["-V", "-1m:+2m"] };
    let key = forged(&rig.new_folder("forged"), &laptop.key(), &[&usual[..], &validity, more].concat());
    let certificate = format!("CertificateFile {}-cert.pub", key.display());
    let client = rig
        .client("ana")
        .without_device()
        .option(&certificate)
        .option(&format!("IdentityFile {}", key.display()));
    client.ssh("db1", "echo in")
}

#[test]
fn a_certificate_that_the_devices_own_key_signed_for_another_connection_is_worth_nothing() {
    let rig = bound().start();
    let laptop = Laptop::enrolled(&rig, "ana", "lt-ana", &["--imported"]).running();
    let shown: serde_json::Value = serde_json::from_str(&laptop.report()).unwrap();
    let mut report = shown.clone();
    report["bind"]["session_id"] = "11".repeat(32).into();
    report["bind"]["seq"] = 9_000_000_000_000_u64.into();
    let wrong = [
        ("POSTURE-004", report.to_string(), vec![]),
        ("POSTURE-001", report.to_string(), vec!["-O", "permit-pty"]),
        ("POSTURE-001", report.to_string().replacen('{', "{\"root\":true,", 1), vec![]),
        ("POSTURE-005", report.to_string(), vec!["-V", "-10m:-5m"]),
        ("POSTURE-005", report.to_string(), vec!["-V", "+5m:+8m"]),
    ];
    let mut texts = Vec::new();
    for (code, report, more) in wrong {
        let before = count(&rig, code);
        let output = offer(&rig, &laptop, &report, &more);
        assert_eq!(
            (output.stdout.as_slice(), output.status.code()),
            (&b""[..], Some(255)),
            "{}",
            told(&output)
        );
        assert!(count(&rig, code) > before, "{code}: {:#?}", rig.events());
        let said = told(&output);
        texts.push(said.split(" ref ").next().unwrap().to_owned());
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "the same on the wire: {texts:?}");
    assert!(texts[0].contains("[POSTURE-000]"), "{texts:?}");
    goes_in(&laptop.client());
}

fn count(rig: &Rig, code: &str) -> usize {
    rig.events().iter().filter(|event| event["code"] == code).count()
}
