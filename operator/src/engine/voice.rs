//! Says what lies in the outbox: to Receivers as they are in force, with their Secrets as they are now.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api::view::SharedView;
use crds::{Kind, Object};
use devices::Secrets;
use jiff::Timestamp;
use notify::retry::{Bucket, Rate};
use notify::{Category, Channels, Error, Origin, Secret};
use reconcile::Name;
use reconcile::alerting::alerts::Changes;
use reconcile::alerting::{Notice, Receiver};
use reconcile::record::Actor;
use serde_json::{Value, json};
use store::Store;
use tokio::sync::{Notify, oneshot};

use super::{Engine, audit, outbox};

/// Who waits longer than this for a receiver's turn is put back instead.
const TURN: Duration = Duration::from_secs(20);
/// Notices of which it is remembered whom they have reached already; of more, some may be told twice.
const REACHED: usize = 1000;
/// How long somebody who tries out a receiver waits for what came of it.
const TRIAL: Duration = Duration::from_secs(25);
/// Time between two looks at that.
const LOOK: Duration = Duration::from_millis(300);
/// Notices among which it is looked for.
const NEWEST: u32 = 200;

/// Who says it.
pub(super) struct Voice {
    pub(super) view: SharedView,
    pub(super) secrets: Secrets,
    pub(super) store: Arc<Store>,
}

struct Speaker {
    view: SharedView,
    secrets: Secrets,
    channels: Channels,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// What is left of each receiver's rate.
    buckets: BTreeMap<Name, Bucket>,
    /// Whom a notice has reached by tries that failed for others.
    reached: BTreeMap<String, Vec<String>>,
}

impl Voice {
    /// For ever.
    pub(super) async fn speak(self, news: Arc<Notify>) {
        let Self { view, secrets, store } = self;
        let speaker = Arc::new(Speaker { view, secrets, channels: Channels::new(Origin::default()), known: Mutex::default() });
        outbox::run(store, news, move |notice| {
            let speaker = speaker.clone();
            async move { speaker.say(&notice).await }
        })
        .await;
    }
}

impl Speaker {
    async fn say(&self, notice: &Notice) -> Result<(), Error> {
        let receiver = self.receiver(&notice.receiver)?;
        if receiver.suspend {
            tracing::info!(receiver = %notice.receiver, id = notice.id, "not said: the receiver is suspended");
            return Ok(());
        }
        self.in_turn(&notice.receiver).await?;
        let secret = match &receiver.secret {
            None => Secret::default(),
            Some(name) => {
                let values = self.secrets.whole(notice.receiver.namespace(), name).await;
                Secret::from(values.map_err(|error| Error::new(Category::Secret, error))?)
            }
        };
        let reached = self.known().reached.get(&notice.id).cloned().unwrap_or_default();
        match self.channels.deliver(notice, &receiver, &secret, &reached, Timestamp::now()).await {
            Ok(delivered) => {
                self.known().reached.remove(&notice.id);
                for note in delivered.notes {
                    tracing::warn!(receiver = %notice.receiver, id = notice.id, "{note}");
                }
                Ok(())
            }
            Err(error) => {
                let mut known = self.known();
                if !error.reached.is_empty() && known.reached.len() < REACHED {
                    known.reached.entry(notice.id.clone()).or_default().extend(error.reached.iter().cloned());
                }
                Err(error)
            }
        }
    }

    /// As it is in force.
    fn receiver(&self, name: &Name) -> Result<Receiver, Error> {
        let desired = self.view.read().unwrap_or_else(PoisonError::into_inner).desired.clone();
        let object = desired.objects.get(&(Kind::Receiver, name.clone()));
        let Some(Object::Receiver(object)) = object.map(|object| &**object) else {
            // It may come back with the next commit.
            return Err(Error::new(Category::Secret, format!("there is no Receiver {name}")));
        };
        let (receiver, wrong) = Receiver::of(name, &object.spec);
        let why = wrong.first().map(|wrong| format!("receiver {name}: {}: {}", wrong.path, wrong.message));
        receiver.ok_or_else(|| Error::new(Category::Receiver, why.unwrap_or_default()))
    }

    /// Waits until the receiver may be sent something again.
    async fn in_turn(&self, name: &Name) -> Result<(), Error> {
        let began = tokio::time::Instant::now();
        loop {
            let (now, rate) = (Timestamp::now(), Rate::default());
            let taken = self.known().buckets.entry(name.clone()).or_insert_with(|| Bucket::full(rate, now)).take(rate, now);
            let Err(at) = taken else { return Ok(()) };
            let wait = Duration::try_from(at.duration_since(now)).unwrap_or_default().max(Duration::from_millis(50));
            if began.elapsed() + wait > TURN {
                return Err(Error::new(
                    Category::RateLimited,
                    format!("receiver {name} is sent no more than {} a minute", rate.per_minute),
                ));
            }
            tokio::time::sleep(wait).await;
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Tries out a Receiver by the very way of an alert.
    pub(super) async fn try_out(&mut self, receiver: &Name, by: &str, reply: oneshot::Sender<Result<Value, String>>) {
        let id = match self.trial(receiver, by).await {
            Ok(id) => id,
            Err(error) => return drop(reply.send(Err(error))),
        };
        self.said.notify_one();
        let (store, receiver) = (self.store.clone(), receiver.clone());
        tokio::spawn(async move {
            let _ = reply.send(outcome(&store, &receiver, &id).await.map(|message| json!({"message": message})));
        });
    }

    async fn trial(&mut self, receiver: &Name, by: &str) -> Result<String, String> {
        if !self.desired().objects.contains_key(&(Kind::Receiver, receiver.clone())) {
            return Err(format!("there is no Receiver {receiver}"));
        }
        if self.store_away {
            return Err("the store does not take writes just now".into());
        }
        let now = Timestamp::now();
        let id = format!("trial-{}-{}", now.as_nanosecond(), receiver.name());
        let notice = notify::trial(receiver, &id, by, now);
        let entry = audit(Actor::user(by), "try-out", &format!("receiver/{receiver}"), &id);
        let changes = Changes { notices: vec![notice], ..Changes::default() };
        self.store.record_alerts(&changes, vec![entry], now).await.map_err(|error| error.to_string())?;
        Ok(id)
    }
}

/// What came of the first try.
async fn outcome(store: &Store, receiver: &Name, id: &str) -> Result<String, String> {
    let end = tokio::time::Instant::now() + TRIAL;
    while tokio::time::Instant::now() < end {
        tokio::time::sleep(LOOK).await;
        let rows = store.notices(NEWEST).await.map_err(|error| error.to_string())?;
        match rows.into_iter().find(|row| row.notice.id == id) {
            Some(row) if row.is_dead => return Err(format!("receiver {receiver}: {}", row.problem)),
            Some(row) if row.finished_at.is_some() => return Ok(format!("receiver {receiver} has been told")),
            Some(row) if row.attempts > 0 => return Err(format!("receiver {receiver}: {}; it is tried again", row.problem)),
            _ => {}
        }
    }
    Err(format!("receiver {receiver}: nothing has come of it yet: evenkeel alerts notices"))
}
