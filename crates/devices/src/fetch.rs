//! What devices need from elsewhere is fetched by the engine, checked, kept on disk by its hash, and brought to the device.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};

/// Tells apart what is written at once.
static FETCHED: AtomicU64 = AtomicU64::new(0);
/// The largest file that is fetched.
const MAX: usize = 512 << 20;
/// Time limit of one fetch.
const LIMIT: Duration = Duration::from_secs(300);

/// Fetches files by URL and hash, once.
#[derive(Clone, Debug)]
pub(crate) struct Fetcher {
    client: reqwest::Client,
    cache: PathBuf,
}

impl Fetcher {
    pub(crate) fn new(cache: &Path) -> Self {
        let client = reqwest::Client::builder().connect_timeout(Duration::from_secs(10)).timeout(LIMIT).user_agent("evenkeel").build();
        Self { client: client.unwrap_or_default(), cache: cache.to_owned() }
    }

    /// The bytes with this hash.
    pub(crate) async fn get(&self, url: &str, sha256: &str) -> Result<Vec<u8>, String> {
        let path = self.cache.join(sha256);
        if let Ok(bytes) = tokio::fs::read(&path).await
            && hex::encode(Sha256::digest(&bytes)) == sha256
        {
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
