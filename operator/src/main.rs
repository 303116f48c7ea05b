//! `evenkeel`: the one binary.

mod cli;
mod engine;

use clap::Parser as _;

fn main() -> std::process::ExitCode {
    // The one TLS stack.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cli = cli::Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime {
        Ok(runtime) => {
            let code = runtime.block_on(cli::run(cli));
            // A hung Git call must not keep the process alive.
            runtime.shutdown_timeout(std::time::Duration::from_secs(2));
            code
        }
        Err(error) => {
            eprintln!("evenkeel: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
