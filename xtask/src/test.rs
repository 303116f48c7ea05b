//! `cargo xtask test`

use std::process::Command;
use std::time::Instant;

use anyhow::bail;
use clap::{Args, ValueEnum};

use crate::{cargo, install, run, target, tidy};

/// What to run.
#[derive(Args)]
pub(crate) struct TestArgs {
    /// What one runs before each commit: no root, no servers, no machines
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
    /// Licences, banned crates and sources, where cargo-deny is installed
    Deny,
    /// Unit, scenario and property tests, and generated files being fresh
    Unit,
    /// One suite per port on the fake and the real one: SSH, apt, Git, SQLite, PostgreSQL; and the simulated worlds
    Conformance,
    /// The demo's story on simulated devices, told and checked
    Demo,
    /// The engine on simulated devices and on real machines
    E2e,
}

const LEVELS: [Level; 8] =
    [Level::Format, Level::Tidy, Level::Clippy, Level::Deny, Level::Unit, Level::Conformance, Level::Demo, Level::E2e];
/// Test files of the level `unit` beside the crates' own: fast, and in need of nothing.
const UNIT: [&str; 6] = ["scenario", "update", "properties", "generated", "reference", "examples"];
/// Test files that need the level `e2e`.
const E2E: [&str; 8] = ["rollout", "engine", "kinds", "kubernetes", "repositories", "sops", "chart", "shards"];

/// Properties are tried on the same cases each time, so that a failure is the change's; `cargo xtask simulate` looks for new ones.
fn seeded() -> Command {
    let mut command = cargo();
    if std::env::var_os("PROPTEST_RNG_SEED").is_none() {
        command.env("PROPTEST_RNG_SEED", "0");
    }
    command
}

fn run_level(level: Level, skipped: &mut Vec<String>) -> anyhow::Result<()> {
    // Always the whole workspace: a single package would have its dependencies built once more, with other features.
    match level {
        Level::Format => run(cargo().args(["fmt", "--all", "--check"])),
        Level::Tidy => tidy::run(),
        Level::Clippy => run(cargo().args(["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"])),
        Level::Deny => {
            if cargo().args(["deny", "--version"]).output().is_ok_and(|output| output.status.success()) {
                return run(cargo().args(["deny", "--locked", "check", "bans", "licenses", "sources"]));
            }
            // Not a Debian package: where it is not there, there is nothing to install it from.
            eprintln!("note: cargo-deny is not installed; `cargo install cargo-deny` brings it");
            Ok(())
        }
        Level::Unit => run(seeded().args(["test", "--workspace", "--lib", "--bins"]).args(files(|name| UNIT.contains(&name))?)),
        Level::Conformance => {
            run(seeded().args(["test", "--workspace"]).args(files(|name| !UNIT.contains(&name) && !E2E.contains(&name))?))
        }
        Level::Demo => {
            let demo = ["run", "--quiet", "--package", "xtask", "--", "demo", "--once"];
            run(cargo().args(demo))?;
            match e2e::control_plane::programs::unavailable() {
                None => run(cargo().args(demo).arg("--kubernetes")),
                Some(why) => {
                    skipped.push(format!("demo --kubernetes: {why}"));
                    Ok(())
                }
            }
        }
        Level::E2e => {
            let missing = install::ensure();
            if !install::is_root() {
                skipped.push("e2e: real machines need root".into());
            } else if !missing.is_empty() {
                skipped.push(format!("e2e: missing Debian packages: {}", missing.join(" ")));
            } else {
                run(cargo().args(["build", "--quiet", "--workspace", "--bin", "evenkeel"]))?;
                let files = files(|name| E2E.contains(&name))?;
                return run(cargo().args(["test", "--workspace"]).args(files).env("EVENKEEL_BIN", target().join("debug/evenkeel")));
            }
            Ok(())
        }
    }
}

/// The test files of the workspace by name, as arguments of `cargo test`: a new one belongs to a level without being listed.
fn files(wanted: impl Fn(&str) -> bool) -> anyhow::Result<Vec<String>> {
    let output = cargo().args(["metadata", "--format-version", "1", "--no-deps", "--offline"]).output()?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let targets = packages.flat_map(|package| package["targets"].as_array().into_iter().flatten());
    let tests = targets.filter(|target| target["kind"] == serde_json::json!(["test"])).filter_map(|target| target["name"].as_str());
    let mut names: Vec<&str> = tests.filter(|name| wanted(name)).collect();
    names.sort_unstable();
    names.dedup();
    Ok(names.into_iter().flat_map(|name| ["--test".to_owned(), name.to_owned()]).collect())
}

pub(crate) fn run_all(args: &TestArgs) -> anyhow::Result<()> {
    let levels: Vec<Level> = match (args.only, args.quick) {
        (Some(level), _) => vec![level],
        (None, true) => LEVELS.into_iter().filter(|level| *level <= Level::Unit).collect(),
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
