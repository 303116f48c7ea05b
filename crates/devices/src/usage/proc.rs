//! `/proc` and `df`, read by one command that needs no root.

use std::collections::BTreeMap;

use reconcile::Metric;

use super::rates::{Counter, Cpu, Reading, is_wire};
use crate::script::HEADER;

/// Lines of one answer that are looked at: a machine with a thousand processors, mounts and interfaces has fewer.
const LINES: usize = 20_000;

/// File systems that hold nothing of their own (they are memory, or a view of others), and those that are somebody else's: `df` would
/// hang with a server that is away.
const NOT_ITS_OWN: &str = "autofs|binfmt_misc|bpf|cgroup|cgroup2|configfs|debugfs|devpts|devtmpfs|efivarfs|fusectl|fuse.gvfsd-fuse|fuse.lxcfs|hugetlbfs|iso9660|mqueue|nsfs|overlay|proc|pstore|ramfs|rootfs|rpc_pipefs|securityfs|selinuxfs|squashfs|sysfs|tmpfs|tracefs|udf|9p|afs|ceph|cifs|fuse.glusterfs|fuse.sshfs|fuse.rclone|ncpfs|nfs|nfs4|smb3|smbfs";

/// The script. It starts few programs, since it runs often: interfaces are read by the shell itself. A mount point is listed once for each
/// device that is mounted, the first of them; blanks in its name are written `\040`, see fstab(5).
pub(super) fn script() -> String {
    format!(
        r#"{HEADER}s() {{ printf '@%s\n' "$1"; }}
s stat; sed -n '/^cpu/p' "$R/proc/stat"
s load; cat "$R/proc/loadavg"
s memory; cat "$R/proc/meminfo"
s uptime; cat "$R/proc/uptime"
s net; cat "$R/proc/net/dev"
s interfaces
for i in "$R"/sys/class/net/*; do
  o=; v=
  {{ read -r o < "$i/operstate"; read -r v < "$i/speed"; }} 2>/dev/null
  printf '%s %s %s\n' "${{i##*/}}" "${{o:-unknown}}" "${{v:-0}}"
done
set --
seen=" "
while read -r d p t _; do
  case "$t" in {NOT_ITS_OWN}) continue ;; esac
  case "$seen" in *" $d "*) continue ;; esac
  seen="$seen$d "
  case "$p" in *\\*) p="$(printf '%b' "$(printf '%s' "$p" | sed 's/\\\([0-7][0-7][0-7]\)/\\0\1/g')")" ;; esac
  set -- "$@" "$p"
done < "$R/proc/mounts"
if [ $# -gt 0 ]; then
  s blocks; df -P -k "$@" 2>/dev/null
  s inodes; df -P -i "$@" 2>/dev/null
fi
s end
"#
    )
}

/// Reads what the script printed. Anything odd in it is passed over; an answer without its end is none.
pub(crate) fn parse(output: &[u8]) -> Result<Reading, String> {
    let text = String::from_utf8_lossy(output);
    let mut reading = Reading::default();
    let mut found = Found::default();
    let mut part = "";
    let mut whole = false;
    for line in text.lines().take(LINES) {
        if let Some(name) = line.strip_prefix('@') {
            (part, whole) = (name, name == "end");
            continue;
        }
        match part {
            "stat" => found.stat(line),
            "load" => load(&mut reading, line),
            "memory" => found.memory(line),
            "uptime" => found.uptime = found.uptime.or(line.split_whitespace().next().and_then(|seconds| seconds.parse().ok())),
            "net" => net(&mut reading, line),
            "interfaces" => interface(&mut reading, line),
            "blocks" => blocks(&mut reading, line),
            "inodes" => inodes(&mut reading, line),
            _ => {}
        }
    }
    if !whole {
        let tail: String = text.chars().rev().take(200).collect::<Vec<_>>().into_iter().rev().filter(|c| !c.is_control()).collect();
        return Err(format!("the answer has no end: {tail}"));
    }
    found.note_down(&mut reading);
    if reading.gauges.is_empty() {
        return Err("there is no /proc: this is not Linux".into());
    }
    Ok(reading)
}

/// What is spread over several lines.
#[derive(Default)]
struct Found {
    cpu: Option<Cpu>,
    processors: u32,
    memory: BTreeMap<String, f64>,
    uptime: Option<f64>,
}

impl Found {
    /// See proc(5): user, nice, system, idle, iowait, irq, softirq, steal; guests are counted as users already.
    fn stat(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("cpu") => {
                let times: Vec<f64> = words.map_while(|word| word.parse().ok()).take(8).collect();
                let at = |place: usize| times.get(place).copied().unwrap_or(0.0);
                if times.len() >= 4 {
                    self.cpu = Some(Cpu { busy: [at(0), at(1), at(2), at(5), at(6), at(7)], idle: at(3), iowait: at(4), wraps: false });
                }
            }
            Some(_) => self.processors += 1,
            None => {}
        }
    }

    /// In kB, which are KiB.
    fn memory(&mut self, line: &str) {
        let Some((key, rest)) = line.split_once(':') else { return };
        if let Some(value) = rest.split_whitespace().next().and_then(|value| value.parse::<f64>().ok()) {
            self.memory.insert(key.to_owned(), value * 1024.0);
        }
    }

    fn note_down(self, reading: &mut Reading) {
        reading.cpu = self.cpu;
        if self.processors > 0 {
            reading.gauge(Metric::CpuCount, "", f64::from(self.processors));
        }
        if let Some(uptime) = self.uptime {
            reading.gauge(Metric::Uptime, "", uptime);
            reading.clock = Some(uptime).filter(|uptime| uptime.is_finite());
        }
        let value = |key: &str| self.memory.get(key).copied();
        if let Some(total) = value("MemTotal") {
            // Kernels before 3.14 don't say what is available.
            let about = || Some(value("MemFree")? + value("Buffers")? + value("Cached")?);
            if let Some(available) = value("MemAvailable").or_else(about) {
                reading.memory(total, available.min(total));
            }
        }
        if let (Some(total), Some(free)) = (value("SwapTotal"), value("SwapFree")) {
            reading.swap(total, free);
        }
    }
}

fn load(reading: &mut Reading, line: &str) {
    let metrics = [Metric::LoadOne, Metric::LoadFive, Metric::LoadFifteen];
    for (metric, value) in metrics.into_iter().zip(line.split_whitespace().map_while(|word| word.parse().ok())) {
        reading.gauge(metric, "", value);
    }
}

/// Received: bytes, packets, errors, drops, and four more; sent: bytes, packets, errors, drops, and four more.
fn net(reading: &mut Reading, line: &str) {
    let Some((name, rest)) = line.rsplit_once(": ").or_else(|| line.rsplit_once(':')) else { return };
    let (name, values) = (name.trim(), rest.split_whitespace().map_while(|word| word.parse::<f64>().ok()).collect::<Vec<_>>());
    if values.len() < 12 || is_wire(name) {
        return;
    }
    for (metric, place) in [
        (Metric::InterfaceReceived, 0),
        (Metric::InterfaceReceiveErrors, 2),
        (Metric::InterfaceReceiveDrops, 3),
        (Metric::InterfaceSent, 8),
        (Metric::InterfaceSendErrors, 10),
        (Metric::InterfaceSendDrops, 11),
    ] {
        reading.counter(metric, name, Counter { value: values[place], ..Counter::default() });
    }
}

/// Name, operstate, speed in Mbit/s; what has no speed says -1 or nothing.
fn interface(reading: &mut Reading, line: &str) {
    let mut words = line.rsplitn(3, ' ');
    let (Some(speed), Some(state), Some(name)) = (words.next(), words.next(), words.next()) else { return };
    if is_wire(name) || name == "*" {
        return;
    }
    match state {
        "up" => reading.gauge(Metric::InterfaceUp, name, 1.0),
        "down" | "lowerlayerdown" | "dormant" | "notpresent" | "testing" => reading.gauge(Metric::InterfaceUp, name, 0.0),
        // A tunnel or a dummy does not know.
        _ => {}
    }
    if let Ok(speed) = speed.parse::<f64>()
        && speed > 0.0
    {
        reading.gauge(Metric::InterfaceSpeed, name, speed * 1e6 / 8.0);
    }
}

/// The last columns of `df -P`: three numbers, a share, and where it is mounted. Both names may have blanks in them.
fn df(line: &str) -> Option<([f64; 3], &str)> {
    let mut before: Vec<&str> = Vec::new();
    for word in line.split(' ').filter(|word| !word.is_empty()) {
        let is_share =
            word == "-" || word.strip_suffix('%').is_some_and(|share| !share.is_empty() && share.bytes().all(|b| b.is_ascii_digit()));
        if is_share && let [.., total, used, free] = before[..] {
            let [total, used, free] = [total, used, free].map(|word| word.parse::<f64>());
            if let (Ok(total), Ok(used), Ok(free)) = (total, used, free) {
                let end = word.as_ptr() as usize - line.as_ptr() as usize + word.len();
                return Some(([total, used, free], line.get(end + 1..)?.trim_start()));
            }
        }
        before.push(word);
    }
    None
}

fn blocks(reading: &mut Reading, line: &str) {
    if let Some(([total, used, free], mounted)) = df(line) {
        reading.disk(mounted, total * 1024.0, used * 1024.0, free.max(0.0) * 1024.0);
    }
}

fn inodes(reading: &mut Reading, line: &str) {
    // Some file systems (Btrfs) have no number of inodes.
    if let Some(([total, used, _], mounted)) = df(line)
        && total > 0.0
    {
        reading.gauge(Metric::DiskInodesRatio, mounted, (used / total).clamp(0.0, 1.0));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, proptest};
    use reconcile::Series;

    use super::*;

    const ANSWER: &str = "@stat
cpu  100 5 50 1000 40 3 2 1 9 0
cpu0 50 5 25 500 20 3 1 1 9 0
cpu1 50 0 25 500 20 0 1 0 0 0
@load
0.52 0.58 0.59 2/345 12345
@memory
MemTotal:        1000000 kB
MemFree:          100000 kB
MemAvailable:     250000 kB
SwapTotal:        200000 kB
SwapFree:         150000 kB
HugePages_Total:       0
@uptime
12345.67 23456.78
@net
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0
  eth0: 1000 10 1 2 0 0 0 0 2000 20 3 4 0 0 0 0
eth0:1: 5 1 0 0 0 0 0 0 6 1 0 0 0 0 0 0
veth12: 5 1 0 0 0 0 0 0 6 1 0 0 0 0 0 0
@interfaces
eth0 up 1000
eth1 down -1
lo unknown 0
tun0 unknown 0
@blocks
Filesystem     1024-blocks    Used Available Capacity Mounted on
/dev/vda1          1000000  600000    200000      75% /
/dev/disk b         100000   10000     90000      10% /srv/my data
@inodes
Filesystem      Inodes  IUsed   IFree IUse% Mounted on
/dev/vda1        10000   2500    7500   25% /
/dev/disk b          0      0       0     - /srv/my data
@end
";

    const SHOWN: &str = "cpu.count=2
load.one=0.52
load.five=0.58
load.fifteen=0.59
memory.total=1024000000
memory.available=256000000
memory.ratio=0.75
swap.total=204800000
swap.used=51200000
swap.ratio=0.25
disks[/].total=1024000000
disks[/srv/my data].total=102400000
disks[/].available=204800000
disks[/srv/my data].available=92160000
disks[/].ratio=0.75
disks[/srv/my data].ratio=0.1
disks[/].inodesRatio=0.25
interfaces[eth0].up=1
interfaces[eth1].up=0
interfaces[eth0].speed=125000000
uptime=12345.67
interfaces[eth0].received+1000
interfaces[eth0:1].received+5
interfaces[eth0].sent+2000
interfaces[eth0:1].sent+6
interfaces[eth0].receiveErrors+1
interfaces[eth0:1].receiveErrors+0
interfaces[eth0].sendErrors+3
interfaces[eth0:1].sendErrors+0
interfaces[eth0].receiveDrops+2
interfaces[eth0:1].receiveDrops+0
interfaces[eth0].sendDrops+4
interfaces[eth0:1].sendDrops+0
";

    fn shown(reading: &Reading) -> String {
        let gauges = reading.gauges.iter().map(|(series, value)| format!("{series}={value}\n"));
        let counters = reading.counters.iter().map(|(series, counter)| format!("{series}+{}\n", counter.value));
        gauges.chain(counters).collect()
    }

    #[test]
    fn an_answer_is_read() {
        let reading = parse(ANSWER.as_bytes()).unwrap();
        let cpu = reading.cpu.unwrap();
        assert_eq!((cpu.busy, cpu.idle, cpu.iowait), ([100.0, 5.0, 50.0, 3.0, 2.0, 1.0], 1000.0, 40.0));
        assert_eq!(reading.clock, Some(12345.67));
        assert_eq!(shown(&reading), SHOWN);
    }

    #[test]
    fn half_an_answer_is_none() {
        let half = ANSWER.strip_suffix("@end\n").unwrap();
        assert!(parse(half.as_bytes()).unwrap_err().starts_with("the answer has no end: "));
        assert!(parse(b"sh: 1: Syntax error\n").unwrap_err().ends_with("Syntax error"));
        assert_eq!(parse(b"@stat\n@end\n").unwrap_err(), "there is no /proc: this is not Linux");
    }

    #[test]
    fn an_old_kernel_has_less() {
        let old = "@memory\nMemTotal: 100 kB\nMemFree: 20 kB\nBuffers: 10 kB\nCached: 20 kB\n@end\n";
        assert_eq!(parse(old.as_bytes()).unwrap().gauges[&Series::of(Metric::MemoryRatio)], 0.5);
    }

    /// The script itself, on the machine that the test runs on.
    #[test]
    fn this_machine_is_read() {
        let run = |script: &str| std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
        let output = run(&script());
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        let reading = parse(&output.stdout).unwrap();
        for metric in [Metric::LoadOne, Metric::MemoryRatio, Metric::Uptime, Metric::CpuCount] {
            assert!(reading.gauges.contains_key(&Series::of(metric)), "{metric:?}");
        }
        let told = std::fs::read_to_string("/proc/meminfo").unwrap();
        let total: f64 = told.split_whitespace().nth(1).unwrap().parse().unwrap();
        assert_eq!(reading.gauges[&Series::of(Metric::MemoryTotal)], total * 1024.0);
        assert!(reading.cpu.is_some());
    }

    /// A mount point with a blank in its name, and one that a device is mounted at again.
    #[test]
    fn mounts_are_chosen_and_read() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let mounts = "/dev/vda1 / ext4 rw 0 0\ntmpfs /run tmpfs rw 0 0\n/dev/vda1 /again ext4 rw 0 0\nnas:/x /nas nfs4 rw 0 0\n/dev/vdb /srv/my\\040data xfs rw 0 0\n";
        write("proc/mounts", mounts);
        for file in ["stat", "loadavg", "meminfo", "uptime", "net/dev"] {
            write(&format!("proc/{file}"), "");
        }
        write("bin/df", "#!/bin/sh\nprintf '[%s]' \"$@\"; echo\n");
        std::process::Command::new("chmod").arg("+x").arg(root.path().join("bin/df")).status().unwrap();
        let path = format!("{}:{}", root.path().join("bin").display(), std::env::var("PATH").unwrap());
        let mut shell = std::process::Command::new("sh");
        let output = shell.arg("-c").arg(script()).env("PATH", path).env("EVENKEEL_ROOT", root.path()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.ends_with("@blocks\n[-P][-k][/][/srv/my data]\n@inodes\n[-P][-i][/][/srv/my data]\n@end\n"), "{text}");
    }

    proptest! {
        #[test]
        fn garbage_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _ = parse(&bytes);
        }

        /// An answer with bytes changed here and there: what comes out is numbers, of things with printable names.
        #[test]
        fn damage_is_survived(changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..40)) {
            let mut bytes = ANSWER.as_bytes().to_vec();
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            if let Ok(reading) = parse(&bytes) {
                prop_assert!(reading.gauges.values().all(|value| value.is_finite() && *value >= 0.0));
                prop_assert!(reading.gauges.keys().all(|series| !series.item.chars().any(char::is_control)));
            }
        }
    }

    #[test]
    fn fuzz_answers() {
        let words =
            ["@stat\n", "@net\n", "@blocks\n", "@inodes\n", "@memory\n", "@end\n", "\n", " ", "%", ":", "cpu ", "eth0: ", " kB", "\u{7f}"];
        crate::fuzz::run(env!("CARGO_MANIFEST_DIR"), "proc", &words, 5_000, |bytes| match parse(bytes) {
            Ok(reading) => reading.check(),
            Err(error) => assert!(error.len() <= 1000 && !error.chars().any(char::is_control), "{error:?}"),
        });
    }
}
