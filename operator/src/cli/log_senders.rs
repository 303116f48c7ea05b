//! `evenkeel logs senders`: who sends lines and is no device, and the journals that are read.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::bail;
use api::view::{JournalView, SenderView};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::{Output, Where, show};

/// How they are shown.
#[derive(Args)]
pub(crate) struct SendersArgs {
    /// Print a Device for this one, to be looked through and put into Git
    #[arg(long, value_name = "ADDRESS")]
    declare: Option<String>,
    /// How they are printed
    #[arg(long, short, value_enum, default_value = "text")]
    output: Output,
    #[command(flatten)]
    engine: Where,
}

/// What `/v1/logs/senders` answers.
#[derive(Serialize, Deserialize)]
struct Answer {
    senders: Vec<SenderView>,
    forgotten: u64,
    journals: BTreeMap<String, JournalView>,
}

pub(crate) async fn run(args: &SendersArgs) -> anyhow::Result<ExitCode> {
    let answer: Answer = serde_json::from_value(args.engine.client()?.get("/v1/logs/senders").await?)?;
    if let Some(address) = &args.declare {
        let Some(sender) = answer.senders.iter().find(|sender| sender.address == *address) else {
            bail!("--declare {address}: no unknown sender has this address; `evenkeel logs senders` lists them");
        };
        print!("{}", declaration(sender));
        return Ok(ExitCode::SUCCESS);
    }
    if !matches!(args.output, Output::Text | Output::Wide) {
        show::document(&answer, args.output)?;
        return Ok(ExitCode::SUCCESS);
    }
    if answer.senders.is_empty() {
        println!("no unknown sender, and none that sends too much, since the engine was started");
    } else {
        let rows: Vec<Vec<String>> = answer.senders.iter().map(row).collect();
        show::table(&["ADDRESS", "SAYS IT IS", "LINES", "REFUSED", "FIRST", "LAST", "WHO"], &rows);
        if answer.forgotten > 0 {
            println!("and {} more, forgotten as there were too many", answer.forgotten);
        }
        println!("\nevenkeel logs --unknown shows their lines, evenkeel logs senders --declare ADDRESS prints a Device for one");
    }
    if !answer.journals.is_empty() {
        println!();
        let rows: Vec<Vec<String>> = answer.journals.iter().map(|(device, journal)| journal_row(device, journal)).collect();
        show::table(&["JOURNAL OF", "READ", "LINES", "GAPS", "PROBLEM"], &rows);
    }
    Ok(ExitCode::SUCCESS)
}

fn row(sender: &SenderView) -> Vec<String> {
    let SenderView { address, device, hosts, lines, refused, first, last } = sender;
    let at = |at: &Option<jiff::Timestamp>| at.map_or("-".into(), |at| show::age(&at.to_string()));
    let who = match device {
        Some(device) if *lines > 0 => format!("device/{device}, that should send nothing (logs.syslog)"),
        Some(device) => format!("device/{device}, sends too much at once"),
        None => "unknown".into(),
    };
    let hosts = if hosts.is_empty() { "-".into() } else { hosts.join(", ") };
    vec![address.clone(), hosts, lines.to_string(), refused.to_string(), at(first), at(last), who]
}

fn journal_row(device: &str, journal: &JournalView) -> Vec<String> {
    let JournalView { read_at, lines, gaps, problem } = journal;
    let read = read_at.map_or("-".into(), |at| show::age(&at.to_string()));
    vec![device.to_owned(), read, lines.to_string(), gaps.to_string(), problem.clone().unwrap_or_else(|| "-".into())]
}

/// A Device of a sender: of what it says itself only the name is taken, as far as it can be one.
fn declaration(sender: &SenderView) -> String {
    let said = sender.hosts.first().map(|host| name(host)).filter(|name| !name.is_empty());
    let name = said.unwrap_or_else(|| name(&format!("device-{}", sender.address)));
    let claims: Vec<String> = sender.hosts.iter().map(|host| show::clean(host).replace('\n', " ")).collect();
    let claims = if claims.is_empty() { "no host".into() } else { claims.join(", ") };
    format!(
        "# It says that it is {claims}: nothing proves that.\n\
         apiVersion: evenkeel.dev/v1alpha1\nkind: Device\nmetadata:\n  name: {name}\nspec:\n  type: Server  # or Network, Storage\n  address: \"{}\"\n  logs: {{syslog: true}}\n",
        sender.address
    )
}

/// What an object may be called: letters, digits and -, from a host's first label.
fn name(host: &str) -> String {
    let label = if host.parse::<std::net::IpAddr>().is_ok() || host.starts_with("device-") {
        host
    } else {
        host.split('.').next().unwrap_or_default()
    };
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = label.chars().map(plain).take(63).collect();
    name.trim_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_sender_says_can_not_break_out_of_its_declaration() {
        let sender = |hosts: &[&str]| SenderView {
            address: "2001:db8::7".into(),
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            ..SenderView::default()
        };
        for (hosts, want) in [
            (&["SW-1.example.org", "x"][..], "sw-1"),
            (&["a\nkind: Role\n"], "a-kind--role"),
            (&["\u{202e}--"], "device-2001-db8--7"),
            (&[], "device-2001-db8--7"),
        ] {
            let text = declaration(&sender(hosts));
            assert!(text.contains(&format!("\n  name: {want}\n")), "{text}");
            assert!(!text.lines().any(|line| line.starts_with("kind: Role")) && text.lines().count() == 9, "{text}");
            let device: crds::Device = serde_yaml::from_str(&text).unwrap();
            assert_eq!((device.spec.address.as_str(), device.metadata.name.as_deref()), ("2001:db8::7", Some(want)));
        }
    }
}
