//! Exponential backoff with jitter.

use std::time::Duration;

/// Delays between attempts. Each is the one before times `factor`, up to `max`, plus up to
/// `jitter` of itself.
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Duration,
    initial: Duration,
    max: Duration,
    factor: f64,
    jitter: f64,
}

impl Backoff {
    /// Doubles from `initial` to `max`, with a fifth of jitter.
    pub fn new(initial: Duration, max: Duration) -> Self {
        Self::with(initial, max, 2.0, 0.2)
    }

    /// With its own factor and jitter (0 for none).
    pub fn with(initial: Duration, max: Duration, factor: f64, jitter: f64) -> Self {
        Backoff {
            next: initial,
            initial,
            max,
            factor,
            jitter,
        }
    }

    /// The delay before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        let delay = self.next;
        self.next = delay.mul_f64(self.factor).min(self.max);
        delay.mul_f64(1.0 + self.jitter * rand::random::<f64>())
    }

    /// After a success.
    pub fn reset(&mut self) {
        self.next = self.initial;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_the_limit_and_starts_again() {
        let mut backoff = Backoff::with(
            Duration::from_millis(10),
            Duration::from_millis(35),
            2.0,
            0.0,
        );
        let delays: Vec<u128> = (0..4).map(|_| backoff.next_delay().as_millis()).collect();
        assert_eq!(delays, [10, 20, 35, 35]);
        backoff.reset();
        assert_eq!(backoff.next_delay().as_millis(), 10);
    }
}
