//! A real Kubernetes control plane on free loopback ports: etcd, kube-apiserver and, where something has to be collected,
//! kube-controller-manager. No kubelet: pods stay pending.

pub mod plain;
pub mod pod;
pub mod programs;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{run, wait_until};

/// How often other ports are tried when somebody else was quicker to take one.
const TRIES: usize = 5;
/// How many kinds we have.
const KINDS: usize = 8;
/// How long a program has to come up.
const UP: Duration = Duration::from_secs(60);

/// A control plane; its programs end with it.
pub struct ControlPlane {
    folder: tempfile::TempDir,
    programs: PathBuf,
    ports: Ports,
    /// Further arguments of the API server.
    arguments: Vec<String>,
    controllers: Option<Child>,
    server: Option<Child>,
    etcd: Option<Child>,
    /// Resources of which the operator is meant to be denied something.
    denied: Mutex<Vec<String>>,
    /// Lines of the audit log that were written while the server started again: it forbids everything until it has read its rules.
    starts: Vec<Range<usize>>,
}

#[derive(Clone, Copy)]
struct Ports {
    clients: u16,
    peers: u16,
    server: u16,
}

impl Ports {
    fn free() -> anyhow::Result<Self> {
        let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0"));
        let mut ports = Vec::new();
        for listener in &listeners {
            let listener = listener.as_ref().map_err(|error| anyhow::anyhow!("a free port: {error}"))?;
            ports.push(listener.local_addr()?.port());
        }
        Ok(Self { clients: ports[0], peers: ports[1], server: ports[2] })
    }
}

impl ControlPlane {
    /// A new, empty one that is up.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_with(&[])
    }

    /// The same, with further arguments of the API server.
    pub fn start_with(arguments: &[&str]) -> anyhow::Result<Self> {
        let programs = programs::control_plane()?;
        let mut last = None;
        for _ in 0..TRIES {
            match Self::try_start(&programs, arguments) {
                Ok(plane) => return Ok(plane),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("no try")?)
    }

    fn try_start(programs: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("evenkeel-control-plane-").tempdir()?;
        let programs = programs.to_owned();
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let mut plane = Self {
            folder,
            programs,
            ports: Ports::free()?,
            arguments,
            controllers: None,
            server: None,
            etcd: None,
            denied: Mutex::default(),
            starts: Vec::new(),
        };
        plane.certify()?;
        plane.start_etcd()?;
        plane.start_server()?;
        Ok(plane)
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.path("admin.kubeconfig")
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.ports.server)
    }

    /// The port of the API server.
    pub fn port(&self) -> u16 {
        self.ports.server
    }

    /// The certificate of its authority, PEM.
    pub fn authority(&self) -> PathBuf {
        self.path("ca.crt")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// kubectl as the administrator.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.programs.join("kubectl"));
        // Its cache of what the server offers lies in the home directory.
        command.arg("--kubeconfig").arg(self.kubeconfig()).args(arguments).env("HOME", self.folder.path());
        command
    }

    /// What kubectl says, however it ends.
    pub fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        Ok(self.command(arguments).stdin(Stdio::null()).output()?)
    }

    /// What kubectl prints, which has to succeed.
    pub fn must(&self, arguments: &[&str]) -> anyhow::Result<String> {
        run(self.command(arguments).stdin(Stdio::null()))
    }

    /// `kubectl ARGUMENTS -f -` on a text.
    pub fn with(&self, arguments: &[&str], text: &str) -> anyhow::Result<Output> {
        let mut child =
            self.command(arguments).args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut input = child.stdin.take().context("its input")?;
        let text = text.to_owned();
        // It may print before it has read all.
        let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
        let output = child.wait_with_output()?;
        let _ = writer.join();
        Ok(output)
    }

    /// Applies a text on the server's side, which has to succeed.
    pub fn apply(&self, text: &str) -> anyhow::Result<String> {
        let output = self.with(&["apply", "--server-side"], text)?;
        if !output.status.success() {
            bail!("kubectl apply: {}\n{text}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Our kinds, as they lie in the checkout.
    pub fn install_crds(&self) -> anyhow::Result<()> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds");
        let definitions = std::fs::read_dir(folder)?.flatten().map(|entry| entry.path());
        for path in definitions.filter(|path| path.extension().is_some_and(|suffix| suffix == "yaml")) {
            self.must(&["apply", "--server-side", "-f", &path.display().to_string()])?;
        }
        self.wait_for_kinds()
    }

    fn wait_for_kinds(&self) -> anyhow::Result<()> {
        // kubectl gives up at once on one that has no status yet.
        wait_until("the kinds being established", UP, || {
            let waited = self.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"]);
            let waited = waited.map_err(|error| error.to_string())?;
            if waited.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&waited.stderr).into_owned()) }
        })?;
        // What the server says that it offers follows a moment later.
        wait_until("the kinds being offered", UP, || {
            let offered = self.kubectl(&["api-resources", "--cached=false", "--api-group=evenkeel.dev", "-o", "name"]);
            let offered = offered.map_err(|error| error.to_string())?;
            let names = String::from_utf8_lossy(&offered.stdout);
            if names.lines().count() == KINDS { Ok(()) } else { Err(names.into_owned()) }
        })
    }

    /// Helm as the administrator.
    pub fn helm(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let mut command = Command::new(programs::helm()?);
        command.args(arguments).arg("--kubeconfig").arg(self.kubeconfig()).env("HOME", self.folder.path()).stdin(Stdio::null());
        Ok(command.output()?)
    }

    /// The chart, installed as this release in a namespace of its own; `values` are its `--set` values.
    pub fn install_chart(&self, release: &str, namespace: &str, values: &[&str]) -> anyhow::Result<()> {
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/evenkeel").display().to_string();
        let mut arguments = vec!["upgrade", "--install", release, &chart, "--namespace", namespace, "--create-namespace"];
        values.iter().for_each(|value| arguments.extend(["--set", value]));
        let output = self.helm(&arguments)?;
        if !output.status.success() {
            bail!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        self.wait_for_kinds()
    }

    /// What a service account has asked the API server for so far: the server's own audit log.
    pub fn requests_of(&self, namespace: &str, name: &str) -> anyhow::Result<Vec<Request>> {
        let user = format!("system:serviceaccount:{namespace}:{name}");
        // Whoever was acted for, where somebody was.
        let by = |entry: &Value| {
            [&entry["impersonatedUser"], &entry["user"]].into_iter().find_map(|user| user["username"].as_str().map(str::to_owned))
        };
        self.requests(|entry| by(entry).as_deref() == Some(&user))
    }

    /// What was asked for in the name of a user, by a service account that acted for them.
    pub fn requests_for(&self, user: &str, namespace: &str, name: &str) -> anyhow::Result<Vec<Request>> {
        let account = format!("system:serviceaccount:{namespace}:{name}");
        self.requests(|entry| entry["impersonatedUser"]["username"] == user && entry["user"]["username"] == account.as_str())
    }

    /// This test has the operator ask for what it may not have of a resource, such as `evenkeel.dev/devices`, or of every one (`*`). Otherwise a
    /// right that it lacks fails the test, whatever else is tested, when this is dropped.
    pub fn denials_are_meant(&self, of: &str) {
        self.denied.lock().unwrap_or_else(PoisonError::into_inner).push(of.to_owned());
    }

    /// What the operator itself asked for and its rights don't let it, by the server's own audit log: a release of the chart has an account of
    /// its name. What is done in the name of others is a matter of their rights, and what admission refuses is none of rights.
    fn denied(&self) -> Vec<Request> {
        let is_operator = |user: &str| user.starts_with("system:serviceaccount:") && user.ends_with(":evenkeel");
        let is_denied = |entry: &Value| {
            entry["responseStatus"]["code"] == 403
                && entry["annotations"]["authorization.k8s.io/decision"] != "allow"
                && entry["impersonatedUser"].is_null()
                && entry["user"]["username"].as_str().is_some_and(is_operator)
        };
        let text = std::fs::read_to_string(self.path("audit.log")).unwrap_or_default();
        let lines = text.lines().enumerate().filter(|(line, _)| !self.starts.iter().any(|start| start.contains(line)));
        let entries = lines.filter_map(|(_, line)| serde_json::from_str::<Value>(line).ok());
        let meant = self.denied.lock().unwrap_or_else(PoisonError::into_inner);
        let is_meant = |request: &Request| meant.iter().any(|of| of == "*" || *of == request.resource);
        entries.filter(is_denied).map(|entry| Request::of(&entry)).filter(|request| !is_meant(request)).collect()
    }

    /// Lines of the server's audit log so far.
    fn audited(&self) -> usize {
        std::fs::read_to_string(self.path("audit.log")).unwrap_or_default().lines().count()
    }

    fn requests(&self, is_wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Vec<Request>> {
        let text = std::fs::read_to_string(self.path("audit.log"))?;
        let entries = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        Ok(entries.filter(is_wanted).map(|entry| Request::of(&entry)).collect())
    }

    /// From the first request of this verb on this resource, such as `patch` on `evenkeel.dev/devices`, in a namespace, until the last one was
    /// answered, by the server's own audit log. `account`: only those in the name of a service account of the namespace, or only others.
    pub fn span(&self, (verb, resource): (&str, &str), namespace: &str, account: Option<&str>) -> anyhow::Result<(Timestamp, Timestamp)> {
        let prefix = format!("system:serviceaccount:{namespace}:");
        let text = std::fs::read_to_string(self.path("audit.log"))?;
        let mut span = None::<(Timestamp, Timestamp)>;
        for entry in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let request = Request::of(&entry);
            let acted_for = entry["impersonatedUser"]["username"].as_str().and_then(|user| user.strip_prefix(&prefix));
            if (request.verb.as_str(), request.resource.as_str(), request.namespace.as_str()) != (verb, resource, namespace)
                || acted_for != account
            {
                continue;
            }
            let at = |field: &str| entry[field].as_str().unwrap_or_default().parse::<Timestamp>();
            let (begin, end) = (at("requestReceivedTimestamp")?, at("stageTimestamp")?);
            span = Some(span.map_or((begin, end), |(first, last)| (first.min(begin), last.max(end))));
        }
        span.with_context(|| format!("nobody asked for {verb} {resource} in {namespace}"))
    }

    /// A token of a service account.
    pub fn token(&self, namespace: &str, name: &str) -> anyhow::Result<String> {
        Ok(self.must(&["create", "token", name, "--namespace", namespace, "--duration=2h"])?.trim().to_owned())
    }

    /// A kubeconfig with a token of a service account: what it may do is what its roles say.
    pub fn service_account(&self, namespace: &str, name: &str) -> anyhow::Result<PathBuf> {
        let token = self.token(namespace, name)?;
        let file = format!("{namespace}-{name}.kubeconfig");
        self.write(&file, &self.kubeconfig_for(&format!("{{token: {token}}}")))?;
        Ok(self.path(&file))
    }

    /// Ends the API server at once, as a crash would, and starts it again.
    pub fn restart_server(&mut self) -> anyhow::Result<()> {
        end(self.server.take());
        let before = self.audited();
        self.start_server()?;
        self.starts.push(before..self.audited());
        Ok(())
    }

    /// Ends the API server.
    pub fn stop_server(&mut self) {
        end(self.server.take());
    }

    /// Stops etcd (`SIGSTOP`), as a disk does that does not answer, or lets it go on (`SIGCONT`).
    pub fn signal_etcd(&self, signal: Signal) -> anyhow::Result<()> {
        let etcd = self.etcd.as_ref().and_then(|etcd| i32::try_from(etcd.id()).ok()).and_then(Pid::from_raw);
        Ok(kill_process(etcd.context("etcd does not run")?, signal)?)
    }

    /// Has etcd forget what was before now, so that no watch can begin there any more.
    pub fn compact(&self) -> anyhow::Result<()> {
        // A key that is not there is the cheapest way to ask for the revision.
        let now = self.ask_etcd("range", r#"{"key":"AA=="}"#)?;
        let revision = now["header"]["revision"].as_str().with_context(|| now.to_string())?;
        self.ask_etcd("compaction", &format!(r#"{{"revision":"{revision}","physical":true}}"#)).map(drop)
    }

    /// etcd's own API as JSON, see "gRPC gateway" in its documentation.
    fn ask_etcd(&self, what: &str, body: &str) -> anyhow::Result<Value> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.ports.clients))?;
        stream.set_read_timeout(Some(UP))?;
        write!(stream, "POST /v3/kv/{what} HTTP/1.0\r\nHost: etcd\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let said = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
        if answer.split(' ').nth(1).is_none_or(|code| code != "200") {
            bail!("etcd: {what}: {answer}");
        }
        Ok(serde_json::from_str(said)?)
    }

    /// Starts the controllers that end namespaces, collect what nobody owns any more, and make service accounts.
    pub fn start_controllers(&mut self) -> anyhow::Result<()> {
        let controllers = self
            .program("kube-controller-manager")?
            .arg("--kubeconfig")
            .arg(self.kubeconfig())
            .arg("--service-account-private-key-file")
            .arg(self.path("sa.key"))
            .arg("--root-ca-file")
            .arg(self.path("ca.crt"))
            .args([
                "--controllers=namespace,garbagecollector,serviceaccount,root-ca-cert-publisher",
                "--leader-elect=false",
                "--secure-port=0",
            ])
            .spawn()?;
        self.controllers = Some(controllers);
        Ok(())
    }

    /// A program with its output in a file of its name.
    fn program(&self, name: &str) -> anyhow::Result<Command> {
        let log = std::fs::File::options().create(true).append(true).open(self.path(&format!("{name}.log")))?;
        let mut command = Command::new(self.programs.join(name));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(command)
    }

    fn tail(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }

    fn start_etcd(&mut self) -> anyhow::Result<()> {
        let Ports { clients, peers, .. } = self.ports;
        let (clients, peers) = (format!("http://127.0.0.1:{clients}"), format!("http://127.0.0.1:{peers}"));
        let mut etcd = self.program("etcd")?;
        etcd.arg("--data-dir").arg(self.path("etcd")).args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
        etcd.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers, "--name", "t"]);
        etcd.arg("--initial-cluster").arg(format!("t={peers}")).arg("--unsafe-no-fsync");
        self.etcd = Some(etcd.spawn().context("etcd")?);
        let up = wait_until("etcd", UP, || self.is_open(self.ports.clients, self.etcd.as_ref()));
        up.with_context(|| self.tail("etcd"))
    }

    fn start_server(&mut self) -> anyhow::Result<()> {
        let mut server = self.program("kube-apiserver")?;
        server.arg(format!("--etcd-servers=http://127.0.0.1:{}", self.ports.clients));
        server.arg(format!("--secure-port={}", self.ports.server));
        server.args(["--bind-address=127.0.0.1", "--endpoint-reconciler-type=none", "--authorization-mode=RBAC"]);
        server.args(["--service-cluster-ip-range=10.0.0.0/24", "--disable-admission-plugins=ServiceAccount", "--allow-privileged=true"]);
        server.args(&self.arguments);
        self.write("audit.yaml", "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata, omitStages: [RequestReceived]}]\n")?;
        server.arg("--audit-policy-file").arg(self.path("audit.yaml")).arg("--audit-log-path").arg(self.path("audit.log"));
        let issuer = "https://kubernetes.default.svc";
        server.arg(format!("--service-account-issuer={issuer}")).arg(format!("--api-audiences={issuer}"));
        for (option, file) in [
            ("tls-cert-file", "server.crt"),
            ("tls-private-key-file", "server.key"),
            ("client-ca-file", "ca.crt"),
            ("service-account-key-file", "sa.pub"),
            ("service-account-signing-key-file", "sa.key"),
        ] {
            server.arg(format!("--{option}={}", self.path(file).display()));
        }
        self.server = Some(server.spawn().context("kube-apiserver")?);
        let up = wait_until("kube-apiserver", UP, || {
            self.is_open(self.ports.server, self.server.as_ref())?;
            match self.kubectl(&["get", "--raw", "/readyz"]) {
                Ok(output) if output.stdout == b"ok" => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
        up.with_context(|| self.tail("kube-apiserver"))
    }

    fn is_open(&self, port: u16, process: Option<&Child>) -> Result<(), String> {
        let is_there = process.is_some_and(|process| Path::new(&format!("/proc/{}/exe", process.id())).exists());
        let address = (Ipv4Addr::LOCALHOST, port).into();
        let open = TcpStream::connect_timeout(&address, Duration::from_millis(200)).map(drop).map_err(|error| error.to_string());
        if is_there { open } else { Err("it has ended".into()) }
    }

    /// An authority, the server's certificate, the administrator's, and the key of service account tokens.
    fn certify(&self) -> anyhow::Result<()> {
        let authority_key = KeyPair::generate()?;
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(DnType::CommonName, "evenkeel tests");
        self.write("ca.crt", &authority.self_signed(&authority_key)?.pem())?;
        let issuer = Issuer::new(authority, authority_key);
        let mut server = CertificateParams::new(vec!["localhost".into(), "kubernetes.default.svc".into()])?;
        server.subject_alt_names.push(SanType::IpAddress(Ipv4Addr::LOCALHOST.into()));
        let mut admin = CertificateParams::default();
        admin.distinguished_name.push(DnType::OrganizationName, "system:masters");
        admin.distinguished_name.push(DnType::CommonName, "admin");
        for (name, parameters) in [("server", server), ("admin", admin)] {
            let key = KeyPair::generate()?;
            self.write(&format!("{name}.crt"), &parameters.signed_by(&key, &issuer)?.pem())?;
            self.write(&format!("{name}.key"), &key.serialize_pem())?;
        }
        let tokens = KeyPair::generate()?;
        self.write("sa.key", &tokens.serialize_pem())?;
        self.write("sa.pub", &tokens.public_key_pem())?;
        let user =
            format!("{{client-certificate: {}, client-key: {}}}", self.path("admin.crt").display(), self.path("admin.key").display());
        self.write("admin.kubeconfig", &self.kubeconfig_for(&user))
    }

    /// A kubeconfig for a user, given as the YAML of its credentials.
    pub fn kubeconfig_for(&self, user: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\nclusters: [{{name: test, cluster: {{server: '{}', certificate-authority: {}}}}}]\nusers: [{{name: test, user: {user}}}]\ncontexts: [{{name: test, context: {{cluster: test, user: test, namespace: default}}}}]\ncurrent-context: test\n",
            self.url(),
            self.path("ca.crt").display(),
        )
    }

    /// Writes a file beside the programs' own, and says where it is.
    pub fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        std::fs::write(self.path(name), text).with_context(|| name.to_owned())
    }
}

/// One request, as rules speak of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// Such as `patch`.
    pub verb: String,
    /// Such as `evenkeel.dev/devices/status`.
    pub resource: String,
    /// Where.
    pub namespace: String,
    /// Of what name; empty: none.
    pub name: String,
    /// It was answered with 403.
    pub forbidden: bool,
    /// It is a watch that began with all that was there.
    pub streams: bool,
}

impl Request {
    fn of(entry: &Value) -> Self {
        let text = |field: &Value| field.as_str().unwrap_or_default().to_owned();
        let object = &entry["objectRef"];
        let parts = [&object["apiGroup"], &object["resource"], &object["subresource"]];
        let parts: Vec<&str> = parts.iter().filter_map(|part| part.as_str()).collect();
        Self {
            verb: text(&entry["verb"]),
            resource: parts.join("/"),
            namespace: text(&object["namespace"]),
            name: text(&object["name"]),
            forbidden: entry["responseStatus"]["code"] == 403,
            streams: entry["requestURI"].as_str().is_some_and(|asked| asked.contains("sendInitialEvents=true")),
        }
    }
}

/// Ends a process that we started.
fn end(process: Option<Child>) {
    let Some(mut process) = process else { return };
    let _ = process.kill();
    let _ = process.wait();
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        end(self.controllers.take());
        end(self.server.take());
        end(self.etcd.take());
        let denied = self.denied();
        assert!(denied.is_empty() || std::thread::panicking(), "the chart's rules did not let the operator do something: {denied:?}");
    }
}
