//! Which template a line comes of: Drain (He, Zhu, Zheng, Lyu: "Drain: An Online Log Parsing Approach with Fixed Depth Tree", 2017),
//! with one tree per program.
//!
//! ```text
//! message ─► mask: numbers, addresses, ids … ─► seen as it is before? ─► its template
//!            tokens, their hashes                    │ no
//!                                                    └► program ─► number of tokens ─► first token ─► most similar template
//!                                                                                        tree          cluster
//! ```
//!
//! Most lines are, once masked, like one before them: for these the tree is not even asked. Everything has a bound: programs, templates
//! (the one that was not used for longest goes first), first tokens, tokens of a line.

pub mod accuracy;
mod cluster;
pub(crate) mod hash;
mod lru;
mod mask;
mod snapshot;
mod tree;

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use cluster::Cluster;
pub use cluster::Template;
use hash::Pass;
use lru::Lru;
use mask::Masked;
pub use mask::Masks;
pub use snapshot::{Kept, Snapshot};
use tree::Tree;

/// What a place that varies is written as.
pub const WILDCARD: &str = "<*>";
/// Fewest tokens of a line that is compared with others: with fewer, one that differs is a third of what it says. In a shorter line only
/// what is no plain word may vary.
pub const FEWEST: usize = 4;
/// Most tokens that are looked at: what is longer is told apart by its beginning (as Loki does).
pub const MOST: usize = 80;

/// What may be set, with its limits.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Share of a template's tokens that a line must have to be one of its own.
    pub similarity: f32,
    /// Templates at most, over all programs; one takes about half a kilobyte.
    pub templates: usize,
    /// Programs at most that have a tree of their own: senders choose their names. Others share one.
    pub programs: usize,
    /// First tokens at most that lead to different templates, for one program and length: Drain3's limit.
    pub children: usize,
    /// What is masked.
    pub masks: Masks,
}

impl Default for Options {
    fn default() -> Self {
        Self { similarity: 0.5, templates: 20_000, programs: 1_000, children: 100, masks: Masks::default() }
    }
}

/// Tells a template from all others, and stays what it is when the template grows wider and when the process starts anew: the first 64
/// bits of the SHA-256 of program and first form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TemplateId(pub u64);

impl TemplateId {
    /// Of a program's template in the form that it was first seen in.
    fn of(program: &str, first: &str) -> Self {
        let mut digest = Sha256::new();
        digest.update(program.as_bytes());
        digest.update([0]);
        digest.update(first.as_bytes());
        let digest: [u8; 32] = digest.finalize().into();
        Self(digest.iter().take(8).fold(0, |id, byte| (id << 8) | u64::from(*byte)))
    }
}

impl fmt::Display for TemplateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for TemplateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// It is not sixteen hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a template's id is sixteen hexadecimal digits")]
pub struct NotAnId;

impl FromStr for TemplateId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        if text.len() != 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NotAnId);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| NotAnId)
    }
}

impl TryFrom<String> for TemplateId {
    type Error = NotAnId;

    fn try_from(text: String) -> Result<Self, NotAnId> {
        text.parse()
    }
}

impl From<TemplateId> for String {
    fn from(id: TemplateId) -> Self {
        id.to_string()
    }
}

/// What a line did to its template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing like it was there.
    New,
    /// It made a place vary that had been the same in all lines before.
    Widened,
    /// Nothing.
    None,
}

/// Where a line belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mined {
    /// Its template.
    pub template: TemplateId,
    /// What the line did to it.
    pub change: Change,
}

/// Groups lines by template.
pub struct Miner {
    options: Options,
    /// Trees by program; the one that all others share has the empty name.
    programs: HashMap<Box<str>, Tree>,
    clusters: Lru<Cluster>,
    /// Masked lines that were seen as they are, with their cluster. Emptied when it is full, and when a cluster went.
    seen: HashMap<u64, u32, Pass>,
    /// Of the line at hand; kept so that no line allocates.
    masked: Masked,
    /// Templates that went because there was no more room.
    evicted: u64,
}

/// Masked lines remembered at most for each template.
const SEEN: usize = 8;

impl Miner {
    /// An empty one.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            programs: HashMap::new(),
            clusters: Lru::new(options.templates.clamp(1, 1 << 24)),
            seen: HashMap::default(),
            masked: Masked::default(),
            evicted: 0,
        }
    }

    /// Which template a line of a program comes of; a new one, if there is none. `id` is the kind of message that the line itself names:
    /// lines of different kinds never share a template.
    pub fn mine(&mut self, program: &str, id: &str, message: &str) -> Mined {
        let program = self.known(program);
        self.masked.read(id, message, self.options.masks);
        let line = hash::join(hash::bytes(program.as_bytes()), self.masked.hash());
        if let Some(slot) = self.seen.get(&line) {
            let cluster = self.clusters.used(*slot);
            cluster.count += 1;
            return Mined { template: cluster.id, change: Change::None };
        }
        let (slot, change) = self.place(program);
        if self.seen.len() >= self.options.templates.saturating_mul(SEEN) {
            self.seen.clear();
        }
        self.seen.insert(line, slot);
        Mined { template: self.clusters.get(slot).id, change }
    }

    /// The templates, in no order.
    pub fn templates(&self) -> impl Iterator<Item = Template<'_>> {
        self.clusters.iter().map(Cluster::template)
    }

    /// One of them. It is looked for in each program: to be shown, and not for each line.
    pub fn template(&self, id: TemplateId) -> Option<Template<'_>> {
        let slot = self.programs.values().find_map(|tree| tree.by_id(id))?;
        Some(self.clusters.get(slot).template())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.clusters.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.clusters.len() == 0
    }

    /// How many went because there was no more room.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// The name under which a program's tree is kept: its own, while there is room for one more.
    fn known<'p>(&mut self, program: &'p str) -> &'p str {
        if self.programs.contains_key(program) {
            return program;
        }
        let program = if self.programs.len() < self.options.programs { program } else { "" };
        self.programs.entry(program.into()).or_default();
        program
    }

    /// Finds or makes the cluster of the masked line at hand.
    fn place(&mut self, program: &str) -> (u32, Change) {
        let Self { options, programs, clusters, masked, .. } = self;
        let tree = programs.entry(program.into()).or_default();
        if let Some(slot) = tree.find(masked, clusters, options.similarity) {
            let cluster = clusters.used(slot);
            cluster.count += 1;
            let change = if cluster.widen(masked) { Change::Widened } else { Change::None };
            return (slot, change);
        }
        let cluster = Cluster::new(program, masked);
        // The template that this line once founded may have grown so wide that it is not like it any more: it is its own all the same.
        if let Some(slot) = tree.by_id(cluster.id) {
            clusters.used(slot).count += 1;
            return (slot, Change::None);
        }
        (self.add(cluster), Change::New)
    }

    fn add(&mut self, cluster: Cluster) -> u32 {
        if self.clusters.is_full() {
            let (slot, gone) = self.clusters.pop();
            // Else its place would be taken for that of the next one.
            self.seen.clear();
            self.evicted += 1;
            if let Some(tree) = self.programs.get_mut(&*gone.program) {
                tree.remove(slot, &gone);
                if tree.is_empty() {
                    self.programs.remove(&*gone.program);
                }
            }
        }
        let program = cluster.program.clone();
        let slot = self.clusters.push(cluster);
        let cluster = self.clusters.get(slot);
        self.programs.entry(program).or_default().add(slot, cluster, self.options.children);
        slot
    }
}

#[cfg(test)]
mod tests;
