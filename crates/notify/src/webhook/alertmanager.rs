//! Alertmanager's version 2 API: github.com/prometheus/alertmanager, api/v2/openapi.yaml, `POST /api/v2/alerts`.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use reconcile::alerting::{Notice, Said};
use reqwest::Url;
use serde_json::{Value, json};

use crate::words::{View, severity};

/// Alertmanager takes an alert without an end for resolved when it does not hear of it for five minutes. We say it again only every `repeat`,
/// and say ourselves when it is over, so it is told to believe us for a day.
const BELIEVED: SignedDuration = SignedDuration::from_hours(24);
/// Where alerts are posted.
const PLACE: &str = "/api/v2/alerts";

/// The URL may be that of Alertmanager itself, below a path too, or the whole one.
pub(super) fn place(mut url: Url) -> Url {
    if !url.path().trim_end_matches('/').ends_with(PLACE) {
        let path = format!("{}{PLACE}", url.path().trim_end_matches('/'));
        url.set_path(&path);
    }
    url
}

pub(super) fn body(notice: &Notice, view: &View) -> Value {
    let all = notice.firing.iter().chain(&notice.resolved);
    all.zip(view.firing.iter().chain(&view.resolved))
        .map(|(said, line)| {
            let mut annotations = json!({"summary": line.summary, "evenkeel_alert": said.id, "evenkeel_notice": notice.id});
            let optional = [
                ("value", said.value.map(|value| value.to_string())),
                ("last_change", line.change.clone()),
                ("behind", line.behind.clone()),
            ];
            for (name, text) in optional.into_iter().filter_map(|(name, text)| Some((name, text?))) {
                annotations[name] = text.into();
            }
            let ends = said.ended.or_else(|| notice.at.checked_add(BELIEVED).ok());
            json!({
                "labels": labels(said),
                "annotations": annotations,
                "startsAt": said.since,
                "endsAt": ends,
                "generatorURL": view.url.as_deref().unwrap_or_default(),
            })
        })
        .collect()
}

/// What tells the alert from others, the same each time: the alert's own labels, under names that Prometheus takes, and what it is about.
fn labels(said: &Said) -> BTreeMap<String, String> {
    let mut labels: BTreeMap<String, String> =
        said.labels.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| (label_name(name), value.clone())).collect();
    for (name, value) in [
        ("alertname", said.rule.name()),
        ("device", said.device.name()),
        ("namespace", said.device.namespace()),
        ("severity", severity(said.severity)),
    ] {
        labels.insert(name.into(), value.into());
    }
    labels
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`, which every version takes.
fn label_name(name: &str) -> String {
    let name: String = name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect();
    if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) { format!("_{name}") } else { name }
}

#[cfg(test)]
mod tests {
    use super::{label_name, place};

    #[test]
    fn its_place_and_its_label_names() {
        for (url, expected) in [
            ("http://am:9093", "http://am:9093/api/v2/alerts"),
            ("http://am:9093/", "http://am:9093/api/v2/alerts"),
            ("http://am:9093/prefix/", "http://am:9093/prefix/api/v2/alerts"),
            ("http://am:9093/api/v2/alerts", "http://am:9093/api/v2/alerts"),
        ] {
            assert_eq!(place(url.parse().unwrap()).as_str(), expected);
        }
        assert_eq!(["site", "app.kubernetes.io/name", "1st", ""].map(label_name), ["site", "app_kubernetes_io_name", "_1st", "_"]);
    }
}
