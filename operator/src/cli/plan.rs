//! `evenkeel plan`

use std::path::PathBuf;
use std::process::ExitCode;

use api::view::Preview;
use clap::Args;
use reconcile::{Observed, Outlook, outlook};
use serde_json::Value;

use super::{Output, Where, show};

/// What to plan.
#[derive(Args)]
#[command(
    after_help = "It shows what would be done if every step went well and everybody agreed, batch by batch, and what is put off and why. Nothing is done.\n\nExamples:\n  evenkeel plan                       what the running engine is at, and what comes next\n  evenkeel plan --diff my-branch      what would come of this branch, tag or commit?\n  evenkeel plan --repository fleet --diff my-branch   the same for a Repository in a cluster\n  evenkeel plan --dir fleet/          what these manifests would do to bare devices\n\nExit: 0 nothing to do, 2 changes, 1 it could not be planned, or has errors."
)]
pub(crate) struct PlanArgs {
    /// A branch, tag or commit of the engine's repository, seen from what is in force
    #[arg(long, value_name = "REV", conflicts_with = "dir")]
    diff: Option<String>,
    /// The Repository whose branch, tag or commit it is, as NAMESPACE/NAME, or NAME in `default`; in a cluster
    #[arg(long, value_name = "REPOSITORY", requires = "diff")]
    repository: Option<String>,
    /// A folder of manifests, planned for devices on which nothing of it is yet; needs no engine
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// How it is printed
    #[arg(long, short, value_enum, default_value = "text")]
    output: Output,
    #[command(flatten)]
    engine: Where,
}

pub(crate) async fn run(args: &PlanArgs) -> anyhow::Result<ExitCode> {
    let is_text = matches!(args.output, Output::Text | Output::Wide);
    if let Some(dir) = &args.dir {
        let outlook = bare(dir)?;
        match is_text {
            true => text(&outlook),
            false => show::document(&outlook, args.output)?,
        }
        return Ok(code(outlook.is_empty()));
    }
    let client = args.engine.client()?;
    if let Some(revision) = &args.diff {
        let of = args.repository.as_deref().map(|name| format!("&repository={}", show::in_url(name))).unwrap_or_default();
        let value = client.get(&format!("/v1/outlook?revision={}{of}", show::in_url(revision))).await?;
        let preview: Preview = serde_json::from_value(value)?;
        match is_text {
            true => difference(&preview),
            false => show::document(&preview, args.output)?,
        }
        // A pipeline that asks what a branch would do must not take it that a broken one does nothing.
        let errors = preview.findings.iter().filter(|finding| finding.contains(": error: ")).count();
        if errors > 0 {
            eprintln!("evenkeel: {} in it: evenkeel check has them all", show::count(errors, "error"));
            return Ok(ExitCode::FAILURE);
        }
        return Ok(code(preview.outlook.is_empty() && preview.reach.deleted.is_empty()));
    }
    let now = client.get("/v1/plan").await?;
    let preview: Preview = serde_json::from_value(client.get("/v1/outlook").await?)?;
    let in_flight = now["inFlight"].as_array().cloned().unwrap_or_default();
    match is_text {
        true => {
            in_flight.iter().for_each(under_way);
            text(&preview.outlook);
        }
        false => show::document(
            &serde_json::json!({"inFlight": in_flight, "deferred": now["deferred"], "outlook": preview.outlook}),
            args.output,
        )?,
    }
    Ok(code(in_flight.is_empty() && preview.outlook.is_empty()))
}

fn code(nothing: bool) -> ExitCode {
    if nothing { ExitCode::SUCCESS } else { ExitCode::from(2) }
}

/// Every device as if it had been seen, with nothing of what is wanted on it.
fn bare(dir: &std::path::Path) -> anyhow::Result<Outlook> {
    let (desired, findings) = manifests::check(dir).map_err(anyhow::Error::msg)?;
    let errors = findings.iter().filter(|finding| finding.severity == reconcile::finding::Severity::Error).count();
    if errors > 0 {
        anyhow::bail!("{errors} errors: evenkeel check {}", dir.display());
    }
    let now = jiff::Timestamp::now();
    let observed = Observed::bare(&desired, now);
    Ok(outlook(&desired, &observed, now, &desired.deployments.keys().cloned().collect()))
}

fn under_way(step: &Value) {
    let word = |key: &str| show::clean(step[key].as_str().unwrap_or_default());
    let whose = word("deployment");
    let whose = if whose.starts_with("role/") { whose } else { format!("deployment/{whose}") };
    println!(
        "under way: {whose} on device/{}: {} since {} (step {})",
        word("device"),
        word("phase"),
        show::age(&word("since")),
        word("step")
    );
}

fn difference(preview: &Preview) {
    println!("Revision {} by {}", show::clean(&preview.revision.to_string()), show::clean(&preview.revision.author));
    preview.findings.iter().for_each(|finding| println!("finding  {}", show::clean(finding)));
    let (touched, deleted) = (preview.reach.touched.len(), preview.reach.deleted.len());
    println!("It touches {touched} of {} devices and deletes {deleted}.", preview.reach.of);
    for name in preview.reach.deleted.iter().take(20) {
        println!("  - device/{name}");
    }
    if let Some(reason) = &preview.too_far {
        println!("It {reason}.");
    }
    println!();
    text(&preview.outlook);
}

/// Changes are what one looks for: they get a colour.
fn text(outlook: &Outlook) {
    for line in show::clean(&outlook.to_string()).lines() {
        let style = match line.trim_start().chars().next() {
            _ if !line.starts_with(' ') => console::Style::new().bold(),
            Some('~') => console::Style::new().yellow(),
            Some('*') => console::Style::new().cyan(),
            _ if line.contains(" -> ") => console::Style::new().green(),
            _ => console::Style::new(),
        };
        println!("{}", style.apply_to(line));
    }
}
