//! Fields of an object as people name them, `spec.package.apt.version`: which differ from what is wanted, and who manages them.

use std::collections::BTreeMap;
use std::fmt;

use crds::Object;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::Value;

use crate::Known;

/// Fields of one object that are named; of more, how many.
const NAMED: usize = 5;
/// Fields of others that are kept of one object, and how deep they lie at the most.
const KEPT: usize = 64;
const DEPTH: usize = 32;

/// What others than we manage of an object: its fields, each with its manager. Mostly there is nothing.
pub type Others = BTreeMap<String, String>;

/// A field that is otherwise than it is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Differing {
    /// Such as `spec.package.apt.version`.
    pub field: String,
    /// Whose it is by now; none where it was taken away: the API server notes nobody for that.
    pub manager: Option<String>,
}

impl fmt::Display for Differing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.manager {
            Some(manager) => write!(f, "{}, changed by {manager}", self.field),
            None => write!(f, "{}, taken away", self.field),
        }
    }
}

/// A sentence of fields, of which not all are named where there are many.
pub fn words(fields: &[Differing]) -> String {
    let named = fields.iter().take(NAMED).map(ToString::to_string).collect::<Vec<_>>().join(", and ");
    if fields.len() > NAMED { format!("{named}, and {} more", fields.len() - NAMED) } else { named }
}

impl Known {
    /// What it says otherwise than is wanted: its spec, and the labels and annotations that are wanted.
    pub fn differing(&self, wanted: &Object) -> Vec<Differing> {
        let Some(live) = self.object.as_deref() else { return Vec::new() };
        let (live, wanted) = (live.to_value(), wanted.to_value());
        let mut fields = Vec::new();
        differ("spec", &live["spec"], &wanted["spec"], &mut fields);
        for part in ["labels", "annotations"] {
            for (key, value) in wanted["metadata"][part].as_object().into_iter().flatten() {
                differ(&below(&format!("metadata.{part}"), key), &live["metadata"][part][key], value, &mut fields);
            }
        }
        fields.into_iter().map(|field| Differing { manager: self.manager(&field), field }).collect()
    }

    /// Who manages a field: whoever has it, something above it, or something below it.
    fn manager(&self, field: &str) -> Option<String> {
        let is_within =
            |inner: &str, outer: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
        let found = self.others.iter().find(|(theirs, _)| is_within(field, theirs) || is_within(theirs, field));
        found.map(|(_, manager)| manager.clone())
    }
}

/// The fields that these managers have, in words that [`Known::differing`] has too. What lies within a list is the list's.
pub(crate) fn of<'a>(entries: impl Iterator<Item = &'a ManagedFieldsEntry>) -> Others {
    let mut others = Others::new();
    for entry in entries {
        let (Some(manager), Some(fields)) = (&entry.manager, &entry.fields_v1) else { continue };
        for (part, at) in
            [("spec", "/f:spec"), ("metadata.labels", "/f:metadata/f:labels"), ("metadata.annotations", "/f:metadata/f:annotations")]
        {
            if let Some(fields) = fields.0.pointer(at) {
                leaves(part, fields, DEPTH, &mut |field| {
                    if others.len() < KEPT {
                        others.insert(field, manager.clone());
                    }
                });
            }
        }
    }
    others
}

/// As managed fields have it (KEP-555): `f:NAME` is a field, anything else an item of a list, or the field itself.
fn leaves(path: &str, fields: &Value, depth: usize, found: &mut impl FnMut(String)) {
    let inner = fields.as_object().into_iter().flatten().filter_map(|(name, below)| Some((name.strip_prefix("f:")?, below)));
    let inner: Vec<(&str, &Value)> = inner.collect();
    if inner.is_empty() || depth == 0 {
        return found(path.to_owned());
    }
    for (name, fields) in inner {
        leaves(&below(path, name), fields, depth - 1, found);
    }
}

fn differ(path: &str, live: &Value, wanted: &Value, into: &mut Vec<String>) {
    match (live.as_object(), wanted.as_object()) {
        _ if live == wanted => {}
        (Some(here), Some(there)) => {
            let names = here.keys().chain(there.keys().filter(|name| !here.contains_key(*name)));
            names.for_each(|name| differ(&below(path, name), &live[name], &wanted[name], into));
        }
        _ => into.push(path.to_owned()),
    }
}

fn below(path: &str, name: &str) -> String {
    if name.contains(['.', '/']) { format!("{path}[{name}]") } else { format!("{path}.{name}") }
}

#[cfg(test)]
mod tests {
    use crds::Kind;
    use serde_json::json;

    use super::*;

    fn known(live: &Value, managed: &Value) -> Known {
        let entries: Vec<ManagedFieldsEntry> = serde_json::from_value(managed.clone()).unwrap();
        let object = Object::from_value(Kind::Device, live.clone()).unwrap();
        Known { object: Some(std::sync::Arc::new(object)), others: of(entries.iter()), ..Known::default() }
    }

    fn device(spec: &Value, labels: &Value) -> Value {
        json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "Device", "metadata": {"name": "d", "namespace": "ours", "labels": labels}, "spec": spec})
    }

    #[test]
    fn a_field_that_differs_is_named_with_whoever_has_it() {
        let live = device(
            &json!({"type": "Server", "address": "10.0.0.9", "probes": [{"name": "web", "tcp": {"port": 81}}]}),
            &json!({"example.com/site": "fra"}),
        );
        let wanted = device(
            &json!({"type": "Server", "address": "10.0.0.1", "parents": ["sw"], "probes": [{"name": "web", "tcp": {"port": 80}}]}),
            &json!({"example.com/site": "ams", "role": "web"}),
        );
        let managed = json!([
            {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:spec": {"f:address": {}, "f:probes": {"k:{\"name\":\"web\"}": {"f:tcp": {"f:port": {}}}}}}},
            {"manager": "labels-to-go", "operation": "Apply", "fieldsV1": {"f:metadata": {"f:labels": {"f:example.com/site": {}}}}},
        ]);
        let wanted = Object::from_value(Kind::Device, wanted).unwrap();
        let said: Vec<String> = known(&live, &managed).differing(&wanted).iter().map(ToString::to_string).collect();
        let expected = [
            "spec.address, changed by kubectl-edit",
            "spec.probes, changed by kubectl-edit",
            "spec.parents, taken away",
            "metadata.labels[example.com/site], changed by labels-to-go",
            "metadata.labels.role, taken away",
        ];
        let mut sorted = (said.clone(), expected.map(str::to_owned).to_vec());
        sorted.0.sort();
        sorted.1.sort();
        assert_eq!(sorted.0, sorted.1);
    }

    #[test]
    fn of_many_fields_some_are_named_and_no_more_than_so_many_kept() {
        let many = |count: usize| (0..count).map(|number| (format!("f:x{number}"), json!({}))).collect::<serde_json::Map<_, _>>();
        let entries = json!([{"manager": "m", "operation": "Update", "fieldsV1": {"f:spec": {"f:vars": many(1000)}}}]);
        let entries: Vec<ManagedFieldsEntry> = serde_json::from_value(entries).unwrap();
        assert_eq!(of(entries.iter()).len(), KEPT);
        let fields: Vec<Differing> =
            (0..8).map(|number| Differing { field: format!("spec.x{number}"), manager: Some("m".into()) }).collect();
        assert!(words(&fields).ends_with("and 3 more"), "{}", words(&fields));
    }
}
