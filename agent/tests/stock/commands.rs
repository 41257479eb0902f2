//! The words of `bartizan-agent`, as people and their scripts see them.
//! It never touches the home of whoever runs the tests.

use std::process::Output;

use super::scene::{Scene, said};

fn ready() -> Scene {
    let scene = Scene::new();
    scene.enrol(&format!("host_keys = [\"{}\"]", scene.public("host")));
    scene
}

fn run(scene: &Scene, arguments: &[&str]) -> Output {
    scene.command(arguments).output().unwrap()
}

#[test]
fn show_prints_what_would_be_sent_and_refresh_brings_it_up_to_date() {
    let mut scene = ready();
    let shown = run(&scene, &["show", "--json"]);
    let report = posture::report::Report::parse(shown.stdout.trim_ascii()).unwrap();
    assert_eq!(report.device.uid.as_str(), "lt-0421");
    assert_eq!(report.agent.facts, posture::report::Source::File);
    let encrypted = |shown: &Output| String::from_utf8_lossy(&shown.stdout).contains("\"encrypted\":\"1\"");
    assert!(!encrypted(&shown));
    let refused = run(&scene, &["refresh"]);
    assert!(
        refused.status.code() == Some(1) && said(&refused).contains("bartizan-agent run"),
        "{}",
        said(&refused)
    );
    scene.run(None);
    assert!(!encrypted(&run(&scene, &["show", "--json"])));
    scene.facts("1");
    assert!(!encrypted(&run(&scene, &["show", "--json"])), "the running agent's facts are what is sent");
    // No bastion is there to say what it asks for: what it asked for before is collected, and that is told.
    let refreshed = run(&scene, &["refresh"]);
    assert_eq!(refreshed.status.code(), Some(1));
    assert!(said(&refreshed).contains("is not known"), "{}", said(&refreshed));
    assert!(!scene.dir().join("refresh.conf").exists());
    assert!(encrypted(&run(&scene, &["show", "--json"])));
}

#[test]
fn what_is_not_enrolled_says_how_to() {
    let scene = Scene::new();
    for word in ["run", "show", "doctor", "install"] {
        let output = run(&scene, &[word]);
        assert_eq!(output.status.code(), Some(1), "{word}");
        assert!(said(&output).contains("bartizan-agent enroll"), "{word}: {}", said(&output));
    }
    assert_eq!(run(&scene, &["enroll"]).status.code(), Some(2));
    assert_eq!(run(&scene, &["enroll", "nonsense"]).status.code(), Some(1));
}

#[test]
fn install_leads_the_person_s_configuration_once_and_doctor_then_finds_nothing_wrong() {
    let mut scene = ready();
    std::fs::write(scene.path("config"), "Host *\n    IdentitiesOnly yes\n    IdentityAgent none\n").unwrap();
    scene.run(None);
    let file = scene.path("config").display().to_string();
    let dry = run(&scene, &["install", "--dry-run", "--ssh-config", &file]);
    assert!(said(&dry).contains("ExecStart=") && !scene.dir().join("ssh_config").exists(), "{}", said(&dry));
    for _ in 0..2 {
        let installed = run(&scene, &["install", "--ssh-config", &file]);
        assert!(installed.status.success(), "{}", said(&installed));
    }
    assert_eq!(scene.text("config").matches("Include").count(), 1);
    assert!(scene.text("config").starts_with("Include \""), "{}", scene.text("config"));
    assert!(scene.text(".config/systemd/user/bartizan-agent.service").contains(" run\n"));
    let doctor = run(&scene, &["doctor", "--ssh-config", &file]);
    assert!(
        said(&doctor).contains("IdentityAgent: ") && !said(&doctor).contains("IdentitiesOnly: yes"),
        "{}",
        said(&doctor)
    );
    // os_version is wanted, and the file of facts has none: that is the one thing wrong here.
    assert_eq!(said(&doctor).matches("WRONG").count(), 1, "{}", said(&doctor));
}

/// Puts a configuration in place of an installed one, and gives what the doctor finds wrong with these hosts.
fn wrong(config: &str, target: &str) -> Vec<(String, String, Option<u64>)> {
    let mut scene = ready();
    scene.run(None);
    let file = scene.path("config").display().to_string();
    std::fs::write(scene.path("config"), "").unwrap();
    run(&scene, &["install", "--ssh-config", &file]);
    let block = scene.dir().join("ssh_config").display().to_string();
    std::fs::write(scene.path("config"), config.replace("BLOCK", &block)).unwrap();
    std::fs::write(scene.path("more"), "# one\nIdentityAgent /elsewhere\n").unwrap();
    let config = scene.text("config").replace("MORE", &scene.path("more").display().to_string());
    std::fs::write(scene.path("config"), config).unwrap();
    let doctor = run(&scene, &["doctor", "--json", "--ssh-config", &file, target]);
    let checks: serde_json::Value = serde_json::from_slice(&doctor.stdout).unwrap();
    let name = |path: &serde_json::Value| {
        path.as_str().and_then(|path| path.rsplit('/').next()).unwrap_or("-").to_owned()
    };
    let ours = |check: &&serde_json::Value| {
        check["ok"] == false && !check["check"].as_str().unwrap().starts_with("fact")
    };
    checks
        .as_array()
        .unwrap()
        .iter()
        .filter(ours)
        .map(|check| {
            (check["check"].as_str().unwrap().to_owned(), name(&check["file"]), check["line"].as_u64())
        })
        .collect()
}

#[test]
fn a_line_that_hides_the_device_is_named() {
    let found = wrong(
        "# mine\nHost *\n    IdentitiesOnly yes\nInclude BLOCK\nHost web-1\n ProxyJump 127.0.0.1\n",
        "web-1",
    );
    assert_eq!(found, [("127.0.0.1: IdentitiesOnly".to_owned(), "config".to_owned(), Some(3))]);
}

#[test]
fn a_line_of_an_included_file_and_of_a_match_is_named() {
    let found = wrong(
        "Match host 10.* exec true\n  IdentityAgent /no\nMatch host 127.*\n  Include MORE\nMatch all\nInclude BLOCK\nHost web-1\n ProxyJump 127.0.0.1\n",
        "web-1",
    );
    assert_eq!(found, [("127.0.0.1: IdentityAgent".to_owned(), "more".to_owned(), Some(2))]);
}

#[test]
fn a_target_that_arrives_by_address_or_past_the_bastion_is_named() {
    let found = wrong(
        "Include BLOCK\nHost web-*\n\n  hostname=10.0.0.5\nHost web-1\n  ProxyCommand nc %h %p\n  ProxyJump 127.0.0.1\n",
        "web-1",
    );
    assert_eq!(
        found,
        [
            ("web-1: ProxyJump".to_owned(), "config".to_owned(), Some(6)),
            ("web-1: HostName".to_owned(), "config".to_owned(), Some(4)),
        ]
    );
}

#[test]
fn nothing_that_sets_it_is_told_as_such() {
    let found = wrong("Host web-1\n  ProxyJump alice@127.0.0.1:2222\n", "web-1");
    let names: Vec<_> = found.iter().map(|(check, _, line)| (check.as_str(), *line)).collect();
    assert_eq!(names, [("127.0.0.1: IdentityAgent", None), ("127.0.0.1: Port", None)]);
}

fn token(scene: &Scene, host_key: &str, port: u16) -> String {
    let token = posture::token::Token {
        id: "a1".to_owned(),
        secret: "0123456789abcdef".to_owned(),
        device: "lt-0421".to_owned(),
        owner: "alice".to_owned(),
        kind: "laptop".to_owned(),
        personal: false,
        host: "127.0.0.1".to_owned(),
        port,
        host_keys: vec![scene.public(host_key)],
        host_ca: Vec::new(),
        names: Vec::new(),
        facts: [posture::report::Table::OsVersion].into(),
        processes: Vec::new(),
    };
    token.to_text().unwrap().to_string()
}

#[test]
fn enrolment_offers_the_new_key_s_certificate_once_and_says_what_to_do_when_it_is_refused() {
    let scene = Scene::new();
    // An ordinary server, which takes no device certificate: it shows who came with what.
    let refused = run(&scene, &["enroll", &token(&scene, "host", scene.port)]);
    assert!(
        refused.status.code() == Some(1) && said(&refused).contains("device register"),
        "{}",
        said(&refused)
    );
    super::scene::wait(|| scene.text("sshd.log").contains("nvalid user enroll+a1"));
    assert!(scene.dir().join("device").exists() && scene.dir().join("agent.toml").exists());
    for left in ["enroll.conf", "enroll.sock"] {
        assert!(!scene.dir().join(left).exists(), "{left}");
    }
    let key = std::fs::read(scene.dir().join("device")).unwrap();
    run(&scene, &["enroll", &token(&scene, "host", scene.port)]);
    assert_eq!(std::fs::read(scene.dir().join("device")).unwrap(), key, "a second try keeps the key");
}

#[test]
fn enrolment_never_speaks_to_a_server_with_another_host_key() {
    let scene = Scene::new();
    let refused = run(&scene, &["enroll", &token(&scene, "other", scene.port)]);
    assert!(said(&refused).contains("tell your administrator"), "{}", said(&refused));
    assert!(!scene.text("sshd.log").contains("nvalid user"));
    let nobody = run(&scene, &["enroll", &token(&scene, "host", 1)]);
    assert!(said(&nobody).contains("same token"), "{}", said(&nobody));
}
