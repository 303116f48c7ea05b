//! Every operation that `crates/api/openapi.json` describes, asked on the real engine over TCP in many ways, right and wrong: each answer is one
//! that is described, with its media type and its shape, and none says that the fault is ours.
//!
//! What is asked is the same each time. `EVENKEEL_SEED=2` asks otherwise, and `EVENKEEL_CASES=100` more of each operation.

mod cases;
#[path = "../../../described.rs"]
#[allow(dead_code, reason = "shared with others")]
mod description;
mod fleet;
mod http;
mod values;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use cases::{Operation, What};
use description::{Answered, Described};
use fleet::{Who, World};
use http::{Answer, Request};
use values::Random;

/// What is asked of each operation; of one with a body half as much again.
const CASES: usize = 12;
const SEED: usize = 1;
/// Operations that never say yes here, and why.
const NEVER: [(&str, &str); 5] = [
    ("GET /repositories/{namespace}/{name}/explain", "outside of a cluster no Repository is followed"),
    ("GET /oidc/login", "there is no provider"),
    ("GET /oidc/callback", "there is no provider"),
    ("POST /session/first", "there are users already"),
    ("POST /source/admit", "no commit goes beyond the limits"),
];
/// The longest wait when one asks too often, and how often one waits: whoever is locked out for longer is answered so.
const WAIT: u64 = 2;
const TRIES: usize = 5;
/// Faults that are shown.
const SHOWN: usize = 30;

/// What came of an operation.
#[derive(Default)]
struct Tally {
    asked: usize,
    /// By the first digit of the status.
    statuses: [usize; 6],
    unavailable: usize,
    took: Duration,
}

struct Run<'a> {
    world: &'a World,
    described: Described,
    /// By what is wrong, the first request that shows it.
    faults: BTreeMap<String, String>,
}

fn number(variable: &str, usual: usize) -> usize {
    std::env::var(variable).map_or(usual, |text| text.parse().unwrap_or_else(|error| panic!("{variable}: {error}")))
}

#[test]
fn every_operation_answers_as_it_is_described() {
    let (seed, count) = (number("EVENKEEL_SEED", SEED), number("EVENKEEL_CASES", CASES));
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/api/openapi.json")).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    let world = World::start();
    let begin = Instant::now();
    let mut run = Run { world: &world, described: Described::of(&document), faults: BTreeMap::new() };
    let (mut tallies, mut asked) = (Vec::new(), 0);
    for operation in Operation::all(&document) {
        let (name, mut tally) = (operation.name(), Tally::default());
        let mut random = Random::of(seed as u64, &name);
        for case in operation.cases(count, &mut random) {
            asked += 1;
            let request = operation.request(&world, &document, case, asked, &mut random);
            run.ask(&operation, &request, case, &mut tally);
        }
        tallies.push((name, tally));
    }
    show(&tallies);
    println!("{asked} requests of {} operations in {:?}, seed {seed}", tallies.len(), begin.elapsed());
    let faults: Vec<String> = run.faults.iter().take(SHOWN).map(|(fault, shown)| format!("{fault}\n{shown}")).collect();
    assert!(faults.is_empty(), "{} faults under seed {seed}:\n\n{}\n{}", run.faults.len(), faults.join("\n\n"), world.engine.tail());
    for (name, tally) in &tallies {
        assert!(tally.asked > 0, "{name} was never asked");
        let never = NEVER.iter().find(|(never, _)| never == name).map(|(_, why)| *why);
        match never {
            None => assert!(tally.statuses[2] > 0, "{name} never said yes: what is right about it is said in cases.rs"),
            Some(why) => assert_eq!(tally.statuses[2], 0, "{name} says yes: it is not so any more that {why}"),
        }
    }
    for (never, why) in NEVER {
        assert!(tallies.iter().any(|(name, _)| name == never), "{never} ({why}) is no operation");
    }
}

impl Run<'_> {
    /// Asks, and once more where that has to be answered alike.
    fn ask(&mut self, operation: &Operation, request: &Request, (who, what): (Who, What), tally: &mut Tally) {
        let first = self.once(operation, request, (who, what), tally);
        if what != What::Twice {
            return;
        }
        let second = self.once(operation, request, (who, what), tally);
        let passes = |status: u16| status == 429 || status == 503;
        if let (Some(first), Some(second)) = (first, second)
            && first.status != second.status
            && !passes(first.status)
            && !passes(second.status)
        {
            let fault = format!("{}: under one key it says {} and then {}", operation.name(), first.status, second.status);
            self.found(fault, request, &second);
        }
    }

    fn once(&mut self, operation: &Operation, request: &Request, case: (Who, What), tally: &mut Tally) -> Option<Answer> {
        for tries in 1..=TRIES {
            let begin = Instant::now();
            let answered = request.send(&self.world.host);
            tally.took += begin.elapsed();
            tally.asked += 1;
            let answer = match answered {
                Ok(answer) => answer,
                Err(error) => {
                    let shown = request.by_hand(&self.world.host);
                    self.faults.entry(format!("{}: {error}", operation.name())).or_insert(format!("{case:?}\n{shown}"));
                    return None;
                }
            };
            tally.statuses[usize::from(answer.status / 100).min(5)] += 1;
            tally.unavailable += usize::from(answer.status == 503);
            if let Some(fault) = self.fault(operation, request, &answer) {
                self.found(format!("{fault} ({case:?})"), request, &answer);
            }
            let wait = answer.header("retry-after").and_then(|wait| wait.parse::<u64>().ok()).filter(|wait| *wait <= WAIT);
            match wait {
                Some(wait) if answer.status == 429 && tries < TRIES => std::thread::sleep(Duration::from_secs(wait)),
                _ => return Some(answer),
            }
        }
        None
    }

    /// What is wrong with an answer, if anything.
    fn fault(&self, operation: &Operation, request: &Request, answer: &Answer) -> Option<String> {
        if answer.status >= 500 && answer.status != 503 {
            return Some(format!("{}: {} is a fault of ours", operation.name(), answer.status));
        }
        let media = answer.header("content-type");
        let is_stream = media.is_some_and(|media| media.starts_with("text/event-stream"));
        // Of an item of which parts were chosen the others are not there.
        let is_partial = (200..300).contains(&answer.status) && request.address.contains("fields=");
        let body = (!is_stream && !is_partial).then_some(answer.body.as_slice());
        self.described.fault(&operation.method, &operation.route, &Answered { status: answer.status, media, body })
    }

    fn found(&mut self, fault: String, request: &Request, answer: &Answer) {
        let shown = || format!("{}\n\n{}", request.by_hand(&self.world.host), answer.shown());
        self.faults.entry(fault).or_insert_with(shown);
    }
}

fn show(tallies: &[(String, Tally)]) {
    let columns = ["asked", "2xx", "3xx", "4xx", "503", "ms"].map(|column| format!(" {column:>5}")).concat();
    println!("{}{columns}", " ".repeat(56));
    for (name, tally) in tallies {
        let Tally { asked, statuses: [_, _, well, elsewhere, refused, _], unavailable, took } = tally;
        println!("{name:56} {asked:5} {well:5} {elsewhere:5} {refused:5} {unavailable:5} {:5}", took.as_millis());
    }
}
