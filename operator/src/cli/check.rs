//! `evenkeel check`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use manifests::finding::{Format, render};
use reconcile::finding::Severity;

/// What to check.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  evenkeel check .\n  evenkeel check fleet/ --output github     in a GitHub workflow, findings appear beside the lines"
)]
pub(crate) struct CheckArgs {
    /// A folder of manifests, or one file
    #[arg(value_name = "DIR", default_value = ".")]
    path: PathBuf,
    /// How findings are printed
    #[arg(long, short, value_enum, default_value = "text")]
    output: CheckOutput,
}

#[derive(Clone, Copy, ValueEnum)]
enum CheckOutput {
    /// For people
    Text,
    /// JSON
    Json,
    /// Workflow commands for GitHub, which shows findings beside the lines
    Github,
}

pub(crate) fn run(args: &CheckArgs) -> ExitCode {
    let (desired, findings) = match manifests::check(&args.path) {
        Ok(result) => result,
        Err(error) => {
            eprintln!("evenkeel: {}", super::show::clean(&error));
            return ExitCode::from(2);
        }
    };
    let format = match args.output {
        CheckOutput::Text => Format::Text { colour: console::colors_enabled() },
        CheckOutput::Json => Format::Json,
        CheckOutput::Github => Format::Github,
    };
    print!("{}", render(&findings, format));
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    if matches!(args.output, CheckOutput::Text) {
        println!(
            "{} devices, {} deployments, {} objects in all: {errors} errors, {warnings} warnings",
            desired.devices.size(),
            desired.deployments.size(),
            desired.objects.size()
        );
    }
    // Notes are no reason to stop a pipeline.
    if errors + warnings == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
