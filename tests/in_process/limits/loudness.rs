//! The loud and the quiet: a paste of any size reaches those who read whole, and a flood never pushes
//! out what somebody typed.

use std::time::Duration;

use super::typists::skipped;
use crate::support::rig::{Rig, Wire};
use crate::support::server::{Client, HaltedServer};
use crate::support::{ARE_YOU_THERE, YES_LINE};

const KIB: usize = 1 << 10;

const MILLISECOND: Duration = Duration::from_millis(1);

/// A few megabytes of numbered lines, as they are pasted and as the others see them.
fn paste(bytes: usize) -> (Vec<u8>, Vec<u8>) {
    let texts = (0..bytes / 102).map(|n| format!("{n:0100}\r\n"));
    let pasted = texts.clone().collect::<String>().into_bytes();
    let heard = texts.map(|text| format!("bob: {text}")).collect::<String>();
    (pasted, heard.into_bytes())
}

// A paste.

/// Bob pastes 4 MB, while each reader takes so much in a millisecond, and `stalled` others nothing.
#[track_caller]
fn expect_a_whole_paste(speeds: &[usize], stalled: usize) {
    let mut rig = Rig::new(|_| {});
    let mut join = |kind, count| -> Vec<Wire> {
        let nicks = (0..count).map(|n| format!("{kind}{n}"));
        nicks.map(|nick| rig.join(&nick)).collect()
    };
    let readers = join("reader", speeds.len());
    join("stalled", stalled).iter().for_each(Wire::stop_reading);
    let bob = rig.join("bob");
    let (pasted, heard) = paste(4 << 20);
    bob.send(pasted);
    let slowest = speeds.iter().min().expect("a reader");
    // The others wait a second before somebody counts as stalled.
    for _ in 0..5000 + heard.len() / slowest {
        for (reader, speed) in readers.iter().zip(speeds) {
            reader.take(*speed);
        }
        rig.advance(MILLISECOND);
    }
    for reader in readers {
        let received = reader.received_bytes();
        let same = received.iter().zip(&heard).take_while(|(a, b)| a == b);
        assert_eq!((same.count(), received.len()), (heard.len(), heard.len()));
    }
}

#[test]
fn a_paste_reaches_one_reader_whole_however_slow_it_is() {
    for speed in [1 << 20, 100 * KIB, 16 * KIB, KIB] {
        expect_a_whole_paste(&[speed], 0);
    }
}

#[test]
fn a_paste_reaches_several_readers_whole() {
    expect_a_whole_paste(&[16 * KIB; 2], 0);
    expect_a_whole_paste(&[16 * KIB; 5], 0);
}

#[test]
fn a_paste_reaches_readers_whole_beside_more_of_them_that_stall() {
    expect_a_whole_paste(&[16 * KIB], 3);
    expect_a_whole_paste(&[16 * KIB; 2], 5);
}

#[test]
fn a_paste_reaches_a_reader_whole_over_real_sockets() {
    let mut server = HaltedServer::bind();
    let [mut bob, mut reader] = ["bob", "reader"].map(|nick| server.join(nick));
    let (pasted, heard) = paste(8 << 20);
    let mut sent = 0;
    server.turn_until(|server| {
        sent += bob.send_what_fits(&pasted[sent..]);
        reader.read_at_most(16 * KIB);
        server.metrics().lines_skipped > 0 || reader.received().len() >= heard.len()
    });
    reader.expect(&heard);
}

#[test]
fn a_paste_reaches_several_readers_whole_over_real_sockets() {
    let mut server = HaltedServer::bind();
    let mut bob = server.join("bob");
    let mut readers = ["alice", "carol", "dave"].map(|nick| server.join(nick));
    let (pasted, heard) = paste(8 << 20);
    let mut sent = 0;
    server.turn_until(|server| {
        sent += bob.send_what_fits(&pasted[sent..]);
        readers.iter_mut().for_each(Client::read_what_is_there);
        let mut received = readers.iter().map(|reader| reader.received().len());
        server.metrics().lines_skipped > 0 || received.all(|len| len >= heard.len())
    });
    for mut reader in readers {
        reader.expect(&heard);
    }
}

/// A turn may write little to each of so many, but a screenful or two at once.
#[test]
fn sixty_four_lines_are_one_turn_in_a_large_room() {
    let mut rig = Rig::new(|_| {});
    let readers: Vec<Wire> = (0..1000).map(|n| rig.join(&format!("reader{n}"))).collect();
    let bob = rig.join("bob");
    bob.send("what somebody types may be as long as this line, or shorter\r\n".repeat(64));
    rig.turn();
    for reader in readers {
        assert_eq!(reader.received().lines().count(), 64);
    }
}

// A flood.

const FLOOD: &str = "flood";

/// Somebody who says the same line as often as it can be sent.
struct Flooder {
    client: Client,
    piece: Vec<u8>,
    sent: usize,
}

impl Flooder {
    #[track_caller]
    fn join(server: &mut HaltedServer) -> Self {
        Self {
            client: server.join(FLOOD),
            piece: format!("{}\r\n", "x".repeat(98)).repeat(1000).into_bytes(),
            sent: 0,
        }
    }

    /// Sends what its kernel takes now.
    fn flood(&mut self) {
        let from = self.sent % self.piece.len();
        self.sent += self.client.send_what_fits(&self.piece[from..]);
    }
}

/// Of whole lines those that were not the flooder's, and how many were skipped.
#[track_caller]
fn without_flood(received: Vec<u8>) -> (Vec<String>, usize) {
    let received = String::from_utf8(received).expect("UTF-8");
    let mut others = Vec::new();
    let mut missed = 0;
    for line in received.split_inclusive("\r\n") {
        let line = line.strip_suffix("\r\n").expect("a whole line");
        if let Some(notice) = line.strip_prefix("* ") {
            missed += skipped(notice);
        } else if !line.starts_with(FLOOD) {
            others.push(line.to_owned());
        }
    }
    (others, missed)
}

/// Takes turns until all of the flood is heard, while the others read.
#[track_caller]
fn hear_out(server: &mut HaltedServer, flooder: &mut Flooder, others: &mut [&mut Client]) {
    let mut asked = 0;
    server.turn_until(|_| {
        asked += flooder.client.send_what_fits(&ARE_YOU_THERE[asked..]);
        for other in &mut *others {
            other.read_what_is_there();
        }
        flooder.client.read_what_is_there();
        flooder.client.received().ends_with(YES_LINE)
    });
}

#[test]
fn what_was_skipped_of_a_flood_is_told_directly_before_what_is_typed() {
    let mut rig = Rig::new(|_| {});
    let [sleeper, typist, flooder] = ["sleeper", "typist", FLOOD].map(|nick| rig.join(nick));
    sleeper.stop_reading();
    let said = 20_000;
    flooder.send(format!("{}\n", "x".repeat(93)).repeat(said));
    rig.settle();
    let missed = rig.metrics().lines_skipped;
    assert!(missed > 0 && rig.metrics().lines_in == said as u64);
    // A loud speaker has half of a queue, to the last line that fits.
    let half = rig.metrics().pending_bytes;
    assert!((512 * KIB - 102..=512 * KIB).contains(&half), "{half}");
    typist.say("hello");
    rig.settle();
    sleeper.read_on();
    rig.settle();
    let received = sleeper.received();
    let end = format!("\r\n* {missed} lines skipped\r\ntypist: hello\r\n");
    assert!(received.ends_with(&end), "{missed}");
    assert_eq!(received.matches(FLOOD).count() as u64 + missed, said as u64);
}

#[test]
fn a_flood_never_pushes_out_what_is_typed_to_a_reader_that_stalls() {
    let mut server = HaltedServer::bind();
    let [mut sleeper, mut reader, mut typist] =
        ["sleeper", "reader", "typist"].map(|nick| server.join(nick));
    let mut flooder = Flooder::join(&mut server);
    let mut expected = Vec::new();
    while server.metrics().lines_skipped < 10_000 || expected.len() < 100 {
        let text = format!("{:0100}", expected.len());
        typist.say(&text);
        expected.push(format!("typist: {text}"));
        for _ in 0..10 {
            flooder.flood();
            server.turn();
            reader.read_what_is_there();
            typist.read_what_is_there();
        }
    }
    hear_out(&mut server, &mut flooder, &mut [&mut reader, &mut typist]);
    server.turn_until(|server| {
        for client in [&mut sleeper, &mut reader, &mut typist] {
            client.read_what_is_there();
        }
        server.metrics().pending_bytes == 0
    });
    let mut received = sleeper.take_received();
    received.extend(server.turn_until_heard(&mut sleeper));
    let (typed, missed) = without_flood(received);
    assert_eq!(typed, expected);
    assert_eq!(missed as u64, server.metrics().lines_skipped);
}

#[test]
fn ten_typists_beside_a_flooder_lose_no_line_to_a_reader_that_keeps_up() {
    let mut server = HaltedServer::bind();
    let mut members: Vec<Client> = (0..11)
        .map(|n| server.join(&format!("typist{n}")))
        .collect();
    let mut flooder = Flooder::join(&mut server);
    let mut expected = Vec::new();
    for n in 0..300 {
        let typist = n % 10;
        let text = format!("{n:0100}");
        members[typist].say(&text);
        expected.push(format!("typist{typist}: {text}"));
        flooder.flood();
        server.turn();
        members.iter_mut().for_each(Client::read_what_is_there);
    }
    let mut others: Vec<&mut Client> = members.iter_mut().collect();
    hear_out(&mut server, &mut flooder, &mut others);
    // The eleventh has said nothing, and hears them all.
    let reader = &mut members[10];
    let mut received = reader.take_received();
    received.extend(server.turn_until_heard(reader));
    let (mut typed, missed) = without_flood(received);
    // Two who type in one turn may be heard in either order.
    typed.sort();
    expected.sort();
    assert_eq!((typed, missed), (expected, 0));
}
