//! The generic registry: create, read, update and delete for every row of one resource table.
//!
//! Called by `endpoints`. There is no code per kind here but the strategies.

pub mod meta;
pub mod printers;
pub mod strategies;
pub mod strategy;
pub mod table;
