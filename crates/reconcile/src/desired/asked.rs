//! What AlertRules, Roles and Silences ask of devices: of each thing there should be one device at least that has it.

use std::collections::BTreeSet;

use crds::Object;

use super::check::nearest_word;
use super::{Desired, Device};
use crate::alerting::expr::Need;
use crate::alerting::rule::Rule;
use crate::name::Name;

/// Devices that are looked through for what was meant by a word that is on none.
const LOOKED_THROUGH: usize = 200;

/// Something that one device at least should have.
pub(super) struct Asked<'a> {
    /// The field that asks.
    pub(super) path: String,
    /// What it is, among what the field asks.
    pub(super) what: String,
    /// Whether a device has it.
    pub(super) has: Box<dyn Fn(&Device) -> bool + 'a>,
    /// What is found where none has.
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) help: Help,
    /// Where none has it, nothing of what comes after it is asked.
    pub(super) is_first: bool,
}

/// What to do.
pub(super) enum Help {
    Plain(&'static str),
    /// The word is misspelled, it may be; what such words a device has.
    Word(String, fn(&Device) -> Vec<&str>),
}

impl Help {
    /// In words.
    pub(super) fn text(&self, desired: &Desired, namespace: &str) -> String {
        match self {
            Self::Plain(text) => (*text).to_owned(),
            Self::Word(word, of) => {
                let devices = desired.devices.values().filter(|device| device.name.namespace() == namespace).take(LOOKED_THROUGH);
                let words: BTreeSet<&str> = devices.flat_map(|device| of(device)).collect();
                match nearest_word(word, words.iter().copied()) {
                    Some(nearest) => format!("did you mean `{nearest}`?"),
                    None if words.is_empty() => "devices have none".into(),
                    None => format!("there are {}", words.into_iter().take(20).collect::<Vec<_>>().join(", ")),
                }
            }
        }
    }
}

/// What an object asks.
pub(super) fn of<'a>(desired: &'a Desired, name: &'a Name, object: &'a Object) -> Vec<Asked<'a>> {
    match object {
        Object::AlertRule(written) => {
            let selector = selected(name, "spec.selector", &written.spec.selector, "the rule can never fire");
            let mut asked = vec![Asked { is_first: true, ..selector }];
            // One that can't be read is in force as it was.
            if let Some(rule) = desired.rules.get(name).filter(|rule| rule.selector == written.spec.selector) {
                asked.extend(rule_asks(rule));
            }
            asked
        }
        Object::Role(role) => {
            let grants = role.spec.allow.iter().enumerate();
            let devices = grants.filter_map(|(at, grant)| Some((at, grant.devices.as_ref()?)));
            let login = role.spec.login.iter().filter_map(|login| login.devices.as_ref());
            devices
                .map(|(at, devices)| selected(name, &format!("spec.allow[{at}].devices"), devices, "the grant allows nothing"))
                .chain(login.map(|devices| selected(name, "spec.login.devices", devices, "the login is nowhere")))
                .collect()
        }
        Object::Silence(silence) => {
            let spec = &silence.spec;
            let mut asked: Vec<Asked<'a>> =
                spec.devices.iter().map(|devices| selected(name, "spec.devices", devices, "it mutes nothing")).collect();
            asked.extend(spec.match_labels.iter().filter_map(|(label, value)| muted(desired, name, label, value)));
            asked
        }
        _ => Vec::new(),
    }
}

fn selected<'a>(name: &'a Name, path: &str, selector: &'a crds::Selector, so: &'static str) -> Asked<'a> {
    Asked {
        path: path.to_owned(),
        what: String::new(),
        has: Box::new(move |device: &Device| device.name.namespace() == name.namespace() && selector.matches(&device.labels)),
        code: "selector-matches-nothing",
        // Where there is no device at all nothing is misspelled.
        message: if selector.is_empty() { String::new() } else { "no device has these labels".into() },
        help: Help::Plain(so),
        is_first: false,
    }
}

fn rule_asks(rule: &Rule) -> Vec<Asked<'_>> {
    let mut asked = Vec::new();
    let on = move |device: &Device| device.name.namespace() == rule.name.namespace() && rule.selector.matches(&device.labels);
    if rule.suspend {
        return asked;
    }
    for (path, expr) in [("spec.expr", Some(&rule.expr)), ("spec.recover", rule.recover.as_ref())] {
        for need in expr.into_iter().flat_map(|expr| expr.needs()) {
            let (code, message, help) = lacking(&need);
            let has = Box::new(move |device: &Device| on(device) && has(device, &need));
            asked.push(Asked { path: path.to_owned(), what: message.clone(), has, code, message, help, is_first: false });
        }
    }
    let Some(routing) = &rule.routing else { return asked };
    for (at, label) in routing.group_by.iter().enumerate().filter(|(_, label)| !rule.labels.contains_key(*label)) {
        asked.push(Asked {
            path: format!("spec.notify.groupBy[{at}]"),
            what: label.clone(),
            has: Box::new(move |device: &Device| on(device) && device.labels.contains_key(label)),
            code: "unknown-label",
            message: format!("no device that the rule selects has the label `{label}`, and the rule gives none: it groups nothing"),
            help: Help::Word(label.clone(), labels),
            is_first: false,
        });
    }
    for (at, route) in routing.routes.iter().enumerate().filter(|(_, route)| !route.match_labels.is_empty()) {
        let label = move |device: &Device, key: &str| rule.labels.get(key).or_else(|| device.labels.get(key)).cloned().unwrap_or_default();
        let has = move |device: &Device| on(device) && route.match_labels.iter().all(|(key, value)| label(device, key) == *value);
        asked.push(Asked {
            path: format!("spec.notify.routes[{at}].matchLabels"),
            what: String::new(),
            has: Box::new(has),
            code: "selector-matches-nothing",
            message: "no alert of this rule has these labels".into(),
            help: Help::Plain("the route is never taken: an alert has the labels of its device and those of its rule"),
            is_first: false,
        });
    }
    asked
}

/// What a Silence says of labels, if no rule gives that: then some device has to.
fn muted<'a>(desired: &'a Desired, name: &'a Name, label: &'a str, value: &'a str) -> Option<Asked<'a>> {
    let mut rules = desired.rules.values().filter(|rule| rule.name.namespace() == name.namespace());
    let is_given =
        rules.any(|rule| rule.labels.get(label).map(String::as_str) == Some(value) || (label == "rule" && rule.name.name() == value));
    if is_given {
        return None;
    }
    let has = move |device: &Device| {
        let own = device.labels.get(label).map(String::as_str) == Some(value);
        device.name.namespace() == name.namespace() && (own || (label == "device" && device.name.name() == value))
    };
    Some(Asked {
        path: "spec.matchLabels".into(),
        what: label.to_owned(),
        has: Box::new(has),
        code: "selector-matches-nothing",
        message: format!("no device and no AlertRule has the label {label}={value}"),
        help: Help::Plain("it mutes nothing: labels are those of devices and rules, and `rule` and `device` are the names of the two"),
        is_first: false,
    })
}

fn has(device: &Device, need: &Need) -> bool {
    match need {
        Need::Readings => device.metrics.is_some(),
        Need::Logs => device.logs.syslog || device.logs.journald.is_some(),
        Need::Probe(name) => device.probes.iter().any(|probe| probe.name == *name),
        Need::Label(label) => device.labels.contains_key(label),
        Need::Var(var) => device.vars.contains_key(var),
    }
}

fn lacking(need: &Need) -> (&'static str, String, Help) {
    match need {
        Need::Readings => (
            "never-known",
            "no device that the rule selects is read, so what they use is never known".into(),
            Help::Plain("give them `metrics`, best in their DeviceClass"),
        ),
        Need::Logs => (
            "never-known",
            "no device that the rule selects sends lines of log or has its journal read".into(),
            Help::Plain("let `logs.syslog` be true, or read `logs.journald`"),
        ),
        Need::Probe(probe) => (
            "unknown-probe",
            format!("no device that the rule selects has a probe `{probe}`: what is asked of it is never known"),
            Help::Word(probe.clone(), probes),
        ),
        Need::Label(label) => (
            "unknown-label",
            format!("no device that the rule selects has the label `{label}`: it is empty on all of them"),
            Help::Word(label.clone(), labels),
        ),
        Need::Var(var) => (
            "unknown-var",
            format!("no device that the rule selects has a var `{var}`: what is asked of it is never known"),
            Help::Word(var.clone(), vars),
        ),
    }
}

fn labels(device: &Device) -> Vec<&str> {
    device.labels.keys().map(String::as_str).collect()
}

fn probes(device: &Device) -> Vec<&str> {
    device.probes.iter().map(|probe| probe.name.as_str()).collect()
}

fn vars(device: &Device) -> Vec<&str> {
    device.vars.keys().map(String::as_str).collect()
}
