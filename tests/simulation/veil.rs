//! A stream inside the socket that uses every freedom that the contract of a stream has, as TLS would:
//! [`Veil`] has a handshake of two steps, keeps records of input back until they are whole, hands decoded
//! input out in pieces of its own, takes output that it cannot send yet, makes output of its own, and
//! needs two steps to end.
//!
//! It decodes nothing: the bytes of the peer stay what they are, but for the two of the handshake. Only
//! *when* they come, and what no event tells of, is different.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read};

use crate::socket::Socket;
use crate::tally::{Case, Cases};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Handshake {
    /// The peer's first byte has not come.
    WaitHello,
    /// Our answer has to be sent before anything else is read.
    OwesFlight,
    /// The peer's second byte has not come.
    WaitFinished,
    Done,
    /// Our half was shut down before that.
    GivenUp,
}

/// What our side of the handshake has, in bytes.
const FLIGHT: [u8; 5] = [2; 5];

/// What the peer sends in the handshake, before anything else.
pub(crate) const HELLO: &[u8] = b"HF";

/// How much of its output lies in one record at most.
const RECORD_BYTES: usize = 48;

#[derive(Debug)]
pub(crate) struct Veil {
    handshake: Handshake,
    /// A record that has not come to its end.
    partial: VecDeque<u8>,
    /// Input that no event tells of.
    decoded: VecDeque<u8>,
    /// The end of the stream was seen behind it, or an error.
    end: Option<io::Result<()>>,
    ended: bool,
    /// Taken or made, and not sent.
    owed: VecDeque<u8>,
    /// How many records it takes although it cannot send them.
    most_unsent: usize,
    /// It does nothing by chance.
    is_calm: bool,
    /// The end of our half was announced once.
    announced: bool,
    pub(crate) cases: Cases,
}

impl Veil {
    pub(crate) fn new(most_unsent: usize) -> Self {
        Self {
            handshake: Handshake::WaitHello,
            partial: VecDeque::new(),
            decoded: VecDeque::new(),
            end: None,
            ended: false,
            owed: VecDeque::new(),
            most_unsent,
            is_calm: false,
            announced: false,
            cases: Cases::default(),
        }
    }

    /// One that hands everything on as soon as it can, for scenes that count turns. It still holds input,
    /// makes records, and ends in two steps.
    pub(crate) fn calm() -> Self {
        Self {
            is_calm: true,
            ..Self::new(0)
        }
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        !matches!(self.handshake, Handshake::Done | Handshake::GivenUp)
    }

    /// Whether it reads nothing before its own output is gone.
    pub(crate) fn waits_for_output(&self) -> bool {
        self.handshake == Handshake::OwesFlight
    }

    /// Whether the end of our half was announced.
    pub(crate) fn is_ending(&self) -> bool {
        self.announced
    }

    pub(crate) fn owes_output(&self) -> bool {
        !self.owed.is_empty()
    }

    pub(crate) fn holds_input(&self) -> bool {
        !self.decoded.is_empty() || (self.end.is_some() && !self.ended)
    }

    pub(crate) fn announces_end(&self) -> bool {
        self.handshake == Handshake::Done
    }

    pub(crate) fn has_partial(&self) -> bool {
        !self.partial.is_empty()
    }

    pub(crate) fn read(&mut self, socket: &mut Socket, buffer: &mut [u8]) -> io::Result<usize> {
        if self.handshake == Handshake::GivenUp {
            return socket.receive(buffer);
        }
        while self.handshake != Handshake::Done {
            if self.handshake == Handshake::OwesFlight {
                // Whatever stands in the kernel.
                self.cases.count(Case::ReadWaitsForOutput);
                return Err(ErrorKind::WouldBlock.into());
            }
            if socket.receive(&mut [0])? == 0 {
                self.ended = true;
                return Ok(0);
            }
            self.handshake = match self.handshake {
                Handshake::WaitHello => {
                    self.owed.extend(FLIGHT);
                    Handshake::OwesFlight
                }
                _ => Handshake::Done,
            };
        }
        self.fetch(socket);
        if !self.is_calm && !self.announced && socket.rng.u8(..) < 4 {
            self.cases.count(Case::ReadMadeItOwe);
            self.owed.push_back(3);
        }
        if !self.is_calm && self.holds_input() && socket.rng.u8(..) < 8 {
            self.cases.count(Case::BlockedWithInput);
            return Err(ErrorKind::WouldBlock.into());
        }
        if self.decoded.is_empty() {
            return match self.end.take() {
                Some(Ok(())) => {
                    self.ended = true;
                    Ok(0)
                }
                Some(Err(error)) => Err(error),
                None => Err(ErrorKind::WouldBlock.into()),
            };
        }
        let most = buffer.len().min(self.decoded.len());
        let most = match socket.rng.u8(0..3) {
            0 if !self.is_calm => socket.rng.usize(1..=most),
            _ => most,
        };
        self.decoded.read_exact(&mut buffer[..most])?;
        if most < buffer.len() {
            let held = self.holds_input();
            self.cases.count_if(Case::InputHeld, held);
            let is_end = self.decoded.is_empty() && self.end.is_some();
            self.cases.count_if(Case::EndBehindInput, is_end);
        }
        Ok(most)
    }

    /// Takes all that the kernel has, so that no event tells of it any more.
    fn fetch(&mut self, socket: &mut Socket) {
        if self.end.is_some() {
            return;
        }
        let mut any = false;
        let mut chunk = [0; 4096];
        loop {
            match socket.receive(&mut chunk) {
                Ok(0) => {
                    self.end = Some(Ok(()));
                    break;
                }
                Ok(n) => {
                    any = true;
                    self.partial.extend(&chunk[..n]);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => {
                    self.end = Some(Err(error));
                    break;
                }
            }
        }
        let mut whole = self.partial.len();
        if !self.is_calm && self.end.is_none() && any && socket.rng.u8(..) < 24 {
            // The rest of the record comes with another event.
            whole = socket.rng.usize(..whole);
            socket.arm();
            self.cases.count(Case::RecordKept);
        }
        match whole == self.partial.len() {
            true if self.decoded.is_empty() => std::mem::swap(&mut self.decoded, &mut self.partial),
            _ => self.decoded.extend(self.partial.drain(..whole)),
        }
    }

    pub(crate) fn write(&mut self, socket: &mut Socket, bytes: &[u8]) -> io::Result<usize> {
        let is_done = self.handshake == Handshake::Done;
        assert!(is_done, "written to before its handshake was over");
        let mut accepted = 0;
        let mut unsent = 0;
        loop {
            match self.send(socket) {
                Ok(()) => unsent = 0,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    unsent += 1;
                    if unsent > self.most_unsent {
                        break;
                    }
                }
                Err(error) => return Err(error),
            }
            if accepted == bytes.len() {
                break;
            }
            let record = &bytes[accepted..(accepted + RECORD_BYTES).min(bytes.len())];
            self.owed.push_back(0);
            self.owed.extend(record);
            accepted += record.len();
        }
        if accepted == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let is_all = accepted == bytes.len();
        let owes_behind_all = is_all && !self.owed.is_empty();
        self.cases
            .count_if(Case::OwesWithEmptyQueue, owes_behind_all);
        Ok(accepted)
    }

    /// Sends what it owes.
    pub(crate) fn send(&mut self, socket: &mut Socket) -> io::Result<()> {
        while !self.owed.is_empty() {
            match socket.send(self.owed.make_contiguous()) {
                Ok(sent) => drop(self.owed.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    let is_broken = error.kind() != ErrorKind::WouldBlock;
                    self.cases.count_if(Case::BrokeWhileOwing, is_broken);
                    return Err(error);
                }
            }
        }
        if self.handshake == Handshake::OwesFlight {
            self.handshake = Handshake::WaitFinished;
        }
        Ok(())
    }

    /// Whether our half may be shut down: the end is announced once before.
    pub(crate) fn announce_end(&mut self, socket: &mut Socket) -> io::Result<()> {
        if self.is_handshaking() {
            self.handshake = Handshake::GivenUp;
        }
        if self.handshake == Handshake::GivenUp || self.announced {
            return Ok(());
        }
        self.announced = true;
        self.cases.count(Case::TwoStepsToEnd);
        if socket.rng.bool() {
            self.owed.push_back(1);
        }
        socket.arm();
        Err(ErrorKind::WouldBlock.into())
    }
}
