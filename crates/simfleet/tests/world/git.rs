//! What people write: a small fleet, and commits that change it.

use std::sync::Arc;

use crds::{Kind, Object};
use reconcile::finding::Severity;
use reconcile::{Desired, Name, Revision};
use serde_json::{Value, json};

use super::seeded::Seeded;

/// Versions of a Deployment's package that people choose from.
const VERSIONS: usize = 6;

/// A repository.
pub struct Git {
    pub devices: Vec<(String, Value)>,
    pub deployments: Vec<(String, Value)>,
    /// Deleted, the last one first to come back: Deployments depend on those before them only.
    deleted: Vec<(String, Value)>,
    pub commits: u32,
}

impl Git {
    pub fn new(chance: &mut Seeded) -> Self {
        let devices: Vec<_> = (0..3 + chance.below(6)).map(|number| (format!("dev-{number}"), device(number, chance))).collect();
        let deployments = (0..1 + chance.below(3)).map(|number| (app(number), deployment(number, chance))).collect();
        Self { devices, deployments, deleted: Vec::new(), commits: 0 }
    }

    /// Every version that somebody might ask for, with the package.
    pub fn versions(&self) -> Vec<(String, String)> {
        let numbers = 0..self.deployments.len() + self.deleted.len();
        numbers.flat_map(|number| (0..VERSIONS).map(move |minor| (app(number), version(number, minor)))).collect()
    }

    /// Somebody changes something. Returns what.
    pub fn change(&mut self, chance: &mut Seeded) -> String {
        if chance.percent(15) {
            let at = chance.below(self.devices.len());
            let (name, value) = &mut self.devices[at];
            match chance.below(3) {
                0 => value["metadata"]["labels"]["role"] = (*chance.one(&["web", "db"])).into(),
                1 => value["metadata"]["labels"]["site"] = (*chance.one(&["ams", "fra"])).into(),
                _ => value["spec"]["suspend"] = (value["spec"]["suspend"] != json!(true)).into(),
            }
            return format!("{name}: {} suspend={}", value["metadata"]["labels"], value["spec"]["suspend"]);
        }
        if chance.percent(12) {
            if let Some(back) = self.deleted.pop() {
                let what = format!("{} is written again", back.0);
                self.deployments.push(back);
                return what;
            }
            if self.deployments.len() > 1
                && let Some(gone) = self.deployments.pop()
            {
                let what = format!("{} is deleted, onDelete {}", gone.0, gone.1["spec"]["onDelete"]);
                self.deleted.push(gone);
                return what;
            }
        }
        let number = chance.below(self.deployments.len());
        let fresh = deployment(number, chance);
        let (name, value) = &mut self.deployments[number];
        let field = match chance.below(20) {
            0..13 => "package",
            13 => "selector",
            14 => "onFailure",
            15 => "approval",
            16 => "windows",
            17 => "paused",
            18 => "suspend",
            _ => "strategy",
        };
        match field {
            "package" => value["spec"]["package"]["apt"]["version"] = version(number, chance.below(VERSIONS)).into(),
            "paused" | "suspend" => value["spec"][field] = (value["spec"][field] != json!(true)).into(),
            _ => value["spec"][field] = fresh["spec"][field].clone(),
        }
        format!("{name}: {field} = {}", value["spec"][field])
    }

    /// Nothing is paused, suspended or bound to a window any more.
    pub fn set_free(&mut self) {
        for (_, value) in self.devices.iter_mut().chain(&mut self.deployments) {
            for field in ["suspend", "paused", "windows"] {
                if let Some(spec) = value["spec"].as_object_mut() {
                    spec.remove(field);
                }
            }
        }
    }

    /// What it says now.
    pub fn build(&mut self) -> Desired {
        self.commits += 1;
        let revision = Revision { reference: "main".into(), commit: format!("{:010}", self.commits), author: "ann".into(), signer: None };
        let of = |kind: Kind, list: &[(String, Value)]| -> Vec<Arc<Object>> {
            let object = |(name, value): &(String, Value)| {
                let mut value = value.clone();
                value["apiVersion"] = "evenkeel.dev/v1alpha1".into();
                value["kind"] = kind.as_str().into();
                value["metadata"]["name"] = name.as_str().into();
                assert!(crds::validate_cel(kind, &value).is_empty(), "{value}");
                Arc::new(Object::from_value(kind, value).unwrap_or_else(|error| panic!("{name}: {error}")))
            };
            list.iter().map(object).collect()
        };
        let objects = of(Kind::Device, &self.devices).into_iter().chain(of(Kind::Deployment, &self.deployments));
        let (desired, findings) = Desired::build(objects, revision);
        let errors: Vec<_> = findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
        assert!(errors.is_empty(), "{errors:?}");
        desired
    }
}

pub fn name(text: &str) -> Name {
    Name::parse(text)
}

fn app(number: usize) -> String {
    format!("app-{number}")
}

fn version(number: usize, minor: usize) -> String {
    format!("{}.{minor}", number + 1)
}

fn device(number: usize, chance: &mut Seeded) -> Value {
    let labels = json!({"role": chance.one(&["web", "web", "db"]), "site": chance.one(&["ams", "fra"])});
    let mut spec =
        json!({"type": "Server", "address": format!("10.0.0.{}", number + 1), "access": {"ssh": {"hostKeys": ["ssh-ed25519 AAAA"]}}});
    if chance.percent(80) {
        spec["probes"] = json!([{"name": "http", "http": {"port": 80}}]);
    }
    if number > 0 && chance.percent(20) {
        spec["parents"] = json!([format!("dev-{}", chance.below(number))]);
    }
    json!({"metadata": {"labels": labels}, "spec": spec})
}

fn deployment(number: usize, chance: &mut Seeded) -> Value {
    let selectors = [json!({}), json!({}), json!({"matchLabels": {"role": "web"}}), json!({"matchLabels": {"role": "db"}})];
    let batches = [
        json!([]),
        json!([{"max": 1}]),
        json!([{"max": "25%"}, {"max": "50%"}]),
        json!([{"max": 1}, {"max": 2}]),
        json!([{"max": "100%"}]),
    ];
    let unavailable = [json!(1), json!(1), json!(2), json!("25%"), json!("50%"), json!("100%")];
    let group_by = if chance.percent(40) { json!(["site"]) } else { json!([]) };
    let mut spec = json!({
        "selector": chance.one(&selectors),
        "package": {"apt": {"name": app(number), "version": version(number, chance.below(VERSIONS))}},
        "strategy": {
            "batches": chance.one(&batches),
            "maxUnavailable": chance.one(&unavailable),
            "groupBy": group_by,
            "soak": chance.one(&["0s", "30s", "2m"]),
            "deadline": chance.one(&["2m", "10m"]),
        },
        "onFailure": chance.one(&["Rollback", "Rollback", "RollbackBatch", "Pause"]),
        "approval": chance.one(&["None", "None", "None", "FirstBatch", "EveryBatch"]),
        "wayBack": chance.one(&["Require", "BestEffort"]),
        "drift": chance.one(&["Correct", "Correct", "Correct", "Report"]),
        "onDelete": chance.one(&["Keep", "Remove"]),
        "reboot": chance.one(&["Never", "Never", "Never", "IfRequired", "Always"]),
        "windows": if chance.percent(15) { json!([{"schedule": "0 * * * *", "duration": "20m"}]) } else { json!([]) },
    });
    if chance.percent(60) {
        spec["service"] = json!({"unit": app(number)});
    }
    if number > 0 && chance.percent(25) {
        spec["dependsOn"] = json!([app(number - 1)]);
    }
    json!({"metadata": {}, "spec": spec})
}
