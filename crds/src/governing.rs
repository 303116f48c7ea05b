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
    /// What they may do in this namespace. What several Roles allow adds up, and what none allows is not allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub allow: Vec<Grant>,
    /// An account on devices, with its keys and what it may run as root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<LoginSpec>,
    /// Run by `evenkeel check`, against all Roles of the namespace together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub tests: Vec<RoleTest>,
    /// Grant nothing; what it gave by kubectl is taken back, and its login is taken off the devices.
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
    /// The public key that signs commits: of SSH as its `.pub` file has it, of which the comment does not matter; of OpenPGP the
    /// fingerprint of the key that signs, or of its primary key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub signer: Option<String>,
}

/// What may be done to what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Grant {
    /// What may be done. By kubectl, `view` is get, list and watch, `edit` also create, update, patch and delete; the others are asked of
    /// the engine, and kubectl has no command for them.
    #[schemars(length(min = 1, max = 16))]
    pub verbs: Vec<Verb>,
    /// To which kinds; all if none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub kinds: Vec<Kind>,
    /// On which devices; on all of the namespace, and on what is about none, if none is given. A Device has to be among them. A
    /// Deployment, AlertRule or Silence has to select one at least, and only such; other kinds are not about devices, and are not granted.
    /// It is judged by the devices that there are then: one whose selector leaves others out (`NotIn`, `DoesNotExist`) may well select
    /// further ones later.
    /// Whoever may edit a Device says which machine it is and which labels it has. For kubectl this becomes the names of the objects that
    /// are there, 1000 in a Role at most: without list, watch and create, and without changing a Deployment, AlertRule or Silence, which
    /// could be turned to other devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices: Option<Selector>,
}

/// What may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// See it.
    View,
    /// Make, change and delete it, and see it. Whoever may edit Roles may give themselves anything in the namespace.
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

impl Verb {
    /// All of them.
    pub const ALL: [Self; 7] = [Self::View, Self::Edit, Self::Deploy, Self::Rollback, Self::Approve, Self::Silence, Self::Acknowledge];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Edit => "edit",
            Self::Deploy => "deploy",
            Self::Rollback => "rollback",
            Self::Approve => "approve",
            Self::Silence => "silence",
            Self::Acknowledge => "acknowledge",
        }
    }

    /// Reads it.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == text)
    }
}

/// An account on devices. It is made where it is not there, its keys and sudo rules are kept as they stand here, and where the Role goes, is
/// suspended or selects a device no more, they are taken off: an account that was made for it is locked, and one that was there before gets
/// back what it had.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("!(self.user in ['root', 'nobody'])").message("`root` and `nobody` are accounts of the system"))]
pub struct LoginSpec {
    /// The account's name. Accounts of the system are refused: `root`, and those with a uid below 1000 that were not made for a Role.
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^[a-z_][-a-z0-9_]*$"))]
    pub user: String,
    /// On which devices; on those of the entries of `allow` that name devices, if none is given. Left out are devices that nobody can act on,
    /// and those where the engine itself logs in as this user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices: Option<Selector>,
    /// Public keys that may log in, and no others: each as its `.pub` file has it, without options.
    #[schemars(
        length(min = 1, max = 32),
        inner(length(min = 1, max = 2048), regex(pattern = r"^[a-z0-9@.-]+ [A-Za-z0-9+/]+={0,2}( [ -~]*)?$"))
    )]
    pub authorized_keys: Vec<String>,
    /// Commands that may be run as root without a password, such as `/usr/bin/systemctl restart nginx`: each with exactly these arguments, or
    /// with any if it has none. `ALL` stands for all commands. There are no wildcards and no quotes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(
            length(min = 1, max = 512),
            regex(pattern = r"^(ALL|/[A-Za-z0-9_./+@%,:=~-]*[A-Za-z0-9_.+@%,:=~-]( [A-Za-z0-9_./+@%,:=~-]+)*)$")
        )
    )]
    pub sudo: Vec<String>,
}

/// One test of a role.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RoleTest {
    /// Who tries: a user's name, `group:NAME`, or `signer:KEY`.
    #[schemars(length(min = 1, max = 2048))]
    pub subject: String,
    /// What.
    pub may: Verb,
    /// To which kind.
    pub kind: Kind,
    /// The device, or the only one that it is about; any object if none.
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
    /// In a cluster: ready only when what it applied is ready too, but for devices, which may be out of reach, and what is suspended. It is
    /// applied all at once whatever this says; false if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<bool>,
    /// With `wait`: what is not ready so long after its commit counts as failed; 1h if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Lets its server ask for a look at once, at `/hooks/NAMESPACE/NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<HookSpec>,
    /// Tells its server what has come of each commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit_status: Option<CommitStatusSpec>,
    /// Don't look at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
}

/// Who asks for a look, and what proves it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HookSpec {
    /// How requests are signed.
    pub provider: HookProvider,
    /// The Secret with what they are signed with, of 16 characters or more, under `token` if it names no key.
    pub secret_ref: SecretRef,
}

/// How a webhook is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HookProvider {
    /// `X-Hub-Signature-256`.
    GitHub,
    /// `X-Gitlab-Token`; for a signing token, which begins with `whsec_`, as Standard Webhooks.
    GitLab,
    /// `X-Gitea-Signature` or `X-Forgejo-Signature`.
    Gitea,
    /// Standard Webhooks: `webhook-id`, `webhook-timestamp`, `webhook-signature`.
    Generic,
}

/// Who is told what has come of each commit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CommitStatusSpec {
    /// Whose API it is.
    pub provider: Forge,
    /// The Secret with a token that may write commit statuses, under `token` if it names no key, and `ca.crt` where its certificate is not
    /// a public one.
    pub secret_ref: SecretRef,
    /// The API's own URL, such as `https://git.example.com/api/v1`; follows from `spec.url` if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048), regex(pattern = "^https://[^ ?#@]+$"))]
    pub url: Option<String>,
    /// Tells the status from those of others; `evenkeel/NAMESPACE/NAME` if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub context: Option<String>,
}

/// A Git server with an API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Forge {
    /// GitHub, also on one's own server.
    GitHub,
    /// GitLab.
    GitLab,
    /// Gitea and Forgejo.
    Gitea,
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
    /// In a cluster: whoever signed also needs a Role of the Repository's namespace that allows to edit what the commit changes, as it
    /// was and as it becomes; false if none. It is meant for Ancestors: there, for each file, the signer of the newest commit that
    /// touched it answers, and for what a merge brings whoever merged. With Head the signer of the newest commit answers for all that
    /// changed since the commit that was judged last, also what others committed before. What is not allowed stays as it is, and is
    /// told; the rest applies. It is looked at again when there is a newer commit or something changes in the cluster; after a
    /// restart or a change of this spec, what the cluster does not have is denied until somebody who may commits it anew. A commit
    /// that does not follow the one that was judged last, as where a branch was set back, waits for approval; then its signer
    /// answers for all of it. Roles of the same commit don't count for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<bool>,
}

/// On which commits a signature is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum VerifyMode {
    /// The newest one.
    Head,
    /// Every one since the last that was in force, 1000 at most; of a repository that is new, the newest.
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
    /// The commit in force: the last one of which everything was applied, but for what `spec.verify.roles` denies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The key that signed that commit, where `spec.verify` asks for a signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// Objects that it applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<i32>,
    /// A hash of what was applied of that commit, kinds and names: of two clusters that have the same objects it is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 80))]
    pub inventory: Option<String>,
    /// The ConfigMaps and Secrets that it has applied: they go when they leave Git.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub applied: Vec<AppliedStatus>,
}
