//! Columns of one segment that groups are made of.

use tantivy::columnar::{Column, ColumnIndex, StrColumn};
use tantivy::{DocId, SegmentReader};

use crate::search::fields::{self, FieldKind};

/// Stands for "no value".
pub(super) const NONE: u64 = u64::MAX;

/// What a block of events has in a column; kept from block to block for its memory.
#[derive(Default)]
pub(super) struct Block {
    docs: Vec<DocId>,
    rows: Vec<u32>,
    /// The values, in the order of the events.
    pub(super) values: Vec<u64>,
    /// How many of the events have none.
    pub(super) without: u64,
}

impl Block {
    fn read(&mut self, column: &Column<u64>, docs: &[DocId]) {
        if matches!(column.index, ColumnIndex::Full) {
            self.values.resize(docs.len(), 0);
            column.values.get_vals(docs, &mut self.values);
            self.without = 0;
            return;
        }
        self.docs.clear();
        self.rows.clear();
        column.row_ids_for_docs(docs, &mut self.docs, &mut self.rows);
        self.values.resize(self.rows.len(), 0);
        column.values.get_vals(&self.rows, &mut self.values);
        // An event with several values is there several times, one behind the other.
        self.docs.dedup();
        self.without = docs.len().saturating_sub(self.docs.len()) as u64;
    }
}

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

    /// Reads the values of a block of events at once, which is several times as fast as one by one.
    pub(super) fn read(&self, docs: &[DocId], block: &mut Block) {
        match self {
            Values::Text(column) => block.read(column.ords(), docs),
            Values::Number(column) => block.read(column, docs),
            Values::Absent => {
                block.values.clear();
                block.without = docs.len() as u64;
            }
        }
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
