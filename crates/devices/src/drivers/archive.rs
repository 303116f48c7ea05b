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
  tar -xf "$E/cache/{sha256}" -C "$t" --no-same-owner || die {into}: cannot be unpacked
  : > "$t/.evenkeel-complete"
  mv -T "$t" "$p/releases/{sha256}" || die {into}: cannot be put in place
fi
"#
    )
}

/// Switches to the release, having written down which one was in force.
pub(crate) fn apply(number: usize, archive: &Archive) -> String {
    let (into, sha256) = (quote(&archive.into), quote(&archive.sha256));
    format!(
        r#"{}readlink "$p/current" > "$S/archive.{number}.tmp" 2>/dev/null; mv "$S/archive.{number}.tmp" "$S/archive.{number}"
ln -sfn "releases/{sha256}" "$p/current.evenkeel" && mv -fT "$p/current.evenkeel" "$p/current" || die {into}: cannot be switched
ls -1t "$p/releases" | grep -vx {sha256} | grep -vxF "$(basename "$(cat "$S/archive.{number}")")" | tail -n +{KEEP} | while read -r old; do rm -rf "$p/releases/$old"; done
"#,
        unpack(archive)
    )
}

/// Switches back.
pub(crate) fn restore(number: usize, archive: &Archive) -> String {
    let into = quote(&archive.into);
    format!(
        r#"p="$R"{into}
if [ -f "$S/archive.{number}" ]; then
  old="$(cat "$S/archive.{number}")"
  if [ -z "$old" ]; then rm -f "$p/current"
  else [ -d "$p/$old" ] || die {into}: "$old" is gone; ln -sfn "$old" "$p/current.evenkeel" && mv -fT "$p/current.evenkeel" "$p/current" || die {into}: cannot be switched back; fi
fi
"#
    )
}

/// Takes the release out of force; the files stay.
pub(crate) fn remove(archive: &Archive) -> String {
    format!("rm -f \"$R\"{}/current\n", quote(&archive.into))
}
