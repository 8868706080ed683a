//! The engine as our servers see it on the wire: nats-server with JetStream, one that fails when a run wants it to.
//! [`Nats`] has connections, two streams, and no clock: what it is sent comes in pieces of any length, and what it
//! sends is taken by whoever carries it.
//!
//! What our side must not send ends the run: a command that is none, a request that nobody knows, an entry that is
//! longer than an engine takes.

use std::collections::BTreeMap;

use fastrand::Rng;
use serde_json::{Map, Value, json};

/// In microseconds since the beginning of the run.
pub(crate) type Time = u64;

pub(crate) const MILLISECOND: Time = 1000;
pub(crate) const SECOND: Time = 1000 * MILLISECOND;

/// The longest control line, and the longest entry of a stream, in bytes.
const MAX_LINE: usize = 4096;
const MAX_ENTRY: usize = 20 << 10;

/// How many claims the stream of nicks has room for.
const MOST_CLAIMS: usize = 1000;

/// What goes wrong with what it sends, as chances.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    /// An entry is not republished to a server, or twice.
    pub(crate) dropped: f64,
    pub(crate) doubled: f64,
    /// It comes behind later ones.
    pub(crate) late: f64,
    /// A request, or what was to be stored, is not answered.
    pub(crate) unanswered: f64,
}

/// Bytes for one connection.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) link: u64,
    pub(crate) bytes: Vec<u8>,
    /// Later ones may overtake it.
    pub(crate) is_late: bool,
}

#[derive(Debug, Default)]
struct Conn {
    input: Vec<u8>,
    /// By the numbers that the server has given them.
    subscriptions: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Stream {
    created: u64,
    config: Map<String, Value>,
    last: u64,
    entries: BTreeMap<u64, (String, Vec<u8>)>,
}

/// A message that a connection has published.
#[derive(Debug)]
struct Published {
    subject: String,
    reply: Option<String>,
    headers: String,
    payload: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Nats {
    conns: BTreeMap<u64, Conn>,
    streams: BTreeMap<String, Stream>,
    /// How many streams were ever made.
    made: u64,
    /// Nobody leads the streams.
    pub(crate) has_no_leader: bool,
    /// How many of the last entries the leader has not applied yet: it reports none of them.
    pub(crate) behind: u64,
    pub(crate) faults: Faults,
    /// How many entries the log keeps.
    limit: usize,
    pub(crate) rng: Rng,
    sent: Vec<Sent>,
}

impl Nats {
    pub(crate) fn new(limit: usize, rng: Rng) -> Self {
        Self {
            conns: BTreeMap::new(),
            streams: BTreeMap::new(),
            made: 0,
            has_no_leader: false,
            behind: 0,
            faults: Faults::default(),
            limit,
            rng,
            sent: Vec::new(),
        }
    }

    /// Takes what it has sent since the last time.
    pub(crate) fn take_sent(&mut self) -> Vec<Sent> {
        std::mem::take(&mut self.sent)
    }

    pub(crate) fn connect(&mut self, link: u64) {
        self.conns.insert(link, Conn::default());
        let info = json!({
            "server_id": "N1", "version": "2.10.0", "headers": true, "jetstream": true, "max_payload": 1_048_576,
        });
        self.send(link, format!("INFO {info}\r\n").into_bytes(), false);
    }

    pub(crate) fn disconnect(&mut self, link: u64) {
        self.conns.remove(&link);
    }

    /// Whether this connection stands, as far as the engine knows.
    pub(crate) fn knows(&self, link: u64) -> bool {
        self.conns.contains_key(&link)
    }

    /// It is killed: its connections are gone, and what it has stored stays.
    pub(crate) fn crash(&mut self) {
        self.conns.clear();
    }

    /// The streams whose names begin like that lose their last entries.
    pub(crate) fn lose_end(&mut self, name: &str, entries: u64) {
        for (_, stream) in self.streams.range_mut(name.to_owned()..) {
            stream.last = stream.last.saturating_sub(entries);
            let _ = stream.entries.split_off(&(stream.last + 1));
        }
    }

    /// The log is deleted, and the claims are with it or not.
    pub(crate) fn delete(&mut self, with_claims: bool) {
        self.streams
            .retain(|name, _| name.starts_with("LCN_") && !with_claims);
    }

    fn send(&mut self, link: u64, bytes: Vec<u8>, is_late: bool) {
        if self.conns.contains_key(&link) {
            self.sent.push(Sent {
                link,
                bytes,
                is_late,
            });
        }
    }

    /// Some bytes come.
    pub(crate) fn receive(&mut self, link: u64, bytes: &[u8]) {
        let Some(conn) = self.conns.get_mut(&link) else {
            return;
        };
        conn.input.extend_from_slice(bytes);
        while let Some(conn) = self.conns.get_mut(&link) {
            let Some(line) = whole_command(&conn.input) else {
                return;
            };
            let mut command: Vec<u8> = conn.input.drain(..line.all).collect();
            let payload = command.split_off(line.line);
            let command = String::from_utf8(command).expect("a command is text");
            self.obey(link, command.trim_end(), &payload, line.headers);
        }
    }

    fn obey(&mut self, link: u64, command: &str, payload: &[u8], headers: usize) {
        let words: Vec<&str> = command.split(' ').collect();
        let conn = self.conns.get_mut(&link).expect("it is connected");
        match words[..] {
            ["CONNECT", _, ..] | ["PONG"] => {}
            ["PING"] => self.send(link, b"PONG\r\n".to_vec(), false),
            ["SUB", subject, sid] => {
                conn.subscriptions.insert(sid.into(), subject.into());
            }
            ["UNSUB", sid] => {
                conn.subscriptions.remove(sid);
            }
            ["PUB" | "HPUB", subject, ref rest @ ..] => {
                let (numbers, _) = payload_lengths(&words);
                let reply = rest.get(..rest.len() - numbers).unwrap_or_default();
                let payload = payload.strip_suffix(b"\r\n").expect("its end");
                let (headers, payload) = payload.split_at(headers);
                self.on_published(Published {
                    subject: subject.into(),
                    reply: reply.first().map(|&reply| reply.into()),
                    headers: String::from_utf8(headers.to_vec()).expect("text"),
                    payload: payload.to_vec(),
                });
            }
            _ => panic!("a server has sent {command:?}"),
        }
    }

    fn on_published(&mut self, message: Published) {
        if let Some(request) = message.subject.strip_prefix("$JS.API.") {
            let (request, name) = request.rsplit_once('.').expect("a request");
            return self.on_request(request, name, &message);
        }
        let subject = message.subject.as_str();
        let is_lines = subject.ends_with(".in");
        if is_lines || subject.contains(".nick.") {
            let room = subject.split('.').nth(1).expect("a room");
            let name = format!("{}_{room}", if is_lines { "LC" } else { "LCN" });
            self.store(&name, message);
        } else {
            self.publish(&message.subject, "", &message.payload, false);
        }
    }

    // What is stored.

    fn store(&mut self, name: &str, message: Published) {
        let Published {
            subject,
            reply,
            headers,
            payload,
        } = message;
        assert!(payload.len() <= MAX_ENTRY, "an entry is too long");
        let Some(stream) = self.streams.get_mut(name).filter(|_| !self.has_no_leader) else {
            return self.answer_status(reply.as_deref(), "503");
        };
        let refusal = stream.refusal(&subject, &headers);
        if let Some(error) = refusal {
            let answer = json!({ "error": error, "stream": name, "seq": 0 });
            return self.answer(reply.as_deref(), &answer);
        }
        let before = stream.last;
        stream.last += 1;
        let sequence = stream.last;
        let is_log = stream.config["discard"] == "old";
        stream.entries.retain(|_, it| is_log || it.0 != subject);
        stream
            .entries
            .insert(sequence, (subject.clone(), payload.clone()));
        if is_log {
            if stream.entries.len() > self.limit {
                stream.entries.pop_first();
            }
            let headers = stored_headers(name, &subject, sequence, Some(before));
            let to = stream.config["republish"]["dest"].as_str();
            let to = to.expect("a subject").to_owned();
            self.publish(&to, &headers, &payload, true);
        }
        self.answer(
            reply.as_deref(),
            &json!({ "stream": name, "seq": sequence }),
        );
    }

    // Requests.

    fn on_request(&mut self, request: &str, name: &str, message: &Published) {
        let reply = message.reply.as_deref();
        let body: Value = match message.payload[..] {
            [] => Value::Null,
            _ => serde_json::from_slice(&message.payload).expect("JSON"),
        };
        if self.has_no_leader && (request != "DIRECT.GET" || self.rng.bool()) {
            if self.rng.bool() {
                self.answer_status(reply, "503");
            }
            return;
        }
        match request {
            "STREAM.CREATE" => {
                let answer = self.create(name, &body);
                self.answer(reply, &answer);
            }
            "STREAM.INFO" => {
                let stream = self.streams.get(name);
                let answer = stream.map_or_else(no_stream, |it| it.info(self.behind));
                self.answer(reply, &answer);
            }
            "STREAM.MSG.DELETE" => {
                let sequence = body["seq"].as_u64().expect("a place");
                let answer = match self.streams.get_mut(name) {
                    None => no_stream(),
                    Some(stream) => match stream.entries.remove(&sequence) {
                        Some(_) => json!({ "success": true }),
                        None => error(500, 10057, "no message found"),
                    },
                };
                self.answer(reply, &answer);
            }
            "DIRECT.GET" => self.get(name, &body, reply),
            _ => panic!("a server has asked for {request}"),
        }
    }

    fn create(&mut self, name: &str, config: &Value) -> Value {
        let config = config.as_object().expect("settings").clone();
        if let Some(stream) = self.streams.get(name) {
            return match stream.config == config {
                true => stream.info(self.behind),
                false => error(
                    400,
                    10058,
                    "stream name already in use with a different configuration",
                ),
            };
        }
        self.made += 1;
        let stream = Stream {
            created: self.made,
            config,
            last: 0,
            entries: BTreeMap::new(),
        };
        let answer = stream.info(0);
        self.streams.insert(name.into(), stream);
        answer
    }

    fn get(&mut self, name: &str, what: &Value, reply: Option<&str>) {
        // Nobody listens there if there is no such stream.
        let Some(stream) = self.streams.get(name) else {
            return self.answer_status(reply, "503");
        };
        let from = what["seq"].as_u64().unwrap_or(0);
        let told = ..=stream.last.saturating_sub(self.behind);
        let found = if let Some(subject) = what["last_by_subj"].as_str() {
            let mut entries = stream.entries.iter().rev();
            entries.find(|(_, it)| it.0 == subject)
        } else if let Some(filter) = what["next_by_subj"].as_str() {
            let mut entries = stream.entries.range(from..);
            entries.find(|(_, it)| matches(filter, &it.0))
        } else {
            stream.entries.get_key_value(&from)
        };
        match found.filter(|(sequence, _)| told.contains(sequence)) {
            None => self.answer_status(reply, "404"),
            Some((sequence, (subject, payload))) => {
                let headers = stored_headers(name, subject, *sequence, None);
                let payload = payload.clone();
                self.answer_with(reply, &headers, &payload);
            }
        }
    }

    fn answer(&mut self, reply: Option<&str>, answer: &Value) {
        self.answer_with(reply, "", answer.to_string().as_bytes());
    }

    fn answer_status(&mut self, reply: Option<&str>, status: &str) {
        self.answer_with(reply, &format!("NATS/1.0 {status}\r\n\r\n"), b"");
    }

    fn answer_with(&mut self, reply: Option<&str>, headers: &str, payload: &[u8]) {
        let is_lost = self.rng.f64() < self.faults.unanswered;
        if let Some(reply) = reply.filter(|_| !is_lost) {
            self.publish(reply, headers, payload, false);
        }
    }

    // What is sent.

    /// A message to all who have subscribed to its subject.
    fn publish(&mut self, subject: &str, headers: &str, payload: &[u8], is_republished: bool) {
        let conns = self.conns.iter().flat_map(|(link, conn)| {
            let subscriptions = conn.subscriptions.iter();
            let to = subscriptions.filter(|it| matches(it.1, subject));
            to.map(|it| (*link, it.0.clone()))
        });
        for (link, sid) in conns.collect::<Vec<_>>() {
            let total = headers.len() + payload.len();
            let frame = match headers {
                "" => format!("MSG {subject} {sid} {total}\r\n"),
                _ => format!(
                    "HMSG {subject} {sid} {} {total}\r\n{headers}",
                    headers.len()
                ),
            };
            let frame = [frame.as_bytes(), payload, b"\r\n"].concat();
            let faults = if is_republished {
                self.faults
            } else {
                Faults::default()
            };
            if self.rng.f64() < faults.dropped {
                continue;
            }
            if self.rng.f64() < faults.doubled {
                self.send(link, frame.clone(), self.rng.clone().bool());
            }
            let is_late = self.rng.f64() < faults.late;
            self.send(link, frame, is_late);
        }
    }
}

impl Stream {
    fn first(&self) -> u64 {
        let first = self.entries.first_key_value();
        first.map_or(self.last + 1, |it| *it.0)
    }

    /// Why something is not stored.
    fn refusal(&self, subject: &str, headers: &str) -> Option<Value> {
        const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence: ";
        let mut lines = headers.lines();
        if let Some(expected) = lines.find_map(|it| it.strip_prefix(EXPECTED)) {
            let mut entries = self.entries.iter().rev();
            let last = entries.find(|(_, it)| it.0 == subject);
            let last = last.map_or(0, |it| *it.0);
            if expected.parse() != Ok(last) {
                let words = format!("wrong last sequence: {last}");
                return Some(error(400, 10071, &words)["error"].clone());
            }
        }
        let is_full = self.config["discard"] == "new" && self.entries.len() >= MOST_CLAIMS;
        is_full.then(|| error(503, 10077, "maximum bytes exceeded")["error"].clone())
    }

    fn info(&self, behind: u64) -> Value {
        let last = self.last.saturating_sub(behind).max(self.first() - 1);
        json!({
            "created": format!("2026-01-01T00:00:{:02}Z", self.created),
            "config": self.config,
            "state": {
                "first_seq": self.first(), "last_seq": last,
                "messages": self.entries.len(), "bytes": self.entries.len() * 100,
            },
        })
    }
}

fn no_stream() -> Value {
    error(404, 10059, "stream not found")
}

fn error(code: u16, number: u32, words: &str) -> Value {
    json!({ "error": { "code": code, "err_code": number, "description": words } })
}

fn stored_headers(stream: &str, subject: &str, sequence: u64, before: Option<u64>) -> String {
    let before = before.map_or_else(String::new, |it| format!("Nats-Last-Sequence: {it}\r\n"));
    format!(
        "NATS/1.0\r\nNats-Stream: {stream}\r\nNats-Subject: {subject}\r\nNats-Sequence: {sequence}\r\n{before}\r\n"
    )
}

/// Whether a subject is one of those that a filter means; a star stands for its last part only.
fn matches(filter: &str, subject: &str) -> bool {
    match filter.strip_suffix('*') {
        Some(beginning) => subject
            .strip_prefix(beginning)
            .is_some_and(|it| !it.contains('.')),
        None => filter == subject,
    }
}

/// How long the first command of some input is: its line, all of it, and its headers.
struct Lengths {
    line: usize,
    all: usize,
    headers: usize,
}

fn whole_command(input: &[u8]) -> Option<Lengths> {
    let end = input.windows(2).position(|it| it == b"\r\n");
    assert!(end.unwrap_or(0) < MAX_LINE, "a control line is too long");
    let line = end? + 2;
    let text = std::str::from_utf8(&input[..line]).expect("a command is text");
    let words: Vec<&str> = text.trim_end().split(' ').collect();
    let (_, lengths) = payload_lengths(&words);
    let (headers, total) = lengths.unwrap_or((0, 0));
    let payload = if lengths.is_some() { total + 2 } else { 0 };
    let all = line + payload;
    (input.len() >= all).then_some(Lengths { line, all, headers })
}

/// How many numbers stand at the end of a command that has a payload; the lengths of its headers and of all.
fn payload_lengths(words: &[&str]) -> (usize, Option<(usize, usize)>) {
    let number = |from_end: usize| {
        let word = words.get(words.len() - from_end);
        word.and_then(|it| it.parse().ok()).expect("a length")
    };
    match words.first() {
        Some(&"PUB") => (1, Some((0, number(1)))),
        Some(&"HPUB") => (2, Some((number(2), number(1)))),
        _ => (0, None),
    }
}
