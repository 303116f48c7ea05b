//! How a simulated device misbehaves.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How a simulated device misbehaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Every command begins this much later.
    Slow(Duration),
    /// It refuses connections, and those that are open break.
    Away,
    /// So many commands lose their connection in the middle: they run, and nobody hears how they ended.
    Drops(u32),
    /// The maintainer scripts of package versions that were never well on the device fail with these words.
    InstallFails(String),
    /// Units die this long after the start that comes with a package version which was never well on the device; units without a
    /// package after each start.
    DiesAfter(Duration),
    /// Nothing can be written.
    DiskFull,
    /// What `df` says of its disk grows, and is all of it after this time; writing goes on.
    DiskFills(Duration),
    /// Somebody else holds the lock of the package system for this long.
    LockHeld(Duration),
    /// It logs these words as errors, each sentence between `;` a line.
    Logs(String),
    /// It shows another host key than the one that is pinned.
    WrongHostKey,
}

/// What can be written after `DEVICE=`.
pub(crate) const WORDS: &str =
    "slow=200ms, away, drops=1, install-fails=WORDS, dies-after=5s, disk-full, disk-fills=10m, lock-held=20s, logs=WORDS or wrong-host-key";

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (word, value) = text.split_once('=').map_or((text, None), |(word, value)| (word, Some(value)));
        let time = |default: &str| {
            let text = value.unwrap_or(default);
            duration(text).ok_or_else(|| format!("`{text}` is not a time such as 5s or 200ms"))
        };
        Ok(match word {
            "slow" => Self::Slow(time("200ms")?),
            "away" => Self::Away,
            "drops" => Self::Drops(value.unwrap_or("1").parse().map_err(|_| format!("`{text}`: write drops=NUMBER"))?),
            "install-fails" => Self::InstallFails(value.unwrap_or("the maintainer script gave up").to_owned()),
            "dies-after" => Self::DiesAfter(time("5s")?),
            "disk-full" => Self::DiskFull,
            "disk-fills" => Self::DiskFills(time("10m")?),
            "lock-held" => Self::LockHeld(time("20s")?),
            "logs" => Self::Logs(value.unwrap_or("something is very wrong here").to_owned()),
            "wrong-host-key" => Self::WrongHostKey,
            _ => return Err(format!("there is no fault `{word}`: write {WORDS}")),
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slow(time) => write!(f, "slow={time:?}"),
            Self::Away => f.write_str("away"),
            Self::Drops(times) => write!(f, "drops={times}"),
            Self::InstallFails(words) => write!(f, "install-fails={words}"),
            Self::DiesAfter(time) => write!(f, "dies-after={time:?}"),
            Self::DiskFull => f.write_str("disk-full"),
            Self::DiskFills(time) => write!(f, "disk-fills={time:?}"),
            Self::LockHeld(time) => write!(f, "lock-held={time:?}"),
            Self::Logs(words) => write!(f, "logs={words}"),
            Self::WrongHostKey => f.write_str("wrong-host-key"),
        }
    }
}

/// `5s`, `200ms` or `2m`, up to an hour.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let time = match &text[digits..] {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.checked_mul(60)?),
        _ => return None,
    };
    (time <= Duration::from_secs(3600)).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_as_they_are_written() {
        for text in [
            "slow=200ms",
            "away",
            "drops=3",
            "install-fails=no room",
            "dies-after=5s",
            "disk-full",
            "disk-fills=30s",
            "lock-held=20s",
            "logs=no way; none at all",
            "wrong-host-key",
        ] {
            assert_eq!(text.parse::<Fault>().unwrap().to_string(), text);
        }
        assert_eq!("drops".parse(), Ok(Fault::Drops(1)));
        for text in ["", "drops=x", "slow=5", "slow=2h", "lock-held=61m", "dies-after=99999999999999999999m"] {
            assert!(text.parse::<Fault>().is_err(), "{text}");
        }
    }
}
