//! The agent under stock clients: `ssh`, `ssh-add`, `ssh-agent`, `ssh-keygen` and a real sshd.
//! It never uses a client of our own where a stock one does.

use std::process::Command;

use super::scene::{Scene, said, wait};

const CERTIFICATE: &str = "ED25519-CERT";
const OFFERED: &str = "Offering public key: bartizan device";

fn pinned(scene: &Scene, key: &str) -> String {
    format!("host_keys = [\"{}\"]", scene.public(key))
}

/// A scene whose device is enrolled for the sshd's own host key.
fn ready() -> Scene {
    let scene = Scene::new();
    scene.enrol(&pinned(&scene, "host"));
    scene
}

#[test]
fn the_person_s_own_keys_pass_through_and_log_in() {
    let mut scene = ready();
    let own = scene.own_agent();
    scene.run(Some(&own));
    let listed = scene.ssh_add(&["-L"]);
    assert_eq!(
        String::from_utf8_lossy(&listed.stdout),
        scene.text("person.pub"),
        "no device outside of a login"
    );
    let login = scene.ssh(scene.port, &["127.0.0.1", "echo", "in"]);
    assert_eq!(String::from_utf8_lossy(&login.stdout), "in\n", "{}", said(&login));
}

#[test]
fn other_requests_reach_the_person_s_own_agent() {
    let mut scene = ready();
    let own = scene.own_agent();
    scene.run(Some(&own));
    super::scene::keygen(&scene.path("second"));
    assert!(scene.ssh_add(&["-q", scene.path("second").to_str().unwrap()]).status.success());
    assert_eq!(String::from_utf8_lossy(&scene.ssh_add(&["-l"]).stdout).lines().count(), 2);
    std::fs::write(scene.path("data"), "signed").unwrap();
    let signed = Command::new("ssh-keygen")
        .args(["-Y", "sign", "-n", "file", "-f"])
        .arg(scene.path("second.pub"))
        .arg(scene.path("data"))
        .env("SSH_AUTH_SOCK", scene.socket())
        .output()
        .unwrap();
    assert!(signed.status.success() && scene.path("data.sig").exists(), "{}", said(&signed));
    assert!(scene.ssh_add(&["-q", "-D"]).status.success());
    assert!(said(&scene.ssh_add(&["-l"])).contains("no identities"));
}

#[test]
fn without_an_own_agent_there_are_no_keys_but_the_device() {
    let mut scene = ready();
    scene.run(None);
    assert!(said(&scene.ssh_add(&["-L"])).contains("no identities"));
    assert!(!scene.ssh_add(&["-q", scene.path("person").to_str().unwrap()]).status.success());
    let login = said(&scene.ssh(scene.port, &["127.0.0.1", "true"]));
    assert!(login.contains(OFFERED) && login.contains(CERTIFICATE), "{login}");
}

#[test]
fn the_device_is_offered_first_and_an_ordinary_server_refuses_it_before_any_signature() {
    let mut scene = ready();
    let own = scene.own_agent();
    scene.run(Some(&own));
    let device = std::fs::read_to_string(scene.dir().join("device.pub")).unwrap();
    std::fs::write(scene.path("authorized"), format!("cert-authority {device}")).unwrap();
    let login = scene.ssh(scene.port, &["127.0.0.1", "true"]);
    assert!(login.status.success());
    let login = said(&login);
    let (device, person) = (login.find(OFFERED).unwrap(), login.find("Offering public key: person").unwrap());
    assert!(device < person, "{login}");
    wait(|| scene.text("sshd.log").contains("critical option \"posture-only@bartizan\" is not supported"));
}

#[test]
fn another_host_key_is_offered_no_device() {
    let mut scene = ready();
    let own = scene.own_agent();
    scene.run(Some(&own));
    let other = scene.sshd("other", "");
    let login = scene.ssh(other, &["127.0.0.1", "true"]);
    assert!(login.status.success(), "the person's key still works: {}", said(&login));
    assert!(!said(&login).contains(OFFERED));
}

#[test]
fn a_forwarded_agent_offers_no_device_and_still_the_person_s_keys() {
    let mut scene = ready();
    let own = scene.own_agent();
    scene.run(Some(&own));
    let hop = format!(
        "ssh-add -L; ssh -F none -v -p {} -o IdentityFile=none -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
         -o BatchMode=yes 127.0.0.1 echo second hop",
        scene.port
    );
    let login = scene.ssh(scene.port, &["-A", "127.0.0.1", &hop]);
    let out = String::from_utf8_lossy(&login.stdout);
    assert!(out.contains("second hop") && out.contains("ssh-ed25519"), "{}", said(&login));
    assert!(!out.contains("cert-v01"), "{out}");
    // The first hop's own login offers it, the second's does not.
    assert_eq!(said(&login).matches(OFFERED).count(), 1, "{}", said(&login));
}

#[test]
fn a_host_certificate_counts_only_by_its_authority_and_name() {
    for (name, offered) in [("127.0.0.1", true), ("web-1", false)] {
        let mut scene = Scene::new();
        let made = Command::new("ssh-keygen")
            .args(["-q", "-h", "-I", "host", "-n", name, "-V", "-1m:+5m", "-s"])
            .arg(scene.path("ca"))
            .arg(scene.path("host.pub"))
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", said(&made));
        let line = format!("HostCertificate {}", scene.path("host-cert.pub").display());
        scene.port = scene.sshd("host", &line);
        scene.enrol(&format!("host_ca = [\"{}\"]", scene.public("ca")));
        scene.run(None);
        std::fs::write(scene.path("known"), format!("@cert-authority * {}\n", scene.public("ca"))).unwrap();
        let known = format!("UserKnownHostsFile={}", scene.path("known").display());
        let alias = format!("HostKeyAlias={name}");
        let login = scene.ssh(scene.port, &["-o", &known, "-o", &alias, "127.0.0.1", "true"]);
        assert_eq!(said(&login).contains(OFFERED), offered, "{name}: {}", said(&login));
    }
}

#[test]
fn an_own_agent_that_is_gone_or_dumb_keeps_nobody_out() {
    let mut scene = ready();
    let dumb = scene.path("dumb.sock");
    let listener = std::os::unix::net::UnixListener::bind(&dumb).unwrap();
    scene.run(Some(&dumb));
    let login = said(&scene.ssh(scene.port, &["127.0.0.1", "true"]));
    assert!(login.contains(OFFERED), "{login}");
    drop(listener);
    let login = said(&scene.ssh(scene.port, &["127.0.0.1", "true"]));
    assert!(login.contains(OFFERED), "{login}");
}

#[test]
fn a_second_agent_does_not_take_the_socket_and_a_left_one_is_replaced() {
    let mut scene = ready();
    let first = scene.run(None);
    let second = scene.command(&["run"]).output().unwrap();
    assert!(
        said(&second).contains("already answers") && second.status.code() == Some(1),
        "{}",
        said(&second)
    );
    let killed = Command::new("kill").args(["-9", &first.to_string()]).status().unwrap();
    assert!(killed.success());
    wait(|| std::os::unix::net::UnixStream::connect(scene.socket()).is_err());
    assert!(scene.socket().exists());
    scene.run(None);
    assert!(said(&scene.ssh_add(&["-l"])).contains("no identities"));
}

#[test]
fn it_is_small_when_idle() {
    let mut scene = ready();
    let own = scene.own_agent();
    let id = scene.run(Some(&own));
    for _ in 0..5 {
        assert!(scene.ssh(scene.port, &["127.0.0.1", "true"]).status.success());
    }
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kib < 15 * 1024, "{line}");
}

#[test]
fn hostile_bytes_end_their_own_connection_only() {
    use std::io::{Read as _, Write as _};
    let mut scene = ready();
    scene.run(None);
    let connect = || std::os::unix::net::UnixStream::connect(scene.socket()).unwrap();
    let hostile: [&[u8]; 5] = [
        &[255, 255, 255, 255, 11],
        &[0, 0, 0, 0],
        &[0, 4, 0, 1, 27],
        &[0, 0, 0, 9, 27, 0, 0, 0, 24, b's', b'e', b's', b's'],
        &[0, 0, 0, 5, 13, 255, 255, 255, 255],
    ];
    for bytes in hostile {
        let mut stream = connect();
        stream.write_all(bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer == [0, 0, 0, 1, 5], "{bytes:?}: {answer:?}");
    }
    // More connections than it serves at once, all silent.
    let silent: Vec<_> = (0..400).map(|_| connect()).collect();
    drop(silent);
    wait(|| said(&scene.ssh(scene.port, &["127.0.0.1", "true"])).contains(OFFERED));
}

#[test]
fn an_agent_connection_bound_to_two_servers_is_offered_no_device() {
    use std::os::unix::net::{UnixListener, UnixStream};
    // The client's agent connection is really the same for two binds: the second ssh talks through the first one's.
    let mut scene = ready();
    scene.run(None);
    let relay = scene.path("relay.sock");
    let listener = UnixListener::bind(&relay).unwrap();
    let mut agent = UnixStream::connect(scene.socket()).unwrap();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            while let Some(frame) = frame(&mut client) {
                let answer = exchange(&mut agent, &frame);
                if std::io::Write::write_all(&mut client, &answer).is_err() {
                    break;
                }
            }
        }
    });
    let through = format!("IdentityAgent={}", relay.display());
    let login = |scene: &Scene| said(&scene.ssh_by(&through, scene.port));
    assert!(login(&scene).contains(OFFERED));
    let second = login(&scene);
    assert!(second.contains("agent contains no identities"), "{second}");
}

fn frame(stream: &mut impl std::io::Read) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut frame).ok()?;
    Some([&length[..], &frame].concat())
}

fn exchange(agent: &mut std::os::unix::net::UnixStream, request: &[u8]) -> Vec<u8> {
    std::io::Write::write_all(agent, request).unwrap();
    frame(agent).unwrap()
}
