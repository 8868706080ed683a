//! What a NATS server says is the same whatever way its bytes were split; nothing in it makes a parser
//! panic; and what can be encoded is decoded as what it was, so nothing can break a frame.
#![no_main]

use libfuzzer_sys::fuzz_target;
use line_chat::protocol::nats::decode::{MAX_INFO_BYTES, MAX_LINE_BYTES, MAX_PAYLOAD_BYTES};
use line_chat::protocol::nats::encode::{self, Header};
use line_chat::protocol::nats::jetstream::{self, Entry};
use line_chat::protocol::nats::{Decoder, Frame, FrameError, Info, Message, Subject};
use line_chat::{RelayHost, RelayUrl};
use line_chat_fuzz::Case;

/// The longest frame: a control line, a payload, and CR LF. An INFO is hardly longer.
const MAX_FRAME_BYTES: usize = MAX_LINE_BYTES + MAX_INFO_BYTES + MAX_PAYLOAD_BYTES + 2;

/// Each frame, and what is kept at the end or why that is an error.
fn decode(pieces: &[&[u8]]) -> (Vec<String>, Result<Vec<u8>, FrameError>) {
    let mut decoder = Decoder::default();
    let mut kept = Vec::new();
    let mut frames = Vec::new();
    for piece in pieces {
        kept.extend_from_slice(piece);
        let mut input = &kept[..];
        loop {
            match decoder.next(&mut input) {
                Ok(Some(frame)) => frames.push(note(&frame)),
                Ok(None) => break,
                Err(error) => return (frames, Err(error)),
            }
        }
        kept = input.to_vec();
        assert!(kept.len() < MAX_FRAME_BYTES, "it ends some time");
    }
    (frames, Ok(kept))
}

fn note(frame: &Frame<'_>) -> String {
    match frame {
        Frame::Info(json) => {
            if let Ok(info) = Info::parse(json) {
                info.literal_addrs().for_each(drop);
            }
        }
        Frame::Message(message) => look_into(message),
        Frame::Error(error) => drop(error.kind()),
        Frame::Ping | Frame::Pong | Frame::Ok => {}
    }
    format!("{frame:?}")
}

/// Parses whatever a message may be.
fn look_into(message: &Message<'_>) {
    let bytes = message.header_block.len() + message.payload.len();
    assert!(bytes <= MAX_PAYLOAD_BYTES, "a message of {bytes} bytes");
    if let Ok(headers) = message.headers() {
        for (key, value) in headers.iter() {
            let Ok(key) = std::str::from_utf8(key) else {
                continue;
            };
            assert!(headers.get(key).is_some(), "{key:?}: {value:?}");
        }
    }
    let _ = Entry::parse(message);
    let _ = jetstream::parse_stream(message.payload);
    let _ = jetstream::parse_ack(message.payload);
    let _ = jetstream::parse_deleted(message.payload);
}

/// Publishes what is between the NULs of a text, and reads it as whoever gets it.
fn assert_decoded_as_encoded(text: &str) {
    let parts: Vec<&str> = text.splitn(5, '\0').collect();
    let &[to, reply, name, value, payload] = parts.as_slice() else {
        return;
    };
    let (Ok(to), payload) = (to.parse::<Subject>(), payload.as_bytes()) else {
        return;
    };
    let reply = reply.parse::<Subject>().ok();
    let header = Header::new(name, value).ok();
    let mut out = Vec::new();
    match &header {
        Some(header) => {
            let headers = [header.clone(), header.clone()];
            encode::publish_with_headers(&mut out, &to, reply.as_ref(), &headers, payload);
        }
        None => encode::publish(&mut out, &to, reply.as_ref(), payload),
    }
    // A server puts another word before it, and our number behind the subject.
    let text = String::from_utf8(out).expect("text was encoded");
    let mut words = text.splitn(3, ' ');
    let mut word = || words.next().expect("three words");
    let operation = word().replace("PUB", "MSG");
    let text = format!("{operation} {} 7 {}", word(), word());
    let mut input = text.as_bytes();
    let frame = Decoder::default().next(&mut input);
    let Ok(Some(Frame::Message(message))) = frame else {
        panic!("{frame:?} of {text:?}");
    };
    assert!(input.is_empty(), "{text:?}");
    assert_eq!(message.subject, to.as_str().as_bytes());
    assert_eq!(
        message.reply,
        reply.as_ref().map(|it| it.as_str().as_bytes())
    );
    assert_eq!(message.payload, payload);
    let headers = message.headers().expect("headers were encoded");
    let fields: Vec<_> = headers.iter().collect();
    let expected = header.map(|_| vec![(name.as_bytes(), value.as_bytes()); 2]);
    assert_eq!(fields, expected.unwrap_or_default());
}

fn assert_url_is_shown_as_it_is_read(text: &str) {
    match text.parse::<RelayUrl>() {
        Ok(url) => {
            let again: RelayUrl = url.to_string().parse().expect("it was shown");
            assert_eq!(again.hosts, url.hosts);
        }
        Err(error) => drop(error.to_string()),
    }
    if let Ok(host) = text.parse::<RelayHost>() {
        assert_eq!(host.to_string().parse(), Ok(host));
    }
}

fuzz_target!(|input: &[u8]| {
    let Some(case) = Case::parse(input) else {
        return;
    };
    let (_frames, _end) = case.assert_splits_agree(decode);
    let [whole, ..] = case.splits();
    if let Ok(text) = std::str::from_utf8(whole[0]) {
        assert_decoded_as_encoded(text);
        assert_url_is_shown_as_it_is_read(text);
        assert_url_is_shown_as_it_is_read(&format!("nats://{text}"));
    }
});
