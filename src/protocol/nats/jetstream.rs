//! Requests to JetStream, which stores what is published and so puts it in order, and its answers.
//!
//! A request is published to a subject of the server's with a reply subject, and the answer is a message to
//! that. Where the answer has a [status](super::headers::Status), that is all of it: 503 says that there is
//! no JetStream, or that nobody leads the stream just now.
//!
//! | request | subject | answer |
//! |---|---|---|
//! | [`create_stream`] | `$JS.API.STREAM.CREATE.NAME` | [`parse_stream`] |
//! | [`stream_info`] | `$JS.API.STREAM.INFO.NAME` | [`parse_stream`] |
//! | [`delete_message`] | `$JS.API.STREAM.MSG.DELETE.NAME` | [`parse_deleted`] |
//! | [`get`], [`get_last`], [`get_next`] | `$JS.API.DIRECT.GET.NAME` | [`Entry::parse`]; none if there is no such stream |
//! | a message to a subject of a stream | that subject | [`parse_ack`] |
//!
//! A stream that exists is never changed. If it was made otherwise the server says so and no more, and
//! [`StreamConfig::differences`] says where.

use std::fmt;
use std::time::SystemTime;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::config::relay::RelayRoom;
use crate::protocol::nats::decode::Message;
use crate::protocol::nats::headers::{self, Status};
use crate::protocol::nats::names::{self, StreamName};
use crate::protocol::nats::subject::{Filter, Subject};

/// The most that is kept of what was said, in bytes, and the most that claims of nicks take.
const MAX_STREAM_BYTES: u64 = 64 << 20;

/// The longest entry of a stream, in bytes: the longest batch, and headers. A longer one would end each connection
/// that it comes to, and again when it is fetched.
const MAX_ENTRY_BYTES: u64 = 20 << 10;

/// What a stream must not have beside its settings.
const MUST_BE_ABSENT: [&str; 3] = ["mirror", "sources", "subject_transform"];

/// A setting that operators choose: with any number of copies a stream does the same.
const REPLICAS: &str = "num_replicas";

/// Something to publish with a reply subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Where it goes.
    pub subject: Subject,
    /// What it says; it may be empty.
    pub body: Vec<u8>,
}

impl Request {
    fn new(operation: &str, stream: &StreamName, body: Option<&Value>) -> Self {
        Self {
            subject: Subject::known(format!("$JS.API.{operation}.{}", stream.as_str())),
            body: body.map(|body| body.to_string().into()).unwrap_or_default(),
        }
    }
}

/// Asks for a stream to be made. Nothing happens if it exists with the same settings: the answer does not
/// tell the difference (its `did_create` is true in either case).
pub fn create_stream(config: &StreamConfig) -> Request {
    let body = Value::Object(config.settings.clone());
    Request::new("STREAM.CREATE", &config.name, Some(&body))
}

/// Asks what a stream is and holds.
pub fn stream_info(stream: &StreamName) -> Request {
    Request::new("STREAM.INFO", stream, None)
}

/// Asks for the message at a place of a stream to be deleted.
pub fn delete_message(stream: &StreamName, sequence: u64) -> Request {
    // Overwriting what was deleted takes a write of the whole block, and there is no secret in it.
    let body = json!({ "seq": sequence, "no_erase": true });
    Request::new("STREAM.MSG.DELETE", stream, Some(&body))
}

/// Asks for the message at a place of a stream.
pub fn get(stream: &StreamName, sequence: u64) -> Request {
    Request::new("DIRECT.GET", stream, Some(&json!({ "seq": sequence })))
}

/// Asks for the last message of a stream with this subject.
pub fn get_last(stream: &StreamName, subject: &Subject) -> Request {
    let body = json!({ "last_by_subj": subject.as_str() });
    Request::new("DIRECT.GET", stream, Some(&body))
}

/// Asks for the first message of a stream at a place or behind it whose subject matches.
pub fn get_next(stream: &StreamName, filter: &Filter, sequence: u64) -> Request {
    let body = json!({ "next_by_subj": filter.as_str(), "seq": sequence });
    Request::new("DIRECT.GET", stream, Some(&body))
}

/// What a stream is asked to be.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamConfig {
    name: StreamName,
    settings: Map<String, Value>,
}

impl StreamConfig {
    /// The stream of what is said in a room: the last 64 MiB of it, republished as soon as it is stored.
    pub fn lines(room: &RelayRoom, replicas: u8) -> Self {
        let subject = names::lines_in(room);
        let own = json!({
            "subjects": [subject.as_str()],
            "discard": "old",
            "max_msgs_per_subject": -1,
            "republish": { "src": subject.as_str(), "dest": names::lines_out(room).as_str() },
        });
        Self::new(StreamName::lines(room), replicas, own)
    }

    /// The stream of the nicks that are claimed in a room: one claim a nick, and none is dropped for
    /// another.
    pub fn claims(room: &RelayRoom, replicas: u8) -> Self {
        let own = json!({
            "subjects": [names::all_claims(room).as_str()],
            "discard": "new",
            "max_msgs_per_subject": 1,
            "republish": null,
        });
        Self::new(StreamName::claims(room), replicas, own)
    }

    /// `own` are the settings in which the two streams differ.
    fn new(name: StreamName, replicas: u8, own: Value) -> Self {
        // Everything in which a stream would behave otherwise is said, although most of it is the default:
        // what is said here is what `differences` compares.
        let both = json!({
            "name": name.as_str(),
            "retention": "limits",
            "storage": "file",
            REPLICAS: replicas,
            "max_bytes": MAX_STREAM_BYTES,
            "max_msgs": -1,
            "max_age": 0,
            "max_msg_size": MAX_ENTRY_BYTES,
            "max_consumers": -1,
            "allow_direct": true,
            "no_ack": false,
            "sealed": false,
            "deny_delete": false,
            "deny_purge": false,
            "allow_rollup_hdrs": false,
        });
        let settings = [both, own].into_iter().filter_map(|part| match part {
            Value::Object(part) => Some(part),
            _ => None,
        });
        let settings = settings.flatten().collect();
        Self { name, settings }
    }

    /// The name of the stream.
    pub fn name(&self) -> &StreamName {
        &self.name
    }

    /// Returns each setting for which a stream that exists would do something else than this, in the order
    /// of their names. Without any it will do, although the server says that its settings are others: it
    /// has more copies, or another description.
    pub fn differences(&self, existing: &Map<String, Value>) -> Vec<Difference> {
        let settings = self.settings.iter().filter(|(key, _)| *key != REPLICAS);
        let wanted = settings.map(|(key, value)| (key.as_str(), value));
        let absent = MUST_BE_ABSENT.iter().map(|&key| (key, &Value::Null));
        let differences = wanted.chain(absent).filter_map(|(key, wanted)| {
            let found = existing.get(key).unwrap_or(&Value::Null);
            (!is_same(wanted, found)).then(|| Difference {
                setting: key.to_owned(),
                wanted: wanted.clone(),
                found: found.clone(),
            })
        });
        let mut differences: Vec<_> = differences.collect();
        differences.sort_by(|a, b| a.setting.cmp(&b.setting));
        differences
    }
}

/// Whether two settings are the same to a server, which leaves out what is empty or `false`.
fn is_same(wanted: &Value, found: &Value) -> bool {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => {
            let keys = wanted.keys().chain(found.keys());
            let of = |settings: &Map<String, Value>, key| {
                settings.get(key).cloned().unwrap_or(Value::Null)
            };
            keys.into_iter()
                .all(|key| is_same(&of(wanted, key), &of(found, key)))
        }
        _ => wanted == found || is_left_out(wanted) && is_left_out(found),
    }
}

fn is_left_out(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_u64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(settings) => settings.is_empty(),
    }
}

/// A setting in which a stream that exists differs from what is wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The name of the setting.
    pub setting: String,
    /// What it has to be; null for nothing.
    pub wanted: Value,
    /// What it is; null for nothing.
    pub found: Value,
}

impl fmt::Display for Difference {
    /// Writes for example `max_bytes is 1000 instead of 67108864`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            setting,
            wanted,
            found,
        } = self;
        write!(f, "{setting} is {found} instead of {wanted}")
    }
}

/// What a stream is and holds.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamInfo {
    /// When it was made. Another text is another stream with the same name, and other sequences.
    pub created: String,
    /// The place of the oldest message that is left; one behind the last if there is none.
    pub first_seq: u64,
    /// The place of the last message that was stored; 0 if there was none.
    pub last_seq: u64,
    /// How many messages there are.
    pub messages: u64,
    /// How much they take, in bytes.
    pub bytes: u64,
    /// Its settings, for [`StreamConfig::differences`].
    pub config: Map<String, Value>,
    /// Whether one of its servers leads it. While none does, each tells how far it has got itself, even one that is
    /// cut off from the others.
    pub has_leader: bool,
}

impl StreamInfo {
    /// How many servers keep a copy. With more than one, a stream stands still for some seconds when the
    /// server that leads it is lost.
    pub fn replicas(&self) -> u64 {
        let replicas = self.config.get(REPLICAS).and_then(Value::as_u64);
        replicas.unwrap_or(1)
    }
}

/// Parses the answer to [`create_stream`] or [`stream_info`].
///
/// # Errors
/// The server refuses it, or the answer is malformed.
pub fn parse_stream(answer: &[u8]) -> Result<StreamInfo, ApiError> {
    #[derive(Deserialize)]
    struct Answer {
        created: String,
        state: State,
        config: Map<String, Value>,
        /// A server that is not one of several says nothing of it.
        cluster: Option<Cluster>,
    }
    #[derive(Deserialize)]
    struct Cluster {
        #[serde(default)]
        leader: String,
    }
    #[derive(Deserialize)]
    struct State {
        first_seq: u64,
        last_seq: u64,
        messages: u64,
        bytes: u64,
    }
    let Answer {
        created,
        state,
        config,
        cluster,
    } = parse(answer)?;
    Ok(StreamInfo {
        created,
        first_seq: state.first_seq,
        last_seq: state.last_seq,
        messages: state.messages,
        bytes: state.bytes,
        config,
        has_leader: cluster.is_none_or(|cluster| !cluster.leader.is_empty()),
    })
}

/// The answer to a message that was stored.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PubAck {
    /// The stream.
    pub stream: String,
    /// The place in it.
    pub seq: u64,
    /// Whether it was stored before, under the same id.
    #[serde(default)]
    pub duplicate: bool,
}

/// Parses the answer to a message that was published to a stream.
///
/// # Errors
/// The server refuses it, or the answer is malformed.
pub fn parse_ack(answer: &[u8]) -> Result<PubAck, ApiError> {
    parse(answer)
}

/// Parses the answer to [`delete_message`].
///
/// # Errors
/// The server refuses it, as if the message is not there, or the answer is malformed.
pub fn parse_deleted(answer: &[u8]) -> Result<(), ApiError> {
    #[derive(Deserialize)]
    struct Answer {
        success: bool,
    }
    match parse(answer)? {
        Answer { success: true } => Ok(()),
        Answer { success: false } => Err(ApiError::Malformed("no success, no error".to_owned())),
    }
}

fn parse<'a, T: Deserialize<'a>>(answer: &'a [u8]) -> Result<T, ApiError> {
    #[derive(Deserialize)]
    struct Failure {
        error: RawError,
    }
    #[derive(Deserialize)]
    #[serde(default)]
    #[derive(Default)]
    struct RawError {
        code: u16,
        err_code: u32,
        description: String,
    }
    // An answer that is an error may look like success in its other keys: it is asked for first.
    if let Ok(Failure { error }) = serde_json::from_slice(answer) {
        let RawError {
            code,
            err_code,
            description,
        } = error;
        return Err(ApiError::new(code, err_code, description));
    }
    serde_json::from_slice(answer).map_err(|error| ApiError::Malformed(error.to_string()))
}

/// Why JetStream does not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ApiError {
    /// The stream exists with other settings (10058).
    OtherConfig,
    /// There is no such stream (10059).
    NoStream,
    /// The last message is not where it was expected (10071, and 10164 where another one is just being stored).
    WrongLastSequence {
        /// Where it is, if that is told: with that subject, if it was asked for by subject.
        last: Option<u64>,
    },
    /// Anything else.
    Other {
        /// The kind of error, as HTTP has them.
        code: u16,
        /// The number of the error.
        err_code: u32,
        /// What it is, in words.
        description: String,
    },
    /// The answer was not understood, for this reason.
    Malformed(String),
}

impl ApiError {
    fn new(code: u16, err_code: u32, description: String) -> Self {
        let last = description.strip_prefix("wrong last sequence: ");
        let last = last.and_then(|last| super::number(last.as_bytes()));
        match (err_code, last) {
            (10058, _) => Self::OtherConfig,
            (10059, _) => Self::NoStream,
            (10071 | 10164, last) => Self::WrongLastSequence { last },
            _ => Self::Other {
                code,
                err_code,
                description,
            },
        }
    }

    /// Whether a message was not stored because there is no room for more: in the stream (10077 for several reasons,
    /// of which this is one), for the account (10002), or on the server (10023, 10047).
    pub fn is_full(&self) -> bool {
        match self {
            Self::Other {
                err_code,
                description,
                ..
            } => match err_code {
                10077 => description.starts_with("maximum "),
                _ => matches!(err_code, 10002 | 10023 | 10047),
            },
            _ => false,
        }
    }

    /// Whether there is no message to delete: it was deleted before (10043), or was never there (10057 for several
    /// reasons, of which these are two).
    pub fn is_missing(&self) -> bool {
        match self {
            Self::NoStream => true,
            Self::Other {
                err_code,
                description,
                ..
            } => match err_code {
                10057 => matches!(
                    description.as_str(),
                    "no message found" | "stream store EOF"
                ),
                _ => *err_code == 10043,
            },
            _ => false,
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherConfig => f.write_str("the stream exists with other settings"),
            Self::NoStream => f.write_str("there is no such stream"),
            Self::WrongLastSequence { last: Some(last) } => {
                write!(f, "the last message is at {last}")
            }
            Self::WrongLastSequence { last: None } => f.write_str("the last message is elsewhere"),
            Self::Other {
                code,
                err_code,
                description,
            } => write!(f, "{description} ({code}, {err_code})"),
            Self::Malformed(reason) => write!(f, "the answer is malformed: {reason}"),
        }
    }
}

impl std::error::Error for ApiError {}

/// A message that is stored: one that was republished, or asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'i> {
    /// The stream in which it is stored.
    pub stream: &'i [u8],
    /// Its place in the stream.
    pub sequence: u64,
    /// The place of the one before it with the same subject, where the server tells.
    pub last_sequence: Option<u64>,
    /// The subject to which it was published.
    pub subject: &'i [u8],
    /// What was published, without headers.
    pub payload: &'i [u8],
}

/// Why a message is no [`Entry`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoEntry {
    /// It says that there is no such message (404). A server that is behind the others says so as well.
    NotFound,
    /// It says something else, such as 503.
    Status(u16),
    /// It does not say where it is stored: its headers are those of somebody who publishes malformed ones.
    /// As the answer to a request it shows that there is such a message.
    Malformed,
}

impl<'i> Entry<'i> {
    /// Takes a message that a stream has republished, or the answer to [`get`] or [`get_last`].
    ///
    /// # Errors
    /// It is none.
    pub fn parse(message: &Message<'i>) -> Result<Self, NoEntry> {
        let headers = message.headers().map_err(|_| NoEntry::Malformed)?;
        // Whoever published the message may have given it a status. What the server says of itself has none
        // of these.
        let stream = headers.get(headers::STREAM);
        let subject = headers.get(headers::SUBJECT);
        let sequence = headers.number(headers::SEQUENCE);
        if let (Some(stream), Some(subject), Some(sequence)) = (stream, subject, sequence) {
            return Ok(Self {
                stream,
                sequence,
                last_sequence: headers.number(headers::LAST_SEQUENCE),
                subject,
                payload: message.payload,
            });
        }
        Err(match headers.status().map(|status| status.code) {
            None => NoEntry::Malformed,
            Some(Status::NOT_FOUND) => NoEntry::NotFound,
            Some(code) => NoEntry::Status(code),
        })
    }
}

/// Returns when the message that answers a [`get`] was stored, by the clock of the server that stored it. `None` if the
/// answer does not say.
pub fn stored_at(message: &Message<'_>) -> Option<SystemTime> {
    let headers = message.headers().ok()?;
    let text = str::from_utf8(headers.get(headers::TIME_STAMP)?).ok()?;
    let time: jiff::Timestamp = text.parse().ok()?;
    Some(time.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn room() -> RelayRoom {
        "t".parse().expect("a name")
    }

    fn text(request: &Request) -> (&str, &str) {
        let body = std::str::from_utf8(&request.body).expect("JSON");
        (request.subject.as_str(), body)
    }

    #[test]
    fn a_request_is_a_subject_and_a_body() {
        let stream = StreamName::lines(&room());
        let claim = names::claim(&room(), 0xf);
        for (request, subject, body) in [
            (stream_info(&stream), "$JS.API.STREAM.INFO.LC_t", ""),
            (
                delete_message(&stream, 7),
                "$JS.API.STREAM.MSG.DELETE.LC_t",
                r#"{"no_erase":true,"seq":7}"#,
            ),
            (
                get(&stream, u64::MAX),
                "$JS.API.DIRECT.GET.LC_t",
                r#"{"seq":18446744073709551615}"#,
            ),
            (
                get_last(&StreamName::claims(&room()), &claim),
                "$JS.API.DIRECT.GET.LCN_t",
                r#"{"last_by_subj":"lc.t.nick.0000000000000000000000000000000f"}"#,
            ),
            (
                get_next(&StreamName::claims(&room()), &names::all_claims(&room()), 7),
                "$JS.API.DIRECT.GET.LCN_t",
                r#"{"next_by_subj":"lc.t.nick.*","seq":7}"#,
            ),
        ] {
            assert_eq!(text(&request), (subject, body));
        }
    }

    #[test]
    fn the_streams_of_a_room_are_asked_for_with_every_setting() {
        for (config, subject, own) in [
            (
                StreamConfig::lines(&room(), 3),
                "$JS.API.STREAM.CREATE.LC_t",
                json!({
                    "name": "LC_t", "num_replicas": 3, "discard": "old", "subjects": ["lc.t.in"],
                    "max_msgs_per_subject": -1, "republish": {"src": "lc.t.in", "dest": "lc.t.out"},
                }),
            ),
            (
                StreamConfig::claims(&room(), 1),
                "$JS.API.STREAM.CREATE.LCN_t",
                json!({
                    "name": "LCN_t", "num_replicas": 1, "discard": "new", "subjects": ["lc.t.nick.*"],
                    "max_msgs_per_subject": 1, "republish": null,
                }),
            ),
        ] {
            let mut expected = json!({
                "retention": "limits", "storage": "file", "max_bytes": 67_108_864, "max_msgs": -1,
                "max_age": 0, "max_msg_size": 20480, "max_consumers": -1, "allow_direct": true,
                "no_ack": false, "sealed": false, "deny_delete": false, "deny_purge": false,
                "allow_rollup_hdrs": false,
            });
            let own = own.as_object().expect("an object").clone();
            expected.as_object_mut().expect("an object").extend(own);
            let request = create_stream(&config);
            let body: Value = serde_json::from_slice(&request.body).expect("JSON");
            assert_eq!((request.subject.as_str(), body), (subject, expected));
        }
    }

    /// What nats-server 2.9.10 says of the stream that was asked for, and what another version may: it leaves
    /// out what is `false`, and knows more.
    const CREATED: &str = r#"{"type":"io.nats.jetstream.api.v1.stream_create_response","config":{"name":"LC_t","subjects":["lc.t.in"],"retention":"limits","max_consumers":-1,"max_msgs":-1,"max_bytes":67108864,"max_age":0,"max_msgs_per_subject":-1,"max_msg_size":20480,"discard":"old","storage":"file","num_replicas":1,"duplicate_window":120000000000,"republish":{"src":"lc.t.in","dest":"lc.t.out"},"allow_direct":true,"mirror_direct":false,"sealed":false,"deny_delete":false,"deny_purge":false,"allow_rollup_hdrs":false},"created":"2026-11-27T20:06:01.038257452Z","state":{"messages":3,"bytes":102,"first_seq":2,"first_ts":"0001-01-01T00:00:00Z","last_seq":4,"last_ts":"0001-01-01T00:00:00Z","consumer_count":0},"did_create":true}"#;
    const TERSE: &str = r#"{"type":"io.nats.jetstream.api.v1.stream_info_response","total":0,"offset":0,"limit":0,"config":{"name":"LC_t","subjects":["lc.t.in"],"retention":"limits","max_consumers":-1,"max_msgs":-1,"max_bytes":67108864,"max_age":0,"max_msgs_per_subject":-1,"max_msg_size":20480,"discard":"old","storage":"file","num_replicas":3,"compression":"none","republish":{"src":"lc.t.in","dest":"lc.t.out","headers_only":false},"allow_direct":true,"metadata":{"_nats.level":"2"}},"created":"2026-11-27T20:06:01.038257452Z","state":{"messages":3,"bytes":102,"first_seq":2,"last_seq":4},"cluster":{"name":"C","leader":"a","replicas":[{"name":"b","current":true,"active":5}]},"ts":"2026-11-27T20:06:01.038257452Z"}"#;

    #[test]
    fn a_stream_is_what_was_asked_for_whatever_else_is_said_of_it() {
        for answer in [CREATED, TERSE] {
            let info = parse_stream(answer.as_bytes()).expect("a stream");
            let numbers = (info.first_seq, info.last_seq, info.messages, info.bytes);
            assert_eq!(numbers, (2, 4, 3, 102));
            assert_eq!(info.created, "2026-11-27T20:06:01.038257452Z");
            assert_eq!(info.replicas(), if answer == TERSE { 3 } else { 1 });
            assert!(info.has_leader);
            let wanted = StreamConfig::lines(&room(), 1);
            assert_eq!(wanted.differences(&info.config), [], "{answer}");
        }
    }

    #[test]
    fn a_stream_that_nobody_leads_is_known_by_that() {
        for leader in ["", r#""leader":"","#] {
            let answer = TERSE.replace(r#""leader":"a","#, leader);
            let info = parse_stream(answer.as_bytes()).expect("a stream");
            assert!(!info.has_leader, "{answer}");
        }
    }

    #[test]
    fn each_setting_that_differs_is_named() {
        let found = |change: Value| {
            let mut config = parse_stream(CREATED.as_bytes()).expect("a stream").config;
            config.extend(change.as_object().expect("an object").clone());
            let wanted = StreamConfig::lines(&room(), 1);
            let differences = wanted.differences(&config).into_iter();
            differences.map(|it| it.to_string()).collect::<Vec<_>>()
        };
        for (change, expected) in [
            (
                json!({"num_replicas": 3, "placement": {"tags": ["x"]}, "description": "x"}),
                &[][..],
            ),
            (
                json!({"max_bytes": 1000}),
                &["max_bytes is 1000 instead of 67108864"],
            ),
            (
                json!({"storage": "memory", "allow_direct": false, "max_age": 5}),
                &[
                    "allow_direct is false instead of true",
                    "max_age is 5 instead of 0",
                    r#"storage is "memory" instead of "file""#,
                ],
            ),
            (
                json!({"republish": null}),
                &[r#"republish is null instead of {"dest":"lc.t.out","src":"lc.t.in"}"#],
            ),
            (
                json!({"republish": {"src": "lc.t.in", "dest": "lc.t.out", "headers_only": true}}),
                &[
                    r#"republish is {"dest":"lc.t.out","headers_only":true,"src":"lc.t.in"} instead of {"dest":"lc.t.out","src":"lc.t.in"}"#,
                ],
            ),
            (
                json!({"subjects": ["lc.t.in", "lc.u.in"]}),
                &[r#"subjects is ["lc.t.in","lc.u.in"] instead of ["lc.t.in"]"#],
            ),
            (
                json!({"mirror": {"name": "x"}}),
                &[r#"mirror is {"name":"x"} instead of null"#],
            ),
            (
                json!({"sealed": true}),
                &["sealed is true instead of false"],
            ),
        ] {
            assert_eq!(found(change.clone()), expected, "{change}");
        }
        let lines = parse_stream(CREATED.as_bytes()).expect("a stream").config;
        let differences = StreamConfig::claims(&room(), 1).differences(&lines);
        let settings: Vec<_> = differences.iter().map(|it| it.setting.as_str()).collect();
        let expected = [
            "discard",
            "max_msgs_per_subject",
            "name",
            "republish",
            "subjects",
        ];
        assert_eq!(settings, expected);
    }

    #[test]
    fn a_refusal_says_why() {
        let other = |code, err_code, description: &str| ApiError::Other {
            code,
            err_code,
            description: description.to_owned(),
        };
        for (answer, expected) in [
            (
                r#"{"type":"t","error":{"code":400,"err_code":10058,"description":"stream name already in use with a different configuration"}}"#,
                ApiError::OtherConfig,
            ),
            (
                r#"{"type":"t","error":{"code":404,"err_code":10059,"description":"stream not found"},"total":0,"offset":0,"limit":0}"#,
                ApiError::NoStream,
            ),
            (
                r#"{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 4"},"stream":"LC_t","seq":0}"#,
                ApiError::WrongLastSequence { last: Some(4) },
            ),
            (
                r#"{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: -4"},"stream":"LC_t","seq":0}"#,
                ApiError::WrongLastSequence { last: None },
            ),
            (
                r#"{"error":{"code":400,"err_code":10164,"description":"wrong last sequence"},"stream":"LC_t","seq":0}"#,
                ApiError::WrongLastSequence { last: None },
            ),
            (
                r#"{"error":{"code":500,"err_code":10057,"description":"no message found"}}"#,
                other(500, 10057, "no message found"),
            ),
            (r#"{"error":{}}"#, other(0, 0, "")),
        ] {
            let error = Err(expected);
            assert_eq!(parse_stream(answer.as_bytes()).map(|_| ()), error);
            assert_eq!(parse_ack(answer.as_bytes()).map(|_| ()), error);
            assert_eq!(parse_deleted(answer.as_bytes()), error);
        }
    }

    #[test]
    fn what_is_full_and_what_is_not_there_are_known_by_their_numbers() {
        for (err_code, description, is_full, is_missing) in [
            (10077, "maximum bytes exceeded", true, false),
            (10077, "maximum messages exceeded", true, false),
            (10077, "no space left on device", false, false),
            (10002, "resource limits exceeded for account", true, false),
            (10023, "insufficient resources", true, false),
            (
                10047,
                "insufficient storage resources available",
                true,
                false,
            ),
            (10043, "sequence 3 not found", false, true),
            (10057, "stream store EOF", false, true),
            (10057, "no message found", false, true),
            (10057, "input/output error", false, false),
            (10059, "stream not found", false, true),
            (10071, "wrong last sequence: 4", false, false),
        ] {
            let error = ApiError::new(400, err_code, description.to_owned());
            assert_eq!(
                (error.is_full(), error.is_missing()),
                (is_full, is_missing),
                "{error}"
            );
        }
    }

    #[test]
    fn an_acknowledgement_says_where_a_message_is() {
        let ack = |seq, duplicate| {
            let stream = "LC_t".to_owned();
            PubAck {
                stream,
                seq,
                duplicate,
            }
        };
        for (answer, expected) in [
            (r#"{"stream":"LC_t", "seq":1}"#, ack(1, false)),
            (
                r#"{"stream":"LC_t", "seq":1,"duplicate": true}"#,
                ack(1, true),
            ),
            (
                r#"{"stream":"LC_t","domain":"d","error":null, "seq":9}"#,
                ack(9, false),
            ),
        ] {
            assert_eq!(parse_ack(answer.as_bytes()), Ok(expected));
        }
        let deleted =
            br#"{"type":"io.nats.jetstream.api.v1.stream_msg_delete_response","success":true}"#;
        assert_eq!(parse_deleted(deleted), Ok(()));
    }

    #[test]
    fn an_answer_that_is_none_is_malformed() {
        let deep = "[".repeat(32 << 10);
        for answer in [
            "",
            "null",
            "[]",
            "{}",
            "{",
            "\u{ff}",
            r#"{"success":false}"#,
            r#"{"seq":-1}"#,
            &deep,
        ] {
            let answer = answer.as_bytes();
            assert!(matches!(parse_stream(answer), Err(ApiError::Malformed(_))));
            assert!(matches!(parse_ack(answer), Err(ApiError::Malformed(_))));
            assert!(matches!(parse_deleted(answer), Err(ApiError::Malformed(_))));
        }
        // Deeper than the recursion limit of the parser of JSON.
        let deep = format!(r#"{{"config":{{"a":{deep}"#);
        assert!(matches!(
            parse_stream(deep.as_bytes()),
            Err(ApiError::Malformed(_))
        ));
    }

    #[test]
    fn an_entry_is_where_the_server_says_and_nobody_else() {
        let entry = |sequence, last_sequence| {
            Ok(Entry {
                stream: b"LC_t",
                sequence,
                last_sequence,
                subject: b"lc.t.in",
                payload: b"hi",
            })
        };
        for (header_block, expected) in [
            (
                "NATS/1.0\r\nNats-Stream: LC_t\r\nNats-Subject: lc.t.in\r\nNats-Sequence: 1\r\nNats-Last-Sequence: 0\r\n\r\n",
                entry(1, Some(0)),
            ),
            (
                "NATS/1.0\r\nNats-Stream: LC_t\r\nNats-Subject: lc.t.in\r\nNats-Sequence: 2\r\nNats-Time-Stamp: 2026-11-27T20:06:02.24385344Z\r\n\r\n",
                entry(2, None),
            ),
            // Whoever published it has said something else before.
            (
                "NATS/1.0 404 Message Not Found\r\nNats-Sequence: 99\r\nNats-Subject: forged\r\nNats-Stream: LC_t\r\nNats-Subject: lc.t.in\r\nNats-Sequence: 2\r\nNats-Last-Sequence: 1\r\n\r\n",
                entry(2, Some(1)),
            ),
            (
                "NATS/1.0 404 Message Not Found\r\n\r\n",
                Err(NoEntry::NotFound),
            ),
            (
                "NATS/1.0 408 Empty Request\r\n\r\n",
                Err(NoEntry::Status(408)),
            ),
            ("NATS/1.0 503\r\n\r\n", Err(NoEntry::Status(503))),
            (
                "NATS/1.0\r\nNats-Stream: LC_t\r\nNats-Subject: lc.t.in\r\nNats-Sequence: -1\r\n\r\n",
                Err(NoEntry::Malformed),
            ),
            (
                "NATS/1.0\r\nnats-sequence: 1\r\n\r\n",
                Err(NoEntry::Malformed),
            ),
            ("", Err(NoEntry::Malformed)),
            (
                "abcNats-Stream: LC_t\r\nNats-Subject: lc.t.in\r\nNats-Sequence: 2\r\n\r\n",
                Err(NoEntry::Malformed),
            ),
        ] {
            let message = Message {
                subject: b"lc.t.out",
                sid: 1,
                reply: None,
                header_block: header_block.as_bytes(),
                payload: b"hi",
            };
            assert_eq!(Entry::parse(&message), expected, "{header_block}");
        }
    }

    #[test]
    fn an_entry_that_was_asked_for_says_when_it_was_stored() {
        let time = |value: &str| {
            let header_block =
                format!("NATS/1.0\r\nNats-Sequence: 2\r\nNats-Time-Stamp: {value}\r\n\r\n");
            stored_at(&Message {
                subject: b"_INBOX",
                sid: 1,
                reply: None,
                header_block: header_block.as_bytes(),
                payload: b"hi",
            })
        };
        let stored = SystemTime::UNIX_EPOCH + Duration::new(1_764_273_962, 243_853_440);
        assert_eq!(time("2025-11-27T20:06:02.24385344Z"), Some(stored));
        for malformed in ["", "yesterday", "2025-11-27", "2025-11-27T20:06:02"] {
            assert_eq!(time(malformed), None, "{malformed}");
        }
    }
}
