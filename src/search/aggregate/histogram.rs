//! Matches per interval of time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tantivy::{DocId, SegmentReader};

use crate::search::aggregate::columns::{NONE, Values};
use crate::search::aggregate::{Bar, Outcome, Running};
use crate::search::query::QueryError;

/// The aggregation.
pub(super) struct Histogram {
    micros: u64,
    by: Option<&'static str>,
    column: Values,
    /// Of the running segment: interval and ordinal.
    segment: HashMap<(u64, u64), u64, RandomState>,
    /// The last group, which is most often the next one, too.
    last: ((u64, u64), u64),
    /// Of all segments, shared by the threads that go through them.
    all: Arc<Mutex<BTreeMap<(u64, String), u64>>>,
}

impl Histogram {
    pub(super) fn new(interval: Duration, by: Option<&'static str>) -> Result<Self, QueryError> {
        let micros = interval.num_microseconds();
        let micros = micros
            .and_then(|m| u64::try_from(m).ok())
            .filter(|m| *m > 0);
        let micros = micros.ok_or_else(|| QueryError {
            at: 0,
            message: "an interval must be longer than nothing".into(),
        })?;
        Ok(Histogram::onto(micros, by, Arc::default()))
    }

    fn onto(
        micros: u64,
        by: Option<&'static str>,
        all: Arc<Mutex<BTreeMap<(u64, String), u64>>>,
    ) -> Self {
        Histogram {
            micros,
            by,
            column: Values::Absent,
            segment: HashMap::default(),
            last: ((0, NONE), 0),
            all,
        }
    }

    fn count(&mut self, key: (u64, u64)) {
        if self.last.0 == key {
            self.last.1 += 1;
            return;
        }
        self.put_last();
        self.last = (key, 1);
    }

    fn put_last(&mut self) {
        let (key, count) = self.last;
        if count > 0 {
            *self.segment.entry(key).or_default() += count;
        }
        self.last.1 = 0;
    }
}

impl Running for Histogram {
    fn another(&self) -> Box<dyn Running> {
        Box::new(Histogram::onto(self.micros, self.by, self.all.clone()))
    }

    fn needs_times(&self) -> bool {
        true
    }

    fn begin(&mut self, reader: &SegmentReader) -> tantivy::Result<()> {
        if let Some(name) = self.by {
            self.column = Values::open(reader, name)?;
        }
        Ok(())
    }

    fn take(&mut self, docs: &[DocId], micros: &[u64]) {
        let column = std::mem::replace(&mut self.column, Values::Absent);
        for (doc, micros) in docs.iter().zip(micros) {
            let interval = micros / self.micros;
            column.each(*doc, |ord| self.count((interval, ord)));
        }
        self.column = column;
    }

    fn end(&mut self) -> tantivy::Result<()> {
        self.put_last();
        let segment = std::mem::take(&mut self.segment);
        let mut ords: Vec<u64> = segment.keys().map(|(_, ord)| *ord).collect();
        ords.sort_unstable();
        ords.dedup();
        let texts = self.column.texts(&ords)?;
        let texts: HashMap<u64, String> = ords.into_iter().zip(texts).collect();
        let mut all = self.all.lock();
        for ((interval, ord), count) in segment {
            let text = texts.get(&ord).cloned().unwrap_or_default();
            *all.entry((interval, text)).or_default() += count;
        }
        Ok(())
    }

    fn groups(&self) -> usize {
        self.all.lock().len()
    }

    fn outcome(self: Box<Self>) -> Outcome {
        let bars = std::mem::take(&mut *self.all.lock()).into_iter();
        let bars = bars.map(|((interval, value), count)| {
            let micros = i64::try_from(interval * self.micros).unwrap_or(i64::MAX);
            let from: DateTime<Utc> = DateTime::from_timestamp_micros(micros).unwrap_or_default();
            Bar { from, value, count }
        });
        Outcome::Histogram(bars.collect())
    }
}
