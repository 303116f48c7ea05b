//! Others look at devices and act on them: the planner asks by letter, and reads what they answer.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use api::view::View;
use devices::probe::Ran;
use reconcile::alerting::rule::Rule;
use reconcile::record::RecordedStep;
use reconcile::{Access, Desired, Device, Name, Observed, Outcome, StepId};
use store::{Letter, Owner, Store};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::super::Event;
use super::attention::Attention;
use super::letters::{Alive, Asked, Errand, Matter, Order, PLANNER, Place, shard, shard_of};
use super::post::Post;

/// Time between two looks into the mailbox: one row is read.
const LOOK: Duration = Duration::from_millis(250);
/// Time between two tries of a store that can't be read.
const AGAIN: Duration = Duration::from_secs(1);
/// Tries in a row after which the store is away.
const GONE: u32 = 3;
/// Time between two times that a device is asked for since what is known of it is outdated: clocks of two machines may differ.
const PATIENCE: Duration = Duration::from_secs(5);
/// Jump hosts in a row; devices refuse longer ways too.
const HOPS: usize = 4;

/// Asks those that hold the shards.
pub(crate) struct Away {
    shards: u32,
    far: Arc<Far>,
    owner: Owner,
    /// What lies in the mailboxes, by the hash of its text: the same is not written again.
    there: HashMap<(String, Matter), u64>,
    /// What each device's order says, but for what it takes from `Desired`.
    orders: HashMap<Name, State>,
    /// Rules that whoever holds a shard judges.
    rules: BTreeMap<Name, Arc<Rule>>,
    /// Devices by the jump hosts on their way.
    behind: HashMap<Name, BTreeSet<Name>>,
    attention: Attention,
    /// Not asked again yet since the restart; of a step, with the device.
    unsettled: BTreeMap<(String, String), Option<Name>>,
    /// What looks are counted from: of a device that was forgotten and comes back, an earlier number must not look like the newest one.
    begun: u64,
    reading: Option<JoinHandle<()>>,
    delivering: JoinHandle<()>,
    events: mpsc::Sender<Event>,
}

#[derive(Default)]
struct State {
    look: u64,
    eager: bool,
    /// Names of its probes.
    probes: Vec<String>,
    /// This planner has asked for it, and not only one before it.
    is_ours: bool,
    /// When it was last asked for because what is known is outdated.
    asked: Option<Instant>,
}

/// Steps that others do.
pub(crate) struct Far {
    shards: u32,
    post: Arc<Post>,
    store: Arc<Store>,
    outcomes: Mutex<Outcomes>,
}

#[derive(Default)]
struct Outcomes {
    /// Came before anybody waited: a restart lies between.
    early: HashMap<StepId, Outcome>,
    waiting: HashMap<StepId, oneshot::Sender<Outcome>>,
}

impl Away {
    /// Becomes the one who plans.
    pub(crate) async fn open(store: Arc<Store>, shards: u32, events: mpsc::Sender<Event>) -> Result<Self, store::Error> {
        let owner = store.open_mailbox(PLANNER).await?;
        let post = Arc::new(Post::default());
        let mut away = Self {
            shards,
            far: Arc::new(Far { shards, post: post.clone(), store: store.clone(), outcomes: Mutex::default() }),
            owner: owner.clone(),
            there: HashMap::new(),
            orders: HashMap::new(),
            rules: BTreeMap::new(),
            behind: HashMap::new(),
            attention: Attention::default(),
            unsettled: BTreeMap::new(),
            begun: u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default(),
            reading: None,
            delivering: tokio::spawn(deliver(post, store.clone(), owner.clone(), events.clone())),
            events,
        };
        for (mailbox, letter) in store.asked_of_others(&owner).await? {
            away.found(mailbox, letter);
        }
        Ok(away)
    }

    /// What an earlier planner has asked for.
    fn found(&mut self, mailbox: String, letter: Letter) {
        let Some(document) = letter.document else { return };
        if let Some(matter) = Matter::parse(&letter.matter) {
            if let (Matter::Device(name), Ok(order)) = (&matter, serde_json::from_str::<Order>(&document)) {
                self.orders.insert(name.clone(), State { look: order.look, probes: order.place.probes(), ..State::default() });
            }
            self.there.insert((mailbox.clone(), matter), hash(&document));
        }
        let device = serde_json::from_str::<Errand>(&document).ok().map(|errand| errand.place.device().name);
        self.unsettled.insert((mailbox, letter.matter), device);
    }

    pub(crate) fn far(&self) -> Arc<Far> {
        self.far.clone()
    }

    /// Another revision is in force. Returns those behind jump hosts that changed.
    pub(crate) fn update(&mut self, changed: &BTreeSet<Name>) -> BTreeSet<Name> {
        // Not before devices are known: what is said of one that is not known is not kept.
        if self.reading.is_none() {
            let (far, owner, events) = (self.far.clone(), self.owner.clone(), self.events.clone());
            self.reading = Some(tokio::spawn(async move { far.read(owner, events).await }));
        }
        changed.iter().filter_map(|name| self.behind.get(name)).flatten().chain(changed).cloned().collect()
    }

    /// Rules that ask for readings are judged by whoever takes those: each shard is told of those that are otherwise than before.
    pub(crate) fn judge(&mut self, desired: &Desired) {
        let now: BTreeMap<Name, Arc<Rule>> = desired
            .rules
            .iter()
            .filter(|(_, rule)| rule.is_judged_where_read() && !rule.suspend)
            .map(|(name, rule)| (name.clone(), rule.clone()))
            .collect();
        let before = std::mem::replace(&mut self.rules, now.clone());
        let gone: Vec<Name> = before.keys().filter(|name| !now.contains_key(*name)).cloned().collect();
        let other = now.iter().filter(|(name, rule)| !before.get(*name).is_some_and(|before| Arc::ptr_eq(before, rule)));
        let letters: Vec<_> = other.map(|(name, rule)| (name.clone(), serde_json::to_string(&Asked::of(rule)).ok())).collect();
        for (name, letter) in letters.into_iter().chain(gone.into_iter().map(|name| (name, None))) {
            for number in 0..self.shards {
                self.put(shard(number), Matter::Rule(name.clone()), letter.clone());
            }
        }
    }

    /// Asks for a device to be looked at as it is now; or for it to be left alone, if it is not there or suspended.
    pub(crate) fn ask(&mut self, desired: &Desired, observed: &Observed, name: &Name) {
        let device = desired.devices.get(name).filter(|device| !device.suspend);
        let device = device.filter(|device| device.access != Access::None || !device.probes.is_empty() || device.metrics.is_some());
        let place = shard(shard_of(name, self.shards));
        let Some(device) = device else {
            self.leave(name);
            return self.put(place, Matter::Device(name.clone()), None);
        };
        let through = hops(desired, device);
        for hop in &through {
            self.behind.entry(hop.name.clone()).or_default().insert(name.clone());
        }
        let eager = self.attention.is_on(name);
        let state = self.orders.entry(name.clone()).or_insert_with(|| State { look: self.begun, ..State::default() });
        (state.is_ours, state.eager) = (true, eager);
        let place_there = Place::of(device);
        let gone = std::mem::replace(&mut state.probes, place_there.probes());
        let gone: Vec<String> = gone.into_iter().filter(|probe| !state.probes.contains(probe)).collect();
        let order = Order {
            place: place_there,
            through: through.iter().map(|hop| Place::hop(hop)).collect(),
            items: observed.items(desired, name).into_iter().collect(),
            secret: observed.secret_items(desired, name),
            eager: state.eager,
            look: state.look,
        };
        gone.iter().for_each(|probe| self.unknown(name, Some(probe)));
        self.put(place, Matter::Device(name.clone()), serde_json::to_string(&order).ok());
    }

    /// Nobody looks at a device any more: what was told of it counts no more.
    fn leave(&mut self, name: &Name) {
        let Some(state) = self.orders.remove(name) else { return };
        for behind in self.behind.values_mut() {
            behind.remove(name);
        }
        state.probes.iter().for_each(|probe| self.unknown(name, Some(probe)));
        self.unknown(name, None);
        self.far.post.put(PLANNER, &Matter::Verdicts(name.clone()), None);
    }

    /// What was told of a device, or of a probe of it, that is not there counts no more.
    pub(crate) fn unknown(&self, name: &Name, probe: Option<&str>) {
        let matter = match probe {
            Some(probe) => Matter::Probe(name.clone(), probe.to_owned()),
            None => Matter::Seen(name.clone()),
        };
        self.far.post.put(PLANNER, &matter, None);
    }

    /// The state of a device's order has changed, and nothing else.
    fn ask_again(&mut self, view: &View, name: &Name) {
        self.ask(&view.desired, &view.observed, name);
    }

    pub(crate) fn now(&mut self, view: &View, name: &Name) {
        if let Some(state) = self.orders.get_mut(name) {
            state.look += 1;
            self.ask_again(view, name);
        }
    }

    /// What is known of a device is older than what was done there last: a planner before this one did not come to asking for more.
    pub(crate) fn outdated(&mut self, view: &View, name: &Name) {
        let Some(state) = self.orders.get_mut(name) else { return };
        if state.asked.is_none_or(|asked| asked.elapsed() > PATIENCE) {
            state.asked = Some(Instant::now());
            self.now(view, name);
        }
    }

    /// Where something is under way each answer counts, and elsewhere only what differs.
    pub(crate) fn attend(&mut self, view: &View, units: &BTreeSet<Name>) {
        for name in self.attention.attend(view, units) {
            if self.orders.contains_key(&name) {
                self.ask_again(view, &name);
            }
        }
    }

    /// All that was recorded is taken up, and all that is in force is asked for: nothing else is wanted any more.
    pub(crate) fn settled(&mut self, is_under_way: impl Fn(&StepId) -> bool) {
        for ((mailbox, matter), device) in std::mem::take(&mut self.unsettled) {
            match Matter::parse(&matter) {
                Some(matter) => {
                    let wanted = match &matter {
                        Matter::Device(name) if !self.orders.get(name).is_some_and(|state| state.is_ours) => {
                            self.leave(name);
                            false
                        }
                        Matter::Device(name) => mailbox == shard(shard_of(name, self.shards)),
                        Matter::Rule(name) => self.rules.contains_key(name) && (0..self.shards).any(|number| mailbox == shard(number)),
                        // Where it belongs now: two who are asked would stand in each other's way.
                        Matter::Step(id) => {
                            is_under_way(id) && device.is_some_and(|device| mailbox == shard(shard_of(&device, self.shards)))
                        }
                        _ => false,
                    };
                    if !wanted {
                        self.put(mailbox, matter, None);
                    }
                }
                None => tracing::warn!(mailbox, matter, "a newer version has asked for something that this one does not know"),
            }
        }
    }

    pub(crate) fn ended(&mut self, step: &RecordedStep) {
        let id = &step.step().id;
        self.far.outcomes().early.remove(id);
        let place = shard(shard_of(step.device(), self.shards));
        self.far.post.put(&place, &Matter::Step(id.clone()), None);
        self.far.post.put(PLANNER, &Matter::Outcome(id.clone()), None);
    }

    pub(crate) fn stop(&mut self) {
        if let Some(reading) = &self.reading {
            reading.abort();
        }
        self.delivering.abort();
    }

    fn put(&mut self, mailbox: String, matter: Matter, document: Option<String>) {
        let key = (mailbox, matter);
        let is_there = match &document {
            Some(document) => self.there.insert(key.clone(), hash(document)) == Some(hash(document)),
            None => self.there.remove(&key).is_none(),
        };
        if !is_there {
            self.far.post.put(&key.0, &key.1, document);
        }
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Far {
    fn outcomes(&self) -> std::sync::MutexGuard<'_, Outcomes> {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a step to be done, and waits for its outcome. Whoever holds the shard then finds out what became of it.
    pub(crate) async fn act(&self, desired: &Desired, device: &Device, step: &RecordedStep) -> Option<Outcome> {
        let id = &step.step().id;
        let outcome = {
            let mut outcomes = self.outcomes();
            if let Some(outcome) = outcomes.early.remove(id) {
                return Some(outcome);
            }
            let (sender, outcome) = oneshot::channel();
            outcomes.waiting.insert(id.clone(), sender);
            outcome
        };
        let through = hops(desired, device).iter().map(|hop| Place::hop(hop)).collect();
        let errand = Errand { place: Place::hop(device), through };
        let place = shard(shard_of(&device.name, self.shards));
        self.post.put(&place, &Matter::Step(id.clone()), serde_json::to_string(&errand).ok());
        outcome.await.ok()
    }

    /// Reads what those that hold the shards have to say.
    async fn read(&self, owner: Owner, events: mpsc::Sender<Event>) {
        let (mut after, mut failures) = (0, 0_u32);
        loop {
            match self.store.letters(&owner, after).await {
                Ok((to, letters)) => {
                    failures = 0;
                    let is_all = to == after || letters.is_empty();
                    after = to;
                    let is_old = to <= owner.newest();
                    for letter in letters {
                        if let Some(event) = self.take(letter, is_old)
                            && events.send(event).await.is_err()
                        {
                            return;
                        }
                    }
                    if is_all {
                        tokio::time::sleep(LOOK).await;
                    }
                }
                Err(store::Error::Replaced(_)) => {
                    let _ = events.send(Event::Replaced).await;
                    return;
                }
                Err(error) => {
                    tracing::debug!(%error, "the mailbox can't be read");
                    failures = failures.saturating_add(1);
                    // Who waits for others' words and has nothing to write would never know.
                    if failures == GONE && events.send(Event::StoreRefused(Box::new(error))).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// `is_old`: it was for the planner before this one.
    fn take(&self, letter: Letter, is_old: bool) -> Option<Event> {
        let document = letter.document?;
        let event = match Matter::parse(&letter.matter)? {
            Matter::Seen(name) => serde_json::from_str(&document).map(|seen| {
                let seen = Box::new(seen);
                Some(if is_old { Event::Remembered(name, seen) } else { Event::Seen(name, seen) })
            }),
            Matter::Probe(device, probe) => serde_json::from_str(&document).map(|seen| {
                let ran = Ran { device, probe, seen };
                Some(if is_old { Event::RememberedProbe(ran) } else { Event::Probe(ran) })
            }),
            Matter::Verdicts(device) => serde_json::from_str(&document).map(|judged| Some(Event::Judged(device, judged))),
            Matter::Alive(shard) => serde_json::from_str(&document).map(|alive: Alive| {
                // What was just written is of now, whatever clock its writer has.
                Some(Event::Alive(shard, if is_old { alive.at } else { jiff::Timestamp::now() }, alive.network_down))
            }),
            Matter::Outcome(id) => serde_json::from_str(&document).map(|outcome| {
                self.arrived(id, outcome);
                None
            }),
            Matter::Device(_) | Matter::Step(_) | Matter::Rule(_) => return None,
        };
        event.unwrap_or_else(|error| {
            tracing::error!(%error, matter = letter.matter, "a letter can't be read");
            None
        })
    }

    fn arrived(&self, id: StepId, outcome: Outcome) {
        let mut outcomes = self.outcomes();
        let waiting = outcomes.waiting.remove(&id);
        if let Some(outcome) = waiting.map_or(Some(outcome.clone()), |waiting| waiting.send(outcome).err()) {
            outcomes.early.insert(id, outcome);
        }
    }
}

/// Sends letters until somebody else plans.
async fn deliver(post: Arc<Post>, store: Arc<Store>, owner: Owner, events: mpsc::Sender<Event>) {
    post.deliver(store, owner).await;
    let _ = events.send(Event::Replaced).await;
}

/// A device's jump hosts, the nearest to it first.
fn hops(desired: &Desired, device: &Device) -> Vec<Arc<Device>> {
    let via = |device: &Device| match &device.access {
        Access::Ssh(access) => access.via.clone(),
        _ => None,
    };
    let mut hops: Vec<Arc<Device>> = Vec::new();
    let mut next = via(device);
    while let Some(hop) = next.and_then(|name| desired.devices.get(&name)) {
        if hops.len() == HOPS || hops.iter().any(|before| before.name == hop.name) {
            break;
        }
        next = via(hop);
        hops.push(hop.clone());
    }
    hops
}

fn hash(document: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    document.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use store::Options;

    use super::*;

    fn view(names: &[&str]) -> View {
        let mut desired = Desired::default();
        for name in names {
            let access = r#"{"Ssh":{"port":22,"user":"ops","secret":null,"host_keys":[],"sudo":true,"via":null}}"#;
            let place = format!(r#"{{"name":"default/{name}","address":"192.0.2.1","access":{access},"probes":[]}}"#);
            let place: Place = serde_json::from_str(&place).unwrap();
            desired.devices.insert_mut(Name::parse(name), Arc::new(place.device()));
        }
        View { desired: Arc::new(desired), ..View::default() }
    }

    /// A planner with these devices in force, all of which was sent.
    async fn planner(store: &Arc<Store>, view: &View, events: &mpsc::Sender<Event>) -> Away {
        let mut away = Away::open(store.clone(), 1, events.clone()).await.unwrap();
        away.delivering.abort();
        away.update(&view.desired.devices.keys().cloned().collect());
        for name in view.desired.devices.keys() {
            away.ask(&view.desired, &view.observed, name);
        }
        away.settled(|_| false);
        away.far.post.empty(store, &away.owner).await.unwrap();
        away
    }

    async fn letters(store: &Store, shard: &Owner, after: &mut u64) -> Vec<String> {
        let (to, letters) = store.letters(shard, *after).await.unwrap();
        *after = to;
        letters.into_iter().map(|letter| format!("{}{}", letter.matter, if letter.document.is_some() { "" } else { " closed" })).collect()
    }

    #[tokio::test]
    async fn another_planner_asks_for_what_differs_only() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(&Options { data: folder.path().to_owned(), url: None }).await.unwrap());
        let (events, _inbox) = mpsc::channel(16);
        let first = planner(&store, &view(&["a", "b"]), &events).await;
        let shard = store.open_mailbox(&shard(0)).await.unwrap();
        let mut after = 0;
        assert_eq!(letters(&store, &shard, &mut after).await, ["device default/a", "device default/b"]);

        // One is gone, one is new, one is as it was.
        let second = planner(&store, &view(&["b", "c"]), &events).await;
        assert_eq!(letters(&store, &shard, &mut after).await, ["device default/a closed", "device default/c"]);
        assert!(matches!(store.is_owner(&first.owner).await, Err(store::Error::Replaced(_))));
        store.is_owner(&second.owner).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_outdated_is_asked_for_again_but_not_all_the_time() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(&Options { data: folder.path().to_owned(), url: None }).await.unwrap());
        let (events, _inbox) = mpsc::channel(16);
        let view = view(&["a"]);
        let mut away = planner(&store, &view, &events).await;
        let shard = store.open_mailbox(&shard(0)).await.unwrap();
        let mut after = 0;
        letters(&store, &shard, &mut after).await;
        for _ in 0..3 {
            away.outdated(&view, &Name::parse("a"));
            away.far.post.empty(&store, &away.owner).await.unwrap();
        }
        assert_eq!(letters(&store, &shard, &mut after).await, ["device default/a"]);
        let (_, letter) = store.asked_of_others(&away.owner).await.unwrap().remove(0);
        let order: Order = serde_json::from_str(letter.document.as_deref().unwrap()).unwrap();
        assert_eq!(order.look, away.begun + 1, "asked three times, and for one look");
    }

    /// A step that ended while nobody planned has its outcome waiting for whoever asks for it.
    #[tokio::test]
    async fn an_outcome_that_comes_early_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(&Options { data: folder.path().to_owned(), url: None }).await.unwrap());
        let (events, _inbox) = mpsc::channel(16);
        let away = planner(&store, &view(&["a"]), &events).await;
        let outcome = Outcome::failed(jiff::Timestamp::UNIX_EPOCH, "no");
        let letter = Letter { matter: Matter::Outcome(StepId("x".into())).to_text(), document: serde_json::to_string(&outcome).ok() };
        assert!(away.far.take(letter, false).is_none());
        assert_eq!(away.far.outcomes().early.get(&StepId("x".into())), Some(&outcome));
        // Somebody lives whose clock is wrong by years; what lay there before this planner came is as old as it says.
        let alive = || Letter {
            matter: Matter::Alive(0).to_text(),
            document: serde_json::to_string(&Alive { at: jiff::Timestamp::UNIX_EPOCH, network_down: None }).ok(),
        };
        let at = |event| if let Some(Event::Alive(0, at, None)) = event { at } else { panic!() };
        assert!(at(away.far.take(alive(), false)) > jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(at(away.far.take(alive(), true)), jiff::Timestamp::UNIX_EPOCH);
        // What nobody can read is left, and stops nothing.
        assert!(away.far.take(Letter { matter: "seen default/a".into(), document: Some("{".into()) }, false).is_none());
        assert!(away.far.take(Letter { matter: "later x".into(), document: Some("{}".into()) }, true).is_none());
    }
}
