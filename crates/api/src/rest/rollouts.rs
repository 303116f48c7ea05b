//! Rollouts, plans and the source.

mod batches;
mod list;
mod shapes;
mod standing;

use std::collections::BTreeMap;

use axum::Extension;
use axum::extract::{Path as UrlPath, State};
use axum::http::{Method, StatusCode};
use crds::{Kind, Verb};
use jiff::Timestamp;
use reconcile::{Deferred, Name, Rollout, Target};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use batches::Batch;
use standing::Standing;

use super::answer::{self, Answer};
use super::asked::Asked;
use super::caller::Caller;
use super::gate::{Access, Param, Routes, param};
use super::sight::{Seen, Sight};
use crate::problem::Problem;
use crate::shared::{Shared, ask_engine, read};
use crate::turns::Turns;
use crate::view::{Ask, View};

/// What is shown of plans: as many steps under way, and as much that is put off.
const PAGE: usize = 1000;
/// Rollouts that are looked through at a time: each takes a processor as long as it has devices.
static TURNS: Turns = Turns::new(2, "others look at rollouts just now: ask again");

const PREVIEW: [Param; 2] = [
    param("revision", "Branch, tag or commit; what is in force if nothing is said."),
    param("repository", "The Repository whose it is, as `NAMESPACE/NAME`; in a cluster only."),
];

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .add(Method::GET, "/rollouts", Access::Known, list::list)
        .says("How the Deployments that one may see are rolled out, each in short")
        .takes(&list::QUERY)
        .answers::<list::List>()
        .add(Method::GET, "/rollouts/{namespace}/{name}", Access::Object(Verb::View, Kind::Deployment), one)
        .says("How a Deployment is rolled out: its batches, how each device stands, and what it waits for")
        .takes(&[])
        .answers::<Course>()
        .add(Method::GET, "/plans", Access::Known, plans)
        .says("What is done now, and what is put off and why; of what one may see")
        .takes(&[])
        .answers::<Plans>()
        .add(Method::GET, "/plans/preview", Access::Kind(Verb::View, Kind::Deployment), preview)
        .says("What would come of a revision if it were in force; for those who may see every Deployment and Device")
        .takes(&PREVIEW)
        .answers::<shapes::Preview>()
        .add(Method::GET, "/source", Access::Known, in_force)
        .says("Where what is desired comes from, and how that went last")
        .takes(&[])
        .answers::<Source>()
}

/// How a Deployment is rolled out.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Rollout")]
struct Course {
    /// As `NAMESPACE/NAME`.
    deployment: String,
    /// Where it stands, in a word.
    phase: &'static str,
    /// Somebody said stop.
    paused: Option<Pause>,
    /// Revisions, the oldest first.
    #[schemars(with = "Vec<shapes::Revision>")]
    history: Vec<Value>,
    /// Of the newest revision, each with what its gate says.
    batches: Vec<Batch>,
    waits: Vec<Wait>,
    /// What the current batch has to pass before the next one.
    gates: Vec<Gate>,
}

/// Somebody said stop.
#[derive(Serialize, JsonSchema)]
struct Pause {
    by: String,
    at: Timestamp,
}

/// Something that is put off.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Wait {
    /// Whose: `device/NAME`, or the Deployment's as a whole.
    target: String,
    wants: String,
    waiting_on: Waiting,
    text: String,
    since: Option<Timestamp>,
    /// Who or what can end it.
    cleared_by: &'static str,
}

/// What it waits on: the word, and what belongs to it.
#[derive(Serialize, JsonSchema)]
struct Waiting {
    /// `Unreachable`, `Budget`, `Window`, `Approval`, `Soak`, `Health`, `Alert`, `Dependency`, `Lock`, `Maintenance`, `NoWayBack` or
    /// `Suspended`.
    kind: &'static str,
    #[serde(flatten)]
    of: BTreeMap<String, Value>,
}

/// A condition for going on.
#[derive(Serialize, JsonSchema)]
struct Gate {
    name: String,
    /// `passed`, `waiting`.
    state: &'static str,
    text: String,
}

/// What is done and put off.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Plans {
    /// The commit in force.
    #[schemars(with = "shapes::Commit")]
    revision: Value,
    in_flight: Vec<Flight>,
    deferred: Vec<Put>,
}

/// A step under way.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "StepUnderWay")]
struct Flight {
    deployment: String,
    device: String,
    step: String,
    /// Such as `applying`.
    #[schemars(with = "String")]
    phase: Value,
    since: Timestamp,
}

/// What is put off.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeferredChange")]
struct Put {
    /// The Deployment, as `NAMESPACE/NAME`; or the Role whose login it is, as `role/NAMESPACE/NAME`.
    deployment: String,
    #[serde(flatten)]
    wait: Wait,
}

/// Where what is desired comes from.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Source {
    url: String,
    in_force: String,
    author: String,
    /// The key that signed the commit in force, if its signature was verified.
    signer: Option<String>,
    checked_at: Option<Timestamp>,
    problem: Option<String>,
    too_far: Option<TooFar>,
    /// What is wrong with its files; for those who may see every Repository, since it names anything.
    findings: Vec<String>,
}

/// A commit that waits for somebody to agree.
#[derive(Serialize, JsonSchema)]
struct TooFar {
    /// What to agree to it by.
    id: String,
    reason: String,
    /// Devices that it deletes.
    deleted: usize,
    /// Devices that it touches.
    touched: usize,
}

/// The source as somebody may see it.
pub(super) fn source(view: &View, sight: &Sight) -> Source {
    let sees_all = sight.everywhere(Verb::View, Kind::Repository).is_ok();
    let source = &view.source;
    let too_far = source.too_far.as_ref().filter(|_| sees_all).map(|too_far| TooFar {
        id: too_far.id.clone(),
        reason: too_far.reason.clone(),
        deleted: too_far.reach.deleted.len(),
        touched: too_far.reach.touched.len(),
    });
    Source {
        url: source.url.clone(),
        in_force: source.in_force.clone(),
        author: source.author.clone(),
        signer: source.signer.clone(),
        checked_at: source.checked_at,
        problem: source.problem.as_ref().map(|problem| sight.masked(problem)),
        too_far,
        findings: if sees_all { source.findings.clone() } else { Vec::new() },
    }
}

async fn in_force(State(shared): State<Shared>, Seen(sight): Seen, asked: Asked) -> Answer {
    answer::document(&asked, &read(&shared, |view| source(view, &sight)))
}

fn wait(since: Option<Timestamp>, sight: &Sight, deferred: &Deferred) -> Wait {
    let seen = crate::explain::seen(&deferred.waiting_on, &|kind, name| sight.sees(kind, name));
    let fields = serde_json::to_value(&seen).ok().and_then(|mut value| match value.as_object_mut()?.values_mut().next()? {
        Value::Object(fields) => Some(std::mem::take(fields)),
        _ => None,
    });
    let mut of: BTreeMap<String, Value> = fields.into_iter().flatten().collect();
    of.values_mut().for_each(|value| sight.mask(value));
    Wait {
        target: sight.masked(&deferred.target.to_string()),
        wants: sight.masked(&deferred.wants),
        waiting_on: Waiting { kind: seen.word(), of },
        text: sight.masked(&seen.to_string()),
        since,
        cleared_by: crate::explain::clears(&seen),
    }
}

fn is_seen(sight: &Sight, deferred: &Deferred) -> bool {
    match &deferred.target {
        Target::Device(device) => sight.sees_device(device),
        _ => true,
    }
}

async fn one(
    State(shared): State<Shared>,
    Seen(sight): Seen,
    UrlPath((namespace, name)): UrlPath<(String, String)>,
    asked: Asked,
) -> Answer {
    let name = Name::new(&namespace, &name);
    if name.role().is_some() {
        // The login of a Role is seen by whoever may view that.
        return Err(Problem::missing(format!("deployment/{name} has never been rolled out")));
    }
    sight.devices().await;
    let turn = TURNS.take().await.map_err(|why| Problem::new(StatusCode::SERVICE_UNAVAILABLE, why))?;
    let course = tokio::task::spawn_blocking(move || {
        // Kept until it is done, also where whoever asked has gone away.
        let _turn = turn;
        let devices = standing::devices(&sight, &name);
        let standing = read(&shared, |view| Standing::of(view, &sight, &name, &devices));
        standing.map(|standing| course(standing, &sight, &name)).ok_or(name)
    });
    match course.await.map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))? {
        Ok(course) => answer::document(&asked, &course),
        Err(name) => Err(Problem::missing(format!("deployment/{name} has never been rolled out"))),
    }
}

fn course(standing: Standing, sight: &Sight, name: &Name) -> Course {
    let Standing { rollout, phase, observed, deferred } = standing;
    let waits: Vec<Wait> = deferred.iter().map(|(deferred, since)| wait(*since, sight, deferred)).collect();
    Course {
        deployment: name.full().to_owned(),
        phase,
        paused: rollout.paused.as_ref().map(|pause| Pause { by: pause.by.clone(), at: pause.at }),
        history: rollout.history.iter().map(|record| history(sight, record)).collect(),
        batches: batches::of(&observed, sight, name, &rollout),
        gates: gates(&rollout, &waits, name),
        waits,
    }
}

/// A revision, without the devices of its batches that one may not see.
fn history(sight: &Sight, record: &reconcile::RevisionRecord) -> Value {
    let mut record = record.clone();
    for devices in record.batches.iter_mut().filter_map(|batch| batch.devices.as_mut()) {
        devices.retain(|device| sight.sees_device(device));
    }
    let mut value = json!(record);
    sight.mask(&mut value);
    value
}

/// What the Deployment as a whole has to pass: what it waits for is not passed yet, and what it never waited for is not there.
fn gates(rollout: &Rollout, waits: &[Wait], name: &Name) -> Vec<Gate> {
    let whole = Target::Deployment(name.clone()).to_string();
    let own = waits.iter().filter(|wait| wait.target == whole);
    let mut gates: Vec<Gate> =
        own.map(|wait| Gate { name: wait.waiting_on.kind.into(), state: "waiting", text: wait.text.clone() }).collect();
    if let Some(current) = rollout.current() {
        for (at, _) in current.batches.iter().enumerate().rev().skip(1).rev() {
            gates.push(Gate { name: format!("batch {}", at + 1), state: "passed", text: "the next batch was opened".into() });
        }
    }
    gates
}

/// A Deployment by its name, the login of a Role as `role/NAMESPACE/NAME`.
fn whose(unit: &Name) -> String {
    unit.role().map_or_else(|| unit.full().to_owned(), |role| format!("role/{}", role.full()))
}

async fn plans(State(shared): State<Shared>, Seen(sight): Seen, asked: Asked) -> Answer {
    sight.devices().await;
    // What one may see of them is found out before the engine is held up.
    let logins = sight.names(Kind::Role).iter().map(Name::login);
    let units: Vec<Name> = sight.names(Kind::Deployment).iter().cloned().chain(logins).collect();
    let plans = read(&shared, |view| {
        let rollouts = units.iter().filter_map(|unit| Some((unit, view.observed.rollouts.get(unit)?)));
        let in_flight = rollouts.flat_map(|(unit, rollout)| rollout.in_flight().map(move |(device, placed)| (unit, device, placed)));
        let in_flight = in_flight.filter(|(_, device, _)| sight.sees_device(device)).take(PAGE).map(|(unit, device, placed)| Flight {
            deployment: whose(unit),
            device: device.full().to_owned(),
            step: placed.step.to_string(),
            phase: json!(placed.phase),
            since: placed.since,
        });
        let deferred = units.iter().filter_map(|unit| view.deferred.get(unit)).flatten().filter(|deferred| is_seen(&sight, deferred));
        let deferred = deferred
            .take(PAGE)
            .map(|deferred| Put { deployment: whose(&deferred.unit.rollout()), wait: wait(view.waits_since(deferred), &sight, deferred) });
        Plans { revision: json!(sight.desired.revision), in_flight: in_flight.collect(), deferred: deferred.collect() }
    });
    answer::document(&asked, &plans)
}

async fn preview(State(shared): State<Shared>, Seen(sight): Seen, Extension(caller): Extension<Caller>, asked: Asked) -> Answer {
    let forbidden = |why| Problem::new(StatusCode::FORBIDDEN, why);
    let repository = asked.name("repository");
    // It speaks of whatever a revision would change, wherever that is.
    for kind in [Kind::Deployment, Kind::Device] {
        sight.everywhere(Verb::View, kind).map_err(forbidden)?;
    }
    if let Some(repository) = repository.as_ref().filter(|repository| !sight.sees(Kind::Repository, repository)) {
        return Err(Problem::missing(format!("there is no repository {repository}")));
    }
    let ask = Ask::Preview { reference: asked.one("revision").map(str::to_owned), repository };
    let preview = ask_engine(&shared, ask, caller.name).await?;
    answer::document(&asked, &preview)
}
