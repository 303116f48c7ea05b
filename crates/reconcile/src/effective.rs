//! A Device with its class merged in: the Device wins field by field, and probes merge by name.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crds::{Kind, Object};
use jiff::SignedDuration;

use crate::desired::{
    Access, Check, Desired, Device, DnsCheck, HttpCheck, Logs, Metrics, MetricsSource, Probe, Snmp, SshAccess, TlsCheck, Trust, Way,
};
use crate::desired::{Findings, windows};
use crate::name::{Name, Target};

/// Time between two readings of what a device uses, where nothing is said.
const READING: SignedDuration = SignedDuration::from_secs(30);
/// The shortest time between two readings.
const SHORTEST: SignedDuration = SignedDuration::from_secs(5);
/// Time between two readings of a journal, where nothing is said.
const JOURNAL: SignedDuration = SignedDuration::from_secs(30);
/// The shortest time between two readings of a journal: each starts a program there.
const SHORTEST_JOURNAL: SignedDuration = SignedDuration::from_secs(5);
/// The port of SNMP agents (RFC 3417).
const SNMP: u16 = 161;

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
    let metrics = metrics(spec.metrics.as_ref(), class.and_then(|class| class.metrics.as_ref()));
    let agent = match &metrics {
        Some(Metrics { source: MetricsSource::Snmp(agent), .. }) => Some(agent.clone()),
        _ => None,
    };
    Device {
        name: name.clone(),
        device_type: spec.device_type,
        address: spec.address.clone(),
        labels: Arc::new(labels),
        parents: own_or_class(&spec.parents, class.map(|class| &class.parents)).iter().map(|parent| name.sibling(parent)).collect(),
        access: access(name, spec.access.as_ref(), class.and_then(|class| class.access.as_ref())),
        probes: probes.values().map(|spec| for_device(probe(spec), agent.as_ref())).collect(),
        metrics,
        logs: logs(spec.logs.as_ref(), class.and_then(|class| class.logs.as_ref())),
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

/// The device's source wins over another one of the class, and field by field over the same one.
fn metrics(own: Option<&crds::MetricsSpec>, class: Option<&crds::MetricsSpec>) -> Option<Metrics> {
    let named = |spec: &&crds::MetricsSpec| spec.ssh.is_some() || spec.node_exporter.is_some() || spec.snmp.is_some();
    let chosen = own.filter(named).or(class.filter(named))?;
    let port = |own: Option<i32>, class: Option<i32>, default| own.or(class).and_then(|port| u16::try_from(port).ok()).unwrap_or(default);
    let source = if chosen.node_exporter.is_some() {
        let own = own.and_then(|spec| spec.node_exporter.clone()).unwrap_or_default();
        let class = class.and_then(|spec| spec.node_exporter.clone()).unwrap_or_default();
        let path = own.path.or(class.path).unwrap_or_else(|| "/metrics".into());
        MetricsSource::NodeExporter { port: port(own.port, class.port, 9100), path }
    } else if chosen.snmp.is_some() {
        let own = own.and_then(|spec| spec.snmp.clone()).unwrap_or_default();
        let class = class.and_then(|spec| spec.snmp.clone()).unwrap_or_default();
        MetricsSource::Snmp(Snmp {
            port: port(own.port, class.port, SNMP),
            version: own.version.or(class.version).unwrap_or(crds::SnmpVersion::V2c),
            secret: own.secret_ref.or(class.secret_ref).map(|secret| secret.name),
        })
    } else {
        MetricsSource::Ssh
    };
    let interval = own.and_then(|spec| spec.interval).or(class.and_then(|spec| spec.interval)).map_or(READING, |interval| interval.0);
    // Asked more often than that, a small device would mostly be busy with answering.
    Some(Metrics { source, interval: interval.max(SHORTEST) })
}

/// The device's word wins over the class's, field by field. Lines that come by two ways would be there twice, so unless somebody says
/// otherwise a device whose journal is read sends no syslog.
fn logs(own: Option<&crds::LogsSpec>, class: Option<&crds::LogsSpec>) -> Logs {
    let both = || own.into_iter().chain(class);
    let is_read = both().any(|spec| spec.journald.is_some());
    let interval = both().filter_map(|spec| spec.journald.as_ref()?.interval).next().map_or(JOURNAL, |interval| interval.0);
    let syslog = both().find_map(|spec| spec.syslog).unwrap_or(!is_read);
    let relay = both().find_map(|spec| spec.relay).unwrap_or(false);
    Logs { syslog, relay, journald: is_read.then(|| interval.max(SHORTEST_JOURNAL)) }
}

/// A probe as it is on a device: how its agent is asked stands with the metrics, if they are read by SNMP.
fn for_device(mut probe: Probe, metrics: Option<&Snmp>) -> Probe {
    if let (Check::Snmp { agent, .. }, Some(metrics)) = (&mut probe.check, metrics) {
        let secret = agent.secret.take().or_else(|| metrics.secret.clone());
        *agent = Snmp { secret, ..metrics.clone() };
    }
    probe
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
        return Check::Http(Box::new(HttpCheck {
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
        }));
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
        return Check::Tls(Box::new(TlsCheck {
            port: port(tls.port),
            min_validity: tls.min_validity.map(|least| least.0),
            trust: trust(tls.server_name.as_ref(), tls.ca_secret_ref.as_ref(), tls.insecure),
        }));
    }
    if let Some(dns) = &spec.dns {
        return Check::Dns(Box::new(DnsCheck {
            port: dns.port.map_or(53, port),
            name: dns.name.clone(),
            record: dns.record_type.unwrap_or_default(),
            answer: dns.answer.clone(),
        }));
    }
    // By its schema it is of one kind, and of the others it is not.
    let snmp = spec.snmp.as_deref().cloned().unwrap_or_default();
    Check::Snmp {
        agent: Snmp { port: SNMP, version: crds::SnmpVersion::V2c, secret: snmp.secret_ref.map(|secret| secret.name) },
        // sysUpTime.0, which every agent has.
        oid: snmp.oid.unwrap_or_else(|| "1.3.6.1.2.1.1.3.0".into()),
        expect: snmp.expect,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(value: &Value) -> Option<crds::MetricsSpec> {
        serde_json::from_value(value.clone()).unwrap()
    }

    fn merged(own: &Value, class: &Value) -> String {
        match metrics(spec(own).as_ref(), spec(class).as_ref()) {
            None => "none".into(),
            Some(metrics) => format!("{} {:#}", serde_json::to_string(&metrics.source).unwrap(), metrics.interval),
        }
    }

    #[test]
    fn the_device_wins_field_by_field_and_source_by_source() {
        let exporter = json!({"nodeExporter": {"port": 9101}, "interval": "1m"});
        let snmp = json!({"snmp": {"version": "v3", "secretRef": {"name": "ann"}}});
        let none = Value::Null;
        for (own, class, expected) in [
            (&none, &none, "none"),
            (&json!({"ssh": {}}), &none, "\"Ssh\" 30s"),
            (&none, &exporter, r#"{"NodeExporter":{"port":9101,"path":"/metrics"}} 1m"#),
            (&json!({"nodeExporter": {"path": "/m"}}), &exporter, r#"{"NodeExporter":{"port":9101,"path":"/m"}} 1m"#),
            (&json!({"ssh": {}, "interval": "1s"}), &exporter, "\"Ssh\" 5s"),
            (&json!({"snmp": {"port": 1161}}), &snmp, r#"{"Snmp":{"port":1161,"version":"v3","secret":"ann"}} 30s"#),
            (&json!({"snmp": {}}), &none, r#"{"Snmp":{"port":161,"version":"v2c","secret":null}} 30s"#),
        ] {
            assert_eq!(merged(own, class), expected, "{own} over {class}");
        }
    }

    /// Where a device is read by SNMP, its probes ask the same agent in the same way, but for a secret of their own.
    #[test]
    fn lines_come_by_one_way_unless_somebody_says_otherwise() {
        let spec = |text: &str| (!text.is_empty()).then(|| serde_json::from_str::<crds::LogsSpec>(text).unwrap());
        let check = |own: &str, class: &str| {
            let Logs { syslog, relay, journald } = logs(spec(own).as_ref(), spec(class).as_ref());
            let relay = if relay { " relay" } else { "" };
            format!("{syslog} {}{relay}", journald.map_or("-".into(), |interval| format!("{interval:#}")))
        };
        let journald = r#"{"journald":{"interval":"1m"}}"#;
        for (own, class, want) in [
            ("", "", "true -"),
            ("{}", "{}", "true -"),
            (r#"{"syslog":false}"#, "", "false -"),
            (r#"{"syslog":true}"#, r#"{"syslog":false}"#, "true -"),
            ("", journald, "false 1m"),
            (r#"{"journald":{}}"#, "", "false 30s"),
            (r#"{"journald":{}}"#, journald, "false 1m"),
            (r#"{"journald":{"interval":"1s"}}"#, journald, "false 5s"),
            (r#"{"syslog":true}"#, journald, "true 1m"),
            ("", r#"{"relay":true}"#, "true - relay"),
            (r#"{"relay":false}"#, r#"{"relay":true}"#, "true -"),
        ] {
            assert_eq!(check(own, class), want, "{own} {class}");
        }
    }

    #[test]
    fn snmp_probes_ask_the_agent_of_the_metrics() {
        let agent = Snmp { port: 1161, version: crds::SnmpVersion::V3, secret: Some("ann".into()) };
        let of = |value: Value, agent: Option<&Snmp>| {
            let Check::Snmp { agent, oid, .. } = for_device(probe(&serde_json::from_value(value).unwrap()), agent).check else {
                unreachable!()
            };
            format!("{} {:?} {:?} {oid}", agent.port, agent.version, agent.secret)
        };
        let plain = json!({"name": "up", "snmp": {}});
        assert_eq!(of(plain.clone(), Some(&agent)), r#"1161 V3 Some("ann") 1.3.6.1.2.1.1.3.0"#);
        assert_eq!(of(plain, None), "161 V2c None 1.3.6.1.2.1.1.3.0");
        let own = json!({"name": "up", "snmp": {"oid": "1.3.6", "secretRef": {"name": "bob"}}});
        assert_eq!(of(own, Some(&agent)), r#"1161 V3 Some("bob") 1.3.6"#);
    }
}
