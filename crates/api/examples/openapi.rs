//! Writes `openapi.json`: run by `cargo xtask generate`.

fn main() -> std::io::Result<()> {
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json"), api::rest::openapi::text())
}
