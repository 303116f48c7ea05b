//! Forgetting old plans; the audit log keeps all acts for ever.

use std::collections::BTreeSet;

use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::Error;
use crate::contents::sweep;
use crate::rows::{maybe_text, query, text};

/// Plans that are kept.
const PLANS: u32 = 2000;
/// Steps are kept until so many entries were written into the audit log after theirs.
const ENTRIES: u64 = 500_000;
/// Steps that are removed at once beyond twice what the plan added: old ones go as new ones come, never all of them in one go.
const AT_ONCE: usize = 1000;

/// Steps whose entries are that old.
const OLD: &str = "DELETE FROM step WHERE id IN (SELECT id FROM step WHERE audit_entry < $1 AND verdict IS NOT NULL ORDER BY audit_entry LIMIT $2) RETURNING content";
/// The newest plan that is too many.
const LAST: &str = "SELECT recorded_at, id FROM plan ORDER BY recorded_at DESC, id DESC LIMIT 1 OFFSET $1";
/// Steps of that plan and of older ones.
const THEIRS: &str = "DELETE FROM step WHERE id IN (SELECT step.id FROM plan JOIN step ON step.plan = plan.id WHERE (plan.recorded_at, plan.id) <= ($1, $2) AND step.verdict IS NOT NULL LIMIT $3) RETURNING content";
/// Those plans, as soon as they have no steps.
const EMPTY: &str = "DELETE FROM plan WHERE (recorded_at, id) <= ($1, $2) AND NOT EXISTS (SELECT 1 FROM step WHERE step.plan = plan.id)";
#[cfg(test)]
pub(crate) const QUERIES: [&str; 4] = [OLD, LAST, THEIRS, EMPTY];

/// Forgets the oldest plans beyond the bounds, but no step that is under way. `size` is that of the audit log, `added` counts the
/// new plan's steps.
pub(crate) async fn prune(tx: &mut AnyConnection, size: u64, added: usize) -> Result<(), Error> {
    let limit = AT_ONCE + 2 * added;
    let mut removed = query(OLD, [size.saturating_sub(ENTRIES).into(), limit.into()]).fetch_all(&mut *tx).await?;
    if let Some(last) = query(LAST, [PLANS.into()]).fetch_optional(&mut *tx).await? {
        let (at, id) = (text(&last, "recorded_at")?, text(&last, "id")?);
        removed.extend(query(THEIRS, [at.as_str().into(), id.as_str().into(), limit.into()]).fetch_all(&mut *tx).await?);
        query(EMPTY, [at.into(), id.into()]).execute(&mut *tx).await?;
    }
    sweep(tx, contents(&removed)?).await
}

fn contents(removed: &[AnyRow]) -> Result<BTreeSet<String>, Error> {
    removed.iter().filter_map(|row| maybe_text(row, "content").transpose()).collect()
}
