//! docs/cli.md is what the binary says of itself.

use std::process::Command;

#[test]
fn the_reference_is_fresh() {
    let written = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/cli.md");
    // Neither a narrow terminal nor somebody's settings have a part in it.
    let output = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .arg("reference")
        .env("COLUMNS", "40")
        .env("EVENKEEL_DATA", "/elsewhere")
        .env("CLICOLOR_FORCE", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let written = std::fs::read_to_string(written).unwrap_or_default();
    assert!(written == String::from_utf8_lossy(&output.stdout), "docs/cli.md is stale: run `cargo xtask generate`");
}
