//! Wrong words, files and folders: one sentence on stderr, the exit status of the contract, and nothing changed.
//! It never starts a server that could answer.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use bartizan_integration_tests::{Rig, binary};

fn in_folder(folder: &Path, words: &[&str]) -> Output {
    Command::new(binary("bartizan")).arg("--dir").arg(folder).args(words).output().unwrap()
}

/// Refused with this status, with something said on stderr and nothing on stdout; what was said.
fn refused(output: &Output, status: i32) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{said}");
    assert_eq!(output.stdout, b"");
    assert!(!said.trim().is_empty() && !said.contains("panicked"), "{said}");
    said
}

#[test]
fn wrong_usage_exits_2() {
    let folder = tempfile::tempdir().unwrap();
    for words in [
        &["fly"][..],
        &["serve", "--quickly"],
        &["operator", "disable"],
        &["recording"],
        &["session", "kill"],
    ] {
        refused(&in_folder(folder.path(), words), 2);
    }
}

#[test]
fn commands_on_a_folder_that_is_none_say_so_and_make_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    for words in [
        &["serve"][..],
        &["operator", "list"],
        &["recording", "list"],
        &["audit", "verify"],
        &["ca", "show", "user"],
    ] {
        refused(&in_folder(&missing, words), 1);
        assert!(!missing.exists(), "{words:?} made a folder");
    }
}

#[test]
fn a_folder_is_made_once() {
    let rig = Rig::new().without_server().start();
    let before = rig.said(&["ca", "show", "user"]);
    refused(&rig.bartizan(&["init"]), 1);
    assert_eq!(rig.said(&["ca", "show", "user"]), before);
}

#[test]
fn a_second_server_on_one_folder_is_refused() {
    let rig = Rig::new().operator("ana").target("db1").start();
    refused(&rig.bartizan(&["serve"]), 1);
    assert_eq!(rig.client("ana").ssh("db1", "echo in").stdout, b"in\n");
}

#[test]
fn a_wrong_line_of_the_configuration_is_named() {
    let rig = Rig::new().without_server().start();
    let file = rig.state().join("bartizan.toml");
    for (text, named) in [
        ("[ssh]\nlisten = [\"127.0.0.1:0\"]\nlissten = 1\n", "line 3"),
        ("[ssh]\nlisten = [\"127.0.0.1:notaport\"]\n", "listen"),
        ("[ssh\n", "line 1"),
        ("[ssh]\nlogin_grace = \"soon\"\n", "login_grace"),
    ] {
        std::fs::write(&file, text).unwrap();
        let said = refused(&rig.bartizan(&["serve"]), 1);
        assert!(said.contains(named), "{text:?}: {said}");
    }
}

#[test]
fn keys_that_others_may_read_are_refused() {
    let rig = Rig::new().without_server().start();
    let keys = rig.state().join("keys");
    std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o755)).unwrap();
    let said = refused(&rig.bartizan(&["serve"]), 1);
    assert!(said.contains("keys"), "{said}");
}

#[test]
fn a_wrong_bundle_changes_nothing_and_names_the_line() {
    let rig = Rig::new().operator("ana").target("db1").start();
    let good = std::fs::read_to_string(rig.path("bundle/scene.toml")).unwrap();
    for wrong in [
        good.replace("[[grant]]", "[[grant]]\nspeed = 3"),
        good.replace("targets = [\"db1\"]", "targets = [\"db9\"]"),
        format!("{good}\n[[operator]]\nname = \"ana\"\n"),
        good.replace("host_keys = [", "host_keys = [\"ssh-ed25519 not-a-key\", "),
        good.replace("fresh = \"8h\"", "fresh = \"a while\""),
        "\u{0}".to_owned(),
    ] {
        assert_ne!(wrong, good);
        let folder = rig.new_folder("bundle");
        std::fs::write(folder.join("scene.toml"), &wrong).unwrap();
        for word in ["check", "apply"] {
            let said = refused(&rig.bartizan(&["access", word, folder.to_str().unwrap()]), 1);
            assert!(said.contains("scene.toml"), "{said}");
        }
    }
    assert_eq!(rig.client("ana").ssh("db1", "echo in").stdout, b"in\n");
}

#[test]
fn things_that_are_not_there_are_refused_by_name() {
    let rig = Rig::new().operator("ana").target("db1").start();
    for words in [
        &["operator", "disable", "nobody"][..],
        &["operator", "key", "add", "nobody", "/nowhere.pub"],
        &["operator", "key", "add", "ana", "/nowhere.pub"],
        &["device", "lock", "no-laptop"],
        &["session", "kill", "s-00000000000000000000000000"],
        &["recording", "show", "r-00000000000000000000000000"],
        &["recording", "verify", "../../keys"],
        &["access", "apply", "/nowhere"],
    ] {
        refused(&rig.bartizan(words), 1);
    }
}
