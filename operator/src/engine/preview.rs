//! What would come of a revision: read beside what is in force, planned by the same planner, and never acted on.

use std::sync::Arc;

use api::view::Preview;
use jiff::Timestamp;
use reconcile::limits::{self, Limits};
use reconcile::{Action, Changed, Desired, Name, Observed, deletion, outlook};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::repositories::aside::{Aside, Asides};
use super::source::Wish;
use super::{Engine, FINDINGS};

/// What a preview is made against.
pub(super) struct Ground {
    in_force: Arc<Desired>,
    observed: Observed,
    limits: Limits,
    /// What was read since and is not in force.
    pending: Changed,
}

impl Engine {
    pub(super) fn preview(&self) -> Ground {
        let view = self.read();
        Ground { in_force: view.desired.clone(), observed: view.observed.clone(), limits: self.limits, pending: self.pending.clone() }
    }
}

/// Whom to ask what a revision says.
pub(super) struct Source {
    pub(super) ask: mpsc::Sender<Wish>,
    pub(super) asides: Arc<Asides>,
}

impl Source {
    async fn read(&self, reference: String, repository: Option<Name>) -> Result<Aside, String> {
        if let Some(repository) = repository {
            return self.asides.ask(&repository, reference).await;
        }
        let (tell, told) = oneshot::channel();
        self.ask.try_send(Wish::Preview(reference, tell)).map_err(|_| api::view::BUSY)?;
        let candidate = told.await.map_err(|_| "the engine is stopping")??;
        Ok(Aside { candidate, too_far: None })
    }
}

/// Answers beside the loop, which goes on meanwhile.
pub(super) async fn answer(
    ground: Ground,
    source: Source,
    reference: Option<String>,
    repository: Option<Name>,
    reply: oneshot::Sender<Result<Value, String>>,
) {
    let preview = match reference {
        None => look(ground, None).await,
        Some(reference) => match source.read(reference, repository).await {
            Ok(aside) => look(ground, Some(aside)).await,
            Err(error) => Err(error),
        },
    };
    let _ = reply.send(preview.and_then(|preview| serde_json::to_value(preview).map_err(|error| error.to_string())));
}

async fn look(ground: Ground, aside: Option<Aside>) -> Result<Preview, String> {
    let work = move || {
        let Ground { in_force, mut observed, limits, pending } = ground;
        let mut changed = Changed::default();
        let mut beyond = None;
        let (desired, findings) = match aside {
            Some(Aside { candidate, too_far }) => {
                beyond = too_far;
                changed = pending;
                changed.extend(candidate.changed);
                (candidate.desired, candidate.findings.into_iter().take(FINDINGS).map(|wrong| wrong.text).collect())
            }
            None => {
                changed.deployments.extend(reconcile::units(&in_force, &observed).cloned());
                (in_force.clone(), Vec::new())
            }
        };
        if let Some(plan) = deletion::plan(&in_force, &desired, &changed.deployments, &observed) {
            for step in &plan.steps {
                if let Action::Rollout(change) = &step.action {
                    Arc::make_mut(observed.rollouts.entry(step.unit.rollout()).or_default()).apply(change, Timestamp::now());
                }
            }
        }
        let own = limits::check(&in_force, &desired, &changed, limits).err();
        let own = own.map(|too_far| format!("{}: it would wait for `evenkeel approve`", too_far.reason));
        let beyond = beyond.map(|reason| format!("{reason}: it would wait for an annotation that the Repository's status names"));
        let too_far: Vec<String> = own.into_iter().chain(beyond).collect();
        let too_far = if too_far.is_empty() { None } else { Some(too_far.join("; it ")) };
        Preview {
            revision: desired.revision.clone(),
            reach: limits::reach(&in_force, &desired, &changed),
            too_far,
            findings,
            outlook: outlook(&desired, &observed, Timestamp::now(), &changed.deployments),
        }
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())
}
