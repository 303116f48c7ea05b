//! A signed repository of small packages that behave and misbehave on purpose.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run;

/// A server of one line over HTTP, in the Perl that every Debian has.
const SERVE: &str = r#"#!/usr/bin/perl
use IO::Socket::INET;
open(F, "/etc/keel-address"); my $address = <F>; chomp $address;
my $server = IO::Socket::INET->new(LocalAddr => $address, LocalPort => 8080, Listen => 16, ReuseAddr => 1) or die "cannot listen: $!";
$SIG{ALRM} = sub { print STDERR "out of luck\n"; exit 1 };
alarm(@DIES@) if @DIES@;
while (my $client = $server->accept) {
  my $request = <$client>;
  my $body = "ok @VERSION@\n";
  print $client "HTTP/1.0 200 OK\r\nContent-Length: " . length($body) . "\r\n\r\n" . $body;
  close $client;
}
"#;

const UNIT: &str =
    "[Unit]\nDescription=hello\n[Service]\nExecStart=/usr/lib/hello-keel/serve\nRestart=no\n[Install]\nWantedBy=multi-user.target\n";

/// The versions of `hello-keel`. Each needs `hello-keel-lib` of exactly its own version, so that only the set can go back.
/// 1.0-1 and 2.0-1 are good · 3.0-1 dies five seconds after its start · 4.0-1's maintainer script fails · 7.0-1 has another
/// configuration file · 6.0-1 takes ten seconds to configure.
pub const VERSIONS: [&str; 6] = ["1.0-1", "2.0-1", "3.0-1", "4.0-1", "7.0-1", "6.0-1"];

/// A repository of packages.
pub struct Repository {
    /// Where it lies; machines see it at `/srv/repository`.
    pub folder: PathBuf,
    home: PathBuf,
}

impl Repository {
    /// Makes the packages and the repository below `folder`.
    pub fn make(folder: &Path) -> anyhow::Result<Self> {
        let repository = Self { folder: folder.join("repository"), home: folder.join("gnupg") };
        std::fs::create_dir_all(&repository.folder)?;
        std::fs::create_dir_all(&repository.home)?;
        run(Command::new("chmod").arg("700").arg(&repository.home))?;
        repository.gpg(&["--quick-generate-key", "keel test", "ed25519", "sign", "never"])?;
        repository.gpg(&["--output", &repository.folder.join("key.gpg").display().to_string(), "--export"])?;
        for version in VERSIONS {
            build(folder, &repository.folder, version)?;
        }
        repository.index()?;
        Ok(repository)
    }

    fn gpg(&self, arguments: &[&str]) -> anyhow::Result<String> {
        run(Command::new("gpg")
            .arg("--homedir")
            .arg(&self.home)
            .args(["--batch", "--yes", "--pinentry-mode", "loopback", "--passphrase", ""])
            .args(arguments))
    }

    /// Takes a version away, as a repository that keeps only the newest would.
    pub fn forget(&self, version: &str) -> anyhow::Result<()> {
        for package in ["hello-keel", "hello-keel-lib"] {
            std::fs::remove_file(self.folder.join(format!("{package}_{version}_all.deb")))?;
        }
        self.index()
    }

    fn index(&self) -> anyhow::Result<()> {
        let packages = run(Command::new("apt-ftparchive").args(["packages", "."]).current_dir(&self.folder))?;
        std::fs::write(self.folder.join("Packages"), packages)?;
        for stale in ["Release", "InRelease"] {
            let _ = std::fs::remove_file(self.folder.join(stale));
        }
        let release = run(Command::new("apt-ftparchive")
            .args(["-o", "APT::FTPArchive::Release::Suite=test", "release", "."])
            .current_dir(&self.folder))?;
        std::fs::write(self.folder.join("Release"), release)?;
        self.gpg(&[
            "--clearsign",
            "--output",
            &self.folder.join("InRelease").display().to_string(),
            &self.folder.join("Release").display().to_string(),
        ])?;
        Ok(())
    }
}

fn build(scratch: &Path, into: &Path, version: &str) -> anyhow::Result<()> {
    let folder = scratch.join(format!("deb-{version}"));
    let write = |path: &str, text: &str, mode: u32| -> anyhow::Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(&folder))?;
        std::fs::write(&path, text)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(Into::into)
    };
    let control = |name: &str, depends: &str| {
        format!(
            "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: Test <test@example.com>\nDescription: a test\n{depends}"
        )
    };
    write("lib/DEBIAN/control", &control("hello-keel-lib", ""), 0o644)?;
    write("lib/usr/lib/hello-keel/lib", version, 0o644)?;
    let dies = if version == "3.0-1" { "5" } else { "0" };
    write("main/DEBIAN/control", &control("hello-keel", &format!("Depends: hello-keel-lib (= {version})\n")), 0o644)?;
    write("main/DEBIAN/conffiles", "/etc/hello-keel/hello.conf\n", 0o644)?;
    write("main/etc/hello-keel/hello.conf", if version == "7.0-1" { "greeting = good day\n" } else { "greeting = hello\n" }, 0o644)?;
    write("main/usr/lib/hello-keel/serve", &SERVE.replace("@VERSION@", version).replace("@DIES@", dies), 0o755)?;
    write("main/lib/systemd/system/hello-keel.service", UNIT, 0o644)?;
    let extra = match version {
        "4.0-1" => "echo 'the schema is too old, giving up' >&2; exit 1\n",
        "6.0-1" => "sleep 10\n",
        _ => "",
    };
    write(
        "main/DEBIAN/postinst",
        &format!(
            "#!/bin/sh\nset -e\n[ \"$1\" = configure ] || exit 0\n{extra}systemctl daemon-reload\nsystemctl enable --quiet hello-keel.service\n"
        ),
        0o755,
    )?;
    for part in ["lib", "main"] {
        run(Command::new("dpkg-deb").args(["--root-owner-group", "--build"]).arg(folder.join(part)).arg(into))?;
    }
    Ok(())
}
