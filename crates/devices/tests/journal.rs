//! Journals read over a real sshd by the real journalctl; they are made by systemd-journal-remote, from its export format.

mod common;

use std::path::PathBuf;
use std::process::Command;

use common::{Machine, find};
use devices::journal::{Place, read};
use reconcile::Device;

/// A device with a journal.
struct Journal {
    machine: Machine,
    maker: PathBuf,
    device: Device,
    /// The device's clock, in microseconds.
    now: i64,
}

impl Journal {
    fn start() -> Option<Self> {
        let maker = find("systemd-journal-remote", &["/usr/lib/systemd/systemd-journal-remote", "/lib/systemd/systemd-journal-remote"])?;
        find("journalctl", &["/usr/bin/journalctl"])?;
        let machine = Machine::start()?;
        machine.program("journalctl", "exec /usr/bin/journalctl --directory=\"$EVENKEEL_ROOT/var/log/journal\" \"$@\"");
        let device = machine.device("web-01");
        Some(Self { machine, maker, device, now: jiff::Timestamp::now().as_microsecond() - 300_000_000 })
    }

    /// Adds entries with these messages to a journal's file.
    fn write(&mut self, file: &str, messages: impl IntoIterator<Item = Vec<u8>>) {
        std::fs::create_dir_all(self.machine.path("var/log/journal")).unwrap();
        let mut text = Vec::new();
        for message in messages {
            self.now += 1000;
            let now = self.now;
            let head = format!(
                "__REALTIME_TIMESTAMP={now}\n__MONOTONIC_TIMESTAMP={now}\n_BOOT_ID=0123456789abcdef0123456789abcdef\n_HOSTNAME=web-01\nPRIORITY=4\nSYSLOG_IDENTIFIER=app\n_PID=7\nCOREDUMP={}\nMESSAGE\n",
                "x".repeat(100)
            );
            text.extend_from_slice(head.as_bytes());
            text.extend_from_slice(&(message.len() as u64).to_le_bytes());
            text.extend_from_slice(&message);
            text.extend_from_slice(b"\n\n");
        }
        let source = self.machine.path("export");
        std::fs::write(&source, text).unwrap();
        let made =
            Command::new(&self.maker).arg("-o").arg(self.machine.path(&format!("var/log/journal/{file}.journal"))).arg(source).output();
        let made = made.unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    /// Reads once, and says the messages, whether there is a gap, and whether there is more.
    async fn read(&self, place: &mut Option<Place>) -> (Vec<String>, bool, bool) {
        let read = read(&self.machine.devices(), &self.device, place.as_ref()).await.unwrap();
        if read.place.is_some() {
            *place = read.place;
        }
        let message = |line: &Vec<u8>| {
            let text = String::from_utf8_lossy(line).into_owned();
            assert!(text.starts_with("<28>1 20") && text.contains(" web-01 app 7 - - "), "{text}");
            text.split_once(" - - ").unwrap().1.to_owned()
        };
        (read.lines.iter().map(message).collect(), read.gap, read.more)
    }
}

fn numbered(range: std::ops::Range<usize>) -> impl Iterator<Item = Vec<u8>> {
    range.map(|number| format!("entry {number}").into_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_entry_is_read_once_and_in_order() {
    let Some(mut journal) = Journal::start() else { return };
    let devices = journal.machine.devices();
    let error = read(&devices, &journal.device, None).await.unwrap_err();
    assert!(error.starts_with("journalctl: Failed to open"), "{error}");

    journal.write("a", [b"one".to_vec(), b"two\nlines \xff\x00".to_vec()]);
    let mut place = None;
    assert_eq!(journal.read(&mut place).await, (vec!["one".into(), "two\nlines \u{fffd}\0".into()], false, false));
    assert_eq!(journal.read(&mut place).await, (vec![], false, false));
    journal.write("a", [b"three".to_vec()]);
    assert_eq!(journal.read(&mut place).await, (vec!["three".into()], false, false));

    journal.write("a", numbered(0..2500));
    let mut all = Vec::new();
    let mut turns = 0;
    loop {
        let (lines, gap, more) = journal.read(&mut place).await;
        assert!(!gap && lines.len() <= 1000);
        all.extend(lines);
        turns += 1;
        if !more {
            break;
        }
    }
    assert_eq!(turns, 3);
    assert_eq!(all, numbered(0..2500).map(|line| String::from_utf8(line).unwrap()).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_huge_is_cut_and_what_follows_is_read() {
    let Some(mut journal) = Journal::start() else { return };
    journal.write("a", [b"before".to_vec(), vec![b'x'; 100_000], vec![b'y'; 3_000_000], b"after".to_vec()]);
    let mut place = None;
    let mut all = Vec::new();
    for _ in 0..4 {
        let (lines, gap, _) = journal.read(&mut place).await;
        assert!(!gap);
        all.extend(lines);
    }
    let said: Vec<(usize, &str)> = all.iter().map(|line| (line.len(), &line[..line.len().min(20)])).collect();
    assert_eq!(said, [(6, "before"), (16_384, "xxxxxxxxxxxxxxxxxxxx"), (40, "(a message that is t"), (5, "after")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_was_vacuumed_is_read_on_and_that_is_said() {
    let Some(mut journal) = Journal::start() else { return };
    journal.write("a", numbered(0..3));
    let mut place = None;
    journal.read(&mut place).await;
    // The file with the place is gone, and so is what was in it since.
    journal.write("a", numbered(3..5));
    std::fs::remove_file(journal.machine.path("var/log/journal/a.journal")).unwrap();
    journal.write("b", numbered(5..7));
    assert_eq!(journal.read(&mut place).await, (vec!["entry 5".into(), "entry 6".into()], true, false));
    assert_eq!(journal.read(&mut place).await, (vec![], false, false));
    // A place that journalctl does not understand.
    let at = place.as_ref().unwrap().at - 5_000_000;
    place = Some(Place { cursor: "of another version".into(), at });
    let (lines, gap, _) = journal.read(&mut place).await;
    assert_eq!((lines, gap), (vec!["entry 5".into(), "entry 6".into()], true));
    // Whatever a place is, it is one word for the shell.
    place = Some(Place { cursor: "s=$(touch /tmp/evenkeel-was-here)' ; exit".into(), at });
    assert!(journal.read(&mut place).await.1);
}
