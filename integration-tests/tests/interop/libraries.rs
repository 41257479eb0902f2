//! Libraries that speak SSH by themselves: paramiko, asyncssh, and `ssh2` for Node. Each is given one description of what to do and
//! tells what it saw.

use std::path::Path;
use std::process::{Command, Stdio};

use bartizan_integration_tests::{Client, Rig, node_packages, python_tool};
use serde_json::{Value, json};

use crate::{Cargo, LINE, anybody};

#[test]
fn paramiko_by_name_and_by_a_jump() {
    by_name_and_by_a_jump(python("paramiko_client.py"));
}

#[test]
fn asyncssh_by_name_and_by_a_jump() {
    by_name_and_by_a_jump(python("asyncssh_client.py"));
}

#[test]
fn ssh2_for_node_by_name_and_by_a_jump() {
    by_name_and_by_a_jump(node("ssh2_client.js"));
}

/// A person's key and a code for each of the two logins.
fn by_name_and_by_a_jump(program: Command) {
    let rig = anybody().start();
    let codes = [rig.phone("ana").fresh(), rig.phone("ana").fresh()];
    works(&rig, &Cargo::of(&rig), program, json!({ "codes": codes }), &["name", "jump"]);
    rig.verify_everything();
}

/// All of them work through this login.
pub(crate) fn work_inside(rig: &Rig, ana: &Client<'_>, cargo: &Cargo) {
    for (name, mut program) in [
        ("paramiko", python("paramiko_client.py")),
        ("asyncssh", python("asyncssh_client.py")),
        ("ssh2", node("ssh2_client.js")),
    ] {
        ana.prepare(&mut program);
        works(rig, cargo, program, json!({ "codes": [], "proxy": ana.proxy("db1") }), &[name]);
    }
}

/// Runs a program by all of these ways: a command, a shell, a file there and back.
fn works(rig: &Rig, cargo: &Cargo, mut program: Command, mut work: Value, ways: &[&str]) {
    let described = json!({
        "port": rig.server().address().port(),
        "key": rig.path("ana-key"),
        "host_key": rig.plain_host_key(),
        "authority": rig.said(&["ca", "show", "host"]).trim(),
        "line": LINE,
        "file": cargo.file,
        "ways": ways.iter().map(|way| json!([way, cargo.way(way)])).collect::<Vec<_>>(),
    });
    work.as_object_mut().unwrap().extend(described.as_object().unwrap().clone());
    let output = program.arg(work.to_string()).stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let seen: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expected: Vec<Value> = ways
        .iter()
        .map(|way| {
            json!({ "way": way, "out": "in\n", "err": "err\n", "status": 7, "shell": ["30 100", 7], "missing": "refused" })
        })
        .collect();
    assert_eq!(seen, expected, "{}", String::from_utf8_lossy(&output.stderr));
    for way in ways {
        cargo.arrived(way);
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn python(script: &str) -> Command {
    let mut command = Command::new(python_tool("python"));
    command.arg(beside(script));
    command
}

fn node(script: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(beside(script)).env("NODE_PATH", node_packages());
    command
}

fn beside(script: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(script)
}
