//! Secrets, read by name when they are needed: nobody is allowed to list them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1;
use kube::Client;
use kube::api::Api;
use zeroize::Zeroizing;

use crate::{Cluster, reason, within};

/// For so long a secret that was read is not read again: many devices have the same one.
const FRESH: Duration = Duration::from_secs(10);
/// For so long it is good where the API server can't be asked.
const GOOD: Duration = Duration::from_secs(600);
/// Secrets that are kept; of more, those read longest ago go.
const KEPT: usize = 1000;

/// The values of a secret, by key.
pub type Values = BTreeMap<String, Zeroizing<Vec<u8>>>;

/// What a Secret says, with the value `true`, whose values receivers of notifications may have. Whoever writes a Receiver chooses where they
/// are sent: so whoever writes the Secret says that this is what it is there for.
pub const RECEIVER: &str = "evenkeel.dev/receiver";

/// A secret as it was read.
#[derive(Clone)]
struct Read {
    values: Arc<Values>,
    /// It is for receivers of notifications.
    is_for_receivers: bool,
}

/// What was read, and when, by namespace and name.
type Kept = BTreeMap<(String, String), (Instant, Read)>;

/// The secrets of the cluster.
pub struct Secrets {
    client: Client,
    kept: Mutex<Kept>,
}

impl Cluster {
    /// Its secrets.
    pub fn secrets(&self) -> Secrets {
        Secrets { client: self.client.clone(), kept: Mutex::default() }
    }
}

impl Secrets {
    /// A secret as it is now, or was a moment ago. The error never says what is in it.
    pub async fn get(&self, namespace: &str, name: &str) -> Result<Arc<Values>, String> {
        self.read(namespace, name).await.map(|read| read.values)
    }

    /// The same, where it says that it is for receivers of notifications.
    pub async fn for_receiver(&self, namespace: &str, name: &str) -> Result<Arc<Values>, String> {
        let read = self.read(namespace, name).await?;
        if !read.is_for_receivers {
            return Err(format!(
                "Secret {name} in namespace {namespace} is not for receivers: if it is, kubectl label secret -n {namespace} {name} {RECEIVER}=true"
            ));
        }
        Ok(read.values)
    }

    async fn read(&self, namespace: &str, name: &str) -> Result<Read, String> {
        let place = (namespace.to_owned(), name.to_owned());
        let kept = self.kept().get(&place).cloned();
        if let Some((at, read)) = &kept
            && at.elapsed() < FRESH
        {
            return Ok(read.clone());
        }
        let api: Api<v1::Secret> = Api::namespaced(self.client.clone(), namespace);
        match within(api.get(name)).await {
            Ok(secret) => {
                let labels = secret.metadata.labels.unwrap_or_default();
                let is_for_receivers = labels.get(RECEIVER).is_some_and(|value| value == "true");
                let values = secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, Zeroizing::new(value.0))).collect();
                let read = Read { values: Arc::new(values), is_for_receivers };
                self.keep(place, &read);
                Ok(read)
            }
            Err(kube::Error::Api(status)) if status.code == 404 => {
                self.kept().remove(&place);
                Err(format!("there is no Secret {name} in namespace {namespace}"))
            }
            Err(kube::Error::Api(status)) if status.code == 403 => {
                self.kept().remove(&place);
                Err(format!("the operator may not read Secret {name} in namespace {namespace}: name it in the chart's `secrets`"))
            }
            Err(error) => match kept {
                Some((at, read)) if at.elapsed() < GOOD => Ok(read),
                _ => Err(format!("Secret {name} in namespace {namespace}: {}", reason(&error))),
            },
        }
    }

    fn keep(&self, place: (String, String), read: &Read) {
        let mut kept = self.kept();
        kept.insert(place, (Instant::now(), read.clone()));
        while kept.len() > KEPT {
            let Some(oldest) = kept.iter().min_by_key(|(_, (at, _))| *at).map(|(place, _)| place.clone()) else { return };
            kept.remove(&oldest);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
