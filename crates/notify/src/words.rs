//! A notice in words: one view of it, from which each channel takes what it can show, and which templates see.

use std::collections::BTreeMap;

use jiff::Timestamp;
use reconcile::alerting::text::{self, Sink, duration, neutral, render};
use reconcile::alerting::{Instead, LastChange, Notice, Reason, Said};
use serde::Serialize;

/// Characters of a summary that are shown: a rule's template is for one line.
const SUMMARY: usize = 500;
/// Characters of a label's value, a revision and the like.
const VALUE: usize = 120;
/// Characters of why another receiver could not be told.
const PROBLEM: usize = 300;
/// Labels of one alert that are shown.
const LABELS: usize = 12;
/// Characters of a subject: what a list of mails shows, and far less than a line of a mail may have.
const SUBJECT: usize = 150;

/// A notice as people read it. Its texts are neutral, and still to be escaped for where they go.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct View {
    /// `firing` or `resolved`.
    pub(crate) status: &'static str,
    /// `FIRING 2, RESOLVED 1`, `TRIAL`.
    pub(crate) headline: String,
    /// What it is about: `memory-high (site=ams1)`.
    pub(crate) title: String,
    pub(crate) reason: String,
    pub(crate) receiver: String,
    pub(crate) id: String,
    pub(crate) at: Timestamp,
    /// What `since` counts to.
    pub(crate) now: Timestamp,
    pub(crate) group: BTreeMap<String, String>,
    pub(crate) count: Count,
    pub(crate) firing: Vec<Line>,
    pub(crate) resolved: Vec<Line>,
    pub(crate) left_off: u32,
    pub(crate) url: Option<String>,
}

/// How many there are, with those that are not listed.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Count {
    pub(crate) firing: u64,
    pub(crate) resolved: u64,
}

/// One alert.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Line {
    pub(crate) id: String,
    pub(crate) rule: String,
    pub(crate) device: String,
    /// `critical`, `warning`, `info`.
    pub(crate) severity: &'static str,
    pub(crate) summary: String,
    pub(crate) value: Option<f64>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) since: Timestamp,
    pub(crate) ended: Option<Timestamp>,
    /// Since when, or from when to when, and how long.
    pub(crate) when: String,
    /// What was last changed on the device, in one line.
    pub(crate) change: Option<String>,
    /// What can't be seen behind it, in one line.
    pub(crate) behind: Option<String>,
}

impl View {
    pub(crate) fn new(notice: &Notice, url: Option<&str>) -> Self {
        let total = |listed: usize, left: u32| u64::try_from(listed).unwrap_or(u64::MAX).saturating_add(left.into());
        let count =
            Count { firing: total(notice.firing.len(), notice.left_off.0), resolved: total(notice.resolved.len(), notice.left_off.1) };
        let status = if count.firing > 0 { "firing" } else { "resolved" };
        Self {
            status,
            headline: headline(notice, count),
            title: title(notice, count),
            reason: reason(notice),
            receiver: notice.receiver.to_string(),
            id: neutral(&notice.id),
            at: notice.at,
            now: notice.at,
            group: short(&notice.group),
            count,
            firing: notice.firing.iter().map(|said| line(said, notice.at)).collect(),
            resolved: notice.resolved.iter().map(|said| line(said, notice.at)).collect(),
            left_off: notice.left_off.0.saturating_add(notice.left_off.1),
            url: url.map(neutral),
        }
    }

    /// Subject of a mail: by the Receiver's template, or `[FIRING 2] memory-high (site=ams1)`. Where the template fails, that is said too.
    pub(crate) fn subject(&self, template: Option<&str>) -> (String, Option<String>) {
        self.by_template("subject", template, &format!("[{}] {}", self.headline, self.title), SUBJECT)
    }

    /// One line by a template, or the plain one; and what is wrong with the template, if something is.
    pub(crate) fn by_template(&self, what: &str, template: Option<&str>, plain: &str, longest: usize) -> (String, Option<String>) {
        let cut = |text: &str| text::cut(text, longest);
        match template.map(|template| render(template, self, Sink::Line)) {
            None => (cut(plain), None),
            Some(Ok(text)) if !text.is_empty() => (cut(&text), None),
            Some(Ok(_)) => (cut(plain), Some(format!("The receiver's template of the {what} makes an empty text."))),
            Some(Err(error)) => (cut(plain), Some(format!("The receiver's template of the {what} fails: {error}."))),
        }
    }

    /// All alerts, those that fire first, with the word for each.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&'static str, &Line)> {
        let firing = self.firing.iter().map(|line| (line.severity, line));
        firing.chain(self.resolved.iter().map(|line| ("resolved", line)))
    }

    /// The worst of what fires, `resolved`, or none at all.
    pub(crate) fn worst(&self) -> &'static str {
        self.lines().next().map_or("resolved", |(word, _)| word)
    }
}

fn headline(notice: &Notice, count: Count) -> String {
    let state = match (count.firing, count.resolved) {
        (0, 0 | 1) => "RESOLVED".to_owned(),
        (0, resolved) => format!("RESOLVED {resolved}"),
        (1, 0) => "FIRING".to_owned(),
        (firing, 0) => format!("FIRING {firing}"),
        (firing, resolved) => format!("FIRING {firing}, RESOLVED {resolved}"),
    };
    let state = match &notice.instead {
        Some(Instead { of, .. }) => format!("INSTEAD OF {of}, {state}"),
        None => state,
    };
    match notice.reason {
        Reason::Test => "TRIAL".to_owned(),
        Reason::Escalated => format!("ESCALATED, {state}"),
        Reason::Storm => format!("STORM, {state}"),
        Reason::First | Reason::NewAlerts | Reason::NewResolved | Reason::AllResolved | Reason::Repeat => state,
    }
}

/// Why something is said now.
fn reason(notice: &Notice) -> String {
    if let Some(Instead { of, problem }) = &notice.instead {
        let problem = text::cut(neutral(problem).trim(), PROBLEM);
        if notice.firing.is_empty() && !notice.resolved.is_empty() {
            return format!("This one was told of it, as receiver {of} could not be: {problem}");
        }
        return format!("Receiver {of} could not be told, and names this one instead: {problem}");
    }
    let reason = match notice.reason {
        Reason::First => "Nothing of this group was said before.",
        Reason::NewAlerts => "Something fires that was not said yet.",
        Reason::NewResolved => "Something is well again, something else still fires.",
        Reason::AllResolved => "All of it is well again.",
        Reason::Repeat => "It still fires, and it is a while since it was last said.",
        Reason::Escalated => "Nobody acknowledged it in time.",
        Reason::Storm => "So much fires at once that it is said in one summary.",
        Reason::Test => "Somebody tries out this receiver.",
    };
    reason.to_owned()
}

fn title(notice: &Notice, count: Count) -> String {
    let all = || notice.firing.iter().chain(&notice.resolved);
    let rule = notice.group.get("rule").map(|rule| text::cut(&neutral(rule), VALUE));
    let rule = rule.or_else(|| all().next().map(|said| said.rule.name().to_owned())).unwrap_or_else(|| "alerts".to_owned());
    let labels: Vec<String> =
        short(&notice.group).iter().filter(|(key, _)| *key != "rule").map(|(key, value)| format!("{key}={value}")).collect();
    let labels = if labels.is_empty() { String::new() } else { format!(" ({})", labels.join(", ")) };
    // The subject stays the same for all that is said of one alert, since some mail programs take only that for one conversation.
    let only = all().next().filter(|_| count.firing + count.resolved == 1 && notice.reason != Reason::Test);
    let device = only.map(|said| format!(" on {}", said.device)).unwrap_or_default();
    format!("{rule}{device}{labels}")
}

fn short(labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let short = |text: &str| text::cut(&neutral(text), VALUE);
    labels.iter().take(LABELS).map(|(key, value)| (short(key), short(value))).collect()
}

fn line(said: &Said, at: Timestamp) -> Line {
    Line {
        id: neutral(&said.id),
        rule: said.rule.to_string(),
        device: said.device.to_string(),
        severity: severity(said.severity),
        summary: text::cut(summary(said).trim(), SUMMARY),
        value: said.value,
        labels: short(&said.labels),
        since: said.since,
        ended: said.ended,
        when: when(said, at),
        change: said.last_change.as_ref().map(|change| self::change(change, said.since)),
        behind: match said.behind {
            0 => None,
            1 => Some("1 device behind it can't be seen".to_owned()),
            many => Some(format!("{many} devices behind it can't be seen")),
        },
    }
}

/// The summary, without the device at its beginning: that stands before it everywhere.
fn summary(said: &Said) -> String {
    let summary = neutral(&said.summary);
    let device = format!("{}: ", said.device);
    summary.strip_prefix(&device).map_or(summary.clone(), str::to_owned)
}

/// The word for it.
pub(crate) fn severity(severity: crds::Severity) -> &'static str {
    match severity {
        crds::Severity::Critical => "critical",
        crds::Severity::Warning => "warning",
        crds::Severity::Info => "info",
    }
}

fn when(said: &Said, at: Timestamp) -> String {
    let between = |from: Timestamp, to: Timestamp| lasted(to.duration_since(from).as_secs().max(0));
    match said.ended {
        None => format!("since {}, for {}", minute(said.since), between(said.since, at)),
        Some(ended) => format!("from {} to {}, for {}", minute(said.since), minute(ended), between(said.since, ended)),
    }
}

fn change(change: &LastChange, since: Timestamp) -> String {
    let revision = text::cut(&neutral(&change.revision), VALUE);
    let commit = text::cut(&neutral(&change.commit), VALUE);
    let commit = match commit.len() {
        0 => String::new(),
        40 | 64 if commit.bytes().all(|byte| byte.is_ascii_hexdigit()) => format!(", commit {}", &commit[..12]),
        _ => format!(", commit {commit}"),
    };
    let author = text::cut(&neutral(&change.author), VALUE);
    let author = if author.is_empty() { author } else { format!(" of {author}") };
    let apart = since.duration_since(change.at).as_secs();
    let ago = match apart >= 0 {
        true => format!("{} before it", lasted(apart)),
        false => format!("{} after it began", lasted(apart.saturating_neg())),
    };
    let version = text::cut(&neutral(&change.version), VALUE);
    let version = if version.is_empty() { version } else { format!(" ({version})") };
    format!("revision {revision}{version} of Deployment {}{commit}{author}, {ago}", change.deployment)
}

/// A time to the minute, in UTC.
fn minute(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// A length of time in words.
fn lasted(seconds: i64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "seconds of alerts are far below 2^53")]
    duration(seconds as f64)
}

/// What the fuzz targets put into notices.
#[cfg(test)]
pub(crate) const FUZZ: [&str; 14] = [
    "\"summary\":",
    "<script>",
    "</p>",
    "&lt;",
    "\\r\\nBcc: x@example.com\\r\\n",
    "\\u001b",
    "\\u0000",
    "\u{202e}",
    "<!channel>",
    "é",
    "\"",
    ",",
    "{}",
    "null",
];

/// A notice of the fuzz targets, if it is one. Names are checked where they are read, and are none of what is tried.
#[cfg(test)]
pub(crate) fn fuzzed(bytes: &[u8]) -> Option<Notice> {
    let notice: Notice = serde_json::from_slice(bytes).ok()?;
    let all = notice.firing.iter().chain(&notice.resolved);
    let changed = all.clone().filter_map(|said| said.last_change.as_ref()).map(|change| &change.deployment);
    let mut names =
        all.flat_map(|said| [&said.rule, &said.device]).chain(changed).chain(notice.instead.as_ref().map(|instead| &instead.of));
    let is_name = |name: &reconcile::Name| name.full().bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-./".contains(&byte));
    let are_names = is_name(&notice.receiver) && names.all(is_name);
    drop(names);
    are_names.then_some(notice)
}
