#!/bin/sh
# Stands in for stat(1): owners are those that were written down, and root's otherwise.
PATH="${PATH#*:}"
[ "$1 $2" = '-c %04a %U %G' ] || exec stat "$@"
read -r key mode <<END
$(stat -c '%i.%W %04a' "$3")
END
[ -n "$mode" ] || exit 1
owner=root group=root
[ ! -f "$EVENKEEL_ROOT/.simulated/owners/$key" ] || read -r owner group < "$EVENKEEL_ROOT/.simulated/owners/$key"
echo "$mode $owner $group"
