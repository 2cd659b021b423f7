//! `Durations`: a distribution of durations in bounded memory.
//!
//! A few values are kept as they are. With more of them buckets count, which grow with the value, 128
//! to each doubling: a percentile is then at most 0.8% too high. Count, sum, least and most are exact.

/// Buckets to each doubling, as a power of two.
const FINE_BITS: u32 = 7;
const FINE: u32 = 1 << FINE_BITS;

/// Values that are kept as they are; with more of them, buckets count.
const FEW: usize = 512;

/// A distribution of durations, kept in microseconds.
#[derive(Clone, Debug)]
pub(super) struct Durations {
    few: Vec<u32>,
    buckets: Vec<u32>,
    count: u64,
    sum: u64,
    least: u32,
    most: u32,
}

impl Default for Durations {
    fn default() -> Self {
        Durations {
            few: Vec::new(),
            buckets: Vec::new(),
            count: 0,
            sum: 0,
            least: u32::MAX,
            most: 0,
        }
    }
}

impl Durations {
    /// Adds one.
    pub(super) fn add(&mut self, micros: u32) {
        self.count += 1;
        self.sum = self.sum.saturating_add(u64::from(micros));
        self.least = self.least.min(micros);
        self.most = self.most.max(micros);
        self.put(micros);
    }

    fn put(&mut self, micros: u32) {
        if !self.buckets.is_empty() {
            return self.count_in(bucket(micros), 1);
        }
        self.few.push(micros);
        if self.few.len() > FEW {
            for micros in std::mem::take(&mut self.few) {
                self.count_in(bucket(micros), 1);
            }
        }
    }

    fn count_in(&mut self, bucket: usize, count: u32) {
        if bucket >= self.buckets.len() {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] = self.buckets[bucket].saturating_add(count);
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Their sum.
    pub(super) fn sum(&self) -> u64 {
        self.sum
    }

    /// The least and the most; `None` without any.
    pub(super) fn ends(&self) -> Option<(u32, u32)> {
        (self.count > 0).then_some((self.least, self.most))
    }

    /// For each of these percentages, the smallest value that so many percent are not above.
    pub(super) fn percentiles(&self, percentages: &[u64]) -> Vec<u32> {
        let mut few = self.few.clone();
        few.sort_unstable();
        let at = |percent: u64| {
            let rank = (self.count * percent).div_ceil(100).max(1);
            if self.buckets.is_empty() {
                let place = usize::try_from(rank - 1).unwrap_or(usize::MAX);
                return few.get(place).copied().unwrap_or(self.most);
            }
            let mut seen = 0;
            for (index, count) in self.buckets.iter().enumerate() {
                seen += u64::from(*count);
                if seen >= rank {
                    return last_of(index).clamp(self.least, self.most);
                }
            }
            self.most
        };
        percentages.iter().map(|percent| at(*percent)).collect()
    }

    /// Adds all of another distribution.
    pub(super) fn add_all(&mut self, other: &Self) {
        for micros in &other.few {
            self.put(*micros);
        }
        if !other.buckets.is_empty() {
            for micros in std::mem::take(&mut self.few) {
                self.count_in(bucket(micros), 1);
            }
            for (index, count) in other.buckets.iter().enumerate() {
                if *count > 0 {
                    self.count_in(index, *count);
                }
            }
        }
        self.count += other.count;
        self.sum = self.sum.saturating_add(other.sum);
        self.least = self.least.min(other.least);
        self.most = self.most.max(other.most);
    }
}

/// Small values have a bucket of their own; larger ones share by their leading bits.
fn bucket(micros: u32) -> usize {
    let index = if micros < 2 * FINE {
        micros
    } else {
        let shift = micros.ilog2() - FINE_BITS;
        shift * FINE + (micros >> shift)
    };
    index as usize
}

/// The largest value of a bucket.
fn last_of(index: usize) -> u32 {
    let index = index as u64;
    let fine = u64::from(FINE);
    let last = match index < 2 * fine {
        true => index,
        false => {
            let shift = index / fine - 1;
            ((index - shift * fine + 1) << shift) - 1
        }
    };
    u32::try_from(last).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_even_values() {
        let mut all = Durations::default();
        for part in 0..100 {
            let mut some = Durations::default();
            for micros in 1..=1_000 {
                some.add(part * 1_000 + micros);
            }
            all.add_all(&some);
        }
        assert_eq!((all.count(), all.sum()), (100_000, 5_000_050_000));
        assert_eq!(all.ends(), Some((1, 100_000)));
        let expected = [1_000, 50_000, 99_000, 100_000];
        for (found, expected) in all.percentiles(&[1, 50, 99, 100]).iter().zip(expected) {
            assert!(
                *found >= expected && *found <= expected + expected / 125,
                "{found} for {expected}"
            );
        }
    }

    #[test]
    fn percentiles_of_few_are_exact() {
        let (mut some, mut others) = (Durations::default(), Durations::default());
        (1..=200).for_each(|n| some.add(n * 1_000));
        (201..=300).for_each(|n| others.add(n * 1_000));
        others.add_all(&some);
        assert_eq!(others.percentiles(&[1, 50, 100]), [3_000, 150_000, 300_000]);
        assert!(Durations::default().ends().is_none());
    }

    proptest::proptest! {
        #[test]
        fn a_bucket_holds_its_values(micros: u32) {
            let index = bucket(micros);
            let last = last_of(index);
            proptest::prop_assert!(last >= micros);
            proptest::prop_assert!(last - micros <= micros / 128, "{micros} {last}");
            proptest::prop_assert!(index == 0 || last_of(index - 1) < micros);
        }
    }
}
