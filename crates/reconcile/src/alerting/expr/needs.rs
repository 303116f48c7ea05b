//! What an expression needs to be known of a device, in words.

use std::collections::BTreeSet;
use std::fmt;

use super::Compiled;
use super::paths::Many;
use super::rollouts::{DeploymentField, FIELDS};
use super::term::{Field, ProbeField, Term};
use crate::usage::{Of, Series};

/// What a device must have so that anything is known of what is asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// That it is read.
    Readings,
    /// Lines of log.
    Logs,
    /// The probe of this name.
    Probe(String),
    /// This label.
    Label(String),
    /// This variable.
    Var(String),
}

impl Compiled {
    /// What a device must have. Of what is asked whether it is known it need not.
    pub fn needs(&self) -> BTreeSet<Need> {
        let asked: Vec<&Term> = self.terms.iter().filter(|term| matches!(term, Term::Known(_))).map(bare).collect();
        let of_terms = self.terms.iter().filter(|term| !matches!(term, Term::Known(_))).map(bare);
        let of_terms = of_terms.filter(|term| !asked.contains(term)).filter_map(need);
        let reads = self.all_of().iter().any(|of| matches!(of, Of::Disk | Of::Interface));
        of_terms.chain(reads.then_some(Need::Readings)).collect()
    }

    /// The series that it asks for by name.
    pub fn series(&self) -> BTreeSet<Series> {
        self.terms.iter().filter_map(Term::series).cloned().collect()
    }

    /// Of what it asks for all series that there are: it goes through them.
    pub fn all_of(&self) -> Vec<Of> {
        let of = |many: &Many| match many {
            Many::Disks => Some(Of::Disk),
            Many::Interfaces => Some(Of::Interface),
            Many::Probes => Some(Of::Probe),
            Many::Deployments | Many::Labels | Many::Vars => None,
        };
        self.fallback.maps().filter_map(of).collect()
    }

    /// What it asks for that is not kept, so that nobody can say how it was.
    pub fn not_kept(&self) -> BTreeSet<String> {
        let maps = self.fallback.maps().filter(|map| matches!(map, Many::Deployments)).map(|_| "deployments".to_owned());
        self.terms.iter().filter_map(not_kept).map(ToString::to_string).chain(maps).collect()
    }

    /// Whether it asks how probes stand.
    pub fn asks_for_probes(&self) -> bool {
        self.terms.iter().any(|term| matches!(bare(term), Term::Probe(..))) || self.fallback.maps().any(|map| matches!(map, Many::Probes))
    }

    /// Whether it asks how a device is as a whole: what is kept of its probes does not tell.
    pub fn asks_for_health(&self) -> bool {
        self.terms.iter().any(|term| matches!(bare(term), Term::Device(Field::Health)))
    }

    /// Whether it asks for what is known of today only: labels and variables are as they are now.
    pub fn asks_for_today(&self) -> bool {
        let is_of_today = |term: &Term| matches!(bare(term), Term::Label(_) | Term::Var(_));
        self.terms.iter().any(is_of_today) || self.fallback.maps().any(|map| matches!(map, Many::Labels | Many::Vars))
    }
}

fn bare(term: &Term) -> &Term {
    match term {
        Term::Known(of) | Term::Age(of) => bare(of),
        other => other,
    }
}

fn need(term: &Term) -> Option<Need> {
    Some(match term {
        Term::Label(label) => Need::Label(label.clone()),
        Term::Var(var) => Need::Var(var.clone()),
        Term::Probe(probe, _) => Need::Probe(probe.clone()),
        Term::Series(series) | Term::Window { series, .. } => match series.metric.of() {
            Of::Probe => Need::Probe(series.item.to_string()),
            _ if series.metric.is_of_logs() => Need::Logs,
            _ => Need::Readings,
        },
        Term::Device(_) | Term::Deployment(..) | Term::Now | Term::Age(_) | Term::Known(_) => return None,
    })
}

fn not_kept(term: &Term) -> Option<&Term> {
    let term = bare(term);
    let is_kept = match term {
        Term::Probe(_, ProbeField::LastOk) | Term::Deployment(..) => false,
        Term::Series(series) | Term::Window { series, .. } => series.metric.is_stored(),
        Term::Device(field) => {
            !matches!(field, Field::Health | Field::Contact | Field::AwaySince | Field::AwayReason | Field::Update | Field::ChangedAt)
        }
        _ => true,
    };
    (!is_kept).then_some(term)
}

/// As it is written.
impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Series(series) | Self::Window { series, .. } => write!(f, "{series}"),
            Self::Label(label) => write!(f, "device.labels[{label:?}]"),
            Self::Var(var) => write!(f, "device.vars[{var:?}]"),
            Self::Probe(name, field) => write!(f, "probes[{name:?}].{}", probe(*field)),
            Self::Deployment(name, field) => write!(f, "deployments[{name:?}].{}", deployment(*field)),
            Self::Age(of) => write!(f, "age({of})"),
            Self::Known(of) => write!(f, "known({of})"),
            Self::Now => f.write_str("now"),
            Self::Device(field) => write!(f, "device.{}", device(*field)),
        }
    }
}

fn probe(field: ProbeField) -> &'static str {
    match field {
        ProbeField::State => "state",
        ProbeField::Since => "since",
        ProbeField::Reason => "reason",
        ProbeField::LastOk => "lastOk",
    }
}

fn deployment(field: DeploymentField) -> &'static str {
    FIELDS.iter().find(|(_, of)| *of == field).map_or("", |(word, _)| word)
}

fn device(field: Field) -> &'static str {
    match field {
        Field::Name => "name",
        Field::Namespace => "namespace",
        Field::Type => "type",
        Field::Address => "address",
        Field::Health => "health",
        Field::Contact => "contact",
        Field::AwaySince => "awaySince",
        Field::AwayReason => "awayReason",
        Field::Update => "update",
        Field::ChangedAt => "changedAt",
    }
}
