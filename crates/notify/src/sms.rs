//! By SMS, through an HTTP gateway that the Receiver describes.
//!
//! One request for each recipient. Of the body only the texts are templates: it is JSON or a form before and after, whatever a device says.

pub mod segments;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use reconcile::alerting::receiver::{Body, Sms};
use reconcile::alerting::success::{Answer, Success};
use reconcile::alerting::text::{Sink, render, template};
use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue};
use serde::Serialize;

use crate::channels::{Channels, Delivered, Reached, Told};
use crate::error::{Category, Error};
use crate::http::{self, Request};
use crate::secret::Secret;
use crate::words::View;

/// Devices that the plain text names besides the first.
const NAMED: usize = 3;
/// Characters of a text before it is cut to its parts: more than ten parts can have.
const LONGEST: usize = 2000;

/// What a gateway's body is filled with.
#[derive(Serialize)]
struct Fields<'a> {
    to: &'a str,
    text: &'a str,
    /// The notice's id, for gateways that take one against doubles.
    id: String,
    secret: std::collections::BTreeMap<&'a str, &'a str>,
}

/// Tries once to tell each recipient that does not have it yet.
pub(crate) async fn deliver(
    channels: &Channels,
    view: &View,
    sms: &Sms,
    secret: &Secret,
    reached: &Reached,
    now: Timestamp,
) -> Result<Delivered, Error> {
    let success = sms.success.as_deref().map(Success::parse).transpose();
    let success = success.map_err(|error| Error::new(Category::Receiver, format!("`success` can't be used: {error}")))?;
    let (text, notes) = text(view, sms);
    let mut told = Told::new(reached);
    for to in told.left(&sms.to, String::as_str) {
        match one(channels, view, sms, secret, success.as_ref(), (to, &text), now).await {
            Ok(()) => told.took(to).await,
            Err(error) => {
                let ends = matches!(error.category, Category::RateLimited | Category::Connection | Category::Timeout | Category::Tls);
                told.missed(error);
                // The others would only hear the same.
                if ends {
                    break;
                }
            }
        }
    }
    told.outcome(notes)
}

async fn one(
    channels: &Channels,
    view: &View,
    sms: &Sms,
    secret: &Secret,
    success: Option<&Success>,
    (to, text): (&str, &str),
    now: Timestamp,
) -> Result<(), Error> {
    let request = request(view, sms, secret, (to, text))?;
    let server = request.server();
    let answer = channels.http.send(request, secret, success.is_some(), now).await?;
    let Some(success) = success else { return http::judged(&server, &answer, secret) };
    let holds = success.holds(Answer { status: answer.status.as_u16(), body: &answer.body });
    let said = || secret.taken_out_of(&answer.body);
    match holds {
        Ok(true) => Ok(()),
        // What the status says of it is more than that it was not taken.
        Ok(false) | Err(_) if !answer.status.is_success() => http::judged(&server, &answer, secret),
        Ok(false) => Err(Error::said(Category::NotTaken, &format!("{server}: the answer does not mean success for {to}"), &said())),
        Err(_) if answer.is_cut => Err(Error::new(Category::Answer, format!("{server}: the answer is longer than {} bytes", http::ANSWER))),
        Err(why) => Err(Error::said(Category::NotTaken, &format!("{server}: `success` can't be said of the answer ({why})"), &said())),
    }
}

fn request(view: &View, sms: &Sms, secret: &Secret, (to, text): (&str, &str)) -> Result<Request, Error> {
    let fields = Fields { to, text, id: format!("{}-{}", view.id, to.trim_start_matches('+')), secret: secret.texts() };
    let failed = |error: template::Error| Error::new(Category::Receiver, format!("the gateway's body can't be filled in: {error}"));
    let (content_type, body) = match sms.body.filled(&|template: &str| render(template, &fields, Sink::Line)).map_err(failed)? {
        Body::Json(json) => ("application/json", json.to_string()),
        Body::Form(pairs) => {
            let pair = |(name, value): (String, String)| format!("{}={}", Sink::Form.escape(&name), Sink::Form.escape(&value));
            ("application/x-www-form-urlencoded", pairs.into_iter().map(pair).collect::<Vec<_>>().join("&"))
        }
    };
    let mut request = Request::post(http::url(&sms.url)?, content_type, body.into_bytes());
    if sms.put {
        request.method = Method::PUT;
    }
    if let Some(value) = credentials(secret)? {
        let name = HeaderName::try_from(sms.header.as_str());
        let name = name.map_err(|_| Error::new(Category::Receiver, "the name of the gateway's header is not one"))?;
        request.headers.insert(name, value);
    }
    Ok(request)
}

/// The header's value: as it is in the secret, or made from a token, or from a user name and a password.
pub(crate) fn credentials(secret: &Secret) -> Result<Option<HeaderValue>, Error> {
    if let Some(whole) = secret.text("authorization")? {
        return http::sensitive(whole).map(Some);
    }
    if let Some(token) = secret.text("token")? {
        return http::sensitive(&format!("Bearer {token}")).map(Some);
    }
    let Some(user) = secret.text("username")? else { return Ok(None) };
    let both = format!("{user}:{}", secret.needed("password")?);
    http::sensitive(&format!("Basic {}", STANDARD.encode(both))).map(Some)
}

/// What is said, and what its author should know of it.
fn text(view: &View, sms: &Sms) -> (String, Vec<String>) {
    let (text, broken) = view.by_template("SMS", sms.text.as_deref(), &plain(view), LONGEST);
    // Whoever reads it should know that it was meant to look otherwise.
    let text = if broken.is_some() { format!("{text} (template fails)") } else { text };
    let (text, is_cut) = segments::cut(&text, sms.segments);
    let mut notes: Vec<String> = broken.into_iter().collect();
    if is_cut {
        notes.push(format!("The text was cut to {} parts.", sms.segments));
    }
    (text, notes)
}

/// `FIRING critical web-01: memory at 91.3 %`, or with the number of alerts and the first devices.
fn plain(view: &View) -> String {
    let mut lines = view.lines();
    let Some((word, first)) = lines.next() else { return format!("{} {}", view.headline, view.title) };
    let total = view.count.firing + view.count.resolved;
    let behind = first.behind.as_ref().map(|behind| format!("; {behind}")).unwrap_or_default();
    let word = if word == "resolved" { String::new() } else { format!("{word} ") };
    if total == 1 {
        return format!("{} {word}{}: {}{behind}", view.headline, first.device, first.summary);
    }
    let mut others: Vec<&str> = lines.map(|(_, line)| line.device.as_str()).filter(|device| *device != first.device).collect();
    others.dedup();
    let named = others.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    let also = if named.is_empty() { String::new() } else { format!("; also {named}") };
    let more = if others.len() > NAMED || view.left_off > 0 { " and more" } else { "" };
    format!("{} {}: {word}{}: {}{behind}{also}{more}", view.headline, view.title, first.device, first.summary)
}
