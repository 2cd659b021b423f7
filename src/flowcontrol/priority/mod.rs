//! Priority and fairness: requests are classified by FlowSchemas into priority levels, each with
//! seats of its own; flows of one level wait their turn in queues (contract/flow_control.md).
//!
//! [`PriorityAndFairness`] follows the objects and answers `filters::flow_control`. What it owns:
//! [`config`] (whose request is it), [`seats`] (how much is it), [`level`] and [`queues`] (does it run
//! now), [`demand`] (lending between levels), [`dump`] (the debug pages).
//!
//! # Invariants
//! - Classification takes no lock: it reads one snapshot. Only a level's own short lock is taken, and
//!   never while waiting.
//! - Every wait is bounded: in number by the queues' length, in time by the deadline and by a
//!   quarter of `--request-timeout`.
//! - A level that is no longer configured runs what it has.

mod config;
mod demand;
mod dump;
mod level;
mod queues;
mod seats;
mod series;

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use foldhash::quality::RandomState;
use http::{HeaderMap, HeaderName, HeaderValue};
use parking_lot::Mutex;

use self::config::{LevelSpec, Schema};
use self::demand::Wish;
use self::level::{About, Entered, Entry, Level, Limits, Refusal, Running};
use self::seats::Seats;
use self::series::{LevelSeries, Series};
use super::{
    Admission, Dump, FlowControl, FlowHeaders, MaxInFlight, Permit, Rejected, is_read_only,
    max_in_flight,
};
use crate::api::names::GroupResource;
use crate::api::objects::{Change, Objects};
use crate::base::tree::Value;
use crate::request::{Held, RequestContext, UserInfo};
use crate::telemetry::Metrics;

pub use self::seats::{Load, ResourceLoad};

const GROUP: &str = "flowcontrol.apiserver.k8s.io";
const SCHEMA_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-flowschema-uid");
const LEVEL_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid");
/// Seconds between two rounds of lending.
const LENDING_PERIOD: u64 = 10;
/// A request waits no longer than this part of `--request-timeout`.
const WAIT_PART: u32 = 4;

/// What the server knows of its resources now.
pub type LoadSource = Box<dyn Fn() -> Load + Send + Sync>;

/// Priority and fairness.
pub struct PriorityAndFairness {
    /// Seats of the whole server.
    seats: u32,
    wait_max: Duration,
    metrics: Arc<Metrics>,
    config: ArcSwap<Config>,
    known: Mutex<Known>,
    load: ArcSwap<Load>,
    load_source: LoadSource,
    in_flight: MaxInFlight,
    ticks: AtomicU64,
    /// Deals flows their queues, in a way that no client can foresee.
    hasher: RandomState,
}

/// A snapshot that requests are classified by.
struct Config {
    schemas: Vec<Arc<Classified>>,
    levels: BTreeMap<String, Arc<Level>>,
}

/// A schema and what goes with it, ready for use.
struct Classified {
    schema: Schema,
    level: Arc<Level>,
    series: Arc<Series>,
    headers: FlowHeaders,
    /// For the record.
    in_words: String,
}

/// The objects as last heard, by name, and what lending remembers.
#[derive(Default)]
struct Known {
    schemas: Followed,
    levels: Followed,
    smoothed: BTreeMap<String, f64>,
}

/// Objects of one resource.
#[derive(Default)]
struct Followed {
    objects: BTreeMap<String, Value>,
    /// What was delivered since a reset: what is known stays in force until the full set is there.
    fresh: Option<BTreeMap<String, Value>>,
    is_synced: bool,
}

impl Followed {
    /// Answers whether what is in force changed.
    fn apply(&mut self, change: Change) -> bool {
        let name = |object: &Value| object["metadata"]["name"].as_str().map(str::to_string);
        match change {
            Change::Upsert(object) => {
                let Some(name) = name(&object) else {
                    return false;
                };
                if let Some(fresh) = &mut self.fresh {
                    fresh.insert(name.clone(), (*object).clone());
                }
                self.objects.insert(name, (*object).clone());
                self.is_synced
            }
            Change::Delete(object) => {
                let gone = name(&object).and_then(|name| self.objects.remove(&name));
                gone.is_some() && self.is_synced
            }
            Change::Reset => {
                self.fresh = Some(BTreeMap::new());
                false
            }
            Change::Synced => {
                if let Some(fresh) = self.fresh.take() {
                    self.objects = fresh;
                }
                self.is_synced = true;
                true
            }
        }
    }
}

/// Which of the two resources.
#[derive(Clone, Copy)]
enum Feed {
    Schemas,
    Levels,
}

/// A request that runs: its seats, its place in the counts, and whose headers it gets.
struct Runs {
    _running: Running,
    _counted: Option<max_in_flight::Held>,
    found: Arc<Classified>,
}

impl Held for Runs {
    fn mark(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.found.headers {
            headers.insert(name.clone(), value.clone());
        }
    }
}

impl Classified {
    fn seats(&self, ctx: &RequestContext, load: &ArcSwap<Load>) -> Seats {
        // Most requests take one seat of any level.
        let seats = match Seats::is_one(ctx) || self.level.is_exempt() {
            true => Seats::ONE,
            false => Seats::of(ctx, &load.load(), self.level.most_seats()),
        };
        let estimated = f64::from(seats.most());
        self.series.estimated_seats.observe(estimated);
        seats
    }
}

impl PriorityAndFairness {
    /// `seats` is `--max-requests-inflight` and `--max-mutating-requests-inflight` together. Until
    /// objects are followed only the mandatory schemas and levels are in force.
    pub fn new(
        seats: u32,
        request_timeout: Duration,
        load_source: LoadSource,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let control = PriorityAndFairness {
            seats: seats.max(1),
            wait_max: request_timeout / WAIT_PART,
            config: ArcSwap::from_pointee(Config {
                schemas: Vec::new(),
                levels: BTreeMap::new(),
            }),
            known: Mutex::default(),
            load: ArcSwap::default(),
            load_source,
            in_flight: MaxInFlight::new(0, 0, &metrics),
            ticks: AtomicU64::new(0),
            hasher: RandomState::default(),
            metrics,
        };
        control.configure(&control.known.lock());
        Arc::new(control)
    }

    /// Follows schemas and levels for as long as the server runs.
    pub fn follow(self: &Arc<Self>, objects: &dyn Objects) {
        for (feed, resource) in [
            (Feed::Schemas, "flowschemas"),
            (Feed::Levels, "prioritylevelconfigurations"),
        ] {
            let mut changes = objects.informer(&GroupResource::new(GROUP, resource));
            let control = Arc::clone(self);
            tokio::spawn(async move {
                while let Some(change) = changes.recv().await {
                    control.apply(feed, change);
                }
            });
        }
    }

    fn apply(&self, feed: Feed, change: Change) {
        let mut known = self.known.lock();
        let followed = match feed {
            Feed::Schemas => &mut known.schemas,
            Feed::Levels => &mut known.levels,
        };
        if followed.apply(change) {
            self.configure(&known);
        }
    }

    /// Puts the known objects in force. Callers hold the lock on them.
    fn configure(&self, known: &Known) {
        let specs = config::levels(&known.levels.objects);
        let before = self.config.load();
        let shares: u32 = specs.values().map(|spec| spec.shares).sum();
        let mut levels = BTreeMap::new();
        for (name, spec) in &specs {
            let level = before.levels.get(name).cloned().unwrap_or_else(|| {
                Level::new(name, spec.mode, LevelSeries::new(&self.metrics, name))
            });
            level.configure(spec, limits(spec, self.seats, shares));
            levels.insert(name.clone(), level);
        }
        for (name, level) in &before.levels {
            if !levels.contains_key(name) {
                level.quiesce();
                if !level.is_idle() {
                    // Still shown, until the next change finds it idle.
                    levels.insert(name.clone(), level.clone());
                }
            }
        }
        let schemas = config::schemas(&known.schemas.objects, &specs);
        let classified = schemas.into_iter().filter_map(|schema| {
            let level = levels.get(&schema.level)?.clone();
            Some(Arc::new(self.classified(schema, level, &specs)))
        });
        let schemas = classified.collect();
        self.config.store(Arc::new(Config { schemas, levels }));
    }

    fn classified(
        &self,
        schema: Schema,
        level: Arc<Level>,
        specs: &BTreeMap<String, LevelSpec>,
    ) -> Classified {
        let level_uid = specs.get(&schema.level).map_or("", |spec| &spec.uid);
        let headers = [(SCHEMA_UID, schema.uid.as_str()), (LEVEL_UID, level_uid)];
        let headers = headers.into_iter().filter(|(_, uid)| !uid.is_empty());
        Classified {
            series: Arc::new(Series::new(&self.metrics, &schema.name, &schema.level)),
            headers: headers
                .filter_map(|(name, uid)| Some((name, HeaderValue::from_str(uid).ok()?)))
                .collect(),
            in_words: format!("schema {:?}, level {:?}", schema.name, schema.level),
            schema,
            level,
        }
    }

    /// Lends seats of levels that do not need them to levels that do.
    fn lend(&self) {
        let config = self.config.load_full();
        let mut known = self.known.lock();
        let levels: Vec<&Arc<Level>> = config.levels.values().collect();
        let wish = |level: &&Arc<Level>| {
            let (average, deviation, high) = level.take_demand();
            let before = known.smoothed.get(&level.name).copied().unwrap_or(0.0);
            let smoothed = demand::smooth(before, average, deviation, high);
            known.smoothed.insert(level.name.clone(), smoothed);
            level.series.demand_average.set(average);
            level.series.demand_deviation.set(deviation);
            level.series.demand_high.set(high);
            level.series.demand_smoothed.set(smoothed);
            let Limits {
                nominal,
                lower,
                upper,
                ..
            } = level.limits();
            // What was used stays, as far as it is the level's own.
            let lower = high.min(f64::from(nominal)).max(f64::from(lower));
            let target = smoothed.max(lower);
            level.series.target.set(target.round() as i64);
            Wish {
                target,
                lower,
                upper: f64::from(upper),
            }
        };
        let wishes: Vec<Wish> = levels.iter().map(wish).collect();
        drop(known);
        let current = demand::allocate(f64::from(self.seats), &wishes);
        for (level, seats) in levels.iter().zip(current) {
            level.lend(seats.round() as u32);
        }
    }

    fn permit(
        &self,
        found: &Arc<Classified>,
        running: Running,
        is_read_only: bool,
        waited: Duration,
    ) -> Permit {
        let seconds = waited.as_secs_f64();
        found.series.waited_and_ran.observe(seconds);
        Permit {
            flow: found.in_words.clone().into(),
            held: Some(Box::new(Runs {
                _running: running,
                _counted: self.in_flight.count(is_read_only),
                found: Arc::clone(found),
            })),
        }
    }

    fn rejected(&self, found: &Classified, refusal: Refusal) -> Rejected {
        found.series.reject(refusal.as_str());
        let limits = found.level.limits();
        let view = found.level.view();
        Rejected {
            retry_after_seconds: found.level.retry_after(),
            reason: refusal.as_str(),
            flow: format!(
                "{}: {} executing on {} seats, {} waiting",
                found.in_words, view.executing, limits.current, view.waiting
            ),
            headers: found.headers.clone(),
        }
    }
}

/// Nominal seats by shares, and how far lending may move them.
fn limits(spec: &LevelSpec, seats: u32, shares: u32) -> Limits {
    let part = f64::from(spec.shares) / f64::from(shares.max(1));
    let nominal = (f64::from(seats) * part).ceil();
    let percent = |percent: u32| (nominal * f64::from(percent) / 100.0).round();
    let lower = nominal - percent(spec.lendable_percent);
    let upper = match spec.borrowing_percent {
        Some(borrowing) => nominal + percent(borrowing),
        None => f64::from(seats),
    };
    // All are between zero and a few times the server's seats.
    Limits {
        nominal: nominal as u32,
        lower: lower.max(0.0) as u32,
        upper: upper as u32,
        current: 0,
    }
}

impl FlowControl for PriorityAndFairness {
    fn enter(&self, ctx: &RequestContext) -> Admission<'_> {
        let info = &ctx.info;
        let is_watch = info.verb == "watch";
        if info.is_long_running() && !is_watch {
            return Admission::Now(Ok(Permit::free()));
        }
        let anonymous;
        let user = match ctx.user.as_deref() {
            Some(user) => user,
            None => {
                anonymous = UserInfo::anonymous();
                &anonymous
            }
        };
        let config = self.config.load();
        let mut schemas = config.schemas.iter();
        let Some(found) = schemas.find(|c| c.schema.matches(info, user)) else {
            // The mandatory catch-all takes all who have a group; others run free, as few as they are.
            return Admission::Now(Ok(Permit::free()));
        };
        let seats = found.seats(ctx, &self.load);
        let flow = found.schema.flow(info, user);
        let about = || about(ctx, user, found, flow, seats);
        let entry = Entry {
            series: &found.series,
            hash: self.hasher.hash_one((&found.schema.name, flow)),
            seats,
            is_watch,
            at: Instant::now(),
            about: &about,
        };
        let is_read_only = is_read_only(ctx);
        match found.level.enter(&entry) {
            Ok(Entered::Runs(running)) => Admission::Now(Ok(self.permit(
                found,
                running,
                is_read_only,
                Duration::ZERO,
            ))),
            Ok(Entered::Waits(turn)) => {
                let (found, arrived) = (Arc::clone(found), entry.at);
                let left = ctx.deadline.map(|d| d.saturating_duration_since(arrived));
                let most = left.map_or(self.wait_max, |left| left.min(self.wait_max));
                Admission::Later(Box::pin(async move {
                    let came = turn.come(most).await;
                    let waited = arrived.elapsed();
                    match came {
                        Ok(running) => Ok(self.permit(&found, running, is_read_only, waited)),
                        Err(refusal) => {
                            let seconds = waited.as_secs_f64();
                            found.series.waited_in_vain.observe(seconds);
                            Err(self.rejected(&found, refusal))
                        }
                    }
                }))
            }
            Err(refusal) => Admission::Now(Err(self.rejected(found, refusal))),
        }
    }

    fn tick(&self) {
        self.in_flight.tick();
        self.load.store(Arc::new((self.load_source)()));
        let ticks = self.ticks.fetch_add(1, Ordering::Relaxed) + 1;
        if ticks.is_multiple_of(LENDING_PERIOD) {
            self.lend();
        }
    }

    fn dump(&self, page: Dump) -> Option<String> {
        let levels = &self.config.load().levels;
        Some(dump::render(levels.values().map(|level| &**level), page))
    }
}

fn about(
    ctx: &RequestContext,
    user: &UserInfo,
    found: &Classified,
    flow: &str,
    seats: Seats,
) -> About {
    let info = &ctx.info;
    About {
        schema: found.schema.name.clone(),
        flow: flow.into(),
        arrived: chrono::Utc::now(),
        seats: seats.initial,
        last_seats: seats.last,
        extra: seats.extra,
        user: user.username.clone(),
        verb: info.verb.clone(),
        path: info.path.clone(),
        namespace: info.namespace.clone(),
        name: info.name.clone(),
        version: info.version.clone(),
        resource: info.resource.clone(),
        subresource: info.subresource.clone(),
    }
}

#[cfg(test)]
mod tests;
