//! `evenkeel receivers`

use std::process::ExitCode;

use api::view::Ask;
use clap::{Args, Subcommand};
use reconcile::Name;

use super::{Where, show};

/// Where notifications go.
#[derive(Args)]
pub(crate) struct ReceiversArgs {
    #[command(subcommand)]
    command: ReceiversCommand,
}

#[derive(Subcommand)]
enum ReceiversCommand {
    /// Send a trial by the very way of an alert, and wait for what comes of it: exit 0 it was taken, 1 it was not
    #[command(after_help = "Example:\n  evenkeel receivers test oncall")]
    Test {
        /// The Receiver, as NAMESPACE/NAME, or NAME in `default`
        name: String,
        #[command(flatten)]
        engine: Where,
    },
}

pub(crate) async fn run(args: &ReceiversArgs) -> anyhow::Result<ExitCode> {
    let ReceiversCommand::Test { name, engine } = &args.command;
    let receiver = Name::parse(name.trim_start_matches("receiver/"));
    println!("{}", show::clean(&engine.client()?.ask(&Ask::TryOut { receiver }).await?));
    Ok(ExitCode::SUCCESS)
}
