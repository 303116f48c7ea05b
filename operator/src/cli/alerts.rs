//! `evenkeel alerts`

mod backtest;
mod silence;

use std::process::ExitCode;

use anyhow::bail;
use api::client::Client;
use clap::{Args, Subcommand};
use crds::{AlertState, Severity};
use jiff::Timestamp;
use reconcile::Name;
use reconcile::alerting::state::Instance;
use serde::Deserialize;
use serde_json::{Value, json};

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
            let (client, until) = (engine.client()?, Timestamp::now().checked_add(hold_for.0)?);
            let path = format!("/api/v1/alerts/{}/acknowledge", found(&client, id).await?);
            let answer = client.send_json("POST", &path, &json!({"comment": comment, "until": until})).await?;
            println!("{}", show::clean(answer["message"].as_str().unwrap_or_default()));
            Ok(ExitCode::SUCCESS)
        }
        Some(AlertsCommand::Backtest(args)) => backtest::run(args).await,
        Some(AlertsCommand::Silence(args)) => silence::run(args).await,
        Some(AlertsCommand::Notices { limit, output, engine }) => notices(*limit, *output, engine).await,
    }
}

/// All of them as the engine has them.
async fn read(engine: &Where) -> anyhow::Result<Vec<Instance>> {
    let mut answer = engine.client()?.get("/v1/alerts").await?;
    Ok(serde_json::from_value(answer["items"].take())?)
}

/// What stands in the list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    id: String,
    rule: String,
    device: String,
    state: AlertState,
    flapping: bool,
    severity: Severity,
    summary: String,
    active_at: Timestamp,
    fired_at: Option<Timestamp>,
    acknowledged: Option<Value>,
    suppressed: Vec<Value>,
}

impl Listed {
    fn counts_as_firing(&self) -> bool {
        self.state == AlertState::Firing || self.flapping
    }

    fn word(&self) -> &'static str {
        match self.state {
            AlertState::Firing if self.acknowledged.is_some() => "acknowledged",
            AlertState::Firing if !self.suppressed.is_empty() => "suppressed",
            _ if self.flapping => "flapping",
            AlertState::Firing => "firing",
            AlertState::Pending => "pending",
            AlertState::Resolved | AlertState::Inactive => "resolved",
        }
    }
}

/// The alert whose name begins so, if that is one.
async fn found(client: &Client, id: &str) -> anyhow::Result<String> {
    let answer = client.pages("/api/v1/alerts?limit=1000&fields=id").await?;
    let ids = answer["items"].as_array().into_iter().flatten().filter_map(|alert| alert["id"].as_str());
    let found: Vec<&str> = ids.filter(|found| found.starts_with(id)).take(2).collect();
    match found[..] {
        [one] => Ok(one.to_owned()),
        _ => bail!("there is no alert `{id}`, or more than one begins so: `evenkeel alerts --all` lists them"),
    }
}

async fn list(args: &AlertsArgs) -> anyhow::Result<ExitCode> {
    let mut answer = args.engine.client()?.pages("/api/v1/alerts?limit=1000").await?;
    let items = match answer["items"].take() {
        Value::Array(items) => items,
        _ => Vec::new(),
    };
    let read = |item: Value| -> anyhow::Result<(Listed, Value)> { Ok((serde_json::from_value(item.clone())?, item)) };
    let mut alerts = items.into_iter().map(read).collect::<anyhow::Result<Vec<_>>>()?;
    alerts.retain(|(alert, _)| args.all || alert.counts_as_firing());
    // What fires stands first, the worst of it above, and of that the oldest.
    alerts.sort_by_key(|(alert, _)| (!alert.counts_as_firing(), alert.severity as u8, alert.fired_at.unwrap_or(alert.active_at)));
    if matches!(args.output, Output::Json | Output::Yaml) {
        show::document(&alerts.into_iter().map(|(_, item)| item).collect::<Vec<_>>(), args.output)?;
        return Ok(ExitCode::SUCCESS);
    }
    let row = |(alert, _): &(Listed, Value)| {
        vec![
            alert.id.clone(),
            alert.word().to_owned(),
            format!("{:?}", alert.severity).to_lowercase(),
            Name::parse(&alert.rule).to_string(),
            Name::parse(&alert.device).to_string(),
            show::age(&alert.fired_at.unwrap_or(alert.active_at).to_string()),
            alert.summary.clone(),
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
    let receiver = Name::parse(&text("receiver"));
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

async fn why(id: &str, engine: &Where) -> anyhow::Result<ExitCode> {
    let client = engine.client()?;
    let alert = client.get(&format!("/api/v1/alerts/{}", found(&client, id).await?)).await?;
    print!("{}", show::clean(alert["text"].as_str().unwrap_or_default()));
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
