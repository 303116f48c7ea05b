//! What a probe costs whoever probes, beside blackbox_exporter scraped by Prometheus, and fping: the same targets, as often, one after the other.
//! What the targets cost is not counted; on loopback the kernel does their part of a packet's way in the name of whoever sent it, for all alike.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::{Build, Figures, Server, find, free_port, sampled};

/// Targets, each with an address of its own.
const TARGETS: u32 = 2000;
/// Seconds between two probes of one: 400 a second is what the peers can do with half of this machine.
const INTERVAL: u64 = 5;
/// Until each has run once.
const WARM: Duration = Duration::from_secs(INTERVAL + 3);
/// For how long it is measured: four runs of each.
const SPAN: Duration = Duration::from_secs(4 * INTERVAL);

/// What is probed, in programs of their own.
pub(super) struct Targets {
    _server: Server,
    pub(super) port: u16,
}

impl Targets {
    /// Starts them; `metrics` is what they say when they are asked for metrics.
    pub(super) fn start(folder: &Path, metrics: &str, build: Build) -> anyhow::Result<Self> {
        let program = build.of(&["--example", "bench_target"])?.join("examples/bench_target");
        let (text, told) = (folder.join("metrics"), folder.join("port"));
        std::fs::write(&text, metrics)?;
        let server = Server(Command::new(program).args([&text, &told]).spawn()?);
        let mut port = None;
        for _ in 0..100 {
            sleep(Duration::from_millis(100));
            port = std::fs::read_to_string(&told).ok().and_then(|text| text.parse().ok());
            if port.is_some() {
                break;
            }
        }
        Ok(Self { _server: server, port: port.context("the targets do not start")? })
    }

    /// Connections that they took so far.
    fn count(&self) -> anyhow::Result<f64> {
        Ok(get(self.port, "/count")?.parse()?)
    }
}

/// What is answered on loopback.
pub(super) fn get(port: u16, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).context("an answer without a body")
}

/// Echo requests that this machine was sent; see RFC 4293's icmpStatsTable.
fn echoes() -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/net/snmp")?;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Icmp: "));
    let (names, values) = (lines.next().context("/proc/net/snmp")?, lines.next().context("/proc/net/snmp")?);
    let place = names.split(' ').position(|name| name == "InEchos").context("InEchos")?;
    Ok(values.split(' ').nth(place).context("InEchos")?.parse()?)
}

pub(super) fn measure(figures: &mut Figures, build: Build) -> anyhow::Result<()> {
    let program = build.of(&["--example", "bench_probe"])?.join("examples/bench_probe");
    let folder = tempfile::tempdir()?;
    let targets = Targets::start(folder.path(), "up 1\n", build)?;
    for kind in ["tcp", "http", "icmp"] {
        eprintln!("measuring: {kind} probes of {TARGETS} targets");
        let count = || if kind == "icmp" { echoes() } else { targets.count() };
        ours(&program, (kind, targets.port), &count, figures)?;
        peers(kind, folder.path(), &targets, &count, figures)?;
    }
    fping(folder.path(), figures)
}

/// Microseconds of these processes for each of what is counted, one figure for each process.
fn each(ids: &[u32], count: &impl Fn() -> anyhow::Result<f64>) -> anyhow::Result<Vec<f64>> {
    sleep(WARM);
    let (before, seconds) = (count()?, sampled(ids)?);
    sleep(SPAN);
    let (after, later) = (count()?, sampled(ids)?);
    let expected = f64::from(TARGETS) * SPAN.as_secs_f64() / INTERVAL as f64;
    let done = after - before;
    ensure!(done > expected / 2.0, "{done} probes, and not {expected}: the machine is too busy to measure");
    Ok(later.iter().zip(&seconds).map(|(later, before)| (later - before) * 1e6 / done).collect())
}

fn ours(program: &Path, (kind, port): (&str, u16), count: &impl Fn() -> anyhow::Result<f64>, figures: &mut Figures) -> anyhow::Result<()> {
    let (many, port, interval) = (TARGETS.to_string(), port.to_string(), INTERVAL.to_string());
    let mut program = Command::new(program);
    program.args([kind, &many, &port, &interval]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = Server(program.spawn()?);
    let measured = each(&[process.0.id()], count)?;
    drop(process.0.stdin.take());
    let mut said = String::new();
    process.0.stdout.take().context("its output")?.read_to_string(&mut said)?;
    ensure!(said.ends_with("other\t0\n"), "probes of kind {kind} do not pass: {said}");
    figures.insert(format!("probe_{kind}"), measured[0]);
    Ok(())
}

/// blackbox_exporter, which Prometheus asks for each target.
fn peers(
    kind: &str,
    folder: &Path,
    targets: &Targets,
    count: &impl Fn() -> anyhow::Result<f64>,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let (Some(prometheus), Some(blackbox)) = (find("prometheus"), find("prometheus-blackbox-exporter")) else {
        eprintln!("note: prometheus and prometheus-blackbox-exporter are not installed, so they are not measured");
        return Ok(());
    };
    let listens = |port: u16| format!("--web.listen-address=127.0.0.1:{port}");
    let file = |name: &str| folder.join(format!("{kind}-{name}"));
    let (asked, asks) = (free_port()?, free_port()?);
    std::fs::write(
        file("blackbox.yml"),
        format!("modules:\n  {kind}: {{prober: {kind}, timeout: 2s, {kind}: {{preferred_ip_protocol: ip4}}}}\n"),
    )?;
    std::fs::write(file("prometheus.yml"), scrapes(kind, asked, targets.port)?)?;
    let option = |name: &str, path: &Path| format!("--{name}={}", path.display());
    let mut quiet = Command::new(blackbox);
    quiet.args([listens(asked), option("config.file", &file("blackbox.yml"))]).stderr(Stdio::null());
    let blackbox = Server(quiet.spawn()?);
    let mut quiet = Command::new(prometheus);
    quiet.args([listens(asks), option("config.file", &file("prometheus.yml")), option("storage.tsdb.path", &file("data"))]);
    let prometheus = Server(quiet.stderr(Stdio::null()).spawn()?);
    let measured = each(&[blackbox.0.id(), prometheus.0.id()], count)?;
    figures.insert(format!("probe_{kind}_blackbox"), measured[0]);
    figures.insert(format!("probe_{kind}_peer"), measured[0] + measured[1]);
    Ok(())
}

fn address(number: u32) -> String {
    let [_, a, b, c] = (number + 256).to_be_bytes();
    format!("127.{a}.{b}.{c}")
}

fn scrapes(kind: &str, blackbox: u16, port: u16) -> anyhow::Result<String> {
    let mut targets = String::new();
    for number in 0..TARGETS {
        let address = address(number);
        match kind {
            "icmp" => write!(targets, "'{address}', ")?,
            "http" => write!(targets, "'http://{address}:{port}/', ")?,
            _ => write!(targets, "'{address}:{port}', ")?,
        }
    }
    Ok(format!(
        "global: {{scrape_interval: {INTERVAL}s, scrape_timeout: {}s}}\nscrape_configs:\n- job_name: probes\n  metrics_path: /probe\n  params: {{module: [{kind}]}}\n  static_configs: [{{targets: [{targets}]}}]\n  relabel_configs:\n  - {{source_labels: [__address__], target_label: __param_target}}\n  - {{source_labels: [__param_target], target_label: instance}}\n  - {{target_label: __address__, replacement: '127.0.0.1:{blackbox}'}}\n",
        INTERVAL - 1
    ))
}

/// The least that an echo request costs: a program that does nothing else, with one socket for all.
fn fping(folder: &Path, figures: &mut Figures) -> anyhow::Result<()> {
    let Some(program) = find("fping") else {
        eprintln!("note: fping is not installed, so it is not measured");
        return Ok(());
    };
    let targets: String = (0..TARGETS).map(|number| address(number) + "\n").collect();
    std::fs::write(folder.join("targets"), targets)?;
    let (rounds, period) = ((WARM + SPAN).as_secs() / INTERVAL + 2, (INTERVAL * 1000).to_string());
    let mut quiet = Command::new(program);
    quiet.args(["-q", "-c", &rounds.to_string(), "-p", &period, "-i", "2", "-f"]).arg(folder.join("targets"));
    let process = Server(quiet.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
    figures.insert("probe_icmp_fping".into(), each(&[process.0.id()], &echoes)?[0]);
    Ok(())
}

/// What is shown of it.
pub(super) fn rows(row: &mut impl FnMut(&str, &str, &str, &str, Option<&str>, &str)) {
    for (kind, goal) in [("HTTP", ">= 10x"), ("TCP", ">= 10x"), ("ICMP", "")] {
        let ours = format!("probe_{}", kind.to_lowercase());
        row(&format!("CPU of a probe, {kind}, {TARGETS} targets"), &ours, "us", "", None, "");
        let peer = format!("the same, blackbox_exporter and Prometheus, {kind}");
        row(&peer, &format!("{ours}_peer"), "us", "ours", Some(&ours), goal);
        row(&format!("of that blackbox_exporter, {kind}"), &format!("{ours}_blackbox"), "us", "ours", Some(&ours), "");
    }
    row("CPU of an echo request", "probe_icmp", "us", "fping", Some("probe_icmp_fping"), "<= 1x");
}
