//! From the login of a Role to the account that it is on which devices. It is rolled out as a Deployment is: first on one device, then on
//! all others, and never taken back from anybody because another device failed, since what it changes may be that somebody leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crds::{LoginSpec, RoleSpec, Selector};
use jiff::SignedDuration;

use super::build::matching;
use super::check::Findings;
use super::{Access, Deployment, Desired, Device, Share, Strategy};
use crate::content::{Account, Content};
use crate::name::{Name, Target};

/// Time limit of a step: it waits for a minute until somebody can log in still.
pub(crate) const DEADLINE: SignedDuration = SignedDuration::from_mins(5);
/// Revisions that are kept.
const HISTORY: usize = 10;
/// Types of public keys that may log in; see sshd(8).
const TYPES: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// The login that is wanted, if one is.
pub(super) fn of(role: &RoleSpec) -> Option<&LoginSpec> {
    role.login.as_ref().filter(|_| role.suspend != Some(true))
}

/// Which devices it is about: those that it names, or else those that the Role's entries name.
pub(super) fn selectors(role: &RoleSpec) -> Vec<&Selector> {
    let Some(login) = of(role) else { return Vec::new() };
    match &login.devices {
        Some(devices) => vec![devices],
        None => role.allow.iter().filter_map(|grant| grant.devices.as_ref()).collect(),
    }
}

/// Builds the rollout of a login. What `before` knows of its devices is taken over, but for those in `changed`; `None` where something in it
/// can't be used.
pub(super) fn build(
    desired: &Desired,
    name: &Name,
    role: &RoleSpec,
    before: Option<(&Deployment, &BTreeSet<Name>)>,
    findings: &mut Findings,
) -> Option<Deployment> {
    let (login, target, selectors) = (of(role)?, Target::unit(name), selectors(role));
    let errors = findings.errors();
    if selectors.is_empty() {
        let help = "name them by spec.login.devices, or by `devices` of an entry of spec.allow";
        findings.error(&target, "login-devices", "spec.login", "nothing says on which devices the account is wanted", help);
    }
    let account = account(&target, login, findings);
    if findings.errors() > errors {
        return None;
    }
    let wants = |device: &Device| selectors.iter().any(|selector| selector.matches(&device.labels));
    let known = |of: fn(&Deployment) -> &Vec<Name>| before.map(|(before, changed)| (of(before).as_slice(), changed));
    let members = matching(desired, name, known(|before| &before.members), |device| {
        wants(device) && device.access != Access::None && !is_own_way(&device.access, &login.user)
    });
    let own_way =
        matching(desired, name, known(|before| &before.own_way), |device| wants(device) && is_own_way(&device.access, &login.user));
    if let Some(first) = own_way.first() {
        let more = if own_way.len() > 1 { format!(" and {} more", own_way.len() - 1) } else { String::new() };
        let message = format!("on device/{first}{more} this is the account by which the engine logs in: it is left as it is there");
        findings.warn(&target, "engine-account", "spec.login.user", message, "take another name, or leave these devices out");
    }
    let content = Content { accounts: vec![account], ..Content::nothing() };
    Some(Deployment {
        name: name.clone(),
        members,
        own_way,
        digest: content.digest(),
        content: Arc::new(content),
        rendered: BTreeMap::new(),
        strategy: Strategy {
            batches: vec![Share::Count(1)],
            max_unavailable: Share::Percent(100),
            group_by: Vec::new(),
            soak: SignedDuration::ZERO,
            deadline: DEADLINE,
        },
        gate_probes: false,
        gate_alerts: Vec::new(),
        on_failure: crds::OnFailure::Pause,
        way_back: crds::WayBack::Require,
        approval: crds::Approval::None,
        windows: Vec::new(),
        drift: crds::Drift::Correct,
        depends_on: Vec::new(),
        on_delete: crds::OnDelete::Remove,
        history_limit: HISTORY,
        paused: false,
        suspend: false,
        rollback_to: None,
    })
}

/// Whether this is the account by which the engine logs in.
pub fn is_own_way(access: &Access, user: &str) -> bool {
    matches!(access, Access::Ssh(ssh) if ssh.user == user)
}

fn account(target: &Target, login: &LoginSpec, findings: &mut Findings) -> Account {
    let mut authorized_keys: Vec<String> = Vec::new();
    for (at, written) in login.authorized_keys.iter().enumerate() {
        match key(written) {
            Ok(key) => authorized_keys.push(key),
            Err(why) => {
                let help = "write it as its .pub file has it: the type, the key, and a comment if you like";
                findings.error(target, "authorized-key", &format!("spec.login.authorizedKeys[{at}]"), why, help);
            }
        }
    }
    for (at, command) in login.sudo.iter().enumerate() {
        if let Err(why) = self::command(command) {
            let help = "write `ALL`, or an absolute path with its arguments; what needs more goes into a script of its own";
            findings.error(target, "sudo-command", &format!("spec.login.sudo[{at}]"), why, help);
        }
    }
    if ["root", "nobody"].contains(&login.user.as_str()) {
        let help = "take the name of a person or of a program";
        findings.error(target, "login-user", "spec.login.user", format!("`{}` is an account of the system", login.user), help);
    }
    Account { user: login.user.clone(), authorized_keys, sudo: login.sudo.clone() }
}

/// A public key on one line: what comes before it would be options, by which it could do more than log in. See sshd(8).
fn key(written: &str) -> Result<String, String> {
    if written.chars().any(|letter| !matches!(letter, ' '..='~')) {
        return Err("a public key is one line of ASCII".into());
    }
    let (kind, rest) = written.split_once(' ').ok_or("a public key is its type and its base64")?;
    if !TYPES.contains(&kind) {
        return Err(format!("`{kind}` is no type of key that can log in: {}", TYPES.join(", ")));
    }
    let (base64, comment) = rest.split_once(' ').unwrap_or((rest, ""));
    let bytes = STANDARD.decode(base64).map_err(|_| "what follows the type is not base64".to_owned())?;
    // RFC 4253, section 6.6: it says itself first of what type it is.
    let named = bytes.split_first_chunk::<4>().and_then(|(length, rest)| rest.get(..u32::from_be_bytes(*length) as usize));
    if named != Some(kind.as_bytes()) {
        return Err(format!("this is no key of type {kind}"));
    }
    Ok(format!("{kind} {base64} {}", comment.trim()).trim_end().to_owned())
}

/// A command as sudo knows it. What could stand for more than itself is refused, however it could be quoted; see sudoers(5).
fn command(command: &str) -> Result<(), String> {
    if command == "ALL" {
        return Ok(());
    }
    let (path, _) = command.split_once(' ').unwrap_or((command, ""));
    if !path.starts_with('/') || path.ends_with('/') || path.split('/').any(|part| part == ".." || part == ".") {
        return Err("it does not begin with the absolute path of a program".into());
    }
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "_./+@%,:=~- ".contains(letter);
    if let Some(letter) = command.chars().find(|letter| !plain(*letter)) {
        return Err(format!("{letter:?} can't stand in a command: there are no wildcards and no quotes"));
    }
    if command.ends_with(' ') || command.contains("  ") {
        return Err("arguments are separated by one space".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

    #[test]
    fn a_key_is_a_key_and_nothing_else() {
        assert_eq!(key(KEY).as_deref(), Ok(KEY));
        assert_eq!(key(&format!("{KEY} alice@example.com ")), Ok(format!("{KEY} alice@example.com")));
        for (written, why) in [
            (format!("command=\"id\" {KEY}"), "no type of key"),
            (format!("{KEY}\nssh-rsa AAAA"), "one line"),
            (KEY.replace("ssh-ed25519", "ssh-rsa"), "no key of type ssh-rsa"),
            ("ssh-ed25519 AAAA!".to_owned(), "not base64"),
            ("ssh-ed25519 AAAA".to_owned(), "no key of type"),
            ("ssh-dss AAAA".to_owned(), "no type of key"),
            ("ssh-ed25519".to_owned(), "its type and its base64"),
        ] {
            let said = key(&written).unwrap_err();
            assert!(said.contains(why), "{written}: {said}");
        }
    }

    #[test]
    fn a_command_stands_for_itself() {
        for good in ["ALL", "/usr/bin/systemctl restart nginx", "/bin/a", "/bin/a --x=1,2:3"] {
            assert_eq!(command(good), Ok(()), "{good}");
        }
        for bad in [
            "systemctl",
            "/",
            "/usr/bin/",
            "/usr/../bin/sh",
            "/bin/a *",
            "/bin/a \\*",
            "/bin/a \"x\"",
            "/bin/a!",
            "/bin/a\nALL",
            "/bin/a  b",
            "/bin/a ",
            "!/bin/sh",
            "ALL, !/bin/sh",
            "/bin/a #x",
            "/bin/a ^x$",
            "",
            "/bin/é",
        ] {
            assert!(command(bad).is_err(), "{bad}");
        }
    }
}
