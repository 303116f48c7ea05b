#!/bin/sh
# Stands in for chown(1) OWNER:GROUP FILE: the owner is written down beside, since only root could really give a file away.
key="$(PATH="${PATH#*:}"; stat -c '%i.%W' "$2")" || exit 1
echo "${1%%:*} ${1#*:}" > "$EVENKEEL_ROOT/.simulated/owners/$key"
