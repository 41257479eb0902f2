//! OpenSSH's own regression scripts, as Debian packs them (`openssh-tests`), with the bastion where they expect their `sshd`.
//! They are not changed: what they call `ssh` adds who logs in and to which target (`regress_ssh.sh`), and what they call `sshd`
//! is a pipe to the bastion's port (`regress_sshd.sh`). It never counts a script as passed whose failures are others than the ones named here.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, PoisonError};

use bartizan_integration_tests::{Builder, Rig, Route, by_both_routes};
use tempfile::TempDir;

use crate::code_given;

const SCRIPTS: &str = "/usr/lib/openssh/regress";

/// What the scripts forward to, besides their own port and the next.
const FORWARDED: [u16; 9] = [3350, 3351, 3352, 3360, 3361, 3362, 3370, 3371, 3372];

/// The scripts have ports of their own: those that listen run one after the other.
static LISTENING: Mutex<()> = Mutex::new(());

by_both_routes! {
    #[ignore = "long: what else runs beside them shows in what they compare"]
    short_scripts_of_openssh_pass,
    #[ignore = "long: scripts that wait for minutes"]
    long_scripts_of_openssh_pass,
    #[ignore = "long: three minutes"]
    new_keys_by_the_client_s_wish_whatever_the_algorithm,
    #[ignore = "long: two minutes"]
    multiplexing_passes_but_for_what_only_sshd_says,
}

/// At one time: most of their time they sleep.
fn short_scripts_of_openssh_pass(route: Route) {
    let scene = Scene::start(route);
    scene.all_pass(&[
        "connect",
        "connect-uri",
        "transfer",
        "stderr-after-eof",
        "yes-head",
        "exit-status-signal",
        "scp3",
        "sftp-uri",
        "brokenkeys",
        "localcommand",
        "broken-pipe",
    ]);
    scene.rig.verify_everything();
}

fn long_scripts_of_openssh_pass(route: Route) {
    let scene = Scene::start(route);
    scene.all_pass(&["exit-status", "stderr-data"]);
    if route == Route::Direct {
        // It spoils what the bastion itself sends; by a jump that is another's.
        scene.all_pass(&["integrity"]);
    }
    let _alone = LISTENING.lock().unwrap_or_else(PoisonError::into_inner);
    scene.all_pass(&["dynamic-forward"]);
    scene.all_pass(&["forwarding"]);
    scene.rig.verify_everything();
}

/// The client asks for new keys, after a few bytes and after some seconds, with every algorithm. The bastion never does: that is
/// the client's affair. The script reads the limits of `sshd` itself at its end.
fn new_keys_by_the_client_s_wish_whatever_the_algorithm(route: Route) {
    let scene = Scene::start(route);
    let output = scene.run("rekey");
    let said = String::from_utf8_lossy(&output.stdout);
    let (client, server) = said.split_once("server rekeylimit 16\n").expect("the client's part");
    assert!(
        client.lines().count() > 20 && client.lines().all(|line| line.starts_with("client rekey")),
        "{said}"
    );
    let others = server.lines().filter(|line| !line.starts_with("server rekeylimit"));
    let expected = ["no rekeying occurred"; 6].into_iter();
    let expected = expected.chain(["rekeylimit parsing", "FATAL: rekeylimit size: expected 16 bytes got "]);
    assert_eq!(others.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{said}");
    scene.rig.verify_everything();
}

/// It asks for variables that are not on the bastion's list, and looks for words that OpenSSH's `sshd` says to who is no client.
fn multiplexing_passes_but_for_what_only_sshd_says(route: Route) {
    let scene = Scene::start(route);
    let _alone = LISTENING.lock().unwrap_or_else(PoisonError::into_inner);
    let output = scene.run("multiplex");
    let said = String::from_utf8_lossy(&output.stdout);
    let failures: Vec<&str> = said.lines().filter(|line| !line.starts_with("test ")).collect();
    let expected = [
        "environment not found",
        "environment not found",
        "connect to local forward path failed",
        "connect to remote forwarded path failed",
        "failed connection multiplexing",
    ];
    assert_eq!(failures, expected, "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    scene.rig.verify_everything();
}

fn passed(script: &str, output: &Output) {
    let (said, erred) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(
        output.status.success() && said.contains("\nok ") || said.starts_with("ok "),
        "{script}: {said}\n{erred}"
    );
}

/// A bastion on the port that the scripts are given.
struct Scene {
    rig: Rig,
    route: Route,
    port: u16,
    configuration: PathBuf,
    folder: TempDir,
}

impl Scene {
    fn start(route: Route) -> Self {
        assert!(
            Path::new(SCRIPTS).exists(),
            "{SCRIPTS} is missing: integration-tests/run installs openssh-tests"
        );
        let folder = tempfile::Builder::new().prefix("bartizan-regress-").tempdir().unwrap();
        let port = three_free_ports();
        let listen = format!("listen = [\"127.0.0.1:{port}\"]");
        let rig = allowed(port, folder.path()).setting("ssh", &listen).start();
        code_given(&rig);
        let shell = rig.client("ana").remote_shell();
        let configuration = PathBuf::from(shell.split(' ').nth(2).unwrap());
        Self { rig, route, port, configuration, folder }
    }

    fn all_pass(&self, scripts: &[&str]) {
        std::thread::scope(|threads| {
            for script in scripts {
                threads.spawn(|| passed(script, &self.run(script)));
            }
        });
    }

    /// Runs one in a folder of its own.
    fn run(&self, script: &str) -> Output {
        let folder = self.folder.path().join(script);
        let copied = Command::new("cp").arg("-a").arg(SCRIPTS).arg(&folder).status().unwrap();
        assert!(copied.success());
        let mut run = Command::new("timeout");
        run.args(["300", "sh", "test-exec.sh"]).arg(&folder).arg(folder.join(format!("{script}.sh")));
        run.current_dir(&folder).env_remove("SSH_AUTH_SOCK").stdin(Stdio::null());
        run.env("TEST_SHELL", "sh").env("TEST_SSH_UNSAFE_PERMISSIONS", "1").env("BUILDDIR", &folder);
        run.env("TEST_SSH_PORT", self.port.to_string()).env("TMPDIR", &folder);
        run.env("BARTIZAN_OBJ", &folder).env("BARTIZAN_KEYS", self.rig.path(""));
        run.env("BARTIZAN_ROUTE", format!("{:?}", self.route));
        run.env("BARTIZAN_CONFIGURATION", &self.configuration);
        for (name, program) in [
            ("SSH", beside("regress_ssh.sh")),
            ("SSHD", beside("regress_sshd.sh")),
            ("SCP", "/usr/bin/scp".into()),
            ("SFTP", "/usr/bin/sftp".into()),
            ("SFTPSERVER", "/usr/lib/openssh/sftp-server".into()),
            ("SSHAGENT", "/usr/bin/ssh-agent".into()),
            ("SSHADD", "/usr/bin/ssh-add".into()),
            ("SSHKEYGEN", "/usr/bin/ssh-keygen".into()),
            ("SSHKEYSCAN", "/usr/bin/ssh-keyscan".into()),
        ] {
            run.env(format!("TEST_SSH_{name}"), program);
        }
        run.output().unwrap()
    }
}

/// A script that lies beside this file.
fn beside(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(name)
}

/// Forwards to wherever the scripts lead them.
fn allowed(port: u16, folder: &Path) -> Builder {
    let tcp = FORWARDED.into_iter().chain([port, port + 1]).map(|port| format!("127.0.0.1:{port}"));
    let sockets = ["forwarding", "multiplex"].into_iter().flat_map(|script| {
        let folder = folder.join(script);
        (1..4).map(move |n| format!("unix:{}", folder.join(format!("unix-{n}.fwd")).display()))
    });
    let places = tcp.chain(sockets).chain([format!("localhost:{port}")]);
    let rig = Rig::new().operator("ana").target("db1").allow("reverse-forward");
    places.fold(rig, |rig, place| rig.forward_to(&place))
}

/// The first of three that follow each other, below those that a system gives away by itself.
fn three_free_ports() -> u16 {
    let free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    // Scenes of one process begin at different places, and so do processes.
    static SCENES: AtomicU16 = AtomicU16::new(0);
    let process = u16::try_from(std::process::id() % 100).unwrap();
    let begin = 10_000 + process * 200 + SCENES.fetch_add(1, Ordering::Relaxed) * 20;
    let mut ports = (begin..32_000).step_by(4);
    ports.find(|port| (0..3).all(|n| free(port + n))).expect("three free ports")
}
