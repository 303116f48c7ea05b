//! Whether a document is one of ours: its `apiVersion` and `kind`.

use crds::{GROUP, Kind, VERSION};
use reconcile::finding::Severity;

use crate::finding::Finding;
use crate::schema::{nearest, quoted};
use crate::yaml::{Node, Tree};

/// The kind of a document; else why it is none of ours, which need not be wrong.
pub(crate) fn kind(node: &Node) -> Result<Kind, Box<Finding>> {
    let ours = format!("`{GROUP}/{VERSION}`");
    let wrong = |code: &str, field: &str, message: String, help: String| Err(Box::new(Finding::error(code, field, message, help)));
    if !matches!(node.value, Tree::Map(_)) {
        let message = "a document must be a map with apiVersion, kind, metadata and spec".into();
        return wrong("not-an-object", "", message, format!("begin it with `apiVersion: {GROUP}/{VERSION}`, or take it away"));
    }
    let Some(version) = node.text("apiVersion") else {
        let message = if node.get("apiVersion").is_some() { "`apiVersion` must be text" } else { "an object needs an `apiVersion`" };
        let help = format!("write {ours} if it is one of ours; keep what is no object of any kind out of this folder");
        return wrong("missing-field", "apiVersion", message.into(), help);
    };
    let (group, version) = version.split_once('/').unwrap_or((version, ""));
    let found = node.text("kind");
    if group != GROUP {
        if nearest(group, [GROUP].into_iter()).is_some() {
            return wrong("api-version", "apiVersion", format!("there is no group {}", quoted(group)), format!("did you mean {ours}?"));
        }
        let message = format!("{} is left to others", quoted(found.unwrap_or("this object")));
        return Err(Box::new(Finding::new(Severity::Note, "other-group", "apiVersion", message, format!("only {ours} is read here"))));
    }
    if version != VERSION {
        let message = if version.is_empty() { "the version is missing".into() } else { format!("there is no version {}", quoted(version)) };
        return wrong("api-version", "apiVersion", message, format!("write {ours}"));
    }
    let names = || Kind::ALL.iter().map(|kind| kind.as_str());
    let listed = format!("kinds are {}", names().collect::<Vec<_>>().join(", "));
    let Some(found) = found else { return wrong("missing-field", "kind", "an object needs a `kind`".into(), listed) };
    match Kind::ALL.iter().find(|kind| kind.as_str() == found) {
        Some(kind) => Ok(*kind),
        None => {
            let meant = nearest(found, names()).map(|best| format!("did you mean `{best}`? ")).unwrap_or_default();
            wrong("unknown-kind", "kind", format!("there is no kind {}", quoted(found)), meant + &listed)
        }
    }
}
