//! Where `evenkeel run` takes syslog.

use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use api::view::SharedView;
use clap::Args;
use logs::anomaly;
use logs::intake::{Intake, Limits, tls};
use store::Store;
use tokio::net::TcpListener;
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::engine::logs as lines;

/// Where syslog is taken.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Syslog")]
pub(crate) struct SyslogArgs {
    /// Take syslog by UDP here
    #[arg(long, value_name = "ADDRESS:PORT")]
    syslog_udp: Option<SocketAddr>,
    /// Take syslog by TCP here
    #[arg(long, value_name = "ADDRESS:PORT")]
    syslog_tcp: Option<SocketAddr>,
    /// Take syslog by TLS here
    #[arg(long, requires_all = ["syslog_cert", "syslog_key"], value_name = "ADDRESS:PORT")]
    syslog_tls: Option<SocketAddr>,
    /// Lines of one sender in a second, in the long run; what goes beyond is refused, and counted
    #[arg(long, default_value_t = Limits::default().rate, value_parser = clap::value_parser!(u32).range(1..=10_000_000), value_name = "LINES")]
    syslog_rate: u32,
    /// The certificate for that, with those between it and a root (PEM)
    #[arg(long, value_name = "FILE")]
    syslog_cert: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, value_name = "FILE")]
    syslog_key: Option<PathBuf>,
    /// Only take TLS from senders with a certificate that one of these signed (PEM); its DNS name then says which device it is
    #[arg(long, requires = "syslog_tls", value_name = "FILE")]
    syslog_ca: Option<PathBuf>,
    /// A device's lines are no new kinds of lines for this long after its first one
    #[arg(long, default_value = "15m", value_name = "DURATION")]
    log_learning: crds::Duration,
}

/// Lines of one sender at once, in seconds of its rate: what a switch says when it starts.
const BURST: u32 = 10;

/// Listens where it is wanted; a place that can't be had is an error at once. The task that it returns ends when all that came, by syslog or
/// from journals, is stored.
pub(super) async fn start(
    args: &SyslogArgs,
    journals: Receiver<lines::journal::Arrived>,
    store: &Arc<Store>,
    view: &SharedView,
    (has_others, stop): (bool, &CancellationToken),
) -> anyhow::Result<JoinHandle<()>> {
    let listens = args.syslog_udp.is_some() || args.syslog_tcp.is_some() || args.syslog_tls.is_some();
    let limits = Limits { rate: args.syslog_rate, burst: args.syslog_rate.saturating_mul(BURST), ..Limits::default() };
    let (intake, sent) = Intake::new(limits);
    let options = anomaly::Options { learning: args.log_learning.0.as_secs().max(0), ..anomaly::Options::default() };
    let failed = |address: SocketAddr| move || format!("{address} can't be listened on for syslog");
    if let Some(address) = args.syslog_udp {
        let socket = UdpSocket::bind(address).with_context(failed(address))?;
        let (intake, stop) = (intake.clone(), stop.clone());
        tokio::spawn(async move {
            if let Err(error) = intake.udp(socket, stop).await {
                tracing::error!(%error, "syslog can't be taken by UDP any more");
            }
        });
    }
    if let Some(address) = args.syslog_tcp {
        let listener = TcpListener::bind(address).await.with_context(failed(address))?;
        tokio::spawn(intake.clone().tcp(listener, None, stop.clone()));
    }
    if let (Some(address), Some(certificate), Some(key)) = (args.syslog_tls, &args.syslog_cert, &args.syslog_key) {
        let options = tls::Options { certificate: certificate.clone(), key: key.clone(), senders: args.syslog_ca.clone() };
        let acceptor = tls::Acceptor::read(&options)?;
        let listener = TcpListener::bind(address).await.with_context(failed(address))?;
        tokio::spawn(intake.clone().tcp(listener, Some(acceptor), stop.clone()));
    }
    let sources = lines::Sources { intake, sent, journals, listens, has_others };
    Ok(tokio::spawn(lines::run(sources, options, store.clone(), view.clone(), stop.clone())))
}
