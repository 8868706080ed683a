//! Listeners that a supervisor opened and hands down: systemd's socket activation (sd_listen_fds(3)). They
//! survive a restart of the server, and may be on ports that the server's user cannot have.

use std::env;
use std::io;
use std::iter;

use line_chat::{BoundListener, ListenAddrError, Role, Service};
use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;

/// The names of the sockets, with colons between them.
const NAMES: &str = "LISTEN_FDNAMES";

/// Takes over every listener that was handed down to this process. Its name may be words for what it is
/// for; with any other name its clients get what is `usual`.
///
/// # Errors
/// The text tells which of them cannot be used, and why.
pub(crate) fn listeners(usual: Service) -> io::Result<Vec<(BoundListener, Role)>> {
    let names = env::var(NAMES).unwrap_or_default();
    let names = names.split(':').chain(iter::repeat(""));
    let mut inherited = ListenFd::from_env();
    let mut listeners = Vec::new();
    for (index, name) in (0..inherited.len()).zip(names) {
        let unusable = |why: String| {
            let number = index.saturating_add(1);
            io::Error::other(format!("cannot use inherited socket {number}: {why}"))
        };
        let role = Role::from_words(name, usual);
        let role = role.map_err(|error: ListenAddrError| unusable(error.to_string()))?;
        let listener = take(&mut inherited, index).map_err(|error| unusable(error.to_string()))?;
        if !socket_acceptconn(&listener).unwrap_or(true) {
            let why = "it is a connection and not a listener; set Accept=no in the socket unit";
            return Err(unusable(why.to_owned()));
        }
        listeners.push((listener, role));
    }
    Ok(listeners)
}

fn take(inherited: &mut ListenFd, index: usize) -> io::Result<BoundListener> {
    if let Ok(Some(listener)) = inherited.take_tcp_listener(index) {
        return Ok(listener.into());
    }
    match inherited.take_unix_listener(index) {
        Ok(Some(listener)) => Ok(listener.into()),
        _ => Err(io::Error::other(
            "it is neither TCP nor a Unix socket of streams; set ListenStream= in the socket unit",
        )),
    }
}
