//! What people ask of the engine.

use api::view::{Ask, Request};
use reconcile::Name;
use reconcile::record::Actor;

use super::source::Wish;
use super::writing::Held;
use super::{Engine, audit, preview, writing};

impl Engine {
    pub(super) async fn asked(&mut self, request: Request) {
        let answer = match request.what {
            Ask::Sync => match self.ask.try_send(Wish::Look) {
                Ok(()) => Ok("the source is being looked at".into()),
                Err(_) => Err("the source is busy".into()),
            },
            Ask::Admit { id } => self.admit(&id, &request.by).await,
            Ask::Acknowledge { id, comment, until } => self.acknowledge(&id, comment, until, &request.by).await,
            Ask::Unacknowledge { id } => self.unacknowledge(&id, &request.by).await,
            Ask::Look { device } => self.look_by_hand(&device, &request.by).await,
            Ask::Change(wanted) => {
                tokio::spawn(writing::answer(self.ground(), *wanted, request.reply));
                return;
            }
            Ask::Commit { id } => {
                tokio::spawn(writing::told(self.ground(), self.held(), id, request.reply));
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
        let _ = request.reply.send(answer.map(|message| serde_json::json!({ "message": message })));
    }

    /// What waits, for whoever asks about its commit.
    fn held(&self) -> Held {
        let view = self.read();
        let waits = self.held.as_ref().map(|held| held.desired.revision.commit.clone()).zip(view.source.too_far.clone());
        Held { waits, in_force: view.source.in_force.clone() }
    }

    /// Somebody wants to know how a device is now.
    async fn look_by_hand(&mut self, device: &Name, by: &str) -> Result<String, String> {
        if !self.desired().devices.contains_key(device) {
            return Err(format!("device/{device} is not there, or can't be used"));
        }
        let entry = audit(Actor::user(by), "look", &format!("device/{device}"), "");
        self.store.log(vec![entry]).await.map_err(|error| error.to_string())?;
        self.look_now(device);
        Ok(format!("device/{device} is looked at and probed"))
    }

    async fn admit(&mut self, id: &str, by: &str) -> Result<String, String> {
        let waits = self.read().source.too_far.as_ref().map(|too_far| too_far.id.clone());
        if waits.as_deref() != Some(id) {
            return Err(
                waits.map_or("no commit waits for approval".into(), |waits| format!("{id} does not wait for approval; {waits} does"))
            );
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
