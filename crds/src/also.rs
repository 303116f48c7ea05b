//! What a Repository applies beside our own kinds: ConfigMaps and Secrets, where it is told to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::meta::SecretRef;

/// ConfigMaps and Secrets that one Repository may apply: its status lists them.
pub const MAX_CORE_OBJECTS: usize = 100;

/// A kind of Kubernetes' own (`v1`) that a Repository may apply. There will be no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum CoreKind {
    /// Plain or encrypted.
    ConfigMap,
    /// Encrypted by SOPS only.
    Secret,
}

impl CoreKind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::ConfigMap, Self::Secret];

    /// As a document names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }

    /// As a URL of the API server has it.
    pub fn plural(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmaps",
            Self::Secret => "secrets",
        }
    }
}

/// What encrypted documents are decrypted with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DecryptionSpec {
    /// The Secret with age identities, in keys that end in `.agekey`.
    pub secret_ref: SecretRef,
}

/// An object that was applied.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppliedStatus {
    /// Its kind.
    pub kind: CoreKind,
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
}
