//! Whoever is connected to one of our servers: what it has read, line by line, and what that tells it of itself. All that
//! is known of a run is known from here.

use std::collections::{BTreeMap, BTreeSet};

use line_chat::Profile;

use crate::nats::Time;
use crate::tally::Tally;
use crate::wire::Wire;

/// With what a person's greeting begins, which no terminal shows.
const OFFER: &[u8] = b"\xff\xfd\0\r\0";

/// Telnet's question whether anybody is there.
const ARE_YOU_THERE: &[u8] = b"\xff\xf6";

/// How much a slow reader takes at a time, in bytes.
pub(crate) const SIP: usize = 4096;

/// A line: who has said it, and which of its lines it is.
pub(crate) type LineId = (usize, u64);

/// What was said, for a look at each byte that is read.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) lines: BTreeMap<LineId, String>,
    /// Private words: who says them, and to which nick.
    pub(crate) words: Vec<(usize, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read {
    Line(LineId),
    CutOff,
    Back(u64),
    Unheard(u64),
    Lost(u64),
    Skipped(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It is there as long as its server, says nothing until the end, and reads all.
    Witness,
    /// A script that stops reading now and then, and says nothing until the end.
    Slow,
    Talker,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Asking,
    /// Its nick was refused.
    Refused,
    Member,
    Ended,
}

/// When it came or went, as how many lines its server's witness had read before and after that moment.
pub(crate) type Span = (usize, usize);

pub(crate) struct Client {
    pub(crate) id: usize,
    pub(crate) server: usize,
    pub(crate) kind: Kind,
    pub(crate) profile: Profile,
    pub(crate) wire: Wire,
    pub(crate) state: State,
    pub(crate) since: Time,
    pub(crate) nick: String,
    /// All nicks that it had or asked for.
    pub(crate) names: BTreeSet<String>,
    pub(crate) read: Vec<Read>,
    /// The nicks under which it read each line.
    shown: Vec<(LineId, String)>,
    raw: Vec<u8>,
    pub(crate) said: u64,
    /// Private words that it has read, and those that have arrived, as it was told.
    pub(crate) words: BTreeSet<usize>,
    pub(crate) told: BTreeSet<usize>,
    pub(crate) came: Option<Span>,
    pub(crate) went: Option<Span>,
    /// Until when a slow one does not read.
    pub(crate) pauses_until: Time,
    pub(crate) transcript: Vec<String>,
}

impl Client {
    pub(crate) fn new(
        id: usize,
        server: usize,
        (kind, profile): (Kind, Profile),
        nick: &str,
        wire: Wire,
        now: Time,
    ) -> Self {
        let client = Self {
            id,
            server,
            kind,
            profile,
            wire,
            state: State::Asking,
            since: now,
            nick: nick.into(),
            names: BTreeSet::new(),
            read: Vec::new(),
            shown: Vec::new(),
            raw: Vec::new(),
            said: 0,
            words: BTreeSet::new(),
            told: BTreeSet::new(),
            came: None,
            went: None,
            pauses_until: 0,
            transcript: Vec::new(),
        };
        client.with_nick()
    }

    fn with_nick(mut self) -> Self {
        let nick = self.nick.clone();
        self.ask(&nick);
        self
    }

    /// Asks for a nick.
    pub(crate) fn ask(&mut self, nick: &str) {
        self.state = State::Asking;
        self.nick = nick.into();
        self.names.insert(nick.into());
        self.type_line(nick);
        if self.profile == Profile::Plain {
            self.wire.send(ARE_YOU_THERE);
        }
    }

    pub(crate) fn is_member(&self) -> bool {
        self.state == State::Member
    }

    pub(crate) fn type_line(&self, line: &str) {
        self.wire.send(format!("{line}\r\n").as_bytes());
    }

    /// Says its next line, which is as long as that, or does it.
    pub(crate) fn say(&mut self, padding: usize, is_act: bool, said: &mut Said) -> LineId {
        self.said += 1;
        let id = (self.id, self.said);
        let text = format!("~{}.{}~ {}", id.0, id.1, "x".repeat(padding));
        let text = text.trim_end().to_owned();
        match is_act && self.profile == Profile::Interactive {
            true => self.type_line(&format!("/me {text}")),
            false => self.type_line(&text),
        }
        said.lines.insert(id, text);
        id
    }

    /// Says something to one member alone.
    pub(crate) fn whisper(&self, to: &str, said: &mut Said) -> usize {
        let number = said.words.len();
        said.words.push((self.id, to.into()));
        self.type_line(&format!("/msg {to} ~{number}~ psst"));
        number
    }

    /// Takes what it was sent.
    pub(crate) fn take(&mut self, said: &Said, tally: &mut Tally) {
        let room = if self.kind == Kind::Slow {
            SIP
        } else {
            usize::MAX
        };
        self.raw.extend(self.wire.take(room));
        let Some(end) = self.raw.iter().rposition(|&byte| byte == b'\n') else {
            return;
        };
        let rest = self.raw.split_off(end + 1);
        let mut whole = std::mem::replace(&mut self.raw, rest);
        while let Some(at) = whole.windows(OFFER.len()).position(|it| it == OFFER) {
            whole.drain(at..at + OFFER.len());
        }
        let text = String::from_utf8(whole).expect("UTF-8");
        // What the server broke for a terminal.
        let text = text.replace("\r\n*   ", " ");
        for line in text.split_terminator("\r\n") {
            self.transcript.push(line.to_owned());
            self.on_line(line, said, tally);
        }
    }

    fn on_line(&mut self, line: &str, said: &Said, tally: &mut Tally) {
        if let Some(notice) = line.strip_prefix("* ") {
            return self.on_notice(notice, said, tally);
        }
        let (nick, text) = match line.strip_prefix("** ") {
            Some(act) => act.split_once(' '),
            None => line.split_once(": "),
        }
        .unwrap_or_else(|| panic!("client {} reads {line:?}", self.id));
        let text = text.strip_prefix("/me ").unwrap_or(text);
        let id = text.strip_prefix('~').and_then(|it| it.split_once('~'));
        let id = id.and_then(|(id, _)| id.split_once('.'));
        let id = id.and_then(|(who, n)| Some((who.parse().ok()?, n.parse().ok()?)));
        let id = id.unwrap_or_else(|| panic!("client {} reads {line:?}", self.id));
        assert_eq!(
            said.lines.get(&id).map(String::as_str),
            Some(text),
            "{line}"
        );
        assert_ne!(
            id.0, self.id,
            "client {} reads its own line: {line}",
            self.id
        );
        if self.profile == Profile::Plain && self.state == State::Asking {
            // A script joins without a word, and the answer to its question may come behind lines.
            self.state = State::Member;
        }
        assert!(
            self.is_member(),
            "client {} is no member and reads {line:?}",
            self.id
        );
        self.read.push(Read::Line(id));
        self.shown.push((id, nick.to_owned()));
    }

    fn on_notice(&mut self, notice: &str, said: &Said, tally: &mut Tally) {
        if self.state == State::Asking {
            self.on_answer(notice, tally);
        }
        let number = |before: &str, behind: &str| {
            let rest = notice.strip_prefix(before)?;
            let (number, rest) = rest.split_once(' ')?;
            rest.starts_with(behind).then(|| number.parse().ok())?
        };
        let lines = "the others did not hear ";
        let read = if notice.starts_with("cut off from the other servers: ") {
            Some(Read::CutOff)
        } else if notice == "back: nothing was said elsewhere" {
            Some(Read::Back(0))
        } else if notice == "back: the line above was said elsewhere" {
            Some(Read::Back(1))
        } else if let Some(count) = number("back: the ", "lines above were said elsewhere") {
            Some(Read::Back(count))
        } else if let Some(count) =
            number(lines, "lines said here").or(number(lines, "line said here"))
        {
            Some(Read::Unheard(count))
        } else if let Some(count) = number("", "lines from other servers were lost") {
            Some(Read::Lost(count))
        } else if notice == "1 line from other servers was lost" {
            Some(Read::Lost(1))
        } else {
            number("", "lines skipped")
                .or(number("", "line skipped"))
                .map(Read::Skipped)
        };
        if let Some(read) = read {
            let keeps_up = self.kind != Kind::Slow;
            assert!(
                !keeps_up || !matches!(read, Read::Skipped(_)),
                "client {} reads all that it is sent, and is told: {notice}",
                self.id
            );
            self.read.push(read);
            return tally.note_read(read);
        }
        if let Some(nick) = notice.strip_prefix("you are now ") {
            self.rename(nick);
        } else if let Some(rest) = notice.strip_prefix("somebody on another server was ")
            && let Some((_, nick)) = rest.split_once(" before you, so you are now ")
        {
            tally.note("a person loses its nick to one on another server");
            self.rename(nick);
        } else if notice == "somebody on another server has your nick, goodbye" {
            tally.note("a script is closed because its nick is lost");
        } else if notice.ends_with("on another server is gone")
            || notice.ends_with("servers are gone")
            || notice.ends_with("on another server are gone")
        {
            tally.note("people of a server that is gone");
        } else if notice.starts_with("no answer from the server of ") {
            tally.note("private words without an answer");
        } else {
            self.on_words(notice, said, tally);
        }
    }

    /// The server has answered who asks for a nick.
    fn on_answer(&mut self, notice: &str, tally: &mut Tally) {
        let welcome = format!("welcome, {}. ", self.nick);
        let is_taken = notice.starts_with("nick \"");
        if notice.starts_with(&welcome) || notice == "yes" {
            self.state = State::Member;
        } else if is_taken || notice.starts_with("the servers cannot agree on nicks") {
            tally.note_if(is_taken, "a nick is refused");
            self.state = State::Refused;
        }
    }

    fn rename(&mut self, nick: &str) {
        self.nick = nick.into();
        self.names.insert(nick.into());
    }

    /// Private words, or that they have arrived.
    fn on_words(&mut self, notice: &str, said: &Said, tally: &mut Tally) {
        let number = |rest: &str| rest.strip_suffix("~ psst")?.parse::<usize>().ok();
        if let Some((nick, rest)) = notice.split_once(" tells you: ~")
            && let Some(number) = number(rest)
        {
            let (_, to) = &said.words[number];
            assert!(
                self.names.contains(to),
                "client {} ({:?}) reads words for {to}: {nick}",
                self.id,
                self.names
            );
            assert!(
                self.words.insert(number),
                "client {} reads private words twice",
                self.id
            );
        } else if let Some((_, rest)) = notice.split_once(": ~")
            && notice.starts_with("you tell ")
            && let Some(number) = number(rest)
        {
            assert_eq!(said.words[number].0, self.id, "{notice}");
            self.told.insert(number);
            tally.note("private words have arrived");
        }
    }

    /// The lines that it has read.
    pub(crate) fn lines(&self) -> impl Iterator<Item = LineId> {
        self.read.iter().filter_map(|read| match read {
            Read::Line(id) => Some(*id),
            _ => None,
        })
    }

    /// The lines with the nicks under which it read them.
    pub(crate) fn shown(&self) -> &[(LineId, String)] {
        &self.shown
    }
}
