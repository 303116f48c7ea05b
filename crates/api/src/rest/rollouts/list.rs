//! All rollouts, each in short.

use std::sync::Arc;

use axum::extract::State;
use crds::{Kind, Object};
use jiff::Timestamp;
use reconcile::{Name, Rollout, WaitingOn, report};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::super::answer::{self, Answer, Fields};
use super::super::asked::{Asked, LIST};
use super::super::fleet::contains;
use super::super::gate::{Param, param};
use super::super::sight::{Seen, Sight};
use super::Pause;
use crate::shared::{Shared, read};
use crate::view::View;

/// By what they are sorted.
const SORTED: [&str; 3] = ["name", "phase", "startedAt"];

pub(super) const QUERY: [Param; 8] = {
    let [limit, cursor, namespace, selector, q, sort, fields] = LIST;
    let phase = param("phase", "Only in these, such as `Progressing,AwaitingApproval`.");
    [limit, cursor, namespace, selector, q, sort, fields, phase]
};

/// A page of rollouts.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RolloutList")]
pub(super) struct List {
    #[schemars(with = "Vec<Short>")]
    items: Vec<Value>,
    /// Of those that one may see.
    total: usize,
    /// Where the next page begins; null: this was the last.
    cursor: Option<String>,
}

/// A rollout in short: `/rollouts/NAMESPACE/NAME` has it at length.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ListedRollout")]
struct Short {
    /// As `NAMESPACE/NAME`.
    deployment: String,
    /// `Pending`, `Progressing`, `Soaking`, `AwaitingApproval`, `Paused`, `RollingBack`, `RolledBack`, `Complete` or `Failed`.
    phase: &'static str,
    /// The newest revision; null: it was never rolled out.
    revision: Option<u32>,
    /// What it puts on devices, in a few words.
    version: String,
    /// The commit that asked for it.
    commit: String,
    author: String,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    /// Why it ended as it did, where that needs a word.
    reason: String,
    /// Batches that were opened.
    batches: usize,
    /// Somebody said stop.
    paused: Option<Pause>,
    /// What it waits for, in words; empty: nothing.
    waiting_on: String,
}

/// What is shown of one, taken out of the view.
struct Known {
    rollout: Arc<Rollout>,
    phase: &'static str,
    /// What the Deployment as a whole waits for.
    waits: Option<WaitingOn>,
}

impl Known {
    fn of(view: &View, sight: &Sight, name: &Name) -> Option<Self> {
        let rollout = view.observed.rollouts.get(name)?.clone();
        let deferred = view.deferred.get(name).map(Vec::as_slice).unwrap_or_default();
        let phase = report::phase_of(&sight.desired, &view.observed, deferred, name)?;
        let own = deferred.iter().find(|deferred| deferred.target == deferred.unit);
        Some(Self { rollout, phase, waits: own.map(|own| own.waiting_on.clone()) })
    }
}

impl Short {
    fn of(sight: &Sight, name: &Name, known: &Known) -> Self {
        let Known { rollout, phase, waits } = known;
        let waits = waits.as_ref().map(|waits| crate::explain::seen(waits, &|kind, name| sight.sees(kind, name)).to_string());
        let current = rollout.current();
        Self {
            deployment: name.full().to_owned(),
            phase,
            revision: current.map(|record| record.number),
            version: current.map(|record| sight.masked(&record.content.summary())).unwrap_or_default(),
            commit: current.map(|record| record.commit.clone()).unwrap_or_default(),
            author: current.map(|record| record.author.clone()).unwrap_or_default(),
            started_at: current.map(|record| record.started_at),
            finished_at: current.and_then(|record| record.finished_at),
            reason: current.map(|record| sight.masked(&record.reason)).unwrap_or_default(),
            batches: current.map(|record| record.batches.len()).unwrap_or_default(),
            paused: rollout.paused.as_ref().map(|pause| Pause { by: pause.by.clone(), at: pause.at }),
            waiting_on: waits.map(|waits| sight.masked(&waits)).unwrap_or_default(),
        }
    }
}

pub(super) async fn list(State(shared): State<Shared>, Seen(sight): Seen, asked: Asked) -> Answer {
    let (fields, limit, words, selector) = (Fields::of(&asked)?, asked.limit()?, asked.search()?, asked.selector()?);
    let (sort, phases) = (asked.sort(&SORTED)?, asked.words("phase").collect::<Vec<_>>());
    let wanted = |name: &&Name| {
        let object = sight.desired.objects.get(&(Kind::Deployment, (*name).clone()));
        let labels = object.map(|object: &Arc<Object>| object.labels()).unwrap_or_default();
        let has = |word: &String| contains(name.name(), word) || labels.values().any(|value| contains(value, word));
        asked.one("namespace").is_none_or(|namespace| name.namespace() == namespace) && selector.matches(&labels) && words.iter().all(has)
    };
    sight.devices().await;
    let names: Vec<&Name> = sight.names(Kind::Deployment).iter().filter(wanted).collect();
    let mut found: Vec<(&Name, Known)> = read(&shared, |view| {
        let known = names.into_iter().filter_map(|name| Some((name, Known::of(view, &sight, name)?)));
        known.filter(|(_, known)| phases.is_empty() || phases.contains(&known.phase)).collect()
    });
    let started = |known: &Known| known.rollout.current().map(|record| record.started_at);
    found.sort_by(|(a, of_a), (b, of_b)| {
        let by = |(key, is_down): &(&str, bool)| {
            let order = match *key {
                "phase" => of_a.phase.cmp(of_b.phase),
                "startedAt" => started(of_a).cmp(&started(of_b)),
                _ => a.cmp(b),
            };
            if *is_down { order.reverse() } else { order }
        };
        sort.iter().map(by).find(|order| order.is_ne()).unwrap_or_else(|| a.cmp(b))
    });
    let from = answer::begin(&asked, found.len(), |at| found[at].0.full())?;
    let page = &found[from..found.len().min(from + limit)];
    let shown = page.iter().map(|(name, known)| Short::of(&sight, name, known));
    let items = fields.of_items(shown.map(|short| serde_json::to_value(short).unwrap_or_default()).collect());
    let last = from + page.len();
    let cursor = (last < found.len()).then(|| answer::cursor(last - 1, found[last - 1].0.full()));
    answer::document(&asked, &List { items, total: found.len(), cursor })
}
