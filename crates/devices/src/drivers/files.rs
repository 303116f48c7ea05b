//! Files: written beside and renamed into place, the old one kept.

use std::fmt::Write as _;

use reconcile::File;

use crate::script::{quote, write_file};

/// Where a file's bytes come from, resolved.
pub(crate) enum Bytes {
    /// These.
    Here(Vec<u8>),
    /// What lies in the device's cache under this hash.
    Cached(String),
}

/// Saves what is there, or that nothing is.
pub(crate) fn save(number: usize, file: &File) -> String {
    let path = quote(&file.path);
    format!(
        r#"p="$R"{path}
[ ! -d "$p" ] || [ -L "$p" ] || die {path} is a folder
if [ -e "$p" ] || [ -L "$p" ]; then cp -a "$p" "$S/file.{number}" || die {path}: cannot be saved; fi
"#
    )
}

/// Puts the new file in its place. It is made in the step's own directory, and copied with its owner and mode: whoever may write
/// to the folder could put a symlink in our way, and `cp` makes a new file and never follows one.
pub(crate) fn change(number: usize, file: &File, bytes: &Bytes) -> String {
    let path = quote(&file.path);
    let mut script = format!(
        r#"p="$R"{path}
mkdir -p "$(dirname "$p")" || die {path}: cannot make its folder
n="$D/new.{number}"
"#
    );
    match bytes {
        Bytes::Here(bytes) => script.push_str(&write_file("\"$n\"", bytes)),
        Bytes::Cached(sha256) => {
            let _ = writeln!(script, "cp \"$E/cache/{}\" \"$n\" || die {path}: cannot be copied from the cache", quote(sha256));
        }
    }
    let (mode, owner, group) = (quote(&file.mode), quote(&file.owner), quote(&file.group));
    let _ = write!(
        script,
        r#"if [ "$(id -u)" = 0 ]; then chown {owner}:{group} "$n" || {{ rm -f "$n"; die {path}: no such user or group as {owner}:{group}; }}; fi
chmod {mode} "$n" || die {path}: chmod failed
t="$p.evenkeel-{number}"
cp -pT --remove-destination "$n" "$t" || die {path}: cannot be written
rm -f "$n"
sync "$t" 2>/dev/null
mv -fT "$t" "$p" || die {path}: cannot be put in place
"#
    );
    script
}

/// Puts back what was saved.
pub(crate) fn restore(number: usize, file: &File) -> String {
    let path = quote(&file.path);
    format!(
        r#"p="$R"{path}
if [ -e "$S/file.{number}" ] || [ -L "$S/file.{number}" ]; then
  mkdir -p "$(dirname "$p")"
  cp -aT --remove-destination "$S/file.{number}" "$p.evenkeel-{number}" && mv -fT "$p.evenkeel-{number}" "$p" || die {path}: cannot be put back
else rm -f "$p"; fi
"#
    )
}

/// Takes the file away.
pub(crate) fn remove(file: &File) -> String {
    format!("rm -f \"$R\"{}\n", quote(&file.path))
}
