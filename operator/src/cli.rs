//! The command line.

mod alerts;
mod apply;
mod audit;
mod can;
mod check;
mod get;
mod graph;
mod kubernetes;
mod log_archive;
mod log_keeping;
mod log_senders;
mod logs;
mod plan;
mod receivers;
mod reference;
mod rollout;
mod run;
mod shards;
mod show;
mod signing_in;
mod simulate;
mod syslog;
mod top;
mod users;
mod webhooks;
mod writing;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{anyhow, bail};
use api::client::Client;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

/// What `--version` says, beside what `-V` says.
fn version() -> &'static str {
    if api::ui::is_there() {
        concat!(env!("CARGO_PKG_VERSION"), ", with its web UI")
    } else {
        concat!(env!("CARGO_PKG_VERSION"), ", built without the web UI")
    }
}

/// Brings servers, network devices and storage boxes to the state that Git declares, in batches, and back when it hurts.
#[derive(Parser)]
#[command(
    name = "evenkeel",
    version,
    long_version = version(),
    max_term_width = 120,
    after_help = "Examples:
  evenkeel check fleet/                        what is wrong with these manifests?
  evenkeel simulate fleet/                     what would come of them on simulated devices?
  evenkeel run --repo https://git.example.com/fleet.git --secrets /etc/evenkeel/secrets
  evenkeel get devices                         is it well?
  evenkeel explain deployment/web              why does it wait, and who can clear it?
  evenkeel rollout undo deployment/web         back to the last good revision

Environment:
  EVENKEEL_DATA      data directory of the engine, for all commands
  EVENKEEL_SERVER    URL of an engine elsewhere, or host:port, for the commands that ask one
  EVENKEEL_TOKEN     its token, or an API token: an administrator's, or for what only shows something anybody's
  EVENKEEL_SECRETS   directory of secrets
  DATABASE_URL       the store, where it is PostgreSQL
  RUST_LOG           which log lines are written: info, debug, evenkeel=debug
  NO_COLOR           no colours"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the engine
    Run(run::RunArgs),
    /// Check manifests as a compiler reads code: exit 0 fine, 1 errors or warnings, 2 could not run
    Check(check::CheckArgs),
    /// Show what would be done: exit 0 nothing to do, 2 changes, 1 error
    Plan(plan::PlanArgs),
    /// Bring the fleet to the declared state once, and end: exit 0 if it is there, 1 if not
    Apply(apply::ApplyArgs),
    /// Show objects of a running engine
    Get(get::GetArgs),
    /// Show what devices use: processors, memory, disks, network
    Top(top::TopArgs),
    /// Draw how something went on a device: evenkeel graph device/web-01 cpu --since 1h
    Graph(graph::GraphArgs),
    /// Say whether somebody may do something, and which Role says so: exit 0 yes, 1 no, 2 could not be told
    Can(can::CanArgs),
    /// Say why something is as it is: every gate, since when, who can clear it
    Explain(get::ExplainArgs),
    /// See and steer a rollout
    Rollout(rollout::RolloutArgs),
    /// Let a commit through that deletes or touches more devices than `run` allows
    Approve(rollout::ApproveArgs),
    /// Show what fires, say why, and who looks after it
    Alerts(alerts::AlertsArgs),
    /// Try out where notifications go
    Receivers(receivers::ReceiversArgs),
    /// Read, export and prove the audit log
    Audit(audit::AuditArgs),
    /// Show what devices say in their logs, the newest last
    Logs(logs::LogsArgs),
    /// Say who may come in: local users, their groups and passwords
    Users(users::UsersArgs),
    /// Make and revoke tokens that programs show
    Tokens(users::TokensArgs),
    /// Show how the engine is, or watch rollouts go on
    Status(get::StatusArgs),
    /// Ask a server for its SSH host keys, as YAML to be pinned
    Scan(run::ScanArgs),
    /// Rehearse a change on simulated devices: exit 0 complete, 1 failed or taken back, 2 could not run
    Simulate(simulate::SimulateArgs),
    /// Print the kinds as Kubernetes CustomResourceDefinitions
    Crds,
    /// Print a completion script
    Completion {
        /// For this shell
        shell: clap_complete::Shell,
    },
    /// Print this command line as Markdown, as docs/cli.md has it
    #[command(hide = true)]
    Reference,
}

/// Which engine to talk to.
#[derive(Args, Clone)]
pub(crate) struct Where {
    /// Data directory of the engine to ask, on this machine
    #[arg(long, env = "EVENKEEL_DATA", default_value = "evenkeel-data", value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// URL of an engine elsewhere that listens for HTTP, such as https://fleet.example.com or host:8080; its token comes from EVENKEEL_TOKEN
    #[arg(long, env = "EVENKEEL_SERVER", value_name = "URL")]
    pub(crate) server: Option<String>,
}

impl Where {
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        Ok(match self.url()? {
            Some(url) => Client::remote(&url, std::env::var("EVENKEEL_TOKEN").ok())?,
            None => Client::local(&self.data)?,
        })
    }

    /// The URL of the engine elsewhere, if it is one; without a scheme it is taken for HTTP.
    pub(crate) fn url(&self) -> anyhow::Result<Option<String>> {
        let Some(text) = self.server.as_deref().map(str::trim).filter(|text| !text.is_empty()) else { return Ok(None) };
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url: reqwest::Url =
            whole.parse().map_err(|error| anyhow!("--server {text}: {error}; write https://HOST or http://HOST:PORT"))?;
        let is_plain = url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
        if !["http", "https"].contains(&url.scheme()) || !url.has_host() || !is_plain {
            bail!("--server: write https://HOST or http://HOST:PORT; the token comes from EVENKEEL_TOKEN");
        }
        Ok(Some(url.as_str().trim_end_matches('/').to_owned()))
    }
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Text,
    /// Text with more columns, where there are more
    Wide,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// Does what was asked for.
pub(crate) async fn run(cli: Cli) -> ExitCode {
    let result = match cli.command {
        Command::Run(args) => run::run(args).await,
        Command::Check(args) => return check::run(&args).await,
        Command::Plan(args) => plan::run(&args).await,
        Command::Apply(args) => apply::run(args).await,
        Command::Get(args) => get::run(&args).await,
        Command::Top(args) => top::run(&args).await,
        Command::Graph(args) => graph::run(&args).await,
        Command::Can(args) => return can::run(&args).await,
        Command::Explain(args) => get::explain(&args).await,
        Command::Rollout(args) => rollout::run(&args).await,
        Command::Approve(args) => rollout::approve(&args).await,
        Command::Alerts(args) => alerts::run(&args).await,
        Command::Receivers(args) => receivers::run(&args).await,
        Command::Audit(args) => audit::run(&args).await,
        Command::Logs(args) => logs::run(&args).await,
        Command::Users(args) => users::run(&args).await,
        Command::Tokens(args) => users::tokens(&args).await,
        Command::Status(args) => get::status(&args).await,
        Command::Scan(args) => run::scan(&args).await,
        Command::Simulate(args) => return simulate::run(args).await,
        Command::Crds => {
            for definition in crds::all() {
                print!("---\n{}", crds::yaml(&definition));
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Reference => {
            print!("{}", reference::page(Cli::command()));
            Ok(ExitCode::SUCCESS)
        }
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "evenkeel", &mut script);
            print!("{}", String::from_utf8_lossy(&script));
            Ok(ExitCode::SUCCESS)
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("evenkeel: {}", show::clean(&format!("{error:#}")));
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_elsewhere_is_named_with_or_without_its_scheme() {
        let url = |text: &str| Where { data: PathBuf::new(), server: Some(text.into()) }.url();
        for (text, expected) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("fleet.example.com", "http://fleet.example.com"),
            ("[::1]:8080/", "http://[::1]:8080"),
            ("https://fleet.example.com/", "https://fleet.example.com"),
            ("https://proxy.example.com/fleet/", "https://proxy.example.com/fleet"),
        ] {
            assert_eq!(url(text).unwrap().as_deref(), Some(expected));
        }
        assert_eq!(url(" ").unwrap(), None);
        for wrong in ["ftp://x", "http://", "a b", "https://ann:secret@x", "x?token=secret"] {
            let why = url(wrong).unwrap_err().to_string();
            assert!(why.contains("https://HOST") && (!wrong.contains("secret") || !why.contains("secret")), "{why}");
        }
    }
}
