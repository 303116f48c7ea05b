//! Files that the fleet offers over HTTP, in the place of what manifests fetch from elsewhere.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::{Error, io, ports};

/// The port of the files; their address is nobody's device.
const PORT: u16 = 8080;
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Files by name.
#[derive(Default)]
pub(crate) struct Artifacts {
    files: Arc<Mutex<BTreeMap<String, Arc<[u8]>>>>,
    at: Mutex<Option<SocketAddr>>,
}

impl Artifacts {
    /// Offers a file, and returns its URL. The server starts with the first one.
    pub(crate) fn offer(&self, address: Ipv4Addr, name: &str, bytes: &[u8], stop: &CancellationToken) -> Result<String, Error> {
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        let at = match *at {
            Some(at) => at,
            None => {
                let listener = std::net::TcpListener::bind((address, PORT)).map_err(io(address))?;
                listener.set_nonblocking(true).map_err(io(address))?;
                let listener = TcpListener::from_std(listener).map_err(io(address))?;
                tokio::spawn(stop.clone().run_until_cancelled_owned(serve(listener, self.files.clone())));
                *at.insert(SocketAddr::from((address, PORT)))
            }
        };
        self.files.lock().unwrap_or_else(PoisonError::into_inner).insert(format!("/{name}"), bytes.into());
        Ok(format!("http://{at}/{name}"))
    }
}

async fn serve(listener: TcpListener, files: Arc<Mutex<BTreeMap<String, Arc<[u8]>>>>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let files = files.clone();
        tokio::spawn(async move {
            let _ = tokio::time::timeout(PATIENCE, answer(stream, &files)).await;
        });
    }
}

async fn answer(mut stream: TcpStream, files: &Mutex<BTreeMap<String, Arc<[u8]>>>) -> std::io::Result<()> {
    let Some(request) = ports::request(&mut stream).await? else { return Ok(()) };
    let request = String::from_utf8_lossy(&request);
    let path = request.split(' ').nth(1).unwrap_or_default();
    let file = files.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
    let (status, body) = file.map_or(("404 Not Found", Arc::default()), |file| ("200 OK", file));
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&body).await?;
    stream.shutdown().await
}

/// A tar archive with one file in it; see tar(5), the ustar format.
pub(crate) fn tar(name: &str, text: &str) -> Vec<u8> {
    let mut head = vec![0_u8; 512];
    let mut put = |at: usize, bytes: &[u8]| head[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &name.as_bytes()[..name.len().min(99)]);
    put(100, b"0000644\x000000000\x000000000\x00");
    put(124, format!("{:011o}\0{:011o}\0        0", text.len(), 0).as_bytes());
    put(257, b"ustar\x0000");
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut archive = head;
    archive.extend_from_slice(text.as_bytes());
    // A file fills whole blocks, and two empty ones are the end.
    archive.resize(archive.len().div_ceil(512) * 512 + 1024, 0);
    archive
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_archive_is_one_for_tar_too() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.tar"), super::tar("release", "some text\n")).unwrap();
        let done = std::process::Command::new("tar").args(["-xf", "a.tar"]).current_dir(folder.path()).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        assert_eq!(std::fs::read_to_string(folder.path().join("release")).unwrap(), "some text\n");
    }
}
