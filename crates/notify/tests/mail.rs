//! Mail, to aiosmtpd: as it is received, and what becomes of it where it is not.

#[allow(dead_code, reason = "shared with others")]
mod common;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{HOSTILE, Running, at, firing, grouped, hostile, is_missing, receiver, resolved, secret};
use notify::{Category, Channels, Origin, Reached, Secret};
use reconcile::alerting::{Notice, Receiver};
use serde::Deserialize;
use serde_json::{Value, json};

struct Server {
    folder: tempfile::TempDir,
    port: u16,
    ca: String,
    _running: Running,
}

/// A mail as Python reads it.
#[derive(Deserialize)]
struct Mail {
    from: String,
    to: Vec<String>,
    headers: Vec<(String, String)>,
    raw: String,
    text: String,
    html: String,
    login: Option<String>,
    tls: bool,
    connections: u32,
}

impl Mail {
    fn header(&self, name: &str) -> &str {
        let mut values = self.headers.iter().filter(|(of, _)| of.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.as_str()).unwrap_or_default();
        assert!(values.next().is_none(), "{name} is there twice");
        value
    }
}

impl Server {
    fn start(mode: &str) -> Option<Self> {
        if is_missing("aiosmtpd") {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let ca = key.cert.pem();
        std::fs::write(folder.path().join("cert.pem"), &ca).unwrap();
        std::fs::write(folder.path().join("key.pem"), key.signing_key.serialize_pem()).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common/smtpd.py");
        let mut command = Command::new("/usr/bin/python3");
        command.arg(script).arg(folder.path()).arg(mode).args([folder.path().join("cert.pem"), folder.path().join("key.pem")]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Some(Self { folder, port: line.trim().parse().unwrap(), ca, _running: Running(child) })
    }

    fn mails(&self) -> Vec<Mail> {
        let read = |at: u32| std::fs::read(self.folder.path().join(format!("{at}.json"))).ok();
        (0..).map_while(read).map(|bytes| serde_json::from_slice(&bytes).unwrap()).collect()
    }

    fn receiver(&self, security: &str, also: &Value) -> Receiver {
        let mut email = json!({"to": ["ops@example.com"], "from": "evenkeel@example.com", "server": format!("localhost:{}", self.port), "security": security});
        email.as_object_mut().unwrap().extend(also.as_object().unwrap().clone());
        receiver(json!({"email": email}))
    }

    fn login(&self) -> Secret {
        secret([("username", "ops"), ("password", "correct horse\n"), ("ca.crt", &self.ca)])
    }
}

fn channels() -> Channels {
    Channels::new(Origin { url: Some("https://evenkeel.example.com/alerts".into()) })
}

async fn send(channels: &Channels, notice: &Notice, receiver: &Receiver, secret: &Secret) -> Result<notify::Delivered, notify::Error> {
    channels.deliver(notice, receiver, secret, &Reached::default(), at("12:05:01")).await
}

#[tokio::test]
async fn a_firing_and_its_resolve_are_one_thread() {
    let Some(server) = Server::start("plain") else { return };
    let (channels, receiver) = (channels(), server.receiver("None", &json!({})));
    for notice in [firing(), resolved(), grouped()] {
        let delivered = send(&channels, &notice, &receiver, &Secret::default()).await.unwrap();
        assert_eq!((delivered.reached, delivered.notes), (vec!["ops@example.com".to_owned()], vec![]));
    }
    let mails = server.mails();
    let [firing, resolved, grouped] = mails.as_slice() else { panic!("{}", mails.len()) };
    assert_eq!(firing.header("References"), resolved.header("References"));
    assert_eq!(firing.header("In-Reply-To"), resolved.header("In-Reply-To"));
    assert_ne!(firing.header("Message-ID"), resolved.header("Message-ID"));
    assert_eq!(firing.header("Subject").split_once("] ").unwrap().1, resolved.header("Subject").split_once("] ").unwrap().1);
    assert_eq!((firing.header("Auto-Submitted"), firing.header("X-Auto-Response-Suppress")), ("auto-generated", "All"));
    assert_eq!((firing.from.as_str(), firing.to.as_slice()), ("evenkeel@example.com", ["ops@example.com".to_owned()].as_slice()));
    assert_eq!(grouped.connections, 1, "the connection is used again");
    let shown = |mail: &Mail| {
        let headers = ["From", "To", "Subject", "Date", "Message-ID", "In-Reply-To", "Auto-Submitted"];
        let headers: String = headers.iter().map(|name| format!("{name}: {}\n", mail.header(name))).collect();
        format!("{headers}\n{}", mail.text.replace("\r\n", "\n"))
    };
    insta::assert_snapshot!("firing", shown(firing));
    insta::assert_snapshot!("resolved", shown(resolved));
    insta::assert_snapshot!("grouped", shown(grouped));
    insta::assert_snapshot!("grouped-html", grouped.html.replace("\r\n", "\n"));
    // The same notice again is the same mail.
    send(&channels, &common::firing(), &receiver, &Secret::default()).await.unwrap();
    assert_eq!(server.mails()[3].header("Message-ID"), firing.header("Message-ID"));
}

#[tokio::test]
async fn nothing_that_a_device_says_breaks_out_of_its_place() {
    let Some(server) = Server::start("plain") else { return };
    let receiver = server.receiver("None", &json!({"subject": "{{ title }} {{ (firing | first).summary }} é"}));
    send(&channels(), &hostile(), &receiver, &Secret::default()).await.unwrap();
    let mail = &server.mails()[0];
    assert_eq!(mail.header("Bcc"), "", "no header of its own");
    let names: Vec<&str> = mail.headers.iter().map(|(name, _)| name.as_str()).collect();
    insta::assert_snapshot!("header-names", names.join(" "));
    assert_eq!(mail.to, ["ops@example.com"]);
    assert!(mail.header("Subject").contains("Bcc: evil@example.com"), "it is only text: {}", mail.header("Subject"));
    assert!(!mail.html.contains("<script>") && mail.html.contains("&lt;script&gt;"));
    assert!(!mail.text.contains(['\u{202e}', '\u{1b}', '\u{0}', '\u{7}']) && !mail.html.contains(['\u{202e}', '\u{1b}', '\u{0}', '\u{7}']));
    assert!(mail.raw.is_ascii(), "it passes each server");
    assert!(HOSTILE.contains("{{ secret.token }}") && mail.text.contains("{{ secret.token }}"), "nothing in it is a template");
}

#[tokio::test]
async fn logging_in_takes_a_secured_connection() {
    for (mode, security) in [("starttls", "StartTls"), ("tls", "Tls")] {
        let Some(server) = Server::start(mode) else { return };
        let receiver = server.receiver(security, &json!({"secretRef": {"name": "mail"}}));
        let channels = channels();
        send(&channels, &firing(), &receiver, &server.login()).await.unwrap_or_else(|error| panic!("{mode}: {error}"));
        let mail = &server.mails()[0];
        assert_eq!((mail.login.as_deref(), mail.tls), (Some("ops"), true), "{mode}");
        // Another password is another connection, though there is one that is logged in.
        let wrong = secret([("username", "ops"), ("password", "battery-staple"), ("ca.crt", &server.ca)]);
        let error = send(&channels, &firing(), &receiver, &wrong).await.unwrap_err();
        assert_eq!((error.category, error.is_transient()), (Category::Login, false), "{error}");
        assert!(!error.to_string().contains("battery"), "{error}");
        let nobodys = secret([("username", "ops"), ("password", "correct horse")]);
        let error = send(&channels, &firing(), &receiver, &nobodys).await.unwrap_err();
        assert_eq!((error.category, error.is_transient()), (Category::Tls, true), "an authority that is not trusted: {error}");
        assert_eq!(server.mails().len(), 1);
    }
}

#[tokio::test]
async fn without_starttls_nothing_is_sent() {
    let Some(server) = Server::start("plain") else { return };
    let error = send(&channels(), &firing(), &server.receiver("StartTls", &json!({})), &server.login()).await.unwrap_err();
    assert_eq!(error.category, Category::Tls, "{error}");
    // Were the security taken away from the receiver, the password would still not go.
    let error = send(&channels(), &firing(), &server.receiver("None", &json!({})), &server.login()).await.unwrap_err();
    assert_eq!((error.category, server.mails().len()), (Category::Receiver, 0), "{error}");
}

#[tokio::test]
async fn each_recipient_is_told_whatever_becomes_of_the_others() {
    let Some(server) = Server::start("plain") else { return };
    let to = |to: &[&str]| server.receiver("None", &json!({ "to": to }));
    let channels = channels();
    let error =
        send(&channels, &firing(), &to(&["a@example.com", "nobody@example.com", "b@example.com"]), &Secret::default()).await.unwrap_err();
    assert_eq!((error.category, error.is_transient()), (Category::Recipient, false), "{error}");
    assert_eq!(error.reached, ["a@example.com", "b@example.com"]);
    let both = to(&["nobody@example.com", "busy@example.com", "c@example.com"]);
    let error = send(&channels, &firing(), &both, &Secret::default()).await.unwrap_err();
    assert!(error.is_transient(), "one of them may still take it: {error}");
    assert_eq!(error.reached, ["c@example.com"], "that one is busy is about this one");
    let all = to(&["a@example.com", "b@example.com", "d@example.com"]);
    let reached = ["a@example.com".to_owned(), "b@example.com".to_owned()];
    let again = channels.deliver(&firing(), &all, &Secret::default(), &Reached::new(reached.into()), at("12:06:00")).await.unwrap();
    assert_eq!(again.reached, ["d@example.com"], "who has it is not told again");
    let told: Vec<Vec<String>> = server.mails().into_iter().map(|mail| mail.to).collect();
    assert_eq!(told, [["a@example.com"], ["b@example.com"], ["c@example.com"], ["d@example.com"]]);
}

#[tokio::test]
async fn a_server_that_hangs_leaves_no_answer_behind_for_the_next_mail() {
    let Some(server) = Server::start("plain") else { return };
    let channels = Channels::with_limit(Origin::default(), Duration::from_millis(700));
    let error =
        send(&channels, &firing(), &server.receiver("None", &json!({"to": ["slow@example.com"]})), &Secret::default()).await.unwrap_err();
    assert_eq!((error.category, error.is_transient()), (Category::Timeout, true), "{error}");
    send(&channels, &firing(), &server.receiver("None", &json!({})), &Secret::default()).await.unwrap();
    let mails = server.mails();
    assert_eq!((mails.len(), mails[0].to.as_slice()), (1, ["ops@example.com".to_owned()].as_slice()));
    assert_eq!(mails[0].connections, 2);
    // Who is behind one for whom there is no answer is told by the next try.
    let behind = server.receiver("None", &json!({"to": ["slow@example.com", "e@example.com"]}));
    let error = send(&channels, &firing(), &behind, &Secret::default()).await.unwrap_err();
    assert_eq!((error.category, error.reached), (Category::Timeout, vec![]));
    let again = Reached::default().after(1);
    let error = channels.deliver(&firing(), &behind, &Secret::default(), &again, at("12:06:00")).await.unwrap_err();
    assert_eq!((error.category, error.reached), (Category::Timeout, vec!["e@example.com".to_owned()]));
    drop(server);
    let nowhere = receiver(json!({"email": {"to": ["a@b"], "from": "a@b", "server": "127.0.0.1:9", "security": "None"}}));
    let error = send(&channels, &firing(), &nowhere, &Secret::default()).await.unwrap_err();
    assert_eq!((error.category, error.is_transient()), (Category::Connection, true), "{error}");
}

#[tokio::test]
async fn a_broken_template_sends_a_plain_mail_and_says_so() {
    let Some(server) = Server::start("plain") else { return };
    let delivered =
        send(&channels(), &firing(), &server.receiver("None", &json!({"subject": "{{ no.such }}"})), &Secret::default()).await.unwrap();
    let mail = &server.mails()[0];
    assert_eq!(mail.header("Subject"), "[FIRING] memory-high on web-01 (site=ams1)");
    let note = "The receiver's template of the subject fails: undefined value";
    assert!(mail.text.contains(note) && delivered.notes[0].starts_with(note), "{}\n{:?}", mail.text, delivered.notes);
}
