//! What is read of a real sshd, a real node_exporter and a real snmpd on loopback.

mod common;

use std::collections::BTreeMap;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use common::{Machine, find};
use devices::probe::run;
use devices::usage::{Scheduler, once};
use devices::{Devices, Secrets};
use jiff::SignedDuration;
use reconcile::{Access, Check, Device, Metric, Metrics, MetricsSource, Name, Probe, Series, Snmp, Usage, Way};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Time between the two readings that a rate takes.
const APART: Duration = Duration::from_millis(300);

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn device(source: MetricsSource) -> Device {
    Device {
        name: Name::parse("box-01"),
        device_type: crds::DeviceType::Storage,
        address: "127.0.0.1".into(),
        labels: Default::default(),
        parents: Vec::new(),
        access: Access::None,
        probes: Vec::new(),
        metrics: Some(Metrics { source, interval: SignedDuration::from_secs(5) }),
        logs: Default::default(),
        maintenance: Vec::new(),
        suspend: false,
        vars: BTreeMap::new(),
    }
}

fn devices(folder: &Path) -> Devices {
    Devices::new(Secrets::new(folder), folder)
}

fn value(usage: &Usage, metric: Metric, item: &str) -> Option<f64> {
    usage.values.get(&Series::item(metric, item)).copied()
}

/// What every server tells of itself, whoever is asked.
fn is_a_server(usage: &Usage) {
    let of = |metric| value(usage, metric, "").unwrap_or_else(|| panic!("{metric:?} is missing in {usage:?}"));
    for metric in [Metric::CpuRatio, Metric::CpuIowait, Metric::MemoryRatio] {
        assert!((0.0..=1.0).contains(&of(metric)), "{metric:?} {usage:?}");
    }
    let told = std::fs::read_to_string("/proc/meminfo").unwrap();
    let total = told.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0;
    assert_eq!(of(Metric::MemoryTotal), total);
    // How many processors there are, snmpd knows only a minute after its start.
    assert!(of(Metric::Uptime) > 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn this_machine_over_ssh() {
    let Some(machine) = Machine::start() else { return };
    let mut device = machine.device("web-01");
    device.metrics = Some(Metrics { source: MetricsSource::Ssh, interval: SignedDuration::from_secs(5) });
    let usage = once(&machine.devices(), &device, APART).await;
    // The machine has a root of its own, with no /proc in it, until one is put there.
    assert!(usage.as_ref().is_err_and(|reason| reason.contains("/proc")), "{usage:?}");
    for folder in ["proc", "sys"] {
        std::os::unix::fs::symlink(format!("/{folder}"), machine.path(folder)).unwrap();
    }
    is_a_server(&once(&machine.devices(), &device, APART).await.unwrap());
    let mut local = self::device(MetricsSource::Ssh);
    local.access = Access::Local;
    let folder = tempfile::tempdir().unwrap();
    let usage = once(&devices(folder.path()), &local, APART).await.unwrap();
    is_a_server(&usage);
    // No access, no reading, and that is said.
    let none = self::device(MetricsSource::Ssh);
    let reason = once(&devices(folder.path()), &none, APART).await.unwrap_err();
    assert!(reason.contains("no access"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_node_exporter() {
    let Some(program) = find("node_exporter", &["/usr/bin/prometheus-node-exporter"]) else { return };
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("--web.listen-address=127.0.0.1:{port}");
    let running = Command::new(program).arg(address).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let _running = Running(running);
    let folder = tempfile::tempdir().unwrap();
    let devices = devices(folder.path());
    let device = device(MetricsSource::NodeExporter { port, path: "/metrics".into() });
    let mut usage = once(&devices, &device, APART).await;
    for _ in 0..100 {
        if usage.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        usage = once(&devices, &device, APART).await;
    }
    let usage = usage.unwrap();
    is_a_server(&usage);
    assert!(value(&usage, Metric::CpuCount, "").is_some_and(|count| count >= 1.0), "{usage:?}");
    let elsewhere = self::device(MetricsSource::NodeExporter { port, path: "/nothing".into() });
    // It has a page of its own for whoever asks for anything else.
    assert_eq!(once(&devices, &elsewhere, APART).await.unwrap_err(), "there is nothing of a node_exporter in its answer");
}

/// A server that answers everything with this body.
async fn serve(head: &'static str, body: Vec<u8>) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let body = Arc::new(body);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let body = body.clone();
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let head = format!("HTTP/1.1 200 OK\r\n{head}content-length: {}\r\n\r\n", body.len());
                let _ = stream.write_all(head.as_bytes()).await;
                let _ = stream.write_all(&body).await;
            });
        }
    });
    port
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut child = Command::new("gzip").arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut input, bytes) = (child.stdin.take().unwrap(), bytes.to_vec());
    let feeding = std::thread::spawn(move || input.write_all(&bytes));
    let output = child.wait_with_output().unwrap();
    feeding.join().unwrap().unwrap();
    output.stdout
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_exporters() {
    let folder = tempfile::tempdir().unwrap();
    let devices = devices(folder.path());
    let read = async |head, body| {
        let port = serve(head, body).await;
        once(&devices, &device(MetricsSource::NodeExporter { port, path: "/metrics".into() }), Duration::ZERO).await
    };
    let zipped = read("content-encoding: gzip\r\n", gzip(b"node_load1 0.5\n")).await.unwrap();
    assert_eq!(value(&zipped, Metric::LoadOne, ""), Some(0.5));
    // Little that unpacks into much.
    let bomb = gzip(&vec![b'#'; 9 << 20]);
    assert!(bomb.len() < 100_000);
    assert_eq!(read("content-encoding: gzip\r\n", bomb).await.unwrap_err(), "its answer is larger than 8 MiB");
    assert_eq!(read("", vec![b'\n'; (8 << 20) + 1]).await.unwrap_err(), "its answer is larger than 8 MiB");
    assert!(read("", b"\xff\xfe\x00".to_vec()).await.unwrap_err().contains("nothing of a node_exporter"));
    let gone = device(MetricsSource::NodeExporter { port: 1, path: "/metrics".into() });
    assert!(once(&devices, &gone, APART).await.unwrap_err().contains("refused"));
}

/// An snmpd with a community and a user; its folder is the folder of secrets, too.
fn snmpd(folder: &Path) -> Option<(Running, u16)> {
    let program = find("snmpd", &["/usr/sbin/snmpd"])?;
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = "rocommunity hush 127.0.0.1\n\
        createUser ann SHA-256 \"authentication\" AES \"encryption\"\n\
        createUser old SHA \"authentication\" AES \"encryption\"\n\
        rouser ann priv\nrouser old priv\nsysDescr a box of ours\nincludeAllDisks 10%\n";
    std::fs::write(folder.join("snmpd.conf"), config).unwrap();
    for (secret, values) in [
        ("community", [("community", "hush\n")].as_slice()),
        ("other", &[("community", "louder")]),
        ("ann", &[("user", "ann"), ("authProtocol", "SHA-256"), ("authPassword", "authentication"), ("privPassword", "encryption")]),
        ("old", &[("user", "old"), ("authPassword", "authentication"), ("privPassword", "encryption"), ("privProtocol", "AES")]),
        ("wrong", &[("user", "ann"), ("authProtocol", "SHA-256"), ("authPassword", "something else"), ("privPassword", "encryption")]),
        ("nobody", &[("user", "nobody"), ("authPassword", "authentication"), ("privPassword", "encryption")]),
        ("weak", &[("user", "ann"), ("authProtocol", "MD5"), ("authPassword", "authentication")]),
        ("short", &[("user", "ann"), ("authPassword", "short")]),
    ] {
        std::fs::create_dir_all(folder.join(secret)).unwrap();
        for (key, value) in values {
            std::fs::write(folder.join(secret).join(key), value).unwrap();
        }
    }
    let mut command = Command::new(program);
    command.args(["-f", "-Lo", "-C", "-c"]).arg(folder.join("snmpd.conf")).arg(format!("udp:127.0.0.1:{port}"));
    command.env("SNMP_PERSISTENT_DIR", folder.join("persistent")).env("SNMPCONFPATH", folder);
    let running = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    Some((Running(running), port))
}

fn agent(port: u16, version: crds::SnmpVersion, secret: &str) -> Snmp {
    Snmp { port, version, secret: Some(secret.into()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_snmpd() {
    use crds::SnmpVersion::{V2c, V3};
    let folder = tempfile::tempdir().unwrap();
    let Some((_running, port)) = snmpd(folder.path()) else { return };
    let devices = devices(folder.path());
    let ask = async |agent: Snmp, oid: &str, expect: Option<&str>| {
        let check = Check::Snmp { agent, oid: oid.into(), expect: expect.map(Into::into) };
        let (interval, timeout) = (SignedDuration::from_secs(1), SignedDuration::from_secs(10));
        let probe = Probe { name: "it".into(), check, interval, timeout, failures: 1, successes: 1, way: Way::default() };
        let run = run(&devices, &device(MetricsSource::Ssh), &probe).await;
        format!("{:?}: {}", run.code, run.words)
    };
    let (description, uptime) = ("1.3.6.1.2.1.1.1.0", "1.3.6.1.2.1.1.3.0");
    for _ in 0..20 {
        if ask(agent(port, V2c, "community"), uptime, None).await.starts_with("Passed") {
            break;
        }
    }
    for known in [agent(port, V2c, "community"), agent(port, V3, "ann"), agent(port, V3, "old")] {
        assert_eq!(ask(known.clone(), description, Some("a box of ours")).await, "Passed: a box of ours", "{known:?}");
        let other = ask(known.clone(), description, Some("another")).await;
        assert_eq!(other, format!("BadAnswer: {description} is `a box of ours` and not `another`"));
        assert_eq!(ask(known, "1.3.6.1.4.1.1.1", None).await, "BadAnswer: the agent has no 1.3.6.1.4.1.1.1");
    }
    // A community is not answered that is not known, and what is answered to a user or key is not signed: nobody can tell that from being
    // dead.
    for unknown in [agent(port, V2c, "other"), agent(port, V3, "wrong"), agent(port, V3, "nobody")] {
        assert_eq!(ask(unknown, uptime, None).await, "Timeout: no answer, or another community or key than ours");
    }
    for (unknown, says) in [
        (agent(port, V3, "weak"), "authProtocol is none of"),
        (agent(port, V3, "short"), "secret short: "),
        (agent(port, V2c, "missing"), "missing/community"),
        (Snmp { secret: None, ..agent(port, V2c, "") }, "no secretRef"),
    ] {
        let found = ask(unknown, uptime, None).await;
        assert!(found.starts_with("NoCredential: ") && found.contains(says), "{says}: {found}");
        assert!(["hush", "authentication\"", "something else", "encryption"].iter().all(|secret| !found.contains(secret)), "{found}");
    }

    // From where it is asked: the agent answers 127.0.0.1 only, and not every address is one of this machine.
    let from = async |family: crds::Family, source: Option<&str>| {
        let check = Check::Snmp { agent: agent(port, V2c, "community"), oid: uptime.into(), expect: None };
        let (interval, timeout) = (SignedDuration::from_secs(1), SignedDuration::from_secs(10));
        let way = Way { family, source: source.map(|source| source.parse().unwrap()) };
        let probe = Probe { name: "it".into(), check, interval, timeout, failures: 1, successes: 1, way };
        format!("{:?}", run(&devices, &device(MetricsSource::Ssh), &probe).await.code)
    };
    assert_eq!(from(crds::Family::IPv4, Some("127.0.0.1")).await, "Passed");
    assert_eq!(from(crds::Family::Any, Some("127.0.0.2")).await, "Timeout");
    assert_eq!(from(crds::Family::Any, Some("192.0.2.1")).await, "NoSource");
    assert_eq!(from(crds::Family::IPv6, None).await, "NoAddress");

    for known in [agent(port, V2c, "community"), agent(port, V3, "ann")] {
        let device = device(MetricsSource::Snmp(known));
        // It counts processor time and interfaces every few seconds only.
        let usage = once(&devices, &device, Duration::from_secs(7)).await.unwrap();
        is_a_server(&usage);
        let disks: Vec<f64> =
            usage.values.iter().filter(|(series, _)| series.metric == Metric::DiskTotal).map(|(_, value)| *value).collect();
        assert!(!disks.is_empty(), "{usage:?}");
        assert!(value(&usage, Metric::LoadOne, "").is_some(), "{usage:?}");
        assert!(!usage.values.keys().any(|series| &*series.item == "lo"), "{usage:?}");
    }
    let missing = device(MetricsSource::Snmp(agent(port, V2c, "missing")));
    assert!(once(&devices, &missing, APART).await.unwrap_err().contains("missing/community"));
}

/// Each reading is told, with its reason where there is none; a device that is not read any more is quiet.
#[tokio::test(flavor = "multi_thread")]
async fn the_scheduler_tells_of_gaps() {
    let folder = tempfile::tempdir().unwrap();
    let port = serve("", b"node_load1 0.5\n".to_vec()).await;
    let at = |port| {
        let mut device = device(MetricsSource::NodeExporter { port, path: "/metrics".into() });
        device.metrics.as_mut().unwrap().interval = SignedDuration::from_secs(1);
        Arc::new(device)
    };
    let (out, mut told) = tokio::sync::mpsc::channel(16);
    let mut scheduler = Scheduler::new(Arc::new(devices(folder.path())), out);
    let name = Name::parse("box-01");
    scheduler.set(&name, Some(&at(port)));
    for _ in 0..2 {
        let measured = told.recv().await.unwrap();
        assert_eq!(value(&measured.usage.unwrap(), Metric::LoadOne, ""), Some(0.5));
    }
    scheduler.set(&name, Some(&at(1)));
    loop {
        // One that was under way may still come.
        match told.recv().await.unwrap().usage {
            Ok(_) => {}
            Err(reason) => break assert!(reason.contains("refused"), "{reason}"),
        }
    }
    scheduler.set(&name, None);
    drop(scheduler);
    while told.recv().await.is_some() {}
}
