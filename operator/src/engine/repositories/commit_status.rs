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
use super::Shared;
use super::verdict::Verdict;

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

    pub(super) fn put(&self, report: &Report) {
        self.newest.send_if_modified(|before| before.replace(report.clone()).as_ref() != Some(report));
    }
}

/// What there is to tell of a commit.
pub(super) fn report(commit: &str, verdict: &Verdict) -> Option<Report> {
    let message = verdict.message.as_str();
    let said = message.strip_prefix("commit ").and_then(|said| said.split_once([' ', ':'])).map_or(message, |(_, said)| said.trim());
    let (state, description) = match verdict.reason {
        // What others have changed since is not about the commit.
        "Applied" | "Drifted" => (State::Success, format!("applied: {}", said.split(';').next().unwrap_or_default())),
        "Progressing" => (State::Pending, format!("applied, and not ready yet: {}", said.split(';').next().unwrap_or_default())),
        "WaitsForApproval" => (State::Pending, format!("waits for approval: {said}")),
        "NotWritten" => (State::Pending, format!("is tried again: {said}")),
        "Refused" | "Denied" | "InvalidManifest" | "GitFailed" | "HealthCheckFailed" => (State::Failure, said.to_owned()),
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

/// Tells the newest report, again and again until it is told or has been tried often enough. What is in the way is said once.
async fn deliver<Telling: Future<Output = Result<(), Error>>>(
    mut waiting: watch::Receiver<Option<Report>>,
    tell: impl Fn(Report) -> Telling,
    say: impl Fn(&Report, &str),
) {
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
            let Err(error) = tell(report.clone()).await else {
                told = Some(report);
                count += 1;
                break;
            };
            if problem != error.to_string() {
                problem = error.to_string();
                say(&report, &problem);
            }
            tokio::time::sleep(pause.max(error.after.unwrap_or_default())).await;
            pause = (pause * 2).min(LAST);
        }
        tokio::time::sleep(GAP).await;
    }
}

impl Telling {
    async fn run(self, waiting: watch::Receiver<Option<Report>>) {
        let telling = &self;
        let say = |report: &Report, error: &str| {
            tracing::warn!(repository = %telling.name, commit = report.commit, error, "the status of a commit is not told yet");
            let note = format!("the status of a commit is not told: {error}");
            telling.shared.happened(&telling.name, "CommitStatusFailed", note, true);
        };
        deliver(waiting, |report| async move { telling.tell(&report).await }, say).await;
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
    use std::sync::Mutex;

    use super::*;

    fn told(reason: &'static str, message: &str) -> Option<(State, String)> {
        let verdict = Verdict { is_ready: false, reason, message: message.into() };
        report("c0ffee", &verdict).map(|report| (report.state, report.description))
    }

    #[test]
    fn what_is_told_of_a_commit_is_what_the_repository_says_of_it() {
        let of = |state, text: &str| Some((state, text.to_owned()));
        let drifted = "commit c0ffee: 4 objects; device/fleet/d-1 was changed by somebody else";
        assert_eq!(told("Applied", "commit c0ffee: 4 objects"), of(State::Success, "applied: 4 objects"));
        assert_eq!(told("Drifted", drifted), of(State::Success, "applied: 4 objects"));
        let waits = told("WaitsForApproval", "commit c0ffee deletes 2 devices, more than 0; to let it through: kubectl x");
        assert_eq!(waits, of(State::Pending, "waits for approval: deletes 2 devices, more than 0; to let it through: kubectl x"));
        assert_eq!(told("Refused", "commit c0ffee: Device/a: no"), of(State::Failure, "Device/a: no"));
        assert_eq!(told("Denied", "commit c0ffee: Device/a: no Role"), of(State::Failure, "Device/a: no Role"));
        assert_eq!(told("NotWritten", "commit c0ffee: Device/a: away"), of(State::Pending, "is tried again: Device/a: away"));
        assert_eq!(told("GitFailed", "commit c0ffee is not applied: unsigned"), of(State::Failure, "is not applied: unsigned"));
        let gone = "there is no folder `x` in commit c0ffee";
        assert_eq!(told("GitFailed", gone), of(State::Failure, gone));
        for nothing in ["Suspended", "NoSecret", "NoAccount", "Reading"] {
            assert_eq!(told(nothing, "whatever"), None);
        }
    }

    /// What a server was told, and what was said of it, while it answers like this; each report is put after the one before was seen to.
    async fn delivered(reports: &[&str], answers: &[Result<(), &str>]) -> (Vec<String>, Vec<String>) {
        let (told, said) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        let (sender, waiting) = watch::channel(None);
        let tell = |report: Report| {
            let mut told = told.lock().unwrap();
            let answer = answers.get(told.len()).copied().unwrap_or(Ok(()));
            told.push(report.description);
            async move { answer.map_err(|error| Error::from(error.to_owned())) }
        };
        let put = async {
            for text in reports {
                let report = Report { commit: "c0ffee".into(), state: State::Success, description: (*text).to_owned() };
                sender.send_replace(Some(report));
                if *text != "at once" {
                    tokio::time::sleep(Duration::from_secs(7200)).await;
                }
            }
            drop(sender);
        };
        tokio::join!(deliver(waiting, tell, |_, error| said.lock().unwrap().push(error.to_owned())), put);
        (told.into_inner().unwrap(), said.into_inner().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_newest_is_told_and_only_what_is_new() {
        assert_eq!(delivered(&["at once", "b", "b"], &[]).await.0, ["b"]);
        assert_eq!(delivered(&["a", "b", "a"], &[]).await.0, ["a", "b", "a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_can_not_be_told_is_tried_again_within_bounds_and_said_once() {
        let (told, said) = delivered(&["a"], &[Err("away"), Err("away"), Err("busy")]).await;
        assert_eq!((told.len(), said), (4, vec!["away".to_owned(), "busy".to_owned()]));
        let (told, said) = delivered(&["a", "b"], &[Err("away"); 15]).await;
        assert_eq!(told.iter().filter(|told| *told == "a").count(), TRIES);
        assert_eq!((told.last().map(String::as_str), told.len(), said.len()), (Some("b"), 16, 2), "the next one is tried anew");
        let many: Vec<String> = (0..REPORTS + 5).map(|number| number.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(delivered(&many, &[]).await.0.len(), REPORTS);
    }
}
