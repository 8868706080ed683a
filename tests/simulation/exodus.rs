//! Ten thousand members that leave in one turn: each costs a constant number of calls, all of them
//! go at once, and none inside another's going, which a small stack proves.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use line_chat::engine::{ClientId, Engine, Interest, Registry, Stream};
use line_chat::{Config, Profile, Service};

const MEMBERS: usize = 10_000;
const STACK_BYTES: usize = 128 << 10;

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
        if let Some(line) = self.nick.take() {
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
fn all_members_hang_up_in_one_turn() {
    on_a_small_stack(Leaving::Fin);
}

#[test]
fn all_members_are_reset_in_one_turn() {
    on_a_small_stack(Leaving::Rst);
}

#[test]
fn all_members_are_found_to_be_gone_by_one_line() {
    on_a_small_stack(Leaving::Unnoticed);
}

#[track_caller]
fn on_a_small_stack(leaving: Leaving) {
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
    let thread = thread.spawn(move || leave_in_one_turn(leaving));
    let result = thread.expect("a thread").join();
    assert!(result.is_ok(), "{leaving:?} fails, for the reason above");
}

fn leave_in_one_turn(leaving: Leaving) {
    let now = Instant::now();
    let calls = Rc::new(Calls::default());
    let mut registry = Registrations(Rc::clone(&calls));
    let mut engine = room_full(&calls, &mut registry, now);
    let reads = calls.reads.get();
    calls.leaving.set(Some(leaving));
    if leaving == Leaving::Unnoticed {
        let nick = Some("one\nhello\n".to_owned());
        let calls = Rc::new(Calls::default());
        let stream = Leaver { nick, calls };
        engine.accept(
            stream,
            SocketAddr::from(([127, 0, 0, 1], 1)),
            Service::Chat(Profile::Plain),
            now,
            &mut registry,
        );
        engine.on_readable(ClientId::from_index(MEMBERS), false);
    } else {
        for id in 0..MEMBERS {
            engine.on_readable(ClientId::from_index(id), true);
            if leaving == Leaving::Rst {
                engine.on_writable(ClientId::from_index(id));
            }
        }
    }
    engine.turn(now, &mut registry);
    if leaving == Leaving::Unnoticed {
        // What they said before is still looked for.
        assert_eq!(calls.deregistered.get(), 0);
        engine.turn(now, &mut registry);
    }
    assert_eq!(calls.deregistered.get(), MEMBERS, "gone at once");
    assert_eq!(engine.clients(), usize::from(leaving == Leaving::Unnoticed));
    let (reads, writes) = (calls.reads.get() - reads, calls.writes.get());
    match leaving {
        Leaving::Fin | Leaving::Rst => assert_eq!((reads, writes), (MEMBERS, 0)),
        Leaving::Unnoticed => assert_eq!((reads, writes), (MEMBERS, MEMBERS)),
    }
    assert_eq!(calls.shutdowns.get(), 0, "nobody is there to say it to");
    assert!(!engine.has_work());
    assert_eq!(engine.metrics().closed(), MEMBERS as u64);
}

/// An engine with so many members, and nothing left to do.
fn room_full(calls: &Rc<Calls>, registry: &mut Registrations, now: Instant) -> Engine<Leaver> {
    let mut engine = Engine::new(Config::default(), (), now).expect("the default works");
    for id in 0..MEMBERS {
        let nick = Some(format!("n{id}\n"));
        let calls = Rc::clone(calls);
        let stream = Leaver { nick, calls };
        engine.accept(
            stream,
            SocketAddr::from(([127, 0, 0, 1], 1)),
            Service::Chat(Profile::Plain),
            now,
            registry,
        );
        engine.on_readable(ClientId::from_index(id), false);
    }
    while engine.has_work() {
        engine.turn(now, registry);
    }
    assert_eq!(engine.metrics().members, MEMBERS);
    engine
}
