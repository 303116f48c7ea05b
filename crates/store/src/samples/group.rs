//! Five minutes of one device.

use reconcile::{Name, Series};

use super::window::{SECONDS, Window};

/// Values of each series, on average: one in a second, as nobody is read so often.
const VALUES: usize = 300;
/// Values of one piece. Pieces of one size find their places again and again, where lists that grow leave holes.
const PIECE: usize = 64;

/// Five minutes of one device: its values in the order in which they came. Together they take half the room that a list for each series would.
pub(super) struct Group {
    pub(super) device: Name,
    pub(super) start: i64,
    /// In the order in which they were first seen.
    series: Vec<Series>,
    /// Pieces, of which all but the last are full.
    values: Vec<Vec<Packed>>,
    /// Which series came last: the one after it is the likeliest to come now.
    latest: usize,
}

/// A value: of which series, and how many seconds after the start. It has seven digits, which is more than any of them is measured with.
#[derive(Clone, Copy)]
struct Packed {
    series: u16,
    after: u16,
    value: f32,
}

impl Group {
    pub(super) fn new(device: &Name, start: i64) -> Self {
        Self { device: device.clone(), start, series: Vec::new(), values: Vec::new(), latest: 0 }
    }

    /// The one that comes after this, in which there will be as much.
    pub(super) fn next(&self, start: i64) -> Self {
        let (series, values) = (Vec::with_capacity(self.series.len()), Vec::with_capacity(self.values.len()));
        Self { device: self.device.clone(), start, series, values, latest: 0 }
    }

    /// Takes in a value, and tells whether there was room for it.
    pub(super) fn push(&mut self, series: &Series, second: i64, value: f64) -> bool {
        let after = u16::try_from(second - self.start).ok().filter(|after| i64::from(*after) < SECONDS);
        let (Some(after), Some(series)) = (after, self.number(series)) else { return false };
        if self.len() >= VALUES * self.series.len() {
            return false;
        }
        if self.values.last().is_none_or(|piece| piece.len() == PIECE) {
            self.values.push(Vec::with_capacity(PIECE));
        }
        // Beyond what it holds, a value would come back as infinite.
        let packed = Packed { series, after, value: (value as f32).clamp(f32::MIN, f32::MAX) };
        self.values.last_mut().map(|piece| piece.push(packed)).is_some()
    }

    /// Without room for more: of what comes late each value is a group, and there may be many of those.
    pub(super) fn shrink(&mut self) {
        self.values.iter_mut().for_each(Vec::shrink_to_fit);
    }

    fn number(&mut self, series: &Series) -> Option<u16> {
        let likely = self.latest + 1;
        let found =
            if self.series.get(likely) == Some(series) { Some(likely) } else { self.series.iter().position(|other| other == series) };
        let number = u16::try_from(found.unwrap_or(self.series.len())).ok()?;
        if found.is_none() {
            self.series.push(series.clone());
        }
        self.latest = usize::from(number);
        Some(number)
    }

    /// How many series have values in it.
    pub(super) fn windows(&self) -> usize {
        self.series.len()
    }

    /// How many values are in it.
    pub(super) fn len(&self) -> usize {
        self.values.len().saturating_sub(1) * PIECE + self.values.last().map_or(0, Vec::len)
    }

    /// Each series, and its values.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Series, Window)> {
        let mut windows = vec![Window::new(self.start); self.series.len()];
        for packed in self.values.iter().flatten() {
            windows[usize::from(packed.series)].push(packed.after, packed.value);
        }
        self.series.iter().zip(windows)
    }

    /// The values of one series: seconds, and the values then.
    pub(super) fn of(&self, series: &Series) -> impl Iterator<Item = (i64, f64)> {
        let number = self.series.iter().position(|other| other == series);
        let own = self.values.iter().flatten().filter(move |packed| number == Some(usize::from(packed.series)));
        own.map(|packed| (self.start + i64::from(packed.after), f64::from(packed.value)))
    }
}

#[cfg(test)]
mod tests {
    use reconcile::Metric;

    use super::*;

    #[test]
    fn values_are_told_apart_by_their_series_in_any_order() {
        let (load, swap) = (Series::of(Metric::LoadOne), Series::of(Metric::SwapRatio));
        let start = 999_999_900;
        let mut group = Group::new(&Name::parse("web"), start);
        assert!(!group.push(&load, start - 1, 1.0) && !group.push(&load, start + SECONDS, 1.0));
        for (series, after, value) in
            [(&load, 0, 1.0), (&swap, 0, 0.5), (&load, 30, 2.0), (&swap, 30, 1e300), (&swap, 31, 0.25), (&load, 299, 0.25)]
        {
            assert!(group.push(series, start + after, value));
        }
        let packed: Vec<String> = group.all().map(|(series, window)| format!("{series} {}", window.packed())).collect();
        assert_eq!(packed, ["load.one 0=1 30=2 299=0.25", "swap.ratio 0=0.5 30=3.4028235e38 31=0.25"]);
        assert_eq!(group.of(&load).collect::<Vec<_>>(), [(start, 1.0), (start + 30, 2.0), (start + 299, 0.25)]);
        assert_eq!(group.of(&Series::of(Metric::LoadFive)).count(), 0);
        assert_eq!((group.windows(), group.len()), (2, 6));
    }

    #[test]
    fn it_is_full_at_so_many_values_for_each_series() {
        let load = Series::of(Metric::LoadOne);
        let mut group = Group::new(&Name::parse("web"), 0);
        for _ in 0..VALUES {
            assert!(group.push(&load, 7, 1.0));
        }
        assert!(!group.push(&load, 7, 1.0));
        let next = group.next(300);
        assert_eq!((next.len(), next.windows(), next.start), (0, 0, 300));
    }
}
