//! A probe that wants one value of an SNMP agent.

use async_snmp::Oid;
use reconcile::{Device, ProbeCode, Snmp, Way};

use super::{Error, shown};
use crate::devices::Devices;
use crate::probe::{Checked, Reason};

/// Asks for the value once.
pub(crate) async fn check(devices: &Devices, device: &Device, (agent, way): (&Snmp, &Way), oid: &str, expect: Option<&str>) -> Checked {
    let id = Oid::parse(oid).map_err(|_| Reason::new(ProbeCode::BadProbe, format!("`{oid}` is no object identifier")))?;
    let value = match devices.agents.agent(&devices.secrets, device, agent, way).await {
        Ok(agent) => agent.get(&id).await,
        Err(error) => Err(error),
    };
    let value = value.map_err(|error| match error {
        Error::NotAsked(reason) => Reason::new(ProbeCode::NoCredential, reason),
        Error::Silent(reason) => Reason::new(ProbeCode::Timeout, reason),
        Error::Address(reason) => reason,
    })?;
    let value = value.ok_or_else(|| Reason::new(ProbeCode::BadAnswer, format!("the agent has no {oid}")))?;
    let found: String = shown(&value).chars().take(100).collect();
    match expect {
        Some(expect) if shown(&value) != expect => Err(Reason::new(ProbeCode::BadAnswer, format!("{oid} is `{found}` and not `{expect}`"))),
        _ => Ok(found),
    }
}
