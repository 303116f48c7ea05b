//! Simulated devices behind a real API server with the chart installed: for engines and pods that have the chart's own rights.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use crate::control_plane::pod::Pod;
use crate::control_plane::{ControlPlane, programs};
use crate::engine::Engine;
use crate::postgres::Postgres;
use crate::simulated::Simulated;
use crate::{run, wait_until};

/// Where the chart is installed.
pub const NAMESPACE: &str = "evenkeel-system";
/// How long anything may take: long, since machines differ.
pub const LIMIT: Duration = Duration::from_secs(180);

/// Why it can't be had here, if so: said loudly, and in CI it is a failure.
pub fn skipped() -> bool {
    let root = || (!rustix::process::geteuid().is_root()).then(|| "pods need root".to_owned());
    let Some(why) = programs::unavailable().or_else(root) else { return false };
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{why}, and in CI nothing is skipped");
    eprintln!("SKIPPED: {why}");
    true
}

/// The binary under test.
pub fn binary() -> anyhow::Result<PathBuf> {
    let binary = std::env::var("EVENKEEL_BIN").context("EVENKEEL_BIN names no evenkeel: run the tests by `cargo xtask test`")?;
    Ok(binary.into())
}

/// The Secrets `db` and `key` that the chart needs for PostgreSQL.
pub fn database_secrets(plane: &ControlPlane, database: &Postgres) {
    let url = format!("url={}", database.url());
    for (name, value) in [("db", url.as_str()), ("key", "audit.key=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")] {
        let literal = format!("--from-literal={value}");
        if let Err(error) = plane.must(&["create", "secret", "generic", name, "--namespace", NAMESPACE, &literal]) {
            panic!("{error:#}");
        }
    }
}

/// A Deployment of `app` at a version, one device after the other. `more` are further lines of its spec.
pub fn app(version: &str, more: &str) -> String {
    format!(
        "apiVersion: evenkeel.dev/v1alpha1\nkind: Deployment\nmetadata: {{name: app, namespace: default}}\nspec:\n  selector: {{matchLabels: {{role: app}}}}\n  package: {{apt: {{name: app, version: {version}}}}}\n  service: {{unit: app}}\n  strategy: {{batches: [{{max: 1}}, {{max: 1}}, {{max: 1}}], maxUnavailable: 1, soak: 2s, deadline: 120s}}\n{more}"
    )
}

/// Devices `d-1`, `d-2` … in the namespace `default`, and what is between them and whoever acts. Dropped in this order.
pub struct Fleet {
    /// Pods of the operator.
    pub pods: Vec<Pod>,
    /// The API server.
    pub plane: ControlPlane,
    /// The devices.
    pub simulated: Simulated,
    /// For whatever else there is.
    pub folder: tempfile::TempDir,
}

impl Fleet {
    /// Devices for `app`, of which there are 1.0-1, 2.0-1, 3.0-1, and 4.0-1 that dies; their key as a Secret; the chart, installed with
    /// these values after `prepare`.
    pub fn new(plane: ControlPlane, devices: usize, values: &[&str], prepare: impl FnOnce(&ControlPlane)) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let manifests = folder.path().join("manifests");
        std::fs::create_dir(&manifests)?;
        for number in 1..=devices {
            let text = format!(
                "apiVersion: evenkeel.dev/v1alpha1\nkind: Device\nmetadata: {{name: d-{number}, namespace: default, labels: {{role: app}}}}\nspec:\n  type: Server\n  address: 10.0.0.{number}\n  access: {{ssh: {{user: ops, become: sudo, secretRef: {{name: fleet-key}}}}}}\n"
            );
            std::fs::write(manifests.join(format!("d-{number}.yaml")), text)?;
        }
        std::fs::write(manifests.join("app.yaml"), app("1.0-1", ""))?;
        let versions = ["--package", "app=2.0-1", "--package", "app=3.0-1", "--package", "app=4.0-1", "--bad", "app=4.0-1:dies-after=1s"];
        let simulated = Simulated::start(&binary()?, &manifests, &versions)?;
        plane.must(&["create", "namespace", NAMESPACE])?;
        prepare(&plane);
        let values: Vec<&str> = [&["secrets[0].namespace=default", "secrets[0].names={fleet-key}"], values].concat();
        plane.install_chart("evenkeel", NAMESPACE, &values)?;
        let key = format!("--from-file=ssh-privatekey={}", simulated.key().display());
        plane.must(&["create", "secret", "generic", "fleet-key", &key])?;
        let fleet = Self { pods: Vec::new(), plane, simulated, folder };
        for number in 1..=devices {
            fleet.plane.apply(&fleet.device(number)?)?;
        }
        Ok(fleet)
    }

    /// A device's manifest.
    pub fn device(&self, number: usize) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(self.simulated.folder.join(format!("fleet/d-{number}.yaml")))?)
    }

    /// An engine of this name, with the chart's rights, by way of this port if one is given.
    pub fn engine(&self, name: &str, port: Option<u16>) -> anyhow::Result<Engine> {
        let folder = self.folder.path().join(name);
        std::fs::create_dir_all(&folder)?;
        let mut engine = Engine::with(&binary()?, &folder, &self.simulated.key())?;
        let mut kubeconfig = self.plane.service_account(NAMESPACE, "evenkeel")?;
        if let Some(port) = port {
            let text = std::fs::read_to_string(&kubeconfig)?;
            kubeconfig = folder.join("kubeconfig");
            std::fs::write(&kubeconfig, text.replace(&self.plane.url(), &format!("https://127.0.0.1:{port}")))?;
        }
        engine.kubeconfig = Some(kubeconfig);
        Ok(engine)
    }

    /// Starts one more pod, and waits until it is live and ready.
    pub fn start_pod(&mut self) -> anyhow::Result<()> {
        let claim = self.folder.path().join("claim");
        let pod = Pod::start(&self.plane, NAMESPACE, "evenkeel", &binary()?, &claim)?;
        self.pods.push(pod);
        let pod = self.pods.last().context("a pod")?;
        ["livenessProbe", "readinessProbe"].into_iter().try_for_each(|probe| wait_until(probe, LIMIT, || pod.probe(probe)))
    }

    /// Applies `app` at a version.
    pub fn deploy(&self, version: &str, more: &str) {
        if let Err(error) = self.plane.apply(&app(version, more)) {
            panic!("{error:#}");
        }
    }

    /// An object of the namespace `default`.
    pub fn object(&self, kind: &str, name: &str) -> Value {
        let said = self.plane.kubectl(&["get", kind, name, "-o", "json"]);
        said.ok().and_then(|said| serde_json::from_slice(&said.stdout).ok()).unwrap_or_default()
    }

    /// Waits until something holds; what the pods said is told if it does not.
    pub fn until(&self, what: &str, look: impl FnMut() -> Result<(), String>) {
        let logs = || self.pods.iter().map(|pod| tail(&pod.log())).collect::<Vec<_>>().join("\n--- the next pod\n");
        wait_until(what, LIMIT, look).unwrap_or_else(|error| panic!("{error}\n{}", logs()));
    }

    /// Whether `app` is in this phase with a version, on so many devices, and says that of its newest generation.
    pub fn is(&self, phase: &str, version: &str, devices: usize) -> Result<(), String> {
        let object = self.object("edep", "app");
        let status = &object["status"];
        let newest = status["history"].as_array().and_then(|history| history.last()).cloned().unwrap_or_default();
        let there = status["phase"] == phase && newest["version"].as_str().is_some_and(|newest| newest.contains(version));
        let fresh = status["observedGeneration"] == object["metadata"]["generation"];
        if there && fresh && status["counts"]["updated"] == devices { Ok(()) } else { Err(object.to_string()) }
    }

    /// Waits for that.
    pub fn wait(&self, phase: &str, version: &str, devices: usize) {
        self.until(&format!("{phase} of {version}"), || self.is(phase, version, devices));
    }

    /// Waits until so many devices have a version, and others do not yet.
    pub fn in_the_middle_of(&self, version: &str, updated: u64) {
        self.until(&format!("{updated} devices with {version}, and not all"), || {
            let status = self.object("edep", "app")["status"].clone();
            let newest = status["history"].as_array().and_then(|history| history.last()).cloned().unwrap_or_default();
            let of = newest["version"].as_str().is_some_and(|newest| newest.contains(version));
            let there = of && status["counts"]["updated"].as_u64() >= Some(updated);
            if there && status["phase"] != "Complete" { Ok(()) } else { Err(status.to_string()) }
        });
    }

    /// What the devices have of `app`, by what they say themselves; empty where they have none.
    pub fn versions(&self) -> anyhow::Result<Vec<String>> {
        let path = format!("{}:{}", self.simulated.folder.join("simulated/bin").display(), std::env::var("PATH").unwrap_or_default());
        let devices = std::fs::read_dir(self.simulated.folder.join("simulated/devices"))?.flatten();
        let query = ["-c", "dpkg-query -W -f='${Version}' app"];
        let ask = |folder: PathBuf| Command::new("sh").args(query).env("EVENKEEL_ROOT", folder).env("PATH", &path).output();
        devices.map(|entry| Ok(String::from_utf8_lossy(&ask(entry.path())?.stdout).into_owned())).collect()
    }

    /// Who holds the lease.
    pub fn holder(&self) -> String {
        let said = self.plane.kubectl(&["get", "lease", "evenkeel", "--namespace", NAMESPACE, "-o", "jsonpath={.spec.holderIdentity}"]);
        said.map(|said| String::from_utf8_lossy(&said.stdout).into_owned()).unwrap_or_default()
    }

    /// The command line of the operator, asked over HTTP with the token that the chart made.
    pub fn cli(&self, pod: &Pod, arguments: &[&str]) -> anyhow::Result<String> {
        let template = "go-template={{index .data \"token\" | base64decode}}";
        let token = self.plane.must(&["get", "secret", "evenkeel-api", "--namespace", NAMESPACE, "-o", template])?;
        run(Command::new(binary()?).args(arguments).args(["--server", &pod.url()]).env("EVENKEEL_TOKEN", token))
    }

    /// Exports the audit log from a pod, proves it, and gives back its entries.
    pub fn log(&self, pod: &Pod) -> anyhow::Result<Log> {
        let file = self.folder.path().join("export");
        std::fs::write(&file, self.cli(pod, &["audit", "export"])?)?;
        Log::proven(&file, &pod.volume("data").join("audit.pub"), &self.simulated)
    }
}

/// The end of a text.
pub fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

/// An audit log that was proven to be whole, and what the devices were told by their own logs.
pub struct Log {
    entries: Vec<Value>,
    devices: BTreeMap<String, String>,
}

impl Log {
    /// Of an export, with what these devices were told so far.
    pub fn proven(export: &Path, key: &Path, simulated: &Simulated) -> anyhow::Result<Self> {
        run(Command::new(binary()?).args(["audit", "verify"]).arg(export).arg("--key").arg(key))?;
        let text = std::fs::read_to_string(export)?;
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let entries = lines.filter_map(|line| serde_json::from_str(line["entry"]["text"].as_str()?).ok());
        Ok(Self { entries: entries.collect(), devices: simulated.logs()? })
    }

    fn steps(&self, outcome: &str) -> Vec<&str> {
        let of = self.entries.iter().filter(|entry| entry["outcome"] == outcome);
        of.filter_map(|entry| entry["step"].as_str()).filter(|step| !step.is_empty()).collect()
    }

    /// The steps that were begun, once for each outcome that they came to.
    fn ended(&self) -> Vec<&str> {
        let begun: BTreeSet<&str> = self.steps("begun").into_iter().collect();
        let ended = ["done", "failed", "refused"].into_iter().flat_map(|outcome| self.steps(outcome));
        ended.filter(|step| begun.contains(step)).collect()
    }

    /// How often a verb was begun.
    pub fn begun(&self, verb: &str) -> usize {
        self.entries.iter().filter(|entry| entry["outcome"] == "begun" && entry["verb"] == verb).count()
    }

    /// Whether anything was ever done on this, such as `device/web-01`.
    pub fn speaks_of(&self, target: &str) -> bool {
        self.entries.iter().any(|entry| entry["target"] == target && !entry["step"].as_str().unwrap_or_default().is_empty())
    }

    /// Nothing was begun or done twice, and whatever was begun came to one end.
    pub fn assert_once(&self) {
        self.assert_never_twice();
        assert_eq!(self.ended().len(), self.steps("begun").len(), "whatever was begun comes to its end");
    }

    /// Nothing was begun twice or came to two ends, and no device was told anything twice: the log could be wrong of itself, so theirs are
    /// asked too.
    pub fn assert_never_twice(&self) {
        let (begun, ended) = (self.steps("begun"), self.ended());
        assert!(!begun.is_empty() && !self.devices.is_empty());
        assert_eq!(begun.iter().collect::<BTreeSet<_>>().len(), begun.len(), "begun twice: {begun:?}");
        assert_eq!(ended.iter().collect::<BTreeSet<_>>().len(), ended.len(), "an outcome is written once: {ended:?}");
        self.devices.iter().for_each(|(device, told)| self.assert_told_once(device, told));
    }

    /// What was written down of a device: steps of a verb with an outcome.
    fn of(&self, device: &str, verb: &str, outcome: &str) -> Vec<&Value> {
        let target = format!("device/{device}");
        let is_wanted = |entry: &&Value| entry["target"] == target && entry["verb"] == verb && entry["outcome"] == outcome;
        self.entries.iter().filter(is_wanted).collect()
    }

    /// Each step told the device to install and to restart `app` once. One that failed may have come to less; another try is another step.
    fn assert_told_once(&self, device: &str, told: &str) {
        let applied = self.of(device, "apply", "begun");
        let done: BTreeSet<&str> = self.of(device, "apply", "done").into_iter().filter_map(|entry| entry["step"].as_str()).collect();
        let restored = self.of(device, "restore", "begun").len();
        let is_done = |step: &Value| step["step"].as_str().is_some_and(|step| done.contains(step));

        let (installed, others): (Vec<&str>, Vec<&str>) =
            told.lines().filter_map(|line| line.strip_prefix("apt-get install ")).partition(|words| asked(words).is_some());
        // Where the version was there already, the log has no change to tell of.
        let unsaid = applied.iter().filter(|step| version(step).is_none()).count();
        let versions: BTreeSet<&str> =
            installed.iter().filter_map(|words| asked(words)).chain(applied.iter().filter_map(|step| version(step))).collect();
        for wanted in versions {
            let of_it = || applied.iter().filter(move |step| version(step) == Some(wanted));
            let (least, most) = (of_it().filter(|step| is_done(step)).count(), of_it().count() + unsaid);
            let count = installed.iter().filter(|words| asked(words) == Some(wanted)).count();
            assert!((least..=most).contains(&count), "{device}: {wanted} was installed {count} times, not {least} to {most}:\n{told}");
        }
        let lines = |what: &str| told.lines().filter(|line| line.starts_with(what)).count();
        let restarts = lines("systemctl restart app.service");
        // A way back that apt refuses goes by dpkg, and then by apt again.
        for (what, least, count, most) in [
            ("installed", done.len(), installed.len(), applied.len()),
            ("restarted", done.len(), restarts, applied.len() + restored),
            ("brought back", 0, others.len(), 2 * restored),
            ("removed", 0, lines("apt-get remove"), self.of(device, "remove", "begun").len()),
        ] {
            assert!((least..=most).contains(&count), "{device}: `app` was {what} {count} times, not {least} to {most}:\n{told}");
        }
    }
}

/// The version of `app` that apt was asked for; a way back names a file.
fn asked(words: &str) -> Option<&str> {
    words.split_whitespace().find_map(|word| word.strip_prefix("app="))
}

/// The version that a step was begun for, by what it was to change.
fn version(step: &Value) -> Option<&str> {
    let mut changes = step["changes"].as_array()?.iter().filter_map(Value::as_str);
    changes.find_map(|change| Some(change.strip_prefix("apt app ")?.split_once(" -> ")?.1))
}
