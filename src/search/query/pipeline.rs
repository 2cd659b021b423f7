//! `latency.store:>100ms`: how long a stage of the pipeline took, from the two columns that hold names
//! and durations in the same order.

use tantivy::SegmentReader;
use tantivy::query::AllQuery;

use crate::search::fields::PIPELINE_MICROS;
use crate::search::query::column::ords_of;
use crate::search::query::filtered::{Check, FilteredQuery, Look};

/// Events in which stages of a name took a time in a span, together.
pub(super) type StageQuery = FilteredQuery<StageCheck>;

impl StageQuery {
    /// Stages called `stage` or `stage/…`.
    pub(super) fn new(stage: &str, least: u64, most: u64) -> Self {
        FilteredQuery {
            candidates: Box::new(AllQuery),
            check: StageCheck {
                stage: stage.into(),
                least,
                most,
            },
        }
    }
}

/// The check.
#[derive(Clone, Debug)]
pub(super) struct StageCheck {
    stage: String,
    least: u64,
    most: u64,
}

impl Check for StageCheck {
    fn open(&self, reader: &SegmentReader) -> tantivy::Result<Option<Look>> {
        let columns = reader.fast_fields();
        let micros = columns.column_opt::<u64>(PIPELINE_MICROS)?;
        let (Some(names), Some(micros)) = (columns.str("pipeline")?, micros) else {
            return Ok(None);
        };
        let is_of_name = |name: &str| {
            let rest = name.strip_prefix(self.stage.as_str());
            rest.is_some_and(|r| r.is_empty() || r.starts_with('/'))
        };
        let Some(wanted) = ords_of(&names, is_of_name)? else {
            return Ok(None);
        };
        let (least, most) = (self.least, self.most);
        Ok(Some(Box::new(move |doc| {
            let stages = names.term_ords(doc).zip(micros.values_for_doc(doc));
            let of_name = stages.filter(|(ord, _)| wanted.has(*ord));
            let mut took = None;
            for (_, micros) in of_name {
                took = Some(took.unwrap_or(0u64).saturating_add(micros));
            }
            took.is_some_and(|t| (least..=most).contains(&t))
        })))
    }
}
