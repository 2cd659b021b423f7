//! `latency.store:>100ms`: how long a stage of the pipeline took, from the two columns that hold names
//! and durations of stages in the same order.

use tantivy::SegmentReader;
use tantivy::query::AllQuery;

use crate::search::document::list;
use crate::search::fields::PIPELINE_MICROS;
use crate::search::micros;
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

/// Whether a stage is called so, or is a part of that stage.
pub(super) fn is_stage(name: &str, wanted: &str) -> bool {
    let rest = name.strip_prefix(wanted);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Check for StageCheck {
    fn open(&self, reader: &SegmentReader) -> tantivy::Result<Option<Look>> {
        let columns = reader.fast_fields();
        let micros = columns.column_opt::<u64>(PIPELINE_MICROS)?;
        let (Some(pipelines), Some(micros)) = (columns.str("pipeline")?, micros) else {
            return Ok(None);
        };
        // Of each pipeline the places of the stages that are meant.
        let mut places: Vec<Vec<usize>> = Vec::with_capacity(pipelines.num_terms());
        let mut terms = pipelines.dictionary().stream()?;
        while terms.advance() {
            let stages = list(std::str::from_utf8(terms.key()).unwrap_or_default()).enumerate();
            let meant = stages.filter(|(_, name)| is_stage(name, &self.stage));
            places.push(meant.map(|(place, _)| place).collect());
        }
        if places.iter().all(Vec::is_empty) {
            return Ok(None);
        }
        let (least, most) = (self.least, self.most);
        let mut took: Vec<u64> = Vec::new();
        Ok(Some(Box::new(move |doc| {
            let pipeline = pipelines.term_ords(doc).next();
            let meant = pipeline.and_then(|ord| places.get(usize::try_from(ord).ok()?));
            let Some(meant) = meant.filter(|places| !places.is_empty()) else {
                return false;
            };
            took.clear();
            took.extend(micros::of(micros.values_for_doc(doc)));
            let meant = meant.iter().filter_map(|place| took.get(*place));
            let sum = meant.fold(0u64, |sum, micros| sum.saturating_add(*micros));
            (least..=most).contains(&sum)
        })))
    }
}
