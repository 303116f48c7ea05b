#!/bin/sh
# Stands in for cp(1): the owner that was written down for a file comes along with -a and -p.
PATH="${PATH#*:}"
cp "$@" || exit 1
case "$1" in -a* | -p*) ;; *) exit 0 ;; esac
while [ $# -gt 2 ]; do shift; done
[ -f "$2" ] || exit 0
O="$EVENKEEL_ROOT/.simulated/owners"
from="$O/$(stat -c '%i.%W' "$1")"
[ ! -f "$from" ] || cat "$from" > "$O/$(stat -c '%i.%W' "$2")"
