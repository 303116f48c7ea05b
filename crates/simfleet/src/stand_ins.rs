//! Small shell scripts that stand in for the programs which need root or the network; see `stand-ins/`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::{Error, io};

const SCRIPTS: [(&str, &str); 19] = [
    ("apt-get", include_str!("stand-ins/apt-get.sh")),
    ("chown", include_str!("stand-ins/chown.sh")),
    ("cp", include_str!("stand-ins/cp.sh")),
    ("df", include_str!("stand-ins/df.sh")),
    ("dpkg", include_str!("stand-ins/dpkg.sh")),
    ("dpkg-deb", include_str!("stand-ins/dpkg-deb.sh")),
    ("dpkg-query", include_str!("stand-ins/dpkg-query.sh")),
    ("getent", include_str!("stand-ins/getent.sh")),
    ("id", include_str!("stand-ins/id.sh")),
    ("packages.sh", include_str!("stand-ins/packages.sh")),
    ("reboot", "#!/bin/sh\nexec systemctl reboot\n"),
    ("setpriv", include_str!("stand-ins/setpriv.sh")),
    ("stat", include_str!("stand-ins/stat.sh")),
    ("sudo", include_str!("stand-ins/sudo.sh")),
    ("sync", include_str!("stand-ins/sync.sh")),
    ("systemctl", include_str!("stand-ins/systemctl.sh")),
    ("useradd", include_str!("stand-ins/useradd.sh")),
    ("usermod", include_str!("stand-ins/usermod.sh")),
    ("visudo", include_str!("stand-ins/visudo.sh")),
];

/// Writes them into a folder.
pub(crate) fn write(folder: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(folder).map_err(io(folder.display()))?;
    for (name, text) in SCRIPTS {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(io(path.display()))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).map_err(io(path.display()))?;
    }
    Ok(())
}
