//! What a person puts into the cluster from the command line, with their own rights: server-side apply, as `kubectl apply --server-side`.

use crds::Object;
use kube::api::{Patch, PatchParams};
use reconcile::Key;

use crate::{Cluster, Error, within};

/// The manager of what is applied so.
const MANAGER: &str = "evenkeel-cli";

impl Cluster {
    /// Applies an object. Fields that others manage are left to them: that is a conflict, and nothing is written.
    pub async fn apply_by_hand(&self, key: &Key, object: &Object) -> Result<(), Error> {
        let (kind, name) = key;
        let parameters = PatchParams::apply(MANAGER);
        let body = Patch::Apply(object.to_value());
        let written = within(self.objects(*kind, name.namespace()).patch(name.name(), &parameters, &body)).await;
        written.map(drop).map_err(Error::api(format!("{}/{name}", kind.as_str())))
    }
}
