//! Repositories made by git itself, for tests that follow them.

#![allow(dead_code, reason = "each test file uses its part of this")]

pub mod https;
pub mod sshd;

use std::path::{Path, PathBuf};
use std::process::Command;

use manifests::git::{Entry, Fetched, Options, Source};

/// The first of these programs that exists; `None`, said loudly, where there is none. In CI that is a failure.
pub fn find(what: &str, paths: &[&str]) -> Option<PathBuf> {
    let found = paths.iter().map(PathBuf::from).find(|path| path.exists());
    if found.is_none() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{what} is missing, and in CI nothing is skipped");
        eprintln!("SKIPPED: {what} is missing");
    }
    found
}

pub fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(["-c", "user.name=Ann", "-c", "user.email=ann@example.com", "-c", "init.defaultBranch=main", "-c", "commit.gpgsign=false"])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

pub fn commit(folder: &Path, files: &[(&str, &str)]) -> String {
    for (path, text) in files {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    git(folder, &["add", "-A"]);
    git(folder, &["commit", "-q", "--allow-empty", "-m", "change"]);
    git(folder, &["rev-parse", "HEAD"])
}

/// Paths with what became of them.
pub fn changed(fetched: &Fetched) -> Vec<(&str, &str)> {
    let word = |entry: &Entry| match entry {
        Entry::Blob(_) => "blob",
        Entry::Left(_) => "left",
        Entry::Gone => "gone",
    };
    fetched.changed.iter().map(|(path, entry)| (path.as_str(), word(entry))).collect()
}

pub fn blob(fetched: &Fetched, path: &str) -> String {
    match &fetched.changed[path] {
        Entry::Blob(id) => id.clone(),
        other => panic!("{path}: {other:?}"),
    }
}

/// A directory with a repository that people commit to, and a place for the engine's cache.
pub struct World {
    pub home: tempfile::TempDir,
}

impl World {
    pub fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("work")).unwrap();
        git(&home.path().join("work"), &["init", "-q"]);
        Self { home }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub fn work(&self) -> PathBuf {
        self.path("work")
    }

    pub fn cache(&self) -> PathBuf {
        self.path("cache")
    }

    /// The repository as it is followed on the same machine.
    pub fn source(&self, options: Options) -> Source {
        self.at(self.work().to_str().unwrap(), options)
    }

    pub fn at(&self, url: &str, options: Options) -> Source {
        Source::new(url, &self.cache(), options).unwrap()
    }

    /// Makes a secret with these keys.
    pub fn secret(&self, name: &str, keys: &[(&str, &str)]) -> PathBuf {
        let folder = self.path(name);
        std::fs::create_dir_all(&folder).unwrap();
        for (key, text) in keys {
            std::fs::write(folder.join(key), text).unwrap();
        }
        folder
    }
}

/// Every file below a folder with its size and time, to see that nothing was touched.
pub fn snapshot(folder: &Path) -> Vec<(PathBuf, u64, std::time::SystemTime)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                folders.push(entry.path());
            }
            found.push((entry.path(), metadata.len(), metadata.modified().unwrap()));
        }
    }
    found.sort();
    found
}
