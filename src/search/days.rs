//! `Days`: all partitions of one index, and what is added to them.
//!
//! Owned by whoever writes: the indexer thread of a server, or an import. A lock file in the root
//! keeps others out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime};

use chrono::{NaiveDate, Utc};
use parking_lot::RwLock;
use tantivy::Searcher;

use crate::search::document::{self, Prepared};
use crate::search::fields::Fields;
use crate::search::follower::{Order, Position};
use crate::search::index::IndexOptions;
use crate::search::metrics::Metrics;
use crate::search::partition::{self, Partition, Positions, Span, WriterSize};

/// Days that may have a writer open at once.
const OPEN_WRITERS_MAX: usize = 3;
/// Events later than this from now are wrong: each could make a partition.
const FUTURE_MAX_HOURS: i64 = 25;
/// How long an opener waits for the one who has the index.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// How long partitions that were set aside are kept for whoever wants to look.
const SET_ASIDE_KEPT: Duration = Duration::from_secs(7 * 86_400);

/// What searches look at.
#[derive(Debug)]
pub struct Shared {
    /// Committed views by day.
    pub searchers: RwLock<BTreeMap<NaiveDate, Searcher>>,
    /// Days that are built anew from the log: events may be missing in them.
    pub rebuilding: RwLock<BTreeSet<NaiveDate>>,
    /// The indexer could not read or write all that it was asked to: the newest events may be missing.
    pub is_behind: AtomicBool,
    /// Counters.
    pub metrics: Metrics,
}

impl Shared {
    /// Nothing yet.
    pub fn new(metrics: Metrics) -> Self {
        Shared {
            searchers: RwLock::default(),
            rebuilding: RwLock::default(),
            is_behind: AtomicBool::new(false),
            metrics,
        }
    }
}

/// Where a line stands in a log.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Name of the source.
    pub source: &'a str,
    /// Position behind the line.
    pub position: &'a Position,
}

/// What became of a line.
#[derive(Debug)]
pub enum Taken {
    /// It will be found after the next commit.
    Added,
    /// It is there already.
    Duplicate,
    /// It is older than what is kept.
    Old,
    /// It is no event.
    Bad(document::Error),
    /// It is of a time that has not come yet.
    Future,
}

/// Whether an index takes events of a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InTime {
    /// It does.
    Yes,
    /// They are older than what it keeps.
    TooOld,
    /// The day has not come yet.
    Future,
}

/// Whether events of a day are kept, given how many days are (zero for all).
pub fn place_in_time(day: NaiveDate, max_age_days: u64) -> InTime {
    let now = Utc::now();
    if day > (now + chrono::Duration::hours(FUTURE_MAX_HOURS)).date_naive() {
        return InTime::Future;
    }
    let age = u64::try_from((now.date_naive() - day).num_days()).unwrap_or_default();
    match max_age_days > 0 && age > max_age_days {
        true => InTime::TooOld,
        false => InTime::Yes,
    }
}

/// All days of one index.
pub struct Days {
    root: PathBuf,
    fields: Arc<Fields>,
    shared: Arc<Shared>,
    options: IndexOptions,
    partitions: BTreeMap<NaiveDate, Partition>,
    /// Up to where the logs were added.
    positions: Positions,
    /// Up to where they were committed.
    committed: Positions,
    orders: BTreeMap<String, Order>,
    uncommitted: u64,
    _lock: File,
}

impl Days {
    /// Opens all partitions. One that cannot be opened is set aside.
    pub fn open(
        root: &Path,
        fields: Arc<Fields>,
        shared: Arc<Shared>,
        options: IndexOptions,
    ) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        let lock = lock(root)?;
        let positions = read_checkpoint(root, &shared.metrics);
        let mut days = Days {
            root: root.into(),
            fields,
            shared,
            options,
            partitions: BTreeMap::new(),
            committed: positions.clone(),
            positions,
            orders: BTreeMap::new(),
            uncommitted: 0,
            _lock: lock,
        };
        for day in partition::days(root)? {
            Partition::finish_replacing(root, day)?;
            match Partition::open(root, day, &days.fields) {
                Ok(partition) => days.publish(partition),
                Err(error) => {
                    tracing::error!(%day, %error, "the index of a day cannot be opened");
                    days.set_aside(day).map_err(io::Error::other)?;
                }
            }
        }
        Ok(days)
    }

    /// Prepares a line.
    pub fn prepare(&self, line: &[u8]) -> Result<Prepared, document::Error> {
        document::prepare(&self.fields, line)
    }

    /// Up to where a log is committed.
    pub fn committed(&self, source: &str) -> Position {
        self.committed.get(source).cloned().unwrap_or_default()
    }

    /// Makes a log's order known, for comparing positions.
    pub fn set_order(&mut self, source: &str, order: Order) {
        self.orders.insert(source.into(), order);
    }

    /// A number pair that orders positions of one log.
    pub fn rank(&self, source: &str, position: &Position) -> (usize, u64) {
        let order = self.orders.get(source);
        order.map_or((0, 0), |order| order.rank(position))
    }

    /// Events added since the last commit.
    pub fn uncommitted(&self) -> u64 {
        self.uncommitted
    }

    /// Takes a line of a log: skips what its day has already by its position, and, where the log may
    /// repeat events, by the event itself.
    pub fn take(
        &mut self,
        line: &[u8],
        place: Place<'_>,
        may_repeat: bool,
    ) -> tantivy::Result<Taken> {
        if let Some(order) = self.orders.get_mut(place.source) {
            order.note(&place.position.file);
        }
        let taken = match self.prepare(line) {
            Ok(prepared) => self.take_prepared(prepared, Some(place), may_repeat)?,
            Err(error) => Taken::Bad(error),
        };
        match self.positions.get_mut(place.source) {
            Some(position) => position.clone_from(place.position),
            None => drop(
                self.positions
                    .insert(place.source.into(), place.position.clone()),
            ),
        }
        Ok(taken)
    }

    /// Takes an event that is in no log.
    pub fn take_loose(&mut self, prepared: Prepared) -> tantivy::Result<Taken> {
        self.take_prepared(prepared, None, true)
    }

    fn take_prepared(
        &mut self,
        prepared: Prepared,
        place: Option<Place<'_>>,
        may_repeat: bool,
    ) -> tantivy::Result<Taken> {
        if let Some(out) = self.out_of_time(prepared.day) {
            return Ok(out);
        }
        self.make_room(prepared.day)?;
        if let Some(place) = place
            && let Some(partition) = self.partitions.get(&prepared.day)
            && let Some(done) = partition.positions.get(place.source)
            && self.rank(place.source, place.position) <= self.rank(place.source, done)
        {
            // Committed before the crash, but the checkpoint behind it was not.
            return Ok(Taken::Duplicate);
        }
        self.add(prepared, may_repeat)
    }

    /// Takes a line again for a day that is built anew. Answers whether it was added.
    pub fn take_again(&mut self, day: NaiveDate, line: &[u8]) -> tantivy::Result<bool> {
        // Cheaper than reading an event of another day.
        if memchr::memmem::find(line, day.to_string().as_bytes()).is_none() {
            return Ok(false);
        }
        match self.prepare(line) {
            Ok(prepared) if prepared.day == day => {
                self.make_room(day)?;
                Ok(matches!(self.add(prepared, true)?, Taken::Added))
            }
            _ => Ok(false),
        }
    }

    fn add(&mut self, prepared: Prepared, may_repeat: bool) -> tantivy::Result<Taken> {
        let day = prepared.day;
        let Some(partition) = self.partitions.get_mut(&day) else {
            return Ok(Taken::Old);
        };
        if may_repeat && partition.contains(&prepared, &self.fields)? {
            self.shared.metrics.duplicates.inc();
            return Ok(Taken::Duplicate);
        }
        let size = WriterSize {
            threads: self.options.writer_threads,
            bytes: self.options.writer_bytes,
        };
        partition.add(prepared, &self.fields, size)?;
        self.uncommitted += 1;
        self.shared.metrics.indexed.inc();
        Ok(Taken::Added)
    }

    fn out_of_time(&self, day: NaiveDate) -> Option<Taken> {
        match place_in_time(day, self.options.max_age_days) {
            InTime::Yes => None,
            InTime::TooOld => Some(Taken::Old),
            InTime::Future => Some(Taken::Future),
        }
    }

    /// Opens the day's partition where missing, and sees to it that few writers are open.
    fn make_room(&mut self, day: NaiveDate) -> tantivy::Result<()> {
        if !self.partitions.contains_key(&day) {
            let partition = Partition::open(&self.root, day, &self.fields)?;
            self.publish(partition);
        }
        if self.partitions[&day].is_writing() {
            return Ok(());
        }
        let open = self.partitions.values().filter(|p| p.is_writing()).count();
        if open >= OPEN_WRITERS_MAX {
            self.commit()?;
            self.partitions
                .values_mut()
                .for_each(Partition::close_writer);
        }
        Ok(())
    }

    /// Makes everything that was taken durable and searchable.
    pub fn commit(&mut self) -> tantivy::Result<()> {
        if self.uncommitted == 0 && self.positions == self.committed {
            return Ok(());
        }
        let days: Vec<NaiveDate> = self
            .partitions
            .values()
            .filter(|p| p.is_pending())
            .map(|p| p.day)
            .collect();
        for day in days {
            let positions = self.positions_for(&self.partitions[&day]);
            if let Some(partition) = self.partitions.get_mut(&day) {
                partition.commit(positions)?;
                let searcher = partition.searcher();
                self.shared.searchers.write().insert(day, searcher);
            }
        }
        self.uncommitted = 0;
        self.committed = self.positions.clone();
        write_checkpoint(&self.root, &self.committed)?;
        Ok(())
    }

    /// Lets merges end and gives the writers back. What was added must be committed.
    pub fn finish(&mut self) -> tantivy::Result<()> {
        for partition in self.partitions.values_mut() {
            partition.finish()?;
            let searcher = partition.searcher();
            let mut searchers = self.shared.searchers.write();
            searchers.insert(partition.day, searcher);
        }
        Ok(())
    }

    /// The positions to commit in a partition: never behind those it has.
    fn positions_for(&self, partition: &Partition) -> Positions {
        let mut out = partition.positions.clone();
        for (source, position) in &self.positions {
            let is_ahead = out
                .get(source)
                .is_none_or(|own| self.rank(source, position) > self.rank(source, own));
            if is_ahead {
                out.insert(source.clone(), position.clone());
            }
        }
        out
    }

    /// Forgets everything since the last commit.
    pub fn roll_back(&mut self) {
        for partition in self.partitions.values_mut() {
            if let Err(error) = partition.roll_back() {
                tracing::error!(day = %partition.day, %error, "rolling the index back failed");
            }
        }
        self.uncommitted = 0;
        self.positions = self.committed.clone();
    }

    /// Whether a day's files are as they were written. A day that is not there is sound.
    pub fn is_sound(&self, day: NaiveDate) -> bool {
        self.partitions.get(&day).is_none_or(Partition::is_sound)
    }

    /// Puts an empty partition in the place of a damaged one; what the logs have of it is to be read
    /// again.
    pub fn set_aside(&mut self, day: NaiveDate) -> tantivy::Result<()> {
        drop(self.partitions.remove(&day));
        let span = |until: &Position| Span {
            at: Position::default(),
            until: until.clone(),
        };
        let spans = self.positions.iter();
        let rebuild: BTreeMap<String, Span> =
            spans.map(|(s, until)| (s.clone(), span(until))).collect();
        let (partition, aside) = Partition::replace(
            &self.root,
            day,
            &self.fields,
            self.positions.clone(),
            rebuild,
        )?;
        self.shared.metrics.set_aside.inc();
        tracing::error!(%day, aside = %aside.display(), "the index of a day is damaged; it is set aside and built anew from the log (what was imported without a log must be imported again)");
        self.publish(partition);
        Ok(())
    }

    fn publish(&mut self, partition: Partition) {
        let day = partition.day;
        let searcher = partition.searcher();
        self.shared.searchers.write().insert(day, searcher);
        self.partitions.insert(day, partition);
        self.tell_rebuilding();
    }

    fn tell_rebuilding(&self) {
        let days = self.partitions.values().filter(|p| !p.rebuild.is_empty());
        let days: BTreeSet<NaiveDate> = days.map(|p| p.day).collect();
        self.shared.metrics.rebuilding.set(gauge(days.len() as u64));
        *self.shared.rebuilding.write() = days;
    }

    /// The next stretch of a log that a day built anew lacks.
    pub fn to_rebuild(&self) -> Option<(NaiveDate, String, Span)> {
        self.partitions.values().find_map(|p| {
            let (source, span) = p.rebuild.first_key_value()?;
            Some((p.day, source.clone(), span.clone()))
        })
    }

    /// Notes how far a day is built anew; `None` when the stretch is done.
    pub fn rebuilt(
        &mut self,
        day: NaiveDate,
        source: &str,
        at: Option<Position>,
    ) -> tantivy::Result<()> {
        let Some(partition) = self.partitions.get(&day) else {
            return Ok(());
        };
        // What the logs added meanwhile is committed with it, and so must be their positions.
        let positions = self.positions_for(partition);
        let Some(partition) = self.partitions.get_mut(&day) else {
            return Ok(());
        };
        match at {
            Some(at) => {
                if let Some(span) = partition.rebuild.get_mut(source) {
                    span.at = at;
                }
            }
            None => drop(partition.rebuild.remove(source)),
        }
        partition.commit(positions)?;
        let searcher = partition.searcher();
        self.shared.searchers.write().insert(day, searcher);
        self.tell_rebuilding();
        Ok(())
    }

    /// Drops the oldest days beyond the limits of age and size, never today.
    pub fn retain(&mut self) {
        let today = Utc::now().date_naive();
        let mut bytes: u64 = self.partitions.values().map(Partition::disk_bytes).sum();
        while let Some(entry) = self.partitions.first_entry() {
            let age = u64::try_from((today - *entry.key()).num_days()).unwrap_or_default();
            let is_old = self.options.max_age_days > 0 && age > self.options.max_age_days;
            let is_surplus = self.options.max_bytes > 0 && bytes > self.options.max_bytes;
            if age == 0 || !(is_old || is_surplus) {
                break;
            }
            let (day, partition) = entry.remove_entry();
            bytes = bytes.saturating_sub(partition.disk_bytes());
            self.shared.searchers.write().remove(&day);
            match partition.remove() {
                Ok(()) => tracing::info!(%day, is_old, is_surplus, "a day left the search index"),
                Err(error) => tracing::warn!(%day, %error, "deleting an old index failed"),
            }
        }
        remove_old_set_aside(&self.root);
        let metrics = &self.shared.metrics;
        metrics.partitions.set(gauge(self.partitions.len() as u64));
        metrics.bytes.set(gauge(bytes));
    }
}

/// A number as gauges have it.
pub fn gauge(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn remove_old_set_aside(root: &Path) {
    for folder in partition::set_aside(root) {
        let modified = fs::metadata(&folder).and_then(|m| m.modified());
        let age = modified.map(|m| SystemTime::now().duration_since(m).unwrap_or_default());
        if age.is_ok_and(|age| age > SET_ASIDE_KEPT)
            && let Err(error) = fs::remove_dir_all(&folder)
        {
            tracing::warn!(folder = %folder.display(), %error, "deleting a damaged index failed");
        }
    }
}

fn lock(root: &Path) -> io::Result<File> {
    let path = root.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)?;
    let give_up = Instant::now() + LOCK_TIMEOUT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if Instant::now() >= give_up => {
                return Err(io::Error::other(format!(
                    "the index in {} is in use by another process",
                    root.display()
                )));
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn checkpoint_path(root: &Path) -> PathBuf {
    root.join("checkpoint.json")
}

/// A checkpoint that cannot be read costs time, not events: the logs are read from their start, and
/// each partition knows what it has.
fn read_checkpoint(root: &Path, metrics: &Metrics) -> Positions {
    let text = match fs::read(checkpoint_path(root)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Positions::new(),
        Err(error) => {
            metrics.failed("read");
            tracing::error!(%error, "the index's checkpoint cannot be read; the logs are read from their start");
            return Positions::new();
        }
    };
    serde_json::from_slice(&text).unwrap_or_else(|error| {
        metrics.failed("read");
        tracing::error!(%error, "the index's checkpoint is damaged; the logs are read from their start");
        Positions::new()
    })
}

fn write_checkpoint(root: &Path, positions: &Positions) -> io::Result<()> {
    let partial = root.join("checkpoint.partial");
    fs::write(&partial, serde_json::to_vec(positions)?)?;
    fs::rename(partial, checkpoint_path(root))
}
