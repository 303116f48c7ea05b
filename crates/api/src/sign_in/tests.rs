//! Sign-in as a browser and a program do it: over TCP, on a server of our own.

mod provider;
mod providers;
mod sessions;
mod tokens;

use std::sync::Arc;

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use store::{Options as StoreOptions, Store};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use zeroize::Zeroizing;

use super::{Options, SignIn};
use crate::server::{Listen, bind, serve};
use crate::shared::Shared;
use crate::view::{SharedView, View};

const PASSWORD: &str = "correct horse battery";
const OPERATOR: &str = "the-operators-own-token";

/// A server.
struct World {
    base: String,
    sign_in: SignIn,
    store: Arc<Store>,
    http: reqwest::Client,
    _data: TempDir,
    _stop: DropGuard,
}

/// A browser: a cookie and what goes with it.
#[derive(Clone, Debug, Default)]
struct Browser {
    cookie: Option<String>,
    csrf: String,
}

async fn world(options: Options) -> World {
    let data = TempDir::new().unwrap();
    let store = Arc::new(Store::open(&StoreOptions { data: data.path().to_owned(), url: None }).await.unwrap());
    let bound = bind(Listen::Tcp("127.0.0.1:0".parse().unwrap(), Some(Zeroizing::new(OPERATOR.into())))).await.unwrap();
    let base = format!("http://{}", bound.address().unwrap());
    let sign_in = SignIn::new(options).unwrap();
    let (requests, _) = mpsc::channel(1);
    let view = SharedView::new(View::default().into());
    let shared = Shared { view, requests, store: store.clone(), hooks: None, sign_in: sign_in.clone() };
    let stop = CancellationToken::new();
    tokio::spawn(serve(shared, bound, stop.clone()));
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).tls_certs_only([]).build().unwrap();
    World { base, sign_in, store, http, _data: data, _stop: stop.drop_guard() }
}

impl World {
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    async fn post(&self, path: &str, body: &Value) -> Response {
        self.request(Method::POST, path).json(body).send().await.unwrap()
    }

    /// As a browser does it that is on our own page.
    async fn act(&self, browser: &Browser, method: Method, path: &str, body: &Value) -> Response {
        let request = self.as_browser(browser, method, path).header("x-csrf-token", &browser.csrf).header("origin", &self.base);
        request.json(body).send().await.unwrap()
    }

    fn as_browser(&self, browser: &Browser, method: Method, path: &str) -> RequestBuilder {
        let request = self.request(method, path);
        match &browser.cookie {
            Some(cookie) => request.header("cookie", cookie),
            None => request,
        }
    }

    async fn look(&self, browser: &Browser, path: &str) -> (StatusCode, Value) {
        let answer = self.as_browser(browser, Method::GET, path).send().await.unwrap();
        (answer.status(), answer.json().await.unwrap_or_default())
    }

    async fn by_token(&self, token: &str, path: &str) -> StatusCode {
        self.request(Method::GET, path).bearer_auth(token).send().await.unwrap().status()
    }

    /// The first administrator, in a browser.
    async fn first(&self) -> Browser {
        let token = self.sign_in.first_token();
        let body = json!({"token": token, "user": "ada", "password": PASSWORD, "displayName": "Ada"});
        let answer = self.post("/api/v1/session/first", &body).await;
        assert_eq!(answer.status(), 201);
        browser(answer).await
    }

    /// Somebody who has a password.
    async fn add(&self, admin: &Browser, name: &str, groups: &[&str]) {
        let body = json!({"name": name, "groups": groups, "password": PASSWORD});
        assert_eq!(self.act(admin, Method::POST, "/api/v1/users", &body).await.status(), 201);
    }

    async fn sign_in(&self, name: &str, password: &str) -> Response {
        self.post("/api/v1/session", &json!({"user": name, "password": password})).await
    }

    /// What the audit log says, as lines.
    async fn audit(&self) -> Vec<String> {
        let entries = self.store.entries(&store::Filter { limit: 1000, ..store::Filter::default() }).await.unwrap();
        entries.iter().map(|entry| format!("{} {} {} {}", entry.actor.name, entry.verb, entry.target, entry.outcome)).collect()
    }
}

async fn browser(answer: Response) -> Browser {
    let cookie = answer.headers().get_all("set-cookie").iter().find_map(|value| {
        let text = value.to_str().unwrap().split(';').next().unwrap().to_owned();
        text.starts_with("evenkeel=").then_some(text)
    });
    let body: Value = answer.json().await.unwrap_or_default();
    Browser { cookie, csrf: body["csrf"].as_str().unwrap_or_default().to_owned() }
}
