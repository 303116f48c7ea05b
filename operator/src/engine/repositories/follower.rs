//! One Repository: looked at again and again, and applied.

mod also;
pub(super) mod bounds;
mod credentials;
mod drift;
mod health;
mod order;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use cluster::apply::{Applier, Refusal};
use crds::{Kind, Object, PlainStatus, RepositorySpec, RepositoryStatus, VerifyMode};
use futures::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use manifests::git::{Follow, Held, Options, Source};
use reconcile::access::commit::Objects;
use reconcile::content::Digest;
use reconcile::{Changed, Desired, Key, Name, Target, report};
use tokio::sync::watch;

use super::super::hooks;
use super::super::source::{Candidate, Origin, Reading};
use super::base::{Base, placed};
use super::commit_status::{Outbox, report};
use super::judging::{self, Judging, Waits};
use super::verdict::Verdict;
use super::{Shared, Wanted};

/// Time between two looks where none is given.
const INTERVAL: Duration = Duration::from_secs(60);
/// However short an interval is given, a server is left in peace for so long.
const SHORTEST: Duration = Duration::from_secs(5);
/// Requests to the API server at a time, for one Repository.
const WRITERS: usize = 16;
/// Whose rights count where nobody is named.
const ACCOUNT: &str = "evenkeel-repository";
/// Faults that are told in a status; of more, how many.
const TOLD: usize = 5;
/// The longest message of a condition that we write.
const MESSAGE: usize = 2048;

/// What is to be done about an object.
pub(super) enum Turn {
    None,
    /// Somebody else has changed it, and that is only told: which fields.
    Drifted(String),
    Refused(String),
    /// It stays as it is, and that is told.
    Left(String),
    Apply {
        /// Also where others have changed it.
        forced: bool,
        /// What of it somebody else has changed, if so.
        drift: Option<String>,
    },
}

/// Follows one Repository.
pub(super) struct Follower {
    pub(super) name: Name,
    pub(super) shared: Arc<Shared>,
    pub(super) reading: Reading,
    /// What it is read with; made at the first look.
    pub(super) origin: Option<Arc<Origin>>,
    held: Held,
    /// The commit whose objects were applied last: limits are measured by it.
    pub(super) applied: Option<Arc<Desired>>,
    /// The commit that was applied last, also where it can't be read any more, and the key that signed it, if that was verified.
    revision: Option<String>,
    signer: Option<String>,
    lost: Option<String>,
    /// Read since then.
    next: Option<Candidate>,
    pub(super) changed: Changed,
    /// The objects that it changed.
    pub(super) touched: BTreeSet<Key>,
    /// The commit that was let through beyond the limits.
    let_through: Option<String>,
    /// What another applier has fields of, and the version that it was left to them as.
    yielded: BTreeMap<Key, String>,
    /// Judges what its signers may change, where that is asked for.
    judging: Option<Judging>,
    /// The state of the cluster at which there was nothing to do, and what was said then.
    rest: Option<(u64, Verdict)>,
    /// Where its server is told what has come of it, if it wants to know.
    outbox: Option<Outbox>,
    /// The ConfigMaps and Secrets.
    also: also::Also,
    /// What others have changed, as it was told last.
    drift: drift::Drift,
    /// What was applied and is not shown by the watches yet.
    unseen: drift::Unseen,
    /// What is waited for, if anything is.
    waiting: Option<health::Waiting>,
    /// What was applied when last all of it was, in one hash.
    inventory: Option<String>,
}

impl Follower {
    pub(super) fn new(name: Name, shared: Arc<Shared>) -> Self {
        let reading = Reading::in_namespace(name.namespace());
        Self {
            name,
            shared,
            reading,
            origin: None,
            held: Held::default(),
            applied: None,
            revision: None,
            signer: None,
            lost: None,
            next: None,
            changed: Changed::default(),
            touched: BTreeSet::new(),
            let_through: None,
            yielded: BTreeMap::new(),
            judging: None,
            rest: None,
            outbox: None,
            also: also::Also::default(),
            drift: drift::Drift::default(),
            unseen: drift::Unseen::new(),
            waiting: None,
            inventory: None,
        }
    }

    pub(super) async fn run(mut self, mut wanted: watch::Receiver<Wanted>) {
        (self.revision, self.signer, self.inventory) = self.known_revision();
        self.outbox = Outbox::new(&self.name, &self.shared, &wanted.borrow().spec);
        self.also = self.known_also();
        let mut questions = self.shared.asides.join(&self.name);
        let mut told = String::new();
        let (secrets, mut turn) = (self.shared.secrets.clone(), self.shared.secrets.turn());
        loop {
            let now = wanted.borrow_and_update().clone();
            let looked = self.look(&now).await;
            self.look_at_all();
            let fault = self.hook_fault(&now.spec).await;
            let interval = now.spec.interval.map_or(INTERVAL, |interval| interval.0.try_into().unwrap_or(INTERVAL)).max(SHORTEST);
            let next = tokio::time::Instant::now() + interval;
            loop {
                let verdict = self.with_health(&now, looked.clone());
                let waits = looked.is_ready && !verdict.is_ready;
                self.say(&now, verdict, fault.as_deref(), &mut told);
                tokio::select! {
                    biased;
                    () = tokio::time::sleep_until(next) => break,
                    changed = wanted.changed() => match changed {
                        Ok(()) => break,
                        Err(_) => return,
                    },
                    (newest, changed) = secrets.changed(turn) => {
                        turn = newest;
                        if credentials::need_one_of(&self.name, &now.spec, &changed) {
                            self.also.again();
                            break;
                        }
                    }
                    Some(question) = questions.recv() => self.answer(&now, question).await,
                    () = tokio::time::sleep(health::LOOK), if waits => {}
                }
            }
        }
    }

    /// Says how it stands, where that is to be heard; what it waits for is in its status.
    fn say(&self, now: &Wanted, mut verdict: Verdict, fault: Option<&str>, told: &mut String) {
        self.report(&verdict);
        let mut said = if verdict.reason == "Progressing" { verdict.reason.to_owned() } else { verdict.message.clone() };
        if let Some(fault) = fault {
            verdict.message = format!("{}; webhook: {fault}", verdict.message);
            said = verdict.message.clone();
        }
        if *told != said {
            *told = said;
            let message = &verdict.message;
            if verdict.is_ready {
                tracing::info!(repository = %self.name, "{message}");
            } else {
                tracing::warn!(repository = %self.name, "{message}");
            }
            self.shared.happened(&self.name, verdict.reason, message.clone(), !verdict.is_ready);
        }
        self.tell(now, verdict);
    }

    /// Has its server told what has come of the commit that the verdict is about.
    fn report(&self, verdict: &Verdict) {
        let Some(outbox) = &self.outbox else { return };
        let commit = match verdict.reason {
            "GitFailed" => self.reading.refused().map(str::to_owned),
            _ => self.next.as_ref().map(|next| &next.desired).or(self.applied.as_ref()).map(|desired| desired.revision.commit.clone()),
        };
        let report = commit.and_then(|commit| report(&commit, verdict));
        report.iter().for_each(|report| outbox.put(report));
    }

    /// Why its webhooks are not taken, if so.
    async fn hook_fault(&self, spec: &RepositorySpec) -> Option<String> {
        let hook = spec.webhook.as_ref()?;
        if !self.shared.webhooks {
            return Some("this operator takes none (chart value `webhooks.enabled`)".into());
        }
        match self.shared.secrets.get(self.name.namespace(), &hook.secret_ref.name).await {
            Ok(values) => hooks::fault(hook, &values),
            Err(error) => Some(error),
        }
    }

    /// The commit that an earlier process applied, who signed it, and what it applied.
    fn known_revision(&self) -> (Option<String>, Option<String>, Option<String>) {
        let known = self.shared.cluster.known(&(Kind::Repository, self.name.clone()));
        let status = known.and_then(|known| serde_json::from_str::<RepositoryStatus>(&known.status).ok()).unwrap_or_default();
        (status.revision, status.signer, status.inventory)
    }

    fn tell(&self, wanted: &Wanted, verdict: Verdict) {
        let also = verdict.also();
        let mut message = verdict.message;
        message.truncate((0..=message.len().min(MESSAGE)).rev().find(|at| message.is_char_boundary(*at)).unwrap_or_default());
        let plain = PlainStatus {
            observed_generation: wanted.generation,
            conditions: match verdict.is_ready {
                true => report::conditions(true, verdict.reason, &message, Timestamp::now()),
                false => report::unready(also, verdict.reason, &message, Timestamp::now()),
            },
            last_handled_request_at: wanted.requested.clone(),
        };
        let objects = i32::try_from(self.reading.objects().len()).ok();
        let (revision, signer, inventory) = (self.revision.clone(), self.signer.clone(), self.inventory.clone());
        self.shared.tell(&self.name, RepositoryStatus { plain, revision, signer, objects, inventory, applied: self.also.applied() });
    }

    async fn look(&mut self, wanted: &Wanted) -> Verdict {
        let spec = &wanted.spec;
        if spec.suspend == Some(true) {
            return Verdict::not("Suspended", "spec.suspend: it is not looked at");
        }
        if let Err(verdict) = self.prepare(spec).await {
            return verdict;
        }
        if let Err(verdict) = self.newest() {
            return verdict;
        }
        let unread = self.read(spec).await.err();
        if let Some(error) = unread.as_ref().filter(|_| self.applied.is_none() || !self.reading.is_read()) {
            return Verdict::not("GitFailed", error);
        }
        if let Err(verdict) = self.judge(wanted).await {
            return verdict;
        }
        let account = spec.service_account_name.as_deref().unwrap_or(ACCOUNT);
        let applier = match self.shared.cluster.applier(&self.name, account) {
            Ok(applier) => applier,
            Err(error) => return Verdict::not("NoAccount", error.in_full()),
        };
        if let Err(too_far) = self.within_limits(wanted) {
            return self.waits(&too_far);
        }
        if let (Some(outbox), Some(next)) = (&self.outbox, &self.next) {
            outbox.seen(&next.desired.revision.commit);
        }
        let verdict = self.bring(wanted, &applier).await;
        let verdict = self.bring_also(wanted, &applier, verdict).await;
        match unread {
            // What is in force is kept so, without Git too.
            Some(error) => Verdict::not("GitFailed", error),
            None => verdict,
        }
    }

    fn waits(&self, (id, commit, reason): &Waits) -> Verdict {
        let (namespace, name) = (self.name.namespace(), self.name.name());
        let approve = format!("kubectl -n {namespace} annotate erepo {name} evenkeel.dev/approve={id} --overwrite");
        Verdict::not("WaitsForApproval", format!("commit {commit} {reason}; to let it through: {approve}"))
    }

    /// What it is read with: credentials as they are now, and the source.
    async fn prepare(&mut self, spec: &RepositorySpec) -> Result<(), Verdict> {
        let namespace = self.name.namespace().to_owned();
        if let Some(secret) = &spec.secret_ref {
            let values = self.shared.secrets.get(&namespace, &secret.name).await.map_err(|error| Verdict::not("NoSecret", error))?;
            self.held.put((*values).clone());
        }
        let folder = self.shared.caches().join(super::cache(&self.name));
        let mut keys = None;
        if let Some(verify) = &spec.verify {
            let values =
                self.shared.secrets.get(&namespace, &verify.secret_ref.name).await.map_err(|error| Verdict::not("NoSecret", error))?;
            let place = folder.join("keys");
            credentials::lay_out(&place, &values).map_err(|error| Verdict::not("NoKeys", format!("{}: {error}", place.display())))?;
            keys = Some(place);
        }
        if !spec.also.is_empty() && spec.verify.as_ref().is_some_and(|verify| verify.roles == Some(true)) {
            let message = "spec.also: Roles say nothing of ConfigMaps and Secrets, so with verify.roles there is no telling who may change them: leave one out";
            return Err(Verdict::not("Invalid", message));
        }
        if self.origin.is_none() {
            let follow = match spec.reference.clone().unwrap_or_default() {
                crds::GitRef { tag: Some(tag), .. } => Follow::Tag(tag),
                crds::GitRef { commit: Some(commit), .. } => Follow::Commit(commit),
                crds::GitRef { branch, .. } => Follow::Branch(branch.unwrap_or_else(|| "main".into())),
            };
            let path = spec.path.clone().unwrap_or_default();
            let mode = spec.verify.as_ref().map_or(VerifyMode::Head, |verify| verify.mode);
            let options = Options { follow, path, keys, mode, held: Some(self.held.clone()), ..Options::default() };
            std::fs::create_dir_all(&folder).map_err(|error| Verdict::not("NoCache", format!("{}: {error}", folder.display())))?;
            let source = Source::new(&spec.url, &folder.join("repository.git"), options);
            let source = source.map_err(|error| Verdict::not("Invalid", format!("spec: {error}")))?;
            if source.is_local() {
                return Err(Verdict::not("Invalid", "spec.url: a path leads nowhere in a cluster: give an https:// or ssh:// URL"));
            }
            if spec.url.starts_with("http:") {
                return Err(Verdict::not(
                    "Invalid",
                    "spec.url: plain HTTP leads to the operator's own pod: give an https:// or ssh:// URL",
                ));
            }
            self.origin = Some(Arc::new(Origin::Git(source)));
            let is_judged = spec.verify.as_ref().is_some_and(|verify| verify.roles == Some(true));
            self.judging = is_judged.then(Judging::default);
            self.reading = Reading::in_namespace(&namespace).with_core(&spec.also);
        }
        Ok(())
    }

    /// Takes in what is new in Git.
    async fn read(&mut self, spec: &RepositorySpec) -> Result<(), String> {
        let Some(origin) = self.origin.clone() else { return Ok(()) };
        let Origin::Git(source) = &*origin else { return Ok(()) };
        if let Some(commit) = self.revision.clone()
            && self.applied.is_none()
            && self.lost.is_none()
        {
            match self.reading.restore(source, &commit).await? {
                Some(candidate) => self.applied = Some(candidate.desired),
                None => self.lost = Some(commit),
            }
        }
        self.begin(spec);
        if let Some(candidate) = self.reading.look(&origin).await? {
            if self.judging.is_none() {
                self.changed.extend(candidate.changed.clone());
                self.touched.extend(candidate.told.iter().cloned());
            }
            self.next = Some(candidate);
        }
        Ok(())
    }

    /// What the cluster has; where nothing is judged, nobody asks.
    fn newest(&self) -> Result<Arc<Desired>, Verdict> {
        let newest = self.shared.view.read().unwrap_or_else(PoisonError::into_inner).newest.clone();
        let newest = newest.or_else(|| self.judging.is_none().then(Arc::default));
        newest.ok_or_else(|| Verdict::not("Reading", "what the cluster has is not known yet"))
    }

    /// What is judged is measured by what the cluster has from here, whatever the commit says that was judged last.
    fn begin(&mut self, spec: &RepositorySpec) {
        let Some(judging) = self.judging.as_mut().filter(|judging| !judging.has_begun()) else { return };
        let revision = self.applied.as_ref().map(|applied| applied.revision.clone());
        let commit = revision.as_ref().map(|revision| revision.commit.clone());
        let there = self.shared.cluster.applied_from(&self.name);
        let base = Base::begin(&self.name, commit, self.reading.reader(), there, spec.prune != Some(false));
        self.applied = revision.map(|revision| Arc::new(judging::desired(&Desired::default(), &base.objects, revision).0));
        judging.begin(base);
    }

    /// Judges what was read, where its signers need Roles: by what the cluster has before any of it is applied.
    async fn judge(&mut self, wanted: &Wanted) -> Result<(), Verdict> {
        let there = self.newest()?;
        let (Some(judging), Some(origin)) = (&mut self.judging, &self.origin) else { return Ok(()) };
        let Origin::Git(source) = &**origin else { return Ok(()) };
        let known = (self.applied.as_ref(), wanted.approved.as_ref());
        match judging.look(&self.name, (&self.reading, source), there, known).await {
            Err(error) => return Err(Verdict::not("GitFailed", error)),
            Ok(None) => self.touched.extend(judging.take_touched()),
            Ok(Some(waits)) => return Err(self.waits(&waits)),
        }
        Ok(())
    }

    /// The objects as they are to be.
    fn objects(&self) -> &Objects {
        self.judging.as_ref().map_or_else(|| self.reading.objects(), Judging::objects)
    }

    fn is_denied(&self, key: &Key) -> bool {
        self.judging.as_ref().is_some_and(|judging| judging.is_denied(key))
    }

    /// What is to come in force, and what that changes; `None`: nothing.
    fn coming(&self) -> Option<(&Arc<Desired>, &Changed)> {
        match &self.judging {
            Some(judging) => judging.desired(),
            None => self.next.as_ref().map(|next| (&next.desired, &self.changed)),
        }
    }

    /// Brings the cluster to what was read: what a commit changed, what is missing, what others have changed, and what left Git.
    async fn bring(&mut self, of: &Wanted, applier: &Applier) -> Verdict {
        let spec = &of.spec;
        // A look at which nothing has changed, in Git or in the cluster, costs nothing.
        let state = self.shared.cluster.changes();
        match &self.rest {
            Some((at, verdict)) if *at == state && self.next.is_none() => return verdict.clone(),
            _ => self.rest = None,
        }
        let desired = self.coming().map(|(desired, _)| desired.clone()).or_else(|| self.applied.clone());
        let Some(desired) = desired else { return Verdict::not("Reading", "nothing was read yet") };
        let revision = &desired.revision;
        let by = format!("{} {}", &revision.commit[..revision.commit.len().min(12)], revision.author);
        let objects = self.objects().clone();
        // What is to be applied is made of these one by one: copies of all of them at once would be much of what the process needs.
        let wanted: BTreeMap<Key, &Object> = objects.values().map(|object| (self.place(object), &**object)).collect();
        let (gone, mut left) = self.gone(spec, &wanted, &self.reading);
        if let Some(too_far) = self.too_many(of, &revision.commit, &gone) {
            return self.waits(&too_far);
        }
        let cluster = self.shared.cluster.clone();
        let is_unseen = |key: &Key, version: u128| cluster.known(key).is_none_or(|known| known.shown < version);
        self.unseen.retain(|key, version| wanted.contains_key(key) && is_unseen(key, *version));
        let mut drift = drift::Drift::default();
        let mut refused: BTreeMap<Key, Refusal> = BTreeMap::new();
        let mut work: BTreeMap<u8, Vec<(&Key, &Object, bool)>> = BTreeMap::new();
        for (key, object) in &wanted {
            match self.turn(spec, key, &placed(key, object), &self.touched) {
                Turn::None => {}
                Turn::Drifted(fields) => drop(drift.left.insert(key.clone(), fields)),
                Turn::Left(text) => left.push(text),
                Turn::Refused(text) => drop(refused.insert(key.clone(), Refusal { text, again: false })),
                Turn::Apply { forced, drift: fields } => {
                    drift.corrected.extend(fields.map(|fields| (key.clone(), fields)));
                    work.entry(order::rank(key.0)).or_default().push((key, object, forced));
                }
            }
        }
        let unforced = work.values().flatten().filter(|(_, _, forced)| !forced);
        let yielded: Vec<(Key, String)> =
            unforced.filter_map(|(key, ..)| Some(((*key).clone(), self.shared.cluster.known(key)?.version))).collect();
        let mut written = 0_usize;
        // What has come of it is told afterwards, else the API server would be busy with that.
        let applying = self.shared.reports.applying();
        for work in work.into_values() {
            let by = by.as_str();
            let writes: Vec<_> = work
                .into_iter()
                .map(|(key, object, forced)| async move { (key, applier.apply(key, &placed(key, object), by, forced).await) }.boxed())
                .collect();
            let results: Vec<(&Key, Result<u128, Refusal>)> = futures::stream::iter(writes).buffer_unordered(WRITERS).collect().await;
            for (key, result) in results {
                match result {
                    Ok(version) => {
                        written += 1;
                        self.unseen.insert(key.clone(), version);
                    }
                    Err(refusal) => drop(refused.insert(key.clone(), refusal)),
                }
            }
        }
        drift.corrected.retain(|key, _| !refused.contains_key(key));
        // Applied once more as it is by now, they would stay as they are.
        self.yielded.retain(|key, _| wanted.contains_key(key));
        self.yielded.extend(yielded.into_iter().filter(|(key, _)| !refused.contains_key(key)));
        // What takes the place of something has to be there before that goes.
        let gone = if refused.is_empty() { gone } else { Vec::new() };
        let results = order::prune(applier, &gone).await;
        let pruned = results.iter().filter(|(_, result)| result.is_ok()).count();
        refused.extend(results.into_iter().filter_map(|(key, result)| Some((key.clone(), result.err()?))));
        if written + pruned > 0 {
            tracing::info!(repository = %self.name, commit = revision.commit, written, pruned, "applied");
        }
        drop(applying);
        let commit = revision.commit.clone();
        if refused.is_empty() {
            self.revision = Some(commit.clone());
            self.signer.clone_from(&revision.signer);
            self.inventory = Some(inventory(wanted.keys()));
            self.judging.iter_mut().for_each(Judging::in_force);
            // Until all of it is done, what somebody has let through stays so.
            self.let_through = None;
        }
        if !refused.values().any(|refusal| refusal.again) {
            self.applied = Some(desired);
            self.lost = None;
            self.next = None;
            self.changed = Changed::default();
            // What was refused is not done, and is not what others have changed.
            self.touched.retain(|key| refused.contains_key(key));
        }
        let short = &commit[..commit.len().min(12)];
        left.extend(drift.words());
        let reason = if drift.left.is_empty() { "Applied" } else { "Drifted" };
        self.tell_drift(drift);
        if let Some(error) = self.reading.fault() {
            return Verdict::not(
                "InvalidManifest",
                format!("commit {short}: {error}; the rest is applied, and nothing is pruned until it is mended"),
            );
        }
        if !refused.is_empty() {
            let reason = if refused.values().all(|refusal| refusal.again) { "NotWritten" } else { "Refused" };
            let texts: Vec<String> = refused.into_values().map(|refusal| refusal.text).collect();
            let denied = self.denied().map(|denied| format!("; {denied}")).unwrap_or_default();
            return Verdict::not(reason, format!("commit {short}: {}{denied}", few(&texts)));
        }
        if let Some(denied) = self.denied() {
            return Verdict::not("Denied", format!("commit {short}: {denied}; the rest is applied"));
        }
        let count = format!("{} object{}", wanted.len(), if wanted.len() == 1 { "" } else { "s" });
        let notes = if left.is_empty() { String::new() } else { format!("; {}", few(&left)) };
        let verdict = Verdict { is_ready: true, reason, message: format!("commit {short}: {count}{notes}") };
        // What is shown next may say the same as before, where somebody has undone what was applied.
        if written + pruned == 0 && self.unseen.is_empty() {
            self.rest = Some((state, verdict.clone()));
        }
        verdict
    }

    /// What is to be done about an object.
    pub(super) fn turn(&self, spec: &RepositorySpec, key: &Key, object: &Object, touched: &BTreeSet<Key>) -> Turn {
        let shown = || Target::of(key.0, key.1.clone());
        if *key == (Kind::Repository, self.name.clone()) {
            return Turn::Left(format!(
                "{} is not applied: it does not apply itself, since whoever commits could lift its limits",
                shown()
            ));
        }
        if self.judging.as_ref().is_some_and(|judging| judging.is_live(key)) {
            return Turn::None;
        }
        if !self.shared.cluster.watches(key.1.namespace()) {
            return Turn::Refused(format!("{}: the operator does not watch its namespace (--watch-namespace)", shown()));
        }
        let known = self.shared.cluster.known(key);
        let from = known.as_ref().and_then(|known| known.from.as_deref());
        let is_ours = from == Some(self.name.full());
        let is_touched = touched.contains(key) && !self.is_denied(key);
        match &known {
            Some(known) if known.deleting || (is_ours && !is_touched && known.is_as(object)) => return Turn::None,
            // It is otherwise since it is older than what was applied, and not since somebody else has changed it.
            Some(known) if !is_touched && drift::is_behind(&self.unseen, key, known) => return Turn::None,
            _ => {}
        }
        if let Some(other) = from.filter(|other| *other != self.name.full() && self.shared.is_there(other)) {
            return Turn::Refused(format!("{} is applied by repository {other}: take it out of one of them", shown()));
        }
        if is_ours && !is_touched && spec.drift.is_some_and(|drift| drift != crds::Drift::Correct) {
            return Turn::Drifted(self.drift_of(key, object));
        }
        // Fields that another tool applies are left to it, also where it came later.
        let forced = is_ours && known.as_ref().is_none_or(|known| known.appliers.is_empty());
        if let Some(known) = known.filter(|known| !is_touched && self.yielded.get(key) == Some(&known.version)) {
            return Turn::Left(format!("{} differs in fields that {} applies", shown(), known.appliers.join(", ")));
        }
        let drift = (forced && !is_touched).then(|| self.drift_of(key, object));
        Turn::Apply { forced, drift }
    }

    /// What its signers may not change, if there is such.
    fn denied(&self) -> Option<String> {
        let texts: Vec<String> = self.judging.iter().flat_map(Judging::denied).map(|(_, why)| why.clone()).collect();
        if texts.is_empty() { None } else { Some(few(&texts)) }
    }

    /// Where an object is to be applied: in the Repository's namespace if it names none.
    pub(super) fn place(&self, object: &Object) -> Key {
        let namespace = object.metadata().namespace.as_deref().unwrap_or_else(|| self.name.namespace());
        (object.kind(), Name::new(namespace, object.name()))
    }
}

/// One hash of what was applied, that of two clusters with the same objects is the same: of a line `Kind namespace/name` for each, sorted.
fn inventory<'a>(keys: impl Iterator<Item = &'a Key>) -> String {
    let mut lines: Vec<String> = keys.map(|(kind, name)| format!("{} {}\n", kind.as_str(), name.full())).collect();
    lines.sort();
    format!("sha256:{}", Digest::of(lines.concat().as_bytes()).as_str())
}

fn few(texts: &[String]) -> String {
    let shown = texts.iter().take(TOLD).cloned().collect::<Vec<_>>().join("; ");
    if texts.len() > TOLD { format!("{shown}; and {} more", texts.len() - TOLD) } else { shown }
}
