//! What a node_exporter says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reconcile::{Device, Metric};

use super::exposition::{self, BODY, Sample};
use super::rates::{Counter, Cpu, Reading, is_wire};

/// File systems that hold nothing of their own, or are somebody else's.
const NOT_ITS_OWN: [&str; 14] = [
    "tmpfs",
    "ramfs",
    "devtmpfs",
    "overlay",
    "squashfs",
    "rootfs",
    "iso9660",
    "fuse.lxcfs",
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "fuse.sshfs",
    "nsfs",
];

/// Asks it.
pub(super) async fn read(client: &reqwest::Client, device: &Device, port: u16, path: &str, limit: Duration) -> Result<Reading, String> {
    let address = &device.address;
    let host = if address.parse::<std::net::Ipv6Addr>().is_ok() { format!("[{address}]") } else { address.clone() };
    let request = client.get(format!("http://{host}:{port}{path}")).timeout(limit).header("accept", "text/plain;version=0.0.4");
    let mut answer = request.send().await.map_err(|error| cause(&error))?;
    if !answer.status().is_success() {
        return Err(format!("node_exporter answers with status {}", answer.status().as_u16()));
    }
    let mut body = Vec::new();
    // What comes out here is unpacked already: a small answer that unpacks into a large one ends at the same limit.
    while let Some(piece) = answer.chunk().await.map_err(|error| cause(&error))? {
        if body.len() + piece.len() > BODY {
            return Err(format!("its answer is larger than {} MiB", BODY >> 20));
        }
        body.extend_from_slice(&piece);
    }
    parse(&body)
}

/// The innermost reason: the outer ones only repeat the address.
fn cause(error: &reqwest::Error) -> String {
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// What several samples say together.
#[derive(Default)]
struct Found {
    reading: Reading,
    any: bool,
    cpu: Cpu,
    processors: BTreeSet<String>,
    plain: BTreeMap<&'static str, f64>,
    /// Size, free, available, inodes, free inodes.
    disks: BTreeMap<String, [Option<f64>; 5]>,
    /// The first mount point of each device; it may be mounted at others too.
    mounted: BTreeMap<String, String>,
}

/// Metrics without labels that are looked at.
const PLAIN: [&str; 12] = [
    "node_load1",
    "node_load5",
    "node_load15",
    "node_memory_MemTotal_bytes",
    "node_memory_MemAvailable_bytes",
    "node_memory_MemFree_bytes",
    "node_memory_Buffers_bytes",
    "node_memory_Cached_bytes",
    "node_memory_SwapTotal_bytes",
    "node_memory_SwapFree_bytes",
    "node_boot_time_seconds",
    "node_time_seconds",
];

pub(crate) fn parse(body: &[u8]) -> Result<Reading, String> {
    let mut found = Found::default();
    let unreadable = exposition::read(body, |sample| found.take(sample))?;
    if !found.any {
        return Err("there is nothing of a node_exporter in its answer".into());
    }
    let mut reading = found.reading();
    reading.note = (unreadable > 0).then(|| format!("{unreadable} lines of its answer could not be read"));
    Ok(reading)
}

impl Found {
    fn take(&mut self, sample: &Sample<'_>) {
        let Some(name) = sample.name.strip_prefix("node_") else { return };
        if let Some(name) = PLAIN.iter().find(|name| **name == sample.name) {
            self.plain.insert(name, sample.value);
            self.any = true;
            return;
        }
        match name.split_once('_') {
            Some(("cpu", "seconds_total")) => self.cpu(sample),
            Some(("filesystem", what)) => self.disk(what, sample),
            Some(("network", what)) => self.interface(what, sample),
            _ => return,
        }
        self.any = true;
    }

    fn cpu(&mut self, sample: &Sample<'_>) {
        let place = match sample.label("mode") {
            "user" => &mut self.cpu.busy[0],
            "nice" => &mut self.cpu.busy[1],
            "system" => &mut self.cpu.busy[2],
            "irq" => &mut self.cpu.busy[3],
            "softirq" => &mut self.cpu.busy[4],
            "steal" => &mut self.cpu.busy[5],
            "idle" => &mut self.cpu.idle,
            "iowait" => &mut self.cpu.iowait,
            _ => return,
        };
        if sample.value.is_finite() {
            *place += sample.value;
            self.processors.insert(sample.label("cpu").to_owned());
        }
    }

    fn disk(&mut self, what: &str, sample: &Sample<'_>) {
        if NOT_ITS_OWN.contains(&sample.label("fstype")) {
            return;
        }
        let place = match what {
            "size_bytes" => 0,
            "free_bytes" => 1,
            "avail_bytes" => 2,
            "files" => 3,
            "files_free" => 4,
            _ => return,
        };
        let (device, mounted) = (sample.label("device"), sample.label("mountpoint"));
        // The shortest one, so that `/` wins over a bind mount, however they are sorted.
        let first = self.mounted.entry(device.to_owned()).or_insert_with(|| mounted.to_owned());
        if (mounted.len(), mounted) < (first.len(), first.as_str()) {
            mounted.clone_into(first);
        }
        self.disks.entry(mounted.to_owned()).or_default()[place] = Some(sample.value);
    }

    fn interface(&mut self, what: &str, sample: &Sample<'_>) {
        let interface = sample.label("device");
        if is_wire(interface) {
            return;
        }
        let metric = match what {
            "up" => return self.reading.gauge(Metric::InterfaceUp, interface, sample.value),
            // One that does not know says -1 Mbit/s.
            "speed_bytes" if sample.value > 0.0 => return self.reading.gauge(Metric::InterfaceSpeed, interface, sample.value),
            "receive_bytes_total" => Metric::InterfaceReceived,
            "transmit_bytes_total" => Metric::InterfaceSent,
            "receive_errs_total" => Metric::InterfaceReceiveErrors,
            "transmit_errs_total" => Metric::InterfaceSendErrors,
            "receive_drop_total" => Metric::InterfaceReceiveDrops,
            "transmit_drop_total" => Metric::InterfaceSendDrops,
            _ => return,
        };
        self.reading.counter(metric, interface, Counter { value: sample.value, ..Counter::default() });
    }

    fn reading(self) -> Reading {
        let mut reading = self.reading;
        let plain = |name: &str| self.plain.get(name).copied();
        for (metric, name) in [(Metric::LoadOne, "node_load1"), (Metric::LoadFive, "node_load5"), (Metric::LoadFifteen, "node_load15")] {
            if let Some(value) = plain(name) {
                reading.gauge(metric, "", value);
            }
        }
        let memory = |name: &str| plain(&format!("node_memory_{name}_bytes"));
        if let Some(total) = memory("MemTotal") {
            let about = || Some(memory("MemFree")? + memory("Buffers")? + memory("Cached")?);
            if let Some(available) = memory("MemAvailable").or_else(about) {
                reading.memory(total, available.min(total));
            }
        }
        if let (Some(total), Some(free)) = (memory("SwapTotal"), memory("SwapFree")) {
            reading.swap(total, free);
        }
        if let (Some(boot), Some(now)) = (plain("node_boot_time_seconds"), plain("node_time_seconds")) {
            reading.gauge(Metric::Uptime, "", now - boot);
        }
        if !self.processors.is_empty() {
            reading.gauge(Metric::CpuCount, "", self.processors.len() as f64);
            reading.cpu = Some(self.cpu);
        }
        for mounted in self.mounted.values() {
            let Some([size, free, available, files, files_free]) = self.disks.get(mounted) else { continue };
            if let (Some(size), Some(free), Some(available)) = (size, free, available) {
                reading.disk(mounted, *size, size - free, *available);
            }
            if let (Some(files), Some(free)) = (files, files_free)
                && *files > 0.0
            {
                reading.gauge(Metric::DiskInodesRatio, mounted, (1.0 - free / files).clamp(0.0, 1.0));
            }
        }
        reading
    }
}

#[cfg(test)]
mod tests {
    use reconcile::Series;

    use super::*;

    const ANSWER: &str = r#"# HELP node_cpu_seconds_total Seconds the CPUs spent in each mode.
# TYPE node_cpu_seconds_total counter
node_cpu_seconds_total{cpu="0",mode="idle"} 1000.5
node_cpu_seconds_total{cpu="0",mode="user"} 10.25
node_cpu_seconds_total{cpu="1",mode="idle"} 1000.5
node_cpu_seconds_total{cpu="1",mode="iowait"} 1
node_cpu_guest_seconds_total{cpu="0",mode="user"} 5
node_load1 0.5
node_memory_MemTotal_bytes 1e+09
node_memory_MemAvailable_bytes 2.5e+08
node_memory_SwapTotal_bytes 0
node_memory_SwapFree_bytes 0
node_filesystem_size_bytes{device="/dev/vda1",fstype="ext4",mountpoint="/var/lib/docker"} 1e+09
node_filesystem_size_bytes{device="/dev/vda1",fstype="ext4",mountpoint="/"} 1e+09
node_filesystem_free_bytes{device="/dev/vda1",fstype="ext4",mountpoint="/"} 4e+08
node_filesystem_avail_bytes{device="/dev/vda1",fstype="ext4",mountpoint="/"} 2e+08
node_filesystem_files{device="/dev/vda1",fstype="ext4",mountpoint="/"} 1000
node_filesystem_files_free{device="/dev/vda1",fstype="ext4",mountpoint="/"} 900
node_filesystem_size_bytes{device="tmpfs",fstype="tmpfs",mountpoint="/run"} 1e+09
node_network_up{device="eth0"} 1
node_network_speed_bytes{device="eth0"} -125000
node_network_receive_bytes_total{device="eth0"} 1.5e+10
node_network_receive_bytes_total{device="lo"} 1.5e+10
node_time_seconds 1.7000001e+09
node_boot_time_seconds 1.7e+09
go_goroutines 8
"#;

    const SHOWN: &str = "cpu.count=2
load.one=0.5
memory.total=1000000000
memory.available=250000000
memory.ratio=0.75
swap.total=0
swap.used=0
swap.ratio=0
disks[/].total=1000000000
disks[/].available=200000000
disks[/].ratio=0.75
disks[/].inodesRatio=0.09999999999999998
interfaces[eth0].up=1
uptime=100
";

    #[test]
    fn an_answer_is_read() {
        let reading = parse(ANSWER.as_bytes()).unwrap();
        assert_eq!((reading.cpu.unwrap().busy[0], reading.cpu.unwrap().idle, reading.cpu.unwrap().iowait), (10.25, 2001.0, 1.0));
        let gauges: String = reading.gauges.iter().map(|(series, value)| format!("{series}={value}\n")).collect();
        assert_eq!(gauges, SHOWN);
        let counters: Vec<&Series> = reading.counters.keys().collect();
        assert_eq!(counters, [&Series::item(Metric::InterfaceReceived, "eth0")]);
        assert_eq!(reading.note, None);
    }

    #[test]
    fn what_is_no_node_exporter_is_none() {
        for text in ["", "<html><body>Welcome</body></html>", "go_goroutines 8\nup 1\n"] {
            assert_eq!(parse(text.as_bytes()).unwrap_err(), "there is nothing of a node_exporter in its answer");
        }
        assert_eq!(parse(b"node_load1 1\n}\n").unwrap().note.unwrap(), "1 lines of its answer could not be read");
        assert_eq!(parse("node_load1 1\n".repeat(50_001).as_bytes()).unwrap_err(), "more than 50000 samples");
    }
}
