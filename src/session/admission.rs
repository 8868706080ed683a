//! Admission: [`Admission`] counts the clients in all and by origin, and refuses a connection that
//! would be one too many. It knows peers and numbers, no streams.

use std::collections::HashMap;

use crate::config::Limits;
use crate::peer::{Origin, Peer};
use crate::protocol::close_reason::CloseReason;

/// The clients that were let in and have not left.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    clients: usize,
    /// Only for look-ups: its order means nothing. Empty where origins are not limited.
    by_origin: HashMap<Origin, usize>,
}

impl Admission {
    /// Lets a client in, or says why not.
    pub(crate) fn enter(&mut self, peer: &Peer, limits: &Limits) -> Result<(), CloseReason> {
        if self.clients >= limits.max_clients.unwrap_or(usize::MAX) {
            return Err(CloseReason::ServerFull);
        }
        if let Some(origin) = counted(peer, limits) {
            let count = self.by_origin.entry(origin).or_default();
            if *count >= limits.max_clients_per_ip {
                return Err(CloseReason::AddressFull);
            }
            *count = count.saturating_add(1);
        }
        self.clients = self.clients.saturating_add(1);
        Ok(())
    }

    /// Counts a client that is let in whatever the limits say.
    pub(crate) fn adopt(&mut self, peer: &Peer, limits: &Limits) {
        if let Some(origin) = counted(peer, limits) {
            let count = self.by_origin.entry(origin).or_default();
            *count = count.saturating_add(1);
        }
        self.clients = self.clients.saturating_add(1);
    }

    /// A client that was let in is gone.
    pub(crate) fn leave(&mut self, peer: &Peer, limits: &Limits) {
        self.clients = self.clients.saturating_sub(1);
        let Some(origin) = counted(peer, limits) else {
            return;
        };
        if let Some(count) = self.by_origin.get_mut(&origin) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_origin.remove(&origin);
            }
        }
    }
}

/// What a client counts as, if it is counted.
fn counted(peer: &Peer, limits: &Limits) -> Option<Origin> {
    let is_limited = limits.max_clients_per_ip > 0 && !peer.is_exempt();
    is_limited.then(|| peer.origin())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn limits(max_clients: Option<usize>, max_clients_per_ip: usize) -> Limits {
        Limits {
            max_clients,
            max_clients_per_ip,
            ..Limits::default()
        }
    }

    fn peer(ip: &str) -> Peer {
        SocketAddr::new(ip.parse().expect("an address"), 7).into()
    }

    #[test]
    fn a_place_that_was_left_can_be_had_again() {
        let (mut admission, limits) = (Admission::default(), limits(Some(2), 0));
        let peer = peer("192.0.2.1");
        assert_eq!(admission.enter(&peer, &limits), Ok(()));
        assert_eq!(admission.enter(&peer, &limits), Ok(()));
        let full = Err(CloseReason::ServerFull);
        assert_eq!(admission.enter(&peer, &limits), full);
        admission.leave(&peer, &limits);
        assert_eq!(admission.enter(&peer, &limits), Ok(()));
        assert!(
            admission.by_origin.is_empty(),
            "nothing is kept for nothing"
        );
    }

    #[test]
    fn an_origin_is_an_ipv4_address_an_ipv6_network_or_a_local_user() {
        let (mut admission, limits) = (Admission::default(), limits(None, 1));
        let full = Err(CloseReason::AddressFull);
        let local = |uid, pid| Peer::Local { uid, pid };
        for (first, same, other) in [
            (peer("192.0.2.1"), peer("192.0.2.1"), peer("192.0.2.2")),
            (
                peer("2001:db8::1"),
                peer("2001:db8::ffff:0:0:1"),
                peer("2001:db8:0:1::1"),
            ),
            (local(1000, 1), local(1000, 2), local(1001, 1)),
        ] {
            assert_eq!(admission.enter(&first, &limits), Ok(()));
            assert_eq!(admission.enter(&same, &limits), full, "{same}");
            assert_eq!(admission.enter(&other, &limits), Ok(()));
            admission.leave(&first, &limits);
            assert_eq!(admission.enter(&same, &limits), Ok(()));
        }
        assert_eq!(admission.by_origin.len(), 6);
    }

    #[test]
    fn this_machine_is_exempt_and_zero_is_no_limit() {
        let mut admission = Admission::default();
        for _ in 0..100 {
            for (ip, limit) in [("127.0.0.1", 1), ("::1", 1), ("192.0.2.1", 0)] {
                assert_eq!(admission.enter(&peer(ip), &limits(None, limit)), Ok(()));
            }
        }
        assert!(admission.by_origin.is_empty());
    }
}
