//! Devices, and the commits that changed them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use reconcile::{Name, Revision};
use serde::{Deserialize, Serialize};

use crate::open::within;
use crate::rows::{by_keys, insert, maybe_time, query, text, time};
use crate::{Error, Store};

/// Changes of one device in one answer at most.
const CHANGES: u32 = 1000;

/// A device as it is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRow {
    /// Its name.
    pub name: Name,
    /// Its type, as the manifest has it.
    pub kind: String,
    /// Its address.
    pub address: String,
    /// Of its manifest.
    pub digest: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A commit changed a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceChange {
    /// When it came in force.
    pub at: Timestamp,
    /// `added`, `changed` or `removed`.
    pub what: String,
    /// The commit.
    pub commit: String,
    /// Its author.
    pub author: String,
}

impl Store {
    /// The digests of the devices that were wanted last.
    pub async fn known_devices(&self) -> Result<BTreeMap<Name, String>, Error> {
        let rows = self.readers.all("SELECT name, digest FROM device WHERE removed_at IS NULL", []).await?;
        rows.iter().map(|row| Ok((Name::parse(&text(row, "name")?), text(row, "digest")?))).collect()
    }

    /// Writes down what a commit changed: some hundred devices at once, so that nobody waits for long. Those that are as they were, are left.
    pub async fn record_devices(&self, wanted: &[DeviceRow], gone: &[Name], revision: &Revision, now: Timestamp) -> Result<(), Error> {
        within(wanted.len() * 4 + gone.len(), async {
            let mut tx = self.pool.begin().await?;
            let keys: Vec<&str> = wanted.iter().map(|device| device.name.full()).chain(gone.iter().map(Name::full)).collect();
            let mut before = BTreeMap::new();
            for row in by_keys(&mut tx, "SELECT name, digest, removed_at FROM device WHERE name IN", None, &keys).await? {
                let is_there = maybe_time(&row, "removed_at")?.is_none();
                before.insert(text(&row, "name")?, is_there.then_some(text(&row, "digest")?));
            }
            let mut last = BTreeMap::new();
            for row in by_keys(&mut tx, "SELECT device, at FROM device_change WHERE device IN", None, &keys).await? {
                let at = last.entry(text(&row, "device")?).or_insert(Timestamp::MIN);
                *at = time(&row, "at")?.max(*at);
            }
            // A clock that was put back must not bring two changes to one instant, nor turn their order.
            let at = |name: &str| match last.get(name) {
                Some(last) if *last >= now => last.checked_add(SignedDuration::from_nanos(1)).unwrap_or(now),
                _ => now,
            };
            let known = |name: &Name| before.get(name.full()).and_then(Option::as_deref);
            let wanted: Vec<&DeviceRow> = wanted.iter().filter(|device| known(&device.name) != Some(&device.digest)).collect();
            let gone: Vec<&Name> = gone.iter().filter(|name| known(name).is_some()).collect();
            let rows = wanted.iter().map(|device| {
                [device.name.full().into(), device.kind.as_str().into(), device.address.as_str().into(), device.digest.as_str().into()]
            });
            let replace = "ON CONFLICT (name) DO UPDATE SET type = excluded.type, address = excluded.address, digest = excluded.digest, removed_at = NULL";
            insert(&mut tx, "device (name, type, address, digest)", rows, replace).await?;
            let names: Vec<&str> = wanted.iter().map(|device| device.name.full()).collect();
            by_keys(&mut tx, "DELETE FROM device_label WHERE device IN", None, &names).await?;
            let mut labels = Vec::new();
            for device in &wanted {
                labels.extend(device.labels.iter().map(|(label, value)| [device.name.full().into(), label.as_str().into(), value.as_str().into()]));
            }
            insert(&mut tx, "device_label (device, label, value)", labels, "").await?;
            for name in &gone {
                let name = name.full();
                query("UPDATE device SET removed_at = $1 WHERE name = $2", [at(name).into(), name.into()]).execute(&mut *tx).await?;
            }
            let added: BTreeSet<&Name> = wanted.iter().map(|device| &device.name).filter(|name| known(name).is_none()).collect();
            let what = |name: &Name| if added.contains(name) { "added" } else { "changed" };
            let changes = wanted.iter().map(|device| (&device.name, what(&device.name)));
            let changes = changes.chain(gone.iter().map(|name| (*name, "removed")));
            let (commit, author) = (revision.commit.as_str(), revision.author.as_str());
            let rows = changes.map(|(name, what)| [name.full().into(), at(name.full()).into(), what.into(), commit.into(), author.into()]);
            insert(&mut tx, "device_change (device, at, what, commit_id, author)", rows, "").await?;
            Ok(tx.commit().await?)
        })
        .await
    }

    /// The commits that changed a device since then, the newest first; 1000 at most.
    pub async fn device_changes(&self, device: &Name, since: Timestamp) -> Result<Vec<DeviceChange>, Error> {
        let statement = "SELECT at, what, commit_id, author FROM device_change WHERE device = $1 AND at >= $2 ORDER BY at DESC LIMIT $3";
        let rows = self.readers.all(statement, [device.full().into(), since.into(), CHANGES.into()]).await?;
        let change = |row| {
            Ok(DeviceChange {
                at: time(row, "at")?,
                what: text(row, "what")?,
                commit: text(row, "commit_id")?,
                author: text(row, "author")?,
            })
        };
        rows.iter().map(change).collect()
    }
}
