//! What a content becomes on a device: one script for the whole of it, put together from one piece per driver.

pub(crate) mod account;
mod apt;
mod archive;
pub(crate) mod files;
mod service;

use reconcile::content::Reboot;
use reconcile::{Apt, Archive, Content, Package, StepId, Work};

use crate::script::quote;
use files::Bytes;

/// Earlier revisions of a Deployment whose way back is kept on a device.
const WAYS: u32 = 9;
/// Seconds that a restore waits for the step that it undoes, should that still be running.
const STILL: u32 = 600;

fn apts(content: &Content) -> Vec<&Apt> {
    let apts = content.packages.iter().filter_map(|package| match package {
        Package::Apt(apt) => Some(apt),
        Package::Archive(_) => None,
    });
    apts.collect()
}

/// The archives of a content.
pub(crate) fn archives(content: &Content) -> Vec<&Archive> {
    let archives = content.packages.iter().filter_map(|package| match package {
        Package::Archive(archive) => Some(archive),
        Package::Apt(_) => None,
    });
    archives.collect()
}

/// Proves the way back and fetches what is needed. Its last line of output says which: `::wayback proven`, or why not.
pub(crate) fn prepare(work: &Work) -> String {
    let mut script = String::from("missing=\n");
    script.push_str(&apt::prepare(&apts(&work.content), work.revert));
    for archive in archives(&work.content) {
        script.push_str(&archive::unpack(archive));
    }
    script.push_str(&account::prepare(&work.content.accounts));
    script.push_str("if [ -n \"$missing\" ]; then echo \"::wayback missing $missing\"; else echo '::wayback proven'; fi\n");
    script
}

/// Brings the whole content onto the device. What was there is saved under `$D/before` first, all of it: `before/saved` says
/// that nothing is missing there, and without it nothing was touched.
pub(crate) fn apply(work: &Work, bytes: &[Bytes]) -> String {
    let content = &work.content;
    let (apts, archives) = (apts(content), archives(content));
    let mut script = String::from("S=\"$D/before\"\nmkdir -p \"$S\" || die \"cannot make $S\"\n");
    script.push_str(&apt::save(&apts, work.revert));
    for (number, archive) in archives.iter().enumerate() {
        script.push_str(&archive::save(number, archive));
    }
    for (number, file) in content.files.iter().enumerate() {
        script.push_str(&files::save(number, file));
    }
    script.push_str(&account::save(&content.accounts, &unit(work)));
    script.push_str(&service::save(&content.services));
    script.push_str(&saved(work));
    script.push_str(&apt::change(&apts));
    for archive in archives {
        script.push_str(&archive::change(archive));
    }
    for (number, (file, bytes)) in content.files.iter().zip(bytes).enumerate() {
        script.push_str(&files::change(number, file, bytes));
    }
    script.push_str(&account::change(&content.accounts, &unit(work)));
    script.push_str(&service::after(&content.services));
    match content.reboot {
        Reboot::Never => {}
        Reboot::IfRequired => script.push_str("[ -e \"$R/run/reboot-required\" ] && echo \"::reboot $(boot_id)\"\n"),
        Reboot::Always => script.push_str("echo \"::reboot $(boot_id)\"\n"),
    }
    script.push_str("exit 0\n");
    script
}

/// Names the step as the way back of its revision, unless an earlier one is: applying the same revision again must not make
/// the changed state the one to go back to. Revisions of another store's log are others. Then marks what was saved as complete.
fn saved(work: &Work) -> String {
    format!(
        r#"mkdir -p "$E/undo"
U="$E/undo/"{unit}
case "${{D##*/}}" in *-*) log="${{D##*-}}:" ;; *) log= ;; esac
if ! grep -qs "^${{log}}{revision} " "$U"; then
  {{ tail -n {WAYS} "$U" 2>/dev/null; echo "${{log}}{revision} ${{D##*/}}"; }} > "$U.tmp" && mv "$U.tmp" "$U" || die "cannot write $U"
fi
find "$S" -type f -exec sync {{}} + 2>/dev/null
: > "$S/saved" || die "cannot write $S/saved"
sync "$S/saved" "$S" 2>/dev/null
"#,
        unit = unit(work),
        revision = work.revision,
    )
}

/// Brings back what the apply step `undo` saved.
pub(crate) fn restore(work: &Work, undo: &StepId) -> String {
    let content = &work.content;
    let unit = unit(work);
    let mut script = format!(
        r#"B="$E/steps/{undo}"
S="$B/before"
U="$E/undo/"{unit}
forget() {{ [ ! -f "$U" ] || {{ grep -v ' {undo}$' "$U" > "$U.tmp"; mv "$U.tmp" "$U"; }}; }}
i=0
while [ -d "$B/started" ] && [ ! -f "$B/code" ] && [ "$(cat "$B/boot" 2>/dev/null)" = "$(boot_id)" ] && kill -0 "$(cat "$B/pid")" 2>/dev/null; do
  [ "$i" -lt {STILL} ] || die "the step to undo is still running"
  i=$((i+1)); sleep 1
done
if [ ! -d "$B" ] && grep -qs ' {undo}$' "$U"; then die "what step {undo} saved is gone"; fi
if [ ! -e "$S/saved" ]; then forget; echo "evenkeel: step {undo} had changed nothing"; exit 0; fi
"#
    );
    script.push_str(&apt::restore(&apts(content)));
    for (number, archive) in archives(content).into_iter().enumerate() {
        script.push_str(&archive::restore(number, archive));
    }
    for (number, file) in content.files.iter().enumerate() {
        script.push_str(&files::restore(number, file));
    }
    script.push_str(&account::restore(&content.accounts));
    script.push_str(&service::after_restore(&content.services));
    script.push_str("forget\nexit 0\n");
    script
}

/// Takes the content off the device.
pub(crate) fn remove(content: &Content) -> String {
    let mut script = apt::remove(&apts(content));
    for archive in archives(content) {
        script.push_str(&archive::remove(archive));
    }
    for file in &content.files {
        script.push_str(&files::remove(file));
    }
    script.push_str(&account::remove(content));
    script.push_str("exit 0\n");
    script
}

/// The Deployment as a file name; `_` is in no object's name.
fn unit(work: &Work) -> String {
    quote(&work.deployment.full().replace('/', "_"))
}

#[cfg(test)]
mod tests;
