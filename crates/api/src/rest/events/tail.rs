//! `GET /logs/tail`: lines of logs as they come, no more in a second than somebody can look at.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{Extensions, StatusCode};
use axum::response::{IntoResponse as _, Response};
use crds::{Kind, Verb};
use jiff::Timestamp;
use reconcile::access::What;
use reconcile::{Desired, Name};
use regex::Regex;
use serde::Deserialize;
use serde_json::{Value, json};
use store::{LogLine, Search};

use super::stream::{self, Listener, Source};
use crate::problem::{Problem, problem};
use crate::rest::caller::Caller;
use crate::rest::gate::{Param, param};
use crate::rest::pattern;
use crate::rest::sight::Seen;
use crate::shared::{Shared, read};

/// Time between two looks for new lines.
const LOOK: Duration = Duration::from_secs(1);
/// Lines that are told of one look; of more, how many.
const TOLD: usize = 200;
/// Lines that are read of one look. What more there is is passed over, so that nobody falls behind.
const READ: usize = 1000;

/// What may be asked for.
pub(super) const QUERY: [Param; 5] = [
    param("device", "Only those of this device: `NAMESPACE/NAME`, or `NAME` in `default`; `-`: of senders that are none."),
    param("q", "Only those in which this regular expression is found."),
    param("severity", "Only those as grave as this number or graver (RFC 5424)."),
    param("program", "Only those of this program."),
    param("template", "Only those of this template."),
];

/// Which lines.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Lines {
    device: Option<String>,
    /// A regular expression.
    #[serde(default)]
    q: String,
    severity: Option<u32>,
    program: Option<String>,
    template: Option<String>,
}

impl Lines {
    fn pattern(&self) -> Result<Option<Regex>, String> {
        if self.q.is_empty() {
            return Ok(None);
        }
        pattern::read(&self.q).map(Some)
    }

    fn search(self) -> Search {
        let device = self
            .device
            .map(|device| if ["", "-"].contains(&device.as_str()) { String::new() } else { Name::parse(&device).full().to_owned() });
        Search { device, severity: self.severity, program: self.program, template: self.template, limit: READ, ..Search::default() }
    }
}

pub(super) async fn tail(State(shared): State<Shared>, Seen(sight): Seen, Query(lines): Query<Lines>, extensions: Extensions) -> Response {
    let pattern = match lines.pattern() {
        Ok(pattern) => pattern,
        Err(why) => return problem(StatusCode::BAD_REQUEST, why),
    };
    let (caller, search) = (sight.caller.clone(), lines.search());
    let is_there = match search.device.as_deref() {
        None => Ok(()),
        Some("") if sight.sees_senders() => Ok(()),
        Some("") => Err(Problem::missing("lines of senders that are no device are for who may see every device")),
        Some(device) => sight.device(&Name::parse(device)),
    };
    if let Err(missing) = is_there {
        return missing.into_response();
    }
    let begin = match shared.store.log_tail().await {
        Ok(tail) => tail.number,
        Err(error) => return problem(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    };
    let tails = read(&shared, |view| view.feed.tails.clone());
    let seat = match stream::seat(&tails, &caller) {
        Ok(seat) => seat,
        Err(refused) => return refused,
    };
    super::no_place(&extensions);
    let source = Tail { shared, caller, search: Search { after: Some(begin), ..search }, pattern, sight: Sight::default() };
    Listener::new(seat, source).into_response()
}

/// The lines that a caller may see.
struct Tail {
    shared: Shared,
    caller: Caller,
    search: Search,
    pattern: Option<Regex>,
    sight: Sight,
}

/// Of which devices they are, for as long as nothing else is in force.
#[derive(Default)]
struct Sight {
    desired: Arc<Desired>,
    governing: Arc<Desired>,
    known: HashMap<String, bool>,
}

impl Source for Tail {
    fn first(&mut self) -> String {
        "\n".into()
    }

    async fn wait(&mut self) {
        tokio::time::sleep(LOOK).await;
    }

    async fn next(&mut self) -> Result<String, &'static str> {
        let lines = self.shared.store.search_logs(&self.search).await.map_err(|_| "the store can't be read just now")?;
        let Some(last) = lines.last().map(|last| last.number) else { return Ok(String::new()) };
        let mut passed_over = 0;
        self.search.after = Some(last);
        if lines.len() == READ {
            let tail = self.shared.store.log_tail().await.map_err(|_| "the store can't be read just now")?;
            passed_over = tail.number.saturating_sub(last);
            self.search.after = Some(tail.number.max(last));
        }
        let Self { shared, caller, sight, .. } = self;
        let (seen, sees_all) = read(shared, |view| {
            let seen = lines.into_iter().filter(|line| sight.sees(view, caller, &line.device)).collect();
            (seen, sight.sees(view, caller, ""))
        });
        let seen: Vec<LogLine> = pattern::fitting(self.pattern.as_ref(), seen).await;
        // Whose lines were not read nobody knows, so they are counted for who may see all of them.
        let left_out = seen.len().saturating_sub(TOLD) as u64 + if sees_all { passed_over } else { 0 };
        let mut text: String =
            seen.iter().take(TOLD).map(|line| format!("id: {}\nevent: line\ndata: {}\n\n", line.number, shown(line))).collect();
        if left_out > 0 {
            // Of lines that were not read nobody knows whether they would fit.
            text += &format!("event: leftOut\ndata: {}\n\n", json!({"lines": left_out}));
        }
        Ok(text)
    }
}

impl Sight {
    fn sees(&mut self, view: &crate::view::View, caller: &Caller, device: &str) -> bool {
        if caller.is_admin && caller.scopes.is_none() {
            return true;
        }
        if !Arc::ptr_eq(&self.desired, &view.desired) || !Arc::ptr_eq(&self.governing, view.governing()) {
            (self.desired, self.governing) = (view.desired.clone(), view.governing().clone());
            self.known.clear();
        }
        if let Some(known) = self.known.get(device) {
            return *known;
        }
        // Of a sender that is no device, or none any more: who may see all of them.
        let sees = if device.is_empty() {
            caller.may_everywhere(view.governing(), &view.desired, (Verb::View, Kind::Device)).is_ok()
        } else {
            let name = Name::parse(device);
            let object = view.desired.objects.get(&(Kind::Device, name.clone()));
            let what = object.map_or(What::Any, |object| What::Object(object));
            caller.may(view, Verb::View, Kind::Device, name.namespace(), what).is_ok()
        };
        self.known.insert(device.to_owned(), sees);
        sees
    }
}

/// A line as `/logs` shows it.
fn shown(line: &LogLine) -> Value {
    let at = |micros: i64| Timestamp::from_microsecond(micros).ok();
    json!({
        "number": line.number,
        "received": at(line.received),
        "sent": line.sent.and_then(at),
        "device": line.device,
        "address": line.address,
        "host": line.host,
        "facility": line.facility,
        "severity": line.severity,
        "program": line.program,
        "process": line.process,
        "text": line.message,
        "template": line.template,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_regular_expression_has_its_limits() {
        let pattern = |q: &str| Lines { q: q.into(), ..Lines::default() }.pattern();
        assert!(pattern("").unwrap().is_none());
        assert!(pattern("fail(ed|ure)").unwrap().unwrap().is_match("a failure"));
        assert!(pattern("(").unwrap_err().starts_with("q: "));
    }
}
