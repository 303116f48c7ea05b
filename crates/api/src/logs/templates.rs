//! `/v1/logs/templates`: the kinds of lines that there are, since when, and how often they come.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use reconcile::{LogSaid, LogsSeen, Name};
use serde::{Deserialize, Serialize};

use crate::problem::problem;
use crate::shared::{Shared, read};

/// How far back where nothing is said, in seconds.
const SINCE: i64 = 3600;
/// As long as counts are kept.
const LONGEST: i64 = 400 * 86_400;
/// Parts of that time in which lines are counted.
const PARTS: i64 = 24;
/// Devices that are named of one kind.
const DEVICES: usize = 5;

/// Devices whose lines are counted for somebody who may not see all.
const COUNTED: usize = 200;

/// Which kinds of lines.
#[derive(Debug, Deserialize)]
pub(crate) struct Which {
    pub(crate) device: Option<String>,
    pub(crate) since: Option<Timestamp>,
    pub(crate) only: Option<Sort>,
}

/// What a kind of line is just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "LogSort")]
pub enum Sort {
    /// Never seen from its device before.
    New,
    /// It comes far more often than it did.
    Unusual,
    /// It came regularly, and does not any more.
    Vanished,
}

/// A kind of line.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "LogTemplate")]
pub struct Kind {
    /// The template's id: `evenkeel logs --template` shows its lines.
    pub template: String,
    /// The program.
    pub program: String,
    /// What its lines have in common.
    pub text: String,
    /// What it is just now.
    pub is: BTreeSet<Sort>,
    /// Devices from which it came, a few of them.
    pub devices: Vec<String>,
    /// How many there are.
    pub from: usize,
    /// When it first came from any of these, in seconds since 1970.
    pub first: i64,
    /// When it came last, as far as that is stored.
    pub last: i64,
    /// Lines in all of that time; the last minutes are not in it yet.
    pub lines: u64,
    /// Lines in each part of that time, the oldest first.
    pub parts: Vec<u64>,
}

pub(crate) async fn templates(State(shared): State<Shared>, Query(which): Query<Which>) -> Response {
    match found(&shared, &which, None).await {
        Ok(kinds) => Json(kinds).into_response(),
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}

/// The kinds of lines that there are, those that are new first; from devices that are seen, if not from all.
pub(crate) async fn found(
    shared: &Shared,
    which: &Which,
    sees: Option<&(dyn Fn(&Name) -> bool + Sync)>,
) -> Result<Vec<Kind>, store::Error> {
    let now = Timestamp::now().as_second();
    let since = which.since.map_or(now - SINCE, Timestamp::as_second).clamp(now - LONGEST, now - 1);
    let device = which.device.as_deref();
    let mut kinds = shared.store.log_kinds(device, since_seen(since), false).await?;
    let rates = match sees {
        Some(sees) => {
            kinds.retain(|kind| sees(&Name::parse(&kind.device)));
            let mut rates = Vec::new();
            let devices: BTreeSet<&str> = kinds.iter().map(|kind| kind.device.as_str()).collect();
            for device in devices.into_iter().take(COUNTED) {
                rates.extend(shared.store.log_rates(Some(device), since).await?);
            }
            rates
        }
        None => shared.store.log_rates(device, since).await?,
    };
    let mut parts: HashMap<String, (Vec<u64>, i64)> = HashMap::new();
    let length = (now - since).max(1);
    for count in rates {
        let (parts, last) = parts.entry(count.template).or_insert_with(|| (vec![0; PARTS as usize], count.slot));
        let part = ((count.slot - since) * PARTS / length).clamp(0, PARTS - 1);
        parts[part as usize] += count.lines;
        *last = count.slot.max(*last);
    }
    let mut found: BTreeMap<String, Kind> = BTreeMap::new();
    let stands_out = read(shared, |view| {
        let of = |name: &str| view.observed.logs.get(&Name::parse(name)).cloned();
        kinds.iter().map(|kind| of(&kind.device)).collect::<Vec<_>>()
    });
    for (row, logs) in kinds.into_iter().zip(stands_out) {
        let (is_new, is) = (row.first >= since, logs.map(|logs| sorts(&logs, &row.program, &row.text)).unwrap_or_default());
        let counted = parts.get(&row.template);
        let last = counted.map_or(row.last, |(_, slot)| row.last.max(*slot));
        if last < since && is.is_empty() {
            continue;
        }
        let kind = found.entry(row.template.clone()).or_insert_with(|| Kind {
            template: row.template,
            program: row.program,
            text: row.text,
            is: BTreeSet::new(),
            devices: Vec::new(),
            from: 0,
            first: row.first,
            last,
            lines: counted.map_or(0, |(parts, _)| parts.iter().sum()),
            parts: counted.map_or_else(|| vec![0; PARTS as usize], |(parts, _)| parts.clone()),
        });
        kind.is.extend(is);
        kind.is.extend(is_new.then_some(Sort::New));
        kind.from += 1;
        (kind.first, kind.last) = (kind.first.min(row.first), kind.last.max(last));
        if kind.devices.len() < DEVICES {
            kind.devices.push(row.device);
        }
    }
    let wanted = |kind: &Kind| which.only.is_none_or(|only| kind.is.contains(&only));
    let mut kinds: Vec<Kind> = found.into_values().filter(wanted).collect();
    kinds.sort_by_key(|kind| std::cmp::Reverse((kind.first.max(since), kind.lines)));
    Ok(kinds)
}

/// What goes on coming is stored as seen once in an hour, and what has vanished may be a day ago.
fn since_seen(since: i64) -> i64 {
    since - 86_400
}

fn sorts(logs: &LogsSeen, program: &str, text: &str) -> BTreeSet<Sort> {
    let whole = if program.is_empty() { text.to_owned() } else { format!("{program}: {text}") };
    let is = |said: &[LogSaid], sort| said.iter().any(|said| said.text == whole).then_some(sort);
    is(&logs.unusual, Sort::Unusual).into_iter().chain(is(&logs.vanished, Sort::Vanished)).collect()
}
