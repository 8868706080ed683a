//! line-chat's codec and the official client talk to one server, and see the same.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::Duration;

use async_nats::jetstream::context::{CreateStreamErrorKind, PublishErrorKind};
use async_nats::jetstream::stream::{Config, DiscardPolicy, Republish, StorageType};
use async_nats::jetstream::stream::{DeleteMessageErrorKind, DirectGetErrorKind, Stream};
use async_nats::jetstream::{self, ErrorCode};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerError};
use async_nats::{HeaderMap, HeaderValue, Subscriber};
use futures_util::StreamExt;
use line_chat::RelayRoom;
use line_chat::protocol::nats::decode::ServerErrorKind;
use line_chat::protocol::nats::encode::{self, Header};
use line_chat::protocol::nats::jetstream as ours;
use line_chat::protocol::nats::jetstream::{ApiError, Entry, NoEntry, StreamConfig};
use line_chat::protocol::nats::names::{self, StreamName};
use line_chat::protocol::nats::{Info, Subject};
use line_chat_oracle::{DEADLINE, Link, Owned, Seen, Server, fields, run};

/// Begins a test with a server, or ends it where there is none.
macro_rules! server {
    ($config:expr) => {
        match Server::start($config) {
            Some(server) => server,
            None => return,
        }
    };
}

fn subject(text: &str) -> Subject {
    text.parse().expect("a subject")
}

fn room() -> RelayRoom {
    "t".parse().expect("a name")
}

async fn official(server: &Server) -> Client {
    let client = server.official(ConnectOptions::new()).await;
    client.expect("it lets in everybody")
}

async fn listen(client: &Client, filter: &str) -> Subscriber {
    let subscriber = client.subscribe(filter.to_owned()).await;
    client.flush().await.expect("it is connected");
    subscriber.expect("a subscription")
}

async fn next(subscriber: &mut Subscriber) -> Seen {
    let message = tokio::time::timeout(DEADLINE, subscriber.next()).await;
    Seen::from(&message.expect("in time").expect("a message"))
}

/// The next thing that happened to the official client.
async fn next_event(heard: &mpsc::Receiver<Event>) -> Event {
    loop {
        match heard.try_recv() {
            Ok(event) => return event,
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

/// Messages: subject, reply, headers, payload.
type Sent = (
    &'static str,
    Option<&'static str>,
    Vec<(&'static str, &'static str)>,
    Vec<u8>,
);

fn messages() -> Vec<Sent> {
    let every_byte = (0..=255).collect();
    vec![
        ("t.a", None, vec![], b"hello".to_vec()),
        ("t.a", Some("_INBOX.1"), vec![], b"".to_vec()),
        (
            "t.\u{e9}.$x",
            None,
            vec![],
            b"\r\nMSG t.a 1 0\r\n\r\n".to_vec(),
        ),
        ("t.b", None, vec![("X", "1")], every_byte),
        (
            "t.b",
            Some("r.s"),
            vec![("X", "1"), ("x", "2"), ("X", "3: \u{e9}")],
            b"".to_vec(),
        ),
        ("t.c", None, vec![("Nats-Sequence", "")], b"\r\n".to_vec()),
        ("t.c", None, vec![], vec![b'x'; 32 << 10]),
        (
            "t.c",
            Some("r"),
            vec![("A", "b")],
            vec![b'\n'; (32 << 10) - 20],
        ),
    ]
}

fn seen((subject, reply, headers, payload): &Sent) -> Seen {
    let mut fields = BTreeMap::<_, Vec<_>>::new();
    for (key, value) in headers {
        fields
            .entry((*key).to_owned())
            .or_default()
            .push((*value).to_owned());
    }
    Seen {
        subject: (*subject).to_owned(),
        reply: reply.map(str::to_owned),
        status: None,
        headers: fields,
        payload: payload.clone(),
    }
}

fn publish(link: &mut Link, (to, reply, headers, payload): &Sent) {
    let (to, reply) = (subject(to), reply.map(subject));
    let headers = headers.iter().map(|(name, value)| Header::new(name, value));
    let headers: Vec<_> = headers.map(|it| it.expect("a header")).collect();
    link.send(|out| match headers.is_empty() {
        true => encode::publish(out, &to, reply.as_ref(), payload),
        false => encode::publish_with_headers(out, &to, reply.as_ref(), &headers, payload),
    });
}

async fn publish_officially(client: &Client, (to, reply, headers, payload): &Sent) {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, *value);
    }
    let (to, payload) = ((*to).to_owned(), payload.clone().into());
    let sent = match (*reply, headers.is_empty()) {
        (None, true) => client.publish(to, payload).await,
        (None, false) => client.publish_with_headers(to, map, payload).await,
        (Some(reply), true) => client.publish_with_reply(to, reply, payload).await,
        (Some(reply), false) => {
            let sent = client.publish_with_reply_and_headers(to, reply, map, payload);
            sent.await
        }
    };
    sent.expect("it is connected");
}

#[test]
fn both_see_what_either_publishes() {
    let server = server!("");
    run(async {
        let client = official(&server).await;
        let mut theirs = listen(&client, "t.>").await;
        let mut link = Link::connect(&server, "").expect("it lets in everybody");
        link.subscribe("t.>", 1);
        let messages = messages();
        for message in &messages {
            publish(&mut link, message);
            let expected = seen(message);
            assert_eq!(Seen::from(&link.message()), expected, "ours, seen by us");
            assert_eq!(next(&mut theirs).await, expected, "ours, seen by them");
        }
        for message in &messages {
            publish_officially(&client, message).await;
            client.flush().await.expect("it is connected");
            let expected = seen(message);
            assert_eq!(Seen::from(&link.message()), expected, "theirs, seen by us");
            assert_eq!(next(&mut theirs).await, expected, "theirs, seen by them");
        }
    });
}

#[test]
fn both_read_odd_headers_alike() {
    let server = server!("");
    run(async {
        let client = official(&server).await;
        let mut theirs = listen(&client, "t").await;
        let mut link = Link::connect(&server, "").expect("it lets in everybody");
        link.subscribe("t", 1);
        for block in [
            "NATS/1.0\r\nA:1\r\nB: \t 2\t \r\nC:\r\n\r\n",
            "NATS/1.0  503  No  Responders \r\n\r\n",
            "NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 5\r\n\r\n",
            "NATS/1.0 \r\nA: b:c\r\n\r\n",
        ] {
            let frame = format!("HPUB t {0} {0}\r\n{block}\r\n", block.len());
            link.send(|out| out.extend_from_slice(frame.as_bytes()));
            let expected = next(&mut theirs).await;
            assert_eq!(Seen::from(&link.message()), expected, "{block:?}");
        }
    });
}

#[test]
fn both_are_told_that_nobody_listens() {
    let server = server!("");
    run(async {
        let client = official(&server).await;
        let mut link = Link::connect(&server, "").expect("it lets in everybody");
        let nowhere = subject("nowhere");
        let ours = link.ask(|out, inbox| encode::publish(out, &nowhere, Some(inbox), b"x"));
        let mut theirs = listen(&client, "inbox").await;
        let asked = client
            .publish_with_reply("nowhere", "inbox", "x".into())
            .await;
        asked.expect("it is connected");
        let theirs = next(&mut theirs).await;
        let ours = Seen {
            subject: "inbox".to_owned(),
            ..Seen::from(&ours)
        };
        assert_eq!(ours, theirs);
        assert_eq!(ours.status, Some((503, String::new())));
    });
}

fn assert_same_info(ours: &Info, theirs: &async_nats::ServerInfo) {
    assert_eq!(ours.server_id, theirs.server_id);
    assert_eq!(ours.server_name, theirs.server_name);
    assert_eq!(ours.version, theirs.version);
    assert_eq!(ours.max_payload, theirs.max_payload as u64);
    assert_eq!(ours.headers, theirs.headers);
    assert_eq!(ours.jetstream, theirs.jetstream);
    assert_eq!(ours.auth_required, theirs.auth_required);
    assert_eq!(ours.tls_required, theirs.tls_required);
    assert_eq!(ours.nonce.clone().unwrap_or_default(), theirs.nonce);
    assert_eq!(ours.connect_urls, theirs.connect_urls);
    assert_eq!(ours.ldm, theirs.lame_duck_mode);
    assert_eq!(ours.cluster, theirs.cluster);
}

#[test]
fn both_read_the_same_info() {
    let with_token = "max_payload: 1024\nauthorization { token: \"t\" }";
    for (config, user) in [("", ""), (with_token, "t@")] {
        let server = server!(config);
        run(async {
            let options = match user {
                "" => ConnectOptions::new(),
                _ => ConnectOptions::with_token("t".to_owned()),
            };
            let client = server.official(options).await;
            let client = client.expect("it lets in who knows the token");
            let link = Link::connect(&server, user).expect("it lets in who knows the token");
            assert_same_info(&link.info, &client.server_info());
            assert_eq!(link.info.auth_required, !user.is_empty());
            assert_eq!(link.info.literal_addrs().count(), 0);
        });
    }
}

#[test]
fn both_read_where_the_others_of_a_cluster_are() {
    let member = |name: &str, routes: &str| {
        let listen = "listen: \"127.0.0.1:-1\"";
        format!("server_name: {name}\njetstream: false\ncluster {{ name: C\n{listen}\n{routes} }}")
    };
    let one = server!(&member("one", ""));
    let mut link = Link::connect(&one, "").expect("it lets in everybody");
    let routes = format!("routes: [\"nats://{}\"]", one.cluster_addr());
    let other = server!(&member("other", &routes));
    // The server tells when the other one has come.
    let mut info = link.info.clone();
    while info.connect_urls.len() < 2 {
        let Owned::Info(next) = link.frame() else {
            panic!("an INFO comes");
        };
        info = next;
    }
    let mut addrs: Vec<_> = info.literal_addrs().collect();
    addrs.sort();
    let mut expected = [one.addr(), other.addr()];
    expected.sort();
    assert_eq!(addrs, expected);
    run(async {
        let client = official(&one).await;
        let link = Link::connect(&one, "").expect("it lets in everybody");
        assert_same_info(&link.info, &client.server_info());
        assert_eq!(link.info.cluster.as_deref(), Some("C"));
        assert_eq!(link.info.connect_urls.len(), 2);
    });
}

#[test]
fn both_are_asked_to_go_elsewhere() {
    let server = server!("lame_duck_grace_period: \"1s\"\nlame_duck_duration: \"30s\"");
    run(async {
        let (events, heard) = mpsc::channel();
        let options = ConnectOptions::new().event_callback(move |event| {
            let _ = events.send(event);
            async {}
        });
        let _client = server
            .official(options)
            .await
            .expect("it lets in everybody");
        let mut link = Link::connect(&server, "").expect("it lets in everybody");
        assert!(!link.info.ldm);
        server.begin_lame_duck_mode();
        let Owned::Info(info) = link.frame() else {
            panic!("an INFO comes");
        };
        assert!(info.ldm);
        while next_event(&heard).await != Event::LameDuckMode {}
    });
}

/// The stream of what is said, as the official client asks for it.
fn lines_officially() -> Config {
    Config {
        name: "LC_t".to_owned(),
        subjects: vec!["lc.t.in".to_owned()],
        max_bytes: 64 << 20,
        max_messages: -1,
        max_messages_per_subject: -1,
        max_consumers: -1,
        max_message_size: 20 << 10,
        num_replicas: 1,
        discard: DiscardPolicy::Old,
        storage: StorageType::File,
        allow_direct: true,
        republish: Some(Republish {
            source: "lc.t.in".to_owned(),
            destination: "lc.t.out".to_owned(),
            headers_only: false,
        }),
        ..Config::default()
    }
}

/// The stream of the nicks that are claimed, likewise.
fn claims_officially() -> Config {
    Config {
        name: "LCN_t".to_owned(),
        subjects: vec!["lc.t.nick.*".to_owned()],
        max_messages_per_subject: 1,
        discard: DiscardPolicy::New,
        republish: None,
        ..lines_officially()
    }
}

#[test]
fn both_make_the_same_streams() {
    let server = server!("");
    run(async {
        let context = jetstream::new(official(&server).await);
        let mut link = Link::connect(&server, "").expect("it lets in everybody");
        for (config, officially) in [
            (StreamConfig::lines(&room(), 1), lines_officially()),
            (StreamConfig::claims(&room(), 1), claims_officially()),
        ] {
            let name = config.name().as_str();
            let none = link.request(&ours::stream_info(config.name()));
            assert_eq!(ours::parse_stream(&none.payload), Err(ApiError::NoStream));
            let made = link.request(&ours::create_stream(&config));
            let made = ours::parse_stream(&made.payload).expect("a new stream");
            assert_eq!(config.differences(&made.config), []);

            // To the server, what they ask for is the same stream.
            let stream = context
                .create_stream(officially.clone())
                .await
                .expect("the same stream");
            let theirs = &stream.cached_info();
            assert_eq!(theirs.state.first_sequence, made.first_seq);
            assert_eq!(theirs.state.last_sequence, made.last_seq);
            let same = link.request(&ours::create_stream(&config));
            assert_eq!(ours::parse_stream(&same.payload), Ok(made.clone()));
            let info = link.request(&ours::stream_info(config.name()));
            assert_eq!(ours::parse_stream(&info.payload), Ok(made.clone()));

            // And the other way round, made anew.
            context.delete_stream(name).await.expect("it is there");
            context
                .create_stream(officially)
                .await
                .expect("a new stream");
            let again = link.request(&ours::create_stream(&config));
            let again = ours::parse_stream(&again.payload).expect("the same stream");
            assert_eq!(config.differences(&again.config), []);
            assert_ne!(again.created, made.created, "another stream");
        }
    });
}

#[test]
fn both_are_refused_a_stream_with_other_settings() {
    let server = server!("");
    run(async {
        let context = jetstream::new(official(&server).await);
        let mut link = Link::connect(&server, "").expect("it lets in everybody");
        let other = Config {
            max_bytes: 1 << 20,
            storage: StorageType::Memory,
            ..lines_officially()
        };
        context.create_stream(other).await.expect("a new stream");
        let wanted = StreamConfig::lines(&room(), 1);
        let ours = link.request(&ours::create_stream(&wanted));
        assert_eq!(
            ours::parse_stream(&ours.payload),
            Err(ApiError::OtherConfig)
        );
        let theirs = context.create_stream(lines_officially()).await;
        let theirs = theirs.expect_err("it is another").kind();
        let CreateStreamErrorKind::JetStream(error) = theirs else {
            panic!("{theirs:?}");
        };
        assert_eq!(error.error_code(), ErrorCode::STREAM_NAME_EXIST);

        let info = link.request(&ours::stream_info(wanted.name()));
        let info = ours::parse_stream(&info.payload).expect("a stream");
        let differences = wanted.differences(&info.config).into_iter();
        let differences: Vec<_> = differences.map(|it| it.to_string()).collect();
        let expected = [
            "max_bytes is 1048576 instead of 67108864",
            r#"storage is "memory" instead of "file""#,
        ];
        assert_eq!(differences, expected);
    });
}

/// Both streams, by us; and the first one as they see it.
async fn streams(link: &mut Link, client: Client) -> Stream {
    for config in [
        StreamConfig::lines(&room(), 1),
        StreamConfig::claims(&room(), 1),
    ] {
        let made = link.request(&ours::create_stream(&config));
        ours::parse_stream(&made.payload).expect("a new stream");
    }
    let stream = jetstream::new(client).get_stream("LC_t").await;
    stream.expect("it was made")
}

#[test]
fn both_see_what_is_stored() {
    let server = server!("");
    run(async {
        let client = official(&server).await;
        let mut link = Link::connect(&server, "").expect("it lets in everybody");
        let stream = streams(&mut link, client.clone()).await;
        let name = StreamName::lines(&room());
        let mut theirs = listen(&client, "lc.t.out").await;
        link.subscribe(names::lines_out(&room()).as_str(), 1);
        let headers = [Header::new("X", "y").expect("a header")];
        for sequence in 1..=20_u64 {
            let payload = format!("line {sequence}\r\n").repeat(sequence as usize);
            let to = names::lines_in(&room());
            match sequence % 3 {
                0 => link.send(|out| encode::publish(out, &to, None, payload.as_bytes())),
                1 => link.send(|out| {
                    encode::publish_with_headers(out, &to, None, &headers, payload.as_bytes());
                }),
                _ => {
                    let sent = client.publish(to.to_string(), payload.clone().into()).await;
                    sent.expect("it is connected");
                    client.flush().await.expect("it is connected");
                }
            }
            let republished = link.message();
            assert_eq!(Seen::from(&republished), next(&mut theirs).await);
            let live = Entry {
                stream: b"LC_t",
                sequence,
                last_sequence: Some(sequence - 1),
                subject: b"lc.t.in",
                payload: payload.as_bytes(),
            };
            assert_eq!(Entry::parse(&republished.message()), Ok(live));

            let stored = Entry {
                last_sequence: None,
                ..live
            };
            let fetched = link.request(&ours::get(&name, sequence));
            assert_eq!(Entry::parse(&fetched.message()), Ok(stored));
            let last = link.request(&ours::get_last(&name, &to));
            assert_eq!(Entry::parse(&last.message()), Ok(stored));
            let official = stream.direct_get(sequence).await.expect("it is stored");
            assert_eq!(official.sequence, sequence);
            assert_eq!(official.subject.as_str(), "lc.t.in");
            assert_eq!(official.payload, payload.as_bytes());
            assert_eq!(fields(&official.headers), Seen::from(&fetched).headers);
        }
        let info = link.request(&ours::stream_info(&name));
        let info = ours::parse_stream(&info.payload).expect("a stream");
        let official = stream.get_info().await.expect("a stream").state;
        assert_eq!((info.first_seq, info.last_seq, info.messages), (1, 20, 20));
        assert_eq!(info.first_seq, official.first_sequence);
        assert_eq!(info.last_seq, official.last_sequence);
        assert_eq!(info.messages, official.messages);
        assert_eq!(info.bytes, official.bytes);
    });
}

#[test]
fn both_are_told_what_is_not_there() {
    let server = server!("");
    run(async {
        let client = official(&server).await;
        let mut link = Link::connect(&server, "").expect("it lets in everybody");
        let stream = streams(&mut link, client.clone()).await;
        let name = StreamName::lines(&room());
        let to = names::lines_in(&room());
        for sequence in 1..=2 {
            let ack = link.ask(|out, inbox| encode::publish(out, &to, Some(inbox), b"x"));
            let ack = ours::parse_ack(&ack.payload).expect("it is stored");
            assert_eq!(
                (ack.stream.as_str(), ack.seq, ack.duplicate),
                ("LC_t", sequence, false)
            );
        }

        let deleted = link.request(&ours::delete_message(&name, 1));
        assert_eq!(ours::parse_deleted(&deleted.payload), Ok(()));
        let again = link.request(&ours::delete_message(&name, 1));
        let Err(ApiError::Other { code, err_code, .. }) = ours::parse_deleted(&again.payload)
        else {
            panic!("{again:?}");
        };
        let theirs = stream
            .delete_message(1)
            .await
            .expect_err("it is gone")
            .kind();
        let DeleteMessageErrorKind::JetStream(error) = theirs else {
            panic!("{theirs:?}");
        };
        assert_eq!((usize::from(code), err_code), (error.code(), 10057));
        let again = ours::parse_deleted(&again.payload).map_err(|it| it.is_missing());
        assert_eq!(again, Err(true));
        assert_eq!(error.error_code(), ErrorCode::STREAM_MESSAGE_DELETE_FAILED);

        for sequence in [1, 3, u64::MAX] {
            let ours = link.request(&ours::get(&name, sequence));
            assert_eq!(
                Entry::parse(&ours.message()),
                Err(NoEntry::NotFound),
                "{sequence}"
            );
            let theirs = stream
                .direct_get(sequence)
                .await
                .expect_err("it is not there");
            assert_eq!(theirs.kind(), DirectGetErrorKind::NotFound, "{sequence}");
        }
        let claims = StreamName::claims(&room());
        let ours = link.request(&ours::get_last(&claims, &names::claim(&room(), 1)));
        assert_eq!(Entry::parse(&ours.message()), Err(NoEntry::NotFound));
    });
}

#[test]
fn a_claim_is_had_once_by_either() {
    let server = server!("");
    run(async {
        let client = official(&server).await;
        let context = jetstream::new(client.clone());
        let mut link = Link::connect(&server, "").expect("it lets in everybody");
        let _ = streams(&mut link, client).await;
        let name = StreamName::claims(&room());
        let claim = names::claim(&room(), 0xabc);
        let new = [Header::expected_last_subject_sequence(0)];
        let mut ask = |headers: &[Header<'_>]| {
            link.ask(|out, inbox| {
                encode::publish_with_headers(out, &claim, Some(inbox), headers, b"us");
            })
        };
        let first = ours::parse_ack(&ask(&new).payload).expect("it is free");
        let taken = ours::parse_ack(&ask(&new).payload);
        let last = Some(first.seq);
        assert_eq!(taken, Err(ApiError::WrongLastSequence { last }));
        let theirs = || async {
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Expected-Last-Subject-Sequence", HeaderValue::from(0));
            let sent = context.publish_with_headers(claim.to_string(), headers, "they".into());
            sent.await.expect("it is sent").await
        };
        let refused = theirs().await.expect_err("it is taken");
        assert_eq!(refused.kind(), PublishErrorKind::WrongLastSequence);

        // On top of the one that holds it, and anew after that is deleted.
        let on_top = [Header::expected_last_subject_sequence(first.seq)];
        let second = ours::parse_ack(&ask(&on_top).payload).expect("it is the last");
        let deleted = link.request(&ours::delete_message(&name, second.seq));
        assert_eq!(ours::parse_deleted(&deleted.payload), Ok(()));
        let third = theirs().await.expect("it is free again");
        let holder = link.request(&ours::get_last(&name, &claim));
        let holder = holder.message();
        let holder = Entry::parse(&holder).expect("there is one");
        assert_eq!(
            (holder.sequence, holder.payload),
            (third.sequence, &b"they"[..])
        );
        assert_eq!(holder.subject, claim.as_str().as_bytes());
    });
}

#[test]
fn nobody_forges_where_a_message_is_stored() {
    let server = server!("");
    run(async {
        let mut link = Link::connect(&server, "").expect("it lets in everybody");
        let _ = streams(&mut link, official(&server).await).await;
        link.subscribe("lc.t.out", 1);
        let block = "NATS/1.0 404 Message Not Found\r\nNats-Stream: forged\r\nNats-Subject: forged\r\n\
            Nats-Sequence: 99\r\nNats-Last-Sequence: 98\r\n\r\n";
        let frame = format!(
            "HPUB lc.t.in {} {}\r\n{block}hi\r\n",
            block.len(),
            block.len() + 2
        );
        link.send(|out| out.extend_from_slice(frame.as_bytes()));
        let live = Entry {
            stream: b"LC_t",
            sequence: 1,
            last_sequence: Some(0),
            subject: b"lc.t.in",
            payload: b"hi",
        };
        assert_eq!(Entry::parse(&link.message().message()), Ok(live));
        let fetched = link.request(&ours::get(&StreamName::lines(&room()), 1));
        let fetched = Entry::parse(&fetched.message()).map(|entry| entry.sequence);
        assert_eq!(fetched, Ok(1));
    });
}

#[test]
fn both_are_told_what_they_may_not() {
    let server = server!(
        "authorization { users: [ { user: a, password: \"p@ss/%\",\n\
         permissions: { publish: [\"ok.>\"], subscribe: [\"ok.>\", \"_INBOX.>\"] } } ] }"
    );
    run(async {
        let (events, heard) = mpsc::channel();
        let options = ConnectOptions::with_user_and_password("a".to_owned(), "p@ss/%".to_owned());
        let options = options.event_callback(move |event| {
            let _ = events.send(event);
            async {}
        });
        let client = server
            .official(options)
            .await
            .expect("it knows the password");
        let mut link = Link::connect(&server, "a:p%40ss%2F%25@").expect("it knows the password");
        let forbidden = subject("no.way");
        link.send(|out| encode::publish(out, &forbidden, None, b"x"));
        link.send(|out| encode::subscribe(out, &"no.*".parse().expect("a filter"), 3));
        let mut texts = Vec::new();
        for _ in 0..2 {
            let Owned::Error(text, ServerErrorKind::Permissions) = link.frame() else {
                panic!("an -ERR about permissions");
            };
            texts.push(text);
        }
        assert_eq!(texts[0], "Permissions Violation for Publish to \"no.way\"");
        assert_eq!(
            texts[1],
            "Permissions Violation for Subscription to \"no.*\""
        );
        link.flush();

        client
            .publish("no.way", "x".into())
            .await
            .expect("it is connected");
        let subscription = client.subscribe("no.*").await.expect("it is connected");
        client.flush().await.expect("it is connected");
        let mut theirs = Vec::new();
        while theirs.len() < 2 {
            if let Event::ServerError(ServerError::Other(text)) = next_event(&heard).await {
                theirs.push(text);
            }
        }
        drop(subscription);
        assert_eq!(texts, theirs);
    });
}

#[test]
fn neither_is_let_in_with_a_wrong_password() {
    let server = server!("authorization { user: a, password: secret }");
    run(async {
        for user in ["", "a:wrong@", "b:secret@", "secret@"] {
            let refused = Link::connect(&server, user).expect_err("it is wrong");
            let expected = "Authorization Violation".to_owned();
            let expected = (expected, ServerErrorKind::Authorization);
            assert_eq!(refused, expected, "{user}");
        }
        let wrong = ConnectOptions::with_user_and_password("a".to_owned(), "wrong".to_owned());
        let refused = server.official(wrong).await.expect_err("it is wrong");
        assert_eq!(refused.kind(), ConnectErrorKind::AuthorizationViolation);
        Link::connect(&server, "a:secret@").expect("it is right");
    });
}

#[test]
fn the_server_closes_what_is_too_long_for_it() {
    let server = server!("max_payload: 1024");
    let mut link = Link::connect(&server, "").expect("it lets in everybody");
    assert_eq!(link.info.max_payload, 1024);
    let to = subject("t");
    link.send(|out| encode::publish(out, &to, None, &[b'x'; 1024]));
    link.flush();
    link.send(|out| encode::publish(out, &to, None, &[b'x'; 1025]));
    let expected = Owned::Error(
        "Maximum Payload Violation".to_owned(),
        ServerErrorKind::Other,
    );
    assert_eq!((link.frame(), link.frame()), (expected, Owned::Closed));

    let mut link = Link::connect(&server, "").expect("it lets in everybody");
    let longest = subject(&"x".repeat(1024));
    link.send(|out| encode::publish(out, &longest, Some(&longest), b"x"));
    link.flush();
    link.send(|out| out.extend(format!("PUB {} 0\r\n\r\n", "x".repeat(5000)).bytes()));
    let expected = "maximum control line exceeded".to_owned();
    let expected = Owned::Error(expected, ServerErrorKind::Other);
    assert_eq!((link.frame(), link.frame()), (expected, Owned::Closed));
}
