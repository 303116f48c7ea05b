//! A probe that wants one value of an SNMP agent.

use async_snmp::Oid;
use reconcile::{Device, Snmp};

use super::{Error, shown};
use crate::devices::Devices;
use crate::probe::Run;

/// Asks for the value once.
pub(crate) async fn run(devices: &Devices, device: &Device, agent: &Snmp, oid: &str, expect: Option<&str>) -> Run {
    let Ok(id) = Oid::parse(oid) else { return Run::NotRun(format!("`{oid}` is no object identifier")) };
    let value = match devices.agents.agent(&devices.secrets, device, agent).await {
        Ok(agent) => agent.get(&id).await,
        Err(error) => Err(error),
    };
    match value {
        Ok(None) => Run::Failed(format!("the agent has no {oid}")),
        Ok(Some(value)) => match expect {
            Some(expect) if shown(&value) != expect => {
                let found: String = shown(&value).chars().take(100).collect();
                Run::Failed(format!("{oid} is `{found}` and not `{expect}`"))
            }
            _ => Run::Passed,
        },
        Err(Error::NotAsked(reason)) => Run::NotRun(reason),
        Err(Error::Silent(reason)) => Run::Failed(reason),
    }
}
