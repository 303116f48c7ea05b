//! Batches become records: each line with its device and its template, ready to be stored.
//!
//! One of these in a process, in one task: it is what remembers templates, strangers, and the counts of the five minutes at hand.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;

use crate::batch::{Batch, Received};
use crate::line::{Dialect, Facility, Flags, Line, Severity};
use crate::mining::{Change, Miner, TemplateId};
use crate::senders::{By, Devices, Match, Strangers};

/// Seconds that are counted together.
pub const SLOT: i64 = 300;
/// Counts of one time slot at most. What comes beyond is counted under no template of its own, but under its device's rest.
pub const COUNTS: usize = 200_000;

/// A line as it is stored.
#[derive(Clone, Debug)]
pub struct Record<'b> {
    /// Its device; none: a stranger's.
    pub device: Option<Arc<str>>,
    /// What told so.
    pub by: Option<By>,
    /// Where it came from.
    pub address: IpAddr,
    /// When it came.
    pub received: Timestamp,
    /// What it says, with when it was sent.
    pub line: Line<'b>,
    /// Its template; strangers' lines have none: who is not known shall not push out what is.
    pub template: Option<TemplateId>,
    /// What it did to that.
    pub change: Change,
}

/// What counts of a line that was stored.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'b> {
    /// Its device.
    pub device: &'b Arc<str>,
    /// When it came.
    pub received: Timestamp,
    /// How grave it is.
    pub severity: u8,
    /// The program.
    pub program: &'b str,
    /// The kind of message that it names.
    pub id: &'b str,
    /// What it says.
    pub message: &'b str,
}

/// Lines of one template of one device in one time slot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count {
    /// When the slot began, in seconds since 1970: a multiple of [`SLOT`].
    pub slot: i64,
    /// Whose.
    pub device: Arc<str>,
    /// Of which; none: the rest of a slot that had too many.
    pub template: Option<TemplateId>,
    /// How many.
    pub lines: u64,
}

/// What is remembered from batch to batch.
pub struct Reading {
    /// Devices by what they are known by.
    pub devices: Devices,
    /// Senders that are no device's.
    pub strangers: Strangers,
    /// The templates.
    pub miner: Miner,
    /// Seconds east of Greenwich that clocks are taken to show which do not say so.
    pub offset: i32,
    slot: i64,
    counts: HashMap<(Arc<str>, Option<TemplateId>), u64>,
}

impl Reading {
    /// Knows the templates of a miner, and no device yet.
    pub fn new(miner: Miner) -> Self {
        Self { devices: Devices::default(), strangers: Strangers::default(), miner, offset: 0, slot: 0, counts: HashMap::new() }
    }

    /// The records of a batch, and the counts of a time slot if it ended before one of them.
    pub fn take<'b>(&mut self, batch: &'b Batch) -> (Vec<Record<'b>>, Vec<Count>) {
        let records = self.read(batch);
        let ended = self.count(&records);
        (records, ended)
    }

    /// The records of a batch, not counted yet: what may be read once more counts only when it is stored.
    pub fn read<'b>(&mut self, batch: &'b Batch) -> Vec<Record<'b>> {
        batch.lines(self.offset).map(|received| self.record(received)).collect()
    }

    /// The record of a line that was stored before a restart, to be counted again.
    pub fn again<'b>(&mut self, stored: &Stored<'b>) -> Record<'b> {
        let Stored { device, received, severity, program, id, message } = *stored;
        let mined = self.miner.mine(program, id, message);
        let line = Line {
            facility: Facility::USER,
            severity: Severity::new(severity).unwrap_or(Severity::Notice),
            sent: None,
            host: "",
            program,
            process: "",
            id,
            fields: Vec::new(),
            message,
            dialect: Dialect::Plain,
            flags: Flags::default(),
        };
        let address = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
        let (template, change) = (Some(mined.template), mined.change);
        Record { device: Some(device.clone()), by: None, address, received, line, template, change }
    }

    /// Counts records, and gives the counts of a time slot if it ended before one of them.
    pub fn count(&mut self, records: &[Record<'_>]) -> Vec<Count> {
        let mut ended = Vec::new();
        for record in records {
            // By when it came: a sender's clock can't reopen what is over. Neither can ours, if it is put back.
            let slot = record.received.as_second().div_euclid(SLOT) * SLOT;
            if slot > self.slot {
                ended.extend(self.finish());
                self.slot = slot;
            }
            if let (Some(device), Some(template)) = (&record.device, record.template) {
                self.add(device, template);
            }
        }
        ended
    }

    /// The counts so far, once: when the process ends, or when a slot is over and nothing came that would show it.
    pub fn finish(&mut self) -> Vec<Count> {
        let slot = self.slot;
        let mut counts: Vec<Count> =
            self.counts.drain().map(|((device, template), lines)| Count { slot, device, template, lines }).collect();
        counts.sort_unstable();
        counts
    }

    fn record<'b>(&mut self, received: Received<'b>) -> Record<'b> {
        let Received { peer, received, read_on, line } = received;
        let found = read_on.map(|device| Match { device: device.clone(), by: By::Read });
        let found = found.or_else(|| self.devices.find(peer, line.host).filter(|found| !self.devices.is_kept_apart(&found.device)));
        let Some(found) = found else {
            self.strangers.add(peer.address, line.host, received);
            return Record { device: None, by: None, address: peer.address, received, line, template: None, change: Change::None };
        };
        let mined = self.miner.mine(line.program, line.id, line.message);
        Record {
            device: Some(found.device),
            by: Some(found.by),
            address: peer.address,
            received,
            line,
            template: Some(mined.template),
            change: mined.change,
        }
    }

    fn add(&mut self, device: &Arc<str>, template: TemplateId) {
        let key = (device.clone(), Some(template));
        if let Some(lines) = self.counts.get_mut(&key) {
            *lines += 1;
        } else if self.counts.len() < COUNTS {
            self.counts.insert(key, 1);
        } else {
            // One for each device beyond the limit at most, and there are not more devices than that.
            *self.counts.entry((device.clone(), None)).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Peer;
    use crate::line::Flags;
    use crate::mining::Options;
    use crate::senders::Known;

    fn batch(lines: &[(&str, i64, &str)]) -> Batch {
        let mut batch = Batch::default();
        for (address, second, line) in lines {
            let peer = Peer { address: address.parse().unwrap(), certificate: None };
            batch.push(line.as_bytes(), &peer, Timestamp::from_second(*second).unwrap());
        }
        batch
    }

    fn reading() -> Reading {
        let mut reading = Reading::new(Miner::new(Options::default()));
        reading.devices.set("web-01", Known { addresses: vec!["10.0.0.1".parse().unwrap()], ..Known::default() });
        reading
    }

    #[test]
    fn what_is_read_is_the_devices_and_what_it_should_not_send_is_kept_apart() {
        let mut reading = reading();
        let address = "10.0.0.1".parse().unwrap();
        reading.devices.set("web-01", Known { addresses: vec![address], is_kept_apart: true, ..Known::default() });
        let mut batch = batch(&[("10.0.0.1", 1000, "<13>1 1970-01-01T00:00:00Z web-02 app - - - sent")]);
        batch.push_read(
            b"<13>1 1970-01-01T00:00:00Z other app 7 - - read",
            &"web-01".into(),
            address,
            Timestamp::from_second(1000).unwrap(),
        );
        let (records, _) = reading.take(&batch);
        let seen: Vec<_> = records.iter().map(|record| (record.device.as_deref(), record.by, record.line.flags)).collect();
        assert_eq!(seen, [(None, None, Flags::CLOCK_OFF), (Some("web-01"), Some(By::Read), Flags::default())]);
        assert_eq!(reading.strangers.list()[0].hosts, ["web-02"]);
    }

    #[test]
    fn what_is_read_again_is_counted_once() {
        let mut reading = reading();
        let batch = batch(&[("10.0.0.1", 600, "<38>Jan  2 03:04:05 web-01 sshd[1]: hello")]);
        reading.read(&batch);
        let records = reading.read(&batch);
        assert_eq!(reading.count(&records), []);
        assert_eq!(reading.finish().iter().map(|count| (count.slot, count.lines)).collect::<Vec<_>>(), [(600, 1)]);
    }

    #[test]
    fn lines_have_their_device_their_template_and_are_counted_by_five_minutes() {
        let mut reading = reading();
        let login = "<38>Jan  2 03:04:05 web-01 sshd[1]: Accepted password for root from 10.0.0.7 port 1";
        let batch = batch(&[
            ("10.0.0.1", 600, login),
            ("10.0.0.1", 899, login),
            ("192.0.2.1", 899, "<13>Jan  2 03:04:05 gw app: who am I"),
            ("10.0.0.1", 900, login),
            // Our clock was put back.
            ("10.0.0.1", 880, login),
        ]);
        let (records, ended) = reading.take(&batch);
        let seen: Vec<_> =
            records.iter().map(|record| (record.device.as_deref(), record.by, record.change, record.template.is_some())).collect();
        let web = |change| (Some("web-01"), Some(By::Address), change, true);
        assert_eq!(seen, [web(Change::New), web(Change::None), (None, None, Change::None, false), web(Change::None), web(Change::None)]);
        let count = |slot, lines| Count { slot, device: "web-01".into(), template: records[0].template, lines };
        assert_eq!(ended, [count(600, 2)]);
        assert_eq!(reading.finish(), [count(900, 2)]);
        assert_eq!(reading.finish(), []);
        assert_eq!((reading.strangers.list()[0].host.as_str(), reading.miner.len()), ("gw", 1));
    }
}
