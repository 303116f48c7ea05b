//! What would come of a revision: read beside what is in force, planned by the same planner, and never acted on.

use std::sync::Arc;

use api::view::Preview;
use jiff::Timestamp;
use reconcile::limits::{self, Limits};
use reconcile::{Action, Changed, Desired, Observed, deletion, outlook};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

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

/// Answers beside the loop, which goes on meanwhile.
pub(super) async fn answer(
    ground: Ground,
    source: mpsc::Sender<Wish>,
    reference: Option<String>,
    reply: oneshot::Sender<Result<Value, String>>,
) {
    let preview = match reference {
        None => look(ground, None).await,
        Some(reference) => {
            let (tell, told) = oneshot::channel();
            match source.try_send(Wish::Preview(reference, tell)) {
                Err(_) => Err("the source is busy".into()),
                Ok(()) => match told.await {
                    Ok(Ok(candidate)) => look(ground, Some(candidate)).await,
                    Ok(Err(error)) => Err(error),
                    Err(_) => Err("the engine is stopping".into()),
                },
            }
        }
    };
    let _ = reply.send(preview.and_then(|preview| serde_json::to_value(preview).map_err(|error| error.to_string())));
}

async fn look(ground: Ground, candidate: Option<super::Candidate>) -> Result<Preview, String> {
    let work = move || {
        let Ground { in_force, mut observed, limits, pending } = ground;
        let mut changed = Changed::default();
        let (desired, findings) = match candidate {
            Some(candidate) => {
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
                    Arc::make_mut(observed.rollouts.entry(step.unit.name().clone()).or_default()).apply(change, Timestamp::now());
                }
            }
        }
        let too_far = limits::check(&in_force, &desired, &changed, limits).err().map(|too_far| too_far.reason);
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
