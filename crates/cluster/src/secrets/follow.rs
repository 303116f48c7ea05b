//! Follows one secret: a watch of that one name, which needs the right to watch it and none to list.

use std::sync::Weak;
use std::time::{Duration, Instant};

use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1;
use kube::api::{WatchEvent, WatchParams};
use reconcile::Name;

use super::{GOOD, Read, Secrets, Watched};
use crate::{reason, within};

/// Time until a watch that broke is begun anew, doubled each time up to the longest.
const AGAIN: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// Why a watch is over.
enum End {
    /// Its time was up: the next one goes on where it ended.
    Over,
    /// What came since is not known.
    Lost(String),
    Forbidden(String),
}

impl End {
    fn of(error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.code == 403 => Self::Forbidden(reason(error)),
            error => Self::Lost(reason(error)),
        }
    }
}

/// Until nobody keeps it any more. It was read at this version; empty: it is not there.
pub(super) async fn follow(secrets: Weak<Secrets>, place: Name, mut version: String) {
    let mut pause = AGAIN;
    loop {
        let end = once(&secrets, &place, &mut version, &mut pause).await;
        let Some(secrets) = secrets.upgrade() else { return };
        let said = match end {
            // It goes on from where it was; a server that ends each at once is not asked all the time.
            End::Over => {
                drop(secrets);
                tokio::time::sleep(AGAIN).await;
                continue;
            }
            End::Forbidden(said) => return secrets.may_not_watch(&place, &said),
            End::Lost(said) => said,
        };
        tracing::debug!(secret = %place, error = said, "the watch broke");
        secrets.follows(&place, false);
        drop(secrets);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST);
        // A deletion that was missed would never be told of.
        version.clear();
    }
}

/// One watch.
async fn once(of: &Weak<Secrets>, place: &Name, version: &mut String, pause: &mut Duration) -> End {
    let Some(secrets) = of.upgrade() else { return End::Over };
    let api = secrets.api(place);
    if version.is_empty() {
        match within(api.get_opt(place.name())).await {
            Ok(secret) => {
                *version = secret.as_ref().map(number).unwrap_or_default();
                secrets.keep(place, secret.map(Read::of));
            }
            Err(error) => return End::of(&error),
        }
    }
    drop(secrets);
    let parameters = WatchParams::default().fields(&format!("metadata.name={}", place.name()));
    // Where there is none, the first that comes is told of.
    let mut stream = match within(api.watch(&parameters, version)).await {
        Ok(stream) => Box::pin(stream),
        Err(error) => return End::of(&error),
    };
    loop {
        let Some(secrets) = of.upgrade() else { return End::Over };
        secrets.follows(place, true);
        drop(secrets);
        let event = stream.try_next().await;
        let Some(secrets) = of.upgrade() else { return End::Over };
        match event {
            Ok(Some(WatchEvent::Added(secret) | WatchEvent::Modified(secret))) => {
                *version = number(&secret);
                secrets.keep(place, Some(Read::of(secret)));
            }
            Ok(Some(WatchEvent::Deleted(secret))) => {
                *version = number(&secret);
                secrets.keep(place, None);
            }
            Ok(Some(WatchEvent::Bookmark(bookmark))) => bookmark.metadata.resource_version.clone_into(version),
            Ok(Some(WatchEvent::Error(status))) => return End::Lost(format!("{} ({})", status.message, status.code)),
            Ok(None) => return End::Over,
            Err(error) => return End::of(&error),
        }
        *pause = AGAIN;
    }
}

fn number(secret: &v1::Secret) -> String {
    secret.metadata.resource_version.clone().unwrap_or_default()
}

impl Secrets {
    /// Whether what is known of it is what is.
    fn follows(&self, place: &Name, now: bool) {
        if let Some(Watched::By { follows, .. }) = self.kept().get_mut(place).map(|kept| &mut kept.watch) {
            *follows = now;
        }
    }

    fn may_not_watch(&self, place: &Name, said: &str) {
        tracing::warn!(secret = %place, error = said, "a change of it is not noticed before it is read again");
        if let Some(kept) = self.kept().get_mut(place) {
            // This drops the task that runs here: it is over.
            kept.watch = Watched::Not(Instant::now() + GOOD);
        }
    }
}
