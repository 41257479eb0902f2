//! A link that takes time: what is sent over it arrives some milliseconds later, as fast as it was sent.
//! It never loses, changes or reorders a byte, and needs nothing of the system: not every kernel can delay packets.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// How much is read at once.
const PIECE: usize = 64 << 10;
/// Pieces under way in one direction: more than any window, so that it is never the link that limits.
const UNDER_WAY: usize = 256;

/// A piece of what was sent, and when it arrives. An empty one is the end.
type Piece = (Instant, Vec<u8>);

/// A link to somewhere; it ends with the test's process.
pub struct Link {
    address: SocketAddr,
}

impl Link {
    /// A link to there that takes so long in each direction.
    pub fn to(there: SocketAddr, delay: Duration) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            while let Ok((near, _)) = listener.accept() {
                let Ok(far) = TcpStream::connect(there) else { continue };
                for stream in [&near, &far] {
                    stream.set_nodelay(true).unwrap();
                }
                carry(near.try_clone().unwrap(), far.try_clone().unwrap(), delay);
                carry(far, near, delay);
            }
        });
        Self { address }
    }

    /// Its near end.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn carry(from: TcpStream, to: TcpStream, delay: Duration) {
    let (send, arrive) = sync_channel(UNDER_WAY);
    std::thread::spawn(move || take(from, &send, delay));
    std::thread::spawn(move || bring(to, &arrive));
}

fn take(mut from: TcpStream, to: &SyncSender<Piece>, delay: Duration) {
    let mut piece = vec![0; PIECE];
    loop {
        let count = from.read(&mut piece).unwrap_or(0);
        if to.send((Instant::now() + delay, piece[..count].to_vec())).is_err() || count == 0 {
            return;
        }
    }
}

fn bring(mut to: TcpStream, from: &Receiver<Piece>) {
    while let Ok((at, piece)) = from.recv() {
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        if piece.is_empty() {
            let _ = to.shutdown(Shutdown::Write);
            return;
        }
        if to.write_all(&piece).is_err() {
            // Who sends hears that nobody takes it.
            let _ = to.shutdown(Shutdown::Both);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Peer, noise};

    #[test]
    fn what_is_sent_comes_back_whole_and_not_before_its_time() {
        let link = Link::to(Peer::echo().address(), Duration::from_millis(20));
        let mut near = TcpStream::connect(link.address()).unwrap();
        let began = Instant::now();
        near.write_all(b"x").unwrap();
        near.read_exact(&mut [0]).unwrap();
        assert!(began.elapsed() >= Duration::from_millis(40), "{:?}", began.elapsed());
        let sent = noise(5 << 20, 7);
        let (mut there, copy) = (near.try_clone().unwrap(), sent.clone());
        let sending = std::thread::spawn(move || {
            there.write_all(&copy).unwrap();
            there.shutdown(Shutdown::Write).unwrap();
        });
        let mut back = Vec::new();
        near.read_to_end(&mut back).unwrap();
        sending.join().unwrap();
        assert!(back == sent);
    }
}
