//! A list with a bound, in the order of use: of a full one the first to go is what was not used for longest.

/// No place.
const NONE: u32 = u32::MAX;

/// A list with a bound.
pub(crate) struct Lru<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
    newest: u32,
    oldest: u32,
    limit: usize,
}

struct Place<T> {
    item: Option<T>,
    newer: u32,
    older: u32,
}

impl<T> Lru<T> {
    pub(crate) fn new(limit: usize) -> Self {
        Self { places: Vec::new(), free: Vec::new(), newest: NONE, oldest: NONE, limit }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len() >= self.limit
    }

    /// What is at a place that is in use.
    pub(crate) fn get(&self, place: u32) -> &T {
        self.places[place as usize].item.as_ref().expect("a place that is in use")
    }

    /// The same, and it is now the newest.
    pub(crate) fn used(&mut self, place: u32) -> &mut T {
        if self.newest != place {
            self.unlink(place);
            self.link(place);
        }
        self.places[place as usize].item.as_mut().expect("a place that is in use")
    }

    /// Adds one as the newest. Who asks has made room.
    pub(crate) fn push(&mut self, item: T) -> u32 {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { item: None, newer: NONE, older: NONE });
            u32::try_from(self.places.len() - 1).expect("the limit is far below")
        });
        self.places[place as usize].item = Some(item);
        self.link(place);
        place
    }

    /// Takes the oldest out of a list that is not empty.
    pub(crate) fn pop(&mut self) -> (u32, T) {
        let place = self.oldest;
        self.unlink(place);
        self.free.push(place);
        (place, self.places[place as usize].item.take().expect("the oldest is in use"))
    }

    /// All, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().filter_map(|place| place.item.as_ref())
    }

    /// All, the one that was not used for longest first.
    pub(crate) fn oldest_first(&self) -> impl Iterator<Item = &T> {
        let next = |place: &u32| Some(self.places[*place as usize].newer).filter(|place| *place != NONE);
        std::iter::successors(Some(self.oldest).filter(|place| *place != NONE), next).map(|place| self.get(place))
    }

    fn link(&mut self, place: u32) {
        let older = self.newest;
        let this = &mut self.places[place as usize];
        (this.older, this.newer) = (older, NONE);
        match self.places.get_mut(older as usize) {
            Some(older) => older.newer = place,
            None => self.oldest = place,
        }
        self.newest = place;
    }

    fn unlink(&mut self, place: u32) {
        let Place { newer, older, .. } = self.places[place as usize];
        match self.places.get_mut(newer as usize) {
            Some(newer) => newer.older = older,
            None => self.newest = older,
        }
        match self.places.get_mut(older as usize) {
            Some(older) => older.newer = newer,
            None => self.oldest = newer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let mut list = Lru::new(3);
        let places: Vec<u32> = ["a", "b", "c"].into_iter().map(|item| list.push(item)).collect();
        assert!(list.is_full());
        list.used(places[0]);
        list.used(places[2]);
        assert_eq!(list.oldest_first().copied().collect::<Vec<_>>(), ["b", "a", "c"]);
        assert_eq!(list.pop(), (places[1], "b"));
        assert_eq!((list.push("d"), list.len()), (places[1], 3));
        assert_eq!([list.pop().1, list.pop().1, list.pop().1], ["a", "c", "d"]);
        assert_eq!((list.len(), list.oldest_first().count()), (0, 0));
        list.push("e");
        assert_eq!(list.oldest_first().copied().collect::<Vec<_>>(), ["e"]);
    }
}
