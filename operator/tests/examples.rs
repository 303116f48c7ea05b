//! The example fleet: without a finding, planned, and such that its README tells the truth.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use logs::anomaly::Patterns;
use logs::parse::{Around, parse};

fn examples() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples"))
}

#[test]
fn the_examples_have_no_findings() {
    let output = Command::new(env!("CARGO_BIN_EXE_evenkeel")).arg("check").arg(examples()).env("NO_COLOR", "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(text, "24 devices, 3 deployments, 49 objects in all: 0 errors, 0 warnings\n");
    assert!(output.status.success());
}

/// What programs of Debian 12 say (sshd 9.2, PAM 1.5, sudo 1.9, shadow 4.13, chrony 4.3, systemd 252; `Time has been
/// changed` is of older ones), and the rule that has to count it.
const LINES: &[(&str, &str)] = &[
    ("failed-logins", "<38>Jan  2 03:04:05 web-01 sshd[4242]: Failed password for invalid user admin from 203.0.113.7 port 51234 ssh2"),
    ("failed-logins", "<38>Jan  2 03:04:05 web-01 sshd[4242]: Failed password for root from 2001:db8::7 port 51234 ssh2"),
    ("failed-logins", "<38>Jan  2 03:04:05 web-01 sshd[4242]: Failed keyboard-interactive/pam for root from 203.0.113.7 port 51234 ssh2"),
    (
        "failed-logins",
        "<37>Jan  2 03:04:05 web-01 su[811]: pam_unix(su:auth): authentication failure; logname=eve uid=1001 euid=0 tty=/dev/pts/0 ruser=eve \
         rhost=  user=root",
    ),
    (
        "",
        "<37>Jan  2 03:04:05 web-01 sshd[4242]: pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= \
         rhost=203.0.113.7  user=root",
    ),
    ("", "<38>Jan  2 03:04:05 web-01 sshd[4242]: Accepted publickey for ada from 203.0.113.7 port 51234 ssh2: ED25519 SHA256:AbC"),
    ("", "<38>Jan  2 03:04:05 web-01 sshd[4242]: Invalid user admin from 203.0.113.7 port 51234"),
    (
        "sudo-refused",
        "<81>Jan  2 03:04:05 web-01 sudo:      eve : user NOT in sudoers ; TTY=pts/0 ; PWD=/home/eve ; USER=root ; COMMAND=/usr/bin/cat /etc/shadow",
    ),
    (
        "sudo-refused",
        "<81>Jan  2 03:04:05 web-01 sudo[977]:      bob : 3 incorrect password attempts ; TTY=pts/1 ; PWD=/home/bob ; USER=root ; COMMAND=/usr/bin/id",
    ),
    (
        "sudo-refused",
        "<81>Jan  2 03:04:05 web-01 sudo[978]:      bob : 1 incorrect password attempt ; TTY=pts/1 ; PWD=/home/bob ; USER=root ; COMMAND=/usr/bin/id",
    ),
    (
        "sudo-refused",
        "<81>Jan  2 03:04:05 web-01 sudo[979]:    carol : command not allowed ; TTY=pts/2 ; PWD=/home/carol ; USER=root ; COMMAND=/usr/bin/bash",
    ),
    ("", "<85>Jan  2 03:04:05 web-01 sudo[980]:      ada : TTY=pts/3 ; PWD=/home/ada ; USER=root ; COMMAND=/usr/sbin/usermod -aG sudo eve"),
    (
        "account-changed",
        "<86>Jan  2 03:04:05 web-01 useradd[1201]: new user: name=eve, UID=1001, GID=1001, home=/home/eve, shell=/bin/bash, from=/dev/pts/0",
    ),
    ("account-changed", "<86>Jan  2 03:04:05 web-01 useradd[1201]: new group: name=eve, GID=1001"),
    ("account-changed", "<86>Jan  2 03:04:05 web-01 usermod[1202]: add 'eve' to group 'sudo'"),
    ("account-changed", "<86>Jan  2 03:04:05 web-01 usermod[1202]: add 'eve' to shadow group 'sudo'"),
    ("account-changed", "<86>Jan  2 03:04:05 web-01 usermod[1203]: change user 'eve' shell from '/bin/sh' to '/bin/bash'"),
    ("account-changed", "<86>Jan  2 03:04:05 web-01 usermod[1204]: lock user 'eve' password"),
    ("account-changed", "<86>Jan  2 03:04:05 web-01 userdel[1205]: delete user 'eve'"),
    ("account-changed", "<86>Jan  2 03:04:05 web-01 userdel[1205]: delete 'eve' from group 'sudo'"),
    ("account-changed", "<86>Jan  2 03:04:05 web-01 userdel[1205]: removed group 'eve' owned by 'eve'"),
    ("account-changed", "<86>Jan  2 03:04:05 web-01 gpasswd[1206]: user eve added by root to group sudo"),
    ("account-changed", "<86>Jan  2 03:04:05 web-01 groupdel[1207]: group 'web' removed from /etc/group"),
    ("account-changed", "<86>Jan  2 03:04:05 web-01 chsh[1208]: changed user 'eve' shell to '/bin/bash'"),
    ("account-changed", "<85>Jan  2 03:04:05 web-01 passwd[1209]: pam_unix(passwd:chauthtok): password changed for eve"),
    ("", "<86>Jan  2 03:04:05 web-01 CRON[1210]: pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)"),
    ("", "<38>Jan  2 03:04:05 web-01 systemd-logind[402]: New session 17 of user ada."),
    ("clock-jumped", "<28>Jan  2 03:04:05 web-01 chronyd[611]: System clock wrong by -3600.001234 seconds"),
    ("clock-jumped", "<28>Jan  2 03:04:05 web-01 chronyd[611]: System clock was stepped by -3600.001234 seconds"),
    ("clock-jumped", "<28>Jan  2 03:04:05 web-01 chronyd[611]: Forward time jump detected!"),
    ("clock-jumped", "<30>Jan  2 03:04:05 web-01 systemd-timedated[702]: Changed local time to Fri 2026-01-02 03:04:05 UTC"),
    ("clock-jumped", "<30>Jan  2 03:04:05 web-01 systemd[1]: Time has been changed"),
    (
        "clock-jumped",
        "<30>Jan  2 03:04:05 web-01 systemd-timesyncd[388]: System clock time unset or jumped backwards, restoring from recorded timestamp: \
         Fri 2026-01-02 03:04:05 UTC",
    ),
    ("", "<30>Jan  2 03:04:05 web-01 chronyd[611]: Selected source 192.0.2.123 (ntp.example.com)"),
];

/// A pattern that no real line meets would look as well in a rule's own tests.
#[test]
fn the_log_rules_count_what_real_programs_say() {
    let (desired, _) = manifests::check(examples()).unwrap();
    let (patterns, refused) = Patterns::new(&desired.log_patterns());
    assert!(refused.is_empty(), "{refused:?}");
    let mut met: BTreeMap<String, usize> = patterns.texts().iter().map(|text| (text.to_string(), 0)).collect();
    for (rule, line) in LINES {
        let (text, _) = logs::clean::line(line.as_bytes());
        let parsed = parse(&text, &Around::utc("2026-01-02T03:05:00Z".parse().unwrap()));
        let texts: Vec<&str> = patterns.matches(parsed.message).map(|place| &*patterns.texts()[place]).collect();
        let asks = |rule: &reconcile::alerting::rule::Rule| rule.patterns().iter().any(|pattern| texts.contains(&pattern.as_str()));
        let rules: Vec<&str> = desired.rules.values().filter(|rule| asks(rule)).map(|rule| rule.name.name()).collect();
        let expected: Vec<&str> = Some(*rule).filter(|rule| !rule.is_empty()).into_iter().collect();
        assert_eq!(rules, expected, "{}: {line}", parsed.message);
        texts.iter().for_each(|text| *met.entry((*text).to_owned()).or_default() += 1);
    }
    assert!(!met.is_empty() && met.values().all(|lines| *lines > 1), "each pattern meets some: {met:#?}");
}

#[test]
fn the_examples_show_every_kind_and_are_planned() {
    let (desired, _) = manifests::check(examples()).unwrap();
    for kind in crds::Kind::ALL {
        assert!(desired.objects.keys().any(|(other, _)| other == kind), "no {}", kind.as_str());
    }
    let plan = reconcile::plan(&desired, &reconcile::Observed::default(), jiff::Timestamp::UNIX_EPOCH);
    let started: Vec<String> = plan.steps.iter().map(|step| format!("{} {}", step.action.word(), step.unit)).collect();
    assert_eq!(started, ["start deployment/base", "start deployment/nginx", "start deployment/postgresql", "start role/web-team"]);
    for name in desired.devices.values().filter(|device| device.access != reconcile::Access::None).map(|device| &device.name) {
        assert!(desired.selected_by.get(name).is_some_and(|units| !units.is_empty()), "{name} gets nothing");
    }
}
