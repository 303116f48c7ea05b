//! The kinds on a real API server: what `kubectl apply` refuses, `evenkeel check` refuses, and in the same words where the words are ours; and
//! whatever kubectl creates, changes and deletes, the operator follows.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use e2e::control_plane::{ControlPlane, programs};
use e2e::engine::Engine;
use e2e::fleet::NAMESPACE;
use e2e::wait_until;
use serde_json::Value;

/// Manifests that nobody may get in: kind, spec, the field that both name, and our own message where a rule of ours says it.
const BAD: &[(&str, &str, &str, &str)] = &[
    ("Device", "{type: Server, adress: 10.0.0.1}", "adress", ""),
    ("Device", "{type: Server}", "address", ""),
    ("Device", "{address: 10.0.0.1}", "type", ""),
    ("Device", "{type: Toaster, address: 10.0.0.1}", "type", ""),
    ("Device", "{type: Server, address: ''}", "address", ""),
    ("Device", "{type: Server, address: 'http://10.0.0.1/'}", "address", ""),
    ("Device", "{type: Server, address: 17}", "address", ""),
    ("Device", "{type: Server, address: 10.0.0.1, access: {}}", "access", "exactly one of ssh, local"),
    ("Device", "{type: Server, address: 10.0.0.1, access: {ssh: {}, local: {}}}", "access", "exactly one of ssh, local"),
    ("Device", "{type: Server, address: 10.0.0.1, access: {ssh: {port: 0}}}", "port", ""),
    ("Device", "{type: Server, address: 10.0.0.1, access: {ssh: {port: 65536}}}", "port", ""),
    ("Device", "{type: Server, address: 10.0.0.1, access: {ssh: {port: '22'}}}", "port", ""),
    ("Device", "{type: Server, address: 10.0.0.1, access: {ssh: {user: 'root; id'}}}", "user", ""),
    ("Device", "{type: Server, address: 10.0.0.1, access: {ssh: {become: su}}}", "become", ""),
    ("Device", "{type: Server, address: 10.0.0.1, access: {ssh: {secretRef: {name: ../key}}}}", "name", ""),
    ("Device", "{type: Server, address: 10.0.0.1, access: {ssh: {secretRef: {}}}}", "name", ""),
    ("Device", "{type: Server, address: 10.0.0.1, access: {ssh: {hostKeys: [a, b, c, d, e, f, g, h, i]}}}", "hostKeys", ""),
    ("Device", "{type: Server, address: 10.0.0.1, metrics: {}}", "metrics", "exactly one of ssh, nodeExporter, snmp"),
    ("Device", "{type: Server, address: 10.0.0.1, metrics: {ssh: {}, snmp: {}}}", "metrics", "exactly one of ssh, nodeExporter, snmp"),
    ("Device", "{type: Server, address: 10.0.0.1, metrics: {ssh: {}, interval: soon}}", "interval", ""),
    ("Device", "{type: Server, address: 10.0.0.1, probes: [{name: a}]}", "probes", "exactly one of icmp, tcp, http, tls, dns, snmp, ssh"),
    (
        "Device",
        "{type: Server, address: 10.0.0.1, probes: [{name: a, tcp: {port: 1}, icmp: {}}]}",
        "probes",
        "exactly one of icmp, tcp, http, tls, dns, snmp, ssh",
    ),
    ("Device", "{type: Server, address: 10.0.0.1, probes: [{name: A_B, icmp: {}}]}", "name", ""),
    ("Device", "{type: Server, address: 10.0.0.1, probes: [{name: a, icmp: {}}, {name: a, icmp: {}}]}", "probes", ""),
    ("Device", "{type: Server, address: 10.0.0.1, probes: [{name: a, icmp: {count: 21}}]}", "count", ""),
    ("Device", "{type: Server, address: 10.0.0.1, probes: [{name: a, icmp: {maxLoss: 101%}}]}", "maxLoss", ""),
    ("Device", "{type: Server, address: 10.0.0.1, probes: [{name: a, icmp: {}, timeout: 5}]}", "timeout", ""),
    ("Device", "{type: Server, address: 10.0.0.1, probes: [{name: a, icmp: {}, failures: 0}]}", "failures", ""),
    ("Device", "{type: Server, address: 10.0.0.1, probes: [{name: a, http: {port: 80, path: healthz}}]}", "path", ""),
    ("Device", "{type: Server, address: 10.0.0.1, probes: [{name: a, http: {port: 80, status: [99]}}]}", "status", ""),
    ("Device", "{type: Server, address: 10.0.0.1, probes: [{name: a, http: {port: 80, method: DELETE}}]}", "method", ""),
    ("Device", "{type: Server, address: 10.0.0.1, probes: [{name: a, ssh: {command: 'true', exitCode: 256}}]}", "exitCode", ""),
    ("Device", "{type: Server, address: 10.0.0.1, maintenance: [{schedule: '0 2 * * SUN'}]}", "duration", ""),
    ("Device", "{type: Server, address: 10.0.0.1, parents: core}", "parents", ""),
    ("DeviceClass", "{labels: [a]}", "labels", ""),
    ("DeviceClass", "{colour: red}", "colour", ""),
    ("DeviceClass", "{access: {ssh: {}, local: {}}}", "access", "exactly one of ssh, local"),
    ("Deployment", "{selector: {}}", "spec", "a package or a file: without content there is nothing to deploy"),
    ("Deployment", "{package: {apt: {name: a, version: '1'}}}", "selector", ""),
    (
        "Deployment",
        "{selector: {}, package: {apt: {name: a, version: '1'}}, packages: [{apt: {name: b, version: '1'}}]}",
        "spec",
        "package or packages, not both",
    ),
    (
        "Deployment",
        "{selector: {}, package: {apt: {name: a, version: '1'}}, service: {unit: a}, services: [{unit: b}]}",
        "spec",
        "service or services, not both",
    ),
    ("Deployment", "{selector: {}, package: {}}", "package", "exactly one of apt, dnf, apk, archive"),
    (
        "Deployment",
        "{selector: {}, package: {apt: {name: a, version: '1'}, apk: {name: a, version: '1'}}}",
        "package",
        "exactly one of apt, dnf, apk, archive",
    ),
    ("Deployment", "{selector: {}, package: {apt: {name: 'a; reboot', version: '1'}}}", "name", ""),
    ("Deployment", "{selector: {}, package: {apt: {name: a}}}", "version", ""),
    ("Deployment", "{selector: {}, package: {apt: {name: a, version: latest!}}}", "version", ""),
    ("Deployment", "{selector: {}, package: {archive: {url: 'ftp://x/y', sha256: ab, into: /opt/a}}}", "sha256", ""),
    ("Deployment", "{selector: {}, files: [{path: etc/motd, content: a}]}", "path", ""),
    ("Deployment", "{selector: {}, files: [{path: /etc/motd}]}", "files", "exactly one of content, template, source, secretRef"),
    (
        "Deployment",
        "{selector: {}, files: [{path: /etc/motd, content: a, template: b}]}",
        "files",
        "exactly one of content, template, source, secretRef",
    ),
    ("Deployment", "{selector: {}, files: [{path: /etc/motd, content: a, mode: rw}]}", "mode", ""),
    (
        "Deployment",
        "{selector: {matchExpressions: [{key: a, operator: In}]}, files: [{path: /etc/motd, content: a}]}",
        "matchExpressions",
        "values: In and NotIn need some, Exists and DoesNotExist take none",
    ),
    (
        "Deployment",
        "{selector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}, files: [{path: /etc/motd, content: a}]}",
        "matchExpressions",
        "values: In and NotIn need some, Exists and DoesNotExist take none",
    ),
    ("Deployment", "{selector: {matchLabels: {a: 1}}, files: [{path: /etc/motd, content: a}]}", "matchLabels", ""),
    ("Deployment", "{selector: {}, files: [{path: /etc/motd, content: a}], strategy: {batches: [{max: ten}]}}", "max", ""),
    ("Deployment", "{selector: {}, files: [{path: /etc/motd, content: a}], strategy: {soak: 1 minute}}", "soak", ""),
    ("Deployment", "{selector: {}, files: [{path: /etc/motd, content: a}], historyLimit: 1}", "historyLimit", ""),
    ("Deployment", "{selector: {}, files: [{path: /etc/motd, content: a}], onFailure: Panic}", "onFailure", ""),
    ("Deployment", "{selector: {}, files: [{path: /etc/motd, content: a}], rollbackTo: 0}", "rollbackTo", ""),
    ("Deployment", "{selector: {}, files: [{path: /etc/motd, content: a}], gate: {alerts: [loud]}}", "alerts", ""),
    ("AlertRule", "{severity: critical}", "expr", ""),
    ("AlertRule", "{expr: 'true', severity: loud}", "severity", ""),
    ("AlertRule", "{expr: 'true', severity: info, for: long}", "for", ""),
    ("AlertRule", "{expr: 'true', severity: info, notify: {}}", "receivers", ""),
    ("Role", "{subjects: []}", "subjects", ""),
    ("Role", "{subjects: [{}]}", "subjects", "exactly one of user, group, signer"),
    ("Role", "{subjects: [{user: a, group: b}]}", "subjects", "exactly one of user, group, signer"),
    ("Role", "{subjects: [{user: a}], allow: [{verbs: [rule]}]}", "verbs", ""),
    ("Role", "{subjects: [{user: a}], login: {user: 'Root!', authorizedKeys: [a]}}", "user", ""),
    ("Repository", "{ref: {branch: main}}", "url", ""),
    ("Repository", "{url: 'https://git.example.com/a', ref: {}}", "ref", "exactly one of branch, tag, commit"),
    ("Repository", "{url: 'https://git.example.com/a', ref: {branch: a, tag: b}}", "ref", "exactly one of branch, tag, commit"),
    ("Repository", "{url: 'https://git.example.com/a', ref: {commit: HEAD}}", "commit", ""),
    ("Repository", "{url: 'https://git.example.com/a', interval: hourly}", "interval", ""),
    ("Repository", "{url: 'https://git.example.com/a', webhook: {provider: GitHub}}", "secretRef", ""),
    ("Repository", "{url: 'https://git.example.com/a', webhook: {provider: Bitbucket, secretRef: {name: a}}}", "provider", ""),
    ("Repository", "{url: 'https://git.example.com/a', webhook: {provider: GitHub, secretRef: {name: a}, token: b}}", "token", ""),
    ("Repository", "{url: 'https://git.example.com/a', commitStatus: {secretRef: {name: a}}}", "provider", ""),
    ("Repository", "{url: 'https://git.example.com/a', commitStatus: {provider: Generic, secretRef: {name: a}}}", "provider", ""),
    (
        "Repository",
        "{url: 'https://git.example.com/a', commitStatus: {provider: Gitea, secretRef: {name: a}, url: 'http://git.example.com'}}",
        "url",
        "",
    ),
    ("Repository", "{url: 'https://git.example.com/a', commitStatus: {provider: Gitea, secretRef: {name: a}, context: ''}}", "context", ""),
    ("Receiver", "{}", "spec", "exactly one of email, sms, webhook"),
    (
        "Receiver",
        "{webhook: {url: 'https://a.example.com'}, email: {from: a@b.c, server: mail, to: [d@e.f]}}",
        "spec",
        "exactly one of email, sms, webhook",
    ),
    ("Receiver", "{webhook: {url: 'gopher://a'}}", "url", ""),
    ("Receiver", "{email: {from: a@b.c, server: mail, to: []}}", "to", ""),
    ("Receiver", "{sms: {to: ['0612345678'], gateway: {url: 'https://a.example.com', body: x}}}", "to", ""),
    ("Silence", "{until: '2030-01-01T00:00:00Z', reason: x}", "spec", "matchLabels or devices: a silence must say what it mutes"),
    ("Silence", "{matchLabels: {a: b}, reason: x}", "until", ""),
    ("Silence", "{matchLabels: {a: b}, until: tomorrow, reason: x}", "until", ""),
];

fn binary() -> PathBuf {
    std::env::var("EVENKEEL_BIN").expect("EVENKEEL_BIN names no evenkeel: run the tests by `cargo xtask test`").into()
}

/// A control plane without our kinds. `None`: none can be had here.
fn bare() -> Option<ControlPlane> {
    if let Some(why) = programs::unavailable() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{why}, and in CI nothing is skipped");
        eprintln!("SKIPPED: {why}");
        return None;
    }
    Some(ControlPlane::start().unwrap())
}

fn plane() -> Option<ControlPlane> {
    let plane = bare()?;
    plane.install_crds().unwrap();
    Some(plane)
}

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// `evenkeel check` on a text: how it ended, and what it said.
fn check(folder: &Path, text: &str) -> (Option<i32>, String) {
    std::fs::write(folder.join("it.yaml"), text).unwrap();
    let output = Command::new(binary()).arg("check").arg(folder).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn kubectl_and_check_refuse_the_same() {
    let Some(plane) = plane() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for (kind, spec, field, message) in BAD {
        let text = format!("apiVersion: evenkeel.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: it, namespace: default}}\nspec: {spec}\n");
        let output = plane.with(&["apply", "--server-side", "--dry-run=server", "--validate=strict"], &text).unwrap();
        let theirs = String::from_utf8_lossy(&output.stderr).into_owned();
        let (code, ours) = check(folder.path(), &text);
        let mut fails = |what: &str| wrong.push(format!("{what}: {kind} {spec}\n  kubectl: {theirs}\n  check ({code:?}): {ours}"));
        if output.status.success() {
            fails("kubectl takes it");
        }
        if code != Some(1) || !ours.contains("error") {
            fails("check takes it");
        }
        for (who, said) in [("kubectl", &theirs), ("check", &ours)] {
            if !said.contains(field) {
                fails(&format!("{who} does not name {field}"));
            }
            if !said.contains(message) {
                fails(&format!("{who} does not say it in our words"));
            }
        }
    }
    assert!(BAD.len() >= 60 && wrong.is_empty(), "{} of {}:\n{}", wrong.len(), BAD.len(), wrong.join("\n"));
}

/// An object of each kind, what they refer to first, and a change of its spec.
const LIVES: &[(&str, &str, &str)] = &[
    ("DeviceClass", "{labels: {site: ams1}}", r#"{"labels": {"site": "fra1"}}"#),
    ("Receiver", "{webhook: {url: 'https://chat.example.com/hook'}}", r#"{"suspend": true}"#),
    ("Device", "{type: Server, address: 10.0.0.1, class: it}", r#"{"address": "10.0.0.2"}"#),
    ("Deployment", "{selector: {matchLabels: {role: web}}, files: [{path: /etc/motd, content: a}]}", r#"{"paused": true}"#),
    ("AlertRule", "{expr: logs.errors > 5, severity: warning, notify: {receivers: [it]}}", r#"{"severity": "critical"}"#),
    ("Silence", "{matchLabels: {site: ams1}, until: '2037-01-01T00:00:00Z', reason: works}", r#"{"reason": "more works"}"#),
    ("Role", "{subjects: [{user: alice}], allow: [{verbs: [view], kinds: [Device]}]}", r#"{"suspend": true}"#),
    ("Repository", "{url: 'https://git.example.com/fleet', suspend: true}", r#"{"interval": "7m"}"#),
];

fn until(engine: &Engine, what: &str, look: impl FnMut() -> Result<(), String>) {
    wait_until(what, Duration::from_secs(120), look).unwrap_or_else(|error| panic!("{error}\n{}", engine.tail()));
}

/// Every kind is created, changed and deleted with kubectl: its status says of which generation it speaks, and what is gone is gone for the
/// operator too.
#[test]
fn every_kind_is_created_changed_and_deleted_with_kubectl() {
    let Some(plane) = bare() else { return };
    plane.install_chart("evenkeel", NAMESPACE, &[]).unwrap();
    let offered = plane.must(&["api-resources", "--api-group=evenkeel.dev", "-o", "name"]).unwrap();
    assert_eq!(offered.lines().count(), LIVES.len(), "an object of each kind: {offered}");
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "no device is reached").unwrap();
    let mut engine = Engine::with(&binary(), folder.path(), &key).unwrap();
    engine.kubeconfig = Some(plane.service_account(NAMESPACE, "evenkeel").unwrap());
    engine.start().unwrap();
    // RBAC has Roles of its own.
    let resource = |kind: &str| format!("{}.evenkeel.dev", kind.to_lowercase());
    let is_followed = |kind: &str, generation: i64| {
        until(&engine, &format!("generation {generation} of {kind} being followed"), || {
            let text = plane.must(&["get", &resource(kind), "it", "-o", "json"]).map_err(|error| error.to_string())?;
            let object: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
            let is_so = object["metadata"]["generation"] == generation && object["status"]["observedGeneration"] == generation;
            if is_so { Ok(()) } else { Err(text) }
        });
    };
    // As the operator has them.
    let known = |kind: &str| -> Result<usize, String> {
        let text = engine.text(&["get", kind, "-o", "json"]).map_err(|error| error.to_string())?;
        let list: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
        list["items"].as_array().map(Vec::len).ok_or(text)
    };

    for (kind, spec, _) in LIVES {
        let text = format!("apiVersion: evenkeel.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: it, namespace: default}}\nspec: {spec}\n");
        let made = plane.with(&["create"], &text).unwrap();
        assert!(made.status.success(), "{kind}: {}", String::from_utf8_lossy(&made.stderr));
        is_followed(kind, 1);
        assert_eq!(known(kind), Ok(1), "{kind}");
    }
    for (kind, _, change) in LIVES {
        let patch = format!(r#"{{"spec": {change}}}"#);
        plane.must(&["patch", &resource(kind), "it", "--type=merge", "--patch", &patch]).unwrap();
        is_followed(kind, 2);
    }
    for (kind, ..) in LIVES.iter().rev() {
        plane.must(&["delete", &resource(kind), "it", "--timeout=60s"]).unwrap();
        assert!(!plane.kubectl(&["get", &resource(kind), "it"]).unwrap().status.success(), "{kind} is there");
        until(&engine, &format!("{kind} being gone"), || match known(kind) {
            Ok(0) => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }
}

#[test]
fn what_can_not_be_changed_is_refused_in_our_words() {
    let Some(plane) = plane() else { return };
    let device = |kind: &str| {
        format!("apiVersion: evenkeel.dev/v1alpha1\nkind: Device\nmetadata: {{name: it}}\nspec: {{type: {kind}, address: 10.0.0.1}}\n")
    };
    plane.apply(&device("Server")).unwrap();
    let output = plane.with(&["apply", "--server-side"], &device("Network")).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("type can't be changed: delete the device and create it anew"), "{said}");
}

/// A later version's schema may be stricter. What is there and does not fit it any more can still be changed elsewhere, and told of: only what
/// is changed has to fit (Kubernetes calls it ratcheting).
#[test]
fn what_fits_a_stricter_schema_no_more_can_be_changed_elsewhere() {
    let Some(plane) = plane() else { return };
    let device = |name: &str, address: &str, more: &str| {
        format!(
            "apiVersion: evenkeel.dev/v1alpha1\nkind: Device\nmetadata: {{name: {name}}}\nspec: {{type: Server, address: {address}{more}}}\n"
        )
    };
    plane.apply(&device("old", "a-long-name.example.com", "")).unwrap();
    let length = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/address/maxLength";
    let patch = format!(r#"[{{"op": "add", "path": "{length}", "value": 10}}]"#);
    plane.must(&["patch", "crd", "devices.evenkeel.dev", "--type=json", "--patch", &patch]).unwrap();
    let refused = |text: &str| {
        let output = plane.with(&["apply", "--server-side"], text).unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() && said.contains("spec.address") { Ok(()) } else { Err(said) }
    };
    wait_until("a new one being refused", Duration::from_secs(60), || {
        refused(&device("new", "another-long-name.example.com", "")).inspect_err(|_| drop(plane.kubectl(&["delete", "dev", "new"])))
    })
    .unwrap();
    plane.apply(&device("old", "a-long-name.example.com", ", suspend: true")).unwrap();
    plane.must(&["label", "dev", "old", "site=ams1"]).unwrap();
    let status = r#"{"status": {"health": "Healthy"}}"#;
    plane.must(&["patch", "dev", "old", "--subresource=status", "--type=merge", "--patch", status]).unwrap();
    let there: Value = serde_json::from_str(&plane.must(&["get", "dev", "old", "-o", "json"]).unwrap()).unwrap();
    assert_eq!((&there["spec"]["suspend"], &there["metadata"]["labels"]["site"]), (&true.into(), &"ams1".into()));
    assert_eq!(there["status"]["health"], "Healthy");
    // What is changed has to fit.
    refused(&device("old", "a-longer-name.example.com", ", suspend: true")).unwrap();
    plane.apply(&device("old", "10.0.0.1", "")).unwrap();
}

/// What lies in `examples/` is taken, and what the server gives back is taken by `check`.
#[test]
fn the_examples_are_taken_there_and_back() {
    let Some(plane) = plane() else { return };
    let examples = checkout().join("examples");
    plane.must(&["apply", "--server-side", "--validate=strict", "--recursive", "-f", examples.to_str().unwrap()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let text = plane.must(&["get", "evenkeel", "--all-namespaces", "-o", "yaml"]).unwrap();
    assert!(text.matches("\n  kind: ").count() >= 30, "{text}");
    let (code, said) = check(folder.path(), &text);
    assert_eq!(code, Some(0), "{said}");
}

/// A Silence from the command line: applied as a person would, refused where the server refuses it, and left to whoever manages it.
#[test]
fn a_silence_is_applied_from_the_command_line() {
    let Some(plane) = plane() else { return };
    let silence = |more: &[&str]| {
        let mut command = Command::new(binary());
        command.args(["alerts", "silence", "--label", "role=web", "--for", "2h", "--reason", "load test", "--no-preview", "--apply"]);
        command.arg("--kubeconfig").arg(plane.kubeconfig()).args(["--name", "quiet"]).args(more).output().unwrap()
    };
    let done = silence(&[]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let there: Value = serde_json::from_str(&plane.must(&["get", "silence", "quiet", "-o", "json"]).unwrap()).unwrap();
    assert_eq!((&there["spec"]["matchLabels"]["role"], &there["spec"]["reason"]), (&"web".into(), &"load test".into()));
    assert!(there["spec"]["until"].as_str().is_some_and(|until| !until.is_empty()), "{there}");
    let nowhere = silence(&["--namespace", "nowhere"]);
    let said = String::from_utf8_lossy(&nowhere.stderr);
    assert!(!nowhere.status.success() && said.contains("nowhere"), "{said}");
    // Somebody else's Silence of that name stays as it is.
    let theirs = "apiVersion: evenkeel.dev/v1alpha1\nkind: Silence\nmetadata: {name: quiet}\nspec: {matchLabels: {role: web}, until: '2030-01-01T00:00:00Z', reason: theirs}\n";
    plane.with(&["apply", "--server-side", "--force-conflicts"], theirs).unwrap();
    let taken = silence(&[]);
    assert!(!taken.status.success(), "{}", String::from_utf8_lossy(&taken.stdout));
    assert!(plane.must(&["get", "silence", "quiet", "-o", "yaml"]).unwrap().contains("reason: theirs"));
}

/// What kubectl shows and explains: every field has a text, and a table says whether it is well.
#[test]
fn kubectl_shows_and_explains() {
    let Some(plane) = plane() else { return };
    let text = plane.must(&["get", "crd", "-o", "json"]).unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    let mut bare = Vec::new();
    for definition in all["items"].as_array().unwrap() {
        let name = definition["spec"]["names"]["kind"].as_str().unwrap();
        let short = definition["spec"]["names"]["shortNames"][0].as_str().unwrap();
        assert_eq!(definition["spec"]["names"]["categories"], serde_json::json!(["evenkeel"]), "{name}");
        let version = &definition["spec"]["versions"][0];
        assert!(version["additionalPrinterColumns"].as_array().is_some_and(|columns| columns.len() >= 2), "{name}");
        undescribed(name, &version["schema"]["openAPIV3Schema"]["properties"]["spec"], &mut bare);
        undescribed(name, &version["schema"]["openAPIV3Schema"]["properties"]["status"], &mut bare);
        // The short name is enough, and is nobody else's.
        let said = plane.must(&["explain", &format!("{short}.spec")]).unwrap();
        assert!(said.contains(&format!("KIND:       {name}")), "{said}");
    }
    assert!(bare.is_empty(), "without a text: {bare:?}");
    plane
        .apply("apiVersion: evenkeel.dev/v1alpha1\nkind: Device\nmetadata: {name: it}\nspec: {type: Server, address: 10.0.0.1}\n")
        .unwrap();
    let table = plane.must(&["get", "evenkeel", "-o", "wide"]).unwrap();
    for part in ["HEALTH", "UPDATE", "ADDRESS", "CLASS", "AGE", "device.evenkeel.dev/it", "10.0.0.1"] {
        assert!(table.contains(part), "{part}: {table}");
    }
}

fn undescribed(path: &str, schema: &Value, bare: &mut Vec<String>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        if field["description"].as_str().is_none_or(|text| text.len() < 4) {
            bare.push(path.clone());
        }
        undescribed(&path, field, bare);
        undescribed(&path, &field["items"], bare);
    }
}
