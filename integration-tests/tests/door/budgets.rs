//! What a client that is logged in may ask for: beyond it the connection ends, others notice nothing, memory stays flat.
//! It never asks for more than a program would that has gone wrong.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bartizan_integration_tests::{Rig, soon, until};

use crate::hostile::{Hostile, runtime};

/// Long enough for any budget to be used up.
const LIMIT: Duration = Duration::from_secs(60);
/// The most memory the bastion may hold.
const BOUND: u64 = 64 << 20;

fn scene() -> Rig {
    Rig::new().operator("ana").target("db1").start()
}

/// Ended, counted among the sessions as what it was, and nobody else is the worse for it.
fn settled(rig: &Rig) {
    assert_eq!(rig.client("ana").ssh("db1", "echo in").stdout, b"in\n");
    assert!(rig.server().peak_memory() < BOUND, "{}", rig.server().peak_memory());
}

/// A session, so that what ends the connection stands in the log.
async fn with_session(rig: &Rig) -> (Hostile, russh::Channel<russh::client::Msg>) {
    let client = Hostile::log_in(rig, "ana", "db1", b"").await;
    let channel = client.handle.channel_open_session().await.unwrap();
    channel.exec(true, "cat").await.unwrap();
    until("the session", Duration::from_secs(20), || (!rig.live().is_empty()).then_some(()));
    (client, channel)
}

#[test]
fn global_requests_by_the_thousand_end_the_connection() {
    let rig = scene();
    runtime().block_on(async {
        let (client, _channel) = with_session(&rig).await;
        let flood = async { while client.handle.send_keepalive(true).await.is_ok() {} };
        tokio::time::timeout(LIMIT, flood).await.unwrap();
        client.until_ended(LIMIT).await;
    });
    rig.refusal("LIMIT-002");
    settled(&rig);
}

#[test]
fn keys_exchanged_without_end_end_the_connection() {
    let rig = scene();
    runtime().block_on(async {
        let (client, _channel) = with_session(&rig).await;
        // Some are what a careful client asks for.
        for _ in 0..5 {
            client.handle.rekey_soon().await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(!client.handle.is_closed());
        let flood = async { while client.handle.rekey_soon().await.is_ok() {} };
        tokio::time::timeout(2 * LIMIT, flood).await.unwrap();
        client.until_ended(LIMIT).await;
    });
    rig.refusal("LIMIT-002");
    settled(&rig);
}

#[test]
fn channels_by_the_thousand_are_refused_and_then_the_connection_ends() {
    let rig = scene();
    runtime().block_on(async {
        let (client, _channel) = with_session(&rig).await;
        let opened = AtomicUsize::new(0);
        // Many at a time: one after the other, and slowly, they are within the budget.
        let one = || async {
            while !client.handle.is_closed() {
                if let Ok(channel) = client.handle.channel_open_session().await {
                    opened.fetch_add(1, Ordering::Relaxed);
                    let _ = channel.close().await;
                }
            }
        };
        let flood = futures_util::future::join_all((0..32).map(|_| one()));
        tokio::time::timeout(LIMIT, flood).await.unwrap();
        let opened = opened.into_inner();
        assert!(opened < 4000, "{opened}");
        println!("{opened} channels");
    });
    rig.refusal("LIMIT-002");
    settled(&rig);
}

#[test]
fn a_session_that_stalls_an_exchange_can_be_killed() {
    let rig = scene();
    runtime().block_on(async {
        let (client, _channel) = with_session(&rig).await;
        client.stall().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        let id = rig.live()[0]["id"].as_str().unwrap().to_owned();
        rig.said(&["session", "kill", &id]);
        let killed = Instant::now();
        client.until_ended(LIMIT).await;
        assert!(killed.elapsed() < soon(), "{:?}", killed.elapsed());
    });
    rig.refusal("SESSION-001");
    settled(&rig);
}

#[test]
fn an_exchange_that_is_never_finished_has_a_deadline() {
    let rig = scene();
    runtime().block_on(async {
        let (client, _channel) = with_session(&rig).await;
        client.stall().await;
        let began = Instant::now();
        client.until_ended(LIMIT).await;
        println!("ended after {:?}", began.elapsed());
    });
    rig.refusal("LIMIT-002");
    settled(&rig);
}

#[test]
fn what_busy_clients_do_is_within_the_budgets() {
    let rig = scene();
    // A transfer with new keys every mebibyte, both ways.
    let line = "head -c 64M /dev/zero";
    let output = rig.client("ana").option("RekeyLimit 1M").ssh("db1", line);
    assert_eq!(output.stdout.len(), 64 << 20, "{}", String::from_utf8_lossy(&output.stderr));
    // Commands on one connection, one after the other.
    let shared = rig.client("ana").share("db1");
    for round in 0..150 {
        assert!(shared.command("true").status().unwrap().success(), "{round}");
    }
}
