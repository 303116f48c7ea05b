//! A TCP connection that may say something, and wait for an answer.

use std::net::SocketAddr;

use reconcile::{ProbeCode, Way};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

use super::{ANSWER, Checked, Phases, Reason, Search, reach};

/// Connects, sends and expects.
pub(super) async fn check(
    (host, port): (&str, u16),
    way: &Way,
    (send, expect): (Option<&str>, Option<&str>),
    phases: &mut Phases,
) -> Checked {
    let address = reach::address(host, way, phases).await?;
    let mut stream = reach::connect(SocketAddr::new(address, port), way, phases).await?;
    let broken = |error: std::io::Error| reach::broken(&error);
    let began = Instant::now();
    if let Some(text) = send {
        stream.write_all(text.as_bytes()).await.map_err(broken)?;
    }
    let Some(expect) = expect else { return Ok(String::new()) };
    let mut search = Search::new(expect);
    let mut piece = [0; 4096];
    while search.length() < ANSWER {
        let read = stream.read(&mut piece).await.map_err(broken)?;
        phases.first_byte.get_or_insert_with(|| began.elapsed());
        if read == 0 {
            break;
        }
        if search.found_in(&piece[..read]) {
            return Ok(String::new());
        }
    }
    Err(Reason { code: ProbeCode::BadAnswer, words: format!("the answer does not contain `{expect}`") })
}
