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

/// What was read, and when, by namespace and name.
type Kept = BTreeMap<(String, String), (Instant, Arc<Values>)>;

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
        let place = (namespace.to_owned(), name.to_owned());
        let kept = self.kept().get(&place).cloned();
        if let Some((at, values)) = &kept
            && at.elapsed() < FRESH
        {
            return Ok(values.clone());
        }
        let api: Api<v1::Secret> = Api::namespaced(self.client.clone(), namespace);
        match within(api.get(name)).await {
            Ok(secret) => {
                let values = secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, Zeroizing::new(value.0))).collect();
                let values = Arc::new(values);
                self.keep(place, &values);
                Ok(values)
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
                Some((at, values)) if at.elapsed() < GOOD => Ok(values),
                _ => Err(format!("Secret {name} in namespace {namespace}: {}", reason(&error))),
            },
        }
    }

    fn keep(&self, place: (String, String), values: &Arc<Values>) {
        let mut kept = self.kept();
        kept.insert(place, (Instant::now(), values.clone()));
        while kept.len() > KEPT {
            let Some(oldest) = kept.iter().min_by_key(|(_, (at, _))| *at).map(|(place, _)| place.clone()) else { return };
            kept.remove(&oldest);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
