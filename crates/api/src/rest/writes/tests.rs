use axum::body::{Body, to_bytes};
use axum::http::Request as HttpRequest;
use reconcile::access::Who;
use reconcile::{Desired, Revision};
use serde_json::json;
use store::{Options, Store};
use tokio::sync::mpsc;
use tower::ServiceExt as _;

use super::*;
use crate::change::Fault;
use crate::rest::caller::{By, Scope};
use crate::view::{SharedView, View};

#[test]
fn a_name_is_never_a_path() {
    for good in ["web-01", "a", "web.01.example", "0"] {
        assert!(is_name(good, MAX_NAME, true), "{good}");
    }
    for bad in ["", ".", "..", "../x", "a/b", "a..b", "-a", "a-", "A", "a b", "a\n", "é", ".git", "a\\b", &"a".repeat(254)] {
        assert!(!is_name(bad, MAX_NAME, true), "{bad:?}");
    }
    assert!(!is_name("a.b", MAX_NAMESPACE, false) && !is_name(&"a".repeat(64), MAX_NAMESPACE, false));
}

#[test]
fn every_kind_can_be_written() {
    assert_eq!(KINDS.len(), Kind::ALL.len());
    for (kind, all, one) in KINDS {
        assert_eq!((all, one), (&*format!("/{}", kind.plural()), &*format!("/{}/{{namespace}}/{{name}}", kind.plural())));
    }
}

/// The interface without an engine behind it, and what it would ask of one.
struct World {
    shared: Shared,
    inbox: mpsc::Receiver<Request>,
    _data: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let object = |kind: Kind, name: &str, labels: &Value, spec: &Value| {
            let value = json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": kind.as_str(), "metadata": {"name": name, "labels": labels}, "spec": spec});
            ((kind, Name::parse(name)), Arc::new(Object::from_value(kind, value).unwrap()))
        };
        let device =
            |name: &str, site: &str| object(Kind::Device, name, &json!({"site": site}), &json!({"type": "Server", "address": "10.0.0.1"}));
        let role = |name: &str, verbs: &Value| {
            let grant = json!({"verbs": verbs, "kinds": ["Device"], "devices": {"matchLabels": {"site": "ams1"}}});
            object(Kind::Role, name, &json!({}), &json!({"subjects": [{"user": name}], "allow": [grant]}))
        };
        let objects = [device("a1", "ams1"), device("f1", "fra1"), role("editor", &json!(["edit"])), role("viewer", &json!(["view"]))];
        let desired = Desired::build(objects.map(|(_, object)| object), Revision { commit: "1".into(), ..Revision::default() }).0;
        let data = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(&Options { data: data.path().to_owned(), url: None }).await.unwrap());
        let (requests, inbox) = mpsc::channel(8);
        let view = SharedView::new(View { desired: Arc::new(desired), ..View::default() }.into());
        Self { shared: Shared { view, requests, store, hooks: None, sign_in: Default::default() }, inbox, _data: data }
    }

    /// The status of the answer, whatever the engine would answer; and what was asked of it.
    async fn ask(&mut self, caller: Option<&Caller>, method: &str, path: &str, body: &Value) -> (u16, Option<Wanted>) {
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let mut request = HttpRequest::builder().method(method).uri(format!("/api/v1{path}")).header("content-type", kind);
        if let Some(caller) = caller {
            request = request.extension(caller.clone());
        }
        let request = request.body(Body::from(body.to_string())).unwrap();
        let answer = tokio::spawn(crate::server::router(self.shared.clone()).oneshot(request));
        let asked = tokio::select! {
            request = self.inbox.recv() => request,
            () = async { while !answer.is_finished() { tokio::task::yield_now().await } } => None,
        };
        let asked = asked.map(|request| {
            let Ask::Change(wanted) = request.what else { panic!("{:?}", request.what) };
            let same: Result<Answer, Refusal> = Ok(Answer::Same);
            request.reply.send(Ok(serde_json::to_value(same).unwrap())).unwrap();
            *wanted
        });
        let answer = answer.await.unwrap().unwrap();
        let status = answer.status().as_u16();
        let text = String::from_utf8(to_bytes(answer.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap();
        assert!(!text.contains("fra1") && !text.contains("role/editor"), "{text}");
        (status, asked)
    }
}

fn user(name: &str) -> Caller {
    Caller { name: name.into(), who: Who::parse(name).unwrap(), is_admin: false, by: By::Session, scopes: None }
}

#[tokio::test]
async fn who_may_not_write_is_not_heard() {
    let mut world = World::new().await;
    let patch = json!({"spec": {"suspend": true}});
    let (editor, viewer, nobody) = (user("editor"), user("viewer"), user("nobody"));
    for (caller, path, wanted) in [
        (None, "/devices/default/a1", 401),
        (Some(&viewer), "/devices/default/a1", 403),
        (Some(&nobody), "/devices/default/a1", 404),
        (Some(&editor), "/devices/default/f1", 404),
        (Some(&editor), "/devices/default/missing", 404),
        (Some(&editor), "/devices/default/..%2Ff1", 404),
    ] {
        for method in ["PATCH", "PUT", "DELETE"] {
            let (status, asked) = world.ask(caller, method, path, &patch).await;
            assert!(status == wanted && asked.is_none(), "{method} {path}: {status}");
        }
    }
    // Their Roles go along, and are asked about what becomes of it.
    let (status, asked) = world.ask(Some(&editor), "PATCH", "/devices/default/a1", &patch).await;
    let asked = asked.unwrap();
    assert_eq!((status, asked.judged, asked.by.name.as_str()), (200, Some(editor.who.clone()), "editor"));
    assert_eq!(asked.how, How::Merge(patch.clone()));
    let made = json!({"metadata": {"name": "f1"}, "spec": {"type": "Server", "address": "10.0.0.2"}});
    let (_, asked) = world.ask(Some(&editor), "POST", "/devices", &made).await;
    assert!(asked.unwrap().judged.is_some(), "that there is one is no news before it is judged");
    let owner = Caller::owner("root", By::Socket);
    let (status, asked) = world.ask(Some(&owner), "POST", "/devices", &made).await;
    assert!(status == 409 && asked.is_none());
    let (_, asked) = world.ask(Some(&owner), "PUT", "/devices/default/new", &made).await;
    assert!(asked.is_some_and(|asked| asked.judged.is_none() && asked.seen.is_none()));
}

/// What a token leaves out, its user's rights don't bring back.
#[tokio::test]
async fn a_token_narrows_what_its_user_may() {
    let mut world = World::new().await;
    let made = json!({"metadata": {"name": "new"}, "spec": {"type": "Server", "address": "10.0.0.2"}});
    for is_admin in [true, false] {
        let scopes =
            Some(vec![Scope { verbs: vec![Verb::View], kinds: Vec::new() }, Scope { verbs: vec![Verb::Edit], kinds: vec![Kind::Role] }]);
        let caller = Caller { is_admin, scopes, by: By::Token, ..user("editor") };
        for (method, path) in [("POST", "/devices"), ("PATCH", "/devices/default/a1"), ("DELETE", "/devices/default/a1")] {
            let (status, asked) = world.ask(Some(&caller), method, path, &made).await;
            assert!(status == 403 && asked.is_none(), "{method} {path}: {status}");
        }
    }
}

#[tokio::test]
async fn acts_ask_for_their_own_verb() {
    let mut world = World::new().await;
    let viewer = user("viewer");
    for (path, wanted) in [
        ("/deployments/default/x/pause", 404),
        ("/deployments/default/x/undo", 404),
        ("/deployments/default/x/approve", 404),
        ("/devices/default/f1/look", 404),
        ("/alerts/unknown/acknowledge", 404),
        ("/source/sync", 403),
        ("/source/admit", 403),
        ("/receivers/default/x/test", 404),
        ("/backtest", 400),
    ] {
        let (status, _) = world.ask(Some(&viewer), "POST", path, &json!({})).await;
        assert_eq!(status, wanted, "{path}");
        let (status, _) = world.ask(None, "POST", path, &json!({})).await;
        assert_eq!(status, 401, "{path}");
    }
}

/// What changes something asks who it is, always.
#[tokio::test]
async fn no_write_is_for_everybody() {
    let routes = crate::rest::routes();
    let of = |kind: Kind| routes.declared().filter(move |route| route.path.split('/').nth(1) == Some(kind.plural()));
    for kind in Kind::ALL {
        let writes: Vec<_> = of(*kind).filter(|route| route.method != Method::GET).collect();
        assert!(writes.len() >= 4 && writes.iter().all(|route| route.access != Access::Anyone), "{kind:?}: {writes:?}");
    }
}

/// What is misspelt in the query is not done for real.
#[tokio::test]
async fn a_trial_that_is_misspelt_writes_nothing() {
    let mut world = World::new().await;
    let owner = Caller::owner("root", By::Socket);
    for query in ["dryrun=true", "dry_run", "dryRun=true&x=1"] {
        for method in ["PATCH", "PUT", "DELETE"] {
            let (status, asked) = world.ask(Some(&owner), method, &format!("/devices/default/a1?{query}"), &json!({})).await;
            assert!(status == 400 && asked.is_none(), "{method} {query}: {status}");
        }
        let (status, asked) = world.ask(Some(&owner), "POST", &format!("/devices?{query}"), &json!({"metadata": {"name": "n"}})).await;
        assert!(status == 400 && asked.is_none(), "POST {query}: {status}");
    }
    let (_, asked) = world.ask(Some(&owner), "PATCH", "/devices/default/a1?dryRun=true", &json!({})).await;
    assert!(asked.is_some_and(|asked| asked.is_trial && asked.is_nobody && !asked.is_narrow));
}

/// Who may write nothing of a kind in a namespace is not listened to.
#[tokio::test]
async fn rights_come_before_work() {
    let mut world = World::new().await;
    let made = |namespace: &str| json!({"metadata": {"name": "new", "namespace": namespace}, "spec": {"type": "Server"}});
    for (who, path, namespace, wanted) in [
        ("nobody", "/devices", "default", 404),
        ("viewer", "/devices", "default", 403),
        ("editor", "/roles", "default", 404),
        ("nobody", "/silences", "default", 404),
        ("editor", "/silences", "default", 403),
        ("viewer", "/silences", "default", 403),
        ("viewer", "/silences", "elsewhere", 404),
        ("editor", "/devices", "elsewhere", 404),
    ] {
        let (status, asked) = world.ask(Some(&user(who)), "POST", path, &made(namespace)).await;
        assert!(status == wanted && asked.is_none(), "{who} {path} {namespace}: {status}");
    }
    let scopes = Some(vec![Scope { verbs: vec![Verb::Edit], kinds: vec![Kind::Device] }]);
    let caller = Caller { by: By::Token, scopes, ..user("editor") };
    let (_, asked) = world.ask(Some(&caller), "POST", "/devices", &made("default")).await;
    assert!(asked.is_some_and(|asked| asked.is_narrow && !asked.is_nobody));
}

/// An end that is given to a Silence is ahead, and not far; what one has may stay.
#[test]
fn a_silence_ends_in_time() {
    let now: Timestamp = "2026-11-27T12:00:00Z".parse().unwrap();
    let spec = |until: &str| json!({"spec": {"until": until}});
    let old = json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "Silence", "metadata": {"name": "s"},
        "spec": {"until": "2020-01-01T00:00:00Z", "reason": "x"}});
    let old = Object::from_value(Kind::Silence, old).unwrap();
    for (until, is_fine) in [
        ("2026-11-27T12:00:01Z", true),
        ("2026-12-28T12:00:00Z", true),
        ("2026-12-28T12:00:01Z", false),
        ("2026-11-27T12:00:00Z", false),
        ("2020-01-01T00:00:00Z", false),
        ("never", true),
    ] {
        for how in [How::Create(spec(until)), How::Replace(spec(until)), How::Merge(spec(until))] {
            assert_eq!(ends_in_time(&how, None, now).is_ok(), is_fine, "{how:?}");
        }
    }
    assert_eq!(ends_in_time(&How::Replace(spec("2020-01-01T00:00:00Z")), Some(&old), now), Ok(()));
    assert!(ends_in_time(&How::Merge(spec("2020-01-01T00:00:01Z")), Some(&old), now).is_err());
    // A change of one may end it now; what is made or written anew ends later.
    for (until, is_fine) in [("2026-11-27T12:00:00Z", true), ("2026-11-27T11:59:00Z", true), ("2026-11-27T11:58:59Z", false)] {
        assert_eq!(ends_in_time(&How::Merge(spec(until)), Some(&old), now).is_ok(), is_fine, "{until}");
        assert!(ends_in_time(&How::Replace(spec(until)), Some(&old), now).is_err(), "{until}");
        assert!(ends_in_time(&How::Merge(spec(until)), None, now).is_err(), "{until}");
    }
    assert_eq!(ends_in_time(&How::Merge(json!({"spec": {"reason": "y"}})), Some(&old), now), Ok(()));
}

#[tokio::test]
async fn a_silence_that_is_over_is_not_made() {
    let mut world = World::new().await;
    let made = json!({"metadata": {"name": "s"}, "spec": {"until": "2020-01-01T00:00:00Z", "reason": "x"}});
    let (status, asked) = world.ask(Some(&Caller::owner("root", By::Socket)), "POST", "/silences?dryRun=true", &made).await;
    assert!(status == 422 && asked.is_none(), "{status}");
}

/// A trial of what would be refused is refused, and says what it would become.
#[tokio::test]
async fn a_trial_answers_as_the_change_would() {
    let world = World::new().await;
    let fault = |severity: &str| Fault {
        severity: severity.into(),
        object: "device/a1".into(),
        pointer: "/spec/address".into(),
        detail: "no".into(),
        file: None,
        line: None,
        column: None,
    };
    let own = Target::of(Kind::Device, Name::parse("a1"));
    for (severities, wanted) in [(&["error", "warning"][..], 422), (&["warning", "note"], 200), (&[], 200)] {
        let findings = severities.iter().map(|severity| fault(severity)).collect();
        let trial = Trial { diff: "+x".into(), findings, ..Trial::default() };
        let response = tried(&world.shared, &Caller::owner("root", By::Socket), &own, trial);
        let status = response.status().as_u16();
        let body: Value = serde_json::from_slice(&to_bytes(response.into_body(), 1 << 20).await.unwrap()).unwrap();
        let told = if wanted == 422 { &body["errors"] } else { &body["findings"] };
        let many = if wanted == 422 { 1 } else { severities.len() };
        assert_eq!((status, &body["diff"], told.as_array().map(Vec::len)), (wanted, &json!("+x"), Some(many)), "{body}");
    }
}

#[test]
fn what_is_the_clusters_own_is_lent_to_nobody() {
    for group in ["system:masters", "system:authenticated", "system:serviceaccounts", "system:serviceaccounts:default", "system:nodes"] {
        assert!(!is_lent(group), "{group}");
    }
    assert!(is_lent("web") && is_lent("oidc:system:masters"));
}

#[tokio::test]
async fn what_is_wrong_names_nothing_that_is_hidden() {
    let world = World::new().await;
    let fault = |detail: &str| Fault {
        severity: "error".into(),
        object: "device/a1".into(),
        pointer: "/spec".into(),
        detail: detail.into(),
        file: None,
        line: None,
        column: None,
    };
    let own = Target::of(Kind::Device, Name::parse("a1"));
    let said = |caller: &Caller| {
        let faults = vec![fault("device/f1 has this address (f1, `a1`). device/gone-1 too.")];
        refusal::seen(&world.shared, caller, &own, faults).remove(0).detail
    };
    assert_eq!(said(&user("viewer")), "device/(hidden) has this address ((hidden), `a1`). device/(hidden) too.");
    assert!(said(&Caller::owner("root", By::Socket)).contains("device/f1"));
}

/// What passes by itself is no conflict: it is to be asked again, after a while.
#[tokio::test]
async fn who_comes_while_it_is_busy_is_told_when_to_come_again() {
    let mut world = World::new().await;
    for (refused, wanted, after) in [
        (crate::view::BUSY.to_owned(), 503, Some("5")),
        (format!("repository/fleet is busy{}", crate::view::AGAIN), 503, Some("5")),
        ("there is no such branch".to_owned(), 409, None),
    ] {
        for (method, path) in [("GET", "/plans/preview?revision=x"), ("POST", "/source/sync")] {
            let request = HttpRequest::builder().method(method).uri(format!("/api/v1{path}"));
            let request = request.extension(Caller::owner("root", By::Socket)).body(Body::empty()).unwrap();
            let answer = tokio::spawn(crate::server::router(world.shared.clone()).oneshot(request));
            world.inbox.recv().await.unwrap().reply.send(Err(refused.clone())).unwrap();
            let answer = answer.await.unwrap().unwrap();
            let told = answer.headers().get("retry-after").map(|after| after.to_str().unwrap());
            assert_eq!((answer.status().as_u16(), told), (wanted, after), "{path}: {refused}");
        }
    }
}
