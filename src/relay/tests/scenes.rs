//! One thing at a time: one server, whose engine is the test itself.

use std::time::Duration;

use super::engine::{Request, Wire};
use crate::protocol::relay_batch::{Batch, BatchWriter, Header, Kind, NodeId};
use crate::relay::{Entry, Event, Heard, LogInfo, Phase, Relay, Room, Said, Times};
use crate::time::moment::Moment;

const OWN: NodeId = NodeId(0xa);
const OTHER: NodeId = NodeId(0xb);
const FRESH: NodeId = NodeId(0xf);

/// A server, a log and a clock.
struct Scene {
    relay: Relay,
    now: Moment,
    log: Vec<Vec<u8>>,
    /// Its first entry that is still there.
    first: u64,
    has_leader: bool,
    created: &'static str,
    replicas: u8,
    /// How many of the last entries it does not say to hold.
    hidden: u64,
    /// What was published and not yet stored.
    published: Vec<Vec<u8>>,
    told: Journal,
}

#[derive(Default)]
struct Journal(Vec<String>);

impl Room for Journal {
    fn on_event(&mut self, event: Event<'_>) {
        self.0.push(match event {
            Event::Line { line, is_late, .. } if is_late => format!("late {}", line.text),
            Event::Line { line, .. } => line.text.to_owned(),
            Event::NewNode {
                node, was: None, ..
            } => format!("new {:x}", node.0),
            Event::NewNode {
                node,
                was: Some(was),
                ..
            } => format!("new {:x} was {:x}", node.0, was.0),
            Event::Gone { node } => format!("gone {:x}", node.0),
            Event::Lost { lines } => format!("lost {lines}"),
            Event::Split => "split".to_owned(),
            Event::HereOnly { line } => format!("here {}", line.text),
            Event::Started => "started".to_owned(),
            Event::Back { unheard } => format!("back {unheard}"),
        });
    }
}

impl Scene {
    /// A server that is up.
    fn up() -> Self {
        Self::up_with(1)
    }

    /// A server that is up, and whose log has this many copies.
    fn up_with(replicas: u8) -> Self {
        let mut scene = Self::closed();
        scene.replicas = replicas;
        scene.open();
        scene.store();
        assert_eq!(scene.relay.phase(), Phase::Up);
        assert_eq!(scene.told(), ["started", "new a"]);
        scene
    }

    fn closed() -> Self {
        let mut scene = Self {
            relay: Relay::new(Times::default(), OWN),
            now: Moment::BEGINNING,
            log: Vec::new(),
            first: 1,
            has_leader: true,
            created: "1",
            replicas: 1,
            hidden: 0,
            published: Vec::new(),
            told: Journal::default(),
        };
        scene.wait(0);
        scene
    }

    fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told.0)
    }

    fn call(&mut self, call: impl FnOnce(&mut Relay, Moment, &mut Wire, &mut Journal)) {
        let mut wire = Wire::default();
        call(&mut self.relay, self.now, &mut wire, &mut self.told);
        self.relay.flush(self.now, &mut wire);
        for request in wire.0 {
            match request {
                Request::Publish(batch, _) => self.published.push(batch),
                Request::Fetch(sequence) => self.fetch(sequence),
                Request::Info if self.has_leader => self.hear(Heard::Info(self.info())),
                Request::Info | Request::Open => {}
            }
        }
    }

    fn fetch(&mut self, sequence: u64) {
        if sequence < self.first {
            self.hear(Heard::Missing { sequence });
            return;
        }
        let at = usize::try_from(sequence - 1).expect("a place");
        let payload = self.log[at].clone();
        self.hear(Heard::Fetched(Entry {
            sequence,
            payload: &payload,
            stored_at: Moment::BEGINNING,
        }));
    }

    fn hear(&mut self, heard: Heard<'_>) {
        self.call(|relay, now, wire, room| relay.on_heard(heard, now, wire, room));
    }

    fn info(&self) -> LogInfo {
        LogInfo {
            created: self.created.to_owned(),
            first: self.first,
            last: self.log.len() as u64 - self.hidden,
            replicas: self.replicas,
        }
    }

    fn open(&mut self) {
        let info = self.info();
        self.call(|relay, now, wire, room| relay.on_open(info, FRESH, now, wire, room));
    }

    fn close(&mut self) {
        self.call(|relay, now, _, _| relay.on_closed(now));
    }

    fn say(&mut self, text: &str) -> Said {
        let mut said = Said::Waits;
        self.call(|relay, _, _, _| said = relay.say(1, Kind::Say, text));
        said
    }

    /// Stores what was published, and says so.
    fn store(&mut self) {
        while !self.published.is_empty() {
            let batch = self.published.remove(0);
            self.add(&batch);
        }
    }

    fn add(&mut self, payload: &[u8]) {
        self.log.push(payload.to_vec());
        let sequence = self.log.len() as u64;
        self.hear(Heard::Entry { sequence, payload });
    }

    /// Time passes, in which everything that is due is done.
    fn wait(&mut self, milliseconds: u64) {
        let end = self.now + Duration::from_millis(milliseconds);
        loop {
            let now = self.now;
            self.call(|relay, _, wire, room| relay.on_time(now, wire, room));
            let next = self.relay.next_deadline().filter(|at| *at <= end);
            self.now = match next {
                Some(next) => next,
                None if now < end => end,
                None => return,
            };
        }
    }
}

fn batch(node: NodeId, first: u64, kind: Kind, texts: &[&str]) -> Vec<u8> {
    let mut writer = BatchWriter::default();
    for text in texts {
        assert!(writer.push(1, kind, text));
    }
    let header = Header {
        node,
        first,
        open: 0,
        count: 0,
    };
    writer.finish(header)
}

#[test]
fn nobody_hears_a_line_before_it_is_read() {
    let mut scene = Scene::up();
    assert_eq!(scene.say("hello"), Said::Waits);
    assert_eq!(scene.told(), [""; 0]);
    scene.add(&batch(OTHER, 0, Kind::Say, &["before"]));
    scene.store();
    assert_eq!(scene.told(), ["before", "hello"]);
    assert_eq!(scene.relay.unacknowledged(), 0);
}

#[test]
fn what_was_said_before_the_start_is_late() {
    let mut scene = Scene::closed();
    for n in 0..1030 {
        scene
            .log
            .push(batch(OTHER, n, Kind::Say, &[&n.to_string()]));
    }
    scene.say("now");
    scene.open();
    scene.store();
    let told = scene.told();
    assert_eq!(told[0], "late 6", "the last 1024 entries");
    assert_eq!(told[1023..], ["late 1029", "started", "new a", "now"]);
}

#[test]
fn a_short_break_is_told_to_nobody() {
    let mut scene = Scene::up();
    scene.say("lost on the way");
    scene.published.clear();
    scene.close();
    scene.say("said without a link");
    assert_eq!(scene.relay.phase(), Phase::Holding);
    assert!(scene.relay.has_room(usize::MAX));
    scene.wait(1000);
    assert!(
        !scene.relay.has_room(usize::MAX),
        "a line has waited for a second"
    );
    scene.wait(999);
    scene.log.push(batch(OTHER, 0, Kind::Say, &["missed"]));
    scene.open();
    scene.store();
    assert_eq!(
        scene.told(),
        ["missed", "lost on the way", "said without a link"]
    );
    assert_eq!((scene.relay.phase(), scene.relay.node()), (Phase::Up, OWN));
    assert!(scene.relay.has_room(usize::MAX));
}

#[test]
fn a_long_break_splits_the_room_until_all_is_told() {
    let mut scene = Scene::up();
    scene.say("stored, but not read");
    scene.log.append(&mut scene.published);
    scene.say("lost on the way");
    scene.published.clear();
    scene.close();
    scene.wait(2000);
    assert_eq!(
        scene.told(),
        ["split", "here stored, but not read", "here lost on the way"]
    );
    assert_eq!(scene.say("shown at once"), Said::HereOnly);
    assert_eq!(scene.relay.phase(), Phase::Split);
    scene.log.push(batch(OTHER, 0, Kind::Say, &["missed"]));
    scene.open();
    assert_eq!(scene.relay.phase(), Phase::Rejoining);
    assert_eq!(scene.say("after it"), Said::Waits);
    scene.store();
    scene.store();
    assert_eq!(
        scene.told(),
        ["late missed", "new f was a", "back 2", "after it"]
    );
    assert_eq!(
        (scene.relay.phase(), scene.relay.node()),
        (Phase::Up, FRESH)
    );
}

#[test]
fn who_is_gone_comes_back_as_another_one() {
    let mut scene = Scene::up();
    scene.say("never stored");
    scene.published.clear();
    let gone = batch(OTHER, 0, Kind::Gone, &[&OWN.to_string()]);
    scene.add(&gone);
    scene.store();
    let told = scene.told();
    let text = OWN.to_string();
    assert_eq!(
        told,
        [&text, "split", "here never stored", "new f was a", "back 1"]
    );
    assert_eq!(
        (scene.relay.phase(), scene.relay.node()),
        (Phase::Up, FRESH)
    );
}

#[test]
fn a_log_that_is_made_anew_is_read_from_its_start() {
    let mut scene = Scene::up();
    scene.close();
    scene.created = "2";
    scene.log = vec![batch(OTHER, 0, Kind::Say, &["new log"])];
    scene.open();
    scene.store();
    assert_eq!(
        scene.told(),
        ["split", "late new log", "new f was a", "back 0"]
    );
}

#[test]
fn a_log_that_has_lost_its_end_is_found_out_even_if_it_has_grown_again() {
    let mut scene = Scene::up();
    scene.add(&batch(OTHER, 0, Kind::Say, &["kept"]));
    scene.add(&batch(OTHER, 1, Kind::Say, &["lost by the log"]));
    scene.told();
    scene.close();
    let last = scene.log.len() - 1;
    scene.log[last] = batch(NodeId(0xc), 0, Kind::Say, &["in its place"]);
    scene
        .log
        .push(batch(NodeId(0xc), 1, Kind::Say, &["behind it"]));
    scene.open();
    scene.store();
    assert_eq!(
        scene.told(),
        [
            "split",
            "late in its place",
            "late behind it",
            "new f was a",
            "back 0"
        ]
    );
}

#[test]
fn a_new_leader_that_is_behind_is_given_time_to_catch_up() {
    let mut scene = Scene::up_with(3);
    scene.add(&batch(OTHER, 0, Kind::Say, &["one"]));
    scene.add(&batch(OTHER, 1, Kind::Say, &["two"]));
    assert_eq!(scene.told(), ["one", "two"]);
    scene.close();
    scene.say("three");
    scene.hidden = 2;
    scene.open();
    scene.wait(2000);
    assert_eq!(scene.relay.phase(), Phase::Holding);
    scene.hidden = 0;
    scene.wait(300);
    assert_eq!(scene.relay.phase(), Phase::Up);
    scene.store();
    assert_eq!(scene.told(), ["three"]);
}

#[test]
fn a_log_with_copies_that_has_lost_its_end_is_read_again_behind_the_split() {
    let mut scene = Scene::up_with(3);
    scene.add(&batch(OTHER, 0, Kind::Say, &["one"]));
    scene.close();
    scene.log.pop();
    scene.open();
    scene.wait(9000);
    assert_eq!(scene.told(), ["one"]);
    scene.wait(4000);
    scene.store();
    assert_eq!(scene.told(), ["split", "new f was a", "back 0"]);
}

// While the end is waited for the log grows by other entries, and the last of them is a beat like the one that was lost.
#[test]
fn a_log_that_has_grown_while_its_end_was_waited_for_is_doubted_if_it_ended_with_a_beat() {
    let mut scene = Scene::up_with(3);
    scene.add(&batch(OTHER, 0, Kind::Say, &["one"]));
    let beat = batch(OTHER, 1, Kind::Beat, &[""]);
    scene.add(&beat);
    scene.add(&beat);
    scene.close();
    scene.log.truncate(2);
    scene.open();
    scene.log.push(batch(NodeId(0xc), 0, Kind::Beat, &["new"]));
    scene.log.push(beat);
    scene.wait(300);
    scene.store();
    assert_eq!(
        scene.told(),
        ["one", "split", "new c", "new f was a", "back 0"]
    );
}

// The log may have lost its end before the next link is open.
#[test]
fn what_was_heard_on_a_link_that_was_never_open_counts_for_no_other() {
    let mut scene = Scene::up();
    scene.close();
    let sequence = scene.log.len() as u64 + 1;
    scene.hear(Heard::Entry {
        sequence,
        payload: &batch(OTHER, 0, Kind::Say, &["lost"]),
    });
    scene.close();
    scene.log.push(batch(OTHER, 0, Kind::Say, &["kept"]));
    scene.open();
    assert_eq!(scene.told(), ["kept"]);
}

#[test]
fn without_an_engine_the_room_is_split_from_the_start() {
    let mut scene = Scene::closed();
    scene.say("waits");
    scene.wait(2000);
    assert_eq!(scene.told(), ["split", "here waits"]);
    scene.open();
    scene.store();
    assert_eq!(scene.told(), ["started", "new a", "back 1"]);
    assert_eq!(scene.relay.node(), OWN, "nobody has read it before");
}

#[test]
fn a_log_that_nobody_leads_splits_the_room_and_is_asked_until_it_is_led() {
    let mut scene = Scene::up();
    scene.has_leader = false;
    scene.say("refused");
    scene.published.clear();
    scene.wait(1000);
    assert_eq!(scene.relay.phase(), Phase::Holding);
    scene.wait(2000);
    assert_eq!(scene.told(), ["split", "here refused"]);
    scene.published.clear();
    let info = scene.info();
    scene.hear(Heard::Info(info));
    scene.store();
    let told = scene.told();
    assert_eq!(told.last().map(String::as_str), Some("back 1"), "{told:?}");
}

#[test]
fn a_silent_server_is_said_to_be_gone() {
    let mut scene = Scene::up();
    scene.add(&batch(OTHER, 0, Kind::Say, &["hello"]));
    for _ in 0..200 {
        scene.wait(100);
        scene.store();
    }
    let text = OTHER.to_string();
    assert_eq!(scene.told(), ["hello", &text, "gone b"]);
}

#[test]
fn who_is_gone_is_said_again_if_it_was_said_under_an_id_that_is_no_more() {
    let mut scene = Scene::up();
    scene.add(&batch(OTHER, 0, Kind::Say, &["hello"]));
    let says_gone = |scene: &Scene| {
        let other = OTHER.to_string();
        scene.published.iter().any(|batch| {
            let batch = Batch::parse(batch).expect("a batch");
            batch.lines().any(|line| line.text == other)
        })
    };
    while !says_gone(&scene) {
        scene.store();
        scene.wait(100);
    }
    // It is lost on its way, and this server is taken for dead by a third one.
    scene.published.clear();
    scene.add(&batch(NodeId(0xc), 0, Kind::Gone, &[&OWN.to_string()]));
    for _ in 0..250 {
        scene.store();
        scene.wait(100);
    }
    assert!(scene.told().contains(&"gone b".to_owned()));
}

#[test]
fn after_a_split_a_silent_server_is_waited_for_anew() {
    let mut scene = Scene::up();
    scene.add(&batch(OTHER, 0, Kind::Say, &["hello"]));
    for _ in 0..110 {
        scene.wait(100);
        scene.store();
    }
    scene.close();
    scene.wait(50_000);
    scene.open();
    for _ in 0..120 {
        scene.store();
        scene.wait(100);
    }
    let told = scene.told();
    assert!(!told.contains(&"gone b".to_owned()), "{told:?}");
}

#[test]
fn an_answer_that_it_is_stored_tells_what_was_lost_behind_it() {
    let mut scene = Scene::up();
    scene.say("first");
    scene.say("second");
    scene.published.clear();
    scene.wait(1000);
    let is_beat = |batch: &[u8]| Batch::parse(batch).is_ok_and(|batch| batch.beat().is_some());
    scene.published.retain(|batch| !is_beat(batch));
    assert_eq!(scene.published.len(), 1, "the oldest alone");
    scene.store();
    assert_eq!(scene.told(), ["first"]);
    assert_eq!(scene.published.len(), 0, "it may have been stored at first");
    let sequence = scene.log.len() as u64;
    scene.hear(Heard::Stored { sequence });
    scene.store();
    assert_eq!(scene.told(), ["second"]);
}

#[test]
fn who_has_missed_entries_for_good_is_another_one_since_it_may_be_gone() {
    let mut scene = Scene::up();
    scene.log.push(batch(OTHER, 0, Kind::Say, &["trimmed"]));
    scene.add(&batch(OTHER, 1, Kind::Say, &["seen"]));
    scene.first = 3;
    scene.wait(200);
    scene.store();
    assert_eq!(scene.told(), ["split", "seen", "new f was a", "back 0"]);
}

#[test]
fn who_was_gone_by_what_the_log_has_lost_is_heard_again() {
    let mut scene = Scene::up();
    scene.add(&batch(OTHER, 0, Kind::Say, &["hello"]));
    let text = OTHER.to_string();
    scene.add(&batch(NodeId(0xc), 0, Kind::Gone, &[&text]));
    assert_eq!(scene.told(), ["hello", &text, "gone b"]);
    scene.close();
    scene.log.pop();
    scene.open();
    scene.store();
    scene.add(&batch(OTHER, 1, Kind::Say, &["I am here"]));
    assert_eq!(
        scene.told(),
        ["split", "new f was a", "back 0", "I am here"]
    );
}

// A server that goes on under another id says so until it reads it. Between two such beats a line of the id before may
// be read that shows that id to be living.
#[test]
fn an_id_that_was_given_up_is_no_more_even_if_a_late_line_of_it_is_heard_again() {
    let mut scene = Scene::up();
    scene.add(&batch(OTHER, 0, Kind::Say, &["hello"]));
    let next = batch(NodeId(0xc), 0, Kind::Beat, &[&format!("new {OTHER}")]);
    scene.add(&next);
    scene.add(&next);
    assert_eq!(scene.told(), ["hello", "new c was b"]);
    scene.add(&batch(OTHER, 3, Kind::Say, &["late"]));
    scene.add(&next);
    assert_eq!(scene.told(), ["late", "new c was b"]);
}

#[test]
fn a_log_that_is_made_anew_under_the_link_is_noticed_by_its_first_entry() {
    let mut scene = Scene::up();
    scene.add(&batch(OTHER, 0, Kind::Say, &["old log"]));
    scene.created = "2";
    scene.log.clear();
    scene.wait(1000);
    scene.add(&batch(NodeId(0xc), 0, Kind::Say, &["new log"]));
    scene.store();
    let told = scene.told();
    let expected = ["old log", "split", "late new log", "new f was a", "back 0"];
    assert_eq!(told, expected);
}

#[test]
fn what_was_lost_with_the_link_is_published_as_soon_as_there_is_another_one() {
    let mut scene = Scene::up();
    scene.say("lost on the way");
    scene.published.clear();
    scene.close();
    scene.wait(100);
    scene.open();
    scene.store();
    assert_eq!(scene.told(), ["lost on the way"]);
}

#[test]
fn a_split_goes_on_at_once_if_the_link_closes_before_it_is_over() {
    let mut scene = Scene::up();
    scene.close();
    scene.wait(2000);
    scene.open();
    assert_eq!(scene.say("waits"), Said::Waits);
    scene.published.clear();
    scene.close();
    scene.wait(0);
    assert_eq!(scene.relay.phase(), Phase::Split);
    assert_eq!(scene.told(), ["split", "here waits"]);
    scene.open();
    scene.store();
    assert_eq!(scene.told(), ["new f was a", "back 1"]);
}
