//! Where desired state comes from: a plain folder or a Git repository, looked at again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cluster::Cluster;
use crds::Object;
use manifests::core_object::{Core, CoreFile};
use manifests::edit::FileChange;
use manifests::finding::Finding;
use manifests::folder;
use manifests::git::{self, Entry, Fetched, Follow, Source};
use manifests::read::Reader;
use reconcile::content::Digest;
use reconcile::finding::Severity;
use reconcile::{Changed, Desired, Key, Name, Revision};
use tokio::sync::{mpsc, oneshot};

use super::Event;
use super::governing::Governing;

/// A revision that was read, and may come in force.
pub(crate) struct Candidate {
    pub(crate) desired: Arc<Desired>,
    /// What it changed since the candidate before it, or since nothing.
    pub(crate) changed: Changed,
    pub(crate) findings: Vec<Wrong>,
    pub(crate) forced: bool,
    /// The objects that are otherwise than before, or whose faults are, where their state is reported one by one.
    pub(crate) told: Vec<Key>,
    /// Devices that somebody asks to be looked at now.
    pub(crate) requested: Vec<Name>,
}

/// Something that is wrong in a revision.
pub(crate) struct Wrong {
    pub(crate) severity: Severity,
    /// Where, and what, in one line.
    pub(crate) text: String,
}

impl Wrong {
    fn in_file(finding: &Finding) -> Self {
        let Finding { file, line, column, severity, message, .. } = finding;
        Self { severity: *severity, text: format!("{file}:{line}:{column}: {}: {message}", severity.word()) }
    }
}

impl Candidate {
    pub(super) fn new(desired: Arc<Desired>, changed: Changed, findings: Vec<Wrong>) -> Self {
        Self { desired, changed, findings, forced: false, told: Vec::new(), requested: Vec::new() }
    }
}

/// A plain folder, a Git repository, or the objects of a cluster.
pub(crate) enum Origin {
    Folder(PathBuf),
    Git(Source),
    Cluster(Arc<Cluster>, Arc<Governing>),
}

impl Origin {
    /// The URL or folder, without credentials.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Folder(path) => path.display().to_string(),
            Self::Git(source) => source.url(),
            Self::Cluster(..) => api::view::KUBERNETES.into(),
        }
    }
}

/// Looks at the origin on an interval, or when asked, and tells what is new.
pub(crate) async fn follow(
    origin: Origin,
    mut in_force: Option<Revision>,
    interval: Duration,
    mut wishes: mpsc::Receiver<Wish>,
    events: mpsc::Sender<Event>,
) {
    let mut reading = Reading::default();
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            wish = wishes.recv() => match wish {
                None | Some(Wish::Look) => {}
                Some(Wish::Preview(reference, reply)) => {
                    let _ = reply.send(reading.preview(&origin, &reference).await.map(|(candidate, _)| candidate));
                    continue;
                }
                Some(Wish::Reading(reply)) => {
                    let is_read = reading.is_read() && in_force.is_none();
                    let _ = reply.send(if is_read { Ok(reading.clone()) } else { Err("the source has not been read yet".into()) });
                    continue;
                }
            }
        }
        // What was in force before a restart is in force again before anything newer is looked at: it's what that is measured by.
        if let (Origin::Git(source), Some(before)) = (&origin, &in_force) {
            let event = match reading.restore(source, &before.commit).await {
                Ok(Some(candidate)) => Event::InForce(Box::new(candidate)),
                Ok(None) => Event::Lost(before.commit.clone()),
                Err(error) => {
                    tracing::warn!(%error, commit = before.commit, "the commit in force can't be read again yet");
                    Event::SourceFailed(error)
                }
            };
            let again = matches!(event, Event::SourceFailed(_));
            if events.send(event).await.is_err() {
                return;
            }
            if again {
                continue;
            }
            in_force = None;
        }
        let event = match reading.look(&origin).await {
            Ok(None) => Event::Unchanged,
            Ok(Some(candidate)) => Event::Candidate(Box::new(candidate)),
            Err(error) => Event::SourceFailed(error),
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
}

/// What the source is asked for.
pub(crate) enum Wish {
    /// To be looked at now.
    Look,
    /// What another branch, tag or commit says, without applying it.
    Preview(String, oneshot::Sender<Result<Candidate, String>>),
    /// What was read last.
    Reading(oneshot::Sender<Result<Reading, String>>),
}

/// Contents of blobs, by their ids.
type Contents = BTreeMap<String, Vec<u8>>;

/// What has been read so far: the next revision is read by what it changed.
#[derive(Clone, Default)]
pub(crate) struct Reading {
    /// Also in the hands of those that judge it, for as long as that takes.
    reader: Arc<Reader>,
    desired: Arc<Desired>,
    /// The commit that the last look found and that can't be taken, whatever it says.
    refused: Option<String>,
}

impl Reading {
    /// One whose objects are in this namespace where they name none.
    pub(super) fn in_namespace(namespace: &str) -> Self {
        Self { reader: Arc::new(Reader::in_namespace(namespace)), ..Self::default() }
    }

    /// One that reads ConfigMaps and Secrets of these kinds too.
    pub(super) fn with_core(mut self, kinds: &[crds::CoreKind]) -> Self {
        if !kinds.is_empty() {
            self.reader = Arc::new(Arc::unwrap_or_clone(self.reader).with_core(Core::Applied(kinds.iter().copied().collect())));
        }
        self
    }

    /// The files with ConfigMaps and Secrets.
    pub(super) fn core(&self) -> Vec<Arc<CoreFile>> {
        self.reader.core().cloned().collect()
    }

    /// Why what was read may not be all that is meant, if so.
    pub(super) fn fault(&self) -> Option<String> {
        self.reader.fault().map(|finding| Wrong::in_file(finding).text)
    }

    /// The objects of it.
    pub(super) fn objects(&self) -> &BTreeMap<Key, Arc<Object>> {
        self.reader.objects()
    }

    /// What was read, with the files that define it.
    pub(super) fn reader(&self) -> &Arc<Reader> {
        &self.reader
    }

    /// Whether anything is known: otherwise that nothing is there says nothing.
    pub(super) fn is_read(&self) -> bool {
        self.known().is_some()
    }

    /// The commit that the last look found and that can't be taken: it is not signed, or has too much in it.
    pub(super) fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// The commit that was read last, with who wrote and signed it.
    pub(super) fn revision(&self) -> &Revision {
        &self.desired.revision
    }

    /// The commit that was read last.
    pub(super) fn known(&self) -> Option<&str> {
        Some(self.desired.revision.commit.as_str()).filter(|commit| !commit.is_empty())
    }

    /// The commit that was in force, from the cache or, if that was lost, fetched with what came after it. `None`: it can't come in
    /// force again, and asking again would not help: the repository does not lead to it any more, no key counts that signed it, it does
    /// not have the folder. That must not keep away what was committed since.
    pub(super) async fn restore(&mut self, source: &Source, commit: &str) -> Result<Option<Candidate>, String> {
        let mut whole = self.whole(source, commit).await;
        if let Err(error @ (git::Error::NotCached(_) | git::Error::Damaged { .. })) = &whole {
            tracing::info!(%error, "the commit in force is fetched again");
            match source.poll(None).await {
                // A head that is not applied is in the cache too.
                Ok(_) => {}
                Err(error) if error.is_about_commit() => {}
                Err(error) => return Err(error.to_string()),
            }
            whole = self.whole(source, commit).await;
        }
        match whole {
            Ok((fetched, contents)) => self.take(fetched, contents).await.map(Some),
            Err(error) if error.is_about_commit() => {
                tracing::warn!(%error, "what was in force is not put in force again");
                Ok(None)
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// A commit that was fetched before, with the contents that are not known yet.
    async fn whole(&self, source: &Source, commit: &str) -> Result<(Fetched, Contents), git::Error> {
        let fetched = source.at(commit).await?;
        let contents = self.contents(source, &fetched).await?;
        Ok((fetched, contents))
    }

    pub(super) async fn look(&mut self, origin: &Origin) -> Result<Option<Candidate>, String> {
        match origin {
            Origin::Folder(path) => self.folder(path).await,
            Origin::Cluster(..) => Ok(None),
            Origin::Git(source) => {
                let polled = source.poll(self.known()).await;
                self.refused = polled.as_ref().err().and_then(git::Error::commit).map(str::to_owned);
                match polled.map_err(|error| error.to_string())? {
                    None => Ok(None),
                    Some(fetched) => self.fetched(source, fetched).await.map(Some),
                }
            }
        }
    }

    /// A branch, a tag or a commit, read beside what was read so far; with all that would have been read then.
    pub(super) async fn preview(&self, origin: &Origin, reference: &str) -> Result<(Candidate, Self), String> {
        let Origin::Git(source) = origin else { return Err("a plain folder has no other revisions".into()) };
        let mut tries = vec![Follow::Branch(reference.to_owned()), Follow::Tag(reference.to_owned())];
        if reference.len() == 40 && reference.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            tries = vec![Follow::Commit(reference.to_owned())];
        }
        let mut first = None;
        for follow in tries {
            let looked = match source.aside(follow) {
                Ok(aside) => aside.poll(self.known()).await.map(|fetched| (aside, fetched)),
                Err(error) => Err(error),
            };
            match looked {
                Ok((_, None)) => {
                    let (desired, changed) = (self.desired.clone(), Changed::default());
                    return Ok((Candidate::new(desired, changed, Vec::new()), self.clone()));
                }
                Ok((aside, Some(fetched))) => {
                    let mut next = self.clone();
                    let candidate = next.fetched(&aside, fetched).await?;
                    return Ok((candidate, next));
                }
                Err(error) => first = first.or(Some(error.to_string())),
            }
        }
        Err(first.unwrap_or_default())
    }

    /// The same with what the folder has now.
    pub(super) async fn looked_at_folder(mut self, root: &Path) -> Result<Self, String> {
        self.folder(root).await.map(|_| self)
    }

    /// The same with what the branch that is followed has now.
    pub(super) async fn looked_at_git(mut self, source: &Source) -> Result<Self, String> {
        if let Some(fetched) = source.poll(self.known()).await.map_err(|error| error.to_string())? {
            self.fetched(source, fetched).await?;
        }
        Ok(self)
    }

    /// The same with what another branch has now; `None`: there is none of that name.
    pub(super) async fn on_branch(&self, source: &Source, branch: &str) -> Result<Option<Self>, String> {
        let aside = source.aside(Follow::Branch(branch.to_owned())).map_err(|error| error.to_string())?;
        let mut next = self.clone();
        match aside.poll(self.known()).await {
            Ok(None) => Ok(Some(next)),
            Ok(Some(fetched)) => next.fetched(&aside, fetched).await.map(|_| Some(next)),
            Err(git::Error::NoReference { .. }) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    /// What would be with a file as it is to become.
    pub(super) async fn tried(&self, change: &FileChange) -> Result<Tried, String> {
        let (read, before, change) = (self.reader.clone(), self.desired.clone(), change.clone());
        let work = move || {
            let entry = change.after.as_ref().map_or(Entry::Gone, |text| Entry::Blob(Digest::of(text.as_bytes()).short().to_owned()));
            let mut reader = Reader::clone(&read);
            let changed = BTreeMap::from([(change.path, entry)]);
            let text = change.after.unwrap_or_default();
            let (changes, _) = reader.update(&changed, false, |_, _| Ok(text.clone().into_bytes()));
            let known: BTreeSet<_> = manifests::findings(&read, &before).iter().map(what).collect();
            let (_, _, findings) = manifests::update(&reader, changes, &before, before.revision.clone());
            Tried { findings: findings.into_iter().filter(|finding| !known.contains(&what(finding))).collect(), objects: reader }
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())
    }

    async fn folder(&mut self, path: &Path) -> Result<Option<Candidate>, String> {
        let root = path.to_owned();
        let tree = tokio::task::spawn_blocking(move || folder::list(&root)).await.map_err(|error| error.to_string())??;
        let commit = format!("working-tree-{}", Digest::of(format!("{tree:?}").as_bytes()).short());
        if self.known() == Some(commit.as_str()) {
            return Ok(None);
        }
        let revision = Revision { commit, author: "working tree".into(), ..Revision::default() };
        let root = path.to_owned();
        self.read(tree, true, revision, move |file, _| folder::read(&root, file)).await.map(Some)
    }

    async fn fetched(&mut self, source: &Source, fetched: Fetched) -> Result<Candidate, String> {
        let contents = self.contents(source, &fetched).await.map_err(|error| error.to_string())?;
        self.take(fetched, contents).await
    }

    async fn contents(&self, source: &Source, fetched: &Fetched) -> Result<Contents, git::Error> {
        let wanted = self.reader.missing(&fetched.changed).map(str::to_owned).collect();
        source.blobs(wanted).await
    }

    async fn take(&mut self, fetched: Fetched, contents: Contents) -> Result<Candidate, String> {
        let forced = fetched.forced;
        let read = move |path: &str, id: &str| contents.get(id).cloned().ok_or_else(|| format!("{path}: blob {id} is missing"));
        let candidate = self.read(fetched.changed, fetched.whole, fetched.revision, read).await?;
        Ok(Candidate { forced, ..candidate })
    }

    async fn read(
        &mut self,
        changed: BTreeMap<String, Entry>,
        whole: bool,
        revision: Revision,
        read: impl FnMut(&str, &str) -> Result<Vec<u8>, String> + Send + 'static,
    ) -> Result<Candidate, String> {
        let anew = Arc::new(self.reader.anew());
        // Should reading end by a fault of ours, nothing is known, and all is read anew.
        let mut reader = std::mem::replace(&mut self.reader, anew);
        let before = std::mem::take(&mut self.desired);
        let work = move || {
            let (changes, files) = Arc::make_mut(&mut reader).update(&changed, whole, read);
            tracing::info!(commit = revision.commit, changed = changed.len(), files, objects = changes.len(), "read a commit");
            let told = changes.iter().map(|(key, _)| key.clone()).collect();
            let (desired, changed, findings) = manifests::update(&reader, changes, &before, revision);
            let findings = findings.iter().map(Wrong::in_file).collect();
            (reader, Candidate { told, ..Candidate::new(Arc::new(desired), changed, findings) })
        };
        let (reader, candidate) = tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?;
        (self.reader, self.desired) = (reader, candidate.desired.clone());
        Ok(candidate)
    }
}

/// What would be after a change.
pub(super) struct Tried {
    /// What would be wrong that is not wrong before.
    pub(super) findings: Vec<Finding>,
    objects: Reader,
}

impl Tried {
    /// An object as it would be.
    pub(super) fn object(&self, key: &Key) -> Option<&Arc<Object>> {
        self.objects.objects().get(key)
    }
}

/// What a finding says, wherever in its file that stands.
fn what(finding: &Finding) -> (String, String, String, String) {
    let Finding { code, object, path, message, .. } = finding;
    (code.clone(), object.clone(), path.clone(), message.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise whoever prunes by what was read would take it that everything is gone.
    #[tokio::test]
    async fn a_fault_of_ours_while_reading_leaves_nothing_known_and_the_next_look_reads_all() {
        let text = "apiVersion: evenkeel.dev/v1alpha1\nkind: Device\nmetadata: {name: web}\nspec: {type: Server, address: 10.0.0.1}\n";
        let tree = |id: &str| BTreeMap::from([("a.yaml".to_owned(), Entry::Blob(id.into()))]);
        let revision = |commit: &str| Revision { commit: commit.into(), ..Revision::default() };
        let mut reading = Reading::in_namespace("fleet");
        reading.read(tree("1"), true, revision("c1"), move |_, _| Ok(text.into())).await.unwrap();
        assert!(reading.is_read() && reading.objects().len() == 1);
        assert!(reading.read(tree("2"), false, revision("c2"), |_, _| panic!("ours")).await.is_err());
        assert!(!reading.is_read() && reading.objects().is_empty());
        reading.read(tree("3"), true, revision("c3"), move |_, _| Ok(text.into())).await.unwrap();
        assert_eq!(reading.objects().keys().next(), Some(&(crds::Kind::Device, Name::new("fleet", "web"))));
    }
}
