//! A Secret changed: whatever needs it is tried anew, at once, and nothing else is.

use std::sync::Arc;

use crds::{Kind, Object};
use jiff::Timestamp;
use reconcile::alerting::Receiver;
use reconcile::{Desired, Name};
use tokio::sync::mpsc;

use super::{Engine, Event};

/// Tells of Secrets that change. It ends with the engine.
pub(super) async fn follow(secrets: devices::Secrets, events: mpsc::Sender<Event>) {
    let mut turn = 0;
    loop {
        let (newest, changed) = secrets.changed(turn).await;
        turn = newest;
        if events.send(Event::Secrets(changed)).await.is_err() {
            return;
        }
    }
}

impl Engine {
    /// These are otherwise than before.
    pub(super) async fn secrets_changed(&mut self, secrets: &[Name]) {
        let desired = self.desired();
        self.hands.secrets_changed(&desired, secrets).await;
        for receiver in secrets.iter().flat_map(|secret| receivers(&desired, secret)) {
            tracing::info!(%receiver, "its Secret changed: what could not be said yet is tried again");
            match self.store.hurry_notices(&receiver, Timestamp::now()).await {
                Ok(()) => self.said.notify_one(),
                Err(error) => tracing::warn!(%error, %receiver, "what could not be said yet is tried again later"),
            }
        }
    }
}

/// The Receivers that need a Secret.
fn receivers(desired: &Arc<Desired>, secret: &Name) -> Vec<Name> {
    let needs = |name: &Name, object: &Object| {
        let Object::Receiver(object) = object else { return false };
        let named = Receiver::of(name, &object.spec).0.and_then(|receiver| receiver.secret);
        name.namespace() == secret.namespace() && named.as_deref() == Some(secret.name())
    };
    let of = desired.objects.iter().filter(|((kind, name), object)| *kind == Kind::Receiver && needs(name, object));
    of.map(|((_, name), _)| name.clone()).collect()
}
