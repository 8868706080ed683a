//! Between those who ask for nicks and those who claim them: [`Nicks`] hands what the room
//! [asks](crate::room::asking) to the [claims](crate::relay::claims), and what becomes of it back. Claims are made under the
//! id of this server, which the others have to have heard first; so nothing is claimed before the relay is up.

use crate::config::relay::RelayTimes;
use crate::protocol::close_reason::CloseReason;
use crate::protocol::relay_batch::NodeId;
use crate::relay::claims::{
    Answer, Because, ClaimEngine, ClaimTimes, Claims, KeyHash, Outcome, Turn,
};
use crate::relay::{Phase, Relay};
use crate::room::asking::{Answered, ClaimRequest, NoClaim};
use crate::session::relay::{NoEngine, Relayed};
use crate::session::{Ctx, Effect};
use crate::time::moment::Moment;

/// The claims of nicks, and how far they know what the relay knows.
#[derive(Debug)]
pub(super) struct Nicks {
    claims: Claims,
    /// When the stream of claims was made, and its last place, of the connection that stands.
    stream: Option<(String, u64)>,
    /// The id under which claims are made on this connection.
    under: Option<NodeId>,
    /// They know that the room is split.
    is_split: bool,
}

impl Nicks {
    pub(super) fn new(node: NodeId, times: RelayTimes) -> Self {
        let claims = Claims::new(
            ClaimTimes {
                doubt: times.gone,
                answer: times.beat,
                again: times.probe,
                patience: times.gone.saturating_mul(2),
            },
            node,
        );
        Self {
            claims,
            stream: None,
            under: None,
            is_split: false,
        }
    }

    /// A connection can be used.
    pub(super) fn opened(&mut self, created: String, last: u64) {
        self.stream = Some((created, last));
    }

    /// The connection has ended.
    pub(super) fn on_closed(&mut self) {
        (self.stream, self.under) = (None, None);
        self.claims.on_closed();
    }

    pub(super) fn next_deadline(&self) -> Option<Moment> {
        self.claims.next_deadline()
    }

    /// Whether nothing is claimed, or waits to be given up.
    pub(super) fn is_empty(&self) -> bool {
        self.claims.len() == 0
    }

    fn catch_up(&mut self, core: &Relay, now: Moment, engine: &mut impl ClaimEngine) {
        match core.phase() {
            Phase::Split if !self.is_split => {
                self.is_split = true;
                self.under = None;
                self.claims.on_split();
            }
            Phase::Up if self.under != Some(core.node()) => {
                if let Some((created, last)) = &self.stream {
                    (self.is_split, self.under) = (false, Some(core.node()));
                    let mut turn = turn(core, now, engine);
                    self.claims.on_open(core.node(), created, *last, &mut turn);
                    // Those who have ended while nobody was there have left their claims.
                    self.claims.sweep(&mut turn);
                }
            }
            _ => {}
        }
    }
}

fn turn<'t, E>(
    core: &'t Relay,
    now: Moment,
    engine: &'t mut E,
) -> Turn<'t, E, impl Fn(NodeId) -> crate::relay::claims::Life + 't> {
    Turn {
        now,
        engine,
        life: |node| core.life(node),
    }
}

impl Relayed {
    /// Has claimed what the room asks for, and does what is due.
    pub(super) fn drive_claims(&mut self, engine: &mut impl ClaimEngine, cx: &mut Ctx<'_>) {
        let now = cx.env.now;
        let (core, nicks) = (&self.core, &mut self.nicks);
        nicks.catch_up(core, now, engine);
        let mut turn = turn(core, now, engine);
        for request in cx.room.take_claims() {
            match request {
                ClaimRequest::Claim { conn, nick } => {
                    nicks
                        .claims
                        .claim(conn, nick.key(), nick.as_str(), &mut turn);
                }
                ClaimRequest::Leave { conn } => nicks.claims.leave(conn, &mut turn),
            }
        }
        if cx.room.take_gone() {
            nicks.claims.sweep(&mut turn);
        }
        if nicks.next_deadline().is_some_and(|at| at <= now) {
            nicks.claims.on_time(&mut turn);
        }
        nicks.settle(cx);
    }

    /// The engine has answered something about claims.
    pub(super) fn on_claim_answer(
        &mut self,
        request: u64,
        answer: Answer<'_>,
        engine: &mut impl ClaimEngine,
        cx: &mut Ctx<'_>,
    ) {
        let (core, nicks) = (&self.core, &mut self.nicks);
        let mut turn = turn(core, cx.env.now, engine);
        nicks.claims.on_answer(request, answer, &mut turn);
        nicks.settle(cx);
    }
}

impl Nicks {
    /// Tells the room what became of claims.
    fn settle(&mut self, cx: &mut Ctx<'_>) {
        while let Some(outcome) = self.claims.next_outcome() {
            let answered = match outcome {
                Outcome::Granted { conn } => cx.room.on_claim(conn, Ok(())),
                Outcome::Refused { conn, because } => cx.room.on_claim(
                    conn,
                    Err(match because {
                        Because::Held => NoClaim::Held,
                        Because::Full => NoClaim::Full,
                        Because::NoAnswer => NoClaim::NoAnswer,
                    }),
                ),
                Outcome::Lost { conn } => cx.room.on_nick_lost(conn),
            };
            match answered {
                Some(Answered::Resume(id)) => cx.effects.push(Effect::Resume(id)),
                Some(Answered::Close(id)) => {
                    cx.effects.push(Effect::Close(id, CloseReason::NickLost));
                }
                None => {}
            }
        }
    }
}

impl ClaimEngine for NoEngine {
    fn claim(&mut self, _: u64, _: KeyHash, _: u64, _: &[u8]) {}

    fn look(&mut self, _: u64, _: KeyHash) {}

    fn look_from(&mut self, _: u64, _: u64) {}

    fn give_up(&mut self, _: u64, _: u64) {}
}
