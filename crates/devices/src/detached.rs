//! Steps that survive us: started under their id, detached from the connection, found again, never run twice.
//!
//! On the device each step has a directory `/var/lib/evenkeel/steps/<id>-<log>`, where the log is that of the store that recorded it:
//! `script` what it does · `confirm` there while it waits for somebody to log in, `confirmed/` made by whoever did · `started/` made by the runner; making it is the lock · `pid`, `boot` who runs it · `out` what it
//! printed · `code` how it ended, written last, by rename · `before/` what an apply step saved.
//! Beside them `undo/<deployment>` names, by revision, the steps whose `before/` is a way back: those are never pruned.

use std::fmt::Write as _;

use reconcile::StepId;

use crate::script::{HEADER, write_file};

/// Quarters of a second that a step may take to begin; a device on which nothing can be started must not be waited for.
const START: u32 = 20;
/// Seconds that one look waits on the device for the step to end.
const WAIT: u32 = 20;
/// Bytes of what the step printed that are brought back.
const TAIL: u32 = 16_384;
/// Step directories that are kept, beside those that `undo/` names as a way back.
const KEEP: u32 = 50;

/// How far a step on a device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Under way.
    Running,
    /// It has made its change, and undoes it unless somebody logs in anew and says so ([`confirm`]).
    Confirm,
    /// Ended with this code, having printed this.
    Done(i32, String),
    /// It began and its process is gone without having ended: the power went, or somebody killed it.
    Lost(String),
    /// It never began.
    Absent,
}

/// A script that starts the step if it has not begun, and then waits a while for its end.
pub(crate) fn start(id: &StepId, body: &str, seconds: i64) -> String {
    let mut script = dir(id);
    let _ = write!(
        script,
        r#"umask 077
mkdir -p "$D" || die "cannot make $D"
if [ ! -d "$D/started" ] && [ ! -f "$D/code" ]; then
"#
    );
    script.push_str(&write_file("\"$D/script.$$\"", format!("{HEADER}D=\"$E/steps/{id}\"\n{body}").as_bytes()));
    let _ = write!(
        script,
        r#"mv "$D/script.$$" "$D/script"
cat > "$D/run.$$" <<'EVENKEEL_RUN' || die "cannot write $D/run"
D="$1"
mkdir "$D/started" 2>/dev/null || exit 0
# By whom the engine logs in: sudo says it, and systemd does not hand it on.
EVENKEEL_LOGIN="$3"; export EVENKEEL_LOGIN
printf '%s\n' "$2" > "$D/boot"
# Last: who sees a pid must see its boot too.
echo $$ > "$D/pid.tmp"; mv "$D/pid.tmp" "$D/pid"
timeout -k 30 {seconds} sh "$D/script" > "$D/out" 2>&1 < /dev/null
code=$?
[ "$code" = 124 ] && echo "evenkeel: took longer than {seconds} s" >> "$D/out"
i=0
until echo "$code" > "$D/code.tmp"; do i=$((i+1)); [ "$i" -lt 60 ] || exit 1; sleep 5; done
sync "$D/code.tmp" 2>/dev/null
mv "$D/code.tmp" "$D/code"
rm -f "$D/script"
EVENKEEL_RUN
mv "$D/run.$$" "$D/run"
if [ -z "$R" ] && [ -d /run/systemd/system ] && command -v systemd-run >/dev/null; then
  systemd-run --quiet --collect --unit="evenkeel-step-{id}" --property=KillMode=process sh "$D/run" "$D" "$(boot_id)" "${{SUDO_USER:-$(id -un)}}" || die "systemd-run failed"
else
  setsid sh "$D/run" "$D" "$(boot_id)" "${{SUDO_USER:-$(id -un)}}" </dev/null >/dev/null 2>&1 &
fi
cat "$E"/undo/* 2>/dev/null | cut -d' ' -f2 > "$D/kept"
ls -1t "$E/steps" | grep -vxF -f "$D/kept" | tail -n +{KEEP} | while read -r d; do [ "$d" = {id} ] || rm -rf "$E/steps/$d"; done
fi
"#
    );
    script.push_str(&wait(WAIT * 4));
    script
}

/// A script that waits a while for the step's end, and starts nothing.
pub(crate) fn poll(id: &StepId) -> String {
    format!("{}{}", dir(id), wait(WAIT * 4))
}

/// A script by which somebody who has just logged in says that they could.
pub(crate) fn confirm(id: &StepId) -> String {
    format!("{}[ ! -e \"$D/confirm\" ] || mkdir \"$D/confirmed\" || die \"it is too late: the change is being undone\"\n", dir(id))
}

fn dir(id: &StepId) -> String {
    format!("{HEADER}D=\"$E/steps/{id}\"\n")
}

fn wait(quarters: u32) -> String {
    format!(
        r#"alive() {{
  [ -f "$D/pid" ] || {{ [ -z "$(find "$D/started" -maxdepth 0 -mmin +1 2>/dev/null)" ]; return; }}
  [ "$(cat "$D/boot" 2>/dev/null)" = "$(boot_id)" ] && kill -0 "$(cat "$D/pid")" 2>/dev/null
}}
waits() {{ [ -e "$D/confirm" ] && [ ! -d "$D/confirmed" ]; }}
i=0
while [ -d "$D" ] && [ ! -f "$D/code" ] && ! waits && [ "$i" -lt {quarters} ] && if [ -d "$D/started" ]; then alive; else [ "$i" -lt {START} ]; fi; do sleep 0.25; i=$((i+1)); done
if [ -f "$D/code" ]; then printf 'done %s\n' "$(cat "$D/code")"
elif [ ! -d "$D/started" ]; then printf 'absent\n'
elif waits && alive; then printf 'confirm\n'
elif alive || [ -f "$D/code" ]; then printf 'running\n'
else printf 'lost\n'; fi
[ -f "$D/out" ] || exit 0
# Half a line could be half a secret, which nobody would know for one.
if [ "$(wc -c < "$D/out")" -gt {TAIL} ]; then tail -c {TAIL} "$D/out" | sed 1d; else cat "$D/out"; fi
exit 0
"#
    )
}

/// Reads what either script printed.
pub(crate) fn parse(output: &[u8]) -> Result<Progress, String> {
    let text = String::from_utf8_lossy(output);
    let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let rest = rest.trim_end().to_owned();
    match first.split_once(' ').unwrap_or((first, "")) {
        ("done", code) => code.trim().parse().map(|code| Progress::Done(code, rest)).map_err(|_| format!("exit code `{code}`")),
        ("running", _) => Ok(Progress::Running),
        ("confirm", _) => Ok(Progress::Confirm),
        ("lost", _) => Ok(Progress::Lost(rest)),
        ("absent", _) => Ok(Progress::Absent),
        _ => Err(text.chars().filter(|c| !c.is_control()).take(300).collect()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::Path;
    use std::process::{Command, Stdio};

    use super::*;

    fn run(root: &Path, script: &str) -> Progress {
        let mut child =
            Command::new("sh").arg("-s").env("EVENKEEL_ROOT", root).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        parse(&child.wait_with_output().unwrap().stdout).unwrap()
    }

    #[test]
    fn a_step_runs_once_however_often_it_is_started() {
        let root = tempfile::tempdir().unwrap();
        let id = StepId("0123456789abcdef".into());
        let script = start(&id, "echo ran >> \"$R/count\"; echo \"it's done\"; exit 3\n", 60);
        for _ in 0..3 {
            assert_eq!(run(root.path(), &script), Progress::Done(3, "it's done".into()));
        }
        assert_eq!(std::fs::read_to_string(root.path().join("count")).unwrap(), "ran\n");
        assert_eq!(run(root.path(), &poll(&id)), Progress::Done(3, "it's done".into()));
    }

    #[test]
    fn two_starters_at_once_make_one_run() {
        let root = tempfile::tempdir().unwrap();
        let id = StepId("0123456789abcdef".into());
        let script = start(&id, "echo ran >> \"$R/count\"; sleep 0.5\n", 60);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert!(matches!(run(root.path(), &script), Progress::Done(0, _))));
            }
        });
        assert_eq!(std::fs::read_to_string(root.path().join("count")).unwrap(), "ran\n");
    }

    #[test]
    fn a_step_whose_process_is_gone_is_lost_and_one_that_never_began_is_absent() {
        let root = tempfile::tempdir().unwrap();
        let id = StepId("0123456789abcdef".into());
        assert_eq!(run(root.path(), &poll(&id)), Progress::Absent);
        let steps = root.path().join("var/lib/evenkeel/steps/0123456789abcdef");
        std::fs::create_dir_all(steps.join("started")).unwrap();
        // A pid beyond the kernel's largest one is nobody's.
        std::fs::write(steps.join("pid"), "99999999").unwrap();
        std::fs::write(steps.join("boot"), std::fs::read("/proc/sys/kernel/random/boot_id").unwrap()).unwrap();
        std::fs::write(steps.join("out"), "half").unwrap();
        assert_eq!(run(root.path(), &poll(&id)), Progress::Lost("half".into()));
        // Starting it again does not run it again.
        assert_eq!(run(root.path(), &start(&id, "echo ran >> \"$R/count\"\n", 60)), Progress::Lost("half".into()));
        assert!(!root.path().join("count").exists());
    }
}
