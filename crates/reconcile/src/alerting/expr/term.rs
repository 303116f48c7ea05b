//! What an expression asks of a device: one value, or the reason why there is none.

use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp};

use super::super::history::History;
use super::rollouts::{DeploymentField, Rollouts};
use crate::desired::Device;
use crate::observed::{Contact, DeviceSeen, Health, ProbeSeen, ProbeState};
use crate::usage::{Series, Usage};

/// A reading that is older than this says nothing about now (Prometheus: lookback delta).
pub const STALE: SignedDuration = SignedDuration::from_mins(5);

/// What one value of a count stands for.
const MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// What is known of one device.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// What it is.
    pub device: &'a Device,
    /// Contact and probes.
    pub seen: Option<&'a DeviceSeen>,
    /// What it used when it was last read.
    pub usage: Option<&'a Usage>,
    /// What it used before.
    pub history: &'a History,
    /// What is known of its Deployments.
    pub rollouts: Rollouts<'a>,
    /// What time it is.
    pub now: Timestamp,
}

/// One value that an expression asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Term {
    /// A reading.
    Series(Series),
    /// A function over a window of a series.
    Window {
        /// Of what.
        series: Series,
        /// Which.
        function: Function,
        /// How far it looks back.
        window: SignedDuration,
    },
    /// Of the device itself.
    Device(Field),
    /// A label; empty if it is not there.
    Label(String),
    /// A variable.
    Var(String),
    /// Of a probe.
    Probe(String, ProbeField),
    /// Of a Deployment, as it stands on the device.
    Deployment(String, DeploymentField),
    /// Time since an instant, in seconds.
    Age(Box<Term>),
    /// What time it is.
    Now,
    /// Whether another one has a value at all: never unknown.
    Known(Box<Term>),
}

/// A function over a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Function {
    /// Arithmetic mean of the points.
    Avg,
    /// The highest.
    Max,
    /// The lowest.
    Min,
    /// The value below which this share of the points lies, interpolated.
    Quantile(f64),
    /// Change in a second, from the first point to the last.
    Rate,
    /// The value so many seconds from now, by least squares.
    Predict(f64),
    /// Whether a point differs from the one before it.
    Changed,
    /// All of them added up, each as what came in the minute before it.
    Sum,
}

/// Of the device itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Its name.
    Name,
    /// Its namespace.
    Namespace,
    /// Server, Network or Storage.
    Type,
    /// Where it is.
    Address,
    /// Healthy, Degraded or Unreachable.
    Health,
    /// Reachable or Unreachable.
    Contact,
    /// Since when it is out of reach.
    AwaySince,
    /// Why it is: Unreachable, LoginRefused, HostKeyMismatch or NoCredential.
    AwayReason,
    /// Whether it is what its Deployments want: UpToDate, OutOfDate, Updating or Blocked.
    Update,
    /// When any Deployment last changed it.
    ChangedAt,
}

/// Of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeField {
    /// ok or fail.
    State,
    /// Since when.
    Since,
    /// Why.
    Reason,
    /// When it last passed.
    LastOk,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar<'a> {
    /// A number, or a time in seconds.
    Number(f64),
    /// A text.
    Text(Cow<'a, str>),
    /// Yes or no.
    Flag(bool),
    /// Whatever Git says.
    Json(&'a serde_json::Value),
}

impl Term {
    /// Its value.
    pub fn value<'a>(&self, inputs: &Inputs<'a>) -> Result<Scalar<'a>, String> {
        match self {
            Self::Series(series) => reading(series, inputs).map(Scalar::Number),
            Self::Window { series, function, window } => over(series, *function, *window, inputs).map_err(|missing| missing.reason),
            Self::Device(field) => device(*field, inputs),
            Self::Label(label) => Ok(text(inputs.device.labels.get(label).map_or("", String::as_str))),
            Self::Var(var) => inputs.device.vars.get(var).map(Scalar::Json).ok_or_else(|| format!("the device has no var `{var}`")),
            Self::Probe(name, field) => probe(name, *field, inputs),
            Self::Deployment(unit, field) => inputs.rollouts.value(inputs.device, unit, *field),
            Self::Age(of) => match of.value(inputs)? {
                Scalar::Number(at) => Ok(Scalar::Number(seconds(inputs.now) - at)),
                _ => Err("no instant".into()),
            },
            Self::Now => Ok(Scalar::Number(seconds(inputs.now))),
            // A label that is not there is empty, and still can be asked for.
            Self::Known(of) => Ok(Scalar::Flag(match &**of {
                Self::Label(label) => inputs.device.labels.contains_key(label),
                other => other.value(inputs).is_ok(),
            })),
        }
    }

    /// Why it has no value, if that is only since nobody has looked for long enough.
    pub(super) fn too_early(&self, inputs: &Inputs<'_>) -> Option<String> {
        match self {
            Self::Window { series, function, window } => {
                over(series, *function, *window, inputs).err().filter(|missing| missing.early).map(|missing| missing.reason)
            }
            Self::Age(of) => of.too_early(inputs),
            _ => None,
        }
    }

    /// The series that it asks for.
    pub fn series(&self) -> Option<&Series> {
        match self {
            Self::Series(series) | Self::Window { series, .. } => Some(series),
            Self::Known(of) | Self::Age(of) => of.series(),
            _ => None,
        }
    }

    /// The Deployment that it asks of.
    pub fn deployment(&self) -> Option<&str> {
        match self {
            Self::Deployment(unit, _) => Some(unit),
            Self::Known(of) | Self::Age(of) => of.deployment(),
            _ => None,
        }
    }

    /// Whether it is something of rollouts.
    pub fn is_of_rollouts(&self) -> bool {
        match self {
            Self::Deployment(..) | Self::Device(Field::Update | Field::ChangedAt) => true,
            Self::Known(of) | Self::Age(of) => of.is_of_rollouts(),
            _ => false,
        }
    }

    /// The series that it looks back at, and how far.
    pub fn looks_back_at(&self) -> Option<(&Series, SignedDuration)> {
        match self {
            Self::Window { series, window, .. } => Some((series, *window)),
            Self::Known(of) | Self::Age(of) => of.looks_back_at(),
            _ => None,
        }
    }

    /// Whether time alone changes it.
    pub fn is_timed(&self) -> bool {
        matches!(self, Self::Age(_) | Self::Now | Self::Window { .. }) || matches!(self, Self::Known(of) if of.is_timed())
    }

    /// Whether it is read, and may be out of date.
    pub fn is_read(&self) -> bool {
        matches!(self, Self::Series(_) | Self::Window { .. }) || matches!(self, Self::Known(of) if of.is_read())
    }
}

fn text(text: &str) -> Scalar<'_> {
    Scalar::Text(Cow::Borrowed(text))
}

/// An instant as a number.
pub(super) fn seconds(at: Timestamp) -> f64 {
    at.duration_since(Timestamp::UNIX_EPOCH).as_secs_f64()
}

/// What was last read, if that is not too long ago.
pub(super) fn fresh<'a>(inputs: &Inputs<'a>) -> Result<&'a Usage, String> {
    let usage = inputs.usage.ok_or("its usage has not been read yet")?;
    match inputs.now.duration_since(usage.at) > STALE {
        true => Err(format!("its usage has not been read since {:.0}", usage.at)),
        false => Ok(usage),
    }
}

fn reading(series: &Series, inputs: &Inputs<'_>) -> Result<f64, String> {
    let usage = fresh(inputs)?;
    usage.values.get(series).copied().filter(|value| value.is_finite()).ok_or_else(|| format!("{series} was not read"))
}

fn device<'a>(field: Field, inputs: &Inputs<'a>) -> Result<Scalar<'a>, String> {
    let device = inputs.device;
    let contact = inputs.seen.map_or(&Contact::Never, |seen| &seen.contact);
    Ok(match field {
        Field::Name => text(device.name.name()),
        Field::Namespace => text(device.name.namespace()),
        Field::Type => text(match device.device_type {
            crds::DeviceType::Server => "Server",
            crds::DeviceType::Network => "Network",
            crds::DeviceType::Storage => "Storage",
        }),
        Field::Address => text(&device.address),
        Field::Health => text(match inputs.seen.map_or(Health::Unknown, DeviceSeen::health) {
            Health::Healthy => "Healthy",
            Health::Degraded => "Degraded",
            Health::Unreachable => "Unreachable",
            Health::Unknown => return Err("its health is not known".into()),
        }),
        Field::Contact => text(match contact {
            Contact::Known => "Reachable",
            Contact::Unreachable { .. } => "Unreachable",
            Contact::Never => return Err("it has not been tried to reach it".into()),
        }),
        Field::AwaySince => match contact {
            Contact::Unreachable { since, .. } => Scalar::Number(seconds(*since)),
            _ => return Err("it is not away".into()),
        },
        Field::AwayReason => match contact {
            Contact::Unreachable { code, .. } => text(code.word()),
            _ => return Err("it is not away".into()),
        },
        Field::Update => return inputs.rollouts.update(device),
        Field::ChangedAt => return inputs.rollouts.changed_at(device),
    })
}

fn probe<'a>(name: &str, field: ProbeField, inputs: &Inputs<'a>) -> Result<Scalar<'a>, String> {
    if !inputs.device.probes.iter().any(|probe| probe.name == name) {
        return Err(format!("the device has no probe `{name}`"));
    }
    let seen = inputs.seen.and_then(|seen| seen.probes.get(name)).ok_or_else(|| format!("probe {name} has not run yet"))?;
    probe_field(name, field, seen)
}

/// Of a probe that was seen.
pub(super) fn probe_field<'a>(name: &str, field: ProbeField, seen: &'a ProbeSeen) -> Result<Scalar<'a>, String> {
    let instant = |at: Option<Timestamp>| at.map(|at| Scalar::Number(seconds(at)));
    match (field, seen.state) {
        (ProbeField::State, ProbeState::Ok) => Ok(text("ok")),
        (ProbeField::State, ProbeState::Fail) => Ok(text("fail")),
        (ProbeField::State, ProbeState::Unknown) if seen.reason.is_empty() => Err(format!("probe {name} is unknown")),
        (ProbeField::State, ProbeState::Unknown) => Err(format!("probe {name} is unknown: {}", seen.reason)),
        (ProbeField::Since, _) => instant(seen.since).ok_or_else(|| format!("probe {name} has not run yet")),
        (ProbeField::LastOk, _) => instant(seen.last_ok).ok_or_else(|| format!("probe {name} has never passed")),
        (ProbeField::Reason, _) => Ok(text(&seen.reason)),
    }
}

/// Why a window has no value.
struct Missing {
    reason: String,
    /// It begins before anybody looked, and nothing that came since is missing.
    early: bool,
}

fn over<'a>(series: &Series, function: Function, window: SignedDuration, inputs: &Inputs<'a>) -> Result<Scalar<'a>, Missing> {
    let looked_for = inputs.history.looked_for(series, inputs.now);
    let missing = |reason: String, early: SignedDuration| {
        let early = looked_for.is_some_and(|looked_for| looked_for < early);
        Err(Missing { reason, early })
    };
    let mut points = inputs.history.window(series, window, inputs.now);
    if function == Function::Sum {
        // What came in the minute before the window does not belong to it.
        points.retain(|(at, _)| inputs.now.duration_since(*at) < window);
    }
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return missing(format!("{series} was not read within {window:#}"), STALE);
    };
    let spans = last.0.duration_since(first.0);
    // Half a window at least: what is known of the last seconds after a restart is no average over ten minutes.
    let known = if function == Function::Sum { spans + MINUTE } else { spans };
    let is_stale = inputs.now.duration_since(last.0) > STALE;
    if known.as_secs_f64() * 2.0 < window.as_secs_f64() {
        // Some time for the first reading to come, and for what came last to be known.
        let early = if is_stale { STALE } else { window / 2 + STALE };
        return missing(format!("{series} is known for {known:#} of {window:#}"), early);
    }
    if is_stale {
        // What the store had of it may be all there is for a while.
        return missing(format!("{series} has not been read since {:.0}", last.0), STALE);
    }
    let values = || points.iter().map(|(_, value)| *value);
    let count = values().count() as f64;
    Ok(Scalar::Number(match function {
        Function::Avg => values().sum::<f64>() / count,
        Function::Sum => values().sum(),
        Function::Max => values().fold(f64::NEG_INFINITY, f64::max),
        Function::Min => values().fold(f64::INFINITY, f64::min),
        Function::Quantile(share) => quantile(values().collect(), share),
        Function::Rate => (last.1 - first.1) / spans.as_secs_f64(),
        Function::Predict(ahead) => predict(&points, inputs.now, ahead),
        Function::Changed => {
            return Ok(Scalar::Flag(points.windows(2).any(|pair| (pair[0].1 - pair[1].1).abs() > f64::EPSILON)));
        }
    }))
}

/// As Prometheus' `quantile_over_time` has it: between two points in proportion.
fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = share * (values.len() - 1) as f64;
    let (low, high) = (rank.floor() as usize, (rank.ceil() as usize).min(values.len() - 1));
    values[low] + (values[high] - values[low]) * (rank - rank.floor())
}

/// Simple linear regression, as Prometheus' `predict_linear`.
fn predict(points: &[(Timestamp, f64)], now: Timestamp, ahead: f64) -> f64 {
    let count = points.len() as f64;
    let xs = || points.iter().map(|(at, _)| at.duration_since(now).as_secs_f64());
    let (mean_x, mean_y) = (xs().sum::<f64>() / count, points.iter().map(|(_, y)| y).sum::<f64>() / count);
    let (mut covariance, mut variance) = (0.0, 0.0);
    for (x, (_, y)) in xs().zip(points) {
        covariance += (x - mean_x) * (y - mean_y);
        variance += (x - mean_x) * (x - mean_x);
    }
    let slope = if variance > 0.0 { covariance / variance } else { 0.0 };
    mean_y + slope * (ahead - mean_x)
}
