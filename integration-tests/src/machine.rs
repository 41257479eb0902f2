//! What a machine asks of the bastion over HTTP: numbers and health, as a scraper does.
//! It never keeps a connection and knows no more of HTTP than that.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::Rig;
use crate::wait::{DEADLINE, until};

impl Rig {
    /// Where `[admin] listen` came to listen.
    pub fn admin(&self) -> SocketAddr {
        until("the [admin] listener", DEADLINE, || {
            let text = std::fs::read_to_string(self.state().join("listening.admin")).ok()?;
            text.split_once('\n').map(|(line, _)| line.parse().unwrap())
        })
    }

    /// `GET`; the status and the body.
    pub fn get(&self, path: &str) -> (u16, String) {
        get(self.admin(), path)
    }

    /// The value of a series on `/metrics`, written as it stands there: `name{label="value"}`.
    ///
    /// # Panics
    /// When there is none.
    pub fn number(&self, series: &str) -> f64 {
        let (status, text) = self.get("/metrics");
        assert_eq!(status, 200);
        number(&text, series).unwrap_or_else(|| panic!("no {series} in\n{text}"))
    }
}

/// `GET` from an address; the status and the body.
pub fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, body.to_owned())
}

/// The value of a series in a text of Prometheus' form.
pub fn number(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}
