//! `Totals`: one pass over the columns of all matches. No stored event is read.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use smallvec::SmallVec;
use tantivy::query::{EnableScoring, Query};
use tantivy::{DocId, Searcher, SegmentReader};

use crate::search::document::{KEY_MICROS_SHIFT, list};
use crate::search::fields::{KEY, PIPELINE_MICROS};
use crate::search::index::{DaysInWindow, SearchError};
use crate::search::micros;
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

/// How many requests there were, and how long they took.
#[derive(Default)]
pub(super) struct Timed {
    pub(super) counts: Counts,
    pub(super) durations: Durations,
}

/// What is known of a group of requests.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) timed: Timed,
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
    pub(super) all: Timed,
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

impl Timed {
    fn add(&mut self, is_failure: bool, micros: Option<u32>) {
        self.counts.add(is_failure);
        if let Some(micros) = micros {
            self.durations.add(micros);
        }
    }

    fn add_all(&mut self, other: &Self) {
        self.counts.add_all(other.counts);
        self.durations.add_all(&other.durations);
    }
}

impl Tally {
    fn add(&mut self, is_failure: bool, micros: Option<u32>, key: u64, doc: DocId) {
        self.timed.add(is_failure, micros);
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
        self.timed.add_all(&other.timed);
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
    columns: Columns,
    by: Vec<KeyAt>,
    by_columns: SmallVec<[usize; 8]>,
    facets: Vec<(KeyAt, Facet)>,
    counted: Counted,
    code: usize,
    latency: usize,
    pipeline: Option<Pipeline>,
    interval: Option<u64>,
    all: Timed,
    groups: HashMap<Group, Tally, RandomState>,
    bars: HashMap<u64, Counts, RandomState>,
    /// The last bar, which most often gets the next one, too.
    bar: (u64, Counts),
}

/// One event of a block that counts.
#[derive(Clone, Copy)]
struct Picked {
    /// Its place in the block.
    at: usize,
    is_failure: bool,
    /// Watches and streams last as long as their clients like.
    is_long: bool,
    /// How long it took, if that says something.
    micros: Option<u32>,
}

/// Which events count, and which of them say nothing about latency. What holds for every event of a
/// segment is not looked at.
struct Counted {
    /// Requests; `None` where all are.
    requests: Option<Test>,
    /// Last events of requests; `None` where all are.
    lasts: Option<Test>,
    /// Events that are the last of a request if it has no user; `None` where none is.
    starts: Option<(Test, usize)>,
    long: SmallVec<[Test; 2]>,
}

/// Whether an event has one of some texts.
struct Test {
    column: usize,
    wanted: Ords,
}

/// Stages of the pipeline.
struct Pipeline {
    column: usize,
    /// The names that occur.
    names: Vec<String>,
    /// By the value of the column: its stages, as places in `names`.
    stages: Vec<Vec<usize>>,
    micros: Values,
    tallies: Vec<Durations>,
    failed: Values,
    failures: Vec<u64>,
}

impl Segment {
    fn open(reader: &SegmentReader, spec: &Spec) -> tantivy::Result<Self> {
        let mut columns = Columns::default();
        let counted = Counted::open(&mut columns, reader)?;
        let code = columns.read(reader, "code")?;
        let latency = columns.read(reader, "latency")?;
        let mut by = Vec::new();
        for key in &spec.by {
            by.push(columns.key(reader, *key)?);
        }
        let mut facets = Vec::new();
        for key in &spec.facets {
            let key = columns.key(reader, *key)?;
            let facet = Facet::of(&key, &columns.all);
            facets.push((key, facet));
        }
        let pipeline = match spec.stages {
            true => Some(Pipeline::open(&mut columns, reader)?),
            false => None,
        };
        let interval = spec.interval.and_then(|i| i.num_microseconds());
        Ok(Segment {
            by_columns: by.iter().flat_map(KeyAt::columns).collect(),
            columns,
            by,
            facets,
            counted,
            code,
            latency,
            pipeline,
            interval: interval.and_then(|i| u64::try_from(i).ok()),
            all: Timed::default(),
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
        let is_within = keys.min_value() >= from && keys.max_value() < to;
        // Nobody asks when the events were.
        let is_timeless = is_within && self.by.is_empty() && self.interval.is_none();
        let mut times = [from; BLOCK];
        weight.for_each_no_score(reader, &mut |docs: &[DocId]| {
            for docs in docs.chunks(BLOCK) {
                let times = &mut times[..docs.len()];
                if !is_timeless {
                    keys.values.get_vals(docs, times);
                }
                self.take(docs, times, (from, to));
            }
        })
    }

    fn take(&mut self, docs: &[DocId], times: &[u64], (from, to): (u64, u64)) {
        let values = self.columns.block(docs);
        let picked = times.iter().enumerate().filter_map(|(at, time)| {
            let is_in = (from..to).contains(time) && self.counted.is_last(values, at);
            is_in.then(|| {
                let is_long = self.counted.is_long_running(values, at);
                Picked {
                    at,
                    is_failure: (400..NONE).contains(&values[self.code][at]),
                    is_long,
                    micros: match values[self.latency][at] {
                        NONE => None,
                        _ if is_long => None,
                        micros => Some(u32::try_from(micros).unwrap_or(u32::MAX)),
                    },
                }
            })
        });
        let picked: SmallVec<[Picked; BLOCK]> = picked.collect();
        for event in &picked {
            self.all.add(event.is_failure, event.micros);
        }
        for (key, facet) in &mut self.facets {
            facet.add(key, values, &picked);
        }
        if let Some(pipeline) = &mut self.pipeline {
            for event in picked.iter().filter(|event| !event.is_long) {
                pipeline.add(values[pipeline.column][event.at], docs[event.at]);
            }
        }
        for event in &picked {
            self.group(event, docs[event.at], times[event.at]);
        }
    }

    fn group(&mut self, event: &Picked, doc: DocId, time: u64) {
        if !self.by.is_empty() {
            let value = |column: &usize| self.columns.values[*column][event.at];
            let mut group: Group = self.by_columns.iter().map(value).collect();
            if self.groups.len() >= GROUPS_KEPT_MAX && !self.groups.contains_key(&group) {
                group.fill(NONE);
            }
            let tally = self.groups.entry(group).or_default();
            tally.add(event.is_failure, event.micros, time, doc);
        }
        if let Some(interval) = self.interval {
            let bar = (time >> KEY_MICROS_SHIFT) / interval.max(1);
            if bar != self.bar.0 {
                self.put_bar();
                self.bar.0 = bar;
            }
            self.bar.1.add(event.is_failure);
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
        totals.all.add_all(&self.all);
        for (bar, counts) in self.bars {
            totals.bars.entry(bar).or_default().add_all(counts);
        }
        let texts = Texts::of(&self.columns.all, &self.by_columns, self.groups.keys())?;
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
            let texts = Texts::of(&self.columns.all, &columns, groups.iter().map(|(g, _)| g))?;
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
#[derive(Default)]
struct Columns {
    all: Vec<Values>,
    names: Vec<&'static str>,
    /// Of the running block: a value of each event, by column.
    values: Vec<[u64; BLOCK]>,
}

impl Columns {
    /// The place of a column.
    fn read(&mut self, reader: &SegmentReader, name: &'static str) -> tantivy::Result<usize> {
        match self.names.iter().position(|known| *known == name) {
            Some(at) => Ok(at),
            None => Ok(self.add(name, Values::open(reader, name)?)),
        }
    }

    fn add(&mut self, name: &'static str, column: Values) -> usize {
        self.all.push(column);
        self.names.push(name);
        self.values.push([NONE; BLOCK]);
        self.all.len() - 1
    }

    fn key(&mut self, reader: &SegmentReader, key: Key) -> tantivy::Result<KeyAt> {
        KeyAt::open(key, |name| {
            let at = self.read(reader, name)?;
            Ok((!self.all[at].is_absent()).then_some(at))
        })
    }

    /// Whether an event has one of some texts: `None` where none has.
    fn any_of(
        &mut self,
        reader: &SegmentReader,
        name: &'static str,
        is_one: impl Fn(&str) -> bool,
    ) -> tantivy::Result<Option<Test>> {
        let wanted = Values::open(reader, name)?.ords_of(is_one)?;
        if wanted.is_empty() {
            return Ok(None);
        }
        let column = self.read(reader, name)?;
        Ok(Some(Test { column, wanted }))
    }

    /// Whether an event has one of some texts: `None` where all have.
    fn all_of(
        &mut self,
        reader: &SegmentReader,
        name: &'static str,
        is_one: impl Fn(&str) -> bool,
    ) -> tantivy::Result<Option<Test>> {
        let values = Values::open(reader, name)?;
        let wanted = values.ords_of(is_one)?;
        if values.is_full() && wanted.is_all() {
            return Ok(None);
        }
        let column = self.read(reader, name)?;
        Ok(Some(Test { column, wanted }))
    }

    /// Reads the values of a block.
    fn block(&mut self, docs: &[DocId]) -> &[[u64; BLOCK]] {
        for (column, values) in self.all.iter().zip(&mut self.values) {
            column.first(docs, &mut values[..docs.len()]);
        }
        &self.values
    }
}

impl Test {
    fn holds(&self, values: &[[u64; BLOCK]], at: usize) -> bool {
        self.wanted.has(values[self.column][at])
    }
}

impl Counted {
    fn open(columns: &mut Columns, reader: &SegmentReader) -> tantivy::Result<Self> {
        let requests = columns.all_of(reader, "type", |kind| kind == "request")?;
        let is_last = |stage: &str| matches!(stage, "ResponseComplete" | "Panic");
        let lasts = columns.all_of(reader, "stage", is_last)?;
        let is_start = |stage: &str| stage == "ResponseStarted";
        let starts = match columns.any_of(reader, "stage", is_start)? {
            Some(test) => Some((test, columns.read(reader, "user")?)),
            None => None,
        };
        let is_long = |verb: &str| matches!(verb, "watch" | "proxy");
        let long = [
            columns.any_of(reader, "verb", is_long)?,
            columns.any_of(reader, "subresource", |s| STREAMS.contains(&s))?,
        ];
        Ok(Counted {
            requests,
            lasts,
            starts,
            long: long.into_iter().flatten().collect(),
        })
    }

    /// Whether an event is the last of a request, which counts for it: ResponseComplete or Panic, or
    /// the single ResponseStarted of a request that was refused before it had a user.
    fn is_last(&self, values: &[[u64; BLOCK]], at: usize) -> bool {
        let holds = |test: &Option<Test>| test.as_ref().is_none_or(|test| test.holds(values, at));
        let is_start =
            |(test, user): &(Test, usize)| test.holds(values, at) && values[*user][at] == NONE;
        holds(&self.requests) && (holds(&self.lasts) || self.starts.as_ref().is_some_and(is_start))
    }

    fn is_long_running(&self, values: &[[u64; BLOCK]], at: usize) -> bool {
        self.long.iter().any(|test| test.holds(values, at))
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

    fn add(&mut self, key: &KeyAt, values: &[[u64; BLOCK]], picked: &[Picked]) {
        match self {
            Facet::Dense(column, least, counts) => {
                let (values, none) = (&values[*column], counts.len() - 1);
                for event in picked {
                    let place = values[event.at].wrapping_sub(*least);
                    let place = usize::try_from(place).map_or(none, |place| place.min(none));
                    counts[place].add(event.is_failure);
                }
            }
            Facet::Sparse(groups) => {
                for event in picked {
                    let group = key.columns().map(|column| values[column][event.at]);
                    let counts = groups.entry(group.collect()).or_default();
                    counts.add(event.is_failure);
                }
            }
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
    fn open(columns: &mut Columns, reader: &SegmentReader) -> tantivy::Result<Self> {
        let column = columns.read(reader, "pipeline")?;
        let (mut names, mut places) = (Vec::new(), HashMap::new());
        let mut stages = Vec::new();
        for pipeline in columns.all[column].all_texts()? {
            let places = list(&pipeline).map(|name| {
                let place = places.entry(name.to_string()).or_insert_with(|| {
                    names.push(name.to_string());
                    names.len() - 1
                });
                *place
            });
            stages.push(places.collect());
        }
        let failed = Values::open(reader, "failedStage")?;
        Ok(Pipeline {
            column,
            micros: Values::open(reader, PIPELINE_MICROS)?,
            tallies: vec![Durations::default(); names.len()],
            names,
            stages,
            failures: vec![0; usize::try_from(failed.span().1).unwrap_or_default()],
            failed,
        })
    }

    fn add(&mut self, pipeline: u64, doc: DocId) {
        let stages = usize::try_from(pipeline).ok();
        let stages = stages.and_then(|pipeline| self.stages.get(pipeline));
        let stages = stages.map(Vec::as_slice).unwrap_or_default();
        for (stage, micros) in stages.iter().zip(micros::of(self.micros.all(doc))) {
            self.tallies[*stage].add(u32::try_from(micros).unwrap_or(u32::MAX));
        }
        for stage in self.failed.all(doc) {
            let failures = usize::try_from(stage).ok();
            if let Some(failures) = failures.and_then(|stage| self.failures.get_mut(stage)) {
                *failures += 1;
            }
        }
    }

    fn add_to(self, stages: &mut HashMap<String, StageTally>) -> tantivy::Result<()> {
        for (name, durations) in self.names.into_iter().zip(self.tallies) {
            if durations.count() > 0 {
                let tally = stages.entry(name).or_default();
                tally.durations.add_all(&durations);
            }
        }
        let names = self.failed.all_texts()?;
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
