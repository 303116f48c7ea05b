//! Role on commits: what of a Repository's newest commit its signers may change (`spec.verify.roles`).
//!
//! It is measured by the commit that was judged last, as the cluster has it. That commit is remembered in the Repository's status; what was
//! denied of it, a process that begins anew sees by what the cluster has.

use std::collections::BTreeSet;
use std::sync::Arc;

use manifests::git::{Answers, Source};
use reconcile::access::commit::Objects;
use reconcile::content::Digest;
use reconcile::{Changed, Desired, Key, Name, Revision};

use super::super::source::Reading;
use super::base::{Base, is_same};

/// What waits for a person: the id to let it through by, the commit, and why.
pub(super) type Waits = (String, String, String);

/// A head, and the commit before it.
type Between = (String, Option<String>);

/// What was judged and is not in force yet.
struct Last {
    base: Arc<Base>,
    /// What it comes to.
    desired: Arc<Desired>,
    changed: Changed,
    /// The objects that it changes.
    touched: Vec<Key>,
}

/// Judges for one Repository.
#[derive(Default)]
pub(super) struct Judging {
    has_begun: bool,
    base: Arc<Base>,
    /// Of this head, since that commit.
    answers: Option<(Between, Arc<Answers>)>,
    /// A branch that was rewritten and let through nevertheless.
    let_through: Option<String>,
    /// The head that was judged last, and what there was in the cluster.
    seen: Option<(String, Arc<Desired>)>,
    last: Option<Last>,
}

impl Judging {
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Goes on from there.
    pub(super) fn begin(&mut self, base: Base) {
        *self = Self { has_begun: true, base: Arc::new(base), ..Self::default() };
    }

    /// What was judged is in force, but for what was denied.
    pub(super) fn in_force(&mut self) {
        if let Some(last) = self.last.take() {
            self.base = last.base;
        }
    }

    /// Judges what is read now, if that or the cluster is otherwise than the last time. An error is what Git could not tell; what comes
    /// back waits for a person, and nothing is judged until then.
    pub(super) async fn look(
        &mut self,
        name: &Name,
        (reading, source): (&Reading, &Source),
        there: Arc<Desired>,
        (applied, approved): (Option<&Arc<Desired>>, Option<&String>),
    ) -> Result<Option<Waits>, String> {
        let Some(head) = reading.known().map(str::to_owned) else { return Ok(None) };
        let is_base = self.base.commit.as_ref() == Some(&head);
        if is_base && self.base.denied.is_empty() {
            // What came between was withdrawn.
            (self.last, self.seen) = (None, None);
            return Ok(None);
        }
        if self.seen.as_ref().is_some_and(|(of, then)| *of == head && Arc::ptr_eq(then, &there)) {
            return Ok(None);
        }
        (self.last, self.seen) = (None, None);
        let answers = if is_base {
            Arc::new(Answers { follows: true, all: None, files: Default::default() })
        } else {
            self.ask(source, &head).await?
        };
        if let (false, Some(since)) = (answers.follows, &self.base.commit) {
            let id = Digest::of_json(&("rewritten", &head, since)).as_str()[..12].to_owned();
            if approved == Some(&id) {
                self.let_through = Some(id.clone());
            }
            if self.let_through.as_ref() != Some(&id) {
                let why = format!("does not follow commit {since}, which was judged last");
                return Ok(Some((id, head, why)));
            }
        }
        let Revision { author, signer, .. } = reading.revision().clone();
        let revision = Revision { commit: head.clone(), author, signer, ..Revision::default() };
        let (base, reader, before) = (self.base.clone(), reading.reader().clone(), applied.cloned().unwrap_or_default());
        let (namespace, newest) = (name.namespace().to_owned(), there.clone());
        let work = move || {
            let (next, touched) = base.next(&namespace, &revision.commit, &newest, &reader, &answers);
            let (desired, changed) = desired(&before, &next.objects, revision);
            Last { base: Arc::new(next), desired: Arc::new(desired), changed, touched }
        };
        self.last = Some(tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?);
        self.seen = Some((head, there));
        Ok(None)
    }

    /// Who answers for what came since the commit that was judged last.
    async fn ask(&mut self, source: &Source, head: &str) -> Result<Arc<Answers>, String> {
        let between = (head.to_owned(), self.base.commit.clone());
        if let Some((of, answers)) = &self.answers
            && *of == between
        {
            return Ok(answers.clone());
        }
        let answers = source.answers(head, between.1.as_deref()).await.map_err(|error| error.to_string())?;
        let answers = Arc::new(answers.ok_or("spec.verify.roles: nobody is asked for a signature")?);
        self.answers = Some((between, answers.clone()));
        Ok(answers)
    }

    fn newest(&self) -> &Base {
        self.last.as_ref().map_or(&self.base, |last| &last.base)
    }

    /// The objects as they may be.
    pub(super) fn objects(&self) -> &Objects {
        &self.newest().objects
    }

    /// Whether nothing is known of an object but that the cluster has it so.
    pub(super) fn is_live(&self, key: &Key) -> bool {
        self.newest().is_live(key)
    }

    /// What that comes to, and what it changes; `None`: everything is in force.
    pub(super) fn desired(&self) -> Option<(&Arc<Desired>, &Changed)> {
        self.last.as_ref().map(|last| (&last.desired, &last.changed))
    }

    /// The objects that were changed since this was asked last.
    pub(super) fn take_touched(&mut self) -> Vec<Key> {
        self.last.as_mut().map(|last| std::mem::take(&mut last.touched)).unwrap_or_default()
    }

    pub(super) fn is_denied(&self, key: &Key) -> bool {
        self.newest().denied.contains_key(key)
    }

    /// What was denied, and why.
    pub(super) fn denied(&self) -> impl Iterator<Item = (&Key, &String)> {
        self.newest().denied.iter()
    }
}

/// What is desired with these objects and no others, and what that changes.
pub(super) fn desired(before: &Desired, objects: &Objects, revision: Revision) -> (Desired, Changed) {
    let keys: BTreeSet<&Key> = before.objects.keys().chain(objects.keys()).collect();
    let differs = keys.into_iter().filter(|key| !is_same(before.objects.get(*key), objects.get(*key)));
    let changes: Vec<_> = differs.map(|key| (key.clone(), objects.get(key).cloned())).collect();
    before.update(changes, revision)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crds::{Kind, Object};
    use manifests::git::Options;
    use manifests::verify::Signer;
    use serde_json::json;

    use super::super::super::source::Origin;
    use super::*;

    /// A folder stands for a branch, its contents for a commit; who answers is given.
    struct World {
        folder: tempfile::TempDir,
        reading: Reading,
        judging: Judging,
        there: Arc<Desired>,
        name: Name,
    }

    impl World {
        async fn new() -> Self {
            let role = json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "Role", "metadata": {"name": "ann", "namespace": "fleet"},
                "spec": {"subjects": [{"signer": "ssh-ed25519 ANN"}], "allow": [{"verbs": ["edit"]}]}});
            let role = Arc::new(Object::from_value(Kind::Role, role).unwrap());
            let there = Arc::new(Desired::build([role], Revision::default()).0);
            let (folder, name) = (tempfile::tempdir().unwrap(), Name::new("fleet", "fleet"));
            let mut world = Self { folder, reading: Reading::in_namespace("fleet"), judging: Judging::default(), there, name };
            world.write("10.0.0.1").await;
            let reader = world.reading.reader().clone();
            let known = |(key, object): (&Key, &Arc<Object>)| {
                (key.clone(), cluster::Known { object: Some(Arc::new(super::super::base::placed(key, object))), ..Default::default() })
            };
            let there = reader.objects().iter().map(known).collect();
            world.judging.begin(Base::begin(&world.name, world.reading.known().map(str::to_owned), &reader, there, true));
            world
        }

        async fn write(&mut self, address: &str) {
            let head = "apiVersion: evenkeel.dev/v1alpha1\nkind: Device\nmetadata: {name: web}\n";
            std::fs::write(self.folder.path().join("web.yaml"), format!("{head}spec: {{type: Server, address: {address}}}\n")).unwrap();
            let origin = Origin::Folder(self.folder.path().to_owned());
            self.reading.look(&origin).await.unwrap();
        }

        async fn look(&mut self, follows: bool, approved: Option<&String>) -> Option<Waits> {
            let head = self.reading.known().unwrap().to_owned();
            let all = Some(Signer { who: "ann".into(), keys: vec!["ssh-ed25519 ANN".into()], commit: head.clone() });
            let answers = Answers { follows, all, files: Default::default() };
            self.judging.answers = Some(((head, self.judging.base.commit.clone()), Arc::new(answers)));
            let source = Source::new("/nowhere", Path::new("/nowhere"), Options::default()).unwrap();
            self.judging.look(&self.name, (&self.reading, &source), self.there.clone(), (None, approved)).await.unwrap()
        }

        fn address(&self) -> String {
            self.judging.objects().values().next().unwrap().to_value()["spec"]["address"].as_str().unwrap().to_owned()
        }
    }

    /// A head that did not come in force yet, as since it waited for approval, and is withdrawn, does not.
    #[tokio::test]
    async fn a_head_that_was_withdrawn_is_forgotten() {
        let mut world = World::new().await;
        world.write("10.0.0.2").await;
        assert_eq!(world.look(true, None).await, None);
        assert!(world.judging.desired().is_some() && world.address() == "10.0.0.2");
        world.write("10.0.0.1").await;
        assert_eq!(world.look(true, None).await, None);
        assert!(world.judging.desired().is_none() && world.address() == "10.0.0.1");
        // What came in force is what the next is measured by.
        world.write("10.0.0.2").await;
        assert_eq!(world.look(true, None).await, None);
        world.judging.in_force();
        assert!(world.judging.desired().is_none() && world.address() == "10.0.0.2");
    }

    #[tokio::test]
    async fn a_head_that_does_not_follow_waits_for_a_person() {
        let mut world = World::new().await;
        let before = world.reading.known().unwrap().to_owned();
        world.write("10.0.0.2").await;
        let (id, commit, why) = world.look(false, Some(&"another".to_owned())).await.unwrap();
        assert_eq!(
            (commit.as_str(), why),
            (world.reading.known().unwrap(), format!("does not follow commit {before}, which was judged last"))
        );
        assert!(world.judging.desired().is_none() && world.address() == "10.0.0.1");
        // The annotation may be needed for another approval then.
        assert_eq!(world.look(false, Some(&id)).await, None);
        assert!(world.judging.desired().is_some() && world.address() == "10.0.0.2");
        world.there = Arc::new((*world.there).clone());
        assert_eq!(world.look(false, None).await, None);
        world.judging.in_force();
        // The approval is of that step and no other.
        world.write("10.0.0.3").await;
        assert!(world.look(false, Some(&id)).await.is_some());
    }
}
