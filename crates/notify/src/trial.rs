//! What is said to try out a receiver. It goes the very way of a real alert, so that what works for one works for the other.

use jiff::Timestamp;
use reconcile::Name;
use reconcile::alerting::{Notice, Reason, Said};

/// A notice that says that it is only a trial. `id` is a new one each time; `by` is who asked for it.
pub fn trial(receiver: &Name, id: &str, by: &str, now: Timestamp) -> Notice {
    let said = Said {
        id: id.to_owned(),
        rule: receiver.sibling("trial"),
        device: receiver.sibling("no-device"),
        severity: crds::Severity::Info,
        labels: [("trial".to_owned(), "true".to_owned())].into(),
        summary: format!("This is a trial of the receiver {receiver}, asked for by {by}. Nothing is wrong."),
        value: None,
        since: now,
        ended: None,
        last_change: None,
        behind: 0,
    };
    Notice {
        id: id.to_owned(),
        receiver: receiver.clone(),
        thread: id.to_owned(),
        reason: Reason::Test,
        at: now,
        group: [("rule".to_owned(), "trial".to_owned())].into(),
        firing: vec![said],
        resolved: Vec::new(),
        left_off: (0, 0),
        instead: None,
    }
}
