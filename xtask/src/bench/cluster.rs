//! Git into a real API server: many Devices at once, the same again, and one of them; and the operator at rest with them.

mod latency;

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use e2e::control_plane::{ControlPlane, Request, programs};
use e2e::wait_until;

use super::{Build, Figures};
use crate::target;

#[path = "../../../crates/manifests/tests/common/sshd.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "shared with the tests")]
mod sshd;

const NAMESPACE: &str = "evenkeel-system";
/// Devices that are new at once.
const NEW: usize = 5000;
/// Devices with which the operator is looked at while it has nothing to do.
const ALL: usize = 10_000;
/// Requests at a time of a Repository, and so of the plain client that is the floor.
const WRITERS: &str = "16";
/// For how long.
const REST: Duration = Duration::from_secs(60);

/// The first of these programs that exists.
fn find(_: &str, paths: &[&str]) -> Option<std::path::PathBuf> {
    paths.iter().map(std::path::PathBuf::from).find(|path| path.exists())
}

struct Operator(Child);

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Bench {
    plane: ControlPlane,
    git: sshd::Server,
    folder: tempfile::TempDir,
}

fn device(namespace: Option<&str>, number: usize, address: usize) -> String {
    let namespace = namespace.map(|name| format!(", namespace: {name}")).unwrap_or_default();
    let ip = ip(address);
    format!(
        "apiVersion: evenkeel.dev/v1alpha1\nkind: Device\nmetadata: {{name: d-{number:05}{namespace}, labels: {{role: app, site: s{}}}}}\nspec:\n  type: Server\n  address: {ip}\n",
        number % 40
    )
}

/// The same with a probe, which somebody answers on this machine.
fn probed(number: usize, port: u16) -> String {
    let inert = device(None, number, number);
    inert.replace(
        &format!("  address: {}\n", ip(number)),
        &format!("  address: 127.0.0.1\n  probes: [{{name: port, tcp: {{port: {port}}}, interval: 60s}}]\n"),
    )
}

/// How Devices are applied, as the server's audit log has it.
const DEVICES: (&str, &str) = ("patch", "evenkeel.dev/devices");

/// Whether there is an API server; then the operator is built.
fn prepare() -> anyhow::Result<bool> {
    if let Some(why) = programs::unavailable() {
        eprintln!("note: not measured in a cluster: {why}");
        return Ok(false);
    }
    Build::Measure.of(&["--bin", "evenkeel"])?;
    Ok(true)
}

/// From a commit to a device.
pub(super) fn latency(figures: &mut Figures) -> anyhow::Result<()> {
    if prepare()? { latency::measure(figures) } else { Ok(()) }
}

pub(super) fn measure(figures: &mut Figures) -> anyhow::Result<()> {
    if !prepare()? {
        return Ok(());
    }
    Build::Measure.of(&["--example", "bench_apply"])?;
    let git = sshd::Server::start().context("an OpenSSH server")?;
    let bench = Bench { plane: ControlPlane::start()?, git, folder: tempfile::tempdir()? };
    let plane = &bench.plane;
    for namespace in ["fleet", "peer", "floor"] {
        plane.must(&["create", "namespace", namespace])?;
    }
    plane.install_chart(
        "evenkeel",
        NAMESPACE,
        &["secrets[0].namespace=fleet", "secrets[0].names={git}", "repositories[0].namespace=fleet", "repositories[1].namespace=floor"],
    )?;

    // The peer: the same bodies by kubectl, as one file, which is the way that is fastest for it.
    let text: String = (0..NEW).map(|number| format!("---\n{}", device(Some("peer"), number, number))).collect();
    for what in ["new", "same"] {
        eprintln!("measuring: kubectl apply --server-side of {NEW} Devices, {what}");
        let begin = Instant::now();
        plane.apply(&text)?;
        figures.insert(format!("cluster_kubectl_{what}"), milliseconds(begin));
    }
    // One request for all of them.
    plane.must(&["delete", "--raw", "/apis/evenkeel.dev/v1alpha1/namespaces/peer/devices"])?;
    eprintln!("measuring: the same bodies by a plain client");
    for account in [None, Some("evenkeel-repository")] {
        floor(plane, account, figures)?;
        plane.must(&["delete", "--raw", "/apis/evenkeel.dev/v1alpha1/namespaces/floor/devices"])?;
    }

    let repository = bench.folder.path().join("fleet");
    std::fs::create_dir(&repository)?;
    git_in(&repository, &["init", "-q"])?;
    let write = |from: usize, to: usize| -> anyhow::Result<()> {
        for number in from..to {
            std::fs::write(repository.join(format!("d-{number:05}.yaml")), device(None, number, number))?;
        }
        Ok(())
    };
    write(0, NEW)?;
    commit(&repository)?;
    let key = format!("--from-literal=ssh-privatekey={}", bench.git.key("client"));
    let known = format!("--from-literal=known_hosts={}", bench.git.known("host"));
    plane.must(&["create", "secret", "generic", "git", "--namespace", "fleet", &key, &known])?;
    let kubeconfig = plane.service_account(NAMESPACE, "evenkeel")?;
    let operator = bench.start(&kubeconfig)?;
    let url = bench.git.url(&repository);
    eprintln!("measuring: Git into the cluster, {NEW} new Devices");
    let begin = Instant::now();
    plane.apply(&format!(
        "apiVersion: evenkeel.dev/v1alpha1\nkind: Repository\nmetadata: {{name: fleet, namespace: fleet}}\nspec: {{url: '{url}', interval: 1h, limits: {{deletions: 100000}}, secretRef: {{name: git}}}}\n"
    ))?;
    bench.applied(NEW)?;
    figures.insert("cluster_git_new_said".into(), milliseconds(begin));
    // By the server's own clock, as for the floor: from the Repository until the last Device, with what is fetched and planned between.
    let (asked, _) = plane.span(("patch", "evenkeel.dev/repositories"), "fleet", None)?;
    let (first, done) = plane.span(DEVICES, "fleet", Some("evenkeel-repository"))?;
    figures.insert("cluster_git_first".into(), first.duration_since(asked).as_secs_f64() * 1000.0);
    figures.insert("cluster_git_new".into(), done.duration_since(asked).as_secs_f64() * 1000.0);
    figures.insert("cluster_git_new_cpu".into(), cpu(operator.0.id())? * 1000.0);
    bench.settle()?;
    figures.insert("cluster_git_told".into(), milliseconds(begin));

    eprintln!("measuring: the same with nothing changed, and with one changed");
    let (asked, begin) = (bench.requests()?, Instant::now());
    bench.look("1")?;
    figures.insert("cluster_git_same".into(), milliseconds(begin));
    figures.insert("cluster_git_same_requests".into(), to_f64(bench.requests()? - asked));
    std::fs::write(repository.join("d-00000.yaml"), device(None, 0, 77_777))?;
    commit(&repository)?;
    let (asked, all, begin) = (bench.requests()?, bench.all_requests()?, Instant::now());
    bench.look("2")?;
    figures.insert("cluster_git_one".into(), milliseconds(begin));
    figures.insert("cluster_git_one_requests".into(), to_f64(bench.requests()? - asked));
    bench.settle()?;
    let now = bench.all_requests()?;
    figures.insert("cluster_git_one_writes".into(), to_f64(writes(&now) - writes(&all)));
    figures.insert("cluster_git_one_reads".into(), to_f64(reads(&now) - reads(&all)));

    eprintln!("measuring: the operator at rest with {ALL} Devices");
    write(NEW, ALL)?;
    commit(&repository)?;
    bench.look("3")?;
    bench.applied(ALL)?;
    bench.settle()?;
    bench.rest("cluster_rest", operator.0.id(), figures)?;

    eprintln!("measuring: the same with a probe of each");
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    // Ends with the process.
    std::thread::spawn(move || listener.incoming().for_each(drop));
    for number in 0..ALL {
        std::fs::write(repository.join(format!("d-{number:05}.yaml")), probed(number, port))?;
    }
    commit(&repository)?;
    bench.look("4")?;
    // Each is probed for the first time within a minute, and its status then says so.
    std::thread::sleep(REST);
    bench.settle()?;
    bench.rest("cluster_probed", operator.0.id(), figures)?;

    // In order, so that its lease is free at once.
    e2e::run(Command::new("kill").arg(operator.0.id().to_string()))?;
    wait_until("its end", Duration::from_secs(20), || match std::fs::read_to_string(format!("/proc/{}/stat", operator.0.id())) {
        Ok(text) if !text.contains(") Z ") => Err(text),
        _ => Ok(()),
    })?;
    drop(operator);
    let begin = Instant::now();
    let operator = bench.start(&kubeconfig)?;
    bench.ready()?;
    figures.insert("cluster_start".into(), milliseconds(begin));
    figures.insert("cluster_start_resident".into(), resident(operator.0.id())?);
    drop(operator);
    Ok(())
}

fn is_read(request: &Request) -> bool {
    ["get", "list", "watch"].contains(&&*request.verb)
}

/// The lease is renewed every two seconds, whatever there is.
fn is_lease(request: &Request) -> bool {
    request.resource.ends_with("leases")
}

fn writes(requests: &[Request]) -> usize {
    requests.iter().filter(|request| !is_read(request) && !is_lease(request)).count()
}

fn reads(requests: &[Request]) -> usize {
    requests.iter().filter(|request| is_read(request) && !is_lease(request)).count()
}

/// What a plain client needs for the bodies that we send; as whoever may do anything, or in the name of an account, as we do.
fn floor(plane: &ControlPlane, account: Option<&str>, figures: &mut Figures) -> anyhow::Result<()> {
    let body = |number: usize| {
        serde_json::json!({
            "apiVersion": "evenkeel.dev/v1alpha1",
            "kind": "Device",
            "metadata": {
                "name": format!("d-{number:05}"),
                "namespace": "floor",
                "labels": {"role": "app", "site": format!("s{}", number % 40)},
                "annotations": {"evenkeel.dev/repository": "floor/fleet", "evenkeel.dev/changed-by": "0123456789ab Ann <ann@example.com>"},
            },
            "spec": {"type": "Server", "address": ip(number)},
        })
    };
    let program = target().join("measure/examples/bench_apply");
    let mut process = Command::new(&program)
        .arg(plane.kubeconfig())
        .args(["floor", WRITERS])
        .args(account)
        .stdin(Stdio::piped())
        .spawn()
        .with_context(|| program.display().to_string())?;
    let mut input = process.stdin.take().context("its input")?;
    (0..NEW).try_for_each(|number| writeln!(input, "{}", body(number)))?;
    drop(input);
    let status = process.wait()?;
    ensure!(status.success(), "{}: {status}", program.display());
    let (begun, done) = plane.span(DEVICES, "floor", account)?;
    let name = if account.is_some() { "cluster_floor_account" } else { "cluster_floor_new" };
    figures.insert(name.into(), done.duration_since(begun).as_secs_f64() * 1000.0);
    Ok(())
}

fn ip(address: usize) -> String {
    format!("10.{}.{}.{}", address >> 16 & 255, address >> 8 & 255, address & 255)
}

impl Bench {
    fn start(&self, kubeconfig: &Path) -> anyhow::Result<Operator> {
        let log = std::fs::File::options().create(true).append(true).open(self.folder.path().join("log"))?;
        let operator = Command::new(target().join("measure/evenkeel"))
            .args(["run", "--kubernetes", "--lease-namespace", NAMESPACE, "--kubeconfig"])
            .arg(kubeconfig)
            .arg("--data")
            .arg(self.folder.path().join("data"))
            .env_remove("DATABASE_URL")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Operator(operator))
    }

    fn until(&self, what: &str, look: impl FnMut() -> Result<(), String>) -> anyhow::Result<()> {
        wait_until(what, Duration::from_secs(300), look).with_context(|| {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            lines[lines.len().saturating_sub(20)..].join("\n")
        })
    }

    fn repository(&self, path: &str) -> String {
        let path = format!("jsonpath={path}");
        let output = self.plane.kubectl(&["get", "erepo/fleet", "--namespace", "fleet", "-o", &path]);
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
    }

    /// Waits until so many objects are applied.
    fn applied(&self, count: usize) -> anyhow::Result<()> {
        // One process that watches: asking again and again would take a good part of the two processors from who is measured.
        let objects = format!("--for=jsonpath={{.status.objects}}={count}");
        let wait = ["wait", "erepo/fleet", "--namespace", "fleet", &objects, "--timeout=300s"];
        self.plane.must(&wait).context("what Git says being applied")?;
        self.until("what Git says being applied", || {
            let said = self.repository("{.status.objects} {.status.conditions[0].reason}");
            if said == format!("{count} Applied") { Ok(()) } else { Err(said) }
        })
    }

    /// Asks for a look, and waits for it.
    fn look(&self, id: &str) -> anyhow::Result<()> {
        let asked = format!("evenkeel.dev/requested-at={id}");
        self.plane.must(&["annotate", "erepo/fleet", "--namespace", "fleet", "--overwrite", &asked])?;
        self.until("the look", || {
            let said = self.repository("{.status.lastHandledRequestAt} {.status.conditions[0].reason}");
            if said == format!("{id} Applied") { Ok(()) } else { Err(said) }
        })
    }

    /// Waits until nothing is written any more.
    fn settle(&self) -> anyhow::Result<()> {
        let mut last = 0;
        self.until("it coming to rest", || {
            let now = self.all_requests().map_err(|error| error.to_string())?.iter().filter(|request| request.verb == "patch").count();
            let rests = std::mem::replace(&mut last, now) == now;
            std::thread::sleep(Duration::from_secs(3));
            if rests { Ok(()) } else { Err(format!("{now} writes")) }
        })
    }

    /// What the operator does in a minute in which nothing happens, and how much memory it has then.
    fn rest(&self, name: &str, operator: u32, figures: &mut Figures) -> anyhow::Result<()> {
        let (before, used) = (self.all_requests()?, cpu(operator)?);
        std::thread::sleep(REST);
        let after = self.all_requests()?;
        figures.insert(format!("{name}_writes"), to_f64(writes(&after) - writes(&before)));
        figures.insert(format!("{name}_requests"), to_f64(after.len() - before.len()));
        figures.insert(format!("{name}_cpu"), (cpu(operator)? - used) * 1000.0);
        figures.insert(format!("{name}_resident"), resident(operator)?);
        Ok(())
    }

    /// Waits until the operator has read everything.
    fn ready(&self) -> anyhow::Result<()> {
        self.until("it being ready", || {
            let output =
                Command::new(target().join("measure/evenkeel")).args(["status", "--data"]).arg(self.folder.path().join("data")).output();
            let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
            if text.contains(&format!("{ALL} devices")) { Ok(()) } else { Err(text) }
        })
    }

    fn requests(&self) -> anyhow::Result<usize> {
        Ok(self.plane.requests_of("fleet", "evenkeel-repository")?.len())
    }

    fn all_requests(&self) -> anyhow::Result<Vec<Request>> {
        let mut requests = self.plane.requests_of(NAMESPACE, "evenkeel")?;
        requests.extend(self.plane.requests_of("fleet", "evenkeel-repository")?);
        Ok(requests)
    }
}

fn git_in(folder: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let settings =
        ["-c", "user.name=Ann", "-c", "user.email=ann@example.com", "-c", "init.defaultBranch=main", "-c", "commit.gpgsign=false"];
    e2e::run(Command::new("git").arg("-C").arg(folder).args(settings).args(arguments).env("GIT_CONFIG_GLOBAL", "/dev/null"))
}

fn commit(folder: &Path) -> anyhow::Result<()> {
    git_in(folder, &["add", "-A"])?;
    git_in(folder, &["commit", "-q", "-m", "change"]).map(drop)
}

fn milliseconds(begin: Instant) -> f64 {
    begin.elapsed().as_secs_f64() * 1000.0
}

fn to_f64(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

/// Seconds of processor time that a process has used; see proc_pid_stat(5).
pub(super) fn cpu(id: u32) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    let fields: Vec<&str> = text.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    ensure!(fields.len() > 13, "/proc/{id}/stat");
    Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / 100.0)
}

/// MiB of a process that are in memory.
pub(super) fn resident(id: u32) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}
