//! OpenSSH's own regression scripts, as Debian packs them (`openssh-tests`), with the bastion where they expect their `sshd`.
//! They are not changed: what they call `ssh` adds who logs in and to which target, and what they call `sshd` is a pipe to the
//! bastion's port. It never counts a script as passed whose failures are others than the ones named here.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
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
    short_scripts_pass,
    #[ignore = "long: scripts that wait for minutes"]
    long_scripts_pass,
    #[ignore = "long: two minutes"]
    multiplexing_passes_but_for_what_only_sshd_says,
}

/// At one time: most of their time they sleep.
fn short_scripts_pass(route: Route) {
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

fn long_scripts_pass(route: Route) {
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
        self.write_ssh(&folder.join("bartizan-ssh"));
        write_sshd(&folder.join("bartizan-sshd"), &folder);
        let mut run = Command::new("timeout");
        run.args(["300", "sh", "test-exec.sh"]).arg(&folder).arg(folder.join(format!("{script}.sh")));
        run.current_dir(&folder).env_remove("SSH_AUTH_SOCK").stdin(Stdio::null());
        run.env("TEST_SHELL", "sh").env("TEST_SSH_UNSAFE_PERMISSIONS", "1").env("BUILDDIR", &folder);
        run.env("TEST_SSH_PORT", self.port.to_string()).env("TMPDIR", &folder);
        for (name, program) in [
            ("SSH", folder.join("bartizan-ssh")),
            ("SSHD", folder.join("bartizan-sshd")),
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

    /// `ssh` with words before all others, so that they count: who, to where, with which keys. Of the algorithms it tells those
    /// that the bastion offers. By a jump its connection is one inside the login to whatever host and port the script wanted.
    fn write_ssh(&self, path: &Path) {
        let (keys, configuration) = (self.rig.path(""), self.configuration.display());
        let keys = keys.display();
        let way = match self.route {
            Route::Direct => "-o User=ana+root+db1 -o HostKeyAlias=bastion.test".to_owned(),
            Route::Jump => "-o User=root -o HostKeyAlias=db1 -o ProxyCommand=\"$outer\"".to_owned(),
        };
        let text = format!(
            "#!/bin/sh\n\
             outer='/usr/bin/ssh -F {configuration} -o BatchMode=yes -p %p -W db1:22 ana@bastion'\n\
             case \" $* \" in\n\
             *' -Q key-plain '*) echo ssh-ed25519; exit ;;\n\
             *' -Q mac '*) printf '%s\\n' hmac-sha2-256-etm@openssh.com hmac-sha2-512-etm@openssh.com; exit ;;\n\
             *' -Q cipher-auth '*) printf '%s\\n' aes128-gcm@openssh.com aes256-gcm@openssh.com chacha20-poly1305@openssh.com; exit ;;\n\
             *' -Q '*) exec /usr/bin/ssh \"$@\" ;;\n\
             esac\n\
             exec /usr/bin/ssh {way} -o UserKnownHostsFile={keys}known_hosts -o GlobalKnownHostsFile=/dev/null \
             -o IdentitiesOnly=yes -o IdentityAgent=none -i {keys}ana-device -i {keys}ana-key \"$@\"\n"
        );
        executable(path, &text);
    }
}

/// What stands for `sshd`: a pipe to the bastion where one is wanted on a pipe; else a process to be ended, since the bastion listens.
fn write_sshd(path: &Path, folder: &Path) {
    let folder = folder.display();
    let text = format!(
        "#!/bin/sh\n\
         case \" $* \" in\n\
         *' -t '*) exit 0 ;;\n\
         *' -i '*) exec {folder}/netcat -N 127.0.0.1 \"$TEST_SSH_PORT\" ;;\n\
         esac\n\
         sh -c 'sleep 300 & trap \"rm -f {folder}/pidfile; kill $!; exit 0\" TERM; echo $$ > {folder}/pidfile; wait' \
         > /dev/null 2>&1 < /dev/null &\n"
    );
    executable(path, &text);
}

fn executable(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    std::fs::set_permissions(path, mode).unwrap();
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
    let begin = 10_000 + u16::try_from(std::process::id() % 2000).unwrap() * 10;
    let mut ports = (begin..32_000).step_by(4);
    ports.find(|port| (0..3).all(|n| free(port + n))).expect("three free ports")
}
