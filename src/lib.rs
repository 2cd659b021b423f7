//! Verbatim: a Kubernetes API server that keeps the record.
//!
//! Modules in reading order; each imports only from lower levels (see ARCHITECTURE.md).

pub mod base;

pub mod api;
pub mod telemetry;

pub mod request;
pub mod storage;

pub mod admission;
pub mod audit;
pub mod authentication;
pub mod authorization;
pub mod flowcontrol;

pub mod registry;
pub mod search;

pub mod diagnose;
pub mod endpoints;
pub mod filters;

pub mod server;

pub mod cli;
