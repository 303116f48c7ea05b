//! A pod of a Deployment, run as its spec says and as a kubelet would: its user, capabilities and read-only root, its volumes with
//! their modes, its environment, its service account. There is no image: the binary under test and the system's own libraries are.
//! All pods share this machine's network, so that each is given a port of its own. Needs root.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::Permissions;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::ControlPlane;

/// Where pods find who they are.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// A process that runs as a pod.
pub struct Pod {
    folder: tempfile::TempDir,
    spec: Value,
    port: u16,
    process: Option<Child>,
    script: String,
    environment: BTreeMap<String, String>,
    volumes: BTreeMap<String, PathBuf>,
}

impl Pod {
    /// Starts one of a Deployment. `claim` is what a persistent volume claim leads to.
    pub fn start(plane: &ControlPlane, namespace: &str, deployment: &str, binary: &Path, claim: &Path) -> anyhow::Result<Self> {
        let text = plane.must(&["get", "deployments.apps", deployment, "--namespace", namespace, "-o", "json"])?;
        let deployment: Value = serde_json::from_str(&text)?;
        let template = &deployment["spec"]["template"];
        let spec = template["spec"].clone();
        let folder = tempfile::Builder::new().prefix("evenkeel-pod-").tempdir()?;
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut pod =
            Self { folder, spec, port, process: None, script: String::new(), environment: BTreeMap::new(), volumes: BTreeMap::new() };
        // As a ReplicaSet makes it; nobody else looks after it.
        let metadata = json!({"name": pod.name(), "labels": template["metadata"]["labels"]});
        let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod.spec});
        let made = plane.with(&["apply", "--namespace", namespace], &object.to_string())?;
        ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        pod.set_up(plane, namespace, binary, claim)?;
        pod.run()?;
        Ok(pod)
    }

    /// Starts it again, with what its volumes hold.
    pub fn run(&mut self) -> anyhow::Result<()> {
        let log = std::fs::File::options().create(true).append(true).open(self.folder.path().join("log"))?;
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-euc", &self.script]).stdin(Stdio::null());
        command.env_clear().envs(&self.environment).stdout(log.try_clone()?).stderr(log);
        self.process = Some(command.spawn().context("unshare")?);
        Ok(())
    }

    fn set_up(&mut self, plane: &ControlPlane, namespace: &str, binary: &Path, claim: &Path) -> anyhow::Result<()> {
        let root = self.folder.path().join("root");
        for folder in ["usr", "proc", "dev", "etc"] {
            std::fs::create_dir_all(root.join(folder))?;
        }
        for folder in ["bin", "lib", "lib64"] {
            symlink(format!("usr/{folder}"), root.join(folder))?;
        }
        std::fs::write(root.join("evenkeel"), "")?;
        let mut script = format!("r={}; mount --bind $r $r; ", root.display());
        write!(script, "mount --rbind -o ro /usr $r/usr; mount --bind {} $r/evenkeel; ", binary.display())?;
        let container = &self.spec["containers"][0];
        let volumes = self.volumes(plane, namespace, claim)?;
        let account = self.account(plane, namespace)?;
        let mounts = container["volumeMounts"].as_array().context("its volume mounts")?;
        for mount in mounts {
            let name = mount["name"].as_str().context("a volume's name")?;
            let volume = volumes.get(name).with_context(|| format!("there is no volume {name}"))?;
            let path = mount["mountPath"].as_str().context("a mount path")?;
            let options = if mount["readOnly"] == true { "ro" } else { "rw" };
            let place = root.join(path.trim_start_matches('/'));
            let source = match mount["subPath"].as_str() {
                Some(part) => {
                    write!(script, "[ -e $r{path} ] || : > $r{path}; ")?;
                    volume.join(part)
                }
                None => {
                    std::fs::create_dir_all(&place)?;
                    volume.clone()
                }
            };
            write!(script, "mount --bind {source} $r{path}; mount -o remount,bind,{options} $r{path}; ", source = source.display())?;
        }
        std::fs::create_dir_all(root.join(ACCOUNT.trim_start_matches('/')))?;
        write!(script, "mount --bind -o ro {} $r{ACCOUNT}; ", account.display())?;
        let security = &container["securityContext"];
        if security["readOnlyRootFilesystem"] == true {
            script.push_str("mount -o remount,bind,ro $r; ");
        }
        let of = |field: &str| self.spec["securityContext"][field].as_u64().with_context(|| field.to_owned());
        write!(script, "exec chroot $r setpriv --reuid {} --regid {} --groups {} ", of("runAsUser")?, of("runAsGroup")?, of("fsGroup")?)?;
        if security["allowPrivilegeEscalation"] == false {
            script.push_str("--no-new-privs ");
        }
        if security["capabilities"]["drop"] == json!(["ALL"]) {
            script.push_str("--bounding-set=-all --inh-caps=-all ");
        }
        script.push_str("/evenkeel");
        for argument in container["args"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let argument = match argument.split_once("--listen=[::]:") {
                Some(_) => format!("--listen=127.0.0.1:{}", self.port),
                None => argument.to_owned(),
            };
            write!(script, " '{argument}'")?;
        }
        self.script = script;
        self.volumes = volumes;
        self.environment = self.environment(plane, namespace)?;
        Ok(())
    }

    fn environment(&self, plane: &ControlPlane, namespace: &str) -> anyhow::Result<BTreeMap<String, String>> {
        let path = "/usr/sbin:/usr/bin:/sbin:/bin";
        let mut environment = BTreeMap::from([("PATH".to_owned(), path.to_owned())]);
        environment.insert("KUBERNETES_SERVICE_HOST".into(), "127.0.0.1".into());
        environment.insert("KUBERNETES_SERVICE_PORT".into(), plane.ports.server.to_string());
        for variable in self.spec["containers"][0]["env"].as_array().into_iter().flatten() {
            let name = variable["name"].as_str().context("a variable's name")?.to_owned();
            let from = &variable["valueFrom"];
            let value = match (variable["value"].as_str(), from["fieldRef"]["fieldPath"].as_str()) {
                (Some(value), _) => value.to_owned(),
                (None, Some("metadata.namespace")) => namespace.to_owned(),
                (None, Some("metadata.name")) => self.name(),
                (None, Some(other)) => bail!("{name}: {other} is not known here"),
                (None, None) => {
                    let secret = from["secretKeyRef"]["name"].as_str().context("a secret's name")?;
                    let key = from["secretKeyRef"]["key"].as_str().context("a secret's key")?;
                    let secret = secret_of(plane, namespace, secret)?;
                    String::from_utf8(secret.get(key).with_context(|| format!("there is no key {key}"))?.clone())?
                }
            };
            environment.insert(name, value);
        }
        Ok(environment)
    }

    /// Makes its volumes, and says where they are.
    fn volumes(&self, plane: &ControlPlane, namespace: &str, claim: &Path) -> anyhow::Result<BTreeMap<String, PathBuf>> {
        let group = self.spec["securityContext"]["fsGroup"].as_u64().and_then(|group| u32::try_from(group).ok());
        let mut volumes = BTreeMap::new();
        for volume in self.spec["volumes"].as_array().into_iter().flatten() {
            let name = volume["name"].as_str().context("a volume's name")?;
            let mut folder = self.folder.path().join("volumes").join(name);
            if volume.get("persistentVolumeClaim").is_some() {
                claim.clone_into(&mut folder);
            }
            std::fs::create_dir_all(&folder)?;
            chown(&folder, None, group)?;
            // As a kubelet makes an empty directory that has a group.
            std::fs::set_permissions(&folder, Permissions::from_mode(0o2777))?;
            if let Some(secret) = volume["secret"]["secretName"].as_str() {
                let mode = volume["secret"]["defaultMode"].as_u64().and_then(|mode| u32::try_from(mode).ok()).unwrap_or(0o644);
                for (key, value) in secret_of(plane, namespace, secret)? {
                    let path = folder.join(key);
                    std::fs::write(&path, value)?;
                    chown(&path, None, group)?;
                    std::fs::set_permissions(&path, Permissions::from_mode(mode))?;
                }
            }
            volumes.insert(name.to_owned(), folder);
        }
        Ok(volumes)
    }

    fn account(&self, plane: &ControlPlane, namespace: &str) -> anyhow::Result<PathBuf> {
        let folder = self.folder.path().join("account");
        std::fs::create_dir_all(&folder)?;
        let account = self.spec["serviceAccountName"].as_str().context("its service account")?;
        std::fs::write(folder.join("token"), plane.token(namespace, account)?)?;
        std::fs::copy(plane.authority(), folder.join("ca.crt"))?;
        std::fs::write(folder.join("namespace"), namespace)?;
        Ok(folder)
    }

    /// Whether a probe of its container says yes.
    pub fn probe(&self, probe: &str) -> Result<(), String> {
        let path = self.spec["containers"][0][probe]["httpGet"]["path"].as_str().ok_or_else(|| format!("it has no {probe}"))?;
        let answer = self.get(path).map_err(|error| format!("{error}\n{}", self.log()))?;
        if answer.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(answer) }
    }

    /// What it answers over HTTP, as it comes.
    pub fn get(&self, path: &str) -> std::io::Result<String> {
        self.request("GET", path, "Accept: */*")
    }

    /// The same with a header.
    pub fn get_with(&self, path: &str, header: &str) -> std::io::Result<String> {
        self.request("GET", path, header)
    }

    /// Posts nothing but these headers, and gives back the answer.
    pub fn post(&self, path: &str, headers: &str) -> std::io::Result<String> {
        self.request("POST", path, &format!("Content-Length: 0\r\n{headers}"))
    }

    fn request(&self, method: &str, path: &str, headers: &str) -> std::io::Result<String> {
        let address = (Ipv4Addr::LOCALHOST, self.port).into();
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n{headers}\r\n\r\n")?;
        let mut answer = String::new();
        stream.take(1 << 16).read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// The id of its process.
    pub fn id(&self) -> u32 {
        self.process.as_ref().map(Child::id).unwrap_or_default()
    }

    /// What it is called.
    pub fn name(&self) -> String {
        format!("evenkeel-{}", self.port)
    }

    /// Where its HTTP interface is.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Sends its process a signal.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let id = self.process.as_ref().and_then(|process| i32::try_from(process.id()).ok()).and_then(Pid::from_raw);
        Ok(kill_process(id.context("it does not run")?, signal)?)
    }

    /// Where one of its volumes is.
    pub fn volume(&self, name: &str) -> PathBuf {
        self.volumes.get(name).cloned().unwrap_or_default()
    }

    /// Whether its process has ended.
    pub fn is_over(&self) -> bool {
        let status = self.process.as_ref().and_then(|process| std::fs::read_to_string(format!("/proc/{}/stat", process.id())).ok());
        status.is_none_or(|status| status.contains(") Z "))
    }

    /// Ends it, as a deleted pod is, and says whether it ended well.
    pub fn terminate(&mut self) -> anyhow::Result<bool> {
        self.signal(Signal::TERM)?;
        let ended = self.process.take().context("it does not run")?.wait()?;
        Ok(ended.success())
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) {
        super::end(self.process.take());
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.kill();
    }
}

fn secret_of(plane: &ControlPlane, namespace: &str, name: &str) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let text = plane.must(&["get", "secret", name, "--namespace", namespace, "-o", "json"])?;
    let secret: Value = serde_json::from_str(&text)?;
    let data = secret["data"].as_object().cloned().unwrap_or_default();
    let values = data.into_iter().map(|(key, value)| {
        let template = format!("go-template={{{{index .data {key:?} | base64decode}}}}");
        let value = value.as_str().map(|_| plane.command(&["get", "secret", name, "--namespace", namespace, "-o", &template]).output());
        Ok((key, value.context("a value")??.stdout))
    });
    values.collect()
}
