//! Gateways and webhooks, to a server that answers as real ones do, and as none should.

#[allow(dead_code, reason = "shared with others")]
mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use common::{HOSTILE, at, firing, grouped, hostile, receiver, resolved, secret};
use notify::{Category, Channels, Delivered, Error, Heartbeat, Origin, Places, Reached, Secret};
use reconcile::alerting::{Notice, Receiver};
use serde_json::{Value, json};

/// What a server was asked.
#[derive(Clone, Debug)]
struct Asked {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Asked {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

type Reply = Arc<dyn Fn(usize, &Asked) -> Response + Send + Sync>;

#[derive(Clone)]
struct Server {
    url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// Answers the request with this number, from 0.
    async fn start(reply: impl Fn(usize, &Asked) -> Response + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self { url: format!("http://{}", listener.local_addr().unwrap()), asked: Arc::default() };
        let reply: Reply = Arc::new(reply);
        let app = axum::Router::new().fallback(answer).with_state((server.clone(), reply));
        tokio::spawn(async move { axum::serve(listener, app).await });
        server
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    fn last(&self) -> Asked {
        self.asked().pop().unwrap()
    }

    fn webhook(&self, format: &str) -> Receiver {
        receiver(json!({"webhook": {"url": format!("{}/hook", self.url), "format": format, "secretRef": {"name": "hook"}}}))
    }

    fn sms(&self, gateway: &Value) -> Receiver {
        let mut whole =
            json!({"url": format!("{}/send", self.url), "body": "{\"to\": \"{{ to }}\", \"text\": \"{{ text }}\", \"ref\": \"{{ id }}\"}"});
        whole.as_object_mut().unwrap().extend(gateway.as_object().unwrap().clone());
        receiver(json!({"sms": {"to": ["+31611111111", "+31622222222"], "gateway": whole}}))
    }
}

async fn answer(State((server, reply)): State<(Server, Reply)>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let asked = Asked { method, path: uri.to_string(), headers, body };
    let number = {
        let mut all = server.asked.lock().unwrap();
        all.push(asked.clone());
        all.len() - 1
    };
    if asked.path == "/hang" {
        std::future::pending::<()>().await;
    }
    reply(number, &asked)
}

fn channels() -> Channels {
    Channels::with_limit(Origin { url: Some("https://evenkeel.example.com/alerts".into()) }, Duration::from_secs(5))
}

async fn send(notice: &Notice, receiver: &Receiver, secret: &Secret) -> Result<Delivered, Error> {
    channels().deliver(notice, receiver, secret, &Reached::default(), at("12:05:01")).await
}

fn queued() -> Response {
    (StatusCode::OK, r#"{"status": "queued"}"#).into_response()
}

/// Without end, as far as one connection goes.
fn endless(status: StatusCode) -> Response {
    let pieces = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 8192])));
    (status, Body::from_stream(pieces)).into_response()
}

#[tokio::test]
async fn an_sms_goes_to_each_number_by_the_gateways_own_shape() {
    let server = Server::start(|_, _| queued()).await;
    let login = secret([("username", "acme"), ("password", "s3cret")]);
    let json = server.sms(&json!({"secretRef": {"name": "sms"}, "success": "status == 200 && json.status == 'queued'"}));
    let delivered = send(&firing(), &json, &login).await.unwrap();
    assert_eq!(delivered.reached, ["+31611111111", "+31622222222"]);
    let asked = &server.asked()[0];
    assert_eq!((asked.method.as_str(), asked.path.as_str(), asked.header("content-type")), ("POST", "/send", "application/json"));
    assert_eq!(asked.header("authorization"), "Basic YWNtZTpzM2NyZXQ=");
    let expected = json!({"to": "+31611111111", "text": "FIRING critical web-01: memory at 91.3 %", "ref": "n-0001-31611111111"});
    assert_eq!(asked.json(), expected);
    let form = server.sms(&json!({"body": "api_key={{ secret.key }}&to={{ to }}&text={{ text }}", "method": "PUT", "secretRef": {"name": "sms"}, "header": "X-Api-Key"}));
    send(&resolved(), &form, &secret([("key", "k&1"), ("authorization", "raw key")])).await.unwrap();
    let asked = server.last();
    assert_eq!((asked.method.as_str(), asked.header("x-api-key")), ("PUT", "raw key"));
    assert_eq!(asked.text(), "api_key=k%261&to=%2B31622222222&text=RESOLVED%20web-01%3A%20memory%20at%2091.3%20%25");
    send(&grouped(), &form, &secret([("key", "k")])).await.unwrap();
    insta::assert_snapshot!("grouped-form", server.last().text());
}

#[tokio::test]
async fn a_gateway_that_says_ok_and_means_no_has_not_taken_it() {
    // The first number is taken, the second is not.
    let server = Server::start(|_, asked| match asked.text().contains("+31611111111") {
        true => queued(),
        false => (StatusCode::OK, r#"{"status": "failed", "why": "no credit on account s3cret-token"}"#).into_response(),
    })
    .await;
    let sms = server.sms(&json!({"secretRef": {"name": "sms"}, "success": "status == 200 && json.status == 'queued'"}));
    let error = send(&firing(), &sms, &secret([("token", "s3cret-token")])).await.unwrap_err();
    assert_eq!((error.category, error.is_transient()), (Category::NotTaken, true));
    assert_eq!(error.reached, ["+31611111111"]);
    let text = error.to_string();
    assert!(text.contains("+31622222222") && text.contains("no credit") && text.contains("***") && !text.contains("s3cret"), "{text}");
    assert_eq!(server.last().header("authorization"), "Bearer s3cret-token");
    // Tried again, only the second is asked for.
    let again =
        channels().deliver(&firing(), &sms, &Secret::default(), &Reached::new(error.reached.clone()), at("12:06:00")).await.unwrap_err();
    assert_eq!((again.reached.len(), server.asked().len()), (0, 3));
    assert!(server.last().text().contains("+31622222222"));
}

#[tokio::test]
async fn a_fault_goes_by_and_too_many_requests_wait() {
    let server = Server::start(|number, _| match number {
        0 => (StatusCode::INTERNAL_SERVER_ERROR, "oops").into_response(),
        1 => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "120")], "").into_response(),
        2 => (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "Thu, 26 Nov 2026 12:05:31 GMT")], "").into_response(),
        3 => (StatusCode::FOUND, [("location", "/elsewhere")], "").into_response(),
        4 => (StatusCode::GONE, "no such hook").into_response(),
        _ => (StatusCode::OK, "ok").into_response(),
    })
    .await;
    let hook = server.webhook("Slack");
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.push(match send(&firing(), &hook, &Secret::default()).await {
            Ok(delivered) => format!("delivered to {}", delivered.reached.len()),
            Err(error) => {
                let host = server.url.trim_start_matches("http://");
                let text = error.to_string().replace(host, "SERVER");
                format!("{text}; {} {} {:?}", error.category.as_str(), error.is_transient(), error.retry_after)
            }
        });
    }
    insta::assert_snapshot!("answers", seen.join("\n"));
    assert!(server.asked().iter().all(|asked| asked.path == "/hook"), "nothing was followed");
}

#[tokio::test]
async fn a_server_that_hangs_or_never_ends_is_left() {
    let server = Server::start(|_, _| endless(StatusCode::OK)).await;
    let channels = Channels::with_limit(Origin::default(), Duration::from_millis(600));
    let to = |receiver: Receiver| {
        let channels = &channels;
        async move { channels.deliver(&firing(), &receiver, &Secret::default(), &Reached::default(), at("12:05:01")).await }
    };
    let hanging = receiver(json!({"webhook": {"url": format!("{}/hang", server.url), "format": "Slack"}}));
    let error = to(hanging).await.unwrap_err();
    assert_eq!((error.category, error.is_transient()), (Category::Timeout, true), "{error}");
    assert!(!error.to_string().contains("/hang"), "paths can be secrets: {error}");
    assert_eq!(to(server.webhook("Slack")).await.unwrap().reached.len(), 1, "its status says all is well");
    let asks = server.sms(&json!({"success": "json.status == 'queued'"}));
    let error = to(asks).await.unwrap_err();
    assert_eq!((error.category, error.is_transient()), (Category::Answer, true), "{error}");
    let faulty = Server::start(|_, _| endless(StatusCode::BAD_GATEWAY)).await;
    let error = to(faulty.webhook("Slack")).await.unwrap_err();
    assert!(error.category == Category::Server && error.to_string().chars().count() < 300, "{error}");
    let nobody = receiver(json!({"webhook": {"url": "http://127.0.0.1:9/secret-path", "format": "Slack"}}));
    let error = to(nobody).await.unwrap_err();
    assert_eq!((error.category, error.is_transient()), (Category::Connection, true), "{error}");
    assert!(!error.to_string().contains("secret-path"), "{error}");
}

#[tokio::test]
async fn our_own_json_is_signed_so_that_others_libraries_verify_it() {
    let server = Server::start(|_, _| StatusCode::NO_CONTENT.into_response()).await;
    let key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    send(&grouped(), &server.webhook("Generic"), &secret([("key", key)])).await.unwrap();
    let asked = server.last();
    insta::assert_snapshot!("generic", serde_json::to_string_pretty(&asked.json()).unwrap());
    assert_eq!((asked.header("idempotency-key"), asked.header("webhook-id")), ("n-0003", "n-0003"));
    let verify = |body: &[u8], now| forge::webhook::verify(crds::HookProvider::Generic, key.as_bytes(), &asked.headers, body, now);
    assert!(verify(&asked.body, at("12:06:00")).is_ok());
    assert!(verify(b"{}", at("12:06:00")).is_err() && verify(&asked.body, at("12:11:00")).is_err(), "another body, and a replay");
    let error = send(&grouped(), &server.webhook("Generic"), &secret([("other", "x")])).await.unwrap_err();
    assert_eq!(error.category, Category::Secret, "nothing goes unsigned where a secret is named: {error}");
    let error = send(&grouped(), &server.webhook("Generic"), &secret([("key", "short")])).await.unwrap_err();
    assert_eq!(error.category, Category::Secret, "{error}");
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn chats_and_pagers_are_told_as_their_documents_say() {
    let server = Server::start(|_, _| (StatusCode::ACCEPTED, r#"{"status":"success"}"#).into_response()).await;
    let pager = secret([("routingKey", "R0UT1NGKEY")]);
    for (format, name) in [("Slack", "slack"), ("Teams", "teams"), ("PagerDuty", "pagerduty")] {
        send(&grouped(), &server.webhook(format), &pager).await.unwrap();
        insta::assert_snapshot!(name, serde_json::to_string_pretty(&server.last().json()).unwrap());
    }
    send(&firing(), &server.webhook("PagerDuty"), &pager).await.unwrap();
    let trigger = server.last().json();
    send(&resolved(), &server.webhook("PagerDuty"), &pager).await.unwrap();
    let resolve = server.last().json();
    assert_eq!((&trigger["event_action"], &resolve["event_action"]), (&json!("trigger"), &json!("resolve")));
    assert_eq!(trigger["dedup_key"], resolve["dedup_key"]);
    let error = send(&firing(), &server.webhook("PagerDuty"), &Secret::default()).await.unwrap_err();
    assert_eq!((error.category, error.to_string().as_str()), (Category::Secret, "the secret has no `routingKey`"));
    // The URL may be all of the secret.
    let hidden = receiver(json!({"webhook": {"format": "Slack", "secretRef": {"name": "slack"}}}));
    send(&firing(), &hidden, &secret([("url", &format!("{}/services/T0/B0/xyz", server.url))])).await.unwrap();
    assert_eq!(server.last().path, "/services/T0/B0/xyz");
}

#[tokio::test]
async fn nothing_that_a_device_says_changes_the_shape_of_a_body() {
    let server = Server::start(|_, _| queued()).await;
    let pager = secret([("routingKey", "R0UT1NGKEY"), ("token", "s3cret-token"), ("key", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]);
    for format in ["Generic", "Slack", "Teams", "PagerDuty", "Alertmanager"] {
        send(&hostile(), &server.webhook(format), &pager).await.unwrap();
        let (hostile, _) = (shape(&server.last().json()), send(&firing(), &server.webhook(format), &pager).await.unwrap());
        assert_eq!(hostile, shape(&server.last().json()), "{format}");
    }
    for body in ["{\"to\": [\"{{ to }}\"], \"text\": \"{{ text }}\"}", "to={{ to }}&text={{ text }}"] {
        let sms = server.sms(&json!({"body": body, "secretRef": {"name": "sms"}}));
        send(&hostile(), &sms, &pager).await.unwrap();
        let asked = server.last();
        assert!(!asked.text().contains("s3cret"), "what a device says is no template: {}", asked.text());
        match body.starts_with('{') {
            true => assert_eq!(shape(&asked.json()), json!({"to": ["text"], "text": "text"})),
            false => assert_eq!(asked.text().split('&').count(), 2, "{}", asked.text()),
        }
    }
    assert!(HOSTILE.contains("\"to\":\"+1\""));
}

/// JSON with its texts taken out.
fn shape(json: &Value) -> Value {
    match json {
        Value::String(_) => "text".into(),
        Value::Array(list) => list.iter().map(shape).collect(),
        Value::Object(map) => map.iter().map(|(key, part)| (key.clone(), shape(part))).collect::<serde_json::Map<_, _>>().into(),
        other => other.clone(),
    }
}

#[tokio::test]
async fn a_card_is_never_larger_than_what_is_taken() {
    let server = Server::start(|_, _| (StatusCode::OK, "ok").into_response()).await;
    let mut notice = firing();
    let long = "\u{1f600}".repeat(2000);
    notice.firing = (0..100).map(|at| common::said(&format!("web-{at:03}"), &long)).collect();
    notice.left_off = (900, 0);
    for (format, most) in [("Teams", 28_000), ("Slack", 40_000)] {
        send(&notice, &server.webhook(format), &secret([("routingKey", "x-routing-key")])).await.unwrap();
        let asked = server.last();
        assert!(asked.body.len() <= most, "{format}: {}", asked.body.len());
        let says = asked.text().contains("more that are not listed");
        assert!(asked.text().contains("web-000") && says, "{format} says how many are left off");
    }
}

#[tokio::test]
async fn an_sms_is_cut_and_a_broken_template_still_says_something() {
    let server = Server::start(|_, _| (StatusCode::OK, "").into_response()).await;
    let sms = |text: &str| {
        let gateway = json!({"url": server.url, "body": "text={{ text }}"});
        receiver(json!({"sms": {"to": ["+31611111111"], "text": text, "maxSegments": 1, "gateway": gateway}}))
    };
    let delivered =
        send(&grouped(), &sms("{% for a in firing %}{{ a.device }}: {{ a.summary }}; {% endfor %}"), &Secret::default()).await.unwrap();
    assert_eq!(delivered.notes, ["The text was cut to 1 parts."]);
    insta::assert_snapshot!("cut-sms", server.last().text());
    let delivered = send(&firing(), &sms("{{ nothing.at.all }}"), &Secret::default()).await.unwrap();
    assert!(delivered.notes[0].starts_with("The receiver's template of the SMS fails"), "{:?}", delivered.notes);
    insta::assert_snapshot!("broken-template-sms", server.last().text());
}

#[tokio::test]
async fn a_trial_goes_the_way_of_an_alert() {
    let server = Server::start(|_, _| (StatusCode::OK, "ok").into_response()).await;
    let hook = server.webhook("Slack");
    let notice = notify::trial(&hook.name, "n-trial", "alice@example.com", at("12:00:00"));
    send(&notice, &hook, &Secret::default()).await.unwrap();
    let text = server.last().json()["attachments"][0]["blocks"][1]["text"]["text"].to_string();
    assert!(text.contains("This is a trial of the receiver oncall, asked for by alice@example.com. Nothing is wrong."), "{text}");
    assert_eq!(server.last().json()["text"], "[TRIAL] trial");
    let suspended = Receiver { suspend: true, ..hook };
    assert_eq!(send(&notice, &suspended, &Secret::default()).await.unwrap_err().category, Category::Receiver);
}

/// PagerDuty takes one alert at a time: each has its own key, and who has it from a try before does not get it again.
#[tokio::test]
async fn a_pager_is_told_of_each_alert() {
    let server = Server::start(|number, _| match number {
        3 => (StatusCode::BAD_REQUEST, "what is this").into_response(),
        5 => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "60")], "").into_response(),
        _ => StatusCode::ACCEPTED.into_response(),
    })
    .await;
    let mut notice = firing();
    notice.firing = (0..8).map(|at| common::said(&format!("web-{at}"), "down")).collect();
    notice.resolved = resolved().resolved;
    let (pager, hook) = (secret([("routingKey", "R0UT1NGKEY")]), server.webhook("PagerDuty"));
    let error = send(&notice, &hook, &pager).await.unwrap_err();
    assert_eq!((error.category, error.retry_after), (Category::RateLimited, Some(Duration::from_secs(60))), "what may still help is said");
    assert_eq!(error.reached, ["a-web-0", "a-web-1", "a-web-2", "a-web-4"], "one that is refused keeps no other one from being told");
    let (tell, mut heard) = tokio::sync::mpsc::unbounded_channel::<notify::One>();
    let noting = async {
        let mut told = Vec::new();
        while let Some(one) = heard.recv().await {
            assert_eq!(server.asked().len(), 7 + told.len(), "nobody else is told before it is noted down");
            told.push(one.name.clone());
            one.noted();
        }
        told
    };
    let (channels, now) = (channels(), at("12:06:00"));
    let sending = async {
        let reached = Reached::telling(error.reached, tell);
        channels.deliver(&notice, &hook, &pager, &reached, now).await.unwrap()
    };
    let (again, told) = tokio::join!(sending, noting);
    assert_eq!(again.reached, ["a-web-3", "a-web-5", "a-web-6", "a-web-7", "a-web-01"]);
    assert_eq!(told, again.reached, "each is told when it has it");
    let last = server.last().json();
    assert_eq!((&last["event_action"], &last["dedup_key"]), (&json!("resolve"), &json!("a-web-01")));
}

#[tokio::test]
async fn who_is_told_instead_hears_of_whom_and_why() {
    let server = Server::start(|_, _| (StatusCode::OK, "ok").into_response()).await;
    let boss = reconcile::Name::parse("boss");
    let notice = firing().instead(&boss, "mail.example.com:25: 550 <!channel>\r\nno such user").unwrap();
    assert_eq!(
        (notice.instead(&reconcile::Name::parse("oncall"), "x"), notice.id.as_str()),
        (None, "n-0001-instead"),
        "it goes to no third one"
    );
    send(&notice, &server.webhook("Slack"), &Secret::default()).await.unwrap();
    let text = server.last().json().to_string();
    assert!(text.contains("INSTEAD OF oncall, FIRING") && text.contains("Receiver oncall could not be told"), "{text}");
    send(&notice, &server.webhook("Generic"), &secret([("key", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")])).await.unwrap();
    assert_eq!(server.last().json()["instead"]["of"], "default/oncall");
}

/// Whoever writes Receivers reaches nothing through us that only we can reach, whatever a name means.
#[tokio::test]
async fn what_only_this_machine_reaches_is_not_asked() {
    let server = Server::start(|_, _| StatusCode::OK.into_response()).await;
    let port = server.url.rsplit_once(':').unwrap().1;
    let to = |places: Places, host: &str| {
        let hook = receiver(json!({"webhook": {"url": format!("http://{host}:{port}/hook"), "format": "Slack"}}));
        async move { channels().only_to(places).deliver(&firing(), &hook, &Secret::default(), &Reached::default(), at("12:05:01")).await }
    };
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433"] {
        for places in [Places::Remote, Places::Public] {
            let error = to(places, host).await.unwrap_err();
            assert_eq!((error.category, error.is_transient()), (Category::Receiver, false), "{host}: {error}");
            assert!(error.to_string().contains("127.0.0.1") && error.to_string().contains("--receiver-places"), "{error}");
        }
    }
    assert_eq!(server.asked().len(), 0);
    to(Places::Any, "localhost").await.unwrap();
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_heartbeat_asks_its_url_and_keeps_it_to_itself() {
    let server = Server::start(|number, _| if number == 0 { StatusCode::OK } else { StatusCode::NOT_FOUND }.into_response()).await;
    let heart = Heartbeat::new(&format!("{}/ping/s3cret", server.url)).unwrap();
    heart.beat(at("12:00:00")).await.unwrap();
    assert_eq!((server.last().method.as_str(), server.last().path.as_str()), ("GET", "/ping/s3cret"));
    let error = heart.beat(at("12:01:00")).await.unwrap_err().to_string();
    assert!(error.contains("there is nothing at this URL") && !error.contains("s3cret"), "{error}");
    assert!(Heartbeat::new("ftp://x").is_err());
}
