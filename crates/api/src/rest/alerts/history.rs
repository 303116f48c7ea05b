//! Alerts that are over, as they were when they came to be well.

use axum::extract::State;
use axum::http::StatusCode;
use crds::Severity;
use jiff::Timestamp;
use reconcile::alerting::state::Instance;
use schemars::JsonSchema;
use serde::Serialize;
use store::{ALERTS_KEPT, Behind, Past};

use super::super::answer::{self, Answer};
use super::super::asked::{Asked, LIST, short};
use super::super::fleet::contains;
use super::super::gate::{Param, param};
use super::super::seal;
use super::super::sight::{Seen, Sight};
use super::{Alert, word};
use crate::problem::Problem;
use crate::shared::{Shared, read};
use crate::turns::Turns;
use crate::view::View;

/// Alerts that are read at once, and that one question looks through: whoever searches farther goes on with `cursor`.
const PAGE: usize = 1000;
const LOOKED: usize = 20_000;
/// Questions that are looked into at once, however many ask: each may read tens of megabytes.
static TURNS: Turns = Turns::new(2, "others look through what is over just now: ask again");

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
    let behind = asked.one("cursor").map(|cursor| place(&sight, cursor)).transpose()?;
    // Each alert asks for its device; and who can see none of them is told so at once.
    let sees_none = sight.devices().await.is_empty() && !sight.sees_senders();
    if sees_none || device.as_ref().is_some_and(|device| !sight.sees_device(device)) {
        return answer::document(&asked, &List { items: Vec::new(), cursor: None });
    }
    let wanted = |alert: &Instance| {
        let subject = &alert.subject;
        let has = |word: &String| {
            let texts = [subject.rule.name(), subject.device.name()];
            // What is hidden is not found either.
            contains(&sight.masked(&subject.summary), word)
                || texts.into_iter().chain(subject.labels.values().map(String::as_str)).any(|text| contains(text, word))
        };
        (severities.is_empty() || severities.contains(&subject.severity))
            && asked.one("namespace").is_none_or(|namespace| subject.device.namespace() == namespace)
            && selector.matches(&subject.labels)
            && sight.sees_device(&subject.device)
            && words.iter().all(has)
    };
    let (found, next) = find(&shared, Past { since, behind, rule, device }, limit, &wanted).await?;
    let cursor = next.and_then(|next| cursor(&sight, &next));
    let items = read(&shared, |view| found.iter().map(|alert| past(view, &sight, alert)).collect());
    answer::document(&asked, &List { items, cursor })
}

/// Those that are wanted, so many at most; and where to go on, if there are more of them, or too much was looked through to know. Of what is
/// not wanted it says nothing: that may be hidden.
async fn find(
    shared: &Shared,
    mut past: Past,
    limit: usize,
    wanted: &(dyn Fn(&Instance) -> bool + Sync),
) -> Result<(Vec<Instance>, Option<Behind>), Box<Problem>> {
    let _turn = TURNS.take().await.map_err(|why| Problem::new(StatusCode::SERVICE_UNAVAILABLE, why))?;
    let (mut found, mut looked) = (Vec::new(), 0);
    loop {
        // One more than is wanted says whether there is more; the first look is a short one, since mostly nothing is left out.
        let page = if looked == 0 { limit.min(PAGE - 1) + 1 } else { PAGE };
        let alerts = shared.store.past_alerts(&past, page).await?;
        let is_end = alerts.len() < page;
        looked += alerts.len();
        for alert in alerts {
            let is_wanted = wanted(&alert);
            if is_wanted && found.len() >= limit {
                return Ok((found, past.behind));
            }
            past.behind = Some((alert.resolved_at.unwrap_or(alert.active_at), alert.id.clone()));
            if is_wanted {
                found.push(alert);
            }
        }
        if is_end || looked >= LOOKED {
            return Ok((found, past.behind.filter(|_| !is_end)));
        }
    }
}

/// One that is over: what is behind its device now is not what was so then.
pub(super) fn past(view: &View, sight: &Sight, alert: &Instance) -> Alert {
    Alert { behind: 0, root: None, ..Alert::of(view, sight, alert) }
}

/// Where to go on, in words for whoever asks: it may be at an alert that is hidden from them.
fn cursor(sight: &Sight, (at, id): &Behind) -> Option<String> {
    let place = format!("{at} {id}");
    if sight.is_all() { Some(answer::cursor(0, &place)) } else { seal::sealed(&place) }
}

fn place(sight: &Sight, text: &str) -> Result<Behind, Box<Problem>> {
    let wrong = || Problem::bad("cursor: take it from the answer before");
    let plain = answer::opened(text).filter(|_| sight.is_all()).map(|(_, place)| place);
    let place = plain.or_else(|| seal::opened(text)).ok_or_else(wrong)?;
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
