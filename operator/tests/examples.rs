//! The example fleet: without a finding, planned, and such that its README tells the truth.

use std::path::Path;
use std::process::Command;

fn examples() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples"))
}

#[test]
fn the_examples_have_no_findings() {
    let output = Command::new(env!("CARGO_BIN_EXE_evenkeel")).arg("check").arg(examples()).env("NO_COLOR", "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(text, "24 devices, 3 deployments, 48 objects in all: 0 errors, 0 warnings\n");
    assert!(output.status.success());
}

#[test]
fn the_examples_show_every_kind_and_are_planned() {
    let (desired, _) = manifests::check(examples()).unwrap();
    for kind in crds::Kind::ALL {
        assert!(desired.objects.keys().any(|(other, _)| other == kind), "no {}", kind.as_str());
    }
    let plan = reconcile::plan(&desired, &reconcile::Observed::default(), jiff::Timestamp::UNIX_EPOCH);
    let started: Vec<String> = plan.steps.iter().map(|step| format!("{} {}", step.action.word(), step.unit)).collect();
    assert_eq!(started, ["start deployment/base", "start deployment/nginx", "start deployment/postgresql", "start role/web-team"]);
    for name in desired.devices.values().filter(|device| device.access != reconcile::Access::None).map(|device| &device.name) {
        assert!(desired.selected_by.get(name).is_some_and(|units| !units.is_empty()), "{name} gets nothing");
    }
}
