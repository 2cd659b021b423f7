//! The metric catalogue and logging.
