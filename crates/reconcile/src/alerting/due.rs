//! What is due when: the next of many costs no more than a look at a tree.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

/// Instants, each of something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due<K> {
    at: BTreeMap<K, Timestamp>,
    order: BTreeSet<(Timestamp, K)>,
}

impl<K> Default for Due<K> {
    fn default() -> Self {
        Self { at: BTreeMap::new(), order: BTreeSet::new() }
    }
}

impl<K: Ord + Clone> Due<K> {
    /// It is due then, and not when it was before.
    pub fn set(&mut self, key: &K, at: Timestamp) {
        self.remove(key);
        self.at.insert(key.clone(), at);
        self.order.insert((at, key.clone()));
    }

    /// It is due then, unless it is earlier anyway.
    pub fn sooner(&mut self, key: &K, at: Timestamp) {
        if self.at.get(key).is_none_or(|before| at < *before) {
            self.set(key, at);
        }
    }

    /// It is not due at all.
    pub fn remove(&mut self, key: &K) {
        if let Some(at) = self.at.remove(key) {
            self.order.remove(&(at, key.clone()));
        }
    }

    /// When it is due, if it is.
    pub fn get(&self, key: &K) -> Option<Timestamp> {
        self.at.get(key).copied()
    }

    /// When the first one is due.
    pub fn next(&self) -> Option<Timestamp> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes out what is due by now, in the order of the keys.
    pub fn take(&mut self, now: Timestamp) -> BTreeSet<K> {
        let mut due = BTreeSet::new();
        while let Some((at, key)) = self.order.pop_first() {
            if at > now {
                self.order.insert((at, key));
                break;
            }
            self.at.remove(&key);
            due.insert(key);
        }
        due
    }

    /// Takes out the first one, whether or not it is due.
    pub fn pop(&mut self) -> Option<K> {
        let (_, key) = self.order.pop_first()?;
        self.at.remove(&key);
        Some(key)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.at.len()
    }

    /// Nothing is due.
    pub fn is_empty(&self) -> bool {
        self.at.is_empty()
    }

    /// The clock was set by so much.
    pub fn shift(&mut self, by: SignedDuration) {
        self.at.values_mut().for_each(|at| *at = at.checked_add(by).unwrap_or(*at));
        self.order = self.at.iter().map(|(key, at)| (*at, key.clone())).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_is_taken_in_time() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let mut due = Due::default();
        due.set(&"b", at(5));
        due.set(&"a", at(5));
        due.set(&"c", at(9));
        due.sooner(&"c", at(10));
        due.sooner(&"d", at(7));
        due.set(&"b", at(6));
        assert_eq!((due.next(), due.len()), (Some(at(5)), 4));
        assert_eq!(due.take(at(6)), BTreeSet::from(["a", "b"]));
        assert_eq!((due.take(at(6)), due.next(), due.get(&"c")), (BTreeSet::new(), Some(at(7)), Some(at(9))));
        due.shift(SignedDuration::from_secs(-7));
        assert_eq!(due.take(at(0)), BTreeSet::from(["d"]));
        due.remove(&"c");
        assert!(due.is_empty() && due.next().is_none());
    }
}
