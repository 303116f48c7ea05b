//! Roles in a cluster: what each gives by kubectl is kept as its RBAC, and that is told in its status.
//!
//! This stands beside the loop: it follows what the API server has, and not what is in force, so that a right that was taken from somebody is
//! gone although some other change waits for approval. Only Roles that a change concerns are looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use api::feed::{Change, Subject};
use api::view::SharedView;
use cluster::events::Happening;
use cluster::grants::{Error, Grants, Wanted};
use cluster::{Cluster, Known};
use crds::{Kind, Object, PlainStatus, Role};
use futures::StreamExt as _;
use jiff::Timestamp;
use reconcile::access::{self, Rules};
use reconcile::{Desired, Name, Target, report};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::cluster::requested_at;
use super::governing::Governing;
use super::reports::Reports;

/// Roles that are written at a time.
const WRITERS: usize = 8;
/// Time between two tries of what could not be written.
const AGAIN: Duration = Duration::from_secs(5);
/// Time until what was refused is tried again: somebody may have put it right where we don't look.
const LATER: Duration = Duration::from_secs(60);

/// What it works with.
pub(crate) struct Shared {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) view: SharedView,
    pub(crate) reports: Arc<Reports>,
    pub(crate) governing: Arc<Governing>,
    /// Whether Roles become RBAC.
    pub(crate) rbac: bool,
}

/// How it stands with a Role.
struct Verdict {
    is_ready: bool,
    reason: &'static str,
    message: String,
    /// When it is looked at again although nothing changes.
    again: Option<Duration>,
}

impl Verdict {
    fn not(reason: &'static str, message: impl Into<String>, again: Option<Duration>) -> Self {
        Self { is_ready: false, reason, message: message.into(), again }
    }
}

/// Roles that are gone and have left something that could not be taken away, and why: there is no status to say it in.
#[derive(Default)]
struct Left(BTreeMap<Name, Error>);

impl Left {
    /// Notes how it went this time. Returns whether that is new.
    fn note(&mut self, name: &Name, error: Option<&Error>) -> bool {
        match error {
            Some(error) => self.0.insert(name.clone(), error.clone()).as_ref() != Some(error),
            None => self.0.remove(name).is_some(),
        }
    }
}

/// Looks after the Roles until told to stop.
pub(crate) async fn run(shared: Shared, stop: CancellationToken) {
    let mut grants = shared.rbac.then(|| shared.cluster.grants());
    let mut waiting: BTreeSet<Name> = BTreeSet::new();
    let mut later: BTreeMap<Name, Instant> = BTreeMap::new();
    let mut problem = None;
    let mut left = Left::default();
    loop {
        let wake = later.values().min().copied();
        tokio::select! {
            () = stop.cancelled() => return,
            () = shared.governing.news.notified() => {}
            drifted = drifted(grants.as_mut()) => match drifted {
                Ok(names) => {
                    waiting.extend(names);
                    problem = None;
                }
                Err(error) if problem.as_ref() != Some(&error) => {
                    tracing::warn!(error, "what Roles give can't be watched");
                    problem = Some(error);
                }
                // It tries again by itself, more and more seldom.
                Err(_) => continue,
            },
            () = tokio::time::sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
        }
        let (desired, concerned) = shared.governing.take();
        waiting.extend(concerned);
        let now = Instant::now();
        waiting.extend(later.extract_if(.., |_, at| *at <= now).map(|(name, _)| name));
        // What is there is known neither before the first list of our kinds nor before that of RBAC.
        if desired.revision.commit.is_empty() {
            continue;
        }
        if grants.as_ref().is_some_and(|grants| !grants.is_listed()) {
            if let Some(error) = &problem {
                let verdict = |name: &Name| shared.tell(name, &desired, Verdict::not("CantBeWatched", error.as_str(), None));
                waiting.iter().for_each(verdict);
            }
            continue;
        }
        for (name, again) in shared.work(&mut grants, &mut left, &desired, std::mem::take(&mut waiting)).await {
            match again {
                Some(again) => drop(later.insert(name, Instant::now() + again)),
                None => drop(later.remove(&name)),
            }
        }
    }
}

/// Waits until what there is in RBAC changes; where it is not looked at, for ever.
async fn drifted(grants: Option<&mut Grants>) -> Result<BTreeSet<Name>, String> {
    match grants {
        Some(grants) => grants.next().await,
        None => std::future::pending().await,
    }
}

impl Shared {
    /// Puts the RBAC of these Roles right, and tells how they stand. Returns when each is to be looked at again.
    async fn work(
        &self,
        grants: &mut Option<Grants>,
        left: &mut Left,
        desired: &Arc<Desired>,
        names: BTreeSet<Name>,
    ) -> Vec<(Name, Option<Duration>)> {
        let mut work = Vec::new();
        let mut done = Vec::new();
        for name in names {
            let known = self.cluster.known(&(Kind::Role, name.clone()));
            match known {
                // It may have been good when it was applied, so what it gave stays.
                Some(Known { object: None, deleting: false, broken: Some(why), .. }) => {
                    self.tell(&name, desired, Verdict::not("InvalidManifest", why, None));
                    done.push((name, None));
                }
                Some(Known { object: Some(object), deleting: false, uid, .. }) => {
                    let Object::Role(role) = &*object else { continue };
                    let made = rules(desired, &name, role).await;
                    let wanted = Wanted { owner: Some(uid), rules: made.rules.clone(), subjects: role.spec.subjects.clone() };
                    let writes = grants.as_ref().map(|grants| grants.plan(&name, &wanted)).unwrap_or_default();
                    work.push((name, Some((object.clone(), made)), writes));
                }
                _ => {
                    let writes = grants.as_ref().map(|grants| grants.plan(&name, &Wanted::default())).unwrap_or_default();
                    work.push((name, None, writes));
                }
            }
        }
        let writes = work.into_iter().map(|(name, role, writes)| async move {
            let mut written = Vec::new();
            for write in writes {
                match self.cluster.write_grant(write).await {
                    Ok(one) => written.push(one),
                    Err(error) => return (name, role, written, Some(error)),
                }
            }
            (name, role, written, None)
        });
        // Boxed: the compiler can't follow such a stream's lifetimes otherwise.
        let writes: Vec<_> = writes.map(futures::FutureExt::boxed).collect();
        let results: Vec<_> = futures::stream::iter(writes).buffer_unordered(WRITERS).collect().await;
        for (name, role, written, error) in results {
            if !written.is_empty() {
                tracing::info!(role = %name, objects = written.len(), "its RBAC is written");
            }
            if let Some(grants) = grants.as_mut() {
                written.into_iter().for_each(|written| grants.note(written));
            }
            let again = match role {
                Some((object, made)) => {
                    left.note(&name, None);
                    let verdict = self.verdict(&object, &made, error);
                    let again = verdict.again;
                    self.tell(&name, desired, verdict);
                    again
                }
                None => {
                    self.view.write().unwrap_or_else(PoisonError::into_inner).roles.remove(&name);
                    let is_new = left.note(&name, error.as_ref());
                    if let Some(error) = error.as_ref().filter(|_| is_new) {
                        tracing::warn!(role = %name, %error, "it is gone, and what it gave by kubectl could not be taken away");
                    }
                    error.map(|error| if matches!(error, Error::Away(_)) { AGAIN } else { LATER })
                }
            };
            done.push((name, again));
        }
        done
    }

    fn verdict(&self, object: &Object, made: &Rules, error: Option<Error>) -> Verdict {
        let Object::Role(role) = object else { return Verdict::not("Invalid", "no Role", None) };
        match error {
            Some(error @ Error::Foreign(_)) => return Verdict::not("OwnedElsewhere", error.to_string(), Some(LATER)),
            Some(error @ Error::Refused(_)) => return Verdict::not("Refused", error.to_string(), Some(LATER)),
            Some(error @ Error::Away(_)) => return Verdict::not("NotWritten", error.to_string(), Some(AGAIN)),
            None => {}
        }
        if role.spec.suspend == Some(true) {
            return Verdict::not("Suspended", "spec.suspend: it grants nothing", None);
        }
        if !made.left_out.is_empty() {
            return Verdict::not("TooManyNames", made.left_out.join("; "), None);
        }
        let summary = access::summary(role);
        let how = match (self.rbac, made.rules.is_empty()) {
            (false, _) => "; not by kubectl (--no-rbac)",
            (true, true) => "; nothing by kubectl",
            (true, false) => "",
        };
        Verdict { is_ready: true, reason: "Granted", message: format!("{summary}{how}"), again: None }
    }

    fn tell(&self, name: &Name, desired: &Desired, verdict: Verdict) {
        let key = (Kind::Role, name.clone());
        let Some(known) = self.cluster.known(&key) else { return };
        let Verdict { is_ready, reason, message, again: _ } = verdict;
        let now = Timestamp::now();
        let conditions = match desired.stalled.get(&Target::of(Kind::Role, name.clone())) {
            Some(why) => report::stalled(why, now),
            None if is_ready => report::conditions(true, reason, &message, now),
            None => {
                let also = match reason {
                    "Suspended" => None,
                    "NotWritten" => Some("Reconciling"),
                    _ => Some("Stalled"),
                };
                report::unready(also, reason, &message, now)
            }
        };
        let status = PlainStatus {
            observed_generation: Some(known.generation),
            conditions,
            last_handled_request_at: known.object.as_deref().and_then(requested_at),
        };
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        let before = view.roles.insert(name.clone(), status.clone());
        let feed = view.feed.clone();
        drop(view);
        feed.changed([Change::of(Subject::Object(Kind::Role, name.clone()))]);
        let said = |status: &PlainStatus| {
            status.conditions.iter().map(|of| (of.type_.clone(), of.reason.clone(), of.message.clone())).collect::<Vec<_>>()
        };
        if before.as_ref().map(said) != Some(said(&status)) && !is_ready && reason != "Suspended" {
            tracing::warn!(role = %name, reason, "{message}");
            self.reports.happened(Happening { key: key.clone(), reason, note: message, is_warning: true });
        }
        self.reports.objects([key]);
    }
}

/// The rules of a Role: with many devices that is work, and nobody waits for it here.
async fn rules(desired: &Arc<Desired>, name: &Name, role: &Role) -> Rules {
    let (fleet, of, role) = (desired.clone(), name.clone(), role.clone());
    let made = tokio::task::spawn_blocking(move || access::rules(&fleet, &of, &role)).await;
    // A fault of ours gives nothing.
    made.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_taken_away_is_said_once() {
        let mut left = Left::default();
        let name = Name::parse("r");
        let refused = Error::Refused("no owner".into());
        assert!(left.note(&name, Some(&refused)));
        assert!(!left.note(&name, Some(&refused)), "it is tried again and again");
        assert!(left.note(&Name::parse("other"), Some(&refused)));
        assert!(left.note(&name, Some(&Error::Away("conflict".into()))), "something else is new");
        assert!(left.note(&name, None));
        assert!(left.note(&name, Some(&refused)));
    }
}
