//! How long something took, counted in classes: [`Histogram`]. The classes are those of the page of
//! metrics, so that nothing has to be converted.

use std::time::Duration;

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000_000;

/// The upper bounds of the classes, in nanoseconds. The last class has none.
const BOUNDS: [u64; 14] = [
    25 * MICROSECOND,
    50 * MICROSECOND,
    100 * MICROSECOND,
    250 * MICROSECOND,
    500 * MICROSECOND,
    MILLISECOND,
    2_500 * MICROSECOND,
    5 * MILLISECOND,
    10 * MILLISECOND,
    25 * MILLISECOND,
    100 * MILLISECOND,
    500 * MILLISECOND,
    1_000 * MILLISECOND,
    5_000 * MILLISECOND,
];

/// Times, in classes from 25 us to 5 s.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BOUNDS.len() + 1],
    sum: Duration,
}

impl Histogram {
    /// Counts `n` things that took so long, each of them.
    pub(crate) fn record(&mut self, took: Duration, n: u64) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let class = BOUNDS.iter().filter(|&&bound| bound < nanoseconds).count();
        if let Some(count) = self.counts.get_mut(class) {
            *count = count.saturating_add(n);
        }
        let times = u32::try_from(n).unwrap_or(u32::MAX);
        self.sum = self.sum.saturating_add(took.saturating_mul(times));
    }

    /// How many things were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How long all of them took together.
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// The upper bound of each class, if it has one, and how many things are in it.
    pub fn classes(&self) -> impl Iterator<Item = (Option<Duration>, u64)> {
        let bounds = BOUNDS
            .iter()
            .map(|&bound| Some(Duration::from_nanos(bound)));
        bounds.chain([None]).zip(self.counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_in_the_class_whose_bound_it_does_not_exceed() {
        let mut times = Histogram::default();
        for (nanoseconds, n) in [(0, 1), (25_000, 2), (25_001, 4), (5_000_000_000, 8)] {
            times.record(Duration::from_nanos(nanoseconds), n);
        }
        times.record(Duration::MAX, 16);
        let counts: Vec<u64> = times.classes().map(|(_, n)| n).collect();
        assert_eq!(counts, [3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 16]);
        assert_eq!((times.count(), times.sum()), (31, Duration::MAX));
        assert_eq!(times.classes().last(), Some((None, 16)));
    }
}
