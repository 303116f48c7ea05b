//! Values as YAML, as people write it.

use serde_json::{Map, Value};

use crate::yaml::scalar;

/// Fields that come first, in this order.
const FIRST: [&str; 7] = ["apiVersion", "kind", "metadata", "name", "namespace", "spec", "type"];
/// What other readers of YAML take for something else than text.
const WORDS: [&str; 10] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "~"];
/// Signs that mean something where they are first.
const SIGNS: &str = "-?:,[]{}#&*!|>'\"%@`=<.~";

/// A value as it is put behind a key or a dash: the rest of that line, and the lines below it, without their indentation.
pub(super) struct Rendered {
    pub(super) head: String,
    pub(super) lines: Vec<String>,
}

/// In block style where it has parts.
pub(super) fn block(value: &Value) -> Rendered {
    match value {
        Value::Object(map) if !map.is_empty() => Rendered { head: String::new(), lines: entries(map) },
        Value::Array(items) if !items.is_empty() => Rendered { head: String::new(), lines: items.iter().flat_map(item).collect() },
        Value::String(text) => literal(text).unwrap_or_else(|| Rendered { head: inline(value), lines: Vec::new() }),
        other => Rendered { head: inline(other), lines: Vec::new() },
    }
}

/// On one line, also inside of brackets.
pub(super) fn inline(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let entries: Vec<String> = sorted(map).iter().map(|(key, value)| format!("{}: {}", text(key), inline(value))).collect();
            format!("{{{}}}", entries.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::String(plain) => text(plain),
        other => other.to_string(),
    }
}

/// A map on one line, those keys first that were there before.
pub(super) fn flow<'a>(before: impl Iterator<Item = &'a str>, map: &Map<String, Value>) -> String {
    let kept: Vec<&str> = before.filter(|key| map.contains_key(*key)).collect();
    let new = sorted(map).into_iter().map(|(key, _)| key.as_str()).filter(|key| !kept.contains(key));
    let entries: Vec<String> = kept.iter().copied().chain(new).map(|key| format!("{}: {}", text(key), inline(&map[key]))).collect();
    format!("{{{}}}", entries.join(", "))
}

/// The lines of an entry of a map.
pub(super) fn entry(key: &str, value: &Value) -> Vec<String> {
    let Rendered { head, lines } = block(value);
    let first = if head.is_empty() { format!("{}:", text(key)) } else { format!("{}: {head}", text(key)) };
    std::iter::once(first).chain(lines.into_iter().map(indented)).collect()
}

/// The lines of an item of a list.
pub(super) fn item(value: &Value) -> Vec<String> {
    let Rendered { head, lines } = block(value);
    if !head.is_empty() {
        return std::iter::once(format!("- {head}")).chain(lines.into_iter().map(indented)).collect();
    }
    let mut lines = lines.into_iter();
    let first = lines.next().map(|line| format!("- {line}"));
    first.into_iter().chain(lines.map(indented)).collect()
}

/// A whole document, with a line end behind it.
pub(super) fn document(value: &Value, newline: &str) -> String {
    let Rendered { head, lines } = block(value);
    let lines = if head.is_empty() { lines } else { vec![head] };
    lines.iter().map(|line| format!("{line}{newline}")).collect()
}

/// Text in double quotes: as JSON has it, which is YAML too, and nothing in it that can't be seen.
pub(super) fn quoted(text: &str) -> String {
    let json = Value::String(text.to_owned()).to_string();
    let is_unseen = |c: char| matches!(c, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}');
    json.chars().map(|c| if is_unseen(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() }).collect()
}

fn entries(map: &Map<String, Value>) -> Vec<String> {
    sorted(map).iter().flat_map(|(key, value)| entry(key, value)).collect()
}

fn sorted(map: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by_key(|(key, _)| FIRST.iter().position(|first| first == key).unwrap_or(FIRST.len()));
    entries
}

fn indented(line: String) -> String {
    if line.is_empty() { line } else { format!("  {line}") }
}

/// Text of several lines as a literal, where that says exactly the same.
fn literal(text: &str) -> Option<Rendered> {
    let body = text.strip_suffix('\n').unwrap_or(text);
    let is_plain = |c: char| c == '\n' || c == '\t' || !(c.is_control() || c == '\u{2028}' || c == '\u{2029}' || c == '\u{feff}');
    let fits = body.contains('\n')
        && !body.ends_with('\n')
        && text.chars().all(is_plain)
        && !body.starts_with([' ', '\t', '\n'])
        && body.lines().all(|line| line.is_empty() || !line.trim().is_empty());
    let head = if text.ends_with('\n') { "|" } else { "|-" };
    fits.then(|| Rendered { head: head.into(), lines: body.split('\n').map(str::to_owned).collect() })
}

/// Text as it is where nothing else could be read in it, else in quotes.
pub(super) fn text(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { quoted(text) }
}

fn is_plain(text: &str) -> bool {
    let is_text = scalar::resolve(text) == Value::String(text.to_owned());
    let is_word = WORDS.contains(&text.to_ascii_lowercase().as_str());
    // Dates, times, octal and grouped numbers are numbers to some.
    let is_number = text.starts_with(|c: char| c.is_ascii_digit() || c == '+')
        && text.chars().all(|c| c.is_ascii_digit() || "+-_.:xeoTZ".contains(c))
        && text.matches('.').count() < 2;
    let is_safe = |c: char| !(c.is_control() || "[]{},\"#`\u{2028}\u{2029}\u{feff}\u{85}".contains(c));
    is_text
        && !is_word
        && !is_number
        && !text.starts_with(|c: char| SIGNS.contains(c) || c.is_whitespace())
        && !text.ends_with(|c: char| c == ':' || c.is_whitespace())
        && !text.contains(": ")
        && text.chars().all(is_safe)
        && text.len() <= 200
}
