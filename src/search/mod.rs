//! The index over the record and its query language.
