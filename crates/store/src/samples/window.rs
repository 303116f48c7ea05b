//! Five minutes of one series.

use std::fmt::Write as _;

/// How long a window is.
pub(super) const SECONDS: i64 = 300;
/// Values of one window: one in a second, as nobody is read so often.
const VALUES: usize = 300;

/// The window that a second is in begins here.
pub(super) fn start(second: i64) -> i64 {
    second.div_euclid(SECONDS) * SECONDS
}

/// Values for which there is room at first, and for how many more when there is none left: twice as many each time would be half empty.
const ROOM: usize = 4;

/// Five minutes of one series. Values have seven digits, which is more than any of them is measured with.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Window {
    pub(super) start: i64,
    points: Vec<Packed>,
}

/// Seconds after the start, and the bytes of the value then: there are millions of them, and side by side they would take eight bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Packed {
    after: u16,
    value: [u8; 4],
}

impl Packed {
    fn new(after: u16, value: f32) -> Self {
        Self { after, value: value.to_le_bytes() }
    }

    fn value(self) -> f32 {
        f32::from_le_bytes(self.value)
    }
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

    /// Returns whether there was room for it.
    pub(super) fn push(&mut self, second: i64, value: f64) -> bool {
        let after = u16::try_from(second - self.start).ok().filter(|after| i64::from(*after) < SECONDS);
        match after {
            // Beyond what it holds, a value would come back as infinite.
            Some(after) if self.points.len() < VALUES => {
                if self.points.len() == self.points.capacity() {
                    self.points.reserve_exact(ROOM.max(self.points.len() / 4));
                }
                self.points.push(Packed::new(after, (value as f32).clamp(f32::MIN, f32::MAX)));
                true
            }
            _ => false,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.points.len()
    }

    /// Seconds, and the values then.
    pub(super) fn points(&self) -> impl Iterator<Item = (i64, f64)> {
        self.points.iter().map(|packed| (self.start + i64::from(packed.after), f64::from(packed.value())))
    }

    /// `12=0.5 42=0.25`
    pub(super) fn packed(&self) -> String {
        let mut text = String::with_capacity(self.points.len() * 12);
        for packed in &self.points {
            let (after, value) = (packed.after, packed.value());
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
        let values = || self.points().map(|(_, value)| value);
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
    fn a_window_takes_what_is_in_it() {
        let mut window = Window::new(start(1_000_000_123));
        assert_eq!(window.start, 999_999_900);
        assert!(!window.push(window.start - 1, 1.0) && !window.push(window.start + SECONDS, 1.0));
        assert!(window.push(window.start, 1.0) && window.push(window.start + 299, 0.25));
        assert_eq!(window.packed(), "0=1 299=0.25");
        assert_eq!(window.sum(), Sum { lowest: 0.25, highest: 1.0, mean: 0.625, readings: 2 });
        for _ in 2..VALUES {
            assert!(window.push(window.start, 1.0));
        }
        assert!(!window.push(window.start, 1.0));
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_back(points in proptest::collection::vec((0_u16..300, any::<f32>()), 0..300)) {
            let finite = points.into_iter().filter(|(_, value)| value.is_finite());
            let window = Window { start: 600, points: finite.map(|(after, value)| Packed::new(after, value)).collect() };
            let expected: Vec<(i64, f64)> = window.points().collect();
            prop_assert_eq!(Window::unpack(600, &window.packed()), expected);
        }

        #[test]
        fn garbage_is_survived(text in any::<String>()) {
            let _ = Window::unpack(0, &text);
        }
    }
}
