//! The audit log, searched, proven and exported.

use axum::body::{Body, Bytes};
use axum::extract::{Path as UrlPath, State};
use axum::http::{Method, header};
use axum::response::IntoResponse as _;
use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use reconcile::Target;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use store::audit::Entry;
use store::{Filter, Store};
use tokio::sync::Semaphore;

use super::answer::{self, Answer};
use super::asked::Asked;
use super::fleet::contains;
use super::gate::{Access, Param, Routes, param};
use super::sight::{HIDDEN, Seen, Sight};
use crate::problem::Problem;
use crate::shared::Shared;

/// Entries that are read at once, and that one question looks through: whoever searches farther goes on with `cursor`.
const PAGE: usize = 1000;
const LOOKED: usize = 20_000;
/// Proofs at a time, however many ask: each reads the whole log.
static TURN: Semaphore = Semaphore::const_new(1);

const QUERY: [Param; 6] = [
    param("about", "Only about this, such as `device/web-01` or `deployment/nginx`."),
    param("actor", "Only what this one did."),
    param("q", "Only with all these words."),
    param("cursor", "Where the next page begins, as the answer before said it."),
    param("before", "Only entries before this one: the same as `cursor`, for who knows its number."),
    param("limit", "How many, 100 if nothing is said, 1000 at most."),
];

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .add(Method::GET, "/audit", Access::Known, list)
        .says("Who did what, to what one may see; the newest first")
        .takes(&QUERY)
        .answers::<List>()
        .add(Method::GET, "/audit/{index}", Access::Known, one)
        .says("One entry of the audit log")
        .takes(&[])
        .answers::<Item>()
        .add(Method::GET, "/audit/proof", Access::Admin, proof)
        .says("Whether the audit log is whole: it is read from its beginning and held against its signed checkpoints")
        .takes(&[])
        .answers::<Proof>()
        .add(Method::GET, "/audit/export", Access::Admin, export)
        .says("The whole audit log with its proofs, as lines of JSON: what `evenkeel audit verify` reads")
        .takes(&[])
        .media("application/jsonl")
}

/// A page of entries.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuditList")]
struct List {
    #[schemars(with = "Vec<Item>")]
    items: Vec<Value>,
    /// Where the next page goes on, as `cursor`; null: there is nothing before.
    cursor: Option<String>,
}

/// An entry.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "it says how an entry looks")]
#[schemars(rename = "AuditEntry")]
struct Item {
    index: u64,
    at: Timestamp,
    actor: Actor,
    verb: String,
    target: String,
    #[schemars(skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    plan: Option<String>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    step: Option<String>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    changes: Option<Vec<String>>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// `begun`, `done`, `failed` or `refused`.
    outcome: String,
    #[schemars(skip_serializing_if = "Option::is_none")]
    refers_to: Option<u64>,
}

/// Who.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "it says how an entry looks")]
#[schemars(rename = "AuditActor")]
struct Actor {
    kind: String,
    name: String,
    #[schemars(skip_serializing_if = "Option::is_none")]
    signer: Option<String>,
}

/// Whether the log is whole.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuditProof")]
struct Proof {
    /// Entries.
    size: u64,
    /// The root of the tree, hexadecimal.
    root: String,
    /// The newest checkpoint, a signed note.
    checkpoint: String,
    /// It is, up to that checkpoint.
    verified: bool,
    /// What is wrong, if it is not.
    problem: Option<String>,
}

/// Whether somebody may see an entry: what it is about, or else what for.
fn sees(sight: &Sight, entry: &Entry) -> bool {
    if sight.is_all() {
        return true;
    }
    match Target::parse(&entry.target).or_else(|| Target::parse(&entry.unit)) {
        Some(target) => sight.sees(target.kind(), target.name()),
        None => false,
    }
}

/// Whether somebody may see what for something was done; where that is not said, there is nothing to hide.
pub(super) fn sees_unit(sight: &Sight, entry: &Entry) -> bool {
    sight.is_all() || Target::parse(&entry.unit).is_none_or(|unit| sight.sees(unit.kind(), unit.name()))
}

/// What for, if they may see that.
fn unit(sight: &Sight, entry: &Entry) -> String {
    let hidden = || entry.unit.split_once('/').map(|(kind, _)| format!("{kind}/{HIDDEN}")).unwrap_or_default();
    if sees_unit(sight, entry) { entry.unit.clone() } else { hidden() }
}

fn shown(sight: &Sight, entry: &Entry) -> Value {
    let mut item = json!(entry);
    if !entry.unit.is_empty() {
        item["unit"] = json!(unit(sight, entry));
    }
    sight.mask(&mut item);
    item
}

/// The newest entries that are wanted and that somebody may see, among those that are looked through.
pub(super) async fn visible(
    shared: &Shared,
    sight: &Sight,
    limit: usize,
    wanted: impl Fn(&Entry) -> bool,
) -> Result<Vec<Entry>, store::Error> {
    Ok(search(&shared.store, None, None, limit, |entry| wanted(entry) && sees(sight, entry)).await?.0)
}

async fn search(
    store: &Store,
    about: Option<&str>,
    mut before: Option<u64>,
    limit: usize,
    wanted: impl Fn(&Entry) -> bool,
) -> Result<(Vec<Entry>, Option<u64>), store::Error> {
    let (mut found, mut looked) = (Vec::new(), 0);
    loop {
        // The first look is a short one: mostly nothing is left out.
        let page = if looked == 0 { limit + 1 } else { PAGE };
        let filter = Filter { about: about.map(str::to_owned), before, limit: page };
        let entries = store.entries(&filter).await?;
        let is_end = entries.len() < page;
        looked += entries.len();
        for entry in entries {
            if found.len() >= limit {
                return Ok((found, before));
            }
            before = Some(entry.index);
            if wanted(&entry) {
                found.push(entry);
            }
        }
        if is_end {
            return Ok((found, None));
        }
        if looked >= LOOKED {
            return Ok((found, before));
        }
    }
}

async fn list(State(shared): State<Shared>, Seen(sight): Seen, asked: Asked) -> Answer {
    let (limit, words) = (asked.limit()?, asked.search()?);
    let before = asked.read::<u64>("cursor")?.or(asked.read("before")?);
    let (about, actor) = (asked.one("about").map(about), asked.one("actor"));
    // What was done on a device they may see is no answer to what was done for what they may not.
    let is_hidden = about.as_deref().and_then(Target::parse).is_some_and(|about| !sight.sees(about.kind(), about.name()));
    if is_hidden {
        return answer::document(&asked, &List { items: Vec::new(), cursor: None });
    }
    let wanted = |entry: &Entry| {
        let unit = unit(&sight, entry);
        let texts = [&entry.verb, &entry.target, &unit, &entry.message, &entry.actor.name, &entry.outcome];
        // What is hidden is not found either.
        let has = |word: &String| texts.into_iter().chain(&entry.changes).any(|text| contains(&sight.masked(text), word));
        actor.is_none_or(|actor| entry.actor.name == actor) && sees(&sight, entry) && words.iter().all(has)
    };
    let (entries, before) = search(&shared.store, about.as_deref(), before, limit, wanted).await?;
    let cursor = before.map(|before| before.to_string());
    answer::document(&asked, &List { items: entries.iter().map(|entry| shown(&sight, entry)).collect(), cursor })
}

/// A target as the log has it: without the namespace where that is `default`.
fn about(text: &str) -> String {
    Target::parse(text).map_or_else(|| text.to_owned(), |target| target.to_string())
}

async fn one(State(shared): State<Shared>, Seen(sight): Seen, UrlPath(index): UrlPath<String>, asked: Asked) -> Answer {
    let missing = || Problem::missing("there is no such entry");
    let index = index.parse::<u64>().map_err(|_| missing())?;
    let entry = shared.store.entry(index).await?.filter(|entry| sees(&sight, entry)).ok_or_else(missing)?;
    answer::document(&asked, &shown(&sight, &entry))
}

async fn proof(State(shared): State<Shared>, asked: Asked) -> Answer {
    let _turn = TURN.acquire().await.map_err(|_| Problem::new(axum::http::StatusCode::SERVICE_UNAVAILABLE, "the engine is stopping"))?;
    let checkpoint = shared.store.checkpoint().await?;
    let Some(checkpoint) = checkpoint else {
        let nothing = Proof { size: 0, root: String::new(), checkpoint: String::new(), verified: true, problem: None };
        return answer::document(&asked, &nothing);
    };
    let problem = verify(&shared.store).await?;
    let proof = Proof {
        size: checkpoint.size,
        root: hex::encode(checkpoint.root),
        checkpoint: checkpoint.note,
        verified: problem.is_none(),
        problem,
    };
    answer::document(&asked, &proof)
}

/// What is wrong with the log, if anything. It goes through a pipe of bounded length: the log may be larger than memory.
async fn verify(store: &std::sync::Arc<Store>) -> Result<Option<String>, store::Error> {
    let key = store.public_key();
    let (lines, mut given) = tokio::sync::mpsc::channel::<Vec<u8>>(4);
    let reading = tokio::task::spawn_blocking(move || {
        let next = move || given.blocking_recv();
        store::audit::verify(std::io::BufReader::new(Pieces { next, left: Vec::new(), at: 0 }), &key, None)
    });
    let mut from = Some(0);
    while let Some(index) = from {
        let (text, next) = page(store, index).await?;
        if lines.send(text.into_bytes()).await.is_err() {
            break;
        }
        from = next;
    }
    drop(lines);
    let report = reading.await.map_err(|error| std::io::Error::other(error.to_string())).and_then(|report| report);
    Ok(report.map_or_else(|error| Some(error.to_string()), |report| report.wrong))
}

/// Pieces of text as one stream.
struct Pieces<F> {
    next: F,
    left: Vec<u8>,
    at: usize,
}

impl<F: FnMut() -> Option<Vec<u8>>> std::io::Read for Pieces<F> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        while self.at >= self.left.len() {
            match (self.next)() {
                Some(piece) => (self.left, self.at) = (piece, 0),
                None => return Ok(0),
            }
        }
        let length = into.len().min(self.left.len() - self.at);
        into[..length].copy_from_slice(&self.left[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

async fn page(store: &Store, from: u64) -> Result<(String, Option<u64>), store::Error> {
    let (lines, next) = store.export(from).await?;
    Ok((lines.iter().map(|line| serde_json::to_string(line).unwrap_or_default() + "\n").collect(), next))
}

async fn export(State(shared): State<Shared>) -> Answer {
    let pages = stream::unfold(Some(0), move |from| {
        let store = shared.store.clone();
        async move {
            match page(&store, from?).await {
                Ok((text, next)) => Some((Ok(Bytes::from(text)), next)),
                // The connection ends in the middle, so that nobody takes half of the log for all of it.
                Err(error) => Some((Err(std::io::Error::other(error.to_string())), None)),
            }
        }
    });
    // Who compresses it asks once more after its end.
    let pages = pages.fuse();
    let headers = [(header::CONTENT_TYPE, "application/jsonl"), (header::CONTENT_DISPOSITION, "attachment; filename=\"audit.jsonl\"")];
    Ok((headers, Body::from_stream(pages)).into_response())
}
