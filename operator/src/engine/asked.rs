//! What people ask of the engine.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::view::{Ask, BUSY, Request, STORE_AWAY};
use reconcile::Name;
use reconcile::record::Actor;
use serde_json::{Value, json};
use store::Store;
use store::audit::Entry;
use tokio::sync::oneshot;

use super::source::Wish;
use super::writing::Held;
use super::{Engine, audit, preview, writing};

/// A device that was looked at by hand is not looked at again for so long: ten people who ask at once get the same answer.
const LOOKED: Duration = Duration::from_secs(10);

fn looks(device: &Name) -> String {
    format!("device/{device} is looked at and probed")
}

/// Writes down who asked for a look at what, beside the loop.
async fn looked(store: Arc<Store>, entry: Entry, said: String, reply: oneshot::Sender<Result<Value, String>>) {
    let logged = store.log(vec![entry]).await.map_err(|error| error.to_string());
    let _ = reply.send(logged.map(|_| json!({ "message": said })));
}

impl Engine {
    pub(super) async fn asked(&mut self, request: Request) {
        let answer = match request.what {
            Ask::Sync if self.store_away => Err(STORE_AWAY.into()),
            Ask::Sync => match self.ask.try_send(Wish::Look) {
                Ok(()) => {
                    let entry = audit(Actor::user(&request.by), "sync", "source", "");
                    tokio::spawn(looked(self.store.clone(), entry, "the source is being looked at".into(), request.reply));
                    return;
                }
                Err(_) => Err(BUSY.into()),
            },
            Ask::Admit { id } => self.admit(&id, &request.by).await,
            Ask::Acknowledge { id, comment, until } => self.acknowledge(&id, comment, until, &request.by).await,
            Ask::Unacknowledge { id } => self.unacknowledge(&id, &request.by).await,
            Ask::Look { device } => match self.look_by_hand(&device, &request.by) {
                Ok(true) => {
                    let entry = audit(Actor::user(&request.by), "look", &format!("device/{device}"), "");
                    tokio::spawn(looked(self.store.clone(), entry, looks(&device), request.reply));
                    return;
                }
                Ok(false) => Ok(looks(&device)),
                Err(why) => Err(why),
            },
            Ask::Change(wanted) => {
                tokio::spawn(writing::answer(self.ground(), *wanted, request.reply));
                return;
            }
            Ask::Commit { id } => {
                tokio::spawn(writing::told(self.ground(), self.held(), id, request.reply));
                return;
            }
            Ask::Origin { key } => {
                tokio::spawn(writing::origin(self.ground(), key, request.reply));
                return;
            }
            Ask::Rollout { deployment, command } => self.command(&deployment, &command, &request.by).await,
            Ask::TryOut { receiver } => return self.try_out(&receiver, &request.by, request.reply).await,
            Ask::Preview { reference, repository } => {
                let source = preview::Source { ask: self.ask.clone(), asides: self.asides.clone() };
                tokio::spawn(preview::answer(self.preview(), source, reference, repository, request.reply));
                return;
            }
        };
        let _ = request.reply.send(answer.map(|message| json!({ "message": message })));
    }

    /// What waits, for whoever asks about its commit.
    fn held(&self) -> Held {
        let view = self.read();
        let waits = self.held.as_ref().map(|held| held.desired.revision.commit.clone()).zip(view.source.too_far.clone());
        Held { waits, in_force: view.source.in_force.clone() }
    }

    /// Somebody wants to know how a device is now. Whether that is to be written down: who asks again meanwhile has been already.
    fn look_by_hand(&mut self, device: &Name, by: &str) -> Result<bool, String> {
        if !self.desired().devices.contains_key(device) {
            return Err(format!("device/{device} is not there, or can't be used"));
        }
        if self.store_away {
            return Err(STORE_AWAY.into());
        }
        let now = Instant::now();
        self.looked.retain(|_, (at, _)| now.duration_since(*at) < LOOKED);
        if let Some((_, askers)) = self.looked.get_mut(device) {
            return Ok(askers.insert(by.to_owned()));
        }
        self.looked.insert(device.clone(), (now, BTreeSet::from([by.to_owned()])));
        self.look_now(device);
        Ok(true)
    }

    async fn admit(&mut self, id: &str, by: &str) -> Result<String, String> {
        let waits = self.read().source.too_far.as_ref().map(|too_far| too_far.id.clone());
        if waits.as_deref() != Some(id) {
            return Err(
                waits.map_or("no commit waits for approval".into(), |waits| format!("{id} does not wait for approval; {waits} does"))
            );
        }
        if self.store_away {
            return Err(STORE_AWAY.into());
        }
        let actor = Actor::user(by);
        let entry = audit(
            actor,
            "approve",
            &format!("commit/{}", self.held.as_ref().map(|held| held.desired.revision.commit.clone()).unwrap_or_default()),
            id,
        );
        self.store.approve_source(&self.url, id, entry).await.map_err(|error| error.to_string())?;
        if let Some(held) = self.held.take() {
            self.candidate(held).await;
        }
        Ok("approved".into())
    }
}
