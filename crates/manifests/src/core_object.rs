//! ConfigMaps and Secrets of Kubernetes' own, as a Repository may apply them. Nothing here shows a value of one.

mod shape;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crds::CoreKind;
use reconcile::finding::Severity;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::finding::Finding;
use crate::sops::{self, Identities};
use crate::yaml::{Node, Place, Tree};

/// Bytes of the values of one object: the API server's own limit.
pub const MAX_SIZE: usize = 1 << 20;

/// What is done with them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Core {
    /// They are left to others.
    #[default]
    Left,
    /// Their shape is looked at, and nothing else.
    Checked,
    /// Those of these kinds are read, and applied in the namespace of what is read.
    Applied(BTreeSet<CoreKind>),
}

/// The objects of one file, which is decrypted as a whole if it is encrypted.
pub struct CoreFile {
    /// The file.
    pub path: String,
    objects: Vec<Written>,
    /// All documents of the file if it is encrypted.
    sealed: Vec<Node>,
}

/// An object as it is written in a file.
pub(crate) struct Written {
    kind: CoreKind,
    name: String,
    place: Place,
    content: Content,
}

enum Content {
    Plain(Node),
    /// By the number of its document.
    Sealed(usize),
}

/// An object that can be applied. Its values are in it, so it is not shown.
pub struct CoreObject {
    /// Its kind.
    pub kind: CoreKind,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// The fields beside its metadata: `data` and so on.
    pub fields: Value,
}

impl fmt::Debug for CoreObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.as_str(), self.name)
    }
}

impl Drop for CoreObject {
    fn drop(&mut self) {
        shape::wipe(&mut self.fields);
    }
}

/// The kind of a document, if it is one of these two.
pub(crate) fn kind(node: &Node) -> Option<CoreKind> {
    let found = node.text("kind").filter(|_| node.text("apiVersion") == Some("v1"))?;
    CoreKind::ALL.into_iter().find(|kind| kind.as_str() == found)
}

/// Reads a document by what is to be done with such; else says what is wrong with it, which for one that is left to others is a note.
pub(crate) fn read(kind: CoreKind, node: &Node, document: usize, core: &Core, namespace: &str) -> Result<Written, Vec<Finding>> {
    let is_sealed = sops::is_encrypted(node);
    let is_plain_secret = kind == CoreKind::Secret && !is_sealed;
    let plain = "a Secret in plain text: whoever reads the repository has what is in it";
    let encrypt =
        "encrypt it: sops --encrypt --in-place --encrypted-regex '^(data|stringData)$' --age RECIPIENT FILE; and change what was in it";
    let note = |help: &str| {
        let message = format!("`{}` is left to others", kind.as_str());
        vec![Finding::new(Severity::Note, "other-group", "apiVersion", message, help)]
    };
    let namespace = match core {
        Core::Applied(kinds) if kinds.contains(&kind) => Some(namespace),
        Core::Applied(_) | Core::Left => return Err(note("only `evenkeel.dev/v1alpha1` is read here")),
        Core::Checked => None,
    };
    let mut findings: Vec<Finding> = shape::check(kind, node, namespace)
        .into_iter()
        .map(|wrong| Finding::error("core-object", &wrong.field, wrong.message, wrong.help))
        .collect();
    if is_plain_secret && namespace.is_some() {
        findings.push(Finding::error("plain-secret", "kind", format!("this is {plain}; it is not applied"), encrypt));
    }
    if !findings.is_empty() {
        return Err(findings);
    }
    if namespace.is_none() {
        if is_plain_secret {
            return Err(vec![Finding::new(Severity::Warning, "plain-secret", "kind", format!("this is {plain}"), encrypt)]);
        }
        return Err(note("a Repository in a cluster applies it if its `spec.also` says so; a standalone engine does not"));
    }
    let metadata = node.get("metadata");
    let name = metadata.and_then(|metadata| metadata.text("name")).unwrap_or_default().to_owned();
    let content = if is_sealed { Content::Sealed(document) } else { Content::Plain(node.clone()) };
    Ok(Written { kind, name, place: node.find("metadata.name"), content })
}

impl CoreFile {
    pub(crate) fn new(path: &str, objects: Vec<Written>, documents: &[Node]) -> Self {
        let is_sealed = objects.iter().any(|object| matches!(object.content, Content::Sealed(_)));
        Self { path: path.to_owned(), objects, sealed: if is_sealed { documents.to_vec() } else { Vec::new() } }
    }

    /// What is in it, without looking into it: kind, name and where it is.
    pub fn objects(&self) -> impl Iterator<Item = (CoreKind, &str, String)> {
        self.objects.iter().map(|object| (object.kind, object.name.as_str(), format!("{}:{}", self.path, object.place.line)))
    }

    /// Whether keys are needed for it.
    pub fn is_sealed(&self) -> bool {
        !self.sealed.is_empty()
    }

    /// The objects as they can be applied, decrypted if need be; in the order of [`Self::objects`]. The outer error concerns all of them.
    pub fn open(&self, identities: Option<&Identities>) -> Result<Vec<Result<CoreObject, String>>, String> {
        let mut opened = Vec::new();
        if self.is_sealed() {
            let identities = identities.ok_or("it is encrypted, and `spec.decryption` names no Secret with keys")?;
            opened = sops::decrypt(&self.sealed, identities).map_err(|error| error.to_string())?;
        }
        let objects = self.objects.iter().map(|object| match &object.content {
            Content::Plain(node) => object.open(node),
            Content::Sealed(document) => {
                opened.get(*document).ok_or_else(|| "it is not there".to_owned()).and_then(|node| object.open(node))
            }
        });
        let objects = objects.collect();
        opened.iter_mut().for_each(sops::wipe);
        Ok(objects)
    }
}

impl Written {
    fn open(&self, node: &Node) -> Result<CoreObject, String> {
        // What was encrypted could not be looked at before.
        if let Some(wrong) = shape::check(self.kind, node, None).into_iter().next() {
            return Err(format!("{}: {} ({})", wrong.field, wrong.message, wrong.help));
        }
        let is_same = kind(node) == Some(self.kind) && node.value_at("metadata.name").and_then(text) == Some(&self.name);
        if !is_same {
            return Err("its kind and its name must not be encrypted".into());
        }
        let mut data = decoded(node, if self.kind == CoreKind::Secret { "data" } else { "binaryData" })?;
        if self.kind == CoreKind::Secret {
            // The API server writes `stringData` into `data`, and forgets whose it was: what leaves Git would stay.
            data.extend(texts(node, "stringData"));
        }
        let plain = if self.kind == CoreKind::ConfigMap { texts(node, "data").collect() } else { BTreeMap::new() };
        if data.values().chain(plain.values()).map(|value| value.len()).sum::<usize>() > MAX_SIZE {
            return Err(format!("its values have more than {MAX_SIZE} bytes"));
        }
        if let Some(twice) = plain.keys().find(|key| data.contains_key(*key)) {
            return Err(format!("the key {twice} is both in data and in binaryData"));
        }
        let encoded: Value = data
            .iter()
            .map(|(key, value)| (key.clone(), json!(STANDARD.encode(value.as_slice()))))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let mut fields = if self.kind == CoreKind::Secret {
            json!({"data": encoded})
        } else {
            let plain: Value = texts(node, "data")
                .map(|(key, value)| (key, json!(String::from_utf8_lossy(&value))))
                .collect::<serde_json::Map<_, _>>()
                .into();
            json!({"data": plain, "binaryData": encoded})
        };
        for field in ["type", "immutable"] {
            if let Some(value) = node.get(field).map(Node::to_value) {
                fields[field] = value;
            }
        }
        let of = |field: &str| node.get("metadata").map(|metadata| plain_texts(metadata, field)).unwrap_or_default();
        Ok(CoreObject { kind: self.kind, name: self.name.clone(), labels: of("labels"), annotations: of("annotations"), fields })
    }
}

fn text(tree: &Tree) -> Option<&str> {
    match tree {
        Tree::Scalar(Value::String(text)) => Some(text),
        _ => None,
    }
}

/// The texts of a map.
fn entries<'a>(node: &'a Node, field: &str) -> impl Iterator<Item = (&'a String, &'a str)> {
    let entries = match node.get(field).map(|node| &node.value) {
        Some(Tree::Map(entries)) => entries.as_slice(),
        _ => &[],
    };
    entries.iter().filter_map(|(key, _, node)| Some((key, text(&node.value)?)))
}

fn plain_texts(node: &Node, field: &str) -> BTreeMap<String, String> {
    entries(node, field).map(|(key, value)| (key.clone(), value.to_owned())).collect()
}

type Values = BTreeMap<String, Zeroizing<Vec<u8>>>;

fn texts(node: &Node, field: &str) -> impl Iterator<Item = (String, Zeroizing<Vec<u8>>)> {
    entries(node, field).map(|(key, value)| (key.clone(), Zeroizing::new(value.as_bytes().to_vec())))
}

fn decoded(node: &Node, field: &str) -> Result<Values, String> {
    let decode = |(key, value): (&String, &str)| {
        let compact: Zeroizing<String> = Zeroizing::new(value.split_ascii_whitespace().collect());
        let bytes = STANDARD.decode(compact.as_bytes()).map_err(|_| format!("{field}.{key} is no base64"))?;
        Ok((key.clone(), Zeroizing::new(bytes)))
    };
    entries(node, field).map(decode).collect()
}

#[cfg(test)]
mod tests;
