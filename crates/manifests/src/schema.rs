//! An object against its kind's own schema: everything that is wrong with it, each at its field.

use reconcile::finding::Severity;
use serde_json::Value;

use crate::finding::Finding;

/// Findings of one object before the rest is only counted.
const MAX: usize = 50;

/// Checks an object against the schema of its kind, and then against its rules.
pub(crate) fn check(kind: crds::Kind, object: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    let schema = crds::schema(kind);
    for (key, value) in object.as_object().into_iter().flatten() {
        match key.as_str() {
            "apiVersion" | "kind" | "status" => {}
            "metadata" => metadata(value, &mut findings),
            "spec" => walk("spec", &schema["properties"]["spec"], value, &mut findings),
            other => unknown(other, other, ["apiVersion", "kind", "metadata", "spec"].into_iter(), &mut findings),
        }
    }
    if object.get("spec").is_none() {
        findings.push(Finding::new(Severity::Error, "missing-field", "", format!("a {} needs a `spec`", kind.as_str()), ""));
    }
    // Rules may rely on types: they are worth asking only once these fit.
    if findings.is_empty() {
        findings.extend(
            crds::validate_cel(kind, object)
                .into_iter()
                .map(|violation| Finding::new(Severity::Error, "rule", &violation.path, violation.message, "")),
        );
    }
    if findings.len() > MAX {
        let more = findings.len() - MAX;
        findings.truncate(MAX);
        findings.push(Finding::new(Severity::Error, "too-many", "", format!("and {more} more in this object"), ""));
    }
    findings
}

fn metadata(value: &Value, findings: &mut Vec<Finding>) {
    const KNOWN: [&str; 5] = ["name", "namespace", "labels", "annotations", "finalizers"];
    let Some(map) = value.as_object() else { return wrong_type("metadata", "a map", value, findings) };
    for (key, value) in map {
        let path = format!("metadata.{key}");
        match key.as_str() {
            "labels" | "annotations" => match value.as_object() {
                Some(map) => {
                    for (label, value) in map.iter().filter(|(_, value)| !value.is_string()) {
                        let help = format!("quote it: {label}: \"{}\"", value.to_string().trim_matches('"'));
                        findings.push(Finding::new(
                            Severity::Error,
                            "wrong-type",
                            &format!("{path}.{label}"),
                            format!("a text is expected, not {}", shown(value)),
                            help,
                        ));
                    }
                }
                None => wrong_type(&path, "a map", value, findings),
            },
            "name" | "namespace" => match value.as_str() {
                Some(name) if is_dns_name(name) => {}
                Some(_) => {
                    let help =
                        "lower-case letters, digits, `-` and `.`, at most 253 characters, beginning and ending with a letter or digit";
                    findings.push(Finding::new(Severity::Error, "name", &path, format!("{} is not a name", shown(value)), help));
                }
                None => wrong_type(&path, "a text", value, findings),
            },
            _ if KNOWN.contains(&key.as_str()) || value.is_null() => {}
            // What kubectl prints and the server fills in is accepted and not used.
            "uid" | "resourceVersion" | "generation" | "creationTimestamp" | "managedFields" | "ownerReferences" => {}
            _ => unknown(&path, key, KNOWN.into_iter(), findings),
        }
    }
    if !map.contains_key("name") {
        findings.push(Finding::new(Severity::Error, "missing-field", "metadata", "an object needs a `metadata.name`", ""));
    }
}

/// RFC 1123, as Kubernetes has it for names of objects.
fn is_dns_name(name: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    (1..=253).contains(&bytes.len())
        && bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(byte))
        && edge(bytes.first())
        && edge(bytes.last())
}

fn walk(path: &str, schema: &Value, value: &Value, findings: &mut Vec<Finding>) {
    if findings.len() > 10 * MAX {
        return;
    }
    if value.is_null() && (schema["nullable"] == true || !path.contains(['.', '['])) {
        return;
    }
    if schema["x-kubernetes-preserve-unknown-fields"] == true {
        return;
    }
    if schema["x-kubernetes-int-or-string"] == true {
        return int_or_string(path, schema, value, findings);
    }
    match schema["type"].as_str() {
        Some("object") => object(path, schema, value, findings),
        Some("array") => array(path, schema, value, findings),
        Some("string") => match value.as_str() {
            Some(text) => string(path, schema, text, findings),
            None => wrong_type(path, "a text", value, findings),
        },
        Some("integer") => match value.as_i64() {
            Some(number) => range(path, schema, number, findings),
            None => wrong_type(path, "a whole number", value, findings),
        },
        Some("number") if !value.is_number() => wrong_type(path, "a number", value, findings),
        Some("boolean") if !value.is_boolean() => wrong_type(path, "true or false", value, findings),
        _ => {}
    }
}

fn object(path: &str, schema: &Value, value: &Value, findings: &mut Vec<Finding>) {
    let Some(map) = value.as_object() else { return wrong_type(path, "a map", value, findings) };
    let properties = schema["properties"].as_object();
    for (key, value) in map {
        let inner = format!("{path}.{key}");
        match properties.and_then(|properties| properties.get(key)) {
            Some(schema) => walk(&inner, schema, value, findings),
            None if schema["additionalProperties"].is_object() => walk(&inner, &schema["additionalProperties"], value, findings),
            None => unknown(&inner, key, properties.into_iter().flatten().map(|(name, _)| name.as_str()), findings),
        }
    }
    if let Some(max) = schema["maxProperties"].as_u64().filter(|max| map.len() as u64 > *max) {
        findings.push(Finding::new(Severity::Error, "too-many", path, format!("at most {max} entries are allowed, not {}", map.len()), ""));
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !map.contains_key(name) {
            findings.push(Finding::new(
                Severity::Error,
                "missing-field",
                path,
                format!("`{name}` is missing"),
                properties.and_then(|p| p[name]["description"].as_str()).unwrap_or_default(),
            ));
        }
    }
}

fn array(path: &str, schema: &Value, value: &Value, findings: &mut Vec<Finding>) {
    let Some(items) = value.as_array() else { return wrong_type(path, "a list", value, findings) };
    let count = items.len() as u64;
    if let Some(max) = schema["maxItems"].as_u64().filter(|max| count > *max) {
        findings.push(Finding::new(Severity::Error, "too-many", path, format!("at most {max} items are allowed, not {count}"), ""));
    }
    if let Some(min) = schema["minItems"].as_u64().filter(|min| count < *min) {
        findings.push(Finding::new(Severity::Error, "too-few", path, format!("at least {min} items are needed"), ""));
    }
    for (at, item) in items.iter().enumerate().take(1000) {
        walk(&format!("{path}[{at}]"), &schema["items"], item, findings);
    }
    if schema["x-kubernetes-list-type"] == "map" {
        let keys: Vec<&str> = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let mut seen: Vec<Vec<&Value>> = Vec::new();
        for (at, item) in items.iter().enumerate().take(1000) {
            let id: Vec<&Value> = keys.iter().map(|key| &item[*key]).collect();
            if seen.contains(&id) {
                let message =
                    format!("{} {} occurs twice", keys.join(", "), id.iter().map(|value| shown(value)).collect::<Vec<_>>().join(", "));
                findings.push(Finding::new(Severity::Error, "duplicate", &format!("{path}[{at}]"), message, "give each its own"));
            }
            seen.push(id);
        }
    }
}

fn string(path: &str, schema: &Value, text: &str, findings: &mut Vec<Finding>) {
    let length = text.chars().count() as u64;
    if let Some(values) = schema["enum"].as_array() {
        if !values.iter().any(|value| value == text) {
            let names: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
            let help = nearest(text, names.iter().copied()).map(|best| format!("did you mean `{best}`? ")).unwrap_or_default();
            findings.push(Finding::new(
                Severity::Error,
                "unknown-value",
                path,
                format!("{} is not allowed here", quoted(text)),
                format!("{help}allowed: {}", names.join(", ")),
            ));
        }
        return;
    }
    if schema["format"] == "date-time" && text.parse::<jiff::Timestamp>().is_err() {
        findings.push(Finding::new(
            Severity::Error,
            "format",
            path,
            format!("{} is not an instant", quoted(text)),
            "such as 2026-12-31T23:59:59Z",
        ));
    }
    if let Some(pattern) = schema["pattern"].as_str().filter(|pattern| !matches(pattern, text)) {
        let wanted = crds::describe_pattern(pattern).map_or_else(|| format!("text of the form {pattern}"), str::to_owned);
        findings.push(Finding::new(Severity::Error, "format", path, format!("{} is not {wanted}", quoted(text)), ""));
    } else if let Some(max) = schema["maxLength"].as_u64().filter(|max| length > *max) {
        findings.push(Finding::new(Severity::Error, "too-long", path, format!("at most {max} characters are allowed, not {length}"), ""));
    } else if let Some(min) = schema["minLength"].as_u64().filter(|min| length < *min) {
        findings.push(Finding::new(Severity::Error, "too-short", path, format!("at least {min} characters are needed"), ""));
    }
}

fn int_or_string(path: &str, schema: &Value, value: &Value, findings: &mut Vec<Finding>) {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        other => return wrong_type(path, "a number such as 3, or a share such as 10%", other, findings),
    };
    if let Some(pattern) = schema["pattern"].as_str().filter(|pattern| !matches(pattern, &text)) {
        let wanted = crds::describe_pattern(pattern).unwrap_or(pattern);
        findings.push(Finding::new(Severity::Error, "format", path, format!("{} is not {wanted}", quoted(&text)), ""));
    }
}

fn range(path: &str, schema: &Value, number: i64, findings: &mut Vec<Finding>) {
    let bound = |key: &str| schema[key].as_f64();
    #[allow(clippy::cast_precision_loss)]
    let value = number as f64;
    let (min, max) = (bound("minimum"), bound("maximum"));
    if min.is_some_and(|min| value < min) || max.is_some_and(|max| value > max) {
        let text = match (min, max) {
            (Some(min), Some(max)) => format!("from {min} to {max}"),
            (Some(min), None) => format!("at least {min}"),
            (_, Some(max)) => format!("at most {max}"),
            _ => return,
        };
        findings.push(Finding::new(Severity::Error, "range", path, format!("{number} is not allowed: {text}"), ""));
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    // The patterns are our own; compiled ones are few and kept.
    static COMPILED: std::sync::Mutex<std::collections::BTreeMap<String, Option<regex::Regex>>> =
        std::sync::Mutex::new(std::collections::BTreeMap::new());
    let mut compiled = COMPILED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let regex = compiled.entry(pattern.to_owned()).or_insert_with(|| regex::Regex::new(pattern).ok());
    regex.as_ref().is_none_or(|regex| regex.is_match(text))
}

fn wrong_type(path: &str, expected: &str, found: &Value, findings: &mut Vec<Finding>) {
    findings.push(Finding::new(Severity::Error, "wrong-type", path, format!("{expected} is expected, not {}", shown(found)), ""));
}

fn unknown<'a>(path: &str, key: &str, known: impl Iterator<Item = &'a str>, findings: &mut Vec<Finding>) {
    let known: Vec<&str> = known.collect();
    let help = nearest(key, known.iter().copied()).map(|best| format!("did you mean `{best}`? ")).unwrap_or_default();
    findings.push(Finding::new(
        Severity::Error,
        "unknown-field",
        path,
        format!("there is no field {}", quoted(key)),
        format!("{help}allowed here: {}", known.join(", ")),
    ));
}

fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let score = |other: &&str| strsim::jaro_winkler(&word.to_lowercase(), &other.to_lowercase());
    known.map(|other| (score(&other), other)).filter(|(score, _)| *score > 0.8).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, other)| other)
}

fn quoted(text: &str) -> String {
    format!("`{}`", text.chars().take(60).collect::<String>())
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "nothing".into(),
        Value::Bool(value) => format!("`{value}`"),
        Value::Number(value) => format!("the number {value}"),
        Value::String(value) => quoted(value),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "a map".into(),
    }
}
