//! From manifests of real devices to the same ones of simulated devices.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, bail};
use crds::Object;
use reconcile::content::Digest;
use reconcile::{Desired, Name, Package};
use serde_json::{Value, json};
use simfleet::{Catalogue, Fault, Fleet, KEY};

/// How a rehearsal differs from what is written.
#[derive(Clone, Copy)]
pub(super) struct Rehearsal {
    /// Each batch is watched this long.
    pub(super) soak: Option<crds::Duration>,
    /// All devices in one batch.
    pub(super) at_once: bool,
}

/// A device must be well within this time in a rehearsal: simulated ones are quick.
const DEADLINE: &str = "60s";

/// Rewrites manifests for a simulated fleet.
pub(super) struct Rewrite<'a> {
    fleet: &'a Fleet,
    rehearsal: Option<Rehearsal>,
    notes: BTreeSet<String>,
}

/// A package version that is bad.
#[derive(Clone)]
pub(super) struct Bad {
    name: String,
    version: String,
    fault: Fault,
}

impl<'a> Rewrite<'a> {
    pub(super) fn new(fleet: &'a Fleet, rehearsal: Option<Rehearsal>) -> Self {
        Self { fleet, rehearsal, notes: BTreeSet::new() }
    }

    /// What the rehearsal leaves out.
    pub(super) fn notes(&self) -> impl Iterator<Item = &String> {
        self.notes.iter()
    }

    /// Writes the manifests of a folder into another one. A file in which nothing has to change is copied as it is.
    pub(super) fn write(&mut self, from: &Path, desired: &Desired, into: &Path) -> anyhow::Result<()> {
        let base = if from.is_file() { from.parent().unwrap_or(from) } else { from };
        for file in manifests::folder::list(from).map_err(anyhow::Error::msg)?.keys() {
            let (read, written) = (base.join(file), into.join(file));
            let (own, _) = manifests::check(&read).map_err(anyhow::Error::msg)?;
            let mut documents = Vec::new();
            let mut changed = false;
            for ((_, name), object) in &own.objects {
                let before = object.to_value();
                let mut after = before.clone();
                self.object(&mut after, name, object, desired)?;
                changed |= after != before;
                documents.push(after);
            }
            std::fs::create_dir_all(written.parent().unwrap_or(into))?;
            if changed {
                let text: Result<Vec<String>, _> = documents.iter().map(serde_yaml::to_string).collect();
                std::fs::write(&written, text?.iter().map(|text| format!("---\n{text}")).collect::<String>())?;
            } else {
                std::fs::copy(&read, &written).with_context(|| read.display().to_string())?;
            }
        }
        Ok(())
    }

    fn object(&mut self, value: &mut Value, name: &Name, object: &Object, desired: &Desired) -> anyhow::Result<()> {
        let spec = &mut value["spec"];
        match object {
            Object::Device(_) => self.device(spec, name, desired),
            Object::DeviceClass(_) => self.watched(spec, &format!("class {name}")),
            Object::Deployment(_) => self.deployment(spec, name)?,
            // Nobody is woken by a rehearsal.
            Object::Receiver(_) => spec["suspend"] = true.into(),
            Object::AlertRule(_) | Object::Repository(_) | Object::Role(_) | Object::Silence(_) => {}
        }
        Ok(())
    }

    fn device(&mut self, spec: &mut Value, name: &Name, desired: &Desired) {
        let (Some(simulated), Some(device)) = (self.fleet.device(&name.to_string()), desired.devices.get(name)) else { return };
        spec["address"] = json!(simulated.address().to_string());
        if device.access != reconcile::Access::None {
            let mut ssh = json!({
                "port": simulated.port(), "user": "ops", "become": "sudo", "secretRef": {"name": KEY}, "hostKeys": [simulated.host_key()],
            });
            if let Some(via) = spec["access"]["ssh"].get("via") {
                ssh["via"] = via.clone();
            }
            spec["access"] = json!({ "ssh": ssh });
        }
        self.watched(spec, &name.to_string());
    }

    /// What devices and classes have in common.
    fn watched(&mut self, spec: &mut Value, whose: &str) {
        list(spec, "/probes").for_each(|probe| rewrite_probe(probe, true));
        // Simulated devices have a shell and no exporter or agent.
        if spec["metrics"].get("ssh").is_none() && take(spec, "metrics") {
            self.notes.insert(format!("{whose}: metrics are left out, but over SSH"));
        }
        if self.rehearsal.is_some() && take(spec, "maintenance") {
            self.notes.insert(format!("{whose}: maintenance windows are left out"));
        }
    }

    fn deployment(&mut self, spec: &mut Value, name: &Name) -> anyhow::Result<()> {
        for checks in ["/checks/before", "/checks/after"] {
            list(spec, checks).for_each(|probe| rewrite_probe(probe, false));
        }
        if let Some(archive) = spec.pointer_mut("/package/archive") {
            self.fetched(archive, true)?;
        }
        for archive in list(spec, "/packages").filter_map(|package| package.get_mut("archive")) {
            self.fetched(archive, true)?;
        }
        for file in list(spec, "/files") {
            if let Some(source) = file.get_mut("source") {
                self.fetched(source, false)?;
            }
            if let Some(secret) = file.get("secretRef") {
                self.secret(secret)?;
            }
        }
        if let Some(rehearsal) = self.rehearsal {
            self.rehearse(spec, name, rehearsal);
        }
        Ok(())
    }

    fn rehearse(&mut self, spec: &mut Value, name: &Name, rehearsal: Rehearsal) {
        if take(spec, "windows") {
            self.notes.insert(format!("deployment/{name}: would wait for its windows"));
        }
        if take(spec, "approval") {
            self.notes.insert(format!("deployment/{name}: would wait for approval"));
        }
        let mut strategy = spec.get("strategy").cloned().unwrap_or_else(|| json!({}));
        strategy["deadline"] = json!(DEADLINE);
        if let Some(soak) = rehearsal.soak {
            strategy["soak"] = json!(soak);
        }
        if rehearsal.at_once {
            strategy = json!({"batches": [{"max": "100%"}], "maxUnavailable": "100%", "soak": "0s", "deadline": DEADLINE});
        }
        spec["strategy"] = strategy;
    }

    /// What is fetched comes from the fleet: something else for each hash, and the same for the same one.
    fn fetched(&mut self, source: &mut Value, archive: bool) -> anyhow::Result<()> {
        let original = format!("{} {}", source["url"].as_str().unwrap_or_default(), source["sha256"].as_str().unwrap_or_default());
        let name = Digest::of(original.as_bytes()).short().to_owned();
        let text = format!("stands in for {original}\n");
        let (url, bytes) =
            if archive { self.fleet.offer_archive(&name, &text)? } else { (self.fleet.offer(&name, text.as_bytes())?, text.into_bytes()) };
        source["url"] = json!(url);
        source["sha256"] = json!(Digest::of(&bytes).as_str());
        Ok(())
    }

    fn secret(&self, reference: &Value) -> anyhow::Result<()> {
        let word = |key: &str, default: &str| reference.get(key).and_then(Value::as_str).unwrap_or(default).to_owned();
        let (name, key) = (word("name", ""), word("key", "value"));
        let folder = self.fleet.secrets().join(&name);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(&key), format!("simulated {name}/{key}\n"))?;
        Ok(())
    }
}

/// A port that may be opened without being root; the same one for every device.
pub(super) fn port(port: u16) -> u16 {
    if port < 1024 { port + 8000 } else { port }
}

/// Ports that may be opened here, no echo requests, no TLS, no DNS, no SNMP, and every second if it is repeated.
fn rewrite_probe(probe: &mut Value, repeated: bool) {
    if let Some(tls) = probe.as_object_mut().and_then(|probe| probe.remove("tls")) {
        probe["tcp"] = json!({"port": tls["port"]});
    }
    for path in ["/tcp/port", "/http/port"] {
        if let Some(number) = probe.pointer_mut(path) {
            *number = json!(number.as_u64().and_then(|number| u16::try_from(number).ok()).map_or(0, port));
        }
    }
    if let Some(http) = probe.get_mut("http").and_then(Value::as_object_mut) {
        for field in ["scheme", "tls", "matches"] {
            http.remove(field);
        }
    }
    let _ = take(probe, "family") | take(probe, "sourceAddress");
    if take(probe, "icmp") | take(probe, "dns") | take(probe, "snmp") {
        probe["tcp"] = json!({"port": simfleet::SSH});
    }
    if repeated {
        probe["interval"] = json!("1s");
    }
}

/// Every package that the manifests name, with the versions that they name, and how bad they are.
pub(super) fn catalogue(stages: &[&Desired], bad: &[Bad], more: &[String]) -> anyhow::Result<Catalogue> {
    let mut units: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut versions: BTreeSet<(String, String)> = BTreeSet::new();
    for deployment in stages.iter().flat_map(|desired| desired.deployments.values()) {
        let apts: Vec<_> = deployment
            .content
            .packages
            .iter()
            .filter_map(|package| match package {
                Package::Apt(apt) => Some(apt),
                Package::Archive(_) => None,
            })
            .collect();
        versions.extend(apts.iter().map(|apt| (apt.name.clone(), apt.version.clone())));
        for service in &deployment.content.services {
            let stem = service.unit.split('.').next().unwrap_or_default();
            // A unit is brought by the package of its name, or else by the Deployment's first one.
            if let Some(apt) = apts.iter().find(|apt| apt.name == stem).or(apts.first()) {
                units.entry(&apt.name).or_default().insert(service.unit.clone());
            }
        }
    }
    for text in more {
        let (name, version) = text.split_once('=').with_context(|| format!("--package {text}: write PACKAGE=VERSION"))?;
        versions.insert((name.to_owned(), version.to_owned()));
    }
    let mut catalogue = Catalogue::default();
    for (name, version) in &versions {
        let units = units.get(name.as_str()).into_iter().flatten().cloned().collect();
        catalogue.add(simfleet::Package { name: name.clone(), version: version.clone(), units, ..simfleet::Package::default() });
    }
    for Bad { name, version, fault } in bad {
        let Some(package) = catalogue.get_mut(name, version) else { bail!("--bad {name}={version}: no manifest names it") };
        match fault {
            Fault::DiesAfter(time) => package.dies_after = Some(u32::try_from(time.as_secs().max(1))?),
            Fault::InstallFails(words) => package.fails = Some(words.clone()),
            Fault::Logs(words) => package.logs = Some(words.clone()),
            other => bail!("--bad {name}={version}:{other}: a package can be dies-after, install-fails or logs"),
        }
    }
    Ok(catalogue)
}

pub(super) fn parse_bad(text: &str) -> Result<Bad, String> {
    let wrong = "write PACKAGE=VERSION:dies-after=5s, PACKAGE=VERSION:install-fails=WORDS or PACKAGE=VERSION:logs=WORDS";
    let (name, rest) = text.split_once('=').ok_or(wrong)?;
    // A version may have a colon of its own.
    let at = [":dies-after", ":install-fails", ":logs"].iter().find_map(|how| rest.find(how)).ok_or(wrong)?;
    Ok(Bad { name: name.to_owned(), version: rest[..at].to_owned(), fault: rest[at + 1..].parse()? })
}

/// The items of the list that a path leads to; none if there is no such list.
fn list<'a>(value: &'a mut Value, path: &str) -> impl Iterator<Item = &'a mut Value> {
    value.pointer_mut(path).and_then(Value::as_array_mut).into_iter().flatten()
}

/// Takes a field away; whether it said something.
fn take(value: &mut Value, key: &str) -> bool {
    value.as_object_mut().and_then(|fields| fields.remove(key)).is_some_and(|field| field != "None" && !field.is_null())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_move_to_ports_that_everybody_may_open() {
        let rewritten = |text: &str| {
            let mut probe: Value = serde_json::from_str(text).unwrap();
            rewrite_probe(&mut probe, true);
            probe.to_string()
        };
        let http = rewritten(r#"{"name":"web","http":{"port":443,"scheme":"https","path":"/x"},"interval":"15s"}"#);
        assert_eq!(http, r#"{"http":{"path":"/x","port":8443},"interval":"1s","name":"web"}"#);
        assert_eq!(rewritten(r#"{"name":"db","tcp":{"port":5432}}"#), r#"{"interval":"1s","name":"db","tcp":{"port":5432}}"#);
        assert_eq!(rewritten(r#"{"name":"ping","icmp":{"count":4}}"#), r#"{"interval":"1s","name":"ping","tcp":{"port":2222}}"#);
    }

    #[test]
    fn a_bad_version_is_read_even_with_an_epoch() {
        let bad = parse_bad("app=1:2.0-1:install-fails=no: really").unwrap();
        assert_eq!((bad.name.as_str(), bad.version.as_str()), ("app", "1:2.0-1"));
        assert_eq!(bad.fault, Fault::InstallFails("no: really".into()));
        assert!(parse_bad("app=2.0").is_err() && parse_bad("app:dies-after=5s").is_err());
    }
}
