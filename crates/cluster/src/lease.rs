//! A Lease (coordination.k8s.io/v1), held by one process at a time; the rules are those of client-go's leader election.
//!
//! Clocks of two machines are never compared: who waits measures by its own clock how long the holder's word has not changed. Who can't
//! renew in time takes it that the lease is lost before anybody else may take it.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, PostParams};
use kube::core::ObjectMeta;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{Cluster, reason, within};

/// How long a lease holds: the shares are those of client-go, where 15, 10 and 2 seconds are the rule.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// A holder that is not heard of for so long has lost the lease.
    duration: Duration,
    /// A holder that could not renew for so long gives up by itself.
    renew_within: Duration,
    /// Time between two tries.
    again: Duration,
}

impl Timing {
    /// The API has whole seconds; less than three leave no time to renew.
    pub fn new(duration: Duration) -> Self {
        let duration = Duration::from_secs(duration.as_secs().clamp(3, 3600));
        Self { duration, renew_within: duration * 2 / 3, again: duration * 2 / 15 }
    }
}

/// A lease that is held.
pub struct Held {
    api: Api<Lease>,
    lease: Lease,
    timing: Timing,
    since: Instant,
    /// Becomes cancelled when the lease is lost.
    pub lost: CancellationToken,
}

impl Held {
    /// How often it changed hands: what tells this holding of it from every earlier one.
    pub fn generation(&self) -> i32 {
        self.lease.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or_default()
    }

    /// Renews it until told to stop, and lets it go then, so that the next one need not wait.
    pub async fn keep(mut self, stop: CancellationToken) {
        let mut renewed = self.since;
        loop {
            tokio::select! {
                () = stop.cancelled() => return self.release().await,
                () = tokio::time::sleep(self.timing.again) => {}
            }
            let Some(spec) = &mut self.lease.spec else { return self.lost.cancel() };
            spec.renew_time = Some(MicroTime(Timestamp::now()));
            let left = self.timing.renew_within.saturating_sub(renewed.elapsed());
            // Others count from when the server took it, which is before it answered.
            let asked = Instant::now();
            match tokio::time::timeout(left, replace(&self.api, &self.lease)).await {
                Ok(Ok(lease)) => {
                    renewed = asked;
                    self.lease = lease;
                }
                // It may be ours, written by a request whose answer was lost.
                Ok(Err(kube::Error::Api(status))) if status.code == 409 && self.is_still_ours(left).await => renewed = asked,
                Ok(Err(kube::Error::Api(status))) if status.code == 409 || status.code == 404 => {
                    tracing::error!(lease = self.name(), "another one has taken the lease");
                    return self.lost.cancel();
                }
                Ok(Err(error)) => tracing::warn!(lease = self.name(), error = reason(&error), "the lease can't be renewed"),
                Err(_) => {}
            }
            if renewed.elapsed() >= self.timing.renew_within {
                tracing::error!(lease = self.name(), "the lease could not be renewed in time");
                return self.lost.cancel();
            }
        }
    }

    async fn is_still_ours(&mut self, left: Duration) -> bool {
        let Ok(Ok(lease)) = tokio::time::timeout(left, self.api.get(self.name())).await else { return false };
        let holder = |lease: &Lease| lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone());
        let ours = holder(&lease).is_some() && holder(&lease) == holder(&self.lease);
        self.lease = lease;
        ours
    }

    fn name(&self) -> &str {
        self.lease.metadata.name.as_deref().unwrap_or_default()
    }

    async fn release(mut self) {
        let Some(spec) = &mut self.lease.spec else { return };
        spec.holder_identity = None;
        spec.lease_duration_seconds = Some(1);
        if let Err(error) = replace(&self.api, &self.lease).await {
            tracing::warn!(lease = self.name(), error = reason(&error), "the lease could not be let go");
        }
    }
}

impl Cluster {
    /// Waits for a lease, for as long as somebody else holds it.
    pub async fn acquire(&self, namespace: &str, name: &str, identity: &str, timing: Timing) -> Held {
        let api: Api<Lease> = Api::namespaced(self.client.clone(), namespace);
        // What the holder said last, and since when it has said that.
        let mut heard: Option<(Option<String>, Instant)> = None;
        let mut told = String::new();
        loop {
            let since = Instant::now();
            match take(&api, name, identity, timing, &mut heard).await {
                Ok(Some(lease)) => return Held { api, lease, timing, since, lost: CancellationToken::new() },
                Ok(None) => {
                    let holder = "waiting: another replica holds the lease".to_owned();
                    if told != holder {
                        tracing::info!(lease = name, namespace, "{holder}");
                        told = holder;
                    }
                }
                Err(error) => {
                    let said = reason(&error);
                    if told != said {
                        tracing::warn!(lease = name, namespace, error = said, "the lease can't be had yet");
                        told = said;
                    }
                }
            }
            tokio::time::sleep(timing.again).await;
        }
    }
}

/// Takes a lease that is free; `None`: somebody else holds it.
async fn take(
    api: &Api<Lease>,
    name: &str,
    identity: &str,
    timing: Timing,
    heard: &mut Option<(Option<String>, Instant)>,
) -> Result<Option<Lease>, kube::Error> {
    let now = MicroTime(Timestamp::now());
    let spec = |transitions| LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: i32::try_from(timing.duration.as_secs()).ok(),
        acquire_time: Some(now.clone()),
        renew_time: Some(now.clone()),
        lease_transitions: Some(transitions),
        ..LeaseSpec::default()
    };
    let Some(mut lease) = within(api.get_opt(name)).await? else {
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let lease = Lease { metadata, spec: Some(spec(0)) };
        return match within(api.create(&PostParams::default(), &lease)).await {
            Ok(lease) => Ok(Some(lease)),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
            Err(error) => Err(error),
        };
    };
    let old = lease.spec.clone().unwrap_or_default();
    let holder = old.holder_identity.as_deref().unwrap_or_default();
    let word = lease.metadata.resource_version.clone();
    let since = match heard {
        Some((last, since)) if *last == word => *since,
        _ => {
            *heard = Some((word, Instant::now()));
            Instant::now()
        }
    };
    let limit = Duration::from_secs(u64::try_from(old.lease_duration_seconds.unwrap_or_default()).unwrap_or_default());
    if !holder.is_empty() && since.elapsed() < limit.max(Duration::from_secs(1)) {
        return Ok(None);
    }
    lease.spec = Some(spec(old.lease_transitions.unwrap_or_default().saturating_add(1)));
    match replace(api, &lease).await {
        Ok(lease) => Ok(Some(lease)),
        // Somebody else was quicker.
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
        Err(error) => Err(error),
    }
}

/// The resource version in it makes this fail if somebody else wrote meanwhile.
async fn replace(api: &Api<Lease>, lease: &Lease) -> Result<Lease, kube::Error> {
    within(api.replace(lease.metadata.name.as_deref().unwrap_or_default(), &PostParams::default(), lease)).await
}
