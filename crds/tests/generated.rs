//! The definitions beside this crate, and docs/kinds.md, are what the types say.

#[path = "../examples/generate/page.rs"]
mod page;

#[test]
fn generated_files_are_fresh() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for definition in crds::all() {
        let name = format!("{}_{}.yaml", crds::GROUP, definition.spec.names.plural);
        let written = std::fs::read_to_string(folder.join(&name)).unwrap_or_default();
        assert!(written == crds::yaml(&definition), "crds/{name} is stale: run `cargo xtask generate`");
    }
}

#[test]
fn the_page_of_the_kinds_is_fresh() {
    let written = std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/kinds.md")).unwrap_or_default();
    assert!(written == page::page(), "docs/kinds.md is stale: run `cargo xtask generate`");
}

/// Every field is explained, so that `kubectl explain` has something to say.
#[test]
fn every_field_has_a_description() {
    fn walk(path: &str, schema: &serde_json::Value, missing: &mut Vec<String>) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            if field["description"].as_str().is_none_or(str::is_empty) && !path.contains(".status.") && !path.ends_with(".metadata") {
                missing.push(path.clone());
            }
            walk(&path, field, missing);
            walk(&path, &field["items"], missing);
        }
    }
    let mut missing = Vec::new();
    for kind in crds::Kind::ALL {
        walk(kind.as_str(), crds::schema(*kind), &mut missing);
    }
    assert_eq!(missing, ["x"; 0].map(String::from));
}
