//! `evenkeel graph`: a plot in the terminal.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use api::client::Client;
use api::usage::shown;
use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use reconcile::alerting::expr;
use reconcile::usage::Unit;
use reconcile::{Name, Series, Target};
use serde::Deserialize;
use store::Point;

use super::{Where, show};

/// Columns of the labels at the left.
const LABEL: usize = 12;
/// Columns of a plot where there is no terminal to ask.
const COLUMNS: usize = 80;
/// Dots of one character: two columns of four (Unicode's braille patterns).
const WIDE: usize = 2;
const HIGH: usize = 4;

/// What to draw.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  evenkeel graph device/web-01 cpu\n  evenkeel graph device/web-01 'disk[/var]' --since 7d\n  evenkeel graph \
    device/sw-ams1-01 'interfaces[xe-0/0/1].rec'\n  evenkeel graph device/web-01 'usage.disks[\"/\"].inodesRatio'      as AlertRules have it\n  \
    evenkeel graph device/web-01          lists what there is"
)]
pub(crate) struct GraphArgs {
    /// device/NAME
    device: String,
    /// cpu, load, memory, swap, disk, disk[/MOUNT], probe[NAME], a series such as interfaces[eth0].received or the beginning of its name, or what an
    /// AlertRule calls it; without it, what there is
    what: Option<String>,
    /// How far back
    #[arg(long, default_value = "1h", value_name = "DURATION")]
    since: crds::Duration,
    /// Lines of the plot
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u16).range(2..=100))]
    height: u16,
    #[command(flatten)]
    engine: Where,
}

#[derive(Deserialize)]
struct Answer {
    from: i64,
    to: i64,
    points: Vec<Point>,
}

pub(crate) async fn run(args: &GraphArgs) -> anyhow::Result<ExitCode> {
    let device = match Target::parse(&args.device) {
        Some(Target::Device(name)) => name,
        _ => bail!("{}: write device/NAME", args.device),
    };
    let path = format!("/v1/samples/{}/{}", device.namespace(), device.name());
    let client = args.engine.client()?;
    let Some(what) = &args.what else {
        for series in stored(&client, &device, &path).await? {
            println!("{}", show::clean(&series.to_string()));
        }
        return Ok(ExitCode::SUCCESS);
    };
    let series = match series(what) {
        Some(series) => series,
        None => chosen(what, &stored(&client, &device, &path).await?, &device)?,
    };
    let width = console::Term::stdout().size_checked().map_or(COLUMNS, |(_, columns)| usize::from(columns)).clamp(40, 400) - LABEL - 2;
    let since = args.since.0.as_secs();
    let query = format!("{path}?series={}&since={since}&points={}", show::in_url(&series.to_string()), (width * WIDE).min(store::POINTS));
    let answer: Answer = serde_json::from_value(client.get(&query).await?).context("the answer can't be read")?;
    if answer.points.is_empty() {
        let there = listed(stored(&client, &device, &path).await?.iter().map(ToString::to_string));
        bail!(
            "nothing of {} on device/{device} is stored of the last {}; of that device there are {there}",
            show::clean(&series.to_string()),
            args.since
        );
    }
    let newest = answer.points.last().map(|point| shown(series.metric.unit(), point.mean)).unwrap_or_default();
    println!("{} of device/{device}: {newest}", show::clean(&series.to_string()));
    print!("{}", draw(&answer.points, (answer.from, answer.to), (width, args.height.into()), series.metric.unit()));
    println!("{}", axis((answer.from, answer.to), width));
    Ok(ExitCode::SUCCESS)
}

/// Names that are listed where one is wrong.
const LISTED: usize = 40;

/// The series of a device that are stored.
async fn stored(client: &Client, device: &Name, path: &str) -> anyhow::Result<Vec<Series>> {
    let series: Vec<Series> = serde_json::from_value(client.get(path).await?)?;
    if series.is_empty() {
        bail!("nothing of device/{device} is stored yet: that is done every five minutes, of devices with `metrics`, probes or logs");
    }
    Ok(series)
}

/// What is meant by a short name, a series' own, or what an AlertRule calls it.
fn series(what: &str) -> Option<Series> {
    let of = |name: &str| what.strip_prefix(name).and_then(|rest| rest.strip_prefix('[')).and_then(|rest| rest.strip_suffix(']'));
    let text = match what {
        "cpu" => "cpu.ratio".to_owned(),
        "load" => "load.one".to_owned(),
        "memory" => "memory.ratio".to_owned(),
        "swap" => "swap.ratio".to_owned(),
        "disk" => "disks[/].ratio".to_owned(),
        _ => match (of("disk"), of("probe")) {
            (Some(mount), _) => format!("disks[{mount}].ratio"),
            (_, Some(probe)) => format!("probes[{probe}].seconds"),
            _ => what.to_owned(),
        },
    };
    // As it is written in a rule, with `usage.` or without.
    expr::series(what).or_else(|| expr::series(&format!("usage.{what}"))).or_else(|| text.parse().ok())
}

/// The one series that is there whose name begins so, or has that in it.
fn chosen(what: &str, there: &[Series], device: &Name) -> anyhow::Result<Series> {
    let plain = |text: &str| text.to_lowercase().replace(['"', '\''], "");
    let wanted = plain(what);
    let wanted = ["device.usage.", "usage.", "device."].iter().find_map(|root| wanted.strip_prefix(root)).unwrap_or(&wanted);
    let begins = there.iter().filter(|series| plain(&series.to_string()).starts_with(wanted)).collect::<Vec<_>>();
    let has = || there.iter().filter(|series| plain(&series.to_string()).contains(wanted)).collect::<Vec<_>>();
    let found = if begins.is_empty() { has() } else { begins };
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        [] => bail!("there is no `{}` on device/{device}; there are {}", show::clean(what), listed(there.iter().map(ToString::to_string))),
        several => {
            bail!("`{}` could be {}", show::clean(what), listed(several.iter().map(ToString::to_string)))
        }
    }
}

/// Names, so many of them as one still reads.
fn listed(names: impl ExactSizeIterator<Item = String>) -> String {
    let more = names.len().saturating_sub(LISTED);
    let names: Vec<String> = names.take(LISTED).map(|name| show::clean(&name)).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", names.join(", "))
}

/// From where to where the plot goes: shares from 0 to 1, unless all of them are small; others from 0, unless they hardly move.
fn bounds(points: &[Point], unit: Unit) -> (f64, f64) {
    let lowest = points.iter().map(|point| point.lowest).fold(f64::INFINITY, f64::min);
    let highest = points.iter().map(|point| point.highest).fold(f64::NEG_INFINITY, f64::max);
    match unit {
        Unit::Ratio if highest > 0.25 => (0.0, highest.max(1.0)),
        _ if highest <= 0.0 => (0.0, 1.0),
        Unit::Seconds | Unit::Bytes if lowest > highest * 0.9 && highest > lowest => (lowest, highest),
        _ => (0.0, highest),
    }
}

/// Each value as a line from its lowest to its highest; where nothing was read, nothing is drawn.
fn draw(points: &[Point], (from, to): (i64, i64), (width, height): (usize, usize), unit: Unit) -> String {
    let (low, high) = bounds(points, unit);
    let (columns, rows) = (width * WIDE, height * HIGH);
    let mut dots = vec![vec![false; columns]; rows];
    let row = |value: f64| {
        let share = ((value - low) / (high - low)).clamp(0.0, 1.0);
        // From the top.
        rows - 1 - (share * (rows - 1) as f64).round() as usize
    };
    for point in points {
        let column = (point.at - from).max(0) as f64 / (to - from).max(1) as f64 * (columns - 1) as f64;
        for line in &mut dots[row(point.highest)..=row(point.lowest)] {
            line[(column.round() as usize).min(columns - 1)] = true;
        }
    }
    let mut text = String::new();
    for line in 0..height {
        let label = match line {
            0 => shown(unit, high),
            _ if line == height - 1 => shown(unit, low),
            _ if line == height / 2 => shown(unit, high - (high - low) * line as f64 / (height - 1) as f64),
            _ => String::new(),
        };
        let cells: String = (0..width).map(|cell| braille(&dots, cell * WIDE, line * HIGH)).collect();
        text += format!("{label:>LABEL$} {cells}").trim_end();
        text.push('\n');
    }
    text
}

/// Eight dots as one character: dots 1, 2, 3 and 7 at the left from the top, 4, 5, 6 and 8 at the right.
fn braille(dots: &[Vec<bool>], column: usize, row: usize) -> char {
    let bits = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];
    let mut sum = 0;
    for (down, pair) in bits.iter().enumerate() {
        for (right, bit) in pair.iter().enumerate() {
            sum |= if dots[row + down][column + right] { *bit } else { 0 };
        }
    }
    match sum {
        0 => ' ',
        sum => char::from_u32(0x2800 + sum).unwrap_or(' '),
    }
}

/// When the plot begins and ends.
fn axis((from, to): (i64, i64), width: usize) -> String {
    let form = if to - from < 86_400 { "%H:%M:%S" } else { "%Y-%m-%d %H:%M" };
    let zone = TimeZone::system();
    let label = |second| Timestamp::from_second(second).map(|at| at.to_zoned(zone.clone()).strftime(form).to_string()).unwrap_or_default();
    let (first, last) = (label(from), label(to));
    format!("{:LABEL$} {first}{last:>width$}", "", width = width.saturating_sub(first.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(at: i64, value: f64) -> Point {
        Point { at, lowest: value, mean: value, highest: value, readings: 1 }
    }

    #[test]
    fn a_ramp_with_a_gap_is_drawn() {
        let mut points: Vec<Point> = (0..40).filter(|at| !(16..24).contains(at)).map(|at| point(at, at as f64 / 39.0)).collect();
        points[0].highest = 0.5;
        let expected = ["     100.0 %                ⣀⡠⠤⠒⠉", "             ⡀           ⠔⠒⠉", "      33.3 % ⡇    ⣀⠤⠔", "       0.0 % ⣇⠤⠒⠊⠉"];
        let drawn = draw(&points, (0, 39), (20, 4), Unit::Ratio);
        assert_eq!(drawn.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn odd_values_are_drawn() {
        for points in
            [vec![point(0, 0.0)], vec![point(5, 7.0)], vec![point(-5, -1.0), point(99, f64::MAX)], vec![point(0, 1.0), point(1, 1.0)]]
        {
            for unit in [Unit::Ratio, Unit::Bytes, Unit::Count] {
                assert_eq!(draw(&points, (0, 10), (40, 3), unit).lines().count(), 3);
            }
        }
    }

    #[test]
    fn short_names_mean_series() {
        for (what, expected) in [
            ("cpu", "cpu.ratio"),
            ("disk", "disks[/].ratio"),
            ("disk[/srv/a]", "disks[/srv/a].ratio"),
            ("probe[web]", "probes[web].seconds"),
            ("interfaces[eth0].received", "interfaces[eth0].received"),
            (r#"usage.disks["/"].ratio"#, "disks[/].ratio"),
            (r#"device.usage.interfaces['eth0'].sent"#, "interfaces[eth0].sent"),
            (r#"disks["/srv"].available"#, "disks[/srv].available"),
            ("usage.memory.ratio", "memory.ratio"),
            (r#"probes["web"].seconds"#, "probes[web].seconds"),
            (r#"logs["Failed (a|b)"].matches"#, "logs[Failed (a|b)].matches"),
            ("device.logs.errors", "logs.errors"),
        ] {
            assert_eq!(series(what).map(|series| series.to_string()).as_deref(), Some(expected), "{what}");
        }
        for what in ["everything", r#"probes["web"].state"#, "avg(usage.cpu.ratio, \"5m\")", "usage.cpu.ratio > 0.9", ""] {
            assert_eq!(series(what), None, "{what}");
        }
    }

    #[test]
    fn the_beginning_of_a_name_is_enough_and_what_is_wrong_is_told_what_there_is() {
        let there: Vec<Series> = ["cpu.ratio", "disks[/].ratio", "disks[/].total", "interfaces[eth0].received"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        let device = Name::parse("web-01");
        let found = |what: &str| chosen(what, &there, &device).map(|series| series.to_string()).unwrap_or_else(|error| error.to_string());
        assert_eq!(found("interfaces"), "interfaces[eth0].received");
        assert_eq!(found("usage.interfaces[\"eth0\"].rec"), "interfaces[eth0].received");
        assert_eq!(found("total"), "disks[/].total");
        assert_eq!(found("disks"), "`disks` could be disks[/].ratio, disks[/].total");
        assert_eq!(
            found("dsk"),
            "there is no `dsk` on device/web-01; there are cpu.ratio, disks[/].ratio, disks[/].total, interfaces[eth0].received"
        );
        assert!(listed((0..50).map(|number| number.to_string())).ends_with("38, 39 and 10 more"));
    }
}
