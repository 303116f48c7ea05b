//! How long `evenkeel run` keeps lines of logs.

use std::fmt;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context as _, bail};
use clap::Args;

use crate::engine::logs::keeping::Options;

/// How long lines are kept.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Logs")]
pub(crate) struct KeepingArgs {
    /// Lines of logs go after this time, 1h or more
    #[arg(long, default_value = "30d", value_name = "DURATION")]
    log_age: crds::Duration,
    /// Beyond this size the oldest go: bytes, or such as 500Mi, 20Gi, 1Ti [default: 20Gi, and with SQLite no more than a quarter of the disk]
    #[arg(long, value_name = "SIZE")]
    log_size: Option<Size>,
    /// Write lines into this directory before they go, compressed, with the hash of each file in the audit log; nothing is ever removed there
    #[arg(long, value_name = "DIR")]
    log_archive: Option<PathBuf>,
}

/// A size in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(u64);

/// Less would be gone before anybody has read it.
const LEAST: u64 = 16 << 20;

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let shift = match unit {
            "" => 0,
            "Ki" => 10,
            "Mi" => 20,
            "Gi" => 30,
            "Ti" => 40,
            _ => return Err("write a number of bytes, or such as 500Mi, 20Gi, 1Ti".into()),
        };
        let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
        let bytes = bytes.ok_or("write a number of bytes, or such as 500Mi, 20Gi, 1Ti")?;
        if bytes < LEAST { Err("16Mi is the least".into()) } else { Ok(Self(bytes)) }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl KeepingArgs {
    /// An archive that can't be written to is an error at once.
    pub(super) fn options(&self) -> anyhow::Result<Options> {
        if self.log_age.0 < jiff::SignedDuration::from_hours(1) {
            bail!("--log-age {}: 1h is the least", self.log_age);
        }
        if let Some(folder) = &self.log_archive {
            let failed = || format!("--log-archive {}", folder.display());
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(failed)?;
            store::archive::Writer::begin(folder).with_context(failed)?;
        }
        Ok(Options { age: self.log_age.0, size: self.log_size.map(|size| size.0), archive: self.log_archive.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, want) in [("20Gi", Some(20 << 30)), ("16777216", Some(16 << 20)), ("16Mi", Some(16 << 20)), ("1Ti", Some(1 << 40))] {
            assert_eq!(text.parse::<Size>().ok().map(|size| size.0), want, "{text}");
        }
        for text in ["", "Gi", "1", "15Mi", "1GB", "-1Gi", "1.5Gi", "99999999999Ti", "1 Gi"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
