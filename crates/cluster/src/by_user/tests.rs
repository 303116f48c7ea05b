use crds::Kind;
use reconcile::Name;

use super::*;

fn key() -> Key {
    (Kind::Device, Name::new("fleet", "web"))
}

fn value(spec: &Value, labels: &Value) -> Value {
    json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "Device", "metadata": {"name": "web", "namespace": "fleet", "labels": labels}, "spec": spec})
}

fn object(spec: &Value, labels: &Value) -> Object {
    Object::from_value(Kind::Device, value(spec, labels)).unwrap()
}

fn live(spec: &Value, labels: &Value, managed: &[(&str, &str, Value)]) -> Live {
    let mut sent = value(spec, labels);
    sent["metadata"]["uid"] = json!("u-1");
    sent["metadata"]["resourceVersion"] = json!("17");
    sent["metadata"]["annotations"] = json!({crate::marks::LAST_APPLIED: "{}"});
    let managed = managed.iter().map(|(manager, operation, fields)| {
        json!({"manager": manager, "operation": operation, "apiVersion": "evenkeel.dev/v1alpha1", "fieldsType": "FieldsV1", "fieldsV1": fields})
    });
    sent["metadata"]["managedFields"] = managed.collect();
    Live::of(&key(), serde_json::from_value(sent).unwrap())
}

/// Fields that are said again would be ours too, and whoever manages them would meet with us at each change.
#[test]
fn only_what_changes_and_what_was_applied_before_is_applied() {
    let spec = json!({"type": "Server", "address": "10.0.0.1", "class": "big", "suspend": true});
    let ours = json!({"f:spec": {"f:suspend": {}}, "f:metadata": {"f:labels": {"f:rack": {}}}});
    let theirs =
        json!({"f:spec": {"f:type": {}, "f:address": {}, "f:class": {}}, "f:metadata": {"f:labels": {"f:site": {}, "f:role": {}}}});
    let live =
        live(&spec, &json!({"site": "ams", "role": "web", "rack": "7"}), &[(API_MANAGER, "Apply", ours), ("kubectl", "Apply", theirs)]);
    let wanted = json!({"type": "Server", "address": "10.0.0.2", "suspend": true});
    let body = body(&key(), &live, &object(&wanted, &json!({"site": "ams", "role": "db", "rack": "7"})).to_value());
    let metadata =
        json!({"name": "web", "namespace": "fleet", "uid": "u-1", "resourceVersion": "17", "labels": {"role": "db", "rack": "7"}});
    let kind = json!("Device");
    let wanted = json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": {"address": "10.0.0.2", "suspend": true}});
    assert_eq!(body, wanted, "what kubectl keeps on the object is no annotation of it");
}

/// An apply takes away what it does not say only where nobody else says it, in lists too; then it must not look done.
#[test]
fn what_an_apply_leaves_is_named_with_whose_it_is() {
    let probes = json!([{"name": "a", "tcp": {"port": 1}}, {"name": "b", "tcp": {"port": 2}}]);
    let spec = json!({"type": "Server", "address": "10.0.0.1", "class": "big", "probes": probes});
    let theirs = json!({"f:spec": {"f:class": {}, "f:probes": {"k:{\"name\":\"b\"}": {}}}, "f:metadata": {"f:labels": {"f:site": {}}}});
    let there =
        live(&spec, &json!({"site": "ams"}), &[("kubectl", "Apply", theirs), (API_MANAGER, "Update", json!({"f:spec": {"f:class": {}}}))]);
    let wanted = json!({"type": "Server", "address": "10.0.0.1", "probes": [{"name": "a", "tcp": {"port": 1}}]});
    let rest = Rest::of(&there, &object(&wanted, &json!({})).to_value());
    let fields: Vec<&str> = rest.fields.iter().map(|(_, _, field)| field.as_str()).collect();
    assert_eq!(fields, ["site", "class", "probes"]);
    let patch = json!({"metadata": {"labels": {"site": null}}, "spec": {"class": null, "probes": [{"name": "a", "tcp": {"port": 1}}]}});
    assert_eq!(rest.patch, patch);
    for (part, _, field) in &rest.fields {
        assert_eq!(there.others(part, field), ["kubectl"], "{field}");
    }
    assert!(there.others("/spec", "address").is_empty());
    let same = Rest::of(&there, &object(&spec, &json!({"site": "ams"})).to_value());
    assert!(same.fields.is_empty(), "{:?}", same.fields);
}

/// As an API server of version 1.37 says it.
#[test]
fn why_it_was_refused_is_told_apart() {
    let refused = |code: u16, reason: &str, message: &str, causes: &Value| {
        let status = json!({"status": "Failure", "code": code, "reason": reason, "message": message, "details": {"causes": causes}});
        super::refused(&kube::Error::Api(Box::new(serde_json::from_value(status).unwrap())))
    };
    let cannot = "devices.evenkeel.dev \"web\" is forbidden: User \"ann\" cannot patch resource \"devices\" in API group \"evenkeel.dev\" in the namespace \"fleet\"";
    assert_eq!(refused(403, "Forbidden", cannot, &json!([])), Refused::Forbidden(cannot.into()));
    let lent = "users \"ann\" is forbidden: User \"system:serviceaccount:keel:evenkeel\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope";
    assert_eq!(refused(403, "Forbidden", lent, &json!([])), Refused::NotLent(lent.into()));
    assert_eq!(
        refused(409, "AlreadyExists", "devices.evenkeel.dev \"web\" already exists", &json!([])),
        Refused::Exists("devices.evenkeel.dev \"web\" already exists".into())
    );
    assert!(matches!(refused(409, "Conflict", "the object has been modified", &json!([])), Refused::Moved(_)));
    let causes = json!([{"reason": "FieldManagerConflict", "message": "conflict with \"kubectl\"", "field": ".spec.address"}]);
    let held = vec![Held { by: "kubectl".into(), field: "spec.address".into() }];
    assert_eq!(refused(409, "Conflict", "Apply failed with 1 conflict", &causes), Refused::Managed(held));
    let causes = json!([{"reason": "FieldValueInvalid", "message": "Invalid value: \"object\": type can't\nbe changed", "field": "spec"}, {"message": "x", "field": "<nil>"}]);
    let wrong = |field: &str, said: &str| Wrong { field: field.into(), said: said.into() };
    assert_eq!(
        refused(422, "Invalid", "is invalid", &causes),
        Refused::Invalid(vec![wrong("spec", "type can't be changed"), wrong("", "x")])
    );
    assert_eq!(refused(400, "BadRequest", "no", &json!([])), Refused::Invalid(vec![wrong("", "no")]));
    assert_eq!(refused(404, "NotFound", "no", &json!([])), Refused::Missing);
    for code in [401, 429, 500, 503, 504] {
        assert!(matches!(refused(code, "", "later", &json!([])), Refused::Away(_)), "{code}");
    }
}
