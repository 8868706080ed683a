//! How the server stands, in numbers: what is counted as it happens, and what is counted here because it
//! takes a look at every client. So it costs nothing until somebody asks.

use crate::conn::stream::Stream;
use crate::engine::Engine;
use crate::events::Observer;
use crate::metrics::{AcceptFailure, Metrics, Survey};

impl<S: Stream, O: Observer> Engine<S, O> {
    /// Everything that is counted here; turns are the poll loop's.
    pub fn metrics(&self) -> Metrics {
        let queues = self.clients.iter().map(|(_, it)| it.io.out.len_bytes());
        let readers = &self.pressure;
        Metrics {
            clients: self.clients.len(),
            members: self.room.len(),
            people: self.room.people(),
            http_connections: self.admission.http(),
            lagging: readers.lagging,
            stalled: readers.stalled,
            holding_up: readers.holding_up,
            longest_queue_bytes: queues.max().unwrap_or(0),
            buffer_bytes: self.env.memory_bytes(),
            log_lines_dropped: (self.env.log_lines_dropped)(),
            ..self.env.metrics
        }
    }

    /// Counts a connection that could not be accepted.
    pub(crate) fn count_accept_failure(&mut self, failure: AcceptFailure) {
        self.env.metrics.count_accept_failure(failure);
    }

    /// Puts into reach of the sessions what takes a look at every client.
    pub(super) fn survey(&mut self) {
        self.env.survey = Some(Survey {
            metrics: self.metrics(),
        });
    }
}
