//! Writes `docs/database.md` from the migrations: `cargo run -p store --example er`.

mod draw;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = draw::path();
    std::fs::create_dir_all(path.parent().expect("it lies in a folder"))?;
    std::fs::write(&path, draw::document().await?)?;
    println!("{}", path.display());
    Ok(())
}
