//! The bundle's own rules: what they can see, that they only forbid, and that an error in one is a no.
//! Never through anything but the public face of the crate.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

#[expect(dead_code, reason = "used in part here")]
mod scene;

use policy::{Bundle, BundleError, Cause, ChannelKind, Evidence};
use scene::{Asker, alice, file, grant, laptop, ruled, target};

fn toml() -> String {
    target("web-1", "labels = { env = \"prod\" }\nowner = \"platform\"")
        + &grant("g", "allow = [\"shell\", \"exec\"]")
}

fn forbidden(rule: &str, change: impl FnOnce(&mut Asker)) -> bool {
    match alice().with(change).ask(&ruled(&toml(), rule)) {
        Ok(_) => false,
        Err(denial) => {
            // A rule that something could still satisfy is told as that being missing.
            let by_rule = denial.cause == Cause::Forbidden { rule: "r.cedar#1".into() };
            assert!(by_rule || denial.cause == Cause::Missing, "{denial}");
            true
        }
    }
}

fn refused(rule: &str) -> BundleError {
    Bundle::parse(&[file("a.toml", &toml()), file("r.cedar", rule)]).unwrap_err()
}

#[test]
fn a_rule_sees_the_operator_the_action_the_target_and_the_facts() {
    let when = |condition: &str| format!("forbid (principal, action, resource) when {{ {condition} }};");
    for condition in [
        "principal.name == \"alice\" && principal in Role::\"sre\"",
        "resource.hasTag(\"env\") && resource.getTag(\"env\") == \"prod\"",
        "resource has owner && resource.owner == \"platform\"",
        "context.account == \"deploy\" && context.channel == \"shell\"",
        "context has device && context.device.evidence == \"key\"",
        "context has device && context.device.levels.contains(\"managed\")",
        "context.source.isInRange(ip(\"10.0.0.0/8\"))",
        "context.now >= datetime(\"2026-11-23\") && context.now < datetime(\"2026-11-24\")",
        "context.factors.contains(\"code\") && context.assurance == 1",
        "context has code_age && context.code_age == 60",
    ] {
        assert!(forbidden(&when(condition), |_| {}), "{condition}");
        assert!(!forbidden(&when(&format!("!({condition})")), |_| {}), "not {condition}");
    }
}

#[test]
fn a_rule_is_about_its_action_alone() {
    let exec = "forbid (principal, action == Action::\"exec\", resource);";
    assert!(!forbidden(exec, |_| {}));
    assert!(forbidden(exec, |a| a.kind = ChannelKind::Exec));
}

#[test]
fn what_a_rule_forbids_no_number_of_grants_opens() {
    let many: String = (0..50).map(|n| grant(&format!("g{n}"), "operators = [\"alice\"]")).collect();
    let bundle =
        ruled(&(toml() + &many), "@id(\"no\") forbid (principal == Operator::\"alice\", action, resource);");
    assert_eq!(alice().ask(&bundle).unwrap_err().cause, Cause::Forbidden { rule: "no".into() });
}

#[test]
fn a_rule_that_errs_is_a_no_even_where_it_would_not_have_matched() {
    let overflow = "@id(\"sum\") forbid (principal, action, resource)
        when { context.approvals + 9223372036854775807 < 0 };";
    let bundle = ruled(&toml(), overflow);
    assert!(alice().ask(&bundle).is_ok(), "zero more is no overflow");
    let said = alice().with(|a| a.approvals = 1).ask(&bundle).unwrap_err();
    assert_eq!(said.cause, Cause::RuleError { rule: "sum".into() });
    assert_eq!((said.code(), said.told_code()), ("ACCESS-006", "ACCESS-006"));
}

#[test]
fn facts_that_cannot_be_put_to_the_rules_are_a_no() {
    let bundle = ruled(&toml(), "");
    let said = alice().with(|a| a.now = jiff::Timestamp::MIN).ask(&bundle).unwrap_err();
    assert!(matches!(said.cause, Cause::RuleError { .. }), "{said}");
}

#[test]
fn a_reason_may_hold_anything() {
    let rule = "forbid (principal, action, resource) unless { context has reason && context.reason like \"INC-*\" };";
    assert!(!forbidden(rule, |a| a.reason = Some("INC-7 \"quoted\" \\ \u{0} ünï".into())));
    assert!(forbidden(rule, |a| a.reason = Some("*".into())));
}

#[test]
fn a_device_bound_to_the_connection_can_be_demanded() {
    let rule = "forbid (principal, action, resource) unless { context has device && context.device.evidence == \"bound\" };";
    assert!(forbidden(rule, |_| {}));
    assert!(!forbidden(rule, |a| a.device.as_mut().unwrap().evidence = Evidence::Bound));
}

#[test]
fn a_rule_that_opens_is_refused() {
    let told = refused(
        "forbid (principal, action, resource) when { context.approvals > 9 };\n\npermit (principal, action, resource);",
    );
    assert_eq!((told.file.as_deref(), told.line), (Some("r.cedar"), Some(3)));
    assert!(told.to_string().contains("[[grant]]"), "{told}");
}

#[test]
fn a_rule_that_cannot_mean_what_it_says_is_refused_with_its_place() {
    let cases = [
        ("forbid (principal, action, resource) when { context.nonsense == 1 };", Some(1)),
        ("\n\nforbid (principal, action, resource) when { context.code_age > 5 };", Some(3)),
        ("forbid (principal, action, resource) when { context.account == 1 };", Some(1)),
        ("forbid (principal, action == Action::\"dig\", resource);", Some(1)),
        ("forbid (principal == Target::\"web-1\", action, resource);", Some(1)),
        ("forbid (principal, action, resource) when { false };", Some(1)),
        ("\nforbid (principal, action, resource == Target::\"web-9\");", Some(2)),
        ("forbid (principal == ?principal, action, resource);", Some(1)),
        ("@id(\"a b\")\nforbid (principal, action, resource);", Some(1)),
        ("forbid (principal, action, resource)\nwhen { ;", Some(2)),
        ("forbid (principal, action, resource) when { context.account == \"dеploy\" };", Some(1)),
    ];
    for (rule, line) in cases {
        let told = refused(rule);
        assert_eq!((told.file.as_deref(), told.line), (Some("r.cedar"), line), "{told}");
        assert!(!told.to_string().contains('\n') && told.to_string().contains("; "), "{told}");
    }
}

#[test]
fn a_rule_about_an_operator_that_the_bundle_does_not_name_is_refused() {
    let rule = "forbid (principal == Operator::\"alcie\", action, resource);";
    let people = "[[operator]]\nname = \"alice\"\n".to_owned() + &toml();
    assert!(Bundle::parse(&[file("a.toml", &people), file("r.cedar", rule)]).is_err());
    assert!(
        Bundle::parse(&[file("a.toml", &toml()), file("r.cedar", rule)]).is_ok(),
        "the store's are not known here"
    );
}

#[test]
fn one_id_is_for_one_rule() {
    let rule = "@id(\"one\") forbid (principal, action, resource);\n";
    assert!(refused(&rule.repeat(2)).to_string().contains("\"one\""));
    assert!(
        refused("@id(\"shipped:grant\") forbid (principal, action, resource);").to_string().contains("@id")
    );
}

/// Reads and, where that works, decides, on a thread as small as those of the server.
fn survives(name: &'static str, text: String) -> bool {
    let reading = move || {
        let read = Bundle::parse(&[file("a.toml", &toml()), file(name, &text)]);
        read.map(|bundle| drop((alice().ask(&bundle), laptop::guarded().judged(&bundle)))).is_ok()
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(reading).unwrap().join().unwrap()
}

fn level(condition: &str) -> String {
    format!(
        "[[level]]\nname = \"own\"\n[[level.check]]\nname = \"c\"\ntable = \"processes\"\nwhen = '''{condition}'''\n\
         mode = \"block\"\nfailed = \"f\"\ndo = \"d\"\n"
    )
}

#[test]
fn text_nested_without_end_is_answered_and_never_fatal() {
    let rule = |condition: String| format!("forbid (principal, action, resource) when {{ {condition} }};");
    let most = 8_000;
    for part in [
        "!",
        "-",
        "true && ",
        "principal.enabled || ",
        "1 < 1 + ",
        "if true then true else ",
        "(",
        "[",
        "{a:",
    ] {
        survives("r.cedar", rule(part.repeat(most / part.len()) + "true"));
    }
    survives(
        "r.cedar",
        rule("(".repeat(30) + &"if (true) then true else ".repeat(250) + "true" + &")".repeat(30)),
    );
    survives("r.cedar", rule("\";\" == \";\" && ".repeat(20_000) + "true"));
    survives("r.cedar", rule("// ;\n true && ".repeat(20_000) + "true"));
    survives("r.cedar", rule("context".to_owned() + &".a".repeat(most / 2)));
    for part in
        ["!", "-", "true && ", "1 < 1 + ", "if true then true else ", "(", "[", "{a:", "resource.name == "]
    {
        let taken = survives("c.toml", level(&(part.repeat(2_000 / part.len()) + "resource.name == \"a\"")));
        assert_eq!(taken, part.starts_with("true") || part.starts_with("if"), "{part}");
    }
    survives("c.toml", level(&("resource".to_owned() + &".a".repeat(1_000))));
    let far = 200_000;
    survives("b.toml", format!("a{} = 1", ".a".repeat(far)));
    survives("b.toml", format!("[a{}]", ".a".repeat(far)));
    survives("b.toml", format!("until = {}", "[".repeat(far)));
    survives("b.toml", format!("x = {}", "{a=".repeat(far)));
}
