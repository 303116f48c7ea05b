//! `evenkeel simulate`: a good release, a bad one, and what can't be rehearsed.

use std::path::Path;
use std::process::{Command, Output};

const FLEET: &str = "
apiVersion: evenkeel.dev/v1alpha1
kind: DeviceClass
metadata: {name: web}
spec:
  labels: {role: web}
  access: {ssh: {user: admin, become: sudo, secretRef: {name: key}}}
  probes: [{name: hello, http: {port: 443, scheme: https, path: /healthz, contains: well}, interval: 1m, successes: 1}]
  maintenance: [{schedule: '* * * * *', duration: 1h, reason: always}]
---
apiVersion: evenkeel.dev/v1alpha1
kind: Device
metadata: {name: web-1}
spec: {type: Server, class: web, address: 192.0.2.1, access: {ssh: {hostKeys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPwFvRd0vRBCJ5hIXXSoQZJMMzzmTnVSyGQO6hbGkFJH]}}}
---
apiVersion: evenkeel.dev/v1alpha1
kind: Device
metadata: {name: web-2}
spec: {type: Server, class: web, address: 192.0.2.2, access: {ssh: {hostKeys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPwFvRd0vRBCJ5hIXXSoQZJMMzzmTnVSyGQO6hbGkFJH]}}}
---
apiVersion: evenkeel.dev/v1alpha1
kind: Deployment
metadata: {name: hello}
spec:
  selector: {matchLabels: {role: web}}
  packages:
    - {apt: {name: hello-keel, version: VERSION}}
    - {archive: {url: 'https://example.com/VERSION.tar', sha256: HASH, into: /opt/hello}}
  files: [{path: /etc/hello/token, secretRef: {name: hello, key: token}, mode: '0600', owner: www-data}]
  service: {unit: hello}
  strategy: {batches: [{max: 1}], soak: 10m}
  approval: EveryBatch
";

fn fleet(folder: &Path, name: &str, version: &str) -> std::path::PathBuf {
    let path = folder.join(name);
    std::fs::create_dir_all(&path).unwrap();
    let hash = format!("{:064}", version.len() + usize::from(version.as_bytes()[0]));
    std::fs::write(path.join("fleet.yaml"), FLEET.replace("VERSION", version).replace("HASH", &hash)).unwrap();
    path
}

fn simulate(arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    command.arg("simulate").args(arguments).env("NO_COLOR", "1").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_good_release_is_complete_and_a_bad_one_is_taken_back_from_the_canary() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (fleet(folder.path(), "one", "1.0-1"), fleet(folder.path(), "two", "2.0-1"));
    let good = simulate(&[&one, &"--then", &two, &"--soak", &"1s"]);
    let story = text(&good.stdout);
    assert!(good.status.success(), "{story}{}", text(&good.stderr));
    for line in ["would wait for approval", "maintenance windows are left out", "open batch 1 (1 of 2 left)", "complete: on 2 devices"] {
        assert!(story.contains(line), "{line} is missing in:\n{story}");
    }
    assert!(story.contains("apt hello-keel 1.0-1 -> 2.0-1"), "{story}");

    let bad = simulate(&[&one, &"--then", &two, &"--soak", &"1s", &"--bad", &"hello-keel=2.0-1:install-fails=out of luck", &"-o", &"json"]);
    let lines: Vec<serde_json::Value> = text(&bad.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(bad.status.code(), Some(1), "{lines:#?}");
    let summary = &lines.last().unwrap()["summary"];
    assert_eq!((&summary["complete"], &summary["deployments"]["hello"]["phase"]), (&false.into(), &"RolledBack".into()), "{summary:#}");
    let audit = lines.iter().map(|line| &line["audit"]);
    let touched: Vec<_> = audit.filter(|entry| entry["outcome"] == "begun" && entry["changes"].to_string().contains("-> 2.0-1")).collect();
    assert_eq!(touched.len(), 1, "only the canary: {touched:#?}");
    assert!(text(&bad.stdout).contains("out of luck"), "in the package's own words");
}

#[test]
fn what_cannot_be_rehearsed_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let one = fleet(folder.path(), "one", "1.0-1");
    let broken = folder.path().join("broken");
    std::fs::create_dir(&broken).unwrap();
    std::fs::write(broken.join("a.yaml"), "apiVersion: evenkeel.dev/v1alpha1\nkind: Device\nmetadata: {name: a}\nspec: {}\n").unwrap();
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let missing = folder.path().join("missing");
    let cases: [(&[&dyn AsRef<std::ffi::OsStr>], &str); 6] = [
        (&[&broken], "errors: evenkeel check"),
        (&[&empty], "there are no manifests"),
        (&[&missing], "missing"),
        (&[&one, &"--fault", &"web-9=away"], "there is no such device"),
        (&[&one, &"--fault", &"web-1=haunted"], "there is no fault `haunted`"),
        (&[&one, &"--bad", &"hello-keel=9:dies-after=5s"], "no manifest names it"),
    ];
    for (arguments, why) in cases {
        let output = simulate(arguments);
        assert_eq!(output.status.code(), Some(2), "{why}");
        assert!(text(&output.stderr).contains(why), "{why}: {}", text(&output.stderr));
    }
}

const LOGS: &str = "
---
apiVersion: evenkeel.dev/v1alpha1
kind: AlertRule
metadata: {name: never-seen-lines}
spec:
  selector: {matchLabels: {role: web}}
  expr: logs.newTemplates > 0 || logs.errors > 50
  keepFiringFor: 15m
  severity: critical
  summary: '{{ device.name }} says what it never said'
";

/// It installs, its probe passes, its unit runs: only its lines of log tell that it is bad.
#[test]
fn a_bad_release_is_found_by_its_new_log_lines_and_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let with_rule = |name, version| {
        let path = fleet(folder.path(), name, version);
        let text = std::fs::read_to_string(path.join("fleet.yaml")).unwrap();
        std::fs::write(path.join("fleet.yaml"), text.trim_end().to_owned() + "\n  gate: {alerts: [critical]}" + LOGS).unwrap();
        path
    };
    let (one, two) = (with_rule("one", "1.0-1"), with_rule("two", "2.0-1"));
    let bad = "hello-keel=2.0-1:logs=cannot parse header of frame; upstream gave up after three tries";
    let (good, bad) = std::thread::scope(|scope| {
        let good = scope.spawn(|| simulate(&[&one, &"--then", &two, &"--soak", &"12s"]));
        let bad = scope.spawn(|| simulate(&[&one, &"--then", &two, &"--soak", &"12s", &"--bad", &bad]));
        (good.join().unwrap(), bad.join().unwrap())
    });
    let story = text(&good.stdout);
    assert!(good.status.success(), "{story}{}", text(&good.stderr));
    assert!(story.contains("complete: on 2 devices"), "{story}");
    let story = text(&bad.stdout);
    assert_eq!(bad.status.code(), Some(1), "{story}{}", text(&bad.stderr));
    for words in
        ["never-seen-lines is firing: web-", "2 new kinds of lines within 1 min of commit", "cannot parse header of frame", "RolledBack"]
    {
        assert!(story.contains(words), "{words} is missing in:\n{story}");
    }
    let touched = story.lines().filter(|line| line.contains("apply") && line.contains("-> 2.0-1")).count();
    assert_eq!(touched, 1, "only the canary:\n{story}");
}
