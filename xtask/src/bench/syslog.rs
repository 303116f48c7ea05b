//! Lines by TCP into PostgreSQL, ours against rsyslog with ompgsql: the same lines, one connection, one PostgreSQL with fsync for both.
//!
//! The processor time of whoever sends is not counted. PostgreSQL's is counted on both sides, and on neither: both are shown. Ours indexes the
//! words of each line, finds its device and mines its template meanwhile; rsyslog's table is that of Debian's package, without any index
//! but its key.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use super::{Build, Figures, find};

#[path = "../../../crates/store/tests/store/postgres.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "shared with the tests")]
mod postgres;

/// Lines of one run.
const LINES: u64 = 300_000;
/// Longest time that lines may take to be there.
const PATIENCE: Duration = Duration::from_secs(600);
/// Ticks in a second of what /proc counts (`getconf CLK_TCK`).
const TICKS: f64 = 100.0;

/// The table of Debian's rsyslog-pgsql.
const TABLE: &str = "CREATE TABLE SystemEvents (ID serial not null primary key, CustomerID bigint, ReceivedAt timestamp without time zone NULL, DeviceReportedTime timestamp without time zone NULL, Facility smallint NULL, Priority smallint NULL, FromHost varchar(60) NULL, Message text, NTSeverity int NULL, Importance int NULL, EventSource varchar(60), EventUser varchar(60) NULL, EventCategory int NULL, EventID int NULL, EventBinaryData text NULL, MaxAvailable int NULL, CurrUsage int NULL, MinUsage int NULL, MaxUsage int NULL, InfoUnitID int NULL, SysLogTag varchar(60), EventLogType varchar(60), GenericFileName VarChar(60), SystemID int NULL)";

/// A program that ends with its handle.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(super) fn measure(figures: &mut Figures) -> anyhow::Result<()> {
    let evenkeel = match std::env::var_os("EVENKEEL_BIN") {
        Some(program) => PathBuf::from(program),
        None => Build::Measure.of(&["--bin", "evenkeel"])?.join("evenkeel"),
    };
    let lines = std::env::var("EVENKEEL_BENCH_LINES").ok().and_then(|lines| lines.parse().ok()).unwrap_or(LINES);
    let Some(server) = postgres::Server::start(true) else {
        eprintln!("note: PostgreSQL is not installed, so syslog is not measured");
        return Ok(());
    };
    let folder = tempfile::TempDir::new()?;
    let text = Sample::new(lines);
    eprintln!("measuring: syslog, {lines} lines");
    ours(&evenkeel, &server, folder.path(), &text, figures)?;
    if !Path::new("/usr/lib/x86_64-linux-gnu/rsyslog/ompgsql.so").exists()
        && !Path::new("/usr/lib/aarch64-linux-gnu/rsyslog/ompgsql.so").exists()
    {
        eprintln!("note: rsyslog's ompgsql is not installed (apt-get install rsyslog-pgsql), so it is not measured");
        return Ok(());
    }
    eprintln!("measuring: rsyslog, {lines} lines");
    rsyslog(&server, folder.path(), &text, figures)
}

fn ours(evenkeel: &Path, server: &postgres::Server, folder: &Path, sample: &Sample, figures: &mut Figures) -> anyhow::Result<()> {
    psql(server, "postgres", "CREATE DATABASE ours")?;
    let manifests = folder.join("manifests");
    std::fs::create_dir_all(&manifests)?;
    let device = "apiVersion: evenkeel.dev/v1alpha1\nkind: Device\nmetadata: {name: web-01}\nspec: {type: Server, address: 127.0.0.1}\n";
    std::fs::write(manifests.join("device.yaml"), device)?;
    let port = free()?;
    let log = std::fs::File::create(folder.join("evenkeel.log"))?;
    let child = Command::new(evenkeel)
        .args(["run", "--syslog-rate=10000000", &format!("--syslog-tcp=127.0.0.1:{port}"), "--repo"])
        .arg(&manifests)
        .arg("--data")
        .arg(folder.join("data"))
        .env("DATABASE_URL", server.url("ours", server.port))
        .stdin(Stdio::null())
        .stderr(log)
        .spawn()
        .context("evenkeel")?;
    let running = Running(child);
    let took = through(server, &running, port, sample, || psql(server, "ours", "SELECT number FROM log_tail"))
        .with_context(|| std::fs::read_to_string(folder.join("evenkeel.log")).unwrap_or_default())?;
    drop(running);
    let there: u64 = psql(server, "ours", "SELECT COUNT(*) FROM log_line WHERE device <> ''")?.parse()?;
    took.show(figures, "syslog", sample.lines, there);
    Ok(())
}

fn rsyslog(server: &postgres::Server, folder: &Path, sample: &Sample, figures: &mut Figures) -> anyhow::Result<()> {
    psql(server, "postgres", "CREATE DATABASE theirs")?;
    psql(server, "theirs", TABLE)?;
    let port = free()?;
    let work = folder.join("rsyslog");
    std::fs::create_dir_all(&work)?;
    // With a batch and a queue as its documentation recommends for databases, and a queue that makes senders wait instead of losing lines.
    let config = format!(
        "global(workDirectory=\"{}\")\nmodule(load=\"imtcp\")\nmodule(load=\"ompgsql\")\ninput(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\" ruleset=\"db\")\nruleset(name=\"db\" queue.type=\"LinkedList\" queue.size=\"50000\" queue.dequeueBatchSize=\"1000\" queue.timeoutEnqueue=\"600000\") {{\n  action(type=\"ompgsql\" server=\"127.0.0.1\" port=\"{}\" user=\"evenkeel\" pass=\"{}\" db=\"theirs\" action.resumeRetryCount=\"-1\")\n}}\n",
        work.display(),
        server.port,
        server.password,
    );
    let path = folder.join("rsyslog.conf");
    std::fs::write(&path, config)?;
    let program = find("rsyslogd").unwrap_or_else(|| "/usr/sbin/rsyslogd".into());
    let log = std::fs::File::create(folder.join("rsyslog.log"))?;
    let child =
        Command::new(program).args(["-n", "-i", "NONE", "-f"]).arg(&path).stdin(Stdio::null()).stderr(log).spawn().context("rsyslogd")?;
    let running = Running(child);
    // The key is given in the order of the lines, and nobody deletes.
    let took = through(server, &running, port, sample, || psql(server, "theirs", "SELECT COALESCE(MAX(ID), 0) FROM SystemEvents"))
        .with_context(|| std::fs::read_to_string(folder.join("rsyslog.log")).unwrap_or_default())?;
    drop(running);
    let there: u64 = psql(server, "theirs", "SELECT COUNT(*) FROM SystemEvents")?.parse()?;
    took.show(figures, "rsyslog", sample.lines, there);
    Ok(())
}

/// Processor seconds of one run.
struct Took {
    own: f64,
    database: f64,
}

impl Took {
    fn show(&self, figures: &mut Figures, name: &str, lines: u64, there: u64) {
        eprintln!("{name}: {:.2} s of its own, {:.2} s of PostgreSQL, {there} of {lines} lines are there", self.own, self.database);
        figures.insert(format!("{name}_with"), lines as f64 / (self.own + self.database));
        figures.insert(format!("{name}_without"), lines as f64 / self.own);
        figures.insert(format!("{name}_lost"), lines.saturating_sub(there) as f64);
    }
}

/// Sends the lines, and waits until as many are there as were sent.
fn through(
    server: &postgres::Server,
    running: &Running,
    port: u16,
    sample: &Sample,
    there: impl Fn() -> anyhow::Result<String>,
) -> anyhow::Result<Took> {
    let begin = Instant::now();
    let mut stream = loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => break stream,
            Err(error) if begin.elapsed() > Duration::from_secs(20) => bail!("it does not listen: {error}"),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    };
    // What it does at its start is not what is measured.
    std::thread::sleep(Duration::from_secs(2));
    let database = postmaster(server.port).context("the PostgreSQL server can't be found in /proc")?;
    let before = (used(running.0.id()), all_used(database));
    stream.write_all(&sample.text)?;
    stream.flush()?;
    let begin = Instant::now();
    while there()?.parse::<u64>().unwrap_or(0) < sample.lines {
        ensure!(begin.elapsed() < PATIENCE, "only {} of {} lines are there", there()?, sample.lines);
        std::thread::sleep(Duration::from_millis(500));
    }
    Ok(Took { own: used(running.0.id()) - before.0, database: all_used(database) - before.1 })
}

/// What servers say, made anew for each run.
struct Sample {
    lines: u64,
    text: Vec<u8>,
}

impl Sample {
    fn new(lines: u64) -> Self {
        let mut text = Vec::new();
        for number in 0..lines {
            let (user, port, process) = (number * 7 % 500, 1024 + number * 31 % 60_000, 300 + number / 100 % 5000);
            let address = format!("10.{}.{}.{}", number % 4, number * 13 % 256, number * 7 % 256);
            let (priority, program, message) = match number % 8 {
                0 => (38, "sshd", format!("Failed password for invalid user u{user} from {address} port {port} ssh2")),
                1 => (
                    38,
                    "sshd",
                    format!("Accepted publickey for u{user} from {address} port {port} ssh2: ED25519 SHA256:{:x}", number * 2_654_435_761),
                ),
                2 => (78, "CRON", format!("(root) CMD (/usr/lib/job{} --all >/dev/null)", number % 20)),
                3 => (30, "systemd", format!("Started session-{number}.scope - Session {number} of User u{user}.")),
                4 => (
                    134,
                    "nginx",
                    format!("{address} - - \"GET /item/{user}?page={} HTTP/1.1\" 200 {port} \"-\" \"curl/7.88.1\"", number % 9),
                ),
                5 => (4, "kernel", format!("[{number}.{process:06}] nf_conntrack: table full, dropping packet from {address}")),
                6 => (22, "postfix/smtpd", format!("connect from mail{user}.example.org[{address}]")),
                _ => (
                    131,
                    "app",
                    format!(
                        "request {:08x} took {} ms, {} bytes, user u{user}, status {}",
                        number * 97,
                        number % 900,
                        port * 3,
                        200 + number % 4
                    ),
                ),
            };
            let _ =
                writeln!(text, "<{priority}>Nov 26 21:{:02}:{:02} web-01 {program}[{process}]: {message}", number / 60 % 60, number % 60);
        }
        Self { lines, text }
    }
}

fn psql(server: &postgres::Server, database: &str, statement: &str) -> anyhow::Result<String> {
    let program = find("psql").unwrap_or_else(|| "/usr/lib/postgresql/15/bin/psql".into());
    let output = Command::new(program)
        .args(["-X", "-q", "-A", "-t", "-h", "127.0.0.1", "-U", "evenkeel", "-d", database, "-c", statement, "-p"])
        .arg(server.port.to_string())
        .env("PGPASSWORD", &server.password)
        .output()
        .context("psql")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn free() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The process of the server that listens on this port: it is the one with it on its command line.
fn postmaster(port: u16) -> Option<u32> {
    let processes = std::fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    processes.into_iter().find(|process| {
        let words = std::fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap_or_default();
        let words: Vec<&str> = words.split('\0').collect();
        words[0].ends_with("/postgres") && words.windows(2).any(|pair| pair[0] == "-p" && pair[1] == port.to_string())
    })
}

/// Processor seconds of a process: fields 14 and 15 of its stat, see proc(5).
fn used(process: u32) -> f64 {
    fields(process, 11, 2)
}

/// Those of a process with its children, those that have ended included.
fn all_used(process: u32) -> f64 {
    let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    let children: f64 = children.split_whitespace().filter_map(|child| child.parse().ok()).map(used).sum();
    fields(process, 11, 4) + children
}

fn fields(process: u32, from: usize, many: usize) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split_whitespace().collect();
    fields.iter().skip(from).take(many).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / TICKS
}
