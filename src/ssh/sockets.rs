//! The sockets operators connect to: bound as configured, or handed over by the service manager, which keeps them across restarts.
//! Never both: where sockets are handed over, `[ssh] listen` says nothing.

use std::io;
use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

use super::ServeError;

/// Connections that may wait to be accepted.
const WAITING: i32 = 1024;

/// The sockets of `LISTEN_FDS` (sd_listen_fds(3)); none when none were handed over.
///
/// # Errors
/// What was handed over is no listening TCP socket.
pub fn inherited() -> Result<Vec<TcpListener>, ServeError> {
    let mut handed = ListenFd::from_env();
    let mut sockets = Vec::new();
    for index in 0..handed.len() {
        let Some(socket) = handed.take_tcp_listener(index).map_err(ServeError::Inherited)? else { continue };
        if !sockopt::socket_acceptconn(&socket).map_err(|why| ServeError::Inherited(why.into()))? {
            let why = "it does not listen; set Accept=no in the socket unit";
            return Err(ServeError::Inherited(io::Error::other(why)));
        }
        socket.set_nonblocking(true).map_err(ServeError::Inherited)?;
        sockets.push(socket);
    }
    Ok(sockets)
}

/// A socket that listens on each of the addresses.
///
/// # Errors
/// The first one that cannot be had.
pub fn bound(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, ServeError> {
    let one = |&address| one(address).map_err(|why| ServeError::Bind { address, why: why.into() });
    addresses.iter().map(one).collect()
}

fn one(address: SocketAddr) -> rustix::io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, WAITING)?;
    Ok(TcpListener::from(socket))
}
