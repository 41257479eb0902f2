//! What comes to the agent on a laptop: frames, and the messages in them.
//! Holds: no memory for bytes that have not come; what is read as a list, a bind, a request or a login is written the same; a
//! login is nothing but a login.
#![no_main]

use agent::wire::{Identities, LARGEST, Login, Request, put_string, read_frame, write_frame};
use bartizan_fuzz::{at_once, sow, within};
use libfuzzer_sys::fuzz_target;

fn strings(front: &[u8], strings: &[&[u8]]) -> Vec<u8> {
    let mut message = front.to_vec();
    strings.iter().for_each(|string| put_string(&mut message, string));
    message
}

fn login(data: &[u8]) {
    let Ok(login) = Login::parse(data) else { return };
    // The user's name and the flag are the client's: they are taken as they stand.
    let begin = strings(&strings(&[], &[login.session_id]), &[]);
    assert!(data.starts_with(&begin) && data[begin.len()] == 50);
    let method: &[u8] =
        if login.host_key.is_some() { b"publickey-hostbound-v00@openssh.com" } else { b"publickey" };
    let mut end = strings(&[], &[b"ssh-connection", method]);
    end.push(1);
    end = strings(&end, &[login.algorithm, login.key]);
    end = strings(&end, login.host_key.as_slice());
    let flag = end.len().min(data.len());
    let mut tail = data[data.len() - flag..].to_vec();
    let at = 4 + b"ssh-connection".len() + 4 + method.len();
    assert_ne!(tail[at], 0, "a question, not a login");
    tail[at] = 1;
    assert!(tail == end);
}

fn message(message: &[u8]) {
    match Request::read(message) {
        Request::Identities => assert_eq!(message, [11]),
        Request::Sign(request) => {
            let again = strings(&[13], &[request.key, request.data]);
            assert!(message.starts_with(&again) && message.len() == again.len() + 4);
            login(request.data);
        }
        Request::Bind(Ok(bind)) => {
            let mut again = strings(
                &[27],
                &[b"session-bind@openssh.com", bind.host_key, bind.session_id, bind.signature],
            );
            again.push(u8::from(bind.is_forwarding));
            assert!(message[..message.len() - 1] == again[..again.len() - 1]);
            assert_eq!(message.last().is_some_and(|flag| *flag != 0), bind.is_forwarding);
        }
        Request::Bind(Err(_)) => {
            assert!(message.starts_with(&strings(&[27], &[b"session-bind@openssh.com"])))
        }
        Request::Other => {}
    }
    if let Ok(list) = within(128 * message.len() + 1024, || Identities::parse(message)) {
        assert!(list.answer() == message);
    }
    login(message);
}

fn seeds() -> Vec<Vec<u8>> {
    let mut login = strings(&[], &[&[7; 32]]);
    login.push(50);
    login = strings(&login, &[b"alice", b"ssh-connection", b"publickey-hostbound-v00@openssh.com"]);
    login.push(1);
    login = strings(&login, &[b"ssh-ed25519", b"key", b"host key"]);
    let sign = [strings(&[13], &[b"key", &login]), vec![0; 4]].concat();
    let bind =
        [strings(&[27], &[b"session-bind@openssh.com", b"host", b"id", b"signature"]), vec![0]].concat();
    let list = strings(&[12, 0, 0, 0, 2], &[b"key", b"comment", b"other", b""]);
    let framed = strings(&[], &[&[11], &bind, &sign, &list]);
    vec![login, sign, bind, list, framed]
}

fuzz_target!(init: sow("agent_protocol", seeds()), |bytes: &[u8]| {
    let mut rest = bytes;
    while !rest.is_empty() {
        let before = rest;
        // A message grows by doubling.
        let read = within(4 * bytes.len() + 4096, || at_once(read_frame(&mut rest)));
        let Ok(Some(frame)) = read else { break };
        assert!((1..=LARGEST).contains(&frame.len()));
        let mut written = Vec::new();
        at_once(write_frame(&mut written, &frame)).expect("written");
        assert!(before.starts_with(&written) && before.len() == written.len() + rest.len());
        message(&frame);
    }
    message(bytes);
});
