//! What was judged last, as it is in force, and what becomes of it by the next commit. It moves with every commit that is in force, also
//! where something of that was denied: otherwise others could undo, unjudged, what came in force beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cluster::Known;
use crds::{Kind, Object};
use manifests::git::Answers;
use manifests::read::Reader;
use manifests::verify::Signer;
use reconcile::access::Who;
use reconcile::access::commit::{Answering, Objects, judge};
use reconcile::{Desired, Key, Name};

/// What was judged last.
#[derive(Default)]
pub(super) struct Base {
    pub(super) commit: Option<String>,
    /// The objects as they may be: what was denied is as it was, or not there.
    pub(super) objects: Objects,
    /// What was denied, and why.
    pub(super) denied: BTreeMap<Key, String>,
    /// The file that defines each object; of what was denied, the one that did.
    homes: BTreeMap<Key, String>,
    /// By file, who answers for what was denied.
    answers: BTreeMap<String, Signer>,
    /// Objects that are as the cluster has them, since it is not known what commit they are from.
    live: BTreeMap<Key, Known>,
}

impl Base {
    /// For a process that begins anew: what the cluster has from a Repository, `there`. What a commit says that is not so there was denied,
    /// by whom is not known any more. `pruned`: whether what left Git goes.
    pub(super) fn begin(own: &Name, commit: Option<String>, reader: &Reader, there: Vec<(Key, Known)>, pruned: bool) -> Self {
        let mut base = Self { commit, ..Self::default() };
        for (key, known) in there {
            let Some(live) = known.object.clone().filter(|_| !known.deleting) else { continue };
            match reader.objects().get(&key) {
                Some(read) if known.is_just(&placed(&key, read)) => drop(base.objects.insert(key, read.clone())),
                // It stays whatever is said of it; elsewhere anybody could put something with our name on it.
                None if !pruned || !known.appliers.is_empty() || key.1.namespace() != own.namespace() => {}
                _ => {
                    base.objects.insert(key.clone(), live);
                    base.live.insert(key, known);
                }
            }
        }
        // A Repository does not apply itself.
        let own = (Kind::Repository, own.clone());
        if let Some(read) = reader.objects().get(&own) {
            base.objects.insert(own, read.clone());
        }
        base.homes = base.objects.keys().filter_map(|key| Some((key.clone(), reader.home(key)?.to_owned()))).collect();
        let keys = base.objects.keys().chain(reader.objects().keys());
        let denied = keys.filter(|key| !is_same(base.objects.get(*key), reader.objects().get(*key)));
        base.denied = denied.map(|key| (key.clone(), "it is not judged yet".to_owned())).collect();
        base
    }

    /// What becomes of it by a commit, and which objects that changes; `there` is what the cluster has before.
    pub(super) fn next(&self, namespace: &str, head: &str, there: &Desired, reader: &Reader, answers: &Answers) -> (Self, Vec<Key>) {
        let (mut old, mut new) = (self.objects.clone(), reader.objects().clone());
        // What can't be read is as it is, and not as it was read last: that may have been denied.
        let stalled: BTreeSet<&Key> = reader.stalled().map(|(key, _)| key).collect();
        for key in &stalled {
            match self.objects.get(*key) {
                Some(object) => drop(new.insert((*key).clone(), object.clone())),
                None => drop(new.remove(*key)),
            }
        }
        for (key, known) in &self.live {
            if let Some(read) = new.get(key).filter(|read| known.is_just(&placed(key, read))) {
                old.insert(key.clone(), read.clone());
            }
        }
        let mut judged = judge(namespace, there, &old, &new, |key| self.answering(key, reader, answers));
        for (key, why) in &mut judged.denied {
            let place = match (reader.home(key), self.homes.get(key)) {
                (Some(file), _) => format!("{file}:{}", reader.line(key)),
                (None, Some(file)) => file.clone(),
                (None, None) => continue,
            };
            *why = format!("{place}: {why}");
        }
        let home = |key: &Key| {
            let is_old = judged.denied.contains_key(key) || stalled.contains(key);
            let home = if is_old { self.homes.get(key).map(String::as_str) } else { reader.home(key) };
            Some((key.clone(), home?.to_owned()))
        };
        let concerned = judged.denied.keys().flat_map(|key| self.files(key, reader).into_iter().flatten().map(move |file| (key, file)));
        let concerned = concerned.filter_map(|(key, file)| Some((file.to_owned(), self.signer(key, file, answers)?.clone())));
        let is_live = |key: &Key, known: &Known| match (judged.objects.get(key), &known.object) {
            (Some(object), Some(live)) => Arc::ptr_eq(object, live),
            _ => false,
        };
        let live = self.live.iter().filter(|(key, known)| is_live(key, known));
        let next = Self {
            commit: Some(head.to_owned()),
            homes: judged.objects.keys().filter_map(home).collect(),
            answers: concerned.collect(),
            live: live.map(|(key, known)| (key.clone(), known.clone())).collect(),
            objects: judged.objects,
            denied: judged.denied,
        };
        let changed = differing(&old, &next.objects).cloned().collect();
        (next, changed)
    }

    /// Whether it is as the cluster has it and nothing else is known of it: then nobody can put it back.
    pub(super) fn is_live(&self, key: &Key) -> bool {
        self.live.contains_key(key)
    }

    /// The files that define an object, now and in force.
    fn files<'a>(&'a self, key: &Key, reader: &'a Reader) -> [Option<&'a str>; 2] {
        [reader.home(key), self.homes.get(key).map(String::as_str)]
    }

    /// Who answers for what a file says of an object: what was denied stays its signer's until somebody else touches the file.
    fn signer<'a>(&'a self, key: &Key, file: &str, answers: &'a Answers) -> Option<&'a Signer> {
        answers.of(file).or_else(|| self.answers.get(file).filter(|_| self.denied.contains_key(key)))
    }

    /// Who answers for what became of an object; each of them has to. Nobody: whoever brought it about did not sign it.
    fn answering(&self, key: &Key, reader: &Reader, answers: &Answers) -> Vec<Answering> {
        let files = self.files(key, reader);
        let mut signers: Vec<&Signer> = files.iter().flatten().filter_map(|file| self.signer(key, file, answers)).collect();
        // Another file's word for it, that nobody has touched: somebody else's, which did not count until the one before it was taken away.
        if files[0].is_some_and(|now| files[1] != Some(now) && self.signer(key, now, answers).is_none()) {
            signers.clear();
        }
        if let Some(all) = &answers.all {
            signers = vec![all];
        }
        signers.dedup_by_key(|signer| &signer.commit);
        let shown = |signer: &Signer| format!("{} (commit {})", signer.who, &signer.commit[..signer.commit.len().min(12)]);
        signers.into_iter().map(|signer| Answering { who: Who::signed(&signer.keys), shown: shown(signer) }).collect()
    }
}

/// The objects that are otherwise.
fn differing<'a>(old: &'a Objects, new: &'a Objects) -> impl Iterator<Item = &'a Key> {
    let keys: BTreeSet<&Key> = old.keys().chain(new.keys()).collect();
    keys.into_iter().filter(|key| !is_same(old.get(*key), new.get(*key)))
}

/// Whether they say the same; most often they are the same.
pub(super) fn is_same(old: Option<&Arc<Object>>, new: Option<&Arc<Object>>) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => Arc::ptr_eq(old, new) || old == new,
        (old, new) => old.is_none() && new.is_none(),
    }
}

/// An object as it is to be applied there.
pub(super) fn placed((_, name): &Key, object: &Object) -> Object {
    let mut object = object.clone();
    object.metadata_mut().namespace = Some(name.namespace().to_owned());
    // What was exported from a cluster has our own marks on it.
    if let Some(annotations) = &mut object.metadata_mut().annotations {
        annotations.retain(|key, _| !cluster::OURS.contains(&key.as_str()));
    }
    object
}

#[cfg(test)]
mod tests {
    use manifests::git::Entry;
    use reconcile::Revision;
    use serde_json::json;

    use super::*;

    const OF: &str = "default";

    fn device(name: &str, site: &str, address: &str) -> String {
        let head = format!("apiVersion: evenkeel.dev/v1alpha1\nkind: Device\nmetadata: {{name: {name}, labels: {{{site}}}}}\n");
        format!("{head}spec: {{type: Server, address: {address}}}\n")
    }

    fn fra(address: &str) -> String {
        device("fra", "site: fra", address)
    }

    fn key(name: &str) -> Key {
        (Kind::Device, Name::new(OF, name))
    }

    fn signer(who: &str) -> Signer {
        Signer { who: who.into(), keys: vec![format!("ssh-ed25519 {who}")], commit: format!("by-{who}") }
    }

    fn touched(files: &[(&str, &str)]) -> Answers {
        let files = files.iter().map(|(file, who)| ((*file).to_owned(), signer(who))).collect();
        Answers { follows: true, all: None, files }
    }

    fn role(who: &str, allow: &serde_json::Value) -> Arc<Object> {
        let spec = json!({"subjects": [{"signer": format!("ssh-ed25519 {who}")}], "allow": [allow]});
        let role = json!({"apiVersion": "evenkeel.dev/v1alpha1", "kind": "Role", "metadata": {"name": who.to_lowercase(), "namespace": OF}, "spec": spec});
        Arc::new(Object::from_value(Kind::Role, role).unwrap())
    }

    /// Ann may edit everything, Eve the devices of site `ams`.
    struct World {
        roles: Vec<Arc<Object>>,
        reader: Reader,
        base: Base,
    }

    fn read(reader: &mut Reader, files: &[(&str, String)]) {
        let tree = files.iter().map(|(path, text)| ((*path).to_owned(), Entry::Blob(format!("{path} {text}")))).collect();
        let contents: BTreeMap<&str, &String> = files.iter().map(|(path, text)| (*path, text)).collect();
        reader.update(&tree, true, |path, _| Ok(contents[path].clone().into_bytes()));
    }

    /// What the cluster has of these.
    fn live(files: &[(&str, String)]) -> Vec<(Key, Known)> {
        let mut reader = Reader::in_namespace(OF);
        read(&mut reader, files);
        let known =
            |(key, object): (&Key, &Arc<Object>)| (key.clone(), Known { object: Some(Arc::new(placed(key, object))), ..Known::default() });
        reader.objects().iter().map(known).collect()
    }

    impl World {
        /// A process that begins with this commit and this cluster.
        fn new(commit: &[(&str, String)], cluster: &[(&str, String)]) -> Self {
            let mut reader = Reader::in_namespace(OF);
            read(&mut reader, commit);
            let base = Base::begin(&Name::new(OF, "fleet"), Some("begin".into()), &reader, live(cluster), true);
            let eve = json!({"verbs": ["edit"], "kinds": ["Device"], "devices": {"matchLabels": {"site": "ams"}}});
            Self { roles: vec![role("ANN", &json!({"verbs": ["edit"]})), role("EVE", &eve)], reader, base }
        }

        /// Another commit, which is in force then: what was denied of it.
        fn commit(&mut self, files: &[(&str, String)], answers: &Answers) -> Vec<String> {
            read(&mut self.reader, files);
            self.judge(answers)
        }

        fn judge(&mut self, answers: &Answers) -> Vec<String> {
            let there = Desired::build(self.roles.iter().chain(self.base.objects.values()).cloned(), Revision::default()).0;
            self.base = self.base.next(OF, "head", &there, &self.reader, answers).0;
            self.base.denied.values().cloned().collect()
        }

        fn address(&self, name: &str) -> String {
            let text = |object: &Arc<Object>| object.to_value()["spec"]["address"].as_str().unwrap_or_default().to_owned();
            self.base.objects.get(&key(name)).map_or_else(|| "gone".into(), text)
        }
    }

    fn assert_only(denied: &[String], words: &[&str]) {
        assert_eq!(denied.len(), words.len(), "{denied:?}");
        denied.iter().zip(words).for_each(|(denied, words)| assert!(denied.contains(words), "{denied}"));
    }

    /// While one thing is denied, another that came in force beside it is neither set back nor deleted by whoever may not change it.
    #[test]
    fn what_came_in_force_beside_something_denied_is_not_undone_unjudged() {
        let begin = [("fra.yaml", fra("10.0.0.1"))];
        let mut world = World::new(&begin, &begin);
        let x = || ("x.yaml", device("x", "site: fra", "10.0.0.9"));
        let denied = world.commit(&[("fra.yaml", fra("10.0.0.2")), x()], &touched(&[("fra.yaml", "ANN"), ("x.yaml", "EVE")]));
        assert_only(&denied, &["x.yaml:3: EVE (commit by-EVE)"]);
        assert_eq!((world.address("fra"), world.address("x")), ("10.0.0.2".into(), "gone".into()));
        // Set back to what it was at first, and deleted: it stays as it is now, and x is still her own.
        let denied = world.commit(&[("fra.yaml", fra("10.0.0.1")), x()], &touched(&[("fra.yaml", "EVE")]));
        assert_only(&denied, &["EVE (commit by-EVE) may not change device/fra", "EVE (commit by-EVE) may not make device/x"]);
        assert_eq!(world.address("fra"), "10.0.0.2");
        let denied = world.commit(&[x()], &touched(&[("fra.yaml", "EVE")]));
        assert_only(&denied, &["fra.yaml: EVE (commit by-EVE) may not delete device/fra", "EVE (commit by-EVE) may not make device/x"]);
        assert_eq!(world.address("fra"), "10.0.0.2");
        // A Role that she is given later lets it through.
        world.roles.push(role("EVE", &json!({"verbs": ["edit"]})));
        world.roles.remove(1);
        assert_only(&world.judge(&touched(&[])), &[]);
        assert_eq!((world.address("fra"), world.address("x")), ("gone".into(), "10.0.0.9".into()));
    }

    /// Where an object is defined twice, the second definition does not count by another's taking the first away.
    #[test]
    fn a_second_definition_needs_somebody_who_answers_for_it() {
        let begin = [("fra.yaml", fra("10.0.0.1"))];
        for (touches, denied, address) in [
            (touched(&[("fra.yaml", "ANN")]), &["nobody answers for what became of device/fra"][..], "10.0.0.1"),
            (touched(&[("fra.yaml", "ANN"), ("z.yaml", "ANN")]), &[], "10.0.0.2"),
            (Answers { all: Some(signer("ANN")), ..touched(&[]) }, &[], "10.0.0.2"),
        ] {
            let mut world = World::new(&begin, &begin);
            let second = ("z.yaml", fra("10.0.0.2"));
            assert_only(&world.commit(&[begin[0].clone(), second.clone()], &touched(&[("z.yaml", "EVE")])), &[]);
            assert_only(&world.commit(&[second], &touches), denied);
            assert_eq!(world.address("fra"), address);
        }
    }

    /// What was denied does not come in force as the last that could be read of a file that somebody else broke.
    #[test]
    fn what_is_broken_now_is_as_it_is_in_force() {
        let begin = [("fra.yaml", fra("10.0.0.1"))];
        let mut world = World::new(&begin, &begin);
        let x = ("x.yaml", device("x", "site: fra", "10.0.0.9"));
        let denied = world.commit(&[("fra.yaml", fra("10.0.0.2")), x], &touched(&[("fra.yaml", "EVE"), ("x.yaml", "EVE")]));
        assert_only(&denied, &["may not change device/fra", "may not make device/x"]);
        let broken = [("fra.yaml", "a: [\n".to_owned()), ("x.yaml", "a: [\n".to_owned())];
        assert_only(&world.commit(&broken, &touched(&[("fra.yaml", "ANN"), ("x.yaml", "ANN")])), &[]);
        assert_eq!(world.reader.stalled().count(), 2);
        assert_eq!((world.address("fra"), world.address("x")), ("10.0.0.1".into(), "gone".into()));
    }

    /// Whoever denied it is gone: it is denied still, until somebody who may touches it, or takes it back.
    #[test]
    fn what_was_denied_stays_denied_when_a_process_begins_anew() {
        let cluster = [("fra.yaml", fra("10.0.0.1")), ("gone.yaml", device("gone", "site: fra", "10.0.0.3"))];
        let same = ("same.yaml", device("same", "site: fra", "10.0.0.4"));
        let cluster = [cluster[0].clone(), cluster[1].clone(), same.clone()];
        for changed in [fra("10.0.0.2"), device("fra", "", "10.0.0.1")] {
            let commit = [("fra.yaml", changed), ("x.yaml", device("x", "site: fra", "10.0.0.9")), same.clone()];
            let mut world = World::new(&commit, &cluster);
            assert!(world.base.is_live(&key("fra")) && !world.base.is_live(&key("same")));
            let words = ["nobody answers for what became of device/fra", "device/gone", "device/x"];
            assert_only(&world.judge(&touched(&[])), &words);
            assert_only(&world.commit(&commit, &touched(&[("same.yaml", "ANN")])), &words);
            assert_eq!(
                (world.address("fra"), world.address("x"), world.address("gone")),
                ("10.0.0.1".into(), "gone".into(), "10.0.0.3".into())
            );
            assert!(world.base.is_live(&key("fra")), "nobody puts it back");
            assert_only(&world.commit(&commit, &touched(&[("x.yaml", "ANN")])), &words[..2]);
            assert_eq!(world.address("x"), "10.0.0.9");
            // As the cluster has it, it is not changed.
            let back = [cluster[0].clone(), cluster[1].clone(), commit[1].clone(), same.clone()];
            assert_only(&world.commit(&back, &touched(&[])), &[]);
            assert!(!world.base.is_live(&key("fra")));
        }
    }

    /// Nothing that lay outside gets in by it, and nothing goes.
    #[test]
    fn another_path_brings_nothing_that_nobody_answers_for() {
        let mut world = World::new(&[("other.yaml", device("other", "site: fra", "10.0.0.2"))], &[("fra.yaml", fra("10.0.0.1"))]);
        assert_only(&world.judge(&touched(&[])), &["nobody answers for what became of device/fra", "device/other"]);
        assert_eq!((world.address("fra"), world.address("other")), ("10.0.0.1".into(), "gone".into()));
    }

    /// What stays by `prune: false` or since others apply it too, what has our name on it elsewhere, and the Repository itself are no faults.
    #[test]
    fn what_is_not_brought_is_not_denied() {
        let mut reader = Reader::in_namespace(OF);
        let own = "apiVersion: evenkeel.dev/v1alpha1\nkind: Repository\nmetadata: {name: fleet}\nspec: {url: 'https://x.example/y'}\n";
        read(&mut reader, &[("own.yaml", own.to_owned())]);
        assert_eq!(reader.objects().len(), 1);
        let own = Name::new(OF, "fleet");
        let begin = |there: Vec<(Key, Known)>, pruned| Base::begin(&own, None, &reader, there, pruned).denied.len();
        let there = || live(&[("fra.yaml", fra("10.0.0.1"))]);
        let with = |change: fn(&mut (Key, Known))| {
            let mut there = there();
            there.iter_mut().for_each(change);
            there
        };
        assert_eq!((begin(there(), true), begin(there(), false)), (1, 0));
        assert_eq!(begin(with(|(_, known)| known.appliers.push("flux".into())), true), 0);
        assert_eq!(begin(with(|(key, _)| key.1 = Name::new("elsewhere", "fra")), true), 0);
    }
}
