//! `cargo run -p logs --example bench_mining -- [--out FILE] [--wrong]`: lines per second of processor time, and grouping accuracy, on
//! labelled lines of three seeds. With `--out` the first sample is written, one `form<TAB>program<TAB>id<TAB>message` a line, for another
//! miner to be measured on; with `--wrong` the forms whose lines were not grouped as they should are named.

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;

use rustix::time::{ClockId, clock_gettime};

use logs::mining::{Miner, Options, TemplateId, accuracy};

#[path = "../tests/samples/mod.rs"]
mod samples;

const LINES: usize = 200_000;
/// The best of so many: others use the machine too.
const ROUNDS: usize = 5;

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let out = arguments.iter().position(|argument| argument == "--out").and_then(|at| arguments.get(at + 1));
    for seed in 1..=3 {
        let lines = samples::samples(seed, LINES);
        if let (1, Some(path)) = (seed, &out) {
            let text: String =
                lines.iter().map(|line| format!("{}\t{}\t{}\t{}\n", line.form, line.program, line.id, line.message)).collect();
            std::fs::write(path, text)?;
        }
        let mut best = f64::MAX;
        let mut found = Vec::new();
        let mut templates = 0;
        for _ in 0..ROUNDS {
            let mut miner = Miner::new(Options::default());
            found.clear();
            let begin = processor();
            for line in &lines {
                found.push(black_box(miner.mine(line.program, line.id, &line.message)).template);
            }
            best = best.min(processor() - begin);
            templates = miner.len();
        }
        if arguments.iter().any(|argument| argument == "--wrong") {
            wrong(&lines, &found);
        }
        let accuracy = accuracy::grouping(lines.iter().map(|line| line.form).zip(&found));
        let speed = LINES as f64 / best;
        println!(
            "mining seed={seed} lines_per_second={speed:.0} accuracy={accuracy:.4} templates={templates} forms={}",
            samples::FORMS.len()
        );
    }
    Ok(())
}

/// Seconds that this thread had a processor.
fn processor() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn wrong(lines: &[samples::Sample], found: &[TemplateId]) {
    let mut forms: BTreeMap<usize, BTreeSet<TemplateId>> = BTreeMap::new();
    let mut templates: BTreeMap<TemplateId, BTreeSet<usize>> = BTreeMap::new();
    for (line, template) in lines.iter().zip(found) {
        forms.entry(line.form).or_default().insert(*template);
        templates.entry(*template).or_default().insert(line.form);
    }
    for (form, of) in &forms {
        let with: BTreeSet<usize> = of.iter().flat_map(|template| &templates[template]).copied().collect();
        if of.len() > 1 || with.len() > 1 {
            println!("form {form} has {} templates, with forms {with:?}: {}", of.len(), samples::FORMS[*form].3);
        }
    }
}
