//! The rows of `tests/support/inputs.rs` in memory, whole and a byte at a time, and over real sockets.

use line_chat::protocol::decoder::{Decoder, Input};
use line_chat::text;

use crate::support::inputs::{ROWS, Row};
use crate::support::rig::{OFFER, Rig, Wire};
use crate::support::server::{Client, HaltedServer};

const GREETING: &str = "* this is a chat room: what you type goes to everybody in it, line by line\r\n* what is your nick?\r\n";

/// Runs `check` for each row, and says which ones failed.
fn for_each(check: impl Fn(&Row)) {
    let mut example = "";
    for (number, row) in ROWS.iter().enumerate() {
        if !row.name.is_empty() {
            example = row.name;
        }
        println!("row {number}: {example}; {}", row.varies);
        check(row);
    }
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

fn run_in_memory(row: &Row, is_bytewise: bool) {
    let mut rig = Rig::new(|config| config.interactive.enabled = true);
    let watcher = rig.connect_plainly();
    watcher.say("w");
    rig.settle();
    let person = row.people.map(|_| rig.join("person"));
    let client = match row.is_at_prompt {
        true => rig.connect(),
        false => rig.connect_plainly(),
    };
    if row.has_joined {
        client.say("x");
        rig.settle();
        client.received_bytes();
    } else if row.is_at_prompt {
        let greeting = [OFFER, GREETING.as_bytes()].concat();
        assert_eq!(client.received_bytes(), greeting);
    }
    if let Some(person) = &person {
        person.received();
    }
    for piece in row.sends {
        for piece in piece.chunks(if is_bytewise { 1 } else { piece.len() }) {
            client.send(piece);
            rig.settle();
        }
    }
    expect(&client, &watcher, row);
    assert_eq!(person.as_ref().map(Wire::received).as_deref(), row.people);
}

#[track_caller]
fn expect(client: &Wire, watcher: &Wire, row: &Row) {
    assert_eq!(watcher.received(), row.others);
    assert_eq!(shown(&client.received_bytes()), shown(row.sees));
    assert_eq!(client.has_ended(), row.is_closed);
}

#[test]
fn every_input_in_memory() {
    for_each(|row| run_in_memory(row, false));
}

/// Before the nick a pause has a meaning.
#[test]
fn every_input_of_a_member_in_memory_a_byte_at_a_time() {
    for_each(|row| {
        if row.has_joined {
            run_in_memory(row, true);
        }
    });
}

#[test]
fn every_input_over_a_socket() {
    for_each(|row| {
        let mut server = HaltedServer::bind_with(|config| {
            let listen = ["interactive:127.0.0.1:0", "plain:127.0.0.1:0"];
            config.listen = listen.map(|it| it.parse().expect("an address")).into();
            config.interactive.enabled = true;
        });
        let [prompt, plain] = server.addrs()[..] else {
            panic!("two listeners");
        };
        let mut watcher = Client::connect(plain);
        watcher.ask_for("w");
        server.turn_until_received(&mut watcher, b"* yes\r\n".len());
        watcher.take_received();
        let mut client = Client::connect(if row.is_at_prompt { prompt } else { plain });
        if row.is_at_prompt {
            server.turn_until_received(&mut client, OFFER.len() + GREETING.len());
        }
        if row.has_joined {
            client.send("x\r\n");
            server.turn_until(|server| server.metrics().members == 2);
            server.turn_until_heard(&mut watcher);
        }
        client.read_what_is_there();
        client.take_received();
        for piece in row.sends {
            let sent = server.metrics().bytes_in + piece.len() as u64;
            client.send(piece);
            server.turn_until(|server| server.metrics().bytes_in >= sent);
            server.turn();
        }
        server.turn_until_received(&mut client, row.sees.len());
        let seen = server.turn_until_heard(&mut watcher);
        assert_eq!(String::from_utf8(seen).expect("UTF-8"), row.others);
        client.read_what_is_there();
        assert_eq!(shown(&client.take_received()), shown(row.sees));
        if row.is_closed {
            client.expect_end();
        }
    });
}

/// What a decoder returns, and what follows from the row's own line: no split of the bytes changes it.
#[test]
fn every_input_through_the_decoder_at_every_split() {
    for_each(|row| {
        let whole = row.sends.concat();
        let decode = |pieces: [&[u8]; 2]| {
            let mut decoder = Decoder::new(4096);
            if row.is_at_prompt {
                decoder = decoder.with_line_editing();
            }
            let mut found = Vec::new();
            for piece in pieces {
                let mut input = Input::new(piece);
                while let Some(decoded) = decoder.next(&mut input) {
                    found.push(format!("{decoded:?}"));
                }
            }
            found.push(shown(decoder.unfinished()));
            found
        };
        let expected = decode([&whole, b""]);
        for cut in 0..whole.len() {
            let (head, tail) = whole.split_at(cut);
            assert_eq!(decode([head, tail]), expected, "cut at {cut}");
        }
    });
}

/// What is cleaned once stays as it is.
#[test]
fn what_others_see_is_clean() {
    for_each(|row| {
        for line in row.others.lines() {
            let mut scratch = String::new();
            assert_eq!(text::clean(line.as_bytes(), &mut scratch).as_str(), line);
        }
    });
}

/// Each example has three neighbours at least, so that a kind was mended and not a case.
#[test]
fn every_example_has_three_neighbours() {
    let examples = ROWS.chunk_by(|_, next| next.name.is_empty());
    for kind in examples {
        let [example, neighbours @ ..] = kind else {
            continue;
        };
        assert!(!example.name.is_empty() && example.varies.is_empty());
        assert!(neighbours.len() >= 3, "{}", example.name);
        assert!(neighbours.iter().all(|row| !row.varies.is_empty()));
    }
}
