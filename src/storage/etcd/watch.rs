//! One watch: a gRPC stream of its own, translated by a task of its own.

use std::time::Duration;

use bytes::Bytes;
use etcd_client::{EventType, WatchClient, WatchOptions, WatchResponse};
use tokio::sync::{mpsc, watch};

use super::errors::{Call, classify, classify_status};
use super::{closed, revision_of, signed, unsigned};
use crate::storage::{Error, Event, Failure, Revision, WatchMessage, WatchStream};

/// The progress request that ends all watches.
pub(super) const CLOSE: u64 = u64::MAX;
/// Messages waiting for the reader.
const BUFFER: usize = 256;
/// How long a full buffer is waited for. Longer, and the connection that all watches share fills.
const SLOW: Duration = Duration::from_secs(5);

/// Starts a watch; returns when etcd has confirmed it.
pub(super) async fn start(
    mut client: WatchClient,
    prefix: &str,
    after: Revision,
    progress: watch::Receiver<u64>,
    waiting: Duration,
) -> Result<WatchStream, Error> {
    let mut options = WatchOptions::new().with_prefix().with_progress_notify();
    if after != 0 {
        options = options.with_start_revision(signed(after.saturating_add(1)));
    }
    let open = async {
        let mut stream = client.watch(prefix, Some(options)).await?;
        let first = stream.message().await?;
        Ok::<_, etcd_client::Error>((stream, first))
    };
    let opened = tokio::time::timeout(waiting, open).await;
    let (stream, first) = opened
        .map_err(|_| Call::Read.timed_out())?
        .map_err(|e| classify(&e, Call::Read))?;
    let first = first.ok_or_else(ended)?;
    if first.canceled() {
        return Err(cancelled(&first));
    }
    let (sender, receiver) = mpsc::channel(BUFFER);
    let (requests, responses) = stream.split();
    let forward = Forward {
        requests,
        responses,
        sender: sender.clone(),
        progress,
    };
    tokio::spawn(async move {
        if let Err(error) = forward.run().await {
            // Waits for room: a slow reader learns why, too; a gone one ends it.
            drop(sender.send(WatchMessage::Failed(error)).await);
        }
    });
    Ok(receiver)
}

struct Forward {
    requests: etcd_client::WatchRequestSender,
    responses: etcd_client::WatchResponseStream,
    sender: mpsc::Sender<WatchMessage>,
    progress: watch::Receiver<u64>,
}

impl Forward {
    /// Runs until the reader is gone (`Ok`) or the watch failed.
    async fn run(mut self) -> Result<(), Error> {
        loop {
            tokio::select! {
                response = self.responses.message() => {
                    let response = response.map_err(|e| classify(&e, Call::Read))?;
                    let message = translate(&response.ok_or_else(ended)?)?;
                    if let Some(message) = message && !self.send(message).await? {
                        return Ok(());
                    }
                }
                asked = self.progress.changed() => {
                    if asked.is_err() || *self.progress.borrow_and_update() == CLOSE {
                        return Err(closed());
                    }
                    let requested = self.requests.request_progress().await;
                    requested.map_err(|e| classify(&e, Call::Read))?;
                }
                () = self.sender.closed() => return Ok(()),
            }
        }
    }

    /// Answers whether the reader is still there.
    async fn send(&self, message: WatchMessage) -> Result<bool, Error> {
        match self.sender.send_timeout(message, SLOW).await {
            Ok(()) => Ok(true),
            Err(mpsc::error::SendTimeoutError::Closed(_)) => Ok(false),
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => Err(Error::Unavailable {
                failure: Failure::Overloaded,
                reason: "watch was too slow".to_owned(),
            }),
        }
    }
}

fn translate(response: &WatchResponse) -> Result<Option<WatchMessage>, Error> {
    if response.canceled() {
        return Err(cancelled(response));
    }
    if response.events().is_empty() {
        let revision = revision_of(response.header());
        // The confirmation of a watch is no report: events before it may be still to come.
        return Ok((!response.created()).then_some(WatchMessage::Progress(revision)));
    }
    let events: Result<Vec<_>, _> = response.events().iter().map(event).collect();
    Ok(Some(WatchMessage::Events(events?)))
}

fn event(event: &etcd_client::Event) -> Result<Event, Error> {
    let kv = event.kv().ok_or_else(|| corrupt("an event without key"))?;
    let put = event.event_type() == EventType::Put;
    Ok(Event {
        key: text(kv.key())?,
        value: put.then(|| Bytes::copy_from_slice(kv.value())),
        revision: unsigned(kv.mod_revision()),
        created: put && kv.version() == 1,
    })
}

fn text(key: &[u8]) -> Result<String, Error> {
    let key = std::str::from_utf8(key).map_err(|_| corrupt("a key is not UTF-8"))?;
    Ok(key.to_owned())
}

fn cancelled(response: &WatchResponse) -> Error {
    match response.compact_revision() {
        0 => match classify_status(0, response.cancel_reason(), Call::Read) {
            Error::Other { reason } => Error::Unavailable {
                failure: Failure::Unreachable,
                reason,
            },
            known => known,
        },
        compacted => Error::Compacted {
            compact_revision: unsigned(compacted),
        },
    }
}

fn corrupt(reason: &str) -> Error {
    Error::Corrupt {
        reason: reason.to_owned(),
    }
}

fn ended() -> Error {
    Error::Unavailable {
        failure: Failure::Unreachable,
        reason: "etcd ended the watch".to_owned(),
    }
}
