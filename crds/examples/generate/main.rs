//! Writes what is generated from the kinds: their definitions beside this crate, and docs/kinds.md. `cargo xtask generate` runs it.

mod page;

fn main() -> std::io::Result<()> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let definitions = crds::all();
    let mut files: Vec<(String, String)> = definitions
        .iter()
        .map(|definition| (format!("{}_{}.yaml", crds::GROUP, definition.spec.names.plural), crds::yaml(definition)))
        .collect();
    files.push(("../docs/kinds.md".into(), page::page()));
    for (name, text) in files {
        std::fs::write(folder.join(&name), text)?;
        println!("{name}");
    }
    Ok(())
}
