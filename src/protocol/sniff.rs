//! Peers that speak another protocol: [`is_other_protocol`] knows the first bytes of the protocols
//! with which every public port is scanned, so that a browser or a scanner is closed with a reason of
//! its own and never becomes a member.

/// Whether a client's first line, or as much of it as has come, is a TLS handshake (RFC 8446, 5.1),
/// an HTTP request line (RFC 9112, 3), or the identification of an SSH client (RFC 4253, 4.2).
/// `is_complete`: its line end has come.
pub(crate) fn is_other_protocol(line: &[u8], is_complete: bool) -> bool {
    is_tls(line) || (is_complete && (is_http(line) || is_ssh(line)))
}

/// A record of type 22, version 3.x, which nobody can type.
fn is_tls(line: &[u8]) -> bool {
    line.starts_with(b"\x16\x03")
}

/// A request line such as `GET / HTTP/1.1`, or the preface of HTTP/2, which looks like one.
fn is_http(line: &[u8]) -> bool {
    let mut words = line.split(|&byte| byte == b' ');
    let method = words.next().unwrap_or_default();
    let version = words.next_back().unwrap_or_default();
    let is_method = !method.is_empty() && method.iter().all(u8::is_ascii_uppercase);
    is_method && words.next().is_some() && version.starts_with(b"HTTP/")
}

fn is_ssh(line: &[u8]) -> bool {
    line.starts_with(b"SSH-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_protocols_are_known_by_their_first_line() {
        for line in [
            &b"GET / HTTP/1.1"[..],
            b"OPTIONS * HTTP/1.0",
            b"PRI * HTTP/2.0",
            b"CONNECT example.org:443 HTTP/1.1",
            b"SSH-2.0-OpenSSH_9.2p1",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        ] {
            assert!(is_other_protocol(line, true), "{}", line.escape_ascii());
        }
        assert!(is_other_protocol(b"\x16\x03", false), "it has no line end");
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
        ] {
            assert!(!is_other_protocol(line, true), "{}", line.escape_ascii());
        }
        assert!(!is_other_protocol(b"SSH-", false), "its line may go on");
    }
}
