//! Template mining against Drain3, on the same labelled lines: both single-threaded, in processor time.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use super::{Build, Figures};

/// Lines that Drain3 gets: with ten times as many it takes minutes, and no other figure.
const LINES: &str = "50000";

pub(super) fn measure(figures: &mut Figures) -> anyhow::Result<()> {
    let program = match std::env::var_os("EVENKEEL_BENCH_MINING") {
        Some(program) => program.into(),
        None => Build::Measure.of(&["--example", "bench_mining"])?.join("examples/bench_mining"),
    };
    let folder = tempfile::TempDir::new()?;
    let sample = folder.path().join("sample");
    eprintln!("measuring: bench_mining");
    let output = Command::new(&program).arg("--out").arg(&sample).stderr(Stdio::inherit()).output().context("bench_mining")?;
    ensure!(output.status.success(), "bench_mining: {}", output.status);
    // The first sample is the one that Drain3 gets.
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    take(figures, "mining", text.lines().find(|line| line.contains("seed=1")).unwrap_or_default());
    let Some(python) = drain3(folder.path()) else {
        eprintln!("note: drain3 could not be installed with pip, so it is not measured");
        return Ok(());
    };
    eprintln!("measuring: drain3");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/logs/examples/compare_drain3.py");
    let output = Command::new(python).arg(script).arg(&sample).arg(LINES).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "drain3: {}", output.status);
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        if let Some(name) = line.strip_prefix("drain3 ").and_then(|rest| rest.split(' ').next()) {
            take(figures, &format!("drain3_{name}"), line);
        }
    }
    Ok(())
}

/// `… lines_per_second=N accuracy=N …`
fn take(figures: &mut Figures, name: &str, line: &str) {
    let get = |key: &str| line.split(' ').find_map(|word| word.strip_prefix(key)?.parse::<f64>().ok());
    if let (Some(lines), Some(accuracy)) = (get("lines_per_second="), get("accuracy=")) {
        figures.insert(format!("{name}_lines"), lines);
        figures.insert(format!("{name}_accuracy"), accuracy * 100.0);
    }
}

/// A Python with Drain3: in an environment of its own, which is gone with the folder.
fn drain3(folder: &Path) -> Option<std::path::PathBuf> {
    let environment = folder.join("venv");
    let ok = |command: &mut Command| command.stdout(Stdio::null()).status().is_ok_and(|status| status.success());
    let made = ok(Command::new("python3").args(["-m", "venv"]).arg(&environment))
        && ok(Command::new(environment.join("bin/pip")).args(["install", "--quiet", "--disable-pip-version-check", "drain3==0.9.11"]));
    made.then(|| environment.join("bin/python"))
}
