//! CEL itself: the parser for all expressions, the interpreter for those that do not come down to the small form.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use cel::{Context, Env, IdedExpr, Value};

use super::SQUARED;

/// Elements of a list among a device's variables: a loop in a loop goes through their square.
const LISTED: usize = 256;
/// Bytes of a text among them: each element of a loop may be put together with it some hundred times.
const LETTERS: usize = 1024;
use super::paths::{Many, Wrong};
use super::rollouts::FIELDS;
use super::term::{Inputs, ProbeField, Scalar, Term, fresh, probe_field};
use crate::alerting::truth::Truth;
use crate::usage::{Metric, Of, Series};

/// CEL's own operators and functions.
static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// The parser goes down its grammar by recursion: the 2048 bytes of an expression are up to a thousand steps, each some kilobytes.
const STACK: usize = 64 << 20;

/// Reads an expression, on a stack of its own: a hostile one must not bring down whoever checks it.
pub(super) fn parse(text: &str) -> Result<IdedExpr, Wrong> {
    let read = || Env::stdlib().parser().parse(text).map_err(|errors| said(&errors));
    let failed = |what: &str| Wrong::new(format!("it can't be read: {what}"), "write it more simply");
    std::thread::scope(|scope| {
        let reading = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, read);
        let reading = reading.map_err(|error| failed(&error.to_string()))?;
        reading.join().unwrap_or_else(|_| Err(failed("the parser gave up")))
    })
}

fn said(errors: &cel::ParseErrors) -> Wrong {
    let lines: Vec<String> = errors.to_string().lines().filter(|line| line.starts_with("ERROR")).map(str::to_owned).collect();
    let first = lines.first().cloned().unwrap_or_else(|| errors.to_string());
    let what: String = first.trim_start_matches("ERROR: ").chars().filter(|c| !c.is_control()).take(200).collect();
    Wrong::new(format!("it can't be read: {what}"), "write CEL, such as `usage.memory.ratio > 0.9`")
}

/// A rewritten expression: each term is a variable `@t0`, `@t1` …, each map one of its own.
#[derive(Clone, Debug)]
pub(super) struct Fallback {
    expr: IdedExpr,
    maps: BTreeSet<Many>,
    loops: usize,
}

/// The variable of a term.
pub(super) fn variable(at: usize) -> String {
    format!("@t{at}")
}

impl Fallback {
    pub(super) fn new(expr: IdedExpr, maps: BTreeSet<Many>, loops: usize) -> Self {
        Self { expr, maps, loops }
    }

    /// What it goes through.
    pub(super) fn maps(&self) -> impl Iterator<Item = &Many> {
        self.maps.iter()
    }

    /// Whether it goes through Deployments.
    pub(super) fn asks_for_rollouts(&self) -> bool {
        self.maps.contains(&Many::Deployments)
    }

    /// Whether it goes through readings.
    pub(super) fn reads(&self) -> bool {
        self.maps.iter().any(|map| matches!(map, Many::Disks | Many::Interfaces))
    }

    /// What it comes to. A variable that is missing is an error, which `&&` and `||` absorb where the other side decides.
    pub(super) fn truth(&self, terms: &[Term], inputs: &Inputs<'_>) -> Truth {
        let mut context = Context::with_env(ENV.clone());
        let mut missing = BTreeMap::new();
        for (at, term) in terms.iter().enumerate() {
            match term.value(inputs).and_then(cel_value) {
                Ok(value) => context.add_variable_from_value(variable(at), value),
                Err(reason) => drop(missing.insert(variable(at), reason)),
            }
        }
        for map in &self.maps {
            match whole(*map, inputs, self.loops) {
                Ok(value) => context.add_variable_from_value(map.variable(), value),
                Err(reason) => drop(missing.insert(map.variable().to_owned(), reason)),
            }
        }
        match Value::resolve(&self.expr, &context) {
            Ok(Value::Bool(holds)) => Truth::of(holds),
            Ok(_) => Truth::unknown("it comes to something that is neither true nor false"),
            Err(cel::ExecutionError::UndeclaredReference(name)) => {
                Truth::unknown(missing.remove(name.as_str()).unwrap_or_else(|| format!("`{name}` is not known")))
            }
            Err(cel::ExecutionError::NoSuchKey(key)) => Truth::unknown(format!("`{key}` is not there")),
            Err(error) => Truth::unknown(error.to_string()),
        }
    }
}

fn cel_value(value: Scalar<'_>) -> Result<Value, String> {
    Ok(match value {
        Scalar::Number(number) => Value::Float(number),
        Scalar::Text(text) => text.into_owned().into(),
        Scalar::Flag(flag) => Value::Bool(flag),
        Scalar::Json(json) => plain(json)?,
    })
}

/// A variable of Git's as CEL has it; numbers are numbers, whether or not they were written with a point.
fn plain(json: &serde_json::Value) -> Result<Value, String> {
    Ok(match json {
        serde_json::Value::Bool(flag) => Value::Bool(*flag),
        serde_json::Value::Number(number) => Value::Float(number.as_f64().ok_or("a number that is too large")?),
        serde_json::Value::String(text) if text.len() > LETTERS => {
            return Err(format!("a var that is longer than {LETTERS} bytes"));
        }
        serde_json::Value::String(text) => text.clone().into(),
        serde_json::Value::Array(list) if list.len() > LISTED => {
            return Err(format!("a var with {} elements, more than {LISTED}", list.len()));
        }
        serde_json::Value::Array(list) => list.iter().map(plain).collect::<Result<Vec<_>, _>>()?.into(),
        serde_json::Value::Null | serde_json::Value::Object(_) => return Err("a var that is neither text, number nor list".into()),
    })
}

/// A whole map, for loops.
fn whole(map: Many, inputs: &Inputs<'_>, loops: usize) -> Result<Value, String> {
    let entries: Vec<(String, Value)> = match map {
        Many::Labels => inputs.device.labels.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect(),
        Many::Vars => inputs.device.vars.iter().filter_map(|(key, value)| Some((key.clone(), plain(value).ok()?))).collect(),
        Many::Disks => readings(Of::Disk, inputs)?,
        Many::Interfaces => readings(Of::Interface, inputs)?,
        Many::Probes => probes(inputs),
        Many::Deployments => deployments(inputs)?,
    };
    if loops > 1 && entries.len() > SQUARED {
        return Err(format!("{} are too many for a loop in a loop: {SQUARED} at most", entries.len()));
    }
    Ok(entries.into_iter().collect::<std::collections::HashMap<_, _>>().into())
}

fn readings(of: Of, inputs: &Inputs<'_>) -> Result<Vec<(String, Value)>, String> {
    let mut items: BTreeMap<&str, std::collections::HashMap<String, Value>> = BTreeMap::new();
    for (series, value) in fresh(inputs)?.values.iter().filter(|(series, value)| series.metric.of() == of && value.is_finite()) {
        let field = series.metric.name().split_once('.').map_or("", |(_, field)| field);
        items.entry(&series.item).or_default().insert(field.to_owned(), Value::Float(*value));
    }
    Ok(items.into_iter().map(|(item, fields)| (item.to_owned(), fields.into())).collect())
}

fn deployments(inputs: &Inputs<'_>) -> Result<Vec<(String, Value)>, String> {
    let one = |unit: String| {
        let known = FIELDS.iter().filter_map(|(word, field)| {
            let value = inputs.rollouts.value(inputs.device, &unit, *field).and_then(cel_value).ok()?;
            Some(((*word).to_owned(), value))
        });
        let fields: std::collections::HashMap<String, Value> = known.collect();
        (unit, fields.into())
    };
    Ok(inputs.rollouts.units(inputs.device)?.into_iter().map(one).collect())
}

/// A field that is not known is not there: asking for it is an error, and so unknown.
fn probes(inputs: &Inputs<'_>) -> Vec<(String, Value)> {
    let fields =
        [("state", ProbeField::State), ("since", ProbeField::Since), ("reason", ProbeField::Reason), ("lastOk", ProbeField::LastOk)];
    let one = |name: &String| {
        let seen = inputs.seen.and_then(|seen| seen.probes.get(name));
        let known = fields.iter().filter_map(|(word, field)| {
            let value = probe_field(name, *field, seen?).and_then(cel_value).ok()?;
            Some(((*word).to_owned(), value))
        });
        let took = Metric::ALL.iter().filter(|metric| metric.is_of_probes()).filter_map(|metric| {
            let seconds = inputs.usage?.values.get(&Series::item(*metric, name))?;
            Some((metric.name().split_once('.')?.1.to_owned(), Value::Float(*seconds)))
        });
        let fields: std::collections::HashMap<String, Value> = known.chain(took).collect();
        (name.clone(), fields.into())
    };
    inputs.device.probes.iter().map(|probe| one(&probe.name)).collect()
}
