//! `evenkeel apply --once`

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use api::view::View;
use clap::Args;
use reconcile::{Access, Contact, Device, Name, Target, report};

use super::run::{self, RunArgs};

/// Time between two looks at how far it is.
const LOOK: Duration = Duration::from_millis(500);

/// How to bring the fleet to the declared state once.
#[derive(Args)]
pub(crate) struct ApplyArgs {
    /// Has to be said: running for ever is what `evenkeel run` does
    #[arg(long, required = true)]
    once: bool,
    /// Give up after this time
    #[arg(long, default_value = "1h")]
    timeout: crds::Duration,
    #[command(flatten)]
    run: RunArgs,
}

/// How far the fleet is.
enum Progress {
    /// It is as it should be, but for devices that nobody can reach.
    There,
    /// Not yet, for this reason.
    NotYet(String),
    /// It will not get there by waiting.
    Never(String),
}

pub(crate) async fn run(args: ApplyArgs) -> anyhow::Result<ExitCode> {
    run::logging(args.run.log_format);
    let running = run::start(&args.run).await?;
    let limit = Duration::try_from(args.timeout.0)?;
    let mut last = String::new();
    let reached = tokio::time::timeout(limit, async {
        loop {
            tokio::time::sleep(LOOK).await;
            let progress = progress(&running.view.read().unwrap_or_else(std::sync::PoisonError::into_inner));
            match progress {
                Progress::There => return Ok(()),
                Progress::NotYet(reason) => last = reason,
                Progress::Never(reason) => return Err(reason),
            }
            if running.task.is_finished() {
                return Err("the engine ended by itself".into());
            }
        }
    })
    .await;
    running.stop.cancel();
    let _ = tokio::time::timeout(Duration::from_secs(8), running.task).await;
    match reached {
        Ok(Ok(())) => Ok(ExitCode::SUCCESS),
        Ok(Err(reason)) => bail!("{reason}"),
        Err(_) => bail!("not there after {}: {last}", args.timeout),
    }
}

/// How far the fleet is, seen from the newest commit: what was in force before a restart says nothing yet.
fn progress(view: &View) -> Progress {
    let source = &view.source;
    if let Some(reason) = &view.not_ready {
        return Progress::NotYet(reason.clone());
    }
    if source.checked_at.is_none() {
        return Progress::NotYet("the source has not been looked at yet".into());
    }
    match (&source.problem, &source.too_far) {
        (Some(problem), Some(_)) => return Progress::Never(problem.clone()),
        (Some(problem), None) => return Progress::NotYet(problem.clone()),
        _ => {}
    }
    if let Some((object, why)) = view.desired.stalled.iter().next() {
        return Progress::Never(format!("{object} can't be used as it is written: {why}"));
    }
    let deployments = view.desired.deployments.keys().map(|name| deployment(view, name));
    let devices = view.desired.devices.values().map(|device| self::device(view, device));
    let mut not_yet = None;
    for progress in deployments.chain(devices).chain([deletions(view)]) {
        match progress {
            Progress::There => {}
            Progress::NotYet(reason) => not_yet = not_yet.or(Some(reason)),
            Progress::Never(reason) => return Progress::Never(reason),
        }
    }
    not_yet.map_or(Progress::There, Progress::NotYet)
}

fn deployment(view: &View, name: &Name) -> Progress {
    let is_for_nobody = view.desired.deployments.get(name).is_some_and(|deployment| deployment.members.is_empty());
    if is_for_nobody && view.observed.rollouts.get(name).is_none_or(|rollout| rollout.current().is_none()) {
        return Progress::There;
    }
    let deferred = view.deferred.get(name).map(Vec::as_slice).unwrap_or_default();
    let status = report::deployment(&view.desired, &view.observed, deferred, name);
    let target = Target::unit(name);
    let reason = format!("{target} is {} {}", status.phase, status.waiting_on);
    match status.phase.as_str() {
        "Complete" => Progress::There,
        "RolledBack" | "Failed" => Progress::Never(format!(
            "{target} is {}: evenkeel audit list, or run it again with `evenkeel run` and use `explain`",
            status.phase
        )),
        _ => Progress::NotYet(reason.trim_end().to_owned()),
    }
}

/// A device that can be reached has to be as it should be; one that can't is left for later, as in a rollout.
fn device(view: &View, device: &Device) -> Progress {
    let mut units = view.desired.selected_by.get(&device.name).into_iter().flatten().peekable();
    if device.suspend || device.access == Access::None || units.peek().is_none() {
        return Progress::There;
    }
    let contact = view.observed.devices.get(&device.name).map(|seen| &seen.contact);
    match contact {
        None | Some(Contact::Never) => return Progress::NotYet(format!("device/{} has not been looked at yet", device.name)),
        Some(Contact::Unreachable { .. }) => return Progress::There,
        Some(Contact::Known) => {}
    }
    let update = report::device(&view.desired, &view.observed, &device.name).update;
    let corrects = |unit| view.desired.deployments.get(unit).is_some_and(|deployment| deployment.drift == crds::Drift::Correct);
    if update == "UpToDate" || (update != "Updating" && !units.any(corrects)) {
        return Progress::There;
    }
    Progress::NotYet(format!("device/{} is {update}", device.name))
}

/// What was deleted has to come off the devices that can be reached.
fn deletions(view: &View) -> Progress {
    let deleted = view.observed.rollouts.iter().filter(|(_, rollout)| rollout.deletion.is_some());
    let waits_for_others = |device: &Name| {
        let is_away = |seen: &std::sync::Arc<reconcile::DeviceSeen>| matches!(seen.contact, Contact::Unreachable { .. });
        view.desired.devices.get(device).is_some_and(|device| device.suspend || device.access == Access::None)
            || view.observed.devices.get(device).is_some_and(is_away)
    };
    for (name, rollout) in deleted {
        if rollout.placements.is_empty() || !rollout.placements.keys().all(waits_for_others) {
            return Progress::NotYet(format!(
                "{} was deleted, and that is not done on {} yet",
                Target::unit(name),
                count(rollout.placements.len())
            ));
        }
    }
    Progress::There
}

fn count(devices: usize) -> String {
    if devices == 1 { "1 device".into() } else { format!("{devices} devices") }
}
