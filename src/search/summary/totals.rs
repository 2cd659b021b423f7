//! `Totals`: one pass over the columns of all matches. No stored event is read.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use smallvec::SmallVec;
use tantivy::query::{EnableScoring, Query};
use tantivy::{DocId, Searcher, SegmentReader};

use crate::search::document::KEY_MICROS_SHIFT;
use crate::search::fields::{KEY, PIPELINE_MICROS};
use crate::search::index::{DaysInWindow, SearchError};
use crate::search::query::Ords;
use crate::search::summary::columns::{NONE, Values};
use crate::search::summary::durations::Durations;
use crate::search::summary::keys::{self, KeyAt};
use crate::search::summary::spec::{Key, Spec};

/// Groups that are told apart; beyond it requests fall into one group without a key.
const GROUPS_KEPT_MAX: usize = 100_000;
/// Columns whose values span more than this are counted in a map.
const DENSE_MAX: u64 = 1 << 20;
/// Events that are looked at together.
const BLOCK: usize = 64;
/// Subresources that are streams.
const STREAMS: [&str; 5] = ["attach", "exec", "log", "portforward", "proxy"];

/// Values that tell groups apart within one segment. Clients do not choose ordinals: hashing them
/// needs no key.
type Group = SmallVec<[u64; 8]>;

/// Where an event is: the place of its segment in [`Totals::segments`], and its number there.
pub(super) type Place = (usize, DocId);

/// Requests, and how many of them failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) requests: u64,
    pub(super) failures: u64,
}

/// What is known of some requests.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) counts: Counts,
    pub(super) durations: Durations,
    /// Sort keys of the first and the last.
    pub(super) ends: Option<(u64, u64)>,
    /// The last one.
    pub(super) last: Place,
}

/// What is known of a stage.
#[derive(Default)]
pub(super) struct StageTally {
    pub(super) failures: u64,
    pub(super) durations: Durations,
}

/// The sums over all matches.
#[derive(Default)]
pub struct Totals {
    pub(super) all: Tally,
    pub(super) groups: HashMap<Vec<String>, Tally>,
    /// In the order of the spec's facets.
    pub(super) facets: Vec<HashMap<String, Counts>>,
    pub(super) stages: HashMap<String, StageTally>,
    /// By the number of the interval.
    pub(super) bars: BTreeMap<u64, Counts>,
    pub(super) segments: Vec<SegmentReader>,
    /// Events may be missing: a day is being built anew, or the index could not keep up.
    pub(in crate::search) is_incomplete: bool,
}

/// Counts what `spec` asks for over the days of a window of sort keys.
pub(in crate::search) fn run(
    days: &DaysInWindow,
    query: &dyn Query,
    window: (u64, u64),
    spec: &Spec,
) -> Result<Totals, SearchError> {
    let totals = Mutex::new(Totals {
        facets: vec![HashMap::new(); spec.facets.len()],
        ..Totals::default()
    });
    days.each_segment(|searcher, reader| {
        let keys = reader.fast_fields().u64(KEY)?;
        let (from, to) = window;
        if reader.max_doc() > 0 && keys.min_value() < to && keys.max_value() >= from {
            let mut segment = Segment::open(reader, spec)?;
            segment.go_through(searcher, reader, query, window)?;
            segment.add_to(&mut totals.lock(), reader)?;
        }
        Ok(())
    })?;
    Ok(totals.into_inner())
}

impl Counts {
    fn add(&mut self, is_failure: bool) {
        self.requests += 1;
        self.failures += u64::from(is_failure);
    }

    fn add_all(&mut self, other: Counts) {
        self.requests += other.requests;
        self.failures += other.failures;
    }
}

impl Tally {
    fn add(&mut self, is_failure: bool, micros: Option<u32>, key: u64, doc: DocId) {
        self.counts.add(is_failure);
        if let Some(micros) = micros {
            self.durations.add(micros);
        }
        match &mut self.ends {
            Some((first, last)) => {
                *first = key.min(*first);
                if key >= *last {
                    (*last, self.last.1) = (key, doc);
                }
            }
            none => {
                *none = Some((key, key));
                self.last.1 = doc;
            }
        }
    }

    fn add_all(&mut self, other: Tally) {
        self.counts.add_all(other.counts);
        self.durations.add_all(&other.durations);
        let (Some(ends), Some(others)) = (self.ends, other.ends) else {
            if other.ends.is_some() {
                (self.ends, self.last) = (other.ends, other.last);
            }
            return;
        };
        self.ends = Some((ends.0.min(others.0), ends.1.max(others.1)));
        if others.1 > ends.1 {
            self.last = other.last;
        }
    }
}

/// A facet while a segment is counted.
enum Facet {
    /// By the value, from the least one on; what has none comes last.
    Dense(usize, u64, Vec<Counts>),
    Sparse(HashMap<Group, Counts, RandomState>),
}

/// One segment while it is counted.
struct Segment {
    columns: Vec<Values>,
    /// Of the running block: a value of each event, by column.
    values: Vec<[u64; BLOCK]>,
    by: Vec<KeyAt>,
    by_columns: SmallVec<[usize; 8]>,
    facets: Vec<(KeyAt, Facet)>,
    counted: Counted,
    code: usize,
    latency: usize,
    pipeline: Option<Pipeline>,
    interval: Option<u64>,
    all: Tally,
    groups: HashMap<Group, Tally, RandomState>,
    bars: HashMap<u64, Counts, RandomState>,
    /// The last bar, which most often gets the next one, too.
    bar: (u64, Counts),
}

/// Which events count, and which of them say something about latency.
struct Counted {
    kind: usize,
    stage: usize,
    user: usize,
    verb: usize,
    subresource: usize,
    requests: Ords,
    lasts: Ords,
    starts: Ords,
    long_verbs: Ords,
    streams: Ords,
}

/// Stages of the pipeline.
struct Pipeline {
    names: Values,
    micros: Values,
    failed: Values,
    tallies: Vec<Durations>,
    failures: Vec<u64>,
}

impl Segment {
    fn open(reader: &SegmentReader, spec: &Spec) -> tantivy::Result<Self> {
        let mut columns = Columns {
            reader,
            all: Vec::new(),
            names: Vec::new(),
        };
        let counted = Counted::open(&mut columns)?;
        let (code, latency) = (columns.open("code")?, columns.open("latency")?);
        let mut by = Vec::new();
        for key in &spec.by {
            by.push(columns.key(*key)?);
        }
        let mut facets = Vec::new();
        for key in &spec.facets {
            let key = columns.key(*key)?;
            let facet = Facet::of(&key, &columns.all);
            facets.push((key, facet));
        }
        let pipeline = match spec.stages {
            true => Some(Pipeline::open(reader)?),
            false => None,
        };
        let interval = spec.interval.and_then(|i| i.num_microseconds());
        Ok(Segment {
            values: vec![[NONE; BLOCK]; columns.all.len()],
            by_columns: by.iter().flat_map(KeyAt::columns).collect(),
            columns: columns.all,
            by,
            facets,
            counted,
            code,
            latency,
            pipeline,
            interval: interval.and_then(|i| u64::try_from(i).ok()),
            all: Tally::default(),
            groups: HashMap::default(),
            bars: HashMap::default(),
            bar: (0, Counts::default()),
        })
    }

    fn go_through(
        &mut self,
        searcher: &Searcher,
        reader: &SegmentReader,
        query: &dyn Query,
        (from, to): (u64, u64),
    ) -> tantivy::Result<()> {
        let weight = query.weight(EnableScoring::disabled_from_searcher(searcher))?;
        let keys = reader.fast_fields().u64(KEY)?;
        let mut times = [0u64; BLOCK];
        weight.for_each_no_score(reader, &mut |docs: &[DocId]| {
            for docs in docs.chunks(BLOCK) {
                let times = &mut times[..docs.len()];
                keys.values.get_vals(docs, times);
                self.take(docs, times, (from, to));
            }
        })
    }

    fn take(&mut self, docs: &[DocId], times: &[u64], (from, to): (u64, u64)) {
        for (column, values) in self.columns.iter().zip(&mut self.values) {
            column.first(docs, &mut values[..docs.len()]);
        }
        for (at, (doc, time)) in docs.iter().zip(times).enumerate() {
            if (from..to).contains(time) && self.counted.is_last(&self.values, at) {
                self.add(at, *doc, *time);
            }
        }
    }

    fn add(&mut self, at: usize, doc: DocId, time: u64) {
        let value = |column: usize| self.values[column][at];
        let is_failure = (400..NONE).contains(&value(self.code));
        let is_long = self.counted.is_long_running(&self.values, at);
        let micros = Some(value(self.latency)).filter(|micros| *micros != NONE && !is_long);
        let micros = micros.map(|micros| u32::try_from(micros).unwrap_or(u32::MAX));
        self.all.add(is_failure, micros, time, doc);
        for (key, facet) in &mut self.facets {
            match facet {
                Facet::Dense(column, least, counts) => {
                    let none = counts.len() - 1;
                    let place = value(*column).wrapping_sub(*least);
                    let place = usize::try_from(place).map_or(none, |place| place.min(none));
                    counts[place].add(is_failure);
                }
                Facet::Sparse(groups) => {
                    let group: Group = key.columns().map(value).collect();
                    groups.entry(group).or_default().add(is_failure);
                }
            }
        }
        if !self.by.is_empty() {
            let mut group: Group = self.by_columns.iter().map(|c| value(*c)).collect();
            if self.groups.len() >= GROUPS_KEPT_MAX && !self.groups.contains_key(&group) {
                group.fill(NONE);
            }
            let tally = self.groups.entry(group).or_default();
            tally.add(is_failure, micros, time, doc);
        }
        if let Some(pipeline) = self.pipeline.as_mut().filter(|_| !is_long) {
            pipeline.add(doc);
        }
        if let Some(interval) = self.interval {
            let bar = (time >> KEY_MICROS_SHIFT) / interval.max(1);
            if bar != self.bar.0 {
                self.put_bar();
                self.bar.0 = bar;
            }
            self.bar.1.add(is_failure);
        }
    }

    fn put_bar(&mut self) {
        let (bar, counts) = (self.bar.0, std::mem::take(&mut self.bar.1));
        if counts.requests > 0 {
            self.bars.entry(bar).or_default().add_all(counts);
        }
    }

    /// Gives everything its texts and adds it to the sums.
    fn add_to(mut self, totals: &mut Totals, reader: &SegmentReader) -> tantivy::Result<()> {
        if self.all.counts.requests == 0 {
            return Ok(());
        }
        self.put_bar();
        let segment = totals.segments.len();
        totals.segments.push(reader.clone());
        self.all.last.0 = segment;
        totals.all.add_all(self.all);
        for (bar, counts) in self.bars {
            totals.bars.entry(bar).or_default().add_all(counts);
        }
        let texts = Texts::of(&self.columns, &self.by_columns, self.groups.keys())?;
        for (group, mut tally) in self.groups {
            let mut parts = texts.parts(&group);
            let mut key: Vec<String> = self.by.iter().map(|key| key.text(&mut parts)).collect();
            if totals.groups.len() >= GROUPS_KEPT_MAX && !totals.groups.contains_key(&key) {
                key.iter_mut().for_each(String::clear);
            }
            tally.last.0 = segment;
            totals.groups.entry(key).or_default().add_all(tally);
        }
        for ((key, facet), sums) in self.facets.into_iter().zip(&mut totals.facets) {
            let groups = facet.groups();
            let columns: Vec<usize> = key.columns().collect();
            let texts = Texts::of(&self.columns, &columns, groups.iter().map(|(g, _)| g))?;
            for (group, counts) in groups {
                let mut text = key.text(&mut texts.parts(&group));
                if sums.len() >= GROUPS_KEPT_MAX && !sums.contains_key(&text) {
                    text.clear();
                }
                sums.entry(text).or_default().add_all(counts);
            }
        }
        match self.pipeline {
            Some(pipeline) => pipeline.add_to(&mut totals.stages),
            None => Ok(()),
        }
    }
}

/// The columns of a segment that are read block by block, each once.
struct Columns<'r> {
    reader: &'r SegmentReader,
    all: Vec<Values>,
    names: Vec<&'static str>,
}

impl Columns<'_> {
    fn open(&mut self, name: &'static str) -> tantivy::Result<usize> {
        if let Some(at) = self.names.iter().position(|known| *known == name) {
            return Ok(at);
        }
        self.all.push(Values::open(self.reader, name)?);
        self.names.push(name);
        Ok(self.all.len() - 1)
    }

    fn key(&mut self, key: Key) -> tantivy::Result<KeyAt> {
        KeyAt::open(key, |name| {
            let at = self.open(name)?;
            Ok((!self.all[at].is_absent()).then_some(at))
        })
    }

    /// Opens a column and finds some of its texts.
    fn with(
        &mut self,
        name: &'static str,
        is_one: impl Fn(&str) -> bool,
    ) -> tantivy::Result<(usize, Ords)> {
        let at = self.open(name)?;
        Ok((at, self.all[at].ords_of(is_one)?))
    }
}

impl Counted {
    fn open(columns: &mut Columns<'_>) -> tantivy::Result<Self> {
        let (kind, requests) = columns.with("type", |kind| kind == "request")?;
        let lasts = |stage: &str| matches!(stage, "ResponseComplete" | "Panic");
        let (stage, lasts) = columns.with("stage", lasts)?;
        let (_, starts) = columns.with("stage", |stage| stage == "ResponseStarted")?;
        let long = |verb: &str| matches!(verb, "watch" | "proxy");
        let (verb, long_verbs) = columns.with("verb", long)?;
        let (subresource, streams) = columns.with("subresource", |s| STREAMS.contains(&s))?;
        Ok(Counted {
            user: columns.open("user")?,
            kind,
            stage,
            verb,
            subresource,
            requests,
            lasts,
            starts,
            long_verbs,
            streams,
        })
    }

    /// Whether an event is the last of a request, which counts for it: ResponseComplete or Panic, or
    /// the single ResponseStarted of a request that was refused before it had a user.
    fn is_last(&self, values: &[[u64; BLOCK]], at: usize) -> bool {
        let stage = values[self.stage][at];
        self.requests.has(values[self.kind][at])
            && (self.lasts.has(stage) || (self.starts.has(stage) && values[self.user][at] == NONE))
    }

    /// Watches and streams last as long as their clients like.
    fn is_long_running(&self, values: &[[u64; BLOCK]], at: usize) -> bool {
        self.long_verbs.has(values[self.verb][at]) || self.streams.has(values[self.subresource][at])
    }
}

impl Facet {
    fn of(key: &KeyAt, columns: &[Values]) -> Self {
        let single = keys::single(key).map(|at| (at, columns[at].span()));
        match single {
            Some((column, (least, width))) if width <= DENSE_MAX => {
                let places = usize::try_from(width).unwrap_or_default() + 1;
                Facet::Dense(column, least, vec![Counts::default(); places])
            }
            _ => Facet::Sparse(HashMap::default()),
        }
    }

    fn groups(self) -> Vec<(Group, Counts)> {
        match self {
            Facet::Sparse(groups) => groups.into_iter().collect(),
            Facet::Dense(_, least, counts) => {
                let none = counts.len() - 1;
                let counted = (0u64..).zip(counts).enumerate();
                let counted = counted.filter(|(_, (_, counts))| counts.requests > 0);
                let group = |(at, (offset, counts)): (usize, (u64, Counts))| {
                    let value = if at == none { NONE } else { least + offset };
                    (std::iter::once(value).collect(), counts)
                };
                counted.map(group).collect()
            }
        }
    }
}

impl Pipeline {
    fn open(reader: &SegmentReader) -> tantivy::Result<Self> {
        let (names, failed) = (
            Values::open(reader, "pipeline")?,
            Values::open(reader, "failedStage")?,
        );
        let places = |column: &Values| usize::try_from(column.span().1).unwrap_or_default();
        Ok(Pipeline {
            tallies: vec![Durations::default(); places(&names)],
            failures: vec![0; places(&failed)],
            names,
            failed,
            micros: Values::open(reader, PIPELINE_MICROS)?,
        })
    }

    fn add(&mut self, doc: DocId) {
        // Names and durations of stages were added in the same order.
        for (stage, micros) in self.names.all(doc).zip(self.micros.all(doc)) {
            let tally = usize::try_from(stage).ok();
            if let Some(tally) = tally.and_then(|stage| self.tallies.get_mut(stage)) {
                tally.add(u32::try_from(micros).unwrap_or(u32::MAX));
            }
        }
        for stage in self.failed.all(doc) {
            let failures = usize::try_from(stage).ok();
            if let Some(failures) = failures.and_then(|stage| self.failures.get_mut(stage)) {
                *failures += 1;
            }
        }
    }

    fn add_to(self, stages: &mut HashMap<String, StageTally>) -> tantivy::Result<()> {
        let all = |count: usize| (0..count as u64).collect::<Vec<u64>>();
        let names = self.names.texts(&all(self.tallies.len()))?;
        for (name, durations) in names.into_iter().zip(self.tallies) {
            if durations.count() > 0 {
                stages
                    .entry(name)
                    .or_default()
                    .durations
                    .add_all(&durations);
            }
        }
        let names = self.failed.texts(&all(self.failures.len()))?;
        for (name, failures) in names.into_iter().zip(self.failures) {
            if failures > 0 {
                stages.entry(name).or_default().failures += failures;
            }
        }
        Ok(())
    }
}

/// The texts of groups, column by column.
struct Texts(Vec<HashMap<u64, String, RandomState>>);

impl Texts {
    fn of<'g>(
        columns: &[Values],
        places: &[usize],
        groups: impl Iterator<Item = &'g Group> + Clone,
    ) -> tantivy::Result<Self> {
        let mut all = Vec::with_capacity(places.len());
        for (part, place) in places.iter().enumerate() {
            let mut values: Vec<u64> = groups.clone().map(|group| group[part]).collect();
            values.sort_unstable();
            values.dedup();
            let texts = columns[*place].texts(&values)?;
            all.push(values.into_iter().zip(texts).collect());
        }
        Ok(Texts(all))
    }

    fn parts<'t>(&'t self, group: &'t Group) -> impl Iterator<Item = &'t str> {
        let parts = group.iter().zip(&self.0);
        parts.map(|(value, texts)| texts.get(value).map(String::as_str).unwrap_or_default())
    }
}
