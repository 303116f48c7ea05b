//! The last values of devices for a Prometheus, as its own `/federate` gives them: `match[]` says which.
//!
//! ```text
//! GET /v1/federate?match[]=evenkeel_device_memory_ratio{site="ams1"}&match[]={device=~"web-.*"}
//! ```
//!
//! Each value has the device's labels beside `device` and `item`, and the time at which it was read. One that is older than five minutes
//! is left out, as Prometheus does it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use reconcile::alerting::expr::STALE;
use reconcile::{Desired, Metric, Name, Series};

use crate::problem::problem;
use crate::shared::{Shared, read};
use crate::usage::{Last, Usages, underscored};

/// Selectors of one request, bytes of one, and conditions in it: more than anybody writes by hand.
const SELECTORS: usize = 20;
const SELECTOR: usize = 2048;
const CONDITIONS: usize = 20;
/// Bytes that a regular expression may take once it is made.
const PATTERN: usize = 1 << 20;
/// Devices that are written at once: so much is in memory of an answer.
const AT_ONCE: usize = 100;

/// How far an answer has come: metric by metric, as the text format wants them, and all devices of each.
struct Place {
    metric: usize,
    /// The last device that was looked at.
    after: Option<Name>,
    /// What the metric is was said.
    is_begun: bool,
}

/// Gives the last values that a selector matches, piece by piece.
pub(super) async fn federate(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Response {
    let selectors = match selectors(query.as_deref().unwrap_or_default()) {
        Ok(selectors) => selectors,
        Err(error) => return problem(StatusCode::BAD_REQUEST, error),
    };
    let (usages, desired) = read(&shared, |view| (view.usages.clone(), view.desired.clone()));
    let begin = Place { metric: 0, after: None, is_begun: false };
    let pieces = futures::stream::unfold(Some(begin), move |place| {
        let piece = place.map(|place| piece(&usages, &desired, &selectors, place, Timestamp::now()));
        async move { piece.map(|(text, next)| (Ok::<_, std::convert::Infallible>(text), next)) }
    });
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], Body::from_stream(pieces)).into_response()
}

/// The values of one metric of the next devices, and where it goes on.
fn piece(usages: &Usages, desired: &Desired, selectors: &[Selector], place: Place, now: Timestamp) -> (String, Option<Place>) {
    let (mut text, mut place) = (String::new(), place);
    let Some(metric) = Metric::ALL.get(place.metric).copied() else { return (text, None) };
    let called = called(metric);
    let (mut count, mut last_name) = (0, None);
    if selectors.iter().any(|selector| selector.name.as_ref().is_none_or(|name| *name == called)) {
        usages.each(place.after.as_ref(), |name, last| {
            let none = BTreeMap::new();
            let labels = desired.devices.get(name).map_or(&none, |device| &device.labels);
            device(&mut text, (metric, &called), (name, labels, last), selectors, now);
            count += 1;
            last_name = Some(name.clone());
            count < AT_ONCE
        });
    }
    if !text.is_empty() && !place.is_begun {
        text.insert_str(0, &format!("# HELP {called} {}\n# TYPE {called} gauge\n", metric.help()));
        place.is_begun = true;
    }
    match last_name.filter(|_| count == AT_ONCE) {
        Some(name) => place.after = Some(name),
        None => place = Place { metric: place.metric + 1, after: None, is_begun: false },
    }
    (text, Some(place))
}

/// What is to be written of one device.
type Whose<'a> = (&'a Name, &'a BTreeMap<String, String>, &'a Last);

fn device(text: &mut String, (metric, called): (Metric, &str), (name, labels, last): Whose<'_>, selectors: &[Selector], now: Timestamp) {
    let values = last.usage.iter().flat_map(|usage| usage.values.range(Series::of(metric)..));
    let mut values = values.take_while(|(series, _)| series.metric == metric).peekable();
    if values.peek().is_none() {
        return;
    }
    let mut known: BTreeMap<String, String> = labels.iter().map(|(key, value)| (label(key), value.clone())).collect();
    known.insert("device".into(), name.to_string());
    for (series, value) in values {
        // Prometheus takes what it fetches for a value of now, whatever its instant.
        let Some(at) = last.at(series).filter(|at| now.duration_since(*at) <= STALE) else { continue };
        known.insert("item".into(), series.item.to_string());
        if !selectors.iter().any(|selector| selector.takes(called, &known)) {
            continue;
        }
        // An empty label is none.
        let shown = known.iter().filter(|(_, value)| !value.is_empty());
        let shown: Vec<String> = shown.map(|(key, value)| format!("{key}=\"{}\"", escaped(value))).collect();
        let _ = writeln!(text, "{called}{{{}}} {value} {}", shown.join(","), at.as_millisecond());
    }
}

fn called(metric: Metric) -> String {
    format!("evenkeel_device_{}", underscored(metric.name()))
}

/// A label of ours as Prometheus takes it: `example.com/tier` becomes `example_com_tier`, and one that is called as ours are `label_item`.
fn label(key: &str) -> String {
    let name: String = key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let is_taken = name == "device" || name == "item" || name.starts_with("__") || name.starts_with(|c: char| c.is_ascii_digit());
    if is_taken { format!("label_{name}") } else { name }
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
        let pattern = || whole(&value);
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

/// A regular expression that has to match all of a text. It must be one before anything is put around it: `a)|(b` is none.
fn whole(pattern: &str) -> Option<regex::Regex> {
    let of = |pattern: &str| regex::RegexBuilder::new(pattern).size_limit(PATTERN).build().ok();
    of(pattern)?;
    of(&format!("^(?s:{pattern})$"))
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

    use reconcile::Usage;

    use super::*;

    fn given_at(query: &str, now: Timestamp) -> Result<String, String> {
        let usages = Usages::default();
        for number in 0..AT_ONCE + 1 {
            let values = [(Series::of(Metric::MemoryRatio), 0.5), (Series::item(Metric::DiskRatio, "/a\"b"), 0.25)];
            let name = Name::parse(&format!("web-{number:03}"));
            usages.took(&name, &Arc::new(Usage { values: values.into(), ..Usage::default() }), None);
        }
        let (selectors, mut text) = (selectors(query)?, String::new());
        let mut place = Some(Place { metric: 0, after: None, is_begun: false });
        while let Some(at) = place {
            let (piece, next) = piece(&usages, &Desired::default(), &selectors, at, now);
            text += &piece;
            place = next;
        }
        Ok(text)
    }

    /// The same at the instant of the readings.
    fn given(query: &str) -> Result<String, String> {
        given_at(query, Timestamp::UNIX_EPOCH)
    }

    fn values(text: &str) -> usize {
        text.lines().filter(|line| !line.starts_with('#')).count()
    }

    #[test]
    fn what_matches_is_given_and_all_of_it() {
        assert_eq!(values(&given("match[]=evenkeel_device_memory_ratio").unwrap()), AT_ONCE + 1);
        assert_eq!(values(&given("match[]={device=~\"web-00.\"}").unwrap()), 20);
        assert_eq!(
            given("match[]={device=\"web-007\",item!=\"\"}&match[]=nothing").unwrap(),
            "# HELP evenkeel_device_disks_ratio Share in use of what such users may have, as `df` says it.\n\
             # TYPE evenkeel_device_disks_ratio gauge\n\
             evenkeel_device_disks_ratio{device=\"web-007\",item=\"/a\\\"b\"} 0.25 0\n"
        );
        assert_eq!(given("match[]={__name__=~\"evenkeel_.*\",device!~\"web-.*\"}").unwrap(), "");
    }

    /// The text format wants all of a metric together, and once what it is.
    #[test]
    fn metrics_are_whole_and_what_is_old_is_left_out() {
        let text = given("match[]={device=~\".*\"}").unwrap();
        let mut names: Vec<&str> = text.lines().map(|line| line.trim_start_matches("# HELP ").split(['{', ' ']).next().unwrap()).collect();
        names.retain(|name| *name != "#");
        names.dedup();
        assert_eq!(names, ["evenkeel_device_memory_ratio", "evenkeel_device_disks_ratio"]);
        assert_eq!(text.matches("# TYPE").count(), 2);
        let after = |seconds| values(&given_at("match[]={device=\"web-007\"}", Timestamp::from_second(seconds).unwrap()).unwrap());
        assert_eq!((after(300), after(301)), (2, 0));
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
            "match[]={a=~\"a)|(b\"}",
            "match[]=x{a=\"b\"",
            &long,
            &many,
        ] {
            assert!(given(query).is_err(), "{query}");
        }
        assert_eq!(["example.com/tier", "1a", "item"].map(label), ["example_com_tier", "label_1a", "label_item"]);
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
