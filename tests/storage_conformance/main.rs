//! Every storage backend against every clause of the `Storage` documentation.

mod cached;
mod checks;
#[path = "../common/mod.rs"]
mod common;
mod embedded;
mod etcd;

use std::sync::Arc;

use checks::Subject;
use verbatim::storage::Storage;

/// Runs all checks; panics naming those that failed.
async fn check_all(store: Arc<dyn Storage>) {
    let subject = |name: &str| Subject {
        store: store.clone(),
        prefix: format!("/registry/{name}/"),
    };
    let running: Vec<_> = checks::side_by_side()
        .into_iter()
        .map(|(name, check)| (name, tokio::spawn(check(subject(name)))))
        .collect();
    let mut failed = Vec::new();
    for (name, task) in running {
        if task.await.is_err() {
            failed.push(name);
        }
    }
    for (name, check) in checks::alone() {
        if tokio::spawn(check(subject(name))).await.is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
}
