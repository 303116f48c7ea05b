//! Writes the generated files of `charts/evenkeel`; called by `cargo xtask generate`.

mod files;

fn main() -> std::io::Result<()> {
    let chart = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/evenkeel");
    for (name, text) in files::files() {
        let path = chart.join(&name);
        std::fs::create_dir_all(path.parent().unwrap_or(&chart))?;
        std::fs::write(path, text)?;
        println!("charts/evenkeel/{name}");
    }
    Ok(())
}
