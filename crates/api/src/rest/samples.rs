//! What devices use, as charts want it.

use axum::extract::State;
use axum::http::Method;
use jiff::Timestamp;
use reconcile::usage::Unit;
use reconcile::{Name, Series};
use schemars::JsonSchema;
use serde::Serialize;

use super::answer::{self, Answer};
use super::asked::Asked;
use super::gate::{Access, Param, Routes, param};
use super::sight::Seen;
use crate::problem::Problem;
use crate::shared::{Shared, read};

/// Points where nothing is said.
const POINTS: usize = 300;
/// Series of one answer: a page of charts has some tens.
const SERIES: usize = 64;
/// Seconds that are shown where nothing is said.
const SINCE: i64 = 3600;

const QUERY: [Param; 5] = [
    param("device", "The device: `NAMESPACE/NAME`, or `NAME` in `default`."),
    param("series", "Such as `disks[/].ratio`; several may be asked for at once, 64 at most."),
    param("from", "From when on: an instant, seconds since 1970, or a time back such as `24h`; an hour back if nothing is said."),
    param("to", "Until when, likewise; now if nothing is said."),
    param("points", "At most so many points of each series, 300 if nothing is said."),
];

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .add(Method::GET, "/samples", Access::Known, samples)
        .says("What a device used over time: one series as such, several as `items`")
        .takes(&QUERY)
        .answers::<Charts>()
}

/// One series, or several.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
enum Charts {
    One(Chart),
    Many { items: Vec<Chart> },
}

/// A series over time.
#[derive(Serialize, JsonSchema)]
struct Chart {
    series: String,
    /// `Ratio`, `Bytes`, `BytesPerSecond`, `PerSecond`, `Seconds` or `Count`.
    unit: &'static str,
    /// Seconds since 1970.
    from: i64,
    to: i64,
    points: Vec<Point>,
}

/// What a series was around an instant.
#[derive(Serialize, JsonSchema)]
struct Point {
    /// Seconds since 1970.
    at: i64,
    min: f64,
    max: f64,
    avg: f64,
}

async fn samples(State(shared): State<Shared>, Seen(sight): Seen, asked: Asked) -> Answer {
    let device = asked.name("device").ok_or_else(|| Problem::bad("device: name one"))?;
    sight.device(&device)?;
    let wanted: Vec<&str> = asked.all("series").collect();
    if wanted.is_empty() || wanted.len() > SERIES {
        return Err(Problem::bad(format!("series: name one to {SERIES}")));
    }
    let series = wanted.iter().map(|text| text.parse::<Series>().map_err(|error| Problem::bad(format!("series: {error}"))));
    let series: Vec<Series> = series.collect::<Result<_, _>>()?;
    let now = Timestamp::now();
    let to = asked.instant("to", now)?.unwrap_or(now).as_second();
    let from = asked.instant("from", now)?.map_or(to - SINCE, Timestamp::as_second).max(now.as_second() - store::HOURS_KEPT);
    if from >= to {
        return Err(Problem::bad("from: it is not before `to`, or longer ago than anything is kept"));
    }
    let most = asked.read("points")?.unwrap_or(POINTS);
    if !(1..=store::POINTS).contains(&most) {
        return Err(Problem::bad(format!("points: {most} is not between 1 and {}", store::POINTS)));
    }
    let mut items = Vec::new();
    for series in &series {
        items.push(chart(&shared, &device, series, (from, to), most, now.as_second()).await?);
    }
    let charts = match (items.len(), items.pop()) {
        (1, Some(chart)) => Charts::One(chart),
        (_, last) => Charts::Many { items: items.into_iter().chain(last).collect() },
    };
    answer::document(&asked, &charts)
}

async fn chart(
    shared: &Shared,
    device: &Name,
    series: &Series,
    (from, to): (i64, i64),
    most: usize,
    now: i64,
) -> Result<Chart, store::Error> {
    let samples = read(shared, |view| view.usages.samples().cloned());
    let points = match samples {
        Some(samples) => samples.read(device, series, from, to, most, now).await?,
        None => shared.store.samples(device, series, from, to, most, now).await?,
    };
    let point = |point: &store::Point| Point { at: point.at, min: point.lowest, max: point.highest, avg: point.mean };
    Ok(Chart { series: series.to_string(), unit: word(series.metric.unit()), from, to, points: points.iter().map(point).collect() })
}

fn word(unit: Unit) -> &'static str {
    match unit {
        Unit::Ratio => "Ratio",
        Unit::Bytes => "Bytes",
        Unit::BytesPerSecond => "BytesPerSecond",
        Unit::PerSecond => "PerSecond",
        Unit::Seconds => "Seconds",
        Unit::Count => "Count",
    }
}
