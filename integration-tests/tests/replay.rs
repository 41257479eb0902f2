//! Recordings replayed, exported and searched as an auditor does it: on a terminal, in a pipe, into a file.
//! It never looks at anything but what was printed, what was left of the terminal, and the log.

use std::process::Command;

use bartizan_integration_tests::{DEADLINE, Rig, Terminal, binary, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A command's recording, by its id.
fn recorded(rig: &Rig, line: &str) -> String {
    let before = rig.recordings().len();
    assert!(rig.client("ana").ssh("db1", line).status.success());
    rig.sealed_recordings(before + 1).last().unwrap()["id"].as_str().unwrap().to_owned()
}

fn rig() -> Rig {
    Rig::new().operator("ana").target("db1").start()
}

fn on_terminal(rig: &Rig, words: &[&str]) -> Terminal {
    let mut command = Command::new(binary("bartizan"));
    command.arg("--dir").arg(rig.state()).args(words);
    Terminal::open(command)
}

#[test]
fn a_replay_is_paused_sought_searched_and_left() {
    let rig = rig();
    let id = recorded(
        &rig,
        "printf 'first\\n'; sleep 1; printf 'second needle\\n'; sleep 1; printf 'third\\n'; sleep 6; printf 'last\\n'",
    );
    let mut screen = on_terminal(&rig, &["recording", "play", &id]);
    screen.expect("first");
    screen.send(" ");
    screen.expect("paused");
    screen.send("?");
    screen.expect("this help");
    screen.send("x?c");
    screen.send("/needle\r");
    screen.expect("second needle");
    screen.send("n");
    screen.expect("no more of /needle");
    screen.send("G");
    screen.expect("last");
    screen.send("/haystack\x1b");
    screen.send("N");
    screen.expect("/needle");
    screen.send("g");
    screen.expect("00:00:00/");
    screen.send("9+");
    screen.expect("2x");
    screen.send("q");
    screen.expect("\x1b[?1049l");
    assert_eq!(screen.exit(), 0);
    // Nobody presses a key: it plays and goes.
    let mut screen = on_terminal(&rig, &["recording", "play", &id, "--speed", "4", "--idle-limit", "500ms"]);
    screen.expect("last");
    assert_eq!(screen.exit(), 0);
    let mut screen = on_terminal(&rig, &["recording", "play", &id, "--from", "0:02", "--speed", "0.2"]);
    let before = screen.expect("third");
    assert!(!before.contains("last"), "{before}");
    screen.send("\x03");
    assert_eq!(screen.exit(), 0);
    // In a pipe it is plain text; by its file as well as by its id.
    let text = rig.text_of(&id);
    assert_eq!(rig.said(&["recording", "play", &id]), text);
    let file = rig.state().join("recordings").join(format!("{id}.rec"));
    let by_file = Command::new(binary("bartizan")).args(["recording", "play"]).arg(&file).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&by_file.stdout), text, "{by_file:?}");
    let output = rig.bartizan(&["recording", "play", &id, "--from", "2s"]);
    assert_eq!(output.status.code(), Some(1));
    let played = rig.events().into_iter().filter(|event| event["type"] == "admin.recording.play").count();
    assert!(played >= 8, "each with its beginning and its end: {played}");
}

#[test]
fn a_long_recording_is_gone_through_by_the_server_and_its_index_is_kept_for_the_next_reader() {
    let rig = rig();
    let mut shell = rig.client("ana").terminal("db1");
    shell.expect("One-time code: ");
    shell.line(&rig.phone("ana").fresh());
    shell.line("PS1='ready> '; head -c 4000000 /dev/urandom | base64 -w 90; echo 'all of ''it'; exit");
    shell.expect("all of it");
    assert_eq!(shell.exit(), 0);
    let id = rig.sealed_recordings(1)[0]["id"].as_str().unwrap().to_owned();
    let index = rig.state().join("index").join(format!("{id}.idx"));
    for reader in 0..2 {
        let mut screen = on_terminal(&rig, &["recording", "play", &id]);
        screen.send("G");
        screen.expect("all of it");
        screen.send("g");
        screen.expect("00:00:00/");
        if reader == 0 {
            until("the index", DEADLINE, || index.exists().then_some(()));
        }
        screen.send("q");
        assert_eq!(screen.exit(), 0);
    }
    // A damaged one is as none.
    std::fs::write(&index, b"BTZRIDX1 and rubbish").unwrap();
    let mut screen = on_terminal(&rig, &["recording", "play", &id, "--from", "1h"]);
    screen.expect("all of it");
    assert_eq!(screen.exit(), 0);
    rig.verify_everything();
}

#[test]
fn nothing_recorded_commands_the_terminal_and_a_larger_screen_is_looked_around_in() {
    let rig = rig();
    let hostile = "printf '\\033]52;c;aGk=\\007\\033]0;title\\007\\033]8;;http://x\\007link\\033]8;;\\007\\033P$qm\\033\\\\\\033[?2004h\\033[?1000h\\302\\2332J\\033[21t\\033[5n'";
    let line = format!("{hostile}; seq 1 60; printf '%0150d<edge\\n' 1; sleep 3; echo over");
    let id = recorded(&rig, &line);
    let mut screen = on_terminal(&rig, &["recording", "play", &id, "--speed", "0.5"]);
    let mut all = screen.expect("60");
    screen.send(" ");
    all += &screen.expect("paused");
    screen.send("q");
    all += &screen.expect("\x1b[?1049l");
    assert_eq!(screen.exit(), 0);
    for wrong in ["\x1b]", "\x1bP", "\x1b[?2004", "\x1b[?1000", "\u{9b}", "\x1b[21t", "\x1b[5n", "\x07"] {
        assert!(!all.contains(wrong), "{wrong:?} in {all:?}");
    }
    assert!(all.contains("link") || all.contains("59"), "{all:?}");
}

#[test]
fn the_terminal_is_given_back_whatever_ends_a_replay() {
    let rig = rig();
    let id = recorded(&rig, "echo begun; sleep 8; echo over");
    let state = rig.state();
    let pid = rig.path("pid");
    let bartizan = binary("bartizan");
    let play = format!("{} --dir {} recording play {id}", bartizan.display(), state.display());
    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        let _ = std::fs::remove_file(&pid);
        let line = format!(
            "before=$(stty -g); sh -c 'echo $$ > {0}.new; mv {0}.new {0}; exec {play}'; echo status=$?; [ \"$before\" = \"$(stty -g)\" ] && echo as it was; echo .",
            pid.display()
        );
        let mut command = Command::new("sh");
        command.args(["-c", &line]);
        let mut screen = Terminal::open(command);
        screen.expect("begun");
        screen.send(" ");
        screen.expect("paused");
        let running = std::fs::read_to_string(&pid).unwrap();
        kill_process(Pid::from_raw(running.trim().parse().unwrap()).unwrap(), signal).unwrap();
        screen.expect("\x1b[?1049l");
        screen.expect("status=1");
        screen.expect("as it was");
        assert_eq!(screen.exit(), 0);
    }
    // Nobody can type: it plays to its end.
    let play = format!(
        "{} --dir {} recording play {id} --speed 20 < /dev/null",
        bartizan.display(),
        state.display()
    );
    let mut command = Command::new("sh");
    command.args(["-c", &play]);
    let mut screen = Terminal::open(command);
    screen.expect("over");
    assert_eq!(screen.exit(), 0);
}

#[test]
fn exports_are_what_other_programs_read() {
    let rig = rig();
    let id = recorded(
        &rig,
        "printf 'out\\377\\n'; sleep 0.3; printf 'err\\n' >&2; sleep 0.3; printf '\\033[31mred\\033[0m\\n'",
    );
    let export = |more: &[&str]| {
        let words: Vec<&str> = ["recording", "export", &id].iter().chain(more).copied().collect();
        rig.bartizan(&words)
    };
    let raw = |stream: &str| export(&["--format", "raw", "--stream", stream]).stdout;
    assert_eq!(raw("stdout"), b"out\xff\n\x1b[31mred\x1b[0m\n");
    assert_eq!(raw("stderr"), b"err\n");
    assert_eq!(raw("both"), b"out\xff\nerr\n\x1b[31mred\x1b[0m\n");
    let text =
        |stream: &str| String::from_utf8(export(&["--format", "text", "--stream", stream]).stdout).unwrap();
    assert_eq!(text("stderr"), "err\n");
    assert!(!text("stdout").contains("err"));
    assert_eq!(export(&["--stream", "stdout"]).status.code(), Some(1), "an asciicast has all of it");

    let file = rig.path("out.cast");
    let to_file = |more: &[&str]| export(&[&["-o", file.to_str().unwrap()], more].concat());
    assert!(to_file(&["--format", "asciicast-v2"]).status.success());
    assert_eq!(to_file(&[]).status.code(), Some(1), "it is there already");
    assert!(to_file(&["--format", "asciicast-v2", "--force"]).status.success());
    let mut asciinema = Command::new("asciinema");
    asciinema.arg("cat").arg(&file).env("LC_ALL", "C.UTF-8");
    let mut seen = Terminal::open(asciinema);
    seen.expect("out\u{fffd}\r\n");
    seen.expect("err\r\n");
    seen.expect("\x1b[31mred");
    assert_eq!(seen.exit(), 0);
    let hidden = std::fs::read_dir(rig.path(""))
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".partial"));
    assert_eq!(hidden.count(), 0);
    let moments = std::fs::read_to_string(&file).unwrap();
    let last: (f64, String, String) = serde_json::from_str(moments.lines().last().unwrap()).unwrap();
    asciicast_v3(&String::from_utf8(export(&["--format", "asciicast-v3"]).stdout).unwrap(), last.0);
}

/// Held against docs.asciinema.org/manual/asciicast/v3: a header, then `[interval, code, data]`, and at the end the status.
fn asciicast_v3(text: &str, until: f64) {
    let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let header = lines.next().unwrap();
    assert_eq!(header["version"], 3);
    assert!(header["term"]["cols"].as_u64().unwrap() > 0 && header["term"]["rows"].as_u64().unwrap() > 0);
    let events: Vec<(f64, String, String)> =
        lines.map(|event| serde_json::from_value(event).unwrap()).collect();
    assert!(events.iter().all(|(interval, code, _)| *interval >= 0.0 && ["o", "i", "r", "m", "x"].contains(&code.as_str())));
    let whole: f64 = events.iter().filter(|event| event.1 != "x").map(|event| event.0).sum();
    assert!(whole >= 0.6 && (whole - until).abs() < 0.1, "intervals, not moments: {whole}, not {until}");
    let last = events.last().unwrap();
    assert_eq!((last.1.as_str(), last.2.as_str()), ("x", "0"), "{events:?}");
}

#[test]
fn recordings_are_found_by_who_when_and_what_was_shown() {
    let rig = Rig::new().operator("ana").operator("bob").target("db1").start();
    let first = recorded(&rig, "echo the needle; echo more");
    assert!(rig.client("bob").ssh("db1", "echo a haystack").status.success());
    rig.sealed_recordings(2);
    let found = |words: &[&str]| {
        let words: Vec<&str> =
            ["recording", "search"].iter().chain(words).copied().chain(["--json"]).collect();
        let output = rig.bartizan(&words);
        let lines: Vec<Value> = String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        (output.status.code().unwrap(), lines)
    };
    let (code, lines) = found(&["NEEDLE".to_lowercase().as_str()]);
    assert_eq!((code, lines.len()), (0, 1), "{lines:?}");
    assert_eq!((&lines[0]["recording"], &lines[0]["line"]), (&first.as_str().into(), &"the needle".into()));
    assert_eq!(found(&["Needle"]).0, 1, "capitals count where they are written");
    assert_eq!(found(&["needle", "--operator", "bob"]).0, 1);
    assert_eq!(found(&["haystack", "--since", "2020-01-01T00:00:00Z"]).1.len(), 1);
    assert_eq!(found(&["haystack", "--until", "2020-01-01T00:00:00Z"]).0, 1);
    assert_eq!(found(&["haystack", "--recording", &first]).0, 1);
    for noun in ["recording", "session"] {
        let listed = |words: &[&str]| {
            let words: Vec<&str> = [noun, "list", "--json"].iter().chain(words).copied().collect();
            let found: Vec<Value> = serde_json::from_str(&rig.said(&words)).unwrap();
            found.into_iter().map(|one| one["operator"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(listed(&[]), ["ana", "bob"], "{noun}: oldest first");
        assert_eq!(listed(&["--limit", "1"]), ["bob"], "{noun}: the newest");
        assert_eq!(listed(&["--limit", "1", "--operator", "ana"]), ["ana"], "{noun}");
        assert_eq!(listed(&["--until", "2020-01-01T00:00:00Z"]), [""; 0], "{noun}");
        assert_eq!(listed(&["--since", "2020-01-01T00:00:00Z", "--target", "db1"]), ["ana", "bob"], "{noun}");
    }
    // What is looked for may be a secret: the log knows that somebody looked, and not for what.
    let events = rig.events();
    let searches: Vec<&Value> =
        events.iter().filter(|event| event["type"] == "admin.recording.search").collect();
    assert!(searches.len() >= 10 && searches.iter().all(|event| !event.to_string().contains("eedle")));
}

#[test]
fn a_session_is_watched_as_it_happens_and_to_its_end() {
    let rig = Rig::new()
        .operator("ana")
        .operator("audrey")
        .role("auditor")
        .operator("adam")
        .role("administrator")
        .target("db1")
        .start();
    let ana = rig.client("ana");
    let mut shell = ana.terminal("db1");
    shell.expect("One-time code: ");
    shell.line(&rig.phone("ana").fresh());
    shell.line("PS1='ready> '; echo before any''body watched");
    shell.expect("anybody watched");
    let id = until("the session", DEADLINE, || {
        rig.live().first().map(|one| one["id"].as_str().unwrap().to_owned())
    });
    let refused = rig.client("adam").word(&format!("session watch {id}"));
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("auditor"));
    let piped = rig.bartizan(&["session", "watch", &id]);
    assert_eq!(piped.status.code(), Some(1), "{piped:?}");

    let mut near = on_terminal(&rig, &["session", "watch", &id]);
    near.expect("anybody watched");
    let mut far = rig.client("audrey").word_on_terminal(&format!("session watch {id}"));
    far.expect("One-time code: ");
    far.line(&rig.phone("audrey").fresh());
    far.expect("anybody watched");
    shell.line("printf '\\033]0;x\\007'; echo seen by''all");
    let shown = far.expect("seen byall") + &near.expect("seen byall");
    assert!(!shown.contains("\x1b]"));
    // Whoever watches types nothing into it.
    far.send("exit\r");
    near.send("q");
    near.expect("you no longer watch it");
    assert_eq!(near.exit(), 0);
    shell.line("echo still he''re");
    shell.expect("still here");
    far.expect("still here");
    shell.line("exit");
    assert_eq!(shell.exit(), 0);
    far.expect("has ended");
    assert_eq!(far.exit(), 0);
    let watched: Vec<Value> =
        rig.events().into_iter().filter(|event| event["type"] == "admin.session.watch").collect();
    let by = |operator: &str, outcome: &str| {
        watched.iter().filter(|event| event["operator"] == operator && event["outcome"] == outcome).count()
    };
    assert_eq!(
        (by("audrey", "opened"), by("audrey", "ok"), by("adam", "refused")),
        (1, 1, 1),
        "{watched:#?}"
    );
    assert_eq!(watched[0]["detail"]["word"]["session"], id);
}

#[test]
fn who_does_not_keep_up_never_slows_the_session() {
    let rig = rig();
    let mut shell = rig.client("ana").terminal("db1");
    shell.expect("One-time code: ");
    shell.line(&rig.phone("ana").fresh());
    shell.line("PS1='ready> '; echo be''gun");
    shell.expect("begun");
    let id = until("the session", DEADLINE, || {
        rig.live().first().map(|one| one["id"].as_str().unwrap().to_owned())
    });
    let pid = rig.path("pid");
    let mut command = Command::new("sh");
    command.args([
        "-c",
        &format!(
            "echo $$ > {0}.new; mv {0}.new {0}; exec {1} --dir {2} session watch {id}",
            pid.display(),
            binary("bartizan").display(),
            rig.state().display()
        ),
    ]);
    let mut watcher = Terminal::open(command);
    watcher.expect("begun");
    let watching = Pid::from_raw(std::fs::read_to_string(&pid).unwrap().trim().parse().unwrap()).unwrap();
    kill_process(watching, Signal::STOP).unwrap();
    shell.line("seq 1 400000 | tail -c 2000000; echo thr''ough");
    shell.expect("through");
    kill_process(watching, Signal::CONT).unwrap();
    watcher.expect("through");
    watcher.send("q");
    assert_eq!(watcher.exit(), 0);
    shell.line("exit");
    assert_eq!(shell.exit(), 0);
}
