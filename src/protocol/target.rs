//! The target of a ban: a name, addresses, or a user of this machine. [`Target::split`] accepts an address
//! and a user in every form in which an operator finds them (in the log an address has a port, and a user a
//! process), and a network as CIDR (RFC 4632; RFC 4291, 2.3), with a netmask, or with `*` for its rest. A
//! word that looks like an address but is not valid is not taken for a name, because the operator would
//! believe that the ban works.

use std::array;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use unicode_normalization::char::decompose_compatible;

use crate::peer::PeerSet;
use crate::text::CleanText;
use crate::text::alike::{decomposes_into, key};

/// The longest address, with its zone, brackets and port, in characters. Folding a word that is longer,
/// or is when it is decomposed, would waste time.
const MAX_ADDRESS_CHARS: usize = 80;

/// The size of the network that a ban of an IPv6 address covers: one subscriber has all addresses of a
/// /64 (RFC 6177).
const IPV6_SUBSCRIBER_BITS: u8 = 64;

/// The name or the peers that a ban covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    Name(CleanText<'a>),
    Peers(TypedPeers),
    /// A network that holds every address.
    Everybody,
    /// It looks like an address, but is not a valid one.
    NoAddress,
}

/// Peers that an operator typed. [`Display`](fmt::Display) writes them as they were meant: as an address,
/// as a network, or as a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TypedPeers {
    pub(crate) set: PeerSet,
    /// The address, if a single one was typed. For an IPv6 address, `set` is the /64 of its subscriber.
    address: Option<IpAddr>,
}

impl<'a> Target<'a> {
    /// Splits the target of a ban from the rest of the arguments. Returns the target, its words, and the
    /// rest. It is one word, unless it is a user as in the log: `uid 1000`, `uid 1000 (pid 4711)`.
    pub(crate) fn split(arguments: CleanText<'a>) -> (Self, CleanText<'a>, CleanText<'a>) {
        let (words, rest) = arguments.split_words(words_of_target(arguments.as_str()));
        (Self::parse(words), words, rest)
    }

    /// Parses the words. Whether a member has them as a name is decided elsewhere.
    fn parse(word: CleanText<'a>) -> Self {
        let text = word.as_str();
        let is_short = text.chars().nth(MAX_ADDRESS_CHARS).is_none();
        if !is_short || !may_be_ascii(text) || !decomposes_into(text, MAX_ADDRESS_CHARS) {
            return Self::Name(word);
        }
        // Digits, dots and slashes may be full-width.
        let text = key(word.as_str());
        match TypedPeers::parse(&text) {
            Some(it) if it.is_everybody() => Self::Everybody,
            Some(it) => Self::Peers(it),
            None if looks_like_address(&text) => Self::NoAddress,
            None => Self::Name(word),
        }
    }
}

impl TypedPeers {
    /// Whether a single address was typed.
    pub(crate) fn is_address(&self) -> bool {
        self.address.is_some()
    }

    fn is_everybody(&self) -> bool {
        matches!(self.set, PeerSet::Network(network) if network.prefix_len() == 0)
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Some(uid) = user(text) {
            let set = PeerSet::User(uid);
            return Some(Self { set, address: None });
        }
        if let Some(address) = without_port(text) {
            return Self::of_address(parse_address(address)?);
        }
        let inside = text.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        let text = inside.unwrap_or(text);
        if let Some((address, size)) = text.split_once('/') {
            return Self::of_network(sized(parse_address(address)?, size)?);
        }
        match text.strip_suffix('*') {
            Some(start) => Self::of_network(beginning(start)?),
            None => Self::of_address(parse_address(text)?),
        }
    }

    fn of_address(address: IpAddr) -> Option<Self> {
        let address = address.to_canonical();
        let bits = match address {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => IPV6_SUBSCRIBER_BITS,
        };
        Some(Self {
            set: PeerSet::Network(IpNet::new(address, bits).ok()?.trunc()),
            address: Some(address),
        })
    }

    /// Clears the host bits: a ban of 10.0.0.1/8 is a ban of 10.0.0.0/8.
    fn of_network(network: IpNet) -> Option<Self> {
        let mapped = match network.addr() {
            IpAddr::V6(ip) => ip.to_ipv4_mapped(),
            IpAddr::V4(_) => None,
        };
        let network = match mapped {
            // The first 96 bits mark an IPv4-mapped address (RFC 4291, 2.5.5.2). No peer is in a
            // network with a shorter prefix.
            Some(ip) => IpNet::new(ip.into(), network.prefix_len().checked_sub(96)?).ok()?,
            None => network,
        };
        Some(Self {
            set: PeerSet::Network(network.trunc()),
            address: None,
        })
    }
}

impl fmt::Display for TypedPeers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => address.fmt(f),
            None => self.set.fmt(f),
        }
    }
}

/// How many words of the arguments are the target.
fn words_of_target(arguments: &str) -> usize {
    let mut words = arguments.split_whitespace();
    let [first, uid, pid, process] = array::from_fn(|_| words.next().unwrap_or_default());
    let is_user = first.len() <= MAX_ADDRESS_CHARS && key(first) == "uid";
    match number::<u32>(uid) {
        Some(_) if is_user && pid == "(pid" && process.ends_with(')') => 4,
        Some(_) if is_user => 2,
        _ => 1,
    }
}

/// Parses a user of this machine: `uid 1000` as in the log, or `uid=1000` as id(1) prints it. A process
/// behind it is ignored, because a ban covers all processes of a user.
fn user(text: &str) -> Option<u32> {
    let is_between = |c: char| c.is_whitespace() || ":=".contains(c);
    let behind = text.strip_prefix("uid")?.strip_prefix(is_between)?;
    number(behind.split_whitespace().next()?)
}

/// Returns the address before a port: `192.0.2.7:51234`, `[2001:db8::1]:51234`. `None` if there is no
/// port.
fn without_port(text: &str) -> Option<&str> {
    let (address, port) = text.rsplit_once(':')?;
    let is_whole = address.ends_with(']') || !address.contains([':', '/', '*']);
    number::<u16>(port).filter(|_| is_whole)?;
    Some(address)
}

/// Parses an address, which may stand in brackets. The zone of an IPv6 address (RFC 4007, 11) is
/// ignored: bans do not depend on it.
fn parse_address(text: &str) -> Option<IpAddr> {
    let text = match text.strip_prefix('[') {
        Some(text) => text.strip_suffix(']')?,
        None => text,
    };
    match text.split_once('%') {
        Some((address, zone)) if !zone.is_empty() => Some(address.parse::<Ipv6Addr>().ok()?.into()),
        Some(_) => None,
        None => text.parse().ok(),
    }
}

/// Whether a word may be ASCII when it is folded, because it has no letter of another script.
fn may_be_ascii(word: &str) -> bool {
    let mut others = word.chars().filter(|c| !c.is_ascii());
    others.all(|c| {
        let mut is_other = false;
        decompose_compatible(c, |c| is_other |= c.is_alphabetic() && !c.is_ascii());
        !is_other
    })
}

/// Returns the network of this address with a size given as a number of bits or as a netmask.
fn sized(address: IpAddr, size: &str) -> Option<IpNet> {
    let network = match number(size) {
        Some(bits) => IpNet::new(address, bits),
        None => IpNet::with_netmask(address, size.parse().ok()?),
    };
    network.ok()
}

/// Returns the network whose addresses begin with the text before a `*`: `10.`, `10.1.*.`, `2001:db8:`.
fn beginning(start: &str) -> Option<IpNet> {
    if start.contains(':') {
        return ipv6_beginning(start);
    }
    let parts: Vec<&str> = start.split_terminator('.').collect();
    let known = parts.iter().take_while(|&&part| part != "*");
    let known: Vec<u8> = known.map(|part| octet(part)).collect::<Option<_>>()?;
    let is_star_to_the_end = parts.iter().skip(known.len()).all(|&part| part == "*");
    let is_whole = start.is_empty() || start.ends_with('.');
    if parts.len() > 3 || !is_star_to_the_end || !is_whole {
        return None;
    }
    let mut octets = [0; 4];
    octets
        .iter_mut()
        .zip(&known)
        .for_each(|(to, &from)| *to = from);
    let bits = u8::try_from(known.len()).ok()?.checked_mul(8)?;
    IpNet::new(Ipv4Addr::from(octets).into(), bits).ok()
}

fn ipv6_beginning(start: &str) -> Option<IpNet> {
    let groups: Vec<&str> = start.strip_suffix(':')?.split(':').collect();
    if groups.len() > 7 {
        return None;
    }
    let mut segments = [0; 8];
    for (to, group) in segments.iter_mut().zip(&groups) {
        let is_group = (1..=4).contains(&group.len());
        let is_group = is_group && group.bytes().all(|byte| byte.is_ascii_hexdigit());
        *to = u16::from_str_radix(group, 16).ok().filter(|_| is_group)?;
    }
    let bits = u8::try_from(groups.len()).ok()?.checked_mul(16)?;
    IpNet::new(Ipv6Addr::from(segments).into(), bits).ok()
}

/// Parses a number that consists of digits only, without a sign.
fn number<N: std::str::FromStr>(text: &str) -> Option<N> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

/// Parses one part of an IPv4 address. Leading zeros are refused, because the number may be octal.
fn octet(text: &str) -> Option<u8> {
    number(text).filter(|_| text == "0" || !text.starts_with('0'))
}

/// Whether a word could only be a name that imitates an address: it is made of digits and dots, or of
/// hexadecimal digits and more than one colon.
fn looks_like_address(text: &str) -> bool {
    let text = text.trim_start_matches('[');
    let head = text.split([':', '/', ']', '%']).next().unwrap_or_default();
    let is_ipv4 = head.contains('.')
        && head
            .chars()
            .all(|c| c.is_ascii_digit() || ".*-,".contains(c))
        && head.contains(|c: char| c.is_ascii_digit());
    let head = text.split(['/', ']', '%']).next().unwrap_or_default();
    let is_ipv6 = head.matches(':').count() > 1
        && head
            .chars()
            .all(|c| c.is_ascii_hexdigit() || ":.*-,".contains(c));
    is_ipv4 || is_ipv6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text;

    fn parsed(word: &str) -> String {
        let mut scratch = String::new();
        let arguments = text::clean(word.as_bytes(), &mut scratch);
        let (target, words, rest) = Target::split(arguments);
        assert_eq!(
            (words.as_str(), rest.as_str()),
            (word.trim(), ""),
            "it is the whole target"
        );
        match target {
            Target::Name(name) => format!("name {}", name.as_str()),
            Target::Peers(it) => format!("{it} = {}", it.set),
            Target::Everybody => "everybody".to_owned(),
            Target::NoAddress => "no address".to_owned(),
        }
    }

    #[track_caller]
    fn expect(rows: &[(&str, &str)]) {
        for (word, expected) in rows {
            assert_eq!(parsed(word), *expected, "{word:?}");
        }
    }

    #[test]
    fn an_address_is_one_in_every_form_in_which_it_is_found() {
        expect(&[
            ("192.0.2.7", "192.0.2.7 = 192.0.2.7/32"),
            ("203.0.113.5:51234", "203.0.113.5 = 203.0.113.5/32"),
            ("[192.0.2.7]", "192.0.2.7 = 192.0.2.7/32"),
            ("[192.0.2.7]:80", "192.0.2.7 = 192.0.2.7/32"),
            ("2001:db8::1", "2001:db8::1 = 2001:db8::/64"),
            ("2001:DB8::1", "2001:db8::1 = 2001:db8::/64"),
            ("[::1]", "::1 = ::/64"),
            ("[2001:db8::1]", "2001:db8::1 = 2001:db8::/64"),
            ("[2001:db8::1]:51234", "2001:db8::1 = 2001:db8::/64"),
            ("fe80::1%eth0", "fe80::1 = fe80::/64"),
            ("[fe80::1%2]:6142", "fe80::1 = fe80::/64"),
            ("::ffff:192.0.2.7", "192.0.2.7 = 192.0.2.7/32"),
            ("[::ffff:192.0.2.7]:80", "192.0.2.7 = 192.0.2.7/32"),
            ("::ffff:c000:207", "192.0.2.7 = 192.0.2.7/32"),
            ("\u{ff11}９２.0.2.7", "192.0.2.7 = 192.0.2.7/32"),
            ("192.0.2.7\u{200b}", "192.0.2.7 = 192.0.2.7/32"),
        ]);
    }

    #[test]
    fn a_network_is_one_in_every_notation() {
        expect(&[
            ("10.0.0.0/8", "10.0.0.0/8 = 10.0.0.0/8"),
            ("10.0.0.1/8", "10.0.0.0/8 = 10.0.0.0/8"),
            ("192.0.2.7/32", "192.0.2.7/32 = 192.0.2.7/32"),
            ("192.0.2.255/31", "192.0.2.254/31 = 192.0.2.254/31"),
            ("128.0.0.0/1", "128.0.0.0/1 = 128.0.0.0/1"),
            ("10.0.0.0/255.255.0.0", "10.0.0.0/16 = 10.0.0.0/16"),
            ("10.0.0.0／8", "10.0.0.0/8 = 10.0.0.0/8"),
            ("2001:db8::/32", "2001:db8::/32 = 2001:db8::/32"),
            ("2001:db8:1::7/32", "2001:db8::/32 = 2001:db8::/32"),
            ("[2001:db8::]/32", "2001:db8::/32 = 2001:db8::/32"),
            ("[2001:db8::/32]", "2001:db8::/32 = 2001:db8::/32"),
            ("2001:db8::1/128", "2001:db8::1/128 = 2001:db8::1/128"),
            ("::ffff:10.0.0.1/104", "10.0.0.0/8 = 10.0.0.0/8"),
            ("::ffff:192.0.2.7/128", "192.0.2.7/32 = 192.0.2.7/32"),
            ("10.*", "10.0.0.0/8 = 10.0.0.0/8"),
            ("10.*.*.*", "10.0.0.0/8 = 10.0.0.0/8"),
            ("10.0.*", "10.0.0.0/16 = 10.0.0.0/16"),
            ("192.168.1.*", "192.168.1.0/24 = 192.168.1.0/24"),
            ("2001:db8:*", "2001:db8::/32 = 2001:db8::/32"),
            ("fe80:*", "fe80::/16 = fe80::/16"),
        ]);
    }

    #[test]
    fn a_network_of_every_address_is_everybody() {
        for word in [
            "0.0.0.0/0",
            "10.0.0.1/0",
            "::/0",
            "2001:db8::1/0",
            "::ffff:0.0.0.0/96",
            "10.0.0.0/0.0.0.0",
            "*",
            "*.*.*.*",
        ] {
            assert_eq!(parsed(word), "everybody", "{word}");
        }
    }

    #[test]
    fn what_looks_like_an_address_and_is_none_is_no_name() {
        for word in [
            "192.168.1.300",
            "192.168.1",
            "192.168.1.",
            "192.168.1.1.1",
            "010.0.0.1",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0.0/",
            "10.0.0.0/8x",
            "10.0.0.0/255.0.255.0",
            "10.0.0.0/8:80",
            "10.*.0.1",
            "10.*.*.*.*",
            "10.1*",
            "*.1.2.3",
            "010.*",
            "300.*",
            "10.0.0.1-10.0.0.9",
            "10.0.0.1,10.0.0.2",
            "203.0.113.5:",
            "203.0.113.5:65536",
            "203.0.113.5:http",
            "[203.0.113.5",
            "2001:db8::/129",
            "2001:db8:::1",
            "2001:db8::*",
            "2001:db8::12345",
            "[2001:db8::1",
            "[2001:db8::1]:99999",
            "fe80::1%",
            "1:2:3:4:5:6:7:8:*",
            "::ffff:10.0.0.1/24",
            "::ffff:1.2.3.400",
        ] {
            assert_eq!(parsed(word), "no address", "{word}");
        }
    }

    #[test]
    fn a_user_is_one_as_the_log_has_it_and_as_a_word() {
        expect(&[
            ("uid 1000", "uid 1000 = uid 1000"),
            ("UID  1000", "uid 1000 = uid 1000"),
            ("\u{ff55}id 7", "uid 7 = uid 7"),
            ("uid 1000 (pid 4711)", "uid 1000 = uid 1000"),
            ("uid=1000", "uid 1000 = uid 1000"),
            ("uid:0", "uid 0 = uid 0"),
        ]);
    }

    #[test]
    fn what_stands_behind_a_target_is_no_part_of_it() {
        for (arguments, expected) in [
            ("bob 5", ["bob", "5"]),
            ("192.0.2.7 5", ["192.0.2.7", "5"]),
            ("uid", ["uid", ""]),
            ("uid bob", ["uid", "bob"]),
            ("uid +5", ["uid", "+5"]),
            ("uid 4294967296", ["uid", "4294967296"]),
            ("uid 1000 5", ["uid 1000", "5"]),
            ("uid  1000  5 6", ["uid  1000", "5 6"]),
            ("uid 1000 (pid 4711) 5", ["uid 1000 (pid 4711)", "5"]),
            ("uid 1000 (pid", ["uid 1000", "(pid"]),
            ("uid=1000 5", ["uid=1000", "5"]),
            ("uids 1000", ["uids", "1000"]),
        ] {
            let mut scratch = String::new();
            let (_, words, rest) = Target::split(text::clean(arguments.as_bytes(), &mut scratch));
            assert_eq!([words.as_str(), rest.as_str()], expected, "{arguments}");
        }
    }

    #[test]
    fn everything_else_is_a_name() {
        let long = "1.".repeat(60);
        for word in [
            "ali",
            "bob:",
            "24/7",
            "10/8",
            "7",
            "2026-11-27",
            "...",
            "-.-",
            "a.b.c.d",
            "abba",
            "face",
            "[bot]",
            "v1.5",
            "1.2.3.4x",
            "example.com",
            "localhost",
            "localhost:80",
            "*x",
            "he/him",
            "uid",
            "uid1000",
            "uid:",
            "uid=x",
            "uid:4294967296",
            &long,
        ] {
            assert_eq!(parsed(word), format!("name {word}"));
        }
    }
}
