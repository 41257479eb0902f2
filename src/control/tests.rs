//! Words carried out on a real bastion in a directory of its own.
//! It never replaces a part: keys, store, log and bundle are the ones that are served.

use std::path::Path;
use std::sync::Arc;

use keys::Keys;
use ledger::log::{Entry, Filter, Reader};
use policy::{OperatorName, RoleName};
use tokio::io::{AsyncWriteExt as _, BufReader};

use super::report::tests::Heap;
use super::wire::{Said, Shape};
use super::*;
use crate::config::Config;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti ana@laptop";

struct House {
    dir: tempfile::TempDir,
    bastion: Arc<Bastion>,
}

impl House {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("dir");
        Keys::create(&dir.path().join("keys")).expect("keys");
        let config = Config::parse(dir.path(), "").expect("config");
        let bastion = Bastion::open(config).await.expect("bastion");
        Self { dir, bastion }
    }

    async fn as_caller(&self, caller: &Caller, line: &str, input: &str) -> (u8, Heap) {
        let mut word = parse(line.split(' ')).expect(line);
        word.attach(&mut input.as_bytes()).expect(line);
        let mut heap = Heap::default();
        let code = dispatch(&self.bastion, caller, word, &mut heap).await;
        (code, heap)
    }

    /// The local administrator says a line that is carried out.
    async fn said(&self, line: &str, input: &str) -> String {
        let (code, heap) = self.as_caller(&root(), line, input).await;
        assert_eq!((code, heap.err.as_str()), (0, ""), "{line}");
        heap.out
    }

    /// The local administrator says a line that is not.
    async fn refused(&self, line: &str, input: &str) -> String {
        let (code, heap) = self.as_caller(&root(), line, input).await;
        assert_eq!((code, heap.out.as_str()), (1, ""), "{line}");
        assert_eq!(heap.err.matches('\n').count(), 1, "one sentence: {}", heap.err);
        heap.err
    }

    fn log(&self) -> Vec<Entry> {
        let log = Reader::open(self.bastion.audit.log_dir(), Filter::default()).expect("log");
        log.map(|entry| entry.expect("entry")).collect()
    }

    fn bundle(&self, name: &str, text: &str) -> String {
        let folder = self.dir.path().join(name);
        std::fs::create_dir(&folder).expect("mkdir");
        std::fs::write(folder.join("b.toml"), text).expect("write");
        folder.to_str().expect("utf-8").to_owned()
    }
}

fn root() -> Caller {
    Caller::Local { uid: 0, name: "root".to_owned() }
}

fn operator(name: &str, role: &str) -> Caller {
    let roles = [RoleName::parse(role).expect("role")].into_iter().collect();
    let name = OperatorName::parse(name).expect("name");
    Caller::Operator { name, roles, among_others: false, login: None }
}

#[tokio::test]
async fn an_operator_is_added_keyed_listed_disabled_and_revoked() {
    let house = House::new().await;
    assert_eq!(house.said("operator list", "").await, "no operators\n");
    house.said("operator add ana --role sre", "").await;
    house.said("operator key add ana -", KEY).await;
    let uri = house.said("operator totp ana", "").await;
    assert!(uri.starts_with("otpauth://totp/") && uri.lines().count() == 1, "{uri}");
    house.said("device register lt-1 --operator ana --key -", KEY.replace("XFSqti", "XFSqtg").as_str()).await;
    let listed: Value = serde_json::from_str(&house.said("operator list --json", "").await).expect("json");
    assert_eq!(listed[0]["name"], "ana");
    assert_eq!((listed[0]["keys"].as_u64(), listed[0]["codes"].as_bool()), (Some(1), Some(true)));
    assert_eq!(house.said("operator disable ana", "").await, "operator ana is disabled\n");
    assert_eq!(house.said("operator disable ana", "").await, "operator ana is already disabled\n");
    assert_eq!(house.said("operator enable ana", "").await, "operator ana is active\n");
    assert_eq!(house.said("device lock lt-1", "").await, "device lt-1 is locked\n");
    house.said("operator revoke ana", "").await;
    assert!(house.refused("operator enable ana", "").await.contains("final"));
    assert!(house.refused("operator totp ana", "").await.contains("revoked"));
}

#[tokio::test]
async fn one_key_is_one_operators_and_never_a_private_one() {
    let house = House::new().await;
    house.said("operator add ana", "").await;
    house.said("operator add bob", "").await;
    house.said("operator key add ana -", KEY).await;
    assert!(house.refused("operator key add bob -", KEY).await.contains("exists already"));
    assert!(house.refused("device register d --operator bob --key -", KEY).await.contains("SHA256:"));
    assert!(house.refused("operator key add bob -", "nonsense").await.contains("no public key"));
    let list = house.said("operator key list ana --json", "").await;
    let fingerprint = serde_json::from_str::<Value>(&list).expect("json")[0]["fingerprint"].clone();
    let fingerprint = fingerprint.as_str().expect("text");
    house.said(&format!("operator key remove ana {fingerprint}"), "").await;
    assert!(
        house.refused(&format!("operator key remove ana {fingerprint}"), "").await.contains("has no key")
    );
}

#[tokio::test]
async fn what_changes_something_stands_in_the_log_before_and_after_and_holds_no_secret() {
    let house = House::new().await;
    house.said("operator add ana", "").await;
    let seed = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP";
    house.said("operator totp ana --secret-file -", seed).await;
    house.refused("operator add ana", "").await;
    house.said("operator list", "").await;
    let log = house.log();
    let told: Vec<(String, String)> = log
        .iter()
        .map(|e| (e.event.kind.clone(), e.event.outcome.clone().unwrap_or_default()))
        .filter(|(kind, _)| kind.starts_with("admin."))
        .collect();
    let told: Vec<(&str, &str)> = told.iter().map(|(k, o)| (k.as_str(), o.as_str())).collect();
    assert_eq!(
        told,
        [
            ("admin.operator.add", "opened"),
            ("admin.operator.add", "ok"),
            ("admin.operator.totp", "opened"),
            ("admin.operator.totp", "ok"),
            ("admin.operator.add", "opened"),
            ("admin.operator.add", "failed"),
        ]
    );
    assert_eq!(log[0].event.detail["by"], json!({ "uid": 0, "name": "root" }));
    assert!(log.iter().all(|entry| !entry.json.contains(&seed[..16])));
}

#[tokio::test]
async fn an_operator_without_the_role_is_refused_and_the_log_says_who() {
    let house = House::new().await;
    let (code, heap) = house.as_caller(&operator("eve", "sre"), "operator add mallory", "").await;
    assert_eq!(code, 1);
    assert!(heap.err.contains("administrator"), "{}", heap.err);
    assert_eq!(house.said("operator list", "").await, "no operators\n");
    let last = house.log().pop().expect("entry").event;
    assert_eq!((last.kind.as_str(), last.operator.as_deref()), ("admin.operator.add", Some("eve")));
    assert_eq!(last.outcome.as_deref(), Some("refused"));
    let (code, _) = house.as_caller(&operator("eve", "auditor"), "audit list", "").await;
    assert_eq!(code, 0);
}

#[tokio::test]
async fn a_bundle_is_applied_whole_or_not_at_all() {
    let house = House::new().await;
    let good = house.bundle("good", "[[operator]]\nname = \"ana\"\n");
    assert_eq!(
        house.said(&format!("access check {good}"), "").await,
        "ok: operators 1, targets 0, grants 0\n"
    );
    assert_eq!(house.said(&format!("access apply {good}"), "").await, "version 1 is in force\n");
    assert!(house.dir.path().join("access/b.toml").exists());
    let wrong = house.bundle("wrong", "[[operator]]\nname = \"bob\"\nspeed = 3\n");
    for line in [format!("access check {wrong}"), format!("access apply {wrong}")] {
        let said = house.refused(&line, "").await;
        assert!(said.contains("b.toml") && said.contains('3'), "{said}");
    }
    let listed = house.said("operator list", "").await;
    assert!(listed.contains("ana") && !listed.contains("bob"), "{listed}");
    assert!(house.refused("operator add bob", "").await.contains("access bundle names the operators"));
    assert!(house.said("access show", "").await.contains("# version 1,"));
}

#[tokio::test]
async fn what_is_not_there_is_refused_by_name_and_empty_lists_say_so() {
    let house = House::new().await;
    for (line, name) in [
        ("operator disable nobody", "nobody"),
        ("operator unlock nobody", "nobody"),
        ("device lock no-laptop", "no-laptop"),
        ("device register d --operator nobody --key -", "nobody"),
        ("session show s-00000000000000000000000000", "s-0000"),
        ("session kill s-00000000000000000000000000", "s-0000"),
        ("recording show ../../keys", "../../keys"),
        ("recording play r-00000000000000000000000000", "r-0000"),
        ("recording verify ../../keys", "../../keys"),
        ("access who-can nothing", "nothing"),
        ("access explain nobody nothing", "nobody"),
        ("target check nothing", "nothing"),
        ("audit show 9999", "9999"),
    ] {
        assert!(house.refused(line, KEY).await.contains(name), "{line}");
    }
    for line in ["session list", "session list --live", "recording list", "device list", "target list"] {
        assert!(house.said(line, "").await.starts_with("no "), "{line}");
        assert_eq!(house.said(&format!("{line} --json"), "").await, "[]\n", "{line}");
    }
    assert_eq!(house.said("recording verify", "").await, "ok: 0 recordings, 0 frames, 0 bytes\n");
    assert!(house.said("audit verify", "").await.starts_with("ok: "));
}

#[tokio::test]
async fn a_flipped_byte_in_the_log_is_named() {
    let house = House::new().await;
    house.said("operator add ana", "").await;
    house.bastion.audit.stop().await;
    let path = house.bastion.audit.log_dir().join("entries.jsonl");
    let mut bytes = std::fs::read(&path).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).expect("write");
    let (code, heap) = house.as_caller(&root(), "audit verify", "").await;
    assert_eq!(code, 1);
    assert!(heap.out.starts_with("broken: ") && heap.out.contains("entries.jsonl"), "{}", heap.out);
}

#[tokio::test]
async fn what_only_takes_away_is_obeyed_when_the_log_cannot_be_written_and_nothing_else_is() {
    let house = House::new().await;
    house.said("operator add ana", "").await;
    house.said("device register lt-1 --operator ana --key -", KEY).await;
    house.bastion.audit.stop().await;
    for (line, state) in [
        ("device lock lt-1", "locked"),
        ("device lost lt-1", "lost"),
        ("device retire lt-1", "retired"),
        ("operator disable ana", "disabled"),
        ("operator revoke ana", "revoked"),
    ] {
        let (code, heap) = house.as_caller(&root(), line, "").await;
        assert_eq!(code, 0, "{line}: {}", heap.err);
        assert!(
            heap.out.contains(state) && heap.err.contains("not logged"),
            "{line}: {} {}",
            heap.out,
            heap.err
        );
    }
    for line in ["operator add bob", "device register lt-2 --operator ana --key -"] {
        house.refused(line, KEY).await;
    }
    assert!(!house.said("operator list", "").await.contains("bob"));
}

async fn conversation(house: &House, request: &[u8]) -> Vec<Said> {
    let (near, far) = tokio::io::duplex(1 << 16);
    let (from, mut to) = tokio::io::split(near);
    let caller = root();
    let answering = converse(&house.bastion, &caller, far);
    let asking = async {
        let _ = to.write_all(request).await;
        let mut from = BufReader::new(from);
        let mut said = Vec::new();
        while let Ok(one) = wire::hear::<Said, _>(&mut from, wire::LINE_MAX).await {
            said.push(one);
        }
        said
    };
    tokio::join!(answering, asking).1
}

#[tokio::test]
async fn a_conversation_answers_and_ends_with_the_exit_code() {
    let house = House::new().await;
    let request = wire::Request { v: wire::VERSION, shape: Shape::default(), word: Word::Health };
    let line = [serde_json::to_vec(&request).expect("json"), b"\n".to_vec()].concat();
    assert_eq!(conversation(&house, &line).await, [Said::Out("ok\n".into()), Said::Exit(0)]);
}

#[tokio::test]
async fn what_is_no_request_gets_a_sentence_and_does_nothing() {
    let house = House::new().await;
    let before = house.log().len();
    for request in [
        "{}\n",
        "rubbish\n",
        "{\"v\":2,\"shape\":{\"terminal\":false,\"columns\":0,\"rows\":0,\"keys\":false},\"word\":\"health\"}\n",
        "{\"v\":1,\"shape\":{\"terminal\":false,\"columns\":0,\"rows\":0,\"keys\":false},\"word\":{\"operator\":{\"add\":{\"name\":\"A B\",\"roles\":[],\"tenant\":\"default\"}}}}\n",
        "{\"v\":1,\"shape\":{\"terminal\":false,\"columns\":70000,\"rows\":0,\"keys\":false},\"word\":\"health\"}\n",
    ] {
        let said = conversation(&house, request.as_bytes()).await;
        assert!(matches!(said.as_slice(), [Said::Err(_), Said::Exit(2)]), "{request}: {said:?}");
    }
    assert_eq!(house.log().len(), before);
}

#[tokio::test]
async fn a_request_that_names_a_file_never_opens_it_here() {
    let house = House::new().await;
    house.said("operator add ana", "").await;
    let path = house.dir.path().join("there.pub");
    std::fs::write(&path, KEY).expect("write");
    let word = parse(["operator", "key", "add", "ana", path.to_str().expect("utf-8")]).expect("word");
    let mut heap = Heap::default();
    assert_eq!(dispatch(&house.bastion, &root(), word, &mut heap).await, 1);
    assert!(heap.err.contains("did not come with the request"), "{}", heap.err);
    let word = parse(["access", "apply", house.dir.path().to_str().expect("utf-8")]).expect("word");
    assert_eq!(dispatch(&house.bastion, &root(), word, &mut Heap::default()).await, 1);
    assert!(!Path::new(&house.dir.path().join("access")).exists());
}

#[tokio::test]
async fn check_finds_what_is_in_order_and_what_is_not() {
    let house = House::new().await;
    std::fs::write(house.dir.path().join(crate::config::FILE), "[ssh]\nbroken = 1\n").expect("write");
    let (code, heap) = house.as_caller(&root(), "check", "").await;
    assert_eq!(code, 1);
    let lines: Vec<&str> = heap.out.lines().collect();
    assert!(lines[0].contains("WRONG") && lines[0].contains("line 2"), "{}", heap.out);
    assert!(lines[1..].iter().all(|line| line.contains("  ok ")), "{}", heap.out);
}
