//! The demo target as a stock `ssh` sees it: shell, commands, statuses, streams, terminal, files.
//! It never reaches beyond loopback; keys and certificates are made by `ssh-keygen` in a folder of the test.
#![expect(clippy::unwrap_used, reason = "the scene is part of the tests")]

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// A running server and a client that may log in to it.
struct Scene {
    folder: tempfile::TempDir,
    account: String,
    port: u16,
    stop: CancellationToken,
    _runtime: tokio::runtime::Runtime,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["ca", "host", "user"] {
            keygen(folder.path(), &["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", name]);
        }
        let account = output(Command::new("id").arg("-un"));
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        let config = bartizan_demo::Config {
            host_key: ssh_key::PrivateKey::from_openssh(read("host")).unwrap(),
            user_ca: ssh_key::PublicKey::from_openssh(&read("ca.pub")).unwrap(),
        };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let stop = CancellationToken::new();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        runtime.spawn(bartizan_demo::serve(listener, config, stop.clone()));
        std::fs::write(folder.path().join("known_hosts"), format!("[127.0.0.1]:{port} {}", read("host.pub")))
            .unwrap();
        let scene = Self { folder, account, port, stop, _runtime: runtime };
        scene.certify(&["-n", &scene.account]);
        scene
    }

    /// Signs the user's key anew.
    fn certify(&self, terms: &[&str]) {
        let mut arguments = vec!["-q", "-s", "ca", "-I", "test", "-V", "-1m:+5m"];
        arguments.extend(terms);
        arguments.push("user.pub");
        keygen(self.folder.path(), &arguments);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args([
            "-F",
            "none",
            "-o",
            "BatchMode=yes",
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "LogLevel=ERROR",
        ]);
        command.arg("-o").arg(format!("UserKnownHostsFile={}", self.path("known_hosts").display()));
        command.arg("-o").arg(format!("IdentityFile={}", self.path("user").display()));
        command.arg("-o").arg(format!("User={}", self.account)).arg("-o").arg(format!("Port={}", self.port));
        command.env_remove("SSH_AUTH_SOCK");
        command
    }

    fn ssh(&self, arguments: &[&str]) -> Output {
        self.client("ssh").arg("127.0.0.1").args(arguments).output().unwrap()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn keygen(folder: &Path, arguments: &[&str]) {
    let made = Command::new("ssh-keygen").current_dir(folder).args(arguments).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

fn output(command: &mut Command) -> String {
    String::from_utf8(command.output().unwrap().stdout).unwrap().trim().to_owned()
}

/// Waits for an end, at most this long.
fn ended_within(child: &mut Child, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        if child.try_wait().unwrap().is_some() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = child.kill();
    false
}

#[test]
fn commands_keep_their_status_and_their_streams_apart() {
    let scene = Scene::new();
    for status in [0, 3, 255] {
        let ran = scene.ssh(&[&format!("echo out; echo err >&2; exit {status}")]);
        assert_eq!(ran.status.code(), Some(status));
        assert_eq!((&ran.stdout[..], &ran.stderr[..]), (&b"out\n"[..], &b"err\n"[..]));
    }
    // ssh turns an exit signal into 255 and says nothing at this log level.
    assert_eq!(scene.ssh(&["kill -9 $$"]).status.code(), Some(255));
    assert_eq!(scene.ssh(&["cat; echo \"[$LC_ALL|$LD_PRELOAD]\""]).stdout, b"[|]\n");
}

#[test]
fn the_list_of_variables_is_kept() {
    let scene = Scene::new();
    let ran = scene
        .client("ssh")
        .args(["-o", "SendEnv=LC_ALL LD_LIBRARY_PATH"])
        .args(["127.0.0.1", "echo \"$LC_ALL|$LD_LIBRARY_PATH\""])
        .env("LC_ALL", "C")
        .env("LD_LIBRARY_PATH", "/nowhere")
        .output()
        .unwrap();
    assert_eq!(ran.stdout, b"C|\n");
}

#[test]
fn a_hundred_megabytes_go_both_ways_at_once_and_a_slow_program_stalls_only_itself() {
    let scene = Scene::new();
    let mut ssh = scene
        .client("ssh")
        .args(["127.0.0.1", "sleep 1; cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = ssh.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        let block: Vec<u8> = (0..1 << 20).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for _ in 0..100 {
            input.write_all(&block).unwrap();
        }
    });
    let mut back = 0usize;
    let mut chunk = vec![0; 1 << 16];
    let mut out = ssh.stdout.take().unwrap();
    loop {
        let n = out.read(&mut chunk).unwrap();
        if n == 0 {
            break;
        }
        for (i, byte) in chunk[..n].iter().enumerate() {
            let place = ((back + i) % (1 << 20)) as u32;
            assert_eq!(*byte, (place.wrapping_mul(2_654_435_761) >> 13) as u8);
        }
        back += n;
    }
    writer.join().unwrap();
    assert_eq!(back, 100 << 20);
    assert!(ssh.wait().unwrap().success());
}

#[test]
fn a_terminal_has_its_size_its_name_and_a_working_interrupt() {
    let scene = Scene::new();
    let mut ssh = scene
        .client("ssh")
        .args(["-tt", "127.0.0.1", "trap 'echo caught; exit 7' INT; stty size; echo $TERM; tty -s && echo tty; while :; do sleep 0.05; done"])
        .env("TERM", "vt100")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = ssh.stdout.take().unwrap();
    let mut seen = String::new();
    let mut chunk = [0; 256];
    while !seen.contains("tty\r\n") {
        let n = out.read(&mut chunk).unwrap();
        assert!(n > 0, "ended early: {seen}");
        seen.push_str(&String::from_utf8_lossy(&chunk[..n]));
    }
    assert!(seen.contains("vt100\r\n"), "{seen}");
    ssh.stdin.as_mut().unwrap().write_all(b"\x03").unwrap();
    assert!(ended_within(&mut ssh, Duration::from_secs(10)));
    out.read_to_string(&mut seen).unwrap();
    assert!(seen.contains("caught"), "{seen}");
    assert_eq!(ssh.wait().unwrap().code(), Some(7));
}

#[test]
fn an_interrupt_stops_a_flood_on_a_terminal() {
    let scene = Scene::new();
    let mut ssh = scene
        .client("ssh")
        .args(["-tt", "127.0.0.1", "yes"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = ssh.stdout.take().unwrap();
    let mut chunk = vec![0; 1 << 16];
    for _ in 0..50 {
        assert!(out.read(&mut chunk).unwrap() > 0);
    }
    ssh.stdin.as_mut().unwrap().write_all(b"\x03").unwrap();
    let drain = std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
    assert!(ended_within(&mut ssh, Duration::from_secs(10)));
    drain.join().unwrap().unwrap();
}

#[test]
fn a_client_that_leaves_takes_its_program_along() {
    let scene = Scene::new();
    let mut ssh = scene
        .client("ssh")
        .args(["127.0.0.1", "echo $$; exec sleep 600"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = [0; 16];
    let n = ssh.stdout.as_mut().unwrap().read(&mut line).unwrap();
    let pid = std::str::from_utf8(&line[..n]).unwrap().trim().to_owned();
    ssh.kill().unwrap();
    ssh.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    while Path::new("/proc").join(&pid).exists() {
        assert!(Instant::now() < deadline, "{pid} is still there");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_login_shell_ends_with_its_input() {
    let scene = Scene::new();
    let mut ssh =
        scene.client("ssh").arg("127.0.0.1").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    ssh.stdin.take().unwrap().write_all(b"echo $0 $HOME\nexit 5\n").unwrap();
    let ran = ssh.wait_with_output().unwrap();
    assert_eq!(ran.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&ran.stdout).starts_with('-'), "{ran:?}");
}

#[test]
fn a_connection_may_open_any_number_of_channels_one_after_another() {
    let scene = Scene::new();
    let socket = scene.path("mux");
    let mut master = scene.client("ssh");
    master.args(["-N", "-M", "-S"]).arg(&socket).arg("127.0.0.1").stderr(Stdio::null());
    let mut master = master.spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !socket.exists() {
        assert!(Instant::now() < deadline, "no shared connection");
        std::thread::sleep(Duration::from_millis(10));
    }
    for n in 0..50 {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-S"]).arg(&socket).args(["127.0.0.1", &format!("echo {n}; exit 7")]);
        let ran = ssh.stdin(Stdio::null()).output().unwrap();
        assert_eq!((ran.status.code(), ran.stdout), (Some(7), format!("{n}\n").into_bytes()));
    }
    master.kill().unwrap();
    master.wait().unwrap();
}

#[test]
fn wrong_certificates_and_plain_keys_are_refused() {
    let scene = Scene::new();
    for terms in [
        &["-n", "somebody-else"][..],
        &[],
        &["-n", &scene.account, "-O", "source-address=10.0.0.0/8"],
        &["-n", &scene.account, "-O", "force-command=true"],
    ] {
        scene.certify(terms);
        assert_eq!(scene.ssh(&["echo in"]).stdout, b"", "{terms:?}");
    }
    std::fs::remove_file(scene.path("user-cert.pub")).unwrap();
    assert_eq!(scene.ssh(&["echo in"]).stdout, b"");
    scene.certify(&["-n", &scene.account]);
    assert_eq!(scene.ssh(&["echo in"]).stdout, b"in\n");
}

#[test]
fn files_go_through_sftp_where_its_server_is_installed() {
    if !Path::new("/usr/lib/openssh/sftp-server").exists() {
        return;
    }
    let scene = Scene::new();
    let sent: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
    std::fs::write(scene.path("sent"), &sent).unwrap();
    let there = format!("127.0.0.1:{}", scene.path("there").display());
    assert!(scene.client("scp").arg(scene.path("sent")).arg(&there).status().unwrap().success());
    assert!(scene.client("scp").arg(&there).arg(scene.path("back")).status().unwrap().success());
    assert_eq!(std::fs::read(scene.path("back")).unwrap(), sent);
}

#[tokio::test]
async fn an_address_beyond_loopback_is_refused() {
    let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    let key = ssh_key::PrivateKey::from(ssh_key::private::Ed25519Keypair::from_seed(&[1; 32]));
    let config = bartizan_demo::Config { user_ca: key.public_key().clone(), host_key: key };
    let refused = bartizan_demo::serve(listener, config, CancellationToken::new()).await.unwrap_err();
    assert!(refused.to_string().contains("not a loopback address"), "{refused}");
}
