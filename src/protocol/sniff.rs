//! Peers that speak another protocol: [`of_line`] and [`Opening`] know the first bytes of the
//! protocols with which public ports are scanned, and of programs that were given the wrong port. Such
//! a peer is closed with a reason of its own and never becomes a member. It is told in one line what
//! is wrong, because that line often ends in a log that somebody reads.

use memchr::memchr;

/// A protocol that is not this server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OtherProtocol {
    Tls,
    /// HTTP, or one that is modelled on it: RTSP, SIP.
    Http,
    Ssh,
    /// What a proxy sends before the bytes of its client.
    Proxy,
    Redis,
    /// SMTP, or LMTP.
    Mail,
    /// FTP, or POP3, which begins in the same way.
    Ftp,
    Irc,
}

impl OtherProtocol {
    /// The last notice for the peer, without the `* ` before it.
    pub(crate) fn goodbye(self) -> &'static str {
        match self {
            Self::Tls | Self::Http | Self::Ssh => "this is a chat server for telnet, goodbye",
            Self::Proxy => "this is a chat server that takes no PROXY header, goodbye",
            Self::Redis => "this is a chat server and no Redis server, goodbye",
            Self::Mail => "this is a chat server and no mail server, goodbye",
            Self::Ftp => "this is a chat server and no FTP server, goodbye",
            Self::Irc => "this is no IRC server but a chat server for telnet, goodbye",
        }
    }

    /// Its name, for the log.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tls => "TLS",
            Self::Http => "HTTP",
            Self::Ssh => "SSH",
            Self::Proxy => "the PROXY protocol",
            Self::Redis => "Redis",
            Self::Mail => "SMTP",
            Self::Ftp => "FTP",
            Self::Irc => "IRC",
        }
    }
}

/// What a client's first line, or as much of it as has come, is. `is_complete`: its line end has come.
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
/// A command alone is none of them, because a person may be called so.
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
    // Nothing else is one word.
    memchr(b' ', line)?;
    if is_request(line) {
        return Some(OtherProtocol::Http);
    }
    of_command(line)
}

/// The first bytes that HAProxy sends for version 2 of the PROXY protocol (proxy-protocol.txt, 2.2).
const PROXY_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// How a client began, in one byte: with nothing yet, or with a part of the signature of a binary
/// protocol, or otherwise. The lines in the signature are nothing that a person types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Opening(
    /// How many bytes were taken that were those of the signature, and one.
    u8,
);

impl Opening {
    /// The client has sent nothing.
    pub(crate) const NOTHING: Self = Self(0);
    const BEGUN: Self = Self(1);
    const OTHERWISE: Self = Self(u8::MAX);

    /// Bytes have come.
    #[inline]
    pub(crate) fn begin(&mut self) {
        if *self == Self::NOTHING {
            *self = Self::BEGUN;
        }
    }

    /// Whether the next bytes can complete a signature.
    #[inline]
    pub(crate) fn is_open(self) -> bool {
        self != Self::OTHERWISE
    }

    /// The rest of the signature.
    fn rest(self) -> Option<&'static [u8]> {
        let matched = self.0.saturating_sub(Self::BEGUN.0);
        PROXY_SIGNATURE.get(usize::from(matched)..)
    }

    /// What the client speaks if `input` follows what was taken before.
    pub(crate) fn protocol(self, input: &[u8]) -> Option<OtherProtocol> {
        let is_whole = input.starts_with(self.rest()?);
        is_whole.then_some(OtherProtocol::Proxy)
    }

    /// These bytes were taken.
    pub(crate) fn take(&mut self, taken: &[u8]) {
        let is_next = self.rest().is_some_and(|rest| rest.starts_with(taken));
        let taken = u8::try_from(taken.len()).unwrap_or(u8::MAX);
        *self = match is_next {
            true => Self(self.0.saturating_add(taken)),
            false => Self::OTHERWISE,
        };
    }
}

fn words(line: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    line.split(|&byte| byte == b' ')
}

/// A request line: a method, what it is for, and a version.
fn is_request(line: &[u8]) -> bool {
    let mut words = words(line);
    let method = words.next().unwrap_or_default();
    let version = words.next_back().unwrap_or_default();
    let is_method = !method.is_empty() && method.iter().all(u8::is_ascii_uppercase);
    let versions: [&[u8]; 3] = [b"HTTP/", b"RTSP/", b"SIP/"];
    is_method && words.next().is_some() && versions.iter().any(|it| version.starts_with(it))
}

/// The head of an array: a star and the number of its elements.
fn is_redis(line: &[u8]) -> bool {
    let count = line.strip_prefix(b"*").unwrap_or_default();
    !count.is_empty() && count.iter().all(u8::is_ascii_digit)
}

/// A command in capitals and its arguments.
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

    /// What becomes of bytes that come in these pieces and are taken as they come.
    fn sniffed(pieces: &[&[u8]]) -> Option<OtherProtocol> {
        let mut opening = Opening::NOTHING;
        pieces.iter().find_map(|piece| {
            opening.begin();
            let found = opening.protocol(piece).filter(|_| opening.is_open());
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
