//! `evenkeel check`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use manifests::Checked;
use manifests::finding::{Format, render};
use manifests::git::{self, Follow, Source};
use reconcile::finding::Severity;

/// What to check.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  evenkeel check .\n  evenkeel check fleet/ --output github               in a GitHub workflow, findings appear beside the lines\n  evenkeel check /srv/git/fleet.git --rev main        in a hook of a bare repository, before a push is accepted\n  evenkeel check https://git.example.com/fleet.git --rev my-branch --secret /etc/evenkeel/secrets/git\n\nExit: 0 fine (notes don't count), 1 findings, 2 it could not be checked."
)]
pub(crate) struct CheckArgs {
    /// A folder of manifests, one file, or a Git repository (path or URL)
    #[arg(value_name = "DIR|REPO", default_value = ".")]
    target: String,
    /// Check this branch, tag or commit as Git has it, instead of the files on disk; HEAD for a bare repository or a URL
    #[arg(long, value_name = "REV")]
    rev: Option<String>,
    /// Folder in the repository at a URL
    #[arg(long, default_value = "", value_name = "DIR")]
    path: String,
    /// Directory with the credentials for a URL, one file for each key
    #[arg(long, value_name = "DIR")]
    secret: Option<PathBuf>,
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

pub(crate) async fn run(args: &CheckArgs) -> ExitCode {
    let (desired, findings) = match check(args).await {
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
            "{}, {}, {} in all: {}, {}",
            super::show::count(desired.devices.size(), "device"),
            super::show::count(desired.plain_deployments().count(), "deployment"),
            super::show::count(desired.objects.size(), "object"),
            super::show::count(errors, "error"),
            super::show::count(warnings, "warning")
        );
    }
    // Notes are no reason to stop a pipeline.
    if errors + warnings == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn check(args: &CheckArgs) -> Result<Checked, String> {
    let path = Path::new(&args.target);
    if !path.exists() && git::is_repository(&args.target) {
        return elsewhere(args).await;
    }
    let is_bare = git::is_repository(&args.target) && !path.join(".git").exists();
    match args.rev.as_deref().or(is_bare.then_some("HEAD")) {
        Some(rev) => manifests::check_commit(path, rev).map_err(|error| error.to_string()),
        None => manifests::check(path),
    }
}

/// A repository that has to be fetched, for the time of the check.
async fn elsewhere(args: &CheckArgs) -> Result<Checked, String> {
    let cache = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut first = None;
    for follow in Follow::guesses(args.rev.as_deref().unwrap_or("HEAD")) {
        let options = git::Options { follow, path: args.path.clone(), secret: args.secret.clone(), ..git::Options::default() };
        let source = Source::new(&args.target, &cache.path().join("repository.git"), options).map_err(|error| error.to_string())?;
        match manifests::check_source(&source).await {
            Err(error @ git::Error::NoReference { .. }) => first = first.or(Some(error.to_string())),
            result => return result.map_err(|error| error.to_string()),
        }
    }
    Err(first.unwrap_or_default())
}
