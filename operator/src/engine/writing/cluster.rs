//! A change in a cluster: applied there in the name of who asks, whose rights are the limit, and whose managed fields are theirs.

use api::change::{Answer, Refusal, Trial, Wanted};
use cluster::Cluster;
use cluster::by_user::{Applied, Hand, Refused};
use crds::Object;
use manifests::edit;
use reconcile::Target;
use serde_json::{Value, json};

use super::{AROUND, Ground, fault, may, may_touch, patch, plain_fault, said};

pub(super) async fn change(ground: &Ground, cluster: &Cluster, wanted: &Wanted) -> Result<Answer, Refusal> {
    let (kind, name) = &wanted.key;
    if wanted.is_nobody {
        let why = "nobody whom the cluster knows asks: sign in as somebody, or with a Kubernetes token, or use kubectl";
        return Err(Refusal::Forbidden(why.into()));
    }
    let known = cluster.known(&wanted.key);
    let now = known.as_ref().filter(|known| !known.deleting).and_then(|known| known.object.clone());
    may_touch(ground, wanted, now.as_ref())?;
    if let Some(from) = known.as_ref().and_then(|known| known.from.as_deref()) {
        return Err(Refusal::Conflict { detail: format!("it comes from repository {from}: change it there"), diff: None });
    }
    let patch = patch(wanted, now.as_deref())?;
    let next = match &patch {
        None => None,
        Some(patch) => {
            let mut value = edit::merge(&now.as_ref().map_or_else(|| json!({}), |now| said(&now.to_value())), patch);
            value["apiVersion"] = json!(format!("{}/{}", crds::GROUP, crds::VERSION));
            value["kind"] = json!(kind.as_str());
            value["metadata"]["name"] = json!(name.name());
            value["metadata"]["namespace"] = json!(name.namespace());
            let faults: Vec<_> = manifests::faults(*kind, &value).iter().map(fault).collect();
            if !faults.is_empty() {
                return Err(Refusal::Invalid(faults));
            }
            Some(value)
        }
    };
    let object = next.clone().map(|value| Object::from_value(*kind, value));
    let object =
        object.transpose().map_err(|error| Refusal::Invalid(vec![plain_fault("/spec", error.to_string())]))?.map(std::sync::Arc::new);
    may(ground, wanted, now.as_ref(), object.as_ref())?;
    let hand = cluster.hand_of(&wanted.by.name, &wanted.groups).map_err(|error| Refusal::Away(error.in_full()))?;
    let uid = known.as_ref().map(|known| known.uid.as_str());
    let begun = if wanted.is_trial { None } else { ground.intend(wanted, "to be applied in the cluster").await? };
    let applied = match &next {
        None => hand.delete(&wanted.key, uid.unwrap_or_default(), wanted.is_trial).await,
        Some(value) => apply(&hand, wanted, value, uid).await,
    };
    if let (Err(refused), false) = (&applied, wanted.is_trial) {
        ground.note(wanted, begun, Err(&format!("not applied in the cluster: {refused:?}"))).await;
    }
    let applied = applied.map_err(|refused| refusal(wanted, refused))?;
    if wanted.is_trial {
        let text = |value: Option<Value>| value.map(|value| edit::written(&said(&value)));
        let (before, after) = (text(now.map(|now| now.to_value())), text(applied.object));
        let target = Target::of(*kind, name.clone()).to_string();
        let diff = edit::unified(&target, before.as_deref(), after.as_deref(), AROUND);
        return Ok(Answer::Tried(Trial { diff, ..Trial::default() }));
    }
    ground.note(wanted, begun, Ok("applied in the cluster")).await;
    Ok(Answer::Done { is_rewritten: false })
}

async fn apply(hand: &Hand, wanted: &Wanted, value: &Value, uid: Option<&str>) -> Result<Applied, Refused> {
    let mut value = value.clone();
    // Of an object that was deleted and made again meanwhile nobody has said anything.
    if let (Some(uid), true) = (uid, wanted.seen.is_some()) {
        value["metadata"]["uid"] = json!(uid);
    }
    hand.apply(&wanted.key, &value, wanted.is_trial).await
}

fn refusal(wanted: &Wanted, refused: Refused) -> Refusal {
    let user = &wanted.by.name;
    match refused {
        Refused::Forbidden(said) => {
            Refusal::Forbidden(format!("the cluster does not let {user} do it, or this engine act for them: {said}"))
        }
        Refused::Conflict(said) => Refusal::Conflict { detail: said, diff: None },
        Refused::Invalid(said) => Refusal::Invalid(vec![plain_fault("", said)]),
        Refused::Missing => Refusal::Missing,
        Refused::Away(said) => Refusal::Away(said),
    }
}
