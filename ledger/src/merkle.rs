//! Merkle tree hashing of RFC 6962 section 2.1: roots, inclusion proofs, consistency proofs.
//!
//! Never holds the leaves: a tree of any size is at most 64 peaks, and proofs are made in one pass over the leaves.

use std::ops::Range;

use crate::Digest;

/// The hash of a leaf: `SHA-256(0x00 || data)`.
pub fn leaf(data: &[u8]) -> Digest {
    Digest::of(&[&[0], data])
}

/// The hash of an inner node: `SHA-256(0x01 || left || right)`.
pub fn node(left: &Digest, right: &Digest) -> Digest {
    Digest::of(&[&[1], left.bytes(), right.bytes()])
}

/// A tree that grows leaf by leaf; appending hashes once in the mean and rereads nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    /// Roots of the complete subtrees, largest first: one for each bit set in `size`.
    peaks: Vec<Digest>,
}

impl Tree {
    /// The empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a leaf by its hash.
    pub fn push(&mut self, leaf: Digest) {
        let mut hash = leaf;
        let mut carry = self.size;
        while carry & 1 == 1 {
            if let Some(left) = self.peaks.pop() {
                hash = node(&left, &hash);
            }
            carry >>= 1;
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// How many leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root; of the empty tree, the hash of nothing (RFC 6962 section 2.1).
    pub fn root(&self) -> Digest {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => Digest::of(&[]),
            Some(last) => peaks.fold(*last, |right, left| node(left, &right)),
        }
    }
}

/// The proof that leaf `index` is in the tree of the first `size` of `leaves` (RFC 6962 section 2.1.1), deepest first.
/// `None` when there is no such leaf or fewer leaves than `size`.
pub fn inclusion<E>(
    leaves: impl Iterator<Item = Result<Digest, E>>,
    index: u64,
    size: u64,
) -> Result<Option<Vec<Digest>>, E> {
    if index >= size {
        return Ok(None);
    }
    let mut ranges = Vec::new();
    let (mut from, mut to) = (0, size);
    while to - from > 1 {
        let middle = from + split(to - from);
        if index < middle {
            ranges.push(middle..to);
            to = middle;
        } else {
            ranges.push(from..middle);
            from = middle;
        }
    }
    ranges.reverse();
    roots(leaves, ranges)
}

/// The proof that the tree of the first `older` of `leaves` is a prefix of that of the first `newer` (RFC 6962 section 2.1.2).
/// `None` when `older` is zero or greater than `newer`, or there are fewer leaves than `newer`.
pub fn consistency<E>(
    leaves: impl Iterator<Item = Result<Digest, E>>,
    older: u64,
    newer: u64,
) -> Result<Option<Vec<Digest>>, E> {
    if older == 0 || older > newer {
        return Ok(None);
    }
    let mut ranges = Vec::new();
    let (mut from, mut to, mut known) = (0, newer, true);
    while to != older {
        let middle = from + split(to - from);
        if older <= middle {
            ranges.push(middle..to);
            to = middle;
        } else {
            ranges.push(from..middle);
            from = middle;
            known = false;
        }
    }
    if !known {
        ranges.push(from..to);
    }
    ranges.reverse();
    roots(leaves, ranges)
}

/// Whether `proof` shows `leaf` at `index` in the tree of `size` leaves with `root` (RFC 9162 section 2.1.3.2).
pub fn includes(leaf: Digest, index: u64, size: u64, proof: &[Digest], root: &Digest) -> bool {
    if index >= size {
        return false;
    }
    let (mut fnode, mut snode, mut hash) = (index, size - 1, leaf);
    for sibling in proof {
        if snode == 0 {
            return false;
        }
        if fnode & 1 == 1 || fnode == snode {
            hash = node(sibling, &hash);
            while fnode & 1 == 0 && fnode != 0 {
                fnode >>= 1;
                snode >>= 1;
            }
        } else {
            hash = node(&hash, sibling);
        }
        fnode >>= 1;
        snode >>= 1;
    }
    snode == 0 && hash == *root
}

/// Whether `proof` shows that the tree (`older`, `old_root`) is a prefix of (`newer`, `new_root`) (RFC 9162 section 2.1.4.2).
pub fn extends(older: u64, old_root: &Digest, newer: u64, new_root: &Digest, proof: &[Digest]) -> bool {
    if older == 0 || older > newer {
        return false;
    }
    if older == newer {
        return proof.is_empty() && old_root == new_root;
    }
    let mut path = proof.iter();
    let first = if older.is_power_of_two() { Some(old_root) } else { path.next() };
    let Some(first) = first else { return false };
    let (mut fnode, mut snode) = (older - 1, newer - 1);
    while fnode & 1 == 1 {
        fnode >>= 1;
        snode >>= 1;
    }
    let (mut old, mut new) = (*first, *first);
    for sibling in path {
        if snode == 0 {
            return false;
        }
        if fnode & 1 == 1 || fnode == snode {
            old = node(sibling, &old);
            new = node(sibling, &new);
            while fnode & 1 == 0 && fnode != 0 {
                fnode >>= 1;
                snode >>= 1;
            }
        } else {
            new = node(&new, sibling);
        }
        fnode >>= 1;
        snode >>= 1;
    }
    snode == 0 && old == *old_root && new == *new_root
}

/// The largest power of two below `n`, for `n` of two and more.
fn split(n: u64) -> u64 {
    1 << (63 - (n - 1).leading_zeros())
}

/// The roots over disjoint `ranges` of the leaves, in the order given, in one pass.
fn roots<E>(
    leaves: impl Iterator<Item = Result<Digest, E>>,
    ranges: Vec<Range<u64>>,
) -> Result<Option<Vec<Digest>>, E> {
    let mut sorted: Vec<_> = ranges.iter().map(|range| (range.clone(), Tree::new())).collect();
    sorted.sort_by_key(|(range, _)| range.start);
    let end = sorted.last().map_or(0, |(range, _)| range.end);
    let mut current = sorted.iter_mut().peekable();
    for (leaf, index) in leaves.zip(0..end) {
        let leaf = leaf?;
        while current.next_if(|(range, _)| range.end <= index).is_some() {}
        if let Some((range, tree)) = current.peek_mut()
            && range.contains(&index)
        {
            tree.push(leaf);
        }
    }
    if sorted.iter().any(|(range, tree)| tree.size() != range.end - range.start) {
        return Ok(None);
    }
    let root_of = |range: &Range<u64>| sorted.iter().find(|(r, _)| r == range).map(|(_, tree)| tree.root());
    Ok(ranges.iter().map(root_of).collect())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    /// Leaves and roots of the test tree that Certificate Transparency implementations share.
    const DATA: [&[u8]; 8] = [
        b"",
        &[0x00],
        &[0x10],
        &[0x20, 0x21],
        &[0x30, 0x31],
        &[0x40, 0x41, 0x42, 0x43],
        &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
        &[0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f],
    ];

    fn leaves(n: u64) -> impl Iterator<Item = Result<Digest, Infallible>> + Clone {
        (0..n).map(|i| Ok(leaf(&i.to_be_bytes())))
    }

    fn root(n: u64) -> Digest {
        let mut tree = Tree::new();
        leaves(n).for_each(|l| tree.push(l.unwrap()));
        tree.root()
    }

    #[test]
    fn roots_agree_with_the_vectors_of_certificate_transparency() {
        let mut tree = Tree::new();
        assert_eq!(
            tree.root().to_string(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        let mut seen = Vec::new();
        for data in DATA {
            tree.push(leaf(data));
            seen.push(tree.root().to_string());
        }
        assert_eq!(seen[0], "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
        assert_eq!(seen[1], "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125");
        assert_eq!(seen[6], "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c");
        assert_eq!(seen[7], "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328");
    }

    #[test]
    fn every_leaf_of_every_small_tree_is_proven_and_no_other_place_is() {
        for size in 1..=33 {
            let root = root(size);
            for index in 0..size {
                let proof = inclusion(leaves(size), index, size).unwrap().unwrap();
                let own = leaf(&index.to_be_bytes());
                assert!(includes(own, index, size, &proof, &root));
                for other in (0..size).filter(|other| *other != index) {
                    assert!(!includes(own, other, size, &proof, &root));
                }
            }
        }
    }

    #[test]
    fn every_smaller_tree_is_proven_a_prefix() {
        for newer in 1..=33 {
            for older in 1..=newer {
                let proof = consistency(leaves(newer), older, newer).unwrap().unwrap();
                assert!(extends(older, &root(older), newer, &root(newer), &proof), "{older} {newer}");
                assert!(!extends(older, &leaf(b"x"), newer, &root(newer), &proof));
                if older < newer {
                    assert!(!extends(older, &root(older), newer, &root(newer + 1), &proof));
                }
            }
        }
    }

    #[test]
    fn a_leaf_that_is_not_there_has_no_proof() {
        assert_eq!(inclusion(leaves(4), 4, 4), Ok(None));
        assert_eq!(inclusion(leaves(4), 2, 5), Ok(None));
        assert_eq!(consistency(leaves(4), 0, 4), Ok(None));
        assert_eq!(consistency(leaves(4), 3, 5), Ok(None));
    }

    proptest! {
        #[test]
        fn hostile_proofs_are_refused_without_a_panic(
            index in any::<u64>(), size in any::<u64>(), other in any::<u64>(),
            proof in proptest::collection::vec(any::<[u8; 32]>(), 0..70),
        ) {
            let proof: Vec<_> = proof.into_iter().map(Digest::new).collect();
            prop_assert!(!includes(leaf(b"a"), index, size, &proof, &leaf(b"b")));
            prop_assert!(!extends(index, &leaf(b"a"), other, &leaf(b"b"), &proof));
        }
    }
}
