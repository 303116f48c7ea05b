//! What the names in an expression mean: `device.labels.role`, `usage.disks["/"].ratio`, `probes["web"].state`.

use super::rollouts::{DeploymentField, FIELDS, PHASES};
use super::term::{Field, ProbeField, Term};
use crate::alerting::text::neutral;
use crate::desired::PATTERN;
use crate::usage::{ITEM, Metric, Of, Series};

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Bool,
    /// Measured numbers, with a fraction.
    Number,
    /// Counted ones.
    Int,
    Text,
    /// An instant, in seconds since 1970.
    Time,
    /// A length of time, in seconds.
    Span,
    List(Box<Kind>),
    Map(Many),
    /// One of a map.
    One(Many),
    /// Whatever Git says.
    Any,
}

impl Kind {
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Bool => "true or false",
            Self::Number | Self::Int => "a number",
            Self::Text => "a text",
            Self::Time => "an instant",
            Self::Span => "a length of time",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
            Self::One(_) => "a record",
            Self::Any => "anything",
        }
    }
}

/// What there are several of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Many {
    Disks,
    Interfaces,
    Probes,
    Deployments,
    Labels,
    Vars,
}

impl Many {
    /// What it is called in a rewritten expression; no one else can write it.
    pub(super) fn variable(self) -> &'static str {
        match self {
            Self::Disks => "@disks",
            Self::Interfaces => "@interfaces",
            Self::Probes => "@probes",
            Self::Deployments => "@deployments",
            Self::Labels => "@labels",
            Self::Vars => "@vars",
        }
    }

    /// What one of it is.
    pub(super) fn one(self) -> Kind {
        match self {
            Self::Labels => Kind::Text,
            Self::Vars => Kind::Any,
            Self::Disks | Self::Interfaces | Self::Probes | Self::Deployments => Kind::One(self),
        }
    }

    /// What a field of one of it can be, where that is a closed list.
    pub(super) fn values(self, field: &str) -> Option<&'static [&'static str]> {
        match (self, field) {
            (Self::Probes, "state") => Some(&STATES),
            (Self::Deployments, "phase") => Some(&PHASES),
            _ => None,
        }
    }

    /// What a field of one of it is.
    pub(super) fn field(self, field: &str) -> Result<Kind, Wrong> {
        let of = match self {
            Self::Disks => Of::Disk,
            Self::Interfaces => Of::Interface,
            Self::Probes => match probe_field(field) {
                Some((_, kind)) => return Ok(kind),
                None if probe_metric(field).is_some() => return Ok(Kind::Number),
                None => return Err(Wrong::unknown(&format!("probes[…].{field}"), &PROBE)),
            },
            Self::Deployments => {
                return deployment(field)
                    .map(|(_, kind)| kind)
                    .ok_or_else(|| Wrong::unknown(&format!("deployments[…].{field}"), &DEPLOYMENT));
            }
            Self::Labels | Self::Vars => return Err(Wrong::new("it has no fields", "leave the field away")),
        };
        let known: Vec<&str> = fields(of).collect();
        match known.contains(&field) {
            true => Ok(Kind::Number),
            false => {
                Err(Wrong::unknown(&format!("{}[…].{field}", if of == Of::Disk { "usage.disks" } else { "usage.interfaces" }), &known))
            }
        }
    }
}

/// What is wrong with an expression, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}

impl Wrong {
    pub(super) fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        // Both may quote what stands in a text of the expression.
        Self { message: neutral(&message.into()), help: neutral(&help.into()) }
    }

    fn unknown(name: &str, known: &[&str]) -> Self {
        let last = name.rsplit('.').next().unwrap_or(name);
        let nearest = known.iter().find(|known| is_near(known, last));
        let help = match nearest {
            Some(nearest) => format!("did you mean `{nearest}`? there are {}", known.join(", ")),
            None => format!("there are {}", known.join(", ")),
        };
        Self::new(format!("`{}` is not known", name.chars().take(100).collect::<String>()), help)
    }
}

/// The same but for case, or one letter.
fn is_near(a: &str, b: &str) -> bool {
    let (a, b) = (a.to_lowercase(), b.to_lowercase());
    let common = a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count();
    let end = a.bytes().rev().zip(b.bytes().rev()).take_while(|(x, y)| x == y).count();
    a == b || (a.len().abs_diff(b.len()) <= 1 && common + end + 1 >= a.len().max(b.len()))
}

/// What a path leads to.
pub(super) enum Path {
    Term(Term, Kind),
    Map(Many),
    Record(&'static str),
}

/// The names that an expression may begin with.
pub(super) const ROOTS: [&str; 6] = ["device", "usage", "probes", "logs", "deployments", "now"];
const DEVICE: [&str; 14] = [
    "name",
    "namespace",
    "type",
    "address",
    "labels",
    "vars",
    "health",
    "contact",
    "awaySince",
    "awayReason",
    "update",
    "changedAt",
    "usage",
    "logs",
];
const DEPLOYMENT: [&str; 4] = ["phase", "revision", "version", "changedAt"];
const STATES: [&str; 2] = ["ok", "fail"];
const PROBE: [&str; 16] = [
    "state",
    "since",
    "reason",
    "lastOk",
    "seconds",
    "resolve",
    "connect",
    "tls",
    "firstByte",
    "transfer",
    "loss",
    "rtt",
    "rttMin",
    "rttMax",
    "jitter",
    "validFor",
];

/// What a path means; it begins with one of [`ROOTS`].
pub(super) fn resolve(path: &[&str]) -> Result<Path, Wrong> {
    match path {
        ["now"] => Ok(Path::Term(Term::Now, Kind::Time)),
        ["device", "usage", rest @ ..] | ["usage", rest @ ..] => usage(rest),
        ["device", "logs", rest @ ..] | ["logs", rest @ ..] => logs(rest),
        ["device", rest @ ..] => device(rest),
        ["probes"] => Ok(Path::Map(Many::Probes)),
        ["probes", _] => Ok(Path::Record(
            "state, since, reason, lastOk, seconds, resolve, connect, tls, firstByte, transfer, loss, rtt, rttMin, rttMax, jitter, validFor",
        )),
        ["probes", name, field] => match (probe_field(field), probe_metric(field)) {
            (Some((field, kind)), _) => Ok(Path::Term(Term::Probe((*name).to_owned(), field), kind)),
            (None, Some(metric)) => series(metric, name),
            (None, None) => Err(Wrong::unknown(&format!("probes[…].{field}"), &PROBE)),
        },
        ["deployments"] => Ok(Path::Map(Many::Deployments)),
        ["deployments", _] => Ok(Path::Record("phase, revision, version, changedAt")),
        ["deployments", name, field] => match deployment(field) {
            Some((field, kind)) => Ok(Path::Term(Term::Deployment((*name).to_owned(), field), kind)),
            None => Err(Wrong::unknown(&format!("deployments[…].{field}"), &DEPLOYMENT)),
        },
        _ => Err(Wrong::new(format!("`{}` has no fields", path[..path.len() - 1].join(".")), "leave the last one away")),
    }
}

fn deployment(field: &str) -> Option<(DeploymentField, Kind)> {
    let (_, field) = FIELDS.iter().find(|(name, _)| *name == field)?;
    let kind = match field {
        DeploymentField::Phase | DeploymentField::Version => Kind::Text,
        DeploymentField::Revision => Kind::Number,
        DeploymentField::ChangedAt => Kind::Time,
    };
    Some((*field, kind))
}

/// What is measured of a probe.
pub(super) fn probe_metric(field: &str) -> Option<Metric> {
    let is_it = |metric: &&Metric| metric.is_of_probes() && metric.name().split_once('.').is_some_and(|(_, name)| name == field);
    Metric::ALL.iter().find(is_it).copied()
}

fn probe_field(field: &str) -> Option<(ProbeField, Kind)> {
    Some(match field {
        "state" => (ProbeField::State, Kind::Text),
        "since" => (ProbeField::Since, Kind::Time),
        "reason" => (ProbeField::Reason, Kind::Text),
        "lastOk" => (ProbeField::LastOk, Kind::Time),
        _ => return None,
    })
}

fn device(path: &[&str]) -> Result<Path, Wrong> {
    let text = |field| Ok(Path::Term(Term::Device(field), Kind::Text));
    match path {
        [] => Ok(Path::Record(
            "name, namespace, type, address, labels, vars, health, contact, awaySince, awayReason, update, changedAt, usage, logs",
        )),
        ["name"] => text(Field::Name),
        ["namespace"] => text(Field::Namespace),
        ["type"] => text(Field::Type),
        ["address"] => text(Field::Address),
        ["health"] => text(Field::Health),
        ["contact"] => text(Field::Contact),
        ["awaySince"] => Ok(Path::Term(Term::Device(Field::AwaySince), Kind::Time)),
        ["awayReason"] => text(Field::AwayReason),
        ["update"] => text(Field::Update),
        ["changedAt"] => Ok(Path::Term(Term::Device(Field::ChangedAt), Kind::Time)),
        ["labels"] => Ok(Path::Map(Many::Labels)),
        ["labels", label] => Ok(Path::Term(Term::Label((*label).to_owned()), Kind::Text)),
        ["labels", ..] => {
            Err(Wrong::new("a label's key with dots or slashes is written in brackets", "write device.labels[\"example.com/role\"]"))
        }
        ["vars"] => Ok(Path::Map(Many::Vars)),
        ["vars", var] => Ok(Path::Term(Term::Var((*var).to_owned()), Kind::Any)),
        ["vars", ..] => Err(Wrong::new("a var has no fields", "use device.vars.name as a whole")),
        [first, ..] if DEVICE.contains(first) => Err(Wrong::new(format!("`device.{first}` has no fields"), "leave the last one away")),
        [first, ..] => Err(Wrong::unknown(&format!("device.{first}"), &DEVICE)),
    }
}

/// Readings of logs; what is none of their names is a pattern.
fn logs(path: &[&str]) -> Result<Path, Wrong> {
    match path {
        [] => Ok(Path::Record(
            "lines, errors, warnings, newTemplates, unusual, vanished, severityShift; or logs[\"Failed password\"].matches",
        )),
        [field] => match Metric::ALL.iter().find(|metric| metric.name() == format!("logs.{field}") && metric.of() == Of::Device) {
            Some(metric) => Ok(Path::Term(Term::Series(Series::of(*metric)), Kind::Number)),
            None => {
                let mut wrong = Wrong::unknown(&format!("logs.{field}"), &group("logs"));
                wrong.help.push_str("; lines that match a pattern are counted by logs[\"Failed password\"].matches");
                Err(wrong)
            }
        },
        [text, "matches"] => {
            let path = series(Metric::LogMatches, text)?;
            let help = "write it in the syntax of Rust's `regex`, which has no look-around";
            pattern(text).map_err(|wrong| Wrong::new(format!("`{text}` is not a regular expression: {wrong}"), help))?;
            Ok(path)
        }
        [_, rest @ ..] => {
            Err(Wrong::new(format!("of a pattern `{}` is not known", rest.join(".")), "write logs[\"Failed password\"].matches"))
        }
    }
}

/// Compiles a pattern of log lines, with the bounds that it is checked against: whoever runs it does it by this.
pub fn pattern(text: &str) -> Result<regex::bytes::Regex, String> {
    let compiled = regex::bytes::RegexBuilder::new(text).size_limit(PATTERN).build();
    compiled.map_err(|error| error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned())
}

fn usage(path: &[&str]) -> Result<Path, Wrong> {
    match path {
        [] => Ok(Path::Record("cpu, load, memory, swap, disks, interfaces, uptime")),
        ["disks"] => Ok(Path::Map(Many::Disks)),
        ["interfaces"] => Ok(Path::Map(Many::Interfaces)),
        ["logs", ..] => Err(Wrong::new("`usage.logs` is not known", "write for example logs.errors")),
        ["disks", _] => Ok(Path::Record("total, available, ratio, inodesRatio")),
        ["interfaces", _] => Ok(Path::Record("up, speed, received, sent, receiveErrors, sendErrors, receiveDrops, sendDrops")),
        [of @ ("disks" | "interfaces" | "probes"), item, field] => {
            let name = format!("{of}.{field}");
            let kind = if *of == "disks" {
                Of::Disk
            } else if *of == "probes" {
                Of::Probe
            } else {
                Of::Interface
            };
            match Metric::ALL.iter().find(|metric| metric.name() == name) {
                Some(metric) => series(*metric, item),
                None => Err(Wrong::unknown(&format!("usage.{of}[…].{field}"), &fields(kind).collect::<Vec<_>>())),
            }
        }
        [one] | [one, _] => {
            let name = path.join(".");
            if let Some(metric) = Metric::ALL.iter().find(|metric| metric.name() == name && metric.of() == Of::Device) {
                return Ok(Path::Term(Term::Series(Series::of(*metric)), Kind::Number));
            }
            let below = group(one);
            if below.is_empty() {
                return Err(Wrong::unknown(&format!("usage.{one}"), &["cpu", "load", "memory", "swap", "disks", "interfaces", "uptime"]));
            }
            if path.len() == 1 {
                return Ok(Path::Record("ratio and others"));
            }
            Err(Wrong::unknown(&format!("usage.{name}"), &below))
        }
        _ => Err(Wrong::new(
            format!("`usage.{}` is not known", path.join(".")),
            "write for example usage.memory.ratio or usage.disks[\"/\"].ratio",
        )),
    }
}

fn series(metric: Metric, item: &str) -> Result<Path, Wrong> {
    if item.is_empty() || item.len() > ITEM {
        return Err(Wrong::new(
            format!("the name in brackets has to have 1 to {ITEM} bytes"),
            "write for example usage.disks[\"/\"].ratio",
        ));
    }
    Ok(Path::Term(Term::Series(Series::item(metric, item)), Kind::Number))
}

/// The fields of what there are several of.
fn fields(of: Of) -> impl Iterator<Item = &'static str> {
    Metric::ALL.iter().filter(move |metric| metric.of() == of).filter_map(|metric| metric.name().split_once('.')).map(|(_, field)| field)
}

/// The fields of a group such as `memory`.
fn group(of: &str) -> Vec<&'static str> {
    let all = Metric::ALL.iter().filter(|metric| metric.of() == Of::Device).filter_map(|metric| metric.name().split_once('.'));
    all.filter(|(group, _)| *group == of).map(|(_, field)| field).collect()
}

/// What a text can be, where that is a closed list.
pub(super) fn values(term: &Term) -> Option<&'static [&'static str]> {
    Some(match term {
        Term::Probe(_, ProbeField::State) => &STATES,
        Term::Deployment(_, DeploymentField::Phase) => &PHASES,
        Term::Device(Field::Update) => &["UpToDate", "OutOfDate", "Updating", "Blocked"],
        Term::Device(Field::Health) => &["Healthy", "Degraded", "Unreachable"],
        Term::Device(Field::Contact) => &["Reachable", "Unreachable"],
        Term::Device(Field::AwayReason) => &["Unreachable", "LoginRefused", "HostKeyMismatch", "NoCredential"],
        Term::Device(Field::Type) => &["Server", "Network", "Storage"],
        _ => return None,
    })
}
