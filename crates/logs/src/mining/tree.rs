//! The tree of one program: number of tokens, first token, clusters.

use std::collections::HashMap;

use super::cluster::Cluster;
use super::hash::{Pass, VARIES, token};
use super::lru::Lru;
use super::mask::Masked;
use super::{FEWEST, TemplateId};

/// Clusters of one branch that a line is compared with, the newest ones: someone who sends nothing but noise shall not make each line
/// cost a comparison with all of it.
const COMPARED: usize = 256;

/// The tree of one program.
#[derive(Default)]
pub(crate) struct Tree {
    /// Places of clusters, by number of tokens and then by first token.
    lengths: HashMap<u64, HashMap<u64, Vec<u32>, Pass>, Pass>,
    ids: HashMap<u64, u32, Pass>,
}

impl Tree {
    pub(crate) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// How many clusters hang in it.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lengths.values().flat_map(HashMap::values).map(Vec::len).sum()
    }

    pub(crate) fn by_id(&self, id: TemplateId) -> Option<u32> {
        self.ids.get(&id.0).copied()
    }

    /// The most similar cluster, if it is similar enough.
    pub(crate) fn find(&self, masked: &Masked, clusters: &Lru<Cluster>, similarity: f32) -> Option<u32> {
        let hashes = masked.hashes();
        let length = self.lengths.get(&(hashes.len() as u64))?;
        let branches = [length.get(&token(masked.branch())), length.get(&VARIES)];
        let mut all = branches.into_iter().flatten().flat_map(|places| places.iter().rev().take(COMPARED)).copied();
        if hashes.len() < FEWEST {
            return all.find(|place| clusters.get(*place).fits(masked));
        }
        let (place, _) = all.map(|place| (place, clusters.get(place).likeness(hashes))).max_by_key(|(_, likeness)| *likeness)?;
        let cluster = clusters.get(place);
        let same = cluster.hashes.iter().zip(hashes).filter(|(own, other)| own == other).count();
        let is_alike = same as f32 >= similarity * hashes.len() as f32;
        // A kind of message that the line names itself is not a matter of likeness.
        let is_of_kind = !masked.has_id() || cluster.hashes.first() == hashes.first();
        (is_alike && is_of_kind).then_some(place)
    }

    pub(crate) fn add(&mut self, place: u32, cluster: &Cluster, children: usize) {
        let length = self.lengths.entry(cluster.hashes.len() as u64).or_default();
        let first = token(&cluster.branch);
        let first = if length.contains_key(&first) || length.len() < children { first } else { VARIES };
        length.entry(first).or_default().push(place);
        self.ids.insert(cluster.id.0, place);
    }

    pub(crate) fn remove(&mut self, place: u32, cluster: &Cluster) {
        self.ids.remove(&cluster.id.0);
        let many = cluster.hashes.len() as u64;
        let Some(length) = self.lengths.get_mut(&many) else { return };
        for first in [token(&cluster.branch), VARIES] {
            if let Some(places) = length.get_mut(&first) {
                places.retain(|other| *other != place);
                if places.is_empty() {
                    length.remove(&first);
                }
            }
        }
        if length.is_empty() {
            self.lengths.remove(&many);
        }
    }
}
