//! What it costs to ask a large fleet, to listen to it, and to look at it in a browser: the engine as it is run, over TCP.

mod listeners;

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use socket2::{Domain, Socket, Type};

use super::{Build, Figures, Server, cluster, free_port};
use crate::{root, web};

/// Who reads the list at once.
const READERS: usize = 50;
/// Addresses that they come from.
const OFFICES: usize = 5;
/// Devices in one file, which may have 1 MiB.
const FILE: u32 = 1000;
const TOKEN: &str = "a-token-of-a-bench-only";
/// Until the engine has read so many manifests.
const START: Duration = Duration::from_secs(180);
/// Devices with 30 days of samples.
const CHARTED: &str = "5";

/// How large it is made.
struct Size {
    devices: u32,
    /// How long lists are read, and changes are made.
    span: Duration,
    listeners: usize,
}

impl Size {
    fn of(build: Build) -> Self {
        match build {
            Build::Measure => Self { devices: 100_000, span: Duration::from_secs(30), listeners: 1000 },
            Build::TryOut => Self { devices: 5000, span: Duration::from_secs(5), listeners: 200 },
        }
    }
}

/// The engine, and where it answers.
struct Engine {
    process: Server,
    port: u16,
}

pub(super) fn measure(figures: &mut Figures, build: Build) -> anyhow::Result<()> {
    web::ensure()?;
    let size = Size::of(build);
    let chart = build.of(&["--example", "bench_chart"])?.join("examples/bench_chart");
    let binary = build.of(&["--bin", "evenkeel"])?.join("evenkeel");
    let folder = tempfile::tempdir()?;
    let (fleet, data) = (folder.path().join("fleet"), folder.path().join("data"));
    std::fs::create_dir(&fleet)?;
    for (number, first) in (0..size.devices).step_by(FILE as usize).enumerate() {
        std::fs::write(file(&fleet, number), manifests(first, size.devices, 0)?)?;
    }
    eprintln!("measuring: 30 days of samples are written");
    let filled = Command::new(chart).arg(&data).arg(CHARTED).status()?;
    ensure!(filled.success(), "the samples can't be written: {filled}");
    let engine = start(&binary, folder.path(), &fleet, &data, size.devices)?;
    figures.insert("api_devices".into(), f64::from(size.devices));
    figures.insert("api_resident".into(), cluster::resident(engine.process.0.id())?);
    lists(figures, &engine, &size)?;
    chart_of_a_month(figures, &engine)?;
    browser(figures, &engine)?;
    listeners::measure(figures, &engine, &size, &fleet)
}

fn start(binary: &Path, folder: &Path, fleet: &Path, data: &Path, devices: u32) -> anyhow::Result<Engine> {
    let port = free_port()?;
    std::fs::write(folder.join("token"), TOKEN)?;
    let log = std::fs::File::create(folder.join("log"))?;
    let mut program = Command::new(binary);
    program.args(["run", "--interval", "1s", "--repo"]).arg(fleet).arg("--data").arg(data).env_remove("DATABASE_URL");
    program.args(["--listen", &format!("127.0.0.1:{port}"), "--token-file"]).arg(folder.join("token"));
    let process = Server(program.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?);
    let began = Instant::now();
    while began.elapsed() < START {
        sleep(Duration::from_millis(200));
        let status = Client::connect(port).and_then(|mut client| client.get("/v1/status"));
        if status.is_ok_and(|(_, body)| String::from_utf8_lossy(&body).contains(&format!("\"devices\":{devices}"))) {
            return Ok(Engine { process, port });
        }
    }
    bail!(
        "the engine does not have its {devices} devices: {}",
        std::fs::read_to_string(folder.join("log"))?.lines().last().unwrap_or_default()
    )
}

fn file(fleet: &Path, number: usize) -> std::path::PathBuf {
    fleet.join(format!("devices-{number}.yaml"))
}

/// Devices that nobody looks at: what is measured is what is asked. Another round is another label.
fn manifests(first: u32, devices: u32, round: u32) -> anyhow::Result<String> {
    let mut text = String::new();
    for number in (first..devices).take(FILE as usize) {
        let [_, a, b, c] = (number + 256).to_be_bytes();
        let (role, site) = (number % 7, number % 40);
        write!(
            text,
            "---\napiVersion: evenkeel.dev/v1alpha1\nkind: Device\nmetadata: {{name: d-{number:06}, labels: {{role: r{role}, site: s{site}, round: r{round}}}}}\nspec: {{type: Server, address: 127.{a}.{b}.{c}}}\n"
        )?;
    }
    Ok(text)
}

/// One connection that is kept.
struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn connect(port: u16) -> anyhow::Result<Self> {
        Self::connect_from(1, port)
    }

    /// From another address of this machine: one address alone is not given as many connections as many readers need.
    fn connect_from(host: u8, port: u16) -> anyhow::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from(([127, 0, 0, host], 0)).into())?;
        socket.connect(&SocketAddr::from(([127, 0, 0, 1], port)).into())?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    fn ask(&mut self, path: &str) -> anyhow::Result<()> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\r\n");
        Ok(self.stream.get_mut().write_all(request.as_bytes())?)
    }

    /// Status, and the length of the body where it has one.
    fn head(&mut self) -> anyhow::Result<(u16, Option<usize>)> {
        let (mut status, mut length, mut line) = (None, None, String::new());
        loop {
            line.clear();
            ensure!(self.stream.read_line(&mut line)? > 0, "the connection was closed");
            let text = line.trim().to_ascii_lowercase();
            match text.split_once(' ') {
                _ if text.is_empty() => break,
                Some(("content-length:", value)) => length = value.parse().ok(),
                Some((version, rest)) if version.starts_with("http/") => status = rest.get(..3).and_then(|code| code.parse().ok()),
                _ => {}
            }
        }
        Ok((status.context("no status")?, length))
    }

    fn get(&mut self, path: &str) -> anyhow::Result<(u16, Vec<u8>)> {
        self.ask(path)?;
        let (status, length) = self.head()?;
        let mut body = vec![0; length.context("an answer without a length")?];
        self.stream.read_exact(&mut body)?;
        Ok((status, body))
    }
}

/// Milliseconds at a share of all, the smaller first.
fn at(times: &[f64], share: f64) -> f64 {
    let place = (times.len() as f64 * share) as usize;
    times.get(place.min(times.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// Pages of the list of devices, as a table in the UI asks for them.
fn lists(figures: &mut Figures, engine: &Engine, size: &Size) -> anyhow::Result<()> {
    let paths = [
        "/api/v1/devices?limit=100&facets=site,type,health",
        "/api/v1/devices?limit=100&labelSelector=site%3Ds7&sort=-name",
        "/api/v1/devices?limit=100&q=d-0042",
    ];
    if Client::connect(engine.port)?.get(paths[0])?.0 != 200 {
        eprintln!("note: this engine has no list of devices at {}, so it is not measured", paths[0]);
        return Ok(());
    }
    eprintln!("measuring: {READERS} read the list of {} devices, for {} s", size.devices, size.span.as_secs());
    let end = Instant::now() + size.span;
    let before = cluster::cpu(engine.process.0.id())?;
    let read = |reader: usize| -> anyhow::Result<Vec<f64>> {
        let (mut client, mut times) = (Client::connect_from(1 + u8::try_from(reader % OFFICES)?, engine.port)?, Vec::new());
        while Instant::now() < end {
            let began = Instant::now();
            let (status, _) = client.get(paths[(reader + times.len()) % paths.len()])?;
            ensure!(status == 200, "a list was answered by {status}");
            times.push(began.elapsed().as_secs_f64() * 1e3);
        }
        Ok(times)
    };
    let mut times = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS).map(|reader| scope.spawn(move || read(reader))).collect();
        let mut times = Vec::new();
        for reader in readers {
            times.extend(reader.join().map_err(|_| anyhow::anyhow!("a reader ended by a fault"))??);
        }
        anyhow::Ok(times)
    })?;
    times.sort_by(f64::total_cmp);
    figures.insert("api_list_p50".into(), at(&times, 0.5));
    figures.insert("api_list_p99".into(), at(&times, 0.99));
    figures.insert("api_list_rate".into(), times.len() as f64 / size.span.as_secs_f64());
    figures.insert("api_list_cpu".into(), (cluster::cpu(engine.process.0.id())? - before) * 1e3 / times.len() as f64);
    Ok(())
}

/// A device's charts over 30 days, as its page asks for them: six series in one answer.
fn chart_of_a_month(figures: &mut Figures, engine: &Engine) -> anyhow::Result<()> {
    let series = ["cpu.ratio", "memory.ratio", "load.one", "disks[/].ratio", "interfaces[eth0].received", "interfaces[eth0].sent"];
    let asked: String =
        series.iter().map(|name| format!("&series={}", name.replace('[', "%5B").replace(']', "%5D").replace('/', "%2F"))).collect();
    let mut client = Client::connect(engine.port)?;
    let mut times = Vec::new();
    for round in 0..50 {
        let path = format!("/api/v1/samples?device=d-{:06}{asked}&from=30d&points=300", round % 5);
        let began = Instant::now();
        let (status, body) = client.get(&path)?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
        let points = body.windows(5).filter(|word| *word == b"\"at\":").count();
        ensure!(status == 200 && points > 1000, "charts were answered by {status}, {points} points: {}", String::from_utf8_lossy(&body));
    }
    times.sort_by(f64::total_cmp);
    figures.insert("api_chart_p50".into(), at(&times, 0.5));
    figures.insert("api_chart_p99".into(), at(&times, 0.99));
    Ok(())
}

/// Paints the list of devices in Chromium. It is interactive once rows are drawn and half a second begins in which nothing keeps the page busy (no long
/// task), as TTI is defined; then a click has to lead to a device. In it is the token, as the engine's owner has it.
const PAINT: &str = r"
const { chromium } = require('playwright-core');
(async () => {
  const browser = await chromium.launch({ executablePath: process.env.BROWSER_PATH, args: ['--no-sandbox'] });
  for (let round = 0; round < 5; round++) {
    const context = await browser.newContext({ extraHTTPHeaders: { authorization: 'Bearer ' + process.env.BENCH_TOKEN } });
    const page = await context.newPage();
    await page.addInitScript(() => {
      const seen = (window.bench = { rows: 0, busy: 0 });
      new PerformanceObserver((list) => {
        for (const task of list.getEntries()) seen.busy = task.startTime + task.duration;
      }).observe({ type: 'longtask', buffered: true });
      const look = () => {
        if (document.querySelector('.ant-table-row')) seen.rows = performance.now();
        else requestAnimationFrame(look);
      };
      requestAnimationFrame(look);
    });
    await page.goto(process.argv[1] + 'devices', { timeout: 30000 });
    await page.waitForFunction(() => bench.rows > 0 && performance.now() - Math.max(bench.rows, bench.busy) > 500);
    const ready = await page.evaluate(() => Math.max(bench.rows, bench.busy));
    const paint = await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? -1);
    await page.locator('.ant-table-row a').first().click();
    await page.waitForURL((url) => /[/]devices[/]./.test(url.pathname));
    console.log(`${paint}\t${ready}`);
    await context.close();
  }
  await browser.close();
})().catch((error) => { console.error(error); process.exit(1); });
";

fn browser(figures: &mut Figures, engine: &Engine) -> anyhow::Result<()> {
    let web = root().join("web");
    let Some(browser) = super::find("chromium") else {
        eprintln!("note: chromium is not installed, so no page is painted");
        return Ok(());
    };
    let (Some(path), true) = (web::node()?, web.join("node_modules/playwright-core").exists() && web.join("dist/index.html").exists())
    else {
        eprintln!("note: the web UI is not built, so no page is painted");
        return Ok(());
    };
    let address = format!("http://127.0.0.1:{}/", engine.port);
    let mut node = Command::new("node");
    node.args(["-e", PAINT, &address]).current_dir(&web).env("PATH", path).env("BROWSER_PATH", browser).env("BENCH_TOKEN", TOKEN);
    let output = node.stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "the page can't be painted: {}", output.status);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let rounds: Vec<(f64, f64)> = said
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .filter_map(|(paint, ready)| Some((paint.parse().ok()?, ready.parse().ok()?)))
        .collect();
    let middle = |of: fn(&(f64, f64)) -> f64| {
        let mut times: Vec<f64> = rounds.iter().map(of).collect();
        times.sort_by(f64::total_cmp);
        at(&times, 0.5)
    };
    figures.insert("api_paint".into(), middle(|round| round.0));
    figures.insert("api_interactive".into(), middle(|round| round.1));
    Ok(())
}

/// What is shown of it.
pub(super) fn rows(figures: &Figures, row: &mut impl FnMut(&str, &str, &str, &str, Option<&str>, &str)) {
    let get = |name: &str| figures.get(name).copied().unwrap_or_default();
    let (devices, many) = (get("api_devices"), get("api_listeners"));
    row(&format!("a page of {devices} devices, {READERS} readers, median"), "api_list_p50", "ms", "", None, "");
    row("the same, p99", "api_list_p99", "ms", "", None, "< 50 ms");
    row("such pages a second", "api_list_rate", "/s", "", None, "");
    row("processor time of one", "api_list_cpu", "ms", "", None, "");
    row("memory of the engine with them", "api_resident", "MiB", "", None, "< 1024 MiB");
    row("30 days of a device, six series in one answer, median", "api_chart_p50", "ms", "", None, "");
    row("the same, p99", "api_chart_p99", "ms", "", None, "< 100 ms");
    row("first contentful paint of the list of devices", "api_paint", "ms", "", None, "< 1000 ms");
    row("until its rows are there and answer a click", "api_interactive", "ms", "", None, "< 1000 ms");
    row(&format!("{many} listeners: changes a second"), "api_events_rate", "/s", "", None, ">= 1000/s");
    row("the same, told in all a second", "api_events_told", "/s", "", None, "");
    row("listeners that missed something", "api_events_lost", "", "", None, "0");
    row("listeners that were sent away", "api_events_bye", "", "", None, "0");
    row("share of one processor, with making the changes", "api_events_cpu", "%", "", None, "");
    row("memory that they take", "api_events_memory", "MiB", "", None, "");
}
