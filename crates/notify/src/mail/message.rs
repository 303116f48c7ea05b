//! The message: headers that put it into its thread and keep machines from answering, a text, and the same in HTML.

use aws_lc_rs::digest;
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::{Address, Message};
use reconcile::alerting::Notice;
use reconcile::alerting::receiver::Email;
use reconcile::alerting::text::{Sink, render};
use serde::Serialize;

use super::text;
use crate::error::{Category, Error};
use crate::words::View;

/// The HTML, a template of ours.
const PAGE: &str = include_str!("page.html");

/// RFC 3834: a machine sent it, so that no machine answers.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".into())
    }
}

/// The same to Exchange, which asks for its own ([MS-OXCMAIL], 2.2.3.2.14).
#[derive(Clone)]
struct SuppressResponses;

impl Header for SuppressResponses {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("X-Auto-Response-Suppress")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "All".into())
    }
}

/// What the page shows.
#[derive(Serialize)]
struct Page<'a> {
    view: &'a View,
    color: &'static str,
    alerts: Vec<Alert<'a>>,
    notes: &'a [String],
}

/// One alert on it.
#[derive(Serialize)]
struct Alert<'a> {
    word: &'a str,
    color: &'static str,
    line: &'a crate::words::Line,
}

/// An address without a name.
pub(super) fn address(text: &str) -> Result<Address, Error> {
    text.parse().map_err(|_| Error::new(Category::Receiver, "an address of the receiver is not one"))
}

/// The message as it is sent; the same bytes for the same notice, but for the boundary between its parts.
pub(super) fn compose(notice: &Notice, view: &View, email: &Email, subject: &str, notes: &[String]) -> Result<Vec<u8>, Error> {
    let from = address(&email.from)?;
    let domain = from.domain().to_owned();
    let root = id("thread", &notice.thread, &domain);
    let mut message = Message::builder()
        .from(Mailbox::new(Some("Evenkeel".into()), from))
        .subject(subject)
        .date(notice.at.into())
        .message_id(Some(id("notice", &notice.id, &domain)))
        // Nobody ever got the root: all of a thread hang on it side by side, in whatever order they come, and whichever got lost.
        .in_reply_to(root.clone())
        .references(root)
        .header(AutoSubmitted)
        .header(SuppressResponses);
    for to in &email.to {
        message = message.to(Mailbox::new(None, address(to)?));
    }
    let plain = SinglePart::builder().header(ContentType::TEXT_PLAIN).body(text::text(view, notes));
    let body = match page(view, notes) {
        Ok(html) => MultiPart::alternative().singlepart(plain).singlepart(SinglePart::builder().header(ContentType::TEXT_HTML).body(html)),
        // More than a page holds: the text has it all.
        Err(_) => MultiPart::alternative().singlepart(plain),
    };
    let message = message.multipart(body).map_err(|error| Error::new(Category::Receiver, format!("no mail can be made: {error}")))?;
    Ok(message.formatted())
}

/// A Message-ID that is the same whenever it is made from the same.
fn id(what: &str, of: &str, domain: &str) -> String {
    let digest = digest::digest(&digest::SHA256, format!("{what}/{of}").as_bytes());
    format!("<{}.{what}@{domain}>", hex::encode(&digest.as_ref()[..16]))
}

fn page(view: &View, notes: &[String]) -> Result<String, reconcile::alerting::text::template::Error> {
    let alerts = view.lines().map(|(word, line)| Alert { word, color: color(word), line }).collect();
    render(PAGE, &Page { view, color: color(view.worst()), alerts, notes }, Sink::Html)
}

/// White is readable on each of these.
fn color(word: &str) -> &'static str {
    match word {
        "critical" => "#b3261e",
        "warning" => "#9a5b00",
        "info" => "#1f5fa8",
        _ => "#26733a",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever a notice holds, a mail has our headers and a page our tags.
    #[test]
    fn fuzz_mails() {
        let email = Email {
            to: vec!["ops@example.com".into()],
            from: "evenkeel@example.com".into(),
            host: "mail.example.com".into(),
            port: 25,
            security: crds::MailSecurity::None,
            subject: Some("[{{ status | upper }}] {{ title }} {{ firing | length }}".into()),
        };
        let tag = |rest: &str| -> String { rest.chars().take_while(|c| !matches!(c, ' ' | '>' | '{' | '\n')).collect() };
        let tags = |page: &str| -> std::collections::BTreeSet<String> { page.match_indices('<').map(|(at, _)| tag(&page[at..])).collect() };
        let ours = tags(PAGE);
        crate::fuzz::run(env!("CARGO_MANIFEST_DIR"), "notice", &crate::words::FUZZ, 2_000, |bytes| {
            let Some(notice) = crate::words::fuzzed(bytes) else { return };
            let view = View::new(&notice, Some("https://evenkeel.example.com/alerts"));
            let (subject, note) = view.subject(email.subject.as_deref());
            assert!(!subject.contains(char::is_control) && subject.chars().count() <= 150, "{subject:?}");
            let notes: Vec<String> = note.into_iter().collect();
            if let Ok(page) = page(&view, &notes) {
                assert!(tags(&page).is_subset(&ours), "{:?}", tags(&page).difference(&ours));
                assert!(!page.contains(|c: char| c.is_control() && c != '\n'), "{page:?}");
            }
            // Dates before 1970 or after 9999 make no mail, and no panic.
            let Ok(message) = compose(&notice, &view, &email, &subject, &notes) else { return };
            let message = String::from_utf8(message).unwrap();
            let head = message.split_once("\r\n\r\n").unwrap().0;
            let names: Vec<&str> =
                head.lines().filter(|line| !line.starts_with([' ', '\t'])).map(|line| line.split(':').next().unwrap_or(line)).collect();
            let known = ["From", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "To", "MIME-Version", "Content-Type"];
            let known = |name: &&str| known.contains(name) || ["Auto-Submitted", "X-Auto-Response-Suppress"].contains(name);
            assert!(names.iter().all(known), "{names:?}");
            assert!(message.lines().all(|line| line.len() <= 998), "{message}");
        });
    }
}
