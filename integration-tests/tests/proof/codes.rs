//! One-time codes that come too often, at one instant, or too late.
//! It never waits for a code's time to pass.

use std::time::Duration;

use bartizan_integration_tests::Rig;

#[test]
fn of_one_code_on_two_connections_at_one_instant_one_gets_in() {
    let rig = Rig::new().operator("ana").target("db1").fresh("0s").start();
    let ana = rig.client("ana");
    let mut screens = [ana.word_on_terminal("whoami"), ana.word_on_terminal("whoami")];
    screens.iter_mut().for_each(|screen| drop(screen.expect("One-time code: ")));
    let code = rig.phone("ana").fresh();
    screens.iter_mut().for_each(|screen| screen.line(&code));
    let mut exits = screens.map(bartizan_integration_tests::Terminal::exit);
    exits.sort_unstable();
    assert_eq!(exits, [0, 255]);
    rig.refusal("LOGIN-005");
    let logins: Vec<_> = rig.events().into_iter().filter(|event| event["type"] == "auth.login").collect();
    let ended = |outcome: &str| logins.iter().filter(|event| event["outcome"] == outcome).count();
    assert_eq!((ended("ok"), ended("refused")), (1, 1), "{logins:#?}");
}

#[test]
fn a_code_of_two_steps_ago_is_a_wrong_one() {
    let rig = Rig::new().operator("ana").target("db1").start();
    let late = rig.client("ana").answering(&rig.phone("ana").late()).word("whoami");
    assert_eq!((late.status.code(), late.stdout.as_slice()), (Some(255), &b""[..]), "{late:?}");
    assert_eq!(rig.refusal("LOGIN-004")["operator"], "ana");
}

#[test]
#[ignore = "long: somebody looks for their phone"]
fn who_takes_their_time_at_the_prompt_still_gets_in() {
    let rig = Rig::new().operator("ana").target("db1").start();
    let mut screen = rig.client("ana").word_on_terminal("whoami");
    screen.expect("One-time code: ");
    // Longer than any pause after which a server might ask a client whether it is still there.
    std::thread::sleep(Duration::from_secs(70));
    screen.line(&rig.phone("ana").fresh());
    screen.expect("ana");
    assert_eq!(screen.exit(), 0);
}
