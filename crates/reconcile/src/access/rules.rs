//! A Role as rules of Kubernetes' RBAC: what kubectl may do.
//!
//! RBAC knows names and no labels. An entry for some devices becomes the names of the objects that are about these only, and gives less
//! than it does elsewhere, never more: no list, watch and create, which have no names; and no change of a Deployment, AlertRule or
//! Silence, which could be turned to other devices by it. Who commits may do that, since there the new form is looked at. Repositories
//! can't be changed by any of it.

use std::collections::BTreeSet;

use crds::{Grant, Kind, Object, Role, Subject, Verb};

use super::What;
use super::covers::{self, ON_DEVICES};
use crate::desired::Desired;
use crate::name::Name;

/// Names in one Role's rules: with longer ones, still far below what the API server stores (1.5 MiB), and quick to look through for each
/// request.
pub const MAX_NAMES: usize = 1000;
/// The longest summary.
const SUMMARY: usize = 512;

/// A rule, on our own group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Which kinds.
    pub kinds: Vec<Kind>,
    /// Only objects with these names; all if none.
    pub names: Vec<String>,
    /// What the API server calls what may be done.
    pub verbs: Vec<&'static str>,
}

/// What kubectl may do, and what is left out of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// The rules.
    pub rules: Vec<Rule>,
    /// What is not in them although the Role allows it, since it would be too much, in words.
    pub left_out: Vec<String>,
}

/// What the API server calls it, where all objects of the kind are meant.
fn everywhere(verb: Verb) -> &'static [&'static str] {
    match verb {
        Verb::View => &["get", "list", "watch"],
        Verb::Edit => &["get", "list", "watch", "create", "update", "patch", "delete"],
        other => by_name(other, Kind::Device),
    }
}

/// The same for objects with names.
fn by_name(verb: Verb, kind: Kind) -> &'static [&'static str] {
    match verb {
        Verb::View => &["get"],
        Verb::Edit if kind == Kind::Device => &["get", "update", "patch", "delete"],
        Verb::Edit => &["get"],
        Verb::Deploy => &["deploy"],
        Verb::Rollback => &["rollback"],
        Verb::Approve => &["approve"],
        Verb::Silence => &["silence"],
        Verb::Acknowledge => &["acknowledge"],
    }
}

fn verbs(grant: &Grant, of: impl Fn(Verb) -> &'static [&'static str]) -> Vec<&'static str> {
    let verbs: BTreeSet<&'static str> = grant.verbs.iter().flat_map(|verb| of(*verb)).copied().collect();
    verbs.into_iter().collect()
}

/// An entry that is about everything. Nobody gets to change Repositories by it: who could would send Secrets elsewhere, and Roles come
/// from repositories.
fn unlimited(grant: &Grant, mut kinds: BTreeSet<Kind>) -> Vec<Rule> {
    let mut rules = Vec::new();
    if grant.verbs.contains(&Verb::Edit) && kinds.remove(&Kind::Repository) {
        let verbs = verbs(grant, |verb| everywhere(if verb == Verb::Edit { Verb::View } else { verb }));
        rules.push(Rule { kinds: vec![Kind::Repository], names: Vec::new(), verbs });
    }
    // A rule without kinds would be none that the API server takes.
    if !kinds.is_empty() {
        rules.push(Rule { kinds: kinds.into_iter().collect(), names: Vec::new(), verbs: verbs(grant, everywhere) });
    }
    rules
}

/// The rules of a Role. One that is suspended has none, and neither has one that names signers only.
pub fn rules(fleet: &Desired, name: &Name, role: &Role) -> Rules {
    let mut made = Rules::default();
    if role.spec.suspend == Some(true) || !role.spec.subjects.iter().any(is_kubernetes) {
        return made;
    }
    let mut count = 0;
    for (entry, grant) in role.spec.allow.iter().enumerate() {
        let kinds: BTreeSet<Kind> = if grant.kinds.is_empty() { Kind::ALL } else { &grant.kinds }.iter().copied().collect();
        let Some(selector) = &grant.devices else {
            made.rules.extend(unlimited(grant, kinds));
            continue;
        };
        for kind in kinds.into_iter().filter(|kind| ON_DEVICES.contains(kind)) {
            let covered = of_kind(fleet, kind, name.namespace())
                .filter(|(_, object)| covers::covers(fleet, selector, kind, name.namespace(), What::Object(object)).is_ok());
            let names: Vec<String> = covered.map(|(name, _)| name.name().to_owned()).take(MAX_NAMES + 1).collect();
            if count + names.len() > MAX_NAMES {
                made.left_out.push(format!(
                    "spec.allow[{entry}] is on more {} than the {MAX_NAMES} names that a Role may have in RBAC: kubectl may do nothing with them",
                    kind.plural()
                ));
                continue;
            }
            count += names.len();
            // A rule without names would be about all objects.
            if !names.is_empty() {
                made.rules.push(Rule { kinds: vec![kind], names, verbs: verbs(grant, |verb| by_name(verb, kind)) });
            }
        }
    }
    made
}

/// Whether rules allow it, as the API server reads them.
pub fn allows(rules: &[Rule], verb: &str, kind: Kind, name: Option<&str>) -> bool {
    rules.iter().any(|rule| {
        let is_named = rule.names.is_empty() || name.is_some_and(|name| rule.names.iter().any(|other| other == name));
        is_named && rule.kinds.contains(&kind) && rule.verbs.contains(&verb)
    })
}

/// Whether Kubernetes knows this subject.
fn is_kubernetes(subject: &Subject) -> bool {
    subject.user.is_some() || subject.group.is_some()
}

fn of_kind<'a>(fleet: &'a Desired, kind: Kind, namespace: &'a str) -> impl Iterator<Item = (&'a Name, &'a Object)> {
    let from = (kind, Name::new(namespace, ""));
    let there = fleet.objects.range(from..).take_while(move |((of, name), _)| *of == kind && name.namespace() == namespace);
    there.map(|((_, name), object)| (name, &**object))
}

/// What a Role grants to whom, in a line.
pub fn summary(role: &Role) -> String {
    let subjects = role.spec.subjects.iter().map(|subject| match (&subject.user, &subject.group, &subject.signer) {
        (Some(user), ..) => user.clone(),
        (_, Some(group), _) => format!("group {group}"),
        // The key's end, where keys differ.
        (.., Some(signer)) => format!(
            "signer …{}",
            signer
                .split_whitespace()
                .nth(1)
                .unwrap_or(signer)
                .chars()
                .rev()
                .take(8)
                .collect::<Vec<_>>()
                .into_iter()
                .rev()
                .collect::<String>()
        ),
        _ => "nobody".into(),
    });
    let subjects = few(&subjects.collect::<Vec<_>>());
    let grants = role.spec.allow.iter().map(|grant| {
        let verbs: Vec<&str> = grant.verbs.iter().map(|verb| verb.as_str()).collect();
        let kinds: Vec<&str> = grant.kinds.iter().map(|kind| kind.plural()).collect();
        let kinds = if kinds.is_empty() { "everything".into() } else { kinds.join(", ") };
        let some = if grant.devices.is_some() { " on some devices" } else { "" };
        format!("{} {kinds}{some}", verbs.join(", "))
    });
    let grants = match role.spec.allow.is_empty() {
        true => "nothing".into(),
        false => grants.collect::<Vec<_>>().join("; "),
    };
    let text = format!("{subjects}: {grants}");
    let end = (0..=text.len().min(SUMMARY)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    if end < text.len() { format!("{}…", &text[..end]) } else { text }
}

fn few(texts: &[String]) -> String {
    match texts {
        [first, second, third, rest @ ..] if !rest.is_empty() => format!("{first}, {second}, {third} and {} more", rest.len()),
        texts => texts.join(", "),
    }
}
