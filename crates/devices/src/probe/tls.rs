//! A TLS handshake, and how long the certificate lasts.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reconcile::{Device, ProbeCode, TlsCheck, Trust, Way};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::trust::{Prober, Witness, days};
use super::{Checked, Measured, Phases, Reason, reach};
use crate::devices::Devices;

/// Connects, shakes hands, and looks at the certificate.
pub(super) async fn check(devices: &Devices, device: &Device, way: &Way, check: &TlsCheck, measured: &mut Measured) -> Checked {
    let least = check.min_validity.and_then(|least| Duration::try_from(least).ok());
    let address = reach::address(&device.address, way, &mut measured.phases).await?;
    let name = name(&check.trust, &device.address)?;
    let witness = devices.prober.witness(&devices.secrets, &device.name, &check.trust, least).await?;
    let stream = reach::connect(SocketAddr::new(address, check.port), way, &mut measured.phases).await?;
    let shaken = shake(&devices.prober, &witness, name, stream, &mut measured.phases).await;
    let leaf = witness.leaf();
    measured.expires = leaf.as_ref().and_then(|leaf| leaf.not_after);
    shaken?;
    let Some((leaf, end)) = leaf.zip(measured.expires) else {
        return Err(Reason::new(ProbeCode::TlsFailed, "the certificate can't be read"));
    };
    let now = Timestamp::now();
    // Where nobody judges, its time still counts.
    if end < now {
        return Err(Reason::new(ProbeCode::CertificateExpired, format!("the certificate expired {} ago", days(now, end))));
    }
    if !witness.is_judging() && leaf.not_before.is_some_and(|begin| begin > now) {
        return Err(Reason::new(ProbeCode::CertificateNotYetValid, "the certificate is not valid yet"));
    }
    let is_short = least.is_some_and(|least| Duration::try_from(end.duration_since(now)).is_ok_and(|left| left < least));
    if is_short || witness.falls_short() {
        let whose =
            if is_short { format!("the certificate expires in {}", days(end, now)) } else { "a certificate above it expires".into() };
        return Err(Reason::new(ProbeCode::CertificateExpires, format!("{whose}, sooner than in {}", days_of(least.unwrap_or_default()))));
    }
    Ok(format!("valid for {}", days(end, now)))
}

/// A handshake over a connection.
pub(super) async fn shake(
    prober: &Prober,
    witness: &Arc<Witness>,
    name: ServerName<'static>,
    stream: TcpStream,
    phases: &mut Phases,
) -> Result<TlsStream<TcpStream>, Reason> {
    let connector = TlsConnector::from(prober.client(witness)?);
    // What is asked goes out behind the end of the handshake, which nobody confirms at once.
    let _ = stream.set_nodelay(true);
    let began = Instant::now();
    let stream = connector.connect(name, stream).await.map_err(|error| witness.failure(&error, Timestamp::now()))?;
    Phases::add(&mut phases.tls, began.elapsed());
    Ok(stream)
}

/// The name that a certificate has to be for.
pub(super) fn name(trust: &Trust, host: &str) -> Result<ServerName<'static>, Reason> {
    let name = trust.server_name.as_deref().unwrap_or(host);
    match name.parse::<IpAddr>() {
        Ok(address) => Ok(ServerName::IpAddress(address.into())),
        Err(_) => ServerName::try_from(name.to_owned())
            .map_err(|_| Reason::new(ProbeCode::BadProbe, format!("`{name}` is no name that a certificate can be for"))),
    }
}

fn days_of(time: Duration) -> String {
    match time.as_secs() / 86_400 {
        0 => format!("{time:?}"),
        1 => "1 day".into(),
        days => format!("{days} days"),
    }
}
