//! Every line that a client can read is a [`Message`], and its words are in this file. Texts that a
//! message quotes are where they are decided: why a nick is refused in `nick`, why a connection ends in
//! `close_reason`, what a command does in the table of commands.
//!
//! The first characters of a line show whose words it holds, and nobody can forge them, because no
//! nick begins with a star: `* ` is the server, `** ` is what a member does, and everything else is
//! what a member says.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use crate::config::interactive::Profile;
use crate::config::prefix::Prefix;
use crate::peer::Peer;
use crate::protocol::claim_token::ClaimToken;
use crate::protocol::close_reason::CloseReason;
use crate::protocol::command::Help;
use crate::protocol::layout::NO_BREAK;
use crate::text::nick::{Nick, NickError};
use crate::text::{CleanText, Isolated};

/// A line to one client, or to many.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Message<'a> {
    // What members say and do.
    /// A member's line.
    Line(&'a Prefix, &'a Nick, CleanText<'a>),
    /// The line of a member whose nick is written from right to left, as shown at a prompt.
    IsolatedLine(&'a Prefix, &'a Nick, CleanText<'a>),
    /// What a member does.
    Action(&'a Nick, CleanText<'a>),
    /// An action as plain members see it: they know nothing but lines.
    PlainAction(&'a Prefix, &'a Nick, CleanText<'a>),
    /// A line, and how long ago it was said.
    Remembered(Duration, &'a [u8]),
    /// What a member tells one other.
    Tells(&'a Nick, CleanText<'a>),
    /// What a member tells one other, shown to the one who tells it.
    YouTell(&'a Nick, CleanText<'a>),

    // From the connection to the nick.
    /// A line of the operator's own greeting.
    Motd(&'a str),
    Greeting,
    /// The room has a transcript.
    Recorded,
    AskPassword,
    WrongPassword,
    WrongPasswordFinally,
    /// The password was not checked, because too many wrong ones came from this address.
    TooManyTries(Peer, Duration),
    AskNick,
    AskOpPassword,
    /// A member has given up to become an operator.
    Cancelled,
    /// The line cannot be the client's nick; the next line is taken as the nick.
    Refused(&'a NickError, Profile),
    /// A name in a command is no nick, or none for this member.
    NoSuchNick(&'a NickError),
    /// The line cannot be the client's nick, and that was the last try: the connection ends.
    RefusedFinally(&'a NickError, Profile),
    /// The client sent text before it could read that its nick was refused: the connection is closed.
    DidNotWait,
    Welcome(&'a Nick, Names<'a>),
    /// Somebody has come back with a token.
    WelcomeBack(&'a Nick, Names<'a>),

    // Joins, leaves and renames.
    HasJoined(&'a Nick),
    HasLeft(&'a Nick),
    /// The member left because the server closed it.
    HasLeftBecause(&'a Nick, CloseReason),
    HasQuit(&'a Nick, CleanText<'a>),
    WasKicked(&'a Nick, &'a Nick, CleanText<'a>),
    CameAndWent {
        joined: u32,
        left: u32,
        renamed: u32,
    },
    /// The old nick and the new one.
    // Other servers.
    /// Only so many people on this server hear each other from now on.
    CutOff(usize),
    /// So many lines were said elsewhere while this server was cut off.
    IsBack(u64),
    /// So many lines were said here meanwhile.
    Unheard(u64),
    /// So many lines can be had no more.
    LinesLost(u64),
    /// Somebody on another server has the first nick, so the member has the second one.
    NickLost(&'a Nick, &'a Nick),
    /// The server of a member does not answer, or not as it should.
    NotReached(&'a Nick),
    /// Another server is gone, with so many members.
    ServerIsGone(usize),
    ChangesNick(&'a Nick, &'a Nick),
    YouAreNow(&'a Nick),

    // Answers.
    /// The answer to telnet's AYT.
    Yes,
    Command(&'a Help),
    /// A command with its other names.
    CommandInFull(&'a Help),
    HowToSaySlash,
    /// How not to lose sight of a half-typed line, between those of others.
    HowToType,
    /// The members whose names begin with this.
    Who(&'a str, Listed<'a>),
    Whois(Whois<'a>),
    Time(&'a str),
    /// With which words a person gets its name back.
    YourClaim(&'a Nick, &'a ClaimToken),
    /// There is no randomness to make tokens of.
    NoClaims,
    YouIgnore(&'a Nick),
    YouIgnoreAll(&'a [&'a str]),
    /// The name under which somebody was ignored, and another one that it has now.
    YouHearAgain(&'a str, Option<&'a Nick>),
    YouAreOperator,
    YouAreNoOperator,
    IsOperator(&'a Nick),
    IsNoOperator(&'a Nick),
    /// What an operator has typed, for the others.
    HasModerated(&'a Nick, &'a str),
    YouAreQuiet(bool),
    /// When the bell rings.
    BellRings(Option<&'static str>),
    /// The time that stands before lines from now on.
    StampIs(Option<&'a str>),
    YouAreAway(&'a str),
    YouAreBack,
    IsAway(&'a Nick, &'a str),
    IsBanned(&'a str, Option<Duration>),
    /// A banned name that no present member has, and the only member whose name begins with it, which
    /// is not banned.
    IsBannedUnmet(&'a str, Option<Duration>, Option<&'a Nick>),
    CameFrom(&'a Nick, Peer),
    ComesFrom(&'a Nick, Peer),
    /// The address of a member that is muted.
    MutedAt(&'a Nick, Peer),
    /// The address of a member that is kicked, banned or muted is the operator's own.
    ComesFromYours(&'a Nick, Peer),
    /// A ban that is in force.
    Ban(&'a str, Terms<'a>),
    /// A mute that is in force.
    Mute(&'a str, Terms<'a>),
    NobodyIsBanned,
    NobodyIsMuted,
    IsNoLongerBanned(&'a str),
    IsMuted(&'a str, Option<Duration>),
    YouAreMuted(Option<Duration>, &'a str),
    IsNoLongerMuted(&'a str),
    YouAreNoLongerMuted,
    YouWereKicked(&'a Nick, CleanText<'a>),
    /// With the reason that was given for the ban.
    YouAreBanned(&'a str),
    /// The client is not let in, because of where it comes from, and for this reason.
    OriginIsBanned(Peer, &'a str),
    Announcement(&'a Nick, CleanText<'a>),
    /// An announcement as plain members see it.
    PlainAnnouncement(&'a Nick, CleanText<'a>),
    /// How many others were told.
    Announced(usize),
    /// How many lines of somebody were forgotten.
    Forgotten(usize, &'a str),
    /// The operator itself has made the room a moderated one, or ended that.
    YouModerate(bool),
    /// An operator has, as people are told.
    Moderates(&'a Nick, bool),
    /// The room is moderated, as newcomers are told.
    IsModerated,
    HasVoice(&'a Nick, bool),
    YouHaveVoice(bool),

    // What was not done, and what to do instead.
    /// A member's line passed the limit and is thrown away.
    LineTooLong {
        max_line_bytes: usize,
    },
    /// How many lines were left out because the reader was too far behind.
    Skipped(u64),
    SkippedForPerson(u64),
    /// How many lines of this person wait, and how many a second are said.
    LinesWait {
        count: u64,
        lines_per_second: f64,
    },
    UnknownCommand(&'a str, Option<&'static str>),
    Usage(&'a Help),
    Nobody(&'a str),
    /// A name, and the members that may be meant by it.
    Several(&'a str, Names<'a>),
    /// A name that was given up, and the member that may be meant by it.
    HasLeftAlready(&'a str, &'a Nick),
    /// The beginning of a name that was given up, and the member that may be meant by it.
    MayHaveLeft(&'a str, &'a Nick),
    NickFirst,
    /// What a person can do who is asked for a nick.
    HowToJoin,
    /// A member has said nothing but a word that means this command.
    EverybodySaw(&'static str),
    ThatIsYou,
    IsPlain(&'a Nick),
    NobodyToldYou,
    /// The name that somebody had who told this member something, and has left.
    PartnerHasLeft(&'a str),
    YouDoNotIgnore(&'a str),
    YouIgnoreTooMany(usize),
    /// It stands where a time could, and is none.
    NoTime(&'a str),
    NoBell(&'a str),
    NoZone(&'a str),
    NothingKept,
    /// Nothing is kept that somebody of this name has said.
    NothingOf(&'a str),
    /// No line that is kept holds this text.
    NothingFound(&'a str),
    MutedLine,
    /// A member that is muted wanted to be seen in another way than by what it says.
    MutedCommand,
    /// A line was not sent because the room is moderated. `true`: a person said it.
    VoicelessLine(bool),
    /// A muted operator wanted to unmute somebody, perhaps itself.
    MutedOperator,
    RenamesTooOften {
        wait: Duration,
    },
    /// What a muted operator wanted was done without the reason that it gave.
    MutedReason,
    NotOperator,
    NoOperators,
    IsNotBanned(&'a str),
    /// An address or a network that is already covered by the ban of a larger network.
    IsBannedWith(&'a str, &'a str),
    /// It looks like an address, but is not a valid one.
    NoAddress(&'a str),
    /// A network that holds every address.
    IsEverybody(&'a str),
    IsNotMuted(&'a str),
    TooManySanctions(usize),
    YourOwnAddress,
    YourOwnUser,
    /// A network that holds the operator's own address.
    YourOwnNetwork(&'a str),

    /// A person has not typed this in the time that there is.
    TookTooLong(Awaited, Duration),
    /// The last words before the server closes.
    Goodbye(&'static str),
}

/// Members with what marks them, and the number of those that are not listed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listed<'a> {
    pub(crate) some: &'a [(&'a Nick, Mark)],
    pub(crate) more: usize,
    /// How many of all are connected to other servers.
    pub(crate) elsewhere: usize,
}

/// What `/who` shows behind the name of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) is_operator: bool,
    pub(crate) is_away: bool,
}

/// What `/whois` tells of a member.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Whois<'a> {
    pub(crate) nick: &'a Nick,
    /// How long a person has been here; `None` for a script.
    pub(crate) here_for: Option<Duration>,
    /// How long it has sent nothing.
    pub(crate) silent_for: Duration,
    pub(crate) link: Link,
    pub(crate) is_operator: bool,
    /// That it is away, and why.
    pub(crate) away: Option<&'a str>,
}

/// What carries the bytes of a member's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    Tls,
    WithoutTls,
    /// They do not leave this machine.
    UnixSocket,
}

impl Link {
    const WORDS: [(Self, &'static str); 3] = [
        (Self::Tls, "tls"),
        (Self::WithoutTls, "clear"),
        (Self::UnixSocket, "unix"),
    ];

    /// The word for it between servers.
    pub(crate) fn word(self) -> &'static str {
        let mut words = Self::WORDS.into_iter();
        words.find(|it| it.0 == self).map_or("", |(_, word)| word)
    }

    pub(crate) fn of_word(word: &str) -> Option<Self> {
        let mut words = Self::WORDS.into_iter();
        words.find(|it| it.1 == word).map(|(link, _)| link)
    }
}

/// Some names, and the number of those that are not listed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names<'a> {
    pub(crate) some: &'a [&'a Nick],
    pub(crate) more: usize,
}

/// What a client is asked for before it is a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Awaited {
    Password,
    Nick,
}

impl Message<'_> {
    /// Appends the whole line, with its line end.
    #[inline]
    pub(crate) fn write(self, line: &mut Vec<u8>) {
        if let Self::Line(prefix, nick, text) = self {
            prefix.write(nick.as_str(), line);
            line.extend_from_slice(text.as_str().as_bytes());
        } else {
            let written = self.write_rarer(line);
            debug_assert!(written.is_ok(), "a Vec takes every write");
        }
        line.extend_from_slice(b"\r\n");
    }

    /// Like [`write`](Self::write), but not inlined into callers that use it rarely.
    #[cold]
    pub(crate) fn write_rare(self, line: &mut Vec<u8>) {
        self.write(line);
    }

    /// Whether it holds what somebody has written, and is shown as it was written.
    pub(crate) fn is_quote(&self) -> bool {
        matches!(
            self,
            Self::Line(..)
                | Self::IsolatedLine(..)
                | Self::PlainAction(..)
                | Self::Action(..)
                | Self::Remembered(..)
                | Self::Tells(..)
                | Self::YouTell(..)
                | Self::Motd(_)
                | Self::Announcement(..)
                | Self::PlainAnnouncement(..)
                | Self::HasModerated(..)
        )
    }

    /// Writes the messages that are rarer than lines.
    fn write_rarer(self, line: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::IsolatedLine(prefix, nick, text) => {
                prefix.write(&nick.to_string(), line);
                line.write_all(text.as_str().as_bytes())
            }
            Self::PlainAction(prefix, nick, text) => {
                prefix.write(nick.as_str(), line);
                write!(line, "/me {}", text.as_str())
            }
            Self::Action(nick, text) => write!(line, "** {nick} {}", text.as_str()),
            Self::Remembered(age, text) => {
                write!(line, "* {}, ", Ago(age)).and_then(|()| line.write_all(text))
            }
            notice => {
                line.extend_from_slice(b"* ");
                notice.write_words(line)
            }
        }
    }

    /// Writes a notice of the server without its star.
    fn write_words(self, to: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Line(..) | Self::IsolatedLine(..) | Self::PlainAction(..) => Ok(()),
            Self::Action(..) | Self::Remembered(..) => Ok(()),
            Self::Tells(nick, text) => write!(to, "{nick} tells you: {}", text.as_str()),
            Self::YouTell(nick, text) => write!(to, "you tell {nick}: {}", text.as_str()),
            Self::Motd(text) => write!(to, "{text}"),
            Self::Greeting => write!(
                to,
                "this is a chat room: what you type goes to everybody in it, line by line"
            ),
            Self::Recorded => write!(to, "this room is recorded"),
            Self::AskPassword => write!(to, "password?"),
            Self::WrongPassword => write!(to, "wrong password, try again"),
            Self::WrongPasswordFinally => {
                write!(to, "wrong password, and that was the last try, goodbye")
            }
            Self::TooManyTries(peer, wait) => write!(
                to,
                "too many tries from {}, try again in {} s",
                peer.called_yours(),
                wait.as_millis().div_ceil(1000)
            ),
            Self::AskOpPassword => write!(to, "operator password? Enter alone cancels"),
            Self::Cancelled => write!(to, "cancelled: what you type goes to everybody again"),
            Self::AskNick => write!(to, "what is your nick?"),
            Self::Refused(why, profile) => {
                write!(to, "{}", Why(why, profile))?;
                match why.advice().filter(|_| profile == Profile::Interactive) {
                    Some(advice) => write!(to, "{advice}"),
                    None => write!(to, ", choose another"),
                }
            }
            Self::NoSuchNick(why) => {
                write!(to, "{why}{}", why.advice().unwrap_or_default())
            }
            Self::RefusedFinally(why, profile) => {
                let why = Why(why, profile);
                write!(to, "{why}, and that was the last try, goodbye")
            }
            Self::DidNotWait => {
                write!(to, "you sent more without waiting for that answer, goodbye")
            }
            Self::Welcome(nick, others) => write!(
                to,
                "welcome, {nick}. /help lists the commands. {}",
                Others(others)
            ),
            Self::WelcomeBack(nick, others) => write!(
                to,
                "welcome back, {nick}; /claim gives a new token. {}",
                Others(others)
            ),
            Self::HasJoined(nick) => write!(to, "{nick} joined"),
            Self::HasLeft(nick) => write!(to, "{nick} left"),
            Self::HasLeftBecause(nick, reason) => write!(to, "{nick} left ({reason})"),
            Self::HasQuit(nick, text) => write!(to, "{nick} left{}", Because(text)),
            Self::WasKicked(nick, by, why) => {
                write!(to, "{nick} was kicked by {by}{}", Because(why))
            }
            Self::CameAndWent {
                joined,
                left,
                renamed,
            } => {
                let changes = [
                    (joined, "joined"),
                    (left, "left"),
                    (renamed, "changed nick"),
                ];
                let mut changes = changes.into_iter().filter(|&(count, _)| count > 0);
                if let Some((count, what)) = changes.next() {
                    write!(to, "{} {what}", People(count))?;
                }
                changes.try_for_each(|(count, what)| write!(to, ", {count} {what}"))
            }
            Self::CutOff(1) => write!(
                to,
                "cut off from the other servers: nobody hears you for now"
            ),
            Self::CutOff(here) => write!(
                to,
                "cut off from the other servers: only the {here} people here hear each other"
            ),
            Self::IsBack(0) => write!(to, "back: nothing was said elsewhere"),
            Self::IsBack(1) => write!(to, "back: the line above was said elsewhere"),
            Self::IsBack(lines) => {
                write!(to, "back: the {lines} lines above were said elsewhere")
            }
            Self::Unheard(1) => write!(to, "the others did not hear 1 line said here"),
            Self::Unheard(lines) => {
                write!(to, "the others did not hear {lines} lines said here")
            }
            Self::LinesLost(1) => write!(to, "1 line from other servers was lost"),
            Self::LinesLost(lines) => write!(to, "{lines} lines from other servers were lost"),
            Self::NickLost(old, new) => write!(
                to,
                "somebody on another server was {old} before you, so you are now {new}"
            ),
            Self::NotReached(nick) => {
                write!(
                    to,
                    "no answer from the server of {nick}, who may not have got that"
                )
            }
            Self::ServerIsGone(1) => write!(to, "1 person on another server is gone"),
            Self::ServerIsGone(count) => {
                write!(to, "{count} people on another server are gone")
            }
            Self::ChangesNick(old, new) => write!(to, "{old} changes nick to {new}"),
            Self::YouAreNow(new) => write!(to, "you are now {new}"),
            Self::Yes => write!(to, "yes"),
            Self::Command(help) => write!(to, "{}: {}", Synopsis(help), help.what),
            Self::CommandInFull(help) => {
                Self::Command(help).write_words(to)?;
                let mut before = "; also /";
                for alias in help.aliases {
                    write!(to, "{before}{alias}")?;
                    before = ", /";
                }
                Ok(())
            }
            Self::HowToSaySlash => write!(to, "//TEXT: says a line that begins with a slash"),
            Self::HowToType => write!(
                to,
                "^R: shows again what you have typed; rlwrap nc HOST PORT keeps it in sight"
            ),
            Self::Who(beginning, who) => write!(to, "{}", Here(beginning, who)),
            Self::Whois(who) => write!(to, "{who}"),
            Self::Time(time) => write!(to, "it is {time}"),
            // What is to be typed has no isolates.
            Self::YourClaim(nick, token) => write!(
                to,
                "to be {nick} again after a lost connection, type {}{NO_BREAK}{token} as your nick",
                nick.as_str()
            ),
            Self::NoClaims => write!(to, "this server gives no tokens"),
            Self::YouIgnore(nick) => {
                write!(to, "ignoring {nick}; /unignore {nick} undoes it")
            }
            Self::YouIgnoreAll([]) => write!(to, "you ignore nobody"),
            Self::YouIgnoreAll([first, others @ ..]) => {
                write!(to, "you ignore {}", Isolated(first))?;
                let mut others = others.iter();
                others.try_for_each(|nick| write!(to, ", {}", Isolated(nick)))
            }
            Self::YouHearAgain(nick, None) => {
                write!(to, "you no longer ignore {}", Isolated(nick))
            }
            Self::YouHearAgain(nick, Some(now)) => {
                write!(
                    to,
                    "you no longer ignore {} (who is {now} now)",
                    Isolated(nick)
                )
            }
            Self::YouAreOperator => {
                write!(to, "you are an operator; /help lists what you can do")
            }
            Self::YouAreNoOperator => write!(to, "you are no longer an operator"),
            Self::IsOperator(nick) => write!(to, "{nick} is an operator now"),
            Self::IsNoOperator(nick) => write!(to, "{nick} is no longer an operator"),
            Self::HasModerated(nick, command) => write!(to, "operator {nick}: {command}"),
            Self::YouAreQuiet(true) => write!(
                to,
                "joins, leaves and renames are hidden; /quiet shows them again"
            ),
            Self::YouAreQuiet(false) => {
                write!(to, "joins, leaves and renames are shown again")
            }
            Self::BellRings(None) => write!(to, "the bell is off"),
            Self::BellRings(Some(when)) => write!(to, "the bell rings when {when}"),
            Self::StampIs(None) => write!(to, "lines begin without the time now"),
            Self::StampIs(Some(time)) => {
                write!(to, "lines begin with the time now, which is {time} for you")
            }
            Self::YouAreAway("") => write!(to, "you are away; /away again when you are back"),
            Self::YouAreAway(why) => {
                write!(to, "you are away: {why}; /away again when you are back")
            }
            Self::YouAreBack => write!(to, "you are back"),
            Self::IsAway(nick, "") => write!(to, "{nick} is away"),
            Self::IsAway(nick, why) => write!(to, "{nick} is away: {why}"),
            Self::IsBanned(whom, time) => {
                write!(to, "{} is banned{}", Isolated(whom), For(time))
            }
            Self::IsBannedUnmet(name, time, None) => {
                write!(
                    to,
                    "{name} is banned{}, but nobody here has that name",
                    For(time)
                )
            }
            Self::IsBannedUnmet(name, time, Some(other)) => write!(
                to,
                "{name} is banned{}, but is not here; did you mean {other}?",
                For(time)
            ),
            Self::CameFrom(nick, Peer::Ip(addr)) => write!(
                to,
                "{nick} came from {ip}; /ban {ip} keeps it out",
                ip = addr.ip()
            ),
            Self::CameFrom(nick, peer @ Peer::Local { uid, .. }) => {
                write!(to, "{nick} is {peer}; /ban uid {uid} keeps that user out")
            }
            Self::ComesFrom(nick, Peer::Ip(addr)) => {
                write!(to, "{nick} comes from {}", addr.ip())
            }
            Self::ComesFrom(nick, peer @ Peer::Local { .. }) => write!(to, "{nick} is {peer}"),
            Self::ComesFromYours(nick, Peer::Ip(_)) => {
                write!(to, "{nick} comes from the same address as you")
            }
            Self::ComesFromYours(nick, Peer::Local { .. }) => {
                write!(to, "{nick} is the same user as you")
            }
            Self::MutedAt(nick, Peer::Ip(addr)) => write!(
                to,
                "{nick} comes from {ip}; /mute {ip} mutes it",
                ip = addr.ip()
            ),
            Self::MutedAt(nick, peer @ Peer::Local { uid, .. }) => {
                write!(to, "{nick} is {peer}; /mute uid {uid} mutes that user")
            }
            Self::Ban(whom, terms) => write!(to, "{} is banned{terms}", Isolated(whom)),
            Self::Mute(whom, terms) => write!(to, "{} is muted{terms}", Isolated(whom)),
            Self::NobodyIsBanned => write!(to, "nobody is banned"),
            Self::NobodyIsMuted => write!(to, "nobody is muted"),
            Self::IsNoLongerBanned(whom) => write!(to, "{} is no longer banned", Short(whom)),
            Self::IsMuted(whom, time) => {
                write!(to, "{} is muted{}", Isolated(whom), For(time))
            }
            Self::YouAreMuted(time, why) => {
                let (open, close) = if why.is_empty() {
                    ("", "")
                } else {
                    (" (", ")")
                };
                let time = For(time);
                write!(
                    to,
                    "you are muted{time}{open}{why}{close}: nobody sees what you say"
                )
            }
            Self::IsNoLongerMuted(nick) => write!(to, "{} is no longer muted", Short(nick)),
            Self::YouAreNoLongerMuted => write!(to, "you are no longer muted"),
            Self::YouWereKicked(by, why) => write!(to, "{by} has kicked you{}", Because(why)),
            Self::Announced(0) => write!(to, "announced, but nobody else is here"),
            Self::Announced(1) => write!(to, "announced to 1 other"),
            Self::Announced(others) => write!(to, "announced to {others} others"),
            Self::Forgotten(1, name) => write!(to, "1 line by {} is forgotten", Short(name)),
            Self::Forgotten(lines, name) => {
                write!(to, "{lines} lines by {} are forgotten", Short(name))
            }
            Self::YouModerate(true) => write!(
                to,
                "only operators and those they /voice can talk; /moderate again ends it"
            ),
            Self::YouModerate(false) => write!(to, "everybody can talk again"),
            Self::YouHaveVoice(true) => write!(to, "you can talk while the room is moderated"),
            Self::Moderates(nick, true) => write!(
                to,
                "{nick} moderates the room: only those with a voice can talk"
            ),
            Self::Moderates(nick, false) => write!(to, "{nick} lets everybody talk again"),
            Self::IsModerated => write!(
                to,
                "the room is moderated: you can listen, and /msg an operator"
            ),
            Self::HasVoice(nick, true) => write!(to, "{nick} can talk while the room is moderated"),
            Self::HasVoice(nick, false) => {
                write!(to, "{nick} can no longer talk while the room is moderated")
            }
            Self::YouHaveVoice(false) => {
                write!(to, "you can no longer talk while the room is moderated")
            }
            Self::YouAreBanned(why) => {
                write!(to, "you are banned from this room ({why}), goodbye")
            }
            Self::OriginIsBanned(peer, why) => {
                write!(
                    to,
                    "{} is banned from this server ({why})",
                    peer.called_yours()
                )
            }
            Self::Announcement(by, text) => write!(to, "{by} announces: {}", text.as_str()),
            Self::PlainAnnouncement(by, text) => {
                write!(to, "{by:#} announces: {}", text.as_str())
            }
            Self::LineTooLong { max_line_bytes } => write!(
                to,
                "that line is longer than {max_line_bytes} bytes and was not sent"
            ),
            Self::Skipped(1) => write!(to, "1 line skipped"),
            Self::Skipped(count) => write!(to, "{count} lines skipped"),
            Self::SkippedForPerson(count) => {
                Self::Skipped(count).write_words(to)?;
                write!(to, ": your connection was too slow")
            }
            Self::LinesWait {
                count,
                lines_per_second,
            } => write!(
                to,
                "{count} of your lines wait: {lines_per_second} a second is the limit here"
            ),
            Self::UnknownCommand("", _) => write!(
                to,
                "a line that begins with \"/\" is a command: /help lists them; //TEXT says /TEXT"
            ),
            Self::UnknownCommand(name, None) => {
                write!(
                    to,
                    "there is no /{}; /help lists what there is",
                    Short(name)
                )
            }
            Self::UnknownCommand(name, Some(nearest)) => write!(
                to,
                "there is no /{}; did you mean /{nearest}? /help lists what there is",
                Short(name)
            ),
            Self::Usage(help) => write!(to, "write {}: {}", Synopsis(help), help.what),
            Self::Nobody(name) => write!(
                to,
                "nobody here is called \"{}\"; /who lists who is here",
                Short(name)
            ),
            Self::Several(name, names) => write!(
                to,
                "\"{}\" may be {}: type more of the name",
                Short(name),
                OneOf(names)
            ),
            Self::HasLeftAlready(name, other) => write!(
                to,
                "{} has left; if you mean {other}, type more of it",
                Short(name)
            ),
            Self::MayHaveLeft(name, other) => write!(
                to,
                "\"{}\" may be somebody who has left; if you mean {other}, type it all",
                Short(name)
            ),
            Self::NickFirst => {
                write!(to, "commands come later: choose a nick first, or /quit")
            }
            Self::HowToJoin => write!(
                to,
                "type a one-word name and press Enter; or type who, or quit"
            ),
            Self::EverybodySaw(command) => {
                let what = match command {
                    "quit" => "leaves",
                    "who" => "lists who is here",
                    _ => "lists the commands",
                };
                write!(to, "everybody saw that; /{command} {what}")
            }
            Self::ThatIsYou => write!(to, "that is you: name somebody else"),
            Self::IsPlain(nick) => write!(
                to,
                "{nick} is a script: it cannot be told anything in private"
            ),
            Self::NobodyToldYou => {
                write!(to, "nobody has told you anything yet: write /msg NAME TEXT")
            }
            Self::PartnerHasLeft(nick) => {
                write!(
                    to,
                    "{}, who told you something last, has left",
                    Isolated(nick)
                )
            }
            Self::YouDoNotIgnore(name) => write!(
                to,
                "you do not ignore \"{}\"; /ignore lists whom you do",
                Short(name)
            ),
            Self::YouIgnoreTooMany(most) => {
                write!(to, "you ignore {most} already: /unignore one of them first")
            }
            Self::NoTime(word) => write!(
                to,
                "\"{}\" is no time: write 5m, 2h or 1d (at most 366d)",
                Short(word)
            ),
            Self::NoBell(word) => write!(
                to,
                "the bell cannot be \"{}\": write /bell off, /bell private or /bell name",
                Short(word)
            ),
            Self::NoZone(text) => write!(
                to,
                "\"{}\" is no time zone: write /stamp +5h45m, /stamp -3h or /stamp off",
                Short(text)
            ),
            Self::NothingKept => write!(to, "there is nothing to show"),
            Self::NothingOf(name) => {
                write!(to, "nothing is kept that \"{}\" has said", Short(name))
            }
            Self::NothingFound(text) => {
                write!(to, "no line that is kept has \"{}\" in it", Short(text))
            }
            Self::VoicelessLine(is_person) => {
                let advice = if is_person {
                    "; you can /msg an operator"
                } else {
                    ""
                };
                write!(to, "the room is moderated, that was not sent{advice}")
            }
            Self::MutedCommand => write!(to, "you are muted: you cannot do that"),
            Self::MutedLine => write!(to, "you are muted, that was not sent"),
            Self::MutedOperator => write!(to, "you are muted: another operator has to do that"),
            Self::RenamesTooOften { wait } => write!(
                to,
                "you change your nick too often, try again in {} s",
                wait.as_millis().div_ceil(1000)
            ),
            Self::MutedReason => write!(to, "you are muted: your reason was left out"),
            Self::NotOperator => write!(to, "only operators can do that"),
            Self::NoOperators => write!(to, "this server has no operators"),
            Self::IsNotBanned(whom) => write!(to, "{} is not banned", Short(whom)),
            Self::IsBannedWith(whom, network) => {
                write!(
                    to,
                    "{whom} is banned with {network}: /unban {network} lifts that"
                )
            }
            Self::NoAddress(text) => write!(
                to,
                "\"{}\" is no valid address: write 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32",
                Short(text)
            ),
            Self::IsEverybody(text) => write!(
                to,
                "\"{}\" covers everybody: name a smaller network",
                Short(text)
            ),
            Self::IsNotMuted(whom) => write!(to, "{} is not muted", Short(whom)),
            Self::TooManySanctions(most) => {
                write!(to, "there are {most} of these already: lift one first")
            }
            Self::YourOwnAddress => write!(to, "that is your own address: it is not banned"),
            Self::YourOwnUser => write!(to, "that is your own user: it is not banned"),
            Self::YourOwnNetwork(network) => {
                write!(to, "your own address is in {network}: it is not banned")
            }
            Self::TookTooLong(Awaited::Nick, time) => write!(
                to,
                "you have taken longer than {} s, goodbye: connect again",
                time.as_secs()
            ),
            Self::TookTooLong(Awaited::Password, time) => write!(
                to,
                "you have taken longer than {} s for the password, goodbye: connect again",
                time.as_secs()
            ),
            Self::Goodbye(words) => write!(to, "{words}"),
        }
    }
}

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, nick) in self.some.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{nick}")?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl Names<'_> {
    fn count(&self) -> usize {
        self.some.len().saturating_add(self.more)
    }
}

/// Names of which one is meant.
struct OneOf<'a>(Names<'a>);

impl fmt::Display for OneOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.some, self.0.more) {
            ([others @ .., last], 0) if !others.is_empty() => {
                let names = Names {
                    some: others,
                    more: 0,
                };
                write!(f, "{names} or {last}")
            }
            _ => self.0.fmt(f),
        }
    }
}

/// Why a nick is refused. Plain clients get nicks as they are; at a prompt they are isolated.
struct Why<'a>(&'a NickError, Profile);

impl fmt::Display for Why<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Profile::Interactive => write!(f, "{}", self.0),
            Profile::Plain | Profile::History => write!(f, "{:#}", self.0),
        }
    }
}

/// A number of people, worded so that no nick can be mistaken for it.
struct People(u32);

impl fmt::Display for People {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("1 person"),
            count => write!(f, "{count} people"),
        }
    }
}

struct Others<'a>(Names<'a>);

impl fmt::Display for Others<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.count() {
            0 => write!(f, "nobody else is here yet"),
            1 => write!(f, "1 other here: {}", self.0),
            count => write!(f, "{count} others here: {}", self.0),
        }
    }
}

/// The members whose names begin with something.
struct Here<'a>(&'a str, Listed<'a>);

impl fmt::Display for Here<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Listed {
            some,
            more,
            elsewhere,
        } = self.1;
        match some.len().saturating_add(more) {
            0 if self.0.is_empty() => return f.write_str("nobody is here"),
            0 => {
                let name = Short(self.0);
                return write!(f, "nobody here has a name that begins with \"{name}\"");
            }
            count if elsewhere == 0 => write!(f, "{count} here")?,
            count => {
                let here = count.saturating_sub(elsewhere);
                write!(f, "{here} here, {elsewhere} elsewhere")?;
            }
        }
        let mut before = ": ";
        for (nick, mark) in some {
            write!(f, "{before}{nick}{mark}")?;
            before = ", ";
        }
        match more {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.is_operator, self.is_away) {
            (false, false) => "",
            (true, false) => " (operator)",
            (false, true) => " (away)",
            (true, true) => " (operator, away)",
        })
    }
}

impl fmt::Display for Whois<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let silent_for = Lasting(self.silent_for);
        match self.here_for {
            None => write!(f, "{} is a script, silent for {silent_for}", self.nick)?,
            Some(time) => {
                let (nick, here_for) = (self.nick, Lasting(time));
                write!(
                    f,
                    "{nick} has been here for {here_for}, silent for {silent_for}"
                )?;
            }
        }
        f.write_str(match self.link {
            Link::Tls => ", over TLS",
            Link::WithoutTls => ", without TLS",
            Link::UnixSocket => ", over a Unix socket",
        })?;
        if self.is_operator {
            f.write_str(", an operator")?;
        }
        match self.away {
            None => Ok(()),
            Some("") => f.write_str(", away"),
            Some(why) => write!(f, ", away: {why}"),
        }
    }
}

/// A command with its arguments, as it is typed.
struct Synopsis<'a>(&'a Help);

impl fmt::Display for Synopsis<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let space = if self.0.arguments.is_empty() { "" } else { " " };
        write!(f, "/{}{space}{}", self.0.name, self.0.arguments)
    }
}

/// A reason behind a colon, if there is one.
struct Because<'a>(CleanText<'a>);

impl fmt::Display for Because<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_str() {
            "" => Ok(()),
            words => write!(f, ": {words}"),
        }
    }
}

/// How long something lasts, if it has an end.
struct For(Option<Duration>);

impl fmt::Display for For {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HOUR: u64 = 60;
        const DAY: u64 = 24 * HOUR;
        let minutes = match self.0.map(|time| time.as_secs().div_ceil(60)) {
            None => return Ok(()),
            Some(1) => return write!(f, " for a minute"),
            Some(minutes) => minutes,
        };
        f.write_str(" for")?;
        let parts = [
            (minutes / DAY, "day"),
            (minutes % DAY / HOUR, "hour"),
            (minutes % HOUR, "minute"),
        ];
        for (count, unit) in parts.into_iter().filter(|(count, _)| *count > 0) {
            let s = if count == 1 { "" } else { "s" };
            write!(f, " {count} {unit}{s}")?;
        }
        Ok(())
    }
}

/// How long a ban or a mute lasts, and whose it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms<'a> {
    /// `None` means for ever.
    pub(crate) time: Option<Duration>,
    pub(crate) by: &'a str,
    /// Empty if no reason was given.
    pub(crate) why: &'a str,
}

impl fmt::Display for Terms<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, by {}", For(self.time), Isolated(self.by))?;
        match self.why {
            "" => Ok(()),
            why => write!(f, ": {why}"),
        }
    }
}

/// How long ago something was, rounded as a person says it.
struct Ago(Duration);

impl fmt::Display for Ago {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ago", Lasting(self.0))
    }
}

/// How long something has lasted, rounded likewise.
struct Lasting(Duration);

impl fmt::Display for Lasting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MINUTE: u64 = 60;
        const HOUR: u64 = 60 * MINUTE;
        const DAY: u64 = 24 * HOUR;
        match self.0.as_secs() {
            seconds @ ..MINUTE => write!(f, "{seconds} s"),
            seconds @ ..HOUR => write!(f, "{} min", seconds / MINUTE),
            seconds @ ..DAY => write!(f, "{} h", seconds / HOUR),
            seconds => write!(f, "{} d", seconds / DAY),
        }
    }
}

/// The beginning of what a person typed, long enough to recognise it.
struct Short<'a>(&'a str);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 40;
        match self.0.char_indices().nth(MOST) {
            None => fmt::Display::fmt(&Isolated(self.0), f),
            Some((end, _)) => {
                let beginning = self.0.get(..end).unwrap_or_default();
                write!(f, "{}...", Isolated(beginning))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text;

    fn written(message: Message<'_>) -> String {
        let mut line = b"before|".to_vec();
        message.write(&mut line);
        let line = String::from_utf8(line).expect("messages are UTF-8");
        let line = line.strip_prefix("before|").expect("it is appended");
        let line = line.strip_suffix("\r\n").expect("it has an end");
        assert!(!line.contains(['\r', '\n']), "{line:?}");
        line.to_owned()
    }

    fn nick(name: &str) -> Nick {
        Nick::parse(name.as_bytes(), 32).expect("a nick")
    }

    #[test]
    fn whose_words_they_are_shows_in_the_first_characters() {
        let (prefix, bob, mut scratch) = (Prefix::default(), nick("bob"), String::new());
        let text = text::clean(b"waves", &mut scratch);
        let said = Message::Line(&prefix, &bob, text);
        assert_eq!(written(said), "bob: waves");
        assert_eq!(written(Message::Action(&bob, text)), "** bob waves");
        let bare = Message::PlainAction(&prefix, &bob, text);
        assert_eq!(written(bare), "bob: /me waves");
        for message in [
            Message::Tells(&bob, text),
            Message::Remembered(Duration::ZERO, b"bob: hi"),
            Message::Motd("bob: hi"),
            Message::HasQuit(&bob, text),
            Message::Skipped(u64::MAX),
            Message::Goodbye("server is shutting down"),
        ] {
            assert!(written(message).starts_with("* "), "{message:?}");
        }
    }

    #[test]
    fn a_welcome_names_the_others_and_counts_those_it_does_not_name() {
        let [bob, alice, carol] = ["bob", "alice", "carol"].map(nick);
        let welcome = |some: &[&Nick], more| written(Message::Welcome(&bob, Names { some, more }));
        assert_eq!(
            welcome(&[], 0),
            "* welcome, bob. /help lists the commands. nobody else is here yet"
        );
        assert_eq!(
            welcome(&[&alice], 0),
            "* welcome, bob. /help lists the commands. 1 other here: alice"
        );
        assert_eq!(
            welcome(&[&alice, &carol], 310),
            "* welcome, bob. /help lists the commands. 312 others here: alice, carol and 310 more"
        );
    }

    #[test]
    fn an_age_is_as_exact_as_it_matters() {
        for (seconds, age) in [
            (0, "0 s ago"),
            (59, "59 s ago"),
            (60, "1 min ago"),
            (3599, "59 min ago"),
            (3600, "1 h ago"),
            (86_399, "23 h ago"),
            (86_400, "1 d ago"),
        ] {
            assert_eq!(Ago(Duration::from_secs(seconds)).to_string(), age);
        }
    }

    #[test]
    fn those_who_came_and_went_are_one_line() {
        let changed = |joined, left, renamed| {
            written(Message::CameAndWent {
                joined,
                left,
                renamed,
            })
        };
        let came = |joined, left| changed(joined, left, 0);
        assert_eq!(
            changed(312, 40, 1),
            "* 312 people joined, 40 left, 1 changed nick"
        );
        assert_eq!(changed(0, 1, 12), "* 1 person left, 12 changed nick");
        assert_eq!(changed(0, 0, 1), "* 1 person changed nick");
        assert_eq!(changed(0, 0, 12), "* 12 people changed nick");
        assert_eq!(came(312, 40), "* 312 people joined, 40 left");
        assert_eq!(written(Message::Skipped(1)), "* 1 line skipped");
        assert_eq!(came(312, 0), "* 312 people joined");
        assert_eq!(came(1, 0), "* 1 person joined");
        assert_eq!(came(1, 2), "* 1 person joined, 2 left");
        assert_eq!(came(0, 40), "* 40 people left");
        assert_eq!(came(0, 1), "* 1 person left");
    }

    /// Each notice that begins with a nick, and the notices without one that could be confused with it.
    fn notices<'a>(nick: &'a Nick, other: &'a Nick, none: CleanText<'a>) -> Vec<Message<'a>> {
        let reasons = CloseReason::ALL.into_iter();
        let mut notices = vec![
            Message::HasJoined(nick),
            Message::HasLeft(nick),
            Message::HasQuit(nick, none),
            Message::WasKicked(nick, other, none),
            Message::ChangesNick(nick, other),
            Message::YouWereKicked(nick, none),
            Message::IsPlain(nick),
            Message::IsMuted(nick.as_str(), None),
            Message::IsMuted(nick.as_str(), Some(Duration::from_secs(60))),
            Message::IsBanned(nick.as_str(), None),
            Message::IsNoLongerBanned(nick.as_str()),
            Message::IsNoLongerMuted(nick.as_str()),
            Message::IsNotBanned(nick.as_str()),
            Message::IsNotMuted(nick.as_str()),
            Message::HasLeftAlready(nick.as_str(), other),
            Message::YouAreNow(nick),
            Message::YouIgnore(nick),
            Message::YouHearAgain(nick.as_str(), None),
            Message::YouHearAgain(nick.as_str(), Some(other)),
            Message::Greeting,
            Message::Recorded,
            Message::AskPassword,
            Message::AskNick,
            Message::Yes,
            Message::Time("2026-11-24 12:00"),
            Message::YouAreOperator,
            Message::YouAreMuted(None, ""),
            Message::YouAreNoLongerMuted,
            Message::NickFirst,
            Message::HowToJoin,
            Message::EverybodySaw("quit"),
            Message::ThatIsYou,
            Message::NobodyToldYou,
            Message::PartnerHasLeft(nick.as_str()),
            Message::TookTooLong(Awaited::Nick, Duration::from_secs(120)),
            Message::NothingKept,
            Message::YouAreQuiet(true),
            Message::YouAreQuiet(false),
            Message::BellRings(None),
            Message::StampIs(None),
            Message::YouAreAway(""),
            Message::YouAreBack,
            Message::IsAway(nick, ""),
            Message::MutedLine,
            Message::NotOperator,
            Message::NoOperators,
            Message::YourOwnAddress,
            Message::Skipped(1),
            Message::Skipped(312),
            Message::SkippedForPerson(312),
        ];
        notices.extend([1, 312].into_iter().flat_map(|count| {
            let counts = [(count, 0, 0), (0, count, 0), (0, 0, count)];
            counts.map(|(joined, left, renamed)| Message::CameAndWent {
                joined,
                left,
                renamed,
            })
        }));
        notices.extend(
            reasons
                .clone()
                .map(|reason| Message::HasLeftBecause(nick, reason)),
        );
        notices.extend(
            reasons
                .filter_map(CloseReason::goodbye)
                .map(Message::Goodbye),
        );
        notices
    }

    #[test]
    fn what_all_are_told_fits_a_terminal_of_80_columns() {
        let (bob, none) = (nick("b234567890123456"), CleanText::EMPTY);
        let reasons = CloseReason::ALL.into_iter();
        let mut notices = vec![
            Message::HasJoined(&bob),
            Message::HasLeft(&bob),
            Message::WasKicked(&bob, &bob, none),
            Message::ChangesNick(&bob, &bob),
            Message::CameAndWent {
                joined: 10_000,
                left: 10_000,
                renamed: 10_000,
            },
        ];
        notices.extend(reasons.map(|reason| Message::HasLeftBecause(&bob, reason)));
        for notice in notices.into_iter().map(written) {
            assert!(notice.len() <= 79, "{notice}");
        }
    }

    /// What is said to one person. It names nothing but members; times, counts and words that somebody has typed
    /// are short.
    #[test]
    fn what_one_is_told_fits_a_terminal_of_80_columns() {
        let (bob, none) = (nick("b234567890123456"), CleanText::EMPTY);
        let name = bob.as_str();
        let hour = Duration::from_secs(3600);
        let peer = Peer::from(std::net::SocketAddr::from(([192, 0, 2, 107], 7)));
        let user = Peer::Local {
            uid: 1000,
            pid: 4711,
        };
        let terms = Terms {
            time: Some(hour),
            by: name,
            why: "",
        };
        let names = Names {
            some: &[&bob],
            more: 0,
        };
        let messages = [
            Message::Recorded,
            Message::WrongPasswordFinally,
            Message::TooManyTries(peer, hour),
            Message::AskOpPassword,
            Message::DidNotWait,
            Message::WasKicked(&bob, &bob, none),
            Message::HowToSaySlash,
            Message::HowToType,
            Message::YouIgnore(&bob),
            Message::YouHearAgain(name, Some(&bob)),
            Message::YouAreOperator,
            Message::YouAreNoOperator,
            Message::IsOperator(&bob),
            Message::IsNoOperator(&bob),
            Message::YouAreQuiet(true),
            Message::YouAreQuiet(false),
            Message::BellRings(Some("somebody tells you something or says your name")),
            Message::StampIs(Some("12:34")),
            Message::StampIs(None),
            Message::YouAreAway(""),
            Message::IsBanned(name, Some(hour)),
            Message::IsBannedUnmet(name, Some(hour), None),
            Message::IsBannedUnmet(name, None, Some(&bob)),
            Message::CameFrom(&bob, peer),
            Message::CameFrom(&bob, user),
            Message::MutedAt(&bob, peer),
            Message::MutedAt(&bob, user),
            Message::Ban(name, terms),
            Message::Mute(name, terms),
            Message::YouAreMuted(Some(hour), ""),
            Message::YouWereKicked(&bob, none),
            Message::YouAreBanned("too loud"),
            Message::OriginIsBanned(peer, "too loud"),
            Message::Announced(10_000),
            Message::Forgotten(500, name),
            Message::YouModerate(true),
            Message::YouModerate(false),
            Message::Moderates(&bob, true),
            Message::Moderates(&bob, false),
            Message::IsModerated,
            Message::HasVoice(&bob, true),
            Message::HasVoice(&bob, false),
            Message::YouHaveVoice(true),
            Message::YouHaveVoice(false),
            Message::LineTooLong {
                max_line_bytes: 65_536,
            },
            Message::SkippedForPerson(10_000),
            Message::LinesWait {
                count: 100,
                lines_per_second: 2.5,
            },
            Message::UnknownCommand("", None),
            Message::UnknownCommand("unignroe", Some("unignore")),
            Message::Nobody(name),
            Message::Several(name, names),
            Message::HasLeftAlready(name, &bob),
            Message::MayHaveLeft("b", &bob),
            Message::NickFirst,
            Message::HowToJoin,
            Message::EverybodySaw("quit"),
            Message::ThatIsYou,
            Message::IsPlain(&bob),
            Message::NobodyToldYou,
            Message::PartnerHasLeft(name),
            Message::YouDoNotIgnore(name),
            Message::YouIgnoreTooMany(32),
            Message::NoTime("5y"),
            Message::NoBell("x"),
            Message::NoZone("x"),
            Message::NothingKept,
            Message::NothingOf(name),
            Message::NothingFound(name),
            Message::MutedLine,
            Message::VoicelessLine(true),
            Message::MutedCommand,
            Message::MutedOperator,
            Message::RenamesTooOften { wait: hour },
            Message::MutedReason,
            Message::NotOperator,
            Message::NoOperators,
            Message::NoAddress("1.2.3"),
            Message::IsEverybody("0.0.0.0/0"),
            Message::TooManySanctions(1000),
            Message::YourOwnAddress,
            Message::YourOwnUser,
            Message::YourOwnNetwork("192.0.2.0/24"),
            Message::TookTooLong(Awaited::Password, hour),
            Message::TookTooLong(Awaited::Nick, hour),
        ];
        let goodbyes = CloseReason::ALL.into_iter();
        let goodbyes = goodbyes.filter_map(CloseReason::goodbye);
        let messages = messages.into_iter().chain(goodbyes.map(Message::Goodbye));
        let long: Vec<String> = messages
            .map(written)
            .filter(|line| line.len() > 79)
            .collect();
        assert_eq!(long, [""; 0]);
    }

    #[test]
    fn no_nick_makes_one_notice_another() {
        let (bob, none) = (nick("bob"), CleanText::EMPTY);
        let words: Vec<String> = notices(&bob, &bob, none).into_iter().map(written).collect();
        let words = words.iter().flat_map(|line| line.split(' '));
        let words: std::collections::BTreeSet<&str> = words.collect();
        let nicks = words
            .into_iter()
            .map(|word| Nick::parse(word.as_bytes(), 32));
        let nicks: Vec<Nick> = nicks.filter_map(Result::ok).collect();
        assert!(nicks.contains(&nick("312")) && nicks.contains(&nick("down")));
        let own = ["server", "you", "nobody", "everybody", "operator"];
        let nicks = nicks.iter().filter(|nick| !own.contains(&nick.as_str()));
        let mut kinds = std::collections::BTreeMap::new();
        for (nick, other) in nicks
            .clone()
            .flat_map(|one| nicks.clone().map(move |it| (one, it)))
        {
            for message in notices(nick, other, none) {
                let kind = match message {
                    // A member may leave without last words.
                    Message::HasQuit(nick, _) => Message::HasLeft(nick),
                    message => message,
                };
                let kind = std::mem::discriminant(&kind);
                let line = written(message);
                let before = kinds.insert(line.clone(), kind);
                assert!(
                    before.is_none_or(|it| it == kind),
                    "{line:?} is two notices"
                );
            }
        }
    }

    #[test]
    fn a_nick_from_right_to_left_is_isolated_wherever_a_person_sees_it() {
        let (prefix, bob, mut scratch) = (Prefix::default(), nick("שלום"), String::new());
        let text = text::clean(b"x", &mut scratch);
        let isolated = "\u{2068}שלום\u{2069}";
        let taken = NickError::Taken {
            nick: bob.clone(),
            owner: bob.clone(),
            free: None,
        };
        for message in [
            Message::IsolatedLine(&prefix, &bob, text),
            Message::Action(&bob, text),
            Message::Tells(&bob, text),
            Message::HasJoined(&bob),
            Message::HasLeft(&bob),
            Message::ChangesNick(&bob, &bob),
            Message::IsBanned(bob.as_str(), None),
            Message::Nobody(bob.as_str()),
            Message::Who(
                "",
                Listed {
                    some: &[(
                        &bob,
                        Mark {
                            is_operator: false,
                            is_away: false,
                        },
                    )],
                    more: 0,
                    elsewhere: 0,
                },
            ),
            Message::Refused(&taken, Profile::Interactive),
        ] {
            let line = written(message);
            assert!(line.contains(isolated), "{line:?}");
            let nicks = line.matches("שלום").count();
            assert_eq!(line.matches(isolated).count(), nicks, "{line:?}");
        }
        for message in [
            Message::Line(&prefix, &bob, text),
            Message::PlainAction(&prefix, &bob, text),
            Message::Refused(&taken, Profile::Plain),
            Message::Refused(&taken, Profile::History),
        ] {
            let line = written(message);
            assert!(
                line.contains("שלום") && !line.contains('\u{2068}'),
                "{line:?}"
            );
        }
    }

    #[test]
    fn what_somebody_typed_is_not_given_back_at_any_length() {
        let long = "é".repeat(4000);
        assert!(written(Message::Nobody(&long)).len() < 200);
        assert!(written(Message::UnknownCommand(&long, None)).len() < 200);
    }
}
