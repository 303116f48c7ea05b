//! A Lease (coordination.k8s.io/v1), held by one process at a time; the rules are those of client-go's leader election.
//!
//! Clocks of two machines are never compared: who waits measures by its own clock how long the holder's word has not changed, and whoever begins
//! anew has heard nothing yet. The holder's word is the lease's spec: what others write beside it is no sign of life. Who can't renew in time takes it
//! that the lease is lost before anybody else may take it.

use std::collections::BTreeMap;
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

/// On a lease: who holds none and asks for this one, of somebody who holds several.
const WANTED_BY: &str = "evenkeel.dev/wanted-by";

/// A lease that is held.
pub struct Held {
    api: Api<Lease>,
    lease: Lease,
    timing: Timing,
    since: Instant,
    /// Becomes cancelled when the lease is lost.
    pub lost: CancellationToken,
    /// Becomes cancelled when somebody asks for it.
    pub wanted: CancellationToken,
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
                // Ours, with what somebody else wrote beside it, or by a request of ours whose answer was lost: it is not renewed by that.
                Ok(Err(kube::Error::Api(status))) if status.code == 409 && self.is_still_ours(left).await => {
                    if self.lease.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(WANTED_BY)) {
                        self.wanted.cancel();
                    }
                }
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
        if let Some(annotations) = &mut self.lease.metadata.annotations {
            annotations.remove(WANTED_BY);
        }
        if let Err(error) = replace(&self.api, &self.lease).await {
            tracing::warn!(lease = self.name(), error = reason(&error), "the lease could not be let go");
        }
    }
}

/// Somebody who would hold leases.
pub struct Contender {
    api: Api<Lease>,
    identity: String,
    timing: Timing,
    /// What each holder said last, and since when it has said that.
    heard: BTreeMap<String, (Option<LeaseSpec>, Instant)>,
}

/// How it stands with a lease.
pub struct Glance {
    name: String,
    lease: Option<Lease>,
    /// Who holds it.
    pub holder: Option<String>,
    /// It can be taken.
    pub is_free: bool,
}

impl Contender {
    /// Time between two tries.
    pub fn again(&self) -> Duration {
        self.timing.again
    }

    /// Looks at a lease; the error is in words.
    pub async fn look(&mut self, name: &str) -> Result<Glance, String> {
        let lease = within(self.api.get_opt(name)).await.map_err(|error| reason(&error))?;
        let Some(lease) = lease else { return Ok(Glance { name: name.to_owned(), lease: None, holder: None, is_free: true }) };
        let since = self.heard_since(name, lease.spec.as_ref());
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.filter(|holder| !holder.is_empty());
        let limit = Duration::from_secs(u64::try_from(spec.lease_duration_seconds.unwrap_or_default()).unwrap_or_default());
        let is_free = holder.is_none() || since.elapsed() >= limit.max(Duration::from_secs(1));
        Ok(Glance { name: name.to_owned(), lease: Some(lease), holder, is_free })
    }

    /// Since when a holder's word has been what it is.
    fn heard_since(&mut self, name: &str, word: Option<&LeaseSpec>) -> Instant {
        match self.heard.get(name) {
            Some((last, since)) if last.as_ref() == word => *since,
            _ => {
                let now = Instant::now();
                self.heard.insert(name.to_owned(), (word.cloned(), now));
                now
            }
        }
    }

    /// Takes a lease that is free; `None`: somebody else was quicker.
    pub async fn take(&self, glance: Glance) -> Result<Option<Held>, String> {
        let since = Instant::now();
        let now = MicroTime(Timestamp::now());
        let spec = |transitions| LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.timing.duration.as_secs()).ok(),
            acquire_time: Some(now.clone()),
            renew_time: Some(now.clone()),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        };
        let taken = match glance.lease {
            None => {
                let metadata = ObjectMeta { name: Some(glance.name), ..ObjectMeta::default() };
                within(self.api.create(&PostParams::default(), &Lease { metadata, spec: Some(spec(0)) })).await
            }
            Some(mut lease) => {
                let transitions = lease.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or_default();
                lease.spec = Some(spec(transitions.saturating_add(1)));
                if let Some(annotations) = &mut lease.metadata.annotations {
                    annotations.remove(WANTED_BY);
                }
                replace(&self.api, &lease).await
            }
        };
        match taken {
            Ok(lease) => Ok(Some(Held {
                api: self.api.clone(),
                lease,
                timing: self.timing,
                since,
                lost: CancellationToken::new(),
                wanted: CancellationToken::new(),
            })),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
            Err(error) => Err(reason(&error)),
        }
    }

    /// Asks the holder to let it go. It need not.
    pub async fn want(&self, glance: Glance) -> Result<(), String> {
        let Some(mut lease) = glance.lease else { return Ok(()) };
        let annotations = lease.metadata.annotations.get_or_insert_default();
        if annotations.insert(WANTED_BY.into(), self.identity.clone()).is_some() {
            return Ok(());
        }
        match replace(&self.api, &lease).await {
            // It was renewed meanwhile: asked again at the next look.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            other => other.map(drop).map_err(|error| reason(&error)),
        }
    }
}

impl Cluster {
    /// Somebody who would hold leases in this namespace.
    pub fn contender(&self, namespace: &str, identity: &str, timing: Timing) -> Contender {
        let api = Api::namespaced(self.client.clone(), namespace);
        Contender { api, identity: identity.to_owned(), timing, heard: BTreeMap::new() }
    }

    /// Waits for a lease, for as long as somebody else holds it.
    pub async fn acquire(&self, namespace: &str, name: &str, identity: &str, timing: Timing) -> Held {
        let mut contender = self.contender(namespace, identity, timing);
        let mut told = String::new();
        loop {
            let taken = match contender.look(name).await {
                Ok(glance) if glance.is_free => contender.take(glance).await,
                Ok(_) => Ok(None),
                Err(error) => Err(error),
            };
            let said = match taken {
                Ok(Some(held)) => return held,
                Ok(None) => "waiting: another replica holds the lease".to_owned(),
                Err(error) => format!("the lease can't be had yet: {error}"),
            };
            if told != said {
                told = said;
                tracing::info!(lease = name, namespace, "{told}");
            }
            tokio::time::sleep(timing.again).await;
        }
    }
}

/// The resource version in it makes this fail if somebody else wrote meanwhile.
async fn replace(api: &Api<Lease>, lease: &Lease) -> Result<Lease, kube::Error> {
    within(api.replace(lease.metadata.name.as_deref().unwrap_or_default(), &PostParams::default(), lease)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contender() -> Contender {
        let config = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
        let api = Api::namespaced(kube::Client::try_from(config).unwrap(), "ours");
        Contender { api, identity: "b".into(), timing: Timing::new(Duration::from_secs(15)), heard: BTreeMap::new() }
    }

    fn word(holder: &str, second: i64) -> LeaseSpec {
        let at = MicroTime(Timestamp::from_second(second).unwrap());
        LeaseSpec { holder_identity: Some(holder.into()), renew_time: Some(at), lease_duration_seconds: Some(15), ..LeaseSpec::default() }
    }

    /// As `observedTime` of client-go: whatever the holder's clock says, and however old its word is, a process that begins waits as long as
    /// the lease lasts from when it first heard it.
    #[tokio::test]
    async fn how_old_a_word_is_goes_by_when_it_was_heard_first() {
        let mut contender = contender();
        let begin = Instant::now();
        let long_ago = word("a", 0);
        let first = contender.heard_since("lease", Some(&long_ago));
        assert!(first >= begin, "nothing was heard before");
        assert_eq!(contender.heard_since("lease", Some(&long_ago)), first, "the same word is no new one");
        assert!(contender.heard_since("other", Some(&long_ago)) >= first);
        // Its clock was set back, and it is alive.
        let back = contender.heard_since("lease", Some(&word("a", -3600)));
        assert!(back > first);
        let other = contender.heard_since("lease", Some(&word("c", -3600)));
        assert!(other > back, "another holder is heard anew");
        assert_eq!(contender.heard_since("lease", Some(&word("c", -3600))), other);
    }
}
