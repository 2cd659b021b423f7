//! The record over HTTP.
