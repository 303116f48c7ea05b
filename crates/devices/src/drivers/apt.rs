//! Debian packages at exact versions; see apt-get(8), dpkg(1) and dpkg-query(1).

use std::fmt::Write as _;

use reconcile::Apt;

use crate::script::{quote, quote_all};

/// Seconds to wait for somebody else's dpkg lock. `apt-get` itself would not wait at all.
const LOCK: u32 = 300;

/// Functions that the pieces below use.
const FUNCTIONS: &str = r#"W="$E/wayback"
apt() { apt-get -q -y -o DPkg::Lock::Timeout="$LOCK" $CONF "$@" </dev/null; }
# Where the old package file of $1 at version $2 is kept.
kept() { printf '%s/%s.deb' "$W" "$(printf '%s_%s' "$1" "$2" | sed 's/:/%3a/g')"; }
unfinished() { [ -n "$(dpkg --audit 2>&1)" ] || [ -n "$(ls "$R/var/lib/dpkg/updates" 2>/dev/null)" ]; }
# An interrupted dpkg refuses everything, so it is brought to its end first. It waits for nobody: that is done here.
mend() {
  t=0
  while unfinished; do
    if dpkg --configure -a --force-confdef --force-confold > "$D/mend" 2>&1 </dev/null; then
      echo "evenkeel: dpkg had been interrupted and was brought to its end"; return 0
    fi
    grep -q 'lock' "$D/mend" && [ "$t" -lt "$LOCK" ] || { tail -n 20 "$D/mend"; return 1; }
    t=$((t+2)); sleep 2
  done
}
# What apt would change, one line each: name, old version or -, new version or -.
would() {
  apt -s --no-remove $ALLOW install "$@" $ALSO > "$D/simulated" 2>&1 || return 1
  sed -n 's/^Inst \([^ ]*\) \[\([^]]*\)\] (\([^ ]*\) .*/\1 \2 \3/p; s/^Inst \([^ ]*\) (\([^ ]*\) .*/\1 - \2/p; s/^Remv \([^ ]*\) \[\([^]]*\)\].*/\1 \2 -/p' "$D/simulated"
}
# Exact versions that the packages need and apt does not choose by itself, since there are newer ones. Fails if none is new.
needs() {
  found=1
  for need in $(sed -n 's/.*Depends: \([a-z0-9][a-z0-9+.:-]*\) (= \([0-9A-Za-z.+:~-]*\)) but .*/\1=\2/p' "$D/simulated" | sort -u); do
    case " $* $ALSO " in *" $need "*) ;; *) ALSO="$ALSO $need"; found=0 ;; esac
  done
  return "$found"
}
# The same with what has to come along, and with one look for newer lists where a version is not known.
decide() {
  ALSO=; round=0; fresh=
  until would "$@"; do
    round=$((round+1))
    if [ "$round" -lt 10 ] && needs "$@"; then continue; fi
    if [ -z "$fresh" ]; then fresh=1; apt update > "$D/update" 2>&1; continue; fi
    tail -n 20 "$D/simulated" >&2
    if grep -qE 'Version .* was not found|Unable to locate package|has no installation candidate' "$D/simulated"; then echo "evenkeel: VersionUnavailable: no repository of the device has it" >&2; fi
    if grep -q 'without --allow-downgrades' "$D/simulated"; then echo "evenkeel: a lower version than the installed one: allowDowngrade: true says that it is meant" >&2; fi
    return 1
  done
}
hold() { while read -r name; do [ -z "$name" ] || echo "$name $1"; done | dpkg --set-selections; }
held() { for name in "$@"; do dpkg-query -W -f='${db:Status-Want} ${Package}\n' "$name" 2>/dev/null; done | sed -n 's/^hold //p'; }
there() { dpkg-query -W -f='${db:Status-Abbrev}' "$1" 2>/dev/null | grep -q '^.[^nc]'; }
"#;

/// Shell variables: the wait for the lock, and what happens to configuration files that were changed by hand.
fn settings(packages: &[&Apt], downgrade: bool) -> String {
    // One answer for one transaction: the file of the machine's owner stays unless every package says otherwise.
    let replace = packages.iter().all(|apt| apt.replace_conffiles);
    let option = if replace { "--force-confnew" } else { "--force-confdef -o Dpkg::Options::=--force-confold" };
    let downgrade = downgrade || packages.iter().any(|apt| apt.allow_downgrade);
    let allow = if downgrade { "--allow-downgrades" } else { "" };
    format!("LOCK={LOCK}\nALLOW={allow}\nCONF=\"-o Dpkg::Options::={option}\"\n{FUNCTIONS}")
}

fn names(packages: &[&Apt]) -> String {
    quote_all(packages.iter().map(|apt| apt.name.as_str()))
}

fn wanted(packages: &[&Apt]) -> String {
    let words: Vec<String> = packages.iter().map(|apt| format!("{}={}", apt.name, apt.version)).collect();
    quote_all(words.iter().map(String::as_str))
}

/// Proves the way back: the exact set that would change, the old version of each at hand, the new ones fetched.
///
/// Holds of the named packages are ours to change, and only the simulation may ignore them here.
pub(crate) fn prepare(packages: &[&Apt], revert: bool) -> String {
    if packages.is_empty() {
        return String::new();
    }
    let mut script = settings(packages, revert);
    let (wanted, names) = (wanted(packages), names(packages));
    let _ = write!(
        script,
        r#"mkdir -p "$W" || die "cannot make $W"
[ -z "$(held {names})" ] || ALLOW="$ALLOW --allow-change-held-packages"
decide {wanted} > "$D/set" 2> "$D/why" || {{ cat "$D/why"; die "the packages can't be installed"; }}
while read -r name old new; do
  [ -n "$name" ] && [ "$old" != - ] || continue
  deb="$(kept "$name" "$old")"
  dpkg-deb --info "$deb" >/dev/null 2>&1 && continue
  file="$(printf '%s_%s_*.deb' "${{name%%:*}}" "$(printf %s "$old" | sed 's/:/%3a/g')")"
  rm -rf "$D/fetch"; mkdir -p "$D/fetch"
  found="$(find "$R/var/cache/apt/archives" -maxdepth 1 -name "$file" 2>/dev/null | head -n 1)"
  if [ -n "$found" ]; then cp "$found" "$D/fetch/"; else (cd "$D/fetch" && apt-get -q download "$name=$old" >> "$D/download" 2>&1 </dev/null); fi
  found="$(find "$D/fetch" -name '*.deb' | head -n 1)"
  if [ -n "$found" ] && [ "$(dpkg-deb --field "$found" Version)" = "$old" ] && [ "$(dpkg-deb --field "$found" Package)" = "${{name%%:*}}" ]; then
    {{ sync "$found" 2>/dev/null; mv "$found" "$deb.tmp" && mv "$deb.tmp" "$deb"; }} || die "$name $old cannot be kept"
  else
    missing="${{missing:+$missing; }}$name $old is installed, but neither in a repository nor in the cache"
  fi
done < "$D/set"
rm -rf "$D/fetch"
apt --no-remove --download-only $ALLOW install {wanted} $ALSO > "$D/download" 2>&1 || {{ tail -n 20 "$D/download"; die "the new packages can't be fetched"; }}
# Old package files that no step refers to any more are not needed.
cat "$E"/steps/*/set "$E"/steps/*/before/set 2>/dev/null | sed -n 's/^\([^ ]*\) \([^ -][^ ]*\) .*/\1_\2.deb/p' | sed 's/:/%3a/g' > "$D/needed"
ls -1 "$W" | grep -vxF -f "$D/needed" | while read -r file; do rm -f "$W/$file"; done
"#
    );
    script
}

/// Writes down the set that will change and the holds on it.
pub(crate) fn save(packages: &[&Apt], revert: bool) -> String {
    if packages.is_empty() {
        return String::new();
    }
    let mut script = settings(packages, revert);
    let (wanted, names) = (wanted(packages), names(packages));
    let _ = write!(
        script,
        r#"mend || die "dpkg was interrupted and can't be brought to its end"
held {names} > "$S/held" || die "cannot write $S/held"
[ ! -s "$S/held" ] || ALLOW="$ALLOW --allow-change-held-packages"
decide {wanted} > "$S/set" 2> "$D/why" || {{ cat "$D/why"; die "the packages can't be installed"; }}
"#
    );
    script
}

/// Brings the packages to their versions. Holds on the named packages are lifted for it; a hold on any other one stops it.
///
/// Stands after [`save`] in one script and uses its variables.
pub(crate) fn change(packages: &[&Apt]) -> String {
    if packages.is_empty() {
        return String::new();
    }
    let mut script = format!(
        "hold install < \"$S/held\"\nALLOW=\"${{ALLOW%--allow-change-held-packages}}\"\napt --no-remove $ALLOW install {} $ALSO || die \"apt-get failed\"\n",
        wanted(packages)
    );
    for apt in packages.iter().filter(|apt| apt.hold) {
        let _ = writeln!(script, "echo {} | hold hold", quote(&apt.name));
    }
    script
}

/// Brings the saved set back: old versions from the kept files, and what was new is taken off.
pub(crate) fn restore(packages: &[&Apt]) -> String {
    if packages.is_empty() {
        return String::new();
    }
    let mut script = settings(packages, true);
    let names = names(packages);
    let _ = write!(
        script,
        r#"# What can't be configured is about to be replaced, so this may fail.
mend || echo "evenkeel: going on with the way back"
set --
: > "$D/ours"
while read -r name old new; do
  [ -n "$name" ] || continue
  if [ "$old" = - ]; then there "$name" && set -- "$@" "$name-" && echo "$name" >> "$D/ours"
  else
    deb="$(kept "$name" "$old")"
    if [ -f "$deb" ]; then set -- "$@" "$deb"; else set -- "$@" "$name=$old"; fi
  fi
done < "$S/set"
held {names} | hold install
# What somebody has put in since is left alone, and with it what came along with the change and it needs.
others() {{
  apt -s --allow-downgrades --allow-change-held-packages install "$@" > "$D/simulated" 2>&1
  sed -n 's/^Remv \([^ ]*\) .*/\1/p' "$D/simulated" | grep -vxF -f "$D/ours" | tr '\n' ' '
}}
others="$([ $# -eq 0 ] || others "$@")"
if [ -n "$others" ]; then
  left=$#
  while [ "$left" -gt 0 ]; do
    arg="$1"; shift; left=$((left-1))
    case "$arg" in *-) ;; *) set -- "$@" "$arg"; continue ;; esac
    for name in {names}; do [ "$arg" != "$name-" ] || die "other packages need $name: $others"; done
    echo "evenkeel: ${{arg%-}} stays, since other packages may need it: $others"
  done
  : > "$D/ours"
  others="$([ $# -eq 0 ] || others "$@")"
  [ -z "$others" ] || die "other packages would have to go: $others"
fi
if [ $# -gt 0 ] && ! apt --allow-downgrades --allow-change-held-packages install "$@"; then
  # A half-configured package can keep apt from seeing the way; dpkg puts the old files over it.
  echo "evenkeel: apt-get failed, putting the old packages over it with dpkg"
  for arg in "$@"; do case "$arg" in *.deb) printf '%s\n' "$arg";; esac; done > "$D/debs"
  [ ! -s "$D/debs" ] || xargs dpkg -i --force-downgrade --force-confdef --force-confold < "$D/debs"
  apt --allow-downgrades --allow-change-held-packages install "$@" || die "the old packages can't be brought back"
fi
hold hold < "$S/held"
"#
    );
    script
}

/// Takes the packages off, and nothing that needs them; their configuration files stay.
pub(crate) fn remove(packages: &[&Apt]) -> String {
    if packages.is_empty() {
        return String::new();
    }
    let names = names(packages);
    format!(
        r#"{}mend || die "dpkg was interrupted and can't be brought to its end"
set --
for name in {names}; do there "$name" && set -- "$@" "$name"; done
if [ $# -gt 0 ]; then
  held "$@" | hold install
  apt -s remove "$@" > "$D/simulated" 2>&1 || {{ tail -n 20 "$D/simulated"; die "the packages can't be removed"; }}
  printf '%s\n' "$@" > "$D/ours"
  others="$(sed -n 's/^Remv \([^ ]*\) .*/\1/p' "$D/simulated" | grep -vxF -f "$D/ours" | tr '\n' ' ')"
  [ -z "$others" ] || die "other packages need them: $others"
  apt remove "$@" || die "apt-get failed"
fi
"#,
        settings(packages, false)
    )
}
