//! `evenkeel alerts silence`

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{bail, ensure};
use clap::Args;
use cluster::Cluster;
use crds::{Duration, Kind, Object};
use jiff::{SignedDuration, Timestamp};
use reconcile::Name;
use reconcile::alerting::state::Instance;
use reconcile::alerting::suppress::Silence;
use serde_json::{Value, json};

use crate::cli::{Where, show};

/// The longest silence: whoever wants more has another rule in mind.
const LONGEST: SignedDuration = SignedDuration::from_hours(31 * 24);
/// Alerts of the preview that are listed.
const LISTED: usize = 50;

/// What is not to be said, and until when.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  evenkeel alerts silence 3f2a --for 2h --reason 'new disk is on its way' > silences/disk.yaml\n  evenkeel alerts silence --device role=web --for 30m --reason 'load test'\n  evenkeel alerts silence -l site=ams --for 1h --reason 'move' --apply"
)]
pub(super) struct SilenceArgs {
    /// An alert's name in the list, or the beginning of it: its rule is muted on its device
    #[arg(conflicts_with_all = ["label", "device"])]
    id: Option<String>,
    /// A label that alerts must have, KEY=VALUE, or rule=NAME, device=NAME; may be given several times
    #[arg(long, short, value_name = "KEY=VALUE", value_parser = pair)]
    label: Vec<(String, String)>,
    /// A label of the devices that they are about, KEY=VALUE; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    device: Vec<(String, String)>,
    /// For how long: 31d at most
    #[arg(long = "for", value_name = "TIME")]
    hold_for: Duration,
    /// Why
    #[arg(long)]
    reason: String,
    /// What the Silence is called; a name with the time in it, if none is given
    #[arg(long)]
    name: Option<String>,
    /// Where; that of the alert, or `default`
    #[arg(long, short, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Write it into the cluster instead of printing it, with the rights of the kubeconfig
    #[arg(long)]
    apply: bool,
    /// Kubeconfig file; without it $KUBECONFIG or ~/.kube/config
    #[arg(long, requires = "apply", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, requires = "apply", value_name = "NAME")]
    context: Option<String>,
    /// Don't ask an engine what it would mute now
    #[arg(long, conflicts_with = "id")]
    no_preview: bool,
    #[command(flatten)]
    engine: Where,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".into()),
    }
}

pub(super) async fn run(args: &SilenceArgs) -> anyhow::Result<ExitCode> {
    ensure!(args.hold_for.0.is_positive() && args.hold_for.0 <= LONGEST, "--for: a silence has an end, within 31 days from now");
    ensure!(
        args.id.is_some() || !args.label.is_empty() || !args.device.is_empty(),
        "say what is to be muted: an alert's ID, --label KEY=VALUE or --device KEY=VALUE"
    );
    let now = Timestamp::now();
    let alerts = if args.no_preview { Vec::new() } else { super::read(&args.engine).await? };
    let of = args.id.as_deref().map(|id| found(&alerts, id)).transpose()?;
    let silence = object(args, of, now)?;
    if !args.no_preview {
        preview(&args.engine, &alerts, &silence, now).await?;
    }
    let Object::Silence(written) = &silence else { bail!("no Silence") };
    let key = (Kind::Silence, Name::new(silence.namespace(), silence.name()));
    if args.apply {
        let cluster = Cluster::connect(args.kubeconfig.as_deref(), args.context.clone(), vec![silence.namespace().to_owned()]).await;
        let cluster = cluster.map_err(|error| anyhow::anyhow!(error.in_full()))?;
        cluster.apply_by_hand(&key, &silence).await.map_err(|error| anyhow::anyhow!(error.in_full()))?;
        println!("silence/{} is in the cluster, until {:.0}", key.1, written.spec.until);
    } else {
        print!("{}", serde_yaml::to_string(&silence.to_value())?);
    }
    Ok(ExitCode::SUCCESS)
}

fn found<'a>(alerts: &'a [Instance], id: &str) -> anyhow::Result<&'a Instance> {
    let mut found = alerts.iter().filter(|alert| alert.id.starts_with(id));
    match (found.next(), found.next()) {
        (Some(alert), None) => Ok(alert),
        _ => bail!("there is no alert `{id}`, or more than one begins so: `evenkeel alerts --all` lists them"),
    }
}

/// The Silence, checked as any other manifest is.
fn object(args: &SilenceArgs, of: Option<&Instance>, now: Timestamp) -> anyhow::Result<Object> {
    let labels = |pairs: &[(String, String)]| -> BTreeMap<String, String> { pairs.iter().cloned().collect() };
    let (matching, devices) = match of {
        // Just this one: what has only the same labels goes on being said.
        Some(alert) => (one(alert)?, BTreeMap::new()),
        None => (labels(&args.label), labels(&args.device)),
    };
    let namespace = args.namespace.clone().or_else(|| of.map(|alert| alert.subject.rule.namespace().to_owned()));
    let namespace = namespace.unwrap_or_else(|| "default".into());
    let named = || {
        let what = of.map_or("silence", |alert| alert.subject.rule.name());
        format!("{}-{}", what.chars().take(40).collect::<String>(), now.strftime("%Y%m%d-%H%M%S"))
    };
    let until = now.checked_add(args.hold_for.0)?;
    let mut spec = json!({"until": Timestamp::from_second(until.as_second())?, "reason": args.reason});
    if !matching.is_empty() {
        spec["matchLabels"] = json!(matching);
    }
    if !devices.is_empty() {
        spec["devices"] = json!({"matchLabels": devices});
    }
    let value = json!({
        "apiVersion": format!("{}/{}", crds::GROUP, crds::VERSION), "kind": "Silence",
        "metadata": {"name": args.name.clone().unwrap_or_else(named), "namespace": namespace}, "spec": spec,
    });
    ensure!((1..=256).contains(&args.reason.trim().len()), "--reason: say why in 1 to 256 bytes");
    Ok(Object::from_value(Kind::Silence, value)?)
}

/// By what an alert is told from all others: its rule and its device.
fn one(alert: &Instance) -> anyhow::Result<BTreeMap<String, String>> {
    let names = [("rule", &alert.subject.rule), ("device", &alert.subject.device)];
    if let Some((key, _)) = names.iter().find(|(key, _)| alert.subject.labels.contains_key(*key)) {
        bail!("the alert has a label `{key}` of its own, so that it can't be told by that: use --label and --device");
    }
    Ok(names.into_iter().map(|(key, name)| (key.to_owned(), name.name().to_owned())).collect())
}

/// What it would mute now, as the engine would decide it.
async fn preview(engine: &Where, alerts: &[Instance], silence: &Object, now: Timestamp) -> anyhow::Result<()> {
    let Object::Silence(written) = silence else { return Ok(()) };
    let silence = Silence::of(&Name::new(silence.namespace(), silence.name()), &written.spec);
    let devices = engine.client()?.list("/v1/devices").await?;
    let labels = |item: &Value| -> Option<(Name, BTreeMap<String, String>)> {
        let labels = serde_json::from_value(item["effective"]["labels"].clone()).unwrap_or_default();
        Some((Name::parse(item["name"].as_str()?), labels))
    };
    let devices: BTreeMap<Name, BTreeMap<String, String>> = devices.iter().filter_map(labels).collect();
    let nothing = BTreeMap::new();
    let muted = |alert: &&Instance| {
        let device = devices.get(&alert.subject.device).unwrap_or(&nothing);
        alert.counts_as_firing() && silence.mutes((&alert.subject.device, device), (&alert.subject.rule, &alert.subject.labels), now)
    };
    let muted: Vec<&Instance> = alerts.iter().filter(muted).collect();
    match muted.len() {
        0 => eprintln!("of what fires now it would mute nothing"),
        1 => eprintln!("it would mute 1 alert that fires now:"),
        number => eprintln!("it would mute {} that fire now:", show::count(number, "alert")),
    }
    for alert in muted.iter().take(LISTED) {
        let subject = &alert.subject;
        eprintln!("  {} alertrule/{} on device/{}: {}", alert.id, subject.rule, subject.device, show::clean(&subject.summary));
    }
    if muted.len() > LISTED {
        eprintln!("  and {} more", muted.len() - LISTED);
    }
    Ok(())
}
