//! What AlertRules, Receivers and Silences come to: whom they concern, how it stands with that now, and who is told.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use crds::{AlertState, Kind, Object};
use jiff::{SignedDuration, Timestamp};
use reconcile::alerting::expr::{Inputs, Rollouts};
use reconcile::alerting::groups::Routing;
use reconcile::alerting::history::History;
use reconcile::alerting::receiver::Channel;
use reconcile::alerting::rule::Rule;
use reconcile::alerting::state::{Decision, Instance};
use reconcile::alerting::suppress::{Silence, Suppressor};
use reconcile::alerting::text::{cut, neutral};
use reconcile::alerting::{Receiver, Truth};
use reconcile::{Device, Name, Target};
use store::NoticeRow;

use super::{ALERTS, Sees, sees_suppressor, stalled};
use crate::view::View;

/// Devices that a rule is asked of to say how it stands.
const ASKED: usize = 5000;
/// Decisions and notifications that are shown, the newest.
const SAID: usize = 5;
/// Characters of an expression or a summary.
const TEXT: usize = 300;

/// An AlertRule: what it asks of how many devices, what fires, who is told.
pub(super) fn rule(view: &View, name: &Name, sees: Sees<'_>, now: Timestamp) -> Option<String> {
    let target = Target::Object(Kind::AlertRule, name.clone());
    let is_written = view.desired.objects.contains_key(&(Kind::AlertRule, name.clone()));
    let Some(rule) = view.desired.rules.get(name) else {
        let mut text = format!("alertrule/{name} can't be used as it is written, and never was in force\n");
        stalled(&mut text, view, &target);
        return (is_written || view.desired.stalled.contains_key(&target)).then_some(text);
    };
    let devices: Vec<&Arc<Device>> =
        view.desired.devices.values().filter(|device| rule.applies_to(device) && sees(Kind::Device, &device.name)).collect();
    let mut text = format!("alertrule/{name} ({}) asks {}\n", severity(rule), counted(devices.len(), "device"));
    if rule.suspend {
        text.push_str("  suspended: nobody is asked; cleared by a commit that takes `suspend` back\n");
    } else if devices.is_empty() {
        text.push_str("  no device has the labels of its selector: it can never fire\n");
    }
    stalled(&mut text, view, &target);
    let _ = writeln!(text, "  wrong when {}", cut(&neutral(rule.expr.text()), TEXT));
    if let Some(recover) = &rule.recover {
        let _ = writeln!(text, "  well when {}", cut(&neutral(recover.text()), TEXT));
    }
    let timing = &rule.timing;
    let keeps = match timing.keep_firing_for {
        SignedDuration::ZERO => String::new(),
        keeps => format!(", goes on for {} after it is well", long(keeps)),
    };
    let _ = writeln!(text, "  fires after {}{keeps}; what is not known means {:?}", long(timing.hold_for), timing.no_data);
    standing(&mut text, view, rule, &devices, now);
    let mut alerts: Vec<&Instance> =
        view.alerts.iter().filter(|alert| alert.subject.rule == *name && sees(Kind::Device, &alert.subject.device)).collect();
    alerts.sort_by_key(|alert| (!alert.counts_as_firing(), alert.state != AlertState::Pending, alert.fired_at.unwrap_or(alert.active_at)));
    for alert in alerts.iter().take(ALERTS) {
        instance(&mut text, alert, sees);
    }
    if let Some(more @ 1..) = alerts.len().checked_sub(ALERTS) {
        let _ = writeln!(text, "  and {more} more: evenkeel alerts --all");
    }
    if let Some(beyond) = view.beyond_limit.get(name) {
        let _ = writeln!(text, "  its limit of {} is reached: {} not alerted on", rule.limit, are(*beyond));
    }
    for other in &rule.inhibited_by {
        let on = if other.equal.is_empty() { "the same device".into() } else { format!("one with the same {}", other.equal.join(", ")) };
        let _ = writeln!(text, "  not said while alertrule/{} fires on {on}", other.rule);
    }
    for silence in silences(view).filter(|silence| silence.until > now) {
        let hit = devices.iter().filter(|device| mutes(&silence, device, rule, now)).count();
        if hit > 0 {
            let (until, reason) = (silence.until, cut(&neutral(&silence.reason), TEXT));
            let (on, is_seen) = (counted(hit, "device"), sees(Kind::Silence, &silence.name));
            let _ = match is_seen {
                true => writeln!(text, "  silence/{} mutes it on {on} until {until:.0}: {reason}", silence.name),
                false => writeln!(text, "  a silence that you may not see mutes it on {on} until {until:.0}"),
            };
        }
    }
    match &rule.routing {
        Some(routing) => told(&mut text, view, routing, sees),
        None => text.push_str("  tells nobody: it has no `notify`\n"),
    }
    let mut decisions: Vec<(&Decision, &Instance)> = alerts
        .iter()
        .flat_map(|alert| alert.decisions.iter().map(move |decision| (decision, *alert)))
        .filter(|(decision, _)| !decision.receiver.is_empty() && sees(Kind::Receiver, &Name::parse(&decision.receiver)))
        .collect();
    decisions.sort_by_key(|(decision, _)| std::cmp::Reverse(decision.at));
    for (decision, alert) in decisions.iter().take(SAID) {
        let Decision { at, receiver, text: said } = decision;
        let _ = writeln!(text, "  {at:.0} to {receiver} about device/{}: {}", alert.subject.device, neutral(said));
    }
    Some(text)
}

/// What the rule says of its devices now. What it said over a time is not at hand here.
fn standing(text: &mut String, view: &View, rule: &Rule, devices: &[&Arc<Device>], now: Timestamp) {
    if devices.is_empty() {
        return;
    }
    if !rule.looks_back_at().is_empty() {
        text.push_str("  it looks back in time, so only its alerts say how it stands\n");
        return;
    }
    let history = History::default();
    let rollouts = Rollouts::Known { desired: &view.desired, observed: &view.observed, deferred: &view.deferred };
    let (mut wrong, mut unknown) = (0, BTreeMap::<String, (usize, &Name)>::new());
    for device in devices.iter().take(ASKED) {
        let usage = view.usages.latest(&device.name);
        let seen = view.observed.devices.get(&device.name).map(|seen| &**seen);
        let inputs = Inputs { device, seen, usage: usage.as_deref(), history: &history, rollouts, now };
        match rule.expr.truth(&inputs) {
            Truth::True => wrong += 1,
            Truth::False => {}
            Truth::Unknown(why) => unknown.entry(why).or_insert((0, &device.name)).0 += 1,
        }
    }
    let asked = devices.len().min(ASKED);
    let not_known: usize = unknown.values().map(|(count, _)| count).sum();
    let _ = writeln!(text, "  now: wrong on {wrong}, not wrong on {}, not known on {not_known}", asked - wrong - not_known);
    let mut unknown: Vec<_> = unknown.into_iter().collect();
    unknown.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    for (why, (count, first)) in unknown.iter().take(3) {
        let others = if *count > 1 { format!(" and {} more", count - 1) } else { String::new() };
        let _ = writeln!(text, "       not known on device/{first}{others}: {}", cut(&neutral(why), TEXT));
    }
}

/// One line for an alert.
fn instance(text: &mut String, alert: &Instance, sees: Sees<'_>) {
    let (word, since) = match alert.state {
        AlertState::Firing => ("fires", alert.fired_at),
        AlertState::Pending => ("is pending", Some(alert.active_at)),
        AlertState::Resolved | AlertState::Inactive => ("is well again", alert.resolved_at),
    };
    let since = since.unwrap_or(alert.seen_at);
    let by = alert.acknowledged.as_ref().map(|by| format!(" ({} looks after it)", neutral(&by.by))).unwrap_or_default();
    let why = |by: &Suppressor| if sees_suppressor(by, sees) { neutral(&by.to_string()) } else { "by what you may not see".into() };
    let quiet = alert.suppressed.first().map(|by| format!("; not said for now: {}", why(by))).unwrap_or_default();
    let subject = &alert.subject;
    let _ = writeln!(
        text,
        "  device/{} {word} since {since:.0}: {}{by}{quiet} [evenkeel alerts why {}]",
        subject.device,
        neutral(&subject.summary),
        alert.id
    );
}

/// Who is told of a rule's alerts, and how often.
fn told(text: &mut String, view: &View, routing: &Routing, sees: Sees<'_>) {
    let mut levels = BTreeMap::<(usize, SignedDuration), Vec<String>>::new();
    for (route, after) in routing.routes() {
        levels.entry((route.level, after)).or_default().push(route.receiver.to_string());
    }
    for ((level, after), receivers) in &levels {
        let when = match level {
            0 if routing.routes.is_empty() => "tells".to_owned(),
            0 => "tells, as its routes say,".to_owned(),
            _ => format!("tells, {} after that and if nobody has acknowledged it,", long(*after)),
        };
        let _ = writeln!(text, "  {when} {}", receivers.join(", "));
    }
    let groups = match routing.group_by.as_slice() {
        [] => "in one message".to_owned(),
        by => format!("in one message for each {}", by.join(" and ")),
    };
    let (wait, interval, repeat) = (long(routing.wait), long(routing.interval), long(routing.repeat));
    let _ = writeln!(text, "  {groups}: the first after {wait}, then news each {interval}, and again after {repeat}");
    for lost in view.outbox.standing.lost.iter().filter(|lost| sees(Kind::Receiver, &lost.receiver)) {
        if routing.routes().any(|(route, _)| route.receiver == lost.receiver) {
            let _ = writeln!(text, "  receiver/{} could not be told since {:.0}: {}", lost.receiver, lost.since, neutral(&lost.problem));
        }
    }
}

/// A Receiver: how it is reached, of what it hears, and whether it does.
pub(super) fn receiver(view: &View, name: &Name, sees: Sees<'_>) -> Option<String> {
    let Object::Receiver(object) = &**view.desired.objects.get(&(Kind::Receiver, name.clone()))? else { return None };
    let (usable, wrong) = Receiver::of(name, &object.spec);
    let mut text = match usable.as_ref().map(|receiver| &receiver.channel) {
        Some(Channel::Email(mail)) => {
            format!("receiver/{name} gets e-mail at {}, by {}:{}\n", mail.to.join(", "), mail.host, mail.port)
        }
        Some(Channel::Sms(sms)) => format!("receiver/{name} gets SMS at {}, by {}\n", sms.to.join(", "), place(&sms.url)),
        Some(Channel::Webhook(webhook)) => {
            let to = webhook.url.as_deref().map_or_else(|| "a URL in its Secret".into(), place);
            format!("receiver/{name} gets requests ({:?}) at {to}\n", webhook.format)
        }
        None => format!("receiver/{name} can't be used as it is written: nothing is sent\n"),
    };
    for wrong in wrong {
        let _ = writeln!(text, "  {}: {}; {}", wrong.path, neutral(&wrong.message), wrong.help);
    }
    stalled(&mut text, view, &Target::Object(Kind::Receiver, name.clone()));
    if usable.as_ref().is_some_and(|receiver| receiver.suspend) {
        text.push_str("  suspended: nothing is sent; cleared by a commit that takes `suspend` back\n");
    }
    let before = text.len();
    let mut hidden = 0;
    for rule in view.desired.rules.values() {
        let routes = rule.routing.iter().flat_map(Routing::routes).filter(|(route, _)| route.receiver == *name);
        for (route, after) in routes {
            if !sees(Kind::AlertRule, &rule.name) {
                hidden += 1;
                continue;
            }
            let when = if route.level == 0 { String::new() } else { format!(", {} later if nobody has acknowledged it", long(after)) };
            let _ = writeln!(text, "  told by alertrule/{}{when}", rule.name);
        }
    }
    for ((_, other), object) in view.desired.objects.range((Kind::Receiver, Name::new("", ""))..) {
        let Object::Receiver(object) = &**object else { break };
        if object.spec.fallback.as_ref().is_some_and(|fallback| other.sibling(fallback) == *name) {
            if !sees(Kind::Receiver, other) {
                hidden += 1;
                continue;
            }
            let _ = writeln!(text, "  told what receiver/{other} can't be told");
        }
    }
    if hidden > 0 {
        text.push_str("  told by what you may not see\n");
    } else if text.len() == before {
        text.push_str("  no AlertRule names it: it is never told anything\n");
    }
    if let Some(fallback) = usable.as_ref().and_then(|receiver| receiver.fallback.as_ref()) {
        let _ = writeln!(text, "  what can't be said here is told to receiver/{fallback}");
    }
    for lost in view.outbox.standing.lost.iter().filter(|lost| lost.receiver == *name) {
        let (count, since, problem) = (lost.count, lost.since, neutral(&lost.problem));
        let _ = writeln!(text, "  {} given up since {since:.0}: {problem}", counted(usize::try_from(count).unwrap_or(0), "notification"));
    }
    let _ = writeln!(text, "  evenkeel receivers test {name} tries it out");
    Some(text)
}

/// The newest notifications of a receiver, among these.
pub(crate) fn notices(text: &mut String, receiver: &Name, rows: &[NoticeRow]) {
    for row in rows.iter().filter(|row| row.notice.receiver == *receiver).take(SAID) {
        let outcome = match (row.is_dead, row.finished_at) {
            (true, _) => "given up",
            (false, Some(_)) => "said",
            (false, None) => "waits",
        };
        let notice = &row.notice;
        let left_off = |left: u32| usize::try_from(left).unwrap_or(0);
        let (firing, over) = (notice.firing.len() + left_off(notice.left_off.0), notice.resolved.len() + left_off(notice.left_off.1));
        let problem = if row.problem.is_empty() { String::new() } else { format!(": {}", cut(&neutral(&row.problem), TEXT)) };
        let tries = counted(usize::try_from(row.attempts).unwrap_or(0), "try").replace("trys", "tries");
        let _ = writeln!(
            text,
            "  {:.0} {:?}: {firing} fire, {over} well again; {outcome} after {tries}{problem}",
            row.recorded_at, notice.reason
        );
    }
}

/// A Silence: what it mutes, and until when.
pub(super) fn silence(view: &View, name: &Name, sees: Sees<'_>, now: Timestamp) -> Option<String> {
    let Object::Silence(object) = &**view.desired.objects.get(&(Kind::Silence, name.clone()))? else { return None };
    let silence = Silence::of(name, &object.spec);
    let labels: Vec<String> = silence.match_labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let with = if labels.is_empty() { String::new() } else { format!(" with {}", labels.join(",")) };
    let own =
        view.desired.devices.values().filter(|device| device.name.namespace() == name.namespace() && sees(Kind::Device, &device.name));
    let devices = own.filter(|device| silence.devices.as_ref().is_none_or(|of| of.matches(&device.labels))).count();
    let (until, reason) = (silence.until, cut(&neutral(&silence.reason), TEXT));
    let mut text = if until <= now {
        format!("silence/{name} ended at {until:.0}: it mutes nothing any more, and can be deleted\n")
    } else {
        let left = long(SignedDuration::from_secs(until.duration_since(now).as_secs()));
        format!("silence/{name} mutes alerts{with} on {}, for {left}, until {until:.0}\n", counted(devices, "device"))
    };
    let _ = writeln!(text, "  {reason}");
    stalled(&mut text, view, &Target::Object(Kind::Silence, name.clone()));
    let is_muted = |alert: &&Instance| {
        let subject = &alert.subject;
        let own = view.desired.devices.get(&subject.device).map(|device| &device.labels);
        own.is_some_and(|own| silence.mutes((&subject.device, own), (&subject.rule, &subject.labels), now))
            && sees(Kind::Device, &subject.device)
    };
    let muted: Vec<&Instance> = view.alerts.iter().filter(|alert| alert.counts_as_firing()).filter(is_muted).collect();
    for alert in muted.iter().take(ALERTS) {
        let Instance { subject, id, .. } = alert;
        let summary = neutral(&subject.summary);
        let _ = writeln!(text, "  mutes alertrule/{} on device/{}: {summary} [evenkeel alerts why {id}]", subject.rule, subject.device);
    }
    match muted.len().checked_sub(ALERTS) {
        Some(more @ 1..) => drop(writeln!(text, "  and {more} more")),
        None if muted.is_empty() && until > now => text.push_str("  nothing that fires now is muted by it\n"),
        _ => {}
    }
    Some(text)
}

fn silences(view: &View) -> impl Iterator<Item = Silence> + '_ {
    let from = (Kind::Silence, Name::new("", ""));
    view.desired.objects.range(from..).map_while(|((_, name), object)| match &**object {
        Object::Silence(silence) => Some(Silence::of(name, &silence.spec)),
        _ => None,
    })
}

fn mutes(silence: &Silence, device: &Device, rule: &Rule, now: Timestamp) -> bool {
    let mut labels = (*device.labels).clone();
    labels.extend(rule.labels.clone());
    silence.mutes((&device.name, &device.labels), (&rule.name, &labels), now)
}

fn severity(rule: &Rule) -> String {
    format!("{:?}", rule.severity).to_lowercase()
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn are(count: usize) -> String {
    if count == 1 { "1 more device is".into() } else { format!("{count} more devices are") }
}

fn long(duration: SignedDuration) -> String {
    crds::Duration::from(duration).to_string()
}

/// Where a URL leads: the rest of it may be a secret.
fn place(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    format!("{scheme}://{}", neutral(host.rsplit('@').next().unwrap_or_default()))
}

#[cfg(test)]
mod tests;
