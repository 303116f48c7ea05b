//! The chart as a package: each of its values files on a real API server, pods that a restricted namespace admits, metrics that are there,
//! and an upgrade from earlier charts with objects in place.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use e2e::control_plane::{ControlPlane, programs};
use e2e::fleet::{Fleet, NAMESPACE, skipped};
use e2e::run;
use serde_json::{Value, json};

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn chart() -> PathBuf {
    checkout().join("charts/evenkeel")
}

fn helm(plane: &ControlPlane, arguments: &[&str]) -> Result<String, String> {
    let output = plane.helm(arguments).unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stdout) + &text(&output.stderr)) }
}

/// Files of a folder with this suffix.
fn files(folder: &Path, suffix: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|of| of == suffix));
    files.sort();
    files
}

/// Objects as the API server would make them of a text, which it has to take.
fn dry_run(plane: &ControlPlane, text: &str) -> Result<Vec<Value>, String> {
    let arguments = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-o", "json"];
    let output = plane.with(&arguments, text).unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    Ok(said["items"].as_array().cloned().unwrap_or_else(|| vec![said]))
}

/// A pod as a Deployment or StatefulSet would make it, in the namespace `restricted`.
fn pod(of: &Value) -> String {
    let mut template = of["spec"]["template"].clone();
    for claim in of["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten() {
        let volume = json!({"name": claim["metadata"]["name"], "persistentVolumeClaim": {"claimName": "it"}});
        template["spec"]["volumes"].as_array_mut().unwrap().push(volume);
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "it", "namespace": "restricted", "labels": template["metadata"]["labels"]}, "spec": template["spec"]})
        .to_string()
}

/// Every values file renders objects that the API server takes, kinds of the Prometheus Operator among them, and pods that a namespace
/// admits which enforces the restricted profile; together they render every template.
#[test]
fn every_values_file_is_taken_and_its_pods_are_admitted() {
    if skipped() {
        return;
    }
    let plane = ControlPlane::start().unwrap();
    for kind in programs::prometheus_operator().unwrap() {
        plane.must(&["apply", "--server-side", "-f", &kind.display().to_string()]).unwrap();
    }
    plane.must(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"]).unwrap();
    for namespace in [NAMESPACE, "fleet", "lab", "restricted"] {
        plane.must(&["create", "namespace", namespace]).unwrap();
    }
    plane.must(&["label", "namespace", "restricted", "pod-security.kubernetes.io/enforce=restricted"]).unwrap();
    let any = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "it", "namespace": "restricted"}, "spec": {"containers": [{"name": "a", "image": "a"}]}});
    let refused = dry_run(&plane, &any.to_string()).unwrap_err();
    assert!(refused.contains("violates PodSecurity"), "it admits anything: {refused}");

    let chart = chart().display().to_string();
    let (mut sources, mut kinds) = (BTreeSet::new(), BTreeSet::new());
    let ways = files(&checkout().join("charts/evenkeel/ci"), "yaml");
    assert!(ways.len() >= 5, "{ways:?}");
    for values in ways.iter().map(|path| path.display().to_string()) {
        helm(&plane, &["lint", "--strict", &chart, "--values", &values]).unwrap_or_else(|said| panic!("{values}: {said}"));
        let text = helm(&plane, &["template", "keel", &chart, "--namespace", NAMESPACE, "--values", &values]);
        let text = text.unwrap_or_else(|said| panic!("{values}: {said}"));
        sources.extend(text.lines().filter_map(|line| line.strip_prefix("# Source: evenkeel/templates/")).map(str::to_owned));
        let objects = dry_run(&plane, &text).unwrap_or_else(|said| panic!("{values}: {said}"));
        assert_eq!(objects.len(), text.lines().filter(|line| line.starts_with("kind: ")).count(), "{values}");
        kinds.extend(objects.iter().filter_map(|object| object["kind"].as_str()).map(str::to_owned));
        let makes_pods = |object: &&Value| object["kind"] == "Deployment" || object["kind"] == "StatefulSet";
        let made = objects.iter().filter(makes_pods).map(pod);
        let tests = objects.iter().filter(|object| object["kind"] == "Pod").map(|object| {
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "test", "namespace": "restricted"}, "spec": object["spec"]})
                .to_string()
        });
        let pods: Vec<String> = made.chain(tests).collect();
        assert_eq!(pods.len(), if values.ends_with("tryout-values.yaml") { 3 } else { 2 }, "{values}");
        for pod in pods {
            dry_run(&plane, &pod).unwrap_or_else(|said| panic!("{values}: {said}"));
        }
    }
    let named = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    let templates = files(&checkout().join("charts/evenkeel/templates"), "yaml").iter().map(named).collect::<BTreeSet<_>>();
    let idle: Vec<_> = templates.iter().filter(|name| *name != "validate.yaml" && !sources.contains(*name)).collect();
    assert!(idle.is_empty(), "templates that no values file renders: {idle:?}");
    for kind in
        ["ServiceMonitor", "PrometheusRule", "NetworkPolicy", "PodDisruptionBudget", "PersistentVolumeClaim", "ConfigMap", "StatefulSet"]
    {
        assert!(kinds.contains(kind), "{kind}: {kinds:?}");
    }
}

/// The database that comes with the chart keeps its password, and the log its key, whatever is upgraded or taken away; and who renders it without
/// knowing them is refused.
#[test]
fn the_bundled_database_keeps_its_secrets() {
    if skipped() {
        return;
    }
    let plane = ControlPlane::start().unwrap();
    plane.must(&["create", "namespace", NAMESPACE]).unwrap();
    let (chart, values) = (chart().display().to_string(), checkout().join("charts/evenkeel/ci/tryout-values.yaml").display().to_string());
    let upgrade = |more: &[&str]| {
        let all = ["upgrade", "--install", "evenkeel", &chart, "--namespace", NAMESPACE, "--values", &values];
        helm(&plane, &[&all[..], more].concat()).unwrap();
        let of = |name| plane.must(&["get", "secret", name, "--namespace", NAMESPACE, "-o", "jsonpath={.data}"]).unwrap();
        [of("evenkeel-postgresql"), of("evenkeel-audit-key")]
    };
    let first = upgrade(&[]);
    assert_eq!(upgrade(&["--set", "lookInterval=5s"]), first);
    let anew = helm(&plane, &["template", "evenkeel", &chart, "--namespace", NAMESPACE, "--values", &values]).unwrap();
    let refused = plane.with(&["apply", "--server-side", "--force-conflicts"], &anew).unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("immutable"), "{said}");
    helm(&plane, &["uninstall", "evenkeel", "--namespace", NAMESPACE]).unwrap();
    assert_eq!(upgrade(&[]), first);
    let template = "go-template={{index .data \"audit.key\" | base64decode}}";
    let key = plane.must(&["get", "secret", "evenkeel-audit-key", "--namespace", NAMESPACE, "-o", template]).unwrap();
    assert_eq!(key.trim().len(), 44, "32 bytes as base64: {key}");
    let template = "go-template={{.data.url | base64decode}} {{.data.password | base64decode}}";
    let said = plane.must(&["get", "secret", "evenkeel-postgresql", "--namespace", NAMESPACE, "-o", template]).unwrap();
    let (url, password) = said.trim().split_once(' ').unwrap();
    assert_eq!(url, format!("postgres://evenkeel:{password}@evenkeel-postgresql.{NAMESPACE}.svc/evenkeel"));
}

/// Names of our metrics in a text.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("evenkeel_")).map(str::to_owned).collect()
}

/// An earlier chart, as a commit has it, below a folder.
fn unpack(commit: &str, into: &Path) -> PathBuf {
    std::fs::create_dir_all(into).unwrap();
    let mut archive =
        Command::new("git").arg("-C").arg(checkout()).args(["archive", commit, "charts/evenkeel"]).stdout(Stdio::piped()).spawn().unwrap();
    run(Command::new("tar").arg("-x").arg("-C").arg(into).stdin(archive.stdout.take().unwrap())).unwrap();
    assert!(archive.wait().unwrap().success(), "git archive {commit}");
    into.join("charts/evenkeel")
}

fn git(arguments: &[&str]) -> anyhow::Result<String> {
    Ok(run(Command::new("git").arg("-C").arg(checkout()).args(arguments))?.trim().to_owned())
}

/// The commit with the chart before this one, and the one that had it first. A checkout without history has neither.
fn earlier_charts() -> anyhow::Result<Vec<String>> {
    let shallow = git(&["rev-parse", "--is-shallow-repository"])?;
    anyhow::ensure!(
        shallow == "false",
        "this checkout is shallow, so that there is no earlier chart to upgrade from: git fetch --unshallow"
    );
    let all = git(&["log", "--format=%H", "--", "charts/evenkeel"])?;
    let all: Vec<&str> = all.lines().collect();
    // What is not committed yet comes after the newest commit.
    let is_changed = !git(&["status", "--porcelain", "--", "charts/evenkeel"])?.is_empty();
    let previous = all.get(usize::from(!is_changed)).copied();
    let previous = previous.ok_or_else(|| anyhow::anyhow!("no commit before this one has a chart"))?;
    Ok([previous, all[all.len() - 1]].map(str::to_owned).to_vec())
}

/// An upgrade keeps every object, the token and the kinds' data, brings the new kinds, and what was installed before goes on.
#[test]
fn an_upgrade_from_earlier_charts_keeps_what_is_there() {
    if skipped() {
        return;
    }
    let commits = match earlier_charts() {
        Ok(commits) => commits,
        Err(error) => {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{error:#}, and in CI nothing is skipped");
            return eprintln!("SKIPPED: {error:#}");
        }
    };
    for commit in commits {
        let folder = tempfile::tempdir().unwrap();
        let old = unpack(&commit, folder.path()).display().to_string();
        let objects = |plane: &ControlPlane| {
            plane.must(&["get", "evenkeel", "-A", "-o", "jsonpath={range .items[*]}{.metadata.uid} {.spec}\n{end}"]).unwrap()
        };
        let token = |plane: &ControlPlane| {
            plane.must(&["get", "secret", "evenkeel-api", "--namespace", NAMESPACE, "-o", "jsonpath={.data}"]).unwrap()
        };
        let mut before = (String::new(), String::new());
        let mut fleet = Fleet::new(ControlPlane::start().unwrap(), 2, &[], |plane| {
            // The examples name Secrets that are not there and that nobody lets it read.
            plane.denials_are_meant("secrets");
            let values = ["--set", "secrets[0].namespace=default", "--set", "secrets[0].names={fleet-key}"];
            let install = ["install", "evenkeel", &old, "--namespace", NAMESPACE];
            helm(plane, &[&install[..], &values].concat()).unwrap_or_else(|said| panic!("{commit}: {said}"));
            plane.must(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"]).unwrap();
            let examples = checkout().join("examples").display().to_string();
            // An older chart need not know every field of today's examples: what it takes is what is there.
            let _ = plane.kubectl(&["apply", "--server-side", "--recursive", "-f", &examples]).unwrap();
            before = (objects(plane), token(plane));
        })
        .unwrap_or_else(|error| panic!("{commit}: {error:#}"));
        assert!(before.0.lines().count() >= 10, "{commit}: {}", before.0);
        let after = objects(&fleet.plane);
        let lost: Vec<&str> = before.0.lines().filter(|line| !after.contains(line)).collect();
        assert!(lost.is_empty(), "{commit}: {lost:?}");
        assert_eq!(token(&fleet.plane), before.1);
        let installed = fleet.plane.must(&["get", "crd", "devices.evenkeel.dev", "-o", "json"]).unwrap();
        let installed: Value = serde_json::from_str(&installed).unwrap();
        let wanted = fleet
            .plane
            .must(&[
                "create",
                "--dry-run=client",
                "-o",
                "json",
                "-f",
                &checkout().join("crds/evenkeel.dev_devices.yaml").display().to_string(),
            ])
            .unwrap();
        let wanted: Value = serde_json::from_str(&wanted).unwrap();
        assert_eq!(
            installed["spec"]["versions"][0]["schema"], wanted["spec"]["versions"][0]["schema"],
            "{commit}: the kinds are the old ones"
        );
        // And it works.
        fleet.deploy("1.0-1", "");
        fleet.start_pod().unwrap();
        fleet.wait("Complete", "1.0-1", 2);
        fleet.plane.must(&["delete", "edep,dev,dclass,arule,erole,recv,sil,erepo", "--all", "--all-namespaces", "--timeout=60s"]).unwrap();
    }
}

/// Each metric that the dashboard and the alerts name is one that a running operator has.
#[test]
fn dashboards_and_alerts_name_metrics_that_there_are() {
    if skipped() {
        return;
    }
    let read = |file: &str| std::fs::read_to_string(chart().join(file)).unwrap();
    let dashboard = read("files/dashboard.json");
    let parsed: Value = serde_json::from_str(&dashboard).unwrap();
    let named = |value: &Value| value["targets"].as_array().is_some_and(|targets| targets.iter().all(|target| target["expr"].is_string()));
    assert!(parsed["panels"].as_array().unwrap().iter().all(named));
    let wanted: BTreeSet<String> = metrics(&dashboard).into_iter().chain(metrics(&read("templates/monitoring.yaml"))).collect();
    assert!(wanted.len() >= 8, "{wanted:?}");
    let mut fleet = Fleet::new(ControlPlane::start().unwrap(), 2, &[], |_| {}).unwrap();
    fleet.deploy("1.0-1", "  paused: true\n");
    fleet.start_pod().unwrap();
    // Something is put off.
    fleet.until("every metric", || {
        let text = fleet.pods[0].get("/metrics").map_err(|error| error.to_string())?;
        let there = metrics(&text);
        let missing: Vec<&String> = wanted.difference(&there).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?} of\n{text}")) }
    });
    // The other way round: what there is to see is shown.
    let there = metrics(&fleet.pods[0].get("/metrics").unwrap());
    // A counter is described without its suffix.
    let unseen: Vec<&String> = there.iter().filter(|name| !wanted.contains(*name) && !wanted.contains(&format!("{name}_total"))).collect();
    assert!(unseen.is_empty(), "on no dashboard: {unseen:?}");
}
