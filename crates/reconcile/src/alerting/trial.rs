//! A rule's own tests, run in virtual time: promtool's model, for one device.

mod notation;

use std::collections::BTreeMap;

use crds::{AlertState, AlertTest, Duration};
use jiff::{SignedDuration, Timestamp};

use super::expr;
use super::expr::{DeploymentField, Inputs, Rollouts, Term, named};
use super::history::History;
use super::rule::Rule;
use super::state::{Instance, Subject, Verdict, advance};
use crate::desired::{Access, Check, Device, Probe, Way};
use crate::name::Name;
use crate::observed::{Contact, DeviceSeen, ProbeSeen, ProbeState};
use crate::usage::{Series, Usage};

pub use notation::{Value, values};

/// Values of one series in a test.
pub const VALUES: usize = 10_000;
/// Looks at the rule in one test.
const LOOKS: usize = 20_000;
/// When virtual time begins.
const START: i64 = 1_767_225_600;

/// What a test names: a series, a probe or a label, with what it is over time.
#[derive(Debug, Default)]
struct Given {
    series: BTreeMap<Series, Vec<Value>>,
    probes: BTreeMap<String, Vec<Value>>,
    deployments: BTreeMap<String, Vec<Value>>,
    labels: BTreeMap<String, String>,
}

/// Runs a test. An error is what is wrong with the test, or what came out instead, in words.
pub fn run(rule: &Rule, test: &AlertTest) -> Result<(), String> {
    let interval = test.interval.map_or(SignedDuration::from_mins(1), |interval| interval.0);
    if !interval.is_positive() {
        return Err("interval: 0s between two values leads nowhere".into());
    }
    if test.at.0.as_millis() / interval.as_millis() >= VALUES as i128 {
        return Err(format!("at: {} are more than {VALUES} intervals", test.at));
    }
    let given = read(test)?;
    let mut world = World::new(rule, &given);
    let (story, instance) = world.play(rule, &given, interval, test.at.0);
    let state = instance.as_ref().map_or(AlertState::Inactive, |instance| instance.state);
    if state == test.expect {
        return Ok(());
    }
    let word = |state: AlertState| format!("{state:?}").to_lowercase();
    Err(format!("at {} it is {}, not {}: {}", test.at, word(state), word(test.expect), story))
}

fn read(test: &AlertTest) -> Result<Given, String> {
    let mut given = Given::default();
    for (name, text) in &test.given {
        let read = || values(text).map_err(|wrong| format!("given `{name}`: {wrong}"));
        match named(name) {
            Some(Term::Series(series)) => {
                given.series.insert(series, read()?);
                continue;
            }
            Some(Term::Deployment(unit, DeploymentField::Phase)) => {
                given.deployments.insert(unit, read()?);
                continue;
            }
            _ => {}
        }
        let path = name.strip_prefix("device.").filter(|rest| rest.starts_with("usage.")).unwrap_or(name);
        if let Some(label) = path.strip_prefix("device.labels.") {
            given.labels.insert(label.to_owned(), text.clone());
        } else if let Some(probe) = bracketed(path, "probes", "state") {
            given.probes.insert(probe.to_owned(), values(text).map_err(|wrong| format!("given `{name}`: {wrong}"))?);
        } else {
            let series = path.strip_prefix("usage.").unwrap_or(path).replace("[\"", "[").replace("\"]", "]");
            let series: Series = series.parse().map_err(|error| {
                format!("given `{name}`: {error}; or probes[\"web\"].state, logs[\"Failed password\"].matches, device.labels.role")
            })?;
            given.series.insert(series, values(text).map_err(|wrong| format!("given `{name}`: {wrong}"))?);
        }
    }
    Ok(given)
}

/// The name in brackets of `of["name"].field`.
fn bracketed<'a>(path: &'a str, of: &str, field: &str) -> Option<&'a str> {
    let name = path.strip_prefix(of)?.strip_prefix('[')?.strip_suffix(field)?.strip_suffix("].")?;
    Some(name.trim_matches('"'))
}

/// One device in virtual time.
struct World {
    device: Device,
    seen: DeviceSeen,
    usage: Option<Usage>,
    deployments: BTreeMap<String, expr::Given>,
    history: History,
    instance: Option<Instance>,
    subject: Subject,
    story: Vec<String>,
}

impl World {
    fn new(rule: &Rule, given: &Given) -> Self {
        let mut labels = rule.selector.match_labels.clone();
        labels.extend(given.labels.clone());
        let probe = |name: &String| Probe {
            name: name.clone(),
            check: Check::Tcp { port: 1, send: None, expect: None },
            interval: SignedDuration::from_secs(15),
            timeout: SignedDuration::from_secs(5),
            failures: 1,
            successes: 1,
            way: Way::default(),
        };
        let device = Device {
            name: rule.name.sibling("test"),
            device_type: crds::DeviceType::Server,
            address: "192.0.2.1".into(),
            labels: labels.clone().into(),
            parents: Vec::new(),
            access: Access::None,
            probes: given.probes.keys().map(probe).collect(),
            metrics: None,
            logs: Default::default(),
            maintenance: Vec::new(),
            suspend: false,
            vars: BTreeMap::new(),
        };
        let subject = Subject {
            rule: rule.name.clone(),
            device: Name::parse("test"),
            severity: rule.severity,
            labels,
            summary: String::new(),
            last_change: None,
            behind: 0,
            lines: Vec::new(),
        };
        let seen = DeviceSeen { contact: Contact::Known, ..DeviceSeen::default() };
        Self {
            device,
            seen,
            usage: None,
            deployments: BTreeMap::new(),
            history: History::default(),
            instance: None,
            subject,
            story: Vec::new(),
        }
    }

    /// Lets time go on, value by value, and from timer to timer between them.
    fn play(&mut self, rule: &Rule, given: &Given, interval: SignedDuration, end: SignedDuration) -> (String, Option<Instance>) {
        let start = Timestamp::from_second(START).unwrap_or(Timestamp::UNIX_EPOCH);
        let after = |by: SignedDuration| start.checked_add(by).unwrap_or(Timestamp::MAX);
        let (end, mut now, mut next, mut step) = (after(end), start, start, 0usize);
        for _ in 0..LOOKS {
            if now >= next {
                self.set(rule, given, step, now);
                step += 1;
                next = after(interval.saturating_mul(i32::try_from(step).unwrap_or(i32::MAX)));
            }
            let again = self.look(rule, start, now);
            if now >= end {
                break;
            }
            let soon = again.filter(|at| *at > now).map_or(next, |at| at.min(next));
            now = soon.min(end);
        }
        let story = if self.story.is_empty() { "its condition never held".to_owned() } else { self.story.join(", ") };
        (story, self.instance.take())
    }

    /// What is seen at a step.
    fn set(&mut self, rule: &Rule, given: &Given, step: usize, now: Timestamp) {
        let read: BTreeMap<Series, f64> = given
            .series
            .iter()
            .filter_map(|(series, values)| match values.get(step) {
                Some(Value::Number(number)) => Some((series.clone(), *number)),
                _ => None,
            })
            .collect();
        if !read.is_empty() {
            let usage = Usage { at: now, values: read };
            self.history.push(&usage, &rule.looks_back_at());
            self.usage = Some(usage);
        }
        for (unit, values) in &given.deployments {
            if let Some(Value::Phase(phase)) = values.get(step).or(values.last()) {
                let since = self.deployments.get(unit).filter(|before| before.phase == *phase).map_or(now, |before| before.since);
                self.deployments.insert(unit.clone(), expr::Given { phase, since });
            } else {
                self.deployments.remove(unit);
            }
        }
        for (name, values) in &given.probes {
            let state = match values.get(step).or(values.last()) {
                Some(Value::Ok) => ProbeState::Ok,
                Some(Value::Fail) => ProbeState::Fail,
                _ => ProbeState::Unknown,
            };
            let before = self.seen.probes.get(name).filter(|before| before.state == state).and_then(|before| before.since);
            let seen = ProbeSeen { state, since: before.or(Some(now)), seen_at: Some(now), ..ProbeSeen::default() };
            self.seen.probes.insert(name.clone(), Box::new(seen));
        }
    }

    fn look(&mut self, rule: &Rule, start: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let inputs = Inputs {
            device: &self.device,
            seen: Some(&self.seen),
            usage: self.usage.as_ref(),
            history: &self.history,
            rollouts: Rollouts::Given(&self.deployments),
            now,
        };
        let (verdict, again): (Verdict, _) = rule.verdict(&inputs);
        let advanced = advance(&rule.timing, self.instance.as_ref(), &self.subject, &verdict, &[], now);
        let since = Duration::from(now.duration_since(start));
        for transition in &advanced.transitions {
            self.story.push(format!("{} at {since}", format!("{transition:?}").to_lowercase()));
            // A test that goes on for days is told by how it ends.
            if self.story.len() > 8 {
                self.story.remove(0);
            }
        }
        self.instance = advanced.instance;
        again.into_iter().chain(advanced.look_again).min()
    }
}
