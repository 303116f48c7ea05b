//! The real Alertmanager: what is told to it, read back from it.

#[allow(dead_code, reason = "shared with others")]
mod common;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use common::{Running, at, firing, grouped, hostile, is_missing, receiver, said};
use notify::{Channels, Origin, Reached, Secret};
use reconcile::Name;
use reconcile::alerting::{LastChange, Notice, Reason, Said};
use serde_json::{Value, json};

struct Alertmanager {
    url: String,
    _folder: tempfile::TempDir,
    _running: Running,
}

impl Alertmanager {
    fn start() -> Option<Self> {
        if is_missing("prometheus-alertmanager") {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("alertmanager.yml");
        std::fs::write(&config, "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n").unwrap();
        let mut child = Command::new("/usr/bin/prometheus-alertmanager")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", folder.path().display()))
            .args(["--web.listen-address=127.0.0.1:0", "--cluster.listen-address="])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut addresses = lines.map_while(Result::ok).filter(|line| line.contains("Listening on"));
        let line = addresses.next().expect("it says where it listens");
        // It goes on talking, and must not be stopped by a pipe that nobody reads.
        std::thread::spawn(move || addresses.for_each(drop));
        let address = line.split("address=").nth(1).unwrap().split_whitespace().next().unwrap();
        Some(Self { url: format!("http://{address}"), _folder: folder, _running: Running(child) })
    }

    async fn alerts(&self) -> Vec<Value> {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client.get(format!("{}/api/v2/alerts", self.url)).send().await.unwrap();
        let mut alerts: Vec<Value> = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        alerts.sort_by_key(|alert| alert["labels"]["device"].to_string());
        alerts
    }

    async fn tell(&self, notice: &Notice) {
        let receiver = receiver(json!({"webhook": {"url": self.url, "format": "Alertmanager"}}));
        let channels = Channels::new(Origin { url: Some("https://evenkeel.example.com".into()) });
        channels.deliver(notice, &receiver, &Secret::default(), &Reached::default(), notice.at).await.unwrap();
    }
}

/// Times as of now: Alertmanager believes its own clock.
fn now(notice: Notice) -> Notice {
    let apart = jiff::Timestamp::now().duration_since(at("12:05:00"));
    let moved = |time: jiff::Timestamp| time.checked_add(apart).unwrap();
    let said = |said: Said| Said {
        since: moved(said.since),
        ended: said.ended.map(moved),
        last_change: said.last_change.map(|change| LastChange { at: moved(change.at), ..change }),
        ..said
    };
    Notice {
        at: moved(notice.at),
        firing: notice.firing.into_iter().map(said).collect(),
        resolved: notice.resolved.into_iter().map(said).collect(),
        ..notice
    }
}

#[tokio::test]
async fn alerts_arrive_and_are_resolved() {
    let Some(alertmanager) = Alertmanager::start() else { return };
    let told = now(grouped());
    alertmanager.tell(&told).await;
    let alerts = alertmanager.alerts().await;
    let shown: Vec<Value> = alerts
        .iter()
        .map(|alert| json!([alert["labels"], alert["annotations"], alert["status"]["state"], alert["generatorURL"]]))
        .collect();
    insta::assert_snapshot!(serde_json::to_string_pretty(&shown).unwrap());
    let first = told.firing[1].since;
    assert_eq!(alerts[1]["startsAt"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond(), first.as_millisecond());
    let ends: jiff::Timestamp = alerts[1]["endsAt"].as_str().unwrap().parse().unwrap();
    assert!(ends.duration_since(told.at).as_hours() >= 23, "it does not resolve by itself after five minutes: {ends}");
    // All of it is well again.
    let over = jiff::Timestamp::now();
    let resolved = told.firing.iter().map(|said| Said { ended: Some(over), ..said.clone() }).collect();
    alertmanager.tell(&Notice { reason: Reason::AllResolved, at: over, firing: Vec::new(), resolved, ..told }).await;
    assert_eq!(alertmanager.alerts().await, Vec::<Value>::new());
}

#[tokio::test]
async fn labels_and_texts_that_are_hostile_are_still_one_alert() {
    let Some(alertmanager) = Alertmanager::start() else { return };
    let mut notice = now(hostile());
    let odd = [("app.kubernetes.io/name", "web"), ("1st", "x"), ("empty", ""), ("alertname", "mine"), ("é", "y")];
    notice.firing[0].labels.extend(odd.map(|(name, value)| (name.to_owned(), value.to_owned())));
    notice.firing.push(Said { rule: Name::parse("prod/memory-high"), device: Name::parse("prod/web-01"), ..said("web-01", "") });
    alertmanager.tell(&now(Notice { id: "n".into(), ..notice })).await;
    let alerts = alertmanager.alerts().await;
    assert_eq!(alerts.len(), 2);
    let hostile = alerts.iter().find(|alert| alert["labels"]["namespace"] == "default").unwrap();
    assert_eq!(hostile["labels"]["alertname"], "memory-high", "what it is about is ours to say");
    assert_eq!((&hostile["labels"]["app_kubernetes_io_name"], &hostile["labels"]["_1st"]), (&json!("web"), &json!("x")));
    assert!(hostile["annotations"]["summary"].as_str().unwrap().contains("<script>"), "JSON carries it as it is");
    let mut firing = firing();
    firing.firing.clear();
    alertmanager.tell(&firing).await;
    assert_eq!(alertmanager.alerts().await.len(), 2, "nothing to say is not an error");
}
