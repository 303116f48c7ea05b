//! What a Deployment puts on a device, as one unit, and how it differs from what is there.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::observed::{DeviceSeen, ItemKey, ItemSeen};

mod account;

pub use account::Account;

/// SHA-256 of some canonical text, in lower-case hexadecimal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(String);

impl Digest {
    /// The digest of bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(hex::encode(Sha256::digest(bytes)))
    }

    /// The digest of a value's JSON text (field order is the declaration's, maps are sorted).
    pub fn of_json<T: Serialize>(value: &T) -> Self {
        Self::of(&serde_json::to_vec(value).expect("our own types always serialize"))
    }

    /// All 64 characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 characters: enough to tell apart what a person compares.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl From<String> for Digest {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

/// Everything that one Deployment, or the login of a Role, puts on one device; applied and taken back together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Packages and archives, in the order given.
    pub packages: Vec<Package>,
    /// Files, in the order given; templates are already rendered.
    pub files: Vec<File>,
    /// Accounts. Left out where there are none: revisions from before there were any have the same digest as ever.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<Account>,
    /// Units that are told of a change, and must be active afterwards.
    pub services: Vec<ServiceUse>,
    /// Must pass before the device is touched.
    pub before: Vec<crate::desired::Probe>,
    /// Must pass on the device after the change, within the deadline.
    pub after: Vec<crate::desired::Probe>,
    /// Whether a reboot belongs to the change.
    pub reboot: Reboot,
}

/// One package of a content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Package {
    /// A Debian package at an exact version.
    Apt(Apt),
    /// An archive unpacked beside and switched in by a symlink.
    Archive(Archive),
}

/// A Debian package at an exact version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Apt {
    /// The package's name.
    pub name: String,
    /// Its exact version.
    pub version: String,
    /// Hold it there afterwards, so that nothing else upgrades it.
    pub hold: bool,
    /// May go to a lower version outside of a rollback.
    pub allow_downgrade: bool,
    /// A configuration file changed by hand is replaced by the package's (`true`) or kept (`false`).
    pub replace_conffiles: bool,
}

/// An archive unpacked into `into/releases/<sha256>`, with `into/current` pointing at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archive {
    /// Where it is fetched from.
    pub url: String,
    /// What its bytes must hash to, lower-case hexadecimal.
    pub sha256: String,
    /// The directory on the device.
    pub into: String,
}

/// One file of a content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Absolute path on the device.
    pub path: String,
    /// Where its bytes come from.
    pub source: FileSource,
    /// Octal, four digits.
    pub mode: String,
    /// User name of the owner.
    pub owner: String,
    /// Group name.
    pub group: String,
}

/// Where a file's bytes come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileSource {
    /// The text itself.
    Text(String),
    /// Fetched, and checked against the hash.
    Url {
        /// Where from.
        url: String,
        /// What the bytes must hash to.
        sha256: String,
    },
    /// A template that is rendered per device when it is planned; never reaches an actor.
    Template(String),
    /// A secret's value, resolved by the actor at the last moment.
    Secret {
        /// The Secret's name.
        name: String,
        /// The key within it.
        key: String,
    },
}

impl FileSource {
    /// The SHA-256 that the file on the device must have, where it is known without resolving a secret.
    pub fn sha256(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(Digest::of(text.as_bytes()).as_str().to_owned()),
            Self::Url { sha256, .. } => Some(sha256.clone()),
            Self::Template(_) | Self::Secret { .. } => None,
        }
    }
}

/// A unit that the content's change concerns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceUse {
    /// The unit's name, with its suffix.
    pub unit: String,
    /// What it is told after a change.
    pub after: AfterChange,
}

/// What a unit is told after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AfterChange {
    /// Stopped and started.
    Restart,
    /// Asked to read its configuration again.
    Reload,
    /// Nothing; it must only be active.
    None,
}

/// Whether a reboot belongs to the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reboot {
    /// Never.
    Never,
    /// When the device says that it needs one.
    IfRequired,
    /// Always.
    Always,
}

/// One visible difference that a step makes, `None` for absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What changes, such as `apt:nginx` or `file:/etc/motd`.
    pub item: ItemKey,
    /// What was seen.
    pub from: Option<String>,
    /// What will be there.
    pub to: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |value: &Option<String>| value.clone().unwrap_or_else(|| "absent".into());
        write!(f, "{} {} -> {}", self.item.0.replacen(':', " ", 1), show(&self.from), show(&self.to))
    }
}

impl Content {
    /// Nothing at all.
    pub fn nothing() -> Self {
        Self {
            packages: Vec::new(),
            files: Vec::new(),
            accounts: Vec::new(),
            services: Vec::new(),
            before: Vec::new(),
            after: Vec::new(),
            reboot: Reboot::Never,
        }
    }

    /// Names the digest that revisions are compared by.
    pub fn digest(&self) -> Digest {
        Digest::of_json(self)
    }

    /// A few words for people: `nginx 1.24.0-1`, `3 files`.
    pub fn summary(&self) -> String {
        let mut words: Vec<String> = self
            .packages
            .iter()
            .map(|package| match package {
                Package::Apt(apt) => format!("{} {}", apt.name, apt.version),
                Package::Archive(archive) => format!("{} {}", archive.into, short(&archive.sha256)),
            })
            .collect();
        match self.files.as_slice() {
            [] => {}
            [file] => words.push(file.path.clone()),
            files => words.push(format!("{} files", files.len())),
        }
        words.extend(self.accounts.iter().map(|account| format!("login {}", account.user)));
        words.truncate(4);
        words.join(", ")
    }

    /// Whether any file is rendered per device.
    pub fn is_templated(&self) -> bool {
        self.files.iter().any(|file| matches!(file.source, FileSource::Template(_)))
    }

    /// Every item of a device that this content decides, and that reading a device must therefore return.
    pub fn items(&self) -> impl Iterator<Item = ItemKey> + '_ {
        let packages = self.packages.iter().map(Package::key);
        let files = self.files.iter().map(|file| ItemKey::file(&file.path));
        let accounts = self.accounts.iter().map(Account::key);
        let units = self.services.iter().map(|service| ItemKey::unit(&service.unit));
        packages.chain(files).chain(accounts).chain(units)
    }

    /// What it puts on a device and nobody else may; a unit may well be told by several.
    pub fn claims(&self) -> impl Iterator<Item = ItemKey> + '_ {
        let items = self.items().filter(|item| !matches!(item.split().0, "unit" | "account"));
        items.chain(self.accounts.iter().flat_map(Account::claims))
    }

    /// What was seen of an item, in a few words for people.
    pub fn shown(&self, item: &ItemKey, seen: &ItemSeen) -> Option<String> {
        if self.is_secret(item) { seen.shown_as_secret() } else { seen.shown() }
    }

    /// Whether the item is a file that holds a secret.
    pub fn is_secret(&self, item: &ItemKey) -> bool {
        self.files.iter().any(|file| file.is_secret() && ItemKey::file(&file.path) == *item)
    }

    /// What would have to change on the device; `None` while some item of it has not been seen yet.
    ///
    /// Units are not part of it: whether they are well is a question of health, not of content.
    pub fn changes(&self, seen: &DeviceSeen) -> Option<Vec<Change>> {
        let mut changes = Vec::new();
        for package in &self.packages {
            changes.extend(package.change(seen.items.get(&package.key())?));
        }
        for file in &self.files {
            let key = ItemKey::file(&file.path);
            changes.extend(file.change(key.clone(), seen.items.get(&key)?));
        }
        for account in &self.accounts {
            changes.extend(account.change(seen.items.get(&account.key())?));
        }
        Some(changes)
    }

    /// Prepares for comparing this content with many devices.
    pub fn matcher(&self) -> Matcher<'_> {
        Matcher {
            packages: self.packages.iter().map(|package| (package.key(), package)).collect(),
            files: self.files.iter().map(|file| (ItemKey::file(&file.path), file, file.source.sha256())).collect(),
            accounts: self.accounts.iter().map(|account| (account.key(), account.seen())).collect(),
        }
    }
}

/// A content with its keys and hashes computed once.
pub struct Matcher<'a> {
    packages: Vec<(ItemKey, &'a Package)>,
    files: Vec<(ItemKey, &'a File, Option<String>)>,
    accounts: Vec<(ItemKey, ItemSeen)>,
}

impl Matcher<'_> {
    /// Whether the device has this content; `None` while some item of it has not been seen yet.
    pub fn matches(&self, seen: &DeviceSeen) -> Option<bool> {
        for (key, package) in &self.packages {
            if !package.is_met(seen.items.get(key)?) {
                return Some(false);
            }
        }
        for (key, file, wanted) in &self.files {
            if !file.is_met(wanted.as_deref(), seen.items.get(key)?) {
                return Some(false);
            }
        }
        for (key, wanted) in &self.accounts {
            if seen.items.get(key)? != wanted {
                return Some(false);
            }
        }
        Some(true)
    }
}

impl Package {
    /// The item of a device that this package decides.
    pub fn key(&self) -> ItemKey {
        match self {
            Self::Apt(apt) => ItemKey::apt(&apt.name),
            Self::Archive(archive) => ItemKey::archive(&archive.into),
        }
    }

    fn is_met(&self, seen: &ItemSeen) -> bool {
        match (self, seen) {
            (Self::Apt(apt), ItemSeen::Package { version, held, broken }) => version == &apt.version && (!apt.hold || *held) && !broken,
            (Self::Archive(archive), ItemSeen::Archive { sha256 }) => sha256 == &archive.sha256,
            _ => false,
        }
    }

    fn change(&self, seen: &ItemSeen) -> Option<Change> {
        if self.is_met(seen) {
            return None;
        }
        let to = match self {
            Self::Apt(apt) => format!("{}{}", apt.version, if apt.hold { " (held)" } else { "" }),
            Self::Archive(archive) => short(&archive.sha256).to_owned(),
        };
        Some(Change { item: self.key(), from: seen.shown(), to: Some(to) })
    }
}

impl File {
    /// Its bytes are a secret's value: not even a part of their hash is shown.
    fn is_secret(&self) -> bool {
        matches!(self.source, FileSource::Secret { .. })
    }

    /// A secret's hash is not known here: then existence, mode and owner decide, and the actor compares the value.
    fn is_met(&self, wanted: Option<&str>, seen: &ItemSeen) -> bool {
        let ItemSeen::File { sha256, mode, owner, group } = seen else { return false };
        wanted.is_none_or(|wanted| wanted == sha256) && (mode, owner, group) == (&self.mode, &self.owner, &self.group)
    }

    fn change(&self, item: ItemKey, seen: &ItemSeen) -> Option<Change> {
        let wanted = self.source.sha256();
        if self.is_met(wanted.as_deref(), seen) {
            return None;
        }
        let what = wanted.as_deref().map_or("secret", short);
        let from = if self.is_secret() { seen.shown_as_secret() } else { seen.shown() };
        Some(Change { item, from, to: Some(format!("{what} {} {}:{}", self.mode, self.owner, self.group)) })
    }
}

/// The first eight characters of a hash: enough to tell apart what a person compares.
pub(crate) fn short(hash: &str) -> &str {
    hash.get(..8).unwrap_or(hash)
}
