//! Which etcd can be trusted about progress.
//!
//! A watch that asks for progress on its stream is answered with the store's revision. Before
//! 3.4.31 and in 3.5.0 to 3.5.12 that answer can overtake events still waiting for a watch that
//! has not caught up (etcd issues 15220 and 17507), so it proves nothing and is not asked for.
//! Periodic reports are made only to watches that have caught up and are true in every version.
//!
//! The question is decided for all endpoints together, because a stream may be on any of them: one
//! old or silent endpoint denies trust until it answers otherwise.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::join_all;
use parking_lot::Mutex;

use super::connect::Connections;

/// See the module.
pub(super) struct Trust {
    given: AtomicBool,
    /// The last known version of each endpoint.
    versions: Mutex<Vec<Option<String>>>,
}

impl Trust {
    pub(super) fn new(endpoints: usize) -> Self {
        Self {
            given: AtomicBool::new(false),
            versions: Mutex::new(vec![None; endpoints]),
        }
    }

    pub(super) fn is_given(&self) -> bool {
        self.given.load(Ordering::Relaxed)
    }

    /// Asks every endpoint; answers version and size of the first that answers.
    pub(super) async fn learn(
        &self,
        connections: &Connections,
        waiting: Duration,
    ) -> Option<(String, u64)> {
        let ask = connections.members().map(|mut member| async move {
            let status = tokio::time::timeout(waiting, member.status()).await;
            let status = status.ok()?.ok()?;
            let size_bytes = u64::try_from(status.db_size()).unwrap_or(0);
            Some((status.version().to_owned(), size_bytes))
        });
        let answers = join_all(ask).await;
        let mut versions = self.versions.lock();
        for (version, answer) in versions.iter_mut().zip(&answers) {
            if let Some((answered, _)) = answer {
                *version = Some(answered.clone());
            }
        }
        let all = versions
            .iter()
            .all(|version| version.as_deref().is_some_and(is_trustworthy));
        self.given.store(all, Ordering::Relaxed);
        answers.into_iter().flatten().next()
    }
}

fn is_trustworthy(version: &str) -> bool {
    // A release candidate may lack the repair of its release.
    let mut parts = version.split('.').map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch)), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    match (major, minor) {
        (3, 4) => patch >= 31,
        (3, 5) => patch >= 13,
        other => other >= (3, 6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_versions_are_not_trusted() {
        for (version, trusted) in [
            ("3.3.27", false),
            ("3.4.23", false),
            ("3.4.30", false),
            ("3.4.31", true),
            ("3.5.1", false),
            ("3.5.12", false),
            ("3.5.13", true),
            ("3.6.0", true),
            ("3.6.0-rc.1", false),
            ("4.0.0", true),
            ("", false),
        ] {
            assert_eq!(is_trustworthy(version), trusted, "{version}");
        }
    }
}
