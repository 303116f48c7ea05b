//! Series whose anomalies are known: what is found, and what is not.

use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::batch::{Batch, Peer};
use crate::mining::{Miner, Options as Mining};
use crate::reading::Reading;
use crate::senders;

const START: i64 = 1_800_000_000;

/// Lines of devices over time, and what became of them.
struct Play {
    reading: Reading,
    anomalies: Anomalies,
}

impl Play {
    fn new(devices: &[&str]) -> Self {
        let mut reading = Reading::new(Miner::new(Mining::default()));
        for (number, device) in devices.iter().enumerate() {
            let address = format!("10.0.0.{}", number + 1).parse().unwrap();
            reading.devices.set(device, senders::Known { addresses: vec![address], ..senders::Known::default() });
        }
        Self { reading, anomalies: Anomalies::new(Options::default(), START) }
    }

    /// A line comes; what ended before it.
    fn line(&mut self, device: u8, second: i64, line: &str) -> Vec<Ended> {
        let mut batch = Batch::default();
        let peer = Peer { address: [10, 0, 0, device].into(), certificate: None };
        batch.push(line.as_bytes(), &peer, jiff::Timestamp::from_second(START + second).unwrap());
        let (records, _) = self.reading.take(&batch);
        records.iter().flat_map(|record| self.anomalies.take(record)).collect()
    }

    fn until(&mut self, second: i64) -> Vec<Ended> {
        self.anomalies.pass(START + second)
    }
}

fn of<'e>(ended: &'e [Ended], device: &str) -> Vec<(i64, &'e Minute)> {
    let one = |ended: &'e Ended| {
        let (_, minute) = ended.devices.iter().find(|(name, _)| &**name == device)?;
        Some((ended.at - START, minute))
    };
    ended.iter().filter_map(one).collect()
}

#[test]
fn lines_are_counted_by_minute_and_silence_is_a_value() {
    let mut play = Play::new(&["web-01", "web-02"]);
    let (patterns, _) = Patterns::new(&["Failed password".to_owned(), "nothing".to_owned()].into());
    play.anomalies.match_against(patterns);
    let mut ended = play.line(1, 5, "<27>Jan  2 03:04:05 web-01 app[1]: cannot open socket");
    ended.extend(play.line(1, 6, "<36>Jan  2 03:04:05 web-01 sshd[1]: Failed password for root from 192.0.2.1 port 1"));
    ended.extend(play.line(1, 7, "<38>Jan  2 03:04:05 web-01 sshd[1]: session opened"));
    ended.extend(play.line(1, 65, "<38>Jan  2 03:04:05 web-01 sshd[1]: session opened"));
    ended.extend(play.until(185));
    let web = of(&ended, "web-01");
    let counts: Vec<_> = web.iter().map(|(at, minute)| (*at, minute.lines, minute.errors, minute.warnings)).collect();
    assert_eq!(counts, [(60, 3, 1, 1), (120, 1, 0, 0), (180, 0, 0, 0)]);
    assert_eq!(web[0].1.matches.iter().map(|(lines, _)| *lines).collect::<Vec<_>>(), [1, 0]);
    assert_eq!(web[0].1.matches[0].1.as_ref().unwrap().text, "sshd: Failed password for root from 192.0.2.1 port 1");
    assert_eq!(web[0].1.error.as_ref().unwrap().text, "app: cannot open socket");
    assert!(of(&ended, "web-02").is_empty(), "from which no line ever came");
}

#[test]
fn a_template_is_new_on_each_device_once_and_not_while_all_of_it_is() {
    let mut play = Play::new(&["web-01", "web-02"]);
    let session = "<38>Jan  2 03:04:05 h sshd[1]: session opened for user root";
    let panic = "<27>Jan  2 03:04:05 h app[1]: panic: index 5 out of range in /srv/app/main.rs";
    play.line(1, 0, session);
    play.line(2, 0, panic);
    let mut ended = play.line(1, 899, "<27>Jan  2 03:04:05 h cron[1]: still learning what there is");
    ended.extend(play.line(1, 905, panic));
    ended.extend(play.line(1, 906, &panic.replace('5', "7")));
    ended.extend(play.line(1, 965, panic));
    ended.extend(play.until(1100));
    let new: Vec<(i64, u32)> = of(&ended, "web-01").iter().map(|(at, minute)| (*at, minute.new)).filter(|(_, new)| *new > 0).collect();
    assert_eq!(new, [(960, 1)], "known from another device, and new on this one");
    let kind = of(&ended, "web-01").iter().find(|(at, _)| *at == 960).unwrap().1.new_kinds[0];
    let template = play.reading.miner.template(kind).unwrap();
    assert_eq!((template.program, template.count), ("app", 4));
    assert!(template.text.starts_with("panic: index <num> out of range in"), "{}", template.text);
}

#[test]
fn after_a_restart_nothing_is_new_that_was_known() {
    let mut play = Play::new(&["web-01"]);
    play.line(1, 0, "<38>Jan  2 03:04:05 h sshd[1]: session opened for user root");
    let known = play.anomalies.unstored(START + 10, STORED);
    assert_eq!(known.len(), 1);
    assert!(play.anomalies.unstored(START + 20, STORED).is_empty());
    play.anomalies.not_stored(&known);
    assert_eq!(play.anomalies.unstored(START + 30, STORED), known, "what was not stored is given again");

    let mut again = Play { reading: play.reading, anomalies: Anomalies::new(Options::default(), START + 10_000) };
    for (device, known) in &known {
        again.anomalies.remember(device, known, START, START + 10_000);
    }
    let mut ended = again.line(1, 10_000, "<38>Jan  2 03:04:05 h sshd[1]: session opened for user root");
    ended.extend(again.line(1, 10_001, "<38>Jan  2 03:04:05 h kernel: Out of memory: killed process 7"));
    ended.extend(again.until(10_100));
    assert_eq!(of(&ended, "web-01")[0].1.new, 1, "only the other one");
    let stored = again.anomalies.unstored(START + 20_000, STORED);
    assert_eq!(stored.len(), 2, "seen again after a long time");
}

#[test]
fn a_device_and_all_devices_have_room_for_so_many_templates() {
    let mut play = Play::new(&["web-01", "web-02"]);
    play.anomalies.options = Options { templates: 5, all: 7, learning: 0, ..Options::default() };
    let words = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"];
    for (second, word) in words.iter().enumerate() {
        play.line(1, second as i64, &format!("<38>Jan  2 03:04:05 h {word}: {word} {word} {word} {word}"));
    }
    assert_eq!(play.anomalies.len(), 5);
    for (second, word) in words.iter().enumerate() {
        play.line(2, 10 + second as i64, &format!("<38>Jan  2 03:04:05 h {word}: {word} {word} {word} {word}"));
    }
    assert_eq!(play.anomalies.len(), 7);
    let ended = play.until(60);
    assert_eq!(of(&ended, "web-01")[0].1.new, 8);
    assert_eq!(of(&ended, "web-02")[0].1.new, 2, "what can't be remembered is not new");
    play.anomalies.retain(|device| device != "web-01");
    assert_eq!(play.anomalies.len(), 2);
}

#[test]
fn a_clock_that_is_set_gives_no_minute_twice_and_a_gap_no_readings() {
    let mut play = Play::new(&["web-01"]);
    play.line(1, 0, "<38>Jan  2 03:04:05 h sshd[1]: hello");
    assert_eq!(play.until(60).len(), 1);
    assert!(play.until(20).is_empty());
    assert!(play.until(60).is_empty());
    let ended = play.until(3600);
    assert_eq!(ended.iter().map(|ended| ended.at - START).collect::<Vec<_>>(), [3540, 3600]);
    assert_eq!(play.until(400 * 86_400).len(), 1, "a year is not gone through minute by minute");
    // Put back by a year: the minute at hand begins anew, and ends.
    assert!(play.until(7200).is_empty());
    play.line(1, 7210, "<38>Jan  2 03:04:05 h sshd[1]: hello");
    let ended = play.until(7260);
    assert_eq!(ended.iter().map(|ended| (ended.at - START, ended.devices[0].1.lines)).collect::<Vec<_>>(), [(7260, 1)]);
}

/// Chance that is the same every time: SplitMix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// So many events of a Poisson process (Knuth).
    fn events(&mut self, mean: f64) -> u32 {
        let (limit, mut product, mut events) = ((-mean).exp(), self.next(), 0);
        while product > limit {
            product *= self.next();
            events += 1;
        }
        events
    }
}

/// What a quiet server says in a minute: chance (logins, requests), a heartbeat, a job each hour and one each day.
fn quiet(chance: &mut Chance, minute: i64) -> Vec<(i64, &'static str)> {
    let mut lines =
        vec![(minute * 60 + 7 + (chance.next() * 3.0) as i64, "<30>Jan  2 03:04:05 h agent[1]: alive and well, nothing to say")];
    let mut some = |lines: &mut Vec<(i64, &'static str)>, mean: f64, line| {
        for _ in 0..chance.events(mean) {
            lines.push((minute * 60 + (chance.next() * 60.0) as i64, line));
        }
    };
    some(&mut lines, 4.0, "<190>Jan  2 03:04:05 h nginx: GET /index.html 200 in 5 ms");
    some(&mut lines, 0.3, "<38>Jan  2 03:04:05 h sshd[1]: Accepted publickey for ops from 192.0.2.7 port 4242");
    some(&mut lines, 0.02, "<28>Jan  2 03:04:05 h kernel: TCP: request_sock_TCP: Possible SYN flooding on port 80");
    if minute % 60 == 17 {
        lines.extend([(minute * 60 + 1, "<78>Jan  2 03:04:05 h CRON[1]: (root) CMD (run-parts --report /etc/cron.hourly)"); 3]);
    }
    if minute % 1440 == 385 {
        lines.extend([(minute * 60 + 2, "<30>Jan  2 03:04:05 h logrotate[1]: rotating pattern: /var/log/app.log after 1 days"); 60]);
    }
    lines.sort_unstable();
    lines
}

/// Quiet for this long; then `more` lines beside it each minute, or no heartbeat.
fn run(seed: u64, quiet_minutes: i64, then: i64, more: &[(u32, &'static str)], has_heartbeat: bool) -> (Vec<Minute>, Vec<Minute>) {
    let (mut play, mut chance, mut minutes) = (Play::new(&["web-01"]), Chance(seed), Vec::new());
    for minute in 0..quiet_minutes + then {
        let mut lines = quiet(&mut chance, minute);
        if minute >= quiet_minutes {
            lines.retain(|(_, line)| has_heartbeat || !line.contains("agent"));
            for (many, line) in more {
                lines.extend(std::iter::repeat_n((minute * 60 + 30, *line), *many as usize));
            }
            lines.sort_unstable();
        }
        for (second, line) in lines {
            minutes.extend(play.line(1, second, line));
        }
    }
    minutes.extend(play.until((quiet_minutes + then) * 60));
    let mut minutes: Vec<Minute> = minutes.into_iter().flat_map(|ended| ended.devices).map(|(_, minute)| minute).collect();
    let then = minutes.split_off(usize::try_from(quiet_minutes).unwrap());
    (minutes, then)
}

const DAY: i64 = 1440;

/// Of what a quiet server says, at most one minute in a thousand may have anything unusual or vanished, after the first day; no minute
/// may show a shift of severities by a quarter.
#[test]
fn quiet_logs_are_quiet() {
    let (mut minutes, mut wrong) = (0, 0);
    for seed in 0..4 {
        let (quiet, _) = run(seed, 3 * DAY, 0, &[], true);
        for minute in quiet.iter().skip(DAY as usize) {
            minutes += 1;
            wrong += u32::from(minute.unusual > 0 || minute.vanished > 0 || minute.new > 0);
            assert!(minute.shift < 0.25, "{}", minute.shift);
        }
    }
    assert!(f64::from(wrong) / f64::from(minutes) < 0.001, "{wrong} of {minutes} minutes");
}

#[test]
fn what_is_put_into_them_is_found() {
    let found = |minutes: &[Minute], is: fn(&Minute) -> bool, within: usize| minutes.iter().take(within).any(is);
    for seed in 10..14 {
        let (_, burst) = run(seed, 2 * DAY, 5, &[(80, "<190>Jan  2 03:04:05 h nginx: GET /index.html 200 in 5 ms")], true);
        assert!(found(&burst, |minute| minute.unusual == 1, 2), "{seed}: five times as many requests within two minutes: {burst:#?}");
        let (_, logins) =
            run(seed, 2 * DAY, 5, &[(20, "<38>Jan  2 03:04:05 h sshd[1]: Accepted publickey for ops from 192.0.2.7 port 9")], true);
        assert!(found(&logins, |minute| minute.unusual == 1, 3), "{seed}: logins");
        let (_, silent) = run(seed, 2 * DAY, 6, &[], false);
        assert!(found(&silent, |minute| minute.vanished == 1, 4), "{seed}: no heartbeat");
        assert_eq!(silent[0].vanished, 0, "{seed}");
        let (_, new) = run(seed, 2 * DAY, 2, &[(1, "<27>Jan  2 03:04:05 h app[1]: panic: cannot parse header of length 17")], true);
        assert_eq!((new[0].new, new[1].new, new[0].errors), (1, 0, 1), "{seed}");
        let (_, graver) = run(seed, 2 * DAY, 15, &[(8, "<27>Jan  2 03:04:05 h app[1]: cannot reach the database")], true);
        assert!(found(&graver, |minute| minute.shift > 0.4, 15), "{seed}: {}", graver.last().unwrap().shift);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes, and however the clock is set: counts add up, and bounds hold.
    #[test]
    fn counts_add_up(steps in proptest::collection::vec((1_u8..4, -300_i64..4000, 0_usize..6), 1..200)) {
        let mut play = Play::new(&["a", "b", "c"]);
        play.anomalies.options = Options { templates: 3, all: 7, ..Options::default() };
        let lines = ["<11>x: one", "<12>y: two two", "<14>z: three three three", "<14>w: 4 four", "garbage", "<0>u: five 5 five"];
        let (mut now, mut latest, mut sent, mut counted) = (0, 0, 0, 0);
        let sum = |ended: Vec<Ended>| ended.iter().flat_map(|ended| &ended.devices).map(|(_, minute)| minute.lines).sum::<u32>();
        for (device, step, line) in steps {
            now = (now + step).max(0);
            latest = latest.max(now);
            counted += sum(play.line(device, now, lines[line]));
            sent += 1;
            prop_assert!(play.anomalies.len() <= 7);
        }
        counted += sum(play.until(latest + 5000));
        prop_assert_eq!(counted, sent);
    }
}
