//! Whether a document has the shape of a ConfigMap or a Secret. What is said of it names fields and keys, and never a value.

use crds::CoreKind;
use serde_json::Value;
use zeroize::Zeroize as _;

use crate::sops;
use crate::yaml::{Node, Tree};

/// Keys in one object.
const MAX_KEYS: usize = 1000;
/// Types of Secrets that give a way into the cluster itself.
const NEVER: [&str; 2] = ["kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token"];

/// Something that is wrong.
pub(super) struct Wrong {
    pub(super) field: String,
    pub(super) message: String,
    pub(super) help: &'static str,
}

fn wrong(field: impl Into<String>, message: impl Into<String>, help: &'static str) -> Wrong {
    Wrong { field: field.into(), message: message.into(), help }
}

/// What is wrong with a document; `namespace`: the only one that it may be in. Of an encrypted one only what is not encrypted is judged.
pub(super) fn check(kind: CoreKind, node: &Node, namespace: Option<&str>) -> Vec<Wrong> {
    let is_sealed = sops::is_encrypted(node);
    let mut found = Vec::new();
    let allowed: &[&str] = match kind {
        CoreKind::ConfigMap => &["apiVersion", "kind", "metadata", "data", "binaryData", "immutable"],
        CoreKind::Secret => &["apiVersion", "kind", "metadata", "data", "stringData", "type", "immutable"],
    };
    let own: &[&str] = if is_sealed { &[sops::FIELD] } else { &[] };
    unknown(node, "", &[allowed, own].concat(), &mut found);
    metadata(node, namespace, is_sealed, &mut found);
    for field in ["data", "stringData", "binaryData"] {
        match node.get(field).map(|node| &node.value) {
            None | Some(Tree::Scalar(Value::Null)) => {}
            Some(Tree::Map(entries)) => values(field, entries, &mut found),
            Some(_) => found.push(wrong(field, format!("`{field}` must be a map of texts"), "write each value below its key")),
        }
    }
    let scalar = |field: &str| match node.get(field).map(|node| &node.value) {
        Some(Tree::Scalar(value)) => Some(value),
        _ => None,
    };
    match (node.get("type"), scalar("type")) {
        (Some(_), Some(Value::String(text))) if NEVER.contains(&text.as_str()) => {
            found.push(wrong(
                "type",
                "Secrets of this type give a way into the cluster, and are not applied from Git",
                "take it out of Git",
            ));
        }
        (None, _) | (Some(_), Some(Value::String(_))) => {}
        _ => found.push(wrong("type", "`type` must be text", "quote it")),
    }
    if node.get("immutable").is_some() && !is_sealed && !matches!(scalar("immutable"), Some(Value::Bool(_))) {
        found.push(wrong("immutable", "`immutable` must be true or false", "take the quotes away"));
    }
    found
}

fn metadata(node: &Node, namespace: Option<&str>, is_sealed: bool, found: &mut Vec<Wrong>) {
    let Some(metadata) = node.get("metadata") else {
        return found.push(wrong("metadata", "an object needs `metadata` with a name", "add it"));
    };
    // Of the fields that `kubectl create --dry-run` writes the last one says nothing.
    unknown(metadata, "metadata.", &["name", "namespace", "labels", "annotations", "creationTimestamp"], found);
    match metadata.text("name") {
        Some(name) if is_name(name) => {}
        Some(name) if is_sealed && name.starts_with("ENC[") => {
            let help = "encrypt the values only: sops --encrypt --encrypted-regex '^(data|stringData)$'";
            found.push(wrong("metadata.name", "its name is encrypted", help));
        }
        _ => found.push(wrong("metadata.name", "an object needs a name of a-z, 0-9, - and .", "give it one, of at most 253 characters")),
    }
    if let Some(namespace) = namespace
        && metadata.get("namespace").is_some()
        && metadata.text("namespace") != Some(namespace)
    {
        let message = format!("a Repository applies these in its own namespace only, which is {namespace}");
        found.push(wrong("metadata.namespace", message, "take the namespace away, or the object to a Repository there"));
    }
    for field in ["labels", "annotations"] {
        let is_fine = match metadata.get(field).map(|node| &node.value) {
            None | Some(Tree::Scalar(Value::Null)) => true,
            Some(Tree::Map(entries)) => entries.len() <= MAX_KEYS && entries.iter().all(|(_, _, node)| super::text(&node.value).is_some()),
            Some(_) => false,
        };
        if !is_fine {
            found.push(wrong(format!("metadata.{field}"), format!("`{field}` must be a map of texts"), "quote what is no text"));
        }
    }
}

fn values(field: &str, entries: &[(String, crate::yaml::Place, Node)], found: &mut Vec<Wrong>) {
    if entries.len() > MAX_KEYS {
        return found.push(wrong(field, format!("`{field}` has more than {MAX_KEYS} keys"), "split it"));
    }
    for (key, _, node) in entries {
        let place = format!("{field}.{}", key.chars().take(60).collect::<String>());
        if !is_key(key) {
            found.push(wrong(field, "a key must be made of a-z, A-Z, 0-9, -, _ and .", "rename it"));
        } else if super::text(&node.value).is_none() {
            found.push(wrong(place, "a value must be text", "quote it"));
        }
    }
}

fn unknown(node: &Node, above: &str, allowed: &[&str], found: &mut Vec<Wrong>) {
    let Tree::Map(entries) = &node.value else {
        return found.push(wrong(above.trim_end_matches('.'), "this must be a map", "write its fields below it"));
    };
    for (key, ..) in entries.iter().filter(|(key, ..)| !allowed.contains(&key.as_str())) {
        let key: String = key.chars().take(60).collect();
        found.push(wrong(format!("{above}{key}"), format!("`{key}` is not applied from Git"), "take it away"));
    }
}

fn is_name(name: &str) -> bool {
    let is_end = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = name.bytes().next().is_some_and(is_end) && name.bytes().last().is_some_and(is_end);
    name.len() <= 253 && ends && name.bytes().all(|byte| is_end(byte) || byte == b'-' || byte == b'.') && !name.contains("..")
}

fn is_key(key: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !key.is_empty() && key.len() <= 253 && key != "." && !key.starts_with("..") && key.bytes().all(is_fine)
}

/// Overwrites the texts of a value.
pub(super) fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(fields) => fields.iter_mut().for_each(|(_, value)| wipe(value)),
        _ => {}
    }
}
