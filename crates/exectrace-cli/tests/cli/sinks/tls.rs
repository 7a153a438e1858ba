//! Whom a sink over TLS believes: who has a certificate that leads to one that is trusted.

use std::io::{BufReader, Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::Shipping;
use super::front::read_request;
use crate::folder::Folder;
use crate::program::Ended;

/// A collector that takes everything, by TLS.
struct Secure {
    port: u16,
    taken: Arc<AtomicUsize>,
    /// The certificate that leads to its own.
    authority: PathBuf,
}

fn secure(folder: &Folder) -> Secure {
    let authority_key = KeyPair::generate().expect("a key");
    let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = authority.self_signed(&authority_key).expect("a certificate");
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().expect("a key");
    let own = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
    let own = own.signed_by(&key, &issuer).expect("a certificate");
    let secret = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![own.der().clone()], secret)
        .expect("a certificate");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let taken = Arc::new(AtomicUsize::new(0));
    let (count, config) = (Arc::clone(&taken), Arc::new(config));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = ServerConnection::new(Arc::clone(&config)).expect("a connection");
            // Who does not believe us hangs up.
            if take(StreamOwned::new(connection, stream)).is_ok() {
                count.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    Secure { port, taken, authority: folder.file("authority.pem", certificate.pem()) }
}

fn take(stream: impl Read + Write) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    read_request(&mut reader)?.ok_or(std::io::ErrorKind::UnexpectedEof)?;
    reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    reader.get_mut().flush()
}

#[test]
fn root_a_collector_is_believed_by_its_certificate_only() {
    let folder = Folder::new();
    let server = secure(&folder);
    let shipping = Shipping { folder: folder.path(), log: None };
    let send = |authority: Option<&PathBuf>, host: &str| {
        let mut run = shipping.to("otlp");
        run.arg("--otlp-endpoint").arg(format!("https://{host}:{}", server.port)).args(["--", "/bin/true"]);
        if let Some(authority) = authority {
            run.env("SSL_CERT_FILE", authority);
        }
        let ended = Ended::of(&mut run);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.stderr
    };
    let unknown = send(None, "localhost");
    assert!(unknown.contains("UnknownIssuer") && unknown.contains("lines wait in the spool"), "{unknown}");
    let other_name = send(Some(&server.authority), "127.0.0.1");
    assert!(other_name.contains("certificate") && other_name.contains("lines wait in the spool"), "{other_name}");
    assert_eq!(server.taken.load(Ordering::SeqCst), 0);
    let known = send(Some(&server.authority), "localhost");
    assert!(!known.contains("lines wait in the spool"), "{known}");
    assert!(server.taken.load(Ordering::SeqCst) >= 1);
}
