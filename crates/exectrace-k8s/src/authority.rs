//! An authority of the webhook's own: what it issues, when it renews, and whom the API server must trust meanwhile.
//!
//! All of it is pure: a state and the time come in, the next state comes out. The order is what matters. A new
//! authority is first only trusted, beside the old one; it issues once it is known to be trusted; and the old one stays
//! trusted until it expires itself, since no certificate that it issued lasts longer.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};
use x509_parser::pem::Pem as ParsedPem;

/// How long an authority lasts.
const AUTHORITY_LIFE: Duration = Duration::days(730);
/// How long what it issues lasts.
const SERVING_LIFE: Duration = Duration::days(90);
/// Clocks of the nodes may differ by this much.
const SKEW: Duration = Duration::minutes(10);
/// How long a new authority is only trusted before it issues: time for every API server to read the webhook's
/// configuration again.
const TRUST_AHEAD: Duration = Duration::hours(1);

/// A certificate with its key, both in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

/// Everything that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// Issues.
    pub authority: Pair,
    /// Is served.
    pub serving: Pair,
    /// Will issue next; it is only trusted so far.
    pub next: Option<Pair>,
    /// Certificates of authorities that issued before, and do not any more.
    pub previous: Vec<String>,
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// It could not be made, or what is kept cannot issue.
    #[error("a certificate cannot be made: {0}")]
    Make(#[from] rcgen::Error),
    /// What is kept is no certificate.
    #[error("what is kept as a certificate is none: {0}")]
    Kept(String),
}

impl std::fmt::Debug for Pair {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl Keys {
    /// A first authority, and a certificate for these names.
    pub fn create(names: &[String], now: OffsetDateTime) -> Result<Keys, AuthorityError> {
        let authority = make_authority(now)?;
        let serving = issue(&authority, names, now)?;
        Ok(Keys { authority, serving, next: None, previous: Vec::new() })
    }

    /// What is to be kept from `now` on; `None`: the same. `trusted` is the text of PEM that the API server trusts.
    pub fn renewed(
        &self,
        names: &[String],
        trusted: &str,
        now: OffsetDateTime,
    ) -> Result<Option<Keys>, AuthorityError> {
        let mut keys = self.clone();
        keys.previous = kept_while_valid(&self.previous, now)?;
        let authority = Life::of(&self.authority.certificate)?;
        match &self.next {
            Some(next) if authority.is_over(now) || is_time_to_issue(next, trusted, now)? => {
                keys.previous.push(self.authority.certificate.clone());
                keys.authority = next.clone();
                keys.next = None;
                keys.serving = issue(next, names, now)?;
            }
            None if authority.is_due(now) => keys.next = Some(make_authority(now)?),
            _ => {}
        }
        let serving = Life::of(&keys.serving.certificate)?;
        let issuer_is_over = Life::of(&keys.authority.certificate)?.is_over(now);
        if !issuer_is_over && (serving.is_due(now) || serving.names != sorted(names)) {
            keys.serving = issue(&keys.authority, names, now)?;
        }
        Ok(Some(keys).filter(|keys| keys != self))
    }

    /// Whom the API server must trust: PEM, one certificate after the other, always in the same order.
    pub fn bundle(&self) -> String {
        let next = self.next.iter().map(|pair| pair.certificate.as_str());
        let all = std::iter::once(self.authority.certificate.as_str())
            .chain(next)
            .chain(self.previous.iter().map(String::as_str));
        all.map(|certificate| format!("{}\n", certificate.trim_end())).collect()
    }
}

/// The DNS names by which the API server reaches a service.
pub fn names_of_service(service: &str, namespace: &str) -> Vec<String> {
    ["svc", "svc.cluster.local"].map(|suffix| format!("{service}.{namespace}.{suffix}")).to_vec()
}

fn is_time_to_issue(next: &Pair, trusted: &str, now: OffsetDateTime) -> Result<bool, AuthorityError> {
    let made = Life::of(&next.certificate)?.not_before + SKEW;
    Ok(trusted.contains(next.certificate.trim_end()) && now >= made + TRUST_AHEAD)
}

fn kept_while_valid(certificates: &[String], now: OffsetDateTime) -> Result<Vec<String>, AuthorityError> {
    let mut valid = Vec::new();
    for certificate in certificates {
        if !Life::of(certificate)?.is_over(now) {
            valid.push(certificate.clone());
        }
    }
    Ok(valid)
}

/// Of a certificate, what decides when it is renewed.
struct Life {
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
    names: Vec<String>,
}

impl Life {
    fn of(pem: &str) -> Result<Life, AuthorityError> {
        let kept = |error: &dyn std::fmt::Display| AuthorityError::Kept(error.to_string());
        let first = ParsedPem::iter_from_buffer(pem.as_bytes()).next();
        let first = first.ok_or_else(|| kept(&"it is no PEM"))?.map_err(|error| kept(&error))?;
        let certificate = first.parse_x509().map_err(|error| kept(&error))?;
        let alternative = certificate.subject_alternative_name().map_err(|error| kept(&error))?;
        let names =
            alternative.into_iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
                x509_parser::extensions::GeneralName::DNSName(name) => Some((*name).to_owned()),
                _ => None,
            });
        let validity = certificate.validity();
        Ok(Life {
            not_before: validity.not_before.to_datetime(),
            not_after: validity.not_after.to_datetime(),
            names: sorted(&names.collect::<Vec<_>>()),
        })
    }

    /// After two thirds of its life a certificate is to be renewed.
    fn is_due(&self, now: OffsetDateTime) -> bool {
        now >= self.not_before + (self.not_after - self.not_before) * 2 / 3
    }

    fn is_over(&self, now: OffsetDateTime) -> bool {
        now >= self.not_after
    }
}

fn make_authority(now: OffsetDateTime) -> Result<Pair, AuthorityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(&format!("exectrace webhook authority {}", now.unix_timestamp()));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = now - SKEW;
    params.not_after = now + AUTHORITY_LIFE;
    let key = KeyPair::generate()?;
    Ok(Pair { certificate: params.self_signed(&key)?.pem(), key: key.serialize_pem() })
}

/// A certificate for a server of these names, which does not last longer than its issuer.
fn issue(authority: &Pair, names: &[String], now: OffsetDateTime) -> Result<Pair, AuthorityError> {
    let issuer = Issuer::from_ca_cert_pem(&authority.certificate, KeyPair::from_pem(&authority.key)?)?;
    let mut params = CertificateParams::new(names.to_vec())?;
    params.distinguished_name = named("exectrace webhook");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.not_before = now - SKEW;
    params.not_after = (now + SERVING_LIFE).min(Life::of(&authority.certificate)?.not_after);
    let key = KeyPair::generate()?;
    Ok(Pair { certificate: params.signed_by(&key, &issuer)?.pem(), key: key.serialize_pem() })
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn sorted(names: &[String]) -> Vec<String> {
    let mut names = names.to_vec();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

    use super::*;
    use crate::tls::{Certificate, roots};

    const DAY: Duration = Duration::days(1);

    fn now() -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_790_000_000).expect("a time")
    }

    fn names() -> Vec<String> {
        names_of_service("exectrace-webhook", "exectrace")
    }

    /// Whether somebody who trusts `bundle` accepts what is served.
    fn is_accepted(bundle: &str, keys: &Keys, at: OffsetDateTime) -> bool {
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(roots(bundle).into(), provider).build();
        let served = CertificateDer::from_pem_slice(keys.serving.certificate.as_bytes()).expect("a certificate");
        let seconds = u64::try_from(at.unix_timestamp()).expect("after 1970");
        names().into_iter().all(|name| {
            let name = ServerName::try_from(name).expect("a name");
            let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
            verifier.as_ref().expect("a verifier").verify_server_cert(&served, &[], &name, &[], time).is_ok()
        })
    }

    #[test]
    fn what_is_served_is_accepted_by_who_trusts_the_bundle() {
        let keys = Keys::create(&names(), now()).expect("keys");
        assert!(is_accepted(&keys.bundle(), &keys, now()));
        assert!(!is_accepted(&Keys::create(&names(), now()).expect("keys").bundle(), &keys, now()));
        let pair = &keys.serving;
        assert!(Certificate::from_pem(pair.certificate.as_bytes(), pair.key.as_bytes()).is_ok());
    }

    #[test]
    fn nothing_is_renewed_before_its_time() {
        let keys = Keys::create(&names(), now()).expect("keys");
        assert_eq!(keys.renewed(&names(), &keys.bundle(), now() + DAY * 59).expect("renewal"), None);
        let later = keys.renewed(&names(), &keys.bundle(), now() + DAY * 61).expect("renewal").expect("a change");
        assert_ne!(later.serving, keys.serving);
        assert_eq!(later.bundle(), keys.bundle());
    }

    #[test]
    fn another_name_of_the_service_is_another_certificate() {
        let keys = Keys::create(&names(), now()).expect("keys");
        let other = names_of_service("other", "exectrace");
        let renewed = keys.renewed(&other, &keys.bundle(), now()).expect("renewal").expect("a change");
        assert_eq!(Life::of(&renewed.serving.certificate).expect("a certificate").names, sorted(&other));
    }

    #[test]
    fn a_new_authority_issues_only_once_it_is_trusted() {
        let keys = Keys::create(&names(), now()).expect("keys");
        let due = now() + DAY * 500;
        let announced = keys.renewed(&names(), &keys.bundle(), due).expect("renewal").expect("a change");
        assert_eq!(announced.authority, keys.authority);
        assert!(announced.next.is_some());
        let later = due + DAY;
        assert_eq!(announced.renewed(&names(), &keys.bundle(), later).expect("renewal"), None, "not trusted yet");
        let soon = due + Duration::minutes(5);
        assert_eq!(announced.renewed(&names(), &announced.bundle(), soon).expect("renewal"), None, "too early");
        let issued = announced.renewed(&names(), &announced.bundle(), later).expect("renewal").expect("a change");
        assert_eq!(Some(&issued.authority), announced.next.as_ref());
        assert_eq!(issued.previous, [keys.authority.certificate]);
    }

    #[test]
    fn at_every_hour_of_ten_years_what_was_served_before_and_what_is_served_are_both_accepted() {
        let mut keys = Keys::create(&names(), now()).expect("keys");
        let mut trusted = keys.bundle();
        let mut authorities = 0;
        for step in 1..(10 * 365 * 4) {
            let at = now() + Duration::hours(6) * step;
            let Some(renewed) = keys.renewed(&names(), &trusted, at).expect("renewal") else { continue };
            let bundle = renewed.bundle();
            // Replicas change over one after the other, and so do API servers.
            for (bundle, keys) in [(&trusted, &keys), (&trusted, &renewed), (&bundle, &keys), (&bundle, &renewed)] {
                assert!(is_accepted(bundle, keys, at), "after {step} steps");
            }
            authorities += i32::from(renewed.authority != keys.authority);
            assert!(renewed.previous.len() <= 2, "{}", renewed.previous.len());
            (keys, trusted) = (renewed, bundle);
        }
        assert!(authorities >= 6, "{authorities}");
    }

    #[test]
    fn what_is_no_certificate_is_an_error() {
        let mut keys = Keys::create(&names(), now()).expect("keys");
        keys.authority.certificate = "no PEM".to_owned();
        assert!(matches!(keys.renewed(&names(), "", now()), Err(AuthorityError::Kept(_))));
    }

    #[test]
    fn a_key_is_not_in_what_is_logged() {
        let keys = Keys::create(&names(), now()).expect("keys");
        assert!(!format!("{keys:?}").contains("PRIVATE"));
    }
}
