//! A plain folder as a source: for trying out, and for `check`.

use std::collections::BTreeMap;
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
