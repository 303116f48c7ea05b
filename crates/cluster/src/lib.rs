//! Kubernetes: watch the kinds, write status and events, read secrets, hold a lease.
//!
//! Nothing here decides anything: what is watched becomes the same `Desired` as what is read from Git, and what is reported is what
//! `reconcile::report` says.

pub mod apply;
pub mod ask;
mod by_hand;
pub mod by_user;
pub mod core_object;
pub mod events;
pub mod fields;
pub mod grants;
pub mod health;
pub mod lease;
mod marks;
pub mod pod;
pub mod rbac;
pub mod review;
pub mod secrets;
pub mod status;
mod watch;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crds::{GROUP, Kind, Object, VERSION};
use kube::api::{Api, ApiResource, DynamicObject};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use reconcile::{Key, Name};
use tokio::sync::watch as latest;

use secrets::Secrets;

pub use marks::{FIELD_MANAGER, FINALIZER, OURS};
pub use watch::{Batch, Known};

/// The lease that whoever plans and acts holds.
pub const LEASE: &str = "evenkeel";

/// Time limit of a connection to the API server being made.
const CONNECT: Duration = Duration::from_secs(10);
/// A connection that says nothing for so long is given up.
const SILENCE: Duration = Duration::from_secs(330);
/// Time limit of one request; only watches last longer.
const REQUEST: Duration = Duration::from_secs(30);

/// Waits for an answer, but not for ever: a server that took a request and died would never give one.
pub(crate) async fn within<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, kube::Error> {
    let late = || kube::Error::Service(format!("no answer within {} s", REQUEST.as_secs()).into());
    tokio::time::timeout(REQUEST, request).await.unwrap_or_else(|_| Err(late()))
}

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no way to the API server.
    #[error("no cluster: {0}")]
    Config(String),
    /// The API server refused, or could not be asked.
    #[error("{what}")]
    Api {
        /// What was tried.
        what: String,
        /// Why not.
        #[source]
        source: Box<kube::Error>,
    },
}

impl Error {
    fn api(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |source| Self::Api { what, source: Box::new(source) }
    }

    /// The API server said no, and will say so again.
    pub fn is_final(&self) -> bool {
        let Self::Api { source, .. } = self else { return false };
        matches!(&**source, kube::Error::Api(status) if (400..500).contains(&status.code) && ![401, 408, 409, 429].contains(&status.code))
    }

    /// Somebody else wrote at the same time: it may well work in a moment.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Api { source, .. } if matches!(&**source, kube::Error::Api(status) if status.code == 409))
    }

    /// In one line, with what lies behind it.
    pub fn in_full(&self) -> String {
        match self {
            Self::Config(_) => self.to_string(),
            Self::Api { what, source } => format!("{what}: {}", reason(source)),
        }
    }
}

/// What the API server said, without the layers around it.
pub(crate) fn reason(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{} ({})", status.message, status.code),
        other => {
            let mut text = other.to_string();
            let mut source = std::error::Error::source(other);
            for _ in 0..8 {
                let Some(next) = source else { break };
                let said = next.to_string();
                if !text.contains(&said) {
                    text = format!("{text}: {said}");
                }
                source = next.source();
            }
            text
        }
    }
}

/// The API server, and what is known of our objects there.
pub struct Cluster {
    client: Client,
    config: Config,
    /// The namespaces that are watched; all of them if none.
    namespaces: Vec<String>,
    known: Mutex<BTreeMap<Key, Known>>,
    changes: latest::Sender<u64>,
    secrets: Arc<Secrets>,
}

impl Cluster {
    /// Connects with the kubeconfig given, or as pods and kubectl do.
    pub async fn connect(kubeconfig: Option<&Path>, context: Option<String>, namespaces: Vec<String>) -> Result<Self, Error> {
        let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
        let config = match kubeconfig {
            Some(path) => {
                let read = Kubeconfig::read_from(path).map_err(|error| Error::Config(format!("{}: {error}", path.display())))?;
                Config::from_custom_kubeconfig(read, &options).await.map_err(|error| error.to_string())
            }
            None if options.context.is_some() => Config::from_kubeconfig(&options).await.map_err(|error| error.to_string()),
            None => Config::infer().await.map_err(|error| error.to_string()),
        };
        let mut config = config.map_err(Error::Config)?;
        config.connect_timeout = Some(CONNECT);
        config.write_timeout = Some(REQUEST);
        // A watch is asked for anew after five minutes at the latest, so that nothing is silent for longer.
        config.read_timeout = Some(SILENCE);
        let client = Client::try_from(config.clone()).map_err(|error| Error::Config(reason(&error)))?;
        let secrets = Secrets::new(client.clone());
        Ok(Self { client, config, namespaces, known: Mutex::default(), changes: latest::Sender::default(), secrets })
    }

    /// The same cluster, of whose objects nothing is known yet: for a watch of one's own.
    pub fn beside(&self) -> Self {
        let (client, config, namespaces) = (self.client.clone(), self.config.clone(), self.namespaces.clone());
        let secrets = self.secrets.clone();
        Self { client, config, namespaces, known: Mutex::default(), changes: latest::Sender::default(), secrets }
    }

    /// The namespace that the configuration names: where our own lease lies if nothing else is said.
    pub fn default_namespace(&self) -> &str {
        self.client.default_namespace()
    }

    /// Rises whenever an object says something else, comes or goes, or changes hands; not with its status.
    pub fn changes(&self) -> u64 {
        *self.changes.borrow()
    }

    /// Wakes whoever waits for [`Self::changes`] to rise.
    pub fn on_change(&self) -> latest::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Whether objects of a namespace are watched.
    pub fn watches(&self, namespace: &str) -> bool {
        self.namespaces.is_empty() || self.namespaces.iter().any(|watched| watched == namespace)
    }

    /// The objects of a kind that are there to stay, as they were last good.
    pub fn objects_of(&self, kind: Kind) -> Vec<(Name, Arc<Object>)> {
        let table = self.table();
        let of = table.iter().filter(|((of, _), known)| *of == kind && !known.deleting);
        of.filter_map(|((_, name), known)| Some((name.clone(), known.object.clone()?))).collect()
    }

    /// What is known of an object.
    pub fn known(&self, key: &Key) -> Option<Known> {
        self.table().get(key).cloned()
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<Key, Known>> {
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn objects(&self, kind: Kind, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &resource(kind))
    }
}

/// A kind as the API server names it.
fn resource(kind: Kind) -> ApiResource {
    ApiResource {
        group: GROUP.into(),
        version: VERSION.into(),
        api_version: format!("{GROUP}/{VERSION}"),
        kind: kind.as_str().into(),
        plural: kind.plural().into(),
    }
}
