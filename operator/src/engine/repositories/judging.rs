//! Role on commits: what of a Repository's newest commit its signers may change (`spec.verify.roles`).
//!
//! It is measured by the last commit of which everything was in force; that alone is remembered, in the Repository's status, so that a
//! process that begins anew denies what its predecessor denied.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use manifests::git::{Answers, Source};
use reconcile::access::Who;
use reconcile::access::commit::{Answering, Judged, Objects, judge};
use reconcile::{Changed, Desired, Key, Name, Revision};

use super::super::source::Reading;

/// The last commit of which everything was in force.
#[derive(Default)]
struct Base {
    commit: Option<String>,
    objects: Objects,
    homes: BTreeMap<Key, String>,
}

/// What was judged last.
struct Last {
    /// The commit that it is about, and what there was in the cluster.
    head: String,
    there: Arc<Desired>,
    judged: Judged,
    /// What it comes to.
    desired: Arc<Desired>,
    changed: Changed,
}

/// Judges for one Repository.
#[derive(Default)]
pub(super) struct Judging {
    base: Base,
    answers: Option<(String, Answers)>,
    last: Option<Last>,
    /// What was brought into the cluster last.
    in_place: Objects,
}

impl Judging {
    /// What is read now was in force, all of it.
    pub(super) fn all_in_force(&mut self, reading: &Reading) {
        let objects = reading.objects().clone();
        self.base = Base { commit: reading.known().map(str::to_owned), objects: objects.clone(), homes: reading.homes() };
        self.in_place = objects;
        self.last = None;
    }

    /// What was judged is in force, but for what was denied. Returns whether nothing was.
    pub(super) fn in_force(&mut self, reading: &Reading) -> bool {
        let Some(last) = &mut self.last else { return true };
        if last.judged.denied.is_empty() {
            self.all_in_force(reading);
            return true;
        }
        self.in_place.clone_from(&last.judged.objects);
        last.changed = Changed::default();
        false
    }

    /// Judges what is read now, if that or the cluster is otherwise than the last time. An error is what Git could not tell.
    pub(super) async fn look(
        &mut self,
        name: &Name,
        (reading, source): (&Reading, &Source),
        there: Arc<Desired>,
        applied: Option<&Arc<Desired>>,
    ) -> Result<(), String> {
        let Some(head) = reading.known().map(str::to_owned) else { return Ok(()) };
        if self.base.commit.as_ref() == Some(&head)
            || self.last.as_ref().is_some_and(|last| last.head == head && Arc::ptr_eq(&last.there, &there))
        {
            return Ok(());
        }
        if self.answers.as_ref().is_none_or(|(of, _)| *of != head) {
            let answers = source.answers(&head, self.base.commit.as_deref()).await.map_err(|error| error.to_string())?;
            let answers = answers.ok_or("spec.verify.roles: nobody is asked for a signature")?;
            self.answers = Some((head.clone(), answers));
        }
        let Some((_, answers)) = &self.answers else { return Ok(()) };
        let answers = |key: &Key| {
            let now = reading.place(key).map(|(file, _)| file);
            let files = [now.as_deref(), self.base.homes.get(key).map(String::as_str)];
            let signers = answers.of(files.into_iter().flatten());
            signers
                .into_iter()
                .map(|signer| Answering {
                    who: Who::signed(&signer.keys),
                    shown: format!("{} (commit {})", signer.who, short(&signer.commit)),
                })
                .collect()
        };
        let mut judged = judge(name.namespace(), &there, &self.base.objects, reading.objects(), answers);
        for (key, why) in &mut judged.denied {
            let place = match (reading.place(key), self.base.homes.get(key)) {
                (Some((file, line)), _) => format!("{file}:{line}"),
                (None, Some(file)) => file.clone(),
                (None, None) => continue,
            };
            *why = format!("{place}: {why}");
        }
        let differs: BTreeSet<&Key> =
            self.in_place.keys().chain(judged.objects.keys()).filter(|key| self.in_place.get(*key) != judged.objects.get(*key)).collect();
        let changes: Vec<_> = differs.into_iter().map(|key| (key.clone(), judged.objects.get(key).cloned())).collect();
        let revision = Revision { commit: head.clone(), author: reading.author().to_owned(), ..Revision::default() };
        let before = applied.cloned().unwrap_or_default();
        let (desired, changed) = before.update(changes, revision);
        self.last = Some(Last { head, there, judged, desired: Arc::new(desired), changed });
        Ok(())
    }

    /// The objects as they may be.
    pub(super) fn objects(&self) -> &Objects {
        self.last.as_ref().map_or(&self.base.objects, |last| &last.judged.objects)
    }

    /// What that comes to, and what it changes; `None`: everything is in force.
    pub(super) fn desired(&self) -> Option<(&Arc<Desired>, &Changed)> {
        self.last.as_ref().map(|last| (&last.desired, &last.changed))
    }

    /// What was denied, and why.
    pub(super) fn denied(&self) -> impl Iterator<Item = (&Key, &String)> {
        self.last.iter().flat_map(|last| &last.judged.denied)
    }
}

fn short(commit: &str) -> &str {
    &commit[..commit.len().min(12)]
}
