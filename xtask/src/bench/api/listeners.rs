//! Many listeners, and a fleet of which two thousand devices change each second.

use std::collections::HashMap;
use std::io::BufRead as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{Client, Engine, FILE, Figures, Size, cluster, file, manifests};

/// Devices that change in each round.
const CHANGED: u32 = 2000;
/// One round.
const ROUND: Duration = Duration::from_secs(1);
/// How long what is left is waited for at the end.
const REST: Duration = Duration::from_secs(20);

/// What one listener heard.
#[derive(Default)]
struct Heard {
    events: u64,
    last: u64,
    byes: u64,
    /// It was cut off without a word.
    cut: bool,
    /// How often each device changed, and the number of the newest change.
    devices: HashMap<String, (u32, u64)>,
}

pub(super) fn measure(figures: &mut Figures, engine: &Engine, size: &Size, fleet: &Path) -> anyhow::Result<()> {
    let rounds = u32::try_from(size.span.as_secs())?;
    eprintln!("measuring: {} listeners, {CHANGED} changes a second, for {rounds} s", size.listeners);
    let id = engine.process.0.id();
    let memory = cluster::resident(id)?;
    let stop = AtomicBool::new(false);
    let heard = std::thread::scope(|scope| {
        let mut listeners = Vec::new();
        for _ in 0..size.listeners {
            let mut client = Client::connect(engine.port)?;
            client.ask("/api/v1/events")?;
            anyhow::ensure!(client.head()?.0 == 200, "nobody may listen");
            let stop = &stop;
            // Each waits nearly all the time, and needs little room for that.
            let thread = std::thread::Builder::new().stack_size(256 << 10);
            listeners.push(thread.spawn_scoped(scope, move || listen(client, stop))?);
        }
        let (began, cpu) = (Instant::now(), cluster::cpu(id)?);
        for round in 1..=rounds {
            let due = began + ROUND * round;
            for number in 0..CHANGED.div_ceil(FILE) {
                std::fs::write(file(fleet, number as usize), manifests(number * FILE, size.devices, round)?)?;
            }
            sleep(due.saturating_duration_since(Instant::now()));
        }
        let seconds = began.elapsed().as_secs_f64();
        figures.insert("api_events_cpu".into(), (cluster::cpu(id)? - cpu) / seconds * 100.0);
        figures.insert("api_events_memory".into(), cluster::resident(id)? - memory);
        sleep(REST);
        stop.store(true, Ordering::Relaxed);
        let heard: Vec<Heard> = listeners.into_iter().filter_map(|listener| listener.join().ok()).collect();
        anyhow::Ok((heard, seconds))
    });
    let (heard, seconds) = heard?;
    let most = heard.iter().map(|heard| heard.devices.values().map(|(times, _)| u64::from(*times)).sum::<u64>()).max().unwrap_or_default();
    // Who has heard the newest one of each device has missed nothing: of each only the newest counts.
    let mut newest: HashMap<&str, u64> = HashMap::new();
    for (device, (_, number)) in heard.iter().flat_map(|heard| &heard.devices) {
        let known = newest.entry(device).or_default();
        *known = (*number).max(*known);
    }
    anyhow::ensure!(newest.len() >= CHANGED as usize, "nobody heard of {} devices", CHANGED as usize - newest.len());
    let has_newest =
        |heard: &Heard| newest.iter().all(|(device, number)| heard.devices.get(*device).is_some_and(|(_, last)| last >= number));
    let lost = heard.iter().filter(|heard| heard.cut || (heard.byes == 0 && !has_newest(heard))).count();
    figures.insert("api_listeners".into(), heard.len() as f64);
    figures.insert("api_events_rate".into(), most as f64 / seconds);
    figures.insert("api_events_told".into(), heard.iter().map(|heard| heard.events).sum::<u64>() as f64 / seconds);
    figures.insert("api_events_lost".into(), lost as f64 + (size.listeners - heard.len()) as f64);
    figures.insert("api_events_bye".into(), heard.iter().map(|heard| heard.byes).sum::<u64>() as f64);
    Ok(())
}

fn listen(mut client: Client, stop: &AtomicBool) -> Heard {
    let _ = client.stream.get_ref().set_read_timeout(Some(Duration::from_secs(2)));
    let (mut heard, mut line) = (Heard::default(), String::new());
    while !stop.load(Ordering::Relaxed) {
        match client.stream.read_line(&mut line) {
            Ok(0) => {
                heard.cut = heard.byes == 0;
                break;
            }
            Ok(_) => {}
            // Half a line is gone on with.
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(_) => break,
        }
        let text = line.trim_end();
        if let Some(id) = text.strip_prefix("id: ") {
            heard.last = id.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or(heard.last);
        } else if text == "event: change" {
            heard.events += 1;
        } else if text == "event: bye" {
            heard.byes += 1;
        } else if let Some(name) = text.strip_prefix("data: ").filter(|data| data.contains("\"kind\":\"Device\"")).and_then(name) {
            let (times, newest) = heard.devices.entry(name.to_owned()).or_default();
            (*times, *newest) = (*times + 1, heard.last);
        }
        line.clear();
    }
    heard
}

/// The name in an event's data.
fn name(data: &str) -> Option<&str> {
    data.split_once("\"name\":\"")?.1.split('"').next()
}
