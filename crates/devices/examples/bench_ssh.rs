//! What reading the package state of many hosts costs, beside the least that it can cost: a bare SSH client that connects, logs in and
//! runs the same command. `bench_ssh HOSTS PORT KEY HOST_KEY USER`: hosts are 127.0.77.1 and on. Prints `name<TAB>value<TAB>unit`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use devices::ssh::{Connection, Endpoint};
use devices::{Devices, Secrets};
use futures::future::join_all;
use reconcile::{Access, Device, ItemKey, Name, Observe as _, SshAccess};
use russh::client;
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate};

/// Rounds; in each, ours and the peer take turns, and the fastest of each counts.
const ROUNDS: usize = 5;

struct Peer;

impl client::Handler for Peer {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, hosts, port, key, host_key, user] = arguments.as_slice() else { panic!("bench_ssh HOSTS PORT KEY HOST_KEY USER") };
    let (hosts, port): (u8, u16) = (hosts.parse().expect("a number of hosts"), port.parse().expect("a port"));
    let secrets = std::path::Path::new(key).parent().and_then(std::path::Path::parent).expect("a folder of secrets");
    let secret = std::path::Path::new(key).parent().and_then(std::path::Path::file_name).expect("a secret").to_string_lossy().into_owned();
    let fleet: Vec<Device> = (1..=hosts).map(|number| device(number, port, &secret, host_key, user)).collect();
    let items = [ItemKey::apt("bash"), ItemKey::unit("ssh.service")];
    let script = Devices::look(&items);
    let private = Arc::new(russh::keys::load_secret_key(key, None).expect("a key"));
    let mut best: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    let mut note = |name: &'static str, (wall, cpu): (f64, f64)| {
        let best = best.entry(name).or_insert((f64::MAX, f64::MAX));
        *best = (best.0.min(wall), best.1.min(cpu));
    };
    for _ in 0..ROUNDS {
        let bare = || join_all(fleet.iter().map(|device| peer(&device.address, port, user, private.clone(), &script)));
        let (connections, cost) = timed(bare()).await;
        note("ssh_cold_peer", cost);
        let (_, cost) = timed(join_all(connections.iter().map(|connection| exec(connection, &script)))).await;
        note("ssh_kept_peer", cost);
        drop(connections);
        let devices = Devices::new(Secrets::new(secrets), &std::env::temp_dir());
        let look = || async {
            let seen = join_all(fleet.iter().map(|device| devices.observe(device, &items))).await;
            assert!(seen.iter().all(|seen| seen.is_reachable() && seen.items.contains_key(&items[0])), "{:?}", seen[0]);
        };
        let ((), cost) = timed(look()).await;
        note("ssh_cold", cost);
        let ((), cost) = timed(look()).await;
        note("ssh_kept", cost);
    }
    for (name, (wall, cpu)) in best {
        println!("{name}_wall\t{:.1}\tms", wall * 1000.0);
        println!("{name}_cpu\t{:.1}\tms", cpu * 1000.0);
    }
    let endpoint = Endpoint { address: (&fleet[0].address, port), user, host_keys: std::slice::from_ref(host_key), key: private };
    drop(Connection::open(&endpoint).await.expect("one more connection"));
}

fn device(number: u8, port: u16, secret: &str, host_key: &str, user: &str) -> Device {
    let access =
        SshAccess { port, user: user.into(), secret: Some(secret.into()), host_keys: vec![host_key.into()], sudo: false, via: None };
    Device {
        name: Name::parse(&format!("host-{number}")),
        device_type: crds::DeviceType::Server,
        address: format!("127.0.77.{number}"),
        labels: Default::default(),
        parents: Vec::new(),
        access: Access::Ssh(access),
        probes: Vec::new(),
        metrics: None,
        logs: Default::default(),
        maintenance: Vec::new(),
        suspend: false,
        vars: BTreeMap::new(),
    }
}

/// Connects, logs in and runs the command: nothing else.
async fn peer(address: &str, port: u16, user: &str, key: Arc<russh::keys::PrivateKey>, script: &str) -> client::Handle<Peer> {
    let config = Arc::new(client::Config { nodelay: true, ..client::Config::default() });
    let mut handle = client::connect(config, (address, port), Peer).await.expect("a connection");
    assert!(handle.authenticate_publickey(user, PrivateKeyWithHashAlg::new(key, None)).await.expect("an answer").success());
    exec(&handle, script).await;
    handle
}

async fn exec(handle: &client::Handle<Peer>, script: &str) {
    let mut channel = handle.channel_open_session().await.expect("a channel");
    channel.exec(true, "sh -s").await.expect("a command");
    channel.data(script.as_bytes()).await.expect("its input");
    channel.eof().await.expect("its end");
    let mut bytes = 0;
    let all = async {
        while let Some(message) = channel.wait().await {
            if let russh::ChannelMsg::Data { data } = message {
                bytes += data.len();
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all).await.expect("an answer in time");
    assert!(bytes > 0);
}

/// What it gave, with the seconds that it took: by the clock, and of this process's processors.
async fn timed<T>(work: impl Future<Output = T>) -> (T, (f64, f64)) {
    let (begin, cpu) = (Instant::now(), processor());
    let result = work.await;
    (result, (begin.elapsed().as_secs_f64(), processor() - cpu))
}

/// Processor seconds of this process so far; see clock_gettime(2).
fn processor() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
