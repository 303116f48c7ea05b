//! The kinds of `evenkeel.dev/v1alpha1` as Rust types: the API that users write.
//!
//! The types are the one source: their doc comments are the schema's descriptions, and `crds/*.yaml` beside this crate is
//! generated from them. Every optional field is an `Option` here; the core fills in the defaults.

mod also;
mod content;
mod deployment;
mod device;
mod governing;
mod kind;
mod meta;
mod probe;
mod quantity;
mod watching;

pub use also::{AppliedStatus, CoreKind, DecryptionSpec, MAX_CORE_OBJECTS};
pub use content::{AfterChange, AptSpec, ArchiveSpec, Conffiles, FileSpec, FileUrl, NamedPackage, PackageSpec, ServiceSpec};
pub use deployment::{
    Approval, BatchSpec, ChecksSpec, Deployment, DeploymentSpec, DeploymentStatus, Drift, GateSpec, HistoryStatus, OnDelete, OnFailure,
    Reboot, StrategySpec, WayBack,
};
pub use device::{
    AccessSpec, Become, DeviationStatus, Device, DeviceClass, DeviceClassSpec, DeviceSpec, DeviceStatus, DeviceType, FactsStatus,
    JournaldSpec, LocalSpec, LogsSpec, MetricsSpec, NodeExporterSpec, PackageStatus, ProbeStatus, SnmpSpec, SnmpVersion, SshSpec,
};
pub use governing::{
    CommitStatusSpec, Forge, GitRef, Grant, HookProvider, HookSpec, LimitsSpec, LoginSpec, Repository, RepositorySpec, RepositoryStatus,
    Role, RoleSpec, RoleTest, Subject, Verb, VerifyMode, VerifySpec,
};
pub use kind::{GROUP, Kind, Object, VERSION, Violation, all, schema, validate_cel, yaml};
pub use meta::{Expression, Operator, PlainStatus, SecretRef, Selector, WindowSpec};
pub use probe::{
    DnsProbe, Family, HttpProbe, IcmpProbe, Method, ProbeSpec, RecordType, Redirects, Scheme, SnmpProbe, SshProbe, TcpProbe, TlsPolicy,
    TlsProbe,
};
pub use quantity::{Duration, Error as QuantityError, Percent, Share, describe_pattern};
pub use watching::{
    AlertRule, AlertRuleSpec, AlertState, AlertTest, EmailSpec, EscalationSpec, GatewaySpec, InhibitedBy, MailSecurity, NoData, NotifySpec,
    Receiver, ReceiverSpec, Severity, Silence, SilenceSpec, SmsSpec, WebhookFormat, WebhookSpec,
};
