//! Leases for keys with a TTL, shared as kube-apiserver shares them (contract/storage.md §1).
//!
//! A lease per key would cost etcd a heartbeat structure per Event. So a lease is granted for a
//! little longer than asked (60 s or 5 % of the TTL, whichever is less) and serves all keys
//! written within that surplus, at most a thousand. A key lives at least its TTL and at most the
//! surplus longer.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::storage::Error;

/// Keys of one lease at most.
const KEYS_PER_LEASE: usize = 1000;
/// The longest a lease is shared.
const SHARED_FOR_MAX: Duration = Duration::from_secs(60);

/// The latest lease of each TTL (in seconds).
#[derive(Default)]
pub(super) struct Leases {
    latest: Mutex<HashMap<u64, Lease>>,
}

struct Lease {
    id: i64,
    granted: Instant,
    keys: usize,
}

impl Leases {
    /// A lease under which a key lives at least `ttl`; granted when the latest can't serve.
    pub(super) async fn take<F: Future<Output = Result<i64, Error>>>(
        &self,
        ttl: Duration,
        grant: impl FnOnce(i64) -> F,
    ) -> Result<i64, Error> {
        let seconds = ttl.as_millis().div_ceil(1000).max(1);
        let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
        let shared_for = shared_for(seconds);
        if let Some(id) = self.share(seconds, shared_for) {
            return Ok(id);
        }
        // Before the call, so that the surplus is not overestimated. Two callers may both grant:
        // one lease more does no harm.
        let granted = Instant::now();
        let wanted = seconds.saturating_add(shared_for.as_secs());
        let id = grant(i64::try_from(wanted).unwrap_or(i64::MAX)).await?;
        let lease = Lease {
            id,
            granted,
            keys: 1,
        };
        self.latest.lock().insert(seconds, lease);
        Ok(id)
    }

    /// Never uses this lease again.
    pub(super) fn forget(&self, id: i64) {
        self.latest.lock().retain(|_, lease| lease.id != id);
    }

    fn share(&self, seconds: u64, shared_for: Duration) -> Option<i64> {
        let mut latest = self.latest.lock();
        let lease = latest.get_mut(&seconds)?;
        if lease.keys >= KEYS_PER_LEASE || lease.granted.elapsed() >= shared_for {
            return None;
        }
        lease.keys += 1;
        Some(lease.id)
    }
}

/// For how long a lease of this TTL takes further keys; whole seconds, as etcd's are.
fn shared_for(seconds: u64) -> Duration {
    Duration::from_secs(seconds / 20).min(SHARED_FOR_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn leases_are_shared() {
        let leases = Leases::default();
        let mut granted = Vec::new();
        for _ in 0..=KEYS_PER_LEASE {
            let next = granted.len() as i64 + 1;
            let grant = |seconds| {
                granted.push(seconds);
                std::future::ready(Ok(next))
            };
            let hour = Duration::from_secs(3600);
            leases.take(hour, grant).await.expect("granted");
        }
        assert_eq!(granted, [3660, 3660]);
    }

    #[test]
    fn surplus_is_bounded() {
        for (seconds, surplus) in [(1, 0), (15, 0), (20, 1), (600, 30), (3600, 60), (86400, 60)] {
            assert_eq!(shared_for(seconds).as_secs(), surplus, "ttl {seconds}");
        }
    }
}
