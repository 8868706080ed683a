//! What people can ask for: [`COMMANDS`] is the one table, and each row has a function below. To add a
//! command is to add a row and its function; `/help`, suggestions, the least number of arguments and
//! who may give it follow from the row.
//!
//! A command is said by nobody, and costs as much as a line of a kilobyte, because that is how much
//! work it may be.

use jiff::Timestamp;

use crate::broadcast::priority::Class;
use crate::client_id::ClientId;
use crate::conn::send_queue::{Pushed, SendQueue};
use crate::events::Event;
#[cfg(feature = "relay")]
use crate::peer::Peer;
use crate::peer::PeerSet;
use crate::protocol::claim_token::ClaimToken;
use crate::protocol::close_reason::CloseReason;
use crate::protocol::command::{self, Help, Role, Typed, is_slash, nearest, time_and_reason};
use crate::protocol::message::Message;
use crate::protocol::relay_batch::Kind;
use crate::protocol::target::{Target, TypedPeers};
use crate::room::sanction::{Order, Sanction};
use crate::session::login::count_wrong_password;
use crate::session::{Ctx, Effect, Flow, Step};
use crate::text::{self, CleanText};
use crate::time::minute_of;
use crate::time::rate_limit::TokenBucket;

/// What a command costs at least, in bytes.
pub(crate) const COMMAND_BYTES: usize = 1 << 10;

/// How many bytes are searched in the time that a byte of a line takes.
const FOUND_BYTES_EACH: usize = 4;

/// A command.
struct Row {
    help: Help,
    /// How many words must stand behind it.
    least: usize,
    /// Its effect is visible to others, so a muted member may not give it, and it waits as a line does.
    is_speech: bool,
    /// That effect is another than a text.
    is_wordless: bool,
    run: Run,
}

/// How what stands behind a command is taken apart, and the function that gets it.
enum Run {
    /// Whatever stands there is ignored.
    Nothing(fn(&mut Call<'_, '_>)),
    /// All of it.
    Text(fn(&mut Call<'_, '_>, CleanText<'_>)),
    /// One word, or none.
    Word(fn(&mut Call<'_, '_>, CleanText<'_>)),
    /// A word and the rest.
    WordAndText(fn(&mut Call<'_, '_>, CleanText<'_>, CleanText<'_>)),
    /// Whom a ban or a mute is for.
    Target(fn(&mut Call<'_, '_>, Target<'_>, CleanText<'_>)),
    /// Whom a ban or a mute is for, a time and a reason, both of which may be missing.
    Order(fn(&mut Call<'_, '_>, Target<'_>, CleanText<'_>, Order<'_>)),
    /// `on`, `off`, or nothing, which is the other of the two.
    Switch(fn(&mut Call<'_, '_>, Option<bool>)),
    /// A number from 1 on and a word, both of which may be missing.
    NumberAndWord(fn(&mut Call<'_, '_>, Option<usize>, CleanText<'_>)),
}

/// One command that is being carried out.
struct Call<'c, 'a> {
    cx: &'c mut Ctx<'a>,
    /// The rate of the client's lines.
    lines: &'c mut TokenBucket,
    class: Class,
    /// The peer of the member that holds the nick that it asks for was checked.
    is_checked: bool,
    /// How much every reader gets of it, in bytes.
    said_bytes: usize,
    /// How much work it is at least, in bytes.
    least_cost: usize,
    /// An operator has changed something.
    has_moderated: bool,
    /// How long the reason is that it has given at the end of its line, and that is left out because it is muted.
    left_out: usize,
    flow: Flow,
}

/// Whom a ban or a mute is for.
enum Sanctioned<'t> {
    Name(CleanText<'t>),
    Peers(TypedPeers),
    Nobody,
}

const fn row(
    name: &'static str,
    aliases: &'static [&'static str],
    arguments: &'static str,
    least: usize,
    what: &'static str,
    run: Run,
) -> Row {
    Row {
        help: Help {
            name,
            aliases,
            arguments,
            what,
            role: Role::Anybody,
        },
        least,
        is_speech: false,
        is_wordless: false,
        run,
    }
}

impl Row {
    /// Others see a text of it.
    const fn speech(self) -> Self {
        Self {
            is_speech: true,
            ..self
        }
    }

    /// Others see something else of it.
    const fn wordless_speech(self) -> Self {
        Self {
            is_speech: true,
            is_wordless: true,
            ..self
        }
    }

    const fn for_role(self, role: Role) -> Self {
        let Self {
            help:
                Help {
                    name,
                    aliases,
                    arguments,
                    what,
                    role: _,
                },
            least,
            is_speech,
            is_wordless,
            run,
        } = self;
        Self {
            help: Help {
                name,
                aliases,
                arguments,
                what,
                role,
            },
            least,
            is_speech,
            is_wordless,
            run,
        }
    }

    /// Only operators have it.
    const fn op(self) -> Self {
        self.for_role(Role::Operator)
    }
}

/// Every command, in the order in which they are listed.
#[rustfmt::skip]
static COMMANDS: [Row; 31] = [
    row("help", &["h", "?"], "[COMMAND]", 0, "lists the commands; with COMMAND, its other names", Run::Word(help)),
    row("who", &["w", "names", "list", "users"], "[NAME]", 0, "lists who is here; with NAME, whose names begin with it", Run::Word(who)),
    row("whois", &[], "NAME", 1, "tells how long NAME has been here, and more", Run::Word(whois)),
    // What a nick may be is the nick's own to say.
    row("nick", &[], "NAME", 1, "changes your name", Run::Text(nick)).wordless_speech(),
    row("me", &[], "TEXT", 1, "shows an action: /me waves is seen as ** bob waves", Run::Text(me)).speech(),
    row("msg", &["m", "t", "tell", "pm", "dm", "whisper"], "NAME TEXT", 2, "tells NAME alone", Run::WordAndText(msg)).speech(),
    row("reply", &["r"], "TEXT", 1, "answers, in private, whoever last told you something", Run::Text(reply)).speech(),
    row("ignore", &[], "[NAME]", 0, "hides what NAME says; alone, lists whom you ignore", Run::Word(ignore)),
    row("unignore", &[], "NAME", 1, "stops ignoring NAME", Run::Word(unignore)),
    row("last", &[], "[N] [NAME]", 0, "shows the last N lines (of NAME), or all that are kept", Run::NumberAndWord(last)),
    row("find", &[], "TEXT", 1, "shows the last lines that have TEXT in them", Run::Text(find_text)),
    row("quiet", &[], "[on|off]", 0, "hides joins, leaves and renames; again, shows them", Run::Switch(quiet)),
    row("bell", &[], "off|private|name", 1, "rings for private words, or your name as well", Run::Word(bell)),
    row("stamp", &[], "[+5h45m|off]", 0, "shows the time before each line, at this offset from UTC", Run::Word(stamp)),
    row("away", &[], "[WHY]", 0, "marks you as away, and says why; again, as back", Run::Text(away)).wordless_speech(),
    row("claim", &[], "", 0, "gives a token that brings your name back after a lost connection", Run::Nothing(claim)),
    row("time", &[], "", 0, "tells the time, in UTC", Run::Nothing(time)),
    row("quit", &["q", "exit", "bye"], "[TEXT]", 0, "leaves; TEXT is shown to the others", Run::Text(quit)),
    row("op", &[], "[PASSWORD]", 0, "makes you an operator; alone, lets you type PASSWORD unseen", Run::Text(op)).for_role(Role::OperatorToBe),
    row("deop", &[], "", 0, "makes you an ordinary member again", Run::Nothing(deop)).op(),
    row("kick", &[], "NAME [WHY]", 1, "disconnects NAME, who can come back", Run::WordAndText(kick)).op(),
    row("ban", &[], "WHOM [TIME] [WHY]", 1, "keeps out a nick, address, network or uid N", Run::Order(ban)).op(),
    row("unban", &[], "WHOM", 1, "ends a ban", Run::Target(unban)).op(),
    row("bans", &[], "", 0, "lists who is banned, for how long, by whom and why", Run::Nothing(bans)).op(),
    row("mute", &[], "WHOM [TIME] [WHY]", 1, "hides what they say from everybody; TIME: 5m, 2h, 1d", Run::Order(mute)).op(),
    row("unmute", &[], "WHOM", 1, "ends a mute", Run::Target(unmute)).op(),
    row("mutes", &[], "", 0, "lists who is muted, for how long, by whom and why", Run::Nothing(mutes)).op(),
    row("announce", &[], "TEXT", 1, "tells everybody TEXT, scripts too", Run::Text(announce)).op().speech(),
    row("forget", &[], "NAME", 1, "removes what NAME has said from /last and /find", Run::Word(forget)).op(),
    row("moderate", &[], "[on|off]", 0, "lets only operators and those with /voice talk", Run::Switch(moderate)).op(),
    row("voice", &[], "NAME", 1, "lets NAME talk in a moderated room; again, no longer", Run::Word(voice)).op(),
];

fn find(name: &str) -> Option<&'static Row> {
    let folded = command::folded(name)?;
    COMMANDS.iter().find(|row| row.help.is_called(&folded))
}

/// Returns the command in a line from a prompt, from its slash on, whether or not such a command
/// exists.
pub(super) fn in_line(line: &[u8]) -> Option<&[u8]> {
    command::in_line(line, |name| find(name).is_some())
}

/// Runs a command that was found [in a line](in_line). `is_checked`: the peer of the member that holds the
/// nick that it asks for was checked; if it has to be, nothing else happens.
pub(super) fn run(
    line: &[u8],
    class: Class,
    is_checked: bool,
    lines: &mut TokenBucket,
    out: &mut SendQueue,
    cx: &mut Ctx<'_>,
) -> Step {
    let mut step = Step::new(0, Flow::Continue);
    step.least_cost = COMMAND_BYTES;
    // What was said before is seen as it was then, whoever is about to be ignored.
    if cx.catch_up(out) == Pushed::Full {
        step.flow = Flow::Close(CloseReason::TooSlow);
        return step;
    }
    let (mut scratch, mut narrow) = (String::new(), String::new());
    let mut line = text::clean(line, &mut scratch);
    if line.has_wide_gap() {
        line = line.narrowed(&mut narrow);
    }
    let mut call = Call {
        cx,
        lines,
        class,
        is_checked,
        said_bytes: 0,
        least_cost: COMMAND_BYTES,
        has_moderated: false,
        left_out: 0,
        flow: Flow::Continue,
    };
    call.dispatch(line);
    (step.said_bytes, step.flow) = (call.said_bytes, call.flow);
    step.least_cost = call.least_cost;
    step
}

/// Whether others see something of this command, or might: a command that is not known is only
/// answered.
pub(super) fn is_speech(line: &[u8]) -> bool {
    let mut scratch = String::new();
    match Typed::parse(text::clean(line, &mut scratch)) {
        Typed::Text(_) => true,
        Typed::Command(name, _) => find(name.as_str()).is_some_and(|row| row.is_speech),
    }
}

/// The name of the command that a line is, if there is such a command.
pub(super) fn name_in(line: &[u8]) -> Option<&'static str> {
    let mut scratch = String::new();
    match Typed::parse(text::clean(line, &mut scratch)) {
        Typed::Text(_) => None,
        Typed::Command(name, _) => Some(find(name.as_str())?.help.name),
    }
}

/// Whether this is the command to leave.
pub(super) fn is_quit(line: &[u8]) -> bool {
    name_in(line) == Some("quit")
}

/// Whether this is the command to become an operator, without the password.
pub(super) fn is_op_alone(line: &[u8]) -> bool {
    let mut scratch = String::new();
    match Typed::parse(text::clean(line, &mut scratch)) {
        Typed::Text(_) => false,
        Typed::Command(name, arguments) => {
            let row = find(name.as_str());
            arguments.as_str().is_empty() && row.is_some_and(|row| row.help.name == "op")
        }
    }
}

/// Words that people type without a slash, with the commands that they mean, and whether they are no nick at
/// the first prompt either.
const BARE: [(&str, &str, bool); 7] = [
    ("help", "help", true),
    ("?", "help", true),
    ("who", "who", true),
    ("quit", "quit", true),
    ("exit", "quit", true),
    ("bye", "quit", false),
    (":q", "quit", false),
];

/// No line in which [`bare`] finds a command is longer, in bytes.
pub(super) const LONGEST_BARE: usize = 8;

/// The command that somebody means who has said nothing but its name.
pub(super) fn bare(line: &[u8]) -> Option<&'static str> {
    find_bare(line).map(|(command, _)| command)
}

/// The command that such a word means at the first prompt, where others of them may be nicks.
pub(super) fn bare_at_first_prompt(line: &[u8]) -> Option<&'static str> {
    find_bare(line)
        .filter(|(_, is_no_nick)| *is_no_nick)
        .map(|(command, _)| command)
}

fn find_bare(line: &[u8]) -> Option<(&'static str, bool)> {
    let word = line.trim_ascii();
    let mut words = BARE.iter();
    let (_, command, is_no_nick) = words.find(|it| word.eq_ignore_ascii_case(it.0.as_bytes()))?;
    Some((command, *is_no_nick))
}

impl Call<'_, '_> {
    fn dispatch(&mut self, line: CleanText<'_>) {
        let (name, arguments) = match Typed::parse(line) {
            Typed::Text(text) => return self.say(text),
            Typed::Command(name, arguments) => (name, arguments),
        };
        let Some(row) = find(name.as_str()) else {
            return self.answer_unknown(name);
        };
        if row.help.role == Role::Operator && !self.cx.room.is_operator(self.cx.id) {
            return self.refuse_operation();
        }
        if arguments.as_str().split_whitespace().count() < row.least {
            return self.answer(Message::Usage(&row.help));
        }
        if row.help.role == Role::Operator {
            let nick = self.cx.room.nick_of(self.cx.id);
            self.cx.watch.emit(|| Event::OperatorCommand {
                id: self.cx.id,
                nick,
                command: line.as_str(),
            });
        }
        if row.is_speech && self.is_muted() {
            return self.answer(match row.is_wordless {
                true => Message::MutedCommand,
                false => Message::MutedLine,
            });
        }
        if let Some(order) = order_of(row)
            && self.cx.room.is_together()
            && self.order(order, row, arguments)
        {
            return;
        }
        self.carry_out(row, arguments, line);
    }

    fn carry_out(&mut self, row: &'static Row, arguments: CleanText<'_>, line: CleanText<'_>) {
        if self.run(&row.run, arguments).is_none() {
            self.answer(Message::Usage(&row.help));
        }
        if self.has_moderated {
            if self.left_out > 0 {
                self.answer(Message::MutedReason);
            }
            self.cx.room.note_sanction();
            self.tell_operators(line);
        }
    }

    /// Has all servers of the room carry out a command, each when it comes to it in the log. Returns whether that
    /// was done, or the operator was told why not.
    fn order(&mut self, order: Kind, row: &Row, arguments: CleanText<'_>) -> bool {
        let (id, now) = (self.cx.id, self.cx.env.now);
        let (first, rest) = arguments.split_word();
        let (target, ..) = Target::split(arguments);
        let is_of_members = match row.run {
            Run::WordAndText(_) => true,
            Run::Word(_) => order == Kind::Voice,
            _ => order == Kind::Mute && matches!(target, Target::Name(_)),
        };
        if let Target::Peers(typed) = &target
            && matches!(order, Kind::Ban | Kind::Mute)
            && typed.set.contains(&self.cx.peer)
        {
            // It is told that this is its own address, which only this server knows.
            return false;
        }
        if !is_of_members {
            self.cx.room.share_order(id, order, &[arguments.as_str()]);
            return true;
        }
        // Its whole name, so that all servers mean the same one.
        if let Some(meant) = self.cx.room.meant_other(id, first, now) {
            let nick = self.cx.room.nick_of(meant).to_owned();
            let words = [nick.as_str(), rest.as_str()];
            self.cx.room.share_order(id, order, &words);
        }
        true
    }

    /// Tells the other operators what this one has done, without what was left out at the end of it.
    fn tell_operators(&mut self, line: CleanText<'_>) {
        let words = line.as_str();
        let end = words.len().saturating_sub(self.left_out);
        let told = words.get(..end).unwrap_or_default().trim_end();
        self.cx.room.tell_operators(self.cx.id, told);
    }

    /// `None` if that is not what should stand behind this command.
    fn run(&mut self, run: &Run, arguments: CleanText<'_>) -> Option<()> {
        let (first, rest) = arguments.split_word();
        match run {
            Run::Nothing(run) => run(self),
            Run::Text(run) => run(self, arguments),
            Run::Word(_) if !rest.as_str().is_empty() => return None,
            Run::Word(run) => run(self, first),
            Run::WordAndText(run) => run(self, first, rest),
            Run::Target(run) => {
                let (target, words, rest) = Target::split(arguments);
                if !rest.as_str().is_empty() {
                    return None;
                }
                run(self, target, words);
            }
            Run::Order(run) => {
                let (target, words, rest) = Target::split(arguments);
                let Some((time, why)) = time_and_reason(rest) else {
                    let (word, _) = rest.split_word();
                    self.answer(Message::NoTime(word.as_str()));
                    return Some(());
                };
                let why = self.unless_muted(why);
                run(self, target, words, Order { time, why });
            }
            Run::Switch(run) => run(self, switch(arguments.as_str())?),
            Run::NumberAndWord(run) => {
                let number: Option<i64> = first.as_str().parse().ok();
                let number = match number {
                    None => None,
                    Some(number) => Some(usize::try_from(number).ok().filter(|&it| it > 0)?),
                };
                let (word, rest) = match number {
                    Some(_) => rest.split_word(),
                    None => (first, rest),
                };
                if !rest.as_str().is_empty() {
                    return None;
                }
                run(self, number, word);
            }
        }
        Some(())
    }

    /// Returns the reason that an operator gives. Nobody gets what a muted one says, so its reason is left
    /// out.
    fn unless_muted<'t>(&mut self, why: CleanText<'t>) -> CleanText<'t> {
        if why.as_str().is_empty() || !self.is_muted() {
            return why;
        }
        self.left_out = why.as_str().len();
        CleanText::EMPTY
    }

    /// Whom an operator wants to ban or mute. It is told if that is nobody.
    fn sanctioned<'t>(&mut self, target: Target<'t>, words: CleanText<'t>) -> Sanctioned<'t> {
        match target {
            Target::Name(name) => return Sanctioned::Name(name),
            // A member may take an address as its nick, to have somebody else's address banned.
            _ if self.cx.room.find_exact(words.as_str()).is_some() => {
                return Sanctioned::Name(words);
            }
            Target::Peers(typed) => return Sanctioned::Peers(typed),
            Target::Everybody => self.answer(Message::IsEverybody(words.as_str())),
            Target::NoAddress => self.answer(Message::NoAddress(words.as_str())),
        }
        Sanctioned::Nobody
    }

    /// The commands that are listed for this person.
    fn listed(&self) -> impl Iterator<Item = &'static Row> + Clone + use<> {
        let has_operators = self.cx.auth.secrets.ops_password.is_some();
        let is_operator = self.cx.room.is_operator(self.cx.id);
        COMMANDS.iter().filter(move |row| match row.help.role {
            Role::Anybody => true,
            Role::OperatorToBe => has_operators,
            Role::Operator => is_operator,
        })
    }

    /// The listed commands that this person may run now.
    fn usable(&self) -> impl Iterator<Item = &'static Help> + Clone + use<> {
        let is_muted = self.is_muted();
        let rows = self
            .listed()
            .filter(move |row| !(row.is_speech && is_muted));
        rows.map(|row| &row.help)
    }

    fn answer(&mut self, message: Message<'_>) {
        self.cx.room.outbox.send(self.cx.id, message);
    }

    fn answer_unknown(&mut self, name: CleanText<'_>) {
        let nearest = nearest(name, self.usable());
        self.answer(Message::UnknownCommand(name.as_str(), nearest));
    }

    fn refuse_operation(&mut self) {
        self.answer(match self.cx.auth.secrets.ops_password {
            Some(_) => Message::NotOperator,
            None => Message::NoOperators,
        });
    }

    fn is_muted(&self) -> bool {
        self.cx.room.is_muted(self.cx.id, self.cx.env.now)
    }

    /// A line that begins with a slash.
    fn say(&mut self, text: CleanText<'_>) {
        if self.is_muted() {
            return self.answer(Message::MutedLine);
        }
        if self.cx.room.is_voiceless(self.cx.id) {
            return self.answer(Message::VoicelessLine(true));
        }
        let (id, is_bulk) = (self.cx.id, self.class == Class::Bulk);
        let (from, now) = (self.cx.peer, self.cx.env.now);
        let spoken = self.cx.room.say_text(id, &from, text, self.class, now);
        if let Some(spoken) = spoken {
            self.cx.env.metrics.lines_in = self.cx.env.metrics.lines_in.saturating_add(1);
            self.said_bytes = spoken.bytes;
            self.cx.watch.emit(|| Event::Said {
                id,
                nick: spoken.nick(),
                text: spoken.text(),
                line: spoken.line(),
                is_bulk,
            });
        }
    }
}

/// The entry of the log by which all servers of a room carry out a command.
fn order_of(row: &Row) -> Option<Kind> {
    ORDERS.into_iter().find(|it| it.word() == row.help.name)
}

/// What operators order on all servers at once.
const ORDERS: [Kind; 9] = [
    Kind::Announce,
    Kind::Kick,
    Kind::Ban,
    Kind::Unban,
    Kind::Mute,
    Kind::Unmute,
    Kind::Forget,
    Kind::Voice,
    Kind::Moderate,
];

/// Whether an entry of the log is what an operator orders.
#[cfg(feature = "relay")]
pub(super) fn is_order(kind: Kind) -> bool {
    ORDERS.contains(&kind)
}

/// Carries out what an operator, perhaps of another server, has ordered on all servers.
#[cfg(feature = "relay")]
pub(super) fn obey(by: (ClientId, Peer), order: Kind, arguments: &str, cx: &mut Ctx<'_>) {
    let Some(row) = find(order.word()) else {
        return;
    };
    let (mut scratch, mut whole) = (String::new(), String::new());
    let arguments = text::clean(arguments.as_bytes(), &mut scratch);
    let line = format!("/{} {}", order.word(), arguments.as_str());
    let line = text::clean(line.as_bytes(), &mut whole);
    let client = (cx.id, cx.peer);
    (cx.id, cx.peer) = by;
    let mut call = Call {
        cx,
        lines: &mut TokenBucket::default(),
        class: Class::Sparse,
        is_checked: true,
        said_bytes: 0,
        least_cost: COMMAND_BYTES,
        has_moderated: false,
        left_out: 0,
        flow: Flow::Continue,
    };
    call.carry_out(row, arguments, line);
    (cx.id, cx.peer) = client;
}

/// Parses `on`, `off` or nothing; `None` if it is something else.
fn switch(word: &str) -> Option<Option<bool>> {
    let words = [("", None), ("on", Some(true)), ("off", Some(false))];
    let mut words = words.into_iter();
    let (_, is_on) = words.find(|(it, _)| it.eq_ignore_ascii_case(word))?;
    Some(is_on)
}

fn help(call: &mut Call<'_, '_>, command: CleanText<'_>) {
    let command = match command.as_str().starts_with(is_slash) {
        true => command.without_first(),
        false => command,
    };
    if !command.as_str().is_empty() {
        let Some(asked) = find(command.as_str()) else {
            return call.answer_unknown(command);
        };
        let mut listed = call.listed();
        return match listed.any(|row| row.help.name == asked.help.name) {
            true => call.answer(Message::CommandInFull(&asked.help)),
            false => call.refuse_operation(),
        };
    }
    for row in call.listed() {
        call.answer(Message::Command(&row.help));
    }
    call.answer(Message::HowToSaySlash);
    call.answer(Message::HowToType);
}

fn who(call: &mut Call<'_, '_>, name: CleanText<'_>) {
    call.cx.room.who(call.cx.id, name);
}

fn whois(call: &mut Call<'_, '_>, name: CleanText<'_>) {
    let (to, now) = (call.cx.id, call.cx.env.now);
    match call.cx.room.meant(to, name, now) {
        Some(id) if id.place_elsewhere().is_some() => call.cx.room.ask_whois(to, id),
        Some(id) => call.cx.effects.push(Effect::Whois { to, id }),
        None => {}
    }
}

fn nick(call: &mut Call<'_, '_>, name: CleanText<'_>) {
    let Ctx {
        id,
        peer,
        room,
        env,
        watch,
        ..
    } = &mut *call.cx;
    if room.must_wait_for_nick(*id, name.as_str().as_bytes(), env.now) {
        call.flow = Flow::AwaitNick;
        return;
    }
    match room.rename(*id, peer, name, env.now) {
        Ok(new) if new.is_another => {
            call.said_bytes = new.said_bytes;
            watch.emit(|| Event::Renamed {
                id: *id,
                old: new.old.as_str(),
                new: room.nick_of(*id),
            });
        }
        Ok(_) => {}
        Err(refusal) => match refusal.holder.filter(|_| !call.is_checked) {
            Some(holder) => call.flow = Flow::CheckPeer(holder),
            None => room.refuse_nick(*id, &refusal.why),
        },
    }
}

fn me(call: &mut Call<'_, '_>, text: CleanText<'_>) {
    if call.cx.room.is_voiceless(call.cx.id) {
        return call.answer(Message::VoicelessLine(true));
    }
    let (id, is_bulk) = (call.cx.id, call.class == Class::Bulk);
    let (from, now) = (call.cx.peer, call.cx.env.now);
    let spoken = call.cx.room.act(id, &from, text, call.class, now);
    if let Some(spoken) = spoken {
        call.cx.env.metrics.lines_in = call.cx.env.metrics.lines_in.saturating_add(1);
        call.said_bytes = spoken.bytes;
        call.cx.watch.emit(|| Event::Acted {
            id,
            nick: spoken.nick(),
            text: spoken.text(),
            line: spoken.line(),
            is_bulk,
        });
    }
}

fn msg(call: &mut Call<'_, '_>, name: CleanText<'_>, text: CleanText<'_>) {
    let now = call.cx.env.now;
    if let Some(to) = call.cx.room.meant_other(call.cx.id, name, now) {
        whisper(call, to, text);
    }
}

fn reply(call: &mut Call<'_, '_>, text: CleanText<'_>) {
    if let Some(to) = call.cx.room.told_by(call.cx.id) {
        whisper(call, to, text);
    }
}

fn whisper(call: &mut Call<'_, '_>, to: ClientId, text: CleanText<'_>) {
    let from = call.cx.id;
    if call.cx.room.tell(from, to, text, call.class) {
        call.cx.watch.emit(|| Event::Whispered { from, to });
    }
}

fn ignore(call: &mut Call<'_, '_>, name: CleanText<'_>) {
    call.cx.room.ignore(call.cx.id, name, call.cx.env.now);
}

fn unignore(call: &mut Call<'_, '_>, name: CleanText<'_>) {
    call.cx.room.unignore(call.cx.id, name, call.cx.env.now);
}

fn last(call: &mut Call<'_, '_>, most: Option<usize>, name: CleanText<'_>) {
    call.cx.room.last(call.cx.id, most, name, call.cx.env.now);
}

fn find_text(call: &mut Call<'_, '_>, text: CleanText<'_>) {
    let searched_bytes = call.cx.room.find(call.cx.id, text, call.cx.env.now);
    call.least_cost = COMMAND_BYTES.max(searched_bytes / FOUND_BYTES_EACH);
}

fn quiet(call: &mut Call<'_, '_>, is_on: Option<bool>) {
    call.cx.room.set_quiet(call.cx.id, is_on);
}

fn bell(call: &mut Call<'_, '_>, when: CleanText<'_>) {
    call.cx.room.set_bell(call.cx.id, when);
}

fn stamp(call: &mut Call<'_, '_>, zone: CleanText<'_>) {
    let minute = minute_of((call.cx.env.wall_clock)());
    call.cx.room.set_stamp(call.cx.id, zone, minute);
}

fn away(call: &mut Call<'_, '_>, why: CleanText<'_>) {
    call.cx.room.set_away(call.cx.id, why);
}

fn claim(call: &mut Call<'_, '_>) {
    match (call.cx.env.random)() {
        Some(random) => {
            let token = ClaimToken::new(random);
            call.cx.room.give_claim(call.cx.id, token);
        }
        None => call.answer(Message::NoClaims),
    }
}

fn time(call: &mut Call<'_, '_>) {
    let time = Timestamp::try_from((call.cx.env.wall_clock)()).unwrap_or_default();
    let time = time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    call.answer(Message::Time(&time));
}

fn quit(call: &mut Call<'_, '_>, words: CleanText<'_>) {
    let words = if call.is_muted() || call.cx.room.is_voiceless(call.cx.id) {
        CleanText::EMPTY
    } else {
        words
    };
    let Ctx {
        id,
        peer,
        room,
        env,
        ..
    } = &mut *call.cx;
    room.say_quit(*id, peer, words, env.now);
    call.flow = Flow::Close(CloseReason::Quit);
}

fn op(call: &mut Call<'_, '_>, password: CleanText<'_>) {
    try_op_password(password.as_str().as_bytes(), call.lines, call.cx);
}

fn deop(call: &mut Call<'_, '_>) {
    call.cx.room.unmake_operator(call.cx.id);
}

/// Checks this as the password of operators, and answers. Returns whether another attempt makes no sense.
pub(super) fn try_op_password(attempt: &[u8], lines: &mut TokenBucket, cx: &mut Ctx<'_>) -> bool {
    let id = cx.id;
    let Some(right) = &cx.auth.secrets.ops_password else {
        cx.room.outbox.send(id, Message::NoOperators);
        return true;
    };
    let is_right = right.matches(attempt);
    let origin = cx.peer.origin();
    if let Some(wait) = cx.auth.throttle.wait(origin, cx.env.now) {
        cx.room
            .outbox
            .send(id, Message::TooManyTries(cx.peer, wait));
    } else if is_right {
        cx.room.make_operator(id);
        let nick = cx.room.nick_of(id);
        cx.watch.emit(|| Event::OperatorMade { id, nick });
        return true;
    } else {
        count_wrong_password(lines, cx);
        cx.room.outbox.send(id, Message::WrongPassword);
    }
    false
}

fn kick(call: &mut Call<'_, '_>, name: CleanText<'_>, why: CleanText<'_>) {
    let (by, now) = (call.cx.id, call.cx.env.now);
    if let Some(id) = call.cx.room.meant_other(by, name, now) {
        let why = call.unless_muted(why);
        call.cx.room.say_kick(by, id, why, now);
        call.has_moderated = true;
        call.cx.effects.push(Effect::TellOrigin { by, id });
        let close = Effect::Close(id, CloseReason::Kicked);
        call.cx.effects.push(close);
    }
}

fn ban(call: &mut Call<'_, '_>, target: Target<'_>, words: CleanText<'_>, order: Order<'_>) {
    match call.sanctioned(target, words) {
        Sanctioned::Name(name) => ban_name(call, name, order),
        Sanctioned::Peers(typed) => ban_peers(call, &typed, order),
        Sanctioned::Nobody => {}
    }
}

fn ban_peers(call: &mut Call<'_, '_>, typed: &TypedPeers, order: Order<'_>) {
    let (by, now, peers) = (call.cx.id, call.cx.env.now, typed.set);
    let text = typed.to_string();
    if peers.contains(&call.cx.peer) {
        return call.answer(match peers {
            PeerSet::User(_) => Message::YourOwnUser,
            PeerSet::Network(_) if typed.is_address() => Message::YourOwnAddress,
            PeerSet::Network(_) => Message::YourOwnNetwork(&text),
        });
    }
    let ban = Sanction::new(peers, call.cx.room.nick_of(by), order.why);
    let has_room = call.cx.auth.banned.add(ban, order.time, now);
    let room = &mut call.cx.room;
    room.answer_sanction(by, has_room, Message::IsBanned(&text, order.time));
    call.has_moderated = has_room;
    if has_room {
        room.forget_lines_from(&peers);
        call.cx.effects.push(Effect::ClosePeers(peers));
    }
}

fn ban_name(call: &mut Call<'_, '_>, name: CleanText<'_>, order: Order<'_>) {
    let (by, now) = (call.cx.id, call.cx.env.now);
    let banned = call.cx.room.ban_name(by, name.as_str(), order, now);
    call.has_moderated = banned.is_some();
    for id in banned.into_iter().flatten() {
        call.cx.effects.push(Effect::Expel { by, id });
    }
}

fn bans(call: &mut Call<'_, '_>) {
    let (id, now) = (call.cx.id, call.cx.env.now);
    let mut any = call.cx.room.list_banned(id, now);
    for (ban, time) in call.cx.auth.banned.entries(now) {
        any = true;
        let whom = ban.whom.in_short();
        let message = Message::Ban(&whom, ban.terms(time));
        call.cx.room.outbox.send(id, message);
    }
    if !any {
        call.answer(Message::NobodyIsBanned);
    }
}

fn unban(call: &mut Call<'_, '_>, target: Target<'_>, words: CleanText<'_>) {
    let now = call.cx.env.now;
    // Words that look like an address may also be a banned name.
    let was_name = call.cx.room.unban_name(words.as_str(), now);
    let typed = match target {
        Target::Peers(typed) => typed,
        _ if was_name => {
            call.has_moderated = true;
            return call.answer(Message::IsNoLongerBanned(words.as_str()));
        }
        Target::Name(_) | Target::Everybody => {
            return call.answer(Message::IsNotBanned(words.as_str()));
        }
        Target::NoAddress => return call.answer(Message::NoAddress(words.as_str())),
    };
    let text = typed.to_string();
    let was_banned = call
        .cx
        .auth
        .banned
        .remove_if(now, |it| it.whom == typed.set);
    call.has_moderated = was_name || was_banned;
    let around = call.cx.auth.banned_around(&typed.set, now);
    let around = around.map(|peers| peers.to_string());
    call.answer(match &around {
        Some(around) => Message::IsBannedWith(&text, around),
        None if was_name || was_banned => Message::IsNoLongerBanned(&text),
        None => Message::IsNotBanned(&text),
    });
}

fn mute(call: &mut Call<'_, '_>, target: Target<'_>, words: CleanText<'_>, order: Order<'_>) {
    let (by, now) = (call.cx.id, call.cx.env.now);
    match call.sanctioned(target, words) {
        Sanctioned::Name(name) => {
            let muted = call.cx.room.mute(by, name, order, now);
            call.has_moderated = muted.is_some();
            if let Some(id) = muted {
                call.cx.effects.push(Effect::TellMuted { by, id });
            }
        }
        Sanctioned::Peers(typed) if typed.set.contains(&call.cx.peer) => {
            call.answer(Message::ThatIsYou);
        }
        Sanctioned::Peers(typed) => {
            let (peers, text) = (typed.set, typed.to_string());
            call.has_moderated = call.cx.room.mute_peers(by, peers, &text, order, now);
        }
        Sanctioned::Nobody => {}
    }
}

fn unmute(call: &mut Call<'_, '_>, target: Target<'_>, words: CleanText<'_>) {
    let now = call.cx.env.now;
    let Target::Peers(typed) = target else {
        call.has_moderated = call.cx.room.unmute(call.cx.id, words, now);
        return;
    };
    if call.is_muted() {
        return call.answer(Message::MutedOperator);
    }
    let text = typed.to_string();
    call.has_moderated = call.cx.room.unmute_peers(&typed.set, now);
    call.answer(match call.has_moderated {
        true => Message::IsNoLongerMuted(&text),
        false => Message::IsNotMuted(&text),
    });
}

fn mutes(call: &mut Call<'_, '_>) {
    call.cx.room.list_muted(call.cx.id, call.cx.env.now);
}

fn announce(call: &mut Call<'_, '_>, text: CleanText<'_>) {
    let (by, from, now) = (call.cx.id, call.cx.peer, call.cx.env.now);
    call.said_bytes = call.cx.room.announce(by, &from, text, now);
}

fn forget(call: &mut Call<'_, '_>, name: CleanText<'_>) {
    let now = call.cx.env.now;
    call.has_moderated = call.cx.room.forget(call.cx.id, name, now);
}

fn moderate(call: &mut Call<'_, '_>, is_on: Option<bool>) {
    // All people are told.
    call.cx.room.set_moderated(call.cx.id, is_on);
}

fn voice(call: &mut Call<'_, '_>, name: CleanText<'_>) {
    let now = call.cx.env.now;
    call.has_moderated = call.cx.room.toggle_voice(call.cx.id, name, now);
}
