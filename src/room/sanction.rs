//! What operators impose: a ban or a mute is a [`Sanction`]. It holds the nick of the operator who imposed it
//! and the reason, so that other operators can see both.

use std::time::Duration;

use crate::peer::{Origin, Peer, PeerSet};
use crate::protocol::message::Terms;
use crate::text::CleanText;
use crate::text::alike::NameHash;
use crate::text::nick::Nick;
use crate::time::moment::Moment;

/// What is said of one more ban or mute than there may be.
pub(crate) const TOO_MANY: &str = "there are too many before it";

/// The longest reason that is kept, in characters.
const MAX_WHY_CHARS: usize = 100;

/// A ban or a mute. Two of them are equal if they are for the same name or the same peers.
#[derive(Debug)]
pub(crate) struct Sanction<W> {
    pub(crate) whom: W,
    /// The nick of the operator.
    pub(crate) by: Box<str>,
    /// Empty if there is none.
    pub(crate) why: Box<str>,
}

/// What an operator has typed besides whom it is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order<'a> {
    /// `None` means for ever.
    pub(crate) time: Option<Duration>,
    pub(crate) why: CleanText<'a>,
}

/// A nick that is banned, with all nicks that are like it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BannedNick {
    pub(super) name: NameHash,
    pub(super) nick: Nick,
}

/// Whose lines nobody gets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Muted {
    /// Whoever has a name like this.
    Name {
        name: NameHash,
        nick: Box<str>,
        /// Its owner has left, from this address and then: a newcomer from the same address takes the mute over.
        left: Option<(Origin, Moment)>,
    },
    /// Whoever comes from one of these peers.
    Peers(PeerSet),
}

impl<W> Sanction<W> {
    pub(crate) fn new(whom: W, by: &str, why: CleanText<'_>) -> Self {
        let why: String = why.as_str().chars().take(MAX_WHY_CHARS).collect();
        Self {
            whom,
            by: by.into(),
            why: why.into(),
        }
    }

    /// One that was kept.
    pub(crate) fn kept(whom: W, by: &str, why: &str) -> Self {
        let (by, why) = (by.into(), why.into());
        Self { whom, by, why }
    }

    /// How it is told of, with the time that is left.
    pub(crate) fn terms(&self, time: Option<Duration>) -> Terms<'_> {
        Terms {
            time,
            by: &self.by,
            why: &self.why,
        }
    }
}

impl<W: PartialEq> PartialEq for Sanction<W> {
    fn eq(&self, other: &Self) -> bool {
        self.whom == other.whom
    }
}

impl Muted {
    /// Whether it is for a member of this name, or for one that is connected from this peer.
    pub(super) fn is_for(&self, name: NameHash, from: Option<&Peer>) -> bool {
        match self {
            Self::Name { name: muted, .. } => muted.is_alike(name),
            Self::Peers(peers) => from.is_some_and(|from| peers.contains(from)),
        }
    }

    /// When its owner left, if it left from this address and nobody has taken the mute over.
    pub(super) fn left_at(&self, origin: Origin) -> Option<Moment> {
        match self {
            Self::Name {
                left: Some((from, at)),
                ..
            } if *from == origin => Some(*at),
            Self::Name { .. } | Self::Peers(_) => None,
        }
    }

    pub(super) fn is_alike(&self, other: NameHash) -> bool {
        matches!(self, Self::Name { name, .. } if name.is_alike(other))
    }

    pub(super) fn is_same(&self, other: NameHash) -> bool {
        matches!(self, Self::Name { name, .. } if name.is_same(other))
    }
}
