//! The walls of the house, as tables: which room may know which, which crate may link what, who may say certain words.
//! It reads source text only, and never builds or runs anything.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The rooms of `src/`, from the street inwards. A room may name rooms in the rows below its own, never one beside or above.
const ORDER: &[&[&str]] = &[
    &["main"],
    &["cli"],
    &["ssh", "web", "admin"],
    &["control"],
    &["session"],
    &["connection"],
    &["upkeep"],
    &["live"],
    &["relay"],
    &["target"],
    &["recording"],
    &["access"],
    &["login"],
    &["device"],
    &["audit"],
    &["store"],
];

/// What every room may stand on. Ground knows only ground, but for `bastion`, which holds the handles of the rooms.
const GROUND: &[&str] =
    &["bastion", "channel", "clock", "config", "ids", "meters", "read_ahead", "refusal", "sandbox"];

/// Words that belong to one place: the word, where it may stand, and why.
const WORDS: &[(&str, &[&str], &str)] = &[
    ("sqlx", &["src/store/"], "one room talks to the database"),
    ("axum", &["src/web/"], "one room talks HTTP to people"),
    ("hyper", &["src/admin/"], "one room talks HTTP to machines"),
    ("landlock", &["src/sandbox.rs"], "one place gives up what a server does not need"),
    ("russh", &["src/ssh/", "src/target/", "demo/"], "the protocol stays at the doors"),
    ("policy::decide", &["src/access.rs"], "one caller of the policy"),
    ("keys.host_keys(", &["src/ssh/listener.rs"], "one hand-over of private host keys"),
    ("anyhow", &["src/main.rs", "agent/src/main.rs"], "errors are types until they are printed"),
];

/// What a crate must not link, in any kind of dependency but for tests.
const CRATES: &[(&str, &[&str])] = &[
    ("policy", &["bartizan-", "tokio", "async-", "sqlx", "russh", "ssh-key", "ring", "rustix", "tempfile"]),
    ("keys", &["bartizan-", "tokio", "sqlx", "russh", "cedar-policy"]),
    ("posture", &["bartizan-", "tokio", "sqlx", "russh"]),
    ("ledger", &["bartizan-", "tokio", "sqlx", "russh", "ssh-key"]),
    ("agent", &["bartizan-policy", "bartizan-keys", "bartizan-ledger", "sqlx", "russh", "cedar-policy"]),
    ("demo", &["bartizan-", "sqlx", "cedar-policy"]),
    ("integration-tests", &["bartizan-", "sqlx", "russh", "cedar-policy"]),
];

/// What a crate must not say, outside its tests.
const UNSAID: &[(&str, &[&str])] = &[
    (
        "policy",
        &["std::fs", "std::net::Tcp", "std::env", "std::thread", "async fn", "SystemTime", "Timestamp::now"],
    ),
    (
        "keys",
        &["std::net::Tcp", "std::net::Udp", "async fn", "SystemTime::now", "Timestamp::now", "std::env"],
    ),
    ("posture", &["std::net::Tcp", "std::net::Udp", "async fn", "SystemTime::now", "Timestamp::now"]),
    ("ledger", &["std::net::Tcp", "std::net::Udp", "async fn", "SystemTime::now", "Timestamp::now"]),
];

const MAX_LINES: usize = 500;

#[test]
fn rooms_know_only_rooms_below_them() {
    let mut broken = Vec::new();
    let mut strangers = BTreeSet::new();
    for file in sources("src") {
        let room = room_of(&file.path);
        if room == "lib" || room == "bastion" {
            continue;
        }
        for known in rooms_named_in(&file.code) {
            let allowed = known == room
                || GROUND.contains(&known.as_str())
                || matches!((row(&room), row(&known)), (Some(own), Some(other)) if other > own);
            if !allowed {
                broken.push(format!("{}: {room} must not know {known}", file.path.display()));
            }
        }
        if row(&room).is_none() && !GROUND.contains(&room.as_str()) {
            strangers.insert(room);
        }
    }
    assert!(strangers.is_empty(), "rooms without a place in ORDER or GROUND: {strangers:?}");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn words_stay_where_they_belong() {
    let mut broken = Vec::new();
    for folder in ["src", "policy", "keys", "posture", "ledger", "agent", "demo"] {
        for file in sources(folder) {
            for (word, places, why) in WORDS {
                let path = file.path.to_string_lossy();
                if says(&file.code, word) && !places.iter().any(|place| path.starts_with(place)) {
                    broken.push(format!("{path}: says {word}, which belongs to {places:?}: {why}"));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_policy_is_asked_by_its_full_name() {
    // So that the table of words sees every caller.
    for file in sources("src") {
        let imports = file.code.split("use policy::{").skip(1).filter_map(|rest| rest.split('}').next());
        for group in imports {
            let asks = group.split(',').any(|name| name.trim() == "decide");
            assert!(!asks, "{}: write policy::decide", file.path.display());
        }
    }
}

#[test]
fn crates_do_not_link_what_they_must_not_know() {
    for (name, forbidden) in CRATES {
        let linked = dependencies(&root().join(name).join("Cargo.toml"));
        for dependency in linked {
            let broken = forbidden.iter().any(|start| dependency.starts_with(start));
            assert!(!broken, "{name} must not link {dependency}");
        }
    }
}

#[test]
fn crates_do_not_say_what_they_must_not_do() {
    for (name, words) in UNSAID {
        for file in sources(name) {
            // A crate's own programs stand at the edge, where files and the clock are.
            if file.path.starts_with(Path::new(name).join("src/bin")) {
                continue;
            }
            for word in *words {
                assert!(!file.code.contains(word), "{}: says {word}", file.path.display());
            }
        }
    }
}

#[test]
fn every_file_says_what_it_is_for_and_stays_short() {
    for folder in ["src", "policy", "keys", "posture", "ledger", "demo", "integration-tests"] {
        for path in rust_files(&root().join(folder)) {
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.starts_with("//! "), "{} does not open with //!", path.display());
            let lines = text.lines().count();
            assert!(lines <= MAX_LINES, "{} has {lines} lines: more than one room", path.display());
        }
    }
}

#[test]
fn there_is_one_copy_of_the_key_library_and_the_protocol_is_pinned() {
    let lock: toml::Table = read("Cargo.lock").parse().unwrap();
    let copies: Vec<&str> = lock["package"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|package| package["name"].as_str() == Some("ssh-key"))
        .filter_map(|package| package["version"].as_str())
        .collect();
    assert_eq!(copies.len(), 1, "copies of ssh-key: {copies:?}");
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let russh = &manifest["workspace"]["dependencies"]["russh"];
    assert!(russh["version"].as_str().unwrap().starts_with('='), "russh is pinned to the digit");
    assert_eq!(russh["default-features"].as_bool(), Some(false));
}

#[test]
fn the_reader_of_this_test_sees_groups_comments_and_tests() {
    let code = bare(
        "use crate::{audit::Audit, store};\n// crate::web\nlet x = crate::live::Live;\n#[cfg(test)]\nmod tests { use crate::cli; }\n",
    );
    let rooms: Vec<String> = rooms_named_in(&code).into_iter().collect();
    assert_eq!(rooms, ["audit", "live", "store"]);
    assert!(says("let d = policy::decide(&bundle);", "policy::decide"));
    assert!(!says("access::decide(x); policy::decided(y)", "policy::decide"));
    assert!(
        says("self.keys.host_keys()", "keys.host_keys(") && !says("target.host_keys()", "keys.host_keys(")
    );
    assert!(says("use russh::server;", "russh") && !says("\"my_russh\"", "russh"));
}

/// A source file without its comments and its tests.
struct Source {
    /// From the root of the workspace.
    path: PathBuf,
    code: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// The sources of a folder, tests left out.
fn sources(folder: &str) -> Vec<Source> {
    let root = root();
    let is_test =
        |path: &Path| path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs");
    rust_files(&root.join(folder))
        .into_iter()
        .filter(|path| !is_test(path.strip_prefix(&root).unwrap()))
        .map(|path| Source {
            code: bare(&std::fs::read_to_string(&path).unwrap()),
            path: path.strip_prefix(&root).unwrap().to_owned(),
        })
        .collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Code before the tests at the bottom, without comment lines and without the contents of plain strings.
fn bare(text: &str) -> String {
    let before_tests = text.split("#[cfg(test)]\nmod ").next().unwrap();
    let lines = before_tests.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.flat_map(|line| [line.split(" // ").next().unwrap(), "\n"]).collect()
}

/// Whether the code uses a path or calls a method: the word whole, not as a part of another and not in quotes.
fn says(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = &code[..at];
        let part = before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '"' || c == '-');
        let after = &code[at + word.len()..];
        let whole = word.ends_with('(') || ["::", ";", "(", ","].iter().any(|next| after.starts_with(next));
        !part && whole
    })
}

/// `src/store/mod.rs` is the room `store`, `src/access.rs` is `access`.
fn room_of(path: &Path) -> String {
    let inside = path.strip_prefix("src").unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

fn row(room: &str) -> Option<usize> {
    ORDER.iter().position(|row| row.contains(&room))
}

/// Every `x` in `crate::x`, `crate::{x, y::z}` and, in `main.rs`, `bartizan::x`.
fn rooms_named_in(code: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for start in ["crate::", "bartizan::"] {
        for (at, _) in code.match_indices(start) {
            if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
                continue;
            }
            let rest = &code[at + start.len()..];
            match rest.strip_prefix('{') {
                Some(group) => rooms.extend(first_names(group)),
                None => rooms.extend(name_at(rest)),
            }
        }
    }
    rooms
}

/// The first name of every entry of a `use` group, up to its closing brace.
fn first_names(group: &str) -> Vec<String> {
    let (mut depth, mut fresh, mut names) = (0, true, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            _ if depth == 0 && fresh && c.is_alphabetic() => {
                names.extend(name_at(&group[at..]));
                fresh = false;
            }
            _ => {}
        }
    }
    names
}

/// The module name at the start of the text; items at the root of the crate have capitals.
fn name_at(text: &str) -> Option<String> {
    let name: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    name.starts_with(|c: char| c.is_lowercase()).then_some(name)
}

/// What a manifest links outside tests, under the names that packages really have.
fn dependencies(manifest: &Path) -> Vec<String> {
    let manifest: toml::Table = std::fs::read_to_string(manifest).unwrap().parse().unwrap();
    let workspace: toml::Table = read("Cargo.toml").parse().unwrap();
    let shared = &workspace["workspace"]["dependencies"];
    let mut names = Vec::new();
    for kind in ["dependencies", "build-dependencies"] {
        let Some(table) = manifest.get(kind).and_then(toml::Value::as_table) else { continue };
        for (name, entry) in table {
            let entry = if entry.get("workspace").is_some() { &shared[name] } else { entry };
            let package = entry.get("package").and_then(toml::Value::as_str);
            names.push(package.unwrap_or(name).to_owned());
        }
    }
    names
}
