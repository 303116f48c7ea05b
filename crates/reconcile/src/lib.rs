//! The core of Evenkeel: what should be true, what was seen, and what to do about it.
//!
//! ```text
//! Desired ─┐
//!          ├─► plan() ─► Plan ─► record() ─► Recorded ─► act (outside) ─► Outcome ─► Rollout::settle ─► report()
//! Observed ┘
//! ```
//!
//! Nothing here reads a clock, touches a file or a socket, or needs an async runtime: `now` comes in, decisions go out.
//! A pass starts from nothing; whatever has to be remembered between passes is in [`Rollout`], which the store keeps
//! and hands back as part of [`Observed`].

pub mod access;
pub mod address;
pub mod alerting;
pub mod command;
pub mod content;
pub mod deletion;
pub mod desired;
mod effective;
pub mod finding;
pub mod limits;
pub mod name;
pub mod observed;
pub mod outcome;
pub mod outlook;
pub mod parents;
pub mod plan;
mod planner;
pub mod record;
pub mod report;
pub mod rollout;
pub mod usage;
pub mod window;

pub use content::{Account, Apt, Archive, Change, Content, Digest, File, FileSource, Package, Reboot, ServiceUse};
pub use desired::{
    Access, Changed, Check, Deployment, Desired, Device, DnsCheck, HttpCheck, Key, Logs, Map, Metrics, MetricsSource, Probe, Snmp,
    SshAccess, TlsCheck, Trust, Way,
};
pub use name::{Name, Target};
pub use observed::{
    AlertSeen, AwayCode, Contact, DeviceSeen, Facts, ItemKey, ItemSeen, KEPT as KEPT_LINES, LogSaid, LogsSeen, Observed, ProbeCode,
    ProbeSeen, ProbeState,
};
pub use outcome::{Outcome, Verdict};
pub use outlook::{Outlook, outlook};
pub use plan::{Action, Deferred, Plan, PlanId, Revision, Step, StepId, WaitingOn, Work};
pub use planner::{Judged, judged, plan, plan_units, units};
pub use record::{Act, Observe, Record, Recorded, RecordedStep, record};
pub use rollout::{Phase, Placement, RevisionRecord, RevisionResult, Rollout, RolloutChange};
pub use usage::{Metric, Series, Usage};
