//! Has it written down what was so: which commit changed which device, the states of probes, and what Roles allowed.
//!
//! The loop only notes what is new. A task beside it writes that in pieces, as the store takes it; what was noted meanwhile is taken together.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crds::{Kind, Object, Subject};
use jiff::Timestamp;
use reconcile::content::Digest;
use reconcile::{Desired, Name, ProbeSeen};
use store::{DeviceRow, Permission, ProbeChange, Store};
use tokio::sync::Notify;
use tokio::time::Instant;

/// States of probes that wait for the store; of more, the oldest go.
const PROBES: usize = 100_000;
/// Rows that are written at once: others who write wait no longer than for these.
const MANY: usize = 256;
/// How long further news are waited for.
const GATHER: Duration = Duration::from_secs(1);
/// Time between two tries.
const AGAIN: Duration = Duration::from_secs(10);
/// How often what is old is thrown away.
const TIDY: Duration = Duration::from_secs(3600);
/// What Roles allow is written down up to so many rows; more is a fault in the Roles, and would take minutes.
const PERMISSIONS: usize = 50_000;

/// What is to be written down.
#[derive(Default)]
pub(super) struct Ledger {
    waiting: Mutex<Waiting>,
    news: Notify,
}

#[derive(Default)]
struct Waiting {
    in_force: Option<InForce>,
    probes: VecDeque<ProbeChange>,
    dropped: u64,
}

/// What came in force.
struct InForce {
    desired: Arc<Desired>,
    at: Timestamp,
    devices: BTreeSet<Name>,
    /// Roles are others.
    roles: bool,
}

impl Ledger {
    /// Another revision is in force, which changed these devices and perhaps Roles.
    pub(super) fn in_force(&self, desired: &Arc<Desired>, devices: &BTreeSet<Name>, roles: bool) {
        let mut waiting = self.waiting();
        let mut now = InForce { desired: desired.clone(), at: Timestamp::now(), devices: devices.clone(), roles };
        if let Some(before) = waiting.in_force.take() {
            now.devices.extend(before.devices);
            now.roles |= before.roles;
        }
        waiting.in_force = Some(now);
        drop(waiting);
        self.news.notify_one();
    }

    /// A probe came into another state.
    pub(super) fn probe(&self, device: &Name, probe: &str, seen: &ProbeSeen) {
        let at = seen.since.or(seen.seen_at).unwrap_or_else(Timestamp::now);
        let (state, code, reason) = (seen.state, seen.code, seen.reason.clone());
        let change = ProbeChange { device: device.clone(), probe: probe.to_owned(), at, state, code, reason };
        let mut waiting = self.waiting();
        waiting.probes.push_back(change);
        if waiting.probes.len() > PROBES {
            waiting.probes.pop_front();
            waiting.dropped += 1;
        }
        drop(waiting);
        self.news.notify_one();
    }

    /// Writes for ever.
    pub(super) async fn write(self: Arc<Self>, store: Arc<Store>) {
        let mut tidied: Option<Instant> = None;
        let mut writer = Writer { store, is_first: true };
        loop {
            tokio::select! {
                () = self.news.notified() => tokio::time::sleep(GATHER).await,
                () = tokio::time::sleep(TIDY) => {}
            }
            if let Err(error) = self.turn(&mut writer).await {
                tracing::debug!(%error, "what was so can't be written down yet");
                tokio::time::sleep(AGAIN).await;
                self.news.notify_one();
            }
            if tidied.is_none_or(|tidied| tidied.elapsed() > TIDY) {
                tidied = Some(Instant::now());
                if let Err(error) = writer.store.tidy_history(Timestamp::now()).await {
                    tracing::debug!(%error, "what was so long ago can't be thrown away yet");
                }
            }
        }
    }

    /// Writes what waits; what the store does not take waits on.
    async fn turn(&self, writer: &mut Writer) -> Result<(), store::Error> {
        let in_force = self.waiting().in_force.take();
        if let Some(in_force) = in_force
            && let Err(error) = writer.in_force(&in_force).await
        {
            let mut waiting = self.waiting();
            match &mut waiting.in_force {
                Some(newer) => {
                    newer.devices.extend(in_force.devices);
                    newer.roles |= in_force.roles;
                }
                none => *none = Some(in_force),
            }
            return Err(error);
        }
        loop {
            let some: Vec<ProbeChange> = {
                let mut waiting = self.waiting();
                if waiting.dropped > 0 {
                    tracing::warn!(
                        dropped = std::mem::take(&mut waiting.dropped),
                        "states of probes were not written down: the store was away for too long"
                    );
                }
                let many = waiting.probes.len().min(MANY);
                waiting.probes.drain(..many).collect()
            };
            if some.is_empty() {
                return Ok(());
            }
            if let Err(error) = writer.store.record_probe_changes(&some).await {
                let mut waiting = self.waiting();
                some.into_iter().rev().for_each(|change| waiting.probes.push_front(change));
                return Err(error);
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Writer {
    store: Arc<Store>,
    /// What is stored may be of an earlier revision than the last one that this process had in force.
    is_first: bool,
}

impl Writer {
    async fn in_force(&mut self, now: &InForce) -> Result<(), store::Error> {
        let InForce { desired, at, devices, roles } = now;
        let known = if self.is_first { self.store.known_devices().await? } else { BTreeMap::new() };
        let all = self.is_first.then(|| desired.devices.keys().chain(known.keys()));
        let concerned: BTreeSet<&Name> = devices.iter().chain(all.into_iter().flatten()).collect();
        let (mut wanted, mut gone) = (Vec::new(), Vec::new());
        for name in concerned {
            match row(desired, name) {
                Some(row) if known.get(name) == Some(&row.digest) => {}
                Some(row) => wanted.push(row),
                None => gone.push(name.clone()),
            }
        }
        for some in wanted.chunks(MANY) {
            self.store.record_devices(some, &[], &desired.revision, *at).await?;
        }
        for some in gone.chunks(MANY) {
            self.store.record_devices(&[], some, &desired.revision, *at).await?;
        }
        if *roles || self.is_first {
            self.store.record_permissions(&permissions(desired), &desired.revision.commit, *at).await?;
        }
        self.is_first = false;
        Ok(())
    }
}

/// A device as it is kept. One that is written and can't be used has no row of its own, as it has no state.
fn row(desired: &Desired, name: &Name) -> Option<DeviceRow> {
    let device = desired.devices.get(name)?;
    let object = desired.objects.get(&(Kind::Device, name.clone()));
    // What its class gives it is part of it; what an API server notes about it is not.
    let spec = object.map(|object| object.to_value()["spec"].take());
    let whole = serde_json::to_string(&(spec, &device.address, &device.labels)).unwrap_or_default();
    Some(DeviceRow {
        name: name.clone(),
        kind: format!("{:?}", device.device_type),
        address: device.address.clone(),
        digest: Digest::of(whole.as_bytes()).short().to_owned(),
        labels: (*device.labels).clone(),
    })
}

/// What the Roles in force allow.
fn permissions(desired: &Desired) -> BTreeSet<Permission> {
    let mut all = BTreeSet::new();
    let from = (Kind::Role, Name::new("", ""));
    for ((_, name), object) in desired.objects.range(from..).take_while(|((kind, _), _)| *kind == Kind::Role) {
        let Object::Role(role) = &**object else { continue };
        if role.spec.suspend == Some(true) {
            continue;
        }
        for (subject, grant) in role.spec.subjects.iter().flat_map(|subject| role.spec.allow.iter().map(move |grant| (subject, grant))) {
            let devices = grant.devices.as_ref().map(|selector| serde_json::to_string(selector).unwrap_or_default()).unwrap_or_default();
            let kinds: Vec<&str> = if grant.kinds.is_empty() { vec![""] } else { grant.kinds.iter().map(|kind| kind.as_str()).collect() };
            for (verb, kind) in grant.verbs.iter().flat_map(|verb| kinds.iter().map(move |kind| (verb, *kind))) {
                if all.len() == PERMISSIONS {
                    tracing::warn!("Roles allow more than {PERMISSIONS} things one by one: the rest is not written down");
                    return all;
                }
                let (subject, verb) = (text(subject), verb.as_str().to_owned());
                all.insert(Permission { role: name.clone(), subject, verb, kind: kind.to_owned(), devices: devices.clone() });
            }
        }
    }
    all
}

/// A subject as `evenkeel can` takes it.
fn text(subject: &Subject) -> String {
    let named = [("user", &subject.user), ("group", &subject.group), ("signer", &subject.signer)];
    named.into_iter().find_map(|(word, name)| Some(format!("{word}:{}", name.as_ref()?))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use reconcile::{ProbeState, Revision};
    use serde_json::{Value, json};
    use store::Options;

    use super::*;

    fn object(kind: Kind, name: &str, spec: &Value) -> Arc<Object> {
        let value = json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": kind.as_str(), "metadata": {"name": name}, "spec": spec});
        Arc::new(Object::from_value(kind, value).unwrap())
    }

    fn desired(commit: &str, devices: &[(&str, &str)], verbs: &[&str]) -> Arc<Desired> {
        let spec = |address: &str| json!({"type": "Server", "address": address});
        let mut objects: Vec<_> = devices.iter().map(|(name, address)| object(Kind::Device, name, &spec(address))).collect();
        let allow = json!([{"verbs": verbs, "kinds": ["Device", "Silence"]}, {"verbs": ["view"], "devices": {"matchLabels": {"a": "b"}}}]);
        objects.push(object(Kind::Role, "r", &json!({"subjects": [{"user": "ann"}, {"group": "ops"}], "allow": allow})));
        Arc::new(Desired::build(objects, Revision { commit: commit.into(), author: "ann".into(), ..Revision::default() }).0)
    }

    /// A start looks at everything, and writes what is otherwise than it was written.
    #[tokio::test]
    async fn what_a_commit_changed_is_written_and_a_start_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(&Options { data: folder.path().to_owned(), url: None }).await.unwrap());
        let all = async |name: &str| {
            let changes = store.device_changes(&Name::parse(name), Timestamp::UNIX_EPOCH).await.unwrap();
            changes.into_iter().map(|change| format!("{} {}", change.what, change.commit)).collect::<Vec<_>>()
        };
        let (ledger, mut writer) = (Ledger::default(), Writer { store: store.clone(), is_first: true });
        ledger.in_force(&desired("c1", &[("a", "10.0.0.1"), ("b", "10.0.0.2")], &["view"]), &BTreeSet::new(), false);
        ledger.turn(&mut writer).await.unwrap();
        // Only what is said to have changed is looked at.
        let second = desired("c2", &[("a", "10.0.0.9"), ("b", "10.0.0.2")], &["view", "edit"]);
        ledger.in_force(&second, &[Name::parse("a")].into(), true);
        ledger.turn(&mut writer).await.unwrap();
        assert_eq!((all("a").await, all("b").await), (vec!["changed c2".to_owned(), "added c1".into()], vec!["added c1".to_owned()]));
        // 2 subjects, each: view and edit of 2 kinds, and to view what is on some devices.
        assert_eq!(store.permissions_at(Timestamp::now(), None).await.unwrap().len(), 10);

        let mut writer = Writer { store: store.clone(), is_first: true };
        ledger.in_force(&second, &second.devices.keys().cloned().collect(), false);
        ledger.turn(&mut writer).await.unwrap();
        assert_eq!((all("a").await.len(), all("b").await.len()), (2, 1));
        let mut writer = Writer { store: store.clone(), is_first: true };
        ledger.in_force(&desired("c3", &[("a", "10.0.0.9")], &["view", "edit"]), &BTreeSet::new(), false);
        ledger.turn(&mut writer).await.unwrap();
        assert_eq!(all("b").await, ["removed c3", "added c1"], "it went while nobody was there");
    }

    #[tokio::test]
    async fn of_more_states_than_can_wait_the_oldest_go_and_the_rest_is_written() {
        let ledger = Ledger::default();
        let seen = |number: i64| ProbeSeen {
            state: if number % 2 == 0 { ProbeState::Ok } else { ProbeState::Fail },
            since: Some(Timestamp::from_second(1_800_000_000 + number).unwrap()),
            ..ProbeSeen::default()
        };
        let web = Name::parse("web");
        (0..i64::try_from(PROBES).unwrap() + 3).for_each(|number| ledger.probe(&web, "ping", &seen(number)));
        {
            let mut waiting = ledger.waiting();
            assert_eq!((waiting.probes.len(), waiting.dropped, waiting.probes[0].at), (PROBES, 3, seen(3).since.unwrap()));
            waiting.probes.truncate(MANY + 1);
        }
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(&Options { data: folder.path().to_owned(), url: None }).await.unwrap());
        ledger.turn(&mut Writer { store: store.clone(), is_first: true }).await.unwrap();
        assert_eq!(store.probe_changes(&web, Timestamp::UNIX_EPOCH).await.unwrap().len(), MANY + 1);
        assert!(ledger.waiting().probes.is_empty());
    }
}
