//! Where a connection came in: [`Entrance`]. It goes with the connection from the acceptor to the engine, so
//! that events can name the listener without the engine knowing any.

use crate::config::addr::Service;

/// Where a connection came in: what it gets there, and which listener that is.
///
/// ```
/// use line_chat::{Entrance, Service};
///
/// assert_eq!(Entrance::from(Service::Http).listener, None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Entrance {
    /// What it gets.
    pub service: Service,
    /// The number of the listener, as [`Server::listeners`](crate::Server::listeners) counts from 0. `None`
    /// for a connection that came by none, such as one that was dialed.
    pub listener: Option<u16>,
}

impl From<Service> for Entrance {
    fn from(service: Service) -> Self {
        Self {
            service,
            listener: None,
        }
    }
}
