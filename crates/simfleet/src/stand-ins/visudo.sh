#!/bin/sh
# Stands in for visudo(8) -cf: a rule is what we write, and a comment what begins with #.
check() {
  if grep -vE '^(#.*|[a-z_][-a-z0-9_]* ALL=\(root\) NOPASSWD: .+)$' "$1"; then echo "$1:1:1: syntax error" >&2; exit 1; fi
  echo "$1: parsed OK"
}
case "$*" in
  "-cf $EVENKEEL_ROOT/etc/sudoers") for file in "$EVENKEEL_ROOT"/etc/sudoers.d/*; do [ ! -f "$file" ] || check "$file"; done ;;
  -cf\ *) check "$2" ;;
  *) echo "visudo: invalid option -- '$1'" >&2; exit 1 ;;
esac
