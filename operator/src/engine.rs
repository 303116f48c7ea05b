//! The loop: one writer of what is known, one planner; observers, probes and actors around it, each with its bounds.
//!
//! ```text
//! source ─┐
//! looks  ─┼─► events ─► what is known ─► plan the Deployments concerned ─► record ─► actors ─► outcomes ─► events
//! probes ─┘
//! ```

mod actor;
mod alerts;
mod asked;
mod cluster;
pub(crate) mod governing;
pub(crate) mod hands;
mod heard;
mod heartbeat;
pub(crate) mod hooks;
mod judging;
mod ledger;
pub(crate) mod logs;
mod looks;
mod not_told;
mod outbox;
mod own_network;
mod pass;
mod preview;
mod refill;
pub(crate) mod remote_write;
pub(crate) mod reports;
pub(crate) mod repositories;
pub(crate) mod roles;
mod secrets;
pub(crate) mod source;
mod store_back;
mod telling;
mod told;
mod usage;
mod voice;
pub(crate) mod writing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use anyhow::bail;
use api::feed::{Feed, Subject};
use api::usage::News;
use api::view::{Request, SharedView, View};
use devices::probe::Ran;
use devices::{Devices, Secrets};
use jiff::Timestamp;
use reconcile::deletion;
use reconcile::limits::{self, Limits};
use reconcile::record::{Actor, RecordedStep};
use reconcile::{Changed, Desired, DeviceSeen, Key, Name, Outcome};
use store::Store;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use hands::Hands;
use hands::away::Away;
use hands::here::{Here, Watching};
use hands::letters::Judged;
use reports::Reports;
use repositories::aside::Asides;
use source::{Candidate, Wish};
use voice::Voice;

/// Events that wait for the loop; who sends more has to wait.
const QUEUE: usize = 4096;
/// Wishes that wait for the source; more are refused.
const WISHES: usize = 16;
/// Findings that are shown for the commit in force.
const FINDINGS: usize = 100;

/// What the loop is told.
pub(crate) enum Event {
    /// What was in force before the restart, read again.
    InForce(Box<Candidate>),
    /// What was in force before the restart can't be read again: the repository does not lead to it any more.
    Lost(String),
    /// The source has another revision.
    Candidate(Box<Candidate>),
    /// The source was looked at, and has nothing new.
    Unchanged,
    /// What is reported of these objects may not be what the source has of them.
    Touched(BTreeSet<Key>),
    /// The source can't be read.
    SourceFailed(String),
    /// A device was looked at.
    Seen(Name, Box<DeviceSeen>),
    /// What a planner before this one was told of a device.
    Remembered(Name, Box<DeviceSeen>),
    /// A probe ran.
    Probe(Ran),
    /// What a planner before this one was told of a probe.
    RememberedProbe(Ran),
    /// What rules say of a device that somebody else reads.
    Judged(Name, Judged),
    /// What rules look back at, as it was before.
    Past(Vec<refill::Past>),
    /// Somebody works for a shard, by their clock, and whether their own network is down, if they know.
    Alive(u32, Timestamp, Option<bool>),
    /// A step came to its end, and that is stored.
    Ended(Box<RecordedStep>, Box<Outcome>),
    /// The store does not take an outcome.
    StoreRefused(Box<store::Error>),
    /// The store takes writes again.
    StoreBack,
    /// Somebody asks for something.
    Ask(Request),
    /// These Secrets are otherwise than before.
    Secrets(Vec<Name>),
    /// Another replica plans.
    Replaced,
    /// Whether the loop turns, and the store takes writes.
    Pulse(oneshot::Sender<bool>),
}

/// What the engine is made of.
pub(crate) struct Parts {
    pub(crate) store: Arc<Store>,
    pub(crate) devices: Arc<Devices>,
    /// What receivers need to be told something.
    pub(crate) secrets: Secrets,
    /// Where they may be.
    pub(crate) places: notify::Places,
    /// Where people find us: what is told links to it.
    pub(crate) external_url: Option<reqwest::Url>,
    /// When what could not be told is tried again.
    pub(crate) backoff: notify::retry::Backoff,
    /// Tells somebody elsewhere that all is well.
    pub(crate) heartbeat: Option<notify::Heartbeat>,
    /// Where changes are written that people ask for.
    pub(crate) writing: Arc<writing::Writing>,
    /// Shards into which the fleet is spread over replicas; with none, this process does it all.
    pub(crate) shards: u32,
    pub(crate) origin: source::Origin,
    pub(crate) interval: Duration,
    pub(crate) watching: Watching,
    pub(crate) limits: Limits,
    pub(crate) requests: mpsc::Receiver<Request>,
    pub(crate) view: SharedView,
    /// Where the state of objects is told beside the view, if anywhere.
    pub(crate) reports: Option<Arc<Reports>>,
    /// Who follows Repositories, in a cluster.
    pub(crate) asides: Arc<Asides>,
}

/// The engine's own state; the loop is its only writer.
pub(crate) struct Engine {
    store: Arc<Store>,
    hands: Hands,
    url: String,
    limits: Limits,
    view: SharedView,
    actors: actor::Actors,
    /// Asks the source to look now.
    ask: mpsc::Sender<Wish>,
    asides: Arc<Asides>,
    writing: Arc<writing::Writing>,
    /// Deployments whose input changed since they were planned.
    dirty: BTreeSet<Name>,
    /// When time alone could change a Deployment's plan.
    look_again: BTreeMap<Name, Timestamp>,
    alerts: alerts::Watch,
    /// Something was written into the outbox.
    said: Arc<Notify>,
    /// A revision that waits: for approval, or for the store.
    held: Option<Box<Candidate>>,
    /// The commit that was in force and can't be read again, so that nobody knows what another one changes.
    lost: Option<String>,
    /// What the revisions changed that were read since the one in force.
    pending: Changed,
    /// The store refused: nothing is done until it takes writes again.
    store_away: bool,
    /// Devices that were just looked at by hand: when, and who asked for it.
    looked: BTreeMap<Name, (std::time::Instant, BTreeSet<String>)>,
    /// Another replica plans.
    replaced: bool,
    reports: Option<Arc<Reports>>,
    /// Whoever listens is told what changed.
    feed: Arc<Feed>,
    /// What was so is written down.
    ledger: Arc<ledger::Ledger>,
    events: mpsc::Sender<Event>,
}

/// Runs until it is told to stop.
pub(crate) async fn run(parts: Parts, stop: CancellationToken) -> anyhow::Result<()> {
    let (events, mut inbox) = mpsc::channel(QUEUE);
    let (probes, mut ran) = mpsc::channel(QUEUE);
    let in_force = parts.store.in_force(&parts.origin.url()).await?;
    let url = parts.origin.url();
    let (ask, wishes) = mpsc::channel(WISHES);
    let (usages, feed) = {
        let view = parts.view.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        (view.usages.clone(), view.feed.clone())
    };
    let hands = match parts.shards {
        0 => Hands::Here(Here::new(parts.devices, events.clone(), probes, &parts.watching, usages)),
        shards => Hands::Away(Away::open(parts.store.clone(), shards, events.clone()).await?),
    };
    let mut own_network = hands.own_network();
    let mut engine = Engine {
        actors: actor::Actors::new(parts.store.clone(), hands.actor(&parts.store), events.clone()),
        hands,
        store: parts.store,
        url: url.clone(),
        limits: parts.limits,
        view: parts.view,
        ask,
        asides: parts.asides,
        writing: parts.writing,
        dirty: BTreeSet::new(),
        look_again: BTreeMap::new(),
        alerts: alerts::Watch::default(),
        said: Arc::default(),
        held: None,
        lost: None,
        pending: Changed::default(),
        store_away: false,
        looked: BTreeMap::new(),
        replaced: false,
        reports: parts.reports,
        feed,
        ledger: Arc::default(),
        events: events.clone(),
    };
    engine.restore(&url).await?;
    engine.alerts.told_by(parts.shards);
    let (tell, interval) = (events.clone(), parts.interval);
    let mut follow = AbortOnDropHandle::new(tokio::spawn(async move {
        match parts.origin {
            source::Origin::Cluster(cluster, governing) => cluster::follow(&cluster, &governing, wishes, tell).await,
            origin => source::follow(origin, in_force.map(|in_force| in_force.revision), interval, wishes, tell).await,
        }
    }));
    let mut requests = parts.requests;
    let mut readings = usage::Readings::new(engine.read().usages.on_usage_anywhere());
    // What others read is seen here too.
    let _seeing =
        (parts.shards > 0).then(|| AbortOnDropHandle::new(tokio::spawn(usage::take_over(engine.store.clone(), engine.view.clone()))));
    let _rotating = AbortOnDropHandle::new(tokio::spawn(secrets::follow(parts.secrets.clone(), events.clone())));
    let voice = Voice {
        view: engine.view.clone(),
        secrets: parts.secrets,
        store: engine.store.clone(),
        places: parts.places,
        external_url: parts.external_url,
        backoff: parts.backoff,
    };
    let _saying = AbortOnDropHandle::new(tokio::spawn(voice.speak(engine.said.clone())));
    let _writing = AbortOnDropHandle::new(tokio::spawn(engine.ledger.clone().write(engine.store.clone())));
    let _beating = parts.heartbeat.map(|heart| heartbeat::start(heart, events.clone(), engine.view.clone()));
    loop {
        let wake = engine.next_look();
        tokio::select! {
            () = stop.cancelled() => break,
            event = inbox.recv() => engine.take(event).await,
            ran = ran.recv() => engine.take(ran.map(Event::Probe)).await,
            is_down = heard::turned(&mut own_network) => engine.network_turned(is_down),
            request = requests.recv() => engine.take(request.map(Event::Ask)).await,
            Some(news) = readings.next() => engine.usage(&news),
            () = tokio::time::sleep(wake) => engine.time_passed(),
            // An engine that looks at its source no more would look well, and never do anything again.
            ended = &mut follow => bail!("the source is not followed any more: {}", ended.err().map_or("it has ended".into(), |error| error.to_string())),
        }
        // Whatever else has come in meanwhile belongs to the same pass.
        for _ in 0..QUEUE {
            match inbox.try_recv().ok().or_else(|| ran.try_recv().ok().map(Event::Probe)) {
                Some(event) => engine.take(Some(event)).await,
                None => break,
            }
        }
        readings.also().for_each(|news| engine.usage(&news));
        if engine.replaced {
            bail!("another replica plans: this one ends");
        }
        engine.watch().await;
        engine.pass().await;
    }
    // Detached steps go on by themselves and are found again.
    tracing::info!("stopping: no new plans; steps that are under way on devices go on there");
    follow.abort();
    engine.actors.stop();
    engine.hands.stop();
    Ok(())
}

impl Engine {
    fn usage(&mut self, news: &News) {
        let desired = self.desired();
        self.alerts.usage(&desired, news);
    }

    async fn restore(&mut self, url: &str) -> anyhow::Result<()> {
        let rollouts = self.store.rollouts().await?;
        self.alerts = alerts::Watch::restore(self.store.alerts().await?, Timestamp::now());
        let mut view = self.view.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.alerts.show_all(&mut view);
        view.observed.rollouts = rollouts.into_iter().map(|(name, rollout)| (name, Arc::new(rollout))).collect();
        url.clone_into(&mut view.source.url);
        view.not_ready = Some("the source has not been read yet".into());
        Ok(())
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, View> {
        self.view.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, View> {
        self.view.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn desired(&self) -> Arc<Desired> {
        self.read().desired.clone()
    }

    fn next_look(&self) -> Duration {
        let now = Timestamp::now();
        let next = self
            .look_again
            .values()
            .copied()
            .chain(self.alerts.look_again(self.store_away))
            .min()
            .map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default());
        next.unwrap_or(Duration::from_secs(3600)).clamp(Duration::from_millis(20), Duration::from_secs(3600))
    }

    fn time_passed(&mut self) {
        let now = Timestamp::now();
        let due: Vec<Name> = self.look_again.iter().filter(|(_, at)| **at <= now).map(|(name, _)| name.clone()).collect();
        for name in due {
            self.look_again.remove(&name);
            self.dirty.insert(name);
        }
    }

    /// The store takes writes again: what it has is what is, and what waited for it goes on.
    async fn store_back(&mut self) {
        tracing::info!("the store takes writes again");
        self.store_away = false;
        let unread = self.desired().revision.commit.is_empty();
        self.write().not_ready = unread.then(|| "the source has not been read yet".into());
        self.tell_of(Subject::Engine);
        self.reload().await;
        // What was written before the answer was lost is done now.
        self.resume().await;
        if let Some(held) = self.held.take() {
            self.candidate(held).await;
        }
    }

    async fn take(&mut self, event: Option<Event>) {
        match event {
            None => {}
            Some(Event::InForce(candidate)) => {
                tracing::info!(commit = candidate.desired.revision.commit, "in force again after the restart");
                self.pending.extend(candidate.changed.clone());
                self.put_in_force(*candidate).await;
                self.resume().await;
            }
            Some(Event::Lost(commit)) => {
                tracing::warn!(commit, "what was in force can't be read again: the next commit waits for approval");
                self.lost = Some(commit);
            }
            Some(Event::Candidate(candidate)) => {
                self.pending.extend(candidate.changed.clone());
                self.candidate(candidate).await;
                // Afterwards: who waits for this look wants to see what came of it.
                self.write().source.checked_at = Some(Timestamp::now());
            }
            Some(Event::Touched(keys)) => {
                self.tell(|told| told.objects(keys));
                self.write().source.checked_at = Some(Timestamp::now());
            }
            Some(Event::Unchanged) => self.unchanged(),
            Some(Event::SourceFailed(error)) => self.source_failed(error),
            Some(Event::Seen(name, seen)) => self.seen(&name, *seen),
            Some(Event::Remembered(name, seen)) => self.remembered(&name, Some(*seen), None),
            Some(Event::RememberedProbe(ran)) => self.remembered(&ran.device.clone(), None, Some(&ran)),
            Some(Event::Probe(ran)) => self.probe(&ran),
            Some(Event::Judged(device, judged)) => self.judged(&device, judged),
            Some(Event::Past(past)) => self.alerts.before(past),
            Some(Event::Alive(shard, at, network_down)) => self.alerts.alive(shard, at, network_down, Timestamp::now()),
            Some(Event::Ended(step, outcome)) => self.ended(&step, &outcome),
            Some(Event::StoreRefused(error)) => self.store_failed(&error),
            Some(Event::StoreBack) => self.store_back().await,
            Some(Event::Ask(request)) => self.asked(request).await,
            Some(Event::Secrets(secrets)) => self.secrets_changed(&secrets).await,
            Some(Event::Replaced) => self.replaced = true,
            Some(Event::Pulse(reply)) => drop(reply.send(!self.store_away)),
        }
    }

    /// Another revision: it comes in force if it stays within the limits, or was let through.
    async fn candidate(&mut self, candidate: Box<Candidate>) {
        let first = self.desired().revision.commit.is_empty();
        let checked = match &self.lost {
            Some(lost) => Err(limits::unknown(lost, &candidate.desired)),
            None => limits::check(&self.desired(), &candidate.desired, &self.pending, self.limits),
        };
        if let Err(too_far) = checked {
            let approved = self.store.is_approved(&self.url, &too_far.id).await.unwrap_or(false);
            if !approved {
                tracing::warn!(
                    id = too_far.id,
                    reason = too_far.reason,
                    commit = candidate.desired.revision.commit,
                    "the commit goes too far and waits: evenkeel approve"
                );
                let mut view = self.write();
                view.source.problem =
                    Some(format!("commit {} {}: evenkeel approve {}", candidate.desired.revision.commit, too_far.reason, too_far.id));
                view.source.too_far = Some(*too_far);
                drop(view);
                self.tell_of(Subject::Source);
                self.hold(candidate);
                return;
            }
        }
        if self.store_away || !self.note_deletions(&candidate).await {
            self.hold(candidate);
            return;
        }
        let revision = candidate.desired.revision.clone();
        let entry = self.entry("admit", &revision, if candidate.forced { "the branch was rewritten (force-push)" } else { "" });
        if let Err(error) = self.store.put_in_force(&self.url, &revision, entry).await {
            self.store_failed(&error);
            self.hold(candidate);
            return;
        }
        tracing::info!(commit = revision.commit, author = revision.author, "in force");
        self.put_in_force(*candidate).await;
        if first {
            self.resume().await;
        }
    }

    /// Keeps a revision that waits. It takes the place of the one before it, and what there was to tell of that.
    fn hold(&mut self, mut candidate: Box<Candidate>) {
        self.take_over(&mut candidate);
        self.held = Some(candidate);
    }

    /// Nothing waits any more but this; what there was to tell of what did is told with it.
    fn take_over(&mut self, candidate: &mut Candidate) {
        if let Some(before) = self.held.take() {
            candidate.told.extend(before.told);
            candidate.requested.extend(before.requested);
        }
    }

    /// Remembers which Deployments a commit deletes, before it comes in force: afterwards nobody can say what they wanted. A commit that
    /// does not come in force after all leaves them written, and that is noted too. Returns whether it is remembered.
    async fn note_deletions(&mut self, candidate: &Candidate) -> bool {
        for _ in 0..pass::ROUNDS {
            let plan = {
                let view = self.read();
                deletion::plan(&view.desired, &candidate.desired, &self.pending.deployments, &view.observed)
            };
            let Some(plan) = plan else { return true };
            let actor = Actor::commit(&candidate.desired.revision);
            match self.record(plan, &actor, Timestamp::now()).await {
                Ok(()) => return true,
                Err(_) if self.store_away => return false,
                // Outcomes that are stored already are still in our queue.
                Err(error) => tracing::debug!(%error, "not recorded; read again"),
            }
            self.reload().await;
        }
        tracing::error!("the deletions of the commit could not be recorded: it waits for the next one");
        false
    }

    async fn put_in_force(&mut self, mut candidate: Candidate) {
        self.take_over(&mut candidate);
        let desired = candidate.desired;
        let old = self.desired();
        let changed = std::mem::take(&mut self.pending);
        for wrong in candidate.findings.iter().filter(|wrong| wrong.severity == reconcile::finding::Severity::Error).take(20) {
            tracing::warn!("{}", wrong.text);
        }
        {
            let mut view = self.write();
            view.source.in_force.clone_from(&desired.revision.commit);
            view.source.author.clone_from(&desired.revision.author);
            view.source.signer.clone_from(&desired.revision.signer);
            view.source.problem = None;
            view.source.too_far = None;
            view.source.findings = candidate.findings.into_iter().take(FINDINGS).map(|wrong| wrong.text).collect();
            view.desired = desired.clone();
            view.not_ready = None;
            view.observed.forget(&desired, &changed.devices);
            for name in changed.deployments.iter().filter(|name| !desired.deployments.contains_key(*name)) {
                view.put_off(name, Vec::new(), Timestamp::now());
            }
        }
        self.lost = None;
        self.tell_of(Subject::Audit);
        self.alerts.in_force(&old, &desired, &changed.devices);
        self.refill(&desired);
        let other_roles = candidate.told.iter().any(|(kind, _)| *kind == crds::Kind::Role);
        self.ledger.in_force(&desired, &changed.devices, other_roles);
        let mut concerned = changed.concerned(&old, &desired);
        concerned.extend(self.hands.update(&desired, &changed.devices).await);
        self.look_at(&concerned);
        candidate.requested.iter().for_each(|device| self.look_now(device));
        self.tell(|told| {
            told.devices(&concerned);
            told.units(&changed.deployments);
            told.in_force(candidate.told, &old);
        });
        self.dirty.extend(changed.deployments);
        let unfinished: Vec<Name> =
            reconcile::units(&desired, &self.read().observed).filter(|name| !desired.deployments.contains_key(*name)).cloned().collect();
        self.dirty.extend(unfinished);
    }

    /// What has to be read on these devices may be otherwise than before.
    fn look_at(&mut self, devices: &BTreeSet<Name>) {
        let view = self.view.clone();
        let view = view.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.hands.look_at(&view.desired, &view.observed, devices);
    }

    /// Something happened on the device.
    fn look_now(&mut self, device: &Name) {
        let view = self.view.clone();
        self.hands.now(&view.read().unwrap_or_else(std::sync::PoisonError::into_inner), device);
    }

    fn entry(&self, verb: &str, revision: &reconcile::Revision, message: &str) -> store::audit::Entry {
        let actor = Actor::commit(revision);
        audit(actor, verb, &format!("commit/{}", revision.commit), message)
    }

    /// Steps that were recorded before a restart and have no outcome yet.
    async fn resume(&mut self) {
        match reconcile::record::resume(&*self.store).await {
            Ok(steps) => {
                let desired = self.desired();
                for step in steps {
                    tracing::info!(step = %step.step().id, device = %step.device(), "taken up again");
                    self.actors.start(&desired, step);
                }
                self.hands.settled(|step| self.actors.has(step));
            }
            Err(error) => self.store_failed(&error),
        }
    }

    async fn reload(&mut self) {
        let rollouts = match self.store.rollouts().await {
            Ok(rollouts) => rollouts,
            Err(error) => return self.store_failed(&error),
        };
        self.write().observed.rollouts = rollouts.into_iter().map(|(name, rollout)| (name, Arc::new(rollout))).collect();
        let all: Vec<Name> = {
            let view = self.read();
            reconcile::units(&view.desired, &view.observed).cloned().collect()
        };
        self.tell(|told| told.units(&all));
        self.dirty.extend(all);
    }

    fn store_failed(&mut self, error: &store::Error) {
        self.write().not_ready = Some(format!("the store: {error}"));
        if self.store_away {
            return;
        }
        self.tell_of(Subject::Engine);
        tracing::error!(%error, category = error.category(), "the store does not take writes: nothing is changed until it does");
        self.store_away = true;
        tokio::spawn(store_back::wait(self.store.clone(), self.events.clone()));
    }
}

fn audit(actor: Actor, verb: &str, target: &str, message: &str) -> store::audit::Entry {
    store::audit::Entry::act(Timestamp::now(), actor, verb, target, message)
}

/// An empty view, to be shared.
pub(crate) fn new_view() -> SharedView {
    Arc::new(RwLock::new(View { not_ready: Some("starting".into()), ..View::default() }))
}
