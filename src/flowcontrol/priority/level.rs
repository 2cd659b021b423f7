//! `Level`: the seats of one priority level, who sits on them and who waits.
//!
//! A request [enters](Level::enter): it runs at once, waits in a queue, or is refused. What runs is a
//! [`Running`]; dropping it gives the seats back and lets the next ones run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::config::{LevelSpec, Mode};
use super::demand::Demand;
use super::queues::{QueueView, Queues, Waiting};
use super::seats::Seats;
use super::series::{LevelSeries, Series};

/// Share of a level's nominal seats that one request may take.
const ONE_REQUEST_SHARE: f64 = 0.15;
/// Bounds of `Retry-After`, in seconds.
const RETRY_AFTER: std::ops::RangeInclusive<u32> = 1..=32;

/// One priority level.
pub(super) struct Level {
    pub(super) name: String,
    pub(super) series: LevelSeries,
    core: Mutex<Core>,
}

/// Seats, as configuration and lending have them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) nominal: u32,
    pub(super) lower: u32,
    pub(super) upper: u32,
    pub(super) current: u32,
}

/// What became of requests.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) dispatched: u64,
    pub(super) rejected: u64,
    pub(super) timed_out: u64,
    pub(super) cancelled: u64,
}

struct Core {
    mode: Mode,
    limits: Limits,
    executing: u32,
    seats_in_use: u32,
    queues: Queues<Call>,
    advanced_at: Instant,
    demand: Demand,
    counts: Counts,
    tickets: u64,
    retry_after: u32,
    /// Requests refused in the window of `retry_after` seconds that began then.
    refused: u32,
    window_began: Instant,
    /// No longer configured: runs what it has.
    is_quiescing: bool,
}

/// How a waiting request is called, and what the debug pages tell of it.
struct Call {
    tell: oneshot::Sender<()>,
    series: Arc<Series>,
    about: Box<About>,
}

/// A waiting request, for the debug pages.
#[derive(Clone, Debug, Default)]
pub(super) struct About {
    pub(super) schema: String,
    pub(super) flow: String,
    pub(super) arrived: DateTime<Utc>,
    pub(super) seats: u32,
    pub(super) last_seats: u32,
    pub(super) extra: Duration,
    pub(super) user: String,
    pub(super) verb: String,
    pub(super) path: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) resource: String,
    pub(super) subresource: String,
}

/// Why a request may not run: the `reason` of `apiserver_flowcontrol_rejected_requests_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    QueueFull,
    ConcurrencyLimit,
    TimeOut,
}

impl Refusal {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Refusal::QueueFull => "queue-full",
            Refusal::ConcurrencyLimit => "concurrency-limit",
            Refusal::TimeOut => "time-out",
        }
    }
}

/// A request that has entered.
pub(super) enum Entered {
    /// It runs.
    Runs(Running),
    /// Its turn comes.
    Waits(Turn),
}

/// A request that runs. Gives its seats back when dropped.
pub(super) struct Running {
    level: Arc<Level>,
    series: Arc<Series>,
    queue: Option<usize>,
    seats: Seats,
    began: Instant,
    is_watch: bool,
}

/// A request that waits. Leaves the queue when dropped.
pub(super) struct Turn {
    level: Arc<Level>,
    series: Arc<Series>,
    queue: usize,
    ticket: u64,
    seats: Seats,
    is_watch: bool,
    called: Option<oneshot::Receiver<()>>,
}

/// A request at the door.
pub(super) struct Entry<'a> {
    pub(super) series: &'a Arc<Series>,
    /// Of schema and flow.
    pub(super) hash: u64,
    pub(super) seats: Seats,
    pub(super) is_watch: bool,
    /// Now.
    pub(super) at: Instant,
    /// Told only of those that wait.
    pub(super) about: &'a (dyn Fn() -> About + Sync),
}

/// Numbers of a level, for the debug pages.
pub(super) struct View {
    pub(super) is_quiescing: bool,
    pub(super) active_queues: u32,
    pub(super) waiting: u32,
    pub(super) executing: u32,
    pub(super) counts: Counts,
    pub(super) queues: Vec<(QueueView, Vec<About>)>,
}

impl Level {
    pub(super) fn new(name: &str, mode: Mode, series: LevelSeries) -> Arc<Self> {
        let now = Instant::now();
        Arc::new(Level {
            name: name.into(),
            series,
            core: Mutex::new(Core {
                mode,
                limits: Limits::default(),
                executing: 0,
                seats_in_use: 0,
                queues: Queues::new(),
                advanced_at: now,
                demand: Demand::new(now),
                counts: Counts::default(),
                tickets: 0,
                retry_after: *RETRY_AFTER.start(),
                refused: 0,
                window_began: now,
                is_quiescing: false,
            }),
        })
    }

    /// Puts a configuration in force. The current limit stays where the new bounds allow it.
    pub(super) fn configure(&self, spec: &LevelSpec, limits: Limits) {
        let mut core = self.core.lock();
        core.mode = spec.mode;
        core.is_quiescing = false;
        let current = match core.limits.current {
            0 => limits.nominal,
            current => current.clamp(limits.lower, limits.upper.max(limits.lower)),
        };
        core.limits = Limits { current, ..limits };
        if let Mode::Queue { queues, .. } = spec.mode {
            core.queues.ensure(queues);
        }
        core.dispatch();
        self.show(&core);
    }

    /// It is no longer configured.
    pub(super) fn quiesce(&self) {
        self.core.lock().is_quiescing = true;
    }

    /// Whether nobody runs or waits here.
    pub(super) fn is_idle(&self) -> bool {
        let core = self.core.lock();
        core.executing == 0 && core.queues.waiting() == 0
    }

    /// Changes the current limit, after seats were lent.
    pub(super) fn lend(&self, current: u32) {
        let mut core = self.core.lock();
        core.limits.current = current;
        core.dispatch();
        self.show(&core);
    }

    fn show(&self, core: &Core) {
        for (gauge, seats) in [
            (&self.series.nominal, core.limits.nominal),
            (&self.series.lower, core.limits.lower),
            (&self.series.upper, core.limits.upper),
            (&self.series.current, core.limits.current),
        ] {
            gauge.set(i64::from(seats));
        }
    }

    pub(super) fn limits(&self) -> Limits {
        self.core.lock().limits
    }

    pub(super) fn is_exempt(&self) -> bool {
        self.core.lock().mode == Mode::Exempt
    }

    /// The most seats that one request is charged here.
    pub(super) fn most_seats(&self) -> u32 {
        let core = self.core.lock();
        let nominal = f64::from(core.limits.nominal);
        let most = match core.mode {
            Mode::Queue { hand_size, .. } => {
                (nominal * ONE_REQUEST_SHARE).min(nominal / f64::from(hand_size))
            }
            _ => nominal * ONE_REQUEST_SHARE,
        };
        // A limit is far below u32's.
        (most as u32).max(1)
    }

    /// What was wanted since the last call: average, deviation and high-water mark of seats.
    pub(super) fn take_demand(&self) -> (f64, f64, f64) {
        let mut core = self.core.lock();
        self.series.virtual_time.set(core.queues.virtual_time());
        core.demand.take(Instant::now())
    }

    /// Seconds for `Retry-After`.
    pub(super) fn retry_after(&self) -> u32 {
        self.core.lock().retry_after
    }

    /// Lets a request in.
    pub(super) fn enter(self: &Arc<Self>, entry: &Entry<'_>) -> Result<Entered, Refusal> {
        let mut core = self.core.lock();
        core.advance(entry.at);
        let decided = core.enter(entry);
        match decided {
            Ok(Place::Seat(queue)) => {
                drop(core);
                Ok(Entered::Runs(Running::begin(self, entry, queue)))
            }
            Ok(Place::Queue(queue, ticket, called)) => {
                drop(core);
                Ok(Entered::Waits(Turn {
                    level: Arc::clone(self),
                    series: Arc::clone(entry.series),
                    queue,
                    ticket,
                    seats: entry.seats,
                    is_watch: entry.is_watch,
                    called: Some(called),
                }))
            }
            Err(refusal) => {
                core.refuse();
                Err(refusal)
            }
        }
    }

    /// Numbers for the debug pages.
    pub(super) fn view(&self) -> View {
        let core = self.core.lock();
        let queue = |(view, waiting): (QueueView, &std::collections::VecDeque<Waiting<Call>>)| {
            let about = waiting.iter().map(|w| (*w.tell.about).clone());
            (view, about.collect())
        };
        View {
            is_quiescing: core.is_quiescing,
            active_queues: core.queues.active(),
            waiting: core.queues.waiting(),
            executing: core.executing,
            counts: core.counts,
            queues: core.queues.view().map(queue).collect(),
        }
    }

    fn finish(&self, queue: Option<usize>, seats: u32, took: Duration, at: Instant) {
        let mut core = self.core.lock();
        core.advance(at);
        core.executing -= 1;
        core.seats_in_use -= seats;
        if let Some(queue) = queue {
            core.queues.finish(queue, seats, took);
        }
        core.note_demand();
        core.dispatch();
    }
}

/// Where a request goes.
enum Place {
    Seat(Option<usize>),
    Queue(usize, u64, oneshot::Receiver<()>),
}

impl Core {
    /// Time goes on to `now`. Who was first at the lock may have looked at the clock last.
    fn advance(&mut self, now: Instant) {
        let now = now.max(self.advanced_at);
        let passed = now.saturating_duration_since(self.advanced_at);
        let wanted = self.seats_in_use + self.queues.seats_waiting();
        self.queues.advance(passed, wanted, self.limits.current);
        self.advanced_at = now;
    }

    fn note_demand(&mut self) {
        let wanted = self.seats_in_use + self.queues.seats_waiting();
        self.demand.set(self.advanced_at, f64::from(wanted));
    }

    fn fits(&self, seats: u32) -> bool {
        match self.mode {
            Mode::Exempt => true,
            // What is wider than the level runs alone.
            _ if seats > self.limits.current => self.executing == 0,
            _ => self.seats_in_use + seats <= self.limits.current,
        }
    }

    fn enter(&mut self, entry: &Entry<'_>) -> Result<Place, Refusal> {
        let seats = entry.seats.most();
        let fits = self.fits(seats);
        let place = match self.mode {
            Mode::Exempt => Place::Seat(None),
            Mode::Reject if fits => Place::Seat(None),
            Mode::Reject => return Err(Refusal::ConcurrencyLimit),
            Mode::Queue {
                queues,
                hand_size,
                length_limit,
            } => {
                let queue = self.queues.choose(entry.hash, queues, hand_size);
                match self.queues.waiting() == 0 && fits {
                    true => Place::Seat(Some(queue)),
                    false if self.queues.length(queue) >= length_limit as usize => {
                        return Err(Refusal::QueueFull);
                    }
                    false => self.wait(entry, queue),
                }
            }
        };
        if let Place::Seat(queue) = place {
            self.executing += 1;
            self.seats_in_use += seats;
            self.counts.dispatched += 1;
            if let Some(queue) = queue {
                self.queues.begin(queue, seats);
            }
        }
        self.note_demand();
        Ok(place)
    }

    fn wait(&mut self, entry: &Entry<'_>, queue: usize) -> Place {
        let (tell, called) = oneshot::channel();
        self.tickets += 1;
        let seats = entry.seats.most();
        let series = Arc::clone(entry.series);
        series.waiting_requests.inc();
        series.waiting_seats.add(i64::from(seats));
        let waiting = Waiting {
            ticket: self.tickets,
            seats,
            tell: Call {
                tell,
                series,
                about: Box::new((entry.about)()),
            },
        };
        self.queues.push(queue, waiting);
        let length = self.queues.length(queue);
        entry.series.queue_length.observe(length as f64);
        let ticket = self.tickets;
        // Another queue's turn may be this one's: whoever fits begins.
        self.dispatch();
        Place::Queue(queue, ticket, called)
    }

    /// Lets requests begin for as long as the one whose turn it is fits.
    fn dispatch(&mut self) {
        if self.queues.waiting() == 0 {
            return;
        }
        while let Some((queue, head)) = self.queues.turn() {
            if !self.fits(head.seats) {
                head.tell.series.no_accommodation.inc();
                return;
            }
            let Some(request) = self.queues.take(queue) else {
                return;
            };
            let call = request.tell;
            call.series.waiting_requests.dec();
            call.series.waiting_seats.sub(i64::from(request.seats));
            self.executing += 1;
            self.seats_in_use += request.seats;
            self.counts.dispatched += 1;
            // Whoever no longer listens finds out by its ticket, and gives the seats back.
            let _ = call.tell.send(());
        }
    }

    /// Counts a refusal, and adapts `Retry-After` to how many there are.
    fn refuse(&mut self) {
        self.counts.rejected += 1;
        let now = Instant::now();
        let window = Duration::from_secs(u64::from(self.retry_after));
        if now.saturating_duration_since(self.window_began) >= window {
            if self.refused < self.retry_after {
                self.retry_after = (self.retry_after - 1).max(*RETRY_AFTER.start());
            } else if self.refused >= 3 * self.retry_after {
                self.retry_after = (self.retry_after * 2).min(*RETRY_AFTER.end());
            }
            self.refused = 0;
            self.window_began = now;
        }
        self.refused += 1;
    }
}

impl Running {
    fn begin(level: &Arc<Level>, entry: &Entry<'_>, queue: Option<usize>) -> Self {
        Running::new(
            Arc::clone(level),
            Arc::clone(entry.series),
            queue,
            entry.seats,
            entry.is_watch,
            entry.at,
        )
    }

    fn new(
        level: Arc<Level>,
        series: Arc<Series>,
        queue: Option<usize>,
        seats: Seats,
        is_watch: bool,
        began: Instant,
    ) -> Self {
        series.executing_requests.inc();
        series.executing_seats.add(i64::from(seats.most()));
        series.dispatched.inc();
        Running {
            level,
            series,
            queue,
            seats,
            began,
            is_watch,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let now = Instant::now();
        let took = now.saturating_duration_since(self.began);
        let execution = match self.is_watch {
            true => &self.series.watch_execution,
            false => &self.series.execution,
        };
        execution.observe(took.as_secs_f64());
        self.series.executing_requests.dec();
        let seats = self.seats.most();
        self.series.executing_seats.sub(i64::from(seats));
        let extra = self.seats.extra;
        if !extra.is_zero()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            // Watchers are still being told of a write: its seats stay taken for that long.
            let (level, queue) = (Arc::clone(&self.level), self.queue);
            runtime.spawn(async move {
                tokio::time::sleep(extra).await;
                level.finish(queue, seats, took + extra, Instant::now());
            });
            return;
        }
        self.level.finish(self.queue, seats, took, now);
    }
}

impl Turn {
    /// Waits for the turn, `most` at the longest.
    pub(super) async fn come(mut self, most: Duration) -> Result<Running, Refusal> {
        let Some(called) = self.called.take() else {
            return Err(Refusal::TimeOut);
        };
        // A sender is dropped only with the level itself, after this.
        let _ = tokio::time::timeout(most, called).await;
        match self.leave() {
            Left::Queue => {
                self.level.core.lock().counts.timed_out += 1;
                Err(Refusal::TimeOut)
            }
            Left::Called => Ok(Running::new(
                Arc::clone(&self.level),
                Arc::clone(&self.series),
                Some(self.queue),
                self.seats,
                self.is_watch,
                Instant::now(),
            )),
        }
    }

    /// Leaves the queue, if it is still there.
    fn leave(&mut self) -> Left {
        self.called = None;
        let ticket = std::mem::take(&mut self.ticket);
        let mut core = self.level.core.lock();
        core.advance(Instant::now());
        if !core.queues.remove(self.queue, ticket) {
            return Left::Called;
        }
        core.note_demand();
        core.dispatch();
        self.series.waiting_requests.dec();
        let seats = i64::from(self.seats.most());
        self.series.waiting_seats.sub(seats);
        Left::Queue
    }
}

/// Where a request was when it stopped waiting.
enum Left {
    /// Still in the queue.
    Queue,
    /// It had been given its seats.
    Called,
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Tickets count from one; zero has been handed in.
        if self.ticket == 0 {
            return;
        }
        match self.leave() {
            Left::Queue => {
                self.series.reject("cancelled");
                self.level.core.lock().counts.cancelled += 1;
            }
            Left::Called => {
                let seats = self.seats.most();
                let level = &self.level;
                level.finish(Some(self.queue), seats, Duration::ZERO, Instant::now());
            }
        }
    }
}
