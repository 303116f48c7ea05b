//! Our own JSON. docs/notifications.md describes it; what is added later is added, and what is taken away or means something else gets another
//! `version`.

use reconcile::alerting::{LastChange, Notice, Said};
use serde_json::{Value, json};

use crate::words::{View, severity};

/// Of this shape.
const VERSION: u32 = 1;

pub(super) fn body(notice: &Notice, view: &View) -> Value {
    json!({
        "version": VERSION,
        "id": notice.id,
        "thread": notice.thread,
        "receiver": notice.receiver.full(),
        "reason": notice.reason,
        "status": view.status,
        "title": view.title,
        "at": notice.at,
        "group": notice.group,
        "count": view.count,
        "firing": notice.firing.iter().map(alert).collect::<Vec<_>>(),
        "resolved": notice.resolved.iter().map(alert).collect::<Vec<_>>(),
        "url": view.url,
        "instead": notice.instead.as_ref().map(|instead| json!({"of": instead.of.full(), "problem": reconcile::alerting::text::neutral(&instead.problem)})),
    })
}

/// Names are always written with their namespace here, so that a program need not know what a missing one means.
fn alert(said: &Said) -> Value {
    json!({
        "id": said.id,
        "rule": said.rule.full(),
        "device": said.device.full(),
        "severity": severity(said.severity),
        "labels": said.labels,
        "summary": reconcile::alerting::text::neutral(&said.summary),
        "value": said.value.filter(|value| value.is_finite()),
        "since": said.since,
        "ended": said.ended,
        "lastChange": said.last_change.as_ref().map(change),
        "behind": said.behind,
    })
}

fn change(change: &LastChange) -> Value {
    let LastChange { deployment, revision, version, commit, author, at } = change;
    json!({"deployment": deployment.full(), "revision": revision, "version": version, "commit": commit, "author": author, "at": at})
}
