//! What a machine can check of STYLE.md.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::{cargo, root};

/// Lines of one source file: files are split by what they own.
const LINES: usize = 600;
/// Words that say nothing about what a type is.
const EMPTY_NAMES: [&str; 8] = ["Manager", "Helper", "Util", "Utils", "Common", "Service", "Handler", "Impl"];
/// Crates that only these crates of ours may use.
const OWNERS: &[(&str, &[&str])] = &[
    ("git2", &["manifests"]),
    ("granit-parser", &["manifests"]),
    ("sqlx", &["store"]),
    ("hickory-proto", &["devices"]),
    ("async-snmp", &["devices"]),
    ("age", &["manifests"]),
    ("lettre", &["notify"]),
    ("flate2", &["store"]),
    ("cel", &["reconcile", "notify"]),
    // The kinds' schemas, and the API server.
    ("kube", &["crds", "cluster"]),
];
/// What must not be in the core's tree.
const NOT_IN_CORE: [&str; 5] = ["tokio v", "reqwest v", "russh v", "sqlx v", "git2 v"];

pub(crate) fn run() -> anyhow::Result<()> {
    let mut wrong = Vec::new();
    for path in sources(&root()) {
        let text = std::fs::read_to_string(&path)?;
        let shown = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
        source(&shown, &text, &mut wrong);
    }
    dependencies(&mut wrong)?;
    core(&mut wrong)?;
    image(&mut wrong)?;
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("not tidy:\n  {}", wrong.join("\n  "))
}

fn source(shown: &str, text: &str, wrong: &mut Vec<String>) {
    let lines = text.lines().count();
    if lines > LINES {
        wrong.push(format!("{shown}: {lines} lines, more than {LINES}: split it by what it owns"));
    }
    // Put together here so that this file does not find itself.
    let marks = [["to", "do!("].concat(), ["unimple", "mented!("].concat(), ["FIX", "ME"].concat(), ["#[ig", "nore"].concat()];
    for (number, line) in (1..).zip(text.lines()) {
        let at = format!("{shown}:{number}");
        // A test module may see all of what it tests.
        if line.trim_start().starts_with("use ") && line.contains("::*") && line.trim() != "use super::*;" {
            wrong.push(format!("{at}: a use of everything; name what is used"));
        }
        if let Some(mark) = marks.iter().find(|mark| line.contains(mark.as_str())) {
            wrong.push(format!("{at}: {mark} is left in the code"));
        }
        let name = ["struct ", "enum ", "trait "]
            .iter()
            .find_map(|word| line.trim_start().trim_start_matches("pub ").trim_start_matches("pub(crate) ").strip_prefix(word));
        let name = name.map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default());
        if let Some(empty) = name.and_then(|name| EMPTY_NAMES.iter().find(|empty| name.ends_with(**empty))) {
            wrong.push(format!("{at}: `{empty}` says nothing about what it is"));
        }
    }
}

/// Nothing points left or sideways: reconcile knows crds only, and what is behind it knows no neighbour.
fn dependencies(wrong: &mut Vec<String>) -> anyhow::Result<()> {
    let allowed: &[(&str, &[&str])] = &[
        ("crds", &[]),
        ("crates/reconcile", &["crds"]),
        ("crates/manifests", &["crds", "reconcile"]),
        ("crates/devices", &["crds", "reconcile"]),
        ("crates/cluster", &["crds", "reconcile"]),
        ("crates/forge", &["crds"]),
        ("crates/notify", &["crds", "reconcile"]),
        ("crates/logs", &["crds", "reconcile"]),
        ("crates/store", &["crds", "reconcile"]),
        ("crates/simfleet", &["crds", "reconcile"]),
        ("crates/api", &["crds", "reconcile", "store"]),
        ("tests/e2e", &[]),
    ];
    let ours = ["crds", "reconcile", "manifests", "devices", "cluster", "forge", "notify", "logs", "store", "api", "simfleet", "operator"];
    for (folder, allowed) in allowed {
        let Ok(text) = std::fs::read_to_string(root().join(folder).join("Cargo.toml")) else { continue };
        let normal = text.split("[dev-dependencies]").next().unwrap_or_default();
        for dependency in normal.lines().filter_map(|line| line.split_once(".workspace").map(|(name, _)| name)) {
            if ours.contains(&dependency) && !allowed.contains(&dependency) {
                wrong.push(format!("{folder}: must not know {dependency}"));
            }
            let is_owned = |owners: &[&str]| owners.iter().any(|owner| folder.ends_with(owner));
            if let Some((_, owners)) = OWNERS.iter().find(|(name, owners)| *name == dependency && !is_owned(owners)) {
                wrong.push(format!("{folder}: only {} may use {dependency}", owners.join(" and ")));
            }
        }
    }
    Ok(())
}

/// The core does no I/O: nothing that could is in its tree.
fn core(wrong: &mut Vec<String>) -> anyhow::Result<()> {
    let output = cargo().args(["tree", "--quiet", "--locked", "-p", "reconcile", "-e", "normal", "--prefix", "none"]).output()?;
    let tree = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    }
    for name in NOT_IN_CORE {
        if tree.lines().any(|line| line.starts_with(name)) {
            wrong.push(format!("crates/reconcile: {} is in its tree", name.trim_end_matches(" v")));
        }
    }
    Ok(())
}

/// The image is built by the compiler that everything is tested with, and runs as the user that the chart says.
fn image(wrong: &mut Vec<String>) -> anyhow::Result<()> {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).with_context(|| path.to_owned());
    let (container, toolchain) = (read("Containerfile")?, read("rust-toolchain.toml")?);
    let pod = read("charts/evenkeel/templates/deployment.yaml")?;
    for (what, ours, file, theirs) in [
        ("Rust", value(&container, "RUST="), "rust-toolchain.toml", value(&toolchain, "channel = ")),
        ("USER", value(&container, "\nUSER "), "the chart's deployment.yaml", value(&pod, "runAsUser: ")),
    ] {
        if ours.is_empty() || ours != theirs {
            wrong.push(format!("Containerfile: {what} is `{ours}`, and in {file} it is `{theirs}`"));
        }
    }
    Ok(())
}

/// What follows a mark, without quotes, up to a blank or a colon; nothing where the mark is not.
fn value(text: &str, mark: &str) -> String {
    let rest = text.split_once(mark).map_or("", |(_, rest)| rest).trim_start_matches('"');
    rest.split(|c: char| c.is_whitespace() || c == '"' || c == ':').next().unwrap_or_default().to_owned()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with('.') && name != "target" {
                folders.push(path);
            } else if path.extension().is_some_and(|suffix| suffix == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
