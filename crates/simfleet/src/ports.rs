//! What a device serves besides SSH: ports that answer while a unit is active, and are closed otherwise.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::simulated::Simulated;

/// Time between two looks at the units.
const LOOK: Duration = Duration::from_millis(100);
/// Bytes of a request that are read, and how long that may take.
const REQUEST: usize = 8 << 10;
const PATIENCE: Duration = Duration::from_secs(5);
/// Requests at once, on one port.
const AT_ONCE: usize = 32;

/// One port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// TCP port, 1024 or more where the fleet does not run as root.
    pub number: u16,
    /// What is spoken there.
    pub speaks: Speaks,
    /// The units that must be active for the port to be open; it is always open if there are none.
    pub units: Vec<String>,
}

/// What is spoken on a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// Says this and closes.
    Tcp(String),
    /// Answers every request with this status; the body is `ok`, the version of the unit's package, and this.
    Http {
        /// The status.
        status: u16,
        /// The body's last line.
        body: String,
    },
}

/// What a unit was found to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) active: bool,
    pub(crate) version: String,
}

impl Unit {
    /// Reads what `systemctl` keeps of it: `state since dies version`. `None` while that is being written.
    pub(crate) fn parse(text: &str, now: SystemTime) -> Option<Self> {
        let mut words = text.split_whitespace();
        let (state, since, dies, version) = (words.next()?, words.next()?, words.next()?, words.next()?);
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let dead = dies.parse().is_ok_and(|dies: u64| since.parse::<u64>().is_ok_and(|since| now >= since + dies));
        Some(Self { active: state == "active" && !dead, version: version.to_owned() })
    }
}

/// Opens and closes the device's ports as its units come and go, and lets it reboot when it wants to.
pub(crate) async fn serve(device: Arc<Simulated>, ports: Vec<Port>) {
    let mut open: Vec<Option<(String, DropGuard)>> = ports.iter().map(|_| None).collect();
    let mut ticks = tokio::time::interval(LOOK);
    loop {
        ticks.tick().await;
        if device.wants_reboot() {
            open.iter_mut().for_each(|slot| *slot = None);
            device.reboot().await;
        }
        for (port, slot) in ports.iter().zip(&mut open) {
            // What is just being written is looked at the next time.
            let Some(version) = state(&device, port) else { continue };
            match version {
                None => *slot = None,
                Some(version) if slot.as_ref().is_some_and(|(other, _)| *other == version) => {}
                Some(version) => {
                    *slot = None;
                    match listen(device.address(), port, &version).await {
                        Ok(guard) => *slot = Some((version, guard)),
                        Err(error) => tracing::debug!(device = device.name(), port = port.number, %error, "not open yet"),
                    }
                }
            }
        }
    }
}

/// The version that the port tells of, if it is open.
fn state(device: &Simulated, port: &Port) -> Option<Option<String>> {
    if !*device.up().borrow() {
        return Some(None);
    }
    let mut version = "-".to_owned();
    for unit in &port.units {
        let unit = device.unit(unit)?;
        if !unit.active {
            return Some(None);
        }
        version = unit.version;
    }
    Some(Some(version))
}

async fn listen(address: Ipv4Addr, port: &Port, version: &str) -> std::io::Result<DropGuard> {
    let listener = TcpListener::bind((address, port.number)).await?;
    let stop = CancellationToken::new();
    let guard = stop.clone().drop_guard();
    let answer: Arc<[u8]> = match &port.speaks {
        Speaks::Tcp(text) => text.as_bytes().into(),
        Speaks::Http { status, body } => {
            let body = format!("ok {version}\n{body}\n");
            format!(
                "HTTP/1.1 {status} Simulated\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            )
            .into_bytes()
            .into()
        }
    };
    let is_http = matches!(port.speaks, Speaks::Http { .. });
    tokio::spawn(stop.run_until_cancelled_owned(async move {
        let permits = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            let Ok(permit) = permits.clone().acquire_owned().await else { return };
            let Ok((stream, _)) = listener.accept().await else { continue };
            let answer = answer.clone();
            tokio::spawn(async move {
                let _ = tokio::time::timeout(PATIENCE, say(stream, is_http, &answer)).await;
                drop(permit);
            });
        }
    }));
    Ok(guard)
}

async fn say(mut stream: TcpStream, is_http: bool, answer: &[u8]) -> std::io::Result<()> {
    let request = if is_http { request(&mut stream).await? } else { Some(Vec::new()) };
    let Some(request) = request else { return Ok(()) };
    // The answer to HEAD has no body.
    let head = answer.windows(4).position(|end| end == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
    stream.write_all(if request.starts_with(b"HEAD ") { &answer[..head] } else { answer }).await?;
    stream.shutdown().await
}

/// Reads the head of a request; `None` if there is none, or it is too long.
pub(crate) async fn request(stream: &mut TcpStream) -> std::io::Result<Option<Vec<u8>>> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut piece = [0; 1024];
        let read = stream.read(&mut piece).await?;
        if read == 0 || request.len() > REQUEST {
            return Ok(None);
        }
        request.extend_from_slice(&piece[..read]);
    }
    Ok(Some(request))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_dies_when_its_time_has_come() {
        let at = |seconds: u64| UNIX_EPOCH + Duration::from_secs(seconds);
        let active = |text: &str, seconds: u64| Unit::parse(text, at(seconds)).map(|unit| unit.active);
        assert_eq!(active("active 100 5 1.0", 104), Some(true));
        assert_eq!(active("active 100 5 1.0", 105), Some(false));
        assert_eq!(active("active 100 - 1.0", 999), Some(true));
        assert_eq!(active("inactive 100 - 1.0", 999), Some(false));
        assert_eq!(active("", 1), None);
    }
}
