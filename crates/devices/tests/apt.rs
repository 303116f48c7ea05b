//! The apt driver against the real apt and dpkg, on a root of their own with a small local repository.

mod common;

use std::fs;
use std::process::Command;

use common::{Machine, act, content, find, restarted, step, work};
use devices::Devices;
use reconcile::outcome::Outcome;
use reconcile::rollout::WayBackSeen;
use reconcile::{Action, Apt, Content, Device, ItemKey, ItemSeen, Observe as _, Package, StepId, Verdict, Work};

struct Debian {
    machine: Machine,
    devices: Devices,
    device: Device,
    steps: u32,
}

impl Debian {
    /// A device whose apt and dpkg are the real ones. dpkg unpacks as root only.
    fn start() -> Option<Self> {
        for tool in ["/usr/bin/apt-get", "/usr/bin/dpkg-deb"] {
            find(tool, &[tool])?;
        }
        if common::user() != "root" {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "not root, and in CI nothing is skipped");
            eprintln!("SKIPPED: dpkg unpacks as root only");
            return None;
        }
        let machine = Machine::start()?;
        let at = machine.root.path().display().to_string();
        for folder in [
            "var/lib/dpkg/info",
            "var/lib/dpkg/updates",
            "var/lib/apt/lists/partial",
            "var/cache/apt/archives/partial",
            "etc/apt/preferences.d",
            "etc/apt/apt.conf.d",
            "var/log/apt",
            "repo",
            "build",
        ] {
            fs::create_dir_all(machine.path(folder)).unwrap();
        }
        for file in ["var/lib/dpkg/status", "var/lib/dpkg/available", "etc/apt/trusted.gpg"] {
            machine.write(file, "");
        }
        machine.write("etc/apt/sources.list", &format!("deb [trusted=yes] file:{at}/repo ./\n"));
        let options =
            format!("DPkg::Options {{ \"--root={at}\"; \"--force-not-root\"; \"--force-script-chrootless\"; \"--log=/dev/null\"; }};");
        machine.write("etc/apt.conf", &format!("Dir \"{at}\";\nDir::Bin::methods \"/usr/lib/apt/methods\";\nDir::Bin::dpkg \"/usr/bin/dpkg\";\n{options}\nAPT::Sandbox::User \"root\";\nAPT::Architecture \"amd64\";\nDir::State::status \"{at}/var/lib/dpkg/status\";\n"));
        machine.program("apt-get", &format!("APT_CONFIG={at}/etc/apt.conf exec /usr/bin/apt-get \"$@\""));
        machine
            .program("dpkg", &format!("exec /usr/bin/dpkg --root={at} --force-not-root --force-script-chrootless --log=/dev/null \"$@\""));
        machine.program("dpkg-query", &format!("exec /usr/bin/dpkg-query --admindir={at}/var/lib/dpkg \"$@\""));
        machine.program("systemctl", "case \"$1\" in show) for last; do :; done; [ -e \"$EVENKEEL_ROOT/usr/share/app\" ] && s=active || s=inactive; echo \"ActiveState=$s\" ;; esac");
        let (devices, device) = (machine.devices(), machine.device("web-01"));
        Some(Self { machine, devices, device, steps: 0 })
    }

    /// Puts a package into the repository. The file of `app` carries its version; `conf` is its configuration file.
    fn publish(&self, name: &str, version: &str, depends: &str, postinst: &str) {
        let build = self.machine.path(&format!("build/{name}_{version}"));
        fs::create_dir_all(build.join("DEBIAN")).unwrap();
        fs::create_dir_all(build.join("usr/share")).unwrap();
        fs::create_dir_all(build.join("etc")).unwrap();
        let depends = if depends.is_empty() { String::new() } else { format!("Depends: {depends}\n") };
        fs::write(
            build.join("DEBIAN/control"),
            format!(
                "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: Test <test@example.com>\n{depends}Description: test\n"
            ),
        )
        .unwrap();
        fs::write(build.join("usr/share").join(name), version).unwrap();
        fs::write(build.join("etc").join(format!("{name}.conf")), format!("packaged {version}")).unwrap();
        fs::write(build.join("DEBIAN/conffiles"), format!("/etc/{name}.conf\n")).unwrap();
        if !postinst.is_empty() {
            let path = build.join("DEBIAN/postinst");
            fs::write(&path, format!("#!/bin/sh\n{postinst}\n")).unwrap();
            Command::new("chmod").arg("755").arg(path).status().unwrap();
        }
        let done =
            Command::new("dpkg-deb").args(["--root-owner-group", "--build"]).arg(&build).arg(self.machine.path("repo")).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        self.index();
    }

    fn index(&self) {
        let script = "cd \"$1\" && for f in *.deb; do [ -e \"$f\" ] || continue; dpkg-deb -f \"$f\"; echo \"Filename: ./$f\"; echo \"Size: $(stat -c %s \"$f\")\"; echo \"SHA256: $(sha256sum \"$f\" | cut -d' ' -f1)\"; echo; done > Packages";
        assert!(Command::new("sh").args(["-c", script, "sh"]).arg(self.machine.path("repo")).status().unwrap().success());
        let done = Command::new(self.machine.path("bin/apt-get")).args(["-q", "update"]).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    }

    async fn act(&mut self, action: Action) -> Outcome {
        self.steps += 1;
        act(&self.devices, &self.device, step(&format!("{:016x}", self.steps), action)).await
    }

    /// Restores what the step `undo` saved.
    async fn restore(&mut self, work: Work, undo: u32) -> Outcome {
        self.act(Action::Restore { work, undo: StepId(format!("{undo:016x}")) }).await
    }

    async fn installed(&self) -> String {
        let items = ["app", "lib", "extra"].map(ItemKey::apt);
        let seen = self.devices.observe(&self.device, &items).await;
        let shown = items.iter().filter_map(|item| Some(format!("{} {}", item.split().1, seen.items.get(item).and_then(ItemSeen::shown)?)));
        shown.collect::<Vec<_>>().join(", ")
    }

    async fn must(&mut self, action: Action) -> Outcome {
        let outcome = self.act(action).await;
        assert_eq!(outcome.verdict, Verdict::Done, "{}", outcome.message);
        outcome
    }
}

fn apt(version: &str) -> Apt {
    Apt { name: "app".into(), version: version.into(), hold: false, allow_downgrade: false, replace_conffiles: false }
}

fn app(revision: u32, apt: Apt) -> Work {
    work(revision, Content { packages: vec![Package::Apt(apt)], ..content() })
}

#[tokio::test]
async fn a_set_of_packages_goes_forward_and_back_together() {
    let Some(mut debian) = Debian::start() else { return };
    for version in ["1.0", "2:2.0"] {
        debian.publish("lib", version, "", "");
        debian.publish("app", version, &format!("lib (= {version})"), "");
    }
    debian.publish("extra", "5", "", "");
    debian.publish("app", "2:3.0", "lib, extra", "");
    debian.must(Action::Prepare(app(1, apt("1.0")))).await;
    debian.must(Action::Apply(app(1, apt("1.0")))).await;
    assert_eq!(debian.installed().await, "app 1.0, lib 1.0");

    let outcome = debian.must(Action::Prepare(app(2, apt("2:2.0")))).await;
    assert_eq!(outcome.way_back, WayBackSeen::Proven);
    assert_eq!(debian.installed().await, "app 1.0, lib 1.0", "preparing changes nothing");
    debian.must(Action::Apply(app(2, apt("2:2.0")))).await;
    assert_eq!(debian.installed().await, "app 2:2.0, lib 2:2.0");

    // The repository forgets the old versions: the way back lies on the device.
    for name in ["lib_1.0_all.deb", "app_1.0_all.deb"] {
        fs::remove_file(debian.machine.path("repo").join(name)).unwrap();
    }
    debian.index();
    debian.restore(app(2, apt("2:2.0")), 4).await;
    assert_eq!(debian.installed().await, "app 1.0, lib 1.0");

    // What an upgrade brought in newly is taken off again.
    debian.must(Action::Prepare(app(3, apt("2:3.0")))).await;
    debian.must(Action::Apply(app(3, apt("2:3.0")))).await;
    assert_eq!(debian.installed().await, "app 2:3.0, lib 1.0, extra 5");
    let outcome = debian.restore(app(3, apt("2:3.0")), 7).await;
    assert_eq!(outcome.verdict, Verdict::Done, "{}", outcome.message);
    assert_eq!(debian.installed().await, "app 1.0, lib 1.0");
}

#[tokio::test]
async fn without_the_old_package_anywhere_there_is_no_way_back_and_that_is_said() {
    let Some(mut debian) = Debian::start() else { return };
    debian.publish("app", "1.0", "", "");
    debian.must(Action::Apply(app(1, apt("1.0")))).await;
    fs::remove_file(debian.machine.path("repo/app_1.0_all.deb")).unwrap();
    let _ = fs::remove_file(debian.machine.path("var/cache/apt/archives/app_1.0_all.deb"));
    debian.publish("app", "2.0", "", "");
    let outcome = debian.must(Action::Prepare(app(2, apt("2.0")))).await;
    assert_eq!(outcome.way_back, WayBackSeen::Missing("app 1.0 is installed, but neither in a repository nor in the cache".into()));
}

#[tokio::test]
async fn a_version_that_nobody_has_fails_before_anything_is_touched() {
    let Some(mut debian) = Debian::start() else { return };
    debian.publish("app", "1.0", "", "");
    let outcome = debian.act(Action::Prepare(app(1, apt("9.9")))).await;
    assert_eq!(outcome.verdict, Verdict::Failed);
    assert!(
        outcome.message.contains("VersionUnavailable") && outcome.message.contains("Version '9.9' for 'app' was not found"),
        "{}",
        outcome.message
    );
    assert_eq!(debian.installed().await, "");
}

#[tokio::test]
async fn a_maintainer_script_that_fails_is_quoted_and_the_old_package_comes_back() {
    let Some(mut debian) = Debian::start() else { return };
    debian.publish("app", "1.0", "", "");
    debian.publish("app", "2.0", "", "echo 'the database said no' >&2; exit 1");
    debian.must(Action::Apply(app(1, apt("1.0")))).await;
    debian.must(Action::Prepare(app(2, apt("2.0")))).await;
    let outcome = debian.act(Action::Apply(app(2, apt("2.0")))).await;
    assert_eq!(outcome.verdict, Verdict::Failed);
    assert!(outcome.message.contains("the database said no"), "{}", outcome.message);
    assert_eq!(debian.installed().await, "app 2.0 (broken)");
    let outcome = debian.restore(app(2, apt("2.0")), 3).await;
    assert_eq!(outcome.verdict, Verdict::Done, "{}", outcome.message);
    assert_eq!(debian.installed().await, "app 1.0");
}

#[tokio::test]
async fn a_configuration_file_changed_by_hand_stays_or_goes_as_it_was_asked_and_comes_back() {
    let Some(mut debian) = Debian::start() else { return };
    debian.publish("app", "1.0", "", "");
    debian.publish("app", "2.0", "", "");
    debian.must(Action::Apply(app(1, apt("1.0")))).await;
    debian.machine.write("etc/app.conf", "by hand");
    debian.must(Action::Apply(app(2, apt("2.0")))).await;
    assert_eq!(debian.machine.read("etc/app.conf"), "by hand");
    debian.restore(app(2, apt("2.0")), 2).await;
    // A file of the content that a package also ships is saved before the package is touched.
    let mut replaced = app(3, Apt { replace_conffiles: true, ..apt("2.0") });
    let file = common::text("/etc/app.conf", "from Git");
    std::sync::Arc::make_mut(&mut replaced.content).files.push(file);
    let outcome = debian.must(Action::Apply(replaced.clone())).await;
    assert_eq!(debian.machine.read("etc/app.conf"), "from Git", "{}", outcome.message);
    let outcome = debian.restore(replaced, 4).await;
    assert_eq!(outcome.verdict, Verdict::Done, "{}", outcome.message);
    assert_eq!(debian.machine.read("etc/app.conf"), "by hand");
    assert_eq!(debian.installed().await, "app 1.0");
}

#[tokio::test]
async fn going_down_needs_to_be_asked_for() {
    let Some(mut debian) = Debian::start() else { return };
    debian.publish("app", "1.0", "", "");
    debian.publish("app", "2.0", "", "");
    debian.must(Action::Apply(app(1, apt("2.0")))).await;
    for action in [Action::Prepare(app(2, apt("1.0"))), Action::Apply(app(2, apt("1.0")))] {
        let outcome = debian.act(action).await;
        assert_eq!((outcome.verdict, outcome.message.contains("allowDowngrade: true")), (Verdict::Failed, true), "{}", outcome.message);
    }
    assert_eq!(debian.installed().await, "app 2.0");
    debian.must(Action::Apply(app(3, Apt { allow_downgrade: true, ..apt("1.0") }))).await;
    assert_eq!(debian.installed().await, "app 1.0");
    debian.must(Action::Apply(app(4, apt("2.0")))).await;
    debian.must(Action::Apply(Work { revert: true, ..app(5, apt("1.0")) })).await;
    assert_eq!(debian.installed().await, "app 1.0");
}

#[tokio::test]
async fn a_held_package_is_ours_to_change_and_is_held_again() {
    let Some(mut debian) = Debian::start() else { return };
    for version in ["1.0", "2.0", "3.0"] {
        debian.publish("lib", version, "", "");
        debian.publish("app", version, &format!("lib (= {version})"), "");
    }
    let held = |version: &str| Apt { hold: true, ..apt(version) };
    debian.must(Action::Apply(app(1, held("1.0")))).await;
    assert_eq!(debian.installed().await, "app 1.0 (held), lib 1.0");
    debian.must(Action::Prepare(app(2, held("2.0")))).await;
    debian.must(Action::Apply(app(2, held("2.0")))).await;
    assert_eq!(debian.installed().await, "app 2.0 (held), lib 2.0");
    let outcome = debian.restore(app(2, held("2.0")), 3).await;
    assert_eq!(outcome.verdict, Verdict::Done, "{}", outcome.message);
    assert_eq!(debian.installed().await, "app 1.0 (held), lib 1.0");

    // Somebody else's hold stops it, with nothing changed.
    let hold = "echo lib hold | dpkg --set-selections";
    debian.devices.run(&debian.device, hold, std::time::Duration::from_secs(10)).await.unwrap();
    let outcome = debian.act(Action::Apply(app(3, held("3.0")))).await;
    assert_eq!((outcome.verdict, outcome.message.contains("eld packages")), (Verdict::Failed, true), "{}", outcome.message);
    let outcome = debian.restore(app(3, held("3.0")), 5).await;
    assert_eq!(outcome.verdict, Verdict::Done, "{}", outcome.message);
    assert_eq!(debian.installed().await, "app 1.0 (held), lib 1.0 (held)");
}

#[tokio::test]
async fn an_interrupted_dpkg_is_brought_to_its_end_first() {
    let Some(mut debian) = Debian::start() else { return };
    debian.publish("app", "1.0", "", "");
    debian.publish("app", "2.0", "", "");
    let unpack = "dpkg --unpack \"$EVENKEEL_ROOT/repo/app_1.0_all.deb\" >/dev/null 2>&1";
    debian.devices.run(&debian.device, unpack, std::time::Duration::from_secs(10)).await.unwrap();
    assert_eq!(debian.installed().await, "app 1.0 (broken)");
    debian.must(Action::Apply(app(1, apt("2.0")))).await;
    let printed = debian.machine.read("var/lib/evenkeel/steps/0000000000000001/out");
    assert!(printed.contains("had been interrupted"), "{printed}");
    assert_eq!(debian.installed().await, "app 2.0");
}

#[tokio::test]
async fn another_package_is_never_removed_on_the_way() {
    let Some(mut debian) = Debian::start() else { return };
    debian.publish("lib", "1.0", "", "");
    debian.publish("lib", "2.0", "", "");
    debian.publish("app", "1.0", "lib (= 1.0)", "");
    debian.must(Action::Apply(app(1, apt("1.0")))).await;
    let lib = |version: &str| app(2, Apt { name: "lib".into(), ..apt(version) });
    let outcome = debian.act(Action::Prepare(lib("2.0"))).await;
    assert_eq!(outcome.verdict, Verdict::Failed, "{}", outcome.message);
    let outcome = debian.act(Action::Remove(lib("1.0"))).await;
    assert_eq!(
        (outcome.verdict, outcome.message.contains("other packages need them: app")),
        (Verdict::Failed, true),
        "{}",
        outcome.message
    );
    assert_eq!(debian.installed().await, "app 1.0, lib 1.0");
    debian.must(Action::Remove(app(1, apt("1.0")))).await;
    debian.must(Action::Remove(app(1, apt("1.0")))).await;
    assert_eq!(debian.installed().await, "lib 1.0");
}

/// What came along with the change may be needed by what somebody has put in since: the way back takes nothing away from that.
#[tokio::test]
async fn the_way_back_takes_no_package_of_others_along() {
    let Some(mut debian) = Debian::start() else { return };
    debian.publish("app", "1.0", "", "");
    debian.must(Action::Apply(app(1, apt("1.0")))).await;
    debian.publish("lib", "1.0", "", "");
    debian.publish("app", "2.0", "lib", "");
    debian.must(Action::Prepare(app(2, apt("2.0")))).await;
    debian.must(Action::Apply(app(2, apt("2.0")))).await;
    debian.publish("extra", "1.0", "lib", "");
    let done = Command::new(debian.machine.path("bin/apt-get")).args(["-q", "-y", "install", "extra"]).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    assert_eq!(debian.installed().await, "app 2.0, lib 1.0, extra 1.0");
    let outcome = debian.restore(app(2, apt("2.0")), 3).await;
    assert_eq!(outcome.verdict, Verdict::Done, "{}", outcome.message);
    assert_eq!(debian.installed().await, "app 1.0, lib 1.0, extra 1.0");
    // The package itself can't stay: that is a failure, and said.
    let mut debian = Debian::start().unwrap();
    debian.publish("app", "1.0", "", "");
    debian.must(Action::Apply(app(1, apt("1.0")))).await;
    debian.publish("extra", "1.0", "app", "");
    let done = Command::new(debian.machine.path("bin/apt-get")).args(["-q", "-y", "install", "extra"]).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    let outcome = debian.restore(app(1, apt("1.0")), 1).await;
    assert_eq!(outcome.verdict, Verdict::Failed);
    assert!(outcome.message.contains("other packages need app: extra"), "{}", outcome.message);
    assert_eq!(debian.installed().await, "app 1.0, extra 1.0");
}

#[tokio::test]
async fn somebody_elses_lock_is_waited_for() {
    let Some(mut debian) = Debian::start() else { return };
    debian.publish("app", "1.0", "", "");
    // dpkg's locks are fcntl locks, so an apt-get that takes its time is what holds them.
    debian.publish("slow", "1.0", "", "sleep 4");
    let mut other = Command::new(debian.machine.path("bin/apt-get"))
        .args(["-qq", "-y", "install", "slow"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    while !debian.machine.path("usr/share/slow").exists() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let outcome = debian.act(Action::Apply(app(1, apt("1.0")))).await;
    assert!(other.wait().unwrap().success());
    assert_eq!(outcome.verdict, Verdict::Done, "{}", outcome.message);
    assert_eq!(debian.installed().await, "app 1.0");
}

#[tokio::test]
async fn a_service_belongs_to_the_unit_that_goes_back() {
    let Some(mut debian) = Debian::start() else { return };
    debian.publish("app", "1.0", "", "");
    let mut with = app(1, apt("1.0"));
    std::sync::Arc::make_mut(&mut with.content).services.push(restarted("app.service"));
    debian.must(Action::Apply(with.clone())).await;
    let outcome = debian.restore(with, 1).await;
    assert_eq!(outcome.verdict, Verdict::Done, "{}", outcome.message);
    assert_eq!(debian.installed().await, "");
}
