//! `evenkeel logs`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use api::client::{self, Client};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use logs::Severity;
use reconcile::Target;
use serde_json::Value;
use store::archive::Select;
use store::{LogLine, Search};

use super::{Output, Where, log_archive, log_senders, show};

mod templates;

/// Time between two looks for new lines.
const FOLLOW: Duration = Duration::from_secs(1);

/// Which lines.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  evenkeel logs device/web-01 --since 15m --severity err\n  evenkeel logs device/web-01 -f --grep 'Failed password'\n  evenkeel logs \
    templates device/web-01 --new"
)]
pub(crate) struct LogsArgs {
    #[command(subcommand)]
    command: Option<LogsCommand>,
    /// Only those of this device: device/NAME; without it, all
    target: Option<String>,
    /// Only those that came in this time [default: 1h; of an archive, all of it]
    #[arg(long, value_name = "DURATION")]
    since: Option<crds::Duration>,
    /// Read them from the archive in this directory instead of asking the engine
    #[arg(long, value_name = "DIR", conflicts_with = "follow")]
    archive: Option<PathBuf>,
    /// Of an archive, only those that came before this time
    #[arg(long, value_name = "DURATION", requires = "archive")]
    until: Option<crds::Duration>,
    /// Only those with all of these words, or with words that begin with them
    #[arg(long, default_value = "", hide_default_value = true, value_name = "WORDS")]
    grep: String,
    /// Only those as grave as this or graver: emerg, alert, crit, err, warning, notice, info, debug
    #[arg(long, value_name = "SEVERITY")]
    severity: Option<String>,
    /// Only those of this program
    #[arg(long, value_name = "NAME")]
    program: Option<String>,
    /// Only those of this template
    #[arg(long, value_name = "ID")]
    template: Option<String>,
    /// Only those of senders that are no device's
    #[arg(long, conflicts_with = "target")]
    unknown: bool,
    /// The newest so many; 1000 is the most that can be had at once
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Go on with lines as they come
    #[arg(long, short)]
    follow: bool,
    /// How they are printed
    #[arg(long, short, value_enum, default_value = "text")]
    output: Output,
    #[command(flatten)]
    engine: Where,
}

#[derive(Subcommand)]
enum LogsCommand {
    /// Prove an archive of lines, or print what is in it
    Archive(log_archive::ArchiveArgs),
    /// List who sends lines and is no device, and the journals that are read
    Senders(log_senders::SendersArgs),
    /// What kinds of lines there are, since when, and how often they come
    Templates(templates::TemplatesArgs),
}

pub(crate) async fn run(args: &LogsArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        Some(LogsCommand::Archive(args)) => return log_archive::run(args),
        Some(LogsCommand::Senders(args)) => return log_senders::run(args).await,
        Some(LogsCommand::Templates(args)) => return templates::run(args).await,
        None => {}
    }
    if let Some(folder) = &args.archive {
        return from_archive(args, folder);
    }
    let client = args.engine.client()?;
    let mut lines = read(&client, args, 0).await?;
    if !args.follow && matches!(args.output, Output::Json | Output::Yaml) {
        show::document(&lines, args.output)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut newest = 0;
    loop {
        for line in &lines {
            newest = newest.max(line.number);
            println!("{}", show::clean(&text(line)).replace('\n', " "));
        }
        if !args.follow {
            if newest == 0 {
                eprintln!(
                    "no line of that kind within {}: is the device's syslog sent here (evenkeel run --syslog-udp), or its journal read (spec.logs.journald)?",
                    since(args)
                );
            }
            return Ok(ExitCode::SUCCESS);
        }
        tokio::time::sleep(FOLLOW).await;
        lines = read(&client, args, newest).await?;
    }
}

/// Lines of an archive, chosen and shown as those of an engine.
fn from_archive(args: &LogsArgs, folder: &Path) -> anyhow::Result<ExitCode> {
    let search = Search {
        device: device(args)?,
        since: args.since.map(log_archive::ago).transpose()?,
        words: args.grep.clone(),
        severity: severity(args)?.map(|severity| severity.number().into()),
        program: args.program.clone(),
        template: args.template.clone(),
        ..Search::default()
    };
    let select = Select { search, until: args.until.map(log_archive::ago).transpose()? };
    let mut lines = log_archive::search(folder, &select, args.limit.into())?;
    lines.reverse();
    if matches!(args.output, Output::Json | Output::Yaml) {
        show::document(&lines, args.output)?;
    } else {
        lines.iter().for_each(|line| println!("{}", show::clean(&text(line)).replace('\n', " ")));
    }
    Ok(ExitCode::SUCCESS)
}

fn since(args: &LogsArgs) -> crds::Duration {
    args.since.unwrap_or_else(|| jiff::SignedDuration::from_hours(1).into())
}

/// The device that is asked for; the empty name has the lines of senders that are not known.
fn device(args: &LogsArgs) -> anyhow::Result<Option<String>> {
    Ok(match args.target.as_deref().map(Target::parse) {
        Some(Some(Target::Device(name))) => Some(name.full().to_owned()),
        Some(_) => bail!("{}: write device/NAME", args.target.as_deref().unwrap_or_default()),
        None => args.unknown.then(String::new),
    })
}

fn severity(args: &LogsArgs) -> anyhow::Result<Option<Severity>> {
    let Some(severity) = &args.severity else { return Ok(None) };
    Severity::from_name(severity).map(Some).with_context(|| format!("--severity {severity}: there is no such severity"))
}

/// The lines that are asked for and come after this one, the newest last.
async fn read(client: &Client, args: &LogsArgs, after: u64) -> anyhow::Result<Vec<LogLine>> {
    let following = if after == 0 { String::new() } else { format!("&after={after}") };
    let mut lines: Vec<LogLine> = match client.get(&(path(args, &OWN)? + &following)).await {
        Ok(lines) => serde_json::from_value(lines)?,
        // Whoever may not everything is shown what they may see.
        Err(client::Error::Forbidden(_)) => {
            let page = client.get(&path(args, &SEEN)?).await?;
            page["items"].as_array().into_iter().flatten().map(line).filter(|line| line.number > after).collect()
        }
        Err(error) => return Err(error.into()),
    };
    if after == 0 || lines.first().zip(lines.last()).is_some_and(|(first, last)| first.number > last.number) {
        lines.reverse();
    }
    Ok(lines)
}

/// How a route calls what is asked for.
struct Route {
    path: &'static str,
    words: &'static str,
    unknown: &'static str,
}

/// All lines, for who has the engine in hand.
const OWN: Route = Route { path: "/v1/logs", words: "words", unknown: "" };
/// The lines that one may see.
const SEEN: Route = Route { path: "/api/v1/logs", words: "q", unknown: "-" };

fn path(args: &LogsArgs, route: &Route) -> anyhow::Result<String> {
    let since = Timestamp::now().checked_sub(since(args).0).context("--since: that is too long ago")?;
    let mut path = format!("{}?limit={}&since={}", route.path, args.limit, show::in_url(&since.to_string()));
    let mut add = |name: &str, value: &str| path.push_str(&format!("&{name}={}", show::in_url(value)));
    if let Some(device) = device(args)? {
        add("device", if device.is_empty() { route.unknown } else { &device });
    }
    if let Some(severity) = severity(args)? {
        add("severity", &severity.number().to_string());
    }
    for (name, value) in [("program", &args.program), ("template", &args.template)] {
        if let Some(value) = value {
            add(name, value);
        }
    }
    if !args.grep.is_empty() {
        add(route.words, &args.grep);
    }
    Ok(path)
}

/// A line as it is shown to those who may see it.
fn line(item: &Value) -> LogLine {
    let text = |key: &str| item[key].as_str().unwrap_or_default().to_owned();
    let at = |key: &str| text(key).parse::<Timestamp>().ok().map(Timestamp::as_microsecond);
    let number = |key: &str| item[key].as_u64().unwrap_or_default();
    let small = |key: &str| u32::try_from(number(key)).unwrap_or_default();
    LogLine {
        number: number("number"),
        received: at("received").unwrap_or_default(),
        sent: at("sent"),
        device: text("device"),
        address: text("address"),
        host: text("host"),
        facility: small("facility"),
        severity: small("severity"),
        program: text("program"),
        process: text("process"),
        template: item["template"].as_str().map(str::to_owned),
        message: text("text"),
        ..LogLine::default()
    }
}

fn text(line: &LogLine) -> String {
    let at = Timestamp::from_microsecond(line.received).map_or_else(|_| "-".into(), |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    let who = if line.device.is_empty() { line.address.as_str() } else { line.device.strip_prefix("default/").unwrap_or(&line.device) };
    let severity = u8::try_from(line.severity).ok().and_then(Severity::new).map_or("-", Severity::name);
    let program = if line.kind.is_empty() { line.program.clone() } else { format!("{} {}", line.program, line.kind) };
    format!("{at} {who} {severity} {program}: {}", line.message)
}
