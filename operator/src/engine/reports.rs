//! What is told of objects in the cluster: their status, what happened to them, and whether they may go.
//!
//! The loop only notes whose state may be otherwise; a task beside it computes the status from the view, as everybody else who asks does,
//! and writes what differs. What can't be written is tried again, and only the newest state of an object is ever waiting.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api::view::{SharedView, View};
use cluster::events::Happening;
use cluster::{Cluster, Known};
use crds::{Kind, Object};
use futures::StreamExt as _;
use reconcile::record::RecordedStep;
use reconcile::{Access, Contact, Key, Name, Outcome, RolloutChange, Target, Verdict, report};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::cluster::requested_at;

/// Happenings that wait to be published; of more, the oldest go.
const HAPPENINGS: usize = 1000;
/// Writes at a time.
const WRITERS: usize = 8;
/// Time between two tries of what could not be written.
const AGAIN: Duration = Duration::from_secs(5);
/// Time until what was refused is tried again.
const LATER: Duration = Duration::from_secs(60);
/// Time until what somebody else wrote to at the same time is tried again.
const SOON: Duration = Duration::from_secs(1);
/// For so long after a start the status of an object stays as an earlier process wrote it, until its devices have been looked at.
const SETTLING: Duration = Duration::from_secs(60);
/// So long a new device is waited for, so that its first status says something.
const NEW: Duration = Duration::from_secs(10);
/// Objects that are written before it is looked again who waits: what is asked about most comes before the devices, however many these are.
const TURN: usize = 256;
/// So many events in a row that were not taken are not the fault of where they belong.
const IN_A_ROW: usize = 8;
/// So long the states of devices wait at the most while Repositories are applied: what is wanted goes before what has come of it.
const HELD: Duration = Duration::from_secs(60);

/// What is waiting to be told.
#[derive(Default)]
pub(crate) struct Reports {
    waiting: Mutex<Waiting>,
    news: Notify,
}

#[derive(Default)]
struct Waiting {
    keys: BTreeSet<Key>,
    /// There may be very many of them.
    devices: BTreeSet<Key>,
    happenings: VecDeque<Happening>,
    dropped: u64,
    /// Repositories that are being applied.
    applying: usize,
    /// Since when some are.
    since: Option<Instant>,
}

impl Waiting {
    fn insert(&mut self, key: Key) {
        let keys = if key.0 == Kind::Device { &mut self.devices } else { &mut self.keys };
        keys.insert(key);
    }

    /// Whether devices wait for what is being applied.
    fn are_devices_held(&self) -> bool {
        self.since.is_some_and(|since| since.elapsed() < HELD)
    }

    /// Whose turn it is.
    fn turn(&mut self) -> BTreeSet<Key> {
        let mut turn = BTreeSet::new();
        while turn.len() < TURN {
            let next = self.keys.pop_first();
            let next = next.or_else(|| if self.are_devices_held() { None } else { self.devices.pop_first() });
            match next {
                Some(key) => turn.insert(key),
                None => break,
            };
        }
        turn
    }

    /// How long nothing has to be done, if more waits.
    fn rest(&self) -> Option<Duration> {
        match (self.keys.is_empty(), self.devices.is_empty(), self.since) {
            (true, true, _) => None,
            (true, false, Some(since)) => Some(HELD.saturating_sub(since.elapsed())),
            _ => Some(Duration::ZERO),
        }
    }
}

/// The object behind a unit of rollout.
pub(super) fn key_of(unit: &Name) -> Key {
    let target = Target::unit(unit);
    (target.kind(), target.name().clone())
}

/// For as long as it is there, a Repository is being applied.
pub(super) struct Applying(Arc<Reports>);

impl Drop for Applying {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting();
        waiting.applying -= 1;
        if waiting.applying == 0 {
            waiting.since = None;
        }
        drop(waiting);
        self.0.news.notify_one();
    }
}

impl Reports {
    pub(super) fn devices<'a>(&self, names: impl IntoIterator<Item = &'a Name>) {
        self.objects(names.into_iter().map(|name| (Kind::Device, name.clone())));
    }

    pub(super) fn units<'a>(&self, names: impl IntoIterator<Item = &'a Name>) {
        self.objects(names.into_iter().map(key_of));
    }

    pub(super) fn objects(&self, keys: impl IntoIterator<Item = Key>) {
        let mut waiting = self.waiting();
        keys.into_iter().for_each(|key| waiting.insert(key));
        drop(waiting);
        self.news.notify_one();
    }

    /// A Repository is applied.
    pub(super) fn applying(self: &Arc<Self>) -> Applying {
        let mut waiting = self.waiting();
        waiting.applying += 1;
        waiting.since.get_or_insert_with(Instant::now);
        Applying(self.clone())
    }

    pub(super) fn happened(&self, happening: Happening) {
        let mut waiting = self.waiting();
        waiting.happenings.push_back(happening);
        if waiting.happenings.len() > HAPPENINGS {
            waiting.happenings.pop_front();
            waiting.dropped += 1;
        }
        drop(waiting);
        self.news.notify_one();
    }

    /// What is to be written now.
    fn take(&self) -> (BTreeSet<Key>, VecDeque<Happening>, u64) {
        let mut waiting = self.waiting();
        (waiting.turn(), std::mem::take(&mut waiting.happenings), std::mem::take(&mut waiting.dropped))
    }

    /// What could not be published yet is older than what came meanwhile.
    fn put_back(&self, mut old: VecDeque<Happening>) {
        let mut waiting = self.waiting();
        old.extend(std::mem::take(&mut waiting.happenings));
        let more = old.len().saturating_sub(HAPPENINGS);
        waiting.dropped += more as u64;
        waiting.happenings = old.split_off(more);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what is waiting until told to stop.
pub(crate) async fn publish(reports: Arc<Reports>, cluster: Arc<Cluster>, view: SharedView, instance: &str, stop: CancellationToken) {
    let events = cluster.events(instance);
    let mut patience = Patience { started: Instant::now(), since: BTreeMap::new() };
    let mut told = String::new();
    // Objects of which nothing was taken, and when that is tried again.
    let mut refused: BTreeMap<Key, Instant> = BTreeMap::new();
    loop {
        let now = Instant::now();
        let due: Vec<Key> = refused.extract_if(.., |_, due| *due <= now).map(|(key, _)| key).collect();
        let next = refused.values().min().map_or(Duration::from_secs(3600), |due| *due - now);
        let wake = match (due.is_empty(), patience.since.is_empty()) {
            (false, _) => Duration::ZERO,
            (true, false) => next.min(Duration::from_secs(1)),
            (true, true) => next,
        };
        let wake = {
            let mut waiting = reports.waiting();
            due.into_iter().for_each(|key| waiting.insert(key));
            let wake = if waiting.happenings.is_empty() { wake } else { wake.min(AGAIN) };
            waiting.rest().map_or(wake, |rest| rest.min(wake))
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = reports.news.notified() => {}
            () = tokio::time::sleep(wake) => {}
        }
        let (mut keys, happenings, dropped) = reports.take();
        keys.extend(patience.over(TURN.saturating_sub(keys.len()), reports.waiting().are_devices_held()));
        let writes: Vec<_> = keys.iter().filter_map(|key| write(&cluster, &view, &mut patience, key)).collect();
        let results: Vec<(Key, Result<(), cluster::Error>)> = futures::stream::iter(writes).buffer_unordered(WRITERS).collect().await;
        if keys.len() >= TURN && !results.is_empty() {
            // Others may have waited for long enough as well.
            reports.news.notify_one();
        }
        let (mut failed, mut went) = (None, false);
        for (key, result) in results {
            match result {
                Ok(()) => went = true,
                // What one object is refused keeps no other one waiting: it is tried when there is something new, or later.
                Err(error) if error.is_final() => {
                    let error = error.in_full();
                    if told != error {
                        tracing::warn!(error, "the state of an object is refused");
                        told = error;
                    }
                    refused.insert(key, Instant::now() + LATER);
                }
                Err(error) if error.is_conflict() => drop(refused.insert(key, Instant::now() + SOON)),
                Err(error) => {
                    failed = Some(error.in_full());
                    // At the end of the line: whoever fails for ever keeps nobody else waiting.
                    refused.insert(key, Instant::now() + AGAIN);
                }
            }
        }
        if dropped > 0 {
            tracing::warn!(dropped, "more happened than could be published as events");
        }
        let (mut later, mut in_a_row) = (VecDeque::new(), 0);
        let mut happenings = happenings.into_iter();
        for happening in happenings.by_ref() {
            match cluster.publish(&events, &happening).await {
                Ok(()) => (went, in_a_row) = (true, 0),
                // Nobody will take it.
                Err(error) if error.is_final() => {
                    let error = error.in_full();
                    if told != error && !error.contains("being terminated") {
                        tracing::warn!(error, "an event is refused");
                        told = error;
                    }
                }
                // One that is not taken keeps those of others waiting only where nobody's are.
                Err(error) => {
                    failed = failed.or(Some(error.in_full()));
                    later.push_back(happening);
                    in_a_row += 1;
                    if in_a_row == IN_A_ROW {
                        break;
                    }
                }
            }
        }
        // Those that were not tried go first the next time: else some that nobody takes would keep all the others waiting.
        let mut left: VecDeque<Happening> = happenings.collect();
        left.append(&mut later);
        reports.put_back(left);
        if let Some(error) = failed {
            if told != error {
                tracing::warn!(error, "the state of objects can't be written yet");
                told = error;
            }
            // Where something went, the others are not kept waiting.
            if !went {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(AGAIN) => reports.news.notify_one(),
                }
            }
        } else {
            told.clear();
        }
    }
}

/// Which statuses wait for their devices to be looked at first.
struct Patience {
    started: Instant,
    since: BTreeMap<Key, Instant>,
}

impl Patience {
    /// Those that may have waited for long enough, so many at the most; of the devices none while these are held.
    fn over(&self, most: usize, held: bool) -> Vec<Key> {
        let may = |(key, since): &(&Key, &Instant)| {
            let is_new = since.elapsed() < NEW && self.started.elapsed() > SETTLING;
            !is_new && (!held || key.0 != Kind::Device)
        };
        self.since.iter().filter(may).take(most).map(|(key, _)| key.clone()).collect()
    }

    /// Whether to wait with this object.
    fn waits(&mut self, key: &Key, known: &Known, is_seen: bool) -> bool {
        let since = *self.since.entry(key.clone()).or_insert_with(Instant::now);
        let limit = if known.status.is_empty() { NEW } else { SETTLING };
        let from = if known.status.is_empty() { since } else { self.started.max(since.min(self.started + SETTLING)) };
        let waits = !is_seen && from.elapsed() < limit;
        if !waits {
            self.since.remove(key);
        }
        waits
    }
}

type Write<'a> = std::pin::Pin<Box<dyn Future<Output = (Key, Result<(), cluster::Error>)> + Send + 'a>>;

/// What there is to write of an object, if anything.
fn write<'a>(cluster: &'a Cluster, view: &SharedView, patience: &mut Patience, key: &Key) -> Option<Write<'a>> {
    let known = cluster.known(key);
    let Some(known) = known else {
        patience.since.remove(key);
        return None;
    };
    let view = view.read().unwrap_or_else(PoisonError::into_inner);
    if view.desired.revision.commit.is_empty() {
        return None;
    }
    let hold = holds(&view, key, &known);
    let is_there = view.desired.objects.contains_key(key)
        || view.desired.stalled.keys().any(|target| (target.kind(), target.name()) == (key.0, &key.1))
        || (key.0 == Kind::Role && view.roles.contains_key(&key.1));
    // Who looks after these says how they stand, as soon as that is known.
    let is_told = match key.0 {
        Kind::Repository => view.repositories.contains_key(&key.1),
        Kind::Role => view.roles.contains_key(&key.1),
        _ => true,
    };
    let status = (is_there && is_told && !patience.waits(key, &known, is_seen(&view, key))).then(|| status(&view, key));
    drop(view);
    if hold.is_none() && status.is_none() {
        return None;
    }
    let key = key.clone();
    Some(Box::pin(async move {
        let result = async {
            if let Some(hold) = hold {
                cluster.hold(&key, hold).await?;
            }
            if let Some(status) = status {
                cluster.write_status(&key, status).await?;
            }
            Ok(())
        };
        let result = result.await;
        (key, result)
    }))
}

/// Whether a finalizer has to be put on (`true`) or taken off: it holds a Deployment whose content, or a Role whose login comes off its
/// devices first.
fn holds(view: &View, key: &Key, known: &Known) -> Option<bool> {
    let (kind, name) = key;
    let unit = match kind {
        Kind::Deployment => name.clone(),
        Kind::Role => name.login(),
        _ => return None,
    };
    let is_left = || view.observed.rollouts.get(&unit).is_some_and(|rollout| rollout.is_remembered());
    let wanted = match view.desired.objects.get(key).map(|object| &**object) {
        Some(Object::Deployment(object)) => object.spec.on_delete == Some(crds::OnDelete::Remove),
        Some(Object::Role(_)) => view.desired.is_written(&unit) || is_left(),
        _ => is_left(),
    };
    (known.finalizer != wanted && !(known.deleting && wanted)).then_some(wanted)
}

/// Whether everything was looked at that the status speaks of.
fn is_seen(view: &View, key: &Key) -> bool {
    let looked_at = |name: &Name| {
        let is_looked_at = view.desired.devices.get(name).is_some_and(|device| !device.suspend && device.access != Access::None);
        !is_looked_at || view.observed.devices.get(name).is_some_and(|seen| seen.contact != Contact::Never)
    };
    match key.0 {
        Kind::Device => looked_at(&key.1),
        Kind::Deployment => view.desired.deployments.get(&key.1).is_none_or(|deployment| deployment.members.iter().all(looked_at)),
        Kind::Repository => view.repositories.contains_key(&key.1),
        _ => true,
    }
}

/// An object's status, as the kinds have it.
fn status(view: &View, key: &Key) -> Value {
    let (kind, name) = key;
    let mut status = match kind {
        Kind::Device => to_value(&report::device(&view.desired, &view.observed, name)),
        Kind::Deployment => {
            let deferred = view.deferred.get(name).map(Vec::as_slice).unwrap_or_default();
            to_value(&report::deployment(&view.desired, &view.observed, deferred, name))
        }
        Kind::AlertRule => to_value(&report::rule(&view.desired, name, view.beyond_limit.get(name).copied().unwrap_or(0))),
        Kind::Repository => match view.repositories.get(name) {
            // It says itself what it speaks of.
            Some(status) => return to_value(status),
            None => to_value(&report::other(&view.desired, *kind, name)),
        },
        Kind::Role => {
            let deferred = view.deferred.get(&name.login()).map(Vec::as_slice).unwrap_or_default();
            let status = to_value(&report::role(&view.desired, &view.observed, deferred, name, view.roles.get(name)));
            // Who looks after Roles says what of it that speaks of.
            if view.roles.contains_key(name) {
                return status;
            }
            status
        }
        kind => to_value(&report::other(&view.desired, *kind, name)),
    };
    if let Some(object) = view.desired.objects.get(key) {
        status["observedGeneration"] = json!(object.metadata().generation);
        if let Some(at) = requested_at(object) {
            status["lastHandledRequestAt"] = json!(at);
        }
    }
    status
}

fn to_value(status: &impl serde::Serialize) -> Value {
    serde_json::to_value(status).unwrap_or_default()
}

/// A device came in sight, or went.
pub(super) fn turned(name: &Name, old: &Contact, new: &Contact) -> Option<Happening> {
    let key = (Kind::Device, name.clone());
    match (old, new) {
        (Contact::Unreachable { .. }, Contact::Known) => {
            Some(Happening { key, reason: "Reachable", note: "it answers again".into(), is_warning: false })
        }
        (Contact::Known | Contact::Never, Contact::Unreachable { reason, code, .. }) => {
            Some(Happening { key, reason: code.word(), note: reason.clone(), is_warning: true })
        }
        _ => None,
    }
}

/// A step came to its end.
pub(super) fn ended(step: &RecordedStep, outcome: &Outcome) -> Happening {
    let unit = &step.step().unit;
    let word = step.step().action.word();
    let last = outcome.message.lines().last().unwrap_or_default();
    let (reason, is_warning) = match outcome.verdict {
        Verdict::Done => ("StepDone", false),
        Verdict::Refused => ("StepRefused", true),
        Verdict::Failed => ("StepFailed", true),
    };
    Happening {
        key: (Kind::Device, step.device().clone()),
        reason,
        note: format!("{word} for {} {}: {last}", unit.kind().as_str().to_lowercase(), unit.name().name()),
        is_warning,
    }
}

/// A rollout goes on, or back.
pub(super) fn changed(unit: &Name, change: &RolloutChange, why: &str) -> Option<Happening> {
    let (reason, is_warning) = match change {
        RolloutChange::Start { .. } => ("RevisionStarted", false),
        RolloutChange::OpenBatch { .. } => ("BatchOpened", false),
        RolloutChange::Complete { .. } => ("Complete", false),
        RolloutChange::RollBack { .. } => ("RollingBack", true),
        RolloutChange::RolledBack { .. } => ("RolledBack", true),
        RolloutChange::Stop { .. } => ("Stopped", true),
        RolloutChange::Pause { .. } => ("Paused", false),
        RolloutChange::Resume { .. } => ("Resumed", false),
        RolloutChange::Approve { .. } => ("Approved", false),
        _ => return None,
    };
    Some(Happening { key: key_of(unit), reason, note: why.to_owned(), is_warning })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn happening(number: usize) -> Happening {
        Happening { key: (Kind::Device, Name::parse("web")), reason: "Reachable", note: number.to_string(), is_warning: false }
    }

    #[test]
    fn of_more_happenings_than_can_wait_the_oldest_go() {
        let reports = Reports::default();
        (0..HAPPENINGS + 3).for_each(|number| reports.happened(happening(number)));
        let waiting = reports.waiting();
        assert_eq!((waiting.happenings.len(), waiting.dropped), (HAPPENINGS, 3));
        assert_eq!(waiting.happenings.front().unwrap().note, "3");
    }

    /// Ten thousand devices don't keep anybody waiting who asks what has become of a Deployment; and while a Repository is applied they wait
    /// altogether, but not for ever.
    #[tokio::test(start_paused = true)]
    async fn devices_come_last() {
        let reports = Arc::new(Reports::default());
        let key = |kind, number: usize| (kind, Name::parse(&format!("n-{number}")));
        reports.objects((0..1000).map(|number| key(Kind::Device, number)));
        reports.objects((0..3).map(|number| key(Kind::Deployment, number)));
        let (first, ..) = reports.take();
        assert_eq!((first.len(), first.iter().filter(|(kind, _)| *kind != Kind::Device).count()), (TURN, 3));
        assert_eq!(reports.waiting().rest(), Some(Duration::ZERO));

        let (one, other) = (reports.applying(), reports.applying());
        reports.objects([key(Kind::Repository, 0)]);
        assert_eq!(reports.take().0, BTreeSet::from([key(Kind::Repository, 0)]));
        assert_eq!(reports.waiting().rest(), Some(HELD));
        drop(one);
        assert!(reports.take().0.is_empty());
        tokio::time::advance(HELD).await;
        assert_eq!(reports.take().0.len(), TURN, "not for ever");
        drop(other);
        let mut left = 0;
        loop {
            let turn = reports.take().0.len();
            left += turn;
            if turn == 0 {
                break;
            }
        }
        assert_eq!(left, 1003 - 2 * TURN);
        assert_eq!(reports.waiting().rest(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_status_waits_for_its_devices_but_not_for_ever() {
        let mut patience = Patience { started: Instant::now(), since: BTreeMap::new() };
        let key = (Kind::Device, Name::parse("web"));
        let known = |status: &str| Known { status: status.into(), ..Known::default() };
        assert!(!patience.waits(&key, &known(""), true), "it was looked at");
        assert!(patience.waits(&key, &known(""), false));
        tokio::time::advance(NEW).await;
        assert!(!patience.waits(&key, &known(""), false), "a new one does not wait for long");
        assert!(patience.waits(&key, &known("{}"), false), "what an earlier process wrote stays");
        tokio::time::advance(SETTLING).await;
        assert!(!patience.waits(&key, &known("{}"), false));
        assert!(patience.since.is_empty());

        // Of very many not all are asked for at once, and of the devices none while these are held.
        let keys = |kind, number: usize| (kind, Name::parse(&format!("n-{number}")));
        patience.since.extend((0..1000).map(|number| (keys(Kind::Device, number), Instant::now())));
        patience.since.insert(keys(Kind::Deployment, 0), Instant::now());
        assert!(patience.over(TURN, false).is_empty(), "they are new");
        tokio::time::advance(NEW).await;
        assert_eq!(patience.over(TURN, false).len(), TURN);
        assert_eq!(patience.over(TURN, true), [keys(Kind::Deployment, 0)]);
    }
}
