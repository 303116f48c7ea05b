//! All devices: how a script gets onto one, and the port `Observe`.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use reconcile::{Access, AwayCode, Contact, Desired, Device, DeviceSeen, ItemKey, Name, Observe, StepId};
use tokio::sync::Semaphore;

use crate::fetch::{self, Fetcher};
use crate::pool::Pool;
use crate::probe::Prober;
use crate::script::{self, HEADER, quote};
use crate::secrets::Secrets;
use crate::snmp::Agents;
use crate::ssh::{self, Output};
use crate::{local, read};

/// Time limit of one look at a device.
const LOOK: Duration = Duration::from_secs(30);
/// A device whose connection broke is tried again after this long.
const REST: Duration = Duration::from_secs(2);
/// Files that are on their way to devices at once: each is in memory meanwhile.
const UPLOADS: usize = 4;
/// Days that a file that was brought to a device stays in its cache; a step brings what it needs again.
const CACHED: u32 = 7;

/// All devices.
pub struct Devices {
    /// For the way over jump hosts: they are devices too.
    desired: ArcSwap<Desired>,
    pub(crate) secrets: Secrets,
    fetcher: Fetcher,
    uploads: Semaphore,
    /// What probes have in common.
    pub(crate) prober: Prober,
    /// For readings: asks the device itself, so it follows no redirects to others and uses no proxy.
    pub(crate) reader: reqwest::Client,
    pub(crate) agents: Agents,
    pool: Pool,
    log: OnceLock<String>,
}

impl Devices {
    /// Devices whose keys are in `secrets`; fetched files are kept below `cache`.
    pub fn new(secrets: Secrets, cache: &Path) -> Self {
        let reader = || reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().pool_max_idle_per_host(0);
        Self {
            desired: ArcSwap::default(),
            secrets,
            fetcher: Fetcher::new(cache),
            uploads: Semaphore::new(UPLOADS),
            prober: Prober::default(),
            reader: fetch::client(reader),
            agents: Agents::default(),
            pool: Pool::new(),
            log: OnceLock::new(),
        }
    }

    /// Tells our steps on devices from those of another store, by the hash of what its log begins with: a new store counts from the
    /// beginning again, and a step that an earlier one did under the same id is not done for this one.
    pub fn belong_to(&self, log: &str) {
        let _ = self.log.set(log.chars().filter(char::is_ascii_hexdigit).take(8).collect());
    }

    /// Whether it is known to whom the steps belong.
    pub fn belong_to_a_log(&self) -> bool {
        self.log.get().is_some()
    }

    /// A step's name on devices.
    pub(crate) fn there(&self, id: &StepId) -> StepId {
        self.log.get().map_or_else(|| id.clone(), |log| StepId(format!("{id}-{log}")))
    }

    /// Another revision is in force, which changed these devices: connections to those that left are closed.
    pub async fn update(&self, desired: Arc<Desired>, changed: &BTreeSet<Name>) {
        self.pool.leave(changed.iter().filter(|name| !desired.devices.contains_key(*name))).await;
        self.desired.store(desired);
    }

    /// The key by which we log in there is another one: the connection that was opened with the one before is used no more.
    pub async fn log_in_anew(&self, device: &Name) {
        self.pool.leave(std::iter::once(device)).await;
    }

    /// Runs a script on the device, as root if the device says how. It goes over standard input, so nothing of it is in an
    /// argument list there.
    pub async fn run(&self, device: &Device, script: &str, limit: Duration) -> Result<Output, ssh::Error> {
        let is_root = matches!(&device.access, Access::Ssh(access) if access.sudo);
        self.shell(device, if is_root { "sudo -n sh -s" } else { "sh -s" }, script, limit).await
    }

    /// The same over a connection that is opened for it, and is not kept.
    pub(crate) async fn run_anew(&self, device: &Device, script: &str, limit: Duration) -> Result<Output, ssh::Error> {
        let Access::Ssh(access) = &device.access else { return self.run(device, script, limit).await };
        let desired = self.desired.load_full();
        let (connection, _way) = self.pool.open(device, &desired, &self.secrets).await?;
        let command = if access.sudo { "sudo -n sh -s" } else { "sh -s" };
        connection.exec(command, script::whole(script).as_bytes(), limit).await
    }

    /// The same as the user who logs in, and nobody else.
    pub(crate) async fn run_as_user(&self, device: &Device, script: &str, limit: Duration) -> Result<Output, ssh::Error> {
        self.shell(device, "sh -s", script, limit).await
    }

    async fn shell(&self, device: &Device, command: &str, script: &str, limit: Duration) -> Result<Output, ssh::Error> {
        let script = script::whole(script);
        match &device.access {
            Access::Ssh(_) => self.exec(device, command, script.as_bytes(), limit).await,
            Access::Local => local::exec(&["-s"], script.as_bytes(), limit).await,
            Access::None => Err(ssh::Error::Broken("the device has no access".into())),
        }
    }

    /// The script that one look at these items runs on a device.
    pub fn look(items: &[ItemKey]) -> String {
        script::whole(&read::script(items))
    }

    /// Fetches a file by its hash and brings it to the device's cache, where it is checked again.
    pub(crate) async fn bring(&self, device: &Device, url: &str, sha256: &str) -> Result<(), String> {
        // It becomes a file name here and a word of a script there.
        if sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)) {
            return Err(format!("{url}: `{sha256}` is not a SHA-256 in lower-case hexadecimal"));
        }
        let there = format!("{HEADER}sha256sum < \"$E/cache/{sha256}\" 2>/dev/null && touch \"$E/cache/{sha256}\"\n");
        let output = self.run(device, &there, LOOK).await.map_err(|error| error.to_string())?;
        if String::from_utf8_lossy(&output.stdout).split_whitespace().next() == Some(sha256) {
            return Ok(());
        }
        let _permit = self.uploads.acquire().await.map_err(|_| "the engine is stopping")?;
        let bytes = self.fetcher.get(url, sha256).await?;
        let limit = LOOK + Duration::from_secs(bytes.len() as u64 / 100_000);
        let script = store(sha256);
        let output = match &device.access {
            Access::Ssh(access) => {
                let sudo = if access.sudo { "sudo -n " } else { "" };
                self.exec(device, &format!("{sudo}sh -c {}", quote(&script)), &bytes, limit).await
            }
            Access::Local => local::exec(&["-c", &script], &bytes, limit).await,
            Access::None => Err(ssh::Error::Broken("the device has no access".into())),
        };
        match output {
            Ok(output) if output.code == Some(0) => Ok(()),
            Ok(output) => Err(format!("{url} could not be brought to the device: {}", words(&output))),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn exec(&self, device: &Device, command: &str, input: &[u8], limit: Duration) -> Result<Output, ssh::Error> {
        let desired = self.desired.load_full();
        let connection = self.pool.connect(device, &desired, &self.secrets).await?;
        let result = connection.exec(command, input, limit).await;
        if matches!(result, Err(ssh::Error::Broken(_) | ssh::Error::Slow { .. })) {
            self.pool.forget(&device.name, &connection).await;
        }
        result
    }
}

/// Takes a file from standard input into the device's cache; whole or not at all.
fn store(sha256: &str) -> String {
    format!(
        r#"{HEADER}umask 077
mkdir -p "$E/cache" || die "cannot make $E/cache"
find "$E/cache" -type f -mtime +{CACHED} -exec rm -f {{}} +
t="$E/cache/{sha256}.$$"
cat > "$t" && [ "$(sha256sum < "$t" | cut -d' ' -f1)" = {sha256} ] && mv "$t" "$E/cache/{sha256}" || {{ rm -f "$t"; die "it did not arrive whole"; }}
"#
    )
}

impl Observe for Devices {
    async fn observe(&self, device: &Device, items: &[ItemKey]) -> DeviceSeen {
        // There is nothing to look with, which is not the same as not being able to reach it.
        if device.access == Access::None {
            return DeviceSeen::default();
        }
        let mut last = (String::new(), AwayCode::NoAnswer);
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
                    Err(error) => last = (format!("cannot be read: {error} {}", words(&output)), AwayCode::NoAnswer),
                },
                Err(error) => {
                    last = (error.to_string(), error.away());
                    if !matches!(error, ssh::Error::Broken(_)) {
                        break;
                    }
                }
            }
        }
        let (reason, code) = last;
        DeviceSeen { contact: Contact::Unreachable { since: Timestamp::now(), reason, code }, ..DeviceSeen::default() }
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
