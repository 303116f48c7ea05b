//! The shards of the fleet: each is a lease, and every replica holds as many of them as its share is.
//!
//! Nobody hands them out. Who holds none takes a free one at once, who holds some waits a turn for each, so that a replica that holds
//! fewer comes first; and who holds none where somebody holds several asks for one of those.

use std::collections::BTreeMap;
use std::time::Duration;

use cluster::lease::{Contender, Glance, Held};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::engine::hands::letters;
use crate::engine::hands::shard::{self, Workplace};

/// A shard that this replica holds.
struct Mine {
    stop: CancellationToken,
    wanted: CancellationToken,
    /// Whether it came to a good end.
    task: JoinHandle<bool>,
}

/// For so long a replica that could not work for a shard leaves them to others.
const REST: Duration = Duration::from_secs(30);

/// Takes part in holding the shards until told to stop.
pub(super) async fn hold(place: Workplace, mut contender: Contender, lease: String, count: u32, stop: CancellationToken) {
    let mut mine: BTreeMap<u32, Mine> = BTreeMap::new();
    // For how many turns each has been seen free.
    let mut free: BTreeMap<u32, usize> = BTreeMap::new();
    let mut told = String::new();
    let mut rests_until = Instant::now();
    loop {
        let over: Vec<u32> = mine.iter().filter(|(_, held)| held.task.is_finished()).map(|(number, _)| *number).collect();
        for number in over {
            if let Some(held) = mine.remove(&number)
                && !held.task.await.unwrap_or(false)
            {
                rests_until = Instant::now() + REST;
            }
        }
        let rests = Instant::now() < rests_until;
        let kept = mine.values().filter(|held| !held.stop.is_cancelled()).count();
        if let Some(held) = mine.values().find(|held| kept > 1 && held.wanted.is_cancelled() && !held.stop.is_cancelled()) {
            held.stop.cancel();
        }
        if !rests
            && let Err(error) = turn(&place, &mut contender, &lease, count, &mut mine, &mut free).await
            && told != error
        {
            tracing::warn!(error, "the leases of the shards can't be had yet");
            told = error;
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(contender.again()) => {}
        }
    }
    mine.values().for_each(|held| held.stop.cancel());
    for held in mine.into_values() {
        let _ = held.task.await;
    }
}

/// Looks at the shards that others hold, or nobody.
async fn turn(
    place: &Workplace,
    contender: &mut Contender,
    lease: &str,
    count: u32,
    mine: &mut BTreeMap<u32, Mine>,
    free: &mut BTreeMap<u32, usize>,
) -> Result<(), String> {
    let mut others: BTreeMap<String, Vec<Glance>> = BTreeMap::new();
    for number in 0..count {
        if mine.contains_key(&number) {
            continue;
        }
        let glance = contender.look(&format!("{lease}-{}", letters::shard(number))).await?;
        if !glance.is_free {
            free.remove(&number);
            others.entry(glance.holder.clone().unwrap_or_default()).or_default().push(glance);
            continue;
        }
        let turns = free.entry(number).or_default();
        *turns += 1;
        if *turns <= mine.len() {
            continue;
        }
        if let Some(held) = contender.take(glance).await? {
            free.remove(&number);
            mine.insert(number, begin(place.clone(), number, held));
        }
    }
    let most = others.into_values().max_by_key(Vec::len).unwrap_or_default();
    if mine.len() + 1 < most.len()
        && free.is_empty()
        && let Some(glance) = most.into_iter().next_back()
    {
        contender.want(glance).await?;
    }
    Ok(())
}

/// Works for a shard for as long as its lease is held.
fn begin(place: Workplace, number: u32, held: Held) -> Mine {
    let (stop, wanted, lost) = (CancellationToken::new(), held.wanted.clone(), held.lost.clone());
    let told = stop.clone();
    let task = tokio::spawn(async move {
        tracing::info!(shard = number, "this replica works for the shard");
        let release = CancellationToken::new();
        let keeping = tokio::spawn(held.keep(release.clone()));
        // Whatever happens here, a lease that nobody works for is not kept.
        let _guard = release.clone().drop_guard();
        let over = async {
            tokio::select! {
                () = told.cancelled() => {}
                () = lost.cancelled() => {}
            }
        };
        let worked = shard::work(place, number, over).await;
        let is_well = !matches!(&worked, Err(error) if !matches!(error, store::Error::Replaced(_)));
        match worked {
            Ok(()) if lost.is_cancelled() => {
                tracing::warn!(shard = number, "the lease is lost: another replica may work for the shard now");
            }
            Ok(()) => tracing::info!(shard = number, "the shard is let go"),
            Err(error) => tracing::warn!(%error, shard = number, "the shard is let go"),
        }
        release.cancel();
        let _ = keeping.await;
        is_well
    });
    Mine { stop, wanted, task }
}
