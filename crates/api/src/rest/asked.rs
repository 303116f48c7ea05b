//! What is asked for in a query: which objects, in which order, how many, and which parts of them.

use std::str::FromStr;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri, header};
use crds::Selector;
use reconcile::Name;

use super::gate::{Param, param};
use super::selector;
use crate::problem::Problem;
use crate::shared::Shared;

/// Items in one answer where nothing is said.
pub(super) const LIMIT: usize = 100;
/// Items in one answer at most.
pub(super) const MOST: usize = 1000;
/// Parameters in one query: a chart asks for some tens of series.
const PARAMS: usize = 128;
/// Characters of a text that is searched for, and words of it.
const TEXT: usize = 256;
const WORDS: usize = 8;
/// Keys that one sorts by; a further one decides nothing that anybody sees.
const KEYS: usize = 4;

/// What every list takes.
pub(super) const LIST: [Param; 7] = [
    param("limit", "Items in one answer, 100 if nothing is said, 1000 at most."),
    param("cursor", "Where the next page begins, as the answer before said it."),
    param("namespace", "Only what is in this namespace."),
    param("labelSelector", "Only what has these labels, as Kubernetes writes it: `a=b,c!=d,e in (x,y),f,!g`."),
    param("q", "Only what has all these words in its name, address or labels."),
    param("sort", "By what to sort, such as `name` or `-name`, with commas between."),
    param("fields", "Only these parts of each item, such as `metadata.name,status.health`."),
];

/// A query.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    pairs: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
}

impl FromRequestParts<Shared> for Asked {
    type Rejection = Box<Problem>;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, Self::Rejection> {
        Ok(Self { pairs: pairs(&parts.uri)?, headers: parts.headers.clone() })
    }
}

fn pairs(uri: &Uri) -> Result<Vec<(String, String)>, Box<Problem>> {
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(|error| Problem::bad(error.body_text()))?;
    if pairs.len() > PARAMS {
        return Err(Problem::bad(format!("the query has {} parameters, and may have {PARAMS}", pairs.len())));
    }
    Ok(pairs)
}

/// Parameters that may be there several times.
const REPEATED: [&str; 2] = ["series", "group"];

/// Refuses a query with parameters that are not among these.
pub(super) fn only(uri: &Uri, known: &[Param]) -> Result<(), Box<Problem>> {
    let asked = pairs(uri)?;
    let is_known = |name: &str| known.iter().any(|param| param.name == name);
    let unknown: Vec<String> = asked.iter().filter(|(name, _)| !is_known(name)).map(|(name, _)| format!("`{}`", short(name))).collect();
    if unknown.is_empty() {
        let twice = |(at, (name, _)): &(usize, &(String, String))| asked[..*at].iter().any(|(before, _)| before == name);
        return match asked.iter().enumerate().filter(|(_, (name, _))| !REPEATED.contains(&name.as_str())).find(twice) {
            Some((_, (name, _))) => Err(Problem::bad(format!("`{name}` is there twice: several values have commas between"))),
            None => Ok(()),
        };
    }
    let known: Vec<String> = known.iter().map(|param| format!("`{}`", param.name)).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Err(Problem::bad(format!("unknown query parameters: {}; there are: {known}", unknown.join(", "))))
}

/// As much of a text as goes into an answer.
pub(super) fn short(text: &str) -> String {
    text.chars().take(60).collect()
}

impl Asked {
    /// Says the same for the same query.
    pub(super) fn text(&self) -> String {
        format!("{:?}", self.pairs)
    }

    /// A parameter, if it is there and not empty.
    pub(super) fn one(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(given, value)| given == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// Each value of a parameter.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(given, value)| given == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// A parameter of several words with commas between.
    pub(super) fn words<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.all(name).flat_map(|value| value.split(',')).map(str::trim).filter(|word| !word.is_empty())
    }

    /// A parameter that is a number, an instant or the like.
    pub(super) fn read<T: FromStr>(&self, name: &str) -> Result<Option<T>, Box<Problem>> {
        let wrong = |value: &str| Problem::bad(format!("{name}: `{}` can't be read", short(value)));
        self.one(name).map(|value| value.parse().map_err(|_| wrong(value))).transpose()
    }

    /// A device, an object: `NAMESPACE/NAME`, or `NAME` in the namespace `default`.
    pub(super) fn name(&self, parameter: &str) -> Option<Name> {
        self.one(parameter).map(Name::parse)
    }

    /// An instant, or a time back from now such as `30d`; `None` if nothing is said.
    pub(super) fn instant(&self, name: &str, now: jiff::Timestamp) -> Result<Option<jiff::Timestamp>, Box<Problem>> {
        let Some(text) = self.one(name) else { return Ok(None) };
        let back = || now.checked_sub(crds::Duration::from_str(text).ok()?.0).ok();
        let seconds = || jiff::Timestamp::from_second(text.parse().ok()?).ok();
        let found = text.parse().ok().or_else(seconds).or_else(back);
        found.map(Some).ok_or_else(|| {
            Problem::bad(format!("{name}: `{}` is neither an instant, nor seconds since 1970, nor a time such as 24h", short(text)))
        })
    }

    /// How many items.
    pub(super) fn limit(&self) -> Result<usize, Box<Problem>> {
        match self.read("limit")?.unwrap_or(LIMIT) {
            limit @ 1..=MOST => Ok(limit),
            other => Err(Problem::bad(format!("limit: {other} is not between 1 and {MOST}"))),
        }
    }

    /// Which labels.
    pub(super) fn selector(&self) -> Result<Selector, Box<Problem>> {
        selector::parse(self.one("labelSelector").unwrap_or_default()).map_err(|why| Problem::bad(format!("labelSelector: {why}")))
    }

    /// The words that are searched for, in small letters.
    pub(super) fn search(&self) -> Result<Vec<String>, Box<Problem>> {
        let text = self.one("q").unwrap_or_default();
        if text.len() > TEXT {
            return Err(Problem::bad(format!("q: {} bytes are more than {TEXT}", text.len())));
        }
        Ok(text.to_lowercase().split_whitespace().take(WORDS).map(str::to_owned).collect())
    }

    /// By what to sort: keys of those that there are, and whether the other way round.
    pub(super) fn sort(&self, known: &[&'static str]) -> Result<Vec<(&'static str, bool)>, Box<Problem>> {
        let mut keys = Vec::new();
        for word in self.words("sort") {
            let (key, is_down) = word.strip_prefix('-').map_or((word, false), |key| (key, true));
            let Some(key) = known.iter().find(|known| **known == key) else {
                return Err(Problem::bad(format!("sort: there is no `{}` to sort by, but {}", short(key), known.join(", "))));
            };
            if keys.len() >= KEYS {
                return Err(Problem::bad(format!("sort: more than {KEYS} keys")));
            }
            keys.push((*key, is_down));
        }
        Ok(keys)
    }

    /// What the other end has already.
    pub(super) fn none_match(&self) -> Option<&str> {
        self.headers.get(header::IF_NONE_MATCH)?.to_str().ok()
    }
}
