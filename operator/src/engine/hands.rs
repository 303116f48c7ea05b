//! Whoever looks at devices and acts on them: this process, or the replicas that hold the shards of the fleet.

pub(crate) mod act;
mod attention;
pub(crate) mod away;
pub(crate) mod here;
pub(crate) mod letters;
pub(crate) mod post;
pub(crate) mod shard;

use std::collections::BTreeSet;
use std::sync::Arc;

use api::view::View;
use reconcile::record::RecordedStep;
use reconcile::{Desired, Name, Observed, StepId};
use store::Store;
use tokio::sync::watch;

use act::Actor;
use away::Away;
use here::Here;

/// Who looks and acts.
pub(super) enum Hands {
    /// This process.
    Here(Here),
    /// Those that hold the shards.
    Away(Away),
}

impl Hands {
    /// Tells when our own network is down, and when it is back, where it is this process that would see it.
    pub(super) fn own_network(&self) -> Option<watch::Receiver<bool>> {
        match self {
            Self::Here(here) => Some(here.own_network()),
            Self::Away(_) => None,
        }
    }

    /// Whether our own network is down, where it is this process that would see it, and knows.
    pub(super) fn network_down(&mut self) -> Option<bool> {
        match self {
            Self::Here(here) => here.network_down(),
            Self::Away(_) => None,
        }
    }

    /// Whether nothing is held against a device that could not be reached. Those that hold shards know it of their own networks, and do not
    /// tell of such looks.
    pub(super) fn excuses(&self) -> bool {
        match self {
            Self::Here(here) => here.excuses(),
            Self::Away(_) => false,
        }
    }

    /// Another revision is in force, which changed these devices. Returns those of which it has to be said again how to get there.
    pub(super) async fn update(&mut self, desired: &Arc<Desired>, changed: &BTreeSet<Name>) -> BTreeSet<Name> {
        match self {
            Self::Here(here) => {
                here.devices.update(desired.clone(), changed).await;
                for name in changed {
                    here.probe(name, desired.devices.get(name));
                }
                BTreeSet::new()
            }
            Self::Away(away) => {
                away.judge(desired);
                away.update(changed)
            }
        }
    }

    /// What has to be read on these devices may be otherwise than before.
    pub(super) fn look_at(&mut self, desired: &Desired, observed: &Observed, devices: &BTreeSet<Name>) {
        for name in devices {
            match self {
                Self::Here(here) => here.look_at(name, desired.devices.get(name), observed.items(desired, name).into_iter().collect()),
                Self::Away(away) => away.ask(desired, observed, name),
            }
        }
    }

    /// Something happened on the device: it is looked at now.
    pub(super) fn now(&mut self, view: &View, name: &Name) {
        match self {
            Self::Here(here) => here.now(name),
            Self::Away(away) => away.now(view, name),
        }
    }

    /// These Secrets are otherwise than before. Whoever holds a shard sees that itself.
    pub(super) async fn secrets_changed(&mut self, desired: &Desired, secrets: &[Name]) {
        if let Self::Here(here) = self {
            here.secrets_changed(secrets, || desired.devices.values()).await;
        }
    }

    /// What was told of a device is older than what was done there last.
    pub(super) fn outdated(&mut self, view: &View, name: &Name) {
        match self {
            Self::Here(here) => here.outdated(name),
            Self::Away(away) => away.outdated(view, name),
        }
    }

    /// Whether a device answers, as far as looks say: one that does not is read less often.
    pub(super) fn contact(&mut self, name: &Name, is_there: bool) {
        if let Self::Here(here) = self {
            here.contact(name, is_there);
        }
    }

    /// Something was told of a device that is not there.
    pub(super) fn unknown(&mut self, name: &Name, probe: Option<&str>) {
        if let Self::Away(away) = self {
            away.unknown(name, probe);
        }
    }

    /// These Deployments are planned: where something is under way, each answer counts.
    pub(super) fn attend(&mut self, view: &View, units: &BTreeSet<Name>) {
        match self {
            Self::Here(here) => here.attend(view, units),
            Self::Away(away) => away.attend(view, units),
        }
    }

    /// What was recorded before a restart has been taken up: what else is still asked of others is asked no more.
    pub(super) fn settled(&mut self, is_under_way: impl Fn(&StepId) -> bool) {
        if let Self::Away(away) = self {
            away.settled(is_under_way);
        }
    }

    /// The outcome of a step is stored.
    pub(super) fn ended(&mut self, step: &RecordedStep) {
        if let Self::Away(away) = self {
            away.ended(step);
        }
    }

    /// Who does recorded steps.
    pub(super) fn actor(&self, store: &Arc<Store>) -> Actor {
        match self {
            Self::Here(here) => Actor::here(store.clone(), here.devices.clone()),
            Self::Away(away) => Actor::Away(away.far()),
        }
    }

    pub(super) fn stop(&mut self) {
        match self {
            Self::Here(here) => here.stop(),
            Self::Away(away) => away.stop(),
        }
    }
}
