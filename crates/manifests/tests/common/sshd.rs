//! A real OpenSSH server on a loopback port.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub struct Server {
    pub port: u16,
    home: tempfile::TempDir,
    process: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    /// Starts one that accepts the key `client`; `None` where there is no OpenSSH server.
    pub fn start() -> Option<Self> {
        let sshd = super::find("sshd", &["/usr/sbin/sshd", "/usr/local/sbin/sshd"])?;
        let home = tempfile::tempdir().unwrap();
        for name in ["host", "client", "stranger", "other-host"] {
            keygen(&home.path().join(name), "");
        }
        std::fs::copy(home.path().join("client.pub"), home.path().join("authorized")).unwrap();
        // Privilege separation wants this folder; without root there is none.
        let _ = std::fs::create_dir_all("/run/sshd");
        for _ in 0..20 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let at = home.path().display();
            let config = format!(
                "Port {port}\nListenAddress 127.0.0.1\nHostKey {at}/host\nAuthorizedKeysFile {at}/authorized\nPidFile none\nStrictModes no\n\
                 UsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\nLogLevel ERROR\nPermitUserRC no\n"
            );
            std::fs::write(home.path().join("config"), config).unwrap();
            let mut process =
                Command::new(&sshd).args(["-D", "-e", "-f"]).arg(home.path().join("config")).stderr(Stdio::null()).spawn().unwrap();
            let until = Instant::now() + Duration::from_secs(10);
            while Instant::now() < until && process.try_wait().unwrap().is_none() {
                if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Some(Self { port, home, process });
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = process.kill();
            let _ = process.wait();
        }
        panic!("the OpenSSH server did not start");
    }

    /// A private key as text.
    pub fn key(&self, name: &str) -> String {
        std::fs::read_to_string(self.home.path().join(name)).unwrap()
    }

    /// A public key without its comment.
    pub fn public(&self, name: &str) -> String {
        let line = self.key(&format!("{name}.pub"));
        line.split(' ').take(2).collect::<Vec<_>>().join(" ").trim().to_owned()
    }

    /// The line that pins a key for this server.
    pub fn known(&self, name: &str) -> String {
        format!("[127.0.0.1]:{} {}\n", self.port, self.public(name))
    }

    pub fn url(&self, path: &Path) -> String {
        format!("ssh://{}@127.0.0.1:{}{}", user(), self.port, path.display())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }
}

pub fn keygen(path: &Path, passphrase: &str) {
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-C", "test", "-N", passphrase, "-f"]).arg(path).status().unwrap();
    assert!(made.success());
}

fn user() -> String {
    String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap().trim().to_owned()
}
