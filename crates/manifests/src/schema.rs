//! An object against its kind's own schema: everything that is wrong with it, each at its field, with what to do.

use serde_json::Value;

use crate::finding::Finding;

/// Findings of one object before the rest is only counted.
const MAX: usize = 50;
/// Items of one list that are looked at; no schema of ours allows more.
const MAX_ITEMS: usize = 1000;

/// What is wrong with a value whose shape is right.
const NOT_IN_THE_WAY: [&str; 6] = ["format", "name", "range", "too-few", "too-short", "unknown-field"];

/// Checks an object against the schema of its kind, and then against its rules.
pub(crate) fn check(kind: crds::Kind, object: &Value) -> Vec<Finding> {
    let schema = crds::schema(kind);
    let mut checked = Checked::default();
    for (key, value) in object.as_object().into_iter().flatten() {
        match key.as_str() {
            "apiVersion" | "kind" | "status" => {}
            "metadata" if !value.is_null() => checked.metadata(value),
            "spec" if !value.is_null() => checked.value("spec", &schema["properties"]["spec"], value),
            "metadata" | "spec" => {}
            other => checked.unknown(other, other, ["apiVersion", "kind", "metadata", "spec"].into_iter()),
        }
    }
    if object["metadata"].is_null() {
        checked.add("missing-field", "metadata", format!("a {} needs `metadata`", kind.as_str()), "write `metadata: {name: …}`");
    }
    if object["spec"].is_null() {
        let needs = schema["properties"]["spec"]["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let help = format!("write `spec:` with {}", needs.collect::<Vec<_>>().join(", "));
        checked.add("missing-field", "spec", format!("a {} needs a `spec`", kind.as_str()), help);
    }
    // Rules may rely on types and on what has to be there: they are asked once these fit, as the API server does it.
    if checked.0.iter().all(|finding| NOT_IN_THE_WAY.contains(&finding.code.as_str())) {
        for violation in crds::validate_cel(kind, object) {
            let help = has(field(object, &violation.path));
            checked.add("rule", &violation.path, violation.message, help);
        }
    }
    let more = checked.0.len().saturating_sub(MAX);
    if more > 0 {
        checked.0.truncate(MAX);
        checked.add("too-many", "", format!("and {more} more in this object"), "mend these first");
    }
    checked.0
}

/// The known word that is spelled most alike.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let score = |other: &&str| strsim::jaro_winkler(&word.to_lowercase(), &other.to_lowercase());
    known.map(|other| (score(&other), other)).filter(|(score, _)| *score > 0.8).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, other)| other)
}

/// Some text of a user, as code.
pub(crate) fn quoted(text: &str) -> String {
    format!("`{}`", text.chars().take(60).collect::<String>())
}

/// What was found so far.
#[derive(Default)]
struct Checked(Vec<Finding>);

impl Checked {
    fn add(&mut self, code: &str, path: &str, message: impl Into<String>, help: impl Into<String>) {
        // Descriptions of fields may have several lines.
        self.0.push(Finding::error(code, path, message, help.into().replace('\n', " ")));
    }

    fn metadata(&mut self, value: &Value) {
        const KNOWN: [&str; 5] = ["name", "namespace", "labels", "annotations", "finalizers"];
        let Some(map) = value.as_object() else { return self.wrong_type("metadata", "a map", value, "") };
        for (key, value) in map {
            let path = format!("metadata.{key}");
            match key.as_str() {
                "labels" | "annotations" => match value.as_object() {
                    Some(map) => {
                        for (label, value) in map {
                            let at = format!("{path}.{label}");
                            let help = "see Kubernetes' syntax of labels: letters, digits, `-`, `_` and `.`, at most 63, beginning and ending \
                                        with a letter or digit; a key may have a domain and `/` before it";
                            match value.as_str() {
                                None => self.wrong_type(&at, "text", value, ""),
                                _ if !is_label_key(label) => self.add("name", &at, format!("{} is no key of a label", quoted(label)), help),
                                Some(text) if key == "labels" && !text.is_empty() && !is_label(text) => {
                                    self.add("name", &at, format!("{} is no value of a label", quoted(text)), help);
                                }
                                Some(_) => {}
                            }
                        }
                    }
                    None => self.wrong_type(&path, "a map", value, ""),
                },
                "name" | "namespace" => match value.as_str() {
                    Some(name) if is_dns_name(name) => {}
                    Some(_) => {
                        let help =
                            "lower-case letters, digits, `-` and `.`, at most 253 characters, beginning and ending with a letter or digit";
                        self.add("name", &path, format!("{} is not a name", shown(value)), help);
                    }
                    None => self.wrong_type(&path, "text", value, ""),
                },
                _ if KNOWN.contains(&key.as_str()) || value.is_null() => {}
                // What kubectl prints and the server fills in is accepted and not used.
                "uid" | "resourceVersion" | "generation" | "creationTimestamp" | "managedFields" | "ownerReferences" => {}
                _ => self.unknown(&path, key, KNOWN.into_iter()),
            }
        }
        if !map.contains_key("name") {
            self.add("missing-field", "metadata", "an object needs a `metadata.name`", "give it a name that no other one of its kind has");
        }
    }

    fn value(&mut self, path: &str, schema: &Value, value: &Value) {
        if self.0.len() > 10 * MAX
            || (value.is_null() && schema["nullable"] == true)
            || schema["x-kubernetes-preserve-unknown-fields"] == true
        {
            return;
        }
        if schema["x-kubernetes-int-or-string"] == true {
            return self.int_or_string(path, schema, value);
        }
        let about = about(schema);
        match schema["type"].as_str() {
            Some("object") => self.object(path, schema, value),
            Some("array") => self.array(path, schema, value),
            Some("string") => match value.as_str() {
                Some(text) => self.string(path, schema, text),
                // Quotes are no help where the number as text would not do either.
                None => match schema["pattern"].as_str().filter(|pattern| value.is_number() && !matches(pattern, &value.to_string())) {
                    Some(pattern) => self.add("format", path, format!("{} is not {}", quoted(&value.to_string()), wanted(pattern)), about),
                    None => self.wrong_type(path, "text", value, about),
                },
            },
            Some("integer") => match value.as_i64() {
                Some(number) => self.range(path, schema, number),
                None => self.wrong_type(path, "a whole number", value, about),
            },
            Some("number") if !value.is_number() => self.wrong_type(path, "a number", value, about),
            Some("boolean") if !value.is_boolean() => self.wrong_type(path, "true or false", value, about),
            _ => {}
        }
    }

    fn object(&mut self, path: &str, schema: &Value, value: &Value) {
        let properties = schema["properties"].as_object();
        let Some(map) = value.as_object() else { return self.wrong_type(path, "a map", value, about(schema)) };
        for (key, value) in map {
            let inner = format!("{path}.{key}");
            match properties.and_then(|properties| properties.get(key)) {
                Some(schema) => self.value(&inner, schema, value),
                None if schema["additionalProperties"].is_object() => self.value(&inner, &schema["additionalProperties"], value),
                None => self.unknown(&inner, key, properties.into_iter().flatten().map(|(name, _)| name.as_str())),
            }
        }
        if let Some(max) = schema["maxProperties"].as_u64().filter(|max| map.len() as u64 > *max) {
            self.add("too-many", path, format!("at most {max} entries are allowed, not {}", map.len()), about(schema));
        }
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).filter(|name| !map.contains_key(*name)) {
            let about = properties.map(|properties| about(&properties[name])).unwrap_or_default();
            self.add("missing-field", path, format!("`{name}` is missing"), format!("add it: {about}"));
        }
    }

    fn array(&mut self, path: &str, schema: &Value, value: &Value) {
        let Some(items) = value.as_array() else { return self.wrong_type(path, "a list", value, about(schema)) };
        let count = items.len() as u64;
        if let Some(max) = schema["maxItems"].as_u64().filter(|max| count > *max) {
            self.add("too-many", path, format!("at most {max} items are allowed, not {count}"), about(schema));
        }
        if let Some(min) = schema["minItems"].as_u64().filter(|min| count < *min) {
            self.add("too-few", path, format!("at least {min} items are needed"), about(schema));
        }
        for (at, item) in items.iter().enumerate().take(MAX_ITEMS) {
            self.value(&format!("{path}[{at}]"), &schema["items"], item);
        }
        if schema["x-kubernetes-list-type"] != "map" {
            return;
        }
        let keys: Vec<&str> = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let mut seen: Vec<Vec<&Value>> = Vec::new();
        for (at, item) in items.iter().enumerate().take(MAX_ITEMS) {
            let id: Vec<&Value> = keys.iter().map(|key| &item[*key]).collect();
            if let Some(first) = seen.iter().position(|other| *other == id).filter(|_| id.iter().all(|value| !value.is_null())) {
                let value = id.iter().map(|value| shown(value)).collect::<Vec<_>>().join(", ");
                let message = format!("the {} {value} is there twice: first as item {}", keys.join(", "), first + 1);
                self.add("duplicate", &format!("{path}[{at}].{}", keys[0]), message, "give each its own");
            }
            seen.push(id);
        }
    }

    fn string(&mut self, path: &str, schema: &Value, text: &str) {
        let length = text.chars().count() as u64;
        if let Some(values) = schema["enum"].as_array() {
            let names = || values.iter().filter_map(Value::as_str);
            if !names().any(|name| name == text) {
                let help = nearest(text, names()).map(|best| format!("did you mean `{best}`? ")).unwrap_or_default();
                let help = format!("{help}allowed: {}", names().collect::<Vec<_>>().join(", "));
                self.add("unknown-value", path, format!("{} is not allowed here", quoted(text)), help);
            }
            return;
        }
        if schema["format"] == "date-time" && text.parse::<jiff::Timestamp>().is_err() {
            self.add("format", path, format!("{} is not an instant", quoted(text)), "write it as 2026-12-31T23:59:59Z");
        }
        if let Some(pattern) = schema["pattern"].as_str().filter(|pattern| !matches(pattern, text)) {
            self.add("format", path, format!("{} is not {}", quoted(text), wanted(pattern)), about(schema));
        } else if let Some(max) = schema["maxLength"].as_u64().filter(|max| length > *max) {
            self.add("too-long", path, format!("at most {max} characters are allowed, not {length}"), about(schema));
        } else if let Some(min) = schema["minLength"].as_u64().filter(|min| length < *min) {
            self.add("too-short", path, format!("at least {min} characters are needed"), about(schema));
        } else if schema["pattern"].as_str().is_some_and(|pattern| wanted(pattern).contains("duration"))
            && text.parse::<crds::Duration>().is_err()
        {
            self.add("range", path, format!("{} is too long", quoted(text)), "at most 366 days");
        }
    }

    fn int_or_string(&mut self, path: &str, schema: &Value, value: &Value) {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            other => return self.wrong_type(path, "a number such as 3, or a share such as 10%,", other, about(schema)),
        };
        if let Some(pattern) = schema["pattern"].as_str().filter(|pattern| !matches(pattern, &text)) {
            self.add("format", path, format!("{} is not {}", quoted(&text), wanted(pattern)), about(schema));
        }
    }

    fn range(&mut self, path: &str, schema: &Value, number: i64) {
        let bound = |key: &str| schema[key].as_f64();
        #[allow(clippy::cast_precision_loss)]
        let value = number as f64;
        let (min, max) = (bound("minimum"), bound("maximum"));
        if min.is_some_and(|min| value < min) || max.is_some_and(|max| value > max) {
            let allowed = match (min, max) {
                (Some(min), Some(max)) => format!("from {min} to {max}"),
                (Some(min), None) => format!("at least {min}"),
                (_, Some(max)) => format!("at most {max}"),
                _ => return,
            };
            self.add("range", path, format!("{number} is not allowed: {allowed}"), about(schema));
        }
    }

    fn wrong_type(&mut self, path: &str, expected: &str, found: &Value, about: &str) {
        let help = match (expected, found) {
            ("text", Value::Number(_)) => "put it into quotes: without them it is read as a number".into(),
            ("text", Value::Bool(_)) => "put it into quotes: without them it is read as true or false".into(),
            ("a whole number", Value::String(text)) if text.parse::<i64>().is_ok() => "take the quotes away".into(),
            ("true or false", Value::String(text)) if ["yes", "on", "y"].contains(&text.to_lowercase().as_str()) => "write `true`".into(),
            ("true or false", Value::String(text)) if ["no", "off", "n"].contains(&text.to_lowercase().as_str()) => "write `false`".into(),
            ("a list", Value::String(text)) => format!("write `[{}]`, or each item in a line of its own after `- `", text.escape_default()),
            ("a map", _) if about.is_empty() => "write `key: value`".into(),
            _ => about.to_owned(),
        };
        self.add("wrong-type", path, format!("{expected} is expected, not {}", shown(found)), help);
    }

    fn unknown<'a>(&mut self, path: &str, key: &str, known: impl Iterator<Item = &'a str>) {
        let known: Vec<&str> = known.collect();
        let help = nearest(key, known.iter().copied()).map(|best| format!("did you mean `{best}`? ")).unwrap_or_default();
        let help = format!("{help}allowed here: {}", known.join(", "));
        self.add("unknown-field", path, format!("there is no field {}", quoted(key)), help);
    }
}

/// See "Labels and Selectors" in Kubernetes' documentation.
fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    bytes.len() <= 63
        && ends(bytes.first())
        && ends(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

fn is_label_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((domain, name)) => is_dns_name(domain) && is_label(name),
        None => is_label(text),
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

/// What the field is for, in the schema's words.
fn about(schema: &Value) -> &str {
    schema["description"].as_str().unwrap_or("see `evenkeel crds`")
}

fn wanted(pattern: &str) -> String {
    crds::describe_pattern(pattern).map_or_else(|| format!("text of the form {pattern}"), str::to_owned)
}

fn matches(pattern: &str, text: &str) -> bool {
    // The patterns are our own; compiled ones are few and kept.
    static COMPILED: std::sync::Mutex<std::collections::BTreeMap<String, Option<regex::Regex>>> =
        std::sync::Mutex::new(std::collections::BTreeMap::new());
    let mut compiled = COMPILED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let regex = compiled.entry(pattern.to_owned()).or_insert_with(|| regex::Regex::new(pattern).ok());
    regex.as_ref().is_none_or(|regex| regex.is_match(text))
}

/// The value at a path such as `spec.probes[0]`.
fn field<'a>(object: &'a Value, path: &str) -> &'a Value {
    path.split(['.', '[']).filter(|part| !part.is_empty()).fold(object, |value, part| match part.strip_suffix(']') {
        Some(index) => index.parse::<usize>().map_or(&Value::Null, |index| &value[index]),
        None => &value[part],
    })
}

/// What is there where a rule asks for something else.
fn has(value: &Value) -> String {
    match value.as_object().map(|map| map.keys().map(String::as_str).collect::<Vec<_>>()) {
        Some(keys) if keys.is_empty() => "it is empty".into(),
        Some(keys) => format!("it has {}", keys.join(", ")),
        None => format!("it is {}", shown(value)),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(schema: &Value, found: &mut Vec<String>) {
        match schema {
            Value::Object(map) => {
                found.extend(map.get("pattern").and_then(Value::as_str).map(str::to_owned));
                map.values().for_each(|inner| patterns(inner, found));
            }
            Value::Array(items) => items.iter().for_each(|inner| patterns(inner, found)),
            _ => {}
        }
    }

    #[test]
    fn nobody_has_to_read_a_regular_expression() {
        let mut found = Vec::new();
        crds::Kind::ALL.iter().for_each(|kind| patterns(crds::schema(*kind), &mut found));
        assert!(found.len() > 20);
        for pattern in found {
            assert!(crds::describe_pattern(&pattern).is_some(), "{pattern} has no words");
        }
    }
}
