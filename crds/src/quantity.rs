//! Durations, percents and shares: one parser each, used by the schema's pattern, by `evenkeel check` and by the engine.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a quantity can't be read; says what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct Error {
    text: String,
    expected: &'static str,
}

/// A length of time such as `15s`, `5m`, `1h30m` or `200ms`; at most 366 days. It is written as it was read (`120s` and not `2m`): in a
/// cluster another text of the same field is another value, over which tools that apply the same object would fight.
#[derive(Clone, Copy, Default)]
pub struct Duration(pub SignedDuration, Spelling);

/// How a duration was written.
#[derive(Clone, Copy, Default)]
pub struct Spelling {
    text: [u8; Self::LONGEST],
    length: u8,
}

impl Spelling {
    /// What is longer than anybody writes it is not kept.
    const LONGEST: usize = 15;

    fn of(text: &str) -> Self {
        let mut spelling = Self::default();
        if let Some(place) = spelling.text.get_mut(..text.len()) {
            place.copy_from_slice(text.as_bytes());
            spelling.length = u8::try_from(text.len()).unwrap_or_default();
        }
        spelling
    }

    fn as_str(&self) -> Option<&str> {
        let text = self.text.get(..self.length.into()).filter(|text| !text.is_empty())?;
        std::str::from_utf8(text).ok()
    }
}

impl From<SignedDuration> for Duration {
    fn from(length: SignedDuration) -> Self {
        Self(length, Spelling::default())
    }
}

impl fmt::Debug for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Duration").field(&self.0).finish()
    }
}

/// However it is written.
impl PartialEq for Duration {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Duration {}

impl PartialOrd for Duration {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Duration {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

/// A public key as OpenSSH writes it: its type, the key in Base64, perhaps a comment.
pub(crate) const HOST_KEY: &str = r"^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com) [A-Za-z0-9+/]{60,}={0,2}( .*)?$";

const DURATION: &str = "a duration such as 15s, 5m, 1h30m or 200ms";
const DURATION_PATTERN: &str = "^([0-9]{1,6}(ms|s|m|h|d))+$";
const LONGEST: SignedDuration = SignedDuration::from_hours(366 * 24);

impl FromStr for Duration {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error { text: text.chars().take(40).collect(), expected: DURATION };
        if text.is_empty() || text.len() > 40 {
            return Err(wrong());
        }
        let mut rest = text;
        let mut total = SignedDuration::ZERO;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|at| (1..=6).contains(at)).ok_or_else(wrong)?;
            let (number, tail) = rest.split_at(digits);
            let number: i64 = number.parse().map_err(|_| wrong())?;
            let unit = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(unit);
            total += match unit {
                "ms" => SignedDuration::from_millis(number),
                "s" => SignedDuration::from_secs(number),
                "m" => SignedDuration::from_secs(number * 60),
                "h" => SignedDuration::from_secs(number * 3600),
                "d" => SignedDuration::from_secs(number * 86_400),
                _ => return Err(wrong()),
            };
            rest = tail;
        }
        if total > LONGEST { Err(wrong()) } else { Ok(Self(total, Spelling::of(text))) }
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut millis = self.0.as_millis();
        if millis == 0 {
            return f.write_str("0s");
        }
        for (unit, size) in [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
            if millis >= size {
                write!(f, "{}{unit}", millis / size)?;
                millis %= size;
            }
        }
        Ok(())
    }
}

/// A share such as `10%`, from `0%` to `100%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(pub i32);

const PERCENT: &str = "a share such as 10%, from 0% to 100%";
const PERCENT_PATTERN: &str = "^(100|[0-9]{1,2})%$";

impl FromStr for Percent {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error { text: text.chars().take(40).collect(), expected: PERCENT };
        let number = text.strip_suffix('%').filter(|number| (1..=3).contains(&number.len())).ok_or_else(wrong)?;
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        number.parse().ok().filter(|number| *number <= 100).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

macro_rules! text_quantity {
    ($name:ident, $pattern:expr) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "pattern": $pattern, "maxLength": 40})
            }

            fn inline_schema() -> bool {
                true
            }
        }
    };
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.1.as_str() {
            Some(text) => serializer.serialize_str(text),
            None => serializer.collect_str(self),
        }
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

text_quantity!(Duration, DURATION_PATTERN);
text_quantity!(Percent, PERCENT_PATTERN);

/// A number such as `3`, or a share such as `10%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// So many.
    Count(i32),
    /// So many percent of the whole.
    Percent(Percent),
}

const SHARE: &str = "a number such as 3, or a share such as 10%";

impl FromStr for Share {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error { text: text.chars().take(40).collect(), expected: SHARE };
        match text.strip_suffix('%') {
            Some(_) => text.parse().map(Self::Percent).map_err(|_| wrong()),
            None => text.parse().ok().filter(|count| *count >= 0).map(Self::Count).ok_or_else(wrong),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}"),
        }
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_i32(*count),
            Self::Percent(percent) => percent.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Share;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(SHARE)
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Share, E> {
                let count = i32::try_from(number).ok().filter(|count| *count >= 0);
                count.map(Share::Count).ok_or_else(|| E::custom(format!("`{number}` is not {SHARE}")))
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Share, E> {
                self.visit_i64(i64::try_from(number).unwrap_or(-1))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Share, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Share {
    fn schema_name() -> Cow<'static, str> {
        "Share".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"x-kubernetes-int-or-string": true, "pattern": "^([0-9]{1,9}|(100|[0-9]{1,2})%)$", "maxLength": 40})
    }

    fn inline_schema() -> bool {
        true
    }
}

/// What a schema pattern of ours means, for people.
pub fn describe_pattern(pattern: &str) -> Option<&'static str> {
    match pattern {
        DURATION_PATTERN => Some(DURATION),
        PERCENT_PATTERN => Some(PERCENT),
        "^([0-9]{1,9}|(100|[0-9]{1,2})%)$" => Some(SHARE),
        "^[0-9a-f]{64}$" => Some("a SHA-256 hash: 64 lower-case hexadecimal digits"),
        "^0[0-7]{3}$" => Some("an octal mode such as \"0644\", in quotes"),
        "^[0-9a-f]{40}$" => Some("a whole commit id: 40 lower-case hexadecimal digits"),
        "^https?://" => Some("an http:// or https:// URL"),
        "^https://[^ ?#@]+$" => Some("an https:// URL without credentials, `?` and `#`"),
        HOST_KEY => Some("a public key as `evenkeel scan ADDRESS` prints it, such as ssh-ed25519 AAAAC3Nz…"),
        "^/" => Some("a path that begins with /"),
        r"^(/[0-9A-Za-z_@.+-]+)+$" => Some("an absolute path of letters, digits and _@.+-"),
        r"^[0-9A-Za-z:]([-0-9A-Za-z._:]*[0-9A-Za-z])?$" => Some("an IP address or a DNS name"),
        r"^[0-9A-Za-z@_.:\\-]+$" => Some("the name of a systemd unit"),
        r"^[0-9A-Za-z][0-9A-Za-z.+:~-]*$" => Some("a Debian version such as 1.22.1-9"),
        r"^[a-z0-9][a-z0-9+.-]+$" => Some("the name of a Debian package"),
        r"^[0-9]+(\.[0-9]+)*$" => Some("an SNMP object id such as 1.3.6.1.2.1.1.3.0"),
        r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$" => Some("a name of lower-case letters, digits, - and ."),
        r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" => Some("a name of lower-case letters, digits and -"),
        r"^[-._a-zA-Z0-9]+$" => Some("a key of letters, digits and -._"),
        r"^[0-9a-fA-F.:]+$" => Some("an IP address"),
        "^(POST|PUT)$" => Some("POST or PUT"),
        "^[A-Za-z0-9-]+$" => Some("the name of an HTTP header"),
        r"^[a-z_][-a-z0-9_]*$" => Some("the name of a user or a group"),
        r"^[a-z0-9@.-]+ [A-Za-z0-9+/]+={0,2}( [ -~]*)?$" => {
            Some("a public key as ssh-keygen writes it, such as ssh-ed25519 AAAAC3Nz… alice")
        }
        r"^(ALL|/[A-Za-z0-9_./+@%,:=~-]*[A-Za-z0-9_.+@%,:=~-]( [A-Za-z0-9_./+@%,:=~-]+)*)$" => {
            Some("ALL, or the absolute path of a program with its arguments, without wildcards and quotes")
        }
        r"^\+[0-9]{6,15}$" => Some("a telephone number such as +31201234567"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, seconds) in [("15s", 15), ("5m", 300), ("1h30m", 5400), ("0s", 0), ("1d", 86_400)] {
            assert_eq!(text.parse::<Duration>().unwrap().0, SignedDuration::from_secs(seconds), "{text}");
        }
        assert_eq!("1h30m".parse::<Duration>().unwrap().to_string(), "1h30m");
        assert_eq!("90m".parse::<Duration>().unwrap().to_string(), "1h30m");
        // Written as it was read, and the same however it is written.
        let (one, other): (Duration, Duration) = ("90m".parse().unwrap(), "1h30m".parse().unwrap());
        assert_eq!((one, serde_json::to_string(&one).unwrap()), (other, r#""90m""#.to_owned()));
        assert_eq!(serde_json::to_string(&Duration::from(one.0)).unwrap(), r#""1h30m""#);
        let long: Duration = "1m1m1m1m1m1m1m1m".parse().unwrap();
        assert_eq!(serde_json::to_string(&long).unwrap(), r#""8m""#, "what nobody writes is not kept");
        for text in ["", "5", "m", "5 m", "-5m", "1.5h", "5w", "9999999s", "367d", &"1s".repeat(30)] {
            assert!(text.parse::<Duration>().unwrap_err().to_string().contains("such as 15s"), "{text}");
        }
    }

    #[test]
    fn shares() {
        assert_eq!("10%".parse(), Ok(Share::Percent(Percent(10))));
        assert_eq!("3".parse(), Ok(Share::Count(3)));
        for text in ["", "%", "101%", "-1", "1.5", "+5%", "ten"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
        assert_eq!(serde_json::from_str::<Share>("3").unwrap(), Share::Count(3));
        assert!(serde_json::from_str::<Share>("-3").is_err());
    }
}
