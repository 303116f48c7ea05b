//! `cargo xtask demo`: the main job, told on a fleet that everybody can have.

mod fleet;
mod kubernetes;
mod mailbox;
mod watch;
mod watching;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use console::style;
use serde_json::Value;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::{cargo, run as run_command, target, web};
use fleet::{Fleet, Release};
use watch::Watch;

/// How the demo is given.
#[derive(Args)]
pub(crate) struct DemoArgs {
    /// End after the story: exit 0 only if all of it happened
    #[arg(long)]
    once: bool,
    /// On real machines (systemd-nspawn; needs root) instead of simulated devices
    #[arg(long)]
    machines: bool,
    /// With kubectl, on a real Kubernetes API server that is started for it; built with Go the first time
    #[arg(long, conflicts_with = "machines")]
    kubernetes: bool,
}

pub(crate) fn run(args: &DemoArgs) -> anyhow::Result<()> {
    web::ensure()?;
    eprintln!("building evenkeel (the first time takes some minutes)");
    run_command(cargo().args(["build", "--quiet", "--workspace", "--bin", "evenkeel"]))?;
    let binary = target().join("debug/evenkeel");
    // From here on we end in order, so that nothing stays behind.
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, stop.clone())?;
    }
    let mut fleet = if args.machines { Fleet::machines(&binary)? } else { Fleet::simulated(&binary)? };
    if args.kubernetes {
        return kubernetes::run(&mut fleet, &stop, args.once);
    }
    let told = story(&mut fleet, &stop);
    if stop.load(Ordering::Relaxed) {
        bail!("interrupted");
    }
    told.with_context(|| format!("the engine said last:\n{}", fleet.engine.tail()))?;
    if !args.once {
        what_next(&fleet, &binary);
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    fleet.engine.terminate().map(drop)
}

/// Three releases and what can be seen of them. Everything that is told is also checked.
fn story(fleet: &mut Fleet, stop: &Arc<AtomicBool>) -> anyhow::Result<()> {
    let release = fleet.release.clone();
    let [first, good, bad] = release.versions;
    println!("\n{}", fleet.introduction);
    part("1. The first release goes onto bare machines");
    fleet.commit(first)?;
    let mut watch = Watch::new(stop.clone());
    fleet.engine.start()?;
    come_in(fleet)?;
    watch.until(fleet, "Complete", first)?;

    part(&format!("2. A good release: {} {good}", release.package));
    diff(&release, first, good);
    fleet.commit(good)?;
    watch.until(fleet, "Complete", good)?;
    on_all(fleet, good)?;

    part(&format!("3. A bad release: {} {bad}, whose service dies some seconds after its start", release.package));
    diff(&release, good, bad);
    fleet.commit(bad)?;
    watch.until(fleet, "RolledBack", bad)?;
    on_all(fleet, good)?;
    let touched = touched(fleet, bad)?;
    ensure!(touched.len() == 1, "only the canary should have had {bad}, and these had: {touched:?}");
    println!(
        "\nOnly {} ever had {bad}, and has {good} again, as all the others have. It is not tried again until Git changes.",
        style(&touched[0]).bold()
    );

    let next = if fleet.is_simulated() { watching::story(fleet, stop)? } else { 4 };

    part(&format!("{next}. Why is it so?"));
    let explained = command(fleet, &["explain", &format!("deployment/{}", release.deployment)])?;
    ensure!(explained.contains("RolledBack"), "explain does not say so");

    part(&format!("{}. And can that be proven?", next + 1));
    let export = fleet.engine.data.join("export.jsonl").display().to_string();
    let key = fleet.engine.data.join("audit.pub").display().to_string();
    command(fleet, &["audit", "export", "--file", &export])?;
    let proof = shown(fleet, &["audit", "verify", &export, "--key", &key], false)?;
    ensure!(proof.contains("entries, all of them proven"), "the audit log is not proven: {proof}");
    Ok(())
}

/// Says where the web UI is and how to come in.
fn come_in(fleet: &Fleet) -> anyhow::Result<()> {
    let wait = Duration::from_secs(30);
    e2e::wait_until("the web UI", wait, || fleet.way_in().map(drop).ok_or_else(|| "the engine has not said where it is".to_owned()))?;
    let way_in = fleet.way_in().unwrap_or_default();
    let page = fleet.page()?;
    ensure!(page.starts_with("HTTP/1.1 200 "), "the web UI can't be opened: {}", page.lines().next().unwrap_or_default());
    if page.contains("<script") {
        println!("\nLook on in a browser; this makes you its first administrator, once:\n\n  {}\n", style(way_in).bold());
    } else {
        println!("\nThe web UI was not built, see above. Its API is at http://{}/api/v1/docs.\n", fleet.web);
    }
    Ok(())
}

fn part(title: &str) {
    println!("\n{}", style(title).bold().underlined());
}

/// The change in Git.
fn diff(release: &Release, from: &str, to: &str) {
    println!("  git commit: {}", release.file);
    println!("  {}", style(format!("-    apt: {{name: {}, version: {from}}}", release.package)).red());
    println!("  {}", style(format!("+    apt: {{name: {}, version: {to}}}", release.package)).green());
}

/// Runs a command of the command line, and shows it with what it says.
fn command(fleet: &Fleet, arguments: &[&str]) -> anyhow::Result<String> {
    shown(fleet, arguments, true)
}

fn shown(fleet: &Fleet, arguments: &[&str], running: bool) -> anyhow::Result<String> {
    println!("{}", style(format!("$ evenkeel {}", arguments.join(" "))).dim());
    let text = if running { fleet.engine.text(arguments)? } else { fleet.offline(arguments)? };
    print!("{text}");
    Ok(text)
}

/// The package has this version on every device that the Deployment selects.
fn on_all(fleet: &Fleet, version: &str) -> anyhow::Result<()> {
    let devices: Value = serde_json::from_str(&fleet.engine.text(&["get", "devices", "-o", "json"])?)?;
    let wanted = format!("apt:{}", fleet.release.package);
    let mut count = 0;
    for device in devices["items"].as_array().into_iter().flatten() {
        for package in device["status"]["packages"].as_array().into_iter().flatten().filter(|package| package["name"] == wanted.as_str()) {
            count += 1;
            if package["version"] != version {
                bail!("{} has {} and not {version}", device["metadata"]["name"], package["version"]);
            }
        }
    }
    ensure!(count == fleet.release.devices, "{count} devices have it, of {}", fleet.release.devices);
    Ok(())
}

/// The devices on which a version was ever begun to be installed, by the audit log.
fn touched(fleet: &Fleet, version: &str) -> anyhow::Result<Vec<String>> {
    let entries: Vec<Value> = serde_json::from_str(&fleet.engine.text(&["audit", "list", "--limit", "1000", "-o", "json"])?)?;
    let begun = entries.iter().filter(|entry| entry["verb"] == "apply" && entry["outcome"] == "begun");
    let found = begun.filter(|entry| entry["changes"].to_string().contains(&format!("-> {version}")));
    Ok(found.filter_map(|entry| Some(entry["target"].as_str()?.trim_start_matches("device/").to_owned())).collect())
}

fn what_next(fleet: &Fleet, binary: &std::path::Path) {
    let release = &fleet.release;
    let (folder, data, name) = (fleet.engine.fleet.display(), fleet.engine.data.display(), release.deployment);
    let [first, good, bad] = release.versions;
    part("What to try next, in another terminal");
    println!("  In a browser: {}\n", fleet.way_in().unwrap_or_else(|| format!("http://{}", fleet.web)));
    println!(
        "  export EVENKEEL_DATA={data}
  alias evenkeel={binary}

  evenkeel get devices                            is it well?
  evenkeel explain deployment/{name:<17}   why is it so, and who can change that?
  evenkeel rollout history {name:<20}   what was tried, and what became of it
  evenkeel rollout undo {name} --to-revision 1     back to {first}, by hand
  evenkeel audit list --limit 20                  who did what, and what came of it

  The fleet's Git repository: change something, check it, commit it, and look on.
  cd {folder}
  sed -i s/{bad}/{good}/ {file}
  evenkeel check . && git commit -qam 'The bad version is taken out' && evenkeel status --watch",
        binary = binary.display(),
        file = release.file,
    );
    if let Some(hand) = &fleet.by_hand {
        println!("\n  Change something on a device by hand: it is put back.\n  {hand}");
    }
    println!("\nThe engine writes its log to {}.\n{}", fleet.log.display(), style("Ctrl-C ends everything and cleans up.").bold());
}
