//! Who is let in: [`Door`] counts the clients in all and by address, and refuses those who would be
//! too many. It knows addresses and numbers, no streams.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use crate::config::Limits;
use crate::protocol::close_reason::CloseReason;

/// The clients that were let in and have not left.
#[derive(Debug, Default)]
pub(crate) struct Door {
    clients: usize,
    /// Only for look-ups: its order means nothing. Empty where addresses are not limited.
    by_address: HashMap<IpAddr, usize>,
}

impl Door {
    /// Lets a client in, or says why not.
    pub(crate) fn enter(&mut self, ip: IpAddr, limits: &Limits) -> Result<(), CloseReason> {
        if self.clients >= limits.max_clients.unwrap_or(usize::MAX) {
            return Err(CloseReason::ServerFull);
        }
        if let Some(address) = counted(ip, limits) {
            let count = self.by_address.entry(address).or_default();
            if *count >= limits.max_clients_per_ip {
                return Err(CloseReason::AddressFull);
            }
            *count += 1;
        }
        self.clients += 1;
        Ok(())
    }

    /// A client that was let in is gone.
    pub(crate) fn leave(&mut self, ip: IpAddr, limits: &Limits) {
        self.clients -= 1;
        let Some(address) = counted(ip, limits) else {
            return;
        };
        if let Some(count) = self.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
    }
}

/// What a client counts as, if it is counted.
fn counted(ip: IpAddr, limits: &Limits) -> Option<IpAddr> {
    let is_limited = limits.max_clients_per_ip > 0 && !ip.is_loopback();
    is_limited.then_some(subscriber(ip))
}

/// What stands for one subscriber: an IPv4 address, or the network of an IPv6 address, because one
/// has all addresses of a /64 (RFC 6177).
pub(crate) fn subscriber(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(max_clients: Option<usize>, max_clients_per_ip: usize) -> Limits {
        Limits {
            max_clients,
            max_clients_per_ip,
            ..Limits::default()
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_place_that_was_left_can_be_had_again() {
        let (mut door, limits) = (Door::default(), limits(Some(2), 0));
        assert_eq!(door.enter(ip("192.0.2.1"), &limits), Ok(()));
        assert_eq!(door.enter(ip("192.0.2.1"), &limits), Ok(()));
        let full = Err(CloseReason::ServerFull);
        assert_eq!(door.enter(ip("192.0.2.1"), &limits), full);
        door.leave(ip("192.0.2.1"), &limits);
        assert_eq!(door.enter(ip("192.0.2.1"), &limits), Ok(()));
        assert!(door.by_address.is_empty(), "nothing is kept for nothing");
    }

    #[test]
    fn an_address_is_an_ipv4_address_or_an_ipv6_network() {
        let (mut door, limits) = (Door::default(), limits(None, 1));
        let full = Err(CloseReason::AddressFull);
        for (first, same, other) in [
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("2001:db8::1", "2001:db8::ffff:0:0:1", "2001:db8:0:1::1"),
        ] {
            assert_eq!(door.enter(ip(first), &limits), Ok(()));
            assert_eq!(door.enter(ip(same), &limits), full, "{same}");
            assert_eq!(door.enter(ip(other), &limits), Ok(()));
            door.leave(ip(first), &limits);
            assert_eq!(door.enter(ip(same), &limits), Ok(()));
        }
        assert_eq!(door.by_address.len(), 4);
    }

    #[test]
    fn this_machine_is_exempt_and_zero_is_no_limit() {
        let mut door = Door::default();
        for _ in 0..100 {
            assert_eq!(door.enter(ip("127.0.0.1"), &limits(None, 1)), Ok(()));
            assert_eq!(door.enter(ip("::1"), &limits(None, 1)), Ok(()));
            assert_eq!(door.enter(ip("192.0.2.1"), &limits(None, 0)), Ok(()));
        }
        assert!(door.by_address.is_empty());
    }
}
