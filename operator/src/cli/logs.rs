//! `evenkeel logs`

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use logs::Severity;
use reconcile::Target;
use store::LogLine;

use super::{Output, Where, show};

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
    what: Option<What>,
    /// Only those of this device: device/NAME; without it, all
    target: Option<String>,
    /// Only those that came in this time
    #[arg(long, default_value = "1h", value_name = "DURATION")]
    since: crds::Duration,
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
enum What {
    /// What kinds of lines there are, since when, and how often they come
    Templates(templates::TemplatesArgs),
}

pub(crate) async fn run(args: &LogsArgs) -> anyhow::Result<ExitCode> {
    if let Some(What::Templates(args)) = &args.what {
        return templates::run(args).await;
    }
    let client = args.engine.client()?;
    let path = path(args)?;
    let mut lines: Vec<LogLine> = serde_json::from_value(client.get(&path).await?)?;
    lines.reverse();
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
                eprintln!("no line of that kind within {}: is the device's syslog sent here (evenkeel run --syslog-udp)?", args.since);
            }
            return Ok(ExitCode::SUCCESS);
        }
        tokio::time::sleep(FOLLOW).await;
        lines = serde_json::from_value(client.get(&format!("{path}&after={newest}")).await?)?;
    }
}

fn path(args: &LogsArgs) -> anyhow::Result<String> {
    let since = Timestamp::now().checked_sub(args.since.0).context("--since: that is too long ago")?;
    let mut path = format!("/v1/logs?limit={}&since={}", args.limit, show::in_url(&since.to_string()));
    let mut add = |name: &str, value: &str| path.push_str(&format!("&{name}={}", show::in_url(value)));
    match args.target.as_deref().map(Target::parse) {
        Some(Some(Target::Device(name))) => add("device", name.full()),
        Some(_) => bail!("{}: write device/NAME", args.target.as_deref().unwrap_or_default()),
        None if args.unknown => add("device", ""),
        None => {}
    }
    if let Some(severity) = &args.severity {
        let Some(known) = Severity::from_name(severity) else { bail!("--severity {severity}: there is no such severity") };
        add("severity", &known.number().to_string());
    }
    for (name, value) in [("program", &args.program), ("template", &args.template)] {
        if let Some(value) = value {
            add(name, value);
        }
    }
    if !args.grep.is_empty() {
        add("words", &args.grep);
    }
    Ok(path)
}

fn text(line: &LogLine) -> String {
    let at = Timestamp::from_microsecond(line.received).map_or_else(|_| "-".into(), |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    let who = if line.device.is_empty() { line.address.as_str() } else { line.device.strip_prefix("default/").unwrap_or(&line.device) };
    let severity = u8::try_from(line.severity).ok().and_then(Severity::new).map_or("-", Severity::name);
    let program = if line.kind.is_empty() { line.program.clone() } else { format!("{} {}", line.program, line.kind) };
    format!("{at} {who} {severity} {program}: {}", line.message)
}
