//! How the server stands, in numbers: what is counted as it happens, and what is counted here because it
//! takes a look at every client. So it costs nothing until somebody asks.

use crate::client_id::ClientId;
use crate::conn::stream::Stream;
use crate::engine::{Client, Engine};
use crate::events::Observer;
use crate::metrics::{AcceptFailure, Metrics, SlowReader, Survey};
use crate::time::moment::Moment;

impl<S: Stream, O: Observer> Engine<S, O> {
    /// Everything that is counted here; turns are the poll loop's.
    pub fn metrics(&self) -> Metrics {
        let queues = self.clients.iter().map(|(_, it)| it.io.out.len_bytes());
        let readers = &self.pressure;
        Metrics {
            clients: self.clients(),
            members: self.room.len(),
            people: self.room.people(),
            http_connections: self.admission.http(),
            lagging: readers.lagging,
            stalled: readers.stalled,
            holding_up: readers.holding_up,
            longest_queue_bytes: queues.max().unwrap_or(0),
            buffer_bytes: self.env.memory_bytes(),
            log_lines_dropped: (self.env.log_lines_dropped)(),
            #[cfg(feature = "relay")]
            relay: self.relay_metrics(),
            ..self.env.metrics
        }
    }

    /// Counts a connection that could not be accepted.
    pub(crate) fn count_accept_failure(&mut self, failure: AcceptFailure) {
        self.env.metrics.count_accept_failure(failure);
    }

    /// Puts into reach of the sessions what takes a look at every client.
    pub(super) fn survey(&mut self) {
        let mut slowest: Vec<SlowReader> = self
            .clients
            .iter()
            .filter_map(|(id, client)| slow_reader(ClientId::from_index(id), client, self.env.now))
            .collect();
        slowest.sort_unstable_by_key(|it| std::cmp::Reverse((it.queued_bytes, it.blocked_for)));
        slowest.truncate(Survey::MOST_READERS);
        self.env.survey = Some(Survey {
            metrics: self.metrics(),
            slowest,
            uptime: self.env.now.saturating_since(Moment::START),
        });
    }
}

/// What there is to say of a member whose stream does not take all that it is given.
fn slow_reader<S: Stream>(id: ClientId, client: &Client<S>, now: Moment) -> Option<SlowReader> {
    let since = client.io.out.blocked_since()?;
    client.session.is_member().then(|| SlowReader {
        id,
        queued_bytes: client.io.out.len_bytes(),
        blocked_for: now.saturating_since(since),
    })
}
