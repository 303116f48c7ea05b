//! `evenkeel run --kubernetes`: what is different where the engine runs for a cluster.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use api::sign_in::{Review, Reviewed};
use clap::Args;
use cluster::lease::Timing;
use cluster::{Cluster, LEASE};
use devices::{Secret, SecretSource};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use reconcile::Name;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::shards;
use crate::engine::hands::shard::Workplace;
use crate::engine::source::Origin;
use crate::engine::{self, Parts, reports, repositories, roles};

/// Tokens that Kubernetes is asked about at once: anybody can send some.
const REVIEWS: usize = 8;

/// Which cluster, and what of it.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "In a cluster")]
pub(crate) struct KubernetesArgs {
    /// Desired state is the custom resources of a cluster, not a repository; their status is written there, and secrets are its Secrets
    #[arg(long, conflicts_with_all = ["repo", "repo_secret", "verify_keys"])]
    kubernetes: bool,
    /// Kubeconfig file; without it $KUBECONFIG, ~/.kube/config, or the pod's own service account
    #[arg(long, requires = "kubernetes", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, requires = "kubernetes", value_name = "NAME")]
    context: Option<String>,
    /// Only this namespace; may be given several times. All namespaces if none is given
    #[arg(long, requires = "kubernetes", value_name = "NAME")]
    watch_namespace: Vec<String>,
    /// The lease that lets one of several replicas act; those that share a store share it
    #[arg(long, requires = "kubernetes", default_value = LEASE, value_name = "NAME")]
    lease_name: String,
    /// A replica that is not heard of for so long is taken over from: 3s to 1h
    #[arg(long, requires = "kubernetes", default_value = "15s", value_name = "DURATION", value_parser = lease_duration)]
    lease_duration: crds::Duration,
    /// Spread the devices over so many shards, each a lease of its own that one of the replicas holds, so that all of them look at devices
    /// and act on them; with none, the one that plans does. All replicas have to be told the same, and share PostgreSQL
    #[arg(long, requires = "kubernetes", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=64), value_name = "N")]
    pub(super) shards: u32,
    /// Where the lease is held that lets one of several replicas act; the pod's own namespace if none is given
    #[arg(long, requires = "kubernetes", env = "POD_NAMESPACE", value_name = "NAMESPACE")]
    lease_namespace: Option<String>,
    /// The pod that this process runs in: where there are several replicas, a label on it (evenkeel.dev/acts=true) says which one acts, and
    /// leads a Service there
    #[arg(long, requires = "kubernetes", env = "POD_NAME", value_name = "NAME")]
    pod: Option<String>,
    /// Don't make Kubernetes RBAC of Roles: they count for commits and the engine's own interface only. What was made is left as it is
    #[arg(long, requires = "kubernetes")]
    no_rbac: bool,
    /// Take tokens of the cluster over HTTP too (TokenReview): `Authorization: Bearer $(kubectl create token …)`. The operator has to be
    /// allowed to ask about them
    #[arg(long, requires_all = ["kubernetes", "listen"])]
    kubernetes_tokens: bool,
}

/// Whom to ask about tokens, if that is wanted.
pub(super) fn review(args: &KubernetesArgs, cluster: Option<&Arc<Cluster>>) -> Option<Review> {
    let cluster = cluster.filter(|_| args.kubernetes_tokens)?.clone();
    let turns = Arc::new(Semaphore::new(REVIEWS));
    Some(Arc::new(move |token| {
        let (cluster, turns) = (cluster.clone(), turns.clone());
        async move {
            let _turn = turns.try_acquire().map_err(|_| "too many at once".to_owned())?;
            let reviewed = cluster.review(&token).await.map_err(|error| error.in_full())?;
            Ok(reviewed.map(|cluster::review::Reviewed { name, groups }| Reviewed { name, groups }))
        }
        .boxed()
    }))
}

/// Less than three seconds leave no time to renew; more than an hour, and nobody would wait for a takeover.
fn lease_duration(text: &str) -> Result<crds::Duration, String> {
    let duration: crds::Duration = text.parse().map_err(|error: crds::QuantityError| error.to_string())?;
    if !(3..=3600).contains(&duration.0.as_secs()) || duration.0.subsec_millis() != 0 {
        return Err("whole seconds, 3s is the least and 1h the most".into());
    }
    Ok(duration)
}

/// The cluster, if one is asked for.
pub(super) async fn connect(args: &KubernetesArgs) -> anyhow::Result<Option<Arc<Cluster>>> {
    if !args.kubernetes {
        return Ok(None);
    }
    let cluster = Cluster::connect(args.kubeconfig.as_deref(), args.context.clone(), args.watch_namespace.clone()).await;
    let cluster = cluster.map_err(|error| match error {
        cluster::Error::Config(_) if args.kubeconfig.is_none() => anyhow::anyhow!("{}; --kubeconfig FILE names one", error.in_full()),
        error => anyhow::anyhow!(error.in_full()),
    });
    Ok(Some(Arc::new(cluster?)))
}

/// Which lease is claimed, in whose name, and what is told to those who act.
struct Claim {
    lease: String,
    namespace: String,
    identity: String,
    pod: Option<String>,
    timing: Timing,
    data: PathBuf,
    webhooks: bool,
    rbac: bool,
}

/// Something is being said on our pod.
type Marking = AbortOnDropHandle<()>;
/// Time until it is tried again to say on our pod whether we act.
const MARK_AGAIN: Duration = Duration::from_secs(5);
/// Longest time until the shards that are held are let go.
const LET_GO: Duration = Duration::from_secs(4);
/// Why a replica ends that acted.
const LOST: &str = "the lease is lost: another replica may act now, so this one ends";

/// Waits for the lease, and runs the engine for as long as it is held.
pub(super) async fn lead(
    args: KubernetesArgs,
    (data, webhooks): (PathBuf, bool),
    cluster: Arc<Cluster>,
    parts: Parts,
    place: Workplace,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let timing = Timing::new(args.lease_duration.0.try_into().unwrap_or_default());
    let namespace = args.lease_namespace.unwrap_or_else(|| cluster.default_namespace().to_owned());
    let identity = identity();
    let claim = Claim { lease: args.lease_name.clone(), namespace, identity, pod: args.pod, timing, data, webhooks, rbac: !args.no_rbac };
    if args.shards == 0 {
        return plan(&claim, cluster, parts, stop).await;
    }
    let contender = cluster.contender(&claim.namespace, &claim.identity, timing);
    let holding = stop.child_token();
    let mut shards = tokio::spawn(shards::hold(place, contender, args.lease_name.clone(), args.shards, holding.clone()));
    let ended = tokio::select! {
        ended = plan(&claim, cluster, parts, stop) => ended,
        _ = &mut shards => bail!("nobody holds the shards any more"),
    };
    // However it ends: what it holds is let go.
    holding.cancel();
    let _ = tokio::time::timeout(LET_GO, shards).await;
    ended
}

/// Waits for the lease of the one who plans, and does that for as long as it is held.
async fn plan(claim: &Claim, cluster: Arc<Cluster>, parts: Parts, stop: CancellationToken) -> anyhow::Result<()> {
    let Claim { lease, namespace, identity, pod, timing, data, webhooks, rbac } = claim;
    {
        let mut view = parts.view.write().unwrap_or_else(PoisonError::into_inner);
        view.not_ready = Some("waiting for the lease: another replica acts".into());
        view.stands_by = true;
    }
    // A container that ended as the one that acts may begin anew in the same pod.
    let marking = mark(&cluster, namespace, pod.as_deref(), false, None);
    let held = tokio::select! {
        held = cluster.acquire(namespace, lease, identity, *timing) => held,
        () = stop.cancelled() => return Ok(()),
    };
    let _marking = mark(&cluster, namespace, pod.as_deref(), true, marking);
    parts.view.write().unwrap_or_else(PoisonError::into_inner).stands_by = false;
    tracing::info!(lease, namespace, identity, generation = held.generation(), "this replica acts");
    let lost = held.lost.clone();
    let (release, publishing) = (CancellationToken::new(), CancellationToken::new());
    // However this ends: who does not hold the lease writes nothing any more.
    let _guard = publishing.clone().drop_guard();
    let mut keeping = tokio::spawn(held.keep(release.clone()));
    let reports = parts.reports.clone().context("reports")?;
    let Origin::Cluster(_, governing) = &parts.origin else { bail!("no cluster") };
    let governing = governing.clone();
    let (view, done) = (parts.view.clone(), publishing.clone());
    let shared = repositories::Shared {
        secrets: cluster.secrets(),
        cluster: cluster.clone(),
        view: view.clone(),
        reports: reports.clone(),
        data: data.clone(),
        webhooks: *webhooks,
        asides: parts.asides.clone(),
    };
    let roles = roles::Shared { cluster: cluster.clone(), view: view.clone(), reports: reports.clone(), governing, rbac: *rbac };
    let mut roles = AbortOnDropHandle::new(tokio::spawn(roles::run(roles, publishing.clone())));
    let mut repositories = AbortOnDropHandle::new(tokio::spawn(repositories::run(Arc::new(shared), publishing.clone())));
    let identity = identity.to_owned();
    let publish = AbortOnDropHandle::new(tokio::spawn(async move { reports::publish(reports, cluster, view, &identity, done).await }));
    let ended = tokio::select! {
        () = lost.cancelled() => bail!(LOST),
        ended = engine::run(parts, stop) => ended,
        _ = publish => bail!("nobody writes the state of objects any more"),
        _ = &mut repositories => bail!("nobody follows the repositories any more"),
        _ = &mut roles => bail!("nobody looks after the roles any more"),
        // Who keeps the lease ends with it.
        _ = &mut keeping => bail!(if lost.is_cancelled() { LOST } else { "nobody keeps the lease any more" }),
    };
    publishing.cancel();
    // What it has asked the API server for comes to its end.
    let _ = tokio::time::timeout(Duration::from_secs(3), async { tokio::join!(repositories, roles) }).await;
    // Only now: nothing of ours is under way any more.
    release.cancel();
    let _ = keeping.await;
    ended
}

/// Says on our pod whether we act, however often it takes, after what was to be said `before`. It ends when this is dropped.
fn mark(cluster: &Arc<Cluster>, namespace: &str, pod: Option<&str>, acts: bool, before: Option<Marking>) -> Option<Marking> {
    let (cluster, namespace, pod) = (cluster.clone(), namespace.to_owned(), pod?.to_owned());
    Some(AbortOnDropHandle::new(tokio::spawn(async move {
        if let Some(before) = before {
            let _ = before.await;
        }
        loop {
            match cluster.mark_pod(&namespace, &pod, acts).await {
                Ok(true) => return,
                Ok(false) => return tracing::warn!(pod, namespace, "there is no such pod, so no Service is led to whoever acts (--pod)"),
                Err(error) => tracing::warn!(pod, error = error.in_full(), "it is not said on our pod whether we act"),
            }
            tokio::time::sleep(MARK_AGAIN).await;
        }
    })))
}

/// Tells this process from every other one, and is readable.
fn identity() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}_{}_{}", std::process::id(), jiff::Timestamp::now().as_millisecond())
}

/// The cluster's Secrets, as devices ask for them.
pub(super) struct Read(pub(super) Arc<cluster::secrets::Secrets>);

impl SecretSource for Read {
    fn secret<'a>(&'a self, namespace: &'a str, name: &'a str) -> BoxFuture<'a, Result<Arc<Secret>, String>> {
        self.0.get(namespace, name).boxed()
    }

    fn for_receiver<'a>(&'a self, namespace: &'a str, name: &'a str) -> BoxFuture<'a, Result<Arc<Secret>, String>> {
        self.0.for_receiver(namespace, name).boxed()
    }

    fn changed(&self, after: u64) -> BoxFuture<'_, (u64, Vec<Name>)> {
        self.0.changed(after).boxed()
    }
}
