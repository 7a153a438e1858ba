//! Whom a sink over the network trusts: the certificates of this machine, and Mozilla's.
//!
//! In an image that holds nothing but one program there are no certificates; so Mozilla's are built in.

use std::fmt::Write;
use std::path::Path;

/// Where distributions keep their bundle; `SSL_CERT_FILE` names another.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// All certificates that are trusted, in PEM.
pub(crate) fn trusted() -> String {
    let named = std::env::var_os("SSL_CERT_FILE");
    let files = named.iter().map(Path::new).chain(BUNDLES.iter().map(Path::new));
    let mut pem = files.filter_map(|file| std::fs::read_to_string(file).ok()).next().unwrap_or_default();
    for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        pem.push_str("\n-----BEGIN CERTIFICATE-----\n");
        let text = base64(certificate);
        for line in text.as_bytes().chunks(64) {
            let _ = writeln!(pem, "{}", String::from_utf8_lossy(line));
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    pem
}

/// Says which library does the arithmetic, to who leaves that open.
#[cfg(feature = "otlp")]
pub(crate) fn use_ring() {
    // An error says that somebody has said so before.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_in_is_trusted() {
        let pem = trusted();
        let begins = pem.matches("-----BEGIN CERTIFICATE-----").count();
        assert!(begins >= webpki_root_certs::TLS_SERVER_ROOT_CERTS.len());
        assert_eq!(begins, pem.matches("-----END CERTIFICATE-----").count());
    }
}
