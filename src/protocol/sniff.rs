//! Detects peers that speak another protocol: [`of_line`] and [`Opening`] recognise the first bytes of
//! the protocols that port scanners try, and of programs that were given the wrong port. Such a peer
//! never becomes a member and is closed with a reason of its own. It is told in one line what is wrong,
//! because that line often ends up in a log that a person reads.

use memchr::memchr;

/// A protocol other than this server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OtherProtocol {
    Tls,
    /// HTTP, or a protocol modelled on it: RTSP, SIP.
    Http,
    Ssh,
    /// The header that a proxy sends before the bytes of its client.
    Proxy,
    Redis,
    /// Not a protocol, but an encoding that the server does not read.
    Utf16,
    /// SMTP, or LMTP.
    Mail,
    /// FTP, or POP3, which begins with `USER` as well.
    Ftp,
    Irc,
}

impl OtherProtocol {
    /// The last notice to the peer, without the leading `* `.
    pub(crate) fn goodbye(self) -> &'static str {
        match self {
            Self::Tls | Self::Http | Self::Ssh => "this is a chat server for telnet, goodbye",
            Self::Proxy => "this port takes no PROXY header, goodbye",
            Self::Redis => "this is a chat server and no Redis server, goodbye",
            Self::Mail => "this is a chat server and no mail server, goodbye",
            Self::Ftp => "this is a chat server and no FTP server, goodbye",
            Self::Utf16 => "this is UTF-16, and only UTF-8 is understood here, goodbye",
            Self::Irc => "this is no IRC server but a chat server for telnet, goodbye",
        }
    }

    /// The name of the protocol, for the log.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tls => "TLS",
            Self::Http => "HTTP",
            Self::Ssh => "SSH",
            Self::Proxy => "the PROXY protocol",
            Self::Redis => "Redis",
            Self::Mail => "SMTP",
            Self::Ftp => "FTP",
            Self::Utf16 => "UTF-16",
            Self::Irc => "IRC",
        }
    }
}

/// Recognises the protocol of a client's first line, or of the part received so far. `is_complete`:
/// whether the line end was received.
///
/// | protocol | first line | source |
/// |---|---|---|
/// | TLS | a record of type 22, version 3.x | RFC 8446, 5.1 |
/// | HTTP | `GET / HTTP/1.1`, the preface of HTTP/2, `OPTIONS sip:x SIP/2.0` | RFC 9112, 3 |
/// | SSH | `SSH-2.0-...` | RFC 4253, 4.2 |
/// | PROXY | `PROXY TCP4 ...`, `PROXY UNKNOWN` | HAProxy's proxy-protocol.txt, 2.1 |
/// | Redis | `*1`, an array of the protocol RESP | Redis serialization protocol specification |
/// | SMTP | `EHLO x`, `HELO x`, `LHLO x` | RFC 5321, 4.1.1.1; RFC 2033, 4.1 |
/// | FTP | `USER x`, `AUTH TLS` | RFC 959, 4.1.1; RFC 4217, 4 |
/// | IRC | `CAP LS`, `NICK x`, `PASS x`, `USER x 0 * :x` | RFC 2812, 3.1; IRCv3 capability negotiation |
///
/// A command without arguments is not recognised, because it may be the nick of a person.
pub(crate) fn of_line(line: &[u8], is_complete: bool) -> Option<OtherProtocol> {
    // Nobody can type a TLS record, and it has no line end.
    if line.starts_with(b"\x16\x03") {
        return Some(OtherProtocol::Tls);
    }
    if !is_complete {
        return None;
    }
    if line.starts_with(b"SSH-") {
        return Some(OtherProtocol::Ssh);
    }
    if is_redis(line) {
        return Some(OtherProtocol::Redis);
    }
    // The other protocols send at least two words.
    memchr(b' ', line)?;
    if is_request(line) {
        return Some(OtherProtocol::Http);
    }
    of_command(line)
}

/// Leading bytes that nobody types; `None` stands for any byte.
struct Signature {
    bytes: &'static [Option<u8>],
    protocol: OtherProtocol,
}

/// No two begin with the same byte. The one for the PROXY protocol is that of version 2
/// (proxy-protocol.txt, 2.2); a byte order mark of UTF-16 must be followed by an ASCII character.
const SIGNATURES: [Signature; 4] = [
    Signature {
        bytes: &[
            Some(b'\r'),
            Some(b'\n'),
            Some(b'\r'),
            Some(b'\n'),
            Some(b'\0'),
            Some(b'\r'),
            Some(b'\n'),
            Some(b'Q'),
            Some(b'U'),
            Some(b'I'),
            Some(b'T'),
            Some(b'\n'),
        ],
        protocol: OtherProtocol::Proxy,
    },
    Signature {
        // A record of TLS with a ClientHello. At a prompt its first bytes are keys, which edit the line.
        bytes: &[Some(0x16), Some(3), None, None, None, Some(1)],
        protocol: OtherProtocol::Tls,
    },
    Signature {
        bytes: &[Some(0xff), Some(0xfe), None, Some(0)],
        protocol: OtherProtocol::Utf16,
    },
    Signature {
        bytes: &[Some(0xfe), Some(0xff), Some(0), None],
        protocol: OtherProtocol::Utf16,
    },
];

impl Signature {
    /// Whether these bytes continue the signature after its first `matched` bytes.
    fn continues(&self, matched: u8, input: &[u8]) -> bool {
        let rest = self.bytes.get(usize::from(matched)..).unwrap_or_default();
        let mut pairs = rest.iter().zip(input);
        input.len() <= rest.len() && pairs.all(|(it, byte)| it.is_none_or(|it| it == *byte))
    }

    /// Whether `input` begins with the rest of the signature after its first `matched` bytes.
    fn ends(&self, matched: u8, input: &[u8]) -> bool {
        let rest = self.bytes.len().saturating_sub(usize::from(matched));
        let head = input.get(..rest);
        head.is_some_and(|head| self.continues(matched, head))
    }
}

/// How a client's input begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opening {
    /// Nothing was received.
    Nothing,
    /// The first bytes of a signature.
    Signature(Place),
    /// Anything else.
    Other,
}

/// How much of which signature has come, in one byte, because each connection has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(u8);

impl Place {
    /// No signature has as many bytes.
    const MOST_BYTES: u8 = 16;

    fn new(which: u8, matched: u8) -> Self {
        let before = which.saturating_mul(Self::MOST_BYTES);
        Self(before.saturating_add(matched))
    }

    fn which(self) -> u8 {
        self.0 / Self::MOST_BYTES
    }

    fn matched(self) -> u8 {
        self.0 % Self::MOST_BYTES
    }

    fn signature(self) -> Option<&'static Signature> {
        SIGNATURES.get(usize::from(self.which()))
    }
}

impl Opening {
    /// The protocol that the client speaks if `input` follows the bytes taken before.
    pub(crate) fn protocol(self, input: &[u8]) -> Option<OtherProtocol> {
        let signature = match self {
            Self::Nothing => SIGNATURES.iter().find(|it| it.ends(0, input)),
            Self::Signature(place) => {
                let signature = place.signature();
                signature.filter(|it| it.ends(place.matched(), input))
            }
            Self::Other => None,
        };
        signature.map(|it| it.protocol)
    }

    /// Records these bytes as taken.
    pub(crate) fn take(&mut self, taken: &[u8]) {
        if taken.is_empty() {
            return;
        }
        let more = u8::try_from(taken.len()).unwrap_or(u8::MAX);
        *self = match *self {
            Self::Nothing => {
                let mut signatures = (0..).zip(&SIGNATURES);
                let begun = signatures.find(|(_, it)| it.continues(0, taken));
                begun.map_or(Self::Other, |(which, _)| {
                    Self::Signature(Place::new(which, more))
                })
            }
            Self::Signature(place) => {
                let (signature, matched) = (place.signature(), place.matched());
                match signature.is_some_and(|it| it.continues(matched, taken)) {
                    true => {
                        Self::Signature(Place::new(place.which(), matched.saturating_add(more)))
                    }
                    false => Self::Other,
                }
            }
            Self::Other => Self::Other,
        };
    }
}

fn words(line: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    line.split(|&byte| byte == b' ')
}

/// A request line: a method, a target and a version.
fn is_request(line: &[u8]) -> bool {
    let mut words = words(line);
    let method = words.next().unwrap_or_default();
    let version = words.next_back().unwrap_or_default();
    let is_method = !method.is_empty() && method.iter().all(u8::is_ascii_uppercase);
    let versions: [&[u8]; 3] = [b"HTTP/", b"RTSP/", b"SIP/"];
    is_method && words.next().is_some() && versions.iter().any(|it| version.starts_with(it))
}

/// The header of a RESP array: a star and the number of elements.
fn is_redis(line: &[u8]) -> bool {
    let count = line.strip_prefix(b"*").unwrap_or_default();
    !count.is_empty() && count.iter().all(u8::is_ascii_digit)
}

/// A command in capitals with its arguments.
fn of_command(line: &[u8]) -> Option<OtherProtocol> {
    let mut words = words(line).filter(|word| !word.is_empty());
    let command = words.next()?;
    let argument = words.next()?;
    let more = words.count();
    Some(match command {
        b"PROXY" if matches!(argument, b"TCP4" | b"TCP6" | b"UNKNOWN") => OtherProtocol::Proxy,
        b"EHLO" | b"HELO" | b"LHLO" if more == 0 => OtherProtocol::Mail,
        b"AUTH" if matches!(argument, b"TLS" | b"SSL") && more == 0 => OtherProtocol::Ftp,
        b"USER" if more == 0 => OtherProtocol::Ftp,
        b"USER" if more >= 2 => OtherProtocol::Irc,
        b"NICK" | b"PASS" if more == 0 => OtherProtocol::Irc,
        b"CAP" if matches!(argument, b"LS" | b"REQ" | b"LIST" | b"END") => OtherProtocol::Irc,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use OtherProtocol::{Ftp, Http, Irc, Mail, Proxy, Redis, Ssh, Tls};

    #[test]
    fn other_protocols_are_known_by_their_first_line() {
        for (line, protocol) in [
            (&b"GET / HTTP/1.1"[..], Http),
            (b"OPTIONS * HTTP/1.0", Http),
            (b"PRI * HTTP/2.0", Http),
            (b"CONNECT example.org:443 HTTP/1.1", Http),
            (b"OPTIONS / RTSP/1.0", Http),
            (b"OPTIONS sip:nm SIP/2.0", Http),
            (b"SSH-2.0-OpenSSH_9.2p1", Ssh),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Tls),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443", Proxy),
            (b"PROXY TCP6 2001:db8::1 2001:db8::2 56324 443", Proxy),
            (b"PROXY UNKNOWN", Proxy),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2", Proxy),
            (b"*1", Redis),
            (b"*3", Redis),
            (b"*12", Redis),
            (b"EHLO mail.example.org", Mail),
            (b"EHLO [192.0.2.1]", Mail),
            (b"HELO x", Mail),
            (b"LHLO x", Mail),
            (b"USER anonymous", Ftp),
            (b"USER x", Ftp),
            (b"AUTH TLS", Ftp),
            (b"CAP LS", Irc),
            (b"CAP LS 302", Irc),
            (b"CAP REQ :sasl", Irc),
            (b"NICK x", Irc),
            (b"PASS hunter2", Irc),
            (b"USER x 0 * :Real Name", Irc),
            (b"USER guest tolmoon tolsun :Ronnie Reagan", Irc),
        ] {
            assert_eq!(
                of_line(line, true),
                Some(protocol),
                "{}",
                line.escape_ascii()
            );
        }
        assert_eq!(of_line(b"\x16\x03", false), Some(Tls), "it has no line end");
    }

    #[test]
    fn people_are_not_taken_for_a_protocol() {
        for line in [
            &b""[..],
            b"GET",
            b"HTTP/1.1",
            b"GET HTTP/1.1",
            b"get / HTTP/1.1",
            b"ssh-fan",
            b"\x16",
            b"Ann HTTP/",
            b"Ehlo",
            b"EHLO",
            b"HELO",
            b"helo everybody",
            b"EHLO to all of you",
            b"PING",
            b"PROXY",
            b"PROXY me",
            b"Proxy TCP4",
            b"USER",
            b"user x",
            b"NICK",
            b"nick bob",
            b"Nick Cave",
            b"CAP",
            b"CAP Anamur",
            b"PASS",
            b"QUIT",
            b"*",
            b"*bob",
            b"*1bob",
            b"1",
            b"* 1",
        ] {
            assert_eq!(of_line(line, true), None, "{}", line.escape_ascii());
        }
        assert_eq!(of_line(b"SSH-", false), None, "its line may go on");
        assert_eq!(of_line(b"*1", false), None, "its line may go on");
        assert_eq!(of_line(b"PROXY UNKNOWN", false), None, "its line may go on");
    }

    /// The protocol that is detected when bytes arrive in these pieces, each taken as it arrives.
    fn sniffed(pieces: &[&[u8]]) -> Option<OtherProtocol> {
        let mut opening = Opening::Nothing;
        pieces.iter().find_map(|piece| {
            let found = opening.protocol(piece);
            opening.take(piece);
            found
        })
    }

    #[test]
    fn version_2_of_the_proxy_protocol_is_known_by_its_signature_however_it_is_split() {
        let header =
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\xdc\x04\x01\xbb";
        assert_eq!(sniffed(&[header]), Some(Proxy));
        for split in 0..=header.len() {
            let (head, tail) = header.split_at(split);
            assert_eq!(sniffed(&[head, tail]), Some(Proxy), "split at {split}");
        }
        let bytes: Vec<&[u8]> = header.chunks(1).collect();
        assert_eq!(sniffed(&bytes), Some(Proxy));
    }

    #[test]
    fn utf_16_is_known_by_its_byte_order_mark_however_it_is_split() {
        for text in [&b"\xff\xfeb\0o\0b\0"[..], b"\xfe\xff\0b\0o\0b"] {
            for split in 0..=text.len() {
                let (head, tail) = text.split_at(split);
                let found = sniffed(&[head, tail]);
                assert_eq!(found, Some(OtherProtocol::Utf16), "split at {split}");
            }
        }
        for text in [&b"\xff\xfe\x01x\n"[..], b"\xfe\xff1\0", b"x\xff\xfeb\0"] {
            assert_eq!(sniffed(&[text]), None, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn empty_lines_are_not_taken_for_a_signature() {
        for input in [
            &b"\r\n\r\nbob\r\n"[..],
            b"\r\n\r\n\0\r\nQUIT\r\n",
            b"\r\n\r\n\r\nQUIT\n",
            b"QUIT\n",
            b"x\r\n\r\n\0\r\nQUIT\n",
            b"\r\n\r\n\r\n\r\n\0\r\nQUIT\n",
        ] {
            for split in 0..=input.len() {
                let (head, tail) = input.split_at(split);
                assert_eq!(sniffed(&[head, tail]), None, "{}", input.escape_ascii());
            }
        }
    }
}
