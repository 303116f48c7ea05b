//! The one line for people: a template over `device` and `value`.

use jiff::SignedDuration;
use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, Value, context};

use crate::desired::Device;

/// Work that one template may cause.
const FUEL: u64 = 10_000;
/// What there is in one.
pub(super) const HELP: &str = "there are device.name, .namespace, .address, .labels, .vars, and value; of filters percent, bytes and duration, and those of minijinja";
/// What `device` has.
const DEVICE: [&str; 5] = ["name", "namespace", "address", "labels", "vars"];

/// What in a template is not there, if anything; an error: it is no template.
pub(super) fn unknown(template: &str) -> Result<Option<String>, Error> {
    bounded(template)?;
    let environment = environment();
    let template = environment.template_from_str(template)?;
    let mut names: Vec<String> = template.undeclared_variables(true).into_iter().collect();
    names.sort();
    let is_there = |name: &String| {
        let mut parts = name.split('.');
        match (parts.next(), parts.next()) {
            (Some("value"), None) | (Some("device"), None) => true,
            (Some("device"), Some(field)) => DEVICE.contains(&field),
            (Some(global), None) => environment.globals().any(|(name, _)| name == global),
            _ => false,
        }
    };
    if let Some(name) = names.iter().find(|name| !is_there(name)) {
        return Ok(Some(format!("there is no `{name}`: nothing is put in its place")));
    }
    // Which filters there are is only said when one is used.
    let empty = || Value::from(Serde(std::collections::BTreeMap::<String, String>::new()));
    let device = context! { name => "name", namespace => "namespace", address => "192.0.2.1", labels => empty(), vars => empty() };
    let tried = template.render(context! { device => device, value => 0.5 });
    let is_unknown =
        |kind| matches!(kind, ErrorKind::UnknownFilter | ErrorKind::UnknownFunction | ErrorKind::UnknownTest | ErrorKind::UnknownMethod);
    let found = tried.err().filter(|error| is_unknown(error.kind()));
    Ok(found.map(|error| format!("{}: something plain is said instead", error.detail().unwrap_or("something in it is not there"))))
}

/// Fills a template in.
pub(super) fn render(template: &str, device: &Device, value: Option<f64>) -> Result<String, Error> {
    bounded(template)?;
    let context = context! {
        device => context! {
            name => device.name.name(), namespace => device.name.namespace(), address => &device.address,
            labels => Value::from(Serde(&device.labels)),
            vars => Value::from(Serde(&device.vars)),
        },
        value => value,
    };
    environment().render_str(template, context)
}

/// What fuel does not count is not in it.
fn bounded(template: &str) -> Result<(), Error> {
    crate::desired::template::check(template).map_err(|wrong| Error::new(ErrorKind::InvalidOperation, wrong))
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_fuel(Some(FUEL));
    environment.add_filter("percent", |value: f64| format!("{:.0} %", value * 100.0));
    environment.add_filter("bytes", bytes);
    environment.add_filter("duration", |seconds: f64| {
        SignedDuration::try_from_secs_f64(seconds.round()).map_or_else(|_| "?".to_owned(), |duration| format!("{duration:#}"))
    });
    environment
}

fn bytes(mut value: f64) -> String {
    let mut units = ["B", "KiB", "MiB", "GiB", "TiB"].into_iter().peekable();
    while value.abs() >= 1024.0 && units.len() > 1 {
        value /= 1024.0;
        units.next();
    }
    format!("{value:.1} {}", units.next().unwrap_or("PiB"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_found() {
        let found = |template: &str| unknown(template).unwrap().unwrap_or_default();
        for fine in [
            "{{ device.name }}: memory at {{ value | percent }}",
            "{{ device.labels.site }} {{ device.vars.limit | default(3) }} {% if value %}{{ value | round(2) }}{% endif %}",
            "{% for label in device.labels %}{{ label | upper }}{% endfor %}{{ range(3) | length }}",
            "no template at all",
        ] {
            assert_eq!(found(fine), "", "{fine}");
        }
        assert_eq!(found("{{ device.nmae }}"), "there is no `device.nmae`: nothing is put in its place");
        assert_eq!(found("{{ vlaue | percent }}"), "there is no `vlaue`: nothing is put in its place");
        assert!(found("{{ value | percnt }}").contains("percnt"), "{}", found("{{ value | percnt }}"));
        assert!(unknown("{{ device.name").is_err());
    }

    /// Some hundred bytes would be all the memory there is.
    #[test]
    fn lists_are_not_doubled() {
        let doubled = format!("{{% set a = [1, 2, 3, 4] %}}{}{{{{ a | length }}}}", "{% set a = a + a %}".repeat(33));
        let error = unknown(&doubled).unwrap_err().to_string();
        assert!(error.contains("one side of `+`"), "{error}");
    }
}
