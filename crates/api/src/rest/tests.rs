//! The router in process, on a small fleet of two sites.

mod answers;
mod codes;
mod described;
mod explained;
mod hostile;
mod past;
mod races;
mod rollouts;
mod sees;
mod walk;

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use axum::response::Response;
use crds::{AlertState, Kind, Object, Severity, Verb};
use jiff::Timestamp;
use reconcile::access::Who;
use reconcile::alerting::LastChange;
use reconcile::alerting::flap::Flaps;
use reconcile::alerting::state::{Instance, Subject};
use reconcile::observed::{Contact, DeviceSeen, ProbeSeen, ProbeState};
use reconcile::record::Actor;
use reconcile::{Deferred, Desired, Metric, Name, Revision, Series, Target, Usage, WaitingOn};
use serde_json::{Value, json};
use store::audit::Entry;
use store::{LogLine, Options, Store};
use tokio::sync::mpsc;
use tower::ServiceExt as _;

use super::caller::{By, Caller, Scope};
use crate::server::router;
use crate::shared::Shared;
use crate::view::{SharedView, View};

/// A router with all that it needs.
struct World {
    router: axum::Router,
    shared: Shared,
    _data: tempfile::TempDir,
}

/// An instant that never changes.
fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).unwrap()
}

fn object(kind: Kind, name: &str, labels: &Value, spec: &Value) -> Arc<Object> {
    let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
    let value = json!({
        "apiVersion": "evenkeel.dev/v1alpha1",
        "kind": kind.as_str(),
        "metadata": {"namespace": namespace, "name": name, "labels": labels},
        "spec": spec,
    });
    Arc::new(Object::from_value(kind, value).unwrap())
}

fn device(name: &str, site: &str, parents: &[&str]) -> Arc<Object> {
    object(
        Kind::Device,
        name,
        &json!({"site": site, "role": "web"}),
        &json!({"type": "Server", "address": format!("{}.example.com", name.replace('/', ".")), "parents": parents}),
    )
}

fn role(name: &str, subject: &str, allow: &Value, suspend: bool) -> Arc<Object> {
    object(Kind::Role, name, &json!({}), &json!({"subjects": [{"user": subject}], "allow": allow, "suspend": suspend}))
}

/// Two sites with a switch and a server each, what is about one of them, and what is about none.
fn objects() -> Vec<Arc<Object>> {
    let mut objects = Vec::new();
    for site in ["ams1", "fra1"] {
        let (switch, server, here) = (format!("sw-{site}"), format!("web-{site}"), json!({"matchLabels": {"site": site}}));
        objects.push(device(&switch, site, &[]));
        objects.push(device(&server, site, &[&switch]));
        objects.push(object(
            Kind::Deployment,
            &format!("app-{site}"),
            &json!({}),
            &json!({"selector": here, "package": {"apt": {"name": "nginx", "version": "1.0-1"}}}),
        ));
        let rule = json!({"selector": here, "expr": "device.usage.load.one > 5.0", "severity": "critical", "summary": "high load"});
        objects.push(object(Kind::AlertRule, &format!("load-{site}"), &json!({}), &rule));
        let silence = json!({"devices": here, "until": "2030-01-01T00:00:00Z", "reason": "work"});
        objects.push(object(Kind::Silence, &format!("quiet-{site}"), &json!({}), &silence));
    }
    objects.push(object(Kind::DeviceClass, "plain", &json!({}), &json!({"labels": {"class": "plain"}})));
    objects.push(object(Kind::Receiver, "oncall", &json!({}), &json!({"webhook": {"url": "https://example.com/hook"}})));
    objects.push(object(
        Kind::Repository,
        "fleet",
        &json!({}),
        &json!({"url": "https://example.com/fleet.git", "ref": {"branch": "main"}}),
    ));
    let here = json!({"matchLabels": {"site": "ams1"}});
    let both = json!([{"verbs": ["view", "edit"], "devices": here}]);
    objects.push(role("viewers", "viewer", &json!([{"verbs": ["view"], "devices": here}]), false));
    objects.push(role("editors", "editor", &both, false));
    objects.push(role(
        "deployers",
        "deployer",
        &json!([{"verbs": ["deploy", "rollback"], "kinds": ["Deployment"], "devices": here}]),
        false,
    ));
    objects.push(role("approvers", "approver", &json!([{"verbs": ["approve"], "kinds": ["Deployment"]}]), false));
    objects.push(role("readers", "reader", &json!([{"verbs": ["view"]}]), false));
    objects.push(role("gone", "suspended", &json!([{"verbs": ["view", "edit"]}]), true));
    objects
}

fn seen(health: &str) -> Arc<DeviceSeen> {
    let probe = |state| ProbeSeen { state, since: Some(at(0)), ..ProbeSeen::default() };
    let contact = match health {
        "dead" => Contact::Unreachable { since: at(0), reason: "no answer".into(), code: Default::default() },
        _ => Contact::Known,
    };
    let state = if health == "ok" { ProbeState::Ok } else { ProbeState::Fail };
    Arc::new(DeviceSeen {
        contact,
        seen_at: Some(at(0)),
        probes: [("web".to_owned(), probe(state).into())].into(),
        ..DeviceSeen::default()
    })
}

fn alert(rule: &str, device: &str, id: &str) -> Instance {
    let subject = Subject {
        rule: Name::parse(rule),
        device: Name::parse(device),
        severity: Severity::Critical,
        labels: [("site".to_owned(), device.trim_start_matches("web-").to_owned())].into(),
        summary: format!("{device}: high load, behind device/sw-fra1"),
        last_change: None,
        behind: 0,
        lines: Vec::new(),
    };
    Instance {
        id: id.to_owned(),
        subject,
        state: AlertState::Firing,
        value: Some(7.0),
        active_at: at(0),
        fired_at: Some(at(60)),
        well_since: None,
        resolved_at: None,
        unknown_since: None,
        unknown_reason: String::new(),
        seen_at: at(60),
        flaps: Flaps::default(),
        acknowledged: None,
        suppressed: Vec::new(),
        group: None,
        decisions: Vec::new(),
    }
}

/// What a Deployment changed.
fn change(deployment: &str) -> LastChange {
    LastChange {
        deployment: Name::parse(deployment),
        revision: "3".into(),
        version: String::new(),
        commit: "c0ffee".into(),
        author: String::new(),
        at: at(0),
    }
}

fn entry(target: &str) -> Entry {
    Entry {
        index: 0,
        at: at(0),
        actor: Actor { kind: "user".into(), name: "ann".into(), signer: None },
        verb: "apply".into(),
        target: target.into(),
        unit: String::new(),
        plan: String::new(),
        step: String::new(),
        changes: Vec::new(),
        message: "web-fra1: beside device/web-fra1 and device/web-ams1.".into(),
        outcome: "done".into(),
        refers_to: None,
    }
}

fn line(device: &str, message: &str) -> LogLine {
    let device = if device.is_empty() { String::new() } else { Name::parse(device).full().to_owned() };
    LogLine { received: at(0).as_microsecond(), device, severity: 3, program: "app".into(), message: message.into(), ..LogLine::default() }
}

impl World {
    async fn new() -> Self {
        Self::of(objects()).await
    }

    async fn of(objects: Vec<Arc<Object>>) -> Self {
        let data = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(&Options { data: data.path().to_owned(), url: None }).await.unwrap());
        let revision = Revision { commit: "c0ffee".into(), author: "ann@example.com".into(), ..Revision::default() };
        let (desired, findings) = Desired::build(objects, revision);
        assert!(findings.iter().all(|finding| finding.severity != reconcile::finding::Severity::Error), "{findings:?}");
        let mut view = View { desired: Arc::new(desired), ..View::default() };
        for (device, health) in [("sw-ams1", "ok"), ("web-ams1", "ok"), ("sw-fra1", "dead"), ("web-fra1", "failing")] {
            view.observed.devices.insert(Name::parse(device), seen(health));
        }
        for (site, id) in [("ams1", "aaaa"), ("fra1", "ffff")] {
            let alert = alert(&format!("load-{site}"), &format!("web-{site}"), id);
            view.alerts.set(&(alert.subject.rule.clone(), alert.subject.device.clone()), Some(&alert));
            let rollout = reconcile::Rollout::default();
            view.observed.rollouts.insert(Name::parse(&format!("app-{site}")), Arc::new(rollout));
            let cpu = if site == "ams1" { 0.25 } else { 0.75 };
            let usage = Usage { at: at(0), values: [(Series::of(Metric::LoadOne), 7.0), (Series::of(Metric::CpuRatio), cpu)].into() };
            view.usages.took(&Name::parse(&format!("web-{site}")), &Arc::new(usage), None);
        }
        store.log(vec![entry("device/web-ams1"), entry("device/web-fra1"), entry("user/ann")]).await.unwrap();
        let lines = [line("web-ams1", "one fish"), line("web-fra1", "two fish"), line("", "red fish")];
        store.write_logs(&lines).await.unwrap();
        let (requests, mut inbox) = mpsc::channel::<crate::view::Request>(8);
        tokio::spawn(async move {
            while let Some(request) = inbox.recv().await {
                // Whether a change is allowed as a whole is found out where it is made.
                let done = match request.what {
                    crate::view::Ask::Change(_) => {
                        json!(Ok::<_, crate::change::Refusal>(crate::change::Answer::Done { is_rewritten: false }))
                    }
                    crate::view::Ask::Preview { .. } => json!(preview()),
                    _ => json!({"message": "done"}),
                };
                let _ = request.reply.send(Ok(done));
            }
        });
        let shared = Shared { view: SharedView::new(view.into()), requests, store, hooks: None, sign_in: Default::default() };
        Self { router: router(shared.clone()), shared, _data: data }
    }

    async fn send(&self, method: Method, path: &str, caller: Option<&Caller>, headers: &[(header::HeaderName, &str)]) -> Response {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let mut request = request.body(Body::empty()).unwrap();
        if let Some(caller) = caller {
            request.extensions_mut().insert(caller.clone());
        }
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// Sends a document; what comes back.
    async fn post(&self, path: &str, caller: &Caller, body: &Value) -> (StatusCode, Value) {
        let request = Request::builder().method(Method::POST).uri(path).header(header::CONTENT_TYPE, "application/json");
        let request = request.extension(caller.clone()).body(Body::from(body.to_string())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        Self::read(&Method::POST, path, response).await
    }

    /// Status and document of an answer, which is as it is described.
    async fn read(method: &Method, path: &str, response: Response) -> (StatusCode, Value) {
        let (status, media) = (response.status(), response.headers().get(header::CONTENT_TYPE).cloned());
        let body = to_bytes(response.into_body(), 16 << 20).await.unwrap();
        described::holds(method, path, status, media.as_ref().and_then(|media| media.to_str().ok()), &body);
        (status, serde_json::from_slice(&body).unwrap_or_else(|_| json!(String::from_utf8_lossy(&body))))
    }

    /// Gets a document.
    async fn get(&self, path: &str, caller: &Caller) -> (StatusCode, Value) {
        self.asked(Method::GET, path, caller).await
    }

    /// Status and document of an answer.
    async fn asked(&self, method: Method, path: &str, caller: &Caller) -> (StatusCode, Value) {
        let response = self.send(method.clone(), path, Some(caller), &[]).await;
        Self::read(&method, path, response).await
    }

    /// Gets a document that is there.
    async fn document(&self, path: &str, caller: &Caller) -> Value {
        let (status, value) = self.get(path, caller).await;
        assert_eq!(status, StatusCode::OK, "{path}: {value}");
        value
    }
}

/// What would come of a commit, as the engine answers it.
fn preview() -> crate::view::Preview {
    let deployment = Name::parse("app-ams1");
    let (target, waiting_on) = (Target::unit(&deployment), WaitingOn::Approval { id: "a".into() });
    let deferred = Deferred { unit: target.clone(), target: target.clone(), wants: "open batch 1".into(), waiting_on };
    crate::view::Preview {
        revision: Revision { commit: "c0ffee".into(), ..Revision::default() },
        reach: reconcile::limits::Reach { deleted: vec![Name::parse("web-ams1")], touched: vec![Name::parse("sw-ams1")], of: 2 },
        too_far: Some("deletes 1 device".into()),
        findings: vec!["error: it is wrong".into()],
        outlook: reconcile::outlook::Outlook {
            plans: Vec::new(),
            windows: [(target, at(60))].into(),
            deferred: vec![deferred],
            ends: true,
        },
    }
}

/// A user whom Roles name.
fn user(name: &str) -> Caller {
    Caller { name: name.into(), who: Who::parse(name).unwrap(), is_admin: false, by: By::Session, scopes: None }
}

fn admin() -> Caller {
    Caller::owner("root", By::Socket)
}

/// An administrator's token that is for looking at devices only.
fn token() -> Caller {
    let scopes = vec![Scope { verbs: vec![Verb::View], kinds: vec![Kind::Device] }];
    Caller { by: By::Token, scopes: Some(scopes), ..Caller::owner("root", By::Token) }
}
