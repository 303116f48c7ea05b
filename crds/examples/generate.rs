//! Writes the kinds' definitions beside this crate: `cargo run -p crds --example generate`.

fn main() -> std::io::Result<()> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for definition in crds::all() {
        let path = folder.join(format!("{}_{}.yaml", crds::GROUP, definition.spec.names.plural));
        std::fs::write(&path, crds::yaml(&definition))?;
        println!("{}", path.display());
    }
    Ok(())
}
