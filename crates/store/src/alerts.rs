//! Alerts, what was said of them, and the outbox.

pub(crate) mod past;

use jiff::{SignedDuration, Timestamp};
use reconcile::Name;
use reconcile::alerting::alerts::Changes;
use reconcile::alerting::groups::Group;
use reconcile::alerting::state::Instance;
use reconcile::alerting::{Notice, Reason, Said};
use serde::Serialize;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::audit::{Entry, cut};
use crate::open::within;
use crate::rows::{flag, insert, json, maybe_time, number, query, text, time, to_json, to_word};
use crate::{Backend, Error, Store};

pub use past::{ALERTS_KEPT, Behind, Past};

/// Alerts, or groups, that are read by one statement at the start: all of them are, as one that was not read would fire anew.
const AT_ONCE: u32 = 10_000;
/// Notifications that are listed, or taken up, at once.
const PAGE: u32 = 1000;
/// How long what was delivered, or given up, is remembered.
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Old notifications that go with one write: more than one write adds, so that they can't pile up.
const PRUNED: u32 = 200;
/// Bytes of what went wrong with a delivery.
const PROBLEM: usize = 1 << 10;
/// Receivers that something waits for, found one after the other in the index, however much waits for one of them; with when the oldest that
/// waits was written, and the oldest summary of a storm.
macro_rules! held {
    () => {
        "WITH RECURSIVE waiting (receiver) AS (
        SELECT MIN(receiver) FROM notice WHERE finished_at IS NULL
        UNION ALL
        SELECT (SELECT MIN(notice.receiver) FROM notice WHERE notice.receiver > waiting.receiver AND notice.finished_at IS NULL)
        FROM waiting WHERE waiting.receiver IS NOT NULL
    ), held (receiver, oldest, storm) AS MATERIALIZED (
        SELECT waiting.receiver,
            (SELECT MIN(recorded_at) FROM notice WHERE notice.receiver = waiting.receiver AND finished_at IS NULL),
            (SELECT MIN(recorded_at) FROM notice WHERE notice.receiver = waiting.receiver AND finished_at IS NULL AND thread LIKE 'storm-%')
        FROM waiting WHERE waiting.receiver IS NOT NULL
    ) "
    };
}
/// What is due of one of them. What was said later in a thread waits for what was said before: nobody is told that something is well before
/// they were told that it was not. A summary of a storm is of many threads: it waits for all that was said before it, and all that was said
/// after it waits for it.
macro_rules! due {
    () => {
        "FROM notice AS due WHERE due.receiver = held.receiver AND due.finished_at IS NULL AND due.due_at <= $1
        AND NOT EXISTS (SELECT 1 FROM notice AS older WHERE older.thread = due.thread AND older.recorded_at < due.recorded_at AND older.finished_at IS NULL)
        AND due.recorded_at <= COALESCE(CASE WHEN due.thread LIKE 'storm-%' THEN held.oldest ELSE held.storm END, due.recorded_at)
        ORDER BY due.due_at LIMIT $2"
    };
}
/// What is due, so many of each receiver, the longest first, in SQLite.
pub(crate) const DUE: &str = concat!(
    held!(),
    "SELECT notice.id, notice.receiver FROM held CROSS JOIN notice ON notice.id IN (SELECT due.id ",
    due!(),
    ") ORDER BY notice.due_at"
);
/// The same in PostgreSQL, which would find it anew for each notice that there is.
const DUE_POSTGRES: &str = concat!(
    held!(),
    "SELECT due.id, due.receiver FROM held CROSS JOIN LATERAL (SELECT due.id, due.receiver, due.due_at ",
    due!(),
    ") AS due ORDER BY due.due_at"
);
/// One of them.
const ONE: &str = "SELECT document, recorded_at, attempts, due_at, finished_at, is_dead, problem, reached FROM notice WHERE id = $1";
/// What was said instead of what was given up for a receiver, the newest first.
const INSTEAD: &str = "SELECT other.document FROM notice AS lost JOIN notice AS other ON other.id = lost.id || '-instead'
    WHERE lost.receiver = $1 AND lost.is_dead = 1 AND other.is_dead = 0 ORDER BY lost.finished_at DESC LIMIT $2";
/// So many of them: more than a receiver is told in hours.
const INSTEADS: u32 = 100;
/// How it stands with the outbox as a whole.
pub(crate) const STANDING: &str = "SELECT COUNT(*) AS waiting, MIN(recorded_at) AS oldest FROM notice WHERE finished_at IS NULL";
/// What was given up of each receiver since something arrived there last. A trial that fails is no lost word.
pub(crate) const LOST: &str = "SELECT receiver, COUNT(*) AS lost, MIN(finished_at) AS since, MAX(finished_at) AS last,
    COUNT(CASE WHEN substr(thread, 1, 12) = 'undelivered-' THEN NULL ELSE 1 END) AS of_alerts FROM notice AS lost
    WHERE is_dead = 1 AND id NOT LIKE 'trial-%'
    AND finished_at >= COALESCE((SELECT MAX(done.finished_at) FROM notice AS done WHERE done.receiver = lost.receiver AND done.is_dead = 0), '')
    GROUP BY receiver ORDER BY receiver LIMIT $1";
/// What went wrong with the last of them.
const WRONG: &str = "SELECT problem FROM notice WHERE receiver = $1 AND is_dead = 1 AND finished_at = $2 LIMIT 1";
/// The log of notifications.
pub(crate) const LISTED: &str =
    "SELECT document, recorded_at, attempts, due_at, finished_at, is_dead, problem, reached FROM notice ORDER BY recorded_at DESC LIMIT $1";
/// What was said of our own network, the newest first. By how its threads begin, as the index `notice_own_network` says it; not by their
/// order, since that of a database goes by its language, and not by LIKE, which in SQLite takes small letters for large ones.
pub(crate) const OWN_NETWORK: &str =
    "SELECT document FROM notice WHERE substr(thread, 1, 12) = 'own-network-' ORDER BY recorded_at DESC LIMIT $1";
/// What was said of receivers that are not told, in the same way, by the index `notice_undelivered`.
pub(crate) const UNDELIVERED: &str =
    "SELECT document FROM notice WHERE substr(thread, 1, 12) = 'undelivered-' ORDER BY recorded_at DESC LIMIT $1";
/// When the newest of a thread was written that waits.
const NEWEST: &str = "SELECT MAX(recorded_at) AS newest FROM notice WHERE thread = $1 AND finished_at IS NULL";
/// What is due later than anything may be, as the clock was put back.
const FAR: &str = "SELECT MAX(due_at) AS due_at FROM notice";
const PULLED_BACK: &str = "UPDATE notice SET due_at = $1 WHERE due_at > $2";
/// The longest that a try is put off: more than there is between two tries.
const PUT_OFF: SignedDuration = SignedDuration::from_hours(2);
/// What is too old.
pub(crate) const OLD: &str = "DELETE FROM notice WHERE id IN (SELECT id FROM notice WHERE finished_at < $1 ORDER BY finished_at LIMIT $2)";
/// When the next one is due.
pub(crate) const NEXT: &str = "SELECT MIN(due_at) AS due_at FROM notice";

/// What was stored of alerts.
#[derive(Debug, Default)]
pub struct Remembered {
    /// The alerts.
    pub instances: Vec<Instance>,
    /// What was said of them.
    pub groups: Vec<Group>,
    /// When the engine was last known to be there while something waited to fire.
    pub alive_at: Option<Timestamp>,
}

/// A notification in the outbox, or in the log of those that were in it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NoticeRow {
    /// What is said.
    pub notice: Notice,
    /// When it was written.
    pub recorded_at: Timestamp,
    /// Tries so far.
    pub attempts: u32,
    /// When it is tried next; none: no more.
    pub due_at: Option<Timestamp>,
    /// When it was delivered, or given up.
    pub finished_at: Option<Timestamp>,
    /// It was given up.
    pub is_dead: bool,
    /// What went wrong last.
    pub problem: String,
    /// Whom it has reached so far, where it is for more than one.
    pub reached: Vec<String>,
}

/// A notification that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The notice.
    pub id: String,
    /// For whom.
    pub receiver: Name,
}

/// How it stands with the outbox.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// Notifications that wait.
    pub waiting: u64,
    /// When the oldest of them was written.
    pub oldest: Option<Timestamp>,
    /// Receivers that what was last for them did not reach.
    pub lost: Vec<Lost>,
}

/// A receiver that was not told what it should have been.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Lost {
    /// The Receiver.
    pub receiver: Name,
    /// Notifications that were given up since one arrived there last.
    pub count: u64,
    /// Of them, those that said anything but that another receiver is not told.
    #[serde(skip)]
    pub of_alerts: u64,
    /// When the first of them was.
    pub since: Timestamp,
    /// When the last of them was.
    pub last: Timestamp,
    /// What went wrong with that.
    pub problem: String,
}

/// How a try to deliver went.
#[derive(Clone, Debug, PartialEq)]
pub enum Delivery {
    /// It arrived.
    Done,
    /// It is tried again then.
    Later(Timestamp, String),
    /// It is given up.
    Dead(String),
}

impl Store {
    /// Alerts as they were when the last transaction ended. From now on this process writes them: whoever did so before is refused.
    pub async fn alerts(&self) -> Result<Remembered, Error> {
        within(0, self.take_over_alerts()).await?;
        self.remembered(AT_ONCE).await
    }

    /// What is remembered, so many rows by each statement. Nobody else writes them meanwhile: they would be refused.
    async fn remembered(&self, at_once: u32) -> Result<Remembered, Error> {
        let mut remembered = Remembered::default();
        let (mut rule, mut device) = (String::new(), String::new());
        loop {
            let page = "SELECT rule, device, document FROM alert WHERE (rule, device) > ($1, $2) ORDER BY rule, device LIMIT $3";
            let values = [rule.as_str().into(), device.as_str().into(), at_once.into()];
            let rows = within(at_once as usize, async { Ok(query(page, values).fetch_all(&self.pool).await?) }).await?;
            for row in &rows {
                remembered.instances.push(json(row, "document")?);
            }
            let Some(last) = rows.last().filter(|_| rows.len() == at_once as usize) else { break };
            (rule, device) = (text(last, "rule")?, text(last, "device")?);
        }
        let mut digest = String::new();
        loop {
            let page = "SELECT digest, document FROM alert_group WHERE digest > $1 ORDER BY digest LIMIT $2";
            let values = [digest.as_str().into(), at_once.into()];
            let rows = within(at_once as usize, async { Ok(query(page, values).fetch_all(&self.pool).await?) }).await?;
            for row in &rows {
                remembered.groups.push(json(row, "document")?);
            }
            let Some(last) = rows.last().filter(|_| rows.len() == at_once as usize) else { break };
            digest = text(last, "digest")?;
        }
        let clock = "SELECT alive_at FROM alert_clock WHERE one = 1";
        let clock = within(0, async { Ok(sqlx::query(clock).fetch_optional(&self.pool).await?) }).await?;
        remembered.alive_at = clock.map(|row| time(&row, "alive_at")).transpose()?;
        Ok(remembered)
    }

    /// Writes down what changed: alerts, what was said, the outbox and the audit log, all or nothing. Refused by [`Error::Replaced`], as
    /// all that follows here is, once somebody else has read the alerts.
    pub async fn record_alerts(&self, changes: &Changes, mut entries: Vec<Entry>, now: Timestamp) -> Result<(), Error> {
        within(changes.instances.len() + changes.groups.len() + changes.notices.len(), async {
            let mut writing = self.write().await?;
            let tx = &mut *writing.tx;
            self.writes_alerts(tx).await?;
            let instances = changes.instances.iter();
            let (kept, gone): (Vec<_>, Vec<_>) = instances.partition(|(_, instance)| instance.is_some());
            for ((rule, device), _) in gone {
                query("DELETE FROM alert WHERE rule = $1 AND device = $2", [rule.full().into(), device.full().into()])
                    .execute(&mut *tx)
                    .await?;
            }
            let rows = kept.into_iter().filter_map(|((rule, device), instance)| {
                let instance = instance.as_ref()?;
                let state = to_word(instance.state);
                Some([rule.full().into(), device.full().into(), instance.id.as_str().into(), state.into(), to_json(instance).into()])
            });
            let replace = "ON CONFLICT (rule, device) DO UPDATE SET id = excluded.id, state = excluded.state, document = excluded.document";
            insert(tx, "alert (rule, device, id, state, document)", rows, replace).await?;
            past::remember(tx, changes.instances.values().flatten(), now).await?;
            for (digest, _) in changes.groups.iter().filter(|(_, group)| group.is_none()) {
                query("DELETE FROM alert_group WHERE digest = $1", [digest.as_str().into()]).execute(&mut *tx).await?;
            }
            let rows = changes.groups.iter().filter_map(|(digest, group)| {
                let group = group.as_ref()?;
                Some([digest.as_str().into(), group.rule.full().into(), to_json(group).into()])
            });
            let replace = "ON CONFLICT (digest) DO UPDATE SET rule = excluded.rule, document = excluded.document";
            insert(tx, "alert_group (digest, rule, document)", rows, replace).await?;
            write_notices(tx, changes.notices.iter().collect(), now).await?;
            let old = now.checked_sub(KEPT).unwrap_or(Timestamp::MIN);
            query(OLD, [old.into(), PRUNED.into()]).execute(&mut *tx).await?;
            self.append(&mut writing, &mut entries).await?;
            writing.commit().await
        })
        .await
    }

    /// The engine is there, and something waits to fire.
    pub async fn alive(&self, now: Timestamp) -> Result<(), Error> {
        within(0, async {
            let replace = "ON CONFLICT (one) DO UPDATE SET alive_at = excluded.alive_at";
            let mut tx = self.pool.begin().await?;
            self.writes_alerts(&mut tx).await?;
            insert(&mut tx, "alert_clock (one, alive_at)", [[1_u32.into(), now.into()]], replace).await?;
            Ok(tx.commit().await?)
        })
        .await
    }

    /// Notifications that are due, `each` of every receiver at most, those that have waited longest first.
    pub async fn due_notices(&self, now: Timestamp, each: u32) -> Result<Vec<Due>, Error> {
        let due = if matches!(self.backend, Backend::Postgres) { DUE_POSTGRES } else { DUE };
        let query = query(due, [now.into(), each.min(PAGE).into()]);
        let rows = within(0, async {
            self.still_writes_alerts().await?;
            let last = now.checked_add(PUT_OFF).unwrap_or(Timestamp::MAX);
            if maybe_time(&sqlx::query(FAR).fetch_one(&self.pool).await?, "due_at")?.is_some_and(|far| far > last) {
                crate::rows::query(PULLED_BACK, [now.into(), last.into()]).execute(&self.pool).await?;
            }
            Ok(query.fetch_all(&self.pool).await?)
        });
        rows.await?.iter().map(|row| Ok(Due { id: text(row, "id")?, receiver: Name::parse(&text(row, "receiver")?) })).collect()
    }

    /// One notification, if it is there.
    pub async fn notice(&self, id: &str) -> Result<Option<NoticeRow>, Error> {
        let query = query(ONE, [id.into()]);
        let row = within(0, async { Ok(query.fetch_optional(&self.pool).await?) }).await?;
        row.as_ref().map(notice).transpose()
    }

    /// How it stands with the outbox as a whole.
    pub async fn standing(&self) -> Result<Standing, Error> {
        within(0, async {
            let row = sqlx::query(STANDING).fetch_one(&self.pool).await?;
            let mut standing = Standing { waiting: number(&row, "waiting")?, oldest: maybe_time(&row, "oldest")?, lost: Vec::new() };
            for row in query(LOST, [PAGE.into()]).fetch_all(&self.pool).await? {
                let (receiver, last) = (text(&row, "receiver")?, time(&row, "last")?);
                let wrong = query(WRONG, [receiver.as_str().into(), last.into()]).fetch_optional(&self.pool).await?;
                standing.lost.push(Lost {
                    receiver: Name::parse(&receiver),
                    count: number(&row, "lost")?,
                    of_alerts: number(&row, "of_alerts")?,
                    since: time(&row, "since")?,
                    last,
                    problem: wrong.map(|row| text(&row, "problem")).transpose()?.unwrap_or_default(),
                });
            }
            Ok(standing)
        })
        .await
    }

    /// When the next notification is due.
    pub async fn next_notice(&self) -> Result<Option<Timestamp>, Error> {
        let row = within(0, async { Ok(sqlx::query(NEXT).fetch_one(&self.pool).await?) }).await?;
        maybe_time(&row, "due_at")
    }

    /// Whom a notification has reached so far. One that was finished meanwhile stays as it is.
    pub async fn reached(&self, id: &str, reached: &[String]) -> Result<(), Error> {
        let query = query("UPDATE notice SET reached = $2 WHERE id = $1 AND finished_at IS NULL", [id.into(), to_json(&reached).into()]);
        within(0, async {
            query.execute(&self.pool).await?;
            Ok(())
        })
        .await
    }

    /// What came of a try, and whom it has reached by now; with it what is said instead, where it is given up. One that was finished
    /// meanwhile stays so.
    pub async fn tried(
        &self,
        id: &str,
        delivery: &Delivery,
        reached: &[String],
        instead: Option<&Notice>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let (due, problem) = match delivery {
            Delivery::Done => (None, ""),
            Delivery::Later(due, problem) => (Some(*due), problem.as_str()),
            Delivery::Dead(problem) => (None, problem.as_str()),
        };
        let finished = due.is_none().then_some(now);
        let is_dead = matches!(delivery, Delivery::Dead(_));
        let tried = "UPDATE notice SET attempts = attempts + 1, due_at = $2, finished_at = $3, is_dead = $4, problem = $5, reached = $6
            WHERE id = $1 AND finished_at IS NULL";
        let values = [id.into(), due.into(), finished.into(), is_dead.into(), cut(problem, PROBLEM).into(), to_json(&reached).into()];
        within(0, async {
            let mut tx = self.pool.begin().await?;
            self.writes_alerts(&mut tx).await?;
            let done = query(tried, values).execute(&mut *tx).await?;
            if done.rows_affected() > 0 {
                let over = if *delivery == Delivery::Done { over_too(&mut tx, id).await? } else { None };
                write_notices(&mut tx, instead.into_iter().chain(&over).collect(), now).await?;
            }
            Ok(tx.commit().await?)
        })
        .await
    }

    /// The newest notices of threads that begin with `own-network-`, whatever became of them; at most 1000.
    pub async fn said_of_own_network(&self) -> Result<Vec<Notice>, Error> {
        let rows = self.readers.all(OWN_NETWORK, [PAGE.into()]).await?;
        rows.iter().map(|row| json(row, "document")).collect()
    }

    /// The same of threads that begin with `undelivered-`.
    pub async fn said_of_undelivered(&self) -> Result<Vec<Notice>, Error> {
        let rows = self.readers.all(UNDELIVERED, [PAGE.into()]).await?;
        rows.iter().map(|row| json(row, "document")).collect()
    }

    /// What could not be said yet to a receiver is due now: what held it up may be over.
    pub async fn hurry_notices(&self, receiver: &Name, now: Timestamp) -> Result<(), Error> {
        let hurry = "UPDATE notice SET due_at = $2 WHERE receiver = $1 AND finished_at IS NULL AND attempts > 0 AND due_at > $2";
        within(0, async {
            let mut tx = self.pool.begin().await?;
            self.writes_alerts(&mut tx).await?;
            query(hurry, [receiver.full().into(), now.into()]).execute(&mut *tx).await?;
            Ok(tx.commit().await?)
        })
        .await
    }

    /// The newest notifications, whatever became of them; at most 1000.
    pub async fn notices(&self, limit: u32) -> Result<Vec<NoticeRow>, Error> {
        let query = query(LISTED, [limit.clamp(1, PAGE).into()]);
        let rows = within(0, async { Ok(query.fetch_all(&self.pool).await?) }).await?;
        rows.iter().map(notice).collect()
    }
}

/// Who was told instead that something fires hears too that it is over, though whom it is for can be told again by then.
async fn over_too(tx: &mut AnyConnection, id: &str) -> Result<Option<Notice>, Error> {
    let Some(row) = query(ONE, [id.into()]).fetch_optional(&mut *tx).await? else { return Ok(None) };
    let said: Notice = json(&row, "document")?;
    if said.resolved.is_empty() || said.instead.is_some() {
        return Ok(None);
    }
    let mut told: Vec<Notice> = Vec::new();
    for row in query(INSTEAD, [said.receiver.full().into(), INSTEADS.into()]).fetch_all(tx).await? {
        told.push(json(&row, "document")?);
    }
    let believes = |told: &Notice, alert: &Said| told.firing.iter().any(|believed| believed.id == alert.id);
    let Some(last) = told.iter().find(|told| said.resolved.iter().any(|alert| believes(told, alert))) else { return Ok(None) };
    let of_them = |all: &[Said]| -> Vec<Said> {
        let by = || told.iter().filter(|told| told.receiver == last.receiver);
        all.iter().filter(|alert| by().any(|told| believes(told, alert))).cloned().collect()
    };
    let (firing, resolved) = (of_them(&said.firing), of_them(&said.resolved));
    let reason = if firing.is_empty() { Reason::AllResolved } else { Reason::NewResolved };
    Ok(Some(Notice {
        id: format!("{id}-instead"),
        receiver: last.receiver.clone(),
        thread: last.thread.clone(),
        reason,
        firing,
        resolved,
        left_off: (0, 0),
        instead: last.instead.clone(),
        ..said
    }))
}

/// In their order, also where many are written at once: of a thread the older one goes first.
async fn write_notices(tx: &mut AnyConnection, notices: Vec<&Notice>, now: Timestamp) -> Result<(), Error> {
    let mut timed = Vec::new();
    let row = sqlx::query("SELECT MAX(recorded_at) AS newest FROM notice").fetch_one(&mut *tx).await?;
    let was_put_back = maybe_time(&row, "newest")?.is_some_and(|newest| newest >= now);
    for (number, notice) in (0..).zip(notices) {
        let mut at = now.checked_add(SignedDuration::from_nanos(number)).unwrap_or(now);
        if was_put_back {
            // The clock: the order of a thread is that in which it was written.
            let before = query(NEWEST, [notice.thread.as_str().into()]).fetch_one(&mut *tx).await?;
            let after = maybe_time(&before, "newest")?.and_then(|newest| newest.checked_add(SignedDuration::from_nanos(number + 1)).ok());
            at = after.map_or(at, |after| after.max(at));
        }
        timed.push((at, notice));
    }
    let rows = timed.into_iter().map(|(at, notice)| {
        [
            notice.id.as_str().into(),
            notice.receiver.full().into(),
            notice.thread.as_str().into(),
            to_json(notice).into(),
            at.into(),
            0_u32.into(),
            now.into(),
            false.into(),
            "".into(),
        ]
    });
    let columns = "notice (id, receiver, thread, document, recorded_at, attempts, due_at, is_dead, problem)";
    // A transaction whose answer was lost is written again.
    insert(tx, columns, rows, "ON CONFLICT (id) DO NOTHING").await
}

fn notice(row: &AnyRow) -> Result<NoticeRow, Error> {
    Ok(NoticeRow {
        notice: json(row, "document")?,
        recorded_at: time(row, "recorded_at")?,
        attempts: number(row, "attempts")?,
        due_at: maybe_time(row, "due_at")?,
        finished_at: maybe_time(row, "finished_at")?,
        is_dead: flag(row, "is_dead")?,
        problem: text(row, "problem")?,
        reached: json(row, "reached")?,
    })
}
