//! Targets that are not OpenSSH: asyncssh's server, which takes the session's certificate, and Dropbear's, which knows none.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bartizan_integration_tests::{DEADLINE, Rig, free_port, python_tool, until};
use serde_json::json;

use crate::{Cargo, LINE, ran, succeeded};

#[test]
fn asyncssh_as_a_target_takes_the_certificate_of_the_session() {
    let rig = Rig::new().operator("ana").target("db1").start();
    let authority = rig.said(&["ca", "show", "user"]);
    let host = keygen(&rig);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/asyncssh_server.py");
    let work = json!({ "authority": authority.trim(), "host_key": host });
    let mut server = Command::new(python_tool("python"));
    let mut server = Server(server.arg(script).arg(work.to_string()).stdout(Stdio::piped()).spawn().unwrap());
    let mut port = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let address = format!("127.0.0.1:{}", port.trim()).parse().unwrap();
    rig.stand_in("db1", address, &public(&host));
    let ana = rig.client("ana");
    ran("asyncssh's server", &ana.ssh("db1", LINE));
    let cargo = Cargo::of(&rig);
    let [there, back] = cargo.way("scp");
    let remote = format!("{}:{}", ana.at("db1"), there.display());
    succeeded("scp -O", ana.command("scp").arg("-O").arg(&cargo.file).arg(&remote));
    succeeded("scp -O", ana.command("scp").arg("-O").arg(&remote).arg(&back));
    cargo.arrived("scp");
    // Its sftp ends without a status, which `scp` takes for a failure, with a bastion or without.
    let ([there, back], batch) = (cargo.way("sftp"), rig.path("batch"));
    let text = format!("put {} {1}\nget {1} {2}\n", cargo.file.display(), there.display(), back.display());
    std::fs::write(&batch, text).unwrap();
    succeeded("sftp", ana.command("sftp").arg("-b").arg(&batch).arg(ana.at("db1")));
    cargo.arrived("sftp");
    assert_eq!(rig.sealed_recordings(4).len(), 4);
    rig.verify_everything();
}

#[test]
fn dropbear_as_a_target_knows_no_certificates_and_the_operator_hears_of_it() {
    let rig = Rig::new().operator("ana").target("db1").start();
    let (host, port) = (rig.path("dropbear-host"), free_port());
    let mut make = Command::new("dropbearkey");
    succeeded("dropbearkey", make.args(["-t", "ed25519", "-f"]).arg(&host).stdout(Stdio::null()));
    let shown = Command::new("dropbearkey").arg("-y").arg("-f").arg(&host).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    let key = shown.lines().find(|line| line.starts_with("ssh-ed25519 ")).unwrap();
    let key = key.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let mut server = Command::new("dropbear");
    server.args(["-F", "-E", "-s", "-m", "-p", &format!("127.0.0.1:{port}"), "-r"]).arg(&host);
    server.arg("-P").arg(rig.path("dropbear-pid")).stderr(Stdio::null());
    let _server = Server(server.spawn().expect("dropbear is installed: integration-tests/run installs it"));
    until("dropbear to listen", DEADLINE, || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    rig.stand_in("db1", ([127, 0, 0, 1], port).into(), &key);
    let refused = rig.client("ana").ssh("db1", LINE);
    let told = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(254), "{told}");
    assert!(told.contains("[TARGET-005]"), "its host key was right, its login was not: {told}");
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn keygen(rig: &Rig) -> PathBuf {
    let path = rig.path("asyncssh-host");
    succeeded(
        "ssh-keygen",
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&path),
    );
    path
}

fn public(path: &Path) -> String {
    let text = std::fs::read_to_string(path.with_extension("pub")).unwrap();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}
