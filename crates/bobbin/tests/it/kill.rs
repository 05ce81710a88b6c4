//! The program is ended at any moment; afterwards the replica equals the oracle.

use std::time::Duration;

use bobbin_core::crash;
use fake_kustomer::{Mutation, Pick, Running, Simulator};

use crate::support::{Desk, FAST, tiny};

/// Small commits, so that a short run has many of them.
fn desk(sim: &Running) -> Desk {
    let desk = Desk::new(sim);
    let source = format!("api_token = \"{}\"\napi_url = \"{}\"\n{FAST}", sim.token(), sim.url());
    desk.write(&source, "path = \"out.duckdb\"\nrows_per_commit = 100", "");
    desk
}

fn change(sim: &Running) {
    for stream in ["customer", "conversation", "message", "note", "kobject", "tag"] {
        sim.control().mutate(&Mutation::update(stream, Pick::Random(15))).unwrap();
    }
    sim.control().mutate(&Mutation::add("conversation", 10)).unwrap();
    sim.control().advance(600_000);
}

#[test]
fn f84_killed_at_every_named_point() {
    for point in crash::POINTS {
        for nth in [1, 2, 7] {
            let sim = Simulator::start(tiny(5)).unwrap();
            let desk = desk(&sim);
            let order = format!("{point}:{nth}");
            let mut command = desk.command(&["run"]);
            let output = command.env("BOBBIN_CRASH_AT", &order).output().unwrap();
            assert!(!output.status.success(), "{order} was never passed");
            assert_eq!(output.status.code(), None, "{order}: ended by itself: {output:?}");
            change(&sim);
            desk.run(&["run"]).assert(0, &["complete"]);
            desk.assert_exact(&sim, None);
        }
    }
}

#[test]
fn f84_killed_at_two_hundred_random_moments() {
    let seed = std::env::var("BOBBIN_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| u64::from(std::process::id()));
    println!("replay with BOBBIN_TEST_SEED={seed}");
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let sim = Simulator::start(tiny(seed)).unwrap();
    let desk = desk(&sim);
    let (mut killed, mut finished) = (0, 0);
    // How long a run takes here decides which moments are worth hitting.
    let mut longest = Duration::from_millis(1500);
    while killed < 200 {
        let mut child = desk
            .command(&["run"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let wait = Duration::from_micros(random(longest.as_micros() as u64));
        let started = std::time::Instant::now();
        let ended = loop {
            if child.try_wait().unwrap().is_some() {
                break true;
            }
            if started.elapsed() >= wait {
                break false;
            }
            std::thread::yield_now();
            std::thread::sleep(Duration::from_micros(200));
        };
        if ended {
            finished += 1;
            longest = longest.min(started.elapsed() * 12 / 10);
        } else {
            child.kill().unwrap();
            child.wait().unwrap();
            killed += 1;
        }
        if random(4) == 0 {
            change(&sim);
        }
        assert!(finished < 2000, "the kills always come too late");
    }
    change(&sim);
    desk.run(&["run"]).assert(0, &["complete"]);
    desk.assert_exact(&sim, None);
    println!("{killed} killed, {finished} finished");
}

/// Waits for something that happens in another process.
fn wait_until(mut happened: impl FnMut() -> bool) {
    let started = std::time::Instant::now();
    while !happened() {
        assert!(started.elapsed() < Duration::from_mins(1), "it never happened");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_stop_in_order_keeps_what_was_read() {
    let mut config = tiny(6).with_count("message", 20_000);
    config.latency_ms = 60;
    let sim = Simulator::start(config).unwrap();
    for (signal, status) in [("INT", 130), ("TERM", 0)] {
        let desk = desk(&sim);
        let child = desk
            .command(&["run"])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        // In the middle of its pages, well before the forty it needs.
        let enough = sim.control().stats().requests + 25;
        wait_until(|| sim.control().stats().requests >= enough);
        let killed = std::process::Command::new("kill")
            .args([&format!("-{signal}"), &child.id().to_string()])
            .status()
            .unwrap();
        assert!(killed.success());
        let told = crate::support::Told::of(child.wait_with_output().unwrap());
        told.assert(status, &["interrupted"]);
        desk.run(&["run"]).assert(0, &["complete"]);
        desk.assert_exact(&sim, None);
    }
}
