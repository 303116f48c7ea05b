//! Logins of Roles on real Debian machines, with their own useradd, sshd, sudo and visudo.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use e2e::engine::Engine;
use e2e::machine::{Block, Machine};
use e2e::packages::Repository;
use e2e::{rootfs, run, unavailable, wait_until};

const LIMIT: Duration = Duration::from_secs(120);

struct World {
    // Dropped in this order: the engine, the machines, and then what they lie on.
    engine: Engine,
    machines: Vec<Machine>,
    _block: Block,
    folder: tempfile::TempDir,
}

/// Machines and an engine on them; `None`, said loudly, where that can't be had.
fn world(count: u8) -> Option<World> {
    if let Some(why) = unavailable() {
        assert!(std::env::var("CI").is_err(), "in CI nothing may be skipped: {why}");
        eprintln!("SKIPPED: {why}");
        return None;
    }
    let folder = tempfile::Builder::new().prefix("evenkeel-e2e-").tempdir().unwrap();
    let of = |name: &str| {
        let key = folder.path().join(name);
        run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(&key)).unwrap();
        key
    };
    let key = of("key");
    ["alice", "alice2", "eve"].iter().for_each(|name| drop(of(name)));
    let root = rootfs::ensure().unwrap();
    let repository = Repository::make(folder.path()).unwrap();
    let block = Block::take().unwrap();
    let boot =
        |number| Machine::boot(&format!("web-{number}"), &block.address(number), folder.path(), &root, &repository.folder, &key).unwrap();
    let machines: Vec<Machine> = (1..=count).map(boot).collect();
    let engine = Engine::new(folder.path(), &key).unwrap();
    engine.write_devices(&machines).unwrap();
    Some(World { engine, machines, _block: block, folder })
}

impl World {
    fn key(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn public(&self, name: &str) -> String {
        std::fs::read_to_string(self.key(name).with_extension("pub")).unwrap().trim().to_owned()
    }

    /// Commits a Role whose login has these keys, and may run some commands as root.
    fn role(&self, keys: &[&str]) -> String {
        let keys: Vec<String> = keys.iter().map(|name| format!("\"{}\"", self.public(name))).collect();
        let login = format!(
            "{{user: alice, devices: {{matchLabels: {{role: web}}}}, authorizedKeys: [{}], sudo: [\"/usr/bin/id -u\", \"/usr/bin/printf a=b,c:d\"]}}",
            keys.join(", ")
        );
        let text = format!(
            "apiVersion: evenkeel.dev/v1alpha1\nkind: Role\nmetadata: {{name: web-team}}\nspec: {{subjects: [{{user: alice}}], login: {login}}}\n"
        );
        self.engine.commit("role.yaml", &text, "a login").unwrap()
    }

    /// A command as an account over SSH, which is started.
    fn ssh(&self, machine: usize, user: &str, key: &str, command: &str) -> Command {
        let mut ssh = Command::new("ssh");
        let options = [
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            "ConnectTimeout=5",
            "BatchMode=yes",
            "IdentitiesOnly=yes",
        ];
        for option in options {
            ssh.args(["-o", option]);
        }
        ssh.arg("-i").arg(self.key(key)).arg(format!("{user}@{}", self.machines[machine].address)).arg(command).stdin(Stdio::null());
        ssh
    }

    fn alice(&self, machine: usize, key: &str, command: &str) -> Result<String, String> {
        run(&mut self.ssh(machine, "alice", key, command)).map(|said| said.trim().to_owned()).map_err(|error| error.to_string())
    }

    fn refused(&self, machine: usize, key: &str) -> Result<(), String> {
        match self.alice(machine, key, "true") {
            Err(error) if error.contains("Permission denied") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    }

    /// Starts the engine on machines without a login, and waits until it has logged in there.
    fn begin(&mut self) {
        self.engine.git(&["add", "-A"]).unwrap();
        self.engine.git(&["commit", "-q", "-m", "machines"]).unwrap();
        self.engine.start().unwrap();
        self.until("the engine being there", || match self.engine.log().contains("reachable") {
            true => Ok(()),
            false => Err(self.engine.tail()),
        });
    }

    /// Waits until the explanation of the Role has these words.
    fn explained(&self, words: &[&str]) {
        let waited = wait_until(&format!("{words:?}"), LIMIT, || {
            let text = self.engine.text(&["explain", "role/web-team"]).map_err(|error| error.to_string())?;
            if words.iter().all(|word| text.contains(word)) { Ok(()) } else { Err(text) }
        });
        waited.unwrap_or_else(|error| panic!("{error}\n{}", self.engine.tail()));
    }

    fn until(&self, what: &str, look: impl FnMut() -> Result<(), String>) {
        wait_until(what, LIMIT, look).unwrap_or_else(|error| panic!("{error}\n{}", self.engine.tail()));
    }

    /// From now on something is in the way of whoever logs in anew, until so many seconds after a change began to wait for that, or until
    /// that is undone. The connection that the engine has is open all the while.
    fn trip(&self, before: &str, seconds: Option<u32>, after: &str) {
        let wait = match seconds {
            Some(seconds) => format!("sleep {seconds}"),
            None => "d=$(dirname /var/lib/evenkeel/steps/*/confirm); until [ -e \"$d/code\" ]; do sleep 0.2; done".into(),
        };
        let script = format!(
            "#!/bin/sh\n{before}\ntouch /root/tripped\nuntil ls /var/lib/evenkeel/steps/*/confirm >/dev/null 2>&1; do sleep 0.05; done\n{wait}\n{after}\nrm -f /root/trip /root/tripped\n"
        );
        let encoded = script.replace('\'', r"'\''");
        let machine = &self.machines[0];
        machine
            .exec(&format!("printf %s '{encoded}' > /root/trip; chmod +x /root/trip; systemd-run --quiet --collect /root/trip; until [ -e /root/tripped ]; do sleep 0.1; done"))
            .unwrap();
    }

    /// Waits until nothing is in the way any more.
    fn untripped(&self) {
        self.until("the way being free", || match self.machines[0].exec("[ ! -e /root/trip ]") {
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        });
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.engine.tail());
        }
    }
}

const DENY: &str = "echo 'DenyUsers ops' > /etc/ssh/sshd_config.d/deny.conf; systemctl reload ssh";
const ALLOW: &str = "rm /etc/ssh/sshd_config.d/deny.conf; systemctl reload ssh";

/// Somebody gets an account, with a key that changes and with commands that she may run; tries to be more than she is; and leaves.
#[test]
fn somebody_comes_and_leaves() {
    let Some(mut world) = world(3) else { return };
    world.role(&["alice"]);
    world.engine.start().unwrap();
    world.explained(&["role/web-team is Complete", "3 of 3 devices updated"]);
    for machine in 0..3 {
        assert_eq!(world.alice(machine, "alice", "id -un"), Ok("alice".into()));
        assert_eq!(world.alice(machine, "alice", "sudo -n /usr/bin/id -u"), Ok("0".into()));
        assert_eq!(world.alice(machine, "alice", "sudo -n /usr/bin/printf a=b,c:d"), Ok("a=b,c:d".into()));
        for command in
            ["sudo -n /usr/bin/id", "sudo -n /usr/bin/id -u root", "sudo -n /bin/cat /etc/shadow", "sudo -n -u ops /usr/bin/id -u"]
        {
            let error = world.alice(machine, "alice", command).unwrap_err();
            assert!(error.contains("a password is required") || error.contains("not allowed"), "{command}: {error}");
        }
    }
    let roles = world.engine.text(&["get", "roles"]).unwrap();
    assert!(roles.contains("login alice: on 3 of 3 devices"), "{roles}");

    // What is added by hand, by whomever, is taken off again.
    let eve = world.public("eve");
    world.alice(1, "alice", &format!("echo '{eve}' >> ~/.ssh/authorized_keys")).unwrap();
    world.until("Eve being out again", || world.refused(1, "eve"));
    // She can't make root write or read where she could not.
    let shadow = world.machines[0].exec("sha256sum /etc/shadow").unwrap();
    world.alice(0, "alice", "ln -sf /etc/shadow ~/.ssh/authorized_keys").unwrap();
    world.until("Alice being in again", || world.alice(0, "alice", "true").map(drop));
    // Each on another machine: who does so again and again is put right more and more seldom.
    world.alice(2, "alice", "mv ~/.ssh ~/away; ln -s /etc ~/.ssh").unwrap();
    world.until("Alice being in again", || world.alice(2, "alice", "true").map(drop));
    world.alice(1, "alice", "rm ~/.ssh/authorized_keys; mkfifo ~/.ssh/authorized_keys").unwrap();
    world.until("Alice being in again", || world.alice(1, "alice", "true").map(drop));
    assert_eq!(world.machines[0].exec("sha256sum /etc/shadow").unwrap(), shadow);
    assert_eq!(world.machines[0].exec("ls -A /etc | grep -c evenkeel || true").unwrap().trim(), "0");

    world.role(&["alice2"]);
    for machine in 0..3 {
        world.until("the old key being refused", || world.refused(machine, "alice"));
        world.until("the new key being taken", || world.alice(machine, "alice2", "true").map(drop));
    }
    world.explained(&["role/web-team is Complete", "3 of 3 devices updated"]);
    let session: Child = world.ssh(2, "alice", "alice2", "sleep 1000").spawn().unwrap();
    world.until("her session", || world.machines[2].exec("pgrep -u alice sleep").map(drop).map_err(|error| error.to_string()));

    // What can be neither read nor taken away by her keeps no right of hers.
    world.alice(0, "alice2", "ln -sfn /proc/self/mem ~/.ssh/authorized_keys").unwrap();
    let folder = "cd ~/.ssh; rm authorized_keys; mkdir -p authorized_keys/d/e; chmod 000 authorized_keys/d; chmod 500 .";
    world.alice(1, "alice2", folder).unwrap();
    world.engine.git(&["rm", "-q", "role.yaml"]).unwrap();
    world.engine.git(&["commit", "-q", "-m", "alice leaves"]).unwrap();
    for machine in 0..3 {
        world.until("Alice being out", || world.refused(machine, "alice2"));
    }
    world.until("her session being over", || match world.machines[2].exec("pgrep -u alice || true").unwrap_or_default().trim() {
        "" => Ok(()),
        left => Err(left.to_owned()),
    });
    drop(session.wait_with_output());
    world.until("nothing being left to do", || match world.engine.cli(&["explain", "role/web-team"]).status.success() {
        false => Ok(()),
        true => world.engine.text(&["explain", "role/web-team"]).map_or(Ok(()), Err),
    });
    for machine in &world.machines {
        let left = machine
            .exec("getent shadow alice | cut -d: -f2,8; ls /etc/sudoers.d; ls -A /home/alice/.ssh; visudo -cf /etc/sudoers")
            .unwrap();
        assert!(left.starts_with("!*:1\n") && !left.contains("evenkeel") && !left.contains("authorized_keys"), "{left}");
        assert_eq!(machine.exec("stat -c %U /home/alice").unwrap().trim(), "alice");
    }
    let log = world.engine.text(&["audit", "list", "--limit", "1000"]).unwrap();
    assert!(log.contains("role/web-team") && !log.contains("deployment/role:"), "{log}");

    // Nothing of a private key is anywhere but where it was put.
    for name in ["key", "alice", "alice2"] {
        let text = std::fs::read_to_string(world.key(name)).unwrap();
        for secret in text.lines().filter(|line| !line.starts_with('-') && line.len() > 40).skip(1) {
            let found = Command::new("grep").args(["-rlaF", secret]).arg(&world.engine.data).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&found.stdout), "", "{name}");
            assert!(!world.engine.log().contains(secret), "{name}");
            for machine in &world.machines {
                let found = machine.exec(&format!("grep -rlaF '{secret}' /var/lib/evenkeel /home /etc || true")).unwrap();
                assert_eq!(found, "", "{name}");
            }
        }
    }
}

/// Whatever keeps the engine out after a change, the device brings back what was there; and where that is over, it goes on.
#[test]
fn a_change_that_locks_the_engine_out_undoes_itself() {
    let Some(mut world) = world(1) else { return };
    world.begin();
    // What is checked last finds sudo well, and somebody breaks it right behind.
    let visudo = "#!/bin/sh\\n/usr/sbin/visudo.real \"$@\"; code=$?\\n[ ! -e /etc/sudoers.d/evenkeel-alice ] || chmod 0666 /etc/sudoers\\nexit $code\\n";
    let breaks = format!("mv /usr/sbin/visudo /usr/sbin/visudo.real; printf '{visudo}' > /usr/sbin/visudo; chmod +x /usr/sbin/visudo");
    let mends = "mv /usr/sbin/visudo.real /usr/sbin/visudo; chmod 0440 /etc/sudoers";
    for (key, (before, after)) in [("alice", (breaks.as_str(), mends)), ("alice2", (DENY, ALLOW))] {
        world.trip(before, None, after);
        world.role(&[key]);
        world.explained(&["role/web-team is Failed", "undone: the engine could not log in"]);
        world.untripped();
        world.until("her being out", || world.refused(0, key));
        let roles = world.engine.text(&["get", "roles"]).unwrap();
        assert!(roles.contains("1 failed"), "{roles}");
        world.engine.text(&["rollout", "resume", "role/web-team"]).unwrap();
        world.explained(&["role/web-team is Complete"]);
        world.until("her being in", || world.alice(0, key, "sudo -n /usr/bin/id -u").map(drop));
        world.machines[0].exec("visudo -cf /etc/sudoers").unwrap();
        world.machines[0].exec("rm -rf /var/lib/evenkeel/steps/*/confirm").unwrap();
    }
}

/// kill -9 while a change waits for the engine: the next one finds it waiting and says yes, or finds it undone.
#[test]
fn killed_while_a_change_waits() {
    let Some(mut world) = world(1) else { return };
    world.begin();
    world.trip(DENY, Some(12), ALLOW);
    world.role(&["alice"]);
    let kept_out = |world: &World, times: usize| {
        world.until("the engine being kept out", || {
            if world.engine.log().matches("nobody can log in since the change").count() >= times { Ok(()) } else { Err("not yet".into()) }
        });
    };
    kept_out(&world, 1);
    world.engine.kill().unwrap();
    world.untripped();
    world.machines[0].exec("ls /var/lib/evenkeel/steps/*/confirm").expect("it waits still");
    world.engine.start().unwrap();
    world.explained(&["role/web-team is Complete", "1 of 1 devices updated"]);
    assert_eq!(world.alice(0, "alice", "id -un"), Ok("alice".into()));
    assert_eq!(world.machines[0].exec("ls /var/lib/evenkeel/steps | wc -l").unwrap().trim(), "2", "prepared and applied, each once");

    // And once more, with nobody there until it is too late.
    world.trip(DENY, None, ALLOW);
    let before = world.engine.log().matches("nobody can log in since the change").count();
    world.role(&["alice2"]);
    kept_out(&world, before + 1);
    world.engine.kill().unwrap();
    world.untripped();
    assert_eq!(world.alice(0, "alice", "id -un"), Ok("alice".into()), "what was there before is back");
    world.refused(0, "alice2").unwrap();
    world.engine.start().unwrap();
    world.explained(&["role/web-team is Failed", "undone: the engine could not log in"]);
    world.engine.text(&["rollout", "resume", "role/web-team"]).unwrap();
    world.until("the new key being taken", || world.alice(0, "alice2", "true").map(drop));
}
