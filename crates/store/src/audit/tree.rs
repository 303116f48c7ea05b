//! An append-only Merkle tree as RFC 9162 (and RFC 6962 before it) defines it: leaf hashes are prefixed by 0x00, inner ones by 0x01.

use sha2::{Digest, Sha256};

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// The hash of a leaf with this content (RFC 9162, section 2.1.1).
pub fn leaf(content: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(content).finalize().into()
}

/// The hash of an inner node.
pub fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// The right edge of a tree: enough to append in O(log n) and to know the root, in 32 bytes per level.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// Roots of the complete subtrees, the largest first; one for each bit of `size`.
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The frontier of a tree of `size` leaves with these peaks; `None` if their number does not fit.
    pub fn restore(size: u64, peaks: Vec<Hash>) -> Option<Self> {
        (peaks.len() == size.count_ones() as usize).then_some(Self { size, peaks })
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Roots of the complete subtrees, the largest first.
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// Appends a leaf by its hash.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            let left = self.peaks.pop().expect("a peak for each bit of the size");
            hash = node(&left, &hash);
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The root; of the empty tree it is the hash of nothing.
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => Sha256::digest([]).into(),
            Some(last) => peaks.fold(*last, |right, left| node(left, &right)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// MTH(D[n]) by its recursive definition in RFC 9162, section 2.1.1.
    fn reference(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Sha256::digest([]).into(),
            [one] => *one,
            many => {
                let mut split = 1;
                while split * 2 < many.len() {
                    split *= 2;
                }
                node(&reference(&many[..split]), &reference(&many[split..]))
            }
        }
    }

    /// The roots that Certificate Transparency's own tests use, for the trees of 0 to 8 leaves.
    #[test]
    fn roots_are_those_of_certificate_transparency() {
        let leaves = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
        let roots = [
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut tree = Frontier::default();
        assert_eq!(hex::encode(tree.root()), roots[0]);
        for (content, root) in leaves.iter().zip(&roots[1..]) {
            tree.push(leaf(&hex::decode(content).unwrap()));
            assert_eq!(hex::encode(tree.root()), *root);
        }
    }

    #[test]
    fn the_frontier_agrees_with_the_definition() {
        let mut tree = Frontier::default();
        let mut leaves = Vec::new();
        for number in 0..70_u32 {
            assert_eq!(tree.root(), reference(&leaves), "{number}");
            let hash = leaf(&number.to_be_bytes());
            leaves.push(hash);
            tree.push(hash);
            assert_eq!(Frontier::restore(tree.size(), tree.peaks().to_vec()), Some(tree.clone()));
        }
        assert_eq!(Frontier::restore(3, vec![]), None);
    }
}
