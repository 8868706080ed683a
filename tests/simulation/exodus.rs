//! Ten thousand clients that leave at once: each costs a constant number of calls, so many of them go in
//! each turn, and none inside another's going, which a small stack proves. Who stays is served in each of
//! these turns.

use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use line_chat::engine::{ClientId, Engine, Interest, Registry, Stream};
use line_chat::{Config, Event, Lag, Observer, Profile, Service};

const MEMBERS: usize = 10_000;
const STACK_BYTES: usize = 128 << 10;

/// How many go in a turn.
const CLOSES: usize = 256;

/// How many that are on their way in or out are looked at in a turn.
const LOGINS: usize = 128;

/// How they leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    Fin,
    Rst,
    /// RST that is first seen when something is written to them.
    Unnoticed,
}

/// What all streams share: how their peers leave, once they do, and what was called.
#[derive(Debug, Default)]
struct Calls {
    leaving: Cell<Option<Leaving>>,
    reads: Cell<usize>,
    writes: Cell<usize>,
    shutdowns: Cell<usize>,
    deregistered: Cell<usize>,
    left: Cell<usize>,
    /// They take nothing of what they are sent.
    are_stalled: Cell<bool>,
    /// What is typed on the only stream that shares this.
    typed: RefCell<Option<String>>,
}

struct Leaver {
    nick: Option<String>,
    calls: Rc<Calls>,
}

fn count(calls: &Cell<usize>) {
    calls.set(calls.get() + 1);
}

impl Read for Leaver {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        count(&self.calls.reads);
        let line = self.nick.take();
        if let Some(line) = line.or_else(|| self.calls.typed.take()) {
            buffer[..line.len()].copy_from_slice(line.as_bytes());
            return Ok(line.len());
        }
        match self.calls.leaving.get() {
            None => Err(io::ErrorKind::WouldBlock.into()),
            Some(Leaving::Fin) => Ok(0),
            Some(Leaving::Rst | Leaving::Unnoticed) => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }
}

impl Write for Leaver {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        count(&self.calls.writes);
        if self.calls.are_stalled.get() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        match self.calls.leaving.get() {
            None | Some(Leaving::Fin) => Ok(bytes.len()),
            Some(Leaving::Rst | Leaving::Unnoticed) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Leaver {
    fn shutdown_write(&mut self) -> io::Result<()> {
        count(&self.calls.shutdowns);
        Ok(())
    }
}

/// Counts those who leave.
struct Watcher(Rc<Calls>);

impl Observer for Watcher {
    fn on_event(&mut self, _: Instant, event: Event<'_>) {
        if matches!(event, Event::Left { .. }) {
            count(&self.0.left);
        }
    }
}

struct Registrations(Rc<Calls>);

impl Registry<Leaver> for Registrations {
    fn register(&mut self, _: &mut Leaver, _: ClientId) -> io::Result<()> {
        Ok(())
    }

    fn reregister(&mut self, _: &mut Leaver, _: ClientId, _: Interest) -> io::Result<()> {
        Ok(())
    }

    fn deregister(&mut self, _: &mut Leaver) {
        count(&self.0.deregistered);
    }
}

#[test]
fn all_members_hang_up_at_once() {
    on_a_small_stack(Leaving::Fin);
}

#[test]
fn all_members_are_reset_at_once() {
    on_a_small_stack(Leaving::Rst);
}

#[test]
fn all_members_are_found_to_be_gone_by_one_line() {
    on_a_small_stack(Leaving::Unnoticed);
}

#[track_caller]
fn on_a_small_stack(leaving: Leaving) {
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
    let thread = thread.spawn(move || leave_at_once(leaving));
    let result = thread.expect("a thread").join();
    assert!(result.is_ok(), "{leaving:?} fails, for the reason above");
}

fn leave_at_once(leaving: Leaving) {
    let now = Instant::now();
    let calls = Rc::new(Calls::default());
    let mut registry = Registrations(Rc::clone(&calls));
    let mut engine = room_full(Config::default(), &calls, true, &mut registry, now);
    let typist = Typist::enter(&mut engine, &mut registry, now);
    let (reads, writes) = (calls.reads.get(), calls.writes.get());
    calls.leaving.set(Some(leaving));
    for id in 0..MEMBERS {
        if leaving != Leaving::Unnoticed {
            engine.on_readable(ClientId::from_index(id), true);
        }
        if leaving == Leaving::Rst {
            engine.on_writable(ClientId::from_index(id));
        }
    }
    if leaving == Leaving::Unnoticed {
        // The first line finds that all of them are gone. What they said before is still looked for.
        typist.types(&mut engine, &mut registry, now);
        assert_eq!(calls.deregistered.get(), 0);
    }
    go_in_turns(&mut engine, &mut registry, &typist, now);
    let (reads, writes) = (calls.reads.get() - reads, calls.writes.get() - writes);
    assert_eq!(reads, MEMBERS);
    match leaving {
        Leaving::Fin => {
            // Who has hung up may still read: those who are not yet closed get what is typed.
            let turns = MEMBERS / CLOSES;
            let most = MEMBERS * (turns + 1) / 2;
            assert!(writes <= most, "{writes} writes");
        }
        // What was found to be gone is not written again.
        Leaving::Rst => assert_eq!(writes, MEMBERS - CLOSES),
        Leaving::Unnoticed => assert_eq!(writes, MEMBERS),
    }
    assert_eq!(calls.shutdowns.get(), 0, "nobody is there to say it to");
    assert_eq!(engine.metrics().closed(), MEMBERS as u64);
}

#[test]
fn all_who_gave_no_nick_run_out_of_time_at_once() {
    let mut now = Instant::now();
    let calls = Rc::new(Calls::default());
    let mut registry = Registrations(Rc::clone(&calls));
    let mut engine = room_full(Config::default(), &calls, false, &mut registry, now);
    let typist = Typist::enter(&mut engine, &mut registry, now);
    now += Duration::from_secs(30);
    for _ in 0..=MEMBERS / CLOSES {
        type_in_a_turn(&mut engine, &mut registry, &typist, now);
    }
    assert_eq!(calls.shutdowns.get(), MEMBERS, "all were told");
    // They do not close their ends.
    now += Config::default().limits.linger_timeout;
    go_in_turns(&mut engine, &mut registry, &typist, now);
}

/// Last words of all of them would be far more than what all buffers may hold.
#[test]
fn all_are_told_to_go_at_once() {
    let now = Instant::now();
    let calls = Rc::new(Calls::default());
    let mut registry = Registrations(Rc::clone(&calls));
    let mut config = Config::default();
    config.limits.max_pending_total_bytes = 1 << 20;
    let mut engine = room_full(config, &calls, true, &mut registry, now);
    let writes = calls.writes.get();
    engine.shut_down(now);
    for turn in 1..=MEMBERS / CLOSES {
        engine.turn(now, &mut registry);
        assert_eq!(calls.shutdowns.get(), turn * CLOSES);
        assert_eq!(calls.writes.get() - writes, turn * CLOSES);
    }
    assert!(engine.has_work(), "some are still to be told");
    engine.turn(now, &mut registry);
    assert_eq!(calls.shutdowns.get(), MEMBERS);
}

#[test]
fn all_of_a_network_are_banned_at_once() {
    let mut now = Instant::now();
    let calls = Rc::new(Calls::default());
    let mut registry = Registrations(Rc::clone(&calls));
    let mut config = Config::default();
    config.interactive.enabled = true;
    config.interactive.ops_password = "mustard".parse().ok();
    let mut engine = room_full(config, &calls, true, &mut registry, now);
    let operator = Typist::enter_as(OPERATOR, &mut engine, &mut registry, now);
    for (command, left) in [("/op mustard\n", 0), ("/ban 127.0.0.0/8\n", CLOSES)] {
        operator.sends(command, &mut engine);
        engine.turn(now, &mut registry);
        assert_eq!(calls.left.get(), left, "{command}");
    }
    for id in 0..MEMBERS {
        // What they say now is not heard.
        engine.on_readable(ClientId::from_index(id), false);
    }
    for _ in 1..=MEMBERS / CLOSES {
        type_in_a_turn(&mut engine, &mut registry, &operator, now);
    }
    assert_eq!(
        (calls.left.get(), calls.shutdowns.get()),
        (MEMBERS, MEMBERS)
    );
    now += Config::default().limits.linger_timeout;
    go_in_turns(&mut engine, &mut registry, &operator, now);
}

/// How much may be queued, and how many lines are typed before that is all of it.
const QUEUE_BYTES: usize = 2000;
const LINES_QUEUED: usize = QUEUE_BYTES / "typist: hello\r\n".len();

/// One line is too much for all of them.
#[test]
fn all_are_too_slow_at_once() {
    let now = Instant::now();
    let calls = Rc::new(Calls::default());
    let mut registry = Registrations(Rc::clone(&calls));
    let mut config = Config::default();
    config.limits.lag = Lag::Disconnect;
    config.limits.max_line_bytes = 64;
    config.limits.max_pending_bytes = QUEUE_BYTES;
    let mut engine = room_full(config, &calls, true, &mut registry, now);
    let typist = Typist::enter(&mut engine, &mut registry, now);
    calls.are_stalled.set(true);
    for _ in 0..LINES_QUEUED {
        typist.types(&mut engine, &mut registry, now);
    }
    assert_eq!(calls.left.get(), 0);
    for _ in 0..=MEMBERS / CLOSES {
        type_in_a_turn(&mut engine, &mut registry, &typist, now);
    }
    assert_eq!(calls.left.get(), MEMBERS);
}

/// All together hold more than all may, though each holds little.
#[test]
fn too_much_memory_closes_many_at_once() {
    let now = Instant::now();
    let calls = Rc::new(Calls::default());
    let mut registry = Registrations(Rc::clone(&calls));
    let mut config = Config::default();
    let total = 1 << 20;
    config.limits.max_pending_total_bytes = total;
    let mut engine = room_full(config, &calls, true, &mut registry, now);
    let typist = Typist::enter(&mut engine, &mut registry, now);
    calls.are_stalled.set(true);
    for _ in 0..=MEMBERS / CLOSES {
        type_in_a_turn(&mut engine, &mut registry, &typist, now);
        let held = engine.metrics().buffer_bytes;
        assert!(held <= total, "{held} bytes are held");
    }
    let left = calls.left.get();
    assert!(left > 2 * CLOSES, "{left} had to go");
}

/// Those who have left and do not read the rest go in turns as well.
#[test]
fn all_of_a_network_are_banned_while_they_leave() {
    let now = Instant::now();
    let calls = Rc::new(Calls::default());
    let mut registry = Registrations(Rc::clone(&calls));
    let mut config = Config::default();
    config.interactive.enabled = true;
    config.interactive.ops_password = "mustard".parse().ok();
    let mut engine = room_full(config, &calls, true, &mut registry, now);
    let operator = Typist::enter_as(OPERATOR, &mut engine, &mut registry, now);
    calls.are_stalled.set(true);
    operator.types(&mut engine, &mut registry, now);
    calls.leaving.set(Some(Leaving::Fin));
    for id in 0..MEMBERS {
        engine.on_readable(ClientId::from_index(id), true);
    }
    for _ in 0..=MEMBERS / CLOSES {
        type_in_a_turn(&mut engine, &mut registry, &operator, now);
    }
    assert_eq!((calls.left.get(), calls.deregistered.get()), (MEMBERS, 0));
    operator.sends("/op mustard\n", &mut engine);
    engine.turn(now, &mut registry);
    operator.sends("/ban 127.0.0.0/8\n", &mut engine);
    engine.turn(now, &mut registry);
    assert_eq!(calls.deregistered.get(), CLOSES);
    go_in_turns(&mut engine, &mut registry, &operator, now);
}

/// All go, so many in a turn, and who stays is heard in each of these turns.
fn go_in_turns(
    engine: &mut Engine<Leaver, Watcher>,
    registry: &mut Registrations,
    typist: &Typist,
    now: Instant,
) {
    let mut turns = 0;
    while engine.clients() > 1 {
        turns += 1;
        type_in_a_turn(engine, registry, typist, now);
        assert!(turns <= MEMBERS / CLOSES + 2, "{turns} turns");
    }
    assert_eq!(registry.0.deregistered.get(), MEMBERS);
    for _ in 0..=MEMBERS / LOGINS {
        // Who was still to be read is gone.
        engine.turn(now, registry);
    }
    assert!(!engine.has_work());
}

/// A turn in which somebody types and others go, but not too many.
fn type_in_a_turn(
    engine: &mut Engine<Leaver, Watcher>,
    registry: &mut Registrations,
    typist: &Typist,
    now: Instant,
) {
    let figures = |calls: &Calls| {
        let figures = [
            &calls.reads,
            &calls.shutdowns,
            &calls.deregistered,
            &calls.left,
        ];
        figures.map(Cell::get)
    };
    let before = figures(&registry.0);
    typist.types(engine, registry, now);
    let after = figures(&registry.0);
    for (before, after) in before.into_iter().zip(after) {
        assert!(
            after - before <= CLOSES,
            "{before} and {after} after a turn"
        );
    }
}

/// Somebody who stays.
struct Typist(Rc<Calls>);

impl Typist {
    fn enter(
        engine: &mut Engine<Leaver, Watcher>,
        registry: &mut Registrations,
        now: Instant,
    ) -> Self {
        Self::enter_as(MEMBER, engine, registry, now)
    }

    fn enter_as(
        from: (IpAddr, Profile),
        engine: &mut Engine<Leaver, Watcher>,
        registry: &mut Registrations,
        now: Instant,
    ) -> Self {
        let calls = Rc::new(Calls::default());
        let nick = Some("typist\n".to_owned());
        connect(engine, from, nick, &calls, registry, now);
        while engine.has_work() {
            engine.turn(now, registry);
        }
        Self(calls)
    }

    /// Types a line, which is said in the same turn.
    fn types(
        &self,
        engine: &mut Engine<Leaver, Watcher>,
        registry: &mut Registrations,
        now: Instant,
    ) {
        let said = engine.metrics().lines_in;
        self.sends("hello\n", engine);
        engine.turn(now, registry);
        assert_eq!(engine.metrics().lines_in, said + 1, "the typist waits");
    }

    fn sends(&self, line: &str, engine: &mut Engine<Leaver, Watcher>) {
        self.0.typed.replace(Some(line.to_owned()));
        engine.on_readable(ClientId::from_index(MEMBERS), false);
    }
}

/// Where somebody comes from, and what is spoken there.
const MEMBER: (IpAddr, Profile) = (IpAddr::V4(Ipv4Addr::LOCALHOST), Profile::Plain);
const OPERATOR: (IpAddr, Profile) = (
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    Profile::Interactive,
);

fn connect(
    engine: &mut Engine<Leaver, Watcher>,
    (ip, profile): (IpAddr, Profile),
    nick: Option<String>,
    calls: &Rc<Calls>,
    registry: &mut Registrations,
    now: Instant,
) {
    let has_nick = nick.is_some();
    let calls = Rc::clone(calls);
    let id = ClientId::from_index(engine.clients());
    let (addr, service) = (SocketAddr::new(ip, 1), Service::Chat(profile));
    engine.accept(Leaver { nick, calls }, addr, service, now, registry);
    if has_nick {
        engine.on_readable(id, false);
    }
}

/// An engine with so many clients, members or not, and nothing left to do.
fn room_full(
    config: Config,
    calls: &Rc<Calls>,
    have_nicks: bool,
    registry: &mut Registrations,
    now: Instant,
) -> Engine<Leaver, Watcher> {
    let mut engine = Engine::new(config, Watcher(Rc::clone(calls)), now).expect("the config works");
    for id in 0..MEMBERS {
        let nick = have_nicks.then(|| format!("n{id}\n"));
        connect(&mut engine, MEMBER, nick, calls, registry, now);
    }
    while engine.has_work() {
        engine.turn(now, registry);
    }
    let members = if have_nicks { MEMBERS } else { 0 };
    assert_eq!(engine.metrics().members, members);
    engine
}
