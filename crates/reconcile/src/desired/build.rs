//! From a Deployment as it was written to what it puts on which devices.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::check::Findings;
use super::{Deployment, Desired, Device, Share, Strategy};
use crate::content::{AfterChange, Apt, Archive, Content, File, FileSource, Package, Reboot, ServiceUse};
use crate::effective;
use crate::name::{Name, Target};
use crate::window::Window;

/// Builds a Deployment. What `before` knows of its members is taken over, but for the devices in `changed`; `None` where something
/// in it can't be used.
pub(super) fn deployment(
    desired: &Desired,
    name: &Name,
    spec: &crds::DeploymentSpec,
    before: Option<(&Deployment, &BTreeSet<Name>)>,
    findings: &mut Findings,
) -> Option<Deployment> {
    let target = Target::Deployment(name.clone());
    let errors = findings.errors();
    let content = Arc::new(content(&target, spec, findings));
    let members = matching(desired, name, before.map(|(before, changed)| (&*before.members, changed)), |device| {
        spec.selector.matches(&device.labels)
    });
    if members.is_empty() {
        findings.warn(
            &target,
            "selector-matches-nothing",
            "spec.selector",
            "no device has these labels",
            "compare it with the labels of your devices: `evenkeel get devices -o wide`",
        );
    }
    let digest = content.digest();
    let rendered = if content.is_templated() {
        let before = before.filter(|(before, _)| before.digest == digest);
        rendered(desired, &target, &content, &members, before, findings)
    } else {
        BTreeMap::new()
    };
    let windows = windows(&target, "spec.windows", &spec.windows, findings);
    let strategy = strategy(&target, spec.strategy.as_ref(), findings);
    if findings.errors() > errors {
        return None;
    }
    let gate = spec.gate.clone().unwrap_or_default();
    Some(Deployment {
        name: name.clone(),
        members,
        own_way: Vec::new(),
        digest,
        content,
        rendered,
        strategy,
        gate_probes: gate.probes.unwrap_or(true),
        gate_alerts: gate.alerts,
        on_failure: spec.on_failure.unwrap_or(crds::OnFailure::Rollback),
        way_back: spec.way_back.unwrap_or(crds::WayBack::Require),
        approval: spec.approval.unwrap_or(crds::Approval::None),
        windows,
        drift: spec.drift.unwrap_or(crds::Drift::Correct),
        depends_on: spec.depends_on.iter().map(|other| name.sibling(other)).collect(),
        on_delete: spec.on_delete.unwrap_or(crds::OnDelete::Keep),
        history_limit: spec.history_limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(10),
        paused: spec.paused.unwrap_or(false),
        suspend: spec.suspend.unwrap_or(false),
        rollback_to: spec.rollback_to.and_then(|number| u32::try_from(number).ok()),
    })
}

/// The devices of the Deployment's namespace that match, in name order. Where it is known which did before, only those that changed are
/// looked at.
pub(super) fn matching(
    desired: &Desired,
    name: &Name,
    before: Option<(&[Name], &BTreeSet<Name>)>,
    wanted: impl Fn(&Device) -> bool,
) -> Vec<Name> {
    let matches =
        |device: &Name| device.namespace() == name.namespace() && desired.devices.get(device).is_some_and(|device| wanted(device));
    let Some((before, changed)) = before else {
        return desired.devices.keys().filter(|device| matches(device)).cloned().collect();
    };
    let mut members: Vec<Name> = before.iter().filter(|member| !changed.contains(*member)).cloned().collect();
    let kept = members.len();
    members.extend(changed.iter().filter(|device| matches(device)).cloned());
    if members.len() > kept {
        members.sort();
    }
    members
}

/// The content of each member with its templates rendered.
fn rendered(
    desired: &Desired,
    target: &Target,
    content: &Content,
    members: &[Name],
    before: Option<(&Deployment, &BTreeSet<Name>)>,
    findings: &mut Findings,
) -> BTreeMap<Name, (Arc<Content>, crate::content::Digest)> {
    let mut rendered = BTreeMap::new();
    for device in members.iter().filter_map(|member| desired.devices.get(member)) {
        let known = before.filter(|(_, changed)| !changed.contains(&device.name)).and_then(|(before, _)| before.rendered.get(&device.name));
        if let Some(known) = known {
            rendered.insert(device.name.clone(), known.clone());
            continue;
        }
        match content.render(device) {
            Ok(own) => {
                let digest = own.digest();
                rendered.insert(device.name.clone(), (Arc::new(own), digest));
            }
            Err((at, error)) => {
                let message = format!("template for device/{}: {error}", device.name);
                let help = match error.contains("undefined") {
                    true => "set the variable in the device's or its class's `vars`",
                    false => "templates have `device.name`, `device.address`, `device.labels` and `vars`, in the syntax of Jinja",
                };
                findings.error(target, "template", &format!("spec.files[{at}].template"), message, help);
                break;
            }
        }
    }
    rendered
}

fn strategy(target: &Target, spec: Option<&crds::StrategySpec>, findings: &mut Findings) -> Strategy {
    let spec = spec.cloned().unwrap_or_default();
    let mut nothing = |path: String, help: &str| findings.error(target, "nothing", &path, "0 lets nothing be done, ever", help);
    let is_nothing = |of: crds::Share| matches!(share(of), Share::Count(0) | Share::Percent(0));
    for (at, _) in spec.batches.iter().enumerate().filter(|(_, batch)| is_nothing(batch.max)) {
        nothing(format!("spec.strategy.batches[{at}].max"), "give a number such as 1, or a share such as 10%");
    }
    if spec.max_unavailable.is_some_and(is_nothing) {
        nothing(
            "spec.strategy.maxUnavailable".into(),
            "give a number such as 1, or a share such as 10%; `spec.paused: true` stops a rollout",
        );
    }
    if spec.deadline.is_some_and(|deadline| !deadline.0.is_positive()) {
        nothing("spec.strategy.deadline".into(), "give a device time to get well, such as 10m");
    }
    let minutes = jiff::SignedDuration::from_mins;
    let batches = if spec.batches.is_empty() {
        vec![Share::Count(1), Share::Percent(10)]
    } else {
        spec.batches.iter().map(|batch| share(batch.max)).collect()
    };
    Strategy {
        batches,
        max_unavailable: spec.max_unavailable.map_or(Share::Percent(25), share),
        group_by: spec.group_by,
        soak: spec.soak.map_or(minutes(1), |soak| soak.0),
        deadline: spec.deadline.map_or(minutes(10), |deadline| deadline.0),
    }
}

/// A share as the engine counts with it.
pub fn share(share: crds::Share) -> Share {
    match share {
        crds::Share::Count(count) => Share::Count(u32::try_from(count).unwrap_or(0)),
        crds::Share::Percent(percent) => Share::Percent(u32::try_from(percent.0).unwrap_or(0)),
    }
}

pub(crate) fn windows(target: &Target, path: &str, specs: &[crds::WindowSpec], findings: &mut Findings) -> Vec<Window> {
    let mut windows = Vec::new();
    for (at, spec) in specs.iter().enumerate() {
        let reason = spec.reason.as_deref().unwrap_or_default();
        match Window::new(&spec.schedule, spec.time_zone.as_deref(), spec.duration.0, reason) {
            Ok(window) => windows.push(window),
            Err((field, error)) => {
                let help = "five cron fields such as `0 2 * * SUN`, and a zone such as Europe/Amsterdam";
                findings.error(target, "window", &format!("{path}[{at}].{field}"), error, help);
            }
        }
    }
    windows
}

fn content(target: &Target, spec: &crds::DeploymentSpec, findings: &mut Findings) -> Content {
    let mut services: Vec<ServiceUse> = spec.service.iter().chain(&spec.services).map(service).collect();
    let mut packages = Vec::new();
    let listed = spec.package.iter().map(|package| ("spec.package".to_owned(), package));
    let listed = listed.chain(spec.packages.iter().enumerate().map(|(at, package)| (format!("spec.packages[{at}]"), package)));
    for (path, package) in listed {
        if let Some(apt) = &package.apt {
            packages.push(Package::Apt(self::apt(apt)));
        } else if let Some(archive) = &package.archive {
            packages.push(Package::Archive(self::archive(archive)));
            services.extend(archive.unit.iter().map(|unit| ServiceUse { unit: with_suffix(unit), after: AfterChange::Restart }));
        } else {
            let help = "use apt or archive; dnf and apk are reserved for a later version";
            findings.error(target, "package-kind", &path, "this kind of package can't be installed by this version", help);
        }
    }
    let mut files = Vec::new();
    for (at, spec) in spec.files.iter().enumerate() {
        if spec.path.split('/').any(|part| part == ".." || part == ".") {
            findings.error(target, "path", &format!("spec.files[{at}].path"), "`.` and `..` are not allowed", "write the path out");
        }
        files.push(file(spec));
    }
    let mut seen = BTreeSet::new();
    services.retain(|service| seen.insert(service.unit.clone()));
    let checks = spec.checks.clone().unwrap_or_default();
    for (path, list) in [("spec.checks.before", &checks.before), ("spec.checks.after", &checks.after)] {
        for check in list {
            effective::source(target, path, check, findings);
            super::check::probe(target, path, &effective::probe(check), None, findings);
        }
    }
    if spec.gate.as_ref().is_some_and(|gate| gate.expr.is_some()) {
        let help = "leave it out; probes gate the rollout";
        findings.error(target, "gate-expr", "spec.gate.expr", "a gate's expression is not evaluated by this version", help);
    }
    Content {
        packages,
        files,
        accounts: Vec::new(),
        services,
        before: checks.before.iter().map(effective::probe).collect(),
        after: checks.after.iter().map(effective::probe).collect(),
        reboot: match spec.reboot.unwrap_or(crds::Reboot::Never) {
            crds::Reboot::Never => Reboot::Never,
            crds::Reboot::IfRequired => Reboot::IfRequired,
            crds::Reboot::Always => Reboot::Always,
        },
    }
}

fn service(spec: &crds::ServiceSpec) -> ServiceUse {
    let after = match spec.after.unwrap_or(crds::AfterChange::Restart) {
        crds::AfterChange::Restart => AfterChange::Restart,
        crds::AfterChange::Reload => AfterChange::Reload,
        crds::AfterChange::None => AfterChange::None,
    };
    ServiceUse { unit: with_suffix(&spec.unit), after }
}

fn with_suffix(unit: &str) -> String {
    if unit.contains('.') { unit.to_owned() } else { format!("{unit}.service") }
}

fn apt(spec: &crds::AptSpec) -> Apt {
    Apt {
        name: spec.name.clone(),
        version: spec.version.clone(),
        hold: spec.hold.unwrap_or(false),
        allow_downgrade: spec.allow_downgrade.unwrap_or(false),
        replace_conffiles: spec.conffiles == Some(crds::Conffiles::Replace),
    }
}

fn archive(spec: &crds::ArchiveSpec) -> Archive {
    Archive { url: spec.url.clone(), sha256: spec.sha256.clone(), into: spec.into.clone() }
}

fn file(spec: &crds::FileSpec) -> File {
    let source = match (&spec.content, &spec.template, &spec.source, &spec.secret_ref) {
        (_, Some(template), ..) => FileSource::Template(template.clone()),
        (_, _, Some(source), _) => FileSource::Url { url: source.url.clone(), sha256: source.sha256.clone() },
        (_, _, _, Some(secret)) => {
            FileSource::Secret { name: secret.name.clone(), key: secret.key.clone().unwrap_or_else(|| "value".into()) }
        }
        (content, ..) => FileSource::Text(content.clone().unwrap_or_default()),
    };
    let or = |value: &Option<String>, default: &str| value.clone().unwrap_or_else(|| default.to_owned());
    File { path: spec.path.clone(), source, mode: or(&spec.mode, "0644"), owner: or(&spec.owner, "root"), group: or(&spec.group, "root") }
}
