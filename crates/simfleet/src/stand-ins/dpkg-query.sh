#!/bin/sh
# Stands in for dpkg-query(1) -W [-f=FORMAT] NAME...
. "${0%/*}/packages.sh"
[ "$1" = -W ] || exit 2
shift
format='${Package}\t${Version}\n'
case "$1" in -f=*) format="${1#-f=}"; shift ;; esac
replace() {
  while :; do
    case "$text" in *"$1"*) text="${text%%"$1"*}$2${text#*"$1"}" ;; *) return ;; esac
  done
}
code=0
for name; do
  if installed "$name"; then
    text="$format"
    replace '${Package}' "$name"
    replace '${Version}' "$version"
    replace '${db:Status-Want}' "$want"
    case "$want" in hold) want=h ;; *) want=i ;; esac
    replace '${db:Status-Abbrev}' "$want$state "
    printf '%b' "$text"
  else
    echo "dpkg-query: no packages found matching $name" >&2
    code=1
  fi
done
exit "$code"
