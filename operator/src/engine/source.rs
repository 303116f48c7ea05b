//! Where desired state comes from: a plain folder or a Git repository, looked at again and again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use manifests::finding::Finding;
use manifests::folder;
use manifests::git::{Entry, Fetched, Source};
use manifests::read::Reader;
use reconcile::content::Digest;
use reconcile::{Desired, Revision};
use tokio::sync::{Notify, mpsc};

use super::Event;

/// A revision that was read, and may come in force.
pub(crate) struct Candidate {
    pub(crate) desired: Desired,
    pub(crate) findings: Vec<Finding>,
    pub(crate) forced: bool,
}

/// A plain folder or a Git repository.
pub(crate) enum Origin {
    Folder(PathBuf),
    Git(Source),
}

impl Origin {
    /// The URL or folder, without credentials.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Folder(path) => path.display().to_string(),
            Self::Git(source) => source.url(),
        }
    }
}

/// What was read so far.
#[derive(Default)]
struct Known {
    reader: Reader,
    /// Blob ids by path.
    tree: BTreeMap<String, String>,
    /// What is left out, and why.
    left: BTreeMap<String, String>,
}

impl Known {
    fn apply(&mut self, fetched: &Fetched) {
        if fetched.whole {
            (self.tree, self.left) = Default::default();
        }
        for (path, entry) in &fetched.changed {
            self.tree.remove(path);
            self.left.remove(path);
            match entry {
                Entry::Blob(id) => _ = self.tree.insert(path.clone(), id.clone()),
                Entry::Left(why) => _ = self.left.insert(path.clone(), why.clone()),
                Entry::Gone => {}
            }
        }
    }
}

/// Looks at the origin on an interval, or when asked, and tells what is new.
pub(crate) async fn follow(origin: Origin, in_force: Option<Revision>, interval: Duration, ask: Arc<Notify>, events: mpsc::Sender<Event>) {
    let mut state = Known::default();
    let mut known = None;
    // What was in force before a restart is in force again before anything newer is looked at.
    if let (Origin::Git(source), Some(in_force)) = (&origin, in_force) {
        match source.at(&in_force.commit).await {
            Ok(fetched) => match read(source, &mut state, fetched).await {
                Ok(candidate) => {
                    known = Some(candidate.desired.revision.commit.clone());
                    if events.send(Event::InForce(Box::new(candidate))).await.is_err() {
                        return;
                    }
                }
                Err(error) => tracing::warn!(%error, commit = in_force.commit, "the commit in force could not be read again"),
            },
            Err(error) => tracing::warn!(%error, commit = in_force.commit, "the commit in force is not in the cache any more"),
        }
    }
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = ask.notified() => {}
        }
        let event = match look(&origin, &mut state, known.as_deref()).await {
            Ok(None) => Event::Unchanged,
            Ok(Some(candidate)) => {
                known = Some(candidate.desired.revision.commit.clone());
                Event::Candidate(Box::new(candidate))
            }
            Err(error) => Event::SourceFailed(error),
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
}

async fn look(origin: &Origin, state: &mut Known, known: Option<&str>) -> Result<Option<Candidate>, String> {
    match origin {
        Origin::Folder(path) => {
            let path = path.clone();
            let mut taken = std::mem::take(&mut state.reader);
            let known = known.map(str::to_owned);
            let (taken, candidate) = tokio::task::spawn_blocking(move || {
                let candidate = look_folder(&path, &mut taken, known.as_deref());
                (taken, candidate)
            })
            .await
            .map_err(|error| error.to_string())?;
            state.reader = taken;
            candidate
        }
        Origin::Git(source) => match source.poll(known).await.map_err(|error| error.to_string())? {
            None => Ok(None),
            Some(fetched) => read(source, state, fetched).await.map(Some),
        },
    }
}

fn look_folder(path: &Path, reader: &mut Reader, known: Option<&str>) -> Result<Option<Candidate>, String> {
    let tree = folder::list(path)?;
    let commit = format!("working-tree-{}", Digest::of_json(&tree).short());
    if known == Some(commit.as_str()) {
        return Ok(None);
    }
    reader.update(&tree, |file, _| folder::read(path, file));
    let revision = Revision { commit, author: "working tree".into(), ..Revision::default() };
    let (desired, findings) = manifests::build(reader, revision);
    Ok(Some(Candidate { desired, findings, forced: false }))
}

async fn read(source: &Source, state: &mut Known, fetched: Fetched) -> Result<Candidate, String> {
    let before = (state.tree.clone(), state.left.clone());
    state.apply(&fetched);
    // Which blobs are new is found by a dry run that reads nothing.
    let mut wanted = BTreeMap::new();
    state.reader.missing(&state.tree, |path, id| {
        wanted.insert(path.to_owned(), id.to_owned());
    });
    let contents = match source.blobs(wanted.into_values().collect()).await {
        Ok(contents) => contents,
        Err(error) => {
            (state.tree, state.left) = before;
            return Err(error.to_string());
        }
    };
    let mut taken = std::mem::take(state);
    let (taken, candidate) = tokio::task::spawn_blocking(move || {
        let read = |path: &str, id: &str| contents.get(id).cloned().ok_or_else(|| format!("{path}: blob {id} is missing"));
        let read = taken.reader.update(&taken.tree, read);
        tracing::info!(commit = fetched.revision.commit, files = taken.tree.len(), read, forced = fetched.forced, "read a commit");
        let forced = fetched.forced;
        let (desired, mut findings) = manifests::build(&taken.reader, fetched.revision);
        findings.extend(taken.left.iter().take(100).map(|(path, why)| Finding::skipped(path, why)));
        (taken, Candidate { desired, findings, forced })
    })
    .await
    .map_err(|error| error.to_string())?;
    *state = taken;
    Ok(candidate)
}
