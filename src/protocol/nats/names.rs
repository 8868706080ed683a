//! What a room is called on its engine: its streams and its subjects.
//!
//! | name | what it is |
//! |---|---|
//! | `lc.ROOM.in` | to where servers publish; what the stream `LC_ROOM` stores, and so puts in order |
//! | `lc.ROOM.out` | to where that stream republishes, and servers listen |
//! | `lc.ROOM.to.NODE` | for one server alone |
//! | `lc.ROOM.nick.HASH` | a claim of a nick; what the stream `LCN_ROOM` stores |

use crate::config::relay::RelayRoom;
use crate::protocol::nats::subject::{Filter, Subject};

/// The name of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StreamName(String);

impl StreamName {
    /// The stream of what is said in a room.
    pub fn lines(room: &RelayRoom) -> Self {
        Self(format!("LC_{room}"))
    }

    /// The stream of the nicks that are claimed in a room.
    pub fn claims(room: &RelayRoom) -> Self {
        Self(format!("LCN_{room}"))
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where servers publish what is said.
pub fn lines_in(room: &RelayRoom) -> Subject {
    Subject::known(format!("lc.{room}.in"))
}

/// Where servers hear it in its order.
pub fn lines_out(room: &RelayRoom) -> Subject {
    Subject::known(format!("lc.{room}.out"))
}

/// Where one server is told something.
pub fn to_node(room: &RelayRoom, node: u64) -> Subject {
    Subject::known(format!("lc.{room}.to.{node:016x}"))
}

/// Where a nick is claimed, by the hash of its key.
pub fn claim(room: &RelayRoom, hash: u128) -> Subject {
    Subject::known(format!("lc.{room}.nick.{hash:032x}"))
}

/// Where all nicks are claimed.
pub fn all_claims(room: &RelayRoom) -> Filter {
    Filter::known(format!("lc.{room}.nick.*"))
}

/// The hash of the key that is claimed with this subject.
pub fn claimed(room: &RelayRoom, subject: &[u8]) -> Option<u128> {
    let subject = str::from_utf8(subject).ok()?;
    let subject = subject.strip_prefix("lc.")?.strip_prefix(room.as_str())?;
    let hash = subject.strip_prefix(".nick.")?;
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_hash = hash.len() == 32 && hash.bytes().all(is_digit);
    is_hash.then(|| u128::from_str_radix(hash, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_read_back_from_its_subject_and_from_no_other() {
        let room: RelayRoom = "my_room-1".parse().expect("a name");
        for hash in [0, 1, 1 << 127, u128::MAX] {
            let subject = claim(&room, hash);
            assert_eq!(claimed(&room, subject.as_str().as_bytes()), Some(hash));
        }
        let hash = "0".repeat(32);
        for subject in [
            format!("lc.my_room-1.nick.{}", "0".repeat(31)),
            format!("lc.my_room-1.nick.{}F", "0".repeat(31)),
            format!("lc.my_room-1.nick.+{}", "0".repeat(31)),
            format!("lc.my_room-1.nick.{hash}0"),
            format!("lc.my_room-1.in.{hash}"),
            format!("lc.my_room-11.nick.{hash}"),
            hash,
        ] {
            assert_eq!(claimed(&room, subject.as_bytes()), None, "{subject}");
        }
    }

    #[test]
    fn a_room_has_two_streams_and_four_kinds_of_subjects() {
        let room: RelayRoom = "my_room-1".parse().expect("a name");
        let names = [
            StreamName::lines(&room).as_str().to_owned(),
            StreamName::claims(&room).as_str().to_owned(),
            lines_in(&room).to_string(),
            lines_out(&room).to_string(),
            to_node(&room, 0xab).to_string(),
            claim(&room, 1 << 127).to_string(),
        ];
        let expected = [
            "LC_my_room-1",
            "LCN_my_room-1",
            "lc.my_room-1.in",
            "lc.my_room-1.out",
            "lc.my_room-1.to.00000000000000ab",
            "lc.my_room-1.nick.80000000000000000000000000000000",
        ];
        assert_eq!(names, expected);
    }
}
