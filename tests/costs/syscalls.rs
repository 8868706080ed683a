//! What a line costs in system calls, counted by strace(1): a poll a turn, a read for a speaker that
//! is ready, a write for each receiver, however many lines come together, and nothing else. They
//! are nearly all that a line costs at all.

use crate::support::child::{Client, Server};
use crate::support::strace::Tracer;

const READERS: usize = 10;
/// So few that bob never becomes a bulk speaker, whose lines are written in another part of a turn.
const ROUNDS: usize = 30;

/// Bob says `lines` lines in one piece, and the next when everybody has heard them.
fn talk(bob: &mut Client, readers: &mut [Client], lines: usize) {
    for _ in 0..ROUNDS {
        bob.send("what does this cost?\r\n".repeat(lines).as_bytes());
        for reader in &mut *readers {
            for _ in 0..lines {
                reader.expect("bob: what does this cost?");
            }
        }
    }
}

#[test]
fn a_turn_is_a_poll_a_read_for_each_speaker_and_a_write_for_each_receiver() {
    let server = Server::start(&["-q"]);
    let mut readers: Vec<Client> = (0..READERS)
        .map(|n| server.join(&format!("reader{n}")))
        .collect();
    let mut bob = server.join("bob");
    for lines in [1, 64] {
        let Some(tracer) = Tracer::watch(&server, "all") else {
            return;
        };
        talk(&mut bob, &mut readers, lines);
        let calls = tracer.calls();
        let count = |name: &str| calls.iter().filter(|call| call.starts_with(name)).count();
        let (polls, reads, writes) = (count("epoll_"), count("recvfrom("), count("sendto("));
        println!("{ROUNDS} rounds of {lines}: {polls} polls, {reads} reads, {writes} writes");
        assert_eq!(count("epoll_ctl("), 0, "{calls:#?}");
        assert_eq!(reads, ROUNDS);
        assert_eq!(writes, ROUNDS * READERS);
        // The first one had begun before strace came, so it may be missing; there is one for each
        // second in which nothing happens.
        assert!((ROUNDS - 1..ROUNDS + 20).contains(&polls), "{polls} polls");
        // strace tells of its own coming and going.
        let others = calls.len() - polls - reads - writes;
        assert!(others <= 4, "{calls:#?}");
    }
}
