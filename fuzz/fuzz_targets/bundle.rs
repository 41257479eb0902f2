//! The access bundle: TOML, and after a line `#cedar` the bundle's own rules.
//! Holds: a refusal is one sentence without a character that a terminal obeys; the order of files does not matter; whoever can
//! reach something is named by a grant of theirs, on their own tenant's target, and never with nothing in hand.
#![no_main]

use bartizan_fuzz::{blocks, sow};
use libfuzzer_sys::fuzz_target;
use policy::{Answer, Bundle, Destination, OperatorName, Person, RoleName, SourceFile, TenantName, who_can};

fn parse(toml: &str, cedar: &str, turned: bool) -> Result<Bundle, String> {
    let file = |name: &str, text: &str| SourceFile { name: name.into(), text: text.into() };
    let mut files = vec![file("a.toml", toml)];
    if !cedar.is_empty() {
        files.push(file("b.cedar", cedar));
    }
    if turned {
        files.reverse();
    }
    Bundle::parse(&files).map_err(|told| told.to_string())
}

/// What a bundle that was taken says of itself.
fn holds(bundle: &Bundle) {
    assert!(
        bundle.host_patterns().iter().all(|pattern| pattern.contains(|c: char| c.is_ascii_alphanumeric()))
    );
    assert!(bundle.login().factors().len() >= 2);
    for grant in bundle.grants() {
        assert!(!grant.accounts().is_empty() && !grant.allow().is_empty());
        assert!(!grant.roles().is_empty() || !grant.operators().is_empty());
        for place in grant.forward_to() {
            assert_eq!(Destination::parse(&place.to_string()).as_ref(), Ok(place));
        }
    }
    // Somebody of the store, for a bundle that names nobody.
    let person = Person {
        name: OperatorName::parse("alice").expect("a name"),
        roles: [RoleName::parse("sre").expect("a role")].into(),
        tenant: TenantName::parse("default").expect("a tenant"),
        enabled: true,
    };
    let now = jiff::Timestamp::from_second(1_795_338_716).expect("a time");
    for target in bundle.targets() {
        for reach in who_can(bundle, std::slice::from_ref(&person), target.name().as_str(), None, now) {
            assert!(target.accounts().contains(&reach.account));
            let Answer::Needs { grant, missing } = &reach.answer else { continue };
            assert!(!missing.is_empty(), "with nothing in hand: {reach:?}");
            let grant =
                bundle.grants().iter().find(|one| one.name() == grant).expect("a grant of the bundle");
            let (roles, tenant) = match bundle.operator(&reach.operator) {
                Some(operator) => (operator.roles(), operator.tenant()),
                None => (&person.roles, &person.tenant),
            };
            assert!(grant.names_operator(&reach.operator, roles) && grant.names_target(target), "{reach:?}");
            assert!(grant.accounts().contains(&reach.account) && grant.allows(&reach.kind), "{reach:?}");
            assert!(tenant == target.tenant(), "another tenant's: {reach:?}");
            assert!(grant.until().is_none_or(|until| until > now), "over: {reach:?}");
        }
    }
}

/// The examples that people are shown.
fn seeds() -> Vec<Vec<u8>> {
    let text = include_str!("../../docs/access-bundle.md");
    let (toml, cedar) = (blocks(text, "toml"), blocks(text, "cedar"));
    let both = format!("{}\n#cedar\n{}", toml.first().unwrap_or(&""), cedar.first().unwrap_or(&""));
    toml.iter().chain(&cedar).map(|text| text.as_bytes().to_vec()).chain([both.into_bytes()]).collect()
}

fuzz_target!(init: sow("bundle", seeds()), |text: &str| {
    let (toml, cedar) = text.split_once("\n#cedar\n").unwrap_or((text, ""));
    let read = parse(toml, cedar, false);
    match &read {
        Ok(bundle) => holds(bundle),
        Err(told) => assert!(told.contains("; ") && !told.contains(char::is_control), "{told:?}"),
    }
    if !cedar.is_empty() {
        assert_eq!(read.err(), parse(toml, cedar, true).err(), "the order of files matters");
    }
});
