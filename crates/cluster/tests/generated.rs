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
