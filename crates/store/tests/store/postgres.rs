//! A PostgreSQL server of our own: on a free loopback port, in a temporary directory, gone with the process that started it.

#![allow(dead_code, reason = "the benchmark uses its part of this")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Keeps the server: starts and stops it as it is told, and stops it and removes everything when its input ends, which it does
/// however we end.
const KEEPER: &str = r#"
trap '' INT TERM
start() { "$@" </dev/null >>"$FOLDER/log" 2>&1 & pid=$!; }
stop() { kill -INT "$pid" && wait "$pid"; }
while read -r word; do
    case $word in
        start) start "$@" ;;
        stop) stop ;;
    esac
    echo done
done
stop
rm -rf "$FOLDER"
"#;

/// A server; its user is `evenkeel`.
pub struct Server {
    pub port: u16,
    pub password: String,
    keeper: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    /// Waited for by nobody: it ends by itself.
    _child: Child,
}

impl Server {
    /// Starts one; `None`, said loudly, where PostgreSQL is not installed. In CI that is a failure.
    pub fn start(fsync: bool) -> Option<Self> {
        let Some(programs) = programs() else {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "PostgreSQL is missing, and in CI nothing is skipped");
            // Not by eprintln, which a test that passes keeps to itself.
            let _ = writeln!(std::io::stderr(), "SKIPPED: initdb and postgres are neither on the PATH nor under /usr/lib/postgresql");
            return None;
        };
        let user = unprivileged();
        let folder = folder(user.as_ref());
        let password = format!("p{:x}", std::process::id() ^ 0x5eed_1234);
        std::fs::write(folder.join("password"), &password).unwrap();
        let data = folder.join("data");
        let mut initdb = become_user(user.as_ref(), &programs.join("initdb"));
        // The password as it is: our tests connect often, and a debug build takes its time over SCRAM.
        initdb.args(["--username=evenkeel", "--auth=password", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"]);
        let made = initdb.arg("--pwfile").arg(folder.join("password")).arg("-D").arg(&data).current_dir("/").output().unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut keeper = become_user(user.as_ref(), Path::new("/bin/sh"));
        keeper.args(["-c", KEEPER, "keeper"]).arg(programs.join("postgres")).arg("-D").arg(&data).arg("-k").arg(&folder);
        keeper.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-F"].iter().filter(|argument| !fsync || **argument != "-F"));
        keeper.current_dir("/").env("FOLDER", &folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = keeper.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let server = Self { port, password, keeper: Mutex::new((input, output)), _child: child };
        server.tell("start");
        server.wait(&folder.join("log"));
        Some(server)
    }

    /// Stops it; who is connected is cut off.
    pub fn stop(&self) {
        self.tell("stop");
    }

    /// Starts it again.
    pub fn start_again(&self) {
        self.tell("start");
        self.wait(Path::new(""));
    }

    /// The URL of a database, perhaps through another port.
    pub fn url(&self, database: &str, port: u16) -> String {
        format!("postgres://evenkeel:{}@127.0.0.1:{port}/{database}?sslmode=disable", self.password)
    }

    fn tell(&self, word: &str) {
        let mut keeper = self.keeper.lock().unwrap();
        writeln!(keeper.0, "{word}").unwrap();
        let mut answer = String::new();
        keeper.1.read_line(&mut answer).unwrap();
        assert_eq!(answer, "done\n");
    }

    /// It answers once it takes connections: whatever the answer is, it is no longer "starting up".
    fn wait(&self, log: &Path) {
        let until = Instant::now() + Duration::from_secs(30);
        while Instant::now() < until {
            if self.is_up() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("PostgreSQL did not start: {}", std::fs::read_to_string(log).unwrap_or_default());
    }

    /// A startup message; the answer to it begins with R (authenticate), or with E (error) while it is starting.
    fn is_up(&self) -> bool {
        use std::io::Read as _;
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let body = b"\0\x03\0\0user\0evenkeel\0\0";
        let message = [&(u32::try_from(body.len()).unwrap() + 4).to_be_bytes(), body.as_slice()].concat();
        let mut first = [0];
        stream.write_all(&message).and_then(|()| stream.read_exact(&mut first)).is_ok() && first == *b"R"
    }
}

fn programs() -> Option<PathBuf> {
    let path: Vec<PathBuf> = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|version| version.path().join("bin"));
    let has_both = |folder: &PathBuf| folder.join("initdb").exists() && folder.join("postgres").exists();
    // Where they really lie: beside each other.
    path.into_iter()
        .chain(versions)
        .find(has_both)
        .and_then(|folder| folder.join("initdb").canonicalize().ok()?.parent().map(Path::to_owned))
}

/// PostgreSQL does not run as root: somebody else's numbers, if we are root.
fn unprivileged() -> Option<(u32, u32)> {
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
    let user = |name: &str| {
        let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut numbers = line.split(':').skip(2).map(|number| number.parse().ok());
        Some((numbers.next()??, numbers.next()??))
    };
    Some(user("postgres").or_else(|| user("nobody")).expect("a user postgres or nobody"))
}

fn folder(user: Option<&(u32, u32)>) -> PathBuf {
    let folder = tempfile::Builder::new().prefix("ek-postgres-").tempdir().unwrap().keep();
    std::fs::remove_dir(&folder).unwrap();
    std::fs::DirBuilder::new().mode(0o700).create(&folder).unwrap();
    if let Some((user, group)) = user {
        chown(&folder, Some(*user), Some(*group)).unwrap();
    }
    folder
}

fn become_user(user: Option<&(u32, u32)>, program: &Path) -> Command {
    let Some((user, group)) = user else { return Command::new(program) };
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={user}")).arg(format!("--regid={group}")).arg("--clear-groups").arg("--").arg(program);
    command
}
