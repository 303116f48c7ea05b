//! Archives: unpacked beside into `releases/<sha256>`, switched in by renaming a symlink over `current`, old ones kept.

use reconcile::Archive;

use crate::script::quote;

/// Releases that are kept beside the one in force.
const KEEP: u32 = 5;

/// Unpacks the archive if it isn't there yet; disturbs nothing.
pub(crate) fn unpack(archive: &Archive) -> String {
    let (into, sha256) = (quote(&archive.into), quote(&archive.sha256));
    format!(
        r#"p="$R"{into}
if [ ! -e "$p/releases/{sha256}/.evenkeel-complete" ]; then
  t="$p/releases/{sha256}.tmp"
  rm -rf "$t" "$p/releases/{sha256}"; mkdir -p "$t" || die {into}: cannot make the folder
  tar -xf "$E/cache/{sha256}" -C "$t" --no-same-owner || {{ rm -rf "$t"; die {into}: cannot be unpacked; }}
  sync -f "$t" 2>/dev/null
  : > "$t/.evenkeel-complete" && mv -T "$t" "$p/releases/{sha256}" || die {into}: cannot be put in place
fi
"#
    )
}

/// Writes down which release is in force.
pub(crate) fn save(number: usize, archive: &Archive) -> String {
    let into = quote(&archive.into);
    format!(
        r#"p="$R"{into}
[ ! -e "$p/current" ] || [ -L "$p/current" ] || die {into}/current is not a symlink
: > "$S/archive.{number}" && {{ [ ! -L "$p/current" ] || readlink "$p/current" > "$S/archive.{number}"; }} || die {into}: cannot be saved
"#
    )
}

/// Switches to the release. The one that was in force stays, and some before it.
pub(crate) fn change(archive: &Archive) -> String {
    let (into, sha256) = (quote(&archive.into), quote(&archive.sha256));
    format!(
        r#"{}was="$(readlink "$p/current")"
ln -sfn "releases/{sha256}" "$p/current.evenkeel" && mv -fT "$p/current.evenkeel" "$p/current" || die {into}: cannot be switched
ls -1t "$p/releases" | grep -vx {sha256} | grep -vxF -e "${{was##*/}}" | tail -n +{KEEP} | while read -r old; do rm -rf "$p/releases/$old"; done
"#,
        unpack(archive)
    )
}

/// Switches back.
pub(crate) fn restore(number: usize, archive: &Archive) -> String {
    let into = quote(&archive.into);
    format!(
        r#"p="$R"{into}
old="$(cat "$S/archive.{number}")"
case "$old" in
  '') rm -f "$p/current" ;;
  *) [ -d "$p/$old" ] || [ -d "$old" ] || die {into}: "$old" is gone
     ln -sfn "$old" "$p/current.evenkeel" && mv -fT "$p/current.evenkeel" "$p/current" || die {into}: cannot be switched back ;;
esac
"#
    )
}

/// Takes the release out of force; the files stay.
pub(crate) fn remove(archive: &Archive) -> String {
    format!("rm -f \"$R\"{}/current\n", quote(&archive.into))
}
