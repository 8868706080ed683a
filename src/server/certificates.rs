//! The certificate of listeners for TLS: [`Certificates`] reads it and its key at the start and again at
//! SIGHUP, and makes of both what a handshake needs. A pair that does not match is an error that names its
//! files, and the old pair stays in use; so do the certificates of connections that are open.
//!
//! There are no tickets and no sessions to resume: with ECDSA they would save 7 % of a handshake, and cost
//! memory for each client. The protocol's name in ALPN keeps browsers out, so no page can make one talk to
//! the room (ALPACA, USENIX Security 2021). The provider of cryptography is handed to rustls and not
//! installed for the process, which belongs to the embedding program.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::config::tls::TlsFiles;
use crate::events::Event;
use crate::server::transport::Transport;
use crate::server::transport::tls::Tls;
use crate::session::secrets::{Flaw, Source, named, read_secret};

/// What clients that ask for a protocol have to ask for (RFC 7301).
const ALPN: &[u8] = b"line-chat";

/// How long before its end a certificate is warned of.
const ENDS_SOON: Duration = Duration::from_secs(14 * DAY);

const DAY: u64 = 24 * 60 * 60;

/// The object identifier of an RSA key (RFC 8017, appendix A.1).
const RSA: &str = "1.2.840.113549.1.1.1";

/// The certificate in use.
#[derive(Debug)]
pub(super) struct Certificates {
    config: Arc<ServerConfig>,
    key: Source,
    certificate: Facts,
    files: TlsFiles,
    /// Whether clients without a certificate are let in, because they are asked for a password.
    asks_password: bool,
}

/// What its owner should know of a certificate.
#[derive(Debug, Clone, Copy)]
struct Facts {
    ends: SystemTime,
    is_rsa: bool,
}

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    /// The text names the file and says what to do.
    pub(super) fn read(files: TlsFiles, asks_password: bool) -> io::Result<Self> {
        Self::read_files(files, asks_password, true)
    }

    /// Reads the files again, unless the key came from a FIFO.
    ///
    /// # Errors
    /// The text names the file and says what to do.
    pub(super) fn read_again(&self) -> io::Result<Option<Self>> {
        if self.key.is_fifo {
            return Ok(None);
        }
        Self::read_files(self.files.clone(), self.asks_password, false).map(Some)
    }

    fn read_files(files: TlsFiles, asks_password: bool, wait: bool) -> io::Result<Self> {
        let chain = read_certificates(&files.cert_file, wait)?;
        let (pem, key_source) = read_secret(&files.key_file, wait)?;
        let key = PrivateKeyDer::from_pem_slice(&pem)
            .map_err(|error| pem_error(&files.key_file, "private key", &error))?;
        let first = chain.first().map(facts).transpose();
        let certificate = first.ok().flatten().ok_or_else(|| {
            named(
                &files.cert_file,
                "its first certificate is not one of X.509",
            )
        })?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let clients = files
            .client_ca_file
            .as_deref()
            .map(|path| client_verifier(path, asks_password, wait, &provider))
            .transpose()?;
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(io::Error::other)?;
        let builder = match clients {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let config = builder.with_single_cert(chain, key);
        let mut config = config.map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                let cert = files.cert_file.display();
                named(
                    &files.key_file,
                    &format!("it is not the key of the certificate in {cert}"),
                )
            }
            error => named(&files.key_file, &error.to_string()),
        })?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self {
            config: Arc::new(config),
            key: key_source,
            certificate,
            files,
            asks_password,
        })
    }

    /// Wraps a connection that was accepted.
    pub(super) fn accepted(&self, stream: Transport) -> Transport {
        Transport::Tls(Box::new(Tls::accepted(stream, Arc::clone(&self.config))))
    }

    /// Tells of what its owner should know.
    pub(super) fn report(&self, now: SystemTime, mut report: impl FnMut(Event<'_>)) {
        let path = self.key.path.as_path();
        for flaw in &self.key.flaws {
            match flaw {
                Flaw::Readable => report(Event::SecretExposed { path }),
                Flaw::Writable => report(Event::SecretWritable { path }),
                Flaw::Escapes => {}
            }
        }
        if self.certificate.is_rsa {
            report(Event::RsaKey { path });
        }
        let left = self.certificate.ends.duration_since(now);
        let left = left.unwrap_or(Duration::ZERO);
        if left < ENDS_SOON {
            let path = self.files.cert_file.as_path();
            let days = left.as_secs().div_ceil(DAY);
            report(Event::CertificateEnds { path, days });
        }
    }
}

/// Reads certificates, one at least.
fn read_certificates(path: &Path, wait: bool) -> io::Result<Vec<CertificateDer<'static>>> {
    let (pem, _) = read_secret(path, wait)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => {
            Err(pem_error(path, "certificate", &pem::Error::NoItemsFound))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(pem_error(path, "certificate", &error)),
    }
}

/// What checks the certificates of clients.
fn client_verifier(
    path: &Path,
    asks_password: bool,
    wait: bool,
    provider: &Arc<rustls::crypto::CryptoProvider>,
) -> io::Result<Arc<dyn ClientCertVerifier>> {
    let mut authorities = RootCertStore::empty();
    for certificate in read_certificates(path, wait)? {
        let added = authorities.add(certificate);
        added.map_err(|error| named(path, &error.to_string()))?;
    }
    let authorities = Arc::new(authorities);
    let builder = WebPkiClientVerifier::builder_with_provider(authorities, Arc::clone(provider));
    let builder = match asks_password {
        true => builder.allow_unauthenticated(),
        false => builder,
    };
    builder
        .build()
        .map_err(|error| named(path, &error.to_string()))
}

fn pem_error(path: &Path, what: &str, error: &pem::Error) -> io::Error {
    match error {
        pem::Error::NoItemsFound => {
            named(path, &format!("it holds no {what} in PEM: write one there"))
        }
        error => named(
            path,
            &format!("it holds no {what} that can be read: {error}"),
        ),
    }
}

fn facts(certificate: &CertificateDer<'_>) -> Result<Facts, x509_cert::der::Error> {
    let certificate = Certificate::from_der(certificate)?;
    let signed = certificate.tbs_certificate();
    Ok(Facts {
        ends: signed.validity().not_after.to_system_time(),
        is_rsa: signed.subject_public_key_info().algorithm.oid.to_string() == RSA,
    })
}
