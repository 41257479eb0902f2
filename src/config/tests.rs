//! What the configuration promises, tried on real files; it never reads the environment of the test run.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(Path::new("/srv/b"), text).map_err(|e| e.to_string())
}

fn refusal(text: &str) -> String {
    parse(text).expect_err(text)
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("chmod");
}

#[test]
fn an_empty_file_is_all_defaults() {
    let c = parse("").expect("defaults");
    assert_eq!(c.ssh.listen, vec![SocketAddr::from(([127, 0, 0, 1], 2222))]);
    assert_eq!(c.ssh.login_grace, Duration::from_secs(120));
    assert_eq!(c.recording.max, 256 * 1024 * 1024);
    assert_eq!((c.device.require, c.device.evidence), (Require::Managed, Evidence::Bound));
    assert_eq!(c.database(), Path::new("/srv/b/bartizan.db"));
    assert!(c.admin.listen.is_none() && !c.recording.input);
    let exempt = |text: &str| c.ssh.penalty_exempt.iter().any(|n| n.contains(text.parse().expect("address")));
    assert!(exempt("127.0.0.1") && exempt("::1") && !exempt("10.0.0.1"));
}

#[test]
fn every_key_of_the_contract_is_read() {
    let c = parse(
        "[ssh]\nlisten = [\"0.0.0.0:22\", \"[::]:22\"]\nnames = [\"bastion.example\"]\nprofile = \"strict\"\n\
         login_grace = \"30s\"\nmax_channels = 8\nmax_connections = 9\nmax_unauthenticated = 3\n\
         max_connections_per_source = 5\nmax_unauthenticated_per_source = 2\n\
         penalty_exempt = [\"10.0.0.0/8\"]\nproxy_protocol_from = [\"10.0.0.1\", \"2001:db8::/32\"]\n\
         idle_timeout = \"8h\"\ndrain = \"2m\"\nbanner = \"hello\\n\"\n[store]\nurl = \"sqlite:/x/y.db\"\n\
         [recording]\nmode = \"strict\"\nflush = \"5ms\"\ninput = true\nmax = \"1GiB\"\n\
         [audit]\ncheckpoint = \"250ms\"\n[device]\nrequire = \"any\"\nevidence = \"key\"\n\
         [admin]\nlisten = \"127.0.0.1:2280\"\n",
    )
    .expect("all keys");
    assert_eq!((c.ssh.listen.len(), c.ssh.profile, c.ssh.max_channels), (2, Profile::Strict, 8));
    assert_eq!((c.ssh.idle_timeout, c.ssh.drain), (Duration::from_secs(8 * 3600), Duration::from_secs(120)));
    assert_eq!((c.ssh.max_connections_per_source, c.ssh.max_unauthenticated_per_source), (5, 2));
    assert!(c.ssh.penalty_exempt[0].contains("10.1.2.3".parse().expect("address")));
    assert_eq!(c.ssh.proxy_protocol_from.len(), 2);
    assert_eq!(
        (c.recording.flush, c.audit.checkpoint),
        (Duration::from_millis(5), Duration::from_millis(250))
    );
    assert_eq!((c.device.require, c.device.evidence), (Require::Any, Evidence::Key));
    assert_eq!(c.database(), Path::new("/x/y.db"));
}

#[test]
fn an_error_names_the_line() {
    assert!(
        refusal("[ssh]\nmax_channels = 4\ncolour = 1\n")
            .starts_with("/srv/b/bartizan.toml line 3: colour: unknown")
    );
    assert!(refusal("\n\n[shh]\n").contains("unknown field `shh`"));
    assert!(refusal("[ssh]\nlisten = [\"127.0.0.1:2222\",\n \"nowhere\"]\n").contains("line 3: listen: "));
    assert!(
        refusal("[ssh]\n\nlogin_grace = \"soon\"\n")
            .contains("line 3: login_grace: \"soon\" is no duration; write")
    );
    assert!(refusal("[recording]\nmax = 12\n").contains("line 2"));
    assert!(refusal("[ssh\n").contains("line 1"));
}

#[test]
fn an_error_never_moves_the_readers_terminal() {
    for text in ["login_grace \u{1b}[2J = 1", "[ssh]\n\"\u{202e}x\" = 1", "[s\u{9b}2J]", "\u{200b} = '\u{7}'"]
    {
        let told = refusal(text);
        let obeyed = |c: char| c.is_control() || matches!(c, '\u{202e}' | '\u{200b}');
        assert!(!told.contains(obeyed), "{told:?}");
    }
}

#[test]
fn a_value_out_of_range_is_refused_with_the_range() {
    assert!(refusal("[ssh]\nlogin_grace = \"0s\"").contains("write 1s to 1h"));
    assert!(refusal("[ssh]\nmax_channels = 0").contains("write 1 to 1024"));
    assert!(refusal("[ssh]\nmax_channels = -1").contains("out of range"));
    assert!(refusal("[recording]\nflush = \"2s\"").contains("write 1ms to 1s"));
    assert!(refusal("[ssh]\nlisten = []").contains("needs 1 to 64"));
    assert!(refusal("[ssh]\npenalty_exempt = [\"10.0.0.1/8\"]").contains("write 10.0.0.0/8"));
    assert!(refusal("[ssh]\nmax_unauthenticated_per_source = 0").contains("out of range"));
    assert!(refusal("[ssh]\nnames = [\"a b\"]").contains("is no host name"));
    assert!(refusal("[ssh]\nbanner = \"\\u001b[2J\"").contains("no control characters"));
}

#[test]
fn numbers_leave_the_machine_only_where_somebody_wrote_so() {
    assert!(
        refusal("[ssh]\nlisten = [\"0.0.0.0:22\"]\n[admin]\nlisten = \"0.0.0.0:2280\"\n")
            .starts_with("/srv/b/bartizan.toml line 4: listen: 0.0.0.0:2280 is not on loopback")
    );
    let c = parse("[admin]\nlisten = \"0.0.0.0:2280\"\nbeyond_loopback = true\n").expect("written so");
    assert!(c.admin.listen.is_some());
    assert!(parse("[admin]\nlisten = \"[::1]:2280\"\n").is_ok());
}

#[test]
fn a_store_that_forgets_or_is_not_built_is_refused() {
    for url in ["sqlite::memory:", "sqlite:", "postgres://x/y", "sqlite:a?mode=memory", ""] {
        assert!(refusal(&format!("[store]\nurl = \"{url}\"")).contains("is no store"), "{url}");
    }
}

#[test]
fn durations_and_sizes_need_a_unit_and_never_wrap() {
    assert_eq!(duration("20ms"), Some(Duration::from_millis(20)));
    assert_eq!(duration("15m"), Some(Duration::from_secs(900)));
    assert_eq!(duration("0s"), Some(Duration::ZERO));
    for wrong in ["", "5", "s", "-1s", "1.5h", "5 s", "99999999999999999999s", "18446744073709551615d", "１s"]
    {
        assert_eq!(duration(wrong), None, "{wrong}");
    }
    assert_eq!(size("64KiB"), Some(65_536));
    for wrong in ["", "1", "1MB", "KiB", "18446744073709551615KiB"] {
        assert_eq!(size(wrong), None, "{wrong}");
    }
}

#[test]
fn a_directory_that_others_may_write_is_refused() {
    let dir = tempfile::tempdir().expect("dir");
    let missing = Config::load(dir.path()).expect_err("no file").to_string();
    assert!(missing.contains("bartizan init"), "{missing}");
    std::fs::write(dir.path().join(FILE), "[ssh]\nmax_channels = 7\n").expect("write");
    mode(&dir.path().join(FILE), 0o600);
    assert_eq!(Config::load(dir.path()).expect("good").ssh.max_channels, 7);
    mode(&dir.path().join(FILE), 0o620);
    assert!(matches!(Config::load(dir.path()), Err(ConfigError::Loose(_))));
    mode(&dir.path().join(FILE), 0o600);
    mode(dir.path(), 0o777);
    assert!(matches!(Config::load(dir.path()), Err(ConfigError::Loose(_))));
}

#[test]
fn a_file_too_long_or_not_text_is_refused() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join(FILE);
    std::fs::write(&path, vec![b'#'; FILE_MAX as usize + 1]).expect("write");
    mode(&path, 0o600);
    assert!(Config::load(dir.path()).expect_err("long").to_string().contains("longer than 256 KiB"));
    std::fs::write(&path, b"\xff\xfe").expect("write");
    assert!(Config::load(dir.path()).expect_err("bytes").to_string().contains("not UTF-8"));
}

#[test]
fn the_directory_is_chosen_in_the_written_order() {
    let here = tempfile::tempdir().expect("dir");
    let local = here.path().join("bartizan");
    let mut env = Environment { here: here.path().to_owned(), ..Environment::default() };
    assert_eq!(env.directory(None), Path::new("/var/lib/bartizan"));
    assert_eq!(env.fresh_directory(None), local);
    std::fs::create_dir(&local).expect("mkdir");
    mode(&local, 0o700);
    assert_eq!(env.directory(None), local);
    mode(&local, 0o770);
    assert_eq!(env.directory(None), Path::new("/var/lib/bartizan"));
    assert_eq!(env.fresh_directory(None), Path::new("/var/lib/bartizan"));
    env.dir = Some(PathBuf::from("/from/env"));
    assert_eq!(env.directory(None), Path::new("/from/env"));
    assert_eq!(env.directory(Some(Path::new("flag"))), here.path().join("flag"));
}

#[test]
fn a_link_planted_where_the_command_is_run_is_not_followed() {
    let here = tempfile::tempdir().expect("dir");
    let other = tempfile::tempdir().expect("dir");
    std::os::unix::fs::symlink(other.path(), here.path().join("bartizan")).expect("link");
    let env = Environment { here: here.path().to_owned(), ..Environment::default() };
    assert_eq!(env.directory(None), Path::new("/var/lib/bartizan"));
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,200}") {
        let _ = parse(&text);
        let _ = (duration(&text), size(&text));
    }
}
