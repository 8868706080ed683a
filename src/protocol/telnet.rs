//! Takes telnet's commands out of the stream: [`TelnetDecoder`] passes data on and returns what a
//! command asks for (RFC 854, 855). Three options are negotiated (RFC 1143): BINARY (RFC 856), in both
//! directions, because Debian's `telnet` damages characters without it; ECHO (RFC 857), which is
//! offered while a password is typed; and, where the decoder [asks for it](TelnetDecoder::ask_for_columns),
//! NAWS (RFC 1073), by which a client tells how wide its window is. All others are refused.
//!
//! A peer that never sends IAC (255) is not a telnet client and never gets an answer. The refusal of
//! `DO TIMING-MARK` (RFC 860) matters: after ^C a telnet client discards all output until it receives
//! this answer.
//!
//! In old 8-bit character sets 255 is a letter, often the last one of a line. So an IAC before a byte
//! that is not a command is data, and a line end is never taken as part of a command, except as the
//! number of an option.

use memchr::memchr;

use crate::protocol::negotiation::{TelnetOption, Word};

/// The longest subnegotiation (`IAC SB ... IAC SE`, RFC 855) that is skipped, in bytes. A longer one is
/// a mistake or an attack: it ends at this length, and what follows is data again, so that the client
/// is not ignored for ever. A subnegotiation also ends at a line end.
pub const MAX_SUBNEGOTIATION_BYTES: u16 = 1024;

/// The lowest command byte (RFC 1184, 2): EOF, then SUSP, ABORT and EOR (RFC 885).
const EOF: u8 = 236;
const AYT: u8 = 246;
const EC: u8 = 247;
const EL: u8 = 248;
const SE: u8 = 240;
const SB: u8 = 250;
const WILL: u8 = 251;
const WONT: u8 = 252;
const DO: u8 = 253;
const DONT: u8 = 254;
const IAC: u8 = 255;

/// A byte 255 that is data.
static LONE_IAC: [u8; 1] = [IAC];

/// The option of sending bytes unchanged (RFC 856).
const BINARY: u8 = 0;

/// The option of echoing what the other side types (RFC 857).
const ECHO: u8 = 1;

/// The option of telling the size of a window (RFC 1073).
const NAWS: u8 = 31;

/// How many bytes tell the size of a window: two for its columns, two for its rows.
const SIZE_BYTES: u8 = 4;

/// NOP: keeps a connection alive, and terminals show nothing.
pub(crate) const NOP: [u8; 2] = [IAC, 241];

/// What a [`TelnetDecoder`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Telnet<'a> {
    /// Bytes that are not telnet's. A doubled IAC comes as the single byte 255.
    Data(&'a [u8]),
    /// EC: the user erased the last character.
    EraseCharacter,
    /// EL: the user erased the line.
    EraseLine,
    /// EOF: the client will send no more.
    EndOfFile,
    /// AYT: the user wants a sign of life.
    AreYouThere,
    /// Bytes to send: the answer to a request for an option, or the offer of one.
    Negotiate([u8; 3]),
    /// NAWS: the window of the user has so many columns; 0 means that the client does not know.
    Columns(u16),
}

/// Separates telnet commands from data, however the bytes are split.
///
/// ```
/// use line_chat::protocol::telnet::{Telnet, TelnetDecoder};
///
/// let mut telnet = TelnetDecoder::default();
/// let mut input: &[u8] = b"hi\xff\xfd\x06"; // data, then IAC DO TIMING-MARK
/// assert_eq!(telnet.next(&mut input), Some(Telnet::Data(b"hi")));
/// assert_eq!(telnet.next(&mut input), Some(Telnet::Negotiate([255, 252, 6]))); // IAC WONT TIMING-MARK
/// assert_eq!(telnet.next(&mut input), Some(Telnet::Negotiate([255, 253, 0]))); // IAC DO BINARY
/// assert_eq!(telnet.next(&mut input), None);
/// ```
#[derive(Debug, Clone, Default)]
pub struct TelnetDecoder {
    state: State,
    /// ECHO on our side: whether we echo what the peer types.
    our_echo: TelnetOption,
    /// BINARY on our side: whether we send bytes unchanged.
    our_binary: TelnetOption,
    /// BINARY on the peer's side: whether the peer sends bytes unchanged.
    peer_binary: TelnetOption,
    /// NAWS on the peer's side: whether the peer tells the size of its window.
    peer_naws: TelnetOption,
    offer: Offer,
    naws: Naws,
}

/// Whether the peer is asked for the size of its window.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Naws {
    /// It is not wanted, and refused.
    #[default]
    Unwanted,
    /// The request is made once the peer has shown that it negotiates.
    NotYet,
    /// The request is returned next, before any more input is processed.
    Due,
    /// The peer was asked, or has told by itself that it can.
    Made,
}

/// The state of our offer to receive BINARY. It is made once, to a peer that has shown that it
/// negotiates.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Offer {
    #[default]
    NotYet,
    /// The offer is returned next, before any more input is processed.
    Due,
    Made,
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
    /// Inside the subnegotiation of NAWS, `seen` bytes of the size so far.
    WindowSize { seen: u8, columns: u16 },
    /// Inside that, after an IAC.
    WindowSizeCommand { seen: u8, columns: u16 },
}

impl TelnetDecoder {
    /// Consumes the next run of data or the next command that needs something done, or all of
    /// `input` and returns `None`.
    pub fn next<'i>(&mut self, input: &mut &'i [u8]) -> Option<Telnet<'i>> {
        loop {
            if self.offer == Offer::Due {
                return Some(Telnet::Negotiate(self.make_offer()));
            }
            if self.naws == Naws::Due {
                self.naws = Naws::Made;
                if self.peer_naws.offer() {
                    return Some(Telnet::Negotiate([IAC, DO, NAWS]));
                }
            }
            if let State::Data = self.state
                && let Some(data) = take_data(input)
            {
                return Some(Telnet::Data(data));
            }
            let (head, rest) = input.split_at_checked(1)?;
            if self.is_data_after_all(head) {
                // The byte is processed again as data.
                self.state = State::Data;
                return Some(Telnet::Data(&LONE_IAC));
            }
            if self.is_cut_off(head) {
                self.state = State::Data;
                continue;
            }
            *input = rest;
            if let Some(found) = self.step(head) {
                return Some(found);
            }
        }
    }

    /// Offers to echo what the peer types. Returns the bytes to send, unless the option is already
    /// offered or in use.
    pub fn offer_echo(&mut self) -> Option<[u8; 3]> {
        self.our_echo.offer().then_some([IAC, WILL, ECHO])
    }

    /// Withdraws the offer to echo. Returns the bytes to send, unless the option is already off.
    pub fn withdraw_echo(&mut self) -> Option<[u8; 3]> {
        self.our_echo.withdraw().then_some([IAC, WONT, ECHO])
    }

    /// Asks the peer to send bytes unchanged, before it has shown that it negotiates. Returns the
    /// request to send.
    pub fn offer_binary(&mut self) -> [u8; 3] {
        self.make_offer()
    }

    /// Asks the peer for the width of its window, as soon as it has shown that it negotiates: a client
    /// that is no telnet client never gets the request.
    pub fn ask_for_columns(&mut self) {
        self.naws = Naws::NotYet;
    }

    /// Whether [`next`](Self::next) returns something without input.
    #[inline]
    pub(crate) fn has_more(&self) -> bool {
        self.offer == Offer::Due || self.naws == Naws::Due
    }

    fn make_offer(&mut self) -> [u8; 3] {
        self.offer = Offer::Made;
        self.peer_binary.offer();
        [IAC, DO, BINARY]
    }

    /// Whether the IAC before this byte was data: a letter of an 8-bit character set.
    fn is_data_after_all(&self, head: &[u8]) -> bool {
        let is_after_iac = matches!(
            self.state,
            State::Command | State::SubnegotiationCommand { .. } | State::WindowSizeCommand { .. }
        );
        is_after_iac && head.first().is_some_and(|&byte| byte < EOF)
    }

    /// Whether a subnegotiation contains a line end: it was not a subnegotiation, or its end is
    /// missing.
    fn is_cut_off(&self, head: &[u8]) -> bool {
        matches!(self.state, State::Subnegotiation { .. }) && matches!(head, b"\r" | b"\n")
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
                return self.negotiate(verb, byte).map(Telnet::Negotiate);
            }
            State::Subnegotiation { skipped } if byte == IAC => {
                self.state = State::SubnegotiationCommand { skipped };
            }
            State::Subnegotiation { skipped: 0 }
                if byte == NAWS && self.peer_naws == TelnetOption::Yes =>
            {
                self.state = State::WindowSize {
                    seen: 0,
                    columns: 0,
                };
            }
            State::Subnegotiation { skipped } => self.skip(skipped),
            // A doubled IAC is a byte of the subnegotiation's own.
            State::SubnegotiationCommand { skipped } if byte == IAC => self.skip(skipped),
            // SE ends it. Any other command means that its SE was lost, and stands for itself.
            State::SubnegotiationCommand { .. } => return self.command(head),
            State::WindowSize { seen, columns } if byte == IAC => {
                self.state = State::WindowSizeCommand { seen, columns };
            }
            State::WindowSize { seen, columns } => self.measure(seen, columns, byte),
            State::WindowSizeCommand { seen, columns } if byte == IAC => {
                self.measure(seen, columns, byte);
            }
            State::WindowSizeCommand {
                seen: SIZE_BYTES,
                columns,
            } if byte == SE => {
                self.state = State::Data;
                return Some(Telnet::Columns(columns));
            }
            State::WindowSizeCommand { .. } => return self.command(head),
        }
        None
    }

    /// Takes a byte of the size of a window. More of them than that size has are skipped.
    fn measure(&mut self, seen: u8, columns: u16, byte: u8) {
        self.state = match seen {
            0 | 1 => State::WindowSize {
                seen: seen.saturating_add(1),
                columns: (columns << 8) | u16::from(byte),
            },
            2 | 3 => State::WindowSize {
                seen: seen.saturating_add(1),
                columns,
            },
            _ => State::Subnegotiation {
                // The option and this byte as well.
                skipped: u16::from(seen).saturating_add(2),
            },
        };
    }

    fn command<'i>(&mut self, head: &'i [u8]) -> Option<Telnet<'i>> {
        self.state = State::Data;
        match *head.first()? {
            IAC => return Some(Telnet::Data(head)),
            EOF => return Some(Telnet::EndOfFile),
            AYT => return Some(Telnet::AreYouThere),
            EC => return Some(Telnet::EraseCharacter),
            EL => return Some(Telnet::EraseLine),
            SB => self.state = State::Subnegotiation { skipped: 0 },
            verb @ WILL..=DONT => self.state = State::Option { verb },
            // SUSP, ABORT, EOR, NOP, DM, BRK, IP, AO, GA and an SE outside a subnegotiation ask for
            // nothing.
            _ => {}
        }
        None
    }

    /// Handles what the peer sent about an option. Returns the answer to send, if any.
    fn negotiate(&mut self, verb: u8, option: u8) -> Option<[u8; 3]> {
        let word = match verb {
            WILL | DO => Word::Yes,
            _ => Word::No,
        };
        let is_ours = matches!(verb, DO | DONT);
        let answer = match (is_ours, option) {
            (true, ECHO) => self.our_echo.on_word(word, false),
            (true, BINARY) => self.our_binary.on_word(word, true),
            (false, BINARY) => self.peer_binary.on_word(word, true),
            (false, NAWS) => {
                let is_wanted = self.naws != Naws::Unwanted;
                self.peer_naws.on_word(word, is_wanted)
            }
            _ => (word == Word::Yes).then_some(Word::No),
        };
        if self.offer == Offer::NotYet {
            self.offer = match (is_ours, option) {
                // The peer asked first.
                (false, BINARY) => Offer::Made,
                _ => Offer::Due,
            };
        }
        if self.naws == Naws::NotYet {
            self.naws = match (is_ours, option) {
                (false, NAWS) => Naws::Made,
                _ => Naws::Due,
            };
        }
        let verb = match (is_ours, answer?) {
            (true, Word::Yes) => WILL,
            (true, Word::No) => WONT,
            (false, Word::Yes) => DO,
            (false, Word::No) => DONT,
        };
        Some([IAC, verb, option])
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

/// Returns how many leading bytes of the pending output are the rest of a command that was sent in
/// part. The output consists of commands as this server sends them: [`NOP`], or three bytes of a
/// negotiation.
pub(crate) fn torn_bytes(commands: &[u8]) -> usize {
    let is_whole = |from: &usize| {
        let mut rest = commands.get(*from..).unwrap_or_default();
        loop {
            rest = match rest {
                [] => return true,
                [IAC, 241, rest @ ..] | [IAC, WILL..=DONT, _, rest @ ..] => rest,
                _ => return false,
            };
        }
    };
    (0..=2).find(is_whole).unwrap_or(0)
}

/// Cuts off the data before the next IAC, if there is any.
fn take_data<'i>(input: &mut &'i [u8]) -> Option<&'i [u8]> {
    let end = memchr(IAC, input).unwrap_or(input.len());
    let (data, rest) = input.split_at(end);
    *input = rest;
    (!data.is_empty()).then_some(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
        EndOfFile,
        Negotiate([u8; 3]),
        Columns(u16),
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

    /// The answers to these bytes, in order.
    fn answers(telnet: &mut TelnetDecoder, mut input: &[u8]) -> Vec<[u8; 3]> {
        std::iter::from_fn(|| telnet.next(&mut input))
            .map(|found| match found {
                Telnet::Negotiate(bytes) => bytes,
                other => panic!("{other:?} is no answer"),
            })
            .collect()
    }

    #[test]
    fn the_answer_to_an_offer_is_not_answered_and_a_question_is() {
        let mut telnet = TelnetDecoder::default();
        telnet.offer_binary();
        assert_eq!(telnet.offer_echo(), Some([IAC, WILL, ECHO]));
        let other = answers(&mut telnet, &[IAC, DO, 3]);
        assert_eq!(other, [[IAC, WONT, 3]], "another option");
        let will = answers(&mut telnet, &[IAC, WILL, ECHO]);
        assert_eq!(will, [[IAC, DONT, ECHO]], "the peer's own side is another");
        assert!(answers(&mut telnet, &[IAC, DO, ECHO]).is_empty());
        assert_eq!(telnet.withdraw_echo(), Some([IAC, WONT, ECHO]));
        assert!(answers(&mut telnet, &[IAC, DONT, ECHO]).is_empty());
        let question = answers(&mut telnet, &[IAC, DO, ECHO]);
        assert_eq!(question, [[IAC, WONT, ECHO]]);
    }

    #[test]
    fn what_is_refused_need_not_be_withdrawn() {
        let mut telnet = TelnetDecoder::default();
        telnet.offer_binary();
        telnet.offer_echo();
        assert!(answers(&mut telnet, &[IAC, DONT, ECHO]).is_empty());
        assert_eq!(telnet.withdraw_echo(), None);
    }

    #[test]
    fn binary_is_agreed_to_in_both_directions() {
        let mut telnet = TelnetDecoder::default();
        let will = answers(&mut telnet, &[IAC, WILL, BINARY]);
        assert_eq!(will, [[IAC, DO, BINARY]]);
        let requests = [
            ([IAC, DO, BINARY], Some([IAC, WILL, BINARY])),
            ([IAC, DO, BINARY], None),
            ([IAC, WILL, BINARY], None),
            ([IAC, DONT, BINARY], Some([IAC, WONT, BINARY])),
            ([IAC, WONT, BINARY], Some([IAC, DONT, BINARY])),
            ([IAC, WONT, BINARY], None),
        ];
        for (request, answer) in requests {
            let answered = answers(&mut telnet, &request);
            assert_eq!(answered, Vec::from_iter(answer), "{request:?}");
        }
    }

    #[test]
    fn binary_is_offered_once_behind_the_first_answer_to_a_peer_that_negotiates() {
        let offer = [IAC, DO, BINARY];
        let cases: [(&[u8], &[[u8; 3]]); 5] = [
            (&[IAC, DO, 6], &[[IAC, WONT, 6], offer]),
            (&[IAC, WILL, 31], &[[IAC, DONT, 31], offer]),
            (&[IAC, DONT, 1], &[offer]),
            (&[IAC, WONT, 3], &[offer]),
            (&[IAC, WONT, BINARY], &[]),
        ];
        for (input, expected) in cases {
            let mut telnet = TelnetDecoder::default();
            assert_eq!(answers(&mut telnet, input), expected);
            let again = answers(&mut telnet, &[IAC, DO, 6]);
            assert_eq!(again, [[IAC, WONT, 6]]);
        }
    }

    #[test]
    fn a_question_for_a_sign_of_life_negotiates_nothing() {
        let mut telnet = TelnetDecoder::default();
        let mut input: &[u8] = &[IAC, AYT];
        assert_eq!(telnet.next(&mut input), Some(Telnet::AreYouThere));
        assert_eq!(telnet.next(&mut input), None);
        assert!(!telnet.has_more());
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
                    Telnet::EndOfFile => Item::EndOfFile,
                    Telnet::Negotiate(bytes) => Item::Negotiate(bytes),
                    Telnet::Columns(columns) => Item::Columns(columns),
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
        // Whether BINARY is in use in our direction and the peer's; whether a request of ours is open.
        let (mut ours, mut peers, mut is_open, mut is_offered) = (false, false, false, false);
        loop {
            input = match *input {
                [] | [IAC] | [IAC, WILL..=DONT] => return found,
                [IAC, IAC, ref rest @ ..] => {
                    found.push(Item::Data(vec![IAC]));
                    rest
                }
                [IAC, 0..EOF, ..] => {
                    found.push(Item::Data(vec![IAC]));
                    &input[1..]
                }
                [IAC, verb @ WILL..=DONT, option, ref rest @ ..] => {
                    let mut answer = |verb| found.push(Item::Negotiate([IAC, verb, option]));
                    match (verb, option) {
                        (DO, BINARY) if !ours => answer(WILL),
                        (DONT, BINARY) if ours => answer(WONT),
                        (WILL, BINARY) if !peers && !is_open => answer(DO),
                        (WONT, BINARY) if peers => answer(DONT),
                        (_, BINARY) => {}
                        (DO, _) => answer(WONT),
                        (WILL, _) => answer(DONT),
                        _ => {}
                    }
                    match (verb, option) {
                        (DO | DONT, BINARY) => ours = verb == DO,
                        (WILL | WONT, BINARY) => {
                            (peers, is_open, is_offered) = (verb == WILL, false, true);
                        }
                        _ => {}
                    }
                    if !is_offered {
                        found.push(Item::Negotiate([IAC, DO, BINARY]));
                        (is_open, is_offered) = (true, true);
                    }
                    rest
                }
                [IAC, SB, ref rest @ ..] => skip_subnegotiation(rest, limit),
                [IAC, command, ref rest @ ..] => {
                    match command {
                        EOF => found.push(Item::EndOfFile),
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
                [IAC | b'\r' | b'\n', ..] => return input,
                [_, ref rest @ ..] => rest,
            };
            if skipped == limit {
                return rest;
            }
            skipped += 1;
            input = rest;
        }
    }

    #[test]
    fn the_rest_of_a_torn_command_is_known() {
        let commands: [&[u8]; 4] = [&NOP, &[IAC, WONT, 6], &[IAC, DONT, IAC], &[IAC, DO, WILL]];
        for first in commands {
            for second in commands {
                for third in commands {
                    let sent = [first, second, third].concat();
                    for torn in 0..first.len() {
                        let rest = if torn == 0 { 0 } else { first.len() - torn };
                        assert_eq!(torn_bytes(&sent[torn..]), rest, "{sent:?} {torn}");
                    }
                }
            }
        }
        assert_eq!(torn_bytes(&[]), 0);
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
    fn an_iac_before_a_byte_that_is_no_command_is_data() {
        for (input, expected) in [
            (&b"one \xff\ntwo"[..], &b"one \xff\ntwo"[..]),
            (b"\xff\r\n", b"\xff\r\n"),
            (b"\xffa\xff\xeb", b"\xffa\xff\xeb"),
            (b"\xff\x00", b"\xff\x00"),
        ] {
            assert_eq!(decode([input]).items, [data(expected)]);
            assert_eq!(decode(input.chunks(1)).items, [data(expected)]);
        }
    }

    #[test]
    fn the_commands_from_236_on_are_not_data() {
        let input = b"a\xff\xec\xff\xed\xff\xee\xff\xefb";
        let items = [data(b"a"), Item::EndOfFile, data(b"b")];
        assert_eq!(decode([&input[..]]).items, items);
    }

    #[test]
    fn an_option_may_have_the_number_of_a_line_end() {
        let found = decode([&b"\xff\xfd\x0a\xff\xfb\x0d\n"[..]]);
        let items = [
            Item::Negotiate([IAC, WONT, 10]),
            Item::Negotiate([IAC, DO, BINARY]),
            Item::Negotiate([IAC, DONT, 13]),
            data(b"\n"),
        ];
        assert_eq!(found.items, items);
    }

    #[test]
    fn puttys_first_21_bytes_are_refused_one_by_one() {
        let hello =
            b"\xff\xfb\x1f\xff\xfb\x20\xff\xfb\x18\xff\xfb\x27\xff\xfd\x01\xff\xfb\x03\xff\xfd\x03";
        let answers = [
            [IAC, DONT, 0x1f],
            [IAC, DO, BINARY],
            [IAC, DONT, 0x20],
            [IAC, DONT, 0x18],
            [IAC, DONT, 0x27],
            [IAC, WONT, 0x01],
            [IAC, DONT, 0x03],
            [IAC, WONT, 0x03],
        ];
        assert_eq!(
            decode([&hello[..]]).items,
            answers.map(Item::Negotiate).as_slice()
        );
    }

    #[test]
    fn interrupt_and_timing_mark_are_answered_so_that_the_client_hears_again() {
        let found = decode([&b"\xff\xf4\xff\xfd\x06"[..]]);
        assert_eq!(found.items[0], Item::Negotiate([IAC, WONT, 6]));
    }

    #[test]
    fn a_subnegotiation_is_skipped_with_the_doubled_iac_inside() {
        let found = decode([&b"a\xff\xfa\x18\x00xterm\xff\xff\x00\xff\xf0b"[..]]);
        assert_eq!(found.items, [data(b"ab")]);
    }

    /// What a decoder finds that asks for the width of the window.
    fn measured(input: &[u8], chunk: usize) -> Vec<Item> {
        let mut telnet = TelnetDecoder::default();
        telnet.offer_binary();
        telnet.ask_for_columns();
        let mut found = Found::default();
        for mut piece in input.chunks(chunk) {
            while let Some(item) = telnet.next(&mut piece) {
                found.push(match item {
                    Telnet::Data(data) => Item::Data(data.to_vec()),
                    Telnet::Negotiate(bytes) => Item::Negotiate(bytes),
                    Telnet::Columns(columns) => Item::Columns(columns),
                    other => panic!("{other:?}"),
                });
            }
        }
        found.items
    }

    #[test]
    fn the_width_of_a_window_is_asked_for_once_a_peer_has_negotiated() {
        let ask = Item::Negotiate([IAC, DO, NAWS]);
        assert_eq!(measured(b"hi\xff", 9), [data(b"hi")]);
        assert_eq!(measured(&[IAC, WILL, BINARY, b'x'], 9), [ask, data(b"x")]);
        let by_itself = measured(&[IAC, WILL, NAWS, IAC, WILL, BINARY], 9);
        assert_eq!(by_itself, [Item::Negotiate([IAC, DO, NAWS])]);
    }

    #[test]
    fn the_width_of_a_window_may_hold_any_byte() {
        for (size, columns) in [
            (&[0, 40, 0, 20][..], 40),
            (&[0, 80, 0, 10], 80),
            (&[13, 10, 13, 10], 0x0d0a),
            (&[IAC, IAC, 240, 0, IAC, IAC], 0xfff0),
            (&[0, 0, 0, 0], 0),
        ] {
            let window = [&[IAC, WILL, NAWS, IAC, SB, NAWS], size, &[IAC, SE]].concat();
            for chunk in 1..=window.len() {
                let found = measured(&window, chunk);
                let expected = [Item::Negotiate([IAC, DO, NAWS]), Item::Columns(columns)];
                assert_eq!(found, expected, "{size:?} in pieces of {chunk}");
            }
        }
    }

    #[test]
    fn what_is_no_size_of_a_window_is_skipped() {
        let agreed = [IAC, WILL, NAWS];
        for (size, rest) in [
            (&[0, 40, 0, IAC, SE, b'x'][..], &b"x"[..]),
            (&[0, 40, 0, 20, 0, IAC, SE, b'x'], b"x"),
            (&[0, 40, IAC, IAC, 0, 0, 0, IAC, SE, b'x'], b"x"),
            (&[0, 40, 0, 20, 0, b'\r', b'x'], b"\rx"),
            (&[0, 40, 0, 20, IAC, b'a'], b"\xffa"),
        ] {
            let input = [&agreed, &[IAC, SB, NAWS], size].concat();
            let expected = [Item::Negotiate([IAC, DO, NAWS]), data(rest)];
            assert_eq!(measured(&input, 99), expected, "{size:?}");
            assert_eq!(measured(&input, 1), expected, "{size:?}");
        }
        // Nobody has agreed to it, or no longer.
        let window = [IAC, SB, NAWS, 0, 40, 0, 20, IAC, SE];
        assert_eq!(measured(&window, 99), []);
        let no_more = [&agreed, &[IAC, WONT, NAWS], &window[..]].concat();
        let answers = [[IAC, DO, NAWS], [IAC, DONT, NAWS]].map(Item::Negotiate);
        assert_eq!(measured(&no_more, 99), answers);
    }

    #[test]
    fn no_line_end_is_lost_in_a_subnegotiation() {
        // In Windows-1251 these two bytes are letters.
        for end in ["\r\n", "\n", "\r"] {
            let input = [b"one \xff\xfalost", end.as_bytes(), b"two"].concat();
            let rest = [b"one ", end.as_bytes(), b"two"].concat();
            assert_eq!(decode([&input[..]]).items, [data(&rest)]);
        }
    }

    #[test]
    fn a_command_inside_a_subnegotiation_ends_it() {
        let found = decode([&b"\xff\xfa\x18lost\xff\xf6hi"[..]]);
        assert_eq!(found.items, [Item::AreYouThere, data(b"hi")]);
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
                3 => 234u8..=254,
                1 => Just(BINARY),
                1 => prop::sample::select(b"\r\n".to_vec()),
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
