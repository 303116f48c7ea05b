//! What keeps an alert from being said. It has no say in what the alert's state is, and eats none of its time.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crds::{Kind, Object};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::alerts::SETTLING;
use crate::desired::{Desired, Device};
use crate::finding::{Finding, Severity};
use crate::name::{Name, Target};
use crate::observed::Observed;
use crate::parents::root_of;
use crate::rollout::{Phase, Placement, RevisionResult, Rollout};
use crate::window::{Opening, opening};

/// Why an alert is not said for now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Suppressor {
    /// Somebody muted it.
    Silence {
        /// The Silence.
        name: Name,
        /// Until when.
        until: Timestamp,
        /// Why.
        reason: String,
    },
    /// People work on the device.
    Maintenance {
        /// Until when.
        until: Timestamp,
        /// Why.
        reason: String,
    },
    /// What the device is reached through is dead.
    Parent {
        /// The topmost dead one.
        device: Name,
    },
    /// That is there again, and who is behind it may not have been looked at since.
    Returned {
        /// The one that was dead.
        device: Name,
        /// Until when.
        until: Timestamp,
    },
    /// A rollout is at work on the device.
    Rollout {
        /// Its Deployment.
        deployment: Name,
    },
    /// Something worse is said already.
    Inhibited {
        /// The AlertRule that fires.
        rule: Name,
        /// On this device.
        device: Name,
    },
}

impl fmt::Display for Suppressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silence { name, until, reason } => write!(f, "silenced by silence/{name} until {until:.0} ({reason})"),
            Self::Maintenance { until, reason } if reason.is_empty() => write!(f, "maintenance until {until:.0}"),
            Self::Maintenance { until, reason } => write!(f, "maintenance until {until:.0} ({reason})"),
            Self::Parent { device } => write!(f, "behind device/{device}, which is dead"),
            Self::Returned { device, until } => write!(f, "behind device/{device}, which was dead: looked at again until {until:.0}"),
            Self::Rollout { deployment } => write!(f, "deployment/{deployment} is at work on the device"),
            Self::Inhibited { rule, device } => write!(f, "alertrule/{rule} fires on device/{device}"),
        }
    }
}

/// A Silence that has not ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Silence {
    /// Its identity; it mutes within its namespace.
    pub name: Name,
    /// Labels that the alerts must have.
    pub match_labels: BTreeMap<String, String>,
    /// The devices that they are about.
    pub devices: Option<crds::Selector>,
    /// When it ends.
    pub until: Timestamp,
    /// Why.
    pub reason: String,
}

impl Silence {
    /// Of the object as it is written.
    pub fn of(name: &Name, spec: &crds::SilenceSpec) -> Self {
        Self {
            name: name.clone(),
            match_labels: spec.match_labels.clone(),
            devices: spec.devices.clone(),
            until: spec.until,
            reason: spec.reason.clone(),
        }
    }

    /// Whether it mutes an alert of this rule with these labels, about a device of which its name and labels are at hand. What is not
    /// among them: `rule` and `device` are the names of the two.
    pub fn mutes(
        &self,
        (device, own): (&Name, &BTreeMap<String, String>),
        (rule, labels): (&Name, &BTreeMap<String, String>),
        now: Timestamp,
    ) -> bool {
        let label = |key: &str| match (labels.get(key), key) {
            (Some(value), _) => Some(value.as_str()),
            (None, "rule") => Some(rule.name()),
            (None, "device") => Some(device.name()),
            _ => None,
        };
        now < self.until
            && self.name.namespace() == device.namespace()
            && self.match_labels.iter().all(|(key, value)| label(key) == Some(value))
            && self.devices.as_ref().is_none_or(|devices| devices.matches(own))
    }
}

/// Silences that have ended, for whoever checks manifests: that is worth knowing, and no reason to stop a pipeline, since time alone leads there.
pub fn ended(desired: &Desired, now: Timestamp) -> Vec<Finding> {
    let of = |object: &Arc<Object>| match &**object {
        Object::Silence(silence) => Some(silence.spec.until),
        _ => None,
    };
    let from = (Kind::Silence, Name::new("", ""));
    let all = desired.objects.range(from..).take_while(|((kind, _), _)| *kind == Kind::Silence);
    let ended = all.filter_map(|((_, name), object)| Some((name, of(object).filter(|until| *until <= now)?)));
    let finding = |(name, until): (&Name, Timestamp)| Finding {
        severity: Severity::Note,
        code: "ended",
        object: Target::of(Kind::Silence, name.clone()),
        path: "spec.until".into(),
        message: format!("it ended at {until:.0}, so it mutes nothing"),
        help: "take it away, or name a later end".into(),
        stalls: false,
    };
    ended.map(finding).collect()
}

/// What follows on a dead parent, by what kept the alert from being said before: what is reached through it is looked at again within
/// [`SETTLING`].
pub(super) fn returned(before: &[Suppressor], by: &[Suppressor], now: Timestamp) -> Option<(Suppressor, Timestamp)> {
    if by.iter().any(|by| matches!(by, Suppressor::Parent { .. })) {
        return None;
    }
    let (device, until) = before.iter().find_map(|before| match before {
        Suppressor::Parent { device } => Some((device, now.checked_add(SETTLING).ok()?)),
        Suppressor::Returned { device, until } => Some((device, *until)),
        _ => None,
    })?;
    (now < until).then(|| (Suppressor::Returned { device: device.clone(), until }, until))
}

/// What keeps an alert about this device from being said, but for other alerts; and when time alone could change that.
pub fn suppressors(
    desired: &Desired,
    observed: &Observed,
    silences: &[Silence],
    (device, rule, labels): (&Device, &Name, &BTreeMap<String, String>),
    now: Timestamp,
) -> (Vec<Suppressor>, Option<Timestamp>) {
    let (mut by, mut again) = (Vec::new(), Vec::new());
    for silence in silences.iter().filter(|silence| silence.mutes((&device.name, &device.labels), (rule, labels), now)) {
        again.push(silence.until);
        by.push(Suppressor::Silence { name: silence.name.clone(), until: silence.until, reason: silence.reason.clone() });
    }
    match opening(&device.maintenance, now) {
        Opening::Open { until, reason } => {
            again.push(until);
            by.push(Suppressor::Maintenance { until, reason });
        }
        Opening::Closed { opens } => again.extend(opens),
    }
    by.extend(root_of(desired, observed, &device.name).map(|device| Suppressor::Parent { device }));
    // That somebody gets an account is no reason to be silent about the device.
    for unit in desired.selected_by.get(&device.name).into_iter().flatten().filter(|unit| unit.role().is_none()) {
        let Some(rollout) = observed.rollouts.get(unit) else { continue };
        let Some(placement) = rollout.placements.get(&device.name) else { continue };
        let deadline = desired.deployments.get(unit).map(|deployment| deployment.strategy.deadline).unwrap_or_default();
        let settles = placement.since.checked_add(deadline).ok().filter(|until| now < *until);
        if placement.phase.is_in_flight() || (settles.is_some() && is_new(rollout, placement)) {
            again.extend(settles);
            by.push(Suppressor::Rollout { deployment: unit.clone() });
        }
    }
    (by, again.into_iter().min())
}

/// It was just changed, and its rollout goes on.
fn is_new(rollout: &Rollout, placement: &Placement) -> bool {
    let moving = |result: &RevisionResult| matches!(result, RevisionResult::Progressing | RevisionResult::RollingBack { .. });
    matches!(placement.phase, Phase::Applied | Phase::Restored) && rollout.current().is_some_and(|record| moving(&record.result))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn until_when_is_said_to_the_second() {
        let until: Timestamp = "2026-11-27T12:00:00.123456789Z".parse().unwrap();
        for by in [
            Suppressor::Silence { name: Name::parse("s"), until, reason: "x".into() },
            Suppressor::Maintenance { until, reason: String::new() },
            Suppressor::Maintenance { until, reason: "x".into() },
            Suppressor::Returned { device: Name::parse("d"), until },
        ] {
            assert!(by.to_string().contains("until 2026-11-27T12:00:00Z"), "{by}");
        }
    }

    #[test]
    fn a_silence_can_mean_one_rule_on_one_device() {
        let (start, end) = (Timestamp::UNIX_EPOCH, Timestamp::from_second(60).unwrap());
        let of = |labels: &[(&str, &str)]| -> BTreeMap<String, String> {
            labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let mutes = |wanted: &[(&str, &str)], labels: &[(&str, &str)]| {
            let silence = Silence { name: Name::parse("s"), match_labels: of(wanted), devices: None, until: end, reason: String::new() };
            silence.mutes((&Name::parse("web-01"), &of(&[])), (&Name::parse("disk"), &of(labels)), start)
        };
        let site = [("site", "ams")];
        assert!(mutes(&[("rule", "disk"), ("device", "web-01")], &site));
        assert!(mutes(&[("rule", "disk"), ("site", "ams")], &site));
        assert!(!mutes(&[("rule", "memory"), ("device", "web-01")], &site) && !mutes(&[("rule", "disk"), ("device", "web-02")], &site));
        // A label of its own counts.
        assert!(mutes(&[("device", "blade")], &[("device", "blade")]) && !mutes(&[("device", "web-01")], &[("device", "blade")]));
    }
}
