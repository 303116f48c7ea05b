//! What an attacker may commit: any bytes, YAML that is nearly YAML, and objects with anything in any field. Nothing panics, nothing is
//! larger than the limits say, and what is shown has a place.

use std::collections::BTreeMap;

use manifests::finding::{Finding, Format, render};
use manifests::git::Entry;
use manifests::read::Reader;
use manifests::yaml::{self, Node, Tree};
use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_oneof, proptest};
use proptest::test_runner::Config;
use reconcile::{Desired, Revision};
use serde_json::{Map, Value, json};

fn config(cases: u32) -> Config {
    Config { cases, failure_persistence: None, ..Config::default() }
}

/// Values in a tree, and the deepest nesting.
fn size(node: &Node) -> (usize, usize) {
    let inner: Vec<(usize, usize)> = match &node.value {
        Tree::Scalar(_) => return (1, 0),
        Tree::List(items) => items.iter().map(size).collect(),
        Tree::Map(entries) => entries.iter().map(|(_, _, node)| size(node)).collect(),
    };
    (1 + inner.iter().map(|(count, _)| count).sum::<usize>(), 1 + inner.iter().map(|(_, depth)| *depth).max().unwrap_or(0))
}

fn parse_within_limits(text: &str) {
    let (documents, errors) = yaml::parse(text);
    let sizes: Vec<(usize, usize)> = documents.iter().map(size).collect();
    assert!(documents.len() <= yaml::MAX_DOCUMENTS && errors.len() <= yaml::MAX_ERRORS + 1);
    assert!(sizes.iter().map(|(count, _)| count).sum::<usize>() <= yaml::MAX_NODES);
    assert!(sizes.iter().all(|(_, depth)| *depth <= yaml::MAX_DEPTH));
    let lines = text.lines().count().max(1);
    for error in &errors {
        // The parser also ends lines where `str::lines` does not; a place after the end is shown as the end.
        assert!(
            error.place.line >= 1 && error.place.column >= 1 && error.place.line <= lines.max(text.split(['\n', '\r']).count()),
            "{error:?}"
        );
        assert!(!error.message.is_empty() && !error.help.is_empty(), "{error:?}");
    }
}

/// Everything that happens to a file, from its bytes to what is shown.
fn read(bytes: &[u8]) -> Vec<Finding> {
    let mut reader = Reader::default();
    let tree = BTreeMap::from([("a.yaml".to_owned(), Entry::Blob("1".into()))]);
    let (changes, _) = reader.update(&tree, true, |_, _| Ok(bytes.to_vec()));
    let (_, _, findings) = manifests::update(&reader, changes, &Desired::default(), Revision::default());
    for format in [Format::Text { colour: false }, Format::Json, Format::Github] {
        let shown = render(&findings, format);
        let hostile = |c: char| c.is_control() && c != '\n';
        assert!(!shown.contains(hostile), "{shown:?}");
    }
    findings
}

/// Pieces of which YAML is made, and of which attacks are.
fn piece() -> impl Strategy<Value = String> {
    let pieces = [
        "---\n",
        "...\n",
        "- ",
        ": ",
        "? ",
        "\n",
        "\r\n",
        "  ",
        "    ",
        "\t",
        "[",
        "]",
        "{",
        "}",
        ",",
        "&a ",
        "*a",
        "<<: ",
        "!!str ",
        "!x ",
        "!<tag:x> ",
        "'",
        "\"",
        "\\x",
        "\\u0000",
        "|\n",
        ">-\n",
        "# ",
        "%YAML 1.2\n",
        "%TAG ! x\n",
        "@",
        "`",
        "~",
        "0x",
        "1e999",
        "\u{feff}",
        "\u{85}",
        "\u{2028}",
        "\0",
        "\u{1b}[2J",
        "a",
        "kind",
        "spec",
        "apiVersion: evenkeel.dev/v1alpha1\nkind: Device\nmetadata: {name: a}\nspec: ",
    ];
    prop_oneof![8 => prop::sample::select(pieces.to_vec()).prop_map(str::to_owned), 1 => any::<char>().prop_map(String::from)]
}

fn any_value() -> impl Strategy<Value = Value> {
    let words =
        ["", "a", "5m", "10%", "-1", "web-01", "Device", "Rollback", "/etc/motd", "{{ vars.x }}", "0 2 * * *", "::1", "\u{202e}\u{1b}"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(words.to_vec()).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        let keys = ["name", "ssh", "port", "interval", "matchLabels", "apt", "max", "key", "x", "tcp", "http"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(keys.to_vec()), inner), 0..5)
                .prop_map(|entries| Value::Object(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>())),
        ]
    })
}

/// The objects of the example fleet.
fn examples() -> Vec<Value> {
    let mut files = Vec::new();
    for folder in std::fs::read_dir("../../examples").unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        files.extend(std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
    }
    files.sort();
    files.iter().flat_map(|path| yaml::parse(&std::fs::read_to_string(path).unwrap()).0).map(|node| node.to_value()).collect()
}

/// Puts something else into one place of a value; each turn says which way to go.
fn replace(value: &mut Value, turns: &[usize], with: Value) {
    let (turn, rest) = match turns.split_first() {
        Some((turn, rest)) => (*turn, rest),
        None => return *value = with,
    };
    match value {
        Value::Object(map) if !map.is_empty() => {
            let at = turn % map.len();
            replace(map.values_mut().nth(at).unwrap(), rest, with);
        }
        Value::Array(items) if !items.is_empty() => {
            let at = turn % items.len();
            replace(&mut items[at], rest, with);
        }
        other => *other = with,
    }
}

/// A schema's fields, some with what they want and some with anything.
fn any_field(schema: &Value, path: &str) -> String {
    let fields: Vec<&String> = schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name).collect();
    fields.get(path.len() % fields.len().max(1)).map(|name| (*name).clone()).unwrap_or_default()
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        parse_within_limits(&String::from_utf8_lossy(&bytes));
        read(&bytes);
    }

    #[test]
    fn what_is_nearly_yaml(pieces in prop::collection::vec(piece(), 0..60)) {
        let text = pieces.concat();
        parse_within_limits(&text);
        read(text.as_bytes());
    }

    #[test]
    fn whatever_is_repeated(head in piece(), piece in piece(), times in 0usize..2000, tail in piece()) {
        let text = format!("{head}{}{tail}", piece.repeat(times));
        parse_within_limits(&text);
        read(text.as_bytes());
    }

    #[test]
    fn anything_in_any_field(kind in prop::sample::select(crds::Kind::ALL.to_vec()), fields in prop::collection::vec(("[a-z]{0,20}", any_value()), 0..6), whole in any_value(), replaced in any::<bool>()) {
        let schema = &crds::schema(kind)["properties"]["spec"];
        let spec: Map<String, Value> = fields.into_iter().map(|(path, value)| (any_field(schema, &path), value)).collect();
        let spec = if replaced { whole } else { Value::Object(spec) };
        let object = json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": kind.as_str(), "metadata": {"name": "a"}, "spec": spec});
        let findings = read(object.to_string().as_bytes());
        prop_assert!(findings.len() <= 60, "{} findings", findings.len());
    }
}

proptest! {
    #![proptest_config(config(150))]

    #[test]
    fn one_thing_wrong_in_a_good_fleet(object in any::<usize>(), turns in prop::collection::vec(any::<usize>(), 1..7), with in any_value()) {
        let mut objects = examples();
        let object = object % objects.len();
        replace(&mut objects[object], &turns, with);
        let text: String = objects.iter().map(|object| format!("---\n{object}\n")).collect();
        read(text.as_bytes());
    }
}

/// What was read wrong once.
#[test]
fn what_was_found_before() {
    let deep = format!("{}1{}", "[".repeat(60), "]".repeat(60));
    for text in ["", "\u{feff}", "\r", "a: &a [*a]", "&a a: *a", "? [a]\n: b", "{a: &x {<<: *x}}", "<<: 1", "<<: [1, [2]]", &deep] {
        parse_within_limits(text);
        read(text.as_bytes());
    }
}
