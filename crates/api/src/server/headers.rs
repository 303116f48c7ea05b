//! What every answer by TCP carries, whoever wrote it: stay with https, and no page of ours within another.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::shared::Shared;

/// How long browsers stay with https: a year.
const STAY: HeaderValue = HeaderValue::from_static("max-age=31536000");

pub(super) async fn put(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let is_secure = shared.sign_in.is_secure() || is_forwarded(request.headers());
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    // RFC 6797, 7.2: not where people come by plain HTTP. Browsers take it by https only, so a look from the machine itself does no harm.
    if is_secure {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, STAY);
    }
    if is_page(headers) {
        headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static("frame-ancestors 'none'"));
        headers.entry(header::X_FRAME_OPTIONS).or_insert(HeaderValue::from_static("DENY"));
    }
    response
}

/// Whether the proxy before us says that it was asked by https.
fn is_forwarded(headers: &HeaderMap) -> bool {
    headers.get("x-forwarded-proto").is_some_and(|protocol| protocol == "https")
}

fn is_page(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|media| media.as_bytes().starts_with(b"text/html"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::body::Body;
    use store::{Options as StoreOptions, Store};
    use tower::ServiceExt as _;
    use zeroize::Zeroizing;

    use super::*;
    use crate::sign_in::{Options, SignIn};
    use crate::view::{SharedView, View};

    const TOKEN: &str = "the-operators-own-token";

    #[tokio::test]
    async fn answers_say_to_stay_with_https_and_pages_are_in_no_frame() {
        let data = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(&StoreOptions { data: data.path().to_owned(), url: None }).await.unwrap());
        let get = async |external: Option<&str>, path: &str, headers: &[(&'static str, &str)]| {
            let options = Options { external_url: external.map(|url| url.parse().unwrap()), ..Options::default() };
            let (view, sign_in) = (SharedView::new(View::default().into()), SignIn::new(options).unwrap());
            let shared = Shared { view, requests: tokio::sync::mpsc::channel(1).0, store: store.clone(), hooks: None, sign_in };
            let mut request = Request::builder().uri(path).body(Body::empty()).unwrap();
            for (name, value) in [("authorization", TOKEN)].iter().chain(headers) {
                let value = if *name == "authorization" { format!("Bearer {value}") } else { (*value).to_owned() };
                request.headers_mut().insert(header::HeaderName::from_static(name), value.parse().unwrap());
            }
            let app = super::super::by_tcp(shared, Some(Arc::new(Zeroizing::new(TOKEN.into()))));
            app.oneshot(request).await.unwrap().headers().clone()
        };
        let stays = |headers: &HeaderMap| headers.contains_key(header::STRICT_TRANSPORT_SECURITY);
        let (https, http) = (Some("https://fleet.example.com/"), Some("http://fleet.example.com/"));
        // Pages, what programs ask, and what is refused before any route.
        for path in ["/", "/api/v1/docs", "/api/v1/status", "/v1/status", "/metrics", "/healthz", "/nothing/there"] {
            assert!(stays(&get(https, path, &[]).await), "{path}");
            assert!(stays(&get(http, path, &[("x-forwarded-proto", "https")]).await), "{path}");
            assert!(!stays(&get(http, path, &[]).await) && !stays(&get(None, path, &[("x-forwarded-proto", "http")]).await), "{path}");
        }
        assert!(stays(&get(https, "/v1/status", &[("authorization", "wrong")]).await));
        let docs = get(None, "/api/v1/docs", &[]).await;
        assert_eq!(docs[header::X_FRAME_OPTIONS], "DENY");
        assert!(docs[header::CONTENT_SECURITY_POLICY].to_str().unwrap().contains("script-src 'self'"), "its own policy stays");
        assert!(!get(None, "/api/v1/status", &[]).await.contains_key(header::X_FRAME_OPTIONS));
    }
}
