//! The pod that we run in: a label on it says that it is the one that acts, and by that a Service leads there.

use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use serde_json::json;

use crate::{Cluster, Error, within};

/// The label.
pub const ACTS: &str = "evenkeel.dev/acts";

impl Cluster {
    /// Says on a pod whether it is the one that acts. Returns whether there is such a pod.
    pub async fn mark_pod(&self, namespace: &str, name: &str, acts: bool) -> Result<bool, Error> {
        let kind =
            ApiResource { group: String::new(), version: "v1".into(), api_version: "v1".into(), kind: "Pod".into(), plural: "pods".into() };
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &kind);
        let body = json!({"metadata": {"labels": {ACTS: acts.then_some("true")}}});
        match within(api.patch_metadata(name, &PatchParams::default(), &Patch::Merge(&body))).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
            Err(error) => Err(Error::api(format!("the label {ACTS} of pod {name}"))(error)),
        }
    }
}
