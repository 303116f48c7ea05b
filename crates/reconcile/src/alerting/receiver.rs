//! A Receiver with its defaults filled in, and what is wrong with one.

use crds::{GatewaySpec, MailSecurity, ReceiverSpec, SmsSpec, WebhookFormat, WebhookSpec};

use super::success::Success;
use super::text::template;
use crate::name::Name;

/// Parts of an SMS, if the Receiver says nothing: what one reads at night.
const SEGMENTS: u32 = 3;
/// Levels that the JSON of a gateway's body may have.
const DEPTH: usize = 16;

/// Where notifications go.
#[derive(Clone, Debug, PartialEq)]
pub struct Receiver {
    /// Its name.
    pub name: Name,
    /// How.
    pub channel: Channel,
    /// The Secret that it needs, beside it, by name.
    pub secret: Option<String>,
    /// The key of that Secret that is meant, where one value is.
    pub key: Option<String>,
    /// Nothing is sent.
    pub suspend: bool,
    /// Who is told instead of what is given up.
    pub fallback: Option<Name>,
}

/// How a notification is delivered.
#[derive(Clone, Debug, PartialEq)]
pub enum Channel {
    /// By e-mail.
    Email(Email),
    /// By SMS through an HTTP gateway.
    Sms(Sms),
    /// By an HTTP request.
    Webhook(Webhook),
}

/// By e-mail.
#[derive(Clone, Debug, PartialEq)]
pub struct Email {
    /// To whom.
    pub to: Vec<String>,
    /// From whom.
    pub from: String,
    /// The server's name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is secured.
    pub security: MailSecurity,
    /// Template of the subject.
    pub subject: Option<String>,
}

/// By SMS.
#[derive(Clone, Debug, PartialEq)]
pub struct Sms {
    /// To whom.
    pub to: Vec<String>,
    /// Where.
    pub url: String,
    /// PUT instead of POST.
    pub put: bool,
    /// The body for each recipient.
    pub body: Body,
    /// The header that takes the credentials.
    pub header: String,
    /// CEL that says whether an answer means success; a status of 2xx if none.
    pub success: Option<String>,
    /// Template of what is said.
    pub text: Option<String>,
    /// Parts that a message may have.
    pub segments: u32,
}

/// The body of a request whose shape is the author's: only the texts in it are templates, so that nothing they fill in changes it.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// JSON; its texts are templates.
    Json(serde_json::Value),
    /// A form; its names and values are templates.
    Form(Vec<(String, String)>),
}

/// By a webhook.
#[derive(Clone, Debug, PartialEq)]
pub struct Webhook {
    /// Where; the Secret says it if none.
    pub url: Option<String>,
    /// Shape of the body.
    pub format: WebhookFormat,
}

/// What is wrong with a Receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// It can't be used so; else it can, but hardly as it was meant.
    pub is_error: bool,
    /// Stable name of the rule.
    pub code: &'static str,
    /// The field.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: &'static str,
}

impl Receiver {
    /// A Receiver as it is used; `None` if it can't be, and all that is wrong with it.
    pub fn of(name: &Name, spec: &ReceiverSpec) -> (Option<Self>, Vec<Wrong>) {
        let mut wrong = Vec::new();
        let (channel, secret) = match (&spec.email, &spec.sms, &spec.webhook) {
            (Some(email), None, None) => (self::email(email, &mut wrong).map(Channel::Email), &email.secret_ref),
            (None, Some(sms), None) => (self::sms(sms, &mut wrong).map(Channel::Sms), &sms.gateway.secret_ref),
            (None, None, Some(webhook)) => (Some(Channel::Webhook(self::webhook(webhook, &mut wrong))), &webhook.secret_ref),
            _ => {
                error(&mut wrong, "channel", "spec", "it says no way, or more than one", "exactly one of email, sms, webhook");
                return (None, wrong);
            }
        };
        let receiver = channel.filter(|_| !wrong.iter().any(|wrong| wrong.is_error)).map(|channel| Self {
            name: name.clone(),
            channel,
            secret: secret.as_ref().map(|secret| secret.name.clone()),
            key: secret.as_ref().and_then(|secret| secret.key.clone()),
            suspend: spec.suspend.unwrap_or(false),
            fallback: spec.fallback.as_ref().map(|fallback| name.sibling(fallback)),
        });
        (receiver, wrong)
    }
}

/// Whether the other side groups alerts by itself, so that it has to hear of each, and never of a summary.
pub fn groups_by_itself(spec: &ReceiverSpec) -> bool {
    let format = spec.webhook.as_ref().and_then(|webhook| webhook.format);
    matches!(format, Some(WebhookFormat::Alertmanager | WebhookFormat::PagerDuty))
}

fn error(wrong: &mut Vec<Wrong>, code: &'static str, path: impl Into<String>, message: impl Into<String>, help: &'static str) {
    wrong.push(Wrong { is_error: true, code, path: path.into(), message: message.into(), help });
}

fn template(wrong: &mut Vec<Wrong>, path: String, text: &str) {
    if let Err(found) = template::check(text) {
        let help = "templates fill in values with `{{ }}`, and have if and for: docs/notifications.md lists what there is";
        error(wrong, "template", path, format!("it is not a template: {found}"), help);
    }
}

fn email(spec: &crds::EmailSpec, wrong: &mut Vec<Wrong>) -> Option<Email> {
    let addresses = spec.to.iter().enumerate().map(|(at, to)| (format!("spec.email.to[{at}]"), to));
    for (path, address) in addresses.chain([("spec.email.from".to_owned(), &spec.from)]) {
        if !is_address(address) {
            error(wrong, "mail-address", path, "it is not an e-mail address", "write it as `name@example.com`");
        }
    }
    if let Some(subject) = &spec.subject {
        template(wrong, "spec.email.subject".into(), subject);
    }
    let security = spec.security.unwrap_or(MailSecurity::StartTls);
    if security == MailSecurity::None && spec.secret_ref.is_some() {
        let help = "use StartTls or Tls; a password is never sent without";
        error(wrong, "secret-in-clear", "spec.email.security", "the password would go over the network in the clear", help);
    }
    let Some((host, port)) = server(&spec.server, security) else {
        error(wrong, "mail-server", "spec.email.server", "it is not a server", "write it as `mail.example.com` or `mail.example.com:587`");
        return None;
    };
    Some(Email { to: spec.to.clone(), from: spec.from.clone(), host, port, security, subject: spec.subject.clone() })
}

/// Host and port; an IPv6 address stands in brackets where a port follows.
fn server(text: &str, security: MailSecurity) -> Option<(String, u16)> {
    let standard = match security {
        MailSecurity::StartTls => 587,
        MailSecurity::Tls => 465,
        MailSecurity::None => 25,
    };
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            (
                host,
                after
                    .strip_prefix(':')
                    .map(str::parse)
                    .unwrap_or(Ok(standard))
                    .ok()
                    .filter(|_| after.is_empty() || after.starts_with(':'))?,
            )
        }
        None if text.parse::<std::net::Ipv6Addr>().is_ok() => (text, standard),
        None => match text.split_once(':') {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (text, standard),
        },
    };
    let is_ip = host.parse::<std::net::IpAddr>().is_ok();
    (port != 0 && (is_ip || is_domain(host))).then(|| (host.to_owned(), port))
}

fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        let is_letter =
            |letter: char| letter == '-' || if letter.is_ascii() { letter.is_ascii_alphanumeric() } else { letter.is_alphanumeric() };
        !label.is_empty() && label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-') && label.chars().all(is_letter)
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

/// RFC 5321's `Dot-string@Domain`: no quoted names, no comments, nothing around it.
fn is_address(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let is_atom = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| if c.is_ascii() { c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) } else { c.is_alphanumeric() })
    };
    local.len() <= 64 && local.split('.').all(is_atom) && is_domain(domain)
}

/// Whether it is a URL that a request can go to: a scheme, a server, no user name and password in it.
fn url(wrong: &mut Vec<Wrong>, path: &str, url: &str, has_secret: bool) {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let authority = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let is_plain = !url.chars().any(|letter| letter.is_control() || letter.is_whitespace());
    let Some(authority) = authority.filter(|authority| !authority.is_empty() && is_plain) else {
        error(wrong, "receiver-url", path, "it is not a URL", "write it as `https://example.com/path`");
        return;
    };
    if authority.contains('@') {
        error(wrong, "receiver-url", path, "it has a user name or password in it", "put them into the Secret that `secretRef` names");
        return;
    }
    if has_secret && url.starts_with("http://") && !is_loopback(authority) {
        wrong.push(Wrong {
            is_error: false,
            code: "secret-in-clear",
            path: path.into(),
            message: "what is secret goes over the network in the clear".into(),
            help: "use https",
        });
    }
}

fn is_loopback(authority: &str) -> bool {
    let host = authority.strip_prefix('[').and_then(|rest| rest.split(']').next());
    let host = host.unwrap_or_else(|| authority.split(':').next().unwrap_or_default());
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn sms(spec: &SmsSpec, wrong: &mut Vec<Wrong>) -> Option<Sms> {
    let gateway = &spec.gateway;
    for (at, to) in spec.to.iter().enumerate() {
        let is_number =
            to.strip_prefix('+').is_some_and(|digits| (6..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()));
        if !is_number {
            error(
                wrong,
                "phone-number",
                format!("spec.sms.to[{at}]"),
                "it is not a number in international form",
                "write it as `+31612345678`",
            );
        }
    }
    if let Some(text) = &spec.text {
        template(wrong, "spec.sms.text".into(), text);
    }
    url(wrong, "spec.sms.gateway.url", &gateway.url, gateway.secret_ref.is_some());
    if let Some(Err(found)) = gateway.success.as_deref().map(Success::parse) {
        let help = "CEL over `status`, `body` and `json`, such as `status == 200 && json.status == 'queued'`";
        error(wrong, "success", "spec.sms.gateway.success", format!("it is not an expression: {found}"), help);
    }
    Some(Sms {
        to: spec.to.clone(),
        url: gateway.url.clone(),
        put: gateway.method.as_deref() == Some("PUT"),
        body: body(gateway, wrong)?,
        header: gateway.header.clone().unwrap_or_else(|| "authorization".into()),
        success: gateway.success.clone(),
        text: spec.text.clone(),
        segments: spec.max_segments.and_then(|segments| u32::try_from(segments).ok()).unwrap_or(SEGMENTS).clamp(1, 10),
    })
}

fn body(gateway: &GatewaySpec, wrong: &mut Vec<Wrong>) -> Option<Body> {
    let path = "spec.sms.gateway.body";
    let text = gateway.body.trim();
    let mut templates = Vec::new();
    let body = if text.starts_with(['{', '[']) && !text.starts_with("{{") && !text.starts_with("{%") {
        match serde_json::from_str(text) {
            Ok(json) => {
                texts(&json, DEPTH, &mut templates);
                Body::Json(json)
            }
            Err(found) => {
                let help = "templates stand inside the quotes, such as {\"to\": \"{{ to }}\"}";
                error(wrong, "gateway-body", path, format!("it begins as JSON and is none: {found}"), help);
                return None;
            }
        }
    } else {
        let pairs: Vec<(String, String)> =
            text.split('&').filter_map(|pair| pair.split_once('=')).map(|(n, v)| (n.into(), v.into())).collect();
        if pairs.len() != text.split('&').count() || pairs.iter().any(|(name, _)| name.trim().is_empty()) {
            let help = "write JSON such as {\"to\": \"{{ to }}\", \"text\": \"{{ text }}\"}, or a form such as to={{ to }}&text={{ text }}";
            error(wrong, "gateway-body", path, "it is neither JSON nor a form", help);
            return None;
        }
        templates.extend(pairs.iter().flat_map(|(name, value)| [name.clone(), value.clone()]));
        Body::Form(pairs)
    };
    for text in &templates {
        template(wrong, path.into(), text);
    }
    if !templates.iter().any(|text| text.contains("text")) {
        let help = "put `{{ text }}` where the message belongs";
        wrong.push(Wrong {
            is_error: false,
            code: "gateway-body",
            path: path.into(),
            message: "it does not have `text` in it".into(),
            help,
        });
    }
    Some(body)
}

/// Every text in JSON; what lies deeper than anybody writes is not looked at, and not filled in either.
fn texts(json: &serde_json::Value, depth: usize, found: &mut Vec<String>) {
    match json {
        serde_json::Value::String(text) => found.push(text.clone()),
        serde_json::Value::Array(list) if depth > 0 => list.iter().for_each(|part| texts(part, depth - 1, found)),
        serde_json::Value::Object(map) if depth > 0 => map.values().for_each(|part| texts(part, depth - 1, found)),
        _ => {}
    }
}

impl Body {
    /// The body with each of its texts replaced by what `fill` makes of it.
    pub fn filled<E>(&self, fill: &impl Fn(&str) -> Result<String, E>) -> Result<Self, E> {
        Ok(match self {
            Self::Json(json) => Self::Json(filled(json, DEPTH, fill)?),
            Self::Form(pairs) => Self::Form(pairs.iter().map(|(name, value)| Ok((fill(name)?, fill(value)?))).collect::<Result<_, E>>()?),
        })
    }
}

fn filled<E>(json: &serde_json::Value, depth: usize, fill: &impl Fn(&str) -> Result<String, E>) -> Result<serde_json::Value, E> {
    Ok(match json {
        serde_json::Value::String(text) => fill(text)?.into(),
        serde_json::Value::Array(list) if depth > 0 => list.iter().map(|part| filled(part, depth - 1, fill)).collect::<Result<_, E>>()?,
        serde_json::Value::Object(map) if depth > 0 => {
            map.iter().map(|(key, part)| Ok((key.clone(), filled(part, depth - 1, fill)?))).collect::<Result<_, E>>()?
        }
        other => other.clone(),
    })
}

fn webhook(spec: &WebhookSpec, wrong: &mut Vec<Wrong>) -> Webhook {
    let format = spec.format.unwrap_or(WebhookFormat::Generic);
    match &spec.url {
        Some(url) => self::url(wrong, "spec.webhook.url", url, spec.secret_ref.is_some()),
        None if spec.secret_ref.is_none() => {
            error(
                wrong,
                "receiver-url",
                "spec.webhook",
                "it does not say where",
                "give a `url`, or a `secretRef` to a Secret with the key `url`",
            );
        }
        None => {}
    }
    if format == WebhookFormat::PagerDuty && spec.secret_ref.is_none() {
        let help = "name a Secret with the key `routingKey` in `secretRef`";
        error(wrong, "no-secret", "spec.webhook.secretRef", "PagerDuty takes nothing without a routing key", help);
    }
    Webhook { url: spec.url.clone(), format }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(spec: serde_json::Value) -> (Option<Receiver>, String) {
        let spec: ReceiverSpec = serde_json::from_value(spec).unwrap();
        let (receiver, wrong) = Receiver::of(&Name::parse("oncall"), &spec);
        let line = |wrong: &Wrong| {
            format!("{} {} {}: {}", if wrong.is_error { "error" } else { "warning" }, wrong.code, wrong.path, wrong.message)
        };
        (receiver, wrong.iter().map(line).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn a_server_has_the_port_of_its_security() {
        for (server, security, expected) in [
            ("mail.example.com", MailSecurity::StartTls, Some(("mail.example.com", 587))),
            ("mail.example.com", MailSecurity::Tls, Some(("mail.example.com", 465))),
            ("10.0.0.1", MailSecurity::None, Some(("10.0.0.1", 25))),
            ("mail:2525", MailSecurity::Tls, Some(("mail", 2525))),
            ("::1", MailSecurity::None, Some(("::1", 25))),
            ("[::1]:2525", MailSecurity::None, Some(("::1", 2525))),
            ("[::1]", MailSecurity::None, Some(("::1", 25))),
            ("mail:", MailSecurity::None, None),
            ("mail:0", MailSecurity::None, None),
            ("mail:99999", MailSecurity::None, None),
            ("[::1]x:25", MailSecurity::None, None),
            ("ma il", MailSecurity::None, None),
            ("smtp://mail", MailSecurity::None, None),
            ("a\r\nb", MailSecurity::None, None),
        ] {
            let found = self::server(server, security);
            assert_eq!(found.as_ref().map(|(host, port)| (host.as_str(), *port)), expected, "{server}");
        }
    }

    #[test]
    fn addresses_are_plain_ones() {
        for good in ["a@b", "first.last+tag@example.co.uk", "o'neil@x.org", "jürgen@exämple.de"] {
            assert!(is_address(good), "{good}");
        }
        for bad in
            ["", "a", "@b", "a@", "a b@c", "a@b@c", "a@b\r\nRCPT TO:<x@y>", "<a@b>", "a..b@c", "a@-b", "a@b_c", "\"a\"@b", "a@[1.2.3.4]"]
        {
            assert!(!is_address(bad), "{bad}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let gateway = |body: &str| json!({"sms": {"to": ["+31612345678"], "gateway": {"url": "https://x", "body": body}}});
        let specs = [
            json!({"email": {"to": ["ops@example.com", "ops"], "from": "e@example.com\r\nBcc: x@y", "server": "mail:x", "security": "None",
                "secretRef": {"name": "mail"}, "subject": "{{ oops"}}),
            json!({"sms": {"to": ["0612"], "text": "{% set x = 1 %}", "gateway": {"url": "http://sms.example.com/send",
                "body": "to={{ to }}&{{ x }}", "success": "stauts == 1", "secretRef": {"name": "sms"}}}}),
            json!({"webhook": {}}),
            json!({"webhook": {"url": "https://u:p@example.com", "format": "PagerDuty"}}),
            gateway("{\"to\": {{ to }}}"),
            gateway("{\"to\": \"{{ to }\"}"),
            json!({"webhook": {"url": "http://127.0.0.1:9093", "secretRef": {"name": "x"}}}),
            json!({"webhook": {"url": "https://exa mple.com"}}),
            json!({}),
        ];
        let all = specs.into_iter().map(|spec| {
            let (receiver, wrong) = of(spec.clone());
            assert_eq!(receiver.is_none(), wrong.contains("error "), "{spec}");
            format!("{spec}\n{wrong}\n")
        });
        insta::assert_snapshot!(all.collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn a_body_keeps_its_shape_whatever_is_filled_in() {
        let (receiver, wrong) = of(json!({"sms": {"to": ["+31612345678"], "gateway": {"url": "https://x",
            "body": "{\"to\": [\"{{ to }}\"], \"priority\": 5, \"text\": \"{{ text }}\"}"}}}));
        assert_eq!(wrong, "");
        let Some(Receiver { channel: Channel::Sms(sms), .. }) = receiver else { panic!() };
        let filled = sms.body.filled(&|text: &str| Ok::<_, ()>(text.replace("{{ text }}", "x\", \"to\": [\"+1\"]"))).unwrap();
        assert_eq!(filled, Body::Json(json!({"to": ["{{ to }}"], "priority": 5, "text": "x\", \"to\": [\"+1\"]"})));
        assert_eq!((sms.segments, sms.put, sms.header.as_str()), (3, false, "authorization"));
    }
}
