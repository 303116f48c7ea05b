//! A plain folder as a source: for trying out, and for `check`.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::git::Entry;
use crate::yaml::MAX_FILE;

/// Folders in folders.
pub(crate) const MAX_DEPTH: usize = 32;

/// The YAML files below a folder, each with the hash of its bytes, or why it is left out. Hidden folders are left out, and links are
/// never followed.
pub fn list(root: &Path) -> Result<BTreeMap<String, Entry>, String> {
    let mut tree = BTreeMap::new();
    if root.is_file() {
        let name = root.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        tree.insert(name, Entry::Blob(id(root)?));
        return Ok(tree);
    }
    walk(root, root, 0, &mut tree)?;
    Ok(tree)
}

/// A file of the folder, one byte more than the limit at most, so that one that is too large shows.
pub fn read(root: &Path, path: &str) -> Result<Vec<u8>, String> {
    use std::io::Read as _;
    let path = if root.is_file() { root.to_owned() } else { root.join(path) };
    let wrong = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut bytes = Vec::new();
    std::fs::File::open(&path).map_err(wrong)?.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes).map_err(wrong)?;
    Ok(bytes)
}

/// Whether a file's name says that it is YAML.
pub(crate) fn is_yaml(name: &str) -> bool {
    let suffix = Path::new(name).extension().and_then(|suffix| suffix.to_str());
    !name.starts_with('.') && matches!(suffix, Some("yaml" | "yml"))
}

fn walk(root: &Path, folder: &Path, depth: usize, tree: &mut BTreeMap<String, Entry>) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!("{}: folders are nested more than {MAX_DEPTH} deep", folder.display()));
    }
    let wrong = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder).map_err(wrong)?.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let Ok(metadata) = path.symlink_metadata() else { continue };
        if metadata.is_dir() && !name.starts_with('.') {
            walk(root, &path, depth + 1, tree)?;
        } else if is_yaml(&name) {
            let relative = path.strip_prefix(root).unwrap_or(&path);
            let entry = match (relative.to_str(), metadata.is_file()) {
                (None, _) => Entry::Left("its name is not plain UTF-8 text".into()),
                (Some(_), false) => Entry::Left("not a plain file: links are not followed".into()),
                (Some(_), true) => id(&path).map_or_else(|error| Entry::Left(format!("it can't be read: {error}")), Entry::Blob),
            };
            tree.insert(relative.to_string_lossy().into_owned(), entry);
        }
    }
    Ok(())
}

fn id(path: &Path) -> Result<String, String> {
    read(path, "").map(|bytes| hex::encode(Sha256::digest(bytes)))
}

/// Why a file was not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PutError {
    /// It does not say any more what it said.
    #[error("the file was changed meanwhile")]
    Moved,
    /// It can't be written, or must not be.
    #[error("{0}")]
    Refused(String),
}

/// Makes a file of the folder say something else, at once or not at all: as long as it still says what it said. `None` is a file that is
/// not there. Nothing but plain files below the folder is touched, and no link is followed.
pub fn put(root: &Path, path: &str, before: Option<&str>, after: Option<&str>) -> Result<(), PutError> {
    let refused = |place: &Path, error: std::io::Error| PutError::Refused(format!("{}: {error}", place.display()));
    let file = place(root, path)?;
    let folder = file.parent().unwrap_or(root).to_owned();
    let there = match file.symlink_metadata() {
        Ok(metadata) if metadata.is_file() => Some(metadata),
        Ok(_) => return Err(PutError::Refused(format!("{}: not a plain file", file.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(refused(&file, error)),
    };
    let says = there.as_ref().map(|_| std::fs::read(&file)).transpose().map_err(|error| refused(&file, error))?;
    if says.as_deref() != before.map(str::as_bytes) {
        return Err(PutError::Moved);
    }
    let Some(after) = after else { return std::fs::remove_file(&file).map_err(|error| refused(&file, error)) };
    // Hidden, and not called as a manifest is: one that is left by a crash is never read.
    let temporary = folder.join(format!(".{}.{}.new", file.file_name().unwrap_or_default().to_string_lossy(), std::process::id()));
    let written = write(&temporary, after, there.as_ref()).and_then(|()| match there {
        Some(_) => std::fs::rename(&temporary, &file),
        // A link, so that what somebody else has just put there stays.
        None => std::fs::hard_link(&temporary, &file),
    });
    if there.is_none() || written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written.map_err(|error| if error.kind() == std::io::ErrorKind::AlreadyExists { PutError::Moved } else { refused(&file, error) })?;
    // That the file is there under its name is to outlive a power cut too.
    std::fs::File::open(&folder).and_then(|folder| folder.sync_all()).map_err(|error| refused(&folder, error))
}

/// Where a file of the folder is; folders above it that are not there yet are made.
fn place(root: &Path, path: &str) -> Result<PathBuf, PutError> {
    if root.is_file() {
        return Ok(root.to_owned());
    }
    let is_plain = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.chars().any(|c| c.is_control() || c == '\\');
    let Some((name, folders)) = path.split('/').collect::<Vec<_>>().split_last().map(|(name, folders)| (*name, folders.to_vec())) else {
        return Err(PutError::Refused("no name".into()));
    };
    if !folders.iter().chain([&name]).all(|part| is_plain(part)) {
        return Err(PutError::Refused(format!("{path:?} is no path below the folder")));
    }
    let mut at = root.to_owned();
    for part in folders {
        at.push(part);
        match at.symlink_metadata() {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return Err(PutError::Refused(format!("{}: not a folder, and links are not followed", at.display()))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                std::fs::create_dir(&at).map_err(|error| PutError::Refused(format!("{}: {error}", at.display())))?;
            }
            Err(error) => return Err(PutError::Refused(format!("{}: {error}", at.display()))),
        }
    }
    Ok(at.join(name))
}

/// Writes a file that takes the place of another one: with its owner, its group and its mode, as far as the system lets us give files away.
fn write(file: &Path, text: &str, of: Option<&Metadata>) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::{MetadataExt as _, fchown};
    // One that a crash has left is of no use to anybody.
    let _ = std::fs::remove_file(file);
    let mut new = std::fs::OpenOptions::new().write(true).create_new(true).open(file)?;
    if let Some(of) = of {
        // Only root may give a file to another owner, and others only to groups that they are in (chown(2)); so each on its own.
        for (owner, group) in [(None, Some(of.gid())), (Some(of.uid()), None)] {
            match fchown(&new, owner, group) {
                Err(error) if error.kind() != std::io::ErrorKind::PermissionDenied => return Err(error),
                _ => {}
            }
        }
        // After that, since it takes bits of the mode away.
        new.set_permissions(of.permissions())?;
    }
    new.write_all(text.as_bytes())?;
    new.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};

    use super::*;

    #[test]
    fn a_file_is_written_as_long_as_it_says_what_it_said() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("fleet");
        std::fs::create_dir(&root).unwrap();
        put(&root, "devices/web.yaml", None, Some("a")).unwrap();
        assert_eq!(put(&root, "devices/web.yaml", None, Some("b")), Err(PutError::Moved));
        assert_eq!(put(&root, "devices/web.yaml", Some("x"), Some("b")), Err(PutError::Moved));
        let file = root.join("devices/web.yaml");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        put(&root, "devices/web.yaml", Some("a"), Some("b")).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "b");
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(std::fs::read_dir(root.join("devices")).unwrap().count(), 1, "nothing is left beside it");
        put(&root, "devices/web.yaml", Some("b"), None).unwrap();
        assert_eq!(put(&root, "devices/web.yaml", Some("b"), None), Err(PutError::Moved));
    }

    #[test]
    fn a_file_keeps_its_owner_and_its_group() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("web.yaml");
        std::fs::write(&file, "a").unwrap();
        // Who is not root can give it to nobody else, and keeps it.
        let is_root = file.metadata().unwrap().uid() == 0;
        let (owner, group) = if is_root { (4321, 4322) } else { (file.metadata().unwrap().uid(), file.metadata().unwrap().gid()) };
        chown(&file, Some(owner), Some(group)).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o664)).unwrap();
        put(root.path(), "web.yaml", Some("a"), Some("b")).unwrap();
        let metadata = file.metadata().unwrap();
        assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o777), (owner, group, 0o664));
    }

    #[test]
    fn nothing_outside_of_the_folder_is_touched() {
        let home = tempfile::tempdir().unwrap();
        let (root, outside) = (home.path().join("fleet"), home.path().join("outside"));
        std::fs::create_dir(&root).unwrap();
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("a.yaml"), "secret").unwrap();
        symlink(&outside, root.join("link")).unwrap();
        symlink(outside.join("a.yaml"), root.join("a.yaml")).unwrap();
        for path in ["../outside/a.yaml", "link/a.yaml", "a.yaml", "/etc/x.yaml", "x/../../outside/a.yaml", "", ".git/x.yaml", "a\\b.yaml"]
        {
            let refused = put(&root, path, Some("secret"), Some("mine"));
            assert!(matches!(refused, Err(PutError::Refused(_))), "{path}: {refused:?}");
            assert!(matches!(put(&root, path, None, Some("mine")), Err(PutError::Refused(_))), "{path}");
        }
        assert_eq!(std::fs::read_to_string(outside.join("a.yaml")).unwrap(), "secret");
    }
}
