//! A query whose matches are looked at once more, one by one: for what no term can tell.

use std::fmt;

use tantivy::query::{EmptyScorer, EnableScoring, Explanation, Query, Scorer, Weight};
use tantivy::{DocId, DocSet, Score, SegmentReader, TERMINATED};

/// Looks at one document of a segment.
pub(super) type Look = Box<dyn FnMut(DocId) -> bool + Send>;

/// What decides about each candidate.
pub(super) trait Check: Clone + fmt::Debug + Send + Sync + 'static {
    /// Prepares for a segment; `None` where nothing in it can pass.
    fn open(&self, reader: &SegmentReader) -> tantivy::Result<Option<Look>>;
}

/// The candidates that pass a check.
pub(super) struct FilteredQuery<C> {
    pub(super) candidates: Box<dyn Query>,
    pub(super) check: C,
}

impl<C: Check> Clone for FilteredQuery<C> {
    fn clone(&self) -> Self {
        FilteredQuery {
            candidates: self.candidates.box_clone(),
            check: self.check.clone(),
        }
    }
}

impl<C: Check> fmt::Debug for FilteredQuery<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} if {:?}", self.candidates, self.check)
    }
}

impl<C: Check> Query for FilteredQuery<C> {
    fn weight(&self, scoring: EnableScoring<'_>) -> tantivy::Result<Box<dyn Weight>> {
        Ok(Box::new(FilteredWeight {
            candidates: self.candidates.weight(scoring)?,
            check: self.check.clone(),
        }))
    }
}

struct FilteredWeight<C> {
    candidates: Box<dyn Weight>,
    check: C,
}

impl<C: Check> Weight for FilteredWeight<C> {
    fn scorer(&self, reader: &SegmentReader, boost: Score) -> tantivy::Result<Box<dyn Scorer>> {
        let candidates = self.candidates.scorer(reader, boost)?;
        if candidates.doc() == TERMINATED {
            return Ok(Box::new(EmptyScorer));
        }
        let Some(look) = self.check.open(reader)? else {
            return Ok(Box::new(EmptyScorer));
        };
        let mut filtered = Filtered { candidates, look };
        filtered.settle();
        Ok(Box::new(filtered))
    }

    fn explain(&self, _: &SegmentReader, _: DocId) -> tantivy::Result<Explanation> {
        Ok(Explanation::new("Filtered", 1.0))
    }
}

struct Filtered {
    candidates: Box<dyn Scorer>,
    look: Look,
}

impl Filtered {
    /// Goes on to the next candidate that passes, if this one does not.
    fn settle(&mut self) -> DocId {
        let mut doc = self.candidates.doc();
        while doc != TERMINATED && !(self.look)(doc) {
            doc = self.candidates.advance();
        }
        doc
    }
}

impl DocSet for Filtered {
    fn advance(&mut self) -> DocId {
        self.candidates.advance();
        self.settle()
    }

    fn seek(&mut self, target: DocId) -> DocId {
        if self.candidates.doc() < target {
            self.candidates.seek(target);
        }
        self.settle()
    }

    fn doc(&self) -> DocId {
        self.candidates.doc()
    }

    fn size_hint(&self) -> u32 {
        self.candidates.size_hint()
    }

    fn cost(&self) -> u64 {
        // Looking at a document costs much more than finding it.
        self.candidates.cost().saturating_mul(100)
    }
}

impl Scorer for Filtered {
    fn score(&mut self) -> Score {
        1.0
    }
}
