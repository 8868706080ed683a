//! In place of `certificates.rs` where the program was built without TLS: there are none.

use std::io;
use std::time::SystemTime;

use crate::config::tls::TlsFiles;
use crate::events::Event;
use crate::server::transport::Transport;

/// None.
#[derive(Debug)]
pub(super) enum Certificates {}

impl Certificates {
    /// Fails.
    ///
    /// # Errors
    /// Always.
    pub(super) fn read(_: TlsFiles, _: bool) -> io::Result<Self> {
        let text = "the program was built without TLS (feature \"tls\"): name no certificate";
        Err(io::Error::new(io::ErrorKind::Unsupported, text))
    }

    pub(super) fn read_again(&self) -> io::Result<Option<Self>> {
        match *self {}
    }

    pub(super) fn accepted(&self, _: Transport) -> Transport {
        match *self {}
    }

    pub(super) fn report(&self, _: SystemTime, _: impl FnMut(Event<'_>)) {
        match *self {}
    }
}
