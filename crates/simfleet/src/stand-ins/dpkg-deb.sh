#!/bin/sh
# Stands in for dpkg-deb(1): a package file is its control stanza.
. "${0%/*}/packages.sh"
control "$2" || { echo "dpkg-deb: error: '$2' is not a Debian format archive" >&2; exit 2; }
case "$1 $3" in
  '--info '*) cat "$2" ;;
  '--field Package') echo "$c_package" ;;
  '--field Version') echo "$c_version" ;;
  *) exit 2 ;;
esac
