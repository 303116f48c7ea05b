#!/bin/sh
# Stands in for getent(1): the accounts of a simulated device are in files of its own.
[ -f "$EVENKEEL_ROOT/etc/$1" ] && grep "^$2:" "$EVENKEEL_ROOT/etc/$1" || exit 2
