//! What the API server does to whoever uses it: watches that are too old to go on, writers that never stop, and fields that others own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use e2e::control_plane::ControlPlane;
use e2e::engine::Engine;
use e2e::fleet::{Fleet, LIMIT, Log, NAMESPACE, skipped};
use e2e::proxy::Proxy;
use e2e::wait_until;
use serde_json::{Value, json};

fn until(engine: &Engine, what: &str, look: impl FnMut() -> Result<(), String>) {
    wait_until(what, LIMIT, look).unwrap_or_else(|error| panic!("{error}\n{}", engine.tail()));
}

fn rolled_out(fleet: &Fleet, engine: &Engine, version: &str, devices: usize) {
    until(engine, &format!("{version} on {devices}"), || fleet.is("Complete", version, devices));
}

/// How often our kinds were asked for whole: as streams, and in pages.
fn lists(plane: &ControlPlane) -> (usize, usize) {
    let asked = plane.requests_of(NAMESPACE, "evenkeel").unwrap();
    let ours = || asked.iter().filter(|request| request.resource.starts_with("evenkeel.dev/"));
    (ours().filter(|request| request.streams).count(), ours().filter(|request| request.verb == "list").count())
}

/// Cut off from the API server while objects come, change and go there, and so late again that no watch can go on from where it was
/// (410 Gone): what is there is listed anew, so that nothing is lost, and watched on.
#[test]
fn a_watch_that_is_too_old_begins_anew() {
    if skipped() {
        return;
    }
    // With a watch cache a restart empties it; without one etcd itself has forgotten, and there are no lists that come as streams.
    for arguments in [&[][..], &["--watch-cache=false", "--feature-gates=WatchList=false"]] {
        let mut fleet = Fleet::new(ControlPlane::start_with(arguments).unwrap(), 4, &[], |_| {}).unwrap();
        fleet.plane.must(&["delete", "dev/d-4"]).unwrap();
        fleet.deploy("1.0-1", "");
        let way = Proxy::to(fleet.plane.port()).unwrap();
        let mut engine = fleet.engine("engine", Some(way.port())).unwrap();
        // The lease is not what this is about.
        engine.arguments = ["--lease-duration", "10m"].map(str::to_owned).to_vec();
        engine.start().unwrap();
        rolled_out(&fleet, &engine, "1.0-1", 3);
        let before = lists(&fleet.plane);

        way.cut();
        fleet.plane.must(&["delete", "dev/d-3"]).unwrap();
        fleet.plane.apply(&fleet.device(4).unwrap()).unwrap();
        fleet.plane.must(&["label", "dev/d-1", "seen=no"]).unwrap();
        fleet.deploy("2.0-1", "");
        if arguments.is_empty() {
            fleet.plane.restart_server().unwrap();
        } else {
            fleet.plane.compact().unwrap();
        }
        until(&engine, "that it is cut off being said", || match engine.text(&["status"]) {
            Ok(text) if text.contains("watching") => Ok(()),
            other => Err(format!("{other:?}")),
        });
        way.lead_to(fleet.plane.port());
        rolled_out(&fleet, &engine, "2.0-1", 3);
        assert!(engine.log().contains("(410)"), "{arguments:?}: no watch was too old:\n{}", engine.tail());
        let ((streams, pages), has_streams) = (lists(&fleet.plane), arguments.is_empty());
        let anew = if has_streams { streams > before.0 } else { pages > before.1 };
        assert!(anew, "nothing was listed anew: {before:?}, {:?}", (streams, pages));
        assert!(!has_streams || pages == 0, "{pages} pages were asked for, though lists come as streams");
        let mut versions = fleet.versions().unwrap();
        versions.sort();
        assert_eq!(versions, ["1.0-1", "2.0-1", "2.0-1", "2.0-1"], "d-3 left, and d-4 came");
        let devices = engine.text(&["get", "devices"]).unwrap();
        assert!(devices.contains("d-4") && !devices.contains("d-3"), "{devices}");

        // And the new watches work.
        fleet.deploy("3.0-1", "");
        rolled_out(&fleet, &engine, "3.0-1", 3);
        until(&engine, "that all is well being said", || match engine.text(&["status"]) {
            Ok(text) if !text.contains("watching") => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }
}

const DEPLOYMENT: &str = "/apis/evenkeel.dev/v1alpha1/namespaces/default/deployments/app";
/// Writes of one writer of a storm.
const WRITES: usize = 250;

fn device(number: usize) -> String {
    format!("/apis/evenkeel.dev/v1alpha1/namespaces/default/devices/d-{number}")
}

/// Others write to objects and their status as fast as they can, and change what is wanted again and again: at no instant does a status
/// claim what is not so of the generation that it names, and when they stop all is as it should be, and nothing is written any more.
#[test]
fn in_a_storm_of_writes_it_says_what_is_so() {
    if skipped() {
        return;
    }
    let fleet = Fleet::new(ControlPlane::start().unwrap(), 3, &[], |_| {}).unwrap();
    let mut engine = fleet.engine("engine", None).unwrap();
    fleet.deploy("1.0-1", "");
    engine.start().unwrap();
    rolled_out(&fleet, &engine, "1.0-1", 3);
    let plain = fleet.plane.plain().unwrap();
    let stop = AtomicBool::new(false);
    let done = |code: u16| assert!([200, 409].contains(&code), "{code}");
    std::thread::scope(|scope| {
        let writers = [
            scope.spawn(|| {
                (0..WRITES).for_each(|count| {
                    let note = json!({"metadata": {"annotations": {"example.com/count": count.to_string()}}});
                    done(plain.merge(&device(count % 3 + 1), "notes", &note).unwrap());
                    done(plain.merge(DEPLOYMENT, "notes", &note).unwrap());
                });
            }),
            scope.spawn(|| {
                (0..WRITES).for_each(|count| {
                    let stale = json!({"status": {"health": "Unknown", "update": "OutOfDate", "packages": []}});
                    done(plain.merge(&format!("{}/status", device(count % 3 + 1)), "stale", &stale).unwrap());
                });
            }),
            scope.spawn(|| {
                (0..40).for_each(|count| {
                    let version = if count % 2 == 0 { "2.0-1" } else { "1.0-1" };
                    done(plain.merge(DEPLOYMENT, "people", &json!({"spec": {"package": {"apt": {"version": version}}}})).unwrap());
                    std::thread::sleep(Duration::from_millis(100 * (count % 8)));
                });
            }),
        ];
        let sampler = scope.spawn(|| {
            let (mut newest, mut samples) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                newest = truthful(&plain.get(DEPLOYMENT).unwrap(), newest);
                samples += 1;
            }
            println!("{samples} samples");
        });
        let ended = writers.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>();
        stop.store(true, Ordering::Relaxed);
        sampler.join().unwrap();
        assert!(ended.iter().all(Result::is_ok));
    });
    let last = json!({"spec": {"package": {"apt": {"version": "3.0-1"}}}});
    assert_eq!(plain.merge(DEPLOYMENT, "people", &last).unwrap(), 200);
    rolled_out(&fleet, &engine, "3.0-1", 3);
    for number in 1..=3 {
        until(&engine, "what is so of the device being said", || {
            let status = plain.get(&device(number)).unwrap()["status"].clone();
            let is_so = status["health"] == "Healthy" && status["update"] == "UpToDate" && status["packages"][0]["version"] == "3.0-1";
            if is_so { Ok(()) } else { Err(status.to_string()) }
        });
    }
    // Also where the status of what is at rest was written over.
    let stale = json!({"status": {"phase": "Failed", "observedGeneration": 1, "conditions": []}});
    assert_eq!(plain.merge(&format!("{DEPLOYMENT}/status"), "stale", &stale).unwrap(), 200);
    rolled_out(&fleet, &engine, "3.0-1", 3);
    fleet.plane.must(&["wait", "--for=condition=Ready", "--timeout=60s", "edep/app", "dev/d-1", "dev/d-2", "dev/d-3"]).unwrap();
    at_rest(&fleet);
    once(&fleet, &engine);
}

/// Writers of the storm in which a finalizer has to come off, and writes of each of them at most.
const STORM: (usize, usize) = (6, 300);

/// What has to come off its devices goes, though others write to it faster than anybody can read.
#[test]
fn a_finalizer_comes_off_in_a_storm() {
    if skipped() {
        return;
    }
    let fleet = Fleet::new(ControlPlane::start().unwrap(), 1, &[], |_| {}).unwrap();
    let mut engine = fleet.engine("engine", None).unwrap();
    fleet.deploy("1.0-1", "  onDelete: Remove\n");
    engine.start().unwrap();
    rolled_out(&fleet, &engine, "1.0-1", 1);
    until(&engine, "the finalizer", || {
        let object = fleet.object("edep", "app");
        if object["metadata"]["finalizers"] == json!(["evenkeel.dev/remove"]) { Ok(()) } else { Err(object.to_string()) }
    });
    let plain = fleet.plane.plain().unwrap();
    fleet.plane.must(&["delete", "edep", "app", "--wait=false"]).unwrap();
    let note = &|writer: usize, count: usize| {
        let note = json!({"metadata": {"annotations": {format!("example.com/{writer}"): count.to_string()}}});
        plain.merge(DEPLOYMENT, "notes", &note).unwrap()
    };
    let gone = std::thread::scope(|scope| {
        let writers: Vec<_> =
            (0..STORM.0).map(|writer| scope.spawn(move || (0..STORM.1).position(|count| note(writer, count) == 404))).collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect::<Vec<_>>()
    });
    println!("gone after so many writes: {gone:?}");
    assert!(gone.iter().all(Option::is_some), "it is held still: {}\n{}", fleet.object("edep", "app"), engine.tail());
    once(&fleet, &engine);
}

/// Looks whether a Deployment's status claims what is so of the generation that it names, and gives that back.
fn truthful(object: &Value, newest: i64) -> i64 {
    let (generation, status) = (object["metadata"]["generation"].as_i64().unwrap(), &object["status"]);
    let observed = status["observedGeneration"].as_i64().unwrap_or_default();
    assert!(newest <= observed && observed <= generation, "{newest} {object}");
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    let is_ready = conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    if observed == generation && (is_ready || status["phase"] == "Complete") {
        let version = object["spec"]["package"]["apt"]["version"].as_str().unwrap();
        let said = status["history"].as_array().and_then(|history| history.last()).cloned().unwrap_or_default();
        assert!(said["version"].as_str().is_some_and(|said| said.contains(version)), "ready, with another version: {object}");
        assert_eq!(status["counts"]["updated"], 3, "ready, and not everywhere: {object}");
    }
    observed
}

/// Nothing is written any more.
fn at_rest(fleet: &Fleet) {
    let versions = || fleet.plane.must(&["get", "evenkeel", "-o", "jsonpath={.items[*].metadata.resourceVersion}"]).unwrap();
    let mut last = String::new();
    fleet.until("rest", || {
        let now = versions();
        std::thread::sleep(Duration::from_secs(2));
        let rests = std::mem::replace(&mut last, now.clone()) == now;
        if rests { Ok(()) } else { Err(now) }
    });
    let before = versions();
    std::thread::sleep(Duration::from_secs(8));
    assert_eq!(versions(), before);
}

/// Nothing was done twice, by a log that is proven and by those of the devices.
fn once(fleet: &Fleet, engine: &Engine) {
    let export = engine.data.join("export.jsonl");
    let _ = std::fs::remove_file(&export);
    engine.text(&["audit", "export", "--file", export.to_str().unwrap()]).unwrap();
    Log::proven(&export, &engine.data.join("audit.pub"), &fleet.simulated).unwrap().assert_once();
}
