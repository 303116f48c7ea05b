use api::change::Author;
use reconcile::{Name, Revision};
use serde_json::json;

use super::*;

fn object(kind: Kind, name: &str, labels: &Value, spec: &Value) -> (Key, Arc<Object>) {
    let value =
        json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": kind.as_str(), "metadata": {"name": name, "labels": labels}, "spec": spec});
    ((kind, Name::parse(name)), Arc::new(Object::from_value(kind, value).unwrap()))
}

fn device(name: &str, site: &str) -> (Key, Arc<Object>) {
    object(Kind::Device, name, &json!({"site": site}), &json!({"type": "Server", "address": "10.0.0.1"}))
}

/// Ann may edit what is about ams1; Bob may mute what is about ams1.
fn fleet() -> Desired {
    let role = |name: &str, user: &str, verb: &str, kinds: &Value| {
        let grant = json!({"verbs": [verb], "kinds": kinds, "devices": {"matchLabels": {"site": "ams1"}}});
        object(Kind::Role, name, &json!({}), &json!({"subjects": [{"user": user}], "allow": [grant]}))
    };
    let objects = [
        device("a1", "ams1"),
        device("f1", "fra1"),
        role("editors", "ann", "edit", &json!([])),
        role("silencers", "bob", "silence", &json!(["Device"])),
    ];
    Desired::build(objects.map(|(_, object)| object), Revision { commit: "1".into(), ..Revision::default() }).0
}

fn wanted(key: &Key, who: &str) -> Wanted {
    Wanted {
        key: key.clone(),
        how: How::Delete,
        seen: None,
        is_trial: false,
        is_forced: false,
        message: None,
        by: Author { name: who.into(), email: String::new() },
        judged: Some(Who::parse(who).unwrap()),
        is_narrow: true,
        is_nobody: false,
        groups: Vec::new(),
    }
}

fn may(who: &str, now: Option<(Key, Arc<Object>)>, next: Option<(Key, Arc<Object>)>) -> bool {
    let key = next.as_ref().or(now.as_ref()).unwrap().0.clone();
    let (now, next) = (now.map(|(_, object)| object), next.map(|(_, object)| object));
    let allowed = allowed(&fleet(), &wanted(&key, who), now.as_ref(), next.as_ref());
    if let Err(Refusal::Forbidden(why)) = &allowed {
        // What they asked for they know by its name.
        let others = why.replace(&Target::of(key.0, key.1.clone()).to_string(), "");
        assert!(!others.contains("f1") && !others.contains("a1"), "{why}: it names what they don't see");
    }
    allowed.is_ok()
}

/// What something is and what it becomes have both to be theirs.
#[test]
fn nobody_writes_beyond_their_devices() {
    assert!(may(
        "ann",
        Some(device("a1", "ams1")),
        Some(object(Kind::Device, "a1", &json!({"site": "ams1", "x": "y"}), &json!({"type": "Server", "address": "10.0.0.2"})))
    ));
    assert!(!may("ann", Some(device("a1", "ams1")), Some(device("a1", "fra1"))), "moved out of their site");
    assert!(!may("ann", Some(device("f1", "fra1")), Some(device("f1", "ams1"))), "taken from another one");
    assert!(!may("ann", Some(device("f1", "fra1")), None));
    assert!(may("ann", None, Some(device("a2", "ams1"))));
    assert!(!may("ann", None, Some(device("a2", "fra1"))));
    let rule = |labels: &Value| {
        object(
            Kind::AlertRule,
            "r",
            &json!({}),
            &json!({"selector": {"matchLabels": labels}, "expr": "usage.memory.ratio > 0.9", "severity": "info"}),
        )
    };
    assert!(may("ann", None, Some(rule(&json!({"site": "ams1"})))));
    assert!(!may("ann", None, Some(rule(&json!({})))), "it would be about all");
    assert!(!may("ann", Some(rule(&json!({"site": "ams1"}))), Some(rule(&json!({"site": "fra1"})))));
    assert!(!may(
        "ann",
        None,
        Some(object(Kind::Role, "mine", &json!({}), &json!({"subjects": [{"user": "ann"}], "allow": [{"verbs": ["edit"]}]})))
    ));
    assert!(!may("nobody", None, Some(device("a2", "ams1"))));
}

/// Who may mute alerts may write a Silence about those devices, and nothing else.
#[test]
fn whoever_may_silence_writes_silences() {
    let silence = |devices: &Value| {
        object(Kind::Silence, "s", &json!({}), &json!({"devices": devices, "until": "2027-01-01T00:00:00Z", "reason": "works"}))
    };
    let ams1 = json!({"matchLabels": {"site": "ams1"}});
    assert!(may("bob", None, Some(silence(&ams1))));
    assert!(may("bob", Some(silence(&ams1)), None));
    assert!(!may("bob", None, Some(silence(&json!({"matchLabels": {}})))), "it would be about all");
    assert!(!may("bob", Some(silence(&ams1)), Some(silence(&json!({"matchLabels": {"site": "fra1"}})))));
    assert!(!may("bob", None, Some(device("a2", "ams1"))));
}

#[test]
fn what_is_shown_with_an_object_is_not_what_it_says() {
    let (key, now) = device("a1", "ams1");
    let mut value = now.to_value();
    value["status"] = json!({"health": "Healthy"});
    value["origin"] = json!({"file": "a.yaml"});
    value["effective"] = json!({});
    value["metadata"]["resourceVersion"] = json!("12");
    value["metadata"]["namespace"] = json!("default");
    value["spec"]["address"] = json!("10.0.0.2");
    let wanted = Wanted { how: How::Replace(value), seen: Some(now.clone()), ..wanted(&key, "ann") };
    assert_eq!(patch(&wanted, Some(&now)).unwrap(), Some(json!({"metadata": {}, "spec": {"address": "10.0.0.2"}})));
}

#[test]
fn what_was_not_seen_is_not_overwritten() {
    let (key, seen) = device("a1", "ams1");
    let (_, now) = device("a1", "fra1");
    let wanted = Wanted { how: How::Merge(json!({"spec": {"suspend": true}})), seen: Some(seen), ..wanted(&key, "ann") };
    let Err(Refusal::Conflict { diff: Some(diff), .. }) = patch(&wanted, Some(&now)) else { panic!("no conflict") };
    assert!(diff.contains("-    site: ams1\n+    site: fra1"), "{diff}");
    assert!(matches!(patch(&wanted, None), Err(Refusal::Conflict { .. })), "it was deleted");
}

#[test]
fn places_and_names_are_as_others_read_them() {
    assert_eq!(pointer("spec.probes[0].http"), "/spec/probes/0/http");
    assert_eq!(pointer("metadata.labels[\"a/b\"]"), "/metadata/labels/a~1b");
    assert_eq!(pointer(""), "");
    assert_eq!(word("Ann.Smith@example.com"), "ann-smith-example-com");
    assert_eq!(word("../../x"), "x");
    assert_eq!(word("字"), "somebody");
}

/// What an object is stays, and nothing of a wrong type gets any further.
#[test]
fn metadata_stays_what_it_is() {
    let (key, now) = device("a1", "ams1");
    for (patch, pointer) in [
        (json!({"metadata": "x"}), "/metadata"),
        (json!({"metadata": ["x"]}), "/metadata"),
        (json!({"metadata": {"name": null}}), "/metadata/name"),
        (json!({"kind": null}), "/kind"),
        (json!({"apiVersion": 1}), "/apiVersion"),
    ] {
        let wanted = Wanted { how: How::Merge(patch.clone()), seen: Some(now.clone()), ..wanted(&key, "ann") };
        let Err(Refusal::Invalid(faults)) = super::patch(&wanted, Some(&now)) else { panic!("{patch}") };
        assert_eq!(faults[0].pointer, pointer, "{patch}");
    }
    for new in [json!({"metadata": 1}), json!({"metadata": null, "kind": "Role"})] {
        let wanted = Wanted { how: How::Create(new.clone()), ..wanted(&key, "ann") };
        assert!(matches!(super::patch(&wanted, None), Err(Refusal::Invalid(_))), "{new}");
    }
}
