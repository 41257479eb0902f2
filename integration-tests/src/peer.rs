//! A server behind a target: what forwards lead to.
//! It never listens beyond loopback.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::Sum;

/// A stream that can be shut in one direction.
trait Duplex: Read + Write + Send + Sized + 'static {
    fn end(&self);
    fn twin(&self) -> Self;
}

impl Duplex for TcpStream {
    fn end(&self) {
        let _ = self.shutdown(Shutdown::Write);
    }

    fn twin(&self) -> Self {
        self.try_clone().unwrap()
    }
}

impl Duplex for UnixStream {
    fn end(&self) {
        let _ = self.shutdown(Shutdown::Write);
    }

    fn twin(&self) -> Self {
        self.try_clone().unwrap()
    }
}

/// What a server does with each connection.
#[derive(Clone)]
enum Manner {
    /// Everything comes back as it came.
    Echo,
    /// Everything is taken, and only when the client has ended its side the checksum and then these bytes are answered.
    Answer(Arc<Vec<u8>>),
    /// Sends without end and never reads.
    Flood,
    /// A page of HTTP.
    Page,
    /// The first connection is held and never read; the others are echoed.
    DeafOnce,
}

/// A server; it ends with the test's process.
pub struct Peer {
    address: SocketAddr,
    taken: Arc<AtomicUsize>,
}

impl Peer {
    /// Everything comes back as it came.
    pub fn echo() -> Self {
        Self::start(Manner::Echo)
    }

    /// Takes everything and, when the client has ended its side, answers with the checksum, a line end and these bytes.
    pub fn answering(bytes: Vec<u8>) -> Self {
        Self::start(Manner::Answer(Arc::new(bytes)))
    }

    /// Sends without end.
    pub fn flooding() -> Self {
        Self::start(Manner::Flood)
    }

    /// Holds the first connection and never reads it; echoes the others.
    pub fn deaf_once() -> Self {
        Self::start(Manner::DeafOnce)
    }

    /// A page of HTTP that says `in`.
    pub fn page() -> Self {
        Self::start(Manner::Page)
    }

    /// The same as [`Peer::echo`] at a path.
    pub fn echo_at(path: &Path) {
        let listener = UnixListener::bind(path).unwrap();
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                std::thread::spawn(move || serve(stream, Manner::Echo));
            }
        });
    }

    fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (address, taken) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let count = taken.clone();
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let first = count.fetch_add(1, Ordering::Relaxed) == 0;
                let manner = match manner {
                    Manner::DeafOnce if !first => Manner::Echo,
                    _ => manner.clone(),
                };
                std::thread::spawn(move || serve(stream, manner));
            }
        });
        Self { address, taken }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Connections it has taken so far.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

fn serve(mut stream: impl Duplex, manner: Manner) {
    let mut block = vec![0; 64 << 10];
    match manner {
        Manner::Echo => {
            let mut back = stream.twin();
            while let Ok(count @ 1..) = stream.read(&mut block) {
                if back.write_all(&block[..count]).is_err() {
                    return;
                }
            }
            back.end();
        }
        Manner::Answer(bytes) => {
            let mut sum = Sum::default();
            while let Ok(count @ 1..) = stream.read(&mut block) {
                sum.add(&block[..count]);
            }
            let (_, digest) = sum.end();
            let _ = stream.write_all(format!("{digest}\n").as_bytes());
            let _ = stream.write_all(&bytes);
            stream.end();
        }
        Manner::DeafOnce => std::thread::park(),
        Manner::Flood => while stream.write_all(&block).is_ok() {},
        Manner::Page => {
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                match stream.read(&mut block) {
                    Ok(count @ 1..) => asked.extend_from_slice(&block[..count]),
                    _ => return,
                }
            }
            let _ =
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nin\n");
            stream.end();
        }
    }
}

/// A port that is free now.
pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}
