//! The certificate of servers that are measured with TLS, with an ECDSA key, made anew for each run.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use line_chat::TlsFiles;
use rcgen::CertifiedKey;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

/// The name in it.
const NAME: &str = "chat.example";

/// The files of a server, and what its clients trust.
#[derive(Debug)]
pub(crate) struct Certificate {
    pub(crate) cert_file: PathBuf,
    pub(crate) key_file: PathBuf,
    clients: Arc<ClientConfig>,
}

/// The one of this run.
pub(crate) fn of_this_run() -> &'static Certificate {
    static CERTIFICATE: OnceLock<Certificate> = OnceLock::new();
    CERTIFICATE.get_or_init(Certificate::make)
}

impl Certificate {
    fn make() -> Self {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]);
        let CertifiedKey { cert, signing_key } = made.expect("a certificate");
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let cert_file = folder.join("bench-cert.pem");
        let key_file = folder.join("bench-key.pem");
        fs::write(&cert_file, cert.pem()).expect("a file");
        fs::write(&key_file, signing_key.serialize_pem()).expect("a file");
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).expect("a certificate");
        let clients = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            cert_file,
            key_file,
            clients: Arc::new(clients),
        }
    }

    /// One end of a connection to a server that has it.
    pub(crate) fn client(&self) -> ClientConnection {
        let name = ServerName::try_from(NAME).expect("a name");
        ClientConnection::new(Arc::clone(&self.clients), name).expect("a client")
    }

    pub(crate) fn files(&self) -> TlsFiles {
        TlsFiles {
            cert_file: self.cert_file.clone(),
            key_file: self.key_file.clone(),
            client_ca_file: None,
        }
    }
}
