//! `cargo xtask test`

use std::time::Instant;

use anyhow::bail;
use clap::{Args, ValueEnum};

use crate::{cargo, install, run, target, tidy};

/// What to run.
#[derive(Args)]
pub(crate) struct TestArgs {
    /// What one runs before each commit: no root, no machines
    #[arg(long)]
    quick: bool,
    /// Only one level
    #[arg(long, value_enum)]
    only: Option<Level>,
}

/// A level of tests, least powerful first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Level {
    /// Format
    Format,
    /// What a machine can check of our style, the dependency arrows, generated files
    Tidy,
    /// Clippy, warnings denied
    Clippy,
    /// Licences and advisories, where cargo-deny is installed
    Deny,
    /// Unit, scenario, property and conformance tests
    Unit,
    /// Real machines
    E2e,
}

const LEVELS: [Level; 6] = [Level::Format, Level::Tidy, Level::Clippy, Level::Deny, Level::Unit, Level::E2e];

fn run_level(level: Level, skipped: &mut Vec<String>) -> anyhow::Result<()> {
    match level {
        Level::Format => run(cargo().args(["fmt", "--all", "--check"])),
        Level::Tidy => tidy::run(),
        Level::Clippy => run(cargo().args(["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"])),
        Level::Deny => {
            if cargo().args(["deny", "--version"]).output().is_ok_and(|output| output.status.success()) {
                return run(cargo().args(["deny", "--offline", "check", "bans", "licenses", "sources"]));
            }
            // Not a Debian package: where it is not there, there is nothing to install it from.
            eprintln!("note: cargo-deny is not installed; `cargo install cargo-deny` brings it");
            Ok(())
        }
        Level::Unit => run(cargo().args(["test", "--workspace", "--exclude", "e2e"])),
        Level::E2e => {
            let missing = install::ensure();
            if !install::is_root() {
                skipped.push("e2e: real machines need root".into());
            } else if !missing.is_empty() {
                skipped.push(format!("e2e: missing Debian packages: {}", missing.join(" ")));
            } else {
                // Always the whole workspace: a single package would have its dependencies built with other features.
                run(cargo().args(["build", "--quiet", "--workspace", "--bin", "evenkeel"]))?;
                return run(cargo()
                    .args(["test", "--workspace", "--test", "rollout", "--test", "engine"])
                    .env("EVENKEEL_BIN", target().join("debug/evenkeel")));
            }
            Ok(())
        }
    }
}

pub(crate) fn run_all(args: &TestArgs) -> anyhow::Result<()> {
    let levels: Vec<Level> = match (args.only, args.quick) {
        (Some(level), _) => vec![level],
        (None, true) => LEVELS.into_iter().filter(|level| *level < Level::E2e).collect(),
        (None, false) => LEVELS.to_vec(),
    };
    if !args.quick && args.only.is_none() {
        install::ensure();
    }
    let begin = Instant::now();
    let mut skipped = Vec::new();
    for level in levels {
        let begin = Instant::now();
        eprintln!("=== {level:?}");
        run_level(level, &mut skipped)?;
        eprintln!("=== {level:?} took {} s", begin.elapsed().as_secs());
    }
    for skip in &skipped {
        eprintln!("SKIPPED {skip}");
    }
    if !skipped.is_empty() && std::env::var("CI").is_ok_and(|ci| ci == "true") {
        bail!("{} skipped, and in CI nothing may be", skipped.len());
    }
    eprintln!("all passed in {} s, {} skipped", begin.elapsed().as_secs(), skipped.len());
    Ok(())
}
