//! The certificate that the webhook serves, which may change while it runs.

use std::sync::Arc;

use arc_swap::ArcSwap;
#[cfg(test)]
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use x509_parser::prelude::{FromDer, X509Certificate};

/// A certificate chain with its key, which belong together.
#[derive(Debug, Clone)]
pub struct Certificate {
    key: Arc<CertifiedKey>,
    not_after: i64,
}

/// Why a certificate cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The chain is no PEM, or has no certificate.
    #[error("there is no certificate chain in PEM: {0}")]
    Chain(String),
    /// The key is no PEM, or has no private key.
    #[error("there is no private key in PEM: {0}")]
    Key(String),
    /// The key is of a kind that is not known, or of another certificate.
    #[error("the key is not for the certificate: {0}")]
    Together(#[from] rustls::Error),
    /// It is no X.509 certificate.
    #[error("the certificate cannot be read: {0}")]
    X509(String),
}

impl Certificate {
    /// From the texts of two PEM files.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Certificate, CertificateError> {
        let chain = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| CertificateError::Chain(error.to_string()))?;
        let first = chain.first().ok_or_else(|| CertificateError::Chain("it has none".to_owned()))?;
        let not_after = expiry(first)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| CertificateError::Key(error.to_string()))?;
        let key = CertifiedKey::from_der(chain, key, &ring::default_provider())?;
        Ok(Certificate { key: Arc::new(key), not_after })
    }

    /// When it expires, as Unix time.
    pub fn not_after(&self) -> i64 {
        self.not_after
    }
}

/// When a certificate expires, as Unix time.
fn expiry(certificate: &[u8]) -> Result<i64, CertificateError> {
    let (_, certificate) =
        X509Certificate::from_der(certificate).map_err(|error| CertificateError::X509(error.to_string()))?;
    Ok(certificate.validity().not_after.timestamp())
}

/// The certificate that is served at the moment. Connections that are open keep the one that they began with.
#[derive(Debug)]
pub struct Served(ArcSwap<CertifiedKey>);

impl Served {
    /// Begins with this one.
    pub fn new(certificate: &Certificate) -> Served {
        Served(ArcSwap::new(Arc::clone(&certificate.key)))
    }

    /// Serves this one from now on, and says whether it is another one.
    pub fn replace(&self, certificate: &Certificate) -> bool {
        let before = self.0.swap(Arc::clone(&certificate.key));
        before.cert != certificate.key.cert
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// TLS 1.2 and 1.3 for HTTP, with the certificate that is served at the moment.
pub fn server_config(served: Arc<Served>) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(served);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// What a client of the webhook would trust: the certificates of a PEM text.
#[cfg(test)]
pub(crate) fn roots(bundle: &str) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        roots.add(certificate.expect("a certificate")).expect("an authority");
    }
    roots
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, ServerConnection};
    use time::OffsetDateTime;

    use super::*;
    use crate::authority::{Keys, names_of_service};

    fn keys() -> Keys {
        Keys::create(&names_of_service("exectrace-webhook", "exectrace"), OffsetDateTime::now_utc()).expect("keys")
    }

    fn certificate(keys: &Keys) -> Certificate {
        let pair = &keys.serving;
        Certificate::from_pem(pair.certificate.as_bytes(), pair.key.as_bytes()).expect("a certificate")
    }

    fn server(served: &Arc<Served>) -> ServerConnection {
        let config = server_config(Arc::clone(served)).expect("a configuration");
        ServerConnection::new(Arc::new(config)).expect("a connection")
    }

    /// Whether a client that trusts only this authority connects.
    fn connects(served: &Arc<Served>, trusted: &Keys) -> bool {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots(&trusted.bundle()))
            .with_no_client_auth();
        let name = ServerName::try_from("exectrace-webhook.exectrace.svc").expect("a name");
        let mut client = ClientConnection::new(Arc::new(config), name).expect("a connection");
        let mut server = server(served);
        while client.is_handshaking() || server.is_handshaking() {
            let mut sent = Vec::new();
            client.write_tls(&mut sent).expect("memory");
            server.read_tls(&mut sent.as_slice()).expect("memory");
            if server.process_new_packets().is_err() {
                return false;
            }
            let mut answered = Vec::new();
            server.write_tls(&mut answered).expect("memory");
            client.read_tls(&mut answered.as_slice()).expect("memory");
            if client.process_new_packets().is_err() {
                return false;
            }
        }
        true
    }

    #[test]
    fn a_replaced_certificate_is_served_to_who_connects_next() {
        let (old, new) = (keys(), keys());
        let served = Arc::new(Served::new(&certificate(&old)));
        assert!(connects(&served, &old) && !connects(&served, &new));
        assert!(served.replace(&certificate(&new)));
        assert!(connects(&served, &new) && !connects(&served, &old));
        assert!(!served.replace(&certificate(&new)), "it is the same one");
    }

    #[test]
    fn tls_1_1_is_refused() {
        // A ClientHello of TLS 1.1 with one cipher suite and one signature algorithm, which the server could use.
        let mut hello = vec![0x03, 0x02];
        hello.extend([7; 32]);
        hello.extend([0, 0, 2, 0xc0, 0x2b, 1, 0, 0, 8, 0, 13, 0, 4, 0, 2, 4, 3]);
        let length = u8::try_from(hello.len()).expect("short");
        let mut record = vec![22, 0x03, 0x01, 0, length + 4, 1, 0, 0, length];
        record.append(&mut hello);
        let mut server = server(&Arc::new(Served::new(&certificate(&keys()))));
        server.read_tls(&mut record.as_slice()).expect("memory");
        assert!(server.process_new_packets().is_err());
        let mut alert = Vec::new();
        server.write_tls(&mut alert).expect("memory");
        assert_eq!((alert[0], alert.last()), (21, Some(&70)), "an alert that says protocol_version: {alert:?}");
    }

    #[test]
    fn what_cannot_be_served_says_why() {
        let (one, other) = (keys().serving, keys().serving);
        let error = |chain: &str, key: &str| Certificate::from_pem(chain.as_bytes(), key.as_bytes()).expect_err(chain);
        assert!(matches!(error(&one.certificate, &other.key), CertificateError::Together(_)));
        assert!(matches!(error("", &one.key), CertificateError::Chain(_)));
        assert!(matches!(error(&one.key, &one.key), CertificateError::Chain(_)));
        assert!(matches!(error(&one.certificate, ""), CertificateError::Key(_)));
        let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(error(no_certificate, &one.key), CertificateError::X509(_)));
    }
}
