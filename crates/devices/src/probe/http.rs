//! An HTTP/1.1 request, its redirects, and what comes back.
//!
//! One connection for each request, as somebody has who comes for the first time. What is asked is the device; where it points elsewhere, that
//! is followed within bounds: no more than [`REDIRECTS`] times, never from HTTPS to HTTP, never to an address that only this machine knows, and
//! without the headers that were meant for the first place.

use std::net::{IpAddr, SocketAddr};

use reconcile::address::is_near;
use reconcile::{Device, HttpCheck, ProbeCode, Way};
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::exchange::{self, Answer};
use super::{ANSWER, Checked, Measured, Phases, Reason, Search, reach, tls};
use crate::devices::Devices;

/// Redirects that are followed; whoever needs more goes in a circle.
const REDIRECTS: usize = 5;
/// Length of an address that is followed.
const LOCATION: usize = 2048;

/// A connection, with TLS or without.
type Stream = Either<TcpStream, TlsStream<TcpStream>>;

/// Asks, follows, and looks at what comes.
pub(super) async fn check(devices: &Devices, device: &Device, way: &Way, check: &HttpCheck, measured: &mut Measured) -> Checked {
    let bad = |what: &str| Reason::new(ProbeCode::BadProbe, format!("`{what}` can't be asked for"));
    let host = if device.address.parse::<std::net::Ipv6Addr>().is_ok() { format!("[{}]", device.address) } else { device.address.clone() };
    let text = format!("{}://{host}:{}{}", check.scheme, check.port, check.path);
    let first = Url::parse(&text).map_err(|_| bad(&text))?;
    let home = reach::address(&device.address, way, &mut measured.phases).await?;
    let (mut url, mut method) = (first.clone(), check.method.clone());
    for _ in 0..=REDIRECTS {
        let is_first_place = url.origin() == first.origin();
        let address = if is_first_place { home } else { elsewhere(&url, home, way, &mut measured.phases).await? };
        let request = request(&url, &method, is_first_place.then_some(check))?;
        let answer = send(devices, device, (&url, address), way, (check, is_first_place), &request, measured).await?;
        let status = answer.status;
        let is_accepted = if check.status.is_empty() { (200..300).contains(&status) } else { check.status.contains(&status) };
        if is_accepted {
            return body(devices, check, answer, &mut measured.phases).await;
        }
        let location = match check.redirects {
            crds::Redirects::Follow if matches!(status, 301 | 302 | 303 | 307 | 308) => answer.location.as_deref(),
            _ => None,
        };
        let Some(location) = location else { return Err(Reason::new(ProbeCode::BadStatus, format!("status {status}"))) };
        url = next(&url, location)?;
        if status == 303 || (matches!(status, 301 | 302) && method == "POST") {
            method = "GET".into();
        }
    }
    Err(Reason::new(ProbeCode::BadRedirect, format!("more than {REDIRECTS} redirects")))
}

/// Where a redirect leads.
fn next(url: &Url, location: &[u8]) -> Result<Url, Reason> {
    let bad = |why: &str| Reason::new(ProbeCode::BadRedirect, format!("a redirect {why}"));
    let is_plain = |text: &&str| text.len() <= LOCATION && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let text = std::str::from_utf8(location).ok().filter(is_plain).ok_or_else(|| bad("to what is no address"))?;
    let next = url.join(text).map_err(|_| bad("to what is no address"))?;
    match (url.scheme(), next.scheme()) {
        ("https", "http") => Err(bad("from HTTPS to HTTP")),
        (_, "http" | "https") if next.host_str().is_some_and(|host| !host.is_empty()) => Ok(next),
        _ => Err(bad("to what is neither HTTP nor HTTPS")),
    }
}

/// The address of another place than the device's. Whatever a device says, nothing is asked that can be reached from this machine only: its own
/// ports, and what answers on the link alone, such as a cloud's metadata.
async fn elsewhere(url: &Url, home: IpAddr, way: &Way, phases: &mut Phases) -> Result<IpAddr, Reason> {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let address = reach::address(host, way, phases).await?;
    match address == home || !is_near(address) {
        true => Ok(address),
        false => Err(Reason::new(ProbeCode::BadRedirect, format!("a redirect to {address}, which is only for this machine"))),
    }
}

/// The request; `check` has its headers, where it goes to the place that they are for.
fn request(url: &Url, method: &str, check: Option<&HttpCheck>) -> Result<Vec<u8>, Reason> {
    let bad = |error: &dyn std::fmt::Display| Reason::new(ProbeCode::BadProbe, error.to_string());
    let method = reqwest::Method::from_bytes(method.as_bytes()).map_err(|error| bad(&error))?;
    let named = check.and_then(|check| check.trust.server_name.as_deref());
    let name = named.or(url.host_str()).unwrap_or_default();
    let host = url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"));
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert("host", HeaderValue::from_str(&host).map_err(|error| bad(&error))?);
    headers.insert("user-agent", HeaderValue::from_static("evenkeel"));
    headers.insert("accept", HeaderValue::from_static("*/*"));
    headers.insert("connection", HeaderValue::from_static("close"));
    // Servers refuse what should have a body and does not say that it has none (RFC 9110, 8.6).
    if ["POST", "PUT", "PATCH"].contains(&method.as_str()) {
        headers.insert("content-length", HeaderValue::from_static("0"));
    }
    for (key, value) in check.iter().flat_map(|check| &check.headers) {
        let key = HeaderName::from_bytes(key.as_bytes()).map_err(|error| bad(&error))?;
        headers.insert(key, HeaderValue::from_str(value).map_err(|error| bad(&error))?);
    }
    // A URL that was parsed has no spaces and no line ends; nor has what was checked above.
    let query = url.query().map_or_else(String::new, |query| format!("?{query}"));
    let mut request = format!("{method} {}{query} HTTP/1.1\r\n", url.path()).into_bytes();
    for (key, value) in &headers {
        request.extend([key.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    request.extend(b"\r\n");
    Ok(request)
}

/// Connects, over TLS if that is wanted, and asks.
async fn send(
    devices: &Devices,
    device: &Device,
    (url, address): (&Url, IpAddr),
    way: &Way,
    (check, is_first_place): (&HttpCheck, bool),
    request: &[u8],
    measured: &mut Measured,
) -> Result<Answer<Stream>, Reason> {
    let port = url.port_or_known_default().unwrap_or_default();
    let stream = reach::connect(SocketAddr::new(address, port), way, &mut measured.phases).await?;
    if url.scheme() != "https" {
        return exchange::ask(Either::Left(stream), request, &mut measured.phases).await;
    }
    let mut trust = check.trust.clone();
    if !is_first_place {
        trust.server_name = None;
    }
    let name = tls::name(&trust, url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']'))?;
    let witness = devices.prober.witness(&devices.secrets, &device.name, &trust, None).await?;
    let shaken = tls::shake(&devices.prober, &witness, name, stream, &mut measured.phases).await;
    // Also of one that is not believed, since it has ended.
    measured.expires = witness.leaf().and_then(|leaf| leaf.not_after);
    exchange::ask(Either::Right(shaken?), request, &mut measured.phases).await
}

/// Reads as much of the body as it takes to find what is wanted.
async fn body(devices: &Devices, check: &HttpCheck, mut answer: Answer<Stream>, phases: &mut Phases) -> Checked {
    let status = format!("status {}", answer.status);
    let pattern = check.matches.as_deref().map(|pattern| devices.prober.pattern(pattern)).transpose()?;
    if check.contains.is_none() && pattern.is_none() {
        return Ok(status);
    }
    let mut search = Search::new(check.contains.as_deref().unwrap_or_default());
    let mut is_found = check.contains.is_none();
    let began = Instant::now();
    while search.length() < ANSWER
        && let Some(piece) = answer.piece().await?
    {
        let room = ANSWER - search.length();
        is_found |= search.found_in(&piece[..piece.len().min(room)]);
        if is_found && pattern.is_none() {
            break;
        }
    }
    Phases::add(&mut phases.transfer, began.elapsed());
    if !is_found {
        let wanted = check.contains.as_deref().unwrap_or_default();
        return Err(Reason::new(ProbeCode::BadAnswer, format!("the body does not contain `{wanted}`")));
    }
    match pattern.filter(|pattern| !pattern.is_match(&search.seen)) {
        Some(pattern) => Err(Reason::new(ProbeCode::BadAnswer, format!("nothing in the body matches `{pattern}`"))),
        None => Ok(status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_where_they_may() {
        let from = |at: &str, to: &str| {
            let next = next(&Url::parse(at).unwrap(), to.as_bytes());
            next.map(|url| url.to_string()).map_err(|reason| reason.words)
        };
        assert_eq!(from("http://a/x", "/y?z=1").unwrap(), "http://a/y?z=1");
        assert_eq!(from("http://a/x", "https://b:8443/").unwrap(), "https://b:8443/");
        assert_eq!(from("https://a/", "http://a/").unwrap_err(), "a redirect from HTTPS to HTTP");
        assert_eq!(from("http://a/", "file:///etc/passwd").unwrap_err(), "a redirect to what is neither HTTP nor HTTPS");
        assert_eq!(from("http://a/", "http://[").unwrap_err(), "a redirect to what is no address");
        assert_eq!(from("http://a/", &"x".repeat(LOCATION + 1)).unwrap_err(), "a redirect to what is no address");
    }

    #[test]
    fn what_was_meant_for_the_first_place_goes_nowhere_else() {
        let mut check = HttpCheck::get(80, "/x");
        check.headers = [("Authorization".into(), "Bearer hush".into()), ("Host".into(), "shop.example".into())].into();
        let there = |check: Option<&HttpCheck>| {
            let request = request(&Url::parse("http://192.0.2.1:8080/x?y#z").unwrap(), "GET", check).unwrap();
            String::from_utf8(request).unwrap()
        };
        let first = there(Some(&check));
        assert!(first.starts_with("GET /x?y HTTP/1.1\r\n") && first.ends_with("\r\n\r\n"), "{first}");
        assert!(first.contains("\r\nauthorization: Bearer hush\r\n") && first.contains("\r\nhost: shop.example\r\n"), "{first}");
        assert_eq!(first.matches("host: ").count(), 1, "{first}");
        let other = there(None);
        assert!(!other.contains("authorization") && other.contains("\r\nhost: 192.0.2.1:8080\r\n"), "{other}");
        for (method, says) in [("POST", true), ("PUT", true), ("PATCH", true), ("GET", false), ("HEAD", false), ("DELETE", false)] {
            let request = String::from_utf8(request(&Url::parse("http://a/").unwrap(), method, None).unwrap()).unwrap();
            assert_eq!(request.contains("\r\ncontent-length: 0\r\n"), says, "{request}");
        }
        let refused = |key: &str, value: &str, method: &str| {
            let headers = [(key.into(), value.into())].into();
            let check = HttpCheck { headers, ..HttpCheck::get(80, "/x") };
            request(&Url::parse("http://a/").unwrap(), method, Some(&check)).unwrap_err().code
        };
        assert_eq!(refused("bad name", "x", "GET"), ProbeCode::BadProbe);
        assert_eq!(refused("X", "a\r\nHost: b", "GET"), ProbeCode::BadProbe);
        assert_eq!(refused("X", "x", "GET / HTTP/1.1\r\nX: y\r\n"), ProbeCode::BadProbe);
    }
}
