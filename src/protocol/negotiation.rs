//! One telnet option on one side of a connection: [`TelnetOption`] is the state machine of RFC 1143
//! ("the Q method"), which remembers one offer that has to wait. It distinguishes requests, which need an
//! answer, from answers to our own requests, so that no negotiation can loop.
//!
//! "Yes" is WILL for an option of our side and DO for one of the peer's; "no" is WONT or DONT.
//!
//! | state | the peer says yes | the peer says no | we offer | we withdraw |
//! |---|---|---|---|---|
//! | `No` | yes, `Yes`, if we agree; else no | - | yes, `WantYes` | - |
//! | `Yes` | - | no, `No` | - | no, `WantNo` |
//! | `WantNo` | `WantNo` | `No` | `WantNoThenYes` | - |
//! | `WantNoThenYes` | `WantNoThenYes` | yes, `WantYes` | - | `WantNo` |
//! | `WantYes` | `Yes` | `No` | - | no, `WantNo` |
//!
//! The last cell differs from RFC 1143, which would wait for the answer first. A peer that is not a
//! telnet client never answers; a telnet client answers both, so a yes that comes after we have said no is
//! the answer to what we said before, and the no is still to come.

/// The state of an option.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum TelnetOption {
    #[default]
    No,
    Yes,
    /// We sent no, and the peer has not answered.
    WantNo,
    /// As `WantNo`, and we offer the option again as soon as it has.
    WantNoThenYes,
    /// We sent yes, and the peer has not answered.
    WantYes,
}

/// What one side sends about an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    Yes,
    No,
}

impl TelnetOption {
    /// Handles what the peer sent about the option. `agrees`: whether we agree to a request of the
    /// peer. Returns the answer to send, if any.
    pub(super) fn on_word(&mut self, word: Word, agrees: bool) -> Option<Word> {
        let (next, answer) = match (*self, word) {
            (Self::No, Word::Yes) if agrees => (Self::Yes, Some(Word::Yes)),
            (Self::No, Word::Yes) => (Self::No, Some(Word::No)),
            (Self::Yes, Word::No) => (Self::No, Some(Word::No)),
            (Self::Yes | Self::WantYes, Word::Yes) => (Self::Yes, None),
            (waiting @ (Self::WantNo | Self::WantNoThenYes), Word::Yes) => (waiting, None),
            (Self::WantNoThenYes, Word::No) => (Self::WantYes, Some(Word::Yes)),
            (Self::No | Self::WantNo | Self::WantYes, Word::No) => (Self::No, None),
        };
        *self = next;
        answer
    }

    /// Offers the option. Returns whether the offer has to be sent now.
    pub(super) fn offer(&mut self) -> bool {
        let (next, is_sent) = match *self {
            Self::No => (Self::WantYes, true),
            Self::WantNo => (Self::WantNoThenYes, false),
            state => (state, false),
        };
        *self = next;
        is_sent
    }

    /// Withdraws the option. Returns whether the withdrawal has to be sent.
    pub(super) fn withdraw(&mut self) -> bool {
        let (next, is_sent) = match *self {
            Self::Yes | Self::WantYes => (Self::WantNo, true),
            Self::WantNoThenYes => (Self::WantNo, false),
            state => (state, false),
        };
        *self = next;
        is_sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [TelnetOption; 5] = [
        TelnetOption::No,
        TelnetOption::Yes,
        TelnetOption::WantNo,
        TelnetOption::WantNoThenYes,
        TelnetOption::WantYes,
    ];

    #[test]
    fn an_answer_is_not_answered() {
        let mut option = TelnetOption::No;
        assert!(option.offer());
        assert_eq!(option.on_word(Word::Yes, false), None);
        assert_eq!(option, TelnetOption::Yes);
        assert!(option.withdraw());
        assert_eq!(option.on_word(Word::No, false), None);
        assert_eq!(option, TelnetOption::No);
    }

    #[test]
    fn nothing_is_said_twice() {
        for mut option in STATES {
            option.offer();
            assert!(!option.offer(), "{option:?}");
            option.withdraw();
            assert!(!option.withdraw(), "{option:?}");
        }
    }

    #[test]
    fn a_request_is_answered_once_and_a_state_that_holds_is_not() {
        let mut option = TelnetOption::No;
        assert_eq!(option.on_word(Word::Yes, false), Some(Word::No));
        assert_eq!(option.on_word(Word::No, true), None);
        assert_eq!(option.on_word(Word::Yes, true), Some(Word::Yes));
        assert_eq!(option.on_word(Word::Yes, true), None);
        assert_eq!(option.on_word(Word::No, true), Some(Word::No));
    }

    /// Two sides that both follow the rules stop sending, whatever each of them began.
    #[test]
    fn no_negotiation_loops() {
        for a in STATES {
            for b in STATES {
                for first in [Word::Yes, Word::No] {
                    for (agrees_a, agrees_b) in
                        [(true, true), (true, false), (false, true), (false, false)]
                    {
                        let (mut a, mut b) = (a, b);
                        let mut word = Some(first);
                        let mut said = 0;
                        while let Some(it) = word {
                            said += 1;
                            assert!(said < 5, "{a:?} {b:?} {first:?}");
                            word = b.on_word(it, agrees_b);
                            word = word.and_then(|it| a.on_word(it, agrees_a));
                        }
                    }
                }
            }
        }
    }

    /// Somebody types a password, and is asked for one again before its terminal has said that it shows what is
    /// typed: that one would be seen.
    #[test]
    fn what_is_offered_again_before_the_answer_is_offered_with_it() {
        let mut option = TelnetOption::No;
        assert!(option.offer() && option.withdraw());
        assert!(!option.offer(), "not before both answers");
        assert_eq!(option.on_word(Word::Yes, false), None);
        assert_eq!(option.on_word(Word::No, false), Some(Word::Yes));
        assert_eq!(option.on_word(Word::Yes, false), None);
        assert_eq!(option, TelnetOption::Yes);
        assert!(option.withdraw() && !option.offer() && !option.withdraw());
        assert_eq!(option.on_word(Word::No, false), None);
        assert_eq!(option, TelnetOption::No);
    }

    #[test]
    fn an_offer_that_is_withdrawn_before_the_answer_ends_in_no() {
        for answers in [[Word::Yes, Word::No], [Word::No, Word::No]] {
            let mut option = TelnetOption::No;
            assert!(option.offer() && option.withdraw());
            for answer in answers {
                assert_eq!(option.on_word(answer, true), None);
            }
            assert_eq!(option, TelnetOption::No);
        }
    }
}
