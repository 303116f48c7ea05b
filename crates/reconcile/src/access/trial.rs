//! The tests that a Role brings along, tried on all Roles of its namespace, since it's these together that decide.

use std::collections::BTreeSet;

use crds::{Role, RoleTest};

use super::{Decision, Request, What, Who, decide, signer};
use crate::desired::{Desired, Findings};
use crate::name::{Name, Target};

/// The devices that a Role's tests name.
pub(crate) fn named(name: &Name, role: &Role) -> BTreeSet<Name> {
    role.spec.tests.iter().filter_map(|test| test.device.as_deref()).map(|device| name.sibling(device)).collect()
}

/// Tries the tests of a Role, and whether its signers can be any.
pub(crate) fn check(desired: &Desired, name: &Name, role: &Role, findings: &mut Findings) {
    let target = Target::Object(crds::Kind::Role, name.clone());
    for (at, subject) in role.spec.subjects.iter().enumerate() {
        if subject.signer.as_deref().is_some_and(|key| signer(key).is_none()) {
            let path = format!("spec.subjects[{at}].signer");
            let help = "write the key as its .pub file has it, or the OpenPGP fingerprint of 40 digits";
            findings.warn(
                &target,
                "unknown-signer",
                &path,
                "neither an SSH public key nor an OpenPGP fingerprint: nobody signs with it",
                help,
            );
        }
    }
    for (at, test) in role.spec.tests.iter().enumerate() {
        if let Err((field, message, help)) = attempt(desired, name, test) {
            findings.warn(&target, "role-test", &format!("spec.tests[{at}]{field}"), message, help);
        }
    }
}

fn attempt(desired: &Desired, name: &Name, test: &RoleTest) -> Result<(), (&'static str, String, String)> {
    let who = Who::parse(&test.subject).map_err(|error| (".subject", error, "write a user's name, group:NAME or signer:KEY".to_owned()))?;
    let device = test.device.as_deref().map(|device| name.sibling(device));
    if let Some(device) = device.as_ref().filter(|device| !desired.devices.contains_key(*device)) {
        return Err((".device", format!("there is no device `{device}`"), "name one that is there, or take it away".into()));
    }
    let what = device.as_ref().map_or(What::Any, What::On);
    let request = Request { who: &who, verb: test.may, kind: test.kind, namespace: name.namespace(), what };
    let on = device.as_ref().map(|device| format!(" on device/{device}")).unwrap_or_default();
    let asked = format!("{who} {{}} {} a {}{on}", test.may.as_str(), test.kind.as_str());
    match (decide(desired, desired, &request), test.expect) {
        (Decision::Allowed { .. }, true) | (Decision::Denied(_), false) => Ok(()),
        (Decision::Allowed { role, entry }, false) => Err((
            "",
            asked.replace("{}", "may"),
            format!("it is expected not to be allowed, and role/{role} spec.allow[{entry}] allows it"),
        )),
        (Decision::Denied(why), true) => Err(("", asked.replace("{}", "may not"), format!("it is expected to be allowed; {why}"))),
    }
}
