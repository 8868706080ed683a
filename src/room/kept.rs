//! Bans and mutes beyond the process: [`Kept`] is one of them as it is written down. The room hands out those
//! that are in force, and takes them back when the server starts. Bans of addresses are not part of the room.

use std::time::Duration;

use crate::peer::PeerSet;
use crate::room::Room;
use crate::room::sanction::{BannedNick, Muted, Sanction, TOO_MANY};
use crate::text::nick::Nick;
use crate::time::moment::Moment;

/// A ban or a mute as it is kept beyond the process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept<'a> {
    pub(crate) is_ban: bool,
    pub(crate) whom: Whom<'a>,
    pub(crate) by: &'a str,
    pub(crate) why: &'a str,
}

/// Whom it is for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Whom<'a> {
    Name(&'a str),
    Peers(PeerSet),
}

impl Room {
    /// Another number whenever bans or mutes have changed.
    pub(crate) fn sanctions_version(&self) -> u64 {
        self.sanctions_version
    }

    /// Bans or mutes have changed.
    pub(crate) fn note_sanction(&mut self) {
        self.sanctions_version = self.sanctions_version.wrapping_add(1);
    }

    /// Hands out each ban and mute that is in force, and how much longer it is.
    pub(crate) fn each_kept(&self, now: Moment, mut take: impl FnMut(Kept<'_>, Option<Duration>)) {
        for (ban, time) in self.banned.entries(now) {
            let whom = Whom::Name(ban.whom.nick.as_str());
            let (by, why) = (&*ban.by, &*ban.why);
            take(
                Kept {
                    is_ban: true,
                    whom,
                    by,
                    why,
                },
                time,
            );
        }
        for (mute, time) in self.muted.entries(now) {
            let whom = match &mute.whom {
                Muted::Name { nick, .. } => Whom::Name(nick),
                Muted::Peers(peers) => Whom::Peers(*peers),
            };
            let (by, why) = (&*mute.by, &*mute.why);
            take(
                Kept {
                    is_ban: false,
                    whom,
                    by,
                    why,
                },
                time,
            );
        }
    }

    /// Takes back what was kept: the ban of a name, or a mute.
    ///
    /// # Errors
    /// It can be neither.
    pub(crate) fn restore(
        &mut self,
        kept: Kept<'_>,
        time: Option<Duration>,
        now: Moment,
    ) -> Result<(), &'static str> {
        let muted = match kept.whom {
            Whom::Peers(peers) => Muted::Peers(peers),
            Whom::Name(nick) => {
                let nick = Nick::parse(nick.as_bytes(), self.max_nick_chars);
                let nick = nick.map_err(|_| "that is no nick here")?;
                let name = self.members.hash(&nick);
                if kept.is_ban {
                    let ban = Sanction::kept(BannedNick { name, nick }, kept.by, kept.why);
                    let has_room = self.banned.add(ban, time, now);
                    return has_room.then_some(()).ok_or(TOO_MANY);
                }
                let nick = nick.as_str().into();
                Muted::Name {
                    name,
                    nick,
                    left: None,
                }
            }
        };
        self.is_watched = true;
        let mute = Sanction::kept(muted, kept.by, kept.why);
        let has_room = self.muted.add(mute, time, now);
        has_room.then_some(()).ok_or(TOO_MANY)
    }
}
