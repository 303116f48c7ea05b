//! Kept connections: one per device, opened on demand, bounded in number and in idle time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reconcile::{Access, Desired, Device, Name};
use tokio::sync::{Mutex, Semaphore};

use crate::secrets::Secrets;
use crate::ssh::{Connection, Endpoint, Error};

/// Jump hosts in a row.
const HOPS: usize = 4;
/// Connections that are kept; of more, the ones that were not used for longest are closed.
const KEPT: usize = 512;
/// A connection that was not used for this long is closed.
const IDLE: Duration = Duration::from_secs(600);
/// Connections that are being opened at once: key exchanges are what costs.
const OPENING: usize = 64;

/// The kept connections.
pub(crate) struct Pool {
    links: Mutex<HashMap<Name, Arc<Mutex<Link>>>>,
    opening: Semaphore,
}

/// The connection to one device, if there is one.
#[derive(Default)]
struct Link {
    open: Option<Open>,
}

struct Open {
    connection: Arc<Connection>,
    /// The jump host's connection that it goes through: kept as long as this one.
    way: Option<Arc<Connection>>,
    /// What it was opened for: another address or key needs another connection.
    opened_for: (String, Access),
    used: Instant,
}

impl Link {
    /// The connection, if it is open and leads where it should.
    fn take_up(&mut self, device: &Device) -> Option<Arc<Connection>> {
        let open = self.open.as_mut()?;
        if open.connection.is_closed() || open.opened_for.0 != device.address || open.opened_for.1 != device.access {
            self.open = None;
            return None;
        }
        open.used = Instant::now();
        Some(open.connection.clone())
    }
}

impl Pool {
    pub(crate) fn new() -> Self {
        Self { links: Mutex::default(), opening: Semaphore::new(OPENING) }
    }

    /// The kept connection, or a new one. Whoever asks first opens it; the others wait for that.
    pub(crate) async fn connect(&self, device: &Device, desired: &Desired, secrets: &Secrets) -> Result<Arc<Connection>, Error> {
        if let Some(connection) = self.link(&device.name).await.lock().await.take_up(device) {
            return Ok(connection);
        }
        let way = self.way(device, desired, secrets).await?;
        self.hop(device, way, secrets).await
    }

    /// A connection that is new, and nobody else's; with the jump host's, which has to be kept as long.
    pub(crate) async fn open(
        &self,
        device: &Device,
        desired: &Desired,
        secrets: &Secrets,
    ) -> Result<(Connection, Option<Arc<Connection>>), Error> {
        let way = self.way(device, desired, secrets).await?;
        Ok((self.dial(device, way.as_ref(), secrets).await?, way))
    }

    /// The jump host's connection, if there is one on the way.
    async fn way(&self, device: &Device, desired: &Desired, secrets: &Secrets) -> Result<Option<Arc<Connection>>, Error> {
        // From us outwards, and never with two links locked at once: devices may well be each other's jump hosts.
        let mut way = None;
        for hop in through(device, desired)?.iter().rev() {
            let next = self.hop(hop, way, secrets).await;
            way = Some(next.map_err(|error| Error::Via { via: hop.name.to_string(), reason: error.to_string() })?);
        }
        Ok(way)
    }

    async fn hop(&self, device: &Device, way: Option<Arc<Connection>>, secrets: &Secrets) -> Result<Arc<Connection>, Error> {
        let link = self.link(&device.name).await;
        let mut link = link.lock().await;
        if let Some(connection) = link.take_up(device) {
            return Ok(connection);
        }
        let connection = Arc::new(self.dial(device, way.as_ref(), secrets).await?);
        let opened_for = (device.address.clone(), device.access.clone());
        link.open = Some(Open { connection: connection.clone(), way, opened_for, used: Instant::now() });
        drop(link);
        self.sweep().await;
        Ok(connection)
    }

    async fn dial(&self, device: &Device, way: Option<&Arc<Connection>>, secrets: &Secrets) -> Result<Connection, Error> {
        let Access::Ssh(access) = &device.access else { return Err(Error::Broken("the device has no SSH access".into())) };
        let secret = access.secret.as_ref().ok_or_else(|| Error::Key("spec.access.ssh.secretRef names no key".into()))?;
        let key = secrets.private_key(device.name.namespace(), secret).await.map_err(Error::Key)?;
        let endpoint = Endpoint { address: (&device.address, access.port), user: &access.user, host_keys: &access.host_keys, key };
        let _permit = self.opening.acquire().await.map_err(|_| Error::Broken("the engine is stopping".into()))?;
        match way {
            None => Connection::open(&endpoint).await,
            Some(way) => way.through(&endpoint).await,
        }
    }

    /// A connection that broke is not used again.
    pub(crate) async fn forget(&self, name: &Name, broken: &Arc<Connection>) {
        let link = self.link(name).await;
        let mut link = link.lock().await;
        if link.open.as_ref().is_some_and(|open| Arc::ptr_eq(&open.connection, broken)) {
            link.open = None;
        }
    }

    /// Connections to devices that left are closed.
    pub(crate) async fn leave<'a>(&self, gone: impl Iterator<Item = &'a Name>) {
        let mut links = self.links.lock().await;
        gone.for_each(|name| drop(links.remove(name)));
    }

    async fn link(&self, name: &Name) -> Arc<Mutex<Link>> {
        self.links.lock().await.entry(name.clone()).or_default().clone()
    }

    /// Closes what is idle, dead, or too much. What is in use is never closed; what is being opened is left alone.
    async fn sweep(&self) {
        let links: Vec<_> = self.links.lock().await.values().cloned().collect();
        let mut idle = Vec::new();
        let mut kept: usize = 0;
        for link in &links {
            let Ok(mut guard) = link.try_lock() else { continue };
            let Some(open) = &guard.open else { continue };
            let unused = Arc::strong_count(&open.connection) == 1;
            if open.connection.is_closed() || (unused && open.used.elapsed() > IDLE) {
                guard.open = None;
                continue;
            }
            kept += 1;
            if unused {
                idle.push((open.used, link));
            }
        }
        idle.sort_by_key(|(used, _)| *used);
        for (_, link) in idle.into_iter().take(kept.saturating_sub(KEPT)) {
            if let Ok(mut guard) = link.try_lock() {
                guard.open = None;
            }
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        tracing::trace!(address = %self.opened_for.0, jumped = self.way.is_some(), "connection given up");
    }
}

/// The jump hosts of a device, the nearest to it first.
fn through(device: &Device, desired: &Desired) -> Result<Vec<Arc<Device>>, Error> {
    let mut hops: Vec<Arc<Device>> = Vec::new();
    let mut via = jump(device);
    while let Some(name) = via {
        let broken = |reason: &str| Error::Via { via: name.to_string(), reason: reason.into() };
        if name == device.name || hops.iter().any(|hop| hop.name == name) {
            return Err(broken("the way leads in a circle"));
        }
        if hops.len() == HOPS {
            return Err(broken("too many jump hosts in a row"));
        }
        let hop = desired.devices.get(&name).ok_or_else(|| broken("it does not exist"))?;
        via = jump(hop);
        hops.push(hop.clone());
    }
    Ok(hops)
}

fn jump(device: &Device) -> Option<Name> {
    match &device.access {
        Access::Ssh(access) => access.via.clone(),
        Access::Local | Access::None => None,
    }
}

#[cfg(test)]
mod tests {
    use reconcile::SshAccess;

    use super::*;

    fn device(name: &str, via: Option<&str>) -> Arc<Device> {
        let access =
            SshAccess { port: 22, user: "ops".into(), secret: None, host_keys: Vec::new(), sudo: false, via: via.map(Name::parse) };
        Arc::new(Device {
            name: Name::parse(name),
            device_type: crds::DeviceType::Server,
            address: "192.0.2.1".into(),
            labels: Default::default(),
            parents: Vec::new(),
            access: Access::Ssh(access),
            probes: Vec::new(),
            metrics: None,
            logs: Default::default(),
            maintenance: Vec::new(),
            suspend: false,
            vars: Default::default(),
        })
    }

    fn way(devices: &[(&str, Option<&str>)], from: &str) -> String {
        let devices: Vec<_> = devices.iter().map(|(name, via)| device(name, *via)).collect();
        let desired = Desired { devices: devices.into_iter().map(|device| (device.name.clone(), device)).collect(), ..Desired::default() };
        match through(&desired.devices[&Name::parse(from)], &desired) {
            Ok(hops) => hops.iter().map(|hop| hop.name.to_string()).collect::<Vec<_>>().join(" "),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_way_over_jump_hosts_has_an_end() {
        assert_eq!(way(&[("a", None)], "a"), "");
        assert_eq!(way(&[("a", Some("b")), ("b", Some("c")), ("c", None)], "a"), "b c");
        assert_eq!(way(&[("a", Some("gone"))], "a"), "through device gone: it does not exist");
        assert_eq!(way(&[("a", Some("a"))], "a"), "through device a: the way leads in a circle");
        assert_eq!(way(&[("a", Some("b")), ("b", Some("a"))], "a"), "through device a: the way leads in a circle");
        assert_eq!(way(&[("a", Some("b")), ("b", Some("c")), ("c", Some("b"))], "a"), "through device b: the way leads in a circle");
        let long = [("a", Some("b")), ("b", Some("c")), ("c", Some("d")), ("d", Some("e")), ("e", Some("f")), ("f", None)];
        assert_eq!(way(&long, "a"), "through device f: too many jump hosts in a row");
        assert_eq!(way(&long, "b"), "c d e f");
    }
}
