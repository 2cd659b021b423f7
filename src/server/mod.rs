//! The composition root: options, configuration, wiring, listener, lifecycle.
