//! Changes that people ask for, made where the truth is: a commit, a file, or an object of a cluster.
//!
//! ```text
//! wanted ─► what is there now? ─► is it as they have seen it? ─► what becomes of the file ─► may they? ─► is it right? ─► commit, push
//!                ▲                                                                                                          │
//!                └──────────────────────────── somebody was faster (a few times) ◄──────────────────────────────────────────┘
//! ```
//!
//! It goes on beside the loop, one change at a time: whatever comes of it comes in force by the way of every other commit.

mod cluster;
mod told;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ::cluster::Cluster;
use api::change::{Answer, Committed, Fault, How, Refusal, Trial, Wanted};
use api::view::SharedView;
use crds::{Kind, Object, Verb};
use jiff::Timestamp;
use manifests::edit::{self, FileChange};
use manifests::finding::Finding;
use manifests::folder;
use manifests::git::{self, Draft, PushError, Signing, Source};
use reconcile::access::commit::{Answering, Objects, judge};
use reconcile::access::{Decision, Request, What, Who, decide};
use reconcile::finding::Severity;
use reconcile::record::Actor;
use reconcile::{Desired, Key, Target};
use serde_json::{Value, json};
use store::Store;
use store::audit::Entry;
use tokio::sync::{Mutex, mpsc, oneshot};

use super::Engine;
use super::audit;
use super::source::{Reading, Wish};

pub(super) use told::{Held, origin, told};

/// Tries of a change where others write too.
const TRIES: usize = 4;
/// Lines around a change that are shown, as `diff -u` does.
const AROUND: u32 = 3;
/// Fields of an answer that are not what an object says.
const SHOWN: [&str; 6] = ["status", "origin", "uses", "effective", "name", "lastChange"];
/// What a cluster keeps in an object's metadata.
const KEPT: [&str; 7] = ["uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "deletionTimestamp", "selfLink"];

/// How changes are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Not at all.
    Never,
    /// On a branch of its own, which somebody merges.
    #[default]
    Branch,
    /// On the branch that is followed.
    Direct,
}

/// Longest time that a change waits for others.
const TURN: Duration = Duration::from_secs(20);
/// How often, and after which time, it is looked whether what was written in a cluster is in force: so that whoever asks next sees it. It may
/// have to wait for approval, and nobody waits with it.
const LOOKS: usize = 40;
const BETWEEN: Duration = Duration::from_millis(25);

/// Where changes are written.
#[derive(Default)]
pub(crate) struct Writing {
    pub(crate) place: Place,
    pub(crate) mode: Mode,
    /// The branch that takes all changes that are not direct; else each has one of its own.
    pub(crate) branch: Option<String>,
    pub(crate) signing: Option<Signing>,
    /// Commits have to be signed to come in force.
    pub(crate) is_verified: bool,
    /// One at a time.
    pub(crate) turn: Mutex<()>,
}

/// What keeps the truth.
#[derive(Default)]
pub(crate) enum Place {
    #[default]
    Nowhere,
    Git(Source),
    Folder(PathBuf),
    Cluster(Arc<Cluster>),
}

/// What it takes to change something.
#[derive(Clone)]
pub(super) struct Ground {
    writing: Arc<Writing>,
    view: SharedView,
    store: Arc<Store>,
    ask: mpsc::Sender<Wish>,
}

impl Engine {
    pub(super) fn ground(&self) -> Ground {
        Ground { writing: self.writing.clone(), view: self.view.clone(), store: self.store.clone(), ask: self.ask.clone() }
    }
}

/// Answers beside the loop, which goes on meanwhile.
pub(super) async fn answer(ground: Ground, wanted: Wanted, reply: oneshot::Sender<Result<Value, String>>) {
    let answer = change(&ground, wanted).await;
    let _ = reply.send(serde_json::to_value(answer).map_err(|error| error.to_string()));
}

async fn change(ground: &Ground, wanted: Wanted) -> Result<Answer, Refusal> {
    if ground.writing.mode == Mode::Never && !wanted.is_trial {
        return Err(Refusal::Never("this engine writes nothing (`--write never`): change the manifests themselves".into()));
    }
    // Who waits longer has mostly gone away, and so many as come meanwhile are all that ever wait.
    let turn = tokio::time::timeout(TURN, ground.writing.turn.lock()).await;
    let turn = turn.map_err(|_| Refusal::Away("others write just now: try again".into()))?;
    match &ground.writing.place {
        Place::Nowhere => Err(Refusal::Never("there is nothing here that could be written".into())),
        Place::Cluster(cluster) => {
            let answer = cluster::change(ground, cluster, &wanted).await?;
            drop(turn);
            if matches!(answer, Answer::Done { .. }) {
                ground.until_in_force(&wanted).await;
            }
            Ok(answer)
        }
        Place::Folder(root) => {
            for _ in 0..TRIES {
                let newest = ground.read().await?.looked_at_folder(root).await.map_err(Refusal::Away)?;
                let prepared = match prepare(ground, &newest, &wanted).await? {
                    Prepared::Ready(prepared) => prepared,
                    Prepared::Answer(answer) => return Ok(answer),
                };
                let begun = ground.intend(&wanted, &format!("to be written to {}", prepared.path)).await?;
                let (root, change) = (root.clone(), prepared.clone());
                let put = move || folder::put(&root, &change.path, change.before.as_deref(), change.after.as_deref());
                match tokio::task::spawn_blocking(put).await.map_err(|error| Refusal::Away(error.to_string()))? {
                    Ok(()) => {
                        ground.note(&wanted, begun, Ok(&format!("written to {}", prepared.path))).await;
                        return Ok(Answer::Done { is_rewritten: prepared.is_rewritten });
                    }
                    Err(folder::PutError::Moved) => ground.note(&wanted, begun, Err("not written: somebody was faster")).await,
                    Err(error) => {
                        ground.note(&wanted, begun, Err(&format!("not written: {error}"))).await;
                        return Err(Refusal::Conflict { detail: error.to_string(), diff: None });
                    }
                }
            }
            Err(moved_again())
        }
        Place::Git(source) => commit(ground, source, &wanted).await,
    }
}

fn moved_again() -> Refusal {
    Refusal::Away(format!("others write too: {TRIES} tries were in vain; try again"))
}

/// Makes a commit of it, and pushes that.
async fn commit(ground: &Ground, source: &Source, wanted: &Wanted) -> Result<Answer, Refusal> {
    let Writing { mode, branch, signing, is_verified, .. } = &*ground.writing;
    let is_direct = *mode == Mode::Direct;
    if is_direct && *is_verified && signing.is_none() {
        return Err(Refusal::Never(
            "only signed commits come in force here, and there is no key to sign with (`--write-signing-key`)".into(),
        ));
    }
    for _ in 0..TRIES {
        let followed = ground.read().await?.looked_at_git(source).await.map_err(Refusal::Away)?;
        let own = match branch.as_deref().filter(|_| !is_direct) {
            Some(branch) => followed.on_branch(source, branch).await.map_err(Refusal::Away)?,
            None => None,
        };
        if let (Some(own), Some(base), Some(branch)) = (own.as_ref().and_then(Reading::known), followed.known(), branch) {
            source.may_build_on(own, base, signing.as_ref()).await.map_err(|error| not_built_on(branch, &error))?;
        }
        let (newest, expected) = match (&own, is_direct) {
            (Some(own), _) => (own, own.known()),
            (None, true) => (&followed, followed.known()),
            (None, false) => (&followed, None),
        };
        let prepared = match prepare(ground, newest, wanted).await? {
            Prepared::Ready(prepared) => prepared,
            Prepared::Answer(answer) => return Ok(answer),
        };
        let Some(base) = newest.known() else { return Err(Refusal::Away("the repository has not been read yet".into())) };
        let message = message(wanted);
        let draft = Draft {
            base: base.to_owned(),
            path: prepared.path.clone(),
            text: prepared.after.clone(),
            author: git::Author { name: wanted.by.name.clone(), email: wanted.by.email.clone() },
            message: format!("{message}\n\nBy {} through the interface of Evenkeel.\n", wanted.by.name),
            at: Timestamp::now(),
        };
        let commit = source.write(draft, signing.clone()).await.map_err(|error| refusal(&error))?;
        let name = match (is_direct, branch) {
            (true, _) => source.reference().to_owned(),
            (false, Some(branch)) => branch.clone(),
            (false, None) => format!("evenkeel/{}-{}", word(&wanted.by.name), &commit[..8]),
        };
        let begun = ground.intend(wanted, &format!("commit {commit} is to be put on {name}")).await?;
        let pushed = source.push(&commit, &name, expected).await;
        if let Err(error) = &pushed {
            ground.note(wanted, begun, Err(&format!("commit {commit} is not on {name}: {error}"))).await;
        }
        match pushed {
            Ok(()) => {
                ground.note(wanted, begun, Ok(&format!("commit {commit} on {name}"))).await;
                let is_followed = name == source.reference();
                let FileChange { path: file, is_rewritten, .. } = prepared;
                return Ok(Answer::Committed(Committed { commit, branch: name, message, file, is_followed, is_rewritten }));
            }
            Err(PushError::Moved) => tracing::info!(commit, branch = name, "somebody was faster: the change is made anew on top"),
            Err(PushError::Refused(reason)) => {
                let detail = format!("the repository does not take branch {name}: {reason}");
                return Err(Refusal::Conflict { detail, diff: None });
            }
            Err(PushError::Git(error)) => return Err(refusal(&error)),
        }
    }
    Err(moved_again())
}

/// What somebody else has put on the branch for changes, and nobody answers for, would come in force in our name.
fn not_built_on(branch: &str, error: &git::Error) -> Refusal {
    match error {
        git::Error::Unverified { commit, reason } => Refusal::Conflict {
            detail: format!(
                "branch {branch} has commit {commit}, on which nothing is built: {reason}; only signed commits count here, so take it off that branch"
            ),
            diff: None,
        },
        error => refusal(error),
    }
}

fn refusal(error: &git::Error) -> Refusal {
    match error {
        git::Error::Unusable { .. } | git::Error::TooMany { .. } => Refusal::Conflict { detail: error.to_string(), diff: None },
        error => Refusal::Away(error.to_string()),
    }
}

/// What a change says of itself, in one line.
fn message(wanted: &Wanted) -> String {
    if let Some(message) = &wanted.message {
        return message.clone();
    }
    let deed = match (&wanted.how, &wanted.seen) {
        (How::Delete, _) => "Delete",
        (_, None) => "Create",
        (_, Some(_)) => "Change",
    };
    format!("{deed} {}", Target::of(wanted.key.0, wanted.key.1.clone()))
}

/// A name as a branch can have it.
fn word(name: &str) -> String {
    let is_word = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let word: String = name.chars().map(is_word).take(40).collect();
    let word = word.trim_matches('-').to_owned();
    if word.is_empty() { "somebody".into() } else { word }
}

impl Ground {
    /// What was read of the source last.
    async fn read(&self) -> Result<Reading, Refusal> {
        let (tell, told) = oneshot::channel();
        self.ask.try_send(Wish::Reading(tell)).map_err(|_| Refusal::Away("the source is busy".into()))?;
        told.await.map_err(|_| Refusal::Away("the engine is stopping".into()))?.map_err(Refusal::Away)
    }

    /// Writes down who wants what, before it is done: what can't be recorded is not done. Returns the entry that what comes of it refers to.
    async fn intend(&self, wanted: &Wanted, message: &str) -> Result<Option<u64>, Refusal> {
        let begun = Entry { outcome: "begun".into(), ..entry(wanted, message) };
        let logged = self.store.logged(vec![begun]).await;
        logged.map_err(|error| {
            Refusal::Away(format!("the store does not take writes just now ({error}), and what can't be recorded is not done"))
        })
    }

    /// Waits until an object is otherwise in force than it was seen; not for long.
    async fn until_in_force(&self, wanted: &Wanted) {
        for _ in 0..LOOKS {
            let is_new = {
                let view = self.view.read().unwrap_or_else(std::sync::PoisonError::into_inner);
                view.desired.objects.get(&wanted.key).map(|object| &**object) != wanted.seen.as_deref()
            };
            if is_new {
                return;
            }
            tokio::time::sleep(BETWEEN).await;
        }
    }

    /// Writes down what came of it, and has it come in force without waiting.
    async fn note(&self, wanted: &Wanted, begun: Option<u64>, outcome: Result<&str, &str>) {
        let (word, message) = match outcome {
            Ok(message) => ("done", message),
            Err(message) => ("failed", message),
        };
        let entry = Entry { outcome: word.into(), refers_to: begun, ..entry(wanted, message) };
        tracing::info!(by = wanted.by.name, target = entry.target, "{}: {message}", entry.verb);
        if let Err(error) = self.store.log(vec![entry]).await {
            tracing::warn!(%error, "what came of a change could not be written into the audit log, only that it was to be made");
        }
        let _ = self.ask.try_send(Wish::Look);
    }
}

fn entry(wanted: &Wanted, message: &str) -> Entry {
    let verb = match (&wanted.how, &wanted.seen) {
        (How::Delete, _) => "delete",
        (_, None) => "create",
        (_, Some(_)) => "change",
    };
    audit(Actor::user(&wanted.by.name), verb, &Target::of(wanted.key.0, wanted.key.1.clone()).to_string(), message)
}

#[derive(Clone)]
enum Prepared {
    Ready(FileChange),
    Answer(Answer),
}

/// What becomes of the file, if they may, and it is right.
async fn prepare(ground: &Ground, newest: &Reading, wanted: &Wanted) -> Result<Prepared, Refusal> {
    let now = newest.objects().get(&wanted.key).cloned();
    may_touch(ground, wanted, now.as_ref())?;
    let patch = patch(wanted, now.as_deref())?;
    // Whoever may not is told so before anything is worked out.
    if let Some(object) = foreseen(wanted, now.as_deref(), patch.as_ref()) {
        may(ground, wanted, now.as_ref(), Some(&object))?;
    }
    let reader = newest.reader().clone();
    let (key, for_edit) = (wanted.key.clone(), patch.clone());
    let edited = move || {
        let wanted = for_edit.as_ref().map_or(edit::Wanted::Gone, edit::Wanted::Merged);
        edit::change(&reader, &key, wanted)
    };
    let edited = tokio::task::spawn_blocking(edited).await.map_err(|error| Refusal::Away(error.to_string()))?;
    let change = match edited {
        Ok(Some(change)) => change,
        Ok(None) => return Ok(Prepared::Answer(if wanted.is_trial { Answer::Tried(Trial::default()) } else { Answer::Same })),
        Err(edit::Error::Missing) => return Err(Refusal::Missing),
        Err(error) => return Err(Refusal::Conflict { detail: error.to_string(), diff: None }),
    };
    let tried = newest.tried(&change).await.map_err(Refusal::Away)?;
    may(ground, wanted, now.as_ref(), tried.object(&wanted.key))?;
    let own = Target::of(wanted.key.0, wanted.key.1.clone()).to_string();
    let is_unjudged = wanted.is_narrow && patch.is_some() && tried.object(&wanted.key).is_none();
    let is_shown = |finding: &&Finding| !is_unjudged || finding.object.is_empty() || finding.object == own;
    let of = |finding: &Finding| if wanted.is_narrow { fault_alone(finding) } else { fault(finding) };
    let findings: Vec<&Finding> = tried.findings.iter().filter(is_shown).collect();
    let faults: Vec<Fault> = findings.iter().map(|finding| of(finding)).collect();
    if is_unjudged && !findings.iter().any(|finding| finding.severity == Severity::Error) {
        return Err(Refusal::Forbidden(format!("{own} can't be read as it would become, so no Role can allow it")));
    }
    let errors: Vec<Fault> =
        findings.iter().zip(&faults).filter(|(finding, _)| finding.severity == Severity::Error).map(|(_, fault)| fault.clone()).collect();
    if wanted.is_trial {
        // Who may not see everything sees nothing of what else is in the file.
        let diff = if wanted.is_narrow {
            let text = |object: &Arc<Object>| edit::written(&said(&object.to_value()));
            let next = tried.object(&wanted.key).filter(|_| patch.is_some()).map(text);
            edit::unified(&own, now.as_ref().map(text).as_deref(), next.as_deref(), AROUND)
        } else {
            edit::unified(&change.path, change.before.as_deref(), change.after.as_deref(), AROUND)
        };
        let trial = Trial { diff, findings: faults, file: Some(change.path), is_rewritten: change.is_rewritten };
        return Ok(Prepared::Answer(Answer::Tried(trial)));
    }
    if !errors.is_empty() {
        return Err(Refusal::Invalid(errors));
    }
    Ok(Prepared::Ready(change))
}

/// The object as it would become, where that can be said before its file is changed.
fn foreseen(wanted: &Wanted, now: Option<&Object>, patch: Option<&Value>) -> Option<Arc<Object>> {
    let mut value = edit::merge(&now.map_or_else(|| json!({}), |now| said(&now.to_value())), patch?);
    let (kind, name) = &wanted.key;
    value["apiVersion"] = json!(format!("{}/{}", crds::GROUP, crds::VERSION));
    value["kind"] = json!(kind.as_str());
    value.as_object_mut()?.entry("metadata").or_insert_with(|| json!({})).as_object_mut()?.insert("name".into(), json!(name.name()));
    Object::from_value(*kind, value).ok().map(Arc::new)
}

/// What of the object has to change, as a merge patch; `None` where it is to be deleted. It has to be as it was when they saw it.
fn patch(wanted: &Wanted, now: Option<&Object>) -> Result<Option<Value>, Refusal> {
    let text = |object: &Object| edit::written(&said(&object.to_value()));
    if now != wanted.seen.as_deref() && !(now.is_some() && matches!(wanted.how, How::Create(_))) {
        let texts = [wanted.seen.as_deref(), now].map(|object| object.map(text));
        let target = Target::of(wanted.key.0, wanted.key.1.clone()).to_string();
        let diff = edit::unified(&target, texts[0].as_deref(), texts[1].as_deref(), AROUND);
        let detail = format!("{target} is otherwise in the source than what is in force: what came since is not overwritten");
        return Err(Refusal::Conflict { detail, diff: Some(diff) });
    }
    let target = || Target::of(wanted.key.0, wanted.key.1.clone());
    match (&wanted.how, now) {
        (How::Create(_), Some(_)) => Err(Refusal::Conflict { detail: format!("{} is there already", target()), diff: None }),
        (How::Merge(_) | How::Delete, None) => Err(Refusal::Missing),
        (How::Delete, Some(_)) => Ok(None),
        (How::Create(value) | How::Replace(value), None) => {
            let value = said(value);
            same_identity(&wanted.key, &value, None)?;
            Ok(Some(value))
        }
        (How::Replace(value), Some(now)) => {
            let (before, mut value) = (said(&now.to_value()), said(value));
            // What need not be said again.
            for (pointer, field) in [("", "apiVersion"), ("", "kind"), ("/metadata", "name"), ("/metadata", "namespace")] {
                if let (Some(parts), Some(there)) =
                    (value.pointer_mut(pointer).and_then(Value::as_object_mut), before.pointer(pointer).and_then(|of| of.get(field)))
                {
                    parts.entry(field).or_insert_with(|| there.clone());
                }
            }
            same_identity(&wanted.key, &value, Some(&before))?;
            Ok(Some(without_namespace(edit::difference(&before, &value), now)))
        }
        (How::Merge(patch), Some(now)) => {
            let before = said(&now.to_value());
            let patch = said(patch);
            same_identity(&wanted.key, &edit::merge(&before, &patch), Some(&before))?;
            Ok(Some(without_namespace(patch, now)))
        }
    }
}

/// A namespace that the file does not name need not be named for saying the same.
fn without_namespace(mut patch: Value, now: &Object) -> Value {
    if now.metadata().namespace.is_none()
        && let Some(metadata) = patch.get_mut("metadata").and_then(Value::as_object_mut)
    {
        metadata.remove("namespace");
    }
    patch
}

/// What an object says, without what is only shown with it.
fn said(value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|field, _| !SHOWN.contains(&field.as_str()));
        if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.retain(|field, _| !KEPT.contains(&field.as_str()));
        }
    }
    value
}

/// What an object is called, and what can't be otherwise, stays.
fn same_identity((kind, name): &Key, value: &Value, before: Option<&Value>) -> Result<(), Refusal> {
    let version = format!("{}/{}", crds::GROUP, crds::VERSION);
    if value.get("metadata").is_some_and(|metadata| !metadata.is_object()) {
        return Err(Refusal::Invalid(vec![plain_fault("/metadata", "it has to be an object")]));
    }
    let mut faults = Vec::new();
    let mut expect = |pointer: &str, wanted: &str| {
        let found = value.pointer(pointer);
        // A new one need not say what it is: that is added. One that is there does, and goes on doing so.
        let is_gone = found.is_none() && before.is_some_and(|before| before.pointer(pointer).is_some());
        if is_gone || found.is_some_and(|found| found.as_str() != Some(wanted)) {
            faults.push(plain_fault(pointer, format!("it is {wanted:?} and can't be otherwise: make a new object, and delete this one")));
        }
    };
    expect("/apiVersion", &version);
    expect("/kind", kind.as_str());
    expect("/metadata/name", name.name());
    expect("/metadata/namespace", name.namespace());
    if let (Kind::Device, Some(before)) = (kind, before.and_then(|before| before.pointer("/spec/type")).and_then(Value::as_str)) {
        expect("/spec/type", before);
        if value.pointer("/spec/type").is_none() {
            faults.push(plain_fault("/spec/type", "it can't be taken away"));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(Refusal::Invalid(faults)) }
}

fn plain_fault(pointer: &str, detail: impl Into<String>) -> Fault {
    Fault {
        severity: Severity::Error.word().into(),
        object: String::new(),
        pointer: pointer.into(),
        detail: detail.into(),
        file: None,
        line: None,
        column: None,
    }
}

fn fault(finding: &Finding) -> Fault {
    let Finding { severity, file, line, column, object, path, message, help, .. } = finding;
    let has_file = !file.is_empty();
    Fault {
        severity: severity.word().into(),
        object: object.clone(),
        pointer: pointer(path),
        detail: if help.is_empty() { message.clone() } else { format!("{message}; {help}") },
        file: has_file.then(|| file.clone()),
        line: has_file.then_some(*line),
        column: has_file.then_some(*column),
    }
}

/// The same without what it would rather be: that may name what they don't see.
fn fault_alone(finding: &Finding) -> Fault {
    Fault { detail: finding.message.clone(), ..fault(finding) }
}

/// `spec.probes[0].http` as RFC 6901 has it: `/spec/probes/0/http`.
fn pointer(path: &str) -> String {
    let parts = path.split(['.', '[']).map(|part| part.trim_end_matches(']').trim_matches('"')).filter(|part| !part.is_empty());
    parts.map(|part| format!("/{}", part.replace('~', "~0").replace('/', "~1"))).collect()
}

/// Whether they may change what is there now at all: before that, nothing is said of it.
fn may_touch(ground: &Ground, wanted: &Wanted, now: Option<&Arc<Object>>) -> Result<(), Refusal> {
    if now.is_some() { may(ground, wanted, now, None) } else { Ok(()) }
}

/// Whether their Roles allow it: on the object as it is, and as it becomes, with the fleet that there is then.
fn may(ground: &Ground, wanted: &Wanted, now: Option<&Arc<Object>>, next: Option<&Arc<Object>>) -> Result<(), Refusal> {
    let there = ground.view.read().unwrap_or_else(std::sync::PoisonError::into_inner).governing().clone();
    allowed(&there, wanted, now, next)
}

fn allowed(there: &Desired, wanted: &Wanted, now: Option<&Arc<Object>>, next: Option<&Arc<Object>>) -> Result<(), Refusal> {
    let Some(who) = &wanted.judged else { return Ok(()) };
    let (kind, name) = &wanted.key;
    let of = |object: Option<&Arc<Object>>| -> Objects { object.map(|object| (wanted.key.clone(), object.clone())).into_iter().collect() };
    let answering = |_: &Key| vec![Answering { who: who.clone(), shown: wanted.by.name.clone() }];
    let judged = judge(name.namespace(), there, &of(now), &of(next), answering);
    if judged.denied.is_empty() {
        return Ok(());
    }
    if *kind == Kind::Silence && may_silence(there, who, name.namespace(), [now, next]) {
        return Ok(());
    }
    // Why in full may name devices that they don't see.
    let target = Target::of(*kind, name.clone());
    Err(Refusal::Forbidden(format!(
        "no Role lets {} edit {target} both as it is and as it would become (every device that it is about counts): see `evenkeel can`",
        wanted.by.name
    )))
}

/// Whoever may mute the alerts of devices may do so: by a Silence that is about these and no others.
fn may_silence(there: &Desired, who: &Who, namespace: &str, objects: [Option<&Arc<Object>>; 2]) -> bool {
    let may = |kind: Kind, object: &Object| {
        let request = Request { who, verb: Verb::Silence, kind, namespace, what: What::Object(object) };
        matches!(decide(there, there, &request), Decision::Allowed { .. })
    };
    let mut objects = objects.into_iter().flatten().peekable();
    objects.peek().is_some() && objects.all(|object| may(Kind::Silence, object) || may(Kind::Device, object))
}

#[cfg(test)]
mod tests;
