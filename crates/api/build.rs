//! The web UI is embedded as `web/dist` has it. Where that is missing, `cargo xtask web` builds it and makes this script look again; a build
//! without it is whole but for the UI, and says so.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // One that is not there would have this crate built anew each time.
    if std::path::Path::new("../../web/dist").is_dir() {
        println!("cargo:rerun-if-changed=../../web/dist");
    }
}
