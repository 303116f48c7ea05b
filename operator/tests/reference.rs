//! docs/cli.md is what the binary says of itself, and what README.md shows can be used.

use std::path::Path;
use std::process::Command;

fn page(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)).unwrap_or_default()
}

#[test]
fn the_reference_is_fresh() {
    // Neither a narrow terminal nor somebody's settings have a part in it.
    let output = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .arg("reference")
        .env("COLUMNS", "40")
        .env("EVENKEEL_DATA", "/elsewhere")
        .env("CLICOLOR_FORCE", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(page("docs/cli.md") == String::from_utf8_lossy(&output.stdout), "docs/cli.md is stale: run `cargo xtask generate`");
}

#[test]
fn the_manifests_of_the_readme_have_no_findings() {
    let folder = tempfile::tempdir().unwrap();
    let text = page("README.md");
    let blocks: Vec<&str> = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    for (number, block) in blocks.iter().enumerate() {
        std::fs::write(folder.path().join(format!("{number}.yaml")), block).unwrap();
    }
    let output = Command::new(env!("CARGO_BIN_EXE_evenkeel")).arg("check").arg(folder.path()).env("NO_COLOR", "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(blocks.len() >= 2 && said.ends_with(": 0 errors, 0 warnings\n"), "{said}");
}
