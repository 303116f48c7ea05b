//! How well lines were grouped, by a sample whose groups are known.

use std::collections::HashMap;
use std::hash::Hash;

/// Grouping accuracy (Zhu and others, "Tools and Benchmarks for Automated Log Parsing", 2019): the share of lines whose group has just
/// the lines that it should have. One line too many or too few, and none of the group counts.
pub fn grouping<T: Eq + Hash, P: Eq + Hash>(pairs: impl IntoIterator<Item = (T, P)>) -> f64 {
    let pairs: Vec<(T, P)> = pairs.into_iter().collect();
    let mut truth: HashMap<&T, usize> = HashMap::new();
    let mut found: HashMap<&P, usize> = HashMap::new();
    let mut both: HashMap<(&T, &P), usize> = HashMap::new();
    for (wanted, got) in &pairs {
        *truth.entry(wanted).or_default() += 1;
        *found.entry(got).or_default() += 1;
        *both.entry((wanted, got)).or_default() += 1;
    }
    let is_exact = |((wanted, got), many): &(&(&T, &P), &usize)| truth[wanted] == **many && found[got] == **many;
    let right: usize = both.iter().filter(|group| is_exact(group)).map(|(_, many)| *many).sum();
    if pairs.is_empty() { 1.0 } else { right as f64 / pairs.len() as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_counts_only_as_a_whole() {
        assert!((grouping([('a', 1), ('a', 1), ('b', 2), ('b', 2)]) - 1.0).abs() < 1e-9);
        // b is split, c and d are one.
        assert!((grouping([('a', 1), ('a', 1), ('b', 2), ('b', 3), ('c', 4), ('d', 4), ('e', 5), ('e', 5)]) - 0.5).abs() < 1e-9);
        assert!((grouping::<u8, u8>([]) - 1.0).abs() < 1e-9);
    }
}
