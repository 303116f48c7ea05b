//! What Roles give by kubectl: for each one a Role and a RoleBinding of Kubernetes' RBAC, as `evenkeel:NAME` in its namespace and owned by it.
//!
//! They are applied under a manager of their own, and watched by their label, so that what others change is put back. One of that name that
//! is not ours is left alone. The API server lets nobody hand out more than they hold (<https://kubernetes.io/docs/reference/access-authn-authz/rbac/>,
//! "Privilege escalation prevention"), and what the operator holds for that is in [`crate::rbac::handed_out`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use crds::{GROUP, Kind, Subject, VERSION};
use futures::stream::{BoxStream, SelectAll, StreamExt as _};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use k8s_openapi::{Metadata, NamespaceResourceScope};
use kube::api::{Api, Patch, PatchParams};
use kube::core::ObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Client, Resource};
use reconcile::Name;
use reconcile::access::Rule;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{Cluster, reason, within};

/// The manager of what is applied for Roles.
const MANAGER: &str = "evenkeel-roles";
/// The label that says whose they are.
const LABEL: (&str, &str) = ("app.kubernetes.io/managed-by", "evenkeel");
/// Before the name of the Role.
const PREFIX: &str = "evenkeel:";
/// The group of RBAC.
const RBAC: &str = "rbac.authorization.k8s.io";
/// Objects of one page of a list.
const PAGE: u32 = 500;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// What may be done.
    Role,
    /// By whom.
    Binding,
}

impl Part {
    fn kind(self) -> &'static str {
        match self {
            Self::Role => "Role",
            Self::Binding => "RoleBinding",
        }
    }
}

/// What a Role is to give.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    /// The Role's identity in this cluster; `None`: it is gone, and so is what it gave.
    pub owner: Option<String>,
    /// What may be done.
    pub rules: Vec<Rule>,
    /// By whom; signers are nobody that Kubernetes knows.
    pub subjects: Vec<Subject>,
}

impl Wanted {
    fn is_nothing(&self) -> bool {
        self.rules.is_empty() || self.subjects().next().is_none()
    }

    fn subjects(&self) -> impl Iterator<Item = Value> + '_ {
        self.subjects.iter().filter_map(|subject| {
            let (kind, name) = match (&subject.user, &subject.group) {
                (Some(user), _) => ("User", user),
                (None, Some(group)) => ("Group", group),
                (None, None) => return None,
            };
            Some(json!({"apiGroup": RBAC, "kind": kind, "name": name}))
        })
    }

    fn rules(&self) -> Vec<Value> {
        let rules = self.rules.iter().map(|rule| {
            let resources: Vec<&str> = rule.kinds.iter().map(|kind| kind.plural()).collect();
            let mut value = json!({"apiGroups": [GROUP], "resources": resources, "verbs": rule.verbs});
            if !rule.names.is_empty() {
                value["resourceNames"] = json!(rule.names);
            }
            value
        });
        rules.collect()
    }

    /// As it is applied.
    fn body(&self, part: Part, name: &Name, owner: Option<&str>) -> Value {
        let full = format!("{PREFIX}{}", name.name());
        let mut body = json!({
            "apiVersion": format!("{RBAC}/v1"),
            "kind": part.kind(),
            "metadata": {
                "name": full,
                "namespace": name.namespace(),
                "labels": {LABEL.0: LABEL.1},
            },
        });
        // Without one, where nobody knows it: the API server takes no owner without an identity.
        if let Some(owner) = owner {
            // Not one that a deletion of the Role has to wait for: that would need a right on its finalizers.
            body["metadata"]["ownerReferences"] =
                json!([{"apiVersion": format!("{GROUP}/{VERSION}"), "kind": Kind::Role.as_str(), "name": name.name(), "uid": owner}]);
        }
        let nothing = self.is_nothing();
        match part {
            Part::Role => body["rules"] = json!(if nothing { Vec::new() } else { self.rules() }),
            Part::Binding => {
                body["subjects"] = json!(if nothing { Vec::new() } else { self.subjects().collect() });
                body["roleRef"] = json!({"apiGroup": RBAC, "kind": "Role", "name": full});
            }
        }
        body
    }
}

/// One of ours, or one of its name, as the API server has it.
#[derive(Clone, Debug, PartialEq)]
struct Live {
    uid: String,
    /// It was applied by us.
    is_ours: bool,
    owner: Option<String>,
    /// What it says that we say too.
    says: Value,
}

impl Live {
    fn of<K: Serialize + Metadata<Ty = ObjectMeta>>(object: &K) -> Self {
        let metadata = object.metadata();
        let is_ours = |entry: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry| {
            entry.manager.as_deref() == Some(MANAGER) && entry.operation.as_deref() == Some("Apply")
        };
        let owner = metadata
            .owner_references
            .iter()
            .flatten()
            .find(|owner| owner.kind == Kind::Role.as_str() && owner.api_version.starts_with(GROUP));
        Self {
            uid: metadata.uid.clone().unwrap_or_default(),
            is_ours: metadata.managed_fields.iter().flatten().any(is_ours),
            owner: owner.map(|owner| owner.uid.clone()),
            says: says(&serde_json::to_value(object).unwrap_or_default()),
        }
    }
}

/// What we say of an object: its label, its owner, its rules or subjects.
fn says(object: &Value) -> Value {
    let list = |value: &Value| if value.is_null() { json!([]) } else { value.clone() };
    let owners = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    // Further owners of other kinds are not ours to take away.
    let owners = owners.filter(|owner| owner["apiVersion"].as_str().is_some_and(|version| version.starts_with(GROUP)));
    json!({
        "label": object["metadata"]["labels"][LABEL.0],
        "owners": owners.map(|owner| owner["uid"].clone()).collect::<Vec<_>>(),
        "rules": list(&object["rules"]),
        "subjects": list(&object["subjects"]),
        "roleRef": object["roleRef"],
    })
}

/// One object that has to be applied.
#[derive(Clone, Debug)]
pub struct Write {
    name: Name,
    part: Part,
    uid: Option<String>,
    body: Value,
}

/// What came of a write.
#[derive(Clone, Debug)]
pub struct Written {
    name: Name,
    part: Part,
    live: Live,
}

/// Why nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is one of that name that is not ours.
    #[error("{0} is there already and was not made by us: it is left alone. Rename the Role, or delete that one")]
    Foreign(String),
    /// The API server said no.
    #[error("{0}")]
    Refused(String),
    /// It may work the next time.
    #[error("{0}")]
    Away(String),
}

type Seen = (usize, Part, watcher::Result<Event<(Name, Live)>>);

/// What there is, watched.
pub struct Grants {
    streams: SelectAll<BoxStream<'static, Seen>>,
    table: BTreeMap<(Name, Part), Live>,
    /// What each list that is under way has shown so far, by watch.
    lists: BTreeMap<usize, BTreeSet<Name>>,
    /// Where each watch looks.
    places: Vec<Option<String>>,
    unlisted: BTreeSet<usize>,
}

impl Cluster {
    /// Begins to watch what Roles give.
    pub fn grants(&self) -> Grants {
        let places: Vec<Option<String>> =
            if self.namespaces.is_empty() { vec![None] } else { self.namespaces.iter().cloned().map(Some).collect() };
        let places: Vec<Option<String>> = places.iter().flat_map(|place| [place.clone(), place.clone()]).collect();
        let streams = places.iter().enumerate().map(|(number, place)| match number % 2 {
            0 => observe::<Role>(self.client.clone(), number, Part::Role, place.as_deref()),
            _ => observe::<RoleBinding>(self.client.clone(), number, Part::Binding, place.as_deref()),
        });
        Grants { streams: streams.collect(), table: BTreeMap::new(), lists: BTreeMap::new(), unlisted: (0..places.len()).collect(), places }
    }

    /// Applies one of them.
    pub async fn write_grant(&self, write: Write) -> Result<Written, Error> {
        match write.part {
            Part::Role => apply::<Role>(&self.client, write).await,
            Part::Binding => apply::<RoleBinding>(&self.client, write).await,
        }
    }
}

fn observe<K>(client: Client, number: usize, part: Part, place: Option<&str>) -> BoxStream<'static, Seen>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Metadata<Ty = ObjectMeta>
        + Serialize
        + DeserializeOwned
        + Clone
        + Debug
        + Send
        + 'static,
{
    let api: Api<K> = match place {
        None => Api::all(client),
        Some(namespace) => Api::namespaced(client, namespace),
    };
    let config = watcher::Config::default().labels(&format!("{}={}", LABEL.0, LABEL.1)).page_size(PAGE);
    let events = watcher::watcher(api, config).default_backoff();
    events
        .map(move |event| {
            let event = event.map(|event| match event {
                Event::Init => Event::Init,
                Event::InitDone => Event::InitDone,
                Event::InitApply(object) => Event::InitApply(read(&object)),
                Event::Apply(object) => Event::Apply(read(&object)),
                Event::Delete(object) => Event::Delete(read(&object)),
            });
            (number, part, event)
        })
        .boxed()
}

/// The Role that an object is for, by its name, and what it says.
fn read<K: Serialize + Metadata<Ty = ObjectMeta>>(object: &K) -> (Name, Live) {
    let metadata = object.metadata();
    let name = metadata.name.as_deref().unwrap_or_default();
    // A name of another form is for no Role: no Role has an empty name.
    let role = name.strip_prefix(PREFIX).unwrap_or_default();
    (Name::new(metadata.namespace.as_deref().unwrap_or_default(), role), Live::of(object))
}

async fn apply<K>(client: &Client, write: Write) -> Result<Written, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Metadata<Ty = ObjectMeta>
        + Serialize
        + DeserializeOwned
        + Clone
        + Debug,
{
    let Write { name, part, mut uid, mut body } = write;
    let api: Api<K> = Api::namespaced(client.clone(), name.namespace());
    let full = format!("{PREFIX}{}", name.name());
    let shown = || format!("{} {}/{full} of {RBAC}", part.kind(), name.namespace());
    if uid.is_none() {
        // It may be there without our label.
        let there = within(api.get_opt(&full)).await.map_err(|error| refusal(&shown(), &error))?;
        match there.as_ref().map(Live::of) {
            Some(live) if !live.is_ours => return Err(Error::Foreign(shown())),
            other => uid = other.map(|live| live.uid),
        }
    }
    // What is ours is put right, and no other one that has taken its name meanwhile; one that comes up just now is a conflict.
    let parameters = if uid.is_some() { PatchParams::apply(MANAGER).force() } else { PatchParams::apply(MANAGER) };
    if let Some(uid) = &uid {
        body["metadata"]["uid"] = json!(uid);
    }
    match within(api.patch(&full, &parameters, &Patch::Apply(&body))).await {
        Ok(object) => Ok(Written { name, part, live: Live::of(&object) }),
        Err(error) => Err(refusal(&shown(), &error)),
    }
}

fn refusal(shown: &str, error: &kube::Error) -> Error {
    let said = format!("{shown}: {}", reason(error)).replace('\n', " ");
    match error {
        // Somebody else was quicker: the next look shows who.
        kube::Error::Api(status) if status.code == 409 => Error::Away(said),
        kube::Error::Api(status) if (400..500).contains(&status.code) && ![401, 408, 429].contains(&status.code) => Error::Refused(said),
        _ => Error::Away(said),
    }
}

impl Grants {
    /// Waits until something is otherwise than before, and says for which Roles. What a watch has met with is an error; it goes on by
    /// itself, and nothing is lost.
    pub async fn next(&mut self) -> Result<BTreeSet<Name>, String> {
        let Some((number, part, event)) = self.streams.next().await else { return Err("the watches have ended".into()) };
        let event = event.map_err(|error| format!("watching {}s of {RBAC}: {error}", part.kind()))?;
        let changed = match event {
            Event::Init => {
                self.lists.insert(number, BTreeSet::new());
                None
            }
            Event::InitApply((name, live)) => {
                self.lists.entry(number).or_default().insert(name.clone());
                self.put(name, part, live)
            }
            Event::Apply((name, live)) => self.put(name, part, live),
            Event::Delete((name, _)) => self.table.remove(&(name.clone(), part)).map(|_| name),
            Event::InitDone => {
                self.unlisted.remove(&number);
                return Ok(self.listed(number, part));
            }
        };
        Ok(changed.into_iter().collect())
    }

    /// A list is complete: what it lacks is gone.
    fn listed(&mut self, number: usize, part: Part) -> BTreeSet<Name> {
        let listed = self.lists.remove(&number).unwrap_or_default();
        let place = self.places[number].as_deref();
        let is_here = |name: &Name| place.is_none_or(|place| name.namespace() == place);
        let gone: Vec<Name> = self
            .table
            .keys()
            .filter(|(name, of)| *of == part && is_here(name) && !listed.contains(name))
            .map(|(name, _)| name.clone())
            .collect();
        for name in &gone {
            self.table.remove(&(name.clone(), part));
        }
        // At the first list, all that is there is looked at.
        gone.into_iter().chain(listed).collect()
    }

    fn put(&mut self, name: Name, part: Part, live: Live) -> Option<Name> {
        if name.name().is_empty() {
            return None;
        }
        let is_new = self.table.get(&(name.clone(), part)) != Some(&live);
        self.table.insert((name.clone(), part), live);
        is_new.then_some(name)
    }

    /// Whether all is known that there is.
    pub fn is_listed(&self) -> bool {
        self.unlisted.is_empty()
    }

    /// What has to be applied so that a Role gives what it should, in this order; nothing, if it is so.
    pub fn plan(&self, name: &Name, wanted: &Wanted) -> Vec<Write> {
        let writes = [Part::Role, Part::Binding].into_iter().filter_map(|part| {
            let live = self.table.get(&(name.clone(), part));
            // What gives nothing is not made, and what is not ours is not touched unless ours should be there.
            if wanted.is_nothing() && live.is_none_or(|live| !live.is_ours) {
                return None;
            }
            let owner = wanted.owner.as_deref().or(live.and_then(|live| live.owner.as_deref()));
            let body = wanted.body(part, name, owner);
            if live.is_some_and(|live| live.is_ours && live.says == says(&body)) {
                return None;
            }
            let uid = live.filter(|live| live.is_ours).map(|live| live.uid.clone());
            Some(Write { name: name.clone(), part, uid, body })
        });
        writes.collect()
    }

    /// Notes what was written; the watch will say the same.
    pub fn note(&mut self, written: Written) {
        let Written { name, part, live } = written;
        self.table.insert((name, part), live);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(user: &str) -> Wanted {
        let rule = Rule { kinds: vec![Kind::Device], names: vec!["web".into()], verbs: vec!["get"] };
        let subject = Subject { user: Some(user.into()), ..Subject::default() };
        let signer = Subject { signer: Some("ssh-ed25519 AAAA".into()), ..Subject::default() };
        Wanted { owner: Some("u-1".into()), rules: vec![rule], subjects: vec![subject, signer] }
    }

    fn grants(live: &[(Part, Live)]) -> Grants {
        let table = live.iter().map(|(part, live)| ((Name::parse("r"), *part), live.clone())).collect();
        Grants { streams: SelectAll::new(), table, lists: BTreeMap::new(), places: Vec::new(), unlisted: BTreeSet::new() }
    }

    /// As the API server has what was applied.
    fn taken(wanted: &Wanted, part: Part) -> Live {
        Live {
            uid: "x".into(),
            is_ours: true,
            owner: wanted.owner.clone(),
            says: says(&wanted.body(part, &Name::parse("r"), wanted.owner.as_deref())),
        }
    }

    fn plan(grants: &Grants, wanted: &Wanted) -> Vec<(Part, Option<String>)> {
        grants.plan(&Name::parse("r"), wanted).into_iter().map(|write| (write.part, write.uid)).collect()
    }

    #[test]
    fn what_is_so_is_not_written_and_what_others_changed_is() {
        let alice = wanted("alice");
        assert_eq!(plan(&grants(&[]), &alice), [(Part::Role, None), (Part::Binding, None)], "the Role first: a binding needs it");
        let both = [(Part::Role, taken(&alice, Part::Role)), (Part::Binding, taken(&alice, Part::Binding))];
        assert_eq!(plan(&grants(&both), &alice), []);
        assert_eq!(plan(&grants(&both), &wanted("bob")), [(Part::Binding, Some("x".into()))]);
        let mut drifted = both.clone();
        drifted[0].1.says["rules"][0]["verbs"] = json!(["*"]);
        assert_eq!(plan(&grants(&drifted), &alice), [(Part::Role, Some("x".into()))]);
        let mut unmarked = both;
        unmarked[1].1.says["label"] = Value::Null;
        assert_eq!(plan(&grants(&unmarked), &alice), [(Part::Binding, Some("x".into()))]);
    }

    #[test]
    fn who_gives_nothing_gets_nothing_made_and_what_is_there_is_emptied() {
        let alice = wanted("alice");
        let signers = Wanted { subjects: vec![alice.subjects[1].clone()], ..alice.clone() };
        let gone = Wanted::default();
        let both = [(Part::Role, taken(&alice, Part::Role)), (Part::Binding, taken(&alice, Part::Binding))];
        for nothing in [&signers, &gone, &Wanted { rules: Vec::new(), ..alice.clone() }] {
            assert_eq!(plan(&grants(&[]), nothing), []);
            let writes = grants(&both).plan(&Name::parse("r"), nothing);
            assert_eq!(writes.len(), 2);
            for write in writes {
                let list = if write.part == Part::Role { "rules" } else { "subjects" };
                assert_eq!(write.body[list], json!([]), "a rule without names would be about everything");
                assert_eq!(write.body["metadata"]["ownerReferences"][0]["uid"], "u-1", "it is still collected with its owner");
            }
        }
        // What somebody else has made is not emptied.
        let foreign = both.map(|(part, live)| (part, Live { is_ours: false, ..live }));
        assert_eq!(plan(&grants(&foreign), &gone), []);
    }

    #[test]
    fn what_is_left_of_a_role_without_a_mark_of_it_is_emptied_too() {
        let orphan = Wanted { owner: None, ..wanted("alice") };
        let both = [Part::Role, Part::Binding].map(|part| (part, taken(&orphan, part)));
        let writes = grants(&both).plan(&Name::parse("r"), &Wanted::default());
        assert_eq!(writes.len(), 2);
        for write in &writes {
            assert_eq!(write.body["metadata"].get("ownerReferences"), None, "the API server refuses an owner without an identity");
        }
        let emptied = [Part::Role, Part::Binding].map(|part| (part, taken(&Wanted::default(), part)));
        assert_eq!(plan(&grants(&emptied), &Wanted::default()), [], "once is enough");
    }
}
