//! Notices to tell, receivers to tell them to, and whether a program is there to be told.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Child;

use crds::{ReceiverSpec, Severity};
use jiff::Timestamp;
use notify::Secret;
use reconcile::Name;
use reconcile::alerting::{LastChange, Notice, Reason, Receiver, Said};
use zeroize::Zeroizing;

pub fn at(time: &str) -> Timestamp {
    format!("2026-11-26T{time}Z").parse().unwrap()
}

pub fn said(device: &str, summary: &str) -> Said {
    Said {
        id: format!("a-{device}"),
        rule: Name::parse("memory-high"),
        device: Name::parse(device),
        severity: Severity::Critical,
        labels: BTreeMap::from([("site".to_owned(), "ams1".to_owned()), ("role".to_owned(), "web".to_owned())]),
        summary: summary.into(),
        value: Some(0.913),
        since: at("12:00:00"),
        ended: None,
        last_change: Some(LastChange {
            deployment: Name::parse("nginx"),
            revision: "3".into(),
            version: "nginx 1.24.0-1".into(),
            commit: "0123456789abcdef0123456789abcdef01234567".into(),
            author: "ann@example.com".into(),
            at: at("11:56:00"),
        }),
        behind: 0,
    }
}

/// One alert that fires.
pub fn firing() -> Notice {
    Notice {
        id: "n-0001".into(),
        receiver: Name::parse("oncall"),
        thread: "t-memory-ams1".into(),
        reason: Reason::First,
        at: at("12:05:00"),
        group: BTreeMap::from([("rule".to_owned(), "memory-high".to_owned()), ("site".to_owned(), "ams1".to_owned())]),
        firing: vec![said("web-01", "web-01: memory at 91.3 %")],
        resolved: Vec::new(),
        left_off: (0, 0),
        instead: None,
    }
}

/// The same, well again.
pub fn resolved() -> Notice {
    let ended = Said { ended: Some(at("12:20:00")), ..said("web-01", "web-01: memory at 91.3 %") };
    Notice { id: "n-0002".into(), reason: Reason::AllResolved, at: at("12:20:30"), firing: Vec::new(), resolved: vec![ended], ..firing() }
}

/// Several at once, of each sort.
pub fn grouped() -> Notice {
    let mut switch = said("sw-ams1-01", "sw-ams1-01 does not answer");
    (switch.behind, switch.last_change, switch.rule) = (12, None, Name::parse("dead"));
    let warning = Said {
        severity: Severity::Warning,
        ..said(
            "web-02",
            "web-02: memory at 84 % and rising, at this rate it is full in 3h; the last time this happened it was the search index being rebuilt after midnight",
        )
    };
    let ended = Said { ended: Some(at("12:04:00")), ..said("web-03", "web-03: memory at 90.2 %") };
    Notice {
        id: "n-0003".into(),
        reason: Reason::NewResolved,
        firing: vec![switch, said("web-01", "web-01: memory at 91.3 %"), warning],
        resolved: vec![ended],
        left_off: (41, 2),
        ..firing()
    }
}

/// What a hostile device would like to be told.
pub const HOSTILE: &str = "x\r\nBcc: evil@example.com\r\n\r\n<script>alert(1)</script> \"}],\"to\":\"+1\" &to=%2B1 {{ secret.token }} \u{202e}\u{1b}]0;x\u{7} <!channel> [y](http://evil) \u{0}end";

pub fn hostile() -> Notice {
    let mut notice = firing();
    notice.firing[0].summary = HOSTILE.into();
    notice.firing[0].labels.insert("site".into(), HOSTILE.into());
    notice.group.insert("site".into(), HOSTILE.into());
    if let Some(change) = &mut notice.firing[0].last_change {
        change.revision = HOSTILE.into();
        change.commit = HOSTILE.into();
    }
    notice
}

pub fn receiver(spec: serde_json::Value) -> Receiver {
    let spec: ReceiverSpec = serde_json::from_value(spec).unwrap();
    let (receiver, wrong) = Receiver::of(&Name::parse("oncall"), &spec);
    receiver.unwrap_or_else(|| panic!("{wrong:?}"))
}

pub fn secret<const N: usize>(values: [(&str, &str); N]) -> Secret {
    values.into_iter().map(|(key, value)| (key.to_owned(), Zeroizing::new(value.as_bytes().to_vec()))).collect::<BTreeMap<_, _>>().into()
}

/// Whether a test can't run since a program is missing; in CI that is a failure.
#[allow(dead_code, reason = "shared with others")]
pub fn is_missing(program: &str) -> bool {
    let is_there = ["/usr/bin", "/usr/local/bin", "/usr/sbin"].iter().any(|folder| Path::new(folder).join(program).exists());
    if !is_there {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{program} is missing, and in CI nothing is skipped");
        eprintln!("SKIPPED: {program} is missing");
    }
    !is_there
}

/// A program that ends with the test.
#[allow(dead_code, reason = "shared with others")]
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
