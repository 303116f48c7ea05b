//! `evenkeel rollout` and `approve`

use std::process::ExitCode;

use anyhow::bail;
use api::view::Ask;
use clap::{Args, Subcommand};
use reconcile::command::Command;
use reconcile::{Name, Target};

use super::{Where, get, show};

/// What to see or do.
#[derive(Args)]
pub(crate) struct RolloutArgs {
    #[command(subcommand)]
    command: RolloutCommand,
}

#[derive(Subcommand)]
enum RolloutCommand {
    /// Show how far it is
    Status(Of),
    /// Show its revisions
    History(Of),
    /// Begin nothing new
    Pause(Of),
    /// Go on; a stopped revision is tried again
    Resume(Of),
    /// Agree to the batch that waits
    Approve {
        #[command(flatten)]
        of: Of,
        /// The id that was shown; the one that waits, if none is given
        #[arg(long)]
        id: Option<String>,
    },
    /// Go back, and stay there until Git changes
    Undo {
        #[command(flatten)]
        of: Of,
        /// To this revision; the last one that was complete, if none is given
        #[arg(long, value_name = "N")]
        to_revision: Option<u32>,
    },
}

/// Which Deployment.
#[derive(Args)]
struct Of {
    /// deployment/NAME or NAME; role/NAME for the login of a Role
    deployment: String,
    #[command(flatten)]
    engine: Where,
}

impl Of {
    fn name(&self) -> anyhow::Result<Name> {
        match Target::parse(&self.deployment) {
            Some(target @ (Target::Deployment(_) | Target::Object(crds::Kind::Role, _))) => Ok(target.rollout()),
            Some(other) => bail!("{other} is neither a Deployment nor a Role with a login"),
            None => Ok(Name::parse(&self.deployment)),
        }
    }

    async fn ask(&self, command: Command) -> anyhow::Result<ExitCode> {
        let deployment = self.name()?;
        let answer = self.engine.client()?.ask(&Ask::Rollout { deployment, command }).await?;
        println!("{}", show::clean(&answer));
        Ok(ExitCode::SUCCESS)
    }
}

pub(crate) async fn run(args: &RolloutArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        RolloutCommand::Status(of) => {
            print!("{}", get::why(&of.engine, &Target::unit(&of.name()?)).await?);
            Ok(ExitCode::SUCCESS)
        }
        RolloutCommand::History(of) => history(of).await,
        RolloutCommand::Pause(of) => of.ask(Command::Pause).await,
        RolloutCommand::Resume(of) => of.ask(Command::Resume).await,
        RolloutCommand::Approve { of, id } => {
            let id = match id {
                Some(id) => id.clone(),
                None => waiting(of).await?,
            };
            of.ask(Command::Approve { id }).await
        }
        RolloutCommand::Undo { of, to_revision } => of.ask(Command::Undo { to: *to_revision }).await,
    }
}

async fn history(of: &Of) -> anyhow::Result<ExitCode> {
    let name = of.name()?;
    let value = of.engine.client()?.get(&format!("/v1/rollouts/{}/{}", name.namespace(), name.name())).await?;
    let history: Vec<reconcile::RevisionRecord> = serde_json::from_value(value["history"].clone())?;
    let row = |record: &reconcile::RevisionRecord| {
        vec![
            record.number.to_string(),
            record.content.summary(),
            record.commit.chars().take(10).collect(),
            record.author.clone(),
            show::age(&record.started_at.to_string()),
            record.result.word().to_owned(),
            record.reason.clone(),
        ]
    };
    show::table(&["REV", "WANTS", "COMMIT", "AUTHOR", "AGE", "RESULT", "REASON"], &history.iter().map(row).collect::<Vec<_>>());
    Ok(ExitCode::SUCCESS)
}

/// The id that waits for approval, having shown what it is for.
async fn waiting(of: &Of) -> anyhow::Result<String> {
    let target = Target::unit(&of.name()?);
    let value = of.engine.client()?.get("/v1/plan").await?;
    let deferred: Vec<reconcile::Deferred> = serde_json::from_value(value["deferred"].clone())?;
    for deferred in deferred.iter().filter(|deferred| deferred.unit == target) {
        if let reconcile::WaitingOn::Approval { id } = &deferred.waiting_on {
            println!("{}: {}", target, show::clean(&deferred.wants));
            return Ok(id.clone());
        }
    }
    bail!("nothing of {target} waits for approval")
}

/// Which commit.
#[derive(Args)]
pub(crate) struct ApproveArgs {
    /// The id that `evenkeel status` shows
    id: String,
    #[command(flatten)]
    engine: Where,
}

pub(crate) async fn approve(args: &ApproveArgs) -> anyhow::Result<ExitCode> {
    println!("{}", show::clean(&args.engine.client()?.ask(&Ask::Admit { id: args.id.clone() }).await?));
    Ok(ExitCode::SUCCESS)
}
