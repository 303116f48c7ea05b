//! Role and Repository: who may do what, and where desired state comes from.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Kind;
use crate::also::{AppliedStatus, CoreKind, DecryptionSpec};
use crate::meta::{PlainStatus, SecretRef, Selector};
use crate::quantity::{Duration, Share};

/// Who may do what to which devices: by the API, by kubectl, by commit and by login.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "evenkeel.dev",
    version = "v1alpha1",
    kind = "Role",
    namespaced,
    derive = "PartialEq",
    shortname = "erole",
    category = "evenkeel",
    status = "PlainStatus",
    plural = "roles",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RoleSpec {
    /// Who.
    #[schemars(length(min = 1, max = 100))]
    pub subjects: Vec<Subject>,
    /// What they may do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub allow: Vec<Grant>,
    /// An account on the devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<LoginSpec>,
    /// Run by `evenkeel check`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub tests: Vec<RoleTest>,
    /// Grant nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
}

/// Who; exactly one of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("[has(self.user), has(self.group), has(self.signer)].filter(x, x).size() == 1").message("exactly one of user, group, signer"))]
pub struct Subject {
    /// A user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 320))]
    pub user: Option<String>,
    /// A group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 320))]
    pub group: Option<String>,
    /// The public key that signs commits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub signer: Option<String>,
}

/// What may be done to what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Grant {
    /// What may be done.
    #[schemars(length(min = 1, max = 16))]
    pub verbs: Vec<Verb>,
    /// To which kinds; all if none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub kinds: Vec<Kind>,
    /// On which devices; all of the namespace if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices: Option<Selector>,
}

/// What may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// See it.
    View,
    /// Change it.
    Edit,
    /// Roll it out: pause, resume.
    Deploy,
    /// Take it back.
    Rollback,
    /// Agree to it.
    Approve,
    /// Mute its alerts.
    Silence,
    /// Say that one has seen its alerts.
    Acknowledge,
}

/// An account on the devices.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoginSpec {
    /// The account's name.
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^[a-z_][-a-z0-9_]*$"))]
    pub user: String,
    /// Public keys that may log in.
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 2048)))]
    pub authorized_keys: Vec<String>,
    /// Commands that may be run as root.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 512)))]
    pub sudo: Vec<String>,
}

/// One test of a role.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RoleTest {
    /// Who tries.
    #[schemars(length(min = 1, max = 2048))]
    pub subject: String,
    /// What.
    pub may: Verb,
    /// To which kind.
    pub kind: Kind,
    /// On which device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub device: Option<String>,
    /// Whether it should be allowed.
    pub expect: bool,
}

/// A Git source of desired state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "evenkeel.dev",
    version = "v1alpha1",
    kind = "Repository",
    namespaced,
    derive = "PartialEq",
    shortname = "erepo",
    category = "evenkeel",
    status = "RepositoryStatus",
    plural = "repositories",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Revision", type_ = "string", json_path = ".status.revision"),
    printcolumn(name = "Objects", type_ = "integer", json_path = ".status.objects"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message"),
    printcolumn(name = "URL", type_ = "string", json_path = ".spec.url", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RepositorySpec {
    /// `https://`, `ssh://`, `file://`, or a path where the engine runs standalone.
    #[schemars(length(min = 1, max = 2048))]
    pub url: String,
    /// What to follow; the branch `main` if none.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<GitRef>,
    /// The folder in it; all of it if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub path: Option<String>,
    /// Time between two looks at it; 1m if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// Credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// Whose signature is asked for; nobody's if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<VerifySpec>,
    /// In a cluster: the service account of its namespace in whose name it is applied, so that it may do what that may;
    /// `evenkeel-repository` if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: Option<String>,
    /// What leaves Git leaves the fleet; true if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prune: Option<bool>,
    /// In a cluster: kinds of Kubernetes' own that are applied too, in its namespace only; none if none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2))]
    pub also: Vec<CoreKind>,
    /// What documents that SOPS has encrypted are decrypted with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decryption: Option<DecryptionSpec>,
    /// What one commit may do without being asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitsSpec>,
    /// What happens to objects changed behind its back; Correct if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<crate::Drift>,
    /// Don't look at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
}

/// What to follow; exactly one of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("[has(self.branch), has(self.tag), has(self.commit)].filter(x, x).size() == 1").message("exactly one of branch, tag, commit"))]
pub struct GitRef {
    /// A branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub branch: Option<String>,
    /// A tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub tag: Option<String>,
    /// A commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9a-f]{40}$"))]
    pub commit: Option<String>,
}

/// Whose signature is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VerifySpec {
    /// On which commits.
    pub mode: VerifyMode,
    /// The Secret with the public keys.
    pub secret_ref: SecretRef,
}

/// On which commits a signature is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum VerifyMode {
    /// The newest one.
    Head,
    /// Every one since the last that was in force.
    Ancestors,
}

/// What one commit may do without being asked; beyond it, it waits for `evenkeel approve`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitsSpec {
    /// Devices that it may delete; 5 if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub deletions: Option<i32>,
    /// Devices that it may touch; all of them if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices: Option<Share>,
}

/// How the last look at a Repository went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RepositoryStatus {
    /// What every status has.
    #[serde(flatten)]
    pub plain: PlainStatus,
    /// The commit in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Objects that it applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<i32>,
    /// The ConfigMaps and Secrets that it has applied: they go when they leave Git.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub applied: Vec<AppliedStatus>,
}
