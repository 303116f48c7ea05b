//! Lines of logs, their kinds and senders.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::Method;
use jiff::Timestamp;
use reconcile::Name;
use regex::Regex;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use store::{LogLine, Search};

use super::answer::{self, Answer};
use super::asked::{Asked, short};
use super::gate::{Access, Param, Routes, param};
use super::pattern;
use super::seal;
use super::sight::{Seen, Sight};
use crate::logs::templates::{self, Sort};
use crate::logs::{self};
use crate::problem::Problem;
use crate::shared::{Shared, read};

/// Lines that are read at once, and that one question looks through where the database can't tell which fit: whoever searches farther goes on
/// with the cursor.
const PAGE: usize = 1000;
const LOOKED: usize = 20_000;
/// Bytes of words that the database looks for.
const TEXT: usize = 500;
/// Parts of a histogram where nothing is said, and at most.
const BUCKETS: i64 = 60;
const MOST_BUCKETS: i64 = 500;

const DEVICE: Param =
    param("device", "Only from this device: `NAMESPACE/NAME`, or `NAME` in `default`; `-` has those of senders that are no device.");
const Q: Param = param("q", "Only with all these words, or with words that begin so; whatever is not plain words is a regular expression.");
const SEVERITY: Param = param("severity", "Only this grave or graver: 0 to 7, or `emerg` to `debug`.");
const PROGRAM: Param = param("program", "Only of this program.");
const TEMPLATE: Param = param("template", "Only of this template.");
const SINCE: Param = param("since", "From when on: an instant, seconds since 1970, or a time back such as `24h`.");
const UNTIL: Param = param("until", "Until when, likewise.");
const LINES: [Param; 9] = [
    DEVICE,
    Q,
    SEVERITY,
    PROGRAM,
    TEMPLATE,
    SINCE,
    UNTIL,
    param("limit", "Lines in one answer, 100 if nothing is said, 1000 at most."),
    param("cursor", "Where the next page begins, as the answer before said it."),
];
const COUNTS: [Param; 8] =
    [DEVICE, Q, SEVERITY, PROGRAM, TEMPLATE, SINCE, UNTIL, param("buckets", "In how many parts, 60 if nothing is said, 500 at most.")];
const KINDS: [Param; 5] = [
    DEVICE,
    SINCE,
    param("new", "`true`: only those that were never seen from their device before."),
    param("only", "`new`, `unusual` or `vanished`: only those that are this just now."),
    param("q", "Only with this text in them."),
];

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .add(Method::GET, "/logs", Access::Known, lines)
        .says("Lines of log from devices that one may see, the newest first")
        .takes(&LINES)
        .answers::<List>()
        .add(Method::GET, "/logs/templates", Access::Known, kinds)
        .says("The kinds of lines that there are, since when, and how often they come")
        .takes(&KINDS)
        .answers::<Kinds>()
        .add(Method::GET, "/logs/senders", Access::Known, senders)
        .says("Who sends lines and is no device (for who may see every device), and the journals that are read")
        .takes(&[])
        .answers::<Senders>()
        .add(Method::GET, "/logs/histogram", Access::Known, histogram)
        .says("How many lines there are when")
        .takes(&COUNTS)
        .answers::<Histogram>()
}

/// A page of lines.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LogList")]
struct List {
    items: Vec<Line>,
    /// Where the next page begins; null: there is nothing before. A page may have fewer lines than were asked for and still not be the last.
    cursor: Option<String>,
}

/// A line of log. All of its texts are hostile.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LogLine")]
pub(super) struct Line {
    number: u64,
    received: Timestamp,
    /// When it was sent, by the sender's clock.
    sent: Option<Timestamp>,
    /// As `NAMESPACE/NAME`; empty for a sender that is no device.
    device: String,
    address: String,
    host: String,
    facility: u32,
    /// 0 to 7; the lower, the graver.
    severity: u32,
    program: String,
    process: String,
    text: String,
    template: Option<String>,
}

/// Kinds of lines.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LogTemplates")]
struct Kinds {
    items: Vec<templates::Kind>,
    total: usize,
}

/// Who sends lines.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LogSenders")]
struct Senders {
    /// Those that are no device, or send more than they may.
    senders: Vec<Value>,
    /// How many more there were.
    forgotten: u64,
    /// How it stands with the journals that are read, by device.
    journals: BTreeMap<String, Value>,
}

/// Lines over time.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LogHistogram")]
struct Histogram {
    buckets: Vec<Bucket>,
    /// All of the time was looked through; if not, the oldest parts lack lines.
    complete: bool,
}

/// A part of the time.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LogBucket")]
struct Bucket {
    /// When it begins.
    at: Timestamp,
    counts: Counts,
}

/// How many lines.
#[derive(Clone, Copy, Default, Serialize, JsonSchema)]
#[schemars(rename = "LogCounts")]
struct Counts {
    /// Of severity 0 to 3.
    error: u64,
    /// Of severity 4.
    warning: u64,
    other: u64,
}

impl Counts {
    fn add(&mut self, severity: u32, lines: u64) {
        match severity {
            0..=3 => self.error += lines,
            4 => self.warning += lines,
            _ => self.other += lines,
        }
    }
}

impl Line {
    pub(super) fn of(line: LogLine) -> Self {
        let at = |micro: i64| Timestamp::from_microsecond(micro).ok();
        Self {
            number: line.number,
            received: at(line.received).unwrap_or_default(),
            sent: line.sent.and_then(at),
            device: if line.device.is_empty() { String::new() } else { Name::parse(&line.device).full().to_owned() },
            address: line.address,
            host: line.host,
            facility: line.facility,
            severity: line.severity,
            program: line.program,
            process: line.process,
            text: line.message,
            template: line.template,
        }
    }
}

/// Whether somebody may see lines of a device; those of senders that are none belong to who may see every device.
pub(super) fn sees(sight: &Sight, device: &str) -> bool {
    match device {
        "" => sight.sees_senders(),
        device => sight.sees_device(&Name::parse(device)),
    }
}

/// Which lines are wanted: what the database finds, and what is looked for in that.
pub(super) struct Wanted {
    pub(super) search: Search,
    pub(super) pattern: Option<Regex>,
}

impl Wanted {
    pub(super) fn of(asked: &Asked, sight: &Sight) -> Result<Self, Box<Problem>> {
        let now = Timestamp::now();
        let device = device(asked, sight)?;
        let (words, pattern) = text(asked.one("q").unwrap_or_default())?;
        let opened = |cursor: &str| logs::place(cursor).or_else(|| logs::place(&seal::opened(cursor)?));
        let before = match asked.one("cursor").map(opened) {
            Some(None) => return Err(Problem::bad("cursor: take it from the answer before")),
            before => before.flatten(),
        };
        let search = Search {
            device,
            since: asked.instant("since", now)?.map(Timestamp::as_microsecond),
            until: asked.instant("until", now)?.map(Timestamp::as_microsecond),
            words,
            severity: asked.one("severity").map(severity).transpose()?,
            program: asked.one("program").map(str::to_owned),
            template: asked.one("template").map(str::to_owned),
            before,
            after: None,
            limit: PAGE,
        };
        Ok(Self { search, pattern })
    }

    /// Lines that fit and may be seen, the newest first, and where to go on.
    async fn find(mut self, shared: &Shared, sight: &Sight, limit: usize) -> Result<(Vec<LogLine>, Option<String>), store::Error> {
        let is_plain = self.pattern.is_none() && (sight.is_all() || self.search.device.is_some());
        let sees_senders = sees(sight, "");
        let (mut found, mut looked) = (Vec::new(), 0);
        loop {
            self.search.limit = if is_plain { limit.min(PAGE) } else { PAGE };
            let lines = shared.store.search_logs(&self.search).await?;
            let is_end = lines.len() < self.search.limit;
            looked += lines.len();
            let last = lines.last().map(LogLine::place);
            let is_seen = |line: &LogLine| if line.device.is_empty() { sees_senders } else { sees(sight, &line.device) };
            // What may not be seen is not even compared.
            let seen = lines.into_iter().filter(is_seen).collect();
            for line in pattern::fitting(self.pattern.as_ref(), seen).await {
                self.search.before = Some(line.place());
                found.push(line);
                if found.len() >= limit {
                    return Ok((found, self.place(sight)));
                }
            }
            self.search.before = last.or(self.search.before);
            if is_end {
                return Ok((found, None));
            }
            if looked >= LOOKED {
                return Ok((found, self.place(sight)));
            }
        }
    }

    /// Where to go on. It may be at a line that is hidden from them, so they can't read it.
    fn place(&self, sight: &Sight) -> Option<String> {
        let place = self.search.before.map(|place| format!("{}-{}", place.received, place.number))?;
        if sight.is_all() { Some(place) } else { seal::sealed(&place) }
    }
}

/// Whether there is no line at all that they may see.
fn sees_none(sight: &Sight, devices: &[u32]) -> bool {
    devices.is_empty() && !sight.is_all() && !sees(sight, "")
}

fn device(asked: &Asked, sight: &Sight) -> Result<Option<String>, Box<Problem>> {
    match asked.one("device") {
        None => Ok(None),
        Some("-") if sees(sight, "") => Ok(Some(String::new())),
        Some("-") => Err(Problem::missing("lines of senders that are no device are for who may see every device")),
        Some(name) => {
            let name = Name::parse(name);
            sight.device(&name)?;
            Ok(Some(name.full().to_owned()))
        }
    }
}

/// Plain words, which the database finds, or a pattern.
fn text(q: &str) -> Result<(String, Option<Regex>), Box<Problem>> {
    if q.len() <= TEXT && q.chars().all(|letter| letter.is_alphanumeric() || letter == ' ') {
        return Ok((q.to_owned(), None));
    }
    Ok((String::new(), Some(pattern::read(q).map_err(Problem::bad)?)))
}

fn severity(text: &str) -> Result<u32, Box<Problem>> {
    // RFC 5424, table 2, and what people say for it.
    const WORDS: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];
    let word = match text {
        "error" => "err",
        "warn" => "warning",
        "critical" => "crit",
        text => text,
    };
    let number = WORDS.iter().position(|known| *known == word).or_else(|| word.parse().ok().filter(|number| *number < 8));
    let number = number.and_then(|number| u32::try_from(number).ok());
    number.ok_or_else(|| Problem::bad(format!("severity: `{}` is neither 0 to 7 nor one of {}", short(text), WORDS.join(", "))))
}

async fn lines(State(shared): State<Shared>, Seen(sight): Seen, asked: Asked) -> Answer {
    let limit = asked.limit()?;
    let wanted = Wanted::of(&asked, &sight)?;
    let (lines, cursor) = match sees_none(&sight, &sight.devices().await) {
        true => (Vec::new(), None),
        false => wanted.find(&shared, &sight, limit).await?,
    };
    answer::document(&asked, &List { items: lines.into_iter().map(Line::of).collect(), cursor })
}

async fn kinds(State(shared): State<Shared>, Seen(sight): Seen, asked: Asked) -> Answer {
    let only = match (asked.one("only"), asked.read::<bool>("new")?) {
        (Some("new"), _) | (None, Some(true)) => Some(Sort::New),
        (Some("unusual"), _) => Some(Sort::Unusual),
        (Some("vanished"), _) => Some(Sort::Vanished),
        (Some(other), _) => return Err(Problem::bad(format!("only: `{}` is none of new, unusual, vanished", short(other)))),
        (None, _) => None,
    };
    let words = asked.search()?;
    let which = templates::Which { device: device(&asked, &sight)?, since: asked.instant("since", Timestamp::now())?, only };
    sight.devices().await;
    let is_seen = |device: &Name| sight.sees_device(device);
    let mut kinds = templates::found(&shared, &which, if sight.is_all() { None } else { Some(&is_seen) }).await?;
    kinds.retain(|kind| words.iter().all(|word| super::fleet::contains(&kind.text, word) || super::fleet::contains(&kind.program, word)));
    let total = kinds.len();
    answer::document(&asked, &Kinds { items: kinds, total })
}

async fn senders(State(shared): State<Shared>, Seen(sight): Seen, asked: Asked) -> Answer {
    let found = read(&shared, |view| {
        let journals = view.journals.iter().filter(|(device, _)| sight.sees_device(device));
        let journals = journals.map(|(device, journal)| (device.full().to_owned(), json!(journal))).collect();
        match sees(&sight, "") {
            true => {
                let senders = view.senders.senders.iter().map(|sender| json!(sender)).collect();
                Senders { senders, forgotten: view.senders.forgotten, journals }
            }
            false => Senders { senders: Vec::new(), forgotten: 0, journals },
        }
    });
    answer::document(&asked, &found)
}

async fn histogram(State(shared): State<Shared>, Seen(sight): Seen, asked: Asked) -> Answer {
    let mut wanted = Wanted::of(&asked, &sight)?;
    let buckets = asked.read("buckets")?.unwrap_or(BUCKETS);
    if !(1..=MOST_BUCKETS).contains(&buckets) {
        return Err(Problem::bad(format!("buckets: {buckets} is not between 1 and {MOST_BUCKETS}")));
    }
    let until = wanted.search.until.unwrap_or_else(|| Timestamp::now().as_microsecond());
    let from = wanted.search.since.unwrap_or(until - 3_600_000_000);
    let part = (until - from) / buckets;
    if part < 1 {
        return Err(Problem::bad("since: it is not before `until`"));
    }
    (wanted.search.since, wanted.search.until) = (Some(from), Some(until));
    let mut counts = vec![Counts::default(); buckets as usize];
    let mut add = |at: i64, severity, lines| counts[at.clamp(0, buckets - 1) as usize].add(severity, lines);
    let complete = match &wanted.pattern {
        _ if sees_none(&sight, &sight.devices().await) => true,
        None => {
            let found = shared.store.count_logs(&wanted.search, part).await?;
            for found in found.iter().filter(|found| sees(&sight, &found.device)) {
                add(found.part, found.severity, found.lines);
            }
            found.len() < store::MOST_PARTS
        }
        Some(_) => {
            let (lines, left) = wanted.find(&shared, &sight, LOOKED).await?;
            lines.iter().for_each(|line| add((line.received - from) / part, line.severity, 1));
            left.is_none()
        }
    };
    let bucket = |(at, counts): (i64, &Counts)| Some(Bucket { at: Timestamp::from_microsecond(from + at * part).ok()?, counts: *counts });
    answer::document(&asked, &Histogram { buckets: (0..).zip(&counts).filter_map(bucket).collect(), complete })
}
