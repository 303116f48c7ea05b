//! Alerts that are over, as they were when they came to be well.

use axum::extract::State;
use crds::Severity;
use jiff::Timestamp;
use reconcile::alerting::state::Instance;
use schemars::JsonSchema;
use serde::Serialize;
use store::{ALERTS_KEPT, Behind};

use super::super::answer::{self, Answer};
use super::super::asked::{Asked, LIST, short};
use super::super::fleet::contains;
use super::super::gate::{Param, param};
use super::super::sight::{Seen, Sight};
use super::{Alert, word};
use crate::problem::Problem;
use crate::shared::{Shared, read};
use crate::view::View;

/// Alerts that are read at once, and that one question looks through: whoever searches farther goes on with `cursor`.
const PAGE: usize = 1000;
const LOOKED: usize = 20_000;

pub(super) const QUERY: [Param; 9] = {
    let [limit, cursor, namespace, selector, q, _, _] = LIST;
    let since =
        param("since", "Only what came to be well since then: an instant, or a time back such as `7d`; 30 days back if nothing is said.");
    let severity = param("severity", "Only these: `critical`, `warning`, `info`; several with commas between.");
    let rule = param("rule", "Only of this AlertRule: `NAMESPACE/NAME`, or `NAME` in `default`.");
    let device = param("device", "Only on this device: `NAMESPACE/NAME`, or `NAME` in `default`.");
    [limit, cursor, namespace, selector, q, since, severity, rule, device]
};

/// A page of alerts that are over.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AlertHistory")]
pub(super) struct List {
    /// Those that came to be well last first.
    items: Vec<Alert>,
    /// Where the next page goes on; null: there is nothing before.
    cursor: Option<String>,
}

/// `GET /alerts/history`
pub(super) async fn list(State(shared): State<Shared>, Seen(sight): Seen, asked: Asked) -> Answer {
    let (limit, words, selector, severities) = (asked.limit()?, asked.search()?, asked.selector()?, severities(&asked)?);
    let (rule, device, now) = (asked.name("rule"), asked.name("device"), Timestamp::now());
    let since = asked.instant("since", now)?.unwrap_or_else(|| now.checked_sub(ALERTS_KEPT).unwrap_or(Timestamp::MIN));
    let mut behind = asked.one("cursor").map(place).transpose()?;
    // Each alert asks for its device.
    sight.devices().await;
    let wanted = |alert: &Instance| {
        let subject = &alert.subject;
        let has = |word: &String| {
            let texts = [subject.rule.name(), subject.device.name()];
            // What is hidden is not found either.
            contains(&sight.masked(&subject.summary), word)
                || texts.into_iter().chain(subject.labels.values().map(String::as_str)).any(|text| contains(text, word))
        };
        (severities.is_empty() || severities.contains(&subject.severity))
            && rule.as_ref().is_none_or(|rule| subject.rule == *rule)
            && device.as_ref().is_none_or(|device| subject.device == *device)
            && asked.one("namespace").is_none_or(|namespace| subject.device.namespace() == namespace)
            && selector.matches(&subject.labels)
            && words.iter().all(has)
            && sight.sees_device(&subject.device)
    };
    let (mut found, mut looked, mut is_end) = (Vec::new(), 0, false);
    while found.len() < limit && looked < LOOKED && !is_end {
        // One more than is wanted says whether there is more; the first look is a short one, since mostly nothing is left out.
        let page = if looked == 0 { limit.min(PAGE - 1) + 1 } else { PAGE };
        let alerts = shared.store.past_alerts(since, behind.as_ref(), page).await?;
        is_end = alerts.len() < page;
        looked += alerts.len();
        for alert in alerts {
            if found.len() >= limit {
                is_end = false;
                break;
            }
            behind = Some((alert.resolved_at.unwrap_or(alert.active_at), alert.id.clone()));
            if wanted(&alert) {
                found.push(alert);
            }
        }
    }
    let cursor = behind.filter(|_| !is_end).map(|(at, id)| answer::cursor(0, &format!("{at} {id}")));
    let items = read(&shared, |view| found.iter().map(|alert| past(view, &sight, alert)).collect());
    answer::document(&asked, &List { items, cursor })
}

/// One that is over: what is behind its device now is not what was so then.
pub(super) fn past(view: &View, sight: &Sight, alert: &Instance) -> Alert {
    Alert { behind: 0, root: None, ..Alert::of(view, sight, alert) }
}

fn place(text: &str) -> Result<Behind, Box<Problem>> {
    let wrong = || Problem::bad("cursor: take it from the answer before");
    let (_, place) = answer::opened(text).ok_or_else(wrong)?;
    let (at, id) = place.split_once(' ').ok_or_else(wrong)?;
    Ok((at.parse().map_err(|_| wrong())?, id.to_owned()))
}

fn severities(asked: &Asked) -> Result<Vec<Severity>, Box<Problem>> {
    let severity = |text: &str| {
        let known = [Severity::Critical, Severity::Warning, Severity::Info].into_iter().find(|known| word(known) == text);
        known.ok_or_else(|| Problem::bad(format!("severity: `{}` is none of critical, warning, info", short(text))))
    };
    asked.words("severity").map(severity).collect()
}
