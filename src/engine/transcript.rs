//! The transcript: what a member without commands sees, with the time before each line, written to a
//! stream that is nobody's. At the end of a turn each line of the batch is stamped and queued for it, so
//! without a transcript a turn costs one look at an empty option, and no line is formatted differently
//! for anybody else. The queue is one like others, with the rule `skip`: a writer that does not keep up
//! is told how many lines it did not get.
//!
//! A writer that ends is replaced by whoever has started it. What was queued for it, and what is said
//! until then, is counted and told to the next one as skipped. What the kernel had taken and the writer
//! had not read is lost without a count; and if that ends within a notice of skipped lines, the notice counts
//! as one line.

use std::time::SystemTime;

use jiff::Timestamp;

use crate::client_id::ClientId;
use crate::config::addr::Eol;
use crate::conn::overflow::{Overflow, SkipLevel, content_of};
use crate::conn::stream::Stream;
use crate::engine::{Engine, Registry};
use crate::events::{Event, Observer};
use crate::peer::Peer;
use crate::protocol::close_reason::CloseReason;
use crate::session::{Session, Watch};

/// The connection to the writer of the transcript.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    writer: Option<ClientId>,
    /// Lines that no writer was given, and that no writer was told of.
    lost_lines: u64,
}

impl<S: Stream, O: Observer> Engine<S, O> {
    /// Writes what is said from now on to this stream, if the config says that the room is recorded. A
    /// transcript that is written already goes on as well until its stream ends, but gets nothing more.
    pub fn record(
        &mut self,
        stream: S,
        peer: impl Into<Peer>,
        now: std::time::Instant,
        registry: &mut impl Registry<S>,
    ) {
        self.set_now(now);
        let peer = peer.into();
        let id = ClientId::from_index(self.clients.vacant_key());
        self.admission.enter_own(id);
        self.open(stream, peer, Session::Transcript, Eol::Lf, None, registry);
        let Some(client) = self.clients.get_mut(id.index()) else {
            return;
        };
        let lost_lines = std::mem::take(&mut self.transcript.lost_lines);
        client.io.out.set_overflow(Overflow::Skip {
            untold: lost_lines,
            level: SkipLevel::Nothing,
        });
        self.transcript.writer = Some(id);
        self.watch()
            .emit(|| Event::TranscriptBegun { id, lost_lines });
    }

    /// Whether somebody writes the transcript.
    pub fn is_recording(&self) -> bool {
        self.transcript.writer.is_some()
    }

    /// Whether a transcript is to be written.
    pub(crate) fn is_recorded(&self) -> bool {
        self.room.is_recorded()
    }

    /// Gives the transcript what was said in this turn.
    #[inline]
    pub(super) fn record_turn(&mut self, registry: &mut impl Registry<S>) {
        if self.room.is_recorded() && self.room.batch_bytes() > 0 {
            self.record_batch(registry);
        }
    }

    #[cold]
    fn record_batch(&mut self, registry: &mut impl Registry<S>) {
        let writer = self.transcript.writer;
        let client = writer.and_then(|id| self.clients.get_mut(id.index()));
        // The queue of one whose stream is broken has been counted, and takes nothing more.
        let client = client.filter(|client| !client.io.is_write_closed());
        let (Some(id), Some(client)) = (writer, client) else {
            let lost = &mut self.transcript.lost_lines;
            self.room.record(|_, _, _| *lost = lost.saturating_add(1));
            return;
        };
        let mut stamped = stamp((self.env.wall_clock)()).into_bytes();
        let stamp_bytes = stamped.len();
        let (out, env) = (&mut client.io.out, &mut self.env);
        let mut watch = Watch::new(&mut self.observer, env.instant);
        self.room.record(|line, kind, class| {
            stamped.truncate(stamp_bytes);
            stamped.extend_from_slice(line);
            out.push(&stamped, content_of(kind, class), env);
            watch.emit_skipped(id, env);
        });
        self.flush_one(id, registry);
        self.handle_failed();
        self.settle();
    }

    /// A writer of the transcript ends: what is queued for it is lost.
    pub(super) fn forget_writer(&mut self, id: ClientId, reason: CloseReason) {
        self.count_lost(id);
        if self.transcript.writer == Some(id) {
            self.transcript.writer = None;
        }
        let lost_lines = self.transcript.lost_lines;
        self.watch()
            .emit(|| Event::TranscriptEnded { reason, lost_lines });
    }

    /// Counts what is queued for a transcript that takes nothing any more.
    pub(super) fn count_lost(&mut self, id: ClientId) {
        if let Some(client) = self.clients.get(id.index())
            && matches!(client.session, Session::Transcript)
        {
            let lost = client.io.out.lines_unwritten();
            self.transcript.lost_lines = self.transcript.lost_lines.saturating_add(lost);
        }
    }
}

/// The time of day in UTC as it stands before a line, to the millisecond (RFC 3339).
pub(super) fn stamp(time: SystemTime) -> String {
    let time = Timestamp::try_from(time).unwrap_or_default();
    format!("{time:.3} ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_stamp_has_three_digits_of_the_second_always() {
        for (millis, expected) in [
            (0, "1970-01-01T00:00:00.000Z "),
            (1_795_724_103_120, "2026-11-26T20:15:03.120Z "),
        ] {
            let time = SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
            assert_eq!(stamp(time), expected);
        }
    }
}
