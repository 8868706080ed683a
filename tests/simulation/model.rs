//! The shadow of a chat: [`Model`] follows the journal and knows what each client must have got,
//! byte for byte, what the chat has to do next, and what it may not do.
//!
//! The chat chooses whom it hears first, and how much of it; its log says what it chose, and queues
//! in the same order. All else follows: from what was read from a client follows what it said, from
//! that what is appended to which queue and what is left out, and from all that is written and the
//! time who has to go.
//!
//! Whether a speaker is loud is the one thing that the model takes from the log: it knows bounds of
//! what somebody has said, not when its input counted. The claim is held against those.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use line_chat::engine::ClientId;
use line_chat::{CloseReason, Config};

use crate::client::Client;
use crate::journal::{Peer, Record};
use crate::reference;
use crate::tally::Tally;

#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) config: Config,
    /// What stands before a line, `{nick}` not yet replaced.
    pub(crate) prefix: &'static str,
    pub(crate) clients: BTreeMap<Peer, Client>,
    /// The keys of the nicks that are held.
    pub(crate) nicks: BTreeMap<String, Peer>,
    /// Who has to leave before anything else happens, and why.
    pub(crate) due: Vec<(Peer, CloseReason)>,
    /// Who has to leave as idle, unless the end of what was read from it was not heard.
    pub(crate) may_be_idle: Vec<(Peer, bool)>,
    pub(crate) now: Instant,
    pub(crate) turn: Turn,
    /// Whose line comes next, and counts as loud.
    pub(crate) loud: Option<Peer>,
    /// Who was taken in with the spare descriptor and has to be refused.
    pub(crate) spared: Option<Peer>,
    /// Who was refused last.
    pub(crate) refused: Option<Refused>,
    pub(crate) shutting_down: bool,
    pub(crate) accepted: u64,
    pub(crate) deliveries: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) tally: Tally,
}

/// Who is not let in has to be told why.
#[derive(Debug)]
pub(crate) struct Refused {
    peer: Peer,
    words: &'static str,
    is_told: bool,
    is_shut: bool,
    failed: bool,
}

/// What one turn has done so far.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    pub(crate) read: usize,
    /// Somebody has said something.
    pub(crate) has_talk: bool,
    /// What it has appended to one queue at most.
    pub(crate) output: usize,
    /// Somebody was heard who was loud before.
    pub(crate) has_heard_loud: bool,
    /// Whose queues are the longest, where all together are too long.
    pub(crate) shed: Option<Vec<Peer>>,
}

impl Model {
    pub(crate) fn new(config: &Config, prefix: &'static str, now: Instant) -> Self {
        Self {
            config: config.clone(),
            prefix,
            clients: BTreeMap::new(),
            nicks: BTreeMap::new(),
            due: Vec::new(),
            may_be_idle: Vec::new(),
            now,
            turn: Turn::default(),
            loud: None,
            spared: None,
            refused: None,
            shutting_down: false,
            accepted: 0,
            deliveries: 0,
            bytes_in: 0,
            bytes_out: 0,
            tally: Tally::default(),
        }
    }

    pub(crate) fn shut_down(&mut self) {
        self.shutting_down = true;
    }

    /// Time has come; the turn itself has not begun.
    pub(crate) fn tick(&mut self, now: Instant) {
        self.now = now;
    }

    /// `is_unread` tells whose streams the chat has been told to read.
    pub(crate) fn begin_turn(&mut self, is_unread: impl Fn(Peer) -> bool) {
        self.turn = Turn::default();
        let now = self.now;
        let limits = &self.config.limits;
        for (&peer, client) in &mut self.clients {
            client.begin_turn();
            if client.left.is_some() {
                continue;
            }
            client.look_for_stall(limits, now);
            let due = client.deadline(limits).filter(|&(at, _)| at <= now);
            match due.and_then(|(_, reason)| reason) {
                // Who waits to be heard is not silent.
                Some(CloseReason::Idle) if client.may_have_more() && !client.has_said_more() => {
                    let stall = client.stall_deadline(limits);
                    let has_stalled = stall.is_some_and(|(at, _)| at <= now);
                    self.may_be_idle.push((peer, has_stalled));
                }
                Some(CloseReason::Idle) if client.has_said_more() || is_unread(peer) => {
                    client.since = now;
                    let due = client.deadline(limits).filter(|&(at, _)| at <= now);
                    let due = due.and_then(|(_, reason)| reason);
                    self.due.extend(due.map(|reason| (peer, reason)));
                }
                Some(reason) => self.due.push((peer, reason)),
                None => {}
            }
            let goes = self.due.last().is_some_and(|due| due.0 == peer);
            if std::mem::take(&mut client.is_resumed) && !goes {
                client.tell_skipped();
                self.tally.told_skipped += 1;
            }
        }
    }

    pub(crate) fn follow(&mut self, journal: Vec<Record>) {
        for record in journal {
            let is_going = matches!(
                record,
                Record::LeftAs { .. } | Record::LeftWithoutNick { .. }
            );
            // Who cannot take what is said goes when it is given it, before the turn ends.
            let mut at_once = self.due.iter().filter(|due| due.1 != CloseReason::TooSlow);
            assert!(
                at_once.next().is_none() || is_going,
                "{:?} before {record:?}",
                self.due
            );
            self.follow_one(record);
        }
        assert!(self.due.is_empty(), "{:?} at the end of a turn", self.due);
        assert_eq!(self.spared, None, "neither in nor refused");
        self.assert_refused_is_told();
    }

    fn follow_one(&mut self, record: Record) {
        match record {
            Record::Spared { peer } => self.spared = Some(peer),
            Record::Registered { peer, id, ip } => self.registered(peer, id, ip),
            Record::Connected { peer } => self.accepted(peer),
            Record::Unregistrable { peer } => self.lost(peer),
            Record::Refused { peer, ip, reason } => self.refuse(peer, ip, reason),
            Record::Read { peer, bytes } => self.read(peer, &bytes),
            Record::Ended { peer } => self.ended(peer),
            Record::Failed { peer } => self.failed(peer),
            Record::Deafened { peer } => {
                let client = self.client(peer);
                if client.left.is_some() {
                    client.failed = true;
                } else {
                    client.is_given_all();
                    client.deafen();
                }
            }
            Record::Wrote {
                peer,
                offered,
                bytes,
            } => self.wrote(peer, offered, &bytes),
            Record::ShutDownWrite { peer } => self.shut_write(peer),
            Record::Deregistered { peer } => self.deregistered(peer),
            Record::Joined { peer, nick } => self.joined(peer, nick),
            Record::LeftAs { nick, reason } => self.left_as(&nick, reason),
            Record::LeftWithoutNick { peer, reason } => {
                assert!(self.client(peer).nick.is_none(), "{peer} has a nick");
                self.left(peer, reason);
            }
            Record::Loud { peer } => self.is_loud(peer),
            Record::Spoke { line } => self.spoke(&line),
            Record::Noticed { peer, words } => self.noticed(peer, &words),
            Record::Answered { peer, bytes } => self.answered(peer, bytes),
        }
    }

    #[track_caller]
    pub(crate) fn client(&mut self, peer: Peer) -> &mut Client {
        let client = self.clients.get_mut(&peer);
        client.unwrap_or_else(|| panic!("peer {peer} is no client"))
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = (Peer, &Client)> {
        let clients = self.clients.iter().map(|(&peer, client)| (peer, client));
        clients.filter(|(_, client)| client.is_member())
    }

    // The door.

    fn is_full(&self) -> bool {
        let most = self.config.limits.max_clients;
        most.is_some_and(|most| self.clients.len() >= most)
    }

    fn is_address_full(&self, ip: IpAddr) -> bool {
        let most = self.config.limits.max_clients_per_ip;
        let address = reference::address(ip);
        let is_same = |client: &&Client| reference::address(client.ip) == address;
        most > 0 && address.is_some() && self.clients.values().filter(is_same).count() >= most
    }

    fn registered(&mut self, peer: Peer, id: ClientId, ip: IpAddr) {
        self.assert_is_let_in(peer, ip);
        let client = Client::new(id, ip, &self.config.limits, self.now);
        self.clients.insert(peer, client);
    }

    fn accepted(&mut self, peer: Peer) {
        self.accepted += 1;
        let is_registered = self.clients.contains_key(&peer);
        assert!(is_registered, "peer {peer} is not registered");
    }

    /// A client could not be registered.
    fn lost(&mut self, peer: Peer) {
        self.accepted += 1;
        self.closed(CloseReason::Broken);
        self.tally.unregistrable += 1;
        let is_registered = self.clients.contains_key(&peer);
        assert!(!is_registered, "peer {peer} is registered");
    }

    fn assert_is_let_in(&self, peer: Peer, ip: IpAddr) {
        assert!(
            self.spared.is_none(),
            "peer {peer} has the spare descriptor"
        );
        assert!(!self.is_full(), "peer {peer} is one too many");
        assert!(!self.is_address_full(ip), "peer {peer}: too many at {ip}");
    }

    fn refuse(&mut self, peer: Peer, ip: IpAddr, reason: CloseReason) {
        let is_right = match reason {
            CloseReason::ServerFull => self.spared.take() == Some(peer) || self.is_full(),
            CloseReason::AddressFull => self.is_address_full(ip),
            _ => false,
        };
        assert!(is_right, "peer {peer} was refused: {reason:?}");
        self.accepted += 1;
        self.closed(reason);
        self.assert_refused_is_told();
        self.refused = Some(Refused {
            peer,
            words: reference::goodbye(reason),
            is_told: false,
            is_shut: false,
            failed: false,
        });
    }

    fn assert_refused_is_told(&self) {
        let is_told = |it: &Refused| it.failed || it.is_told && it.is_shut;
        let is_right = self.refused.as_ref().is_none_or(is_told);
        assert!(is_right, "refused and not told: {:?}", self.refused);
    }

    fn closed(&mut self, reason: CloseReason) {
        self.tally.closed[reason as usize] += 1;
    }

    // Writing.

    pub(crate) fn is_refused(&mut self, peer: Peer) -> bool {
        self.refused(peer).is_some()
    }

    fn refused(&mut self, peer: Peer) -> Option<&mut Refused> {
        self.refused.as_mut().filter(|refused| refused.peer == peer)
    }

    fn wrote(&mut self, peer: Peer, offered: usize, bytes: &[u8]) {
        if let Some(refused) = self.refused(peer) {
            refused.is_told = true;
            let words = refused.words.as_bytes();
            let is_right = words.len() == offered && words.starts_with(bytes);
            return assert!(is_right, "peer {peer} was refused");
        }
        self.bytes_out += bytes.len() as u64;
        let Some(client) = self.clients.get_mut(&peer) else {
            panic!("peer {peer} is no client");
        };
        let queued = client.queue.as_slice();
        let is_expected = queued.len() == offered && queued.starts_with(bytes);
        assert!(
            is_expected,
            "peer {peer} was offered {offered} bytes and got {:?} of {} in {:?}",
            bytes.escape_ascii().to_string(),
            queued.len(),
            queued.escape_ascii().to_string()
        );
        client.seen.see(bytes);
        client.took(bytes.len(), self.now);
    }

    fn failed(&mut self, peer: Peer) {
        if let Some(refused) = self.refused(peer) {
            refused.failed = true;
            return;
        }
        let client = self.client(peer);
        client.failed = true;
        if client.left.is_none() {
            self.due.push((peer, CloseReason::Broken));
        }
    }

    // Leaving.

    fn left_as(&mut self, nick: &str, reason: CloseReason) {
        let peer = self.nicks.get(&reference::key(nick)).copied();
        let peer = peer.unwrap_or_default();
        let is_it = self.client(peer).nick.as_deref() == Some(nick);
        assert!(is_it, "{nick:?} left and is no member");
        self.left(peer, reason);
    }

    fn left(&mut self, peer: Peer, reason: CloseReason) {
        let due = self.due.iter().position(|&due| due == (peer, reason));
        let is_due = due.map(|at| self.due.swap_remove(at)).is_some();
        let is_right = match reason {
            CloseReason::Shutdown => self.shutting_down,
            CloseReason::OutOfMemory => self.longest().contains(&peer),
            CloseReason::Idle => is_due || self.may_be_idle.iter().any(|idle| idle.0 == peer),
            // If it was not idle, this was next.
            CloseReason::Stalled | CloseReason::HeldUp => {
                is_due || self.may_be_idle.contains(&(peer, true)) && self.has_stalled(peer, reason)
            }
            CloseReason::OtherProtocol => self.client(peer).is_foreign(),
            CloseReason::Broken => is_due || self.client(peer).is_deaf,
            _ => is_due,
        };
        self.due.retain(|due| due.0 != peer);
        if reason == CloseReason::Broken {
            let (lines, skipped) = self.client(peer).take_ungiven();
            self.deliveries -= lines;
            self.tally.skipped -= skipped;
        }
        assert!(
            is_right,
            "peer {peer} left: {reason:?}, due: {:?}",
            self.due
        );
        let now = self.now;
        let client = self.client(peer);
        assert!(client.left.is_none(), "peer {peer} left again");
        if let Some(nick) = &client.nick {
            let key = reference::key(nick);
            self.nicks.remove(&key);
        }
        self.client(peer).leave(reason, now);
    }

    fn has_stalled(&self, peer: Peer, reason: CloseReason) -> bool {
        let deadline = self.clients[&peer].stall_deadline(&self.config.limits);
        deadline.is_some_and(|(at, why)| at <= self.now && why == reason)
    }

    /// Whose queues have to go, so that all together are not too long.
    pub(crate) fn longest(&mut self) -> &[Peer] {
        let most = self.config.limits.max_pending_total_bytes;
        let clients = &mut self.clients;
        self.turn.shed.get_or_insert_with(|| {
            let mut queues: Vec<(usize, usize, Peer)> = clients
                .iter()
                .map(|(&peer, client)| (client.queue.len(), client.id.0, peer))
                .collect();
            queues.sort_unstable();
            let mut total: usize = queues.iter().map(|&(bytes, ..)| bytes).sum();
            let mut longest = Vec::new();
            while most > 0 && total > most {
                let Some((bytes, _, peer)) = queues.pop() else {
                    break;
                };
                total -= bytes;
                longest.push(peer);
                if let Some(client) = clients.get_mut(&peer) {
                    // Who is leaving already is dropped, perhaps in a later turn.
                    client.is_dropped |= client.left.is_some();
                }
            }
            longest
        })
    }

    fn shut_write(&mut self, peer: Peer) {
        if let Some(refused) = self.refused(peer) {
            refused.is_shut = true;
            return;
        }
        self.assert_complete(peer);
        let now = self.now;
        let client = self.client(peer);
        client.shut = true;
        client.since = now;
    }

    fn deregistered(&mut self, peer: Peer) {
        self.longest();
        let now = self.now;
        let limits = self.config.limits.clone();
        let client = self.client(peer);
        let Some(reason) = client.left else {
            panic!("peer {peer} freed before it left");
        };
        let deadline = client.deadline(&limits);
        let out_of_time = deadline.is_some_and(|(at, _)| at <= now);
        let has_lingered = client.shut && (client.ended || client.discarded > limits.linger_bytes);
        if client.failed || client.is_deaf || has_lingered {
        } else if out_of_time {
            self.tally.ran_out_of_time += 1;
        } else if client.is_dropped {
            self.tally.shed_draining += 1;
        } else {
            assert!(client.ended, "peer {peer} closed too early");
            self.assert_complete(peer);
        }
        self.closed(reason);
        self.clients.remove(&peer);
    }

    /// All that was queued for a client that left was written, to the last byte.
    fn assert_complete(&mut self, peer: Peer) {
        let client = self.client(peer);
        let Some(reason) = client.left else {
            panic!("peer {peer} shut before it left");
        };
        assert!(client.queue.is_empty(), "peer {peer} has not got all");
        assert!(
            client.seen.is_whole(),
            "peer {peer}: torn: {:?}",
            client.seen
        );
        let known = client.seen.lines + client.seen.missed;
        let is_cut = reference::is_cut(reason);
        assert!(is_cut || known == client.owed, "peer {peer}: {client:?}");
    }
}
