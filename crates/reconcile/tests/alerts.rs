//! Alerts in virtual time: stories in `alerts/*.yaml`, what comes of them in a text beside each. `UPDATE=1` writes the texts anew.
//!
//! A timeline is a list of what happens when. Between that, time goes from one instant at which something could change to the next, as
//! in the engine. Everything that changes goes through JSON into a store of the test's own, and a restart begins with what lies there.

// The core reads no files; its stories do. `json!` is handed on as it is made.
#![allow(clippy::disallowed_methods, clippy::needless_pass_by_value)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crds::{Duration, Kind, Object};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::{ProptestConfig, Strategy, any, prop_oneof};
use proptest::sample::select;
use proptest::{collection, prop_assert, prop_assert_eq, proptest};
use reconcile::alerting::alerts::{Alerts, Around, Key};
use reconcile::alerting::expr::{Inputs, Rollouts};
use reconcile::alerting::groups::Group;
use reconcile::alerting::history::History;
use reconcile::alerting::state::{Acknowledged, Instance, Transition, Verdict};
use reconcile::alerting::suppress::Silence;
use reconcile::alerting::{Notice, Said, Truth};
use reconcile::{Contact, Desired, DeviceSeen, Metric, Name, Observed, Placement, Revision, Series, Usage};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Story {
    about: String,
    /// Merged into the rule of each timeline.
    #[serde(default)]
    rule: serde_json::Map<String, Value>,
    timelines: Vec<Timeline>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Timeline {
    name: String,
    #[serde(default)]
    rule: serde_json::Map<String, Value>,
    /// Further rules, by name.
    #[serde(default)]
    rules: BTreeMap<String, serde_json::Map<String, Value>>,
    /// Whether the rule tells anybody; a story of states need not.
    #[serde(default)]
    quiet: bool,
    /// Devices beyond a, b and c: so many of them.
    #[serde(default)]
    fleet: usize,
    /// Whether what is said of each is shown.
    #[serde(default)]
    summaries: bool,
    events: Vec<BTreeMap<String, String>>,
}

const START: i64 = 1_767_225_600;

fn start() -> Timestamp {
    Timestamp::from_second(START).unwrap()
}

fn after(text: &str) -> Timestamp {
    start().checked_add(duration(text)).unwrap()
}

fn duration(text: &str) -> SignedDuration {
    let (negative, text) = text.strip_prefix('-').map_or((false, text.trim_start_matches('+')), |rest| (true, rest));
    let span = text.parse::<Duration>().unwrap_or_else(|error| panic!("{text}: {error}")).0;
    if negative { -span } else { span }
}

fn object(kind: Kind, name: &str, labels: Value, spec: Value) -> Arc<Object> {
    let value =
        json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": kind.as_str(), "metadata": {"name": name, "labels": labels}, "spec": spec});
    Arc::new(Object::from_value(kind, value).unwrap_or_else(|error| panic!("{name}: {error:?}")))
}

/// What a story plays in.
struct World {
    desired: Desired,
    observed: Observed,
    silences: Vec<Silence>,
    alerts: Alerts,
    stored_instances: BTreeMap<Key, String>,
    stored_groups: BTreeMap<String, String>,
    last: BTreeMap<Key, Verdict>,
    now: Timestamp,
    /// What the clock was set by.
    skew: SignedDuration,
    ids: BTreeSet<String>,
    /// What each receiver believes to fire, from its notices alone.
    believed: BTreeMap<Name, BTreeSet<String>>,
    names: BTreeMap<String, String>,
    summaries: bool,
    /// What so many devices do is not told one by one.
    crowd: bool,
    text: String,
}

impl World {
    fn new(story: &Story, timeline: &Timeline) -> Self {
        let mut objects = vec![object(Kind::Device, "sw", json!({"site": "ams"}), json!({"type": "Network", "address": "10.0.0.1"}))];
        let device = |name: &str, site: &str, parents: Value| {
            let spec =
                json!({"type": "Server", "address": "10.0.0.2", "parents": parents, "probes": [{"name": "web", "tcp": {"port": 80}}]});
            object(Kind::Device, name, json!({"site": site, "role": "web"}), spec)
        };
        objects.extend([device("a", "ams", json!(["sw"])), device("b", "ams", json!(["sw"])), device("c", "fra", json!([]))]);
        objects.extend((0..timeline.fleet).map(|number| device(&format!("f{number:02}"), &format!("s{number:02}"), json!([]))));
        for receiver in ["oncall", "boss", "chat"] {
            objects.push(object(Kind::Receiver, receiver, json!({}), json!({"webhook": {"url": "https://example.com"}})));
        }
        for (receiver, format) in [("am", "Alertmanager"), ("pager", "PagerDuty")] {
            let spec = json!({"webhook": {"url": "https://example.com", "format": format, "secretRef": {"name": "hook"}}});
            objects.push(object(Kind::Receiver, receiver, json!({}), spec));
        }
        objects.push(rule("web", &[&story.rule, &timeline.rule], timeline.quiet));
        objects.extend(timeline.rules.iter().map(|(name, spec)| rule(name, &[&story.rule, spec], timeline.quiet)));
        let (desired, findings) = Desired::build(objects, Revision::default());
        assert!(!findings.iter().any(|finding| finding.stalls), "{}: {findings:?}", timeline.name);
        Self {
            desired,
            observed: Observed::default(),
            silences: Vec::new(),
            alerts: Alerts::default(),
            stored_instances: BTreeMap::new(),
            stored_groups: BTreeMap::new(),
            last: BTreeMap::new(),
            now: start(),
            skew: SignedDuration::ZERO,
            ids: BTreeSet::new(),
            believed: BTreeMap::new(),
            names: BTreeMap::new(),
            summaries: timeline.summaries,
            crowd: timeline.fleet > 100,
            text: String::new(),
        }
    }

    fn update(&mut self, key: (Kind, &str), object: Option<Arc<Object>>) {
        let key = (key.0, Name::parse(key.1));
        self.desired = self.desired.update([(key, object)], Revision::default()).0;
        self.with(|alerts, around, now| alerts.in_force(around, now));
    }

    fn with(&mut self, act: impl FnOnce(&mut Alerts, Around<'_>, Timestamp)) {
        let around = Around { desired: &self.desired, observed: &self.observed, silences: &self.silences };
        act(&mut self.alerts, around, self.now);
        self.store();
    }

    /// Goes from instant to instant at which time alone could change something.
    fn until(&mut self, end: Timestamp) {
        for step in 0.. {
            assert!(step < 20_000, "time stands still at {}", self.now);
            let Some(at) = self.alerts.look_again().filter(|at| *at <= end) else { break };
            self.now = self.now.max(at);
            self.with(|alerts, around, now| alerts.pass(around, now));
        }
        self.now = end;
    }

    fn store(&mut self) {
        let changes = self.alerts.take_changes();
        for happening in &changes.happenings {
            let device = happening.key.1.to_string();
            let rule = happening.key.0.to_string();
            let of = if rule == "web" { device } else { format!("{device}/{rule}") };
            self.names.insert(happening.id.clone(), of.clone());
            let instance = self.alerts.get(&happening.key);
            let why = match happening.transition {
                Transition::Suppressed => instance.map(|alert| format!(": {}", list(&alert.suppressed))).unwrap_or_default(),
                Transition::FlappingBegan => instance.map(|alert| format!(" ({:.1} %)", alert.flaps.percent())).unwrap_or_default(),
                _ => String::new(),
            };
            let line = format!("{of} {}{}", words(happening.transition), self.shown(&why));
            if !self.crowd {
                self.say(&line);
            }
        }
        for (key, instance) in changes.instances {
            match instance {
                Some(instance) => drop(self.stored_instances.insert(key, serde_json::to_string(&instance).unwrap())),
                None => drop(self.stored_instances.remove(&key)),
            }
        }
        for (key, group) in changes.groups {
            match group {
                Some(group) => drop(self.stored_groups.insert(key, serde_json::to_string(&group).unwrap())),
                None => drop(self.stored_groups.remove(&key)),
            }
        }
        for notice in changes.notices {
            self.hear(&notice);
        }
    }

    fn hear(&mut self, notice: &Notice) {
        assert!(self.ids.insert(notice.id.clone()), "said twice under one id: {notice:?}");
        let believed = self.believed.entry(notice.receiver.clone()).or_default();
        believed.extend(notice.firing.iter().map(|said| said.id.clone()));
        for said in &notice.resolved {
            assert!(believed.remove(&said.id) || notice.left_off.1 > 0, "a resolve of what was never said to fire: {notice:?}");
        }
        let name = |said: &Said| {
            let name = self.names.get(&said.id).map_or("?", String::as_str);
            if said.behind > 0 { format!("{name} (+{} behind)", said.behind) } else { name.to_owned() }
        };
        let alerts = |said: &[Said]| {
            let names: Vec<String> = said.iter().map(&name).collect();
            if names.len() > 6 { format!("{} alerts", names.len()) } else { names.join(" ") }
        };
        let mut line = format!("-> {}: {:?}", notice.receiver, notice.reason);
        if !notice.firing.is_empty() {
            let _ = write!(line, ", firing {}", alerts(&notice.firing));
        }
        if !notice.resolved.is_empty() {
            let _ = write!(line, ", resolved {}", alerts(&notice.resolved));
        }
        for said in notice.firing.iter().filter(|_| self.summaries) {
            let _ = write!(line, " ({})", said.summary);
        }
        self.say(&line);
    }

    fn say(&mut self, line: &str) {
        let since = self.now.duration_since(start()) - self.skew;
        let _ = writeln!(self.text, "{:>10}  {line}", Duration::from(since).to_string());
    }

    /// Instants as time since the start.
    fn shown(&self, text: &str) -> String {
        let word = |word: &str| {
            let (bare, rest) = word.split_at(word.find([',', ')']).unwrap_or(word.len()));
            bare.parse::<Timestamp>()
                .map_or(word.to_owned(), |at| format!("{}{rest}", Duration::from(at.duration_since(start()) - self.skew)))
        };
        text.split(' ').map(word).collect::<Vec<_>>().join(" ")
    }

    /// Something happens.
    fn event(&mut self, event: &str) {
        let words: Vec<&str> = event.split_whitespace().collect();
        match words.as_slice() {
            ["end"] => {}
            ["silence", "until", until] => self.silences.push(silence("all", after(until).checked_add(self.skew).unwrap(), None)),
            ["silence", device, "until", until] => {
                self.silences.push(silence("one", after(until).checked_add(self.skew).unwrap(), Some(device)));
            }
            ["unsilence"] => self.silences.clear(),
            ["maintenance", device, span] => {
                // It begins now, once.
                let zoned = self.now.to_zoned(jiff::tz::TimeZone::UTC);
                let schedule = format!("{} {} {} {} *", zoned.minute(), zoned.hour(), zoned.day(), zoned.month());
                let spec = json!({"type": "Server", "address": "10.0.0.2", "maintenance": [{"schedule": schedule, "duration": span, "reason": "disks"}]});
                self.update((Kind::Device, device), Some(object(Kind::Device, device, json!({"site": "ams", "role": "web"}), spec)));
            }
            [act @ ("suspend" | "unsuspend"), receiver] => {
                let spec = json!({"webhook": {"url": "https://example.com"}, "suspend": *act == "suspend"});
                self.update((Kind::Receiver, receiver), Some(object(Kind::Receiver, receiver, json!({}), spec)));
            }
            ["dead", device] => {
                self.contact(device, Contact::Unreachable { since: self.now, reason: "no route".into(), code: Default::default() });
            }
            ["alive", device] => self.contact(device, Contact::Known),
            ["rollout", device, phase] => self.rollout(device, phase),
            ["why", device] => {
                let alert = self.alerts.get(&(Name::parse("web"), Name::parse(device)));
                let decisions = alert.map(|alert| alert.decisions.clone()).unwrap_or_default();
                for decision in decisions.iter().filter(|decision| !decision.receiver.is_empty()) {
                    let text = self.shown(&decision.text);
                    self.say(&format!("   {device} to {}: {text}", decision.receiver));
                }
            }
            ["ack", device, span] => self.acknowledge(device, span),
            ["restart"] => self.restart(SignedDuration::ZERO, true),
            ["restart", span] => self.restart(duration(span), true),
            ["restart", span, "blind"] => self.restart(duration(span), false),
            ["clock", by] => {
                let by = duration(by);
                self.now = self.now.checked_add(by).unwrap();
                self.skew += by;
                self.with(|alerts, _, _| alerts.clock_set(by));
            }
            // Nobody noticed.
            ["clock", by, "unseen"] => {
                let by = duration(by);
                self.now = self.now.checked_add(by).unwrap();
                self.skew += by;
            }
            ["delete", "rule", rule] => self.update((Kind::AlertRule, rule), None),
            ["delete", device] => self.update((Kind::Device, device), None),
            ["relabel", device, site] => {
                let spec = json!({"type": "Server", "address": "10.0.0.2", "probes": [{"name": "web", "tcp": {"port": 80}}]});
                self.update((Kind::Device, device), Some(object(Kind::Device, device, json!({"site": site, "role": "web"}), spec)));
            }
            ["rule", ..] => {
                let spec: serde_json::Map<String, Value> = serde_yaml::from_str(event.trim_start_matches("rule")).unwrap();
                self.update((Kind::AlertRule, "web"), Some(rule("web", &[&spec], false)));
            }
            ["fleet", word] => {
                let devices: Vec<String> =
                    self.desired.devices.keys().map(ToString::to_string).filter(|name| name.starts_with('f')).collect();
                devices.iter().for_each(|device| self.verdict("web", device, word, None));
            }
            [device, word] => self.verdict("web", device, word, None),
            [device, "of", rule, word] => self.verdict(rule, device, word, None),
            [device, word, value] => self.verdict("web", device, word, Some(value.parse().unwrap())),
            _ => panic!("not understood: {event}"),
        }
    }

    fn verdict(&mut self, rule: &str, device: &str, word: &str, value: Option<f64>) {
        let unknown = || Truth::unknown("nobody looked");
        let (wrong, well) = match word {
            "wrong" => (Truth::True, Truth::False),
            "well" => (Truth::False, Truth::True),
            "between" => (Truth::False, Truth::False),
            "unknown" | "early" => (unknown(), unknown()),
            _ => panic!("{word}"),
        };
        let verdict = Verdict { wrong, well, value, early: word == "early" };
        let (rule, device) = (Name::parse(rule), Name::parse(device));
        self.last.insert((rule.clone(), device.clone()), verdict.clone());
        self.with(|alerts, around, now| alerts.verdict(around, &rule, &device, &verdict, now));
        let over = self.alerts.over_limit(&rule);
        if over > 0 {
            self.say(&format!("no room for {over}"));
        }
    }

    fn contact(&mut self, device: &str, contact: Contact) {
        self.observed.devices.insert(Name::parse(device), Arc::new(DeviceSeen { contact, ..DeviceSeen::default() }));
    }

    fn rollout(&mut self, device: &str, phase: &str) {
        if !self.desired.deployments.contains_key(&Name::parse("app")) {
            let spec = json!({"selector": {"matchLabels": {"role": "web"}}, "package": {"apt": {"name": "nginx", "version": "1"}}});
            self.update((Kind::Deployment, "app"), Some(object(Kind::Deployment, "app", json!({}), spec)));
        }
        let placement: Placement =
            serde_json::from_value(json!({"revision": 1, "digest": "d", "phase": phase, "since": self.now, "step": "s"})).unwrap();
        let rollout = Arc::make_mut(self.observed.rollouts.entry(Name::parse("app")).or_default());
        rollout.placements.insert(Name::parse(device), placement);
    }

    fn acknowledge(&mut self, device: &str, span: &str) {
        let key = (Name::parse("web"), Name::parse(device));
        let id = self.alerts.get(&key).map(|alert| alert.id.clone()).unwrap_or_default();
        let acknowledged =
            Acknowledged { by: "ann".into(), comment: "on it".into(), at: self.now, until: self.now.checked_add(duration(span)).unwrap() };
        match self.alerts.acknowledge(&id, acknowledged) {
            Ok(_) => self.say(&format!("{device} acknowledged")),
            Err(refused) => self.say(&format!("{device} not acknowledged: {}", refused.to_string().replace(&id, "it"))),
        }
        self.store();
    }

    /// The process is killed, and another one begins after a while with what lies in the store.
    fn restart(&mut self, away: SignedDuration, looks: bool) {
        self.say(&if away.is_zero() { "killed, and back".to_owned() } else { format!("killed, and back after {}", Duration::from(away)) });
        let alive_at = self.now;
        self.now = self.now.checked_add(away).unwrap();
        let instances: Vec<Instance> = self.stored_instances.values().map(|text| serde_json::from_str(text).unwrap()).collect();
        let groups: Vec<Group> = self.stored_groups.values().map(|text| serde_json::from_str(text).unwrap()).collect();
        self.alerts = Alerts::restore(instances, groups, Some(alive_at), self.now);
        self.with(|alerts, around, now| alerts.pass(around, now));
        if looks {
            for ((rule, device), verdict) in self.last.clone() {
                self.with(|alerts, around, now| alerts.verdict(around, &rule, &device, &verdict, now));
            }
        }
    }
}

fn silence(name: &str, until: Timestamp, site: Option<&str>) -> Silence {
    let match_labels = site.map(|site| ("site".to_owned(), site.to_owned())).into_iter().collect();
    Silence { name: Name::parse(name), match_labels, devices: None, until, reason: "known".into() }
}

fn rule(name: &str, specs: &[&serde_json::Map<String, Value>], quiet: bool) -> Arc<Object> {
    let mut spec = json!({"selector": {"matchLabels": {"role": "web"}}, "expr": "probes[\"web\"].state == \"fail\"", "severity": "critical",
        "notify": {"receivers": ["oncall"], "groupBy": ["site"]}});
    for (key, value) in specs.iter().copied().flatten() {
        match (spec.get_mut(key).and_then(Value::as_object_mut), value.as_object()) {
            (Some(known), Some(value)) if key == "notify" => known.extend(value.clone()),
            _ => spec[key] = value.clone(),
        }
    }
    if quiet {
        spec.as_object_mut().unwrap().remove("notify");
    }
    object(Kind::AlertRule, name, json!({}), spec)
}

fn list(by: &[reconcile::alerting::suppress::Suppressor]) -> String {
    by.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn words(transition: Transition) -> &'static str {
    match transition {
        Transition::Pending => "pending",
        Transition::Firing => "firing",
        Transition::Resolved => "resolved",
        Transition::Cleared => "cleared",
        Transition::Withdrawn => "pending again",
        Transition::FlappingBegan => "flapping",
        Transition::FlappingEnded => "flaps no more",
        Transition::Suppressed => "suppressed",
        Transition::Unsuppressed => "suppressed no more",
        Transition::AcknowledgementEnded => "acknowledgement ended",
        Transition::Forgotten => "forgotten",
    }
}

fn play(story: &Story, timeline: &Timeline) -> String {
    let mut world = World::new(story, timeline);
    for event in &timeline.events {
        for (at, what) in event {
            let at = after(at).checked_add(world.skew).unwrap();
            world.until(at);
            what.split(';').for_each(|what| world.event(what.trim()));
            world.with(|alerts, around, now| alerts.pass(around, now));
        }
    }
    let fires: BTreeSet<String> = world.alerts.all().filter(|alert| alert.counts_as_firing()).map(|alert| alert.id.clone()).collect();
    for (receiver, believed) in &world.believed {
        let wrongly: Vec<_> = believed.difference(&fires).collect();
        if !wrongly.is_empty() {
            let _ = writeln!(world.text, "            {receiver} still believes that {} fire", wrongly.len());
        }
    }
    format!("# {}\n{}", timeline.name, world.text)
}

fn stories() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/alerts");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files
}

#[test]
fn each_story_goes_as_it_is_written() {
    let mut differ = Vec::new();
    for file in stories() {
        let story: Story =
            serde_yaml::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let told: Vec<String> = story.timelines.iter().map(|timeline| play(&story, timeline)).collect();
        let text = format!("{}\n\n{}", story.about.trim(), told.join("\n"));
        let expected = file.with_extension("txt");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&expected, &text).unwrap();
        } else if std::fs::read_to_string(&expected).unwrap_or_default() != text {
            differ.push(format!("{}:\n{text}", file.display()));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

/// A rule that looks back ten minutes, with readings each half minute; the process is killed after so many of them, and is back at once.
/// The store lost what was read in the last so many seconds, and what it has comes after the first look, if it comes at all.
fn looking_back(killed_at: Option<usize>, lost: i64, refilled: bool) -> String {
    let rule = json!({"expr": "avg(usage.cpu.ratio, \"10m\") > 0.9", "for": "5m", "keepFiringFor": "0s"});
    let story = Story { about: String::new(), rule: rule.as_object().unwrap().clone(), timelines: Vec::new() };
    let timeline = Timeline {
        name: String::new(),
        rule: Default::default(),
        rules: Default::default(),
        quiet: true,
        fleet: 0,
        summaries: false,
        events: Vec::new(),
    };
    let mut world = World::new(&story, &timeline);
    let (name, a, cpu) = (Name::parse("web"), Name::parse("a"), Series::of(Metric::CpuRatio));
    let rule = world.desired.rules[&name].clone();
    let look = |world: &mut World, history: &History, usage: Option<&Usage>| {
        let device = world.desired.devices[&a].clone();
        let inputs = Inputs { device: &device, seen: None, usage, history, rollouts: Rollouts::Unknown, now: world.now };
        let (verdict, _) = rule.verdict(&inputs);
        world.with(|alerts, around, now| alerts.verdict(around, &name, &a, &verdict, now));
        world.with(|alerts, around, now| alerts.pass(around, now));
    };
    let (mut history, mut stored) = (History::default(), Vec::new());
    history.begin(&rule.looks_back_at(), world.now);
    for reading in 0..100_usize {
        world.until(start().checked_add(SignedDuration::from_secs(30 * reading as i64)).unwrap());
        if Some(reading) == killed_at {
            world.restart(SignedDuration::ZERO, false);
            let kept = world.now.checked_sub(SignedDuration::from_secs(lost)).unwrap();
            stored.retain(|(at, _)| *at <= kept);
            history = History::default();
            history.begin(&rule.looks_back_at(), world.now);
            look(&mut world, &history, None);
            if refilled {
                history.before(&cpu, &stored);
            }
        }
        // Wrong in the middle, and well at the end.
        let value = if (30..70).contains(&reading) { 0.99 } else { 0.2 };
        let usage = Usage { at: world.now, values: [(cpu.clone(), value)].into() };
        history.push(&usage, &rule.looks_back_at());
        stored.push((world.now, value));
        look(&mut world, &history, Some(&usage));
    }
    world.text.lines().filter(|line| !line.contains("killed")).map(|line| format!("{line}\n")).collect()
}

/// Its windows are there again, so that a restart at any moment changes nothing: neither while it waits to fire, nor while it fires. Without
/// them it is blind for half a window.
#[test]
fn a_restart_loses_no_window() {
    let unbroken = looking_back(None, 0, false);
    assert_eq!(
        unbroken.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>(),
        ["24m  a pending", "29m  a firing", "36m  a resolved"]
    );
    for killed_at in 35..70 {
        assert_eq!(looking_back(Some(killed_at), 0, true), unbroken, "killed at reading {killed_at}");
        // What a kill takes from the store leaves a hole, and the window goes on beyond it.
        let holed = looking_back(Some(killed_at), 240, true);
        assert_eq!(holed.matches(" a firing").count(), 1, "killed at reading {killed_at}: {holed}");
        assert_eq!(holed.matches(" a resolved").count(), 1, "killed at reading {killed_at}: {holed}");
    }
    assert_ne!(looking_back(Some(45), 0, false), unbroken);
}

/// The suite carries the semantics: it may grow, and not shrink.
#[test]
fn there_are_many_timelines() {
    let count = |file: &PathBuf| serde_yaml::from_str::<Story>(&std::fs::read_to_string(file).unwrap()).unwrap().timelines.len();
    let all: usize = stories().iter().map(count).sum();
    assert!(all >= 80, "{all} timelines");
}

/// One thing that may happen, and how long after the one before it.
fn happening() -> impl Strategy<Value = (&'static str, &'static str)> {
    let pause = select(vec!["0s", "5s", "40s", "2m", "6m", "25m", "2h"]);
    let event = prop_oneof![
        8 => select(vec!["a wrong", "b wrong", "c wrong", "a well", "b well", "c well"]),
        3 => select(vec!["a unknown", "b unknown", "a between", "c between"]),
        2 => select(vec!["unsilence", "dead sw", "alive sw", "rollout a applying", "rollout a applied", "ack a 1h", "ack b 10m"]),
        2 => select(vec!["restart", "restart 30s", "restart 10m", "restart 2h", "restart 1m blind"]),
        // Odd, so that no instant comes twice: what is said is known by when it began.
        1 => select(vec!["clock +1h7ms", "clock -1h13ms", "clock -10m3ms unseen"]),
        1 => select(vec![
            "delete b",
            "relabel c lon",
            "rule {for: 1m, notify: {escalate: [{after: 15m, receivers: [boss]}]}}",
            "rule {for: 0s, limit: 1, notify: {escalate: [{after: 15m, receivers: [boss]}]}}",
            "rule {notify: {groupBy: [], escalate: [{after: 15m, receivers: [boss]}]}}",
            "rule {notify: {routes: [{matchLabels: {site: ams}, hours: [{schedule: 0 2 * * *, duration: 1h}], receivers: [oncall]}], escalate: [{after: 15m, receivers: [boss]}]}}",
            "rule {expr: usage.memry.ratio > 1}",
        ]),
    ];
    (pause, event)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever happens: nothing is said twice under one id, nothing is said to be well that was not said to fire (both are asserted
    /// where a notice is heard), and in the end, when all is well, everybody who was told that something fires was told that.
    #[test]
    fn every_resolve_arrives(happenings in collection::vec((happening(), any::<bool>()), 1..25), minutes in 0..3u8, no_data in select(vec!["Keep", "Fire", "Resolve"])) {
        let rule = json!({"for": format!("{minutes}m"), "keepFiringFor": format!("{minutes}m"), "noData": no_data, "notify": {"escalate": [{"after": "15m", "receivers": ["boss"]}]}});
        let story = Story { about: String::new(), rule: rule.as_object().unwrap().clone(), timelines: Vec::new() };
        let timeline = Timeline { name: "random".into(), rule: Default::default(), rules: Default::default(), quiet: false, fleet: 0, summaries: false, events: Vec::new() };
        let mut world = World::new(&story, &timeline);
        for ((pause, event), silenced) in happenings {
            let at = world.now.checked_add(duration(pause)).unwrap();
            world.until(at);
            if silenced && event.ends_with("wrong") {
                let until = world.now.checked_add(duration("10m")).unwrap();
                world.silences.push(silence("all", until, None));
            }
            world.event(event);
            world.with(|alerts, around, now| alerts.pass(around, now));
        }
        world.event("rule {notify: {escalate: [{after: 15m, receivers: [boss]}]}}");
        for device in ["a", "b", "c"] {
            world.verdict("web", device, "well", None);
        }
        let end = world.now.checked_add(duration("24h")).unwrap();
        world.until(end);
        let believed: Vec<_> = world.believed.iter().filter(|(_, firing)| !firing.is_empty()).collect();
        prop_assert!(believed.is_empty(), "{:?} was never told that all is well:\n{}", believed, world.text);
        prop_assert_eq!(world.alerts.all().count(), 0, "{}", world.text);
        prop_assert_eq!(world.alerts.groups().count(), 0, "{}", world.text);
        prop_assert!(world.stored_instances.is_empty() && world.stored_groups.is_empty(), "{}", world.text);
    }
}
