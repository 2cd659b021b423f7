//! `Watch`: what one watcher reads from. State first where asked, then changes, bookmarks between.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rand::Rng;
use tokio::time::{Instant, Sleep};

use super::hub::Hub;
use super::object::EventType;
use super::objects::Objects;
use super::read::Freshness;
use super::stats::CacherStats;
use super::watcher::{Filter, Scope, Taken, Watcher};
use super::window::EventFrame;
use crate::storage::{Error, Revision};

/// Time between bookmarks, give or take a tenth.
pub const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);
/// The last bookmark comes this long before the deadline.
pub const BOOKMARK_BEFORE_DEADLINE: Duration = Duration::from_secs(2);
/// Objects of the initial state looked at in one go.
const INITIAL_OBJECTS: usize = 256;
/// Rounds of catching up before other tasks get their turn.
const ROUNDS_PER_POLL: usize = 16;

/// What to watch.
#[derive(Clone)]
pub struct WatchQuery {
    /// Which objects.
    pub scope: Scope,
    /// Which of them; `None` for all.
    pub filter: Option<Filter>,
    /// From where on.
    pub start: WatchStart,
    /// Whether a bookmark marks the end of the initial state (`sendInitialEvents=true` with
    /// `allowWatchBookmarks=true`). Only with [`WatchStart::State`].
    pub initial_events_end: bool,
    /// Whether to send bookmarks about every minute and shortly before the deadline.
    pub bookmarks: bool,
    /// When the watch ends by itself.
    pub deadline: Option<Instant>,
}

/// Where a watch starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchStart {
    /// With the first change after this revision. Too old: [`Error::Compacted`]. In the future:
    /// silent until then.
    After(Revision),
    /// With ADDED events for everything there is in a state this fresh, then its changes.
    /// [`Freshness::Exact`] is not allowed here and means at least that revision.
    State(Freshness),
    /// With the first change after the cache's state now, without that state.
    Now,
}

/// What a watcher receives.
#[derive(Clone, Debug)]
pub enum WatchEvent {
    /// An object is new to the watcher.
    Added(Arc<EventFrame>),
    /// An object changed.
    Modified(Arc<EventFrame>),
    /// An object is gone, or no longer selected.
    Deleted(Arc<EventFrame>),
    /// Everything up to this revision has been sent.
    Bookmark {
        /// The revision; never goes backwards.
        revision: Revision,
        /// Whether it marks the end of the initial state.
        initial_events_end: bool,
    },
    /// The watch failed; nothing follows.
    Failed(Error),
}

impl WatchEvent {
    /// The shared frame of an object's event.
    pub fn frame(&self) -> Option<&Arc<EventFrame>> {
        match self {
            WatchEvent::Added(frame) | WatchEvent::Modified(frame) | WatchEvent::Deleted(frame) => {
                Some(frame)
            }
            WatchEvent::Bookmark { .. } | WatchEvent::Failed(_) => None,
        }
    }
}

impl From<Arc<EventFrame>> for WatchEvent {
    fn from(frame: Arc<EventFrame>) -> Self {
        match frame.event() {
            EventType::Added => WatchEvent::Added(frame),
            EventType::Modified => WatchEvent::Modified(frame),
            EventType::Deleted => WatchEvent::Deleted(frame),
        }
    }
}

/// The state a watch starts with, read in pieces while it is sent.
pub(super) struct Initial {
    pub(super) objects: Objects,
    /// Prefix of the keys concerned.
    pub(super) prefix: String,
    /// Where the next piece starts.
    pub(super) start: Option<String>,
    /// Whether a bookmark follows.
    pub(super) mark_end: bool,
}

/// A running watch. Dropping it ends it.
///
/// Ends (with `None`) at its deadline and when the watcher was too slow; after
/// [`WatchEvent::Failed`] likewise.
pub struct Watch {
    hub: Arc<Hub>,
    watcher: Arc<Watcher>,
    stats: Arc<CacherStats>,
    ready: VecDeque<Arc<EventFrame>>,
    initial: Option<Initial>,
    /// The initial state is sent; its bookmark is due.
    mark_end: bool,
    /// Highest revision the watcher knows to be complete.
    last: Revision,
    deadline: Option<Instant>,
    bookmark_at: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    done: bool,
}

impl Watch {
    pub(super) fn new(
        hub: Arc<Hub>,
        watcher: Arc<Watcher>,
        stats: Arc<CacherStats>,
        query: &WatchQuery,
        after: Revision,
        initial: Option<Initial>,
    ) -> Self {
        stats.watchers.add(1);
        let mut watch = Self {
            hub,
            watcher,
            stats,
            ready: VecDeque::new(),
            initial,
            mark_end: false,
            last: after,
            deadline: query.deadline,
            bookmark_at: None,
            timer: None,
            done: false,
        };
        if query.bookmarks {
            watch.schedule_bookmark(Instant::now());
        }
        watch
    }

    /// The next event; `None` when the watch is over.
    pub async fn recv(&mut self) -> Option<WatchEvent> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// An event that can be had without waiting, to fill up a write.
    pub fn try_recv(&mut self) -> Option<WatchEvent> {
        self.ready.pop_front().map(|frame| self.deliver(frame))
    }

    /// Polls for the next event.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<WatchEvent>> {
        for _ in 0..ROUNDS_PER_POLL {
            if let Some(event) = self.try_recv() {
                return Poll::Ready(Some(event));
            }
            if self.done || self.past_deadline() {
                self.done = true;
                return Poll::Ready(None);
            }
            if self.read_initial() {
                continue;
            }
            if std::mem::take(&mut self.mark_end) {
                return Poll::Ready(Some(WatchEvent::Bookmark {
                    revision: self.last,
                    initial_events_end: true,
                }));
            }
            // Read before looking into the queue: what is in it afterwards may be newer, but
            // nothing up to here is missing from it.
            let complete = self.hub.dispatched();
            match self.watcher.take(&mut self.ready, cx) {
                Taken::Frames => {}
                Taken::Behind(position) => {
                    self.hub.catch_up(&self.watcher, position, &mut self.ready);
                }
                Taken::Ended(error) => {
                    self.done = true;
                    return Poll::Ready(error.map(WatchEvent::Failed));
                }
                Taken::Empty => match self.poll_timer(cx, complete) {
                    Poll::Ready(Some(event)) => return Poll::Ready(Some(event)),
                    Poll::Ready(None) => {}
                    Poll::Pending => return Poll::Pending,
                },
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn deliver(&mut self, frame: Arc<EventFrame>) -> WatchEvent {
        if self.initial.is_none() {
            self.last = self.last.max(frame.revision());
        }
        WatchEvent::from(frame)
    }

    fn past_deadline(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Reads a piece of the initial state. False when there is none (any more).
    fn read_initial(&mut self) -> bool {
        let Some(initial) = &mut self.initial else {
            return false;
        };
        let mut next = None;
        let objects = initial
            .objects
            .range(&initial.prefix, initial.start.as_deref());
        for (looked_at, object) in objects.enumerate() {
            if looked_at == INITIAL_OBJECTS {
                next = Some(object.key().to_string());
                break;
            }
            if self.watcher.selects(object) {
                let frame = EventFrame::new(EventType::Added, object.clone());
                self.ready.push_back(Arc::new(frame));
            }
        }
        self.stats.events_dispatched.add(self.ready.len() as u64);
        if next.is_some() {
            initial.start = next;
        } else {
            self.mark_end = initial.mark_end;
            self.initial = None;
        }
        true
    }

    /// Waits for the next bookmark or the deadline. Ready without an event: look again.
    fn poll_timer(&mut self, cx: &mut Context<'_>, complete: Revision) -> Poll<Option<WatchEvent>> {
        let next = match (self.bookmark_at, self.deadline) {
            (Some(bookmark), Some(deadline)) => bookmark.min(deadline),
            (Some(at), None) | (None, Some(at)) => at,
            (None, None) => return Poll::Pending,
        };
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(next)));
        if timer.deadline() != next {
            timer.as_mut().reset(next);
        }
        std::task::ready!(timer.as_mut().poll(cx));
        let now = Instant::now();
        if self.bookmark_at.is_some_and(|at| at <= now) {
            self.schedule_bookmark(now);
            if complete >= self.last && complete > 0 {
                self.last = complete;
                return Poll::Ready(Some(WatchEvent::Bookmark {
                    revision: complete,
                    initial_events_end: false,
                }));
            }
        }
        Poll::Ready(None)
    }

    fn schedule_bookmark(&mut self, now: Instant) {
        let tenth = BOOKMARK_INTERVAL / 10;
        let jitter = rand::rng().random_range(Duration::ZERO..tenth * 2);
        let mut next = now + BOOKMARK_INTERVAL - tenth + jitter;
        let last = self
            .deadline
            .and_then(|deadline| deadline.checked_sub(BOOKMARK_BEFORE_DEADLINE));
        if let Some(last) = last
            && last > now
            && last < next
        {
            next = last;
        }
        self.bookmark_at = Some(next);
    }
}

impl futures::Stream for Watch {
    type Item = WatchEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<WatchEvent>> {
        self.poll_recv(cx)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.hub.leave(&self.watcher);
        self.stats.watchers.subtract(1);
    }
}
