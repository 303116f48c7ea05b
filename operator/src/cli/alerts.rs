//! `evenkeel alerts`

mod backtest;
mod silence;

use std::process::ExitCode;

use anyhow::bail;
use api::view::Ask;
use clap::{Args, Subcommand};
use crds::AlertState;
use jiff::{SignedDuration, Timestamp};
use reconcile::alerting::state::Instance;
use serde_json::Value;

use super::{Output, Where, show};

/// Alerts that fire, and what was decided about them.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  evenkeel alerts\n  evenkeel alerts why 3f2a\n  evenkeel alerts acknowledge 3f2a --comment 'new disk is on its way' --for 2h"
)]
pub(crate) struct AlertsArgs {
    #[command(subcommand)]
    command: Option<AlertsCommand>,
    /// Also what is pending, and what was resolved within the last 15 minutes
    #[arg(long)]
    all: bool,
    /// How they are printed
    #[arg(long, short, value_enum, default_value = "text")]
    output: Output,
    #[command(flatten)]
    engine: Where,
}

#[derive(Subcommand)]
enum AlertsCommand {
    /// Say what was decided about an alert, and why
    Why {
        /// Its name in the list, or the beginning of it
        id: String,
        #[command(flatten)]
        engine: Where,
    },
    /// Say that somebody looks after an alert: it is neither repeated nor escalated until then
    Acknowledge {
        /// Its name in the list, or the beginning of it
        id: String,
        /// What is done about it
        #[arg(long)]
        comment: String,
        /// For how long
        #[arg(long = "for", value_name = "TIME")]
        hold_for: crds::Duration,
        #[command(flatten)]
        engine: Where,
    },
    /// Say how often, where and for how long a rule would have fired, over what is stored
    Backtest(backtest::BacktestArgs),
    /// Make a Silence: what is not to be said, and until when. It is printed for Git, or applied to a cluster
    Silence(silence::SilenceArgs),
    /// List notifications, the newest first, and what became of them
    Notices {
        /// At most so many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        /// How they are printed
        #[arg(long, short, value_enum, default_value = "text")]
        output: Output,
        #[command(flatten)]
        engine: Where,
    },
}

pub(crate) async fn run(args: &AlertsArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        None => list(args).await,
        Some(AlertsCommand::Why { id, engine }) => why(id, engine).await,
        Some(AlertsCommand::Acknowledge { id, comment, hold_for, engine }) => {
            let until = Timestamp::now().checked_add(hold_for.0)?;
            let ask = Ask::Acknowledge { id: id.clone(), comment: comment.clone(), until };
            println!("{}", show::clean(&engine.client()?.ask(&ask).await?));
            Ok(ExitCode::SUCCESS)
        }
        Some(AlertsCommand::Backtest(args)) => backtest::run(args).await,
        Some(AlertsCommand::Silence(args)) => silence::run(args).await,
        Some(AlertsCommand::Notices { limit, output, engine }) => notices(*limit, *output, engine).await,
    }
}

async fn read(engine: &Where) -> anyhow::Result<(Vec<Instance>, Value)> {
    let answer = engine.client()?.get("/v1/alerts").await?;
    Ok((serde_json::from_value(answer["items"].clone())?, answer))
}

async fn list(args: &AlertsArgs) -> anyhow::Result<ExitCode> {
    let (mut alerts, answer) = read(&args.engine).await?;
    alerts.retain(|alert| args.all || alert.counts_as_firing());
    // What fires stands first, the worst of it above, and of that the oldest.
    alerts.sort_by_key(|alert| (!alert.counts_as_firing(), alert.subject.severity as u8, alert.fired_at.unwrap_or(alert.active_at)));
    if matches!(args.output, Output::Json | Output::Yaml) {
        show::document(&alerts, args.output)?;
        return Ok(ExitCode::SUCCESS);
    }
    let row = |alert: &Instance| {
        vec![
            alert.id.clone(),
            word(alert),
            format!("{:?}", alert.subject.severity).to_lowercase(),
            alert.subject.rule.to_string(),
            alert.subject.device.to_string(),
            show::age(&alert.fired_at.unwrap_or(alert.active_at).to_string()),
            alert.subject.summary.clone(),
        ]
    };
    let undelivered = answer["undelivered"].as_array().into_iter().flatten().map(undelivered);
    let own: Vec<_> = (answer["ownNetworkDown"] == true).then(own_network).into_iter().chain(undelivered).collect();
    if alerts.is_empty() && own.is_empty() {
        let more = if args.all { "" } else { "; evenkeel alerts --all also has what is pending, and what was resolved just now" };
        eprintln!("nothing fires{more}");
    }
    // That nothing can be seen from here, or that somebody could not be told, is an alert of its own, and worse than any that one knows of.
    let rows: Vec<_> = own.into_iter().chain(alerts.iter().map(row)).collect();
    show::table(&["ID", "STATE", "SEVERITY", "RULE", "DEVICE", "AGE", "SUMMARY"], &rows);
    for (rule, beyond) in answer["beyondLimit"].as_object().into_iter().flatten() {
        eprintln!("alertrule/{}: its limit is reached; {beyond} more devices are not alerted on", show::clean(rule));
    }
    if let Some(left @ 1..) = answer["leftOff"].as_u64() {
        eprintln!("{left} more are not listed");
    }
    Ok(ExitCode::SUCCESS)
}

/// That our own network is down, in the place of the alerts that it would be on every device.
fn own_network() -> Vec<String> {
    let summary = "our own network is down: what fails is unknown, and is not held against devices";
    ["-", "firing", "critical", "own-network", "-", "-", summary].map(str::to_owned).to_vec()
}

/// A receiver that could not be told, in the place of an alert.
fn undelivered(lost: &Value) -> Vec<String> {
    let text = |key: &str| lost[key].as_str().unwrap_or_default().to_owned();
    let receiver = reconcile::Name::parse(&text("receiver"));
    let count = lost["count"].as_u64().unwrap_or_default();
    let many = if count == 1 { "1 notification was given up".to_owned() } else { format!("{count} notifications were given up") };
    vec![
        "-".into(),
        "firing".into(),
        "critical".into(),
        "undelivered".into(),
        format!("receiver/{receiver}"),
        show::age(&text("since")),
        format!("{many}: {}", text("problem")),
    ]
}

fn word(alert: &Instance) -> String {
    let state = match alert.state {
        AlertState::Firing if alert.acknowledged.is_some() => "acknowledged",
        AlertState::Firing if !alert.suppressed.is_empty() => "suppressed",
        _ if alert.flaps.flapping => "flapping",
        AlertState::Firing => "firing",
        AlertState::Pending => "pending",
        AlertState::Resolved | AlertState::Inactive => "resolved",
    };
    state.to_owned()
}

async fn why(id: &str, engine: &Where) -> anyhow::Result<ExitCode> {
    let (alerts, _) = read(engine).await?;
    let mut found = alerts.iter().filter(|alert| alert.id.starts_with(id));
    let (Some(alert), None) = (found.next(), found.next()) else {
        bail!("there is no alert `{id}`, or more than one begins so: `evenkeel alerts --all` lists them");
    };
    println!("{} {}: alertrule/{} on device/{}", alert.id, word(alert), alert.subject.rule, alert.subject.device);
    println!("  {}", show::clean(&alert.subject.summary).replace('\n', " "));
    for line in &alert.subject.lines {
        println!("    {}", show::clean(line).replace('\n', " "));
    }
    if let Some(since) = alert.unknown_since {
        println!("  unknown since {since:.0}: {}", show::clean(&alert.unknown_reason));
    }
    for by in &alert.suppressed {
        println!("  not said for now: {}", show::clean(&by.to_string()));
    }
    if let Some(acknowledged) = &alert.acknowledged {
        let left = acknowledged.until.duration_since(Timestamp::now()).as_secs().max(0);
        let comment = show::clean(&acknowledged.comment);
        println!(
            "  {} looks after it for {}: {comment}",
            show::clean(&acknowledged.by),
            crds::Duration::from(SignedDuration::from_secs(left))
        );
    }
    if let Some(change) = &alert.subject.last_change {
        println!(
            "  last change: deployment/{} revision {}{}, commit {}{}, {} ago",
            change.deployment,
            change.revision,
            if change.version.is_empty() { String::new() } else { format!(" ({})", show::clean(&change.version)) },
            show::clean(&change.commit),
            if change.author.is_empty() { String::new() } else { format!(" of {}", show::clean(&change.author)) },
            show::age(&change.at.to_string())
        );
    }
    let row = |decision: &reconcile::alerting::state::Decision| {
        vec![
            format!("{:.0}", decision.at),
            if decision.receiver.is_empty() { "-".into() } else { decision.receiver.clone() },
            decision.text.clone(),
        ]
    };
    println!();
    show::table(&["AT", "RECEIVER", "DECISION"], &alert.decisions.iter().map(row).collect::<Vec<_>>());
    Ok(ExitCode::SUCCESS)
}

async fn notices(limit: u16, output: Output, engine: &Where) -> anyhow::Result<ExitCode> {
    let answer = engine.client()?.get(&format!("/v1/notices?limit={limit}")).await?;
    if matches!(output, Output::Json | Output::Yaml) {
        show::document(&answer, output)?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let many = |value: &Value| value.as_array().map_or(0, Vec::len).to_string();
    let row = |row: &Value| {
        let outcome = match (row["isDead"].as_bool(), row["finishedAt"].as_str()) {
            (Some(true), _) => "given up".to_owned(),
            (_, Some(_)) => "said".to_owned(),
            _ => "waiting".to_owned(),
        };
        let notice = &row["notice"];
        vec![
            show::age(&text(&row["recordedAt"])),
            text(&notice["receiver"]),
            text(&notice["reason"]),
            many(&notice["firing"]),
            many(&notice["resolved"]),
            outcome,
            row["attempts"].to_string(),
            text(&row["problem"]),
        ]
    };
    let rows: Vec<_> = answer.as_array().into_iter().flatten().map(row).collect();
    show::table(&["AGE", "RECEIVER", "REASON", "FIRING", "RESOLVED", "OUTCOME", "TRIES", "PROBLEM"], &rows);
    Ok(ExitCode::SUCCESS)
}
