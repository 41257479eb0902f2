//! Files moved by stock clients, and what `recording files` tells of them: byte for byte, and to their end or not.
//! It never looks into a recording but by the bastion's own words.

use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;
use std::process::{Command, Output};

use bartizan_integration_tests::{Client, DEADLINE, Rig, noise, sha256, until};
use serde_json::Value;

/// A scene in which the code was given once: `sftp -b` answers no prompts.
fn rig() -> Rig {
    let rig = Rig::new().operator("ana").target("db1").start();
    assert!(rig.client("ana").ssh("db1", "true").status.success());
    rig.sealed_recordings(1);
    rig
}

fn ran(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What is told of the newest recording, once so many more are sealed.
fn told(rig: &Rig, count: usize) -> Vec<Value> {
    let recordings = rig.sealed_recordings(count + 1);
    assert_eq!(recordings.len(), count + 1);
    let id = recordings.last().unwrap()["id"].as_str().unwrap();
    serde_json::from_str(&rig.said(&["recording", "files", id, "--json"])).unwrap()
}

fn sftp(ana: &Client<'_>, rig: &Rig, batch: &[u8]) -> Output {
    let path = rig.path("batch");
    std::fs::write(&path, batch).unwrap();
    ana.command("sftp").arg("-b").arg(&path).arg(ana.at("db1")).output().unwrap()
}

fn one<'a>(facts: &'a [Value], what: &str, path: &Path) -> &'a Value {
    let path = path.to_str().unwrap();
    let found: Vec<&Value> =
        facts.iter().filter(|fact| fact["what"] == what && fact["path"] == path).collect();
    assert_eq!(found.len(), 1, "{what} {path}: {facts:#?}");
    found[0]
}

#[test]
fn every_file_that_sftp_moves_or_changes_is_told_with_its_digest() {
    let rig = rig();
    let ana = rig.client("ana");
    let (folder, bytes) = (rig.path("folder"), noise(3 << 20, 7));
    let at = |name: &str| folder.join(name);
    std::fs::write(rig.path("local"), &bytes).unwrap();
    std::fs::write(rig.path("none"), b"").unwrap();
    let odd = std::ffi::OsString::from_vec(b"odd-\xff".to_vec());
    let mut batch = format!(
        "mkdir {0}\nput {1}/local {0}/a\nchmod 600 {0}/a\nrename {0}/a {0}/b\nget {0}/b {1}/back\nput {1}/none {0}/empty\n\
         get {0}/empty {1}/empty-back\nsymlink {0}/b {0}/link\n-get {0}/missing {1}/x\n-put {1}/local /proc/nothing\nput {1}/none {0}/",
        folder.display(),
        rig.path("").display().to_string().trim_end_matches('/'),
    )
    .into_bytes();
    batch.extend_from_slice(odd.as_bytes());
    batch.extend_from_slice(
        format!("\nrm {0}/empty\nmkdir {0}/sub\nrmdir {0}/sub\n", folder.display()).as_bytes(),
    );
    ran(&sftp(&ana, &rig, &batch));
    let facts = told(&rig, 1);
    for (fact, direction) in
        [(one(&facts, "moved", &at("a")), "upload"), (one(&facts, "moved", &at("b")), "download")]
    {
        assert_eq!((&fact["direction"], &fact["outcome"]), (&direction.into(), &"complete".into()), "{fact}");
        assert_eq!(
            (&fact["bytes"], &fact["sha256"]),
            (&bytes.len().into(), &sha256(&bytes).into()),
            "{fact}"
        );
        assert!(fact["mode"].is_string() && fact["time"].is_string(), "{fact}");
    }
    let empties: Vec<&Value> = facts
        .iter()
        .filter(|fact| fact["path"] == at("empty").to_str().unwrap() && fact["what"] == "moved")
        .collect();
    assert_eq!(empties.len(), 2, "there and back: {facts:#?}");
    assert!(
        empties
            .iter()
            .all(|fact| fact["bytes"] == 0 && fact["outcome"] == "complete" && fact["sha256"] == sha256(b""))
    );
    assert_eq!(one(&facts, "renamed", &at("a"))["to"], at("b").to_str().unwrap());
    assert_eq!(one(&facts, "linked", &at("link"))["to"], at("b").to_str().unwrap());
    let changed = facts.iter().any(|fact| fact["what"] == "changed" && fact["to"]["mode"] == "0600");
    assert!(changed, "{facts:#?}");
    for (what, name) in [("made", "sub"), ("unmade", "sub"), ("removed", "empty")] {
        assert_eq!(one(&facts, what, &at(name))["outcome"], "ok");
    }
    assert!(
        facts.iter().any(|fact| fact["what"] == "refused" && fact["path"] == "/proc/nothing"),
        "{facts:#?}"
    );
    let named = [folder.as_os_str().as_bytes(), b"/odd-\xff"].concat();
    let encoded = data_encoding::BASE64.encode(&named);
    assert!(facts.iter().any(|fact| fact["path_base64"] == encoded && fact["what"] == "moved"), "{facts:#?}");
    // For people, and without the content anywhere.
    let id = rig.recordings()[1]["id"].as_str().unwrap().to_owned();
    let table = rig.said(&["recording", "files", &id]);
    assert!(table.contains("renamed") && table.contains(&sha256(&bytes)), "{table}");
    assert!(rig.recordings()[1]["bytes"].as_u64().unwrap() < 1 << 20, "facts, not files");
    let event = rig.events().into_iter().find(|event| event["type"] == "admin.recording.files").unwrap();
    assert_eq!(event["detail"]["word"]["recording"], id);
    rig.verify_everything();
}

#[test]
fn what_is_resumed_or_cut_is_not_called_complete() {
    let rig = rig();
    let ana = rig.client("ana");
    let bytes = noise(2 << 20, 9);
    let (there, back) = (rig.path("there"), rig.path("back"));
    std::fs::write(&there, &bytes).unwrap();
    std::fs::write(&back, &bytes[..1 << 20]).unwrap();
    ran(&sftp(&ana, &rig, format!("reget {} {}\n", there.display(), back.display()).as_bytes()));
    assert_eq!(sha256(&std::fs::read(&back).unwrap()), sha256(&bytes));
    let facts = told(&rig, 1);
    let resumed = one(&facts, "moved", &there);
    assert_eq!((&resumed["outcome"], &resumed["from"]), (&"partial".into(), &(1 << 20).into()), "{resumed}");
    assert_eq!(resumed["sha256"], sha256(&bytes[1 << 20..]), "of what moved");

    // A client that is killed in the middle of a slow upload.
    let (large, sink) = (rig.path("large"), rig.path("sink"));
    std::fs::write(&large, vec![7; 64 << 20]).unwrap();
    let remote = format!("{}:{}", ana.at("db1"), sink.display());
    let mut scp = ana.command("scp").args(["-l", "8000"]).arg(&large).arg(&remote).spawn().unwrap();
    until("a part of the file at the target", DEADLINE, || {
        let length = std::fs::metadata(&sink).map_or(0, |about| about.len());
        (length > 100_000).then_some(())
    });
    scp.kill().unwrap();
    scp.wait().unwrap();
    let facts = told(&rig, 2);
    let cut = one(&facts, "moved", &sink);
    assert_eq!((&cut["outcome"], &cut["direction"]), (&"cut".into(), &"upload".into()), "{cut}");
    rig.verify_everything();
}

#[test]
fn scp_of_today_and_of_old_are_told_alike_and_their_content_is_not_kept() {
    let rig = rig();
    let ana = rig.client("ana");
    let tree = rig.new_folder("tree");
    let (large, small) = (noise(1 << 20, 3), b"small, and easily found in what is kept".to_vec());
    std::fs::create_dir(tree.join("sub")).unwrap();
    std::fs::write(tree.join("large"), &large).unwrap();
    std::fs::write(tree.join("sub/small"), &small).unwrap();
    let mut count = 0;
    for (options, up) in
        [(&["-r"][..], true), (&["-r"], false), (&["-r", "-O"], true), (&["-r", "-O"], false)]
    {
        count += 1;
        let (there, back) = (rig.path(format!("there-{count}")), rig.path(format!("back-{count}")));
        let remote = |path: &Path| format!("{}:{}", ana.at("db1"), path.display());
        let mut scp = ana.command("scp");
        scp.args(options);
        match up {
            true => scp.arg(&tree).arg(remote(&there)),
            false => scp.arg(remote(&tree)).arg(&back),
        };
        ran(&scp.output().unwrap());
        let facts = told(&rig, count);
        let moved: Vec<&Value> = facts.iter().filter(|fact| fact["what"] == "moved").collect();
        assert_eq!(moved.len(), 2, "{facts:#?}");
        let direction = if up { "upload" } else { "download" };
        for (name, content) in [("large", &large), ("sub/small", &small)] {
            let found = moved.iter().find(|fact| fact["path"].as_str().unwrap().ends_with(name)).expect(name);
            assert_eq!(found["sha256"], sha256(content), "{options:?} {found}");
            assert_eq!(
                (&found["outcome"], &found["direction"]),
                (&"complete".into(), &direction.into()),
                "{found}"
            );
            assert_eq!(found["bytes"], content.len());
        }
        let id = rig.recordings().last().unwrap()["id"].as_str().unwrap().to_owned();
        assert!(!rig.text_of(&id).contains("easily found"), "{options:?}");
    }
    let event = rig.events().into_iter().rev().find(|event| event["type"] == "channel.session");
    assert_eq!(event.unwrap()["detail"]["files"]["download"], 2);
    rig.verify_everything();
}

#[test]
fn what_only_looks_like_scp_is_kept_as_any_command_is_and_rsync_is_opaque() {
    let rig = rig();
    let ana = rig.client("ana");
    let said = ana.ssh("db1", "scp -f /nowhere; echo shown all the same");
    assert!(String::from_utf8_lossy(&said.stdout).contains("shown all the same"));
    assert!(told(&rig, 1).is_empty());
    let id = rig.recordings()[1]["id"].as_str().unwrap().to_owned();
    assert!(rig.text_of(&id).contains("shown all the same"));

    std::fs::write(rig.path("one"), "rsynced").unwrap();
    let mut rsync = Command::new("rsync");
    rsync.arg("-e").arg(ana.remote_shell()).arg(rig.path("one"));
    rsync.arg(format!("{}:{}", ana.at("db1"), rig.path("two").display()));
    ana.prepare(&mut rsync);
    ran(&rsync.output().unwrap());
    rig.sealed_recordings(3);
    let id = rig.recordings()[2]["id"].as_str().unwrap().to_owned();
    let output = rig.bartizan(&["recording", "files", &id]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("rsync"), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("no files"), "{output:?}");
}

#[test]
#[ignore = "long: mounts a file system, which a container may not let it"]
fn files_of_a_mounted_folder_are_told() {
    let rig = rig();
    let ana = rig.client("ana");
    let (folder, mount) = (rig.new_folder("folder"), rig.new_folder("mount"));
    let bytes = noise(1 << 20, 5);
    std::fs::write(folder.join("there"), &bytes).unwrap();
    let mut sshfs = Command::new("sshfs");
    sshfs.arg(format!("{}:{}", ana.at("db1"), folder.display())).arg(&mount);
    sshfs.args(["-o", &format!("ssh_command={}", ana.remote_shell()), "-o", "dir_cache=no"]);
    ana.prepare(&mut sshfs);
    ran(&sshfs.output().unwrap());
    let read = std::fs::read(mount.join("there"));
    let written = std::fs::write(mount.join("new"), &bytes);
    let renamed = std::fs::rename(mount.join("new"), mount.join("newer"));
    ran(&Command::new("fusermount3").arg("-u").arg(&mount).output().unwrap());
    assert_eq!(sha256(&read.unwrap()), sha256(&bytes));
    written.unwrap();
    renamed.unwrap();
    let facts = told(&rig, 1);
    let up = one(&facts, "moved", &folder.join("new"));
    assert_eq!((&up["direction"], &up["sha256"]), (&"upload".into(), &sha256(&bytes).into()), "{up}");
    let down = one(&facts, "moved", &folder.join("there"));
    assert_eq!((&down["direction"], &down["bytes"]), (&"download".into(), &bytes.len().into()), "{down}");
    assert!(facts.iter().any(|fact| fact["what"] == "renamed"), "{facts:#?}");
}
