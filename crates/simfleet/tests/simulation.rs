//! Worlds that come from seeds: a small fleet, commits, people, and everything that can go wrong between the verbs. A failure says
//! its seed and the last of what happened.
//!
//! `EVENKEEL_SEEDS` is how many, `EVENKEEL_SEED` the first; with one seed, everything that happens is told.
//! `cargo xtask simulate --seeds 5000` sets them.

mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};

use jiff::Timestamp;
use simfleet::memory::Devices;
use world::{Log, Tally, World};

/// Worlds by default: what a debug build lives through in some twenty seconds.
const SEEDS: u64 = 200;
/// Lines of a failure's story.
const LINES: usize = 60;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text}")))
}

/// Lives through one world; else what broke, and what happened before.
fn live(seed: u64, narrow: bool, devices: fn(Timestamp) -> Devices) -> Result<(Tally, Log), (String, Log)> {
    let log = Log::default();
    let shared = Arc::clone(&log);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let lived = catch_unwind(AssertUnwindSafe(move || {
        let mut world = World::new(seed, shared, devices);
        world.narrow = narrow;
        runtime.block_on(world.live());
        world.tally
    }));
    match lived {
        Ok(tally) => Ok((tally, log)),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err((text.unwrap_or_default(), log))
        }
    }
}

fn told(log: &Log, lines: usize) -> String {
    let log = log.lock().unwrap_or_else(PoisonError::into_inner);
    log[log.len().saturating_sub(lines)..].join("\n")
}

#[test]
fn whatever_happens() {
    let (first, seeds) = (setting("EVENKEEL_SEED", 0), setting("EVENKEEL_SEEDS", SEEDS));
    let mut sum = Tally::new();
    for seed in first..first + seeds {
        match live(seed, false, Devices::new) {
            Ok((tally, log)) => {
                tally.into_iter().for_each(|(what, times)| *sum.entry(what).or_default() += times);
                if seeds == 1 {
                    println!("{}", told(&log, usize::MAX));
                }
            }
            Err((broken, log)) => {
                let lines = if seeds == 1 { usize::MAX } else { LINES };
                panic!("seed {seed}\n{}\n{broken}\n(seed {seed})", told(&log, lines));
            }
        }
    }
    println!("{seeds} worlds: {sum:?}");
    if seeds >= 100 {
        for what in
            ["complete", "rolled back", "stopped", "killed", "command", "not recorded", "outcome not stored", "clock back", "deleted"]
        {
            assert!(sum.get(what).is_some_and(|times| *times >= 5), "hardly ever {what} in {seeds} worlds: they show too little");
        }
        let (right, otherwise) = (sum["device as it should be"], sum.get("device otherwise").copied().unwrap_or_default());
        assert!(right > otherwise * 4, "{otherwise} of {} devices don't get what is in force", right + otherwise);
    }
}

#[test]
fn devices_that_run_a_step_twice_are_found() {
    let found = (0..50).any(|seed| live(seed, false, Devices::forgetful).is_err_and(|(broken, _)| broken.contains("ran twice")));
    assert!(found, "50 worlds with forgetful devices, and no step was seen to run twice");
}

#[test]
fn a_plan_that_takes_out_too_many_is_found() {
    let found = (0..50).any(|seed| live(seed, true, Devices::new).is_err_and(|(broken, _)| broken.contains("one too many")));
    assert!(found, "50 worlds in which one device may be out, and it was always kept to while more were allowed");
}
