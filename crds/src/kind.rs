//! The kinds by name, and an object of any of them.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{AlertRule, Deployment, Device, DeviceClass, Receiver, Repository, Role, Silence};

/// The API group of all kinds.
pub const GROUP: &str = "evenkeel.dev";
/// The API version of all kinds.
pub const VERSION: &str = "v1alpha1";

macro_rules! kinds {
    ($($kind:ident, $plural:literal, $short:literal;)*) => {
        /// The kinds of `evenkeel.dev/v1alpha1`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
        pub enum Kind { $(#[doc = concat!("`", stringify!($kind), "`")] $kind),* }

        impl Kind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$kind),*];

            /// As written in `kind:`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$kind => stringify!($kind)),* }
            }

            /// As in `kubectl get PLURAL`.
            pub fn plural(self) -> &'static str {
                match self { $(Self::$kind => $plural),* }
            }

            /// As in `kubectl get SHORT`.
            pub fn short(self) -> &'static str {
                match self { $(Self::$kind => $short),* }
            }
        }

        /// An object of any kind.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Object { $(#[doc = concat!("`", stringify!($kind), "`")] $kind(Box<$kind>)),* }

        impl Object {
            /// Reads an object of a kind.
            pub fn from_value(kind: Kind, value: Value) -> Result<Self, serde_json::Error> {
                Ok(match kind { $(Kind::$kind => Self::$kind(Box::new(serde_json::from_value(value)?))),* })
            }

            /// Its kind.
            pub fn kind(&self) -> Kind {
                match self { $(Self::$kind(_) => Kind::$kind),* }
            }

            /// Its metadata.
            pub fn metadata(&self) -> &kube::core::ObjectMeta {
                match self { $(Self::$kind(object) => &object.metadata),* }
            }

            /// Its metadata, to be changed.
            pub fn metadata_mut(&mut self) -> &mut kube::core::ObjectMeta {
                match self { $(Self::$kind(object) => &mut object.metadata),* }
            }

            /// Whether it says the same, whatever its metadata and its status are.
            pub fn says_the_same(&self, other: &Self) -> bool {
                match (self, other) {
                    $((Self::$kind(a), Self::$kind(b)) => a.spec == b.spec,)*
                    _ => false,
                }
            }

            /// As JSON.
            pub fn to_value(&self) -> Value {
                match self { $(Self::$kind(object) => serde_json::to_value(object)),* }.unwrap_or_default()
            }
        }

        fn definition(kind: Kind) -> CustomResourceDefinition {
            match kind { $(Kind::$kind => $kind::crd()),* }
        }
    };
}

kinds! {
    AlertRule, "alertrules", "arule";
    Deployment, "deployments", "edep";
    Device, "devices", "dev";
    DeviceClass, "deviceclasses", "dclass";
    Receiver, "receivers", "recv";
    Repository, "repositories", "erepo";
    Role, "roles", "erole";
    Silence, "silences", "sil";
}

impl Kind {
    /// Reads `Device`, `device`, `devices` or `dev`, and so for each kind.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let is = |kind: &Self| [kind.as_str().to_ascii_lowercase().as_str(), kind.plural(), kind.short()].contains(&text.as_str());
        Self::ALL.iter().copied().find(is)
    }
}

impl Object {
    /// Its name.
    pub fn name(&self) -> &str {
        self.metadata().name.as_deref().unwrap_or_default()
    }

    /// Its namespace, `default` if none is written.
    pub fn namespace(&self) -> &str {
        self.metadata().namespace.as_deref().unwrap_or("default")
    }

    /// Its labels.
    pub fn labels(&self) -> BTreeMap<String, String> {
        self.metadata().labels.clone().unwrap_or_default()
    }
}

/// The definitions of all kinds.
pub fn all() -> Vec<CustomResourceDefinition> {
    Kind::ALL.iter().map(|kind| definition(*kind)).collect()
}

/// A kind's schema, as in its definition's `openAPIV3Schema`.
pub fn schema(kind: Kind) -> &'static Value {
    static SCHEMAS: OnceLock<BTreeMap<Kind, Value>> = OnceLock::new();
    let schemas = SCHEMAS.get_or_init(|| {
        let read = |kind: &Kind| {
            let definition = serde_json::to_value(definition(*kind)).unwrap_or_default();
            (*kind, definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone())
        };
        Kind::ALL.iter().map(read).collect()
    });
    &schemas[&kind]
}

/// A definition as YAML, as it lies beside this crate.
pub fn yaml(definition: &CustomResourceDefinition) -> String {
    let text = serde_yaml::to_string(definition).unwrap_or_default();
    format!("# Generated from crds/src by `cargo xtask generate`; do not edit.\n{text}")
}

/// A rule of a kind's schema that an object breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The field, such as `spec.probes[0]`; empty for the whole object.
    pub path: String,
    /// The rule's own message.
    pub message: String,
}

/// Evaluates the kind's CEL rules on an object, as the API server would.
pub fn validate_cel(kind: Kind, object: &Value) -> Vec<Violation> {
    static COMPILED: OnceLock<BTreeMap<Kind, kube::core::cel::CompiledSchema>> = OnceLock::new();
    let compiled = COMPILED.get_or_init(|| Kind::ALL.iter().map(|kind| (*kind, kube::core::cel::compile_schema(schema(*kind)))).collect());
    match kube::core::cel::validate_compiled(&compiled[&kind], object, None) {
        Ok(()) => Vec::new(),
        Err(errors) => {
            let read = |error: kube::core::cel::ValidationError| Violation {
                path: error.field_path.trim_start_matches('.').to_owned(),
                message: error.message,
            };
            errors.into_vec().into_iter().map(read).collect()
        }
    }
}
