//! The table of authority, as a file under review: role by action by state of device and login, over one bundle.
//! Never edited by hand: run the test, read the difference, accept it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

#[expect(dead_code, reason = "used in part here")]
mod scene;

use std::collections::BTreeMap;
use std::fmt::Write;

use policy::{ChannelKind, Factor, Level};
use scene::{Asker, alice, grant, held, ruled, target};

const ROLES: [&str; 5] = ["(none)", "auditor", "dba", "oncall", "sre"];
const TARGETS: [(&str, &str); 4] =
    [("web-1", "deploy"), ("web-1", "root"), ("db-1", "deploy"), ("db-1", "root")];
const KINDS: [&str; 4] = ["shell", "exec", "sftp", "subsystem:netconf"];

type Change = fn(&mut Asker);
const STATES: [(&str, Change); 7] = [
    ("managed, key + code now", |_| {}),
    ("managed, key + code 1 h ago", |a| a.factors = vec![held(Factor::Key, 3600), held(Factor::Code, 3600)]),
    ("managed, key alone", |a| a.factors = vec![held(Factor::Key, 0)]),
    ("no device, key + code now", |a| a.device = None),
    ("device at no level, key + code now", |a| a.device.as_mut().unwrap().levels.clear()),
    ("managed, with reason and approval", |a| (a.reason, a.approvals) = (Some("INC-7".into()), 1)),
    ("managed, on Sunday", |a| a.now = scene::at("2026-11-22T12:00:00Z")),
];

fn site() -> policy::Bundle {
    let toml = [
        target("web-1", "labels = { env = \"prod\" }"),
        target("db-1", "labels = { env = \"prod\", data = \"personal\" }"),
        grant(
            "sre-web",
            "targets = [\"web-*\"]\nallow = [\"shell\", \"exec\", \"upload\", \"download\"]\nrequire = { posture = \"managed\" }",
        ),
        grant(
            "sre-root",
            "targets = [\"web-*\"]\naccounts = [\"root\"]\nrequire = { fresh = \"15m\", reason = true }",
        ),
        grant(
            "dba",
            "roles = [\"dba\"]\nlabels = { data = \"personal\" }\nallow = [\"shell\", \"upload\", \"download\"]\nhours = \"Mon-Fri 08:00-18:00 UTC\"",
        ),
        grant(
            "oncall",
            "roles = [\"oncall\"]\ntargets = [\"*\"]\naccounts = [\"deploy\", \"root\"]\nallow = [\"shell\", \"exec\"]\nrequire = { approvals = 1, reason = true }",
        ),
    ];
    let rules = "@id(\"no-bulk-copies\")
        forbid (principal, action in [Action::\"upload\", Action::\"download\"], resource)
        when { resource.hasTag(\"data\") && resource.getTag(\"data\") == \"personal\" };
        @id(\"root-only-from-managed\")
        forbid (principal, action, resource)
        when { context.account == \"root\" }
        unless { context has device && context.device.levels.contains(\"managed\") };";
    ruled(&toml.concat(), rules)
}

fn cell(bundle: &policy::Bundle, role: &str, place: (&str, &str), kind: &str, change: Change) -> String {
    let asker = alice().with(|a| {
        a.roles = if role == "(none)" { [].into() } else { [role.parse().unwrap()].into() };
        (a.target, a.account) = (place.0.to_owned(), Some(place.1.parse().unwrap()));
        a.kind = ChannelKind::parse(kind).unwrap();
        a.factors = vec![held(Factor::Key, 0), held(Factor::Code, 0)];
        change(a);
    });
    match asker.ask(bundle) {
        Ok(permit) => format!("yes, by {}", permit.grant()),
        Err(denial) => format!("no, {denial} [{}]", denial.code()),
    }
}

const NOTHING: &str =
    "no, no grant names this operator for this target, account and kind of channel [ACCESS-002]\n";

/// Rows that no grant is about are counted. Rows in which all states agree are one row; those that deviate from the first state follow it.
fn render() -> String {
    let bundle = site();
    let (mut closed, mut all) = (0, 0);
    let mut blocks: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for role in ROLES {
        for place in TARGETS {
            for kind in KINDS {
                let usual = cell(&bundle, role, place, kind, STATES[0].1);
                let mut text = format!("{usual}\n");
                for (state, change) in &STATES[1..] {
                    let other = cell(&bundle, role, place, kind, *change);
                    if other != usual {
                        writeln!(text, "        {state}: {other}").unwrap();
                    }
                }
                all += 1;
                if text == NOTHING {
                    closed += 1;
                    continue;
                }
                let row = format!("{role}: {kind} as {} on {}", place.1, place.0);
                blocks.entry(text).or_default().push(row);
            }
        }
    }
    let mut text = format!("usual state: {}; a state that is not listed is like it\n", STATES[0].0);
    writeln!(text, "{closed} of {all} rows are in every state: {NOTHING}").unwrap();
    for (answer, rows) in blocks {
        writeln!(text, "\n{}\n    {}", rows.join("\n"), answer.trim_end()).unwrap();
    }
    text
}

#[test]
fn the_table_of_authority_is_as_reviewed() {
    assert_eq!(
        site().levels().cloned().collect::<Vec<_>>(),
        [Level::healthy(), Level::managed()],
        "a new level needs its states in this table"
    );
    insta::assert_snapshot!("authority", render());
}
