//! AlertRule, Receiver and Silence: what is worth waking somebody for, and how.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::meta::{PlainStatus, SecretRef, Selector, WindowSpec};
use crate::quantity::Duration;

/// A condition over devices that is worth telling somebody.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "evenkeel.dev",
    version = "v1alpha1",
    kind = "AlertRule",
    namespaced,
    derive = "PartialEq",
    shortname = "arule",
    category = "evenkeel",
    status = "PlainStatus",
    plural = "alertrules",
    printcolumn(name = "Severity", type_ = "string", json_path = ".spec.severity"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AlertRuleSpec {
    /// The devices; all of the namespace if none.
    #[serde(default, skip_serializing_if = "Selector::is_empty")]
    pub selector: Selector,
    /// CEL over `device`, `usage`, `probes`, `logs`, `deployments`; true means that something is wrong.
    #[schemars(length(min = 1, max = 2048))]
    pub expr: String,
    /// CEL that says when it is well again; `!(expr)` if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub recover: Option<String>,
    /// It must hold this long before the alert fires; 0s if none.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub hold_for: Option<Duration>,
    /// It goes on firing this long after it is well; 0s if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_firing_for: Option<Duration>,
    /// What missing data means; Keep if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_data: Option<NoData>,
    /// How bad it is.
    pub severity: Severity,
    /// Labels of its alerts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub labels: BTreeMap<String, String>,
    /// One line for people, a Jinja template over `device` and `value`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub summary: Option<String>,
    /// Who is told, and how often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<NotifySpec>,
    /// Alerts that it may have at once; 1000 if none. Further devices are not alerted on, and the rule is not ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub limit: Option<u32>,
    /// Rules that make this one silent while they fire.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub inhibited_by: Vec<InhibitedBy>,
    /// Run by `evenkeel check` in virtual time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub tests: Vec<AlertTest>,
    /// Don't evaluate it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
}

/// A rule that makes another one silent while it fires.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InhibitedBy {
    /// The rule that fires, by name.
    #[schemars(length(min = 1, max = 253))]
    pub rule: String,
    /// Labels that both alerts have to share; if none, they have to be about the same device.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 253)))]
    pub equal: Vec<String>,
}

/// What missing data means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NoData {
    /// The alert stays as it is.
    Keep,
    /// It fires.
    Fire,
    /// It resolves.
    Resolve,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Wake somebody.
    Critical,
    /// Look at it today.
    Warning,
    /// Good to know.
    Info,
}

/// Who is told, and how often.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NotifySpec {
    /// Receivers by name, of what no route takes.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 253)))]
    pub receivers: Vec<String>,
    /// Who is told instead of some alerts: the first route that matches an alert takes it, and others after that only if it says so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub routes: Vec<RouteSpec>,
    /// Alerts with the same values of these labels come in one message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 253)))]
    pub group_by: Vec<String>,
    /// Wait for others of the group before the first message; 30s if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<Duration>,
    /// Time before a message about news of the group; 5m if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// Say it again after this long; 4h if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat: Option<Duration>,
    /// Whom else to tell, as long as nobody acknowledges it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub escalate: Vec<EscalationSpec>,
}

/// Who is told of some of a rule's alerts, and when.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteSpec {
    /// Labels that the alerts have; all of them if none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub match_labels: BTreeMap<String, String>,
    /// When these receivers are told; always if none. What fires, or is well again, at other times is said when the hours begin, if it still is so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub hours: Vec<WindowSpec>,
    /// Receivers by name.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 253)))]
    pub receivers: Vec<String>,
    /// Look at the routes after this one too.
    #[serde(default, rename = "continue", skip_serializing_if = "Option::is_none")]
    pub goes_on: Option<bool>,
}

/// Whom else to tell, as long as nobody acknowledges an alert.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EscalationSpec {
    /// So long after it was first said.
    pub after: Duration,
    /// Receivers by name.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 253)))]
    pub receivers: Vec<String>,
}

/// One test of a rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AlertTest {
    /// Series by name, in promtool's notation, such as `device.usage.memory.ratio: 0.5+0.1x5`; of a probe `ok`, `fail` and `_` for unknown,
    /// such as `probes["web"].state: okx2 failx5`; of a Deployment its phase, such as `deployments["web"].phase: Progressingx5 Complete`; of a
    /// label its value.
    #[schemars(extend("maxProperties" = 32))]
    pub given: BTreeMap<String, String>,
    /// Time between two of the values; 1m if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// Time since the start.
    pub at: Duration,
    /// The state that is expected then.
    pub expect: AlertState,
}

/// State of an alert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// Nothing is wrong.
    #[default]
    Inactive,
    /// Something is wrong, not long enough yet.
    Pending,
    /// Somebody is told.
    Firing,
    /// It is well again.
    Resolved,
}

/// Where notifications go; exactly one of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "evenkeel.dev",
    version = "v1alpha1",
    kind = "Receiver",
    namespaced,
    derive = "PartialEq",
    shortname = "recv",
    category = "evenkeel",
    status = "PlainStatus",
    plural = "receivers",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("[has(self.email), has(self.sms), has(self.webhook)].filter(x, x).size() == 1").message("exactly one of email, sms, webhook"))]
pub struct ReceiverSpec {
    /// By e-mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<EmailSpec>,
    /// By SMS through an HTTP gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sms: Option<SmsSpec>,
    /// By an HTTP request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookSpec>,
    /// The Receiver that is told instead of what is given up here, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub fallback: Option<String>,
    /// Send nothing. What is to be said waits: when this is taken back, what fires then is said, and what was said to fire and is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
}

/// By e-mail.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EmailSpec {
    /// To whom.
    #[schemars(length(min = 1, max = 32), inner(length(min = 3, max = 320)))]
    pub to: Vec<String>,
    /// From whom.
    #[schemars(length(min = 3, max = 320))]
    pub from: String,
    /// The mail server, as `host` or `host:port`; the port is 587, or 465 with Tls, or 25 with None, if none.
    #[schemars(length(min = 1, max = 260))]
    pub server: String,
    /// How the connection is secured; StartTls if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security: Option<MailSecurity>,
    /// A Secret with `username` and `password`, and `ca.crt` where the server's certificate is from an authority of one's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// The subject, a Jinja template over `status`, `title`, `group`, `firing`, `resolved`, `count` and `reason`; `[FIRING 2] rule (site=ams1)` if
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub subject: Option<String>,
}

/// How a connection to a mail server is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MailSecurity {
    /// Upgraded after the greeting; required.
    StartTls,
    /// From the start.
    Tls,
    /// Not at all.
    None,
}

/// By SMS through an HTTP gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SmsSpec {
    /// To whom, in international form.
    #[schemars(length(min = 1, max = 32), inner(regex(pattern = r"^\+[0-9]{6,15}$")))]
    pub to: Vec<String>,
    /// The gateway.
    pub gateway: GatewaySpec,
    /// What is said, a Jinja template over what `subject` of e-mail has; status, rule and devices if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub text: Option<String>,
    /// Parts that one message may have, each of 160 characters of the GSM alphabet or 70 others, or a little less; 3 if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10))]
    pub max_segments: Option<i32>,
}

/// An SMS gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewaySpec {
    /// Where.
    #[schemars(length(min = 1, max = 2048), regex(pattern = "^https?://"))]
    pub url: String,
    /// Method, POST or PUT; POST if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 10), regex(pattern = "^(POST|PUT)$"))]
    pub method: Option<String>,
    /// Body: JSON, or a form such as `to={{ to }}&text={{ text }}`. Each text in it is a Jinja template over `to`, `text`, `id` and `secret` (the
    /// Secret's values by key).
    #[schemars(length(min = 1, max = 8192))]
    pub body: String,
    /// A Secret with `username` and `password`, or `token`, or `authorization`, the whole value of the header; and `ca.crt` where the gateway's
    /// certificate is from an authority of one's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// The header that takes the credentials; Authorization if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9-]+$"))]
    pub header: Option<String>,
    /// CEL over `status`, `body` (text) and `json` (the body as JSON, or null) that means delivered; `status >= 200 && status < 300` if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub success: Option<String>,
}

/// By an HTTP request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.url) || has(self.secretRef)").message("url, or a secretRef to a Secret with the key url"))]
pub struct WebhookSpec {
    /// Where; the Secret's `url` if none, for URLs that are a secret themselves, as Slack's and Teams' are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048), regex(pattern = "^https?://"))]
    pub url: Option<String>,
    /// A Secret. Generic: `key`, with which the body is signed. PagerDuty: `routingKey`. Alertmanager: `username` and `password`, or `token`. All:
    /// `url`, and `ca.crt` where the server's certificate is from an authority of one's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// Shape of the body; Generic if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<WebhookFormat>,
}

/// Shape of a webhook's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WebhookFormat {
    /// Our own JSON.
    Generic,
    /// A Slack message.
    Slack,
    /// A Microsoft Teams card.
    Teams,
    /// Alertmanager's version 2 API.
    Alertmanager,
    /// PagerDuty's Events version 2.
    PagerDuty,
}

/// Mutes matching alerts, always with an end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "evenkeel.dev",
    version = "v1alpha1",
    kind = "Silence",
    namespaced,
    derive = "PartialEq",
    shortname = "sil",
    category = "evenkeel",
    status = "PlainStatus",
    plural = "silences",
    printcolumn(name = "Until", type_ = "string", json_path = ".spec.until"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".spec.reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("(has(self.matchLabels) && size(self.matchLabels) > 0) || has(self.devices)").message("matchLabels or devices: a silence must say what it mutes"))]
pub struct SilenceSpec {
    /// Labels that the alerts must have: those of their device and of their rule, and `rule` and `device`, which are the names of the two.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub match_labels: BTreeMap<String, String>,
    /// The devices that they are about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices: Option<Selector>,
    /// When it ends.
    pub until: jiff::Timestamp,
    /// Why.
    #[schemars(length(min = 1, max = 256))]
    pub reason: String,
}
