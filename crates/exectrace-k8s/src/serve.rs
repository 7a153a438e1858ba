//! The webhook's process: what can fail at the start is tried first, then it answers until it is asked to end.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use kube::Client;
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

use crate::certificates::{ExchangeError, SelfManaged};
use crate::events::{Teller, teller};
use crate::follow::follow;
use crate::keeper::{Pace, keep};
use crate::live::{Live, SwitchHolder};
use crate::metrics::{Metrics, Reloaded};
use crate::reload::Files;
use crate::server::{self, Shared};
use crate::settings::Settings;
use crate::tls::{Certificate, CertificateError, Served, server_config};

/// How often an own authority is looked after. Other replicas may have renewed it.
const EXCHANGE_PERIOD: Duration = Duration::from_secs(60);
/// How long requests may take that are being answered when the process ends.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// What to serve, and where.
pub struct Serve {
    /// Where the API server asks, by TLS.
    pub listen: SocketAddr,
    /// Where health, readiness and metrics are asked for.
    pub health: SocketAddr,
    /// Where the certificate comes from.
    pub tls: Tls,
    /// The settings' file; without one, the defaults.
    pub settings: Option<PathBuf>,
    /// The cluster that holds the switch and takes Events; without one, the settings hold the switch.
    pub client: Option<Client>,
    /// Where the Lease is by which one of the replicas keeps the switch's status; the client's own namespace, if it is
    /// not said.
    pub namespace: Option<String>,
    /// How often that one looks and writes.
    pub pace: Pace,
    /// Who this is among the replicas, in Events: the pod's name.
    pub identity: String,
    /// How long to go on answering after being asked to end: until every API server has been told.
    pub drain: Duration,
}

/// Where the certificate comes from.
pub enum Tls {
    /// Two PEM files, which are read again when they change.
    Files {
        /// The certificate chain.
        chain: PathBuf,
        /// Its key.
        key: PathBuf,
    },
    /// An authority of the webhook's own.
    SelfManaged(SelfManaged),
}

/// Why the webhook does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The settings cannot be read.
    #[error("the settings {path} cannot be used: {why}")]
    Settings {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The certificate's files cannot be read.
    #[error("the certificate cannot be used: {0}")]
    CertificateFiles(String),
    /// The own authority cannot be kept in the cluster.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// An address cannot be listened at.
    #[error("{address} cannot be listened at: {source} (--listen and --health say where)")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Connections cannot be accepted any more.
    #[error("connections are no longer accepted: {0}")]
    Accept(io::Error),
}

impl ServeError {
    /// Whether what was given to the program is wrong, and not what it met.
    pub fn is_usage(&self) -> bool {
        matches!(self, ServeError::Settings { .. } | ServeError::CertificateFiles(_))
    }
}

/// Serves until `stop` is there.
pub async fn serve(wanted: Serve, stop: impl Future<Output = ()>) -> Result<(), ServeError> {
    let metrics = Metrics::default();
    // All tasks end with this.
    let mut tasks = JoinSet::new();
    let live = live(&wanted, &metrics, &mut tasks)?;
    let admissions = listener(wanted.listen)?;
    let healths = listener(wanted.health)?;
    let served = certificate(wanted.tls, &metrics, &mut tasks).await?;
    let (leave, left) = watch::channel(false);
    let keeper = wanted.client.clone().map(|client| {
        let namespace = wanted.namespace.unwrap_or_else(|| client.default_namespace().to_owned());
        tokio::spawn(keep_status(client, namespace, wanted.identity.clone(), Arc::clone(&live), wanted.pace, left))
    });
    let tell = tell(wanted.client, wanted.identity, &live, &metrics, &mut tasks);
    let ending = Arc::new(AtomicBool::new(false));
    let shared = Shared { live, metrics, tell, ending: Arc::clone(&ending) };

    let (handle, health_handle) = (Handle::new(), Handle::new());
    let config = RustlsConfig::from_config(Arc::new(server_config(served)?));
    let health = axum_server::from_tcp(healths.0).map_err(ServeError::Accept)?.handle(health_handle);
    let admission =
        axum_server::from_tcp_rustls(admissions.0, config).map_err(ServeError::Accept)?.handle(handle.clone());
    let health = health.serve(server::health(shared.clone()).into_make_service());
    let admission = admission.serve(server::admission(shared).into_make_service());
    tracing::info!(address = %healths.1, "listening for who asks for health and metrics");
    tracing::info!(address = %admissions.1, "listening for the API server");

    let end = async {
        stop.await;
        tracing::info!("asked to end: not ready any more, and answering what still comes");
        ending.store(true, Ordering::Relaxed);
        // Nobody else keeps the status before this one lets the lease go.
        leave.send_replace(true);
        sleep(wanted.drain).await;
        handle.graceful_shutdown(Some(LAST_ANSWERS));
        // The other server ends this, once its last answer is given.
        std::future::pending().await
    };
    let served = tokio::select! {
        result = admission => result.map_err(ServeError::Accept),
        result = health => result.map_err(ServeError::Accept),
        () = end => Ok(()),
    };
    if let Some(keeper) = keeper {
        // What the lease is not let go in time, ends by itself.
        let _ = timeout(LAST_ANSWERS, keeper).await;
    }
    served
}

async fn keep_status(
    client: Client,
    namespace: String,
    identity: String,
    live: Arc<Live>,
    pace: Pace,
    mut left: watch::Receiver<bool>,
) {
    // Also over when nobody can say it any more.
    let stop = async move { drop(left.wait_for(|left| *left).await) };
    keep(client, live.subscribe(), &namespace, &identity, pace, stop).await;
}

fn listener(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let bound = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    });
    bound.map_err(|source| ServeError::Listen { address, source })
}

fn live(wanted: &Serve, metrics: &Metrics, tasks: &mut JoinSet<()>) -> Result<Arc<Live>, ServeError> {
    let holder = if wanted.client.is_some() { SwitchHolder::Cluster } else { SwitchHolder::Settings };
    let Some(path) = &wanted.settings else {
        let live = Live::new(Settings::default(), holder);
        metrics.switched(live.enabled().unwrap_or_default());
        return Ok(Arc::new(live));
    };
    let files = Files::read(vec![path.clone()]);
    let settings = files.contents().map_err(str::to_owned).and_then(parsed);
    let settings = settings.map_err(|why| ServeError::Settings { path: path.clone(), why })?;
    let live = Arc::new(Live::new(settings, holder));
    metrics.switched(live.enabled().unwrap_or_default());
    tasks.spawn(follow_settings(files, Arc::clone(&live), metrics.clone()));
    Ok(live)
}

async fn follow_settings(files: Files, live: Arc<Live>, metrics: Metrics) {
    let failed = |error: &str| {
        metrics.reload_failed(Reloaded::Settings);
        tracing::error!("the settings changed and cannot be used, so the old ones hold: {error}");
    };
    let take = |contents: &[Vec<u8>]| {
        live.set_settings(parsed(contents)?);
        metrics.switched(live.enabled().unwrap_or_default());
        tracing::info!(hash = live.settings().hash(), "the settings changed");
        Ok(())
    };
    files.follow(take, failed).await;
}

fn parsed(contents: &[Vec<u8>]) -> Result<Settings, String> {
    let text = contents.first().map(Vec::as_slice).unwrap_or_default();
    let text = str::from_utf8(text).map_err(|error| error.to_string())?;
    Settings::parse(text).map_err(|error| format!("{error:#}"))
}

async fn certificate(tls: Tls, metrics: &Metrics, tasks: &mut JoinSet<()>) -> Result<Arc<Served>, ServeError> {
    match tls {
        Tls::Files { chain, key } => {
            let files = Files::read(vec![chain, key]);
            let certificate = files
                .contents()
                .map_err(str::to_owned)
                .and_then(|contents| certificate_of(contents).map_err(|error| error.to_string()));
            let certificate = certificate.map_err(ServeError::CertificateFiles)?;
            let served = Arc::new(Served::new(&certificate));
            metrics.certificate_expires(certificate.not_after());
            tasks.spawn(follow_certificate(files, Arc::clone(&served), metrics.clone()));
            Ok(served)
        }
        Tls::SelfManaged(managed) => {
            let certificate = managed.exchange(OffsetDateTime::now_utc()).await?;
            let served = Arc::new(Served::new(&certificate));
            metrics.certificate_expires(certificate.not_after());
            tasks.spawn(keep_certificate(managed, Arc::clone(&served), metrics.clone()));
            Ok(served)
        }
    }
}

fn certificate_of(contents: &[Vec<u8>]) -> Result<Certificate, CertificateError> {
    let text = |index: usize| contents.get(index).map(Vec::as_slice).unwrap_or_default();
    Certificate::from_pem(text(0), text(1))
}

async fn follow_certificate(files: Files, served: Arc<Served>, metrics: Metrics) {
    let failed = |error: &str| {
        metrics.reload_failed(Reloaded::Certificate);
        tracing::error!("the certificate changed and cannot be used, so the old one is served: {error}");
    };
    let take = |contents: &[Vec<u8>]| {
        let certificate = certificate_of(contents).map_err(|error| error.to_string())?;
        serve_from_now_on(&certificate, &served, &metrics);
        Ok(())
    };
    files.follow(take, failed).await;
}

async fn keep_certificate(managed: SelfManaged, served: Arc<Served>, metrics: Metrics) {
    let mut ticks = interval(EXCHANGE_PERIOD);
    loop {
        ticks.tick().await;
        match managed.exchange(OffsetDateTime::now_utc()).await {
            Ok(certificate) => serve_from_now_on(&certificate, &served, &metrics),
            Err(error) => {
                metrics.reload_failed(Reloaded::Certificate);
                tracing::error!("the own authority cannot be looked after, so the old certificate is served: {error}");
            }
        }
    }
}

fn serve_from_now_on(certificate: &Certificate, served: &Served, metrics: &Metrics) {
    if served.replace(certificate) {
        metrics.certificate_expires(certificate.not_after());
        tracing::info!(expires = certificate.not_after(), "a new certificate is served");
    }
}

/// Starts what talks to the cluster, and returns who takes notices.
fn tell(
    client: Option<Client>,
    identity: String,
    live: &Arc<Live>,
    metrics: &Metrics,
    tasks: &mut JoinSet<()>,
) -> Teller {
    let Some(client) = client else { return Arc::new(|_| {}) };
    tasks.spawn(follow(client.clone(), Arc::clone(live), metrics.clone()));
    let (tell, send_all) = teller(client, identity, metrics.clone());
    tasks.spawn(send_all);
    tell
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use serde_json::json;

    use super::*;
    use crate::fake_api::FakeApi;

    fn wanted(api: &FakeApi, configuration: &str) -> Serve {
        let managed = SelfManaged {
            client: api.client(),
            namespace: "exectrace".to_owned(),
            secret: "exectrace-tls".to_owned(),
            service: "exectrace".to_owned(),
            configuration: configuration.to_owned(),
        };
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Serve {
            listen: any_port,
            health: any_port,
            tls: Tls::SelfManaged(managed),
            settings: None,
            client: Some(api.client()),
            namespace: None,
            pace: Pace::default(),
            identity: "webhook-0".to_owned(),
            drain: Duration::ZERO,
        }
    }

    #[tokio::test]
    async fn an_own_authority_is_kept_and_trusted_before_anybody_is_answered() {
        let api = FakeApi::default();
        let path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/exectrace";
        let webhook = json!({"name": "pods.exectrace.dev", "clientConfig": {}, "sideEffects": "None", "admissionReviewVersions": ["v1"]});
        api.put(path, json!({"metadata": {"name": "exectrace"}, "webhooks": [webhook]}));
        serve(wanted(&api, "exectrace"), async {}).await.expect("an orderly end");
        let bundle = api.get(path).expect("a configuration")["webhooks"][0]["clientConfig"]["caBundle"].take();
        let secret = api.get("/api/v1/namespaces/exectrace/secrets/exectrace-tls").expect("a Secret");
        assert_eq!(bundle, secret["data"]["ca.crt"]);
    }

    #[tokio::test]
    async fn without_the_configuration_it_does_not_start() {
        let error = serve(wanted(&FakeApi::default(), "other"), async {}).await.expect_err("no configuration");
        assert!(matches!(error, ServeError::Exchange(_)) && !error.is_usage(), "{error}");
    }
}
