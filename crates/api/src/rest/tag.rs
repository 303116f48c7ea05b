//! `ETag` of an object, by what it says: its status is otherwise every minute, and is not what a write is about.

use axum::http::{HeaderMap, HeaderName, header};
use crds::Object;

use super::answer;

/// The tag of an object: of its manifest as it is in force. What reading adds to it behind a dot is its status.
pub(crate) fn of(object: &Object) -> String {
    format!("\"{}\"", answer::manifest_tag(object))
}

/// Whether an object is as who writes expects it: `If-Match`, and `If-None-Match: *` for one that is not to be there (RFC 9110, section 13).
pub(super) fn expected(headers: &HeaderMap, object: Option<&Object>) -> Result<(), String> {
    is_still(headers, object.map(of).as_deref())
}

/// The same for whatever has a tag; `None`: it is not there.
pub(super) fn is_still(headers: &HeaderMap, tag: Option<&str>) -> Result<(), String> {
    let listed = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default().to_owned());
    if let Some(wanted) = listed(header::IF_MATCH) {
        let Some(tag) = tag else { return Err("If-Match: it is not there".into()) };
        let is_one = wanted.split(',').map(str::trim).any(|wanted| wanted == "*" || without_status(wanted) == tag);
        if !is_one {
            return Err(format!("If-Match: it is otherwise by now; its tag is {tag}"));
        }
    }
    if listed(header::IF_NONE_MATCH).as_deref().map(str::trim) == Some("*") && tag.is_some() {
        return Err("If-None-Match: it is there already".into());
    }
    Ok(())
}

/// A tag as it was read, without what is about the status.
fn without_status(tag: &str) -> String {
    let tag = tag.trim_start_matches("W/");
    match tag.split_once('.') {
        Some((manifest, _)) => format!("{manifest}\""),
        None => tag.to_owned(),
    }
}
