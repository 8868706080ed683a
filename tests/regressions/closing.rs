//! How connections end: every phase has an end, and each end leaves time for what is still queued.

use std::thread;
use std::time::{Duration, Instant};

use line_chat::{Config, Server};

use crate::support::child::{self, alone};
use crate::support::rig::Rig;
use crate::support::server::Client;

// Elsewhere a time-out of zero never runs out. These two end what nothing else ends, so for them
// zero can mean neither "never" nor "at once": it is refused.
#[test]
fn a_time_out_that_must_end_is_refused_if_it_is_zero() {
    let valid = || Config {
        listen: vec!["127.0.0.1:0".parse().expect("an address")],
        ..Config::default()
    };
    assert_eq!(valid().check(), Ok(()));
    let mut goodbye = valid();
    goodbye.limits.goodbye_timeout = Duration::ZERO;
    let mut linger = valid();
    linger.limits.linger_timeout = Duration::ZERO;
    for (config, name) in [(goodbye, "goodbye_timeout"), (linger, "linger_timeout")] {
        let error = config.check().expect_err(name).to_string();
        assert!(error.contains(name), "{error}");
        assert!(Server::bind(config).is_err(), "{name}");
    }
}

const STALL_TIMEOUT: Duration = Duration::from_secs(1);

/// What a slow reader takes at once, at most.
const SIP: usize = 32 << 10;

/// How long it waits before the next. It takes so much that the server can write now and then, and
/// so little that its queue lasts longer than the test.
const PAUSE: Duration = Duration::from_millis(20);

fn take_a_sip(reader: &mut Client) {
    reader.read_at_most(SIP);
    thread::sleep(PAUSE);
}

// A half-closed client is closed after the stall time-out in all, not after the last time that it
// took something: every phase has an end.
#[test]
fn a_half_closed_client_that_takes_a_little_now_and_then_does_not_keep_its_slot() {
    let _alone = alone();
    // All that is said stays below a quarter of a queue, so nobody has to wait for the reader.
    let limits = ["--stall-timeout", "1", "--max-pending", "67108864"];
    let server = child::Server::start(&[&["-q"][..], &limits].concat());
    let mut bob = server.join("bob");
    let calm = server.descriptors();
    let mut reader = Client::join(server.addr, "reader");
    reader.shrink_buffer();
    // It must not count as stalled before it half-closes.
    let line = ["x".repeat(4000), "\r\n".to_owned()].concat();
    let flood = thread::spawn(move || {
        bob.send(line.repeat(3000).as_bytes());
        bob.await_heard();
        bob
    });
    while !flood.is_finished() {
        take_a_sip(&mut reader);
    }
    let _bob = flood.join().expect("the server reads");
    let start = Instant::now();
    reader.hang_up();
    while server.descriptors() > calm {
        assert!(
            start.elapsed() < 5 * STALL_TIMEOUT,
            "it has kept its slot for {:?}",
            start.elapsed()
        );
        take_a_sip(&mut reader);
    }
    assert!(start.elapsed() >= STALL_TIMEOUT, "it has its time");
}

/// A half-closed client that takes a byte each second; returns after how many it is freed.
fn seconds_of_sips(stall_timeout: Duration) -> usize {
    const MOST: usize = 1000;
    let mut rig = Rig::new(|config| config.limits.stall_timeout = Some(stall_timeout));
    let [bob, reader] = ["bob", "reader"].map(|nick| rig.join(nick));
    reader.stop_reading();
    bob.say(&"x".repeat(2 * MOST));
    rig.settle();
    reader.hang_up();
    rig.settle();
    let sip = |_: &usize| {
        rig.advance(Duration::from_millis(999));
        let is_freed = reader.is_freed();
        reader.take(1);
        rig.advance(Duration::from_millis(1));
        !is_freed
    };
    (0..MOST).take_while(sip).count()
}

// The time-out is exact, which a clock that the test sets can show. Where there is no stall time-out, a
// half-closed client has five minutes in all.
#[test]
fn a_half_closed_client_has_the_stall_time_out_in_all_or_else_five_minutes() {
    assert_eq!(seconds_of_sips(Duration::from_secs(10)), 10);
    assert_eq!(seconds_of_sips(Duration::ZERO), 300);
}
