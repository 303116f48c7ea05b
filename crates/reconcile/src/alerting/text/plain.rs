//! Numbers as people read them.

/// A share as per cent, with one digit where that tells something: `91.3 %`, `100 %`, `0.4 %`.
pub fn percent(share: f64) -> String {
    format!("{} %", digits(share * 100.0))
}

/// A size in binary units: `512 B`, `1.5 GiB`.
pub fn bytes(size: f64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut size = size;
    let mut unit = 0;
    while size.abs() >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{} {}", digits(size), UNITS[unit])
}

/// A length of time in its two largest units: `3d 4h`, `5m`, `42s`, `0s`.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return seconds.to_string();
    }
    if seconds.abs() < 1.0 && seconds != 0.0 {
        return format!("{}ms", digits(seconds * 1000.0));
    }
    // A cast saturates, and nothing lasts that long.
    #[allow(clippy::cast_possible_truncation, reason = "whole seconds are meant")]
    let whole = seconds.abs() as u64;
    let sign = if seconds < 0.0 { "-" } else { "" };
    let units = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let first = units.iter().position(|(length, _)| whole >= *length).unwrap_or(units.len() - 1);
    let (length, unit) = units[first];
    let mut text = format!("{sign}{}{unit}", whole / length);
    if let Some((next, unit)) = units.get(first + 1) {
        let rest = whole % length / next;
        if rest > 0 {
            text.push_str(&format!(" {rest}{unit}"));
        }
    }
    text
}

/// Three digits that count, or all before the point.
fn digits(number: f64) -> String {
    if !number.is_finite() {
        return number.to_string();
    }
    let places = if number.abs() >= 100.0 { 0 } else { 1 };
    let text = format!("{number:.places$}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{bytes, duration, percent};

    #[test]
    fn numbers_read_as_people_say_them() {
        assert_eq!([0.913, 1.0, 0.004, 0.0, 12.5].map(percent), ["91.3 %", "100 %", "0.4 %", "0 %", "1250 %"]);
        assert_eq!(
            [512.0, 1536.0, 1.5 * f64::powi(2.0, 30), f64::powi(2.0, 80)].map(bytes),
            ["512 B", "1.5 KiB", "1.5 GiB", "1048576 EiB"]
        );
        let words = [0.0, 0.25, 42.0, 300.0, 3900.0, 86_400.0, 273_600.0, -90.0, f64::NAN].map(duration);
        assert_eq!(words, ["0s", "250ms", "42s", "5m", "1h 5m", "1d", "3d 4h", "-1m 30s", "NaN"]);
    }
}
