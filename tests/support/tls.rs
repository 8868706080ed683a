//! Certificates that a test makes for itself, and both sides of TLS with them.

use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::NoServerSessionStorage;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};

/// The name in a certificate.
pub(crate) const NAME: &str = "chat.example";

/// A certificate and its key, in PEM.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Pair {
    /// A certificate that vouches for itself, with an ECDSA key.
    pub(crate) fn self_signed() -> Self {
        Self::with(|_| {})
    }

    /// A certificate that is changed by `change` before it is signed with its own key.
    pub(crate) fn with(change: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([NAME.to_owned()]);
        let mut params = params.expect("a name");
        change(&mut params);
        Self {
            cert: params.self_signed(&key).expect("a certificate").pem(),
            key: key.serialize_pem(),
        }
    }

    fn chain(&self) -> Vec<CertificateDer<'static>> {
        let cert = CertificateDer::from_pem_slice(self.cert.as_bytes());
        vec![cert.expect("a certificate")]
    }

    fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("a key")
    }

    /// What a server needs that shows this certificate.
    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(self.chain(), self.private_key());
        let mut config = config.expect("a pair");
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Arc::new(config)
    }

    /// A client that trusts this certificate alone, and shows `own` if it is asked for one.
    pub(crate) fn client(&self, own: Option<&Self>) -> ClientConnection {
        let mut roots = RootCertStore::empty();
        for certificate in self.chain() {
            roots.add(certificate).expect("a certificate");
        }
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let config = match own {
            Some(own) => config
                .with_client_auth_cert(own.chain(), own.private_key())
                .expect("a pair"),
            None => config.with_no_client_auth(),
        };
        let name = ServerName::try_from(NAME).expect("a name");
        ClientConnection::new(Arc::new(config), name).expect("a client")
    }
}
