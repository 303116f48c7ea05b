//! Replicas that are killed, and a database that ends, at moments that a seed chooses.

use std::time::Duration;

use e2e::control_plane::ControlPlane;
use e2e::fleet::{Fleet, app, database_secrets, skipped, tail};
use e2e::postgres::Postgres;

/// A replica is killed, or the database ends, at a moment that a seed chooses, again and again in rollouts that overtake each other: nothing
/// is done twice, the log is whole, and it ends as it should. `cargo xtask chaos` does it more often.
#[test]
fn killed_at_any_moment_nothing_is_done_twice() {
    if skipped() {
        return;
    }
    let Some(mut database) = Postgres::start().unwrap() else {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "PostgreSQL is not installed, and in CI nothing is skipped");
        return eprintln!("SKIPPED: PostgreSQL is not installed");
    };
    let number = |name: &str, default: u64| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (kills, seed) = (number("EVENKEEL_KILLS", 50), number("EVENKEEL_SEED", 1));
    println!("{kills} kills from seed {seed}");
    let values = ["replicas=2", "database.existingSecret=db", "auditKey.existingSecret=key", "extraArgs={--lease-duration=3s}"];
    let plane = ControlPlane::start().unwrap();
    let mut world = Fleet::new(plane, 3, &values, |plane| database_secrets(plane, &database)).unwrap();
    world.start_pod().unwrap();
    world.start_pod().unwrap();
    let versions = ["1.0-1", "2.0-1", "3.0-1"];
    // Whatever is there, the next one is meant, also where it is lower.
    let deploy = |world: &Fleet, version: &str| {
        let text = app(version, "").replace(&format!("version: {version}}}"), &format!("version: {version}, allowDowngrade: true}}"));
        world.plane.apply(&text).unwrap();
    };
    deploy(&world, versions[0]);
    world.wait("Complete", versions[0], 3);
    // A linear congruential generator (Knuth, MMIX) is random enough for a moment.
    let mut state = seed;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let (mut version, mut planners) = (versions[0], 0);
    for kill in 0..kills {
        if kill % 2 == 0 {
            version = versions[usize::try_from(kill / 2 + 1).unwrap() % versions.len()];
            deploy(&world, version);
        }
        std::thread::sleep(Duration::from_millis(random(4000)));
        if random(4) == 0 {
            database.down();
            std::thread::sleep(Duration::from_millis(random(3000)));
            database.up().unwrap();
        }
        // Somebody has to plan, or nobody does yet.
        if random(2) == 0 {
            until(&mut world, "somebody who plans", |world| planner(world).map(drop).ok_or_else(|| world.holder()));
        }
        // Mostly the one that plans; or one that only holds shards.
        let planner = planner(&world).filter(|_| random(3) > 0);
        let number = planner.unwrap_or_else(|| usize::from(random(2) == 0));
        let pod = &mut world.pods[number];
        pod.kill();
        pod.run().unwrap();
        planners += usize::from(planner.is_some());
    }
    println!("{planners} of them planned");
    until(&mut world, "its end", |world| world.is("Complete", version, 3));
    until(&mut world, "somebody who plans", |world| planner(world).map(drop).ok_or_else(|| world.holder()));
    world.log(&world.pods[planner(&world).unwrap_or_default()]).unwrap().assert_once();
}

/// Which of the pods plans.
fn planner(world: &Fleet) -> Option<usize> {
    let holder = world.holder();
    world.pods.iter().position(|pod| holder.contains(&format!("_{}_", pod.id())))
}

/// Waits until something holds. Who ends, since the lease is lost or the database away, is started again, as a kubelet would.
fn until(world: &mut Fleet, what: &str, look: impl Fn(&Fleet) -> Result<(), String>) {
    let mut last = String::new();
    for _ in 0..600 {
        for pod in world.pods.iter_mut().filter(|pod| pod.is_over()) {
            pod.kill();
            pod.run().unwrap();
        }
        match look(world) {
            Ok(()) => return,
            Err(error) => last = error,
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    let logs: Vec<String> = world.pods.iter().map(|pod| tail(&pod.log())).collect();
    panic!("{what}: {last}\n{}", logs.join("\n--- the next pod\n"));
}
