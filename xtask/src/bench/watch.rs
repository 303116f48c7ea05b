//! What it costs to watch a large fleet: the engine as it is run, with its store, and devices on loopback that say what a real node_exporter
//! said. What the devices cost is not counted.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::probes::{Targets, get};
use super::{Build, Figures, Server, cluster, find, free_port, sampled};

/// Devices, each with an address of its own, read each 30 s and probed three times each 15 s.
const DEVICES: u32 = 10_000;
/// Devices in one file, which may have 1 MiB.
const FILE: usize = 500;
/// Until all is read once, and what came of that is written.
const WARM: Duration = Duration::from_secs(60);
/// For how long it is measured: samples are written in groups of five minutes, so two of them.
const SPAN: Duration = Duration::from_secs(600);
/// The same while the bench itself is tried.
const BRIEF: Duration = Duration::from_secs(60);

pub(super) fn measure(figures: &mut Figures, build: Build) -> anyhow::Result<()> {
    let Some(exporter) = find("prometheus-node-exporter") else {
        eprintln!("note: prometheus-node-exporter is not installed, so nobody says what devices say");
        return Ok(());
    };
    let port = free_port()?;
    let mut quiet = Command::new(exporter);
    let server = Server(quiet.arg(format!("--web.listen-address=127.0.0.1:{port}")).stderr(Stdio::null()).spawn()?);
    let mut metrics = None;
    for _ in 0..100 {
        sleep(Duration::from_millis(100));
        metrics = get(port, "/metrics").ok();
        if metrics.is_some() {
            break;
        }
    }
    drop(server);
    let metrics = metrics.context("node_exporter does not answer")?;
    let folder = tempfile::tempdir()?;
    let targets = Targets::start(folder.path(), &metrics, build)?;
    let binary = build.of(&["--bin", "evenkeel"])?.join("evenkeel");
    watch(figures, build, folder.path(), targets.port, &binary)
}

fn watch(figures: &mut Figures, build: Build, folder: &Path, port: u16, binary: &Path) -> anyhow::Result<()> {
    let (fleet, data) = (folder.join("fleet"), folder.join("data"));
    std::fs::create_dir(&fleet)?;
    for (number, first) in (0..DEVICES).step_by(FILE).enumerate() {
        std::fs::write(fleet.join(format!("devices-{number}.yaml")), manifests(first, port)?)?;
    }
    let log = std::fs::File::create(folder.join("log"))?;
    let mut program = Command::new(binary);
    program.args(["run", "--repo"]).arg(&fleet).arg("--data").arg(&data).env_remove("DATABASE_URL");
    let engine = Server(program.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?);
    let id = engine.0.id();
    let span = if build == Build::Measure { SPAN } else { BRIEF };
    eprintln!("measuring: {DEVICES} devices watched, for {} s", (WARM + span).as_secs());
    sleep(WARM);
    let seen = Command::new(binary).args(["status", "--data"]).arg(&data).output()?;
    let seen = String::from_utf8_lossy(&seen.stdout).into_owned();
    ensure!(seen.contains(&format!("{DEVICES} devices")), "the engine does not watch them: {seen}");
    let (began, cpu, size) = (Instant::now(), sampled(&[id])?, stored(&data)?);
    sleep(span);
    let (cpu, seconds) = (sampled(&[id])?[0] - cpu[0], began.elapsed().as_secs_f64());
    figures.insert("watch_cpu".into(), cpu / seconds * 100.0);
    figures.insert("watch_resident".into(), cluster::resident(id)?);
    figures.insert("watch_store".into(), (stored(&data)? - size) * 86_400.0 / seconds);
    Ok(())
}

/// MiB of the store.
fn stored(data: &Path) -> anyhow::Result<f64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(data)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes as f64 / 1_048_576.0)
}

fn manifests(first: u32, port: u16) -> anyhow::Result<String> {
    let mut text = String::new();
    for number in (first..DEVICES).take(FILE) {
        let [_, a, b, c] = (number + 256).to_be_bytes();
        write!(
            text,
            "---\napiVersion: evenkeel.dev/v1alpha1\nkind: Device\nmetadata: {{name: d-{number:05}, labels: {{role: app, site: s{}}}}}\nspec:\n  type: Server\n  address: 127.{a}.{b}.{c}\n  metrics: {{interval: 30s, nodeExporter: {{port: {port}}}}}\n  probes:\n  - {{name: ping, interval: 15s, icmp: {{count: 1}}}}\n  - {{name: port, interval: 15s, tcp: {{port: {port}}}}}\n  - {{name: web, interval: 15s, http: {{port: {port}, path: /}}}}\n",
            number % 40
        )?;
    }
    Ok(text)
}

/// What is shown of it.
pub(super) fn rows(row: &mut impl FnMut(&str, &str, &str, &str, Option<&str>, &str)) {
    row(&format!("{DEVICES} devices watched: share of one processor"), "watch_cpu", "%", "", None, "< 50 %");
    row("memory of that", "watch_resident", "MiB", "", None, "< 300 MiB");
    row("growth of its store in a day", "watch_store", "MiB", "", None, "");
}
