//! `evenkeel`: the one binary.

mod cli;
mod engine;

use clap::Parser as _;

fn main() -> std::process::ExitCode {
    leave_when_nobody_reads();
    // The one TLS stack.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misused(&error),
    };
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

/// Help that was asked for, or what is wrong with the arguments. That is an error for `plan` too, whose 2 says that there are changes.
fn misused(error: &clap::Error) -> std::process::ExitCode {
    let _ = error.print();
    match error.exit_code() {
        0 => std::process::ExitCode::SUCCESS,
        _ if std::env::args().nth(1).as_deref() == Some("plan") => std::process::ExitCode::FAILURE,
        _ => std::process::ExitCode::from(2),
    }
}

/// Whoever reads our output may stop: that ends a command without a word, as SIGPIPE ends others (`evenkeel get devices | head`).
fn leave_when_nobody_reads() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let message = panic.payload().downcast_ref::<String>();
        let Some(said) = message.and_then(|message| message.strip_prefix("failed printing to stdout: ")) else { return usual(panic) };
        if said.contains("Broken pipe") {
            // 128 and the signal's number.
            std::process::exit(141);
        }
        eprintln!("evenkeel: cannot write: {said}");
        // EX_IOERR of sysexits.h: no command means anything else by it.
        std::process::exit(74);
    }));
}
