//! What was seen of a probe: three values to the end, and in one word why.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A probe's answer has three values to the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ProbeState {
    /// Passed often enough in a row.
    Ok,
    /// Failed often enough in a row.
    Fail,
    /// Never ran, or could not be run; says nothing about the device.
    #[default]
    Unknown,
}

/// What was last seen of one probe.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProbeSeen {
    /// After counting failures and successes.
    pub state: ProbeState,
    /// When it came into this state.
    pub since: Option<Timestamp>,
    /// When it last ran to an end: what makes a result count for a gate.
    pub seen_at: Option<Timestamp>,
    /// When it last passed.
    pub last_ok: Option<Timestamp>,
    /// What its last run came to, in one word.
    pub code: ProbeCode,
    /// Why it did not pass when it last ran; empty where it did.
    pub reason: String,
    /// What it had to say when it passed then, with numbers: `4 of 4 answered`, `valid for 43 days`. They are of that moment only.
    pub says: String,
}

/// What a run of a probe came to, in one word for machines. The word decides whether that is held against the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ProbeCode {
    /// It has not run yet.
    #[default]
    NeverRun,
    /// It passed.
    Passed,
    /// Nobody listens there.
    Refused,
    /// There was no answer in time.
    Timeout,
    /// Its name has no address, or none of the family that is asked for.
    NoAddress,
    /// There is no way there.
    NoRoute,
    /// The connection broke, or was closed too early.
    Closed,
    /// Too many echo requests were lost.
    Loss,
    /// It answers too slowly.
    Slow,
    /// Another status than is accepted.
    BadStatus,
    /// Another answer than is expected, or nothing that the protocol knows.
    BadAnswer,
    /// A redirect that is not followed.
    BadRedirect,
    /// The command ended with another exit code.
    BadExit,
    /// The DNS server answered with an error, such as NXDOMAIN.
    DnsError,
    /// The certificate, or one above it, is not valid any more.
    CertificateExpired,
    /// It will not be valid for long enough.
    CertificateExpires,
    /// It is not valid yet.
    CertificateNotYetValid,
    /// It is for another name.
    NameMismatch,
    /// Nobody who is believed has signed it.
    Untrusted,
    /// There is no TLS to be had otherwise.
    TlsFailed,
    /// This system does not let us ask.
    NotPermitted,
    /// What it takes to ask is missing: a key, a secret, a certificate authority.
    NoCredential,
    /// The address to ask from is not one of this system's.
    NoSource,
    /// Our own resolver does not answer.
    NoResolver,
    /// This system has run out of files, ports or memory.
    Exhausted,
    /// The probe can't be run as it is written.
    BadProbe,
    /// This version does not run this kind of probe.
    NotSupported,
    /// Our own network is down.
    OwnNetwork,
    /// Whatever it is reached through is dead.
    ParentDead,
    /// A newer version knows the word.
    #[serde(other)]
    Other,
}

impl ProbeCode {
    /// Whether a run that came to this has passed, has failed, or says nothing about the device.
    pub fn state(self) -> ProbeState {
        match self {
            Self::Passed => ProbeState::Ok,
            Self::Refused
            | Self::Timeout
            | Self::NoAddress
            | Self::NoRoute
            | Self::Closed
            | Self::Loss
            | Self::Slow
            | Self::BadStatus
            | Self::BadAnswer
            | Self::BadRedirect
            | Self::BadExit
            | Self::DnsError
            | Self::CertificateExpired
            | Self::CertificateExpires
            | Self::CertificateNotYetValid
            | Self::NameMismatch
            | Self::Untrusted
            | Self::TlsFailed => ProbeState::Fail,
            Self::NeverRun
            | Self::NotPermitted
            | Self::NoCredential
            | Self::NoSource
            | Self::NoResolver
            | Self::Exhausted
            | Self::BadProbe
            | Self::NotSupported
            | Self::OwnNetwork
            | Self::ParentDead
            | Self::Other => ProbeState::Unknown,
        }
    }

    /// The word as it is shown.
    pub fn word(self) -> String {
        format!("{self:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shard that was updated before the planner may have words that it does not know.
    #[test]
    fn a_word_of_a_newer_version_is_unknown() {
        let code: ProbeCode = serde_json::from_str(r#""Enchanted""#).unwrap();
        assert_eq!((code, code.state()), (ProbeCode::Other, ProbeState::Unknown));
        assert_eq!(serde_json::to_string(&ProbeCode::CertificateExpired).unwrap(), r#""CertificateExpired""#);
    }
}
