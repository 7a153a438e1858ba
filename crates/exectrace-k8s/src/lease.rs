//! Who of several webhooks keeps the status: the one that holds a Lease.
//!
//! Each write carries the version that was read, so that of two who take an expired lease at once only one gets it.
//! Clocks that differ may still make two who think that they hold it for a while, so what a holder writes must carry a
//! version, too.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};

/// A lease that somebody wants to hold.
#[derive(Clone)]
pub(crate) struct Wanted {
    all: Api<Lease>,
    name: String,
    identity: String,
    lasts: Duration,
}

impl Wanted {
    pub(crate) fn new(client: Client, namespace: &str, name: &str, identity: &str, lasts: Duration) -> Wanted {
        let all = Api::namespaced(client, namespace);
        Wanted { all, name: name.to_owned(), identity: identity.to_owned(), lasts }
    }

    /// Takes the lease, or renews it; whether it is held now.
    pub(crate) async fn hold(&self) -> kube::Result<bool> {
        let now = Timestamp::now();
        let written = match self.all.get_opt(&self.name).await? {
            None => self.all.create(&PostParams::default(), &self.fresh(now)).await,
            Some(found) if self.is_free(&found, now) => {
                let next = self.renewed(found, now);
                self.all.replace(&self.name, &PostParams::default(), &next).await
            }
            Some(_) => return Ok(false),
        };
        match written {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Lets the lease go, if it is held, so that the next one need not wait.
    pub(crate) async fn release(&self) -> kube::Result<()> {
        let Some(mut found) = self.all.get_opt(&self.name).await? else { return Ok(()) };
        if holder(&found) != Some(&self.identity) {
            return Ok(());
        }
        if let Some(spec) = &mut found.spec {
            spec.holder_identity = None;
        }
        self.all.replace(&self.name, &PostParams::default(), &found).await.map(drop)
    }

    fn is_free(&self, lease: &Lease, now: Timestamp) -> bool {
        match holder(lease) {
            Some(holder) if *holder == self.identity => true,
            Some(_) => has_expired(lease, now),
            None => true,
        }
    }

    fn fresh(&self, now: Timestamp) -> Lease {
        let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
        self.renewed(Lease { metadata, spec: None }, now)
    }

    fn renewed(&self, mut lease: Lease, now: Timestamp) -> Lease {
        let before = lease.spec.take().unwrap_or_default();
        let is_new = before.holder_identity.as_ref() != Some(&self.identity);
        let transitions =
            before.lease_transitions.unwrap_or_default() + i32::from(is_new && before.renew_time.is_some());
        lease.spec = Some(LeaseSpec {
            acquire_time: if is_new { Some(MicroTime(now)) } else { before.acquire_time },
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(i32::try_from(self.lasts.as_secs()).unwrap_or(i32::MAX).max(1)),
            lease_transitions: Some(transitions),
            renew_time: Some(MicroTime(now)),
            ..LeaseSpec::default()
        });
        lease
    }
}

fn holder(lease: &Lease) -> Option<&String> {
    lease.spec.as_ref()?.holder_identity.as_ref().filter(|name| !name.is_empty())
}

/// A lease that does not say until when it holds has expired.
fn has_expired(lease: &Lease, now: Timestamp) -> bool {
    let until = lease.spec.as_ref().and_then(|spec| {
        let lasts = SignedDuration::from_secs(spec.lease_duration_seconds?.into());
        spec.renew_time.as_ref()?.0.checked_add(lasts).ok()
    });
    until.is_none_or(|until| now > until)
}
