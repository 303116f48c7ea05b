//! For whom a token speaks: the API server says so (TokenReview).

use kube::api::{Api, ApiResource, DynamicObject, PostParams};
use serde_json::{Value, json};

use crate::{Cluster, Error, within};

/// The longest name, and the most groups, that are taken.
const LONGEST: usize = 1024;
const GROUPS: usize = 1000;

/// A user as Kubernetes knows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reviewed {
    /// Their name, such as `system:serviceaccount:fleet:ci`.
    pub name: String,
    /// Their groups.
    pub groups: Vec<String>,
}

impl Cluster {
    /// For whom a token speaks; `None`: for nobody.
    pub async fn review(&self, token: &str) -> Result<Option<Reviewed>, Error> {
        let kind = ApiResource {
            group: "authentication.k8s.io".into(),
            version: "v1".into(),
            api_version: "authentication.k8s.io/v1".into(),
            kind: "TokenReview".into(),
            plural: "tokenreviews".into(),
        };
        let mut review = DynamicObject::new("", &kind);
        review.metadata.name = None;
        review.data = json!({"spec": {"token": token}});
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &kind);
        let answer = within(api.create(&PostParams::default(), &review)).await.map_err(Error::api("a token's review"))?;
        Ok(reviewed(&answer.data["status"]))
    }
}

fn reviewed(status: &Value) -> Option<Reviewed> {
    let user = &status["user"];
    let name = user["username"].as_str().filter(|name| !name.is_empty() && name.len() <= LONGEST)?;
    let groups = user["groups"].as_array().map(Vec::as_slice).unwrap_or_default();
    let groups = groups.iter().filter_map(Value::as_str).take(GROUPS).map(str::to_owned).collect();
    (status["authenticated"] == true).then(|| Reviewed { name: name.to_owned(), groups })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_is_authenticated_is_somebody() {
        let user = json!({"username": "system:serviceaccount:fleet:ci", "groups": ["system:authenticated", 7]});
        let known = reviewed(&json!({"authenticated": true, "user": user})).unwrap();
        assert_eq!((known.name.as_str(), known.groups), ("system:serviceaccount:fleet:ci", vec!["system:authenticated".to_owned()]));
        for status in [
            json!({"authenticated": false, "user": user}),
            json!({"authenticated": "true", "user": user}),
            json!({"user": user}),
            json!({"authenticated": true, "user": {"username": ""}}),
            json!({"authenticated": true}),
            Value::Null,
        ] {
            assert_eq!(reviewed(&status), None, "{status}");
        }
    }
}
