//! The newest (or oldest) events that match: one pass over a day's sort keys.
//!
//! Rather than a range query and a collector of tantivy's, the sort key of each match is compared
//! with the window and with the worst of those found so far; segments that cannot hold a better one
//! are not looked at.

use std::collections::BinaryHeap;

use bytes::Bytes;
use tantivy::query::{EnableScoring, Query, Weight};
use tantivy::schema::Value;
use tantivy::{DocAddress, DocId, Searcher, SegmentReader, TantivyDocument};

use crate::search::fields::{Fields, KEY};
use crate::search::index::{Direction, Hit};

/// The span of sort keys that is looked at, and how.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// First key.
    pub from: u64,
    /// First key that is not in it any more.
    pub to: u64,
    /// Which end comes first.
    pub direction: Direction,
}

impl Span {
    fn contains(&self, key: u64) -> bool {
        (self.from..self.to).contains(&key)
    }

    /// A number that is smaller the earlier the event comes in the answer.
    fn order(&self, key: u64) -> u64 {
        match self.direction {
            Direction::NewestFirst => u64::MAX - key,
            Direction::OldestFirst => key,
        }
    }
}

/// The first `wanted` matches of one day, in order.
pub fn first(
    searcher: &Searcher,
    query: &dyn Query,
    fields: &Fields,
    span: Span,
    wanted: usize,
) -> tantivy::Result<Vec<Hit>> {
    let weight = query.weight(EnableScoring::disabled_from_searcher(searcher))?;
    let mut best = Best {
        wanted,
        heap: BinaryHeap::with_capacity(wanted.min(1024) + 1),
    };
    for (ord, reader) in by_time(searcher, span)? {
        collect(&*weight, reader, ord, span, &mut best)?;
    }
    let mut hits = Vec::with_capacity(best.heap.len());
    for (_, address, key) in best.heap.into_sorted_vec() {
        let document: TantivyDocument = searcher.doc(address)?;
        let event = document.get_first(fields.event);
        let event = event.as_ref().and_then(|v| v.as_str()).unwrap_or_default();
        hits.push(Hit {
            key,
            event: Bytes::copy_from_slice(event.as_bytes()),
        });
    }
    Ok(hits)
}

/// What was found so far; the worst is on top.
struct Best {
    wanted: usize,
    heap: BinaryHeap<(u64, DocAddress, u64)>,
}

impl Best {
    /// The order that a better match must stay below; everything is better while there is room.
    fn bar(&self) -> u64 {
        match self.heap.peek() {
            Some((worst, ..)) if self.heap.len() >= self.wanted => *worst,
            _ => u64::MAX,
        }
    }

    fn add(&mut self, order: u64, address: DocAddress, key: u64) {
        self.heap.push((order, address, key));
        if self.heap.len() > self.wanted {
            self.heap.pop();
        }
    }
}

/// Segments that have keys in the span, the most promising first.
fn by_time(searcher: &Searcher, span: Span) -> tantivy::Result<Vec<(u32, &SegmentReader)>> {
    let mut out = Vec::new();
    for (ord, reader) in (0u32..).zip(searcher.segment_readers()) {
        let keys = reader.fast_fields().u64(KEY)?;
        let (low, high) = (keys.min_value(), keys.max_value());
        if low >= span.to || high < span.from || reader.max_doc() == 0 {
            continue;
        }
        out.push((span.order(low).min(span.order(high)), ord, reader));
    }
    out.sort_by_key(|(order, ord, _)| (*order, *ord));
    Ok(out
        .into_iter()
        .map(|(_, ord, reader)| (ord, reader))
        .collect())
}

fn collect(
    weight: &dyn Weight,
    reader: &SegmentReader,
    ord: u32,
    span: Span,
    best: &mut Best,
) -> tantivy::Result<()> {
    let column = reader.fast_fields().u64(KEY)?;
    let most = span
        .order(column.min_value())
        .min(span.order(column.max_value()));
    if best.bar() <= most && best.heap.len() >= best.wanted {
        return Ok(());
    }
    let keys = column.values.clone();
    let mut bar = best.bar();
    let mut buffer = [0u64; 64];
    weight.for_each_no_score(reader, &mut |docs: &[DocId]| {
        for docs in docs.chunks(buffer.len()) {
            let found = &mut buffer[..docs.len()];
            keys.get_vals(docs, found);
            for (doc, key) in docs.iter().zip(found) {
                let order = span.order(*key);
                if order < bar && span.contains(*key) {
                    best.add(order, DocAddress::new(ord, *doc), *key);
                    bar = best.bar();
                }
            }
        }
    })
}
