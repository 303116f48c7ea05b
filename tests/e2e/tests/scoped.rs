//! An operator with `watchNamespaces`: it has Roles there, does all that it does elsewhere, and has nothing of the rest of the cluster.

use e2e::control_plane::ControlPlane;
use e2e::fleet::{Fleet, NAMESPACE, skipped};

const DEVICE: &str = "spec: {type: Server, address: 10.0.0.9}\n";

/// That it lacks no right for any of this is looked at when the control plane ends.
#[test]
fn some_namespaces_are_enough() {
    if skipped() {
        return;
    }
    let values = ["watchNamespaces={default,other}", "rbac.aggregate=false", "webhooks.enabled=true"];
    let mut fleet = Fleet::new(ControlPlane::start().unwrap(), 2, &values, |plane| {
        for namespace in ["other", "elsewhere"] {
            plane.must(&["create", "namespace", namespace]).unwrap();
        }
    })
    .unwrap();
    let object = |kind: &str, namespace: &str, name: &str, spec: &str| {
        let metadata = format!("metadata: {{name: {name}, namespace: {namespace}}}\n");
        fleet.plane.apply(&format!("apiVersion: evenkeel.dev/v1alpha1\nkind: {kind}\n{metadata}{spec}")).unwrap();
    };
    object("Device", "elsewhere", "d-9", DEVICE);
    object("Device", "other", "d-9", DEVICE);
    // As the Deployment selects it, from another namespace.
    fleet.plane.must(&["label", "dev", "d-9", "-n", "other", "role=app"]).unwrap();
    object("Role", "other", "readers", "spec: {subjects: [{group: readers}], allow: [{verbs: [view], kinds: [AlertRule]}]}\n");
    let hook =
        "spec: {url: 'https://git.example.com/r', suspend: true, webhook: {provider: GitLab, secretRef: {name: fleet-key, key: hook}}}\n";
    object("Repository", "default", "r", hook);
    fleet.plane.must(&["patch", "secret", "fleet-key", "--patch", r#"{"stringData": {"hook": "the-token-of-the-webhook"}}"#]).unwrap();
    fleet.start_pod().unwrap();

    // A rollout, its status and its events, a finalizer, RBAC of a Role, a webhook, the lease: all there is.
    fleet.deploy("1.0-1", "  onDelete: Remove\n");
    fleet.wait("Complete", "1.0-1", 2);
    fleet.deploy("4.0-1", "  onDelete: Remove\n");
    fleet.wait("RolledBack", "4.0-1", 2);
    assert_eq!(fleet.object("edep", "app")["status"]["counts"]["total"], 2, "a device of another namespace is none of its own");
    fleet.until("events", || {
        let events = fleet.plane.must(&["describe", "edep", "app"]).unwrap();
        if events.contains("RollingBack") { Ok(()) } else { Err(events) }
    });
    fleet.until("what the Role gives", || {
        let given = fleet.plane.kubectl(&["auth", "can-i", "get", "alertrules", "-n", "other", "--as=ann", "--as-group=readers"]).unwrap();
        if given.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&given.stdout).into_owned()) }
    });
    fleet.until("a webhook being taken", || {
        let answer = fleet.pods[0].post("/hooks/default/r", "X-Gitlab-Token: the-token-of-the-webhook\r\nX-Gitlab-Event: Push Hook");
        let answer = answer.map_err(|error| error.to_string())?;
        if answer.starts_with("HTTP/1.1 202") { Ok(()) } else { Err(answer) }
    });
    fleet.plane.must(&["delete", "edep", "app", "--timeout=120s"]).unwrap();

    // The same object is known in one namespace, and not in the other.
    let status = |namespace: &str| fleet.plane.must(&["get", "dev", "d-9", "-n", namespace, "-o", "jsonpath={.status}"]).unwrap();
    assert!(!status("other").is_empty());
    assert!(!fleet.log(&fleet.pods[0]).unwrap().speaks_of("device/other/d-9"), "something was begun on a device of another namespace");
    assert!(status("elsewhere").is_empty(), "{}", status("elsewhere"));
    let whole =
        fleet.plane.must(&["get", "clusterroles,clusterrolebindings", "-l", "app.kubernetes.io/name=evenkeel", "-o", "name"]).unwrap();
    assert!(whole.is_empty(), "{whole}");
    let account = format!("--as=system:serviceaccount:{NAMESPACE}:evenkeel");
    for (verb, resource) in [("list", "devices.evenkeel.dev"), ("get", "secrets"), ("patch", "deployments.evenkeel.dev")] {
        let may = fleet.plane.kubectl(&["auth", "can-i", verb, resource, "-n", "elsewhere", &account]).unwrap();
        assert!(!may.status.success(), "{verb} {resource}");
    }
}
