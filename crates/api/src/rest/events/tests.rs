use std::sync::{Arc, RwLock};

use axum::Router;
use axum::body::{Body, BodyDataStream};
use axum::http::Request;
use crds::{Kind, Object};
use futures::StreamExt as _;
use reconcile::access::Who;
use reconcile::{Desired, Name, Revision};
use serde_json::{Value, json};
use store::{LogLine, Options, Store};
use tokio::sync::mpsc;
use tower::ServiceExt as _;

use super::stream;
use crate::feed::{Change, Feed, Subject};
use crate::rest::caller::{By, Caller};
use crate::shared::Shared;
use crate::view::View;

/// A server in this process, with two devices of which `ann` sees one.
struct Place {
    _folder: tempfile::TempDir,
    shared: Shared,
    router: Router,
}

fn object(kind: &str, name: &str, labels: &Value, spec: &Value) -> Arc<Object> {
    let kind = Kind::parse(kind).unwrap();
    let value =
        json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": kind.as_str(), "metadata": {"name": name, "labels": labels}, "spec": spec});
    Arc::new(Object::from_value(kind, value).unwrap())
}

async fn place() -> Place {
    let device = |name, team: &str| object("device", name, &json!({"team": team}), &json!({"type": "Server", "address": "10.0.0.1"}));
    let allow = json!([{"verbs": ["view"], "kinds": ["Device"], "devices": {"matchLabels": {"team": "a"}}}]);
    let role = json!({"subjects": [{"user": "ann"}], "allow": allow});
    let objects = [device("a-1", "a"), device("b-1", "b"), object("role", "r", &json!({}), &role)];
    let (desired, _) = Desired::build(objects, Revision { commit: "1".into(), ..Revision::default() });
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(&Options { data: folder.path().to_owned(), url: None }).await.unwrap());
    let view = Arc::new(RwLock::new(View { desired: Arc::new(desired), ..View::default() }));
    let shared = Shared { view, requests: mpsc::channel(1).0, store, hooks: None, sign_in: Default::default() };
    let router = crate::rest::router(&shared, Arc::default()).with_state(shared.clone());
    Place { _folder: folder, shared, router }
}

/// The same, where time goes on only when everybody waits for it; the store's threads are no one that it knows of.
async fn still() -> Place {
    let place = place().await;
    tokio::time::pause();
    place
}

fn owner() -> Caller {
    Caller::owner("root", By::Socket)
}

fn ann() -> Caller {
    let who = Who::parse("ann").unwrap();
    Caller { name: "ann".into(), who, is_admin: false, by: By::Session, scopes: None }
}

fn device(name: &str) -> Change {
    Change::of(Subject::Object(Kind::Device, Name::parse(name)))
}

/// A stream as its client reads it.
struct Heard(BodyDataStream);

impl Heard {
    /// The next piece; nothing: it is over.
    async fn next(&mut self) -> String {
        let piece = self.0.next().await.map(|piece| piece.unwrap()).unwrap_or_default();
        String::from_utf8(piece.to_vec()).unwrap()
    }

    /// The names of the next piece's changes.
    async fn names(&mut self) -> Vec<String> {
        let text = self.next().await;
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        data.map(|data| serde_json::from_str::<Value>(data).unwrap()["name"].as_str().unwrap().to_owned()).collect()
    }
}

impl Place {
    fn feed(&self) -> Arc<Feed> {
        self.shared.view.read().unwrap().feed.clone()
    }

    async fn get(&self, caller: Option<Caller>, path: &str, last: Option<&str>) -> axum::response::Response {
        let mut request = Request::get(format!("/api/v1{path}"));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        if let Some(caller) = caller {
            request = request.extension(caller);
        }
        self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    async fn listen(&self, caller: Caller, last: Option<&str>) -> Heard {
        let response = self.get(Some(caller), "/events", last).await;
        assert_eq!((response.status().as_u16(), &response.headers()["content-type"]), (200, &"text/event-stream".parse().unwrap()));
        Heard(response.into_body().into_data_stream())
    }
}

#[tokio::test]
async fn who_listens_hears_what_changes_and_goes_on_where_it_was() {
    let place = still().await;
    let feed = place.feed();
    feed.changed([device("before")]);
    let mut heard = place.listen(owner(), None).await;
    assert_eq!(heard.next().await, format!("retry: 2000\nid: {}\n\n", feed.id(1)));
    feed.changed([device("a-1"), device("b-1")]);
    feed.changed([device("a-1")]);
    assert_eq!(heard.names().await, ["b-1", "a-1"]);
    drop(heard);
    assert!(feed.listeners.is_empty(), "its place is free");
    feed.changed([device("c-1"), Change::of(Subject::Source)]);
    let mut again = place.listen(owner(), Some(&feed.id(4))).await;
    assert_eq!(again.next().await, format!("retry: 2000\nid: {}\n\n", feed.id(4)));
    let text = again.next().await;
    assert!(text.starts_with(&format!("id: {}\nevent: change\ndata: ", feed.id(5))) && text.contains("\"Source\""), "{text}");
}

#[tokio::test]
async fn whose_place_is_not_known_any_more_begins_anew() {
    let place = still().await;
    let feed = place.feed();
    feed.changed((0..20_000).map(|number| device(&format!("d-{number}"))));
    for last in ["other-5".to_owned(), feed.id(1), feed.id(20_001), "\u{1}".into()] {
        let Ok(_) = axum::http::HeaderValue::from_str(&last) else { continue };
        let mut heard = place.listen(owner(), Some(&last)).await;
        assert_eq!(heard.next().await, format!("retry: 2000\nid: {}\nevent: reset\ndata: {{}}\n\n", feed.id(20_000)));
    }
    // Whoever is passed while listening is told so too.
    let mut heard = place.listen(owner(), None).await;
    heard.next().await;
    feed.changed((0..40_000).map(|number| device(&format!("d-{number}"))));
    assert_eq!(heard.next().await, format!("id: {}\nevent: reset\ndata: {{}}\n\n", feed.id(60_000)));
}

#[tokio::test]
async fn what_may_not_be_seen_is_not_heard_of() {
    let place = still().await;
    let feed = place.feed();
    let mut heard = place.listen(ann(), None).await;
    heard.next().await;
    let gone = |name| {
        let key = (Kind::Device, Name::parse(name));
        let was = place.shared.view.read().unwrap().desired.objects.get(&key).cloned();
        Change::gone(key, was)
    };
    feed.changed([
        device("b-1"),
        device("a-1"),
        Change::of(Subject::Rollout(Name::parse("a-1"))),
        Change::of(Subject::Audit),
        Change::of(Subject::Object(Kind::Role, Name::parse("r"))),
    ]);
    assert_eq!(heard.names().await, ["a-1"]);
    let rule = Name::parse("r");
    feed.changed([Change::alert(&rule, &Name::parse("b-1"), Some("no")), Change::alert(&rule, &Name::parse("a-1"), Some("yes"))]);
    assert_eq!(heard.names().await, ["yes"]);
    feed.changed([gone("b-1"), gone("a-1")]);
    assert_eq!(heard.names().await, ["a-1"]);
    // The Role is taken away: the next change is not told, although it was before.
    place.shared.view.write().unwrap().newest = Some(Arc::default());
    feed.changed([device("a-1"), device("b-1")]);
    assert_eq!(heard.next().await, ":\n\n", "nothing but that it is there");
    // A token that is for something else.
    let scope = crate::rest::caller::Scope { verbs: Vec::new(), kinds: vec![Kind::AlertRule] };
    let mut heard = place.listen(Caller { scopes: Some(vec![scope]), ..owner() }, None).await;
    heard.next().await;
    feed.changed([device("a-1"), Change::of(Subject::Object(Kind::AlertRule, rule))]);
    assert_eq!(heard.names().await, ["r"]);
}

#[tokio::test]
async fn nobody_listens_unknown_nor_too_often() {
    let place = still().await;
    assert_eq!(place.get(None, "/events", None).await.status(), 401);
    let mut all = Vec::new();
    loop {
        let response = place.get(Some(ann()), "/events", None).await;
        if response.status() != 200 {
            assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (429, &"10".parse().unwrap()));
            break;
        }
        all.push(response);
    }
    assert_eq!(all.len(), 32);
    all.extend(futures::future::join_all((32..1024).map(|_| place.get(Some(owner()), "/events", None))).await);
    assert!(all.iter().all(|response| response.status() == 200));
    assert_eq!(place.get(Some(owner()), "/events", None).await.status(), 503);
    all.pop();
    assert_eq!(place.get(Some(owner()), "/events", None).await.status(), 200);
}

#[tokio::test]
async fn who_is_sent_away_is_told_why() {
    let place = still().await;
    let feed = place.feed();
    let (mut anns, mut root) = (place.listen(ann(), None).await, place.listen(owner(), None).await);
    anns.next().await;
    root.next().await;
    feed.end("ann", "signed out");
    assert_eq!(anns.next().await, "event: bye\ndata: {\"reason\":\"signed out\"}\n\n");
    assert_eq!(anns.next().await, "", "it is over");
    feed.close("the engine is stopping");
    assert_eq!(root.next().await, "event: bye\ndata: {\"reason\":\"the engine is stopping\"}\n\n");
    assert_eq!(place.get(Some(owner()), "/events", None).await.status(), 503);
}

#[tokio::test]
async fn a_stream_says_that_it_is_there_and_has_an_end() {
    let place = still().await;
    let mut heard = place.listen(owner(), None).await;
    heard.next().await;
    for _ in 0..39 {
        assert_eq!(heard.next().await, ":\n\n");
    }
    assert_eq!(heard.next().await, "event: bye\ndata: {\"reason\":\"come again\"}\n\n");
    assert_eq!(heard.next().await, "");
}

#[tokio::test]
async fn who_does_not_take_what_it_is_told_is_sent_away() {
    let place = still().await;
    let feed = place.feed();
    let mut heard = place.listen(owner(), None).await;
    heard.next().await;
    feed.changed([device("a-1")]);
    heard.next().await;
    feed.changed([device("a-1")]);
    tokio::time::advance(std::time::Duration::from_secs(31)).await;
    assert_eq!(heard.next().await, "event: bye\ndata: {\"reason\":\"too slow\"}\n\n");
}

fn line(device: &str, message: &str) -> LogLine {
    LogLine {
        received: jiff::Timestamp::now().as_microsecond(),
        device: device.into(),
        severity: 3,
        message: message.into(),
        fields: "{}".into(),
        ..LogLine::default()
    }
}

#[tokio::test]
async fn lines_come_as_they_are_written() {
    let place = place().await;
    let store = place.shared.store.clone();
    store.write_logs(&[line("default/a-1", "before")]).await.unwrap();
    let listen = async |caller: Caller, query: &str| {
        let response = place.get(Some(caller), &format!("/logs/tail?{query}"), None).await;
        assert_eq!(response.status(), 200);
        let mut heard = Heard(response.into_body().into_data_stream());
        assert_eq!(heard.next().await, "retry: 2000\n\n");
        heard
    };
    let (mut all, mut some, mut anns) =
        (listen(owner(), "").await, listen(owner(), "q=fail(ed|ure)&device=default/b-1").await, listen(ann(), "").await);
    let lines = [line("default/a-1", "one"), line("default/b-1", "it failed"), line("", "of a stranger")];
    store.write_logs(&lines).await.unwrap();
    let texts = |piece: String| {
        let data = piece.lines().filter_map(|line| line.strip_prefix("data: ").map(str::to_owned)).collect::<Vec<_>>();
        data.iter().map(|data| serde_json::from_str::<Value>(data).unwrap()["text"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(texts(all.next().await), ["one", "it failed", "of a stranger"]);
    assert_eq!(texts(some.next().await), ["it failed"]);
    assert_eq!(texts(anns.next().await), ["one"]);
    // Of more than somebody can read, how many there were.
    store.write_logs(&(0..3000).map(|number| line("default/a-1", &number.to_string())).collect::<Vec<_>>()).await.unwrap();
    let piece = all.next().await;
    assert_eq!(piece.matches("event: line").count(), 200);
    assert!(piece.ends_with("event: leftOut\ndata: {\"lines\":2800}\n\n"), "{}", &piece[piece.len() - 100..]);
    assert_eq!(place.get(Some(owner()), "/logs/tail?q=(", None).await.status(), 400);
}

/// How many lines there are of others is nobody's business, nor whether a device is there.
#[tokio::test]
async fn a_tail_counts_only_what_one_may_see() {
    let place = place().await;
    let store = place.shared.store.clone();
    let listen = async |query: &str| {
        let response = place.get(Some(ann()), &format!("/logs/tail?{query}"), None).await;
        assert_eq!(response.status(), 200, "{query}");
        let mut heard = Heard(response.into_body().into_data_stream());
        heard.next().await;
        heard
    };
    let (mut all, mut own) = (listen("").await, listen("device=default/a-1").await);
    let mut lines: Vec<LogLine> = (0..300).map(|number| line("default/a-1", &number.to_string())).collect();
    lines.extend((0..3000).map(|number| line("default/b-1", &number.to_string())));
    store.write_logs(&lines).await.unwrap();
    for heard in [&mut all, &mut own] {
        let piece = heard.next().await;
        assert_eq!(piece.matches("event: line").count(), 200);
        assert!(piece.ends_with("event: leftOut\ndata: {\"lines\":100}\n\n"), "{}", &piece[piece.len() - 100..]);
    }
    for hidden in ["device=default/b-1", "device=b-1", "device=none", "device=-", "device="] {
        assert_eq!(place.get(Some(ann()), &format!("/logs/tail?{hidden}"), None).await.status(), 404, "{hidden}");
    }
    assert_eq!(place.get(Some(owner()), "/logs/tail?device=none", None).await.status(), 404);
}

/// A caller has no more of them than `EACH`; whoever has the engine in hand has as many as there are.
#[tokio::test]
async fn a_place_is_taken_in_the_name_of_the_caller() {
    let feed = Feed::default();
    let _seats: Vec<_> = (0..8).map(|_| stream::seat(&feed.tails, &ann()).unwrap()).collect();
    assert!(stream::seat(&feed.tails, &ann()).is_err());
    assert!(stream::seat(&feed.tails, &owner()).is_ok());
}

/// Over a real connection: a server that is told to stop ends, although somebody listens.
#[tokio::test]
async fn a_server_that_stops_waits_for_nobody_who_listens() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let place = place().await;
    let socket = place._folder.path().join("socket");
    let bound = crate::server::bind(crate::server::Listen::Unix(socket.clone())).await.unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let server = tokio::spawn(crate::server::serve(place.shared.clone(), bound, stop.clone()));
    let mut client = tokio::net::UnixStream::connect(socket).await.unwrap();
    client.write_all(b"GET /api/v1/events HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut head = [0; 4096];
    let read = client.read(&mut head).await.unwrap();
    assert!(String::from_utf8_lossy(&head[..read]).starts_with("HTTP/1.1 200"));
    stop.cancel();
    let mut rest = String::new();
    tokio::time::timeout(std::time::Duration::from_secs(60), client.read_to_string(&mut rest)).await.expect("it ends").unwrap();
    assert!(rest.contains("event: bye\ndata: {\"reason\":\"the engine is stopping\"}"), "{rest}");
    tokio::time::timeout(std::time::Duration::from_secs(60), server).await.expect("it ends").unwrap().unwrap();
}
