//! The machine that the engine runs on, as a device.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

use crate::ssh::{Error, OUTPUT, Output, keep_tail};

/// Runs a command with some input, within a time limit.
pub(crate) async fn exec(arguments: &[&str], input: &[u8], limit: Duration) -> Result<Output, Error> {
    match tokio::time::timeout(limit, run(arguments, input)).await {
        Ok(result) => result.map_err(|error| Error::Broken(error.to_string())),
        Err(_) => Err(Error::Slow { what: "the command", limit }),
    }
}

async fn run(arguments: &[&str], input: &[u8]) -> std::io::Result<Output> {
    let mut child = tokio::process::Command::new("sh")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async move {
        if let Some(mut stdin) = stdin {
            let _ = stdin.write_all(input).await;
        }
    };
    let ((), out, err, status) = tokio::join!(feed, tail(stdout), tail(stderr), child.wait());
    let ((stdout, more_out), (stderr, more_err)) = (out?, err?);
    Ok(Output { code: status?.code().and_then(|code| u32::try_from(code).ok()), stdout, stderr, truncated: more_out || more_err })
}

async fn tail(from: Option<impl AsyncRead + Unpin>) -> std::io::Result<(Vec<u8>, bool)> {
    let (mut kept, mut dropped) = (Vec::new(), false);
    let Some(mut from) = from else { return Ok((kept, dropped)) };
    let mut piece = [0; 8192];
    loop {
        let read = from.read(&mut piece).await?;
        if read == 0 {
            break;
        }
        dropped |= keep_tail(&mut kept, &piece[..read], 2 * OUTPUT);
    }
    dropped |= keep_tail(&mut kept, &[], OUTPUT);
    Ok((kept, dropped))
}
