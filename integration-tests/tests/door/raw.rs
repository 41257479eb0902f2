//! Peers that speak no SSH, or only its first words: bare sockets from addresses of their choice.
//! It never uses an SSH library.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The line that every bastion begins with.
pub const LINE: &[u8] = b"SSH-2.0-Bartizan\r\n";
/// Long enough for a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// An address of this machine that nobody else uses: 127.0.1.1 and on.
pub fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1, number)
}

/// As many descriptors for this test as the system lets it have: a crowd needs more than is usual.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: limit, maximum: limit }).unwrap();
}

/// Connects from this address.
pub fn from(source: Ipv4Addr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&socket, &SocketAddrV4::new(source, 0))?;
    connect(&socket, &to)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Whether the bastion speaks to whoever connects from this address.
pub fn is_answered(source: Ipv4Addr, to: SocketAddr) -> bool {
    from(source, to).is_ok_and(|mut stream| greeted(&mut stream))
}

/// Reads the identification line; `false` when the connection is closed instead.
pub fn greeted(stream: &mut TcpStream) -> bool {
    let mut line = [0; LINE.len()];
    stream.read_exact(&mut line).is_ok_and(|()| line == LINE)
}

/// Says this, and waits until the other side closes; how long that took.
pub fn closed_after(mut stream: TcpStream, said: &[u8]) -> Duration {
    let started = Instant::now();
    // The other side may close in the middle of it.
    let _ = stream.write_all(said);
    until_closed(&mut stream);
    started.elapsed()
}

/// Reads until the other side closes.
pub fn until_closed(stream: &mut TcpStream) {
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return,
            Ok(_) => {}
            Err(why) if why.kind() == ErrorKind::WouldBlock => panic!("not closed in {PATIENCE:?}"),
            Err(_) => return,
        }
    }
}

/// Whether the other side has closed, without waiting.
pub fn is_closed(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let mut bytes = [0; 4096];
    loop {
        match (&*stream).read(&mut bytes) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(why) => return why.kind() != ErrorKind::WouldBlock,
        }
    }
}

/// A packet in the clear.
pub fn packet(payload: &[u8]) -> Vec<u8> {
    let padding = 8 + (8 - (payload.len() + 5) % 8) % 8;
    let length = u32::try_from(payload.len() + padding + 1).unwrap();
    let mut packet = length.to_be_bytes().to_vec();
    packet.push(u8::try_from(padding).unwrap());
    packet.extend_from_slice(payload);
    packet.resize(packet.len() + padding, 0);
    packet
}
