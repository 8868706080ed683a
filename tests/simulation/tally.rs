//! How often something came about: a simulation that avoids the hard cases proves nothing.

use line_chat::CloseReason;

use crate::transcript;

/// What a veiled stream can do to an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    /// A short read has left input behind, and no event tells of it.
    InputHeld,
    /// A read blocked although input was left.
    BlockedWithInput,
    /// The end of the stream stood directly behind such input.
    EndBehindInput,
    /// A read waited for output of the handshake.
    ReadWaitsForOutput,
    /// A read made the stream owe output.
    ReadMadeItOwe,
    /// All of a queue was accepted, and not all of that sent.
    OwesWithEmptyQueue,
    /// Input came and was not yet a whole record.
    RecordKept,
    /// The connection broke while output was owed.
    BrokeWhileOwing,
    /// The end of our half took two steps.
    TwoStepsToEnd,
}

const CASES: [Case; 9] = [
    Case::InputHeld,
    Case::BlockedWithInput,
    Case::EndBehindInput,
    Case::ReadWaitsForOutput,
    Case::ReadMadeItOwe,
    Case::OwesWithEmptyQueue,
    Case::RecordKept,
    Case::BrokeWhileOwing,
    Case::TwoStepsToEnd,
];

/// How often each of them came about.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Cases([u64; CASES.len()]);

impl Cases {
    pub(crate) fn count(&mut self, case: Case) {
        self.0[case as usize] += 1;
    }

    pub(crate) fn count_if(&mut self, case: Case, it_is: bool) {
        self.0[case as usize] += u64::from(it_is);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum += more;
        }
    }
}

#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) joined: u64,
    pub(crate) lines: u64,
    pub(crate) bulk_lines: u64,
    pub(crate) skipped: u64,
    pub(crate) told_skipped: u64,
    pub(crate) replies: u64,
    pub(crate) answers: u64,
    /// Times that a queue was longer than its limit.
    pub(crate) over_limit: u64,
    pub(crate) held_turns: u64,
    pub(crate) held_by_rate: u64,
    pub(crate) held_by_gate: u64,
    pub(crate) stalled_readers: u64,
    pub(crate) unregistrable: u64,
    pub(crate) spare: u64,
    pub(crate) short: u64,
    pub(crate) ran_out_of_time: u64,
    /// Turns that came much later than they were to.
    pub(crate) stood_still: u64,
    /// Members whose peers had vanished.
    pub(crate) given_up: u64,
    /// Members that had hung up and stayed.
    pub(crate) listened_on: u64,
    /// Lines that members got when they had hung up, and lines that ended with LF alone.
    pub(crate) seen_after_end: u64,
    pub(crate) seen_with_lf: u64,
    pub(crate) acted: u64,
    pub(crate) renamed: u64,
    pub(crate) noticed: u64,
    pub(crate) whispered: u64,
    pub(crate) http_answers: u64,
    pub(crate) dial_failed: u64,
    pub(crate) did_not_wait: u64,
    /// Answers that concern BINARY.
    pub(crate) binary: u64,
    pub(crate) transcript: transcript::Counts,
    pub(crate) cases: Cases,
    /// By reason, in its order.
    pub(crate) closed: [u64; CloseReason::ALL.len()],
}

/// What happens only where people are received.
const OF_PEOPLE: [CloseReason; 7] = [
    CloseReason::WrongPassword,
    CloseReason::Quit,
    CloseReason::Kicked,
    CloseReason::Banned,
    CloseReason::AddressBanned,
    CloseReason::Answered,
    CloseReason::RequestTimeout,
];

/// What happens only on streams with a handshake.
const OF_VEILS: [CloseReason; 2] = [CloseReason::HandshakeTimeout, CloseReason::HandshakeFailed];

/// What a scene of its own shows, or a test over sockets: proxies are met before the engine.
const OF_SCENES: [CloseReason; 7] = [
    // Of several servers, which are tested elsewhere.
    CloseReason::EngineRefused,
    CloseReason::EngineLeaves,
    CloseReason::NickLost,
    CloseReason::Claimed,
    CloseReason::Unreachable,
    CloseReason::UntrustedProxy,
    CloseReason::NoProxyHeader,
];

impl Tally {
    fn numbers(&mut self) -> [(&'static str, &mut u64, bool); 35] {
        [
            ("joined", &mut self.joined, false),
            ("lines", &mut self.lines, false),
            ("bulk lines", &mut self.bulk_lines, false),
            ("skipped", &mut self.skipped, false),
            ("told so", &mut self.told_skipped, false),
            ("replies", &mut self.replies, false),
            ("telnet answers", &mut self.answers, false),
            ("queues over the limit", &mut self.over_limit, false),
            ("turns with input held", &mut self.held_turns, false),
            ("held by the rate", &mut self.held_by_rate, false),
            ("held by a gate", &mut self.held_by_gate, false),
            ("stalled readers", &mut self.stalled_readers, false),
            ("unregistrable", &mut self.unregistrable, false),
            ("taken in with the spare descriptor", &mut self.spare, false),
            ("accepts that fell short", &mut self.short, false),
            ("ran out of time", &mut self.ran_out_of_time, false),
            ("stood still", &mut self.stood_still, false),
            ("vanished and given up", &mut self.given_up, false),
            ("listened on", &mut self.listened_on, false),
            ("seen after their end", &mut self.seen_after_end, false),
            ("seen with LF", &mut self.seen_with_lf, false),
            ("acted", &mut self.acted, true),
            ("renamed", &mut self.renamed, true),
            ("noticed", &mut self.noticed, true),
            ("whispered", &mut self.whispered, true),
            ("did not wait", &mut self.did_not_wait, false),
            ("answers on BINARY", &mut self.binary, false),
            ("answered over HTTP", &mut self.http_answers, true),
            ("recorded", &mut self.transcript.seen, false),
            (
                "not recorded, and told so",
                &mut self.transcript.skipped,
                false,
            ),
            ("writers that stalled", &mut self.transcript.stalled, false),
            ("writers that lost lines", &mut self.transcript.lost, false),
            (
                "writers that lost notices",
                &mut self.transcript.lost_notices,
                false,
            ),
            (
                "said to a broken writer",
                &mut self.transcript.not_taken,
                false,
            ),
            (
                "writers told of what was lost",
                &mut self.transcript.inherited,
                false,
            ),
        ]
    }

    pub(crate) fn add(&mut self, other: &Self) {
        let mut other = *other;
        self.cases.add(&other.cases);
        for ((_, sum, _), (_, more, _)) in self.numbers().into_iter().zip(other.numbers()) {
            *sum += *more;
        }
        for (sum, more) in self.closed.iter_mut().zip(other.closed) {
            *sum += more;
        }
    }

    /// Everything that can happen did; `has_people` and `has_veils` tell what can.
    #[track_caller]
    pub(crate) fn assert_complete(mut self, has_people: bool, has_veils: bool) {
        let numbers = self.numbers().into_iter();
        let mut missing: Vec<String> = numbers
            .filter(|(_, number, of_people)| **number == 0 && (has_people || !of_people))
            .map(|(name, ..)| name.to_owned())
            .collect();
        for reason in CloseReason::ALL {
            let can_be = (has_people || !OF_PEOPLE.contains(&reason))
                && (has_veils || !OF_VEILS.contains(&reason))
                && !OF_SCENES.contains(&reason);
            if can_be && self.closed[reason as usize] == 0 {
                missing.push(reason.to_string());
            }
        }
        for case in CASES {
            if has_veils && self.cases.0[case as usize] == 0 {
                missing.push(format!("{case:?}"));
            }
        }
        assert!(missing.is_empty(), "never seen: {missing:?}");
    }
}
