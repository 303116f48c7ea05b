//! What a device uses, as its SNMP agent has it: IF-MIB (RFC 2863), HOST-RESOURCES-MIB (RFC 2790), and UCD-SNMP-MIB where there is one.

use std::collections::{BTreeMap, HashSet};

use async_snmp::Value;
use reconcile::{Device, Metric, Snmp, Way};

use super::Answers;
use crate::devices::Devices;
use crate::usage::rates::{Counter, Cpu, Reading, is_wire};

const UPTIME: &[u32] = &[1, 3, 6, 1, 2, 1, 1, 3, 0];
/// hrSystemUptime: of the host, where sysUpTime is of the agent.
const HOST_UPTIME: &[u32] = &[1, 3, 6, 1, 2, 1, 25, 1, 1, 0];

// ifTable
const DESCRIPTION: &[u32] = &[1, 3, 6, 1, 2, 1, 2, 2, 1, 2];
const TYPE: &[u32] = &[1, 3, 6, 1, 2, 1, 2, 2, 1, 3];
const SPEED: &[u32] = &[1, 3, 6, 1, 2, 1, 2, 2, 1, 5];
const ADMIN: &[u32] = &[1, 3, 6, 1, 2, 1, 2, 2, 1, 7];
const OPER: &[u32] = &[1, 3, 6, 1, 2, 1, 2, 2, 1, 8];
const IN_OCTETS: &[u32] = &[1, 3, 6, 1, 2, 1, 2, 2, 1, 10];
const IN_DISCARDS: &[u32] = &[1, 3, 6, 1, 2, 1, 2, 2, 1, 13];
const IN_ERRORS: &[u32] = &[1, 3, 6, 1, 2, 1, 2, 2, 1, 14];
const OUT_OCTETS: &[u32] = &[1, 3, 6, 1, 2, 1, 2, 2, 1, 16];
const OUT_DISCARDS: &[u32] = &[1, 3, 6, 1, 2, 1, 2, 2, 1, 19];
const OUT_ERRORS: &[u32] = &[1, 3, 6, 1, 2, 1, 2, 2, 1, 20];
// ifXTable
const NAME: &[u32] = &[1, 3, 6, 1, 2, 1, 31, 1, 1, 1, 1];
const HC_IN: &[u32] = &[1, 3, 6, 1, 2, 1, 31, 1, 1, 1, 6];
const HC_OUT: &[u32] = &[1, 3, 6, 1, 2, 1, 31, 1, 1, 1, 10];
const HIGH_SPEED: &[u32] = &[1, 3, 6, 1, 2, 1, 31, 1, 1, 1, 15];
const DISCONTINUITY: &[u32] = &[1, 3, 6, 1, 2, 1, 31, 1, 1, 1, 19];
// hrStorageTable, hrProcessorTable
const STORAGE_TYPE: &[u32] = &[1, 3, 6, 1, 2, 1, 25, 2, 3, 1, 2];
const STORAGE_NAME: &[u32] = &[1, 3, 6, 1, 2, 1, 25, 2, 3, 1, 3];
const STORAGE_UNIT: &[u32] = &[1, 3, 6, 1, 2, 1, 25, 2, 3, 1, 4];
const STORAGE_SIZE: &[u32] = &[1, 3, 6, 1, 2, 1, 25, 2, 3, 1, 5];
const STORAGE_USED: &[u32] = &[1, 3, 6, 1, 2, 1, 25, 2, 3, 1, 6];
const STORAGE_TYPES: &[u32] = &[1, 3, 6, 1, 2, 1, 25, 2, 1];
const PROCESSOR_LOAD: &[u32] = &[1, 3, 6, 1, 2, 1, 25, 3, 3, 1, 2];

const COLUMNS: [&[u32]; 22] = [
    NAME,
    DESCRIPTION,
    TYPE,
    SPEED,
    ADMIN,
    OPER,
    IN_OCTETS,
    IN_DISCARDS,
    IN_ERRORS,
    OUT_OCTETS,
    OUT_DISCARDS,
    OUT_ERRORS,
    HC_IN,
    HC_OUT,
    HIGH_SPEED,
    DISCONTINUITY,
    STORAGE_TYPE,
    STORAGE_NAME,
    STORAGE_UNIT,
    STORAGE_SIZE,
    STORAGE_USED,
    PROCESSOR_LOAD,
];

/// UCD-SNMP-MIB: laLoad; memory in kB: total and free swap, total and free memory, buffers, cached, available; processor time: user, nice,
/// system, idle, wait, kernel, interrupts, soft interrupts, stolen.
macro_rules! ucd {
    ($($arc:expr),+) => { &[1, 3, 6, 1, 4, 1, 2021, $($arc),+] };
}
const LOADS: [&[u32]; 3] = [ucd!(10, 1, 3, 1), ucd!(10, 1, 3, 2), ucd!(10, 1, 3, 3)];
const SWAP_TOTAL: &[u32] = ucd!(4, 3, 0);
const SWAP_FREE: &[u32] = ucd!(4, 4, 0);
const TOTAL: &[u32] = ucd!(4, 5, 0);
const FREE: &[u32] = ucd!(4, 6, 0);
const BUFFERS: &[u32] = ucd!(4, 14, 0);
const CACHED: &[u32] = ucd!(4, 15, 0);
const AVAILABLE: &[u32] = ucd!(4, 27, 0);
const USER: &[u32] = ucd!(11, 50, 0);
const NICE: &[u32] = ucd!(11, 51, 0);
const SYSTEM: &[u32] = ucd!(11, 52, 0);
const IDLE: &[u32] = ucd!(11, 53, 0);
const WAIT: &[u32] = ucd!(11, 54, 0);
const INTERRUPT: &[u32] = ucd!(11, 56, 0);
const SOFT_INTERRUPT: &[u32] = ucd!(11, 61, 0);
const STOLEN: &[u32] = ucd!(11, 64, 0);

/// Asked for in two questions: an agent's answer has to fit into one packet.
const FIRST: [&[u32]; 9] = [UPTIME, HOST_UPTIME, LOADS[0], LOADS[1], LOADS[2], TOTAL, FREE, BUFFERS, CACHED];
const SECOND: [&[u32]; 11] = [AVAILABLE, SWAP_TOTAL, SWAP_FREE, USER, NICE, SYSTEM, IDLE, WAIT, INTERRUPT, SOFT_INTERRUPT, STOLEN];

/// A 32-bit counter may show a little more than the wire carries: what arrived while it answered.
const SLACK: f64 = 1.1;

/// Asks an agent.
pub(crate) async fn read(devices: &Devices, device: &Device, agent: &Snmp) -> Result<Reading, String> {
    let agent = devices.agents.agent(&devices.secrets, device, agent, &Way::default()).await.map_err(super::Error::into_reason)?;
    let mut answers = Answers::default();
    for some in [FIRST.as_slice(), &SECOND] {
        agent.get_many(some, &mut answers).await.map_err(super::Error::into_reason)?;
    }
    for column in COLUMNS {
        agent.column(column, &mut answers).await.map_err(super::Error::into_reason)?;
    }
    Ok(reading(&answers))
}

/// What the answers say.
fn reading(answers: &Answers) -> Reading {
    let mut reading = Reading::default();
    let ticks = |oid| answers.get(oid).and_then(Value::as_u32).map(|ticks| f64::from(ticks) / 100.0);
    reading.clock = ticks(UPTIME);
    if let Some(uptime) = ticks(HOST_UPTIME).or(reading.clock) {
        reading.gauge(Metric::Uptime, "", uptime);
    }
    for (metric, oid) in [Metric::LoadOne, Metric::LoadFive, Metric::LoadFifteen].into_iter().zip(LOADS) {
        if let Some(load) = answers.get(oid).and_then(Value::as_str).and_then(|text| text.trim().parse().ok()) {
            reading.gauge(metric, "", load);
        }
    }
    cpu(answers, &mut reading);
    let storage = storage(answers);
    memory(answers, &storage, &mut reading);
    for stored in storage.iter().filter(|stored| matches!(stored.kind, 4 | 5 | 9 | 10)) {
        // Linux agents list file systems in memory as disks, too.
        if !["/run", "/dev", "/sys", "/proc"].iter().any(|prefix| stored.name.starts_with(prefix)) {
            reading.disk(&stored.name, stored.size, stored.used, (stored.size - stored.used).max(0.0));
        }
    }
    interfaces(answers, &mut reading);
    if answers.cut {
        reading.note = Some("a table of the agent is longer than is read, or goes round in a circle".into());
    }
    reading
}

fn cpu(answers: &Answers, reading: &mut Reading) {
    let raw = |oid| answers.get(oid).and_then(number);
    let loads: Vec<f64> = answers.column(PROCESSOR_LOAD).filter_map(|(_, value)| number(value)).collect();
    if !loads.is_empty() {
        reading.gauge(Metric::CpuCount, "", loads.len() as f64);
    }
    // An agent that has just been started has not looked yet, and says 0 to all of them.
    if let (Some(user), Some(system), Some(idle)) = (raw(USER), raw(SYSTEM), raw(IDLE).filter(|idle| *idle > 0.0)) {
        let or = |oid| raw(oid).unwrap_or(0.0);
        let busy = [user, or(NICE), system, or(INTERRUPT), or(SOFT_INTERRUPT), or(STOLEN)];
        reading.cpu = Some(Cpu { busy, idle, iowait: or(WAIT), wraps: true });
    } else if !loads.is_empty() {
        // In percent, over the last minute.
        reading.gauge(Metric::CpuRatio, "", (loads.iter().sum::<f64>() / loads.len() as f64 / 100.0).min(1.0));
    }
}

/// A row of hrStorageTable, in bytes.
struct Stored {
    /// The last number of its type: 2 memory, 3 virtual memory, 4 fixed, 5 removable, 9 flash memory, 10 network disk.
    kind: u32,
    name: String,
    size: f64,
    used: f64,
}

fn storage(answers: &Answers) -> Vec<Stored> {
    let cell = |column: &[u32], row: &[u32]| answers.get(&[column, row].concat());
    let stored = |(row, kind): (&[u32], &Value)| {
        let kind = *kind.as_oid()?.arcs().strip_prefix(STORAGE_TYPES)?.first()?;
        // Windows adds the label and the serial number to a drive's letter.
        let name = text(cell(STORAGE_NAME, row)?)?;
        let name = name.split(" Label:").next().unwrap_or_default().to_owned();
        // A disk of more than 2^31 units shows as less than nothing.
        let count = |column| match cell(column, row)? {
            Value::Integer(count) => Some(f64::from(count.cast_unsigned())),
            other => number(other),
        };
        let unit = count(STORAGE_UNIT)?;
        Some(Stored { kind, name, size: count(STORAGE_SIZE)? * unit, used: count(STORAGE_USED)? * unit })
    };
    answers.column(STORAGE_TYPE).filter_map(stored).collect()
}

fn memory(answers: &Answers, storage: &[Stored], reading: &mut Reading) {
    let kib = |oid| answers.get(oid).and_then(number).map(|count| count * 1024.0);
    if let (Some(total), Some(free)) = (kib(TOTAL), kib(FREE)) {
        let available = kib(AVAILABLE).unwrap_or_else(|| free + kib(BUFFERS).unwrap_or(0.0) + kib(CACHED).unwrap_or(0.0));
        reading.memory(total, available.min(total));
    } else if let Some(memory) = storage.iter().filter(|stored| stored.kind == 2).max_by(|a, b| a.size.total_cmp(&b.size)) {
        reading.memory(memory.size, (memory.size - memory.used).max(0.0));
    }
    if let (Some(total), Some(free)) = (kib(SWAP_TOTAL), kib(SWAP_FREE)) {
        reading.swap(total, free);
    } else if let Some(swap) = storage.iter().find(|stored| stored.kind == 3 && stored.name.to_lowercase().contains("swap")) {
        reading.swap(swap.size, swap.size - swap.used);
    }
}

fn interfaces(answers: &Answers, reading: &mut Reading) {
    let mut names: BTreeMap<u32, String> = BTreeMap::new();
    let mut taken = HashSet::new();
    for column in [NAME, DESCRIPTION] {
        for (row, value) in answers.column(column) {
            let ([row], Some(name)) = (row, text(value)) else { continue };
            if names.contains_key(row) || name.is_empty() {
                continue;
            }
            // Some agents have several of one name.
            let name = if taken.insert(name.clone()) { name } else { format!("{name}.{row}") };
            names.insert(*row, name);
        }
    }
    for (row, name) in names {
        let cell = |column: &[u32]| answers.get(&[column, &[row]].concat());
        let value = |column: &[u32]| cell(column).and_then(number);
        // The way to itself (softwareLoopback), and what somebody switched off: that is no news.
        if value(TYPE) == Some(24.0) || value(ADMIN) == Some(2.0) || is_wire(&name) {
            continue;
        }
        if let Some(state) = value(OPER) {
            reading.gauge(Metric::InterfaceUp, &name, if state == 1.0 { 1.0 } else { 0.0 });
        }
        let speed = value(HIGH_SPEED).filter(|speed| *speed > 0.0).map(|megabits| megabits * 1e6 / 8.0);
        // Beyond 2^32 - 1 bit/s ifSpeed says just that.
        let slow = value(SPEED).filter(|bits| *bits > 0.0 && *bits < f64::from(u32::MAX)).map(|bits| bits / 8.0);
        let speed = speed.or(slow);
        if let Some(speed) = speed {
            reading.gauge(Metric::InterfaceSpeed, &name, speed);
        }
        let era = cell(DISCONTINUITY).and_then(Value::as_u64).unwrap_or(0);
        for (metric, wide, narrow) in [(Metric::InterfaceReceived, HC_IN, IN_OCTETS), (Metric::InterfaceSent, HC_OUT, OUT_OCTETS)] {
            let wide = value(wide).map(|value| Counter { value, era, ..Counter::default() });
            let most = speed.map(|speed| speed * SLACK);
            let narrow = || value(narrow).map(|value| Counter { value, wraps: true, era, most });
            if let Some(counter) = wide.or_else(narrow) {
                reading.counter(metric, &name, counter);
            }
        }
        for (metric, column) in [
            (Metric::InterfaceReceiveErrors, IN_ERRORS),
            (Metric::InterfaceReceiveDrops, IN_DISCARDS),
            (Metric::InterfaceSendErrors, OUT_ERRORS),
            (Metric::InterfaceSendDrops, OUT_DISCARDS),
        ] {
            if let Some(value) = value(column) {
                reading.counter(metric, &name, Counter { value, wraps: true, era, most: None });
            }
        }
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(f64::from(*number)),
        other => other.as_u64().map(|number| number as f64),
    }
}

/// Printable text; some agents end it with a NUL.
fn text(value: &Value) -> Option<String> {
    let text = String::from_utf8_lossy(value.as_bytes()?).trim_end_matches('\0').trim().to_owned();
    (!text.chars().any(char::is_control)).then_some(text)
}

#[cfg(test)]
mod tests {
    use async_snmp::Oid;
    use proptest::prelude::{Strategy, any, prop_assert, prop_oneof, proptest};
    use reconcile::Series;

    use super::*;

    fn answers(rows: &[(&[u32], &[u32], Value)]) -> Answers {
        let mut answers = Answers::default();
        for (column, row, value) in rows {
            answers.insert(&Oid::from_slice(&[*column, *row].concat()), value.clone());
        }
        answers
    }

    fn text(text: &'static str) -> Value {
        Value::OctetString(text.as_bytes().into())
    }

    fn kind(number: u32) -> Value {
        Value::ObjectIdentifier(Oid::from_slice(&[STORAGE_TYPES, &[number]].concat()))
    }

    fn gauge(reading: &Reading, metric: Metric, item: &str) -> Option<f64> {
        reading.gauges.get(&Series::item(metric, item)).copied()
    }

    #[test]
    fn a_switch_without_wide_counters() {
        let reading = reading(&answers(&[
            (UPTIME, &[], Value::TimeTicks(12_345)),
            (DESCRIPTION, &[1], text("port 1")),
            (DESCRIPTION, &[2], text("port 1")),
            (DESCRIPTION, &[3], text("off")),
            (ADMIN, &[3], Value::Integer(2)),
            (OPER, &[1], Value::Integer(1)),
            (OPER, &[2], Value::Integer(2)),
            (SPEED, &[1], Value::Gauge32(100_000_000)),
            (SPEED, &[2], Value::Gauge32(u32::MAX)),
            (IN_OCTETS, &[1], Value::Counter32(7)),
            (PROCESSOR_LOAD, &[1], Value::Integer(20)),
            (PROCESSOR_LOAD, &[2], Value::Integer(40)),
        ]));
        assert_eq!((reading.clock, gauge(&reading, Metric::Uptime, "")), (Some(123.45), Some(123.45)));
        assert_eq!((gauge(&reading, Metric::CpuCount, ""), gauge(&reading, Metric::CpuRatio, "")), (Some(2.0), Some(0.3)));
        let up = |item| gauge(&reading, Metric::InterfaceUp, item);
        assert_eq!((up("port 1"), up("port 1.2"), up("off")), (Some(1.0), Some(0.0), None));
        assert_eq!(gauge(&reading, Metric::InterfaceSpeed, "port 1"), Some(12_500_000.0));
        assert_eq!(gauge(&reading, Metric::InterfaceSpeed, "port 1.2"), None);
        let counter = reading.counters[&Series::item(Metric::InterfaceReceived, "port 1")];
        assert!(counter.wraps && counter.most == Some(12_500_000.0 * SLACK), "{counter:?}");
    }

    #[test]
    fn an_agent_that_has_not_looked_yet_has_no_processor_time() {
        let at = |idle| {
            reading(&answers(&[(USER, &[], Value::Counter32(0)), (SYSTEM, &[], Value::Counter32(0)), (IDLE, &[], Value::Counter32(idle))]))
                .cpu
        };
        assert_eq!(at(0), None);
        assert!(at(5).is_some_and(|cpu| cpu.idle == 5.0 && cpu.wraps));
    }

    #[test]
    fn wide_counters_come_first() {
        let reading = reading(&answers(&[
            (NAME, &[1], text("xe-0/0/1")),
            (DESCRIPTION, &[1], text("10-Gigabit Ethernet")),
            (HC_IN, &[1], Value::Counter64(1 << 40)),
            (IN_OCTETS, &[1], Value::Counter32(7)),
            (HIGH_SPEED, &[1], Value::Gauge32(10_000)),
            (DISCONTINUITY, &[1], Value::TimeTicks(5)),
        ]));
        let counter = reading.counters[&Series::item(Metric::InterfaceReceived, "xe-0/0/1")];
        assert_eq!(counter, Counter { value: (1_u64 << 40) as f64, wraps: false, era: 5, most: None });
        assert_eq!(gauge(&reading, Metric::InterfaceSpeed, "xe-0/0/1"), Some(1.25e9));
    }

    #[test]
    fn a_storage_box_with_disks_beyond_what_an_integer_holds() {
        let row = |row: &'static [u32], of: u32, name: &'static str, size: i32, used: i32| {
            let cells: [(&'static [u32], &'static [u32], Value); 5] = [
                (STORAGE_TYPE, row, kind(of)),
                (STORAGE_NAME, row, text(name)),
                (STORAGE_UNIT, row, Value::Integer(4096)),
                (STORAGE_SIZE, row, Value::Integer(size)),
                (STORAGE_USED, row, Value::Integer(used)),
            ];
            cells
        };
        let rows = [
            row(&[1], 2, "Physical memory", 1000, 400),
            row(&[3], 3, "Swap space", 100, 25),
            row(&[31], 4, "/volume1", -2, 1_000_000_000),
            row(&[32], 4, "/run/lock", 10, 1),
            row(&[33], 4, "C:\\ Label:System  Serial Number 1234", 10, 1),
        ]
        .concat();
        let reading = reading(&answers(&rows));
        assert_eq!(gauge(&reading, Metric::MemoryRatio, ""), Some(0.4));
        assert_eq!(gauge(&reading, Metric::SwapRatio, ""), Some(0.25));
        assert_eq!(gauge(&reading, Metric::DiskTotal, "/volume1"), Some(4_294_967_294.0 * 4096.0));
        assert_eq!(gauge(&reading, Metric::DiskTotal, "C:\\"), Some(40_960.0));
        assert_eq!(gauge(&reading, Metric::DiskTotal, "/run/lock"), None);
    }

    /// A value of any kind.
    fn odd() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<i32>().prop_map(Value::Integer),
            any::<u32>().prop_map(Value::Counter32),
            any::<u64>().prop_map(Value::Counter64),
            any::<u32>().prop_map(Value::TimeTicks),
            proptest::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| Value::OctetString(bytes.into())),
            (0_u32..12).prop_map(kind),
        ]
    }

    proptest! {
        /// Whatever an agent says: numbers are numbers, and names are printable.
        #[test]
        fn odd_answers_are_survived(cells in proptest::collection::vec((0..COLUMNS.len(), proptest::collection::vec(0_u32..4, 0..3), odd()), 0..60)) {
            let mut found = Answers::default();
            for (column, row, odd) in cells {
                found.insert(&Oid::from_slice(&[COLUMNS[column], &row].concat()), odd);
            }
            let reading = reading(&found);
            prop_assert!(reading.gauges.values().all(|value| value.is_finite() && *value >= 0.0));
            prop_assert!(reading.gauges.keys().all(|series| !series.item.chars().any(char::is_control)));
        }
    }

    /// Answers of a real agent, and what is made of them: decoded as the client does, and read.
    #[test]
    fn fuzz_answers() {
        // Tags and lengths of BER.
        let words = [
            "\u{2}\u{1}",
            "\u{4}\u{0}",
            "\u{6}\u{8}+\u{6}\u{1}\u{2}\u{1}",
            "0\u{7f}",
            "A\u{4}",
            "B\u{5}",
            "C\u{1}",
            "F\u{9}",
            "\u{5}\u{0}",
            "é",
            "\u{1}",
        ];
        let mut all = Answers::default();
        crate::fuzz::run(env!("CARGO_MANIFEST_DIR"), "snmp", &words, 10_000, |bytes| {
            let message = async_snmp::message::Message::decode(bytes.to_vec().into(), async_snmp::DecodeConfig::default());
            let Some(pdu) = message.ok().and_then(|message| message.value.into_pdu()) else { return };
            let mut answers = Answers::default();
            for found in pdu.varbinds() {
                let said = crate::snmp::shown(&found.value);
                assert!(said.len() <= 8 * bytes.len() + 64, "{said}");
                assert!(!said.chars().any(char::is_control), "{said:?}");
                // Beside what others said, as one walk after the other adds to it.
                if all.values.len() < 2000 {
                    all.insert(&found.oid, found.value.clone());
                }
                answers.insert(&found.oid, found.value.clone());
            }
            reading(&answers).check();
            reading(&all).check();
        });
    }
}
