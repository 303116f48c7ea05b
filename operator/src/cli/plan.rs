//! `evenkeel plan`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use reconcile::{Observed, plan};

use super::{Output, Where, show};

/// What to plan.
#[derive(Args)]
#[command(after_help = "Without --dir it shows what the running engine has under way and put off.")]
pub(crate) struct PlanArgs {
    /// Plan this folder of manifests against nothing seen yet: what a first pass would wait for
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// How it is printed
    #[arg(long, short, value_enum, default_value = "text")]
    output: Output,
    #[command(flatten)]
    engine: Where,
}

pub(crate) async fn run(args: &PlanArgs) -> anyhow::Result<ExitCode> {
    if let Some(dir) = &args.dir {
        let (desired, findings) = manifests::check(dir).map_err(anyhow::Error::msg)?;
        let errors = findings.iter().filter(|finding| finding.severity == reconcile::finding::Severity::Error).count();
        if errors > 0 {
            eprintln!("{errors} errors: evenkeel check {}", dir.display());
        }
        let plan = plan(&desired, &Observed::default(), jiff::Timestamp::now());
        match args.output {
            Output::Text | Output::Wide => print!("{}", show::clean(&plan.to_string())),
            output => show::document(&plan, output)?,
        }
        return Ok(if plan.steps.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) });
    }
    let value = args.engine.client()?.get("/v1/plan").await?;
    let in_flight = value["inFlight"].as_array().cloned().unwrap_or_default();
    let deferred: Vec<reconcile::Deferred> = serde_json::from_value(value["deferred"].clone())?;
    let nothing = in_flight.is_empty() && deferred.is_empty();
    match args.output {
        Output::Text | Output::Wide => {
            for step in &in_flight {
                let word = |key: &str| show::clean(step[key].as_str().unwrap_or_default());
                println!(
                    "~ deployment/{} on device/{}: {} since {} (step {})",
                    word("deployment"),
                    word("device"),
                    word("phase"),
                    show::age(&word("since")),
                    word("step")
                );
            }
            for deferred in &deferred {
                println!("{}", show::clean(&format!("{}  {deferred}", deferred.unit)));
            }
            if nothing {
                println!("Nothing to do.");
            }
        }
        output => show::document(&value, output)?,
    }
    Ok(if nothing { ExitCode::SUCCESS } else { ExitCode::from(2) })
}
