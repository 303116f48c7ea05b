#!/bin/sh
# Stands in for usermod(8), as far as /etc/shadow goes.
F="$EVENKEEL_ROOT/etc/shadow"
for user; do :; done
grep -q "^$user:" "$F" || { echo "usermod: user '$user' does not exist" >&2; exit 6; }
IFS=: read -r _ password last least most warn idle end rest <<END
$(grep "^$user:" "$F")
END
while [ $# -gt 1 ]; do
  case "$1" in
    -L) password="!${password#!}"; shift ;;
    -e) end="$2"; shift 2 ;;
    -p) password="$2"; shift 2 ;;
    *) echo "usermod: invalid option -- '$1'" >&2; exit 2 ;;
  esac
done
{ grep -v "^$user:" "$F"; echo "$user:$password:$last:$least:$most:$warn:$idle:$end:$rest"; } > "$F.new"
mv "$F.new" "$F"
