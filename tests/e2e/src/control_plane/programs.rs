//! Where the programs of a control plane come from: `KUBEBUILDER_ASSETS`, or built with Go from pinned modules, once, and kept outside of
//! the checkout, keyed by what they are made from.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use sha2::{Digest as _, Sha256};

use crate::cache;

/// What is started, or asked.
const PROGRAMS: [(&str, &str); 4] = [
    ("etcd", "go.etcd.io/etcd/server/v3"),
    ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    ("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    ("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
];
/// The release that go.mod pins. Without this the programs call themselves something that clients can't read.
const VERSION: [&str; 3] = ["v1.37.2", "1", "37"];
/// The oldest Go that builds it.
const GO: (u32, u32) = (1, 26);

/// Why there are no programs here and none can be built, if so.
pub fn unavailable() -> Option<String> {
    (installed().is_none() && !kept().exists()).then(go).and_then(Result::err)
}

/// The folder that has the programs. They are built if they are nowhere, which takes some minutes.
pub fn ensure() -> anyhow::Result<PathBuf> {
    if let Some(folder) = installed() {
        return Ok(folder);
    }
    std::fs::create_dir_all(cache())?;
    let lock = std::fs::File::create(cache().join("control-plane.lock"))?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)?;
    let kept = kept();
    if !kept.exists() {
        go().map_err(anyhow::Error::msg)?;
        build(&kept)?;
    }
    Ok(kept)
}

/// An installed set, as the tools of controller authors leave it.
fn installed() -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("KUBEBUILDER_ASSETS")?);
    ["etcd", "kube-apiserver", "kubectl"].iter().all(|program| folder.join(program).exists()).then_some(folder)
}

fn modules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("control-plane")
}

fn kept() -> PathBuf {
    let mut hash = Sha256::new();
    for file in ["go.mod", "go.sum"] {
        hash.update(std::fs::read(modules().join(file)).unwrap_or_default());
    }
    cache().join(format!("control-plane-{}", &hex::encode(hash.finalize())[..12]))
}

/// Whether Go is here, and new enough.
fn go() -> Result<(), String> {
    let wanted = format!("Go {}.{} or newer", GO.0, GO.1);
    let output = Command::new("go").args(["env", "GOVERSION"]).current_dir("/").env("GOTOOLCHAIN", "local").output();
    let output =
        output.map_err(|_| format!("{wanted} is missing (or programs in KUBEBUILDER_ASSETS), to build a Kubernetes API server from"))?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let mut numbers = text.trim_start_matches("go").split('.').map_while(|part| part.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if (major, minor) >= GO => Ok(()),
        _ => Err(format!("{wanted} is missing, to build a Kubernetes API server from; here is {text}")),
    }
}

fn build(kept: &Path) -> anyhow::Result<()> {
    eprintln!("building etcd, a Kubernetes API server and kubectl in {} (once; 5 to 15 minutes, 5 GB for so long)", kept.display());
    let beside = kept.with_extension(format!("new-{}", std::process::id()));
    let (out, work) = (beside.join("out"), beside.join("work"));
    std::fs::create_dir_all(&out)?;
    std::fs::create_dir_all(&work)?;
    let [version, major, minor] = VERSION;
    let package = "k8s.io/component-base/version";
    let flags = format!("-s -w -X {package}.gitVersion={version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}");
    for (program, path) in PROGRAMS {
        eprintln!("  {program}");
        let status = Command::new("go")
            .args(["build", "-mod=readonly", "-modcacherw", "-trimpath", "-ldflags", &flags, "-o"])
            .arg(out.join(program))
            .arg(path)
            .current_dir(modules())
            .env("CGO_ENABLED", "0")
            .env("GOTOOLCHAIN", "local")
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
