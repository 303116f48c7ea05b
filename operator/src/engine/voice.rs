//! Says what lies in the outbox: to Receivers as they are in force, with their Secrets as they are now.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use api::view::SharedView;
use crds::{Kind, Object};
use devices::Secrets;
use jiff::Timestamp;
use notify::retry::Backoff;
use notify::{Category, Channels, Error, Origin, Places, Reached, Secret};
use reconcile::Name;
use reconcile::alerting::alerts::Changes;
use reconcile::alerting::{Notice, Receiver};
use reconcile::record::Actor;
use serde_json::{Value, json};
use store::Store;
use tokio::sync::{Notify, oneshot};

use super::outbox::{self, Deliver};
use super::{Engine, audit};

/// How long somebody who tries out a receiver waits for what came of it.
const TRIAL: Duration = Duration::from_secs(25);
/// Time between two looks at that.
const LOOK: Duration = Duration::from_millis(300);

/// Who says it.
pub(super) struct Voice {
    pub(super) view: SharedView,
    pub(super) secrets: Secrets,
    pub(super) store: Arc<Store>,
    pub(super) places: Places,
    /// Where people find us.
    pub(super) external_url: Option<reqwest::Url>,
    /// When what failed is tried again.
    pub(super) backoff: Backoff,
}

/// The way to the receivers.
#[derive(Clone)]
struct Speaker(Arc<Ways>);

struct Ways {
    view: SharedView,
    secrets: Secrets,
    channels: Channels,
}

impl Voice {
    /// For ever.
    pub(super) async fn speak(self, news: Arc<Notify>) {
        let Self { view, secrets, store, places, external_url, backoff } = self;
        let url = external_url.and_then(|url| url.join("alerts").ok()).map(String::from);
        let channels = Channels::new(Origin { url }).only_to(places);
        let speaker = Speaker(Arc::new(Ways { view: view.clone(), secrets, channels }));
        outbox::run(store, view, news, speaker, backoff).await;
    }
}

impl Deliver for Speaker {
    async fn deliver(&self, notice: Notice, reached: Reached) -> Result<(), Error> {
        let ways = &*self.0;
        let receiver = ways.receiver(&notice.receiver)?;
        let secret = match &receiver.secret {
            None => Secret::default(),
            Some(name) => {
                let values = ways.secrets.for_receiver(notice.receiver.namespace(), name).await;
                Secret::from(values.map_err(|error| Error::new(Category::Secret, error))?)
            }
        };
        let delivered = ways.channels.deliver(&notice, &receiver, &secret, &reached, Timestamp::now()).await?;
        for note in delivered.notes {
            tracing::warn!(receiver = %notice.receiver, id = notice.id, "{note}");
        }
        Ok(())
    }

    fn is_suspended(&self, receiver: &Name) -> bool {
        matches!(self.0.object(receiver).as_deref(), Some(Object::Receiver(receiver)) if receiver.spec.suspend == Some(true))
    }

    fn fallback(&self, receiver: &Name) -> Option<Name> {
        let object = self.0.object(receiver)?;
        let Object::Receiver(object) = &*object else { return None };
        let fallback = receiver.sibling(object.spec.fallback.as_ref()?);
        self.0.object(&fallback).map(|_| fallback)
    }
}

impl Ways {
    fn object(&self, name: &Name) -> Option<Arc<Object>> {
        let desired = self.view.read().unwrap_or_else(PoisonError::into_inner).desired.clone();
        desired.objects.get(&(Kind::Receiver, name.clone())).cloned()
    }

    /// As it is in force.
    fn receiver(&self, name: &Name) -> Result<Receiver, Error> {
        let object = self.object(name);
        let Some(Object::Receiver(object)) = object.as_deref() else {
            // It may come back with the next commit.
            return Err(Error::new(Category::Secret, format!("there is no Receiver {name}")));
        };
        let (receiver, wrong) = Receiver::of(name, &object.spec);
        let why = wrong.first().map(|wrong| format!("receiver {name}: {}: {}", wrong.path, wrong.message));
        receiver.ok_or_else(|| Error::new(Category::Receiver, why.unwrap_or_default()))
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
            return Err(api::view::STORE_AWAY.into());
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
        match store.notice(id).await.map_err(|error| error.to_string())? {
            Some(row) if row.is_dead => return Err(format!("receiver {receiver}: {}", row.problem)),
            Some(row) if row.finished_at.is_some() => return Ok(format!("receiver {receiver} has been told")),
            Some(row) if row.attempts > 0 => return Err(format!("receiver {receiver}: {}; it is tried again", row.problem)),
            _ => {}
        }
    }
    Err(format!("receiver {receiver}: nothing has come of it yet: evenkeel alerts notices"))
}
