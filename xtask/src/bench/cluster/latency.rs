//! From a commit to a device that is changed, by way of the cluster, again and again on a simulated device.
//!
//! After each commit the Repository is asked for a look by its annotation; where a server calls a webhook, that takes its place.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use e2e::control_plane::ControlPlane;
use e2e::engine::Engine;
use e2e::simulated::Simulated;
use serde_json::json;

use super::{Figures, NAMESPACE, sshd};
use crate::target;

/// Commits.
const COMMITS: usize = 100;
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
    let values = ["secrets[0].namespace=fleet", "secrets[0].names={fleet-key,git}", "repositories[0].namespace=fleet"];
    plane.install_chart("evenkeel", NAMESPACE, &values)?;
    let key = format!("--from-file=ssh-privatekey={}", simulated.key().display());
    plane.must(&["create", "secret", "generic", "fleet-key", "--namespace", "fleet", &key])?;
    let (key, known) =
        (format!("--from-literal=ssh-privatekey={}", git.key("client")), format!("--from-literal=known_hosts={}", git.known("host")));
    plane.must(&["create", "secret", "generic", "git", "--namespace", "fleet", &key, &known])?;
    let mut engine = Engine::with(&binary, &simulated.folder, &simulated.key())?;
    engine.kubeconfig = Some(plane.service_account(NAMESPACE, "evenkeel")?);
    engine.commit("motd.yaml", &deployment("begin"), "begin")?;
    let branch = engine.git(&["branch", "--show-current"])?;
    plane.apply(&format!(
        "apiVersion: evenkeel.dev/v1alpha1\nkind: Repository\nmetadata: {{name: fleet, namespace: fleet}}\nspec: {{url: '{}', ref: {{branch: {}}}, interval: 1h, secretRef: {{name: git}}}}\n",
        git.url(&engine.fleet),
        branch.trim()
    ))?;
    engine.start()?;
    let file = motd(&simulated.folder)?;
    let plain = plane.plain()?;
    let (mut whole, mut applied) = (Vec::new(), Vec::new());
    for number in 0..BEFORE + COMMITS {
        let text = format!("welcome {number}");
        engine.commit("motd.yaml", &deployment(&text), &text)?;
        let begin = Instant::now();
        plain.merge(REPOSITORY, "bench", &json!({"metadata": {"annotations": {"evenkeel.dev/requested-at": number.to_string()}}}))?;
        let mut in_cluster = None;
        let changed = loop {
            if in_cluster.is_none() && plain.get(DEPLOYMENT)?["spec"]["files"][0]["content"] == text.as_str() {
                in_cluster = Some(begin.elapsed());
            }
            if std::fs::read_to_string(&file).is_ok_and(|there| there.trim() == text) {
                break begin.elapsed();
            }
            anyhow::ensure!(begin.elapsed() < LIMIT, "commit {number} did not come: {}", engine.tail());
            std::thread::sleep(Duration::from_millis(5));
        };
        if number >= BEFORE {
            whole.push(changed);
            applied.extend(in_cluster);
        }
        // The next one begins when this one is over.
        e2e::wait_until("the rollout being over", LIMIT, || {
            let object = plain.get(DEPLOYMENT).map_err(|error| error.to_string())?;
            let is_of_it = object["status"]["observedGeneration"] == object["metadata"]["generation"];
            if is_of_it && object["status"]["phase"] == "Complete" { Ok(()) } else { Err(object.to_string()) }
        })?;
    }
    let share = |times: &mut Vec<Duration>, percent: usize| {
        times.sort();
        let at = (times.len() * percent).div_ceil(100).saturating_sub(1);
        times.get(at).map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
    };
    figures.insert("cluster_commit_median".into(), share(&mut whole, 50));
    figures.insert("cluster_commit_p99".into(), share(&mut whole, 99));
    figures.insert("cluster_commit_applied_median".into(), share(&mut applied, 50));
    Ok(())
}

/// The file of the one device there is.
fn motd(folder: &Path) -> anyhow::Result<PathBuf> {
    let device = std::fs::read_dir(folder.join("simulated/devices"))?.flatten().next().context("a device")?;
    Ok(device.path().join("etc/motd"))
}
