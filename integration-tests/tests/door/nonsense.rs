//! What no client says, and clients that take for ever: the connection is closed, and memory stays where it was.
//! It never logs in.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use bartizan_integration_tests::Rig;

use crate::hostile::{Hostile, runtime};
use crate::raw::{closed_after, from, greeted, packet, until_closed};

/// A bastion that closes because of what was said does so long before this.
const AT_ONCE: Duration = Duration::from_secs(30);
const GRACE: Duration = Duration::from_secs(3);

#[test]
fn what_no_client_says_is_closed_at_once_and_takes_no_memory() {
    let rig = Rig::new().start();
    let (me, to) = (Ipv4Addr::LOCALHOST, rig.server().address());
    let line = b"SSH-2.0-x\r\n".to_vec();
    let after_line = |bytes: &[u8]| [&line, bytes].concat();
    let length = |length: u32| after_line(&length.to_be_bytes());
    let mut nonsense = vec![
        [b"SSH-2.0-".to_vec(), vec![b'x'; 10 << 20]].concat(),
        b"SSH-2.0-a\0b\r\n".to_vec(),
        b"SSH-1.99-x\r\n".to_vec(),
        b"SSH-1.5-x\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"PROXY TCP4 203.0.113.9 10.0.0.1 8080 22\r\nSSH-2.0-x\r\n".to_vec(),
        // Padding of nothing, and of more than there is.
        after_line(&[0, 0, 0, 12, 0, 20, 0, 0]),
        after_line(&[0, 0, 0, 12, 255, 20, 0, 0]),
        // A message that has no place before a key exchange.
        after_line(&packet(&[90, 0, 0, 0, 7])),
        // A name list of 2^28 names that are not there.
        after_line(&packet(&[&[20][..], &[0; 16], &[0x10, 0, 0, 0]].concat())),
    ];
    nonsense.extend([0, 1, 4, 5, 1 << 28, u32::MAX].map(length));
    // Ignored messages without end.
    nonsense.push(after_line(&packet(&[2, 0, 0, 0, 0]).repeat(20_000)));
    let before = rig.server().memory();
    for round in 0..5 {
        for said in &nonsense {
            let mut stream = from(me, to).unwrap();
            assert!(greeted(&mut stream));
            let took = closed_after(stream, said);
            assert!(took < AT_ONCE, "{round}: {took:?} for {:?}", &said[..said.len().min(60)]);
        }
    }
    let grown = rig.server().memory().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more than before");
}

/// One byte now and then, for as long as the other side listens.
fn drip(source: Ipv4Addr, rig: &Rig, said: &[u8]) -> Duration {
    let mut stream = from(source, rig.server().address()).unwrap();
    let began = Instant::now();
    assert!(greeted(&mut stream));
    let mut writer = stream.try_clone().unwrap();
    let said = said.to_vec();
    let dripping = std::thread::spawn(move || {
        for byte in said {
            if writer.write_all(&[byte]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    });
    until_closed(&mut stream);
    let took = began.elapsed();
    dripping.join().unwrap();
    took
}

#[test]
fn no_byte_moves_the_deadline_of_a_login() {
    let rig = Rig::new().operator("ana").setting("ssh", "login_grace = \"3s\"").start();
    let me = Ipv4Addr::LOCALHOST;
    let line = [b"SSH-2.0-".to_vec(), vec![b'x'; 200]].concat();
    let exchange = [b"SSH-2.0-x\r\n".to_vec(), packet(&[20; 400])].concat();
    std::thread::scope(|scope| {
        let silent = scope.spawn(|| drip(me, &rig, b""));
        let line = scope.spawn(|| drip(me, &rig, &line));
        let exchange = scope.spawn(|| drip(me, &rig, &exchange));
        let login = scope.spawn(|| {
            let began = Instant::now();
            runtime().block_on(async {
                let mut client = Hostile::connect(rig.server().address(), b"").await.unwrap();
                // A device proves itself, and then nothing but chatter comes.
                client.sign(&rig, "ana", "ana-device").await;
                while !client.handle.is_closed() {
                    let _ = client.handle.send_keepalive(false).await;
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            });
            began.elapsed()
        });
        for (what, run) in [("silent", silent), ("line", line), ("exchange", exchange), ("login", login)] {
            let took = run.join().unwrap();
            assert!(took >= GRACE - Duration::from_millis(500), "{what}: {took:?}");
            assert!(took < GRACE + Duration::from_secs(10), "{what}: {took:?}");
        }
    });
    rig.refusal("LOGIN-008");
}
