//! `cargo xtask bench`: what work costs, as ratios against a peer or a smaller size in the same run. It asserts nothing.

mod api;
mod cluster;
mod mining;
mod probes;
mod rules;
mod syslog;
mod watch;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use clap::Args;

use crate::{cargo, install, run, target};

/// Hosts of the SSH measurements; each is an address of one OpenSSH server.
const HOSTS: u8 = 50;

/// Addresses that one OpenSSH server listens on: it takes 16 at most.
const LISTENS: usize = 13;

/// What to measure.
#[derive(Args)]
pub(crate) struct BenchArgs {
    /// Only these: pass, commit, ssh, audit, rules, cluster, latency, syslog, mining, probes, watch, api
    #[arg(value_name = "WHAT")]
    only: Vec<String>,
    /// Of `probes`, `watch` and `api`: without optimisation and for a short time, to try the bench itself
    #[arg(long)]
    try_out: bool,
}

/// How what is measured was built.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Build {
    Measure,
    TryOut,
}

impl Build {
    /// Builds these targets, and says in which folder they are. Always of the whole workspace: a part of it has other features of its
    /// dependencies, so that all of these would be built once more.
    fn of(self, targets: &[&str]) -> anyhow::Result<PathBuf> {
        let (profile, folder) = if self == Self::Measure { ("measure", "measure") } else { ("dev", "debug") };
        run(cargo().args(["build", "--quiet", "--workspace", "--profile", profile]).args(targets))?;
        Ok(target().join(folder))
    }
}

/// Figures by name, in milliseconds, MiB or entries a second.
type Figures = BTreeMap<String, f64>;

/// What one thing costs.
type Measure = fn(&mut Figures, Build) -> anyhow::Result<()>;

pub(crate) fn run_all(args: &BenchArgs) -> anyhow::Result<()> {
    install::ensure();
    eprintln!("building with optimisation: the first time takes some minutes");
    let build = if args.try_out { Build::TryOut } else { Build::Measure };
    let wanted = |what: &str| args.only.is_empty() || args.only.iter().any(|only| only == what);
    let all: [(&str, Measure); 12] = [
        ("pass", |figures, _| sizes(figures, "bench_pass")),
        ("commit", |figures, _| sizes(figures, "bench_commit")),
        ("ssh", |figures, _| ssh(figures)),
        ("audit", |figures, _| take(figures, "bench_audit", &[])),
        ("rules", |figures, _| rules::measure(figures)),
        ("cluster", |figures, _| cluster::measure(figures)),
        ("latency", |figures, _| cluster::latency(figures)),
        ("syslog", |figures, _| syslog::measure(figures)),
        ("mining", |figures, _| mining::measure(figures)),
        ("probes", probes::measure),
        ("watch", watch::measure),
        ("api", api::measure),
    ];
    let known = all.map(|(name, _)| name);
    if let Some(other) = args.only.iter().find(|only| !known.contains(&only.as_str())) {
        bail!("nothing is measured by the name of {other:?}: there are {}", known.join(", "));
    }
    if ["pass", "commit", "ssh", "audit", "rules"].into_iter().any(wanted) {
        let examples = ["bench_pass", "bench_commit", "bench_ssh", "bench_audit", "bench_rules"].map(|name| ["--example", name]).concat();
        Build::Measure.of(&examples)?;
    }
    let mut figures = Figures::new();
    let mut failed = Vec::new();
    for (name, measure) in all.into_iter().filter(|(name, _)| wanted(name)) {
        // What one measurement has met with costs none of the others' figures.
        if let Err(error) = measure(&mut figures, build) {
            eprintln!("{name}: {error:#}");
            failed.push(name);
        }
    }
    show(&figures);
    ensure!(failed.is_empty(), "not measured, or in part only: {}", failed.join(", "));
    Ok(())
}

/// What grows with a fleet.
fn sizes(figures: &mut Figures, example: &str) -> anyhow::Result<()> {
    ["1000", "10000", "100000"].into_iter().try_for_each(|size| take(figures, example, &[size]))
}

/// Runs one measuring program and takes in what it prints.
fn take(figures: &mut Figures, example: &str, arguments: &[&str]) -> anyhow::Result<()> {
    eprintln!("measuring: {example} {}", arguments.join(" "));
    let program = target().join("measure/examples").join(example);
    let output = Command::new(&program).args(arguments).stderr(Stdio::inherit()).output().with_context(|| program.display().to_string())?;
    if !output.status.success() {
        bail!("{example}: {}", output.status);
    }
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let mut words = line.split('\t');
        if let (Some(name), Some(Ok(value))) = (words.next(), words.next().map(str::parse)) {
            figures.insert(name.to_owned(), value);
        }
    }
    Ok(())
}

/// One row: the work, its figure, what it is held against, their ratio, and what we want of it.
fn show(figures: &Figures) {
    let get = |name: &str| figures.get(name).copied();
    let mut rows: Vec<[String; 5]> = Vec::new();
    let mut row = |work: &str, name: &str, unit: &str, peer: &str, against: Option<&str>, goal: &str| {
        let Some(value) = get(name) else { return };
        let against = against.and_then(get);
        let ratio = against.map_or("-".into(), |against| format!("{:.2}x", value / against));
        let peer = against.map_or_else(|| peer.to_owned(), |against| format!("{peer}: {against:.1} {unit}"));
        rows.push([work.into(), format!("{value:.1} {unit}"), peer, ratio, goal.into()]);
    };
    for (what, goal) in [("cold", "<= 1.3x"), ("kept", "<= 1.2x")] {
        for clock in ["wall", "cpu"] {
            let work = format!("package state of {HOSTS} SSH hosts, {what} connections, {clock}");
            row(&work, &format!("ssh_{what}_{clock}"), "ms", "bare client", Some(&format!("ssh_{what}_peer_{clock}")), goal);
        }
    }
    row("the same, ansible `apt` in check mode, 50 forks, wall", "ansible_wall", "ms", "ours, cold", Some("ssh_cold_wall"), ">= 20x");
    row("the same, cpu of the controller", "ansible_cpu", "ms", "ours, cold", Some("ssh_cold_cpu"), ">= 20x");
    for (size, smaller) in [("1000", None), ("10000", Some("1000")), ("100000", Some("10000"))] {
        let against = smaller.map(|smaller| format!("pass_{smaller}"));
        let goal = if size == "100000" { "< 100 ms" } else { "" };
        row(&format!("pass with nothing to do, {size} devices"), &format!("pass_{size}"), "ms", "a tenth of it", against.as_deref(), goal);
        let against = smaller.map(|smaller| format!("resident_{smaller}"));
        let goal = if size == "100000" { "< 1024 MiB" } else { "" };
        row(&format!("memory of that, {size} devices"), &format!("resident_{size}"), "MiB", "a tenth of it", against.as_deref(), goal);
    }
    for size in ["1000", "10000", "100000"] {
        let goal = if size == "100000" { "< 100 ms" } else { "" };
        let name = format!("commit_{size}_one");
        row(&format!("1 of {size} manifests changed -> plan"), &name, "ms", "reading all", Some(&format!("commit_{size}_all")), goal);
        row(
            &format!("the look at Git before that, {size} manifests"),
            &format!("commit_{size}_fetch"),
            "ms",
            "the first",
            Some(&format!("commit_{size}_first_fetch")),
            "",
        );
    }
    let prometheus = Some("rules_prometheus");
    row("20 rules over 50 000 devices, comparisons, a core", "rules_together", "/s", "Prometheus", prometheus, ">= 10x");
    row("the same, each rule by itself", "rules_one_by_one", "/s", "Prometheus", prometheus, "");
    row("the same with a choice, by CEL's interpreter", "rules_cel", "/s", "Prometheus", prometheus, ">= 0.3x");
    row("5 000 new Devices from Git into a cluster", "cluster_git_new", "ms", "floor", Some("cluster_floor_new"), "<= 1.2x");
    row("the same, the plain client too in the name of an account", "cluster_git_new", "ms", "floor", Some("cluster_floor_account"), "");
    row("the same against kubectl apply --server-side", "cluster_git_new", "ms", "kubectl", Some("cluster_kubectl_new"), "");
    row("until `kubectl wait` has seen it, its own start included", "cluster_git_new_said", "ms", "", None, "");
    row("of which until the first of them was applied", "cluster_git_first", "ms", "", None, "");
    row("processor time of the operator in that", "cluster_git_new_cpu", "ms", "", None, "");
    row("until each of them has its status", "cluster_git_told", "ms", "", None, "");
    row("the same with nothing changed", "cluster_git_same", "ms", "kubectl", Some("cluster_kubectl_same"), "< 500 ms");
    row("requests for objects in that", "cluster_git_same_requests", "", "", None, "0");
    row("the same with 1 changed", "cluster_git_one", "ms", "kubectl", Some("cluster_kubectl_same"), "");
    row("requests for objects in that", "cluster_git_one_requests", "", "", None, "1");
    row("all that was written for it, statuses included", "cluster_git_one_writes", "", "", None, "");
    row("all that was read for it", "cluster_git_one_reads", "", "", None, "0");
    row("10 000 Devices that nobody looks at, a minute at rest: writes", "cluster_rest_writes", "", "", None, "0");
    row("requests in all, the lease's included", "cluster_rest_requests", "", "", None, "");
    row("processor time", "cluster_rest_cpu", "ms", "", None, "");
    row("memory", "cluster_rest_resident", "MiB", "", None, "< 150 MiB");
    row("10 000 Devices, each probed once a minute: writes", "cluster_probed_writes", "", "", None, "0");
    row("requests in all, the lease's included", "cluster_probed_requests", "", "", None, "");
    row("processor time", "cluster_probed_cpu", "ms", "", None, "");
    row("memory", "cluster_probed_resident", "MiB", "", None, "");
    row("commit -> device changed, asked for a look, median", "cluster_commit_median", "ms", "", None, "");
    row("the same, p99", "cluster_commit_p99", "ms", "", None, "");
    row("of that until the cluster has it, median", "cluster_commit_applied_median", "ms", "", None, "");
    row("webhook -> answered, somebody looks, median", "cluster_webhook_taken_median", "ms", "", None, "");
    row("webhook -> the cluster has it, median", "cluster_webhook_applied_median", "ms", "", None, "goal < 1000");
    row("the same, p99", "cluster_webhook_applied_p99", "ms", "", None, "goal < 1000");
    row("webhook -> device changed, median", "cluster_webhook_median", "ms", "", None, "");
    row("a start, until all is read", "cluster_start", "ms", "", None, "");
    row("memory after it", "cluster_start_resident", "MiB", "", None, "< 150 MiB");
    for (with, peer) in [("with", "rsyslog, PostgreSQL's too"), ("without", "rsyslog")] {
        let work = format!("syslog to PostgreSQL, lines a CPU second, {with} PostgreSQL's");
        row(&work, &format!("syslog_{with}"), "lines/s", peer, Some(&format!("rsyslog_{with}")), ">= 3x");
    }
    row("of those lost", "syslog_lost", "lines", "rsyslog", Some("rsyslog_lost"), "0");
    for (peer, name) in [("drain3, one miner", "one"), ("drain3, one for each program", "per_program")] {
        row("template mining, a CPU second", "mining_lines", "lines/s", peer, Some(&format!("drain3_{name}_lines")), ">= 50x");
        row("its grouping accuracy, percent", "mining_accuracy", "%", peer, Some(&format!("drain3_{name}_accuracy")), ">= 1x");
    }
    probes::rows(&mut row);
    watch::rows(&mut row);
    api::rows(figures, &mut row);
    for (name, value) in figures.iter().filter(|(name, _)| name.starts_with("audit")) {
        let (unit, goal) = if name.contains("verify") { ("ms", "1 million < 2000 ms") } else { ("entries/s", "batched >= 10000/s") };
        rows.push([name.replace('_', " "), format!("{value:.0} {unit}"), "-".into(), "-".into(), goal.into()]);
    }
    let head = ["WORK", "FIGURE", "PEER IN THE SAME RUN", "RATIO", "GOAL"].map(str::to_owned);
    let widths: Vec<usize> =
        (0..5).map(|column| rows.iter().chain([&head]).map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    for row in [&head].into_iter().chain(&rows) {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        println!("{}", cells.join("  ").trim_end());
    }
}

/// A server that ends with its handle.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ssh(figures: &mut Figures) -> anyhow::Result<()> {
    let folder = std::env::temp_dir().join(format!("evenkeel-bench-{}", std::process::id()));
    let result = ssh_in(&folder, figures);
    let _ = std::fs::remove_dir_all(&folder);
    result
}

fn ssh_in(folder: &Path, figures: &mut Figures) -> anyhow::Result<()> {
    let secret = folder.join("secrets/key");
    std::fs::create_dir_all(&secret)?;
    std::fs::create_dir_all(folder.join("home"))?;
    let key = secret.join("id_ed25519");
    for path in [&key, &folder.join("host")] {
        run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(path))?;
    }
    let port = TcpListener::bind("127.0.77.1:0")?.local_addr()?.port();
    let _ = std::fs::create_dir_all("/run/sshd");
    let hosts: Vec<u8> = (1..=HOSTS).collect();
    let servers: Vec<Server> = hosts.chunks(LISTENS).map(|hosts| serve(folder, port, &key, hosts)).collect::<anyhow::Result<_>>()?;
    let begin = Instant::now();
    while hosts.iter().any(|host| std::net::TcpStream::connect((format!("127.0.77.{host}"), port)).is_err()) {
        anyhow::ensure!(begin.elapsed().as_secs() < 20, "sshd does not answer");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let host_key = std::fs::read_to_string(folder.join("host.pub"))?;
    let user = String::from_utf8(Command::new("id").arg("-un").output()?.stdout)?.trim().to_owned();
    let hosts = HOSTS.to_string();
    take(figures, "bench_ssh", &[&hosts, &port.to_string(), &key.display().to_string(), host_key.trim(), &user])?;
    ansible(folder, port, &key, &user, figures)?;
    drop(servers);
    Ok(())
}

/// One OpenSSH server for some of the hosts.
fn serve(folder: &Path, port: u16, key: &Path, hosts: &[u8]) -> anyhow::Result<Server> {
    let addresses: String = hosts.iter().map(|number| format!("ListenAddress 127.0.77.{number}\n")).collect();
    let config = format!(
        "Port {port}\n{addresses}HostKey {}/host\nAuthorizedKeysFile {}.pub\nPidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nMaxStartups 500\nMaxSessions 100\nLogLevel ERROR\nSetEnv HOME={}/home\n",
        folder.display(),
        key.display(),
        // Without anybody's .bashrc: what that costs is not to be measured.
        folder.display()
    );
    let path = folder.join(format!("sshd-{}", hosts[0]));
    std::fs::write(&path, config)?;
    Ok(Server(Command::new("/usr/sbin/sshd").args(["-D", "-e", "-f"]).arg(path).spawn().context("sshd")?))
}

/// The peer that most people have, where it is installed: the package state of the same hosts, asked for by its `apt` module.
fn ansible(folder: &Path, port: u16, key: &Path, user: &str, figures: &mut Figures) -> anyhow::Result<()> {
    let Some(program) = find("ansible") else {
        eprintln!("note: ansible is not installed, so it is not measured (`pip install ansible-core` brings it)");
        return Ok(());
    };
    let inventory: String = (1..=HOSTS)
        .map(|number| format!("127.0.77.{number} ansible_port={port} ansible_user={user} ansible_ssh_private_key_file={} ansible_python_interpreter=/usr/bin/python3\n", key.display()))
        .collect();
    std::fs::write(folder.join("inventory"), inventory)?;
    let (begin, cpu) = (Instant::now(), children());
    let status = Command::new(program)
        .args(["-i"])
        .arg(folder.join("inventory"))
        .args(["all", "-f", "50", "--check", "-m", "apt", "-a", "name=bash state=present"])
        .env("ANSIBLE_HOST_KEY_CHECKING", "False")
        .env("ANSIBLE_PIPELINING", "True")
        .env("ANSIBLE_HOME", folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if status.success() {
        figures.insert("ansible_wall".into(), begin.elapsed().as_secs_f64() * 1000.0);
        figures.insert("ansible_cpu".into(), (children() - cpu) * 1000.0);
    } else {
        eprintln!("note: ansible failed ({status}), so it is not shown");
    }
    Ok(())
}

/// Processor seconds that each of these processes has used, all of its threads; see proc_pid_stat(5).
fn sampled(ids: &[u32]) -> anyhow::Result<Vec<f64>> {
    ids.iter().map(|id| cluster::cpu(*id)).collect()
}

/// A port of loopback that nobody listens on just now.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.exists())
}

/// Processor seconds of the processes that we started and that have ended: fields 16 and 17 of /proc/self/stat in ticks of 10 ms, see proc(5).
fn children() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split_whitespace().collect();
    fields.iter().skip(13).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}
