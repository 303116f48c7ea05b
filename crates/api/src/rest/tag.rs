//! `ETag` of an object, by what it says: its status is otherwise every minute, and is not what a write is about.

use axum::http::{HeaderMap, HeaderName, header};
use crds::Object;
use sha2::{Digest as _, Sha256};

/// The tag of an object: of its manifest as it is in force, without its status.
pub(crate) fn of(object: &Object) -> String {
    let mut value = object.to_value();
    if let Some(fields) = value.as_object_mut() {
        fields.remove("status");
    }
    let hash = hex::encode(Sha256::digest(value.to_string()));
    format!("\"{}\"", &hash[..32])
}

/// Whether an object is as who writes expects it: `If-Match`, and `If-None-Match: *` for one that is not to be there (RFC 9110, section 13).
pub(super) fn expected(headers: &HeaderMap, object: Option<&Object>) -> Result<(), String> {
    let listed = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default().to_owned());
    if let Some(wanted) = listed(header::IF_MATCH) {
        let Some(object) = object else { return Err("If-Match: it is not there".into()) };
        let tag = of(object);
        let is_one = wanted.split(',').map(str::trim).any(|wanted| wanted == "*" || wanted.trim_start_matches("W/") == tag);
        if !is_one {
            return Err(format!("If-Match: it is otherwise by now; its tag is {tag}"));
        }
    }
    if listed(header::IF_NONE_MATCH).as_deref().map(str::trim) == Some("*") && object.is_some() {
        return Err("If-None-Match: it is there already".into());
    }
    Ok(())
}
