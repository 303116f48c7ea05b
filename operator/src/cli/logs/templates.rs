//! `evenkeel logs templates`

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use api::logs::templates::{Kind, Sort};
use clap::Args;
use jiff::Timestamp;
use reconcile::Target;

use crate::cli::{Output, Where, show};

/// From few to many.
const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Characters of a template that are shown.
const TEXT: usize = 120;

/// Which kinds of lines.
#[derive(Args)]
pub(crate) struct TemplatesArgs {
    /// Only those of this device: device/NAME; without it, of all
    target: Option<String>,
    /// Only those that came in this time
    #[arg(long, default_value = "1h", value_name = "DURATION")]
    since: crds::Duration,
    /// Only those that first came from their device in this time
    #[arg(long)]
    new: bool,
    /// Only those that come far more often just now than they did
    #[arg(long, conflicts_with = "new")]
    unusual: bool,
    /// Only those that came regularly and do not any more
    #[arg(long, conflicts_with_all = ["new", "unusual"])]
    vanished: bool,
    /// How they are printed
    #[arg(long, short, value_enum, default_value = "text")]
    output: Output,
    #[command(flatten)]
    engine: Where,
}

pub(super) async fn run(args: &TemplatesArgs) -> anyhow::Result<ExitCode> {
    let since = Timestamp::now().checked_sub(args.since.0).context("--since: that is too long ago")?;
    let mut path = format!("/v1/logs/templates?since={}", show::in_url(&since.to_string()));
    match args.target.as_deref().map(Target::parse) {
        Some(Some(Target::Device(name))) => path.push_str(&format!("&device={}", show::in_url(name.full()))),
        Some(_) => bail!("{}: write device/NAME", args.target.as_deref().unwrap_or_default()),
        None => {}
    }
    let only = [(args.new, "new"), (args.unusual, "unusual"), (args.vanished, "vanished")];
    path.extend(only.iter().filter(|(is, _)| *is).map(|(_, only)| format!("&only={only}")));
    let kinds: Vec<Kind> = serde_json::from_value(args.engine.client()?.get(&path).await?)?;
    if matches!(args.output, Output::Json | Output::Yaml) {
        show::document(&kinds, args.output)?;
        return Ok(ExitCode::SUCCESS);
    }
    if kinds.is_empty() {
        eprintln!("no kind of line of that sort within {}", args.since);
        return Ok(ExitCode::SUCCESS);
    }
    show::table(&["TEMPLATE", "FIRST", "LAST", "LINES", "RATE", "IS", "FROM", "TEXT"], &kinds.iter().map(row).collect::<Vec<_>>());
    Ok(ExitCode::SUCCESS)
}

fn row(kind: &Kind) -> Vec<String> {
    let ago = |second: i64| Timestamp::from_second(second).map_or_else(|_| "-".into(), |at| show::age(&at.to_string()));
    let word = |sort: &Sort| match sort {
        Sort::New => "new",
        Sort::Unusual => "unusual",
        Sort::Vanished => "vanished",
    };
    let bare = |device: &String| device.strip_prefix("default/").unwrap_or(device).to_owned();
    let from = match kind.devices.first() {
        Some(device) if kind.from == 1 => bare(device),
        Some(device) => format!("{} +{}", bare(device), kind.from - 1),
        None => String::new(),
    };
    let text = if kind.program.is_empty() { kind.text.clone() } else { format!("{}: {}", kind.program, kind.text) };
    vec![
        kind.template.clone(),
        ago(kind.first),
        ago(kind.last),
        kind.lines.to_string(),
        bars(&kind.parts),
        kind.is.iter().map(word).collect::<Vec<_>>().join(","),
        from,
        text.chars().take(TEXT).collect(),
    ]
}

/// A bar for each part, as high as the most is the highest; what is not nothing is seen.
fn bars(parts: &[u64]) -> String {
    let most = parts.iter().copied().max().unwrap_or(0).max(1);
    parts.iter().map(|lines| BARS[usize::try_from((lines * 8).div_ceil(most)).unwrap_or(8).min(8)]).collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_drawn() {
        assert_eq!(bars(&[0, 1, 50, 100]), " ▁▄█");
        assert_eq!(bars(&[0, 0]), "  ");
        assert_eq!(bars(&[]), "");
    }
}
