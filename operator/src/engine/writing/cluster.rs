//! A change in a cluster: made there in the name of who asks, whose rights are the limit, and whose managed fields are theirs.
//!
//! It is made of the object as the API server has it, at that version: who writes at the same time is not overwritten. That its status was
//! written meanwhile is no reason to give up, so it is looked at again, a few times.

use std::collections::BTreeSet;
use std::sync::Arc;

use api::change::{Answer, Fault, How, Refusal, Trial, Wanted};
use cluster::Cluster;
use cluster::by_user::{Hand, Held, Live, Manner, Refused};
use crds::{Kind, Object};
use manifests::edit;
use reconcile::finding::{Finding, Severity};
use reconcile::{Name, Target};
use serde_json::{Value, json};

use super::{AROUND, Ground, TRIES, fault, may, may_touch, moved_again, patch, plain_fault, pointer, said};

/// What of an object's metadata is changed here.
const METADATA: [&str; 4] = ["name", "namespace", "labels", "annotations"];
/// How many fields that others manage are named.
const NAMED: usize = 10;

pub(super) async fn change(ground: &Ground, cluster: &Cluster, wanted: &Wanted) -> Result<Answer, Refusal> {
    if wanted.is_nobody {
        let why = "nobody whom the cluster knows asks: sign in as somebody, or with a Kubernetes token, or use kubectl";
        return Err(Refusal::Forbidden(why.into()));
    }
    let hand = cluster.hand_of(&wanted.by.name, &wanted.groups).map_err(|error| Refusal::Away(error.in_full()))?;
    let mut begun = None;
    for _ in 0..TRIES {
        let ready = match prepare(ground, &hand, wanted).await {
            Ok(Prepared::Ready(ready)) => ready,
            Ok(Prepared::Answer(answer)) => return Ok(answer),
            Err(refusal) => return Err(failed(ground, wanted, begun, refusal).await),
        };
        if begun.is_none() && !wanted.is_trial {
            begun = Some(ground.intend(wanted, "to be written in the cluster").await?);
        }
        match ready.write(&hand, wanted).await {
            Ok(after) if wanted.is_trial => {
                let diff = diff(wanted, ready.now(), after.map(|after| after.to_value()).as_ref());
                return Ok(Answer::Tried(Trial { diff, findings: ready.findings, ..Trial::default() }));
            }
            Ok(_) => {
                ground.note(wanted, begun.flatten(), Ok("written in the cluster")).await;
                return Ok(Answer::Done { is_rewritten: false });
            }
            Err(Refused::Moved(said)) => tracing::info!(said, "somebody was faster: the object is looked at again"),
            Err(refused) => match refusal(wanted, refused) {
                Refusal::Invalid(faults) if wanted.is_trial => return Ok(ready.is_wrong(wanted, faults)),
                refusal => return Err(failed(ground, wanted, begun, refusal).await),
            },
        }
    }
    Err(failed(ground, wanted, begun, moved_again()).await)
}

/// Writes down that it came to nothing, if it was begun.
async fn failed(ground: &Ground, wanted: &Wanted, begun: Option<Option<u64>>, refusal: Refusal) -> Refusal {
    if let Some(begun) = begun {
        ground.note(wanted, begun, Err(&format!("not written in the cluster: {}", words(&refusal)))).await;
    }
    refusal
}

fn words(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Conflict { detail, .. } | Refusal::Forbidden(detail) | Refusal::Never(detail) | Refusal::Away(detail) => detail.clone(),
        Refusal::Invalid(faults) => faults.iter().map(|fault| format!("{} {}", fault.pointer, fault.detail)).collect::<Vec<_>>().join("; "),
        Refusal::Missing => "it is not there any more".into(),
    }
}

enum Prepared {
    Ready(Box<Ready>),
    Answer(Answer),
}

/// What is to be written.
struct Ready {
    live: Option<Live>,
    /// As it is written, and as it is understood; `None`: it is to be deleted.
    next: Option<(Value, Arc<Object>)>,
    /// What is worth knowing about it.
    findings: Vec<Fault>,
}

impl Ready {
    fn now(&self) -> Option<&Object> {
        self.live.as_ref().and_then(|live| live.known.object.as_deref())
    }

    /// What is answered to who only tries it.
    fn is_wrong(&self, wanted: &Wanted, findings: Vec<Fault>) -> Answer {
        let diff = diff(wanted, self.now(), self.next.as_ref().map(|(value, _)| value));
        Answer::Tried(Trial { diff, findings, ..Trial::default() })
    }

    /// Writes it, and returns what is there then.
    async fn write(&self, hand: &Hand, wanted: &Wanted) -> Result<Option<Arc<Object>>, Refused> {
        let manner = Manner { is_trial: wanted.is_trial, is_forced: wanted.is_forced };
        match (&self.live, &self.next) {
            (Some(live), None) => hand.delete(&wanted.key, live, wanted.is_trial).await.map(|()| None),
            (None, None) => Err(Refused::Missing),
            (None, Some((value, _))) => hand.create(&wanted.key, value, wanted.is_trial).await.map(|live| live.known.object),
            (Some(live), Some((_, object))) => hand.change(&wanted.key, live, object, manner).await.map(|live| live.known.object),
        }
    }
}

/// What has to be written, if they may, and it is right.
async fn prepare(ground: &Ground, hand: &Hand, wanted: &Wanted) -> Result<Prepared, Refusal> {
    // Who makes one need not be allowed to read it, and is told by the API server if there is one.
    let live = match wanted.how {
        How::Create(_) => None,
        _ => hand.get(&wanted.key).await.map_err(|refused| refusal(wanted, refused))?,
    };
    let now = live.as_ref().and_then(|live| live.known.object.clone());
    may_touch(ground, wanted, now.as_ref())?;
    is_writable(wanted, live.as_ref())?;
    let patch = patch(wanted, now.as_deref())?;
    if let Some(from) = live.as_ref().and_then(|live| live.known.from.as_deref()).filter(|from| is_followed(ground, from)) {
        return Err(Refusal::Conflict { detail: format!("it comes from Git, by repository/{from}: change it there"), diff: None });
    }
    let Some(patch) = patch else {
        may(ground, wanted, now.as_ref(), None)?;
        return checked(ground, wanted, Ready { live, next: None, findings: Vec::new() }).await;
    };
    let before = now.as_ref().map_or_else(|| json!({}), |now| said(&now.to_value()));
    let value = next(wanted, &before, &patch)?;
    if value == before {
        return Ok(Prepared::Answer(if wanted.is_trial { Answer::Tried(Trial::default()) } else { Answer::Same }));
    }
    let kind = wanted.key.0;
    let faults: Vec<Fault> = manifests::faults(kind, &value).iter().map(fault).collect();
    match (faults.is_empty(), wanted.is_trial) {
        (true, _) => {}
        (false, true) => {
            let diff = diff(wanted, now.as_deref(), Some(&value));
            return Ok(Prepared::Answer(Answer::Tried(Trial { diff, findings: faults, ..Trial::default() })));
        }
        (false, false) => return Err(Refusal::Invalid(faults)),
    }
    let object = Object::from_value(kind, value.clone()).map(Arc::new);
    let object = object.map_err(|error| Refusal::Invalid(vec![plain_fault("/spec", error.to_string())]))?;
    may(ground, wanted, now.as_ref(), Some(&object))?;
    checked(ground, wanted, Ready { live, next: Some((value, object)), findings: Vec::new() }).await
}

/// One that goes already, or that this version can't read, is left alone.
fn is_writable(wanted: &Wanted, live: Option<&Live>) -> Result<(), Refusal> {
    let makes = matches!(wanted.how, How::Create(_) | How::Replace(_));
    let Some(live) = live else { return if makes { Ok(()) } else { Err(Refusal::Missing) } };
    if let Some(why) = &live.known.broken {
        return Err(match &wanted.judged {
            Some(_) => Refusal::Forbidden("it can't be read as it is, so no Role can allow it: see `kubectl describe`".into()),
            None => Refusal::Conflict { detail: format!("it can't be changed here: {why}; use kubectl"), diff: None },
        });
    }
    match (live.known.deleting, makes) {
        (false, _) => Ok(()),
        (true, true) => Err(Refusal::Conflict {
            detail: "one of that name is being deleted, and not gone yet: try again when it is".into(),
            diff: None,
        }),
        (true, false) => Err(Refusal::Missing),
    }
}

/// Whether there is a Repository of this name: of what one left behind nobody would undo a change.
fn is_followed(ground: &Ground, repository: &str) -> bool {
    let view = ground.view.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    view.governing().objects.contains_key(&(Kind::Repository, Name::parse(repository)))
}

/// The object as it is to be.
fn next(wanted: &Wanted, before: &Value, patch: &Value) -> Result<Value, Refusal> {
    let (kind, name) = &wanted.key;
    let mut value = edit::merge(before, patch);
    value["apiVersion"] = json!(format!("{}/{}", crds::GROUP, crds::VERSION));
    value["kind"] = json!(kind.as_str());
    value["metadata"]["name"] = json!(name.name());
    value["metadata"]["namespace"] = json!(name.namespace());
    let fields = value["metadata"].as_object().into_iter().flatten().map(|(field, _)| field.as_str());
    let others: Vec<Fault> = fields
        .filter(|field| !METADATA.contains(field))
        .map(|field| plain_fault(&format!("/metadata/{field}"), "it is not changed here: leave it out, or use kubectl"))
        .collect();
    if others.is_empty() { Ok(value) } else { Err(Refusal::Invalid(others)) }
}

/// With everything else that there is: what would be wrong afterwards, and is not wrong now, is not written.
async fn checked(ground: &Ground, wanted: &Wanted, mut ready: Ready) -> Result<Prepared, Refusal> {
    let before = ground.view.read().unwrap_or_else(std::sync::PoisonError::into_inner).governing().clone();
    let changed = (wanted.key.clone(), ready.next.as_ref().map(|(_, object)| object.clone()));
    let what = |finding: &Finding| (finding.code, finding.object.clone(), finding.path.clone(), finding.message.clone());
    let work = move || {
        let known: BTreeSet<_> = before.findings().iter().map(what).collect();
        let (after, _) = before.update([changed], before.revision.clone());
        after.findings().into_iter().filter(|finding| !known.contains(&what(finding))).collect::<Vec<_>>()
    };
    let findings = tokio::task::spawn_blocking(work).await.map_err(|error| Refusal::Away(error.to_string()))?;
    let faults: Vec<Fault> = findings.iter().map(|finding| found(finding, wanted.is_narrow)).collect();
    let is_wrong = findings.iter().any(|finding| finding.severity == Severity::Error);
    match (is_wrong, wanted.is_trial) {
        (true, true) => Ok(Prepared::Answer(ready.is_wrong(wanted, faults))),
        (true, false) => {
            let is_error = |fault: &Fault| fault.severity == Severity::Error.word();
            Err(Refusal::Invalid(faults.into_iter().filter(is_error).collect()))
        }
        (false, _) => {
            ready.findings = faults;
            Ok(Prepared::Ready(Box::new(ready)))
        }
    }
}

/// What would help may name what who is `narrow` does not see.
fn found(finding: &Finding, is_narrow: bool) -> Fault {
    let Finding { severity, object, path, message, help, .. } = finding;
    let detail = if help.is_empty() || is_narrow { message.clone() } else { format!("{message}; {help}") };
    Fault { severity: severity.word().into(), object: object.to_string(), ..plain_fault(&pointer(path), detail) }
}

fn diff(wanted: &Wanted, now: Option<&Object>, next: Option<&Value>) -> String {
    let text = |value: &Value| edit::written(&said(value));
    let now = now.map(|now| text(&now.to_value()));
    edit::unified(&target(wanted).to_string(), now.as_deref(), next.map(text).as_deref(), AROUND)
}

fn target(wanted: &Wanted) -> Target {
    Target::of(wanted.key.0, wanted.key.1.clone())
}

fn refusal(wanted: &Wanted, refused: Refused) -> Refusal {
    let user = &wanted.by.name;
    match refused {
        Refused::Forbidden(said) => Refusal::Forbidden(format!("the cluster does not let {user} do it: {said}")),
        Refused::NotLent(said) => {
            let groups = match wanted.groups.is_empty() {
                true => String::new(),
                false => format!(" and each group of theirs ({})", wanted.groups.join(", ")),
            };
            Refusal::Forbidden(format!(
                "the engine may not act for {user} in the cluster: the chart's `actFor` has to name them{groups}: {said}"
            ))
        }
        Refused::Managed(held) => Refusal::Conflict { detail: managed(&held), diff: None },
        Refused::Exists(said) => Refusal::Conflict { detail: format!("{} is there already: {said}", target(wanted)), diff: None },
        Refused::Moved(said) | Refused::Away(said) => Refusal::Away(said),
        Refused::Invalid(wrong) => Refusal::Invalid(wrong.iter().map(|wrong| plain_fault(&pointer(&wrong.field), &wrong.said)).collect()),
        Refused::Missing => Refusal::Missing,
    }
}

fn managed(held: &[Held]) -> String {
    let fields: Vec<String> = held.iter().take(NAMED).map(|held| format!("{} ({})", held.field, held.by)).collect();
    let more = if held.len() > NAMED { format!(" and {} more", held.len() - NAMED) } else { String::new() };
    format!(
        "others manage what would change, and nothing is written: {}{more}; with `force=true` it is taken over from them",
        fields.join(", ")
    )
}
