//! The fleet: what its devices share, and the end of it all.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{PrivateKey, PublicKey};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::artifacts::{self, Artifacts};
use crate::simulated::{Setup, Simulated};
use crate::{Catalogue, Error, chatter, io, ports, process, ssh, stand_ins};

/// The name of the Secret with the key that every device accepts.
pub const KEY: &str = "fleet-key";
/// The port of every device's SSH server.
pub const PORT: u16 = 2222;
/// Commands that run at once in the whole fleet; more wait. Steps that run detached on the devices come on top.
const COMMANDS: usize = 128;
/// Devices of one fleet.
const DEVICES: usize = if cfg!(test) { 3 } else { 2000 };

/// A simulated fleet. All that it started ends when it is dropped.
pub struct Fleet {
    shared: Arc<Shared>,
    devices: Mutex<BTreeMap<String, Arc<Simulated>>>,
    artifacts: Artifacts,
    block: u8,
    /// Who holds this address holds the block.
    _held: TcpListener,
}

/// What devices share.
pub(crate) struct Shared {
    pub(crate) folder: PathBuf,
    pub(crate) bin: PathBuf,
    /// Where the system's own programs are.
    pub(crate) path: String,
    pub(crate) authorized: PublicKey,
    pub(crate) commands: Semaphore,
    pub(crate) stop: CancellationToken,
    generation: AtomicU32,
}

impl Fleet {
    /// A fleet without devices. Everything it writes is below `folder`, which should be empty.
    pub fn start(folder: &Path, catalogue: &Catalogue) -> Result<Self, Error> {
        more_files();
        std::fs::create_dir_all(folder).map_err(io(folder.display()))?;
        let folder = folder.canonicalize().map_err(io(folder.display()))?;
        let key = new_key()?;
        let secret = folder.join("secrets").join(KEY);
        std::fs::create_dir_all(&secret).map_err(io(secret.display()))?;
        let text = key.to_openssh(LineEnding::LF).map_err(|error| Error::Key(error.to_string()))?;
        write_private(&secret.join("ssh-privatekey"), text.as_bytes()).map_err(io(secret.display()))?;
        let bin = folder.join("bin");
        stand_ins::write(&bin)?;
        let (block, held) = take_block()?;
        let shared = Shared {
            bin,
            path: std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".into()),
            authorized: key.public_key().clone(),
            commands: Semaphore::new(COMMANDS),
            stop: CancellationToken::new(),
            generation: AtomicU32::new(0),
            folder,
        };
        let fleet = Self { shared: Arc::new(shared), devices: Mutex::default(), artifacts: Artifacts::default(), block, _held: held };
        fleet.publish(catalogue)?;
        Ok(fleet)
    }

    /// Adds a device and turns it on. Needs a Tokio runtime.
    pub fn add(&self, name: &str, setup: &Setup) -> Result<Arc<Simulated>, Error> {
        let folder = name.replace('/', "_");
        if folder.is_empty() || folder.starts_with('.') || folder.contains('\0') {
            return Err(Error::Name(name.to_owned()));
        }
        let mut devices = self.devices();
        let number = devices.len();
        if number >= DEVICES {
            return Err(Error::TooMany(DEVICES));
        }
        if devices.contains_key(name) {
            return Err(Error::Name(name.to_owned()));
        }
        let [high, low] = u16::try_from(number + 10).unwrap_or(0).to_be_bytes();
        let address = Ipv4Addr::new(127, self.block, high, low);
        let root = self.shared.folder.join("devices").join(folder);
        let device = Arc::new(Simulated::make(name, address, root, &[new_key()?, new_key()?], self.shared.clone())?);
        for unit in &setup.units {
            device.add_unit(unit)?;
        }
        let listener = bind(address).map_err(io(format!("{address}:{PORT}")))?;
        listener.set_nonblocking(true).map_err(io(address))?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(io(address))?;
        let stop = &self.shared.stop;
        tokio::spawn(stop.clone().run_until_cancelled_owned(ssh::serve(device.clone(), listener)));
        tokio::spawn(stop.clone().run_until_cancelled_owned(ports::serve(device.clone(), setup.ports.clone())));
        if let Some(to) = setup.syslog {
            tokio::spawn(stop.clone().run_until_cancelled_owned(chatter::send(device.clone(), to)));
        }
        devices.insert(name.to_owned(), device.clone());
        Ok(device)
    }

    /// A device.
    pub fn device(&self, name: &str) -> Option<Arc<Simulated>> {
        self.devices().get(name).cloned()
    }

    /// All devices, by name.
    pub fn all(&self) -> Vec<Arc<Simulated>> {
        self.devices().values().cloned().collect()
    }

    /// A directory of secrets with [`KEY`] in it: what the engine logs in with.
    pub fn secrets(&self) -> PathBuf {
        self.shared.folder.join("secrets")
    }

    /// Other packages can be had from now on; a device knows them after `apt-get update`.
    pub fn publish(&self, catalogue: &Catalogue) -> Result<(), Error> {
        let number = self.shared.generation.fetch_add(1, Ordering::Relaxed);
        let folder = self.shared.folder.join("catalogue");
        let generation = folder.join(number.to_string());
        std::fs::create_dir_all(&generation).map_err(io(generation.display()))?;
        catalogue.write(&generation)?;
        // Switched by a rename: a device that updates at this moment sees one of the two.
        let beside = folder.join("next");
        std::os::unix::fs::symlink(&generation, &beside).map_err(io(beside.display()))?;
        std::fs::rename(&beside, folder.join("newest")).map_err(io(folder.display()))
    }

    /// Offers an archive with one file in it over HTTP: its URL and its bytes. Needs a Tokio runtime.
    pub fn offer_archive(&self, name: &str, text: &str) -> Result<(String, Vec<u8>), Error> {
        let bytes = artifacts::tar("release", text);
        Ok((self.offer(name, &bytes)?, bytes))
    }

    /// Offers a file over HTTP, and returns its URL. Needs a Tokio runtime.
    pub fn offer(&self, name: &str, bytes: &[u8]) -> Result<String, Error> {
        self.artifacts.offer(Ipv4Addr::new(127, self.block, 0, 1), name, bytes, &self.shared.stop)
    }

    fn devices(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Simulated>>> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// The packages that can be had now.
    pub(crate) fn newest(&self) -> Result<PathBuf, Error> {
        let link = self.folder.join("catalogue/newest");
        std::fs::read_link(&link).map_err(io(link.display()))
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.shared.stop.cancel();
        for device in self.devices().values() {
            device.cut();
        }
        process::end_all(&self.shared.folder.join("devices"));
    }
}

/// A device has some sockets and pipes open: as many as may be are needed for a large fleet.
fn more_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// The fleet that had the block before may still be closing its listeners: two seconds are more than that takes.
fn bind(address: Ipv4Addr) -> std::io::Result<TcpListener> {
    for _ in 0..100 {
        match TcpListener::bind((address, PORT)) {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => std::thread::sleep(Duration::from_millis(20)),
            bound => return bound,
        }
    }
    TcpListener::bind((address, PORT))
}

/// A block of 65 536 loopback addresses that no other fleet on this machine has.
fn take_block() -> Result<(u8, TcpListener), Error> {
    // From a place of our own on, so that fleets that start at once don't all try the same.
    let start = u8::try_from(std::process::id() % 100).unwrap_or(0);
    for step in 0..100 {
        let block = 100 + (start + step) % 100;
        if let Ok(held) = TcpListener::bind((Ipv4Addr::new(127, block, 0, 1), PORT)) {
            return Ok((block, held));
        }
    }
    Err(Error::NoAddresses)
}

fn new_key() -> Result<PrivateKey, Error> {
    let mut seed = [0; 32];
    std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut seed)).map_err(io("/dev/urandom"))?;
    Ok(PrivateKey::from(Ed25519Keypair::from_seed(&seed)))
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?.write_all(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_fleet_has_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let fleet = Fleet::start(folder.path(), &Catalogue::default()).unwrap();
        let added: Vec<bool> = ["a", "b", "c", "d"].iter().map(|name| fleet.add(name, &Setup::default()).is_ok()).collect();
        assert_eq!(added, [true, true, true, false]);
        // Another fleet on this machine has a block of its own.
        let other = Fleet::start(&folder.path().join("other"), &Catalogue::default()).unwrap();
        assert_ne!(other.block, fleet.block);
    }
}
