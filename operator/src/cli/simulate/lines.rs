//! Lines of log in a rehearsal: devices send them, and a minute of them takes five seconds.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::Context as _;
use logs::anomaly;
use logs::intake::{Intake, Limits};
use reconcile::Desired;
use reconcile::usage::Of;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Running;
use crate::engine::logs as lines;

/// Seconds of a minute.
const MINUTE: i64 = 5;
/// Seconds in which devices show what they usually say, before anything is new. Simulated ones have said it all by then.
const LEARNING: i64 = 8;
/// Where there is no state to begin with, all of it is new, and nothing is called so.
const NEVER: i64 = 86_400;

/// Where lines go.
pub(super) struct Lines {
    socket: UdpSocket,
    address: SocketAddr,
}

/// Whether any rule asks for readings of logs.
pub(super) fn are_asked_for(desired: &Desired) -> bool {
    let is_of_logs = |series: &reconcile::Series| series.metric.of() == Of::Pattern || series.metric.name().starts_with("logs.");
    desired.rules.values().any(|rule| rule.expr.series().iter().any(is_of_logs))
}

impl Lines {
    pub(super) fn new() -> anyhow::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("lines of log can't be taken")?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes them in until what is returned is dropped. If there is a state to begin with, it is there by now: what devices say for a
    /// while is what they usually say.
    pub(super) async fn take_in(self, engine: &Running, has_begun: bool) -> anyhow::Result<DropGuard> {
        let (intake, sent) = Intake::new(Limits::default());
        let stop = CancellationToken::new();
        let options =
            anomaly::Options { minute: MINUTE, learning: if has_begun { LEARNING } else { NEVER }, ..anomaly::Options::default() };
        let (store, view) = (engine.store.clone(), engine.view.clone());
        // Simulated devices have no journal.
        let (_, journals) = mpsc::channel(1);
        let sources = lines::Sources { intake: intake.clone(), sent, journals, listens: true, has_others: false };
        tokio::spawn(lines::run(sources, options, store, view, stop.clone()));
        let receive = intake.udp(self.socket, stop.clone());
        tokio::spawn(async move {
            if let Err(error) = receive.await {
                tracing::error!(%error, "lines of log can't be taken any more");
            }
        });
        if has_begun {
            tokio::time::sleep(Duration::from_secs(LEARNING.unsigned_abs() + 1)).await;
        }
        Ok(stop.drop_guard())
    }
}
