//! Where the programs of a control plane come from: `KUBEBUILDER_ASSETS`, or built with Go from pinned modules, once, and kept outside of
//! the checkout, keyed by what they are made from.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use sha2::{Digest as _, Sha256};

use crate::cache;

/// Programs that are built from one set of pinned modules.
struct Set {
    /// The folder of its go.mod, beside this crate's sources.
    modules: &'static str,
    /// Each with the package that it is built from.
    programs: &'static [(&'static str, &'static str)],
}

const CONTROL_PLANE: Set = Set {
    modules: "control-plane",
    programs: &[
        ("etcd", "go.etcd.io/etcd/server/v3"),
        ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
        ("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
        ("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
    ],
};
const HELM: Set = Set { modules: "helm", programs: &[("helm", "helm.sh/helm/v4/cmd/helm")] };
/// Kinds of the Prometheus Operator that the chart can make, in the plural.
const PROMETHEUS_OPERATOR: [&str; 2] = ["servicemonitors", "prometheusrules"];
/// The release that go.mod pins. Without this the programs call themselves something that clients can't read.
const VERSION: [&str; 3] = ["v1.37.2", "1", "37"];
/// The oldest Go that builds it.
const GO: (u32, u32) = (1, 26);

/// Why the programs are not here and can't be built, if so.
pub fn unavailable() -> Option<String> {
    let is_here = (installed().is_some() || CONTROL_PLANE.kept().exists()) && HELM.kept().exists();
    (!is_here).then(go).and_then(Result::err)
}

/// The folder that has the control plane's programs. They are built if they are nowhere, which takes some minutes.
pub fn control_plane() -> anyhow::Result<PathBuf> {
    installed().map_or_else(|| CONTROL_PLANE.ensure(), Ok)
}

/// Helm.
pub fn helm() -> anyhow::Result<PathBuf> {
    Ok(HELM.ensure()?.join("helm"))
}

/// The kinds ServiceMonitor and PrometheusRule, as files of the module that defines them.
pub fn prometheus_operator() -> anyhow::Result<[PathBuf; 2]> {
    let set = Set { modules: "prometheus-operator", programs: &[] };
    std::fs::create_dir_all(cache())?;
    let lock = std::fs::File::create(cache().join(format!("{}.lock", set.modules)))?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)?;
    let (kept, files) = (set.kept(), PROMETHEUS_OPERATOR.map(|kind| format!("monitoring.coreos.com_{kind}.yaml")));
    if !kept.exists() {
        go().map_err(anyhow::Error::msg)?;
        let beside = kept.with_extension(format!("new-{}", std::process::id()));
        let (out, work) = (beside.join("out"), beside.join("work"));
        std::fs::create_dir_all(&out)?;
        let said = Command::new(compiler())
            .args(["mod", "download", "-modcacherw", "-json", "github.com/prometheus-operator/prometheus-operator"])
            .current_dir(set.folder())
            .env("GOMODCACHE", &work)
            .stdin(Stdio::null())
            .output()
            .context("go")?;
        let module: serde_json::Value = serde_json::from_slice(&said.stdout)?;
        let folder = module["Dir"].as_str().with_context(|| format!("{module} {}", String::from_utf8_lossy(&said.stderr)))?;
        for file in &files {
            std::fs::copy(Path::new(folder).join("example/prometheus-operator-crd").join(file), out.join(file))?;
        }
        std::fs::rename(&out, &kept)?;
        std::fs::remove_dir_all(&beside).context("what was downloaded beside them")?;
    }
    Ok(files.map(|file| kept.join(file)))
}

/// An installed control plane, as the tools of controller authors leave it.
fn installed() -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("KUBEBUILDER_ASSETS")?);
    ["etcd", "kube-apiserver", "kubectl"].iter().all(|program| folder.join(program).exists()).then_some(folder)
}

impl Set {
    fn folder(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(self.modules)
    }

    fn kept(&self) -> PathBuf {
        let mut hash = Sha256::new();
        for file in ["go.mod", "go.sum"] {
            hash.update(std::fs::read(self.folder().join(file)).unwrap_or_default());
        }
        cache().join(format!("{}-{}", self.modules, &hex::encode(hash.finalize())[..12]))
    }

    fn ensure(&self) -> anyhow::Result<PathBuf> {
        std::fs::create_dir_all(cache())?;
        let lock = std::fs::File::create(cache().join(format!("{}.lock", self.modules)))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)?;
        let kept = self.kept();
        if !kept.exists() {
            go().map_err(anyhow::Error::msg)?;
            self.build(&kept)?;
        }
        Ok(kept)
    }

    fn build(&self, kept: &Path) -> anyhow::Result<()> {
        eprintln!("building programs for the tests in {} (once; some minutes, and up to 5 GB for so long)", kept.display());
        let beside = kept.with_extension(format!("new-{}", std::process::id()));
        let (out, work) = (beside.join("out"), beside.join("work"));
        std::fs::create_dir_all(&out)?;
        std::fs::create_dir_all(&work)?;
        let [version, major, minor] = VERSION;
        let package = "k8s.io/component-base/version";
        let flags = format!("-s -w -X {package}.gitVersion={version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}");
        for (program, path) in self.programs {
            eprintln!("  {program}");
            let status = Command::new(compiler())
                .args(["build", "-mod=readonly", "-modcacherw", "-trimpath", "-ldflags", &flags, "-o"])
                .arg(out.join(program))
                .arg(path)
                .current_dir(self.folder())
                .env("CGO_ENABLED", "0")
                .env("GOFLAGS", "-buildvcs=false")
                .env("GOMODCACHE", work.join("modules"))
                .env("GOCACHE", work.join("build"))
                .stdin(Stdio::null())
                .status()
                .context("go")?;
            if !status.success() {
                let _ = std::fs::remove_dir_all(&beside);
                bail!("{program} can't be built: go said why above");
            }
        }
        std::fs::rename(&out, kept)?;
        std::fs::remove_dir_all(&beside).context("the build's own files")
    }
}

/// Go: on the path, or where its own installation puts it.
fn compiler() -> PathBuf {
    let path = std::env::var("PATH").unwrap_or_default();
    let usual = Path::new("/usr/local/go/bin").to_owned();
    std::env::split_paths(&path).chain([usual]).map(|folder| folder.join("go")).find(|go| go.exists()).unwrap_or_else(|| "go".into())
}

/// Whether Go is here, and new enough; an older one fetches the one that go.mod asks for, where it may (`GOTOOLCHAIN`).
fn go() -> Result<(), String> {
    let wanted = format!("Go {}.{} or newer", GO.0, GO.1);
    let output = Command::new(compiler()).args(["env", "GOVERSION"]).current_dir(CONTROL_PLANE.folder()).output();
    let output =
        output.map_err(|_| format!("{wanted} is missing (or programs in KUBEBUILDER_ASSETS), to build a Kubernetes API server from"))?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let mut numbers = text.trim_start_matches("go").split('.').map_while(|part| part.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if (major, minor) >= GO => Ok(()),
        _ => Err(format!(
            "{wanted} is missing, to build a Kubernetes API server from: {text}{}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
    }
}
