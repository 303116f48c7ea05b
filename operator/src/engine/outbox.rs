//! Takes what is due out of the outbox and has it delivered, at least once.
//!
//! ```text
//! due, by receiver ─► its rate? two under way? ─► a try ─► what came of it is stored ─► next
//! ```
//!
//! A receiver that hangs holds two tries, and nobody else up; one that was sent enough for now is asked again later, and holds none. What came
//! of a try is kept until the store takes it: only a process that is killed between the two tries again, under the same id.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use api::feed::{Change, Subject};
use api::view::SharedView;
use crds::Kind;
use jiff::Timestamp;
use notify::retry::{Backoff, Bucket, Next, Rate};
use notify::{Category, Error, Reached};
use reconcile::Name;
use reconcile::alerting::Notice;
use store::{Delivery, Due, NoticeRow, Store};
use tokio::sync::{Notify, mpsc};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

/// Tries under way, of all receivers: each holds a connection, and waits most of its time.
const AT_ONCE: usize = 32;
/// Tries under way for one receiver.
const EACH: usize = 2;
/// Longest time of one try.
const LIMIT: Duration = Duration::from_secs(60);
/// Longest time between two looks into the outbox; news come with a word.
const LOOK: Duration = Duration::from_secs(30);
/// Time until a store that refused is asked again.
const AGAIN: Duration = Duration::from_secs(2);
/// Time until a store that did not take whom a notice reached is asked again.
const NOTE_AGAIN: Duration = Duration::from_millis(500);
/// Least time between two looks at how it stands as a whole.
const STANDING: Duration = Duration::from_secs(2);

/// Delivers one notice to whom it has not reached yet.
pub(crate) trait Deliver: Clone + Send + Sync + 'static {
    /// Tries once.
    fn deliver(&self, notice: Notice, reached: Reached) -> impl Future<Output = Result<(), Error>> + Send;
    /// Whether nothing is sent to it for now: what lies there for it waits.
    fn is_suspended(&self, receiver: &Name) -> bool;
    /// Who is told instead of what is given up for this one.
    fn fallback(&self, receiver: &Name) -> Option<Name>;
}

/// Delivers until it is stopped. `news` is told when something was written into the outbox.
pub(crate) async fn run(store: Arc<Store>, view: SharedView, news: Arc<Notify>, deliver: impl Deliver, backoff: Backoff) {
    let mut outbox = Outbox { backoff, ..Outbox::new(store, view, deliver, Rate::default()) };
    loop {
        let wait = match outbox.look().await {
            Ok(wait) => wait,
            Err(error) => {
                tracing::debug!(%error, "the outbox can't be read or written");
                AGAIN
            }
        };
        tokio::select! {
            () = outbox.came_to_an_end() => {}
            () = news.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Whom a notice has reached by now, and what came of the try.
type Tried = (Vec<String>, Result<(), Error>);

/// What came of a try, to be stored.
struct Ended {
    delivery: Delivery,
    reached: Vec<String>,
    instead: Option<Notice>,
}

/// What the outbox has under way.
struct Outbox<D> {
    store: Arc<Store>,
    view: SharedView,
    deliver: D,
    rate: Rate,
    backoff: Backoff,
    tries: JoinSet<Tried>,
    under_way: HashMap<Id, NoticeRow>,
    /// What came of tries, by the notice's id, not stored yet: they are not tried again meanwhile.
    ended: BTreeMap<String, Ended>,
    /// What is left of each receiver's rate.
    buckets: BTreeMap<Name, Bucket>,
    /// When it was last looked at as a whole, and whether something changed since.
    stood_at: Option<Instant>,
    changed: bool,
}

impl<D: Deliver> Outbox<D> {
    fn new(store: Arc<Store>, view: SharedView, deliver: D, rate: Rate) -> Self {
        let (tries, under_way, ended, buckets) = (JoinSet::new(), HashMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { store, view, deliver, rate, backoff: Backoff::default(), tries, under_way, ended, buckets, stood_at: None, changed: true }
    }

    /// Waits until a try has come to its end; for ever, if none is under way.
    async fn came_to_an_end(&mut self) {
        match self.tries.join_next_with_id().await {
            None => std::future::pending().await,
            Some(ended) => self.take(ended),
        }
    }

    /// Stores what has ended, and begins what is due and has room. Returns how long there is nothing more to do, unless something ends.
    async fn look(&mut self) -> Result<Duration, store::Error> {
        while let Some(ended) = self.tries.try_join_next_with_id() {
            self.take(ended);
        }
        self.write_down().await?;
        let due = self.store.due_notices(Timestamp::now(), u32::try_from(2 * EACH).unwrap_or(u32::MAX)).await?;
        let opens = self.begin(due).await?;
        self.show().await?;
        let next = self.store.next_notice().await?;
        // What waits for another one of its thread is due, and yet not: it must not be asked for all the time.
        let wait = |at: Timestamp| Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default();
        let next = next.map(|at| wait(at).max(AGAIN));
        let show = self.changed.then_some(STANDING);
        Ok(next.into_iter().chain(opens.map(wait)).chain(show).min().unwrap_or(LOOK).min(LOOK))
    }

    fn take(&mut self, ended: Result<(Id, Tried), JoinError>) {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let Some(row) = self.under_way.remove(&id) else { return };
        let (reached, outcome) = ended.map_or_else(
            |error| {
                tracing::error!(%error, "a try to deliver broke off");
                (row.reached.clone(), Err(Error::new(Category::Server, "the try broke off")))
            },
            |(_, tried)| tried,
        );
        let delivery = decide(self.backoff, &row, &outcome, Timestamp::now());
        let (receiver, id) = (&row.notice.receiver, &row.notice.id);
        let (word, instead) = match &delivery {
            Delivery::Done => {
                tracing::info!(%receiver, id, "said");
                ("said", None)
            }
            Delivery::Later(at, problem) => {
                tracing::warn!(%receiver, id, problem, again = %at, "could not be said yet");
                ("failed", None)
            }
            Delivery::Dead(problem) => {
                let instead = self.deliver.fallback(receiver).and_then(|to| row.notice.instead(&to, problem));
                let to = instead.as_ref().map_or("nobody".to_owned(), |notice| notice.receiver.to_string());
                tracing::error!(%receiver, id, problem, instead = to, "given up");
                ("given-up", instead)
            }
        };
        let feed = {
            let mut view = self.write();
            *view.outbox.tries.entry(word).or_default() += 1;
            view.feed.clone()
        };
        feed.changed([Change::of(Subject::Object(Kind::Receiver, receiver.clone()))]);
        // Who was reached is of no interest once it is over.
        let reached = if matches!(delivery, Delivery::Later(..)) { reached } else { Vec::new() };
        self.ended.insert(id.clone(), Ended { delivery, reached, instead });
    }

    /// What came of tries, as long as the store takes it.
    async fn write_down(&mut self) -> Result<(), store::Error> {
        while let Some(entry) = self.ended.first_entry() {
            let Ended { delivery, reached, instead } = entry.get();
            self.store.tried(entry.key(), delivery, reached, instead.as_ref(), Timestamp::now()).await?;
            entry.remove();
            self.changed = true;
        }
        Ok(())
    }

    /// Begins what there is room for; returns when the next receiver may be sent something again that was sent enough for now.
    async fn begin(&mut self, due: Vec<Due>) -> Result<Option<Timestamp>, store::Error> {
        let mut busy: BTreeMap<Name, usize> = BTreeMap::new();
        for row in self.under_way.values() {
            *busy.entry(row.notice.receiver.clone()).or_default() += 1;
        }
        let taken: BTreeSet<&str> =
            self.under_way.values().map(|row| row.notice.id.as_str()).chain(self.ended.keys().map(String::as_str)).collect();
        let mut turns: Vec<(usize, Due)> = Vec::new();
        // A trial is answered all the same: by that.
        let waits = |due: &Due| !due.id.starts_with("trial-") && self.deliver.is_suspended(&due.receiver);
        for due in due.into_iter().filter(|due| !taken.contains(due.id.as_str()) && !waits(due)) {
            let turn = busy.entry(due.receiver.clone()).or_default();
            *turn += 1;
            turns.push((*turn, due));
        }
        // First who has none under way: nobody's second goes before another's first.
        turns.retain(|(turn, _)| *turn <= EACH);
        turns.sort_by_key(|(turn, _)| *turn);
        let (now, rate, mut opens) = (Timestamp::now(), self.rate, None::<Timestamp>);
        for (_, due) in turns {
            if self.under_way.len() >= AT_ONCE {
                break;
            }
            if let Err(at) = self.buckets.entry(due.receiver.clone()).or_insert_with(|| Bucket::full(rate, now)).take(rate, now) {
                opens = Some(opens.map_or(at, |before| before.min(at)));
                continue;
            }
            if let Some(row) = self.store.notice(&due.id).await? {
                let id = self.tries.spawn(attempt(self.store.clone(), self.deliver.clone(), row.clone())).id();
                self.under_way.insert(id, row);
            }
        }
        self.buckets.retain(|_, bucket| !bucket.is_full(rate, now));
        Ok(opens)
    }

    /// How it stands, for whoever looks.
    async fn show(&mut self) -> Result<(), store::Error> {
        let is_soon = self.stood_at.is_some_and(|at| at.elapsed() < if self.changed { STANDING } else { LOOK });
        let standing = if is_soon { None } else { Some(self.store.standing().await?) };
        if standing.is_some() {
            (self.stood_at, self.changed) = (Some(Instant::now()), false);
        }
        let mut view = self.write();
        view.outbox.looked_at = Some(Timestamp::now());
        if let Some(mut standing) = standing {
            // Who is not there any more is missed by nobody; as long as nothing is in force, nobody knows who is there.
            let desired = view.desired.clone();
            let is_there = |receiver: &Name| desired.objects.contains_key(&(Kind::Receiver, receiver.clone()));
            standing.lost.retain(|lost| desired.revision.commit.is_empty() || is_there(&lost.receiver));
            view.outbox.standing = standing;
        }
        Ok(())
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, api::view::View> {
        self.view.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// One try. Whom it reaches is stored before the next one is told, where there are more to reach: whatever cuts it, nobody is told twice but the one
/// before the cut. While the store takes nothing, nobody else is told.
async fn attempt(store: Arc<Store>, deliver: impl Deliver, row: NoticeRow) -> Tried {
    let (tell, mut told) = mpsc::unbounded_channel();
    let mut reached = row.reached.clone();
    let deadline = Instant::now() + LIMIT;
    let mut trying = std::pin::pin!(deliver.deliver(row.notice.clone(), Reached::telling(reached.clone(), tell).after(row.attempts)));
    let outcome = loop {
        tokio::select! {
            biased;
            outcome = &mut trying => break outcome,
            Some(one) = told.recv() => {
                reached.push(one.name.clone());
                if tokio::time::timeout_at(deadline, note(&store, &row.notice.id, &reached)).await.is_err() {
                    break Err(Error::new(Category::Timeout, "whom it reached could not be stored in time"));
                }
                one.noted();
            }
            () = tokio::time::sleep_until(deadline) => break Err(Error::new(Category::Timeout, "no answer in time")),
        }
    };
    (reached, outcome)
}

/// Notes down whom a notice has reached, when the store takes it.
async fn note(store: &Store, id: &str, reached: &[String]) {
    while let Err(error) = store.reached(id, reached).await {
        tracing::debug!(%error, "whom a notice reached could not be stored yet");
        tokio::time::sleep(NOTE_AGAIN).await;
    }
}

fn decide(backoff: Backoff, row: &NoticeRow, outcome: &Result<(), Error>, now: Timestamp) -> Delivery {
    let Err(error) = outcome else { return Delivery::Done };
    // What failed together is not tried together.
    let dice = f64::from(u32::try_from(RandomState::new().hash_one(&row.notice.id) >> 32).unwrap_or_default()) / f64::from(u32::MAX);
    match backoff.next(error, row.attempts + 1, (row.recorded_at, now), dice) {
        Next::Again(at) => Delivery::Later(at, error.to_string()),
        Next::DeadLetter(why) => Delivery::Dead(format!("{error}; {}", why.as_str())),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use reconcile::alerting::Reason;
    use reconcile::alerting::alerts::Changes;
    use store::Options;

    use super::*;

    fn notice(receiver: &str, id: &str) -> Notice {
        Notice {
            id: id.into(),
            receiver: Name::parse(receiver),
            thread: id.into(),
            reason: Reason::First,
            at: Timestamp::UNIX_EPOCH,
            group: Default::default(),
            firing: Vec::new(),
            resolved: Vec::new(),
            left_off: (0, 0),
            instead: None,
        }
    }

    /// Does as the receiver's name says, and remembers what it was asked for.
    #[derive(Clone, Default)]
    struct Fake(Arc<Remembered>);

    #[derive(Default)]
    struct Remembered {
        asked: Mutex<Vec<String>>,
        is_awake: Mutex<bool>,
    }

    impl Deliver for Fake {
        async fn deliver(&self, notice: Notice, reached: Reached) -> Result<(), Error> {
            self.0.asked.lock().unwrap().push(notice.id.clone());
            match notice.receiver.name() {
                "hanging" => std::future::pending().await,
                "broken" => panic!("a defect"),
                "bad" => Err(Error::new(Category::Refused, "550")),
                "busy" => Err(Error::new(Category::Server, "451")),
                "two" => {
                    reached.took("one").await;
                    self.0.asked.lock().unwrap().push("the second one".into());
                    Ok(())
                }
                "half" => {
                    reached.took("+31611111111").await;
                    std::future::pending().await
                }
                _ => {
                    tokio::task::yield_now().await;
                    Ok(())
                }
            }
        }

        fn is_suspended(&self, receiver: &Name) -> bool {
            receiver.name() == "asleep" && !*self.0.is_awake.lock().unwrap()
        }

        fn fallback(&self, receiver: &Name) -> Option<Name> {
            // Each names the other one.
            match receiver.name() {
                "bad" => Some(Name::parse("boss")),
                "boss" => Some(Name::parse("bad")),
                _ => None,
            }
        }
    }

    impl Fake {
        fn asked(&self) -> Vec<String> {
            self.0.asked.lock().unwrap().clone()
        }
    }

    async fn open(data: &std::path::Path) -> Arc<Store> {
        Arc::new(Store::open(&Options { data: data.to_owned(), url: None }).await.unwrap())
    }

    async fn put(store: &Store, notices: Vec<Notice>) {
        store.record_alerts(&Changes { notices, ..Changes::default() }, Vec::new(), Timestamp::now()).await.unwrap();
    }

    fn outbox(store: &Arc<Store>, fake: &Fake) -> Outbox<Fake> {
        Outbox::new(store.clone(), SharedView::default(), fake.clone(), Rate::default())
    }

    /// Looks and waits until it is as said, for a bounded time.
    async fn until(outbox: &mut Outbox<Fake>, mut is_so: impl AsyncFnMut() -> bool) {
        for _ in 0..2000 {
            outbox.look().await.unwrap();
            if is_so().await {
                return;
            }
            let _ = tokio::time::timeout(Duration::from_millis(10), outbox.came_to_an_end()).await;
        }
        panic!("it never became so");
    }

    async fn finished(store: &Store, receiver: &str) -> usize {
        let rows = store.notices(1000).await.unwrap();
        rows.iter().filter(|row| row.notice.receiver.name() == receiver && row.finished_at.is_some()).count()
    }

    #[tokio::test]
    async fn what_is_due_is_tried_once_and_what_failed_is_kept() {
        let data = tempfile::tempdir().unwrap();
        let (store, fake) = (open(data.path()).await, Fake::default());
        put(&store, vec![notice("good", "n-good"), notice("bad", "n-bad"), notice("busy", "n-busy"), notice("broken", "n-broken")]).await;
        let mut outbox = outbox(&store, &fake);
        until(&mut outbox, async || store.notices(10).await.unwrap().iter().all(|row| row.attempts > 0)).await;
        let mut rows = store.notices(10).await.unwrap();
        rows.sort_by(|a, b| a.notice.id.cmp(&b.notice.id));
        let shown: Vec<_> =
            rows.iter().map(|row| (row.notice.id.as_str(), row.is_dead, row.finished_at.is_some(), row.problem.as_str())).collect();
        let expected = [
            ("n-bad", true, true, "550; trying again can't help"),
            ("n-bad-instead", false, true, ""),
            ("n-broken", false, false, "the try broke off"),
            ("n-busy", false, false, "451"),
            ("n-good", false, true, ""),
        ];
        assert_eq!(shown, expected);
        assert_eq!(fake.asked().len(), 5, "each once: {:?}", fake.asked());
        assert_eq!(outbox.view.read().unwrap().outbox.tries, BTreeMap::from([("failed", 2), ("given-up", 1), ("said", 2)]));
    }

    /// Two that name each other don't say it for ever.
    #[tokio::test]
    async fn who_is_told_instead_is_the_last_one() {
        let data = tempfile::tempdir().unwrap();
        let (store, fake) = (open(data.path()).await, Fake::default());
        let instead = notice("boss", "n").instead(&Name::parse("bad"), "451").unwrap();
        put(&store, vec![instead]).await;
        let mut outbox = outbox(&store, &fake);
        until(&mut outbox, async || finished(&store, "bad").await == 1).await;
        assert_eq!((store.notices(10).await.unwrap().len(), store.standing().await.unwrap().lost.len()), (1, 1));
    }

    #[tokio::test]
    async fn a_receiver_that_hangs_holds_nobody_else_up() {
        let data = tempfile::tempdir().unwrap();
        let (store, fake) = (open(data.path()).await, Fake::default());
        let many =
            |receiver: &str, count: usize| (0..count).map(|number| notice(receiver, &format!("{receiver}-{number}"))).collect::<Vec<_>>();
        put(&store, many("hanging", 500)).await;
        put(&store, many("good", 10)).await;
        let mut outbox = outbox(&store, &fake);
        until(&mut outbox, async || finished(&store, "good").await == 10).await;
        let hanging = fake.asked().iter().filter(|id| id.starts_with("hanging")).count();
        assert_eq!(hanging, EACH, "it has no more than its own tries");
    }

    #[tokio::test]
    async fn all_tries_together_have_a_bound() {
        let data = tempfile::tempdir().unwrap();
        let (store, fake) = (open(data.path()).await, Fake::default());
        let elsewhere =
            |number: usize| Notice { receiver: Name::new(&format!("ns-{number}"), "hanging"), ..notice("hanging", &format!("n-{number}")) };
        put(&store, (0..100).map(elsewhere).collect()).await;
        let mut outbox = outbox(&store, &fake);
        for _ in 0..5 {
            outbox.look().await.unwrap();
            tokio::task::yield_now().await;
        }
        assert_eq!((fake.asked().len(), outbox.under_way.len()), (AT_ONCE, AT_ONCE));
    }

    /// It is asked again later: no try is counted, and no place is held.
    #[tokio::test]
    async fn who_was_sent_enough_for_now_waits_without_a_try() {
        let data = tempfile::tempdir().unwrap();
        let (store, fake) = (open(data.path()).await, Fake::default());
        put(&store, (0..30).map(|number| notice("good", &format!("n-{number:02}"))).collect()).await;
        let mut outbox = outbox(&store, &fake);
        outbox.rate = Rate { burst: 5, per_minute: 1 };
        until(&mut outbox, async || finished(&store, "good").await == 5).await;
        let wait = outbox.look().await.unwrap();
        assert_eq!((outbox.under_way.len(), fake.asked().len()), (0, 5));
        assert!(wait <= LOOK && wait >= STANDING, "it is looked at again by itself, and not all the time: {wait:?}");
        assert_eq!(store.notices(100).await.unwrap().iter().map(|row| row.attempts).sum::<u32>(), 5);
        put(&store, vec![notice("other", "n-other")]).await;
        until(&mut outbox, async || finished(&store, "other").await == 1).await;
    }

    /// It is no try, nothing is given up for it, and nobody is told that it was said; a trial is answered.
    #[tokio::test]
    async fn what_is_for_a_suspended_receiver_waits() {
        let data = tempfile::tempdir().unwrap();
        let (store, fake) = (open(data.path()).await, Fake::default());
        put(&store, vec![notice("asleep", "n"), notice("asleep", "trial-1"), notice("good", "n-good")]).await;
        let mut outbox = outbox(&store, &fake);
        until(&mut outbox, async || finished(&store, "good").await + finished(&store, "asleep").await == 2).await;
        let row = store.notice("n").await.unwrap().unwrap();
        assert_eq!((row.attempts, row.finished_at, fake.asked().len()), (0, None, 2));
        *fake.0.is_awake.lock().unwrap() = true;
        until(&mut outbox, async || finished(&store, "asleep").await == 2).await;
    }

    /// Whom a try reached before the engine was killed in its middle is not told again.
    #[tokio::test]
    async fn a_kill_in_the_middle_of_a_try_forgets_nobody() {
        let data = tempfile::tempdir().unwrap();
        let (store, fake) = (open(data.path()).await, Fake::default());
        put(&store, vec![notice("half", "n-half")]).await;
        let mut killed = outbox(&store, &fake);
        until(&mut killed, async || !store.notice("n-half").await.unwrap().unwrap().reached.is_empty()).await;
        drop(killed);
        let row = store.notice("n-half").await.unwrap().unwrap();
        assert_eq!((row.reached.as_slice(), row.attempts, row.finished_at), (&["+31611111111".to_owned()][..], 0, None));
        assert_eq!(store.due_notices(Timestamp::now(), 4).await.unwrap().len(), 1, "and it is tried again");
    }

    /// What was sent to somebody and can't be stored is at most one thing of each try.
    #[tokio::test]
    async fn nobody_else_is_told_while_the_store_is_away() {
        let data = tempfile::tempdir().unwrap();
        let (store, fake) = (open(data.path()).await, Fake::default());
        put(&store, vec![notice("two", "n")]).await;
        let row = store.notice("n").await.unwrap().unwrap();
        let away = open(&data.path().join("away")).await;
        away.close().await;
        let trying = attempt(away, fake.clone(), row.clone());
        assert!(tokio::time::timeout(Duration::from_millis(100), trying).await.is_err(), "it waits");
        assert_eq!(fake.asked(), ["n"]);
        let (reached, outcome) = attempt(store.clone(), fake.clone(), row).await;
        assert!(outcome.is_ok() && reached == ["one"] && fake.asked() == ["n", "n", "the second one"]);
    }

    /// What came of a try is kept until the store takes it.
    #[tokio::test]
    async fn a_store_that_is_away_makes_nobody_be_told_twice() {
        let data = tempfile::tempdir().unwrap();
        let (store, fake) = (open(data.path()).await, Fake::default());
        put(&store, vec![notice("good", "n-good")]).await;
        let mut outbox = outbox(&store, &fake);
        outbox.look().await.unwrap();
        let away = open(&data.path().join("away")).await;
        away.close().await;
        outbox.store = away;
        outbox.came_to_an_end().await;
        for _ in 0..3 {
            assert!(outbox.look().await.is_err());
        }
        outbox.store = store.clone();
        until(&mut outbox, async || finished(&store, "good").await == 1).await;
        assert_eq!(fake.asked(), ["n-good"]);
    }
}
