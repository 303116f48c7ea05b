//! `cargo xtask web`: the web UI, built by npm when something in `web/` changed, for the next build of the engine to embed.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::{cache, install, root, run};

/// The least Node.js that Vite runs on.
const LEAST: (u32, u32) = (20, 19);
/// What is fetched where there is none, or an older one.
const WANTED: &str = "node@22";
/// Files that are served compressed; those of other kinds are so already.
const COMPRESSED: [&str; 5] = ["js", "css", "svg", "json", "txt"];

/// What came of it.
pub(crate) enum Built {
    /// `web/dist` is as `web/` is.
    Fresh,
    /// It could not be built, and why: an engine without it works, and says so.
    Missing(String),
}

/// Builds it, and says so where it can't be built.
pub(crate) fn ensure() -> anyhow::Result<()> {
    if let Built::Missing(why) = build()? {
        eprintln!("note: the web UI is not built: {why}");
    }
    Ok(())
}

/// Builds it if something changed.
pub(crate) fn build() -> anyhow::Result<Built> {
    let web = root().join("web");
    if !web.join("package-lock.json").exists() {
        return Ok(Built::Missing("this checkout has no web/package-lock.json".into()));
    }
    let stamp = web.join("node_modules/.evenkeel-built");
    let now = digest(&web)?;
    let before = std::fs::read_to_string(&stamp).unwrap_or_default();
    if before == now && web.join("dist/index.html").exists() {
        return Ok(Built::Fresh);
    }
    let Some(path) = node()? else {
        let (major, minor) = LEAST;
        return Ok(Built::Missing(format!(
            "it takes Node.js {major}.{minor} or newer with npm; as root this installs Debian's npm and fetches {WANTED} into {}",
            cache().display()
        )));
    };
    npm(&web, &path)?;
    eprintln!("building the web UI");
    run(Command::new("npm").args(["run", "--silent", "build"]).current_dir(&web).env("PATH", &path))?;
    compress(&web.join("dist"))?;
    std::fs::write(&stamp, now)?;
    // A build that had none looks only at this.
    let script = std::fs::File::options().append(true).open(root().join("crates/api/build.rs"))?;
    script.set_modified(std::time::SystemTime::now())?;
    Ok(Built::Fresh)
}

/// Checks, and runs the tests that need no browser.
pub(crate) fn test() -> anyhow::Result<Built> {
    if let Built::Missing(why) = build()? {
        return Ok(Built::Missing(why));
    }
    let Some(path) = node()? else { bail!("Node.js is gone") };
    for script in ["check", "test"] {
        run(Command::new("npm").args(["run", "--if-present", "--silent", script]).current_dir(root().join("web")).env("PATH", &path))?;
    }
    Ok(Built::Fresh)
}

/// What it needs is fetched when the lock file changed.
fn npm(web: &Path, path: &str) -> anyhow::Result<()> {
    let mark = web.join("node_modules/.evenkeel-lock");
    let lock = std::fs::read_to_string(web.join("package-lock.json"))?;
    if std::fs::read_to_string(&mark).is_ok_and(|before| before == lock) {
        return Ok(());
    }
    eprintln!("fetching what the web UI is made of");
    run(Command::new("npm").args(["ci", "--no-audit", "--no-fund", "--loglevel", "error"]).current_dir(web).env("PATH", path))?;
    Ok(std::fs::write(mark, lock)?)
}

/// A `PATH` with a Node.js that is new enough; none: there is none, and it may not be fetched.
pub(crate) fn node() -> anyhow::Result<Option<String>> {
    let path = std::env::var("PATH").unwrap_or_default();
    let fetched = cache().join("node");
    let with = format!("{}:{path}", fetched.join("node_modules/node/bin").display());
    for path in [&path, &with] {
        if has_node(path) && has_npm(path) {
            return Ok(Some(path.clone()));
        }
    }
    if !has_npm(&path) {
        if !install::is_root() {
            return Ok(None);
        }
        install::only(&["npm"]);
    }
    if !has_npm(&path) {
        return Ok(None);
    }
    if has_node(&path) {
        return Ok(Some(path));
    }
    eprintln!("fetching Node.js, since the web UI can't be built with the one that is here");
    std::fs::create_dir_all(&fetched)?;
    run(Command::new("npm").args(["install", "--no-audit", "--no-fund", "--loglevel", "error", "--prefix"]).arg(&fetched).arg(WANTED))?;
    Ok(has_node(&with).then_some(with))
}

fn has_npm(path: &str) -> bool {
    Command::new("npm").arg("--version").env("PATH", path).output().is_ok_and(|output| output.status.success())
}

fn has_node(path: &str) -> bool {
    let output = Command::new("node").arg("--version").env("PATH", path).output();
    output.is_ok_and(|output| is_enough(&String::from_utf8_lossy(&output.stdout)))
}

/// Whether `v20.19.1` is new enough.
fn is_enough(version: &str) -> bool {
    let mut numbers = version.trim().trim_start_matches('v').split('.').map(str::parse::<u32>);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= LEAST)
}

/// Of everything in `web/` that is not made of the rest.
fn digest(web: &Path) -> anyhow::Result<String> {
    let (mut folders, mut files) = (vec![web.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let is_made = ["node_modules", "dist"].contains(&name.as_ref()) && folder == web;
            match path.is_dir() {
                true if !is_made => folders.push(path),
                true => {}
                false => files.push(path),
            }
        }
    }
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        file.hash(&mut hasher);
        std::fs::read(&file).with_context(|| file.display().to_string())?.hash(&mut hasher);
    }
    let mut text = String::new();
    write!(text, "{:016x}", hasher.finish())?;
    Ok(text)
}

/// Puts a compressed one beside each file: nobody has to do it while somebody waits.
fn compress(dist: &Path) -> anyhow::Result<()> {
    let mut folders = vec![dist.to_owned()];
    let mut files: Vec<PathBuf> = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            let is_one = path.extension().is_some_and(|extension| COMPRESSED.iter().any(|one| extension == *one));
            match path.is_dir() {
                true => folders.push(path),
                false if is_one => files.push(path),
                false => {}
            }
        }
    }
    if files.is_empty() {
        bail!("{}: the build made no files", dist.display());
    }
    run(Command::new("gzip").args(["--best", "--no-name", "--keep", "--force"]).args(files))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_node_is_not_enough() {
        assert!(is_enough("v20.19.0\n") && is_enough("v22.1.0") && is_enough("24.0.0"));
        assert!(!is_enough("v18.20.4") && !is_enough("v20.9.0") && !is_enough("") && !is_enough("node"));
    }

    #[test]
    fn only_what_it_is_made_of_counts() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            std::fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
            std::fs::write(folder.path().join(name), text).unwrap();
        };
        put("src/main.tsx", "1");
        let first = digest(folder.path()).unwrap();
        put("dist/index.html", "1");
        put("node_modules/a/index.js", "1");
        assert_eq!(digest(folder.path()).unwrap(), first);
        put("src/dist/a.ts", "1");
        let second = digest(folder.path()).unwrap();
        assert_ne!(second, first);
        put("src/main.tsx", "2");
        assert_ne!(digest(folder.path()).unwrap(), second);
    }
}
