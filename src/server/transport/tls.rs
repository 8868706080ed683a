//! TLS on any stream: [`Tls`] has rustls between the socket and the connection, and keeps the contract of
//! [`Stream`] for it. No certificate is read here: a stream is made with a `ServerConfig` that is ready.
//!
//! A call does a bounded amount of work, however small the records are that a peer sends: in a handshake
//! it reads from the socket once, and afterwards only goes on while most of what it reads is input.
//! Whatever it leaves is [held](Stream::holds_input).
//!
//! | phase | `read` | `write` | `shutdown_write` |
//! |---|---|---|---|
//! | `Silent`: nothing has come | the first byte: TLS, or a hint in plain text and an error | blocks | hint |
//! | `Open`, handshaking | a step of the handshake | blocks | - |
//! | `Open` | input | records, sent at once | close_notify |
//! | `Shut` | whatever comes, as it comes | fails | - |

use std::io::{self, Cursor, ErrorKind, Read, Write};
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection};

use crate::conn::stream::{Stream, retry};

/// What a record of a handshake begins with (RFC 8446, section 5.1).
const HANDSHAKE_RECORD: u8 = 0x16;

/// What somebody gets who speaks no TLS.
const HINT: &[u8] = b"* this port speaks TLS: openssl s_client -quiet -connect HOST:PORT\r\n";

/// The most input in one record, in bytes (RFC 8446, section 5.1).
const RECORD_BYTES: usize = 16 << 10;

/// How often a call reads from the socket. rustls takes 4 KiB each time.
const MAX_RAW_READS: usize = 16;

/// A TLS connection that was accepted on the stream `S`.
#[derive(Debug)]
pub struct Tls<S> {
    socket: S,
    phase: Phase,
    /// The last read from the socket was not short: there may be more in it.
    may_have_more: bool,
    /// How much input rustls has decrypted that was not read, in bytes.
    decrypted: usize,
    end: End,
    /// What came after the input that is still to be read.
    error: Option<rustls::Error>,
}

#[derive(Debug)]
enum Phase {
    Silent(Arc<ServerConfig>),
    Open {
        tls: Box<ServerConnection>,
        /// close_notify was made.
        is_notified: bool,
    },
    Shut,
}

/// What is known of the end of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Unknown,
    /// It was seen behind input that is still to be read.
    Seen,
    /// `read` has returned it.
    Told,
}

impl<S: Stream> Tls<S> {
    /// Takes over a stream whose peer is to begin a handshake.
    pub fn accepted(socket: S, config: Arc<ServerConfig>) -> Self {
        Self {
            socket,
            phase: Phase::Silent(config),
            may_have_more: false,
            decrypted: 0,
            end: End::Unknown,
            error: None,
        }
    }

    /// The stream below.
    pub fn get_ref(&self) -> &S {
        &self.socket
    }

    /// The stream below. To read from it or to write to it is possible before the first read of this one.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.socket
    }

    /// Waits for the first byte, which tells whether the peer speaks TLS.
    fn open(&mut self, config: Arc<ServerConfig>, buffer: &mut [u8]) -> io::Result<()> {
        let mut first = [0];
        if self.socket.read(&mut first)? == 0 {
            self.end = End::Seen;
            return Ok(());
        }
        if first != [HANDSHAKE_RECORD] {
            // With input that was not read, closing might destroy the hint on its way.
            let _ = retry(|| self.socket.read(buffer));
            self.hint();
            let error = "the peer does not speak TLS";
            return Err(io::Error::new(ErrorKind::InvalidData, error));
        }
        let mut tls = ServerConnection::new(config).map_err(invalid)?;
        tls.read_tls(&mut Cursor::new(first))?;
        self.may_have_more = true;
        self.phase = Phase::Open {
            tls: Box::new(tls),
            is_notified: false,
        };
        Ok(())
    }

    /// Tells somebody in plain text what to do. If that fails, the peer is gone, which changes nothing.
    fn hint(&mut self) {
        let _ = retry(|| self.socket.write(HINT));
        let _ = self.socket.shutdown_write();
    }

    /// Reads from the socket once and decrypts that. Returns how much was read, in bytes.
    fn fetch(&mut self) -> io::Result<usize> {
        let Phase::Open { tls, .. } = &mut self.phase else {
            return Ok(0);
        };
        let mut socket = Noting {
            socket: &mut self.socket,
            is_full: false,
        };
        let read = retry(|| tls.read_tls(&mut socket));
        self.may_have_more = socket.is_full;
        let read = read?;
        if read == 0 {
            self.end = End::Seen;
        }
        match tls.process_new_packets() {
            Ok(state) => {
                self.decrypted = state.plaintext_bytes_to_read();
                if state.peer_has_closed() {
                    self.end = End::Seen;
                }
            }
            Err(error) => {
                self.error = Some(error);
                // The peer is told why. If that fails, it is gone.
                let _ = send(tls, &mut self.socket);
            }
        }
        Ok(read)
    }

    /// Takes input that was decrypted. Returns how much that was, in bytes.
    fn take_decrypted(&mut self, buffer: &mut [u8]) -> usize {
        let Phase::Open { tls, .. } = &mut self.phase else {
            return 0;
        };
        // It blocks where nothing is left, and fails where the end came without close_notify.
        let taken = tls.reader().read(buffer).unwrap_or(0);
        self.decrypted = match taken {
            0 => 0,
            taken => self.decrypted.saturating_sub(taken),
        };
        taken
    }

    /// What a read returns that has found no input.
    fn nothing(&mut self) -> io::Result<usize> {
        if let Some(error) = self.error.take() {
            return Err(invalid(error));
        }
        match self.end {
            End::Unknown => Err(ErrorKind::WouldBlock.into()),
            End::Seen | End::Told => {
                self.end = End::Told;
                Ok(0)
            }
        }
    }
}

impl<S: Stream> Read for Tls<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.phase {
            Phase::Silent(config) => {
                let config = Arc::clone(config);
                self.open(config, buffer)?;
            }
            Phase::Open { .. } => {}
            Phase::Shut => return self.socket.read(buffer),
        }
        let is_step = self.is_handshaking();
        let mut filled = self.take_decrypted(buffer);
        for _ in 0..MAX_RAW_READS {
            let rest = buffer.get_mut(filled..).unwrap_or_default();
            if rest.is_empty() || self.end != End::Unknown || self.error.is_some() {
                break;
            }
            let read = match self.fetch() {
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) if filled > 0 => {
                    // It is found again by the next read.
                    self.may_have_more = true;
                    break;
                }
                Err(error) => return Err(error),
            };
            let taken = self.take_decrypted(rest);
            filled = filled.saturating_add(taken);
            if is_step || !self.may_have_more || taken < read / 2 {
                break;
            }
        }
        match filled {
            0 => self.nothing(),
            filled => Ok(filled),
        }
    }
}

impl<S: Stream> Write for Tls<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let tls = match &mut self.phase {
            Phase::Open { tls, .. } if !tls.is_handshaking() => tls,
            Phase::Silent(_) | Phase::Open { .. } => return Err(ErrorKind::WouldBlock.into()),
            Phase::Shut => return Err(ErrorKind::BrokenPipe.into()),
        };
        send(tls, &mut self.socket)?;
        let mut accepted = 0_usize;
        for record in bytes.chunks(RECORD_BYTES) {
            let taken = tls.writer().write(record)?;
            accepted = accepted.saturating_add(taken);
            match send(tls, &mut self.socket) {
                Ok(()) if taken < record.len() => break,
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(accepted)
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.phase {
            Phase::Open { tls, .. } => send(tls, &mut self.socket),
            Phase::Silent(_) | Phase::Shut => Ok(()),
        }
    }
}

impl<S: Stream> Stream for Tls<S> {
    fn holds_input(&self) -> bool {
        match self.phase {
            Phase::Open { .. } => {
                self.may_have_more
                    || self.decrypted > 0
                    || self.end == End::Seen
                    || self.error.is_some()
                    || self.socket.holds_input()
            }
            Phase::Silent(_) | Phase::Shut => self.socket.holds_input(),
        }
    }

    fn owes_output(&self) -> bool {
        match &self.phase {
            Phase::Open { tls, .. } => tls.wants_write(),
            Phase::Silent(_) | Phase::Shut => false,
        }
    }

    fn is_handshaking(&self) -> bool {
        match &self.phase {
            Phase::Silent(_) => true,
            Phase::Open { tls, .. } => tls.is_handshaking(),
            Phase::Shut => false,
        }
    }

    /// An end without close_notify may be somebody else's doing (RFC 8446, section 6.1).
    fn announces_end(&self) -> bool {
        match &self.phase {
            Phase::Open { tls, .. } => !tls.is_handshaking(),
            Phase::Silent(_) | Phase::Shut => false,
        }
    }

    fn is_encrypted(&self) -> bool {
        true
    }

    fn is_authenticated(&self) -> bool {
        match &self.phase {
            Phase::Open { tls, .. } => tls.peer_certificates().is_some(),
            Phase::Silent(_) | Phase::Shut => false,
        }
    }

    fn check(&mut self) -> io::Result<()> {
        self.socket.check()
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        match &mut self.phase {
            Phase::Silent(_) => self.hint(),
            Phase::Open { tls, is_notified } if !tls.is_handshaking() => {
                if !std::mem::replace(is_notified, true) {
                    tls.send_close_notify();
                }
                send(tls, &mut self.socket)?;
            }
            Phase::Open { .. } | Phase::Shut => {}
        }
        self.phase = Phase::Shut;
        self.socket.shutdown_write()
    }
}

/// Sends what rustls owes.
fn send(tls: &mut ServerConnection, socket: &mut impl Stream) -> io::Result<()> {
    while tls.wants_write() {
        if retry(|| tls.write_tls(socket))? == 0 {
            return Err(ErrorKind::WriteZero.into());
        }
    }
    Ok(())
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

/// Notes whether a read returned as much as was asked for.
struct Noting<'a, S> {
    socket: &'a mut S,
    is_full: bool,
}

impl<S: Stream> Read for Noting<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.socket.read(buffer)?;
        self.is_full = read == buffer.len();
        Ok(read)
    }
}
