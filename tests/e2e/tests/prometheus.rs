//! A real Prometheus that takes what devices use in each of the three ways there are: it scrapes `/metrics`, it federates from
//! `/v1/federate`, and the engine writes to it.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use e2e::engine::Engine;
use e2e::fleet::{LIMIT, binary};
use e2e::wait_until;
use serde_json::Value;

const PROMETHEUS: &str = "/usr/bin/prometheus";
const EXPORTER: &str = "/usr/bin/prometheus-node-exporter";
const TOKEN: &str = "a-token-of-enough-letters";
/// Where the devices are, each with an exporter of its own.
const ADDRESSES: [&str; 2] = ["127.0.0.2", "127.0.0.3"];

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(command: &mut Command, log: &Path) -> Running {
    let log = std::fs::File::create(log).unwrap();
    Running(command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap())
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// What a server on loopback answers, without the head.
fn get(port: u16, path: &str) -> Result<String, String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).map_err(|error| error.to_string())?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(|error| error.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
    if head.starts_with("HTTP/1.0 200") || head.starts_with("HTTP/1.1 200") { Ok(body.to_owned()) } else { Err(answer) }
}

/// What Prometheus answers to an expression: a list of series.
fn asked(port: u16, expression: &str) -> Result<Vec<Value>, String> {
    let encoded: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let body = get(port, &format!("/api/v1/query?query={encoded}"))?;
    let answer: Value = serde_json::from_str(&body).map_err(|error| format!("{error}: {body}"))?;
    answer["data"]["result"].as_array().cloned().ok_or(body)
}

/// The labels of a series, without its name.
fn labels(series: &Value) -> BTreeMap<&str, &str> {
    let labels = series["metric"].as_object().into_iter().flatten();
    labels.filter(|(key, _)| *key != "__name__").filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect()
}

/// The values of a series by their instants.
fn points(series: &Value) -> Vec<(String, String)> {
    let points = series["values"].as_array().into_iter().flatten();
    points.map(|point| (point[0].to_string(), point[1].to_string())).collect()
}

struct World {
    prometheus: u16,
    listen: u16,
    engine: Engine,
    log: std::path::PathBuf,
    _processes: Vec<Running>,
    _folder: tempfile::TempDir,
}

/// Two devices, the engine, and Prometheus, which know of each other.
fn world() -> Option<World> {
    for program in [PROMETHEUS, EXPORTER] {
        if !Path::new(program).exists() {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{program} is missing, and in CI nothing is skipped");
            eprintln!("SKIPPED: {program} is not installed");
            return None;
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let [exporter, port, listen] = [(); 3].map(|()| free_port());
    let of_device = |address: &&str| {
        let mut command = Command::new(EXPORTER);
        start(command.arg(format!("--web.listen-address={address}:{exporter}")), &at(&format!("exporter-{address}")))
    };
    let mut processes: Vec<Running> = ADDRESSES.iter().map(of_device).collect();

    std::fs::write(at("token"), TOKEN).unwrap();
    let config = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n\
         - job_name: engine\n  static_configs: [{{targets: ['127.0.0.1:{listen}']}}]\n\
         - job_name: values\n  metrics_path: /v1/federate\n  honor_labels: true\n\
         \x20 params: {{'match[]': ['{{device=~\"box-.*\"}}', 'evenkeel_device_memory_total']}}\n\
         \x20 authorization: {{credentials_file: {token}}}\n\
         \x20 static_configs: [{{targets: ['127.0.0.1:{listen}']}}]\n",
        token = at("token").display()
    );
    std::fs::write(at("prometheus.yml"), config).unwrap();
    let mut command = Command::new(PROMETHEUS);
    command
        .arg(format!("--config.file={}", at("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", at("tsdb").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg("--web.enable-remote-write-receiver")
        .arg("--log.level=debug");
    processes.push(start(&mut command, &at("prometheus.log")));

    std::fs::write(at("key"), "none").unwrap();
    let mut engine = Engine::with(&binary().unwrap(), folder.path(), &at("key")).unwrap();
    engine.arguments = vec![
        format!("--listen=127.0.0.1:{listen}"),
        format!("--token-file={}", at("token").display()),
        format!("--remote-write=http://127.0.0.1:{port}/api/v1/write"),
    ];
    // Labels that Prometheus, or we, give a meaning of their own.
    let more = "site: ams1, example.com/tier: gold, item: shelf-3, job: till";
    let device = |(number, address): (usize, &&str)| {
        format!(
            "---\napiVersion: evenkeel.dev/v1alpha1\nkind: Device\nmetadata: {{name: box-{number}, labels: {{{more}}}}}\nspec:\n  type: Server\n  address: {address}\n  metrics: {{interval: 5s, nodeExporter: {{port: {exporter}}}}}\n  probes: [{{name: port, interval: 1s, tcp: {{port: {exporter}}}}}]\n"
        )
    };
    let manifests: String = ADDRESSES.iter().enumerate().map(device).collect();
    engine.commit("devices.yaml", &manifests, "two boxes").unwrap();
    engine.start().unwrap();
    Some(World { prometheus: port, listen, engine, log: at("prometheus.log"), _processes: processes, _folder: folder })
}

impl World {
    fn until<T>(&self, what: &str, look: impl Fn() -> Result<T, String>) -> T {
        let mut found = None;
        let mut once = || look().map(|there| found = Some(there));
        let waited = wait_until(what, LIMIT, &mut once);
        let log = || std::fs::read_to_string(&self.log).unwrap_or_default();
        waited.unwrap_or_else(|error| panic!("{error}\n{}\nPrometheus says:\n{}", self.engine.tail(), log()));
        found.unwrap()
    }

    /// The series that an expression gives, once there are so many.
    fn series(&self, expression: &str, many: usize) -> Vec<Value> {
        self.until(expression, || match asked(self.prometheus, expression)? {
            series if series.len() == many => Ok(series),
            series => Err(format!("{} of {many}: {series:?}", series.len())),
        })
    }

    /// What the engine says of a device to those who ask it.
    fn used(&self, device: &str) -> Result<Value, String> {
        let text = get(self.listen, "/v1/usage")?;
        let all: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
        let mut items = all["items"].as_array().into_iter().flatten();
        items.find(|item| item["name"].as_str().is_some_and(|name| name.ends_with(device))).cloned().ok_or(text)
    }
}

#[test]
fn prometheus_takes_what_devices_use_in_each_way() {
    let Some(world) = world() else { return };
    let up = world.series("up == 1", 2);
    let jobs: Vec<&str> = up.iter().map(|series| labels(series)["job"]).collect();
    assert!(jobs.contains(&"engine") && jobs.contains(&"values"), "{jobs:?}");

    // What does not change is the same in all three, and what the engine says itself.
    let device = |number| if number == 0 { "box-0" } else { "box-1" };
    for number in 0..ADDRESSES.len() {
        let (name, of) = (device(number), format!("{{device=~\".*{}\"", device(number)));
        for (metric, series) in [("memory_total", "memory.total"), ("cpu_count", "cpu.count"), ("disks_total", "disks[/].total")] {
            let item = if metric == "disks_total" { ",item=\"/\"" } else { "" };
            let found = world.series(&format!("evenkeel_device_{metric}{of}{item}}}"), 3);
            let said = world.until("what is said of it", || {
                let used = world.used(name)?;
                used["usage"]["values"][series].as_f64().ok_or_else(|| used.to_string())
            });
            for series in &found {
                let value: f64 = series["value"][1].as_str().unwrap().parse().unwrap();
                assert!((value - said).abs() < 0.5, "{value} and not {said}: {series}");
            }
            let with = |key: &str, value: &str| found.iter().find(|series| labels(series).get(key) == Some(&value));
            let federated = labels(with("site", "ams1").expect("the labels of the device are there"));
            assert_eq!((federated["example_com_tier"], federated["label_item"]), ("gold", "shelf-3"));
            assert_eq!(federated.get("item").copied(), (metric == "disks_total").then_some("/"), "ours is not the device's");
            assert!(with("job", "engine").is_some() && with("job", "till").is_some(), "{found:?}");
            let written = found.iter().map(labels).find(|labels| !labels.contains_key("job")).expect("what was written");
            assert_eq!(written["device"], federated["device"]);
        }
    }

    // What changes is the same at the same instant: once as it was written, and once as it was fetched.
    for metric in ["load_one", "memory_available", "probes_seconds"] {
        let expression = format!("evenkeel_device_{metric}{{device=~\".*box-0\",job!=\"engine\"}}[5m]");
        let same = || {
            let series = asked(world.prometheus, &expression)?;
            let of = |written: bool| {
                let series = series.iter().find(|series| labels(series).contains_key("job") != written);
                series.map(points).unwrap_or_default()
            };
            let (written, fetched) = (of(true), of(false));
            let both = fetched.iter().filter(|point| written.contains(point)).count();
            let other = fetched.iter().find(|(at, value)| written.iter().any(|(then, said)| then == at && said != value));
            assert_eq!(other, None, "{metric} at the same instant is another one: {written:?}");
            if both >= 3 { Ok(()) } else { Err(format!("{both} of {fetched:?} are in {written:?}")) }
        };
        world.until(metric, same);
    }

    // Nothing was thrown away on the way.
    let log = std::fs::read_to_string(&world.log).unwrap();
    let complaints: Vec<&str> =
        log.lines().filter(|line| line.contains("Error on ingesting") || line.contains("Duplicate sample")).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
    let kinds = get(world.prometheus, "/api/v1/metadata?metric=evenkeel_device_memory_ratio").unwrap();
    assert!(kinds.contains("gauge") && !kinds.contains("unknown"), "{kinds}");
}
