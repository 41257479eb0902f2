//! Clients and servers that people use, each through the bastion: what `docs/compatibility.md` says of them is seen here.
//! It never changes a client, and a client that is not installed is a failure.

mod ansible;
mod curl;
mod dropbear;
mod files;
mod libraries;
mod mosh;
mod proven;
mod putty;
mod regress;
mod servers;

use std::path::PathBuf;
use std::process::{Command, Output};

use bartizan_integration_tests::{Builder, Rig, Terminal, noise, sha256};

/// Printed on both streams, and a status that nothing else has.
const LINE: &str = "echo in; echo err >&2; exit 7";

/// One operator, one target; a machine need not be proven, and a code that is given where it is counts for a while.
fn anybody() -> Builder {
    Rig::new().operator("ana").target("db1").setting("device", "require = \"any\"")
}

/// The code is given by `ssh`; other clients with the same device key are not asked.
fn code_given(rig: &Rig) {
    let said = rig.client("ana").word("whoami");
    assert!(said.status.success(), "{said:?}");
}

/// [`LINE`] ran and all of it came back.
fn ran(client: &str, output: &Output) {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!((out.as_ref(), output.status.code()), ("in\n", Some(7)), "{client}: {err}");
    assert!(err.lines().any(|line| line == "err"), "{client}: {err}");
}

fn succeeded(client: &str, command: &mut Command) {
    let output = command.output().unwrap_or_else(|why| panic!("{client} is not installed: {why}"));
    assert!(output.status.success(), "{client}: {output:?}");
}

/// A shell that was asked for a code: its size, its name, its status.
fn has_a_shell(rig: &Rig, mut shell: Terminal) {
    // A client may throw away what is typed before it has left its prompt for the code.
    shell.expect("# ");
    shell.line("PS1='ready> '; stty size");
    shell.expect("30 100");
    shell.line("exit 7");
    let left = shell.exit();
    assert_eq!(left, 7, "{}", rig.said(&["audit", "list", "--json", "--type", "channel.session"]));
}

/// A file of some megabytes that is to arrive as it is.
struct Cargo {
    file: PathBuf,
    sum: String,
    folder: PathBuf,
}

impl Cargo {
    fn of(rig: &Rig) -> Self {
        let bytes = noise(4 << 20, 7);
        let (file, folder) = (rig.path("cargo"), rig.new_folder("ways"));
        std::fs::write(&file, &bytes).unwrap();
        Self { file, sum: sha256(&bytes), folder }
    }

    /// Where it goes on the target, and where it comes back to.
    fn way(&self, name: &str) -> [PathBuf; 2] {
        ["there", "back"].map(|end| self.folder.join(format!("{name}-{end}")))
    }

    /// It went there and came back.
    fn arrived(&self, name: &str) {
        for path in self.way(name) {
            let found = std::fs::read(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
            assert_eq!(sha256(&found), self.sum, "{}", path.display());
        }
    }
}
