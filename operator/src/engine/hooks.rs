//! Webhooks: whoever proves to be a repository's server is heard, and all that it gets is a look.
//!
//! In a cluster every replica takes them, also one that stands by: it asks for the look by an annotation of the Repository, which the replica
//! that acts sees. For that it watches the Repositories, so that a request for one that is not there asks the API server nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use api::hooks::{Hook, Hooks, Taken};
use api::view::{Ask, Request, Requests};
use cluster::Cluster;
use crds::{GitRef, HookSpec, Kind, Object, SecretRef};
use devices::Secrets;
use forge::asks::{Asks, Turn};
use forge::webhook::{self, Wants};
use jiff::Timestamp;
use reconcile::Name;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

/// The key of a Secret that is meant where none is named.
pub(crate) const TOKEN: &str = "token";
/// Where the one repository of a standalone engine takes webhooks, below `/hooks/`.
const SOURCE: &str = "source";
/// Time between two log lines about requests that were refused.
const TOLD: Duration = Duration::from_secs(60);
/// Time until a watch that failed is asked again.
const AGAIN: Duration = Duration::from_secs(5);
/// For so long a Secret that could not be read is not asked for again: strangers are not to make us ask the API server as often as they like.
const UNREAD: Duration = Duration::from_secs(10);

/// Whose webhooks are taken.
pub(crate) enum Of {
    /// Those of the Repositories of a cluster.
    Repositories(Arc<Repositories>),
    /// Those of the one repository.
    Source {
        /// How they are signed.
        spec: HookSpec,
        /// The full name of the branch that is followed.
        branch: String,
        /// Where a look is asked for.
        requests: Requests,
    },
}

/// The Repositories of a cluster, watched also by a replica that stands by.
pub(crate) struct Repositories {
    cluster: Cluster,
    is_known: AtomicBool,
}

/// Takes webhooks.
struct Receiver {
    of: Of,
    secrets: Secrets,
    asks: Mutex<Asks>,
    refused: Mutex<(u64, Option<Instant>)>,
    /// Whose Secret could not be read, when, and why; of repositories that are there.
    unread: Mutex<BTreeMap<String, (tokio::time::Instant, String)>>,
}

/// How the webhooks of one repository are signed, and what it follows.
struct Expected {
    spec: HookSpec,
    namespace: String,
    /// The full name of the branch or tag; none: any push may concern it.
    reference: Option<String>,
}

/// However a watch ends, what it knew is not taken for what is there.
struct Forget<'a>(&'a AtomicBool);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Repositories {
    /// Those of a cluster; nothing is known of them before [`Self::watch`].
    pub(crate) fn new(cluster: &Cluster) -> Self {
        Self { cluster: cluster.beside(), is_known: AtomicBool::new(false) }
    }

    /// Watches until told to stop.
    pub(crate) async fn watch(&self, stop: CancellationToken) {
        let _forget = Forget(&self.is_known);
        let mut watch = self.cluster.watch(&[Kind::Repository]);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                batch = self.cluster.next(&mut watch) => match batch {
                    Ok(_) => self.is_known.store(true, Ordering::Release),
                    // It tries again by itself, more and more slowly.
                    Err(error) => {
                        tracing::debug!(error, "the Repositories can't be watched for webhooks");
                        tokio::select! {
                            () = stop.cancelled() => return,
                            () = tokio::time::sleep(AGAIN) => {}
                        }
                    }
                },
            }
        }
    }
}

/// Webhooks as the HTTP interface takes them.
pub(crate) fn hooks(of: Of, secrets: Secrets) -> Hooks {
    let receiver = Arc::new(Receiver::new(of, secrets));
    Hooks::new(Arc::new(move |hook| Box::pin(receiver.clone().take(hook))))
}

impl Receiver {
    fn new(of: Of, secrets: Secrets) -> Self {
        Self { of, secrets, asks: Mutex::default(), refused: Mutex::default(), unread: Mutex::default() }
    }

    async fn take(self: Arc<Self>, hook: Hook) -> Taken {
        if let Of::Repositories(repositories) = &self.of
            && !repositories.is_known.load(Ordering::Acquire)
        {
            return Taken::Later("this replica does not know the Repositories yet: send it again later".into());
        }
        let verified = match self.verify(&hook).await {
            Ok(verified) => verified,
            Err(why) => {
                self.refuse(&why);
                return Taken::No;
            }
        };
        let (wants, expected, once) = verified;
        let Wants::Look(pushed) = wants else { return Taken::Yes("nothing to do") };
        if let (Some(pushed), Some(followed)) = (pushed, expected.reference)
            && pushed != followed
        {
            return Taken::Yes("nothing to do: something else is followed");
        }
        let turn = self.asks().ask(&hook.place, once, Instant::now());
        match turn {
            Turn::Heard => Taken::Yes("heard before: nothing to do"),
            Turn::Waits => Taken::Yes("a look is due already"),
            Turn::Now => self.look(&hook.place).await,
            Turn::After(time) => {
                tokio::spawn(async move {
                    tokio::time::sleep(time).await;
                    if let Taken::Later(error) = self.look(&hook.place).await {
                        tracing::warn!(error, repository = hook.place, "a look that a webhook asked for comes on the interval only");
                    }
                });
                Taken::Yes("a look follows soon")
            }
        }
    }

    /// Verifies a request. The error is for the log, and says nothing of a secret.
    async fn verify(&self, hook: &Hook) -> Result<(Wants, Expected, Option<[u8; 32]>), String> {
        let expected = self.expected(&hook.place).ok_or("there is no such repository, or it takes no webhooks")?;
        let secret = self.secret(&hook.place, &expected).await?;
        let verified = webhook::verify(expected.spec.provider, &secret, &hook.headers, &hook.body, Timestamp::now());
        let verified = verified.map_err(|refusal| format!("{}: {refusal}", hook.place))?;
        Ok((verified.wants, expected, verified.once))
    }

    async fn secret(&self, place: &str, expected: &Expected) -> Result<Zeroizing<Vec<u8>>, String> {
        let unread = || self.unread.lock().unwrap_or_else(PoisonError::into_inner);
        unread().retain(|_, (at, _)| at.elapsed() < UNREAD);
        if let Some((_, why)) = unread().get(place) {
            return Err(why.clone());
        }
        let SecretRef { name, key } = &expected.spec.secret_ref;
        let secret = self.secrets.read(&expected.namespace, name, key.as_deref().unwrap_or(TOKEN)).await;
        secret.inspect_err(|error| drop(unread().insert(place.to_owned(), (tokio::time::Instant::now(), error.clone()))))
    }

    fn expected(&self, place: &str) -> Option<Expected> {
        match &self.of {
            Of::Source { spec, branch, .. } => {
                let expected = Expected { spec: spec.clone(), namespace: "default".into(), reference: Some(branch.clone()) };
                (place == SOURCE).then_some(expected)
            }
            Of::Repositories(repositories) => {
                let (namespace, name) = place.split_once('/')?;
                let known = repositories.cluster.known(&(Kind::Repository, Name::new(namespace, name)))?;
                let object = known.object.filter(|_| !known.deleting)?;
                let Object::Repository(repository) = &*object else { return None };
                let spec = repository.spec.webhook.clone()?;
                let reference = followed(repository.spec.reference.as_ref());
                Some(Expected { spec, namespace: namespace.to_owned(), reference })
            }
        }
    }

    async fn look(&self, place: &str) -> Taken {
        let asked = match &self.of {
            Of::Source { requests, .. } => ask(requests).await,
            Of::Repositories(repositories) => {
                let (namespace, name) = place.split_once('/').unwrap_or_default();
                let key = (Kind::Repository, Name::new(namespace, name));
                let at = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
                repositories.cluster.ask_for_a_look(&key, &at).await.map(drop).map_err(|error| error.in_full())
            }
        };
        match asked {
            Ok(()) => {
                tracing::info!(repository = place, "a webhook asks for a look");
                Taken::Yes("a look follows")
            }
            Err(error) => {
                self.asks().undo(place);
                Taken::Later(error)
            }
        }
    }

    /// That requests are refused is said now and then, with the last reason: whoever sends them is not to fill the log.
    fn refuse(&self, why: &str) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.0 += 1;
        if refused.1.is_none_or(|told| told.elapsed() > TOLD) {
            tracing::warn!(count = refused.0, why, "webhooks are refused");
            *refused = (0, Some(Instant::now()));
        }
    }

    fn asks(&self) -> MutexGuard<'_, Asks> {
        self.asks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why nothing can be signed with what a Secret holds, if so.
pub(super) fn fault(spec: &HookSpec, values: &cluster::secrets::Values) -> Option<String> {
    let SecretRef { name, key } = &spec.secret_ref;
    let key = key.as_deref().unwrap_or(TOKEN);
    let Some(secret) = values.get(key) else { return Some(format!("Secret {name} has no {key}")) };
    webhook::usable(secret).err().map(|refusal| format!("Secret {name}, {key}: {refusal}"))
}

/// The full name of what is followed; a commit has none.
fn followed(reference: Option<&GitRef>) -> Option<String> {
    match reference.cloned().unwrap_or_default() {
        GitRef { commit: Some(_), .. } => None,
        GitRef { tag: Some(tag), .. } => Some(format!("refs/tags/{tag}")),
        GitRef { branch, .. } => Some(format!("refs/heads/{}", branch.as_deref().unwrap_or("main"))),
    }
}

/// Asks the engine to look at its source.
async fn ask(requests: &Requests) -> Result<(), String> {
    let (reply, answer) = oneshot::channel();
    let stopping = || "the engine is stopping".to_owned();
    requests.send(Request { what: Ask::Sync, by: "webhook".into(), reply }).await.map_err(|_| stopping())?;
    answer.await.map_err(|_| stopping())?.map(drop)
}

#[cfg(test)]
mod tests {
    use crds::HookProvider;

    use super::*;

    /// A request as docs.github.com signs its example.
    fn example(place: &str) -> Hook {
        let mut hook = Hook { place: place.into(), headers: reqwest::header::HeaderMap::new(), body: "Hello, World!".into() };
        let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        hook.headers.insert("x-hub-signature-256", signature.parse().unwrap());
        hook
    }

    #[tokio::test(start_paused = true)]
    async fn a_secret_that_can_not_be_read_is_not_asked_for_at_each_request() {
        let folder = tempfile::tempdir().unwrap();
        let spec = HookSpec { provider: HookProvider::GitHub, secret_ref: SecretRef { name: "hook".into(), key: None } };
        let (requests, mut asked) = tokio::sync::mpsc::channel(1);
        let of = Of::Source { spec, branch: "refs/heads/main".into(), requests };
        let receiver = Arc::new(Receiver::new(of, Secrets::new(folder.path())));
        let take = |place| receiver.clone().take(example(place));
        assert_eq!(take("source").await, Taken::No);
        std::fs::create_dir(folder.path().join("hook")).unwrap();
        std::fs::write(folder.path().join("hook/token"), "It's a Secret to Everybody").unwrap();
        assert_eq!(take("source").await, Taken::No, "it was asked for a moment ago");
        tokio::time::advance(UNREAD).await;
        assert_eq!(take("source").await, Taken::Yes("nothing to do"));
        assert_eq!(take("fleet/fleet").await, Taken::No);
        assert!(receiver.unread.lock().unwrap().is_empty(), "nothing is remembered of what is not there");
        assert!(asked.try_recv().is_err(), "it named no event");
    }

    #[test]
    fn what_is_followed_has_a_full_name() {
        let of = |reference: GitRef| followed(Some(&reference));
        assert_eq!(followed(None).as_deref(), Some("refs/heads/main"));
        assert_eq!(of(GitRef { branch: Some("a/b".into()), ..GitRef::default() }).as_deref(), Some("refs/heads/a/b"));
        assert_eq!(of(GitRef { tag: Some("v1".into()), ..GitRef::default() }).as_deref(), Some("refs/tags/v1"));
        assert_eq!(of(GitRef { commit: Some("0".repeat(40)), ..GitRef::default() }), None, "any push may bring it");
    }
}
