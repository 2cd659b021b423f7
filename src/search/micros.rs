//! Durations of one event's stages, three to a number of a column.
//!
//! A column costs by the value, whether it is small or large, and a request has a dozen stages. A
//! duration takes 20 bits: 16 of value and 4 of shift. Up to 65 ms it is exact to the microsecond; above
//! it is cut by less than one part in 32,768, and what is longer than 35 minutes counts as that.

/// Durations in one number.
const IN_ONE: usize = 3;
/// Bits of each.
const BITS: u32 = 20;
/// Bits of the value; above them is how far it is shifted.
const VALUE_BITS: u32 = 16;
/// What one place can hold.
const MASK: u64 = (1 << BITS) - 1;
/// The longest that can be written.
const LONGEST: u64 = ((1 << VALUE_BITS) - 1) << 15;

/// Some durations in microseconds, packed, in order.
#[derive(Debug, Default)]
pub(super) struct Durations {
    full: smallvec::SmallVec<[u64; 6]>,
    last: u64,
    in_last: usize,
}

impl Durations {
    fn add(&mut self, micros: u64) {
        self.last |= packed(micros) << (BITS * self.in_last as u32);
        self.in_last += 1;
        if self.in_last == IN_ONE {
            self.full.push(self.last);
            (self.last, self.in_last) = (0, 0);
        }
    }

    /// The numbers.
    pub(super) fn packed(&self) -> impl Iterator<Item = u64> {
        let last = (self.in_last > 0).then_some(self.last);
        self.full.iter().copied().chain(last)
    }
}

impl FromIterator<u64> for Durations {
    fn from_iter<I: IntoIterator<Item = u64>>(all: I) -> Self {
        let mut out = Durations::default();
        all.into_iter().for_each(|micros| out.add(micros));
        out
    }
}

/// The durations in such numbers, in order. Behind the last one there may be up to two that are zero:
/// the names say how many there are.
pub(super) fn of(numbers: impl Iterator<Item = u64>) -> impl Iterator<Item = u64> {
    numbers.flat_map(|number| {
        (0..IN_ONE as u32).map(move |place| unpacked((number >> (BITS * place)) & MASK))
    })
}

fn packed(micros: u64) -> u64 {
    let micros = micros.min(LONGEST);
    let bits = u64::BITS - micros.leading_zeros();
    let shift = bits.saturating_sub(VALUE_BITS);
    (u64::from(shift) << VALUE_BITS) | (micros >> shift)
}

fn unpacked(packed: u64) -> u64 {
    (packed & ((1 << VALUE_BITS) - 1)) << (packed >> VALUE_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(all: &[u64]) -> Vec<u64> {
        let packed: Durations = all.iter().copied().collect();
        of(packed.packed()).take(all.len()).collect()
    }

    #[test]
    fn short_ones_are_exact_and_long_ones_nearly() {
        assert!(through(&[]).is_empty());
        assert_eq!(
            through(&[0, 1, 65_535, 100_000, 7]),
            [0, 1, 65_535, 100_000, 7]
        );
        assert_eq!(through(&[65_537, u64::MAX]), [65_536, LONGEST]);
    }

    proptest::proptest! {
        #[test]
        fn none_is_longer_than_it_was(all in proptest::collection::vec(0..LONGEST, 0..20)) {
            for (was, is) in all.iter().zip(through(&all)) {
                proptest::prop_assert!(is <= *was && *was - is <= *was / 32_768);
            }
        }
    }
}
