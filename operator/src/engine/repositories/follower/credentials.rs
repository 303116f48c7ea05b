//! The Secrets of a Repository.

use std::path::Path;

use cluster::secrets::Values;
use crds::RepositorySpec;
use reconcile::Name;

/// Whether a Repository needs one of these.
pub(super) fn need_one_of(repository: &Name, spec: &RepositorySpec, secrets: &[Name]) -> bool {
    let references = [
        spec.secret_ref.as_ref(),
        spec.verify.as_ref().map(|verify| &verify.secret_ref),
        spec.decryption.as_ref().map(|decryption| &decryption.secret_ref),
        spec.webhook.as_ref().map(|webhook| &webhook.secret_ref),
        spec.commit_status.as_ref().map(|status| &status.secret_ref),
    ];
    references.into_iter().flatten().any(|reference| secrets.contains(&Name::new(repository.namespace(), &reference.name)))
}

/// Public keys as files, as those who verify read them; those that are gone from the Secret are gone from there.
pub(super) fn lay_out(folder: &Path, values: &Values) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for entry in std::fs::read_dir(folder)?.flatten() {
        if !values.contains_key(&*entry.file_name().to_string_lossy()) {
            std::fs::remove_file(entry.path())?;
        }
    }
    // Keys of a Secret have no slashes.
    values.iter().filter(|(key, _)| !key.contains('/')).try_for_each(|(key, value)| std::fs::write(folder.join(key), value))
}
