//! From a commit to a device that is changed, by way of the cluster, again and again on a simulated device.
//!
//! After each commit the Repository is asked for a look: by its annotation, and then again by a webhook, as its server would.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use e2e::control_plane::ControlPlane;
use e2e::control_plane::plain::Plain;
use e2e::engine::Engine;
use e2e::simulated::Simulated;
use serde_json::json;

use super::{Figures, NAMESPACE, sshd};
use crate::target;

/// Commits, each way.
const COMMITS: usize = 100;
/// What the webhook shows.
const TOKEN: &str = "the-token-of-the-bench";
/// Commits before those that count: connections, caches, the first revision.
const BEFORE: usize = 3;
/// How long one may take.
const LIMIT: Duration = Duration::from_secs(60);
const REPOSITORY: &str = "/apis/evenkeel.dev/v1alpha1/namespaces/fleet/repositories/fleet";
const DEPLOYMENT: &str = "/apis/evenkeel.dev/v1alpha1/namespaces/fleet/deployments/motd";

fn deployment(text: &str) -> String {
    format!(
        "apiVersion: evenkeel.dev/v1alpha1\nkind: Deployment\nmetadata: {{name: motd}}\nspec:\n  selector: {{matchLabels: {{role: app}}}}\n  files: [{{path: /etc/motd, content: '{text}'}}]\n  strategy: {{soak: 0s, deadline: 60s}}\n"
    )
}

pub(super) fn measure(figures: &mut Figures) -> anyhow::Result<()> {
    eprintln!("measuring: commit -> device changed, {COMMITS} times");
    let git = sshd::Server::start().context("an OpenSSH server")?;
    let manifests = tempfile::tempdir()?;
    let device = "apiVersion: evenkeel.dev/v1alpha1\nkind: Device\nmetadata: {name: d-1, labels: {role: app}}\nspec:\n  type: Server\n  address: 10.0.0.1\n  access: {ssh: {user: ops, become: sudo, secretRef: {name: fleet-key}}}\n";
    std::fs::write(manifests.path().join("d-1.yaml"), device)?;
    let binary = target().join("measure/evenkeel");
    let simulated = Simulated::start(&binary, manifests.path(), &[])?;
    let plane = ControlPlane::start()?;
    plane.must(&["create", "namespace", "fleet"])?;
    let values =
        ["secrets[0].namespace=fleet", "secrets[0].names={fleet-key,git,hook}", "repositories[0].namespace=fleet", "webhooks.enabled=true"];
    plane.install_chart("evenkeel", NAMESPACE, &values)?;
    let key = format!("--from-file=ssh-privatekey={}", simulated.key().display());
    plane.must(&["create", "secret", "generic", "fleet-key", "--namespace", "fleet", &key])?;
    let (key, known) =
        (format!("--from-literal=ssh-privatekey={}", git.key("client")), format!("--from-literal=known_hosts={}", git.known("host")));
    plane.must(&["create", "secret", "generic", "git", "--namespace", "fleet", &key, &known])?;
    plane.must(&["create", "secret", "generic", "hook", "--namespace", "fleet", &format!("--from-literal=token={TOKEN}")])?;
    let mut engine = Engine::with(&binary, &simulated.folder, &simulated.key())?;
    engine.kubeconfig = Some(plane.service_account(NAMESPACE, "evenkeel")?);
    engine.commit("motd.yaml", &deployment("begin"), "begin")?;
    let branch = engine.git(&["branch", "--show-current"])?;
    plane.apply(&format!(
        "apiVersion: evenkeel.dev/v1alpha1\nkind: Repository\nmetadata: {{name: fleet, namespace: fleet}}\nspec: {{url: '{}', ref: {{branch: {}}}, interval: 1h, secretRef: {{name: git}}, webhook: {{provider: GitLab, secretRef: {{name: hook}}}}}}\n",
        git.url(&engine.fleet),
        branch.trim()
    ))?;
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    engine.arguments = ["--webhooks", "--listen", &format!("127.0.0.1:{port}")].map(str::to_owned).into();
    engine.start()?;
    let file = motd(&simulated.folder)?;
    let plain = plane.plain()?;
    let bench = Bench { engine, plain, file };
    let asked = |number: usize| {
        let annotation = json!({"metadata": {"annotations": {"evenkeel.dev/requested-at": number.to_string()}}});
        bench.plain.merge(REPOSITORY, "bench", &annotation).map(drop)
    };
    let mut times = bench.commits("asked", asked)?;
    figures.insert("cluster_commit_median".into(), share(&mut times.changed, 50));
    figures.insert("cluster_commit_p99".into(), share(&mut times.changed, 99));
    figures.insert("cluster_commit_applied_median".into(), share(&mut times.applied, 50));
    let mut times = bench.commits("hooked", |_| post(port))?;
    figures.insert("cluster_webhook_taken_median".into(), share(&mut times.taken, 50));
    figures.insert("cluster_webhook_applied_median".into(), share(&mut times.applied, 50));
    figures.insert("cluster_webhook_applied_p99".into(), share(&mut times.applied, 99));
    figures.insert("cluster_webhook_median".into(), share(&mut times.changed, 50));
    Ok(())
}

struct Bench {
    engine: Engine,
    plain: Plain,
    file: PathBuf,
}

/// How long each took from when a look was asked for.
#[derive(Default)]
struct Times {
    /// Until that was answered: somebody looks.
    taken: Vec<Duration>,
    /// Until the cluster had it.
    applied: Vec<Duration>,
    /// Until the device had it.
    changed: Vec<Duration>,
}

impl Bench {
    /// Commit after commit, each asked for in this way.
    fn commits(&self, what: &str, ask: impl Fn(usize) -> anyhow::Result<()>) -> anyhow::Result<Times> {
        let mut times = Times::default();
        for number in 0..BEFORE + COMMITS {
            let text = format!("{what} {number}");
            self.engine.commit("motd.yaml", &deployment(&text), &text)?;
            let begin = Instant::now();
            ask(number)?;
            let taken = begin.elapsed();
            let mut applied = None;
            let changed = loop {
                if applied.is_none() && self.plain.get(DEPLOYMENT)?["spec"]["files"][0]["content"] == text.as_str() {
                    applied = Some(begin.elapsed());
                }
                if std::fs::read_to_string(&self.file).is_ok_and(|there| there.trim() == text) {
                    break begin.elapsed();
                }
                anyhow::ensure!(begin.elapsed() < LIMIT, "commit {number} did not come: {}", self.engine.tail());
                std::thread::sleep(Duration::from_millis(5));
            };
            if number >= BEFORE {
                times.taken.push(taken);
                times.applied.extend(applied);
                times.changed.push(changed);
            }
            // The next one begins when this one is over.
            e2e::wait_until("the rollout being over", LIMIT, || {
                let object = self.plain.get(DEPLOYMENT).map_err(|error| error.to_string())?;
                let is_of_it = object["status"]["observedGeneration"] == object["metadata"]["generation"];
                if is_of_it && object["status"]["phase"] == "Complete" { Ok(()) } else { Err(object.to_string()) }
            })?;
        }
        Ok(times)
    }
}

/// A push, as GitLab tells of it.
fn post(port: u16) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    let headers = format!("X-Gitlab-Token: {TOKEN}\r\nX-Gitlab-Event: Push Hook\r\nContent-Length: 0\r\nConnection: close");
    write!(stream, "POST /hooks/fleet/fleet HTTP/1.1\r\nHost: keel\r\n{headers}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    anyhow::ensure!(answer.starts_with("HTTP/1.1 202"), "the webhook: {answer}");
    Ok(())
}

fn share(times: &mut [Duration], percent: usize) -> f64 {
    times.sort();
    let at = (times.len() * percent).div_ceil(100).saturating_sub(1);
    times.get(at).map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
}

/// The file of the one device there is.
fn motd(folder: &Path) -> anyhow::Result<PathBuf> {
    let device = std::fs::read_dir(folder.join("simulated/devices"))?.flatten().next().context("a device")?;
    Ok(device.path().join("etc/motd"))
}
