//! `/v1/backtest`: what a rule would have done, over what is stored. Page by page, so that whoever asks sees how far it is and can stop.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use crds::AlertRuleSpec;
use jiff::Timestamp;
use reconcile::alerting::backtest::{self, Course, Past, Readings};
use reconcile::alerting::expr::Compiled;
use reconcile::alerting::rule::Rule;
use reconcile::finding::Severity;
use reconcile::{Desired, Device, Name, ProbeSeen, ProbeState, Series};
use serde::{Deserialize, Serialize};
use store::{FIVE_MINUTES_KEPT, ProbeChange, Store};

use crate::problem::problem;
use crate::shared::{Shared, read};
use crate::turns::Turns;

/// Time after which a page ends: the asker waits for 30 seconds.
const PAGE: Duration = Duration::from_secs(3);
/// Readings after which a page ends, whatever time that took: some tens of megabytes. One device must not have more either: what goes
/// beyond is left out, and that is said.
const READINGS: usize = 2_000_000;
/// Devices of one page.
const DEVICES: usize = 500;
/// One at a time, however many ask: it takes a processor for as long as it works.
pub(crate) static TURNS: Turns = Turns::new(1, "others try rules out just now: ask again");

/// Which rule, over which time.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Question {
    /// The rule's name, whose namespace says which devices.
    pub rule: Name,
    /// What it says; what is in force, if nothing is given.
    #[serde(default)]
    pub spec: Option<AlertRuleSpec>,
    /// From when on, in seconds since 1970.
    pub from: i64,
    /// Until when.
    pub to: i64,
    /// Only devices after this one.
    #[serde(default)]
    pub after: Option<Name>,
}

/// A page of what came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Devices that the rule selects, on all pages.
    pub selected: usize,
    /// What came of each that was looked at.
    pub devices: Vec<Of>,
    /// Readings that were looked at.
    pub readings: usize,
    /// From here on the next page goes; none: that was all.
    pub next: Option<Name>,
    /// What the rule asks for that is not stored, and so unknown.
    pub not_kept: Vec<String>,
    /// It asks for labels or variables, which are as they are today.
    pub as_of_today: bool,
}

/// What came of one device.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Of {
    /// Which.
    pub device: Name,
    /// What.
    #[serde(flatten)]
    pub course: Course,
}

pub(crate) async fn run(State(shared): State<Shared>, Json(question): Json<Question>) -> Response {
    let now = Timestamp::now();
    let (from, to) = (question.from.max(now.as_second() - FIVE_MINUTES_KEPT), question.to.min(now.as_second()));
    let span = Timestamp::from_second(from).ok().zip(Timestamp::from_second(to).ok()).filter(|(from, to)| from < to);
    let Some(span) = span else { return problem(StatusCode::BAD_REQUEST, "from and to: some time within the last 30 days") };
    let desired = read(&shared, |view| view.desired.clone());
    let rule = match rule(&desired, &question) {
        Ok(rule) => rule,
        Err(wrong) => return problem(StatusCode::BAD_REQUEST, wrong),
    };
    let _turn = match TURNS.take().await {
        Ok(turn) => turn,
        Err(why) => return problem(StatusCode::SERVICE_UNAVAILABLE, why),
    };
    let (all, of) = (desired.clone(), rule.clone());
    let select = move || all.devices.values().filter(|device| of.applies_to(device)).cloned().collect();
    let Ok(selected) = tokio::task::spawn_blocking(select).await else {
        return problem(StatusCode::INTERNAL_SERVER_ERROR, "the devices of the rule could not be looked through");
    };
    let selected: Vec<Arc<Device>> = selected;
    match page(&shared, (&desired, &selected), &rule, question.after.as_ref(), span).await {
        Ok(answer) => Json(answer).into_response(),
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}

pub(crate) fn rule(desired: &Desired, question: &Question) -> Result<Arc<Rule>, String> {
    let Some(spec) = &question.spec else {
        return desired
            .rules
            .get(&question.rule)
            .cloned()
            .ok_or_else(|| format!("there is no alertrule/{} that can be used", question.rule));
    };
    let (rule, findings) = Rule::read(&question.rule, spec);
    let wrong = || {
        let errors = findings.iter().filter(|finding| finding.severity == Severity::Error);
        errors.map(|finding| format!("{}: {}; {}", finding.path, finding.message, finding.help)).collect::<Vec<_>>().join("\n")
    };
    rule.map(|rule| Arc::new(Rule { suspend: false, ..rule })).ok_or_else(wrong)
}

pub(crate) async fn page(
    shared: &Shared,
    (desired, selected): (&Arc<Desired>, &[Arc<Device>]),
    rule: &Arc<Rule>,
    after: Option<&Name>,
    span: (Timestamp, Timestamp),
) -> Result<Answer, store::Error> {
    let asks = |of: fn(&Compiled) -> bool| rule.expressions().any(of);
    let asks_for_probes = asks(Compiled::asks_for_probes);
    // How a device is as a whole is more than its probes, and would be taken from them.
    let probes_tell = !asks(Compiled::asks_for_health);
    let untold = (asks_for_probes && !probes_tell).then(|| "the states of probes beside device.health".to_owned());
    let mut answer = Answer {
        selected: selected.len(),
        devices: Vec::new(),
        readings: 0,
        next: None,
        not_kept: rule.expressions().flat_map(|expr| expr.not_kept()).chain(untold).collect(),
        as_of_today: rule.expressions().any(|expr| expr.asks_for_today()),
    };
    let begin = Instant::now();
    for device in selected.iter().filter(|device| after.is_none_or(|after| device.name > *after)) {
        if answer.devices.len() >= DEVICES || answer.readings >= READINGS || (begin.elapsed() > PAGE && !answer.devices.is_empty()) {
            answer.next = answer.devices.last().map(|last| last.device.clone());
            return Ok(answer);
        }
        let (readings, left_out) = readings(&shared.store, rule, device, span, READINGS).await?;
        let is_cut = left_out.is_some();
        answer.not_kept.extend(left_out);
        let probes = if asks_for_probes && probes_tell { states(&shared.store, device, span.0).await? } else { Vec::new() };
        answer.readings += readings.values().map(Vec::len).sum::<usize>() + probes.len();
        let rollouts = read(shared, |view| backtest::rollouts(desired, &view.observed, device, span.1));
        let (rule, of, past) = (rule.clone(), device.clone(), Past { readings, probes, rollouts });
        // Not on the threads that answer everybody else.
        let played = tokio::task::spawn_blocking(move || backtest::play(&rule, &of, &past, span)).await;
        let mut course = played.unwrap_or_default();
        course.cut |= is_cut;
        answer.devices.push(Of { device: device.name.clone(), course });
    }
    Ok(answer)
}

/// How its probes stood then, and when that changed.
async fn states(store: &Store, device: &Device, from: Timestamp) -> Result<Vec<(Timestamp, String, ProbeSeen)>, store::Error> {
    let stood = |change: ProbeChange| {
        let ProbeChange { device: _, probe, at, state, code, reason } = change;
        // Why nobody knows may be the matter of a device that who asks may not see.
        let reason = if state == ProbeState::Unknown { String::new() } else { reason };
        (at, probe, ProbeSeen { state, since: Some(at), code, reason, ..ProbeSeen::default() })
    };
    Ok(store.probe_changes(&device.name, from).await?.into_iter().map(stood).collect())
}

/// The readings that a rule asks for, so many at most, and in words which series are left out.
async fn readings(
    store: &Store,
    rule: &Rule,
    device: &Device,
    (from, to): (Timestamp, Timestamp),
    most: usize,
) -> Result<(Readings, Option<String>), store::Error> {
    let mut wanted: Vec<Series> = rule.expressions().flat_map(|expr| expr.series()).collect();
    let all_of: Vec<_> = rule.expressions().flat_map(|expr| expr.all_of()).collect();
    if !all_of.is_empty() {
        wanted.extend(store.series(&device.name).await?.into_iter().filter(|series| all_of.contains(&series.metric.of())));
    }
    wanted.sort();
    wanted.dedup();
    let mut readings = Readings::new();
    let now = Timestamp::now().as_second();
    let (mut count, mut left_out) = (0, Vec::new());
    for series in wanted {
        if count >= most {
            left_out.push(series);
            continue;
        }
        let points = store.readings(&device.name, &series, from.as_second(), to.as_second(), now).await?;
        count += points.len();
        readings.insert(series, points);
    }
    let words = left_out.first().map(|first| match left_out.len() {
        1 => format!("{first} of {}, which has too many readings", device.name),
        many => format!("{first} and {} more of {}, which has too many readings", many - 1, device.name),
    });
    Ok((readings, words))
}

#[cfg(test)]
mod tests {
    use reconcile::{Metric, Revision};
    use serde_json::json;
    use store::{Options, Samples};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::client::{Client, SOCKET};
    use crate::server::{Listen, bind, serve};
    use crate::sign_in::SignIn;
    use crate::view::{SharedView, View};

    fn object(kind: crds::Kind, name: &str, labels: &serde_json::Value, spec: &serde_json::Value) -> Arc<crds::Object> {
        let value = json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": kind.as_str(), "metadata": {"name": name, "labels": labels}, "spec": spec});
        Arc::new(crds::Object::from_value(kind, value).unwrap())
    }

    fn fleet(devices: usize) -> Desired {
        let device = |number: usize| {
            let role = if number.is_multiple_of(2) { "web" } else { "db" };
            let spec = json!({"type": "Server", "address": "10.0.0.1", "probes": [{"name": "web", "tcp": {"port": 80}}]});
            object(crds::Kind::Device, &format!("d-{number:04}"), &json!({"role": role}), &spec)
        };
        let spec =
            json!({"expr": "usage.memory.ratio > 0.9", "for": "5m", "severity": "warning", "selector": {"matchLabels": {"role": "web"}}});
        let rule = object(crds::Kind::AlertRule, "memory", &json!({}), &spec);
        Desired::build((0..devices).map(device).chain([rule]), Revision { commit: "1".into(), ..Revision::default() }).0
    }

    /// Over the real store and the real interface: single readings and means, a rule in force and one that is tried, page by page.
    #[tokio::test]
    async fn the_past_is_gone_through_page_by_page() {
        let data = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(&Options { data: data.path().to_owned(), url: None }).await.unwrap());
        let samples = Samples::new(store.clone());
        let now = Timestamp::now().as_second();
        let series = Series::of(Metric::MemoryRatio);
        // Three days, a reading each minute: two hours at 0.95 on the first day, an hour of today.
        let high = |ago: i64| (60 * 3600..62 * 3600).contains(&ago) || (3600..7200).contains(&ago);
        for ago in (60..72 * 3600).rev().step_by(60) {
            samples.push_one(&Name::parse("d-0000"), &series, now - ago, if high(ago) { 0.95 } else { 0.5 });
        }
        samples.push_one(&Name::parse("d-0002"), &series, now - 60, 0.1);
        samples.flush(now, true).await.unwrap();

        let devices = DEVICES * 2 + 4;
        let view = SharedView::new(View { desired: Arc::new(fleet(devices)), ..View::default() }.into());
        let (requests, _inbox) = tokio::sync::mpsc::channel(1);
        let bound = bind(Listen::Unix(data.path().join(SOCKET))).await.unwrap();
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve(
            Shared { view, requests, store: store.clone(), hooks: None, sign_in: SignIn::default() },
            bound,
            stop.clone(),
        ));
        let client = Client::local(data.path()).unwrap();

        // More than may be looked at is left out, and that is said.
        let spec = json!({"expr": "usage.memory.ratio > 0.9 && usage.cpu.ratio > 0.9 && usage.load.one > 4", "severity": "warning"});
        let (rule, desired) = (Rule::read(&Name::parse("r"), &serde_json::from_value(spec).unwrap()).0.unwrap(), fleet(1));
        let (device, span) = (&desired.devices[&Name::parse("d-0000")], (Timestamp::UNIX_EPOCH, Timestamp::now()));
        let (read, said) = readings(&store, &rule, device, span, 1).await.unwrap();
        assert_eq!((read.len(), said), (3, None), "in the order of their names, and two were never read");
        let (read, said) = readings(&store, &rule, device, span, 0).await.unwrap();
        assert_eq!((read.len(), said.as_deref()), (0, Some("cpu.ratio and 2 more of d-0000, which has too many readings")));

        let mut question = Question { rule: Name::parse("memory"), spec: None, from: now - 72 * 3600, to: now, after: None };
        let first = client.backtest(&question).await.unwrap();
        assert_eq!((first.selected, first.devices.len() <= DEVICES), (DEVICES + 2, true));
        let course = &first.devices[0].course;
        assert_eq!(first.devices[0].device, Name::parse("d-0000"));
        assert_eq!((course.firings.len(), course.more, course.cut), (2, 0, false), "{course:?}");
        // Five minutes go by before it fires, and a mean may hold some readings of what came before or after.
        assert!((course.fired - (115 + 55) * 60).abs() <= 600, "{course:?}");
        let mut seen = first.devices.len();
        question.after = first.next;
        while question.after.is_some() {
            let page = client.backtest(&question).await.unwrap();
            seen += page.devices.len();
            question.after = page.next;
        }
        assert_eq!(seen, DEVICES + 2, "each device once");

        let stood = |ago: i64, state| ProbeChange {
            device: Name::parse("d-0000"),
            probe: "web".into(),
            at: Timestamp::from_second(now - ago).unwrap(),
            state,
            code: reconcile::ProbeCode::Timeout,
            reason: String::new(),
        };
        store.record_probe_changes(&[stood(7200, ProbeState::Fail), stood(3600, ProbeState::Ok)]).await.unwrap();
        let table: [(&str, i64, &[&str]); 3] = [
            ("usage.memory.ratio > 0.97 || probes[\"web\"].state == \"fail\"", 3600, &[]),
            ("age(probes[\"web\"].lastOk) > duration(\"1h\")", 0, &["probes[\"web\"].lastOk"]),
            (
                "probes[\"web\"].state == \"fail\" && device.health == \"Degraded\"",
                0,
                &["device.health", "the states of probes beside device.health"],
            ),
        ];
        for (expr, fired, not_kept) in table {
            let other = json!({"expr": expr, "severity": "warning", "selector": {"matchLabels": {"role": "web"}}});
            question.spec = Some(serde_json::from_value(other).unwrap());
            let tried = client.backtest(&question).await.unwrap();
            assert_eq!(tried.devices[0].course.fired, fired, "{expr}");
            assert_eq!(tried.not_kept, not_kept, "{expr}");
        }
        let wrong = json!({"expr": "usage.memory.rato > 0.97", "severity": "warning"});
        question.spec = Some(serde_json::from_value(wrong).unwrap());
        assert!(client.backtest(&question).await.unwrap_err().to_string().contains("did you mean `ratio`"));
        question = Question { rule: Name::parse("nobody"), spec: None, ..question };
        assert_eq!(client.backtest(&question).await.unwrap_err().to_string(), "there is no alertrule/nobody that can be used");
        question.to = question.from;
        assert!(client.backtest(&question).await.unwrap_err().to_string().contains("within the last 30 days"));
        stop.cancel();
        let _ = server.await;
    }
}
