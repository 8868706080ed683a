//! What the chat hears, and what must come of it: the half of [`Model`] that follows what somebody
//! says to the queues of all others. The chat chooses whom it hears and how much of it; here is
//! when it may not, and what else has to follow from what was said.

use line_chat::{CloseReason, Lag};

use crate::client::{Client, Fate, Output, Standing};
use crate::journal::Peer;
use crate::model::Model;
use crate::reference::{self, Heard};

impl Model {
    pub(crate) fn read(&mut self, peer: Peer, bytes: &[u8]) {
        if self.is_refused(peer) {
            return;
        }
        let limits = &self.config.limits;
        assert!(
            bytes.len() <= limits.read_bytes,
            "peer {peer}: a large read"
        );
        assert!(
            self.turn.read < limits.turn_read_bytes,
            "peer {peer}: one read too many"
        );
        self.turn.read += bytes.len();
        self.bytes_in += bytes.len() as u64;
        let now = self.now;
        let client = self.client(peer);
        if client.left.is_some() {
            client.discarded += bytes.len();
            return;
        }
        client.skip_empty_lines();
        assert!(
            client.said.is_empty(),
            "peer {peer} is read while input is held"
        );
        self.assert_may_be_heard(peer);
        let client = self.client(peer);
        if client.nick.is_some() {
            client.since = now;
        }
        client.read(bytes, now);
    }

    pub(crate) fn ended(&mut self, peer: Peer) {
        if self.is_refused(peer) {
            return;
        }
        let client = self.client(peer);
        client.ended = true;
        if client.left.is_none() {
            client.skip_empty_lines();
            assert!(
                client.said.is_empty(),
                "peer {peer} ended while input is held"
            );
            if !client.is_overflowed {
                self.due.push((peer, CloseReason::HungUp));
            }
            self.assert_may_be_heard(peer);
        }
    }

    /// Nothing stops this client now: neither its rate nor the room.
    fn assert_may_be_heard(&mut self, peer: Peer) {
        let now = self.now;
        let is_wait = self.config.limits.lag == Lag::Wait;
        let client = &self.clients[&peer];
        let is_loud = client.has_said.is_loud(now);
        if client.is_member() {
            assert!(!client.lines.is_closed(now), "peer {peer} is over its rate");
            let over = || self.members().find(|(_, other)| other.was_over);
            assert!(
                !is_wait || over().is_none(),
                "{over:?} holds up the room",
                over = over()
            );
            let is_too_fast = is_loud && self.is_too_fast_for_most(peer);
            assert!(!is_too_fast, "peer {peer} is too fast for most");
        }
        if client.is_heard_this_turn {
            return;
        }
        if is_loud {
            self.turn.has_heard_loud = true;
        } else if self.turn.has_heard_loud {
            let was_loud = client.has_said.may_have_been_loud();
            assert!(
                was_loud,
                "peer {peer} is quiet and was heard after a loud one"
            );
        }
        self.client(peer).is_heard_this_turn = true;
    }

    /// Whether more than half of the other members are behind, those who are stalled aside.
    pub(crate) fn is_too_fast_for_most(&self, speaker: Peer) -> bool {
        let others = || self.members().filter(|&(peer, _)| peer != speaker);
        let standing = |what| others().filter(|(_, other)| other.standing == what).count();
        standing(Standing::Behind) > standing(Standing::KeepsUp)
    }

    /// Takes the next thing that a client said, which the chat has just heard.
    #[track_caller]
    fn take_next(&mut self, peer: Peer) -> Heard {
        self.assert_may_be_heard(peer);
        let now = self.now;
        let client = self.client(peer);
        assert!(client.left.is_none(), "peer {peer} is heard after it left");
        let heard = client.take_next(now);
        heard.unwrap_or_else(|| panic!("peer {peer} is heard and has said nothing"))
    }

    /// What a client said has made so many bytes.
    fn has_said(&mut self, peer: Peer, bytes: usize) {
        let now = self.now;
        let client = self.client(peer);
        client.has_said.take(bytes, now);
        client.caused_this_turn += bytes;
    }

    /// The turn appends so many bytes to a queue, or several.
    fn put_out(&mut self, bytes: usize) {
        let limits = &self.config.limits;
        let members = self.members().count();
        let each = limits.max_pending_bytes / 4;
        let all = match limits.max_pending_total_bytes {
            0 => usize::MAX,
            total => total / 4,
        };
        let before = self.turn.output;
        let output = before + bytes;
        let is_in_budget = before == 0 || output <= each && before * members <= all;
        assert!(
            is_in_budget,
            "{output} bytes in a turn, {each} or {all} allowed"
        );
        self.turn.output = output;
    }

    pub(crate) fn joined(&mut self, peer: Peer, nick: String) {
        let is_foreign = self.client(peer).is_foreign();
        assert!(!is_foreign, "peer {peer} joins with another protocol");
        let max_chars = self.config.limits.max_nick_chars;
        let asked = match self.take_next(peer) {
            Heard::Line(line) => reference::nick(&line, max_chars),
            heard => Err(format!("{heard:?}")),
        };
        assert_eq!(asked.as_deref(), Ok(&*nick), "peer {peer}");
        let holder = self.nicks.insert(reference::key(&nick), peer);
        assert_eq!(holder, None, "peer {peer} got {nick:?}, which is taken");
        let prefix = self.prefix.replace("{nick}", &nick);
        let now = self.now;
        let client = self.client(peer);
        assert!(client.nick.is_none(), "peer {peer} joined again");
        client.prefix = prefix;
        client.nick = Some(nick);
        client.since = now;
        self.tally.joined += 1;
    }

    /// The line that follows counts as a loud speaker's.
    pub(crate) fn is_loud(&mut self, peer: Peer) {
        let now = self.now;
        let may_be_loud = self.client(peer).has_said.may_be_loud(0, now);
        assert!(may_be_loud, "peer {peer} is not loud");
        self.loud = Some(peer);
    }

    pub(crate) fn spoke(&mut self, line: &str) {
        let is_it = |client: &Client| line.starts_with(&client.prefix);
        let speaker = self.members().find(|(_, client)| is_it(client));
        let Some((speaker, client)) = speaker else {
            panic!("no member can have said {line:?}");
        };
        let is_loud = client.has_said.is_loud(self.now);
        let loud = self.loud.take();
        if let Some(loud) = loud {
            assert_eq!(loud, speaker, "who is loud");
            assert!(!self.is_too_fast_for_most(speaker), "{speaker} is too fast");
        } else {
            assert!(!is_loud, "peer {speaker} is loud");
        }
        let said = match self.take_next(speaker) {
            Heard::Line(said) => reference::clean(&said),
            heard => panic!("peer {speaker} said {heard:?}, and no line"),
        };
        let now = self.now;
        let client = self.client(speaker);
        let is_expected = line.strip_prefix(&*client.prefix) == Some(&*said);
        assert!(is_expected, "peer {speaker} said {said:?}, not {line:?}");
        client.lines.take(now);
        self.tally.lines += 1;
        self.tally.loud_lines += u64::from(loud.is_some());
        self.turn.has_talk = true;
        self.deliver(speaker, line, loud.is_some());
    }

    fn deliver(&mut self, speaker: Peer, line: &str, loud: bool) {
        let line = [line.as_bytes(), b"\r\n"].concat();
        let limits = &self.config.limits;
        let others = self.clients.iter_mut();
        let others = others.filter(|(peer, client)| **peer != speaker && client.is_member());
        for (&peer, client) in others.filter(|(_, client)| !client.is_overflowed) {
            let was_over = client.over_since.is_some();
            match client.queue(&line, Output::Line { loud }, limits, self.now) {
                Fate::Queued => {
                    self.deliveries += 1;
                    client.ungiven.0 += 1;
                }
                Fate::Skipped | Fate::Dropped => {
                    self.tally.skipped += 1;
                    client.ungiven.1 += 1;
                }
                Fate::TooMuch => {
                    client.is_overflowed = true;
                    self.due.push((peer, CloseReason::TooSlow));
                }
                Fate::Unheard => {}
            }
            self.tally.held_up += u64::from(!was_over && client.over_since.is_some());
        }
        self.put_out(line.len());
        self.has_said(speaker, line.len());
    }

    pub(crate) fn noticed(&mut self, peer: Peer, words: &str) {
        let limits = self.config.limits.clone();
        let is_foreign = self.client(peer).is_foreign();
        assert!(!is_foreign, "peer {peer} speaks another protocol");
        let heard = self.take_next(peer);
        let now = self.now;
        let is_member = self.client(peer).is_member();
        let answer = match heard {
            Heard::Asked(answer) => String::from_utf8_lossy(&answer).into_owned(),
            Heard::TooLong if is_member => {
                self.client(peer).lines.take(now);
                reference::was_not_sent(limits.max_line_bytes)
            }
            Heard::TooLong => self.refusal(peer, &reference::is_no_nick(limits.max_line_bytes)),
            Heard::Line(line) if is_member => panic!("peer {peer} said {line:?}: {words:?}"),
            Heard::Line(line) => match reference::nick(&line, limits.max_nick_chars) {
                Err(why) => self.refusal(peer, &why),
                Ok(nick) => {
                    let is_taken = self.nicks.contains_key(&reference::key(&nick));
                    assert!(is_taken, "peer {peer} may be {nick:?}");
                    self.refusal(peer, &reference::is_taken(&nick))
                }
            },
        };
        assert_eq!(answer.strip_suffix("\r\n"), Some(words), "peer {peer}");
        self.tally.notices += 1;
        self.queue(peer, answer.as_bytes(), Output::Notice);
        let is_refused = self.client(peer).refusals == limits.max_refusals;
        if is_refused && self.due.iter().all(|due| due.0 != peer) {
            self.due.push((peer, CloseReason::NoNick));
        }
    }

    fn refusal(&mut self, peer: Peer, why: &str) -> String {
        let max_refusals = self.config.limits.max_refusals;
        let client = self.client(peer);
        client.refusals += 1;
        reference::refusal(why, client.refusals == max_refusals)
    }

    pub(crate) fn answered(&mut self, peer: Peer, bytes: [u8; 3]) {
        let heard = self.take_next(peer);
        assert_eq!(heard, Heard::Asked(bytes.to_vec()), "peer {peer}");
        self.tally.answers += 1;
        self.queue(peer, &bytes, Output::Answer);
        let over = self.clients[&peer].queue.len() > self.config.limits.max_pending_bytes;
        self.tally.answers_over_limit += u64::from(over);
    }

    /// Queues something for the one who caused it.
    fn queue(&mut self, peer: Peer, bytes: &[u8], output: Output) {
        self.put_out(bytes.len());
        self.has_said(peer, bytes.len());
        let limits = &self.config.limits;
        let Some(client) = self.clients.get_mut(&peer) else {
            return;
        };
        client.is_given_all();
        match client.queue(bytes, output, limits, self.now) {
            Fate::Queued | Fate::Unheard => {}
            Fate::Skipped | Fate::Dropped => self.tally.skipped += 1,
            Fate::TooMuch => self.due.push((peer, CloseReason::TooSlow)),
        }
    }
}
