//! Rules against the real Prometheus: twenty alert rules over 50 000 series, how long it says that it takes for them.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::{Figures, Server, find, take};

/// Devices, as many series.
const DEVICES: usize = 50_000;
const RULES: usize = 20;
/// Evaluations of all rules that are looked at; the fastest counts, as on our side.
const LOOKS: usize = 8;
/// Longest time until Prometheus has evaluated so often: an evaluation each two seconds, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) fn measure(figures: &mut Figures) -> anyhow::Result<()> {
    take(figures, "bench_rules", &[&DEVICES.to_string()])?;
    if find("prometheus").is_none() {
        eprintln!("note: prometheus is not installed, so rules are held against nothing (Debian package `prometheus`)");
        return Ok(());
    }
    let folder = std::env::temp_dir().join(format!("evenkeel-bench-rules-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let result = prometheus(&folder);
    let _ = std::fs::remove_dir_all(&folder);
    let seconds = result?;
    figures.insert("rules_prometheus".into(), (DEVICES * RULES) as f64 / seconds);
    Ok(())
}

/// Seconds that one evaluation of all rules takes.
fn prometheus(folder: &Path) -> anyhow::Result<f64> {
    let exporter = serve()?;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let config = format!(
        "global: {{scrape_interval: 5s, scrape_timeout: 5s, evaluation_interval: 2s}}\nrule_files: [{}/rules.yml]\nscrape_configs: [{{job_name: fleet, static_configs: [{{targets: ['{exporter}']}}]}}]\n",
        folder.display()
    );
    std::fs::write(folder.join("prometheus.yml"), config)?;
    let mut rules = "groups:\n- name: memory\n  rules:\n".to_owned();
    for rule in 0..RULES {
        let limit = 0.9 + rule as f64 * 0.005;
        let _ = writeln!(rules, "  - {{alert: Memory{rule:02}, expr: 'memory_ratio{{role=\"web\"}} > {limit:.3}', for: 5m}}");
    }
    std::fs::write(folder.join("rules.yml"), rules)?;
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}/prometheus.yml", folder.display()));
    command.arg(format!("--storage.tsdb.path={}/data", folder.display())).arg(format!("--web.listen-address={address}"));
    // On one core, as our figure is.
    command.env("GOMAXPROCS", "1").stdout(Stdio::null()).stderr(Stdio::null());
    let server = Server(command.spawn().context("prometheus")?);
    let (begin, mut best, mut seen, mut last, mut is_there) = (Instant::now(), f64::MAX, 0, 0.0, false);
    while seen < LOOKS {
        if begin.elapsed() > PATIENCE {
            break;
        }
        std::thread::sleep(Duration::from_millis(500));
        let Ok(text) = get(address, "/metrics") else { continue };
        let (Some(done), Some(took)) =
            (value(&text, "prometheus_rule_group_iterations_total"), value(&text, "prometheus_rule_group_last_duration_seconds"))
        else {
            continue;
        };
        if done <= last {
            continue;
        }
        last = done;
        // Over nothing it is fast: only what began with every series at hand counts.
        let was_there = std::mem::replace(&mut is_there, has_all(address));
        if !(was_there && is_there) {
            continue;
        }
        seen += 1;
        best = best.min(took);
    }
    drop(server);
    ensure!(seen > 0, "prometheus has not evaluated its rules over all series within {PATIENCE:?}");
    Ok(best)
}

/// Whether it has a fresh value of each series.
fn has_all(address: SocketAddr) -> bool {
    let count = format!("\"{DEVICES}\"");
    get(address, "/api/v1/query?query=count(memory_ratio)").is_ok_and(|answer| answer.contains(&count))
}

/// The first value of a metric in Prometheus' text.
fn value(text: &str, metric: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.strip_prefix(metric).is_some_and(|rest| rest.starts_with(['{', ' '])))?;
    line.rsplit(' ').next()?.parse().ok()
}

fn get(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// An exporter that says the same always: the values of `bench_rules`.
fn serve() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let mut text = String::from("# TYPE memory_ratio gauge\n");
    for number in 0..DEVICES {
        let memory = (number * 7919 % 1000) as f64 / 1000.0 * 0.902;
        let _ = writeln!(
            text,
            "memory_ratio{{device=\"d-{number:06}\",role=\"web\",site=\"s{}\",rack=\"r{}\"}} {memory}",
            number % 7,
            number % 40
        );
    }
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                text.len()
            );
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(text.as_bytes()));
        }
    });
    Ok(address)
}
