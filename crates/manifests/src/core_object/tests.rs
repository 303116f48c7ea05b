use std::collections::BTreeMap;

use crate::core_object::{Core, MAX_SIZE};
use crate::git::Entry;
use crate::read::Reader;

use super::*;

fn reader(core: Core, text: &str) -> Reader {
    let mut reader = Reader::in_namespace("fleet").with_core(core);
    reader.update(&BTreeMap::from([("a.yaml".to_owned(), Entry::Blob("1".into()))]), true, |_, _| Ok(text.as_bytes().to_vec()));
    reader
}

fn both() -> Core {
    Core::Applied(CoreKind::ALL.into_iter().collect())
}

/// The findings, as `severity code line: message`.
fn found(core: Core, text: &str) -> String {
    let findings = reader(core, text).findings();
    findings
        .iter()
        .map(|finding| format!("{} {} {}: {}", finding.severity.word(), finding.code, finding.line, finding.message))
        .collect::<Vec<_>>()
        .join("; ")
}

fn opened(text: &str) -> Result<CoreObject, String> {
    let reader = reader(both(), text);
    assert!(reader.findings().is_empty(), "{:?}", reader.findings());
    reader.core().next().unwrap().open(None).unwrap().remove(0)
}

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app, labels: {a: b}}\ndata: {x: '1'}\nbinaryData: {y: AAE=}\n";
const SECRET: &str = "apiVersion: v1\nkind: Secret\nmetadata: {name: app}\nstringData: {password: hunter2}\n";

#[test]
fn who_is_not_told_to_leaves_them_to_others() {
    assert_eq!(found(Core::Left, MAP), "note other-group 1: `ConfigMap` is left to others");
    assert_eq!(found(Core::Left, SECRET), "note other-group 1: `Secret` is left to others");
    let only_secrets = Core::Applied([CoreKind::Secret].into());
    assert_eq!(found(only_secrets.clone(), MAP), "note other-group 1: `ConfigMap` is left to others");
    assert!(reader(only_secrets, MAP).core().next().is_none());
    // No other kind, whatever is asked for.
    assert_eq!(found(both(), "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n"), "note other-group 1: `Pod` is left to others");
    assert_eq!(found(both(), "apiVersion: apps/v1\nkind: Secret\nmetadata: {name: x}\n"), "note other-group 1: `Secret` is left to others");
}

#[test]
fn a_plain_map_is_applied_as_it_is() {
    let object = opened(MAP).unwrap();
    assert_eq!(object.fields, serde_json::json!({"data": {"x": "1"}, "binaryData": {"y": "AAE="}}));
    assert_eq!((object.name.as_str(), object.labels["a"].as_str()), ("app", "b"));
}

#[test]
fn a_plain_secret_is_refused_and_none_of_it_is_shown() {
    let text = found(both(), SECRET);
    assert!(text.starts_with("error plain-secret 2: this is a Secret in plain text"), "{text}");
    assert!(found(Core::Checked, SECRET).starts_with("warning plain-secret 2: "));
    let flow = "{apiVersion: v1, kind: Secret, metadata: {name: a}, data: {password: hunter2, pin: 1234}}\n";
    for core in [both(), Core::Checked] {
        let shown = crate::finding::render(&reader(core, flow).findings(), crate::finding::Format::Json);
        assert!(!shown.contains("hunter2") && !shown.contains("1234") && shown.contains("data.pin"), "{shown}");
    }
}

#[test]
fn what_has_another_shape_is_refused_by_both() {
    let map = |more: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: app}}\n{more}\n");
    let secret = |more: &str| format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: app}}\n{more}\nsops: {{}}\n");
    for (text, message) in [
        (map("data: {x: 1}"), "a value must be text"),
        (map("data: [x]"), "`data` must be a map of texts"),
        (map("data: {'x y': z}"), "a key must be made of"),
        (map("stringData: {x: z}"), "`stringData` is not applied from Git"),
        (map("spec: {}"), "`spec` is not applied from Git"),
        (map("immutable: 'true'"), "`immutable` must be true or false"),
        (map("sops: {}").replace("app", "'ENC[AES256_GCM,data:x]'"), "its name is encrypted"),
        (MAP.replace("labels: {a: b}", "finalizers: [x]"), "`finalizers` is not applied from Git"),
        (MAP.replace("labels: {a: b}", "labels: {a: 1}"), "`labels` must be a map of texts"),
        (MAP.replace("name: app", "name: App"), "an object needs a name"),
        (MAP.replace("name: app, ", ""), "an object needs a name"),
        ("apiVersion: v1\nkind: ConfigMap\n".into(), "an object needs `metadata`"),
        (secret("type: kubernetes.io/service-account-token"), "give a way into the cluster"),
        (secret("type: bootstrap.kubernetes.io/token"), "give a way into the cluster"),
        (secret("type: 1"), "`type` must be text"),
    ] {
        for core in [both(), Core::Checked] {
            let said = found(core, &text);
            assert!(said.contains("error core-object") && said.contains(message), "{text}: {said}");
        }
    }
    let elsewhere = MAP.replace("name: app", "name: app, namespace: kube-system");
    assert!(found(both(), &elsewhere).contains("in its own namespace only, which is fleet"));
    assert!(found(both(), &elsewhere.replace("kube-system", "fleet")).is_empty());
}

#[test]
fn what_is_too_large_is_refused_also_where_aliases_make_it_so() {
    let of = |size: usize| {
        let half = "x".repeat(size / 2);
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: app}}\ndata: {{a: &a {half}, b: *a}}\n")
    };
    assert!(opened(&of(MAX_SIZE)).is_ok());
    assert_eq!(opened(&of(MAX_SIZE + 2)).unwrap_err(), "its values have more than 1048576 bytes");
    assert_eq!(opened(&MAP.replace("y: AAE=", "x: AAE=")).unwrap_err(), "the key x is both in data and in binaryData");
    assert_eq!(opened(&MAP.replace("AAE=", "'?'")).unwrap_err(), "binaryData.y is no base64");
    let keys = |count: usize| {
        (0..count)
            .fold("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app}\ndata:\n".to_owned(), |text, n| format!("{text}  k{n}: v\n"))
    };
    assert!(found(both(), &keys(1000)).is_empty());
    assert!(found(both(), &keys(1001)).contains("more than 1000 keys"));
}
