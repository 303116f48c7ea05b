//! Debian packages at exact versions; see apt-get(8), dpkg(1) and dpkg-query(1).

use std::fmt::Write as _;

use reconcile::Apt;

use crate::script::{quote, quote_all};

/// Seconds to wait for somebody else's dpkg lock. `apt-get` itself would not wait at all.
const LOCK: u32 = 300;

/// Functions that the pieces below use.
pub(crate) const FUNCTIONS: &str = r#"W="$E/wayback"
apt() { apt-get -q -y -o DPkg::Lock::Timeout="$LOCK" -o APT::Get::Show-Upgraded=true $CONF "$@"; }
# Where the old package file of $1 at version $2 is kept.
kept() { printf '%s/%s_%s.deb' "$W" "$1" "$(printf %s "$2" | sed 's/:/%3a/g')"; }
# An interrupted dpkg refuses everything: it is brought to its end first.
mend() { [ -z "$(dpkg --audit)" ] || { echo "evenkeel: dpkg was interrupted, configuring what is left"; dpkg --configure -a --force-confdef --force-confold; }; }
# What apt would change, one line each: name, old version or -, new version.
would() { apt -s --allow-downgrades --allow-change-held-packages install "$@" > "$D/simulated" 2>&1 || return 1
  sed -n 's/^Inst \([^ ]*\) \[\([^]]*\)\] (\([^ ]*\) .*/\1 \2 \3/p; s/^Inst \([^ ]*\) (\([^ ]*\) .*/\1 - \2/p' "$D/simulated"
  sed -n 's/^Remv \([^ ]*\) \[\([^]]*\)\].*/\1 \2 -/p' "$D/simulated"; }
"#;

/// Shell variables: the wait for the lock, and what happens to configuration files that were changed by hand.
fn settings(packages: &[&Apt]) -> String {
    // One answer for one transaction: the file of the machine's owner stays unless every package says otherwise.
    let replace = packages.iter().all(|apt| apt.replace_conffiles);
    let option = if replace { "--force-confnew" } else { "--force-confdef -o Dpkg::Options::=--force-confold" };
    format!("LOCK={LOCK}\nCONF=\"-o Dpkg::Options::={option}\"\n{FUNCTIONS}")
}

fn wanted(packages: &[&Apt]) -> String {
    let words: Vec<String> = packages.iter().map(|apt| format!("{}={}", apt.name, apt.version)).collect();
    quote_all(words.iter().map(String::as_str))
}

/// Proves the way back: the exact set that would change, the old version of each at hand, the new ones fetched.
pub(crate) fn prepare(packages: &[&Apt]) -> String {
    if packages.is_empty() {
        return String::new();
    }
    let mut script = settings(packages);
    let wanted = wanted(packages);
    let _ = write!(
        script,
        r#"mkdir -p "$W"
set="$(would {wanted})" || {{ apt update > "$D/update" 2>&1; set="$(would {wanted})"; }} || {{ tail -n 20 "$D/simulated"; die "these versions can't be installed (VersionUnavailable)"; }}
printf '%s\n' "$set" > "$D/set"
while read -r name old new; do
  [ -n "$name" ] && [ "$old" != - ] || continue
  deb="$(kept "$name" "$old")"
  dpkg-deb --info "$deb" >/dev/null 2>&1 && continue
  file="$(printf '%s_%s_*.deb' "$name" "$(printf %s "$old" | sed 's/:/%3a/g')")"
  rm -rf "$D/fetch"; mkdir -p "$D/fetch"
  found="$(find "$R/var/cache/apt/archives" -maxdepth 1 -name "$file" 2>/dev/null | head -n 1)"
  if [ -n "$found" ]; then cp "$found" "$D/fetch/"; else (cd "$D/fetch" && apt-get -q download "$name=$old" >> "$D/download" 2>&1); fi
  found="$(find "$D/fetch" -name '*.deb' | head -n 1)"
  if [ -n "$found" ] && [ "$(dpkg-deb --field "$found" Version)" = "$old" ] && [ "$(dpkg-deb --field "$found" Package)" = "$name" ]; then
    mv "$found" "$deb.tmp" && sync "$deb.tmp" 2>/dev/null; mv "$deb.tmp" "$deb"
  else
    missing="${{missing:+$missing; }}$name $old is installed, but neither in a repository nor in the cache"
  fi
done < "$D/set"
apt --download-only --allow-downgrades --allow-change-held-packages install {wanted} > "$D/download" 2>&1 || {{ tail -n 20 "$D/download"; die "the new packages can't be fetched"; }}
"#
    );
    script
}

/// Brings the packages to their versions, having written down the set that this changes.
pub(crate) fn apply(packages: &[&Apt], revert: bool) -> String {
    if packages.is_empty() {
        return String::new();
    }
    let mut script = settings(packages);
    let wanted = wanted(packages);
    let names = quote_all(packages.iter().map(|apt| apt.name.as_str()));
    let downgrade = if revert || packages.iter().any(|apt| apt.allow_downgrade) { "--allow-downgrades" } else { "" };
    let _ = write!(
        script,
        r#"mend || die "dpkg can't be brought to an end"
would {wanted} > "$S/set.tmp" || {{ apt update > "$D/update" 2>&1; would {wanted} > "$S/set.tmp"; }} || {{ tail -n 20 "$D/simulated"; die "these versions can't be installed (VersionUnavailable)"; }}
for name in {names}; do dpkg-query -W -f='${{db:Status-Want}} ${{Package}}\n' "$name" 2>/dev/null; done | sed -n 's/^hold //p' > "$S/held"
sync "$S/set.tmp" 2>/dev/null; mv "$S/set.tmp" "$S/set"
# Our own holds are ours to change; others' are not.
for name in {names}; do echo "$name install"; done | dpkg --set-selections
apt --no-remove {downgrade} install {wanted} || die "apt-get failed"
"#
    );
    for apt in packages.iter().filter(|apt| apt.hold) {
        let _ = writeln!(script, "echo {} hold | dpkg --set-selections", quote(&apt.name));
    }
    script
}

/// Brings the saved set back: old versions from the kept files, and what was new is taken off.
pub(crate) fn restore(packages: &[&Apt]) -> String {
    if packages.is_empty() {
        return String::new();
    }
    let mut script = settings(packages);
    let names = quote_all(packages.iter().map(|apt| apt.name.as_str()));
    let _ = write!(
        script,
        r#"if [ -f "$S/set" ]; then
  set --
  while read -r name old new; do
    [ -n "$name" ] || continue
    if [ "$old" = - ]; then
      dpkg-query -W -f='${{db:Status-Abbrev}}' "$name" 2>/dev/null | grep -q '^.[^nc]' && set -- "$@" "$name-"
    else
      deb="$(kept "$name" "$old")"
      [ -f "$deb" ] && set -- "$@" "$deb" || set -- "$@" "$name=$old"
    fi
  done < "$S/set"
  for name in {names}; do echo "$name install"; done | dpkg --set-selections
  if [ $# -gt 0 ]; then
    if ! apt --allow-downgrades --allow-change-held-packages install "$@"; then
      # A half-configured package can keep apt from seeing the way; dpkg puts the old files over it.
      echo "evenkeel: apt-get failed, putting the old packages over it with dpkg"
      for arg in "$@"; do case "$arg" in *.deb) printf '%s\n' "$arg";; esac; done > "$D/debs"
      [ -s "$D/debs" ] && xargs dpkg -i --force-downgrade --force-confdef --force-confold < "$D/debs"
      apt --allow-downgrades --allow-change-held-packages install "$@" || die "the old packages can't be brought back"
    fi
  fi
  while read -r name; do echo "$name hold" | dpkg --set-selections; done < "$S/held"
fi
"#
    );
    script
}

/// Takes the packages off; their configuration files stay.
pub(crate) fn remove(packages: &[&Apt]) -> String {
    if packages.is_empty() {
        return String::new();
    }
    let names = quote_all(packages.iter().map(|apt| apt.name.as_str()));
    format!(
        "{}for name in {names}; do echo \"$name install\"; done | dpkg --set-selections\napt remove {names} || die \"apt-get failed\"\n",
        settings(packages)
    )
}
