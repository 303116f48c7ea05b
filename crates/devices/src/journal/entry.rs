//! One entry of a journal, from what `journalctl -o json` says of it.

use jiff::Timestamp;
use serde_json::Value;

/// Bytes of a message that are looked at: twice what is kept of a line.
const MESSAGE: usize = 16 << 10;
/// Longest words of a line (RFC 5424, section 6): host, program, process.
const WORDS: [usize; 3] = [255, 48, 128];

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its place in the journal.
    pub(super) cursor: String,
    /// When it was written, by the device's clock, in microseconds since 1970.
    pub(super) at: i64,
    /// It as a line of RFC 5424.
    pub(super) line: Vec<u8>,
}

impl Entry {
    /// `None`: not an entry.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let fields: serde_json::Map<String, Value> = serde_json::from_slice(text).ok()?;
        let get = |name: &str| fields.get(name).and_then(bytes);
        let word = |name: &str| get(name).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let number = |name: &str| word(name).and_then(|text| text.parse::<i64>().ok());
        let cursor = word("__CURSOR").filter(|cursor| !cursor.is_empty() && cursor.len() <= 1024)?;
        let at = number("__REALTIME_TIMESTAMP")?;
        let is_kernel = word("_TRANSPORT").as_deref() == Some("kernel");
        let facility = number("SYSLOG_FACILITY").filter(|number| (0..24).contains(number)).unwrap_or(if is_kernel { 0 } else { 3 });
        let severity = number("PRIORITY").filter(|number| (0..8).contains(number)).unwrap_or(6);
        let program = word("SYSLOG_IDENTIFIER").or_else(|| word("_COMM")).or_else(|| is_kernel.then(|| "kernel".into()));
        let process = word("SYSLOG_PID").or_else(|| word("_PID"));
        let sent = Timestamp::from_microsecond(at).ok()?.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
        let [host, program, process] =
            [(word("_HOSTNAME"), WORDS[0]), (program, WORDS[1]), (process, WORDS[2])].map(|(text, most)| plain(text.as_deref(), most));
        let unit = word("_SYSTEMD_UNIT").map_or("-".into(), |unit| format!("[journald unit=\"{}\"]", escaped(&unit)));
        let mut line = format!("<{}>1 {sent} {host} {program} {process} - {unit} ", facility * 8 + severity).into_bytes();
        match get("MESSAGE") {
            Some(message) => line.extend_from_slice(&message[..message.len().min(MESSAGE)]),
            // Journalctl says null where there is more than it shows.
            None if fields.contains_key("MESSAGE") => line.extend_from_slice(b"(a message that is too large to be read)"),
            None => line.extend_from_slice(b"(an entry without a message)"),
        }
        Some(Self { cursor, at, line })
    }
}

/// A field's value: text, the bytes of what is no text, or several values, of which the first counts.
fn bytes(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.as_bytes().to_vec()),
        Value::Array(all) if all.first().is_some_and(Value::is_number) => {
            let byte = |value: &Value| value.as_u64().and_then(|byte| u8::try_from(byte).ok());
            all.iter().take(MESSAGE).map(byte).collect()
        }
        // Several values of one name never lie in each other.
        Value::Array(all) => match all.first()? {
            Value::String(text) => Some(text.as_bytes().to_vec()),
            Value::Array(_) => {
                all.first().filter(|inner| inner.as_array().and_then(|inner| inner.first()).is_some_and(Value::is_number)).and_then(bytes)
            }
            _ => None,
        },
        _ => None,
    }
}

/// A word without spaces, as the header of a line has them.
fn plain(text: Option<&str>, most: usize) -> String {
    let text = text.unwrap_or_default();
    if text.is_empty() {
        return "-".into();
    }
    text.chars().take(most).map(|c| if c.is_ascii_graphic() { c } else { '_' }).collect()
}

/// A value of structured data (RFC 5424, section 6.3.3).
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars().filter(|character| !character.is_control()).take(255) {
        if matches!(character, '"' | '\\' | ']') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fields: &str) -> String {
        let text = format!("{{\"__CURSOR\":\"s=1\",\"__REALTIME_TIMESTAMP\":\"1700000000123456\"{fields}}}");
        Entry::parse(text.as_bytes()).map_or("-".into(), |entry| String::from_utf8_lossy(&entry.line).into_owned())
    }

    #[test]
    fn entries_become_lines() {
        let whole = r#","PRIORITY":"4","SYSLOG_FACILITY":"10","SYSLOG_IDENTIFIER":"sshd","_PID":"71","_HOSTNAME":"web-01","_SYSTEMD_UNIT":"ssh.service","MESSAGE":"Failed password""#;
        let at = "2023-11-14T22:13:20.123456Z";
        assert_eq!(check(whole), format!("<84>1 {at} web-01 sshd 71 - [journald unit=\"ssh.service\"] Failed password"));
        assert_eq!(check(r#","_TRANSPORT":"kernel","PRIORITY":"3","MESSAGE":"I/O error""#), format!("<3>1 {at} - kernel - - - I/O error"));
        // Bytes that are no text, and what nobody sends on purpose.
        assert_eq!(check(r#","MESSAGE":[104,105,255,10]"#), format!("<30>1 {at} - - - - - hi\u{fffd}\n"));
        assert_eq!(check(r#","MESSAGE":["one","two"],"_COMM":"a b\n""#), format!("<30>1 {at} - a_b_ - - - one"));
        assert_eq!(check(r#","MESSAGE":[[104,105],"two"]"#), format!("<30>1 {at} - - - - - hi"));
        assert_eq!(check(r#","MESSAGE":null"#), format!("<30>1 {at} - - - - - (a message that is too large to be read)"));
        assert_eq!(check(r#","PRIORITY":"9","SYSLOG_FACILITY":"-1""#), format!("<30>1 {at} - - - - - (an entry without a message)"));
        assert_eq!(
            check(r#","_SYSTEMD_UNIT":"a]\"\\b","MESSAGE":[1,999]"#),
            format!("<30>1 {at} - - - - [journald unit=\"a\\]\\\"\\\\b\"] (a message that is too large to be read)")
        );
        let long = check(&format!(r#","MESSAGE":"{}""#, "x".repeat(100_000)));
        assert!(long.len() < 17_000, "{}", long.len());
    }

    #[test]
    fn what_is_no_entry_is_none() {
        for text in [
            "",
            "{",
            "[]",
            "{}",
            r#"{"__CURSOR":"","__REALTIME_TIMESTAMP":"1"}"#,
            r#"{"__CURSOR":"a"}"#,
            r#"{"__CURSOR":"a","__REALTIME_TIMESTAMP":"99999999999999999999"}"#,
        ] {
            assert_eq!(Entry::parse(text.as_bytes()), None, "{text}");
        }
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(Entry::parse(format!(r#"{{"__CURSOR":"a","__REALTIME_TIMESTAMP":"1","MESSAGE":{deep}}}"#).as_bytes()), None);
    }

    #[test]
    fn fuzz_entries() {
        let words = [
            "\"MESSAGE\":",
            "\"__CURSOR\":",
            "\"__REALTIME_TIMESTAMP\":",
            "\"PRIORITY\":",
            "null",
            "[",
            "]",
            "{",
            "}",
            ",",
            "\"",
            "\\u0000",
            "\\ud83d",
            "[27]",
        ];
        crate::fuzz::run(env!("CARGO_MANIFEST_DIR"), "journal", &words, 10_000, |bytes| {
            let Some(entry) = Entry::parse(bytes) else { return };
            assert!((1..=1024).contains(&entry.cursor.len()));
            // What stands before the message, and a message.
            assert!(entry.line.len() <= 2048 + MESSAGE);
            let line = String::from_utf8_lossy(&entry.line);
            let head: Vec<&str> = line.splitn(7, ' ').collect();
            assert_eq!(head.len(), 7, "{line}");
            assert!(head[0].starts_with('<') && head[0].ends_with(">1") && head[5] == "-", "{line}");
            assert!(head[1].parse::<Timestamp>().is_ok() || !head[1].starts_with(|c: char| c.is_ascii_digit()), "{line}");
            assert!(head[..6].iter().all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic())), "{line}");
        });
    }
}
