//! Devices: the long list, and what is known of one beside its status.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use axum::Extension;
use axum::extract::{Path as UrlPath, State};
use axum::http::Method;
use crds::{Kind, Selector, Verb};
use jiff::Timestamp;
use reconcile::alerting::rule::last_change;
use reconcile::observed::Health;
use reconcile::{Metric, Name, Series, Target};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::super::alerts::leave_seen;
use super::super::answer::{self, Answer, Fields};
use super::super::asked::{Asked, LIST, short};
use super::super::fleet::{Fleet, Found, Row, Stand, Standing};
use super::super::gate::{Access, Param, Routes, param};
use super::super::sight::{Seen, Sight};
use super::{SharedLists, list_of, shown};
use crate::problem::Problem;
use crate::shared::{Shared, read};
use crate::usage::Last;
use crate::view::View;

/// Notifications among which those of one receiver are looked for.
const NOTICES: u32 = 1000;
/// By what devices are sorted: the worst come first.
const SORTED: [&str; 7] = ["name", "health", "update", "type", "site", "address", "cpu"];
const HEALTH: [Health; 4] = [Health::Unreachable, Health::Degraded, Health::Unknown, Health::Healthy];
const UPDATE: [&str; 5] = ["Blocked", "Updating", "OutOfDate", "Unknown", "UpToDate"];
const TYPES: [&str; 3] = ["Server", "Network", "Storage"];
/// Facets of one answer, and values of one: of more the most frequent.
const FACETS: usize = 8;
const VALUES: usize = 100;
/// Facets that the page shows: these are kept with what was found. Any other is counted each time, or whoever makes them up fills the memory.
const KEPT: [&str; 4] = ["site", "type", "health", "update"];
/// Devices that are counted at once: about a millisecond.
const AT_ONCE: usize = 1000;

const QUERY: [Param; 11] = {
    let [limit, cursor, namespace, selector, q, sort, fields] = LIST;
    let facets = param("facets", "Of what to count how often there is which value, such as `site,type,health,update`; any label will do.");
    let health = param("health", "Only these: `Healthy`, `Degraded`, `Unreachable`, `Unknown`; several with commas between.");
    let update = param("update", "Only these: `UpToDate`, `Updating`, `OutOfDate`, `Blocked`, `Unknown`; several with commas between.");
    let kind = param("type", "Only these: `Server`, `Network`, `Storage`; several with commas between.");
    [limit, cursor, namespace, selector, q, sort, fields, facets, health, update, kind]
};

pub(super) fn routes(routes: Routes) -> Routes {
    let see = Access::Object(Verb::View, Kind::Device);
    routes
        .add(Method::GET, "/devices", Access::Known, list)
        .says("The devices that one may see")
        .takes(&QUERY)
        .shaped(list_of(Kind::Device))
        .add(Method::GET, "/devices/{namespace}/{name}/explain", see, explain)
        .says("Why a device is as it is: what it waits for, since when, and who can clear it")
        .takes(&[])
        .answers::<Explained>()
        .add(Method::GET, "/devices/{namespace}/{name}/usage", see, usage)
        .says("What a device uses just now")
        .takes(&[])
        .answers::<Usage>()
        .add(Method::GET, "/devices/{namespace}/{name}/series", see, series)
        .says("The series that are stored of a device")
        .takes(&[])
        .answers::<Vec<String>>()
        .add(Method::GET, "/roles/{namespace}/{name}/explain", Access::Object(Verb::View, Kind::Role), explain_role)
        .says("What a Role allows, and how far its login is: on which devices, what it waits for, and who can end that")
        .takes(&[])
        .answers::<Explained>()
        .add(Method::GET, "/deployments/{namespace}/{name}/explain", Access::Object(Verb::View, Kind::Deployment), explain_deployment)
        .says("Why a Deployment is as it is: what it waits for, since when, and who can clear it")
        .takes(&[])
        .answers::<Explained>()
        .add(Method::GET, "/alertrules/{namespace}/{name}/explain", Access::Object(Verb::View, Kind::AlertRule), explain_rule)
        .says("What an AlertRule asks of how many devices, what fires, and who is told")
        .takes(&[])
        .answers::<Explained>()
        .add(Method::GET, "/receivers/{namespace}/{name}/explain", Access::Object(Verb::View, Kind::Receiver), explain_receiver)
        .says("How a Receiver is reached, of what it hears, and whether it does")
        .takes(&[])
        .answers::<Explained>()
        .add(Method::GET, "/silences/{namespace}/{name}/explain", Access::Object(Verb::View, Kind::Silence), explain_silence)
        .says("What a Silence mutes, and until when")
        .takes(&[])
        .answers::<Explained>()
        .add(Method::GET, "/repositories/{namespace}/{name}/explain", Access::Object(Verb::View, Kind::Repository), explain_repository)
        .says("How the last look at a Repository went, what it waits for, what others have changed, and what is in force of it")
        .takes(&[])
        .answers::<Explained>()
}

/// What there is to say to it.
#[derive(Serialize, JsonSchema)]
struct Explained {
    /// For people, in lines.
    text: String,
}

/// What a device uses.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "it says how what `usage` answers looks")]
struct Usage {
    /// The last reading that succeeded.
    #[schemars(skip_serializing_if = "Option::is_none")]
    usage: Option<Reading>,
    /// Since when readings fail.
    #[schemars(skip_serializing_if = "Option::is_none")]
    failing_since: Option<Timestamp>,
    /// Why the last one failed.
    #[schemars(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// What of the last one was left out.
    #[schemars(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// A reading.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "it says how what `usage` answers looks")]
struct Reading {
    /// When.
    at: Timestamp,
    /// By series.
    values: BTreeMap<String, f64>,
}

/// Which devices are wanted, and in which order.
struct Wanted {
    namespace: Option<String>,
    selector: Selector,
    words: Vec<String>,
    health: Vec<Health>,
    update: Vec<String>,
    types: Vec<String>,
    sort: Vec<(&'static str, bool)>,
}

impl Wanted {
    fn of(asked: &Asked) -> Result<Self, Box<Problem>> {
        let one_of = |name: &str, known: &[&str]| -> Result<Vec<String>, Box<Problem>> {
            let words: Vec<String> = asked.words(name).map(str::to_owned).collect();
            match words.iter().find(|word| !known.contains(&word.as_str())) {
                Some(wrong) => Err(Problem::bad(format!("{name}: `{}` is none of {}", short(wrong), known.join(", ")))),
                None => Ok(words),
            }
        };
        let healths = HEALTH.map(|health| format!("{health:?}"));
        let health = one_of("health", &healths.each_ref().map(String::as_str))?;
        let mut sort = asked.sort(&SORTED)?;
        // In the order of their names they are already.
        if sort.first() == Some(&("name", false)) {
            sort.clear();
        }
        Ok(Self {
            namespace: asked.one("namespace").map(str::to_owned),
            selector: asked.selector()?,
            words: asked.search()?,
            health: HEALTH.into_iter().filter(|known| health.contains(&format!("{known:?}"))).collect(),
            update: one_of("update", &UPDATE)?,
            types: one_of("type", &TYPES)?,
            sort,
        })
    }

    /// Says the same for the same search.
    fn text(&self) -> String {
        let Self { namespace, selector, words, health, update, types, sort } = self;
        format!("{namespace:?} {selector:?} {words:?} {health:?} {update:?} {types:?} {sort:?}")
    }

    fn asks_how_they_stand(&self) -> bool {
        // What devices use changes as how they stand does, and is sorted anew as often.
        let by = self.sort.iter().any(|(key, _)| ["health", "update", "cpu"].contains(key));
        by || !self.health.is_empty() || !self.update.is_empty()
    }

    /// How busy each device's processors are, as far as it is sorted by that; the lock is held for a thousand at a time.
    fn cpu(&self, fleet: &Fleet, shared: &Shared) -> Vec<Option<f64>> {
        if !self.sort.iter().any(|(key, _)| *key == "cpu") {
            return Vec::new();
        }
        let (usages, series) = (read(shared, |view| view.usages.clone()), Series::of(Metric::CpuRatio));
        fleet.rows.chunks(AT_ONCE).flat_map(|rows| usages.values(&series, rows.iter().map(|row| &row.name))).collect()
    }

    fn takes(&self, row: &Row, stand: Option<&Stand>) -> bool {
        let has = |wanted: &[String], is: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == is);
        self.namespace.as_deref().is_none_or(|namespace| row.name.namespace() == namespace)
            && (self.health.is_empty() || stand.is_some_and(|stand| self.health.contains(&stand.health)))
            && (self.update.is_empty() || stand.is_some_and(|stand| has(&self.update, stand.update)))
            && (self.types.is_empty() || has(&self.types, &row.device_type()))
            && self.selector.matches(row.labels())
            && self.words.iter().all(|word| row.has(word))
    }

    fn find(&self, fleet: &Fleet, seen: &[u32], standing: Option<&Standing>, cpu: &[Option<f64>]) -> Vec<u32> {
        let stand = |at: u32| standing.and_then(|standing| standing.of.get(at as usize));
        let mut found: Vec<u32> = seen.iter().copied().filter(|at| self.takes(&fleet.rows[*at as usize], stand(*at))).collect();
        // Of whom it is not known comes before all others.
        let busy = |at: u32| cpu.get(at as usize).copied().flatten().unwrap_or(f64::NEG_INFINITY);
        if !self.sort.is_empty() {
            let order = |a: &u32, b: &u32| {
                let (one, other) = (&fleet.rows[*a as usize], &fleet.rows[*b as usize]);
                let by = |(key, is_down): &(&str, bool)| {
                    let order = match *key {
                        "cpu" => busy(*a).total_cmp(&busy(*b)),
                        key => compare(key, (one, stand(*a)), (other, stand(*b))),
                    };
                    if *is_down { order.reverse() } else { order }
                };
                self.sort.iter().map(by).find(|order| order.is_ne()).unwrap_or_else(|| a.cmp(b))
            };
            found.sort_unstable_by(order);
        }
        found
    }
}

fn compare(key: &str, (a, a_stands): (&Row, Option<&Stand>), (b, b_stands): (&Row, Option<&Stand>)) -> Ordering {
    let health = |stand: Option<&Stand>| HEALTH.iter().position(|health| stand.is_some_and(|stand| stand.health == *health));
    let update = |stand: Option<&Stand>| UPDATE.iter().position(|update| stand.is_some_and(|stand| stand.update == *update));
    fn site(row: &Row) -> &str {
        row.labels().get("site").map_or("", String::as_str)
    }
    fn address(row: &Row) -> &str {
        row.device.as_ref().map_or("", |device| &device.address)
    }
    match key {
        "health" => health(a_stands).cmp(&health(b_stands)),
        "update" => update(a_stands).cmp(&update(b_stands)),
        "type" => a.device_type().cmp(&b.device_type()),
        "site" => site(a).cmp(site(b)),
        "address" => address(a).cmp(address(b)),
        _ => a.name.cmp(&b.name),
    }
}

async fn list(State(shared): State<Shared>, Seen(sight): Seen, Extension(lists): SharedLists, asked: Asked) -> Answer {
    let (wanted, fields, limit, facets) = (Wanted::of(&asked)?, Fields::of(&asked)?, asked.limit()?, facets(&asked)?);
    let (newest, query) = (read(&shared, |view| view.feed.newest()), asked.text());
    let seen = sight.devices().await;
    let stands = facets.iter().any(|facet| ["health", "update"].contains(&facet.as_str()));
    let standing = match wanted.asks_how_they_stand() || stands {
        true => Some(lists.standing(&sight.fleet, &shared).await),
        false => None,
    };
    let search = (&sight, standing.as_ref(), wanted.text());
    let found = lists.search((search.0, search.1, &search.2), || match search.2 == Wanted::default_text() {
        true => seen.clone(),
        false => Arc::new(wanted.find(&sight.fleet, &seen, standing.as_deref(), &wanted.cpu(&sight.fleet, &shared))),
    });
    if let Some(page) = found.page(&query, newest) {
        return Ok(page.answer(&asked));
    }
    let rows = &found.rows;
    let name = |at: usize| &sight.fleet.rows[rows[at] as usize].name;
    let from = answer::begin(&asked, rows.len(), |at| name(at).full())?;
    let items: Vec<Value> = read(&shared, |view| {
        let page = from..rows.len().min(from + limit);
        page.map(|at| shown(view, &sight, Kind::Device, name(at), &fields)).collect()
    });
    let items = fields.of_items(items);
    let last = from + items.len();
    let cursor = (last < rows.len()).then(|| answer::cursor(last - 1, name(last - 1).full()));
    let mut page = json!({"items": items, "total": rows.len(), "cursor": cursor});
    if !facets.is_empty() {
        page["facets"] = counts(&sight.fleet, &found, standing.as_ref(), facets).await;
    }
    let page = answer::Rendered::of(&page)?;
    found.keep(query, newest, &page);
    Ok(page.answer(&asked))
}

impl Wanted {
    /// What a search for nothing in particular says.
    fn default_text() -> String {
        let nothing = Self {
            namespace: None,
            selector: Selector::default(),
            words: Vec::new(),
            health: Vec::new(),
            update: Vec::new(),
            types: Vec::new(),
            sort: Vec::new(),
        };
        nothing.text()
    }
}

fn facets(asked: &Asked) -> Result<Vec<String>, Box<Problem>> {
    let facets: Vec<String> = asked.words("facets").map(str::to_owned).collect();
    match facets.len() > FACETS || facets.iter().any(|facet| facet.len() > 317) {
        true => Err(Problem::bad(format!("facets: more than {FACETS}, or one that is no label"))),
        false => Ok(facets),
    }
}

/// How often there is which value among what was found. Not on the threads that answer everybody, where that is much.
async fn counts(fleet: &Arc<Fleet>, found: &Arc<Found>, standing: Option<&Arc<Standing>>, facets: Vec<String>) -> Value {
    if found.rows.len() <= AT_ONCE {
        return counted(fleet, found, standing.map(|standing| &**standing), &facets);
    }
    let (fleet, found, standing) = (fleet.clone(), found.clone(), standing.cloned());
    tokio::task::spawn_blocking(move || counted(&fleet, &found, standing.as_deref(), &facets)).await.unwrap_or_default()
}

fn counted(fleet: &Fleet, found: &Found, standing: Option<&Standing>, facets: &[String]) -> Value {
    let known = |facet: &String| found.facets.lock().unwrap_or_else(PoisonError::into_inner).get(facet).cloned();
    let of = |facet: &String| {
        let counts = known(facet).unwrap_or_else(|| {
            let counts = count(fleet, found, standing, facet);
            if KEPT.contains(&facet.as_str()) {
                found.facets.lock().unwrap_or_else(PoisonError::into_inner).insert(facet.clone(), counts.clone());
            }
            counts
        });
        (facet.clone(), counts)
    };
    Value::Object(facets.iter().map(of).collect())
}

fn count(fleet: &Fleet, found: &Found, standing: Option<&Standing>, facet: &str) -> Value {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut add = |value: &str| match counts.get_mut(value) {
        Some(count) => *count += 1,
        None => drop(counts.insert(value.to_owned(), 1)),
    };
    for at in found.rows.iter() {
        let (row, stand) = (&fleet.rows[*at as usize], standing.and_then(|standing| standing.of.get(*at as usize)));
        match (facet, stand) {
            ("health", Some(stand)) => add(&format!("{:?}", stand.health)),
            ("update", Some(stand)) => add(stand.update),
            ("type", _) => add(&row.device_type()),
            (label, _) => row.labels().get(label).into_iter().for_each(|value| add(value)),
        }
    }
    let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counts.truncate(VALUES);
    json!(counts.into_iter().collect::<BTreeMap<_, _>>())
}

/// What a device uses, and what its class makes of it.
pub(super) fn add(item: &mut Value, view: &View, sight: &Sight, name: &Name, fields: &Fields) {
    let desired = &sight.desired;
    if fields.wants("lastChange")
        && let Some((change, _)) = last_change(&view.observed, desired.selected_by.get(name), name)
        && sight.sees(Kind::Deployment, &change.deployment)
    {
        item["lastChange"] =
            json!({"deployment": change.deployment.full(), "revision": change.revision, "commit": change.commit, "at": change.at});
    }
    if fields.wants("uses")
        && let Some(last) = view.usages.last(name)
    {
        item["uses"] = json!(crate::usage::in_short(&last));
    }
    if fields.wants("effective")
        && let Some(device) = desired.devices.get(name)
    {
        item["effective"] = json!({"address": device.address, "labels": device.labels});
    }
}

async fn explain(state: State<Shared>, seen: Seen, UrlPath((namespace, name)): UrlPath<(String, String)>, asked: Asked) -> Answer {
    explained(&state.0, &seen.0, &Target::Device(Name::new(&namespace, &name)), &asked).await
}

async fn explain_deployment(
    state: State<Shared>,
    seen: Seen,
    UrlPath((namespace, name)): UrlPath<(String, String)>,
    asked: Asked,
) -> Answer {
    explained(&state.0, &seen.0, &Target::Deployment(Name::new(&namespace, &name)), &asked).await
}

async fn explain_role(state: State<Shared>, seen: Seen, UrlPath((namespace, name)): UrlPath<(String, String)>, asked: Asked) -> Answer {
    explained(&state.0, &seen.0, &Target::Object(Kind::Role, Name::new(&namespace, &name)), &asked).await
}

async fn explain_rule(state: State<Shared>, seen: Seen, UrlPath((namespace, name)): UrlPath<(String, String)>, asked: Asked) -> Answer {
    explained(&state.0, &seen.0, &Target::Object(Kind::AlertRule, Name::new(&namespace, &name)), &asked).await
}

async fn explain_receiver(state: State<Shared>, seen: Seen, UrlPath((namespace, name)): UrlPath<(String, String)>, asked: Asked) -> Answer {
    explained(&state.0, &seen.0, &Target::Object(Kind::Receiver, Name::new(&namespace, &name)), &asked).await
}

async fn explain_silence(state: State<Shared>, seen: Seen, UrlPath((namespace, name)): UrlPath<(String, String)>, asked: Asked) -> Answer {
    explained(&state.0, &seen.0, &Target::Object(Kind::Silence, Name::new(&namespace, &name)), &asked).await
}

async fn explain_repository(
    state: State<Shared>,
    seen: Seen,
    UrlPath((namespace, name)): UrlPath<(String, String)>,
    asked: Asked,
) -> Answer {
    explained(&state.0, &seen.0, &Target::Object(Kind::Repository, Name::new(&namespace, &name)), &asked).await
}

async fn explained(shared: &Shared, sight: &Arc<Sight>, target: &Target, asked: &Asked) -> Answer {
    let now = Timestamp::now();
    // Whatever is counted asks for its devices.
    sight.devices().await;
    let text = read(shared, |view| crate::explain::explain(view, target, &|kind, name| sight.sees(kind, name), now));
    let mut text = text.ok_or_else(|| Problem::missing(format!("there is no {target}")))?;
    if let Target::Object(Kind::Receiver, name) = target {
        let mut rows = shared.store.notices(NOTICES).await?;
        rows.retain_mut(|row| row.notice.receiver == *name && leave_seen(sight, &mut row.notice));
        crate::explain::watching::notices(&mut text, name, &rows);
    }
    answer::document(asked, &Explained { text: sight.masked(&text) })
}

async fn usage(State(shared): State<Shared>, UrlPath((namespace, name)): UrlPath<(String, String)>, asked: Asked) -> Answer {
    let last: Last = last_of(&shared, &Name::new(&namespace, &name))?;
    answer::document(&asked, &last)
}

/// What is known of what a device uses, or why nothing is.
pub(crate) fn last_of(shared: &Shared, name: &Name) -> Result<Last, Box<Problem>> {
    let (last, device) = read(shared, |view| (view.usages.last(name), view.desired.devices.get(name).cloned()));
    match (last, device) {
        (Some(last), _) => Ok(last),
        (None, Some(device)) if device.metrics.is_none() => {
            Err(Problem::missing(format!("device/{name} is not read: it has no `metrics`")))
        }
        (None, Some(_)) => Err(Problem::missing(format!("device/{name} has not been read by this replica yet"))),
        (None, None) => Err(Problem::missing(format!("there is no device/{name}"))),
    }
}

async fn series(State(shared): State<Shared>, UrlPath((namespace, name)): UrlPath<(String, String)>, asked: Asked) -> Answer {
    let name = Name::new(&namespace, &name);
    let stored = shared.store.series(&name).await?;
    // What was just read for the first time is not stored yet.
    let last = read(&shared, |view| view.usages.latest(&name));
    let known = last.iter().flat_map(|usage| usage.values.keys().cloned());
    let series: BTreeSet<String> = stored.into_iter().chain(known).map(|series| series.to_string()).collect();
    answer::document(&asked, &series)
}

#[cfg(test)]
mod tests {
    use reconcile::Desired;

    use super::*;

    #[test]
    fn only_facets_that_are_known_are_kept() {
        let fleet = Arc::new(Fleet::new(Arc::new(Desired::default())));
        let found = Found::default();
        let facets: Vec<String> = ["site", "type", "made-up"].map(str::to_owned).into();
        assert_eq!(counted(&fleet, &found, None, &facets), json!({"site": {}, "type": {}, "made-up": {}}));
        let kept: BTreeSet<String> = found.facets.lock().unwrap().keys().cloned().collect();
        assert_eq!(kept, ["site", "type"].map(str::to_owned).into());
    }
}
