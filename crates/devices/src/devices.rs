//! All devices: one kept connection each, and the ports `Observe` and `Act` over them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use reconcile::{Access, Contact, Desired, Device, DeviceSeen, ItemKey, Name, Observe};
use tokio::sync::Mutex;

use crate::fetch::Fetcher;
use crate::read;
use crate::secrets::Secrets;
use crate::ssh::{self, Connection, Endpoint, Output};

/// Time limit of one look at a device.
const LOOK: Duration = Duration::from_secs(30);
/// Jump hosts in a row.
const HOPS: usize = 4;
/// A device that refused a connection is not tried again for this long, unless somebody acts on it.
const REST: Duration = Duration::from_secs(2);

/// All devices.
pub struct Devices {
    /// For the way over jump hosts: they are devices too.
    desired: ArcSwap<Desired>,
    pub(crate) secrets: Secrets,
    pub(crate) fetcher: Fetcher,
    links: Mutex<HashMap<Name, Arc<Mutex<Link>>>>,
}

/// The connection to one device, if there is one.
#[derive(Default)]
struct Link {
    connection: Option<Arc<Connection>>,
    /// What it was opened for: another address or key needs another connection.
    opened_for: Option<(String, Access)>,
}

impl Devices {
    /// Devices whose keys are in `secrets`; fetched files are kept below `cache`.
    pub fn new(secrets: Secrets, cache: &Path) -> Self {
        Self { desired: ArcSwap::default(), secrets, fetcher: Fetcher::new(cache), links: Mutex::default() }
    }

    /// Another revision is in force: connections to devices that left are closed.
    pub async fn update(&self, desired: Arc<Desired>) {
        let mut links = self.links.lock().await;
        links.retain(|name, _| desired.devices.contains_key(name));
        drop(links);
        self.desired.store(desired);
    }

    /// Runs a script on the device, as root if the device says how.
    pub async fn run(&self, device: &Device, script: &str, limit: Duration) -> Result<Output, ssh::Error> {
        match &device.access {
            Access::Ssh(access) => {
                let command = if access.sudo { "sudo -n sh -s" } else { "sh -s" };
                self.exec(device, command, script.as_bytes(), limit).await
            }
            Access::Local => local(script, limit).await,
            Access::None => Err(ssh::Error::Broken("the device has no access".into())),
        }
    }

    /// Brings bytes to the device's cache, where they are checked again.
    pub(crate) async fn upload(&self, device: &Device, sha256: &str, bytes: &[u8]) -> Result<(), String> {
        let there = format!("{}printf '%s\\n' \"$(sha256sum < \"$E/cache/{sha256}\" 2>/dev/null | cut -d' ' -f1)\"\n", crate::script::HEADER);
        let output = self.run(device, &there, LOOK).await.map_err(|error| error.to_string())?;
        if String::from_utf8_lossy(&output.stdout).trim() == sha256 {
            return Ok(());
        }
        let script = format!("set -e; umask 077; E=\"${{EVENKEEL_ROOT:-}}/var/lib/evenkeel\"; mkdir -p \"$E/cache\"; cat > \"$E/cache/{sha256}.$$\"; [ \"$(sha256sum < \"$E/cache/{sha256}.$$\" | cut -d\" \" -f1)\" = {sha256} ]; mv \"$E/cache/{sha256}.$$\" \"$E/cache/{sha256}\"");
        let limit = LOOK + Duration::from_secs(bytes.len() as u64 / 100_000);
        let output = match &device.access {
            Access::Ssh(access) => {
                let sudo = if access.sudo { "sudo -n " } else { "" };
                let command = format!("{sudo}sh -c {}", crate::script::quote(&script));
                self.exec(device, &command, bytes, limit).await.map_err(|error| error.to_string())?
            }
            Access::Local | Access::None => return Err("files by URL can't be brought to a local device".into()),
        };
        match output.code {
            Some(0) => Ok(()),
            _ => Err(format!("the file could not be brought to the device: {}", words(&output))),
        }
    }

    async fn exec(&self, device: &Device, command: &str, input: &[u8], limit: Duration) -> Result<Output, ssh::Error> {
        let connection = self.connect(device, HOPS).await?;
        let result = connection.exec(command, input, limit).await;
        if matches!(result, Err(ssh::Error::Broken(_) | ssh::Error::Slow { .. })) {
            self.forget(&device.name, &connection).await;
        }
        result
    }

    /// The kept connection, or a new one. Whoever asks first opens it; the others wait for that.
    async fn connect(&self, device: &Device, hops: usize) -> Result<Arc<Connection>, ssh::Error> {
        let Access::Ssh(access) = &device.access else { return Err(ssh::Error::Broken("the device has no SSH access".into())) };
        let link = self.links.lock().await.entry(device.name.clone()).or_default().clone();
        let mut link = link.lock().await;
        let wanted = (device.address.clone(), device.access.clone());
        if let Some(connection) = link.connection.as_ref().filter(|connection| !connection.is_closed())
            && link.opened_for.as_ref() == Some(&wanted)
        {
            return Ok(connection.clone());
        }
        link.connection = None;
        let secret = access.secret.as_ref().ok_or_else(|| ssh::Error::Key("spec.access.ssh.secretRef names no key".into()))?;
        let key = self.secrets.private_key(secret).map_err(ssh::Error::Key)?;
        let endpoint = Endpoint { address: (&device.address, access.port), user: &access.user, host_keys: &access.host_keys, key };
        let connection = match &access.via {
            None => Connection::open(&endpoint).await?,
            Some(via) => {
                let broken = |reason: String| ssh::Error::Via { via: via.to_string(), reason };
                let hop = self.desired.load().devices.get(via).cloned().ok_or_else(|| broken("it does not exist".into()))?;
                let hops = hops.checked_sub(1).ok_or_else(|| broken("too many jump hosts in a row".into()))?;
                let way = Box::pin(self.connect(&hop, hops)).await.map_err(|error| broken(error.to_string()))?;
                way.through(&endpoint).await?
            }
        };
        let connection = Arc::new(connection);
        link.connection = Some(connection.clone());
        link.opened_for = Some(wanted);
        Ok(connection)
    }

    async fn forget(&self, name: &Name, broken: &Arc<Connection>) {
        let link = self.links.lock().await.get(name).cloned();
        if let Some(link) = link {
            let mut link = link.lock().await;
            if link.connection.as_ref().is_some_and(|connection| Arc::ptr_eq(connection, broken)) {
                link.connection = None;
            }
        }
    }
}

impl Observe for Devices {
    async fn observe(&self, device: &Device, items: &[ItemKey]) -> DeviceSeen {
        let mut last = String::new();
        // One idempotent read is tried again once: a kept connection may have died while nobody looked.
        for attempt in 0..2 {
            if attempt > 0 {
                tokio::time::sleep(REST).await;
            }
            let started = Timestamp::now();
            match self.run(device, &read::script(items), LOOK).await {
                Ok(output) => match read::parse(items, &output.stdout) {
                    Ok(sight) => {
                        return DeviceSeen {
                            contact: Contact::Known,
                            // What was read is at least as new as the moment before it was asked for.
                            seen_at: Some(started),
                            boot_id: sight.boot_id,
                            reboot_required: sight.reboot_required,
                            facts: sight.facts,
                            items: sight.items,
                            probes: std::collections::BTreeMap::new(),
                        };
                    }
                    Err(error) => last = format!("cannot be read: {error} {}", words(&output)),
                },
                Err(error) => {
                    last = error.to_string();
                    if !matches!(error, ssh::Error::Broken(_)) {
                        break;
                    }
                }
            }
        }
        DeviceSeen { contact: Contact::Unreachable { since: Timestamp::now(), reason: last }, ..DeviceSeen::default() }
    }
}

/// What a failed command had to say, in one bounded line.
pub(crate) fn words(output: &Output) -> String {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().rev().filter(|line| !line.trim().is_empty()).take(5).collect();
    let line = lines.into_iter().rev().collect::<Vec<_>>().join(" | ");
    line.chars().filter(|c| !c.is_control()).take(500).collect()
}

/// Runs a script on the machine that the engine runs on.
async fn local(script: &str, limit: Duration) -> Result<Output, ssh::Error> {
    use tokio::io::AsyncWriteExt as _;
    let broken = |error: std::io::Error| ssh::Error::Broken(error.to_string());
    let mut child = tokio::process::Command::new("sh")
        .arg("-s")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(broken)?;
    let mut stdin = child.stdin.take().ok_or_else(|| ssh::Error::Broken("no standard input".into()))?;
    let script = script.as_bytes().to_vec();
    let feed = tokio::spawn(async move {
        let _ = stdin.write_all(&script).await;
    });
    let output = tokio::time::timeout(limit, child.wait_with_output()).await.map_err(|_| ssh::Error::Slow { what: "the command", limit })?.map_err(broken)?;
    feed.abort();
    Ok(Output { code: output.status.code().and_then(|code| u32::try_from(code).ok()), stdout: output.stdout, stderr: output.stderr, truncated: false })
}
