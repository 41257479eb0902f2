//! What a bundle's author is told, and what is never taken.
//! Never checks a decision: that is `policy/tests`.

use proptest::prelude::*;

use super::*;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFGX0ClJqFtS6uTaOpbUaZGGOjq+WeBmm8tPQWs6Rr/n";

fn file(name: &str, text: &str) -> SourceFile {
    SourceFile { name: name.to_owned(), text: text.to_owned() }
}

fn target(more: &str) -> String {
    format!(
        "[[target]]\nname = \"web-1\"\naddress = \"h:22\"\nhost_keys = [\"{KEY}\"]\naccounts = [\"deploy\"]\n{more}\n"
    )
}

const GRANT: &str = "[[grant]]\nname = \"g\"\nroles = [\"sre\"]\ntargets = [\"*\"]\naccounts = [\"deploy\"]\nallow = [\"shell\"]\n";

fn refused(text: &str) -> BundleError {
    let told = Bundle::parse(&[file("a.toml", text)]).unwrap_err();
    let sentence = told.to_string();
    assert!(!sentence.contains('\n') && sentence.contains("; "), "{sentence}");
    told
}

#[test]
fn no_files_are_a_bundle_of_nothing() {
    let bundle = Bundle::parse(&[]).unwrap();
    assert_eq!((bundle.operators().len(), bundle.targets().len(), bundle.grants().len()), (0, 0, 0));
    assert_eq!(bundle.login().factors().len(), 2);
    assert_eq!(bundle.login().fresh().as_secs(), 8 * 3600);
}

#[test]
fn a_complaint_names_file_line_thing_reason_and_remedy() {
    let told = refused(&(GRANT.to_owned() + "until = \"soon\"\n")).to_string();
    let good = "a.toml line 7: grant \"g\" has a wrong until: \"soon\" is no date; \
                write one like \"2027-01-01\" or \"2027-01-01T18:00:00+08:00\"";
    assert_eq!(told, good);
}

#[test]
fn nobody_is_called_what_machines_enrol_by() {
    let told = refused("[[operator]]\nname = \"enroll\"\n");
    assert!(told.line == Some(2) && told.problem.contains("machines to be enrolled"), "{told}");
}

#[test]
fn an_unknown_key_is_refused_with_its_line() {
    for (text, line) in [
        ("x = 1", 1),
        ("\n[logn]\nfresh = \"1h\"", 2),
        ("[login]\nfrsh = \"1h\"", 2),
        ("[login]\nrequire = { factors = [\"key\", \"code\"], codes = true }", 2),
        (&target("adress = \"x\""), 6),
        (&(GRANT.to_owned() + "acounts = []"), 7),
        (&(GRANT.to_owned() + "require = { postur = \"managed\" }"), 7),
        ("[[operator]]\nname = \"a\"\nrole = []", 3),
    ] {
        let told = refused(text);
        assert_eq!(told.line, Some(line), "{told}");
        assert!(told.problem.contains("unknown field"), "{told}");
    }
}

/// What is put in place of a good line, or after all lines, of a target.
#[test]
fn a_wrong_target_is_refused() {
    for (good, bad) in [
        ("name = \"web-1\"", "name = \"Web 1\""),
        ("name = \"web-1\"", ""),
        ("address = \"h:22\"", "address = \"h\""),
        ("address = \"h:22\"", "address = \"0x7f000001:22\""),
        ("accounts = [\"deploy\"]", "accounts = []"),
        ("accounts = [\"deploy\"]", "accounts = [\"deploy\", \"deploy\"]"),
        ("accounts = [\"deploy\"]", "accounts = [\"de ploy\"]"),
        ("accounts = [\"deploy\"]", "accounts = [\"deploy\"]\ndefault_account = \"root\""),
        (KEY, "ssh-ed25519 nonsense"),
        (&format!("host_keys = [\"{KEY}\"]"), "host_keys = []"),
        (&format!("host_keys = [\"{KEY}\"]"), ""),
        ("accounts", "labels = { \"a b\" = \"c\" }\naccounts"),
        ("accounts", "labels = { a = 1 }\naccounts"),
        ("accounts", "tenant = \"\"\naccounts"),
        ("accounts", "owner = \"a\\nb\"\naccounts"),
        ("accounts", "source = [\"10.0.0.1/8\"]\naccounts"),
        ("accounts", "login = \"password:\"\naccounts"),
        ("accounts", "login = \"key:A b\"\naccounts"),
        ("accounts", "login = \"vault:x\"\naccounts"),
        ("accounts", "login = \"key\"\naccounts"),
        ("accounts", "via = \"gw 1\"\naccounts"),
        ("accounts", "via = \"gw-9\"\nsource = [\"10.0.0.9\"]\naccounts"),
        ("accounts", "via = \"web-1\"\nsource = [\"10.0.0.9\"]\naccounts"),
        ("accounts", "recording = \"none\"\naccounts"),
    ] {
        assert!(target("").contains(good), "{good}");
        let told = refused(&target("").replacen(good, bad, 1));
        assert!(told.file.is_some() && told.line.is_some(), "{told}");
    }
}

/// A target of this name that is reached via another.
fn chained(name: &str, via: &str, more: &str) -> String {
    let via = if via.is_empty() { String::new() } else { format!("via = \"{via}\"\n") };
    let more = format!("{via}default_account = \"deploy\"\nsource = [\"10.0.0.9\"]\n{more}");
    target(&more).replace("web-1", name)
}

#[test]
fn a_login_by_what_is_vaulted_is_read_and_written_as_it_stands() {
    for login in ["certificate", "key:ops.2026", "password:db_1", "ask"] {
        let bundle = Bundle::parse(&[file("a.toml", &target(&format!("login = \"{login}\"")))]).unwrap();
        assert_eq!(bundle.targets().next().unwrap().login().to_string(), login);
    }
}

#[test]
fn a_gateway_is_a_target_that_can_be_gone_through_and_leads_not_back() {
    let three =
        chained("a", "b", "") + &chained("b", "c", "") + &chained("c", "d", "") + &chained("d", "", "");
    let bundle = Bundle::parse(&[file("a.toml", &three)]).unwrap();
    assert_eq!(bundle.targets().next().unwrap().via().unwrap().as_str(), "b");
    let told = refused(&(three.replace("\"d\"", "\"e\"") + &chained("d", "a", ""))).problem;
    assert_eq!(told, "is reached via more than 3 gateways: d via a via b via c via e");
    let circle = chained("a", "b", "") + &chained("b", "c", "") + &chained("c", "b", "");
    let told = refused(&circle);
    assert_eq!(told.problem, "is reached in a circle: a via b via c via b");
    assert!(told.line == Some(2) && told.thing == "target \"a\"", "{told}");
    let foreign = chained("a", "b", "") + &chained("b", "", "tenant = \"other\"\n");
    assert!(refused(&foreign).problem.contains("another tenant"));
    let nobody = chained("a", "b", "") + &chained("b", "", "").replace("default_account = \"deploy\"\n", "");
    assert!(refused(&nobody).problem.contains("no default_account"));
    let asks = chained("a", "b", "") + &chained("b", "", "login = \"ask\"\n");
    assert!(refused(&asks).problem.contains("asks whoever logs in"));
}

#[test]
fn a_certificate_through_a_gateway_needs_the_address_it_is_good_from() {
    let through =
        |more: &str| chained("a", "b", more).replace("source = [\"10.0.0.9\"]\n", "") + &chained("b", "", "");
    assert!(refused(&through("")).problem.contains("from which address"));
    assert!(Bundle::parse(&[file("a.toml", &through("login = \"key:ops\""))]).is_ok());
}

#[test]
fn a_wrong_grant_is_refused() {
    let replaced = [
        ("name = \"g\"", ""),
        ("roles = [\"sre\"]", ""),
        ("roles = [\"sre\"]", "roles = []"),
        ("roles = [\"sre\"]", "roles = [\"SRE\"]"),
        ("roles = [\"sre\"]", "roles = [\"sre\"]\noperators = []"),
        ("targets = [\"*\"]", ""),
        ("targets = [\"*\"]", "targets = []\nlabels = { a = \"b\" }"),
        ("targets = [\"*\"]", "targets = [\"*\"]\nlabels = {}"),
        ("targets = [\"*\"]", "targets = [\"web-[\"]"),
        ("targets = [\"*\"]", "targets = [\"web-9\"]"),
        ("accounts = [\"deploy\"]", ""),
        ("accounts = [\"deploy\"]", "accounts = [\"*\"]"),
        ("allow = [\"shell\"]", ""),
        ("allow = [\"shell\"]", "allow = []"),
        ("allow = [\"shell\"]", "allow = [\"shel\"]"),
        ("allow = [\"shell\"]", "allow = [\"subsystem:sftp\"]"),
        ("allow = [\"shell\"]", "allow = [\"forward\"]"),
        ("allow = [\"shell\"]", "allow = [\"shell\"]\nforward_to = [\"h:1\"]"),
        ("allow = [\"shell\"]", "allow = [\"forward\"]\nforward_to = [\"h\"]"),
    ];
    let added = [
        "require = { posture = \"helthy\" }",
        "require = { posture = \"Healthy\" }",
        "require = { fresh = \"0s\" }",
        "require = { fresh = \"soon\" }",
        "require = { factors = [] }",
        "require = { factors = [\"recovery\"] }",
        "require = { assurance = 4 }",
        "require = { assurance = 0 }",
        "require = { reason = \"yes\" }",
        "require = { approvals = -1 }",
        "require = { approvals = 9223372036854775807 }",
        "require = { source = [] }",
        "require = { source = [\"10.0.0.0/40\"] }",
        "hours = \"always\"",
        "until = 5",
        "until = 08:00:00",
        "max_session = \"0s\"",
        "max_session = \"400d\"",
    ];
    for (good, bad) in replaced {
        assert!(GRANT.contains(good), "{good}");
        assert!(refused(&GRANT.replacen(good, bad, 1)).line.is_some(), "{bad}");
    }
    for more in added {
        assert_eq!(refused(&format!("{GRANT}{more}\n")).line, Some(7), "{more}");
    }
}

#[test]
fn a_login_of_fewer_than_two_kinds_is_refused() {
    for factors in ["", "\"key\"", "\"key\", \"key\"", "\"key\", \"recovery\"", "\"key\", \"totp\""] {
        let text = format!("[login]\nrequire = {{ factors = [{factors}] }}");
        assert_eq!(refused(&text).line, Some(2), "{factors}");
    }
    assert!(Bundle::parse(&[file("a.toml", "[login]\nfresh = \"0s\"")]).is_ok());
}

#[test]
fn a_name_that_stands_twice_is_refused_with_both_places() {
    let operator = "[[operator]]\nname = \"alice\"\n";
    for text in [operator, &target(""), GRANT, "[login]\nfresh = \"1h\"\n"] {
        let files = [file("b.toml", &format!("\n{text}")), file("a.toml", text)];
        let told = Bundle::parse(&files).unwrap_err();
        assert_eq!(told.file.as_deref(), Some("b.toml"), "{told}");
        assert!(told.problem.contains("stands also in a.toml line"), "{told}");
    }
    assert!(Bundle::parse(&[file("a.toml", ""), file("a.toml", "")]).is_err());
}

#[test]
fn an_operator_that_a_grant_writes_out_must_be_there_when_the_bundle_names_operators() {
    let grant = GRANT.replace("roles = [\"sre\"]", "operators = [\"alcie\"]");
    assert!(Bundle::parse(&[file("a.toml", &grant)]).is_ok());
    let told = refused(&format!("[[operator]]\nname = \"alice\"\n{grant}"));
    assert_eq!(told.line, Some(5), "{told}");
    let dangling = GRANT.replace("sre", "nobody-has-it");
    assert!(Bundle::parse(&[file("a.toml", &format!("[[operator]]\nname = \"alice\"\n{dangling}"))]).is_ok());
}

#[test]
fn a_host_pattern_is_never_everything() {
    for bad in ["*", "", "**", "*.*", "?", "-", "a b", "a\\n@cert-authority *", "!x"] {
        assert!(Bundle::parse(&[file("a.toml", &format!("host_patterns = [\"{bad}\"]"))]).is_err(), "{bad}");
    }
    let bundle = Bundle::parse(&[file("a.toml", "host_patterns = [\"*.prod.example\"]")]).unwrap();
    assert_eq!(bundle.host_patterns(), ["*.prod.example"]);
}

#[test]
fn a_file_that_is_none_of_ours_is_refused() {
    for name in ["notes.txt", "toml", "a.toml.bak", "a\n.toml", ""] {
        assert!(Bundle::parse(&[file(name, "")]).is_err(), "{name:?}");
    }
}

#[test]
fn what_is_too_much_is_refused() {
    let roles: Vec<String> = (0..65).map(|n| format!("\"r{n}\"")).collect();
    refused(&format!("[[operator]]\nname = \"a\"\nroles = [{}]", roles.join(",")));
    refused(&GRANT.replace("\"deploy\"", &roles.join(",")));
    let labels: Vec<String> = (0..33).map(|n| format!("l{n} = \"x\"")).collect();
    refused(&target(&format!("labels = {{ {} }}", labels.join(","))));
    let globs: String = (0..=super::patterns::MOST_GLOBS)
        .map(|n| GRANT.replace("\"g\"", &format!("\"g{n}\"")).replace("\"*\"", &format!("\"t{n}*\"")))
        .collect();
    assert!(refused(&globs).problem.contains("globs"));
}

proptest! {
    #[test]
    fn hostile_text_is_answered(text in any::<String>(), cedar in any::<bool>()) {
        let name = if cedar { "a.cedar" } else { "a.toml" };
        if let Err(told) = Bundle::parse(&[file(name, &text)]) {
            prop_assert!(told.to_string().chars().all(|c| !c.is_control()));
        }
    }

    #[test]
    fn a_bundle_with_a_byte_changed_is_read_or_refused_in_one_sentence(at in 0_usize..400, byte in 0_u8..128) {
        let mut bytes = (target("labels = { a = \"b\" }") + GRANT + "hours = \"daily 08:00-09:00 UTC\"\n").into_bytes();
        let place = at % bytes.len();
        bytes[place] = byte;
        if let Ok(text) = String::from_utf8(bytes)
            && let Err(told) = Bundle::parse(&[file("a.toml", &text)])
        {
            prop_assert!(told.to_string().chars().all(|c| !c.is_control()));
        }
    }
}
