//! The web UI: the files that `web/dist` had when this was built, and nothing else, from memory.
//!
//! ```text
//! /assets/…    by the hash in their names: kept for ever          any other file: asked for again, by ETag
//! /, /devices/…: index.html, with a nonce of its own each time, so it is kept nowhere
//! ```
//!
//! No file is opened for a request, so no path leads anywhere.

use std::borrow::Cow;
use std::path::Path;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use rust_embed::Embed;
use sha2::{Digest as _, Sha256};

/// Where the page finds the nonce for the styles that it makes.
const NONCE: &str = "<meta name=\"csp-nonce\" content=\"";
/// What is not the UI's.
const NOT_PAGES: [&str; 6] = ["api", "v1", "hooks", "healthz", "readyz", "metrics"];
/// Files whose names say what they hold.
const HASHED: &str = "assets/";
/// What a page of ours has no use for.
const PERMISSIONS: &str = "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), microphone=(), midi=(), payment=(), usb=()";

#[derive(Embed)]
#[folder = "../../web/dist"]
#[allow_missing = true]
struct Dist;

/// A file's bytes, by its path.
type Find = fn(&str) -> Option<Cow<'static, [u8]>>;

fn embedded(path: &str) -> Option<Cow<'static, [u8]>> {
    Dist::get(path).map(|file| file.data)
}

/// Whether it is in this program.
pub fn is_there() -> bool {
    Dist::get("index.html").is_some()
}

/// Whatever no other route answers.
pub(crate) async fn page(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let mut response = answer(embedded, &method, uri.path(), &headers);
    if method == Method::HEAD {
        *response.body_mut() = Body::empty();
    }
    response
}

fn answer(find: Find, method: &Method, path: &str, headers: &HeaderMap) -> Response {
    let path = path.trim_start_matches('/');
    let first = path.split('/').next().unwrap_or_default();
    if NOT_PAGES.contains(&first) {
        return crate::problem::problem(StatusCode::NOT_FOUND, format!("there is nothing at /{path}"));
    }
    if method != Method::GET && method != Method::HEAD {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")]).into_response();
    }
    let response = match file(find, path, headers) {
        Some(file) => file,
        None if path.starts_with(HASHED) || !takes_pages(headers) => (StatusCode::NOT_FOUND, "there is no such file\n").into_response(),
        None => index(find),
    };
    secured(response)
}

/// A browser that wants a page says so; scripts and pictures that are not there are no pages.
fn takes_pages(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("*/*");
    accept.contains("text/html") || accept.starts_with("*/*")
}

fn file(find: Find, path: &str, headers: &HeaderMap) -> Option<Response> {
    // The build's own notes are nobody's, and a compressed file is another form of one.
    let is_other =
        path == "index.html" || path.split('/').any(|part| part.starts_with('.')) || path.ends_with(".gz") || path.ends_with(".br");
    if is_other {
        return None;
    }
    let plain = find(path)?;
    let takes = |coding: &str| {
        let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|accepted| accepted.to_str().ok()).unwrap_or_default();
        accepted.split(',').map(|one| one.split_once(';').unwrap_or((one, ""))).any(|(name, weight)| {
            let is_refused = matches!(weight.trim().strip_prefix("q=").map(str::parse::<f32>), Some(Ok(0.0)));
            name.trim() == coding && !is_refused
        })
    };
    let coded = [("br", "br"), ("gzip", "gz")].into_iter().filter(|(coding, _)| takes(coding));
    let coded = coded.into_iter().find_map(|(coding, suffix)| Some((coding, find(&format!("{path}.{suffix}"))?)));
    let (coding, bytes) = coded.map_or((None, plain), |(coding, bytes)| (Some(coding), bytes));
    let tag = format!("\"{}\"", hex::encode(&Sha256::digest(&bytes)[..16]));
    let caching = if path.starts_with(HASHED) { "public, max-age=31536000, immutable" } else { "no-cache" };
    let mut answer = Response::builder()
        .header(header::CONTENT_TYPE, content_type(path))
        .header(header::CACHE_CONTROL, caching)
        .header(header::VARY, "accept-encoding")
        .header(header::ETAG, &tag);
    let known = headers.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok()).unwrap_or_default();
    if known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag) {
        return answer.status(StatusCode::NOT_MODIFIED).body(Body::empty()).ok();
    }
    if let Some(coding) = coding {
        answer = answer.header(header::CONTENT_ENCODING, coding);
    }
    answer.body(Body::from(bytes.into_owned())).ok()
}

/// The page, whichever it is: it looks at the path itself.
fn index(find: Find) -> Response {
    let page = find("index.html").and_then(|page| String::from_utf8(page.into_owned()).ok());
    let Some(page) = page else {
        let text = "This evenkeel was built without its web UI. `cargo xtask web` builds that, and the next build has it.\nThe API is at /api/v1, and the command line has everything: evenkeel help\n";
        return (StatusCode::NOT_FOUND, [(header::CACHE_CONTROL, "no-store")], text).into_response();
    };
    let mut random = [0; 16];
    if SystemRandom::new().fill(&mut random).is_err() {
        return (StatusCode::SERVICE_UNAVAILABLE, "the system has no random numbers\n").into_response();
    }
    let nonce = base64::engine::general_purpose::STANDARD.encode(random);
    let page = page.replacen(NONCE, &format!("{NONCE}{nonce}"), 1);
    let mut response = ([(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CACHE_CONTROL, "no-store")], page).into_response();
    let policy = policy(&format!("'self' 'nonce-{nonce}'"));
    if let Ok(policy) = HeaderValue::try_from(policy) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// What a page may load: what is ours. Styles that are made in the page carry the nonce; scripts are files.
fn policy(styles: &str) -> String {
    format!(
        "default-src 'none'; script-src 'self'; style-src {styles}; img-src 'self'; font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
}

fn secured(mut response: Response) -> Response {
    let mut set = |name: HeaderName, value: &'static str| {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'");
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::X_FRAME_OPTIONS, "DENY");
    set(header::REFERRER_POLICY, "same-origin");
    set(HeaderName::from_static("permissions-policy"), PERMISSIONS);
    set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    response
}

fn content_type(path: &str) -> &'static str {
    match Path::new(path).extension().and_then(|extension| extension.to_str()).unwrap_or_default() {
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "html" => "text/html; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "webp" => "image/webp",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dist(path: &str) -> Option<Cow<'static, [u8]>> {
        let bytes: &[u8] = match path {
            "index.html" => b"<html><head><meta name=\"csp-nonce\" content=\"\" /></head></html>",
            "assets/index-1a2b.js" => b"console.log('x'.repeat(1000))",
            "assets/index-1a2b.js.gz" => b"gzipped",
            "mark.svg" => b"<svg/>",
            ".vite/manifest.json" => b"{}",
            _ => return None,
        };
        Some(Cow::Borrowed(bytes))
    }

    async fn get(find: Find, path: &str, headers: &[(&'static str, &str)]) -> (u16, HeaderMap, String) {
        let headers = headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())).collect();
        let response = answer(find, &Method::GET, path, &headers);
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        (parts.status.as_u16(), parts.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_page_has_a_nonce_of_its_own_that_its_policy_names() {
        let mut nonces = Vec::new();
        for path in ["/", "/devices/default/web-01.example.com", "/index.html"] {
            let (status, headers, body) = get(dist, path, &[("accept", "text/html,*/*")]).await;
            assert_eq!((status, headers["cache-control"].as_bytes()), (200, &b"no-store"[..]), "{path}");
            let nonce = body.split("content=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
            assert_eq!(nonce.len(), 24);
            let policy = headers["content-security-policy"].to_str().unwrap();
            assert!(policy.contains(&format!("style-src 'self' 'nonce-{nonce}';")) && policy.contains("script-src 'self';"), "{policy}");
            assert!(!policy.contains("unsafe"), "{policy}");
            assert_eq!(headers["x-content-type-options"], "nosniff");
            nonces.push(nonce);
        }
        nonces.dedup();
        assert_eq!(nonces.len(), 3, "each time another one");
    }

    #[tokio::test]
    async fn files_are_kept_for_as_long_as_they_are_the_same() {
        let (status, headers, body) = get(dist, "/assets/index-1a2b.js", &[("accept-encoding", "br, gzip;q=0.8")]).await;
        assert_eq!((status, body.as_str(), &headers["content-encoding"]), (200, "gzipped", &HeaderValue::from_static("gzip")));
        assert_eq!(headers["cache-control"], "public, max-age=31536000, immutable");
        assert_eq!(headers["content-type"], "text/javascript; charset=utf-8");
        let (_, headers, body) = get(dist, "/assets/index-1a2b.js", &[("accept-encoding", "gzip;q=0")]).await;
        assert!(headers.get("content-encoding").is_none() && body.starts_with("console"));
        let (_, headers, _) = get(dist, "/mark.svg", &[]).await;
        assert_eq!(headers["cache-control"], "no-cache");
        let (status, _, body) = get(dist, "/mark.svg", &[("if-none-match", headers["etag"].to_str().unwrap())]).await;
        assert_eq!((status, body.as_str()), (304, ""));
    }

    #[tokio::test]
    async fn no_path_leads_anywhere_else() {
        let html = [("accept", "text/html")];
        for path in ["/assets/gone.js", "/assets/../index.html", "/assets/%2e%2e/%2e%2e/etc/passwd"] {
            assert_eq!(get(dist, path, &html).await.0, 404, "{path}");
        }
        // Pages by their looks: the page itself says that there is no such one.
        for path in ["/../../etc/passwd", "/.vite/manifest.json", "/..%2f..%2fetc/passwd", "//etc/passwd", "/mark.svg.gz"] {
            let (status, _, body) = get(dist, path, &html).await;
            assert!(status == 200 && body.starts_with("<html>"), "{path}: {body}");
        }
        // What wants no page gets none.
        assert_eq!(get(dist, "/devices/x.png", &[("accept", "image/png,image/*")]).await.0, 404);
        for path in ["/api/v1/nothing", "/v1/nothing", "/hooks"] {
            let (status, headers, _) = get(dist, path, &html).await;
            assert!(status == 404 && headers["content-type"].to_str().unwrap().contains("json"), "{path}");
        }
        assert_eq!(answer(dist, &Method::POST, "/", &HeaderMap::new()).status(), 405);
    }

    #[tokio::test]
    async fn a_program_without_it_says_so() {
        let (status, headers, body) = get(|_| None, "/", &[("accept", "text/html")]).await;
        assert!(status == 404 && body.contains("cargo xtask web"), "{body}");
        assert_eq!(headers["content-security-policy"], "default-src 'none'; frame-ancestors 'none'");
    }
}
