//! Whoever holds a shard: looks at the devices that it is asked for, does the steps that it is asked for, and tells what came of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use api::usage::{News, Usages};
use api::view::SharedView;
use devices::probe::Ran;
use devices::{Devices, Secrets};
use jiff::{SignedDuration, Timestamp};
use reconcile::alerting::Truth;
use reconcile::alerting::alerts::SETTLING;
use reconcile::alerting::expr::{Inputs, Rollouts};
use reconcile::{Contact, Desired, Device, DeviceSeen, Name, ProbeSeen, ProbeState, StepId};
use store::{Letter, Owner, Store};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::super::judging::Judging;
use super::super::usage::Readings;
use super::super::{Event, heard, refill, usage};
use super::act::Actor;
use super::here::{Here, Watching};
use super::letters::{Alive, Asked, Errand, Judged, Matter, Order, PLANNER, Place, shard};
use super::post::Post;

/// Answers that wait to be told; who has more has to wait.
const QUEUE: usize = 4096;
/// Time between two looks into the mailbox: one row is read.
const LOOK: Duration = Duration::from_millis(250);
/// Time between two tries of a store that can't be read.
const AGAIN: Duration = Duration::from_secs(1);
/// Who can't read for so long lets the shard go.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often the one who plans hears that somebody works for the shard: several times within what a reading counts.
const ALIVE: Duration = Duration::from_secs(60);
/// Longest time that is spent on telling what is known when a shard is given up.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What it takes to work for a shard.
#[derive(Clone)]
pub(crate) struct Workplace {
    pub(crate) store: Arc<Store>,
    pub(crate) secrets: Secrets,
    pub(crate) cache: PathBuf,
    pub(crate) watching: Watching,
    /// Into how many shards the fleet is spread.
    pub(crate) shards: u32,
    /// Where it shows what this replica works for.
    pub(crate) view: SharedView,
}

/// A device that is looked at, and what was told of it last.
struct Watched {
    device: Arc<Device>,
    order: Order,
    last: DeviceSeen,
    /// How its probes stand, as far as that was told.
    probes: BTreeMap<String, Box<ProbeSeen>>,
    /// Until then not everything can have been read here: what is not known yet is not told, and what was told before counts.
    settles: Timestamp,
    /// What was told of its rules, if anything was.
    judged: Option<Judged>,
    /// The next look is told, whatever it shows.
    tell_look: bool,
}

impl Watched {
    fn new(device: &Arc<Device>, order: &Order) -> Self {
        let now = Timestamp::now();
        Self {
            device: device.clone(),
            order: order.clone(),
            last: DeviceSeen::default(),
            probes: BTreeMap::new(),
            settles: now.checked_add(SETTLING).unwrap_or(now),
            judged: None,
            tell_look: true,
        }
    }
}

/// A shard that is held.
struct Shard {
    number: u32,
    place: Workplace,
    owner: Owner,
    here: Here,
    /// By which jump hosts are found: the devices of the shard, and those on the way to them. And the rules that are judged here.
    desired: Arc<Desired>,
    /// Those on the way, as whoever is behind them was told of; they stay until the shard changes hands.
    hops: HashMap<Name, Arc<Device>>,
    watched: HashMap<Name, Watched>,
    steps: HashMap<StepId, JoinHandle<()>>,
    actor: Actor,
    post: Arc<Post>,
    usages: Arc<Usages>,
    judging: Judging,
    /// Where what it asks the store for arrives.
    events: mpsc::Sender<Event>,
    /// Nothing is judged before all that lay in the mailbox was read: rules and devices are in no order there.
    has_read: bool,
}

/// Works for a shard until `stop` is over, or somebody else has it.
pub(crate) async fn work(place: Workplace, number: u32, stop: impl Future<Output = ()>) -> Result<(), store::Error> {
    let owner = place.store.open_mailbox(&shard(number)).await?;
    let devices = Arc::new(Devices::new(place.secrets.clone(), &place.cache));
    let (events, mut seen) = mpsc::channel(QUEUE);
    let (probes, mut ran) = mpsc::channel(QUEUE);
    let post = Arc::new(Post::default());
    let mut delivering = tokio::spawn(post.clone().deliver(place.store.clone(), owner.clone()));
    let actor = Actor::here(place.store.clone(), devices.clone());
    let usages = place.view.read().unwrap_or_else(PoisonError::into_inner).usages.clone();
    let here = Here::new(devices, events.clone(), probes, &place.watching, usages.clone());
    let mut own_network = here.own_network();
    let mut readings = Readings::new(usages.on_usage());
    let mut alive = tokio::time::interval(ALIVE);
    alive.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // Whoever asks the one who plans sees them too.
    let _handing_on = AbortOnDropHandle::new(tokio::spawn(usage::hand_on(place.store.clone(), place.view.clone(), number, place.shards)));
    let mut shard = Shard {
        number,
        here,
        desired: Arc::default(),
        hops: HashMap::new(),
        watched: HashMap::new(),
        steps: HashMap::new(),
        actor,
        post: post.clone(),
        usages: usages.clone(),
        judging: Judging::default(),
        events,
        has_read: false,
        owner: owner.clone(),
        place,
    };
    tokio::pin!(stop);
    let mut after = 0;
    let mut next = Instant::now();
    let mut well = Instant::now();
    let (secrets, mut turn) = (shard.place.secrets.clone(), 0);
    let ended = loop {
        tokio::select! {
            () = &mut stop => break Ok(()),
            // It ends when another one owns the mailbox.
            _ = &mut delivering => break Err(store::Error::Replaced(owner.mailbox().to_owned())),
            event = seen.recv() => match event {
                Some(Event::Seen(name, seen)) => shard.seen(&name, *seen),
                Some(Event::Past(past)) => shard.judging.before(past),
                _ => {}
            },
            ran = ran.recv() => if let Some(ran) = ran { shard.ran(&ran) },
            Some(news) = readings.next() => {
                shard.usage(&news);
                readings.also().for_each(|news| shard.usage(&news));
            }
            () = tokio::time::sleep(shard.next_judging()) => {}
            _ = alive.tick(), if shard.has_read => shard.alive(),
            (newest, changed) = secrets.changed(turn) => {
                turn = newest;
                let watched = &shard.watched;
                shard.here.secrets_changed(&changed, || watched.values().map(|watched| &watched.device)).await;
            }
            Ok(()) = own_network.changed() => shard.own_network(*own_network.borrow_and_update()),
            // At an instant, and not after a pause: answers come all the time.
            () = tokio::time::sleep_until(next) => {
                let pause = match shard.read(&mut after).await {
                    Ok(true) => Duration::ZERO,
                    Ok(false) => {
                        shard.has_read = true;
                        LOOK
                    }
                    Err(error @ store::Error::Replaced(_)) => break Err(error),
                    // Somebody else may reach the store.
                    Err(error) if well.elapsed() > PATIENCE => break Err(error),
                    Err(error) => {
                        tracing::warn!(%error, mailbox = owner.mailbox(), "the mailbox can't be read");
                        next = Instant::now() + AGAIN;
                        continue;
                    }
                };
                well = Instant::now();
                next = well + pause;
            }
        }
        shard.judge(Timestamp::now());
    };
    delivering.abort();
    if ended.is_ok() {
        let _ = tokio::time::timeout(LAST_WORDS, post.empty(&shard.place.store, &owner)).await;
    }
    ended
}

/// Detached steps go on by themselves, and are found again by whoever has the shard next.
impl Drop for Shard {
    fn drop(&mut self) {
        self.here.stop();
        self.steps.values().for_each(JoinHandle::abort);
        // Somebody else reads them from now on.
        self.watched.keys().for_each(|name| self.usages.forget(name));
        let mut view = self.place.view.write().unwrap_or_else(PoisonError::into_inner);
        view.shards.remove(&self.number);
        view.own_network_turned(self.number, false);
    }
}

impl Shard {
    /// Reads what was asked since; returns whether there may be more.
    async fn read(&mut self, after: &mut u64) -> Result<bool, store::Error> {
        let (to, letters) = self.place.store.letters(&self.owner, *after).await?;
        let more = to != *after;
        *after = to;
        let mut changed = BTreeSet::new();
        let mut asked = Vec::new();
        for letter in letters {
            match Matter::parse(&letter.matter) {
                Some(Matter::Device(name)) => {
                    if let Some(order) = self.readable::<Option<Order>>(&letter) {
                        changed.insert(name.clone());
                        asked.push((name, order));
                    }
                }
                Some(Matter::Rule(name)) => {
                    if let Some(asked) = self.readable::<Option<Asked>>(&letter) {
                        self.rule(&name, asked.as_ref());
                    }
                }
                Some(Matter::Step(id)) => match self.readable::<Option<Errand>>(&letter) {
                    Some(Some(errand)) => self.errand(id, &errand, &mut changed),
                    Some(None) => {
                        if let Some(task) = self.steps.remove(&id) {
                            task.abort();
                        }
                        self.post.put(PLANNER, &Matter::Outcome(id), None);
                    }
                    None => {}
                },
                _ => tracing::warn!(matter = letter.matter, "a newer version asks for something that this one does not know"),
            }
        }
        for (_, order) in &asked {
            changed.extend(order.iter().flat_map(|order| self.pass_through(&order.through)));
        }
        for (name, order) in asked {
            self.order(&name, order);
        }
        if !changed.is_empty() {
            self.here.devices.update(self.desired.clone(), &changed).await;
        }
        if more {
            self.place.view.write().unwrap_or_else(PoisonError::into_inner).shards.insert(self.number, self.watched.len());
        }
        Ok(more)
    }

    /// A rule is judged here from now on, or is not any more.
    fn rule(&mut self, name: &Name, asked: Option<&Asked>) {
        let rule = asked.map(|asked| asked.rule(name));
        if matches!(rule, Some(None)) {
            tracing::error!(rule = %name, mailbox = self.owner.mailbox(), "this version can't read the rule, which a newer one has let in: what it asks is not known");
        }
        let rules = &mut Arc::make_mut(&mut self.desired).rules;
        match rule.flatten() {
            Some(rule) => rules.insert_mut(name.clone(), Arc::new(rule)),
            None => drop(rules.remove_mut(name)),
        }
        self.judging.rules(self.desired.rules.values().map(|rule| &**rule), Timestamp::now());
        self.watched.keys().for_each(|device| self.judging.touch(device));
    }

    /// A device was read, here or for another shard that this replica holds.
    fn usage(&mut self, news: &News) {
        if self.watched.contains_key(&news.device) && !self.desired.rules.is_empty() {
            self.judging.usage(news);
        }
    }

    /// Tells the one who plans that somebody works for the shard.
    fn alive(&mut self) {
        let alive = Alive { at: Timestamp::now(), network_down: self.here.network_down() };
        self.post.put(PLANNER, &Matter::Alive(self.number), serde_json::to_string(&alive).ok());
    }

    fn next_judging(&self) -> Duration {
        let next = self.judging.next().filter(|_| self.has_read).map(|at| at.duration_since(Timestamp::now()));
        next.map_or(ALIVE, |wait| Duration::try_from(wait).unwrap_or_default().clamp(Duration::from_millis(20), ALIVE))
    }

    /// Asks the rules of the devices of which something changed, and tells what they say otherwise than before.
    fn judge(&mut self, now: Timestamp) {
        if !self.has_read {
            return;
        }
        self.refill(now);
        for name in self.judging.take(now) {
            let Some(watched) = self.watched.get_mut(&name) else { continue };
            let device = watched.device.clone();
            let seen = DeviceSeen { probes: watched.probes.clone(), ..watched.last.clone() };
            let usage = self.usages.latest(&name);
            let history = self.judging.history(&name);
            let inputs = Inputs { device: &device, seen: Some(&seen), usage: usage.as_deref(), history, rollouts: Rollouts::Unknown, now };
            let (mut judged, mut next) = (Judged::default(), None);
            for rule in self.desired.rules.values().filter(|rule| rule.applies_to(&device)) {
                let (verdict, again) = rule.verdict(&inputs);
                next = next.into_iter().chain(again).min();
                if matches!((&verdict.wrong, &verdict.well), (Truth::Unknown(_), _) | (_, Truth::Unknown(_))) && now < watched.settles {
                    let settled = watched.settles.checked_add(SignedDuration::from_millis(1)).ok();
                    next = next.into_iter().chain(settled).min();
                } else {
                    judged.put(rule.name.name(), verdict);
                }
            }
            let is_news = watched.judged.as_ref().map_or(!judged.is_empty(), |before| judged.differs(before));
            if is_news {
                self.post.put(PLANNER, &Matter::Verdicts(name.clone()), serde_json::to_string(&judged).ok());
                watched.judged = Some(judged);
            }
            self.judging.again(&name, next);
        }
    }

    /// What rules look back at is read from the store: whoever had the shard before has written it.
    fn refill(&mut self, now: Timestamp) {
        let rules = self.desired.rules.values().map(|rule| &**rule);
        let wanted = self.judging.take_past(rules, self.watched.values().map(|watched| &*watched.device), now);
        if let Some(samples) = self.usages.samples().filter(|_| !wanted.is_empty()) {
            tokio::spawn(refill::read(samples.clone(), wanted, self.events.clone()));
        }
    }

    /// What a letter says; none, and that is told, if it can't be read.
    fn readable<T: serde::de::DeserializeOwned>(&self, letter: &Letter) -> Option<T> {
        serde_json::from_str(letter.document.as_deref().unwrap_or("null"))
            .inspect_err(|error| tracing::error!(%error, matter = letter.matter, mailbox = self.owner.mailbox(), "a letter can't be read"))
            .ok()
    }

    /// Takes in jump hosts, and gives their names.
    fn pass_through(&mut self, hops: &[Place]) -> Vec<Name> {
        let devices = hops.iter().map(|hop| Arc::new(hop.device()));
        let mut names = Vec::new();
        for device in devices {
            let name = device.name.clone();
            self.hops.insert(name.clone(), device);
            self.find(&name);
            names.push(name);
        }
        names
    }

    /// Has a device found by its name: as it was asked for, or as it is passed through.
    fn find(&mut self, name: &Name) {
        let there = self.watched.get(name).map(|watched| &watched.device).or(self.hops.get(name)).cloned();
        let desired = Arc::make_mut(&mut self.desired);
        match there {
            Some(device) => desired.devices.insert_mut(name.clone(), device),
            None => drop(desired.devices.remove_mut(name)),
        }
    }

    fn order(&mut self, name: &Name, order: Option<Order>) {
        let Some(order) = order else {
            self.watched.remove(name);
            self.judging.forget(name);
            self.here.probe(name, None);
            self.here.look_at(name, None, Vec::new());
            return self.find(name);
        };
        let device = Arc::new(order.place.device());
        self.here.probe(name, Some(&device));
        self.here.look_at(name, Some(&device), order.items.clone());
        let before = self.watched.remove(name);
        let is_asked = before.as_ref().is_none_or(|before| before.order.look != order.look);
        let mut watched = before.unwrap_or_else(|| Watched::new(&device, &order));
        (watched.device, watched.order) = (device.clone(), order);
        self.here.tell_each(name, watched.order.eager);
        if is_asked {
            watched.tell_look = true;
            self.here.now(name);
        }
        let is_there = |probe: &String| device.probes.iter().any(|there| there.name == *probe);
        watched.probes.retain(|probe, _| is_there(probe));
        self.watched.insert(name.clone(), watched);
        self.judging.touch(name);
        self.find(name);
    }

    fn seen(&mut self, name: &Name, mut seen: DeviceSeen) {
        let Some(watched) = self.watched.get_mut(name) else { return };
        seen.without_hashes(&watched.order.secret);
        seen.after(&watched.last);
        let is_new = watched.last.differs(&seen);
        // Nothing is held against it while nobody can be reached from here.
        if matches!(seen.contact, Contact::Unreachable { .. }) && self.here.excuses() {
            return;
        }
        if watched.last.contact != seen.contact {
            self.here.contact(name, seen.is_reachable());
            self.judging.touch(name);
        }
        watched.last = seen;
        if is_new || watched.order.eager || std::mem::take(&mut watched.tell_look) {
            watched.tell_look = false;
            self.post.put(PLANNER, &Matter::Seen(name.clone()), serde_json::to_string(&watched.last).ok());
        }
    }

    /// How a probe stands, where that is news or somebody waits for it.
    fn ran(&mut self, ran: &Ran) {
        if let Some(watched) = self.watched.get_mut(&ran.device) {
            let before = watched.probes.insert(ran.probe.clone(), ran.seen.clone().into()).unwrap_or_default();
            if before.state != ran.seen.state {
                self.judging.touch(&ran.device);
                if ran.seen.state == ProbeState::Ok {
                    self.here.contact(&ran.device, true);
                }
            }
            let matter = Matter::Probe(ran.device.clone(), ran.probe.clone());
            self.post.put(PLANNER, &matter, serde_json::to_string(&ran.seen).ok());
        }
    }

    /// This replica's network is down, or is back: its view shows that, the one who plans says it, and devices that went out of reach just
    /// before did not.
    fn own_network(&mut self, is_down: bool) {
        self.alive();
        self.place.view.write().unwrap_or_else(PoisonError::into_inner).own_network_turned(self.number, is_down);
        let excused = self.watched.iter_mut().filter(|(_, watched)| is_down && heard::is_excused(&watched.last));
        for (name, watched) in excused {
            watched.last.contact = Contact::Never;
            self.judging.touch(name);
            self.post.put(PLANNER, &Matter::Seen(name.clone()), serde_json::to_string(&watched.last).ok());
        }
    }

    /// Begins with a step, unless that is being done.
    fn errand(&mut self, id: StepId, errand: &Errand, changed: &mut BTreeSet<Name>) {
        if self.steps.get(&id).is_some_and(|step| !step.is_finished()) {
            return;
        }
        changed.extend(self.pass_through(&errand.through));
        let device = Arc::new(errand.place.device());
        let step = step(self.place.store.clone(), self.owner.clone(), self.actor.clone(), self.post.clone(), device, id.clone());
        self.steps.insert(id, tokio::spawn(step));
    }
}

/// Does a step as it was recorded, and tells how it ended. Nothing is told of one that is over: whoever asked knows of it.
async fn step(store: Arc<Store>, owner: Owner, actor: Actor, post: Arc<Post>, device: Arc<Device>, id: StepId) {
    let recorded = loop {
        match reconcile::record::take_up(&*store, &id).await {
            Ok(recorded) => break recorded,
            Err(error) => {
                tracing::debug!(%error, step = %id, "the step can't be read yet");
                tokio::time::sleep(AGAIN).await;
            }
        }
    };
    let Some(recorded) = recorded else { return };
    // The last look at who owns the shard before something happens; what happens nevertheless is kept from happening twice by the step's
    // directory on the device.
    while let Err(error) = store.is_owner(&owner).await {
        if matches!(error, store::Error::Replaced(_)) {
            return;
        }
        tokio::time::sleep(AGAIN).await;
    }
    let outcome = actor.act(&Desired::default(), &device, &recorded).await;
    tracing::info!(step = %id, device = %device.name, mailbox = owner.mailbox(), verdict = ?outcome.verdict, "{} ended", recorded.step().action.word());
    post.put(PLANNER, &Matter::Outcome(id), serde_json::to_string(&outcome).ok());
}
