//! What the kernel knows of TCP connections and processes: looked at from outside, so nobody has to be asked.
//! It never looks beyond loopback over IPv4, where every scene lives.

use std::process::Child;

use rustix::process::{Pid, Signal};

/// Connections whose own end is this local port and that are established or half closed: whoever holds one has not seen its end.
pub(crate) fn connections_at(port: u16) -> usize {
    let own = format!(":{port:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let open = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields[1].ends_with(&own) && matches!(fields[3], "01" | "08")
    };
    table.lines().skip(1).filter(open).count()
}

/// Whether it still runs; one that nobody has buried yet does not.
pub fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Ends a program of the scene that nobody else ends.
pub fn end(pid: u32) {
    send(pid, Signal::KILL);
}

/// Stops a client in its tracks, with the `ssh` that it started for a jump.
pub fn freeze(client: &Child) {
    signal(client, Signal::STOP);
}

/// Lets it go on.
pub fn thaw(client: &Child) {
    signal(client, Signal::CONT);
}

fn signal(client: &Child, signal: Signal) {
    let own = client.id();
    let children = std::fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap();
    for pid in children.split_whitespace().map(|pid| pid.parse().unwrap()).chain([own]) {
        send(pid, signal);
    }
}

/// Sends one signal to one process.
pub(crate) fn send(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}
