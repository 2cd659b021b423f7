//! `Durations`: a distribution of durations in bounded memory.
//!
//! Buckets grow with the value, 128 to each doubling: a percentile is off by less than 0.8%. Count,
//! sum, least and most are exact.

use std::time::Duration;

/// Buckets to each doubling, as a power of two.
const FINE_BITS: u32 = 7;
const FINE: u64 = 1 << FINE_BITS;

/// A distribution of durations, kept in microseconds.
#[derive(Clone, Debug)]
pub struct Durations {
    buckets: Vec<u32>,
    count: u64,
    sum: u128,
    least: u64,
    most: u64,
}

impl Default for Durations {
    fn default() -> Self {
        Durations {
            buckets: Vec::new(),
            count: 0,
            sum: 0,
            least: u64::MAX,
            most: 0,
        }
    }
}

impl Durations {
    /// Adds one.
    pub fn add(&mut self, micros: u64) {
        let index = bucket(micros);
        if index >= self.buckets.len() {
            self.buckets.resize(index + 1, 0);
        }
        self.buckets[index] = self.buckets[index].saturating_add(1);
        self.count += 1;
        self.sum += u128::from(micros);
        self.least = self.least.min(micros);
        self.most = self.most.max(micros);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum.
    pub fn sum(&self) -> Duration {
        Duration::from_micros(u64::try_from(self.sum).unwrap_or(u64::MAX))
    }

    /// The least; zero without any.
    pub fn least(&self) -> Duration {
        Duration::from_micros(if self.count == 0 { 0 } else { self.least })
    }

    /// The most; zero without any.
    pub fn most(&self) -> Duration {
        Duration::from_micros(self.most)
    }

    /// The mean; zero without any.
    pub fn mean(&self) -> Duration {
        let mean = self.sum / u128::from(self.count.max(1));
        Duration::from_micros(u64::try_from(mean).unwrap_or(u64::MAX))
    }

    /// The value that `percent` of them do not exceed, at most 0.8% too high.
    pub fn percentile(&self, percent: f64) -> Duration {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a rank among at most 2^52 values"
        )]
        let rank = ((percent.clamp(0.0, 100.0) / 100.0 * self.count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= rank {
                return Duration::from_micros(last_of(index).clamp(self.least, self.most));
            }
        }
        self.most()
    }

    /// Adds all of another distribution.
    pub fn add_all(&mut self, other: &Self) {
        if other.buckets.len() > self.buckets.len() {
            self.buckets.resize(other.buckets.len(), 0);
        }
        for (sum, count) in self.buckets.iter_mut().zip(&other.buckets) {
            *sum = sum.saturating_add(*count);
        }
        self.count += other.count;
        self.sum += other.sum;
        self.least = self.least.min(other.least);
        self.most = self.most.max(other.most);
    }
}

/// Small values have a bucket of their own; larger ones share by their leading bits.
fn bucket(micros: u64) -> usize {
    let index = if micros < 2 * FINE {
        micros
    } else {
        let shift = micros.ilog2() - FINE_BITS;
        u64::from(shift) * FINE + (micros >> shift)
    };
    usize::try_from(index).unwrap_or(usize::MAX)
}

/// The largest value of a bucket.
fn last_of(index: usize) -> u64 {
    let index = index as u64;
    if index < 2 * FINE {
        return index;
    }
    let shift = index / FINE - 1;
    let leading = index - shift * FINE;
    ((u128::from(leading) + 1) << shift)
        .saturating_sub(1)
        .try_into()
        .unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_even_values() {
        let mut durations = Durations::default();
        for micros in 1..=100_000 {
            durations.add(micros);
        }
        assert_eq!(durations.count(), 100_000);
        assert_eq!(durations.least(), Duration::from_micros(1));
        assert_eq!(durations.most(), Duration::from_micros(100_000));
        assert_eq!(durations.mean(), Duration::from_micros(50_000));
        for (percent, expected) in [(0.0, 1), (50.0, 50_000), (99.0, 99_000), (100.0, 100_000)] {
            let found = durations.percentile(percent).as_micros();
            assert!(
                found >= expected && found <= expected + expected / 125,
                "p{percent}: {found}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn a_bucket_holds_its_values(micros: u64) {
            let index = bucket(micros);
            let last = last_of(index);
            proptest::prop_assert!(last >= micros);
            proptest::prop_assert!(last - micros <= micros / 128, "{micros} {last}");
            proptest::prop_assert!(index == 0 || last_of(index - 1) < micros);
        }
    }
}
