//! The chart's generated files are what the code says.

#[path = "../examples/chart/files.rs"]
mod files;

#[test]
fn the_charts_files_are_fresh() {
    let chart = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/evenkeel");
    for (name, text) in files::files() {
        let written = std::fs::read_to_string(chart.join(&name)).unwrap_or_default();
        assert!(written == text, "charts/evenkeel/{name} is stale: run `cargo xtask generate`");
    }
}

#[test]
fn something_is_said_about_every_value() {
    assert!(files::wordless().is_empty(), "without a comment in values.yaml: {:?}", files::wordless());
    let readme = files::files().into_iter().find(|(name, _)| name == "README.md").unwrap().1;
    for row in [
        "| `database.key` | `url` | The URL's key in that Secret. |",
        "| `resources.limits` | `{memory: 1Gi}` |",
        "| `limits.deletions` | `\"\"` | Devices. |",
    ] {
        assert!(readme.contains(row), "{row} is not in:\n{readme}");
    }
    assert!(!readme.contains("namespaceSelector"), "examples are not what a value is for");
}
