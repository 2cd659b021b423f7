//! Columns of one segment that groups are made of.

use tantivy::columnar::{Column, StrColumn};
use tantivy::{DocId, SegmentReader};

use crate::search::fields::{self, FieldKind};

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
        let is_number = fields::find(name).is_some_and(|(_, r)| r.kind == FieldKind::Number);
        if is_number {
            return Ok(match columns.column_opt::<u64>(name)? {
                Some(column) => Values::Number(column),
                None => Values::Absent,
            });
        }
        Ok(match columns.str(name)? {
            Some(column) => Values::Text(column),
            None => Values::Absent,
        })
    }

    /// Calls `take` with each value of an event, or with [`NONE`].
    pub(super) fn each(&self, doc: DocId, mut take: impl FnMut(u64)) {
        let mut is_none = true;
        let column = match self {
            Values::Text(column) => column.ords(),
            Values::Number(column) => column,
            Values::Absent => return take(NONE),
        };
        for value in column.values_for_doc(doc) {
            is_none = false;
            take(value);
        }
        if is_none {
            take(NONE);
        }
    }

    /// The texts of ordinals, in their order. `ords` must be sorted and hold each once.
    pub(super) fn texts(&self, ords: &[u64]) -> tantivy::Result<Vec<String>> {
        let (real, has_none) = match ords.split_last() {
            Some((&NONE, real)) => (real, true),
            _ => (ords, false),
        };
        let mut out = Vec::with_capacity(ords.len());
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
