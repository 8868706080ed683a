//! Several servers, one room: what is said anywhere is an entry of one log, and every server does what the
//! log says, in its order. The log is kept by an engine, which is reached elsewhere: here are no sockets, no
//! clock and no members.

mod nodes;
mod publisher;
mod sequencer;

/// What the relay wants of the engine.
pub(crate) trait Engine {
    /// Appends a batch to the log. Whether it is stored is told only if an answer is wanted.
    fn publish(&mut self, batch: &[u8], wants_answer: bool);

    /// Asks for an entry of the log.
    fn fetch(&mut self, sequence: u64);

    /// Asks what the log holds.
    fn ask_info(&mut self);
}
