//! What changed in the view, numbered, for whoever listens.
//!
//! ```text
//! the loop writes the view ─► Feed::changed ─► the newest change of each thing, by number ─► Feed::after ─► listeners
//! ```
//!
//! Of each thing only its newest change is kept, under a number of its own. So who reads slowly, or was away, is told of each thing once,
//! nothing is buffered for anybody, and what is kept is bounded by [`KEPT`]: who asks for older ones has to look at everything anew.

mod listeners;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crds::{Kind, Object};
use reconcile::{Key, Name};
use serde_json::json;
use tokio::sync::watch;

pub use listeners::{Ended, Listeners, NoRoom, Seat};

/// Things whose newest change is kept: a few megabytes. Whoever missed more is better off with new lists than with so many single changes.
const KEPT: usize = 16_384;
/// Listeners to lines of logs: each asks the store once in a second.
const TAILS: usize = 64;
/// Of one caller.
const TAILS_EACH: usize = 8;

/// A thing that can change.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// An object, or its status.
    Object(Kind, Name),
    /// The rollout of a Deployment.
    Rollout(Name),
    /// The alert of a rule on a device.
    Alert {
        /// The rule.
        rule: Name,
        /// The device.
        device: Name,
    },
    /// Where desired state comes from, and how that went.
    Source,
    /// The audit log: it has more entries.
    Audit,
    /// The engine itself: whether it acts, and whether its own network is up.
    Engine,
}

/// A thing changed.
#[derive(Debug)]
pub struct Change {
    /// What.
    pub subject: Subject,
    /// Of an alert, what it is called.
    pub id: String,
    /// It is not there any more.
    pub removed: bool,
    /// What it was, where it is gone: who might see that may know.
    pub was: Option<Arc<Object>>,
    number: OnceLock<u64>,
    text: OnceLock<String>,
}

impl Change {
    /// Something is otherwise than before.
    pub fn of(subject: Subject) -> Self {
        Self { subject, id: String::new(), removed: false, was: None, number: OnceLock::new(), text: OnceLock::new() }
    }

    /// An object is gone.
    pub fn gone(key: Key, was: Option<Arc<Object>>) -> Self {
        Self { removed: true, was, ..Self::of(Subject::Object(key.0, key.1)) }
    }

    /// An alert is otherwise than before; without an id it is gone.
    pub fn alert(rule: &Name, device: &Name, id: Option<&str>) -> Self {
        let subject = Subject::Alert { rule: rule.clone(), device: device.clone() };
        Self { id: id.unwrap_or_default().to_owned(), removed: id.is_none(), ..Self::of(subject) }
    }

    /// Its number.
    pub fn number(&self) -> u64 {
        self.number.get().copied().unwrap_or_default()
    }

    /// As it is told: rendered once, however many listen.
    fn text(&self, epoch: &str) -> &str {
        self.text.get_or_init(|| {
            let what = if self.removed { "removed" } else { "changed" };
            let plain =
                |kind: &str, name: &Name| json!({"kind": kind, "namespace": name.namespace(), "name": name.name(), "what": what});
            let data = match &self.subject {
                Subject::Object(kind, name) => plain(kind.as_str(), name),
                Subject::Rollout(name) => plain("Rollout", name),
                Subject::Alert { rule, device } => json!({"kind": "Alert", "namespace": rule.namespace(), "name": self.id, "what": what, "rule": rule.full(), "device": device.full()}),
                Subject::Source => json!({"kind": "Source", "what": what}),
                Subject::Audit => json!({"kind": "Audit", "what": what}),
                Subject::Engine => json!({"kind": "Engine", "what": what}),
            };
            format!("id: {epoch}-{}\nevent: change\ndata: {data}\n\n", self.number())
        })
    }
}

/// What came after a place in the feed.
#[derive(Debug)]
pub enum After {
    /// These, the oldest first.
    Changes(Vec<Arc<Change>>),
    /// Some of it is not known any more.
    Passed,
}

/// The feed of one process.
#[derive(Debug)]
pub struct Feed {
    /// Numbers of another process mean nothing here.
    epoch: String,
    kept: Mutex<Kept>,
    news: watch::Sender<u64>,
    /// Who listens.
    pub listeners: Arc<Listeners>,
    /// Who listens to lines of logs.
    pub tails: Arc<Listeners>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Of the newest change.
    number: u64,
    /// Changes up to this number may be missing.
    passed: u64,
    changes: BTreeMap<u64, Arc<Change>>,
    newest: HashMap<Subject, u64>,
}

impl Default for Feed {
    fn default() -> Self {
        // Two processes don't begin at the same microsecond, and if they did, a listener would look at too little once.
        let epoch = format!("{:x}", jiff::Timestamp::now().as_microsecond());
        let tails = Arc::new(Listeners::with(TAILS, TAILS_EACH));
        Self { epoch, kept: Mutex::default(), news: watch::channel(0).0, listeners: Arc::default(), tails }
    }
}

impl Feed {
    /// These changed. What is shown of them has to be written already: who hears of it looks at once.
    pub fn changed(&self, changes: impl IntoIterator<Item = Change>) {
        let newest = {
            let mut kept = self.kept();
            let before = kept.number;
            changes.into_iter().for_each(|change| kept.take(change, KEPT));
            if kept.number == before {
                return;
            }
            kept.number
        };
        self.news.send_replace(newest);
    }

    /// The number of the newest change.
    pub fn newest(&self) -> u64 {
        self.kept().number
    }

    /// What came after this number, at most so many.
    pub fn after(&self, number: u64, most: usize) -> After {
        let kept = self.kept();
        if number < kept.passed {
            return After::Passed;
        }
        After::Changes(kept.changes.range(number.saturating_add(1)..).take(most).map(|(_, change)| change.clone()).collect())
    }

    /// Tells that there is something new, by the newest number.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// The name of a place, as a listener gives it back when it comes again.
    pub fn id(&self, number: u64) -> String {
        format!("{}-{number}", self.epoch)
    }

    /// The place of this name, if it is one of this process.
    pub fn place(&self, id: &str) -> Option<u64> {
        let (epoch, number) = id.split_once('-')?;
        let number = number.parse().ok()?;
        (epoch == self.epoch && number <= self.newest()).then_some(number)
    }

    /// A change as an event.
    pub fn event<'a>(&self, change: &'a Change) -> &'a str {
        change.text(&self.epoch)
    }

    /// Sends away all listeners of a caller who may not listen any more.
    pub fn end(&self, caller: &str, why: &'static str) {
        self.listeners.end(caller, why);
        self.tails.end(caller, why);
    }

    /// Sends away everybody, for good.
    pub fn close(&self, why: &'static str) {
        self.listeners.close(why);
        self.tails.close(why);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn take(&mut self, change: Change, most: usize) {
        self.number += 1;
        let _ = change.number.set(self.number);
        if let Some(before) = self.newest.insert(change.subject.clone(), self.number) {
            self.changes.remove(&before);
        }
        self.changes.insert(self.number, Arc::new(change));
        if self.changes.len() > most
            && let Some((number, oldest)) = self.changes.pop_first()
        {
            self.newest.remove(&oldest.subject);
            self.passed = number;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(number: usize) -> Change {
        Change::of(Subject::Object(Kind::Device, Name::parse(&format!("d-{number}"))))
    }

    fn names(after: &After) -> Vec<String> {
        let After::Changes(changes) = after else { return vec!["passed".into()] };
        changes
            .iter()
            .map(|change| match &change.subject {
                Subject::Object(_, name) => format!("{}:{name}", change.number()),
                other => format!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn of_each_thing_only_the_newest_change_is_told() {
        let feed = Feed::default();
        feed.changed([device(1), device(2), device(1), device(3)]);
        assert_eq!(names(&feed.after(0, 10)), ["2:d-2", "3:d-1", "4:d-3"]);
        assert_eq!(names(&feed.after(3, 10)), ["4:d-3"]);
        assert_eq!(names(&feed.after(0, 2)), ["2:d-2", "3:d-1"]);
        assert!(names(&feed.after(4, 10)).is_empty() && names(&feed.after(u64::MAX, 10)).is_empty());
    }

    #[test]
    fn who_missed_more_than_is_kept_is_told_so() {
        let feed = Feed::default();
        feed.changed((0..KEPT + 2).map(device));
        assert_eq!(names(&feed.after(1, 10)), ["passed"]);
        assert_eq!(names(&feed.after(2, 1)), ["3:d-2"]);
        let kept = feed.kept();
        assert_eq!((kept.changes.len(), kept.newest.len(), kept.passed), (KEPT, KEPT, 2));
    }

    /// What changes again and again pushes nothing else out.
    #[test]
    fn one_thing_takes_one_place() {
        let feed = Feed::default();
        feed.changed([device(0)]);
        (0..2 * KEPT).for_each(|_| feed.changed([device(1)]));
        assert_eq!(names(&feed.after(0, 10)), ["1:d-0".to_owned(), format!("{}:d-1", 2 * KEPT + 1)]);
    }

    #[test]
    fn a_place_is_one_of_this_process_only() {
        let feed = Feed::default();
        feed.changed([device(0), device(1)]);
        assert_eq!(feed.place(&feed.id(1)), Some(1));
        let ahead = feed.id(3);
        for other in ["", "1", "x-1", "-", &ahead, &format!("{}-x", feed.epoch), &format!("0-{}", u64::MAX)] {
            assert_eq!(feed.place(other), None, "{other}");
        }
    }

    #[test]
    fn a_change_is_told_as_an_event() {
        let feed = Feed::default();
        let (rule, web) = (Name::parse("team/cpu"), Name::parse("web\"1"));
        feed.changed([
            Change::gone((Kind::Device, web.clone()), None),
            Change::of(Subject::Rollout(rule.clone())),
            Change::alert(&rule, &web, Some("a1")),
            Change::of(Subject::Source),
        ]);
        let After::Changes(changes) = feed.after(0, 10) else { panic!("they are known") };
        let texts: String = changes.iter().map(|change| feed.event(change)).collect();
        assert_eq!(
            texts.replace(&feed.epoch, "e"),
            "id: e-1\nevent: change\ndata: {\"kind\":\"Device\",\"name\":\"web\\\"1\",\"namespace\":\"default\",\"what\":\"removed\"}\n\n\
             id: e-2\nevent: change\ndata: {\"kind\":\"Rollout\",\"name\":\"cpu\",\"namespace\":\"team\",\"what\":\"changed\"}\n\n\
             id: e-3\nevent: change\ndata: {\"device\":\"default/web\\\"1\",\"kind\":\"Alert\",\"name\":\"a1\",\"namespace\":\"team\",\"rule\":\"team/cpu\",\"what\":\"changed\"}\n\n\
             id: e-4\nevent: change\ndata: {\"kind\":\"Source\",\"what\":\"changed\"}\n\n"
        );
    }
}
