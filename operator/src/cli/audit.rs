//! `evenkeel audit`

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use store::audit::Entry;
use store::audit::checkpoint::{Checkpoint, PublicKey};

use super::{Output, Where, show};

/// What to read or prove.
#[derive(Args)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Subcommand)]
enum AuditCommand {
    /// List entries, the newest first
    List {
        /// Only those about this: device/NAME or deployment/NAME
        #[arg(long, value_name = "TARGET")]
        about: Option<String>,
        /// At most so many; 1000 is the most that can be had at once
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        /// How they are printed
        #[arg(long, short, value_enum, default_value = "text")]
        output: Output,
        #[command(flatten)]
        engine: Where,
    },
    /// Show one entry
    Show {
        /// Its index
        index: u64,
        #[command(flatten)]
        engine: Where,
    },
    /// Write the whole log, to be kept or verified elsewhere
    Export {
        /// Into this file; to standard output if none is given
        #[arg(long, short, value_name = "FILE")]
        file: Option<PathBuf>,
        #[command(flatten)]
        engine: Where,
    },
    /// Print the newest signed checkpoint: keep it elsewhere
    Checkpoint {
        #[command(flatten)]
        engine: Where,
    },
    /// Prove an exported log, offline: exit 0 if nothing was changed, removed, inserted, reordered or cut off
    Verify {
        /// The export
        file: PathBuf,
        /// The key that is trusted (`audit.pub` of the data directory)
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// A checkpoint that was kept elsewhere: without one, a tail that was cut off with its checkpoints does not show
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
    },
}

pub(crate) async fn run(args: &AuditArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        AuditCommand::List { about, limit, output, engine } => {
            if let Some(about) = about.as_ref().filter(|about| !about.contains('/')) {
                bail!("--about {about}: write device/NAME, deployment/NAME or commit/ID");
            }
            let about = about.as_ref().map(|about| format!("&about={}", show::in_url(about))).unwrap_or_default();
            let entries: Vec<Entry> = serde_json::from_value(engine.client()?.get(&format!("/v1/audit?limit={limit}{about}")).await?)?;
            match output {
                Output::Text | Output::Wide => list(&entries),
                output => show::document(&entries, *output)?,
            }
        }
        AuditCommand::Show { index, engine } => show::document(&engine.client()?.get(&format!("/v1/audit/{index}")).await?, Output::Yaml)?,
        AuditCommand::Export { file, engine } => export(file.as_ref(), engine).await?,
        AuditCommand::Checkpoint { engine } => print!("{}", engine.client()?.text("/v1/audit/checkpoint").await?.0),
        AuditCommand::Verify { file, key, checkpoint } => return verify(file, key, checkpoint.as_ref()),
    }
    Ok(ExitCode::SUCCESS)
}

fn list(entries: &[Entry]) {
    let row = |entry: &Entry| {
        let message =
            if entry.changes.is_empty() { entry.message.lines().last().unwrap_or_default().to_owned() } else { entry.changes.join(", ") };
        vec![
            entry.index.to_string(),
            format!("{:.0}", entry.at),
            entry.actor.name.clone(),
            entry.verb.clone(),
            entry.target.clone(),
            entry.outcome.clone(),
            message.chars().take(80).collect(),
        ]
    };
    show::table(&["INDEX", "AT", "WHO", "WHAT", "ON", "OUTCOME", "WHY OR WHAT CAME OF IT"], &entries.iter().map(row).collect::<Vec<_>>());
}

async fn export(file: Option<&PathBuf>, engine: &Where) -> anyhow::Result<()> {
    let client = engine.client()?;
    let mut out: Box<dyn std::io::Write> = match file {
        Some(file) => Box::new(std::io::BufWriter::new(std::fs::File::create(file).with_context(|| file.display().to_string())?)),
        None => Box::new(std::io::stdout()),
    };
    let mut from = "0".to_owned();
    loop {
        let (text, next) = client.text(&format!("/v1/audit/export?from={from}")).await?;
        out.write_all(text.as_bytes())?;
        match next {
            Some(next) => from = next,
            None => break,
        }
    }
    out.flush()?;
    Ok(())
}

fn verify(file: &PathBuf, key: &PathBuf, checkpoint: Option<&PathBuf>) -> anyhow::Result<ExitCode> {
    let text = |path: &PathBuf| std::fs::read_to_string(path).with_context(|| path.display().to_string());
    let key = PublicKey::from_text(&text(key)?)?;
    let kept = checkpoint.map(|path| anyhow::Ok(Checkpoint::open(&text(path)?, &key)?)).transpose()?;
    let export = std::io::BufReader::new(std::fs::File::open(file).with_context(|| file.display().to_string())?);
    let report = store::audit::verify(export, &key, kept.as_ref())?;
    match report.wrong {
        None => {
            println!("{} entries, all of them proven by signed checkpoints", report.entries);
            if kept.is_none() {
                println!("a tail cut off together with its checkpoints would only show against one that was kept elsewhere (--checkpoint)");
            }
            Ok(ExitCode::SUCCESS)
        }
        Some(wrong) => bail!("{}: {wrong}", file.display()),
    }
}
