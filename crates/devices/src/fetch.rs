//! What devices need from elsewhere is fetched by the engine, checked, kept on disk by its hash, and brought to the device.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

/// Tells apart what is written at once.
static FETCHED: AtomicU64 = AtomicU64::new(0);
/// The largest file that is fetched.
const MAX: usize = 512 << 20;
/// Bytes that are kept: a few releases. Of more, what was not asked for for longest goes; it can be fetched again.
const KEPT: u64 = 4 << 30;
/// Time limit of one fetch.
const LIMIT: Duration = Duration::from_secs(300);

/// A client as configured. Where this system has no certificate authorities (a bare container), one that trusts nobody: plain HTTP works
/// and HTTPS says that the certificate is not trusted.
pub(crate) fn client(configured: impl Fn() -> reqwest::ClientBuilder) -> reqwest::Client {
    configured().build().or_else(|_| configured().tls_certs_only([]).build()).unwrap_or_default()
}

/// Fetches files by URL and hash, once.
#[derive(Clone, Debug)]
pub(crate) struct Fetcher {
    client: reqwest::Client,
    cache: PathBuf,
}

impl Fetcher {
    pub(crate) fn new(cache: &Path) -> Self {
        let fetcher = || reqwest::Client::builder().connect_timeout(Duration::from_secs(10)).timeout(LIMIT).user_agent("evenkeel");
        Self { client: client(fetcher), cache: cache.to_owned() }
    }

    /// The bytes with this hash.
    pub(crate) async fn get(&self, url: &str, sha256: &str) -> Result<Vec<u8>, String> {
        let path = self.cache.join(sha256);
        if let Ok(bytes) = tokio::fs::read(&path).await
            && hex::encode(Sha256::digest(&bytes)) == sha256
        {
            touch(&path);
            return Ok(bytes);
        }
        let bytes = self.fetch(url).await.map_err(|error| format!("{url}: {error}"))?;
        let found = hex::encode(Sha256::digest(&bytes));
        if found != sha256 {
            return Err(format!("{url}: its SHA-256 is {found}, not {sha256}"));
        }
        let write = async {
            tokio::fs::create_dir_all(&self.cache).await?;
            let number = FETCHED.fetch_add(1, Ordering::Relaxed);
            let beside = self.cache.join(format!("{sha256}.{}.{number}", std::process::id()));
            prune(&self.cache, KEPT.saturating_sub(bytes.len() as u64));
            tokio::fs::write(&beside, &bytes).await?;
            tokio::fs::rename(&beside, &path).await
        };
        if let Err(error) = write.await {
            tracing::warn!(%error, path = %path.display(), "a fetched file could not be kept");
        }
        Ok(bytes)
    }

    async fn fetch(&self, url: &str) -> Result<Vec<u8>, String> {
        let mut answer = self
            .client
            .get(url)
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .map_err(|error| error.without_url().to_string())?;
        let mut bytes = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| error.without_url().to_string())? {
            if bytes.len() + piece.len() > MAX {
                return Err(format!("larger than {MAX} bytes"));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }
}

/// It was asked for just now.
fn touch(path: &Path) {
    let _ = std::fs::File::options().append(true).open(path).and_then(|file| file.set_modified(SystemTime::now()));
}

/// Deletes what was not asked for for longest, also what a crash left half-written, until no more than so many bytes are left.
fn prune(cache: &Path, kept: u64) {
    let mut files: Vec<(SystemTime, u64, PathBuf)> = std::fs::read_dir(cache)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let seen = entry.metadata().ok()?;
            Some((seen.modified().ok()?, seen.len(), entry.path()))
        })
        .collect();
    files.sort();
    let mut total: u64 = files.iter().map(|(_, length, _)| length).sum();
    for (_, length, path) in files {
        if total <= kept {
            return;
        }
        if std::fs::remove_file(&path).is_ok() {
            total -= length;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_asked_for_for_longest_goes_first() {
        let cache = tempfile::tempdir().unwrap();
        let at = |name: &str| cache.path().join(name);
        for (name, age) in [("old", 300), ("older", 400), ("asked-for", 500), ("new", 100)] {
            std::fs::write(at(name), [0; 10]).unwrap();
            let file = std::fs::File::options().append(true).open(at(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        }
        touch(&at("asked-for"));
        prune(cache.path(), 40);
        assert!(["old", "older", "asked-for", "new"].iter().all(|name| at(name).exists()));
        prune(cache.path(), 25);
        assert_eq!(["old", "older", "asked-for", "new"].map(|name| at(name).exists()), [false, false, true, true]);
    }
}
