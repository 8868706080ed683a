//! What a program can rely on that runs the chat in a loop of its own.

use std::io::{self, ErrorKind, Read, Write};
use std::time::Instant;

use line_chat::engine::{Chat, ClientId, Interest, Registry, Stream};
use line_chat::{Config, Mode};

/// A client that has sent this, and reads all that it gets.
struct Sent(&'static [u8]);

impl Read for Sent {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(ErrorKind::WouldBlock.into()),
            n => Ok(n),
        }
    }
}

impl Write for Sent {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Sent {
    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Readiness is told without being asked for.
struct Unwatched;

impl Registry<Sent> for Unwatched {
    fn register(&mut self, _: &mut Sent, _: ClientId) -> io::Result<()> {
        Ok(())
    }

    fn reregister(&mut self, _: &mut Sent, _: ClientId, _: Interest) -> io::Result<()> {
        Ok(())
    }

    fn deregister(&mut self, _: &mut Sent) {}
}

// A chat for which a password file is named, and which has not read it, lets nobody in. To refuse
// such a configuration does as well, and then that is what is to be asserted here.
#[test]
#[ignore = "issue 9, section 3"]
fn a_chat_whose_password_file_was_not_read_is_not_open() {
    let mut config = Config::default();
    config.hosting.password_file = Some("/nonexistent/password".into());
    let mut chat = Chat::new(config);
    let (now, peer) = (Instant::now(), ([192, 0, 2, 1], 1).into());
    chat.accept(Sent(b"alice\n"), peer, Mode::Bare, now, &mut Unwatched);
    chat.readable(ClientId(0), false);
    chat.turn(now, &mut Unwatched);
    assert_eq!(chat.metrics().members, 0, "alice gave no password");
}
