//! Nicks in a room that several servers share: whoever asks for one waits until the engine has said that it is
//! nobody else's. What is asked of it is [taken](Room::take_claims) by the session of its connection; the
//! answer [comes back](Room::on_claim) and is kept until the client's line is handled again.
//!
//! | a client asks for a nick | that nobody here has | the answer has come | it leaves |
//! |---|---|---|---|
//! | nothing is asked for it | a claim is asked for; it waits | - | nothing |
//! | a claim is asked for | it waits | it gets the nick, or is refused | the claim is given up |
//!
//! A member may lose its nick while its server is cut off, because somebody on another server was first. It gets
//! another one then, or is closed if it is a script, which would not know.

use std::collections::{BTreeMap, VecDeque};

use crate::client_id::ClientId;
use crate::protocol::message::Message;
use crate::room::Room;
use crate::text::nick::{Nick, NickError};
use crate::time::moment::Moment;

/// How many other names are tried for a member that has lost its own.
const OTHER_NAMES: u8 = 9;

/// What the room asks of the engine.
#[derive(Debug)]
pub(crate) enum ClaimRequest {
    /// This client wants this nick, in place of the one that it has.
    Claim { conn: u64, nick: Nick },
    /// It wants none any more.
    Leave { conn: u64 },
}

/// Why a nick is nobody else's to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoClaim {
    /// Somebody on another server has it.
    Held,
    /// The engine has no room for more nicks.
    Full,
    /// The engine has not answered in time.
    NoAnswer,
}

/// What is to be done about a client whose claim was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answered {
    /// Its line is to be handled again.
    Resume(ClientId),
    /// It has lost its nick, and cannot have another.
    Close(ClientId),
}

/// What is asked, and answered.
#[derive(Debug, Default)]
pub(super) struct Asking {
    requests: VecDeque<ClaimRequest>,
    /// What each client asks for that has no answer, or has not taken it.
    by_conn: BTreeMap<u64, Asked>,
}

#[derive(Debug)]
struct Asked {
    nick: Nick,
    answer: Option<Result<(), NoClaim>>,
    /// The member has lost its nick, and this is the other name of this number that is tried for it.
    other: Option<u8>,
}

impl Asking {
    pub(super) fn leave(&mut self, conn: u64) {
        self.by_conn.remove(&conn);
        self.requests.push_back(ClaimRequest::Leave { conn });
    }

    fn ask(&mut self, conn: u64, nick: Nick, other: Option<u8>) {
        let request = ClaimRequest::Claim {
            conn,
            nick: nick.clone(),
        };
        self.requests.push_back(request);
        let answer = None;
        let asked = Asked {
            nick,
            answer,
            other,
        };
        self.by_conn.insert(conn, asked);
    }
}

impl Room {
    /// Whether a client has to wait for an answer before it can have the nick that this line asks for.
    #[inline]
    pub(crate) fn must_wait_for_nick(&mut self, id: ClientId, line: &[u8], now: Moment) -> bool {
        self.shared.is_some() && self.asks_for_nick(id, line, now)
    }

    #[cold]
    fn asks_for_nick(&mut self, id: ClientId, line: &[u8], now: Moment) -> bool {
        if self.rename_wait(id, now).is_some() {
            return false;
        }
        let Ok((nick, name)) = self.nick(line, now) else {
            return false;
        };
        if self.members.holder(&nick, name, id).is_some() {
            return false;
        }
        let Some(shared) = &mut self.shared else {
            return false;
        };
        let conn = shared.number(id);
        match shared.asking.by_conn.get(&conn) {
            Some(asked) if asked.nick == nick => asked.answer.is_none(),
            _ => {
                shared.asking.ask(conn, nick, None);
                true
            }
        }
    }

    /// Takes the answer to what a client has asked for.
    ///
    /// # Errors
    /// It cannot have the nick.
    pub(super) fn take_answer(&mut self, id: ClientId, nick: &Nick) -> Result<(), NickError> {
        let Some(shared) = &mut self.shared else {
            return Ok(());
        };
        let Some(conn) = shared.conn_of(id) else {
            return Ok(());
        };
        let asked = shared.asking.by_conn.remove(&conn);
        let answer = asked.filter(|it| it.nick == *nick).and_then(|it| it.answer);
        match answer {
            None | Some(Ok(())) => Ok(()),
            Some(Err(NoClaim::Held)) => Err(NickError::Taken {
                nick: nick.clone(),
                owner: nick.clone(),
                free: None,
            }),
            Some(Err(NoClaim::Full)) => Err(NickError::TooMany),
            Some(Err(NoClaim::NoAnswer)) => Err(NickError::NoAnswer),
        }
    }

    /// A client does not get the nick that it has asked for, although it may have been claimed. That claim is given up,
    /// and a member claims again the nick that it has.
    pub(super) fn unclaim(&mut self, id: ClientId) {
        let nick = self.members.get(id).map(|member| member.nick.clone());
        let Some(shared) = &mut self.shared else {
            return;
        };
        let Some(conn) = shared.conn_of(id) else {
            return;
        };
        match nick {
            Some(nick) => {
                shared.asking.by_conn.remove(&conn);
                let claim = ClaimRequest::Claim { conn, nick };
                shared.asking.requests.push_back(claim);
            }
            None => shared.asking.leave(conn),
        }
    }

    /// Hands out what is asked of the engine.
    pub(crate) fn take_claims(&mut self) -> VecDeque<ClaimRequest> {
        let shared = self.shared.as_mut();
        shared.map_or_else(VecDeque::new, |it| std::mem::take(&mut it.asking.requests))
    }

    /// The engine has answered a claim.
    pub(crate) fn on_claim(&mut self, conn: u64, answer: Result<(), NoClaim>) -> Option<Answered> {
        let shared = self.shared.as_mut()?;
        let Some(asked) = shared.asking.by_conn.get_mut(&conn) else {
            // A member could not claim again what it has: see `unclaim`.
            return answer.err().and_then(|_| self.on_nick_lost(conn));
        };
        asked.answer = Some(answer);
        let other = asked.other;
        let id = self.member_here(conn)?;
        match (other, answer) {
            (None, _) => Some(Answered::Resume(id)),
            // The member may have asked for another nick itself, and that line waits.
            (Some(_), Ok(())) => Some(match self.take_other_name(id, conn) {
                Some(()) => Answered::Resume(id),
                None => Answered::Close(id),
            }),
            (Some(number), Err(_)) => self.try_other_name(id, conn, number.saturating_add(1)),
        }
    }

    /// A member has lost its nick to somebody on another server.
    pub(crate) fn on_nick_lost(&mut self, conn: u64) -> Option<Answered> {
        let id = self.member_here(conn)?;
        match self.members.person(id) {
            Some(_) => self.try_other_name(id, conn, 2),
            None => Some(Answered::Close(id)),
        }
    }

    fn try_other_name(&mut self, id: ClientId, conn: u64, from: u8) -> Option<Answered> {
        let now = self.shared_now();
        let nick = self.members.get(id)?.nick.clone();
        for number in from..=OTHER_NAMES {
            let name = format!("{}~{number}", nick.as_str());
            let Ok((other, hash)) = self.nick(name.as_bytes(), now) else {
                continue;
            };
            if self.members.holder(&other, hash, id).is_none() {
                self.shared.as_mut()?.asking.ask(conn, other, Some(number));
                return None;
            }
        }
        Some(Answered::Close(id))
    }

    /// `None` if that cannot be.
    fn take_other_name(&mut self, id: ClientId, conn: u64) -> Option<()> {
        let now = self.shared_now();
        let asked = self.shared.as_mut()?.asking.by_conn.remove(&conn)?;
        let (nick, name) = self.nick(asked.nick.as_str().as_bytes(), now).ok()?;
        let member = self.members.get(id)?;
        let (old, from) = (member.nick.clone(), member.person.as_ref()?.from);
        let origin = from.origin();
        let renamed = self.members.rename(id, nick.clone(), name, origin, now);
        renamed.ok()?;
        self.rename_claim(id);
        self.outbox.send(id, Message::NickLost(&old, &nick));
        self.share_rename(id, &old);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::config::interactive::Profile;
    use crate::peer::Peer;

    #[test]
    fn a_line_that_waits_for_a_nick_goes_on_when_its_member_loses_the_one_that_it_has() {
        let (now, id, conn) = (Moment::BEGINNING, ClientId::from_index(0), 1);
        let from = Peer::Local { uid: 1000, pid: 1 };
        let mut room = Room::new(&Config::default());
        room.join(id, &from, b"bob", Profile::Interactive, now)
            .expect("a free nick");
        room.share(now);
        assert_eq!(room.member_here(conn), Some(id));
        assert!(room.must_wait_for_nick(id, b"carl", now));
        assert_eq!(room.on_nick_lost(conn), None, "bob~2 is asked for");
        assert_eq!(room.on_claim(conn, Ok(())), Some(Answered::Resume(id)));
        assert_eq!(room.nick_of(id), "bob~2");
        room.take_claims();
        assert!(room.must_wait_for_nick(id, b"carl", now));
        let asked = room.take_claims();
        assert!(
            matches!(asked.front(), Some(ClaimRequest::Claim { nick, .. }) if nick.as_str() == "carl"),
            "it is asked for again: {asked:?}"
        );
        assert_eq!(room.on_claim(conn, Ok(())), Some(Answered::Resume(id)));
        assert!(!room.must_wait_for_nick(id, b"carl", now));
    }
}
