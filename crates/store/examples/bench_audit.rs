//! Measures the audit log: `cargo run --release -p store --example bench_audit [sqlite|postgres|verify]…`. One line for each result:
//! name, value, unit.
//!
//! Appending is durable: SQLite with synchronous=FULL, PostgreSQL with fsync, both on the disk of the temporary directory. A plain
//! write with fsync is measured beside them, since no batch can be faster than that.

#[path = "../tests/store/places.rs"]
mod places;
#[path = "../tests/store/postgres.rs"]
mod postgres;

use std::io::{BufReader, Seek as _, Write as _};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use places::{actor, change, content, device, plan, start, work};
use reconcile::record::{Record as _, resume};
use reconcile::{Action, Name, Outcome, RolloutChange};
use store::audit::checkpoint::{ORIGIN, SigningKey};
use store::audit::tree::{self, Frontier};
use store::audit::{Entry, Header, Line, verify};
use store::{Options, Store};

type Done = Result<(), Box<dyn std::error::Error>>;

/// How long each kind of append is measured.
const TIME: Duration = Duration::from_secs(3);
const VERIFIED: u64 = 1_000_000;

#[tokio::main]
async fn main() -> Done {
    let parts: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    let data = tempfile::TempDir::new()?;
    fsync()?;
    if wanted("sqlite") {
        measure("sqlite", &Store::open(&Options { data: data.path().join("sqlite"), url: None }).await?).await?;
    }
    if let Some(server) = wanted("postgres").then(|| postgres::Server::start(true)).flatten() {
        let url = Some(server.url("postgres", server.port));
        measure("postgres", &Store::open(&Options { data: data.path().join("postgres"), url }).await?).await?;
    }
    if wanted("verify") { verifying() } else { Ok(()) }
}

fn told(name: &str, value: f64, unit: &str) {
    println!("{name}\t{value:.0}\t{unit}");
}

fn fsync() -> Done {
    let mut file = tempfile::tempfile()?;
    let (begin, mut count) = (Instant::now(), 0_u32);
    while begin.elapsed() < TIME / 3 {
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        count += 1;
    }
    told("disk.fsync", f64::from(count) / begin.elapsed().as_secs_f64(), "writes/s");
    Ok(())
}

async fn measure(name: &str, store: &Store) -> Done {
    for batch in [1, 100, 1000] {
        let (begin, mut count) = (Instant::now(), 0);
        while begin.elapsed() < TIME {
            store.log((0..batch).map(|number| entry(number, u64::from(count))).collect()).await?;
            count += u32::try_from(batch)?;
        }
        told(&format!("audit.append.{name}.batch_{batch}"), f64::from(count) / begin.elapsed().as_secs_f64(), "entries/s");
    }
    plans(name, store).await
}

/// What planning and acting write, on a Deployment of this many devices that are in place already.
async fn plans(name: &str, store: &Store) -> Done {
    let (unit, content, now) = (Name::parse("nginx"), content("1.24.0-1"), Timestamp::now());
    store.commit(&plan(vec![change(&unit, 0, start(1, &content))]), &actor(), now).await?;
    let adopted = (0..100_000).map(|number| (Name::parse(&format!("web-{number}")), content.digest())).collect();
    let begin = Instant::now();
    store.commit(&plan(vec![change(&unit, 1, RolloutChange::Complete { number: 1, adopted })]), &actor(), now).await?;
    told(&format!("plan.adopt_100000.{name}"), begin.elapsed().as_secs_f64() * 1e3, "ms");
    let begin = Instant::now();
    store.rollouts().await?;
    told(&format!("rollouts.read_100000.{name}"), begin.elapsed().as_secs_f64() * 1e3, "ms");

    let begin = Instant::now();
    let steps = (0..100).map(|number| device(&unit, &format!("web-{number}"), 2, Action::Apply(work(&unit, 1, &content)))).collect();
    store.commit(&plan(steps), &actor(), now).await?;
    told(&format!("plan.commit_100_of_100000.{name}"), begin.elapsed().as_secs_f64() * 1e3, "ms");
    let steps = resume(store).await?;
    let begin = Instant::now();
    for step in &steps {
        store.finish(step, &Outcome::done(now, "done")).await?;
    }
    told(&format!("plan.finish_1_of_100000.{name}"), begin.elapsed().as_secs_f64() * 1e3 / 100.0, "ms");
    Ok(())
}

fn verifying() -> Done {
    let key = SigningKey::generate();
    let mut frontier = Frontier::default();
    let mut file = std::io::BufWriter::new(tempfile::tempfile()?);
    let mut write = |line: &Line| -> Done { Ok(writeln!(file, "{}", serde_json::to_string(line)?)?) };
    write(&Line::Header(Header { origin: ORIGIN.into(), key: key.public().to_text() }))?;
    for index in 0..VERIFIED {
        let text = entry(index, index).canonical();
        let leaf = tree::leaf(text.as_bytes());
        frontier.push(leaf);
        write(&Line::Entry { text, leaf: hex::encode(leaf) })?;
        // As many as the store keeps.
        if frontier.size() % 256 == 0 || frontier.size() == VERIFIED {
            write(&Line::Checkpoint(key.sign(frontier.size(), frontier.root()).note))?;
        }
    }
    let mut file = file.into_inner()?;
    file.rewind()?;
    let megabytes = file.metadata()?.len() as f64 / 1e6;
    let (begin, before) = (Instant::now(), processor_time()?);
    let report = verify(BufReader::with_capacity(1 << 20, file), &key.public(), None)?;
    let seconds = begin.elapsed().as_secs_f64();
    assert_eq!((report.wrong, report.proven), (None, VERIFIED));
    told("audit.verify_1000000", seconds * 1e3, "ms");
    told("audit.verify_1000000.processor", (processor_time()? - before) * 1e3, "ms");
    told("audit.verify_1000000.size", megabytes, "MB");
    Ok(())
}

/// Seconds of all our threads: what a busy machine does not change. In hundredths (proc(5): `utime` and `stime` of `/proc/self/stat`).
fn processor_time() -> Result<f64, Box<dyn std::error::Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let ticks: Result<Vec<f64>, _> = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2).map(str::parse).collect();
    Ok(ticks?.iter().sum::<f64>() / 100.0)
}

/// As large as what a step writes.
fn entry(number: u64, at: u64) -> Entry {
    Entry {
        index: at,
        at: Timestamp::now(),
        actor: actor(),
        verb: "apply".into(),
        target: format!("device/web-{number}"),
        unit: "deployment/nginx".into(),
        plan: "0123456789ab".into(),
        step: "0123456789abcdef".into(),
        changes: vec!["apt nginx 1.24.0-1 -> 1.24.0-2".into()],
        message: "batch 2 of 5: the device runs another version".into(),
        outcome: "begun".into(),
        refers_to: None,
    }
}
