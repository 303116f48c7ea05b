//! The last values of devices for a Prometheus, as its own `/federate` gives them: `match[]` says which.
//!
//! ```text
//! GET /v1/federate?match[]=evenkeel_device_memory_ratio{site="ams1"}&match[]={device=~"default/web-.*"}
//! ```
//!
//! Each value has the device's labels beside `device` and `item`, and the time at which it was read.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use reconcile::{Desired, Metric, Name};

use super::{Shared, read};
use crate::problem::problem;
use crate::usage::{Last, Usages, underscored};

/// Selectors of one request, bytes of one, and conditions in it: more than anybody writes by hand.
const SELECTORS: usize = 20;
const SELECTOR: usize = 2048;
const CONDITIONS: usize = 20;
/// Bytes that a regular expression may take once it is made.
const PATTERN: usize = 1 << 20;
/// Devices that are written at once: so much is in memory of an answer.
const AT_ONCE: usize = 100;

/// Gives the last values that a selector matches, piece by piece.
pub(super) async fn federate(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Response {
    let selectors = match selectors(query.as_deref().unwrap_or_default()) {
        Ok(selectors) => selectors,
        Err(error) => return problem(StatusCode::BAD_REQUEST, error),
    };
    let (usages, desired) = read(&shared, |view| (view.usages.clone(), view.desired.clone()));
    let pieces = futures::stream::unfold(Some(None), move |after: Option<Option<Name>>| {
        let (text, next) = match &after {
            Some(after) => piece(&usages, &desired, &selectors, after.as_ref()),
            None => (String::new(), None),
        };
        let is_over = after.is_none();
        async move { (!is_over).then_some((Ok::<_, std::convert::Infallible>(text), next.map(Some))) }
    });
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], Body::from_stream(pieces)).into_response()
}

/// The values of the next devices, and behind which one it goes on.
fn piece(usages: &Usages, desired: &Desired, selectors: &[Selector], after: Option<&Name>) -> (String, Option<Name>) {
    let (mut text, mut count, mut last_name) = (String::new(), 0, None);
    usages.each(after, |name, last| {
        let none = BTreeMap::new();
        let labels = desired.devices.get(name).map_or(&none, |device| &device.labels);
        device(&mut text, name, labels, last, selectors);
        count += 1;
        last_name = Some(name.clone());
        count < AT_ONCE
    });
    (text, last_name.filter(|_| count == AT_ONCE))
}

fn device(text: &mut String, name: &Name, labels: &BTreeMap<String, String>, last: &Last, selectors: &[Selector]) {
    let Some(usage) = &last.usage else { return };
    let mut known: BTreeMap<String, String> = labels.iter().map(|(key, value)| (label(key), value.clone())).collect();
    known.insert("device".into(), name.to_string());
    for (series, value) in &usage.values {
        known.insert("item".into(), series.item.clone());
        let metric = called(series.metric);
        if !selectors.iter().any(|selector| selector.takes(&metric, &known)) {
            continue;
        }
        let shown: Vec<String> = known.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value))).collect();
        let _ = writeln!(text, "{metric}{{{}}} {value} {}", shown.join(","), usage.at.as_millisecond());
    }
}

fn called(metric: Metric) -> String {
    format!("evenkeel_device_{}", underscored(metric.name()))
}

/// A label of ours as Prometheus takes it: `example.com/tier` becomes `example_com_tier`.
fn label(key: &str) -> String {
    let name: String = key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) || name.starts_with("__") { format!("label_{name}") } else { name }
}

fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

/// `name{label="value",…}`, either part of which may be missing, but not both.
#[derive(Debug)]
struct Selector {
    name: Option<String>,
    conditions: Vec<(String, Condition)>,
}

#[derive(Debug)]
enum Condition {
    Is(String),
    IsNot(String),
    Matches(regex::Regex),
    MatchesNot(regex::Regex),
}

impl Selector {
    fn takes(&self, metric: &str, labels: &BTreeMap<String, String>) -> bool {
        let holds = |(key, condition): &(String, Condition)| {
            // A label that is not there is an empty one, as everywhere in Prometheus.
            let value = if key == "__name__" { metric } else { labels.get(key).map_or("", String::as_str) };
            match condition {
                Condition::Is(wanted) => value == wanted,
                Condition::IsNot(wanted) => value != wanted,
                Condition::Matches(pattern) => pattern.is_match(value),
                Condition::MatchesNot(pattern) => !pattern.is_match(value),
            }
        };
        self.name.as_deref().is_none_or(|name| name == metric) && self.conditions.iter().all(holds)
    }
}

/// All `match[]` of a query.
fn selectors(query: &str) -> Result<Vec<Selector>, String> {
    let url = reqwest::Url::parse(&format!("http://localhost/?{query}")).map_err(|error| error.to_string())?;
    let texts: Vec<String> = url.query_pairs().filter(|(key, _)| key == "match[]").map(|(_, text)| text.into_owned()).collect();
    if texts.is_empty() || texts.len() > SELECTORS {
        return Err(format!("1 to {SELECTORS} times `match[]` is needed, such as match[]=evenkeel_device_memory_ratio"));
    }
    texts.iter().map(|text| selector(text).ok_or_else(|| format!("`{text}` is no selector"))).collect()
}

fn selector(text: &str) -> Option<Selector> {
    let text = Some(text.trim()).filter(|text| text.len() <= SELECTOR)?;
    let (name, rest) = text.split_at(text.find('{').unwrap_or(text.len()));
    let name = name.trim();
    let is_name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':');
    let mut conditions = Vec::new();
    let mut rest = match rest {
        "" => "",
        _ => rest.strip_prefix('{')?.strip_suffix('}')?.trim(),
    };
    while !rest.is_empty() {
        let end = rest.find(['=', '!'])?;
        let key = Some(rest[..end].trim()).filter(|key| is_name(key))?;
        let (operator, behind) = ["=~", "!~", "!=", "="].iter().find_map(|sign| Some((*sign, rest[end..].strip_prefix(sign)?)))?;
        let (value, behind) = quoted(behind.trim_start())?;
        let pattern = || {
            // By itself first: `a)|(b` is none, though it is one between our parentheses.
            regex::RegexBuilder::new(&value).size_limit(PATTERN).build().ok()?;
            regex::RegexBuilder::new(&format!("^(?s:{value})$")).size_limit(PATTERN).build().ok()
        };
        let condition = match operator {
            "=" => Condition::Is(value.clone()),
            "!=" => Condition::IsNot(value.clone()),
            "=~" => Condition::Matches(pattern()?),
            _ => Condition::MatchesNot(pattern()?),
        };
        conditions.push((key.to_owned(), condition));
        let behind = behind.trim_start();
        rest = if behind.is_empty() { "" } else { behind.strip_prefix(',')?.trim_start() };
    }
    if conditions.len() > CONDITIONS || (name.is_empty() && conditions.is_empty()) || !(name.is_empty() || is_name(name)) {
        return None;
    }
    Some(Selector { name: (!name.is_empty()).then(|| name.to_owned()), conditions })
}

/// A text in quotation marks, and what is behind it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|c| *c == '"' || *c == '\'')?;
    let (mut value, mut characters) = (String::new(), text.char_indices().skip(1));
    while let Some((at, c)) = characters.next() {
        match c {
            c if c == quote => return Some((value, &text[at + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use reconcile::{Series, Usage};

    use super::*;

    fn given(query: &str) -> Result<String, String> {
        let usages = Usages::default();
        for number in 0..AT_ONCE + 1 {
            let values = [(Series::of(Metric::MemoryRatio), 0.5), (Series::item(Metric::DiskRatio, "/a\"b"), 0.25)];
            let name = Name::parse(&format!("web-{number:03}"));
            usages.took(&name, &Arc::new(Usage { values: values.into(), ..Usage::default() }), None);
        }
        let (selectors, mut text, mut after) = (selectors(query)?, String::new(), None);
        loop {
            let (piece, next) = piece(&usages, &Desired::default(), &selectors, after.as_ref());
            text += &piece;
            after = next;
            if after.is_none() {
                return Ok(text);
            }
        }
    }

    #[test]
    fn what_matches_is_given_and_all_of_it() {
        assert_eq!(given("match[]=evenkeel_device_memory_ratio").unwrap().lines().count(), AT_ONCE + 1);
        assert_eq!(given("match[]={device=~\"web-00.\"}").unwrap().lines().count(), 20);
        assert_eq!(
            given("match[]={device=\"web-007\",item!=\"\"}&match[]=nothing").unwrap(),
            "evenkeel_device_disks_ratio{device=\"web-007\",item=\"/a\\\"b\"} 0.25 0\n"
        );
        assert_eq!(given("match[]={__name__=~\"evenkeel_.*\",device!~\"web-.*\"}").unwrap(), "");
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        let long = format!("match[]={}", "x".repeat(SELECTOR + 1));
        let many = "match[]=x&".repeat(SELECTORS + 1);
        for query in [
            "",
            "match=x",
            "match[]=",
            "match[]={}",
            "match[]={a}",
            "match[]={a=b}",
            "match[]={a=~\"(\"}",
            "match[]={a=~\"b)|(c\"}",
            "match[]=x{a=\"b\"",
            &long,
            &many,
        ] {
            assert!(given(query).is_err(), "{query}");
        }
        assert_eq!((label("example.com/tier"), label("1a")), ("example_com_tier".into(), "label_1a".into()));
    }

    #[test]
    fn fuzz_selectors() {
        let words =
            ["{", "}", "=\"", "\"", "'", "=~", "!~", "!=", ",", "\\", ".*", "(", ")|(", "[", "{9999}", "(?x)", "__name__", "é", "a"];
        let labels: BTreeMap<String, String> =
            [("device", "web-01"), ("item", "/a\"b"), ("site", "")].map(|(key, value)| (key.into(), value.into())).into();
        crate::fuzz::run(env!("CARGO_MANIFEST_DIR"), "selector", &words, 3_000, |bytes| {
            let text = String::from_utf8_lossy(bytes);
            let Some(parsed) = selector(&text) else { return };
            assert!(parsed.conditions.len() <= CONDITIONS && (parsed.name.is_some() || !parsed.conditions.is_empty()));
            for (_, condition) in &parsed.conditions {
                if let Condition::Matches(pattern) | Condition::MatchesNot(pattern) = condition {
                    // All of a value, or nothing.
                    let value = "web-01";
                    assert!(pattern.find(value).is_none_or(|found| found.as_str() == value), "{pattern}");
                }
            }
            let holds = parsed.takes("evenkeel_device_disks_ratio", &labels);
            let again = selector(&format!(" {text} ")).map(|again| again.takes("evenkeel_device_disks_ratio", &labels));
            assert!(again == Some(holds) || text.len() + 2 > SELECTOR);
        });
    }
}
