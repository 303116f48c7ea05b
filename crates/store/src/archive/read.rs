//! Reading segments back. They may have been anywhere: nothing in them is taken for granted.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::GzDecoder;

use super::{BYTES, Error, LINE, is_segment};
use crate::logs::search::words;
use crate::{LogLine, Search};

/// Which lines of an archive, as [`Search`] has it, and until when.
#[derive(Clone, Debug, Default)]
pub struct Select {
    /// As for lines in the store; pages and the limit don't count here.
    pub search: Search,
    /// Only until then, in microseconds since 1970.
    pub until: Option<i64>,
}

impl Select {
    /// Whether a line is one of them.
    pub fn takes(&self, line: &LogLine) -> bool {
        let Search { device, since, until, words: wanted, severity, program, template, before: _, after: _, limit: _ } = &self.search;
        device.as_ref().is_none_or(|device| *device == line.device)
            && since.is_none_or(|since| line.received >= since)
            && self.until.or(*until).is_none_or(|until| line.received <= until)
            && severity.is_none_or(|severity| line.severity <= severity)
            && program.as_ref().is_none_or(|program| *program == line.program)
            && template.as_ref().is_none_or(|template| Some(template) == line.template.as_ref())
            && has_words(&line.message, wanted)
    }
}

/// Each of these words is there, or one that begins with it.
fn has_words(message: &str, wanted: &str) -> bool {
    let wanted = words(wanted);
    if wanted.is_empty() {
        return true;
    }
    let there = words(message);
    wanted.split(' ').all(|wanted| there.split(' ').any(|word| word.starts_with(wanted)))
}

/// The names of the segments in a folder, in the order of their lines.
pub fn segments(folder: &Path) -> Result<Vec<String>, Error> {
    let failed = |source| Error::File { path: folder.to_owned(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        if let Ok(name) = entry.map_err(failed)?.file_name().into_string()
            && is_segment(&name)
        {
            names.push(name);
        }
    }
    names.sort_unstable_by_key(|name| (super::first_of(name), name.clone()));
    Ok(names)
}

/// Those of which lines may have come in a time, by when the first line of each came. Lines are in the order of their numbers; a clock that was
/// put back by more than a day could lead to a segment being left out.
pub fn segments_between(folder: &Path, since: Option<i64>, until: Option<i64>) -> Result<Vec<String>, Error> {
    const DAY: i64 = 86_400_000_000;
    let names = segments(folder)?;
    let begins: Vec<Option<i64>> = names.iter().map(|name| begins(name)).collect();
    let fits = |place: &usize| {
        let next = begins.get(place + 1).copied().flatten();
        since.is_none_or(|since| next.is_none_or(|next| next >= since.saturating_sub(DAY)))
            && until.is_none_or(|until| begins[*place].is_none_or(|begins| begins <= until.saturating_add(DAY)))
    };
    Ok((0..names.len()).filter(fits).map(|place| names[place].clone()).collect())
}

/// When the earliest line of a segment came, by its name, in microseconds since 1970.
fn begins(name: &str) -> Option<i64> {
    let stamp = name.split('-').nth(2)?.strip_suffix('Z')?;
    let civil = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%S", stamp).ok()?;
    Some(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_microsecond())
}

/// The lines of a segment. It ends with an error where the file is not what it should be; what came before that may be used.
pub fn lines(path: &Path) -> Result<impl Iterator<Item = Result<LogLine, Error>> + use<>, Error> {
    let file = File::open(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
    // One more than there may be, so that it shows.
    let plain = BufReader::new(GzDecoder::new(BufReader::new(file)).take(BYTES + LINE + 1));
    let mut reader = Lines { path: path.to_owned(), plain, read: 0, ended: false };
    Ok(std::iter::from_fn(move || {
        let line = reader.next().transpose();
        reader.ended |= line.as_ref().is_none_or(Result::is_err);
        line
    }))
}

struct Lines<R> {
    path: PathBuf,
    plain: BufReader<R>,
    read: u64,
    ended: bool,
}

impl<R: Read> Lines<R> {
    fn next(&mut self) -> Result<Option<LogLine>, Error> {
        if self.ended {
            return Ok(None);
        }
        let mut text = Vec::new();
        let read = (&mut self.plain).take(LINE + 1).read_until(b'\n', &mut text);
        self.read += read.map_err(|error| self.damaged(&format!("it can't be uncompressed: {error}")))? as u64;
        if text.is_empty() {
            return Ok(None);
        }
        if self.read > BYTES + LINE {
            return Err(self.damaged("it has more in it than a segment ever has"));
        }
        if text.last() != Some(&b'\n') {
            return Err(self.damaged("its last line is too long, or does not end"));
        }
        serde_json::from_slice(&text).map(Some).map_err(|error| self.damaged(&format!("a line in it is not one of ours: {error}")))
    }

    fn damaged(&self, reason: &str) -> Error {
        Error::Damaged { path: self.path.clone(), reason: reason.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn read(bytes: &[u8]) -> Vec<String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let said = |line: Result<LogLine, Error>| line.map_or_else(|error| error.to_string(), |line| line.message);
        lines(file.path()).unwrap().map(|line| said(line).replace(&*file.path().to_string_lossy(), "FILE")).collect()
    }

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(text).unwrap();
        out.finish().unwrap()
    }

    fn line(message: &str) -> Vec<u8> {
        let mut text = serde_json::to_vec(&LogLine { message: message.into(), ..LogLine::default() }).unwrap();
        text.push(b'\n');
        text
    }

    #[test]
    fn what_is_no_segment_is_told_so_and_ends() {
        assert_eq!(read(&packed(&[line("a"), line("b")].concat())), ["a", "b"]);
        assert_eq!(read(b""), ["FILE: it can't be uncompressed: unexpected end of file"]);
        assert_eq!(read(b"plain"), ["FILE: it can't be uncompressed: unexpected end of file"]);
        let whole = packed(&[line("a"), line("b")].concat());
        assert!(read(&whole[..whole.len() - 9]).last().unwrap().starts_with("FILE: it can't be uncompressed"));
        assert_eq!(read(&packed(&line("a")[..20])), ["FILE: its last line is too long, or does not end"]);
        assert!(read(&packed(b"{}\n"))[0].starts_with("FILE: a line in it is not one of ours"));
        assert_eq!(read(&packed(&vec![b'x'; usize::try_from(LINE).unwrap() + 5])), ["FILE: its last line is too long, or does not end"]);
    }

    /// A thousand to one: what is read of it ends at the limit.
    #[test]
    fn a_bomb_is_read_no_further_than_a_segment_is_long() {
        let one = line(&"x".repeat(200_000));
        let many = usize::try_from(BYTES * 2).unwrap() / one.len();
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        (0..many).for_each(|_| out.write_all(&one).unwrap());
        let read = read(&out.finish().unwrap());
        assert_eq!(read.last().unwrap(), "FILE: it has more in it than a segment ever has");
        assert!(read.len() <= many / 2 + 3, "{} of {many}", read.len());
    }

    #[test]
    fn segments_of_another_time_are_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let names = [1, 5, 9, 13].map(|day| format!("logs-{day:012}-202601{day:02}T000000Z-ab.jsonl.gz"));
        names.iter().for_each(|name| std::fs::write(folder.path().join(name), "").unwrap());
        let at = |day: &str| Some(format!("2026-01-{day}T00:00:00Z").parse::<jiff::Timestamp>().unwrap().as_microsecond());
        let between = |since, until| segments_between(folder.path(), since, until).unwrap();
        assert_eq!(between(None, None), names);
        assert_eq!(between(at("07"), None), names[1..]);
        assert_eq!(between(at("07"), at("08")), names[1..=2]);
        assert_eq!(between(None, at("03")), names[..1]);
        assert_eq!(between(at("20"), None), names[3..]);
    }

    #[test]
    fn lines_are_chosen_as_the_store_chooses_them() {
        let line =
            LogLine { device: "web-01".into(), received: 5, severity: 4, message: "Failed password, root!".into(), ..LogLine::default() };
        let search = |words: &str| Select { search: Search { words: words.into(), ..Search::default() }, until: None };
        assert!(search("").takes(&line) && search("PASS root").takes(&line) && !search("assword").takes(&line));
        let by = |search: Search, until| Select { search, until }.takes(&line);
        assert!(by(Search { device: Some("web-01".into()), since: Some(5), severity: Some(4), ..Search::default() }, Some(5)));
        assert!(!by(Search { device: Some(String::new()), ..Search::default() }, None));
        assert!(!by(Search { since: Some(6), ..Search::default() }, None));
        assert!(!by(Search { severity: Some(3), ..Search::default() }, None));
        assert!(!by(Search::default(), Some(4)));
    }
}
