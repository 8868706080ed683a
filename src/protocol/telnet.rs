//! Takes telnet's commands out of the stream: [`TelnetDecoder`] passes data on and returns what a
//! command asks for. It agrees to no option, so it needs no table of options: every `DO` and `WILL` is
//! refused, every `DONT` and `WONT` is already true, and no negotiation can loop (RFC 854, 855,
//! 1143). The only option that it offers is ECHO, while a password is typed, and one bit tells the
//! answer to that offer from a request.
//!
//! A peer that never sends IAC (255) is no telnet client and never gets an answer. The refusal of
//! `DO TIMING-MARK` (RFC 860) matters: after ^C a telnet client throws all output away until it gets
//! this answer.

use memchr::memchr;

/// The longest subnegotiation (`IAC SB ... IAC SE`, RFC 855) that is skipped, in bytes. A longer one is
/// a mistake or an attack: it ends at this length, and what follows is data again, so that the client
/// is not ignored for ever.
pub const MAX_SUBNEGOTIATION_BYTES: u16 = 1024;

const AYT: u8 = 246;
const EC: u8 = 247;
const EL: u8 = 248;
const SB: u8 = 250;
const WILL: u8 = 251;
const WONT: u8 = 252;
const DO: u8 = 253;
const DONT: u8 = 254;
const IAC: u8 = 255;

/// The option of echoing what the other side types (RFC 857).
const ECHO: u8 = 1;

/// The bytes that withdraw the offer to echo.
pub(crate) const WITHDRAW_ECHO: [u8; 3] = [IAC, WONT, ECHO];

/// What a [`TelnetDecoder`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Telnet<'a> {
    /// Bytes that are not telnet's. A doubled IAC comes as the single byte 255.
    Data(&'a [u8]),
    /// EC: the user erased the last character.
    EraseCharacter,
    /// EL: the user erased the line.
    EraseLine,
    /// AYT: the user wants a sign of life.
    AreYouThere,
    /// The peer asked for an option: these bytes refuse it.
    Refuse([u8; 3]),
}

/// Separates telnet commands from data, however the bytes are split.
///
/// ```
/// use line_chat::protocol::telnet::{Telnet, TelnetDecoder};
///
/// let mut telnet = TelnetDecoder::default();
/// let mut input: &[u8] = b"hi\xff\xfd\x06"; // data, then IAC DO TIMING-MARK
/// assert_eq!(telnet.next(&mut input), Some(Telnet::Data(b"hi")));
/// assert_eq!(telnet.next(&mut input), Some(Telnet::Refuse([255, 252, 6]))); // IAC WONT TIMING-MARK
/// assert_eq!(telnet.next(&mut input), None);
/// ```
#[derive(Debug, Default)]
pub struct TelnetDecoder {
    state: State,
    /// We have offered to echo, and the peer has not answered yet (RFC 1143; a side that accepts
    /// nothing and offers one option at a time needs only this bit).
    echo_is_offered: bool,
}

/// What the bytes so far have begun.
#[derive(Debug, Default, Clone, Copy)]
enum State {
    #[default]
    Data,
    /// IAC: the command comes next.
    Command,
    /// IAC and WILL, WONT, DO or DONT: the option comes next.
    Option { verb: u8 },
    /// Inside a subnegotiation, `skipped` bytes of it so far.
    Subnegotiation { skipped: u16 },
    /// Inside a subnegotiation, after an IAC.
    SubnegotiationCommand { skipped: u16 },
}

impl TelnetDecoder {
    /// Consumes the next run of data or the next command that needs something done, or all of
    /// `input` and returns `None`.
    pub fn next<'i>(&mut self, input: &mut &'i [u8]) -> Option<Telnet<'i>> {
        loop {
            if let State::Data = self.state
                && let Some(data) = take_data(input)
            {
                return Some(Telnet::Data(data));
            }
            let (head, rest) = input.split_at_checked(1)?;
            *input = rest;
            if let Some(found) = self.step(head) {
                return Some(found);
            }
        }
    }

    /// Offers to echo what the peer types. Returns the bytes of the offer.
    pub fn offer_echo(&mut self) -> [u8; 3] {
        self.echo_is_offered = true;
        [IAC, WILL, ECHO]
    }

    /// One byte that is not plain data; `head` is that byte, as a slice of the input.
    fn step<'i>(&mut self, head: &'i [u8]) -> Option<Telnet<'i>> {
        let &byte = head.first()?;
        match self.state {
            // Data was taken before: this byte is an IAC.
            State::Data => self.state = State::Command,
            State::Command => return self.command(head),
            State::Option { verb } => {
                self.state = State::Data;
                if byte == ECHO && matches!(verb, DO | DONT) && self.echo_is_offered {
                    // This is the answer to our offer, and an answer is not answered.
                    self.echo_is_offered = false;
                    return None;
                }
                return refusal(verb, byte).map(Telnet::Refuse);
            }
            State::Subnegotiation { skipped } if byte == IAC => {
                self.state = State::SubnegotiationCommand { skipped };
            }
            State::Subnegotiation { skipped } => self.skip(skipped),
            // A doubled IAC is a byte of the subnegotiation's own.
            State::SubnegotiationCommand { skipped } if byte == IAC => self.skip(skipped),
            // SE ends it. Any other command means that its SE was lost, and stands for itself.
            State::SubnegotiationCommand { .. } => return self.command(head),
        }
        None
    }

    fn command<'i>(&mut self, head: &'i [u8]) -> Option<Telnet<'i>> {
        self.state = State::Data;
        match *head.first()? {
            IAC => return Some(Telnet::Data(head)),
            AYT => return Some(Telnet::AreYouThere),
            EC => return Some(Telnet::EraseCharacter),
            EL => return Some(Telnet::EraseLine),
            SB => self.state = State::Subnegotiation { skipped: 0 },
            verb @ WILL..=DONT => self.state = State::Option { verb },
            // NOP, DM, BRK, IP, AO, GA, an SE outside a subnegotiation and undefined commands ask for
            // nothing.
            _ => {}
        }
        None
    }

    fn skip(&mut self, skipped: u16) {
        self.state = if skipped < MAX_SUBNEGOTIATION_BYTES {
            State::Subnegotiation {
                skipped: skipped.saturating_add(1),
            }
        } else {
            State::Data
        };
    }
}

/// Cuts off the data before the next IAC, if there is any.
fn take_data<'i>(input: &mut &'i [u8]) -> Option<&'i [u8]> {
    let end = memchr(IAC, input).unwrap_or(input.len());
    let (data, rest) = input.split_at(end);
    *input = rest;
    (!data.is_empty()).then_some(data)
}

/// The refusal of an option, if the verb asks for one.
fn refusal(verb: u8, option: u8) -> Option<[u8; 3]> {
    match verb {
        DO => Some([IAC, WONT, option]),
        WILL => Some([IAC, DONT, option]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SE: u8 = 240;

    /// Everything that was found, neighbouring data joined, because a split may cut data anywhere.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Found {
        items: Vec<Item>,
    }

    #[derive(Debug, PartialEq, Eq)]
    enum Item {
        Data(Vec<u8>),
        EraseCharacter,
        EraseLine,
        AreYouThere,
        Refuse([u8; 3]),
    }

    impl Found {
        fn push(&mut self, item: Item) {
            if let (Some(Item::Data(last)), Item::Data(more)) = (self.items.last_mut(), &item) {
                last.extend_from_slice(more);
            } else {
                self.items.push(item);
            }
        }
    }

    #[test]
    fn the_answer_to_an_offer_is_not_answered_and_a_question_is() {
        for answer in [DO, DONT] {
            let mut telnet = TelnetDecoder::default();
            assert_eq!(telnet.offer_echo(), [IAC, WILL, ECHO]);
            let mut other: &[u8] = &[IAC, DO, 3];
            let refused = Some(Telnet::Refuse([IAC, WONT, 3]));
            assert_eq!(telnet.next(&mut other), refused, "another option");
            let mut reply: &[u8] = &[IAC, answer, ECHO];
            assert_eq!(telnet.next(&mut reply), None);
            let mut question: &[u8] = &[IAC, DO, ECHO];
            let refused = Some(Telnet::Refuse(WITHDRAW_ECHO));
            assert_eq!(telnet.next(&mut question), refused);
        }
    }

    #[test]
    fn the_peers_own_will_is_no_answer() {
        let mut telnet = TelnetDecoder::default();
        telnet.offer_echo();
        let mut will: &[u8] = &[IAC, WILL, ECHO];
        let refused = Some(Telnet::Refuse([IAC, DONT, ECHO]));
        assert_eq!(telnet.next(&mut will), refused);
        let mut reply: &[u8] = &[IAC, DO, ECHO];
        assert_eq!(telnet.next(&mut reply), None);
    }

    fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Found {
        let mut telnet = TelnetDecoder::default();
        let mut found = Found::default();
        for mut piece in pieces {
            while let Some(item) = telnet.next(&mut piece) {
                found.push(match item {
                    Telnet::Data(data) => Item::Data(data.to_vec()),
                    Telnet::EraseCharacter => Item::EraseCharacter,
                    Telnet::EraseLine => Item::EraseLine,
                    Telnet::AreYouThere => Item::AreYouThere,
                    Telnet::Refuse(bytes) => Item::Refuse(bytes),
                });
            }
            assert!(piece.is_empty());
        }
        found
    }

    /// Decodes the whole input at once, rule by rule as the RFCs state them.
    fn naive(mut input: &[u8]) -> Found {
        let mut found = Found::default();
        let limit = usize::from(MAX_SUBNEGOTIATION_BYTES);
        loop {
            input = match *input {
                [] | [IAC] | [IAC, WILL..=DONT] => return found,
                [IAC, IAC, ref rest @ ..] => {
                    found.push(Item::Data(vec![IAC]));
                    rest
                }
                [IAC, DO, option, ref rest @ ..] => {
                    found.push(Item::Refuse([IAC, WONT, option]));
                    rest
                }
                [IAC, WILL, option, ref rest @ ..] => {
                    found.push(Item::Refuse([IAC, DONT, option]));
                    rest
                }
                [IAC, WONT | DONT, _, ref rest @ ..] => rest,
                [IAC, SB, ref rest @ ..] => skip_subnegotiation(rest, limit),
                [IAC, command, ref rest @ ..] => {
                    match command {
                        AYT => found.push(Item::AreYouThere),
                        EC => found.push(Item::EraseCharacter),
                        EL => found.push(Item::EraseLine),
                        _ => {}
                    }
                    rest
                }
                [byte, ref rest @ ..] => {
                    found.push(Item::Data(vec![byte]));
                    rest
                }
            }
        }
    }

    fn skip_subnegotiation(mut input: &[u8], limit: usize) -> &[u8] {
        let mut skipped = 0;
        loop {
            let rest = match *input {
                [] | [IAC] => return &[],
                [IAC, SE, ref rest @ ..] => return rest,
                [IAC, IAC, ref rest @ ..] => rest,
                [IAC, ..] => return input,
                [_, ref rest @ ..] => rest,
            };
            if skipped == limit {
                return rest;
            }
            skipped += 1;
            input = rest;
        }
    }

    fn data(bytes: &[u8]) -> Item {
        Item::Data(bytes.to_vec())
    }

    #[test]
    fn plain_bytes_pass_untouched() {
        assert_eq!(decode([&b"hello\r\n"[..]]).items, [data(b"hello\r\n")]);
    }

    #[test]
    fn a_doubled_iac_is_one_byte_of_data() {
        assert_eq!(decode([&b"a\xff"[..], b"\xffb"]).items, [data(b"a\xffb")]);
    }

    #[test]
    fn puttys_first_21_bytes_are_refused_one_by_one() {
        let hello =
            b"\xff\xfb\x1f\xff\xfb\x20\xff\xfb\x18\xff\xfb\x27\xff\xfd\x01\xff\xfb\x03\xff\xfd\x03";
        let refusals = [
            [IAC, DONT, 0x1f],
            [IAC, DONT, 0x20],
            [IAC, DONT, 0x18],
            [IAC, DONT, 0x27],
            [IAC, WONT, 0x01],
            [IAC, DONT, 0x03],
            [IAC, WONT, 0x03],
        ];
        assert_eq!(
            decode([&hello[..]]).items,
            refusals.map(Item::Refuse).as_slice()
        );
    }

    #[test]
    fn a_refusal_of_ours_is_never_answered() {
        assert_eq!(
            decode([&b"\xff\xfc\x01\xff\xfe\x03ok"[..]]).items,
            [data(b"ok")]
        );
    }

    #[test]
    fn interrupt_and_timing_mark_are_answered_so_that_the_client_hears_again() {
        let found = decode([&b"\xff\xf4\xff\xfd\x06"[..]]);
        assert_eq!(found.items, [Item::Refuse([IAC, WONT, 6])]);
    }

    #[test]
    fn a_subnegotiation_is_skipped_with_the_doubled_iac_inside() {
        let found = decode([&b"a\xff\xfa\x18\x00xterm\xff\xff\r\n\xff\xf0b"[..]]);
        assert_eq!(found.items, [data(b"ab")]);
    }

    #[test]
    fn a_command_inside_a_subnegotiation_ends_it() {
        let found = decode([&b"\xff\xfa\x18lost\xff\xfd\x06hi"[..]]);
        assert_eq!(found.items, [Item::Refuse([IAC, WONT, 6]), data(b"hi")]);
    }

    #[test]
    fn a_subnegotiation_without_end_is_bounded() {
        let limit = usize::from(MAX_SUBNEGOTIATION_BYTES);
        let input = [&b"\xff\xfa"[..], &vec![b'x'; limit + 1], b"\r\nback\r\n"].concat();
        assert_eq!(decode([&input[..]]).items, [data(b"\r\nback\r\n")]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn any_split_finds_what_a_naive_decoder_finds(
            input in prop::collection::vec(prop_oneof![
                3 => Just(IAC),
                3 => 239u8..=254,
                2 => any::<u8>(),
            ], 0..200),
            cuts in prop::collection::vec(0usize..200, 0..20),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|&cut| cut <= input.len()).collect();
            cuts.extend([0, input.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|cut| &input[cut[0]..cut[1]]);
            prop_assert_eq!(decode(pieces), naive(&input));
        }
    }
}
