//! How far the login of a Role is, as its status has it.

use crds::PlainStatus;

use super::{condition, course, deployment, other};
use crate::desired::Desired;
use crate::name::Name;
use crate::observed::Observed;
use crate::plan::Deferred;
use crate::rollout::Phase;

/// How far a login is.
struct Course {
    /// In a word, as of a Deployment.
    phase: String,
    message: String,
    /// Why, where that needs a word.
    why: String,
    is_there: bool,
}

/// A Role with how far its login is. `told` is what is known of the rest of it, where somebody says that.
pub fn role(desired: &Desired, observed: &Observed, deferred: &[Deferred], name: &Name, told: Option<&PlainStatus>) -> PlainStatus {
    let mut status = told.cloned().unwrap_or_else(|| other(desired, crds::Kind::Role, name));
    let Some(course) = login(desired, observed, deferred, name) else { return status };
    let Some(ready) = status.conditions.iter_mut().find(|condition| condition.type_ == "Ready") else { return status };
    let why = if course.why.is_empty() { String::new() } else { format!(": {}", course.why) };
    let apart = if ready.message.is_empty() { "" } else { "; " };
    ready.message = format!("{}{apart}{}{why}", ready.message, course.message);
    if ready.status == "True" && !course.is_there {
        ready.status = "False".into();
        ready.reason = format!("Login{}", course.phase);
        let since = Some(ready.last_transition_time.0);
        let kind = if course.phase == "Stalled" { Some("Stalled") } else { self::course(&course.phase) };
        let more = kind.map(|kind| condition(kind, true, (ready.reason.as_str(), since), &ready.message));
        status.conditions.extend(more);
    }
    status
}

/// How far the login of a Role is, in a few words such as `login alice: on 12 of 14 devices`; `None`: it has none.
pub fn login_words(desired: &Desired, observed: &Observed, deferred: &[Deferred], name: &Name) -> Option<String> {
    login(desired, observed, deferred, name).map(|course| course.message)
}

fn login(desired: &Desired, observed: &Observed, deferred: &[Deferred], name: &Name) -> Option<Course> {
    let unit = name.login();
    let left = || observed.rollouts.get(&unit).filter(|rollout| rollout.deletion.is_some()).map_or(0, |rollout| rollout.placements.len());
    let Some(wanted) = desired.deployments.get(&unit) else {
        let (message, phase) = match (desired.is_written(&unit), left()) {
            (true, _) => ("its login is not in force: what is there stays".to_owned(), "Stalled"),
            (false, 0) => return None,
            (false, left) => (format!("its login comes off its devices, {} left", count(left)), "Removing"),
        };
        return Some(Course { phase: phase.into(), message, why: String::new(), is_there: false });
    };
    let status = deployment(desired, observed, deferred, &unit);
    let of = |key: &str| usize::try_from(status.counts.get(key).copied().unwrap_or(0)).unwrap_or(0);
    let user = wanted.content.accounts.first().map(|account| account.user.as_str()).unwrap_or_default();
    let mut message = match of("total") {
        0 => format!("login {user}: on no device"),
        total => format!("login {user}: on {} of {}", of("updated"), count(total)),
    };
    let more = [("failed", "failed"), ("unreachable", "unreachable")];
    more.iter().filter(|(key, _)| of(key) > 0).for_each(|(key, word)| message.push_str(&format!(", {} {word}", of(key))));
    if !wanted.own_way.is_empty() {
        message.push_str(&format!(", left out on {} where the engine logs in by it", count(wanted.own_way.len())));
    }
    if wanted.members.is_empty() {
        return Some(Course { phase: status.phase, message, why: String::new(), is_there: true });
    }
    let stopped = status.history.last().filter(|_| status.phase == "Failed").map(|revision| revision.reason.clone());
    // What failed on a device alone is tried again there, and is to be known all the same.
    let placements = observed.rollouts.get(&unit).map(|rollout| &rollout.placements);
    let failed = placements.into_iter().flatten().find(|(device, placement)| {
        placement.phase != Phase::Applied && !placement.failure.is_empty() && wanted.members.binary_search(device).is_ok()
    });
    let alone = failed.map(|(device, placement)| format!("{device}: {}", placement.failure));
    let is_whole = status.phase == "Complete" && alone.is_none();
    let phase = if status.phase == "Complete" && !is_whole { "Failed".to_owned() } else { status.phase };
    let why = stopped.filter(|reason| !reason.is_empty()).or(alone).unwrap_or(status.waiting_on);
    Some(Course { is_there: is_whole, message, why, phase })
}

fn count(devices: usize) -> String {
    if devices == 1 { "1 device".into() } else { format!("{devices} devices") }
}
