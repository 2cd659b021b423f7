//! `Demand`: how many seats a level would have used over a while; and how seats are lent by it
//! (contract/flow_control.md §3).

use std::time::Instant;

/// Weight of the past when demand sinks.
const SMOOTHING: f64 = 0.977;

/// A time-weighted average of what was wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Demand {
    value: f64,
    since: Instant,
    changed: Instant,
    sum: f64,
    sum_of_squares: f64,
    high: f64,
}

impl Demand {
    pub(super) fn new(now: Instant) -> Self {
        Demand {
            value: 0.0,
            since: now,
            changed: now,
            sum: 0.0,
            sum_of_squares: 0.0,
            high: 0.0,
        }
    }

    /// From `now` on this many seats are wanted.
    pub(super) fn set(&mut self, now: Instant, value: f64) {
        let passed = now.saturating_duration_since(self.changed).as_secs_f64();
        self.sum += self.value * passed;
        self.sum_of_squares += self.value * self.value * passed;
        self.changed = now.max(self.changed);
        self.value = value;
        self.high = self.high.max(value);
    }

    /// Average, standard deviation and high-water mark since the last call.
    pub(super) fn take(&mut self, now: Instant) -> (f64, f64, f64) {
        self.set(now, self.value);
        let seconds = now.saturating_duration_since(self.since).as_secs_f64();
        let taken = match seconds > 0.0 {
            true => {
                let average = self.sum / seconds;
                let variance = self.sum_of_squares / seconds - average * average;
                (average, variance.max(0.0).sqrt(), self.high)
            }
            false => (self.value, 0.0, self.high),
        };
        *self = Demand {
            value: self.value,
            high: self.value,
            ..Demand::new(now)
        };
        taken
    }
}

/// Demand that rises at once and sinks slowly.
pub(super) fn smooth(before: f64, average: f64, deviation: f64, high: f64) -> f64 {
    let envelope = (average + deviation).min(high);
    envelope.max(SMOOTHING * before + (1.0 - SMOOTHING) * envelope)
}

/// What one level wants, and between which bounds it may get it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    pub(super) target: f64,
    pub(super) lower: f64,
    pub(super) upper: f64,
}

/// Divides `total` seats: everybody gets the same share of its target, as far as its bounds let it.
pub(super) fn allocate(total: f64, wishes: &[Wish]) -> Vec<f64> {
    let share = |proportion: f64| {
        wishes
            .iter()
            .map(move |w| (proportion * w.target).clamp(w.lower, w.upper.max(w.lower)))
    };
    let (mut low, mut high) = (0.0f64, 1.0f64);
    let most: f64 = wishes.iter().map(|w| w.upper.max(w.lower)).sum();
    let wanted = total.min(most);
    // Targets of zero never grow with the proportion: stop where doubling changes nothing any more.
    while share(high).sum::<f64>() < wanted && high < 1e9 {
        high *= 2.0;
    }
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        match share(middle).sum::<f64>() < wanted {
            true => low = middle,
            false => high = middle,
        }
    }
    share(high).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn demand_is_weighted_by_time() {
        let start = Instant::now();
        let mut demand = Demand::new(start);
        demand.set(start + Duration::from_secs(5), 10.0);
        let (average, deviation, high) = demand.take(start + Duration::from_secs(10));
        assert!((average - 5.0).abs() < 1e-9 && (deviation - 5.0).abs() < 1e-9);
        assert!((high - 10.0).abs() < 1e-9);
        let (average, ..) = demand.take(start + Duration::from_secs(20));
        assert!((average - 10.0).abs() < 1e-9);
    }

    #[test]
    fn seats_go_where_they_are_wanted_within_bounds() {
        let wish = |target, lower, upper| Wish {
            target,
            lower,
            upper,
        };
        let wishes = [
            wish(100.0, 20.0, 600.0),
            wish(10.0, 30.0, 600.0),
            wish(1.0, 5.0, 5.0),
        ];
        let got = allocate(300.0, &wishes);
        assert!((got.iter().sum::<f64>() - 300.0).abs() < 1e-3, "{got:?}");
        assert!(got[0] > 230.0 && (got[2] - 5.0).abs() < 1e-9, "{got:?}");
        // Less than all lower bounds cannot be given.
        let got = allocate(10.0, &wishes);
        assert!((got.iter().sum::<f64>() - 55.0).abs() < 1e-3, "{got:?}");
    }
}
