//! Five minutes of one series.

use std::fmt::Write as _;

/// How long a window is.
pub(super) const SECONDS: i64 = 300;
/// The window that a second is in begins here.
pub(super) fn start(second: i64) -> i64 {
    second.div_euclid(SECONDS) * SECONDS
}

/// Five minutes of one series.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Window {
    pub(super) start: i64,
    /// Seconds after the start, and the values then.
    points: Vec<(u16, f32)>,
}

/// What stands for a window later.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sum {
    pub(super) lowest: f64,
    pub(super) highest: f64,
    pub(super) mean: f64,
    pub(super) readings: usize,
}

impl Window {
    pub(super) fn new(start: i64) -> Self {
        Self { start, points: Vec::new() }
    }

    pub(super) fn push(&mut self, after: u16, value: f32) {
        self.points.push((after, value));
    }

    /// `12=0.5 42=0.25`
    pub(super) fn packed(&self) -> String {
        let mut text = String::with_capacity(self.points.len() * 12);
        for (after, value) in &self.points {
            let blank = if text.is_empty() { "" } else { " " };
            let _ = match value.abs() {
                // Without a power of ten, large ones would be written with many zeros.
                size if size != 0.0 && !(1e-5..1e7).contains(&size) => write!(text, "{blank}{after}={value:e}"),
                _ => write!(text, "{blank}{after}={value}"),
            };
        }
        text
    }

    /// What was packed. What can't be read is passed over.
    pub(super) fn unpack(start: i64, text: &str) -> Vec<(i64, f64)> {
        let point = |word: &str| {
            let (after, value) = word.split_once('=')?;
            Some((start + i64::from(after.parse::<u16>().ok()?), f64::from(value.parse::<f32>().ok()?)))
        };
        text.split(' ').filter_map(point).collect()
    }

    pub(super) fn sum(&self) -> Sum {
        let values = || self.points.iter().map(|(_, value)| f64::from(*value));
        let readings = self.points.len();
        Sum {
            lowest: values().fold(f64::INFINITY, f64::min),
            highest: values().fold(f64::NEG_INFINITY, f64::max),
            mean: values().sum::<f64>() / readings.max(1) as f64,
            readings,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn a_window_is_packed_and_summed_up() {
        let mut window = Window::new(start(1_000_000_123));
        assert_eq!(window.start, 999_999_900);
        window.push(0, 1.0);
        window.push(299, 0.25);
        assert_eq!(window.packed(), "0=1 299=0.25");
        assert_eq!(window.sum(), Sum { lowest: 0.25, highest: 1.0, mean: 0.625, readings: 2 });
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_back(points in proptest::collection::vec((0_u16..300, any::<f32>()), 0..300)) {
            let finite = points.into_iter().filter(|(_, value)| value.is_finite());
            let window = Window { start: 600, points: finite.collect() };
            let expected: Vec<(i64, f64)> = window.points.iter().map(|(after, value)| (600 + i64::from(*after), f64::from(*value))).collect();
            prop_assert_eq!(Window::unpack(600, &window.packed()), expected);
        }

        #[test]
        fn garbage_is_survived(text in any::<String>()) {
            let _ = Window::unpack(0, &text);
        }
    }
}
