//! One connection to an engine, which is nats-server with JetStream: [`NatsLink`] makes of bytes what the relay
//! wants to know, and of what the relay wants bytes. It has no stream and no clock, and knows nothing of
//! members or lines: a payload is bytes to it.
//!
//! | [`Phase`] | what comes | what happens |
//! |---|---|---|
//! | `Greeting` | INFO | CONNECT, SUB, PING; `Joining` |
//! | `Joining` | PONG | both streams are asked for; `Making` |
//! | `Making` | a stream, made or as it has to be | the other one is awaited; after both `Open`, which is told |
//! | `Making` | "exists with other settings" | what it has is asked for, and compared |
//! | `Making` | 503, no leader | asked again with the next [`tick`](NatsLink::tick) |
//! | `Open` | an entry, an answer, a private payload | told; a claim that is refused is told like one that is stored |
//! | any | PING | PONG |
//! | any | -ERR, a frame that is none, a stream that differs, no PONG to two PINGs | the link ends, with the reason |
//!
//! The subscriptions stand before the streams are asked for, so nothing is said between the answer that
//! tells the last sequence and the first entry: what comes early is told as well.
//!
//! Whoever may publish on the engine may send what they like to any subject of ours: an answer counts only
//! for a request that is out, and once.

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use bytes::BufMut;

use crate::config::relay::{RelayAuth, RelayRoom};
use crate::protocol::nats::decode::{Decoder, Frame, FrameError, Message, ServerErrorKind};
use crate::protocol::nats::encode::{self, Connect, Header};
use crate::protocol::nats::info::{Info, InfoError};
use crate::protocol::nats::jetstream::{
    self, ApiError, Entry, NoEntry, PubAck, Request, StreamConfig, StreamInfo,
};
use crate::protocol::nats::names::{self, StreamName};
use crate::protocol::nats::subject::{Filter, Subject};
use crate::relay::claims::{Answer, ClaimEngine, KeyHash};

/// The subscriptions: what is said, what is for this server alone, and answers.
const LINES: u64 = 1;
const PRIVATE: u64 = 2;
const ANSWERS: u64 = 3;

/// How many of our PINGs may be without a PONG.
const MOST_PINGS: u8 = 2;

/// How many requests are remembered. Some are never answered, such as one for an entry of a stream that does not
/// exist; the oldest makes room.
const MOST_REQUESTS: usize = 4096;

/// The smallest payload that an engine has to take, in bytes: the longest batch, and headers.
pub(crate) const NEEDED_PAYLOAD_BYTES: u64 = 20 << 10;

/// Who this server is to the engine, and in which room.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) room: RelayRoom,
    /// The number of this server, drawn at its start.
    pub(crate) node: u64,
    pub(crate) auth: RelayAuth,
    /// On how many servers of the engine the streams are kept, if they have to be made.
    pub(crate) replicas: u8,
}

/// What the relay gets to know.
#[derive(Debug, PartialEq)]
pub(crate) enum Heard<'i> {
    /// The streams are there: what they hold.
    Open(Box<Streams>),
    /// An entry of the log, which was just stored.
    Entry { sequence: u64, payload: &'i [u8] },
    /// An entry that was asked for. When it was stored is by the engine's clock, and may be unknown.
    Fetched {
        sequence: u64,
        payload: &'i [u8],
        stored_at: Option<SystemTime>,
    },
    /// There is no entry there, as far as the server that was asked knows.
    Missing { sequence: u64 },
    /// The entry could not be looked for: nobody leads the stream.
    NotFetched { sequence: u64 },
    /// What the log holds, which was asked for.
    Info(StreamInfo),
    /// A batch that was published with a reply is stored there.
    Stored { sequence: u64 },
    /// It is not, for this reason.
    NotStored(Refusal),
    /// What became of a request about claims.
    Claim { request: u64, answer: Answer<'i> },
    /// A payload for this server alone.
    Private(&'i [u8]),
    /// Where else the engine is, and whether this server of it is about to end.
    Servers { info: Box<Info> },
    /// The engine refuses a publication or a subscription, in its words.
    Forbidden(&'i [u8]),
}

/// The streams of a room.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Streams {
    pub(crate) lines: StreamInfo,
    pub(crate) claims: StreamInfo,
}

/// Why something is not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A status: 503 if nobody leads the stream, 429 if too much is waiting.
    Status(u16),
    /// JetStream says why.
    Api(ApiError),
}

/// Why a link cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LinkError {
    Frame(FrameError),
    Info(InfoError),
    /// The engine lacks something that the relay needs.
    Lacks(Lack),
    /// The engine wants TLS, or a key.
    Wants(&'static str),
    /// Who this server is was not accepted.
    Auth(String),
    /// The engine has refused something, in its words.
    Refused(String),
    /// A stream exists with other settings, of which these are the first.
    Differs {
        stream: String,
        how: String,
    },
    /// A stream cannot be made.
    NoStream {
        stream: String,
        why: ApiError,
    },
    /// There was no answer to two PINGs.
    Silent,
}

/// What an engine lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lack {
    JetStream,
    Headers,
    /// It takes no longer payloads than this, in bytes.
    Payload {
        max: u64,
    },
}

/// A connection to the engine.
#[derive(Debug)]
pub(crate) struct NatsLink {
    identity: Identity,
    /// The names of the two streams.
    lines: StreamName,
    claims: StreamName,
    decoder: Decoder,
    phase: Phase,
    /// Whether the server of the engine that is connected has JetStream itself.
    has_jetstream: bool,
    /// Where answers come, with a dot behind it.
    inbox: String,
    /// The number of the last request, and what those are about that are out.
    last_request: u64,
    requests: BTreeMap<u64, Asked>,
    unanswered_pings: u8,
    subject_in: Subject,
}

#[derive(Debug)]
enum Phase {
    Greeting,
    Joining,
    /// What the streams hold, once that is known.
    Making {
        lines: Option<StreamInfo>,
        claims: Option<StreamInfo>,
    },
    Open,
}

/// One of the two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Lines,
    Claims,
}

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Create(Which),
    /// What a stream has that exists with other settings.
    Compare(Which),
    /// It is to be asked for again.
    CreateAgain(Which),
    Info,
    Fetch {
        sequence: u64,
    },
    Publish,
    /// A request about claims, with its number there.
    Claim(u64),
    Look(u64),
    GiveUp(u64),
}

impl NatsLink {
    /// A connection that has just been made. `salt` makes its inbox one that nobody can guess.
    pub(crate) fn new(identity: Identity, salt: u64) -> Self {
        let inbox = format!("_INBOX.{:016x}{salt:016x}.", identity.node);
        let subject_in = names::lines_in(&identity.room);
        Self {
            lines: StreamName::lines(&identity.room),
            claims: StreamName::claims(&identity.room),
            identity,
            decoder: Decoder::default(),
            phase: Phase::Greeting,
            has_jetstream: true,
            inbox,
            last_request: 0,
            requests: BTreeMap::new(),
            unanswered_pings: 0,
            subject_in,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// This server goes on under another number, so what is for it alone comes under that.
    pub(crate) fn go_on_as(&mut self, node: u64, out: &mut impl BufMut) {
        if self.identity.node == node {
            return;
        }
        self.identity.node = node;
        encode::unsubscribe(out, PRIVATE, None);
        let subject = names::to_node(&self.identity.room, node);
        encode::subscribe(out, &subject.into(), PRIVATE);
    }

    /// Handles the first frame of the input, and takes it off. `None` if there is none, or if it says nothing
    /// to the relay: the input is shorter in that case.
    ///
    /// # Errors
    /// The link ends.
    pub(crate) fn on_input<'i>(
        &mut self,
        input: &mut &'i [u8],
        out: &mut impl BufMut,
    ) -> Result<Option<Heard<'i>>, LinkError> {
        let frame = self.decoder.next(input).map_err(LinkError::Frame)?;
        let Some(frame) = frame else {
            return Ok(None);
        };
        match frame {
            Frame::Info(json) => {
                let info = Info::parse(json).map_err(LinkError::Info)?;
                self.on_info(info, out).map(Some)
            }
            Frame::Ping => {
                encode::pong(out);
                Ok(None)
            }
            Frame::Pong => {
                self.on_pong(out);
                Ok(None)
            }
            Frame::Ok => Ok(None),
            Frame::Error(error) => match error.kind() {
                ServerErrorKind::Permissions if self.is_open() => {
                    Ok(Some(Heard::Forbidden(error.0)))
                }
                ServerErrorKind::Authorization => Err(LinkError::Auth(words(error.0))),
                ServerErrorKind::Permissions | ServerErrorKind::Other => {
                    Err(LinkError::Refused(words(error.0)))
                }
            },
            Frame::Message(message) => self.on_message(message, out),
        }
    }

    fn on_info<'i>(&mut self, info: Info, out: &mut impl BufMut) -> Result<Heard<'i>, LinkError> {
        if matches!(self.phase, Phase::Greeting) {
            check(&info, &self.identity.auth)?;
            self.has_jetstream = info.jetstream;
            self.join(out);
        }
        let info = Box::new(info);
        Ok(Heard::Servers { info })
    }

    /// Says who we are, and what we want to hear.
    fn join(&mut self, out: &mut impl BufMut) {
        let Identity {
            room, node, auth, ..
        } = &self.identity;
        let name = format!("line-chat {room} {node:016x}");
        let connect = Connect {
            name: &name,
            auth,
            // Our own entries tell us that they are stored, and where.
            echo: true,
        };
        encode::connect(out, &connect);
        let answers = format!("{}*", self.inbox).parse::<Filter>().ok();
        let subscriptions = [
            (Some(names::lines_out(room).into()), LINES),
            (Some(names::to_node(room, *node).into()), PRIVATE),
            (answers, ANSWERS),
        ];
        for (filter, sid) in subscriptions {
            if let Some(filter) = filter {
                encode::subscribe(out, &filter, sid);
            }
        }
        self.phase = Phase::Joining;
        self.ping(out);
    }

    fn ping(&mut self, out: &mut impl BufMut) {
        self.unanswered_pings = self.unanswered_pings.saturating_add(1);
        encode::ping(out);
    }

    fn on_pong(&mut self, out: &mut impl BufMut) {
        self.unanswered_pings = 0;
        if matches!(self.phase, Phase::Joining) {
            self.phase = Phase::Making {
                lines: None,
                claims: None,
            };
            self.create(Which::Lines, out);
            self.create(Which::Claims, out);
        }
    }

    /// Some seconds have gone by: asks whether the engine is there, and again for what nobody could answer.
    ///
    /// # Errors
    /// It has not answered twice.
    pub(crate) fn tick(&mut self, out: &mut impl BufMut) -> Result<(), LinkError> {
        if self.unanswered_pings >= MOST_PINGS {
            return Err(LinkError::Silent);
        }
        if !matches!(self.phase, Phase::Greeting) {
            self.ping(out);
        }
        let again = self
            .requests
            .iter()
            .filter_map(|(&number, asked)| match asked {
                Asked::CreateAgain(which) => Some((number, *which)),
                _ => None,
            });
        for (number, which) in again.collect::<Vec<_>>() {
            self.requests.remove(&number);
            self.create(which, out);
        }
        Ok(())
    }

    // Requests.

    fn create(&mut self, which: Which, out: &mut impl BufMut) {
        let request = jetstream::create_stream(&self.config(which));
        self.ask(Asked::Create(which), &request, out);
    }

    fn config(&self, which: Which) -> StreamConfig {
        let Identity { room, replicas, .. } = &self.identity;
        match which {
            Which::Lines => StreamConfig::lines(room, *replicas),
            Which::Claims => StreamConfig::claims(room, *replicas),
        }
    }

    fn name(&self, which: Which) -> &StreamName {
        match which {
            Which::Lines => &self.lines,
            Which::Claims => &self.claims,
        }
    }

    /// Asks what the log holds.
    pub(crate) fn ask_info(&mut self, out: &mut impl BufMut) {
        let request = jetstream::stream_info(&self.lines);
        self.ask(Asked::Info, &request, out);
    }

    /// Asks for an entry.
    pub(crate) fn fetch(&mut self, sequence: u64, out: &mut impl BufMut) {
        let request = jetstream::get(&self.lines, sequence);
        self.ask(Asked::Fetch { sequence }, &request, out);
    }

    /// Publishes a batch. Without `wants_answer` it is known to be stored when it comes back.
    pub(crate) fn publish(&mut self, payload: &[u8], wants_answer: bool, out: &mut impl BufMut) {
        let reply = wants_answer.then(|| self.request(Asked::Publish));
        encode::publish(out, &self.subject_in, reply.flatten().as_ref(), payload);
    }

    /// Sends something to another server alone.
    pub(crate) fn tell(&self, node: u64, payload: &[u8], out: &mut impl BufMut) {
        let subject = names::to_node(&self.identity.room, node);
        encode::publish(out, &subject, None, payload);
    }

    /// The link as an engine for claims.
    pub(crate) fn with<'l, B: BufMut>(&'l mut self, out: &'l mut B) -> LinkOut<'l, B> {
        LinkOut { link: self, out }
    }

    fn ask(&mut self, asked: Asked, request: &Request, out: &mut impl BufMut) {
        let reply = self.request(asked);
        encode::publish(out, &request.subject, reply.as_ref(), &request.body);
    }

    /// Notes a request, and returns where its answer goes.
    fn request(&mut self, asked: Asked) -> Option<Subject> {
        self.last_request = self.last_request.wrapping_add(1);
        let reply = format!("{}{}", self.inbox, self.last_request);
        let reply = reply.parse().ok()?;
        self.requests.insert(self.last_request, asked);
        if self.requests.len() > MOST_REQUESTS {
            self.requests.pop_first();
        }
        Some(reply)
    }

    // Answers.

    fn on_message<'i>(
        &mut self,
        message: Message<'i>,
        out: &mut impl BufMut,
    ) -> Result<Option<Heard<'i>>, LinkError> {
        match message.sid {
            LINES => Ok(Entry::parse(&message).ok().and_then(|entry| {
                let is_ours = entry.stream == self.lines.as_str().as_bytes();
                is_ours.then_some(Heard::Entry {
                    sequence: entry.sequence,
                    payload: entry.payload,
                })
            })),
            PRIVATE => Ok(Some(Heard::Private(message.payload))),
            ANSWERS => self.on_answer(message, out),
            _ => Ok(None),
        }
    }

    fn on_answer<'i>(
        &mut self,
        message: Message<'i>,
        out: &mut impl BufMut,
    ) -> Result<Option<Heard<'i>>, LinkError> {
        let number = message.subject.strip_prefix(self.inbox.as_bytes());
        let number = number.and_then(|it| str::from_utf8(it).ok()?.parse().ok());
        let Some(asked) = number.and_then(|it: u64| self.requests.remove(&it)) else {
            return Ok(None);
        };
        let status = status_of(&message);
        match asked {
            // A leaf node has none itself, and may pass on what its hub answers.
            Asked::Create(_) if status.is_some() && !self.has_jetstream => {
                Err(LinkError::Lacks(Lack::JetStream))
            }
            Asked::Create(which) | Asked::Compare(which) if status.is_some() => {
                // Nobody leads, or nobody is there yet: with the next tick.
                self.request(Asked::CreateAgain(which));
                Ok(None)
            }
            Asked::Create(which) => match jetstream::parse_stream(message.payload) {
                Ok(info) => Ok(self.on_stream(which, info)),
                Err(ApiError::OtherConfig) => {
                    let request = jetstream::stream_info(self.name(which));
                    self.ask(Asked::Compare(which), &request, out);
                    Ok(None)
                }
                Err(why) => Err(self.no_stream(which, why)),
            },
            Asked::Compare(which) => self.on_compared(which, message.payload),
            Asked::CreateAgain(_) => Ok(None),
            Asked::Info => match jetstream::parse_stream(message.payload) {
                // Who does not lead may be behind, and cut off.
                Ok(info) if info.has_leader => Ok(Some(Heard::Info(info))),
                Ok(_) | Err(_) => Ok(None),
            },
            Asked::Fetch { sequence } => Ok(Some(fetched(sequence, &message))),
            Asked::Claim(request) => {
                let answer = claimed(status, message.payload);
                Ok(Some(Heard::Claim { request, answer }))
            }
            Asked::Look(request) => {
                let answer = self.holder(&message);
                Ok(Some(Heard::Claim { request, answer }))
            }
            Asked::GiveUp(request) => {
                let answer = given_up(status, message.payload);
                Ok(Some(Heard::Claim { request, answer }))
            }
            Asked::Publish => Ok(Some(
                match (status, jetstream::parse_ack(message.payload)) {
                    (Some(status), _) => Heard::NotStored(Refusal::Status(status)),
                    (None, Ok(PubAck { seq, .. })) => Heard::Stored { sequence: seq },
                    (None, Err(error)) => Heard::NotStored(Refusal::Api(error)),
                },
            )),
        }
    }

    fn on_compared<'i>(
        &mut self,
        which: Which,
        answer: &[u8],
    ) -> Result<Option<Heard<'i>>, LinkError> {
        let info = match jetstream::parse_stream(answer) {
            Ok(info) if !info.has_leader => {
                self.request(Asked::CreateAgain(which));
                return Ok(None);
            }
            Ok(info) => info,
            Err(why) => return Err(self.no_stream(which, why)),
        };
        let config = self.config(which);
        let differences = config.differences(&info.config);
        // How many servers keep it is for those to say who have made it.
        let mut differences = differences.iter().filter(|it| it.setting != "num_replicas");
        match differences.next() {
            None => Ok(self.on_stream(which, info)),
            Some(difference) => Err(LinkError::Differs {
                stream: config.name().as_str().to_owned(),
                how: difference.to_string(),
            }),
        }
    }

    /// A stream is there.
    fn on_stream<'i>(&mut self, which: Which, info: StreamInfo) -> Option<Heard<'i>> {
        let Phase::Making { lines, claims } = &mut self.phase else {
            return None;
        };
        match which {
            Which::Lines => *lines = Some(info),
            Which::Claims => *claims = Some(info),
        }
        let lines = lines.take_if(|_| claims.is_some())?;
        let claims = claims.take()?;
        self.phase = Phase::Open;
        Some(Heard::Open(Box::new(Streams { lines, claims })))
    }

    fn no_stream(&self, which: Which, why: ApiError) -> LinkError {
        let stream = self.name(which).as_str().to_owned();
        LinkError::NoStream { stream, why }
    }

    /// What is claimed, as the answer to a look says.
    fn holder<'i>(&self, message: &Message<'i>) -> Answer<'i> {
        match Entry::parse(message) {
            Ok(entry) => Answer::Holder {
                sequence: entry.sequence,
                key: names::claimed(&self.identity.room, entry.subject).map(KeyHash),
                payload: entry.payload,
            },
            Err(NoEntry::NotFound) => Answer::Nobody,
            Err(NoEntry::Status(_) | NoEntry::Malformed) => Answer::NotNow,
        }
    }

    /// How many requests are out.
    #[cfg(test)]
    pub(crate) fn requests(&self) -> usize {
        self.requests.len()
    }
}

/// A link and where it writes.
#[derive(Debug)]
pub(crate) struct LinkOut<'l, B> {
    link: &'l mut NatsLink,
    out: &'l mut B,
}

impl<B> LinkOut<'_, B> {
    /// The link, and where it writes.
    pub(crate) fn parts(&mut self) -> (&mut NatsLink, &mut B) {
        (self.link, self.out)
    }
}

impl<B: BufMut> ClaimEngine for LinkOut<'_, B> {
    fn claim(&mut self, request: u64, key: KeyHash, expected: u64, payload: &[u8]) {
        let subject = names::claim(&self.link.identity.room, key.0);
        let reply = self.link.request(Asked::Claim(request));
        let headers = [Header::expected_last_subject_sequence(expected)];
        encode::publish_with_headers(self.out, &subject, reply.as_ref(), &headers, payload);
    }

    fn look(&mut self, request: u64, key: KeyHash) {
        let subject = names::claim(&self.link.identity.room, key.0);
        let get = jetstream::get_last(&self.link.claims, &subject);
        self.link.ask(Asked::Look(request), &get, self.out);
    }

    fn look_from(&mut self, request: u64, sequence: u64) {
        let filter = names::all_claims(&self.link.identity.room);
        let get = jetstream::get_next(&self.link.claims, &filter, sequence);
        self.link.ask(Asked::Look(request), &get, self.out);
    }

    fn give_up(&mut self, request: u64, sequence: u64) {
        let delete = jetstream::delete_message(&self.link.claims, sequence);
        self.link.ask(Asked::GiveUp(request), &delete, self.out);
    }
}

fn claimed(status: Option<u16>, answer: &[u8]) -> Answer<'static> {
    match (status, jetstream::parse_ack(answer)) {
        (None, Ok(PubAck { seq, .. })) => Answer::Stored { sequence: seq },
        (None, Err(ApiError::WrongLastSequence { last })) => Answer::Taken { last },
        (None, Err(error)) if error.is_full() => Answer::Full,
        _ => Answer::NotNow,
    }
}

fn given_up(status: Option<u16>, answer: &[u8]) -> Answer<'static> {
    match (status, jetstream::parse_deleted(answer)) {
        (None, Ok(())) => Answer::GivenUp,
        (None, Err(error)) if error.is_missing() => Answer::GivenUp,
        _ => Answer::NotNow,
    }
}

/// The status of an answer that is nothing else.
fn status_of(message: &Message<'_>) -> Option<u16> {
    let status = message.headers().ok()?.status()?;
    message.payload.is_empty().then_some(status.code)
}

fn fetched<'i>(sequence: u64, message: &Message<'i>) -> Heard<'i> {
    match Entry::parse(message) {
        Ok(entry) if entry.sequence == sequence => Heard::Fetched {
            sequence,
            payload: entry.payload,
            stored_at: jetstream::stored_at(message),
        },
        // It is there, but nothing that one of us has published.
        Ok(_) | Err(NoEntry::Malformed) => Heard::Fetched {
            sequence,
            payload: b"",
            stored_at: None,
        },
        Err(NoEntry::NotFound) => Heard::Missing { sequence },
        Err(NoEntry::Status(_)) => Heard::NotFetched { sequence },
    }
}

/// Checks that an engine can be spoken to, and has what a relay needs.
fn check(info: &Info, auth: &RelayAuth) -> Result<(), LinkError> {
    if info.tls_required {
        return Err(LinkError::Wants("TLS"));
    }
    if info.nonce.is_some() && info.auth_required && *auth == RelayAuth::None {
        return Err(LinkError::Wants("a signature"));
    }
    if !info.headers {
        return Err(LinkError::Lacks(Lack::Headers));
    }
    if info.max_payload < NEEDED_PAYLOAD_BYTES {
        let max = info.max_payload;
        return Err(LinkError::Lacks(Lack::Payload { max }));
    }
    Ok(())
}

/// The words of an engine, in a log.
fn words(text: &[u8]) -> String {
    let mut scratch = String::new();
    let text = crate::text::clean(text, &mut scratch).as_str();
    text.chars().take(200).collect()
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::JetStream => f.write_str(
                "the engine has no JetStream: start nats-server with -js, or give its configuration a block \
                 \"jetstream\"; a leaf node has to reach that of its hub",
            ),
            Self::Headers => f.write_str(
                "the engine takes no headers: it has to be nats-server 2.9 or later, and its configuration must \
                 not have no_header_support",
            ),
            Self::Payload { max } => write!(
                f,
                "the engine takes no more than {max} bytes in a message: set max_payload in its configuration to \
                 {NEEDED_PAYLOAD_BYTES} or more"
            ),
        }
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(error) => write!(f, "the engine is no nats-server: {error}"),
            Self::Info(error) => write!(f, "{error}"),
            Self::Lacks(lack) => write!(f, "{lack}"),
            Self::Wants(what) => write!(
                f,
                "the engine wants {what}: connect through a leaf node on this machine"
            ),
            Self::Auth(words) => write!(f, "the engine does not let this server in: {words}"),
            Self::Refused(words) => write!(f, "the engine has refused: {words}"),
            Self::Differs { stream, how } => write!(
                f,
                "the stream {stream} was made by something else: its {how}"
            ),
            Self::NoStream { stream, why } => {
                write!(f, "the stream {stream} cannot be made: {why}")
            }
            Self::Silent => write!(f, "the engine does not answer"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "INFO {\"headers\":true,\"jetstream\":true,\"max_payload\":1048576}\r\n";
    const INBOX: &str = "_INBOX.00000000000000ab0000000000000007.";

    struct Rig {
        link: NatsLink,
        out: Vec<u8>,
    }

    impl Rig {
        fn new() -> Self {
            let identity = Identity {
                room: "t".parse().expect("a name"),
                node: 0xab,
                auth: RelayAuth::None,
                replicas: 1,
            };
            Self {
                link: NatsLink::new(identity, 7),
                out: Vec::new(),
            }
        }

        /// What the relay hears of this input, as text.
        fn hear(&mut self, input: &str) -> Result<Vec<String>, LinkError> {
            let mut heard = Vec::new();
            let mut input = input.as_bytes();
            while !input.is_empty() {
                let before = input.len();
                if let Some(it) = self.link.on_input(&mut input, &mut self.out)? {
                    heard.push(short(&it));
                }
                assert!(input.len() < before, "only whole frames");
            }
            Ok(heard)
        }

        /// What was sent since this was last asked, a line each.
        fn sent(&mut self) -> Vec<String> {
            let sent = String::from_utf8(std::mem::take(&mut self.out)).expect("text");
            sent.split_terminator("\r\n").map(str::to_owned).collect()
        }

        fn answer(&mut self, request: u64, payload: &str) -> Result<Vec<String>, LinkError> {
            let bytes = payload.len();
            self.hear(&format!("MSG {INBOX}{request} 3 {bytes}\r\n{payload}\r\n"))
        }

        fn status(&mut self, request: u64, status: &str) -> Result<Vec<String>, LinkError> {
            let headers = format!("NATS/1.0 {status}\r\n\r\n");
            let bytes = headers.len();
            self.hear(&format!(
                "HMSG {INBOX}{request} 3 {bytes} {bytes}\r\n{headers}\r\n"
            ))
        }

        /// A link on which both streams were made.
        fn open() -> Self {
            let mut rig = Self::new();
            rig.hear(INFO).expect("a server");
            rig.hear("PONG\r\n").expect("it is there");
            assert_eq!(rig.answer(2, &stream("LCN_t", 0)), Ok(vec![]));
            let open = vec!["open, last 5".to_owned()];
            assert_eq!(rig.answer(1, &stream("LC_t", 5)), Ok(open));
            rig.sent();
            rig
        }
    }

    fn short(heard: &Heard<'_>) -> String {
        let text = |payload: &[u8]| String::from_utf8_lossy(payload).into_owned();
        match heard {
            Heard::Open(streams) => {
                let Streams { lines, claims } = &**streams;
                assert_eq!(claims.config["name"], "LCN_t");
                format!("open, last {}", lines.last_seq)
            }
            Heard::Info(info) => format!("info, last {}", info.last_seq),
            Heard::Entry { sequence, payload } => format!("entry {sequence} {}", text(payload)),
            Heard::Fetched {
                sequence, payload, ..
            } => format!("fetched {sequence} {}", text(payload)),
            Heard::Private(payload) => format!("private {}", text(payload)),
            Heard::Servers { .. } => "servers".to_owned(),
            Heard::Forbidden(words) => format!("forbidden {}", text(words)),
            other => format!("{other:?}"),
        }
    }

    /// The answer to a request for a stream.
    fn stream(name: &str, last: u64) -> String {
        format!(
            r#"{{"created":"2026-01-01T00:00:00Z","state":{{"first_seq":1,"last_seq":{last},"messages":0,"bytes":0}},"config":{{"name":"{name}"}}}}"#
        )
    }

    /// The same answer, of one that is cut off from those who know more.
    fn leaderless(stream: &str) -> String {
        let begin = r#"{"cluster":{"name":"c","replicas":[]},"#;
        format!("{begin}{}", &stream[1..])
    }

    fn entry(subject: &str, sid: u64, headers: &str, payload: &str) -> String {
        let headers = format!("NATS/1.0\r\n{headers}\r\n");
        let (head, all) = (headers.len(), headers.len() + payload.len());
        format!("HMSG {subject} {sid} {head} {all}\r\n{headers}{payload}\r\n")
    }

    const PLACE: &str = "Nats-Stream: LC_t\r\nNats-Subject: lc.t.in\r\nNats-Sequence: 6\r\n";

    #[test]
    fn a_link_joins_and_is_open_when_both_streams_are_there() {
        let mut rig = Rig::new();
        assert_eq!(rig.hear(INFO), Ok(vec!["servers".to_owned()]));
        let sent = rig.sent();
        assert!(sent[0].starts_with("CONNECT {") && sent[0].contains("\"echo\":true"));
        let subscriptions = [
            "SUB lc.t.out 1".to_owned(),
            "SUB lc.t.to.00000000000000ab 2".to_owned(),
            format!("SUB {INBOX}* 3"),
            "PING".to_owned(),
        ];
        assert_eq!(sent[1..], subscriptions);
        assert_eq!(rig.hear("+OK\r\nPING\r\nPONG\r\n"), Ok(vec![]));
        let sent = rig.sent();
        assert_eq!(sent[0], "PONG");
        assert!(sent[1].starts_with(&format!("PUB $JS.API.STREAM.CREATE.LC_t {INBOX}1 ")));
        assert!(sent[3].starts_with(&format!("PUB $JS.API.STREAM.CREATE.LCN_t {INBOX}2 ")));
        // An entry that was stored meanwhile is not lost.
        let early = entry("lc.t.out", 1, PLACE, "hello");
        assert_eq!(rig.hear(&early), Ok(vec!["entry 6 hello".to_owned()]));
        assert_eq!(rig.answer(1, &stream("LC_t", 5)), Ok(vec![]));
        assert!(!rig.link.is_open());
        // Nobody leads the other stream yet.
        assert_eq!(rig.status(2, "503"), Ok(vec![]));
        rig.sent();
        assert_eq!(rig.link.tick(&mut rig.out), Ok(()));
        let sent = rig.sent();
        assert_eq!(sent[0], "PING");
        assert!(sent[1].starts_with(&format!("PUB $JS.API.STREAM.CREATE.LCN_t {INBOX}4 ")));
        let open = vec!["open, last 5".to_owned()];
        assert_eq!(rig.answer(4, &stream("LCN_t", 0)), Ok(open));
        assert!(rig.link.is_open() && rig.link.requests() == 0);
    }

    #[test]
    fn what_is_for_another_number_comes_once_the_server_has_that() {
        let mut rig = Rig::open();
        rig.link.go_on_as(0xab, &mut rig.out);
        assert_eq!(rig.sent(), [""; 0], "it is the number that it has");
        rig.link.go_on_as(0xcd, &mut rig.out);
        let expected = ["UNSUB 2", "SUB lc.t.to.00000000000000cd 2"];
        assert_eq!(rig.sent(), expected);
    }

    #[test]
    fn an_engine_that_cannot_serve_ends_the_link_with_a_reason() {
        for (info, why) in [
            (
                r#"{"headers":true,"jetstream":true,"max_payload":20479}"#,
                "the engine takes no more than 20479 bytes in a message: set max_payload in its configuration to \
                 20480 or more",
            ),
            (
                r#"{"jetstream":true,"max_payload":1048576}"#,
                "the engine takes no headers: it has to be nats-server 2.9 or later, and its configuration must \
                 not have no_header_support",
            ),
            (
                r#"{"headers":true,"jetstream":true,"max_payload":1048576,"tls_required":true}"#,
                "the engine wants TLS: connect through a leaf node on this machine",
            ),
        ] {
            let heard = Rig::new().hear(&format!("INFO {info}\r\n"));
            assert_eq!(heard.expect_err("it cannot").to_string(), why);
        }
        let mut rig = Rig::new();
        rig.hear(INFO).expect("a server");
        let refused = rig.hear("-ERR 'Authorization Violation'\r\n");
        let why = "the engine does not let this server in: Authorization Violation";
        assert_eq!(refused.expect_err("refused").to_string(), why);
        let not_nats = Rig::new().hear("HTTP/1.1 400 Bad Request\r\n");
        let why = not_nats.expect_err("another protocol").to_string();
        assert!(why.starts_with("the engine is no nats-server: "), "{why}");
    }

    #[test]
    fn a_leaf_node_without_jetstream_may_reach_that_of_its_hub() {
        let joined = || {
            let mut rig = Rig::new();
            let info = "INFO {\"headers\":true,\"max_payload\":1048576}\r\nPONG\r\n";
            rig.hear(info).expect("a server");
            rig
        };
        let mut rig = joined();
        assert_eq!(rig.answer(1, &stream("LC_t", 5)), Ok(vec![]));
        let open = vec!["open, last 5".to_owned()];
        assert_eq!(rig.answer(2, &stream("LCN_t", 0)), Ok(open));
        let nobody = joined().status(1, "503").expect_err("nobody answers");
        let why = "the engine has no JetStream: start nats-server with -js, or give its configuration a \
                   block \"jetstream\"; a leaf node has to reach that of its hub";
        assert_eq!(nobody.to_string(), why);
    }

    #[test]
    fn a_stream_of_somebody_else_is_never_changed() {
        let mut rig = Rig::new();
        rig.hear(INFO).expect("a server");
        rig.hear("PONG\r\n").expect("it is there");
        rig.sent();
        let exists =
            r#"{"error":{"code":500,"err_code":10058,"description":"stream name already in use"}}"#;
        assert_eq!(rig.answer(1, exists), Ok(vec![]));
        let asked = rig.sent();
        assert_eq!(asked[0], format!("PUB $JS.API.STREAM.INFO.LC_t {INBOX}3 0"));
        // While nobody leads it, it is not known what it holds: it is asked for again.
        let of_a_follower = leaderless(&stream("LC_t", 9));
        assert_eq!(rig.answer(3, &of_a_follower), Ok(vec![]));
        assert_eq!(rig.link.tick(&mut rig.out), Ok(()));
        rig.sent();
        assert_eq!(rig.answer(5, exists), Ok(vec![]));
        let asked = rig.sent();
        assert_eq!(asked[0], format!("PUB $JS.API.STREAM.INFO.LC_t {INBOX}6 0"));
        let differs = rig
            .answer(6, &stream("LC_t", 9))
            .expect_err("it has no subjects");
        assert!(matches!(&differs, LinkError::Differs { stream, .. } if stream == "LC_t"));
    }

    #[test]
    fn answers_are_told_once_and_only_to_those_who_asked() {
        let mut rig = Rig::open();
        rig.link.publish(b"one", false, &mut rig.out);
        rig.link.publish(b"two", true, &mut rig.out);
        rig.link.fetch(3, &mut rig.out);
        rig.link.fetch(4, &mut rig.out);
        rig.link.tell(0xcd, b"psst", &mut rig.out);
        let sent = rig.sent();
        let expected = [
            "PUB lc.t.in 3",
            "one",
            &format!("PUB lc.t.in {INBOX}3 3"),
            "two",
            &format!("PUB $JS.API.DIRECT.GET.LC_t {INBOX}4 9"),
            r#"{"seq":3}"#,
            &format!("PUB $JS.API.DIRECT.GET.LC_t {INBOX}5 9"),
            r#"{"seq":4}"#,
            "PUB lc.t.to.00000000000000cd 4",
            "psst",
        ];
        assert_eq!(sent, expected);
        let stored = vec![format!("{:?}", Heard::Stored { sequence: 8 })];
        let ack = r#"{"stream":"LC_t", "seq":8}"#;
        assert_eq!(rig.answer(3, ack), Ok(stored));
        assert_eq!(rig.answer(3, ack), Ok(vec![]), "once");
        assert_eq!(rig.answer(99, ack), Ok(vec![]), "nobody has asked");
        let missing = vec![format!("{:?}", Heard::Missing { sequence: 3 })];
        assert_eq!(rig.status(4, "404 Message Not Found"), Ok(missing));
        let found = entry(&format!("{INBOX}5"), 3, &PLACE.replace('6', "4"), "four");
        assert_eq!(rig.hear(&found), Ok(vec!["fetched 4 four".to_owned()]));
        let private = rig.hear("MSG lc.t.to.00000000000000ab 2 4\r\npsst\r\n");
        assert_eq!(private, Ok(vec!["private psst".to_owned()]));
        // What is not of our stream is no entry, whatever it says.
        let forged = entry("lc.t.out", 1, &PLACE.replace("LC_t", "LC_u"), "x");
        assert_eq!(rig.hear(&forged), Ok(vec![]));
        assert_eq!(rig.hear("MSG lc.t.out 1 1\r\nx\r\n"), Ok(vec![]));
        rig.link.publish(b"two", true, &mut rig.out);
        let refused = vec![format!("{:?}", Heard::NotStored(Refusal::Status(503)))];
        assert_eq!(rig.status(6, "503"), Ok(refused));
        rig.link.ask_info(&mut rig.out);
        let info = vec!["info, last 9".to_owned()];
        assert_eq!(rig.answer(7, &stream("LC_t", 9)), Ok(info));
        rig.link.ask_info(&mut rig.out);
        let of_a_follower = leaderless(&stream("LC_t", 8));
        assert_eq!(rig.answer(8, &of_a_follower), Ok(vec![]));
        assert_eq!(rig.link.requests(), 0);
        let forbidden = rig.hear("-ERR 'Permissions Violation for Publish to \"lc.t.in\"'\r\n");
        assert_eq!(forbidden.map(|it| it.len()), Ok(1), "the link goes on");
    }

    #[test]
    fn claims_are_published_looked_for_and_given_up() {
        let mut rig = Rig::open();
        let mut engine = rig.link.with(&mut rig.out);
        let (key, payload) = (KeyHash(0xf), b"1 00000000000000ab 7 bob");
        engine.claim(21, key, 5, payload);
        engine.look(22, key);
        engine.look_from(23, 9);
        engine.give_up(24, 6);
        let subject = "lc.t.nick.0000000000000000000000000000000f";
        let expected = [
            &format!("HPUB {subject} {INBOX}3 52 76"),
            "NATS/1.0",
            "Nats-Expected-Last-Subject-Sequence: 5",
            "",
            "1 00000000000000ab 7 bob",
            &format!("PUB $JS.API.DIRECT.GET.LCN_t {INBOX}4 61"),
            &format!(r#"{{"last_by_subj":"{subject}"}}"#),
            &format!("PUB $JS.API.DIRECT.GET.LCN_t {INBOX}5 38"),
            r#"{"next_by_subj":"lc.t.nick.*","seq":9}"#,
            &format!("PUB $JS.API.STREAM.MSG.DELETE.LCN_t {INBOX}6 25"),
            r#"{"no_erase":true,"seq":6}"#,
        ];
        assert_eq!(rig.sent(), expected);
        let place =
            format!("Nats-Stream: LCN_t\r\nNats-Subject: {subject}\r\nNats-Sequence: 6\r\n");
        let holder = entry(&format!("{INBOX}4"), 3, &place, "1 00000000000000ab 7 bob");
        let sequence = 6;
        let key = Some(key);
        let answer = Answer::Holder {
            sequence,
            key,
            payload,
        };
        let told = |request, answer| Ok(vec![format!("{:?}", Heard::Claim { request, answer })]);
        assert_eq!(rig.hear(&holder), told(22, answer));
        assert_eq!(
            rig.status(5, "404 Message Not Found"),
            told(23, Answer::Nobody)
        );
        let success = r#"{"success":true}"#;
        assert_eq!(rig.answer(6, success), told(24, Answer::GivenUp));
        let ack = r#"{"stream":"LCN_t", "seq":6}"#;
        assert_eq!(rig.answer(3, ack), told(21, Answer::Stored { sequence }));
        assert_eq!(rig.answer(3, ack), Ok(vec![]), "once");
        // What is refused, and what nobody can do.
        let error = |err_code, words| {
            format!(r#"{{"error":{{"code":400,"err_code":{err_code},"description":"{words}"}}}}"#)
        };
        let taken = |last| Answer::Taken { last };
        for (at, (words, answer)) in [
            (error(10071, "wrong last sequence: 4"), taken(Some(4))),
            (error(10164, "wrong last sequence"), taken(None)),
            (error(10077, "maximum bytes exceeded"), Answer::Full),
            (error(10077, "disk"), Answer::NotNow),
            ("?".to_owned(), Answer::NotNow),
        ]
        .into_iter()
        .enumerate()
        {
            let number = 7 + at as u64;
            rig.link
                .with(&mut rig.out)
                .claim(number, KeyHash(1), 0, b"");
            assert_eq!(rig.answer(number, &words), told(number, answer));
        }
        let mut engine = rig.link.with(&mut rig.out);
        engine.claim(12, KeyHash(1), 0, b"");
        engine.look(13, KeyHash(1));
        engine.give_up(14, 1);
        engine.give_up(15, 1);
        for number in 12..=14 {
            assert_eq!(rig.status(number, "503"), told(number, Answer::NotNow));
        }
        let gone = error(10043, "sequence 1 not found");
        assert_eq!(rig.answer(15, &gone), told(15, Answer::GivenUp));
    }

    #[test]
    fn of_requests_that_are_never_answered_the_oldest_are_forgotten() {
        let mut rig = Rig::open();
        for sequence in 0..5000 {
            rig.link.fetch(sequence, &mut rig.out);
        }
        assert_eq!(rig.link.requests(), 4096);
        assert_eq!(rig.status(3, "404"), Ok(vec![]), "it is forgotten");
        let last = vec![format!("{:?}", Heard::Missing { sequence: 4999 })];
        assert_eq!(rig.status(5002, "404"), Ok(last));
    }

    #[test]
    fn an_engine_that_does_not_answer_two_pings_is_given_up() {
        let mut rig = Rig::open();
        assert_eq!(rig.link.tick(&mut rig.out), Ok(()));
        assert_eq!(rig.link.tick(&mut rig.out), Ok(()));
        assert_eq!(rig.link.tick(&mut rig.out), Err(LinkError::Silent));
        let mut rig = Rig::open();
        for _ in 0..4 {
            assert_eq!(rig.link.tick(&mut rig.out), Ok(()));
            assert_eq!(rig.hear("PONG\r\n"), Ok(vec![]));
        }
    }
}
