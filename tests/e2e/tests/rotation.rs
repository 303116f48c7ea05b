//! A Secret is changed, and whatever needs it is tried anew at once: nothing here is looked at within an hour otherwise.

use e2e::control_plane::ControlPlane;
use e2e::engine::Engine;
use e2e::fleet::{Fleet, NAMESPACE, skipped};
use serde_json::Value;

/// One device with its key, and an engine that looks at it once in an hour.
fn fleet() -> (Fleet, Engine) {
    let fleet = Fleet::new(ControlPlane::start().unwrap(), 1, &["secrets[0].names={fleet-key,hook,snmp}"], |_| {}).unwrap();
    let mut engine = fleet.engine("engine", None).unwrap();
    engine.arguments = ["--look-interval", "1h"].map(str::to_owned).into();
    engine.start().unwrap();
    (fleet, engine)
}

fn key(fleet: &Fleet) -> String {
    std::fs::read_to_string(fleet.simulated.key()).unwrap()
}

/// Gives a Secret these values, whatever it has.
fn put(fleet: &Fleet, name: &str, values: &Value) {
    let patch = serde_json::json!({"stringData": values}).to_string();
    fleet.plane.must(&["patch", "secret", name, "--patch", &patch]).unwrap();
}

fn until(fleet: &Fleet, engine: &Engine, what: &str, look: impl FnMut() -> Result<(), String>) {
    e2e::wait_until(what, e2e::fleet::LIMIT, look)
        .unwrap_or_else(|error| panic!("{error}\n{}\n{}", engine.tail(), fleet.object("dev", "d-1")));
}

/// What `evenkeel explain` says of the device.
fn explained(fleet: &Fleet, engine: &Engine, words: &str) {
    until(fleet, engine, words, || match engine.text(&["explain", "device/d-1"]) {
        Ok(text) if text.contains(words) => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[test]
fn a_key_that_is_changed_is_logged_in_with_at_once() {
    if skipped() {
        return;
    }
    let (fleet, engine) = fleet();
    fleet.deploy("1.0-1", "");
    let is = |phase: &str, version: &str| until(&fleet, &engine, phase, || fleet.is(phase, version, 1));
    is("Complete", "1.0-1");
    let good = key(&fleet);
    put(&fleet, "fleet-key", &serde_json::json!({"ssh-privatekey": "no key at all"}));
    explained(&fleet, &engine, "our key is missing since");
    explained(&fleet, &engine, "fleet-key/ssh-privatekey can't be used as a private key");
    put(&fleet, "fleet-key", &serde_json::json!({"ssh-privatekey": good}));
    fleet.deploy("2.0-1", "");
    is("Complete", "2.0-1");
    // One that goes and comes back.
    fleet.plane.must(&["delete", "secret", "fleet-key"]).unwrap();
    explained(&fleet, &engine, "there is no Secret fleet-key in namespace default");
    let file = format!("--from-file=ssh-privatekey={}", fleet.simulated.key().display());
    fleet.plane.must(&["create", "secret", "generic", "fleet-key", &file]).unwrap();
    until(&fleet, &engine, "it being reached again", || match engine.text(&["explain", "device/d-1"]) {
        Ok(text) if !text.contains("our key is missing") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    // It was done by watches of that one name, and by a list of nothing but our own kinds that came as a watch.
    let asked = fleet.plane.requests_of(NAMESPACE, "evenkeel").unwrap();
    let verbs = |resource: &str| {
        asked.iter().filter(|request| request.resource == resource).map(|request| request.verb.clone()).collect::<Vec<_>>()
    };
    let secrets = verbs("secrets");
    assert!(secrets.contains(&"watch".to_owned()) && !secrets.contains(&"list".to_owned()), "{secrets:?}");
    assert!(asked.iter().all(|request| request.resource != "secrets" || request.name == "fleet-key"), "{asked:?}");
    let devices = verbs("evenkeel.dev/devices");
    assert!(devices.contains(&"watch".to_owned()) && !devices.contains(&"list".to_owned()), "{devices:?}");
    // What has the log of anybody who reads it.
    assert!(!engine.log().contains("no key at all"), "a secret is in the log");
}

/// A Receiver's Secret: what could not be said is said when it is right, and a probe's is asked with again.
#[test]
fn what_could_not_be_said_is_said_when_its_secret_is_right() {
    if skipped() {
        return;
    }
    let (fleet, engine) = fleet();
    let receiver = "metadata: {name: oncall, namespace: default}\nspec: {webhook: {secretRef: {name: hook}}}\n";
    fleet.plane.apply(&format!("apiVersion: evenkeel.dev/v1alpha1\nkind: Receiver\n{receiver}")).unwrap();
    let said = || engine.text(&["alerts", "notices"]).unwrap_or_default();
    until(&fleet, &engine, "the Receiver being known", || match engine.text(&["get", "receivers"]) {
        Ok(text) if text.contains("oncall") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let output = engine.cli(&["receivers", "test", "oncall"]);
    assert!(!output.status.success(), "there is no Secret");
    until(
        &fleet,
        &engine,
        "that it is missing being said",
        || {
            if said().contains("there is no Secret hook") { Ok(()) } else { Err(said()) }
        },
    );
    // Where it says that it is for receivers, what is tried is the next thing that is wrong.
    fleet.plane.must(&["create", "secret", "generic", "hook", "--from-literal=url=http://127.0.0.1:9/take"]).unwrap();
    until(
        &fleet,
        &engine,
        "that it is for nobody being said",
        || {
            if said().contains("is not for receivers") { Ok(()) } else { Err(said()) }
        },
    );
    fleet.plane.must(&["label", "secret", "hook", "evenkeel.dev/receiver=true"]).unwrap();
    until(&fleet, &engine, "its URL being tried", || if said().contains("nothing is sent to 127.0.0.1") { Ok(()) } else { Err(said()) });
}
