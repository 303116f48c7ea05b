//! The kinds as one page of Markdown, field by field, as `kubectl explain` would say it.

use std::fmt::Write as _;

use crds::Kind;
use serde_json::Value;

const HEAD: &str = "<!-- Generated from crds/src by `cargo xtask generate`; do not edit. -->
# The kinds, field by field

`apiVersion` is `evenkeel.dev/v1alpha1`; examples of each kind are in [examples/](../examples/). A field in bold has to be given. References are to
objects in the same namespace. Durations are written `15s`, `5m` or `1h30m`, shares `10%`.

The engine acts on Device, DeviceClass and Deployment. The other kinds, and `metrics` and `logs` of a device, are checked, and nothing acts on them yet.

";

/// The page.
pub fn page() -> String {
    let mut page = String::from(HEAD);
    for kind in Kind::ALL {
        let _ = writeln!(page, "- [{0}](#{1})", kind.as_str(), kind.as_str().to_lowercase());
    }
    for kind in Kind::ALL {
        let schema = crds::schema(*kind);
        let spec = &schema["properties"]["spec"];
        let _ = writeln!(page, "\n## {}\n\n{}\n", kind.as_str(), description(spec));
        rules(&mut page, spec, 0);
        fields(&mut page, spec, 0);
    }
    page
}

fn fields(page: &mut String, schema: &Value, depth: usize) {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let shown = if required.contains(&name.as_str()) { format!("**`{name}`**") } else { format!("`{name}`") };
        let _ = writeln!(page, "{:1$}- {shown} ({2}): {3}", "", depth * 2, shape(field), description(field));
        let inner = if field["items"].is_object() { &field["items"] } else { field };
        rules(page, inner, depth + 1);
        fields(page, inner, depth + 1);
    }
}

/// Rules that span several fields.
fn rules(page: &mut String, schema: &Value, depth: usize) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let _ = writeln!(page, "{:1$}- *{2}*", "", depth * 2, rule["message"].as_str().unwrap_or_default());
    }
}

/// What can be written there, in a few words.
fn shape(schema: &Value) -> String {
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
    }
    if let Some(meant) = schema["pattern"].as_str().and_then(crds::describe_pattern) {
        // What is explained above needs but its name here.
        let brief = [("a duration", "duration"), ("a share", "share"), ("a number such", "number or share")];
        return brief.iter().find(|(long, _)| meant.starts_with(long)).map_or(meant, |(_, brief)| brief).to_owned();
    }
    match schema["type"].as_str() {
        Some("array") => format!("list of {}{}", shape(&schema["items"]), most(&schema["maxItems"])),
        Some("object") if schema["properties"].is_object() => "object".into(),
        Some("object") => "map".into(),
        Some("string") => match schema["format"].as_str() {
            Some("date-time") => "an instant such as 2026-12-31T23:59:59Z".into(),
            _ => "text".into(),
        },
        Some("integer") => match (schema["minimum"].as_f64(), schema["maximum"].as_f64()) {
            (Some(least), Some(most)) => format!("{least} to {most}"),
            (Some(least), None) => format!("{least} or more"),
            _ => "number".into(),
        },
        Some("boolean") => "true or false".into(),
        other => other.unwrap_or("anything").into(),
    }
}

fn most(limit: &Value) -> String {
    limit.as_u64().map(|limit| format!(", at most {limit}")).unwrap_or_default()
}

/// The description in one line.
fn description(schema: &Value) -> String {
    schema["description"].as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}
