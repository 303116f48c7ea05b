//! `evenkeel simulate`: a rehearsal on simulated devices, with the real engine.

mod lines;
mod rewrite;
mod stage;
mod story;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use devices::{Devices, Secrets};
use reconcile::Desired;
use reconcile::finding::Severity;
use reconcile::limits::Limits;
use simfleet::{Fault, Fleet};
use store::{Options, Store};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::engine::hands::here::Watching;
use crate::engine::{self, Parts, source::Origin};
use lines::Lines;
use rewrite::{Rehearsal, Rewrite};
use story::{Story, Verdict};

/// What to rehearse.
#[derive(Args)]
#[command(
    after_help = "Every device of the manifests is simulated on this machine: a real SSH server on a loopback address, with files, packages and services of its own. The real engine rolls out on them. No real device is touched, and nothing is fetched from anywhere.

Examples:
  A first rollout on bare devices
    evenkeel simulate fleet/
  What would this change do?
    evenkeel simulate fleet/ --then fleet-next/ --soak 5s
  Is a bad release caught at the canary, and taken back?
    evenkeel simulate fleet/ --then fleet-next/ --soak 5s --bad nginx=1.25.2-1:dies-after=6s
  And if devices misbehave?
    evenkeel simulate fleet/ --then fleet-next/ --fault web-02=away --fault db-01=lock-held=20s
  Is a release caught that looks well, and logs what was never logged before? (with an AlertRule on logs.newTemplates and a gate on it)
    evenkeel simulate fleet/ --then fleet-next/ --soak 20s --bad 'nginx=1.25.2-1:logs=cannot parse header; upstream gave up'

Exit: 0 every Deployment is complete, 1 something failed or was taken back, 2 could not run.

A rehearsal does not wait for windows, maintenance and approvals; it says where it would have to. Probes run every second, echo requests become TCP connections, and a port below 1024 is moved up by 8000. If an AlertRule asks for logs, devices send lines, and a minute of logs takes five seconds."
)]
pub(crate) struct SimulateArgs {
    /// A folder of manifests: the state to begin with if --then is given, else what is rolled out
    dir: PathBuf,
    /// A folder of manifests as the next commit would have them
    #[arg(long, value_name = "DIR")]
    then: Option<PathBuf>,
    /// Let a device misbehave: away, slow=200ms, drops=1, install-fails=WORDS, dies-after=5s, disk-full, disk-fills=10m, lock-held=20s, logs=WORDS, wrong-host-key
    #[arg(long = "fault", value_name = "DEVICE=FAULT", value_parser = parse_fault)]
    faults: Vec<(String, Fault)>,
    /// Let a package version be bad: dies-after=5s, install-fails=WORDS or logs=WORDS (errors that it logs, several with `;` between them)
    #[arg(long, value_name = "PACKAGE=VERSION:HOW", value_parser = rewrite::parse_bad)]
    bad: Vec<rewrite::Bad>,
    /// Watch each batch this long, instead of what the Deployments say
    #[arg(long)]
    soak: Option<crds::Duration>,
    /// End after this time at the latest
    #[arg(long, default_value = "15m")]
    timeout: crds::Duration,
    /// How the story is printed: for people, or one JSON value a line
    #[arg(long, short, value_enum, default_value = "text")]
    output: SimulateOutput,
    /// For the demo: start the devices, write manifests that speak of them into a folder and its name to standard output, and stay until
    /// standard input ends; a line of it is DEVICE=FAULT, or DEVICE=well
    #[arg(long, hide = true)]
    serve: bool,
    /// Where devices send lines of log, by UDP
    #[arg(long, value_name = "ADDRESS:PORT", hide = true, requires = "serve")]
    syslog: Option<SocketAddr>,
    /// Further versions that can be had
    #[arg(long = "package", value_name = "PACKAGE=VERSION", hide = true, requires = "serve")]
    packages: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum SimulateOutput {
    /// For people
    Text,
    /// JSON
    Json,
}

pub(crate) async fn run(args: SimulateArgs) -> ExitCode {
    let work = async {
        match args.serve {
            true => serve(&args).await.map(|()| Verdict::Complete),
            false => rehearse(&args).await,
        }
    };
    // However it ends, the devices go with it.
    let result = tokio::select! {
        result = work => result,
        why = interrupted() => if args.serve { Ok(Verdict::Complete) } else { Err(why) },
    };
    match result {
        Ok(Verdict::Complete) => ExitCode::SUCCESS,
        Ok(Verdict::Not) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("evenkeel: {}", super::show::clean(&format!("{error:#}")));
            ExitCode::from(2)
        }
    }
}

/// The manifests of a folder; errors in them are for `evenkeel check`.
fn read(dir: &std::path::Path) -> anyhow::Result<Desired> {
    let (desired, findings) = manifests::check(dir).map_err(anyhow::Error::msg)?;
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    if errors > 0 {
        bail!("{} has {errors} errors: evenkeel check {}", dir.display(), dir.display());
    }
    if desired.devices.is_empty() {
        bail!("{}: no Devices, so there is nothing to rehearse on", dir.display());
    }
    Ok(desired)
}

async fn rehearse(args: &SimulateArgs) -> anyhow::Result<Verdict> {
    super::run::logging_quietly();
    let before = args.then.as_ref().map(|_| read(&args.dir)).transpose()?;
    let (after_dir, after) = match &args.then {
        Some(then) => (then, read(then)?),
        None => (&args.dir, read(&args.dir)?),
    };
    let stages: Vec<&Desired> = before.iter().chain([&after]).collect();
    let known = |name: &str| stages.iter().any(|desired| desired.devices.keys().any(|device| device.to_string() == name));
    if let Some((name, _)) = args.faults.iter().find(|(name, _)| !known(name)) {
        bail!("--fault {name}: there is no such device");
    }
    let folder = tempfile::Builder::new().prefix("evenkeel-simulate-").tempdir()?;
    let catalogue = rewrite::catalogue(&stages, &args.bad, &[])?;
    let fleet = Fleet::start(&folder.path().join("fleet"), &catalogue)?;
    let lines = stages.iter().any(|desired| lines::are_asked_for(desired)).then(Lines::new).transpose()?;
    stage::people(&fleet, &stages, lines.as_ref().map(Lines::address))?;
    let mut story = Story::new(args.output, &folder.path().canonicalize()?.join("fleet/devices"));
    story.title(&format!("{} simulated devices", fleet.all().len()));
    let manifests = folder.path().join("manifests");
    let engine = Running::start(&manifests, folder.path(), &fleet).await?;
    let limit = tokio::time::Instant::now() + Duration::try_from(args.timeout.0)?;
    if let Some(before) = &before {
        // Everything at once: how it came to be is not what is rehearsed.
        let quick = Rehearsal { soak: Some(jiff::SignedDuration::ZERO.into()), at_once: true };
        let mut rewrite = Rewrite::new(&fleet, Some(quick));
        stage::put(&manifests, &mut rewrite, &args.dir, before)?;
        story.title(&format!("{} is brought onto them, all at once", args.dir.display()));
        if story.play_quietly(&engine, limit).await? != Verdict::Complete {
            story.summary(&engine, Verdict::Not);
            bail!("the state to begin with can't be reached");
        }
    }
    let lines = match lines {
        Some(lines) => Some(lines.take_in(&engine, before.is_some()).await?),
        None => None,
    };
    for (name, fault) in &args.faults {
        if let Some(device) = fleet.device(name) {
            story.note(&format!("{name} suffers: {fault}"));
            device.suffer(fault)?;
        }
    }
    let mut rewrite = Rewrite::new(&fleet, Some(Rehearsal { soak: args.soak, at_once: false }));
    stage::put(&manifests, &mut rewrite, after_dir, &after)?;
    story.title(&format!("{} is rolled out", after_dir.display()));
    for note in rewrite.notes() {
        story.note(note);
    }
    let verdict = story.play(&engine, limit).await?;
    story.summary(&engine, verdict);
    drop(lines);
    engine.stop().await;
    Ok(verdict)
}

/// Only the devices: for the demo, which runs a real engine beside them.
async fn serve(args: &SimulateArgs) -> anyhow::Result<()> {
    let desired = read(&args.dir)?;
    let folder = tempfile::Builder::new().prefix("evenkeel-demo-").tempdir()?;
    let catalogue = rewrite::catalogue(&[&desired], &args.bad, &args.packages)?;
    let fleet = Fleet::start(&folder.path().join("simulated"), &catalogue)?;
    stage::people(&fleet, &[&desired], args.syslog)?;
    for (name, fault) in &args.faults {
        fleet.device(name).with_context(|| format!("--fault {name}: there is no such device"))?.suffer(fault)?;
    }
    Rewrite::new(&fleet, None).write(&args.dir, &desired, &folder.path().join("fleet"))?;
    println!("{}", folder.path().display());
    // Whoever started this holds the other end: nothing outlives it.
    let (said, mut orders) = mpsc::channel(1);
    let listen = move || {
        let mut lines = std::io::stdin().lines().map_while(Result::ok);
        lines.try_for_each(|line| said.blocking_send(line))
    };
    tokio::task::spawn_blocking(listen);
    while let Some(order) = orders.recv().await {
        if let Err(why) = obey(&fleet, &order) {
            eprintln!("evenkeel: {}", super::show::clean(&why));
        }
    }
    Ok(())
}

/// `DEVICE=FAULT`, or `DEVICE=well`.
fn obey(fleet: &Fleet, order: &str) -> Result<(), String> {
    let (name, what) = order.split_once('=').ok_or("write DEVICE=FAULT or DEVICE=well")?;
    let device = fleet.device(name).ok_or_else(|| format!("there is no device {name}"))?;
    match what {
        "well" => device.recover(),
        fault => device.suffer(&fault.parse()?).map_err(|error| error.to_string())?,
    }
    Ok(())
}

/// The engine of the rehearsal, in this process.
pub(super) struct Running {
    pub(super) view: api::view::SharedView,
    pub(super) store: Arc<Store>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
    _requests: mpsc::Sender<api::view::Request>,
}

impl Running {
    async fn start(manifests: &std::path::Path, folder: &std::path::Path, fleet: &Fleet) -> anyhow::Result<Self> {
        let data = folder.join("data");
        std::fs::create_dir_all(&data)?;
        let store = Arc::new(Store::open(&Options { data: data.clone(), url: None }).await?);
        let (requests, inbox) = mpsc::channel(1);
        let (view, stop) = (engine::new_view(), CancellationToken::new());
        let parts = Parts {
            shards: 0,
            store: store.clone(),
            devices: Arc::new(Devices::new(Secrets::new(fleet.secrets()), &data.join("cache"))),
            origin: Origin::Folder(manifests.to_owned()),
            interval: Duration::from_millis(500),
            watching: Watching { interval: Duration::from_secs(2), references: Vec::new(), journals: None },
            // A rehearsal is there to show what a commit does, however far it goes.
            limits: Limits { deletions: usize::MAX, devices: reconcile::desired::Share::Percent(100) },
            requests: inbox,
            view: view.clone(),
            reports: None,
            asides: Arc::default(),
            secrets: Secrets::new(fleet.secrets()),
            places: notify::Places::Any,
            external_url: None,
            backoff: notify::retry::Backoff::default(),
            heartbeat: None,
            writing: Arc::default(),
        };
        let task = tokio::spawn(engine::run(parts, stop.clone()));
        Ok(Self { view, store, stop, task, _requests: requests })
    }

    async fn stop(self) {
        self.stop.cancel();
        let _ = tokio::time::timeout(Duration::from_secs(5), self.task).await;
    }
}

/// Ctrl-C, a polite kill, or the terminal being closed.
async fn interrupted() -> anyhow::Error {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut hang_up)) = (signal(SignalKind::terminate()), signal(SignalKind::hangup())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
    }
    anyhow::anyhow!("interrupted")
}

fn parse_fault(text: &str) -> Result<(String, Fault), String> {
    let (device, fault) = text.split_once('=').ok_or("write DEVICE=FAULT")?;
    Ok((device.to_owned(), fault.parse()?))
}
