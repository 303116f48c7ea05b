#!/bin/sh
# Stands in for apt-get(8), as far as our apt driver uses it; what it changed is in $S/log.
. "${0%/*}/packages.sh"
simulate= no_remove= only_download= downgrades= held= timeout=0 command=
set_aside=
while [ $# -gt 0 ]; do
  case "$1" in
    -o) case "$2" in DPkg::Lock::Timeout=*) timeout="${2#*=}" ;; esac; shift ;;
    -s) simulate=1 ;;
    --no-remove) no_remove=1 ;;
    --download-only) only_download=1 ;;
    --allow-downgrades) downgrades=1 ;;
    --allow-change-held-packages) held=1 ;;
    -*) ;;
    *) if [ -z "$command" ]; then command="$1"; else set_aside="$set_aside $1"; fi ;;
  esac
  shift
done
# No name, version or path here has a blank in it.
set -f
set -- $set_aside
set +f

# What is to change, one line each: name, old version or -, new version or -, control stanza or -.
plan=
planned() { case "$plan" in *"
$1 "*) return 0 ;; esac; return 1; }
planned_version() { rest="${plan#*"
$1 "}"; rest="${rest#* }"; rest="${rest%%
*}"; planned="${rest%% *}"; }
refuse() { echo "E: $*" >&2; exit 100; }
add() {
  planned "$1" && return 0
  if installed "$1"; then old="$version"; [ "$state" != i ] || [ "$old" != "$2" ] || return 0; else old=-; fi
  [ "$2" != - ] || [ "$old" != - ] || return 0
  plan="$plan
$1 $old $2 $3"
}

ask() {
  case "$1" in
    /*.deb) control "$1" || refuse "Could not open file $1"; add "$c_package" "$c_version" "$1" ;;
    *-) [ -f "$S/packages/${1%-}" ] && add "${1%-}" - - ;;
    *=*)
      [ -d "$LISTS/${1%%=*}" ] || [ -f "$S/packages/${1%%=*}" ] || refuse "Unable to locate package ${1%%=*}"
      if [ -f "$LISTS/${1%%=*}/${1#*=}" ]; then add "${1%%=*}" "${1#*=}" "$LISTS/${1%%=*}/${1#*=}"
      elif installed "${1%%=*}" && [ "$version" = "${1#*=}" ]; then :
      else refuse "Version '${1#*=}' for '${1%%=*}' was not found"; fi ;;
    *) newest "$1" || refuse "Unable to locate package $1"; add "$1" "$found" "$LISTS/$1/$found" ;;
  esac
}

unmet() {
  echo "The following packages have unmet dependencies:"
  echo " $1 : Depends: $2 (= $3) but $4"
  refuse "Unable to correct problems, you have held broken packages."
}

# Brings in what the planned packages need: apt chooses the newest version of it by itself, and no other one.
resolve() {
  more=1
  while [ -n "$more" ]; do
    more=
    for name in $(echo "$plan" | cut -d' ' -f1); do
      planned_version "$name"
      [ "$planned" != - ] || continue
      stanza="${rest#* }"
      control "$stanza" || continue
      IFS=,
      for dependency in $c_depends; do
        IFS=' '
        dependency="${dependency# }"
        other="${dependency%% *}" exact="${dependency##*= }"; exact="${exact%)}"
        if planned "$other"; then
          planned_version "$other"
          [ "$planned" = "$exact" ] || unmet "$name" "$other" "$exact" "$planned is to be installed"
        elif installed "$other" && [ "$version" = "$exact" ]; then :
        elif ! newest "$other"; then unmet "$name" "$other" "$exact" "it is not installable"
        elif [ "$found" = "$exact" ]; then add "$other" "$exact" "$LISTS/$other/$exact"; more=1
        else unmet "$name" "$other" "$exact" "$found is to be installed"; fi
      done
      IFS=' 	
'
    done
  done
}

# What needs another version than the one that comes, or what goes, has to go too.
dependants() {
  more=1
  while [ -n "$more" ]; do
    more=
    for file in "$S"/control/*; do
      name="${file##*/}"
      planned "$name" && continue
      control "$file" || continue
      IFS=,
      for dependency in $c_depends; do
        IFS=' '
        dependency="${dependency# }"
        other="${dependency%% *}" exact="${dependency##*= }"; exact="${exact%)}"
        if planned "$other"; then planned_version "$other"; [ "$planned" = "$exact" ] || { add "$name" - -; more=1; }; fi
      done
      IFS=' 	
'
    done
  done
}

rank() { grep -nxF -e "$2" "$LISTS/$1/versions" 2>/dev/null | cut -d: -f1; }
lower() { a="$(rank "$1" "$2")" b="$(rank "$1" "$3")"; [ -n "$a" ] && [ -n "$b" ] && [ "$b" -lt "$a" ]; }

# Goes through the plan with a command that gets the four words of each line.
each() {
  echo "$plan" | while read -r name old new stanza; do
    [ -z "$name" ] || "$@" || exit 1
  done
}
check() {
  if [ "$new" = - ] && [ -n "$no_remove" ]; then
    printf 'The following packages will be REMOVED:\n  %s\n' "$name"
    refuse "Packages need to be removed but remove is disabled."
  fi
  installed "$name" && [ "$want" = hold ] && [ -z "$held" ] && refuse "Held packages were changed and -y was used without --allow-change-held-packages."
  [ "$old" = - ] || [ "$new" = - ] || [ -n "$downgrades" ] || ! lower "$name" "$old" "$new" || refuse "Packages were downgraded and -y was used without --allow-downgrades."
}
show() {
  case "$old $new" in
    *' -') echo "Remv $name [$old]" ;;
    '- '*) echo "Inst $name ($new Simulated:stable [all])" ;;
    *) echo "Inst $name [$old] ($new Simulated:stable [all])" ;;
  esac
}
fetch() { [ "$new" = - ] || [ "${stanza%.deb}" != "$stanza" ] || cat "$stanza" > "$R/var/cache/apt/archives/$(deb "$name" "$new")"; }
change() {
  if [ "$new" = - ]; then echo "Removing $name ($old) ..."; take_off "$name"
  else echo "Unpacking $name ($new) over ($old) ..."; unpack "$stanza"; fi
}

carry_out() {
  each check || exit 100
  if [ -n "$simulate" ]; then each show; exit 0; fi
  each fetch || refuse "Failed to fetch: No space left on device"
  [ -z "$only_download" ] || exit 0
  echo "apt-get $command $set_aside" >> "$S/log"
  exec 9>>"$LOCK"
  flock -w "$timeout" 9 || refuse "Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 4711 (unattended-upgr)"
  each change || refuse "Sub-process /usr/bin/dpkg returned an error code (1)"
  failed=
  # What an earlier run left half done comes along.
  for file in "$S"/packages/*; do
    [ -f "$file" ] || continue
    configure "${file##*/}" || failed="$failed ${file##*/}"
  done
  [ -z "$failed" ] && exit 0
  printf 'Errors were encountered while processing:\n%s\n' "$failed" >&2
  refuse "Sub-process /usr/bin/dpkg returned an error code (1)"
}

case "$command" in
  update) ln -sfn "$(readlink "$SIMFLEET/catalogue/newest")" "$LISTS" && echo "Reading package lists..." ;;
  download)
    for word; do
      [ -f "$LISTS/${word%%=*}/${word#*=}" ] || refuse "Version '${word#*=}' for '${word%%=*}' was not found"
      cat "$LISTS/${word%%=*}/${word#*=}" > "$(deb "${word%%=*}" "${word#*=}")" || exit 100
    done ;;
  install) for word; do ask "$word"; done; resolve; dependants; carry_out ;;
  remove) for word; do ask "$word-"; done; dependants; carry_out ;;
  *) refuse "Invalid operation $command" ;;
esac
