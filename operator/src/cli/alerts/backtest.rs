//! `evenkeel alerts backtest`

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use api::backtest::{Of, Question};
use api::client::Client;
use clap::Args;
use crds::{AlertRuleSpec, Duration, Kind, Object};
use jiff::{SignedDuration, Timestamp};
use reconcile::Name;
use reconcile::alerting::backtest::Firing;
use serde::Serialize;
use serde_json::Value;

use crate::cli::{Output, Where, show};

/// Readings that one call goes through at most: some minutes of work.
const MOST: usize = 200_000_000;
/// Bytes of a file with a rule.
const FILE: u64 = 1 << 20;

/// Longest time that is looked back over: means of five minutes are kept for as long.
const LONGEST: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What a rule would have done, over what is stored.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  evenkeel alerts backtest memory --since 30d\n  evenkeel alerts backtest memory --since 7d --expr 'usage.memory.ratio > 0.95' --for 10m\n  evenkeel alerts backtest --file rules/memory.yaml -o json"
)]
pub(super) struct BacktestArgs {
    /// The AlertRule: NAME or NAMESPACE/NAME
    #[arg(required_unless_present = "file")]
    rule: Option<String>,
    /// How far back: 30d at most; the last 48h reading by reading, before that by means of five minutes
    #[arg(long, default_value = "7d", value_name = "TIME")]
    since: Duration,
    /// A manifest with the rule as it is to be; what is in force if none is given
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Another condition
    #[arg(long, value_name = "CEL")]
    expr: Option<String>,
    /// Another time for which it has to hold
    #[arg(long = "for", value_name = "TIME")]
    hold_for: Option<Duration>,
    /// At most so many devices in the table, those that would have fired longest
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// How it is printed
    #[arg(long, short, value_enum, default_value = "text")]
    output: Output,
    #[command(flatten)]
    engine: Where,
}

/// What came of it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Result {
    rule: Name,
    expr: String,
    #[serde(rename = "for")]
    hold_for: Duration,
    from: Timestamp,
    to: Timestamp,
    /// Devices that the rule selects, and those that were looked at.
    selected: usize,
    looked_at: usize,
    readings: usize,
    /// Devices that would have fired, how often, and for how long in seconds.
    devices_fired: usize,
    times: usize,
    fired: i64,
    in_rollouts: i64,
    /// Share of the time of which nobody can say how it was.
    unknown: f64,
    not_kept: BTreeSet<String>,
    as_of_today: bool,
    devices: Vec<Of>,
}

pub(super) async fn run(args: &BacktestArgs) -> anyhow::Result<ExitCode> {
    let client = args.engine.client()?;
    let (rule, spec, is_other) = rule(args, &client).await?;
    let now = Timestamp::now();
    ensure!(args.since.0 <= LONGEST, "--since {}: it is 30d at most", args.since);
    let from = now.checked_sub(args.since.0)?;
    let mut question =
        Question { rule: rule.clone(), spec: is_other.then(|| spec.clone()), from: from.as_second(), to: now.as_second(), after: None };
    let mut result = Result {
        rule,
        expr: spec.expr.clone(),
        hold_for: spec.hold_for.unwrap_or(Duration::from(SignedDuration::ZERO)),
        from,
        to: now,
        selected: 0,
        looked_at: 0,
        readings: 0,
        devices_fired: 0,
        times: 0,
        fired: 0,
        in_rollouts: 0,
        unknown: 0.0,
        not_kept: BTreeSet::new(),
        as_of_today: false,
        devices: Vec::new(),
    };
    loop {
        let page = client.backtest(&question).await?;
        result.selected = page.selected;
        result.readings += page.readings;
        result.looked_at += page.devices.len();
        result.not_kept.extend(page.not_kept);
        result.as_of_today |= page.as_of_today;
        result.devices.extend(page.devices);
        question.after = page.next;
        if question.after.is_none() || result.readings >= MOST {
            break;
        }
        progress(&result);
    }
    sum_up(&mut result);
    if matches!(args.output, Output::Json | Output::Yaml) {
        show::document(&result, args.output)?;
    } else {
        print(&result, args.limit);
    }
    Ok(ExitCode::SUCCESS)
}

fn progress(result: &Result) {
    let end = if std::io::stderr().is_terminal() { '\r' } else { '\n' };
    eprint!("{} of {} devices, {} readings{end}", result.looked_at, result.selected, result.readings);
}

/// The rule as it is to be tried, and whether that is another one than what is in force.
async fn rule(args: &BacktestArgs, client: &Client) -> anyhow::Result<(Name, AlertRuleSpec, bool)> {
    let named = args.rule.as_deref().map(|name| Name::parse(name.strip_prefix("alertrule/").unwrap_or(name)));
    let (name, mut spec) = match &args.file {
        Some(file) => read(file, named)?,
        None => in_force(client, named.unwrap_or_else(|| Name::parse(""))).await?,
    };
    if let Some(expr) = &args.expr {
        spec.expr.clone_from(expr);
    }
    if args.hold_for.is_some() {
        spec.hold_for = args.hold_for;
    }
    Ok((name, spec, args.file.is_some() || args.expr.is_some() || args.hold_for.is_some()))
}

async fn in_force(client: &Client, name: Name) -> anyhow::Result<(Name, AlertRuleSpec)> {
    let rules = client.list("/v1/objects/AlertRule").await?;
    let found = rules.into_iter().find(|rule| rule["name"].as_str().is_some_and(|found| Name::parse(found) == name));
    let Some(mut rule) = found else { bail!("there is no alertrule/{name}: `evenkeel get alertrules` lists them") };
    let spec = serde_json::from_value(rule["spec"].take()).context("the engine's answer can't be read")?;
    Ok((name, spec))
}

/// The first AlertRule of a file, or the one of that name.
fn read(file: &Path, named: Option<Name>) -> anyhow::Result<(Name, AlertRuleSpec)> {
    let place = || file.display().to_string();
    let size = std::fs::metadata(file).with_context(place)?.len();
    ensure!(size <= FILE, "{}: it has {size} bytes, and {FILE} are read at most", place());
    let text = std::fs::read_to_string(file).with_context(place)?;
    for document in serde_yaml::Deserializer::from_str(&text) {
        let value = <Value as serde::Deserialize>::deserialize(document).with_context(place)?;
        if value["kind"] != "AlertRule" {
            continue;
        }
        let object = Object::from_value(Kind::AlertRule, value).with_context(place)?;
        let name = Name::new(object.namespace(), object.name());
        if let Object::AlertRule(rule) = object
            && named.as_ref().is_none_or(|named| *named == name)
        {
            return Ok((name, rule.spec));
        }
    }
    match named {
        Some(named) => bail!("{}: there is no AlertRule {named} in it", place()),
        None => bail!("{}: there is no AlertRule in it", place()),
    }
}

fn sum_up(result: &mut Result) {
    let times = |of: &Of| of.course.firings.len() + of.course.more;
    result.devices_fired = result.devices.iter().filter(|of| times(of) > 0).count();
    result.times = result.devices.iter().map(times).sum();
    result.fired = result.devices.iter().map(|of| of.course.fired).sum();
    result.in_rollouts = result.devices.iter().map(|of| of.course.in_rollouts).sum();
    let all = result.to.duration_since(result.from).as_secs() as f64 * result.looked_at as f64;
    let unknown = result.devices.iter().map(|of| of.course.unknown).sum::<i64>() as f64;
    result.unknown = if all > 0.0 { unknown / all } else { 0.0 };
    result.devices.sort_by(|a, b| b.course.fired.cmp(&a.course.fired).then_with(|| a.device.cmp(&b.device)));
}

fn print(result: &Result, limit: usize) {
    let span = |seconds: i64| Duration::from(SignedDuration::from_secs(seconds)).to_string();
    let asked = SignedDuration::from_secs(result.to.duration_since(result.from).as_secs());
    println!("alertrule/{} over {}: {}, for {}", result.rule, Duration::from(asked), show::clean(&result.expr), result.hold_for);
    let devices = show::count(result.looked_at, "device");
    match result.times {
        0 => println!("it would not have fired on any of {devices}"),
        times => {
            let times = if times == 1 { "once".to_owned() } else { format!("{times} times") };
            println!("it would have fired {times} on {} of {devices}, for {} in all", result.devices_fired, span(result.fired));
            let share = result.in_rollouts as f64 / result.fired.max(1) as f64 * 100.0;
            println!("of that {} ({share:.0} %) while a rollout was under way", span(result.in_rollouts));
        }
    }
    if result.unknown > 0.0 {
        let reason = result.devices.iter().map(|of| of.course.reason.as_str()).find(|reason| !reason.is_empty()).unwrap_or_default();
        println!("of {:.1} % of the time nobody can say how it was: {}", result.unknown * 100.0, show::clean(reason));
    }
    if !result.not_kept.is_empty() {
        let not_kept: Vec<&str> = result.not_kept.iter().map(String::as_str).collect();
        println!("not stored, and so unknown all the time: {}", show::clean(&not_kept.join(", ")));
    }
    if result.as_of_today {
        println!("labels and vars are taken as they are today");
    }
    if asked > SignedDuration::from_secs(store::RAW_KEPT) {
        println!("what is older than 48h was looked at by means of five minutes: shorter peaks are not in them");
    }
    if result.looked_at < result.selected {
        println!(
            "stopped after {} readings: {} of {} devices were not looked at; a shorter --since looks at more",
            result.readings,
            result.selected - result.looked_at,
            result.selected
        );
    }
    let fired: Vec<&Of> = result.devices.iter().filter(|of| of.course.fired > 0 || !of.course.firings.is_empty()).collect();
    if fired.is_empty() {
        return;
    }
    println!();
    let row = |of: &&Of| {
        let course = &of.course;
        let length = |firing: &Firing| firing.to.unwrap_or(result.to).duration_since(firing.from).as_secs();
        let longest = course.firings.iter().map(length).max().unwrap_or_default();
        let at = |firing: Option<&Firing>| firing.map(|firing| format!("{:.0}", firing.from)).unwrap_or_default();
        let more = if course.cut { "+" } else { "" };
        vec![
            of.device.to_string(),
            format!("{}{more}", course.firings.len() + course.more),
            span(course.fired),
            span(longest),
            span(course.in_rollouts),
            at(course.firings.first()),
            at(course.firings.last()),
            span(course.unknown),
        ]
    };
    let head = ["DEVICE", "TIMES", "FIRED FOR", "LONGEST", "IN ROLLOUTS", "FIRST", "LAST", "UNKNOWN"];
    show::table(&head, &fired.iter().take(limit).map(row).collect::<Vec<_>>());
    if fired.len() > limit {
        println!("{} more devices are not listed: --limit", fired.len() - limit);
    }
}
