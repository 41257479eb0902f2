//! What an operator types where nothing is echoed, and what they log in with: in no file of the bastion, no word of it, no `ps`.
//! It looks for the very bytes; what is wrapped is not there.

use std::io::Write as _;
use std::path::Path;

use bartizan_integration_tests::Rig;

const TYPED: &str = "correct-horse-battery-staple";

/// The files under a folder that hold one of these texts.
fn holders(folder: &Path, texts: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holders(&path, texts));
        } else if path.is_file() {
            // The log's newest checkpoint takes its place by another name.
            let bytes = match std::fs::read(&path) {
                Err(gone) if gone.kind() == std::io::ErrorKind::NotFound => continue,
                read => read.unwrap(),
            };
            let holds = |text: &&&str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
            found.extend(texts.iter().filter(holds).map(|text| format!("{}: {text}", path.display())));
        }
    }
    found
}

#[test]
fn what_is_typed_and_not_echoed_and_what_one_logs_in_with_stand_nowhere() {
    let rig = Rig::new().operator("ana").role("auditor").target("db1").start();
    let mut child = rig.client("ana").start("db1", "read secret; echo got ${#secret}");
    writeln!(child.stdin.take().unwrap(), "{TYPED}").unwrap();
    let pid = rig.server().pid();
    let shown = ["cmdline", "environ"].map(|what| std::fs::read(format!("/proc/{pid}/{what}")).unwrap());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.stdout, format!("got {}\n", TYPED.len()).as_bytes());
    let id = rig.sealed_recordings(1)[0]["id"].as_str().unwrap().to_owned();
    let (code, seed) = (rig.phone("ana").used(), rig.phone("ana").base32());
    let said = [
        rig.text_of(&id),
        rig.said(&["recording", "export", &id, "--format", "jsonl"]),
        rig.said(&["recording", "show", &id, "--json"]),
        rig.said(&["audit", "list", "--json"]),
        rig.said(&["operator", "show", "ana", "--json"]),
        std::fs::read_to_string(rig.path("server.log")).unwrap(),
        String::from_utf8_lossy(&shown.concat()).into_owned(),
    ];
    assert!(said[0].contains("got"), "what was shown is there: {}", said[0]);
    for text in &said {
        // A code has six digits, which may stand anywhere by chance: in front of it nothing but a blank or a quote may.
        let code_stands =
            [" ", "\"", ":", "="].iter().any(|before| text.contains(&format!("{before}{code}")));
        assert!(!text.contains(TYPED) && !text.contains(&seed) && !code_stands, "{text}");
    }
    assert_eq!(holders(&rig.state(), &[TYPED, &seed]), Vec::<String>::new());
    // The same look finds what is there.
    assert!(!holders(&rig.state(), &["bastion.test"]).is_empty());
}
