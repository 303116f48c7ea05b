//! What the tests and the demo need from the system: checked, and installed where that may be done.

use std::process::Command;

/// Tools, each with the Debian package that has it.
const TOOLS: &[(&str, &str)] = &[
    ("systemd-nspawn", "systemd-container"),
    ("debootstrap", "debootstrap"),
    ("apt-ftparchive", "apt-utils"),
    ("ssh", "openssh-client"),
    ("sshd", "openssh-server"),
    ("gpg", "gnupg"),
    ("git", "git"),
    ("cc", "gcc"),
    ("initdb", "postgresql-15"),
    ("setpriv", "util-linux"),
    ("aiosmtpd", "python3-aiosmtpd"),
    ("prometheus-alertmanager", "prometheus-alertmanager"),
    ("dnsmasq", "dnsmasq-base"),
    ("snmpd", "snmpd"),
    ("prometheus", "prometheus"),
    ("prometheus-node-exporter", "prometheus-node-exporter"),
    // The web UI in a browser, in Chinese too.
    ("chromium", "chromium"),
    ("../share/fonts/truetype/wqy", "fonts-wqy-microhei"),
    ("rsyslogd", "rsyslog"),
    // The module with its TLS; it has no program.
    ("../share/doc/rsyslog-gnutls", "rsyslog-gnutls"),
    // Makes journals of what is given to it.
    ("../lib/systemd/systemd-journal-remote", "systemd-journal-remote"),
];

/// Debian packages that are missing.
pub(crate) fn missing() -> Vec<&'static str> {
    let path = format!("{}:/usr/sbin:/sbin:/usr/lib/postgresql/15/bin", std::env::var("PATH").unwrap_or_default());
    let has = |tool: &str| std::env::split_paths(&path).any(|folder| folder.join(tool).exists());
    TOOLS.iter().filter(|(tool, _)| !has(tool)).map(|(_, package)| *package).collect()
}

/// Whether we are root.
pub(crate) fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.starts_with(b"0\n"))
}

/// Installs what is missing where we are root, and says the command where we are not. Returns what is still missing.
pub(crate) fn ensure() -> Vec<&'static str> {
    let missing = self::missing();
    if missing.is_empty() { missing } else { only(&missing) }
}

/// The same for only these packages.
pub(crate) fn only(missing: &[&'static str]) -> Vec<&'static str> {
    let command = format!("apt-get update && apt-get install -y --no-install-recommends {}", missing.join(" "));
    if !is_root() {
        eprintln!("missing from this machine: {}; as root: {command}", missing.join(" "));
        return missing.to_vec();
    }
    eprintln!("installing from the system's packages: {}", missing.join(" "));
    let status = Command::new("sh").arg("-c").arg(format!("{command} >/dev/null")).env("DEBIAN_FRONTEND", "noninteractive").status();
    if !status.is_ok_and(|status| status.success()) {
        eprintln!("that failed: {command}");
    }
    self::missing()
}
