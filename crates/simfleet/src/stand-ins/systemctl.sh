#!/bin/sh
# Stands in for systemctl(1); what it was told to do is in $S/log. $S/units/NAME: "state since dies version"; since in seconds, dies after so many or -.
S="$EVENKEEL_ROOT/.simulated"
look() {
  state=inactive since=0 dies=- version=- load=not-found
  [ -f "$S/units/$1" ] && read -r state since dies version < "$S/units/$1" && load=loaded
  if [ "$state" = active ] && [ "$dies" != - ] && [ "$(date +%s)" -ge $((since+dies)) ]; then state=failed; fi
  case "$state" in active) sub=running ;; failed) sub=failed ;; *) sub=dead ;; esac
}
put() { echo "$2 $(date +%s) $dies $version" > "$S/units/$1"; }
# A unit that is there is brought to a state; one that is not is told of.
bring() {
  look "$1"
  [ "$load" = loaded ] || { echo "Failed to $verb $1: Unit $1 not found." >&2; exit 5; }
  # What comes with a package is decided when that is installed.
  [ "$2 $version" != 'active -' ] || [ ! -f "$S/dies" ] || read -r dies < "$S/dies"
  put "$1" "$2"
}
verb="$1"
for unit; do :; done
case "$unit" in *.*) ;; *) unit="$unit.service" ;; esac
case "$verb" in restart|reload-or-restart|start|stop|reboot) echo "systemctl $*" >> "$S/log" ;; esac
case "$verb" in
  show)
    look "$unit"
    while [ $# -gt 1 ]; do
      if [ "$1" = -p ]; then
        case "$2" in
          LoadState) echo "LoadState=$load" ;;
          ActiveState) echo "ActiveState=$state" ;;
          SubState) echo "SubState=$sub" ;;
          NRestarts) echo NRestarts=0 ;;
        esac
      fi
      shift
    done ;;
  is-active) look "$unit"; echo "$state"; [ "$state" = active ] ;;
  status)
    look "$unit"
    echo "$unit - simulated"
    echo "   Active: $state ($sub)"
    [ "$state" != failed ] || echo "${unit%.*}[4711]: fatal: gave up after $dies s"
    [ "$state" = active ] || exit 3 ;;
  restart|reload-or-restart|start) look "$unit"; [ "$verb $state" = 'start active' ] || bring "$unit" active ;;
  stop) bring "$unit" inactive ;;
  reset-failed) look "$unit"; [ "$load" = loaded ] || exit 1; [ "$state" != failed ] || put "$unit" inactive ;;
  reboot) : > "$S/reboot" ;;
  daemon-reload|enable|disable|is-system-running) ;;
  *) echo "Unknown command verb $verb." >&2; exit 1 ;;
esac
