//! The record: audit policy, events and sinks.
