//! A real OpenSSH server on a loopback port, whose sessions see a directory of their own as the device's root.

#![allow(dead_code, reason = "each test file uses its part of this")]

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use devices::{Devices, Secrets};
use jiff::Timestamp;
use reconcile::content::AfterChange;
use reconcile::outcome::Outcome;
use reconcile::record::{Actor, resume};
use reconcile::{
    Access, Act as _, Action, Content, Desired, Device, Digest, File, FileSource, Name, Plan, Record, RecordedStep, ServiceUse, SshAccess,
    Step, StepId, Target, Work,
};

/// The server's program; `None`, said loudly, where there is none. In CI that is a failure.
pub fn sshd() -> Option<PathBuf> {
    find("sshd", &["/usr/sbin/sshd", "/usr/local/sbin/sshd"])
}

/// The first of these programs that exists; `None`, said loudly, where there is none. In CI that is a failure.
pub fn find(what: &str, paths: &[&str]) -> Option<PathBuf> {
    let found = paths.iter().map(PathBuf::from).find(|path| path.exists());
    if found.is_none() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{what} is missing, and in CI nothing is skipped");
        eprintln!("SKIPPED: {what} is missing");
    }
    found
}

/// A device: a directory, an OpenSSH server over it, and a key that it accepts.
pub struct Machine {
    pub root: tempfile::TempDir,
    pub port: u16,
    server: Child,
}

impl Machine {
    /// Starts one; `None` where there is no OpenSSH server.
    pub fn start() -> Option<Self> {
        let sshd = sshd()?;
        let root = tempfile::Builder::new().prefix("ek-device-").tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        for folder in ["ssh", "bin", "secrets/key", "cache", "etc", "run", "var/lib/evenkeel"] {
            fs::create_dir_all(path(folder)).unwrap();
        }
        for kind in ["ed25519", "ecdsa"] {
            keygen(&path(&format!("ssh/{kind}")), kind, "");
        }
        keygen(&path("secrets/key/id_ed25519"), "ed25519", "");
        fs::copy(path("secrets/key/id_ed25519.pub"), path("ssh/authorized")).unwrap();
        fs::write(path("etc/evenkeel-boot-id"), "boot-1\n").unwrap();
        // Privilege separation wants this folder; without root there is none.
        let _ = fs::create_dir_all("/run/sshd");
        for _ in 0..20 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let at = root.path().display();
            let config = format!(
                "Port {port}\nListenAddress 127.0.0.1\nHostKey {at}/ssh/ed25519\nHostKey {at}/ssh/ecdsa\nAuthorizedKeysFile {at}/ssh/authorized\n\
                 PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n\
                 MaxStartups 100\nLogLevel ERROR\nPermitUserRC no\nSetEnv EVENKEEL_ROOT={at} PATH={at}/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
            );
            fs::write(path("ssh/config"), config).unwrap();
            let mut server = Command::new(&sshd).args(["-D", "-e", "-f"]).arg(path("ssh/config")).stderr(Stdio::null()).spawn().unwrap();
            let until = Instant::now() + Duration::from_secs(10);
            while Instant::now() < until && server.try_wait().unwrap().is_none() {
                if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Some(Self { root, port, server });
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = server.kill();
            let _ = server.wait();
        }
        panic!("the OpenSSH server did not start");
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path.trim_start_matches('/'))
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| format!("<{error}>"))
    }

    pub fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
    }

    /// Puts a program of the device's own in front of the system's.
    pub fn program(&self, name: &str, script: &str) {
        let path = self.path("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A public host key, without its comment.
    pub fn host_key(&self, kind: &str) -> String {
        let line = self.read(&format!("ssh/{kind}.pub"));
        line.split(' ').take(2).collect::<Vec<_>>().join(" ").trim().to_owned()
    }

    pub fn device(&self, name: &str) -> Device {
        let access = SshAccess {
            port: self.port,
            user: user(),
            secret: Some("key".into()),
            host_keys: vec![self.host_key("ed25519")],
            sudo: false,
            via: None,
        };
        Device {
            name: Name::parse(name),
            device_type: crds::DeviceType::Server,
            address: "127.0.0.1".into(),
            labels: Default::default(),
            parents: Vec::new(),
            access: Access::Ssh(access),
            probes: Vec::new(),
            metrics: None,
            logs: Default::default(),
            maintenance: Vec::new(),
            suspend: false,
            vars: BTreeMap::new(),
        }
    }

    pub fn devices(&self) -> Devices {
        Devices::new(Secrets::new(self.path("secrets")), &self.path("cache"))
    }

    /// Ends every session, as a network that breaks does; the server itself stays.
    pub fn cut(&self) {
        for session in children(self.server.id()) {
            // The process that a session's command runs below is the child of the one that listens.
            for process in children(session).into_iter().filter(|process| name_of(*process).starts_with("sshd")).chain([session]) {
                let _ = Command::new("kill").arg("-KILL").arg(process.to_string()).stderr(Stdio::null()).status();
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.cut();
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn children(parent: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

fn name_of(process: u32) -> String {
    fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default()
}

pub fn keygen(path: &Path, kind: &str, passphrase: &str) {
    let done = Command::new("ssh-keygen").args(["-q", "-C", "test", "-N", passphrase, "-t", kind, "-f"]).arg(path).status().unwrap();
    assert!(done.success());
}

pub fn user() -> String {
    String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap().trim().to_owned()
}

/// The SSH part of a device, to change something of it.
pub fn ssh(device: &mut Device) -> &mut SshAccess {
    match &mut device.access {
        Access::Ssh(access) => access,
        Access::Local | Access::None => panic!("not over SSH"),
    }
}

pub fn desired(devices: &[&Device]) -> Arc<Desired> {
    let devices = devices.iter().map(|device| (device.name.clone(), Arc::new((*device).clone())));
    Arc::new(Desired { devices: devices.collect(), ..Desired::default() })
}

pub fn content() -> Content {
    Content::nothing()
}

/// A file that whoever runs the test may own.
pub fn file(path: &str, source: FileSource) -> File {
    let group = String::from_utf8(Command::new("id").arg("-gn").output().unwrap().stdout).unwrap().trim().to_owned();
    File { path: path.into(), source, mode: "0640".into(), owner: user(), group }
}

pub fn text(path: &str, text: &str) -> File {
    file(path, FileSource::Text(text.into()))
}

pub fn restarted(unit: &str) -> ServiceUse {
    ServiceUse { unit: unit.into(), after: AfterChange::Restart }
}

pub fn work(revision: u32, content: Content) -> Work {
    Work {
        deployment: Name::parse("web"),
        revision,
        digest: content.digest(),
        content: Arc::new(content),
        batch: 1,
        attempt: 1,
        revert: false,
        healthy_before: true,
        from: None,
        deadline_seconds: 120,
    }
}

pub fn step(id: &str, action: Action) -> Step {
    Step {
        id: StepId(id.into()),
        unit: Target::Deployment(Name::parse("web")),
        target: Target::Device(Name::parse("web-01")),
        action,
        expects_version: 1,
        expects: None,
        changes: Vec::new(),
        reason: String::new(),
    }
}

/// A store that has one step to do: what it takes to be allowed to act.
struct OneStep(Step);

impl Record for OneStep {
    type Error = std::convert::Infallible;

    async fn commit(&self, _: &Plan, _: &Actor, _: Timestamp) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn unfinished(&self) -> Result<Vec<Step>, Self::Error> {
        Ok(vec![self.0.clone()])
    }

    async fn begun(&self, id: &StepId) -> Result<Option<Step>, Self::Error> {
        Ok(Some(self.0.clone()).filter(|step| step.id == *id))
    }

    async fn finish(&self, _: &RecordedStep, _: &Outcome) -> Result<(), Self::Error> {
        Ok(())
    }
}

pub async fn recorded(step: Step) -> RecordedStep {
    resume(&OneStep(step)).await.unwrap().remove(0)
}

/// Acts, and wants to see the end of it.
pub async fn act(devices: &Devices, device: &Device, step: Step) -> Outcome {
    devices.act(device, &recorded(step).await).await.expect("the device was lost from sight")
}

pub fn digest(bytes: &[u8]) -> String {
    Digest::of(bytes).as_str().to_owned()
}
