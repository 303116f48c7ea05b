//! Who sent lines and is no device, for people to see.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use api::view::{SenderView, Senders};
use logs::intake::Intake;
use logs::reading::Reading;
use reconcile::Name;

/// Senders of which lines were refused that are shown.
const REFUSED: usize = 1000;

/// Unknown senders, and all of which lines were refused.
pub(super) fn list(intake: &Intake, reading: &Reading) -> Arc<Senders> {
    let mut refused: BTreeMap<IpAddr, u64> =
        intake.refused_senders(REFUSED).into_iter().map(|sender| (sender.address, sender.refused)).collect();
    let device = |address: IpAddr| reading.devices.at(address).map(|device| Name::parse(&device));
    let mut senders: Vec<SenderView> = Vec::new();
    for stranger in reading.strangers.list() {
        senders.push(SenderView {
            address: stranger.address.to_string(),
            device: device(stranger.address),
            hosts: stranger.hosts.clone(),
            lines: stranger.lines,
            refused: refused.remove(&stranger.address).unwrap_or(0),
            first: Some(stranger.first),
            last: Some(stranger.last),
        });
    }
    senders.extend(refused.into_iter().map(|(address, refused)| SenderView {
        address: address.to_string(),
        device: device(address),
        refused,
        ..SenderView::default()
    }));
    Arc::new(Senders { senders, forgotten: reading.strangers.forgotten() })
}
