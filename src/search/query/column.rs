//! `stage:ResponseComplete`: keywords that are kept in a column only.

use std::ops::Bound;

use tantivy::SegmentReader;
use tantivy::columnar::StrColumn;
use tantivy::query::AllQuery;

use crate::search::document::list;
use crate::search::fields::{FieldRow, Kept};
use crate::search::query::compile::{Pattern, in_case, wildcard};
use crate::search::query::filtered::{Check, FilteredQuery, Look};
use crate::search::query::glob::Glob;
use crate::search::query::{Condition, Limit};

/// Events with a value in a column.
pub(super) type ColumnQuery = FilteredQuery<ColumnCheck>;

impl ColumnQuery {
    /// Looks for values of a field.
    pub(super) fn new(row: &FieldRow, wanted: Wanted) -> Self {
        FilteredQuery {
            candidates: Box::new(AllQuery),
            check: ColumnCheck {
                field: row.name,
                is_list: row.kept == Kept::List,
                wanted,
            },
        }
    }
}

/// What a value must be.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    /// This.
    Text(String),
    /// Something that fits.
    Pattern(Glob),
    /// Something between these.
    Range(Bound<String>, Bound<String>),
}

impl Wanted {
    /// What a condition on a keyword asks for.
    pub(super) fn of(row: usize, condition: &Condition) -> Self {
        match condition {
            Condition::Text(text) => Wanted::Text(in_case(row, text)),
            Condition::Word(word) => match wildcard(&in_case(row, word)) {
                Pattern::Plain(text) => Wanted::Text(text),
                Pattern::Glob(glob) => Wanted::Pattern(glob),
            },
            Condition::Range(lower, upper) => {
                let bound = |limit: &Option<Limit>| match limit {
                    None => Bound::Unbounded,
                    Some(limit) if limit.is_inclusive => Bound::Included(limit.text.clone()),
                    Some(limit) => Bound::Excluded(limit.text.clone()),
                };
                Wanted::Range(bound(lower), bound(upper))
            }
        }
    }

    /// Whether a value is it.
    pub(super) fn is(&self, value: &str) -> bool {
        match self {
            Wanted::Text(text) => value == text,
            Wanted::Pattern(glob) => glob.fits(value),
            Wanted::Range(lower, upper) => {
                let bounds = (as_str(lower), as_str(upper));
                std::ops::RangeBounds::<str>::contains(&bounds, value)
            }
        }
    }
}

fn as_str(bound: &Bound<String>) -> Bound<&str> {
    match bound {
        Bound::Unbounded => Bound::Unbounded,
        Bound::Included(text) => Bound::Included(text),
        Bound::Excluded(text) => Bound::Excluded(text),
    }
}

/// The check.
#[derive(Clone, Debug)]
pub(super) struct ColumnCheck {
    field: &'static str,
    is_list: bool,
    wanted: Wanted,
}

impl Check for ColumnCheck {
    fn open(&self, reader: &SegmentReader) -> tantivy::Result<Option<Look>> {
        let Some(column) = reader.fast_fields().str(self.field)? else {
            return Ok(None);
        };
        let wanted = match self.is_list {
            true => ords_of(&column, |values| list(values).any(|v| self.wanted.is(v)))?,
            false => ords_of(&column, |value| self.wanted.is(value))?,
        };
        Ok(wanted.map(|wanted| -> Look {
            Box::new(move |doc| column.term_ords(doc).any(|ord| wanted.has(ord)))
        }))
    }
}

/// Some values of a column, by their numbers in its dictionary.
#[derive(Default)]
pub(in crate::search) struct Ords(Vec<bool>);

impl Ords {
    /// Whether a value is one of them.
    pub(in crate::search) fn has(&self, ord: u64) -> bool {
        usize::try_from(ord).is_ok_and(|ord| self.0.get(ord).copied().unwrap_or(false))
    }

    /// Whether no value is one of them.
    pub(in crate::search) fn is_empty(&self) -> bool {
        !self.0.contains(&true)
    }

    /// Whether every value is one of them.
    pub(in crate::search) fn is_all(&self) -> bool {
        !self.0.contains(&false)
    }
}

/// The values of a column that are wanted; `None` where none is.
pub(in crate::search) fn ords_of(
    column: &StrColumn,
    is_wanted: impl Fn(&str) -> bool,
) -> tantivy::Result<Option<Ords>> {
    let mut wanted = Vec::with_capacity(column.num_terms());
    let mut terms = column.dictionary().stream()?;
    while terms.advance() {
        wanted.push(std::str::from_utf8(terms.key()).is_ok_and(&is_wanted));
    }
    Ok(wanted.contains(&true).then_some(Ords(wanted)))
}
