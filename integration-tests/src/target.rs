//! A real `sshd` as target, one process a connection, behind a socket that the scene holds.
//! It never reads the machine's own SSH configuration and never listens beyond loopback.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::password::where_root_has_a_password;
use crate::sockets::connections_at;

/// One target server.
pub struct Target {
    name: String,
    host_key: String,
    address: SocketAddr,
    logins: Arc<AtomicUsize>,
    log: PathBuf,
    stop: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Target {
    /// Starts a target that trusts this user CA. `terms` are lines for its sshd_config that come before the usual ones;
    /// with `password` root has one.
    pub(crate) fn start(folder: &Path, name: &str, user_ca: &str, terms: &[String], password: bool) -> Self {
        let folder = folder.join(format!("target-{name}"));
        std::fs::create_dir(&folder).unwrap();
        let key = folder.join("host");
        keygen(&key, name);
        std::fs::write(folder.join("user_ca.pub"), user_ca).unwrap();
        let config = configuration(&folder, terms);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, logins) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let log = folder.join("log");
        let acceptor = std::thread::spawn({
            let (stop, logins, log) = (stop.clone(), logins.clone(), log.clone());
            let sshd = move || {
                let mut sshd = match password {
                    true => where_root_has_a_password(&folder),
                    false => Command::new("/usr/sbin/sshd"),
                };
                if password {
                    sshd.arg("/usr/sbin/sshd");
                }
                sshd.args(["-i", "-f"]).arg(&config).arg("-E").arg(&log);
                sshd
            };
            move || accept(&listener, &sshd, &stop, &logins)
        });
        let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
        let host_key = public.split(' ').take(2).collect::<Vec<_>>().join(" ");
        Self { name: name.to_owned(), host_key, address, logins, log, stop, acceptor: Some(acceptor) }
    }

    /// Its name in the bundle.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections it has taken so far.
    pub fn connections(&self) -> usize {
        self.logins.load(Ordering::Relaxed)
    }

    /// Connections of the bastion that it holds now.
    pub fn held(&self) -> usize {
        connections_at(self.address.port())
    }

    /// What its `sshd` has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its own host key, as `algorithm base64`.
    pub fn host_key(&self) -> &str {
        &self.host_key
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the accept call.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// Makes a key pair without a passphrase.
pub(crate) fn keygen(path: &Path, comment: &str) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"])
        .arg(path)
        .status()
        .unwrap();
    assert!(made.success());
}

fn configuration(folder: &Path, terms: &[String]) -> PathBuf {
    let path = folder.join("sshd_config");
    let folder = folder.display();
    let text = format!(
        "{}\nHostKey {folder}/host\nTrustedUserCAKeys {folder}/user_ca.pub\nAuthorizedKeysFile none\nUsePAM no\nStrictModes no\n\
         PermitRootLogin prohibit-password\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nUseDNS no\nPidFile none\n\
         PrintMotd no\nPrintLastLog no\nAcceptEnv LANG LC_* COLORTERM GIT_PROTOCOL\nLogLevel VERBOSE\n\
         Subsystem sftp /usr/lib/openssh/sftp-server\n",
        terms.join("\n")
    );
    std::fs::write(&path, text).unwrap();
    path
}

/// Gives every connection to an sshd of its own, as inetd would.
fn accept(listener: &TcpListener, sshd: &dyn Fn() -> Command, stop: &AtomicBool, count: &AtomicUsize) {
    let mut running: Vec<Child> = Vec::new();
    while let Ok((socket, _)) = listener.accept() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        count.fetch_add(1, Ordering::Relaxed);
        socket.set_nodelay(true).unwrap();
        let socket = OwnedFd::from(socket);
        running.retain_mut(|child| child.try_wait().unwrap().is_none());
        running.push(
            sshd()
                .stdin(Stdio::from(socket.try_clone().unwrap()))
                .stdout(Stdio::from(socket))
                .stderr(Stdio::null())
                .spawn()
                .expect("sshd is installed: integration-tests/run installs it"),
        );
    }
    // With the bastion gone each ends by itself; what does not is made to.
    let deadline = Instant::now() + Duration::from_secs(5);
    for mut child in running {
        while child.try_wait().unwrap().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_of_a_certificate_gets_in_and_a_plain_key_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        keygen(&at("ca"), "ca");
        keygen(&at("user"), "user");
        let user_ca = std::fs::read_to_string(at("ca.pub")).unwrap();
        let target = Target::start(folder.path(), "db1", &user_ca, &[], false);
        let ssh = || {
            let (port, known) = (target.address().port(), at("known"));
            std::fs::write(&known, format!("[127.0.0.1]:{port} {}\n", target.host_key())).unwrap();
            let options = ["-F", "none", "-o", "BatchMode=yes", "-o", "IdentityAgent=none", "-o"];
            let mut ssh = Command::new("ssh");
            ssh.args(options)
                .arg(format!("UserKnownHostsFile={}", known.display()))
                .arg("-i")
                .arg(at("user"));
            ssh.arg("-p").arg(port.to_string()).arg("root@127.0.0.1").arg("echo in").output().unwrap()
        };
        assert_eq!(ssh().stdout, b"");
        let mut sign = Command::new("ssh-keygen");
        sign.arg("-q")
            .arg("-s")
            .arg(at("ca"))
            .args(["-I", "t", "-n", "root", "-V", "-1m:+5m"])
            .arg(at("user.pub"));
        assert!(sign.status().unwrap().success());
        let output = ssh();
        assert_eq!(output.stdout, b"in\n", "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(target.connections(), 2);
    }
}
