//! Tasks for developers: `cargo xtask demo | test | web | bench | simulate | chaos | generate | tidy`.

mod bench;
mod demo;
mod install;
mod test;
mod tidy;
mod web;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};

/// Tasks for developers of Evenkeel.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// See it at work: a simulated fleet, a good release, and a bad one that is caught and taken back
    Demo(demo::DemoArgs),
    /// Run everything that decides whether a change may land
    Test(test::TestArgs),
    /// Build the web UI, if it changed, for the next build of evenkeel to embed
    Web,
    /// Write the generated files
    Generate,
    /// Check what a machine can check of our style
    Tidy,
    /// Measure what work costs, as ratios against a peer in the same run
    Bench(bench::BenchArgs),
    /// Kill the replica that acts, and end the database, at seeded moments of rollouts in a real cluster (needs root); then take the database,
    /// the mail server and the gateways away during 200 alerts
    Chaos {
        /// How often
        #[arg(long, default_value_t = 50)]
        kills: u64,
        /// What chooses the moments
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How long each of those is away
        #[arg(long, default_value = "3m", value_parser = seconds)]
        away: u64,
    },
    /// Play seeded worlds full of faults; a failure prints its seed
    Simulate {
        /// How many worlds
        #[arg(long, default_value_t = 1000)]
        seeds: u64,
        /// The first one; with `--seeds 1`, only this one, told at length
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
}

fn main() -> ExitCode {
    if let Err(error) = claim() {
        eprintln!("note: {}: {error}", target().display());
    }
    let result = match Cli::parse().task {
        Task::Demo(args) => demo::run(&args),
        Task::Test(args) => test::run_all(&args),
        Task::Web => web::build().and_then(|built| match built {
            web::Built::Fresh => Ok(()),
            web::Built::Missing(why) => bail!("{why}"),
        }),
        Task::Generate => generate(),
        Task::Tidy => tidy::run(),
        Task::Bench(args) => bench::run_all(&args),
        Task::Chaos { kills, seed, away } => run(cargo().args(["build", "--quiet", "--workspace", "--bin", "evenkeel"])).and_then(|()| {
            run(cargo()
                .args(["test", "--workspace", "--test", "chaos", "--test", "notifications", "--no-fail-fast", "--", "--nocapture"])
                .env("EVENKEEL_BIN", target().join("debug/evenkeel"))
                .env("EVENKEEL_AWAY", away.to_string())
                .env("EVENKEEL_KILLS", kills.to_string())
                .env("EVENKEEL_SEED", seed.to_string()))
        }),
        Task::Simulate { seeds, seed } => run(cargo()
            .args(["test", "--workspace", "--test", "simulation", "--test", "properties", "--no-fail-fast", "--", "--nocapture"])
            .env("EVENKEEL_SEEDS", seeds.to_string())
            .env("EVENKEEL_SEED", seed.to_string())
            .env("PROPTEST_CASES", seeds.to_string())
            .env("PROPTEST_RNG_SEED", seed.to_string())),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nxtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Seconds, from such as `90s` or `3m`.
fn seconds(text: &str) -> Result<u64, String> {
    let minutes = text.strip_suffix('m');
    let number = minutes.or(text.strip_suffix('s')).unwrap_or(text);
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(if minutes.is_some() { 60 } else { 1 }));
    seconds.ok_or_else(|| format!("`{text}` is no time such as 90s or 3m"))
}

fn generate() -> anyhow::Result<()> {
    // Without naming a package: a single one would have its dependencies built with other features.
    for example in ["generate", "er", "chart", "openapi"] {
        run(cargo().args(["run", "--quiet", "--example", example]))?;
    }
    run(cargo().args(["build", "--quiet", "--workspace", "--bin", "evenkeel"]))?;
    let reference = std::fs::File::create(root().join("docs/cli.md"))?;
    run(Command::new(target().join("debug/evenkeel")).arg("reference").stdout(reference))
}

/// The checkout.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// Where builds and root file systems are kept, outside of the checkout.
fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var("HOME").unwrap_or_else(|_| "/root".into()));
    std::env::var("EVENKEEL_CACHE").map_or_else(|_| home().join(".cache/evenkeel"), PathBuf::from)
}

/// The build directory: shared by all checkouts on this machine, unless somebody chose another one.
fn target() -> PathBuf {
    std::env::var("CARGO_TARGET_DIR").map_or_else(|_| cache().join("target"), PathBuf::from)
}

/// Cargo sees by times whether a source is newer than what was built of it, and takes the same crate of two checkouts for one: a build
/// directory that served another checkout last makes all our sources new.
fn claim() -> std::io::Result<()> {
    let (served, ours) = (target().join("checkout"), root());
    if std::fs::read(&served).is_ok_and(|last| last == ours.as_os_str().as_encoded_bytes()) {
        return Ok(());
    }
    let listed = Command::new("git").arg("-C").arg(&ours).args(["ls-files", "-z"]).output()?;
    let now = std::time::SystemTime::now();
    for path in listed.stdout.split(|byte| *byte == 0).filter_map(|path| std::str::from_utf8(path).ok()) {
        if path.ends_with(".rs") || path.ends_with(".sql") || path.ends_with(".toml") {
            // A file that was deleted and is still in the index has no time.
            let _ = std::fs::File::options().append(true).open(ours.join(path)).and_then(|file| file.set_modified(now));
        }
    }
    std::fs::create_dir_all(target())?;
    std::fs::write(served, ours.as_os_str().as_encoded_bytes())
}

/// Cargo in the checkout, building into the shared directory.
fn cargo() -> Command {
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    command.current_dir(root()).env("CARGO_TARGET_DIR", target());
    command
}

/// Runs a command and wants it to succeed.
fn run(command: &mut Command) -> anyhow::Result<()> {
    let shown = format!(
        "{:?} {}",
        command.get_program(),
        command.get_args().map(|argument| argument.to_string_lossy()).collect::<Vec<_>>().join(" ")
    );
    let status = command.status().with_context(|| shown.clone())?;
    if !status.success() {
        bail!("{shown}: {status}");
    }
    Ok(())
}
