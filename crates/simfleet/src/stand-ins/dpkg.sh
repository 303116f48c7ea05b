#!/bin/sh
# Stands in for dpkg(1), as far as our apt driver uses it.
. "${0%/*}/packages.sh"
lock() {
  exec 9>>"$LOCK"
  flock -n 9 && return
  echo "dpkg: error: dpkg frontend lock was locked by another process with pid 4711" >&2
  exit 2
}
case "$1" in
  --audit)
    for file in "$S"/packages/*; do
      [ -f "$file" ] && read -r want state version < "$file" && [ "$state" != i ] && echo "The following packages are only half configured: ${file##*/}"
    done
    exit 0 ;;
  --configure)
    lock
    code=0
    for file in "$S"/packages/*; do [ ! -f "$file" ] || configure "${file##*/}" || code=1; done
    exit "$code" ;;
  --set-selections)
    lock
    while read -r name want_now; do
      ! installed "$name" || echo "$want_now $state $version" > "$S/packages/$name" || exit 2
    done ;;
  -i)
    lock
    code=0
    for file; do case "$file" in *.deb) unpack "$file" || code=1 ;; esac; done
    for file; do case "$file" in *.deb) control "$file" && configure "$c_package" || code=1 ;; esac; done
    exit "$code" ;;
  *) echo "dpkg: error: unknown option $1" >&2; exit 2 ;;
esac
