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

/// Saves what is there and puts the new file in its place.
pub(crate) fn apply(number: usize, file: &File, bytes: &Bytes) -> String {
    let path = quote(&file.path);
    let mut script = format!(
        r#"p="$R"{path}
if [ -e "$p" ] || [ -L "$p" ]; then cp -a "$p" "$S/file.{number}.tmp" && mv -T "$S/file.{number}.tmp" "$S/file.{number}"; else : > "$S/file.{number}.absent"; fi
mkdir -p "$(dirname "$p")" || die "cannot make the folder of {path}"
t="$p.evenkeel-{number}"
rm -f "$t"; (umask 077; : > "$t")
"#
    );
    match bytes {
        Bytes::Here(bytes) => script.push_str(&write_file("\"$t\"", bytes)),
        Bytes::Cached(sha256) => {
            let _ = writeln!(script, "cp \"$E/cache/{}\" \"$t\" || die {path}: cannot be copied from the cache", quote(sha256));
        }
    }
    let (mode, owner, group) = (quote(&file.mode), quote(&file.owner), quote(&file.group));
    let _ = write!(
        script,
        r#"if [ "$(id -u)" = 0 ]; then chown {owner}:{group} "$t" || {{ rm -f "$t"; die "{path}: no such user or group as "{owner}:{group}; }}; fi
chmod {mode} "$t" || die {path}: chmod failed
sync "$t" 2>/dev/null
[ ! -d "$p" ] || [ -L "$p" ] || die {path} is a folder
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
if [ -e "$S/file.{number}" ] || [ -L "$S/file.{number}" ]; then cp -a "$S/file.{number}" "$p.evenkeel-{number}" && mv -fT "$p.evenkeel-{number}" "$p" || die {path}: cannot be put back
elif [ -e "$S/file.{number}.absent" ]; then rm -f "$p"; fi
"#
    )
}

/// Takes the file away.
pub(crate) fn remove(file: &File) -> String {
    format!("rm -f \"$R\"{}\n", quote(&file.path))
}
