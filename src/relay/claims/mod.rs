//! Who has which nick, when several servers share a room: [`Claims`] are those of one server's members. The
//! engine decides, and nothing is decided twice: it stores one claim a nick, and stores a claim only where it is
//! told the place of the one before, so of two that come together one is refused.
//!
//! A claim is stored under the hash of the nick's key, and says who has it: `1 <node> <conn> <nick>`. It ends when it
//! is deleted by its place, which hits no other. What a server leaves behind that dies stays until somebody wants that
//! nick, who claims on top of it, or until a [sweep](Claims::sweep).
//!
//! | [`State`] | what comes | what happens |
//! |---|---|---|
//! | `Behind` | the claim before it with this key, which was ours, is gone | `Ready` to claim |
//! | `Ready` | one of 64 places is free and the link is open | the step is asked for; `Out` |
//! | `Out`, claim | stored | `Held`; granted; the member's claim before this one is given up |
//! | `Out`, claim | another claim is there | `Ready` to look; if there is none any more, `Ready` to claim |
//! | `Out`, claim | full | refused, and a sweep begins |
//! | `Out`, look | it is this claim, stored before | `Held`; granted |
//! | `Out`, look | a claim of a node that is gone, or of ours that nobody here has | `Ready` to claim on top of it |
//! | `Out`, look | a claim of a node that lives | refused |
//! | `Out`, look | a claim of a node that was never heard of | `Paused`; after 15 s it counts as gone |
//! | `Out`, look | no claim | `Ready` to claim |
//! | `Out`, look, to be given up | no claim | forgotten; the first time after the link was lost `Paused`, because a new leader of the engine may be behind |
//! | `Out` | not now, such as no leader | `Paused` for a second, then `Ready` for the same step |
//! | `Out` | no answer in 5 s, or the link is lost | `Ready` to look, or to give up again |
//! | `Out`, give up | done, or there is no such claim | forgotten |
//! | `Held` | the member leaves or has another nick | `Ready` to give it up |
//! | any but `Held` | the member leaves | forgotten if nothing of it can be stored, else `Ready` to look, and to give up what is found |
//! | any | a split begins | what was asked for is granted here; `Here` |
//! | `Here` | the link is open | `Ready` to claim |
//! | `Held` | the link is open under a new id, or on another stream | `Ready` to claim anew, in the order of joining |
//! | `Held`, the last one | the link is open as before | `Ready` to look; if it is not there, all are claimed anew |
//!
//! Of two claims of one server with the same key the later one waits `Behind` the other until that is forgotten.
//!
//! What was granted once is never refused, but it may be lost to another server during a split:
//! [`Outcome::Lost`]. A claim that is not granted within 30 s is refused, whatever it waits for.
//!
//! A server has to publish its first beat before it claims anything, and to beat at least every 15 s: so a node that
//! nobody has heard of in 15 s of listening does not live.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::protocol::relay_batch::NodeId;
use crate::time::moment::Moment;

/// How many requests may be out.
const MOST_OUT: usize = 64;

/// How often a claim is lost to another that is gone at the next look, before it is refused.
const MOST_TRIES: u8 = 8;

/// How many claims there may be, with those that wait to be given up.
const MOST_CLAIMS: usize = 1 << 17;

/// How many of this server's earlier ids are known to be its own.
const MOST_FORMER: usize = 16;

/// How many nodes may be in doubt.
const MOST_DOUBTS: usize = 1024;

/// How often a sweep goes through all claims: once to find nodes that are in doubt, and again when they are not.
const MOST_PASSES: u8 = 3;

/// The hash of a nick's key, which is where it is claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KeyHash(pub(crate) u128);

impl KeyHash {
    /// Hashes a key: the first 128 bits of its SHA-256, on all servers and in all versions.
    pub(crate) fn of(key: &str) -> Self {
        let digest = Sha256::digest(key);
        let first = digest.iter().take(16);
        Self(first.fold(0, |hash, &byte| hash << 8 | u128::from(byte)))
    }
}

/// What claims ask of an engine. Each request is answered with its number, or never.
pub(crate) trait ClaimEngine {
    /// Stores a claim if the last one with this key is at this place; at 0 if there is none.
    fn claim(&mut self, request: u64, key: KeyHash, expected: u64, payload: &[u8]);
    /// Asks for the claim of a key.
    fn look(&mut self, request: u64, key: KeyHash);
    /// Asks for the first claim at this place or behind it.
    fn look_from(&mut self, request: u64, sequence: u64);
    /// Deletes the claim at this place.
    fn give_up(&mut self, request: u64, sequence: u64);
}

/// What an engine answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer<'i> {
    /// The claim is stored there.
    Stored { sequence: u64 },
    /// It is not, because the last one is elsewhere: at this place, or at 0 if there is none.
    Taken { last: Option<u64> },
    /// It is not, because there is no room for more.
    Full,
    /// There is a claim, of this key if it is known.
    Holder {
        sequence: u64,
        key: Option<KeyHash>,
        payload: &'i [u8],
    },
    /// There is no claim.
    Nobody,
    /// The claim is deleted, or was not there.
    GivenUp,
    /// The engine cannot say or do it.
    NotNow,
}

/// Whether a node lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// It was heard within 15 s.
    Lives,
    /// It was declared gone. An id that is gone never comes back.
    Gone,
    /// It was never heard of.
    Unknown,
}

/// What became of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The member has the nick.
    Granted { conn: u64 },
    /// It has not, and keeps the one that it had.
    Refused { conn: u64, because: Because },
    /// It had the nick, and somebody on another server has it now.
    Lost { conn: u64 },
}

/// Why a nick is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Because {
    /// Somebody has it.
    Held,
    /// The engine has no room for more claims.
    Full,
    /// The engine did not say in time.
    NoAnswer,
}

/// How long things take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClaimTimes {
    /// How long a node has to be unheard that was never heard of.
    pub(crate) doubt: Duration,
    /// How long an answer may take.
    pub(crate) answer: Duration,
    /// How long to wait before something is asked again.
    pub(crate) again: Duration,
    /// How long a member waits for a nick at most: longer than for a node in doubt.
    pub(crate) patience: Duration,
}

impl Default for ClaimTimes {
    fn default() -> Self {
        Self {
            doubt: Duration::from_secs(15),
            answer: Duration::from_secs(5),
            again: Duration::from_secs(1),
            patience: Duration::from_secs(30),
        }
    }
}

/// What claims are acted on with.
#[derive(Debug)]
pub(crate) struct Turn<'t, E, L> {
    pub(crate) now: Moment,
    pub(crate) engine: &'t mut E,
    /// Tells of each node but our own whether it lives.
    pub(crate) life: L,
}

/// The number of a claim, in the order in which they were asked for.
type ClaimId = u64;

/// The claims of one server's members.
#[derive(Debug)]
pub(crate) struct Claims {
    times: ClaimTimes,
    node: NodeId,
    /// The ids that this server had before, the last one first.
    former: VecDeque<NodeId>,
    link: LinkState,
    /// When the stream was made, and the last place in it that was heard of.
    created: Option<String>,
    last_seen: u64,
    claims: BTreeMap<ClaimId, Claim>,
    /// The claims by their keys. Of those with one key the first is acted on, and the others wait behind it.
    by_key: BTreeSet<(KeyHash, ClaimId)>,
    members: BTreeMap<u64, Member>,
    last_claim: ClaimId,
    joined: u64,
    /// Claims that are `Ready`, in the order in which they get a place.
    ready: VecDeque<ClaimId>,
    /// Claims that are `Paused`, and claims that were asked for, with when each is due.
    paused: VecDeque<(Moment, ClaimId)>,
    impatient: VecDeque<(Moment, ClaimId)>,
    last_request: u64,
    /// What is out: for what, and since when. Requests are numbered in the order of time.
    out: BTreeMap<u64, (Asker, Moment)>,
    /// Nodes that were never heard of, and since when we listen for them.
    doubts: BTreeMap<NodeId, Moment>,
    /// The claim that is looked for to know whether the engine still has those that it had.
    check: Option<ClaimId>,
    sweep: Option<Sweep>,
    outcomes: VecDeque<Outcome>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LinkState {
    /// It is lost, or was never there; members wait.
    Holding,
    Open,
    /// Nobody waits.
    Split,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asker {
    Claim(ClaimId),
    Sweep,
}

/// A member's place in the order of joining, the nick that it has, and the one that it wants.
#[derive(Debug, Default)]
struct Member {
    joined: u64,
    has: Option<ClaimId>,
    wants: Option<ClaimId>,
}

#[derive(Debug)]
struct Claim {
    conn: u64,
    key: KeyHash,
    nick: Box<str>,
    state: State,
    /// The node in whose name it was published last.
    by: NodeId,
    /// It may be stored, behind this place.
    attempt: Option<u64>,
    /// A member has or wants it; else it is given up.
    is_wanted: bool,
    was_granted: bool,
    tries: u8,
    /// It may be stored even if one look does not find it.
    is_in_doubt: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Behind,
    Ready(Step),
    Out(Step),
    /// An answer has come, and decides what follows.
    Answered,
    Paused {
        until: Moment,
        step: Step,
    },
    Held {
        sequence: u64,
    },
    Here,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Claim { expected: u64 },
    Look,
    GiveUp { sequence: u64 },
}

/// A way through all claims, in which those of nodes that are gone are given up.
#[derive(Debug)]
struct Sweep {
    /// Where to look next, and when; `None` if a request is out.
    from: u64,
    due: Option<Moment>,
    /// A node was in doubt in this pass.
    is_in_doubt: bool,
    passes: u8,
}

/// Who has a nick, as a stored claim says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Holder {
    sequence: u64,
    node: NodeId,
    conn: u64,
}

impl Holder {
    fn parse(sequence: u64, payload: &[u8]) -> Option<Self> {
        let text = str::from_utf8(payload).ok()?;
        let mut words = text.splitn(4, ' ');
        let version = words.next()?;
        let (node, conn, _nick) = (words.next()?, words.next()?, words.next()?);
        (version == "1").then_some(Self {
            sequence,
            node: node.parse().ok()?,
            conn: conn.parse().ok()?,
        })
    }
}

impl Claims {
    /// The claims of a server that has none, and no link yet.
    pub(crate) fn new(times: ClaimTimes, node: NodeId) -> Self {
        Self {
            times,
            node,
            former: VecDeque::new(),
            link: LinkState::Holding,
            created: None,
            last_seen: 0,
            claims: BTreeMap::new(),
            by_key: BTreeSet::new(),
            members: BTreeMap::new(),
            last_claim: 0,
            joined: 0,
            ready: VecDeque::new(),
            paused: VecDeque::new(),
            impatient: VecDeque::new(),
            last_request: 0,
            out: BTreeMap::new(),
            doubts: BTreeMap::new(),
            check: None,
            sweep: None,
            outcomes: VecDeque::new(),
        }
    }

    /// How many claims there are, with those that wait to be given up.
    pub(crate) fn len(&self) -> usize {
        self.claims.len()
    }

    /// The next thing that became of a claim. They are to be taken after every other call.
    pub(crate) fn next_outcome(&mut self) -> Option<Outcome> {
        self.outcomes.pop_front()
    }

    // What members do.

    /// A member wants a nick. What it wanted before and was not told of is given up without a word. A nick with the
    /// key of the one that it has is granted at once.
    pub(crate) fn claim(
        &mut self,
        conn: u64,
        key: &str,
        nick: &str,
        turn: &mut Turn<'_, impl ClaimEngine, impl Fn(NodeId) -> Life>,
    ) {
        let key = KeyHash::of(key);
        let member = self.members.entry(conn).or_insert_with(|| {
            self.joined = self.joined.saturating_add(1);
            Member {
                joined: self.joined,
                ..Member::default()
            }
        });
        let has = member.has;
        if let Some(before) = member.wants.take() {
            self.unwant(before);
        }
        if has.is_some_and(|has| self.claims.get(&has).is_some_and(|it| it.key == key)) {
            self.outcomes.push_back(Outcome::Granted { conn });
        } else if self.claims.len() >= MOST_CLAIMS {
            let because = Because::NoAnswer;
            self.outcomes.push_back(Outcome::Refused { conn, because });
            self.forget_idle(conn);
        } else {
            self.begin(conn, key, nick, turn.now);
        }
        self.issue(turn);
    }

    /// Notes a new claim, whose first step is to come.
    fn begin(&mut self, conn: u64, key: KeyHash, nick: &str, now: Moment) {
        self.last_claim = self.last_claim.saturating_add(1);
        let id = self.last_claim;
        let claim = Claim {
            conn,
            key,
            nick: nick.into(),
            state: State::Behind,
            by: self.node,
            attempt: None,
            is_in_doubt: false,
            is_wanted: true,
            was_granted: false,
            tries: 0,
        };
        self.claims.insert(id, claim);
        self.by_key.insert((key, id));
        if let Some(member) = self.members.get_mut(&conn) {
            member.wants = Some(id);
        }
        if self.link == LinkState::Split {
            return self.grant(id, State::Here);
        }
        self.impatient.push_back((now + self.times.patience, id));
        self.advance_key(key);
    }

    /// A member has left: what it has and wants is given up.
    pub(crate) fn leave(
        &mut self,
        conn: u64,
        turn: &mut Turn<'_, impl ClaimEngine, impl Fn(NodeId) -> Life>,
    ) {
        if let Some(member) = self.members.remove(&conn) {
            for id in [member.wants, member.has].into_iter().flatten() {
                self.unwant(id);
            }
        }
        self.issue(turn);
    }

    /// Nobody wants this claim any more.
    fn unwant(&mut self, id: ClaimId) {
        let Some(claim) = self.claims.get_mut(&id) else {
            return;
        };
        claim.is_wanted = false;
        match claim.state {
            State::Held { sequence } => self.set_ready(id, Step::GiveUp { sequence }),
            // What is out comes back; what may be stored is looked for.
            State::Out(_) => {}
            _ if claim.attempt.is_some() => self.set_ready(id, Step::Look),
            _ => self.forget(id),
        }
    }

    // Steps.

    /// The claim is to do this next.
    fn set_ready(&mut self, id: ClaimId, step: Step) {
        if let Some(claim) = self.claims.get_mut(&id) {
            let was = std::mem::replace(&mut claim.state, State::Ready(step));
            if !matches!(was, State::Ready(_)) {
                self.ready.push_back(id);
            }
        }
    }

    fn pause(&mut self, id: ClaimId, step: Step, now: Moment) {
        let until = now + self.times.again;
        if let Some(claim) = self.claims.get_mut(&id) {
            let step = match step {
                Step::Claim { .. } if !claim.is_wanted => Step::Look,
                _ => step,
            };
            claim.state = State::Paused { until, step };
            self.paused.push_back((until, id));
        }
    }

    fn forget(&mut self, id: ClaimId) {
        if let Some(claim) = self.claims.remove(&id) {
            self.by_key.remove(&(claim.key, id));
            self.advance_key(claim.key);
        }
        // Of who comes and leaves while there is no link nothing is to remain.
        if self.ready.len() > self.claims.len().saturating_mul(2).saturating_add(MOST_OUT) {
            let claims = &self.claims;
            self.ready.retain(|id| claims.contains_key(id));
        }
    }

    /// The first claim with this key has its turn if it waited for another.
    fn advance_key(&mut self, key: KeyHash) {
        let first = self.by_key.range((key, 0)..).next();
        if let Some(&(_, id)) = first.filter(|(it, _)| *it == key)
            && let Some(State::Behind) = self.claims.get(&id).map(|it| it.state)
        {
            self.set_ready(id, Step::Claim { expected: 0 });
        }
    }

    /// Forgets a member that has and wants nothing.
    fn forget_idle(&mut self, conn: u64) {
        let is_idle = |it: &Member| it.has.is_none() && it.wants.is_none();
        if self.members.get(&conn).is_some_and(is_idle) {
            self.members.remove(&conn);
        }
    }

    /// The nick is the member's: it is stored there, or it is one of this server alone.
    fn grant(&mut self, id: ClaimId, state: State) {
        let Some(claim) = self.claims.get_mut(&id) else {
            return;
        };
        claim.state = state;
        if state != State::Here {
            claim.attempt = None;
        }
        if !claim.is_wanted {
            return self.unwant(id);
        }
        if std::mem::replace(&mut claim.was_granted, true) {
            return;
        }
        let conn = claim.conn;
        self.outcomes.push_back(Outcome::Granted { conn });
        if let Some(member) = self.members.get_mut(&conn) {
            member.wants = None;
            if let Some(before) = member.has.replace(id) {
                self.unwant(before);
            }
        }
    }

    /// The nick is not the member's.
    fn refuse(&mut self, id: ClaimId, because: Because) {
        let Some(claim) = self.claims.get(&id).filter(|it| it.is_wanted) else {
            return self.unwant(id);
        };
        let conn = claim.conn;
        let outcome = match claim.was_granted {
            true => Outcome::Lost { conn },
            false => Outcome::Refused { conn, because },
        };
        self.outcomes.push_back(outcome);
        if let Some(member) = self.members.get_mut(&conn) {
            member.has = member.has.filter(|&has| has != id);
            member.wants = member.wants.filter(|&wants| wants != id);
        }
        self.unwant(id);
        if matches!(outcome, Outcome::Refused { .. }) {
            self.forget_idle(conn);
        }
    }

    /// Asks for what is ready, as far as there are places.
    fn issue(&mut self, turn: &mut Turn<'_, impl ClaimEngine, impl Fn(NodeId) -> Life>) {
        while self.link == LinkState::Open && self.out.len() < MOST_OUT {
            let Some(id) = self.ready.pop_front() else {
                return;
            };
            let Some(claim) = self.claims.get_mut(&id) else {
                continue;
            };
            let State::Ready(step) = claim.state else {
                continue;
            };
            claim.state = State::Out(step);
            let request = self.next_request(Asker::Claim(id), turn.now);
            let Some(claim) = self.claims.get_mut(&id) else {
                continue;
            };
            match step {
                Step::Claim { expected } => {
                    claim.by = self.node;
                    claim.attempt.get_or_insert(self.last_seen);
                    let Claim { conn, nick, .. } = claim;
                    let payload = format!("1 {} {conn} {nick}", self.node);
                    turn.engine
                        .claim(request, claim.key, expected, payload.as_bytes());
                }
                Step::Look => turn.engine.look(request, claim.key),
                Step::GiveUp { sequence } => turn.engine.give_up(request, sequence),
            }
        }
    }

    /// Notes a request.
    fn next_request(&mut self, asker: Asker, now: Moment) -> u64 {
        self.last_request = self.last_request.saturating_add(1);
        self.out.insert(self.last_request, (asker, now));
        self.last_request
    }

    // Answers.

    /// The engine answers a request. An answer counts once.
    pub(crate) fn on_answer(
        &mut self,
        request: u64,
        answer: Answer<'_>,
        turn: &mut Turn<'_, impl ClaimEngine, impl Fn(NodeId) -> Life>,
    ) {
        if let Answer::Stored { sequence } | Answer::Holder { sequence, .. } = answer {
            self.last_seen = self.last_seen.max(sequence);
        }
        match self.out.remove(&request) {
            None => return,
            Some((Asker::Sweep, _)) => self.on_swept(answer, turn),
            Some((Asker::Claim(id), _)) => {
                if let Some(claim) = self.claims.get_mut(&id)
                    && let State::Out(step) = claim.state
                {
                    claim.state = State::Answered;
                    self.on_step(id, step, answer, turn);
                }
            }
        }
        self.issue(turn);
    }

    fn on_step(
        &mut self,
        id: ClaimId,
        step: Step,
        answer: Answer<'_>,
        turn: &mut Turn<'_, impl ClaimEngine, impl Fn(NodeId) -> Life>,
    ) {
        match (step, answer) {
            (Step::Claim { .. }, Answer::Stored { sequence }) => {
                self.grant(id, State::Held { sequence });
            }
            (Step::Claim { .. }, Answer::Taken { last }) => self.on_taken(id, last, turn.now),
            (Step::Claim { .. }, Answer::Full) => self.on_full(id, step, turn),
            (
                Step::Look,
                Answer::Holder {
                    sequence, payload, ..
                },
            ) => self.on_holder(id, Holder::parse(sequence, payload), turn),
            (Step::Look, Answer::Nobody) => {
                self.on_checked(id, false);
                if self.is_looked_for_again(id) {
                    self.pause(id, Step::Look, turn.now);
                } else {
                    self.claim_on(id, 0);
                }
            }
            (Step::GiveUp { .. }, Answer::GivenUp) => self.forget(id),
            _ => self.pause(id, step, turn.now),
        }
    }

    /// Whether a claim that is to be given up and was not found is looked for once more. The engine's server that answered
    /// may not have it yet.
    fn is_looked_for_again(&mut self, id: ClaimId) -> bool {
        let claim = self.claims.get_mut(&id).filter(|it| !it.is_wanted);
        claim.is_some_and(|claim| std::mem::take(&mut claim.is_in_doubt))
    }

    /// Another claim was there, or the one is not there any more on top of which this one was to be.
    fn on_taken(&mut self, id: ClaimId, last: Option<u64>, now: Moment) {
        let Some(claim) = self.claims.get_mut(&id) else {
            return;
        };
        claim.tries = claim.tries.saturating_add(1);
        match last {
            _ if claim.tries > MOST_TRIES && claim.was_granted => {
                claim.tries = 0;
                self.pause(id, Step::Look, now);
            }
            _ if claim.tries > MOST_TRIES => {
                self.set_ready(id, Step::Look);
                self.refuse(id, Because::Held);
            }
            Some(0) => self.claim_on(id, 0),
            _ => self.set_ready(id, Step::Look),
        }
    }

    /// Claims on top of what is at this place, if somebody still wants it.
    fn claim_on(&mut self, id: ClaimId, expected: u64) {
        match self.claims.get(&id).is_some_and(|it| it.is_wanted) {
            true => self.set_ready(id, Step::Claim { expected }),
            false => self.forget(id),
        }
    }

    fn on_full(
        &mut self,
        id: ClaimId,
        step: Step,
        turn: &mut Turn<'_, impl ClaimEngine, impl Fn(NodeId) -> Life>,
    ) {
        self.sweep(turn);
        let Some(claim) = self.claims.get_mut(&id) else {
            return;
        };
        match claim.was_granted && claim.is_wanted {
            // Its member has the nick and nobody else has claimed it.
            true => self.pause(id, step, turn.now),
            false => {
                // An attempt before this one may be stored.
                self.set_ready(id, Step::Look);
                self.refuse(id, Because::Full);
            }
        }
    }

    /// There is a claim, which is not understood if it is `None`.
    fn on_holder(
        &mut self,
        id: ClaimId,
        holder: Option<Holder>,
        turn: &mut Turn<'_, impl ClaimEngine, impl Fn(NodeId) -> Life>,
    ) {
        let Some(claim) = self.claims.get_mut(&id) else {
            return;
        };
        let is_this = |it: &Holder| {
            let after = claim.attempt.unwrap_or(u64::MAX);
            (it.node, it.conn) == (claim.by, claim.conn) && it.sequence > after
        };
        let found = holder.filter(is_this);
        self.on_checked(id, found.is_some());
        let Some(claim) = self.claims.get_mut(&id) else {
            return;
        };
        if let Some(Holder { sequence, node, .. }) = found {
            return match (claim.is_wanted, node == self.node) {
                (true, true) => self.grant(id, State::Held { sequence }),
                (true, false) => self.claim_on(id, sequence),
                (false, _) => self.set_ready(id, Step::GiveUp { sequence }),
            };
        }
        // Another claim is there, so this one is not.
        claim.attempt = None;
        if !claim.is_wanted {
            return self.forget(id);
        }
        match holder.map(|it| (it.sequence, self.life(it.node, turn))) {
            Some((sequence, Life::Gone)) => self.claim_on(id, sequence),
            Some((_, Life::Unknown)) => self.pause(id, Step::Look, turn.now),
            Some((_, Life::Lives)) | None => self.refuse(id, Because::Held),
        }
    }

    /// If this is the claim that was to be looked for: without it the others may be lost as well.
    fn on_checked(&mut self, id: ClaimId, is_there: bool) {
        if self.check.take_if(|it| *it == id).is_some() && !is_there {
            self.claim_anew(true);
        }
    }

    /// Whether a node lives that has a claim. One that was never heard of is gone after a while of listening; one that
    /// was ourselves is gone, and so is what nobody here has under our own id.
    fn life(
        &mut self,
        node: NodeId,
        turn: &Turn<'_, impl ClaimEngine, impl Fn(NodeId) -> Life>,
    ) -> Life {
        if node == self.node || self.former.contains(&node) {
            return Life::Gone;
        }
        let life = (turn.life)(node);
        if life != Life::Unknown {
            self.doubts.remove(&node);
            return life;
        }
        if self.doubts.len() >= MOST_DOUBTS && !self.doubts.contains_key(&node) {
            self.doubts.pop_first();
        }
        let since = *self.doubts.entry(node).or_insert(turn.now);
        match turn.now.saturating_since(since) >= self.times.doubt {
            true => Life::Gone,
            false => Life::Unknown,
        }
    }

    // The link.

    /// The link is lost. Members wait, and so do their claims.
    pub(crate) fn on_closed(&mut self) {
        if self.link == LinkState::Open {
            self.link = LinkState::Holding;
        }
        for (asker, _) in std::mem::take(&mut self.out).into_values() {
            if let Asker::Claim(id) = asker {
                self.ask_again(id);
            }
        }
        // Nodes have to be unheard while we listen.
        self.doubts.clear();
        if self.sweep.is_some() {
            self.sweep = Some(Sweep::new(Moment::BEGINNING));
        }
    }

    /// A request of this claim will not be answered.
    fn ask_again(&mut self, id: ClaimId) {
        match self.claims.get(&id).map(|it| it.state) {
            Some(State::Out(Step::GiveUp { sequence })) => {
                self.set_ready(id, Step::GiveUp { sequence });
            }
            Some(State::Out(_)) => self.set_ready(id, Step::Look),
            _ => {}
        }
    }

    /// Nobody waits any longer: what members want is granted here, and claimed when the link is open.
    pub(crate) fn on_split(&mut self) {
        self.on_closed();
        self.link = LinkState::Split;
        let wanted: Vec<_> = self.members.values().filter_map(|it| it.wants).collect();
        for id in wanted {
            self.grant(id, State::Here);
        }
    }

    /// The link is open, under this id, and on the stream of claims that was made then and has got so far. A first beat
    /// under this id was published. It is as well what follows when this server is declared gone, and goes on on the link
    /// that it has.
    pub(crate) fn on_open(
        &mut self,
        node: NodeId,
        created: &str,
        last: u64,
        turn: &mut Turn<'_, impl ClaimEngine, impl Fn(NodeId) -> Life>,
    ) {
        self.on_closed();
        let is_renamed = node != self.node;
        let is_same = self.created.as_deref() == Some(created) && last >= self.last_seen;
        let is_certain = self.check.take().is_none() && is_same;
        if !is_same {
            self.created = Some(created.to_owned());
            self.last_seen = last;
        }
        if is_renamed {
            self.former.push_front(self.node);
            self.former.truncate(MOST_FORMER);
            self.node = node;
        }
        self.link = LinkState::Open;
        self.search_unwanted();
        self.claim_anew(is_renamed || !is_certain);
        self.check_last();
        self.issue(turn);
        self.look_further(turn);
    }

    /// At the places of claims that are to be given up there may be others, if the engine has lost some.
    fn search_unwanted(&mut self) {
        let mut ids = Vec::new();
        for (&id, claim) in self.claims.iter_mut().filter(|(_, it)| !it.is_wanted) {
            (claim.attempt, claim.is_in_doubt) = (Some(0), true);
            ids.push(id);
        }
        for id in ids {
            self.set_ready(id, Step::Look);
        }
    }

    /// Claims what was granted here only, or everything, in the order of joining.
    fn claim_anew(&mut self, is_all: bool) {
        if is_all {
            let claims = &self.claims;
            let is_unwanted = |id: &_| claims.get(id).is_some_and(|it| !it.is_wanted);
            self.ready.retain(is_unwanted);
        }
        let members = self.members.values();
        let mut wanted: Vec<_> = members
            .flat_map(|it| [it.has, it.wants].map(|id| (it.joined, id)))
            .collect();
        wanted.sort_unstable();
        for id in wanted.into_iter().filter_map(|(_, id)| id) {
            let Some(claim) = self.claims.get_mut(&id) else {
                continue;
            };
            if is_all || claim.state == State::Here {
                claim.state = State::Behind;
                claim.tries = 0;
                (claim.attempt, claim.is_in_doubt) = (Some(0), true);
                let key = claim.key;
                self.advance_key(key);
            }
        }
    }

    /// Looks whether the last of the claims is still there: if the engine has lost any, it is among them.
    fn check_last(&mut self) {
        let held = self.claims.iter_mut().filter_map(|(&id, claim)| {
            let State::Held { sequence } = claim.state else {
                return None;
            };
            Some((sequence, id, claim))
        });
        if let Some((sequence, id, claim)) = held.max_by_key(|it| it.0) {
            claim.attempt = sequence.checked_sub(1);
            self.check = Some(id);
            self.set_ready(id, Step::Look);
        }
    }

    // The time.

    /// Asks again for what was not answered in time, or could not be. Refuses what was waited for too long.
    pub(crate) fn on_time(
        &mut self,
        turn: &mut Turn<'_, impl ClaimEngine, impl Fn(NodeId) -> Life>,
    ) {
        let now = turn.now;
        while let Some(asker) = self.next_unanswered(now) {
            match asker {
                Asker::Claim(id) => self.ask_again(id),
                Asker::Sweep => self.delay_sweep(now + self.times.again),
            }
        }
        while let Some((until, id)) = pop_due(&mut self.paused, now) {
            match self.claims.get(&id).map(|it| it.state) {
                Some(State::Paused { until: it, step }) if it == until => self.set_ready(id, step),
                _ => {}
            }
        }
        while let Some((_, id)) = pop_due(&mut self.impatient, now) {
            if (self.claims.get(&id)).is_some_and(|it| it.is_wanted && !it.was_granted) {
                self.refuse(id, Because::NoAnswer);
            }
        }
        self.issue(turn);
        self.look_further(turn);
    }

    /// Takes the oldest request if it is out for too long.
    fn next_unanswered(&mut self, now: Moment) -> Option<Asker> {
        let first = self.out.first_entry()?;
        let (asker, since) = *first.get();
        (since + self.times.answer <= now).then(|| {
            first.remove();
            asker
        })
    }

    /// When [`on_time`](Self::on_time) has something to do, if nothing else happens.
    pub(crate) fn next_deadline(&self) -> Option<Moment> {
        let out = self.out.values().next();
        let sweep = self.sweep.as_ref().and_then(|it| it.due);
        let deadlines = [
            out.map(|(_, since)| *since + self.times.answer),
            self.paused.front().map(|(due, _)| *due),
            self.impatient.front().map(|(due, _)| *due),
            sweep.filter(|_| self.link == LinkState::Open),
        ];
        deadlines.into_iter().flatten().min()
    }

    // Claims of nobody.

    /// Goes through all claims, and gives up those of nodes that are gone. To be called when this server has declared
    /// one gone, and at its start.
    pub(crate) fn sweep(&mut self, turn: &mut Turn<'_, impl ClaimEngine, impl Fn(NodeId) -> Life>) {
        if self.sweep.is_none() {
            self.sweep = Some(Sweep::new(turn.now));
            self.look_further(turn);
        }
    }

    fn delay_sweep(&mut self, until: Moment) {
        if let Some(sweep) = &mut self.sweep {
            sweep.due = Some(until);
        }
    }

    /// Looks at the next claim of a sweep if that is due.
    fn look_further(&mut self, turn: &mut Turn<'_, impl ClaimEngine, impl Fn(NodeId) -> Life>) {
        let Some(sweep) = &mut self.sweep else {
            return;
        };
        if self.link == LinkState::Open && sweep.due.is_some_and(|due| due <= turn.now) {
            sweep.due = None;
            let from = sweep.from;
            let request = self.next_request(Asker::Sweep, turn.now);
            turn.engine.look_from(request, from);
        }
    }

    fn on_swept(
        &mut self,
        answer: Answer<'_>,
        turn: &mut Turn<'_, impl ClaimEngine, impl Fn(NodeId) -> Life>,
    ) {
        match answer {
            Answer::Holder {
                sequence,
                key,
                payload,
            } => {
                if let Some(sweep) = &mut self.sweep {
                    sweep.from = sequence.saturating_add(1);
                }
                let holder = Holder::parse(sequence, payload);
                if self.is_left_behind(key, holder, turn) {
                    let request = self.next_request(Asker::Sweep, turn.now);
                    return turn.engine.give_up(request, sequence);
                }
                self.delay_sweep(turn.now);
            }
            Answer::GivenUp => self.delay_sweep(turn.now),
            Answer::Nobody => self.end_pass(turn.now),
            _ => self.delay_sweep(turn.now + self.times.again),
        }
        self.look_further(turn);
    }

    /// Whether nobody has this nick. What this server has itself it cares for elsewhere.
    fn is_left_behind(
        &mut self,
        key: Option<KeyHash>,
        holder: Option<Holder>,
        turn: &Turn<'_, impl ClaimEngine, impl Fn(NodeId) -> Life>,
    ) -> bool {
        let Some((key, holder)) = key.zip(holder) else {
            return false;
        };
        let ours = self.by_key.range((key, 0)..=(key, ClaimId::MAX)).next();
        if ours.is_some() {
            return false;
        }
        let life = self.life(holder.node, turn);
        if let (Life::Unknown, Some(sweep)) = (life, &mut self.sweep) {
            sweep.is_in_doubt = true;
        }
        life == Life::Gone
    }

    fn end_pass(&mut self, now: Moment) {
        let next = self.sweep.take().and_then(|it| {
            let passes = it.passes.saturating_add(1);
            (it.is_in_doubt && passes < MOST_PASSES).then(|| Sweep {
                passes,
                ..Sweep::new(now + self.times.doubt)
            })
        });
        self.sweep = next;
    }
}

impl Sweep {
    fn new(due: Moment) -> Self {
        Self {
            from: 1,
            due: Some(due),
            is_in_doubt: false,
            passes: 0,
        }
    }
}

/// Takes the first one off a queue if it is due.
fn pop_due(queue: &mut VecDeque<(Moment, ClaimId)>, now: Moment) -> Option<(Moment, ClaimId)> {
    match queue.front() {
        Some((due, _)) if *due <= now => queue.pop_front(),
        _ => None,
    }
}

#[cfg(test)]
mod simulation;

#[cfg(test)]
mod tests {
    use super::*;

    use super::simulation::tests::{NAMES, Request, Requests};

    fn name_of(key: KeyHash) -> &'static str {
        let mut names = NAMES.into_iter();
        names
            .find(|name| KeyHash::of(name) == key)
            .expect("one of them")
    }

    #[test]
    fn a_key_is_claimed_at_the_same_place_for_ever() {
        // SHA-256 of "abc", from FIPS 180-4, and of nothing.
        let abc = KeyHash(0xba78_16bf_8f01_cfea_4141_40de_5dae_2223);
        let nothing = KeyHash(0xe3b0_c442_98fc_1c14_9afb_f4c8_996f_b924);
        assert_eq!((KeyHash::of("abc"), KeyHash::of("")), (abc, nothing));
    }

    #[test]
    fn what_is_no_claim_is_held_by_nobody_known() {
        let holder = |node, conn| {
            Some(Holder {
                sequence: 3,
                node: NodeId(node),
                conn,
            })
        };
        for (payload, expected) in [
            ("1 00000000000000aa 7 bob", holder(0xaa, 7)),
            ("1 00000000000000aa 7 bob the second", holder(0xaa, 7)),
            ("2 00000000000000aa 7 bob", None),
            ("1 00000000000000aa bob", None),
            ("1 aa 7 bob", None),
            ("1 00000000000000aa 7", None),
            ("1 00000000000000aa -7 bob", None),
            ("", None),
        ] {
            assert_eq!(
                Holder::parse(3, payload.as_bytes()),
                expected,
                "{payload:?}"
            );
        }
        assert_eq!(Holder::parse(3, b"1 00000000000000aa 7 \xff"), None);
    }

    /// Claims of node 01 that are acted on in words. Node aa lives, node dd is gone, nobody has heard of others.
    struct Rig {
        claims: Claims,
        engine: Requests,
        now: Moment,
    }

    impl Rig {
        fn new() -> Self {
            Self {
                claims: Claims::new(ClaimTimes::default(), NodeId(1)),
                engine: Requests::default(),
                now: Moment::BEGINNING,
            }
        }

        /// Does what the words say, and returns what was asked for and what has become of claims.
        fn act(&mut self, words: &str) -> String {
            let words: Vec<_> = words.split(' ').collect();
            let number = |at: usize| words[at].parse::<u64>().expect("a number");
            let life = |node: NodeId| match node.0 {
                0xaa => Life::Lives,
                0xdd => Life::Gone,
                _ => Life::Unknown,
            };
            if words[0] == "wait" {
                self.now = self.now + Duration::from_secs(number(1));
            }
            let turn = &mut Turn {
                now: self.now,
                engine: &mut self.engine,
                life,
            };
            let claims = &mut self.claims;
            let node = || NodeId(u64::from_str_radix(words[1], 16).expect("a node"));
            match words[0] {
                "open" => claims.on_open(node(), words[2], number(3), turn),
                "close" => claims.on_closed(),
                "split" => claims.on_split(),
                "claim" => claims.claim(number(1), words[2], words[2], turn),
                "leave" => claims.leave(number(1), turn),
                "wait" => claims.on_time(turn),
                "sweep" => claims.sweep(turn),
                _ => {
                    let payload = match words[1] {
                        "holder" => format!("1 {:0>16} {} x", words[3], words[4]),
                        _ => String::new(),
                    };
                    let answer = match words[1] {
                        "stored" => Answer::Stored {
                            sequence: number(2),
                        },
                        "taken" => Answer::Taken {
                            last: words.get(2).map(|_| number(2)),
                        },
                        "full" => Answer::Full,
                        "holder" => Answer::Holder {
                            sequence: number(2),
                            key: words.get(5).map(|key| KeyHash::of(key)),
                            payload: payload.as_bytes(),
                        },
                        "garbage" => Answer::Holder {
                            sequence: number(2),
                            key: None,
                            payload: b"?",
                        },
                        "nobody" => Answer::Nobody,
                        "done" => Answer::GivenUp,
                        "later" => Answer::NotNow,
                        other => panic!("{other}"),
                    };
                    claims.on_answer(number(0), answer, turn);
                }
            }
            self.told()
        }

        fn told(&mut self) -> String {
            let mut told = Vec::new();
            while let Some((request, asked)) = self.engine.0.pop_front() {
                told.push(match asked {
                    Request::Claim(key, expected, payload) => {
                        let payload = String::from_utf8(payload).expect("text");
                        let (version, rest) = payload.split_at(16);
                        assert_eq!(version, "1 00000000000000", "{payload}");
                        assert!(rest.ends_with(name_of(key)), "{payload}");
                        format!("{request}: claim {rest} on {expected}")
                    }
                    Request::Look(key) => format!("{request}: look {}", name_of(key)),
                    Request::LookFrom(from) => format!("{request}: from {from}"),
                    Request::GiveUp(sequence) => format!("{request}: give up {sequence}"),
                });
            }
            while let Some(outcome) = self.claims.next_outcome() {
                told.push(match outcome {
                    Outcome::Granted { conn } => format!("{conn} granted"),
                    Outcome::Refused { conn, because } => format!("{conn} refused {because:?}"),
                    Outcome::Lost { conn } => format!("{conn} lost"),
                });
            }
            told.join(", ")
        }
    }

    /// Steps of which each is what happens and what follows.
    type Steps<'s> = &'s [(&'s str, &'s str)];

    fn check(cases: &[(&str, Steps<'_>)]) {
        for (case, steps) in cases {
            let mut rig = Rig::new();
            for (at, (words, expected)) in steps.iter().enumerate() {
                assert_eq!(rig.act(words), *expected, "{case}: step {at}, {words}");
            }
        }
    }

    #[test]
    fn a_nick_is_granted_to_who_is_first_and_to_nobody_else() {
        check(&[
            (
                "free, had, given up and had again",
                &[
                    ("claim 7 bob", ""),
                    ("open 1 s 0", "1: claim 01 7 bob on 0"),
                    ("1 stored 4", "7 granted"),
                    ("1 stored 4", ""),
                    ("leave 7", "2: give up 4"),
                    ("claim 8 bob", ""),
                    ("2 done", "3: claim 01 8 bob on 0"),
                    ("3 stored 5", "8 granted"),
                    ("claim 8 bob", "8 granted"),
                ],
            ),
            (
                "somebody else has it",
                &[
                    ("open 1 s 0", ""),
                    ("claim 7 bob", "1: claim 01 7 bob on 0"),
                    ("1 taken 9", "2: look bob"),
                    ("2 holder 9 aa 7", "7 refused Held"),
                    ("claim 7 alice", "3: claim 01 7 alice on 0"),
                    ("3 stored 10", "7 granted"),
                    ("leave 7", "4: give up 10"),
                ],
            ),
            (
                "who had it is gone",
                &[
                    ("open 1 s 0", ""),
                    ("claim 7 bob", "1: claim 01 7 bob on 0"),
                    ("1 taken", "2: look bob"),
                    ("2 holder 9 dd 7", "3: claim 01 7 bob on 9"),
                    ("3 taken 11", "4: look bob"),
                    ("4 nobody", "5: claim 01 7 bob on 0"),
                    ("5 taken 0", "6: claim 01 7 bob on 0"),
                    ("6 stored 12", "7 granted"),
                ],
            ),
            (
                "the engine is full, or what it holds is not understood",
                &[
                    ("open 1 s 0", ""),
                    ("claim 7 bob", "1: claim 01 7 bob on 0"),
                    ("1 full", "2: from 1, 3: look bob, 7 refused Full"),
                    ("3 nobody", ""),
                    ("claim 7 bob", "4: claim 01 7 bob on 0"),
                    ("4 taken 3", "5: look bob"),
                    ("5 garbage 3", "7 refused Held"),
                ],
            ),
            (
                "nobody has heard of who has it",
                &[
                    ("open 1 s 0", ""),
                    ("claim 7 bob", "1: claim 01 7 bob on 0"),
                    ("1 taken 3", "2: look bob"),
                    ("2 holder 3 ee 7", ""),
                    ("wait 1", "3: look bob"),
                    ("3 holder 3 ee 7", ""),
                    ("wait 14", "4: look bob"),
                    ("4 holder 3 ee 7", "5: claim 01 7 bob on 3"),
                    ("5 stored 4", "7 granted"),
                ],
            ),
            (
                "nobody listens while the link is lost",
                &[
                    ("open 1 s 0", ""),
                    ("claim 7 bob", "1: claim 01 7 bob on 0"),
                    ("1 taken 3", "2: look bob"),
                    ("2 holder 3 ee 7", ""),
                    ("close", ""),
                    ("wait 16", ""),
                    ("open 1 s 3", "3: look bob"),
                    ("3 holder 3 ee 7", ""),
                    ("wait 13", "4: look bob"),
                    ("4 holder 3 ee 7", ""),
                    ("wait 1", "7 refused NoAnswer"),
                ],
            ),
        ]);
    }

    #[test]
    fn a_race_is_run_a_bounded_number_of_times() {
        let mut rig = Rig::new();
        rig.act("open 1 s 0");
        rig.act("claim 7 bob");
        let mut request = 1;
        for _ in 0..MOST_TRIES {
            let looks = format!("{}: look bob", request + 1);
            assert_eq!(rig.act(&format!("{request} taken 3")), looks);
            let claims = format!("{}: claim 01 7 bob on 3", request + 2);
            assert_eq!(rig.act(&format!("{} holder 3 dd 7", request + 1)), claims);
            request += 2;
        }
        let refused = format!("{}: look bob, 7 refused Held", request + 1);
        assert_eq!(rig.act(&format!("{request} taken 3")), refused);
        assert_eq!(rig.act(&format!("{} holder 3 aa 7", request + 1)), "");
        assert!(rig.claims.claims.is_empty() && rig.claims.members.is_empty());
    }

    #[test]
    fn a_member_that_has_a_nick_is_patient() {
        let mut rig = Rig::new();
        rig.act("split");
        assert_eq!(rig.act("claim 7 bob"), "7 granted");
        rig.act("open 1 s 0");
        for request in 1..=u64::from(MOST_TRIES) {
            let again = format!("{}: claim 01 7 bob on 0", request + 1);
            assert_eq!(rig.act(&format!("{request} taken 0")), again);
        }
        assert_eq!(rig.act("9 taken 0"), "");
        assert_eq!(rig.act("wait 1"), "10: look bob");
        assert_eq!(rig.act("10 later"), "");
        assert_eq!(rig.act("wait 60"), "11: look bob");
    }

    #[test]
    fn of_who_comes_and_leaves_without_a_link_nothing_remains() {
        let mut rig = Rig::new();
        for _ in 0..1000 {
            assert_eq!(rig.act("claim 7 bob"), "");
            assert_eq!(rig.act("leave 7"), "");
        }
        assert!(rig.claims.claims.is_empty() && rig.claims.members.is_empty());
        assert!(rig.claims.ready.len() <= MOST_OUT + 1);
        rig.act("wait 60");
        assert!(rig.claims.impatient.is_empty() && rig.claims.by_key.is_empty());
    }

    #[test]
    fn another_nick_is_had_before_the_one_before_is_given_up() {
        check(&[
            (
                "granted",
                &[
                    ("open 1 s 0", ""),
                    ("claim 7 bob", "1: claim 01 7 bob on 0"),
                    ("1 stored 4", "7 granted"),
                    ("claim 7 alice", "2: claim 01 7 alice on 0"),
                    ("2 stored 5", "3: give up 4, 7 granted"),
                    ("leave 7", "4: give up 5"),
                    ("3 done", ""),
                    ("4 done", ""),
                ],
            ),
            (
                "refused",
                &[
                    ("open 1 s 0", ""),
                    ("claim 7 bob", "1: claim 01 7 bob on 0"),
                    ("1 stored 4", "7 granted"),
                    ("claim 7 alice", "2: claim 01 7 alice on 0"),
                    ("2 taken 5", "3: look alice"),
                    ("3 holder 5 aa 1", "7 refused Held"),
                    ("leave 7", "4: give up 4"),
                ],
            ),
            (
                "somebody here has left it behind",
                &[
                    ("open 1 s 0", ""),
                    ("claim 7 bob", "1: claim 01 7 bob on 0"),
                    ("1 taken 4", "2: look bob"),
                    ("2 holder 4 01 3", "3: claim 01 7 bob on 4"),
                ],
            ),
            (
                "changed its mind",
                &[
                    ("open 1 s 0", ""),
                    ("claim 7 bob", "1: claim 01 7 bob on 0"),
                    ("claim 7 alice", "2: claim 01 7 alice on 0"),
                    ("2 stored 5", "7 granted"),
                    ("1 stored 6", "3: give up 6"),
                ],
            ),
        ]);
    }

    #[test]
    fn who_leaves_leaves_no_claim() {
        check(&[
            (
                "while it is out",
                &[
                    ("open 1 s 0", ""),
                    ("claim 7 bob", "1: claim 01 7 bob on 0"),
                    ("leave 7", ""),
                    ("1 stored 4", "2: give up 4"),
                    ("2 later", ""),
                    ("wait 1", "3: give up 4"),
                ],
            ),
            (
                "while it is out, and the link is lost",
                &[
                    ("open 1 s 0", ""),
                    ("claim 7 bob", "1: claim 01 7 bob on 0"),
                    ("leave 7", ""),
                    ("close", ""),
                    ("open 1 s 4", "2: look bob"),
                    ("2 holder 4 01 7", "3: give up 4"),
                    ("close", ""),
                    ("open 1 s 4", "4: look bob"),
                    ("4 nobody", ""),
                ],
            ),
            (
                "while the link is lost, and the new leader is behind",
                &[
                    ("open 1 s 0", ""),
                    ("claim 7 bob", "1: claim 01 7 bob on 0"),
                    ("close", ""),
                    ("leave 7", ""),
                    ("open 1 s 0", "2: look bob"),
                    ("2 nobody", ""),
                    ("wait 1", "3: look bob"),
                    ("3 holder 4 01 7", "4: give up 4"),
                    ("4 done", ""),
                ],
            ),
            (
                "while it could not be stored",
                &[
                    ("open 1 s 0", ""),
                    ("claim 7 bob", "1: claim 01 7 bob on 0"),
                    ("1 later", ""),
                    ("leave 7", "2: look bob"),
                    ("2 nobody", ""),
                    ("wait 60", ""),
                ],
            ),
            (
                "while it is out, and cannot be stored",
                &[
                    ("open 1 s 0", ""),
                    ("claim 7 bob", "1: claim 01 7 bob on 0"),
                    ("leave 7", ""),
                    ("1 later", ""),
                    ("wait 1", "2: look bob"),
                ],
            ),
            (
                "before it is out",
                &[("claim 7 bob", ""), ("leave 7", ""), ("open 1 s 0", "")],
            ),
            (
                "on another stream, where another claim may be at its place",
                &[
                    ("open 1 s 0", ""),
                    ("claim 7 bob", "1: claim 01 7 bob on 0"),
                    ("1 stored 4", "7 granted"),
                    ("close", ""),
                    ("leave 7", ""),
                    ("open 1 t 4", "2: look bob"),
                    ("2 holder 4 aa 7", ""),
                ],
            ),
        ]);
    }

    #[test]
    fn what_is_not_answered_is_asked_again() {
        check(&[
            (
                "stored before the link was lost",
                &[
                    ("open 1 s 0", ""),
                    ("claim 7 bob", "1: claim 01 7 bob on 0"),
                    ("close", ""),
                    ("1 stored 4", ""),
                    ("open 1 s 4", "2: look bob"),
                    ("2 holder 4 01 7", "7 granted"),
                ],
            ),
            (
                "not stored before",
                &[
                    ("open 1 s 0", ""),
                    ("claim 7 bob", "1: claim 01 7 bob on 0"),
                    ("close", ""),
                    ("open 1 s 4", "2: look bob"),
                    ("2 nobody", "3: claim 01 7 bob on 0"),
                ],
            ),
            (
                "an older claim of the same connection is not this one",
                &[
                    ("open 1 s 4", ""),
                    ("claim 7 bob", "1: claim 01 7 bob on 0"),
                    ("close", ""),
                    ("open 1 s 4", "2: look bob"),
                    ("2 holder 4 01 7", "3: claim 01 7 bob on 4"),
                ],
            ),
            (
                "no answer",
                &[
                    ("open 1 s 0", ""),
                    ("claim 7 bob", "1: claim 01 7 bob on 0"),
                    ("wait 4", ""),
                    ("wait 1", "2: look bob"),
                    ("1 stored 4", ""),
                    ("2 holder 4 01 7", "7 granted"),
                ],
            ),
            (
                "no answer for long",
                &[
                    ("open 1 s 0", ""),
                    ("claim 7 bob", "1: claim 01 7 bob on 0"),
                    ("wait 29", "2: look bob"),
                    ("2 later", ""),
                    ("wait 1", "3: look bob, 7 refused NoAnswer"),
                    ("3 holder 4 01 7", "4: give up 4"),
                ],
            ),
        ]);
    }

    #[test]
    fn after_a_split_everything_is_claimed_anew() {
        check(&[
            (
                "in the order of joining",
                &[
                    ("open 1 s 0", ""),
                    ("claim 7 bob", "1: claim 01 7 bob on 0"),
                    ("claim 8 dave", "2: claim 01 8 dave on 0"),
                    ("1 stored 4", "7 granted"),
                    ("claim 9 eve", "3: claim 01 9 eve on 0"),
                    ("close", ""),
                    ("split", "8 granted, 9 granted"),
                    ("claim 10 frank", "10 granted"),
                    ("claim 7 alice", "7 granted"),
                    ("leave 9", ""),
                    (
                        "open 2 s 4",
                        "4: look eve, 5: look bob, 6: claim 02 7 alice on 0, 7: claim 02 8 dave on 0, \
                         8: claim 02 10 frank on 0",
                    ),
                    ("4 holder 5 01 9", "9: give up 5"),
                    ("7 taken 6", "10: look dave"),
                    ("10 holder 6 01 8", "11: claim 02 8 dave on 6"),
                    ("11 stored 8", ""),
                    ("8 taken 7", "12: look frank"),
                    ("12 holder 7 aa 1", "10 lost"),
                    ("claim 10 grace", "13: claim 02 10 grace on 0"),
                    ("6 full", "14: from 1"),
                    ("wait 1", "15: claim 02 7 alice on 0"),
                ],
            ),
            (
                "on top of what is still there",
                &[
                    ("open 1 s 0", ""),
                    ("claim 7 bob", "1: claim 01 7 bob on 0"),
                    ("1 stored 4", "7 granted"),
                    ("split", ""),
                    ("open 2 s 4", "2: claim 02 7 bob on 0"),
                    ("2 taken 4", "3: look bob"),
                    ("3 holder 4 01 7", "4: claim 02 7 bob on 4"),
                    ("4 stored 5", ""),
                    ("leave 7", "5: give up 5"),
                ],
            ),
        ]);
    }

    #[test]
    fn claims_that_the_engine_has_lost_are_made_again() {
        check(&[
            (
                "it has lost none",
                &[
                    ("open 1 s 0", ""),
                    ("claim 7 bob", "1: claim 01 7 bob on 0"),
                    ("1 stored 4", "7 granted"),
                    ("close", ""),
                    ("open 1 s 9", "2: look bob"),
                    ("2 holder 4 01 7", ""),
                    ("leave 7", "3: give up 4"),
                ],
            ),
            (
                "it has lost the last ones and stored others",
                &[
                    ("open 1 s 0", ""),
                    ("claim 7 bob", "1: claim 01 7 bob on 0"),
                    ("claim 8 dave", "2: claim 01 8 dave on 0"),
                    ("2 stored 4", "8 granted"),
                    ("1 stored 5", "7 granted"),
                    ("close", ""),
                    ("open 1 s 9", "3: look bob"),
                    (
                        "3 nobody",
                        "4: claim 01 7 bob on 0, 5: claim 01 8 dave on 0",
                    ),
                    ("5 taken 4", "6: look dave"),
                    ("6 holder 4 01 8", ""),
                    ("4 taken 9", "7: look bob"),
                    ("7 holder 9 aa 1", "7 lost"),
                    ("leave 8", "8: give up 4"),
                ],
            ),
            (
                "while it is looked for, the link is lost again",
                &[
                    ("open 1 s 0", ""),
                    ("claim 7 bob", "1: claim 01 7 bob on 0"),
                    ("1 stored 4", "7 granted"),
                    ("close", ""),
                    ("open 1 s 9", "2: look bob"),
                    ("close", ""),
                    ("open 1 s 9", "3: claim 01 7 bob on 0"),
                ],
            ),
            (
                "its end is before what was known",
                &[
                    ("open 1 s 0", ""),
                    ("claim 7 bob", "1: claim 01 7 bob on 0"),
                    ("1 stored 4", "7 granted"),
                    ("close", ""),
                    ("open 1 s 3", "2: claim 01 7 bob on 0"),
                    ("2 stored 4", ""),
                    ("close", ""),
                    ("open 1 t 9", "3: claim 01 7 bob on 0"),
                ],
            ),
        ]);
    }

    #[test]
    fn a_sweep_gives_up_what_nobody_has() {
        check(&[(
            "a sweep",
            &[
                ("sweep", ""),
                ("open 1 s 0", "1: from 1"),
                ("claim 7 bob", "2: claim 01 7 bob on 0"),
                ("1 holder 3 dd 7 alice", "3: give up 3"),
                ("3 done", "4: from 4"),
                ("4 holder 5 aa 7 carol", "5: from 6"),
                ("5 holder 6 01 7 bob", "6: from 7"),
                ("6 holder 8 01 7 dave", "7: give up 8"),
                ("7 later", ""),
                ("wait 1", "8: from 9"),
                ("8 holder 9 ee 7 eve", "9: from 10"),
                ("9 garbage 12", "10: from 13"),
                ("10 nobody", ""),
                ("2 stored 14", "7 granted"),
                ("wait 15", "11: from 1"),
                ("11 holder 9 ee 7 eve", "12: give up 9"),
                ("12 done", "13: from 10"),
                ("13 nobody", ""),
                ("wait 60", ""),
                ("sweep", "14: from 1"),
            ],
        )]);
    }

    #[test]
    fn sixty_four_requests_are_out_and_the_others_wait_in_order() {
        let mut rig = Rig::new();
        let mut turn = Turn {
            now: rig.now,
            engine: &mut rig.engine,
            life: |_| Life::Lives,
        };
        for conn in 1..=100 {
            let name = format!("n{conn}");
            rig.claims.claim(conn, &name, &name, &mut turn);
        }
        rig.claims.on_open(NodeId(1), "s", 0, &mut turn);
        assert_eq!(turn.engine.0.len(), MOST_OUT);
        for request in 1..=100_u64 {
            let sequence = request;
            let claim = turn.engine.0.pop_front().expect("a request");
            let key = KeyHash::of(&format!("n{request}"));
            assert!(
                matches!(claim, (number, Request::Claim(it, 0, _)) if number == request && it == key)
            );
            rig.claims
                .on_answer(request, Answer::Stored { sequence }, &mut turn);
            assert_eq!(
                rig.claims.next_outcome(),
                Some(Outcome::Granted { conn: request })
            );
            assert!(rig.claims.out.len() <= MOST_OUT);
        }
    }
}
