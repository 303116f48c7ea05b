//! The same story with kubectl: a real API server, the chart, the operator with the rights that the chart gives it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use console::style;
use e2e::control_plane::{ControlPlane, programs};
use serde_json::Value;

use super::fleet::Fleet;
use super::part;
use crate::root;

const NAMESPACE: &str = "evenkeel-system";
/// How long a rollout of the story may take.
const LIMIT: Duration = Duration::from_secs(180);

/// An API server with the chart installed, before the operator is started on it.
pub(super) fn set_up(fleet: &mut Fleet) -> anyhow::Result<ControlPlane> {
    if let Some(why) = programs::unavailable() {
        bail!("{why}");
    }
    let plane = ControlPlane::start()?;
    let values = ["secrets[0].namespace=default", "secrets[0].names={fleet-key}"];
    println!("{}", style("$ helm upgrade --install evenkeel charts/evenkeel --namespace evenkeel-system --create-namespace --set …").dim());
    plane.install_chart("evenkeel", NAMESPACE, &values)?;
    part("What the operator may do: the chart's rules");
    rules()?;
    let key = format!("--from-file=ssh-privatekey={}", fleet.key().display());
    kubectl(&plane, &["create", "secret", "generic", "fleet-key", &key])?;
    fleet.engine.kubeconfig = Some(plane.service_account(NAMESPACE, "evenkeel")?);
    Ok(plane)
}

/// Which files of the chart have rules, and where those hold. They are generated, each rule with what it is for.
const RULES: [(&str, &str); 6] = [
    ("rules", "namespaces that are watched"),
    ("secret-rules", "each namespace of `secrets`, the names given there"),
    ("own-rules", "its own namespace"),
    ("handed-out", "namespaces that are watched, with `roles.enabled`"),
    ("webhook-rules", "namespaces that are watched, with `webhooks.enabled`"),
    ("pod-rules", "its own namespace, with several replicas"),
];

/// The RBAC rules of the chart as a table: what may be done, and what for.
fn rules() -> anyhow::Result<()> {
    for (file, place) in RULES {
        println!("  {}", style(format!("in {place}")).bold());
        let text = std::fs::read_to_string(root().join(format!("charts/evenkeel/files/{file}.yaml")))?;
        let list = |line: &str| line.replace(['[', ']', '"'], "").replace(',', ", ");
        let (mut reason, mut group, mut resources) = (String::new(), String::new(), String::new());
        for line in text.lines().skip(1) {
            match line.trim_start_matches(['-', ' ']).split_once(": ") {
                _ if line.starts_with("# ") => line[2..].clone_into(&mut reason),
                Some(("apiGroups", value)) => group = list(value),
                Some(("resources", value)) => resources = list(value),
                Some(("verbs", value)) => {
                    let of = if group.is_empty() { "core" } else { &group };
                    println!("    {:<28} {resources} ({of})\n      {}", list(value), style(&reason).dim());
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Three releases by kubectl. Everything that is told is also checked.
pub(super) fn story(fleet: &mut Fleet, plane: &ControlPlane, stop: &Arc<AtomicBool>) -> anyhow::Result<()> {
    let [first, good, bad] = fleet.release.versions;
    println!("\n{}\nThe operator runs outside of the cluster, with the service account of the chart.", fleet.introduction);
    part("1. The fleet is applied by kubectl");
    let folder = fleet.engine.fleet.clone();
    for part in ["devices", "deployments", "watching", "governing/roles.yaml"] {
        kubectl(plane, &["apply", "--server-side", "-R", "-f", &folder.join(part).display().to_string()])?;
    }
    fleet.engine.start()?;
    until(plane, stop, "Ready", "True", first)?;
    kubectl(plane, &["get", "edep,dev"])?;

    part(&format!("2. A good release: nginx {good}"));
    release(plane, good)?;
    until(plane, stop, "Ready", "True", good)?;
    kubectl(plane, &["wait", "--for=condition=Ready", "--timeout=10s", "edep/nginx"])?;

    part(&format!("3. A bad release: nginx {bad}, whose service dies some seconds after its start"));
    release(plane, bad)?;
    until(plane, stop, "Stalled", "True", bad)?;
    kubectl(plane, &["get", "edep/nginx", "-o", "wide"])?;

    part("4. Is it well? And why is it so?");
    kubectl(plane, &["get", "evenkeel", "-A"])?;
    let told = kubectl(plane, &["describe", "edep", "nginx"])?;
    ensure!(told.contains("RolledBack"), "describe does not say so");
    let denied: Vec<_> = plane.requests_of(NAMESPACE, "evenkeel")?.into_iter().filter(|request| request.forbidden).collect();
    ensure!(denied.is_empty(), "the chart's rules did not let the operator do something: {denied:?}");
    Ok(())
}

fn release(plane: &ControlPlane, version: &str) -> anyhow::Result<()> {
    let patch = format!(r#"{{"spec":{{"package":{{"apt":{{"version":"{version}"}}}}}}}}"#);
    kubectl(plane, &["patch", "edep/nginx", "--type=merge", "-p", &patch]).map(drop)
}

/// Runs kubectl, and shows it with what it says.
fn kubectl(plane: &ControlPlane, arguments: &[&str]) -> anyhow::Result<String> {
    println!("{}", style(format!("$ kubectl {}", arguments.join(" "))).dim());
    let text = plane.must(arguments)?;
    let lines: Vec<&str> = text.lines().collect();
    // The beginning and the end are what one looks for.
    for (at, line) in lines.iter().enumerate() {
        match (at, lines.len() > 60) {
            (30, true) => println!("…"),
            (31.., true) if at + 30 < lines.len() => {}
            _ => println!("{line}"),
        }
    }
    Ok(text)
}

/// Waits until a condition of the Deployment is so for its newest revision, and shows its phases meanwhile.
fn until(plane: &ControlPlane, stop: &AtomicBool, condition: &str, wanted: &str, version: &str) -> anyhow::Result<()> {
    let end = std::time::Instant::now() + LIMIT;
    let mut shown = String::new();
    loop {
        let object: Value = serde_json::from_str(&plane.must(&["get", "edep/nginx", "-o", "json"])?)?;
        let status = &object["status"];
        let newest = status["history"].as_array().and_then(|history| history.last()).cloned().unwrap_or_default();
        let line = format!(
            "  {:<17} {:>2} of {} updated  {}",
            status["phase"].as_str().unwrap_or("-"),
            status["counts"]["updated"].as_i64().unwrap_or(0),
            status["counts"]["total"].as_i64().unwrap_or(0),
            status["waitingOn"].as_str().unwrap_or_default()
        );
        if line != shown {
            println!("{line}");
            shown = line;
        }
        let is_so =
            status["conditions"].as_array().is_some_and(|all| all.iter().any(|of| of["type"] == condition && of["status"] == wanted));
        let is_fresh = status["observedGeneration"] == object["metadata"]["generation"];
        if is_so && is_fresh && newest["version"].as_str().is_some_and(|newest| newest.contains(version)) {
            return Ok(());
        }
        ensure!(!stop.load(Ordering::Relaxed), "interrupted");
        ensure!(std::time::Instant::now() < end, "edep/nginx is not {condition}={wanted} with {version} within {LIMIT:?}: {status}");
        std::thread::sleep(Duration::from_millis(300));
    }
}

pub(super) fn what_next(plane: &ControlPlane) -> anyhow::Result<()> {
    part("What to try next, in another terminal");
    let kubectl = programs::control_plane()?.join("kubectl");
    println!(
        "  export KUBECONFIG={}
  alias kubectl={}

  kubectl get evenkeel -A -o wide          every object of the fleet, with all that is shown of it
  kubectl get edep -w                      how rollouts go on
  kubectl explain edep.spec.strategy       every field has a text
  kubectl describe dev web-ams1-01         what is known of a device, and what happened there
  kubectl edit edep nginx                  give it another version: 1.24.0-1 is good, 1.25.2-1 is bad

  cargo xtask bench cluster latency        what it costs: 5 000 and 10 000 devices, and from a commit or a webhook to a device",
        plane.kubeconfig().display(),
        kubectl.display()
    );
    println!("\n{}", style("Ctrl-C ends everything and cleans up.").bold());
    Ok(())
}

/// The whole of it.
pub(super) fn run(fleet: &mut Fleet, stop: &Arc<AtomicBool>, once: bool) -> anyhow::Result<()> {
    let plane = set_up(fleet)?;
    let told = story(fleet, &plane, stop);
    if stop.load(Ordering::Relaxed) {
        bail!("interrupted");
    }
    told.with_context(|| format!("the operator said last:\n{}", fleet.engine.tail()))?;
    if !once {
        what_next(&plane)?;
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    // Before its API server.
    fleet.engine.terminate().map(drop)
}
