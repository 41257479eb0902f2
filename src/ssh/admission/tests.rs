//! What admission and penalties promise, tried with many orders of events; it never opens a socket.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use proptest::prelude::*;

use super::penalties::{LONGEST, LONGEST_FOR_KNOWN, SOURCES};
use super::*;

const CAPS: Caps = Caps { all: 12, all_each: 6, waiting: 8, waiting_each: 4 };
const NEVER: Chance = Chance(100);
const ALWAYS: Chance = Chance(0);

fn source(number: u32) -> Source {
    Source::of(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number)))
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn an_ipv6_network_is_one_source_and_mapped_addresses_are_ipv4() {
    let of = |text: &str| Source::of(text.parse().unwrap());
    assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
    assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
    assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    assert_eq!(of("2001:db8::1").to_string(), "2001:db8::/64");
}

#[test]
fn whoever_holds_most_makes_room_and_the_oldest_first() {
    let mut door = Admission::new(CAPS);
    let (honest, _) = door.enter(source(1), Footing::Stranger, NEVER, seconds(0)).unwrap();
    let flood: Vec<Place> = (0..7)
        .map(|n| door.enter(source(2 + n % 2), Footing::Stranger, NEVER, seconds(0)).unwrap().0)
        .collect();
    let (_, evicted) = door.enter(source(9), Footing::Stranger, NEVER, seconds(0)).unwrap();
    assert_eq!(evicted, Some(flood[0]));
    assert!(door.waiting.contains_key(&honest));
    assert_eq!(door.waiting(), CAPS.waiting);
}

#[test]
fn strangers_make_room_before_whoever_comes_from_a_familiar_place_while_they_are_few() {
    let mut door = Admission::new(CAPS);
    let mut enter = |n, footing| door.enter(source(n), footing, NEVER, seconds(0)).unwrap();
    // The oldest of all, and silent; then a flood, each from an address of its own.
    let (familiar, _) = enter(1, Footing::Familiar);
    for n in 2..200 {
        let (_, evicted) = enter(n, Footing::Stranger);
        assert_ne!(evicted, Some(familiar));
    }
    // Whoever holds more than a few is like any other.
    let caps = Caps { all_each: 8, waiting_each: 8, ..CAPS };
    let mut door = Admission::new(caps);
    let mut enter = |n, footing| door.enter(source(n), footing, NEVER, seconds(0)).unwrap();
    let crowd: Vec<Place> = (0..8).map(|_| enter(1, Footing::Familiar).0).collect();
    assert_eq!(enter(2, Footing::Stranger).1, Some(crowd[0]));
}

#[test]
fn who_proved_something_goes_last_and_who_logged_in_never() {
    let mut door = Admission::new(CAPS);
    let crowd: Vec<Place> =
        (0..4).map(|_| door.enter(source(1), Footing::Stranger, NEVER, seconds(0)).unwrap().0).collect();
    door.advance(crowd[0], Stage::Proven);
    door.authenticated(crowd[1]);
    door.enter(source(1), Footing::Stranger, NEVER, seconds(0)).unwrap();
    assert_eq!(
        door.enter(source(1), Footing::Stranger, NEVER, seconds(0)).unwrap().1,
        Some(crowd[2]),
        "the oldest unproven of its own"
    );
    assert!(door.waiting.contains_key(&crowd[0]) && door.inside.contains_key(&crowd[1]));
    let mut full = Admission::new(CAPS);
    for n in 0..12 {
        let (place, _) = full.enter(source(n), Footing::Stranger, NEVER, seconds(0)).unwrap();
        full.authenticated(place);
    }
    assert_eq!(full.enter(source(77), Footing::Stranger, NEVER, seconds(0)), Err(Full::All));
    let mut each = Admission::new(CAPS);
    for _ in 0..6 {
        let (place, _) = each.enter(source(1), Footing::Stranger, NEVER, seconds(0)).unwrap();
        each.authenticated(place);
    }
    assert_eq!(each.enter(source(1), Footing::Stranger, NEVER, seconds(0)), Err(Full::Source));
    assert!(each.enter(source(2), Footing::Stranger, NEVER, seconds(0)).is_ok());
}

#[test]
fn a_source_above_its_share_is_dropped_early_and_a_newcomer_is_not() {
    let mut door = Admission::new(CAPS);
    for n in 0..4 {
        door.enter(source(n % 2), Footing::Stranger, ALWAYS, seconds(0)).unwrap();
    }
    assert_eq!(door.enter(source(1), Footing::Stranger, ALWAYS, seconds(0)), Err(Full::Early));
    assert!(door.enter(source(1), Footing::Stranger, NEVER, seconds(0)).is_ok());
    assert!(door.enter(source(9), Footing::Stranger, ALWAYS, seconds(0)).is_ok());
}

#[test]
fn a_single_mistake_costs_nothing_and_penalties_decay() {
    let mut penalties = Penalties::default();
    let one = source(1);
    penalties.add(one, Offence::Failed, seconds(0));
    penalties.add(one, Offence::Failed, seconds(0));
    assert!(!penalties.bars(one, seconds(0)));
    penalties.add(one, Offence::Failed, seconds(1));
    // Ten seconds of the first two are not yet over: fourteen are too few.
    assert!(!penalties.bars(one, seconds(1)));
    penalties.add(one, Offence::Failed, seconds(1));
    assert!(penalties.bars(one, seconds(1)) && penalties.bars(one, seconds(19)));
    assert!(!penalties.bars(one, seconds(20)) && !penalties.bars(source(2), seconds(2)));
    penalties.add(one, Offence::NoLogin, seconds(30));
    assert!(!penalties.bars(one, seconds(30)), "once over, it begins anew");
}

#[test]
fn nobody_waits_longer_than_the_longest_and_behind_a_known_address_less() {
    let mut penalties = Penalties::default();
    for _ in 0..1000 {
        penalties.add(source(1), Offence::Crash, seconds(5));
    }
    assert!(penalties.bars(source(1), seconds(5) + LONGEST - seconds(1)));
    assert!(!penalties.bars(source(1), seconds(5) + LONGEST));
    penalties.vouch(source(1), seconds(6));
    assert!(!penalties.bars(source(1), seconds(6) + LONGEST_FOR_KNOWN));
    for _ in 0..1000 {
        penalties.add(source(1), Offence::Failed, seconds(100));
    }
    assert!(penalties.bars(source(1), seconds(101)));
    assert!(!penalties.bars(source(1), seconds(100) + LONGEST_FOR_KNOWN));
}

#[test]
fn the_table_of_penalties_is_bounded_and_the_worst_stay() {
    let mut penalties = Penalties::default();
    penalties.add(source(0), Offence::Crash, seconds(0));
    for n in 1..3 * u32::try_from(SOURCES).unwrap() {
        penalties.add(source(n), Offence::NoLogin, seconds(0));
        assert!(penalties.len() <= SOURCES);
    }
    assert!(penalties.bars(source(0), seconds(1)));
    for n in 0..SOURCES {
        penalties.add(source(1), Offence::NoLogin, seconds(1000 + n as u64 * 2));
    }
    assert!(penalties.len() <= 2, "what is over is forgotten");
}

#[test]
fn among_many_who_hold_one_place_each_who_said_least_goes_first() {
    let mut door = Admission::new(Caps { all: 100, all_each: 100, waiting: 4, waiting_each: 4 });
    let enter =
        |door: &mut Admission, n, at| door.enter(source(n), Footing::Stranger, NEVER, seconds(at)).unwrap();
    let (honest, _) = enter(&mut door, 0, 100);
    door.advance(honest, Stage::Speaking);
    // A flood of silent ones from ever new sources, in one moment.
    for n in 1..1000 {
        enter(&mut door, n, 100);
    }
    assert!(door.waiting.contains_key(&honest));
    // A crowd that has spoken and waits: a newcomer is given the time to speak.
    let mut crowd = Admission::new(Caps { all: 100, all_each: 100, waiting: 4, waiting_each: 4 });
    for n in 0..4 {
        let (place, _) = enter(&mut crowd, n, 0);
        crowd.advance(place, Stage::Keyed);
    }
    let (newcomer, _) = enter(&mut crowd, 9, 10);
    enter(&mut crowd, 10, 10);
    assert!(crowd.waiting.contains_key(&newcomer));
}

#[derive(Debug, Clone)]
enum Step {
    Enter(u32, u8),
    Advance(usize, Stage),
    Authenticated(usize),
    Leave(usize),
    Pass,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let stage = prop_oneof![Just(Stage::Speaking), Just(Stage::Keyed), Just(Stage::Proven)];
    let step = prop_oneof![
        5 => (0..6_u32, 0..100_u8).prop_map(|(source, chance)| Step::Enter(source, chance)),
        2 => (any::<usize>(), stage).prop_map(|(at, stage)| Step::Advance(at, stage)),
        1 => any::<usize>().prop_map(Step::Authenticated),
        1 => any::<usize>().prop_map(Step::Leave),
        1 => Just(Step::Pass),
    ];
    prop::collection::vec(step, 1..200)
}

fn check(door: &Admission) -> Result<(), TestCaseError> {
    prop_assert!(door.all() <= CAPS.all && door.waiting() <= CAPS.waiting);
    prop_assert_eq!(door.all(), door.sources.values().map(Held::all).sum::<usize>());
    prop_assert_eq!(door.waiting(), door.sources.values().map(Held::waiting).sum::<usize>());
    for held in door.sources.values() {
        prop_assert!(held.all() > 0 && held.all() <= CAPS.all_each && held.waiting() <= CAPS.waiting_each);
    }
    Ok(())
}

/// A newcomer is turned away only where there is a reason, and room is made by who holds most.
fn enter(door: &mut Admission, new: Source, chance: u8, clock: u64) -> Result<Option<Place>, TestCaseError> {
    let (waiting, sources) = (door.waiting.clone(), door.sources.clone());
    let held = |of: Source| sources.get(&of).copied().unwrap_or_default();
    match door.enter(new, Footing::Stranger, Chance(chance), seconds(clock)) {
        Ok((place, evicted)) => {
            if let Some(victim) = evicted.map(|evicted| waiting[&evicted]) {
                let heaviest = sources.values().map(|held| held.unproven).max().unwrap_or(0);
                let fair = victim.source == new || held(victim.source).unproven == heaviest;
                prop_assert!(fair || heaviest == 0, "{:?} of {:?}", victim, sources);
                if victim.stage == Stage::Proven && victim.source != new {
                    prop_assert_eq!(heaviest, 0, "somebody who proved nothing stayed");
                }
            }
            Ok(Some(place))
        }
        Err(why) => {
            if held(new).all() == 0 {
                prop_assert_eq!((why, waiting.len()), (Full::All, 0));
            }
            Ok(None)
        }
    }
}

proptest! {
    #[test]
    fn whatever_comes_the_caps_hold_and_room_is_made_fairly(steps in steps()) {
        let mut door = Admission::new(CAPS);
        let (mut given, mut clock) = (Vec::new(), 0);
        for step in steps {
            match step {
                Step::Enter(number, chance) => given.extend(enter(&mut door, source(number), chance, clock)?),
                Step::Advance(at, stage) if !given.is_empty() => door.advance(given[at % given.len()], stage),
                Step::Authenticated(at) if !given.is_empty() => {
                    door.authenticated(given[at % given.len()]);
                }
                Step::Leave(at) if !given.is_empty() => door.leave(given[at % given.len()]),
                _ => clock += 1,
            }
            check(&door)?;
        }
        for place in given {
            door.leave(place);
        }
        prop_assert!(door.waiting.is_empty() && door.inside.is_empty() && door.sources.is_empty());
    }
}
