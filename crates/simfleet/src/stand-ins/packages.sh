# Read by the other stand-ins: which packages a device has, and which it knows of.
#
# $S/packages/NAME   "want state version": want is install or hold; state is i installed, U unpacked, F failed to configure
# $S/control/NAME    the control stanza of what is installed
# $S/well/NAME       the versions that have been well on this device
# $LISTS/NAME/VERSION the control stanza of what can be had; $LISTS/NAME/versions has all versions, the oldest first
R="$EVENKEEL_ROOT"
S="$R/.simulated"
LISTS="$R/var/lib/apt/lists/simulated"
LOCK="$R/var/lib/dpkg/lock-frontend"

# Sets want, state and version of an installed package; fails if it is not there.
installed() {
  want= state= version=
  [ -f "$S/packages/$1" ] && read -r want state version < "$S/packages/$1"
}

# Reads a control stanza, which is also what a .deb is here: package, its version as found, and so on.
control() {
  c_package= c_version= c_depends= c_units= c_dies=- c_fails=
  [ -f "$1" ] || return 1
  while IFS= read -r line; do
    case "$line" in
      'Package: '*) c_package="${line#*: }" ;;
      'Version: '*) c_version="${line#*: }" ;;
      'Depends: '*) c_depends="${line#*: }" ;;
      'Units: '*) c_units="${line#*: }" ;;
      'Dies-After: '*) c_dies="${line#*: }" ;;
      'Fails: '*) c_fails="${line#*: }" ;;
    esac
  done < "$1"
  [ -n "$c_package" ]
}

# The newest version that can be had; nothing if there is none.
newest() {
  found=
  [ -f "$LISTS/$1/versions" ] || return 1
  while read -r each; do [ -f "$LISTS/$1/$each" ] && found="$each"; done < "$LISTS/$1/versions"
  [ -n "$found" ]
}

# The name of a package file.
deb() {
  case "$2" in
    *:*) printf '%s_%s_all.deb' "$1" "$(printf %s "$2" | sed 's/:/%3a/g')" ;;
    *) printf '%s_%s_all.deb' "$1" "$2" ;;
  esac
}

# Puts the files of a control stanza in place, as `dpkg --unpack`.
unpack() {
  control "$1" || return 1
  installed "$c_package" || want=install
  cat "$1" > "$S/control/$c_package" && echo "$want U $c_version" > "$S/packages/$c_package"
}

# Configures what was unpacked: its maintainer script starts its units, or fails.
configure() {
  installed "$1" && [ "$state" != i ] || return 0
  control "$S/control/$1"
  echo "Setting up $1 ($version) ..."
  # What has been well here once is well again: a fault of the device is one with what is new to it.
  if ! grep -qxF -e "$version" "$S/well/$1" 2>/dev/null; then
    [ ! -f "$S/install-fails" ] || read -r c_fails < "$S/install-fails"
    [ ! -f "$S/dies" ] || read -r c_dies < "$S/dies"
  fi
  if [ -n "$c_fails" ]; then
    echo "$want F $version" > "$S/packages/$1"
    echo "$c_fails" >&2
    echo "dpkg: error processing package $1 (--configure):" >&2
    echo " installed $1 package post-installation script subprocess returned error exit status 1" >&2
    return 1
  fi
  for unit in $c_units; do
    echo "active $(date +%s) $c_dies $version" > "$S/units/$unit"
  done
  [ "$c_dies" != - ] || echo "$version" >> "$S/well/$1"
  echo "$want i $version" > "$S/packages/$1"
}

# Takes a package away; its configuration files stay, which here are none.
take_off() {
  control "$S/control/$1" && for unit in $c_units; do rm -f "$S/units/$unit"; done
  rm -f "$S/packages/$1" "$S/control/$1"
}
