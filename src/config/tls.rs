//! The files of TLS, as an operator names them. They are read when the server is bound, and at SIGHUP.

use std::path::PathBuf;

/// The files that listeners for TLS need, in PEM (RFC 7468).
///
/// ```
/// use line_chat::{Config, TlsFiles};
///
/// let config = Config {
///     listen: vec!["tls:0.0.0.0:6697".parse()?],
///     tls: Some(TlsFiles {
///         cert_file: "/etc/line-chat/fullchain.pem".into(),
///         key_file: "/etc/line-chat/privkey.pem".into(),
///         client_ca_file: None,
///     }),
///     ..Config::default()
/// };
/// assert_eq!(config.check(), Ok(()));
/// # Ok::<(), line_chat::ListenAddrError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, and behind it those that lead to its authority.
    pub cert_file: PathBuf,
    /// The private key of that certificate. ECDSA with P-256 is fastest: a handshake takes a quarter of
    /// the time that it takes with RSA.
    pub key_file: PathBuf,
    /// The authorities of clients' certificates. A client that has a certificate of theirs is not asked
    /// for the password of the room; where there is no password, every client needs one.
    pub client_ca_file: Option<PathBuf>,
}
