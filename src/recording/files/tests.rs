//! Conversations as clients and servers have them, and as nobody should: what is told of them.
//! It never starts a program; whole transfers are in `integration-tests/tests/files.rs`.

use data_encoding::HEXLOWER;
use ring::digest::{SHA256, digest};
use serde_json::Value;

use super::*;

/// A packet of the protocol.
fn packet(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&u32::try_from(body.len() + 1).unwrap().to_be_bytes()[..], &[kind], &body].concat()
}

fn n(number: u32) -> [u8; 4] {
    number.to_be_bytes()
}

fn n8(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

fn s(bytes: &[u8]) -> Vec<u8> {
    [&n(bytes.len() as u32)[..], bytes].concat()
}

fn sha(bytes: &[u8]) -> Value {
    HEXLOWER.encode(digest(&SHA256, bytes).as_ref()).into()
}

/// A conversation over sftp, in pieces of a few bytes.
struct Talk {
    files: Files,
    told: Vec<Value>,
    cut: usize,
}

impl Talk {
    fn new(cut: usize) -> Self {
        Self { files: Files::Sftp(Box::default()), told: Vec::new(), cut }
    }

    fn asks(&mut self, packet: &[u8]) -> &mut Self {
        for piece in packet.chunks(self.cut) {
            self.told.extend(self.files.sent(piece).told);
        }
        self
    }

    fn says(&mut self, packet: &[u8]) -> &mut Self {
        for piece in packet.chunks(self.cut) {
            self.told.extend(self.files.shown(piece).told);
        }
        self
    }

    fn opened(cut: usize, path: &[u8], flags: u32) -> Self {
        let mut talk = Self::new(cut);
        talk.asks(&packet(1, &[&n(3)])).says(&packet(2, &[&n(3)]));
        talk.asks(&packet(3, &[&n(1), &s(path), &n(flags), &n(4), &n(0o100_640)]));
        talk.says(&packet(102, &[&n(1), &s(b"h")]));
        talk
    }

    fn read(&mut self, id: u32, offset: u64) -> &mut Self {
        self.asks(&packet(5, &[&n(id), &s(b"h"), &n8(offset), &n(8)]))
    }

    fn data(&mut self, id: u32, bytes: &[u8]) -> &mut Self {
        self.says(&packet(103, &[&n(id), &s(bytes)]))
    }

    fn write(&mut self, id: u32, offset: u64, bytes: &[u8]) -> &mut Self {
        self.asks(&packet(6, &[&n(id), &s(b"h"), &n8(offset), &s(bytes)]))
    }

    fn status(&mut self, id: u32, code: u32) -> &mut Self {
        self.says(&packet(101, &[&n(id), &n(code), &s(b"words"), &s(b"en")]))
    }

    fn close(&mut self) -> &mut Self {
        self.asks(&packet(4, &[&n(99), &s(b"h")])).status(99, 0)
    }

    fn over(&mut self) -> Vec<Value> {
        self.told.extend(self.files.over().told);
        std::mem::take(&mut self.told)
    }
}

#[test]
fn a_pipelined_download_with_answers_out_of_order_is_told_whole() {
    for cut in [1, 3, 1000] {
        let mut talk = Talk::opened(cut, b"/etc/motd", 1);
        talk.read(2, 0).read(3, 8).read(4, 16);
        talk.data(3, b"ijklmnop").data(2, b"abcdefgh").status(4, 1).close();
        let told = talk.over();
        assert_eq!(told.len(), 2, "{told:#?}");
        assert_eq!((&told[0]["what"], &told[0]["for"][0]), (&"opened".into(), &"read".into()));
        assert_eq!((&told[1]["direction"], &told[1]["path"]), (&"download".into(), &"/etc/motd".into()));
        assert_eq!((&told[1]["bytes"], &told[1]["outcome"]), (&16.into(), &"complete".into()));
        assert_eq!(told[1]["sha256"], sha(b"abcdefghijklmnop"));
    }
}

#[test]
fn an_upload_is_complete_when_every_piece_and_the_close_were_confirmed() {
    let upload = |last: u32| {
        let mut talk = Talk::opened(7, b"x", 2 | 8 | 16);
        talk.write(2, 0, b"abcd").write(3, 4, b"efgh").status(2, 0).status(3, last).close();
        talk.over().pop().unwrap()
    };
    let whole = upload(0);
    assert_eq!((&whole["outcome"], &whole["mode"]), (&"complete".into(), &"0640".into()));
    assert_eq!((&whole["bytes"], &whole["sha256"]), (&8.into(), &sha(b"abcdefgh")));
    assert_eq!(upload(4)["outcome"], "failed");
    let mut talk = Talk::opened(7, b"x", 2);
    talk.write(2, 0, b"abcd");
    let cut = talk.over().pop().unwrap();
    assert_eq!((&cut["outcome"], &cut["bytes"]), (&"cut".into(), &4.into()));
    let mut talk = Talk::opened(7, b"x", 2);
    talk.write(2, 100, b"abcd").status(2, 0).close();
    let resumed = talk.over().pop().unwrap();
    assert_eq!((&resumed["outcome"], &resumed["from"]), (&"partial".into(), &100.into()));
    assert_eq!(resumed["sha256"], sha(b"abcd"), "of what moved");
}

#[test]
fn what_is_read_twice_or_never_to_its_end_is_not_called_complete() {
    let mut talk = Talk::opened(64, b"x", 1);
    talk.read(2, 0).data(2, b"abcdefgh").read(3, 0).data(3, b"ABCDEFGH").read(4, 8).status(4, 1).close();
    let twice = talk.over().pop().unwrap();
    assert_eq!((&twice["outcome"], &twice["sha256"]), (&"partial".into(), &Value::Null));
    assert_eq!(twice["bytes"], 16);
    let mut talk = Talk::opened(64, b"x", 1);
    talk.read(2, 0).data(2, b"abcdefgh").close();
    assert_eq!(talk.over().pop().unwrap()["outcome"], "partial");
    // More than was asked for is no piece of the file.
    let mut talk = Talk::opened(64, b"x", 1);
    talk.read(2, 0).data(2, b"abcdefghi").read(3, 9).status(3, 1).close();
    assert_ne!(talk.over().pop().unwrap()["outcome"], "complete");
}

#[test]
fn names_that_are_no_utf8_and_everything_else_that_changes_files_are_told() {
    let mut talk = Talk::new(5);
    talk.asks(&packet(18, &[&n(1), &s(b"a\xff"), &s(b"b")])).status(1, 0);
    talk.asks(&packet(13, &[&n(2), &s(b"gone")])).status(2, 3);
    talk.asks(&packet(14, &[&n(3), &s(b"dir"), &n(0)])).status(3, 0);
    talk.asks(&packet(15, &[&n(4), &s(b"dir")])).status(4, 0);
    talk.asks(&packet(9, &[&n(5), &s(b"f"), &n(4 | 8), &n(0o4755), &n(1), &n(2)])).status(5, 0);
    talk.asks(&packet(200, &[&n(6), &s(b"posix-rename@openssh.com"), &s(b"o"), &s(b"p")])).status(6, 0);
    talk.asks(&packet(200, &[&n(7), &s(b"statvfs@openssh.com"), &s(b"/")])).status(7, 0);
    talk.asks(&packet(200, &[&n(8), &s(b"copy-file"), &s(b"/")])).status(8, 8);
    talk.asks(&packet(3, &[&n(9), &s(b"/etc/shadow"), &n(1), &n(0)])).status(9, 3);
    let told = talk.over();
    let what: Vec<&str> = told.iter().map(|fact| fact["what"].as_str().unwrap()).collect();
    assert_eq!(
        what,
        ["renamed", "removed", "made", "unmade", "changed", "renamed", "extended", "refused"],
        "{told:#?}"
    );
    assert_eq!((&told[0]["path_base64"], &told[0]["to"]), (&"Yf8=".into(), &"b".into()));
    assert_eq!((&told[1]["outcome"], &told[1]["status"]), (&"refused".into(), &3.into()));
    assert_eq!(told[4]["to"], serde_json::json!({"mode": "4755", "times": [1, 2]}));
    assert_eq!((&told[7]["path"], &told[7]["status"]), (&"/etc/shadow".into(), &3.into()));
}

#[test]
fn what_would_take_more_room_than_there_is_makes_it_opaque_and_says_so() {
    let given_up = |asked: &dyn Fn(u32) -> Vec<u8>, answered: Option<&dyn Fn(u32) -> Vec<u8>>| {
        let mut talk = Talk::new(1 << 20);
        for id in 0..100_000 {
            talk.asks(&asked(id));
            if let Some(answer) = answered {
                talk.says(&answer(id));
            }
            if talk.told.last().is_some_and(|fact| fact["what"] == "opaque") {
                let told = talk.told.len();
                talk.asks(&asked(1)).says(&packet(102, &[&n(1), &s(b"h")]));
                assert_eq!(talk.told.len(), told, "nothing is followed any more");
                return talk.over();
            }
        }
        panic!("it went on for ever");
    };
    let long = vec![b'p'; 8000];
    given_up(&|id| packet(3, &[&n(id), &s(&long), &n(1), &n(0)]), None);
    given_up(&|id| packet(17, &[&n(id), &s(b"x")]), None);
    let open = |id: u32| packet(3, &[&n(id), &s(b"x"), &n(1), &n(0)]);
    let handle = |id: u32| packet(102, &[&n(id), &s(&n(id))]);
    let told = given_up(&open, Some(&handle));
    let cut = told.iter().filter(|fact| fact["outcome"] == "cut").count();
    let opened = told.iter().filter(|fact| fact["what"] == "opened").count();
    assert!(cut == opened && cut > 1000, "{cut} of {opened}");
    given_up(&|_| vec![0; 4], None);
}

#[test]
fn answers_that_nobody_asked_for_and_broken_packets_change_nothing() {
    let mut talk = Talk::opened(9, b"x", 1);
    talk.says(&packet(102, &[&n(77), &s(b"h")])).data(78, b"forged!!").status(79, 0);
    talk.asks(&packet(3, &[&n(5), &n(u32::MAX)])).asks(&packet(5, &[&n(6)])).asks(&packet(200, &[]));
    talk.asks(&packet(6, &[&n(7), &n(9999), &n(1)]));
    talk.read(2, 0).data(2, b"abcdefgh").read(3, 8).status(3, 1).close();
    let told = talk.over();
    let moved = told.last().unwrap();
    assert_eq!((&moved["outcome"], &moved["sha256"]), (&"complete".into(), &sha(b"abcdefgh")));
    assert_eq!(told.iter().filter(|fact| fact["what"] == "unread").count(), 4, "{told:#?}");
    // A write that says another length than it brings: nobody knows what was written.
    let mut talk = Talk::opened(9, b"x", 2);
    talk.asks(&packet(6, &[&n(2), &s(b"h"), &n8(0), &n(100), b"abc"])).status(2, 0).close();
    assert_eq!(talk.over().pop().unwrap()["sha256"], Value::Null);
}

fn scp(command: &str) -> Files {
    Files::Scp(Box::new(Scp::of(command.as_bytes()).expect(command)))
}

#[test]
fn only_a_command_that_runs_scp_and_nothing_else_is_followed() {
    for command in ["scp -t /tmp", "scp -r -p -f a/b", "scp -v -d -t -- -x", "scp -f a b*"] {
        assert!(Scp::of(command.as_bytes()).is_some(), "{command}");
    }
    for command in [
        "scp -f x; cat /etc/shadow",
        "scp -t $(id)",
        "scp -f x | sh",
        "scp a b",
        "rsync -t",
        "scp -S sh -t x",
        "scp -f x\nid",
        "",
    ] {
        assert!(Scp::of(command.as_bytes()).is_none(), "{command}");
    }
}

#[test]
fn files_and_folders_that_scp_sends_are_told_and_their_content_is_not_kept() {
    let mut files = scp("scp -r -f srv/tree");
    let mut told = Vec::new();
    assert!(files.sent(b"\0").told.is_empty());
    let mut kept = Vec::new();
    for (shown, answer) in [
        (&b"T1 0 2 0\n"[..], &b"\0"[..]),
        (b"D0755 0 tree\n", b"\0"),
        (b"C0644 5 a\xff\n", b"\0"),
        (b"hel", b""),
        (b"lo\0", b"\0"),
        (b"C0600 0 empty\n", b"\0"),
        (b"\0", b"\0"),
        (b"C0600 3 short\n", b"\0"),
        (b"abc\x01read error\n", b"\0"),
        (b"E\n", b"\0"),
        (b"\x01scp: gone: No such file\n", b""),
    ] {
        let facts = files.shown(shown);
        let content: Vec<u8> = facts.content.iter().flat_map(|range| shown[range.clone()].to_vec()).collect();
        kept.extend(shown.iter().filter(|byte| !content.contains(byte)));
        told.extend(facts.told);
        told.extend(files.sent(answer).told);
    }
    told.extend(files.over().told);
    assert_eq!(told.len(), 3, "{told:#?}");
    assert_eq!((&told[0]["path_base64"], &told[0]["mode"]), (&"c3J2L3RyZWUvYf8=".into(), &"0644".into()));
    assert_eq!((&told[0]["sha256"], &told[0]["outcome"]), (&sha(b"hello"), &"complete".into()));
    assert_eq!((&told[1]["path"], &told[1]["bytes"]), (&"srv/tree/empty".into(), &0.into()));
    assert_eq!(told[2]["outcome"], "failed");
    assert!(!String::from_utf8_lossy(&kept).contains("hello"));
}

#[test]
fn an_upload_by_scp_is_told_with_the_receivers_no() {
    let mut files = scp("scp -t /srv/new");
    files.shown(b"\0");
    files.sent(b"C0644 4 name\n");
    let refused = files.shown(b"\x01scp: /srv/new: Permission denied\n").told;
    assert_eq!((&refused[0]["outcome"], &refused[0]["path"]), (&"failed".into(), &"/srv/new".into()));
    files.sent(b"C0644 4 name\n");
    files.shown(b"\0");
    files.sent(b"da");
    let cut = files.over().told;
    assert_eq!(
        (&cut[0]["outcome"], &cut[0]["bytes"], &cut[0]["size"]),
        (&"cut".into(), &2.into(), &4.into())
    );
}

#[test]
fn who_speaks_out_of_turn_over_scp_is_opaque_from_there_on_and_all_of_it_is_kept() {
    let run = |steps: &[(bool, &[u8])]| {
        let mut files = scp("scp -f x");
        let (mut told, mut content) = (Vec::new(), 0);
        for (sender, bytes) in steps {
            let facts = if *sender { files.shown(bytes) } else { files.sent(bytes) };
            content += facts.content.iter().map(ExactSizeIterator::len).sum::<usize>();
            told.extend(facts.told);
        }
        let opaque = told.iter().filter(|fact| fact["what"] == "opaque").count();
        (opaque, content)
    };
    assert_eq!(run(&[(true, b"Welcome!\n")]), (1, 0), "before anybody was ready");
    assert_eq!(run(&[(false, b"\0"), (true, b"Welcome!\n")]), (1, 0));
    assert_eq!(run(&[(false, b"\0"), (true, b"C0644 9 x\nsecret")]), (1, 0), "not announced and accepted");
    assert_eq!(run(&[(false, b"\0"), (true, b"C0644 9 ../x\n")]), (1, 0));
    assert_eq!(run(&[(false, b"\0"), (true, b"C0644 2 x\n"), (false, b"\0"), (true, b"abX")]), (1, 2));
    assert_eq!(run(&[(false, b"\0"), (true, &[b'C'; 10_000])]), (1, 0));
}

proptest::proptest! {
    #[test]
    fn any_bytes_in_any_order_make_no_trouble(
        pieces in proptest::collection::vec((proptest::bool::ANY, 0..210u8, proptest::collection::vec(proptest::num::u8::ANY, 0..40)), 0..60),
        raw in proptest::bool::ANY,
    ) {
        for mut files in [Files::Sftp(Box::default()), scp("scp -t x"), scp("scp -r -f x")] {
            for (sent, kind, bytes) in &pieces {
                let bytes = if raw { bytes.clone() } else { packet(*kind, &[&n(u32::from(*kind % 4)), bytes]) };
                let facts = if *sent { files.sent(&bytes) } else { files.shown(&bytes) };
                let mut at = 0;
                for range in &facts.content {
                    proptest::prop_assert!(range.start >= at && range.end <= bytes.len());
                    at = range.end;
                }
            }
            files.over();
        }
    }
}
