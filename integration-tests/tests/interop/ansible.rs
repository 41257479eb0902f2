//! Ansible: with and without pipelining and a shared connection, by name and by a jump. One code is enough for all of it.

use std::process::Command;

use bartizan_integration_tests::{Rig, Route, python_tool};

use crate::{Cargo, anybody, code_given};

#[test]
fn ansible_by_a_jump_with_pipelining_and_a_shared_connection() {
    a_file_is_copied(Route::Jump, true, true);
}

#[test]
#[ignore = "long: seven runs of ansible"]
fn ansible_in_every_other_way() {
    for (pipelining, shared) in [(true, false), (false, true), (true, true), (false, false)] {
        a_file_is_copied(Route::Direct, pipelining, shared);
    }
    for (pipelining, shared) in [(true, false), (false, true), (false, false)] {
        a_file_is_copied(Route::Jump, pipelining, shared);
    }
}

fn a_file_is_copied(route: Route, pipelining: bool, shared: bool) {
    let rig = anybody().start();
    code_given(&rig);
    let cargo = Cargo::of(&rig);
    let ana = rig.client("ana").by(route);
    let run = |arguments: &[&str]| {
        let mut ansible = ansible(&rig, route, pipelining, shared);
        ana.prepare(&mut ansible);
        let output = ansible.env("LC_ALL", "C.UTF-8").args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), said + &String::from_utf8_lossy(&output.stderr))
    };
    let [there, back] = cargo.way("ansible").map(|path| path.display().to_string());
    let file = cargo.file.display();
    let play = format!(
        "- hosts: all\n  gather_facts: true\n  tasks:\n    - copy: {{src: \"{file}\", dest: \"{there}\"}}\n\
         \x20   - fetch: {{src: \"{there}\", dest: \"{back}\", flat: true}}\n\
         \x20   - shell: echo in; exit 7\n      register: ran\n      failed_when: ran.rc != 7 or ran.stdout != 'in'\n"
    );
    let book = rig.path("play.yml");
    std::fs::write(&book, play).unwrap();
    let (status, said) = run(&[book.to_str().unwrap()]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("failed=0") && said.contains("ok=4"), "{said}");
    cargo.arrived("ansible");
    assert_eq!(ana.prompts().len(), 1, "one code");
    if shared {
        // The master stays for a while: it is told to go, so that nothing is left of the scene.
        let mut leave = Command::new("ssh");
        let path = format!("ControlPath={}", rig.path("cm-%C").display());
        let shell = ana.remote_shell();
        leave.args(shell.split(' ').skip(1)).args(["-o", &path, "-O", "exit", &ana.at("db1")]);
        let _ = leave.output().unwrap();
    }
    rig.verify_everything();
}

fn ansible(rig: &Rig, route: Route, pipelining: bool, shared: bool) -> Command {
    let ana = rig.client("ana").by(route);
    let at = ana.at("db1");
    let (user, host) = at.split_once('@').unwrap();
    let inventory = rig.path("inventory");
    let python = "ansible_python_interpreter=/usr/bin/python3";
    std::fs::write(&inventory, format!("db1 ansible_host={host} ansible_user={user} {python}\n")).unwrap();
    let master = match shared {
        true => format!(
            "-o ControlMaster=auto -o ControlPersist=60s -o ControlPath={}",
            rig.path("cm-%C").display()
        ),
        false => "-o ControlMaster=no -o ControlPath=none".to_owned(),
    };
    let shell = ana.remote_shell();
    let options = shell.strip_prefix("ssh ").unwrap();
    let mut command = Command::new(python_tool("ansible-playbook"));
    command.arg("-i").arg(&inventory).current_dir(rig.path(""));
    command.env("HOME", rig.path("")).env("ANSIBLE_SSH_ARGS", format!("{options} {master}"));
    command.env("ANSIBLE_PIPELINING", if pipelining { "1" } else { "0" });
    let nothing = rig.path("ansible.cfg");
    std::fs::write(&nothing, "").unwrap();
    command.env("ANSIBLE_CONFIG", nothing).env("ANSIBLE_NOCOLOR", "1");
    command
}
