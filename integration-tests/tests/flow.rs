//! Bytes in quantity: both ways at once, into a target that does not take them, to a client that does not read them.
//! It never lets the bastion hold more than its bound, whatever either side does.

use std::io::{Read, Write};
use std::process::Stdio;
use std::time::Duration;

use bartizan_integration_tests::{
    BLOCK, Content, DEADLINE, Rig, Route, by_both_routes, end, ended, first_line, send, take, take_after,
    until,
};

/// The most memory the bastion may ever hold in these scenes.
const BOUND: u64 = 64 << 20;

by_both_routes! {
    zeros_and_noise_go_through_cat_and_come_back_whole,
    #[ignore = "long: a gibibyte ten times"]
    a_gibibyte_goes_through_cat_ten_times_of_ten,
    #[ignore = "long: a gibibyte of noise"]
    a_gibibyte_of_noise_goes_through_cat_and_comes_back_whole,
    a_target_that_sleeps_stalls_an_upload_and_loses_nothing,
    #[ignore = "long: twenty seconds and a gibibyte"]
    a_target_that_sleeps_long_stalls_an_upload_and_loses_nothing,
    a_client_that_sleeps_stalls_a_download_and_loses_nothing,
    #[ignore = "long: twenty seconds and a gibibyte"]
    a_client_that_sleeps_long_stalls_a_download_and_loses_nothing,
    a_stalled_channel_does_not_hold_up_its_siblings,
    a_hundred_commands_on_one_connection_leave_nothing_open,
    #[ignore = "long: five hundred commands"]
    five_hundred_commands_on_one_connection_leave_nothing_open,
}

fn zeros_and_noise_go_through_cat_and_come_back_whole(route: Route) {
    for content in [Content::Zeros, Content::Noise] {
        through_cat(route, 64, content);
    }
}

fn a_gibibyte_goes_through_cat_ten_times_of_ten(route: Route) {
    let rig = Rig::new().operator("ana").target("db1").start();
    let ana = rig.client("ana").by(route);
    for round in 0..10 {
        let mut ssh = ana.command("ssh");
        ssh.arg(ana.at("db1")).arg("cat").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut ssh = ssh.spawn().unwrap();
        let sent = send(ssh.stdin.take().unwrap(), 1024, Content::Zeros);
        let back = take(ssh.stdout.take().unwrap());
        assert_eq!(back.join().unwrap(), sent.join().unwrap(), "round {round}");
        assert!(ssh.wait().unwrap().success());
    }
    assert_bounded(&rig);
}

fn a_gibibyte_of_noise_goes_through_cat_and_comes_back_whole(route: Route) {
    through_cat(route, 1024, Content::Noise);
}

fn through_cat(route: Route, blocks: usize, content: Content) {
    let rig = Rig::new().operator("ana").target("db1").start();
    let mut ssh = rig.client("ana").by(route).start("db1", "cat");
    let sent = send(ssh.stdin.take().unwrap(), blocks, content);
    let back = take(ssh.stdout.take().unwrap());
    assert_eq!(back.join().unwrap(), sent.join().unwrap());
    assert!(ssh.wait().unwrap().success());
    assert_bounded(&rig);
    rig.sealed_recordings(1);
    rig.verify_everything();
}

fn a_target_that_sleeps_stalls_an_upload_and_loses_nothing(route: Route) {
    into_a_sleeping_target(route, 48, Duration::from_secs(3));
}

fn a_target_that_sleeps_long_stalls_an_upload_and_loses_nothing(route: Route) {
    into_a_sleeping_target(route, 1024, Duration::from_secs(20));
}

fn into_a_sleeping_target(route: Route, blocks: usize, stall: Duration) {
    let rig = Rig::new().operator("ana").target("db1").start();
    let mut ssh = rig.client("ana").by(route).start("db1", &format!("sleep {}; sha256sum", stall.as_secs()));
    let sent = send(ssh.stdin.take().unwrap(), blocks, Content::Noise);
    let mut said = String::new();
    ssh.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    let (_, sum) = sent.join().unwrap();
    assert_eq!(said.split(' ').next(), Some(sum.as_str()));
    assert!(ssh.wait().unwrap().success());
    assert_bounded(&rig);
}

fn a_client_that_sleeps_stalls_a_download_and_loses_nothing(route: Route) {
    into_a_sleeping_client(route, 48, Duration::from_secs(3));
}

fn a_client_that_sleeps_long_stalls_a_download_and_loses_nothing(route: Route) {
    into_a_sleeping_client(route, 1024, Duration::from_secs(20));
}

fn into_a_sleeping_client(route: Route, blocks: usize, stall: Duration) {
    let rig = Rig::new().operator("ana").target("db1").start();
    let file = rig.path("noise");
    let whole = Content::Noise.write(&file, blocks);
    let mut ssh = rig.client("ana").by(route).start("db1", &format!("cat {}", file.display()));
    let mut out = ssh.stdout.take().unwrap();
    let mut first = vec![0; 4096];
    out.read_exact(&mut first).unwrap();
    // The stall is what is tested.
    std::thread::sleep(stall);
    assert_eq!(take_after(out, first).join().unwrap(), whole);
    assert!(ssh.wait().unwrap().success());
    assert_bounded(&rig);
}

fn a_stalled_channel_does_not_hold_up_its_siblings(route: Route) {
    let rig = Rig::new().operator("ana").target("db1").start();
    let shared = rig.client("ana").by(route).share("db1");
    let mut down = shared.start("yes");
    let mut up = shared.start("echo $$; exec sleep 600");
    let sleeper = first_line(&mut up).parse().unwrap();
    let mut flood = up.stdin.take().unwrap();
    let flooding = std::thread::spawn(move || while flood.write_all(&[0; BLOCK]).is_ok() {});
    let mut first = [0; 2];
    down.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    for _ in 0..5 {
        let mut echo = shared.start("cat | sha256sum");
        let sent = send(echo.stdin.take().unwrap(), 4, Content::Noise);
        let mut said = String::new();
        echo.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(said.split(' ').next(), Some(sent.join().unwrap().1.as_str()));
        let status = ended("a sibling", &mut echo, Duration::from_secs(20));
        let mut told = String::new();
        echo.stderr.take().unwrap().read_to_string(&mut told).unwrap();
        assert!(status.success(), "{status}: {told}");
    }
    for child in [&mut down, &mut up] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    flooding.join().unwrap();
    end(sleeper);
    assert_bounded(&rig);
}

fn a_hundred_commands_on_one_connection_leave_nothing_open(route: Route) {
    commands_on_one_connection(route, 100);
}

fn five_hundred_commands_on_one_connection_leave_nothing_open(route: Route) {
    commands_on_one_connection(route, 500);
}

fn commands_on_one_connection(route: Route, count: usize) {
    let rig = Rig::new().operator("ana").target("db1").start();
    let shared = rig.client("ana").by(route).share("db1");
    let before = rig.server().descriptors();
    for n in 0..count {
        let ran = shared.command(&format!("echo {n}")).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&ran.stdout), format!("{n}\n"), "{ran:?}");
    }
    assert_bounded(&rig);
    until("descriptors to be given back", DEADLINE, || {
        (rig.server().descriptors() <= before + 4).then_some(())
    });
    shared.close();
    assert_eq!(rig.sealed_recordings(count).len(), count);
}

fn assert_bounded(rig: &Rig) {
    let peak = rig.server().peak_memory();
    assert!(peak < BOUND, "the bastion held {peak} bytes");
}
