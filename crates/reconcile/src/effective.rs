//! A Device with its class merged in: the Device wins field by field, and probes merge by name.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crds::{Kind, Object};
use jiff::SignedDuration;

use crate::desired::{Access, Check, Desired, Device, DnsCheck, HttpCheck, Probe, SshAccess, TlsCheck, Trust, Way};
use crate::desired::{Findings, windows};
use crate::name::{Name, Target};

pub(crate) fn device(desired: &Desired, name: &Name, object: &crds::Device, findings: &mut Findings) -> Device {
    let target = Target::Device(name.clone());
    let spec = &object.spec;
    let class = spec.class.as_ref().and_then(|class| {
        match desired.objects.get(&(Kind::DeviceClass, name.sibling(class))).map(|object| &**object) {
            Some(Object::DeviceClass(class)) => Some(&class.spec),
            _ => {
                let help = format!("add a DeviceClass named {class}, or take `class` away");
                findings.error(&target, "unknown-class", "spec.class", format!("there is no DeviceClass `{class}`"), help);
                None
            }
        }
    });
    let labels = merged(class, object);
    let mut vars = class.map(|class| class.vars.clone()).unwrap_or_default();
    vars.extend(spec.vars.clone());
    let mut probes: BTreeMap<&str, &crds::ProbeSpec> = BTreeMap::new();
    for probe in class.map(|class| class.probes.as_slice()).unwrap_or_default().iter().chain(&spec.probes) {
        probes.insert(&probe.name, probe);
    }
    probes.values().for_each(|probe| source(&target, "spec.probes", probe, findings));
    let own_or_class =
        |own: &Vec<String>, class: Option<&Vec<String>>| if own.is_empty() { class.cloned().unwrap_or_default() } else { own.clone() };
    let maintenance =
        if spec.maintenance.is_empty() { class.map(|class| class.maintenance.as_slice()).unwrap_or_default() } else { &spec.maintenance };
    Device {
        name: name.clone(),
        device_type: spec.device_type,
        address: spec.address.clone(),
        labels,
        parents: own_or_class(&spec.parents, class.map(|class| &class.parents)).iter().map(|parent| name.sibling(parent)).collect(),
        access: access(name, spec.access.as_ref(), class.and_then(|class| class.access.as_ref())),
        probes: probes.values().map(|spec| probe(spec)).collect(),
        maintenance: windows(&target, "spec.maintenance", maintenance, findings),
        suspend: spec.suspend.or(class.and_then(|class| class.suspend)).unwrap_or(false),
        vars,
    }
}

/// The labels of a device and its class; those of a class that is not there can't be known.
pub(crate) fn labels(desired: &Desired, name: &Name, object: &crds::Device) -> BTreeMap<String, String> {
    let class = object.spec.class.as_ref().and_then(|class| desired.objects.get(&(Kind::DeviceClass, name.sibling(class))));
    match class.map(|object| &**object) {
        Some(Object::DeviceClass(class)) => merged(Some(&class.spec), object),
        _ => merged(None, object),
    }
}

fn merged(class: Option<&crds::DeviceClassSpec>, object: &crds::Device) -> BTreeMap<String, String> {
    let mut labels = class.map(|class| class.labels.clone()).unwrap_or_default();
    labels.extend(object.metadata.labels.clone().unwrap_or_default());
    labels
}

/// The device's `ssh` wins field by field over the class's; `local` or `ssh` of the device wins over the other of the class.
fn access(name: &Name, own: Option<&crds::AccessSpec>, class: Option<&crds::AccessSpec>) -> Access {
    let Some(chosen) = own.or(class) else { return Access::None };
    if chosen.local.is_some() {
        return Access::Local;
    }
    let own = own.and_then(|access| access.ssh.clone()).unwrap_or_default();
    let class = class.and_then(|access| access.ssh.clone()).unwrap_or_default();
    Access::Ssh(SshAccess {
        port: own.port.or(class.port).and_then(|port| u16::try_from(port).ok()).unwrap_or(22),
        user: own.user.or(class.user).unwrap_or_else(|| "root".into()),
        secret: own.secret_ref.or(class.secret_ref).map(|secret| secret.name),
        // Keys name one machine: a class's never mix with a device's.
        host_keys: if own.host_keys.is_empty() { class.host_keys } else { own.host_keys },
        sudo: own.become_root.or(class.become_root) == Some(crds::Become::Sudo),
        via: own.via.or(class.via).map(|via| name.sibling(&via)),
    })
}

/// Where a probe asks from has to be an address.
pub(crate) fn source(target: &Target, path: &str, probe: &crds::ProbeSpec, findings: &mut Findings) {
    if let Some(text) = probe.source_address.as_ref().filter(|text| text.parse::<IpAddr>().is_err()) {
        let message = format!("probe `{}`: sourceAddress `{text}` is no IP address", probe.name);
        findings.error(target, "probe-source", path, message, "write an address of the machine that the engine runs on, or take it away");
    }
}

/// A probe with its defaults filled in.
pub(crate) fn probe(spec: &crds::ProbeSpec) -> Probe {
    let or = |value: Option<crds::Duration>, seconds: i64| value.map_or(SignedDuration::from_secs(seconds), |value| value.0);
    let count = |value: Option<i32>, default: u32| value.and_then(|value| u32::try_from(value).ok()).unwrap_or(default);
    Probe {
        name: spec.name.clone(),
        check: check(spec),
        // A probe that ran more often than once a second would be a load, not a probe.
        interval: or(spec.interval, 30).max(SignedDuration::from_secs(1)),
        timeout: or(spec.timeout, 5).max(SignedDuration::from_millis(50)),
        failures: count(spec.failures, 3),
        successes: count(spec.successes, 2),
        // What is no address is an error of its own.
        way: Way { family: spec.family.unwrap_or_default(), source: spec.source_address.as_deref().and_then(|text| text.parse().ok()) },
    }
}

fn trust(server_name: Option<&String>, authorities: Option<&crds::SecretRef>, insecure: Option<bool>) -> Trust {
    let key = |secret: &crds::SecretRef| secret.key.clone().unwrap_or_else(|| "ca.crt".into());
    Trust {
        server_name: server_name.cloned(),
        authorities: authorities.map(|secret| (secret.name.clone(), key(secret))),
        insecure: insecure.unwrap_or(false),
    }
}

fn check(spec: &crds::ProbeSpec) -> Check {
    let port = |port: i32| u16::try_from(port).unwrap_or(0);
    if let Some(tcp) = &spec.tcp {
        return Check::Tcp { port: port(tcp.port), send: tcp.send.clone(), expect: tcp.expect.clone() };
    }
    if let Some(http) = &spec.http {
        let method = match http.method.unwrap_or(crds::Method::Get) {
            crds::Method::Get => "GET",
            crds::Method::Head => "HEAD",
            crds::Method::Post => "POST",
            crds::Method::Options => "OPTIONS",
        };
        let tls = http.tls.clone().unwrap_or_default();
        return Check::Http(HttpCheck {
            scheme: if http.scheme == Some(crds::Scheme::Https) { "https".into() } else { "http".into() },
            port: port(http.port),
            path: http.path.clone().unwrap_or_else(|| "/".into()),
            method: method.into(),
            headers: http.headers.clone(),
            status: http.status.iter().filter_map(|status| u16::try_from(*status).ok()).collect(),
            contains: http.contains.clone(),
            matches: http.matches.clone(),
            redirects: http.redirects.unwrap_or_default(),
            trust: trust(tls.server_name.as_ref(), tls.ca_secret_ref.as_ref(), tls.insecure),
        });
    }
    if let Some(icmp) = &spec.icmp {
        return Check::Icmp {
            count: icmp.count.and_then(|count| u32::try_from(count).ok()).unwrap_or(4),
            max_loss_percent: icmp.max_loss.map_or(50, |loss| u32::try_from(loss.0).unwrap_or(50)),
            max_rtt: icmp.max_rtt.map(|rtt| rtt.0),
        };
    }
    if let Some(ssh) = &spec.ssh {
        return Check::Ssh { command: ssh.command.clone(), exit_code: ssh.exit_code.unwrap_or(0) };
    }
    if let Some(tls) = &spec.tls {
        return Check::Tls(TlsCheck {
            port: port(tls.port),
            min_validity: tls.min_validity.map(|least| least.0),
            trust: trust(tls.server_name.as_ref(), tls.ca_secret_ref.as_ref(), tls.insecure),
        });
    }
    if let Some(dns) = &spec.dns {
        return Check::Dns(DnsCheck {
            port: dns.port.map_or(53, port),
            name: dns.name.clone(),
            record: dns.record_type.unwrap_or_default(),
            answer: dns.answer.clone(),
        });
    }
    Check::NotRun { kind: "snmp".into() }
}
