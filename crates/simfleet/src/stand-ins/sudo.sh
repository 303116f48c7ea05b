#!/bin/sh
# Stands in for sudo(8): who logs in to a simulated device is its root.
[ "$1" != -n ] || shift
exec "$@"
