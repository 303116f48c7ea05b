//! `evenkeel get`, `explain` and `status`

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use api::view::Ask;
use clap::Args;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use reconcile::{Name, Target};
use serde_json::Value;

use super::{Output, Where, log_archive, show};

/// Looks in a row at which nothing moves before a watch ends.
const STILL: u32 = 3;
/// Looks for the source to have been read, a tenth of a second apart.
const LOOKS: u32 = 150;

/// What to show.
#[derive(Args)]
#[command(after_help = "Examples:\n  evenkeel get devices -l site=ams1\n  evenkeel get deployment web -o yaml\n  evenkeel get devices -w")]
pub(crate) struct GetArgs {
    /// devices, deployments, deviceclasses, repositories, roles, alertrules, receivers or silences
    kind: String,
    /// Only this one; NAMESPACE/NAME where it is not in `default`
    name: Option<String>,
    /// How it is printed
    #[arg(long, short, value_enum, default_value = "text")]
    output: Output,
    /// Only devices with these labels: key=value,key=value
    #[arg(long, short = 'l', default_value = "", hide_default_value = true)]
    selector: String,
    /// Print again whenever something changes
    #[arg(long, short)]
    watch: bool,
    #[command(flatten)]
    engine: Where,
}

pub(crate) async fn run(args: &GetArgs) -> anyhow::Result<ExitCode> {
    let Some(kind) = crds::Kind::parse(&args.kind) else {
        let kinds: Vec<&str> = crds::Kind::ALL.iter().map(|kind| kind.plural()).collect();
        bail!("there is no kind {}; there are {}", args.kind, kinds.join(", "));
    };
    if let Some(term) = args.selector.split(',').find(|term| !term.is_empty() && (!term.contains('=') || term.contains("!="))) {
        bail!("-l {term}: write key=value, several separated by commas");
    }
    if kind != crds::Kind::Device && !args.selector.is_empty() {
        bail!("-l chooses devices by their labels; {} are not chosen by labels", kind.plural());
    }
    let client = args.engine.client()?;
    let all = format!("/api/v1/{}", kind.plural());
    let chosen = if args.selector.is_empty() { String::new() } else { format!("&labelSelector={}", show::in_url(&args.selector)) };
    let mut last = None;
    loop {
        let mut items = match args.name.as_deref().map(Name::parse) {
            Some(name) => vec![client.get(&format!("{all}/{}/{}", show::in_url(name.namespace()), show::in_url(name.name()))).await?],
            None => match client.pages(&format!("{all}?limit=1000{chosen}")).await?["items"].take() {
                Value::Array(items) => items,
                _ => Vec::new(),
            },
        };
        items.iter_mut().for_each(named);
        if last.as_ref() != Some(&items) {
            print(kind, &items, args)?;
            last = Some(items);
        }
        if !args.watch {
            return Ok(ExitCode::SUCCESS);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// The name by which it is asked for, beside the object.
fn named(item: &mut Value) {
    let text = |key: &str| item["metadata"][key].as_str().unwrap_or_default();
    item["name"] = Name::new(text("namespace"), text("name")).to_string().into();
}

fn print(kind: crds::Kind, items: &[Value], args: &GetArgs) -> anyhow::Result<()> {
    let wide = args.output == Output::Wide;
    if matches!(args.output, Output::Json | Output::Yaml) {
        let mut items: Vec<Value> = items.iter().map(as_kubectl).collect();
        if args.name.is_some() && items.len() == 1 {
            return show::document(&items.remove(0), args.output);
        }
        return show::document(&serde_json::json!({"apiVersion": "v1", "kind": "List", "items": items}), args.output);
    }
    let text =
        |value: &Value| value.as_str().map_or_else(|| if value.is_null() { String::new() } else { value.to_string() }, str::to_owned);
    match kind {
        crds::Kind::Device => {
            let row = |item: &Value| {
                let status = &item["status"];
                let packages = status["packages"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|package| has(&text(&package["name"]), &text(&package["version"])));
                let mut row =
                    vec![text(&item["name"]), text(&status["health"]), text(&status["update"]), few(&packages.collect::<Vec<_>>())];
                if wide {
                    row.push(text(&item["uses"]));
                    let labels =
                        item["effective"]["labels"].as_object().into_iter().flatten().map(|(key, value)| format!("{key}={}", text(value)));
                    row.extend([
                        text(&item["effective"]["address"]),
                        format!("{} {}", text(&status["facts"]["os"]), text(&status["facts"]["osVersion"])),
                        labels.collect::<Vec<_>>().join(","),
                    ]);
                }
                row
            };
            let head = ["NAME", "HEALTH", "UPDATE", "HAS", "USES", "ADDRESS", "OS", "LABELS"];
            show::table(&head[..if wide { 8 } else { 4 }], &items.iter().map(row).collect::<Vec<_>>());
        }
        crds::Kind::Deployment => {
            let row = |item: &Value| {
                let status = &item["status"];
                let count = |key: &str| status["counts"][key].as_i64().unwrap_or(0);
                let in_force = status["history"].as_array().and_then(|all| all.iter().find(|one| one["revision"] == status["inForce"]));
                let version = in_force.map(|revision| text(&revision["version"])).unwrap_or_default();
                vec![
                    text(&item["name"]),
                    text(&status["phase"]),
                    text(&status["inForce"]),
                    version,
                    format!("{}/{}", count("updated"), count("total")),
                    count("failed").to_string(),
                    count("unreachable").to_string(),
                    stalled(status).unwrap_or_else(|| text(&status["waitingOn"])),
                ]
            };
            show::table(
                &["NAME", "PHASE", "REV", "WANTS", "UPDATED", "FAILED", "AWAY", "WAITING ON"],
                &items.iter().map(row).collect::<Vec<_>>(),
            );
        }
        kind => {
            let columns = columns(kind, wide);
            let head: Vec<&str> = std::iter::once("NAME").chain(columns.iter().map(|(name, _)| name.as_str())).collect();
            let says = |item: &Value| stalled(&item["status"]).unwrap_or_else(|| text(&item["login"]));
            let head: Vec<&str> = head.into_iter().chain((kind == crds::Kind::Role).then_some("LOGIN")).collect();
            let row = |item: &Value| {
                let cells = columns.iter().map(|(_, pointer)| item.pointer(pointer).map_or_else(String::new, text));
                let login = (kind == crds::Kind::Role).then(|| says(item));
                std::iter::once(text(&item["name"])).chain(cells).chain(login).collect()
            };
            show::table(&head, &items.iter().map(row).collect::<Vec<_>>());
        }
    }
    Ok(())
}

/// An object as its manifest has it, with its status: what `evenkeel check` and kubectl read.
fn as_kubectl(item: &Value) -> Value {
    let mut object = item.as_object().cloned().unwrap_or_default();
    ["name", "effective", "uses", "origin", "lastChange", "login"].iter().for_each(|shown| drop(object.remove(*shown)));
    without_nulls(Value::Object(object))
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            Value::Object(map.into_iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key, without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

/// The columns that kubectl prints of this kind and that are in the manifest, as a heading and a JSON pointer (RFC 6901).
fn columns(kind: crds::Kind, wide: bool) -> Vec<(String, String)> {
    let definition = crds::all().into_iter().find(|definition| definition.spec.names.plural == kind.plural());
    let versions = definition.into_iter().flat_map(|definition| definition.spec.versions);
    let columns = versions.flat_map(|version| version.additional_printer_columns.unwrap_or_default());
    columns
        .filter(|column| column.json_path.starts_with(".spec.") && (wide || column.priority.unwrap_or(0) == 0))
        .map(|column| (column.name.to_uppercase(), column.json_path.replace('.', "/")))
        .collect()
}

/// An item in a word: what a file is can't be read from its digest.
fn has(item: &str, version: &str) -> String {
    match item.split_once(':') {
        Some(("file", path)) if version != "-" => path.to_owned(),
        Some((_, name)) => format!("{name} {version}"),
        None => format!("{item} {version}"),
    }
}

/// The first ones of a list, and how many more there are.
fn few(all: &[String]) -> String {
    match all {
        [first, second, rest @ ..] if !rest.is_empty() => format!("{first}, {second} +{}", rest.len()),
        all => all.join(", "),
    }
}

/// Why the object can't be used as it is written, if so.
fn stalled(status: &Value) -> Option<String> {
    let conditions = status["conditions"].as_array()?;
    let is_so = |condition: &&Value| condition["type"] == "Stalled" && condition["reason"] == "InvalidManifest";
    let stalled = conditions.iter().find(is_so)?;
    Some(format!("stalled: {}", stalled["message"].as_str().unwrap_or_default()))
}

/// What to explain.
#[derive(Args)]
pub(crate) struct ExplainArgs {
    /// device/NAME, deployment/NAME, alertrule/NAME, receiver/NAME, silence/NAME, in a cluster repository/NAME, or role/NAME for the login of a
    /// Role
    target: String,
    #[command(flatten)]
    engine: Where,
}

pub(crate) async fn explain(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let Some(target) = Target::parse(&args.target) else { bail!("{}: write {EXPLAINED}", args.target) };
    print!("{}", why(&args.engine, &target).await?);
    Ok(ExitCode::SUCCESS)
}

/// What can be explained.
const EXPLAINED: &str = "device/NAME, deployment/NAME, alertrule/NAME, receiver/NAME, silence/NAME, role/NAME or repository/NAME";

/// Why it is as it is, in lines.
pub(super) async fn why(engine: &Where, target: &Target) -> anyhow::Result<String> {
    let (name, kind) = (target.name(), target.kind());
    if kind == crds::Kind::DeviceClass {
        bail!("{target}: explained is {EXPLAINED}");
    }
    let [namespace, name] = [name.namespace(), name.name()].map(show::in_url);
    let answer = engine.client()?.get(&format!("/api/v1/{}/{namespace}/{name}/explain", kind.plural())).await?;
    Ok(show::clean(answer["text"].as_str().unwrap_or_default()))
}

/// How to show it.
#[derive(Args)]
pub(crate) struct StatusArgs {
    /// Show progress bars until every rollout has come to its end
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    engine: Where,
}

pub(crate) async fn status(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let client = args.engine.client()?;
    if args.watch {
        up_to_date(&client).await?;
    }
    let status = client.get("/v1/status").await?;
    let text = |value: &Value| show::clean(value.as_str().unwrap_or("-"));
    println!("source     {}", text(&status["source"]["url"]));
    println!("in force   {} by {}", text(&status["source"]["inForce"]), text(&status["source"]["author"]));
    let count = |key: &str, what| show::count(status[key].as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or(0), what);
    println!("fleet      {}, {}", count("devices", "device"), count("deployments", "deployment"));
    for key in ["problem"] {
        if let Some(problem) = status["source"][key].as_str() {
            println!("problem    {}", show::clean(problem));
        }
    }
    println!("engine     {}", status["notReady"].as_str().map_or("ready".into(), |reason| format!("not ready: {}", show::clean(reason))));
    if status["ownNetworkDown"] == true {
        println!("network    our own network is down: what fails is not held against devices");
    }
    if let Some(shards) = status["shards"].as_object().filter(|shards| !shards.is_empty()) {
        let devices = shards.values().filter_map(Value::as_u64).sum::<u64>();
        let names: Vec<&str> = shards.keys().map(String::as_str).collect();
        println!("shards     {} of this replica, with {}", names.join(", "), show::count(usize::try_from(devices).unwrap_or(0), "device"));
    }
    for line in log_archive::status(&status["logs"]) {
        println!("logs       {}", show::clean(&line));
    }
    for finding in status["source"]["findings"].as_array().into_iter().flatten().take(10) {
        println!("finding    {}", text(finding));
    }
    if !args.watch {
        return Ok(ExitCode::SUCCESS);
    }
    let bars = MultiProgress::new();
    let style = ProgressStyle::with_template("{prefix:24} [{bar:30}] {pos}/{len} {msg}")?.progress_chars("=> ");
    let mut shown: std::collections::BTreeMap<String, ProgressBar> = std::collections::BTreeMap::new();
    // A rollout that begins takes a moment to show.
    let mut still = 0;
    loop {
        let items = client.list("/v1/deployments").await?;
        let mut moving = false;
        for item in &items {
            let (name, status) = (text(&item["name"]), &item["status"]);
            let count = |key: &str| status["counts"][key].as_u64().unwrap_or(0);
            let bar = shown
                .entry(name.clone())
                .or_insert_with(|| bars.add(ProgressBar::new(count("total")).with_style(style.clone()).with_prefix(name)));
            bar.set_length(count("total"));
            bar.set_position(count("updated"));
            let phase = text(&status["phase"]);
            let waits = status["waitingOn"].as_str().map(show::clean).unwrap_or_default();
            bar.set_message(format!("{phase} {}", waits.chars().take(80).collect::<String>()));
            moving |= ["Pending", "Progressing", "Soaking", "RollingBack"].contains(&phase.as_str());
        }
        still = if moving { 0 } else { still + 1 };
        if still > STILL {
            return Ok(ExitCode::SUCCESS);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Lets the engine look at its source now, and waits until it has: whoever has just committed wants to see that.
async fn up_to_date(client: &api::client::Client) -> anyhow::Result<()> {
    let checked = |status: &Value| status["source"]["checkedAt"].as_str().map(str::to_owned);
    let before = checked(&client.get("/v1/status").await?);
    client.ask(&Ask::Sync).await?;
    for _ in 0..LOOKS {
        if checked(&client.get("/v1/status").await?) != before {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
