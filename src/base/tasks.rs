//! Background tasks with one way to stop them all and to wait for their end.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A group of tasks. Clones share the group.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    stop: CancellationToken,
    tracker: TaskTracker,
}

impl Tasks {
    /// An empty group.
    pub fn new() -> Self {
        Self::default()
    }

    /// A group that stops when this one does, and can be stopped and waited for alone.
    pub fn child(&self) -> Self {
        Tasks {
            stop: self.stop.child_token(),
            tracker: TaskTracker::new(),
        }
    }

    /// The token that tells tasks to stop.
    pub fn token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Runs a task that looks at the token itself and finishes what it has begun.
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tracker.spawn(task);
    }

    /// Runs a task that is dropped where it stands when the group stops.
    pub fn spawn_until_stopped<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        // A token of its own: it is asked whenever the task is polled, and asking takes its lock.
        let stop = self.stop.child_token();
        self.tracker.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Tells all tasks to stop.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until all tasks have ended, at most `limit`. Answers whether they have.
    pub async fn wait(&self, limit: Duration) -> bool {
        self.tracker.close();
        tokio::time::timeout(limit, self.tracker.wait())
            .await
            .is_ok()
    }

    /// Tasks that have not ended.
    pub fn len(&self) -> usize {
        self.tracker.len()
    }

    /// Whether every task has ended.
    pub fn is_empty(&self) -> bool {
        self.tracker.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stop_reaches_children() {
        let tasks = Tasks::new();
        let child = tasks.child();
        child.spawn_until_stopped(std::future::pending());
        let token = child.token();
        child.spawn(async move { token.cancelled().await });
        assert_eq!(child.len(), 2);
        tasks.stop();
        assert!(child.wait(Duration::from_secs(5)).await);
    }
}
