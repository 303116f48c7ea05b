//! Each way to tamper with an export, and what is named.

use jiff::Timestamp;
use reconcile::record::Actor;

use super::{Header, Line, MAX_LINE, Report, verify};
use crate::audit::Entry;
use crate::audit::checkpoint::{Checkpoint, ORIGIN, SigningKey};
use crate::audit::tree::{self, Frontier};

/// A log in the making: what an honest engine writes, or a forger.
struct Log {
    key: SigningKey,
    tree: Frontier,
    lines: Vec<Line>,
}

fn entry(index: u64, message: &str) -> Line {
    let entry = Entry {
        index,
        at: Timestamp::UNIX_EPOCH,
        actor: Actor { kind: "engine".into(), name: "evenkeel".into(), signer: None },
        verb: "apply".into(),
        target: format!("device/web-{index}"),
        unit: "deployment/nginx".into(),
        plan: String::new(),
        step: String::new(),
        changes: Vec::new(),
        message: message.into(),
        outcome: "done".into(),
        refers_to: None,
    };
    let text = entry.canonical();
    let leaf = hex::encode(tree::leaf(text.as_bytes()));
    Line::Entry { text, leaf }
}

impl Log {
    /// Twelve entries with a checkpoint after each fourth.
    fn honest() -> Self {
        let key = SigningKey::generate();
        let header = Line::Header(Header { origin: ORIGIN.into(), key: key.public().to_text() });
        let mut log = Self { key, tree: Frontier::default(), lines: vec![header] };
        for index in 0..12 {
            log.append(entry(index, ""));
            if index % 4 == 3 {
                log.sign();
            }
        }
        log
    }

    fn append(&mut self, line: Line) {
        if let Line::Entry { text, .. } = &line {
            self.tree.push(tree::leaf(text.as_bytes()));
        }
        self.lines.push(line);
    }

    fn checkpoint(&self) -> Checkpoint {
        self.key.sign(self.tree.size(), self.tree.root())
    }

    fn sign(&mut self) {
        let note = self.checkpoint().note;
        self.lines.push(Line::Checkpoint(note));
    }

    /// The line of an entry.
    fn at(&self, index: u64) -> usize {
        let part = format!("\"index\":{index},");
        self.lines.iter().position(|line| matches!(line, Line::Entry { text, .. } if text.contains(&part))).unwrap()
    }

    fn text(&self) -> String {
        self.lines.iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect()
    }

    fn report(&self, kept: Option<&Checkpoint>) -> Report {
        verify(self.text().as_bytes(), &self.key.public(), kept).unwrap()
    }

    #[track_caller]
    fn is_wrong(&self, what: &str) {
        self.is_wrong_against(None, what);
    }

    #[track_caller]
    fn is_wrong_against(&self, kept: Option<&Checkpoint>, what: &str) {
        let wrong = self.report(kept).wrong.expect("nothing was found");
        assert!(wrong.starts_with(what), "{wrong}");
    }
}

#[test]
fn an_honest_log_is_proven() {
    let mut log = Log::honest();
    let kept = log.checkpoint();
    assert_eq!(log.report(None), Report { entries: 12, proven: 12, wrong: None });
    assert_eq!(log.report(Some(&kept)), Report { entries: 12, proven: 12, wrong: None });
    for index in 12..15 {
        log.append(entry(index, ""));
    }
    log.sign();
    assert_eq!(log.report(Some(&kept)), Report { entries: 15, proven: 15, wrong: None });
}

#[test]
fn an_empty_log_is_proven_and_an_empty_file_is_not() {
    let mut log = Log::honest();
    log.lines.truncate(1);
    assert_eq!(log.report(None), Report { entries: 0, proven: 0, wrong: None });
    log.lines.clear();
    log.is_wrong("the export is empty");
}

#[test]
fn an_entry_that_was_changed() {
    let mut log = Log::honest();
    let at = log.at(5);
    let Line::Entry { leaf, .. } = &log.lines[at] else { unreachable!() };
    let leaf = leaf.clone();
    let Line::Entry { text, .. } = entry(5, "harmless") else { unreachable!() };
    log.lines[at] = Line::Entry { text, leaf };
    log.is_wrong("entry 5 was changed: its text does not fit its hash");
    assert_eq!(log.report(None).proven, 4);
}

#[test]
fn an_entry_that_was_changed_with_its_hash() {
    let mut log = Log::honest();
    let at = log.at(5);
    log.lines[at] = entry(5, "harmless");
    log.is_wrong("entry 4 or one up to 7 was changed together with its hash: the checkpoint after it");
    // A checkpoint that was kept elsewhere narrows it down.
    let mut honest = Log::honest();
    honest.tree = Frontier::default();
    for line in honest.lines.clone().iter().filter(|line| matches!(line, Line::Entry { .. })).take(6) {
        honest.append(line.clone());
    }
    let kept = log.key.sign(6, honest.tree.root());
    log.is_wrong_against(Some(&kept), "entry 4 or one up to 5 was changed together with its hash: the checkpoint that was kept");
}

/// Everything written anew and signed by the engine's own key: only what was kept elsewhere shows it.
#[test]
fn a_log_that_was_written_anew() {
    let honest = Log::honest();
    let kept = honest.checkpoint();
    let mut forged = Log { key: honest.key, tree: Frontier::default(), lines: honest.lines[..1].to_vec() };
    for index in 0..12 {
        forged.append(entry(index, if index == 5 { "harmless" } else { "" }));
    }
    forged.sign();
    assert_eq!(forged.report(None).wrong, None);
    forged.is_wrong_against(Some(&kept), "entry 0 or one up to 11 was changed together with its hash: the checkpoint that was kept");
}

#[test]
fn an_entry_that_was_removed() {
    let mut log = Log::honest();
    log.lines.remove(log.at(5));
    log.is_wrong("entry 5 is missing, entry 6 stands in its place");
    // The last one before a checkpoint.
    let mut log = Log::honest();
    log.lines.remove(log.at(7));
    log.is_wrong("entries 7 to 7 were removed");
    // And those after it numbered anew.
    let mut log = Log::honest();
    let (from, to) = (log.at(5), log.at(6));
    log.lines.remove(to);
    log.lines[from] = entry(5, "was six");
    log.is_wrong("entry 6 is missing, entry 7 stands in its place");
}

#[test]
fn an_entry_that_was_inserted() {
    let mut log = Log::honest();
    log.lines.insert(log.at(5), entry(5, "inserted"));
    log.is_wrong("entry 5 stands where entry 6 should");
    let mut log = Log::honest();
    log.lines.insert(log.at(8) - 1, entry(8, "inserted before the checkpoint"));
    log.is_wrong("entry 8 stands before a checkpoint that does not count it");
    let mut log = Log::honest();
    log.lines.push(entry(12, "appended"));
    log.is_wrong("no checkpoint covers what is from entry 12 on: the log was cut off after entry 12, or that was appended");
}

#[test]
fn entries_that_were_reordered() {
    let mut log = Log::honest();
    let (five, six) = (log.at(5), log.at(6));
    log.lines.swap(five, six);
    log.is_wrong("entry 5 is missing, entry 6 stands in its place");
    // With their numbers.
    let mut log = Log::honest();
    let (five, six) = (log.at(5), log.at(6));
    (log.lines[five], log.lines[six]) = (entry(5, "six"), entry(6, "five"));
    log.is_wrong("entry 4 or one up to 7 was changed together with its hash");
}

#[test]
fn a_tail_that_was_cut_off() {
    let kept = Log::honest().checkpoint();
    // Entries only: the checkpoint that is left counts them.
    let mut log = Log::honest();
    let (from, to) = (log.at(9), log.at(11));
    log.lines.drain(from..=to);
    log.is_wrong("entries 9 to 11 were removed: a checkpoint counts them");
    // The checkpoint only.
    let mut log = Log::honest();
    log.lines.pop();
    log.is_wrong("no checkpoint covers what is from entry 8 on: the log was cut off after entry 11");
    // Both: only what was kept elsewhere shows it.
    let mut log = Log::honest();
    log.lines.truncate(log.at(8));
    assert_eq!(log.report(None), Report { entries: 8, proven: 8, wrong: None });
    log.is_wrong_against(Some(&kept), "cut off at the tail: entry 8 is missing, the checkpoint that was kept counts 12");
}

#[test]
fn a_checkpoint_that_was_forged() {
    let forge = |note: &dyn Fn(&Log) -> String| {
        let mut log = Log::honest();
        let at = log.at(4) - 1;
        log.lines[at] = Line::Checkpoint(note(&log));
        log
    };
    let other = forge(&|log| SigningKey::generate().sign(4, log.tree.root()).note);
    other.is_wrong("line 6, after entry 3: the checkpoint is not signed by the key that is trusted");
    let changed = forge(&|log| log.checkpoint().note.replace("\n12\n", "\n4\n"));
    changed.is_wrong("line 6, after entry 3: the checkpoint's signature is wrong");
    forge(&|_| String::new()).is_wrong("line 6, after entry 3: not a checkpoint");
    // A true one at another place.
    forge(&|log| log.checkpoint().note).is_wrong("entries 4 to 11 were removed: a checkpoint counts them");
}

#[test]
fn another_key_or_log() {
    let log = Log::honest();
    let report = verify(log.text().as_bytes(), &SigningKey::generate().public(), None).unwrap();
    assert_eq!(report.wrong.unwrap(), "the export names another key than the one that is trusted");
    let mut other = Log::honest();
    other.lines[0] = Line::Header(Header { origin: "elsewhere".into(), key: other.key.public().to_text() });
    other.is_wrong("the export is of another log: elsewhere");
}

#[test]
fn lines_that_are_out_of_place() {
    let mut log = Log::honest();
    log.lines.insert(log.at(5), log.lines[0].clone());
    log.is_wrong("line 8, after entry 4: a second header was inserted");
    let mut log = Log::honest();
    log.lines.remove(0);
    log.is_wrong("the first line is not a header");
}

#[test]
fn lines_that_are_damaged() {
    let log = Log::honest();
    let text = log.text();
    let wrong = |bytes: &[u8]| verify(bytes, &log.key.public(), None).unwrap().wrong.unwrap();
    // Cut off in the middle of the last line.
    let cut = wrong(&text.as_bytes()[..text.len() - 40]);
    assert!(cut.starts_with("line 16 is damaged, after entry 11: EOF"), "{cut}");
    // Only its end is missing: nothing is.
    assert_eq!(verify(text.trim_end().as_bytes(), &log.key.public(), None).unwrap().wrong, None);
    for hostile in [
        "\n",
        "{}\n",
        "null\n",
        "[[[[\n",
        "\u{0}\n",
        "{\"entry\":{\"text\":\"{}\",\"leaf\":\"\",\"more\":1}}\n",
        "{\"entry\":{\"text\":\"{}\"}}\n",
    ] {
        let wrong = wrong((text.clone() + hostile).as_bytes());
        assert!(wrong.starts_with("line 17 is damaged, after entry 11: "), "{hostile}: {wrong}");
    }
    let not_text = wrong(&[text.as_bytes(), b"{\"checkpoint\":\"\xff\"}\n"].concat());
    assert!(not_text.starts_with("line 17 is damaged, after entry 11: "), "{not_text}");
    let no_entry = wrong((text + "{\"entry\":{\"text\":\"{}\",\"leaf\":\"\"}}\n").as_bytes());
    assert!(no_entry.starts_with("entry 12 was changed: missing field `index`"), "{no_entry}");
}

#[test]
fn an_index_is_found_wherever_it_stands() {
    assert_eq!(super::index(r#"{"index":7,"at":1}"#).unwrap(), 7);
    assert_eq!(super::index(r#"{"at":1,"index":7}"#).unwrap(), 7);
    assert_eq!(super::index(r#"{"index":7}"#).unwrap(), 7);
    for none in [r#"{"index":-1,"at":1}"#, r#"{"index":"7","at":1}"#, r#"{"index":18446744073709551616,"at":1}"#, "", "{}"] {
        assert!(super::index(none).is_err(), "{none}");
    }
}

/// Bytes without end and without a line's end; counts how many were taken.
struct Endless<'a>(&'a [u8], u64);

impl std::io::Read for Endless<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.1 += into.len() as u64;
        let length = self.0.len().min(into.len());
        if length > 0 {
            into[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            return Ok(length);
        }
        into.fill(b'x');
        Ok(into.len())
    }
}

#[test]
fn a_line_without_end_is_not_read_to_its_end() {
    let log = Log::honest();
    let text = log.text();
    let mut endless = Endless(text.as_bytes(), 0);
    let report = verify(std::io::BufReader::new(&mut endless), &log.key.public(), None).unwrap();
    assert_eq!(report.wrong.unwrap(), format!("line 17 is damaged, after entry 11: it is longer than {MAX_LINE} bytes"));
    let pieces = 2 * (super::THREADS as u64 + 1);
    assert!(endless.1 < (pieces + 1) * (MAX_LINE + (1 << 20)), "{} bytes were read", endless.1);
}

/// More lines than fit into all pieces that are under way at once.
#[test]
fn a_long_log_stays_in_order() {
    let mut log = Log::honest();
    for index in 12..20_000 {
        log.append(entry(index, "x".repeat(usize::try_from(index % 700).unwrap()).as_str()));
    }
    log.sign();
    assert_eq!(log.report(None), Report { entries: 20_000, proven: 20_000, wrong: None });
    let at = log.at(19_990);
    log.lines.swap(at, at + 1);
    log.is_wrong("entry 19990 is missing");
}

#[test]
fn an_error_of_reading_is_not_a_finding() {
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::ConnectionReset.into())
        }
    }
    let error = verify(std::io::BufReader::new(Broken), &SigningKey::generate().public(), None).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}
