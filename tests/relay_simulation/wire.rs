//! A connection in memory, edge-triggered: [`Wire`] is the end that a server has, and the end of whoever is on the
//! other side. What was sent is read in pieces, so a frame is cut at any byte.

use std::cell::{RefCell, RefMut};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::rc::Rc;

use fastrand::Rng;
use line_chat::engine::{ClientId, Stream};

#[derive(Debug, Clone)]
pub(crate) struct Wire(Rc<RefCell<Ends>>);

#[derive(Debug)]
pub(crate) struct Ends {
    /// On its way to the server.
    inbox: VecDeque<u8>,
    is_hung_up: bool,
    is_reset: bool,
    /// What the server has written.
    outbox: Vec<u8>,
    /// How many bytes more are taken.
    room: usize,
    /// What epoll would tell the server.
    pub(crate) is_readable: bool,
    pub(crate) is_writable: bool,
    pub(crate) id: Option<ClientId>,
    /// The server has shut it down, or has dropped it.
    pub(crate) has_ended: bool,
    rng: Rng,
}

impl Wire {
    /// The other side takes `room` bytes before it has read any.
    pub(crate) fn new(room: usize, rng: Rng) -> Self {
        Self(Rc::new(RefCell::new(Ends {
            inbox: VecDeque::new(),
            is_hung_up: false,
            is_reset: false,
            outbox: Vec::new(),
            room,
            is_readable: false,
            is_writable: false,
            id: None,
            has_ended: false,
            rng,
        })))
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn ends(&self) -> RefMut<'_, Ends> {
        self.0.borrow_mut()
    }

    pub(crate) fn send(&self, bytes: &[u8]) {
        let mut ends = self.ends();
        ends.inbox.extend(bytes);
        ends.is_readable = true;
    }

    /// The other side ends: what it has sent arrives.
    pub(crate) fn hang_up(&self) {
        let mut ends = self.ends();
        ends.is_hung_up = true;
        ends.is_readable = true;
    }

    /// The other side is gone, and what it has sent is lost.
    pub(crate) fn reset(&self) {
        let mut ends = self.ends();
        ends.inbox.clear();
        ends.is_reset = true;
        (ends.is_readable, ends.is_writable) = (true, true);
    }

    /// Reads all that was written, and makes room for so much more.
    pub(crate) fn take(&self, room: usize) -> Vec<u8> {
        let mut ends = self.ends();
        if ends.room == 0 {
            ends.is_writable = true;
        }
        ends.room = room;
        std::mem::take(&mut ends.outbox)
    }

    /// Whether there is something for the server to do.
    pub(crate) fn is_ready(&self) -> bool {
        let ends = self.0.borrow();
        ends.id.is_some() && (ends.is_readable || ends.is_writable)
    }

    pub(crate) fn has_output(&self) -> bool {
        !self.0.borrow().outbox.is_empty()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.0.borrow().has_ended
    }
}

impl Ends {
    /// It is watched, or watched for something else: what is ready already is told again.
    pub(crate) fn arm(&mut self) {
        self.is_readable = self.is_reset || self.is_hung_up || !self.inbox.is_empty();
        self.is_writable = self.room > 0;
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut ends = self.ends();
        if ends.is_reset {
            return Err(ErrorKind::ConnectionReset.into());
        }
        if ends.inbox.is_empty() {
            return match ends.is_hung_up {
                true => Ok(0),
                false => Err(ErrorKind::WouldBlock.into()),
            };
        }
        // What came in two segments is read in two pieces.
        let whole = ends.inbox.len();
        let piece = match ends.rng.u8(..4) {
            0 => ends.rng.usize(1..=whole),
            _ => whole,
        };
        let most = buffer.len().min(piece);
        let read = ends.inbox.read(&mut buffer[..most])?;
        if read < whole || ends.is_hung_up {
            ends.is_readable = true;
        }
        Ok(read)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut ends = self.ends();
        if ends.is_reset {
            return Err(ErrorKind::ConnectionReset.into());
        }
        let taken = bytes.len().min(ends.room);
        if taken == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        if ends.room < usize::MAX {
            ends.room -= taken;
        }
        ends.outbox.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Wire {
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.ends().has_ended = true;
        Ok(())
    }
}
