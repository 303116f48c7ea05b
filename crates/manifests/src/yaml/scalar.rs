//! What plain text means: the core schema of YAML 1.2.2 (section 10.3), and text in doubt.

use serde_json::{Number, Value};

/// The value of plain text.
pub(crate) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number),
    }
}

/// A number; `None` for what only looks like one: with leading zeros (`0644`, `017`), or too large to be exact.
fn number(text: &str) -> Option<Number> {
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix) {
            return digits
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric())
                .then(|| u64::from_str_radix(digits, radix).ok())?
                .map(Number::from);
        }
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = digits.split_once(['e', 'E']).map_or((digits, None), |(mantissa, exponent)| (mantissa, Some(exponent)));
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(whole, fraction)| (whole, Some(fraction)));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let some_digits = !whole.is_empty() || fraction.is_some_and(|fraction| !fraction.is_empty());
    let exponent_is_good = exponent.is_none_or(|text| {
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        !digits.is_empty() && is_digits(digits)
    });
    if !some_digits
        || !is_digits(whole)
        || !fraction.is_none_or(is_digits)
        || !exponent_is_good
        || (whole.len() > 1 && whole.starts_with('0'))
    {
        return None;
    }
    if fraction.is_none() && exponent.is_none() {
        let text = text.strip_prefix('+').unwrap_or(text);
        return text.parse::<i64>().map(Number::from).ok().or_else(|| text.parse::<u64>().map(Number::from).ok());
    }
    text.parse::<f64>().ok().and_then(Number::from_f64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_core_schema() {
        for (text, value) in [
            ("~", json!(null)),
            ("null", json!(null)),
            ("true", json!(true)),
            ("FALSE", json!(false)),
            ("0", json!(0)),
            ("-12", json!(-12)),
            ("+5", json!(5)),
            ("18446744073709551615", json!(u64::MAX)),
            ("0x1f", json!(31)),
            ("0o644", json!(420)),
            ("1.10", json!(1.1)),
            (".5", json!(0.5)),
            ("5.", json!(5.0)),
            ("-1e3", json!(-1000.0)),
        ] {
            assert_eq!(resolve(text), value, "{text}");
        }
    }

    #[test]
    fn what_is_in_doubt_stays_text() {
        let texts = "no on y Yes 0644 017 00.5 1_000 1:30 12e 0000e668 1e999 .inf .nan -.inf . - + -. 1.2.3 1.22.1-9 0xzz 0x+1 0o8 0b1 \
                     18446744073709551616 -9223372036854775809 nULL tRUE １２";
        for text in texts.split(' ').filter(|text| !text.is_empty()) {
            assert_eq!(resolve(text), Value::String(text.into()), "{text}");
        }
    }
}
