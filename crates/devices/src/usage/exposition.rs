//! The text format of Prometheus metrics, as <https://prometheus.io/docs/instrumenting/exposition_formats/> has it. What OpenMetrics has
//! beyond it (exemplars, times of creation, `# EOF`) is passed over.

use std::borrow::Cow;

/// The longest answer: a busy node_exporter gives less than 1 MiB.
pub(crate) const BODY: usize = 8 << 20;
/// The longest line that is read; a longer one is passed over, and counted.
const LINE: usize = 16 << 10;
/// Samples of one answer; one with more is not read any further, and refused.
const SAMPLES: usize = 50_000;
/// Labels of one sample; one with more can't be read.
const LABELS: usize = 64;

/// One value.
#[derive(Debug, PartialEq)]
pub(crate) struct Sample<'a> {
    pub(crate) name: &'a str,
    pub(crate) labels: Vec<(&'a str, Cow<'a, str>)>,
    pub(crate) value: f64,
}

impl Sample<'_> {
    /// A label's value; empty where there is none, which means the same.
    pub(crate) fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value)
    }
}

/// Hands out each sample, and returns how many lines could not be read.
pub(crate) fn read(text: &[u8], mut each: impl FnMut(&Sample<'_>)) -> Result<usize, String> {
    let (mut samples, mut unreadable) = (0, 0);
    for line in text.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.trim_ascii_start().first().is_none_or(|first| *first == b'#') {
            continue;
        }
        samples += 1;
        if samples > SAMPLES {
            return Err(format!("more than {SAMPLES} samples"));
        }
        match Some(line).filter(|line| line.len() <= LINE).and_then(|line| std::str::from_utf8(line).ok()).and_then(sample) {
            Some(sample) => each(&sample),
            None => unreadable += 1,
        }
    }
    Ok(unreadable)
}

/// `name{label="value",…} 1.5 1700000000000`
fn sample(line: &str) -> Option<Sample<'_>> {
    let line = line.trim_start_matches([' ', '\t']);
    let (name, rest) = word(line, true)?;
    let rest = rest.trim_start_matches([' ', '\t']);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    let mut words = rest.split([' ', '\t']).filter(|word| !word.is_empty());
    let value = words.next()?.parse().ok()?;
    // A time may follow, and an exemplar.
    let is_time = |word: &str| word.parse::<f64>().is_ok() || word.starts_with('#');
    words.next().is_none_or(is_time).then_some(Sample { name, labels, value })
}

/// A name; only those of metrics may have colons.
fn word(text: &str, colons: bool) -> Option<(&str, &str)> {
    let is_part = |(at, c): (usize, char)| c.is_ascii_alphabetic() || c == '_' || (colons && c == ':') || (at > 0 && c.is_ascii_digit());
    let end = text.char_indices().find(|part| !is_part(*part)).map_or(text.len(), |(end, _)| end);
    (end > 0).then(|| text.split_at(end))
}

/// Labels with their values, in the order in which they are written.
type Labels<'a> = Vec<(&'a str, Cow<'a, str>)>;

/// What is between braces, and what follows.
fn labels(mut text: &str) -> Option<(Labels<'_>, &str)> {
    let mut labels = Vec::new();
    loop {
        text = text.trim_start_matches([' ', '\t']);
        if let Some(rest) = text.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, rest) = word(text, false)?;
        let rest = rest.trim_start_matches([' ', '\t']).strip_prefix('=')?.trim_start_matches([' ', '\t']).strip_prefix('"')?;
        let (value, rest) = quoted(rest)?;
        if labels.len() == LABELS {
            return None;
        }
        labels.push((name, value));
        text = rest.trim_start_matches([' ', '\t']);
        // A comma may also follow the last one.
        match text.strip_prefix(',') {
            Some(rest) => text = rest,
            None if text.starts_with('}') => {}
            None => return None,
        }
    }
}

/// What is before the closing quotation mark, and what is behind it. `\\`, `\"` and `\n` stand for a character; before any other one, a
/// backslash is itself.
fn quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let bytes = text.as_bytes();
    let mut end = 0;
    while *bytes.get(end)? != b'"' {
        end += if bytes[end] == b'\\' { 2 } else { 1 };
    }
    let (value, rest) = (text.get(..end)?, text.get(end + 1..)?);
    if !value.contains('\\') {
        return Some((Cow::Borrowed(value), rest));
    }
    let mut plain = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match (character, if character == '\\' { characters.next() } else { None }) {
            ('\\', Some('n')) => plain.push('\n'),
            ('\\', Some(escaped @ ('\\' | '"'))) => plain.push(escaped),
            ('\\', Some(other)) => plain.extend(['\\', other]),
            (character, _) => plain.push(character),
        }
    }
    Some((Cow::Owned(plain), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    /// What is read, in the same form, and how many lines are not.
    fn shown(text: &str) -> String {
        let mut lines = Vec::new();
        let result = read(text.as_bytes(), |sample| {
            let labels: Vec<String> = sample.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
            lines.push(format!("{}{{{}}} {}", sample.name, labels.join(","), sample.value));
        });
        match result {
            Ok(unreadable) => format!("{} / {unreadable}", lines.join(" | ")),
            Err(error) => error,
        }
    }

    #[test]
    fn samples_are_read_as_they_are_described() {
        for (text, expected) in [
            ("", " / 0"),
            ("# HELP up Is it?\n# TYPE up gauge\nup 1\n", "up{} 1 / 0"),
            ("up{} 7", "up{} 7 / 0"),
            ("  up \t 1.5e+03 1700000000000\r\n", "up{} 1500 / 0"),
            ("job:rate:5m{a=\"b\"} 2", "job:rate:5m{a=\"b\"} 2 / 0"),
            ("m{p=\"a}b\", q = \"c,d\" ,} 3", "m{p=\"a}b\",q=\"c,d\"} 3 / 0"),
            (r#"m{p="a\"b\\c\nd\x"} +Inf"#, r#"m{p="a\"b\\c\nd\\x"} inf / 0"#),
            ("m NaN\nn -Inf", "m{} NaN | n{} -inf / 0"),
            ("m_bucket{le=\"1\"} 5 # {trace_id=\"a\"} 0.5 1.6e9\n# EOF\n", "m_bucket{le=\"1\"} 5 / 0"),
            ("é{a=\"ü\"} 1\nm{a=\"ü\"} 1", "m{a=\"ü\"} 1 / 1"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_none_is_counted() {
        for line in
            ["m", "m{", "m{a", "m{a=", "m{a=\"", "m{a=\"\\", "m{a=\"b\"", "m{a=\"b\"c=\"d\"} 1", "m x", "m 1 x", "1m 2", "{} 1", "<html>"]
        {
            assert_eq!(shown(&format!("{line}\nup 1")), "up{} 1 / 1", "{line}");
        }
        assert_eq!(shown("m{a=\"\u{0}\"} 1").split(" / ").last(), Some("0"));
    }

    #[test]
    fn everything_has_a_limit() {
        let long = |length: usize| format!("m{{a=\"{}\"}} 1", "x".repeat(length - 9));
        assert!(shown(&long(LINE)).ends_with(" / 0"));
        assert_eq!(shown(&long(LINE + 1)), " / 1");
        let labels = |count: usize| format!("m{{{}}} 1", "a=\"\",".repeat(count));
        assert!(shown(&labels(LABELS)).ends_with(" / 0"));
        assert_eq!(shown(&labels(LABELS + 1)), " / 1");
        assert_eq!(shown(&"m 1\n".repeat(SAMPLES)).matches('|').count(), SAMPLES - 1);
        assert_eq!(shown(&"m 1\n".repeat(SAMPLES + 1)), "more than 50000 samples");
    }

    proptest! {
        #[test]
        fn garbage_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
            let _ = read(&bytes, |_| {});
        }

        #[test]
        fn near_misses_are_survived(text in r#"(m|n_total)?[{}="\\,a-z0-9 #é]{0,40}"#) {
            let _ = read(text.as_bytes(), |_| {});
        }

        /// Whatever a label's value is: it comes back.
        #[test]
        fn values_come_back(value in any::<String>(), number in any::<f64>()) {
            let escaped = value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
            let text = format!("m{{a=\"x\",b=\"{escaped}\"}} {number}\n");
            let mut found = Vec::new();
            read(text.as_bytes(), |sample| found.push((sample.label("b").to_owned(), sample.value.to_bits()))).unwrap();
            // A carriage return before a line's end belongs to the line's end, and only there.
            prop_assert_eq!(found, vec![(value, if number.is_nan() { f64::NAN.to_bits() } else { number.to_bits() })]);
        }
    }

    #[test]
    fn fuzz_samples() {
        let words =
            ["{", "}", ",", "=\"", "\\", "\\n", "\"} 1\n", "# TYPE m counter\n", " +Inf", "\r\n", "\t", "node_cpu_seconds_total", "é"];
        crate::fuzz::run(env!("CARGO_MANIFEST_DIR"), "exposition", &words, 5_000, |bytes| {
            let mut written = String::new();
            let mut samples = 0;
            let unreadable = read(bytes, |sample| {
                samples += 1;
                assert!(sample.labels.len() <= LABELS && sample.name.len() <= LINE);
                let escaped = |value: &str| value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
                let labels: Vec<String> = sample.labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
                written += &format!("{}{{{}}} {}\n", sample.name, labels.join(","), sample.value);
            });
            assert!(unreadable.unwrap() + samples <= bytes.split(|byte| *byte == b'\n').count());
            let mut again = 0;
            // Escapes may make a line longer than is read.
            let lost = read(written.as_bytes(), |_| again += 1).unwrap();
            assert!(again + lost == samples && (lost == 0 || written.lines().any(|line| line.len() > LINE)), "{written}");
            if let Ok(reading) = crate::usage::node_exporter::parse(bytes) {
                reading.check();
            }
        });
    }
}
