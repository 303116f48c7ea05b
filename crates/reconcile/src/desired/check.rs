//! What no single object can show: references, cycles, and things that two objects both claim.

use crate::finding::{Finding, Severity};
use crate::name::Target;

/// Collects findings.
#[derive(Default)]
pub(crate) struct Findings {
    found: Vec<Finding>,
    errors: usize,
}

impl Findings {
    /// An object can't be used: it is left out.
    pub(crate) fn error(&mut self, object: &Target, code: &'static str, path: &str, message: impl Into<String>, help: impl Into<String>) {
        self.errors += 1;
        self.add(Severity::Error, object, code, path, message.into(), help.into());
    }

    /// An object is used, but hardly as it was meant.
    pub(crate) fn warn(&mut self, object: &Target, code: &'static str, path: &str, message: impl Into<String>, help: impl Into<String>) {
        self.add(Severity::Warning, object, code, path, message.into(), help.into());
    }

    /// Worth knowing.
    pub(crate) fn note(&mut self, object: &Target, code: &'static str, path: &str, message: impl Into<String>, help: impl Into<String>) {
        self.add(Severity::Note, object, code, path, message.into(), help.into());
    }

    /// Errors so far.
    pub(crate) fn errors(&self) -> usize {
        self.errors
    }

    pub(crate) fn into_sorted(mut self) -> Vec<Finding> {
        self.found.sort_by(|a, b| (&a.object, &a.path, a.code).cmp(&(&b.object, &b.path, b.code)));
        self.found
    }

    fn add(&mut self, severity: Severity, object: &Target, code: &'static str, path: &str, message: String, help: String) {
        let stalls = severity == Severity::Error;
        self.found.push(Finding { severity, code, object: object.clone(), path: path.to_owned(), message, help, stalls });
    }
}

pub(super) mod cross_check {
    use std::collections::{BTreeMap, BTreeSet};

    use crds::{Kind, Object};

    use super::Findings;
    use crate::desired::{Access, Check, Deployment, Desired, Device};
    use crate::name::{Name, Target};
    use crate::observed::ItemKey;

    /// Parents and jump hosts must exist and lead somewhere. A device with a wrong one stays: it is still a device.
    pub(crate) fn devices(devices: &BTreeMap<Name, Device>, findings: &mut Findings) -> BTreeMap<Name, Device> {
        let mut kept = devices.clone();
        for (name, device) in devices {
            let target = Target::Device(name.clone());
            for (at, parent) in device.parents.iter().enumerate() {
                if !devices.contains_key(parent) {
                    let path = format!("spec.parents[{at}]");
                    findings.error(
                        &target,
                        "unknown-parent",
                        &path,
                        format!("there is no device `{parent}`"),
                        nearest(parent, devices.keys()),
                    );
                }
            }
            if let Some(cycle) = cycle(name, |name| devices.get(name).map(|device| device.parents.clone()).unwrap_or_default()) {
                findings.error(
                    &target,
                    "parent-cycle",
                    "spec.parents",
                    format!("is its own parent: {cycle}"),
                    "take one of these parents away",
                );
                kept.remove(name);
                continue;
            }
            if let Access::Ssh(ssh) = &device.access {
                if let Some(via) = &ssh.via {
                    let hops = |name: &Name| match devices.get(name).map(|device| &device.access) {
                        Some(Access::Ssh(ssh)) => ssh.via.iter().cloned().collect(),
                        _ => Vec::new(),
                    };
                    if !devices.contains_key(via) {
                        findings.error(
                            &target,
                            "unknown-via",
                            "spec.access.ssh.via",
                            format!("there is no device `{via}`"),
                            nearest(via, devices.keys()),
                        );
                    } else if let Some(cycle) = cycle(name, hops) {
                        findings.error(
                            &target,
                            "via-cycle",
                            "spec.access.ssh.via",
                            format!("is reached through itself: {cycle}"),
                            "take one of these away",
                        );
                        kept.remove(name);
                    }
                }
                if ssh.host_keys.is_empty() {
                    let help = format!("run `evenkeel scan {}` and paste what it prints, after comparing the fingerprint", device.address);
                    findings.warn(
                        &target,
                        "no-host-key",
                        "spec.access.ssh.hostKeys",
                        "without a pinned host key every connection is refused",
                        help,
                    );
                }
            }
            for probe in &device.probes {
                if let Check::NotRun { kind } = &probe.check {
                    let message = format!("probe `{}`: {kind} probes are not run by this version; its state stays unknown", probe.name);
                    findings.note(&target, "probe-kind", "spec.probes", message, "tcp, http, icmp and ssh probes are run");
                }
            }
        }
        kept
    }

    /// Nothing may be owned twice on one device, and dependencies must exist and end.
    pub(crate) fn deployments(deployments: &mut BTreeMap<Name, Deployment>, findings: &mut Findings) {
        let mut wrong = BTreeSet::new();
        let mut owners: BTreeMap<(&Name, ItemKey), &Name> = BTreeMap::new();
        for (name, deployment) in deployments.iter() {
            let target = Target::Deployment(name.clone());
            let items: Vec<ItemKey> = deployment.content.items().filter(|item| item.split().0 != "unit").collect();
            'claims: for member in &deployment.members {
                for item in &items {
                    if let Some(other) = owners.get(&(member, item.clone())) {
                        let (kind, what) = item.split();
                        let message = format!(
                            "{kind} {what} on device/{member} is owned by {}",
                            if *other == name { "this Deployment already".into() } else { format!("deployment/{other}") }
                        );
                        findings.error(
                            &target,
                            "owned-elsewhere",
                            "spec.selector",
                            message,
                            "let one Deployment own it, or make the selectors disjoint",
                        );
                        wrong.insert(name.clone());
                        break 'claims;
                    }
                }
                // Two entries of one Deployment for the same thing show up here, once.
                let mut own = BTreeSet::new();
                if let Some(twice) = items.iter().find(|item| !own.insert(*item)) {
                    findings.error(&target, "owned-elsewhere", "spec", format!("{twice} is listed twice"), "list it once");
                    wrong.insert(name.clone());
                    break 'claims;
                }
                owners.extend(items.iter().map(|item| ((member, item.clone()), name)));
            }
            for (at, other) in deployment.depends_on.iter().enumerate() {
                if !deployments.contains_key(other) {
                    let message = format!("there is no usable Deployment `{other}`");
                    findings.error(
                        &target,
                        "unknown-dependency",
                        &format!("spec.dependsOn[{at}]"),
                        message,
                        nearest(other, deployments.keys()),
                    );
                    wrong.insert(name.clone());
                }
            }
            if let Some(cycle) =
                cycle(name, |name| deployments.get(name).map(|deployment| deployment.depends_on.clone()).unwrap_or_default())
            {
                findings.error(
                    &target,
                    "dependency-cycle",
                    "spec.dependsOn",
                    format!("depends on itself: {cycle}"),
                    "take one of these away",
                );
                wrong.insert(name.clone());
            }
        }
        deployments.retain(|name, _| !wrong.contains(name));
    }

    /// References of the kinds that nothing acts on yet.
    pub(crate) fn others(desired: &Desired, findings: &mut Findings) {
        for ((kind, name), object) in &desired.objects {
            let target = Target::Object(*kind, name.clone());
            match &**object {
                Object::AlertRule(rule) => {
                    for (at, receiver) in rule.spec.notify.iter().flat_map(|notify| &notify.receivers).enumerate() {
                        let other = name.sibling(receiver);
                        if !desired.objects.contains_key(&(Kind::Receiver, other.clone())) {
                            let known = desired.objects.keys().filter(|(kind, _)| *kind == Kind::Receiver).map(|(_, name)| name);
                            let path = format!("spec.notify.receivers[{at}]");
                            findings.error(
                                &target,
                                "unknown-receiver",
                                &path,
                                format!("there is no Receiver `{receiver}`"),
                                nearest(&other, known),
                            );
                        }
                    }
                    if !rule.spec.selector.is_empty() && !desired.devices.values().any(|device| rule.spec.selector.matches(&device.labels))
                    {
                        findings.warn(
                            &target,
                            "selector-matches-nothing",
                            "spec.selector",
                            "no device has these labels",
                            "the rule can never fire",
                        );
                    }
                }
                Object::Role(role) => {
                    for (at, grant) in role.spec.allow.iter().enumerate() {
                        let nothing = grant
                            .devices
                            .as_ref()
                            .is_some_and(|selector| !desired.devices.values().any(|device| selector.matches(&device.labels)));
                        if nothing {
                            let path = format!("spec.allow[{at}].devices");
                            findings.warn(
                                &target,
                                "selector-matches-nothing",
                                &path,
                                "no device has these labels",
                                "the grant allows nothing",
                            );
                        }
                    }
                }
                Object::Device(_)
                | Object::DeviceClass(_)
                | Object::Deployment(_)
                | Object::Receiver(_)
                | Object::Repository(_)
                | Object::Silence(_) => {}
            }
        }
    }

    /// The way from a name back to itself, if there is one.
    fn cycle(start: &Name, next: impl Fn(&Name) -> Vec<Name>) -> Option<String> {
        let mut seen = BTreeSet::new();
        let mut ways: Vec<Vec<Name>> = vec![vec![start.clone()]];
        while let Some(way) = ways.pop() {
            for name in next(way.last()?) {
                if name == *start {
                    let names: Vec<String> = way.iter().chain([start]).map(ToString::to_string).collect();
                    return Some(names.join(" -> "));
                }
                if seen.insert(name.clone()) {
                    let mut longer = way.clone();
                    longer.push(name);
                    ways.push(longer);
                }
            }
        }
        None
    }

    /// Points at the known name that is spelled most alike.
    fn nearest<'a>(name: &Name, known: impl Iterator<Item = &'a Name>) -> String {
        let best = known.map(|other| (distance(name.full(), other.full()), other)).min();
        match best {
            Some((distance, other)) if distance <= 3 => format!("did you mean `{other}`?"),
            _ => "add it, or take the reference away".into(),
        }
    }

    /// Levenshtein's distance, on bytes.
    fn distance(a: &str, b: &str) -> usize {
        let b = b.as_bytes();
        let mut row: Vec<usize> = (0..=b.len()).collect();
        for (i, x) in a.bytes().enumerate() {
            let mut diagonal = row[0];
            row[0] = i + 1;
            for (j, y) in b.iter().enumerate() {
                let cost = diagonal + usize::from(x != *y);
                diagonal = row[j + 1];
                row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
            }
        }
        row[b.len()]
    }
}
