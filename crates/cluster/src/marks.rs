//! What we leave on objects: the managers of the fields that we write, and the annotations in which we remember something.

/// Who we are to the API server: the manager of the fields that we write.
pub const FIELD_MANAGER: &str = "evenkeel";
/// The manager of our finalizer: apart, so that letting it go lets nothing else go.
pub(crate) const FINALIZER_MANAGER: &str = "evenkeel-finalizer";
/// The manager of what is applied from Git.
pub(crate) const GIT_MANAGER: &str = "evenkeel-repository";
/// The manager of what people change through the engine's own interface.
pub(crate) const API_MANAGER: &str = "evenkeel-api";

/// The finalizer of a Deployment whose content is taken off its devices before it goes.
pub const FINALIZER: &str = "evenkeel.dev/remove";

/// The Repository that an object comes from, as `namespace/name`.
pub(crate) const FROM: &str = "evenkeel.dev/repository";
/// The commit that changed it last, and its author.
pub(crate) const CHANGED_BY: &str = "evenkeel.dev/changed-by";
/// Who asked for the last change through the engine's own interface. It is another one than Git's: two managers of one field would be a
/// conflict, and Git could never take over an object that was made here.
pub(crate) const ASKED_BY: &str = "evenkeel.dev/asked-by";
/// What kubectl leaves behind: the object once more.
pub(crate) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Annotations that are not what an object says: ours, and kubectl's copy of it.
pub const OURS: [&str; 4] = [FROM, CHANGED_BY, ASKED_BY, LAST_APPLIED];
