//! Columns of one segment.

use tantivy::columnar::{Column, ColumnIndex, StrColumn};
use tantivy::{DocId, SegmentReader};

use crate::search::fields::{self, FieldKind};
use crate::search::query::{self, Ords};

/// Stands for "no value".
pub(super) const NONE: u64 = u64::MAX;

/// One column.
pub(super) enum Values {
    /// Ordinals of texts.
    Text(StrColumn),
    /// Numbers.
    Number(Column<u64>),
    /// No event of the segment has the field.
    Absent,
}

impl Values {
    /// Opens the column of a field.
    pub(super) fn open(reader: &SegmentReader, name: &str) -> tantivy::Result<Self> {
        let columns = reader.fast_fields();
        let is_text = fields::find(name)
            .is_some_and(|(_, row)| matches!(row.kind, FieldKind::Keyword | FieldKind::Name));
        // A segment has a column for each field, also where no event has a value.
        let column = match is_text {
            true => columns.str(name)?.map(Values::Text),
            false => columns.column_opt::<u64>(name)?.map(Values::Number),
        };
        let has_values = |values: &Self| values.column().is_some_and(|c| c.values.num_vals() > 0);
        Ok(column.filter(has_values).unwrap_or(Values::Absent))
    }

    /// Whether no event of the segment has the field.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Values::Absent)
    }

    /// Whether every event of the segment has the field, once.
    pub(super) fn is_full(&self) -> bool {
        let column = self.column();
        column.is_some_and(|column| matches!(column.index, ColumnIndex::Full))
    }

    fn column(&self) -> Option<&Column<u64>> {
        match self {
            Values::Text(column) => Some(column.ords()),
            Values::Number(column) => Some(column),
            Values::Absent => None,
        }
    }

    /// The first value of each event of a block, or [`NONE`]: where all have one, several times as
    /// fast as one by one.
    pub(super) fn first(&self, docs: &[DocId], out: &mut [u64]) {
        let Some(column) = self.column() else {
            return out.fill(NONE);
        };
        if self.is_full() {
            return column.values.get_vals(docs, out);
        }
        for (doc, value) in docs.iter().zip(out) {
            *value = column.first(*doc).unwrap_or(NONE);
        }
    }

    /// All values of an event.
    pub(super) fn all(&self, doc: DocId) -> impl Iterator<Item = u64> {
        self.column()
            .into_iter()
            .flat_map(move |column| column.values_for_doc(doc))
    }

    /// The least value and how many lie between it and the greatest, both included.
    pub(super) fn span(&self) -> (u64, u64) {
        match self {
            Values::Text(column) => (0, column.num_terms() as u64),
            Values::Number(column) => {
                let least = column.min_value();
                let width = column.max_value().saturating_sub(least);
                (least, width.saturating_add(1))
            }
            Values::Absent => (0, 0),
        }
    }

    /// Which ordinals have a text that is one of these.
    pub(super) fn ords_of(&self, is_one: impl Fn(&str) -> bool) -> tantivy::Result<Ords> {
        Ok(match self {
            Values::Text(column) => query::ords_of(column, is_one)?.unwrap_or_default(),
            _ => Ords::default(),
        })
    }

    /// All texts, in the order of their values.
    pub(super) fn all_texts(&self) -> tantivy::Result<Vec<String>> {
        let (_, count) = self.span();
        self.texts(&(0..count).collect::<Vec<u64>>())
    }

    /// The texts of values, in their order. `values` must be sorted and hold each once.
    pub(super) fn texts(&self, values: &[u64]) -> tantivy::Result<Vec<String>> {
        let (real, has_none) = match values.split_last() {
            Some((&NONE, real)) => (real, true),
            _ => (values, false),
        };
        let mut out = Vec::with_capacity(values.len());
        match self {
            Values::Text(column) => {
                column.dictionary().sorted_ords_to_term_cb(real, |term| {
                    out.push(String::from_utf8_lossy(term).into_owned());
                })?;
            }
            Values::Number(_) => out.extend(real.iter().map(u64::to_string)),
            Values::Absent => {}
        }
        if has_none {
            out.push(String::new());
        }
        Ok(out)
    }
}
