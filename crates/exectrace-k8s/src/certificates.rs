//! The webhook's own authority as the cluster keeps it: one Secret for all replicas, and the certificates that the
//! webhook's configuration trusts.
//!
//! [`crate::authority`] decides; here it is read and written. Any replica may do it at any time: each write carries the
//! version that was read, and who comes second reads again.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Resource};
use serde_json::json;
use time::OffsetDateTime;

use crate::authority::{AuthorityError, Keys, Pair, names_of_service};
use crate::tls::{Certificate, CertificateError};

/// How often who comes second reads again.
const ATTEMPTS: usize = 10;
/// The end of each certificate in PEM.
const PEM_END: &str = "-----END CERTIFICATE-----";

/// Where the keys are kept, and who must trust them.
#[derive(Clone)]
pub struct SelfManaged {
    /// The cluster.
    pub client: Client,
    /// The namespace of the webhook.
    pub namespace: String,
    /// The Secret in it.
    pub secret: String,
    /// The Service in it by which the API server reaches the webhook.
    pub service: String,
    /// The `MutatingWebhookConfiguration`, in which all webhooks must be this one.
    pub configuration: String,
}

/// Why the exchange with the cluster failed.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The Secret could not be read or written.
    #[error("the Secret {name} cannot be {what}: {source} (the webhook's Role must let it get, create and update it)")]
    Secret {
        /// Its name.
        name: String,
        /// What was tried.
        what: &'static str,
        /// What the API server said.
        source: Box<kube::Error>,
    },
    /// The configuration could not be read or written.
    #[error(
        "the MutatingWebhookConfiguration {name} cannot be {what}: {source} (it must be there, and the webhook's \
         ClusterRole must let it get and patch it)"
    )]
    Configuration {
        /// Its name.
        name: String,
        /// What was tried.
        what: &'static str,
        /// What the API server said.
        source: Box<kube::Error>,
    },
    /// The Secret holds something else.
    #[error("the Secret {name} is not one of exectrace's, {key} is missing or no text: delete it, or name another")]
    ForeignSecret {
        /// Its name.
        name: String,
        /// The key that is missing.
        key: &'static str,
    },
    /// Others wrote each time.
    #[error("the Secret or the webhook's configuration was changed by others each time that it was to be written")]
    Conflict,
    /// What is kept cannot be used, or nothing could be made.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// What is kept cannot be served.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// What a Secret or a configuration was found to be, when written.
enum Written {
    Yes,
    /// Somebody else was faster.
    NotAsRead,
}

impl SelfManaged {
    /// Reads what is kept, renews what is due, sees to it that it is trusted, and returns what to serve then.
    pub async fn exchange(&self, now: OffsetDateTime) -> Result<Certificate, ExchangeError> {
        for _ in 0..ATTEMPTS {
            if let Some(keys) = self.attempt(now).await? {
                let serving = &keys.serving;
                return Ok(Certificate::from_pem(serving.certificate.as_bytes(), serving.key.as_bytes())?);
            }
        }
        Err(ExchangeError::Conflict)
    }

    async fn attempt(&self, now: OffsetDateTime) -> Result<Option<Keys>, ExchangeError> {
        let names = names_of_service(&self.service, &self.namespace);
        let configuration = self.configuration().await?;
        let secret = self.secret().await?;
        let kept = secret.as_ref().map(|secret| kept_in(secret, &self.secret)).transpose()?.flatten();
        let changed = match &kept {
            None => Some(Keys::create(&names, now)?),
            Some(keys) => keys.renewed(&names, &trusted_by(&configuration), now)?,
        };
        if let Some(keys) = &changed
            && let Written::NotAsRead = self.keep(keys, secret).await?
        {
            return Ok(None);
        }
        let Some(keys) = changed.or(kept) else { return Ok(None) };
        match self.publish(&configuration, &keys.bundle()).await? {
            Written::Yes => Ok(Some(keys)),
            Written::NotAsRead => Ok(None),
        }
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn configurations(&self) -> Api<MutatingWebhookConfiguration> {
        Api::all(self.client.clone())
    }

    async fn secret(&self) -> Result<Option<Secret>, ExchangeError> {
        self.secrets().get_opt(&self.secret).await.map_err(|source| self.secret_error("read", source))
    }

    async fn configuration(&self) -> Result<MutatingWebhookConfiguration, ExchangeError> {
        let got = self.configurations().get(&self.configuration).await;
        got.map_err(|source| self.configuration_error("read", source))
    }

    /// Writes the keys into the Secret that was read, or creates one.
    async fn keep(&self, keys: &Keys, read: Option<Secret>) -> Result<Written, ExchangeError> {
        let params = PostParams { field_manager: Some("exectrace".to_owned()), ..PostParams::default() };
        let data = Some(data_of(keys));
        let result = match read {
            Some(secret) => {
                self.secrets().replace(&self.secret, &params, &Secret { data, string_data: None, ..secret }).await
            }
            None => {
                let name = Some(self.secret.clone());
                let metadata = ObjectMeta { name, ..ObjectMeta::default() };
                self.secrets().create(&params, &Secret { metadata, data, ..Secret::default() }).await
            }
        };
        match result {
            Ok(_) => Ok(Written::Yes),
            Err(error) if is_conflict(&error) => Ok(Written::NotAsRead),
            Err(source) => Err(self.secret_error("written", source)),
        }
    }

    /// Has the API server trust `bundle` for each webhook of the configuration that was read.
    async fn publish(&self, read: &MutatingWebhookConfiguration, bundle: &str) -> Result<Written, ExchangeError> {
        let bundle = ByteString(bundle.as_bytes().to_vec());
        let mut operations = Vec::new();
        for (index, webhook) in read.webhooks.iter().flatten().enumerate() {
            if webhook.client_config.ca_bundle.as_ref() != Some(&bundle) {
                let path = format!("/webhooks/{index}/clientConfig/caBundle");
                operations.push(json!({"op": "add", "path": path, "value": bundle}));
            }
        }
        if operations.is_empty() {
            return Ok(Written::Yes);
        }
        let version = json!({"op": "test", "path": "/metadata/resourceVersion", "value": read.meta().resource_version});
        operations.insert(0, version);
        let patch = serde_json::from_value(json!(operations)).map_err(kube::Error::SerdeError);
        let patch = Patch::<()>::Json(patch.map_err(|source| self.configuration_error("written", source))?);
        match self.configurations().patch(&self.configuration, &PatchParams::default(), &patch).await {
            Ok(_) => Ok(Written::Yes),
            Err(error) if is_conflict(&error) => Ok(Written::NotAsRead),
            Err(source) => Err(self.configuration_error("written", source)),
        }
    }

    fn secret_error(&self, what: &'static str, source: kube::Error) -> ExchangeError {
        ExchangeError::Secret { name: self.secret.clone(), what, source: Box::new(source) }
    }

    fn configuration_error(&self, what: &'static str, source: kube::Error) -> ExchangeError {
        ExchangeError::Configuration { name: self.configuration.clone(), what, source: Box::new(source) }
    }
}

/// Somebody else wrote first: 409, or 422 for a patch whose test does not hold.
fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409 || status.code == 422)
}

/// What every webhook of the configuration trusts; nothing if they differ.
fn trusted_by(configuration: &MutatingWebhookConfiguration) -> String {
    let mut bundles = configuration.webhooks.iter().flatten().map(|webhook| webhook.client_config.ca_bundle.as_ref());
    let Some(Some(first)) = bundles.next() else { return String::new() };
    if !bundles.all(|bundle| bundle == Some(first)) {
        return String::new();
    }
    String::from_utf8(first.0.clone()).unwrap_or_default()
}

/// The keys of a Secret; `None`: it is empty, as a chart may create it.
fn kept_in(secret: &Secret, name: &str) -> Result<Option<Keys>, ExchangeError> {
    let Some(data) = secret.data.as_ref().filter(|data| !data.is_empty()) else { return Ok(None) };
    let text = |key: &str| data.get(key).and_then(|bytes| String::from_utf8(bytes.0.clone()).ok());
    let needed =
        |key: &'static str| text(key).ok_or_else(|| ExchangeError::ForeignSecret { name: name.to_owned(), key });
    let next = match (text("next-ca.crt"), text("next-ca.key")) {
        (Some(certificate), Some(key)) => Some(Pair { certificate, key }),
        _ => None,
    };
    Ok(Some(Keys {
        authority: Pair { certificate: needed("ca.crt")?, key: needed("ca.key")? },
        serving: Pair { certificate: needed("tls.crt")?, key: needed("tls.key")? },
        next,
        previous: text("previous-ca.crt").map(|bundle| separated(&bundle)).unwrap_or_default(),
    }))
}

fn data_of(keys: &Keys) -> BTreeMap<String, ByteString> {
    let mut texts = vec![
        ("ca.crt", keys.authority.certificate.clone()),
        ("ca.key", keys.authority.key.clone()),
        ("tls.crt", keys.serving.certificate.clone()),
        ("tls.key", keys.serving.key.clone()),
    ];
    if let Some(next) = &keys.next {
        texts.extend([("next-ca.crt", next.certificate.clone()), ("next-ca.key", next.key.clone())]);
    }
    if !keys.previous.is_empty() {
        texts.push(("previous-ca.crt", keys.previous.concat()));
    }
    texts.into_iter().map(|(key, text)| (key.to_owned(), ByteString(text.into_bytes()))).collect()
}

fn separated(bundle: &str) -> Vec<String> {
    let pieces = bundle.split_inclusive(PEM_END).filter(|piece| piece.ends_with(PEM_END));
    pieces.map(|piece| format!("{}\n", piece.trim_start())).collect()
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::*;
    use crate::fake_api::FakeApi;

    fn now() -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_790_000_000).expect("a time")
    }

    fn managed(api: &FakeApi) -> SelfManaged {
        SelfManaged {
            client: api.client(),
            namespace: "exectrace".to_owned(),
            secret: "exectrace-webhook-tls".to_owned(),
            service: "exectrace-webhook".to_owned(),
            configuration: "exectrace".to_owned(),
        }
    }

    fn with_configuration() -> FakeApi {
        let api = FakeApi::default();
        let webhook = |name: &str| json!({"name": name, "clientConfig": {}, "sideEffects": "None", "admissionReviewVersions": ["v1"]});
        api.put(
            CONFIGURATION,
            json!({"metadata": {"name": "exectrace"}, "webhooks": [webhook("a.exectrace.dev"), webhook("b.exectrace.dev")]}),
        );
        api
    }

    const CONFIGURATION: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/exectrace";
    const SECRET: &str = "/api/v1/namespaces/exectrace/secrets/exectrace-webhook-tls";

    fn kept(api: &FakeApi) -> Keys {
        let secret = serde_json::from_value(api.get(SECRET).expect("a Secret")).expect("a Secret");
        kept_in(&secret, "").expect("ours").expect("keys")
    }

    fn trusted(api: &FakeApi) -> String {
        let configuration = api.get(CONFIGURATION).expect("a configuration");
        trusted_by(&serde_json::from_value(configuration).expect("a configuration"))
    }

    #[tokio::test]
    async fn the_first_replica_makes_the_keys_and_has_them_trusted() {
        let api = with_configuration();
        managed(&api).exchange(now()).await.expect("a certificate");
        assert_eq!(trusted(&api), kept(&api).bundle());
        let before = (kept(&api), api.writes());
        managed(&api).exchange(now()).await.expect("a certificate");
        assert_eq!((kept(&api), api.writes()), before, "the second one writes nothing");
    }

    #[tokio::test]
    async fn an_empty_secret_is_filled() {
        let api = with_configuration();
        api.put(SECRET, json!({"metadata": {"name": "exectrace-webhook-tls"}}));
        managed(&api).exchange(now()).await.expect("a certificate");
        assert_eq!(trusted(&api), kept(&api).bundle());
    }

    #[tokio::test]
    async fn a_foreign_secret_is_left_alone() {
        let api = with_configuration();
        api.put(SECRET, json!({"metadata": {"name": "exectrace-webhook-tls"}, "data": {"password": "eA=="}}));
        let error = managed(&api).exchange(now()).await.expect_err("a foreign Secret").to_string();
        assert!(error.contains("ca.crt") && error.contains("delete it"), "{error}");
        assert_eq!(api.writes(), 0);
    }

    #[tokio::test]
    async fn replicas_that_start_together_serve_the_same_certificate() {
        let api = with_configuration();
        let replicas: Vec<SelfManaged> = (0..3).map(|_| managed(&api)).collect();
        let certificates = futures::future::join_all(replicas.iter().map(|replica| replica.exchange(now()))).await;
        for certificate in certificates {
            certificate.expect("a certificate");
        }
        assert_eq!(trusted(&api), kept(&api).bundle());
    }

    #[tokio::test]
    async fn who_writes_second_reads_again() {
        let api = with_configuration();
        api.fail_writes(2, 409);
        managed(&api).exchange(now()).await.expect("a certificate");
        api.fail_writes(1000, 409);
        let later = now() + Duration::days(61);
        assert!(matches!(managed(&api).exchange(later).await, Err(ExchangeError::Conflict)));
    }

    #[tokio::test]
    async fn an_authority_is_replaced_by_one_that_was_trusted_before() {
        let api = with_configuration();
        managed(&api).exchange(now()).await.expect("a certificate");
        let first = kept(&api);
        let due = now() + Duration::days(500);
        managed(&api).exchange(due).await.expect("a certificate");
        assert_eq!(kept(&api).authority, first.authority);
        managed(&api).exchange(due + Duration::hours(2)).await.expect("a certificate");
        let second = kept(&api);
        assert_ne!(second.authority, first.authority);
        assert_eq!(second.previous, [first.authority.certificate]);
        assert_eq!(trusted(&api), second.bundle());
    }

    #[tokio::test]
    async fn without_the_configuration_the_error_names_it() {
        let error = managed(&FakeApi::default()).exchange(now()).await.expect_err("no configuration").to_string();
        assert!(error.contains("MutatingWebhookConfiguration exectrace"), "{error}");
    }
}
