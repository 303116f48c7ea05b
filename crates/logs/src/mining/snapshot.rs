//! What a miner knows, to be kept and read again.

use serde::{Deserialize, Serialize};

use super::cluster::Cluster;
use super::hash::{VARIES, token};
use super::{Miner, Options, TemplateId};

/// All templates, the one that was not used for longest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The templates.
    pub templates: Vec<Kept>,
}

/// A template as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Its id, which can't be told from its words any more once it grew wider.
    pub id: TemplateId,
    /// The program that it is of.
    pub program: String,
    /// The branch of the tree that leads to it.
    pub branch: String,
    /// Its tokens.
    pub words: Vec<String>,
    /// Lines of it so far.
    pub count: u64,
}

impl Miner {
    /// What it knows.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { templates: self.clusters.oldest_first().map(keep).collect() }
    }

    /// A miner that knows what was kept; the newest, if that is more than it may know.
    pub fn restore(options: Options, snapshot: &Snapshot) -> Self {
        let mut miner = Self::new(options);
        let surplus = snapshot.templates.len().saturating_sub(options.templates);
        for kept in snapshot.templates.iter().skip(surplus) {
            let is_known = miner.programs.get(&*kept.program).is_some_and(|tree| tree.by_id(kept.id).is_some());
            if !is_known {
                miner.add(cluster(kept));
            }
        }
        miner
    }
}

fn keep(cluster: &Cluster) -> Kept {
    Kept {
        id: cluster.id,
        program: cluster.program.to_string(),
        branch: cluster.branch.to_string(),
        words: cluster.words.iter().map(ToString::to_string).collect(),
        count: cluster.count,
    }
}

fn cluster(kept: &Kept) -> Cluster {
    let hashes: Box<[u64]> = kept.words.iter().map(|word| token(word)).collect();
    Cluster {
        id: kept.id,
        program: kept.program.as_str().into(),
        wild: hashes.iter().filter(|hash| **hash == VARIES).count(),
        hashes,
        branch: kept.branch.as_str().into(),
        words: kept.words.iter().map(|word| word.as_str().into()).collect(),
        count: kept.count,
    }
}
