//! Groups of field values: how often each occurs, and the durations of each.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use smallvec::SmallVec;
use tantivy::columnar::Column;
use tantivy::{DocId, SegmentReader};

use crate::search::aggregate::columns::{Block, NONE, Values};
use crate::search::aggregate::{Durations, DurationsRow, Measure, Outcome, Running, TopRow};
use crate::search::fields::PIPELINE_MICROS;

/// Columns of a segment whose values span more than this are counted in a map.
const DENSE_MAX: u64 = 1 << 20;

/// What is kept per group.
trait Tally {
    /// Adds another one.
    fn merge(&mut self, other: Self);
}

impl Tally for u64 {
    fn merge(&mut self, other: Self) {
        *self += other;
    }
}

impl Tally for Durations {
    fn merge(&mut self, other: Self) {
        self.add_all(&other);
    }
}

/// Values of one group in one segment: ordinals or numbers.
type Ords = SmallVec<[u64; 4]>;

/// The groups of a segment. Clients do not choose ordinals: the hash needs no key.
type Segment<T> = HashMap<Ords, T, RandomState>;

/// The groups of all segments, shared by the threads that go through them.
type All<T> = Arc<Mutex<HashMap<Vec<String>, T>>>;

fn merge<K: Hash + Eq, T: Tally, S: BuildHasher>(
    into: &mut HashMap<K, T, S>,
    from: impl Iterator<Item = (K, T)>,
) {
    for (key, tally) in from {
        match into.get_mut(&key) {
            Some(sum) => sum.merge(tally),
            None => drop(into.insert(key, tally)),
        }
    }
}

fn open(reader: &SegmentReader, names: &[&'static str]) -> tantivy::Result<Vec<Values>> {
    names
        .iter()
        .map(|name| Values::open(reader, name))
        .collect()
}

/// Calls `take` with each combination of an event's values.
fn combinations(columns: &[Values], doc: DocId, group: &mut Ords, take: &mut dyn FnMut(&Ords)) {
    let Some((first, rest)) = columns.split_first() else {
        return take(group);
    };
    first.each(doc, |value| {
        group.push(value);
        combinations(rest, doc, group, take);
        group.pop();
    });
}

/// Gives the groups of a segment their texts.
fn named<T>(
    columns: &[Values],
    groups: Segment<T>,
) -> tantivy::Result<impl Iterator<Item = (Vec<String>, T)> + use<T>> {
    let mut texts: Vec<HashMap<u64, String>> = Vec::new();
    for (index, column) in columns.iter().enumerate() {
        let mut ords: Vec<u64> = groups.keys().map(|key| key[index]).collect();
        ords.sort_unstable();
        ords.dedup();
        let found = column.texts(&ords)?;
        texts.push(ords.into_iter().zip(found).collect());
    }
    Ok(groups.into_iter().map(move |(key, tally)| {
        let values = key.iter().zip(&texts);
        let values = values.map(|(ord, texts)| texts.get(ord).cloned().unwrap_or_default());
        (values.collect(), tally)
    }))
}

/// How often each group occurs.
pub(super) struct Top {
    by: Vec<&'static str>,
    limit: usize,
    columns: Vec<Values>,
    /// Of the running segment, where one field makes the group.
    dense: Option<Dense>,
    sparse: Segment<u64>,
    block: Block,
    all: All<u64>,
}

/// Counts of one column's values.
struct Dense {
    /// The value that is counted first.
    least: u64,
    counts: Vec<u64>,
    /// Events that have no value.
    without: u64,
}

impl Dense {
    fn of(column: &Values) -> Option<Self> {
        let (least, width) = column.span();
        let width = usize::try_from(width).ok()?;
        (width as u64 <= DENSE_MAX).then(|| Dense {
            least,
            counts: vec![0; width],
            without: 0,
        })
    }

    fn take(&mut self, block: &Block) {
        self.without += block.without;
        for value in &block.values {
            let at = usize::try_from(value.wrapping_sub(self.least)).ok();
            if let Some(count) = at.and_then(|at| self.counts.get_mut(at)) {
                *count += 1;
            }
        }
    }

    fn groups(self) -> impl Iterator<Item = (Ords, u64)> {
        let counted = (self.least..).zip(self.counts);
        let counted = counted.chain([(NONE, self.without)]);
        let counted = counted.filter(|(_, count)| *count > 0);
        counted.map(|(value, count)| (std::iter::once(value).collect(), count))
    }
}

impl Top {
    pub(super) fn new(by: Vec<&'static str>, limit: usize) -> Self {
        Top {
            by,
            limit,
            columns: Vec::new(),
            dense: None,
            sparse: Segment::default(),
            block: Block::default(),
            all: All::default(),
        }
    }
}

impl Running for Top {
    fn another(&self) -> Box<dyn Running> {
        Box::new(Top {
            all: self.all.clone(),
            ..Top::new(self.by.clone(), self.limit)
        })
    }

    fn begin(&mut self, reader: &SegmentReader) -> tantivy::Result<()> {
        self.columns = open(reader, &self.by)?;
        self.dense = match &self.columns[..] {
            [column] => Dense::of(column),
            _ => None,
        };
        Ok(())
    }

    fn take(&mut self, docs: &[DocId], _: &[u64]) {
        if let ([column], Some(dense)) = (&self.columns[..], &mut self.dense) {
            column.read(docs, &mut self.block);
            dense.take(&self.block);
            return;
        }
        let mut group = Ords::new();
        for doc in docs {
            combinations(&self.columns, *doc, &mut group, &mut |group| match self
                .sparse
                .get_mut(group)
            {
                Some(count) => *count += 1,
                None => drop(self.sparse.insert(group.clone(), 1)),
            });
        }
    }

    fn end(&mut self) -> tantivy::Result<()> {
        let mut counted = std::mem::take(&mut self.sparse);
        if let Some(dense) = self.dense.take() {
            counted.extend(dense.groups());
        }
        let found = named(&self.columns, counted)?;
        merge(&mut *self.all.lock(), found);
        Ok(())
    }

    fn groups(&self) -> usize {
        self.all.lock().len()
    }

    fn outcome(self: Box<Self>) -> Outcome {
        let all = std::mem::take(&mut *self.all.lock());
        let distinct = all.len();
        let rows = all.into_iter();
        let mut rows: Vec<TopRow> = rows
            .map(|(values, count)| TopRow { values, count })
            .collect();
        // Equal counts in the order of their texts, so that an answer is the same every time.
        rows.sort_unstable_by(|a, b| b.count.cmp(&a.count).then_with(|| a.values.cmp(&b.values)));
        if self.limit > 0 {
            rows.truncate(self.limit);
        }
        Outcome::Top { rows, distinct }
    }
}

/// The durations of each group.
pub(super) struct DurationGroups {
    by: Vec<&'static str>,
    of: Measure,
    columns: Vec<Values>,
    pipeline: Option<Values>,
    micros: Option<Column<u64>>,
    segment: Segment<Durations>,
    all: All<Durations>,
}

impl DurationGroups {
    pub(super) fn new(by: Vec<&'static str>, of: Measure) -> Self {
        DurationGroups {
            by,
            of,
            columns: Vec::new(),
            pipeline: None,
            micros: None,
            segment: Segment::default(),
            all: All::default(),
        }
    }

    fn add(segment: &mut Segment<Durations>, group: &Ords, micros: u64) {
        match segment.get_mut(group) {
            Some(durations) => durations.add(micros),
            None => segment.entry(group.clone()).or_default().add(micros),
        }
    }
}

impl Running for DurationGroups {
    fn another(&self) -> Box<dyn Running> {
        Box::new(DurationGroups {
            all: self.all.clone(),
            ..DurationGroups::new(self.by.clone(), self.of)
        })
    }

    fn begin(&mut self, reader: &SegmentReader) -> tantivy::Result<()> {
        self.columns = open(reader, &self.by)?;
        let name = match self.of {
            Measure::Latency => "latency",
            Measure::PipelineStage => {
                self.pipeline = Some(Values::open(reader, "pipeline")?);
                PIPELINE_MICROS
            }
        };
        self.micros = reader.fast_fields().column_opt(name)?;
        Ok(())
    }

    fn take(&mut self, docs: &[DocId], _: &[u64]) {
        let Some(micros) = &self.micros else {
            return;
        };
        let mut group = Ords::new();
        let segment = &mut self.segment;
        for doc in docs {
            combinations(&self.columns, *doc, &mut group, &mut |group| {
                let mut durations = micros.values_for_doc(*doc);
                match &self.pipeline {
                    None => durations.for_each(|d| Self::add(segment, group, d)),
                    // Names and durations of stages were added in the same order.
                    Some(pipeline) => pipeline.each(*doc, |stage| {
                        if let Some(duration) = durations.next() {
                            let mut group = group.clone();
                            group.push(stage);
                            Self::add(segment, &group, duration);
                        }
                    }),
                }
            });
        }
    }

    fn end(&mut self) -> tantivy::Result<()> {
        let mut columns = std::mem::take(&mut self.columns);
        columns.extend(self.pipeline.take());
        let found = named(&columns, std::mem::take(&mut self.segment))?;
        merge(&mut *self.all.lock(), found);
        Ok(())
    }

    fn groups(&self) -> usize {
        self.all.lock().len()
    }

    fn outcome(self: Box<Self>) -> Outcome {
        let rows = std::mem::take(&mut *self.all.lock()).into_iter();
        let mut rows: Vec<DurationsRow> = rows
            .map(|(values, durations)| DurationsRow { values, durations })
            .collect();
        rows.sort_unstable_by(|a, b| {
            let by_count = b.durations.count().cmp(&a.durations.count());
            by_count.then_with(|| a.values.cmp(&b.values))
        });
        Outcome::Durations(rows)
    }
}
