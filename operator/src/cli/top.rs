//! `evenkeel top`

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use api::usage::{Last, shown};
use clap::{Args, ValueEnum};
use reconcile::{Metric, Series};
use serde_json::Value;

use super::{Where, show};

/// Time between two looks.
const AGAIN: Duration = Duration::from_secs(2);

/// What to show.
#[derive(Args)]
#[command(after_help = "Examples:\n  evenkeel top\n  evenkeel top --sort disk -l site=ams1\n  evenkeel top --watch --limit 20")]
pub(crate) struct TopArgs {
    /// What the devices are sorted by, the highest first
    #[arg(long, value_enum, default_value = "cpu")]
    sort: Sort,
    /// Only devices with these labels: key=value,key=value
    #[arg(long, short = 'l', default_value = "", hide_default_value = true)]
    selector: String,
    /// At most so many
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// Show it again every two seconds
    #[arg(long, short)]
    watch: bool,
    #[command(flatten)]
    engine: Where,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sort {
    Cpu,
    Memory,
    Disk,
    Name,
}

pub(crate) async fn run(args: &TopArgs) -> anyhow::Result<ExitCode> {
    let client = args.engine.client()?;
    loop {
        let items = client.list(&format!("/v1/usage?selector={}", show::in_url(&args.selector))).await?;
        if items.is_empty() && !args.watch {
            bail!("no device has been read yet: those with `spec.metrics` are, a while after they are declared");
        }
        if args.watch && console::user_attended() {
            // Home, and everything away.
            print!("\u{1b}[H\u{1b}[2J");
        }
        print(&items, args);
        if !args.watch {
            return Ok(ExitCode::SUCCESS);
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// A device with what it uses.
struct Row {
    name: String,
    last: Last,
    disk: Option<(String, f64)>,
}

impl Row {
    fn new(item: &Value) -> Self {
        let last: Last = serde_json::from_value(item.clone()).unwrap_or_default();
        let values = last.usage.iter().flat_map(|usage| &usage.values).filter(|(series, _)| series.metric == Metric::DiskRatio);
        let fullest = values.max_by(|a, b| a.1.total_cmp(b.1)).map(|(series, ratio)| (series.item.to_string(), *ratio));
        Self { name: item["name"].as_str().unwrap_or_default().to_owned(), disk: fullest, last }
    }

    fn value(&self, metric: Metric) -> Option<f64> {
        self.last.usage.as_ref()?.values.get(&Series::of(metric)).copied()
    }

    /// Over all interfaces.
    fn sum(&self, metric: Metric) -> Option<f64> {
        let values = self.last.usage.iter().flat_map(|usage| &usage.values).filter(|(series, _)| series.metric == metric);
        let values: Vec<f64> = values.map(|(_, value)| *value).collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    fn key(&self, sort: Sort) -> f64 {
        let value = match sort {
            Sort::Cpu => self.value(Metric::CpuRatio),
            Sort::Memory => self.value(Metric::MemoryRatio),
            Sort::Disk => self.disk.as_ref().map(|(_, ratio)| *ratio),
            Sort::Name => None,
        };
        value.unwrap_or(-1.0)
    }

    fn cells(&self) -> Vec<String> {
        let cell = |metric: Metric, value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| shown(metric.unit(), value));
        let of = |metric| cell(metric, self.value(metric));
        let sum = |metric| cell(metric, self.sum(metric));
        let disk = self.disk.as_ref().map_or_else(|| "-".to_owned(), |(item, ratio)| format!("{:.1} % {item}", ratio * 100.0));
        let at = self.last.usage.as_ref().map_or_else(|| "-".to_owned(), |usage| show::age(&usage.at.to_string()));
        let said = if self.last.problem.is_empty() { &self.last.note } else { &self.last.problem };
        vec![
            self.name.clone(),
            of(Metric::CpuRatio),
            of(Metric::LoadOne),
            of(Metric::MemoryRatio),
            of(Metric::SwapRatio),
            disk,
            sum(Metric::InterfaceReceived),
            sum(Metric::InterfaceSent),
            of(Metric::Uptime),
            at,
            said.clone(),
        ]
    }
}

fn print(items: &[Value], args: &TopArgs) {
    let mut rows: Vec<Row> = items.iter().map(Row::new).collect();
    // Names are in order already.
    rows.sort_by(|a, b| b.key(args.sort).total_cmp(&a.key(args.sort)));
    let left_out = rows.len().saturating_sub(args.limit);
    let rows: Vec<Vec<String>> = rows.iter().take(args.limit).map(Row::cells).collect();
    show::table(&["NAME", "CPU", "LOAD", "MEMORY", "SWAP", "DISK", "RECEIVED", "SENT", "UP", "AGE", "PROBLEM"], &rows);
    if left_out > 0 {
        println!("and {} more: --limit shows them", show::count(left_out, "device"));
    }
}
