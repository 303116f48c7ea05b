//! What an alert on readings of logs says beside its summary: which lines, and how soon after which change began.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::notice::LastChange;
use super::text::{cut, neutral};
use crate::observed::{KEPT, LogSaid, LogsSeen};
use crate::usage::{Metric, Series};

/// Lines that one alert shows.
const SHOWN: usize = 5;
/// Characters of one.
const LINE: usize = 120;
/// A change that is longer ago has little to do with it.
const SOON: SignedDuration = SignedDuration::from_hours(1);

/// What the lines behind these series have to say: a few words, and the lines. Nothing where a rule asks for no logs.
pub(super) fn behind(
    series: &BTreeSet<Series>,
    logs: &LogsSeen,
    change: Option<(&LastChange, Timestamp)>,
) -> Option<(String, Vec<String>)> {
    // What tells most comes first.
    let order = |series: &&Series| (series.metric != Metric::LogNewTemplates, series.metric != Metric::LogMatches);
    let mut series: Vec<&Series> = series.iter().collect();
    series.sort_by_key(order);
    series.into_iter().find_map(|series| {
        let (said, words): (Vec<&LogSaid>, &str) = match series.metric {
            Metric::LogNewTemplates => (since_change(&logs.new, change.map(|(_, began)| began)), "new kind of line"),
            Metric::LogUnusual => (logs.unusual.iter().collect(), "kind of line that comes far more often than before"),
            Metric::LogVanished => (logs.vanished.iter().collect(), "kind of line that came regularly and does not any more"),
            Metric::LogErrors | Metric::LogSeverityShift => (logs.errors.iter().take(1).collect(), ""),
            Metric::LogMatches => (logs.matched.get(&*series.item).into_iter().collect(), ""),
            _ => return None,
        };
        let (newest, oldest) = (said.first()?, said.last()?);
        let mut text = match said.len() {
            _ if words.is_empty() => "such as".to_owned(),
            1 => format!("1 {words}"),
            KEPT.. => format!("{KEPT} {} or more", plural(words)),
            many => format!("{many} {}", plural(words)),
        };
        let is_close = |(_, began): &(&LastChange, Timestamp)| *began <= oldest.at && oldest.at.duration_since(*began) <= SOON;
        if let Some((change, began)) = change.filter(is_close).filter(|_| !words.is_empty()) {
            let minutes = newest.at.duration_since(began).as_secs().div_euclid(60) + 1;
            text += &format!(" within {minutes} min of {}", named(change));
        }
        let lines = said.into_iter().take(SHOWN).map(|said| cut(neutral(&said.text).trim(), LINE)).collect();
        Some((text, lines))
    })
}

/// Those that came after the last change, if any did: what was there before it has another cause.
fn since_change(said: &[LogSaid], began: Option<Timestamp>) -> Vec<&LogSaid> {
    let after: Vec<&LogSaid> = said.iter().filter(|said| began.is_some_and(|began| said.at >= began)).collect();
    if after.is_empty() { said.iter().collect() } else { after }
}

fn plural(words: &str) -> String {
    words.replacen("kind", "kinds", 1).replacen("line", "lines", 1).replace("comes", "come").replace("does", "do")
}

fn named(change: &LastChange) -> String {
    let commit = neutral(&change.commit);
    match commit.len() {
        0 => format!("revision {} of deployment/{}", neutral(&change.revision), change.deployment),
        40 | 64 => format!("commit {}", cut_plain(&commit, 12)),
        _ => format!("commit {}", cut_plain(&commit, 40)),
    }
}

fn cut_plain(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Name;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn said(second: i64, text: &str) -> LogSaid {
        LogSaid { at: at(second), text: text.into() }
    }

    fn change(second: i64) -> LastChange {
        let commit = "abc123abc123ffffffffffffffffffffffffffff".into();
        LastChange {
            deployment: Name::parse("web"),
            revision: "3".into(),
            version: String::new(),
            commit,
            author: "ann".into(),
            at: at(second),
        }
    }

    fn asks(series: &str) -> BTreeSet<Series> {
        [series.parse().unwrap(), Series::of(Metric::CpuRatio)].into()
    }

    #[test]
    fn new_lines_are_tied_to_the_change_before_them() {
        let logs = LogsSeen {
            new: vec![said(290, "app: panic: <num>"), said(100, "app: retry\u{1b}[31m"), said(-50, "cron: odd")],
            ..LogsSeen::default()
        };
        let (words, lines) = behind(&asks("logs.newTemplates"), &logs, Some((&change(0), at(0)))).unwrap();
        assert_eq!(words, "2 new kinds of lines within 5 min of commit abc123abc123");
        assert_eq!(lines, ["app: panic: <num>", "app: retry [31m"]);
        let (words, _) = behind(&asks("logs.newTemplates"), &logs, Some((&change(200), at(50)))).unwrap();
        assert_eq!(words, "2 new kinds of lines within 5 min of commit abc123abc123", "they came while it was being changed");
        let (words, lines) = behind(&asks("logs.newTemplates"), &logs, Some((&change(-9000), at(-9000)))).unwrap();
        assert_eq!((words.as_str(), lines.len()), ("3 new kinds of lines", 3), "hours ago is no cause");
        assert_eq!(behind(&asks("logs.unusual"), &logs, None), None);
        assert_eq!(behind(&asks("memory.ratio"), &logs, None), None);
    }

    #[test]
    fn so_many_are_shown_and_no_more() {
        let many = LogsSeen { new: (0..20).map(|second| said(second, &"x".repeat(500))).collect(), ..LogsSeen::default() };
        let (words, lines) = behind(&asks("logs.newTemplates"), &many, None).unwrap();
        assert_eq!((words.as_str(), lines.len(), lines[0].chars().count()), ("20 new kinds of lines or more", SHOWN, LINE));
    }

    #[test]
    fn what_matched_and_what_vanished_is_shown() {
        let logs = LogsSeen {
            matched: [("Failed".to_owned(), said(1, "sshd: Failed password"))].into(),
            vanished: vec![said(1, "agent: alive")],
            ..LogsSeen::default()
        };
        assert_eq!(behind(&asks("logs[Failed].matches"), &logs, None), Some(("such as".into(), vec!["sshd: Failed password".into()])));
        assert_eq!(behind(&asks("logs[Other].matches"), &logs, None), None);
        let errors =
            LogsSeen { errors: vec![said(9, "app: no"), said(5, "app: no")], new: vec![said(9, "app: no")], ..LogsSeen::default() };
        assert_eq!(behind(&asks("logs.errors"), &errors, Some((&change(0), at(0)))), Some(("such as".into(), vec!["app: no".into()])));
        let both = [Series::of(Metric::LogErrors), Series::of(Metric::LogNewTemplates)].into();
        assert_eq!(behind(&both, &errors, None).unwrap().0, "1 new kind of line", "what tells most");
        let (words, _) = behind(&asks("logs.vanished"), &logs, None).unwrap();
        assert_eq!(words, "1 kind of line that came regularly and does not any more");
    }
}
