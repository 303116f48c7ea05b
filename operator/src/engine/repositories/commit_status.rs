//! What a Repository's server is told of its commits. Telling it holds up nothing: only the newest report waits, and one that can't be told is
//! an event of the Repository.

use std::sync::Arc;
use std::time::Duration;

use crds::{CommitStatusSpec, RepositorySpec};
use forge::status::{Error, Place, Report, State};
use reconcile::Name;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::super::hooks::TOKEN;
use super::{Shared, follower::Verdict};

/// Tries of one report, the time between them doubling from [`FIRST`] to [`LAST`]: half an hour in all.
const TRIES: usize = 10;
const FIRST: Duration = Duration::from_secs(5);
const LAST: Duration = Duration::from_secs(600);
/// Time between two reports: what changes more quickly is told as it is then.
const GAP: Duration = Duration::from_secs(1);
/// Reports of one commit; GitHub refuses what is more than 1000.
const REPORTS: usize = 200;

/// Where reports wait, of which the newest replaces the one before.
pub(super) struct Outbox {
    newest: watch::Sender<Option<Report>>,
    _task: AbortOnDropHandle<()>,
}

impl Outbox {
    /// For a Repository that wants its commits reported.
    pub(super) fn new(name: &Name, shared: &Arc<Shared>, spec: &RepositorySpec) -> Option<Self> {
        let wanted = spec.commit_status.clone()?;
        let (newest, waiting) = watch::channel(None);
        let telling = Telling { name: name.clone(), shared: shared.clone(), url: spec.url.clone(), spec: wanted };
        Some(Self { newest, _task: AbortOnDropHandle::new(tokio::spawn(telling.run(waiting))) })
    }

    /// A commit was seen; nothing is told that was told of it before.
    pub(super) fn seen(&self, commit: &str) {
        self.newest.send_if_modified(|report| {
            let is_new = report.as_ref().is_none_or(|report| report.commit != commit);
            if is_new {
                *report = Some(Report { commit: commit.to_owned(), state: State::Pending, description: "is being applied".into() });
            }
            is_new
        });
    }

    pub(super) fn put(&self, report: Report) {
        self.newest.send_if_modified(|before| before.replace(report.clone()).as_ref() != Some(&report));
    }
}

/// What there is to tell of a commit; `unfinished`: it is tried again.
pub(super) fn report(commit: &str, verdict: &Verdict, unfinished: bool) -> Option<Report> {
    let message = verdict.message.as_str();
    let said = message.strip_prefix("commit ").and_then(|said| said.split_once([' ', ':'])).map_or(message, |(_, said)| said.trim());
    let (state, description) = match verdict.reason {
        // What others have changed since is not about the commit.
        "Applied" | "Drifted" => (State::Success, format!("applied: {}", said.split(';').next().unwrap_or_default())),
        "WaitsForApproval" => (State::Pending, format!("waits for approval: {said}")),
        "Refused" if unfinished => (State::Pending, format!("is tried again: {said}")),
        "Refused" | "InvalidManifest" | "GitFailed" => (State::Failure, said.to_owned()),
        _ => return None,
    };
    Some(Report { commit: commit.to_owned(), state, description })
}

struct Telling {
    name: Name,
    shared: Arc<Shared>,
    url: String,
    spec: CommitStatusSpec,
}

impl Telling {
    async fn run(self, mut waiting: watch::Receiver<Option<Report>>) {
        let mut told: Option<Report> = None;
        let mut count = 0;
        while waiting.changed().await.is_ok() {
            let (mut pause, mut problem) = (FIRST, String::new());
            for _ in 0..TRIES {
                let Some(report) = waiting.borrow_and_update().clone() else { break };
                let is_same_commit = told.as_ref().is_some_and(|told| told.commit == report.commit);
                count = if is_same_commit { count } else { 0 };
                if told.as_ref() == Some(&report) || count == REPORTS {
                    break;
                }
                let error = match self.tell(&report).await {
                    Ok(()) => {
                        told = Some(report);
                        count += 1;
                        break;
                    }
                    Err(error) => error,
                };
                if problem != error.to_string() {
                    problem = error.to_string();
                    tracing::warn!(repository = %self.name, commit = report.commit, error = problem, "the status of a commit is not told yet");
                    self.shared.happened(&self.name, "CommitStatusFailed", format!("the status of a commit is not told: {problem}"), true);
                }
                tokio::time::sleep(pause.max(error.after.unwrap_or_default())).await;
                pause = (pause * 2).min(LAST);
            }
            tokio::time::sleep(GAP).await;
        }
    }

    async fn tell(&self, report: &Report) -> Result<(), Error> {
        let spec = &self.spec;
        let place = Place::of(spec.provider, &self.url, spec.url.as_deref()).map_err(|error| format!("spec.commitStatus: {error}"))?;
        let secret = self.shared.secrets.get(self.name.namespace(), &spec.secret_ref.name).await?;
        let key = spec.secret_ref.key.as_deref().unwrap_or(TOKEN);
        let token = secret.get(key).and_then(|token| std::str::from_utf8(token).ok()).map(str::trim).filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| format!("Secret {} has no {key}", spec.secret_ref.name))?;
        let context = spec.context.clone().unwrap_or_else(|| format!("evenkeel/{}", self.name.full()));
        place.tell(token, secret.get("ca.crt").map(|authorities| authorities.as_slice()), &context, report).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(reason: &'static str, message: &str, unfinished: bool) -> Option<(State, String)> {
        let verdict = Verdict { is_ready: false, reason, message: message.into() };
        report("c0ffee", &verdict, unfinished).map(|report| (report.state, report.description))
    }

    #[test]
    fn what_is_told_of_a_commit_is_what_the_repository_says_of_it() {
        let of = |state, text: &str| Some((state, text.to_owned()));
        let drifted = "commit c0ffee: 4 objects; device/fleet/d-1 was changed by somebody else";
        assert_eq!(told("Applied", "commit c0ffee: 4 objects", false), of(State::Success, "applied: 4 objects"));
        assert_eq!(told("Drifted", drifted, false), of(State::Success, "applied: 4 objects"));
        let waits = told("WaitsForApproval", "commit c0ffee deletes 2 devices, more than 0; to let it through: kubectl x", false);
        assert_eq!(waits, of(State::Pending, "waits for approval: deletes 2 devices, more than 0; to let it through: kubectl x"));
        assert_eq!(told("Refused", "commit c0ffee: Device/a: no", false), of(State::Failure, "Device/a: no"));
        assert_eq!(told("Refused", "commit c0ffee: Device/a: away", true), of(State::Pending, "is tried again: Device/a: away"));
        assert_eq!(told("GitFailed", "commit c0ffee is not applied: unsigned", false), of(State::Failure, "is not applied: unsigned"));
        let gone = "there is no folder `x` in commit c0ffee";
        assert_eq!(told("GitFailed", gone, false), of(State::Failure, gone));
        for nothing in ["Suspended", "NoSecret", "NoAccount", "Reading"] {
            assert_eq!(told(nothing, "whatever", false), None);
        }
    }
}
