//! What a device uses: one vocabulary for servers, switches and storage boxes, whoever was asked (`/proc` over SSH, node_exporter, SNMP).
//!
//! A [`Usage`] is flat: a value for each [`Series`]. That is what is stored, what expressions read (`usage.memory.ratio`,
//! `usage.disks["/"].ratio`) and what is shown, under the same names.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How long the name of a disk or an interface may be, in bytes; a longer one is left out.
pub const ITEM: usize = 128;
/// How many series one device may have; those beyond it (in the order of their names) are left out, and that is said.
pub const SERIES: usize = 512;

/// What is measured, with its unit.
macro_rules! metrics {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal of $kind:ident in $unit:ident),+ $(,)?) => {
        /// What is measured. Names are those of expressions: `usage.` and then this.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Metric { $($(#[doc = $doc])+ $variant),+ }

        impl Metric {
            /// All of them, in the order in which they are shown.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its name, such as `memory.ratio`; of what there are several of, `disks.ratio`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// What it is of.
            pub fn of(self) -> Of {
                match self { $(Self::$variant => Of::$kind),+ }
            }

            /// What it is counted in.
            pub fn unit(self) -> Unit {
                match self { $(Self::$variant => Unit::$unit),+ }
            }

            /// One line of documentation.
            pub fn help(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii()),+ }
            }
        }
    };
}

metrics! {
    /// Share of processor time that was not idle (nor waiting for I/O) since the reading before, over all processors.
    CpuRatio = "cpu.ratio" of Device in Ratio,
    /// Share of processor time that waited for I/O since the reading before.
    CpuIowait = "cpu.iowait" of Device in Ratio,
    /// Online processors.
    CpuCount = "cpu.count" of Device in Count,
    /// Load average over 1 minute.
    LoadOne = "load.one" of Device in Count,
    /// Load average over 5 minutes.
    LoadFive = "load.five" of Device in Count,
    /// Load average over 15 minutes.
    LoadFifteen = "load.fifteen" of Device in Count,
    /// Memory.
    MemoryTotal = "memory.total" of Device in Bytes,
    /// Memory that can be had without swapping (`MemAvailable`).
    MemoryAvailable = "memory.available" of Device in Bytes,
    /// Share of memory that can't be had without swapping.
    MemoryRatio = "memory.ratio" of Device in Ratio,
    /// Swap space.
    SwapTotal = "swap.total" of Device in Bytes,
    /// Swap space in use.
    SwapUsed = "swap.used" of Device in Bytes,
    /// Share of swap space in use; 0 where there is none.
    SwapRatio = "swap.ratio" of Device in Ratio,
    /// Size of a file system.
    DiskTotal = "disks.total" of Disk in Bytes,
    /// What users who are not root may still write to it.
    DiskAvailable = "disks.available" of Disk in Bytes,
    /// Share in use of what such users may have, as `df` says it.
    DiskRatio = "disks.ratio" of Disk in Ratio,
    /// Share of its inodes in use.
    DiskInodesRatio = "disks.inodesRatio" of Disk in Ratio,
    /// 1 if the interface is up, 0 if not.
    InterfaceUp = "interfaces.up" of Interface in Count,
    /// What it can carry.
    InterfaceSpeed = "interfaces.speed" of Interface in BytesPerSecond,
    /// Received since the reading before.
    InterfaceReceived = "interfaces.received" of Interface in BytesPerSecond,
    /// Sent since the reading before.
    InterfaceSent = "interfaces.sent" of Interface in BytesPerSecond,
    /// Packets received with errors since the reading before.
    InterfaceReceiveErrors = "interfaces.receiveErrors" of Interface in PerSecond,
    /// Packets that could not be sent since the reading before.
    InterfaceSendErrors = "interfaces.sendErrors" of Interface in PerSecond,
    /// Packets received and dropped since the reading before.
    InterfaceReceiveDrops = "interfaces.receiveDrops" of Interface in PerSecond,
    /// Packets dropped before they were sent since the reading before.
    InterfaceSendDrops = "interfaces.sendDrops" of Interface in PerSecond,
    /// Time since it was started.
    Uptime = "uptime" of Device in Seconds,
    /// How long the probe took when it last passed; of echo requests their average round trip.
    ProbeSeconds = "probes.seconds" of Probe in Seconds,
    /// Of that, finding the address; missing where there was no need to. It and the next four are of now only: they are not stored.
    ProbeResolve = "probes.resolve" of Probe in Seconds,
    /// Of that, connecting.
    ProbeConnect = "probes.connect" of Probe in Seconds,
    /// Of that, the TLS handshake.
    ProbeTls = "probes.tls" of Probe in Seconds,
    /// Of that, from asking to the first of the answer.
    ProbeFirstByte = "probes.firstByte" of Probe in Seconds,
    /// Of that, from there to as much of the answer as was wanted.
    ProbeTransfer = "probes.transfer" of Probe in Seconds,
    /// Share of its echo requests that were not answered when it last ran.
    ProbeLoss = "probes.loss" of Probe in Ratio,
    /// Average round trip of those that were answered. It and the next two are of now only.
    ProbeRtt = "probes.rtt" of Probe in Seconds,
    /// Their shortest round trip.
    ProbeRttMin = "probes.rttMin" of Probe in Seconds,
    /// Their longest round trip.
    ProbeRttMax = "probes.rttMax" of Probe in Seconds,
    /// Mean difference between one round trip and the next.
    ProbeJitter = "probes.jitter" of Probe in Seconds,
    /// How long the certificate was still valid when the probe last ran; 0 once it is not. It is of now only.
    ProbeValidFor = "probes.validFor" of Probe in Seconds,
    /// Lines of log that came in the last whole minute.
    LogLines = "logs.lines" of Device in Count,
    /// Those of them that are errors or worse (severity 3 and below, RFC 5424).
    LogErrors = "logs.errors" of Device in Count,
    /// Those of them that are warnings (severity 4).
    LogWarnings = "logs.warnings" of Device in Count,
    /// Kinds of lines (templates) that came in that minute and were never seen from this device.
    LogNewTemplates = "logs.newTemplates" of Device in Count,
    /// Templates that come far more often than they did.
    LogUnusual = "logs.unusual" of Device in Count,
    /// Templates that came regularly and don't any more.
    LogVanished = "logs.vanished" of Device in Count,
    /// How far severities are from what they were: the share of lines that moved from one to another (total variation distance).
    LogSeverityShift = "logs.severityShift" of Device in Ratio,
    /// Lines of that minute that match a pattern which an alert rule asks for.
    LogMatches = "logs.matches" of Pattern in Count,
}

impl Metric {
    /// Whether it comes of probes, and not of reading a device.
    pub fn is_of_probes(self) -> bool {
        self.of() == Of::Probe
    }

    /// Whether samples of it are stored. What parts of a probe took would be several times as much as all that is known of it otherwise; of
    /// round trips the average is stored as what the probe took, and when a certificate ends is known beforehand.
    pub fn is_stored(self) -> bool {
        !self.is_of_probes() || matches!(self, Self::ProbeSeconds | Self::ProbeLoss | Self::ProbeJitter)
    }

    /// Whether it comes of lines of log, and not of reading a device.
    pub fn is_of_logs(self) -> bool {
        self.name().starts_with("logs.")
    }
}

/// What a metric is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// The whole device.
    Device,
    /// A file system, by where it is mounted.
    Disk,
    /// An interface, by its name.
    Interface,
    /// A probe, by its name.
    Probe,
    /// Lines of log, by a regular expression.
    Pattern,
}

/// What a metric is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// 0 to 1.
    Ratio,
    /// Bytes.
    Bytes,
    /// Bytes in a second.
    BytesPerSecond,
    /// Events in a second.
    PerSecond,
    /// Seconds.
    Seconds,
    /// A number.
    Count,
}

/// One value over time: a metric, and of which disk, interface, probe or pattern (empty for the whole device).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Series {
    /// What is measured.
    pub metric: Metric,
    /// Of which disk, interface, probe or pattern.
    pub item: Arc<str>,
}

impl Series {
    /// A series of the whole device.
    pub fn of(metric: Metric) -> Self {
        Self { metric, item: Arc::default() }
    }

    /// A series of one disk, interface or probe.
    pub fn item(metric: Metric, item: &str) -> Self {
        Self { metric, item: if item.is_empty() { Arc::default() } else { item.into() } }
    }
}

/// `memory.ratio`, or `disks[/var].ratio`.
impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.metric.name().split_once('.') {
            Some((of, what)) if self.metric.of() != Of::Device => write!(f, "{of}[{}].{what}", self.item),
            _ => f.write_str(self.metric.name()),
        }
    }
}

/// A text that names no series.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no series: one is for example cpu.ratio, memory.ratio, disks[/].ratio, interfaces[eth0].received")]
pub struct NoSeries(String);

impl FromStr for Series {
    type Err = NoSeries;

    fn from_str(text: &str) -> Result<Self, NoSeries> {
        let refused = || NoSeries(text.chars().filter(|c| !c.is_control()).take(100).collect());
        let (name, item) = match text.split_once('[') {
            None => (text.to_owned(), String::new()),
            Some((of, rest)) => {
                let (item, what) = rest.rsplit_once("].").ok_or_else(refused)?;
                (format!("{of}.{what}"), item.to_owned())
            }
        };
        let metric = Metric::ALL.iter().copied().find(|metric| metric.name() == name).ok_or_else(refused)?;
        if (metric.of() == Of::Device) != item.is_empty() || item.len() > ITEM {
            return Err(refused());
        }
        Ok(Self { metric, item: if item.is_empty() { Arc::default() } else { item.into() } })
    }
}

impl Serialize for Series {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Series {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What a device used at one instant. A series that is missing was not seen: that is not zero.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Usage {
    /// When it was asked.
    pub at: Timestamp,
    /// The values.
    pub values: BTreeMap<Series, f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_read_back_as_it_is_shown() {
        for metric in Metric::ALL {
            let items: &[&str] = if metric.of() == Of::Device { &[""] } else { &["/", "eth0.100", "/srv/a]. b", "[x]"] };
            for item in items {
                let series = Series::item(*metric, item);
                assert_eq!(series.to_string().parse(), Ok(series.clone()), "{series}");
            }
        }
    }

    #[test]
    fn what_names_no_series_is_refused() {
        for text in ["", "cpu", "disks.ratio", "disks[].ratio", "cpu[0].ratio", "disks[/", "disks[/]ratio", "memory.ratio[x]"] {
            assert!(text.parse::<Series>().is_err(), "{text}");
        }
    }
}
