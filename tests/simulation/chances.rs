//! What a run is like: [`Chances`] says how its persons are and how often what fails, and
//! [`any_config`] sets limits that are hit all the time. Each seed has its own.

use std::time::Duration;

use fastrand::Rng;
use line_chat::{Config, Lag, Limits};

use crate::listener::AcceptFaults;
use crate::person::Manner;
use crate::socket::Faults;

const PREFIXES: [&str; 4] = ["{nick}: ", "[{nick}]: ", "<{nick}> ", "{nick}|{nick}: "];

#[derive(Debug)]
pub(crate) struct Chances {
    pub(crate) most_persons: usize,
    pub(crate) manner: Manner,
    pub(crate) faults: Faults,
    pub(crate) accept_faults: AcceptFaults,
    /// How many files the process may have open, and how many something else opens at once.
    pub(crate) descriptors: usize,
    pub(crate) descriptors_elsewhere: usize,
    /// How often no spare descriptor can be had, of 256.
    pub(crate) spare_taken: u8,
    /// How long it is from one turn to the next at most, and how often nothing happens until the
    /// next deadline.
    pub(crate) longest_tick_micros: u64,
    pub(crate) wait: f64,
    /// How often the process is stopped for a while.
    pub(crate) stop: f64,
}

impl Chances {
    /// `is_flooded`: somebody says more than anybody can read, all the time. For that time has to
    /// be short.
    pub(crate) fn new(is_flooded: bool, rng: &mut Rng) -> Self {
        let mut chances = Self::any(rng);
        if is_flooded {
            chances.longest_tick_micros = any_of(rng, [500, 2000, 10_000, 20_000]);
            chances.wait = 0.001;
            chances.stop /= 10.0;
            chances.manner.flood = 0.5;
            chances.manner.burst = 2000;
            chances.manner.go /= 10.0;
            chances.manner.stall = any_of(rng, [0.01, 0.05, 0.2]);
        }
        chances
    }

    fn any(rng: &mut Rng) -> Self {
        let most_persons = rng.usize(3..20);
        let (descriptors, descriptors_elsewhere) = match rng.u8(0..3) {
            0 => (most_persons.max(2), most_persons),
            _ => (1000, 0),
        };
        Self {
            most_persons,
            manner: any_manner(rng),
            faults: any_faults(rng),
            accept_faults: any_accept_faults(rng),
            descriptors,
            descriptors_elsewhere,
            spare_taken: any_of(rng, [0, 0, 40]),
            longest_tick_micros: any_of(rng, [0, 1000, 20_000, 200_000]),
            wait: 0.005,
            stop: any_of(rng, [0.0, 0.0005, 0.003]),
        }
    }
}

fn any_of<T: Copy, const N: usize>(rng: &mut Rng, values: [T; N]) -> T {
    values[rng.usize(..N)]
}

fn any_manner(rng: &mut Rng) -> Manner {
    Manner {
        pieces: rng.usize(0..8),
        burst: any_of(rng, [100, 100, 100, 2000]),
        telnet: any_of(rng, [0.0, 0.001, 0.01, 0.05]),
        stall: any_of(rng, [0.0, 0.01, 0.05]),
        flood: any_of(rng, [0.0, 0.0, 0.02, 0.2]),
        foreign: any_of(rng, [0.0, 0.05, 0.2]),
        nameless: any_of(rng, [0.05, 0.2]),
        go: any_of(rng, [0.0, 0.002, 0.01, 0.03]),
    }
}

fn any_faults(rng: &mut Rng) -> Faults {
    let often = any_of(rng, [0.0, 0.01, 0.1]);
    Faults {
        interrupted: often,
        falsely_blocked: often,
        short: often,
        broken: often / 50.0,
        unregistrable: often / 20.0,
        starved: often / 5.0,
    }
}

fn any_accept_faults(rng: &mut Rng) -> AcceptFaults {
    let often = any_of(rng, [0.0, 0.02, 0.3]);
    AcceptFaults {
        interrupted: often,
        aborted: often / 2.0,
        short: often,
    }
}

/// A config that is sound, and its prefix.
pub(crate) fn any_config(
    is_flooded: bool,
    has_people: bool,
    rng: &mut Rng,
) -> (Config, &'static str) {
    let prefix = any_of(rng, PREFIXES);
    let mut config = Config::default();
    let parsed = prefix.parse();
    assert!(parsed.is_ok(), "{prefix:?} is no prefix");
    config.prefix = parsed.unwrap_or_default();
    set_sizes(&mut config.limits, rng);
    set_times(&mut config.limits, rng);
    set_numbers(&mut config.limits, rng);
    if is_flooded {
        config.limits.read_bytes = rng.usize(500..5000);
        config.limits.lines_per_second = 0.0;
    }
    set_people(&mut config, has_people, rng);
    set_pending(&mut config, has_people, rng);
    assert_eq!(config.check(), Ok(()));
    (config, prefix)
}

fn set_sizes(limits: &mut Limits, rng: &mut Rng) {
    limits.max_line_bytes = rng.usize(8..200);
    limits.max_nick_chars = rng.usize(4..=32);
    limits.read_bytes = match rng.u8(0..3) {
        0 => rng.usize(1..20),
        1 => rng.usize(20..500),
        _ => rng.usize(500..5000),
    };
    limits.turn_read_bytes = match rng.u8(0..3) {
        0 => limits.read_bytes * rng.usize(1..4),
        _ => limits.turn_read_bytes,
    };
    limits.linger_bytes = rng.usize(1..500);
}

fn set_times(limits: &mut Limits, rng: &mut Rng) {
    let mut upto = |least, most| Duration::from_millis(rng.u64(least..most));
    limits.goodbye_timeout = upto(500, 5000);
    limits.linger_timeout = upto(100, 1000);
    // Perhaps it is over directly after somebody counts as stalled.
    let (stall, soon) = (upto(500, 20_000), upto(1000, 1200));
    let login = upto(500, 20_000);
    let idle = upto(500, 20_000);
    let stall = if rng.u8(0..4) == 0 { soon } else { stall };
    let mut or_never = |time, never: u8| {
        if rng.u8(0..8) < never {
            Duration::ZERO
        } else {
            time
        }
    };
    limits.ack_timeout = limits.goodbye_timeout;
    limits.liveness_interval = limits.linger_timeout;
    limits.login_timeout = Some(or_never(login, 2));
    limits.idle_timeout = or_never(idle, 5);
    limits.stall_timeout = Some(or_never(stall, 1));
    if rng.u8(0..8) == 0 {
        limits.stall_timeout = None;
    }
}

fn set_numbers(limits: &mut Limits, rng: &mut Rng) {
    limits.lag = any_of(rng, [Lag::Skip, Lag::Skip, Lag::Disconnect, Lag::Wait]);
    limits.max_refusals = Some(rng.u8(1..=4));
    if rng.u8(0..3) == 0 {
        limits.lines_per_second = any_of(rng, [0.5, 3.0, 17.3, 200.0]);
        limits.burst_lines = rng.u32(1..30);
    }
    let (clients, from_one) = (rng.usize(2..15), rng.usize(1..6));
    limits.max_clients = any_of(rng, [None, None, Some(clients)]);
    limits.max_clients_per_ip = any_of(rng, [0, 0, from_one]);
    if rng.u8(0..3) == 0 {
        limits.connects_per_second = any_of(rng, [0.5, 3.0, 20.0]);
        limits.burst_connects = rng.u32(1..5);
    } else {
        limits.connects_per_second = 0.0;
    }
    limits.accepts_per_turn = rng.usize(1..5);
}

/// The passwords of the room and of its operators.
pub(crate) const PASSWORD: &str = "sesame";
pub(crate) const OPS_PASSWORD: &str = "mustard";

fn set_people(config: &mut Config, has_people: bool, rng: &mut Rng) {
    if !has_people {
        return;
    }
    let people = &mut config.interactive;
    people.enabled = true;
    people.history_lines = any_of(rng, [None, Some(0), Some(3)]);
    people.quiet_above_members = any_of(rng, [1000, 1000, 5]);
    if rng.bool() {
        people.password = PASSWORD.parse().ok();
    }
    if rng.bool() {
        people.ops_password = OPS_PASSWORD.parse().ok();
    }
    config.limits.max_line_bytes = config.limits.max_line_bytes.max(60);
}

fn set_pending(config: &mut Config, has_people: bool, rng: &mut Rng) {
    /// What people need at least.
    const FOR_PEOPLE: usize = 64 << 10;
    let least = if has_people { FOR_PEOPLE } else { 0 };
    let needed = config.longest_line_bytes().max(least);
    let limits = &mut config.limits;
    limits.max_pending_bytes = match rng.u8(0..4) {
        0 => needed,
        1 => needed * rng.usize(2..6),
        _ if has_people => needed,
        _ => needed * rng.usize(6..60),
    };
    limits.max_pending_total_bytes = match rng.u8(0..3) {
        // Of memory: the smallest buffer has a kilobyte, and one is always there for a write.
        0 | 1 => (limits.max_pending_bytes * rng.usize(1..7) / 2).max(16 << 10),
        _ => 0,
    };
}

/// The room is recorded, by a writer whose queue is a part of what memory there may be.
pub(crate) fn set_recorded(config: &mut Config) {
    config.recorded = true;
    let limits = &mut config.limits;
    if limits.max_pending_total_bytes > 0 {
        let least = 4 * limits.max_pending_bytes;
        limits.max_pending_total_bytes = limits.max_pending_total_bytes.max(least);
    }
    assert_eq!(config.check(), Ok(()));
}
