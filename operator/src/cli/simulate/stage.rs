//! The devices of a rehearsal, and the folder of manifests that the engine follows.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;

use reconcile::{Check, Deployment, Desired, Device, Name, Package, Probe};
use simfleet::{Fleet, Port, Setup, Speaks};

use super::rewrite::{Rewrite, port};

/// Adds every device of every stage, with the ports that its probes ask for, and where it sends lines of log.
pub(super) fn people(fleet: &Fleet, stages: &[&Desired], syslog: Option<SocketAddr>) -> anyhow::Result<()> {
    let names: BTreeSet<&Name> = stages.iter().flat_map(|desired| desired.devices.keys()).collect();
    for name in names {
        let mut ports: BTreeMap<u16, Port> = BTreeMap::new();
        let mut units = BTreeSet::new();
        for desired in stages {
            let Some(device) = desired.devices.get(name) else { continue };
            let deployments: Vec<&Deployment> = desired
                .selected_by
                .get(name)
                .into_iter()
                .flatten()
                .filter_map(|unit| desired.deployments.get(unit))
                .map(|d| &**d)
                .collect();
            let checks = deployments.iter().flat_map(|deployment| deployment.content.before.iter().chain(&deployment.content.after));
            for probe in device.probes.iter().chain(checks) {
                let (number, speaks) = match &probe.check {
                    Check::Tcp { port, expect, .. } => (*port, Speaks::Tcp(expect.clone().unwrap_or_default())),
                    Check::Http(http) => {
                        let status = http.status.first().copied().unwrap_or(200);
                        (http.port, Speaks::Http { status, body: http.contains.clone().unwrap_or_default() })
                    }
                    Check::Icmp { .. } | Check::Tls(_) | Check::Dns(_) | Check::Ssh { .. } | Check::Snmp { .. } => continue,
                };
                let number = port(number);
                ports.entry(number).or_insert_with(|| Port { number, speaks, units: units_behind(probe, device, &deployments) });
            }
            // Units of Deployments without a package are there already; those with one come with it.
            let bare = deployments.iter().filter(|deployment| !has_apt(deployment));
            units.extend(bare.flat_map(|deployment| &deployment.content.services).map(|service| service.unit.clone()));
        }
        ports.remove(&simfleet::SSH);
        fleet.add(&name.to_string(), &Setup { ports: ports.into_values().collect(), units: units.into_iter().collect(), syslog })?;
    }
    Ok(())
}

fn has_apt(deployment: &Deployment) -> bool {
    deployment.content.packages.iter().any(|package| matches!(package, Package::Apt(_)))
}

/// The units without which a probe fails: those of the Deployment that the probe is named after; or of all that bring packages.
fn units_behind(probe: &Probe, device: &Device, deployments: &[&Deployment]) -> Vec<String> {
    let units = |deployment: &&&Deployment| deployment.content.services.iter().map(|service| service.unit.clone()).collect::<Vec<_>>();
    let is_named = |deployment: &&&Deployment| {
        let content = &deployment.content;
        let packages = content.packages.iter().any(|package| matches!(package, Package::Apt(apt) if apt.name == probe.name));
        let services = content.services.iter().any(|service| service.unit.split('.').next() == Some(probe.name.as_str()));
        deployment.name.name() == probe.name || packages || services
    };
    let named: Vec<String> = deployments.iter().filter(is_named).flat_map(|deployment| units(&deployment)).collect();
    if !named.is_empty() {
        return named;
    }
    tracing::debug!(device = %device.name, probe = probe.name, "is named after no Deployment");
    deployments.iter().filter(|deployment| !deployment.content.packages.is_empty()).flat_map(|deployment| units(&deployment)).collect()
}

/// Writes rewritten manifests, and lets the engine see all of them at once.
pub(super) fn put(manifests: &Path, rewrite: &mut Rewrite<'_>, from: &Path, desired: &Desired) -> anyhow::Result<()> {
    let numbers = (1..).map(|number| manifests.with_extension(number.to_string()));
    let Some(into) = numbers.take(10).find(|folder| !folder.exists()) else { anyhow::bail!("too many stages") };
    std::fs::create_dir_all(&into)?;
    rewrite.write(from, desired, &into)?;
    let beside = manifests.with_extension("link");
    std::os::unix::fs::symlink(&into, &beside)?;
    Ok(std::fs::rename(&beside, manifests)?)
}
