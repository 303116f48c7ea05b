//! The scheduler of probes with as many targets as it is told, each with one probe; whoever started it measures what that costs, and closes its
//! standard input to end it. `bench_probe KIND TARGETS PORT INTERVAL`: `KIND` is `icmp`, `tcp` or `http`, `INTERVAL` is in seconds; targets are
//! addresses in 127.0.0.0/8. Prints `passed<TAB>…` and `other<TAB>…`, the runs that there were.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use devices::probe::Scheduler;
use devices::{Devices, Secrets};
use jiff::SignedDuration;
use reconcile::{Access, Check, Device, HttpCheck, Name, Probe, ProbeCode, Way};
use tokio::sync::mpsc;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, kind, targets, port, interval] = arguments.as_slice() else { panic!("bench_probe KIND TARGETS PORT INTERVAL") };
    let (targets, port): (u32, u16) = (targets.parse().expect("a number of targets"), port.parse().expect("a port"));
    let interval: i64 = interval.parse().expect("seconds");
    let check = match kind.as_str() {
        "icmp" => Check::Icmp { count: 1, max_loss_percent: 50, max_rtt: None },
        "tcp" => Check::Tcp { port, send: None, expect: None },
        "http" => Check::Http(Box::new(HttpCheck::get(port, "/"))),
        other => panic!("{other}"),
    };
    let devices = Arc::new(Devices::new(Secrets::new(std::path::Path::new("/nonexistent")), &std::env::temp_dir()));
    let (out, mut inbox) = mpsc::channel(10_000);
    let mut scheduler = Scheduler::new(devices, out, Vec::new());
    for number in 0..targets {
        let device = device(number, check.clone(), interval);
        scheduler.set(&device.name, Some(&device));
    }
    tokio::spawn(async move { while inbox.recv().await.is_some() {} });
    let measurements = scheduler.measurements();
    let (mut passed, mut others) = (0_u64, 0_u64);
    let mut count = || {
        for run in measurements.take() {
            *if run.code == ProbeCode::Passed { &mut passed } else { &mut others } += 1;
        }
    };
    let (end, mut ended) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read(&mut [0]);
        drop(end);
    });
    loop {
        // More often than any of them runs, so that each run is counted.
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(900)) => count(),
            _ = &mut ended => break,
        }
    }
    count();
    println!("passed\t{passed}\nother\t{others}");
}

fn device(number: u32, check: Check, interval: i64) -> Arc<Device> {
    let (interval, timeout) = (SignedDuration::from_secs(interval), SignedDuration::from_secs(2));
    let probe = Probe { name: "it".into(), check, interval, timeout, failures: 3, successes: 1, way: Way::default() };
    let [_, a, b, c] = (number + 256).to_be_bytes();
    Arc::new(Device {
        name: Name::parse(&format!("target-{number}")),
        device_type: crds::DeviceType::Server,
        address: format!("127.{a}.{b}.{c}"),
        labels: Default::default(),
        parents: Vec::new(),
        access: Access::None,
        probes: vec![probe],
        metrics: None,
        logs: Default::default(),
        maintenance: Vec::new(),
        suspend: false,
        vars: BTreeMap::new(),
    })
}
