//! The wire read off byte by byte, with no thought of speed: what a client said, what a line looks
//! like to others, and what a nick is. Written from the wire's description, not from the decoders.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use line_chat::protocol::telnet::MAX_SUBNEGOTIATION_BYTES;
use line_chat::{CloseReason, Lag, Limits};

/// One thing that a client said, and what it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decoded {
    Line(Vec<u8>),
    TooLong,
    /// These bytes have to be answered.
    Asked(Vec<u8>),
}

#[derive(Debug)]
pub(crate) struct Decoder {
    max_line_bytes: usize,
    telnet: Telnet,
    line: Vec<u8>,
    /// The line passed the limit.
    too_long: bool,
    after_cr: bool,
    /// BINARY: whether we send so, whether the peer does, whether our request to it is open, and
    /// whether it was made.
    we_send_binary: bool,
    peer_sends_binary: bool,
    has_asked: bool,
    has_offered: bool,
    /// NAWS: whether the peer tells the size of its window, whether our request is open, and whether it
    /// was made or is not needed. Only people are asked.
    tells_size: bool,
    has_asked_size: bool,
    has_offered_size: bool,
    /// For a person, the key that is arriving, without its ESC.
    key: Option<Vec<u8>>,
    is_person: bool,
    /// The first four bytes of the connection.
    first: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
enum Telnet {
    Data,
    Iac,
    Verb(u8),
    Sub(u16),
    SubIac(u16),
    /// The size of a window, and how many bytes of it have come.
    Size(u8),
    SizeIac(u8),
}

impl Decoder {
    pub(crate) fn new(max_line_bytes: usize) -> Self {
        Self {
            max_line_bytes,
            telnet: Telnet::Data,
            line: Vec::new(),
            too_long: false,
            after_cr: false,
            we_send_binary: false,
            peer_sends_binary: false,
            has_asked: false,
            has_offered: false,
            tells_size: false,
            has_asked_size: false,
            has_offered_size: false,
            key: None,
            is_person: false,
            first: Vec::new(),
        }
    }

    /// It is a person's: BINARY was asked for at once, and keys are looked for.
    pub(crate) fn is_a_persons(&mut self) {
        self.offered();
        self.is_person = true;
    }

    fn offered(&mut self) {
        (self.has_asked, self.has_offered) = (true, true);
    }

    /// Whether the connection begins with a byte order mark of UTF-16 and an ASCII character.
    pub(crate) fn is_utf_16(&self) -> bool {
        matches!(self.first[..], [0xff, 0xfe, _, 0] | [0xfe, 0xff, 0, _])
    }

    pub(crate) fn hear(&mut self, byte: u8, heard: &mut VecDeque<Decoded>) {
        if self.first.len() < 4 {
            self.first.push(byte);
        }
        self.telnet = match (self.telnet, byte) {
            // In front of a byte that is no command, IAC is a letter.
            (Telnet::Iac | Telnet::SubIac(_) | Telnet::SizeIac(_), ..236) => {
                heard.extend(self.data(255));
                self.telnet = Telnet::Data;
                return self.hear_again(byte, heard);
            }
            (Telnet::Sub(_), b'\r' | b'\n') => {
                self.telnet = Telnet::Data;
                return self.hear_again(byte, heard);
            }
            (Telnet::Data, 255) => Telnet::Iac,
            (Telnet::Data, _) => {
                heard.extend(self.data(byte));
                Telnet::Data
            }
            (Telnet::Verb(verb), option) => {
                let answer = self.negotiate(verb, option);
                heard.extend(answer.map(|verb| Decoded::Asked(vec![255, verb, option])));
                if !self.has_offered {
                    self.offered();
                    heard.push_back(Decoded::Asked(vec![255, 253, 0]));
                }
                if self.is_person && !self.has_offered_size {
                    self.has_offered_size = true;
                    if !matches!((verb, option), (251 | 252, 31)) {
                        self.has_asked_size = true;
                        heard.push_back(Decoded::Asked(vec![255, 253, 31]));
                    }
                }
                Telnet::Data
            }
            (Telnet::Sub(0), 31) if self.tells_size => Telnet::Size(0),
            (Telnet::Size(n), 255) => Telnet::SizeIac(n),
            (Telnet::Size(n @ ..4), _) | (Telnet::SizeIac(n @ ..4), 255) => Telnet::Size(n + 1),
            (Telnet::Size(_), _) | (Telnet::SizeIac(_), 255) => Telnet::Sub(6),
            (Telnet::Sub(skipped), 255) => Telnet::SubIac(skipped),
            (Telnet::Sub(skipped), _) | (Telnet::SubIac(skipped), 255) => {
                if skipped == MAX_SUBNEGOTIATION_BYTES {
                    Telnet::Data
                } else {
                    Telnet::Sub(skipped + 1)
                }
            }
            (Telnet::Iac | Telnet::SubIac(_) | Telnet::SizeIac(_), command) => {
                self.command(command, heard)
            }
        };
    }

    fn hear_again(&mut self, byte: u8, heard: &mut VecDeque<Decoded>) {
        let first = std::mem::take(&mut self.first);
        self.hear(byte, heard);
        self.first = first;
    }

    /// The verb of the answer to a verb. WILL is 251, WONT 252, DO 253, DONT 254.
    fn negotiate(&mut self, verb: u8, option: u8) -> Option<u8> {
        match (verb, option) {
            (253, 0) => (!std::mem::replace(&mut self.we_send_binary, true)).then_some(251),
            (254, 0) => std::mem::replace(&mut self.we_send_binary, false).then_some(252),
            (251 | 252, 0) => {
                let will = verb == 251;
                let had = std::mem::replace(&mut self.peer_sends_binary, will);
                let is_answer = std::mem::replace(&mut self.has_asked, false);
                self.has_offered = true;
                let answer = if will { 253 } else { 254 };
                (had != will && !is_answer).then_some(answer)
            }
            (251 | 252, 31) if self.is_person => {
                let will = verb == 251;
                let had = std::mem::replace(&mut self.tells_size, will);
                let is_answer = std::mem::replace(&mut self.has_asked_size, false);
                let answer = if will { 253 } else { 254 };
                (had != will && !is_answer).then_some(answer)
            }
            // All others are refused.
            (253, _) => Some(252),
            (251, _) => Some(254),
            _ => None,
        }
    }

    /// The line that is arriving.
    pub(crate) fn unfinished(&self) -> &[u8] {
        &self.line
    }

    fn command(&mut self, command: u8, heard: &mut VecDeque<Decoded>) -> Telnet {
        match command {
            246 => heard.push_back(Decoded::Asked(b"* yes\r\n".to_vec())),
            247 => self.erase(),
            248 => self.line.clear(),
            250 => return Telnet::Sub(0),
            251..=254 => return Telnet::Verb(command),
            255 => heard.extend(self.data(255)),
            _ => {}
        }
        Telnet::Data
    }

    fn data(&mut self, byte: u8) -> Option<Decoded> {
        let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
        match byte {
            b'\n' | 0 if after_cr => None,
            0 => None,
            b'\r' | b'\n' => {
                self.key = None;
                let line = std::mem::take(&mut self.line);
                let too_long = std::mem::take(&mut self.too_long);
                (!too_long).then_some(Decoded::Line(line))
            }
            _ if self.too_long => None,
            _ if self.is_of_key(byte) => None,
            0x1b if self.is_person => {
                self.key = Some(Vec::new());
                None
            }
            0x03 | 0x15 if self.is_person => {
                self.line.clear();
                None
            }
            0..32 if self.is_person && !b"\x08\t\x17".contains(&byte) => None,
            0x08 | 0x7f => {
                self.erase();
                None
            }
            _ if self.line.len() == self.max_line_bytes => {
                self.line.clear();
                self.too_long = true;
                Some(Decoded::TooLong)
            }
            _ => {
                self.line.push(byte);
                None
            }
        }
    }

    /// Whether a byte belongs to the key that is arriving.
    fn is_of_key(&mut self, byte: u8) -> bool {
        let Some(mut key) = self.key.take() else {
            return false;
        };
        key.push(byte);
        match is_key(&key) {
            None => {
                self.key = Some(key);
                true
            }
            Some(is_key) => is_key,
        }
    }

    fn erase(&mut self) {
        let last = self.line.utf8_chunks().last().map_or(0, |chunk| {
            let invalid = chunk.invalid().len();
            let last = chunk.valid().chars().next_back();
            if invalid > 0 {
                invalid
            } else {
                last.map_or(0, char::len_utf8)
            }
        });
        self.line.truncate(self.line.len() - last);
    }
}

/// Whether these bytes behind an ESC are a key; `None`: they may become one.
fn is_key(bytes: &[u8]) -> Option<bool> {
    if let [b']', text @ ..] = bytes
        && let Some(at) = text.iter().position(|&byte| byte == 0x1b)
    {
        // The end of the string, or another key in its place.
        return match &text[at + 1..] {
            [] => None,
            [b'\\'] => Some(true),
            key => is_key(key),
        };
    }
    let (&last, before) = bytes.split_last()?;
    let is_long = bytes.len() + 1 == 32;
    let is_final = (0x40..=0x7e).contains(&last);
    match before {
        [] => match last {
            b'[' | b'O' | b']' => None,
            0x1b => None,
            0xc2..=0xf4 => None,
            _ => Some((0x20..0x80).contains(&last) || last == 0x08),
        },
        [0x1b, rest @ ..] => is_key(&[rest, &[last]].concat()),
        [b'['] if last == b'[' => None,
        [b'O'] | [b'[', b'['] => Some(is_final),
        [b'[', ..] if (0x20..0x40).contains(&last) => is_long.then_some(true),
        [b'[', ..] => Some(is_final),
        [b']', ..] if last == 0x07 => Some(true),
        [b']', ..] if last >= 0x20 => is_long.then_some(true),
        [b']', ..] => Some(false),
        [lead, more @ ..] => {
            let length = match lead {
                0xc2..0xe0 => 1,
                0xe0..0xf0 => 2,
                _ => 3,
            };
            let is_more = (0x80..0xc0).contains(&last);
            (!is_more || more.len() + 1 == length).then_some(is_more)
        }
    }
}

/// What a first line, or the beginning of one, belongs to, if it is no chat; and the goodbye for it.
/// Of each protocol it knows what the simulation's clients send.
pub(crate) fn foreign(line: &[u8], is_complete: bool) -> Option<&'static str> {
    const TELNET: &str = "* this is a chat server for telnet, goodbye\r\n";
    let text = String::from_utf8_lossy(line);
    let words: Vec<&str> = text.split(' ').collect();
    let is_request = words.len() >= 3
        && !words[0].is_empty()
        && words[0].bytes().all(|byte| byte.is_ascii_uppercase())
        && words[words.len() - 1].starts_with("HTTP/");
    if line.starts_with(&[22, 3]) {
        return Some(TELNET);
    }
    match words[..] {
        _ if !is_complete => None,
        _ if is_request || text.starts_with("SSH-") => Some(TELNET),
        ["PROXY", "TCP4" | "TCP6" | "UNKNOWN", ..] => {
            Some("* this port takes no PROXY header, goodbye\r\n")
        }
        ["EHLO", _] => Some("* this is a chat server and no mail server, goodbye\r\n"),
        ["USER", _] => Some("* this is a chat server and no FTP server, goodbye\r\n"),
        ["CAP", "LS", ..] | ["NICK", _] | ["USER", _, _, _, ..] => {
            Some("* this is no IRC server but a chat server for telnet, goodbye\r\n")
        }
        [word] if word.len() > 1 && word.starts_with('*') => {
            let is_number = word[1..].bytes().all(|byte| byte.is_ascii_digit());
            is_number.then_some("* this is a chat server and no Redis server, goodbye\r\n")
        }
        _ => None,
    }
}

/// What a client is told when it is closed, if it is told anything.
pub(crate) fn goodbye(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::TooSlow => "* you are reading too slowly, goodbye\r\n",
        CloseReason::Stalled => "* you have read nothing for too long, goodbye\r\n",
        CloseReason::HeldUp => "* you have held up the room for too long, goodbye\r\n",
        CloseReason::OutOfMemory => {
            "* server is short of memory and you are furthest behind, goodbye\r\n"
        }
        CloseReason::LoginTimeout => "* no nick came in time, goodbye\r\n",
        CloseReason::Idle => "* you have been silent for too long, goodbye\r\n",
        CloseReason::ServerFull => "* server is full, try again later\r\n",
        CloseReason::AddressFull => "* too many connections from your address, try again later\r\n",
        CloseReason::AddressTooFast => {
            "* too many new connections from your address, try again in a moment\r\n"
        }
        CloseReason::MadeRoom => "* server is full and you have given no nick, goodbye\r\n",
        CloseReason::Shutdown => "* server is shutting down\r\n",
        CloseReason::Quit => "* goodbye\r\n",
        CloseReason::Banned => "* you are banned from this room, goodbye\r\n",
        CloseReason::AddressBanned => "* your address is banned from this server\r\n",
        _ => "",
    }
}

/// Whether nothing that was queued is worth writing, but what was begun.
pub(crate) fn is_cut(reason: CloseReason) -> bool {
    use CloseReason::{HeldUp, OutOfMemory, Stalled, TooSlow};
    matches!(reason, TooSlow | Stalled | HeldUp | OutOfMemory)
}

/// How long a client may take nothing, or hold up the room; `None`: for ever.
pub(crate) fn stall_patience(limits: &Limits) -> Option<Duration> {
    let seconds = if limits.lag == Lag::Wait { 30 } else { 300 };
    unless_never(limits.stall_timeout.unwrap_or(Duration::from_secs(seconds)))
}

/// How long a client that leaves for this reason may take to read the rest.
pub(crate) fn drain_patience(reason: CloseReason, limits: &Limits) -> Duration {
    match reason {
        CloseReason::HungUp => stall_patience(limits).unwrap_or(Duration::from_secs(300)),
        _ => limits.goodbye_timeout,
    }
}

/// The number in a line that tells how many were left out.
pub(crate) fn skipped(line: &[u8]) -> Option<u64> {
    let words = std::str::from_utf8(line).ok()?.strip_prefix("* ")?;
    let words = words.strip_suffix("\r\n")?;
    // A person is told why.
    let why = ": your connection was too slow";
    let words = words.strip_suffix(why).unwrap_or(words);
    if words == "1 line skipped" {
        return Some(1);
    }
    let count = words.strip_suffix(" lines skipped")?.parse().ok()?;
    assert_ne!(count, 1, "1 lines");
    Some(count)
}

/// How long a client may take to its nick; `None`: for ever.
pub(crate) fn login_patience(limits: &Limits, is_person: bool) -> Option<Duration> {
    let seconds = if is_person { 120 } else { 30 };
    unless_never(limits.login_timeout.unwrap_or(Duration::from_secs(seconds)))
}

/// How many lines of a script may be refused.
pub(crate) fn most_refusals(limits: &Limits) -> u8 {
    limits.max_refusals.unwrap_or(3)
}

pub(crate) fn unless_never(time: Duration) -> Option<Duration> {
    (!time.is_zero()).then_some(time)
}

/// What counts as one address: an IPv4 address, or 64 bits of an IPv6 one; `None` for this machine.
pub(crate) fn address(ip: IpAddr) -> Option<[u8; 8]> {
    (!ip.is_loopback()).then(|| network(ip))
}

/// Likewise, with this machine.
pub(crate) fn network(ip: IpAddr) -> [u8; 8] {
    let mut address = [0; 8];
    match ip {
        IpAddr::V4(ip) => address[..4].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => address.copy_from_slice(&ip.octets()[..8]),
    }
    address
}

/// What others see of a line.
pub(crate) fn clean(line: &[u8]) -> String {
    let show = |c| if is_unsafe(c) { '\u{fffd}' } else { c };
    let text = String::from_utf8_lossy(line);
    let mut clean = String::new();
    let mut marks = 0;
    for c in text.chars().filter(|&c| !is_left_out(c)).map(show) {
        // Of what the simulation types, these are the combining marks. A base has eight at most.
        marks = if ('\u{300}'..='\u{36f}').contains(&c) {
            marks + 1
        } else {
            0
        };
        if marks <= 8 {
            clean.push(c);
        }
    }
    clean
}

/// Whether a line says nothing.
pub(crate) fn is_blank(line: &[u8]) -> bool {
    clean(line).trim().is_empty()
}

/// What only marks something and does not show.
fn is_left_out(c: char) -> bool {
    let u = u32::from(c);
    [0x61c, 0x200e, 0x200f, 0xfeff].contains(&u) || (0xe0000..=0xe007f).contains(&u)
}

fn is_unsafe(c: char) -> bool {
    let u = u32::from(c);
    let controls = c != '\t' && c.is_control();
    let separators = u == 0x2028 || u == 0x2029;
    let bidi = (0x202a..=0x202e).contains(&u) || (0x2066..=0x2069).contains(&u);
    controls || separators || bidi
}

/// The nick that a line asks for, or why it is none.
pub(crate) fn nick(line: &[u8], max_chars: usize) -> Result<String, String> {
    let text = clean(line);
    let name = text.trim();
    let wrong = [
        (name.is_empty(), "a nick needs at least one character"),
        (
            text.contains('\u{fffd}'),
            "a nick has no control characters and is valid UTF-8",
        ),
        (
            name.starts_with(['*', '/']),
            "a nick does not begin with \"*\" or \"/\"",
        ),
        (name.contains(':'), "a nick has no \":\" in it"),
        (
            name.contains(char::is_whitespace),
            "a nick has no white space inside",
        ),
    ];
    if let Some((_, why)) = wrong.into_iter().find(|&(is_wrong, _)| is_wrong) {
        return Err(why.to_owned());
    }
    if name.chars().count() > max_chars {
        return Err(format!("a nick has at most {max_chars} characters"));
    }
    if decompose(name).is_empty() {
        return Err("a nick needs a character that shows".to_owned());
    }
    if name.starts_with(['∗', '／']) {
        return Err("a nick does not begin with \"*\" or \"/\"".to_owned());
    }
    if name.contains('：') {
        return Err("a nick has no \":\" in it".to_owned());
    }
    let is_bare = |c| is_accent(c) || decompose(&String::from(c)).is_empty();
    if name.starts_with(is_bare) {
        return Err("a nick begins with a letter, a digit or a symbol that shows".to_owned());
    }
    if name.contains("\u{301}\u{301}\u{301}\u{301}") {
        return Err("a nick has at most 3 accents in a row".to_owned());
    }
    let words = ["server", "you", "nobody", "everybody", "operator"];
    match words.into_iter().find(|word| is_alike(word, name)) {
        Some(word) => Err(is_like(name, word, "reserved")),
        None => Ok(name.to_owned()),
    }
}

/// Whether two nicks are one: their NFKC in lower case is the same or, unless both are ASCII, their
/// skeletons are (UTS 39, 4), accents apart, before or after lower case.
pub(crate) fn is_alike(one: &str, other: &str) -> bool {
    let [a, b] = [one, other].map(decompose);
    if a.to_lowercase() == b.to_lowercase() {
        return true;
    }
    let [a, b] = [a, b].map(|name| name.replace(is_accent, ""));
    let lower_skeleton = |name: &str| skeleton(name).to_lowercase();
    let skeleton_of_lower = |name: &str| skeleton(&name.to_lowercase());
    let is_ascii = one.is_ascii() && other.is_ascii();
    !is_ascii
        && (lower_skeleton(&a) == lower_skeleton(&b)
            || skeleton_of_lower(&a) == skeleton_of_lower(&b))
}

/// The NFKD of a nick (UAX 15, UnicodeData.txt) without the Default_Ignorable_Code_Points, of the
/// characters that the simulation uses.
fn decompose(nick: &str) -> String {
    let decomposed = nick.chars().flat_map(|c| match c {
        'ａ'..='ｚ' => vec![char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c)],
        'é' => vec!['e', '\u{301}'],
        'ë' => vec!['e', '\u{308}'],
        '\u{ad}' | '\u{200b}' | '\u{200d}' | '\u{fe0f}' => vec![],
        c => vec![c],
    });
    decomposed.collect()
}

/// The simulation puts accents on Latin letters only.
fn is_accent(c: char) -> bool {
    ('\u{300}'..='\u{36f}').contains(&c)
}

/// The rows of confusables.txt for the characters that the simulation uses.
fn skeleton(name: &str) -> String {
    let prototypes = name.chars().map(|c| match c {
        '\u{410}' => "A".to_owned(),
        '\u{412}' => "B".to_owned(),
        '\u{415}' => "E".to_owned(),
        '\u{420}' => "P".to_owned(),
        '\u{430}' => "a".to_owned(),
        '\u{432}' => "\u{299}".to_owned(),
        '\u{435}' => "e".to_owned(),
        '\u{43e}' => "o".to_owned(),
        '\u{440}' => "p".to_owned(),
        '\u{131}' => "i".to_owned(),
        '0' => "O".to_owned(),
        '1' | 'I' | '|' => "l".to_owned(),
        'm' => "rn".to_owned(),
        c => c.to_string(),
    });
    prototypes.collect()
}

pub(crate) fn is_taken(nick: &str, owner: &str) -> String {
    is_like(nick, owner, "taken")
}

pub(crate) fn is_like(nick: &str, other: &str, what: &str) -> String {
    if nick.eq_ignore_ascii_case(other) {
        format!("nick \"{nick}\" is {what}")
    } else {
        format!("nick \"{nick}\" looks like \"{other}\", which is {what}")
    }
}

pub(crate) fn is_no_nick(max_line_bytes: usize) -> String {
    format!("that line is longer than {max_line_bytes} bytes, which is no nick")
}

/// The notice that refuses a nick.
pub(crate) fn refusal(why: &str, is_final: bool) -> String {
    if is_final {
        format!("* {why}, and that was the last try, goodbye\r\n")
    } else {
        format!("* {why}, choose another\r\n")
    }
}

/// What a client is told that sends UTF-16.
pub(crate) const UTF_16: &str = "* this is UTF-16, and only UTF-8 is understood here, goodbye\r\n";

/// What a plain client is told that sends text before it can read that its nick was refused.
pub(crate) const DID_NOT_WAIT: &[u8] =
    b"* you sent more without waiting for that answer, goodbye\r\n";

pub(crate) fn was_not_sent(max_line_bytes: usize) -> String {
    format!("* that line is longer than {max_line_bytes} bytes and was not sent\r\n")
}
