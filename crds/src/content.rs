//! What a Deployment puts on a device.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::meta::SecretRef;

/// One package; exactly one of its kinds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("[has(self.apt), has(self.dnf), has(self.apk), has(self.archive)].filter(x, x).size() == 1").message("exactly one of apt, dnf, apk, archive"))]
pub struct PackageSpec {
    /// A Debian package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apt: Option<AptSpec>,
    /// An RPM package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dnf: Option<NamedPackage>,
    /// An Alpine package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apk: Option<NamedPackage>,
    /// An archive unpacked beside and switched in by a symlink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<ArchiveSpec>,
}

/// A Debian package at an exact version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AptSpec {
    /// The package's name.
    #[schemars(length(min = 2, max = 128), regex(pattern = r"^[a-z0-9][a-z0-9+.-]+$"))]
    pub name: String,
    /// Its exact version, as `apt-cache policy` shows it.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[0-9A-Za-z][0-9A-Za-z.+:~-]*$"))]
    pub version: String,
    /// Hold it there, so that nothing else upgrades it; no if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<bool>,
    /// May go to a lower version in a rollout; no if none. A rollback always may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_downgrade: Option<bool>,
    /// What happens to configuration files that were changed by hand; Keep if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conffiles: Option<Conffiles>,
}

/// What happens to configuration files that were changed by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Conffiles {
    /// They stay.
    Keep,
    /// The package's replace them.
    Replace,
}

/// A package at an exact version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NamedPackage {
    /// The package's name.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// Its exact version.
    #[schemars(length(min = 1, max = 128))]
    pub version: String,
}

/// An archive unpacked beside and switched in by a symlink.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArchiveSpec {
    /// Where it is fetched from: a tar archive, gzip-compressed or not.
    #[schemars(length(min = 1, max = 2048), regex(pattern = "^https?://"))]
    pub url: String,
    /// What its bytes must hash to.
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    pub sha256: String,
    /// The directory on the device; `current` in it points at the release in force.
    #[schemars(length(min = 2, max = 512), regex(pattern = r"^(/[0-9A-Za-z_@.+-]+)+$"))]
    pub into: String,
    /// Short for a service that is restarted after the switch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[0-9A-Za-z@_.:\\-]+$"))]
    pub unit: Option<String>,
}

/// A file; exactly one of content, template, source, secretRef.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("[has(self.content), has(self.template), has(self.source), has(self.secretRef)].filter(x, x).size() == 1").message("exactly one of content, template, source, secretRef"))]
pub struct FileSpec {
    /// Absolute path on the device.
    #[schemars(length(min = 2, max = 512), regex(pattern = r"^(/[0-9A-Za-z_@.+-]+)+$"))]
    pub path: String,
    /// Its text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 262_144))]
    pub content: Option<String>,
    /// A Jinja template over `device` and `vars`; a missing variable is an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 262_144))]
    pub template: Option<String>,
    /// Fetched, and checked against its hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<FileUrl>,
    /// A Secret's value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// Octal mode, in quotes; "0644" if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^0[0-7]{3}$"))]
    pub mode: Option<String>,
    /// User name of the owner; root if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^[a-z_][-a-z0-9_]*$"))]
    pub owner: Option<String>,
    /// Group name; root if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^[a-z_][-a-z0-9_]*$"))]
    pub group: Option<String>,
}

/// A file's bytes by URL and hash.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileUrl {
    /// Where from.
    #[schemars(length(min = 1, max = 2048), regex(pattern = "^https?://"))]
    pub url: String,
    /// What the bytes must hash to.
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    pub sha256: String,
}

/// A unit that is told of a change, and must be active afterwards.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceSpec {
    /// The unit's name; `.service` if it has no suffix.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[0-9A-Za-z@_.:\\-]+$"))]
    pub unit: String,
    /// What it is told after a change; Restart if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<AfterChange>,
}

/// What a unit is told after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AfterChange {
    /// Stopped and started.
    Restart,
    /// Asked to read its configuration again.
    Reload,
    /// Nothing.
    None,
}
