//! Units: told of a change, then watched until they are active and stay so.

use std::fmt::Write as _;

use reconcile::ServiceUse;
use reconcile::content::AfterChange;

use crate::script::quote;

/// Seconds until a unit must be active.
const UNTIL: u32 = 60;
/// Seconds that it must stay so without being started again by systemd.
const STAYS: u32 = 3;

const FUNCTIONS: &str = r#"state() { systemctl show -p "$2" "$1" 2>/dev/null | sed 's/^[^=]*=//'; }
words() { echo "evenkeel: $1 is $(state "$1" ActiveState)/$(state "$1" SubState)"; systemctl status --no-pager -n 10 "$1" 2>&1 | tail -n 15; }
well() {
  i=0
  until [ "$(state "$1" ActiveState)" = active ]; do
    [ "$(state "$1" ActiveState)" = failed ] && { words "$1"; exit 1; }
    [ "$i" -ge "$UNTIL" ] && { words "$1"; exit 1; }
    i=$((i+1)); sleep 1
  done
  restarts="$(state "$1" NRestarts)"
  sleep "$STAYS"
  [ "$(state "$1" ActiveState)" = active ] && [ "$(state "$1" NRestarts)" = "$restarts" ] || { words "$1"; echo "evenkeel: $1 did not stay active"; exit 1; }
}
"#;

const RETURN: &str = r#"return_to() {
  [ "$(state "$1" LoadState)" = loaded ] || return 0
  while read -r unit was; do
    [ "$unit" = "$1" ] || continue
    case "$was" in
      ''|inactive|failed|deactivating) systemctl stop "$1" ;;
      *) systemctl reset-failed "$1" 2>/dev/null; systemctl restart "$1" || { words "$1"; exit 1; }; well "$1" ;;
    esac
  done < "$S/units"
}
"#;

/// Writes down which units are active.
pub(crate) fn save(services: &[ServiceUse]) -> String {
    let mut script = String::new();
    for service in services {
        let unit = quote(&service.unit);
        let _ = writeln!(
            script,
            "printf '%s %s\\n' {unit} \"$(systemctl show -p ActiveState {unit} 2>/dev/null | sed 's/^[^=]*=//')\" >> \"$S/units\" || die cannot write \"$S/units\""
        );
    }
    script
}

/// Tells the units of the change and waits until they are well.
pub(crate) fn after(services: &[ServiceUse]) -> String {
    if services.is_empty() {
        return String::new();
    }
    let mut script = format!("UNTIL={UNTIL}\nSTAYS={STAYS}\n{FUNCTIONS}systemctl daemon-reload\n");
    for service in services {
        let unit = quote(&service.unit);
        let verb = match service.after {
            AfterChange::Restart => "restart",
            AfterChange::Reload => "reload-or-restart",
            AfterChange::None => "start",
        };
        let _ = writeln!(script, "systemctl reset-failed {unit} 2>/dev/null\nsystemctl {verb} {unit} || {{ words {unit}; exit 1; }}");
    }
    for service in services {
        let _ = writeln!(script, "well {}", quote(&service.unit));
    }
    script
}

/// After a way back: units that were active are started again and must be well; the others are stopped, if they are there at all.
pub(crate) fn after_restore(services: &[ServiceUse]) -> String {
    if services.is_empty() {
        return String::new();
    }
    let mut script = format!("UNTIL={UNTIL}\nSTAYS={STAYS}\n{FUNCTIONS}{RETURN}systemctl daemon-reload\n");
    for service in services {
        let _ = writeln!(script, "return_to {}", quote(&service.unit));
    }
    script
}
