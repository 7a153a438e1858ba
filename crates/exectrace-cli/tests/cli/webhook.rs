//! `exectrace webhook` without a cluster: questions over TLS, what may change while it runs, and how it ends.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use exectrace_api_server_fixture::{ApiServer, Fault, How};
use exectrace_k8s::keeper::LEASE;
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cluster::{namespace, node, switch, workspace};
use crate::program::{Ended, PATIENCE, Program, exectrace};

/// The name in the certificates.
const NAME: &str = "exectrace-webhook.exectrace.svc";

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A folder with a certificate and settings, as a pod has them mounted.
struct Files {
    folder: TempDir,
    trusted: CertificateDer<'static>,
}

impl Files {
    fn new() -> Files {
        let folder = tempfile::tempdir().expect("a folder");
        let trusted = write_certificate(folder.path());
        fs::write(folder.path().join("settings.yaml"), "image: example.com/exectrace:1\n").expect("a file");
        Files { folder, trusted }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        write(&self.path(name), text);
    }

    fn command(&self) -> Command {
        let mut command = exectrace(["webhook", "--listen", "127.0.0.1:0", "--health", "127.0.0.1:0", "--drain", "0s"]);
        for (flag, name) in [("--tls-cert", "tls.crt"), ("--tls-key", "tls.key"), ("--settings", "settings.yaml")] {
            command.arg(flag).arg(self.path(name));
        }
        command
    }
}

/// Puts a file there whole, as Kubernetes does: the webhook may look at any moment.
fn write(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).expect("a file");
    fs::rename(&new, path).expect("a file");
}

/// Writes a new certificate and its key, and returns it, since it signs itself.
fn write_certificate(folder: &Path) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key }: CertifiedKey<KeyPair> =
        generate_simple_self_signed([NAME.to_owned()]).expect("a certificate");
    write(&folder.join("tls.crt"), &cert.pem());
    write(&folder.join("tls.key"), &signing_key.serialize_pem());
    cert.der().clone()
}

/// A webhook that listens.
struct Webhook {
    program: Program,
    address: SocketAddr,
    health: SocketAddr,
}

impl Webhook {
    #[track_caller]
    fn start(files: &Files) -> Webhook {
        Webhook::start_as(&mut files.command())
    }

    #[track_caller]
    fn start_as(command: &mut Command) -> Webhook {
        let mut program = Program::start(command);
        let mut address_of = |words: &str| {
            let message = program.wait_for_message(words);
            message.field("address").as_str().expect("an address").parse().expect("an address")
        };
        let health = address_of("listening for who asks for health");
        let address = address_of("listening for the API server");
        Webhook { program, address, health }
    }

    fn connect(&self, trusted: &CertificateDer<'static>) -> Tls {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.clone()).expect("a certificate");
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(NAME).expect("a name");
        let client = ClientConnection::new(Arc::new(config), name).expect("a client");
        StreamOwned::new(client, connect(self.address))
    }

    #[track_caller]
    fn post(&self, trusted: &CertificateDer<'static>, question: &str) -> Answer {
        let mut tls = self.connect(trusted);
        tls.write_all(head(question.len(), "application/json").as_bytes()).expect("a server that reads");
        tls.write_all(question.as_bytes()).expect("a server that reads");
        answer(&mut tls)
    }

    /// The response to a question about a pod.
    #[track_caller]
    fn ask(&self, trusted: &CertificateDer<'static>) -> Value {
        let answer = self.post(trusted, &question());
        assert_eq!(answer.status, 200, "{}", answer.body);
        serde_json::from_str::<Value>(&answer.body).expect("JSON")["response"].take()
    }

    #[track_caller]
    fn get(&self, path: &str) -> Answer {
        let mut stream = connect(self.health);
        let request = format!("GET {path} HTTP/1.1\r\nHost: webhook\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("a server that reads");
        answer(&mut stream)
    }

    /// Ends as asked.
    #[track_caller]
    fn stop(self) {
        let (_, stopped) = self.program.stop();
        assert_eq!(stopped.code, Some(0), "{stopped:?}");
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("a server");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream.set_write_timeout(Some(PATIENCE)).expect("a socket");
    stream
}

fn question() -> String {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "5f2a", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "operation": "CREATE",
        "namespace": "coder", "object": {
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"generateName": "main-", "labels": {"com.coder.user.username": "jessie"}},
            "spec": {"containers": [{"name": "dev", "image": "example.com/dev"}]},
        },
    }})
    .to_string()
}

fn head(length: usize, media_type: &str) -> String {
    format!(
        "POST /mutate?timeout=5s HTTP/1.1\r\nHost: {NAME}\r\nContent-Type: {media_type}\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n"
    )
}

struct Answer {
    status: u16,
    body: String,
}

/// Reads to the end, which a server may leave out of TLS.
#[track_caller]
fn answer(stream: &mut impl Read) -> Answer {
    let mut bytes = Vec::new();
    let end = stream.read_to_end(&mut bytes);
    let text = String::from_utf8(bytes).expect("text");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer, but {text:?} and {end:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Answer { status: status.unwrap_or_else(|| panic!("no status in {head:?}")), body: body.to_owned() }
}

#[test]
fn a_question_over_tls_is_answered_with_a_patch() {
    let files = Files::new();
    let webhook = Webhook::start(&files);
    let response = webhook.ask(&files.trusted);
    assert_eq!((&response["uid"], &response["allowed"]), (&json!("5f2a"), &json!(true)));
    assert_eq!(response["patchType"], "JSONPatch");
    webhook.stop();
}

#[test]
fn health_readiness_and_metrics_are_on_an_address_of_their_own() {
    let files = Files::new();
    let webhook = Webhook::start(&files);
    webhook.ask(&files.trusted);
    assert_eq!((webhook.get("/healthz").status, webhook.get("/readyz").status), (200, 200));
    assert_eq!(webhook.get("/mutate").status, 404);
    let metrics = webhook.get("/metrics").body;
    for line in ["exectrace_webhook_requests_total{outcome=\"patched\"} 1", "exectrace_webhook_enabled 1"] {
        assert!(metrics.contains(line), "{metrics}");
    }
    webhook.stop();
}

#[test]
fn what_is_no_question_gets_an_error_and_the_webhook_stays() {
    let files = Files::new();
    let webhook = Webhook::start(&files);
    for (length, media_type, body, status) in [
        (1, "application/json", "{", 400),
        (2, "text/plain", "{}", 415),
        // Nobody reads so much, so it need not be sent.
        (10_000_000, "application/json", "", 413),
    ] {
        let mut tls = webhook.connect(&files.trusted);
        tls.write_all(head(length, media_type).as_bytes()).expect("a server that reads");
        tls.write_all(body.as_bytes()).expect("a server that reads");
        let answer = answer(&mut tls);
        assert_eq!(answer.status, status, "{}", answer.body);
        assert!(!answer.body.is_empty());
    }
    let mut plain = connect(webhook.address);
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("a server that reads");
    let mut alert = Vec::new();
    // Whatever it says, it closes.
    let _ = plain.read_to_end(&mut alert);
    assert!(!alert.starts_with(b"HTTP"));
    webhook.ask(&files.trusted);
    webhook.stop();
}

#[test]
fn a_certificate_that_changes_is_served_and_a_broken_one_is_not() {
    let files = Files::new();
    let mut webhook = Webhook::start(&files);
    webhook.ask(&files.trusted);
    files.write("tls.crt", "broken");
    webhook.program.wait_for_message("the certificate changed and cannot be used");
    webhook.ask(&files.trusted);
    let renewed = write_certificate(files.folder.path());
    webhook.program.wait_for_message("a new certificate is served");
    webhook.ask(&renewed);
    assert!(webhook.connect(&files.trusted).write_all(b"GET").is_err(), "the old one is served still");
    webhook.stop();
}

#[test]
fn settings_that_change_hold_and_broken_ones_do_not() {
    let files = Files::new();
    let mut webhook = Webhook::start(&files);
    files.write("settings.yaml", "imgae: example.com/exectrace:1\n");
    let message = webhook.program.wait_for_message("the settings changed and cannot be used");
    assert!(message.msg().contains("imgae"), "{message:?}");
    assert!(!webhook.ask(&files.trusted)["patch"].is_null());
    files.write("settings.yaml", "enabled: false\n");
    webhook.program.wait_for_message("the settings changed");
    assert_eq!(webhook.ask(&files.trusted), json!({"uid": "5f2a", "allowed": true}));
    webhook.stop();
}

#[test]
fn with_a_cluster_the_switch_is_asked_there_and_refusals_and_the_status_are_told_there() {
    let files = Files::new();
    let server = ApiServer::start();
    for object in
        [switch(true), namespace("workspaces"), node("node-1", "6.1.0-56-amd64"), workspace("zac", "code", true)]
    {
        server.put(object);
    }
    server.fail(Fault::new("GET", "processloggings", How::Status(500)));
    // The cluster's switch holds, and not the settings'.
    files.write("settings.yaml", "enabled: false\n");
    let mut webhook = Webhook::start_as(
        files.command().args(["--namespace", "exectrace"]).arg("--kubeconfig").arg(server.kubeconfig()),
    );
    assert_eq!((webhook.get("/healthz").status, webhook.get("/readyz").status), (200, 503));
    assert_eq!(webhook.post(&files.trusted, &question()).status, 503);
    server.mend();
    webhook.program.wait_for_message("the switch of process logging is known");
    assert_eq!(webhook.get("/readyz").status, 200);
    assert_eq!(webhook.ask(&files.trusted)["patchType"], "JSONPatch");

    let impostor = question().replace("\"dev\"", "\"exectrace\"");
    assert_eq!(webhook.post(&files.trusted, &impostor).status, 200);
    let refused = |server: &ApiServer| {
        let events = server.list("events");
        events.into_iter().find(|event| event["reason"] == "WorkspaceRefused")
    };
    server.wait_until("an Event", |server| refused(server).is_some());
    let event = refused(&server).expect("an Event");
    assert_eq!((&event["type"], &event["regarding"]["kind"]), (&json!("Warning"), &json!("Pod")));
    assert_eq!(event["metadata"]["namespace"], "coder");

    let status = |server: &ApiServer| server.get("processloggings", "", "default").unwrap_or_default()["status"].take();
    server.wait_until("a status", |server| status(server)["workspaces"]["summary"] == "1/1");
    let holder = || server.get("leases", "exectrace", LEASE).expect("a Lease")["spec"]["holderIdentity"].take();
    assert!(holder().is_string());
    webhook.stop();
    assert_eq!(holder(), Value::Null, "the next one need not wait");
}

#[test]
fn a_question_that_came_before_the_end_is_answered() {
    let files = Files::new();
    let mut webhook = Webhook::start(&files);
    let question = question();
    let (begun, rest) = question.split_at(10);
    let mut tls = webhook.connect(&files.trusted);
    let head = head(question.len(), "application/json").replace("Connection: close", "Expect: 100-continue");
    tls.write_all(head.as_bytes()).expect("a server that reads");
    // Once the server asks for the body, it is at work on the question.
    let mut asked = [0; 25];
    tls.read_exact(&mut asked).expect("a server that goes on");
    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
    tls.write_all(begun.as_bytes()).expect("a server that reads");
    webhook.program.signal(rustix::process::Signal::TERM);
    webhook.program.wait_for_message("asked to end");
    tls.write_all(rest.as_bytes()).expect("a server that reads");
    assert_eq!(answer(&mut tls).status, 200);
    let (status, _, _) = webhook.program.end();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn what_is_wrong_with_the_words_or_the_files_is_a_usage_error_that_says_so() {
    let files = Files::new();
    let refused = |command: &mut Command, words: &str| {
        let ended = Ended::of(command);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(words), "{words}: {ended:?}");
    };
    refused(&mut exectrace(["webhook"]), "--tls-cert");
    refused(exectrace(["webhook", "--tls-cert"]).arg(files.path("tls.crt")), "--tls-key");
    refused(&mut exectrace(["webhook", "--tls-secret", "keys"]), "--service");
    let own = ["webhook", "--tls-secret", "keys", "--service", "s", "--webhook-configuration", "c"];
    refused(&mut exectrace(own), "--kubeconfig");
    files.write("settings.yaml", "mode: sidewagon\n");
    refused(&mut files.command(), "sidewagon");
    files.write("settings.yaml", "{}\n");
    files.write("tls.key", "none");
    refused(&mut files.command(), "private key");
    fs::remove_file(files.path("tls.key")).expect("a file");
    refused(&mut files.command(), "tls.key");
}

#[test]
fn an_address_that_is_taken_is_named() {
    let files = Files::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let mut command = exectrace(["webhook", "--health", "127.0.0.1:0", "--listen", address.as_str()]);
    command.arg("--tls-cert").arg(files.path("tls.crt")).arg("--tls-key").arg(files.path("tls.key"));
    let ended = Ended::of(&mut command);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains(&address) && ended.stderr.contains("--listen"), "{ended:?}");
}
