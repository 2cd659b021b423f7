//! `InUse`: whether somebody uses a connection, so that one that nobody uses can be closed.
//!
//! hyper's header timeout would do that for HTTP/1.1, with a timer for every request. For HTTP/2 nothing
//! does: a client that never begins to speak, or asks for nothing more and answers pings, would stay
//! for ever.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Counts what is open on a connection.
pub(super) struct InUse {
    state: Mutex<State>,
    closed: Notify,
}

struct State {
    /// Requests that are not answered to the end.
    open: usize,
    /// Since when there are no more.
    since: Instant,
}

/// One request on its way, until it is dropped.
pub(super) struct Open(Arc<InUse>);

/// The body of an answer; the request is open until it is dropped.
pub(super) struct Answer<B> {
    body: B,
    _open: Open,
}

impl InUse {
    /// Nothing is open.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(InUse {
            state: Mutex::new(State {
                open: 0,
                since: Instant::now(),
            }),
            closed: Notify::new(),
        })
    }

    /// A request comes in.
    pub(super) fn open(self: &Arc<Self>) -> Open {
        self.state.lock().open += 1;
        Open(self.clone())
    }

    /// Ends when nothing has been open for so long.
    pub(super) async fn unused_for(&self, limit: Duration) {
        loop {
            let due = {
                let state = self.state.lock();
                (state.open == 0).then(|| state.since + limit)
            };
            match due {
                None => self.closed.notified().await,
                Some(due) if Instant::now() >= due => return,
                Some(due) => tokio::time::sleep_until(due).await,
            }
        }
    }
}

impl Open {
    /// Stays open until the body is sent.
    pub(super) fn with<B>(self, body: B) -> Answer<B> {
        Answer { body, _open: self }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.open -= 1;
        state.since = Instant::now();
        drop(state);
        self.0.closed.notify_one();
    }
}

impl<B: Body + Unpin> Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_is_unused_once_its_last_answer_is_gone() {
        const LIMIT: Duration = Duration::from_millis(20);
        let in_use = InUse::new();
        let open = in_use.open();
        let answer = in_use
            .open()
            .with(http_body_util::Empty::<bytes::Bytes>::new());
        drop(open);
        let waited = tokio::time::timeout(LIMIT * 10, in_use.unused_for(LIMIT)).await;
        assert!(waited.is_err(), "an answer is still under way");
        let began = Instant::now();
        drop(answer);
        in_use.unused_for(LIMIT).await;
        assert!(began.elapsed() >= LIMIT);
    }
}
