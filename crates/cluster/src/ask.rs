//! Asking for a look at an object: by an annotation, which whichever replica acts sees, and acknowledges in `status.lastHandledRequestAt`.

use kube::api::{Patch, PatchParams};
use reconcile::Key;
use serde_json::json;

use crate::{Cluster, Error, within};

/// Whoever writes another value here asks for a look now.
pub const REQUESTED_AT: &str = "evenkeel.dev/requested-at";

/// The manager of that annotation where a webhook asked.
const MANAGER: &str = "evenkeel-webhook";

impl Cluster {
    /// Asks for a look at an object, and at no other one of that name. Returns whether it is there.
    pub async fn ask_for_a_look(&self, key: &Key, at: &str) -> Result<bool, Error> {
        let Some(known) = self.known(key) else { return Ok(false) };
        let (kind, name) = key;
        // By a merge, so that whoever applies the object goes on owning all that it says.
        let body = json!({"metadata": {"uid": known.uid, "annotations": {REQUESTED_AT: at}}});
        let parameters = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        match within(self.objects(*kind, name.namespace()).patch(name.name(), &parameters, &Patch::Merge(&body))).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
            Err(error) => Err(Error::api(format!("the annotation {REQUESTED_AT} of {} {name}", kind.as_str()))(error)),
        }
    }
}
