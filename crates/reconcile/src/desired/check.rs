//! What no single object can show: references, circles, and things that two objects both claim.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crds::{Kind, Object};

use super::{Access, Check, Deployment, Desired, Device, Key, MetricsSource, Probe, Snmp};
use crate::alerting::Receiver;
use crate::finding::{Finding, Severity};
use crate::name::{Name, Target};
use crate::observed::ItemKey;

/// Misspelled references of one update for which the name that was meant is looked for: that costs a look at every name.
const GUESSES: usize = 20;
/// Bytes that a probe's regular expression may become: more than any that a person writes, and what does not fit is refused at once. Whoever
/// runs it holds it to the same.
pub const PATTERN: usize = 256 << 10;

/// Collects findings.
#[derive(Default)]
pub(crate) struct Findings {
    found: Vec<Finding>,
    errors: usize,
    guesses: usize,
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

    /// Errors so far.
    pub(crate) fn errors(&self) -> usize {
        self.errors
    }

    /// Takes out what was found so far.
    pub(crate) fn take(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.found)
    }

    /// Points at the known name that is spelled most alike and is not the one that asks.
    fn nearest<'a>(&mut self, name: &Name, own: &Name, known: impl Iterator<Item = &'a Name>) -> String {
        self.guesses += 1;
        let known = known.filter(|_| self.guesses <= GUESSES).filter(|other| *other != own && other.namespace() == name.namespace());
        match known.map(|other| (distance(name.name(), other.name()), other)).min() {
            Some((distance, other)) if distance <= 3 => format!("did you mean `{other}`?"),
            _ => "add it, or take the reference away".into(),
        }
    }

    fn add(&mut self, severity: Severity, object: &Target, code: &'static str, path: &str, message: String, help: String) {
        let stalls = severity == Severity::Error;
        self.found.push(Finding { severity, code, object: object.clone(), path: path.to_owned(), message, help, stalls });
    }
}

/// Parents and jump hosts must exist and lead somewhere. Returns whether the device is usable: one with a wrong parent is still a
/// device, one in a circle is not.
pub(super) fn device(desired: &Desired, device: &Device, findings: &mut Findings) -> bool {
    let target = Target::Device(device.name.clone());
    let known = &desired.index.read;
    for (at, parent) in device.parents.iter().enumerate().filter(|(_, parent)| !known.contains_key(*parent)) {
        let help = findings.nearest(parent, &device.name, known.keys());
        findings.error(&target, "unknown-parent", &format!("spec.parents[{at}]"), format!("there is no device `{parent}`"), help);
    }
    let parents = |name: &Name| known.get(name).map(|device| device.parents.clone()).unwrap_or_default();
    if let Some(circle) = circle(&device.name, parents) {
        let message = format!("is its own parent: {circle}");
        findings.error(&target, "parent-cycle", "spec.parents", message, "take one of these parents away");
        return false;
    }
    for at in &device.probes {
        probe(&target, "spec.probes", at, Some(&device.address), findings);
    }
    metrics(&target, device, findings);
    if device.logs.journald.is_some() && device.access == Access::None {
        let help = "give the device an `access`, or let it send syslog";
        findings.warn(&target, "logs-access", "spec.logs.journald", "the device has no access, so its journal can't be read", help);
    }
    let Access::Ssh(ssh) = &device.access else { return true };
    if ssh.host_keys.is_empty() {
        let help = format!("run `evenkeel scan {}` and paste what it prints, after comparing the fingerprint", device.address);
        let message = "without a pinned host key every connection is refused";
        findings.warn(&target, "no-host-key", "spec.access.ssh.hostKeys", message, help);
    }
    let Some(via) = &ssh.via else { return true };
    if !known.contains_key(via) {
        let help = findings.nearest(via, &device.name, known.keys());
        findings.error(&target, "unknown-via", "spec.access.ssh.via", format!("there is no device `{via}`"), help);
    }
    let hops = |name: &Name| known.get(name).and_then(|device| jump_host(device)).into_iter().cloned().collect();
    if let Some(circle) = self::circle(&device.name, hops) {
        let message = format!("is reached through itself: {circle}");
        findings.error(&target, "via-cycle", "spec.access.ssh.via", message, "take one of these away");
        return false;
    }
    true
}

/// What no schema can say of a probe. Where it runs on a device, that one's address is known.
pub(crate) fn probe(target: &Target, path: &str, probe: &Probe, address: Option<&str>, findings: &mut Findings) {
    let named = |what: &str| format!("probe `{}`: {what}", probe.name);
    if let Check::Http(http) = &probe.check
        && let Some(pattern) = &http.matches
        && let Err(error) = regex::bytes::RegexBuilder::new(pattern).size_limit(PATTERN).build()
    {
        let message = named(&format!("`matches` is not a regular expression: {}", last_line(&error.to_string())));
        findings.error(target, "probe-pattern", path, message, "write it in the syntax of Rust's `regex`, which has no look-around");
    }
    let Some(address) = address.and_then(|address| address.parse::<IpAddr>().ok()) else { return };
    if !probe.way.takes(address) {
        let message = named(&format!("{address} is not of the family that it asks for, or asks from"));
        findings.error(target, "probe-family", path, message, "take `family` and `sourceAddress` away, or let them fit the address");
    }
    let trust = match &probe.check {
        Check::Tls(tls) => Some(&tls.trust),
        Check::Http(http) if http.scheme == "https" => Some(&http.trust),
        _ => None,
    };
    if trust.is_some_and(|trust| trust.server_name.is_none() && !trust.insecure) {
        let message = named(&format!("its certificate has to be for the IP address {address}, which few are"));
        findings.warn(target, "probe-name", path, message, "set serverName to the name that the certificate is for");
    }
}

fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or_default().trim_start_matches("error: ")
}

/// Readings that can't be taken as they are written.
fn metrics(target: &Target, device: &Device, findings: &mut Findings) {
    match device.metrics.as_ref().map(|metrics| &metrics.source) {
        Some(MetricsSource::Ssh) if device.access == Access::None => {
            let help = "give the device an `access`, or read its metrics by nodeExporter or snmp";
            findings.warn(target, "metrics-access", "spec.metrics.ssh", "the device has no access, so nothing can be read there", help);
        }
        Some(MetricsSource::Snmp(Snmp { secret: None, .. })) => {
            let help = "name a Secret with `community` (v2c), or `user`, `authPassword` and `privPassword` (v3)";
            findings.warn(target, "no-credential", "spec.metrics.snmp.secretRef", "without a credential no agent is asked", help);
        }
        _ => {}
    }
}

/// The device that another one is reached through.
pub(super) fn jump_host(device: &Device) -> Option<&Name> {
    match &device.access {
        Access::Ssh(ssh) => ssh.via.as_ref(),
        Access::Local | Access::None => None,
    }
}

/// Nothing may be owned twice on one device, and dependencies must exist and end. Returns whether the Deployment is usable.
pub(super) fn deployment(desired: &Desired, deployment: &Deployment, findings: &mut Findings) -> bool {
    let target = Target::unit(&deployment.name);
    let errors = findings.errors();
    let field = if deployment.name.role().is_some() { "spec.login.user" } else { "spec.selector" };
    let mut own = BTreeSet::new();
    for item in deployment.content.claims() {
        if !own.insert(item.clone()) {
            findings.error(&target, "owned-elsewhere", "spec", format!("{item} is listed twice"), "list it once");
            break;
        }
        if let Some((other, device)) = owner(desired, deployment, &item) {
            let (kind, what) = item.split();
            let message = format!("{kind} {what} on device/{device} is owned by {}", Target::unit(other));
            findings.error(&target, "owned-elsewhere", field, message, "let one of them own it, or make the selectors disjoint");
            break;
        }
    }
    let known = &desired.index.built;
    for (at, other) in deployment.depends_on.iter().enumerate().filter(|(_, other)| !known.contains_key(*other)) {
        let help = findings.nearest(other, &deployment.name, known.keys());
        let message = format!("there is no usable Deployment `{other}`");
        findings.error(&target, "unknown-dependency", &format!("spec.dependsOn[{at}]"), message, help);
    }
    let next = |name: &Name| known.get(name).map(|deployment| deployment.depends_on.clone()).unwrap_or_default();
    if let Some(circle) = circle(&deployment.name, next) {
        let message = format!("depends on itself: {circle}");
        findings.error(&target, "dependency-cycle", "spec.dependsOn", message, "take one of these away");
    }
    findings.errors() == errors
}

/// Of all Deployments that claim an item, the first by name keeps it on the devices that they share.
fn owner<'a>(desired: &'a Desired, deployment: &'a Deployment, item: &ItemKey) -> Option<(&'a Name, &'a Name)> {
    let others = desired.index.claims.get(item)?.iter().take_while(|other| **other < deployment.name);
    others.filter_map(|other| Some((other, shared_member(desired.index.built.get(other)?, deployment)?))).next()
}

/// The first device that two Deployments both select.
fn shared_member<'a>(a: &Deployment, b: &'a Deployment) -> Option<&'a Name> {
    let mut others = a.members.iter().peekable();
    b.members.iter().find(|member| {
        while others.next_if(|other| other < member).is_some() {}
        others.peek() == Some(member)
    })
}

/// A Receiver must say where and how.
pub(super) fn receiver(desired: &Desired, name: &Name, object: &Object, findings: &mut Findings) {
    let Object::Receiver(object) = object else { return };
    let target = Target::Object(Kind::Receiver, name.clone());
    if let Some(fallback) = &object.spec.fallback {
        let other = name.sibling(fallback);
        if other == *name {
            let help = "name another Receiver, best one that goes another way";
            findings.warn(&target, "receiver-fallback", "spec.fallback", "it names itself: who can't be told is not told instead", help);
        } else if !desired.objects.contains_key(&(Kind::Receiver, other.clone())) {
            let known = desired.objects.keys().filter(|(kind, _)| *kind == Kind::Receiver).map(|(_, name)| name);
            let help = findings.nearest(&other, name, known);
            findings.warn(&target, "unknown-receiver", "spec.fallback", format!("there is no Receiver `{fallback}`"), help);
        }
    }
    for wrong in Receiver::of(name, &object.spec).1 {
        let severity = if wrong.is_error { Severity::Error } else { Severity::Warning };
        findings.errors += usize::from(wrong.is_error);
        findings.add(severity, &target, wrong.code, &wrong.path, wrong.message, wrong.help.to_owned());
    }
}

/// Deployments that a rule names should exist: of one that does not, nothing is ever known.
pub(super) fn named_deployments(desired: &Desired, name: &Name, findings: &mut Findings) {
    let target = Target::Object(Kind::AlertRule, name.clone());
    for unit in desired.rules.get(name).map(|rule| rule.deployments()).unwrap_or_default() {
        let other = name.sibling(&unit);
        if !desired.objects.contains_key(&(Kind::Deployment, other.clone())) {
            let known = desired.objects.keys().filter(|(kind, _)| *kind == Kind::Deployment).map(|(_, name)| name);
            let help = findings.nearest(&other, name, known);
            let message = format!("there is no Deployment `{other}`: what is asked of it is unknown always");
            findings.warn(&target, "unknown-deployment", "spec.expr", message, help);
        }
    }
}

/// Rules that make a rule silent must exist, and be others.
pub(super) fn inhibitors(desired: &Desired, name: &Name, object: &Object, findings: &mut Findings) {
    let Object::AlertRule(rule) = object else { return };
    let target = Target::Object(Kind::AlertRule, name.clone());
    for (at, inhibitor) in rule.spec.inhibited_by.iter().enumerate() {
        let (path, other) = (format!("spec.inhibitedBy[{at}].rule"), name.sibling(&inhibitor.rule));
        if other == *name && inhibitor.equal.is_empty() {
            let help = "name another rule, or `equal` labels by which one device's alert makes others silent";
            findings.warn(&target, "inhibits-itself", &path, "it names itself, which makes nothing silent", help);
        } else if !desired.objects.contains_key(&(Kind::AlertRule, other.clone())) {
            let known = desired.objects.keys().filter(|(kind, _)| *kind == Kind::AlertRule).map(|(_, name)| name);
            let help = findings.nearest(&other, name, known);
            findings.warn(&target, "unknown-rule", &path, format!("there is no AlertRule `{other}`"), help);
        }
    }
}

/// Receivers that a rule names must exist.
pub(super) fn receivers(desired: &Desired, (kind, name): &Key, object: &Object, findings: &mut Findings) {
    let Object::AlertRule(rule) = object else { return };
    let target = Target::Object(*kind, name.clone());
    let listed = |list: &str, receivers: &[String]| -> Vec<(String, String)> {
        receivers.iter().enumerate().map(|(at, receiver)| (format!("{list}[{at}]"), receiver.clone())).collect()
    };
    let notify = rule.spec.notify.iter();
    let escalated = |(at, step): (usize, &crds::EscalationSpec)| listed(&format!("spec.notify.escalate[{at}].receivers"), &step.receivers);
    let all = notify.flat_map(|notify| {
        let routed = notify
            .routes
            .iter()
            .enumerate()
            .flat_map(|(at, route)| listed(&format!("spec.notify.routes[{at}].receivers"), &route.receivers));
        let first = listed("spec.notify.receivers", &notify.receivers).into_iter().chain(routed);
        first.chain(notify.escalate.iter().enumerate().flat_map(escalated)).collect::<Vec<_>>()
    });
    for (path, receiver) in all {
        let receiver = &receiver;
        let other = name.sibling(receiver);
        if !desired.objects.contains_key(&(Kind::Receiver, other.clone())) {
            let known = desired.objects.keys().filter(|(kind, _)| *kind == Kind::Receiver).map(|(_, name)| name);
            let help = findings.nearest(&other, name, known);
            findings.error(&target, "unknown-receiver", &path, format!("there is no Receiver `{receiver}`"), help);
        }
    }
}

/// The way from a name back to itself, if there is one.
fn circle(start: &Name, next: impl Fn(&Name) -> Vec<Name>) -> Option<String> {
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

/// The word that is spelled most alike, if one is.
pub(super) fn nearest_word<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, nearest) = known.map(|other| (distance(word, other), other)).min()?;
    (distance <= 3 && distance < word.len()).then_some(nearest)
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
