//! `cargo xtask test`

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{bail, ensure};
use clap::{Args, ValueEnum};

use crate::{cargo, install, run, target, tidy, web};

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
    /// The web UI: types, style, tests without a browser, and its build
    Web,
    /// One suite per port on the fake and the real one: SSH, apt, Git, SQLite, PostgreSQL; and the simulated worlds
    Conformance,
    /// The demo's story on simulated devices, told and checked
    Demo,
    /// The engine on simulated devices and on real machines
    E2e,
}

const LEVELS: [Level; 9] =
    [Level::Format, Level::Tidy, Level::Clippy, Level::Deny, Level::Unit, Level::Web, Level::Conformance, Level::Demo, Level::E2e];
/// The package with the test files of the level `e2e`.
const E2E: &str = "e2e";
/// Programs of that level that run at once: mostly they wait.
const AT_ONCE: usize = 2;
/// It takes all of the processor by itself, and goes before the others: beside it they would wait for what takes a second.
const ALONE: &str = "ui";
/// Those with real machines, which need the processor more than others: never two of them at once.
const HEAVY: [&str; 3] = ["rollout", "machines", "logins"];
/// The one of the others that takes longest, begun first, so that nobody waits for it alone.
const LONGEST: &str = "chaos";
/// Test files of the level `unit` beside the crates' own: fast, and in need of nothing.
const UNIT: [&str; 8] = ["scenario", "update", "properties", "access", "fuzz", "generated", "reference", "examples"];

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
        Level::Web => {
            if let web::Built::Missing(why) = web::test()? {
                skipped.push(format!("web: {why}"));
            }
            Ok(())
        }
        Level::Unit => run(seeded().args(["test", "--workspace", "--lib", "--bins"]).args(files(|_, name| UNIT.contains(&name))?)),
        Level::Conformance => {
            run(seeded().args(["test", "--workspace"]).args(files(|package, name| !UNIT.contains(&name) && package != E2E)?))
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
                return end_to_end();
            }
            Ok(())
        }
    }
}

/// Runs the test programs of the level `e2e`. What one of them says is shown when it is over.
fn end_to_end() -> anyhow::Result<()> {
    let mut build = cargo();
    build.args(["test", "--workspace", "--no-run", "--message-format", "json-render-diagnostics"]);
    let output = build.args(files(|package, _| package == E2E)?).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "the tests can't be built");
    let messages = output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok());
    let programs = messages
        .filter(|message| message["target"]["kind"] == serde_json::json!(["test"]))
        .filter_map(|message| Some((message["target"]["name"].as_str()?.to_owned(), PathBuf::from(message["executable"].as_str()?))));
    let mut programs: Vec<_> = programs.collect();
    programs.sort_by_key(|(name, _)| (!HEAVY.contains(&name.as_str()), name != LONGEST));
    let (alone, programs) = programs.into_iter().partition(|(name, _)| name == ALONE);
    let failed = Mutex::new(Vec::new());
    work(&Mutex::new(Queue { programs: alone, is_heavy: false }), &failed);
    let queue = Mutex::new(Queue { programs, is_heavy: false });
    std::thread::scope(|scope| (0..AT_ONCE).for_each(|_| drop(scope.spawn(|| work(&queue, &failed)))));
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

/// Programs that are to run, the next one first.
struct Queue {
    programs: Vec<(String, PathBuf)>,
    /// One of the heavy ones runs.
    is_heavy: bool,
}

impl Queue {
    fn next(&mut self) -> Option<(String, PathBuf)> {
        let is_heavy = |name: &str| HEAVY.contains(&name);
        let at = self.programs.iter().position(|(name, _)| !(self.is_heavy && is_heavy(name)))?;
        let next = self.programs.remove(at);
        self.is_heavy |= is_heavy(&next.0);
        Some(next)
    }
}

/// Runs programs as long as there are some, and notes which failed. Who finds only heavy ones, while one runs, leaves them to whoever runs it.
fn work(queue: &Mutex<Queue>, failed: &Mutex<Vec<String>>) {
    let lock = || queue.lock().unwrap_or_else(PoisonError::into_inner);
    while let Some((name, program)) = { lock().next() } {
        let begin = Instant::now();
        let evenkeel = target().join("debug/evenkeel");
        let output = Command::new(&program).current_dir("tests/e2e").env("EVENKEEL_BIN", evenkeel).output();
        let (fine, said) = match output {
            Ok(output) => (output.status.success(), [output.stdout, output.stderr].concat()),
            Err(error) => (false, error.to_string().into_bytes()),
        };
        let said = String::from_utf8_lossy(&said);
        eprintln!("--- {name}, {} s{said}", begin.elapsed().as_secs());
        if !fine {
            failed.lock().unwrap_or_else(PoisonError::into_inner).push(name.clone());
        }
        if HEAVY.contains(&name.as_str()) {
            lock().is_heavy = false;
        }
    }
}

/// The test files of the workspace by package and name, as arguments of `cargo test`: a new one belongs to a level without being listed.
fn files(wanted: impl Fn(&str, &str) -> bool) -> anyhow::Result<Vec<String>> {
    let output = cargo().args(["metadata", "--format-version", "1", "--no-deps", "--offline"]).output()?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let mut names = BTreeSet::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let of = package["name"].as_str().unwrap_or_default();
        let targets = package["targets"].as_array().into_iter().flatten();
        let tests = targets.filter(|target| target["kind"] == serde_json::json!(["test"])).filter_map(|target| target["name"].as_str());
        names.extend(tests.filter(|name| wanted(of, name)));
    }
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
