//! One protocol each: a [`Session`] makes something of a connection's input. It is given input, the
//! queue of its own client and a [`Ctx`]; it never sees a stream, the slab, or another client's
//! connection. What concerns others goes through the room's batch, its outbox, or an [`Effect`].
//!
//! A session takes at most one line a call, and what comes of it is settled before the next: `/kick
//! bob` and then `/msg bob` in one read does not reach bob.

pub(crate) mod admission;
mod ahead;
pub(crate) mod auth;
pub(crate) mod chat;
pub(crate) mod closing;
pub(crate) mod commands;
mod http;
mod login;
mod page;
pub(crate) mod reclaimable;
#[cfg(feature = "relay")]
pub(crate) mod relay;
pub(crate) mod secrets;

use std::net::SocketAddr;
use std::time::Instant;

use crate::client_id::ClientId;
use crate::config::Limits;
use crate::config::addr::{Eof, Service};
use crate::config::interactive::Profile;
use crate::conn::Env;
use crate::conn::overflow::Content;
use crate::conn::send_queue::{Pushed, SendQueue};
use crate::conn::timeouts::Timeout;
use crate::events::{Event, Heard, Observer};
use crate::peer::{Peer, PeerSet};
use crate::protocol::close_reason::CloseReason;
use crate::protocol::layout::{Columns, each_line};
use crate::protocol::message::Message;
use crate::room::Room;
#[cfg(feature = "relay")]
use crate::room::private::Asked;
use crate::time::moment::Moment;
use crate::time::rate_limit::TokenBucket;
use auth::Auth;
use chat::ChatSession;
use closing::Closing;
use http::HttpSession;
#[cfg(feature = "relay")]
use relay::{RelaySession, Relayed};

/// What a connection speaks.
#[derive(Debug)]
pub(crate) enum Session {
    /// A client of the room, on its way in or a member.
    Chat(ChatSession),
    /// An HTTP request.
    Http(HttpSession),
    /// Nothing that is read: the transcript is written to it.
    Transcript,
    /// What the engine says that joins several servers.
    #[cfg(feature = "relay")]
    Relay(Box<RelaySession>),
    /// Nothing any more: the connection is being closed.
    Closing(Closing),
}

/// What a session may use while it handles a line.
pub(crate) struct Ctx<'a> {
    pub(crate) id: ClientId,
    pub(crate) peer: Peer,
    /// Whether a line for the room may be said now.
    pub(crate) may_say: bool,
    pub(crate) room: &'a mut Room,
    pub(crate) auth: &'a mut Auth,
    pub(crate) env: &'a mut Env,
    pub(crate) effects: &'a mut Vec<Effect>,
    /// What joins this server and others, if there are any.
    #[cfg(feature = "relay")]
    pub(crate) relay: &'a mut Option<Box<Relayed>>,
    pub(crate) watch: Watch<'a>,
}

/// What is to happen to connections when the line that asked for it has been handled. Words are
/// formatted at once, so nothing of the line has to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Close(ClientId, CloseReason),
    /// Close a banned member, and tell the operator where it came from.
    Expel {
        by: ClientId,
        id: ClientId,
    },
    /// Tell an operator where a member comes from that is about to be closed.
    TellOrigin {
        by: ClientId,
        id: ClientId,
    },
    /// Tell an operator where a member comes from that is muted.
    TellMuted {
        by: ClientId,
        id: ClientId,
    },
    /// Tell a member what is known of another one.
    Whois {
        to: ClientId,
        id: ClientId,
    },
    /// Tell another server what is known of a member here, as it has asked.
    #[cfg(feature = "relay")]
    AnswerWhois {
        id: ClientId,
        asked: Asked,
    },
    /// Other servers have said whether a client can have its nick.
    #[cfg(feature = "relay")]
    Resume(ClientId),
    /// Let nobody say more in this turn: enough is on its way to other servers.
    #[cfg(feature = "relay")]
    HoldSpeakers,
    /// Close all clients of these peers.
    ClosePeers(PeerSet),
    /// Connect to this address, and speak that with it.
    Dial(SocketAddr, Service),
}

/// Tells the observer, if it listens.
pub(crate) struct Watch<'a> {
    observer: Option<&'a mut dyn Observer>,
    now: Instant,
}

/// What came of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// How much of the input is used, in bytes.
    pub(crate) used: usize,
    /// How much every reader of the room gets of it, in bytes.
    pub(crate) said_bytes: usize,
    /// What it costs at least, in bytes: it may take as much time as a line of that length.
    pub(crate) least_cost: usize,
    /// The client is a member now.
    pub(crate) has_joined: bool,
    pub(crate) flow: Flow,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Call again with the rest of the input, if the budget allows.
    Continue,
    /// All of the input is used, and nothing more can be done without more.
    Starved,
    /// A line must wait until the room's gate is open. The session keeps it.
    Wait,
    /// A line asks for a nick of which other servers have to say first whether it can be had. The session keeps
    /// the line, reads nothing more, and goes on when it is [resumed](Session::resume).
    AwaitNick,
    /// A line asks for the nick of this client, whose peer may have vanished. The session keeps the
    /// line, and is called again once the kernel was asked.
    CheckPeer(ClientId),
    /// A line proves that this client is the same person, so it is to be closed first. The session keeps the
    /// line, and is called again once that was done.
    TakeOver(ClientId),
    /// The answer needs a look at every client. The session is called again once that was taken.
    Survey,
    /// Close the client for this reason.
    Close(CloseReason),
    /// Give up the connection without a word.
    Drop,
}

/// The run queue of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Its stream cannot be spoken to yet, which the engine knows.
    Handshake,
    /// Without a nick, or not a client of the room: never gated.
    Login,
    Sparse,
    Bulk,
}

impl Session {
    /// The session of a new connection.
    pub(crate) fn new(service: Service, env: &Env) -> Self {
        match service {
            Service::Chat(profile) => Self::Chat(ChatSession::new(profile, Eof::default(), env)),
            Service::Script(script) => {
                Self::Chat(ChatSession::new(Profile::Plain, script.eof, env))
            }
            Service::Http => Self::Http(HttpSession::new(env.now)),
        }
    }

    /// The session of a client that is a member already, under a nick that the room knows.
    pub(crate) fn new_member(profile: Profile, eof: Eof, env: &Env) -> Self {
        Self::Chat(ChatSession::new(profile, eof, env).into_member())
    }

    /// Counts as said by this client what closed connections of its origin have said.
    pub(crate) fn begin_with_debt(&mut self, said: TokenBucket) {
        if let Self::Chat(chat) = self {
            chat.talk.said = said;
        }
    }

    /// What the client has said, in bytes, against what can be read.
    pub(crate) fn debt(&self) -> TokenBucket {
        match self {
            Self::Chat(chat) => chat.talk.said,
            _ => TokenBucket::default(),
        }
    }

    /// The client has connected.
    pub(crate) fn on_open(
        &mut self,
        is_authenticated: bool,
        out: &mut SendQueue,
        cx: &mut Ctx<'_>,
    ) {
        match self {
            Self::Chat(chat) if chat.is_member() => chat.lay_out(out),
            Self::Chat(chat) => chat.greet(is_authenticated, out, cx),
            _ => {}
        }
    }

    /// Handles input up to the first line at most.
    pub(crate) fn on_input(&mut self, input: &[u8], out: &mut SendQueue, cx: &mut Ctx<'_>) -> Step {
        match self {
            Self::Chat(chat) => chat.on_input(input, out, cx),
            Self::Http(http) => http.on_input(input, out, cx),
            Self::Transcript => Step::new(input.len(), Flow::Starved),
            #[cfg(feature = "relay")]
            Self::Relay(relay) => relay.on_input(input, out, cx),
            Self::Closing(closing) => closing.on_input(input, cx.env.limits.linger_bytes),
        }
    }

    /// What the client is told last.
    pub(crate) fn goodbye(&self, reason: CloseReason, limits: &Limits) -> Option<Message<'static>> {
        match self {
            Self::Chat(chat) => chat.goodbye(reason, limits),
            #[cfg(feature = "relay")]
            Self::Relay(_) => None,
            Self::Http(_) | Self::Transcript | Self::Closing(_) => {
                reason.goodbye().map(Message::Goodbye)
            }
        }
    }

    /// How much memory it holds besides itself, in bytes: a line or a request that is arriving.
    #[inline]
    pub(crate) fn memory_bytes(&self) -> usize {
        match self {
            Self::Chat(chat) => chat.decoder.memory_bytes(),
            Self::Http(http) => http.memory_bytes(),
            #[cfg(feature = "relay")]
            Self::Relay(relay) => relay.memory_bytes(),
            Self::Transcript | Self::Closing(_) => 0,
        }
    }

    /// Frees what was kept of the input: the client gives up what it was about to say.
    pub(crate) fn forget_input(&mut self) {
        match self {
            Self::Chat(chat) => chat.forget_input(),
            Self::Http(http) => http.forget_input(),
            _ => {}
        }
    }

    /// Charges the cost of a line to its speaker, in bytes.
    pub(crate) fn charge(&mut self, cost: usize, now: Moment) {
        if let Self::Chat(chat) = self {
            chat.charge(cost, now);
        }
    }

    /// Whether its input is read.
    pub(crate) fn listens(&self) -> bool {
        match self {
            Self::Chat(chat) => !chat.talk.awaits_nick,
            Self::Closing(closing) => closing.listens(),
            _ => true,
        }
    }

    fn is_relay(&self) -> bool {
        match self {
            #[cfg(feature = "relay")]
            Self::Relay(_) => true,
            _ => false,
        }
    }

    /// Whether it serves the server itself and no client, so that its memory is not given up for one.
    pub(crate) fn is_own(&self) -> bool {
        match self {
            Self::Transcript => true,
            #[cfg(feature = "relay")]
            Self::Relay(_) => true,
            Self::Chat(_) | Self::Http(_) | Self::Closing(_) => false,
        }
    }

    /// Whether it goes on when the server shuts down: requests are answered, and other servers get to know who has
    /// left.
    pub(crate) fn outlives_shutdown(&self) -> bool {
        match self {
            Self::Http(_) => true,
            #[cfg(feature = "relay")]
            Self::Relay(_) => true,
            Self::Chat(_) | Self::Transcript | Self::Closing(_) => false,
        }
    }

    /// What other servers were asked was answered: its line is to be handled again.
    #[cfg(feature = "relay")]
    pub(crate) fn resume(&mut self) {
        if let Self::Chat(chat) = self {
            chat.talk.awaits_nick = false;
        }
    }

    pub(crate) fn is_closing(&self) -> bool {
        matches!(self, Self::Closing(_))
    }

    /// Whether it may take nothing of what is queued for as long as it likes: its end has a time of its
    /// own, or, for a transcript, a disk may stall and be well again.
    pub(crate) fn may_stall(&self) -> bool {
        self.is_own() || matches!(self, Self::Closing(_))
    }

    /// Whether it is to be freed at the end of the turn.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self, Self::Closing(Closing::Done { .. }))
    }

    /// Whether a person is at the other end.
    pub(crate) fn is_interactive(&self) -> bool {
        matches!(self, Self::Chat(chat) if chat.talk.is_interactive())
    }

    pub(crate) fn is_member(&self) -> bool {
        matches!(self, Self::Chat(chat) if chat.is_member())
    }

    /// Whether the client stays after its peer has closed its sending half.
    pub(crate) fn outlives_input(&self) -> bool {
        matches!(self, Self::Chat(chat) if chat.outlives_input())
    }

    /// What the client has sent.
    pub(crate) fn heard(&self) -> Heard {
        match self {
            Self::Chat(chat) => chat.heard(),
            Self::Http(_) => Heard::Http,
            _ => Heard::Something,
        }
    }

    /// When the member last sent something.
    pub(crate) fn last_input(&self) -> Option<Moment> {
        match self {
            Self::Chat(chat) => chat.last_input(),
            _ => None,
        }
    }

    /// Whether a line waits for the room's gate.
    pub(crate) fn has_waiting_line(&self) -> bool {
        matches!(self, Self::Chat(chat) if chat.decoder.has_postponed())
    }

    /// Whether it need not wait for the room's gate.
    pub(crate) fn passes_gate(&self, id: ClientId, room: &Room) -> bool {
        matches!(self, Self::Chat(chat) if chat.passes_gate(id, room))
    }

    /// Looks for its leaving in input that waits for the room's gate: behind it the input ends, if
    /// `has_ended`. Returns whether it need not wait any more.
    pub(crate) fn look_for_leaving(&mut self, input: &[u8], has_ended: bool) -> bool {
        match self {
            Self::Chat(chat) => chat.is_member() && chat.look_for_leaving(input, has_ended),
            _ => false,
        }
    }

    /// Whether its lines wait for their rate, and what waits is to be looked through. `is_news`: some of it
    /// has just come.
    pub(crate) fn is_to_look_ahead(&self, env: &Env, is_news: bool) -> bool {
        match self {
            Self::Chat(chat) => chat.is_ahead(env) && (is_news || !chat.is_told_ahead()),
            _ => false,
        }
    }

    /// Looks through input that waits for its rate. Returns how many bytes of it are to be dropped.
    pub(crate) fn look_ahead(
        &mut self,
        input: &[u8],
        out: &mut SendQueue,
        cx: &mut Ctx<'_>,
    ) -> usize {
        match self {
            Self::Chat(chat) if chat.is_ahead(cx.env) => chat.look_ahead(input, out, cx),
            _ => 0,
        }
    }

    /// Which run queue it belongs to.
    pub(crate) fn lane(&self, now: Moment) -> Lane {
        match self {
            Self::Chat(chat) => chat.lane(now),
            _ => Lane::Login,
        }
    }

    /// When its next line may be handled, if not now.
    pub(crate) fn throttled_until(&self, env: &Env) -> Option<Moment> {
        match self {
            Self::Chat(chat) => env.line_rate.next_at(&chat.talk.lines, env.now),
            _ => None,
        }
    }

    /// From when on its next line may be handled; `None` if always.
    pub(crate) fn next_line_at(&self, env: &Env) -> Option<Moment> {
        match self {
            Self::Chat(chat) => env.line_rate.allowed_at(&chat.talk.lines),
            _ => None,
        }
    }

    /// The most that the next line can put into a queue, in bytes, given that this much input is left.
    pub(crate) fn longest_output(&self, input_bytes: usize, longest: &LongestLine) -> usize {
        match self {
            Self::Chat(chat) => chat.longest_output(input_bytes, longest),
            _ => self.longest_output_of_others(input_bytes),
        }
    }

    #[cold]
    fn longest_output_of_others(&self, input_bytes: usize) -> usize {
        // What comes from the engine was as long before, or has a frame around it.
        match self.is_relay() {
            true => self.memory_bytes().saturating_add(input_bytes),
            false => 0,
        }
    }

    /// When it was opened, as long as nothing has come of it.
    pub(crate) fn opened_at(&self) -> Option<Moment> {
        match self {
            Self::Chat(chat) => Some(chat.talk.since()),
            Self::Http(http) => Some(http.since()),
            #[cfg(feature = "relay")]
            Self::Relay(relay) => Some(relay.since()),
            Self::Transcript | Self::Closing(_) => None,
        }
    }

    /// The end of its phase.
    pub(crate) fn timeout(&self, limits: &Limits) -> Option<(Moment, Timeout)> {
        match self {
            Self::Chat(chat) => chat.timeout(limits),
            Self::Http(http) => Some(http.timeout()),
            Self::Transcript => None,
            #[cfg(feature = "relay")]
            Self::Relay(relay) => relay.timeout(),
            Self::Closing(closing) => closing.timeout(limits),
        }
    }

    /// All output was passed to the kernel; `held` is the input that was received before and is not
    /// decoded yet.
    pub(crate) fn on_answered(&mut self, held: &[u8]) {
        if let Self::Chat(chat) = self {
            chat.on_answered(held);
        }
    }

    /// The client is not silent: it waits for its input to be read.
    pub(crate) fn touch(&mut self, now: Moment) {
        if let Self::Chat(chat) = self {
            chat.touch(now);
        }
    }
}

/// The length of the longest lines that can be sent to a client, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LongestLine {
    /// With the longest text.
    pub(crate) with_text: usize,
    /// Without a text, which may be a notice of the server's own.
    pub(crate) without_text: usize,
}

impl Ctx<'_> {
    /// Queues a line of the server's own for the client itself, behind everything that was said
    /// before.
    pub(crate) fn reply(&mut self, out: &mut SendQueue, message: Message<'_>) -> Flow {
        let is_quote = message.is_quote();
        self.reply_written(out, is_quote, |_, line| message.write(line))
    }

    /// Queues an answer that the room writes. `is_quote`: it is not broken.
    pub(crate) fn reply_written(
        &mut self,
        out: &mut SendQueue,
        is_quote: bool,
        write: impl FnOnce(&Room, &mut Vec<u8>),
    ) -> Flow {
        let mut line = std::mem::take(&mut self.env.scratch_line);
        line.clear();
        write(self.room, &mut line);
        let columns = match is_quote {
            true => Columns::UNBROKEN,
            false => out.columns(),
        };
        let mut flow = Flow::Continue;
        each_line(&line, columns, |line| {
            if flow == Flow::Continue {
                flow = self.reply_line(out, line);
            }
        });
        self.env.scratch_line = line;
        flow
    }

    fn reply_line(&mut self, out: &mut SendQueue, line: &[u8]) -> Flow {
        let flow = self.push(out, line, Content::Reply);
        if flow == Flow::Continue {
            self.watch.emit(|| Event::Replied {
                id: self.id,
                peer: self.peer,
                line: line.strip_suffix(b"\r\n").unwrap_or(line),
            });
        }
        flow
    }

    /// Queues bytes for the client itself, behind everything that was said before.
    pub(crate) fn push(&mut self, out: &mut SendQueue, bytes: &[u8], content: Content) -> Flow {
        let mut pushed = self.catch_up(out);
        if pushed != Pushed::Full {
            pushed = out.push(bytes, content, self.env);
            self.watch.emit_skipped(self.id, self.env);
        }
        match pushed {
            Pushed::Full => Flow::Close(CloseReason::TooSlow),
            Pushed::Queued | Pushed::Skipped => Flow::Continue,
        }
    }

    /// Queues for the client what was said and it has not been given.
    pub(crate) fn catch_up(&mut self, out: &mut SendQueue) -> Pushed {
        let mut worst = Pushed::Queued;
        let Self { id, room, env, .. } = self;
        room.take_pending(*id, |piece| {
            if worst != Pushed::Full {
                worst = out.push_piece(piece, env);
            }
        });
        self.watch.emit_skipped(self.id, self.env);
        worst
    }
}

impl<'a> Watch<'a> {
    /// Tells `observer` what happens in the turn that began at `now`.
    #[inline]
    pub(crate) fn new(observer: &'a mut impl Observer, now: Instant) -> Self {
        let observer: Option<&mut dyn Observer> = match observer.listens() {
            true => Some(observer),
            false => None,
        };
        Self { observer, now }
    }

    /// Reports what `event` builds. Without an observer that listens nothing is built.
    #[inline]
    pub(crate) fn emit<'e>(&mut self, event: impl FnOnce() -> Event<'e>) {
        if let Some(observer) = &mut self.observer {
            observer.on_event(self.now, event());
        }
    }
}

impl Watch<'_> {
    /// Emits an event with the number of skipped lines, if this client was just told of any. Returns
    /// whether it was.
    pub(crate) fn emit_skipped(&mut self, id: ClientId, env: &mut Env) -> bool {
        let lines = std::mem::take(&mut env.told_skipped);
        if lines > 0 {
            self.emit(|| Event::Skipped { id, lines });
        }
        lines > 0
    }
}

impl Flow {
    /// Whether the session keeps its line until the engine has done what it asks for.
    pub(crate) fn is_request(self) -> bool {
        matches!(
            self,
            Self::AwaitNick | Self::CheckPeer(_) | Self::TakeOver(_)
        )
    }

    /// Whether the engine has something to do or to find out before the session is called again.
    pub(crate) fn needs_engine(self) -> bool {
        self.is_request() || matches!(self, Self::Wait | Self::Survey)
    }
}

impl Step {
    /// A step that said nothing to the room.
    pub(crate) fn new(used: usize, flow: Flow) -> Self {
        Self {
            used,
            said_bytes: 0,
            least_cost: 0,
            has_joined: false,
            flow,
        }
    }
}
