//! A corpus of files as people write them, and properties that hold for all.

use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use serde_json::json;

use super::*;
use crate::git::Entry;

const DEVICE: &str = "# Servers of the shop.
apiVersion: evenkeel.dev/v1alpha1
kind: Device
metadata:
  name: web-01   # as in the rack plan
  labels: {site: ams1, role: web}   # two of them
spec:
  type: Server
  # moved in May
  address: \"10.0.0.11\"
  parents:
  - sw-ams1-01
  - sw-ams1-02   # the spare
  probes:
    - name: ping
      icmp: {count: 4}
    # the site itself
    - name: web
      http:
        port: 80   # TLS ends elsewhere
        path: /healthz
";

fn reader(files: &[(&str, &str)]) -> Reader {
    let mut reader = Reader::default();
    let tree = files.iter().map(|(path, text)| ((*path).to_owned(), Entry::Blob(hex::encode(text.as_bytes())))).collect();
    reader.update(&tree, true, |_, id| Ok(hex::decode(id).unwrap()));
    reader
}

fn device(name: &str) -> Key {
    (Kind::Device, reconcile::Name::parse(name))
}

/// The file after a change of `web-01`.
fn edited(text: &str, patch: &Value) -> Result<FileChange, Error> {
    change(&reader(&[("fleet/web.yaml", text)]), &device("web-01"), Wanted::Merged(patch)).map(Option::unwrap)
}

/// What `diff` says of it, without its head.
fn difference_of(text: &str, patch: &Value) -> String {
    let change = edited(text, patch).unwrap();
    assert!(!change.is_rewritten, "{}", change.after.unwrap());
    let after = change.after.unwrap();
    let lines = unified("f", Some(text), Some(&after), 3);
    lines
        .lines()
        .filter(|line| line.starts_with(['+', '-']) && !line.starts_with("+++") && !line.starts_with("---"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn only_what_changed_is_touched() {
    let cases: [(Value, &str); 12] = [
        (json!({"spec": {"address": "10.0.0.12"}}), "-  address: \"10.0.0.11\"\n+  address: \"10.0.0.12\""),
        (
            json!({"metadata": {"labels": {"site": "fra1"}}}),
            "-  labels: {site: ams1, role: web}   # two of them\n+  labels: {site: fra1, role: web}   # two of them",
        ),
        (
            json!({"metadata": {"labels": {"tier": "1"}}}),
            "-  labels: {site: ams1, role: web}   # two of them\n+  labels: {site: ams1, role: web, tier: \"1\"}   # two of them",
        ),
        (json!({"metadata": {"annotations": {"a": "b"}}}), "+  annotations:\n+    a: b"),
        (json!({"spec": {"parents": ["sw-ams1-01"]}}), "-  - sw-ams1-02   # the spare"),
        (json!({"spec": {"parents": ["sw-ams1-01", "sw-x", "sw-ams1-02"]}}), "+  - sw-x"),
        (json!({"spec": {"parents": null}}), "-  parents:\n-  - sw-ams1-01\n-  - sw-ams1-02   # the spare"),
        (json!({"spec": {"parents": []}}), "-  parents:\n-  - sw-ams1-01\n-  - sw-ams1-02   # the spare\n+  parents: []"),
        (
            json!({"spec": {"probes": [{"name": "ping", "icmp": {"count": 4}}, {"name": "web", "http": {"port": 8080, "path": "/healthz"}}]}}),
            "-        port: 80   # TLS ends elsewhere\n+        port: 8080   # TLS ends elsewhere",
        ),
        (
            json!({"spec": {"probes": [{"name": "web", "http": {"port": 80, "path": "/healthz"}}]}}),
            "-    - name: ping\n-      icmp: {count: 4}",
        ),
        (json!({"spec": {"suspend": true}}), "+  suspend: true"),
        (json!({"spec": {"vars": {"motd": "one\ntwo\n"}}}), "+  vars:\n+    motd: |\n+      one\n+      two"),
    ];
    for (patch, wanted) in cases {
        assert_eq!(difference_of(DEVICE, &patch), wanted, "{patch}");
        // Files from Windows keep their line ends, and a mark at their beginning.
        let windows = format!("\u{feff}{}", DEVICE.replace('\n', "\r\n"));
        let after = edited(&windows, &patch).unwrap().after.unwrap();
        assert_eq!(after.matches('\n').count(), after.matches("\r\n").count(), "{patch}");
        let plain = edited(DEVICE, &patch).unwrap().after.unwrap();
        assert_eq!(after.trim_start_matches('\u{feff}').replace("\r\n", "\n"), plain, "{patch}");
        // The last line may have no end.
        assert!(edited(DEVICE.trim_end(), &patch).is_ok(), "{patch}");
    }
}

#[test]
fn the_first_entry_behind_a_dash_can_go() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: evenkeel.dev/v1alpha1\n  kind: Device\n  metadata: {name: web-01}\n  spec:\n    probes:\n    - interval: 15s\n      name: a   # that one\n      tcp: {port: 1}\n    type: Server\n    address: 10.0.0.1\n";
    let patch = json!({"spec": {"probes": [{"name": "a", "tcp": {"port": 1}}]}});
    assert_eq!(difference_of(text, &patch), "-    - interval: 15s\n-      name: a   # that one\n+    - name: a   # that one");
}

#[test]
fn one_of_several_documents_is_changed_or_taken_out() {
    let other =
        "apiVersion: evenkeel.dev/v1alpha1\nkind: Device\nmetadata: {name: db-01}   # the other\nspec: {type: Server, address: 10.0.0.2}\n";
    for text in [format!("{DEVICE}---\n{other}"), format!("---\n# head\n{other}---\n{DEVICE}")] {
        let wanted = "-  address: \"10.0.0.11\"\n+  address: \"10.0.0.9\"";
        assert_eq!(difference_of(&text, &json!({"spec": {"address": "10.0.0.9"}})), wanted);
        let gone = change(&reader(&[("a.yaml", &text)]), &device("web-01"), Wanted::Gone).unwrap().unwrap();
        let left = gone.after.unwrap();
        assert!(left.contains("# the other") && !left.contains("web-01"), "{left}");
        assert_eq!(reader(&[("a.yaml", &left)]).objects().len(), 1);
    }
    let gone = change(&reader(&[("a.yaml", DEVICE)]), &device("web-01"), Wanted::Gone).unwrap().unwrap();
    assert_eq!((gone.after, gone.path.as_str()), (None, "a.yaml"));
}

#[test]
fn what_an_anchor_shares_is_left_to_people() {
    let text = "apiVersion: evenkeel.dev/v1alpha1\nkind: Device\nmetadata:\n  name: web-01\n  labels: &l {site: ams1}\n  annotations: *l\nspec: {type: Server, address: 10.0.0.1}\n";
    for patch in [
        json!({"metadata": {"labels": {"site": "x"}}}),
        json!({"metadata": {"annotations": {"site": "x"}}}),
        json!({"metadata": {"labels": null}}),
    ] {
        let refused = edited(text, &patch).unwrap_err();
        assert!(matches!(&refused, Error::Shared { field, .. } if field.starts_with("metadata.")), "{refused}");
        assert!(refused.to_string().contains("edit the file by hand"));
    }
    // What has nothing to do with it can be changed.
    assert_eq!(difference_of(text, &json!({"spec": {"address": "10.0.0.2"}})).lines().count(), 2);
    let merged = "apiVersion: evenkeel.dev/v1alpha1\nkind: Device\nmetadata:\n  name: web-01\n  annotations: &l {a: b}\n  labels:\n    <<: *l\n    site: ams1\nspec: {type: Server, address: 10.0.0.1}\n";
    assert!(matches!(edited(merged, &json!({"metadata": {"labels": {"a": "c"}}})), Err(Error::Shared { .. })));
    assert_eq!(difference_of(merged, &json!({"metadata": {"labels": {"site": "fra1"}}})), "-    site: ams1\n+    site: fra1");
}

#[test]
fn a_new_object_lies_beside_others_of_its_kind() {
    let spec = json!({"metadata": {"labels": {"site": "ams1"}}, "spec": {"type": "Server", "address": "10.0.0.3"}});
    let files = |files: &[(&str, &str)], name: &str| change(&reader(files), &device(name), Wanted::Merged(&spec)).unwrap().unwrap();
    let new = files(&[], "web-03");
    assert_eq!(new.path, "devices/web-03.yaml");
    assert_eq!(
        new.after.unwrap(),
        "apiVersion: evenkeel.dev/v1alpha1\nkind: Device\nmetadata:\n  name: web-03\n  labels:\n    site: ams1\nspec:\n  type: Server\n  address: 10.0.0.3\n"
    );
    let other = DEVICE.replace("web-01", "web-02");
    assert_eq!(files(&[("a/b/web.yaml", DEVICE), ("a/b/x.yaml", &other)], "web-03").path, "a/b/web-03.yaml");
    assert_eq!(files(&[("a/WEB-03.yaml", DEVICE)], "web-03").path, "a/default.web-03.yaml", "also where cases don't count");
    let elsewhere = files(&[("web.yaml", DEVICE)], "lab/web-03");
    assert!(elsewhere.path == "web-03.yaml" && elsewhere.after.unwrap().contains("namespace: lab"));
}

#[test]
fn what_is_broken_or_there_twice_is_not_touched() {
    let patch = json!({"spec": {"address": "10.0.0.9"}});
    let broken = DEVICE.replace("type: Server", "type: Toaster");
    let mut reader = reader(&[("a.yaml", DEVICE)]);
    reader.update(&BTreeMap::from([("a.yaml".to_owned(), Entry::Blob("2".into()))]), false, |_, _| Ok(broken.clone().into_bytes()));
    assert_eq!(change(&reader, &device("web-01"), Wanted::Merged(&patch)), Err(Error::Broken("a.yaml".into())));
    let twice = super::tests::reader(&[("a.yaml", DEVICE), ("b.yaml", DEVICE)]);
    assert!(matches!(change(&twice, &device("web-01"), Wanted::Gone), Err(Error::Twice(_))));
    let in_one = super::tests::reader(&[("a.yaml", &format!("{DEVICE}---\n{DEVICE}"))]);
    assert!(matches!(change(&in_one, &device("web-01"), Wanted::Merged(&patch)), Err(Error::Twice(_))));
    assert_eq!(change(&in_one, &device("web-09"), Wanted::Gone), Err(Error::Missing));
    let large = json!({"spec": {"vars": {"x": "y".repeat(MAX_FILE)}}});
    assert!(matches!(edited(DEVICE, &large), Err(Error::Unwritable(_))));
    assert_eq!(
        change(&super::tests::reader(&[("a.yaml", DEVICE)]), &device("web-01"), Wanted::Merged(&json!({"spec": {"type": "Server"}}))),
        Ok(None)
    );
}

#[test]
fn a_merge_patch_is_as_its_rfc_has_it() {
    // RFC 7396, appendix A.
    for (target, patch, result) in [
        (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
        (json!({"a": "b"}), json!({"a": null}), json!({})),
        (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
        (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
        (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
        (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
        (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
    ] {
        assert_eq!(merge(&target, &patch), result);
    }
    assert_eq!(
        difference(&json!({"a": 1, "b": {"c": 2, "d": 3}}), &json!({"b": {"c": 2, "e": [1]}})),
        json!({"a": null, "b": {"d": null, "e": [1]}})
    );
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,6}",
        "[ -~]{0,12}",
        Just("10.0.0.1".to_owned()),
        Just("yes".to_owned()),
        Just("0644".to_owned()),
        Just("2026-11-27".to_owned()),
        Just("é 字 \u{85}\u{2028}".to_owned()),
        Just("# no comment".to_owned()),
        Just("- a: [b".to_owned()),
        "[a-z \n\t]{0,20}",
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        word().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-e]|name", inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn part() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[a-e]|name", value(), 1..4).prop_map(|map| Value::Object(map.into_iter().collect()))
}

/// A file that says this, with a comment above each entry of the outermost map and below it.
fn commented(parts: &[Value]) -> String {
    let mut text = String::from("# head\n");
    for (number, part) in parts.iter().enumerate() {
        text += &format!("# above {number}\n");
        let lines = render::entry(&format!("k{number}"), part);
        text += &lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    }
    text + "# foot\n"
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever becomes of one part, the file says it afterwards, and nothing around that part is otherwise.
    #[test]
    fn an_edit_says_what_is_wanted_and_leaves_the_rest(parts in prop::collection::vec(part(), 1..4), new in value(), at in 0_usize..4, inside in any::<bool>()) {
        let text = commented(&parts);
        let (documents, errors) = yaml::parse(&text);
        prop_assert!(errors.is_empty(), "{errors:?}\n{text}");
        let at = at % parts.len();
        let mut wanted = documents[0].to_value();
        prop_assert_eq!(&wanted, &Value::Object(parts.iter().enumerate().map(|(number, part)| (format!("k{number}"), part.clone())).collect()));
        let field = &mut wanted[format!("k{at}")];
        match (inside, field.as_object_mut()) {
            (true, Some(map)) => drop(map.insert("b".into(), new)),
            _ => *field = new,
        }
        let marks = marks::documents(&text).unwrap();
        let mut edits = Edits::new(&text);
        edits.document(&documents[0], &marks[0].root, &wanted).unwrap();
        let edited = edits.done().unwrap();
        prop_assert!(says(&edited, std::slice::from_ref(&wanted)), "{text}\n=>\n{edited}\nwanted {wanted}");
        for (number, part) in parts.iter().enumerate() {
            let above = format!("# above {number}\n");
            prop_assert!(edited.contains(&above), "{text}\n=>\n{edited}");
            if number != at {
                let lines = render::entry(&format!("k{number}"), part).join("\n");
                prop_assert!(edited.contains(&lines), "{text}\n=>\n{edited}");
            }
        }
        prop_assert!(edited.starts_with("# head\n") && edited.ends_with("# foot\n"), "{edited}");
    }

    /// From any part to any other one.
    #[test]
    fn any_value_becomes_any_other(old in part(), new in part()) {
        let text = commented(&[old, json!({"a": 1})]);
        let (documents, _) = yaml::parse(&text);
        let wanted = json!({"k0": new, "k1": {"a": 1}});
        let marks = marks::documents(&text).unwrap();
        let mut edits = Edits::new(&text);
        edits.document(&documents[0], &marks[0].root, &wanted).unwrap();
        let edited = edits.done().unwrap();
        prop_assert!(says(&edited, std::slice::from_ref(&wanted)), "{text}\n=>\n{edited}\nwanted {wanted}");
        for comment in ["# head\n", "# above 0\n", "# above 1\n", "# foot\n"] {
            prop_assert!(edited.contains(comment), "{text}\n=>\n{edited}");
        }
    }
}

/// In a file with several objects the lines around a change are of others.
#[test]
fn a_diff_without_lines_around_shows_nothing_of_others() {
    let other = "apiVersion: evenkeel.dev/v1alpha1\nkind: Device\nmetadata: {name: secret-01}\nspec: {type: Server, address: 10.0.0.2}\n";
    let text = format!("{other}---\n{DEVICE}---\n{other}");
    let after = text.replace("# Servers of the shop.\n", "").replace("path: /healthz", "path: /up");
    let diff = unified("f", Some(&text), Some(&after), 0);
    assert!(
        diff.contains("-        path: /healthz\n+        path: /up\n") && diff.contains("-# Servers") && !diff.contains("secret"),
        "{diff}"
    );
    assert!(unified("f", Some(&text), Some(&after), 3).contains("secret"));
}

#[test]
fn comments_that_go_with_a_part_are_owned_up_to() {
    let text = DEVICE.replace("{site: ams1, role: web}", "{site: ams1,   # by the canal\n    role: web}");
    let added = edited(&text, &json!({"metadata": {"labels": {"tier": "1"}}})).unwrap();
    assert!(added.is_rewritten || added.after.unwrap().contains("by the canal"));
    let kept = edited(&text, &json!({"spec": {"address": "10.0.0.12"}})).unwrap();
    assert!(!kept.is_rewritten && kept.after.unwrap().contains("by the canal"));
}

#[test]
fn metadata_that_is_no_object_is_refused() {
    let wanted = json!({"metadata": "x", "spec": {"type": "Server"}});
    let refused = change(&reader(&[]), &device("new"), Wanted::Merged(&wanted));
    assert!(matches!(refused, Err(Error::Unwritable(_))), "{refused:?}");
}
