//! `evenkeel run` and `scan`

use std::io::Read as _;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use api::server::{Listen, bind, serve};
use api::shared::Shared;
use clap::{Args, ValueEnum};
use devices::probe::Reference;
use devices::{Devices, Secrets};
use manifests::git::{self, Follow, Source};
use reconcile::limits::Limits;
use store::{Options, Samples, Store};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::kubernetes::{self, KubernetesArgs};
use super::log_keeping::KeepingArgs;
use super::signing_in::{self, SignInArgs};
use super::syslog::{self, SyslogArgs};
use super::webhooks::{self, WebhookArgs};
use super::writing::WriteArgs;
use crate::engine::governing::Governing;
use crate::engine::hands::here::Watching;
use crate::engine::hands::shard::Workplace;
use crate::engine::logs::journal::Way;
use crate::engine::remote_write;
use crate::engine::reports::Reports;
use crate::engine::{self, Parts, source::Origin};

/// How the engine runs.
#[derive(Args, Clone)]
#[command(
    group(clap::ArgGroup::new("desired").args(["repo", "kubernetes"]).required(true).multiple(true)),
    after_help = "The store is a SQLite file in the data directory, or PostgreSQL if DATABASE_URL is set, such as postgres://evenkeel@db.example.com/evenkeel. \
        Log lines go to standard error; RUST_LOG chooses them.

However it ends, steps that are under way on devices go on there, and are found again when it is started anew on the same store."
)]
pub(crate) struct RunArgs {
    /// Git repository (URL or path), or a plain folder of manifests to try things out
    #[arg(long, value_name = "URL|DIR")]
    repo: Option<String>,
    /// Branch to follow
    #[arg(long, default_value = "main")]
    branch: String,
    /// Folder in the repository; all of it if none is given
    #[arg(long, default_value = "", hide_default_value = true, value_name = "DIR")]
    path: String,
    /// Where state is kept; one engine at a time
    #[arg(long, env = "EVENKEEL_DATA", default_value = "evenkeel-data", value_name = "DIR")]
    pub(super) data: PathBuf,
    /// Secrets: one directory each, one file per key, as Kubernetes mounts them; `secrets` in the data directory if none is given
    #[arg(long, env = "EVENKEEL_SECRETS", value_name = "DIR")]
    secrets: Option<PathBuf>,
    /// The secret with the repository's credentials: `token`, or `username` and `password`, and `ca.crt` for HTTPS; `ssh-privatekey` and
    /// `known_hosts` for SSH
    #[arg(long, value_name = "NAME")]
    repo_secret: Option<String>,
    /// Only apply commits that a key in this directory signed: `*.pub` (OpenSSH), `*.asc` or `*.gpg` (OpenPGP)
    #[arg(long, value_name = "DIR")]
    verify_keys: Option<PathBuf>,
    /// On which commits a signature is asked for: `head`, the newest one, or `ancestors`, every one since the last that was in force, 1000
    /// at most
    #[arg(long, value_enum, default_value = "head", requires = "verify_keys")]
    verify_mode: Verified,
    /// Time between two looks at the repository, 1s or more
    #[arg(long, default_value = "30s")]
    interval: crds::Duration,
    /// Time between two looks at a device, 1s or more; it is looked at at once when something happens there
    #[arg(long, default_value = "60s")]
    look_interval: crds::Duration,
    /// What answers if the engine's own network is up, by TCP or, without a port, by echo requests: where most devices fail at once and none
    /// of these answers, nothing is held against the devices. More than one may be given
    #[arg(long = "reference", value_name = "ADDRESS[:PORT]")]
    references: Vec<Reference>,
    /// A commit that deletes more devices waits for `evenkeel approve` [default: 5; in a cluster no limit]
    #[arg(long, value_name = "N")]
    max_deletions: Option<usize>,
    /// A commit that touches more devices, a number or a share of all, waits for `evenkeel approve`; the first one has nothing to be
    /// compared with
    #[arg(long, default_value = "100%", value_name = "SHARE")]
    max_touched: crds::Share,
    /// Listen for plain HTTP too: /healthz, /readyz and /metrics for everybody, the rest for whoever signs in or shows a token
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// File with a token, of 16 characters or more, that may everything over HTTP: for the command line elsewhere
    #[arg(long, requires = "listen", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Send what devices use to this URL too (Prometheus remote write 1.0), such as http://prometheus.example.com:9090/api/v1/write
    #[arg(long, value_name = "URL")]
    remote_write: Option<reqwest::Url>,
    /// File with the token for it
    #[arg(long, requires = "remote_write", value_name = "FILE")]
    remote_write_token: Option<PathBuf>,
    /// Where webhooks and SMS gateways may be: `any`, `remote`, which is neither this machine nor its link, or `public`, which is no private
    /// network either [default: any; in a cluster remote]
    #[arg(long, value_enum, hide_default_value = true, value_name = "PLACES")]
    receiver_places: Option<Placed>,
    /// Longest wait before a notification that failed is tried again; then twice as long each time, up to sixty times this, and an
    /// hour at most. From 1s to 10m
    #[arg(long, default_value = "10s", value_name = "TIME")]
    notify_retry: crds::Duration,
    /// File with a URL that is asked each minute as long as all is well here, such as https://hc-ping.com/UUID: who hears nothing more tells
    /// somebody. $EVENKEEL_HEARTBEAT_URL is another way to say it
    #[arg(long, value_name = "FILE")]
    heartbeat_file: Option<PathBuf>,
    /// How log lines look
    #[arg(long, value_enum, default_value = "text")]
    pub(super) log_format: LogFormat,
    #[command(flatten)]
    pub(super) writing: WriteArgs,
    #[command(flatten)]
    pub(super) sign_in: SignInArgs,
    #[command(flatten)]
    pub(super) webhooks: WebhookArgs,
    #[command(flatten)]
    pub(super) syslog: SyslogArgs,
    #[command(flatten)]
    pub(super) keeping: KeepingArgs,
    #[command(flatten)]
    pub(super) kubernetes: KubernetesArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum Verified {
    Head,
    Ancestors,
}

#[derive(Clone, Copy, ValueEnum)]
enum Placed {
    Any,
    Remote,
    Public,
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum LogFormat {
    Text,
    Json,
}

/// Devices that a commit may delete where nothing is said.
const MAX_DELETIONS: usize = 5;
/// Readings of journals that wait to be stored, each of them up to a megabyte.
const JOURNALS: usize = 8;
/// Open files that are enough for whatever runs at once.
const FILES: u64 = 65_536;
/// The size of a file with a token, with what is around it.
const MAX_TOKEN: u64 = 4096;

/// A running engine with its way to be stopped.
pub(super) struct Running {
    pub(super) view: api::view::SharedView,
    pub(super) stop: CancellationToken,
    pub(super) task: tokio::task::JoinHandle<anyhow::Result<()>>,
    /// Writes samples, and at the end those that are left.
    samples: tokio::task::JoinHandle<()>,
    /// What is to be said once to whoever started it.
    said: Option<String>,
    /// Writes lines of logs, and at the end those that are left.
    logs: tokio::task::JoinHandle<()>,
    _lock: std::fs::File,
}

pub(crate) async fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    logging(args.log_format);
    let running = start(&args).await?;
    if let Some(said) = &running.said {
        // Past the log, which is sent to places where it is kept.
        eprintln!("{said}");
    }
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let mut task = running.task;
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
        ended = &mut task => {
            ended??;
            bail!("the engine ended by itself");
        }
    }
    running.stop.cancel();
    let _ = tokio::time::timeout(Duration::from_secs(8), futures::future::join(task, running.samples)).await;
    let _ = tokio::time::timeout(Duration::from_secs(5), running.logs).await;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn start(args: &RunArgs) -> anyhow::Result<Running> {
    // What is in it is for its owner only: the audit key, the socket, fetched repositories.
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&args.data).with_context(|| args.data.display().to_string())?;
    if let Some(folder) = args.secrets.as_ref().filter(|folder| !folder.is_dir()) {
        bail!("--secrets {}: there is no such directory", folder.display());
    }
    let lock = lock(&args.data)?;
    more_files();
    let options = Options { data: args.data.clone(), url: std::env::var("DATABASE_URL").ok().filter(|url| !url.is_empty()) };
    let store = match options.url.as_deref().and_then(database) {
        Some(place) => Store::open(&options).await.context(place)?,
        None => Store::open(&options).await?,
    };
    let store = Arc::new(store);
    let cluster = kubernetes::connect(&args.kubernetes).await?;
    let secrets = match &cluster {
        Some(cluster) if args.secrets.is_none() => Secrets::from_source(Arc::new(kubernetes::Read(cluster.secrets()))),
        _ => Secrets::new(secrets(args)),
    };
    if args.kubernetes.shards > 0 && options.url.is_none() {
        bail!("--shards: the replicas hear of each other through PostgreSQL, so set DATABASE_URL");
    }
    let look_interval = interval("--look-interval", args.look_interval)?;
    let cache = args.data.join("cache");
    let view = engine::new_view();
    let keeping = args.keeping.options()?;
    let (journals, arrived) = mpsc::channel(JOURNALS);
    let journals = Some(Way { store: store.clone(), out: journals, view: view.clone() });
    let watching = Watching { interval: look_interval, references: args.references.clone(), journals };
    let place = Workplace {
        store: store.clone(),
        secrets: secrets.clone(),
        cache: cache.clone(),
        watching: watching.clone(),
        shards: args.kubernetes.shards,
        view: view.clone(),
    };
    let devices = Arc::new(Devices::new(secrets.clone(), &cache));
    let (requests, inbox) = mpsc::channel(64);
    let stop = CancellationToken::new();
    let hooks = webhooks::receiver(&args.webhooks, &args.branch, &requests, cluster.as_deref(), secrets.clone(), &stop).await?;
    let samples = Arc::new(Samples::new(store.clone()));
    view.read().unwrap_or_else(PoisonError::into_inner).usages.store_in(samples.clone());
    let samples = tokio::spawn(samples.keep(stop.clone().cancelled_owned()));
    if let Some(url) = &args.remote_write {
        let usages = view.read().unwrap_or_else(PoisonError::into_inner).usages.clone();
        tokio::spawn(remote_write::send(usages, remote_write_to(url, args.remote_write_token.as_deref())?));
    }
    let origin = match &cluster {
        Some(cluster) => Origin::Cluster(cluster.clone(), Arc::new(Governing::new(view.clone()))),
        None => origin(args)?,
    };
    let sign_in = signing_in::sign_in(&args.sign_in, mode(&origin), kubernetes::review(&args.kubernetes, cluster.as_ref()))?;
    let shared = Shared { view: view.clone(), requests, store: store.clone(), hooks, sign_in: sign_in.clone() };
    let mut listeners = vec![Listen::Unix(args.data.join(api::client::SOCKET))];
    if let Some(address) = args.listen {
        signing_in::warn_of_plain(&args.sign_in, address);
        let token = args.token_file.as_deref().map(token).transpose()?;
        listeners.push(Listen::Tcp(address, token.map(Zeroizing::new)));
    }
    let mut listens = None;
    for listen in listeners {
        let place = match &listen {
            Listen::Unix(path) => path.display().to_string(),
            Listen::Tcp(address, _) => address.to_string(),
        };
        // An engine that nobody can ask or stop a rollout of is not left running.
        let bound = bind(listen).await.with_context(|| format!("{place} can't be listened on"))?;
        listens = listens.or_else(|| bound.address());
        let (shared, stop) = (shared.clone(), stop.clone());
        tokio::spawn(async move {
            if let Err(error) = serve(shared, bound, stop).await {
                tracing::error!(%error, "the HTTP interface can't be served");
            }
        });
    }
    let said = signing_in::invitation(&args.sign_in, &sign_in, &store, listens).await?;
    // Until it holds the lease, it is another replica that plans.
    view.write().unwrap_or_else(PoisonError::into_inner).stands_by = cluster.is_some();
    let logs = syslog::start(&args.syslog, arrived, &store, &view, (cluster.is_some(), &stop)).await?;
    tokio::spawn(engine::logs::keeping::keep(keeping, store.clone(), view.clone(), stop.clone()));
    let parts = Parts {
        store,
        devices,
        shards: args.kubernetes.shards,
        writing: args.writing.writing(&origin, args.verify_keys.is_some())?,
        origin,
        interval: interval("--interval", args.interval)?,
        watching,
        limits: Limits {
            // Who may delete objects in a cluster is said by its own rules.
            deletions: args.max_deletions.unwrap_or(if cluster.is_some() { usize::MAX } else { MAX_DELETIONS }),
            devices: reconcile::desired::share(args.max_touched),
        },
        requests: inbox,
        view: view.clone(),
        reports: cluster.as_ref().map(|_| Arc::new(Reports::default())),
        asides: Arc::default(),
        secrets,
        places: match args.receiver_places {
            Some(Placed::Any) => notify::Places::Any,
            Some(Placed::Public) => notify::Places::Public,
            // Whoever may write objects in a cluster is not whoever runs the engine.
            None if cluster.is_none() => notify::Places::Any,
            Some(Placed::Remote) | None => notify::Places::Remote,
        },
        external_url: args.sign_in.external_url.clone(),
        backoff: notify::retry::Backoff { first: notify_retry(args.notify_retry)? },
        heartbeat: heartbeat(args.heartbeat_file.as_deref())?,
    };
    let task = match cluster {
        Some(cluster) => {
            let (args, stop) = (args.clone(), stop.clone());
            tokio::spawn(async move {
                kubernetes::lead(args.kubernetes, (args.data, args.webhooks.webhooks), cluster, parts, place, stop).await
            })
        }
        None => tokio::spawn(engine::run(parts, stop.clone())),
    };
    Ok(Running { view, stop, task, samples, said, logs, _lock: lock })
}

/// The URL is mostly a secret itself: it is in a file or in the environment, and in no message.
fn heartbeat(file: Option<&Path>) -> anyhow::Result<Option<notify::Heartbeat>> {
    let (place, url) = match file {
        Some(file) => (format!("--heartbeat-file {}", file.display()), token(file)?),
        None => match std::env::var("EVENKEEL_HEARTBEAT_URL").ok().filter(|url| !url.is_empty()) {
            Some(url) => ("EVENKEEL_HEARTBEAT_URL".to_owned(), url.trim().to_owned()),
            None => return Ok(None),
        },
    };
    notify::Heartbeat::new(&url).map(Some).map_err(|_| anyhow::anyhow!("{place}: it is no URL of http or https without a password"))
}

/// Where a database is, without who may use it.
fn database(url: &str) -> Option<String> {
    let url: reqwest::Url = url.parse().ok()?;
    Some(format!("the database at {}:{}{}", url.host_str()?, url.port().unwrap_or(5432), url.path()))
}

fn remote_write_to(url: &reqwest::Url, token: Option<&Path>) -> anyhow::Result<remote_write::Receiver> {
    if !["http", "https"].contains(&url.scheme()) || url.password().is_some() {
        bail!("--remote-write: an http or https URL without a password in it; a token goes into a file, --remote-write-token");
    }
    let token = token.map(self::token).transpose()?.map(Zeroizing::new);
    Ok(remote_write::Receiver { url: url.clone(), token })
}

/// Each probe, look and step that is under way takes a file or two; what is usual at first, 1024, is for programs that still use `select`.
fn more_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let wanted = now.maximum.unwrap_or(FILES).min(FILES);
    if now.current.is_some_and(|current| current < wanted)
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: now.maximum })
    {
        tracing::warn!(%error, "the limit of open files can't be raised");
    }
}

fn interval(option: &str, value: crds::Duration) -> anyhow::Result<Duration> {
    let interval = Duration::try_from(value.0)?;
    if interval < Duration::from_secs(1) {
        bail!("{option} {value}: 1s is the least");
    }
    Ok(interval)
}

/// With longer ones few tries would be left of a day.
fn notify_retry(value: crds::Duration) -> anyhow::Result<Duration> {
    let first = interval("--notify-retry", value)?;
    if first > notify::retry::SLOWEST {
        bail!("--notify-retry {value}: 10m is the most");
    }
    Ok(first)
}

fn secrets(args: &RunArgs) -> PathBuf {
    args.secrets.clone().unwrap_or_else(|| args.data.join("secrets"))
}

/// As browsers are told.
fn mode(origin: &Origin) -> &'static str {
    match origin {
        Origin::Git(_) => "git",
        Origin::Folder(_) => "folder",
        Origin::Cluster(..) => "kubernetes",
    }
}

fn origin(args: &RunArgs) -> anyhow::Result<Origin> {
    let repo = args.repo.as_deref().unwrap_or_default();
    let path = Path::new(repo);
    if !git::is_repository(repo) {
        if !path.is_dir() {
            bail!("--repo {repo}: neither a Git repository nor a folder");
        }
        if args.verify_keys.is_some() || args.repo_secret.is_some() {
            bail!("--verify-keys and --repo-secret need a Git repository: a plain folder has neither signatures nor a login");
        }
        return Ok(Origin::Folder(path.join(&args.path)));
    }
    let url = if path.exists() { path.canonicalize()?.display().to_string() } else { repo.to_owned() };
    let secret = match &args.repo_secret {
        Some(name) if name.is_empty() || name.starts_with('.') || name.contains('/') => bail!("--repo-secret: not the name of a secret"),
        name => name.as_ref().map(|name| secrets(args).join(name)),
    };
    let follow = Follow::Branch(args.branch.clone());
    let mode = match args.verify_mode {
        Verified::Head => crds::VerifyMode::Head,
        Verified::Ancestors => crds::VerifyMode::Ancestors,
    };
    let options = git::Options { follow, path: args.path.clone(), keys: args.verify_keys.clone(), mode, secret, ..git::Options::default() };
    Ok(Origin::Git(Source::new(&url, &args.data.join("repository.git"), options)?))
}

/// One engine per data directory. The lock goes with the process, however it ends.
fn lock(data: &Path) -> anyhow::Result<std::fs::File> {
    use std::io::{Seek as _, Write as _};
    let path = data.join("lock");
    let mut file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .with_context(|| path.display().to_string())?;
    if rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut holder = String::new();
        file.read_to_string(&mut holder)?;
        bail!("{}: another engine runs on this data directory: {}", data.display(), super::show::clean(holder.trim()));
    }
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "process {}, since {}", std::process::id(), jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ"))?;
    Ok(file)
}

/// The token that a file holds: one that a header can carry, or nobody could ever show it.
fn token(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let opened = std::fs::File::open(file).with_context(|| file.display().to_string())?;
    opened.take(MAX_TOKEN).read_to_string(&mut text).with_context(|| file.display().to_string())?;
    let token = text.trim();
    if token.len() < 16 || text.len() as u64 == MAX_TOKEN {
        bail!("{}: a token has at least 16 characters, and less than {MAX_TOKEN}", file.display());
    }
    graphic(file, token)
}

/// A secret that somebody else has chosen, which may be short.
pub(super) fn secret_line(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let opened = std::fs::File::open(file).with_context(|| file.display().to_string())?;
    opened.take(MAX_TOKEN).read_to_string(&mut text).with_context(|| file.display().to_string())?;
    if text.trim().is_empty() || text.len() as u64 == MAX_TOKEN {
        bail!("{}: a secret has at least one character, and less than {MAX_TOKEN}", file.display());
    }
    graphic(file, text.trim())
}

fn graphic(file: &Path, token: &str) -> anyhow::Result<String> {
    if !token.chars().all(|letter| letter.is_ascii_graphic()) {
        bail!("{}: a token is one line of ASCII letters, digits and signs, without spaces", file.display());
    }
    Ok(token.to_owned())
}

pub(super) fn logging(format: LogFormat) {
    let filter =
        tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info,russh=warn,kube_client=off,kube_runtime=off".into());
    // That a line can't be written (a full disk, a reader that went away) would be complained about on the same standard error, by a panic.
    let builder = tracing_subscriber::fmt().log_internal_errors(false).with_env_filter(filter).with_writer(std::io::stderr);
    let _ = match format {
        LogFormat::Text => builder.with_ansi(console::colors_enabled_stderr()).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}

/// Nothing but what `RUST_LOG` asks for: a story is told in its own words.
pub(super) fn logging_quietly() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "off".into());
    let _ = tracing_subscriber::fmt().log_internal_errors(false).with_env_filter(filter).with_writer(std::io::stderr).try_init();
}

/// Which server to ask.
#[derive(Args)]
pub(crate) struct ScanArgs {
    /// Host name or address; `host:port` works too
    address: String,
    /// TCP port
    #[arg(long, default_value_t = 22)]
    port: u16,
}

pub(crate) async fn scan(args: &ScanArgs) -> anyhow::Result<ExitCode> {
    // As messages about host keys write it: `host:port`; an IPv6 address has more colons.
    let (host, port) = match args.address.rsplit_once(':').map(|(host, port)| (host, port.parse())) {
        Some((host, Ok(port))) if !host.contains(':') => (host, port),
        _ => (args.address.as_str(), args.port),
    };
    let keys = devices::ssh::scan(host, port).await?;
    println!("# Compare the fingerprints with what the machine itself says: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub");
    println!("access:\n  ssh:\n    port: {port}\n    hostKeys:");
    for (line, fingerprint) in keys {
        println!("      - {}  # SHA256:{fingerprint}", super::show::clean(&line));
    }
    Ok(ExitCode::SUCCESS)
}
