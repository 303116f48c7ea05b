//! Journals of devices that send nothing: `journalctl` is run there over the device's access, and what it says becomes lines as RFC 5424
//! has them.
//!
//! It is asked for what begins *at* the newest entry that was read, and that one has to come first: with `--after-cursor` journalctl skips
//! one entry whether it is the right one or not, so where the journal was vacuumed or begun anew an entry would be lost without a word.
//! `-n` would give the newest entries and not the next ones, so the limits are those of `head`.

mod entry;

use std::time::Duration;

use reconcile::Device;

use crate::Devices;
use crate::devices::words;
use crate::script::quote;
use entry::Entry;

/// Entries of one reading at most; where there are more, the next one follows at once.
const ENTRIES: usize = 1000;
/// Bytes of one reading at most: less than what is kept of a command's output.
const BYTES: usize = 900_000;
/// Time limit of one reading.
const LIMIT: Duration = Duration::from_secs(20);
/// How far back the first reading of a device goes.
const FIRST: Duration = Duration::from_secs(600);
/// The fields that are asked for. What else there may be, such as a core dump, stays where it is.
const FIELDS: &str = "MESSAGE,PRIORITY,SYSLOG_FACILITY,SYSLOG_IDENTIFIER,SYSLOG_PID,_PID,_COMM,_HOSTNAME,_SYSTEMD_UNIT,_TRANSPORT";
/// Journalctl's own word on how it ended, on standard error, as its output goes through a pipe.
const ENDED: &str = "evenkeel: journalctl ended with ";

/// How far a journal was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The cursor of the newest entry.
    pub cursor: String,
    /// When that was written, by the device's clock, in microseconds since 1970.
    pub at: i64,
}

/// What one reading gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// Lines as RFC 5424 has them, the oldest first.
    pub lines: Vec<Vec<u8>>,
    /// How far it was read; none: nothing was there.
    pub place: Option<Place>,
    /// The newest entry that was read is not there any more: others may be missing too.
    pub gap: bool,
    /// Why not all of it is seen, and what helps.
    pub hint: Option<String>,
    /// There is more to read.
    pub more: bool,
}

/// Reads what came into a device's journal since then; the first time, what came in the last minutes.
pub async fn read(devices: &Devices, device: &Device, from: Option<&Place>) -> Result<Read, String> {
    let since = format!("--since=-{}s", FIRST.as_secs());
    let Some(from) = from else {
        return Ok(after(ask(devices, device, &since, Size::Usual).await?, None));
    };
    let cursor = format!("--cursor={}", from.cursor);
    let answer = match ask(devices, device, &cursor, Size::Usual).await {
        // What is in it is too large to be read as it is.
        Ok(answer) if answer.whole().is_empty() && answer.is_cut => ask(devices, device, &cursor, Size::Small).await?,
        Ok(answer) => answer,
        // A cursor that this journalctl does not take, as another one wrote it. What came in the same second may be missing then.
        Err(reason) if reason.contains("cursor") => {
            ask(devices, device, &format!("--since=@{}", from.at / 1_000_000 + 1), Size::Usual).await?
        }
        Err(reason) => return Err(reason),
    };
    // As long as the entry is there it comes first. One that lies behind all that is there, as a clock was put back or the journal was begun
    // anew, would give nothing until the clock has caught up: what came in the last minutes is read instead, as if for the first time.
    if answer.whole().is_empty() && !answer.is_cut {
        return Ok(anew(ask(devices, device, &since, Size::Usual).await?));
    }
    // Only the entry itself came, and what follows it has no room beside it.
    if answer.is_cut && answer.whole().len() == 1 && answer.whole()[0].cursor == from.cursor {
        return Ok(after(ask(devices, device, &cursor, Size::Small).await?, Some(from)));
    }
    Ok(after(answer, Some(from)))
}

/// How much is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Size {
    /// Entries with all that is in them.
    Usual,
    /// A few entries, without fields of more than 4096 bytes: journalctl leaves them out itself.
    Small,
}

/// What journalctl said.
struct Answer {
    entries: Vec<Entry>,
    is_cut: bool,
    hint: Option<String>,
}

impl Answer {
    fn whole(&self) -> &[Entry] {
        &self.entries
    }
}

async fn ask(devices: &Devices, device: &Device, from: &str, size: Size) -> Result<Answer, String> {
    let (all, entries) = if size == Size::Usual { ("--all", ENTRIES) } else { ("", 4) };
    let from = quote(from);
    let script = format!(
        "export LC_ALL=C PATH=\"$PATH:/usr/local/bin:/usr/bin:/bin\"\n\
         {{ journalctl --no-pager -o json {all} --output-fields={FIELDS} {from}; echo \"{ENDED}$?\" >&2; }} | head -n {entries} | head -c {BYTES}\n"
    );
    let output = devices.run(device, &script, LIMIT).await.map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr);
    let ended = said.lines().find_map(|line| line.strip_prefix(ENDED));
    // 141: it had more to say than is read.
    if !matches!(ended, Some("0" | "141")) {
        let reason = said.lines().find(|line| !line.trim().is_empty() && !line.starts_with(ENDED));
        let what = reason.map_or_else(|| words(&output), |line| line.chars().filter(|c| !c.is_control()).take(300).collect());
        return Err(format!("journalctl: {what}"));
    }
    let is_cut = output.truncated || output.stdout.len() >= BYTES;
    let whole = output.stdout.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let lines: Vec<&[u8]> = output.stdout[..whole].split(|byte| *byte == b'\n').filter(|line| line.first() == Some(&b'{')).collect();
    let is_full = lines.len() >= entries;
    let parsed: Vec<Entry> = lines.iter().filter_map(|line| Entry::parse(line)).collect();
    if parsed.len() < lines.len() {
        return Err(format!("journalctl: {} of {} entries can't be read", lines.len() - parsed.len(), lines.len()));
    }
    let hint = said.contains("not seeing messages from other users").then(|| {
        "only the user's own entries are seen: give the device `access.ssh.become: sudo`, or put the user into the group systemd-journal".to_owned()
    });
    Ok(Answer { entries: parsed, is_cut: is_cut || is_full, hint })
}

/// What is in an answer that has nothing to do with what was read before.
fn anew(answer: Answer) -> Read {
    let read = after(answer, None);
    Read { gap: !read.lines.is_empty(), ..read }
}

/// What is new in an answer.
fn after(answer: Answer, from: Option<&Place>) -> Read {
    let Answer { entries, is_cut, hint } = answer;
    let mut gap = false;
    let mut new = entries.as_slice();
    if let Some(from) = from {
        match new.split_first() {
            Some((first, rest)) if first.cursor == from.cursor => new = rest,
            _ => {
                // What is older than that was read already.
                let known = new.iter().take_while(|entry| entry.at <= from.at).count();
                new = &new[known..];
                gap = !new.is_empty();
            }
        }
    }
    let place = new.last().map(|entry| Place { cursor: entry.cursor.clone(), at: entry.at });
    Read { lines: new.iter().map(|entry| entry.line.clone()).collect(), more: is_cut && !new.is_empty(), place, gap, hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: i64) -> Entry {
        Entry { cursor: format!("c{number}"), at: number, line: vec![u8::try_from(number).unwrap()] }
    }

    fn check(there: &[i64], is_cut: bool, from: Option<i64>) -> String {
        let answer = Answer { entries: there.iter().copied().map(entry).collect(), is_cut, hint: None };
        let from = from.map(|at| Place { cursor: format!("c{at}"), at });
        let Read { lines, place, gap, hint: _, more } = after(answer, from.as_ref());
        let place = place.map_or("-".into(), |place| place.cursor);
        format!("{:?} {place} more={more} gap={gap}", lines.concat())
    }

    #[test]
    fn what_is_new_is_what_follows_the_entry_that_was_read_last() {
        assert_eq!(check(&[1, 2], false, None), "[1, 2] c2 more=false gap=false");
        assert_eq!(check(&[], false, None), "[] - more=false gap=false");
        assert_eq!(check(&[2, 3, 4], true, Some(2)), "[3, 4] c4 more=true gap=false");
        assert_eq!(check(&[2], false, Some(2)), "[] - more=false gap=false");
        // It is gone, and so may others be.
        assert_eq!(check(&[5, 6], false, Some(2)), "[5, 6] c6 more=false gap=true");
        // Begun anew, and read again from a little before.
        assert_eq!(check(&[1, 2, 5], false, Some(3)), "[5] c5 more=false gap=true");
        assert_eq!(check(&[], false, Some(2)), "[] - more=false gap=false");
    }

    #[test]
    fn what_is_read_anew_is_all_taken_and_is_a_gap() {
        let there = |entries: &[i64]| anew(Answer { entries: entries.iter().copied().map(entry).collect(), is_cut: false, hint: None });
        let read = there(&[1, 2]);
        assert_eq!((read.lines.concat(), read.gap, read.place.unwrap().cursor.as_str()), (vec![1, 2], true, "c2"));
        assert!(!there(&[]).gap);
    }
}
