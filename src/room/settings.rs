//! How a person wants to be shown the room: [`Settings`] is all that one has set for itself, in one place, so
//! that it can go over to another connection as a whole. Nearly nobody sets anything, so it is allocated when
//! the first thing is set, and freed with the last.
//!
//! What is said is formatted once for all. A person with a stamp or a bell gets the same bytes, with a few of
//! its own [before](Before) each line, which are made while its lines are copied.

use crate::broadcast::personal::Before;
use crate::client_id::ClientId;
use crate::protocol::message::Message;
use crate::room::Room;
use crate::room::members::Person;
use crate::text::CleanText;

/// The longest reason for being away, in characters: `/who` and `/whois` repeat it.
const MAX_AWAY_CHARS: usize = 60;

/// The furthest that a clock is from UTC, in minutes: Samoa, and a little more.
const MAX_OFFSET_MINUTES: i16 = 15 * 60;

const MINUTES_PER_DAY: i64 = 24 * 60;

/// What a person has set.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// It is not told who joins, leaves and takes another name.
    pub(super) is_quiet: bool,
    pub(super) bell: Bell,
    /// It sees the time before each line, so many minutes ahead of UTC.
    pub(super) stamp: Option<Offset>,
    /// That it is away, and why.
    pub(super) away: Option<Box<str>>,
}

/// When the bell of a terminal rings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Bell {
    #[default]
    Off,
    /// When somebody tells this person something in private.
    Private,
    /// Then, and when its name is in a line.
    Name,
}

/// How far a clock is ahead of UTC, in minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offset(i16);

impl Settings {
    /// Whether this person sees what is said in another form than others, or less of it.
    pub(super) fn has_own_look(&self) -> bool {
        self.stamp.is_some() || self.bell == Bell::Name || self.is_quiet
    }

    pub(super) fn set_away(&mut self, why: CleanText<'_>) {
        let why: String = why.as_str().chars().take(MAX_AWAY_CHARS).collect();
        self.away = Some(why.into());
    }

    /// What stands before a line for this person; `is_rung` says whether the bell rings. `minute` is the time
    /// in UTC.
    pub(super) fn before(&self, is_rung: bool, minute: i64) -> Before {
        let mut before = Before::default();
        if is_rung {
            before.push(b'\x07');
        }
        if let Some(Offset(offset)) = self.stamp {
            let local = minute.saturating_add(offset.into());
            let local = local.rem_euclid(MINUTES_PER_DAY);
            let (hour, minute) = (local / 60, local % 60);
            for digit in [hour / 10, hour % 10] {
                before.push_digit(digit);
            }
            before.push(b':');
            for digit in [minute / 10, minute % 10] {
                before.push_digit(digit);
            }
            before.push(b' ');
        }
        before
    }
}

impl Room {
    /// Hides from a person who joins, leaves and takes another name, or shows it again; by default whichever
    /// it is not yet.
    pub(crate) fn set_quiet(&mut self, id: ClientId, is_on: Option<bool>) {
        self.members
            .set(id, |it| it.is_quiet = is_on.unwrap_or(!it.is_quiet));
        let is_quiet = self.members.person(id).is_some_and(Person::is_quiet);
        self.outbox.send(id, Message::YouAreQuiet(is_quiet));
    }

    /// Sets when the bell of a person's terminal rings.
    pub(crate) fn set_bell(&mut self, id: ClientId, word: CleanText<'_>) {
        let Some(bell) = Bell::parse(word.as_str()) else {
            return self.outbox.send(id, Message::NoBell(word.as_str()));
        };
        self.members.set(id, |it| it.bell = bell);
        self.outbox.send(id, Message::BellRings(bell.when()));
    }

    /// Shows a person the time before each line; `off` hides it. `minute` is the time in UTC.
    pub(crate) fn set_stamp(&mut self, id: ClientId, zone: CleanText<'_>, minute: i64) {
        let is_off = zone.as_str().eq_ignore_ascii_case("off");
        let offset = Offset::parse(zone.as_str());
        if offset.is_none() && !is_off {
            return self.outbox.send(id, Message::NoZone(zone.as_str()));
        }
        let stamp = offset.filter(|_| !is_off);
        self.batch.minute = minute;
        self.members.set(id, |it| it.stamp = stamp);
        let time = stamp.map(|stamp| {
            let settings = Settings {
                stamp: Some(stamp),
                ..Settings::default()
            };
            settings.before(false, minute)
        });
        let time = time
            .as_ref()
            .map(|time| str::from_utf8(time.as_bytes()).unwrap_or_default());
        self.outbox.send(id, Message::StampIs(time.map(str::trim)));
    }

    /// A person is away, for this reason; without one, it is away or back again.
    pub(crate) fn set_away(&mut self, id: ClientId, why: CleanText<'_>) {
        let person = self.members.person(id);
        let was_away = person.is_some_and(|person| person.away().is_some());
        if was_away && why.as_str().is_empty() {
            self.members.set(id, |it| it.away = None);
            return self.outbox.send(id, Message::YouAreBack);
        }
        self.members.set(id, |it| it.set_away(why));
        let person = self.members.person(id);
        let why = person.and_then(Person::away).unwrap_or_default();
        self.outbox.send(id, Message::YouAreAway(why));
    }

    /// What stands before a private word for a person.
    pub(super) fn before_word(&self, person: &Person) -> Before {
        let settings = person.settings.as_deref();
        settings.map_or_else(Before::default, |it| {
            it.before(it.bell != Bell::Off, self.batch.minute)
        })
    }
}

impl Bell {
    /// When it rings; `None` means never.
    fn when(self) -> Option<&'static str> {
        match self {
            Self::Off => None,
            Self::Private => Some("somebody tells you something"),
            Self::Name => Some("somebody tells you something or says your name"),
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        let bells = [
            ("off", Self::Off),
            ("private", Self::Private),
            ("name", Self::Name),
        ];
        let mut bells = bells.into_iter();
        let (_, bell) = bells.find(|(name, _)| name.eq_ignore_ascii_case(word))?;
        Some(bell)
    }
}

impl Offset {
    /// Parses `+5h45m`, `-3h`, `+5:45`, `+0530` or `+5`; `UTC` or nothing is UTC.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.eq_ignore_ascii_case("utc") {
            return Some(Self(0));
        }
        let (sign, time) = match text.split_at_checked(1)? {
            ("+", time) => (1, time),
            ("-", time) => (-1, time),
            _ => return None,
        };
        let time = time.strip_suffix(['m', 'M']).unwrap_or(time);
        let (hours, minutes) = match time.split_once(['h', 'H', ':']) {
            Some((hours, "")) => (hours, "0"),
            Some(parts) => parts,
            None if time.len() == 4 => time.split_at_checked(2)?,
            None => (time, "0"),
        };
        let is_number =
            |it: &str| (1..=2).contains(&it.len()) && it.bytes().all(|c| c.is_ascii_digit());
        if !is_number(hours) || !is_number(minutes) {
            return None;
        }
        let (hours, minutes): (i16, i16) = (hours.parse().ok()?, minutes.parse().ok()?);
        let ahead = hours.checked_mul(60)?.checked_add(minutes)?;
        (minutes < 60 && ahead <= MAX_OFFSET_MINUTES).then(|| Self(ahead.saturating_mul(sign)))
    }
}

/// Whether a name is in a line, not as part of a word. Letters of ASCII may have any case.
pub(super) fn is_named(name: &str, line: &[u8]) -> bool {
    let name = name.as_bytes();
    let Some(&first) = name.first() else {
        return false;
    };
    let is_word =
        |byte: Option<&u8>| byte.is_some_and(|it| it.is_ascii_alphanumeric() || *it >= 0x80);
    let firsts = memchr::memchr2_iter(first.to_ascii_lowercase(), first.to_ascii_uppercase(), line);
    firsts.into_iter().any(|start| {
        let end = start.saturating_add(name.len());
        let is_it = line
            .get(start..end)
            .is_some_and(|it| it.eq_ignore_ascii_case(name));
        let before = start.checked_sub(1).and_then(|at| line.get(at));
        is_it && !is_word(before) && !is_word(line.get(end))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It took 56 bytes before there was anything to set.
    #[test]
    fn who_sets_nothing_takes_64_bytes_more_at_most() {
        assert!(size_of::<Person>() <= 56 + 64, "{}", size_of::<Person>());
    }

    #[test]
    fn a_clock_is_ahead_of_utc_by_hours_and_minutes() {
        for (text, minutes) in [
            ("", Some(0)),
            ("utc", Some(0)),
            ("+5h45m", Some(345)),
            ("+5H45", Some(345)),
            ("+05:45", Some(345)),
            ("+0545", Some(345)),
            ("-3h", Some(-180)),
            ("+14", Some(840)),
            ("-0h30m", Some(-30)),
            ("+15h", Some(900)),
            ("+15h1m", None),
            ("+5h60m", None),
            ("+", None),
            ("5", None),
            ("+h", None),
            ("+5h45m1", None),
            ("+\u{e9}h", None),
            ("now", None),
            ("-99999", None),
        ] {
            assert_eq!(Offset::parse(text), minutes.map(Offset), "{text:?}");
        }
    }

    #[test]
    fn the_time_before_a_line_is_that_of_the_person() {
        for (offset, minute, expected) in [
            (0, 0, "00:00 "),
            (345, 0, "05:45 "),
            (-1, 0, "23:59 "),
            (840, MINUTES_PER_DAY * 20_000 + 600, "00:00 "),
            (0, -1, "23:59 "),
        ] {
            let settings = Settings {
                stamp: Some(Offset(offset)),
                ..Settings::default()
            };
            assert_eq!(
                settings.before(false, minute).as_bytes(),
                expected.as_bytes()
            );
            let rung = format!("\x07{expected}");
            assert_eq!(settings.before(true, minute).as_bytes(), rung.as_bytes());
        }
        assert_eq!(Settings::default().before(false, 5).as_bytes(), b"");
    }

    #[test]
    fn a_name_is_in_a_line_as_a_word() {
        for (name, line, is_it) in [
            ("bob", "alice: hi BOB", true),
            ("bob", "alice: bob: hi", true),
            ("bob", "alice: @bob, hi", true),
            ("bob", "alice: bobby", false),
            ("bob", "alice: kabob", false),
            ("bob", "bob2: hi", false),
            ("bob", "alice: kabob bob", true),
            ("zo\u{eb}", "alice: hi zo\u{eb}!", true),
            ("zo", "alice: hi zo\u{eb}", false),
            ("[x]", "alice: [X]", true),
            ("", "alice: hi", false),
        ] {
            assert_eq!(is_named(name, line.as_bytes()), is_it, "{name} in {line}");
        }
    }
}
