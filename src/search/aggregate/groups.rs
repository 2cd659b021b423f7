//! Groups of field values: how often each occurs, and the durations of each.

use std::collections::HashMap;
use std::hash::Hash;

use smallvec::SmallVec;
use tantivy::columnar::Column;
use tantivy::{DocId, SegmentReader};

use crate::search::aggregate::columns::{NONE, Values};
use crate::search::aggregate::{Durations, DurationsRow, Measure, Outcome, Running, TopRow};
use crate::search::fields::PIPELINE_MICROS;

/// Segments with more distinct values than this are counted in a map.
const DENSE_MAX: usize = 1 << 20;

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

fn merge<K: Hash + Eq, T: Tally>(into: &mut HashMap<K, T>, from: impl Iterator<Item = (K, T)>) {
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
    groups: HashMap<Ords, T>,
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
    /// Of the running segment, where one text field makes the group: by ordinal, "none" last.
    dense: Vec<u64>,
    sparse: HashMap<Ords, u64>,
    all: HashMap<Vec<String>, u64>,
}

impl Top {
    pub(super) fn new(by: Vec<&'static str>, limit: usize) -> Self {
        Top {
            by,
            limit,
            columns: Vec::new(),
            dense: Vec::new(),
            sparse: HashMap::new(),
            all: HashMap::new(),
        }
    }
}

impl Running for Top {
    fn begin(&mut self, reader: &SegmentReader) -> tantivy::Result<()> {
        self.columns = open(reader, &self.by)?;
        self.dense = match &self.columns[..] {
            [Values::Text(column)] if column.num_terms() < DENSE_MAX => {
                vec![0; column.num_terms() + 1]
            }
            _ => Vec::new(),
        };
        Ok(())
    }

    fn take(&mut self, docs: &[DocId], _: &[u64]) {
        if let ([column], Some(none)) = (&self.columns[..], self.dense.len().checked_sub(1)) {
            for doc in docs {
                column.each(*doc, |ord| {
                    let at = usize::try_from(ord).unwrap_or(none).min(none);
                    self.dense[at] += 1;
                });
            }
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
        let dense = std::mem::take(&mut self.dense);
        if let Some((none, counts)) = dense.split_last() {
            let counted = (0u64..).zip(counts).chain([(NONE, none)]);
            let counted = counted.filter(|(_, count)| **count > 0);
            let group = |ord| -> Ords { std::iter::once(ord).collect() };
            self.sparse = counted.map(|(ord, count)| (group(ord), *count)).collect();
        }
        let found = named(&self.columns, std::mem::take(&mut self.sparse))?;
        merge(&mut self.all, found);
        Ok(())
    }

    fn groups(&self) -> usize {
        self.all.len()
    }

    fn outcome(self: Box<Self>) -> Outcome {
        let distinct = self.all.len();
        let rows = self.all.into_iter();
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
    segment: HashMap<Ords, Durations>,
    all: HashMap<Vec<String>, Durations>,
}

impl DurationGroups {
    pub(super) fn new(by: Vec<&'static str>, of: Measure) -> Self {
        DurationGroups {
            by,
            of,
            columns: Vec::new(),
            pipeline: None,
            micros: None,
            segment: HashMap::new(),
            all: HashMap::new(),
        }
    }

    fn add(segment: &mut HashMap<Ords, Durations>, group: &Ords, micros: u64) {
        match segment.get_mut(group) {
            Some(durations) => durations.add(micros),
            None => segment.entry(group.clone()).or_default().add(micros),
        }
    }
}

impl Running for DurationGroups {
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
        merge(&mut self.all, found);
        Ok(())
    }

    fn groups(&self) -> usize {
        self.all.len()
    }

    fn outcome(self: Box<Self>) -> Outcome {
        let rows = self.all.into_iter();
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
