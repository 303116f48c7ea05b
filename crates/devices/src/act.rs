//! The port `Act`: a recorded step becomes a detached script on its device, and its end becomes an outcome.

use std::time::Duration;

use jiff::Timestamp;
use reconcile::desired::is_own_way;
use reconcile::rollout::WayBackSeen;
use reconcile::{Act, Action, Device, FileSource, ItemKey, Observe as _, Outcome, RecordedStep, StepId, Verdict, Work};

use crate::detached::{self, Progress};
use crate::devices::Devices;
use crate::drivers::{self, files::Bytes};
use crate::probe;

/// Time that a step may take beyond its deadline to say how it ended.
const GRACE: Duration = Duration::from_secs(300);
/// Time limit of one exec that waits for a step; the device itself waits less.
const WAIT: Duration = Duration::from_secs(60);
/// Bytes of a message that an outcome carries.
const MESSAGE: usize = 4096;
/// What apt-get says whatever happens.
const NOISE: [&str; 3] = ["Reading package lists...", "Building dependency tree...", "Reading state information..."];
/// Time between two tries of a check after a change.
const CHECK_AGAIN: Duration = Duration::from_secs(2);

impl Act for Devices {
    async fn act(&self, device: &Device, step: &RecordedStep) -> Option<Outcome> {
        let work = step.work();
        let id = self.there(&step.step().id);
        // A step that has begun is only waited for; one that has not is looked at twice before it begins.
        match self.progress(device, &detached::poll(&id)).await {
            Ok(Progress::Absent) => {}
            Ok(progress) => return self.follow(device, step, progress).await,
            // Not reached: it may have begun earlier, so nothing can be said yet.
            Err(error) => {
                tracing::debug!(device = %device.name, step = %step.step().id, %error, "cannot be looked at");
                return None;
            }
        }
        if let Action::Reboot { boot_id, .. } = &step.step().action {
            return self.reboot(device, step, boot_id).await;
        }
        let body = match self.body(device, step).await {
            Ok(body) => body,
            // Unless somebody else has begun it meanwhile, and that is why the device is not as it was.
            Err(outcome) => {
                return match self.progress(device, &detached::poll(&id)).await {
                    Ok(Progress::Absent) => Some(outcome),
                    Ok(progress) => self.follow(device, step, progress).await,
                    Err(_) => None,
                };
            }
        };
        let script = detached::start(&id, &body, work.deadline_seconds.max(60));
        match self.progress(device, &script).await {
            Ok(progress) => self.follow(device, step, progress).await,
            // What was said instead may tell why it could not begin; whether it did is asked again.
            Err(said) => match self.progress(device, &detached::poll(&id)).await {
                Ok(Progress::Absent) => Some(Outcome::refused(Timestamp::now(), format!("could not be started: {said}"))),
                Ok(progress) => self.follow(device, step, progress).await,
                Err(_) => None,
            },
        }
    }
}

impl Devices {
    async fn progress(&self, device: &Device, script: &str) -> Result<Progress, String> {
        let output = self.run(device, script, WAIT).await.map_err(|error| error.to_string())?;
        detached::parse(&output.stdout).map_err(|error| format!("{error} {}", crate::devices::words(&output)))
    }

    /// Waits for the end of a step that has begun.
    async fn follow(&self, device: &Device, step: &RecordedStep, mut progress: Progress) -> Option<Outcome> {
        let until = tokio::time::Instant::now() + deadline(step.work()) + GRACE;
        let id = self.there(&step.step().id);
        loop {
            match progress {
                Progress::Running if tokio::time::Instant::now() >= until => return None,
                Progress::Running => {}
                Progress::Confirm => {
                    if let Err(error) = self.confirm(device, &id).await {
                        // It waits for a while, and then undoes itself.
                        tracing::warn!(device = %device.name, step = %step.step().id, %error, "nobody can log in since the change");
                        tokio::time::sleep(CHECK_AGAIN).await;
                    }
                }
                Progress::Absent => return None,
                Progress::Lost(tail) => {
                    return Some(Outcome::failed(
                        Timestamp::now(),
                        format!(
                            "interrupted: the device went down in the middle of it. {}",
                            self.message(device, step.work(), &tail).await
                        ),
                    ));
                }
                Progress::Done(code, tail) => return Some(self.ended(device, step, code, &tail).await),
            }
            // Each look waits on the device.
            progress = self.progress(device, &detached::poll(&id)).await.ok()?;
        }
    }

    /// Says to a step that one can still log in, and become root: by a connection of its own, since the kept one proves nothing.
    async fn confirm(&self, device: &Device, id: &StepId) -> Result<(), String> {
        let output = self.run_anew(device, &detached::confirm(id), WAIT).await.map_err(|error| error.to_string())?;
        if output.code == Some(0) { Ok(()) } else { Err(crate::devices::words(&output)) }
    }

    async fn ended(&self, device: &Device, step: &RecordedStep, code: i32, tail: &str) -> Outcome {
        let mut outcome = Outcome::done(Timestamp::now(), self.message(device, step.work(), tail).await);
        if code != 0 {
            outcome.verdict = Verdict::Failed;
            if outcome.message.is_empty() {
                outcome.message = format!("exit code {code}");
            }
            return outcome;
        }
        // Only what the step itself has to say counts, and that comes last: packages print what they like.
        for line in tail.lines().filter(|line| line.starts_with(mark(&step.step().action))) {
            match line.trim_end().split_once(' ') {
                Some(("::wayback", "proven")) => outcome.way_back = WayBackSeen::Proven,
                Some(("::wayback", why)) => {
                    outcome.way_back =
                        WayBackSeen::Missing(why.trim_start_matches("missing ").chars().filter(|c| !c.is_control()).take(500).collect());
                }
                Some(("::reboot", boot_id)) => outcome.reboot_from = Some(boot_id.chars().filter(|c| !c.is_control()).take(64).collect()),
                _ => {}
            }
        }
        if let Action::Apply(work) = &step.step().action
            && let Err(error) = self.after(device, work).await
        {
            outcome.verdict = Verdict::Failed;
            outcome.message = self.masked(device, work, &error).await;
        }
        outcome.at = Timestamp::now();
        outcome
    }

    /// What the step does, or why it must not begin.
    async fn body(&self, device: &Device, step: &RecordedStep) -> Result<String, Outcome> {
        let refused = |reason: String| Outcome::refused(Timestamp::now(), reason);
        let failed = |reason: String| Outcome::failed(Timestamp::now(), reason);
        let work = step.work();
        if let Some(account) = work.content.accounts.iter().find(|account| is_own_way(&device.access, &account.user)) {
            return Err(refused(format!("{} is the account by which the engine logs in", account.user)));
        }
        if let Some(expected) = &step.step().expects {
            let items: Vec<ItemKey> = work.content.items().collect();
            let seen = self.observe(device, &items).await;
            if !seen.is_reachable() {
                return Err(refused("not reachable any more".into()));
            }
            if seen.fingerprint(&work.content) != *expected {
                return Err(refused("the device is not as it was when this was planned".into()));
            }
        }
        match &step.step().action {
            Action::Prepare(work) => {
                for check in &work.content.before {
                    if let Err(error) = probe::once(self, device, check).await {
                        let said = format!("check {} before the change: {error}", check.name);
                        return Err(failed(self.masked(device, work, &said).await));
                    }
                }
                self.supply(device, work).await.map_err(failed)?;
                Ok(drivers::prepare(work))
            }
            Action::Apply(work) => {
                self.supply(device, work).await.map_err(refused)?;
                let bytes = self.bytes(device, work).await.map_err(refused)?;
                Ok(drivers::apply(work, &bytes))
            }
            Action::Restore { work, undo } => Ok(drivers::restore(work, &self.there(undo))),
            Action::Remove(work) => Ok(drivers::remove(&work.content)),
            Action::Reboot { .. } | Action::Rollout(_) | Action::Admit { .. } => Err(refused("not a script's work".into())),
        }
    }

    /// Brings everything that has a URL to the device's cache.
    async fn supply(&self, device: &Device, work: &Work) -> Result<(), String> {
        let archives = drivers::archives(&work.content).into_iter().map(|archive| (&archive.url, &archive.sha256));
        let files = work.content.files.iter().filter_map(|file| match &file.source {
            FileSource::Url { url, sha256 } => Some((url, sha256)),
            _ => None,
        });
        for (url, sha256) in archives.chain(files) {
            self.bring(device, url, sha256).await?;
        }
        Ok(())
    }

    /// The tail of what a step printed, with the values of the content's secrets masked: before anything is cut or taken out of it, after
    /// which a value might not be found any more.
    async fn message(&self, device: &Device, work: &Work, tail: &str) -> String {
        message(&self.masked(device, work, tail).await)
    }

    /// A text without the values of the content's secrets.
    async fn masked(&self, device: &Device, work: &Work, text: &str) -> String {
        let mut text = text.to_owned();
        for file in &work.content.files {
            let FileSource::Secret { name, key } = &file.source else { continue };
            let Ok(value) = self.secrets.read(device.name.namespace(), name, key).await else {
                return format!("(what it printed is not shown: secret {name}, by which it would be masked, can't be read)");
            };
            let value = zeroize::Zeroizing::new(String::from_utf8_lossy(&value).into_owned());
            // Shorter lines would mask what is no secret.
            for line in value.lines().map(str::trim).filter(|line| line.len() >= 6) {
                text = text.replace(line, "***");
            }
        }
        text
    }

    async fn bytes(&self, device: &Device, work: &Work) -> Result<Vec<Bytes>, String> {
        let mut bytes = Vec::new();
        for file in &work.content.files {
            bytes.push(match &file.source {
                FileSource::Text(text) => Bytes::Here(text.clone().into_bytes()),
                FileSource::Url { sha256, .. } => Bytes::Cached(sha256.clone()),
                FileSource::Secret { name, key } => Bytes::Here(self.secrets.read(device.name.namespace(), name, key).await?.to_vec()),
                FileSource::Template(_) => return Err(format!("{}: a template that was never rendered", file.path)),
            });
        }
        Ok(bytes)
    }

    /// The checks after a change, until they pass or the deadline is over.
    async fn after(&self, device: &Device, work: &Work) -> Result<(), String> {
        let deadline = tokio::time::Instant::now() + deadline(work);
        for check in &work.content.after {
            while let Err(error) = probe::once(self, device, check).await {
                if tokio::time::Instant::now() >= deadline {
                    return Err(format!("check {} after the change: {error}", check.name));
                }
                tokio::time::sleep(CHECK_AGAIN).await;
            }
        }
        Ok(())
    }

    /// Asks for the reboot once, then waits for another boot id.
    async fn reboot(&self, device: &Device, step: &RecordedStep, boot_id: &str) -> Option<Outcome> {
        let deadline = tokio::time::Instant::now() + deadline(step.work()).max(WAIT);
        let before = self.observe(device, &[]).await;
        if before.is_reachable() && before.boot_id == boot_id {
            let script = "(sleep 1; systemctl reboot || reboot) </dev/null >/dev/null 2>&1 &\nexit 0\n";
            if let Err(error) = self.run(device, script, WAIT).await {
                tracing::debug!(device = %device.name, %error, "the connection went with the reboot");
            }
        }
        loop {
            let seen = self.observe(device, &[]).await;
            if seen.is_reachable() && seen.boot_id != boot_id {
                return Some(Outcome::done(Timestamp::now(), "came back with another boot id"));
            }
            if tokio::time::Instant::now() >= deadline {
                return Some(Outcome::failed(Timestamp::now(), "did not come back from the reboot in time"));
            }
            tokio::time::sleep(CHECK_AGAIN).await;
        }
    }
}

fn deadline(work: &Work) -> Duration {
    Duration::from_secs(u64::try_from(work.deadline_seconds).unwrap_or(600))
}

/// How a step's own last word begins; what never occurs, where it has none.
fn mark(action: &Action) -> &'static str {
    match action {
        Action::Prepare(_) => "::wayback ",
        Action::Apply(_) => "::reboot ",
        Action::Restore { .. } | Action::Reboot { .. } | Action::Remove(_) | Action::Rollout(_) | Action::Admit { .. } => "\n",
    }
}

/// The tail of what a step printed, without our own marks.
fn message(tail: &str) -> String {
    let said = |line: &&str| !line.starts_with("::") && !line.trim().is_empty() && !NOISE.iter().any(|noise| line.starts_with(noise));
    let lines: Vec<&str> = tail.lines().filter(said).collect();
    let last = lines[lines.len().saturating_sub(12)..].join("\n");
    let clean: String = last.chars().filter(|c| *c == '\n' || !c.is_control()).collect();
    let start = clean.len().saturating_sub(MESSAGE);
    let start = (start..=clean.len()).find(|at| clean.is_char_boundary(*at)).unwrap_or(0);
    clean[start..].to_owned()
}
