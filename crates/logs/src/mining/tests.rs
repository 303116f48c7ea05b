//! What a miner promises.

use super::*;

fn miner(options: Options) -> Miner {
    Miner::new(options)
}

fn texts(miner: &Miner) -> Vec<String> {
    let mut texts: Vec<String> =
        miner.templates().map(|template| format!("{} {}: {}", template.count, template.program, template.text)).collect();
    texts.sort();
    texts
}

#[test]
fn the_first_is_new_one_that_differs_widens_and_the_rest_is_nothing() {
    let mut miner = miner(Options::default());
    let first = miner.mine("sshd", "", "Failed password for root from 10.0.0.1 port 22 ssh2");
    assert_eq!(first.change, Change::New);
    let same = miner.mine("sshd", "", "Failed password for root from 10.9.9.9 port 4711 ssh2");
    assert_eq!(same, Mined { template: first.template, change: Change::None });
    let other = miner.mine("sshd", "", "Failed password for alice from 10.9.9.9 port 4711 ssh2");
    assert_eq!(other, Mined { template: first.template, change: Change::Widened });
    let third = miner.mine("sshd", "", "Failed password for bob from 10.9.9.9 port 4711 ssh2");
    assert_eq!(third, Mined { template: first.template, change: Change::None });
    assert_eq!(texts(&miner), ["4 sshd: Failed password for <*> from <ip> port <num> ssh<num>"]);
}

#[test]
fn programs_kinds_and_lengths_have_their_own() {
    let mut miner = miner(Options::default());
    for (program, id) in [("a", ""), ("b", ""), ("a", "KIND"), ("a", "OTHER")] {
        assert_eq!(miner.mine(program, id, "the very same line of words").change, Change::New, "{program} {id}");
    }
    assert_eq!(miner.mine("a", "", "the very same line of many words").change, Change::New);
    // Too short to be compared.
    assert_eq!(miner.mine("a", "", "link up now").change, Change::New);
    assert_eq!(miner.mine("a", "", "link down now").change, Change::New);
    assert_eq!(miner.mine("a", "", "link up now").change, Change::None);
    assert_eq!(miner.mine("a", "", "").change, Change::New);
    assert_eq!(miner.mine("a", "", "").change, Change::None);
}

/// So that counts kept elsewhere go on to mean the same.
#[test]
fn an_id_is_the_same_in_every_process() {
    let id = miner(Options::default()).mine("sshd", "", "Connection closed by 10.0.0.1 port 22").template;
    assert_eq!(id.to_string(), "be0da1bf8711b428");
    assert_eq!(id.to_string().parse(), Ok(id));
    assert_eq!("12".parse::<TemplateId>(), Err(NotAnId));
    assert_eq!("+23456789abcdef0".parse::<TemplateId>(), Err(NotAnId));
}

#[test]
fn what_was_kept_goes_on_as_if_nothing_happened() {
    let mut first = miner(Options::default());
    let lines = ["a b c d e 1", "a b c x e 2", "q r s t", "a short", "x : y z w"];
    for line in lines {
        first.mine("p", "", line);
        first.mine("p", "ID", line);
    }
    let kept = serde_json::to_string(&first.snapshot()).unwrap();
    let mut second = Miner::restore(Options::default(), &serde_json::from_str(&kept).unwrap());
    assert_eq!(first.snapshot(), second.snapshot());
    for line in ["a b c z e 3", "q r s t", "a short", "y : y z w"] {
        assert_eq!(first.mine("p", "", line), second.mine("p", "", line), "{line}");
        assert_eq!(second.mine("p", "", line).change, Change::None, "{line}");
    }
    assert_eq!(first.mine("p", "", "quite another thing"), second.mine("p", "", "quite another thing"));
    // What is kept twice is known once, and no more than there is room for.
    let mut twice = first.snapshot();
    twice.templates.extend(twice.templates.clone());
    assert_eq!(Miner::restore(Options::default(), &twice).len(), first.len());
    let few = Options { templates: 3, ..Options::default() };
    assert_eq!(Miner::restore(few, &first.snapshot()).len(), 3);
}

#[test]
fn nothing_grows_without_end() {
    let options = Options { templates: 50, programs: 5, children: 7, ..Options::default() };
    let mut miner = miner(options);
    let word = |number: usize| char::from(b'a' + u8::try_from(number % 26).unwrap());
    for number in 0..5000 {
        let program = format!("p{}", number % 40);
        let line: String = (0..4 + number % 30).map(|at| format!("{}{} ", word(number / (at + 1)), word(number * (at + 3)))).collect();
        let mined = miner.mine(&program, "", &line);
        assert_eq!(miner.mine(&program, "", &line), Mined { template: mined.template, change: Change::None });
        assert!(miner.len() <= 50 && miner.programs.len() <= 6 && miner.seen.len() <= 50 * SEEN);
    }
    assert!(miner.evicted() > 1000);
    assert_eq!(miner.len(), 50);
    let hanging: usize = miner.programs.values().map(Tree::len).sum();
    assert_eq!(hanging, 50, "what went hangs nowhere");
}

#[test]
fn what_is_used_stays() {
    let mut miner = miner(Options { templates: 3, ..Options::default() });
    let used = miner.mine("p", "", "this one is used again").template;
    for letter in "abcdefgh".chars() {
        miner.mine("p", "", &format!("{letter}{letter} and other words of {letter}"));
        assert_eq!(miner.mine("p", "", "this one is used again"), Mined { template: used, change: Change::None });
    }
    assert_eq!(miner.evicted(), 6);
}
