//! The header of the PROXY protocol, in which a proxy gives the address of its client: [`parse`] reads versions 1
//! and 2 (HAProxy's proxy-protocol.txt, 2.1 and 2.2). A receiver must not guess whether there is a header,
//! so whatever is not exactly one is refused.
//!
//! | header | address of the client |
//! |---|---|
//! | `PROXY TCP4 SRC DST SPORT DPORT` CR LF, or `TCP6` | SRC and SPORT |
//! | `PROXY UNKNOWN` and anything CR LF | that of the connection |
//! | version 2, command LOCAL | that of the connection |
//! | version 2, command PROXY, family UNSPEC | that of the connection |
//! | version 2, command PROXY, TCP over IPv4 or IPv6 | the first address and port |
//! | version 2, other families and commands | refused |

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use memchr::memchr2;

/// The longest header of version 1, in bytes with its line end, and a length that it does not reach without.
const MAX_V1_BYTES: usize = 107;
const MAX_V1_LINE_BYTES: usize = MAX_V1_BYTES - 1;

/// The longest header of version 2 that is taken, in bytes: one that every TCP segment has room for.
pub(crate) const MAX_BYTES: usize = 536;

const V1: &[u8] = b"PROXY ";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What stands before the content of a header of version 2: the signature, the version with the command,
/// the family, and the length of the content.
const V2_HEAD_BYTES: usize = V2.len() + 4;

/// What the beginning of a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// The beginning of a header, perhaps.
    Partial,
    /// A header of this length. Without a client in it, the address of the connection counts.
    Header {
        bytes: usize,
        client: Option<SocketAddr>,
    },
    /// Something else.
    NoHeader,
}

/// Reads the header at the beginning of `input`, of which [`MAX_BYTES`] are enough.
pub(crate) fn parse(input: &[u8]) -> Parsed {
    let is_like = |signature: &[u8]| {
        let known = signature.len().min(input.len());
        input.get(..known) == signature.get(..known)
    };
    let parsed = match () {
        () if is_like(V1) => v1(input),
        () if is_like(V2) => v2(input),
        () => None,
    };
    parsed.unwrap_or(Parsed::NoHeader)
}

/// `None` if it is no header.
fn v1(input: &[u8]) -> Option<Parsed> {
    let Some(end) = memchr2(b'\r', b'\n', input) else {
        return (input.len() < MAX_V1_LINE_BYTES).then_some(Parsed::Partial);
    };
    let (line, line_end) = input.split_at_checked(end)?;
    match line_end {
        b"\r" if end < MAX_V1_LINE_BYTES => return Some(Parsed::Partial),
        [b'\r', b'\n', ..] if end < MAX_V1_LINE_BYTES => {}
        _ => return None,
    }
    let words: Vec<&str> = std::str::from_utf8(line).ok()?.split(' ').collect();
    let client = match *words.as_slice() {
        ["PROXY", "UNKNOWN", ..] => None,
        [
            "PROXY",
            "TCP4",
            source,
            destination,
            source_port,
            destination_port,
        ] => {
            let of = |ip, port| v1_addr::<Ipv4Addr>(ip, port);
            of(destination, destination_port)?;
            Some(of(source, source_port)?)
        }
        [
            "PROXY",
            "TCP6",
            source,
            destination,
            source_port,
            destination_port,
        ] => {
            let of = |ip, port| v1_addr::<Ipv6Addr>(ip, port);
            of(destination, destination_port)?;
            Some(of(source, source_port)?)
        }
        _ => return None,
    };
    let bytes = end.saturating_add(2);
    Some(Parsed::Header { bytes, client })
}

fn v1_addr<T: FromStr + Into<IpAddr>>(ip: &str, port: &str) -> Option<SocketAddr> {
    let ip: T = ip.parse().ok()?;
    let is_canonical = port == "0" || !port.starts_with(['0', '+']);
    let port = port.parse().ok().filter(|_| is_canonical)?;
    Some(SocketAddr::new(ip.into(), port))
}

/// `None` if it is no header.
fn v2(input: &[u8]) -> Option<Parsed> {
    let behind = input.get(V2.len()..).unwrap_or_default();
    let &[version_and_command, family, high, low, ref behind @ ..] = behind else {
        return Some(Parsed::Partial);
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let bytes = length.saturating_add(V2_HEAD_BYTES);
    if bytes > MAX_BYTES {
        return None;
    }
    let content = behind.get(..length);
    let client = match (version_and_command, family) {
        (0x20, _) | (0x21, 0x00) => content.map(|_| None),
        (0x21, 0x11) if length >= 12 => content.map(v4_source),
        (0x21, 0x21) if length >= 36 => content.map(v6_source),
        _ => return None,
    };
    Some(match client {
        None => Parsed::Partial,
        Some(client) => Parsed::Header { bytes, client },
    })
}

fn v4_source(content: &[u8]) -> Option<SocketAddr> {
    let ip: [u8; 4] = *content.first_chunk()?;
    let &[high, low] = content.get(8..10)?.first_chunk()?;
    Some((ip, u16::from_be_bytes([high, low])).into())
}

fn v6_source(content: &[u8]) -> Option<SocketAddr> {
    let ip: [u8; 16] = *content.first_chunk()?;
    let &[high, low] = content.get(32..34)?.first_chunk()?;
    Some((ip, u16::from_be_bytes([high, low])).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP4: &[u8] = b"PROXY TCP4 192.0.2.1 10.0.0.1 56324 6142\r\n";
    const LONGEST: &[u8] = b"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
        ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";

    /// A header of version 2.
    fn v2_of(version_and_command: u8, family: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).expect("it is short");
        let mut header = V2.to_vec();
        header.extend([version_and_command, family]);
        header.extend(length.to_be_bytes());
        header.extend(content);
        header
    }

    const V4_CONTENT: &[u8] = b"\xc0\x00\x02\x01\x0a\x00\x00\x01\xdc\x04\x17\xfe";

    fn v6_content() -> Vec<u8> {
        let mut content = vec![0; 36];
        content[..4].copy_from_slice(b"\x20\x01\x0d\xb8");
        content[15] = 1;
        content[31] = 2;
        content[32..34].copy_from_slice(&7_u16.to_be_bytes());
        content
    }

    /// Headers, and the client that each names.
    fn headers() -> Vec<(Vec<u8>, Option<&'static str>)> {
        let with_more = [V4_CONTENT, b"\x04\x00\x01x"].concat();
        let long = [V4_CONTENT, &[0; 508]].concat();
        vec![
            (TCP4.to_vec(), Some("192.0.2.1:56324")),
            (
                b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n".to_vec(),
                Some("[2001:db8::1]:1"),
            ),
            (
                b"PROXY TCP4 0.0.0.0 255.255.255.255 0 0\r\n".to_vec(),
                Some("0.0.0.0:0"),
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (LONGEST.to_vec(), None),
            (v2_of(0x20, 0x00, b""), None),
            (v2_of(0x20, 0x11, V4_CONTENT), None),
            (v2_of(0x20, 0xff, b"whatever"), None),
            (v2_of(0x21, 0x00, b"whatever"), None),
            (v2_of(0x21, 0x11, V4_CONTENT), Some("192.0.2.1:56324")),
            (v2_of(0x21, 0x11, &with_more), Some("192.0.2.1:56324")),
            (v2_of(0x21, 0x11, &long), Some("192.0.2.1:56324")),
            (v2_of(0x21, 0x21, &v6_content()), Some("[2001:db8::1]:7")),
        ]
    }

    #[test]
    fn a_header_names_the_client_wherever_it_is_cut_and_whatever_follows() {
        for (header, client) in headers() {
            let client = client.map(|client| client.parse().expect("an address"));
            let bytes = header.len();
            for behind in [&b""[..], b"alice\r\n", b"\x16\x03\x01", TCP4] {
                let input = [&header, behind].concat();
                assert_eq!(
                    parse(&input),
                    Parsed::Header { bytes, client },
                    "{header:?}"
                );
            }
            for cut in 0..bytes {
                assert_eq!(
                    parse(&header[..cut]),
                    Parsed::Partial,
                    "{cut} of {header:?}"
                );
            }
        }
        assert_eq!(LONGEST.len(), MAX_V1_BYTES);
    }

    #[test]
    fn whatever_is_not_exactly_a_header_is_none() {
        let mut long = LONGEST.to_vec();
        long.insert(20, b'f');
        let too_long = [V4_CONTENT, &[0; 509]].concat();
        for input in [
            b"alice\r\n",
            b"proxy TCP4 192.0.2.1 10.0.0.1 56324 6142\r\n",
            b"PROXY\r\n",
            b"PROXY  TCP4 192.0.2.1 10.0.0.1 56324 6142\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 56324\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 56324 6142 \r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 56324 6142\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 56324 6142\ra",
            b"PROXY TCP4 192.0.2.256 10.0.0.1 56324 6142\r\n",
            b"PROXY TCP4 192.0.2.01 10.0.0.1 56324 6142\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 65536 6142\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 +56324 6142\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 056324 6142\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 56324 -1\r\n",
            b"PROXY TCP4 ::1 ::1 56324 6142\r\n",
            b"PROXY TCP6 192.0.2.1 10.0.0.1 56324 6142\r\n",
            b"PROXY UNKNOWNS\r\n",
            b"PROXY UDP4 192.0.2.1 10.0.0.1 56324 6142\r\n",
            b"PROXY TCP4 \xff 10.0.0.1 56324 6142\r\n",
            &LONGEST[..MAX_V1_BYTES - 2].repeat(2),
            &long,
            b"\r\n\r\n\0\r\nQUIT\r",
            &v2_of(0x11, 0x11, V4_CONTENT),
            &v2_of(0x22, 0x11, V4_CONTENT),
            &v2_of(0x21, 0x12, V4_CONTENT),
            &v2_of(0x21, 0x31, &[0; 216]),
            &v2_of(0x21, 0x11, &V4_CONTENT[..11]),
            &v2_of(0x21, 0x21, &v6_content()[..35]),
            &v2_of(0x21, 0x11, &too_long),
            &v2_of(0x20, 0x00, &[0; 521]),
        ] as [&[u8]; 30]
        {
            assert_eq!(parse(input), Parsed::NoHeader, "{}", input.escape_ascii());
        }
    }

    #[test]
    fn nobody_waits_for_the_end_of_a_header_that_is_too_long() {
        let endless = [V1, &[b'x'; MAX_BYTES]].concat();
        assert_eq!(parse(&endless[..MAX_V1_BYTES - 2]), Parsed::Partial);
        assert_eq!(parse(&endless[..MAX_V1_BYTES - 1]), Parsed::NoHeader);
        let huge = v2_of(0x20, 0x00, &[0; 600]);
        assert_eq!(parse(&huge[..16]), Parsed::NoHeader);
    }
}
