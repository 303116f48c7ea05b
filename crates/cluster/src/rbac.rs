//! What the operator has to be allowed in a cluster. The chart's rules are generated from this, and the tests run with them: what is
//! missing here fails there.

use crds::{GROUP, Kind};
use serde_json::{Value, json};

/// One rule, and what it is needed for.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Of what API groups.
    pub groups: Vec<String>,
    /// Which resources.
    pub resources: Vec<String>,
    /// Only those with these names; all if none.
    pub names: Vec<String>,
    /// What may be done.
    pub verbs: Vec<String>,
    /// What for.
    pub reason: &'static str,
}

impl Rule {
    fn new(group: &str, resources: Vec<String>, verbs: &[&str], reason: &'static str) -> Self {
        let verbs = verbs.iter().map(ToString::to_string).collect();
        Self { groups: vec![group.to_owned()], resources, names: Vec::new(), verbs, reason }
    }

    /// As a rule of a Role or ClusterRole.
    pub fn to_value(&self) -> Value {
        let mut rule = json!({"apiGroups": self.groups, "resources": self.resources, "verbs": self.verbs});
        if !self.names.is_empty() {
            rule["resourceNames"] = json!(self.names);
        }
        rule
    }
}

/// In every namespace that is watched.
pub fn rules() -> Vec<Rule> {
    let of = |suffix: &str| Kind::ALL.iter().map(|kind| format!("{}{suffix}", kind.plural())).collect::<Vec<_>>();
    vec![
        Rule::new(GROUP, of(""), &["list", "watch"], "what is desired"),
        Rule::new(GROUP, of("/status"), &["patch"], "what has come of it"),
        Rule::new(
            GROUP,
            vec![Kind::Deployment.plural().into(), Kind::Role.plural().into()],
            &["patch"],
            "the finalizer of a Deployment with onDelete: Remove and of a Role with a login, until that is off its devices",
        ),
        Rule::new("events.k8s.io", vec!["events".into()], &["create", "patch"], "what kubectl describe shows"),
    ]
}

/// In every namespace that is watched, where webhooks are taken.
pub fn webhook_rules() -> Vec<Rule> {
    let reason = "the annotation by which a webhook asks for a look, written by whichever replica gets it";
    vec![Rule::new(GROUP, vec![Kind::Repository.plural().into()], &["patch"], reason)]
}

/// In every namespace that is watched, where Roles become RBAC. The API server lets nobody hand out what they don't hold, so the first ones
/// are all that any Role can give: nothing outside our group, and no change of Repositories, since Roles come from repositories. There is
/// neither `bind` nor `escalate`, which would lift that. `list` and `watch` are held anyway.
pub fn handed_out() -> Vec<Rule> {
    let (repository, others): (Vec<Kind>, Vec<Kind>) = Kind::ALL.iter().partition(|kind| **kind == Kind::Repository);
    let plurals = |kinds: &[Kind]| kinds.iter().map(|kind| kind.plural().to_owned()).collect::<Vec<_>>();
    let ours = ["deploy", "rollback", "approve", "silence", "acknowledge"];
    let edit = ["create", "update", "patch", "delete"];
    vec![
        Rule::new(GROUP, plurals(&others), &[&["get"], &edit[..], &ours].concat(), "held to be handed out: what a Role can give"),
        Rule::new(
            GROUP,
            plurals(&repository),
            &[&["get"], &ours[..]].concat(),
            "held to be handed out: what a Role can give of Repositories",
        ),
        Rule::new(
            "rbac.authorization.k8s.io",
            vec!["roles".into(), "rolebindings".into()],
            &["get", "list", "watch", "create", "patch"],
            "the RBAC of Roles, evenkeel:NAME",
        ),
    ]
}

/// In the namespace that the operator runs in.
pub fn own_rules(lease: &str) -> Vec<Rule> {
    let leases = |verbs: &[&str], reason| Rule::new("coordination.k8s.io", vec!["leases".into()], verbs, reason);
    vec![
        leases(&["create"], "the leases that one replica holds each, of the planner and of the shards: made by the first one"),
        Rule { names: vec![lease.to_owned()], ..leases(&["get", "update"], "held, renewed, taken over") },
    ]
}

/// In each namespace whose Secrets are named in the chart's `secrets`: those, and no others. There is no `list`, and a watch that is allowed
/// by name has to be of that one name.
pub fn secret_rules() -> Vec<Rule> {
    let secrets = |verbs: &[&str], reason| Rule { names: vec!["NAMES".into()], ..Rule::new("", vec!["secrets".into()], verbs, reason) };
    vec![
        secrets(&["get"], "read when they are needed"),
        secrets(&["watch"], "that one was changed: whatever needs it is tried anew at once"),
    ]
}

/// In the namespace that the operator runs in, where there are several replicas. Names of pods are not known before.
pub fn pod_rules() -> Vec<Rule> {
    vec![Rule::new("", vec!["pods".into()], &["patch"], "the label on its own pod, by which the Service leads to the one that acts")]
}

/// The rules as the chart has them: YAML, each with its reason.
pub fn yaml(rules: &[Rule]) -> String {
    let mut text = String::from("# Generated from crates/cluster/src/rbac.rs by `cargo xtask generate`; do not edit.\n");
    for rule in rules {
        text.push_str(&format!("# {}\n- apiGroups: {}\n", rule.reason, json!(rule.groups)));
        text.push_str(&format!("  resources: {}\n", json!(rule.resources)));
        if !rule.names.is_empty() {
            text.push_str(&format!("  resourceNames: {}\n", json!(rule.names)));
        }
        text.push_str(&format!("  verbs: {}\n", json!(rule.verbs)));
    }
    text
}
