//! Secrets, read by name when they are needed, and watched by name from then on: nobody is allowed to list them.
//!
//! ```text
//! asked for ─► read ─► watched from that version on ─► changed: whoever uses it is told its name
//! ```
//!
//! What is watched is answered from memory. What can't be watched, since there are too many or it is not allowed, is read again when it is asked
//! for, and nobody is told that it changed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1;
use kube::Client;
use kube::api::Api;
use reconcile::Name;
use tokio::sync::watch as latest;
use tokio_util::task::AbortOnDropHandle;
use zeroize::Zeroizing;

use crate::{Cluster, reason, within};

mod follow;

/// For so long a secret that was read, and is not watched, is not read again: many devices have the same one.
const FRESH: Duration = Duration::from_secs(10);
/// For so long it is good where the API server can't be asked. What may not be watched is tried again after as long.
const GOOD: Duration = Duration::from_secs(600);
/// Secrets that are kept; of more, those read longest ago go.
const KEPT: usize = 1000;
/// Secrets that are watched, each over a connection of its own; of more, those asked for first.
pub const WATCHED: usize = 256;
/// Where there are so many, one that nobody has asked for in this time makes room.
const IDLE: Duration = Duration::from_secs(3600);

/// The values of a secret, by key.
pub type Values = BTreeMap<String, Zeroizing<Vec<u8>>>;

/// What a Secret says, with the value `true`, whose values receivers of notifications may have. Whoever writes a Receiver chooses where they
/// are sent: so whoever writes the Secret says that this is what it is there for.
pub const RECEIVER: &str = "evenkeel.dev/receiver";

/// A secret as it was read.
#[derive(Clone, PartialEq)]
struct Read {
    values: Arc<Values>,
    /// It is for receivers of notifications.
    is_for_receivers: bool,
}

impl Read {
    fn of(secret: v1::Secret) -> Self {
        let labels = secret.metadata.labels.unwrap_or_default();
        let is_for_receivers = labels.get(RECEIVER).is_some_and(|value| value == "true");
        let values = secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, Zeroizing::new(value.0))).collect();
        Self { values: Arc::new(values), is_for_receivers }
    }
}

/// What is known of a secret.
struct Kept {
    /// When it was read last.
    at: Instant,
    /// When it was asked for last.
    asked: Instant,
    /// `None`: there is none of that name.
    read: Option<Read>,
    /// The number of the change that made it so; 0: it is as it was read first.
    turn: u64,
    watch: Watched,
}

/// Whether it is told when it changes.
enum Watched {
    /// By this task; what is known is what is, as long as it `follows`.
    By { _task: AbortOnDropHandle<()>, follows: bool },
    /// Not before this, if at all.
    Not(Instant),
}

impl Kept {
    /// Whether it is known without asking.
    fn is_known(&self) -> bool {
        matches!(self.watch, Watched::By { follows: true, .. }) || (self.read.is_some() && self.at.elapsed() < FRESH)
    }

    fn is_watched(&self) -> bool {
        matches!(self.watch, Watched::By { .. })
    }
}

/// The secrets of the cluster.
pub struct Secrets {
    client: Client,
    kept: Mutex<BTreeMap<Name, Kept>>,
    /// The number of the newest change.
    turn: latest::Sender<u64>,
}

impl Cluster {
    /// Its secrets.
    pub fn secrets(&self) -> Arc<Secrets> {
        self.secrets.clone()
    }
}

impl Secrets {
    pub(crate) fn new(client: Client) -> Arc<Self> {
        Arc::new(Self { client, kept: Mutex::default(), turn: latest::Sender::default() })
    }

    /// A secret as it is now, or was a moment ago. The error never says what is in it.
    pub async fn get(self: &Arc<Self>, namespace: &str, name: &str) -> Result<Arc<Values>, String> {
        self.read(namespace, name).await.map(|read| read.values)
    }

    /// The same, where it says that it is for receivers of notifications.
    pub async fn for_receiver(self: &Arc<Self>, namespace: &str, name: &str) -> Result<Arc<Values>, String> {
        let read = self.read(namespace, name).await?;
        if !read.is_for_receivers {
            return Err(format!(
                "Secret {name} in namespace {namespace} is not for receivers: if it is, kubectl label secret -n {namespace} {name} {RECEIVER}=true"
            ));
        }
        Ok(read.values)
    }

    /// The number of the newest change.
    pub fn turn(&self) -> u64 {
        *self.turn.borrow()
    }

    /// Waits until secrets are otherwise than at the change of this number, and tells which, with the number to go on from.
    pub async fn changed(&self, after: u64) -> (u64, Vec<Name>) {
        let mut turn = self.turn.subscribe();
        loop {
            let newest = *turn.borrow_and_update();
            let changed: Vec<Name> = self.kept().iter().filter(|(_, kept)| kept.turn > after).map(|(name, _)| name.clone()).collect();
            if !changed.is_empty() {
                return (newest, changed);
            }
            // Its other end is ours.
            let _ = turn.changed().await;
        }
    }

    async fn read(self: &Arc<Self>, namespace: &str, name: &str) -> Result<Read, String> {
        let place = Name::new(namespace, name);
        let missing = || format!("there is no Secret {name} in namespace {namespace}");
        if let Some(kept) = self.kept().get_mut(&place) {
            kept.asked = Instant::now();
            if kept.is_known() {
                return kept.read.clone().ok_or_else(missing);
            }
        }
        let asked = Instant::now();
        match within(self.api(&place).get_opt(name)).await {
            Ok(secret) => {
                let version = secret.as_ref().and_then(|secret| secret.metadata.resource_version.clone()).unwrap_or_default();
                let kept = self.keep_asked(&place, secret.map(Read::of), Some(asked));
                self.watch(&place, version);
                kept.ok_or_else(missing)
            }
            Err(kube::Error::Api(status)) if status.code == 403 => {
                self.kept().remove(&place);
                Err(format!("the operator may not read Secret {name} in namespace {namespace}: name it in the chart's `secrets`"))
            }
            Err(error) => match self.kept().get(&place) {
                Some(Kept { at, read: Some(read), .. }) if at.elapsed() < GOOD => Ok(read.clone()),
                _ => Err(format!("Secret {name} in namespace {namespace}: {}", reason(&error))),
            },
        }
    }

    fn api(&self, place: &Name) -> Api<v1::Secret> {
        Api::namespaced(self.client.clone(), place.namespace())
    }

    /// Keeps a secret as it is now; where it is otherwise than it was, that is told.
    fn keep(&self, place: &Name, read: Option<Read>) {
        self.keep_asked(place, read, None);
    }

    /// The same for the answer to who `asked` for it then; returns what is kept. What was learned since then, from the watch or by another
    /// answer, may be newer, and stays.
    fn keep_asked(&self, place: &Name, read: Option<Read>, asked: Option<Instant>) -> Option<Read> {
        let mut all = self.kept();
        let now = Instant::now();
        match all.get_mut(place) {
            Some(kept) if asked.is_some_and(|asked| kept.at > asked) => return kept.read.clone(),
            Some(kept) => {
                kept.at = now;
                if kept.read != read {
                    kept.read.clone_from(&read);
                    self.turn.send_modify(|turn| *turn += 1);
                    kept.turn = *self.turn.borrow();
                }
            }
            None => {
                let kept = Kept { at: now, asked: now, read: read.clone(), turn: 0, watch: Watched::Not(now) };
                all.insert(place.clone(), kept);
            }
        }
        while all.len() > KEPT {
            let unwatched = all.iter().filter(|(_, kept)| !kept.is_watched());
            let Some(oldest) = unwatched.min_by_key(|(_, kept)| kept.at).map(|(place, _)| place.clone()) else { break };
            all.remove(&oldest);
        }
        read
    }

    /// Has it watched from this version on, if that is not so and there is room.
    fn watch(self: &Arc<Self>, place: &Name, version: String) {
        let mut all = self.kept();
        if all.values().filter(|kept| kept.is_watched()).count() >= WATCHED {
            let idle = all.iter().filter(|(_, kept)| kept.is_watched() && kept.asked.elapsed() > IDLE);
            let Some(idle) = idle.min_by_key(|(_, kept)| kept.asked).map(|(place, _)| place.clone()) else { return };
            all.remove(&idle);
        }
        let Some(kept) = all.get_mut(place) else { return };
        if matches!(kept.watch, Watched::Not(until) if until <= Instant::now()) {
            let task = tokio::spawn(follow::follow(Arc::downgrade(self), place.clone(), version));
            kept.watch = Watched::By { _task: AbortOnDropHandle::new(task), follows: false };
        }
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<Name, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
