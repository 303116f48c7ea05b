//! PagerDuty's Events API version 2: developer.pagerduty.com, "Send an Alert Event".

use aws_lc_rs::digest;
use reconcile::alerting::Notice;
use reconcile::alerting::text::cut;
use serde_json::{Value, json};

use super::fitting;
use crate::words::View;

/// Characters of a summary, by their rule.
const SUMMARY: usize = 1024;
/// Characters of a key that tells that two events are of the same incident, by their rule.
const KEY: usize = 255;
/// Alerts that are listed in the details.
const ALERTS: usize = 50;
/// Bytes of an event: they take 512 KB.
const BYTES: usize = 400_000;

pub(super) fn body(notice: &Notice, view: &View, routing_key: &str) -> Value {
    fitting(view, ALERTS, BYTES, |lines, left| {
        let first = lines.first();
        let summary = match (view.count.firing + view.count.resolved, first) {
            (1, Some((_, line))) => format!("{}: {}", line.device, line.summary),
            (total, Some((_, line))) => format!("{}, {total} alerts: {}: {}", view.title, line.device, line.summary),
            (_, None) => view.title.clone(),
        };
        let source = first.map_or("evenkeel", |(_, line)| line.device.as_str());
        let severity = match view.worst() {
            "critical" => "critical",
            "warning" => "warning",
            _ => "info",
        };
        let alerts: Vec<Value> = lines
            .iter()
            .map(|(word, line)| {
                json!({"state": word, "rule": line.rule, "device": line.device, "summary": line.summary, "when": line.when,
                    "last_change": line.change, "behind": line.behind})
            })
            .collect();
        let links: Vec<Value> = view.url.iter().map(|url| json!({"href": url, "text": "Evenkeel"})).collect();
        json!({
            "routing_key": routing_key,
            "event_action": if view.status == "firing" { "trigger" } else { "resolve" },
            "dedup_key": key(&notice.thread),
            "client": "Evenkeel",
            "client_url": view.url.as_deref().unwrap_or_default(),
            "links": links,
            "payload": {
                "summary": cut(&summary, SUMMARY),
                "source": source,
                "severity": severity,
                "timestamp": lines.iter().map(|(_, line)| line.since).min().unwrap_or(notice.at),
                "group": view.title,
                "class": notice.group.get("rule"),
                "custom_details": {"alerts": alerts, "not_listed": left, "reason": view.reason, "notice": view.id},
            },
        })
    })
}

/// The thread, or what stands for it where it is too long.
fn key(thread: &str) -> String {
    if thread.chars().count() <= KEY { thread.to_owned() } else { hex::encode(digest::digest(&digest::SHA256, thread.as_bytes())) }
}

#[cfg(test)]
mod tests {
    use super::key;

    #[test]
    fn a_long_thread_has_a_short_key_of_its_own() {
        assert_eq!(key("abc"), "abc");
        let long = "x".repeat(256);
        assert_eq!(key(&long).len(), 64);
        assert_ne!(key(&long), key(&format!("{long}y")));
    }
}
