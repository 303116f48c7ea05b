//! What a simulated device says in `/proc` and `df`: plausible numbers that go on by themselves, from its name and the time.

use std::path::Path;
use std::time::Duration;

/// Seconds of one swing of the load.
const SWING: f64 = 600.0;
/// Clock ticks of `/proc/stat` in a second.
const TICKS: f64 = 100.0;

/// One device's numbers at one instant.
pub(crate) struct Numbers {
    /// Between 0 and 1, of its own, one after the other.
    shares: [f64; 8],
    /// Seconds since it was started.
    up: f64,
    /// How full its disk is.
    disk: f64,
}

impl Numbers {
    /// Of a device that has been up for so long. A disk that fills up is full when `filled` is 1.
    pub(crate) fn new(name: &str, up: Duration, filled: f64) -> Self {
        let mut state = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let shares = std::array::from_fn(|_| {
            // Vigna's SplitMix64.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            f64::from(u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or(0)) / f64::from(u32::MAX)
        });
        let used = 0.25 + 0.4 * shares[5];
        Self { shares, up: up.as_secs_f64(), disk: used + (1.0 - used) * filled.clamp(0.0, 1.0) }
    }

    fn cpus(&self) -> f64 {
        if self.shares[0] < 0.5 { 2.0 } else { 4.0 }
    }

    /// What has grown by now, if it grows by this much in a second on average, and swings by half of that.
    fn grown(&self, rate: f64) -> f64 {
        let turn = std::f64::consts::TAU / SWING;
        let phase = self.shares[1] * std::f64::consts::TAU;
        rate * self.up + rate / 2.0 / turn * (phase.cos() - (turn * self.up + phase).cos())
    }

    /// The swing itself, between -1 and 1.
    fn swing(&self) -> f64 {
        (std::f64::consts::TAU * (self.up / SWING + self.shares[1])).sin()
    }

    fn stat(&self) -> String {
        let cpus = self.cpus();
        let all = self.up * TICKS * cpus;
        let busy = self.grown((0.05 + 0.4 * self.shares[2]) * TICKS * cpus);
        let (user, system, iowait) = (busy * 0.7, busy * 0.3, all * 0.01);
        let idle = (all - busy - iowait).max(0.0);
        let line = |name: &str, part: f64| {
            let [user, system, idle, iowait] = [user, system, idle, iowait].map(|ticks| (ticks / part).floor());
            format!("cpu{name} {user:.0} 0 {system:.0} {idle:.0} {iowait:.0} 0 0 0 0 0\n")
        };
        (0..cpus as u32).fold(line(" ", 1.0), |text, cpu| text + &line(&cpu.to_string(), cpus))
    }

    fn loadavg(&self) -> String {
        let load = self.cpus() * (0.05 + 0.4 * self.shares[2]);
        let [one, five, fifteen] = [0.5, 0.3, 0.1].map(|swing| load * (1.0 + swing * self.swing()));
        format!("{one:.2} {five:.2} {fifteen:.2} 1/200 4242\n")
    }

    fn meminfo(&self) -> String {
        let total = if self.shares[3] < 0.5 { 4_028_440.0 } else { 8_142_508.0 };
        let used = total * (0.3 + 0.3 * self.shares[4] + 0.05 * self.swing());
        let (available, swap) = (total - used, 2_097_148.0);
        format!(
            "MemTotal:       {total:.0} kB\nMemFree:        {:.0} kB\nMemAvailable:   {available:.0} kB\nSwapTotal:      {swap:.0} kB\nSwapFree:       {:.0} kB\n",
            available / 2.0,
            swap * (1.0 - 0.1 * self.shares[4])
        )
    }

    fn net(&self) -> String {
        let received = self.grown(20_000.0 + 400_000.0 * self.shares[6]);
        let sent = self.grown(20_000.0 + 800_000.0 * self.shares[7]);
        let line = |name: &str, received: f64, sent: f64| {
            format!("{name:>6}: {received:.0} {:.0} 0 0 0 0 0 0 {sent:.0} {:.0} 0 0 0 0 0 0\n", received / 800.0, sent / 800.0)
        };
        format!("Inter-|   Receive\n face |bytes\n{}{}", line("lo", self.up, self.up), line("eth0", received, sent))
    }

    /// As `df -P -k` prints it, and as `df -P -i` does.
    fn df(&self) -> (String, String) {
        let blocks = 20_000_000.0 + (60_000_000.0 * self.shares[6]).floor();
        let used = (blocks * 0.95 * self.disk).floor();
        let free = blocks * 0.95 - used;
        let blocks = format!(
            "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/vda1 {blocks:.0} {used:.0} {free:.0} {:.0}% /\n",
            self.disk * 100.0
        );
        let (inodes, taken) = (2_000_000.0, (300_000.0 + 200_000.0 * self.disk).floor());
        let inodes = format!(
            "Filesystem Inodes IUsed IFree IUse% Mounted on\n/dev/vda1 {inodes:.0} {taken:.0} {:.0} {:.0}% /\n",
            inodes - taken,
            taken / inodes * 100.0
        );
        (blocks, inodes)
    }

    /// Writes them below a device's root, each file at once.
    pub(crate) fn write(&self, root: &Path) -> std::io::Result<()> {
        let (blocks, inodes) = self.df();
        for (path, text) in [
            ("proc/stat", self.stat()),
            ("proc/loadavg", self.loadavg()),
            ("proc/meminfo", self.meminfo()),
            ("proc/uptime", format!("{:.2} {:.2}\n", self.up, self.up)),
            ("proc/net/dev", self.net()),
            ("proc/mounts", "/dev/vda1 / ext4 rw 0 0\n".to_owned()),
            ("sys/class/net/eth0/operstate", "up\n".to_owned()),
            ("sys/class/net/eth0/speed", "1000\n".to_owned()),
            (".simulated/df", blocks),
            (".simulated/df-inodes", inodes),
        ] {
            let path = root.join(path);
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            // Two commands at once write the same.
            let beside = path.with_extension(format!("new{:?}", std::thread::current().id()).replace(['(', ')'], ""));
            std::fs::write(&beside, text)?;
            std::fs::rename(&beside, &path)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str, row: usize, word: usize) -> f64 {
        text.lines().nth(row).unwrap().split_whitespace().nth(word).unwrap().parse().unwrap()
    }

    /// Whoever is asked a second later has counted on.
    #[test]
    fn counters_only_grow() {
        for name in ["web-01", "db-01", "ams1/sw-01"] {
            let at = |second: u64| Numbers::new(name, Duration::from_secs(86_400 + second), 0.0);
            for second in 0..700 {
                let (before, now) = (at(second), at(second + 1));
                for word in [1, 3, 4, 5] {
                    assert!(number(&now.stat(), 0, word) >= number(&before.stat(), 0, word), "{name} {second} {word}");
                }
                for word in [1, 9] {
                    assert!(number(&now.net(), 3, word) > number(&before.net(), 3, word), "{name} {second} {word}");
                }
            }
        }
    }

    #[test]
    fn a_disk_fills_up() {
        let used = |filled| number(&Numbers::new("db-01", Duration::from_secs(60), filled).df().0, 1, 2);
        let all = number(&Numbers::new("db-01", Duration::from_secs(60), 0.0).df().0, 1, 1);
        assert!(used(0.0) < used(0.5) && used(0.5) < used(1.0));
        assert!(used(1.0) > all * 0.94);
    }
}
