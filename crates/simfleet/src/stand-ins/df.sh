#!/bin/sh
# Stands in for df(1): prints what the device's numbers say, of blocks or of inodes.
file="$EVENKEEL_ROOT/.simulated/df"
for word in "$@"; do [ "$word" != -i ] || file="$EVENKEEL_ROOT/.simulated/df-inodes"; done
exec cat "$file"
