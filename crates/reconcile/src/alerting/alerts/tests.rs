//! What is counted as alerts change is what going through all of them would find.

// `json!` is handed on as it is made.
#![allow(clippy::disallowed_methods, clippy::needless_pass_by_value)]

use std::collections::BTreeMap;
use std::sync::Arc;

use crds::{Kind, Object};
use proptest::prelude::{ProptestConfig, Strategy, any, prop_oneof};
use proptest::{collection, prop_assert, prop_assert_eq, proptest};
use serde_json::{Value, json};

use super::*;
use crate::plan::Revision;

fn object(kind: Kind, name: &str, spec: Value) -> Arc<Object> {
    let labels = json!({"site": if name.ends_with(['0', '2', '4']) { "ams" } else { "fra" }});
    let value =
        json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": kind.as_str(), "metadata": {"name": name, "labels": labels}, "spec": spec});
    Arc::new(Object::from_value(kind, value).unwrap())
}

fn rule(name: &str, more: Value) -> Arc<Object> {
    let mut spec = json!({"expr": "usage.cpu.ratio > 0.9", "severity": "warning", "limit": 3});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    object(Kind::AlertRule, name, spec)
}

fn world(devices: usize) -> Desired {
    let device = |number: usize| object(Kind::Device, &format!("d{number}"), json!({"type": "Server", "address": "192.0.2.1"}));
    let notify = json!({"receivers": ["oncall"], "groupBy": ["site"], "wait": "30s", "interval": "1m", "repeat": "10m",
        "escalate": [{"after": "2m", "receivers": ["boss"]}]});
    let rules = [
        rule("plain", json!({"notify": notify})),
        rule("slow", json!({"for": "1m", "keepFiringFor": "1m", "noData": "Fire", "inhibitedBy": [{"rule": "plain"}]})),
        rule("wide", json!({"for": "30s", "limit": 100, "notify": notify, "inhibitedBy": [{"rule": "slow", "equal": ["site"]}]})),
    ];
    let receiver = |name: &str| object(Kind::Receiver, name, json!({"webhook": {"url": "https://example.com"}}));
    let objects = (0..devices).map(device).chain(rules).chain([receiver("oncall"), receiver("boss")]);
    let (desired, findings) = Desired::build(objects, Revision::default());
    assert!(!findings.iter().any(|finding| finding.stalls), "{findings:?}");
    desired
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn says(wrong: u8) -> Verdict {
    Verdict::of([Truth::True, Truth::False, Truth::unknown("away")][usize::from(wrong % 3)].clone(), Some(0.95))
}

#[derive(Clone, Debug)]
enum Event {
    Verdict(u8, u8, u8),
    Wait(u16),
    Acknowledge(u8),
    Leave(u8),
    Rules,
    Restart(u16),
    Clock(i16),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (0..3_u8, 0..6_u8, any::<u8>()).prop_map(|(rule, device, wrong)| Event::Verdict(rule, device, wrong)),
        6 => (1..200_u16).prop_map(Event::Wait),
        1 => any::<u8>().prop_map(Event::Acknowledge),
        1 => (0..6_u8).prop_map(Event::Leave),
        1 => proptest::strategy::Just(Event::Rules),
        1 => (0..200_u16).prop_map(Event::Restart),
        1 => (-500..500_i16).prop_map(Event::Clock),
    ]
}

/// By going through everything, when time alone could change what is said of a group: no later than that it is looked at.
fn due(alerts: &Alerts) -> Option<Timestamp> {
    let due = alerts.groups.values().map(|group| {
        let at = group.look_again(alerts.all().filter(|alert| alert.group.as_ref() == Some(&group.key)));
        alerts.held_until(group).map_or(at, |until| at.max(until))
    });
    due.min()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_counted_is_what_there_is(events in collection::vec(event(), 1..80)) {
        let (full, rules) = (world(6), ["plain", "slow", "wide"].map(Name::parse));
        let (mut desired, mut now, mut seconds) = (full.clone(), at(0), 0);
        let observed = Observed::default();
        let mut alerts = Alerts::default();
        let (mut instances, mut groups) = (BTreeMap::<Key, Instance>::new(), BTreeMap::<String, Group>::new());
        let mut shown: BTreeMap<Name, Vec<AlertSeen>> = BTreeMap::new();
        for event in events {
            macro_rules! around { () => { Around { desired: &desired, observed: &observed, silences: &[] } } }
            match event {
                Event::Verdict(rule, device, wrong) => {
                    alerts.verdict(around!(), &rules[usize::from(rule)], &Name::parse(&format!("d{device}")), &says(wrong), now);
                }
                Event::Wait(by) => {
                    seconds += i64::from(by);
                    now = at(seconds);
                }
                Event::Acknowledge(which) => {
                    let ids: Vec<String> = alerts.all().map(|alert| alert.id.clone()).collect();
                    if let Some(id) = ids.get(usize::from(which) % ids.len().max(1)) {
                        let until = now.checked_add(SignedDuration::from_mins(3)).unwrap();
                        // Every other time it is taken back.
                        if alerts.unacknowledge(id, "ann", now).is_err() {
                            let _ = alerts.acknowledge(id, Acknowledged { by: "ann".into(), comment: "mine".into(), at: now, until });
                        }
                    }
                }
                Event::Leave(device) => {
                    let name = Name::parse(&format!("d{device}"));
                    desired = desired.update([((Kind::Device, name.clone()), None)], Revision::default()).0;
                    alerts.devices_in_force(around!(), &[name].into(), now);
                }
                Event::Rules => {
                    desired = full.clone();
                    alerts.in_force(around!(), now);
                }
                Event::Restart(by) => {
                    seconds += i64::from(by);
                    now = at(seconds);
                    alerts = Alerts::restore(instances.values().cloned().collect(), groups.values().cloned().collect(), None, now);
                }
                Event::Clock(by) => {
                    seconds += i64::from(by);
                    now = at(seconds);
                    alerts.clock_set(SignedDuration::from_secs(by.into()));
                }
            }
            alerts.pass(around!(), now);
            let changes = alerts.take_changes();
            for (key, instance) in changes.instances {
                let seen = alerts.seen(&key.1);
                shown.insert(key.1.clone(), seen);
                match instance {
                    Some(instance) => drop(instances.insert(key, instance)),
                    None => drop(instances.remove(&key)),
                }
            }
            for (key, group) in changes.groups {
                match group {
                    Some(group) => drop(groups.insert(key, group)),
                    None => drop(groups.remove(&key)),
                }
            }
            prop_assert!(alerts.instances.is_counted());
            // What was patched from the changes is what there is, but for what time alone moves.
            prop_assert_eq!(instances.keys().collect::<Vec<_>>(), alerts.instances.iter().map(|(key, _)| key).collect::<Vec<_>>());
            let mut seen: BTreeMap<Name, Vec<AlertSeen>> = BTreeMap::new();
            for ((rule, device), alert) in alerts.instances.iter().filter(|(_, alert)| alert.state == AlertState::Firing) {
                let since = alert.fired_at.unwrap_or(alert.active_at);
                seen.entry(device.clone()).or_default().push(AlertSeen {
 rule: rule.clone(), severity: alert.subject.severity, since, summary: alert.subject.summary.clone() });
            }
            shown.retain(|_, seen| !seen.is_empty());
            prop_assert_eq!(&shown, &seen);
            let waits = alerts.all().any(|alert| alert.state == AlertState::Pending || alert.well_since.is_some());
            prop_assert_eq!(alerts.waits(), waits);
            let live = |rule: &Name| alerts.instances.iter().filter(|((of, _), alert)| of == rule && alert.state != AlertState::Resolved).count();
            for rule in &rules {
                prop_assert_eq!(alerts.instances.live(rule), live(rule));
            }
            // Nothing is looked at too late, and nothing that is due stays.
            prop_assert!(due(&alerts).is_none_or(|due| alerts.look_again().is_some_and(|at| at <= due)), "{:?} {:?}", due(&alerts), alerts.look_again());
            prop_assert!(alerts.look_again().is_none_or(|at| at > now), "{:?} at {now}", alerts.look_again());
        }
    }
}

/// A device that is added while the engine runs has been looked at by nobody yet: that it says nothing means nothing.
#[test]
fn a_device_that_comes_later_settles_too() {
    let (desired, observed) = (world(2), Observed::default());
    let around = Around { desired: &desired, observed: &observed, silences: &[] };
    let (slow, mut alerts) = (Name::parse("slow"), Alerts::default());
    let [new, old] = ["d0", "d1"].map(Name::parse);
    alerts.settle_device(&new, at(0));
    for device in [&new, &old] {
        alerts.verdict(around, &slow, device, &says(2), at(1));
    }
    alerts.pass(around, at(61));
    assert!(alerts.get(&(slow.clone(), new.clone())).is_none(), "`noData: Fire` waits");
    assert_eq!(alerts.get(&(slow.clone(), old.clone())).unwrap().state, AlertState::Firing);
    assert_eq!(alerts.look_again(), Some(at(120)));
    alerts.pass(around, at(120));
    assert_eq!(alerts.get(&(slow.clone(), new.clone())).unwrap().state, AlertState::Pending);
    assert!(alerts.missing.is_empty() && alerts.settling.is_empty());
}

/// Fires, is well, is pending once more and cleared: how often it changed is not forgotten with it, and for no longer than it counts.
#[test]
fn what_changed_before_counts_when_it_begins_anew() {
    let (desired, observed) = (world(1), Observed::default());
    let around = Around { desired: &desired, observed: &observed, silences: &[] };
    let (wide, device, mut alerts) = (Name::parse("wide"), Name::parse("d0"), Alerts::default());
    let key = (wide.clone(), device.clone());
    let say = |alerts: &mut Alerts, wrong: u8, second: i64| {
        alerts.verdict(around, &wide, &device, &says(wrong), at(second));
        alerts.pass(around, at(second));
    };
    let mut minute = 0;
    // Each time it fires, is well, is wrong again for less than it has to be, and so gone: that alone would never flap.
    while !alerts.get(&key).is_some_and(|alert| alert.flaps.flapping) && minute < 40 {
        for (wrong, second) in [(0, 0), (0, 31), (1, 60), (0, 90), (1, 100)] {
            say(&mut alerts, wrong, minute * 60 + second);
        }
        if minute == 0 {
            assert!(alerts.get(&key).is_none() && alerts.past.contains_key(&key));
        }
        minute += 2;
    }
    assert!((4..16).contains(&minute), "it flaps after {minute} minutes");
    // It comes to rest, and nothing is kept of it.
    for later in 0..60 {
        say(&mut alerts, 1, (minute + later) * 60);
    }
    assert!(alerts.get(&key).is_none() && alerts.past.is_empty() && alerts.forgotten.is_empty());
}

/// However long it flaps, what is news about it is bounded.
#[test]
fn what_flaps_is_news_when_it_begins_and_ends() {
    let (desired, observed) = (world(1), Observed::default());
    let around = Around { desired: &desired, observed: &observed, silences: &[] };
    let (plain, device, mut alerts) = (Name::parse("plain"), Name::parse("d0"), Alerts::default());
    let mut news = Vec::new();
    let mut take = |alerts: &mut Alerts| {
        let of = |happening: &Happening| matches!(happening.transition, Transition::Firing | Transition::Resolved) && !happening.held;
        news.extend(alerts.take_changes().happenings.into_iter().filter(of).map(|happening| happening.transition));
        news.len()
    };
    let mut before = 0;
    for second in 0..7200 {
        alerts.verdict(around, &plain, &device, &says(u8::from(second / 10 % 2 == 1)), at(second));
        alerts.pass(around, at(second));
        let now = take(&mut alerts);
        if second == 600 {
            before = now;
        }
        assert!(second <= 600 || now == before, "{now} at {second}");
    }
    assert!((12..80).contains(&before), "{before} until it was known to flap");
    assert!(alerts.get(&(plain, device)).unwrap().decisions.len() <= super::super::state::DECISIONS);
}

#[test]
fn what_is_remembered_of_what_is_over_is_bounded() {
    let mut alerts = Alerts::default();
    let mut flaps = Flaps::default();
    flaps.changed(at(0));
    for number in 0..PAST + 5 {
        alerts.remember(&(Name::parse("plain"), Name::parse(&format!("d{number:06}"))), flaps.clone(), at(1));
    }
    assert_eq!((alerts.past.len(), alerts.forgotten.len()), (PAST, PAST));
    assert!(!alerts.past.contains_key(&(Name::parse("plain"), Name::parse("d000000"))), "the first ones go");
}

#[test]
fn an_acknowledgement_can_be_taken_back() {
    let (desired, observed) = (world(1), Observed::default());
    let around = Around { desired: &desired, observed: &observed, silences: &[] };
    let (mut alerts, key) = (Alerts::default(), (Name::parse("plain"), Name::parse("d0")));
    alerts.verdict(around, &key.0, &key.1, &says(0), at(0));
    alerts.pass(around, at(0));
    let id = alerts.get(&key).unwrap().id.clone();
    assert_eq!(alerts.unacknowledge(&id, "bob", at(1)), Err(Refused::NotAcknowledged(id.clone())));
    let acknowledged = Acknowledged { by: "ann".into(), comment: "mine".into(), at: at(1), until: at(600) };
    alerts.acknowledge(&id, acknowledged).unwrap();
    drop(alerts.take_changes());
    assert_eq!(alerts.unacknowledge(&id, "bob", at(2)), Ok(key.clone()));
    let alert = alerts.get(&key).unwrap();
    assert!(alert.acknowledged.is_none() && alert.decisions.iter().any(|decision| decision.text.contains("taken back by bob")));
    assert!(alerts.take_changes().instances.contains_key(&key), "it is stored");
    assert!(matches!(alerts.unacknowledge("nobody", "bob", at(3)), Err(Refused::Unknown(_))));
}
