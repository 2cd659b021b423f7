//! A token bucket that spaces out batches.

use std::time::Duration;

use tokio::time::Instant;

/// Least rate, so that a rate of zero does not wait forever.
const PER_SECOND_MIN: f32 = 0.001;

/// The bucket.
#[derive(Debug)]
pub(super) struct Throttle {
    per_second: f32,
    burst: f32,
    tokens: f32,
    at: Instant,
}

impl Throttle {
    /// `burst` batches at once, then `per_second`.
    pub(super) fn new((per_second, burst): (f32, u32)) -> Self {
        let burst = f32::from(u16::try_from(burst).unwrap_or(u16::MAX)).max(1.0);
        Throttle {
            per_second: per_second.max(PER_SECOND_MIN),
            burst,
            tokens: burst,
            at: Instant::now(),
        }
    }

    /// Waits for a token.
    pub(super) async fn take(&mut self) {
        let now = Instant::now();
        self.tokens += now.duration_since(self.at).as_secs_f32() * self.per_second;
        self.tokens = self.tokens.min(self.burst) - 1.0;
        self.at = now;
        if self.tokens < 0.0 {
            tokio::time::sleep(Duration::from_secs_f32(-self.tokens / self.per_second)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bursts_and_then_the_rate() {
        let mut throttle = Throttle::new((100.0, 15));
        let began = Instant::now();
        for _ in 0..25 {
            throttle.take().await;
        }
        // Fifteen at once and ten at their rate; a slow machine takes longer.
        assert!(
            began.elapsed() >= Duration::from_millis(95),
            "{:?}",
            began.elapsed()
        );
    }
}
