//! Mosh leaves SSH for UDP, where nothing can be recorded: it is refused, with a word.

use std::process::Command;

use bartizan_integration_tests::{Route, Terminal, by_both_routes};

use crate::{anybody, code_given};

by_both_routes! {
    mosh_is_refused_with_a_word,
}

fn mosh_is_refused_with_a_word(route: Route) {
    let rig = anybody().start();
    code_given(&rig);
    let ana = rig.client("ana").by(route);
    let mut mosh = Command::new("mosh");
    ana.prepare(&mut mosh);
    // It takes the client's locale along and wants it to be of UTF-8; by a jump it has to be told where the server is.
    mosh.env("LC_ALL", "C.UTF-8").env("TERM", "xterm");
    if route == Route::Jump {
        mosh.arg("--experimental-remote-ip=remote");
    }
    mosh.arg(format!("--ssh={}", ana.remote_shell())).arg(ana.at("db1"));
    let mut mosh = Terminal::open(mosh);
    mosh.expect(
        "bartizan: Mosh goes on by UDP, past the bastion, where nothing is recorded; use ssh [ACCESS-011]",
    );
    assert_ne!(mosh.exit(), 0);
    rig.refusal("ACCESS-011");
    assert!(rig.recordings().is_empty());
    assert_eq!(rig.target("db1").connections(), 0, "nothing was dialled");
}
