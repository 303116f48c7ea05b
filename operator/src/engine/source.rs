//! Where desired state comes from: a plain folder or a Git repository, looked at again and again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use manifests::finding::Finding;
use manifests::folder;
use manifests::git::{Fetched, Source};
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

/// Looks at the origin on an interval, or when asked, and tells what is new.
pub(crate) async fn follow(origin: Origin, in_force: Option<Revision>, interval: Duration, ask: Arc<Notify>, events: mpsc::Sender<Event>) {
    let mut reader = Reader::default();
    let mut known = None;
    // What was in force before a restart is in force again before anything newer is looked at.
    if let (Origin::Git(source), Some(in_force)) = (&origin, in_force) {
        match source.at(&in_force.commit).await {
            Ok(fetched) => match read(source, &mut reader, fetched).await {
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
        let event = match look(&origin, &mut reader, known.as_deref()).await {
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

async fn look(origin: &Origin, reader: &mut Reader, known: Option<&str>) -> Result<Option<Candidate>, String> {
    match origin {
        Origin::Folder(path) => {
            let path = path.clone();
            let mut taken = std::mem::take(reader);
            let known = known.map(str::to_owned);
            let (taken, candidate) = tokio::task::spawn_blocking(move || {
                let candidate = look_folder(&path, &mut taken, known.as_deref());
                (taken, candidate)
            })
            .await
            .map_err(|error| error.to_string())?;
            *reader = taken;
            candidate
        }
        Origin::Git(source) => match source.poll(known).await.map_err(|error| error.to_string())? {
            None => Ok(None),
            Some(fetched) => read(source, reader, fetched).await.map(Some),
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

async fn read(source: &Source, reader: &mut Reader, fetched: Fetched) -> Result<Candidate, String> {
    // Which blobs are new is found by a dry run that reads nothing.
    let mut wanted = BTreeMap::new();
    let taken = std::mem::take(reader);
    taken.missing(&fetched.tree, |path, id| {
        wanted.insert(path.to_owned(), id.to_owned());
    });
    let contents = match source.blobs(wanted.into_values().collect()).await {
        Ok(contents) => contents,
        Err(error) => {
            *reader = taken;
            return Err(error.to_string());
        }
    };
    let (taken, candidate) = tokio::task::spawn_blocking(move || {
        let mut taken = taken;
        let read = taken.update(&fetched.tree, |path, id| contents.get(id).cloned().ok_or_else(|| format!("{path}: blob {id} is missing")));
        tracing::info!(commit = fetched.revision.commit, files = fetched.tree.len(), read, forced = fetched.forced, "read a commit");
        let forced = fetched.forced;
        let (desired, mut findings) = manifests::build(&taken, fetched.revision);
        findings.extend(fetched.skipped.into_iter().map(|(path, why)| manifests::finding::Finding::skipped(&path, &why)));
        (taken, Candidate { desired, findings, forced })
    })
    .await
    .map_err(|error| error.to_string())?;
    *reader = taken;
    Ok(candidate)
}
