//! Events (events.k8s.io/v1): what a person wants to read in `kubectl describe`. The same event again within some minutes becomes a series.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use reconcile::Key;
use reconcile::content::Digest;

use crate::{Cluster, Error, within};

/// The API's own limit of a note, in bytes.
const NOTE: usize = 1024;

/// Something that happened to an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// The object.
    pub key: Key,
    /// One word in PascalCase.
    pub reason: &'static str,
    /// For people.
    pub note: String,
    /// Somebody may want to look.
    pub is_warning: bool,
}

/// Publishes.
pub struct Events {
    recorder: Recorder,
}

impl Cluster {
    /// Events published by this process.
    pub fn events(&self, instance: &str) -> Events {
        let reporter = Reporter { controller: "evenkeel.dev/operator".into(), instance: Some(instance.to_owned()) };
        Events { recorder: Recorder::new(self.client.clone(), reporter) }
    }

    /// Publishes one; of an object that is gone nothing is said.
    pub async fn publish(&self, events: &Events, happening: &Happening) -> Result<(), Error> {
        let Some(known) = self.known(&happening.key) else { return Ok(()) };
        let (kind, name) = &happening.key;
        let reference = ObjectReference {
            api_version: Some(format!("{}/{}", crds::GROUP, crds::VERSION)),
            kind: Some(kind.as_str().into()),
            namespace: Some(name.namespace().into()),
            name: Some(name.name().into()),
            uid: Some(known.uid),
            ..ObjectReference::default()
        };
        let event = Event {
            type_: if happening.is_warning { EventType::Warning } else { EventType::Normal },
            reason: happening.reason.into(),
            note: Some(cut(&happening.note)),
            // What makes events one series: the same reason with another note is another event.
            action: format!("{}-{}", happening.reason, &Digest::of(happening.note.as_bytes()).as_str()[..8]),
            secondary: None,
        };
        within(events.recorder.publish(&event, &reference)).await.map_err(Error::api(format!("an event of {} {name}", kind.as_str())))
    }
}

fn cut(note: &str) -> String {
    let end = (0..=note.len().min(NOTE)).rev().find(|at| note.is_char_boundary(*at)).unwrap_or_default();
    note[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_cut_at_the_limit_and_not_within_a_letter() {
        assert_eq!(cut(&"é".repeat(600)).len(), 1024);
        assert_eq!(cut(&format!("x{}", "é".repeat(600))).len(), 1023);
        assert_eq!(cut("short"), "short");
    }
}
