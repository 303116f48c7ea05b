//! Fills a store with what devices used in 30 days, for `cargo xtask bench api`: `bench_chart DATA DEVICES`. One value in five minutes of six
//! series each, as charts of that length are drawn from.

use std::sync::Arc;

use jiff::Timestamp;
use reconcile::{Metric, Name, Series};
use store::{Options, Samples, Store};

const DAYS: i64 = 30;
const STEP: i64 = 300;
/// Seconds that are written at once.
const PIECE: i64 = 6 * 3600;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (data, devices) = (arguments.next().ok_or("DATA")?, arguments.next().ok_or("DEVICES")?.parse::<u32>()?);
    let store = Arc::new(Store::open(&Options { data: data.into(), url: None }).await?);
    let samples = Samples::new(store.clone());
    let series = [Metric::CpuRatio, Metric::MemoryRatio, Metric::LoadOne].map(Series::of).into_iter().chain(
        [(Metric::DiskRatio, "/"), (Metric::InterfaceReceived, "eth0"), (Metric::InterfaceSent, "eth0")]
            .map(|(metric, item)| Series::item(metric, item)),
    );
    let series: Vec<Series> = series.collect();
    let now = Timestamp::now().as_second() / STEP * STEP;
    let mut second = now - DAYS * 86_400;
    while second < now {
        for at in (second..(second + PIECE).min(now)).step_by(usize::try_from(STEP)?) {
            for device in 0..devices {
                let name = Name::parse(&format!("d-{device:06}"));
                for (number, series) in (1_u32..).zip(&series) {
                    let wave = ((at as f64 / 3000.0 + f64::from(device)).sin() + 1.0) / 2.0;
                    samples.push_one(&name, series, at, wave / f64::from(number));
                }
            }
        }
        samples.flush(second + PIECE, true).await?;
        second += PIECE;
    }
    // As an engine has done that ran for so long.
    store.sum_up(now - DAYS * 86_400, now - 3600).await?;
    store.close().await;
    Ok(())
}
